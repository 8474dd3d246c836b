package step

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/export/source"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// rewriting is a model that becomes its step.
type rewriting struct {
	*source.Timeline
	proto  *onnxpb.ModelProto
	used   source.Names
	states []State
	nodes  []*onnxpb.NodeProto // as they stood in the model
	walker *walker
	// symbolic says that inputs have symbolic dims besides time, batch is the only one of them.
	symbolic bool
	batch    string
}

// rewrite gives inputs one step, and recurrent nodes states that are inputs and outputs.
func rewrite(m *onnx.Model, t *source.Timeline, f *found) (*Model, error) {
	p, err := t.Proto()
	if err != nil {
		return nil, err
	}
	r := &rewriting{Timeline: t, proto: p, used: source.Names{}, states: slices.Clone(f.states),
		nodes: slices.Clone(p.Graph.Node), walker: &walker{index: onnx.NewIndex(t.Model), model: t.Model}}
	for _, g := range t.Model.Scopes() {
		for name := range g.Defined() {
			r.used[name] = true
		}
	}
	r.findBatch(m)
	r.declare(m)
	for _, site := range recurrent.Nodes(t.Model) {
		if !slices.Contains(t.Nodes, site.Node) { // nothing reads it
			continue
		}
		if err := r.node(site, f); err != nil {
			return nil, err
		}
	}
	r.prune()
	text, err := record(r.states)
	if err != nil {
		return nil, err
	}
	r.proto.MetadataProps = append(slices.DeleteFunc(p.MetadataProps, func(e *onnxpb.StringStringEntryProto) bool { return e.GetKey() == Key }),
		&onnxpb.StringStringEntryProto{Key: proto.String(Key), Value: proto.String(text)})
	out, err := onnx.FromProto(m.File(), p)
	if err != nil {
		return nil, err
	}
	if err := onnx.Check(out); err != nil {
		return nil, err
	}
	return &Model{Model: out, States: r.states, Timeline: t}, nil
}

// declare gives the inputs one step, and the outputs the dims that the model declares, with one step.
func (r *rewriting) declare(m *onnx.Model) {
	one := func(shape *onnxpb.TensorShapeProto, axis int) {
		if axis >= 0 && axis < len(shape.GetDim()) {
			shape.Dim[axis] = fixed(1)
		}
	}
	for _, v := range r.proto.GetGraph().GetInput() {
		if axis, ok := r.Inputs[v.GetName()]; ok {
			one(v.GetType().GetTensorType().GetShape(), axis)
		}
	}
	for k, v := range r.proto.GetGraph().GetOutput() {
		declared := m.Graph.Outputs[k].Type
		a := r.Value(v.GetName())
		if t := v.GetType().GetTensorType(); t != nil && a != nil && declared != nil && declared.HasShape && len(declared.Shape) == len(a.Dims) {
			t.Shape = &onnxpb.TensorShapeProto{}
			for _, d := range declared.Shape {
				dim := named(d.Param)
				if d.Known {
					dim = fixed(d.Value)
				}
				t.Shape.Dim = append(t.Shape.Dim, dim)
			}
			one(t.Shape, r.Outputs[v.GetName()])
		}
	}
}

// findBatch finds the symbolic dim that states share with the inputs: the only one besides time.
func (r *rewriting) findBatch(m *onnx.Model) {
	for _, v := range m.Graph.TrueInputs() {
		if v.Type == nil {
			continue
		}
		for k, d := range v.Type.Shape {
			if axis, ok := r.Inputs[v.Name]; d.Param == "" || ok && axis == k || d.Param == r.batch {
				continue
			}
			if r.symbolic {
				r.batch = ""
				return
			}
			r.symbolic, r.batch = true, d.Param
		}
	}
}

