package onnx

import (
	"fmt"
	"math"
	"slices"
)

func evalCast(c *call) ([]*Array, error) {
	a, err := c.input(0)
	if err != nil {
		return nil, err
	}
	to, err := c.node.AttrInt("to", 0)
	if err != nil {
		return nil, err
	}
	return c.cast(a, DataType(to))
}

func evalCastLike(c *call) ([]*Array, error) {
	a, err := c.input(0)
	if err != nil {
		return nil, err
	}
	like, err := c.input(1)
	if err != nil {
		return nil, err
	}
	return c.cast(a, like.Type)
}

func (c *call) cast(a *Array, to DataType) ([]*Array, error) {
	if a.Type == to {
		return []*Array{a}, nil
	}
	for _, t := range []DataType{a.Type, to} {
		if !t.castable() {
			return nil, errNotEvaluated(fmt.Sprintf("a cast from %s to %s is not evaluated", a.Type, to))
		}
	}
	if c.shapeOnly {
		return shaped(to, slices.Clone(a.Dims))
	}
	saturate, err := c.node.AttrInt("saturate", 1)
	if err != nil {
		return nil, err
	}
	if err := c.spend(to, a.Dims); err != nil {
		return nil, err
	}
	out, err := castArray(a, to, saturate != 0)
	if err != nil {
		return nil, err
	}
	return []*Array{out}, nil
}

func (t DataType) castable() bool {
	return t.IsFloat() || t.IsInteger() || t == Bool
}

// numbers reads the elements of a numeric array one at a time: as integers where they are integers or bool, as float64 otherwise.
type numbers struct {
	n       int
	integer func(i int) int64 // nil for floats; the bits of a uint64
	float   func(i int) float64
}

func integers[T int8 | int16 | int32 | int64 | uint8 | uint16 | uint32](d []T) numbers {
	return numbers{len(d), func(i int) int64 { return int64(d[i]) }, func(i int) float64 { return float64(d[i]) }}
}

// numbersOf reads an array.
func numbersOf(a *Array) (numbers, error) {
	switch d := a.Data.(type) {
	case []uint16:
		switch a.Type {
		case Float16:
			return numbers{n: len(d), float: func(i int) float64 { return float64(Float16ToFloat32(d[i])) }}, nil
		case BFloat16:
			return numbers{n: len(d), float: func(i int) float64 { return float64(BFloat16ToFloat32(d[i])) }}, nil
		}
		return integers(d), nil
	case []uint8:
		if !a.Type.IsFloat() {
			return integers(d), nil
		}
		var table [256]float64
		for i := range table {
			table[i] = DecodeSmallFloat(a.Type, uint8(i))
		}
		return numbers{n: len(d), float: func(i int) float64 { return table[d[i]] }}, nil
	case []float32:
		return numbers{n: len(d), float: func(i int) float64 { return float64(d[i]) }}, nil
	case []float64:
		return numbers{n: len(d), float: func(i int) float64 { return d[i] }}, nil
	case []bool:
		bit := func(i int) int64 {
			if d[i] {
				return 1
			}
			return 0
		}
		return numbers{len(d), bit, func(i int) float64 { return float64(bit(i)) }}, nil
	case []int8:
		return integers(d), nil
	case []int16:
		return integers(d), nil
	case []int32:
		return integers(d), nil
	case []int64:
		return integers(d), nil
	case []uint32:
		return integers(d), nil
	case []uint64:
		return numbers{len(d), func(i int) int64 { return int64(d[i]) }, func(i int) float64 { return float64(d[i]) }}, nil
	}
	return numbers{}, errNotEvaluated(fmt.Sprintf("values of type %s are not evaluated", a.Type))
}

