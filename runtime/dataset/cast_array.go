package dataset

import (
	"fmt"

	"github.com/trconvert/trconvert/onnx"
)

// Cast converts an array to another element type as feeds are: rounding to the nearest float is allowed; a value out of the type's range, a
// fraction for an integer, and anything but 0 and 1 for bool is an error. The result shares data where the types agree.
func Cast(a *onnx.Array, to onnx.DataType) (*onnx.Array, error) {
	data, err := cast(a.Data, a.Type, to)
	if err != nil {
		return nil, fmt.Errorf("dataset: %w", err)
	}
	return &onnx.Array{Type: to, Dims: a.Dims, Data: data}, nil
}
