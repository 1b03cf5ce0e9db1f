package stats

// mserBatches is the least number of batches in which a steady state can be told.
const mserBatches = 10

// MSER is how many of the first values belong to the warm-up: the cut d after
// which the mean of the rest has the least standard error, taken over batches of
// so many neighbouring values, which minimises sum of (z - mean)^2 / k^2 over the k
// batches that stay. MSER-5, with batches of five, is the usual one. steady is
// false when the cut is in the second half, or when there are fewer than ten
// batches: then the series was still moving when it ended, cut means nothing, and
// its mean must not be quoted. Values after the last whole batch are not looked
// at. Source: White, An Effective Truncation Heuristic for Bias Reduction, 1997;
// White, Cobb and Spratt, 2000; the half as in Hoad, Robinson and Davies, 2010.
func MSER(xs []float64, batch int) (cut int, steady bool) {
	z := make([]float64, len(xs)/batch)
	for i := range z {
		total, _ := sum(xs[i*batch : (i+1)*batch])
		z[i] = total / float64(batch)
	}
	if len(z) < mserBatches {
		return 0, false
	}
	// The last five batches are no candidate: a few that happen to be alike would
	// have next to no error.
	best, at := 0.0, 0
	for d := 0; d <= len(z)-5; d++ {
		_, deviation := MeanDeviation(z[d:])
		k := float64(len(z) - d)
		if e := deviation * deviation * (k - 1) / (k * k); d == 0 || e < best {
			best, at = e, d
		}
	}
	return at * batch, at <= len(z)/2
}
