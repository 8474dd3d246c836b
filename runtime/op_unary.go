package runtime

import (
	"math"

	"github.com/trconvert/trconvert/onnx"
)

// mapRow applies a row kernel to all elements of a tensor.
func mapRow[T, R any](t *Tensor, result onnx.DataType, kernel func(dst []R, src []T)) (*Tensor, error) {
	src, ok := t.Data.([]T)
	if !ok {
		return nil, unsupportedType(t.Type)
	}
	dst := make([]R, len(src))
	kernel(dst, src)
	return newTensor(result, t.Dims, dst), nil
}

// buildFloatMap serves the elementwise functions of floats without attributes (Exp, Log, Sqrt, Sin, Erf, …). They are computed in
// float64 and rounded once.
func buildFloatMap(f func(float64) float64) builder {
	return func(n *nodeInfo) (operator, error) {
		if err := requireInputs(n, 1, 1); err != nil {
			return nil, err
		}
		n.ignore("consumed_inputs")
		return floatMap(f), nil
	}
}

// buildVectorMap is buildFloatMap for a function that has a kernel for float32, whose error its package states.
func buildVectorMap(kernel func(dst, src []float32), f func(float64) float64) builder {
	return func(n *nodeInfo) (operator, error) {
		if err := requireInputs(n, 1, 1); err != nil {
			return nil, err
		}
		n.ignore("consumed_inputs")
		general := floatMap(f)
		return widened(func(c *call, in []*Tensor) ([]*Tensor, error) {
			if in[0].Type == onnx.Float {
				return one(mapRow(in[0], onnx.Float, kernel))
			}
			return general.run(c, in)
		}), nil
	}
}

// floatMap is the operator that applies f to every element.
func floatMap(f func(float64) float64) operator {
	return widened(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		switch in[0].Type {
		case onnx.Float:
			return one(mapRow(in[0], onnx.Float, floatRow[float32](f)))
		case onnx.Double:
			return one(mapRow(in[0], onnx.Double, floatRow[float64](f)))
		}
		return nil, unsupportedType(in[0].Type)
	})
}

func floatRow[T floating](f func(float64) float64) func(dst, src []T) {
	return func(dst, src []T) {
		for i, v := range src {
			dst[i] = T(f(float64(v)))
		}
	}
}

// numericMap is a unary operation on all numbers.
type numericMap uint8

const (
	opAbs numericMap = iota
	opNeg
	opSign
	opRelu
)

// buildNumericMap serves Abs, Neg, Sign and Relu: https://onnx.ai/onnx/operators/onnx__Abs.html
func buildNumericMap(op numericMap) builder {
	return func(n *nodeInfo) (operator, error) {
		if err := requireInputs(n, 1, 1); err != nil {
			return nil, err
		}
		n.ignore("consumed_inputs")
		return widened(func(_ *call, in []*Tensor) ([]*Tensor, error) {
			t := in[0]
			switch t.Type {
			case onnx.Float:
				return one(mapRow(t, t.Type, numericRow[float32](op)))
			case onnx.Double:
				return one(mapRow(t, t.Type, numericRow[float64](op)))
			case onnx.Int8:
				return one(mapRow(t, t.Type, numericRow[int8](op)))
			case onnx.Int16:
				return one(mapRow(t, t.Type, numericRow[int16](op)))
			case onnx.Int32:
				return one(mapRow(t, t.Type, numericRow[int32](op)))
			case onnx.Int64:
				return one(mapRow(t, t.Type, numericRow[int64](op)))
			case onnx.Uint8:
				return one(mapRow(t, t.Type, numericRow[uint8](op)))
			case onnx.Uint16:
				return one(mapRow(t, t.Type, numericRow[uint16](op)))
			case onnx.Uint32:
				return one(mapRow(t, t.Type, numericRow[uint32](op)))
			case onnx.Uint64:
				return one(mapRow(t, t.Type, numericRow[uint64](op)))
			}
			return nil, unsupportedType(t.Type)
		}), nil
	}
}

func numericRow[T numeric](op numericMap) func(dst, src []T) {
	switch op {
	case opAbs:
		return func(dst, src []T) {
			for i, v := range src {
				if v <= 0 { // also turns -0 into +0
					v = 0 - v
				}
				dst[i] = v
			}
		}
	case opNeg:
		return func(dst, src []T) {
			for i, v := range src {
				dst[i] = -v
			}
		}
	case opSign:
		return func(dst, src []T) {
			for i, v := range src {
				switch {
				case v > 0:
					dst[i] = 1
				case v < 0:
					dst[i]-- // from 0: -1
				default:
					dst[i] = v // 0 or NaN
				}
			}
		}
	}
	return func(dst, src []T) {
		for i, v := range src {
			dst[i] = max(v, 0)
		}
	}
}

// reciprocal, sigmoid and the like are the scalar functions that math lacks.
func reciprocal(x float64) float64 { return 1 / x }

func sigmoid(x float64) float64 {
	if x >= 0 {
		return 1 / (1 + math.Exp(-x))
	}
	e := math.Exp(x)
	return e / (1 + e)
}

// softplus is ln(1 + e^x) without overflow.
func softplus(x float64) float64 { return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

func softsign(x float64) float64 { return x / (1 + math.Abs(x)) }

// hardSwish is x·max(0, min(1, x/6 + 1/2)).
func hardSwish(x float64) float64 { return x * math.Max(0, math.Min(1, x/6+0.5)) }

// mish is x·tanh(softplus(x)).
func mish(x float64) float64 { return x * math.Tanh(softplus(x)) }
