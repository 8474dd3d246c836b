package convert

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/decompose"
	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// own is the path of one of the project's models.
func own(name string) string { return filepath.Join("..", "testdata", "models", name) }

// lstmModel writes an LSTM (48 → 16) with random weights followed by one more node that takes its Y and gives "out".
func lstmModel(t *testing.T, after *onnxpb.NodeProto, more ...*onnxpb.TensorProto) string {
	t.Helper()
	const in, hidden = 48, 16
	rng := rand.New(rand.NewPCG(1, 2))
	random := func(name string, dims ...int64) *onnxpb.TensorProto {
		n := int64(1)
		for _, d := range dims {
			n *= d
		}
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(0.3 * rng.NormFloat64())
		}
		raw, err := binary.Append(nil, binary.LittleEndian, v)
		if err != nil {
			t.Fatal(err)
		}
		return &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(int32(onnx.Float)), Dims: dims, RawData: raw}
	}
	value := func(name string, dims ...*onnxpb.TensorShapeProto_Dimension) *onnxpb.ValueInfoProto {
		return &onnxpb.ValueInfoProto{Name: proto.String(name), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: &onnxpb.TypeProto_Tensor{
			ElemType: proto.Int32(int32(onnx.Float)), Shape: &onnxpb.TensorShapeProto{Dim: dims},
		}}}}
	}
	symbol := func(s string) *onnxpb.TensorShapeProto_Dimension {
		return &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: s}}
	}
	fixed := func(n int64) *onnxpb.TensorShapeProto_Dimension {
		return &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: n}}
	}
	lstm := &onnxpb.NodeProto{
		OpType: proto.String("LSTM"), Name: proto.String("lstm"), Input: []string{"x", "W", "R"}, Output: []string{"Y"},
		Attribute: []*onnxpb.AttributeProto{{Name: proto.String("hidden_size"), Type: onnxpb.AttributeProto_INT.Enum(), I: proto.Int64(hidden)}},
	}
	m := &onnxpb.ModelProto{
		IrVersion: proto.Int64(7),
		OpsetImport: []*onnxpb.OperatorSetIdProto{
			{Domain: proto.String(""), Version: proto.Int64(14)},
			{Domain: proto.String("my.domain"), Version: proto.Int64(1)},
		},
		Graph: &onnxpb.GraphProto{
			Name:        proto.String("g"),
			Node:        []*onnxpb.NodeProto{lstm, after},
			Input:       []*onnxpb.ValueInfoProto{value("x", symbol("T"), symbol("B"), fixed(in))},
			Output:      []*onnxpb.ValueInfoProto{value("out", symbol("a"), symbol("b"), symbol("c"), symbol("d"))},
			Initializer: append([]*onnxpb.TensorProto{random("W", 1, 4*hidden, in), random("R", 1, 4*hidden, hidden)}, more...),
		},
	}
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDecomposeVerifiesLayersWhereTheModelCannotBeRun(t *testing.T) {
	t.Run("operator missing", func(t *testing.T) {
		model := lstmModel(t, &onnxpb.NodeProto{OpType: proto.String("Frobnicate"), Domain: proto.String("my.domain"), Input: []string{"Y"}, Output: []string{"out"}})
		r := decomposes(t, Options{Model: model, Budget: Budget{Rank: 3}})
		layerOnly(t, r, "operator-missing", "my.domain.Frobnicate")
	})
	t.Run("no inputs accepted", func(t *testing.T) {
		raw, err := binary.Append(nil, binary.LittleEndian, []int64{7, 1, 11, 16})
		if err != nil {
			t.Fatal(err)
		}
		shape := &onnxpb.TensorProto{Name: proto.String("shape"), DataType: proto.Int32(int32(onnx.Int64)), Dims: []int64{4}, RawData: raw}
		model := lstmModel(t, &onnxpb.NodeProto{OpType: proto.String("Reshape"), Input: []string{"Y", "shape"}, Output: []string{"out"}}, shape)
		r := decomposes(t, Options{Model: model, Budget: Budget{Rank: 3}})
		layerOnly(t, r, "no-inputs", "none of the random inputs")
	})
}

