package linalg

import (
	"math"
	"math/rand/v2"

	"github.com/trconvert/trconvert/internal/gemm"
	"github.com/trconvert/trconvert/internal/seed"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/lapack"
	lapackgo "gonum.org/v1/gonum/lapack/gonum"
)

// Symmetric is a symmetric matrix reduced to tridiagonal form, from which leading eigenvectors come at little cost.
type Symmetric struct {
	Values []float64 // all eigenvalues, descending, each to about n·2⁻⁵³ of the largest magnitude

	n       int
	d, e    []float64 // diagonal and off-diagonal of the tridiagonal T
	a, tau  []float64 // the reflectors of Q, A = Q·T·Qᵀ
	orthoed bool      // a holds Q itself
}

// NewSymmetric reduces a [n, n], which is overwritten, and finds its eigenvalues. Cost: 4/3·n³ FLOPs.
func NewSymmetric(n int, a []float64) *Symmetric {
	s := &Symmetric{n: n, a: a, d: make([]float64, n), e: make([]float64, max(0, n-1)), tau: make([]float64, max(0, n-1))}
	work := []float64{0}
	var lp lapackgo.Implementation
	lp.Dsytrd(blas.Lower, n, a, n, s.d, s.e, s.tau, work, -1)
	work = make([]float64, max(1, int(work[0])))
	lp.Dsytrd(blas.Lower, n, a, n, s.d, s.e, s.tau, work, len(work))
	s.Values = append([]float64(nil), s.d...)
	if !lp.Dsterf(n, s.Values, append([]float64(nil), s.e...)) {
		panic("linalg: eigenvalue iteration did not converge") // finite data do not bring this about
	}
	for i, j := 0, n-1; i < j; i, j = i+1, j-1 {
		s.Values[i], s.Values[j] = s.Values[j], s.Values[i]
	}
	return s
}

// Leading returns the eigenvectors of the k largest eigenvalues as the columns of a matrix [n, k].
//
// Each is found by inverse iteration on T, kept orthogonal to all before it, so that clusters of equal eigenvalues give an orthonormal
// basis of their space. Cost: 4/3·n³ FLOPs on the first call, and 2·n²·k + 8·n·k².
func (s *Symmetric) Leading(k int) []float64 {
	n := s.n
	if !s.orthoed {
		var lp lapackgo.Implementation
		work := []float64{0}
		lp.Dorgtr(blas.Lower, n, s.a, n, s.tau, work, -1)
		work = make([]float64, max(1, int(work[0])))
		lp.Dorgtr(blas.Lower, n, s.a, n, s.tau, work, len(work))
		s.orthoed = true
	}
	z := make([]float64, k*n) // rows are eigenvectors of T
	t := tridiagonal{s.d, s.e, max(math.Abs(s.Values[0]), math.Abs(s.Values[n-1]))}
	r := seed.Stream(0, "linalg", "inverse iteration")
	for i := range k {
		x := z[i*n : (i+1)*n]
		lu := t.factor(s.Values[i])
		fill(r, x)
		lu.solve(x)
		normalize(x)
		for range 2 {
			lu.solve(x)
			normalize(x)
			orthogonalize(r, x, z[:i*n])
		}
	}
	v := make([]float64, n*k)
	gemm.F64(false, true, n, k, n, 1, s.a, n, z, n, 0, v, k)
	fixSigns(n, k, v)
	return v
}

func fill(r *rand.Rand, x []float64) {
	for i := range x {
		x[i] = r.NormFloat64()
	}
	normalize(x)
}

func normalize(x []float64) {
	var largest float64
	for _, v := range x {
		largest = max(largest, math.Abs(v))
	}
	if largest == 0 || math.IsInf(largest, 0) || math.IsNaN(largest) {
		return
	}
	scaleRow(1/largest, x)
	scaleRow(1/math.Sqrt(dot(x, x)), x)
}

// orthogonalize makes x orthogonal to the orthonormal rows of q, twice for full accuracy, and normalises it. If nothing is left of x a
// random direction takes its place.
func orthogonalize(r *rand.Rand, x, q []float64) {
	n := len(x)
	for tries := 0; ; tries++ {
		left := 1.0
		for range 2 {
			c := make([]float64, len(q)/n)
			for i := range c {
				c[i] = dot(q[i*n:(i+1)*n], x)
			}
			for i, v := range c {
				axpy(-v, q[i*n:(i+1)*n], x)
			}
			left = math.Sqrt(dot(x, x))
		}
		if left > 1e-8 || tries == 3 {
			normalize(x)
			return
		}
		fill(r, x)
	}
}

// tridiagonal is a symmetric tridiagonal matrix and its largest magnitude of an eigenvalue.
type tridiagonal struct {
	d, e []float64
	norm float64
}

// tridiagonalLU is a factorisation with row exchanges: u0, u1, u2 are the diagonals of U; step i subtracts l[i] times row i from row
// i+1 after exchanging them if swap[i].
type tridiagonalLU struct {
	u0, u1, u2, l []float64
	swap          []bool
}

