package convert

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime/dataset"
)

func sizeOf(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// Budgets of the whole file are met by the file that is there, or refused with a size that is met when asked for.
func TestWholeBudgets(t *testing.T) {
	for _, model := range []string{"gru_lbr0.onnx", "tied.onnx", "lstm_float16.onnx"} {
		t.Run(model, func(t *testing.T) {
			before := sizeOf(t, own(model))
			out := filepath.Join(t.TempDir(), "out.onnx")
			try := func(w WholeBudget) (*Report, error) {
				return Decompose(context.Background(), Options{Model: own(model), Output: out, Whole: w, Files: Files{Force: true}, Fit: FitOptions{Sweeps: 4}})
			}
			_, err := try(WholeBudget{Bytes: 100})
			var gate *GateError
			if !errors.As(err, &gate) {
				t.Fatalf("100 bytes: %v", err)
			}
			if _, err := os.Stat(out); err == nil {
				t.Fatal("a file was written")
			}
			best := regexp.MustCompile(`the best that can be reached is (\d+)`).FindStringSubmatch(gate.Got)
			if best == nil {
				t.Fatalf("the refusal names no size: %v", gate)
			}
			least, err := strconv.ParseInt(best[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			for _, most := range []int64{least, (2*least + before) / 3} {
				r, err := try(WholeBudget{Bytes: most})
				if err != nil {
					t.Fatalf("%d bytes: %v", most, err)
				}
				if n := sizeOf(t, out); n > most || r.Output.Bytes != n {
					t.Errorf("%d bytes of at most %d, reported as %d", n, most, r.Output.Bytes)
				}
				m, err := onnx.OpenFile(context.Background(), out, onnx.OpenOptions{})
				if err != nil {
					t.Fatal(err)
				}
				others, err := export.Matrices(m)
				m.Close()
				if err != nil || most == least && (len(others) == 0) != (model == "tied.onnx") { // whose R two nodes read
					t.Errorf("%d bytes: %d matrices besides W, %v", most, len(others), err)
				}
			}
			ratio := float64(before) / float64((least+before)/2)
			if _, err := try(WholeBudget{Ratio: ratio}); err != nil || float64(sizeOf(t, out)) > float64(before)/ratio {
				t.Errorf("ratio %v: %d of %d bytes, %v", ratio, sizeOf(t, out), before, err)
			}
		})
	}
}

// A recipe gives the file whose plan it is, byte by byte, and holds for no other model.
func TestRecipeRepeatsThePlan(t *testing.T) {
	dir := t.TempDir()
	recipe, direct, followed := filepath.Join(dir, "r.yaml"), filepath.Join(dir, "a.onnx"), filepath.Join(dir, "b.onnx")
	ctx := context.Background()
	o := Options{Model: own("lstm_bidi.onnx"), Whole: WholeBudget{Bytes: 40_000}, Fit: FitOptions{Seed: 3}}
	plan := o
	plan.RecipeOutput = recipe
	p, err := MakePlan(ctx, plan)
	if err != nil {
		t.Fatal(err)
	}
	roles := map[string]bool{}
	for _, s := range p.Sites {
		roles[s.Role] = true
		chosen := 0
		for _, point := range s.Front {
			if point.Chosen {
				chosen++
			}
		}
		if chosen != 1 {
			t.Errorf("%s: %d points of the front are chosen", s.Name, chosen)
		}
	}
	if !roles["w"] || !roles["r"] {
		t.Errorf("the plan has the roles %v", roles)
	}
	o.Output = direct
	if _, err := Decompose(ctx, o); err != nil {
		t.Fatal(err)
	}
	if _, err := Decompose(ctx, Options{Model: o.Model, Output: followed, Recipe: recipe}); err != nil {
		t.Fatal(err)
	}
	a, errA := os.ReadFile(direct)
	b, errB := os.ReadFile(followed)
	if errA != nil || errB != nil || !bytes.Equal(a, b) || int64(len(a)) != p.Output.Bytes {
		t.Errorf("%d and %d bytes that differ, planned %d, %v, %v", len(a), len(b), p.Output.Bytes, errA, errB)
	}

	text, err := os.ReadFile(recipe)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		model, from, to, want string
	}{
		"another model": {own("gru_lbr1.onnx"), "seed", "seed", "another model"},
		"site":          {o.Model, "layer.R", "layer.Q", `did you mean "layer.R"`},
		"role":          {o.Model, "role: r", "role: gemm", `"gemm" in the recipe and "r"`},
		"form":          {o.Model, "form: bottleneck", "form: scan", `"scan"`},
		"weights":       {o.Model, "weights: float32", "weights: float8", `"float8"`},
		"of a matrix":   {o.Model, "weights: int8", "weights: int4", `"int4"`},
		"missed":        {o.Model, "model_bytes: 40000", "model_bytes: 4000", "4000 are allowed"},
		"calibration":   {o.Model, "matrices:", "calibrated: true\nmatrices:", "--calibration"},
		"unknown key":   {o.Model, "matrices:", "rank: 3\nmatrices:", "rank"},
	} {
		changed := strings.Replace(string(text), c.from, c.to, 1)
		path := filepath.Join(dir, "changed.yaml")
		if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(dir, "none.onnx")
		_, err := Decompose(ctx, Options{Model: c.model, Output: out, Recipe: path})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v does not say %q", name, err, c.want)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: a file was written", name)
		}
	}
}

