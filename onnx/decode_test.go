package onnx

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// TestSniff names what is often taken for a model.
func TestSniff(t *testing.T) {
	safetensors := binary.LittleEndian.AppendUint64(nil, 60)
	safetensors = append(safetensors, `{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}      `...)
	for _, c := range []struct{ data, want string }{
		{"", "the file is empty"},
		{"<!DOCTYPE html>\n<html><body>404</body></html>", "HTML"},
		{"\n <HTML lang=de>", "HTML"},
		{"<?xml version=\"1.0\"?>", "XML"},
		{"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git-lfs pointer"},
		{"PK\x03\x04\x14\x00\x00\x00", "zip"},
		{"\x1f\x8b\x08\x00", "gzip"},
		{string(safetensors) + "12345678", "safetensors"},
		{`{"layers": []}`, "JSON"},
		{"name,value\na,1\n", "text"},
		{"\x89HDF\r\n\x1a\n", "HDF5"},
		{"\x93NUMPY\x01\x00", "NumPy"},
		{"\x1c\x00\x00\x00TFL3", "TensorFlow Lite"},
		{"\x30\x00\x00\x00ORTM", "ORT format"},
		{"\x80\x02\x8a\x0al\xfc", "pickle"},
		{string(make([]byte, 4096)), "zero bytes"},
		{"\x00\x01\x02\x03", "field tag"},
	} {
		_, err := Decode("m.onnx", []byte(c.data))
		var f *FormatError
		if !errors.As(err, &f) || !strings.Contains(err.Error(), c.want) || f.File != "m.onnx" {
			t.Errorf("%.20q: %v, want %q", c.data, err, c.want)
		}
	}
}

// rawModel joins fields of a ModelProto.
func rawModel(fields ...[]byte) []byte { return bytes.Join(fields, nil) }

func bytesField(number protowire.Number, content ...[]byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), bytes.Join(content, nil))
}

func varintField(number protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, number, protowire.VarintType), v)
}

