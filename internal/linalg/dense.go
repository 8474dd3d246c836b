package linalg

import (
	"math"

	"github.com/trconvert/trconvert/internal/gemm"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/lapack/lapack64"
)

// QR factors a [m, n], m ≥ n, into q [m, n] with orthonormal columns and upper triangular r [n, n] with non-negative diagonal, a = q·r
// (Householder). a is kept. Columns of q that belong to a zero pivot complete the basis.
func QR(m, n int, a []float64) (q, r []float64) {
	if m < n {
		panic("linalg: QR of a wide matrix")
	}
	q, r = append([]float64(nil), a...), make([]float64, n*n)
	g := blas64.General{Rows: m, Cols: n, Stride: n, Data: q}
	tau := make([]float64, n)
	size := []float64{0}
	lapack64.Geqrf(g, tau, size, -1)
	work := make([]float64, max(1, int(size[0])))
	lapack64.Geqrf(g, tau, work, len(work))
	for i := range n {
		copy(r[i*n+i:(i+1)*n], q[i*n+i:(i+1)*n])
	}
	lapack64.Orgqr(g, tau, size, -1)
	work = make([]float64, max(1, int(size[0])))
	lapack64.Orgqr(g, tau, work, len(work))
	for i := range n {
		if r[i*n+i] < 0 {
			for j := i; j < n; j++ {
				r[i*n+j] = -r[i*n+j]
			}
			for j := range m {
				q[j*n+i] = -q[j*n+i]
			}
		}
	}
	return q, r
}

// qrLimit bounds the spread of pivots (see [Cholesky.Spread]) up to which FastQR trusts normal equations.
const qrLimit = 1e8

// FastQR is [QR] in place by the Cholesky factor of aᵀ·a, where conditioning is all that orthonormal columns are wanted for: a [m, n], m ≥ n,
// becomes q, with r [n, n] so that a = q·r to about 1e-12. The columns of q are orthonormal to 1e-16 times the squared condition number of
// a, 1e-8 at worst; where it would be worse, Householder's way is taken. c and work, m·n numbers, are memory to work in.
func FastQR(m, n int, a, r []float64, c *Cholesky, work []float64) {
	gemm.Gram64(true, n, m, a, n, r, n)
	if !c.Factor(n, r) || c.Spread() > qrLimit {
		q, upper := QR(m, n, a)
		copy(a, q)
		copy(r, upper)
		return
	}
	if n <= c.width {
		gemm.F64(false, true, m, n, n, 1, a, n, c.inv[c.width:], 2*c.width, 0, work, n)
		copy(a, work[:m*n])
	} else {
		gemm.Transpose(m, n, a, n, work, m)
		c.SolveLower(m, work[:m*n])
		gemm.Transpose(n, m, work, m, a, n)
	}
	for i := range n {
		clear(r[i*n : i*n+i])
	}
}

// fixSigns makes the element of largest magnitude of each column of v [m, n] positive.
func fixSigns(m, n int, v []float64) {
	for j := range n {
		var largest float64
		for i := range m {
			if x := v[i*n+j]; math.Abs(x) > math.Abs(largest) {
				largest = x
			}
		}
		if largest < 0 {
			for i := range m {
				v[i*n+j] = -v[i*n+j]
			}
		}
	}
}

// Transpose returns aᵀ [n, m] of a [m, n].
func Transpose(m, n int, a []float64) []float64 {
	t := make([]float64, m*n)
	gemm.Transpose(m, n, a, n, t, m)
	return t
}
