package convert

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/internal/engine/ort"
	"github.com/trconvert/trconvert/onnx"
)

// storedOptions are quick ones.
func storedOptions(t *testing.T, model string, w Storage) Options {
	return Options{
		Model: model, Output: filepath.Join(t.TempDir(), string(w)+".onnx"), Weights: w,
		Budget: Budget{Ratio: 20}, Fit: FitOptions{Format: "tr", Sweeps: 3},
	}
}

// TestDecomposeStores converts with every storage in every form: files are smaller by what their numbers lose, the written form agrees with the stored
// cores to the bound of float32, and W is off by what rounding allows (2⁻¹¹, or about one part in a hundred, for each of the cores).
func TestDecomposeStores(t *testing.T) {
	for _, o := range []ExportOptions{{Form: export.Bottleneck}, {Form: export.Cores}, {Form: export.Bottleneck, MergeOutput: true}} {
		t.Run(fmt.Sprint(o), func(t *testing.T) {
			reports := map[Storage]*Report{}
			for _, w := range []Storage{export.Float32, export.Float16, export.Int8} {
				d := storedOptions(t, own("gestures.onnx"), w)
				d.Export = o
				r, err := Decompose(t.Context(), d)
				if err != nil {
					t.Fatal(err)
				}
				if rel := float64(r.Verify.Form.Relative); !(rel <= 1e-5) {
					t.Errorf("%s: form off by %g", w, rel)
				}
				info, err := os.Stat(d.Output)
				if err != nil || info.Size() != r.Output.Bytes || r.Weights != w {
					t.Errorf("%s: %v, reported %d bytes and %s", w, info, r.Output.Bytes, r.Weights)
				}
				if w == export.Int8 {
					p, err := MakePlan(t.Context(), d)
					if err != nil || p.Output.Bytes != r.Output.Bytes {
						t.Errorf("%s: planned %+v, %v", w, p, err)
					}
				}
				in, err := Inspect(t.Context(), d.Output, InspectOptions{})
				if err != nil || in.Weights != w || len(in.Rings) != 1 {
					t.Errorf("%s: inspected %+v, %v", w, in, err)
				}
				reports[w] = r
			}
			full := reports[export.Float32]
			for w, c := range map[Storage]struct{ size, off float64 }{export.Float16: {0.6, 0x1p-11}, export.Int8: {0.4, 0.012}} {
				if r := reports[w]; !(float64(r.Output.Bytes) < c.size*float64(full.Output.Bytes)) {
					t.Errorf("%s: %d bytes, float32 has %d", w, r.Output.Bytes, full.Output.Bytes)
				}
				cores := float64(len(full.Sites[0].Ranks))
				a, b := float64(full.Sites[0].RelativeError), float64(reports[w].Sites[0].RelativeError)
				if a == b || math.Abs(b-a) > c.off*math.Sqrt(cores) {
					t.Errorf("%s: error of W %g, of float32 %g", w, b, a)
				}
			}
		})
	}
}

