package convert

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/export/safetensors"
	"github.com/trconvert/trconvert/internal/engine/ort"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// python is the interpreter that has PyTorch: $TRCONVERT_PYTHON, or Debian's.
func python(t *testing.T) string {
	t.Helper()
	name := os.Getenv("TRCONVERT_PYTHON")
	if name == "" {
		name = "/usr/bin/python3"
	}
	if err := exec.CommandContext(t.Context(), name, "-c", "import torch").Run(); err != nil {
		t.Skipf("%s has no PyTorch (Debian: python3-torch): %v", name, err)
	}
	return name
}

// runPython runs a program and fails with what it says.
func runPython(t *testing.T, args ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), python(t), args...)
	c.Env = append(os.Environ(), "OMP_NUM_THREADS=1")
	text, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, text)
	}
	return string(text)
}

// putInputs writes feeds of an exported model for the driver.
func putInputs(t *testing.T, path string, inputs []*onnx.ValueInfo, feeds map[string]*onnx.Array) {
	t.Helper()
	f := &safetensors.File{}
	for k, v := range inputs {
		a := feeds[v.Name]
		if a.Type == onnx.Float16 {
			var err error
			if a, err = dataset.Cast(a, onnx.Float); err != nil {
				t.Fatal(err)
			}
		}
		f.Tensors = append(f.Tensors, safetensors.Tensor{Name: strconv.Itoa(k), Array: a})
	}
	var b bytes.Buffer
	if err := safetensors.Write(&b, f); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// drive runs exported models on all inputs that stand in their folders, in one process.
func drive(t *testing.T, folders ...string) {
	t.Helper()
	runPython(t, append([]string{filepath.Join("..", "export", "pytorch", "testdata", "driver.py")}, folders...)...)
}

// outputsOf reads what the driver wrote.
func outputsOf(t *testing.T, path string, outputs []*onnx.ValueInfo) map[string]*onnx.Array {
	t.Helper()
	if text, err := os.ReadFile(filepath.Join(filepath.Dir(path), "error.txt")); err == nil {
		t.Fatalf("%s", text)
	}
	got, err := safetensors.ReadFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*onnx.Array{}
	for k, v := range outputs {
		out[v.Name] = got.Tensor(strconv.Itoa(k))
	}
	return out
}

// TestPyTorchAgrees runs compact models of every format, form and storage in PyTorch: outputs are those of our runtime, to 1e-5, on inputs of several sizes. The models of others are those
// of docs/pytorch.md.
func TestPyTorchAgrees(t *testing.T) {
	python(t)
	type compact struct {
		name string
		Options
	}
	gestures := func(name string, o Options) compact {
		o.Model = own("gestures.onnx")
		if o.Budget.Ratio == 0 && o.Budget.Rank == 0 {
			o.Budget.Ratio = 30
		}
		o.Fit.Sweeps = 3
		return compact{"gestures " + name, o}
	}
	all := []compact{
		gestures("tr", Options{Fit: FitOptions{Format: "tr"}}),
		gestures("tt", Options{Fit: FitOptions{Format: "tt"}}),
		gestures("svd", Options{Fit: FitOptions{Format: "svd"}}),
		gestures("ttm", Options{Fit: FitOptions{Format: "ttm", InModes: []int{8, 8, 16}, OutModes: []int{16, 16, 1}}, Budget: Budget{Rank: 6}}),
		gestures("cores", Options{Fit: FitOptions{Format: "tr"}, Export: ExportOptions{Form: export.Cores}}),
		gestures("merged", Options{Fit: FitOptions{Format: "tr"}, Export: ExportOptions{MergeOutput: true}}),
		gestures("padded", Options{Fit: FitOptions{Format: "tr", InModes: []int{3, 7, 7, 7}}, Budget: Budget{Rank: 5}}),
		gestures("int8", Options{Fit: FitOptions{Format: "tr"}, Weights: export.Int8}),
		gestures("float16", Options{Fit: FitOptions{Format: "tr"}, Weights: export.Float16}),
	}
	for _, name := range []string{"lstm_bidi", "gru_lbr0", "gru_lbr1", "rnn_reverse", "if_outer_w", "tied"} {
		all = append(all, compact{name, Options{Model: own(name + ".onnx"), Budget: Budget{Rank: 4}}})
	}
	for _, name := range []string{"dtln_model_1", "byte_sb_bidi_lstm", "mnist_gru_gap8", "burn_gru_bidirectional", "silero_vad_v6", "libtashkeel_gru"} {
		all = append(all, compact{name, Options{Model: filepath.Join("..", "..", "shared", "models", "visible", name, "model.onnx"), Budget: Budget{Ratio: 4}, Fit: FitOptions{Format: "svd"}}})
	}
	all = append(all, compact{"fsdd", Options{Model: filepath.Join("..", "..", "shared", "data", "fsdd", "dense_lstm128.onnx"), Budget: Budget{Ratio: 100}, Fit: FitOptions{Format: "tr", Sweeps: 3}}})
	root := t.TempDir()
	var runs []*torchRun
	var folders []string
	for k, c := range all {
		if _, err := os.Stat(c.Model); err != nil {
			t.Logf("%s is skipped: %s is absent", c.name, c.Model)
			continue
		}
		c.Output = filepath.Join(root, fmt.Sprintf("%d.onnx", k))
		_, err := Decompose(t.Context(), c.Options)
		var gate *GateError
		if errors.As(err, &gate) && c.name == "burn_gru_bidirectional" {
			c.Output = c.Model // a model of 3 kB, which does not get smaller
		} else if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		r := startTorch(t, c.name, c.Model, c.Output, filepath.Join(root, strconv.Itoa(k)))
		runs, folders = append(runs, r), append(folders, r.folder)
	}
	drive(t, folders...)
	for _, r := range runs {
		t.Run(r.name, r.compare)
	}
}

// torchRun is an exported model with what our runtime makes of some inputs.
type torchRun struct {
	name, folder string
	outputs      []*onnx.ValueInfo
	want         []map[string]*onnx.Array
}

// startTorch exports a compact model, and runs it on inputs that the model takes of which it was made.
func startTorch(t *testing.T, name, model, compact, folder string) *torchRun {
	t.Helper()
	if _, err := Export(t.Context(), TargetOptions{Model: compact, Target: "pytorch", Output: folder}); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	p, err := runtime.Compile(t.Context(), open(t, compact), runtime.Options{})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	samples, err := acceptedBy(t.Context(), model)
	if len(samples) == 0 {
		t.Fatalf("%s: no inputs: %v", name, err)
	}
	r := &torchRun{name: name, folder: folder, outputs: p.Outputs()}
	for k, s := range samples {
		out, err := p.Run(t.Context(), s.feeds)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		putInputs(t, filepath.Join(folder, fmt.Sprintf("inputs%d.safetensors", k)), p.Inputs(), s.feeds)
		r.want = append(r.want, out)
	}
	return r
}

func (r *torchRun) compare(t *testing.T) {
	c := newComparer()
	for k, want := range r.want {
		if err := c.add(outputsOf(t, filepath.Join(r.folder, fmt.Sprintf("outputs%d.safetensors", k)), r.outputs), want, nil); err != nil {
			t.Fatal(err)
		}
	}
	sum := c.result("pytorch")
	t.Logf("relative error %.2g over %d inputs", float64(sum.Relative), len(r.want))
	if !(sum.Relative <= 1e-5) {
		t.Errorf("PyTorch and our runtime differ by %g at output %q", float64(sum.Relative), c.worst())
	}
	sameBytes(t, filepath.Join(r.folder, "weights.safetensors"), filepath.Join(r.folder, "again.safetensors"))
}

// TestPyTorchTrains trains a compact classifier in two processes (DistributedDataParallel over gloo) and takes the weights back: accuracy rises, the training can be taken up from its checkpoint, and PyTorch, our
// runtime and ONNX Runtime (where its library is named in the environment) give the same answer to every sample.
func TestPyTorchTrains(t *testing.T) {
	if testing.Short() {
		t.Skip("trains")
	}
	python(t)
	dir := t.TempDir()
	compact, folder, trained := filepath.Join(dir, "compact.onnx"), filepath.Join(dir, "torch"), filepath.Join(dir, "trained.onnx")
	o := Options{Model: own("gestures.onnx"), Output: compact, Budget: Budget{Ratio: 200}, Fit: FitOptions{Format: "tr", Sweeps: 3}}
	decomposes(t, o)
	if _, err := Export(t.Context(), TargetOptions{Model: compact, Target: "pytorch", Output: folder}); err != nil {
		t.Fatal(err)
	}
	weightsFile, checkpoint := filepath.Join(dir, "trained.safetensors"), filepath.Join(dir, "checkpoint.safetensors")
	train := func(out string, more ...string) string {
		// The redirections are named because torchrun of PyTorch 1.13 cannot read its own default under Python 3.11.
		args := []string{
			"-m", "torch.distributed.run", "--nnodes", "1", "--nproc_per_node", "2", "--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0", "-r", "2", "-t", "2", filepath.Join(folder, "train.py"),
			"--data", own("gestures_train.npz"), "--val", own("gestures.npz"), "--epochs", "4", "--lr", "0.005", "--out", out,
		}
		return runPython(t, append(args, more...)...)
	}
	t.Log(train(weightsFile, "--checkpoint", checkpoint))
	if text := train(filepath.Join(dir, "resumed.safetensors"), "--checkpoint", checkpoint, "--resume"); strings.Contains(text, "epoch 1:") || !strings.Contains(text, "best accuracy") {
		t.Errorf("a finished training was not taken up where it ended: %s", text)
	}
	r, err := Import(t.Context(), ImportOptions{Model: compact, Weights: weightsFile, Output: trained})
	if err != nil {
		t.Fatal(err)
	}
	if r.Changed < 4 {
		t.Errorf("training has changed %d weights", r.Changed)
	}
	accuracy := func(model string) float64 {
		e, err := Eval(t.Context(), EvalOptions{Model: model, Data: own("gestures.npz"), Reading: DataOptions{Labels: "label"}})
		if err != nil {
			t.Fatal(err)
		}
		return float64(e.Metric)
	}
	before, after := accuracy(compact), accuracy(trained)
	t.Logf("accuracy %.4f before, %.4f after", before, after)
	if !(after > before+0.05) {
		t.Errorf("accuracy %.4f before, %.4f after: it has learnt nothing", before, after)
	}
	again := filepath.Join(dir, "again")
	if _, err := Export(t.Context(), TargetOptions{Model: trained, Target: "pytorch", Output: again}); err != nil {
		t.Fatal(err)
	}
	sameAnswers(t, trained, again, own("gestures.npz"), after)
}

// sameAnswers runs a classifier on all samples of a data set in every engine at hand.
func sameAnswers(t *testing.T, model, folder, data string, want float64) {
	t.Helper()
	arrays, err := dataset.ReadNPZFile(data)
	if err != nil {
		t.Fatal(err)
	}
	m := open(t, model)
	p, err := runtime.Compile(t.Context(), m, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	in, out := p.Inputs()[0], p.Outputs()[0]
	x, err := dataset.Cast(arrays[in.Name], in.Type.Elem)
	if err != nil {
		t.Fatal(err)
	}
	feeds := map[string]*onnx.Array{in.Name: x}
	engines := map[string]func(context.Context) (map[string]*onnx.Array, error){
		"go": func(ctx context.Context) (map[string]*onnx.Array, error) { return p.Run(ctx, feeds) },
		"pytorch": func(context.Context) (map[string]*onnx.Array, error) {
			putInputs(t, filepath.Join(folder, "inputs.safetensors"), p.Inputs(), feeds)
			drive(t, folder)
			return outputsOf(t, filepath.Join(folder, "outputs.safetensors"), p.Outputs()), nil
		},
	}
	if os.Getenv(ort.LibraryVariable) != "" {
		e, err := ort.Open(ort.Options{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		engines["onnxruntime"] = func(ctx context.Context) (map[string]*onnx.Array, error) { return e.Run(ctx, model, feeds) }
	}
	labels, err := arrays["label"].Int64s()
	if err != nil {
		t.Fatal(err)
	}
	var first []int64
	for _, name := range sortedNames(engines) {
		result, err := engines[name](t.Context())
		if err != nil {
			t.Fatal(err)
		}
		answers, right := classes(t, result[out.Name]), 0
		for k, a := range answers {
			if a == labels[k] {
				right++
			}
		}
		if got := float64(right) / float64(len(labels)); got != want {
			t.Errorf("%s: accuracy %.4f, eval says %.4f", name, got, want)
		}
		if first == nil {
			first = answers
		}
		if !slices.Equal(answers, first) {
			t.Errorf("%s gives other answers", name)
		}
	}
}

// classes are the places of the largest of each row.
func classes(t *testing.T, logits *onnx.Array) []int64 {
	t.Helper()
	x, err := logits.Float32s()
	if err != nil || len(logits.Dims) != 2 {
		t.Fatal(fmt.Errorf("logits %v: %w", logits.Dims, err))
	}
	n := logits.Dims[1]
	var out []int64
	for k := 0; k < len(x); k += n {
		row := x[k : k+n]
		out = append(out, int64(slices.Index(row, slices.Max(row))))
	}
	return out
}
