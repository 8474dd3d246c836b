package onnx

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// Patch collects edits of a model; Apply makes a new model and leaves the old one unchanged.
// Edits address views of the model the patch was made for. A mistake in one of them is reported by Apply.
type Patch struct {
	m     *Model
	err   error // the first mistake
	views map[any]bool
	names map[string]bool
	count map[string]int // next number to try for a base name

	initializers map[*Graph][]newInitializer
	before       map[*Node][]*onnxpb.NodeProto
	prepended    map[*Graph][]*onnxpb.NodeProto
	inputs       map[*Node]map[int]string
	outputs      map[*Node]int // how many are kept
	removed      map[*Node]bool
	replaced     map[*Tensor]*Array
	dropped      map[*Tensor]bool
	metadata     []KeyValue
	opsets       []opsetEdit
	ir           int64 // 0: as it is
}

// newInitializer is an added initializer: a message, or an array under a name.
type newInitializer struct {
	message *onnxpb.TensorProto
	name    string
	array   *Array
}

// NewPatch starts an empty patch.
func NewPatch(m *Model) *Patch {
	p := &Patch{
		m: m, views: map[any]bool{}, names: map[string]bool{"": true}, count: map[string]int{},
		initializers: map[*Graph][]newInitializer{}, before: map[*Node][]*onnxpb.NodeProto{}, prepended: map[*Graph][]*onnxpb.NodeProto{},
		inputs: map[*Node]map[int]string{}, outputs: map[*Node]int{}, removed: map[*Node]bool{}, replaced: map[*Tensor]*Array{}, dropped: map[*Tensor]bool{},
	}
	for _, g := range m.Scopes() {
		p.survey(g)
	}
	return p
}

// survey notes the views of a scope and the names it uses for values and nodes.
func (p *Patch) survey(g *Graph) {
	p.views[g] = true
	for _, list := range [][]*ValueInfo{g.Inputs, g.Outputs, g.ValueInfos} {
		for _, v := range list {
			p.names[v.Name] = true
		}
	}
	for _, t := range g.Initializers {
		p.views[t] = true
		p.names[t.Name] = true
	}
	for _, t := range g.Sparse {
		p.names[t.Name] = true
	}
	for _, n := range g.Nodes {
		p.views[n] = true
		p.names[n.Name] = true
		for _, name := range n.Inputs {
			p.names[name] = true
		}
		for _, name := range n.Outputs {
			p.names[name] = true
		}
		for _, a := range n.Attributes {
			if a.T != nil {
				p.views[a.T] = true
			}
		}
	}
}

// Fresh returns a name unused in every scope of the model and not handed out before; it is base itself where that is free.
// Names of values and of nodes are kept apart from each other too.
func (p *Patch) Fresh(base string) string {
	if base == "" {
		base = "value"
	}
	name := base
	for p.names[name] {
		p.count[base]++
		name = base + "_" + strconv.Itoa(p.count[base])
	}
	p.names[name] = true
	return name
}

// AddInitializer adds an initializer to scope g; in models of IR < 4 it is added to the main graph's inputs too.
// Inside functions, which have no initializers, it becomes a Constant node at the top of the body.
func (p *Patch) AddInitializer(g *Graph, t *onnxpb.TensorProto) {
	if p.known("AddInitializer", g, g != nil) {
		if t == nil {
			p.fail("AddInitializer: the tensor is nil")
			return
		}
		p.initializers[g] = append(p.initializers[g], newInitializer{message: t})
	}
}

// AddInitializerArray adds a large initializer without a protobuf copy: the payload is written straight from a.Data, which must not
// change afterwards.
func (p *Patch) AddInitializerArray(g *Graph, name string, a *Array) {
	if p.known("AddInitializerArray", g, g != nil) {
		if err := checkArray(a); err != nil {
			p.fail("AddInitializerArray: %s: %v", quote(name), err)
			return
		}
		p.initializers[g] = append(p.initializers[g], newInitializer{name: name, array: a})
	}
}

