package tensor

import (
	"math"
	"math/rand/v2"
	"testing"
)

// plansOf are the plans of a factor through which gradients flow, and the tensors they take, in float64.
func plansOf(t *testing.T, f *Factor) map[string]struct {
	plan    *Plan
	tensors [][]float64
} {
	t.Helper()
	r := rand.New(rand.NewPCG(3, uint64(f.Out)))
	all := map[string]struct {
		plan    *Plan
		tensors [][]float64
	}{}
	add := func(name string, net Network, cores []Core, batch int) {
		var ts [][]float64
		for _, c := range cores {
			ts = append(ts, widen(c.Data))
		}
		if batch > 0 {
			x := make([]float64, batch*product(f.InModes))
			for i := range x {
				x[i] = r.NormFloat64()
			}
			ts = append(ts, x)
		}
		for what, objective := range map[string]Objective{", fewest FLOPs": FewestFLOPs, ", least memory": LeastMemory} {
			plan, err := NewPlan(net, objective)
			if err != nil {
				t.Fatal(err)
			}
			all[name+what] = struct {
				plan    *Plan
				tensors [][]float64
			}{plan, ts}
		}
	}
	add("Ŵ", f.Network(), f.Cores, 0)
	add("X·Ŵᵀ", f.Network().Apply(3), f.Cores, 3)
	if f.HasSides() {
		n := len(f.InModes)
		add("R", f.InputSide(), f.Cores[:n], 0)
		add("L", f.OutputSide(), f.Cores[n:], 0)
	}
	return all
}

// A network is linear in every element of every tensor, so that the central difference (f(x+h) − f(x−h))/2h of f = Σ g·result is its
// derivative but for rounding, whatever h. It is compared for every element.
func TestBackwardAgainstCentralDifferences(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for name, f := range factors {
		if f.Out*f.In > 1000 {
			continue
		}
		for what, c := range plansOf(t, f) {
			e, err := Evaluate(c.plan, c.tensors...)
			if err != nil {
				t.Fatal(err)
			}
			g := make([]float64, len(e.Result))
			for i := range g {
				g[i] = r.NormFloat64()
			}
			grads, err := e.Backward(g)
			if err != nil {
				t.Fatal(err)
			}
			value := func() float64 {
				e, err := Evaluate(c.plan, c.tensors...)
				if err != nil {
					t.Fatal(err)
				}
				var s float64
				for i, v := range e.Result {
					s += g[i] * v
				}
				return s
			}
			for k, x := range c.tensors {
				scale := 0.0
				for _, v := range grads[k] {
					scale = max(scale, math.Abs(v))
				}
				for i, old := range x {
					const h = 0.5
					x[i] = old + h
					up := value()
					x[i] = old - h
					down := value()
					x[i] = old
					if want := (up - down) / (2 * h); math.Abs(grads[k][i]-want) > 1e-6*max(math.Abs(want), 1e-3*scale) {
						t.Fatalf("%s, %s: gradient of tensor %d at %d is %v, want %v", name, what, k, i, grads[k][i], want)
					}
				}
			}
		}
	}
}

// In float32 the result and the gradients are those of float64 to a few roundings of sums of at most a few hundred terms.
func TestEvaluateInFloat32(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for name, f := range factors {
		for what, c := range plansOf(t, f) {
			var short [][]float32
			for _, x := range c.tensors {
				short = append(short, narrow(x))
			}
			wide := make([][]float64, len(short))
			for k := range short {
				wide[k] = widen(short[k])
			}
			want, err := Evaluate(c.plan, wide...)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Evaluate(c.plan, short...)
			if err != nil {
				t.Fatal(err)
			}
			g := make([]float32, len(got.Result))
			for i := range g {
				g[i] = float32(r.NormFloat64())
			}
			wantGrads, _ := want.Backward(widen(g))
			gotGrads, err := got.Backward(g)
			if err != nil {
				t.Fatal(err)
			}
			near := func(part string, got []float32, want []float64) {
				var diff, norm float64
				for i, v := range want {
					diff += (v - float64(got[i])) * (v - float64(got[i]))
					norm += v * v
				}
				if !(diff <= 1e-12*norm) {
					t.Errorf("%s, %s: %s differs by %.2g", name, what, part, math.Sqrt(diff/norm))
				}
			}
			near("result", got.Result, want.Result)
			for k := range gotGrads {
				near("gradient", gotGrads[k], wantGrads[k])
			}
		}
	}
}

func TestEvaluateRefusesOtherSizes(t *testing.T) {
	net := Network{Dims: []int{2, 3, 4}, Tensors: [][]int{{0, 1}, {1, 2}}, Rows: []int{0}, Cols: []int{2}}
	plan, err := NewPlan(net, FewestFLOPs)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Evaluate(plan, make([]float64, 6)); err == nil {
		t.Error("one tensor of two accepted")
	}
	if _, err := Evaluate(plan, make([]float64, 6), make([]float64, 11)); err == nil {
		t.Error("a short tensor accepted")
	}
	e, err := Evaluate(plan, make([]float64, 6), make([]float64, 12))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Backward(make([]float64, 7)); err == nil {
		t.Error("a short gradient accepted")
	}
}

// One step of training through the merged sides of the paper's ring: R [57600, 50] and L [1024, 50] from 13 cores, and back.
func BenchmarkEvaluate(b *testing.B) {
	f := randomFactor(1, 57600, []int{4, 2, 5, 8, 6, 5, 3, 2}, []int{4, 4, 2, 4, 8}, []int{10, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5})
	for name, c := range map[string]struct {
		net   Network
		cores []Core
	}{"side=input": {f.InputSide(), f.Cores[:8]}, "side=output": {f.OutputSide(), f.Cores[8:]}} {
		plan, err := NewPlan(c.net, FewestFLOPs)
		if err != nil {
			b.Fatal(err)
		}
		var cores [][]float32
		for _, g := range c.cores {
			cores = append(cores, g.Data)
		}
		b.Run(name, func(b *testing.B) {
			var grad []float32
			for b.Loop() {
				e, err := Evaluate(plan, cores...)
				if err != nil {
					b.Fatal(err)
				}
				if grad == nil {
					grad = make([]float32, len(e.Result))
				}
				if _, err := e.Backward(grad); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