// TestDecodeRefuses lists models that are refused, with where and why.
func TestDecodeRefuses(t *testing.T) {
	ir := varintField(1, 8)
	opset := bytesField(8, varintField(2, 17))
	graph := func(fields ...[]byte) []byte { return rawModel(ir, opset, bytesField(7, fields...)) }
	node := func(fields ...[]byte) []byte {
		return graph(bytesField(1, append([][]byte{bytesField(3, []byte("enc/\x1b[31mrnn")), bytesField(4, []byte("LSTM"))}, fields...)...))
	}
	tensor := func(fields ...[]byte) []byte {
		return graph(bytesField(5, append([][]byte{bytesField(8, []byte("W"))}, fields...)...))
	}
	external := func(keys ...string) []byte {
		p := externalTensor("W", 2, keys[1], keys[2:]...)
		b, err := proto.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		return graph(bytesField(5, b))
	}
	float := varintField(2, 1)
	dims := func(v ...int64) []byte {
		var b []byte
		for _, v := range v {
			b = append(b, varintField(1, uint64(v))...)
		}
		return b
	}
	for _, c := range []struct {
		name string
		data []byte
		want []string
	}{
		// The wire.
		{"length past the end", rawModel(ir, []byte{0x3a, 0x7f, 1}), []string{"ModelProto: field 7: truncated: it declares 127 bytes, 1 are left", "byte offset 3"}},
		{"huge length", rawModel(ir, []byte{0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}), []string{"declares 18446744073709551615 bytes"}},
		{"truncated tag", rawModel(ir, []byte{0x80}), []string{"field tag: truncated"}},
		{"truncated varint", rawModel(opset, []byte{0x08, 0x80}), []string{"field 1: truncated inside a varint"}},
		{"long varint", rawModel([]byte{0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}), []string{"more than 64 bits"}},
		{"truncated fixed32", rawModel(ir, []byte{0x7d, 1, 2}), []string{"4 bytes expected, 2 are left"}},
		{"truncated fixed64", rawModel(ir, []byte{0x79, 1, 2}), []string{"8 bytes expected, 2 are left"}},
		{"field 0", rawModel(ir, []byte{0x02, 0x00}), []string{"names field 0"}},
		{"wire type 6", rawModel(ir, []byte{0x0e}), []string{"wire type 6"}},
		{"end of no group", rawModel(ir, []byte{0x0c}), []string{"wire type 4"}},
		{"open group", rawModel(ir, []byte{0xc3, 0x3e, 0x08}), []string{"group"}},
		{"deep groups", rawModel(ir, bytes.Repeat([]byte{0xc3, 0x3e}, 1<<20)), []string{"group"}},
		{"known field of another type", rawModel(varintField(7, 1)), []string{"field 7 has wire type 0, want 2"}},
		{"two graphs", rawModel(ir, opset, bytesField(7), bytesField(7)), []string{"a second graph"}},
		// The model.
		{"nothing known", rawModel(varintField(99, 1)), []string{"neither ir_version nor graph"}},
		{"no graph", rawModel(ir, opset), []string{"no graph"}},
		{"no IR version", rawModel(opset, bytesField(7)), []string{"ir_version is 0"}},
		{"new IR version", rawModel(varintField(1, 99), opset, bytesField(7)), []string{"IR version 99 is unknown", "1 to 13"}},
		{"no opset", rawModel(ir, bytesField(7)), []string{"no opset_import"}},
		{"new opset", rawModel(ir, bytesField(8, varintField(2, 999)), bytesField(7)), []string{"opset 999 is unknown"}},
		{"opset 0", rawModel(ir, bytesField(8), bytesField(7)), []string{"version 0"}},
		{"two opsets", rawModel(ir, opset, bytesField(8, bytesField(1, []byte("ai.onnx")), varintField(2, 16)), bytesField(7)),
			[]string{`domain "" twice, versions 17 and 16`}},
		{"two opsets in a function", rawModel(ir, opset, bytesField(7), bytesField(25, bytesField(1, []byte("f")), bytesField(9, varintField(2, 1)), bytesField(9, varintField(2, 2)))),
			[]string{`functions[0] "f"`, "twice"}},
		// Nodes and attributes.
		{"attribute twice", node(bytesField(5, bytesField(1, []byte("axis"))), bytesField(5, bytesField(1, []byte("axis")))),
			[]string{`graph.node[0] LSTM "enc/\x1b[31mrnn"`, `attribute "axis" appears twice`}},
		{"bad attribute", node(bytesField(5, bytesField(1, []byte("direction")), varintField(4, 1))),
			[]string{`graph.node[0] LSTM "enc/\x1b[31mrnn" attribute "direction"`, "field 4 has wire type 0"}},
		{"attribute type", node(bytesField(5, bytesField(1, []byte("a")), varintField(20, 77))), []string{"attribute type 77 is unknown"}},
		{"attribute without its tensor", node(bytesField(5, bytesField(1, []byte("a")), varintField(20, 4))), []string{"promises a value"}},
		{"attribute with two tensors", node(bytesField(5, bytesField(5), bytesField(5))), []string{"field 5, which holds one value, appears twice"}},
		{"attribute with two graphs", node(bytesField(5, bytesField(6), bytesField(6))), []string{"field 6, which holds one value, appears twice"}},
		{"packed floats", node(bytesField(5, bytesField(7, []byte{1, 2, 3}))), []string{"not a multiple of 4"}},
		{"packed ints", node(bytesField(5, bytesField(8, []byte{1, 0x80}))), []string{"packed value 1: truncated"}},
		// Tensors.
		{"negative dim", tensor(float, dims(2, -3)), []string{`graph.initializer[0] "W"`, "dim 1 is negative: -3"}},
		{"dims overflow", tensor(float, dims(1<<40, 1<<40)), []string{"overflow"}},
		{"bytes overflow", tensor(float, dims(1<<62)), []string{"overflow"}},
		{"huge dims, no data", tensor(float, dims(1<<40)), []string{"1099511627776 elements and there is no data"}},
		{"huge dims, little data", tensor(float, dims(1<<40), bytesField(9, make([]byte, 8))), []string{"raw_data holds 8 bytes", "need 4398046511104"}},
		{"huge dims, few varints", tensor(varintField(2, 7), dims(1<<40), bytesField(7, make([]byte, 8))), []string{"int64_data holds 8 values", "need 1099511627776"}},
		{"raw too long", tensor(float, dims(1), bytesField(9, make([]byte, 8))), []string{"raw_data holds 8 bytes", "need 4"}},
		{"raw of no element's size", tensor(float, dims(2), bytesField(9, make([]byte, 7))), []string{"raw_data holds 7 bytes"}},
		{"raw and typed", tensor(float, dims(2), bytesField(9, make([]byte, 8)), bytesField(4, make([]byte, 8))), []string{"both raw_data and float_data"}},
		{"two typed", tensor(float, dims(2), bytesField(5, make([]byte, 8)), bytesField(4, make([]byte, 8))), []string{"both int32_data and float_data"}},
		{"typed of another type", tensor(float, dims(2), bytesField(5, make([]byte, 2))), []string{"values in int32_data, but type float keeps them in float_data"}},
		{"typed count", tensor(float, dims(2), bytesField(4, make([]byte, 12))), []string{"float_data holds 3 values", "need 2"}},
		{"typed bytes", tensor(float, dims(2), bytesField(4, make([]byte, 7))), []string{"is no list of its numbers"}},
		{"strings in raw", tensor(varintField(2, 8), dims(2), bytesField(9, make([]byte, 7))), []string{"string_data"}},
		{"strings missing", tensor(varintField(2, 8), dims(2), bytesField(6, []byte("a"))), []string{"string_data holds 1 values"}},
		{"many dims", tensor(float, bytesField(1, bytes.Repeat([]byte{1}, 5000))), []string{"more than 4096 dims"}},
		{"type out of range", tensor(varintField(2, math.MaxUint64), dims(2)), []string{"data_type -1 is out of range"}},
		{"location 2", tensor(float, dims(0), varintField(14, 2)), []string{"data_location 2 is unknown"}},
		// External data.
		{"external and raw", graph(bytesField(5, bytesField(8, []byte("W")), float, dims(1), varintField(14, 1),
			bytesField(13, bytesField(1, []byte("location")), bytesField(2, []byte("w.bin"))), bytesField(9, make([]byte, 4)))),
			[]string{`values both inside the file and in external data "w.bin"`}},
		{"no location", graph(bytesField(5, float, dims(1), varintField(14, 1))), []string{`location "" is empty`}},
		{"absolute", external("location", "/etc/passwd"), []string{`location "/etc/passwd" is absolute`}},
		{"parent", external("location", "../w.bin"), []string{"leaves the folder by .."}},
		{"parent inside", external("location", "a/../../w.bin"), []string{"leaves the folder by .."}},
		{"parent that stays", external("location", "a/../w.bin"), []string{"leaves the folder by .."}},
		{"backslash", external("location", `..\w.bin`), []string{"backslash"}},
		{"UNC", external("location", `\\host\share\w.bin`), []string{"backslash"}},
		{"UNC with slashes", external("location", `//host/share/w.bin`), []string{"absolute"}},
		{"drive", external("location", `C:w.bin`), []string{"colon"}},
		{"URL", external("location", `http://host/w.bin`), []string{"URL"}},
		{"NUL", external("location", "w.bin\x00.txt"), []string{`"w.bin\x00.txt" contains a NUL`}},
		{"folder", external("location", "./"), []string{"names no file"}},
		{"folder itself", external("location", "."), []string{"names no file"}},
		{"long", external("location", strings.Repeat("a/", 3000)), []string{"longer than 4096"}},
		{"memory marker", external("location", "*/_ORT_MEM_ADDR_/*"), []string{"memory address"}},
		{"negative offset", external("location", "w.bin", "offset", "-8"), []string{`offset is "-8"`}},
		{"offset no number", external("location", "w.bin", "offset", "0x10"), []string{`offset is "0x10"`}},
		{"offset overflow", external("location", "w.bin", "offset", "9223372036854775808"), []string{"offset is"}},
		{"end overflow", external("location", "w.bin", "offset", "9223372036854775807", "length", "8"), []string{"overflows"}},
		{"length", external("location", "w.bin", "length", "12"), []string{"length is 12", "need 8 bytes"}},
		{"unknown key", external("location", "w.bin", "basepath", "/tmp"), []string{`key "basepath" is unknown`}},
		{"key twice", external("location", "w.bin", "location", "v.bin"), []string{`key "location" appears twice`}},
		{"checksum", external("location", "w.bin", "checksum", "abc"), []string{"40 hexadecimal digits"}},
	} {
		m, err := Decode("m.onnx", c.data)
		if err == nil {
			t.Errorf("%s: decoded as %+v", c.name, m.Graph)
			continue
		}
		var f *FormatError
		var u *UnsupportedError
		if !errors.As(err, &f) && !errors.As(err, &u) {
			t.Errorf("%s: untyped error %T", c.name, err)
		}
		for _, want := range append(c.want, "m.onnx") {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v\nwant %q", c.name, err, want)
			}
		}
	}
}

