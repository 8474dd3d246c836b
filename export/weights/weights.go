package weights

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// Weight is one weight of a model.
type Weight struct {
	Name   string
	Value  string         // what nodes call the value
	Graph  *onnx.Graph    // where it stands
	Tensor *onnx.Tensor   // the stored numbers
	Stored *export.Stored // nil where they are the value itself
}

// scaleName is the name of the scales of a value that is stored as int8.
func scaleName(name string) string { return name + "/scale" }

// each calls f for the one or two tensors of a weight, with their names.
func (w *Weight) each(f func(name string, t *onnx.Tensor) error) error {
	if err := f(w.Name, w.Tensor); err != nil || w.Stored == nil || w.Stored.Scale == nil {
		return err
	}
	return f(scaleName(w.Name), w.Stored.Scale)
}

// Set is the weights of a model.
type Set struct {
	Model   *onnx.Model
	Weights []Weight // in the order of the model's graphs

	rings    []export.Record       // in place of W
	matrices []export.MatrixRecord // in place of other matrices

	sites    []site
	byTensor map[*onnx.Tensor]*Weight
}

// site is a recurrent node with the weights that its operands are made of.
type site struct {
	name     string
	config   recurrent.Config
	operands map[string]*Weight
}

// operands are the inputs of recurrent nodes that are weights, by slot.
var operands = map[int]string{
	recurrent.SlotW: "W", recurrent.SlotR: "R", recurrent.SlotB: "bias", recurrent.SlotP: "peepholes", recurrent.SlotInitialH: "initial_h", recurrent.SlotInitialC: "initial_c",
}

// Of lists the weights of a model. No weight is read.
func Of(m *onnx.Model) (*Set, error) {
	s := &Set{Model: m, byTensor: map[*onnx.Tensor]*Weight{}}
	stored, err := export.StoredTensors(m)
	if err != nil {
		return nil, err
	}
	if s.rings, err = export.Records(m); err != nil {
		return nil, err
	}
	if s.matrices, err = export.Matrices(m); err != nil {
		return nil, err
	}
	s.collect(stored)
	if err := s.name(); err != nil {
		return nil, err
	}
	return s, nil
}

// collect lists the weights without their names.
func (s *Set) collect(stored []export.Stored) {
	narrow := map[*onnx.Tensor]*export.Stored{}
	scales := map[*onnx.Tensor]*export.Stored{}
	for k := range stored {
		narrow[stored[k].Tensor] = &stored[k]
		if stored[k].Scale != nil {
			scales[stored[k].Scale] = &stored[k]
		}
	}
	add := func(g *onnx.Graph, value string, t *onnx.Tensor) {
		w := Weight{Value: value, Graph: g, Tensor: t, Stored: narrow[t]}
		switch {
		case w.Stored != nil:
			w.Value = w.Stored.Name
		case scales[t] != nil || !floating(t.Type) || t.Elements() == 0:
			return
		}
		s.Weights = append(s.Weights, w)
	}
	for _, g := range s.Model.Scopes() {
		each(g, func(value string, t *onnx.Tensor) { add(g, value, t) })
	}
	for k := range s.Weights {
		w := &s.Weights[k]
		s.byTensor[w.Tensor] = w
		if w.Stored != nil && w.Stored.Scale != nil {
			s.byTensor[w.Stored.Scale] = w
		}
	}
}

// each calls f for the tensors of a graph that nodes read by name: initializers and the values of Constant nodes.
func each(g *onnx.Graph, f func(value string, t *onnx.Tensor)) {
	for _, t := range g.Initializers {
		f(t.Name, t)
	}
	for _, n := range g.Nodes {
		if t := constant(n); t != nil {
			f(n.Output(0), t)
		}
	}
}

// constant is the tensor of a Constant node, nil of others.
func constant(n *onnx.Node) *onnx.Tensor {
	if n.OpType != "Constant" || n.Domain != "" {
		return nil
	}
	if a := n.Attr("value"); a != nil {
		return a.T
	}
	return nil
}

