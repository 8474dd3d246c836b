package source

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/runtime"
)

// toProto gives the model as generated types.
func toProto(m *onnx.Model) (*onnxpb.ModelProto, error) {
	var b bytes.Buffer
	if _, err := m.Encode(&b); err != nil {
		return nil, err
	}
	p := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(b.Bytes(), p); err != nil {
		return nil, fmt.Errorf("export: source code: %w", err)
	}
	for k, t := range p.GetGraph().GetInitializer() {
		if t.GetDataLocation() != onnxpb.TensorProto_EXTERNAL {
			continue
		}
		a, err := m.Graph.Initializers[k].Array()
		if err != nil {
			return nil, err
		}
		if t.RawData, err = a.Bytes(); err != nil {
			return nil, err
		}
		t.DataLocation, t.ExternalData = nil, nil
	}
	return p, nil
}

// maxInlined bounds the rounds of inline: branches within branches.
const maxInlined = 64

// inline puts the branch that is taken in place of every If of the main graph whose condition is constant, for the dims and the fixed inputs of the options. A model
// without such nodes is returned as it is.
func inline(ctx context.Context, m *onnx.Model, o Options) (*onnx.Model, error) {
	for range maxInlined {
		g, _, err := analyse(m, o)
		if err != nil {
			return nil, err
		}
		var ifs []*onnx.Node
		var conditions []string
		for _, n := range g.nodes {
			if n.OpType == "If" && n.Domain == "" && g.constant[n.Input(0)] && !g.folded(n) {
				ifs = append(ifs, n)
				conditions = append(conditions, n.Input(0))
			}
		}
		if len(ifs) == 0 {
			return m, nil
		}
		taken, err := g.evaluate(ctx, conditions, o)
		if err != nil {
			return nil, err
		}
		p, err := toProto(m)
		if err != nil {
			u := &UnsupportedError{}
			u.Add("If: "+err.Error(), ifs[0].String())
			return nil, u
		}
		in := &inliner{graph: p.Graph, used: Names{}}
		in.collect(p.Graph)
		for k := len(ifs) - 1; k >= 0; k-- { // from the end, so that positions stay
			name := "else_branch"
			if taken[k] {
				name = "then_branch"
			}
			if err := in.branch(ifs[k].Index, name); err != nil {
				return nil, fmt.Errorf("export: source code: %v: %w", ifs[k], err)
			}
		}
		p.Graph.ValueInfo = nil
		if m, err = onnx.FromProto(m.File(), p); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("export: source code: branches of If are nested more than %d deep", maxInlined)
}

// evaluate computes constant conditions.
func (g *graph) evaluate(ctx context.Context, conditions []string, o Options) ([]bool, error) {
	feeds, err := sampleFeeds(g.inputs, o)
	if err != nil {
		return nil, err
	}
	names := slices.Clone(conditions)
	slices.Sort(names)
	p, err := runtime.Compile(ctx, g.model, runtime.Options{Outputs: slices.Compact(names)})
	if err != nil {
		return nil, err
	}
	values, err := p.Run(ctx, feeds)
	if err != nil {
		return nil, fmt.Errorf("export: source code: the model does not run with the dims chosen, which may need to be given: %w", err)
	}
	taken := make([]bool, len(conditions))
	for k, name := range conditions {
		if v, ok := values[name].Data.([]bool); ok && len(v) > 0 {
			taken[k] = v[0]
		}
	}
	return taken, nil
}

// inliner edits the main graph.
type inliner struct {
	graph *onnxpb.GraphProto
	used  Names // in all scopes
}

func (in *inliner) collect(g *onnxpb.GraphProto) {
	for _, v := range g.Input {
		in.used[v.GetName()] = true
	}
	for _, t := range g.Initializer {
		in.used[t.GetName()] = true
	}
	for _, n := range g.Node {
		for _, name := range n.Output {
			in.used[name] = true
		}
		for _, a := range n.Attribute {
			if a.G != nil {
				in.collect(a.G)
			}
		}
	}
}

// branch replaces node at by the nodes of one of its bodies, under names that nothing else has.
func (in *inliner) branch(at int, which string) error {
	n := in.graph.Node[at]
	k := slices.IndexFunc(n.Attribute, func(a *onnxpb.AttributeProto) bool { return a.GetName() == which && a.G != nil })
	if k < 0 {
		return fmt.Errorf("attribute %q is absent", which)
	}
	body := n.Attribute[k].G
	if len(body.Output) < len(n.Output) || len(body.SparseInitializer) > 0 {
		return fmt.Errorf("%s gives %d values for %d outputs", which, len(body.Output), len(n.Output))
	}
	names := map[string]string{}
	for _, t := range body.Initializer {
		names[t.GetName()] = in.used.Fresh(t.GetName())
		t.Name = proto.String(names[t.GetName()])
		in.graph.Initializer = append(in.graph.Initializer, t)
	}
	for _, b := range body.Node {
		for _, name := range b.Output {
			if name != "" {
				names[name] = in.used.Fresh(name)
			}
		}
	}
	rename(body.Node, names)
	nodes := body.Node
	for k, name := range n.Output {
		if name == "" {
			continue
		}
		from := body.Output[k].GetName()
		if inner, ok := names[from]; ok {
			from = inner
		}
		nodes = append(nodes, &onnxpb.NodeProto{OpType: proto.String("Identity"), Input: []string{from}, Output: []string{name}})
	}
	in.graph.Node = slices.Concat(in.graph.Node[:at:at], nodes, in.graph.Node[at+1:])
	return nil
}

// rename changes the names of values, also where bodies read or give them.
func rename(nodes []*onnxpb.NodeProto, names map[string]string) {
	change := func(list []string) {
		for k, name := range list {
			if to, ok := names[name]; ok {
				list[k] = to
			}
		}
	}
	for _, n := range nodes {
		change(n.Input)
		change(n.Output)
		for _, a := range n.Attribute {
			if a.G == nil {
				continue
			}
			rename(a.G.Node, names)
			for _, v := range a.G.Output {
				if to, ok := names[v.GetName()]; ok {
					v.Name = proto.String(to)
				}
			}
		}
	}
}
