package onnx

// File is the path the model was opened from ("" for models in memory).
func (m *Model) File() string {
	if m.origin == nil {
		return ""
	}
	return m.origin.path
}

// subject stands for the model in errors.
func (m *Model) subject() string {
	if m.origin == nil || m.origin.name == "" {
		return "model"
	}
	return printable(m.origin.name)
}

// Opset returns the version of an operator domain that the model imports, 0 where it does not.
func (m *Model) Opset(domain string) int64 { return findOpset(m.Opsets, domain) }

// Opset returns the version of an operator domain that the scope imports: its function's, or else the model's.
func (g *Graph) Opset(domain string) int64 {
	for g.Owner != nil && g.Owner.Graph != nil {
		g = g.Owner.Graph
	}
	if g.Function != nil {
		return findOpset(g.Function.Opsets, domain)
	}
	return g.Model.Opset(domain)
}

func findOpset(opsets []Opset, domain string) int64 {
	domain = plainDomain(domain)
	for _, o := range opsets {
		if o.Domain == domain {
			return o.Version
		}
	}
	return 0
}

// MetadataValue returns the value of a metadata_props key.
func (m *Model) MetadataValue(key string) (string, bool) {
	for _, kv := range m.Metadata {
		if kv.Key == key {
			return kv.Value, true
		}
	}
	return "", false
}

// TrueInputs lists the inputs of the scope without those that are initializers, of which a caller has nothing to give.
func (g *Graph) TrueInputs() []*ValueInfo {
	stored := make(map[string]bool, len(g.Initializers)+len(g.Sparse))
	for _, t := range g.Initializers {
		stored[t.Name] = true
	}
	for _, t := range g.Sparse {
		stored[t.Name] = true
	}
	var inputs []*ValueInfo
	for _, v := range g.Inputs {
		if !stored[v.Name] {
			inputs = append(inputs, v)
		}
	}
	return inputs
}

// Scopes lists every graph of the model: the main graph, the functions' bodies, and the bodies inside each of them
// after the graph that holds them.
func (m *Model) Scopes() []*Graph {
	var all []*Graph
	var add func(g *Graph)
	add = func(g *Graph) {
		all = append(all, g)
		for _, n := range g.Nodes {
			for _, body := range n.Subgraphs() {
				add(body)
			}
		}
	}
	if m.Graph != nil {
		add(m.Graph)
	}
	for _, f := range m.Functions {
		add(f.Body)
	}
	return all
}

// tensors calls visit for every tensor of the model: initializers, sparse ones' parts, and attribute values, in every
// scope.
func (m *Model) tensors(visit func(t *Tensor)) {
	sparse := func(s *SparseTensor) {
		if s.Values != nil {
			visit(s.Values)
		}
		if s.Indices != nil {
			visit(s.Indices)
		}
	}
	attributes := func(list []*Attribute) {
		for _, a := range list {
			if a.T != nil {
				visit(a.T)
			}
			for _, t := range a.Tensors {
				visit(t)
			}
			if a.Sparse != nil {
				sparse(a.Sparse)
			}
			for _, s := range a.Sparses {
				sparse(s)
			}
		}
	}
	for _, f := range m.Functions {
		attributes(f.Defaults)
	}
	for _, g := range m.Scopes() {
		for _, t := range g.Initializers {
			visit(t)
		}
		for _, s := range g.Sparse {
			sparse(s)
		}
		for _, n := range g.Nodes {
			attributes(n.Attributes)
		}
	}
}

// Parameters counts the elements of all initializers (and Constant tensors of floating type) in every scope.
func (m *Model) Parameters() int64 {
	var total int64
	for _, g := range m.Scopes() {
		for _, t := range g.Initializers {
			total += t.Elements()
		}
		for _, s := range g.Sparse {
			if s.Values != nil {
				total += s.Values.Elements()
			}
		}
		for _, n := range g.Nodes {
			if n.OpType != "Constant" || n.Domain != "" {
				continue
			}
			for _, a := range n.Attributes {
				if a.T != nil && a.T.Type.IsFloat() {
					total += a.T.Elements()
				}
			}
		}
	}
	return total
}

// Input returns the k-th input name, "" where absent.
func (n *Node) Input(k int) string {
	if k < 0 || k >= len(n.Inputs) {
		return ""
	}
	return n.Inputs[k]
}

// Output returns the k-th output name, "" where absent.
func (n *Node) Output(k int) string {
	if k < 0 || k >= len(n.Outputs) {
		return ""
	}
	return n.Outputs[k]
}

