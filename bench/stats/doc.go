// Package stats holds the statistics of the lab, one subject a file:
//
//   - what a few repetitions say: Median, Quantile, MedianInterval, Ratios
//     (stats.go), Bootstrap (bootstrap.go)
//   - paired blocks under a coin: SignFlip (signflip.go), several metrics at once
//     MaxT (maxt.go), how large the change is HodgesLehmann, ShiftInterval,
//     UpperBound (hodges.go)
//   - counts of trials: ClopperPearson (binomial.go); many p-values:
//     BenjaminiHochberg (fdr.go); the next value: Predict (student.go)
//   - series: where the warm-up ends MSER (mser.go), where a history changed
//     Changes (changes.go), how throughput grows with load FitUSL (usl.go)
//
// It decides nothing: bench/gate does. It has no clock, no I/O and no goroutine;
// whatever draws does so from the seed it is given, and gives the same result for
// the same arguments on every machine.
//
// Callers pass finite values, at least one; paired tests take up to FlipsMax. Every function leaves its arguments as
// they were and panics with "BUG:" on an empty slice, because a measurement of
// nothing has no median.
//
// Read next: signflip.go for the test that everything paired rests on.
package stats
