package linalg

import (
	"math"

	"github.com/trconvert/trconvert/internal/gemm"
	"github.com/trconvert/trconvert/internal/seed"
)

// Leading returns the k leading eigenvalues, descending, of a positive semidefinite g [n, n], and their eigenvectors as the columns
// of vectors [n, k]. values are all eigenvalues of g as [Eigenvalues] gives them, or nil if they are not known yet.
//
// Above [fullVectors] it is Chebyshev-filtered subspace iteration (Zhou, Saad, Tiago and Chelikowsky 2006): since the spectrum is
// known, the filter damps exactly what lies beyond the block. It ends when the captured trace Σθ is within 1e-11 of Σλ, relative, or
// after 25 filters: of a nearly flat spectrum it then holds all but about 1e-8 of the trace. Cost: about 40·n²·k FLOPs a filter.
func Leading(n int, g []float64, k int, values []float64) (theta, vectors []float64) {
	k = min(k, n)
	if n <= fullVectors {
		w, v := Eigen(n, g)
		return w[:k], columns(n, n, k, v)
	}
	if values == nil {
		values = Eigenvalues(n, g)
	}
	block := min(n, k+max(8, k/4))
	var want float64
	for _, v := range values[:k] {
		want += v
	}
	cut := 1e-15 * values[0]
	if block < n {
		cut = max(cut, values[block])
	}
	if !(values[0] > 0) {
		cut = 1
	}
	x, _ := QR(n, block, seed.Normal(seed.Stream(0, "linalg", "leading"), n*block))
	degree := filterDegree(values[0], values[k-1], cut)
	for range 25 {
		x = chebyshev(n, block, g, x, degree, cut)
		x, _ = QR(n, block, x)
		theta, x = rayleighRitz(n, block, g, x)
		var got float64
		for _, v := range theta[:k] {
			got += v
		}
		if want-got <= 1e-11*want {
			break
		}
	}
	vectors = columns(n, block, k, x)
	fixSigns(n, k, vectors)
	return theta[:k], vectors
}

// filterDegree is the highest degree, at most 16, at which the leading eigenvector outgrows the k-th by no more than 1e8, so that
// orthonormalisation can still tell them apart.
func filterDegree(first, last, cut float64) int {
	grow := func(v float64) float64 { return math.Acosh(max(1, 2*v/cut-1)) }
	spread := grow(first) - grow(last)
	if spread*16 <= math.Log(1e8) {
		return 16
	}
	return max(1, int(math.Log(1e8)/spread))
}

// chebyshev returns T_degree(2g/cut − 1)·x for x [n, cols].
func chebyshev(n, cols int, g, x []float64, degree int, cut float64) []float64 {
	prev, cur := x, make([]float64, len(x))
	step := func(scale float64, v, minus, out []float64) { // out = scale·(2g/cut − 1)·v − minus
		for i := range out {
			out[i] = -scale * v[i]
			if minus != nil {
				out[i] -= minus[i]
			}
		}
		gemm.F64(false, false, n, cols, n, 2*scale/cut, g, n, v, cols, 1, out, cols)
	}
	step(1, prev, nil, cur)
	for range degree - 1 {
		next := make([]float64, len(x))
		step(2, cur, prev, next)
		prev, cur = cur, next
		var size float64 // common scale, so that high powers of a large ratio cannot overflow
		for _, v := range cur {
			size = max(size, math.Abs(v))
		}
		if size > 1e100 {
			for i := range cur {
				cur[i] /= size
				prev[i] /= size
			}
		}
	}
	return cur
}

// rayleighRitz returns the Ritz values of g in the orthonormal basis x [n, cols], descending, and the rotated basis.
func rayleighRitz(n, cols int, g, x []float64) (theta, rotated []float64) {
	gx, small := make([]float64, n*cols), make([]float64, cols*cols)
	gemm.F64(false, false, n, cols, n, 1, g, n, x, cols, 0, gx, cols)
	gemm.F64(true, false, cols, cols, n, 1, x, cols, gx, cols, 0, small, cols)
	theta, v := Eigen(cols, small)
	gemm.F64(false, false, n, cols, cols, 1, x, cols, v, cols, 0, gx, cols)
	return theta, gx
}

// columns copies the first k of the n columns of a [m, n].
func columns(m, n, k int, a []float64) []float64 {
	c := make([]float64, m*k)
	for i := range m {
		copy(c[i*k:(i+1)*k], a[i*n:i*n+k])
	}
	return c
}
