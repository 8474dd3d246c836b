package linalg

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func normal(r *rand.Rand, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = r.NormFloat64()
	}
	return x
}

// times is the product a·b written out.
func times(m, k, n int, a, b []float64) []float64 {
	c := make([]float64, m*n)
	for i := range m {
		for x := range k {
			for j := range n {
				c[i*n+j] += a[i*k+x] * b[x*n+j]
			}
		}
	}
	return c
}

func maxDiff(a, b []float64) float64 {
	var d float64
	for i := range a {
		d = max(d, math.Abs(a[i]-b[i]))
	}
	return d
}

func identity(n int) []float64 {
	e := make([]float64, n*n)
	for i := range n {
		e[i*n+i] = 1
	}
	return e
}

// matrix returns W = U·diag(σ)·Vᵀ with random orthonormal U, V, whose singular values are therefore known.
func matrix(m, n int, sigma []float64) []float32 {
	r := rand.New(rand.NewPCG(11, 12))
	k := len(sigma)
	u, _ := QR(m, k, normal(r, m*k))
	v, _ := QR(n, k, normal(r, n*k))
	for i := range m {
		for j := range k {
			u[i*k+j] *= sigma[j]
		}
	}
	w := times(m, k, n, u, Transpose(n, k, v))
	w32 := make([]float32, len(w))
	for i, x := range w {
		w32[i] = float32(x)
	}
	return w32
}

func power(n int, exponent float64) []float64 {
	s := make([]float64, n)
	for i := range s {
		s[i] = math.Pow(float64(i+1), -exponent)
	}
	return s
}

func energy(w []float32) float64 {
	var e float64
	for _, v := range w {
		e += float64(v) * float64(v)
	}
	return e
}

func TestQR(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range [][2]int{{1, 1}, {5, 5}, {40, 7}, {300, 64}} {
		m, n := s[0], s[1]
		a := normal(r, m*n)
		q, u := QR(m, n, a)
		if d := maxDiff(times(m, n, n, q, u), a); d > 1e-13*float64(m) {
			t.Errorf("%v: q·r differs from a by %v", s, d)
		}
		if d := maxDiff(times(n, m, n, Transpose(m, n, q), q), identity(n)); d > 1e-13 {
			t.Errorf("%v: qᵀq differs from 1 by %v", s, d)
		}
		for i := range n {
			for j := range n {
				if j < i && u[i*n+j] != 0 || i == j && u[i*n+i] < 0 {
					t.Errorf("%v: r[%d,%d] = %v", s, i, j, u[i*n+j])
				}
			}
		}
	}
	zero, u := QR(3, 2, make([]float64, 6))
	if d := maxDiff(times(2, 3, 2, Transpose(3, 2, zero), zero), identity(2)); d > 1e-15 || maxDiff(u, make([]float64, 4)) != 0 {
		t.Error("QR of a zero matrix is no orthonormal basis")
	}
}

func TestCholesky(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{1, 3, 48, 50, 300} {
		a := normal(r, n*n)
		g := times(n, n, n, Transpose(n, n, a), a)
		for i := range n {
			g[i*n+i]++
		}
		x := normal(r, n*2)
		b := times(n, n, 2, g, x)
		right := slices.Clone(b)
		values := Eigenvalues(n, g)
		c, ok := NewCholesky(n, append([]float64(nil), g...))
		if !ok {
			t.Fatalf("n=%d: refused a positive definite matrix", n)
		}
		c.Solve(2, b)
		if d := maxDiff(b, x); d > 1e-10 {
			t.Errorf("n=%d: solution is off by %v", n, d)
		}
		beside := make([]float64, n*(n+2))
		for i := range n {
			copy(beside[i*(n+2):], g[i*n:(i+1)*n])
			copy(beside[i*(n+2)+n:], right[2*i:2*i+2])
		}
		if !c.FactorWith(n, 2, beside) {
			t.Fatalf("n=%d: refused a positive definite matrix with right sides beside it", n)
		}
		c.Back()
		for i := range n {
			if d := maxDiff(beside[i*(n+2)+n:(i+1)*(n+2)], x[2*i:2*i+2]); d > 1e-10 {
				t.Errorf("n=%d: row %d of the solution taken along is off by %v", n, i, d)
			}
		}
		if cond := values[0] / values[n-1]; c.Spread() > cond*(1+1e-9) || c.Spread() < 1 {
			t.Errorf("n=%d: spread of the pivots %v, condition number %v", n, c.Spread(), cond)
		}
	}
	if _, ok := NewCholesky(2, []float64{1, 2, 2, 1}); ok {
		t.Error("accepted an indefinite matrix")
	}
	if c, ok := NewCholesky(2, []float64{1, 0, 0, 1e-14}); !ok || c.Spread() < 1e13 {
		t.Error("did not notice a nearly singular matrix")
	}
}

