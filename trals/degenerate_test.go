package trals

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/trconvert/trconvert/internal/gemm"
	"github.com/trconvert/trconvert/internal/linalg"
	"github.com/trconvert/trconvert/tensor"
)

// degenerateMatrices have far fewer directions than a ring of ranks 8 could use, or none that it could use well.
func degenerateMatrices() map[string]*tensor.Dense {
	r := rand.New(rand.NewPCG(1, 9))
	var u, v [64]float64
	for i := range u {
		u[i], v[i] = r.NormFloat64(), r.NormFloat64()
	}
	x := func(k int) float64 { return math.Cos(float64(k)) }
	y := func(k int) float64 { return math.Sin(float64(2*k + 1)) }
	all := make(map[string]*tensor.Dense)
	for name, f := range map[string]func(i, j int) float64{
		"constant": func(i, j int) float64 { return 1 },
		"rank one": func(i, j int) float64 { return u[i] * v[j] },
		"wave":     func(i, j int) float64 { return math.Sin(float64(i+j) / 20) },
		"digits":   func(i, j int) float64 { return float64(i%8 + i/8 + j%8 + j/8) },
		"border": func(i, j int) float64 { // the derivative of x⊗x⊗x⊗x: a limit of tensors of rank 2 that cancel
			a, b, c, d := i/8, i%8, j/8, j%8
			return y(a)*x(b)*x(c)*x(d) + x(a)*y(b)*x(c)*x(d) + x(a)*x(b)*y(c)*x(d) + x(a)*x(b)*x(c)*y(d)
		},
		"one":      func(i, j int) float64 { return max(0, 1-math.Abs(float64(i-j))) },
		"Hilbert":  func(i, j int) float64 { return 1 / float64(i+j+1) },
		"Toeplitz": func(i, j int) float64 { return math.Exp(-math.Abs(float64(i-j)) / 10) },
		"noise":    func(i, j int) float64 { return r.NormFloat64() },
	} {
		w := &tensor.Dense{Dims: []int{64, 64}, Data: make([]float32, 64*64)}
		for i := range 64 {
			for j := range 64 {
				w.Data[i*64+j] = float32(f(i, j))
			}
		}
		all[name] = w
	}
	return all
}

// kroneckerError is the least error of W[(o1,o2),(i1,i2)] ≈ A[o2,i1]·B[o1,i2], what a ring of ranks 8, 1, 8, 1 on modes of 8 can be: the best
// rank-one matrix of the rearranged elements (Van Loan and Pitsianis 1993).
func kroneckerError(w *tensor.Dense) float64 {
	x := make([]float64, len(w.Data))
	for o1 := range 8 {
		for o2 := range 8 {
			for i1 := range 8 {
				for i2 := range 8 {
					x[(o2*8+i1)*64+o1*8+i2] = float64(w.Data[(o1*8+o2)*64+i1*8+i2])
				}
			}
		}
	}
	g := make([]float64, 64*64)
	gemm.Gram64(false, 64, 64, x, 64, g, 64)
	values := linalg.Eigenvalues(64, g)
	return math.Sqrt(max(0, 1-values[0]/w.SquaredNorm()))
}

// On degenerate matrices large terms could cancel. The cores must still give the matrix in float32 arithmetic, as a runtime computes it, and reach
// the least error where that is known.
func TestDegenerateRingsDoNotCancel(t *testing.T) {
	modes := []int{8, 8}
	for name, w := range degenerateMatrices() {
		m, err := NewMatrix(t.Context(), w, 64)
		if err != nil {
			t.Fatal(err)
		}
		for _, ranks := range [][]int{{8, 1, 8, 1}, {1, 8, 1, 8}, {4, 1, 4, 1}, {8, 2, 8, 2}, {8, 8, 8, 8}} {
			for _, init := range []Init{InitCut, InitRandom} {
				res, err := m.Decompose(t.Context(), modes, modes, Options{Ranks: ranks, Init: init, Sweeps: 60, Tol: 1e-6})
				if err != nil {
					t.Fatal(err)
				}
				f := factor(64, 64, modes, modes, res.Cores)
				if e := f.Error(w); math.Abs(e-res.RelativeError) > 1e-6*e || e > 1 {
					t.Errorf("%s, ranks %v, start %d: reported %v, recomputed %v", name, ranks, init, res.RelativeError, e)
				}
				if least := kroneckerError(w); ranks[0] == 8 && ranks[1] == 1 && res.RelativeError > least*1.001+1e-6 {
					t.Errorf("%s, ranks %v, start %d: error %v, the least is %v", name, ranks, init, res.RelativeError, least)
				}
				if d := roundingError(w, f); d > 5e-6 {
					t.Errorf("%s, ranks %v, start %d: computed in float32 the matrix is off by %v", name, ranks, init, d)
				}
			}
		}
	}
}

// roundingError is how far a factor's matrix computed in float32, sides first, is from its true one, relative to w.
func roundingError(w *tensor.Dense, f *tensor.Factor) float64 {
	n := len(f.InModes)
	merged := func(cores []tensor.Core, outermostLast bool) []float32 {
		x, rows := cores[0].Data, cores[0].Mode
		a, q := cores[0].Left, cores[0].Right
		for _, g := range cores[1:] {
			y := make([]float32, a*rows*g.Mode*g.Right)
			gemm.F32(false, false, a*rows, g.Mode*g.Right, q, 1, x, q, g.Data, g.Mode*g.Right, 0, y, g.Mode*g.Right)
			x, rows, q = y, rows*g.Mode, g.Right
		}
		order := [4]int{0, 2, 1, 3}
		if outermostLast {
			order = [4]int{0, 2, 3, 1}
		}
		return permute4(x, [4]int{1, a, rows, q}, order)
	}
	right, left := merged(f.Cores[:n], false), merged(f.Cores[n:], true)
	ab := f.Cut()
	got := make([]float32, f.Out*f.In)
	gemm.F32(false, true, f.Out, f.In, ab, 1, left, ab, right, ab, 0, got, f.In)
	var sum float64
	for i, v := range f.Reconstruct().Data {
		d := float64(v) - float64(got[i])
		sum += d * d
	}
	return math.Sqrt(sum) / w.Norm()
}
