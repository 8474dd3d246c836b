package runtime

import (
	"fmt"

	"github.com/trconvert/trconvert/onnx"
)

// buildBitwise serves BitwiseAnd, BitwiseOr and BitwiseXor: https://onnx.ai/onnx/operators/onnx__BitwiseAnd.html. Every integer
// is taken as 64 bits; the operations do not mix bits, so that narrowing the result is exact.
func buildBitwise(f func(a, b uint64) uint64) builder {
	return func(n *nodeInfo) (operator, error) {
		if err := requireInputs(n, 2, 2); err != nil {
			return nil, err
		}
		return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
			a, b, err := bitsOf2(in)
			if err != nil {
				return nil, err
			}
			out, err := zip(a, b, onnx.Uint64, func(dst, a, b []uint64) {
				for i := range dst {
					dst[i] = f(a[i], b[i])
				}
			})
			if err != nil {
				return nil, err
			}
			return one(cast(out, in[0].Type))
		}), nil
	}
}

func bitsOf2(in []*Tensor) (a, b *Tensor, err error) {
	if err := sameType(in[0], in[1]); err != nil {
		return nil, nil, err
	}
	var wide [2]*Tensor
	for k, t := range in[:2] {
		if !isInteger(t.Type) {
			return nil, nil, unsupportedType(t.Type)
		}
		v, err := convertTo[uint64](t)
		if err != nil {
			return nil, nil, err
		}
		wide[k] = newTensor(onnx.Uint64, t.Dims, v)
	}
	return wide[0], wide[1], nil
}

// isInteger tells the integer types that arithmetic is defined on.
func isInteger(t onnx.DataType) bool {
	switch t {
	case onnx.Int8, onnx.Int16, onnx.Int32, onnx.Int64, onnx.Uint8, onnx.Uint16, onnx.Uint32, onnx.Uint64:
		return true
	}
	return false
}

// buildBitwiseNot: https://onnx.ai/onnx/operators/onnx__BitwiseNot.html
func buildBitwiseNot(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 1, 1); err != nil {
		return nil, err
	}
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		if !isInteger(in[0].Type) {
			return nil, unsupportedType(in[0].Type)
		}
		v, err := convertTo[uint64](in[0])
		if err != nil {
			return nil, err
		}
		out := make([]uint64, len(v))
		for i, x := range v {
			out[i] = ^x
		}
		return one(cast(newTensor(onnx.Uint64, in[0].Dims, out), in[0].Type))
	}), nil
}

// buildBitShift: https://onnx.ai/onnx/operators/onnx__BitShift.html, of unsigned integers.
func buildBitShift(n *nodeInfo) (operator, error) {
	direction := n.string("direction", "")
	if direction != "LEFT" && direction != "RIGHT" {
		return nil, fmt.Errorf("attribute \"direction\" is %q, want LEFT or RIGHT", direction)
	}
	return buildBitwise(func(a, b uint64) uint64 {
		if direction == "LEFT" {
			return a << b
		}
		return a >> b
	})(n)
}

func bitAnd(a, b uint64) uint64 { return a & b }
func bitOr(a, b uint64) uint64  { return a | b }
func bitXor(a, b uint64) uint64 { return a ^ b }
