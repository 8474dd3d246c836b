package runtime

import (
	"fmt"

	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// value is what a slot of a graph holds: a tensor, a sequence of tensors, or an optional of either.
type value struct {
	kind     valueKind
	tensor   *Tensor
	sequence []*Tensor
	elem     onnx.DataType // element type of a sequence
	from     []place       // of a sequence's elements where a tape is kept: their gradients go there
}

type valueKind uint8

const (
	kindTensor valueKind = iota
	kindSequence
	kindNone // an optional that holds nothing
)

func (k valueKind) String() string {
	return [...]string{"tensor", "sequence", "empty optional"}[k]
}

// newTensor wraps data, which must have one entry per element.
func newTensor(t onnx.DataType, dims []int, data any) *Tensor {
	return &Tensor{Type: t, Dims: dims, Data: data}
}

// elements is the product of dims that are known to be sound.
func elements(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// zeros makes a tensor of zeros (empty strings) of any type.
func zeros(t onnx.DataType, dims []int) (*Tensor, error) {
	n, err := shape.Size(dims, maxElements)
	if err != nil {
		return nil, err
	}
	var data any
	switch t {
	case onnx.Float:
		data = make([]float32, n)
	case onnx.Double:
		data = make([]float64, n)
	case onnx.Int8, onnx.Int4, onnx.Int2:
		data = make([]int8, n)
	case onnx.Int16:
		data = make([]int16, n)
	case onnx.Int32:
		data = make([]int32, n)
	case onnx.Int64:
		data = make([]int64, n)
	case onnx.Uint16, onnx.Float16, onnx.BFloat16:
		data = make([]uint16, n)
	case onnx.Uint32:
		data = make([]uint32, n)
	case onnx.Uint64:
		data = make([]uint64, n)
	case onnx.Bool:
		data = make([]bool, n)
	case onnx.String:
		data = make([]string, n)
	case onnx.Complex64:
		data = make([]complex64, n)
	case onnx.Complex128:
		data = make([]complex128, n)
	case onnx.Uint8, onnx.Uint4, onnx.Uint2, onnx.Float4E2M1, onnx.Float8E4M3FN, onnx.Float8E4M3FNUZ, onnx.Float8E5M2, onnx.Float8E5M2FNUZ, onnx.Float8E8M0:
		data = make([]uint8, n)
	default:
		return nil, unsupportedType(t)
	}
	return newTensor(t, dims, data), nil
}

func sameDims(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// stack joins tensors of one type and shape along a new axis.
func stack(parts []*Tensor, axis int) (*Tensor, error) {
	dims, err := shape.UnsqueezeDims(parts[0].Dims, []int64{int64(axis)})
	if err != nil {
		return nil, err
	}
	wide := make([]*Tensor, len(parts))
	for k, t := range parts {
		wide[k] = newTensor(t.Type, dims, t.Data)
	}
	return concat(wide, axis)
}

// concat joins tensors of one type along an axis.
func concat(parts []*Tensor, axis int) (*Tensor, error) {
	shapes := make([][]int, len(parts))
	others := make([]shape.Elements, len(parts))
	for k, t := range parts {
		e, err := shape.Of(t.Data)
		if err != nil {
			return nil, err
		}
		if t.Type != parts[0].Type {
			return nil, fmt.Errorf("element %d is %v, element 0 %v", k, t.Type, parts[0].Type)
		}
		shapes[k], others[k] = t.Dims, e
	}
	e, dims, err := others[0].Concat(others[1:], shapes, int64(axis), maxElements)
	if err != nil {
		return nil, err
	}
	return newTensor(parts[0].Type, dims, e.Data()), nil
}

// take is the slice of a tensor at one index of an axis, which is dropped.
func take(t *Tensor, axis int64, at int) (*Tensor, error) {
	e, err := shape.Of(t.Data)
	if err != nil {
		return nil, err
	}
	part, dims, err := e.Gather(t.Dims, []int64{int64(at)}, []int{}, axis, maxElements)
	if err != nil {
		return nil, err
	}
	return newTensor(t.Type, dims, part.Data()), nil
}
