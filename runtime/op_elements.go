package runtime

import (
	"fmt"

	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// floating are the element types in which float kernels compute. Float16 and BFloat16 are widened to float32 and rounded once,
// when the result is complete.
type floating interface{ float32 | float64 }

// integer are the integer element types of ONNX tensors; arithmetic wraps around, as in NumPy and ONNX Runtime.
type integer interface {
	int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64
}

// numeric are all element types that arithmetic is defined on.
type numeric interface{ floating | integer }

// maxElements bounds one result. Its size may follow from shape values in the model (Expand, Tile, ConstantOfShape, …), and a
// lying shape must not take the machine down.
const maxElements = 1 << 28

// alloc makes the zeroed elements of a result.
func alloc[T any](dims []int) ([]T, error) {
	n, err := shape.Size(dims, maxElements)
	if err != nil {
		return nil, err
	}
	return make([]T, n), nil
}

// one wraps the only output of an operator.
func one(t *Tensor, err error) ([]*Tensor, error) {
	if err != nil {
		return nil, err
	}
	return []*Tensor{t}, nil
}

// requireInputs checks that a node declares between lo and hi inputs (hi < 0: any number) and that the first lo are present, now
// and when it runs.
func requireInputs(n *nodeInfo, lo, hi int) error {
	if n.inputs() < lo || hi >= 0 && n.inputs() > hi {
		if lo == hi {
			return fmt.Errorf("node has %d inputs, want %d", n.inputs(), lo)
		}
		return fmt.Errorf("node has %d inputs, want %d to %d", n.inputs(), lo, hi)
	}
	for k := range lo {
		if !n.has(k) {
			return fmt.Errorf("required input %d is absent", k)
		}
	}
	n.required = max(n.required, lo)
	return nil
}

// sameType checks that two operands have one element type.
func sameType(a, b *Tensor) error {
	if a.Type != b.Type {
		return fmt.Errorf("operands have types %v and %v, want the same", a.Type, b.Type)
	}
	return nil
}

// optional gives input k, nil where the node does not have it.
func optional(in []*Tensor, k int) *Tensor {
	if k < len(in) {
		return in[k]
	}
	return nil
}

// isHalf tells the two 16-bit floating types.
func isHalf(t onnx.DataType) bool { return t == onnx.Float16 || t == onnx.BFloat16 }

// isFloat tells the floating types that kernels compute with.
func isFloat(t onnx.DataType) bool { return t == onnx.Float || t == onnx.Double || isHalf(t) }

// int64s reads a tensor of integers: a shape, axes, lengths.
func int64s(t *Tensor) ([]int64, error) {
	switch d := t.Data.(type) {
	case []int64:
		return d, nil
	case []int32:
		out := make([]int64, len(d))
		for i, v := range d {
			out[i] = int64(v)
		}
		return out, nil
	}
	return nil, fmt.Errorf("want int64 or int32 values, have %v", t.Type)
}

// int64Scalar reads a tensor that holds one integer.
func int64Scalar(t *Tensor) (int64, error) {
	v, err := int64s(t)
	if err != nil {
		return 0, err
	}
	if len(v) != 1 {
		return 0, fmt.Errorf("want one value, have shape %v", t.Dims)
	}
	return v[0], nil
}
