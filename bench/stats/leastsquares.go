package stats

import "math"

// leastSquares is the x that brings the sum of x[c] columns[c] closest to target,
// and the sum of squares that is left. Columns are as long as target and linearly
// independent. They are made orthogonal one after the other, which loses less
// precision than the normal equations when columns differ by orders of magnitude.
// Source: modified Gram-Schmidt, Björck, Numerical Methods for Least Squares
// Problems, section 2.4.
func leastSquares(columns [][]float64, target []float64) (x []float64, left float64) {
	n := len(columns)
	q, r := make([][]float64, n), make([][]float64, n)
	rest, x := append([]float64(nil), target...), make([]float64, n)
	for c := range n {
		q[c], r[c] = append([]float64(nil), columns[c]...), make([]float64, n)
	}
	for c := range n {
		r[c][c] = math.Sqrt(dot(q[c], q[c]))
		for i := range q[c] {
			q[c][i] /= r[c][c]
		}
		for k := c + 1; k < n; k++ {
			r[c][k] = remove(q[k], q[c])
		}
		x[c] = remove(rest, q[c])
	}
	for c := n - 1; c >= 0; c-- {
		for k := c + 1; k < n; k++ {
			x[c] -= r[c][k] * x[k]
		}
		x[c] /= r[c][c]
	}
	return x, dot(rest, rest)
}

// remove takes from v its part along the unit vector u, and says how long it was.
func remove(v, u []float64) float64 {
	along := dot(v, u)
	for i := range v {
		v[i] -= along * u[i]
	}
	return along
}

func dot(a, b []float64) float64 {
	total := 0.0
	for i := range a {
		total += a[i] * b[i]
	}
	return total
}
