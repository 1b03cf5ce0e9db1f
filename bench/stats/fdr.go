package stats

// BenjaminiHochberg turns p-values into q-values: those with q <= 0.05 are a list
// of which at most 5 % are expected to be false, if the p-values are independent
// or positively dependent. q of the i-th smallest of m is the least of m p(j)/j
// over j >= i, at most 1. Source: Benjamini and Hochberg, Controlling the False
// Discovery Rate, 1995.
func BenjaminiHochberg(p []float64) []float64 {
	q, least := make([]float64, len(p)), 1.0
	for above, i := range descending(p) {
		rank := len(p) - above
		least = min(least, p[i]*float64(len(p))/float64(rank))
		q[i] = least
	}
	return q
}
