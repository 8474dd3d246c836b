package decompose

import (
	"context"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/runtime"
	"github.com/trconvert/trconvert/tensor"
	"github.com/trconvert/trconvert/trals"
)

// A new format costs a network and a fit, and this file holds both for one that the project does not have: a ring whose cores carry an
// input mode and an output mode in turn. No other line knows of it. The test below takes it through every room.

// zigzag is the network: i_1, o_1, i_2, o_2, …
func init() {
	tensor.RegisterFormat(tensor.Format{Name: "zigzag", Closed: true, Deal: func(in, out []int) ([]tensor.Slot, error) {
		if len(in) == 0 || len(in) != len(out) {
			return nil, fmt.Errorf("%d input and %d output modes cannot take turns", len(in), len(out))
		}
		var slots []tensor.Slot
		for k := range in {
			slots = append(slots, tensor.Slot{Col: in[k]}, tensor.Slot{Row: out[k]})
		}
		return slots, nil
	}})
	methods = append(methods, struct {
		format string
		of     func(*job) method
	}{"zigzag", func(j *job) method { return zigzag{j} }})
}

// zigzag is the fit: two modes a side, equal ranks, least squares on the tensor of the modes in their turns.
type zigzag struct{ *job }

func (j zigzag) layouts() []shape {
	return []shape{{inputModes(j.In, 2), outputModes(j.Directions*j.Gates, j.Hidden, 2)}}
}

func (j zigzag) modes() []int {
	s := j.layouts()[0]
	return []int{s.in[0], s.out[0], s.in[1], s.out[1]}
}

func (j zigzag) of(rank int) candidate {
	ranks := trals.CapRanks(j.modes(), slices.Repeat([]int{rank}, 4))
	return candidate{shape: j.layouts()[0], ranks: ranks, params: paramsOf(j.modes(), ranks)}
}

func (j zigzag) smallest() int { return j.of(1).params }

func (j zigzag) given(b Budget) (candidate, error) { return j.of(max(b.Rank, 1)), nil }

func (j zigzag) best(_ context.Context, n int) (c candidate, err error) {
	for rank := 1; j.of(rank).params <= n && rank <= 12; rank++ { // few, for the sake of time
		c = j.of(rank)
	}
	return c, nil
}

func (j zigzag) quick(ctx context.Context, n int) (*tensor.Factor, error) {
	c, err := j.best(ctx, n)
	if err != nil || c.ranks == nil {
		return nil, err
	}
	f, _, err := j.cores(ctx, c)
	return f, err
}

func (j zigzag) finish(ctx context.Context, c candidate) error {
	f, res, err := j.cores(ctx, c)
	if err != nil {
		return err
	}
	res.LowerBound = 0
	res.RelativeError = f.Error(j.w)
	j.record(f, res)
	return nil
}

func (j zigzag) cores(ctx context.Context, c candidate) (*tensor.Factor, *trals.Result, error) {
	x := tensor.Dense{Dims: slices.Concat(c.out, c.in), Data: j.w.Data}
	res, err := trals.Decompose(ctx, x.Transpose(2, 0, 3, 1), trals.Options{Ranks: c.ranks, Sweeps: j.o.Sweeps, Seed: j.o.Seed})
	if err != nil {
		return nil, nil, err
	}
	return &tensor.Factor{Format: "zigzag", Out: j.Out(), In: j.In, InModes: c.in, OutModes: c.out, Cores: res.Cores}, res, nil
}

// zigzagElement is the definition: Tr( A[i_1] · B[o_1] · C[i_2] · D[o_2] ).
func zigzagElement(f *tensor.Factor, o, i int) float64 {
	rows, cols := digits(o, f.OutModes), digits(i, f.InModes)
	return traceOf(f.Cores, []int{cols[0], rows[0], cols[1], rows[1]})
}

