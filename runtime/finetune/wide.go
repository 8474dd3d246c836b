package finetune

import (
	"maps"
	"slices"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
)

// widened is a model with a float32 copy of some values of its main graph, whose names it gives: what a loss reads of values of 16 bits. The gradients of the copies, and so all others,
// keep the precision of float32.
func widened(m *onnx.Model, values []string) (wide *onnx.Model, names map[string]string) {
	g := *m.Graph
	g.Nodes = slices.Clone(g.Nodes)
	taken := g.Defined()
	names = map[string]string{}
	for _, v := range values {
		name := v + ".float32"
		for taken[name] {
			name += "_"
		}
		taken[name] = true
		names[v] = name
		g.Nodes = append(g.Nodes, &onnx.Node{
			OpType: "Cast", Inputs: []string{v}, Outputs: []string{name}, Graph: &g, Index: len(g.Nodes),
			Attributes: []*onnx.Attribute{{Name: "to", Type: onnx.AttrInt, I: int64(onnx.Float)}},
		})
	}
	return derived(m, &g), names
}

// derived is a model with another main graph, which shares everything else.
func derived(m *onnx.Model, g *onnx.Graph) *onnx.Model {
	return &onnx.Model{IRVersion: m.IRVersion, Opsets: m.Opsets, Functions: m.Functions, Graph: g}
}

// outputs are the names under which a program computes what objectives read, and the states.
func (e *engine) outputs() []string {
	var list []string
	for _, v := range e.values {
		if w := e.wide[v]; w != "" {
			v = w
		}
		list = append(list, v)
	}
	return union(list, slices.Sorted(maps.Keys(e.states)))
}

// named gives computed values the names that objectives know them by.
func (e *engine) named(out map[string]*runtime.Tensor) map[string]*runtime.Tensor {
	if len(e.wide) == 0 {
		return out
	}
	all := maps.Clone(out)
	for v, w := range e.wide {
		all[v] = out[w]
	}
	return all
}

// computed gives gradients of values the names of what was computed for them.
func (e *engine) computed(grads map[string]*runtime.Tensor) map[string]*runtime.Tensor {
	if len(e.wide) == 0 {
		return grads
	}
	all := maps.Clone(grads)
	for v, w := range e.wide {
		if g := all[v]; g != nil {
			delete(all, v)
			all[w] = g
		}
	}
	return all
}
