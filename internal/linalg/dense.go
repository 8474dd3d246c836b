package linalg

import (
	"math"

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
	for i := range m {
		for j := range n {
			t[j*m+i] = a[i*n+j]
		}
	}
	return t
}
