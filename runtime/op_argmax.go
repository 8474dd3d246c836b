package runtime

import (
	"fmt"

	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// buildArg serves ArgMax and ArgMin: https://onnx.ai/onnx/operators/onnx__ArgMax.html. select_last_index came with opset 12.
func buildArg(largest bool) builder {
	return func(n *nodeInfo) (operator, error) {
		if err := requireInputs(n, 1, 1); err != nil {
			return nil, err
		}
		axis, keep := n.int("axis", 0), n.bool("keepdims", true)
		last := n.opset >= 12 && n.bool("select_last_index", false)
		return widened(func(_ *call, in []*Tensor) ([]*Tensor, error) {
			k, err := shape.Axis(axis, len(in[0].Dims))
			if err != nil {
				return nil, err
			}
			return one(argExtreme(in[0], k, keep, largest, last))
		}), nil
	}
}

func argExtreme(t *Tensor, axis int, keep, largest, last bool) (*Tensor, error) {
	switch d := t.Data.(type) {
	case []float32:
		return argOf(d, t.Dims, axis, keep, largest, last)
	case []float64:
		return argOf(d, t.Dims, axis, keep, largest, last)
	case []int8:
		return argOf(d, t.Dims, axis, keep, largest, last)
	case []int16:
		return argOf(d, t.Dims, axis, keep, largest, last)
	case []int32:
		return argOf(d, t.Dims, axis, keep, largest, last)
	case []int64:
		return argOf(d, t.Dims, axis, keep, largest, last)
	case []uint8:
		return argOf(d, t.Dims, axis, keep, largest, last)
	case []uint16:
		return argOf(d, t.Dims, axis, keep, largest, last)
	case []uint32:
		return argOf(d, t.Dims, axis, keep, largest, last)
	case []uint64:
		return argOf(d, t.Dims, axis, keep, largest, last)
	}
	return nil, unsupportedType(t.Type)
}

func argOf[T numeric](x []T, dims []int, axis int, keep, largest, last bool) (*Tensor, error) {
	r := newReduction(dims, []int{axis}, keep)
	out, err := alloc[int64](r.reduced)
	if err != nil {
		return nil, err
	}
	if len(out) > 0 && dims[axis] == 0 {
		return nil, fmt.Errorf("axis %d of shape %v is empty", axis, dims)
	}
	inner := shape.Strides(dims)[axis]
	for k := range out {
		at := k/inner*inner*dims[axis] + k%inner
		best := x[at]
		for i := 1; i < dims[axis]; i++ {
			at += inner
			v := x[at]
			if largest && v > best || !largest && v < best || last && v == best {
				best = v
				out[k] = int64(i)
			}
		}
	}
	return newTensor(onnx.Int64, r.out, out), nil
}
