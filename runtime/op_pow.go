package runtime

import (
	"math"

	"github.com/trconvert/trconvert/onnx"
)

// buildPow: https://onnx.ai/onnx/operators/onnx__Pow.html. Base and exponent may have different types from opset 12 on; the
// result has the type of the base.
func buildPow(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 2, 2); err != nil {
		return nil, err
	}
	align := legacyBroadcast(n)
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		y, err := align(in[0], in[1])
		if err != nil {
			return nil, err
		}
		half, x := in[0].Type, in[0]
		if isHalf(half) {
			x = widenHalf(x)
		}
		if isHalf(y.Type) {
			y = widenHalf(y)
		}
		out, err := pow(x, y)
		if err == nil && isHalf(half) {
			out = narrowHalf(out, half)
		}
		return one(out, err)
	}), nil
}

func pow(x, y *Tensor) (*Tensor, error) {
	switch x.Type {
	case onnx.Float:
		return powFloat[float32](x, y)
	case onnx.Double:
		return powFloat[float64](x, y)
	case onnx.Int32:
		return powInt[int32](x, y)
	case onnx.Int64:
		return powInt[int64](x, y)
	}
	return nil, unsupportedType(x.Type)
}

func powFloat[T floating](x, y *Tensor) (*Tensor, error) {
	e, err := convertTo[T](y)
	if err != nil {
		return nil, err
	}
	return zip(x, newTensor(x.Type, y.Dims, e), x.Type, func(dst, a, b []T) {
		for i, p := range b {
			switch p {
			case 1:
				dst[i] = a[i]
			case 2:
				dst[i] = a[i] * a[i]
			default:
				dst[i] = T(math.Pow(float64(a[i]), float64(p)))
			}
		}
	})
}

// powInt raises integers: exactly (modulo the word) to integers ≥ 0, through float64 otherwise.
func powInt[T int32 | int64](x, y *Tensor) (*Tensor, error) {
	if isFloat(y.Type) {
		base, err := convertTo[float64](x)
		if err != nil {
			return nil, err
		}
		e, err := convertTo[float64](y)
		if err != nil {
			return nil, err
		}
		out, err := zip(newTensor(onnx.Double, x.Dims, base), newTensor(onnx.Double, y.Dims, e), onnx.Double, func(dst, a, b []float64) {
			for i := range dst {
				dst[i] = math.Pow(a[i], b[i])
			}
		})
		if err != nil {
			return nil, err
		}
		return cast(out, x.Type)
	}
	e, err := convertTo[int64](y)
	if err != nil {
		return nil, err
	}
	base, err := convertTo[int64](x)
	if err != nil {
		return nil, err
	}
	return zip(newTensor(onnx.Int64, x.Dims, base), newTensor(onnx.Int64, y.Dims, e), x.Type, func(dst []T, a, b []int64) {
		for i := range dst {
			dst[i] = T(ipow(a[i], b[i]))
		}
	})
}

// ipow is a^e modulo 2^64; a negative e truncates towards zero.
func ipow(a, e int64) int64 {
	if e < 0 {
		switch {
		case a == 1 || a == -1 && e%2 == 0:
			return 1
		case a == -1:
			return -1
		}
		return 0
	}
	r := int64(1)
	for ; e > 0; e >>= 1 {
		if e&1 == 1 {
			r *= a
		}
		a *= a
	}
	return r
}