func floating(t onnx.DataType) bool {
	return slices.Contains([]onnx.DataType{onnx.Float, onnx.Double, onnx.Float16, onnx.BFloat16}, t)
}

// name gives every weight its name.
func (s *Set) name() error {
	wanted := map[*Weight]string{}
	want := func(w *Weight, name string) {
		if w != nil && wanted[w] == "" {
			wanted[w] = name
		}
	}
	values := map[string]*Weight{} // of the main graph and of functions' bodies, where cores stand under names that are unique
	for k := range s.Weights {
		if w := &s.Weights[k]; values[w.Value] == nil {
			values[w.Value] = w
		}
	}
	for _, r := range s.records() {
		for k, core := range r.Cores {
			want(values[core], r.Sites[0]+"/core"+strconv.Itoa(k))
		}
	}
	if err := s.nameOperands(want); err != nil {
		return err
	}
	taken := map[string]bool{}
	for k := range s.Weights {
		w := &s.Weights[k]
		base := wanted[w]
		if base == "" {
			base = w.Value
			if path := w.Graph.Path(); path != "" {
				base = path + "/" + base
			}
		}
		w.Name = fresh(clean(base), taken)
	}
	return nil
}

// records are those of all factors.
func (s *Set) records() []export.Record {
	all := slices.Clone(s.rings)
	for _, r := range s.matrices {
		all = append(all, r.Record)
	}
	return all
}

// nameOperands names the tensors behind the operands of recurrent nodes.
func (s *Set) nameOperands(want func(*Weight, string)) error {
	ix := onnx.NewIndex(s.Model)
	ev := onnx.NewEvaluator(s.Model, ix, 0)
	for _, n := range recurrent.Nodes(s.Model) {
		if n.Node.Domain != "" || recurrent.Op(n.Node.OpType).Gates() == 0 {
			continue
		}
		config, err := recurrent.ParseConfig(n.Node, n.Node.Graph.Opset(""))
		if err != nil {
			return fmt.Errorf("weights: site %q: %w", n.Name, err)
		}
		at := site{name: n.Name, config: config, operands: map[string]*Weight{}}
		for slot := range n.Node.Inputs {
			operand, ok := operands[slot]
			if !ok {
				continue
			}
			if w := s.alone(ev, n.Node, slot); w != nil {
				want(w, n.Name+"/"+operand)
				at.operands[operand] = w
			}
		}
		s.sites = append(s.sites, at)
	}
	return nil
}

// alone is the weight that alone an operand is made of, nil where there is none or more than one.
func (s *Set) alone(ev *onnx.Evaluator, n *onnx.Node, slot int) *Weight {
	name := n.Input(slot)
	if name == "" {
		return nil
	}
	var found *Weight
	for _, t := range ev.Sources(n.Graph, name) {
		switch w := s.byTensor[t]; {
		case w == nil || w == found:
		case found != nil:
			return nil
		default:
			found = w
		}
	}
	return found
}

// clean makes of a name one that archives take as that of a member.
func clean(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\\' {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(name, string(utf8.RuneError)))
	parts := strings.Split(strings.TrimLeft(name, "/"), "/")
	for k, p := range parts {
		if p == ".." {
			parts[k] = "__"
		}
	}
	name = strings.Join(parts, "/")
	if len(name) > 1 && name[1] == ':' {
		name = name[:1] + "_" + name[2:]
	}
	return name
}

// reserved are names that the containers have for themselves.
var reserved = []string{"", "__metadata__"}

// fresh is base, or base#2, base#3, … where that is taken. The names of scales are taken along.
func fresh(base string, taken map[string]bool) string {
	name := base
	for k := 2; taken[name] || taken[scaleName(name)] || slices.Contains(reserved, name); k++ {
		name = base + "#" + strconv.Itoa(k)
	}
	taken[name], taken[scaleName(name)] = true, true
	return name
}
