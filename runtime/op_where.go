package runtime

import (
	"fmt"
)

// buildWhere: https://onnx.ai/onnx/operators/onnx__Where.html
func buildWhere(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 3, 3); err != nil {
		return nil, err
	}
	return opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		cond, ok := in[0].Data.([]bool)
		if !ok {
			return nil, fmt.Errorf("condition has type %v, want bool", in[0].Type)
		}
		x, y, err := elementsOf2(in[1], in[2])
		if err != nil {
			return nil, err
		}
		out, dims, err := x.Where(cond, in[0].Dims, in[1].Dims, y, in[2].Dims, maxElements)
		return moved(in[1].Type, out, dims, err)
	}), nil
}
