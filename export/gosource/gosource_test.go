package gosource_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/trconvert/trconvert/convert"
	"github.com/trconvert/trconvert/export/gosource"
	"github.com/trconvert/trconvert/export/source"
	"github.com/trconvert/trconvert/export/source/sourcetest"
)

// shared is the folder of models of others.
const shared = "../../../shared/"

// test runs the test of a generated package, which compares with stored outputs of package runtime to 1e-4 of the largest element.
func test(t *testing.T, files map[string][]byte) {
	t.Helper()
	dir := t.TempDir()
	sourcetest.Write(t, dir, files)
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
	for _, tt := range sourcetest.Models(shared) {
		t.Run(tt.Name, func(t *testing.T) {
			files, err := gosource.Write(context.Background(), sourcetest.Open(t, tt.Path), gosource.Options{Options: source.Options{Dims: tt.Dims}})
			if err != nil {
				t.Fatal(err)
			}
			test(t, files)
		})
	}
}

// TestVariants runs streams, states, int8 weights (against the runtime with the weights that int8 stands for) and cores that are merged at the start.
func TestVariants(t *testing.T) {
	ctx := context.Background()
	gestures, dtln := "../../testdata/models/gestures.onnx", shared+"models/visible/dtln_model_1/model.onnx"
	for _, tt := range []struct {
		name, path string
		compact    bool
		o          source.Options
	}{
		{"stream", gestures, false, source.Options{Stream: true}},
		{"states", dtln, false, source.Options{States: map[string]string{"tf_op_layer_stack_2": "input_3"}}},
		{"int8", gestures, false, source.Options{Int8: true, Dims: map[string]int{"steps": 3}}},
		{"merged at the start", gestures, true, source.Options{MergeAtStart: true, Stream: true}},
		{"stream of int8", gestures, true, source.Options{Int8: true, Stream: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := sourcetest.Open(t, tt.path)
			if tt.compact {
				path := filepath.Join(t.TempDir(), "compact.onnx")
				if _, err := convert.Decompose(ctx, convert.Options{Model: tt.path, Output: path, Budget: convert.Budget{Ratio: 40}}); err != nil {
					t.Fatal(err)
				}
				m = sourcetest.Open(t, path)
			}
			p, err := source.Lower(ctx, m, tt.o)
			if err != nil {
				t.Fatal(err)
			}
			if (p.Stream != nil) != (tt.o.Stream || tt.o.States != nil) {
				t.Fatalf("stream: %v, because %s", p.Stream != nil, p.NoStream)
			}
			files, err := gosource.Print(p, gosource.Options{})
			if err != nil {
				t.Fatal(err)
			}
			test(t, files)
		})
	}
}
