package gates_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/export/gates"
	"github.com/trconvert/trconvert/export/step"
	"github.com/trconvert/trconvert/internal/engine/onnxgo"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/runtime"
)

const (
	own    = "../../testdata/models/"
	shared = "../../../shared/"
)

func open(t *testing.T, path string) *onnx.Model {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%s is not there", path)
	}
	m, err := onnx.OpenFile(t.Context(), path, onnx.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// lowered makes the step of a model and its gates.
func lowered(t *testing.T, m *onnx.Model, dims map[string]int) (*onnx.Model, *gates.Result) {
	t.Helper()
	s, err := step.Make(t.Context(), m, step.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Model.Close() })
	r, err := gates.Lower(t.Context(), s.Model, gates.Options{Dims: dims})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Model.Close() })
	return s.Model, r
}

// feeds are numbers of a fixed stream for inputs with fixed dims.
func feeds(m *onnx.Model) map[string]*onnx.Array {
	rng := rand.New(rand.NewPCG(1, 2))
	out := map[string]*onnx.Array{}
	for _, v := range m.Graph.Inputs {
		a := &onnx.Array{Type: onnx.Float}
		n := 1
		for _, d := range v.Type.Shape {
			a.Dims = append(a.Dims, int(d.Value))
			n *= int(d.Value)
		}
		data := make([]float32, n)
		for k := range data {
			data[k] = float32(0.5 * rng.NormFloat64())
		}
		a.Data = data
		out[v.Name] = a
	}
	return out
}

func run(t *testing.T, m *onnx.Model, in map[string]*onnx.Array) map[string]*onnx.Array {
	t.Helper()
	p, err := runtime.Compile(t.Context(), m, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func compare(t *testing.T, engine string, got, want map[string]*onnx.Array) {
	t.Helper()
	for name, w := range want {
		if got[name] == nil || !slices.Equal(got[name].Dims, w.Dims) {
			t.Errorf("%s: %s is %v, want dims %v", engine, name, got[name], w.Dims)
			continue
		}
		x, err := got[name].Float64s()
		y, err2 := w.Float64s()
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		var d, n float64
		for k := range y {
			d += (x[k] - y[k]) * (x[k] - y[k])
			n += y[k] * y[k]
		}
		if r := math.Sqrt(d / math.Max(n, 1e-12)); !(r <= 5e-6) {
			t.Errorf("%s: %s differs by %.2g", engine, name, r)
		}
	}
}

// judged holds gates to the step they were made of, which package runtime runs, in package runtime and, where only core operators are there, in onnx-go, an engine of others.
func judged(t *testing.T, whole *onnx.Model, r *gates.Result) {
	t.Helper()
	in := feeds(r.Model)
	want := run(t, whole, in)
	compare(t, "runtime", run(t, r.Model, in), want)
	if len(r.Beyond) > 0 {
		return
	}
	path := filepath.Join(t.TempDir(), "gates.onnx")
	if err := r.Model.WriteFile(t.Context(), path, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	got, err := onnxgo.Run(t.Context(), path, in)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "onnx-go", got, want)
}

func TestModels(t *testing.T) {
	for _, c := range []struct {
		path   string
		dims   map[string]int
		beyond []string
	}{
		{own + "gestures.onnx", nil, nil},
		{own + "gru_lbr0.onnx", map[string]int{"B": 3}, nil},
		{own + "tied.onnx", map[string]int{"B": 2}, nil},
		{shared + "models/visible/dtln_model_1/model.onnx", nil, nil},
		{shared + "models/visible/keras2onnx_test_model_1/model.onnx", nil, nil},
		{shared + "models/visible/burn_lstm/model.onnx", nil, nil},
		{shared + "models/visible/msl150_gru_128_h5/model.onnx", map[string]int{"N": 2}, []string{"Relu", "Softmax"}},
		{shared + "data/holistic/dense_lstm64.onnx", map[string]int{"batch": 2}, nil},
	} {
		t.Run(filepath.Base(strings.TrimSuffix(c.path, "/model.onnx")), func(t *testing.T) {
			whole, r := lowered(t, open(t, c.path), c.dims)
			if !slices.Equal(r.Beyond, c.beyond) {
				t.Errorf("it needs %v besides the core, want %v", r.Beyond, c.beyond)
			}
			judged(t, whole, r)
		})
	}
}

func attribute(name string, v any) *onnxpb.AttributeProto {
	a := &onnxpb.AttributeProto{Name: proto.String(name)}
	switch v := v.(type) {
	case int:
		a.Type, a.I = onnxpb.AttributeProto_INT.Enum(), proto.Int64(int64(v))
	case float64:
		a.Type, a.F = onnxpb.AttributeProto_FLOAT.Enum(), proto.Float32(float32(v))
	case []int64:
		a.Type, a.Ints = onnxpb.AttributeProto_INTS.Enum(), v
	case []string:
		a.Type = onnxpb.AttributeProto_STRINGS.Enum()
		for _, s := range v {
			a.Strings = append(a.Strings, []byte(s))
		}
	}
	return a
}

func weights(name string, dims ...int64) *onnxpb.TensorProto {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	rng := rand.New(rand.NewPCG(uint64(n), 3))
	t := &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(1), Dims: dims}
	for range n {
		t.FloatData = append(t.FloatData, float32(0.4*rng.NormFloat64()))
	}
	return t
}

func ints(name string, v ...int64) *onnxpb.TensorProto {
	return &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(7), Dims: []int64{int64(len(v))}, Int64Data: v}
}

