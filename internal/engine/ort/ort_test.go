package ort

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// open opens the library of TRCONVERT_ORT_LIBRARY; continuous integration sets it, the default tests need only Go.
func open(t *testing.T) *Engine {
	t.Helper()
	if os.Getenv(LibraryVariable) == "" {
		t.Skip(LibraryVariable + " is not set")
	}
	e, err := Open(Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestLibraryErrors(t *testing.T) {
	t.Setenv(LibraryVariable, "")
	text := filepath.Join(t.TempDir(), "text.so")
	if err := os.WriteFile(text, []byte("not a library"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"absent.so":   "there is no such file",
		t.TempDir():   "is a folder",
		text:          "cannot be opened",
		foreign(text): "OrtGetApiBase",
	} {
		_, err := Open(Options{Library: path})
		var le *LibraryError
		if !errors.As(err, &le) {
			t.Errorf("%s: %v is no LibraryError", path, err)
			continue
		}
		if goruntime.GOOS == "linux" && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %q does not say %q", path, err, want)
		}
	}
	t.Setenv(LibraryVariable, text)
	if p, err := FindLibrary(""); err != nil || p != text {
		t.Errorf("the environment's library: %q, %v", p, err)
	}
}

// foreign is a real library that is not ONNX Runtime, the given file where none is known.
func foreign(other string) string {
	for _, p := range []string{"/lib/x86_64-linux-gnu/libm.so.6", "/lib/aarch64-linux-gnu/libm.so.6"} {
		if isFile(p) {
			return p
		}
	}
	return filepath.Join(filepath.Dir(other), "libm.so")
}

func TestCheckFeeds(t *testing.T) {
	err := checkFeeds("m.onnx", []string{"x", "h"}, map[string]*onnx.Array{"x": {}, "z": {}, "y": {}})
	if err == nil || !strings.Contains(err.Error(), `without an array: ["h"]; arrays that are no input: ["y", "z"]`) {
		t.Errorf("error %v", err)
	}
}

// The stored outputs are those of ONNX Runtime 1.30 through its own Node binding.
func TestRunAgreesWithStoredOutputs(t *testing.T) {
	e := open(t)
	root := "../../../../shared/models"
	if _, err := os.Stat(root); err != nil {
		t.Skip("no folder ../shared/models")
	}
	for _, name := range []string{"visible/dtln_model_1", "visible/silero_vad_v6", "visible/byte_sb_bidi_lstm", "visible/libtashkeel_gru", "synthetic/external_data"} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(root, name)
			io := dir
			if _, err := os.Stat(filepath.Join(dir, "io")); err == nil {
				io = filepath.Join(dir, "io")
			}
			var meta struct {
				Inputs, Outputs []struct{ Name, File string }
			}
			b, err := os.ReadFile(filepath.Join(io, "meta.json"))
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(b, &meta); err != nil {
				t.Fatal(err)
			}
			read := func(file string) *onnx.Array {
				f, err := os.Open(filepath.Join(io, file))
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				a, err := dataset.ReadNPY(f, file)
				if err != nil {
					t.Fatal(err)
				}
				return a
			}
			feeds := map[string]*onnx.Array{}
			for _, in := range meta.Inputs {
				feeds[in.Name] = read(in.File)
			}
			got, err := e.Run(context.Background(), filepath.Join(dir, "model.onnx"), feeds)
			if err != nil {
				t.Fatal(err)
			}
			for _, out := range meta.Outputs {
				want := read(out.File)
				a := got[out.Name]
				if a == nil || a.Type != want.Type {
					t.Fatalf("%s: %v, want type %v", out.Name, a, want.Type)
				}
				switch w := want.Data.(type) {
				case []float32:
					for i, v := range a.Data.([]float32) {
						if math.Abs(float64(v-w[i])) > 1e-5*math.Max(1, math.Abs(float64(w[i]))) {
							t.Fatalf("%s: element %d is %v, stored %v", out.Name, i, v, w[i])
						}
					}
				case []uint8:
					if !slices.Equal(a.Data.([]uint8), w) {
						t.Fatalf("%s: %v, stored %v", out.Name, a.Data, w)
					}
				default:
					t.Fatalf("%s: no comparison for type %v", out.Name, want.Type)
				}
			}
		})
	}
}

// readTensors reads input_K.pb or output_K.pb files by the names of their tensors.
func readTensors(t *testing.T, pattern string) map[string]*onnx.Array {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(files), err)
	}
	out := map[string]*onnx.Array{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tensor, err := onnx.DecodeTensor(file, b)
		if err != nil {
			t.Fatal(err)
		}
		if out[tensor.Name], err = tensor.Array(); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// values widens float32 and float16 results.
func values(t *testing.T, a *onnx.Array) []float64 {
	t.Helper()
	var out []float64
	switch d := a.Data.(type) {
	case []float32:
		for _, v := range d {
			out = append(out, float64(v))
		}
	case []uint16:
		for _, v := range d {
			out = append(out, float64(onnx.Float16ToFloat32(v)))
		}
	default:
		t.Fatalf("no comparison for type %v", a.Type)
	}
	return out
}

// Two oracles meet: ONNX Runtime on the models of testdata/models, and the outputs that expect.py computed with NumPy after the specification.
func TestOwnModelsAgreeWithNumPy(t *testing.T) {
	e := open(t)
	models, err := filepath.Glob("../../../testdata/models/*.onnx")
	if err != nil || len(models) == 0 {
		t.Fatalf("%d models, %v", len(models), err)
	}
	for _, m := range models {
		if strings.HasSuffix(m, ".tr.onnx") {
			continue
		}
		set := strings.TrimSuffix(m, ".onnx") + "/test_data_set_0/"
		got, err := e.Run(context.Background(), m, readTensors(t, set+"input_*.pb"))
		if err != nil {
			t.Error(err)
			continue
		}
		for name, want := range readTensors(t, set+"output_*.pb") {
			tolerance := 1e-5
			if want.Type == onnx.Float16 {
				tolerance = 5e-3
			}
			a, b := values(t, got[name]), values(t, want)
			if !slices.Equal(got[name].Dims, want.Dims) {
				t.Errorf("%s: %s has shape %v, NumPy %v", m, name, got[name].Dims, want.Dims)
				continue
			}
			for i := range b {
				if d := math.Abs(a[i] - b[i]); !(d <= tolerance*math.Max(1, math.Abs(b[i]))) {
					t.Errorf("%s: %s: element %d is %v, NumPy says %v", m, name, i, a[i], b[i])
					break
				}
			}
		}
	}
}

func TestRunErrors(t *testing.T) {
	e := open(t)
	if e.Version() == "" {
		t.Error("the version is empty")
	}
	bad := filepath.Join(t.TempDir(), "bad.onnx")
	if err := os.WriteFile(bad, []byte("\x08\x08hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	var me *ModelError
	if _, err := e.Run(context.Background(), bad, nil); !errors.As(err, &me) || me.Model != bad {
		t.Errorf("a broken model: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := e.Run(ctx, bad, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
