package convert

import (
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// isFloating says whether a type holds real numbers, whose rounding differs from one way of computing to another.
func isFloating(t onnx.DataType) bool {
	switch t {
	case onnx.Float, onnx.Double, onnx.Float16, onnx.BFloat16:
		return true
	}
	return false
}

// floats reads an array's elements as float64. Types that have no order on the real line are refused.
func floats(a *onnx.Array) ([]float64, error) {
	d, err := dataset.Cast(a, onnx.Double)
	if err != nil {
		return nil, err
	}
	return d.Data.([]float64), nil
}

// narrow makes an array of a type from float64 values, rounded to the nearest; values that the type cannot hold are an error.
func narrow(t onnx.DataType, dims []int, v []float64) (*onnx.Array, error) {
	return dataset.Cast(&onnx.Array{Type: onnx.Double, Dims: dims, Data: v}, t)
}
