package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// rejection is a broken input (or one that is odd and must be taken with a warning) and how the program meets it.
type rejection struct {
	name  string                  // the number of its group and what is wrong
	files func(t *testing.T) bool // fills the current folder, false where the system cannot hold such a file
	args  string                  // "": all verbs, or decompose alone where only it looks at what is wrong
	only  bool                    // decompose alone
	code  int
	says  []string // on the standard error, or in the JSON document where it is accepted

	memory uint64 // bytes that may be allocated in all, 0 for 96 MiB
}

const decomposeArgs = "decompose m.onnx -o out.onnx --ratio 4 --json"

// TestRejects meets every broken input end to end: the error names the file, the subject and both values, the exit code says the kind, nothing is
// written, what was there stays as it is, and memory is bounded by the bytes really present. Group 26 speaks of checkpoints and recipes, and of the ring's
// record in the metadata of a compact model.
func TestRejects(t *testing.T) {
	for _, group := range [][]rejection{
		wireRejections(), graphRejections(), tensorRejections(), namingRejections(), locationRejections(), dataFileRejections(), outputRejections(),
		configRejections(), weightRejections(), scopeRejections(), optionRejections(), arrayRejections(), recordRejections(), sampleRejections(),
		labelRejections(), gradientRejections(), checkpointRejections(), newRejections(), importRejections(), exportRejections(),
	} {
		for _, c := range group {
			t.Run(c.name, c.test)
		}
	}
}

func (c rejection) test(t *testing.T) {
	t.Chdir(t.TempDir())
	if !c.files(t) {
		t.Skip("this system has no such files")
	}
	lines := []string{c.args}
	switch {
	case c.args == "" && c.only:
		lines = []string{decomposeArgs}
	case c.args == "":
		lines = []string{decomposeArgs, "inspect m.onnx --json", "verify m.onnx m.onnx --json", "run m.onnx --input x=m.onnx -o out.npz"}
	}
	for _, line := range lines {
		c.meet(t, line)
	}
}

// meet runs one command line in the current folder.
func (c rejection) meet(t *testing.T, line string) {
	before := snapshot(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var (
		stdout, stderr bytes.Buffer
		start, end     runtime.MemStats
	)
	runtime.ReadMemStats(&start)
	code := run(ctx, strings.Fields(line), nil, &stdout, &stderr)
	runtime.ReadMemStats(&end)
	if code != c.code {
		t.Errorf("%s: exit code %d, want %d: %s", line, code, c.code, stderr.String())
	}
	text, silent := stderr.String(), stdout.String()
	if c.code == exitOK {
		text, silent = silent, text
	}
	if silent != "" && code == c.code && !(c.code == exitGate && strings.HasPrefix(line, "verify")) {
		t.Errorf("%s: on the other stream: %s", line, silent)
	}
	for _, want := range c.says {
		if !strings.Contains(text, want) {
			t.Errorf("%s: it does not say %q: %.600s", line, want, strings.Join(strings.Fields(text), " "))
		}
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f }); i >= 0 && c.code != exitOK {
		t.Errorf("%s: control character %q in the message", line, text[i])
	}
	most := c.memory
	if most == 0 {
		most = 96 << 20
	}
	if n := end.TotalAlloc - start.TotalAlloc; c.code != exitOK && n > most {
		t.Errorf("%s: %d bytes were allocated, in all at most %d may be", line, n, most)
	}
	after := snapshot(t)
	if c.code == exitOK {
		delete(after, "out.onnx")
		delete(after, "out.npz")
	}
	for name, content := range after {
		if old, ok := before[name]; !ok {
			t.Errorf("%s: %s was left behind", line, name)
		} else if content != old {
			t.Errorf("%s: %s has changed", line, name)
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			t.Errorf("%s: %s is gone", line, name)
		}
	}
}

// snapshot is what the current folder holds, hidden files included: mode, and bytes or the target of a link. Files beyond 64 MiB are known by their size.
func snapshot(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content := info.Mode().String()
		switch mode := info.Mode(); {
		case mode&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			content += target
		case mode.IsRegular() && info.Size() < 64<<20:
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content += string(b)
		case mode.IsRegular():
			content += time.Duration(info.Size()).String()
		}
		all[path] = content
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Sizes of the layer in [layerModel].
const (
	layerIn     = 96
	layerHidden = 16
	layerRows   = 4 * layerHidden
)

// layerModel is one LSTM "cell" over x [T, B, 96] that gives Y, well-formed: the cases break it.
func layerModel() *onnxpb.ModelProto {
	cell := &onnxpb.NodeProto{OpType: proto.String("LSTM"), Name: proto.String("cell"), Input: []string{"x", "W", "R"}, Output: []string{"Y"},
		Attribute: []*onnxpb.AttributeProto{intAttribute("hidden_size", layerHidden)}}
	return &onnxpb.ModelProto{
		IrVersion: proto.Int64(7), OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: proto.Int64(14)}},
		Graph: &onnxpb.GraphProto{
			Name: proto.String("g"), Node: []*onnxpb.NodeProto{cell},
			Input:  []*onnxpb.ValueInfoProto{declare("x", 1, -1, -1, layerIn)},
			Output: []*onnxpb.ValueInfoProto{declare("Y", 1, -1, 1, -1, layerHidden)},
			Initializer: []*onnxpb.TensorProto{
				floats("W", random(layerRows*layerIn), 1, layerRows, layerIn), floats("R", random(layerRows*layerHidden), 1, layerRows, layerHidden),
			},
		},
	}
}

