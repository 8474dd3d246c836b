package linalg

import (
	"math"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/lapack"
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

// fullVectors is the largest symmetric matrix whose eigenvectors are all computed: above it the time of the QL iteration grows out
// of proportion.
const fullVectors = 300

// Eigenvalues returns the eigenvalues of a symmetric matrix a [n, n] in descending order, each to about n·2⁻⁵³ of the largest
// magnitude. a is kept. Cost: 4/3·n³.
func Eigenvalues(n int, a []float64) []float64 {
	values, _ := syev(lapack.EVNone, n, a)
	return values
}

// Eigen returns all eigenvalues of a symmetric matrix a [n, n] in descending order and its eigenvectors as the columns of vectors
// [n, n]. a is kept. Meant for small n: cost is about 9·n³.
func Eigen(n int, a []float64) (values, vectors []float64) {
	return syev(lapack.EVCompute, n, a)
}

func syev(job lapack.EVJob, n int, a []float64) (values, vectors []float64) {
	if n == 0 {
		return nil, nil
	}
	v := append([]float64(nil), a...)
	s := blas64.Symmetric{Uplo: blas.Upper, N: n, Stride: n, Data: v}
	w, size := make([]float64, n), []float64{0}
	lapack64.Syev(job, s, w, size, -1)
	work := make([]float64, max(1, int(size[0])))
	if !lapack64.Syev(job, s, w, work, len(work)) {
		// The QL iteration gives up after 30 steps on one value, which finite data do not bring about.
		panic("linalg: eigenvalue iteration did not converge")
	}
	for i, j := 0, n-1; i < j; i, j = i+1, j-1 {
		w[i], w[j] = w[j], w[i]
	}
	if job == lapack.EVNone {
		return w, nil
	}
	for i := range n {
		row := v[i*n : (i+1)*n]
		for a, b := 0, n-1; a < b; a, b = a+1, b-1 {
			row[a], row[b] = row[b], row[a]
		}
	}
	fixSigns(n, n, v)
	return w, v
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