func TestEigen(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, n := range []int{1, 2, 30, 120} {
		a := normal(r, n*n)
		g := times(n, n, n, Transpose(n, n, a), a)
		values, v := Eigen(n, g)
		gv := times(n, n, n, g, v)
		for i := range n {
			for j := range n {
				if d := math.Abs(gv[i*n+j] - values[j]*v[i*n+j]); d > 1e-12*values[0] {
					t.Fatalf("n=%d: eigenvector %d is off by %v", n, j, d)
				}
			}
		}
		if !slices.IsSortedFunc(values, func(a, b float64) int { return int(math.Copysign(1, b-a)) }) {
			t.Errorf("n=%d: values %v are not descending", n, values)
		}
		if d := maxDiff(values, Eigenvalues(n, g)); d > 1e-12*values[0] {
			t.Errorf("n=%d: values without vectors are off by %v", n, d)
		}
	}
}

// spectra are named lists of singular values: fast and slow decay, exact low rank, equal values, a far outlier.
var spectra = map[string]func(n int) []float64{
	"power law": func(n int) []float64 { return power(n, 0.8) },
	"steep":     func(n int) []float64 { return power(n, 4) },
	"low rank":  func(n int) []float64 { return power(min(n, 12), 0.5) },
	"flat":      func(n int) []float64 { return power(n, 0) },
	"outlier":   func(n int) []float64 { s := power(n, 0.3); s[0] = 1e4; return s },
}

func TestSpectrumOfKnownMatrices(t *testing.T) {
	for name, decay := range spectra {
		for _, shape := range [][2]int{{350, 420}, {420, 350}, {40, 60}, {60, 20}, {1, 9}} {
			m, n := shape[0], shape[1]
			p := min(m, n)
			sigma := decay(p)
			w := matrix(m, n, sigma)
			e := energy(w)
			s, _ := Analyze(t.Context(), w, m, n, e, 5)
			if !s.Exact {
				t.Fatalf("%s %v: not exact", name, shape)
			}
			slack := 3e-7 * math.Sqrt(e) * sigma[0] // float32 rounding of W moves σ² by so much
			for _, k := range []int{0, 1, 5, 12, 25, p} {
				if k > p {
					continue
				}
				want := 0.0
				for _, v := range sigma[min(k, len(sigma)):] {
					want += v * v
				}
				if got := s.Tail(k); math.Abs(got-want) > slack*float64(p) {
					t.Errorf("%s %v: tail beyond %d is %v, want %v", name, shape, k, got, want)
				}
				if k == 0 {
					continue
				}
				left, right := s.Truncate(w, k)
				var diff float64
				x := times(m, k, n, left, Transpose(n, k, right))
				for i, v := range w {
					diff += (float64(v) - x[i]) * (float64(v) - x[i])
				}
				if below := s.TailBelow(k); diff < below || diff > s.Tail(k)+1e-9*e {
					t.Errorf("%s %v: truncated SVD of rank %d has squared error %v, bounds %v and %v", name, shape, k, diff, below, s.Tail(k))
				}
			}
		}
	}
}

