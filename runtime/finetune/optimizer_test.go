package finetune

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
)

// weightOf is a parameter with its moments.
func weightOf(value, grad *onnx.Array, moments int, rate, decay float64) *weight {
	w := &weight{Parameter: &runtime.Parameter{Value: value, Grad: grad}, rate: rate, decay: decay}
	for range moments {
		m, err := onnx.ZeroArray(value.Type, value.Dims)
		if err != nil {
			panic(err)
		}
		w.moments = append(w.moments, m)
	}
	return w
}

// Oracle: the formulas of AdamW and SGD, written out element by element in float64 with big steps of different signs. More elements than a block.
func TestOptimizersFollowTheirFormulas(t *testing.T) {
	n := block + 3
	r := rand.New(rand.NewPCG(4, 4))
	for _, o := range []Optimizer{
		{Method: AdamW, Rate: 0.1, Decay: 0.3, Beta1: 0.8, Beta2: 0.95, Epsilon: 1e-3},
		{Method: SGD, Rate: 0.1, Decay: 0.3, Momentum: 0.7},
	} {
		o = o.filled()
		want, m, v := make([]float64, n), make([]float64, n), make([]float64, n)
		single, double := make([]float32, n), make([]float64, n)
		for i := range want {
			single[i] = float32(r.NormFloat64())
			want[i] = float64(single[i])
			double[i] = want[i]
		}
		g32, g64 := make([]float32, n), make([]float64, n)
		const groupRate, groupDecay, scale = 0.5, 2, 0.25
		ws := []*weight{
			weightOf(floatArray([]int{n}, single), floatArray([]int{n}, g32), o.moments(), groupRate, groupDecay),
			weightOf(doubles([]int{n}, double...), doubles([]int{n}, g64...), o.moments(), groupRate, groupDecay),
		}
		double, g64 = ws[1].Value.Data.([]float64), ws[1].Grad.Data.([]float64)
		for step := 1; step <= 4; step++ {
			rate := o.Rate / float64(step)
			for i := range g32 {
				g32[i] = float32(3 * r.NormFloat64())
				g64[i] = float64(g32[i])
				g := g64[i] * scale
				eta, lambda := rate*groupRate, o.Decay*groupDecay
				if o.Method == SGD {
					m[i] = o.Momentum*m[i] + g
					want[i] -= eta * (m[i] + lambda*want[i])
					continue
				}
				m[i] = o.Beta1*m[i] + (1-o.Beta1)*g
				v[i] = o.Beta2*v[i] + (1-o.Beta2)*g*g
				mHat, vHat := m[i]/(1-math.Pow(o.Beta1, float64(step))), v[i]/(1-math.Pow(o.Beta2, float64(step)))
				want[i] -= eta * (mHat/(math.Sqrt(vHat)+o.Epsilon) + lambda*want[i])
			}
			o.update(ws, rate, scale, step)
		}
		for i, w := range want {
			if math.Abs(double[i]-w) > 1e-13*math.Max(1, math.Abs(w)) {
				t.Fatalf("%s: element %d is %v in float64, want %v", o.Method, i, double[i], w)
			}
			if math.Abs(float64(single[i])-w) > 2e-6*math.Max(1, math.Abs(w)) {
				t.Fatalf("%s: element %d is %v in float32, want %v", o.Method, i, single[i], w)
			}
		}
	}
}

// Oracle: 3-4-5 and squares beyond float32.
func TestNorm(t *testing.T) {
	big := float32(3e30)
	for _, tt := range []struct {
		grads []*onnx.Array
		want  float64
	}{
		{[]*onnx.Array{floatArray([]int{1}, []float32{3}), doubles([]int{2}, 0, 4)}, 5},
		{[]*onnx.Array{floatArray([]int{1}, []float32{big})}, float64(big)},
	} {
		var ws []*weight
		for _, g := range tt.grads {
			ws = append(ws, weightOf(g, g, 0, 1, 1))
		}
		if got := norm(ws); math.Abs(got-tt.want) > 1e-12*tt.want {
			t.Errorf("norm is %v, want %v", got, tt.want)
		}
	}
	if got := norm([]*weight{weightOf(floatArray([]int{1}, []float32{float32(math.NaN())}), floatArray([]int{1}, []float32{float32(math.NaN())}), 0, 1, 1)}); !math.IsNaN(got) {
		t.Errorf("norm of NaN is %v", got)
	}
}

