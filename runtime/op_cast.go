package runtime

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/trconvert/trconvert/onnx"
)

// buildCast: https://onnx.ai/onnx/operators/onnx__Cast.html
func buildCast(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 1, 1); err != nil {
		return nil, err
	}
	to, err := castTarget(n)
	if err != nil {
		return nil, err
	}
	saturate := castSaturates(n)
	if _, err := cast(newTensor(onnx.Float, []int{0}, []float32{}), to); err != nil {
		return nil, unsupportedf("cast to %v", to)
	}
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) { return one(castWith(in[0], to, saturate)) }), nil
}

// castTarget reads the type to cast to: by name below opset 6, by number from there on.
func castTarget(n *nodeInfo) (onnx.DataType, error) {
	if n.opset >= 6 {
		return onnx.DataType(n.int("to", 0)), nil
	}
	name := n.string("to", "")
	to, ok := typeNames[strings.ToUpper(name)]
	if !ok {
		return to, fmt.Errorf("attribute \"to\" is %q, want the name of a type", name)
	}
	return to, nil
}

// buildCastLike: https://onnx.ai/onnx/operators/onnx__CastLike.html
func buildCastLike(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 2, 2); err != nil {
		return nil, err
	}
	saturate := castSaturates(n)
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) { return one(castWith(in[0], in[1].Type, saturate)) }), nil
}

// castSaturates reads saturate; round_mode concerns float8e8m0 only, which is not a target here.
func castSaturates(n *nodeInfo) bool {
	n.ignore("round_mode")
	return n.bool("saturate", true)
}

// typeNames are the names that Cast used below opset 6.
var typeNames = map[string]onnx.DataType{
	"FLOAT": onnx.Float, "DOUBLE": onnx.Double, "FLOAT16": onnx.Float16, "BOOL": onnx.Bool, "STRING": onnx.String,
	"INT8": onnx.Int8, "INT16": onnx.Int16, "INT32": onnx.Int32, "INT64": onnx.Int64,
	"UINT8": onnx.Uint8, "UINT16": onnx.Uint16, "UINT32": onnx.Uint32, "UINT64": onnx.Uint64,
}

// cast converts elements. Floats become integers by truncation, integers narrow by wrapping around, anything but zero is true.
// What the specification leaves open is settled so that it does not depend on the machine: NaN becomes 0; a float beyond the
// range of int32 or int64 becomes the end of the range; for the narrower and the unsigned types it is truncated to int64 and
// wraps around, as NumPy and ONNX Runtime do on common machines.
func cast(t *Tensor, to onnx.DataType) (*Tensor, error) { return castWith(t, to, true) }

// castWith is cast with the attribute that says whether floats beyond the range of a float8 type become its largest value, or
// infinity or NaN.
func castWith(t *Tensor, to onnx.DataType, saturate bool) (*Tensor, error) {
	if t.Type == to {
		return t, nil
	}
	var data any
	var err error
	switch to {
	case onnx.Float:
		data, err = convertTo[float32](t)
	case onnx.Double:
		data, err = convertTo[float64](t)
	case onnx.Float16, onnx.BFloat16:
		if t.Type == onnx.Float {
			return narrowHalf(t, to), nil
		}
		round := onnx.Float64ToFloat16
		if to == onnx.BFloat16 {
			round = onnx.Float64ToBFloat16
		}
		data, err = roundTo(t, round)
	case onnx.Int8:
		data, err = convertTo[int8](t)
	case onnx.Int16:
		data, err = convertTo[int16](t)
	case onnx.Int32:
		data, err = convertTo[int32](t)
	case onnx.Int64:
		data, err = convertTo[int64](t)
	case onnx.Uint8:
		data, err = convertTo[uint8](t)
	case onnx.Uint16:
		data, err = convertTo[uint16](t)
	case onnx.Uint32:
		data, err = convertTo[uint32](t)
	case onnx.Uint64:
		data, err = convertTo[uint64](t)
	case onnx.Int4, onnx.Int2, onnx.Uint4, onnx.Uint2:
		data, err = castNarrow(t, to)
	case onnx.Bool:
		data, err = castBool(t)
	case onnx.String:
		data, err = castString(t)
	case onnx.Float8E4M3FN, onnx.Float8E4M3FNUZ, onnx.Float8E5M2, onnx.Float8E5M2FNUZ, onnx.Float4E2M1:
		data, err = castSmall(t, to, saturate)
	default:
		return nil, unsupportedType(to)
	}
	if err != nil {
		return nil, err
	}
	return newTensor(to, t.Dims, data), nil
}

