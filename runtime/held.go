package runtime

import (
	"context"
)

// held is what passes share while the parameters stay as they are: the values of the main graph that depend on parameters and constants alone, such as cores merged to a matrix.
// The passes' gradients of these values gather in frame, and go on to the parameters all at once.
type held struct {
	frame *frame // keeps its values
	tape  *tape
}

// Hold lets the passes until Release compute what depends on parameters alone once, and send its gradients back once: the way to train with several passes for each step, as
// streams and accumulated batches are. It may be called again while it holds. Until Release, Parameter.Value must not be changed, and Parameter.Grad lacks what comes through
// the shared values.
//
// What is shared are the nodes of the main graph that have no bodies and draw nothing at random. Their values stay in memory, and count for no pass.
func (t *Training) Hold() { t.holding = true }

// Release adds the gradients that have gathered since Hold to Parameter.Grad and forgets the shared values. It does nothing where nothing is held.
func (t *Training) Release(ctx context.Context) error {
	h := t.held
	t.holding, t.held = false, nil
	if h == nil {
		return nil
	}
	return h.tape.backward(ctx)
}

// forget drops the gradients that have gathered.
func (h *held) forget() {
	for slot, shared := range h.frame.scope.shared {
		if shared && h.frame.scope.variable[slot] {
			h.tape.take(h.frame.input(slot))
		}
	}
}

// Run computes all outputs for the present parameters as [Program.Run] does, without a trace, and with what is held.
func (t *Training) Run(ctx context.Context, feeds map[string]*Tensor) (map[string]*Tensor, error) {
	in, err := t.program.arguments(feeds)
	if err != nil {
		return nil, err
	}
	r := &runner{ctx: ctx, program: t.program}
	if err := t.share(r); err != nil {
		return nil, err
	}
	_, results, err := r.graph(t.program.main, nil, in, nil)
	if err != nil {
		return nil, err
	}
	return t.program.tensors(results)
}

// share gives a runner what is held, computing it for the first one.
func (t *Training) share(r *runner) error {
	if !t.holding {
		return nil
	}
	if t.held == nil {
		s := t.program.main
		h := &held{frame: &frame{scope: s, values: make([]*value, s.slots)}, tape: &tape{}}
		first := &runner{ctx: r.ctx, program: t.program, tape: h.tape}
		for _, p := range s.parameters {
			if p.alone {
				first.load(h.frame, p)
			}
		}
		if err := first.steps(h.frame, s.alone, s.shared); err != nil {
			return err
		}
		t.held = h
	}
	r.held = t.held
	return nil
}

// enter fills the frame of a pass.
func (h *held) enter(r *runner, f *frame) {
	for slot, shared := range f.scope.shared {
		if !shared {
			continue
		}
		v := h.frame.values[slot]
		f.values[slot] = v
		if r.tape != nil && f.scope.variable[slot] {
			r.tape.ledger.exempt(v.tensor)
			r.tape.entries = append(r.tape.entries, entry{kind: wasShared, at: f.input(slot), from: []place{h.frame.input(slot)}, owner: h.tape})
		}
	}
}

// standsAlone says whether a node of the main graph depends on parameters and constants alone, and gives the same every time.
func (c *compiler) standsAlone(s *scope, st *step) bool {
	if len(c.parameters) == 0 || s.graph != c.model.Graph || nondeterministic[st.info.node.OpType] || len(st.info.captured) > 0 || st.observe != nil {
		return false
	}
	switch st.op.(type) {
	case tracer, valueOperator, *recurrentOp: // bodies and sequences; dropout, which differs from pass to pass
		return false
	}
	for _, o := range st.in {
		if o.present && o.constant == nil && !s.fixed[o.slot] {
			return false
		}
	}
	return true
}

// planShared splits the main graph into the nodes that stand alone and the rest, and finds what the rest reads of them.
func (s *scope) planShared() {
	s.shared = make([]bool, s.slots)
	read := make([]struct{ alone, rest bool }, s.slots)
	computed := make([]bool, s.slots)
	for i := range s.steps {
		st := &s.steps[i]
		for _, list := range [][]operand{st.in, st.info.captured} {
			for _, o := range list {
				if o.present && o.constant == nil {
					read[o.slot].alone = read[o.slot].alone || st.alone
					read[o.slot].rest = read[o.slot].rest || !st.alone
				}
			}
		}
		if !st.alone {
			s.rest = append(s.rest, *st)
			continue
		}
		s.alone = append(s.alone, *st)
		for _, slot := range st.out {
			if slot >= 0 {
				computed[slot] = true
			}
		}
	}
	for _, o := range s.outputs {
		if o.constant == nil {
			read[o.slot].rest = true
		}
	}
	for slot := range s.shared {
		s.shared[slot] = computed[slot] && read[slot].rest
	}
	for k := range s.parameters {
		p := &s.parameters[k]
		p.alone, p.rest = read[p.slot].alone, read[p.slot].rest
	}
}