// A budget that float16 alone meets factors nothing, and the outputs are off by what its rounding allows: 2⁻¹¹ for each of a handful of tensors. One
// storage for all, where it is asked for, does no better than the choice.
func TestWholeBudgetsChooseStorage(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.onnx")
	try := func(ratio float64, weights Storage) *Report {
		t.Helper()
		r, err := Decompose(context.Background(), Options{
			Model: own("gestures.onnx"), Output: out, Whole: WholeBudget{Ratio: ratio}, Weights: weights, Files: Files{Force: true},
			Calibration: Calibration{Data: own("gestures_train.npz")}, Fit: FitOptions{Format: "svd"},
		})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := try(1.9, "")
	for _, s := range r.Sites {
		if !s.KeptDense {
			t.Errorf("%s is factored", s.Name)
		}
	}
	if e := float64(r.Verify.Model.Relative); r.Weights != export.Float16 || e > 2e-3 {
		t.Errorf("stored as %s, off by %g", r.Weights, e)
	}
	free := float64(try(6, "").Verify.Model.Relative)
	for _, w := range []Storage{export.Float32, export.Float16} {
		r := try(6, w)
		if e := float64(r.Verify.Model.Relative); e < free {
			t.Errorf("ratio 6: off by %g with %s, by %g with a choice", e, w, free)
		}
		for _, s := range r.Sites {
			if s.Weights != w {
				t.Errorf("%s is stored as %s, not %s", s.Name, s.Weights, w)
			}
		}
	}
}

// The smallest file within a drop of accuracy keeps it, measured by eval.
func TestMaxDrop(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.onnx")
	val := Validation{Data: own("gestures.npz"), Reading: DataOptions{Labels: "label"}}
	accuracy := func(model string) float64 {
		e, err := Eval(context.Background(), EvalOptions{Model: model, Data: val.Data, Reading: val.Reading})
		if err != nil {
			t.Fatal(err)
		}
		return float64(e.Metric)
	}
	r, err := Decompose(context.Background(), Options{
		Model: own("gestures.onnx"), Output: out, Whole: WholeBudget{Drop: true, MaxDrop: 0.02, Val: val},
		Calibration: Calibration{Data: own("gestures_train.npz")}, Fit: FitOptions{Format: "svd"},
	})
	if err != nil {
		t.Fatal(err)
	}
	before, after := accuracy(own("gestures.onnx")), accuracy(out)
	if after < before-0.02 || r.Drop == nil || float64(r.Drop.Before) != before || float64(r.Drop.After) != after {
		t.Errorf("accuracy %v → %v, reported %+v", before, after, r.Drop)
	}
	if n := sizeOf(t, out); n > sizeOf(t, own("gestures.onnx"))/10 {
		t.Errorf("%d bytes", n)
	}
}

// Calibration data need no labels, whatever those of the validation are called.
func TestMaxDropCalibratesWithoutLabels(t *testing.T) {
	dir := t.TempDir()
	m := open(t, own("gestures.onnx"))
	d, err := dataset.Open(t.Context(), own("gestures.npz"), m, DataOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	feeds, err := d.Feeds(0, 20, 0)
	if err != nil {
		t.Fatal(err)
	}
	bare := filepath.Join(dir, "bare.npz")
	f, err := os.Create(bare)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(dataset.WriteNPZ(f, feeds), f.Close()); err != nil {
		t.Fatal(err)
	}
	reading := DataOptions{Labels: "label"}
	r, err := Decompose(t.Context(), Options{
		Model: own("gestures.onnx"), Output: filepath.Join(dir, "out.onnx"), Whole: WholeBudget{Drop: true, MaxDrop: 0.5, Val: Validation{Data: own("gestures.npz"), Reading: reading}},
		Calibration: Calibration{Data: bare, Reading: reading}, Fit: FitOptions{Format: "svd"}, Weights: export.Float32,
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.Drop == nil || math.IsNaN(float64(r.Sites[0].DataError)) {
		t.Errorf("drop %v, error on data %v", r.Drop, r.Sites[0].DataError)
	}
}

func TestWholeBudgetsRefuse(t *testing.T) {
	val := Validation{Data: own("gestures.npz"), Reading: DataOptions{Labels: "label"}}
	for name, c := range map[string]struct {
		o    Options
		want string
	}{
		"two":              {Options{Whole: WholeBudget{Bytes: 5, Ratio: 3}}, "more than one"},
		"and another":      {Options{Whole: WholeBudget{Bytes: 5}, Budget: Budget{Rank: 3}}, "more than one"},
		"ratio 1":          {Options{Whole: WholeBudget{Ratio: 1}}, "--model-ratio"},
		"negative":         {Options{Whole: WholeBudget{Bytes: -1}}, "--model-bytes"},
		"negative drop":    {Options{Whole: WholeBudget{Drop: true, MaxDrop: -1, Val: val}}, "--max-drop"},
		"drop of nothing":  {Options{Whole: WholeBudget{Drop: true}}, "--val"},
		"no labels":        {Options{Whole: WholeBudget{Drop: true, Val: Validation{Data: "x"}}}, "--labels"},
		"val without drop": {Options{Whole: WholeBudget{Bytes: 5, Val: val}}, "--max-drop"},
		"dense":            {Options{Whole: WholeBudget{Bytes: 5}, Export: ExportOptions{Form: export.Dense}}, "--form"},
		"modes":            {Options{Whole: WholeBudget{Bytes: 5}, Fit: FitOptions{InModes: []int{4, 4}}}, "--in-modes"},
		"matrices":         {Options{Matrices: "b"}, "--matrices"},
		"recipe, budget":   {Options{Recipe: "r", Whole: WholeBudget{Bytes: 5}}, "contradicts"},
		"recipe, site":     {Options{Recipe: "r", Sites: []string{"x"}}, "contradicts"},
		"recipe, format":   {Options{Recipe: "r", Fit: FitOptions{Format: "tt"}}, "contradicts"},
		"recipe, weights":  {Options{Recipe: "r", Weights: export.Int8}, "contradicts"},
		"recipe, form":     {Options{Recipe: "r", Export: ExportOptions{Form: export.Cores}}, "contradicts"},
	} {
		c.o.Model, c.o.Output = own("lstm_bidi.onnx"), filepath.Join(t.TempDir(), "out.onnx")
		_, err := Decompose(context.Background(), c.o)
		if option := (*OptionError)(nil); !errors.As(err, &option) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v does not say %q", name, err, c.want)
		}
	}
}

// R joins W where it is asked for.
func TestMatricesByChoice(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.onnx")
	for choice, want := range map[string]string{"w": "w", "r": "w r"} {
		r, err := Decompose(context.Background(), Options{Model: own("lstm_bidi.onnx"), Output: out, Matrices: choice, Budget: Budget{Ratio: 6}, Files: Files{Force: true}})
		if err != nil {
			t.Fatal(err)
		}
		var roles []string
		for _, s := range r.Sites {
			roles = append(roles, s.Role)
		}
		if got := strings.Join(roles, " "); got != want || float64(r.WAfter) > float64(r.WBefore)/6 {
			t.Errorf("--matrices %s: roles %s, %d of %d numbers", choice, got, r.WAfter, r.WBefore)
		}
	}
}
