package step_test

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/export/source/sourcetest"
	"github.com/trconvert/trconvert/export/step"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/runtime"
)

const (
	own    = "../../testdata/models/"
	shared = "../../../shared/"
)

// TestStepsGiveTheWholeSequence: the oracle is the model itself, run on the steps so far. Both run in package runtime; ONNX Runtime judges the steps in the tests of package convert.
func TestStepsGiveTheWholeSequence(t *testing.T) {
	for _, c := range []struct {
		path   string
		states int
	}{
		{own + "gestures.onnx", 2},
		{own + "gru_lbr0.onnx", 1},
		{own + "tied.onnx", 4},
		{shared + "data/holistic/dense_lstm64.onnx", 2},
		{shared + "models/visible/keras2onnx_test_model_1/model.onnx", 4},
		{shared + "models/visible/msl150_gru_128_h5/model.onnx", 1},
		{shared + "models/visible/burn_lstm/model.onnx", 2},
		{shared + "models/visible/burn_lstm_with_initial_state/model.onnx", 2},
	} {
		t.Run(filepath.Base(strings.TrimSuffix(c.path, "/model.onnx")), func(t *testing.T) {
			check(t, sourcetest.Open(t, c.path), c.states)
		})
	}
}

func check(t *testing.T, m *onnx.Model, states int) *step.Model {
	t.Helper()
	s, err := step.Make(t.Context(), m, step.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Model.Close() })
	if len(s.States) != states {
		t.Errorf("states %v, want %d", s.States, states)
	}
	got, want, err := s.Run(t.Context(), s.Model, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) < 4 {
		t.Fatalf("%d steps", len(got))
	}
	for k := range got {
		if len(got[k]) != len(want[k]) || len(want[k]) == 0 {
			t.Fatalf("step %d has %d outputs, the whole model %d", k, len(got[k]), len(want[k]))
		}
		for name, w := range want[k] {
			if d := relative(t, got[k][name], w); !(d <= 2e-6) {
				t.Errorf("step %d: %s differs by %.2g", k, name, d)
			}
		}
	}
	return s
}

func relative(t *testing.T, a, b *onnx.Array) float64 {
	t.Helper()
	x, err := a.Float64s()
	y, err2 := b.Float64s()
	if err != nil || err2 != nil || len(x) != len(y) {
		t.Fatalf("%v %v, %d and %d elements", err, err2, len(x), len(y))
	}
	var d, n float64
	for k := range y {
		d += (x[k] - y[k]) * (x[k] - y[k])
		n += y[k] * y[k]
	}
	return math.Sqrt(d / math.Max(n, 1e-30))
}

// TestStepsAlready: models whose states are inputs and outputs keep their graph, and the pairs are found in it.
func TestStepsAlready(t *testing.T) {
	for _, c := range []struct {
		name  string
		pairs map[string]string // by input
	}{
		{"dtln_model_1", map[string]string{"input_3": "tf_op_layer_stack_2"}},
		{"silero_vad_v6", map[string]string{"state": "stateN"}},
		{"silero_vad_v4", map[string]string{"h": "hn", "c": "cn"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := sourcetest.Open(t, shared+"models/visible/"+c.name+"/model.onnx")
			s, err := step.Make(t.Context(), m, step.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Model.Close()
			if len(s.States) != len(c.pairs) || len(s.Model.Graph.Nodes) != len(m.Graph.Nodes) {
				t.Errorf("states %v and %d nodes, want %v and %d", s.States, len(s.Model.Graph.Nodes), c.pairs, len(m.Graph.Nodes))
			}
			for _, st := range s.States {
				if c.pairs[st.Input] != st.Output {
					t.Errorf("%v, want %s for %s", st, c.pairs[st.Input], st.Input)
				}
			}
		})
	}
}

// TestGivenStates takes the caller's word for a step in which no recurrent node stands.
func TestGivenStates(t *testing.T) {
	m := sourcetest.Open(t, own+"lstm_step_gates.onnx")
	s, err := step.Make(t.Context(), m, step.Options{States: map[string]string{"h_next": "h"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Model.Close()
	if text, _ := s.Model.MetadataValue(step.Key); text != `{"schema":"trconvert.step/v1","states":[{"input":"h","output":"h_next"}]}` {
		t.Errorf("metadata %s", text)
	}
	for say, states := range map[string]map[string]string{
		"no input of that name":  {"h_next": "hh"},
		"no output of that name": {"hh": "h"},
	} {
		if _, err := step.Make(t.Context(), m, step.Options{States: states}); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%v: got %v, want %q", states, err, say)
		}
	}
}

// layer is a model of one LSTM over x [T, B, 4], of whose Y [T, 1, B, 3] the nodes make y.
func layer(nodes ...*onnxpb.NodeProto) *onnxpb.ModelProto {
	weights := func(name string, dims ...int64) *onnxpb.TensorProto {
		n := int64(1)
		for _, d := range dims {
			n *= d
		}
		t := &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(1), Dims: dims}
		for k := range n {
			t.FloatData = append(t.FloatData, float32(k%7)/7-0.4)
		}
		return t
	}
	dim := func(name string, size int64) *onnxpb.TensorShapeProto_Dimension {
		if name != "" {
			return &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: name}}
		}
		return &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: size}}
	}
	value := func(name string, dims ...*onnxpb.TensorShapeProto_Dimension) *onnxpb.ValueInfoProto {
		t := &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(1)}
		if len(dims) > 0 {
			t.Shape = &onnxpb.TensorShapeProto{Dim: dims}
		}
		return &onnxpb.ValueInfoProto{Name: proto.String(name), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: t}}}
	}
	lstm := node("LSTM", "Y", []string{"x", "W", "R", "", "", "h0"}, sourcetest.Attribute("hidden_size", 3))
	lstm.Name = proto.String("cell")
	return &onnxpb.ModelProto{
		IrVersion: proto.Int64(8), OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: proto.Int64(14)}},
		Graph: &onnxpb.GraphProto{
			Name: proto.String("g"), Node: append([]*onnxpb.NodeProto{lstm}, nodes...),
			Input: []*onnxpb.ValueInfoProto{value("x", dim("T", 0), dim("B", 0), dim("", 4))}, Output: []*onnxpb.ValueInfoProto{value("y")},
			Initializer: []*onnxpb.TensorProto{weights("W", 1, 12, 4), weights("R", 1, 12, 3), weights("h0", 1, 2, 3), weights("kernel", 3, 3, 3),
				sourcetest.Ints("first", 0),
				sourcetest.Ints("lengths", 2, 1),
				sourcetest.Ints("one", 1)},
		},
	}
}

