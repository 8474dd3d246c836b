package runtime

import (
	"fmt"
	"slices"

	"github.com/trconvert/trconvert/onnx"
)

// buildFunction expands a call of a model-local function: its body is compiled for this call, since attributes are bound at the call.
func (c *compiler) buildFunction(n *nodeInfo, key functionKey, f *onnx.Function) (operator, error) {
	if c.calling[key] {
		return nil, fmt.Errorf("function %q of domain %q calls itself", f.Name, f.Domain)
	}
	if len(n.node.Inputs) > len(f.Inputs) || len(n.node.Outputs) > len(f.Outputs) {
		return nil, fmt.Errorf("function %q has %d inputs and %d outputs, the call %d and %d", f.Name, len(f.Inputs), len(f.Outputs), len(n.node.Inputs), len(n.node.Outputs))
	}
	env := &environment{attrs: map[string]*onnx.Attribute{}, opset: func(domain string) int64 {
		for _, o := range f.Opsets {
			if domainName(o.Domain) == domain {
				return o.Version
			}
		}
		return 0
	}}
	for _, a := range f.Defaults {
		env.attrs[a.Name] = a
	}
	for _, name := range f.Attributes {
		if n.hasAttr(name) {
			env.attrs[name] = n.attrs[name]
		}
	}
	c.calling[key] = true
	defer delete(c.calling, key)
	given := make([]bool, len(f.Body.Inputs))
	for k := range given {
		given[k] = n.has(k)
	}
	s, err := c.graph(f.Body, f.Body.Inputs, nil, env, given, n.variable)
	if err != nil {
		return nil, err
	}
	return &functionCall{s}, nil
}

// boundAttributes are the attributes of a node, references to attributes of the enclosing function replaced by what its call gives;
// a reference that the call leaves out is absent.
func boundAttributes(n *onnx.Node, env *environment) map[string]*onnx.Attribute {
	attrs := make(map[string]*onnx.Attribute, len(n.Attributes))
	for _, a := range n.Attributes {
		name := a.Name
		if a.RefName != "" {
			if a = env.attrs[a.RefName]; a == nil {
				continue
			}
		}
		attrs[name] = a
	}
	return attrs
}

// bound is the node as a function's caller makes it: with the attributes that boundAttributes gives, and without inputs that have no value.
func (n *nodeInfo) bound() *onnx.Node {
	if n.scope == nil || n.scope.env.attrs == nil {
		return n.node
	}
	node := *n.node
	node.Inputs, node.Attributes = slices.Clone(n.node.Inputs), nil
	for k := range node.Inputs {
		if !n.has(k) {
			node.Inputs[k] = ""
		}
	}
	for _, a := range n.node.Attributes {
		if b := n.attrs[a.Name]; b != nil {
			named := *b
			named.Name = a.Name
			node.Attributes = append(node.Attributes, &named)
		}
	}
	return &node
}

type functionCall struct{ body *scope }

func (f *functionCall) run(*call, []*Tensor) ([]*Tensor, error) { return nil, errValuesOnly }

func (f *functionCall) runValues(c *call, in []*value) ([]*value, error) {
	args := make([]*value, len(f.body.graph.Inputs))
	copy(args, in)
	inner, results, err := c.runner.graph(f.body, nil, args, func(inner *frame) {
		for k := range in {
			c.trace(inner.input(k), c.input(k))
		}
	})
	if err != nil {
		return nil, err
	}
	for k := range c.step.out {
		c.trace(c.output(k), inner.output(k))
	}
	return results, nil
}

func (f *functionCall) varies(*nodeInfo) []bool { return f.body.varies() }
