package opset

import (
	"github.com/trconvert/trconvert/onnx"
)

// elements are the element types of a model's values as far as they can be told without running it.
type elements struct {
	index *onnx.Index
	known map[valueKey]onnx.DataType
	all   map[string]bool // every type that the model mentions
}

// valueKey names a value by the scope that defines it.
type valueKey struct {
	scope *onnx.Graph
	name  string
}

// findElements walks the model in file order, until the types of bodies have come out of their nodes.
func findElements(m *onnx.Model, index *onnx.Index) *elements {
	e := &elements{index: index, known: map[valueKey]onnx.DataType{}, all: map[string]bool{}}
	for _, g := range m.Scopes() {
		for _, list := range [][]*onnx.ValueInfo{g.Inputs, g.Outputs, g.ValueInfos} {
			for _, v := range list {
				e.info(g, v.Name, v.Type)
			}
		}
		for _, t := range g.Initializers {
			e.set(g, t.Name, t.Type)
		}
	}
	for before := -1; before < len(e.known); {
		before = len(e.known)
		for _, g := range m.Scopes() {
			for _, n := range g.Nodes {
				e.results(n)
			}
		}
	}
	return e
}

func (e *elements) info(g *onnx.Graph, name string, t *onnx.TypeInfo) {
	switch {
	case t == nil:
	case t.Kind == "tensor":
		e.set(g, name, t.Elem)
	case t.Kind == "sequence" || t.Kind == "optional":
		e.all["sequence"] = true // the word for both in the table
		e.info(g, "", t.Of)
	}
}

func (e *elements) set(g *onnx.Graph, name string, t onnx.DataType) {
	if t == onnx.Undefined {
		return
	}
	e.all[t.String()] = true
	if name != "" {
		e.known[valueKey{g, name}] = t
	}
}

// of is the type of a value that a node reads, Undefined where it is not known.
func (e *elements) of(g *onnx.Graph, name string) onnx.DataType {
	d, ok := e.index.Resolve(g, name)
	if !ok {
		return onnx.Undefined
	}
	return e.known[valueKey{d.Graph, name}]
}

// Types of the first output that do not follow from the first input.
var fixedResults = map[string]onnx.DataType{
	"Equal": onnx.Bool, "Less": onnx.Bool, "LessOrEqual": onnx.Bool, "Greater": onnx.Bool, "GreaterOrEqual": onnx.Bool, "And": onnx.Bool, "Or": onnx.Bool, "Xor": onnx.Bool, "Not": onnx.Bool,
	"IsNaN": onnx.Bool, "IsInf": onnx.Bool, "Shape": onnx.Int64, "Size": onnx.Int64, "ArgMax": onnx.Int64, "ArgMin": onnx.Int64, "NonZero": onnx.Int64,
	"MatMulInteger": onnx.Int32, "ConvInteger": onnx.Int32, "DynamicQuantizeLinear": onnx.Uint8,
}

// resultOperand is the input that has the type of the output, where it is not the first.
var resultOperand = map[string]int{"Where": 1, "DequantizeLinear": 1, "QuantizeLinear": 2, "OneHot": 2, "CastLike": 1}

// unfollowed are operators whose results the types of their inputs do not tell.
var unfollowed = map[string]bool{
	"SequenceAt": true, "ConcatFromSequence": true, "OptionalGetElement": true, "SequenceMap": true,
	"RandomNormal": true, "RandomUniform": true, "RandomNormalLike": true, "RandomUniformLike": true, "EyeLike": true, "Multinomial": true, "Bernoulli": true,
	"DFT": true, "STFT": true, "HannWindow": true, "HammingWindow": true, "BlackmanWindow": true,
}

// secondResults are types of further outputs; those of other operators are like the first, as far as they are noted.
var secondResults = map[string]onnx.DataType{"TopK": onnx.Int64, "MaxPool": onnx.Int64, "Dropout": onnx.Bool}

// alike are operators whose outputs are all of the type of the first input.
var alike = map[string]bool{"LSTM": true, "GRU": true, "RNN": true, "Split": true}

// results notes the types of a node's outputs.
func (e *elements) results(n *onnx.Node) {
	if n.Domain != "" || e.index.Function(n) != nil {
		return
	}
	switch n.OpType {
	case "If", "Scan":
		e.fromBody(n, 0)
		return
	case "Loop":
		e.fromBody(n, 1) // the first output of the body is the condition
		return
	case "SequenceEmpty", "SequenceConstruct", "SplitToSequence", "SequenceInsert", "SequenceErase", "Optional":
		e.all["sequence"] = true
		return
	}
	t := e.result(n)
	e.set(n.Graph, n.Output(0), t)
	for k := 1; k < len(n.Outputs); k++ {
		if second, ok := secondResults[n.OpType]; ok {
			e.set(n.Graph, n.Outputs[k], second)
		} else if alike[n.OpType] {
			e.set(n.Graph, n.Outputs[k], t)
		}
	}
}

// fromBody gives outputs the types of those of a body.
func (e *elements) fromBody(n *onnx.Node, skip int) {
	for _, body := range n.Subgraphs() {
		for k, name := range n.Outputs {
			if k+skip < len(body.Outputs) {
				e.set(n.Graph, name, e.of(body, body.Outputs[k+skip].Name))
			}
		}
	}
}

// result is the type of a node's first output, Undefined where it is not known.
func (e *elements) result(n *onnx.Node) onnx.DataType {
	t := onnx.Undefined
	switch n.OpType {
	case "Cast":
		to, err := n.AttrInt("to", 0)
		if err == nil {
			t = onnx.DataType(to)
		}
	case "Constant", "ConstantOfShape":
		if a := n.Attr("value"); a != nil && a.T != nil {
			t = a.T.Type
		} else if n.OpType == "ConstantOfShape" || n.Attr("value_float") != nil || n.Attr("value_floats") != nil {
			t = onnx.Float
		} else if n.Attr("value_int") != nil || n.Attr("value_ints") != nil {
			t = onnx.Int64
		}
	default:
		if unfollowed[n.OpType] {
			return onnx.Undefined
		}
		if t = fixedResults[n.OpType]; t == onnx.Undefined {
			t = e.of(n.Graph, n.Input(resultOperand[n.OpType]))
		}
	}
	return t
}

// may says whether a node may read or give elements of a type: it is that of one of its values, or of some value of the model where one of the node's is not known.
func (e *elements) may(n *onnx.Node, name string) bool {
	unknown := false
	for k, list := range [][]string{n.Inputs, n.Outputs} {
		for _, v := range list {
			if v == "" {
				continue
			}
			t := e.of(n.Graph, v)
			if t == onnx.Undefined && k == 0 {
				unknown = true
			}
			if t.String() == name {
				return true
			}
		}
	}
	return unknown && e.all[name]
}
