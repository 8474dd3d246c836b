package onnxgo

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strconv"

	onnxgo "github.com/owulveryck/onnx-go"
	"gonum.org/v1/gonum/graph"
	"gonum.org/v1/gonum/graph/simple"
	"gorgonia.org/tensor"

	"github.com/trconvert/trconvert/onnx"
)

// Check decodes the file with onnx-go and compares the main graph with our view of it: the names of inputs and outputs, every initializer bit by bit, and
// every node's operator, inputs, outputs and attributes, in order. A difference is an error that names both sides; what onnx-go cannot
// read is an *UnsupportedError. Memory: about twice the file.
func Check(ctx context.Context, path string, m *onnx.Model) error {
	// What the file itself declares decides how much onnx-go would allocate, even if m was opened from another one.
	own, err := onnx.OpenFile(ctx, path, onnx.OpenOptions{})
	if err != nil {
		return err
	}
	err = readable(path, own)
	own.Close()
	if err != nil {
		return err
	}
	r := newRecorder()
	decoded, err := decode(ctx, path, r)
	if err != nil {
		return err
	}
	differs := func(what string, ours, theirs any) error {
		return fmt.Errorf("onnxgo: %s: %s: we read %v, onnx-go %v", strconv.Quote(path), what, ours, theirs)
	}
	var inputs, outputs []string
	for _, id := range decoded.Input {
		inputs = append(inputs, r.values[id].name)
	}
	for _, id := range decoded.Output {
		outputs = append(outputs, r.values[id].name)
	}
	if ours := trueInputs(m.Graph); !slices.Equal(ours, inputs) {
		return differs("inputs", ours, inputs)
	}
	var ours []string
	for _, out := range m.Graph.Outputs {
		ours = append(ours, out.Name)
	}
	if !slices.Equal(ours, outputs) {
		return differs("outputs", ours, outputs)
	}
	for _, t := range m.Graph.Initializers {
		if err := ctx.Err(); err != nil {
			return err
		}
		a, err := t.Array()
		if err != nil {
			return err
		}
		n, ok := decoded.GetNodeByName(t.Name)
		if !ok {
			return differs("initializer "+strconv.Quote(t.Name), "it", "nothing")
		}
		if d := compare(a, n.(*recorded).tensor); d != "" {
			return differs("initializer "+strconv.Quote(t.Name), "a tensor", d)
		}
	}
	if len(m.Graph.Nodes) != len(r.operations) {
		return differs("nodes", len(m.Graph.Nodes), len(r.operations))
	}
	for i, n := range m.Graph.Nodes {
		if what, ours, theirs := r.operations[i].compare(n); what != "" {
			return differs(n.String()+": "+what, ours, theirs)
		}
	}
	return nil
}

// recorder is a backend of onnx-go that writes down what it is told.
type recorder struct {
	*simple.WeightedDirectedGraph // for the methods the decoder does not call
	values                        []*recorded
	operations                    []*operation
	pending                       []*edge // since the last operation
}

// recorded is a value of the graph.
type recorded struct {
	id     int64
	name   string
	tensor tensor.Tensor
}

func (n *recorded) ID() int64                       { return n.id }
func (n *recorded) SetName(name string)             { n.name = name }
func (n *recorded) GetName() string                 { return n.name }
func (n *recorded) SetTensor(t tensor.Tensor) error { n.tensor = t; return nil }
func (n *recorded) GetTensor() tensor.Tensor        { return n.tensor }

// edge leads from a node's output to its input; the weight is the input's slot.
type edge struct {
	from, to *recorded
	weight   float64
}

func (e *edge) From() graph.Node         { return e.from }
func (e *edge) To() graph.Node           { return e.to }
func (e *edge) ReversedEdge() graph.Edge { return &edge{e.to, e.from, e.weight} }
func (e *edge) Weight() float64          { return e.weight }

type operation struct {
	op              string
	inputs, outputs []string
	attributes      map[string]any
}

func newRecorder() *recorder {
	return &recorder{WeightedDirectedGraph: simple.NewWeightedDirectedGraph(0, 0)}
}

// NewNode is part of onnx-go's Backend, as the next four are.
func (r *recorder) NewNode() graph.Node {
	n := &recorded{id: int64(len(r.values))}
	r.values = append(r.values, n)
	return n
}

// AddNode does nothing: NewNode has kept it.
func (r *recorder) AddNode(graph.Node) {}

// NewWeightedEdge keeps multiple edges between two values apart.
func (r *recorder) NewWeightedEdge(from, to graph.Node, w float64) graph.WeightedEdge {
	return &edge{from.(*recorded), to.(*recorded), w}
}

