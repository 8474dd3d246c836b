package recurrent

import (
	"fmt"
	"strconv"

	"github.com/trconvert/trconvert/onnx"
)

// valueKey names a value by the scope that defines it.
type valueKey struct {
	graph *onnx.Graph
	name  string
}

// origins is what stands at the far ends of a value's chain.
type origins struct {
	quantised   *onnx.Node // a DequantizeLinear on the way
	overridable string     // an initializer that callers may replace
	carried     *onnx.Node // the Loop or Scan whose body receives the value
	argument    string     // a function's formal input, with the function's name
	function    string
	input       string     // an input of the main graph
	tensors     []tensorAt // initializers and Constant tensors
}

// tensorAt is a tensor and the value it enters a chain as.
type tensorAt struct {
	at     valueKey
	tensor *onnx.Tensor
}

// maxSteps bounds what is walked through to find the origins and readers of all W together. Real models take some ten thousand
// steps; only a file made for it holds thousands of nodes that share chains of thousands of nodes.
const maxSteps = 2_000_000

// step counts one value looked at; it is false when the bound is reached.
func (v *values) step() bool {
	v.steps++
	return v.steps <= v.limit
}

// exhausted is the error of a model whose chains are beyond maxSteps.
func (v *values) exhausted() error {
	if v.steps <= v.limit {
		return nil
	}
	return &onnx.UnsupportedError{
		File: v.model.File(),
		What: fmt.Sprintf("recurrent nodes: following the chains of their weights takes more than %d steps (fold the constants of the model first)", v.limit),
	}
}

// origins walks from a value through everything it is computed from.
func (v *values) origins(g *onnx.Graph, name string) origins {
	var o origins
	todo, seen := []valueKey{{g, name}}, map[valueKey]bool{}
	for len(todo) > 0 && v.step() {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		def, ok := v.index.Resolve(at.graph, at.name)
		key := valueKey{def.Graph, at.name}
		if !ok || seen[key] {
			continue
		}
		seen[key] = true
		if def.Node == nil {
			v.source(&o, def, key)
			continue
		}
		if t := constantTensor(def.Node); t != nil {
			o.tensors = append(o.tensors, tensorAt{key, t})
		}
		if def.Node.OpType == "DequantizeLinear" {
			o.quantised = def.Node
		}
		for k := len(def.Node.Inputs) - 1; k >= 0; k-- {
			if in := def.Node.Inputs[k]; in != "" {
				todo = append(todo, valueKey{def.Graph, in})
			}
		}
	}
	return o
}

// source notes a value that no node computes.
func (v *values) source(o *origins, def onnx.Def, key valueKey) {
	if def.Tensor != nil {
		o.tensors = append(o.tensors, tensorAt{key, def.Tensor})
		if def.Input != nil && v.model.IRVersion >= 4 {
			o.overridable = key.name
		}
		return
	}
	switch {
	case def.Input == nil:
	case def.Graph.Owner != nil:
		o.carried = def.Graph.Owner
	case def.Graph.Function != nil:
		o.argument, o.function = key.name, strconv.Quote(def.Graph.Function.Domain+"."+def.Graph.Function.Name)
	default:
		o.input = key.name
	}
}

// constantTensor is the tensor of a Constant node, nil for other nodes and other kinds of constants.
func constantTensor(n *onnx.Node) *onnx.Tensor {
	if n.OpType != "Constant" || !isDefaultDomain(n.Domain) {
		return nil
	}
	if a := n.Attr("value"); a != nil {
		return a.T
	}
	return nil
}

// quantised is an integer tensor of at least n elements among the origins.
func (o origins) quantisedTensor(n int64) *onnx.Tensor {
	for _, s := range o.tensors {
		switch s.tensor.Type {
		case onnx.Int8, onnx.Uint8, onnx.Int4, onnx.Uint4, onnx.Int2, onnx.Uint2:
			if s.tensor.Elements() >= n {
				return s.tensor
			}
		}
	}
	return nil
}

// usedElsewhere says whether a tensor that makes up at least a hundredth of W is read by anything but W of the sites that share it.
func (v *values) usedElsewhere(group []*Site) bool {
	mine := map[*onnx.Node]bool{}
	var todo []valueKey
	for _, s := range group {
		mine[s.Node] = true
		for _, t := range s.origins.tensors {
			if 100*t.tensor.Elements() >= s.WParameters() {
				todo = append(todo, t.at)
			}
		}
	}
	seen := map[valueKey]bool{}
	for len(todo) > 0 && v.step() {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[at] {
			continue
		}
		seen[at] = true
		for _, u := range v.index.Uses(at.graph, at.name) {
			if u.Node != nil && mine[u.Node] && u.Slot == SlotW {
				continue
			}
			if u.Node == nil || mine[u.Node] || isCell(u.Node) || len(u.Node.Subgraphs()) > 0 {
				return true
			}
			results := v.results(u)
			if len(results) == 0 { // a node that nobody reads stays as it is
				return true
			}
			todo = append(todo, results...)
		}
	}
	return false
}

// results lists the outputs of a reader that are read themselves.
func (v *values) results(u onnx.Use) []valueKey {
	var out []valueKey
	for _, name := range u.Node.Outputs {
		if name != "" && len(v.index.Uses(u.Graph, name)) > 0 {
			out = append(out, valueKey{u.Graph, name})
		}
	}
	return out
}
