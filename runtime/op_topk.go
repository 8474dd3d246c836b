package runtime

import (
	"fmt"
	"slices"

	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// buildTopK: https://onnx.ai/onnx/operators/onnx__TopK.html. K is an attribute below opset 10; largest and sorted came with 11.
// Of equal elements the one with the lower index comes first. The result is sorted even where sorted = 0 leaves the order open.
func buildTopK(n *nodeInfo) (operator, error) {
	fixed := int64(-1)
	required := 2
	if n.opset < 10 {
		required = 1
		if fixed = n.int("k", -1); fixed < 0 {
			return nil, fmt.Errorf("attribute \"k\" is %d, want at least 0", fixed)
		}
	}
	if err := requireInputs(n, required, required); err != nil {
		return nil, err
	}
	axis, largest := n.int("axis", -1), n.bool("largest", true)
	n.ignore("sorted")
	return widened(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		k := fixed
		if k < 0 {
			var err error
			if k, err = int64Scalar(in[1]); err != nil {
				return nil, err
			}
		}
		a, err := shape.Axis(axis, len(in[0].Dims))
		if err != nil {
			return nil, err
		}
		if k < 0 || k > int64(in[0].Dims[a]) {
			return nil, fmt.Errorf("k = %d, axis %d of shape %v has %d elements", k, a, in[0].Dims, in[0].Dims[a])
		}
		switch d := in[0].Data.(type) {
		case []float32:
			return topK(in[0], d, a, int(k), largest), nil
		case []float64:
			return topK(in[0], d, a, int(k), largest), nil
		case []int8:
			return topK(in[0], d, a, int(k), largest), nil
		case []int16:
			return topK(in[0], d, a, int(k), largest), nil
		case []int32:
			return topK(in[0], d, a, int(k), largest), nil
		case []int64:
			return topK(in[0], d, a, int(k), largest), nil
		case []uint8:
			return topK(in[0], d, a, int(k), largest), nil
		case []uint16:
			return topK(in[0], d, a, int(k), largest), nil
		case []uint32:
			return topK(in[0], d, a, int(k), largest), nil
		case []uint64:
			return topK(in[0], d, a, int(k), largest), nil
		}
		return nil, unsupportedType(in[0].Type)
	}), nil
}

func topK[T numeric](t *Tensor, x []T, axis, k int, largest bool) []*Tensor {
	length, inner := t.Dims[axis], shape.Strides(t.Dims)[axis]
	dims := append([]int{}, t.Dims...)
	dims[axis] = k
	values, indices := make([]T, elements(dims)), make([]int64, elements(dims))
	order := make([]int, length)
	for lane := range len(values) / max(k, 1) {
		base := lane/inner*inner*length + lane%inner
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(i, j int) int {
			a, b := x[base+i*inner], x[base+j*inner]
			switch {
			case a == b:
				return 0
			case a < b == largest:
				return 1
			}
			return -1
		})
		to := lane/inner*inner*k + lane%inner
		for i, o := range order[:k] {
			values[to+i*inner] = x[base+o*inner]
			indices[to+i*inner] = int64(o)
		}
	}
	return []*Tensor{newTensor(t.Type, dims, values), newTensor(onnx.Int64, dims, indices)}
}
