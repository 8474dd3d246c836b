package onnx

import "strconv"

// step is one link of a chain: a value that is there (an initializer or a cached one), or a node to run.
type step struct {
	key    valueKey // of the value
	tensor *Tensor
	cached *Array
	node   *Node
	inputs []valueKey // of the node; zero where absent or not looked at
	need   bool       // its values are needed, not only type and dims
}

// What a plan is made for, and where it therefore stops walking.
type purpose int

const (
	planConstant purpose = iota // to know whether the value is constant: at values already found to be
	planSources                 // to list initializers and nodes: nowhere
	planRun                     // to compute the value: at values already computed
)

// plan lists what a value is computed from, each step after those it depends on. Where the value is not constant, why says what is in
// the way. Chains may be as long as the file: the walk keeps its own stack.
func (e *Evaluator) plan(g *Graph, name string, goal purpose) (steps []step, why string) {
	p := &planner{e: e, purpose: goal, state: map[any]bool{}}
	if _, why := p.visit(g, name); why != "" {
		return nil, why
	}
	for len(p.open) > 0 {
		top := &p.open[len(p.open)-1]
		n, k := top.node, top.next
		if k == len(n.Inputs) {
			p.state[n] = true
			p.steps = append(p.steps, top.step)
			p.open = p.open[:len(p.open)-1]
			continue
		}
		top.next++
		if n.Inputs[k] == "" || e.declared(n, k) != nil {
			continue
		}
		at := len(p.open) - 1
		key, why := p.visit(n.Graph, n.Inputs[k])
		if why != "" {
			p.blame(why)
			return nil, why
		}
		p.open[at].inputs[k] = key
	}
	for _, key := range p.met {
		e.known[key] = ""
	}
	return p.steps, ""
}

// planner is one depth-first walk against the arrows.
type planner struct {
	e       *Evaluator
	purpose purpose
	open    []openStep
	state   map[any]bool // tensors, nodes and cached values: false while open, true when listed
	met     []valueKey   // values that are constant if the walk comes to its end
	steps   []step
}

// openStep is a node whose inputs are being visited.
type openStep struct {
	step
	next int
}

// visit lists a value that is there, or opens the node that computes it.
func (p *planner) visit(g *Graph, name string) (key valueKey, why string) {
	d, ok := p.e.ix.Resolve(g, name)
	if !ok {
		return key, "nothing defines " + quote(name)
	}
	key = valueKey{d.Graph, name}
	if why, ok := p.e.known[key]; ok && (why != "" || p.purpose == planConstant) {
		return key, why
	}
	if a := p.e.cache[key]; a != nil && p.purpose == planRun {
		if !p.state[key] {
			p.state[key] = true
			p.steps = append(p.steps, step{key: key, cached: a})
		}
		return key, ""
	}
	if why := p.e.obstacle(d, name); why != "" {
		p.e.known[key] = why
		return key, why
	}
	p.met = append(p.met, key)
	if d.Tensor != nil {
		if !p.state[d.Tensor] {
			p.state[d.Tensor] = true
			p.steps = append(p.steps, step{key: key, tensor: d.Tensor})
		}
		return key, ""
	}
	listed, seen := p.state[d.Node]
	if seen && !listed {
		return key, d.Node.String() + " depends on its own output"
	}
	if !seen {
		p.state[d.Node] = false
		p.open = append(p.open, openStep{step: step{node: d.Node, inputs: make([]valueKey, len(d.Node.Inputs))}})
	}
	return key, ""
}

// blame notes that what is in the way of one input is in the way of every node that is still open.
func (p *planner) blame(why string) {
	for _, f := range p.open {
		for _, name := range f.node.Outputs {
			p.e.known[valueKey{f.node.Graph, name}] = why
		}
	}
}

// obstacle says why a definition alone keeps a value from being constant, "" where it does not.
func (e *Evaluator) obstacle(d Def, name string) string {
	quoted := quote(name)
	switch {
	case d.Sparse != nil:
		return "sparse initializer " + quoted
	case e.ix.Overridable(d):
		return "initializer " + quoted + ", which is a graph input too and may be overridden"
	case d.Tensor != nil:
		return ""
	case d.Input != nil && d.Graph.Function != nil:
		return "function input " + quoted
	case d.Input != nil && d.Graph.Owner != nil:
		return "input " + quoted + " of a body of " + d.Graph.Owner.String()
	case d.Input != nil:
		return "graph input " + quoted
	}
	n := d.Node
	if e.ix.Function(n) != nil {
		return n.String() + ", a call of a model-local function"
	}
	op, ok := operators[n.OpType]
	if !ok || plainDomain(n.Domain) != "" {
		return n.String() + ", an operator that is not evaluated"
	}
	if why := op.refused(n); why != "" {
		return why
	}
	if d.Slot > 0 && !op.many {
		return "output " + strconv.Itoa(d.Slot) + " of " + n.String()
	}
	for _, a := range n.Attributes {
		if a.RefName != "" {
			return "attribute " + quote(a.Name) + " of " + n.String() + ", which each call of the function sets"
		}
	}
	return ""
}

// declared is the static shape that Shape or Size takes from the declaration of a graph input, which runtimes hold callers to; nil
// otherwise.
func (e *Evaluator) declared(n *Node, k int) []int {
	if k != 0 || n.OpType != "Shape" && n.OpType != "Size" {
		return nil
	}
	d, ok := e.ix.Resolve(n.Graph, n.Inputs[0])
	if !ok || d.Input == nil || d.Graph != e.m.Graph {
		return nil
	}
	t := d.Input.Type
	if t == nil || t.Kind != "tensor" || !t.HasShape {
		return nil
	}
	dims := make([]int, len(t.Shape))
	for i, v := range t.Shape {
		if !v.Known || v.Value < 0 || int64(int(v.Value)) != v.Value {
			return nil
		}
		dims[i] = int(v.Value)
	}
	return dims
}

// markNeeded finds the steps whose values the last one needs: all of them but what only Shape and Size look at. Without values, only
// the operands that decide shapes.
func markNeeded(steps []step, values bool) {
	need := map[valueKey]bool{}
	for i := len(steps) - 1; i >= 0; i-- {
		s := &steps[i]
		if s.node == nil {
			s.need = need[s.key] || (values && i == len(steps)-1)
			continue
		}
		s.need = values && i == len(steps)-1
		for _, name := range s.node.Outputs {
			s.need = s.need || need[valueKey{s.node.Graph, name}]
		}
		op := operators[s.node.OpType]
		for k, key := range s.inputs {
			if key.graph != nil && (op.decides(k) || (s.need && !op.dimsOnly)) {
				need[key] = true
			}
		}
	}
}
