package linalg

import "github.com/trconvert/trconvert/internal/gemm"

// TimesLower returns a·L [rows, n] for a [rows, n]: products and sums in float64, rounded once.
func (c *Cholesky) TimesLower(rows int, a []float32) []float32 {
	n := c.n
	lower := make([]float64, n*n)
	for i := range n {
		copy(lower[i*n:i*n+i+1], c.l[i*n:])
	}
	y := make([]float64, rows*n)
	gemm.Wide(false, false, rows, n, n, 1, a, n, lower, n, 0, y, n)
	out := make([]float32, len(y))
	for i, v := range y {
		out[i] = float32(v)
	}
	return out
}

// SolveLower overwrites b [n, cols] with L⁻¹·b.
func (c *Cholesky) SolveLower(cols int, b []float64) {
	n, l := c.n, c.l
	for j := 0; j < n; j += c.width {
		w := min(c.width, n-j)
		gemm.F64(false, false, w, cols, j, -1, l[j*n:], n, b, cols, 1, b[j*cols:], cols)
		for i := j; i < j+w; i++ {
			for k := j; k < i; k++ {
				axpy(-l[i*n+k], b[k*cols:(k+1)*cols], b[i*cols:(i+1)*cols])
			}
			scaleRow(1/l[i*n+i], b[i*cols:(i+1)*cols])
		}
	}
}