// castArray converts as Cast does. Integers wrap around; floats are truncated towards zero and, where the specification leaves
// them undefined, held within the range of the integer type (NaN becomes 0).
func castArray(a *Array, to DataType, saturate bool) (*Array, error) {
	r, err := numbersOf(a)
	if err != nil {
		return nil, err
	}
	out := &Array{Type: to, Dims: slices.Clone(a.Dims)}
	unsigned := a.Type == Uint64
	switch to {
	case Float:
		out.Data = filled(r.n, func(i int) float32 {
			switch {
			case r.integer == nil:
				return float32(r.float(i))
			case unsigned:
				return float32(uint64(r.integer(i)))
			}
			return float32(r.integer(i))
		})
	case Double:
		out.Data = filled(r.n, r.float)
	case Bool:
		out.Data = filled(r.n, func(i int) bool { return r.float(i) != 0 })
	case Int8:
		out.Data = castInts[int8](r, math.MinInt8, math.MaxInt8)
	case Int16:
		out.Data = castInts[int16](r, math.MinInt16, math.MaxInt16)
	case Int32:
		out.Data = castInts[int32](r, math.MinInt32, math.MaxInt32)
	case Int64:
		out.Data = castInts[int64](r, math.MinInt64, math.MaxInt64)
	case Uint8:
		out.Data = castInts[uint8](r, 0, math.MaxUint8)
	case Uint16:
		out.Data = castInts[uint16](r, 0, math.MaxUint16)
	case Uint32:
		out.Data = castInts[uint32](r, 0, math.MaxUint32)
	case Uint64:
		out.Data = filled(r.n, func(i int) uint64 {
			if r.integer != nil {
				return uint64(r.integer(i))
			}
			v := r.float(i)
			switch {
			case !(v > 0):
				return 0
			case v >= 1<<64:
				return math.MaxUint64
			}
			return uint64(v)
		})
	case Int4:
		out.Data = narrowed[int8](r, 4, true)
	case Int2:
		out.Data = narrowed[int8](r, 2, true)
	case Uint4:
		out.Data = narrowed[uint8](r, 4, false)
	case Uint2:
		out.Data = narrowed[uint8](r, 2, false)
	case Float16:
		out.Data = filled(r.n, func(i int) uint16 { return Float64ToFloat16(r.float(i)) })
	case BFloat16:
		out.Data = filled(r.n, func(i int) uint16 { return Float64ToBFloat16(r.float(i)) })
	default:
		if _, err := EncodeSmallFloat(to, 0, saturate); err != nil {
			return nil, errNotEvaluated(fmt.Sprintf("a cast to %s is not evaluated", to))
		}
		out.Data = filled(r.n, func(i int) uint8 {
			bits, _ := EncodeSmallFloat(to, r.float(i), saturate) // it fails on the type alone
			return bits
		})
	}
	return out, nil
}

func filled[T any](n int, f func(i int) T) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = f(i)
	}
	return out
}

func castInts[T int8 | int16 | int32 | int64 | uint8 | uint16 | uint32](r numbers, low, high int64) []T {
	return filled(r.n, func(i int) T {
		if r.integer != nil {
			return T(r.integer(i))
		}
		return T(truncated(r.float(i), low, high))
	})
}

// truncated rounds towards zero within [low, high]; NaN becomes 0.
func truncated(v float64, low, high int64) int64 {
	switch {
	case v != v:
		return 0
	case v <= float64(low):
		return low
	case v >= float64(high):
		return high
	}
	return int64(v)
}

// narrowed keeps the low bits of integers; floats are rounded to the nearest even integer first, as the specification asks for the
// types below 8 bits.
func narrowed[T int8 | uint8](r numbers, bits int, signed bool) []T {
	return filled(r.n, func(i int) T {
		var v int64
		if r.integer != nil {
			v = r.integer(i)
		} else {
			v = truncated(math.RoundToEven(r.float(i)), math.MinInt64, math.MaxInt64)
		}
		v &= 1<<bits - 1
		if signed && v >= 1<<(bits-1) {
			v -= 1 << bits
		}
		return T(v)
	})
}

// widened is an array of float16 or bfloat16 as float32, in which its arithmetic is done; others are returned as they are.
func widened(a *Array) (*Array, error) {
	if a.Data == nil || (a.Type != Float16 && a.Type != BFloat16) {
		return a, nil
	}
	return castArray(a, Float, true)
}