// roundTo rounds every element once to a 16-bit type.
func roundTo(t *Tensor, round func(float64) uint16) ([]uint16, error) {
	v, err := convertTo[float64](t)
	if err != nil {
		return nil, err
	}
	out := make([]uint16, len(v))
	for i, x := range v {
		out[i] = round(x)
	}
	return out, nil
}

// castSmall rounds to the float8 types and float4e2m1.
func castSmall(t *Tensor, to onnx.DataType, saturate bool) ([]uint8, error) {
	v, err := convertTo[float64](t)
	if err != nil {
		return nil, err
	}
	out := make([]uint8, len(v))
	for i, x := range v {
		if out[i], err = onnx.EncodeSmallFloat(to, x, saturate); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// convertTo gives the elements of any numeric, boolean or string tensor as T.
func convertTo[T numeric](t *Tensor) ([]T, error) {
	switch d := t.Data.(type) {
	case []float32:
		return convertFloats[T](d), nil
	case []float64:
		return convertFloats[T](d), nil
	case []int8:
		return convertInts[T](d), nil
	case []int16:
		return convertInts[T](d), nil
	case []int32:
		return convertInts[T](d), nil
	case []int64:
		return convertInts[T](d), nil
	case []uint8:
		switch t.Type {
		case onnx.Uint8, onnx.Uint4, onnx.Uint2:
			return convertInts[T](d), nil
		}
		v := make([]float64, len(d))
		for i, bits := range d {
			v[i] = onnx.DecodeSmallFloat(t.Type, bits)
		}
		return convertFloats[T](v), nil
	case []uint16:
		if isHalf(t.Type) {
			return convertTo[T](widenHalf(t))
		}
		return convertInts[T](d), nil
	case []uint32:
		return convertInts[T](d), nil
	case []uint64:
		return convertInts[T](d), nil
	case []bool:
		out := make([]T, len(d))
		for i, v := range d {
			if v {
				out[i] = 1
			}
		}
		return out, nil
	case []string:
		return parseStrings[T](d)
	}
	return nil, unsupportedType(t.Type)
}

func convertInts[T numeric, S integer](src []S) []T {
	if same, ok := any(src).([]T); ok {
		return same
	}
	out := make([]T, len(src))
	for i, v := range src {
		out[i] = T(v)
	}
	return out
}

func convertFloats[T numeric, S floating](src []S) []T {
	if same, ok := any(src).([]T); ok {
		return same
	}
	out := make([]T, len(src))
	if isFloating[T]() {
		for i, v := range src {
			out[i] = T(v)
		}
		return out
	}
	lo, hi, bottom, top := floatClamp[T]()
	for i, v := range src {
		switch f := float64(v); {
		case f != f:
		case f < lo:
			out[i] = bottom
		case f >= hi:
			out[i] = top
		case f >= 1<<63:
			out[i] = T(uint64(f))
		default:
			out[i] = T(int64(f))
		}
	}
	return out
}

// floatClamp gives the half-open range of floats that convert by truncation, and what stands for those below and above it.
func floatClamp[T numeric]() (lo, hi float64, bottom, top T) {
	switch any(top).(type) {
	case int32:
		lo, hi = math.MinInt32, 1<<31
	case uint64:
		return math.MinInt64, 1 << 64, 0, lastInteger[T]()
	default:
		lo, hi = math.MinInt64, 1<<63
	}
	return lo, hi, firstInteger[T](), lastInteger[T]()
}

// isFloating tells whether T is a floating type.
func isFloating[T numeric]() bool {
	half := T(1)
	half /= 2
	return half != 0
}

// firstInteger is the smallest value of an integer type.
func firstInteger[T numeric]() T {
	var z T
	if z-1 > z {
		return 0
	}
	return -lastInteger[T]() - 1
}

// lastInteger is the largest value of an integer type.
func lastInteger[T numeric]() T {
	var z T
	if z-1 > z { // unsigned
		return z - 1
	}
	v := T(1)
	for next := v*2 + 1; next > v; next = v*2 + 1 {
		v = next
	}
	return v
}

func castBool(t *Tensor) ([]bool, error) {
	if s, ok := t.Data.([]string); ok {
		return nil, fmt.Errorf("%d strings cannot become booleans", len(s))
	}
	v, err := convertTo[float64](t)
	if err != nil {
		return nil, err
	}
	out := make([]bool, len(v))
	for i, x := range v {
		out[i] = x != 0
	}
	return out, nil
}

// castNarrow converts to the 4-bit and 2-bit integers: the low bits of the value as int8 or uint8.
func castNarrow(t *Tensor, to onnx.DataType) (any, error) {
	bits := 4
	if to == onnx.Int2 || to == onnx.Uint2 {
		bits = 2
	}
	if to == onnx.Uint4 || to == onnx.Uint2 {
		v, err := convertTo[uint8](t)
		if err != nil {
			return nil, err
		}
		out := make([]uint8, len(v))
		for i, x := range v {
			out[i] = x & (1<<bits - 1)
		}
		return out, nil
	}
	v, err := convertTo[int8](t)
	if err != nil {
		return nil, err
	}
	out := make([]int8, len(v))
	for i, x := range v {
		out[i] = x << (8 - bits) >> (8 - bits)
	}
	return out, nil
}

func parseStrings[T numeric](src []string) ([]T, error) {
	out := make([]T, len(src))
	for i, s := range src {
		if isFloating[T]() {
			v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
			if err != nil && !math.IsInf(v, 0) {
				return nil, fmt.Errorf("string %q is not a number", s)
			}
			out[i] = T(v)
			continue
		}
		v, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("string %q is not an integer", s)
		}
		out[i] = T(v)
	}
	return out, nil
}

// castString writes floats with the fewest digits that read back as the same value, integers in decimal, booleans as 0 and 1.
func castString(t *Tensor) ([]string, error) {
	switch d := t.Data.(type) {
	case []float32:
		return formatAll(d, func(v float32) string { return formatFloat(float64(v), 32) }), nil
	case []float64:
		return formatAll(d, func(v float64) string { return formatFloat(v, 64) }), nil
	case []uint64:
		return formatAll(d, func(v uint64) string { return strconv.FormatUint(v, 10) }), nil
	}
	if t.Type.IsFloat() { // float16 and narrower
		v, err := convertTo[float32](t)
		if err != nil {
			return nil, err
		}
		return castString(newTensor(onnx.Float, t.Dims, v))
	}
	v, err := convertTo[int64](t)
	if err != nil {
		return nil, err
	}
	return formatAll(v, func(v int64) string { return strconv.FormatInt(v, 10) }), nil
}

func formatAll[T numeric](src []T, format func(T) string) []string {
	out := make([]string, len(src))
	for i, v := range src {
		out[i] = format(v)
	}
	return out
}

// formatFloat writes NaN, INF and −INF as the specification has them, and exponents where the number would otherwise be long.
func formatFloat(v float64, bits int) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 1):
		return "INF"
	case math.IsInf(v, -1):
		return "-INF"
	case a != 0 && (a < 1e-4 || a >= 1e16):
		return strconv.FormatFloat(v, 'e', -1, bits)
	}
	return strconv.FormatFloat(v, 'f', -1, bits)
}