func node(op, out string, in []string, attributes ...*onnxpb.AttributeProto) *onnxpb.NodeProto {
	return &onnxpb.NodeProto{OpType: proto.String(op), Input: in, Output: []string{out}, Attribute: attributes}
}

func value(name string, dims ...int64) *onnxpb.ValueInfoProto {
	s := &onnxpb.TensorShapeProto{}
	for _, d := range dims {
		s.Dim = append(s.Dim, &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: d}})
	}
	t := &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(1)}
	if len(dims) > 0 {
		t.Shape = s
	}
	return &onnxpb.ValueInfoProto{Name: proto.String(name), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: t}}}
}

func model(t *testing.T, p *onnxpb.GraphProto) *onnx.Model {
	t.Helper()
	p.Name = proto.String("g")
	m, err := onnx.FromProto("m", &onnxpb.ModelProto{IrVersion: proto.Int64(8), OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: proto.Int64(14)}}, Graph: p})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestCells lowers every kind of cell: with and without bias, peepholes, other activations.
func TestCells(t *testing.T) {
	const hidden, input, batch = 5, 4, 2
	cell := func(op string, gates int64, bias, peepholes bool, attributes ...*onnxpb.AttributeProto) *onnxpb.GraphProto {
		in := []string{"x", "W", "R", "", "", "h"}
		g := &onnxpb.GraphProto{
			Input:       []*onnxpb.ValueInfoProto{value("x", 1, batch, input), value("h", 1, batch, hidden)},
			Output:      []*onnxpb.ValueInfoProto{value("Y"), value("Y_h")},
			Initializer: []*onnxpb.TensorProto{weights("W", 1, gates*hidden, input), weights("R", 1, gates*hidden, hidden)},
		}
		out := []string{"Y", "Y_h"}
		if bias {
			in[3] = "B"
			g.Initializer = append(g.Initializer, weights("B", 1, 2*gates*hidden))
		}
		if op == "LSTM" {
			in = append(in, "c")
			out = append(out, "Y_c")
			g.Input = append(g.Input, value("c", 1, batch, hidden))
			g.Output = append(g.Output, value("Y_c"))
		}
		if peepholes {
			in = append(in, "P")
			g.Initializer = append(g.Initializer, weights("P", 1, 3*hidden))
		}
		n := node(op, "", in, append(attributes, attribute("hidden_size", hidden))...)
		n.Output = out
		g.Node = []*onnxpb.NodeProto{n}
		return g
	}
	for name, g := range map[string]*onnxpb.GraphProto{
		"LSTM":                       cell("LSTM", 4, true, false),
		"LSTM without bias":          cell("LSTM", 4, false, false),
		"LSTM with peepholes":        cell("LSTM", 4, true, true),
		"LSTM whose gates are tied":  cell("LSTM", 4, true, true, attribute("input_forget", 1)),
		"LSTM, HardSigmoid and Relu": cell("LSTM", 4, true, false, attribute("activations", []string{"HardSigmoid", "Relu", "Tanh"})),
		"GRU":                        cell("GRU", 3, true, false),
		"GRU without bias":           cell("GRU", 3, false, false),
		"GRU, linear before reset":   cell("GRU", 3, true, false, attribute("linear_before_reset", 1)),
		"GRU, linear, without bias":  cell("GRU", 3, false, false, attribute("linear_before_reset", 1)),
		"RNN":                        cell("RNN", 1, true, false),
		"RNN with Relu":              cell("RNN", 1, true, false, attribute("activations", []string{"Relu"})),
		"RNN with Sigmoid":           cell("RNN", 1, false, false, attribute("activations", []string{"Sigmoid"})),
	} {
		t.Run(name, func(t *testing.T) {
			m := model(t, g)
			r, err := gates.Lower(t.Context(), m, gates.Options{})
			if err != nil {
				t.Fatal(err)
			}
			judged(t, m, r)
		})
	}
}

