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
		axis, err := int64Scalar(in[1])
		if err != nil {
			return nil, err
		}
		t := in[0]
		k, err := shape.Axis(axis, len(t.Dims))
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
		return []*Tensor{newTensor(t.Type, t.Dims, data)}, nil
	}), nil
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
