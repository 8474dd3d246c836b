package gosource_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/trconvert/trconvert/export/gosource"
	"github.com/trconvert/trconvert/export/source"
	"github.com/trconvert/trconvert/onnx"
)

const (
	shared = "../../../shared/"
	own    = "../../testdata/models/"
)

var models = []struct {
	name, path string
	dims       map[string]int
}{
	{"gru_lbr0", own + "gru_lbr0.onnx", map[string]int{"T": 5, "B": 2}},
	{"gru_lbr1", own + "gru_lbr1.onnx", map[string]int{"T": 5, "B": 2}},
	{"lstm_bidi", own + "lstm_bidi.onnx", map[string]int{"T": 4, "B": 3}},
	{"lstm_step_gates", own + "lstm_step_gates.onnx", nil},
	{"rnn_reverse", own + "rnn_reverse.onnx", map[string]int{"T": 6, "B": 2}},
	{"tied", own + "tied.onnx", map[string]int{"T": 3, "B": 1}},
	{"gestures", own + "gestures.onnx", map[string]int{"steps": 7}},
	{"dtln_model_1", shared + "models/visible/dtln_model_1/model.onnx", nil},
	{"byte_sb_bidi_lstm", shared + "models/visible/byte_sb_bidi_lstm/model.onnx", map[string]int{"length": 9}},
	{"mnist_gru_gap8", shared + "models/visible/mnist_gru_gap8/model.onnx", nil},
	{"burn_gru_bidirectional", shared + "models/visible/burn_gru_bidirectional/model.onnx", nil},
	{"holistic", shared + "data/holistic/dense_lstm64.onnx", nil},
}

func open(t *testing.T, path string) *onnx.Model {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%s is not there", path)
	}
	m, err := onnx.OpenFile(context.Background(), path, onnx.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// test runs the test of a generated package, which compares with stored outputs of package runtime to 1e-4 of the largest element.
func test(t *testing.T, files map[string][]byte) {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "test", "-v", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%.3000s", err, out)
	}
	t.Logf("%s", out)
}

func TestModelsGiveTheOutputsOfTheRuntime(t *testing.T) {
	for _, tt := range models {
		t.Run(tt.name, func(t *testing.T) {
			files, err := gosource.Write(context.Background(), open(t, tt.path), gosource.Options{Options: source.Options{Dims: tt.dims}})
			if err != nil {
				t.Fatal(err)
			}
			test(t, files)
		})
	}
}
