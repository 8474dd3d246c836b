package convert

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/runtime"
)

// overrideName stands for W where it is overridden.
const overrideName = "trconvert/W in memory"

// regionShapes are the (steps, batch) pairs that a layer is run on alone.
var regionShapes = [][2]int{{5, 3}, {1, 1}}

// checkRegion runs one changed layer alone, without the rest of its model: the original node with Ŵ for W, and what the written file made of
// it, on random X, without initial states and sequence lengths (which no conversion touches). It reaches layers in branches that the
// inputs of the whole model did not enter. A layer whose R, B or P is not constant cannot be cut out and is left to the whole model.
func (c *conversion) checkRegion(ctx context.Context, written *onnx.Model, ov override, all []override, cmp *comparer) error {
	s := ov.site
	x := s.Node.Input(recurrent.SlotX)
	before, err := cutRegion(ctx, c.held(), c.heldNode(s.Node), x, ov.value.Type, true)
	if err != nil {
		c.warn("layer-not-run", s.Name, "the layer was not run alone: %v", err)
		return nil
	}
	node := nodeOf(written, s.Name)
	if node == nil {
		return fmt.Errorf("the written file has lost the node %v", s.Node)
	}
	after, err := cutRegion(ctx, written, node, x, ov.value.Type, false)
	if err != nil {
		return fmt.Errorf("the written layer cannot be cut out: %w", err)
	}
	var own []override // of this node
	for _, o := range all {
		if o.node == s.Node {
			own = append(own, o)
		}
	}
	want, err := compileRegion(ctx, before, c.o.Threads, own...)
	if err != nil {
		return err
	}
	got, err := compileRegion(ctx, after, c.o.Threads)
	if err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(0x7265_6769_6f6e, 0))
	part := newComparer()
	unread := make(map[string]bool) // outputs that the written node has no more, since nothing reads them
	for _, out := range s.Node.Outputs {
		unread[out] = !slices.Contains(node.Outputs, out)
	}
	for _, shape := range regionShapes {
		feed, err := regionFeed(s, x, ov.value.Type, shape, rng)
		if err != nil {
			return err
		}
		a, err := got.Run(ctx, feed)
		if err != nil {
			return fmt.Errorf("the written layer: %w", err)
		}
		b, err := want.Run(ctx, feed)
		if err != nil {
			return fmt.Errorf("the original layer: %w", err)
		}
		if err := part.add(a, b, unread); err != nil {
			return err
		}
	}
	cmp.inputs += part.inputs
	cmp.merge(s.Name+": ", part)
	return nil
}

func regionFeed(s *recurrent.Site, x string, t onnx.DataType, shape [2]int, rng *rand.Rand) (map[string]*onnx.Array, error) {
	dims := []int{shape[0], shape[1], s.Input}
	if s.Layout == 1 {
		dims[0], dims[1] = dims[1], dims[0]
	}
	v := make([]float64, dims[0]*dims[1]*dims[2])
	for i := range v {
		v[i] = signed(rng)
	}
	a, err := narrow(t, dims, v)
	return map[string]*onnx.Array{x: a}, err
}

// compileRegion compiles a cut region, with other operands of its recurrent node (the last one) where there are some.
func compileRegion(ctx context.Context, m *onnx.Model, threads int, overrides ...override) (*runtime.Program, error) {
	o := runtime.Options{Threads: threads}
	for _, ov := range overrides {
		o.Overrides = append(o.Overrides, runtime.Override{Node: m.Graph.Nodes[len(m.Graph.Nodes)-1], Slot: ov.slot, Value: ov.value})
	}
	return runtime.Compile(ctx, m, o)
}

