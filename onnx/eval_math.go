package onnx

import (
	"errors"
	"fmt"
	"math"

	"github.com/trconvert/trconvert/internal/shape"
)

// number is any type arithmetic is done in.
type number interface {
	~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~float32 | ~float64
}

// operands are the inputs of an elementwise operator, of one type, and the shape they broadcast to.
func (c *call) operands(want int) (DataType, []int, error) {
	if want >= 0 && len(c.in) != want {
		return 0, nil, fmt.Errorf("%d inputs (want %d)", len(c.in), want)
	}
	if len(c.in) == 0 {
		return 0, nil, errors.New("no inputs")
	}
	shapes := make([][]int, len(c.in))
	for k := range c.in {
		a, err := c.input(k)
		if err != nil {
			return 0, nil, err
		}
		if a.Type != c.in[0].Type && c.node.OpType != "Pow" {
			return 0, nil, fmt.Errorf("inputs 0 and %d have types %s and %s", k, c.in[0].Type, a.Type)
		}
		shapes[k] = a.Dims
	}
	dims, err := shape.Broadcast(shapes...)
	if err != nil {
		return 0, nil, err
	}
	if _, err := shape.Size(dims, 0); err != nil {
		return 0, nil, err
	}
	return c.in[0].Type, dims, nil
}

// arithmetic makes the evaluator of Add, Sub, Mul, Div, Pow (two operands) and Min, Max, Sum (any number of them).
func arithmetic(op string) func(c *call) ([]*Array, error) {
	return func(c *call) ([]*Array, error) {
		want := 2
		if op == "Min" || op == "Max" || op == "Sum" {
			want = -1
		}
		t, dims, err := c.operands(want)
		if err != nil {
			return nil, err
		}
		if c.shapeOnly {
			return shaped(t, dims)
		}
		acc := c.in[0]
		for _, b := range c.in[1:] {
			if acc, err = c.pair(op, acc, b); err != nil {
				return nil, err
			}
		}
		return []*Array{acc}, nil
	}
}

// pair applies one operation to two arrays.
func (c *call) pair(op string, a, b *Array) (*Array, error) {
	dims, err := shape.Broadcast(a.Dims, b.Dims)
	if err != nil {
		return nil, err
	}
	t := a.Type
	if err := c.spend(t, dims); err != nil {
		return nil, err
	}
	if op == "Pow" {
		if b, err = castArray(b, Double, true); err != nil {
			return nil, err
		}
	} else if b, err = widened(b); err != nil {
		return nil, err
	}
	if a, err = widened(a); err != nil {
		return nil, err
	}
	out := &Array{Type: a.Type, Dims: dims}
	switch x := a.Data.(type) {
	case []float32:
		out.Data, err = pairOf(op, x, a, b)
	case []float64:
		out.Data, err = pairOf(op, x, a, b)
	case []int8:
		out.Data, err = pairOf(op, x, a, b)
	case []int16:
		out.Data, err = pairOf(op, x, a, b)
	case []int32:
		out.Data, err = pairOf(op, x, a, b)
	case []int64:
		out.Data, err = pairOf(op, x, a, b)
	case []uint8:
		out.Data, err = pairOf(op, x, a, b)
	case []uint16:
		out.Data, err = pairOf(op, x, a, b)
	case []uint32:
		out.Data, err = pairOf(op, x, a, b)
	case []uint64:
		out.Data, err = pairOf(op, x, a, b)
	default:
		err = errNotEvaluated(fmt.Sprintf("%s of %s is not evaluated", op, t))
	}
	if err != nil {
		return nil, err
	}
	if out.Type != t {
		return castArray(out, t, true)
	}
	return out, nil
}