// factor factors T − shift·1; pivots that vanish become rounding errors, which is what inverse iteration wants.
func (t tridiagonal) factor(shift float64) tridiagonalLU {
	n := len(t.d)
	f := tridiagonalLU{make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n), make([]bool, n)}
	tiny := max(0x1p-53*t.norm, math.SmallestNonzeroFloat64*0x1p60)
	a, b := t.d[0]-shift, 0.0 // row i as it stands: a on the diagonal, b right of it
	if n > 1 {
		b = t.e[0]
	}
	for i := range n - 1 {
		below, diag, next := t.e[i], t.d[i+1]-shift, 0.0
		if i+2 < n {
			next = t.e[i+1]
		}
		if math.Abs(below) > math.Abs(a) {
			f.swap[i] = true
			f.l[i] = a / below
			f.u0[i], f.u1[i], f.u2[i] = below, diag, next
			a, b = b-f.l[i]*diag, -f.l[i]*next
			continue
		}
		if math.Abs(a) < tiny {
			a = tiny
		}
		f.l[i] = below / a
		f.u0[i], f.u1[i] = a, b
		a, b = diag-f.l[i]*b, next
	}
	if math.Abs(a) < tiny {
		a = tiny
	}
	f.u0[n-1] = a
	return f
}

// solve overwrites x with the solution, scaled down on the way where it would overflow.
func (f tridiagonalLU) solve(x []float64) {
	n := len(x)
	for i := range n - 1 {
		if f.swap[i] {
			x[i], x[i+1] = x[i+1], x[i]
		}
		x[i+1] -= f.l[i] * x[i]
	}
	for i := n - 1; i >= 0; i-- {
		v := x[i]
		if i+1 < n {
			v -= f.u1[i] * x[i+1]
		}
		if i+2 < n {
			v -= f.u2[i] * x[i+2]
		}
		x[i] = v / f.u0[i]
		if math.Abs(x[i]) > 1e150 {
			scaleRow(1e-150, x)
		}
	}
}

// Eigenvalues returns the eigenvalues of a symmetric matrix a [n, n] in descending order. a is kept. Cost: 4/3·n³.
func Eigenvalues(n int, a []float64) []float64 {
	if n == 0 {
		return nil
	}
	return NewSymmetric(n, append([]float64(nil), a...)).Values
}

// Eigen returns all eigenvalues of a symmetric matrix a [n, n] in descending order and its eigenvectors as the columns of vectors
// [n, n]. a is kept. Meant for small n: cost is about 9·n³, and above a few hundred much more time than that.
func Eigen(n int, a []float64) (values, vectors []float64) {
	if n == 0 {
		return nil, nil
	}
	v, w, work := append([]float64(nil), a...), make([]float64, n), []float64{0}
	var lp lapackgo.Implementation
	lp.Dsyev(lapack.EVCompute, blas.Lower, n, v, n, w, work, -1)
	work = make([]float64, max(1, int(work[0])))
	if !lp.Dsyev(lapack.EVCompute, blas.Lower, n, v, n, w, work, len(work)) {
		panic("linalg: eigenvalue iteration did not converge")
	}
	for i, j := 0, n-1; i < j; i, j = i+1, j-1 {
		w[i], w[j] = w[j], w[i]
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

// leading is the k leading eigenpairs of a symmetric a [n, n], which is overwritten, and all eigenvalues.
func leading(n int, a []float64, k int) (values, vectors []float64) {
	if n <= fullVectors {
		values, v := Eigen(n, a)
		return values, columns(n, n, k, v)
	}
	s := NewSymmetric(n, a)
	return s.Values, s.Leading(k)
}

// fullVectors is the largest symmetric matrix whose eigenvectors are all computed even if few are asked for.
const fullVectors = 100

// columns copies the first k of the n columns of a [m, n].
func columns(m, n, k int, a []float64) []float64 {
	c := make([]float64, m*k)
	for i := range m {
		copy(c[i*k:(i+1)*k], a[i*n:i*n+k])
	}
	return c
}

// RitzValues estimates the leading eigenvalues, descending, of a positive semidefinite g [n, n] from below, by one randomised
// subspace iteration of the given width. Cost: 4·n²·width FLOPs.
func RitzValues(n int, g []float64, width int) []float64 {
	width = min(width, n)
	y := make([]float64, n*width)
	gemm.F64(false, false, n, width, n, 1, g, n, seed.Normal(seed.Stream(0, "linalg", "ritz"), n*width), width, 0, y, width)
	q, _ := QR(n, width, y)
	gemm.F64(false, false, n, width, n, 1, g, n, q, width, 0, y, width)
	small := make([]float64, width*width)
	gemm.F64(true, false, width, width, n, 1, q, width, y, width, 0, small, width)
	return nonNegative(NewSymmetric(width, small).Values)
}