// cutRegion makes a model of its own that computes the recurrent node n from x alone: n, the nodes between x and n, and everything constant as
// initializers. With withoutW the W initializer is an empty stand-in for an override.
func cutRegion(ctx context.Context, m *onnx.Model, n *onnx.Node, x string, elem onnx.DataType, withoutW bool) (*onnx.Model, error) {
	ix := onnx.NewIndex(m)
	r := &region{m: m, ix: ix, ev: onnx.NewEvaluator(m, ix, 0), x: x, have: map[string]bool{"": true, x: true}, graph: &onnxpb.GraphProto{Name: proto.String("layer")}}
	p, err := nodeProto(n)
	if err != nil {
		return nil, err
	}
	for slot, name := range n.Inputs {
		switch slot {
		case recurrent.SlotSequenceLens, recurrent.SlotInitialH, recurrent.SlotInitialC:
			p.Input[slot] = ""
			continue
		case recurrent.SlotW:
			if withoutW {
				p.Input[slot] = overrideName
				r.graph.Initializer = append(r.graph.Initializer, &onnxpb.TensorProto{
					Name: proto.String(overrideName), DataType: proto.Int32(int32(elem)), Dims: []int64{0},
				})
				continue
			}
		}
		if err := r.need(ctx, n.Graph, name); err != nil {
			return nil, err
		}
	}
	r.graph.Node = append(r.graph.Node, p)
	r.graph.Input = []*onnxpb.ValueInfoProto{valueInfo(x, elem)}
	for _, out := range n.Outputs {
		if out != "" {
			r.graph.Output = append(r.graph.Output, valueInfo(out, elem))
		}
	}
	model := &onnxpb.ModelProto{IrVersion: proto.Int64(max(4, m.IRVersion)), Graph: r.graph}
	for _, o := range m.Opsets {
		model.OpsetImport = append(model.OpsetImport, &onnxpb.OperatorSetIdProto{Domain: proto.String(o.Domain), Version: proto.Int64(o.Version)})
	}
	return onnx.FromProto("layer", model)
}

// region collects what a cut needs, in topological order.
type region struct {
	m     *onnx.Model
	ix    *onnx.Index
	ev    *onnx.Evaluator
	x     string
	have  map[string]bool
	graph *onnxpb.GraphProto
}

// need adds whatever computes a value as seen from scope g.
func (r *region) need(ctx context.Context, g *onnx.Graph, name string) error {
	if r.have[name] {
		return nil
	}
	r.have[name] = true
	if ok, _ := r.ev.Constant(g, name); ok {
		a, err := r.ev.Eval(ctx, g, name)
		if err != nil {
			return err
		}
		raw, err := binary.Append(nil, binary.LittleEndian, a.Data)
		if err != nil {
			return fmt.Errorf("value %q: %w", name, err)
		}
		t := &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(int32(a.Type)), RawData: raw}
		for _, d := range a.Dims {
			t.Dims = append(t.Dims, int64(d))
		}
		r.graph.Initializer = append(r.graph.Initializer, t)
		return nil
	}
	def, ok := r.ix.Resolve(g, name)
	if !ok || def.Node == nil {
		return fmt.Errorf("value %q is not constant and depends on more than the layer's input", name)
	}
	for _, in := range def.Node.Inputs {
		if err := r.need(ctx, def.Graph, in); err != nil {
			return err
		}
	}
	p, err := nodeProto(def.Node)
	if err != nil {
		return err
	}
	for _, out := range def.Node.Outputs {
		r.have[out] = true
	}
	r.graph.Node = append(r.graph.Node, p)
	return nil
}

func valueInfo(name string, elem onnx.DataType) *onnxpb.ValueInfoProto {
	return &onnxpb.ValueInfoProto{
		Name: proto.String(name),
		Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(elem))}}},
	}
}

// nodeProto writes a node from its view. Nodes with bodies or tensors in their attributes do not stand between X and a recurrent node of ours.
func nodeProto(n *onnx.Node) (*onnxpb.NodeProto, error) {
	p := &onnxpb.NodeProto{
		Name: proto.String(n.Name), OpType: proto.String(n.OpType), Domain: proto.String(n.Domain),
		Input: slices.Clone(n.Inputs), Output: slices.Clone(n.Outputs),
	}
	for _, a := range n.Attributes {
		q := &onnxpb.AttributeProto{Name: proto.String(a.Name), Type: onnxpb.AttributeProto_AttributeType(a.Type).Enum()}
		switch {
		case a.RefName != "":
			return nil, fmt.Errorf("%v: attribute %q is an argument of the function around it", n, a.Name)
		case a.Type == onnx.AttrFloat:
			q.F = proto.Float32(a.F)
		case a.Type == onnx.AttrInt:
			q.I = proto.Int64(a.I)
		case a.Type == onnx.AttrString:
			q.S = a.S
		case a.Type == onnx.AttrFloats:
			q.Floats = a.Floats
		case a.Type == onnx.AttrInts:
			q.Ints = a.Ints
		case a.Type == onnx.AttrStrings:
			q.Strings = a.Strings
		default:
			return nil, fmt.Errorf("%v: attribute %q has a type that is not cut out", n, a.Name)
		}
		p.Attribute = append(p.Attribute, q)
	}
	return p, nil
}
