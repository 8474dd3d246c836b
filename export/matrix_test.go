package export

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/matrices"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/runtime"
	"github.com/trconvert/trconvert/tensor"
)

// manyMatrices is a model with a matrix of every role. Its input x is [5, 40], its indices i [5].
func manyMatrices(t *testing.T, elem onnx.DataType) *onnx.Model {
	t.Helper()
	l := layer{elem: elem}
	rng := rand.New(rand.NewPCG(9, 9))
	name := func(op, name string, inputs, outputs []string, attrs ...*onnxpb.AttributeProto) *onnxpb.NodeProto {
		return &onnxpb.NodeProto{OpType: proto.String(op), Name: proto.String(name), Input: inputs, Output: outputs, Attribute: attrs}
	}
	integer := func(name string, v int64) *onnxpb.AttributeProto {
		return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_INT.Enum(), I: &v}
	}
	ints := func(name string, v ...int64) *onnxpb.TensorProto {
		return &onnxpb.TensorProto{Name: &name, DataType: proto.Int32(int32(onnx.Int64)), Dims: []int64{int64(len(v))}, Int64Data: v}
	}
	g := &onnxpb.GraphProto{
		Name: proto.String("g"),
		Node: []*onnxpb.NodeProto{
			name("MatMul", "right", []string{"x", "A"}, []string{"a"}),                       // [5, 36]
			name("Gemm", "plain", []string{"a", "G", "gb"}, []string{"b"}),                   // [5, 44]
			name("Gemm", "turned", []string{"b", "H"}, []string{"c"}, integer("transB", 1)),  // [5, 28]
			name("MatMul", "left", []string{"K", "c"}, []string{"d"}),                        // [50, 28]
			name("Gemm", "turnedX", []string{"d", "M"}, []string{"e"}, integer("transA", 1)), // [28, 30]
			name("Reshape", "", []string{"e", "shape"}, []string{"f"}),                       // [1, 28, 6, 5]
			name("Conv", "point", []string{"f", "P"}, []string{"p"}),                         // [1, 33, 6, 5]
			name("Gather", "table", []string{"E", "i"}, []string{"q"}),                       // [5, 24]
			name("Reshape", "", []string{"q", "steps"}, []string{"s"}),                       // [5, 1, 24]
			name("LSTM", "cell", []string{"s", "W", "R"}, []string{"Y"}, integer("hidden_size", 12)),
		},
		Input:  []*onnxpb.ValueInfoProto{valueInfo("x", elem, 5, 40), valueInfo("i", onnx.Int64, 5)},
		Output: []*onnxpb.ValueInfoProto{valueInfo("p", elem, -1, -1, -1, -1), valueInfo("Y", elem, -1, -1, -1, -1)},
		Initializer: []*onnxpb.TensorProto{
			l.tensor("A", rng, 40, 36), l.tensor("G", rng, 36, 44), l.tensor("gb", rng, 44), l.tensor("H", rng, 28, 44), l.tensor("K", rng, 50, 5), l.tensor("M", rng, 50, 30),
			l.tensor("P", rng, 33, 28, 1, 1), l.tensor("E", rng, 64, 24), l.tensor("W", rng, 1, 48, 24), l.tensor("R", rng, 1, 48, 12),
			ints("shape", 1, 28, 6, 5), ints("steps", 5, 1, 24),
		},
	}
	return decode(t, &onnxpb.ModelProto{IrVersion: proto.Int64(7), OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(14)}}, Graph: g})
}

func findMatrices(t *testing.T, m *onnx.Model) []*matrices.Site {
	t.Helper()
	sites, err := matrices.Find(context.Background(), m)
	if err != nil {
		t.Fatal(err)
	}
	return sites
}

// factorOf makes a factor of a format for a matrix; columns of rings are padded.
func factorOf(s *matrices.Site, format string) *tensor.Factor {
	switch format {
	case tensor.SVD:
		f := randomFactor(4, s.Out, s.In, []int{s.In}, []int{s.Out}, []int{1, 3})
		f.Format = tensor.SVD
		return f
	case tensor.TTMatrix:
		return randomFactor(4, s.Out, s.In, []int{1, s.In}, []int{s.Out, 1}, []int{1, 2})
	case "wide":
		return randomFactor(4, s.Out, s.In, []int{s.In}, []int{s.Out}, []int{1, min(s.In, s.Out)})
	}
	return randomFactor(4, s.Out, s.In, []int{2, (s.In + 1) / 2}, []int{s.Out}, []int{2, 3, 2})
}

