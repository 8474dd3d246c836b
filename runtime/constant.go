package runtime

import (
	"fmt"
	"sync/atomic"

	"github.com/trconvert/trconvert/onnx"
)

// constant is a value that does not depend on the feeds: a stored tensor, decoded on first use, or the result of a node over
// constants, computed on first use.
type constant struct {
	value  atomic.Pointer[value]
	tensor *onnx.Tensor
	fold   *foldedNode
	keep   bool // a step or a graph output reads it, so it stays once computed
	// pending counts folded nodes that read it and are not computed yet; guarded by Program.fold once compiled.
	pending int
}

// foldedNode is a node whose result is constant.
type foldedNode struct {
	step step
	out  []*constant // nil where nobody reads the output
}

// foldNode turns a step over constants into constants.
func (c *compiler) foldNode(s *scope, st step) {
	f := &foldedNode{step: st}
	for _, o := range st.in {
		if o.constant != nil {
			o.constant.pending++
		}
	}
	for k, name := range st.info.node.Outputs {
		var out *constant
		if st.info.read[k] {
			out = &constant{fold: f}
			s.names[name] = operand{present: true, constant: out}
		}
		f.out = append(f.out, out)
	}
}

// constant gives the value, computing it on first use. Values that only folded nodes read are dropped when the last of those is
// computed, so that a merged matrix does not keep its parts in memory.
func (r *runner) constant(k *constant) (*value, error) {
	if v := k.value.Load(); v != nil {
		return v, nil
	}
	if r.folding {
		return r.computeConstant(k)
	}
	r.program.fold.Lock()
	defer r.program.fold.Unlock()
	inner := *r
	inner.folding = true
	return inner.computeConstant(k)
}

func (r *runner) computeConstant(k *constant) (*value, error) {
	if v := k.value.Load(); v != nil {
		return v, nil
	}
	if k.fold == nil {
		t, err := k.tensor.Array()
		if err != nil {
			return nil, fmt.Errorf("runtime: tensor %q: %w", k.tensor.Name, err)
		}
		v := &value{tensor: t}
		k.value.Store(v)
		return v, nil
	}
	f := k.fold
	in := make([]*value, len(f.step.in))
	for i, o := range f.step.in {
		if o.constant == nil {
			continue
		}
		v, err := r.computeConstant(o.constant)
		if err != nil {
			return nil, err
		}
		in[i] = v
	}
	out, err := r.step(&f.step, &call{ctx: r.ctx, runner: r}, in)
	if err != nil {
		return nil, err
	}
	for i, c := range f.out {
		if c != nil {
			c.value.Store(out[i])
		}
	}
	for _, o := range f.step.in {
		if c := o.constant; c != nil {
			if c.pending--; c.pending == 0 && !c.keep {
				c.value.Store(nil)
			}
		}
	}
	return k.value.Load(), nil
}