func TestANewFormatCostsAFitAndANetwork(t *testing.T) {
	ctx := context.Background()
	m, err := onnx.OpenFile(ctx, "../testdata/models/gestures.onnx", onnx.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	sites, err := recurrent.Find(ctx, m)
	if err != nil || len(sites) != 1 {
		t.Fatalf("%d sites, %v", len(sites), err)
	}
	s := sites[0]
	w := Matrix{Name: s.Name, Directions: 1, Gates: s.Op.Gates(), Hidden: s.Hidden, In: s.Input, Load: s.Weight}

	// Budgets, search and fit; a front.
	results, fronts, err := Plan(ctx, []Matrix{w}, Budget{Ratio: 40}, Options{Format: "zigzag", Sweeps: 5})
	if err != nil {
		t.Fatal(err)
	}
	f := results[0].Factor
	if f == nil || f.Format != "zigzag" || f.Params() > w.Size()/40 || f.Validate() != nil {
		t.Fatalf("result %+v", results[0])
	}
	if !slices.ContainsFunc(fronts[0], func(p Point) bool { return p.Format == "zigzag" && p.Chosen && p.Params == f.Params() }) {
		t.Errorf("front %+v", fronts[0])
	}

	// Reconstruction and error.
	dense := f.Reconstruct()
	original, err := s.Weight(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var diff, norm float64
	for o := range f.Out {
		for i := range f.In {
			want := zigzagElement(f, o, i)
			if got := float64(dense.Data[o*f.In+i]); math.Abs(got-want) > 1e-6*(1+math.Abs(want)) {
				t.Fatalf("Ŵ[%d, %d] = %v, want %v", o, i, got, want)
			}
			v := float64(original.Data[o*f.In+i])
			diff += (v - want) * (v - want)
			norm += v * v
		}
	}
	if want := math.Sqrt(diff / norm); math.Abs(results[0].RelativeError-want) > 1e-6 || want > 0.999 {
		t.Errorf("error %v, recomputed %v", results[0].RelativeError, want)
	}

	// The forward pass through the contraction plan, and its gradients against central differences: the sum of g·Y is linear in every number.
	plan, err := tensor.NewPlan(f.Network().Apply(2), tensor.FewestFLOPs)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	normal := func(n int) []float64 {
		x := make([]float64, n)
		for i := range x {
			x[i] = r.NormFloat64()
		}
		return x
	}
	var tensors [][]float64
	for _, c := range f.Cores {
		x := make([]float64, len(c.Data))
		for i, v := range c.Data {
			x[i] = float64(v)
		}
		tensors = append(tensors, x)
	}
	x := normal(2 * f.In)
	tensors = append(tensors, x)
	e, err := tensor.Evaluate(plan, tensors...)
	if err != nil {
		t.Fatal(err)
	}
	for b := range 2 {
		for o := range f.Out {
			var want, size float64
			for i := range f.In {
				v := x[b*f.In+i] * float64(dense.Data[o*f.In+i])
				want, size = want+v, size+math.Abs(v)
			}
			if got := e.Result[b*f.Out+o]; math.Abs(got-want) > 1e-6*size {
				t.Fatalf("Y[%d, %d] = %v, want %v", b, o, got, want)
			}
		}
	}
	g := normal(len(e.Result))
	grads, err := e.Backward(g)
	if err != nil {
		t.Fatal(err)
	}
	for k := range tensors {
		for range 20 {
			i := r.IntN(len(tensors[k]))
			old := tensors[k][i]
			var value [2]float64
			for side, h := range []float64{0.5, -0.5} {
				tensors[k][i] = old + h
				e, err := tensor.Evaluate(plan, tensors...)
				if err != nil {
					t.Fatal(err)
				}
				for n, v := range e.Result {
					value[side] += g[n] * v
				}
			}
			tensors[k][i] = old
			if want := value[0] - value[1]; math.Abs(grads[k][i]-want) > 1e-6*max(math.Abs(want), 0.01) {
				t.Errorf("gradient of tensor %d at %d is %v, want %v", k, i, grads[k][i], want)
			}
		}
	}

	// Lowering in every form, run against the model whose W is Ŵ; records and back.
	feed := &onnx.Array{Type: onnx.Float}
	n := 1
	program := compile(t, m, runtime.Options{Overrides: []runtime.Override{{Node: s.Node, Slot: recurrent.SlotW, Value: &onnx.Array{Type: onnx.Float, Dims: []int{1, f.Out, f.In}, Data: dense.Data}}}})
	input := program.Inputs()[0]
	for _, d := range input.Type.Shape {
		size := 3
		if d.Known {
			size = int(d.Value)
		}
		feed.Dims = append(feed.Dims, size)
		n *= size
	}
	data := make([]float32, n)
	for i := range data {
		data[i] = float32(r.NormFloat64())
	}
	feed.Data = data
	feeds := map[string]*onnx.Array{input.Name: feed}
	want, err := program.Run(ctx, feeds)
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []export.Form{export.Bottleneck, export.Cores, export.Dense} {
		patch, err := export.Lower(ctx, m, []export.Replacement{{Sites: sites, Factor: f}}, export.Options{Form: form})
		if err != nil {
			t.Fatal(err)
		}
		compact, err := patch.Apply(ctx)
		if err != nil {
			t.Fatal(err)
		}
		got, err := compile(t, compact, runtime.Options{}).Run(ctx, feeds)
		if err != nil {
			t.Fatal(err)
		}
		for name, a := range got {
			x, y := a.Data.([]float32), want[name].Data.([]float32)
			for i := range y {
				if math.Abs(float64(x[i]-y[i])) > 1e-5 {
					t.Fatalf("%s: %s[%d] = %v, want %v", form, name, i, x[i], y[i])
				}
			}
		}
		if form == export.Dense {
			continue
		}
		records, err := export.Records(compact)
		if err != nil || len(records) != 1 {
			t.Fatalf("%d records, %v", len(records), err)
		}
		back, err := records[0].Factor(ctx, compact)
		if err != nil || !reflect.DeepEqual(back, f) {
			t.Errorf("%s: the factor read back differs (%v)", form, err)
		}
	}

	// A fresh one.
	shape, _, err := ShapeFor(w, Budget{Ratio: 40}, Options{Format: "zigzag"})
	if err != nil {
		t.Fatal(err)
	}
	if fresh, err := Fresh(shape, 1, 1); err != nil || fresh.Params() > w.Size()/40 {
		t.Errorf("fresh: %v", err)
	}

	if _, err := Run(ctx, []Matrix{w}, Budget{}, Options{Format: "zig"}); err == nil || !strings.Contains(err.Error(), "ttm, zigzag)") {
		t.Errorf("unknown format: %v", err)
	}
}

// The rooms that only handle factors do not know a TT-matrix from any other.
func TestRoomsThatNameNoFormat(t *testing.T) {
	for _, room := range []string{"trals", "export", "runtime", "onnx"} {
		err := filepath.WalkDir(filepath.Join("..", room), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, name := range []string{`"ttm"`, "TTMatrix"} {
				if strings.Contains(string(text), name) {
					t.Errorf("%s names the format %s", path, name)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func compile(t *testing.T, m *onnx.Model, o runtime.Options) *runtime.Program {
	t.Helper()
	p, err := runtime.Compile(context.Background(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
