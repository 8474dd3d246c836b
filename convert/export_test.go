package convert

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/export/source"
	"github.com/trconvert/trconvert/internal/engine/onnxgo"
	"github.com/trconvert/trconvert/internal/engine/ort"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
)

// exportCase is a model whose compact form every target is tried with.
type exportCase struct {
	name, path string
	ratio      float64
	rank       int
	steps      string // why onnx-step and onnx-gates refuse it, "" where they do not
	batch      string // name of its symbolic batch
}

func exportCases(t *testing.T) []exportCase {
	cases := []exportCase{
		{name: "gestures", path: own("gestures.onnx"), ratio: 40, batch: "clips"},
		{name: "gru_lbr1", path: own("gru_lbr1.onnx"), rank: 2, steps: "bidirectional"},
	}
	if _, err := os.Stat(filepath.Join("..", "..", "shared")); err != nil || testing.Short() {
		t.Log("without the models of ../shared")
		return cases
	}
	visible := func(name string) string {
		return filepath.Join("..", "..", "shared", "models", "visible", name, "model.onnx")
	}
	return append(cases,
		exportCase{name: "dtln_model_1", path: visible("dtln_model_1"), ratio: 8},
		exportCase{name: "byte_sb_bidi_lstm", path: visible("byte_sb_bidi_lstm"), ratio: 4, steps: "bidirectional"},
		exportCase{name: "mnist_gru_gap8", path: visible("mnist_gru_gap8"), ratio: 4, steps: "bidirectional"},
		exportCase{name: "burn_gru_bidirectional", path: visible("burn_gru_bidirectional"), rank: 1, steps: "bidirectional"},
		exportCase{name: "holistic", path: filepath.Join("..", "..", "shared", "data", "holistic", "dense_lstm64.onnx"), ratio: 100, batch: "batch"},
	)
}

// compact decomposes the model of a case.
func (c exportCase) compact(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "compact.onnx")
	o := Options{Model: c.path, Output: out, Budget: Budget{Ratio: c.ratio, Rank: c.rank}, Fit: FitOptions{Format: quickFormat(t, c.path)}}
	if c.name == "burn_gru_bidirectional" { // its W is so small that cores do not pay: the model itself is exported
		return c.path
	}
	decomposes(t, o)
	return out
}