// nestedModel holds If nodes inside one another.
func nestedModel(levels int) *onnxpb.ModelProto {
	m := protoModel()
	g := m.Graph
	for range levels {
		inner := &onnxpb.GraphProto{Name: proto.String("body")}
		g.Node = append(g.Node, &onnxpb.NodeProto{
			Name: proto.String("if"), OpType: proto.String("If"),
			Attribute: []*onnxpb.AttributeProto{{Name: proto.String("then_branch"), G: inner, Type: onnxpb.AttributeProto_GRAPH.Enum()}},
		})
		g = inner
	}
	return m
}

// TestNesting checks that depth is bounded, so that no input can exhaust the stack.
func TestNesting(t *testing.T) {
	m, err := FromProto("m", nestedModel(30))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(m.Scopes()); n != 31 {
		t.Errorf("%d scopes, want 31", n)
	}
	deepest := m.Scopes()[30]
	if want := "if.then_branch" + strings.Repeat("/if.then_branch", 29); deepest.Path() != want {
		t.Errorf("path is %q, want %q", deepest.Path(), want)
	}
	if _, err := FromProto("m", nestedModel(40)); err == nil || !strings.Contains(err.Error(), "nested more than 100 deep") {
		t.Errorf("40 levels of graphs: %v", err)
	}
	typ := []byte{}
	for range 5000 {
		typ = bytesField(4, bytesField(1, typ)) // sequence of …
	}
	data := rawModel(varintField(1, 8), bytesField(8, varintField(2, 17)), bytesField(7, bytesField(11, bytesField(2, typ))))
	if _, err := Decode("m", data); err == nil || !strings.Contains(err.Error(), "nested") {
		t.Errorf("5000 levels of types: %v", err)
	}
}

