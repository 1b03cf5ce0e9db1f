package stats

// ClopperPearson is the exact two-sided interval of a chance of which k of n
// trials came true, with at most half of 1-confidence outside on either side. It
// covers at least as often as it says, whatever the chance. 0 <= k <= n, n > 0,
// confidence in (0, 1). Source: Clopper and Pearson, The Use of Confidence or
// Fiducial Limits, 1934, with the beta quantiles of Brown, Cai and DasGupta, 2001.
func ClopperPearson(k, n int, confidence float64) (low, high float64) {
	each := (1 + confidence) / 2
	return BinomialLower(k, n, each), BinomialUpper(k, n, each)
}

// BinomialUpper is the one-sided upper bound: the chance under which k or fewer of
// n have probability 1-confidence. No alarm in 200 trials bounds the rate of
// alarms by 1.49 % at 95 %.
func BinomialUpper(k, n int, confidence float64) float64 {
	mustCount(k, n)
	if k == n {
		return 1
	}
	return betaQuantile(float64(k+1), float64(n-k), confidence)
}

// BinomialLower is the one-sided lower bound: 59 of 59 prove 95 % at 95 %.
func BinomialLower(k, n int, confidence float64) float64 {
	mustCount(k, n)
	if k == 0 {
		return 0
	}
	return betaQuantile(float64(k), float64(n-k+1), 1-confidence)
}

func mustCount(k, n int) {
	if n <= 0 || k < 0 || k > n {
		panic("BUG: a count outside its trials")
	}
}