func pairOf[T number](op string, x []T, a, b *Array) ([]T, error) {
	if op == "Pow" {
		low, high := math.Inf(-1), math.Inf(1)
		if !isFloat[T]() {
			low, high = intRange[T]()
		}
		out, _, err := shape.Binary(x, a.Dims, b.Data.([]float64), b.Dims, 0, func(x T, y float64) T {
			v := math.Pow(float64(x), y)
			if !isFloat[T]() {
				v = min(max(v, low), high)
				if v != v {
					v = 0
				}
			}
			return T(v)
		})
		return out, err
	}
	y, ok := b.Data.([]T)
	if !ok {
		return nil, fmt.Errorf("operands of types %s and %s", a.Type, b.Type)
	}
	byZero := false
	f := map[string]func(x, y T) T{
		"Add": func(x, y T) T { return x + y },
		"Sum": func(x, y T) T { return x + y },
		"Sub": func(x, y T) T { return x - y },
		"Mul": func(x, y T) T { return x * y },
		"Div": func(x, y T) T { return x / y },
		"Min": func(x, y T) T { return min(x, y) },
		"Max": func(x, y T) T { return max(x, y) },
	}[op]
	if op == "Div" && !isFloat[T]() {
		f = func(x, y T) T {
			if y == 0 {
				byZero = true
				return 0
			}
			return x / y
		}
	}
	out, _, err := shape.Binary(x, a.Dims, y, b.Dims, 0, f)
	if byZero {
		return nil, errors.New("integer division by zero")
	}
	return out, err
}

func isFloat[T number]() bool {
	one := T(1)
	return one/2 != 0
}

// intRange is the range of an integer type in float64, within which the conversion is exact or defined.
func intRange[T number]() (low, high float64) {
	var zero T
	switch any(zero).(type) {
	case int8:
		return math.MinInt8, math.MaxInt8
	case int16:
		return math.MinInt16, math.MaxInt16
	case int32:
		return math.MinInt32, math.MaxInt32
	case int64:
		return math.MinInt64, math.Nextafter(1<<63, 0)
	case uint8:
		return 0, math.MaxUint8
	case uint16:
		return 0, math.MaxUint16
	case uint32:
		return 0, math.MaxUint32
	}
	return 0, math.Nextafter(1<<64, 0)
}

// elementwise makes the evaluator of an operator of one operand.
func elementwise(op string) func(c *call) ([]*Array, error) {
	return func(c *call) ([]*Array, error) {
		a, err := c.input(0)
		if err != nil {
			return nil, err
		}
		if c.shapeOnly {
			return shaped(a.Type, a.Dims)
		}
		if err := c.spend(a.Type, a.Dims); err != nil {
			return nil, err
		}
		w, err := widened(a)
		if err != nil {
			return nil, err
		}
		out := &Array{Type: w.Type, Dims: a.Dims}
		switch x := w.Data.(type) {
		case []float32:
			out.Data = floatsOf(op, x)
		case []float64:
			out.Data = floatsOf(op, x)
		case []int8:
			out.Data, err = signedOf(op, x)
		case []int16:
			out.Data, err = signedOf(op, x)
		case []int32:
			out.Data, err = signedOf(op, x)
		case []int64:
			out.Data, err = signedOf(op, x)
		default:
			err = errNotEvaluated(fmt.Sprintf("%s of %s is not evaluated", op, a.Type))
		}
		if err != nil {
			return nil, err
		}
		return castBack(out, a.Type)
	}
}

// castBack gives a result computed in a wider type the type of its operand.
func castBack(out *Array, t DataType) ([]*Array, error) {
	if out.Type != t {
		var err error
		if out, err = castArray(out, t, true); err != nil {
			return nil, err
		}
	}
	return []*Array{out}, nil
}

func floatsOf[T float32 | float64](op string, x []T) []T {
	f := map[string]func(float64) float64{
		"Neg": func(v float64) float64 { return -v }, "Abs": math.Abs, "Sqrt": math.Sqrt, "Exp": math.Exp, "Log": math.Log, "Floor": math.Floor, "Ceil": math.Ceil, "Tanh": math.Tanh,
		"Reciprocal": func(v float64) float64 { return 1 / v },
		"Relu":       func(v float64) float64 { return max(v, 0) },
		"Sigmoid":    func(v float64) float64 { return 1 / (1 + math.Exp(-v)) },
	}[op]
	return filled(len(x), func(i int) T { return T(f(float64(x[i]))) })
}

func signedOf[T int8 | int16 | int32 | int64](op string, x []T) ([]T, error) {
	switch op {
	case "Neg":
		return filled(len(x), func(i int) T { return -x[i] }), nil
	case "Abs":
		return filled(len(x), func(i int) T { return max(x[i], -x[i]) }), nil
	case "Relu":
		return filled(len(x), func(i int) T { return max(x[i], 0) }), nil
	}
	return nil, errNotEvaluated(fmt.Sprintf("%s of integers is not evaluated", op))
}