// TestTruncated cuts a model everywhere: it either fails with a FormatError or, where the cut falls between two
// fields, still round-trips.
func TestTruncated(t *testing.T) {
	data, err := proto.Marshal(protoModel(rawTensor("a", 5), typedTensor("b", 5)))
	if err != nil {
		t.Fatal(err)
	}
	for n := range data {
		m, err := Decode("m", data[:n])
		var f *FormatError
		switch {
		case err == nil:
			checkEncodes(t, "prefix", m, data[:n])
		case !errors.As(err, &f):
			t.Errorf("%d bytes: %v", n, err)
		case f.Offset > int64(n):
			t.Errorf("%d bytes: offset %d", n, f.Offset)
		}
	}
}

// TestViews checks what the views of a model say against the message it was made from.
func TestViews(t *testing.T) {
	p := nestedModel(1)
	p.Domain, p.ProducerName, p.ModelVersion = proto.String("d"), proto.String("me"), proto.Int64(7)
	p.MetadataProps = []*onnxpb.StringStringEntryProto{{Key: proto.String("k"), Value: proto.String("v")}}
	p.OpsetImport = append(p.OpsetImport, &onnxpb.OperatorSetIdProto{Domain: proto.String("my.ops"), Version: proto.Int64(2)})
	p.Graph.Initializer = []*onnxpb.TensorProto{rawTensor("w", 12)}
	p.Graph.Input[0].Type = &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: &onnxpb.TypeProto_Tensor{
		ElemType: proto.Int32(1), Shape: &onnxpb.TensorShapeProto{Dim: []*onnxpb.TensorShapeProto_Dimension{
			{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: 3}}, {Value: &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: "batch"}}, {},
			{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: -1}},
		}},
	}}}
	body := p.Graph.Node[1].Attribute[0].G
	str := onnxpb.AttributeProto_STRING.Enum()
	body.Node = []*onnxpb.NodeProto{{
		OpType: proto.String("LSTM"), Domain: proto.String("ai.onnx"), Input: []string{"x", "", "r"}, Output: []string{"", "h"},
		Attribute: []*onnxpb.AttributeProto{
			{Name: proto.String("hidden_size"), Type: onnxpb.AttributeProto_INT.Enum(), I: proto.Int64(4)},
			{Name: proto.String("clip"), F: proto.Float32(2.5)}, // no type: an old writer
			{Name: proto.String("direction"), Type: str, S: []byte("reverse")},
			{Name: proto.String("activations"), Type: onnxpb.AttributeProto_STRINGS.Enum(), Strings: [][]byte{[]byte("Tanh"), []byte("Relu")}},
			{Name: proto.String("alpha"), Type: onnxpb.AttributeProto_FLOATS.Enum(), Floats: []float32{1, 2}},
			{Name: proto.String("axes"), Type: onnxpb.AttributeProto_INTS.Enum(), Ints: []int64{-1, 5}},
			{Name: proto.String("zero"), Type: onnxpb.AttributeProto_INT.Enum()}, // proto3 writers leave out a 0
		},
	}}
	p.Graph.Node = append(p.Graph.Node, &onnxpb.NodeProto{OpType: proto.String("Constant"), Output: []string{"c"},
		Attribute: []*onnxpb.AttributeProto{{Name: proto.String("value"), Type: onnxpb.AttributeProto_TENSOR.Enum(), T: rawTensor("", 5)}}})
	p.Functions = []*onnxpb.FunctionProto{{Name: proto.String("f"), Domain: proto.String("my.ops"), Input: []string{"a"}, Output: []string{"b"},
		Attribute: []string{"plain"}, AttributeProto: []*onnxpb.AttributeProto{{Name: proto.String("deflt"), I: proto.Int64(1)}},
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: proto.Int64(13)}}, Node: []*onnxpb.NodeProto{{OpType: proto.String("Identity")}}}}
	m, err := FromProto("m", p)
	if err != nil {
		t.Fatal(err)
	}
	if m.IRVersion != 8 || m.Opset("") != 17 || m.Opset("ai.onnx") != 17 || m.Opset("my.ops") != 2 || m.Opset("other") != 0 || m.Domain != "d" ||
		m.ProducerName != "me" || m.ModelVersion != 7 {
		t.Errorf("model: %+v", m)
	}
	if v, ok := m.MetadataValue("k"); !ok || v != "v" {
		t.Errorf("metadata: %q %v", v, ok)
	}
	if m.Parameters() != 17 {
		t.Errorf("%d parameters, want 12 + 5", m.Parameters())
	}
	in := m.Graph.Inputs[0].Type
	if in.Kind != "tensor" || in.Elem != Float || !in.HasShape || len(in.Shape) != 4 || in.Shape[0] != (Dim{Known: true, Value: 3}) ||
		in.Shape[1] != (Dim{Param: "batch"}) || in.Shape[2] != (Dim{}) || in.Shape[3] != (Dim{}) {
		t.Errorf("input type: %+v", in)
	}
	n := m.Graph.Nodes[1].Subgraphs()[0].Nodes[0]
	if n.Domain != "" || n.Input(0) != "x" || n.Input(1) != "" || n.Input(2) != "r" || n.Input(3) != "" || n.Input(-1) != "" || n.Output(1) != "h" {
		t.Errorf("node: %+v", n)
	}
	if got := n.String(); got != `if.then_branch.node[0] LSTM` {
		t.Errorf("node is called %s", got)
	}
	if n.Graph.Opset("") != 17 || m.Functions[0].Body.Opset("") != 13 {
		t.Error("opsets of scopes")
	}
	i, err1 := n.AttrInt("hidden_size", 1)
	f, err2 := n.AttrFloat("clip", 1)
	s, err3 := n.AttrString("direction", "forward")
	list, err4 := n.AttrStrings("activations")
	floats, err5 := n.AttrFloats("alpha")
	ints, err6 := n.AttrInts("axes")
	zero, err7 := n.AttrInt("zero", 9)
	none, err8 := n.AttrInt("layout", 9)
	if err := errors.Join(err1, err2, err3, err4, err5, err6, err7, err8); err != nil {
		t.Error(err)
	}
	if i != 4 || f != 2.5 || s != "reverse" || strings.Join(list, " ") != "Tanh Relu" || floats[1] != 2 || ints[0] != -1 || zero != 0 || none != 9 {
		t.Error(i, f, s, list, floats, ints, zero, none)
	}
	if _, err := n.AttrInt("direction", 0); err == nil || !strings.Contains(err.Error(), "its type is STRING, want INT") {
		t.Errorf("wrong type: %v", err)
	}
	fn := m.Functions[0]
	if strings.Join(fn.Attributes, " ") != "plain deflt" || fn.Body.Inputs[0].Name != "a" || fn.Body.Outputs[0].Name != "b" || fn.Body.Path() != "function my.ops.f" {
		t.Errorf("function: %+v, path %s", fn, fn.Body.Path())
	}
}

