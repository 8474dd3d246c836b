package runtime

import (
	"math"

	"github.com/trconvert/trconvert/onnx"
)

// compareOp is a binary operation that gives booleans.
type compareOp uint8

const (
	opEqual compareOp = iota
	opLess
	opLessOrEqual
	opGreater
	opGreaterOrEqual
)

// buildCompare serves Equal, Less, Greater and the like: https://onnx.ai/onnx/operators/onnx__Less.html
func buildCompare(op compareOp) builder {
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
			return one(compare(op, in[0], b))
		}), nil
	}
}

func compare(op compareOp, a, b *Tensor) (*Tensor, error) {
	if err := sameType(a, b); err != nil {
		return nil, err
	}
	switch a.Type {
	case onnx.Float:
		return zip(a, b, onnx.Bool, compareRow[float32](op))
	case onnx.Double:
		return zip(a, b, onnx.Bool, compareRow[float64](op))
	case onnx.Int8:
		return zip(a, b, onnx.Bool, compareRow[int8](op))
	case onnx.Int16:
		return zip(a, b, onnx.Bool, compareRow[int16](op))
	case onnx.Int32:
		return zip(a, b, onnx.Bool, compareRow[int32](op))
	case onnx.Int64:
		return zip(a, b, onnx.Bool, compareRow[int64](op))
	case onnx.Uint8:
		return zip(a, b, onnx.Bool, compareRow[uint8](op))
	case onnx.Uint16:
		return zip(a, b, onnx.Bool, compareRow[uint16](op))
	case onnx.Uint32:
		return zip(a, b, onnx.Bool, compareRow[uint32](op))
	case onnx.Uint64:
		return zip(a, b, onnx.Bool, compareRow[uint64](op))
	case onnx.Bool:
		if op == opEqual {
			return zip(a, b, onnx.Bool, equalRow[bool])
		}
	case onnx.String:
		if op == opEqual {
			return zip(a, b, onnx.Bool, equalRow[string])
		}
	}
	return nil, unsupportedType(a.Type)
}

func equalRow[T comparable](dst []bool, a, b []T) {
	for i := range dst {
		dst[i] = a[i] == b[i]
	}
}

func compareRow[T numeric](op compareOp) func(dst []bool, a, b []T) {
	switch op {
	case opLess:
		return func(dst []bool, a, b []T) {
			for i := range dst {
				dst[i] = a[i] < b[i]
			}
		}
	case opLessOrEqual:
		return func(dst []bool, a, b []T) {
			for i := range dst {
				dst[i] = a[i] <= b[i]
			}
		}
	case opGreater:
		return func(dst []bool, a, b []T) {
			for i := range dst {
				dst[i] = a[i] > b[i]
			}
		}
	case opGreaterOrEqual:
		return func(dst []bool, a, b []T) {
			for i := range dst {
				dst[i] = a[i] >= b[i]
			}
		}
	}
	return equalRow[T]
}

// buildLogical serves And, Or, Xor: https://onnx.ai/onnx/operators/onnx__And.html
func buildLogical(f func(a, b bool) bool) builder {
	return func(n *nodeInfo) (operator, error) {
		if err := requireInputs(n, 2, 2); err != nil {
			return nil, err
		}
		align := legacyBroadcast(n)
		return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
			b, err := align(in[0], in[1])
			if err != nil {
				return nil, err
			}
			return one(zip(in[0], b, onnx.Bool, func(dst, a, b []bool) {
				for i := range dst {
					dst[i] = f(a[i], b[i])
				}
			}))
		}), nil
	}
}

func logicalAnd(a, b bool) bool { return a && b }
func logicalOr(a, b bool) bool  { return a || b }
func logicalXor(a, b bool) bool { return a != b }

// buildNot: https://onnx.ai/onnx/operators/onnx__Not.html
func buildNot(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 1, 1); err != nil {
		return nil, err
	}
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		return one(mapRow(in[0], onnx.Bool, func(dst, src []bool) {
			for i, v := range src {
				dst[i] = !v
			}
		}))
	}), nil
}

// buildIsNaN: https://onnx.ai/onnx/operators/onnx__IsNaN.html
func buildIsNaN(n *nodeInfo) (operator, error) {
	return buildFloatTest(n, math.IsNaN)
}

// buildIsInf: https://onnx.ai/onnx/operators/onnx__IsInf.html
func buildIsInf(n *nodeInfo) (operator, error) {
	pos, neg := n.bool("detect_positive", true), n.bool("detect_negative", true)
	return buildFloatTest(n, func(v float64) bool {
		return pos && math.IsInf(v, 1) || neg && math.IsInf(v, -1)
	})
}

func buildFloatTest(n *nodeInfo, test func(float64) bool) (operator, error) {
	if err := requireInputs(n, 1, 1); err != nil {
		return nil, err
	}
	return widened(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		switch in[0].Type {
		case onnx.Float:
			return one(mapRow(in[0], onnx.Bool, testRow[float32](test)))
		case onnx.Double:
			return one(mapRow(in[0], onnx.Bool, testRow[float64](test)))
		}
		return nil, unsupportedType(in[0].Type)
	}), nil
}

func testRow[T floating](test func(float64) bool) func(dst []bool, src []T) {
	return func(dst []bool, src []T) {
		for i, v := range src {
			dst[i] = test(float64(v))
		}
	}
}
