package runtime

import (
	"fmt"

	"github.com/trconvert/trconvert/onnx"
)

// body compiles a graph attribute; its formal inputs get their values from the operator, all other names come from outside.
func (n *nodeInfo) body(name string, inputs int) (*scope, error) {
	g := n.graph(name)
	if g == nil {
		return nil, fmt.Errorf("attribute %q is missing", name)
	}
	if g.Owner != n.node {
		return nil, unsupportedf("attribute %q handed through a function", name)
	}
	if inputs >= 0 && len(g.Inputs) != inputs {
		return nil, fmt.Errorf("attribute %q: graph has %d inputs, want %d", name, len(g.Inputs), inputs)
	}
	return n.compiler.graph(g, g.Inputs, n.scope, n.scope.env, nil)
}

// runBody runs a body of the node once.
func (c *call) runBody(s *scope, in []*value) ([]*value, error) {
	return c.runner.graph(s, c.frame, in)
}

// buildIf: https://onnx.ai/onnx/operators/onnx__If.html
func buildIf(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 1, 1); err != nil {
		return nil, err
	}
	var op ifOp
	for k, name := range []string{"else_branch", "then_branch"} {
		s, err := n.body(name, 0)
		if err != nil {
			return nil, err
		}
		if len(s.outputs) < n.outputs() {
			return nil, fmt.Errorf("attribute %q: graph has %d outputs, the node %d", name, len(s.outputs), n.outputs())
		}
		op.branch[k] = s
	}
	return &op, nil
}

type ifOp struct{ branch [2]*scope }

func (o *ifOp) run(*call, []*Tensor) ([]*Tensor, error) { return nil, errValuesOnly }

func (o *ifOp) runValues(c *call, in []*value) ([]*value, error) {
	cond, err := condition(in[0])
	if err != nil {
		return nil, fmt.Errorf("condition: %w", err)
	}
	if cond {
		return c.runBody(o.branch[1], nil)
	}
	return c.runBody(o.branch[0], nil)
}

// condition reads a bool tensor of one element.
func condition(v *value) (bool, error) {
	if v == nil || v.kind != kindTensor {
		return false, fmt.Errorf("is absent or no tensor, want one bool")
	}
	d, ok := v.tensor.Data.([]bool)
	if !ok || len(d) != 1 {
		return false, fmt.Errorf("has type %v and dims %v, want one bool", v.tensor.Type, v.tensor.Dims)
	}
	return d[0], nil
}

// tensorOf is the tensor a value must be.
func tensorOf(v *value) (*Tensor, error) {
	if v == nil {
		return nil, fmt.Errorf("is absent, want a tensor")
	}
	if v.kind != kindTensor {
		return nil, fmt.Errorf("is a %v, want a tensor", v.kind)
	}
	return v.tensor, nil
}

// emptyLike is a tensor with no elements for a scan output of zero iterations: the declared type, and a leading dim of 0 before the
// declared dims, unknown ones being 0 too.
func emptyLike(declared *onnx.TypeInfo, axis int) (*Tensor, error) {
	if declared == nil || declared.Elem == onnx.Undefined {
		return nil, fmt.Errorf("no iteration ran and the body declares no type for it")
	}
	dims := []int{}
	for _, d := range declared.Shape {
		if d.Known && d.Value >= 0 && d.Value <= maxElements {
			dims = append(dims, int(d.Value))
		} else {
			dims = append(dims, 0)
		}
	}
	if axis < 0 {
		axis += len(dims) + 1
	}
	if axis < 0 || axis > len(dims) {
		return nil, fmt.Errorf("axis %d for a result of rank %d", axis, len(dims)+1)
	}
	dims = append(dims[:axis], append([]int{0}, dims[axis:]...)...)
	return zeros(declared.Elem, dims)
}
