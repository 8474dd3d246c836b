package convert

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// tensorFile reads a TensorProto file of a test_data_set folder.
func tensorFile(t *testing.T, path string) *onnx.Array {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tensor, err := onnx.DecodeTensor(path, b)
	if err != nil {
		t.Fatal(err)
	}
	a, err := tensor.Array()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func writeNPY(t *testing.T, path string, a *onnx.Array) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := dataset.WriteNPY(f, a); err != nil {
		t.Fatal(err)
	}
}

// TestRun runs a model on stored arrays, one of them as float64, and compares with the outputs that testdata/models/expect.py computed with NumPy.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(own("tied"), "test_data_set_0")
	left, right := filepath.Join(dir, "left.npy"), filepath.Join(dir, "right.npy")
	writeNPY(t, left, tensorFile(t, filepath.Join(data, "input_0.pb")))
	wide, err := dataset.Cast(tensorFile(t, filepath.Join(data, "input_1.pb")), onnx.Double)
	if err != nil {
		t.Fatal(err)
	}
	writeNPY(t, right, wide)

	out := filepath.Join(dir, "out.npz")
	o := RunOptions{Model: own("tied.onnx"), Inputs: map[string]string{"left": left, "right": right}, Output: out}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	got, err := dataset.ReadNPZFile(out)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]*onnx.Array{r.Values[0].Name: tensorFile(t, filepath.Join(data, "output_0.pb"))}
	c := newComparer()
	if err := c.add(got, want, nil); err != nil {
		t.Fatal(err)
	}
	if rel := c.result("").Relative; !(rel < 1e-5) {
		t.Errorf("the outputs differ from NumPy's by %g", float64(rel))
	}

	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Errorf("an existing output: got %v", err)
	}
}

func TestRunRefusesInputs(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, a *onnx.Array) string {
		path := filepath.Join(dir, name)
		writeNPY(t, path, a)
		return path
	}
	good := file("good.npy", &onnx.Array{Type: onnx.Float, Dims: []int{2, 1, 96}, Data: make([]float32, 192)})
	short := file("short.npy", &onnx.Array{Type: onnx.Float, Dims: []int{2, 1, 95}, Data: make([]float32, 190)})
	huge := make([]float64, 192)
	huge[3] = 1e300
	tooLarge := file("large.npy", &onnx.Array{Type: onnx.Double, Dims: []int{2, 1, 96}, Data: huge})
	text := filepath.Join(dir, "text.npy")
	if err := os.WriteFile(text, []byte("no array"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		inputs map[string]string
		option bool
		want   string
	}{
		{"missing", map[string]string{"left": good}, true, `"right": the model needs this input`},
		{"misspelt", map[string]string{"left": good, "rigth": good}, true, `did you mean "right"?`},
		{"wrong size", map[string]string{"left": good, "right": short}, false, "95"},
		{"out of range", map[string]string{"left": good, "right": tooLarge}, false, "1e+300"},
		{"no array", map[string]string{"left": good, "right": text}, false, "text.npy"},
		{"no file", map[string]string{"left": good, "right": filepath.Join(dir, "none.npy")}, false, "none.npy"},
	} {
		out := filepath.Join(dir, "out.npz")
		_, err := Run(t.Context(), RunOptions{Model: own("tied.onnx"), Inputs: c.inputs, Output: out})
		var option *OptionError
		if err == nil || errors.As(err, &option) != c.option || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", c.name, err, c.want)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: something was written", c.name)
		}
	}
}
