package runtime

import (
	"fmt"
	"math"
	"slices"

	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// quantAxis is how scales and zero points lie along a tensor: one for all, one for each index of an axis, or one for each block
// of an axis.
type quantAxis struct {
	axis  int64
	block int64
}

func newQuantAxis(n *nodeInfo) quantAxis {
	q := quantAxis{axis: 1}
	if n.opset >= 13 {
		q.axis = n.int("axis", 1)
	}
	if n.opset >= 21 {
		q.block = n.int("block_size", 0)
	}
	return q
}

// index gives for each element of a tensor of shape dims the element of a parameter tensor that belongs to it.
func (q quantAxis) index(dims, params []int) (func(i int) int, error) {
	if elements(params) == 1 && len(params) <= 1 {
		return func(int) int { return 0 }, nil
	}
	k, err := shape.Axis(q.axis, len(dims))
	if err != nil {
		return nil, err
	}
	inner := shape.Strides(dims)[k]
	if len(params) == 1 && q.block == 0 {
		if params[0] != dims[k] {
			return nil, fmt.Errorf("%d scales for axis %d of shape %v", params[0], k, dims)
		}
		return func(i int) int { return i / inner % dims[k] }, nil
	}
	want := slices.Clone(dims)
	if q.block < 1 {
		return nil, fmt.Errorf("scales of shape %v for a tensor of shape %v need block_size", params, dims)
	}
	want[k] = (dims[k] + int(min(q.block, maxElements)) - 1) / int(min(q.block, maxElements))
	if !slices.Equal(want, params) {
		return nil, fmt.Errorf("scales of shape %v, want %v for shape %v in blocks of %d along axis %d", params, want, dims, q.block, k)
	}
	block := int(q.block)
	return func(i int) int {
		return (i/(inner*dims[k])*want[k]+i/inner%dims[k]/block)*inner + i%inner
	}, nil
}

// buildDequantizeLinear: https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html: (x − zero point)·scale.
func buildDequantizeLinear(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 2, 3); err != nil {
		return nil, err
	}
	q := newQuantAxis(n)
	to := onnx.DataType(n.int("output_dtype", 0))
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		scale, zero, at, err := quantParameters(q, in)
		if err != nil {
			return nil, err
		}
		typ := to
		if typ == onnx.Undefined {
			typ = in[1].Type
		}
		var y []float32
		switch x := in[0].Data.(type) {
		case []int8:
			y = dequantize(x, scale, zero, at)
		case []int32:
			y = dequantize(x, scale, zero, at)
		default:
			v, err := convertTo[float32](in[0]) // all other quantised types fit into float32
			if err != nil {
				return nil, err
			}
			y = dequantize(v, scale, zero, at)
		}
		return one(cast(newTensor(onnx.Float, in[0].Dims, y), typ))
	}), nil
}

// dequantize is (x − zero)·scale, rounded once.
func dequantize[T int8 | int32 | float32](x []T, scale, zero []float64, at func(int) int) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		k := at(i)
		y[i] = float32((float64(v) - zero[k]) * scale[k])
	}
	return y
}

// quantParameters gives scales, zero points (0 where absent) and the index of an element's parameters.
func quantParameters(q quantAxis, in []*Tensor) (scale, zero []float64, at func(int) int, err error) {
	if scale, err = convertTo[float64](in[1]); err != nil {
		return nil, nil, nil, err
	}
	if at, err = q.index(in[0].Dims, in[1].Dims); err != nil {
		return nil, nil, nil, err
	}
	zero = make([]float64, len(scale))
	if z := optional(in, 2); z != nil {
		if zero, err = convertTo[float64](z); err != nil {
			return nil, nil, nil, err
		}
		if len(zero) != len(scale) {
			return nil, nil, nil, fmt.Errorf("zero point has shape %v, the scale has %v", z.Dims, in[1].Dims)
		}
	}
	return scale, zero, at, nil
}

// buildQuantizeLinear: https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html: round(x/scale) + zero point, ties to even,
// saturated.
func buildQuantizeLinear(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 2, 3); err != nil {
		return nil, err
	}
	q := newQuantAxis(n)
	to := onnx.DataType(n.int("output_dtype", 0))
	n.ignore("precision")
	saturate := n.bool("saturate", true)
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		x, err := convertTo[float64](in[0])
		if err != nil {
			return nil, err
		}
		scale, zero, at, err := quantParameters(q, in)
		if err != nil {
			return nil, err
		}
		typ := to
		if z := optional(in, 2); z != nil {
			typ = z.Type
		} else if typ == onnx.Undefined {
			typ = onnx.Uint8
		}
		lo, hi, isInt := quantRange(typ)
		single := in[0].Type != onnx.Double // quotients are rounded in the precision of the operands
		out := make([]float64, len(x))
		for i, v := range x {
			k := at(i)
			v /= scale[k]
			if single {
				v = float64(float32(v))
			}
			if isInt {
				v = min(max(math.RoundToEven(v)+zero[k], lo), hi)
			}
			out[i] = v
		}
		return one(castWith(newTensor(onnx.Double, in[0].Dims, out), typ, saturate))
	}), nil
}

// quantRange is the range of an integer type that QuantizeLinear saturates to.
func quantRange(t onnx.DataType) (lo, hi float64, isInt bool) {
	bits, signed := 0, false
	switch t {
	case onnx.Int2, onnx.Uint2:
		bits, signed = 2, t == onnx.Int2
	case onnx.Int4, onnx.Uint4:
		bits, signed = 4, t == onnx.Int4
	case onnx.Int8, onnx.Uint8:
		bits, signed = 8, t == onnx.Int8
	case onnx.Int16, onnx.Uint16:
		bits, signed = 16, t == onnx.Int16
	case onnx.Int32:
		bits, signed = 32, true
	default:
		return 0, 0, false
	}
	if signed {
		return -math.Ldexp(1, bits-1), math.Ldexp(1, bits-1) - 1, true
	}
	return 0, math.Ldexp(1, bits) - 1, true
}

// buildDynamicQuantizeLinear: https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html: to uint8, over the range of the
// data widened to hold 0.
func buildDynamicQuantizeLinear(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 1, 1); err != nil {
		return nil, err
	}
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		x, ok := in[0].Data.([]float32)
		if !ok {
			return nil, unsupportedType(in[0].Type)
		}
		lo, hi := float32(0), float32(0)
		for _, v := range x {
			lo, hi = min(lo, v), max(hi, v)
		}
		scale := (hi - lo) / 255
		if scale == 0 { // no range: any scale serves, ONNX Runtime takes 1
			scale = 1
		}
		zero := float32(math.RoundToEven(float64(min(max(-lo/scale, 0), 255))))
		y := make([]uint8, len(x))
		for i, v := range x {
			if q := zero + float32(math.RoundToEven(float64(v/scale))); q == q { // NaN becomes 0
				y[i] = uint8(min(max(q, 0), 255))
			}
		}
		zeroPoint := uint8(0)
		if zero == zero {
			zeroPoint = uint8(zero)
		}
		return []*Tensor{
			newTensor(onnx.Uint8, in[0].Dims, y),
			newTensor(onnx.Float, nil, []float32{scale}),
			newTensor(onnx.Uint8, nil, []uint8{zeroPoint}),
		}, nil
	}), nil
}