// SetWeightedEdge adds an edge of the operation that is announced next.
func (r *recorder) SetWeightedEdge(e graph.WeightedEdge) { r.pending = append(r.pending, e.(*edge)) }

// ApplyOperation ends an operation.
func (r *recorder) ApplyOperation(o onnxgo.Operation, outputs ...graph.Node) error {
	op := &operation{op: o.Name, attributes: o.Attributes}
	for _, n := range outputs {
		op.outputs = append(op.outputs, n.(*recorded).name)
	}
	// Every output gets edges to all inputs; one is enough. Absent outputs share one value, but never with another one.
	for _, e := range r.pending {
		if e.from == outputs[0].(*recorded) && int(e.weight) == len(op.inputs) {
			op.inputs = append(op.inputs, e.to.name)
		}
	}
	r.pending = nil
	r.operations = append(r.operations, op)
	return nil
}

// compare returns what differs and both values, "" where nothing does.
func (o *operation) compare(n *onnx.Node) (what string, ours, theirs any) {
	inputs := n.Inputs
	if len(inputs) == 0 {
		inputs = []string{n.Name + "/input"} // onnx-go makes one up
	}
	switch {
	case n.OpType != o.op:
		return "operator", n.OpType, o.op
	case !slices.Equal(inputs, o.inputs):
		return "inputs", inputs, o.inputs
	case !slices.Equal(n.Outputs, o.outputs):
		return "outputs", n.Outputs, o.outputs
	case len(n.Attributes) != len(o.attributes):
		return "attributes", len(n.Attributes), len(o.attributes)
	}
	for _, a := range n.Attributes {
		theirs, ok := o.attributes[a.Name]
		if !ok {
			return "attribute " + strconv.Quote(a.Name), "it", "nothing"
		}
		var ours any
		switch a.Type {
		case onnx.AttrFloat:
			ours = a.F
		case onnx.AttrInt:
			ours = a.I
		case onnx.AttrString:
			ours = string(a.S)
		case onnx.AttrFloats:
			ours = a.Floats
		case onnx.AttrInts:
			ours = a.Ints
		case onnx.AttrStrings:
			list := make([]string, len(a.Strings))
			for i, s := range a.Strings {
				list[i] = string(s)
			}
			ours = list
		case onnx.AttrTensor:
			array, err := a.T.Array()
			if err != nil {
				return "attribute " + strconv.Quote(a.Name), err, "a tensor"
			}
			t, _ := theirs.(tensor.Tensor)
			if d := compare(array, t); d != "" {
				return "attribute " + strconv.Quote(a.Name), "a tensor", d
			}
			continue
		}
		if !same(ours, theirs) {
			return "attribute " + strconv.Quote(a.Name), ours, theirs
		}
	}
	return "", nil, nil
}

// same compares attribute values; empty lists are the same whatever they are.
func same(a, b any) bool {
	va, vb := reflect.ValueOf(a), reflect.ValueOf(b)
	if va.Kind() == reflect.Slice && vb.Kind() == reflect.Slice && va.Len() == 0 && vb.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(a, b)
}

// compare says how a tensor of onnx-go differs from ours, "" where it does not.
func compare(a *onnx.Array, t tensor.Tensor) string {
	if t == nil {
		return "nothing"
	}
	if !slices.Equal(a.Dims, []int(t.Shape())) && len(a.Dims)+len(t.Shape()) > 0 {
		return fmt.Sprintf("shape %v, we %v", t.Shape(), a.Dims)
	}
	theirs := reflect.ValueOf(t.Data())
	if theirs.Kind() != reflect.Slice { // a scalar
		list := reflect.MakeSlice(reflect.SliceOf(theirs.Type()), 1, 1)
		list.Index(0).Set(theirs)
		theirs = list
	}
	switch ours := a.Data.(type) {
	case []float32:
		return compareBits(ours, theirs.Interface())
	case []float64:
		return compareBits(ours, theirs.Interface())
	case []int32:
		return compareBits(ours, theirs.Interface())
	case []int64:
		return compareBits(ours, theirs.Interface())
	}
	return fmt.Sprintf("elements %s, we %T", theirs.Type(), a.Data)
}

func compareBits[T float32 | float64 | int32 | int64](ours []T, theirs any) string {
	list, ok := theirs.([]T)
	if !ok || len(list) != len(ours) {
		return fmt.Sprintf("elements of type %T, we %d of %T", theirs, len(ours), ours)
	}
	for i, v := range ours {
		if v != list[i] && (v == v || list[i] == list[i]) { // NaN agrees with NaN
			return fmt.Sprintf("element %d is %v, we %v", i, list[i], v)
		}
	}
	return ""
}
