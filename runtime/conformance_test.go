package runtime

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// sharedFolder is a folder of test material beside the repository; without it the test is skipped.
func sharedFolder(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join("..", "..", "shared", name)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("../shared/%s is absent", name)
	}
	return dir
}

// subfolders lists the folders in dir that hold a model.onnx.
func subfolders(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*", "model.onnx"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no models in %s (%v)", dir, err)
	}
	for k, p := range paths {
		paths[k] = filepath.Dir(p)
	}
	return paths
}

func openModel(t *testing.T, path string) *onnx.Model {
	t.Helper()
	m, err := onnx.OpenFile(context.Background(), path, onnx.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func readNPY(t *testing.T, path string) *Tensor {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a, err := dataset.ReadNPY(f, path)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// runModel compiles and runs a model; intermediate failures end the test.
func runModel(t *testing.T, m *onnx.Model, feeds map[string]*Tensor) map[string]*Tensor {
	t.Helper()
	p, err := Compile(context.Background(), m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.Run(context.Background(), feeds)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// checkClose compares floats to tol times the largest reference value, and all other types exactly.
func checkClose(t *testing.T, name string, got, want *Tensor, tol float64) {
	t.Helper()
	if got == nil {
		t.Errorf("output %q is missing", name)
		return
	}
	if got.Type != want.Type || !sameDims(got.Dims, want.Dims) {
		t.Errorf("output %q is %v%v, the reference %v%v", name, got.Type, got.Dims, want.Type, want.Dims)
		return
	}
	if !isFloat(want.Type) {
		if !reflect.DeepEqual(got.Data, want.Data) {
			t.Errorf("output %q differs: %v, the reference has %v", name, got.Data, want.Data)
		}
		return
	}
	g, w := asFloat64(got), asFloat64(want)
	scale, worst := 0.0, 0.0
	for _, v := range w {
		scale = math.Max(scale, math.Abs(v))
	}
	for i := range w {
		d := math.Abs(g[i] - w[i])
		if math.IsNaN(d) && !(math.IsNaN(g[i]) && math.IsNaN(w[i])) {
			t.Errorf("output %q element %d is %v, the reference has %v", name, i, g[i], w[i])
			return
		}
		worst = math.Max(worst, d)
	}
	if !(worst <= tol*scale) {
		t.Errorf("output %q differs by %g, %g of the largest reference value %g (limit %g)", name, worst, worst/scale, scale, tol)
	}
}

// modelMeta is the meta.json beside a model's arrays.
type modelMeta struct {
	Inputs, Outputs []struct{ Name, File string }
}

func readMeta(t *testing.T, dir string) modelMeta {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "meta.json"))
	if err != nil {
		t.Fatal(err)
	}
	var meta modelMeta
	if err := json.Unmarshal(b, &meta); err != nil {
		t.Fatal(err)
	}
	return meta
}

func (m modelMeta) feeds(t *testing.T, dir string) map[string]*Tensor {
	t.Helper()
	feeds := map[string]*Tensor{}
	for _, in := range m.Inputs {
		feeds[in.Name] = readNPY(t, filepath.Join(dir, in.File))
	}
	return feeds
}

// TestRealModels: the oracle is ONNX Runtime 1.30 (stored outputs).
func TestRealModels(t *testing.T) {
	folders := subfolders(t, sharedFolder(t, "models/visible"))
	if len(folders) != 20 {
		t.Errorf("%d models, want 20", len(folders))
	}
	for _, dir := range folders {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			io := filepath.Join(dir, "io")
			meta := readMeta(t, io)
			out := runModel(t, openModel(t, filepath.Join(dir, "model.onnx")), meta.feeds(t, io))
			for _, o := range meta.Outputs {
				checkClose(t, o.Name, out[o.Name], readNPY(t, filepath.Join(io, o.File)), 1e-4)
			}
			if len(meta.Outputs) == 0 {
				t.Error("no reference outputs")
			}
		})
	}
}

// TestSyntheticModels: the oracle is ONNX Runtime 1.30 (stored outputs), and where that refuses the model, the specification in the form of
// the scalar reference.
func TestSyntheticModels(t *testing.T) {
	bySpecification := map[string]float64{
		"layout1_batchwise": 1e-4, // ONNX Runtime refuses layout=1
		"fp16":              5e-3, // ONNX Runtime has no float16 LSTM on the CPU
	}
	for _, dir := range subfolders(t, sharedFolder(t, "models/synthetic")) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			meta := readMeta(t, dir)
			m := openModel(t, filepath.Join(dir, "model.onnx"))
			feeds := meta.feeds(t, dir)
			if tol, ok := bySpecification[filepath.Base(dir)]; ok {
				x := feeds["x"]
				if m.Graph.Inputs[0].Type.Elem == onnx.Float16 && x.Type == onnx.Float {
					x = narrowHalf(x, onnx.Float16)
				}
				out := runModel(t, m, map[string]*Tensor{"x": x})
				checkClose(t, "Y", out["Y"], referenceOfModel(t, m, x), tol)
				return
			}
			tol := 1e-4
			if strings.HasPrefix(filepath.Base(dir), "fp16") {
				tol = 5e-3
			}
			out := runModel(t, m, feeds)
			for _, o := range meta.Outputs {
				checkClose(t, o.Name, out[o.Name], readNPY(t, filepath.Join(dir, o.File)), tol)
			}
			if len(meta.Outputs) == 0 {
				t.Error("no reference outputs")
			}
		})
	}
}