// Attr returns an attribute by name, nil where the node has none.
func (n *Node) Attr(name string) *Attribute {
	for _, a := range n.Attributes {
		if a.Name == name {
			return a
		}
	}
	return nil
}

// AttrInt returns an INT attribute, or value where the node has none of this name.
func (n *Node) AttrInt(name string, value int64) (int64, error) {
	a, err := n.attrOf(name, AttrInt)
	if a == nil || err != nil {
		return value, err
	}
	return a.I, nil
}

// AttrFloat returns a FLOAT attribute, or value where the node has none of this name.
func (n *Node) AttrFloat(name string, value float32) (float32, error) {
	a, err := n.attrOf(name, AttrFloat)
	if a == nil || err != nil {
		return value, err
	}
	return a.F, nil
}

// AttrString returns a STRING attribute, or value where the node has none of this name.
func (n *Node) AttrString(name, value string) (string, error) {
	a, err := n.attrOf(name, AttrString)
	if a == nil || err != nil {
		return value, err
	}
	return string(a.S), nil
}

// AttrInts returns an INTS attribute, nil where the node has none of this name.
func (n *Node) AttrInts(name string) ([]int64, error) {
	a, err := n.attrOf(name, AttrInts)
	if a == nil || err != nil {
		return nil, err
	}
	return a.Ints, nil
}

// AttrFloats returns a FLOATS attribute, nil where the node has none of this name.
func (n *Node) AttrFloats(name string) ([]float32, error) {
	a, err := n.attrOf(name, AttrFloats)
	if a == nil || err != nil {
		return nil, err
	}
	return a.Floats, nil
}

// AttrStrings returns a STRINGS attribute, nil where the node has none of this name.
func (n *Node) AttrStrings(name string) ([]string, error) {
	a, err := n.attrOf(name, AttrStrings)
	if a == nil || err != nil {
		return nil, err
	}
	list := make([]string, len(a.Strings))
	for i, s := range a.Strings {
		list[i] = string(s)
	}
	return list, nil
}

// attrOf finds an attribute and checks its type.
func (n *Node) attrOf(name string, typ AttributeType) (*Attribute, error) {
	a := n.Attr(name)
	switch {
	case a == nil:
		return nil, nil
	case a.RefName != "":
		return nil, &UnsupportedError{File: n.file(), Path: n.String() + " attribute " + quote(name),
			What: "it stands for the function's attribute " + quote(a.RefName) + ", whose value is not known here"}
	case a.Type != typ:
		return nil, &FormatError{File: n.file(), Offset: a.src.offset, Path: n.String() + " attribute " + quote(name),
			What: "its type is " + a.Type.String() + ", want " + typ.String()}
	}
	return a, nil
}

func (n *Node) file() string {
	if n.Graph == nil || n.Graph.Model == nil {
		return ""
	}
	return n.Graph.Model.subject()
}

// Defined is the set of names that the scope itself defines: inputs, initializers and outputs of nodes.
func (g *Graph) Defined() map[string]bool {
	names := map[string]bool{}
	for _, in := range g.Inputs {
		names[in.Name] = true
	}
	for _, t := range g.Initializers {
		names[t.Name] = true
	}
	for _, t := range g.Sparse {
		names[t.Name] = true
	}
	for _, n := range g.Nodes {
		for _, name := range n.Outputs {
			names[name] = true
		}
	}
	return names
}

// Subgraphs returns the bodies the node holds, in attribute order.
func (n *Node) Subgraphs() []*Graph {
	var all []*Graph
	for _, a := range n.Attributes {
		all = append(all, a.bodies()...)
	}
	return all
}

func (a *Attribute) bodies() []*Graph {
	if a.G == nil {
		return a.Graphs
	}
	return append([]*Graph{a.G}, a.Graphs...)
}

var attributeTypeNames = [...]string{
	"UNDEFINED", "FLOAT", "INT", "STRING", "TENSOR", "GRAPH", "FLOATS", "INTS", "STRINGS", "TENSORS", "GRAPHS", "SPARSE_TENSOR",
	"SPARSE_TENSORS", "TYPE_PROTO", "TYPE_PROTOS",
}

// String is the name of the type in onnx-ml.proto.
func (t AttributeType) String() string {
	if t < 0 || int(t) >= len(attributeTypeNames) {
		return "UNKNOWN"
	}
	return attributeTypeNames[t]
}
