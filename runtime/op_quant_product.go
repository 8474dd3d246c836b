package runtime

import (
	"fmt"
	"math"
	"slices"

	"github.com/trconvert/trconvert/onnx"
)

// buildMatMulInteger: https://onnx.ai/onnx/operators/onnx__MatMulInteger.html: int32 products of uint8 or int8 matrices, less
// their zero points.
func buildMatMulInteger(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 2, 4); err != nil {
		return nil, err
	}
	return opFunc(func(c *call, in []*Tensor) ([]*Tensor, error) {
		a, err := centred(in[0], optional(in, 2), -2)
		if err != nil {
			return nil, err
		}
		b, err := centred(in[1], optional(in, 3), -1)
		if err != nil {
			return nil, err
		}
		return one(matMulOf[int32](c, a, b))
	}), nil
}

// centred is an 8-bit tensor less its zero point, as int32. A zero point of shape [n] belongs to the given axis, counted from the
// end where negative.
func centred(t, zero *Tensor, axis int) (*Tensor, error) {
	if t.Type != onnx.Int8 && t.Type != onnx.Uint8 {
		return nil, unsupportedType(t.Type)
	}
	v, err := convertTo[int32](t)
	if err != nil {
		return nil, err
	}
	x := newTensor(onnx.Int32, t.Dims, v)
	if zero == nil {
		return x, nil
	}
	z, err := convertTo[int32](zero)
	if err != nil {
		return nil, err
	}
	out, err := arith(opSub, x, newTensor(onnx.Int32, alongAxis(zero.Dims, axis, len(t.Dims)), z))
	if err != nil {
		return nil, err
	}
	if !slices.Equal(out.Dims, t.Dims) && elements(out.Dims) != len(v) {
		return nil, fmt.Errorf("zero point of shape %v does not fit %v", zero.Dims, t.Dims)
	}
	return newTensor(onnx.Int32, t.Dims, out.Data), nil
}

// buildQLinearMatMul: https://onnx.ai/onnx/operators/onnx__QLinearMatMul.html
func buildQLinearMatMul(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 8, 8); err != nil {
		return nil, err
	}
	return opFunc(func(c *call, in []*Tensor) ([]*Tensor, error) {
		a, err := dequantized(in[0], in[1], in[2], -2)
		if err != nil {
			return nil, err
		}
		b, err := dequantized(in[3], in[4], in[5], -1)
		if err != nil {
			return nil, err
		}
		product, err := matMulOf[float64](c, a, b)
		if err != nil {
			return nil, err
		}
		return one(requantized(product, in[6], in[7]))
	}), nil
}

// alongAxis is the shape that puts parameters of shape [n] along an axis of a tensor; other shapes stay as they are.
func alongAxis(dims []int, axis, rank int) []int {
	if axis < 0 {
		axis += rank
	}
	if len(dims) != 1 || dims[0] == 1 || axis < 0 || axis >= rank {
		return dims
	}
	return append(slices.Clone(dims), slices.Repeat([]int{1}, rank-1-axis)...)
}

// dequantized is (x − zero)·scale in float64, parameters as for centred.
func dequantized(x, scale, zero *Tensor, axis int) (*Tensor, error) {
	var v [3]*Tensor
	for k, t := range []*Tensor{x, scale, zero} {
		d, err := convertTo[float64](t)
		if err != nil {
			return nil, err
		}
		dims := t.Dims
		if k > 0 {
			dims = alongAxis(dims, axis, len(x.Dims))
		}
		v[k] = newTensor(onnx.Double, dims, d)
	}
	diff, err := arith(opSub, v[0], v[2])
	if err != nil {
		return nil, err
	}
	out, err := arith(opMul, diff, v[1])
	if err != nil {
		return nil, err
	}
	if elements(out.Dims) != elements(x.Dims) {
		return nil, fmt.Errorf("scale %v and zero point %v do not fit %v", scale.Dims, zero.Dims, x.Dims)
	}
	return newTensor(onnx.Double, x.Dims, out.Data), nil
}

// requantized is round(x/scale) + zero, ties to even, saturated to the type of the zero point. x is overwritten.
func requantized(x, scale, zero *Tensor) (*Tensor, error) {
	s, err := convertTo[float64](scale)
	if err != nil {
		return nil, err
	}
	z, err := convertTo[float64](zero)
	if err != nil {
		return nil, err
	}
	lo, hi, isInt := quantRange(zero.Type)
	if len(s) != 1 || len(z) != 1 || !isInt {
		return nil, unsupportedf("output scale of shape %v and %v zero point of shape %v", scale.Dims, zero.Type, zero.Dims)
	}
	y := x.Data.([]float64)
	for i, v := range y {
		y[i] = min(max(math.RoundToEven(v/s[0])+z[0], lo), hi)
	}
	return cast(newTensor(onnx.Double, x.Dims, y), zero.Type)
}

// buildConvInteger: https://onnx.ai/onnx/operators/onnx__ConvInteger.html. Products and sums of 8-bit integers are exact in
// float64.
func buildConvInteger(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 2, 4); err != nil {
		return nil, err
	}
	w, err := newWindow(n)
	if err != nil {
		return nil, err
	}
	group := n.int("group", 1)
	return opFunc(func(c *call, in []*Tensor) ([]*Tensor, error) {
		var arg [2]*Tensor
		for k := range arg {
			t, err := centred(in[k], optional(in, k+2), 0)
			if err != nil {
				return nil, err
			}
			if arg[k], err = cast(t, onnx.Double); err != nil {
				return nil, err
			}
		}
		y, err := conv[float64](c, w, group, arg[:])
		if err != nil {
			return nil, err
		}
		return one(cast(y, onnx.Int32))
	}), nil
}

// buildQLinearConv: https://onnx.ai/onnx/operators/onnx__QLinearConv.html. The bias is int32 with the scale of the products.
func buildQLinearConv(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 8, 9); err != nil {
		return nil, err
	}
	w, err := newWindow(n)
	if err != nil {
		return nil, err
	}
	group := n.int("group", 1)
	return opFunc(func(c *call, in []*Tensor) ([]*Tensor, error) {
		x, err := dequantized(in[0], in[1], in[2], 0)
		if err != nil {
			return nil, err
		}
		k, err := dequantized(in[3], in[4], in[5], 0)
		if err != nil {
			return nil, err
		}
		arg := []*Tensor{x, k}
		if b := optional(in, 8); b != nil {
			t, err := cast(b, onnx.Double)
			if err != nil {
				return nil, err
			}
			for _, scale := range []*Tensor{in[1], in[4]} {
				s, err := cast(scale, onnx.Double)
				if err != nil {
					return nil, err
				}
				if t, err = arith(opMul, t, s); err != nil {
					return nil, err
				}
			}
			arg = append(arg, t)
		}
		y, err := conv[float64](c, w, group, arg)
		if err != nil {
			return nil, err
		}
		return one(requantized(y, in[6], in[7]))
	}), nil
}
