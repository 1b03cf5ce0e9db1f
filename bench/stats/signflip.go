package stats

// SignFlip is the one-sided p-value of paired block values whose signs were
// decided by a coin: the share of sign vectors under which the studentised mean is
// at least as large as the observed one, which counts itself. Large positive
// values are evidence. It needs no normality, independence or stationarity; it
// needs that the coin really was thrown for every value. The least it can be is
// 2^-len(y), or 1e-5 above 16 values, where seeded draws stand for all vectors.
//
// Flipping signs leaves Q = sum of y^2 as it is, so with S = sum of y and n values
// the studentised mean is t = u sqrt(n-1)/sqrt(1-u^2), u = S/sqrt(nQ), which grows
// with S: comparing sums is comparing studentised means. Flipping the subset J
// gives S - 2 sum(J), which is at least S when sum(J) <= 0.
//
// Source: Fisher, The Design of Experiments, 1935, section 21; as a
// re-randomisation test Edgington and Onghena, Randomization Tests, 2007.
func SignFlip(y []float64, seed uint64) float64 {
	mustHave(y)
	s := newSubsets(y)
	_, magnitude := sum(y)
	extreme := 0
	for j := range flips(len(y), seed) {
		if s.sum(j) <= tie*magnitude {
			extreme++
		}
	}
	return share(extreme, len(y))
}
