package recurrent

import (
	"fmt"
	"math"

	"github.com/trconvert/trconvert/onnx"
)

// Floats copies an array of a floating type to float32; float16 and bfloat16 widen exactly, doubles beyond float32 become infinite.
func Floats(a *onnx.Array) ([]float32, error) {
	switch d := a.Data.(type) {
	case []float32:
		return append([]float32(nil), d...), nil
	case []float64:
		out := make([]float32, len(d))
		for k, x := range d {
			out[k] = float32(x)
		}
		return out, nil
	case []uint16:
		var widen func(uint16) float32
		switch a.Type {
		case onnx.Float16:
			widen = fromHalf
		case onnx.BFloat16:
			widen = fromBrain
		default:
			return nil, notFloating(a.Type)
		}
		out := make([]float32, len(d))
		for k, x := range d {
			out[k] = widen(x)
		}
		return out, nil
	}
	return nil, notFloating(a.Type)
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
		narrow, widen := toHalf, fromHalf
		if elem == onnx.BFloat16 {
			narrow, widen = toBrain, fromBrain
		}
		out := make([]uint16, len(data))
		for k, x := range data {
			out[k] = narrow(x)
			if isInf(widen(out[k])) && !isInf(x) {
				return nil, fmt.Errorf("recurrent: element %d is %g, beyond %s", k, x, typeName(elem))
			}
		}
		a.Data = out
	default:
		return nil, notFloating(elem)
	}
	return a, nil
}

func notFloating(t onnx.DataType) error {
	return fmt.Errorf("recurrent: element type %s is not a floating type", typeName(t))
}

func isInf(x float32) bool { return math.IsInf(float64(x), 0) }

// fromHalf widens IEEE 754 binary16 exactly.
func fromHalf(h uint16) float32 {
	sign, exp, frac := uint32(h>>15)<<31, uint32(h>>10)&31, uint32(h)&1023
	switch exp {
	case 0: // zero and denormals: frac · 2⁻²⁴
		return math.Float32frombits(math.Float32bits(float32(frac)*0x1p-24) | sign)
	case 31:
		return math.Float32frombits(sign | 255<<23 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}

// toHalf rounds to IEEE 754 binary16.
func toHalf(x float32) uint16 {
	bits := math.Float32bits(x)
	sign, rest := uint16(bits>>16)&0x8000, bits&0x7fffffff
	switch {
	case rest > 255<<23:
		return sign | 0x7e00 // NaN
	case rest >= 0x47800000: // 2¹⁶ and beyond
		return sign | 0x7c00
	case rest < 0x38800000: // below 2⁻¹⁴: a multiple of 2⁻²⁴; the sum's rounding is the rounding asked for
		return sign | uint16(math.Float32bits(math.Float32frombits(rest)+0.5)-math.Float32bits(0.5))
	}
	return sign | uint16(roundEven(rest-(112<<23), 13))
}

// fromBrain widens bfloat16 exactly.
func fromBrain(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }

// toBrain rounds to bfloat16.
func toBrain(x float32) uint16 {
	bits := math.Float32bits(x)
	if x != x {
		return uint16(bits>>16) | 0x40
	}
	return uint16(roundEven(bits, 16))
}

// roundEven drops the low n bits, rounding to nearest, ties to even.
func roundEven(x uint32, n uint) uint32 {
	return (x + (1<<(n-1) - 1) + x>>n&1) >> n
}
