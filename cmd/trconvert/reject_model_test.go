package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx/onnxpb"
)

func field(number protowire.Number, content ...[]byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), bytes.Join(content, nil))
}

func varint(number protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, number, protowire.VarintType), v)
}

// wireRejections are groups 01 to 04: what is no protobuf message, or a message made to exhaust its reader.
func wireRejections() []rejection {
	model := func(fields ...[]byte) []byte {
		return bytes.Join(append([][]byte{varint(1, 8), field(8, varint(2, 17))}, fields...), nil)
	}
	zipped := func() []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		fmt.Fprint(w, "model")
		w.Close()
		return b.Bytes()
	}
	all := []rejection{
		{name: "01 empty file", files: file(nil), says: []string{"the file is empty"}},
		{name: "01 text", files: file([]byte("name,value\na,1\n")), says: []string{"text"}},
		{name: "01 HTML", files: file([]byte("<!DOCTYPE html>\n<html><body>404</body></html>")), says: []string{"HTML"}},
		{name: "01 git-lfs pointer", files: file([]byte("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")), says: []string{"git-lfs pointer", "git lfs pull"}},
		{name: "01 zip", files: file([]byte("PK\x03\x04\x14\x00\x00\x00")), says: []string{"zip"}},
		{name: "01 gzip", files: file(zipped()), says: []string{"gzip"}},
		{name: "02 length past the end", files: file(model(field(2, []byte("me")), []byte{0x3a, 0x7f, 1})), says: []string{"field 7", "declares 127 bytes, 1 are left"}},
		{name: "02 length of 2⁶⁴", files: file(model([]byte{0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})), says: []string{"declares 18446744073709551615 bytes"}},
		{name: "02 varint of 11 bytes", files: file(append([]byte{0x08}, append(bytes.Repeat([]byte{0xff}, 10), 1)...)), says: []string{"more than 64 bits"}},
		{name: "02 wire type 6", files: file(model([]byte{0x0e})), says: []string{"wire type 6"}},
		{name: "02 field 0", files: file(model([]byte{0x02, 0x00})), says: []string{"field 0"}},
		{name: "03 groups", files: file(model(bytes.Repeat([]byte{0xc3, 0x3e}, 1<<20))), says: []string{"group"}},
		{name: "03 types", files: file(model(field(7, field(11, field(2, nested(5000, func(b []byte) []byte { return field(4, field(1, b)) })))))), says: []string{"nested more than 100 deep"}},
		{name: "03 subgraphs", files: file(model(field(7, nested(5000, func(graph []byte) []byte {
			return field(1, field(4, []byte("If")), field(5, field(1, []byte("then_branch")), field(6, graph)))
		})))), says: []string{"nested"}},
		{name: "03 functions that call each other in a circle", files: broken(calls(3, true)), says: []string{"functions must not recurse"}},
		{name: "03 functions that call each other 200 deep", files: broken(calls(200, false)), only: true, code: exitOK, says: []string{`"w_parameters_after"`}},
		{name: "04 more than 2 GiB without external data", files: sparse(1<<31 + 100), says: []string{"2147483748 bytes", "at most 2147483647", "external data"}},
		{name: "04 nodes beyond the limit", args: "inspect m.onnx", memory: 1 << 30, files: file(model(field(7, bytes.Repeat(field(1), 3<<20)))), says: []string{"too many nodes"}},
		{name: "04 initializers beyond the limit", args: "inspect m.onnx", memory: 1 << 30, files: file(model(field(7, bytes.Repeat(field(5), 3<<20)))), says: []string{"too many"}},
		{name: "04 attributes beyond the limit", args: "inspect m.onnx", memory: 1 << 30, files: file(model(field(7, field(1, bytes.Repeat(field(5, field(1)), 3<<20))))), says: []string{"too many"}},
		{name: "04 strings beyond the limit", args: "inspect m.onnx", memory: 1 << 30, files: file(model(field(7, field(1, bytes.Repeat(field(1), 17<<20))))), says: []string{"too many"}},
	}
	for i := range all {
		if all[i].code == 0 && !all[i].only {
			all[i].code = exitError
		}
		if all[i].code == exitError {
			all[i].says = append(all[i].says, "m.onnx")
		}
	}
	return all
}

// nested wraps a message in itself.
func nested(levels int, wrap func([]byte) []byte) []byte {
	var b []byte
	for range levels {
		b = wrap(b)
	}
	return b
}