func layerOnly(t *testing.T, r *Report, code, text string) {
	t.Helper()
	if r.Verify.Model != nil {
		t.Errorf("the model as a whole was run: %+v", *r.Verify.Model)
	}
	if f := r.Verify.Form; f.Inputs == 0 || !(f.Relative <= 1e-5) || f.Relative == 0 && f.MaxAbs > 0 {
		t.Errorf("the layer was not compared: %+v", f)
	}
	for _, w := range r.Warnings {
		if w.Code == code && strings.Contains(w.Text, text) {
			return
		}
	}
	t.Errorf("no warning %s with %q: %+v", code, text, r.Warnings)
}

func decomposes(t *testing.T, o Options) *Report {
	t.Helper()
	if o.Output == "" {
		o.Output = filepath.Join(t.TempDir(), "out.onnx")
	}
	r, err := Decompose(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(o.Output); err != nil {
		t.Error(err)
	}
	return r
}

// TestCheckRefusesOtherCores gives the verification a file that holds other cores than the ones fitted: model and layer must both tell.
func TestCheckRefusesOtherCores(t *testing.T) {
	identity := &onnxpb.NodeProto{OpType: proto.String("Identity"), Input: []string{"Y"}, Output: []string{"out"}}
	custom := &onnxpb.NodeProto{OpType: proto.String("Frobnicate"), Domain: proto.String("my.domain"), Input: []string{"Y"}, Output: []string{"out"}}
	for name, after := range map[string]*onnxpb.NodeProto{"model": identity, "layer alone": custom} {
		t.Run(name, func(t *testing.T) {
			model := lstmModel(t, after)
			out := filepath.Join(t.TempDir(), "out.onnx")
			decomposes(t, Options{Model: model, Output: out, Budget: Budget{Rank: 3}})

			c := &conversion{o: Options{Model: model, Export: ExportOptions{Form: export.Bottleneck}}, report: &Report{}}
			defer c.close()
			for _, step := range []func(context.Context) error{c.open, c.choose} {
				if err := step(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			s := c.groups[0].lead()
			other, err := decompose.Run(t.Context(), []decompose.Matrix{{
				Name: s.Name, Directions: 1, Gates: 4, Hidden: s.Hidden, In: s.Input, Load: s.Weight,
			}}, Budget{Rank: 2}, FitOptions{})
			if err != nil {
				t.Fatal(err)
			}
			err = c.check(t.Context(), out, factors{ws: []export.Replacement{{Sites: c.groups[0].sites, Factor: other[0].Factor}}})
			if err == nil || !strings.Contains(err.Error(), "differs from the factored model") {
				t.Errorf("got %v, want the verification to fail", err)
			}
		})
	}
}

// TestDecomposeFailsWithoutTraces fails in the last step, the verification, by way of a context that ends there.
func TestDecomposeFailsWithoutTraces(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	var stages []Stage
	_, err := Decompose(ctx, Options{
		Model: own("tied.onnx"), Output: filepath.Join(dir, "out.onnx"), Budget: Budget{Rank: 3},
		Progress: func(p Progress) {
			if len(stages) == 0 || stages[len(stages)-1] != p.Stage {
				stages = append(stages, p.Stage)
			}
			if p.Stage == StageVerify {
				cancel()
			}
		},
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("something was left: %v, %v", left, err)
	}
	if want := []Stage{StageRead, StageDecompose, StageWrite, StageVerify}; len(stages) != len(want) {
		t.Errorf("stages %v, want %v", stages, want)
	}
}

func TestDecomposeOptionErrors(t *testing.T) {
	model := own("tied.onnx")
	for _, c := range []struct {
		o      Options
		option string
	}{
		{Options{}, "MODEL"},
		{Options{Model: model, Fit: FitOptions{Format: "best"}}, "--format"},
		{Options{Model: model, Fit: FitOptions{Method: "x"}}, "--method"},
		{Options{Model: model, Fit: FitOptions{Init: "x"}}, "--init"},
		{Options{Model: model, Export: ExportOptions{Form: "x"}}, "--form"},
		{Options{Model: model, Export: ExportOptions{Form: export.Dense, MergeOutput: true}}, "--merge-output"},
		{Options{Model: model, Budget: Budget{Rank: 1, Ratio: 2}}, "budget"},
		{Options{Model: model, Sites: []string{"over_lift"}}, "--site"},
	} {
		c.o.Output = filepath.Join(t.TempDir(), "out.onnx")
		_, err := Decompose(t.Context(), c.o)
		var option *OptionError
		if !errors.As(err, &option) || option.Option != c.option {
			t.Errorf("%+v: got %v, want an OptionError on %s", c.o, err, c.option)
		}
	}
}

// TestReportCountsSharedWeightsOnce: two layers read one W of 96×96 numbers.
func TestReportCountsSharedWeightsOnce(t *testing.T) {
	r := decomposes(t, Options{Model: own("tied.onnx"), Budget: Budget{Rank: 3}})
	if len(r.Sites) != 2 || r.Sites[0].SharedWith != "" || r.Sites[1].SharedWith != r.Sites[0].Name {
		t.Fatalf("sites: %+v", r.Sites)
	}
	if r.WBefore != 96*96 || r.WAfter != r.Sites[0].WAfter {
		t.Errorf("W counts %d → %d, want %d → %d", r.WBefore, r.WAfter, 96*96, r.Sites[0].WAfter)
	}
	// One of the two alone leaves the matrix in the file: it cannot get smaller.
	_, err := Decompose(t.Context(), Options{Model: own("tied.onnx"), Output: filepath.Join(t.TempDir(), "o.onnx"), Sites: []string{"over_left"}, Budget: Budget{Rank: 3}})
	var gate *GateError
	if !errors.As(err, &gate) {
		t.Errorf("got %v, want a GateError", err)
	}
}

// TestMergedOutputCounts compares the report's count with the stored tensors: the input cores, and L [192, r_0·r_n].
func TestMergedOutputCounts(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.onnx")
	r := decomposes(t, Options{Model: own("lstm_bidi.onnx"), Output: out, Budget: Budget{Rank: 3}, Export: ExportOptions{MergeOutput: true}})
	in, err := Inspect(t.Context(), out, InspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(in.Rings) != 1 || in.Rings[0].Parameters != r.WAfter || r.WAfter != r.Sites[0].WAfter {
		t.Errorf("the report counts %d and %d numbers, the file holds %+v", r.WAfter, r.Sites[0].WAfter, in.Rings)
	}
}

// TestSecondConversion expands a compact model and decomposes it again: at the same budget the matrix is of that rank
// already, so nothing more is lost.
func TestSecondConversion(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first.onnx"), filepath.Join(dir, "second.onnx")
	o := Options{Model: own("lstm_bidi.onnx"), Output: first, Budget: Budget{Rank: 4}, Fit: FitOptions{Format: "svd"}}
	decomposes(t, o)
	o.Model, o.Output, o.Budget = first, second, Budget{Rank: 3}
	r := decomposes(t, o)
	if r.Verify.Model == nil || !(r.Verify.Model.Relative > 1e-4) || math.IsNaN(float64(r.Verify.Model.Relative)) {
		t.Errorf("rank 3 of rank 4 must lose something: %+v", r.Verify.Model)
	}
	o.Model, o.Output, o.Budget = second, filepath.Join(dir, "third.onnx"), Budget{Rank: 3}
	o.Export.Form = export.Dense
	r = decomposes(t, o)
	if r.Verify.Model == nil || !(r.Verify.Model.Relative < 1e-5) || !(r.Sites[0].RelativeError < 1e-5) {
		t.Errorf("rank 3 of rank 3 must lose nothing: %+v, error %g", r.Verify.Model, float64(r.Sites[0].RelativeError))
	}
}
