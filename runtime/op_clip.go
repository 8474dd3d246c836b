package runtime

import (
	"fmt"
	"math"
)

// buildClip: https://onnx.ai/onnx/operators/onnx__Clip.html. The bounds are attributes below opset 11. Where min is above max
// every element becomes max.
func buildClip(n *nodeInfo) (operator, error) {
	n.ignore("consumed_inputs")
	if n.opset < 11 {
		if err := requireInputs(n, 1, 1); err != nil {
			return nil, err
		}
		lo, hi := clipAttributes(n)
		return floatMap(func(v float64) float64 {
			if v < lo {
				v = lo
			}
			if v > hi {
				v = hi
			}
			return v
		}), nil
	}
	if err := requireInputs(n, 1, 3); err != nil {
		return nil, err
	}
	return widened(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		t := in[0]
		for k, op := range []arithOp{opMax, opMin} {
			bound := optional(in, k+1)
			if bound == nil {
				continue
			}
			if elements(bound.Dims) != 1 {
				return nil, fmt.Errorf("bound %d has shape %v, want a scalar", k+1, bound.Dims)
			}
			var err error
			if t, err = arith(op, t, newTensor(bound.Type, nil, bound.Data)); err != nil {
				return nil, err
			}
		}
		return []*Tensor{t}, nil
	}), nil
}

// clipAttributes are the bounds that the attributes give, infinite where there are none. The default bounds are the finite float32 values, but no element of a
// wider type is meant to be clipped by them.
func clipAttributes(n *nodeInfo) (lo, hi float64) {
	lo, hi = math.Inf(-1), math.Inf(1)
	if n.opset >= 11 {
		return lo, hi
	}
	if n.hasAttr("min") {
		lo = float64(n.float("min", 0))
	}
	if n.hasAttr("max") {
		hi = float64(n.float("max", 0))
	}
	return lo, hi
}