// ReplaceInitializer gives an initializer, or the tensor of a Constant node, other values of the same type and dims; its name, its place
// and its documentation stay. The payload is written straight from a.Data, which must not change afterwards.
func (p *Patch) ReplaceInitializer(t *Tensor, a *Array) {
	if !p.known("ReplaceInitializer", t, t != nil) {
		return
	}
	if err := checkArray(a); err != nil {
		p.fail("ReplaceInitializer: %s: %v", t, err)
		return
	}
	dims := make([]int64, len(a.Dims))
	for k, d := range a.Dims {
		dims[k] = int64(d)
	}
	if a.Type != t.Type || !slices.Equal(dims, t.Dims) {
		p.fail("ReplaceInitializer: %s is %s %v, the array %s %v (add a new initializer where they differ)", t, t.Type, t.Dims, a.Type, a.Dims)
		return
	}
	p.replaced[t] = a
}

func checkArray(a *Array) error {
	if a == nil {
		return errors.New("the array is nil")
	}
	return a.Check()
}

// InsertBefore adds a node just before an existing one, after those inserted there earlier.
func (p *Patch) InsertBefore(at *Node, n *onnxpb.NodeProto) {
	if p.known("InsertBefore", at, at != nil) && p.given("InsertBefore", n) {
		p.before[at] = append(p.before[at], n)
	}
}

// Prepend adds a node at the top of scope g, after those prepended earlier.
func (p *Patch) Prepend(g *Graph, n *onnxpb.NodeProto) {
	if p.known("Prepend", g, g != nil) && p.given("Prepend", n) {
		p.prepended[g] = append(p.prepended[g], n)
	}
}

// SetInput rewires input slot of n to name (the node's other bytes stay). A slot beyond the last input lengthens the list, with empty
// names between.
func (p *Patch) SetInput(n *Node, slot int, name string) {
	if !p.known("SetInput", n, n != nil) {
		return
	}
	const most = 1 << 16
	if slot < 0 || slot >= len(n.Inputs)+most {
		p.fail("SetInput: %s has no input %d", n, slot)
		return
	}
	if p.inputs[n] == nil {
		p.inputs[n] = map[int]string{}
	}
	p.inputs[n][slot] = name
}

// KeepOutputs takes all outputs behind the first keep, of which there is at least one, from a node; they must have no reader left when the patch is applied.
func (p *Patch) KeepOutputs(n *Node, keep int) {
	if !p.known("KeepOutputs", n, n != nil) {
		return
	}
	if keep < 1 || keep > len(n.Outputs) {
		p.fail("KeepOutputs: %s has no %d outputs", n, keep)
		return
	}
	p.outputs[n] = keep
}

// RemoveNode removes a node; its outputs must have no reader left when the patch is applied.
func (p *Patch) RemoveNode(n *Node) {
	if p.known("RemoveNode", n, n != nil) {
		p.removed[n] = true
	}
}

// RemoveInitializer removes an initializer, and the graph input that stands for it before IR 4, so that a node may give its value under the
// same name. When the patch is applied, the name must have a definition again or no reader left.
func (p *Patch) RemoveInitializer(t *Tensor) {
	if !p.known("RemoveInitializer", t, t != nil) {
		return
	}
	if t.Graph == nil {
		p.fail("RemoveInitializer: %s is the value of an attribute (remove its node)", t)
		return
	}
	p.dropped[t] = true
}

// SetMetadata sets (or with value "" removes) one metadata_props entry.
func (p *Patch) SetMetadata(key, value string) {
	p.metadata = append(p.metadata, KeyValue{key, value})
}

// known checks that a view belongs to the patch's model.
func (p *Patch) known(op string, view any, given bool) bool {
	switch {
	case !given:
		p.fail("%s: the view is nil", op)
	case !p.views[view]:
		p.fail("%s: %v is not a view of the model that the patch was made for", op, viewLabel(view))
	default:
		return true
	}
	return false
}

func (p *Patch) given(op string, n *onnxpb.NodeProto) bool {
	if n == nil {
		p.fail("%s: the node is nil", op)
	}
	return n != nil
}

func (p *Patch) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("onnx: patch: "+format, args...)
	}
}
