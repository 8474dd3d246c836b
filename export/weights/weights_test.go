package weights_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/export/safetensors"
	"github.com/trconvert/trconvert/export/weights"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

func setOf(t *testing.T, m *onnx.Model) *weights.Set {
	t.Helper()
	s, err := weights.Of(m)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func names(s *weights.Set) []string {
	var all []string
	for _, w := range s.Weights {
		all = append(all, w.Name)
	}
	slices.Sort(all)
	return all
}

// TestNames names the weights of our own models by node and operand, as the documentation of the package has it; a weight that two sites share is the first one's.
func TestNames(t *testing.T) {
	for name, want := range map[string][]string{
		"gestures":    {"lstm/R", "lstm/W", "lstm/bias", "readout.bias", "readout.weight", "scale"},
		"lstm_bidi":   {"layer/R", "layer/W", "layer/bias"},
		"tied":        {"over_left/R", "over_left/W", "over_left/bias"},
		"rnn_reverse": {"layer/R", "layer/W", "layer/bias"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := onnx.OpenFile(t.Context(), filepath.Join("..", "..", "testdata", "models", name+".onnx"), onnx.OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			got := names(setOf(t, m))
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestOddNames makes names that archives take, and that are unique, of whatever stands in a graph; tensors of integers and empty ones are no weights.
func TestOddNames(t *testing.T) {
	p := &onnxpb.ModelProto{
		IrVersion: proto.Int64(7), OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: proto.Int64(14)}}, Graph: &onnxpb.GraphProto{Name: proto.String("g")},
	}
	for _, name := range []string{"/a/b", "a/b", `x\y`, "c/../d", "__metadata__", "z\x1b", "C:/w", "a/b/scale", "/"} {
		p.Graph.Initializer = append(p.Graph.Initializer, &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(int32(onnx.Float)), Dims: []int64{1}, RawData: []byte{0, 0, 128, 63}})
	}
	p.Graph.Initializer = append(p.Graph.Initializer,
		&onnxpb.TensorProto{Name: proto.String("shape"), DataType: proto.Int32(int32(onnx.Int64)), Dims: []int64{1}, RawData: make([]byte, 8)},
		&onnxpb.TensorProto{Name: proto.String("empty"), DataType: proto.Int32(int32(onnx.Float)), Dims: []int64{0}})
	m, err := onnx.FromProto("m.onnx", p)
	if err != nil {
		t.Fatal(err)
	}
	s := setOf(t, m)
	want := []string{"#2", "C_/w", "__metadata__#2", "a/b", "a/b#2", "a/b/scale#2", "c/__/d", "x_y", "z_"}
	if d := cmp.Diff(want, names(s)); d != "" {
		t.Error(d)
	}
	f, err := s.File(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// One of the tensors is given another value: it alone is changed.
	k := slices.IndexFunc(f.Tensors, func(t safetensors.Tensor) bool { return t.Name == "c/__/d" })
	f.Tensors[k].Array = &onnx.Array{Type: onnx.Float, Dims: []int{1}, Data: []float32{2}}
	patch, changed, err := s.Put(t.Context(), f)
	if err != nil || changed != 1 {
		t.Fatalf("%d weights are changed (%v), want 1", changed, err)
	}
	after, err := patch.Apply(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, tensor := range after.Graph.Initializers {
		if tensor.Type != onnx.Float || tensor.Elements() == 0 {
			continue
		}
		a, err := tensor.Array()
		if err != nil {
			t.Fatal(err)
		}
		want := float32(1)
		if tensor.Name == "c/../d" {
			want = 2
		}
		if got := a.Data.([]float32)[0]; got != want {
			t.Errorf("%q is %g, want %g", tensor.Name, got, want)
		}
	}
}
