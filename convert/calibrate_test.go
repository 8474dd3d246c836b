package convert

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/internal/testmodels"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/runtime"
	"github.com/trconvert/trconvert/runtime/dataset"
)

func npzOf(t *testing.T, arrays map[string]*onnx.Array) string {
	t.Helper()
	var b bytes.Buffer
	if err := dataset.WriteNPZ(&b, arrays); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "data.npz")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// The moments are by hand: of X [T=2, B=2, I=2] the second row has one valid step.
func TestFramesLeaveOutPadding(t *testing.T) {
	lens := &onnx.Array{Type: onnx.Int32, Dims: []int{2}, Data: []int32{2, 1}}
	want := []float64{1*1 + 3*3 + 5*5, 1*2 + 3*4 + 5*6, 1*2 + 3*4 + 5*6, 2*2 + 4*4 + 6*6} // (1,2), (3,4), (5,6); not (7,8)
	for _, c := range []struct {
		layout int
		x      []float32
	}{
		{0, []float32{1, 2, 3, 4, 5, 6, 7, 8}}, // steps first: row 1 is (3,4), (7,8)
		{1, []float32{1, 2, 5, 6, 3, 4, 7, 8}}, // batch first
	} {
		s := &recurrent.Site{Name: "s", Node: &onnx.Node{}, Input: 2, Config: recurrent.Config{Layout: c.layout, HasSequenceLens: true}}
		f := &frames{width: 2}
		col := &collector{of: map[*onnx.Node]*frames{s.Node: f}, site: map[*onnx.Node]*recurrent.Site{s.Node: s}, waiting: map[*onnx.Node]*onnx.Array{}}
		col.observe(runtime.Observed{Node: s.Node, Slot: recurrent.SlotX}, &onnx.Array{Type: onnx.Float, Dims: []int{2, 2, 2}, Data: c.x})
		col.observe(runtime.Observed{Node: s.Node, Slot: recurrent.SlotSequenceLens}, lens)
		if f.flush(); col.err != nil || f.count != 3 {
			t.Fatalf("layout %d: %d frames, error %v", c.layout, f.count, col.err)
		}
		for i, v := range want {
			if f.moment[i] != v {
				t.Errorf("layout %d: moment %v, want %v", c.layout, f.moment, want)
				break
			}
		}
		col.observe(runtime.Observed{Node: s.Node, Slot: recurrent.SlotX}, &onnx.Array{Type: onnx.Float, Dims: []int{1, 1, 2}, Data: []float32{1, float32(math.NaN())}})
		col.observe(runtime.Observed{Node: s.Node, Slot: recurrent.SlotSequenceLens}, &onnx.Array{Type: onnx.Int32, Dims: []int{1}, Data: []int32{1}})
		if col.err == nil || !strings.Contains(col.err.Error(), "NaN") {
			t.Errorf("a NaN: error %v", col.err)
		}
	}
}

func TestWideLayersKeepAnEvenSample(t *testing.T) {
	f := &frames{width: momentWidth + 1}
	x := make([]float32, f.width)
	for i := range 4*sampleFrames + 77 {
		x[0] = float32(i)
		f.frame(x)
	}
	if f.count != 4*sampleFrames+77 || len(f.sample) > 2*sampleFrames || len(f.sample) < sampleFrames {
		t.Fatalf("%d frames, %d kept", f.count, len(f.sample))
	}
	for i, row := range f.sample {
		if row[0] != float32(i*f.stride) {
			t.Fatalf("sample %d is frame %v, the stride is %d", i, row[0], f.stride)
		}
	}
}

// TestCalibrationHelpsOnOtherClips fits the classifier's W with and without clips that are none of those that it is measured on.
func TestCalibrationHelpsOnOtherClips(t *testing.T) {
	model, dir := own("gestures.onnx"), t.TempDir()
	cal := Calibration{Data: npzOf(t, testmodels.Clips("train", 128))}
	// At ratio 10 the classifier's W is a ring already, but for 6 %, and data have nothing to choose.
	for format, ratio := range map[string]float64{"svd": 10, "tr": 40} {
		var e [2]float64
		for k, c := range []Calibration{{}, cal} {
			out := filepath.Join(dir, format+".onnx")
			r := decomposes(t, Options{Model: model, Output: out, Fit: FitOptions{Format: format}, Budget: Budget{Ratio: ratio}, Calibration: c, Files: Files{Force: true}})
			v, err := Verify(t.Context(), VerifyOptions{Model: model, Other: out, Data: own("gestures.npz")})
			if err != nil {
				t.Fatal(err)
			}
			e[k] = float64(v.Relative)
			if s := r.Sites[0]; math.IsNaN(float64(s.DataError)) != (k == 0) || s.RelativeError <= 0 {
				t.Errorf("%s, calibration %v: data error %v, relative error %v", format, k == 1, s.DataError, s.RelativeError)
			}
		}
		if !(e[1] < 0.9*e[0]) {
			t.Errorf("%s: the outputs change by %v with calibration, by %v without", format, e[1], e[0])
		}
	}
}

