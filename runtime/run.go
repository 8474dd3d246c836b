package runtime

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/trconvert/trconvert/onnx"
)

// runner is one call of Run.
type runner struct {
	ctx     context.Context
	program *Program
	observe func(Observed, *Tensor)
	folding bool         // this goroutine holds Program.fold
	tape    *tape        // nil where no gradient is wanted
	pass    *PassOptions // of a run with a tape
	held    *held        // what the passes of a training share, nil where nothing is held
}

// graph runs a scope once: in has one value per formal input, results one per output. enter, which may be nil, is called before the first node.
// The frame that is returned stands for places alone; it holds no values any more.
func (r *runner) graph(s *scope, parent *frame, in []*value, enter func(*frame)) (f *frame, results []*value, err error) {
	f = &frame{scope: s, parent: parent, values: make([]*value, s.slots)}
	copy(f.values, in)
	all := s.steps
	sharing := r.held != nil && s == r.program.main
	if sharing {
		r.held.enter(r, f)
		all = s.rest
	}
	for _, p := range s.parameters {
		if !sharing || p.rest {
			r.load(f, p)
		}
	}
	if enter != nil {
		enter(f)
	}
	if err := r.steps(f, all, nil); err != nil {
		return nil, nil, err
	}
	results = make([]*value, len(s.outputs))
	for k, o := range s.outputs {
		v, err := r.operand(f, o)
		if err != nil {
			return nil, nil, err
		}
		results[k] = v
	}
	f.values = nil
	return f, results, nil
}

// load puts a parameter where its scope reads it.
func (r *runner) load(f *frame, p parameterSlot) {
	f.values[p.slot] = &value{tensor: p.parameter.read()}
	r.tape.load(f, p)
}

// steps runs nodes of a scope. Values are dropped after their last reader, except in the slots that keep, which may be nil, marks.
func (r *runner) steps(f *frame, all []step, keep []bool) error {
	c := &call{ctx: r.ctx, runner: r, frame: f}
	var few [8]*value
	space := few[:]
	for i := range all {
		st := &all[i]
		if len(st.in) > len(space) {
			space = make([]*value, len(st.in))
		}
		args := space[:len(st.in)]
		for k, o := range st.in {
			v, err := r.operand(f, o)
			if err != nil {
				return err
			}
			args[k] = v
		}
		if r.observe != nil {
			for _, k := range st.observe {
				if args[k] != nil {
					r.observe(Observed{st.info.node, k}, args[k].tensor)
				}
			}
		}
		out, err := r.step(st, c, args)
		if err != nil {
			return err
		}
		for _, slot := range st.release {
			if keep == nil || !keep[slot] {
				f.values[slot] = nil
			}
		}
		for k, slot := range st.out {
			if slot >= 0 {
				f.values[slot] = out[k]
			}
		}
	}
	return nil
}

// operand reads a value, nil where it is absent.
func (r *runner) operand(f *frame, o operand) (*value, error) {
	switch {
	case !o.present:
		return nil, nil
	case o.constant != nil:
		return r.constant(o.constant)
	}
	return f.at(o.depth).values[o.slot], nil
}

// step runs one node and checks that it gave every output that is read. The result is good until the next step of the same call.
func (r *runner) step(st *step, c *call, in []*value) ([]*value, error) {
	if err := r.ctx.Err(); err != nil {
		return nil, nodeErrorf(st.info.node, err)
	}
	c.node, c.step = st.info, st
	out, saved, err := guard(st.op, c, in)
	if err != nil {
		return nil, nodeErrorf(st.info.node, err)
	}
	for k, read := range st.info.read {
		if read && (k >= len(out) || out[k] == nil) {
			return nil, nodeErrorf(st.info.node, fmt.Errorf("output %d %q is not computed", k, st.info.node.Output(k)))
		}
	}
	if st.grad != nil && st.variable && r.tape != nil {
		r.tape.record(c.frame, st, in, out, saved)
	}
	return out, nil
}

// guard runs the operator. A panic in it, which no shape check of the operator foresaw, becomes an error.
func guard(op operator, c *call, in []*value) (out []*value, saved any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{value: p, stack: debug.Stack(), inputs: describe(in)}
		}
	}()
	if op, ok := op.(valueOperator); ok {
		out, err = op.runValues(c, in)
		return out, nil, err
	}
	c.tensors = c.tensors[:0]
	for k, v := range in {
		if v == nil {
			c.tensors = append(c.tensors, nil)
			continue
		}
		if v.kind != kindTensor {
			return nil, nil, fmt.Errorf("input %d %q is a %v, want a tensor", k, c.node.node.Input(k), v.kind)
		}
		c.tensors = append(c.tensors, v.tensor)
	}
	var results []*Tensor
	if rec, ok := op.(recorder); ok && c.step.variable && c.runner.tape != nil {
		results, saved, err = rec.record(c, c.tensors)
	} else {
		results, err = op.run(c, c.tensors)
	}
	if err != nil {
		return nil, nil, err
	}
	c.results = c.results[:0]
	for _, t := range results {
		var v *value
		if t != nil {
			v = &value{tensor: t}
		}
		c.results = append(c.results, v)
	}
	return c.results, saved, nil
}

// panicError is a defect of an operator met at run time.
type panicError struct {
	value  any
	stack  []byte
	inputs string
}

func (e *panicError) Error() string {
	return fmt.Sprintf("internal error on inputs %s: %v", e.inputs, e.value)
}

// describeTensors is describe for tensors.
func describeTensors(in []*Tensor) string {
	values := make([]*value, len(in))
	for k, t := range in {
		if t != nil {
			values[k] = &value{tensor: t}
		}
	}
	return describe(values)
}

// describe lists types and dims of values for errors.
func describe(in []*value) string {
	s := ""
	for k, v := range in {
		if k > 0 {
			s += ", "
		}
		switch {
		case v == nil:
			s += "absent"
		case v.kind != kindTensor:
			s += v.kind.String()
		default:
			s += fmt.Sprintf("%v%v", v.tensor.Type, v.tensor.Dims)
		}
	}
	return s
}

// nodeError places an error at a node.
type nodeError struct {
	node *onnx.Node
	err  error
}

func (e *nodeError) Error() string {
	what := e.err.Error()
	if f := (*onnx.FormatError)(nil); errors.As(e.err, &f) {
		what = f.What // its own text names the node again
	}
	return "runtime: " + e.node.String() + ": " + what
}
func (e *nodeError) Unwrap() error { return e.err }

// nodeErrorf places err at n unless it is placed already, and turns what is unsupported into an *UnsupportedError.
func nodeErrorf(n *onnx.Node, err error) error {
	var placed *nodeError
	var report *UnsupportedError
	var lacks *unsupported
	switch {
	case errors.As(err, &placed), errors.As(err, &report):
		return err
	case errors.As(err, &lacks):
		u := &UnsupportedError{}
		u.add(opKey(n)+": "+lacks.reason, n.String())
		return u
	}
	return &nodeError{n, err}
}
