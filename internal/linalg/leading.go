package linalg

import (
	"context"
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

	n      int
	d, e   []float64 // diagonal and off-diagonal of the tridiagonal T
	a, tau []float64 // A = Q·T·Qᵀ with Q = H_0⋯H_{n−2}, H_j = 1 − tau[j]·v·vᵀ; row j of a has v from column j+1 on
}

// tridiagonalPanel is the number of reflections that are applied together.
const tridiagonalPanel = 32

// NewSymmetric reduces a [n, n], of which both triangles are read and which is overwritten, and finds its eigenvalues. Cost: 2·n³ FLOPs, a third of
// them in products of a matrix with a vector. A cancelled ctx ends it with ctx's error.
func NewSymmetric(ctx context.Context, n int, a []float64) (*Symmetric, error) {
	s := &Symmetric{n: n, a: a, d: make([]float64, n), e: make([]float64, max(0, n-1)), tau: make([]float64, max(0, n-1))}
	panel := min(tridiagonalPanel, n)
	v, w := make([]float64, panel*n), make([]float64, panel*n)
	for j := 0; j < n; j += panel {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s.reduce(j, min(panel, n-j), v, w)
	}
	s.Values = withoutTiny(s.d)
	var lp lapackgo.Implementation
	if !lp.Dsterf(n, s.Values, withoutTiny(s.e)) {
		panic("linalg: eigenvalue iteration did not converge") // finite data do not bring this about
	}
	for i, j := 0, n-1; i < j; i, j = i+1, j-1 {
		s.Values[i], s.Values[j] = s.Values[j], s.Values[i]
	}
	return s, nil
}

// withoutTiny is a copy of x with zeros for what no product of float32 numbers comes near: gonum's Dsterf panics where it means to scale up a
// block of such numbers.
func withoutTiny(x []float64) []float64 {
	y := append([]float64(nil), x...)
	for i, v := range y {
		if math.Abs(v) < 1e-120 {
			y[i] = 0
		}
	}
	return y
}

// reduce makes columns first…first+count tridiagonal (Golub and Van Loan, section 8.3.1, in the blocked form of Dongarra, Sorensen and Hammarling
// 1989). With the panel's reflections v and what they come to on A, w = tau·(A·v) − …, the rest of A takes −Σ (v·wᵀ + w·vᵀ) at once;
// inside the panel only the column at hand does. v and w are [count, n].
func (s *Symmetric) reduce(first, count int, v, w []float64) {
	n, a := s.n, s.a
	// less subtracts from x, of columns from on, what the first i reflections make of column at, or of a vector given by its products with them.
	less := func(x []float64, from, i int, onV, onW []float64) {
		gemm.F64(false, false, 1, n-from, i, -1, onV, i, w[from:], n, 1, x, n-from)
		gemm.F64(false, false, 1, n-from, i, -1, onW, i, v[from:], n, 1, x, n-from)
	}
	onV, onW := make([]float64, count), make([]float64, count)
	for i := range count {
		j := first + i
		column := a[j*n+j : (j+1)*n]
		for l := range i {
			onV[l], onW[l] = v[l*n+j], w[l*n+j]
		}
		less(column, j, i, onV[:i], onW[:i])
		s.d[j] = column[0]
		clear(v[i*n : (i+1)*n])
		clear(w[i*n : (i+1)*n])
		if j == n-1 {
			break
		}
		rest := column[1:]
		s.e[j], s.tau[j] = reflector(rest)
		vi, wi := v[i*n+j+1:(i+1)*n], w[i*n+j+1:(i+1)*n]
		copy(vi, rest)
		if s.tau[j] == 0 {
			continue
		}
		m := n - j - 1
		gemm.F64(false, false, m, 1, m, 1, a[(j+1)*n+j+1:], n, vi, 1, 0, wi, 1)
		gemm.F64(false, false, i, 1, m, 1, v[j+1:], n, vi, 1, 0, onV, 1)
		gemm.F64(false, false, i, 1, m, 1, w[j+1:], n, vi, 1, 0, onW, 1)
		less(wi, j+1, i, onV[:i], onW[:i])
		scaleRow(s.tau[j], wi)
		axpy(-s.tau[j]/2*dot(wi, vi), vi, wi)
	}
	if last := first + count; last < n {
		m := n - last
		gemm.F64(true, false, m, m, count, -1, v[last:], n, w[last:], n, 1, a[last*n+last:], n)
		gemm.F64(true, false, m, m, count, -1, w[last:], n, v[last:], n, 1, a[last*n+last:], n)
	}
}