// Oracle: points of the curves, by hand.
func TestSchedules(t *testing.T) {
	for _, tt := range []struct {
		s    Schedule
		step int // of 10 epochs of 4
		want float64
	}{
		{Schedule{Shape: Constant}, 39, 1},
		{Schedule{Shape: Constant, WarmUp: 2}, 0, 1.0 / 8}, {Schedule{Shape: Constant, WarmUp: 2}, 7, 1}, {Schedule{Shape: Constant, WarmUp: 2}, 8, 1},
		{Schedule{Shape: Cosine}, 0, 1}, {Schedule{Shape: Cosine}, 20, 0.5}, {Schedule{Shape: Cosine, Floor: 0.2}, 20, 0.6}, {Schedule{Shape: Cosine}, 40, 0},
		{Schedule{Shape: Cosine, WarmUp: 5}, 20, 1}, {Schedule{Shape: Cosine, WarmUp: 5}, 30, 0.5},
		{Schedule{Shape: Cosine, WarmUp: 99}, 19, 1}, {Schedule{Shape: Cosine, WarmUp: 99}, 9, 0.5},
	} {
		if got := tt.s.at(tt.step, 4, 10); math.Abs(got-tt.want) > 1e-12 {
			t.Errorf("%+v at step %d: %v, want %v", tt.s, tt.step, got, tt.want)
		}
	}
	p := plateau{best: math.Inf(1), factor: 1}
	var factors []float64
	for _, loss := range []float64{5, 4, 4, 4, 3, 6, 6, 6, 6} {
		p.observe(Schedule{Shape: Plateau, Patience: 2, Factor: 0.5}, loss)
		factors = append(factors, p.factor)
	}
	for i, want := range []float64{1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125} {
		if factors[i] != want {
			t.Errorf("plateau: factor %v after %d losses, want %v", factors[i], i+1, want)
		}
	}
}

// Oracle: the recursion by hand, with the decay (1+t)/(10+t) of the first steps.
func TestAverage(t *testing.T) {
	v := doubles([]int{1}, 1)
	s, err := newState([]*onnx.Array{v}, 1, true)
	if err != nil {
		t.Fatal(err)
	}
	v.Data.([]float64)[0] = 12
	s.averaged(0.9, 1) // decay 2/11
	v.Data.([]float64)[0] = 10
	s.averaged(0.2, 2) // decay 0.2, which is less than 3/12
	if got, want := s.average[0].Data.([]float64)[0], 0.2*10+0.8*10; math.Abs(got-want) > 1e-12 {
		t.Errorf("average is %v, want %v", got, want)
	}
}

func TestFindHead(t *testing.T) {
	for name, tt := range map[string]struct {
		model *onnx.Model
		want  Head
		count int // of classes in a value [2, 3, 4]
	}{
		"softmax":          {headModel(t, 13, node("Softmax", "x", "y")), Head{Output: "y", Value: "x", Link: Softmax, axis: -1}, 4},
		"softmax, axis":    {headModel(t, 13, node("Softmax", "x", "y", intAttr("axis", 1))), Head{Output: "y", Value: "x", Link: Softmax, axis: 1}, 3},
		"softmax of old":   {headModel(t, 11, node("Softmax", "x", "y")), Head{Output: "y", Value: "x", Link: Softmax, axis: 1, flat: true}, 12},
		"logarithm":        {headModel(t, 13, node("LogSoftmax", "x", "y")), Head{Output: "y", Value: "x", Link: Softmax, axis: -1}, 4},
		"sigmoid":          {headModel(t, 13, node("Sigmoid", "x", "y")), Head{Output: "y", Value: "x", Link: Sigmoid, axis: -1, elements: true}, 0},
		"behind others":    {headModel(t, 13, node("Softmax", "x", "a"), node("Identity", "a", "b"), node("Transpose", "b", "y")), Head{Output: "y", Value: "x", Link: Softmax, axis: -1}, 4},
		"in front of more": {headModel(t, 13, node("Softmax", "x", "a"), node("Neg", "a", "y")), Head{Output: "y", Value: "y", axis: -1}, 4},
		"none":             {headModel(t, 13, node("Identity", "x", "y")), Head{Output: "y", Value: "y", axis: -1}, 4},
	} {
		got := findHead(t, tt.model, "y")
		if got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
		if n, err := got.classCount([]int{2, 3, 4}); n != tt.count || (err == nil) != (tt.count > 0) {
			t.Errorf("%s: %d classes, want %d (%v)", name, n, tt.count, err)
		}
	}
	if _, err := FindHead(headModel(t, 13, node("Identity", "x", "y")), "z"); err == nil || !strings.Contains(err.Error(), `"z"`) {
		t.Errorf("an unknown output gives %v", err)
	}
}
