package runtime

import (
	"math"

	"github.com/trconvert/trconvert/onnx/recurrent"
)

// derivative multiplies d by the derivative of an activation at arguments x, where its values are y. At a kink it is the one from the side of
// smaller arguments, as in PyTorch's relu; where a clip threshold bounds the argument it is zero.
type derivative[T floating] func(d, x, y []T)

func newDerivative[T floating](a recurrent.Activation, clip T) derivative[T] {
	f := derivativeFunc[T](a)
	if clip <= 0 {
		return f
	}
	return func(d, x, y []T) {
		f(d, x, y)
		for k, v := range x {
			if v > clip || v < -clip {
				d[k] = 0
			}
		}
	}
}

// derivativeFunc is the derivative of the function of the same name of activationFunc.
func derivativeFunc[T floating](a recurrent.Activation) derivative[T] {
	alpha, beta := T(a.Alpha), T(a.Beta)
	switch a.Name {
	case "Sigmoid":
		return func(d, _, y []T) {
			for k, v := range y {
				d[k] *= v * (1 - v)
			}
		}
	case "Tanh":
		return func(d, _, y []T) {
			for k, v := range y {
				d[k] *= 1 - v*v
			}
		}
	case "Relu":
		return slope(func(x T) T {
			if x > 0 {
				return 1
			}
			return 0
		})
	case "Affine":
		return slope(func(T) T { return alpha })
	case "LeakyRelu":
		return slope(func(x T) T {
			if x > 0 {
				return 1
			}
			return alpha
		})
	case "ThresholdedRelu":
		return slope(func(x T) T {
			if x > alpha {
				return 1
			}
			return 0
		})
	case "ScaledTanh":
		return slope(func(x T) T {
			t := T(math.Tanh(float64(beta * x)))
			return alpha * beta * (1 - t*t)
		})
	case "HardSigmoid":
		return slope(func(x T) T {
			if y := alpha*x + beta; y > 0 && y < 1 {
				return alpha
			}
			return 0
		})
	case "Elu":
		return slope(func(x T) T {
			if x > 0 {
				return 1
			}
			return alpha * T(math.Exp(float64(x)))
		})
	case "Softsign":
		return slope(func(x T) T {
			n := 1 + T(math.Abs(float64(x)))
			return 1 / (n * n)
		})
	case "Softplus":
		return slope(func(x T) T { return T(1 / (1 + math.Exp(-float64(x)))) })
	}
	panic("unreachable: ParseConfig knows no activation " + a.Name)
}

// slope is a derivative that follows from the argument.
func slope[T floating](f func(x T) T) derivative[T] {
	return func(d, x, _ []T) {
		for k, v := range x {
			d[k] *= f(v)
		}
	}
}
