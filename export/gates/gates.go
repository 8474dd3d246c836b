// Package gates writes a model of one time step with matrices of two axes and a handful of operators: MatMul, Add, Sub, Mul, Sigmoid, Tanh, Reshape, Concat and Transpose, one product for
// each gate. Small runtimes that have no LSTM run it, onnx-go's own backend among them.
//
// All dims are fixed, and what does not depend on the inputs is folded: cores are multiplied to the factors that run, weights stored narrow are widened. Selections (Slice, Split, Gather with fixed
// indices) become products with matrices of zeros and ones. Activations that need more than these operators (Relu, Softmax, …) stay as they are and are listed.
package gates

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/export/source"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// Core lists the operators that every model here is made of.
var Core = []string{"MatMul", "Add", "Sub", "Mul", "Sigmoid", "Tanh", "Reshape", "Concat", "Transpose"}

// Options of Lower.
type Options struct {
	Dims     map[string]int // sizes of symbolic dims; others are 1
	Metadata map[string]string
}

// Result is a lowered model.
type Result struct {
	Model  *onnx.Model
	Beyond []string // operators besides those of Core, sorted
}

// UnsupportedError lists the nodes that cannot be written so.
type UnsupportedError struct{ Reasons []string }

func (e *UnsupportedError) Error() string {
	return "export: gates: not to be written with matrices of two axes: " + strings.Join(e.Reasons, "; ")
}

// Lower writes a model of one step.
func Lower(ctx context.Context, m *onnx.Model, o Options) (*Result, error) {
	v, err := source.Evaluate(ctx, m, source.Options{Dims: o.Dims})
	if err != nil {
		return nil, err
	}
	e := &emitter{v: v, graph: &onnxpb.GraphProto{Name: proto.String("step")}, values: map[string]value{}, shapes: map[string]string{}, reshaped: map[string]string{}, used: source.Names{}, held: map[string][]int{}}
	for _, n := range v.Nodes() {
		for _, name := range slices.Concat(n.Inputs, n.Outputs) {
			e.used[name] = true
		}
	}
	if err := e.inputs(); err != nil {
		return nil, err
	}
	var bad UnsupportedError
	for _, n := range v.Nodes() {
		if v.Folded(n) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if why := e.node(n); why != "" {
			bad.Reasons = append(bad.Reasons, n.String()+": "+why)
			for _, name := range n.Outputs { // so that its readers are not listed too
				if a := v.Of(name); a != nil {
					e.values[name] = value{name, a.Dims}
				}
			}
		}
		if e.err != nil {
			return nil, e.err
		}
	}
	if len(bad.Reasons) > 0 {
		return nil, &bad
	}
	if err := e.outputs(); err != nil {
		return nil, err
	}
	e.separate()
	return e.finish(m, o)
}

// emitter builds the graph.
type emitter struct {
	v        *source.Values
	graph    *onnxpb.GraphProto
	values   map[string]value  // of the model, as they are held here
	shapes   map[string]string // initializers of shapes
	reshaped map[string]string // values in other dims
	used     source.Names
	held     map[string][]int // dims of the values of nodes and inputs
	err      error
}

// value is a tensor of the new graph; the model may see its elements in other dims.
type value struct {
	name string
	dims []int
}

func size(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// inputs declares the inputs with fixed dims.
func (e *emitter) inputs() error {
	for _, in := range e.v.Inputs() {
		a := e.v.Of(in.Name)
		if a.Type != onnx.Float {
			return &UnsupportedError{[]string{fmt.Sprintf("input %q is of type %v, only float is computed with", in.Name, a.Type)}}
		}
		e.graph.Input = append(e.graph.Input, port(in.Name, onnx.Float, a.Dims))
		e.used[in.Name] = true
		e.values[in.Name], e.held[in.Name] = value{in.Name, a.Dims}, a.Dims
	}
	return nil
}

// outputs gives every output its own node, so that none is read inside the graph.
func (e *emitter) outputs() error {
	for _, out := range e.v.Outputs() {
		a := e.v.Of(out.Name)
		if a.Type != onnx.Float {
			return &UnsupportedError{[]string{fmt.Sprintf("output %q is of type %v, only float is computed with", out.Name, a.Type)}}
		}
		from := e.get(out.Name)
		if from.name == out.Name {
			return fmt.Errorf("export: gates: output %q is an input too", out.Name)
		}
		e.graph.Node = append(e.graph.Node, node("Reshape", []string{from.name, e.shape(a.Dims)}, out.Name))
		e.graph.Output = append(e.graph.Output, port(out.Name, onnx.Float, a.Dims))
	}
	return e.err
}

func port(name string, elem onnx.DataType, dims []int) *onnxpb.ValueInfoProto {
	s := &onnxpb.TensorShapeProto{}
	for _, d := range dims {
		s.Dim = append(s.Dim, &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: int64(d)}})
	}
	return &onnxpb.ValueInfoProto{Name: proto.String(name), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
		TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(elem)), Shape: s}}}}
}

// firstIR is the first version of the format in which initializers need not be inputs.
const firstIR = 4

