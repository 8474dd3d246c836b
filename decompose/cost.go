package decompose

import "github.com/trconvert/trconvert/tensor"

// Cost is what the input projection X·Ŵᵀ costs for one frame. Where there is no factor both forms are the dense product.
type Cost struct {
	// FLOPs, a multiplication and an addition being two: of the projection through R and L (the bottleneck form), and of that through
	// two merged groups of input cores and L (the cores form). Without sides: of what package export writes for the form, which is two groups
	// and an identity, or the dense layer.
	Bottleneck, Cores float64
	// Predicted times in µs, by the model below.
	BottleneckMicros, CoresMicros float64
}

// The prediction is a model, not a measurement. It is meant for one core of a desktop processor and for calls of 32 frames; use it to compare sizes, and
// trconvert bench to know. One frame takes
//
//	FLOPs/rate + (bytes/bandwidth + products·overhead)/32,
//
// bytes being those of the matrices that the products read once a call: R and L, or W.
const (
	rate         = 40e3 // FLOPs a µs
	bandwidth    = 10e3 // bytes a µs
	overhead     = 2.0  // µs a matrix product
	framesOfCall = 32
)

func predict(flops, numbers float64, products int) float64 {
	return flops/rate + (4*numbers/bandwidth+float64(products)*overhead)/framesOfCall
}

func denseCost(out, in int) Cost {
	n := float64(out) * float64(in)
	micros := predict(2*n, n, 1)
	return Cost{Bottleneck: 2 * n, Cores: 2 * n, BottleneckMicros: micros, CoresMicros: micros}
}

// stagesCost is the cost of frames that pass two groups of cores and the identity behind them.
func stagesCost(f *tensor.Factor, s tensor.Stages) (flops, micros float64) {
	out := float64(f.Out)
	flops = 2 * (float64(s.Products) + out*out)
	return flops, predict(flops, float64(s.Numbers)+out*out, 3)
}

// FactorCost is the cost of a factor's projection. Only shapes count: the cores may have no data.
func FactorCost(f *tensor.Factor) Cost {
	if !f.HasSides() {
		c := denseCost(f.Out, f.In)
		s := f.Stages()
		flops, micros := stagesCost(f, s)
		if s.Faster(f.Out, f.In) {
			c.Bottleneck, c.BottleneckMicros = flops, micros
		}
		if s.Smaller(f.Out, f.In) {
			c.Cores, c.CoresMicros = flops, micros
		}
		return c
	}
	cut := float64(f.Cut())
	right, left := float64(f.In)*cut, float64(f.Out)*cut
	flops := 2 * (right + left)
	micros := predict(flops, right+left, 2)
	c := Cost{Bottleneck: flops, Cores: flops, BottleneckMicros: micros, CoresMicros: micros}
	if len(f.InModes) > 1 {
		g := tensor.ChooseGroups(f.InModes, f.Ranks())
		c.Cores = 2 * (float64(g.Products) + left)
		c.CoresMicros = predict(c.Cores, float64(g.Numbers)+left, 3)
	}
	return c
}
