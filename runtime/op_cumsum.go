package runtime

import (
	"github.com/trconvert/trconvert/internal/shape"
)

// buildCumSum: https://onnx.ai/onnx/operators/onnx__CumSum.html
func buildCumSum(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 2, 2); err != nil {
		return nil, err
	}
	exclusive, reverse := n.bool("exclusive", false), n.bool("reverse", false)
	return widened(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		return one(cumSumAlong(in[0], in[1], exclusive, reverse))
	}), nil
}

// cumSumAlong is the cumulative sum of t along the axis that a scalar names.
func cumSumAlong(t, axis *Tensor, exclusive, reverse bool) (*Tensor, error) {
	a, err := int64Scalar(axis)
	if err != nil {
		return nil, err
	}
	k, err := shape.Axis(a, len(t.Dims))
	if err != nil {
		return nil, err
	}
	var data any
	switch d := t.Data.(type) {
	case []float32:
		data = cumSum(d, t.Dims, k, exclusive, reverse)
	case []float64:
		data = cumSum(d, t.Dims, k, exclusive, reverse)
	case []int32:
		data = cumSum(d, t.Dims, k, exclusive, reverse)
	case []int64:
		data = cumSum(d, t.Dims, k, exclusive, reverse)
	case []uint32:
		data = cumSum(d, t.Dims, k, exclusive, reverse)
	case []uint64:
		data = cumSum(d, t.Dims, k, exclusive, reverse)
	default:
		return nil, unsupportedType(t.Type)
	}
	return newTensor(t.Type, t.Dims, data), nil
}

func cumSum[T numeric](x []T, dims []int, axis int, exclusive, reverse bool) []T {
	out := make([]T, len(x))
	length, inner := dims[axis], shape.Strides(dims)[axis]
	for lane := range len(x) / max(length, 1) {
		at := lane/inner*inner*length + lane%inner
		step := inner
		if reverse {
			at += (length - 1) * inner
			step = -inner
		}
		var sum T
		for range length {
			v := x[at]
			if exclusive {
				out[at] = sum
			}
			sum += v
			if !exclusive {
				out[at] = sum
			}
			at += step
		}
	}
	return out
}
