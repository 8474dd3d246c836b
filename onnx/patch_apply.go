package onnx

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// Numbers of the fields that a patch adds, removes or rewrites.
const (
	modelMetadata    = 14
	graphNode        = 1
	graphInitializer = 5
	graphInput       = 11
	functionNode     = 7
	nodeInput        = 1
	nodeOutput       = 2
	nodeOpType       = 4
	nodeAttribute    = 5
	attributeName    = 1
	attributeTensor  = 5
	attributeType    = 20
	tensorDoc        = 12
	tensorMetadata   = 16
)

// Apply checks the model, makes the edits, removes initializers and chains of nodes that the edits made dead (what was dead before
// stays), and checks the result. An error leaves everything unchanged. The new model keeps the old one's file open; close both.
func (p *Patch) Apply(ctx context.Context) (*Model, error) {
	if p.err != nil {
		return nil, p.err
	}
	if err := Check(p.m); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	alive := findAlive(NewIndex(p.m), nil)
	m, views := p.m.derive()
	a := &application{p: p, m: m, views: views}
	err := a.edit(ctx)
	if err == nil {
		err = Check(m) // before names that clash could make something look dead
	}
	if err == nil {
		a.prune(alive)
		err = Check(m)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// application is one run of Apply: edits are made on m, a copy of the patch's model.
type application struct {
	p     *Patch
	m     *Model
	views map[any]any // view of the old model to its copy
}

func (a *application) edit(ctx context.Context) error {
	a.setVersions()
	for _, old := range a.p.m.Scopes() {
		if err := ctx.Err(); err != nil {
			return err
		}
		g := a.views[old].(*Graph)
		e := &graphEdit{g: g, before: map[any][]field{}}
		if err := a.editScope(old, e); err != nil {
			return err
		}
		e.write()
	}
	a.setMetadata()
	return nil
}

func (a *application) editScope(old *Graph, e *graphEdit) error {
	p, g := a.p, e.g
	for _, add := range p.initializers[old] {
		if err := a.addInitializer(e, add); err != nil {
			return err
		}
	}
	for _, n := range p.prepended[old] {
		if err := e.add(nil, n); err != nil {
			return err
		}
	}
	for k, t := range old.Initializers {
		if array := p.replaced[t]; array != nil {
			fresh, err := replacement(a.m, t, array)
			if err != nil {
				return err
			}
			fresh.Graph = g
			e.swap(g.Initializers[k], fresh)
			g.Initializers[k] = fresh
		}
	}
	a.removeInitializers(old, e)
	nodes := e.top
	for k, n := range old.Nodes {
		copied := g.Nodes[k]
		for _, add := range p.before[n] {
			if err := e.add(copied, add); err != nil {
				return err
			}
		}
		nodes = append(nodes, e.inserted...)
		e.inserted = nil
		if p.removed[n] {
			e.drop(copied)
			continue
		}
		a.cutOutputs(n, copied)
		if err := a.rewire(n, copied); err != nil {
			return err
		}
		if err := a.replaceConstant(n, copied); err != nil {
			return err
		}
		nodes = append(nodes, copied)
	}
	g.Nodes = nodes
	return nil
}

// removeInitializers takes initializers out of a scope, and before IR 4 the graph inputs of their names.
func (a *application) removeInitializers(old *Graph, e *graphEdit) {
	g := e.g
	gone, copies := map[string]bool{}, map[*Tensor]bool{}
	for _, t := range old.Initializers {
		if a.p.dropped[t] {
			copied := a.views[t].(*Tensor)
			e.drop(copied)
			gone[t.Name], copies[copied] = true, true
		}
	}
	if len(gone) == 0 {
		return
	}
	g.Initializers = slices.DeleteFunc(g.Initializers, func(t *Tensor) bool { return copies[t] })
	if a.m.IRVersion < 4 {
		e.dropInputs(gone)
	}
}

// dropInputs takes inputs out of the scope.
func (e *graphEdit) dropInputs(gone map[string]bool) {
	e.g.Inputs = slices.DeleteFunc(slices.Clone(e.g.Inputs), func(in *ValueInfo) bool {
		if gone[in.Name] {
			e.drop(in)
		}
		return gone[in.Name]
	})
}

// rewire sets the inputs of a copied node.
func (a *application) rewire(old, n *Node) error {
	set := a.p.inputs[old]
	if len(set) == 0 {
		return nil
	}
	inputs := slices.Clone(n.Inputs)
	for slot := range set {
		for len(inputs) <= slot {
			inputs = append(inputs, "")
		}
	}
	for slot, name := range set {
		inputs[slot] = name
	}
	if slices.Equal(inputs, n.Inputs) {
		return nil
	}
	var fields []field
	next, last := 0, 0 // inputs written, and the place behind the last of them
	for _, f := range n.src.fields {
		if f.number == nodeInput {
			if inputs[next] != n.Inputs[next] {
				f = stringField(nodeInput, inputs[next])
			}
			next++
			last = len(fields) + 1
		}
		fields = append(fields, f)
	}
	for _, name := range inputs[next:] {
		fields = slices.Insert(fields, last, stringField(nodeInput, name))
		last++
	}
	n.Inputs, n.src.fields, n.src.raw = inputs, fields, nil
	touch(n.Graph)
	return nil
}

// cutOutputs leaves the outputs of a copied node that are kept.
func (a *application) cutOutputs(old, n *Node) {
	keep, ok := a.p.outputs[old]
	if !ok || keep == len(n.Outputs) {
		return
	}
	seen := 0
	fields := slices.DeleteFunc(slices.Clone(n.src.fields), func(f field) bool {
		if f.number != nodeOutput {
			return false
		}
		seen++
		return seen > keep
	})
	n.Outputs, n.src.fields, n.src.raw = slices.Clone(n.Outputs[:keep]), fields, nil
	touch(n.Graph)
}

// replaceConstant gives a copied node other tensors where the patch replaces those of its attributes.
func (a *application) replaceConstant(old, n *Node) error {
	for k, attr := range old.Attributes {
		array := a.p.replaced[attr.T]
		if attr.T == nil || array == nil {
			continue
		}
		t, err := replacement(a.m, attr.T, array)
		if err != nil {
			return err
		}
		was := n.Attributes[k]
		fresh := *was
		fresh.T = t
		fresh.src = message{offset: -1, fields: swapped(was.src.fields, was.T, t)}
		n.Attributes = slices.Clone(n.Attributes)
		n.Attributes[k] = &fresh
		n.src.fields, n.src.raw = swapped(n.src.fields, was, &fresh), nil
		touch(n.Graph)
	}
	return nil
}

// swapped replaces the view of one field.
func swapped(fields []field, old, fresh any) []field {
	out := slices.Clone(fields)
	for i, f := range out {
		if f.child == old {
			out[i] = viewField(f.number, fresh)
		}
	}
	return out
}

// replacement is a tensor with the name, documentation and metadata of t and the payload of a.
func replacement(m *Model, t *Tensor, a *Array) (*Tensor, error) {
	fresh, err := newArrayTensor(m, nil, t.Name, a)
	if err != nil {
		return nil, err
	}
	fields := slices.Clip(t.src.fields)
	for r := (&wireReader{kind: "TensorProto", buf: t.src.raw, base: -1}); r.next(); {
		fields = append(fields, field{number: r.number, raw: r.raw})
	}
	for _, f := range fields {
		if f.number == tensorDoc || f.number == tensorMetadata {
			fresh.src.fields = append(fresh.src.fields, f)
		}
	}
	return fresh, nil
}

func (a *application) addInitializer(e *graphEdit, add newInitializer) error {
	g := e.g
	var t *Tensor
	var err error
	if add.array != nil {
		t, err = newArrayTensor(a.m, g, add.name, add.array)
	} else {
		t, err = newTensor(g, add.message)
	}
	if err != nil {
		return err
	}
	if t.Name == "" {
		return fmt.Errorf("onnx: patch: AddInitializer: a tensor without a name")
	}
	if g.Function != nil {
		e.addConstant(t)
		return nil
	}
	g.Initializers = append(g.Initializers, t)
	e.initializers = append(e.initializers, viewField(graphInitializer, t))
	if a.m.IRVersion < 4 && g == a.m.Graph {
		in, err := newValueInfo(a.m, inputOf(t))
		if err != nil {
			return err
		}
		g.Inputs = append(slices.Clip(g.Inputs), in)
		e.inputs = append(e.inputs, viewField(graphInput, in))
	}
	return nil
}

// inputOf declares the graph input that an initializer needs before IR 4.
func inputOf(t *Tensor) *onnxpb.ValueInfoProto {
	dims := &onnxpb.TensorShapeProto{}
	for _, d := range t.Dims {
		dims.Dim = append(dims.Dim, &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: d}})
	}
	return &onnxpb.ValueInfoProto{Name: proto.String(t.Name), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
		TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(t.Type)), Shape: dims}}}}
}

