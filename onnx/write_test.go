package onnx

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// protoModel is a model of one Identity node with the given initializers.
func protoModel(initializers ...*onnxpb.TensorProto) *onnxpb.ModelProto {
	return &onnxpb.ModelProto{
		IrVersion:   proto.Int64(8),
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: proto.Int64(17)}},
		Graph: &onnxpb.GraphProto{
			Name:        proto.String("g"),
			Node:        []*onnxpb.NodeProto{{Name: proto.String("id"), OpType: proto.String("Identity"), Input: []string{"x"}, Output: []string{"y"}}},
			Input:       []*onnxpb.ValueInfoProto{{Name: proto.String("x")}},
			Output:      []*onnxpb.ValueInfoProto{{Name: proto.String("y")}},
			Initializer: initializers,
		},
	}
}

// halves is 0, 1/2, 1, 3/2, …
func halves(n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(i) / 2
	}
	return out
}

func rawFloats(values []float32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

func rawTensor(name string, n int) *onnxpb.TensorProto {
	return &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(1), Dims: []int64{int64(n)}, RawData: rawFloats(halves(n))}
}

func typedTensor(name string, n int) *onnxpb.TensorProto {
	return &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(1), Dims: []int64{int64(n)}, FloatData: halves(n)}
}

// externalTensor refers to n floats in a data file; keys are further external_data entries, in pairs.
func externalTensor(name string, n int, location string, keys ...string) *onnxpb.TensorProto {
	t := &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(1), Dims: []int64{int64(n)}, DataLocation: onnxpb.TensorProto_EXTERNAL.Enum()}
	keys = append([]string{"location", location}, keys...)
	for i := 0; i < len(keys); i += 2 {
		t.ExternalData = append(t.ExternalData, &onnxpb.StringStringEntryProto{Key: &keys[i], Value: &keys[i+1]})
	}
	return t
}

// saveModel writes a model with the generated types' own encoder.
func saveModel(t testing.TB, dir, name string, p *onnxpb.ModelProto) string {
	t.Helper()
	b, err := proto.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return saveFile(t, dir, name, b)
}

