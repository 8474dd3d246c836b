package runtime

import (
	"fmt"
	"math"

	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// buildInstanceNorm: https://onnx.ai/onnx/operators/onnx__InstanceNormalization.html
func buildInstanceNorm(n *nodeInfo) (operator, error) {
	n.ignore("consumed_inputs")
	return buildChannelNorm(n, func(channels int) (int, error) { return channels, nil }, false)
}

// buildGroupNorm: https://onnx.ai/onnx/operators/onnx__GroupNormalization.html. Scale and bias belong to groups in opset 18 and
// to channels from 21 on.
func buildGroupNorm(n *nodeInfo) (operator, error) {
	groups := n.int("num_groups", 0)
	n.ignore("stash_type")
	return buildChannelNorm(n, func(channels int) (int, error) {
		if groups < 1 || int64(channels)%groups != 0 {
			return 0, fmt.Errorf("%d channels do not split into %d groups", channels, groups)
		}
		return int(groups), nil
	}, n.opset < 21)
}

// buildChannelNorm serves the normalisations over groups of channels and all spatial axes, followed by a scale and a bias for
// each channel or group.
func buildChannelNorm(n *nodeInfo, groups func(channels int) (int, error), perGroup bool) (operator, error) {
	if err := requireInputs(n, 3, 3); err != nil {
		return nil, err
	}
	epsilon := float64(n.float("epsilon", 1e-5))
	return widened(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		if len(in[0].Dims) < 2 {
			return nil, fmt.Errorf("input has shape %v, want [N, C, …]", in[0].Dims)
		}
		g, err := groups(in[0].Dims[1])
		if err != nil {
			return nil, err
		}
		switch d := in[0].Data.(type) {
		case []float32:
			return one(channelNorm(in, d, g, epsilon, perGroup))
		case []float64:
			return one(channelNorm(in, d, g, epsilon, perGroup))
		}
		return nil, unsupportedType(in[0].Type)
	}), nil
}

func channelNorm[T floating](in []*Tensor, x []T, groups int, epsilon float64, perGroup bool) (*Tensor, error) {
	dims := in[0].Dims
	channels, area := dims[1], elements(dims[2:])
	scale, okS := in[1].Data.([]T)
	bias, okB := in[2].Data.([]T)
	if !okS || !okB {
		return nil, fmt.Errorf("scale and bias have types %v and %v, the input has %v", in[1].Type, in[2].Type, in[0].Type)
	}
	parts := channels
	if perGroup {
		parts = groups
	}
	if len(scale) != parts || len(bias) != parts {
		return nil, fmt.Errorf("scale %v and bias %v do not fit input %v: want %d values each", in[1].Dims, in[2].Dims, dims, parts)
	}
	if len(x) == 0 {
		return newTensor(in[0].Type, dims, x), nil
	}
	y, _, _ := normalise(x, channels/groups*area, epsilon, false)
	run := channels / parts * area
	for i := 0; i < len(y); i += run {
		p := i / run % parts
		for j := i; j < i+run; j++ {
			y[j] = y[j]*scale[p] + bias[p]
		}
	}
	return newTensor(in[0].Type, dims, y), nil
}

// buildLpNorm: https://onnx.ai/onnx/operators/onnx__LpNormalization.html. Lanes of norm 0 stay 0.
func buildLpNorm(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 1, 1); err != nil {
		return nil, err
	}
	axis, p := n.int("axis", -1), n.int("p", 2)
	op := reduceL2
	switch p {
	case 1:
		op = reduceL1
	case 2:
	default:
		return nil, unsupportedf("p = %d", p)
	}
	return widened(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		k, err := shape.Axis(axis, len(in[0].Dims))
		if err != nil {
			return nil, err
		}
		norm, err := reduce(op, in[0], []int{k}, true)
		if err != nil {
			return nil, err
		}
		switch in[0].Type {
		case onnx.Float:
			return one(zip(in[0], norm, in[0].Type, divideOrZero[float32]))
		case onnx.Double:
			return one(zip(in[0], norm, in[0].Type, divideOrZero[float64]))
		}
		return nil, unsupportedType(in[0].Type)
	}), nil
}

func divideOrZero[T floating](dst, a, b []T) {
	for i := range dst {
		dst[i] = 0
		if b[i] != 0 {
			dst[i] = a[i] / b[i]
		}
	}
}

// buildMeanVarianceNorm: https://onnx.ai/onnx/operators/onnx__MeanVarianceNormalization.html: (X − E[X]) / (√(E[X²] − E[X]²) +
// 1e-9).
func buildMeanVarianceNorm(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 1, 1); err != nil {
		return nil, err
	}
	axes := n.ints("axes", []int64{0, 2, 3})
	return widened(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		along, err := shape.Axes(axes, len(in[0].Dims))
		if err != nil {
			return nil, err
		}
		t := in[0]
		x, err := convertTo[float64](t)
		if err != nil {
			return nil, err
		}
		wide := newTensor(onnx.Double, t.Dims, x)
		mean, err := reduce(reduceMean, wide, along, true)
		if err != nil {
			return nil, err
		}
		centred, err := arith(opSub, wide, mean)
		if err != nil {
			return nil, err
		}
		square, err := arith(opMul, centred, centred)
		if err != nil {
			return nil, err
		}
		variance, err := reduce(reduceMean, square, along, true)
		if err != nil {
			return nil, err
		}
		deviation, err := mapRow(variance, onnx.Double, floatRow[float64](func(v float64) float64 { return math.Sqrt(v) + 1e-9 }))
		if err != nil {
			return nil, err
		}
		y, err := arith(opDiv, centred, deviation)
		if err != nil {
			return nil, err
		}
		return one(cast(y, t.Type))
	}), nil
}

// buildLRN: https://onnx.ai/onnx/operators/onnx__LRN.html: X / (bias + alpha/size·Σ X²)^beta, the sum over size neighbouring
// channels.
func buildLRN(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 1, 1); err != nil {
		return nil, err
	}
	size := n.int("size", 0)
	if size < 1 {
		return nil, fmt.Errorf("attribute \"size\" is %d, want at least 1", size)
	}
	alpha, beta, bias := float64(n.float("alpha", 1e-4)), float64(n.float("beta", 0.75)), float64(n.float("bias", 1))
	return floatOp(func(t *Tensor, x []float64) ([]float64, error) {
		if len(t.Dims) < 2 {
			return nil, fmt.Errorf("input has shape %v, want [N, C, …]", t.Dims)
		}
		channels, area := t.Dims[1], elements(t.Dims[2:])
		before, after := (size-1)/2, size-1-(size-1)/2
		y := make([]float64, len(x))
		for i, v := range x {
			c := int64(i / area % channels)
			sum := 0.0
			for o := max(c-before, 0); o <= min(c+after, int64(channels)-1); o++ {
				w := x[i+int(o-c)*area]
				sum += w * w
			}
			y[i] = v / math.Pow(bias+alpha/float64(size)*sum, beta)
		}
		return y, nil
	}), nil
}

// floatOp is an operator on one float tensor that keeps its shape, computed in float64.
func floatOp(f func(t *Tensor, x []float64) ([]float64, error)) operator {
	return widened(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		if !isFloat(in[0].Type) {
			return nil, unsupportedType(in[0].Type)
		}
		x, err := convertTo[float64](in[0])
		if err != nil {
			return nil, err
		}
		y, err := f(in[0], x)
		if err != nil {
			return nil, err
		}
		return one(cast(newTensor(onnx.Double, in[0].Dims, y), in[0].Type))
	})
}
