package vec

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/trconvert/trconvert/internal/gemm"
)

// TestTrainingKernels compares the kernels with their formulas in float64: want gives, for element i of the arrays before the call, what they hold after it.
func TestTrainingKernels(t *testing.T) {
	const tol = 2e-6 // a few roundings of values below 8
	sig := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	steep := func(y float64) float64 { return y * (1 - y) }
	cases := []struct {
		name  string
		parts []int // the size of each array, as a multiple of n
		run   func(x [][]float32)
		want  func(at func(array, part int) float64, set func(array, part int, v float64))
	}{
		{"LSTMStep", []int{4, 4, 1, 1, 1}, func(x [][]float32) { LSTMStep(x[0], x[1], x[2], x[3], x[4]) },
			func(at func(array, part int) float64, set func(array, part int, v float64)) {
				sum := func(k int) float64 { return at(0, k) + at(1, k) }
				i, o, f, c := sig(sum(0)), sig(sum(1)), sig(sum(2)), math.Tanh(sum(3))
				next := f*at(2, 0) + i*c
				for k, v := range []float64{i, o, f, c} {
					set(0, k, v)
				}
				set(3, 0, next)
				set(4, 0, o*math.Tanh(next))
			}},
		{"GRUStep", []int{3, 4, 1, 1, 1}, func(x [][]float32) { GRUStep(x[0], x[1], x[2], x[3], x[4]) },
			func(at func(array, part int) float64, set func(array, part int, v float64)) {
				z, r, p := sig(at(0, 0)+at(1, 0)), sig(at(0, 1)+at(1, 1)), at(2, 0)+at(1, 3)
				h := math.Tanh(at(0, 2) + at(1, 2) + r*p)
				for k, v := range []float64{z, r, h} {
					set(0, k, v)
				}
				set(2, 0, p)
				set(4, 0, (1-z)*h+z*at(3, 0))
			}},
		{"GRUBack", []int{1, 1, 1, 1}, func(x [][]float32) { GRUBack(x[0], x[1], x[2], x[3]) },
			func(at func(array, part int) float64, set func(array, part int, v float64)) {
				z, h, old, d := at(0, 0), at(1, 0), at(2, 0), at(3, 0)
				set(0, 0, d*(old-h)*steep(z))
				set(1, 0, d*(1-z)*(1-h*h))
				set(3, 0, d*z)
			}},
		{"GRUResetBack", []int{1, 1, 1}, func(x [][]float32) { GRUResetBack(x[0], x[1], x[2]) },
			func(at func(array, part int) float64, set func(array, part int, v float64)) {
				set(0, 0, at(2, 0)*at(1, 0)*steep(at(0, 0)))
				set(1, 0, at(2, 0)*at(0, 0))
			}},
		{"GRUGateBack", []int{1, 1, 1, 1}, func(x [][]float32) { GRUGateBack(x[0], x[1], x[2], x[3]) },
			func(at func(array, part int) float64, set func(array, part int, v float64)) {
				set(0, 0, at(1, 0)*at(2, 0)*steep(at(0, 0)))
				set(3, 0, at(3, 0)+at(1, 0)*at(0, 0))
			}},
	}
	r := rand.New(rand.NewPCG(3, 3))
	forKernels(t, func(t *testing.T) {
		for _, c := range cases {
			for n := range 40 {
				around, x, before := make([][]float32, len(c.parts)), make([][]float32, len(c.parts)), make([][]float32, len(c.parts))
				for k, p := range c.parts {
					around[k] = slices.Repeat([]float32{canary}, p*n+2*margin)
					x[k] = around[k][margin : margin+p*n : margin+p*n]
					for i := range x[k] {
						x[k][i] = float32(r.Float64()*2 - 1)
					}
					before[k] = slices.Clone(x[k])
				}
				c.run(x)
				for i := range n {
					want := slices.Clone(before)
					for k := range want {
						want[k] = slices.Clone(want[k])
					}
					c.want(func(array, part int) float64 { return float64(before[array][part*n+i]) },
						func(array, part int, v float64) { want[array][part*n+i] = float32(v) })
					for k, p := range c.parts {
						for part := range p {
							if got, w := x[k][part*n+i], want[k][part*n+i]; !(math.Abs(float64(got)-float64(w)) <= tol) {
								t.Fatalf("%s, n=%d: array %d part %d element %d is %v, want %v", c.name, n, k, part, i, got, w)
							}
						}
					}
				}
				for k, a := range around {
					for i, v := range a {
						if (i < margin || i >= len(a)-margin) && v != canary {
							t.Fatalf("%s, n=%d: array %d was written at %d", c.name, n, k, i-margin)
						}
					}
				}
			}
		}
	})
}

