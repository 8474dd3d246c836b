package convert

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/internal/engine/ort"
	"github.com/trconvert/trconvert/internal/testmodels"
	"github.com/trconvert/trconvert/onnx"
)

func TestVerifyModelAgainstItself(t *testing.T) {
	for name, o := range map[string]VerifyOptions{
		"random inputs":   {},
		"test_data_set":   {Data: filepath.Join(own("tied"), "test_data_set_0")},
		"with a gate":     {MaxError: 1e-12},
		"on one thread":   {Threads: 1},
		"in ONNX Runtime": {Engine: "onnxruntime"},
	} {
		t.Run(name, func(t *testing.T) {
			if o.Engine == "onnxruntime" && os.Getenv(ort.LibraryVariable) == "" {
				t.Skipf("%s is not set", ort.LibraryVariable)
			}
			o.Model, o.Other = own("tied.onnx"), own("tied.onnx")
			v, err := Verify(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if !v.Pass || v.Relative != 0 || v.MaxAbs != 0 || v.Inputs == 0 || len(v.Outputs) == 0 {
				t.Errorf("got %+v", v)
			}
		})
	}
}

// TestVerifyComparesEngines runs one file in two engines that share no code: they round differently, and by no more than float32 does in sums of this length.
func TestVerifyComparesEngines(t *testing.T) {
	gates := own("lstm_step_gates.onnx")
	v, err := Verify(t.Context(), VerifyOptions{Model: gates, Other: gates, Engine: "onnx-go", OtherEngine: "go", MaxError: 1e-5})
	if err != nil || v.Inputs == 0 || v.Engine != "onnx-go" || v.OtherEngine != "go" {
		t.Errorf("got %+v, %v", v, err)
	}
	if os.Getenv(ort.LibraryVariable) == "" {
		t.Skipf("%s is not set", ort.LibraryVariable)
	}
	o := VerifyOptions{Model: own("lstm_bidi.onnx"), Other: own("lstm_bidi.onnx"), Engine: "onnxruntime", OtherEngine: "go", MaxError: 1e-5}
	if v, err = Verify(t.Context(), o); err != nil || v.Relative == 0 {
		t.Errorf("got %+v, %v", v, err)
	}
}

// TestVerifySaysWhatItCouldNotCompare gives NaN to one sample of two: both models answer NaN there.
func TestVerifySaysWhatItCouldNotCompare(t *testing.T) {
	dims := testmodels.Clips("test", 2)["frames"].Dims
	frames := make([]float32, dims[0]*dims[1]*dims[2])
	frames[len(frames)-1] = float32(math.NaN())
	data := npzOf(t, map[string]*onnx.Array{"frames": {Type: onnx.Float, Dims: dims, Data: frames}})
	v, err := Verify(t.Context(), VerifyOptions{Model: own("gestures.onnx"), Other: own("gestures.onnx"), Data: data})
	if err != nil || len(v.Warnings) == 0 || v.Warnings[0].Code != "not-finite" || !strings.Contains(v.Warnings[0].Text, `8 of the 16 elements of output "logits"`) {
		t.Errorf("got %+v, %v", v, err)
	}
}

// TestVerifyFindsADifference compares a model with its compact form: what Decompose measured on its inputs, Verify must measure too.
func TestVerifyFindsADifference(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.onnx")
	r := decomposes(t, Options{Model: own("tied.onnx"), Output: out, Budget: Budget{Rank: 2}})
	v, err := Verify(t.Context(), VerifyOptions{Model: own("tied.onnx"), Other: out})
	if err != nil {
		t.Fatal(err)
	}
	if v.Relative != r.Verify.Model.Relative || v.Relative == 0 || v.MaxError != nil || !v.Pass {
		t.Errorf("verify %+v, decompose %+v", v, r.Verify.Model)
	}
	v, err = Verify(t.Context(), VerifyOptions{Model: own("tied.onnx"), Other: out, MaxError: float64(v.Relative) / 2})
	var gate *GateError
	if !errors.As(err, &gate) || v == nil || v.Pass || v.MaxError == nil {
		t.Errorf("half the error as a gate: got %+v, %v", v, err)
	}
}

// TestVerifyWithOnnxGo runs a cell of single operators, which onnx-go can run, and a layer, which it can only decode.
func TestVerifyWithOnnxGo(t *testing.T) {
	gates := own("lstm_step_gates.onnx")
	v, err := Verify(t.Context(), VerifyOptions{Model: gates, Other: gates, Engine: "onnx-go", MaxError: 1e-9})
	if err != nil || v.Inputs == 0 || v.Relative != 0 {
		t.Errorf("got %+v, %v", v, err)
	}
	o := VerifyOptions{Model: own("tied.onnx"), Other: own("tied.onnx"), Engine: "onnx-go"}
	v, err = Verify(t.Context(), o)
	if err != nil || v.Inputs != 0 || !math.IsNaN(float64(v.Relative)) || len(v.Warnings) != 1 || v.Warnings[0].Code != "decoded-only" {
		t.Errorf("got %+v, %v", v, err)
	}
	o.MaxError = 0.1
	var unsupported *UnsupportedError
	if _, err = Verify(t.Context(), o); !errors.As(err, &unsupported) || !strings.Contains(err.Error(), "LSTM") {
		t.Errorf("with a gate: got %v, want an UnsupportedError that names LSTM", err)
	}
}

func TestVerifyErrors(t *testing.T) {
	model := own("tied.onnx")
	for _, c := range []struct {
		name string
		o    VerifyOptions
		kind any
		want string
	}{
		{"engine", VerifyOptions{Engine: "ort"}, &OptionError{}, "valid: go, onnxruntime, onnx-go"},
		{"state without data", VerifyOptions{Reading: DataOptions{States: map[string]string{"a": "b"}}}, &OptionError{}, "no --data"},
		{"negative gate", VerifyOptions{MaxError: -1}, &OptionError{}, "positive"},
		{"no such data", VerifyOptions{Data: filepath.Join("nowhere", "x.npz")}, nil, "nowhere"},
		{"no library", VerifyOptions{Engine: "onnxruntime", Library: filepath.Join("nowhere", "libonnxruntime.so")}, nil, "--ort-library"},
		{"no other", VerifyOptions{Other: "nowhere.onnx"}, nil, "nowhere.onnx"},
		{"other interface", VerifyOptions{Other: own("lstm_bidi.onnx")}, nil, "lstm_bidi.onnx"},
	} {
		c.o.Model = model
		if c.o.Other == "" {
			c.o.Other = model
		}
		_, err := Verify(t.Context(), c.o)
		var option *OptionError
		if err == nil || !strings.Contains(err.Error(), c.want) || errors.As(err, &option) != (c.kind != nil) {
			t.Errorf("%s: got %v, want an error with %q", c.name, err, c.want)
		}
	}
}

// TestStreamsRunOnTheirOwnStates follows two streams through three steps of a model that adds up its input:
// y = x + s, s' = x + s from s = 0. The sums are by hand.
func TestStreamsRunOnTheirOwnStates(t *testing.T) {
	adds := func(_ context.Context, f map[string]*onnx.Array) (map[string]*onnx.Array, error) {
		x, s := f["x"].Data.([]float32), f["s"].Data.([]float32)
		sum := make([]float32, len(x))
		for i := range x {
			sum[i] = x[i] + s[i]
		}
		a := &onnx.Array{Type: onnx.Float, Dims: f["x"].Dims, Data: sum}
		return map[string]*onnx.Array{"y": a, "s2": a}, nil
	}
	states := map[string]string{"s2": "s"}
	m := &subject{inputs: []*onnx.ValueInfo{input("x", onnx.Float, "B"), input("s", onnx.Float, "B")}, run: adds}
	for range 2 { // the second round starts at zero again
		if err := m.reset(states, 2); err != nil {
			t.Fatal(err)
		}
		for step, want := range [][2]float32{{1, 10}, {3, 30}, {6, 60}} {
			k := float32(step + 1)
			out, err := m.step(t.Context(), map[string]*onnx.Array{"x": {Type: onnx.Float, Dims: []int{2}, Data: []float32{k, 10 * k}}}, states)
			if err != nil {
				t.Fatal(err)
			}
			if got := out["y"].Data.([]float32); got[0] != want[0] || got[1] != want[1] {
				t.Errorf("step %d: got %v, want %v", step, got, want)
			}
		}
	}
	var option *OptionError
	if err := m.reset(map[string]string{"s2": "state"}, 2); !errors.As(err, &option) {
		t.Errorf("an unknown input: got %v, want an OptionError", err)
	}
	if err := m.reset(map[string]string{"sum": "s"}, 2); err != nil {
		t.Fatal(err)
	}
	if _, err := m.step(t.Context(), map[string]*onnx.Array{"x": {Type: onnx.Float, Dims: []int{2}, Data: []float32{1, 2}}}, map[string]string{"sum": "s"}); !errors.As(err, &option) {
		t.Errorf("an unknown output: got %v, want an OptionError", err)
	}
}