// TestOpenFile covers what is not a regular file.
func TestOpenFile(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	for path, want := range map[string]string{
		dir:                                  "it is a folder",
		filepath.Join(dir, "absent.onnx"):    "no such file",
		saveFile(t, dir, "empty.onnx", nil):  "the file is empty",
		saveFile(t, dir, "x", []byte("abc")): "looks like text",
	} {
		_, err := OpenFile(ctx, path, OpenOptions{})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if _, err := OpenFile(ctx, "\x1b[2Jabsent.onnx", OpenOptions{}); err == nil || !strings.Contains(err.Error(), `"\x1b[2Jabsent.onnx"`) {
		t.Errorf("control characters in a path: %v", err)
	}
	in := saveModel(t, dir, "in.onnx", protoModel(rawTensor("a", 100)))
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := OpenFile(cancelled, in, OpenOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	m := openModel(t, in)
	if m.File() != in {
		t.Errorf("File is %q", m.File())
	}
	if err := errors.Join(m.Close(), m.Close()); err != nil {
		t.Error(err)
	}
	// A derived model keeps the mapping.
	m = openModel(t, in)
	d, _ := m.derive()
	m.Close()
	checkFloats(t, d)
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestSparseFile opens a model whose weights were never read: a file with a hole costs no memory.
func TestSparseFile(t *testing.T) {
	const elements = 57600 * 1024
	dir := t.TempDir()
	head := rawModel(varintField(1, 8), bytesField(8, varintField(2, 17)))
	tensor := rawModel(varintField(1, elements), varintField(2, 1), protowire.AppendVarint([]byte{9<<3 | 2}, 4*elements))
	graph := protowire.AppendVarint([]byte{5<<3 | 2}, uint64(len(tensor)+4*elements))
	size := len(graph) + len(tensor) + 4*elements
	head = append(protowire.AppendVarint(append(head, 7<<3|2), uint64(size)), graph...)
	head = append(head, tensor...)
	path := saveFile(t, dir, "big.onnx", head)
	if err := os.Truncate(path, int64(len(head)+4*elements)); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	m := openModel(t, path)
	if m.Parameters() != elements {
		t.Errorf("%d parameters, want %d", m.Parameters(), elements)
	}
	runtime.ReadMemStats(&after)
	allocated := after.TotalAlloc - before.TotalAlloc
	if allocated > 1<<16 {
		t.Errorf("opening a model of 236 MB allocates %d bytes", allocated)
	}
}

// TestWeightLimit checks that what a file may make us remember is bounded; the limit is lowered for the test.
func TestWeightLimit(t *testing.T) {
	node := bytesField(1)            // an empty node: two bytes
	graph := bytes.Repeat(node, 100) // weighs 100 · viewCost
	for _, limit := range []int{100*viewCost + 10, 100*viewCost - 1} {
		d := &decoder{model: &Model{}, limit: limit}
		err := d.graph(&Graph{Model: d.model}, graph, 0)
		if fits := limit >= 100*viewCost; (err == nil) != fits {
			t.Errorf("limit %d: %v", limit, err)
		}
		if err != nil && !strings.Contains(err.Error(), "too many nodes") {
			t.Error(err)
		}
	}
}
