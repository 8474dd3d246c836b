package onnx

import (
	"fmt"
	"math"
	"slices"
)

// Array is a decoded tensor of any element type: the value that constants, feeds and runtime results are.
//
// Data is a slice with one element per entry in C order: []float32, []float64, []int8, []int16, []int32, []int64,
// []uint8, []uint16, []uint32, []uint64, []bool, []string, []complex64 or []complex128. Float16 and BFloat16 keep
// their bits in []uint16; float8 types their bits in []uint8, and Float4E2M1 its four bits in the low half of a uint8;
// 4-bit and 2-bit integers one value per int8/uint8. A scalar has no Dims.
type Array struct {
	Type DataType
	Dims []int
	Data any
}

// NewArray makes an array after checking that data is a slice of the kind that typ keeps (see [Array]) with as many
// elements as dims say. It keeps dims and data.
func NewArray(typ DataType, dims []int, data any) (*Array, error) {
	a := &Array{Type: typ, Dims: dims, Data: data}
	if err := a.Check(); err != nil {
		return nil, err
	}
	return a, nil
}

// NewFloat32s makes an array of type float. It keeps dims and data.
func NewFloat32s(dims []int, data []float32) (*Array, error) { return NewArray(Float, dims, data) }

// NewInt64s makes an array of type int64. It keeps dims and data.
func NewInt64s(dims []int, data []int64) (*Array, error) { return NewArray(Int64, dims, data) }

// ZeroArray makes an array of zeros (empty strings, false).
func ZeroArray(typ DataType, dims []int) (*Array, error) {
	n, err := countDims(dims)
	if err != nil {
		return nil, err
	}
	data := makeData(typ, n)
	if data == nil {
		return nil, fmt.Errorf("onnx: array: %s is no element type", typ)
	}
	return &Array{Type: typ, Dims: slices.Clone(dims), Data: data}, nil
}

// countDims is the product of dims.
func countDims(dims []int) (int, error) {
	wide := make([]int64, len(dims))
	for i, v := range dims {
		wide[i] = int64(v)
	}
	n, ok := elements(wide)
	if !ok || n > math.MaxInt {
		return 0, fmt.Errorf("onnx: array: dims %v are negative or overflow", dims)
	}
	return int(n), nil
}

// makeData makes the slice that typ keeps, nil for what is no element type.
func makeData(typ DataType, n int) any {
	switch typ {
	case Float:
		return make([]float32, n)
	case Double:
		return make([]float64, n)
	case Int8, Int4, Int2:
		return make([]int8, n)
	case Int16:
		return make([]int16, n)
	case Int32:
		return make([]int32, n)
	case Int64:
		return make([]int64, n)
	case Uint8, Uint4, Uint2, Float8E4M3FN, Float8E4M3FNUZ, Float8E5M2, Float8E5M2FNUZ, Float8E8M0, Float4E2M1:
		return make([]uint8, n)
	case Uint16, Float16, BFloat16:
		return make([]uint16, n)
	case Uint32:
		return make([]uint32, n)
	case Uint64:
		return make([]uint64, n)
	case Bool:
		return make([]bool, n)
	case String:
		return make([]string, n)
	case Complex64:
		return make([]complex64, n)
	case Complex128:
		return make([]complex128, n)
	}
	return nil
}

// dataLen is the number of elements of Data and whether Data is of the kind that Type keeps.
func (a *Array) dataLen() (n int, ok bool) {
	switch d := a.Data.(type) {
	case []float32:
		return len(d), a.Type == Float
	case []float64:
		return len(d), a.Type == Double
	case []int8:
		return len(d), a.Type == Int8 || a.Type == Int4 || a.Type == Int2
	case []int16:
		return len(d), a.Type == Int16
	case []int32:
		return len(d), a.Type == Int32
	case []int64:
		return len(d), a.Type == Int64
	case []uint8:
		switch a.Type {
		case Uint8, Uint4, Uint2, Float8E4M3FN, Float8E4M3FNUZ, Float8E5M2, Float8E5M2FNUZ, Float8E8M0, Float4E2M1:
			return len(d), true
		}
		return len(d), false
	case []uint16:
		return len(d), a.Type == Uint16 || a.Type == Float16 || a.Type == BFloat16
	case []uint32:
		return len(d), a.Type == Uint32
	case []uint64:
		return len(d), a.Type == Uint64
	case []bool:
		return len(d), a.Type == Bool
	case []string:
		return len(d), a.Type == String
	case []complex64:
		return len(d), a.Type == Complex64
	case []complex128:
		return len(d), a.Type == Complex128
	}
	return 0, false
}

// Check says whether Data is of the kind that Type keeps and has as many elements as Dims say.
func (a *Array) Check() error {
	want, err := countDims(a.Dims)
	if err != nil {
		return err
	}
	n, ok := a.dataLen()
	if !ok {
		return fmt.Errorf("onnx: array: type %s does not keep its elements in a %T", a.Type, a.Data)
	}
	if n != want {
		return fmt.Errorf("onnx: array: %d elements, dims %v need %d", n, a.Dims, want)
	}
	return nil
}

// Elements is the number of elements, 1 for a scalar.
func (a *Array) Elements() int {
	n := 1
	for _, v := range a.Dims {
		n *= v
	}
	return n
}