// TestStoredModelsConvertAgain decomposes a stored model: it is taken for what its numbers stand for.
func TestStoredModelsConvertAgain(t *testing.T) {
	first := storedOptions(t, own("gestures.onnx"), export.Int8)
	decomposes(t, first)
	full, err := export.Restore(t.Context(), open(t, first.Output))
	if err != nil {
		t.Fatal(err)
	}
	restored := filepath.Join(t.TempDir(), "restored.onnx")
	if err := full.WriteFile(t.Context(), restored, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, model := range []string{first.Output, restored} {
		o := storedOptions(t, model, export.Int8)
		o.Budget = Budget{Ratio: 60}
		r, err := Decompose(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Sites) != 1 || r.Sites[0].KeptDense {
			t.Errorf("%s: %+v", model, r.Sites)
		}
		if files[model], err = os.ReadFile(o.Output); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(files[first.Output], files[restored]) {
		t.Error("the stored model and the restored one give other bytes")
	}
}

// TestFinetuneKeepsStorage trains a stored model: the same tensors are narrow afterwards, nodes and sizes are the same, the loss that epochs were judged by is
// that of the file, and training through the rounding ends where training in float32 does, once losses have settled: after 16 epochs they still jump by more than the bound from seed to seed, after 30 by a third of it.
func TestFinetuneKeepsStorage(t *testing.T) {
	losses := map[Storage]float64{}
	for _, w := range []Storage{export.Float32, export.Float16, export.Int8} {
		small := storedOptions(t, own("gestures.onnx"), w)
		small.Budget.Ratio = 200 // a start that every training betters
		decomposes(t, small)
		out := filepath.Join(t.TempDir(), "tuned.onnx")
		r := tunes(t, FinetuneOptions{Model: small.Output, Output: out, Data: withVal(gestures("gestures_train.npz"), own("gestures.npz")), Settings: TrainingSettings{Epochs: 30}})
		if r.Weights != w || r.Output.Bytes != r.Input.Bytes || r.BestEpoch == 0 {
			t.Errorf("%s: reported %s, %d bytes of %d, best epoch %d", w, r.Weights, r.Output.Bytes, r.Input.Bytes, r.BestEpoch)
		}
		losses[w] = float64(r.After.Loss)
		if best := float64(r.Epochs[r.BestEpoch-1].ValLoss); math.Abs(best-losses[w]) > 1e-4*(1+best) {
			t.Errorf("%s: the best epoch had the loss %g, the file has %g", w, best, losses[w])
		}
		before, after := open(t, small.Output), open(t, out)
		a, err := export.StoredTensors(before)
		if err != nil {
			t.Fatal(err)
		}
		b, err := export.StoredTensors(after)
		if err != nil {
			t.Fatal(err)
		}
		if len(a) != len(b) || (w == export.Float32) != (len(a) == 0) {
			t.Fatalf("%s: %d stored tensors, were %d", w, len(b), len(a))
		}
		for k := range a {
			if a[k].Name != b[k].Name || a[k].String() != b[k].String() || !reflect.DeepEqual(a[k].Tensor.Dims, b[k].Tensor.Dims) {
				t.Errorf("%s: %v became %v", w, a[k], b[k])
			}
		}
		if len(before.Graph.Nodes) != len(after.Graph.Nodes) {
			t.Errorf("%s: %d nodes, were %d", w, len(after.Graph.Nodes), len(before.Graph.Nodes))
		}
	}
	for w, loss := range losses {
		if full := losses[export.Float32]; !(loss < full+0.05) {
			t.Errorf("%s: loss %g, float32 %g", w, loss, full)
		}
	}
}

func withVal(d TrainingData, held string) TrainingData {
	d.Held = held
	return d
}

// TestFinetuneChangesStorage writes what was trained in another type than the model was in.
func TestFinetuneChangesStorage(t *testing.T) {
	small := storedOptions(t, own("gestures.onnx"), export.Float16)
	decomposes(t, small)
	for _, w := range []Storage{export.Float32, export.Int8} {
		out := filepath.Join(t.TempDir(), "tuned.onnx")
		r := tunes(t, FinetuneOptions{Model: small.Output, Output: out, Weights: w, Data: gestures("gestures_train.npz"), Settings: TrainingSettings{Epochs: 1}})
		got, err := storageOf(open(t, out))
		if err != nil || got != w || r.Weights != w {
			t.Errorf("asked for %s, the file has %s, reported %s, %v", w, got, r.Weights, err)
		}
	}
}

// TestStoredMaxError asks for a bound that the stored cores have to keep.
func TestStoredMaxError(t *testing.T) {
	for _, w := range []Storage{export.Float16, export.Int8} {
		o := storedOptions(t, own("lstm_bidi.onnx"), w)
		o.Budget = Budget{MaxError: 0.5}
		r, err := Decompose(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if e := float64(r.Sites[0].RelativeError); !(e > 0 && e <= 0.5) {
			t.Errorf("%s: error %g", w, e)
		}
		// No ring is within reach of what int8 itself costs.
		o.Budget, o.Files.Force = Budget{MaxError: 1e-4}, true
		var gate *GateError
		if _, err := Decompose(t.Context(), o); err == nil || w == export.Int8 && !errors.As(err, &gate) {
			t.Errorf("%s: a bound of 0.0001: got %v", w, err)
		}
	}
}

// TestStoredErrors sees options that contradict and gates that rounding misses.
func TestStoredErrors(t *testing.T) {
	o := storedOptions(t, own("gestures.onnx"), "int4")
	_, err := Decompose(t.Context(), o)
	var option *OptionError
	if !errors.As(err, &option) || option.Option != "--weights" || !slices.Equal(option.Valid, Storages) {
		t.Errorf("unknown storage: %v", err)
	}
	o.Weights, o.Export.Form = export.Int8, export.Dense
	if _, err = Decompose(t.Context(), o); !errors.As(err, &option) || !strings.Contains(err.Error(), "dense form") {
		t.Errorf("dense form: %v", err)
	}
	if _, err = Finetune(t.Context(), FinetuneOptions{Model: own("gestures.onnx"), Output: "x.onnx", Weights: "int4", Data: gestures("gestures_train.npz")}); !errors.As(err, &option) || option.Option != "--weights" {
		t.Errorf("unknown storage of a training: %v", err)
	}
	for _, path := range []string{o.Output, "x.onnx"} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s was written", path)
		}
	}
}

// TestStoredInORT runs stored models in ONNX Runtime.
func TestStoredInORT(t *testing.T) {
	if os.Getenv(ort.LibraryVariable) == "" {
		t.Skipf("%s is not set", ort.LibraryVariable)
	}
	for _, w := range []Storage{export.Float16, export.Int8} {
		for _, model := range []string{"gestures.onnx", "if_outer_w.onnx", "tied.onnx", "lstm_bidi.onnx", "gru_lbr1.onnx"} {
			for _, form := range []Form{export.Bottleneck, export.Cores} {
				t.Run(fmt.Sprint(w, " ", model, " ", form), func(t *testing.T) {
					o := storedOptions(t, own(model), w)
					o.Export.Form = form
					if model != "gestures.onnx" { // which are small
						o.Budget = Budget{Ratio: 4}
					}
					var gate *GateError
					if _, err := Decompose(t.Context(), o); errors.As(err, &gate) {
						t.Skip(err)
					} else if err != nil {
						t.Fatal(err)
					}
					agreesWithORT(t, o.Model, o.Output)
				})
			}
		}
	}
}
