package linalg

import (
	"context"
	"math"

	"github.com/trconvert/trconvert/internal/gemm"
	"github.com/trconvert/trconvert/internal/seed"
)

// Spectrum is what is known about the singular values of a matrix W [m, n]: enough for truncated SVDs and for true bounds.
//
// It is exact where the Gram of the smaller side is affordable: all σ² are then its eigenvalues, each to about 1e-13·‖W‖_F². Otherwise
// it comes from a randomised range finder with power iterations (Halko, Martinsson and Tropp 2011, algorithm 4.4): the leading σ² are
// then slightly too small, tails bracketed from both sides.
type Spectrum struct {
	Rows, Cols int
	Energy     float64   // ‖W‖_F²
	Squares    []float64 // σ², descending: min(Rows, Cols) of them if Exact, else the leading ones
	Exact      bool

	wide    bool       // the smaller side is the rows
	gram    *Symmetric // exact: of the smaller side
	vectors []float64  // not exact: [min(Rows, Cols), len(Squares)], orthonormal
	rest    float64    // not exact: about ‖C‖_F for the Gram C of what the vectors do not span
}

const (
	exactSide     = 2048
	exactProducts = 2e10
	probes        = 16
)

// Analyze finds the spectrum of w [m, n]. leading is how many singular values and vectors will be asked for; energy is ‖W‖_F².
// Cost: m·n·min(m,n) FLOPs if exact, else about 10·m·n·leading. A cancelled ctx ends it with ctx's error.
func Analyze(ctx context.Context, w []float32, m, n int, energy float64, leading int) (*Spectrum, error) {
	s := &Spectrum{Rows: m, Cols: n, Energy: energy, wide: m <= n}
	p := min(m, n)
	if p <= exactSide && float64(m)*float64(n)*float64(p)/2 <= exactProducts {
		s.Exact = true
		g := make([]float64, p*p)
		gemm.Gram(!s.wide, p, max(m, n), w, n, g, p)
		var err error
		if s.gram, err = NewSymmetric(ctx, p, g); err != nil {
			return nil, err
		}
		s.Squares = nonNegative(s.gram.Values)
		return s, nil
	}
	return s, s.sketch(ctx, w, min(p, leading+max(10, leading/5)))
}

// sketch finds the leading singular vectors of the smaller side.
func (s *Spectrum) sketch(ctx context.Context, w []float32, count int) error {
	m, n := s.Rows, s.Cols
	p, q := min(m, n), max(m, n)
	up := func(cols int, z []float64) []float64 { // from the larger side to the smaller: W·z, or Wᵀ·z
		y := make([]float64, p*cols)
		gemm.Wide(!s.wide, false, p, cols, q, 1, w, n, z, cols, 0, y, cols)
		return y
	}
	down := func(cols int, y []float64) []float64 {
		z := make([]float64, q*cols)
		gemm.Wide(s.wide, false, q, cols, p, 1, w, n, y, cols, 0, z, cols)
		return z
	}
	r := seed.Stream(0, "linalg", "sketch")
	basis, _ := QR(p, count, up(count, seed.Normal(r, q*count)))
	const powers = 2
	var z []float64
	for i := range powers + 1 {
		z = down(count, basis)
		if err := ctx.Err(); err != nil {
			return err
		}
		if i < powers {
			basis, _ = QR(p, count, up(count, z))
		}
	}
	small := make([]float64, count*count)
	gemm.Gram64(true, count, q, z, count, small, count)
	values, v := Eigen(count, small)
	s.Squares = nonNegative(values)
	s.vectors = make([]float64, p*count)
	gemm.F64(false, false, p, count, count, 1, basis, count, v, count, 0, s.vectors, count)
	fixSigns(p, count, s.vectors)

	project := func(y []float64) { // y −= vectors·(vectorsᵀ·y)
		t := make([]float64, count*probes)
		gemm.F64(true, false, count, probes, p, 1, s.vectors, count, y, probes, 0, t, probes)
		gemm.F64(false, false, p, probes, count, -1, s.vectors, count, t, probes, 1, y, probes)
	}
	y := seed.Normal(r, p*probes)
	project(y)
	y = up(probes, down(probes, y))
	project(y)
	var sum float64
	for _, v := range y {
		sum += v * v
	}
	s.rest = math.Sqrt(sum / probes)
	return ctx.Err()
}

