package onnx

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// marshal encodes a message of the generated types, the same bytes each time.
func marshal(m proto.Message) ([]byte, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("onnx: marshal: %w", err)
	}
	return b, nil
}

// FromProto makes a model from the generated types, as [Decode] would from its bytes; name stands for it in errors.
func FromProto(name string, p *onnxpb.ModelProto) (*Model, error) {
	b, err := marshal(p)
	if err != nil {
		return nil, err
	}
	return Decode(name, b)
}

// builder decodes new messages into views of model m.
func (m *Model) builder() *decoder { return &decoder{model: m, file: m.subject(), limit: maxWeight} }

// newNode makes the view of a new node in scope g. Its Index is for the caller to set.
func newNode(g *Graph, p *onnxpb.NodeProto) (*Node, error) {
	b, err := marshal(p)
	if err != nil {
		return nil, err
	}
	n := &Node{Graph: g}
	d := g.Model.builder()
	d.push("new node", n, -1)
	return n, d.node(n, b, -1)
}

// newTensor makes the view of a new initializer of scope g.
func newTensor(g *Graph, p *onnxpb.TensorProto) (*Tensor, error) {
	b, err := marshal(p)
	if err != nil {
		return nil, err
	}
	t := &Tensor{Graph: g}
	d := g.Model.builder()
	d.push("new initializer", t, -1)
	return t, d.tensor(t, b, -1)
}

// newArrayTensor makes the view of a new initializer of scope g (nil for an attribute value) whose payload is written
// from a, which must not change afterwards.
func newArrayTensor(m *Model, g *Graph, name string, a *Array) (*Tensor, error) {
	if err := a.Check(); err != nil {
		return nil, fmt.Errorf("%w (tensor %s)", err, quote(name))
	}
	t := &Tensor{Name: name, Type: a.Type, Dims: make([]int64, len(a.Dims)), Graph: g, model: m}
	t.src.offset = -1
	for i, v := range a.Dims {
		t.Dims[i] = int64(v)
		t.src.fields = append(t.src.fields, intField(tensorDims, int64(v)))
	}
	t.src.fields = append(t.src.fields, intField(tensorType, int64(a.Type)))
	if list, ok := a.Data.([]string); ok {
		for _, s := range list {
			t.src.fields = append(t.src.fields, stringField(tensorStrings, s))
			t.data.stored += int64(len(s))
		}
		t.src.fields = append(t.src.fields, stringField(tensorName, name))
	} else {
		t.src.fields = append(t.src.fields, stringField(tensorName, name), payloadField(tensorRaw, arrayPayload{a}))
	}
	t.data.array = a
	return t, nil
}

// newValueInfo makes the view of a new graph input, output or value_info.
func newValueInfo(m *Model, p *onnxpb.ValueInfoProto) (*ValueInfo, error) {
	b, err := marshal(p)
	if err != nil {
		return nil, err
	}
	v := &ValueInfo{}
	d := m.builder()
	d.push("new value_info", v, -1)
	return v, d.valueInfo(v, b, -1)
}

// derive makes a model with the same content that shares m's origin, for a patch to edit: the views are copies with
// parents of their own, the bytes they refer to are the same. Views maps each *Graph, *Node and *Attribute of m to its
// copy; tensors and value infos are shared, except that an initializer is copied with its scope.
func (m *Model) derive() (*Model, map[any]any) {
	m.origin.refs.Add(1)
	c := &Model{
		IRVersion: m.IRVersion, Opsets: m.Opsets, ProducerName: m.ProducerName, ProducerVersion: m.ProducerVersion, Domain: m.Domain,
		ModelVersion: m.ModelVersion, Doc: m.Doc, Metadata: m.Metadata, origin: m.origin, warnings: m.warnings, src: m.src,
	}
	k := &copier{model: c, views: make(map[any]any)}
	if m.Graph != nil {
		c.Graph = k.graph(m.Graph, nil, nil)
	}
	for _, f := range m.Functions {
		cf := *f
		k.views[f] = &cf
		cf.Body = k.graph(f.Body, nil, &cf)
		c.Functions = append(c.Functions, &cf)
	}
	c.src.fields = k.fields(m.src.fields)
	return c, k.views
}

// copier copies views into another model.
type copier struct {
	model *Model
	views map[any]any
}

func (k *copier) fields(list []field) []field {
	out := make([]field, len(list))
	for i, f := range list {
		if c, ok := k.views[f.child]; ok && f.child != nil {
			f.child = c
		}
		out[i] = f
	}
	return out
}

func (k *copier) graph(g *Graph, owner *Node, function *Function) *Graph {
	c := *g
	c.Model, c.Owner, c.Function = k.model, owner, function
	k.views[g] = &c
	c.Nodes = make([]*Node, len(g.Nodes))
	for i, n := range g.Nodes {
		c.Nodes[i] = k.node(n, &c)
	}
	c.Initializers = make([]*Tensor, len(g.Initializers))
	for i, t := range g.Initializers {
		ct := *t
		ct.Graph, ct.model = &c, k.model
		k.views[t] = &ct
		c.Initializers[i] = &ct
	}
	c.src.fields = k.fields(g.src.fields)
	return &c
}

func (k *copier) node(n *Node, g *Graph) *Node {
	c := *n
	c.Graph = g
	k.views[n] = &c
	holds := false
	for _, a := range n.Attributes {
		holds = holds || a.G != nil || len(a.Graphs) > 0
	}
	if !holds {
		return &c
	}
	c.Attributes = make([]*Attribute, len(n.Attributes))
	for i, a := range n.Attributes {
		ca := *a
		k.views[a] = &ca
		if a.G != nil {
			ca.G = k.graph(a.G, &c, nil)
		}
		ca.Graphs = make([]*Graph, len(a.Graphs))
		for j, body := range a.Graphs {
			ca.Graphs[j] = k.graph(body, &c, nil)
		}
		ca.src.fields = k.fields(a.src.fields)
		c.Attributes[i] = &ca
	}
	c.src.fields = k.fields(n.src.fields)
	return &c
}

// touch marks scope g and everything that holds it as edited, so that they are encoded field by field. It is for
// derived models only.
func touch(g *Graph) {
	for g != nil {
		g.src.raw = nil
		n := g.Owner
		if n == nil {
			g.Model.src.raw = nil
			return
		}
		for _, a := range n.Attributes {
			for _, body := range a.bodies() {
				if body == g {
					a.src.raw = nil
				}
			}
		}
		n.src.raw = nil
		g = n.Graph
	}
}
