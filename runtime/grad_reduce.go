package runtime

import (
	"math"

	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// reduceSlopes says for each reduction how an element x of a group of n, reduced to y, moves y. Those of Prod, Max and Min depend on the rest of the group.
var reduceSlopes = map[reduceOp]struct {
	x, y  bool // what it reads
	slope func(x, y float64, n int) float64
}{
	reduceSum:       {false, false, func(_, _ float64, _ int) float64 { return 1 }},
	reduceMean:      {false, false, func(_, _ float64, n int) float64 { return 1 / float64(n) }},
	reduceSumSquare: {true, false, func(x, _ float64, _ int) float64 { return 2 * x }},
	reduceL1:        {true, false, func(x, _ float64, _ int) float64 { return absSlope(x) }},
	reduceL2: {true, true, func(x, y float64, _ int) float64 {
		if y == 0 {
			return 0
		}
		return x / y
	}},
	reduceLogSum:    {false, true, func(_, y float64, _ int) float64 { return math.Exp(-y) }},
	reduceLogSumExp: {true, true, func(x, y float64, _ int) float64 { return math.Exp(x - y) }},
}

// reduceGradient serves the Reduce… family.
func reduceGradient(op reduceOp) gradientBuilder {
	return func(n *nodeInfo) (*gradient, error) {
		r := newReduceAxes(n, op)
		return reduceGradientOf(op, func(in []*Tensor) ([]int, error) { return r.along(in) }, r.axes.slot), nil
	}
}

// globalGradient serves the poolings over all spatial axes that are reductions.
func globalGradient(op reduceOp) gradientBuilder {
	return func(*nodeInfo) (*gradient, error) {
		return reduceGradientOf(op, func(in []*Tensor) ([]int, error) { return allAxes(len(in[0].Dims))[2:], nil }, -1), nil
	}
}

// reduceGradientOf is the gradient of a reduction whose axes are given, maybe by input slot.
func reduceGradientOf(op reduceOp, axes func(in []*Tensor) ([]int, error), slot int) *gradient {
	g := &gradient{}
	if slot >= 0 {
		g.in |= 1 << slot
	}
	s, simple := reduceSlopes[op]
	if s.x || !simple {
		g.in |= 1
	}
	if s.y || !simple {
		g.out |= 1
	}
	g.run = func(_ *backCall, in, out, d []*Tensor) ([]*Tensor, error) {
		along, err := axes(in)
		if err != nil {
			return nil, err
		}
		switch d[0].Type {
		case onnx.Float:
			return one(reduceBack[float32](op, in[0], out[0], d[0], newReduction(in[0].Dims, along, true)))
		case onnx.Double:
			return one(reduceBack[float64](op, in[0], out[0], d[0], newReduction(in[0].Dims, along, true)))
		}
		return nil, unsupportedType(d[0].Type)
	}
	return g
}

func reduceBack[T floating](op reduceOp, in, out, dy *Tensor, r reduction) (*Tensor, error) {
	x, _ := in.Data.([]T)
	y, _ := out.Data.([]T)
	d := dy.Data.([]T)
	dx := make([]T, elements(in.Dims))
	s, simple := reduceSlopes[op]
	switch {
	case op == reduceProd:
		prodBack(r, x, d, dx)
	case !simple:
		// The extreme is shared evenly by the elements that hold it.
		count := make([]float64, len(d))
		r.each(func(i, k int) {
			if x[i] == y[k] {
				count[k]++
			}
		})
		r.each(func(i, k int) {
			if x[i] == y[k] {
				dx[i] = T(float64(d[k]) / count[k])
			}
		})
	case !s.x && !s.y:
		f := T(s.slope(0, 0, r.n))
		shape.Runs(r.dims, r.strides, func(n int, off, step []int) {
			to, k := dx[off[0]:off[0]+n], off[1]
			for i := range to {
				to[i] = d[k] * f
				k += step[1]
			}
		})
	default:
		shape.Runs(r.dims, r.strides, func(n int, off, step []int) {
			k := off[1]
			for i := off[0]; i < off[0]+n; i++ {
				var vx, vy float64
				if s.x {
					vx = float64(x[i])
				}
				if s.y {
					vy = float64(y[k])
				}
				dx[i] = T(float64(d[k]) * s.slope(vx, vy, r.n))
				k += step[1]
			}
		})
	}
	return newTensor(in.Type, in.Dims, dx), nil
}

// prodBack: the product of all others, by products of the elements before and after, since the element itself may be zero.
func prodBack[T floating](r reduction, x, d, dx []T) {
	before := make([]float64, len(d))
	for i := range before {
		before[i] = 1
	}
	left := make([]float64, len(x))
	at := make([]int, len(x)) // the group of each element
	r.each(func(i, k int) {
		left[i], at[i] = before[k], k
		before[k] *= float64(x[i])
	})
	after := before
	for i := range after {
		after[i] = 1
	}
	for i := len(x) - 1; i >= 0; i-- {
		k := at[i]
		dx[i] = T(float64(d[k]) * left[i] * after[k])
		after[k] *= float64(x[i])
	}
}

// softmaxGradient: y·(d − Σ d·y) of each lane, or under the logarithm d − e^y·Σ d.
func softmaxGradient(logarithm bool) gradientBuilder {
	return func(n *nodeInfo) (*gradient, error) {
		lanes := newSoftmaxLanes(n)
		return &gradient{out: 1, run: func(_ *backCall, _, out, d []*Tensor) ([]*Tensor, error) {
			length, inner, err := lanes.of(d[0].Dims)
			if err != nil {
				return nil, err
			}
			switch d[0].Type {
			case onnx.Float:
				return one(softmaxBack[float32](out[0], d[0], length, inner, logarithm), nil)
			case onnx.Double:
				return one(softmaxBack[float64](out[0], d[0], length, inner, logarithm), nil)
			}
			return nil, unsupportedType(d[0].Type)
		}}, nil
	}
}

func softmaxBack[T floating](out, dy *Tensor, length, inner int, logarithm bool) *Tensor {
	y, d := out.Data.([]T), dy.Data.([]T)
	dx := make([]T, len(y))
	for base := 0; base < len(y); base += length * inner {
		for first := base; first < base+inner; first++ {
			sum := 0.0
			for j := range length {
				i := first + j*inner
				if logarithm {
					sum += float64(d[i])
				} else {
					sum += float64(d[i]) * float64(y[i])
				}
			}
			for j := range length {
				i := first + j*inner
				if logarithm {
					dx[i] = T(float64(d[i]) - math.Exp(float64(y[i]))*sum)
				} else {
					dx[i] = T(float64(y[i]) * (float64(d[i]) - sum))
				}
			}
		}
	}
	return newTensor(dy.Type, dy.Dims, dx)
}

// cumSumGradient is the cumulative sum from the other end.
func cumSumGradient(n *nodeInfo) (*gradient, error) {
	exclusive, reverse := n.bool("exclusive", false), n.bool("reverse", false)
	return &gradient{in: 2, run: func(_ *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
		return one(cumSumAlong(d[0], in[1], exclusive, !reverse))
	}}, nil
}