// referenceOfModel computes Y of a model of one recurrent node on X, W, R, B with the scalar reference.
func referenceOfModel(t *testing.T, m *onnx.Model, x *Tensor) *Tensor {
	t.Helper()
	n := m.Graph.Nodes[0]
	cfg, err := recurrent.ParseConfig(n, m.Opset(""))
	if err != nil {
		t.Fatal(err)
	}
	l := &layerCase{cfg: cfg, steps: x.Dims[0], batch: x.Dims[1], inputs: x.Dims[2], x: asFloat64(x)}
	if cfg.Layout == 1 {
		l.steps, l.batch = l.batch, l.steps
		l.x = swap01(l.x, l.batch, l.steps)
	}
	for slot, to := range map[int]*[]float64{recurrent.SlotW: &l.w, recurrent.SlotR: &l.r, recurrent.SlotB: &l.b} {
		k := slices.IndexFunc(m.Graph.Initializers, func(i *onnx.Tensor) bool { return i.Name == n.Input(slot) })
		a, err := m.Graph.Initializers[k].Array()
		if err != nil {
			t.Fatal(err)
		}
		*to = asFloat64(a)
	}
	y, _, _ := l.reference()
	dims := []int{l.steps, l.dirs(), l.batch, cfg.Hidden}
	if cfg.Layout == 1 {
		y = swap01(y, l.steps*l.dirs(), l.batch)
		dims = []int{l.batch, l.steps, l.dirs(), cfg.Hidden}
	}
	return floats(x.Type, dims, y)
}

// TestTorchExports: the oracle is PyTorch 1.13 (stored outputs in_NAME.npy, out_NAME.npy).
func TestTorchExports(t *testing.T) {
	for _, dir := range subfolders(t, sharedFolder(t, "models/torch-export")) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			m := openModel(t, filepath.Join(dir, "model.onnx"))
			p, err := Compile(context.Background(), m, Options{})
			if err != nil {
				t.Fatal(err)
			}
			feeds := map[string]*Tensor{}
			for _, v := range p.Inputs() {
				feeds[v.Name] = readNPY(t, filepath.Join(dir, "in_"+v.Name+".npy"))
			}
			out, err := p.Run(context.Background(), feeds)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range p.Outputs() {
				checkClose(t, v.Name, out[v.Name], readNPY(t, filepath.Join(dir, "out_"+v.Name+".npy")), 1e-4)
			}
		})
	}
}

// TestWeightsAsInputs: models whose weights are graph inputs compile and run; lower-case activation names, clip and mixed lengths are read.
func TestWeightsAsInputs(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(sharedFolder(t, "models/ngraph-rnn"), "*.onnx"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no models (%v)", err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			p, err := Compile(context.Background(), openModel(t, path), Options{})
			if err != nil {
				t.Fatal(err)
			}
			feeds := map[string]*Tensor{}
			for _, v := range p.Inputs() {
				dims := []int{}
				for _, d := range v.Type.Shape {
					dims = append(dims, int(max(d.Value, 1)))
				}
				if feeds[v.Name], err = zeros(v.Type.Elem, dims); err != nil {
					t.Fatal(err)
				}
			}
			out, err := p.Run(context.Background(), feeds)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range p.Outputs() {
				if out[v.Name] == nil || slices.ContainsFunc(asFloat64(out[v.Name]), math.IsNaN) {
					t.Errorf("output %q is missing or NaN", v.Name)
				}
			}
		})
	}
}