// Clone returns a copy that shares nothing with a.
func (a *Array) Clone() *Array {
	c := &Array{Type: a.Type, Dims: slices.Clone(a.Dims)}
	switch d := a.Data.(type) {
	case []float32:
		c.Data = slices.Clone(d)
	case []float64:
		c.Data = slices.Clone(d)
	case []int8:
		c.Data = slices.Clone(d)
	case []int16:
		c.Data = slices.Clone(d)
	case []int32:
		c.Data = slices.Clone(d)
	case []int64:
		c.Data = slices.Clone(d)
	case []uint8:
		c.Data = slices.Clone(d)
	case []uint16:
		c.Data = slices.Clone(d)
	case []uint32:
		c.Data = slices.Clone(d)
	case []uint64:
		c.Data = slices.Clone(d)
	case []bool:
		c.Data = slices.Clone(d)
	case []string:
		c.Data = slices.Clone(d)
	case []complex64:
		c.Data = slices.Clone(d)
	case []complex128:
		c.Data = slices.Clone(d)
	}
	return c
}

// Float32s converts the elements of a numeric array to float32. Values that float32 cannot hold are rounded to the
// nearest (float64 and 64-bit integers). Strings and complex numbers are refused. The slice is Data itself where the
// type is float.
func (a *Array) Float32s() ([]float32, error) {
	if d, ok := a.Data.([]float32); ok {
		return d, nil
	}
	if d, ok := a.Data.([]uint16); ok && a.Type != Uint16 {
		out := make([]float32, len(d))
		if a.Type == BFloat16 {
			for i, v := range d {
				out[i] = BFloat16ToFloat32(v)
			}
		} else {
			for i, v := range d {
				out[i] = Float16ToFloat32(v)
			}
		}
		return out, nil
	}
	return convertNumbers(a, func(v float64) float32 { return float32(v) }, func(v int64) float32 { return float32(v) }, func(v uint64) float32 { return float32(v) })
}

// Float64s converts the elements of a numeric array to float64; only 64-bit integers beyond 2^53 are rounded. The slice
// is Data itself where the type is double.
func (a *Array) Float64s() ([]float64, error) {
	if d, ok := a.Data.([]float64); ok {
		return d, nil
	}
	return convertNumbers(a, func(v float64) float64 { return v }, func(v int64) float64 { return float64(v) }, func(v uint64) float64 { return float64(v) })
}

// convertNumbers converts numeric elements by way of the widest type of their kind.
func convertNumbers[T any](a *Array, fromFloat func(float64) T, fromInt func(int64) T, fromUint func(uint64) T) ([]T, error) {
	switch d := a.Data.(type) {
	case []float32:
		return convertEach(d, func(v float32) T { return fromFloat(float64(v)) }), nil
	case []float64:
		return convertEach(d, fromFloat), nil
	case []int8:
		return convertEach(d, func(v int8) T { return fromInt(int64(v)) }), nil
	case []int16:
		return convertEach(d, func(v int16) T { return fromInt(int64(v)) }), nil
	case []int32:
		return convertEach(d, func(v int32) T { return fromInt(int64(v)) }), nil
	case []int64:
		return convertEach(d, fromInt), nil
	case []uint8:
		if a.Type.IsFloat() {
			typ := a.Type
			return convertEach(d, func(v uint8) T { return fromFloat(DecodeSmallFloat(typ, v)) }), nil
		}
		return convertEach(d, func(v uint8) T { return fromUint(uint64(v)) }), nil
	case []uint16:
		switch a.Type {
		case Float16:
			return convertEach(d, func(v uint16) T { return fromFloat(float64(Float16ToFloat32(v))) }), nil
		case BFloat16:
			return convertEach(d, func(v uint16) T { return fromFloat(float64(BFloat16ToFloat32(v))) }), nil
		}
		return convertEach(d, func(v uint16) T { return fromUint(uint64(v)) }), nil
	case []uint32:
		return convertEach(d, func(v uint32) T { return fromUint(uint64(v)) }), nil
	case []uint64:
		return convertEach(d, fromUint), nil
	case []bool:
		return convertEach(d, func(v bool) T {
			if v {
				return fromUint(1)
			}
			return fromUint(0)
		}), nil
	}
	return nil, fmt.Errorf("onnx: array: elements of type %s are not numbers", a.Type)
}

func convertEach[S, T any](d []S, f func(S) T) []T {
	out := make([]T, len(d))
	for i, v := range d {
		out[i] = f(v)
	}
	return out
}

// Int64s returns the elements of an array of integers or bools; other types are refused, and so are unsigned values
// beyond 2^63. The slice is Data itself where the type is int64.
func (a *Array) Int64s() ([]int64, error) {
	if d, ok := a.Data.([]int64); ok {
		return d, nil
	}
	if !a.Type.IsInteger() && a.Type != Bool {
		return nil, fmt.Errorf("onnx: array: elements of type %s are not integers", a.Type)
	}
	if d, ok := a.Data.([]uint64); ok {
		for i, v := range d {
			if v > math.MaxInt64 {
				return nil, fmt.Errorf("onnx: array: element %d: %d does not fit int64", i, v)
			}
		}
	}
	return convertNumbers(a, func(v float64) int64 { return int64(v) }, func(v int64) int64 { return v }, func(v uint64) int64 { return int64(v) })
}

// Ints returns the elements of an array of integers as int: shapes, axes, indices.
func (a *Array) Ints() ([]int, error) {
	wide, err := a.Int64s()
	if err != nil {
		return nil, err
	}
	out := make([]int, len(wide))
	for i, v := range wide {
		if v > math.MaxInt || v < math.MinInt {
			return nil, fmt.Errorf("onnx: array: element %d: %d does not fit int", i, v)
		}
		out[i] = int(v)
	}
	return out, nil
}
