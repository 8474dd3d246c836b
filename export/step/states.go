package step

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// slot is a state of a recurrent node.
type slot struct {
	node          *onnx.Node
	suffix        string // for names: h or c
	input, output int    // of the node: initial_h and Y_h, or initial_c and Y_c
}

func slots(n *onnx.Node) []slot {
	list := []slot{{n, "h", recurrent.SlotInitialH, 1}}
	if n.OpType == string(recurrent.LSTM) {
		list = append(list, slot{n, "c", recurrent.SlotInitialC, 2})
	}
	return list
}

// found is what the graph shows, or the caller says, of a model's states.
type found struct {
	nodes  []recurrent.Named
	states []State
	open   []slot // states of nodes that no pair serves
}

// complete says whether the states of all recurrent nodes are inputs and outputs of the model. Nodes in branches of If do not count: where some branch has states, others are for
// calls without.
func (f *found) complete() bool {
	return len(f.states) > 0 && !slices.ContainsFunc(f.open, func(s slot) bool { return s.node.Graph.Owner == nil })
}

// findStates pairs inputs that become initial states with outputs that the last states become, through nodes that only move elements. Pairs that the caller gives come first.
func findStates(m *onnx.Model, o Options) (*found, error) {
	w := &walker{index: onnx.NewIndex(m), model: m}
	f := &found{nodes: recurrent.Nodes(m)}
	if err := f.given(m, o); err != nil {
		return nil, err
	}
	outputs := map[string]map[place]bool{} // what each output is made of
	for _, v := range m.Graph.Outputs {
		outputs[v.Name] = w.sources(m.Graph, v.Name)
	}
	for _, n := range f.nodes {
		for _, k := range slots(n.Node) {
			ins := w.inputs(w.sources(n.Node.Graph, n.Node.Input(k.input)))
			if !f.pair(m, k, ins, outputs) {
				f.open = append(f.open, k)
			}
		}
	}
	return f, nil
}

// given takes the pairs of the options.
func (f *found) given(m *onnx.Model, o Options) error {
	inputs := m.Graph.TrueInputs()
	for _, out := range m.Graph.Outputs {
		in, ok := o.States[out.Name]
		if !ok {
			continue
		}
		k := slices.IndexFunc(inputs, func(v *onnx.ValueInfo) bool { return v.Name == in })
		if k < 0 {
			return fmt.Errorf("export: one time step: state %s=%s: the model has no input of that name", strconv.Quote(out.Name), strconv.Quote(in))
		}
		if f.paired(in) {
			return fmt.Errorf("export: one time step: input %s takes back two outputs", strconv.Quote(in))
		}
		if !fits(inputs[k], out) {
			return fmt.Errorf("export: one time step: state %s=%s: the two have other types or dims", strconv.Quote(out.Name), strconv.Quote(in))
		}
		f.states = append(f.states, State{Input: in, Output: out.Name})
	}
	if len(f.states) < len(o.States) {
		for name := range o.States {
			if !slices.ContainsFunc(f.states, func(s State) bool { return s.Output == name }) {
				return fmt.Errorf("export: one time step: state %s: the model has no output of that name", strconv.Quote(name))
			}
		}
	}
	return nil
}

// paired says whether an input is a state.
func (f *found) paired(in string) bool {
	return slices.ContainsFunc(f.states, func(s State) bool { return s.Input == in })
}

// pair finds the output for the inputs of a state; all of a state's inputs must have one.
func (f *found) pair(m *onnx.Model, k slot, ins []string, outputs map[string]map[place]bool) bool {
	for _, in := range ins {
		if f.paired(in) {
			continue
		}
		v := m.Graph.Inputs[slices.IndexFunc(m.Graph.Inputs, func(v *onnx.ValueInfo) bool { return v.Name == in })]
		var candidates []string
		for _, y := range []int{k.output, 0} { // Y_h, or Y where that has one step
			for _, out := range m.Graph.Outputs {
				if y == 0 && k.output == 2 {
					break
				}
				taken := slices.ContainsFunc(f.states, func(s State) bool { return s.Output == out.Name })
				if !taken && outputs[out.Name][place{k.node.Graph, k.node.Output(y)}] && fits(v, out) {
					candidates = append(candidates, out.Name)
				}
			}
			if len(candidates) > 0 {
				break
			}
		}
		if len(candidates) != 1 {
			return false
		}
		f.states = append(f.states, State{Input: in, Output: candidates[0]})
	}
	return len(ins) > 0
}

// fits says whether an output can be taken back by an input, as far as declarations tell.
func fits(in, out *onnx.ValueInfo) bool {
	a, b := in.Type, out.Type
	if a == nil || b == nil {
		return true
	}
	if a.Kind != b.Kind || a.Elem != b.Elem && a.Elem != onnx.Undefined && b.Elem != onnx.Undefined {
		return false
	}
	if !a.HasShape || !b.HasShape {
		return true
	}
	if len(a.Shape) != len(b.Shape) {
		return false
	}
	for k := range a.Shape {
		if x, y := a.Shape[k], b.Shape[k]; x.Known && y.Known && x.Value != y.Value {
			return false
		}
	}
	return true
}

// place names a value by the scope that defines it.
type place struct {
	scope *onnx.Graph
	name  string
}

// walker follows values backwards.
type walker struct {
	index *onnx.Index
	model *onnx.Model
}

// movers lists operators that only move elements, with their operands that hold elements; −1 stands for all.
var movers = map[string]int{
	"Identity": 0, "Squeeze": 0, "Unsqueeze": 0, "Reshape": 0, "Flatten": 0, "Transpose": 0, "Slice": 0, "Gather": 0, "Split": 0, "Concat": -1, "Dropout": 0, "Expand": 0, "Cast": 0,
}

// sources are all values that a value is made of by moving elements, itself among them.
func (w *walker) sources(g *onnx.Graph, name string) map[place]bool {
	seen := map[place]bool{}
	var walk func(g *onnx.Graph, name string)
	walk = func(g *onnx.Graph, name string) {
		d, ok := w.index.Resolve(g, name)
		if name == "" || !ok || seen[place{d.Graph, name}] {
			return
		}
		seen[place{d.Graph, name}] = true
		n := d.Node
		switch {
		case n == nil || n.Domain != "":
		case n.OpType == "If":
			k := slices.Index(n.Outputs, name)
			for _, body := range n.Subgraphs() {
				if k < len(body.Outputs) {
					walk(body, body.Outputs[k].Name)
				}
			}
		default:
			operand, moves := movers[n.OpType]
			for k, in := range n.Inputs {
				if moves && (operand < 0 || operand == k) {
					walk(n.Graph, in)
				}
			}
		}
	}
	walk(g, name)
	return seen
}

// inputs are the true inputs of the model among places, in the model's order.
func (w *walker) inputs(places map[place]bool) []string {
	var names []string
	for _, v := range w.model.Graph.TrueInputs() {
		if places[place{w.model.Graph, v.Name}] {
			names = append(names, v.Name)
		}
	}
	return names
}