// TailBelow returns a value that Σ_{i>k} σ_i², and so ‖W−X‖_F² for every X of rank at most k, is not below.
//
// Exact: the tail itself less its rounding. Otherwise, with V the vectors found, tail(W) ≥ tail(VVᵀW) + tail(W−VVᵀW) because the
// two parts are orthogonal; the first is known, and of the second's energy E no rank k can take more than √k·‖C‖_F, C its Gram, whose
// norm is estimated from 16 random probes and taken with a factor 1.5. C is what power iterations left, many values of like
// size, so the estimate is good to a few percent and the factor makes a false bound practically impossible.
func (s *Spectrum) TailBelow(k int) float64 {
	sum := 0.0
	for i := len(s.Squares) - 1; i >= k; i-- {
		sum += s.Squares[i]
	}
	if !s.Exact {
		energy := s.Energy
		for _, v := range s.Squares {
			energy -= v
		}
		if k < len(s.Squares) || k < min(s.Rows, s.Cols) {
			sum += max(0, energy-1.5*math.Sqrt(float64(k))*s.rest)
		}
	}
	return max(0, sum-1e-13*s.Energy)
}

// Tail returns the squared error of the truncated SVD of rank k that [Spectrum.Truncate] gives: Σ_{i>k} σ_i², to about 1e-13·‖W‖_F².
// If k exceeds what was asked of a spectrum that is not exact, it is that of the largest known rank.
func (s *Spectrum) Tail(k int) float64 {
	if s.Exact {
		sum := 0.0
		for i := len(s.Squares) - 1; i >= k; i-- {
			sum += s.Squares[i]
		}
		return sum
	}
	sum := s.Energy
	for _, v := range s.Squares[:min(k, len(s.Squares))] {
		sum -= v
	}
	return max(0, sum)
}

// Truncate returns the truncated SVD W ≈ left·rightᵀ of rank k, left [Rows, k], right [Cols, k], σ shared evenly: column i of each
// has norm √σ_i. k must not exceed min(Rows, Cols), nor what was asked of a spectrum that is not exact.
func (s *Spectrum) Truncate(w []float32, k int) (left, right []float64) {
	p, q := min(s.Rows, s.Cols), max(s.Rows, s.Cols)
	var small []float64
	if s.Exact {
		small = s.gram.Leading(k)
	} else {
		small = columns(p, len(s.Squares), k, s.vectors)
	}
	large := make([]float64, q*k)
	gemm.Wide(s.wide, false, q, k, p, 1, w, s.Cols, small, k, 0, large, k)
	for j := range k {
		var norm float64
		for i := range q {
			norm += large[i*k+j] * large[i*k+j]
		}
		if norm = math.Sqrt(norm); norm == 0 {
			norm = 1 // σ = 0: the large side is zero already, any scale of the small side will do
		}
		root := math.Sqrt(norm)
		for i := range q {
			large[i*k+j] /= root
		}
		for i := range p {
			small[i*k+j] *= root
		}
	}
	if s.wide {
		return small, large
	}
	return large, small
}

// TruncateDense returns the truncated SVD a ≈ u·vt of a float64 matrix a [m, n]: u [m, k] with orthonormal columns, vt [k, n] = uᵀ·a,
// and the squared singular values, of which there are min(m, n). Singular values below 1e-8 of the largest are lost in rounding.
func TruncateDense(m, n int, a []float64, k int) (u, vt, squares []float64) {
	vt = make([]float64, k*n)
	if m <= n {
		g := make([]float64, m*m)
		gemm.Gram64(false, m, n, a, n, g, m)
		squares, u = leading(m, g, k)
	} else {
		g := make([]float64, n*n)
		gemm.Gram64(true, n, m, a, n, g, n)
		var v []float64
		squares, v = leading(n, g, k)
		av := make([]float64, m*k)
		gemm.F64(false, false, m, k, n, 1, a, n, v, k, 0, av, k)
		u, _ = QR(m, k, av)
		fixSigns(m, k, u)
	}
	gemm.F64(true, false, k, n, m, 1, u, k, a, n, 0, vt, n)
	return u, vt, nonNegative(squares)
}

// nonNegative is the eigenvalues of a Gram without the negative ones that rounding makes.
func nonNegative(values []float64) []float64 {
	squares := make([]float64, len(values))
	for i, v := range values {
		squares[i] = max(v, 0)
	}
	return squares
}