func exports(t *testing.T, o TargetOptions) *Exported {
	t.Helper()
	r, err := Export(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestTargetsGiveTheOutputs exports compact models to the targets of this file and runs the results in what they are for: ONNX models in ONNX Runtime where it is there (and gates in onnx-go), C
// behind gcc, Go behind the go command. The sample outputs in C and Go folders are those of package runtime.
func TestTargetsGiveTheOutputs(t *testing.T) {
	var written []string
	for _, c := range exportCases(t) {
		t.Run(c.name, func(t *testing.T) {
			model := c.compact(t)
			for _, form := range Forms {
				for _, version := range map[string][]int{"bottleneck": {13, 21}, "cores": {17}, "dense": {18}}[form] {
					out := filepath.Join(t.TempDir(), "out.onnx")
					o := TargetOptions{Model: model, Target: "onnx", Output: out, ONNX: ONNXOptions{Form: Form(form), Opset: version}}
					if model == c.path {
						o.ONNX.Form = ""
					}
					r := exports(t, o)
					if r.Verify == nil || !(r.Verify.Relative <= 1e-5) || r.Opset != int64(version) {
						t.Errorf("%s: opset %d, verification %+v", form, r.Opset, r.Verify)
					}
					agreesWithORT(t, model, out)
					if version <= 17 {
						written = append(written, kept(t, out))
					}
				}
			}
			for _, name := range []string{"onnx-step", "onnx-gates"} {
				t.Run(name, func(t *testing.T) {
					if out := c.step(t, model, name); out != "" {
						if c.name == "dtln_model_1" && name == "onnx-step" {
							agreesWithORT(t, model, out)
						}
					}
				})
			}
			t.Run("c", func(t *testing.T) { c.builds(t, model, "c", "") })
			t.Run("go", func(t *testing.T) { c.builds(t, model, "go", "") })
			if c.name == "dtln_model_1" || c.name == "gestures" {
				t.Run("c int8", func(t *testing.T) { c.builds(t, model, "c", export.Int8) })
			}
		})
	}
	t.Run("onnx.checker", func(t *testing.T) { checks(t, written) })
}

// kept copies a file to a folder that outlives the subtest.
func kept(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "trconvert-export-*")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "model.onnx")
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// checks has ONNX's own checker, of Debian's python3-onnx, read the files, with inference of all types and shapes.
func checks(t *testing.T, files []string) {
	defer func() {
		for _, f := range files {
			os.RemoveAll(filepath.Dir(f))
		}
	}()
	const python = "/usr/bin/python3"
	if exec.Command(python, "-c", "import onnx").Run() != nil {
		t.Skip("python3-onnx is not installed")
	}
	text := "import onnx, sys\nfor f in sys.argv[1:]: onnx.checker.check_model(f, full_check=True)\n"
	if out, err := exec.CommandContext(t.Context(), python, append([]string{"-c", text}, files...)...).CombinedOutput(); err != nil {
		t.Errorf("%v: %.2000s", err, out)
	}
}

// step exports a step and runs it. The file is "" where the model is refused, as it should be.
func (c exportCase) step(t *testing.T, model, name string) string {
	out := filepath.Join(t.TempDir(), "step.onnx")
	o := TargetOptions{Model: model, Target: name, Output: out}
	if c.steps != "" {
		_, err := Export(t.Context(), o)
		var u *UnsupportedError
		if !errors.As(err, &u) || !strings.Contains(err.Error(), c.steps) {
			t.Errorf("got %v, want an UnsupportedError with %q", err, c.steps)
		}
		if _, err := os.Stat(out); err == nil {
			t.Error("a file was written")
		}
		return ""
	}
	r := exports(t, o)
	if r.Verify == nil || !(r.Verify.Relative <= 1e-5) || len(r.States) == 0 {
		t.Errorf("states %v, verification %+v", r.States, r.Verify)
	}
	if c.name != "dtln_model_1" {
		c.streams(t, model, out, r.States)
	}
	if name == "onnx-gates" {
		m := open(t, out)
		feeds, err := trials[0].feeds(m.Graph.Inputs, 3)
		if err != nil {
			t.Fatal(err)
		}
		want, err := runner1(t, m)(t.Context(), feeds)
		if err != nil {
			t.Fatal(err)
		}
		got, err := onnxgo.Run(t.Context(), out, feeds)
		if err != nil {
			t.Fatal(err)
		}
		agree(t, "onnx-go", got, want)
	}
	return out
}

func runner1(t *testing.T, m *onnx.Model) runner {
	t.Helper()
	p, err := runtime.Compile(t.Context(), m, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return p.Run
}

func agree(t *testing.T, what string, got, want map[string]*onnx.Array) {
	t.Helper()
	c := newComparer()
	if err := c.add(got, want, nil); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if r := float64(c.result("").Relative); !(r <= 1e-5) {
		t.Errorf("%s: relative difference %.2g at %s", what, r, c.worst())
	}
}

// streams runs a model of one step over a sequence of the whole model, both in ONNX Runtime where it is there, else in package runtime. What the step gives last, or
// at each step, must be what the whole model gives.
func (c exportCase) streams(t *testing.T, model, file string, states []StateInfo) {
	t.Helper()
	whole, step := open(t, model), open(t, file)
	run, runStep := runner1(t, whole), runner1(t, step)
	if os.Getenv(ort.LibraryVariable) != "" {
		e, err := ort.Open(ort.Options{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		on := func(path string) runner {
			s, err := e.Load(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			return s.Run
		}
		run, runStep = on(model), on(file)
	}
	feeds := map[string]*onnx.Array{}
	steps := 0
	axes := map[string]int{} // time axis of inputs
	one := map[string][]int{}
	for _, v := range trueInputs(step) {
		for _, d := range v.Type.Shape {
			n := 2 // the batch of a step; gates have it fixed
			if d.Known {
				n = int(d.Value)
			}
			one[v.Name] = append(one[v.Name], n)
		}
	}
	for k, v := range trueInputs(whole) {
		dims := slices.Clone(one[v.Name])
		for axis, d := range v.Type.Shape {
			switch {
			case d.Known && int(d.Value) != dims[axis], !d.Known && d.Param != c.batch:
				if dims[axis] = int(d.Value); !d.Known {
					dims[axis] = 6
				}
				axes[v.Name], steps = axis, dims[axis]
			}
		}
		data := make([]float32, elementsOf(dims))
		for i := range data {
			data[i] = float32((i*7919+k)%1000)/500 - 1
		}
		feeds[v.Name] = &onnx.Array{Type: onnx.Float, Dims: dims, Data: data}
	}
	if steps == 0 {
		t.Fatalf("no input has a time axis: %v", one)
	}
	want, err := run(t.Context(), feeds)
	if err != nil {
		t.Fatal(err)
	}
	held := map[string]*onnx.Array{}
	for _, s := range states {
		if held[s.Input], err = onnx.ZeroArray(onnx.Float, one[s.Input]); err != nil {
			t.Fatal(err)
		}
	}
	for k := range steps {
		in := map[string]*onnx.Array{}
		for name, a := range feeds {
			in[name] = source.Part(a, axes[name], k, 1)
		}
		for name, a := range held {
			in[name] = a
		}
		got, err := runStep(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range states {
			held[s.Input] = got[s.Output]
			delete(got, s.Output)
		}
		now := map[string]*onnx.Array{}
		for name, w := range want {
			g := got[name]
			axis := 0
			for axis = range w.Dims {
				if w.Dims[axis] != g.Dims[axis] {
					break
				}
			}
			switch {
			case !slices.Equal(w.Dims, g.Dims):
				now[name] = source.Part(w, axis, k, 1)
			case k == steps-1:
				now[name] = w
			default:
				delete(got, name) // what the whole model gives for fewer steps
			}
		}
		agree(t, fmt.Sprintf("step %d", k), got, now)
	}
}

func elementsOf(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// builds exports source code and runs its own test, which compares with the sample.
func (c exportCase) builds(t *testing.T, model, target string, weights Storage) {
	out := filepath.Join(t.TempDir(), "out")
	r := exports(t, TargetOptions{Model: model, Target: target, Output: out, Weights: weights, Source: SourceOptions{Name: "net"}})
	if len(r.Files) < 5 || r.Output.Bytes == 0 {
		t.Errorf("files %v, %d bytes", r.Files, r.Output.Bytes)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", ".")
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
	if target == "c" {
		for _, tool := range []string{"gcc", "make"} {
			if _, err := exec.LookPath(tool); err != nil {
				t.Skipf("%s is not installed", tool)
			}
		}
		cmd = exec.CommandContext(t.Context(), "make", "test", "CC=gcc", "CFLAGS=-std=c99 -O1 -Wall -Wextra -Werror -pedantic")
	}
	cmd.Dir = out
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %.2000s", err, text)
	}
}

// TestExportAsItIs keeps every byte of a model of which nothing is asked.
func TestExportAsItIs(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.onnx")
	r := exports(t, TargetOptions{Model: own("tied.onnx"), Target: "onnx", Output: out})
	a, err := os.ReadFile(own("tied.onnx"))
	b, err2 := os.ReadFile(out)
	if err != nil || err2 != nil || string(a) != string(b) {
		t.Errorf("%v %v: %d and %d bytes", err, err2, len(a), len(b))
	}
	if r.Verify != nil || r.Output.Bytes != int64(len(b)) {
		t.Errorf("report %+v", r)
	}
}

// TestExportStorages: narrower weights cost what the report says, and back in float32 a model has the values that it was stored with.
func TestExportStorages(t *testing.T) {
	dir := t.TempDir()
	small, wide := filepath.Join(dir, "small.onnx"), filepath.Join(dir, "wide.onnx")
	r := exports(t, TargetOptions{Model: own("gestures.onnx"), Target: "onnx", Output: small, Weights: export.Int8})
	if r.Weights != export.Int8 || r.Output.Bytes > r.Input.Bytes/3 || !(r.Verify.Relative > 0 && r.Verify.Relative < 0.1) {
		t.Errorf("%s, %d of %d bytes, verification %+v", r.Weights, r.Output.Bytes, r.Input.Bytes, r.Verify)
	}
	r = exports(t, TargetOptions{Model: small, Target: "onnx", Output: wide, Weights: export.Float32})
	if r.Weights != export.Float32 || !(r.Verify.Relative <= 1e-6) {
		t.Errorf("%s, verification %+v", r.Weights, r.Verify)
	}
}

// TestExportStepStorages: steps, made or found, take narrower weights too.
func TestExportStepStorages(t *testing.T) {
	for _, weights := range []Storage{export.Float16, export.Int8} {
		for _, o := range []TargetOptions{
			{Model: own("gestures.onnx")},
			{Model: own("lstm_step_gates.onnx"), States: map[string]string{"h_next": "h"}},
		} {
			o.Target, o.Output, o.Weights = "onnx-step", filepath.Join(t.TempDir(), "step.onnx"), weights
			r := exports(t, o)
			if r.Weights == export.Float32 || r.Output.Bytes >= r.Input.Bytes || r.Verify == nil || !(r.Verify.Relative < 0.1) {
				t.Errorf("%s, %s: %s, %d of %d bytes, verification %+v", o.Model, weights, r.Weights, r.Output.Bytes, r.Input.Bytes, r.Verify)
			}
		}
	}
}

// TestExportKeepsTheRing: cores in another form and opset are still the ring that finetune and export read.
func TestExportKeepsTheRing(t *testing.T) {
	dir := t.TempDir()
	compact, other := filepath.Join(dir, "compact.onnx"), filepath.Join(dir, "other.onnx")
	decomposes(t, Options{Model: own("gestures.onnx"), Output: compact, Budget: Budget{Ratio: 40}, Fit: FitOptions{Format: "tr"}, Weights: export.Float16})
	exports(t, TargetOptions{Model: compact, Target: "onnx", Output: other, ONNX: ONNXOptions{Form: export.Cores, Opset: 18}})
	was, is := factorOf(t, compact), factorOf(t, other)
	if !slices.Equal(was, is) {
		t.Error("the cores have other numbers")
	}
}

// factorOf reads the numbers of a model's only ring.
func factorOf(t *testing.T, path string) (numbers []float32) {
	t.Helper()
	m, err := export.Restore(t.Context(), open(t, path))
	if err != nil {
		t.Fatal(err)
	}
	records, err := export.Records(m)
	if err != nil || len(records) != 1 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	f, err := records[0].Factor(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range f.Cores {
		numbers = append(numbers, c.Data...)
	}
	return numbers
}

// TestExportFolder: a folder is replaced only with force, and only where nothing lies in it that Export did not write.
func TestExportFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	o := TargetOptions{Model: own("lstm_step_gates.onnx"), Target: "c", Output: dir}
	exports(t, o)
	list := func() (names []string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	before := list()
	var m manifest
	text, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err != nil || json.Unmarshal(text, &m) != nil || len(m.Files)+1 != len(before) {
		t.Fatalf("%v: the manifest lists %v, there are %v", err, m.Files, before)
	}
	refused := func(say string) {
		t.Helper()
		if _, err := Export(t.Context(), o); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("got %v, want %q", err, say)
		}
	}
	refused("exists")
	o.Files.Force = true
	o.Source.Name = "other"
	exports(t, o)
	if slices.Contains(list(), "model.c") || !slices.Contains(list(), "other.c") {
		t.Errorf("after a forced export there are %v", list())
	}
	if err := os.WriteFile(filepath.Join(dir, "mine.txt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	refused(`"mine.txt", which export did not write`)
	if !slices.Contains(list(), "other.c") {
		t.Error("a refused export has removed files")
	}
	plain := t.TempDir() // an empty folder holds nothing that could be lost
	o.Output = plain
	exports(t, o)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	o.Output = file
	refused("is no folder")
	entries, err := os.ReadDir(filepath.Dir(dir))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside the folder stand %v, %v", entries, err)
	}
}

// TestExportRefuses meets options that cannot be meant and models that targets cannot express, and leaves nothing behind.
func TestExportRefuses(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	for _, c := range []struct {
		name   string
		option bool // an OptionError, else an UnsupportedError
		o      TargetOptions
		says   []string
	}{
		{"no target", true, TargetOptions{}, []string{"--target"}},
		{"unknown target", true, TargetOptions{Target: "onx"}, []string{`"onx"`, "onnx-gates"}},
		{"an option of another target", true, TargetOptions{Target: "c", ONNX: ONNXOptions{Opset: 17}}, []string{"--opset", "onnx"}},
		{"an opset that is not written", true, TargetOptions{Target: "onnx", ONNX: ONNXOptions{Opset: 22}}, []string{"--opset", "22", "21"}},
		{"storage that C has not", true, TargetOptions{Target: "c", Weights: export.Float16}, []string{"--weights", "float16", "int8"}},
		{"a dim that is not there", true, TargetOptions{Target: "go", Dims: map[string]int{"stepz": 3}}, []string{"--dim", "stepz", "steps"}},
		{"steps that are fixed", true, TargetOptions{Target: "c", Model: own("lstm_step_gates.onnx"), Source: SourceOptions{Steps: 3}}, []string{"--steps"}},
		{"a state that is not there", true, TargetOptions{Target: "onnx-step", States: map[string]string{"logitz": "x"}}, []string{"--state", "logitz", "logits"}},
		{"a form without cores", false, TargetOptions{Target: "onnx", ONNX: ONNXOptions{Form: export.Cores}}, []string{"no cores"}},
		{"a step of two directions", false, TargetOptions{Target: "onnx-step", Model: own("lstm_bidi.onnx")}, []string{"LSTM", "bidirectional"}},
		{"gates of two directions", false, TargetOptions{Target: "onnx-gates", Model: own("rnn_reverse.onnx")}, []string{"RNN", "reverse"}},
		{"a step without a cell", false, TargetOptions{Target: "onnx-step", Model: own("lstm_step_gates.onnx")}, []string{"no LSTM, GRU or RNN", "--state"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Output = out
			if c.o.Model == "" {
				c.o.Model = own("gestures.onnx")
			}
			_, err := Export(t.Context(), c.o)
			var option *OptionError
			var unsupported *UnsupportedError
			if c.option && !errors.As(err, &option) || !c.option && !errors.As(err, &unsupported) {
				t.Fatalf("got %T %v", err, err)
			}
			for _, say := range c.says {
				if !strings.Contains(err.Error(), say) {
					t.Errorf("got %v, want %q in it", err, say)
				}
			}
			if entries, err := os.ReadDir(filepath.Dir(out)); err != nil || len(entries) > 0 {
				t.Errorf("left behind: %v, %v", entries, err)
			}
		})
	}
}

func TestExportEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	for _, target := range []string{"onnx", "onnx-step", "onnx-gates", "c", "go"} {
		_, err := Export(ctx, TargetOptions{Model: own("gestures.onnx"), Target: target, Output: filepath.Join(dir, target)})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want %v", target, err, context.Canceled)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}
