package runtime

import (
	"fmt"

	"github.com/trconvert/trconvert/onnx"
)

// body compiles a graph attribute; its formal inputs get their values from the operator, all other names come from outside.
//
// Its formal inputs from index first on are taken to depend on parameters if anything the node reads does, unless their declared type has no gradient.
func (n *nodeInfo) body(name string, inputs, first int) (*scope, error) {
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
	variable := make([]bool, len(g.Inputs))
	for k, v := range g.Inputs {
		variable[k] = n.reached && k >= first && mayVary(v.Type)
	}
	return n.compiler.graph(g, g.Inputs, n.scope, n.scope.env, nil, variable)
}

// mayVary says whether a value of a declared type may have a gradient.
func mayVary(t *onnx.TypeInfo) bool {
	for t != nil && t.Of != nil {
		t = t.Of
	}
	return t == nil || t.Elem == onnx.Undefined || isFloat(t.Elem)
}

// runBody runs a body of the node once. enter, which may be nil, is called before its first node.
func (c *call) runBody(s *scope, in []*value, enter func(*frame)) (*frame, []*value, error) {
	return c.runner.graph(s, c.frame, in, enter)
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

// scanOutput collects one tensor per iteration.
type scanOutput struct {
	parts []*Tensor
	from  []place // of the parts
	total int
}

func (s *scanOutput) add(v *value, from place) error {
	t, err := tensorOf(v)
	if err != nil {
		return err
	}
	if len(s.parts) > 0 {
		first := s.parts[0]
		if t.Type != first.Type || !sameDims(t.Dims, first.Dims) {
			return fmt.Errorf("is %v%v, the first iteration gave %v%v", t.Type, t.Dims, first.Type, first.Dims)
		}
	}
	if s.total += max(1, elements(t.Dims)); s.total > maxElements {
		return fmt.Errorf("more than %d elements in all", maxElements)
	}
	s.parts, s.from = append(s.parts, t), append(s.from, from)
	return nil
}

// stack joins the parts along a new axis of the result.
func (s *scanOutput) stack(axis int, declared *onnx.TypeInfo) (*Tensor, error) {
	if len(s.parts) == 0 {
		return emptyLike(declared, axis)
	}
	return stack(s.parts, axis)
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
