package csource_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/export/csource"
	"github.com/trconvert/trconvert/export/source"
	"github.com/trconvert/trconvert/export/source/sourcetest"
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

// build writes the files and compiles them with sanitizers.
func build(t *testing.T, files map[string][]byte) string {
	t.Helper()
	if weights := len(files["model_weights.h"]); testing.Short() && weights > 1<<20 {
		t.Skipf("compiles %d bytes of weights", weights)
	}
	gcc, dir := compiler(t), t.TempDir()
	sourcetest.Write(t, dir, files)
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

func TestModelsGiveTheOutputsOfTheRuntime(t *testing.T) {
	for _, tt := range sourcetest.Models(shared) {
		t.Run(tt.Name, func(t *testing.T) {
			m := sourcetest.Open(t, tt.Path)
			files, err := csource.Write(context.Background(), m, csource.Options{Options: source.Options{Dims: tt.Dims}})
			if err != nil {
				t.Fatal(err)
			}
			dir := build(t, files)
			t.Log(run(t, dir, "sample_input.bin", "sample_output.bin"))
		})
	}
}

// TestStreams checks every step of a stream: outputs with a time axis against that step of the whole model's, the others against the model run on the steps so far.
func TestStreams(t *testing.T) {
	for _, tt := range []struct {
		name, path string
		states     map[string]string
		reason     string // why there is no stream
	}{
		{"gestures", own + "gestures.onnx", nil, ""},
		{"gru_lbr0", own + "gru_lbr0.onnx", nil, ""},
		{"gru_lbr1", own + "gru_lbr1.onnx", nil, `direction "bidirectional" needs the whole sequence`},
		{"tied", own + "tied.onnx", nil, ""},
		{"lstm_bidi", own + "lstm_bidi.onnx", nil, `direction "bidirectional" needs the whole sequence`},
		{"rnn_reverse", own + "rnn_reverse.onnx", nil, `direction "reverse" needs the whole sequence`},
		{"lstm_step_gates", own + "lstm_step_gates.onnx", map[string]string{"h_next": "h"}, ""},
		{"holistic", shared + "data/holistic/dense_lstm64.onnx", nil, ""},
		{"keras2onnx", shared + "models/visible/keras2onnx_test_model_1/model.onnx", nil, ""},
		{"burn_lstm", shared + "models/visible/burn_lstm/model.onnx", nil, ""},
		{"msl150", shared + "models/visible/msl150_gru_128_h5/model.onnx", nil, ""},
		{"mnist", shared + "models/visible/mnist_gru_gap8/model.onnx", nil, `direction "bidirectional" needs the whole sequence`},
		{"dtln", shared + "models/visible/dtln_model_1/model.onnx", map[string]string{"tf_op_layer_stack_2": "input_3"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := sourcetest.Open(t, tt.path)
			o := csource.Options{Options: source.Options{Stream: true, States: tt.states}}
			p, err := source.Lower(context.Background(), m, o.Options)
			if err != nil {
				t.Fatal(err)
			}
			if tt.reason != "" {
				if p.Stream != nil || !strings.Contains(p.NoStream, tt.reason) {
					t.Errorf("no stream because %q, want %q", p.NoStream, tt.reason)
				}
				return
			}
			if p.Stream == nil {
				t.Fatalf("no stream: %s", p.NoStream)
			}
			files, err := csource.Print(context.Background(), p, o)
			if err != nil {
				t.Fatal(err)
			}
			dir := build(t, files)
			t.Log(run(t, dir, "sample_input.bin", "sample_output.bin"))
			t.Log(run(t, dir, "--stream", "stream_input.bin", "stream_output.bin"))
		})
	}
}

// TestFixedInputs runs models whose branches or dims are chosen by an input that is given a constant value, and others with operators that the data models lack.
func TestFixedInputs(t *testing.T) {
	array := func(typ onnx.DataType, dims []int, data any) *onnx.Array {
		a, err := onnx.NewArray(typ, dims, data)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	scalar := func(typ onnx.DataType, data any) *onnx.Array { return array(typ, []int{}, data) }
	list := func(typ onnx.DataType, data any) *onnx.Array { return array(typ, []int{1}, data) }
	rate := map[string]*onnx.Array{"sr": scalar(onnx.Int64, []int64{16000})}
	visible := func(name string) string { return shared + "models/visible/" + name + "/model.onnx" }
	for _, tt := range []struct {
		name, path string
		o          source.Options
	}{
		{"then", own + "if_outer_w.onnx", source.Options{Fixed: map[string]*onnx.Array{"forward": scalar(onnx.Bool, []bool{true})}, Dims: map[string]int{"T": 3}}},
		{"else", own + "if_outer_w.onnx", source.Options{Fixed: map[string]*onnx.Array{"forward": scalar(onnx.Bool, []bool{false})}, Dims: map[string]int{"T": 3}}},
		{"silero_vad_v4", visible("silero_vad_v4"), source.Options{Fixed: rate, Dims: map[string]int{"sequence": 512}, States: map[string]string{"hn": "h", "cn": "c"}}},
		{"silero_vad_16k_op15", visible("silero_vad_16k_op15"), source.Options{Fixed: rate, Dims: map[string]int{"sequence": 576}}},
		{"libtashkeel_gru", visible("libtashkeel_gru"), source.Options{Int8: true, Dims: map[string]int{"seq": 8}, Fixed: map[string]*onnx.Array{"input_lengths": list(onnx.Int64, []int64{8})}}},
		{"thai2rom_encoder", visible("thai2rom_encoder"), source.Options{Dims: map[string]int{"input_length": 6}, Fixed: map[string]*onnx.Array{"input_lengths": list(onnx.Int32, []int32{6})}}},
		{"gtcrn", visible("gtcrn"), source.Options{}},
		{"opset14_burn", visible("opset14_burn"), source.Options{}},
		{"burn_rnn_bidirectional", visible("burn_rnn_bidirectional"), source.Options{}},
		{"burn_lstm_with_initial_state", visible("burn_lstm_with_initial_state"), source.Options{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := source.Lower(context.Background(), sourcetest.Open(t, tt.path), tt.o)
			if err != nil {
				t.Fatal(err)
			}
			files, err := csource.Print(context.Background(), p, csource.Options{})
			if err != nil {
				t.Fatal(err)
			}
			dir := build(t, files)
			t.Log(run(t, dir, "sample_input.bin", "sample_output.bin"))
			if p.Stream != nil {
				t.Log(run(t, dir, "--stream", "stream_input.bin", "stream_output.bin"))
			}
		})
	}
}

func TestBranchesOfAnInputAreRefused(t *testing.T) {
	_, err := csource.Write(context.Background(), sourcetest.Open(t, own+"if_outer_w.onnx"), csource.Options{})
	if !sourcetest.Unsupported(err) || !strings.Contains(err.Error(), "If: operator") {
		t.Errorf("error %v, want one that names If", err)
	}
}

// TestValgrind runs compiled models without sanitizers in valgrind, which sees reads of memory that nothing has written.
func TestValgrind(t *testing.T) {
	valgrind, err := exec.LookPath("valgrind")
	if err != nil {
		t.Skip("valgrind is not installed")
	}
	gcc := compiler(t)
	for _, name := range []string{"gestures", "lstm_bidi", "gru_lbr1"} {
		for _, narrow := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/int8=%v", name, narrow), func(t *testing.T) {
				o := csource.Options{Options: source.Options{Int8: narrow, Dims: map[string]int{"steps": 7, "T": 4, "B": 2}}}
				files, err := csource.Write(t.Context(), sourcetest.Open(t, own+name+".onnx"), o)
				if err != nil {
					t.Fatal(err)
				}
				dir := t.TempDir()
				sourcetest.Write(t, dir, files)
				for _, args := range [][]string{
					{gcc, "-std=c99", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pedantic", "-o", "model_test", "model.c", "model_test.c", "-lm"},
					{valgrind, "-q", "--error-exitcode=9", "--leak-check=full", "./model_test", "sample_input.bin", "sample_output.bin"},
				} {
					cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
					cmd.Dir = dir
					if out, err := cmd.CombinedOutput(); err != nil {
						t.Fatalf("%s: %v\n%.2000s", args[0], err, out)
					}
				}
			})
		}
	}
}