func random(n int) []float32 {
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(0.3 * rng.NormFloat64())
	}
	return v
}

func floats(name string, v []float32, dims ...int64) *onnxpb.TensorProto {
	var raw []byte
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	return &onnxpb.TensorProto{Name: &name, DataType: proto.Int32(1), Dims: dims, RawData: raw}
}

func longs(name string, dims []int64, v ...int64) *onnxpb.TensorProto {
	return &onnxpb.TensorProto{Name: &name, DataType: proto.Int32(7), Dims: dims, Int64Data: v}
}

// declare declares a graph input or output; negative dims are free.
func declare(name string, elem int32, dims ...int64) *onnxpb.ValueInfoProto {
	shape := &onnxpb.TensorShapeProto{}
	for i, d := range dims {
		dim := &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: d}}
		if d < 0 {
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: "TBCD"[i : i+1]}
		}
		shape.Dim = append(shape.Dim, dim)
	}
	return &onnxpb.ValueInfoProto{Name: &name, Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
		TensorType: &onnxpb.TypeProto_Tensor{ElemType: &elem, Shape: shape},
	}}}
}

func nodeOf(op string, inputs, outputs []string, attributes ...*onnxpb.AttributeProto) *onnxpb.NodeProto {
	return &onnxpb.NodeProto{OpType: &op, Input: inputs, Output: outputs, Attribute: attributes}
}

func intAttribute(name string, v int64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_INT.Enum(), I: &v}
}

func floatAttribute(name string, v float32) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_FLOAT.Enum(), F: &v}
}

func textAttribute(name, v string) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_STRING.Enum(), S: []byte(v)}
}

func textsAttribute(name string, v ...string) *onnxpb.AttributeProto {
	a := &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_STRINGS.Enum()}
	for _, s := range v {
		a.Strings = append(a.Strings, []byte(s))
	}
	return a
}

func graphAttribute(name string, g *onnxpb.GraphProto) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_GRAPH.Enum(), G: g}
}

// edit is a change of the well-formed model.
type edit func(m *onnxpb.ModelProto)

// broken writes the changed model as m.onnx.
func broken(changes ...edit) func(t *testing.T) bool {
	return func(t *testing.T) bool {
		m := layerModel()
		for _, change := range changes {
			change(m)
		}
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		put(t, "m.onnx", b)
		return true
	}
}

// file writes given bytes as m.onnx.
func file(b []byte) func(t *testing.T) bool {
	return func(t *testing.T) bool { put(t, "m.onnx", b); return true }
}

func put(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func initializer(m *onnxpb.ModelProto, name string) *onnxpb.TensorProto {
	k := slices.IndexFunc(m.Graph.Initializer, func(t *onnxpb.TensorProto) bool { return t.GetName() == name })
	return m.Graph.Initializer[k]
}

// removeInitializer takes an initializer out and returns it.
func removeInitializer(m *onnxpb.ModelProto, name string) *onnxpb.TensorProto {
	t := initializer(m, name)
	m.Graph.Initializer = slices.DeleteFunc(m.Graph.Initializer, func(x *onnxpb.TensorProto) bool { return x == t })
	return t
}

// before puts nodes in front of the layer.
func before(nodes ...*onnxpb.NodeProto) edit {
	return func(m *onnxpb.ModelProto) { m.Graph.Node = append(nodes, m.Graph.Node...) }
}

func cellOf(m *onnxpb.ModelProto) *onnxpb.NodeProto {
	k := slices.IndexFunc(m.Graph.Node, func(n *onnxpb.NodeProto) bool { return n.GetName() == "cell" })
	return m.Graph.Node[k]
}

// attribute sets an attribute of the layer.
func attribute(a *onnxpb.AttributeProto) edit {
	return func(m *onnxpb.ModelProto) {
		n := cellOf(m)
		n.Attribute = append(slices.DeleteFunc(n.Attribute, func(x *onnxpb.AttributeProto) bool { return x.GetName() == a.GetName() }), a)
	}
}
