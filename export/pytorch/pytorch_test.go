package pytorch_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/export/pytorch"
	"github.com/trconvert/trconvert/export/safetensors"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// python is the interpreter that has PyTorch: $TRCONVERT_PYTHON, or Debian's.
func python(t *testing.T) string {
	t.Helper()
	name := os.Getenv("TRCONVERT_PYTHON")
	if name == "" {
		name = "/usr/bin/python3"
	}
	if err := exec.Command(name, "-c", "import torch").Run(); err != nil {
		t.Skipf("%s has no PyTorch (Debian: python3-torch): %v", name, err)
	}
	return name
}

// example is a model with inputs and what others have computed for them.
type example struct {
	name            string
	model           *onnx.Model
	inputs, outputs []*onnx.Array
}

// write exports an example into a folder, with its inputs.
func (e example) write(t *testing.T, folder string) error {
	t.Helper()
	m, err := pytorch.Print(t.Context(), e.model, pytorch.Options{})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range m.Files {
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	inputs := &safetensors.File{}
	for k, a := range e.inputs {
		if a != nil {
			inputs.Tensors = append(inputs.Tensors, safetensors.Tensor{Name: strconv.Itoa(k), Array: widened(t, a)})
		}
	}
	for name, f := range map[string]*safetensors.File{pytorch.WeightsFile: m.Weights, "inputs.safetensors": inputs} {
		var b bytes.Buffer
		if err := safetensors.Write(&b, f); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return nil
}

// widened is an array in float32 where its floats are narrower, as modules take it.
func widened(t *testing.T, a *onnx.Array) *onnx.Array {
	if a.Type != onnx.Float16 && a.Type != onnx.BFloat16 {
		return a
	}
	x, err := a.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	return &onnx.Array{Type: onnx.Float, Dims: a.Dims, Data: x}
}

// run runs examples in one process of Python and compares their outputs. It returns the names of those that cannot be exported, with the reasons.
func run(t *testing.T, examples []example, tolerance float64) map[string]string {
	t.Helper()
	interpreter := python(t)
	root := t.TempDir()
	args := []string{filepath.Join("testdata", "driver.py")}
	refused := map[string]string{}
	var tried []example
	for _, e := range examples {
		folder := filepath.Join(root, e.name)
		err := e.write(t, folder)
		var lacks *pytorch.UnsupportedError
		switch {
		case errors.As(err, &lacks):
			refused[e.name] = err.Error()
		case err != nil:
			t.Errorf("%s: %v", e.name, err)
		default:
			args, tried = append(args, folder), append(tried, e)
		}
	}
	if text, err := exec.CommandContext(t.Context(), interpreter, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	for _, e := range tried {
		tolerance := tolerance
		if slices.Contains(fourDigits, e.name) {
			tolerance = 5e-4
		}
		t.Run(e.name, func(t *testing.T) { e.compare(t, filepath.Join(root, e.name), tolerance) })
	}
	return refused
}

func (e example) compare(t *testing.T, folder string, tolerance float64) {
	if text, err := os.ReadFile(filepath.Join(folder, "error.txt")); err == nil {
		t.Fatalf("%s", text)
	}
	got, err := safetensors.ReadFile(t.Context(), filepath.Join(folder, "outputs.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range e.outputs {
		if want == nil {
			continue
		}
		a := got.Tensor(strconv.Itoa(k))
		if a == nil {
			t.Errorf("output %d is not there", k)
			continue
		}
		if err := equal(a, widened(t, want), tolerance); err != nil {
			t.Errorf("output %d: %v", k, err)
		}
	}
	first, err := os.ReadFile(filepath.Join(folder, pytorch.WeightsFile))
	if err != nil {
		t.Fatal(err)
	}
	again, err := os.ReadFile(filepath.Join(folder, "again.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, again) {
		t.Error("weights that were read and written again have other bytes")
	}
}

// equal compares arrays: integers exactly, floats by the norm of the difference.
func equal(got, want *onnx.Array, tolerance float64) error {
	if got.Type != want.Type || !slices.Equal(got.Dims, want.Dims) {
		return fmt.Errorf("%v %v, want %v %v", got.Type, got.Dims, want.Type, want.Dims)
	}
	x, err := got.Float64s()
	if err != nil {
		return err
	}
	y, err := want.Float64s()
	if err != nil {
		return err
	}
	var difference, norm float64
	for k := range x {
		if x[k] == y[k] || math.IsNaN(x[k]) && math.IsNaN(y[k]) {
			if !math.IsInf(x[k], 0) && !math.IsNaN(x[k]) {
				norm += y[k] * y[k]
			}
			continue
		}
		difference += (x[k] - y[k]) * (x[k] - y[k])
		norm += y[k] * y[k]
	}
	if !(math.Sqrt(difference) <= tolerance*math.Sqrt(norm)) || difference > 0 && !want.Type.IsFloat() {
		return fmt.Errorf("relative error %g, want %g at most", math.Sqrt(difference/norm), tolerance)
	}
	return nil
}

const sharedFolder = "../../../shared"

// shared is a folder of models of others beside the checkout.
func shared(t *testing.T, elements ...string) string {
	t.Helper()
	dir := filepath.Join(append([]string{sharedFolder}, elements...)...)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("%s is absent", dir)
	}
	return dir
}

func open(t *testing.T, path string) *onnx.Model {
	t.Helper()
	m, err := onnx.OpenFile(t.Context(), path, onnx.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// lacking are the node tests of what modules do not have.
var lacking = map[string]string{
	"test_affine_grid_2d":                             "AffineGrid: operator",
	"test_affine_grid_2d_align_corners":               "AffineGrid: operator",
	"test_affine_grid_3d_align_corners":               "AffineGrid: operator",
	"test_batchnorm_example_training_mode":            "BatchNormalization: training_mode",
	"test_dropout_default_mask":                       "Dropout: output 1",
	"test_dropout_default_mask_ratio":                 "Dropout: output 1",
	"test_lpnormalization_default":                    "LpNormalization: operator",
	"test_maxpool_with_argmax_2d_precomputed_pads":    "MaxPool: output 1",
	"test_maxpool_with_argmax_2d_precomputed_strides": "MaxPool: storage_order 1",
}

// fourDigits are tests whose outputs are stored with four digits.
var fourDigits = []string{"test_averagepool_2d_ceil_last_window_starts_on_pad"}

// TestPyTorchNodes holds every operator to the stored outputs of the ONNX project's node tests.
func TestPyTorchNodes(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(shared(t, "onnx-node"), "*", "model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	var examples []example
	for _, path := range paths {
		e, ok := nodeExample(t, path)
		if ok {
			examples = append(examples, e)
		}
	}
	refused := run(t, examples, 1e-5)
	for name, why := range refused {
		if lacks := lacking[name]; lacks == "" || !strings.Contains(why, lacks) {
			t.Errorf("%s is refused: %s", name, why)
		}
	}
	for name, lacks := range lacking {
		if refused[name] == "" {
			t.Errorf("%s is exported, want it refused for %s", name, lacks)
		}
	}
	t.Logf("%d of %d node tests are exported", len(examples)-len(refused), len(paths))
}

// readable are the types that PyTorch 1.13 and the module's reader have, and those that are widened.
var readable = []onnx.DataType{onnx.Float, onnx.Double, onnx.Float16, onnx.BFloat16, onnx.Int8, onnx.Int16, onnx.Int32, onnx.Int64, onnx.Uint8, onnx.Bool}

// nodeExample reads a node test, false where its values are no tensors that the module's files hold.
func nodeExample(t *testing.T, path string) (example, bool) {
	m := open(t, path)
	e := example{name: filepath.Base(filepath.Dir(path)), model: m}
	read := func(kind string, values []*onnx.ValueInfo) (all []*onnx.Array, ok bool) {
		for k, v := range values {
			if v.Type == nil || v.Type.Kind != "tensor" {
				return nil, false
			}
			raw, err := os.ReadFile(filepath.Join(filepath.Dir(path), "test_data_set_0", fmt.Sprintf("%s_%d.pb", kind, k)))
			if err != nil {
				t.Fatal(err)
			}
			tensor, err := onnx.DecodeTensor(path, raw)
			if err != nil {
				t.Fatal(err)
			}
			a, err := tensor.Array()
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(readable, a.Type) {
				return nil, false
			}
			all = append(all, a)
		}
		return all, true
	}
	var okIn, okOut bool
	e.inputs, okIn = read("input", m.Graph.Inputs)
	e.outputs, okOut = read("output", m.Graph.Outputs)
	return e, okIn && okOut
}

// TestPyTorchModels holds whole models of others to the outputs that ONNX Runtime and PyTorch stored for them.
func TestPyTorchModels(t *testing.T) {
	root := shared(t, "models")
	paths, err := filepath.Glob(filepath.Join(root, "*", "*", "model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	var examples []example
	for _, path := range paths {
		if e, ok := modelExample(t, path); ok {
			examples = append(examples, e)
		}
	}
	for name, why := range run(t, examples, 1e-4) {
		t.Errorf("%s is refused: %s", name, why)
	}
	t.Logf("%d models", len(examples))
}

// modelExample reads a model with stored inputs and outputs, false where there are no outputs.
func modelExample(t *testing.T, path string) (example, bool) {
	folder := filepath.Dir(path)
	m := open(t, path)
	e := example{name: filepath.Base(filepath.Dir(folder)) + "_" + filepath.Base(folder), model: m}
	var files []string // of all arrays
	for _, dir := range []string{folder, filepath.Join(folder, "io")} {
		more, err := filepath.Glob(filepath.Join(dir, "*.npy"))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, more...)
	}
	find := func(prefix string, k int, name string) *onnx.Array {
		for _, candidate := range []string{prefix + "_" + name + ".npy", prefix + "_" + strconv.Itoa(k) + ".npy"} {
			at := slices.IndexFunc(files, func(f string) bool { return filepath.Base(f) == candidate })
			if at < 0 {
				continue
			}
			a, err := dataset.ReadNPYFile(files[at])
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		return nil
	}
	held := map[string]bool{}
	for _, tensor := range m.Graph.Initializers {
		held[tensor.Name] = true
	}
	for _, v := range m.Graph.Inputs {
		if !held[v.Name] {
			e.inputs = append(e.inputs, find("in", len(e.inputs), v.Name))
		}
	}
	found := false
	for k, v := range m.Graph.Outputs {
		a := find("out", k, v.Name)
		e.outputs, found = append(e.outputs, a), found || a != nil
	}
	return e, found
}

// TestPyTorchNames gives values the names of whatever Python and PyTorch have for themselves, and some that are no names: the module still runs. The oracle is y = x + Σ w.
func TestPyTorchNames(t *testing.T) {
	odd := []string{"self", "class", "F", "torch", "load", "forward", "parameters", "metadata", "weights", "training", "T_destination", "_add", "1", "a.b", "a_b", "é", "print", "MODEL", "WEIGHTS", "type", "range"}
	g := &onnxpb.GraphProto{Name: proto.String("g")}
	value := func(name string) *onnxpb.ValueInfoProto {
		tensor := &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(onnx.Float)), Shape: &onnxpb.TensorShapeProto{Dim: []*onnxpb.TensorShapeProto_Dimension{{}}}}
		return &onnxpb.ValueInfoProto{Name: proto.String(name), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: tensor}}}
	}
	last := "lambda"
	g.Input = append(g.Input, value(last))
	want := float32(10)
	for k, name := range odd {
		weight, sum := name, name+" sum"
		if k%2 == 1 {
			weight, sum = name+" weight", name
		}
		want += float32(k)
		g.Initializer = append(g.Initializer, &onnxpb.TensorProto{Name: proto.String(weight), DataType: proto.Int32(int32(onnx.Float)), Dims: []int64{1}, FloatData: []float32{float32(k)}})
		g.Node = append(g.Node, &onnxpb.NodeProto{OpType: proto.String("Add"), Input: []string{last, weight}, Output: []string{sum}})
		last = sum
	}
	g.Output = append(g.Output, value(last))
	m, err := onnx.FromProto("names.onnx", &onnxpb.ModelProto{IrVersion: proto.Int64(7), OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: proto.Int64(14)}}, Graph: g})
	if err != nil {
		t.Fatal(err)
	}
	one := func(x float32) []*onnx.Array {
		return []*onnx.Array{{Type: onnx.Float, Dims: []int{1}, Data: []float32{x}}}
	}
	for name, why := range run(t, []example{{name: "names", model: m, inputs: one(10), outputs: one(want)}}, 0) {
		t.Errorf("%s is refused: %s", name, why)
	}
}
