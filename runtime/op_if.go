package runtime

import (
	"fmt"
)

// buildIf: https://onnx.ai/onnx/operators/onnx__If.html
func buildIf(n *nodeInfo) (operator, error) {
	if err := requireInputs(n, 1, 1); err != nil {
		return nil, err
	}
	var op ifOp
	for k, name := range []string{"else_branch", "then_branch"} {
		s, err := n.body(name, 0, 0)
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
	branch := o.branch[0]
	if cond {
		branch = o.branch[1]
	}
	inner, results, err := c.runBody(branch, nil, nil)
	if err != nil {
		return nil, err
	}
	for k := range c.step.out {
		c.trace(c.output(k), inner.output(k))
	}
	return results, nil
}

func (o *ifOp) varies(*nodeInfo) []bool {
	a, b := o.branch[0].varies(), o.branch[1].varies()
	either := make([]bool, min(len(a), len(b)))
	for k := range either {
		either[k] = a[k] || b[k]
	}
	return either
}
