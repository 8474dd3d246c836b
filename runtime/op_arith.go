package runtime

import (
	"fmt"
	"math"

	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// arithOp is a binary operation whose result has the type of its operands.
type arithOp uint8

const (
	opAdd arithOp = iota
	opSub
	opMul
	opDiv
	opMax
	opMin
	opMod
	opFmod
)

// buildArith serves Add, Sub, Mul, Div: https://onnx.ai/onnx/operators/onnx__Add.html and its kin.
func buildArith(op arithOp) builder {
	return func(n *nodeInfo) (operator, error) {
		if err := requireInputs(n, 2, 2); err != nil {
			return nil, err
		}
		align := legacyBroadcast(n)
		return widened(func(_ *call, in []*Tensor) ([]*Tensor, error) {
			b, err := align(in[0], in[1])
			if err != nil {
				return nil, err
			}
			return one(arith(op, in[0], b))
		}), nil
	}
}

// legacyBroadcast honours the broadcasting of opsets below 7, where B is aligned with the dims of A from attribute axis on. From
// opset 7 on it leaves B alone.
func legacyBroadcast(n *nodeInfo) func(a, b *Tensor) (*Tensor, error) {
	if n.opset >= 7 {
		return func(_, b *Tensor) (*Tensor, error) { return b, nil }
	}
	n.ignore("consumed_inputs")
	hasAxis := n.hasAttr("axis")
	axis, on := n.int("axis", 0), n.bool("broadcast", false)
	return func(a, b *Tensor) (*Tensor, error) {
		if !on || !hasAxis {
			return b, nil
		}
		k, err := shape.Axis(axis, len(a.Dims))
		if err != nil {
			return nil, err
		}
		trailing := len(a.Dims) - k - len(b.Dims)
		if trailing < 0 {
			return nil, fmt.Errorf("shape %v does not fit into %v from axis %d on", b.Dims, a.Dims, k)
		}
		dims := append([]int(nil), b.Dims...)
		for range trailing {
			dims = append(dims, 1)
		}
		return newTensor(b.Type, dims, b.Data), nil
	}
}

// buildMod: https://onnx.ai/onnx/operators/onnx__Mod.html
func buildMod(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 2, 2); err != nil {
		return nil, err
	}
	fmod := n.bool("fmod", false)
	return widened(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		op := opMod
		if fmod {
			op = opFmod
		} else if isFloat(in[0].Type) {
			return nil, fmt.Errorf("floating operands of type %v need fmod = 1", in[0].Type)
		}
		return one(arith(op, in[0], in[1]))
	}), nil
}

// buildVariadic serves Max, Min, Sum and Mean: https://onnx.ai/onnx/operators/onnx__Max.html
func buildVariadic(op arithOp, mean bool) builder {
	return func(n *nodeInfo) (operator, error) {
		if err := requireInputs(n, max(n.inputs(), 1), -1); err != nil {
			return nil, err
		}
		n.ignore("consumed_inputs")
		return widened(func(_ *call, in []*Tensor) ([]*Tensor, error) {
			acc := in[0]
			var err error
			for _, t := range in[1:] {
				if acc, err = arith(op, acc, t); err != nil {
					return nil, err
				}
			}
			if !mean {
				return []*Tensor{acc}, nil
			}
			switch acc.Type {
			case onnx.Float:
				return one(arith(opDiv, acc, newTensor(onnx.Float, nil, []float32{float32(len(in))})))
			case onnx.Double:
				return one(arith(opDiv, acc, newTensor(onnx.Double, nil, []float64{float64(len(in))})))
			}
			return nil, unsupportedType(acc.Type)
		}), nil
	}
}

// arith computes one binary operation with broadcasting.
func arith(op arithOp, a, b *Tensor) (*Tensor, error) {
	if err := sameType(a, b); err != nil {
		return nil, err
	}
	switch a.Type {
	case onnx.Float:
		return zip(a, b, a.Type, floatArith[float32](op))
	case onnx.Double:
		return zip(a, b, a.Type, floatArith[float64](op))
	case onnx.Int8:
		return zip(a, b, a.Type, intArith[int8](op))
	case onnx.Int16:
		return zip(a, b, a.Type, intArith[int16](op))
	case onnx.Int32:
		return zip(a, b, a.Type, intArith[int32](op))
	case onnx.Int64:
		return zip(a, b, a.Type, intArith[int64](op))
	case onnx.Uint8:
		return zip(a, b, a.Type, intArith[uint8](op))
	case onnx.Uint16:
		return zip(a, b, a.Type, intArith[uint16](op))
	case onnx.Uint32:
		return zip(a, b, a.Type, intArith[uint32](op))
	case onnx.Uint64:
		return zip(a, b, a.Type, intArith[uint64](op))
	}
	return nil, unsupportedType(a.Type)
}

// numericArith holds the row kernels that floats and integers share, nil for the others.
func numericArith[T numeric](op arithOp) func(dst, a, b []T) {
	switch op {
	case opAdd:
		return addRow[T]
	case opSub:
		return subRow[T]
	case opMul:
		return mulRow[T]
	}
	return nil
}

func addRow[T numeric](dst, a, b []T) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] + b[i]
	}
}

func subRow[T numeric](dst, a, b []T) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] - b[i]
	}
}

func mulRow[T numeric](dst, a, b []T) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] * b[i]
	}
}

// floatArith holds the row kernels of floats. Max and Min give NaN where either operand is one, as NumPy's maximum and ONNX
// Runtime do.
func floatArith[T floating](op arithOp) func(dst, a, b []T) {
	switch op {
	case opDiv:
		return func(dst, a, b []T) {
			a, b = a[:len(dst)], b[:len(dst)]
			for i := range dst {
				dst[i] = a[i] / b[i]
			}
		}
	case opMax:
		return func(dst, a, b []T) {
			a, b = a[:len(dst)], b[:len(dst)]
			for i := range dst {
				dst[i] = max(a[i], b[i])
			}
		}
	case opMin:
		return func(dst, a, b []T) {
			a, b = a[:len(dst)], b[:len(dst)]
			for i := range dst {
				dst[i] = min(a[i], b[i])
			}
		}
	case opMod, opFmod:
		return func(dst, a, b []T) {
			for i := range dst {
				dst[i] = T(math.Mod(float64(a[i]), float64(b[i])))
			}
		}
	}
	return numericArith[T](op)
}

// intArith holds the row kernels of integers. Division truncates towards zero; x/0 and x mod 0, which the specification leaves
// open, are 0 as in NumPy. Mod has the sign of the divisor, Fmod that of the dividend.
func intArith[T integer](op arithOp) func(dst, a, b []T) {
	switch op {
	case opDiv:
		return func(dst, a, b []T) {
			for i := range dst {
				if b[i] == 0 {
					dst[i] = 0
				} else {
					dst[i] = a[i] / b[i]
				}
			}
		}
	case opMax:
		return func(dst, a, b []T) {
			for i := range dst {
				dst[i] = max(a[i], b[i])
			}
		}
	case opMin:
		return func(dst, a, b []T) {
			for i := range dst {
				dst[i] = min(a[i], b[i])
			}
		}
	case opMod, opFmod:
		return func(dst, a, b []T) {
			for i := range dst {
				if b[i] == 0 {
					dst[i] = 0
					continue
				}
				r := a[i] % b[i]
				if op == opMod && r != 0 && (r < 0) != (b[i] < 0) {
					r += b[i]
				}
				dst[i] = r
			}
		}
	}
	return numericArith[T](op)
}
