package csource_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/export/csource"
	"github.com/trconvert/trconvert/export/source"
	"github.com/trconvert/trconvert/onnx"
)

// compiler finds gcc or skips the test.
func compiler(t *testing.T) string {
	t.Helper()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("gcc is not installed")
	}
	return gcc
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

// build writes the files and compiles them with sanitizers.
func build(t *testing.T, files map[string][]byte) string {
	t.Helper()
	gcc, dir := compiler(t), t.TempDir()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(gcc, "-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
		"-o", "model_test", "model.c", "model_test.c", "-lm")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%.3000s", err, out)
	}
	return dir
}

// run feeds stored inputs and compares with what package runtime computes; the program allows 1e-4 of the largest element of a tensor.
func run(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(dir, "model_test"), args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %.2000s", err, out)
	}
	return strings.TrimSpace(string(out))
}

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
	{"fsdd", shared + "data/fsdd/dense_lstm128.onnx", nil},
	{"moving", shared + "data/moving/dense_lstm64.onnx", nil},
}

func TestModelsGiveTheOutputsOfTheRuntime(t *testing.T) {
	for _, tt := range models {
		t.Run(tt.name, func(t *testing.T) {
			m := open(t, tt.path)
			files, err := csource.Write(context.Background(), m, csource.Options{Options: source.Options{Dims: tt.dims}})
			if err != nil {
				t.Fatal(err)
			}
			dir := build(t, files)
			t.Log(run(t, dir, "sample_input.bin", "sample_output.bin"))
		})
	}
}