// Oracle: the same model with Ŵ by the factor's definition (tensor.Factor.Reconstruct) in place of the matrix, which no lowering has touched.
func TestMatricesComputeTheProduct(t *testing.T) {
	m := manyMatrices(t, onnx.Float)
	feeds := map[string]*onnx.Array{"x": {Type: onnx.Float, Dims: []int{5, 40}, Data: normal(rand.New(rand.NewPCG(1, 1)), 200, 1)}, "i": {Type: onnx.Int64, Dims: []int{5}, Data: []int64{3, 63, 0, -1, 3}}}
	run := func(m *onnx.Model, o ...runtime.Override) map[string]*onnx.Array {
		p, err := runtime.Compile(context.Background(), m, runtime.Options{Overrides: o})
		if err != nil {
			t.Fatal(err)
		}
		out, err := p.Run(context.Background(), feeds)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	sites := findMatrices(t, m)
	var names []string
	for _, s := range sites {
		names = append(names, s.Name)
		for _, format := range []string{tensor.SVD, tensor.Ring, tensor.TTMatrix, "wide"} {
			f := factorOf(s, format)
			w, err := s.Array(f.Reconstruct())
			if err != nil {
				t.Fatal(err)
			}
			want := run(m, runtime.Override{Node: s.Node, Slot: s.Slot, Value: w})
			for _, o := range []Options{{Form: Bottleneck}, {Form: Bottleneck, Arranged: true}, {Form: Cores}, {Form: Dense}} {
				form := o.Form
				o.Matrices = []MatrixReplacement{{s, f}}
				compact := lower(t, m, nil, o)
				got := run(compact)
				for name := range want {
					if e := distance(wide(floats(t, got[name])), wide(floats(t, want[name]))); !(e <= 1e-5) {
						t.Errorf("%s, %s, %s: output %s is off by %.2g", s.Name, format, form, name, e)
					}
				}
				if form == Dense {
					continue
				}
				records, err := Matrices(compact)
				if err != nil || len(records) != 1 || records[0].Role != s.Role || records[0].Thin != Thin(s, f) {
					t.Errorf("%s, %s: records %+v, %v", s.Name, format, records, err)
					continue
				}
				back, err := records[0].Factor(context.Background(), compact)
				if err != nil || fmt.Sprint(back) != fmt.Sprint(f) {
					t.Errorf("%s, %s: the factor read back differs, %v", s.Name, format, err)
				}
			}
		}
	}
	// The Gemm with transA is too small a matrix on its left: K [50, 5] has 250 numbers.
	if got, want := strings.Join(names, " "), "right plain turned turnedX point table cell.R"; got != want {
		t.Errorf("matrices %s, want %s", got, want)
	}
}

// Expanding and lowering again gives the same bytes, together with a ring of W and twice over.
func TestMatricesExpand(t *testing.T) {
	for _, arranged := range []bool{false, true} {
		t.Run(fmt.Sprintf("arranged=%v", arranged), func(t *testing.T) { expandsMatrices(t, arranged) })
	}
}

func expandsMatrices(t *testing.T, arranged bool) {
	m := manyMatrices(t, onnx.Float)
	convert := func(m *onnx.Model) *onnx.Model {
		o := Options{Arranged: arranged}
		for _, s := range findMatrices(t, m) {
			o.Matrices = append(o.Matrices, MatrixReplacement{s, factorOf(s, tensor.Ring)})
		}
		return lower(t, m, []Replacement{{find(t, m), randomFactor(1, 48, 24, []int{4, 6}, []int{6, 8}, []int{2, 3, 2, 3})}}, o)
	}
	compact := convert(m)
	dense, err := Expand(context.Background(), compact)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := dense.MetadataValue(MatrixKey); ok {
		t.Error("the expanded model still has records")
	}
	if again := convert(dense); !bytes.Equal(encode(t, again), encode(t, compact)) {
		t.Error("lowering the expanded model gives other bytes")
	}
	if _, err := Lower(context.Background(), compact, nil, Options{Matrices: []MatrixReplacement{{findMatrices(t, m)[0], factorOf(findMatrices(t, m)[0], tensor.SVD)}}}); err == nil || !strings.Contains(err.Error(), "factored already") {
		t.Errorf("factoring a factored matrix: %v", err)
	}
}

// Records that disagree with themselves or with the graph are refused with both values.
func TestMatricesRefuse(t *testing.T) {
	m := manyMatrices(t, onnx.Float)
	s := findMatrices(t, m)[0]
	compact := lower(t, m, nil, Options{Matrices: []MatrixReplacement{{s, factorOf(s, tensor.SVD)}}})
	text, _ := metadata(compact, MatrixKey)
	edit := func(change func(*matrix)) string {
		var l matrixLog
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(err)
		}
		change(&l.Matrices[0])
		out, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	for name, c := range map[string]struct{ text, want string }{
		"another version": {strings.Replace(text, "matrix/v1", "matrix/v7", 1), "matrix/v7"},
		"unknown field":   {strings.Replace(text, `"role"`, `"rule":1,"role"`, 1), "rule"},
		"role":            {edit(func(m *matrix) { m.Role = "bias" }), `"bias"`},
		"another role":    {edit(func(m *matrix) { m.Role = matrices.Recurrent }), "two products"},
		"dims":            {edit(func(m *matrix) { m.Dims = []int{40, 35} }), "[40 35]"},
		"turned":          {edit(func(m *matrix) { m.Transposed = false }), "[3, 36]"},
		"site":            {edit(func(m *matrix) { m.Sites[0] = "gone" }), `"gone"`},
		"two sites":       {edit(func(m *matrix) { m.Sites, m.Inputs = append(m.Sites, "b"), append(m.Inputs, "b") }), "2 sites"},
		"input":           {edit(func(m *matrix) { m.Inputs[0] = "b" }), `"b"`},
		"core":            {edit(func(m *matrix) { m.Cores[1] = "G" }), `"G"`},
		"rank":            {edit(func(m *matrix) { m.Ranks[1] = 2 }), "[2, 36]"},
	} {
		p := onnx.NewPatch(compact)
		p.SetMetadata(MatrixKey, c.text)
		broken, err := p.Apply(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Matrices(broken); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v does not say %q", name, err, c.want)
		}
	}
}
