package runtime

import "github.com/trconvert/trconvert/onnx"

// value is what a slot of a graph holds: a tensor, a sequence of tensors, or an optional of either.
type value struct {
	tensor   *Tensor
	sequence []*Tensor
	kind     valueKind
	elem     onnx.DataType // element type of an empty sequence
}

type valueKind uint8

const (
	kindTensor valueKind = iota
	kindSequence
	kindNone // an optional that holds nothing
)

// newTensor wraps data, which must have one entry per element.
func newTensor(t onnx.DataType, dims []int, data any) *Tensor {
	return &Tensor{Type: t, Dims: dims, Data: data}
}

// elements is the product of dims.
func elements(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}
