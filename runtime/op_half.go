package runtime

import (
	"slices"

	"github.com/trconvert/trconvert/onnx"
)

// widened runs a float kernel for Float16 and BFloat16 tensors too: such inputs are widened to float32, and the float32 results
// are rounded to the type of the first 16-bit input. keep lists the outputs that stay as they are.
func widened(op opFunc, keep ...int) operator {
	return opFunc(func(c *call, in []*Tensor) ([]*Tensor, error) {
		half := onnx.Undefined
		var wide []*Tensor
		for k, t := range in {
			if t == nil || !isHalf(t.Type) {
				continue
			}
			if half == onnx.Undefined {
				half = t.Type
				wide = append(wide, in...)
			}
			wide[k] = widenHalf(t)
		}
		if half == onnx.Undefined {
			return op(c, in)
		}
		out, err := op(c, wide)
		if err != nil {
			return nil, err
		}
		for k, t := range out {
			if t != nil && t.Type == onnx.Float && !slices.Contains(keep, k) {
				out[k] = narrowHalf(t, half)
			}
		}
		return out, nil
	})
}

// widenHalf is a 16-bit float tensor as float32, which holds all its values.
func widenHalf(t *Tensor) *Tensor {
	bits, _ := t.Data.([]uint16)
	f := onnx.Float16ToFloat32
	if t.Type == onnx.BFloat16 {
		f = onnx.BFloat16ToFloat32
	}
	out := make([]float32, len(bits))
	for i, b := range bits {
		out[i] = f(b)
	}
	return newTensor(onnx.Float, t.Dims, out)
}

// narrowHalf rounds a float32 tensor to the nearest 16-bit values, ties to even.
func narrowHalf(t *Tensor, half onnx.DataType) *Tensor {
	src, _ := t.Data.([]float32)
	f := onnx.Float32ToFloat16
	if half == onnx.BFloat16 {
		f = onnx.Float32ToBFloat16
	}
	out := make([]uint16, len(src))
	for i, v := range src {
		out[i] = f(v)
	}
	return newTensor(half, t.Dims, out)
}