// TestOperators lowers the operators around cells: y is made of x [2, 3, 4].
func TestOperators(t *testing.T) {
	for _, c := range []struct {
		name string
		node *onnxpb.NodeProto
		with []*onnxpb.TensorProto
	}{
		{"slice along the first axis", node("Slice", "y", []string{"x", "s", "e", "a"}), []*onnxpb.TensorProto{ints("s", 1), ints("e", 2), ints("a", 0)}},
		{"slice along the middle", node("Slice", "y", []string{"x", "s", "e", "a"}), []*onnxpb.TensorProto{ints("s", 0), ints("e", 2), ints("a", 1)}},
		{"slice along two axes, backwards", node("Slice", "y", []string{"x", "s", "e", "a", "by"}), []*onnxpb.TensorProto{ints("s", 1, 3), ints("e", 3, 0), ints("a", 1, 2), ints("by", 1, -2)}},
		{"part of a split", &onnxpb.NodeProto{OpType: proto.String("Split"), Input: []string{"x", "s"}, Output: []string{"unread", "y"}, Attribute: []*onnxpb.AttributeProto{attribute("axis", 1)}}, []*onnxpb.TensorProto{ints("s", 1, 2)}},
		{"gather", node("Gather", "y", []string{"x", "i"}, attribute("axis", 2)), []*onnxpb.TensorProto{ints("i", 3, 0, 0)}},
		{"transpose", node("Transpose", "y", []string{"x"}, attribute("perm", []int64{2, 0, 1})), nil},
		{"expand", node("Expand", "y", []string{"x", "d"}), []*onnxpb.TensorProto{ints("d", 2, 2, 3, 4)}},
		{"sum of an axis", node("ReduceSum", "y", []string{"x", "a"}, attribute("keepdims", 0)), []*onnxpb.TensorProto{ints("a", 1)}},
		{"mean of all", node("ReduceMean", "y", []string{"x"}), nil},
		{"row to all", node("Sub", "y", []string{"w", "x"}), []*onnxpb.TensorProto{weights("w", 3, 1)}},
		{"quotient", node("Div", "y", []string{"x", "w"}), []*onnxpb.TensorProto{weights("w", 4)}},
		{"square", node("Mul", "y", []string{"x", "x"}), nil},
		{"product", node("MatMul", "y", []string{"x", "w"}), []*onnxpb.TensorProto{weights("w", 4, 5)}},
		{"product from the left", node("MatMul", "y", []string{"w", "flat"}), []*onnxpb.TensorProto{weights("w", 5, 2)}},
		{"gemm", node("Gemm", "y", []string{"flat", "w", "c"}, attribute("transA", 1), attribute("transB", 1), attribute("alpha", 0.5), attribute("beta", 2.0)), []*onnxpb.TensorProto{weights("w", 5, 2), weights("c", 5)}},
		{"concat", node("Concat", "y", []string{"x", "w"}, attribute("axis", 1)), []*onnxpb.TensorProto{weights("w", 2, 2, 4)}},
		{"batch normalisation", node("BatchNormalization", "y", []string{"x", "w", "w", "w", "v"}), []*onnxpb.TensorProto{weights("w", 3), {Name: proto.String("v"), DataType: proto.Int32(1), Dims: []int64{3}, FloatData: []float32{1, 2, 0.5}}}},
		{"relu", node("Relu", "y", []string{"x"}), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := model(t, &onnxpb.GraphProto{
				Node:  []*onnxpb.NodeProto{node("Reshape", "flat", []string{"x", "two"}), c.node},
				Input: []*onnxpb.ValueInfoProto{value("x", 2, 3, 4)}, Output: []*onnxpb.ValueInfoProto{value("y")}, Initializer: append(c.with, ints("two", 2, 12)),
			})
			r, err := gates.Lower(t.Context(), m, gates.Options{})
			if err != nil {
				t.Fatal(err)
			}
			judged(t, m, r)
		})
	}
}

// TestUnsupported names every node in the way.
func TestUnsupported(t *testing.T) {
	m := model(t, &onnxpb.GraphProto{
		Node:  []*onnxpb.NodeProto{node("Abs", "a", []string{"x"}), node("Floor", "b", []string{"a"}), node("MatMul", "y", []string{"b", "stack"})},
		Input: []*onnxpb.ValueInfoProto{value("x", 2, 3, 4)}, Output: []*onnxpb.ValueInfoProto{value("y")}, Initializer: []*onnxpb.TensorProto{weights("stack", 2, 4, 5)},
	})
	_, err := gates.Lower(t.Context(), m, gates.Options{})
	var u *gates.UnsupportedError
	if !errors.As(err, &u) || len(u.Reasons) != 2 || !strings.Contains(err.Error(), "Floor") || !strings.Contains(err.Error(), "stack of matrices") {
		t.Errorf("got %v, want Floor and MatMul by name", err)
	}
}

// TestSameBytes makes a model twice.
func TestSameBytes(t *testing.T) {
	var texts []string
	for range 2 {
		_, r := lowered(t, open(t, own+"tied.onnx"), nil)
		var b strings.Builder
		if _, err := r.Model.Encode(&b); err != nil {
			t.Fatal(err)
		}
		texts = append(texts, fmt.Sprintf("%x", b.String()))
	}
	if texts[0] != texts[1] {
		t.Error("two models of one are not the same")
	}
}