// setMetadata edits the metadata_props of the copied model.
func (a *application) setMetadata() {
	m := a.m
	for _, kv := range a.p.metadata {
		var entries []KeyValue
		var fields []field
		done, changed := kv.Value == "", false
		next, last := 0, len(m.src.fields)
		for _, f := range m.src.fields {
			if f.number != modelMetadata {
				fields = append(fields, f)
				continue
			}
			entry := m.Metadata[next]
			next++
			if entry.Key == kv.Key {
				if done || entry.Value != kv.Value {
					changed = true
				}
				if done { // removed, or a second entry of the same key
					continue
				}
				done = true
				if entry.Value != kv.Value {
					entry, f = kv, entryField(modelMetadata, kv.Key, kv.Value)
				}
			}
			entries, fields = append(entries, entry), append(fields, f)
			last = len(fields)
		}
		if !done {
			entries, changed = append(entries, kv), true
			fields = slices.Insert(fields, min(last, len(fields)), entryField(modelMetadata, kv.Key, kv.Value))
		}
		if changed {
			m.Metadata, m.src.fields, m.src.raw = entries, fields, nil
		}
	}
}

// graphEdit collects the edits of one copied scope and rewrites its fields once.
type graphEdit struct {
	g            *Graph
	top          []*Node         // new nodes before all others
	inserted     []*Node         // new nodes before the current one
	before       map[any][]field // fields to write before that of a node
	start        []field         // fields of top
	initializers []field
	inputs       []field
	dropped      map[any]bool
	swapped      map[any]any
}

