package runtime

import (
	"fmt"

	"github.com/trconvert/trconvert/onnx"
)

// buildDropout: https://onnx.ai/onnx/operators/onnx__Dropout.html, at inference: the data pass and the mask is true everywhere.
// Training, which is random, is not supported: is_test = 0 below opset 7, or a true training_mode with a ratio above 0 from 12
// on.
func buildDropout(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 1, 3); err != nil {
		return nil, err
	}
	n.ignore("consumed_inputs", "seed")
	if n.opset < 12 {
		n.ignore("ratio")
		if n.opset < 7 && n.int("is_test", 0) == 0 {
			return nil, unsupportedf("training (is_test = 0)")
		}
	}
	return opFunc(func(c *call, in []*Tensor) ([]*Tensor, error) {
		if err := dropoutAtRest(in); err != nil {
			return nil, err
		}
		out := []*Tensor{in[0]}
		if c.wants(1) {
			mask := make([]bool, elements(in[0].Dims))
			for i := range mask {
				mask[i] = true
			}
			t := newTensor(onnx.Bool, in[0].Dims, mask)
			if n.opset < 10 { // the mask has the type of the data
				var err error
				if t, err = cast(t, in[0].Type); err != nil {
					return nil, err
				}
			}
			out = append(out, t)
		}
		return out, nil
	}), nil
}

func dropoutAtRest(in []*Tensor) error {
	mode := optional(in, 2)
	if mode == nil {
		return nil
	}
	training, ok := mode.Data.([]bool)
	if !ok || len(training) != 1 {
		return fmt.Errorf("training_mode is %v of shape %v, want one bool", mode.Type, mode.Dims)
	}
	if !training[0] {
		return nil
	}
	if ratio := optional(in, 1); ratio != nil {
		v, err := convertTo[float64](ratio)
		if err != nil {
			return err
		}
		if len(v) == 1 && v[0] == 0 {
			return nil
		}
	}
	return unsupportedf("training_mode with a ratio above 0, which is random")
}
