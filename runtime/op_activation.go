package runtime

import (
	"math"

	"github.com/trconvert/trconvert/onnx"
)

// buildActivation serves the elementwise functions of floats that have parameters: make reads the attributes and gives the
// function.
func buildActivation(make func(n *nodeInfo) (func(float64) float64, error)) builder {
	return func(n *nodeInfo) (operator, error) {
		if err := requireInputs(n, 1, 1); err != nil {
			return nil, err
		}
		n.ignore("consumed_inputs")
		f, err := make(n)
		if err != nil {
			return nil, err
		}
		return floatMap(f), nil
	}
}

// elu: https://onnx.ai/onnx/operators/onnx__Elu.html
func elu(n *nodeInfo) (func(float64) float64, error) {
	alpha := float64(n.float("alpha", 1))
	return func(x float64) float64 {
		if x < 0 {
			return alpha * math.Expm1(x)
		}
		return x
	}, nil
}

// celu: https://onnx.ai/onnx/operators/onnx__Celu.html
func celu(n *nodeInfo) (func(float64) float64, error) {
	alpha := float64(n.float("alpha", 1))
	return func(x float64) float64 {
		return math.Max(0, x) + math.Min(0, alpha*math.Expm1(x/alpha))
	}, nil
}

// selu: https://onnx.ai/onnx/operators/onnx__Selu.html. The defaults changed with opset 6.
func selu(n *nodeInfo) (func(float64) float64, error) {
	alpha, gamma := seluAttributes(n)
	return func(x float64) float64 {
		if x <= 0 {
			return gamma * alpha * math.Expm1(x)
		}
		return gamma * x
	}, nil
}

func seluAttributes(n *nodeInfo) (alpha, gamma float64) {
	defAlpha, defGamma := float32(1.67326319217681884765625), float32(1.05070102214813232421875)
	if n.opset < 6 {
		defAlpha, defGamma = 1.6732, 1.0507
	}
	return float64(n.float("alpha", defAlpha)), float64(n.float("gamma", defGamma))
}

// leakyRelu: https://onnx.ai/onnx/operators/onnx__LeakyRelu.html
func leakyRelu(n *nodeInfo) (func(float64) float64, error) {
	alpha := float64(n.float("alpha", 0.01))
	return func(x float64) float64 {
		if x < 0 {
			return alpha * x
		}
		return x
	}, nil
}

// thresholdedRelu: https://onnx.ai/onnx/operators/onnx__ThresholdedRelu.html
func thresholdedRelu(n *nodeInfo) (func(float64) float64, error) {
	alpha := float64(n.float("alpha", 1))
	return func(x float64) float64 {
		if x > alpha || math.IsNaN(x) {
			return x
		}
		return 0
	}, nil
}

// hardSigmoid: https://onnx.ai/onnx/operators/onnx__HardSigmoid.html
func hardSigmoid(n *nodeInfo) (func(float64) float64, error) {
	alpha, beta := float64(n.float("alpha", 0.2)), float64(n.float("beta", 0.5))
	return func(x float64) float64 { return math.Max(0, math.Min(1, alpha*x+beta)) }, nil
}

// shrink: https://onnx.ai/onnx/operators/onnx__Shrink.html
func shrink(n *nodeInfo) (func(float64) float64, error) {
	bias, lambda := float64(n.float("bias", 0)), float64(n.float("lambd", 0.5))
	return func(x float64) float64 {
		switch {
		case x < -lambda:
			return x + bias
		case x > lambda:
			return x - bias
		}
		return 0
	}, nil
}

// swish: https://onnx.ai/onnx/operators/onnx__Swish.html
func swish(n *nodeInfo) (func(float64) float64, error) {
	alpha := float64(n.float("alpha", 1))
	return func(x float64) float64 { return x * sigmoid(alpha*x) }, nil
}

// gelu: https://onnx.ai/onnx/operators/onnx__Gelu.html
func gelu(n *nodeInfo) (func(float64) float64, error) {
	switch a := n.string("approximate", "none"); a {
	case "none":
		return func(x float64) float64 { return 0.5 * x * (1 + math.Erf(x/math.Sqrt2)) }, nil
	case "tanh":
		return func(x float64) float64 {
			return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
		}, nil
	default:
		return nil, unsupportedf("approximate = %q", a)
	}
}

// buildPRelu: https://onnx.ai/onnx/operators/onnx__PRelu.html. The slope broadcasts to X in one direction; below opset 7 a slope
// of shape [C] belongs to axis 1.
func buildPRelu(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 2, 2); err != nil {
		return nil, err
	}
	n.ignore("consumed_inputs")
	return widened(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		x, slope := in[0], in[1]
		if err := sameType(x, slope); err != nil {
			return nil, err
		}
		slope = preluSlope(n, x, slope)
		switch x.Type {
		case onnx.Float:
			return one(zip(x, slope, x.Type, preluRow[float32]))
		case onnx.Double:
			return one(zip(x, slope, x.Type, preluRow[float64]))
		case onnx.Int32:
			return one(zip(x, slope, x.Type, preluRow[int32]))
		case onnx.Int64:
			return one(zip(x, slope, x.Type, preluRow[int64]))
		}
		return nil, unsupportedType(x.Type)
	}), nil
}

// preluSlope is the slope as it broadcasts to x.
func preluSlope(n *nodeInfo, x, slope *Tensor) *Tensor {
	if n.opset >= 7 || len(slope.Dims) != 1 || slope.Dims[0] == 1 || len(x.Dims) <= 2 {
		return slope
	}
	dims := make([]int, len(x.Dims)-1)
	for i := range dims {
		dims[i] = 1
	}
	dims[0] = slope.Dims[0]
	return newTensor(slope.Type, dims, slope.Data)
}

func preluRow[T numeric](dst, x, slope []T) {
	for i, v := range x {
		if v < 0 {
			v *= slope[i]
		}
		dst[i] = v
	}
}