// calls adds functions F0, F1, … each of which calls the next one; in a circle the last one calls the first.
func calls(n int, circle bool) edit {
	return func(m *onnxpb.ModelProto) {
		m.OpsetImport = append(m.OpsetImport, &onnxpb.OperatorSetIdProto{Domain: proto.String("local"), Version: proto.Int64(1)})
		m.IrVersion = proto.Int64(8)
		call := func(k int, in, out string) *onnxpb.NodeProto {
			n := nodeOf(fmt.Sprintf("F%d", k), []string{in}, []string{out})
			n.Domain = proto.String("local")
			return n
		}
		for k := range n {
			body := call((k+1)%n, "a", "b")
			if k+1 == n && !circle {
				body = nodeOf("Neg", []string{"a"}, []string{"b"})
			}
			m.Functions = append(m.Functions, &onnxpb.FunctionProto{
				Name: proto.String(fmt.Sprintf("F%d", k)), Domain: proto.String("local"), Input: []string{"a"}, Output: []string{"b"}, Node: []*onnxpb.NodeProto{body}, OpsetImport: m.OpsetImport,
			})
		}
		cellOf(m).Input[0] = "called"
		m.Graph.Node = append([]*onnxpb.NodeProto{call(0, "x", "called")}, m.Graph.Node...)
	}
}

// sparse is a model file of a size, with a hole in it.
func sparse(size int64) func(t *testing.T) bool {
	return func(t *testing.T) bool {
		if runtime.GOOS == "windows" {
			return false
		}
		put(t, "m.onnx", varint(1, 8))
		return os.Truncate("m.onnx", size) == nil
	}
}

// TestRejectsTruncatedModels is the rest of group 02: a model cut anywhere is refused, or what is left is a whole model.
func TestRejectsTruncatedModels(t *testing.T) {
	whole, err := proto.Marshal(layerModel())
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n < len(whole); n += 1 + n/9 {
		rejection{name: "02 truncated", files: file(whole[:n]), only: true, code: exitError, says: []string{"m.onnx"}}.test(t)
	}
}

// graphRejections are groups 05 and 06: versions and names.
func graphRejections() []rejection {
	all := []rejection{
		{name: "05 no graph", files: broken(func(m *onnxpb.ModelProto) { m.Graph = nil }), says: []string{"no graph"}},
		{name: "05 no opset_import", files: broken(func(m *onnxpb.ModelProto) { m.OpsetImport = nil }), says: []string{"no opset_import"}},
		{name: "05 unknown IR version", files: broken(func(m *onnxpb.ModelProto) { m.IrVersion = proto.Int64(99) }), code: exitUnsupported, says: []string{"IR version 99 is unknown"}},
		{name: "05 unknown opset", files: broken(func(m *onnxpb.ModelProto) { m.OpsetImport[0].Version = proto.Int64(999) }), code: exitUnsupported, says: []string{"opset 999 is unknown"}},
		{name: "05 duplicate opset domain", files: broken(func(m *onnxpb.ModelProto) {
			m.OpsetImport = append(m.OpsetImport, &onnxpb.OperatorSetIdProto{Domain: proto.String("ai.onnx"), Version: proto.Int64(13)})
		}), says: []string{"twice, versions 14 and 13"}},
		{name: "06 escape sequences in names", files: broken(func(m *onnxpb.ModelProto) {
			cellOf(m).Name = proto.String("a\x1b[31m\u202e\x07")
			m.Graph.Node[0].Attribute[0].I = proto.Int64(-3)
		}), only: true, says: []string{`a\x1b[31m`, "-3"}},
	}
	return refused(all)
}

// refused sets what most cases have in common: exit code 1 and the file's name.
func refused(all []rejection) []rejection {
	for i := range all {
		if all[i].code == 0 {
			all[i].code = exitError
		}
		all[i].says = append(all[i].says, "m.onnx")
	}
	return all
}

