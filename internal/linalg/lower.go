package linalg

import "github.com/trconvert/trconvert/internal/gemm"

// TimesLower returns a·L [rows, n] for a [rows, n]: products and sums in float64, rounded once.
func (c *Cholesky) TimesLower(rows int, a []float32) []float32 {
	n, ld := c.n, c.n+c.cols
	upper := make([]float64, n*n)
	for i := range n {
		copy(upper[i*n+i:(i+1)*n], c.a[i*ld+i:])
	}
	y := make([]float64, rows*n)
	gemm.Wide(false, true, rows, n, n, 1, a, n, upper, n, 0, y, n)
	out := make([]float32, len(y))
	for i, v := range y {
		out[i] = float32(v)
	}
	return out
}
