package runtime

import (
	"context"
	"errors"
	"fmt"

	"github.com/trconvert/trconvert/onnx"
)

// operator is one node ready to run. Implementations keep no state between calls and may run in several goroutines.
type operator interface {
	// run computes the outputs. in, which the operator must not keep, has one entry per declared input, nil where an optional one is absent; the result has one
	// entry per declared output (it may be longer; entries that call.wants denies may be nil). Values are immutable: an
	// operator never writes into an input, but may return one, or a new Tensor that shares its Data.
	run(c *call, in []*Tensor) ([]*Tensor, error)
}

// opFunc makes an operator of a function.
type opFunc func(c *call, in []*Tensor) ([]*Tensor, error)

func (f opFunc) run(c *call, in []*Tensor) ([]*Tensor, error) {
	for k := range c.node.required {
		if in[k] == nil { // inside a function, an argument that the call leaves out
			return nil, fmt.Errorf("required input %d %q is absent", k, c.node.node.Input(k))
		}
	}
	return f(c, in)
}

// valueOperator is an operator that takes or gives sequences and optionals; run is not called where runValues exists.
type valueOperator interface {
	operator
	runValues(c *call, in []*value) ([]*value, error)
}

var errValuesOnly = errors.New("runtime: this operator takes values, not tensors")

// builder reads a node's attributes once, at compile time. It must ask nodeInfo for every attribute it honours: an attribute of
// the node that no builder asked for is reported as unsupported. What the runtime lacks is returned as unsupportedf.
type builder func(n *nodeInfo) (operator, error)

// version is the behaviour of an operator from one opset version on.
type version struct {
	since int64
	build builder
}

// call is the context of the runs of the nodes of one graph, one after the other.
type call struct {
	ctx    context.Context
	node   *nodeInfo
	step   *step
	runner *runner
	frame  *frame // values of the graph the node stands in; nil while constants are folded

	// Space for the operands and results of one node after the other.
	tensors []*Tensor
	results []*value
}

// loan is that of the pass, nil in other runs.
func (c *call) loan() *loan {
	if c.runner == nil || c.runner.tape == nil {
		return nil
	}
	return c.runner.tape.loan
}

// wants says whether somebody reads output k.
func (c *call) wants(k int) bool { return c.node.wants(k) }

// unsupported is what the runtime lacks: an operator, a version, a type or an attribute.
type unsupported struct{ reason string }

func (u *unsupported) Error() string { return u.reason }

// unsupportedf reports what the runtime lacks; the caller adds operator and node.
func unsupportedf(format string, args ...any) error {
	return &unsupported{fmt.Sprintf(format, args...)}
}

// unsupportedType is the error of an operator that has no kernel for a type.
func unsupportedType(t onnx.DataType) error { return unsupportedf("type %v", t) }

func isUnsupported(err error) bool {
	var u *unsupported
	return errors.As(err, &u)
}

// nodeInfo is what a builder sees of a node.
type nodeInfo struct {
	node  *onnx.Node
	opset int64 // version of the node's domain that is in force
	attrs map[string]*onnx.Attribute
	asked map[string]onnx.AttributeType // attributes that the builder looked at, AttrUndefined for any type
	err   error                         // first attribute of the wrong type
	read  []bool                        // by output: somebody reads it
	given []bool                        // by input: it has a value. A name may have none in a function whose caller leaves an input out
	fixed []bool                        // by input: it is a constant of the program
	// variable says by input that it depends on a parameter, reached that some input or a value read by a body does.
	variable []bool
	reached  bool

	scope    *scope
	compiler *compiler
	captured []operand // values of this node's scope that its bodies read

	required int // leading inputs that must be present when the node runs, see requireInputs
}

// inputs is the number of declared inputs, trailing absent ones included.
func (n *nodeInfo) inputs() int { return len(n.node.Inputs) }

// outputs is the number of declared outputs.
func (n *nodeInfo) outputs() int { return len(n.node.Outputs) }

// has says whether input k is present.
func (n *nodeInfo) has(k int) bool { return k < len(n.given) && n.given[k] }

// constant says whether input k is the same in every run: a constant of the program, or absent.
func (n *nodeInfo) constant(k int) bool { return !n.has(k) || k < len(n.fixed) && n.fixed[k] }

// wants says whether somebody reads output k.
func (n *nodeInfo) wants(k int) bool { return k < len(n.read) && n.read[k] }

// unasked is the first attribute, in file order, that no builder asked for.
func (n *nodeInfo) unasked() string {
	for _, a := range n.node.Attributes {
		_, bound := n.attrs[a.Name]
		if _, asked := n.asked[a.Name]; bound && !asked {
			return a.Name
		}
	}
	return ""
}

// attr returns the attribute, nil where the node has none, and notes that it is honoured. A wrong type is remembered in err.
func (n *nodeInfo) attr(name string, want onnx.AttributeType) *onnx.Attribute {
	n.asked[name] = want
	a := n.attrs[name]
	if a == nil {
		return nil
	}
	if a.Type != want {
		if n.err == nil {
			n.err = fmt.Errorf("attribute %q has type %d, want %d", name, a.Type, want)
		}
		return nil
	}
	return a
}

// hasAttr says whether the node carries the attribute.
func (n *nodeInfo) hasAttr(name string) bool {
	n.ask(name)
	return n.attrs[name] != nil
}

// ignore marks attributes that change no result.
func (n *nodeInfo) ignore(names ...string) {
	for _, name := range names {
		n.ask(name)
	}
}

// ask notes that an attribute is looked at, whatever its type.
func (n *nodeInfo) ask(name string) {
	if _, known := n.asked[name]; !known {
		n.asked[name] = onnx.AttrUndefined
	}
}

// int returns an int attribute, def where it is absent. The others are alike.
func (n *nodeInfo) int(name string, def int64) int64 {
	if a := n.attr(name, onnx.AttrInt); a != nil {
		return a.I
	}
	return def
}

func (n *nodeInfo) bool(name string, def bool) bool {
	if a := n.attr(name, onnx.AttrInt); a != nil {
		return a.I != 0
	}
	return def
}

func (n *nodeInfo) float(name string, def float32) float32 {
	if a := n.attr(name, onnx.AttrFloat); a != nil {
		return a.F
	}
	return def
}

func (n *nodeInfo) string(name, def string) string {
	if a := n.attr(name, onnx.AttrString); a != nil {
		return string(a.S)
	}
	return def
}

func (n *nodeInfo) ints(name string, def []int64) []int64 {
	if a := n.attr(name, onnx.AttrInts); a != nil {
		return a.Ints
	}
	return def
}

func (n *nodeInfo) floats(name string, def []float32) []float32 {
	if a := n.attr(name, onnx.AttrFloats); a != nil {
		return a.Floats
	}
	return def
}

func (n *nodeInfo) strings(name string, def []string) []string {
	a := n.attr(name, onnx.AttrStrings)
	if a == nil {
		return def
	}
	s := make([]string, len(a.Strings))
	for i, b := range a.Strings {
		s[i] = string(b)
	}
	return s
}

// tensor decodes a tensor attribute, nil where it is absent.
func (n *nodeInfo) tensor(name string) (*Tensor, error) {
	a := n.attr(name, onnx.AttrTensor)
	if a == nil || a.T == nil {
		return nil, nil
	}
	return a.T.Array()
}

// graph returns a graph attribute, nil where it is absent.
func (n *nodeInfo) graph(name string) *onnx.Graph {
	if a := n.attr(name, onnx.AttrGraph); a != nil {
		return a.G
	}
	return nil
}