// TestAdamIsRoundedStepByStep holds all kernels to the bits of the formula with each operation rounded to float32.
func TestAdamIsRoundedStepByStep(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	f := Adam[float32]{Rate: 1e-3, Shrink: 0.999, Scale: 0.7, Beta1: 0.9, Rest1: 0.1, Beta2: 0.999, Rest2: 0.001, C2: 1.25, Epsilon: 1e-8}
	round := func(v float64) float64 { return float64(float32(v)) } // exact in float64 before: a product or sum of two float32, or within half a unit of it
	forKernels(t, func(t *testing.T) {
		for n := range 40 {
			var x, before [4][]float32
			for k := range x {
				x[k] = make([]float32, n+1)
				for i := range x[k] {
					x[k][i] = float32(r.NormFloat64())
				}
				if k == 3 { // a moment of squares
					for i, v := range x[k] {
						x[k][i] = v * v
					}
				}
				before[k] = slices.Clone(x[k])
			}
			f.Step(x[0][:n], x[1][:n], x[2][:n], x[3][:n])
			for i := range n {
				w, g, m, v := float64(before[0][i]), float64(before[1][i]), float64(before[2][i]), float64(before[3][i])
				d := round(float64(f.Scale) * g)
				m = round(round(float64(f.Beta1)*m) + round(float64(f.Rest1)*d))
				v = round(round(float64(f.Beta2)*v) + round(float64(f.Rest2)*round(d*d)))
				root := round(round(math.Sqrt(round(float64(f.C2)*v))) + float64(f.Epsilon))
				w = round(round(float64(f.Shrink)*w) - round(round(float64(f.Rate)*m)/root))
				for k, want := range []float64{w, g, m, v} {
					if k != 1 && float64(x[k][i]) != want || k == 1 && x[k][i] != before[k][i] {
						t.Fatalf("n=%d: array %d element %d is %v, want %v", n, k, i, x[k][i], want)
					}
				}
			}
			for k := range x {
				if x[k][n] != before[k][n] {
					t.Fatalf("n=%d: array %d was written behind its end", n, k)
				}
			}
		}
	})
}

func BenchmarkTraining(b *testing.B) {
	const n = 1008 // not a divisor of a page, whose multiples hinder each other
	x := make([][]float32, 8)
	for k := range x {
		x[k] = make([]float32, 4*n)
		for i := range x[k] {
			x[k][i] = float32(i%64)/64 + 0.1
		}
	}
	f := Adam[float32]{Rate: 1e-9, Shrink: 1, Scale: 1, Beta1: 0.9, Rest1: 0.1, Beta2: 0.999, Rest2: 0.001, C2: 1, Epsilon: 1e-8}
	for _, name := range gemm.Kernels() {
		for _, c := range []struct {
			name string
			run  func()
		}{
			{"LSTMStep", func() { LSTMStep(x[0], x[1], x[2][:n], x[3][:n], x[4][:n]) }},
			{"GRUStep", func() { GRUStep(x[0][:3*n], x[1], x[2][:n], x[3][:n], x[4][:n]) }},
			{"GRUBack", func() { GRUBack(x[0][:n], x[1][:n], x[2][:n], x[3][:n]) }},
			{"Adam", func() { f.Step(x[0][:n], x[1][:n], x[2][:n], x[3][:n]) }},
		} {
			b.Run("function="+c.name+"/kernel="+name, func(b *testing.B) {
				old := current
				defer func() { current = old }()
				current = named(name)
				for b.Loop() {
					c.run()
				}
				b.ReportMetric(b.Elapsed().Seconds()*1e9/float64(b.N*n), "ns/element")
			})
		}
	}
}
