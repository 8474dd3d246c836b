package runtime

// buildIdentity: https://onnx.ai/onnx/operators/onnx__Identity.html
func buildIdentity(n *nodeInfo) (operator, error) { return identity{}, requireInputs(n, 1, 1) }

type identity struct{}

func (identity) run(_ *call, in []*Tensor) ([]*Tensor, error) { return in[:1], nil }

func (identity) runValues(_ *call, in []*value) ([]*value, error) { return in[:1], nil }
