package runtime

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// storedTensor is a tensor of testdata/ort/ops.jsonl.
type storedTensor struct {
	Type string
	Dims []int
	Data []json.RawMessage
}

// storedCase is one operator with what ONNX Runtime gave for it.
type storedCase struct {
	Name, Op        string
	Opset           int64
	Attrs           map[string]json.RawMessage
	Inputs, Outputs []*storedTensor
}

// TestOperatorsAgainstONNXRuntime: the oracle is ONNX Runtime 1.30 (testdata/ort/ops.jsonl, written by generate.py beside it), to
// 1e-5 of the largest value of an output, and exactly for integers.
func TestOperatorsAgainstONNXRuntime(t *testing.T) {
	f, err := os.Open(filepath.Join("testdata", "ort", "ops.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	scan := bufio.NewScanner(f)
	scan.Buffer(nil, 1<<20)
	cases := 0
	for scan.Scan() {
		var c storedCase
		if err := json.Unmarshal(scan.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		cases++
		t.Run(c.Name, func(t *testing.T) {
			runStored(t, c)
		})
	}
	if err := scan.Err(); err != nil || cases < 400 {
		t.Errorf("%d cases (%v), want at least 400", cases, err)
	}
}

func runStored(t *testing.T, c storedCase) {
	feeds := map[string]*Tensor{}
	n := &onnxpb.NodeProto{OpType: proto.String(c.Op)}
	var inputs, outputs []*onnxpb.ValueInfoProto
	for k, s := range c.Inputs {
		if s == nil {
			n.Input = append(n.Input, "")
			continue
		}
		x := s.tensor(t)
		name := fmt.Sprint("i", k)
		n.Input = append(n.Input, name)
		dims := make([]int64, len(x.Dims))
		for d, v := range x.Dims {
			dims[d] = int64(v)
		}
		inputs = append(inputs, declared(name, x.Type, dims...))
		feeds[name] = x
	}
	for k := range c.Outputs {
		name := fmt.Sprint("o", k)
		n.Output = append(n.Output, name)
		outputs = append(outputs, &onnxpb.ValueInfoProto{Name: proto.String(name)})
	}
	for _, name := range sortedKeys(c.Attrs) {
		n.Attribute = append(n.Attribute, storedAttribute(t, name, c.Attrs[name]))
	}
	m := modelProto(graph(inputs, outputs, nil, n))
	m.OpsetImport[0].Version = proto.Int64(c.Opset)
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := onnx.Decode(c.Name, b)
	if err != nil {
		t.Fatal(err)
	}
	got, err := compileModel(t, decoded, Options{}).Run(context.Background(), feeds)
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range c.Outputs {
		name := fmt.Sprint("o", k)
		want := want.tensor(t)
		if sameDims(got[name].Dims, want.Dims) {
			sameNaNs(t, name, got[name], want)
		}
		checkClose(t, name, got[name], want, 1e-5)
	}
}

// sameNaNs checks that NaN stands in the same places, and takes it out of both.
func sameNaNs(t *testing.T, name string, got, want *Tensor) {
	t.Helper()
	g, isFloat := got.Data.([]float32)
	w, _ := want.Data.([]float32)
	if !isFloat || len(g) != len(w) {
		return
	}
	g = slices.Clone(g)
	for i := range g {
		if (g[i] != g[i]) != (w[i] != w[i]) {
			t.Errorf("output %q element %d is %v, the reference has %v", name, i, g[i], w[i])
		}
		if g[i] != g[i] {
			g[i], w[i] = 0, 0
		}
	}
	got.Data = g
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (s *storedTensor) tensor(t *testing.T) *Tensor {
	t.Helper()
	types := map[string]onnx.DataType{"float32": onnx.Float, "float64": onnx.Double, "int32": onnx.Int32, "int64": onnx.Int64, "uint8": onnx.Uint8, "int8": onnx.Int8, "bool": onnx.Bool, "uint64": onnx.Uint64}
	typ, ok := types[s.Type]
	if !ok {
		t.Fatalf("type %q", s.Type)
	}
	dims := append([]int{}, s.Dims...)
	if typ.IsInteger() || typ == onnx.Bool {
		v := make([]uint64, len(s.Data))
		for i, raw := range s.Data {
			x, err := strconv.ParseInt(string(raw), 10, 64)
			if err != nil {
				u, err := strconv.ParseUint(string(raw), 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				x = int64(u)
			}
			v[i] = uint64(x)
		}
		return mustCast(t, newTensor(onnx.Uint64, dims, v), typ)
	}
	v := make([]float64, len(s.Data))
	for i, raw := range s.Data {
		var x any
		if err := json.Unmarshal(raw, &x); err != nil {
			t.Fatal(err)
		}
		switch x := x.(type) {
		case float64:
			v[i] = x
		case string: // nan, inf, -inf
			v[i], _ = strconv.ParseFloat(x, 64)
		}
	}
	return mustCast(t, newTensor(onnx.Double, dims, v), typ)
}

func mustCast(t *testing.T, x *Tensor, typ onnx.DataType) *Tensor {
	t.Helper()
	y, err := cast(x, typ)
	if err != nil {
		t.Fatal(err)
	}
	return y
}

// storedAttribute takes a JSON value for the attribute it can only be: numbers with a point are floats.
func storedAttribute(t *testing.T, name string, raw json.RawMessage) *onnxpb.AttributeProto {
	t.Helper()
	a := &onnxpb.AttributeProto{Name: proto.String(name)}
	isFloat := slices.ContainsFunc(raw, func(b byte) bool { return b == '.' || b == 'e' })
	var err error
	switch {
	case raw[0] == '"':
		var s string
		err = json.Unmarshal(raw, &s)
		a.Type, a.S = onnxpb.AttributeProto_STRING.Enum(), []byte(s)
	case raw[0] == '[' && isFloat:
		err = json.Unmarshal(raw, &a.Floats)
		a.Type = onnxpb.AttributeProto_FLOATS.Enum()
	case raw[0] == '[':
		err = json.Unmarshal(raw, &a.Ints)
		a.Type = onnxpb.AttributeProto_INTS.Enum()
	case isFloat:
		var v float64
		err = json.Unmarshal(raw, &v)
		a.Type, a.F = onnxpb.AttributeProto_FLOAT.Enum(), proto.Float32(float32(v))
	default:
		var v int64
		err = json.Unmarshal(raw, &v)
		a.Type, a.I = onnxpb.AttributeProto_INT.Enum(), proto.Int64(v)
	}
	if err != nil {
		t.Fatalf("attribute %q: %v", name, err)
	}
	return a
}
