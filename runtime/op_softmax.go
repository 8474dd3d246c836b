package runtime

import (
	"math"

	"github.com/trconvert/trconvert/internal/shape"
)

// buildSoftmax serves Softmax, LogSoftmax and Hardmax: https://onnx.ai/onnx/operators/onnx__Softmax.html. From opset 13 on they
// normalise along one axis (default −1); before, the tensor is taken as a matrix whose rows start at axis (default 1).
func buildSoftmax(kernel softmaxKernel) builder {
	return func(n *nodeInfo) (operator, error) {
		if err := requireInputs(n, 1, 1); err != nil {
			return nil, err
		}
		lanes := newSoftmaxLanes(n)
		return widened(func(_ *call, in []*Tensor) ([]*Tensor, error) {
			t := in[0]
			length, inner, err := lanes.of(t.Dims)
			if err != nil {
				return nil, err
			}
			switch d := t.Data.(type) {
			case []float32:
				return []*Tensor{newTensor(t.Type, t.Dims, softmaxLanes(d, length, inner, kernel))}, nil
			case []float64:
				return []*Tensor{newTensor(t.Type, t.Dims, softmaxLanes(d, length, inner, kernel))}, nil
			}
			return nil, unsupportedType(t.Type)
		}), nil
	}
}

// laneAxis is the axis along which the elements of a lane lie.
type laneAxis struct {
	axis    int64
	flatten bool // the axes from axis on are taken as one
}

func newSoftmaxLanes(n *nodeInfo) laneAxis {
	if n.opset < 13 {
		return laneAxis{n.int("axis", 1), true}
	}
	return laneAxis{n.int("axis", -1), false}
}

// of gives the length of the lanes of a tensor and the distance of their elements.
func (l laneAxis) of(dims []int) (length, inner int, err error) {
	if l.flatten {
		rows, err := shape.FlattenDims(dims, l.axis)
		if err != nil {
			return 0, 0, err
		}
		return rows[1], 1, nil
	}
	if len(dims) == 0 {
		return 1, 1, nil
	}
	k, err := shape.Axis(l.axis, len(dims))
	if err != nil {
		return 0, 0, err
	}
	return dims[k], shape.Strides(dims)[k], nil
}

// softmaxKernel normalises one lane in place.
type softmaxKernel func(lane []float64)

// softmaxLanes applies a kernel to every lane: length elements, inner apart.
func softmaxLanes[T floating](x []T, length, inner int, kernel softmaxKernel) []T {
	out := make([]T, len(x))
	if len(x) == 0 {
		return out
	}
	lane := make([]float64, length)
	for base := 0; base < len(x); base += length * inner {
		for i := base; i < base+inner; i++ {
			for j := range lane {
				lane[j] = float64(x[i+j*inner])
			}
			kernel(lane)
			for j, v := range lane {
				out[i+j*inner] = T(v)
			}
		}
	}
	return out
}

func maxOf(lane []float64) float64 {
	m := math.Inf(-1)
	for _, v := range lane {
		m = max(m, v)
	}
	return m
}

// softmax is e^(x−m) / Σ e^(x−m), m the maximum of the lane.
func softmax(lane []float64) {
	m, sum := maxOf(lane), 0.0
	for i, v := range lane {
		lane[i] = math.Exp(v - m)
		sum += lane[i]
	}
	for i := range lane {
		lane[i] /= sum
	}
}

// logSoftmax is x − m − ln Σ e^(x−m).
func logSoftmax(lane []float64) {
	m, sum := maxOf(lane), 0.0
	for _, v := range lane {
		sum += math.Exp(v - m)
	}
	shift := m + math.Log(sum)
	for i := range lane {
		lane[i] -= shift
	}
}

// hardmax is 1 at the first maximum and 0 elsewhere.
func hardmax(lane []float64) {
	best := 0
	for i, v := range lane {
		if v > lane[best] {
			best = i
		}
	}
	for i := range lane {
		lane[i] = 0
	}
	lane[best] = 1
}
