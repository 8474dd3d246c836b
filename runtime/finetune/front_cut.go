package finetune

import (
	"slices"
	"strings"

	"github.com/trconvert/trconvert/onnx"
)

// cut is a model in two parts.
type cut struct {
	values []string // of the main graph, that the front gives to the rest
	inputs []string // of the model, that the rest reads too
	unread []string // of the model, that the rest does not read
	rest   *onnx.Model
}

// costly are the operators that make it worth to run a front only once; others but move elements or go over them once.
var costly = []string{
	"MatMul", "Gemm", "Einsum", "Conv", "ConvTranspose", "LSTM", "GRU", "RNN", "STFT", "DFT", "MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv",
	"AveragePool", "MaxPool", "LpPool", "GridSample", "Resize", "BatchNormalization", "GroupNormalization", "InstanceNormalization", "LayerNormalization", "LRN",
}

// cutFront cuts a model where tensors that are trained come in; nil where nothing costly stands in front of them. outputs are the values of the main graph that are asked for. usable, which
// may be nil, says which values the front can give to the rest; what others depend on stays with the rest.
//
// Nodes with bodies, of functions or of other domains than ONNX's, sequences and optionals, what is drawn at random and normalisation by the batch's own statistics are never part of a
// front, nor is anything behind them.
func cutFront(m *onnx.Model, trained []*onnx.Tensor, outputs []string, usable func(value string) bool) *cut {
	c := newCutting(m, trained, outputs)
	frontier := c.frontier(outputs)
	kept := map[*onnx.Node]bool{}
	for _, v := range frontier {
		if usable != nil && !usable(v) {
			c.keep(kept, v)
		}
	}
	out := &cut{}
	for _, v := range frontier {
		if !kept[c.makers[v]] {
			out.values = append(out.values, v)
		}
	}
	removed := func(n *onnx.Node) bool { return c.frozen[n] && !kept[n] }
	if len(out.values) == 0 || !slices.ContainsFunc(c.live, func(n *onnx.Node) bool { return removed(n) && slices.Contains(costly, n.OpType) }) {
		return nil
	}
	g := *m.Graph
	g.Nodes = slices.DeleteFunc(c.live, removed)
	g.Inputs = c.inputs(&g, outputs, out)
	for _, v := range out.values {
		g.Inputs = append(g.Inputs, &onnx.ValueInfo{Name: v})
	}
	out.rest = derived(m, &g)
	return out
}

// cutting is what is known of the values of the main graph.
type cutting struct {
	model     *onnx.Model
	constants map[string]bool // initializers
	makers    map[string]*onnx.Node
	reached   map[string]bool // values that depend on a trained tensor, or on a node that is no part of a front
	fed       map[string]bool // values that depend on an input
	frozen    map[*onnx.Node]bool
	live      []*onnx.Node // nodes that an output needs, in order
}

func newCutting(m *onnx.Model, trained []*onnx.Tensor, outputs []string) *cutting {
	c := &cutting{model: m, constants: map[string]bool{}, makers: map[string]*onnx.Node{}, reached: map[string]bool{}, fed: map[string]bool{}, frozen: map[*onnx.Node]bool{}}
	functions := map[[2]string]bool{}
	for _, f := range m.Functions {
		functions[[2]string{domainName(f.Domain), f.Name}] = true
	}
	for _, t := range m.Graph.Initializers {
		c.constants[t.Name] = true
		c.reached[t.Name] = slices.Contains(trained, t)
	}
	for _, in := range m.Graph.Inputs {
		c.fed[in.Name] = !c.constants[in.Name]
	}
	c.findLive(outputs)
	for _, n := range c.live {
		domain := domainName(n.Domain)
		reached := domain != "" || functions[[2]string{domain, n.OpType}] || !belongsInFront(n)
		if v := n.Attr("value"); v != nil && v.T != nil && slices.Contains(trained, v.T) {
			reached = true
		}
		fed := false
		for _, name := range readsOf(n) {
			reached = reached || c.reached[name]
			fed = fed || c.fed[name]
		}
		c.frozen[n] = fed && !reached
		for _, name := range n.Outputs {
			if name != "" {
				c.makers[name], c.reached[name], c.fed[name] = n, reached, fed
			}
		}
	}
	return c
}

// findLive walks the nodes back from the outputs.
func (c *cutting) findLive(outputs []string) {
	read := map[string]bool{}
	for _, name := range outputs {
		read[name] = true
	}
	for _, n := range slices.Backward(c.model.Graph.Nodes) {
		if !slices.ContainsFunc(n.Outputs, func(name string) bool { return name != "" && read[name] }) {
			continue
		}
		c.live = append(c.live, n)
		for _, name := range readsOf(n) {
			read[name] = true
		}
	}
	slices.Reverse(c.live)
}

func domainName(d string) string {
	if d == "ai.onnx" {
		return ""
	}
	return d
}

// belongsInFront says whether an operator may stand in a front.
func belongsInFront(n *onnx.Node) bool {
	switch {
	case len(n.Subgraphs()) > 0, strings.Contains(n.OpType, "Sequence") && n.OpType != "ReverseSequence", strings.HasPrefix(n.OpType, "Optional"):
		return false
	case strings.HasPrefix(n.OpType, "Random"), n.OpType == "Multinomial", n.OpType == "Bernoulli":
		return false
	case n.OpType == "BatchNormalization":
		training, err := n.AttrInt("training_mode", 0)
		return err == nil && training == 0
	}
	return true
}

// readsOf lists the names that a node and its bodies read; some of a body's may be its own.
func readsOf(n *onnx.Node) []string {
	names := slices.Clone(n.Inputs)
	for _, b := range n.Subgraphs() {
		for _, o := range b.Outputs {
			names = append(names, o.Name)
		}
		for _, inner := range b.Nodes {
			names = append(names, readsOf(inner)...)
		}
	}
	return names
}

// frontier lists what frozen nodes give to others or as outputs, in the order it is read.
func (c *cutting) frontier(outputs []string) []string {
	var list []string
	add := func(name string) {
		if n := c.makers[name]; n != nil && c.frozen[n] && !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	for _, n := range c.live {
		if c.frozen[n] {
			continue
		}
		for _, name := range readsOf(n) {
			add(name)
		}
	}
	for _, name := range outputs {
		add(name)
	}
	return list
}

// keep leaves what a value depends on with the rest.
func (c *cutting) keep(kept map[*onnx.Node]bool, name string) {
	n := c.makers[name]
	if n == nil || !c.frozen[n] || kept[n] {
		return
	}
	kept[n] = true
	for _, in := range n.Inputs {
		c.keep(kept, in)
	}
}

// inputs are those of the model that the rest reads, and notes which they are.
func (c *cutting) inputs(rest *onnx.Graph, outputs []string, to *cut) []*onnx.ValueInfo {
	read := map[string]bool{}
	for _, n := range rest.Nodes {
		for _, name := range readsOf(n) {
			read[name] = true
		}
	}
	for _, name := range outputs {
		read[name] = true
	}
	var list []*onnx.ValueInfo
	for _, in := range rest.Inputs {
		switch {
		case c.constants[in.Name]:
			list = append(list, in)
		case read[in.Name]:
			list = append(list, in)
			to.inputs = append(to.inputs, in.Name)
		default:
			to.unread = append(to.unread, in.Name)
		}
	}
	return list
}