// TestNodes runs the node tests of the ONNX project (stored outputs of its reference implementation), rtol 1e-3, atol 1e-7.
// testdata/node_tests.txt lists those that must pass; each of the others must be refused as unsupported.
func TestNodes(t *testing.T) {
	dir := sharedFolder(t, "onnx-node")
	must := map[string]bool{}
	f, err := os.Open(filepath.Join("testdata", "node_tests.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if line := strings.TrimSpace(sc.Text()); line != "" && !strings.HasPrefix(line, "#") {
			must[line] = true
		}
	}
	folders := subfolders(t, dir)
	passed := 0
	for _, folder := range folders {
		name := filepath.Base(folder)
		t.Run(name, func(t *testing.T) {
			err := runNodeTest(t, folder)
			var u *UnsupportedError
			switch {
			case must[name] && err != nil:
				t.Error(err)
			case must[name]:
				passed++
			case err == nil:
				t.Error("passes, but testdata/node_tests.txt does not list it")
			case !errors.As(err, &u):
				t.Errorf("fails otherwise than as unsupported: %v", err)
			}
		})
		delete(must, name)
	}
	for name := range must {
		t.Errorf("testdata/node_tests.txt lists %q, which is not there", name)
	}
	t.Logf("%d of %d node tests pass", passed, len(folders))
}

func runNodeTest(t *testing.T, folder string) error {
	m := openModel(t, filepath.Join(folder, "model.onnx"))
	p, err := Compile(context.Background(), m, Options{})
	if err != nil {
		return err
	}
	set := filepath.Join(folder, "test_data_set_0")
	feeds := map[string]*Tensor{}
	for k, v := range p.Inputs() {
		feeds[v.Name] = readPB(t, filepath.Join(set, fmt.Sprintf("input_%d.pb", k)), false)[0]
	}
	out, err := p.values(context.Background(), feeds, nil)
	if err != nil {
		return err
	}
	for k, v := range p.Outputs() {
		got := out[k].sequence
		if out[k].kind == kindTensor {
			got = []*Tensor{out[k].tensor}
		}
		want := readPB(t, filepath.Join(set, fmt.Sprintf("output_%d.pb", k)), out[k].kind == kindSequence)
		if len(got) != len(want) {
			return fmt.Errorf("output %q has %d tensors, want %d", v.Name, len(got), len(want))
		}
		for i := range want {
			if err := nodeClose(got[i], want[i]); err != nil {
				return fmt.Errorf("output %q: %w", v.Name, err)
			}
		}
	}
	return nil
}

// nodeClose is the ONNX backend tests' comparison.
func nodeClose(got, want *Tensor) error {
	if got.Type != want.Type || !sameDims(got.Dims, want.Dims) {
		return fmt.Errorf("is %v%v, want %v%v", got.Type, got.Dims, want.Type, want.Dims)
	}
	if n, ok := dataLen(got); !ok || n != elements(got.Dims) {
		return fmt.Errorf("%d elements in a %T for %v%v", n, got.Data, got.Type, got.Dims)
	}
	if !isFloat(want.Type) {
		if !reflect.DeepEqual(got.Data, want.Data) && elements(want.Dims) > 0 {
			return fmt.Errorf("is %v, want %v", got.Data, want.Data)
		}
		return nil
	}
	g, w := asFloat64(got), asFloat64(want)
	for i := range w {
		same := g[i] == w[i] || math.IsNaN(g[i]) && math.IsNaN(w[i])
		if !same && !(math.Abs(g[i]-w[i]) <= 1e-7+1e-3*math.Abs(w[i])) {
			return fmt.Errorf("element %d is %v, want %v", i, g[i], w[i])
		}
	}
	return nil
}

// readPB decodes a TensorProto, or the tensors of a SequenceProto, by putting them into a model as initializers.
func readPB(t *testing.T, path string, sequence bool) []*Tensor {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var graph []byte
	add := func(tensor []byte) { // GraphProto.initializer = 5
		graph = protowire.AppendBytes(protowire.AppendTag(graph, 5, protowire.BytesType), append(tensor, initializerName(len(graph))...))
	}
	if !sequence {
		add(b)
	}
	for sequence && len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		size := protowire.ConsumeFieldValue(num, typ, b[max(n, 0):])
		if n < 0 || size < 0 {
			t.Fatalf("%s: not a SequenceProto", path)
		}
		if num == 3 { // SequenceProto.tensor_values
			v, _ := protowire.ConsumeBytes(b[n:])
			add(slices.Clone(v))
		}
		b = b[n+size:]
	}
	// ModelProto: ir_version = 1, graph = 7, opset_import = 8 {version = 2}
	model := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 8)
	model = protowire.AppendBytes(protowire.AppendTag(model, 7, protowire.BytesType), graph)
	opset := protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), 17)
	model = protowire.AppendBytes(protowire.AppendTag(model, 8, protowire.BytesType), opset)
	m, err := onnx.Decode(path, model)
	if err != nil {
		t.Fatal(err)
	}
	var out []*Tensor
	for _, i := range m.Graph.Initializers {
		a, err := i.Array()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, a)
	}
	return out
}

// initializerName overrides TensorProto.name = 8 with a unique name: the last value of a field holds.
func initializerName(k int) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, 8, protowire.BytesType), fmt.Sprintf("t%d", k))
}