// The sketch must bracket the true tail, which the matrices' known singular values give.
func TestSketchBracketsTheTail(t *testing.T) {
	for name, decay := range spectra {
		for _, shape := range [][2]int{{200, 310}, {310, 200}} {
			m, n := shape[0], shape[1]
			sigma := decay(min(m, n))
			w := matrix(m, n, sigma)
			e := energy(w)
			s := &Spectrum{Rows: m, Cols: n, Energy: e, wide: m <= n}
			_ = s.sketch(t.Context(), w, 30)
			for _, k := range []int{0, 1, 5, 20} {
				want := 0.0
				for _, v := range sigma[min(k, len(sigma)):] {
					want += v * v
				}
				slack := 1e-6 * math.Sqrt(e) * sigma[0]
				if below, above := s.TailBelow(k), s.Tail(k); below > want+slack || above < want-slack {
					t.Errorf("%s %v, rank %d: bounds %v and %v do not hold %v", name, shape, k, below, above, want)
				}
				if name == "power law" && k > 0 && (s.Tail(k) > 1.01*want || s.TailBelow(k) < 0.4*want) {
					t.Errorf("%s %v, rank %d: bounds %v and %v are far from %v", name, shape, k, s.TailBelow(k), s.Tail(k), want)
				}
			}
		}
	}
}

func TestTruncateDense(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, s := range [][3]int{{6, 9, 4}, {9, 6, 4}, {5, 5, 5}, {1, 7, 1}, {7, 1, 1}, {40, 350, 10}} {
		m, n, k := s[0], s[1], s[2]
		a := normal(r, m*n)
		u, vt, squares := TruncateDense(m, n, a, k)
		var diff, tail float64
		for i, v := range times(m, k, n, u, vt) {
			diff += (v - a[i]) * (v - a[i])
		}
		for _, v := range squares[k:] {
			tail += v
		}
		if math.Abs(diff-tail) > 1e-10 {
			t.Errorf("%v: squared error %v, tail of the singular values %v", s, diff, tail)
		}
	}
}

func TestZeroMatrix(t *testing.T) {
	for _, shape := range [][2]int{{20, 30}, {310, 320}} {
		w := make([]float32, shape[0]*shape[1])
		s, _ := Analyze(t.Context(), w, shape[0], shape[1], 0, 3)
		left, right := s.Truncate(w, 3)
		for _, v := range append(left, right...) {
			if v != v {
				t.Fatalf("%v: NaN in the factors of a zero matrix", shape)
			}
		}
		if s.Tail(3) != 0 || s.TailBelow(3) != 0 {
			t.Errorf("%v: tail %v", shape, s.Tail(3))
		}
	}
}

func BenchmarkAnalyze(b *testing.B) {
	for _, s := range [][2]int{{512, 257}, {1024, 4096}} {
		w := matrix(s[0], s[1], power(min(s[0], s[1]), 0.8))
		e := energy(w)
		b.Run(fmt.Sprintf("shape=%dx%d", s[0], s[1]), func(b *testing.B) {
			for b.Loop() {
				a, _ := Analyze(b.Context(), w, s[0], s[1], e, 50)
				a.Truncate(w, 50)
			}
		})
	}
}

func TestRitzValuesAreBelowAndNear(t *testing.T) {
	n := 150
	for name, decay := range spectra {
		sigma := decay(n)
		w := matrix(n, n, sigma)
		g := make([]float64, n*n)
		for i := range n {
			for j := range n {
				for k := range n {
					g[i*n+j] += float64(w[i*n+k]) * float64(w[j*n+k])
				}
			}
		}
		values := Eigenvalues(n, g)
		got := RitzValues(n, g, 40)
		var sum, want float64
		for i, v := range got[:30] {
			if v > values[i]*(1+1e-9)+1e-12*values[0] {
				t.Errorf("%s: Ritz value %d is %v, above the eigenvalue %v", name, i, v, values[i])
			}
			sum, want = sum+v, want+values[i]
		}
		if sum < 0.97*want {
			t.Errorf("%s: 30 Ritz values sum to %v, eigenvalues to %v", name, sum, want)
		}
	}
}