// tensorRejections are groups 07 to 12.
func tensorRejections() []rejection {
	w := func(change func(w *onnxpb.TensorProto)) func(*testing.T) bool {
		return broken(func(m *onnxpb.ModelProto) { change(initializer(m, "W")) })
	}
	all := []rejection{
		{name: "07 negative dim", files: w(func(w *onnxpb.TensorProto) { w.Dims[2] = -96 }), says: []string{`"W"`, "dim 2 is negative: -96"}},
		{name: "07 zero dim in W", only: true, files: w(func(w *onnxpb.TensorProto) { w.Dims[2], w.RawData = 0, nil }), says: []string{`"W"`, "[1, 64, 0]"}},
		{name: "07 zero dim in R", only: true, files: broken(func(m *onnxpb.ModelProto) {
			r := initializer(m, "R")
			r.Dims[2], r.RawData = 0, nil
		}), says: []string{`"R"`, "[1, 64, 0]", "[1, 64, 16]"}},
		{name: "07 product of the dims overflows", files: w(func(w *onnxpb.TensorProto) { w.Dims = []int64{1 << 40, 1 << 40} }), says: []string{`"W"`, "overflow"}},
		{name: "07 number of bytes overflows", files: w(func(w *onnxpb.TensorProto) { w.Dims = []int64{1, 1 << 31, 1 << 31} }), says: []string{`"W"`, "overflow"}},
		{name: "08 fewer bytes than declared", files: w(func(w *onnxpb.TensorProto) { w.RawData = w.RawData[:24572] }), says: []string{`"W"`, "24572", "24576"}},
		{name: "08 no whole elements", files: w(func(w *onnxpb.TensorProto) { w.RawData = w.RawData[:24575] }), says: []string{`"W"`, "24575", "24576"}},
		{name: "08 raw_data and float_data", files: w(func(w *onnxpb.TensorProto) { w.FloatData = random(64 * 96) }), says: []string{`"W"`, "both raw_data and float_data"}},
		{name: "08 count of float_data", files: w(func(w *onnxpb.TensorProto) { w.RawData, w.FloatData = nil, random(100) }), says: []string{`"W"`, "100", "6144"}},
		{name: "09 huge dims, little data", files: w(func(w *onnxpb.TensorProto) { w.Dims = []int64{1, 1 << 20, 1 << 20} }), says: []string{`"W"`, "24576", "4398046511104"}},
		{name: "10 W of no type", only: true, code: exitUnsupported, files: w(func(w *onnxpb.TensorProto) { w.DataType = proto.Int32(0) }), says: []string{`"W"`, "undefined"}},
		{name: "10 W of an unknown type", only: true, files: w(func(w *onnxpb.TensorProto) { w.DataType = proto.Int32(99) }), says: []string{`"W"`, "99"}},
		{name: "10 W of strings", only: true, files: w(func(w *onnxpb.TensorProto) {
			w.DataType, w.RawData, w.StringData = proto.Int32(8), nil, make([][]byte, 6144)
		}), says: []string{`"W"`, "string"}},
		{name: "10 W of complex numbers", only: true, files: w(func(w *onnxpb.TensorProto) {
			w.DataType, w.RawData = proto.Int32(14), append(w.RawData, w.RawData...)
		}), says: []string{`"W"`, "complex64"}},
		{name: "10 W of int4", only: true, files: w(func(w *onnxpb.TensorProto) { w.DataType, w.RawData = proto.Int32(22), w.RawData[:3072] }), says: []string{`"W"`, "int4"}},
		{name: "10 W of float8", only: true, files: w(func(w *onnxpb.TensorProto) { w.DataType, w.RawData = proto.Int32(17), w.RawData[:6144] }), says: []string{`"W"`, "float8e4m3fn"}},
		{name: "10 R of another type than W", only: true, files: broken(func(m *onnxpb.ModelProto) {
			r := initializer(m, "R")
			r.DataType, r.RawData = proto.Int32(11), append(r.RawData, r.RawData...)
		}), says: []string{`"cell"`, "float", "R has double"}},
		{name: "10 B of another type than W", only: true, files: broken(func(m *onnxpb.ModelProto) {
			cellOf(m).Input = append(cellOf(m).Input, "B")
			m.Graph.Initializer = append(m.Graph.Initializer, &onnxpb.TensorProto{Name: proto.String("B"), DataType: proto.Int32(10), Dims: []int64{1, 128}, RawData: make([]byte, 256)})
		}), says: []string{`"cell"`, "float", "B has float16"}},
		{name: "11 NaN in W", only: true, files: w(func(w *onnxpb.TensorProto) { copy(w.RawData[4*100:], "\x00\x00\xc0\x7f") }), says: []string{`"cell"`, "W[0, 1, 4]", "NaN"}},
		{name: "11 infinity in W", only: true, files: w(func(w *onnxpb.TensorProto) { copy(w.RawData[4*95:], "\x00\x00\x80\xff") }), says: []string{`"cell"`, "W[0, 0, 95]", "-Inf"}},
		{name: "12 sparse initializer for W", only: true, files: broken(func(m *onnxpb.ModelProto) {
			values := floats("W", []float32{1, 2}, 2)
			removeInitializer(m, "W")
			m.Graph.SparseInitializer = append(m.Graph.SparseInitializer, &onnxpb.SparseTensorProto{Values: values, Indices: longs("", []int64{2}, 5, 7), Dims: []int64{1, 64, 96}})
		}), code: exitUnsupported, says: []string{`"cell"`, `"W"`, "sparse"}},
		{name: "12 segment of a tensor", files: w(func(w *onnxpb.TensorProto) {
			w.Segment = &onnxpb.TensorProto_Segment{Begin: proto.Int64(0), End: proto.Int64(10)}
		}), only: true, code: exitUnsupported, says: []string{`"W"`, "segment"}},
	}
	bias := operand(3, floats("B", random(128), 1, 128))
	return append(refused(all), accepted([]rejection{
		{name: "11 W of zeros", files: w(func(w *onnxpb.TensorProto) { clear(w.RawData) }), says: []string{`"weight"`, `"cell"`, "all zero"}},
		{name: "11 denormal W", files: broken(bias, func(m *onnxpb.ModelProto) {
			v := random(layerRows * layerIn)
			for i := range v {
				v[i] = math.Float32frombits(uint32(1 + i%1000))
			}
			initializer(m, "W").RawData = floats("", v).RawData
		}), says: []string{`"weight"`, `"cell"`, "denormal"}},
	})...)
}

