package runtime

import (
	"github.com/trconvert/trconvert/onnx"
)

// scope is a compiled graph: names resolved to slots. It is read-only once compiled.
type scope struct {
	graph   *onnx.Graph
	parent  *scope // lexically outer scope; nil for the main graph and function bodies
	env     *environment
	slots   int                // the formal inputs come first, in order
	names   map[string]operand // what this scope itself defines, live values only
	outputs []operand
	steps   []step

	variable   []bool // by slot: the value depends on a parameter
	parameters []parameterSlot

	// Of the main graph of a training: fixed says by slot whether a value depends on parameters and constants alone; alone and rest are steps, split into those that give such values and
	// the others, and shared says which of these values the others read.
	fixed, shared []bool
	alone, rest   []step
}

// parameterSlot is a slot that holds a parameter's value whenever the scope runs.
type parameterSlot struct {
	slot      int
	parameter *Parameter
	alone     bool // a step of scope.alone reads it
	rest      bool // a step of scope.rest does, or it is an output
}

// environment is what all scopes of the main graph, or of one function call, share.
type environment struct {
	opset func(domain string) int64
	attrs map[string]*onnx.Attribute // of the function call, nil in the main graph
}

// operand says where an input comes from: absent, a constant, or a slot of the frame depth levels out.
type operand struct {
	present  bool
	constant *constant
	depth    int
	slot     int
}

// step is one node that runs.
type step struct {
	op   operator
	info *nodeInfo
	in   []operand
	out  []int // slot of each output, -1 where nobody reads it
	// release lists the slots whose last reader this step is.
	release []int
	observe []int // input slots shown to the observer
	// variable says that an output depends on a parameter; grad then says how gradients go back, nil for an operator with bodies, whose runs
	// leave their own traces on the tape.
	variable bool
	grad     *gradient
	alone    bool // see compiler.standsAlone
}

// resolve finds a name as seen from s.
func (s *scope) resolve(name string) (operand, bool) {
	for depth := 0; s != nil; depth, s = depth+1, s.parent {
		if o, ok := s.names[name]; ok {
			o.depth = depth
			return o, true
		}
	}
	return operand{}, false
}

// slot defines a new slot for name.
func (s *scope) slot(name string) int {
	k := s.slots
	s.slots++
	s.variable = append(s.variable, false)
	s.fixed = append(s.fixed, false)
	s.names[name] = operand{present: true, slot: k}
	return k
}

// parameter defines a slot for a parameter.
func (s *scope) parameter(name string, p *Parameter) {
	k := s.slot(name)
	s.variable[k], s.fixed[k] = true, true
	s.parameters = append(s.parameters, parameterSlot{slot: k, parameter: p})
}

// isVariable says whether an operand of this scope depends on a parameter.
func (s *scope) isVariable(o operand) bool {
	if !o.present || o.constant != nil {
		return false
	}
	for range o.depth {
		s = s.parent
	}
	return s.variable[o.slot]
}

// frame holds the values of one run of a scope.
type frame struct {
	scope  *scope
	parent *frame
	values []*value      // by slot, while the scope runs
	grads  []accumulator // by slot, made by the reverse run
}

// at walks out depth frames.
func (f *frame) at(depth int) *frame {
	for ; depth > 0; depth-- {
		f = f.parent
	}
	return f
}

// liveness is what a graph really needs, overridden inputs left out.
type liveness struct {
	node []bool          // by node index: some output is read
	read map[string]bool // names read in this graph, by its nodes, their bodies, or as graph outputs
	free []string        // names read that the graph does not define, in first-use order
}

// live walks a graph backwards from its outputs. Bodies of live nodes count as readers of what they capture.
func (c *compiler) live(g *onnx.Graph) *liveness {
	if l := c.liveness[g]; l != nil {
		return l
	}
	defined := g.Defined()
	l := &liveness{node: make([]bool, len(g.Nodes)), read: map[string]bool{}}
	read := func(name string) {
		if name == "" || l.read[name] {
			return
		}
		l.read[name] = true
		if !defined[name] {
			l.free = append(l.free, name)
		}
	}
	for _, v := range c.results(g) {
		read(v.Name)
	}
	for i := len(g.Nodes) - 1; i >= 0; i-- {
		n := g.Nodes[i]
		for _, name := range n.Outputs {
			l.node[i] = l.node[i] || l.read[name]
		}
		if !l.node[i] {
			continue
		}
		for k, name := range n.Inputs {
			if c.overrides[Observed{n, k}] == nil {
				read(name)
			}
		}
		for _, b := range n.Subgraphs() {
			for _, name := range c.live(b).free {
				read(name)
			}
		}
	}
	c.liveness[g] = l
	return l
}