// finish makes the model.
func (e *emitter) finish(m *onnx.Model, o Options) (*Result, error) {
	p := &onnxpb.ModelProto{
		IrVersion: proto.Int64(max(m.IRVersion, firstIR)), ProducerName: proto.String("trconvert"), Graph: e.graph,
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(m.Opset(""))}},
	}
	var keys []string
	for k := range o.Metadata {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		p.MetadataProps = append(p.MetadataProps, &onnxpb.StringStringEntryProto{Key: proto.String(k), Value: proto.String(o.Metadata[k])})
	}
	out, err := onnx.FromProto(m.File(), p)
	if err != nil {
		return nil, fmt.Errorf("export: gates: %w", err)
	}
	if err := onnx.Check(out); err != nil {
		return nil, fmt.Errorf("export: gates: %w", err)
	}
	r := &Result{Model: out}
	for _, n := range e.graph.Node {
		if op := n.GetOpType(); !slices.Contains(Core, op) && !slices.Contains(r.Beyond, op) {
			r.Beyond = append(r.Beyond, op)
		}
	}
	slices.Sort(r.Beyond)
	return r, nil
}

func node(op string, inputs []string, output string, attributes ...*onnxpb.AttributeProto) *onnxpb.NodeProto {
	return &onnxpb.NodeProto{OpType: proto.String(op), Input: inputs, Output: []string{output}, Attribute: attributes}
}

func intAttribute(name string, v int) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_INT.Enum(), I: proto.Int64(int64(v))}
}

// emit adds a node. A value that it reads twice comes the second time through a Reshape of its own, which onnx-go needs.
func (e *emitter) emit(op, name string, dims []int, inputs []value, attributes ...*onnxpb.AttributeProto) value {
	var names []string
	for _, in := range inputs {
		if slices.Contains(names, in.name) {
			again := e.used.Fresh(in.name + ".again")
			e.held[again] = in.dims
			e.graph.Node = append(e.graph.Node, node("Reshape", []string{in.name, e.shape(in.dims)}, again))
			in.name = again
		}
		names = append(names, in.name)
	}
	out := value{e.used.Fresh(name), dims}
	e.held[out.name] = dims
	e.graph.Node = append(e.graph.Node, node(op, names, out.name, attributes...))
	return out
}

// shape names the initializer of a shape; onnx-go reads it, so that it is shared only by those who only read it too.
func (e *emitter) shape(dims []int) string {
	key := fmt.Sprint(dims)
	if name, ok := e.shapes[key]; ok {
		return name
	}
	v := make([]int64, len(dims))
	for k, d := range dims {
		v[k] = int64(d)
	}
	name := e.used.Fresh("shape" + strings.Trim(strings.ReplaceAll(key, " ", "x"), "[]"))
	e.shapes[key] = name
	e.initializer(name, &onnx.Array{Type: onnx.Int64, Dims: []int{len(v)}, Data: v})
	return name
}

func (e *emitter) initializer(name string, a *onnx.Array) {
	t, err := stored(name, a)
	if err != nil && e.err == nil {
		e.err = fmt.Errorf("export: gates: %q: %w", name, err)
	}
	e.graph.Initializer = append(e.graph.Initializer, t)
}

// stored is an array as an initializer.
func stored(name string, a *onnx.Array) (*onnxpb.TensorProto, error) {
	raw, err := a.Bytes()
	t := &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(int32(a.Type)), RawData: raw}
	for _, d := range a.Dims {
		t.Dims = append(t.Dims, int64(d))
	}
	return t, err
}

// constant adds a matrix.
func (e *emitter) constant(name string, dims []int, data []float32) value {
	v := value{e.used.Fresh(name), dims}
	e.held[v.name] = dims
	e.initializer(v.name, &onnx.Array{Type: onnx.Float, Dims: dims, Data: data})
	return v
}

// as gives a value in other dims.
func (e *emitter) as(v value, dims ...int) value {
	if slices.Equal(v.dims, dims) {
		return v
	}
	key := fmt.Sprint(v.name, dims)
	name, ok := e.reshaped[key]
	if !ok {
		name = e.emit("Reshape", v.name+".as", dims, []value{v, {e.shape(dims), []int{len(dims)}}}).name
		e.reshaped[key] = name
	}
	return value{name, dims}
}

// get is a value of the model, folded ones as initializers in dims of two axes.
func (e *emitter) get(name string) value {
	if v, ok := e.values[name]; ok {
		return v
	}
	a := e.v.Of(name)
	rows, columns := matrix(a.Dims)
	v := e.constant(name+".folded", []int{rows, columns}, e.floats(name))
	e.values[name] = v
	return v
}

// floats are the elements of a folded value.
func (e *emitter) floats(name string) []float32 {
	f, err := e.v.Of(name).Float32s()
	if err != nil && e.err == nil {
		e.err = fmt.Errorf("export: gates: %q: %w", name, err)
	}
	return f
}

// matrix are dims with all axes but the last joined.
func matrix(dims []int) (rows, columns int) {
	if len(dims) == 0 {
		return 1, 1
	}
	last := len(dims) - 1
	return size(dims[:last]), dims[last]
}

// set says what a result of the model is.
func (e *emitter) set(n *onnx.Node, output int, v value) {
	if name := n.Output(output); name != "" {
		e.values[name] = v
	}
}

func (e *emitter) dims(name string) []int { return e.v.Of(name).Dims }