// namingRejections are group 13: names that are given twice or never.
func namingRejections() []rejection {
	all := refused([]rejection{
		{name: "13 initializer twice", only: true, files: broken(func(m *onnxpb.ModelProto) {
			m.Graph.Initializer = append(m.Graph.Initializer, floats("R", random(4), 4))
		}), says: []string{`"R"`, "already defined"}},
		{name: "13 value twice", only: true, files: broken(before(nodeOf("Neg", []string{"x"}, []string{"Y"}))), says: []string{`"Y"`, "already defined"}},
		{name: "13 cycle", only: true, files: broken(before(nodeOf("Add", []string{"x", "b"}, []string{"a"}), nodeOf("Neg", []string{"a"}, []string{"b"}))), says: []string{`"b"`, "cycle"}},
		{name: "13 dangling input", only: true, files: broken(func(m *onnxpb.ModelProto) { cellOf(m).Input[0] = "z" }), says: []string{`"z"`, "nothing defines"}},
		{name: "13 overridable W", only: true, files: broken(func(m *onnxpb.ModelProto) {
			m.Graph.Input = append(m.Graph.Input, declare("W", 1, 1, layerRows, layerIn))
		}), code: exitUnsupported, says: []string{`"cell"`, `"W"`, "graph input"}},
	})
	return append(all, rejection{name: "13 IR 3 lists every initializer as an input", only: true, files: broken(func(m *onnxpb.ModelProto) {
		m.IrVersion, m.OpsetImport[0].Version = proto.Int64(3), proto.Int64(7)
		m.Graph.Input = append(m.Graph.Input, declare("W", 1, 1, layerRows, layerIn), declare("R", 1, 1, layerRows, layerHidden))
	}), says: []string{`"kept_dense": false`}})
}

// TestRejectsNamesThatAreNotUTF8 is the rest of group 06. The generated types refuse to write such names, so they are put in afterwards.
func TestRejectsNamesThatAreNotUTF8(t *testing.T) {
	m := layerModel()
	cellOf(m).Name = proto.String("cell-name")
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	b = bytes.Replace(b, []byte("cell-name"), []byte("cell\xff\xfe\x1b[m"), 1)
	rejection{files: file(b), args: decomposeArgs, code: exitOK, says: []string{`cell`}}.test(t)
	b = bytes.Replace(b, []byte("hidden_size"), []byte("hidden_siz\xff"), 1)
	rejection{files: file(b), args: decomposeArgs, code: exitUnsupported, says: []string{`\x1b[m`, `hidden_siz\xff`}}.test(t)
	if strings.Contains(string(b), "hidden_size") {
		t.Error("the attribute's name was not replaced")
	}
}
