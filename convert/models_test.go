package convert

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/internal/engine/ort"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
)

// shared is the folder of models that are not part of this project; tests that need it are skipped where it is absent.
func shared(t *testing.T, elements ...string) string {
	t.Helper()
	dir := filepath.Join(append([]string{"..", "..", "shared"}, elements...)...)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		t.Skipf("%s is absent", dir)
	}
	return dir
}

// refusal is the error type and a part of the reason that a case must meet.
type refusal struct {
	kind   string // "unsupported" or "gate"
	reason string
}

// TestCases converts every importer-stress model and every PyTorch export, or sees it refused with the right reason. The rest are
// converted; what Decompose itself verifies is checked again with ONNX Runtime where its library is named in the environment.
func TestCases(t *testing.T) {
	refused := map[string]refusal{
		"synthetic/dequantized_W":             {"unsupported", "already quantised"},
		"synthetic/rnn_relu":                  {"gate", "outweigh what W loses"}, // W of 0.8 kB
		"synthetic/w_also_used_elsewhere":     {"gate", "other readers"},
		"torch-export/lstmcell_unrolled_op14": {"unsupported", "unrolled"},
	}
	// What ONNX Runtime itself refuses, so that it cannot be the judge.
	notInORT := []string{"synthetic/layout1_batchwise", "torch-export/lstm1_double_op14", "synthetic/fp16"}
	root := shared(t, "models")
	for _, group := range []string{"synthetic", "torch-export"} {
		cases, err := filepath.Glob(filepath.Join(root, group, "*", "model.onnx"))
		if err != nil || len(cases) == 0 {
			t.Fatalf("no cases in %s: %v", group, err)
		}
		for _, model := range cases {
			name := group + "/" + filepath.Base(filepath.Dir(model))
			t.Run(name, func(t *testing.T) {
				if want, ok := refused[name]; ok {
					refuses(t, model, want)
					return
				}
				out := converts(t, model, export.Bottleneck, quickFormat(t, model))
				if !slices.Contains(notInORT, name) {
					agreesWithORT(t, model, out)
				}
			})
		}
	}
}

// TestRefusedModels sees the reasons for which real models cannot be converted.
func TestRefusedModels(t *testing.T) {
	root := shared(t, "models")
	t.Run("quant_sentinel_lstm_loop", func(t *testing.T) {
		refuses(t, filepath.Join(root, "visible", "quant_sentinel_lstm_loop", "model.onnx"), refusal{"unsupported", "Loop"})
	})
	weightsAreInputs, err := filepath.Glob(filepath.Join(root, "ngraph-rnn", "*.onnx"))
	if err != nil || len(weightsAreInputs) == 0 {
		t.Fatalf("no models in ngraph-rnn: %v", err)
	}
	for _, model := range weightsAreInputs {
		t.Run(filepath.Base(model), func(t *testing.T) {
			refuses(t, model, refusal{"unsupported", `graph input "W"`})
		})
	}
}

// TestVisibleModels converts real models at ratio 4: each in one form, two of them (one with its layers in branches) as rings in all forms.
func TestVisibleModels(t *testing.T) {
	root := shared(t, "models", "visible")
	forms := []Form{export.Bottleneck, export.Cores, export.Dense}
	for k, name := range []string{
		"dtln_model_1", "silero_vad_v6", "keras2onnx_test_model_1", "byte_sb_bidi_lstm", "thai2rom_encoder", "apple_dashboard_lstm",
		"silero_vad_16k_op15", "silero_vad_v4", "mnist_gru_gap8", "msl150_gru_128_h5", "libtashkeel_gru",
	} {
		use, format := forms, "tr"
		if k >= 2 {
			use, format = forms[k%2:k%2+1], Formats[2+k/2%2]
		}
		for _, form := range use {
			t.Run(name+"/"+string(form), func(t *testing.T) {
				model := filepath.Join(root, name, "model.onnx")
				agreesWithORT(t, model, converts(t, model, form, format))
			})
		}
	}
}

// TestOwnModels converts the project's own models in all forms.
func TestOwnModels(t *testing.T) {
	models, err := filepath.Glob(own("*.onnx"))
	if err != nil || len(models) == 0 {
		t.Fatalf("no models: %v", err)
	}
	for _, model := range models {
		if filepath.Base(model) == "lstm_step_gates.onnx" { // a cell in single operators, for onnx-go
			refuses(t, model, refusal{"unsupported", "unrolled"})
			continue
		}
		for _, form := range []Form{export.Bottleneck, export.Cores, export.Dense} {
			t.Run(filepath.Base(model)+"/"+string(form), func(t *testing.T) {
				out := filepath.Join(t.TempDir(), "out.onnx")
				decomposes(t, Options{Model: model, Output: out, Budget: Budget{Rank: 4}, Export: ExportOptions{Form: form}})
				if !strings.Contains(model, "float16") { // ONNX Runtime has no float16 LSTM on CPUs
					agreesWithORT(t, model, out)
				}
			})
		}
	}
}

