package onnx

import (
	"cmp"
	"fmt"

	"github.com/trconvert/trconvert/internal/shape"
)

// compared makes the evaluator of a comparison.
func compared(op string) func(c *call) ([]*Array, error) {
	return func(c *call) ([]*Array, error) {
		t, dims, err := c.operands(2)
		if err != nil {
			return nil, err
		}
		if c.shapeOnly {
			return shaped(Bool, dims)
		}
		if err := c.spend(Bool, dims); err != nil {
			return nil, err
		}
		a, err := widened(c.in[0])
		if err != nil {
			return nil, err
		}
		b, err := widened(c.in[1])
		if err != nil {
			return nil, err
		}
		var out []bool
		switch x := a.Data.(type) {
		case []float32:
			out, err = comparison(op, x, a, b)
		case []float64:
			out, err = comparison(op, x, a, b)
		case []int8:
			out, err = comparison(op, x, a, b)
		case []int16:
			out, err = comparison(op, x, a, b)
		case []int32:
			out, err = comparison(op, x, a, b)
		case []int64:
			out, err = comparison(op, x, a, b)
		case []uint8:
			out, err = comparison(op, x, a, b)
		case []uint16:
			out, err = comparison(op, x, a, b)
		case []uint32:
			out, err = comparison(op, x, a, b)
		case []uint64:
			out, err = comparison(op, x, a, b)
		case []string:
			out, err = comparison(op, x, a, b)
		case []bool:
			y, ok := b.Data.([]bool)
			if op != "Equal" || !ok {
				return nil, errNotEvaluated(fmt.Sprintf("%s of %s is not evaluated", op, t))
			}
			out, _, err = shape.Binary(x, a.Dims, y, b.Dims, 0, func(x, y bool) bool { return x == y })
		default:
			err = errNotEvaluated(fmt.Sprintf("%s of %s is not evaluated", op, t))
		}
		if err != nil {
			return nil, err
		}
		return []*Array{{Type: Bool, Dims: dims, Data: out}}, nil
	}
}

func comparison[T cmp.Ordered](op string, x []T, a, b *Array) ([]bool, error) {
	y, ok := b.Data.([]T)
	if !ok {
		return nil, fmt.Errorf("operands of types %s and %s", a.Type, b.Type)
	}
	f := map[string]func(x, y T) bool{
		"Equal":          func(x, y T) bool { return x == y },
		"Less":           func(x, y T) bool { return x < y },
		"LessOrEqual":    func(x, y T) bool { return x <= y },
		"Greater":        func(x, y T) bool { return x > y },
		"GreaterOrEqual": func(x, y T) bool { return x >= y },
	}[op]
	out, _, err := shape.Binary(x, a.Dims, y, b.Dims, 0, f)
	return out, err
}

// logical makes the evaluator of an operator on two bools.
func logical(f func(a, b bool) bool) func(c *call) ([]*Array, error) {
	return func(c *call) ([]*Array, error) {
		t, dims, err := c.operands(2)
		if err != nil {
			return nil, err
		}
		if t != Bool {
			return nil, fmt.Errorf("operands of type %s (want bool)", t)
		}
		if c.shapeOnly {
			return shaped(Bool, dims)
		}
		if err := c.spend(Bool, dims); err != nil {
			return nil, err
		}
		out, _, err := shape.Binary(c.in[0].Data.([]bool), c.in[0].Dims, c.in[1].Data.([]bool), c.in[1].Dims, 0, f)
		if err != nil {
			return nil, err
		}
		return []*Array{{Type: Bool, Dims: dims, Data: out}}, nil
	}
}

func evalNot(c *call) ([]*Array, error) {
	a, err := c.input(0)
	if err != nil {
		return nil, err
	}
	if a.Type != Bool {
		return nil, fmt.Errorf("operand of type %s (want bool)", a.Type)
	}
	if c.shapeOnly {
		return shaped(Bool, a.Dims)
	}
	if err := c.spend(Bool, a.Dims); err != nil {
		return nil, err
	}
	x := a.Data.([]bool)
	return []*Array{{Type: Bool, Dims: a.Dims, Data: filled(len(x), func(i int) bool { return !x[i] })}}, nil
}
