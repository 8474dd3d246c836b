package source

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
)

// graph is the main graph of a model with the value of everything that is live, for the dims chosen.
type graph struct {
	model           *onnx.Model
	inputs, outputs []*onnx.ValueInfo
	nodes           []*onnx.Node           // live ones
	values          map[string]*onnx.Array // by name, for the sample inputs
	constant        map[string]bool        // by name: does not depend on inputs
	depends         map[string][]string    // operands of the node that computes a value
	live            map[string]bool        // names that are read
	feeds           map[string]*onnx.Array // of the sample, fixed inputs among them
}

// FirstOutput is the name of the first output that has one.
func FirstOutput(n *onnx.Node) string {
	return n.Output(max(0, slices.IndexFunc(n.Outputs, func(s string) bool { return s != "" })))
}

// folded says whether a node computes constants.
func (g *graph) folded(n *onnx.Node) bool { return g.constant[FirstOutput(n)] }

// lowered says whether there is a lowering for the operator of a node.
func lowered(n *onnx.Node) bool { return n.Domain == "" && lowerings[n.OpType] != nil }

// analyse finds out what is live and what is constant.
func analyse(m *onnx.Model, o Options) (g *graph, names []string, err error) {
	if err := onnx.Check(m); err != nil {
		return nil, nil, err
	}
	g = &graph{model: m, outputs: m.Graph.Outputs, constant: map[string]bool{}, depends: map[string][]string{}}
	known := map[string]bool{"": true}
	for _, t := range m.Graph.Initializers {
		g.constant[t.Name], known[t.Name] = true, true
	}
	for name := range o.Fixed {
		if !slices.ContainsFunc(m.Graph.Inputs, func(v *onnx.ValueInfo) bool { return v.Name == name }) || known[name] {
			return nil, nil, fmt.Errorf("export: source code: fixed input %q: the model has no such input", name)
		}
	}
	for _, v := range m.Graph.TrueInputs() {
		known[v.Name] = true
		if o.Fixed[v.Name] != nil {
			g.constant[v.Name] = true
		} else {
			g.inputs = append(g.inputs, v)
		}
	}
	live := map[string]bool{}
	g.live = live
	for _, v := range g.outputs {
		live[v.Name] = true
	}
	for k := len(m.Graph.Nodes) - 1; k >= 0; k-- {
		n := m.Graph.Nodes[k]
		if !slices.ContainsFunc(n.Outputs, func(s string) bool { return s != "" && live[s] }) {
			continue
		}
		g.nodes = append(g.nodes, n)
		for _, name := range n.Inputs {
			live[name] = true
		}
		for _, b := range n.Subgraphs() {
			free(b, live)
		}
	}
	slices.Reverse(g.nodes)
	for _, n := range g.nodes {
		fixed := !random[n.OpType]
		for _, name := range n.Inputs {
			fixed = fixed && (name == "" || g.constant[name])
		}
		if len(n.Subgraphs()) > 0 {
			outer := map[string]bool{}
			for _, b := range n.Subgraphs() {
				free(b, outer)
			}
			for name := range outer {
				fixed = fixed && (!known[name] || g.constant[name])
			}
		}
		fixed = fixed || n.OpType == "Shape" || n.OpType == "Size"
		for _, name := range n.Outputs {
			if name != "" {
				known[name] = true
				g.constant[name] = fixed
				g.depends[name] = n.Inputs
				if live[name] {
					names = append(names, name)
				}
			}
		}
	}
	return g, names, nil
}

// prepare puts branches of If in their place and runs the model once.
func prepare(ctx context.Context, m *onnx.Model, o Options) (*graph, error) {
	m, err := inline(ctx, m, o)
	if err != nil {
		return nil, err
	}
	return newGraph(ctx, m, o)
}

// newGraph runs the model once.
func newGraph(ctx context.Context, m *onnx.Model, o Options) (*graph, error) {
	g, names, err := analyse(m, o)
	if err != nil {
		return nil, err
	}
	if err := g.refuse(); err != nil {
		return nil, err
	}
	feeds, err := sampleFeeds(g.inputs, o)
	if err != nil {
		return nil, err
	}
	g.feeds = feeds
	run := append(slices.Clone(names), outputNames(g.outputs)...)
	slices.Sort(run)
	p, err := runtime.Compile(ctx, m, runtime.Options{Outputs: slices.Compact(run)})
	if err != nil {
		return nil, err
	}
	if g.values, err = p.Run(ctx, feeds); err != nil {
		return nil, fmt.Errorf("export: source code: the model does not run with the dims chosen, which may need to be given: %w", err)
	}
	maps.Copy(g.values, feeds)
	for _, t := range m.Graph.Initializers {
		if g.live[t.Name] {
			if g.values[t.Name], err = t.Array(); err != nil {
				return nil, err
			}
		}
	}
	return g, nil
}

// sample is the call with the feeds that gives out.
func (g *graph) sample(out map[string]*onnx.Array) Sample {
	s := Sample{}
	for _, v := range g.inputs {
		s.Inputs = append(s.Inputs, g.feeds[v.Name])
	}
	for _, v := range g.outputs {
		s.Outputs = append(s.Outputs, out[v.Name])
	}
	return s
}

var random = map[string]bool{
	"RandomNormal": true, "RandomNormalLike": true, "RandomUniform": true, "RandomUniformLike": true, "Multinomial": true, "Bernoulli": true,
}

func outputNames(vs []*onnx.ValueInfo) (names []string) {
	for _, v := range vs {
		names = append(names, v.Name)
	}
	return names
}

// free adds the names that a body reads from outside, among others.
func free(b *onnx.Graph, names map[string]bool) {
	for _, v := range b.Outputs {
		names[v.Name] = true
	}
	for _, n := range b.Nodes {
		for _, name := range n.Inputs {
			names[name] = true
		}
		for _, inner := range n.Subgraphs() {
			free(inner, names)
		}
	}
}

// refuse reports the operators that nothing below can lower, before anything is computed.
func (g *graph) refuse() error {
	u := &UnsupportedError{}
	for _, n := range g.nodes {
		if g.folded(n) {
			continue
		}
		if !lowered(n) {
			u.Add(opName(n)+": operator", n.String())
		}
	}
	if u.Counts != nil {
		return u
	}
	return nil
}
