package finetune

import (
	"fmt"
	"math"

	"github.com/trconvert/trconvert/internal/gemm"
	"github.com/trconvert/trconvert/internal/vec"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
)

// Method names an optimizer.
type Method string

// The optimizers.
const (
	// AdamW is Adam with decoupled weight decay (Loshchilov & Hutter, ICLR 2019, algorithm 2; Kingma & Ba 2015 for the moments and their bias correction):
	//
	//	m ← β1·m + (1−β1)·g,  v ← β2·v + (1−β2)·g²,  w ← w − η·(m/(1−β1ᵗ) / (√(v/(1−β2ᵗ)) + ε) + λ·w)
	//
	// with η the rate after schedule and group, which scales the decay λ too, as PyTorch does.
	AdamW Method = "adamw"
	// SGD is gradient descent with momentum and decoupled decay: v ← μ·v + g, w ← w − η·(v + λ·w).
	SGD Method = "sgd"
)

// Optimizer says how gradients become steps.
type Optimizer struct {
	Method   Method  // "": AdamW
	Rate     float64 // η
	Decay    float64 // λ; groups may scale it
	Beta1    float64 // 0: 0.9
	Beta2    float64 // 0: 0.999
	Epsilon  float64 // 0: 1e-8
	Momentum float64 // μ of SGD
	Clip     float64 // largest global norm of the gradient, to which larger ones are scaled down (Pascanu, Mikolov & Bengio, ICML 2013); 0: none
}

// filled gives the defaults of what is 0.
func (o Optimizer) filled() Optimizer {
	fill := func(v *float64, to float64) {
		if *v == 0 {
			*v = to
		}
	}
	if o.Method == "" {
		o.Method = AdamW
	}
	fill(&o.Beta1, 0.9)
	fill(&o.Beta2, 0.999)
	fill(&o.Epsilon, 1e-8)
	return o
}

func (o Optimizer) check() error {
	bad := func(what string, v float64, want string) error {
		return fmt.Errorf("finetune: %s: is %v, want %s", what, v, want)
	}
	switch {
	case o.Method != AdamW && o.Method != SGD:
		return fmt.Errorf("finetune: optimizer %q: there is none of that name (adamw, sgd)", string(o.Method))
	case !(o.Rate > 0) || math.IsInf(o.Rate, 0):
		return bad("learning rate", o.Rate, "a number above 0")
	case !(o.Decay >= 0) || math.IsInf(o.Decay, 0):
		return bad("weight decay", o.Decay, "a number from 0")
	case !(o.Beta1 >= 0 && o.Beta1 < 1):
		return bad("beta1", o.Beta1, "0 to below 1")
	case !(o.Beta2 >= 0 && o.Beta2 < 1):
		return bad("beta2", o.Beta2, "0 to below 1")
	case !(o.Epsilon > 0):
		return bad("epsilon", o.Epsilon, "a number above 0")
	case !(o.Momentum >= 0 && o.Momentum < 1):
		return bad("momentum", o.Momentum, "0 to below 1")
	case !(o.Clip >= 0):
		return bad("gradient norm", o.Clip, "a number from 0")
	}
	return nil
}

// moments is how many numbers the method keeps for each parameter's element.
func (o Optimizer) moments() int {
	if o.Method == SGD {
		return 1
	}
	return 2
}

// weight is a parameter with what its group says.
type weight struct {
	*runtime.Parameter
	group       string
	rate, decay float64 // factors of Optimizer's
	moments     []*onnx.Array
}

// update is one step with the given rate: t counts steps from 1, scale is what gradients are multiplied with.
func (o Optimizer) update(ws []*weight, rate, scale float64, t int) {
	for _, w := range ws {
		switch v := w.Value.Data.(type) {
		case []float32:
			updateOne(o, w, v, w.Grad.Data.([]float32), func(a *onnx.Array) []float32 { return a.Data.([]float32) }, rate, scale, t)
		case []float64:
			updateOne(o, w, v, w.Grad.Data.([]float64), func(a *onnx.Array) []float64 { return a.Data.([]float64) }, rate, scale, t)
		}
	}
}

// block is how many elements a goroutine updates at a time.
const block = 1 << 14

func updateOne[T float32 | float64](o Optimizer, w *weight, value, grad []T, data func(*onnx.Array) []T, rate, scale float64, t int) {
	rate *= w.rate
	shrink := T(1 - rate*o.Decay*w.decay)
	adam := vec.Adam[T]{
		Rate: T(rate * (1 / (1 - math.Pow(o.Beta1, float64(t))))), Shrink: shrink, Scale: T(scale), Beta1: T(o.Beta1), Rest1: T(1 - o.Beta1),
		Beta2: T(o.Beta2), Rest2: T(1 - o.Beta2), C2: T(1 / (1 - math.Pow(o.Beta2, float64(t)))), Epsilon: T(o.Epsilon),
	}
	gemm.Parallel((len(value)+block-1)/block, func(k int) {
		lo, hi := k*block, min((k+1)*block, len(value))
		if o.Method == SGD {
			sgd(value[lo:hi], grad[lo:hi], data(w.moments[0])[lo:hi], T(rate), shrink, T(scale), T(o.Momentum))
			return
		}
		adam.Step(value[lo:hi], grad[lo:hi], data(w.moments[0])[lo:hi], data(w.moments[1])[lo:hi])
	})
}

func sgd[T float32 | float64](w, g, v []T, rate, shrink, scale, momentum T) {
	g, v = g[:len(w)], v[:len(w)]
	for i := range w {
		d := T(momentum*v[i]) + T(g[i]*scale)
		v[i] = d
		w[i] = T(w[i]*shrink) - T(rate*d)
	}
}

// norm is the global norm of the gradients. It is NaN or infinite where one of them is, or where their squares overflow float64.
func norm(ws []*weight) float64 {
	var sum float64
	for _, w := range ws {
		switch g := w.Grad.Data.(type) {
		case []float32:
			sum += gemm.SumSquares64(g)
		case []float64:
			sum += gemm.Dot(g, g)
		}
	}
	return math.Sqrt(sum)
}