// reflector replaces x by v, v_0 = 1, so that (1 − tau·v·vᵀ)·x = beta·e_0.
func reflector(x []float64) (beta, tau float64) {
	below := 0.0
	for _, y := range x[1:] {
		below = max(below, math.Abs(y))
	}
	if below == 0 {
		beta = x[0]
		x[0] = 1
		return beta, 0
	}
	largest := max(below, math.Abs(x[0]))
	var sum float64
	for _, y := range x {
		sum += y / largest * (y / largest)
	}
	beta = -math.Copysign(largest*math.Sqrt(sum), x[0])
	tau = (beta - x[0]) / beta
	scale := x[0] - beta
	for i := 1; i < len(x); i++ {
		x[i] /= scale
	}
	x[0] = 1
	return beta, tau
}

// Leading returns the eigenvectors of the k largest eigenvalues as the columns of a matrix [n, k].
//
// Each is found by inverse iteration on T, kept orthogonal to all before it, so that clusters of equal eigenvalues give an orthonormal
// basis of their space. Cost: 4·n²·k + 8·n·k² FLOPs.
func (s *Symmetric) Leading(k int) []float64 {
	n := s.n
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
	s.rotate(k, z)
	v := Transpose(k, n, z)
	fixSigns(n, k, v)
	return v
}

// rotate multiplies each row of z [k, n] by Q, a panel of reflections H_j⋯H_{j+p−1} = 1 − Vᵀ·T·V at a time (Schreiber and Van Loan 1989).
func (s *Symmetric) rotate(k int, z []float64) {
	n := s.n
	const most = tridiagonalPanel
	v, t := make([]float64, most*n), make([]float64, most*most)
	x, y := make([]float64, k*most), make([]float64, k*most)
	for first := (n - 2) / most * most; first >= 0; first -= most {
		count := min(most, n-1-first)
		from := first + 1
		m := n - from
		clear(t)
		for i := range count { // T is upper triangular
			j := first + i
			row := v[i*m : (i+1)*m]
			clear(row[:i])
			copy(row[i:], s.a[j*n+j+1:(j+1)*n])
			for l := range i {
				c := -s.tau[j] * dot(v[l*m+i:(l+1)*m], row[i:])
				for r := range l + 1 {
					t[r*most+i] += t[r*most+l] * c
				}
			}
			t[i*most+i] = s.tau[j]
		}
		gemm.F64(false, true, k, count, m, 1, z[from:], n, v, m, 0, x, count)
		gemm.F64(false, true, k, count, count, 1, x, count, t, most, 0, y, count)
		gemm.F64(false, false, k, m, count, -1, y, count, v, m, 1, z[from:], n)
	}
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
	return symmetric(n, append([]float64(nil), a...)).Values
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

// symmetric is NewSymmetric where nobody waits long.
func symmetric(n int, a []float64) *Symmetric {
	s, _ := NewSymmetric(context.Background(), n, a)
	return s
}

// leading is the k leading eigenpairs of a symmetric a [n, n], which is overwritten, and all eigenvalues.
func leading(n int, a []float64, k int) (values, vectors []float64) {
	if n <= fullVectors {
		values, v := Eigen(n, a)
		return values, columns(n, n, k, v)
	}
	s := symmetric(n, a)
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
	return nonNegative(symmetric(width, small).Values)
}

func dot(x, y []float64) float64 {
	var s0, s1 float64
	y = y[:len(x)]
	i := 0
	for ; i+2 <= len(x); i += 2 {
		s0 += x[i] * y[i]
		s1 += x[i+1] * y[i+1]
	}
	if i < len(x) {
		s0 += x[i] * y[i]
	}
	return s0 + s1
}

func axpy(a float64, x, y []float64) {
	y = y[:len(x)]
	for i, v := range x {
		y[i] += a * v
	}
}

func scaleRow(a float64, x []float64) {
	for i := range x {
		x[i] *= a
	}
}
