package runtime

import (
	"math"

	"github.com/trconvert/trconvert/onnx"
)

// slopeMaker reads the attributes of an elementwise function and gives its derivative as a function of one argument. Where the function has a kink the
// derivative is that of one side.
type slopeMaker func(n *nodeInfo) func(float64) float64

// slopeAt is the gradient of an elementwise function whose derivative is a function of x.
func slopeAt(slope func(x float64) float64) gradientBuilder {
	return slopeAtOf(func(*nodeInfo) func(float64) float64 { return slope })
}

// slopeAtOf is slopeAt for functions with attributes.
func slopeAtOf(make slopeMaker) gradientBuilder {
	return func(n *nodeInfo) (*gradient, error) {
		slope := make(n)
		return &gradient{in: 1, run: func(_ *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
			return one(zipFloats(d[0], in[0], func(d, x float64) float64 { return d * slope(x) }))
		}}, nil
	}
}

// slopeFrom is the gradient of an elementwise function whose derivative is a function of its result.
func slopeFrom(slope func(y float64) float64) gradientBuilder {
	return func(*nodeInfo) (*gradient, error) {
		return &gradient{out: 1, run: func(_ *backCall, _, out, d []*Tensor) ([]*Tensor, error) {
			return one(zipFloats(d[0], out[0], func(d, y float64) float64 { return d * slope(y) }))
		}}, nil
	}
}

// rowSlope is slopeFrom for functions that have kernels: of d and y.
func rowSlope(single func(dst, d, y []float32), double func(dst, d, y []float64)) gradientBuilder {
	return func(*nodeInfo) (*gradient, error) {
		return &gradient{out: 1, run: func(_ *backCall, _, out, d []*Tensor) ([]*Tensor, error) {
			if d[0].Type == onnx.Float {
				return one(zip(d[0], out[0], onnx.Float, single))
			}
			return one(zip(d[0], out[0], onnx.Double, double))
		}}, nil
	}
}

func sigmoidSlopes[T floating](dst, d, y []T) {
	d, y = d[:len(dst)], y[:len(dst)]
	for i := range dst {
		dst[i] = d[i] * y[i] * (1 - y[i])
	}
}

func tanhSlopes[T floating](dst, d, y []T) {
	d, y = d[:len(dst)], y[:len(dst)]
	for i := range dst {
		dst[i] = d[i] * (1 - y[i]*y[i])
	}
}

func reluSlopes[T floating](dst, d, y []T) {
	d, y = d[:len(dst)], y[:len(dst)]
	for i := range dst {
		if y[i] > 0 {
			dst[i] = d[i]
		}
	}
}

func absSlope(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return 0
}

func hardSwishSlope(x float64) float64 {
	switch {
	case x <= -3:
		return 0
	case x >= 3:
		return 1
	}
	return (2*x + 3) / 6
}

func mishSlope(x float64) float64 {
	t := math.Tanh(softplus(x))
	return t + x*(1-t*t)*sigmoid(x)
}

func softsignSlope(x float64) float64 {
	a := 1 + math.Abs(x)
	return 1 / (a * a)
}

func erfSlope(x float64) float64 { return 2 / math.SqrtPi * math.Exp(-x*x) }

func eluSlope(n *nodeInfo) func(float64) float64 {
	alpha := float64(n.float("alpha", 1))
	return func(x float64) float64 {
		if x < 0 {
			return alpha * math.Exp(x)
		}
		return 1
	}
}

func celuSlope(n *nodeInfo) func(float64) float64 {
	alpha := float64(n.float("alpha", 1))
	return func(x float64) float64 {
		if x < 0 {
			return math.Exp(x / alpha)
		}
		return 1
	}
}

func seluSlope(n *nodeInfo) func(float64) float64 {
	alpha, gamma := seluAttributes(n)
	return func(x float64) float64 {
		if x <= 0 {
			return gamma * alpha * math.Exp(x)
		}
		return gamma
	}
}

func leakyReluSlope(n *nodeInfo) func(float64) float64 {
	alpha := float64(n.float("alpha", 0.01))
	return func(x float64) float64 {
		if x < 0 {
			return alpha
		}
		return 1
	}
}

func thresholdedReluSlope(n *nodeInfo) func(float64) float64 {
	alpha := float64(n.float("alpha", 1))
	return func(x float64) float64 {
		if x > alpha {
			return 1
		}
		return 0
	}
}

func hardSigmoidSlope(n *nodeInfo) func(float64) float64 {
	alpha, beta := float64(n.float("alpha", 0.2)), float64(n.float("beta", 0.5))
	return func(x float64) float64 {
		if y := alpha*x + beta; y > 0 && y < 1 {
			return alpha
		}
		return 0
	}
}

func shrinkSlope(n *nodeInfo) func(float64) float64 {
	lambda := float64(n.float("lambd", 0.5))
	return func(x float64) float64 {
		if x < -lambda || x > lambda {
			return 1
		}
		return 0
	}
}

func swishSlope(n *nodeInfo) func(float64) float64 {
	alpha := float64(n.float("alpha", 1))
	return func(x float64) float64 {
		s := sigmoid(alpha * x)
		return s + alpha*x*s*(1-s)
	}
}

func geluSlope(n *nodeInfo) func(float64) float64 {
	if n.string("approximate", "none") == "tanh" {
		return func(x float64) float64 {
			c := math.Sqrt(2 / math.Pi)
			t := math.Tanh(c * (x + 0.044715*x*x*x))
			return 0.5*(1+t) + 0.5*x*(1-t*t)*c*(1+3*0.044715*x*x)
		}
	}
	return func(x float64) float64 {
		return 0.5*(1+math.Erf(x/math.Sqrt2)) + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
	}
}

// preluGradient: y = x where x ≥ 0, slope·x elsewhere.
func preluGradient(n *nodeInfo) (*gradient, error) {
	return &gradient{in: 1 | n.whereVariable(0, 2), run: func(c *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
		x, slope := in[0], preluSlope(n, in[0], in[1])
		grads := make([]*Tensor, 2)
		if c.needs(0) {
			f, err := zipFloats(x, slope, func(x, s float64) float64 {
				if x < 0 {
					return s
				}
				return 1
			})
			if err != nil {
				return nil, err
			}
			g, err := arith(opMul, d[0], f)
			if err != nil {
				return nil, err
			}
			if grads[0], err = sumTo(g, x.Dims); err != nil {
				return nil, err
			}
		}
		if c.needs(1) {
			f, err := zipFloats(d[0], x, func(d, x float64) float64 {
				if x < 0 {
					return d * x
				}
				return 0
			})
			if err != nil {
				return nil, err
			}
			s, err := sumTo(f, slope.Dims)
			if grads[1], err = like(in[1], s, err); err != nil {
				return nil, err
			}
		}
		return grads, nil
	}}, nil
}
