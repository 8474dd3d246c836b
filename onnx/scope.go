package onnx

// Def is where a value comes from. Exactly one of Input, Tensor, Sparse and Node is set (a graph input that is also an
// initializer has both Input and Tensor or Sparse).
type Def struct {
	Graph  *Graph
	Input  *ValueInfo
	Tensor *Tensor
	Sparse *SparseTensor
	Node   *Node
	Slot   int // output slot of Node
}

// Use is one reader of a value: an input slot of a node (possibly in an inner scope), or a graph output.
type Use struct {
	Graph  *Graph // the scope of the reader
	Node   *Node  // nil for a graph output
	Slot   int
	Output *ValueInfo
}

// Index answers use-def questions over all scopes of a model. It is read-only after NewIndex.
type Index struct {
	model     *Model
	scopes    map[*Graph]*scope
	functions map[functionKey]*Function
}

// scope is what one graph defines, and who reads it.
type scope struct {
	outer *scope // nil for the main graph and for functions
	graph *Graph
	defs  map[string]Def
	uses  map[string][]Use // readers of this scope's own definitions
}

// functionKey identifies a model-local function: nodes call it by these three.
type functionKey struct{ domain, name, overload string }

// NewIndex builds the index in one pass over the graph. Where a name is defined twice in a scope, which [Check] refuses, the
// first definition counts.
func NewIndex(m *Model) *Index {
	ix := &Index{model: m, scopes: map[*Graph]*scope{}, functions: map[functionKey]*Function{}}
	for _, f := range m.Functions {
		k := functionKey{plainDomain(f.Domain), f.Name, f.Overload}
		if ix.functions[k] == nil {
			ix.functions[k] = f
		}
	}
	if m.Graph != nil {
		ix.add(m.Graph, nil)
	}
	for _, f := range m.Functions {
		if f.Body != nil {
			ix.add(f.Body, nil)
		}
	}
	return ix
}

// add indexes a graph and, at the nodes that hold them, its inner graphs; the decoder bounds their depth.
func (ix *Index) add(g *Graph, outer *scope) {
	s := &scope{outer: outer, graph: g, defs: make(map[string]Def), uses: make(map[string][]Use)}
	ix.scopes[g] = s
	for _, in := range g.Inputs {
		s.define(in.Name, Def{Graph: g, Input: in})
	}
	for _, t := range g.Initializers {
		d := s.defs[t.Name]
		if d.Tensor == nil && d.Node == nil {
			d.Graph, d.Tensor = g, t
			s.defs[t.Name] = d
		}
	}
	for _, t := range g.Sparse {
		d := s.defs[t.Name]
		if d.Tensor == nil && d.Sparse == nil {
			d.Graph, d.Sparse = g, t
			s.defs[t.Name] = d
		}
	}
	for _, n := range g.Nodes {
		for k, name := range n.Outputs {
			s.define(name, Def{Graph: g, Node: n, Slot: k})
		}
	}
	delete(s.defs, "")
	for _, n := range g.Nodes {
		for k, name := range n.Inputs {
			s.use(name, Use{Graph: g, Node: n, Slot: k})
		}
		for _, inner := range n.Subgraphs() {
			ix.add(inner, s)
		}
	}
	for k, out := range g.Outputs {
		s.use(out.Name, Use{Graph: g, Slot: k, Output: out})
	}
}

func (s *scope) define(name string, d Def) {
	if _, ok := s.defs[name]; !ok {
		s.defs[name] = d
	}
}

func (s *scope) use(name string, u Use) {
	if name == "" {
		return
	}
	for at := s; at != nil; at = at.outer {
		if _, ok := at.defs[name]; ok {
			at.uses[name] = append(at.uses[name], u)
			return
		}
	}
}

// Resolve finds the definition of name as seen from g, walking outwards through the scopes.
func (ix *Index) Resolve(g *Graph, name string) (Def, bool) {
	for at := ix.scopes[g]; at != nil; at = at.outer {
		if d, ok := at.defs[name]; ok {
			return d, true
		}
	}
	return Def{}, false
}

// Uses lists every reader of the value that g itself defines under this name, in file order, inner scopes included.
func (ix *Index) Uses(g *Graph, name string) []Use {
	s := ix.scopes[g]
	if s == nil {
		return nil
	}
	return append([]Use(nil), s.uses[name]...)
}

// Outer is the scope around g, nil for the main graph and for functions.
func (ix *Index) Outer(g *Graph) *Graph {
	if s := ix.scopes[g]; s != nil && s.outer != nil {
		return s.outer.graph
	}
	return nil
}

// Function is the model-local function that a node calls, nil where its operator is not one.
func (ix *Index) Function(n *Node) *Function {
	return ix.functions[functionKey{plainDomain(n.Domain), n.OpType, n.Overload}]
}

// Overridable says that a definition is an initializer that is a graph input too in a model of IR 4 or later: of the main graph's the
// caller of the model may replace the value. (Before IR 4 every initializer had to be an input as well, and in inner graphs such a pair
// is a constant.)
func (ix *Index) Overridable(d Def) bool {
	return d.Input != nil && (d.Tensor != nil || d.Sparse != nil) && ix.model.IRVersion >= 4
}