func (e *graphEdit) nodeField() int32 {
	if e.g.Function != nil {
		return functionNode
	}
	return graphNode
}

// add makes a new node before another one, or at the top.
func (e *graphEdit) add(at *Node, p *onnxpb.NodeProto) error {
	n, err := newNode(e.g, p)
	if err != nil {
		return err
	}
	e.place(at, n)
	return nil
}

func (e *graphEdit) place(at, n *Node) {
	f := viewField(e.nodeField(), n)
	if at == nil {
		e.top, e.start = append(e.top, n), append(e.start, f)
		return
	}
	e.inserted = append(e.inserted, n)
	e.before[at] = append(e.before[at], f)
}

// addConstant makes a Constant node at the top that holds a tensor.
func (e *graphEdit) addConstant(t *Tensor) {
	t.Graph = nil
	attr := &Attribute{Name: "value", Type: AttrTensor, T: t}
	attr.src = message{offset: -1, fields: []field{stringField(attributeName, "value"), viewField(attributeTensor, t), intField(attributeType, int64(AttrTensor))}}
	n := &Node{OpType: "Constant", Outputs: []string{t.Name}, Attributes: []*Attribute{attr}, Graph: e.g}
	n.src = message{offset: -1, fields: []field{stringField(nodeOutput, t.Name), stringField(nodeOpType, "Constant"), viewField(nodeAttribute, attr)}}
	e.place(nil, n)
}

func (e *graphEdit) drop(view any) {
	if e.dropped == nil {
		e.dropped = map[any]bool{}
	}
	e.dropped[view] = true
}

func (e *graphEdit) swap(old, fresh any) {
	if e.swapped == nil {
		e.swapped = map[any]any{}
	}
	e.swapped[old] = fresh
}

// write rewrites the scope's fields: new nodes at their places, new initializers and inputs behind the last old ones, everything else
// as it stood.
func (e *graphEdit) write() {
	g := e.g
	if len(e.start)+len(e.before)+len(e.initializers)+len(e.inputs)+len(e.dropped)+len(e.swapped) == 0 {
		return
	}
	var fields []field
	start, afterInitializer, afterInput := -1, -1, -1
	for _, f := range g.src.fields {
		if n, ok := f.child.(*Node); ok {
			if start < 0 {
				start = len(fields)
			}
			fields = append(fields, e.before[n]...)
		}
		if f.child != nil && e.dropped[f.child] {
			continue
		}
		if fresh, ok := e.swapped[f.child]; ok && f.child != nil {
			f = viewField(f.number, fresh)
		}
		fields = append(fields, f)
		switch _, isTensor := f.child.(*Tensor); {
		case isTensor:
			afterInitializer = len(fields)
		case f.number == graphInput && g.Function == nil:
			afterInput = len(fields)
		}
	}
	// From the back, so that the places stay true.
	type addition struct {
		at     int
		fields []field
	}
	place := func(at int) int {
		if at < 0 {
			return len(fields)
		}
		return at
	}
	additions := []addition{{place(afterInitializer), e.initializers}, {place(afterInput), e.inputs}, {place(start), e.start}}
	slices.SortStableFunc(additions, func(x, y addition) int { return y.at - x.at })
	for _, add := range additions {
		fields = slices.Insert(fields, add.at, add.fields...)
	}
	g.src.fields = fields
	for k, n := range g.Nodes {
		n.Index = k
	}
	touch(g)
}