func TestCalibrationIsDeterministic(t *testing.T) {
	cal := Calibration{Data: npzOf(t, testmodels.Clips("train", 40))}
	var files [][]byte
	for _, procs := range []int{1, 2} {
		before := goruntime.GOMAXPROCS(procs)
		out := filepath.Join(t.TempDir(), "out.onnx")
		_, err := Decompose(t.Context(), Options{Model: own("gestures.onnx"), Output: out, Fit: FitOptions{Format: "tr"}, Calibration: cal})
		goruntime.GOMAXPROCS(before)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, b)
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("the files differ between GOMAXPROCS 1 and 2")
	}
}

func TestCalibrationErrors(t *testing.T) {
	clips := testmodels.Clips("train", 4)
	dims := clips["frames"].Dims
	floats := func(dims []int, v float32) string {
		n := 1
		for _, d := range dims {
			n *= d
		}
		x := make([]float32, n)
		if n > 0 {
			x[n-1] = v
		}
		return npzOf(t, map[string]*onnx.Array{"frames": {Type: onnx.Float, Dims: dims, Data: x}})
	}
	for name, c := range map[string]struct{ data, want string }{
		"NaN":         {floats(dims, float32(math.NaN())), fmt.Sprintf("sample 3, step 0: input \"frames\" is NaN at element %d ", dims[1]*dims[2]-1)},
		"infinity":    {floats(dims, float32(math.Inf(1))), "Inf"},
		"wrong width": {floats([]int{4, dims[1], dims[2] + 1}, 0), "frames"},
		"no samples":  {floats([]int{0, dims[1], dims[2]}, 0), "empty"},
		"no file":     {filepath.Join(t.TempDir(), "none.npz"), "none.npz"},
	} {
		out := filepath.Join(t.TempDir(), "out.onnx")
		_, err := Decompose(t.Context(), Options{Model: own("gestures.onnx"), Output: out, Calibration: Calibration{Data: c.data}})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: a file was written", name)
		}
	}
	var option *OptionError
	_, err := Decompose(t.Context(), Options{Model: own("gestures.onnx"), Calibration: Calibration{Reading: DataOptions{States: map[string]string{"a": "b"}}}})
	if !errors.As(err, &option) {
		t.Errorf("--state without data: %v", err)
	}
	// Zero frames say nothing: the fit is the plain one, with a warning.
	r := decomposes(t, Options{Model: own("gestures.onnx"), Fit: FitOptions{Format: "svd"}, Calibration: Calibration{Data: floats(dims, 0)}})
	if len(r.Warnings) == 0 {
		t.Error("frames of zeros: no warning")
	}
}

// TestStreamsReachTheirBranch collects what a voice detector's streams bring to its layers: of its two matrices, each in other branches of an
// If, that for 8 kHz is never reached by speech at 16 kHz.
func TestStreamsReachTheirBranch(t *testing.T) {
	model := filepath.Join(shared(t, "models", "visible", "silero_vad_v6"), "model.onnx")
	data := filepath.Join(shared(t, "data", "speech"), "silero-heldback.npz")
	cal := Calibration{Data: data, Reading: DataOptions{States: map[string]string{"stateN": "state"}}}
	r := decomposes(t, Options{Model: model, Fit: FitOptions{Format: "svd"}, Calibration: cal})
	reached := map[bool]int{}
	for _, s := range r.Sites {
		if s.SharedWith == "" {
			reached[!math.IsNaN(float64(s.DataError))]++
		}
	}
	warned := 0
	for _, w := range r.Warnings {
		if w.Code == "no-frames" {
			warned++
		}
	}
	if reached[true] != 1 || reached[false] != 1 || warned != 1 {
		t.Errorf("matrices reached and not: %v; %d warnings of layers not reached", reached, warned)
	}
	cal.Reading.States = nil
	if _, err := Decompose(t.Context(), Options{Model: model, Output: filepath.Join(t.TempDir(), "out.onnx"), Calibration: cal}); err == nil {
		t.Error("streams without --state: no error")
	}
}