// FastQR's factors multiply to the matrix, whatever its condition; columns are orthonormal as its documentation says.
func TestFastQR(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var c Cholesky
	for _, shape := range [][2]int{{1, 1}, {5, 3}, {64, 8}, {40, 16}, {70, 17}, {200, 60}, {300, 140}} {
		for _, small := range []float64{1, 1e-3, 1e-6, 0} { // the last column's distance from the others' span
			m, n := shape[0], shape[1]
			a := normal(r, m*n)
			for i := range m {
				sum := 0.0
				for j := range n - 1 {
					sum += a[i*n+j]
				}
				a[i*n+n-1] = sum + small*a[i*n+n-1]
			}
			q, upper := append([]float64(nil), a...), normal(r, n*n)
			FastQR(m, n, q, upper, &c, normal(r, m*n))
			if d := maxDiff(times(m, n, n, q, upper), a); d > 1e-10 {
				t.Errorf("%d×%d, %v: q·r is off by %v", m, n, small, d)
			}
			if d := maxDiff(times(n, m, n, Transpose(m, n, q), q), identity(n)); d > 1e-7 {
				t.Errorf("%d×%d, %v: qᵀq is off by %v", m, n, small, d)
			}
			for i := range n {
				for j := range i {
					if upper[i*n+j] != 0 {
						t.Fatalf("%d×%d: r is not upper triangular", m, n)
					}
				}
			}
		}
	}
}

// Eigenvalues are those of LAPACK's algorithm in gonum, and leading vectors are orthonormal eigenvectors, for sizes about those of panels and
// for matrices that are diagonal already, of low rank, zero or far from one.
func TestSymmetric(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, n := range []int{1, 2, 3, 31, 32, 33, 34, 64, 65, 100, 150} {
		gram := func(rank int, scale float64) []float64 {
			a := normal(r, n*rank)
			g := times(n, rank, n, a, Transpose(n, rank, a))
			scaleRow(scale, g)
			return g
		}
		diagonal, apart := identity(n), gram(n, 1e-130)
		for i := range n {
			diagonal[i*n+i] = float64(i % 5)
			apart[i], apart[i*n] = 0, 0
		}
		apart[0] = 1
		for name, a := range map[string][]float64{"full": gram(n, 1), "rank 2": gram(min(n, 2), 1), "tiny": gram(n, 1e-90), "huge": gram(n, 1e80), "far apart": apart,
			"zero": make([]float64, n*n), "one": identity(n), "diagonal": diagonal} {
			want, _ := Eigen(n, a)
			s, err := NewSymmetric(t.Context(), n, slices.Clone(a))
			if err != nil {
				t.Fatal(err)
			}
			size := max(math.Abs(want[0]), math.Abs(want[n-1]))
			if d := maxDiff(s.Values, want); d > 1e-13*float64(n)*size {
				t.Errorf("n=%d, %s: values are off by %v of %v", n, name, d, size)
			}
			k := min(n, 7)
			v := s.Leading(k)
			if d := maxDiff(times(k, n, k, Transpose(n, k, v), v), identity(k)); d > 1e-12 {
				t.Errorf("n=%d, %s: vectors are orthonormal but for %v", n, name, d)
			}
			av := times(n, n, k, a, v)
			for i := range n {
				for j := range k {
					if d := math.Abs(av[i*k+j] - want[j]*v[i*k+j]); !(d <= 1e-12*float64(n)*size) {
						t.Fatalf("n=%d, %s: vector %d is off by %v of %v", n, name, j, d, size)
					}
				}
			}
		}
	}
}

func TestCancelledAnalysis(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewSymmetric(ctx, 40, identity(40)); !errors.Is(err, context.Canceled) {
		t.Errorf("a reduction gave %v", err)
	}
	s := &Spectrum{Rows: 60, Cols: 50}
	if err := s.sketch(ctx, matrix(60, 50, power(50, 1)), 10); !errors.Is(err, context.Canceled) {
		t.Errorf("a sketch gave %v", err)
	}
}