// node makes the states of a recurrent node inputs and outputs, unless inputs give them already.
func (r *rewriting) node(site recurrent.Named, f *found) error {
	n := site.Node
	cfg, err := recurrent.ParseConfig(n, r.Model.Opset(""))
	if err != nil {
		return err
	}
	p := r.nodes[n.Index]
	var before, after []*onnxpb.NodeProto
	for _, k := range slots(n) {
		initial := n.Input(k.input)
		if initial != "" && !r.Constant(initial) {
			for _, in := range r.walker.inputs(r.walker.sources(n.Graph, initial)) {
				if !f.paired(in) {
					return &UnsupportedError{fmt.Sprintf("%v: its initial state comes from input %q, and no output of the same dims can be seen to give its last state (say which with --state OUT=IN)", n, in)}
				}
			}
			continue
		}
		in, out := r.used.Fresh(site.Name+"."+k.suffix), r.used.Fresh(site.Name+"."+k.suffix+"_next")
		r.port(&r.proto.Graph.Input, in, n, cfg)
		r.port(&r.proto.Graph.Output, out, n, cfg)
		r.states = append(r.states, State{Input: in, Output: out})
		for len(p.Output) <= k.output {
			p.Output = append(p.Output, "")
		}
		last := p.Output[k.output]
		if last == "" {
			last = r.used.Fresh(site.Name + "." + k.suffix + "_last")
			p.Output[k.output] = last
		}
		state := in
		finish := &onnxpb.NodeProto{OpType: proto.String("Identity"), Input: []string{last}, Output: []string{out}}
		if a := r.Value(initial); initial != "" && !zero(a) {
			state = r.used.Fresh(site.Name + "." + k.suffix + "_from")
			before = append(before, &onnxpb.NodeProto{OpType: proto.String("Add"), Input: []string{in, initial}, Output: []string{state}})
			finish = &onnxpb.NodeProto{OpType: proto.String("Sub"), Input: []string{last, initial}, Output: []string{out}}
		}
		for len(p.Input) <= k.input {
			p.Input = append(p.Input, "")
		}
		p.Input[k.input] = state
		after = append(after, finish)
	}
	r.insert(p, before, after)
	return nil
}

// insert puts nodes around one; positions of the others are looked up by it.
func (r *rewriting) insert(at *onnxpb.NodeProto, before, after []*onnxpb.NodeProto) {
	g := r.proto.Graph
	k := slices.Index(g.Node, at)
	g.Node = slices.Concat(g.Node[:k:k], before, []*onnxpb.NodeProto{at}, after, g.Node[k+1:])
}

// prune drops the nodes and initializers that nothing reads any more.
func (r *rewriting) prune() {
	g := r.proto.Graph
	live := map[string]bool{}
	for _, v := range g.Output {
		live[v.GetName()] = true
	}
	var read func(n *onnxpb.NodeProto)
	read = func(n *onnxpb.NodeProto) {
		for _, name := range n.Input {
			live[name] = true
		}
		for _, a := range n.Attribute {
			for _, body := range append(slices.Clone(a.Graphs), a.G) {
				for _, inner := range body.GetNode() {
					read(inner)
				}
				for _, v := range body.GetOutput() {
					live[v.GetName()] = true
				}
			}
		}
	}
	var nodes []*onnxpb.NodeProto
	for _, n := range slices.Backward(g.Node) {
		if slices.ContainsFunc(n.Output, func(name string) bool { return name != "" && live[name] }) {
			read(n)
			nodes = append(nodes, n)
		}
	}
	slices.Reverse(nodes)
	g.Node = nodes
	gone := map[string]bool{}
	g.Initializer = slices.DeleteFunc(g.Initializer, func(t *onnxpb.TensorProto) bool {
		gone[t.GetName()] = !live[t.GetName()]
		return gone[t.GetName()]
	})
	g.Input = slices.DeleteFunc(g.Input, func(v *onnxpb.ValueInfoProto) bool { return gone[v.GetName()] })
}

// port declares a state: [1, B, H], or [B, 1, H] where the batch comes first.
func (r *rewriting) port(list *[]*onnxpb.ValueInfoProto, name string, n *onnx.Node, cfg recurrent.Config) {
	batch := named(r.batch)
	x := r.Value(n.Input(recurrent.SlotX))
	if size := x.Dims[1-cfg.Layout]; size != sampleDim || !r.symbolic {
		batch = fixed(int64(size))
	}
	dims := []*onnxpb.TensorShapeProto_Dimension{fixed(1), batch, fixed(int64(cfg.Hidden))}
	if cfg.Layout == 1 {
		dims[0], dims[1] = dims[1], dims[0]
	}
	*list = append(*list, &onnxpb.ValueInfoProto{Name: proto.String(name), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
		TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(x.Type)), Shape: &onnxpb.TensorShapeProto{Dim: dims}}}}})
}

func fixed(size int64) *onnxpb.TensorShapeProto_Dimension {
	return &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: size}}
}

// named is a dim of that name, an unknown one where the name is empty.
func named(name string) *onnxpb.TensorShapeProto_Dimension {
	if name == "" {
		return &onnxpb.TensorShapeProto_Dimension{}
	}
	return &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: name}}
}

func zero(a *onnx.Array) bool {
	v, err := a.Float64s()
	return err == nil && !slices.ContainsFunc(v, func(x float64) bool { return x != 0 })
}
