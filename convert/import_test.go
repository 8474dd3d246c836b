package convert

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/export/safetensors"
	"github.com/trconvert/trconvert/export/weights"
	"github.com/trconvert/trconvert/onnx"
)

// exportWeights exports the weights of a model beside it.
func exportWeights(t *testing.T, model, target string) string {
	t.Helper()
	out := model + "." + target
	if _, err := Export(t.Context(), TargetOptions{Model: model, Target: target, Output: out}); err != nil {
		t.Fatal(err)
	}
	return out
}

func sameBytes(t *testing.T, a, b string) {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(x, y) {
		t.Errorf("%s and %s differ", a, b)
	}
}

// TestImportGivesTheFileAgain exports and imports models of every format, form and storage: the file is the same, byte for byte.
func TestImportGivesTheFileAgain(t *testing.T) {
	models, err := filepath.Glob(own("*.onnx"))
	if err != nil || len(models) == 0 {
		t.Fatalf("no models: %v", err)
	}
	type variant struct {
		model   string
		options Options // without files
	}
	var all []variant
	for _, m := range models {
		if name := filepath.Base(m); name != "lstm_step_gates.onnx" {
			all = append(all, variant{m, Options{Budget: Budget{Rank: 4}}})
		}
	}
	for _, format := range []string{"tr", "tt", "svd"} {
		for _, w := range []Storage{export.Float32, export.Float16, export.Int8} {
			all = append(all, variant{own("gestures.onnx"), Options{Budget: Budget{Ratio: 50}, Fit: FitOptions{Format: format, Sweeps: 2}, Weights: w}})
		}
	}
	for _, o := range []ExportOptions{{Form: export.Cores}, {MergeOutput: true}} {
		all = append(all, variant{own("gestures.onnx"), Options{Budget: Budget{Ratio: 50}, Fit: FitOptions{Format: "tr", Sweeps: 2}, Export: o, Weights: export.Int8}})
	}
	for k, v := range all {
		t.Run(fmt.Sprintf("%d_%s", k, filepath.Base(v.model)), func(t *testing.T) {
			v.options.Model, v.options.Output = v.model, filepath.Join(t.TempDir(), "compact.onnx")
			decomposes(t, v.options)
			givesTheFileAgain(t, v.options.Output)
		})
	}
	t.Run("dense", func(t *testing.T) {
		copied := filepath.Join(t.TempDir(), "dense.onnx")
		data, err := os.ReadFile(own("gestures.onnx"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(copied, data, 0o644); err != nil {
			t.Fatal(err)
		}
		givesTheFileAgain(t, copied)
	})
}

func givesTheFileAgain(t *testing.T, model string) {
	t.Helper()
	for _, target := range []string{"safetensors", "npz", "pytorch"} {
		file := exportWeights(t, model, target)
		if target == "pytorch" {
			file = filepath.Join(file, "weights.safetensors") // in float32, whatever the storage
		}
		out := filepath.Join(t.TempDir(), "again.onnx")
		r, err := Import(t.Context(), ImportOptions{Model: model, Weights: file, Output: out})
		if err != nil {
			t.Fatal(err)
		}
		if r.Changed != 0 || r.Weights.Tensors == 0 {
			t.Errorf("%+v", r)
		}
		sameBytes(t, model, out)
	}
}

// rewritten changes tensors of a file of weights.
func rewritten(t *testing.T, file string, change func(*safetensors.File)) string {
	t.Helper()
	f, err := safetensors.ReadFile(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	change(f)
	var b bytes.Buffer
	if err := safetensors.Write(&b, f); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "changed.safetensors")
	if err := os.WriteFile(out, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestImportPutsWeightsBack gives one core and the bias other numbers: these arrive, rounded as the storage has it, and nothing else changes.
func TestImportPutsWeightsBack(t *testing.T) {
	for _, w := range []Storage{export.Float32, export.Float16, export.Int8} {
		t.Run(string(w), func(t *testing.T) {
			o := storedOptions(t, own("gestures.onnx"), w)
			decomposes(t, o)
			given := map[string][]float32{}
			file := rewritten(t, exportWeights(t, o.Output, "safetensors"), func(f *safetensors.File) {
				for _, name := range []string{"lstm/core1", "lstm/bias"} {
					k := slices.IndexFunc(f.Tensors, func(t safetensors.Tensor) bool { return t.Name == name })
					x := make([]float32, f.Tensors[k].Array.Elements())
					for i := range x {
						x[i] = float32(math.Sin(float64(i)))
					}
					given[name], f.Tensors[k].Array = x, &onnx.Array{Type: onnx.Float, Dims: f.Tensors[k].Array.Dims, Data: x}
				}
				f.Tensors = slices.DeleteFunc(f.Tensors, func(t safetensors.Tensor) bool { return t.Name == "lstm/core1/scale" })
			})
			out := filepath.Join(t.TempDir(), "trained.onnx")
			r, err := Import(t.Context(), ImportOptions{Model: o.Output, Weights: file, Output: out})
			if err != nil {
				t.Fatal(err)
			}
			if r.Changed != 2 {
				t.Errorf("%d weights have changed, want 2", r.Changed)
			}
			before, after := values(t, o.Output), values(t, out)
			for name, x := range after {
				want, bound := before[name], 0.0
				if g := given[name]; g != nil {
					want = g
					if name == "lstm/core1" {
						// Of numbers up to 1 in each channel: half a unit in the last place of binary16, half a step of 1/127.
						bound = map[Storage]float64{export.Float32: 0, export.Float16: 0x1p-12, export.Int8: 0.5 / 127}[w]
					}
				}
				for i := range x {
					if d := math.Abs(float64(x[i]) - float64(want[i])); !(d <= bound*1.0001) {
						t.Fatalf("%s: element %d is %g, want %g within %g", name, i, x[i], want[i], bound)
					}
				}
			}
			if a, err := storageOf(open(t, out)); err != nil || a != w {
				t.Errorf("stored as %s (%v), want %s", a, err, w)
			}
		})
	}
}

// values reads the weights of a model as float32.
func values(t *testing.T, model string) map[string][]float32 {
	t.Helper()
	set, err := weights.Of(open(t, model))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]float32{}
	for _, w := range set.Weights {
		read := w.Tensor.Array
		if w.Stored != nil {
			read = w.Stored.Array
		}
		a, err := read()
		if err != nil {
			t.Fatal(err)
		}
		if all[w.Name], err = a.Float32s(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// TestImportRefuses changes what a file holds: the error says what does not fit, and nothing is written.
func TestImportRefuses(t *testing.T) {
	o := storedOptions(t, own("gestures.onnx"), export.Int8)
	decomposes(t, o)
	file := exportWeights(t, o.Output, "safetensors")
	set := func(name string, a *onnx.Array) func(*safetensors.File) {
		return func(f *safetensors.File) {
			k := slices.IndexFunc(f.Tensors, func(t safetensors.Tensor) bool { return t.Name == name })
			if k < 0 {
				f.Tensors = append(f.Tensors, safetensors.Tensor{Name: name, Array: a})
				return
			}
			f.Tensors[k].Array = a
		}
	}
	drop := func(name string) func(*safetensors.File) {
		return func(f *safetensors.File) {
			f.Tensors = slices.DeleteFunc(f.Tensors, func(t safetensors.Tensor) bool { return t.Name == name })
		}
	}
	ones := func(typ onnx.DataType, data any, dims ...int) *onnx.Array {
		return &onnx.Array{Type: typ, Dims: dims, Data: data}
	}
	bias := values(t, o.Output)["lstm/bias"]
	broken := slices.Clone(bias)
	broken[7] = float32(math.NaN())
	for name, c := range map[string]struct {
		change func(*safetensors.File)
		says   []string
	}{
		"missing":       {drop("lstm/R"), []string{`"lstm/R"`, "is missing"}},
		"missing scale": {drop("lstm/R/scale"), []string{`"lstm/R/scale"`, "is missing", "I8"}},
		"unknown":       {set("lstm/core99", ones(onnx.Float, []float32{1}, 1)), []string{`"lstm/core99"`, "no such weight"}},
		"dims":          {set("lstm/bias", ones(onnx.Float, []float32{1, 2}, 1, 2)), []string{`"lstm/bias"`, "[1 2]", "[1 512]"}},
		"type":          {set("lstm/bias", ones(onnx.Double, make([]float64, len(bias)), 1, len(bias))), []string{`"lstm/bias"`, "F64", "F32"}},
		"scale's type":  {set("lstm/R/scale", ones(onnx.Float16, []uint16{1}, 1)), []string{`"lstm/R/scale"`, "F16", "F32"}},
		"NaN":           {set("lstm/bias", ones(onnx.Float, broken, 1, len(bias))), []string{`"lstm/bias"`, "element 7 is NaN"}},
		"fingerprint":   {func(f *safetensors.File) { f.Metadata[weights.ModelKey] = strings.Repeat("0", 64) }, []string{"0000000000000000", "graphs do not"}},
		"schema":        {func(f *safetensors.File) { f.Metadata[weights.SchemaKey] = "trconvert.weights/v9" }, []string{"trconvert.weights/v9", "trconvert.weights/v1"}},
	} {
		t.Run(name, func(t *testing.T) {
			changed := rewritten(t, file, c.change)
			out := filepath.Join(t.TempDir(), "out.onnx")
			_, err := Import(t.Context(), ImportOptions{Model: o.Output, Weights: changed, Output: out})
			if err == nil {
				t.Fatal("it is taken")
			}
			for _, want := range append(c.says, filepath.Base(changed)) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v does not say %q", err, want)
				}
			}
			if left, err := os.ReadDir(filepath.Dir(out)); err != nil || len(left) > 0 {
				t.Errorf("something was written: %v, %v", left, err)
			}
		})
	}
	t.Run("without metadata", func(t *testing.T) {
		bare := rewritten(t, file, func(f *safetensors.File) { f.Metadata = nil })
		if _, err := Import(t.Context(), ImportOptions{Model: o.Output, Weights: bare, Output: filepath.Join(t.TempDir(), "out.onnx")}); err != nil {
			t.Error(err)
		}
	})
}

// TestFingerprint is that of the graph: other numbers keep it, another graph, or the same in another storage, does not.
func TestFingerprint(t *testing.T) {
	prints := map[string]string{}
	for name, o := range map[string]Options{
		"ring":           {Budget: Budget{Rank: 4}, Fit: FitOptions{Format: "tr"}},
		"ring, one seed": {Budget: Budget{Rank: 4}, Fit: FitOptions{Format: "tr", Init: "random", Seed: 1, Sweeps: 1}},
		"other ranks":    {Budget: Budget{Rank: 5}, Fit: FitOptions{Format: "tr"}},
		"train":          {Budget: Budget{Rank: 4}, Fit: FitOptions{Format: "tt"}},
		"float16":        {Budget: Budget{Rank: 4}, Fit: FitOptions{Format: "tr"}, Weights: export.Float16},
	} {
		o.Model, o.Output = own("gestures.onnx"), filepath.Join(t.TempDir(), "out.onnx")
		decomposes(t, o)
		set, err := weights.Of(open(t, o.Output))
		if err != nil {
			t.Fatal(err)
		}
		if prints[name], err = set.Fingerprint(); err != nil {
			t.Fatal(err)
		}
	}
	if prints["ring"] != prints["ring, one seed"] {
		t.Error("other numbers give another fingerprint")
	}
	seen := map[string]string{}
	for name, print := range prints {
		if other, ok := seen[print]; ok && (name == "train" || name == "other ranks" || name == "float16" || other == "train" || other == "other ranks" || other == "float16") {
			t.Errorf("%s and %s have the same fingerprint", name, other)
		}
		seen[print] = name
	}
}