func node(op, out string, in []string, attributes ...*onnxpb.AttributeProto) *onnxpb.NodeProto {
	return &onnxpb.NodeProto{OpType: proto.String(op), Input: in, Output: []string{out}, Attribute: attributes}
}

// TestInitialStateThatIsNotZero: the state starts at zero all the same, and the first step at the model's own.
func TestInitialStateThatIsNotZero(t *testing.T) {
	m, err := onnx.FromProto("m", layer(node("Identity", "y", []string{"Y"})))
	if err != nil {
		t.Fatal(err)
	}
	check(t, m, 2)
}

// TestWhatLooksAhead is refused by the name of the node.
func TestWhatLooksAhead(t *testing.T) {
	direction := func(d string) *onnxpb.ModelProto {
		p := layer(node("Identity", "y", []string{"Y"}))
		p.Graph.Node[0].Input = p.Graph.Node[0].Input[:3]
		p.Graph.Node[0].Attribute = append(p.Graph.Node[0].Attribute, &onnxpb.AttributeProto{Name: proto.String("direction"), Type: onnxpb.AttributeProto_STRING.Enum(), S: []byte(d)})
		return p
	}
	squeezed := node("Squeeze", "s", []string{"Y", "one"}) // [T, B, 3]
	byBatch := node("Transpose", "b", []string{"s"}, sourcetest.Attribute("perm", []int64{1, 2, 0}))
	for _, c := range []struct {
		name  string
		model *onnxpb.ModelProto
		says  []string
	}{
		{"reverse", direction("reverse"), []string{"LSTM", "reverse"}},
		{"reduction", layer(squeezed, node("ReduceSum", "y", []string{"s", "first"})), []string{"ReduceSum", "along time"}},
		{"convolution", layer(squeezed, byBatch, node("Conv", "y", []string{"b", "kernel"}, sourcetest.Attribute("pads", []int64{1, 1}))), []string{"Conv", "along time"}},
		{"attention", layer(squeezed, node("Transpose", "a", []string{"s"}, sourcetest.Attribute("perm", []int64{1, 0, 2})), byBatch, node("MatMul", "y", []string{"a", "b"})), []string{"MatMul", "change with time"}},
		{"reversed input", layer(squeezed, node("ReverseSequence", "y", []string{"s", "lengths"})), []string{"ReverseSequence"}},
		{"running sum", layer(squeezed, node("CumSum", "y", []string{"s", "first"})), []string{"CumSum"}},
		{"first step", layer(squeezed, node("Gather", "y", []string{"s", "first"})), []string{"Gather"}},
		{"softmax over time", layer(squeezed, node("Softmax", "y", []string{"s"}, sourcetest.Attribute("axis", 0))), []string{"Softmax"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := onnx.FromProto("m", c.model)
			if err != nil {
				t.Fatal(err)
			}
			_, err = step.Make(t.Context(), m, step.Options{})
			var u *step.UnsupportedError
			if !errors.As(err, &u) {
				t.Fatalf("got %v, want an UnsupportedError", err)
			}
			for _, say := range c.says {
				if !strings.Contains(err.Error(), say) {
					t.Errorf("got %v, want %q in it", err, say)
				}
			}
		})
	}
}

func TestMakeEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := step.Make(ctx, sourcetest.Open(t, own+"gestures.onnx"), step.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}
