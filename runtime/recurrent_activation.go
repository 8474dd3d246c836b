package runtime

import (
	"math"

	"github.com/trconvert/trconvert/internal/vec"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// activation replaces every element by its function value.
type activation[T floating] func(x []T)

// newActivation makes one of the eleven functions of the specification. With clip > 0 arguments are first bounded to [−clip, clip].
func newActivation[T floating](a recurrent.Activation, clip T) activation[T] {
	f := activationFunc[T](a)
	if clip <= 0 {
		return f
	}
	return func(x []T) {
		for k, v := range x {
			switch {
			case v > clip:
				x[k] = clip
			case v < -clip:
				x[k] = -clip
			}
		}
		f(x)
	}
}

func activationFunc[T floating](a recurrent.Activation) activation[T] {
	alpha, beta := T(a.Alpha), T(a.Beta)
	switch a.Name {
	case "Sigmoid":
		if f := vector[T](vec.Sigmoid); f != nil {
			return f
		}
		return func(x []T) {
			for k, v := range x {
				x[k] = T(1 / (1 + math.Exp(-float64(v))))
			}
		}
	case "Tanh":
		if f := vector[T](vec.Tanh); f != nil {
			return f
		}
		return func(x []T) {
			for k, v := range x {
				x[k] = T(math.Tanh(float64(v)))
			}
		}
	case "Relu":
		return each(func(v T) T {
			if v < 0 {
				return 0
			}
			return v
		})
	case "Affine":
		return each(func(v T) T { return alpha*v + beta })
	case "LeakyRelu":
		return each(func(v T) T {
			if v < 0 {
				return alpha * v
			}
			return v
		})
	case "ThresholdedRelu":
		return each(func(v T) T {
			if v < alpha {
				return 0
			}
			return v
		})
	case "ScaledTanh":
		return each(func(v T) T { return alpha * T(math.Tanh(float64(beta*v))) })
	case "HardSigmoid":
		return each(func(v T) T { return min(max(alpha*v+beta, 0), 1) })
	case "Elu":
		return each(func(v T) T {
			if v < 0 {
				return alpha * T(math.Expm1(float64(v)))
			}
			return v
		})
	case "Softsign":
		return each(func(v T) T { return v / (1 + T(math.Abs(float64(v)))) })
	case "Softplus":
		return each(func(v T) T {
			// log(1+eˣ) without overflow
			return T(math.Max(float64(v), 0) + math.Log1p(math.Exp(-math.Abs(float64(v)))))
		})
	}
	panic("unreachable: ParseConfig knows no activation " + a.Name)
}

// vector is a kernel of float32 vectors as an activation, nil for other types.
func vector[T floating](kernel func(dst, src []float32)) activation[T] {
	f, _ := any(activation[float32](func(x []float32) { kernel(x, x) })).(activation[T])
	return f
}

// standard says whether a direction's first functions are those named and no threshold bounds their arguments.
func standard(cfg *recurrent.Config, acts []recurrent.Activation, names ...string) bool {
	for k, name := range names {
		if acts[k].Name != name {
			return false
		}
	}
	return cfg.Clip <= 0
}

func each[T floating](f func(T) T) activation[T] {
	return func(x []T) {
		for k, v := range x {
			x[k] = f(v)
		}
	}
}