// quickFormat is the ring, the default, but for large models, whose ring ranks take seconds to choose.
func quickFormat(t *testing.T, model string) string {
	t.Helper()
	info, err := os.Stat(model)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 1<<18 {
		return "svd"
	}
	return "tr"
}

func options(model, out string) Options {
	return Options{Model: model, Output: out, Budget: Budget{Ratio: 4}}
}

func refuses(t *testing.T, model string, want refusal) {
	t.Helper()
	dir := t.TempDir()
	o := options(model, filepath.Join(dir, "out.onnx"))
	o.Fit.Format = "tr" // whose nodes weigh more than those of a truncated SVD
	_, err := Decompose(t.Context(), o)
	var (
		unsupported *UnsupportedError
		gate        *GateError
	)
	kind := ""
	switch {
	case errors.As(err, &unsupported):
		kind = "unsupported"
	case errors.As(err, &gate):
		kind = "gate"
	}
	if kind != want.kind || !strings.Contains(err.Error(), want.reason) {
		t.Errorf("got %q %v, want %q with %q", kind, err, want.kind, want.reason)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("something was written: %v, %v", left, err)
	}
}

// converts runs a conversion and holds its report to what a report promises.
func converts(t *testing.T, model string, form Form, format string) (out string) {
	t.Helper()
	out = filepath.Join(t.TempDir(), "out.onnx")
	o := options(model, out)
	o.Export.Form, o.Fit.Format = form, format
	r, err := Decompose(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(out)
	if err != nil {
		t.Fatal(err)
	}
	if r.Output.Bytes != info.Size() {
		t.Errorf("the report says %d bytes, the file has %d", r.Output.Bytes, info.Size())
	}
	if float64(r.WBefore) < 4*float64(r.WAfter) {
		t.Errorf("W shrank from %d to %d numbers, less than 4 times", r.WBefore, r.WAfter)
	}
	if r.Verify.Model == nil {
		t.Errorf("the model as a whole was not run: %v", r.Warnings)
	}
	if f := float64(r.Verify.Form.Relative); math.IsNaN(f) || f > 5e-3 {
		t.Errorf("the written form differs by %g", f)
	}
	savesWhatItDropped(t, model, r, form)
	return out
}

// savesWhatItDropped wants at least four bytes of the file saved for each float32 number saved, less 4 kB a site for nodes and metadata.
func savesWhatItDropped(t *testing.T, model string, r *Report, form Form) {
	t.Helper()
	if form == export.Dense || strings.Contains(model, "fp16") {
		return
	}
	// Compared with the file on disk alone: writing takes external data in.
	if saved, dropped := r.Input.Bytes-r.Output.Bytes, 4*(r.WBefore-r.WAfter)-4096*int64(len(r.Sites)); saved < dropped {
		t.Errorf("%d bytes saved for %d numbers dropped, want %d at least", saved, r.WBefore-r.WAfter, dropped)
	}
}

// agreesWithORT runs the written file in ONNX Runtime, the oracle, and in our runtime, on inputs that the original accepts.
func agreesWithORT(t *testing.T, model, out string) {
	t.Helper()
	if os.Getenv(ort.LibraryVariable) == "" {
		return // said once, by TestORTIsThere
	}
	ctx := t.Context()
	e, err := ort.Open(ort.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	samples, err := acceptedBy(ctx, model)
	if len(samples) == 0 {
		t.Fatalf("no inputs: %v", err)
	}
	m, err := onnx.OpenFile(ctx, out, onnx.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	p, err := runtime.Compile(ctx, m, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := newComparer()
	for _, s := range samples {
		want, err := e.Run(ctx, out, s.feeds)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Run(ctx, s.feeds)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))) {
			t.Errorf("outputs are named %v and %v", slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)))
		}
		if err := c.add(got, want, nil); err != nil {
			t.Fatal(err)
		}
	}
	if r := c.result("onnxruntime"); !(r.Relative <= 1e-4) {
		t.Errorf("our runtime and ONNX Runtime differ by %g at output %q", float64(r.Relative), c.worst())
	}
}

func acceptedBy(ctx context.Context, model string) ([]sample, error) {
	m, err := onnx.OpenFile(ctx, model, onnx.OpenOptions{})
	if err != nil {
		return nil, err
	}
	defer m.Close()
	p, err := runtime.Compile(ctx, m, runtime.Options{})
	if err != nil {
		return nil, err
	}
	return acceptedFeeds(ctx, p.Inputs(), p.Run)
}

// TestORTIsThere is skipped, by name, where ONNX Runtime does not judge the other tests of this file.
func TestORTIsThere(t *testing.T) {
	if os.Getenv(ort.LibraryVariable) == "" {
		t.Skipf("%s is not set: written models are not run in ONNX Runtime", ort.LibraryVariable)
	}
	if _, err := ort.Open(ort.Options{}); err != nil {
		t.Fatal(err)
	}
}
