package dataset

import (
	"fmt"
	"math"

	"github.com/trconvert/trconvert/onnx"
)

// number is every element type that is cast by Go's own conversion.
type number interface {
	integer | float32 | float64
}

type integer interface {
	int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64
}

// valueError is a value that the wanted type cannot hold; index is its place in the slice that was cast.
type valueError struct {
	index int
	value any
	to    onnx.DataType
}

func (e *valueError) Error() string {
	return fmt.Sprintf("value %v does not fit the input's type %v", e.value, e.to)
}

// cast converts elements (onnx.Array.Data of type from) to another type. Rounding to the nearest float is allowed; a value out of the
// type's range, a fraction for an integer, and anything but 0 and 1 for bool is a *valueError. The result shares data where the types agree.
func cast(data any, from, to onnx.DataType) (any, error) {
	if from == to {
		return data, nil
	}
	switch d := data.(type) {
	case []float32:
		return castTo(d, to)
	case []float64:
		return castTo(d, to)
	case []int8:
		return castTo(d, to)
	case []int16:
		return castTo(d, to)
	case []int32:
		return castTo(d, to)
	case []int64:
		return castTo(d, to)
	case []uint8:
		return castTo(d, to)
	case []uint16:
		switch from {
		case onnx.Float16:
			return castTo(widen(d, halfToFloat), to)
		case onnx.BFloat16:
			return castTo(widen(d, onnx.BFloat16ToFloat32), to)
		}
		return castTo(d, to)
	case []uint32:
		return castTo(d, to)
	case []uint64:
		return castTo(d, to)
	case []bool:
		bits := make([]uint8, len(d))
		for i, b := range d {
			if b {
				bits[i] = 1
			}
		}
		return castTo(bits, to)
	}
	return nil, fmt.Errorf("elements of type %v are not converted to %v", from, to)
}

func castTo[S number](src []S, to onnx.DataType) (any, error) {
	switch to {
	case onnx.Float:
		return castFloat[S, float32](src, to, math.MaxFloat32)
	case onnx.Double:
		return castFloat[S, float64](src, to, math.MaxFloat64)
	case onnx.Float16:
		return castHalf(src, to, onnx.Float32ToFloat16, onnx.Float16ToFloat32)
	case onnx.BFloat16:
		return castHalf(src, to, onnx.Float32ToBFloat16, onnx.BFloat16ToFloat32)
	case onnx.Int8:
		return castInt[S, int8](src, to, math.MinInt8, 1<<7)
	case onnx.Int16:
		return castInt[S, int16](src, to, math.MinInt16, 1<<15)
	case onnx.Int32:
		return castInt[S, int32](src, to, math.MinInt32, 1<<31)
	case onnx.Int64:
		return castInt[S, int64](src, to, math.MinInt64, 1<<63)
	case onnx.Uint8:
		return castInt[S, uint8](src, to, 0, 1<<8)
	case onnx.Uint16:
		return castInt[S, uint16](src, to, 0, 1<<16)
	case onnx.Uint32:
		return castInt[S, uint32](src, to, 0, 1<<32)
	case onnx.Uint64:
		return castInt[S, uint64](src, to, 0, 1<<64)
	case onnx.Bool:
		dst := make([]bool, len(src))
		for i, s := range src {
			if s != 0 && s != 1 {
				return nil, &valueError{i, s, to}
			}
			dst[i] = s == 1
		}
		return dst, nil
	}
	return nil, fmt.Errorf("numbers are not converted to the input's type %v", to)
}

func castFloat[S number, D float32 | float64](src []S, to onnx.DataType, most float64) ([]D, error) {
	dst := make([]D, len(src))
	for i, s := range src {
		dst[i] = D(s)
		if v := float64(s); math.Abs(float64(dst[i])) > most && !math.IsInf(v, 0) {
			return nil, &valueError{i, s, to}
		}
	}
	return dst, nil
}

func castHalf[S number](src []S, to onnx.DataType, narrow func(float32) uint16, widen func(uint16) float32) ([]uint16, error) {
	dst := make([]uint16, len(src))
	for i, s := range src {
		dst[i] = narrow(float32(s))
		if math.IsInf(float64(widen(dst[i])), 0) && !math.IsInf(float64(s), 0) {
			return nil, &valueError{i, s, to}
		}
	}
	return dst, nil
}

// castInt casts values v with least <= v < end, both exact in float64.
func castInt[S number, D integer](src []S, to onnx.DataType, least, end float64) ([]D, error) {
	dst := make([]D, len(src))
	for i, s := range src {
		d := D(s)
		// float64 rounds the largest 64-bit integers up to the excluded end, so integers are checked by going there and back.
		v := float64(s)
		if S(d) != s || (d < 0) != (s < 0) || v < least || v > end || isFloat(s) && v == end {
			return nil, &valueError{i, s, to}
		}
		dst[i] = d
	}
	return dst, nil
}

func isFloat[S number](S) bool {
	half := 0.5
	return S(half) != 0
}

// alwaysFits says that no value of a type needs to be looked at before it is cast.
func alwaysFits(from, to onnx.DataType) bool {
	if from == to {
		return true
	}
	switch to {
	case onnx.Double:
		return true
	case onnx.Float:
		return from != onnx.Double
	}
	return false
}

func widen(bits []uint16, f func(uint16) float32) []float32 {
	out := make([]float32, len(bits))
	for i, b := range bits {
		out[i] = f(b)
	}
	return out
}
