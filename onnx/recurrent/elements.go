package recurrent

import (
	"fmt"
	"math"

	"github.com/trconvert/trconvert/onnx"
)

// Floats copies an array of a floating type to float32; float16 and bfloat16 widen exactly, doubles beyond float32 become infinite.
func Floats(a *onnx.Array) ([]float32, error) {
	if !isWeightType(a.Type) {
		return nil, notFloating(a.Type)
	}
	data, err := a.Float32s()
	if a.Type == onnx.Float {
		data = append([]float32(nil), data...)
	}
	return data, err
}

// Array makes an array of a floating type from float32 values, rounding float16 and bfloat16 to nearest, ties to even. A finite
// value that the type cannot hold is an error; float32 data are not copied.
func Array(elem onnx.DataType, dims []int, data []float32) (*onnx.Array, error) {
	a := &onnx.Array{Type: elem, Dims: dims}
	switch elem {
	case onnx.Float:
		a.Data = data
	case onnx.Double:
		out := make([]float64, len(data))
		for k, x := range data {
			out[k] = float64(x)
		}
		a.Data = out
	case onnx.Float16, onnx.BFloat16:
		narrow, widen := onnx.Float32ToFloat16, onnx.Float16ToFloat32
		if elem == onnx.BFloat16 {
			narrow, widen = onnx.Float32ToBFloat16, onnx.BFloat16ToFloat32
		}
		out := make([]uint16, len(data))
		for k, x := range data {
			out[k] = narrow(x)
			if isInf(widen(out[k])) && !isInf(x) {
				return nil, fmt.Errorf("recurrent: element %d is %g, beyond %s", k, x, elem)
			}
		}
		a.Data = out
	default:
		return nil, notFloating(elem)
	}
	return a, nil
}

// isWeightType says that weights may have this type: those of X, W, R, B in the operators' specification.
func isWeightType(t onnx.DataType) bool {
	switch t {
	case onnx.Float, onnx.Double, onnx.Float16, onnx.BFloat16:
		return true
	}
	return false
}

func notFloating(t onnx.DataType) error {
	return fmt.Errorf("recurrent: element type %s is none of float, double, float16 and bfloat16", t)
}

func isInf(x float32) bool { return math.IsInf(float64(x), 0) }
