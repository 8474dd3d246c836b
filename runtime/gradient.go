package runtime

import (
	"context"
)

// gradient says how an operator sends gradients from its outputs to its inputs.
type gradient struct {
	// run returns one gradient per declared input, nil where backCall.needs denies or where it is zero everywhere; the list may be shorter. in and out are what the
	// operator read and gave (which may be more outputs than the node declares), d the gradients of out, nil where nothing came back, at least one being there. A result has type and dims of its
	// input. Values are immutable: run writes into none of its arguments, but may return one of d, or a Tensor that shares its Data.
	run func(c *backCall, in, out, d []*Tensor) ([]*Tensor, error)
	// in and out are the inputs and outputs whose elements run reads, bit k for number k; of the others only type and dims are there (Data
	// is nil), so that the tape need not keep them.
	in, out uint64
	// flat marks the outputs whose derivative is zero wherever it exists, bit k for number k: counts, indices, masks.
	flat uint64
}

// all is the mask of every input or output, also of those beyond the bits of a mask.
const all = ^uint64(0)

// masked says whether a mask has number k.
func masked(mask uint64, k int) bool { return mask == all || mask>>k&1 == 1 }

// gradientBuilder makes the gradient of a node at compile time, for the same nodes as the operator's builder, which has run before and has
// refused what is not supported; attributes may be read again. What has no gradient is returned as unsupportedf. A nil gradient says that all outputs are flat.
type gradientBuilder func(n *nodeInfo) (*gradient, error)

// gradients holds the gradient of each operator of the default domain that has one. Its functions serve all opset versions that the operator table does.
// Operators with bodies, calls of functions and sequences need none: see tracer.
var gradients map[string]gradientBuilder

// recorder is an operator whose gradient needs more than its inputs and outputs. record runs in place of run when a gradient is wanted, and
// what it saves comes to the gradient as backCall.saved.
type recorder interface {
	operator
	record(c *call, in []*Tensor) (out []*Tensor, saved any, err error)
}

// tracer is an operator that notes on the tape itself how its outputs come from other values, unchanged: one that runs other scopes, or holds sequences. varies says by
// output whether it depends on a parameter.
type tracer interface {
	varies(n *nodeInfo) []bool
}

// backCall is the context of one backward run of an operator.
type backCall struct {
	ctx   context.Context
	node  *nodeInfo
	saved any // by a recorder
	loan  *loan
}

// needs says whether somebody wants the gradient of input k.
func (c *backCall) needs(k int) bool { return k < len(c.node.variable) && c.node.variable[k] }

// gradient finds the gradient of a node some of whose inputs depend on parameters, and which of its outputs do.
func (c *compiler) gradient(n *nodeInfo, op operator) (*gradient, []bool, error) {
	varies := make([]bool, n.outputs())
	if op == nil { // reported as unsupported already
		return nil, varies, nil
	}
	if b, ok := op.(tracer); ok {
		copy(varies, b.varies(n))
		return nil, varies, nil
	}
	build := gradients[n.node.OpType]
	if build == nil {
		what := opKey(n.node) + ": no gradient"
		if reason := noGradient[n.node.OpType]; reason != "" {
			what += " (" + reason + ")"
		}
		c.unsupported.add(what, n.node.String())
		return nil, varies, nil
	}
	g, err := build(n)
	if err == nil && n.err != nil {
		err = n.err
	}
	switch {
	case err != nil && isUnsupported(err):
		c.unsupported.add(opKey(n.node)+": gradient: "+err.Error(), n.node.String())
		return nil, varies, nil
	case err != nil:
		return nil, varies, nodeErrorf(n.node, err)
	case g == nil:
		return nil, varies, nil
	}
	for k := range varies {
		varies[k] = !masked(g.flat, k)
	}
	return g, varies, nil
}

// varies says which results of a scope depend on parameters.
func (s *scope) varies() []bool {
	v := make([]bool, len(s.outputs))
	for k, o := range s.outputs {
		v[k] = s.isVariable(o)
	}
	return v
}