func saveFile(t testing.TB, dir, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func openModel(t testing.TB, path string) *Model {
	t.Helper()
	m, err := OpenFile(context.Background(), path, OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// checkFloats checks that every initializer holds [halves].
func checkFloats(t *testing.T, m *Model) {
	t.Helper()
	for _, x := range m.Graph.Initializers {
		a, err := x.Array()
		if err != nil {
			t.Errorf("%s: %v", x, err)
			continue
		}
		if got := a.Data.([]float32); !slices.Equal(got, halves(len(got))) || int64(len(got)) != x.Dims[0] {
			t.Errorf("%s: wrong values", x)
		}
	}
}

// checkFolder checks which files a folder holds.
func checkFolder(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the folder holds %q, want %q", got, want)
	}
}

func TestWriteFile(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	in := saveModel(t, dir, "in.onnx", protoModel(rawTensor("a", 100), typedTensor("b", 50)))
	want, _ := os.ReadFile(in)
	m := openModel(t, in)
	out := filepath.Join(dir, "out.onnx")
	checked := ""
	err := m.WriteFile(ctx, out, WriteOptions{Check: func(path string) error {
		checked = path
		checkFloats(t, openModel(t, path))
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(out); !bytes.Equal(got, want) {
		t.Error("an untouched model is written with other bytes")
	}
	if checked == "" || checked == out {
		t.Errorf("Check was called with %q", checked)
	}
	checkFolder(t, dir, "in.onnx", "out.onnx")

	if err := m.WriteFile(ctx, out, WriteOptions{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("an existing file: %v", err)
	}
	if err := os.WriteFile(out, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := m.WriteFile(ctx, out, WriteOptions{Force: true}); err != nil {
		t.Error(err)
	}
	if got, _ := os.ReadFile(out); !bytes.Equal(got, want) {
		t.Error("Force did not replace the file")
	}
	checkFolder(t, dir, "in.onnx", "out.onnx")
}

func TestWriteFileRefuses(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	data := saveFile(t, dir, "w.bin", rawFloats(halves(10)))
	in := saveModel(t, dir, "in.onnx", protoModel(externalTensor("a", 10, "w.bin")))
	m := openModel(t, in)
	link := filepath.Join(dir, "link.onnx")
	if err := os.Symlink("elsewhere.onnx", link); err != nil {
		t.Skip(err)
	}
	hard := filepath.Join(dir, "hard.onnx")
	if err := os.Link(in, hard); err != nil {
		t.Skip(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(in)
	for _, c := range []struct{ path, what string }{
		{in, "own input"},
		{filepath.Join(dir, ".", "folder", "..", "in.onnx"), "own input"},
		{hard, "own input"},
		{data, "weights of the model's input"},
		{link, "symbolic link"},
		{filepath.Join(dir, "folder"), "is a folder"},
		{filepath.Join(dir, "absent", "out.onnx"), "no such file"},
		{filepath.Join(in, "out.onnx"), "not a directory"},
	} {
		err := m.WriteFile(ctx, c.path, WriteOptions{Force: true})
		if err == nil || !strings.Contains(err.Error(), c.what) {
			t.Errorf("%s: %v, want %q", c.path, err, c.what)
		}
	}
	// A model that no longer needs the data file leaves it alone all the same.
	inside, err := NewFloat32s([]int{10}, halves(10))
	if err != nil {
		t.Fatal(err)
	}
	p := NewPatch(m)
	p.ReplaceInitializer(m.Graph.Initializers[0], inside)
	patched, err := p.Apply(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer patched.Close()
	if err := patched.WriteFile(ctx, data, WriteOptions{Force: true}); err == nil || !strings.Contains(err.Error(), "weights of the model's input") {
		t.Errorf("a patched model wrote over the data file: %v", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	out := filepath.Join(dir, "out.onnx")
	if err := m.WriteFile(cancelled, out, WriteOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
	cancelled, cancel = context.WithCancel(ctx)
	err = m.WriteFile(cancelled, out, WriteOptions{Check: func(string) error { cancel(); return nil }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled while checking: %v", err)
	}
	no := errors.New("not good enough")
	if err := m.WriteFile(ctx, out, WriteOptions{Check: func(string) error { return no }}); !errors.Is(err, no) {
		t.Errorf("failing Check: %v", err)
	}
	if err := os.Remove(data); err != nil {
		t.Fatal(err)
	}
	if err := m.WriteFile(ctx, out, WriteOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("data file gone: %v", err)
	}
	checkFolder(t, dir, "in.onnx", "link.onnx", "hard.onnx", "folder")
	if after, _ := os.ReadFile(in); !bytes.Equal(before, after) {
		t.Error("the input changed")
	}
}

func TestWriteFileReadOnlyFolder(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root writes everywhere")
	}
	m, err := FromProto("m", protoModel())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	if err := m.WriteFile(context.Background(), filepath.Join(dir, "out.onnx"), WriteOptions{}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("read-only folder: %v", err)
	}
	checkFolder(t, dir)
}

// TestWriteFileExternal takes external data into the file, out of it, and from one data file into another.
func TestWriteFileExternal(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	saveFile(t, dir, "w.bin", append(make([]byte, 8), rawFloats(halves(5000))...))
	in := saveModel(t, dir, "in.onnx", protoModel(
		rawTensor("raw", 2000), externalTensor("ext", 5000, "w.bin", "offset", "8", "length", "20000"), typedTensor("typed", 300), rawTensor("small", 3)))
	m := openModel(t, in)
	if got := m.FileBytes(); got != m.origin.bytes+20000 {
		t.Errorf("FileBytes is %d", got)
	}

	inlined := filepath.Join(dir, "inlined.onnx")
	if err := m.WriteFile(ctx, inlined, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	checkFolder(t, dir, "in.onnx", "w.bin", "inlined.onnx")
	p := &onnxpb.ModelProto{}
	b, _ := os.ReadFile(inlined)
	if err := proto.Unmarshal(b, p); err != nil {
		t.Fatal(err)
	}
	if got := p.Graph.Initializer[1]; len(got.RawData) != 20000 || got.DataLocation != nil || got.ExternalData != nil {
		t.Errorf("the external tensor was not taken in: %d bytes, %v, %v", len(got.RawData), got.DataLocation, got.ExternalData)
	}
	checkFloats(t, openModel(t, inlined))

	for _, from := range []string{in, inlined} {
		m := openModel(t, from)
		out := filepath.Join(dir, "out.onnx")
		err := m.WriteFile(ctx, out, WriteOptions{Force: true, ExternalAbove: 1000, Check: func(path string) error {
			checkFloats(t, openModel(t, path))
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		checkFolder(t, dir, "in.onnx", "w.bin", "inlined.onnx", "out.onnx", "out.onnx.data")
		got := openModel(t, out)
		checkFloats(t, got)
		for _, x := range got.Graph.Initializers {
			if (x.External != nil) != (x.Name != "small") {
				t.Errorf("%s: external %v", x, x.External)
			}
			if x.External != nil && (x.External.Offset%4096 != 0 || x.External.Location != "out.onnx.data" || x.External.Length != 4*x.Dims[0]) {
				t.Errorf("%s: %+v", x, x.External)
			}
		}
		if len(got.Warnings()) != 0 {
			t.Errorf("warnings: %v", got.Warnings())
		}
	}
	// Its own data file is not written over, with or without Force, and an old one is kept when the model cannot be.
	own := openModel(t, filepath.Join(dir, "out.onnx"))
	if err := own.WriteFile(ctx, filepath.Join(dir, "out.onnx"), WriteOptions{Force: true, ExternalAbove: 1000}); err == nil {
		t.Error("the model wrote over its own data")
	}
	checkFloats(t, openModel(t, filepath.Join(dir, "out.onnx")))
}

// TestWriteFileTakesBack checks that a data file that was replaced comes back when the model cannot be put in place.
func TestWriteFileTakesBack(t *testing.T) {
	dir := t.TempDir()
	m, err := FromProto("m", protoModel(rawTensor("a", 1000)))
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "out.onnx")
	for _, old := range []bool{true, false} {
		if old {
			saveFile(t, dir, "out.onnx.data", []byte("old"))
		}
		err = m.WriteFile(context.Background(), out, WriteOptions{Force: true, ExternalAbove: 100, Check: func(string) error {
			return os.Mkdir(out, 0o755) // in the way of the rename
		}})
		if err == nil || !strings.Contains(err.Error(), "is a folder") {
			t.Errorf("a folder in the way: %v", err)
		}
		if old {
			if b, err := os.ReadFile(out + ".data"); err != nil || string(b) != "old" {
				t.Errorf("the old data file holds %q (%v)", b, err)
			}
			checkFolder(t, dir, "out.onnx", "out.onnx.data")
			os.Remove(out + ".data")
		} else {
			checkFolder(t, dir, "out.onnx")
		}
		os.Remove(out)
	}
}

// TestTwoGiB checks where payloads go by default: into the file while it stays below protobuf's limit. The weights are
// a file with a hole, and only the plan is made.
func TestTwoGiB(t *testing.T) {
	const floats = 750 << 20 // 3000 MiB
	dir := t.TempDir()
	data := saveFile(t, dir, "w.bin", nil)
	if err := os.Truncate(data, 4*floats); err != nil {
		t.Skip(err)
	}
	constant := protoModel()
	constant.Graph.Node = append(constant.Graph.Node, &onnxpb.NodeProto{OpType: proto.String("Constant"), Output: []string{"c"},
		Attribute: []*onnxpb.AttributeProto{{Name: proto.String("value"), Type: onnxpb.AttributeProto_TENSOR.Enum(), T: externalTensor("", floats, "w.bin")}}})
	for name, c := range map[string]struct {
		model  *onnxpb.ModelProto
		pieces int
	}{
		"above":      {protoModel(externalTensor("a", floats, "w.bin")), 1},
		"just above": {protoModel(externalTensor("a", externalAbove/4, "w.bin")), 1},
		"just below": {protoModel(externalTensor("a", externalAbove/4-100, "w.bin")), 0},
		"two halves": {protoModel(externalTensor("a", floats/2, "w.bin"), externalTensor("b", floats/2, "w.bin")), 2},
		"constant":   {constant, 1},
	} {
		m := openModel(t, saveModel(t, dir, "m.onnx", c.model))
		plan, err := m.planFile(filepath.Join(dir, "out.onnx"), 0)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(plan.data) != c.pieces || plan.size > externalAbove {
			t.Errorf("%s: %d payloads in the data file, %d bytes in the model", name, len(plan.data), plan.size)
		}
	}
	m := openModel(t, saveModel(t, dir, "m.onnx", protoModel(externalTensor("a", floats, "w.bin"))))
	if err := m.WriteFile(context.Background(), filepath.Join(dir, "c:out.onnx"), WriteOptions{}); err == nil || !strings.Contains(err.Error(), "colon") {
		t.Errorf("a name that no location may have: %v", err)
	}
	big := saveFile(t, dir, "big.onnx", []byte{8, 8})
	if err := os.Truncate(big, maxModelFile+1); err != nil {
		t.Skip(err)
	}
	if _, err := OpenFile(context.Background(), big, OpenOptions{}); err == nil || !strings.Contains(err.Error(), "has 2147483648 bytes, a model file at most 2147483647") {
		t.Errorf("a model file of 2 GiB: %v", err)
	}
}
