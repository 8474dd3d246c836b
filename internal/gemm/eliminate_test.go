package gemm

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestEliminate multiplies the factor and its inverse back: L·Lᵀ is the matrix and L⁻¹·L the identity.
func TestEliminate(t *testing.T) {
	forKernels(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(7, 7))
		for _, panel := range []int{16, 32} {
			for w := 1; w <= panel; w++ {
				const guard = 8
				a := make([]float64, w*w)
				for i := range w {
					for j := range i + 1 {
						a[i*w+j] = r.NormFloat64()
						if i == j {
							a[i*w+j] = float64(w) + 2*math.Sqrt(float64(w))
						}
						a[j*w+i] = a[i*w+j]
					}
				}
				memory := make([]float64, guard+w*2*panel+guard)
				for i := range memory {
					memory[i] = 0.125
				}
				x := memory[guard : guard+w*2*panel]
				clear(x)
				for i := range w {
					copy(x[i*2*panel+i:], a[i*w+i:(i+1)*w])
					x[i*2*panel+panel+i] = 1
				}
				if !Eliminate(panel, w, x) {
					t.Fatalf("panel %d: block of %d is called indefinite", panel, w)
				}
				at := func(i, j int) float64 { return x[i*2*panel+j] }
				for i := range w {
					for j := range w {
						var square, unit float64
						for k := range min(i, j) + 1 {
							square += at(k, i) * at(k, j)
						}
						for k := j; k <= i; k++ {
							unit += at(i, panel+k) * at(j, k)
						}
						if d := math.Abs(square - a[i*w+j]); d > 1e-14*float64(w) {
							t.Errorf("panel %d, block of %d: L·Lᵀ[%d,%d] is off by %g", panel, w, i, j, d)
						}
						want := 0.0
						if i == j {
							want = 1
						}
						if d := math.Abs(unit - want); d > 1e-14*float64(w) {
							t.Errorf("panel %d, block of %d: L⁻¹·L[%d,%d] is off by %g", panel, w, i, j, d)
						}
						if j > i && at(i, panel+j) != 0 {
							t.Errorf("panel %d, block of %d: L⁻¹[%d,%d] is %g above the diagonal", panel, w, i, j, at(i, panel+j))
						}
					}
				}
				for i := range guard {
					if memory[i] != 0.125 || memory[len(memory)-1-i] != 0.125 {
						t.Fatalf("panel %d, block of %d: wrote outside", panel, w)
					}
				}
			}
		}
	})
}

func TestEliminateIndefinite(t *testing.T) {
	forKernels(t, func(t *testing.T) {
		for _, panel := range []int{16, 32} {
			for _, bad := range []float64{0, -1, math.NaN(), math.Inf(1), math.Inf(-1)} {
				for _, place := range []int{0, 5, panel - 1} {
					x := make([]float64, panel*2*panel)
					for i := range panel {
						x[i*2*panel+i], x[i*2*panel+panel+i] = 1, 1
					}
					x[place*2*panel+place] = bad
					if Eliminate(panel, panel, x) {
						t.Errorf("panel %d: pivot %d is %v, which is taken as definite", panel, place, bad)
					}
				}
			}
		}
	})
}
