package gates_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/export/gates"
	"github.com/trconvert/trconvert/export/source/sourcetest"
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
			whole, r := lowered(t, sourcetest.Open(t, c.path), c.dims)
			if !slices.Equal(r.Beyond, c.beyond) {
				t.Errorf("it needs %v besides the core, want %v", r.Beyond, c.beyond)
			}
			judged(t, whole, r)
		})
	}
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

func node(op, out string, in []string, attributes ...*onnxpb.AttributeProto) *onnxpb.NodeProto {
	return &onnxpb.NodeProto{OpType: proto.String(op), Input: in, Output: []string{out}, Attribute: attributes}
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
			Input:       []*onnxpb.ValueInfoProto{sourcetest.Port("x", onnx.Float, 1, batch, input), sourcetest.Port("h", onnx.Float, 1, batch, hidden)},
			Output:      []*onnxpb.ValueInfoProto{sourcetest.Port("Y", onnx.Float), sourcetest.Port("Y_h", onnx.Float)},
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
			g.Input = append(g.Input, sourcetest.Port("c", onnx.Float, 1, batch, hidden))
			g.Output = append(g.Output, sourcetest.Port("Y_c", onnx.Float))
		}
		if peepholes {
			in = append(in, "P")
			g.Initializer = append(g.Initializer, weights("P", 1, 3*hidden))
		}
		n := node(op, "", in, append(attributes, sourcetest.Attribute("hidden_size", hidden))...)
		n.Output = out
		g.Node = []*onnxpb.NodeProto{n}
		return g
	}
	for name, g := range map[string]*onnxpb.GraphProto{
		"LSTM":                       cell("LSTM", 4, true, false),
		"LSTM without bias":          cell("LSTM", 4, false, false),
		"LSTM with peepholes":        cell("LSTM", 4, true, true),
		"LSTM whose gates are tied":  cell("LSTM", 4, true, true, sourcetest.Attribute("input_forget", 1)),
		"LSTM, HardSigmoid and Relu": cell("LSTM", 4, true, false, sourcetest.Attribute("activations", []string{"HardSigmoid", "Relu", "Tanh"})),
		"GRU":                        cell("GRU", 3, true, false),
		"GRU without bias":           cell("GRU", 3, false, false),
		"GRU, linear before reset":   cell("GRU", 3, true, false, sourcetest.Attribute("linear_before_reset", 1)),
		"GRU, linear, without bias":  cell("GRU", 3, false, false, sourcetest.Attribute("linear_before_reset", 1)),
		"RNN":                        cell("RNN", 1, true, false),
		"RNN with Relu":              cell("RNN", 1, true, false, sourcetest.Attribute("activations", []string{"Relu"})),
		"RNN with Sigmoid":           cell("RNN", 1, false, false, sourcetest.Attribute("activations", []string{"Sigmoid"})),
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
		{"slice along the first axis", node("Slice", "y", []string{"x", "s", "e", "a"}), []*onnxpb.TensorProto{sourcetest.Ints("s", 1), sourcetest.Ints("e", 2), sourcetest.Ints("a", 0)}},
		{"slice along the middle", node("Slice", "y", []string{"x", "s", "e", "a"}), []*onnxpb.TensorProto{sourcetest.Ints("s", 0), sourcetest.Ints("e", 2), sourcetest.Ints("a", 1)}},
		{"slice along two axes, backwards", node("Slice", "y", []string{"x", "s", "e", "a", "by"}), []*onnxpb.TensorProto{sourcetest.Ints("s", 1, 3), sourcetest.Ints("e", 3, 0), sourcetest.Ints("a", 1, 2), sourcetest.Ints("by", 1, -2)}},
		{"part of a split", &onnxpb.NodeProto{OpType: proto.String("Split"), Input: []string{"x", "s"}, Output: []string{"unread", "y"}, Attribute: []*onnxpb.AttributeProto{sourcetest.Attribute("axis", 1)}}, []*onnxpb.TensorProto{sourcetest.Ints("s", 1, 2)}},
		{"gather", node("Gather", "y", []string{"x", "i"}, sourcetest.Attribute("axis", 2)), []*onnxpb.TensorProto{sourcetest.Ints("i", 3, 0, 0)}},
		{"transpose", node("Transpose", "y", []string{"x"}, sourcetest.Attribute("perm", []int64{2, 0, 1})), nil},
		{"expand", node("Expand", "y", []string{"x", "d"}), []*onnxpb.TensorProto{sourcetest.Ints("d", 2, 2, 3, 4)}},
		{"sum of an axis", node("ReduceSum", "y", []string{"x", "a"}, sourcetest.Attribute("keepdims", 0)), []*onnxpb.TensorProto{sourcetest.Ints("a", 1)}},
		{"mean of all", node("ReduceMean", "y", []string{"x"}), nil},
		{"row to all", node("Sub", "y", []string{"w", "x"}), []*onnxpb.TensorProto{weights("w", 3, 1)}},
		{"quotient", node("Div", "y", []string{"x", "w"}), []*onnxpb.TensorProto{weights("w", 4)}},
		{"square", node("Mul", "y", []string{"x", "x"}), nil},
		{"product", node("MatMul", "y", []string{"x", "w"}), []*onnxpb.TensorProto{weights("w", 4, 5)}},
		{"product from the left", node("MatMul", "y", []string{"w", "flat"}), []*onnxpb.TensorProto{weights("w", 5, 2)}},
		{"gemm", node("Gemm", "y", []string{"flat", "w", "c"}, sourcetest.Attribute("transA", 1), sourcetest.Attribute("transB", 1), sourcetest.Attribute("alpha", 0.5), sourcetest.Attribute("beta", 2.0)), []*onnxpb.TensorProto{weights("w", 5, 2), weights("c", 5)}},
		{"concat", node("Concat", "y", []string{"x", "w"}, sourcetest.Attribute("axis", 1)), []*onnxpb.TensorProto{weights("w", 2, 2, 4)}},
		{"batch normalisation", node("BatchNormalization", "y", []string{"x", "w", "w", "w", "v"}), []*onnxpb.TensorProto{weights("w", 3), {Name: proto.String("v"), DataType: proto.Int32(1), Dims: []int64{3}, FloatData: []float32{1, 2, 0.5}}}},
		{"relu", node("Relu", "y", []string{"x"}), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := model(t, &onnxpb.GraphProto{
				Node:  []*onnxpb.NodeProto{node("Reshape", "flat", []string{"x", "two"}), c.node},
				Input: []*onnxpb.ValueInfoProto{sourcetest.Port("x", onnx.Float, 2, 3, 4)}, Output: []*onnxpb.ValueInfoProto{sourcetest.Port("y", onnx.Float)}, Initializer: append(c.with, sourcetest.Ints("two", 2, 12)),
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
		Input: []*onnxpb.ValueInfoProto{sourcetest.Port("x", onnx.Float, 2, 3, 4)}, Output: []*onnxpb.ValueInfoProto{sourcetest.Port("y", onnx.Float)}, Initializer: []*onnxpb.TensorProto{weights("stack", 2, 4, 5)},
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
		_, r := lowered(t, sourcetest.Open(t, own+"tied.onnx"), nil)
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
