package convert

import (
	"fmt"
	"slices"

	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// role is what a stored tensor is in a model that is trained.
type role string

const (
	roleCore  role = "core"  // of a ring
	roleSite  role = "site"  // another weight of a recurrent layer: R, biases, peepholes, and W where it is dense
	roleHead  role = "head"  // behind the last recurrent layer
	roleOther role = "other" // elsewhere
)

// Trainings are what can be trained: all weights (the default), the cores of the factored layers, those and the other weights of these layers, or what stands behind the
// last recurrent layer.
var Trainings = []string{"all", "cores", "site", "head"}

// weight is a stored tensor that training may change.
type weight struct {
	tensor *onnx.Tensor
	role   role
	ring   bool // of a factored layer
}

// bias says whether it is a vector (for recurrent layers, one for each direction), which weight decay leaves alone.
func (w weight) bias() bool {
	longest, n := int64(1), w.tensor.Elements()
	for _, d := range w.tensor.Dims {
		longest = max(longest, d)
	}
	return w.role != roleCore && (longest == n || w.role == roleSite && len(w.tensor.Dims) == 2 && w.tensor.Dims[0] <= 2)
}

// weightSlots lists by operator the inputs that are weights where they are constant. Running statistics, scales of quantisation, bounds and initial states are none.
var weightSlots = map[string][]int{
	"MatMul": {0, 1}, "Gemm": {0, 1, 2}, "Conv": {1, 2}, "ConvTranspose": {1, 2}, "Gather": {0}, "PRelu": {1},
	"BatchNormalization": {1, 2}, "InstanceNormalization": {1, 2}, "LayerNormalization": {1, 2}, "GroupNormalization": {1, 2}, "RMSNormalization": {1},
	"LSTM": {recurrent.SlotW, recurrent.SlotR, recurrent.SlotB, recurrent.SlotP}, "GRU": {recurrent.SlotW, recurrent.SlotR, recurrent.SlotB}, "RNN": {recurrent.SlotW, recurrent.SlotR, recurrent.SlotB},
}

// biasOperators add a bias or scale where one operand depends on weights and the other is a constant of more than one element. In front of all weights
// such constants prepare the input and are left alone.
var biasOperators = []string{"Add", "Sub", "Mul", "Div"}

// weightsOf lists what training may change, in the order of the nodes that read it.
func weightsOf(m *onnx.Model, records []export.Record, matrices ...export.MatrixRecord) []weight {
	ix := onnx.NewIndex(m)
	w := &weighing{
		ix: ix, ev: onnx.NewEvaluator(m, ix, 0), sites: map[*onnx.Node]string{}, cores: map[string]bool{}, factored: map[string]bool{},
		found: map[*onnx.Tensor]*weight{}, trained: map[value]bool{}, behind: map[value]bool{}, ahead: map[value]bool{},
	}
	for _, n := range recurrent.Nodes(m) {
		w.sites[n.Node] = n.Name
	}
	for _, r := range records {
		for _, name := range r.Cores {
			w.cores[name] = true
		}
		for _, name := range r.Sites {
			w.factored[name] = true
		}
	}
	for _, r := range matrices {
		for _, name := range r.Cores {
			w.cores[name] = true
		}
	}
	w.graph(m.Graph)
	for _, f := range m.Functions {
		w.graph(f.Body)
	}
	w.heads()
	var all []weight
	for _, r := range w.readers {
		for _, t := range r.tensors {
			if f := w.found[t]; f != nil {
				all = append(all, *f)
				delete(w.found, t)
			}
		}
	}
	return all
}

// value is a value of a scope.
type value struct {
	graph *onnx.Graph
	name  string
}

// weighing walks the nodes of a model, bodies before the nodes that hold them.
type weighing struct {
	ix       *onnx.Index
	ev       *onnx.Evaluator
	sites    map[*onnx.Node]string
	cores    map[string]bool // by initializer
	factored map[string]bool // by site

	readers []reader
	found   map[*onnx.Tensor]*weight
	trained map[value]bool // values that depend on weights
	behind  map[value]bool // values that depend on a recurrent layer
	ahead   map[value]bool // values that a recurrent layer depends on
}

// reader is a node with the weights it reads.
type reader struct {
	node    *onnx.Node
	tensors []*onnx.Tensor
	behind  bool
}

func (w *weighing) graph(g *onnx.Graph) {
	for _, n := range g.Nodes {
		for _, body := range n.Subgraphs() {
			w.graph(body)
		}
		w.node(n)
	}
}

// key finds where a value is defined; ok is false for absent and dangling names.
func (w *weighing) key(g *onnx.Graph, name string) (k value, ok bool) {
	if name == "" {
		return value{}, false
	}
	def, ok := w.ix.Resolve(g, name)
	return value{def.Graph, name}, ok
}

// any says whether one of the values that a node reads, or that its bodies give, is in a set.
func (w *weighing) any(n *onnx.Node, set map[value]bool) bool {
	in := func(g *onnx.Graph, name string) bool {
		k, ok := w.key(g, name)
		return ok && set[k]
	}
	for _, body := range n.Subgraphs() {
		if slices.ContainsFunc(body.Outputs, func(o *onnx.ValueInfo) bool { return in(body, o.Name) }) {
			return true
		}
	}
	return slices.ContainsFunc(n.Inputs, func(name string) bool { return in(n.Graph, name) })
}

// node collects the weights of a node and says what its outputs depend on.
func (w *weighing) node(n *onnx.Node) {
	r := reader{node: n, behind: w.any(n, w.behind)}
	site, isSite := w.sites[n]
	fromWeights := w.any(n, w.trained)
	for _, slot := range w.slots(n, fromWeights) {
		for _, t := range w.sources(n, slot) {
			r.tensors = append(r.tensors, t)
			f := w.found[t]
			if f == nil {
				f = &weight{tensor: t, role: roleOther}
				w.found[t] = f
			}
			switch {
			case w.cores[t.Name] && t.Graph != nil:
				f.role, f.ring = roleCore, true
			case isSite && f.role != roleCore:
				f.role, f.ring = roleSite, f.ring || w.factored[site]
			}
		}
	}
	w.readers = append(w.readers, r)
	for _, name := range n.Outputs {
		if k, ok := w.key(n.Graph, name); ok && !w.constant(n.Graph, name) {
			w.trained[k] = fromWeights || len(r.tensors) > 0
			w.behind[k] = r.behind || isSite
		}
	}
}

// slots lists the inputs of a node that are weights if they are constant.
func (w *weighing) slots(n *onnx.Node, fromWeights bool) []int {
	if n.Domain != "" && n.Domain != "ai.onnx" || w.ix.Function(n) != nil {
		return nil
	}
	if fromWeights && len(n.Inputs) == 2 && slices.Contains(biasOperators, n.OpType) {
		return []int{0, 1}
	}
	return weightSlots[n.OpType]
}

func (w *weighing) constant(g *onnx.Graph, name string) bool {
	ok, _ := w.ev.Constant(g, name)
	return ok
}

// sources lists the floating tensors that a constant input of a node is made of; factors and terms of single elements in the chain are none, and
// neither is anything that a node reads whose inputs are all constant.
func (w *weighing) sources(n *onnx.Node, slot int) []*onnx.Tensor {
	name := n.Input(slot)
	if name == "" || !w.constant(n.Graph, name) || w.constant(n.Graph, n.Output(0)) {
		return nil
	}
	bias := slices.Contains(biasOperators, n.OpType)
	var out []*onnx.Tensor
	all := w.ev.Sources(n.Graph, name)
	for _, t := range all {
		if isFloating(t.Type) && (t.Elements() > 1 || len(all) == 1 && !bias) {
			out = append(out, t)
		}
	}
	return out
}

// heads gives its role to what stands behind recurrent layers and in front of none.
func (w *weighing) heads() {
	for _, r := range slices.Backward(w.readers) {
		n := r.node
		leads := w.sites[n] != "" || slices.ContainsFunc(n.Outputs, func(name string) bool {
			k, ok := w.key(n.Graph, name)
			return ok && w.ahead[k]
		})
		if leads {
			w.lead(n.Graph, n.Inputs)
			for _, body := range n.Subgraphs() {
				for _, o := range body.Outputs {
					w.lead(body, []string{o.Name})
				}
			}
			continue
		}
		for _, t := range r.tensors {
			if f := w.found[t]; r.behind && f.role == roleOther {
				f.role = roleHead
			}
		}
	}
}

func (w *weighing) lead(g *onnx.Graph, names []string) {
	for _, name := range names {
		if k, ok := w.key(g, name); ok {
			w.ahead[k] = true
		}
	}
}

// chooseWeights picks what is to be trained. file names the model in errors.
func chooseWeights(file string, all []weight, train string) ([]weight, error) {
	rings := slices.ContainsFunc(all, func(w weight) bool { return w.role == roleCore })
	if !rings && train == "cores" {
		return nil, &OptionError{Option: "--train", Value: train, What: fmt.Sprintf("%q has no factored layer; use --train all, or decompose it first", file)}
	}
	var out []weight
	for _, w := range all {
		ok := train == "all"
		switch w.role {
		case roleCore:
			ok = ok || train == "cores" || train == "site"
		case roleSite:
			ok = ok || train == "site" && (w.ring || !rings)
		case roleHead:
			ok = ok || train == "head"
		}
		if ok {
			out = append(out, w)
		}
	}
	if len(out) == 0 {
		return nil, &UnsupportedError{File: file, Reasons: []string{fmt.Sprintf("it has no weights to train with --train %s", train)}}
	}
	return out, nil
}
