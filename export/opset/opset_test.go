package opset

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/export/source/sourcetest"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/runtime"
)

// The oracle of the conversions is the runtime, which is held to ONNX's node tests in each version of an operator: a model means in its own opset what the converted one means in
// the new one.

// single is a model of one node that reads x [2, 3, 4] of a type, with initializers for its other inputs, and gives y.
func single(opset int64, elem onnx.DataType, n *onnxpb.NodeProto, initializers ...*onnxpb.TensorProto) *onnxpb.ModelProto {
	g := &onnxpb.GraphProto{Name: proto.String("g"), Node: []*onnxpb.NodeProto{n}, Input: []*onnxpb.ValueInfoProto{sourcetest.Port("x", elem, 2, 3, 4)}, Initializer: initializers}
	for _, out := range n.Output {
		g.Output = append(g.Output, sourcetest.Port(out, 0))
	}
	return &onnxpb.ModelProto{IrVersion: proto.Int64(8), Graph: g, OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(opset)}}}
}

func decoded(t *testing.T, p *onnxpb.ModelProto) *onnx.Model {
	t.Helper()
	m, err := onnx.FromProto("test", p)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func run(t *testing.T, m *onnx.Model, elem onnx.DataType) map[string]*onnx.Array {
	t.Helper()
	p, err := runtime.Compile(t.Context(), m, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	x := &onnx.Array{Type: elem, Dims: []int{2, 3, 4}}
	switch elem {
	case onnx.Float:
		v := make([]float32, 24)
		for k := range v {
			v[k] = float32((k*7)%24)/8 - 1
		}
		x.Data = v
	case onnx.Int8:
		v := make([]int8, 24)
		for k := range v {
			v[k] = int8(k - 12)
		}
		x.Data = v
	}
	out, err := p.Run(t.Context(), map[string]*onnx.Array{"x": x})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func node1(op string, inputs []string, outputs int, attributes ...*onnxpb.AttributeProto) *onnxpb.NodeProto {
	n := &onnxpb.NodeProto{OpType: proto.String(op), Name: proto.String("node"), Input: inputs, Attribute: attributes}
	for k := range outputs {
		n.Output = append(n.Output, "y"+string(rune('0'+k)))
	}
	return n
}

// cases are nodes with the opsets they go between.
var cases = []struct {
	name     string
	from, to int64
	elem     onnx.DataType
	node     *onnxpb.NodeProto
	with     []*onnxpb.TensorProto
	refused  string // in the error, "" where it goes
}{
	{"unchanged", 14, 21, onnx.Float, node1("Add", []string{"x", "x"}, 1), nil, ""},
	{"squeeze", 11, 13, onnx.Float, node1("Unsqueeze", []string{"x"}, 1, sourcetest.Attribute("axes", []int64{0, 3})), nil, ""},
	{"squeeze what is there", 11, 17, onnx.Float, node1("Squeeze", []string{"x"}, 1), nil, ""},
	{"axes of a sum", 11, 13, onnx.Float, node1("ReduceSum", []string{"x"}, 1, sourcetest.Attribute("axes", []int64{1}), sourcetest.Attribute("keepdims", 0)), nil, ""},
	{"axes of a mean", 13, 18, onnx.Float, node1("ReduceMean", []string{"x"}, 1, sourcetest.Attribute("axes", []int64{-1})), nil, ""},
	{"axes of a maximum, back", 20, 13, onnx.Float, node1("ReduceMax", []string{"x", "axes"}, 1), []*onnxpb.TensorProto{sourcetest.Ints("axes", 0, 2)}, ""},
	{"all axes, back", 18, 17, onnx.Float, node1("ReduceL2", []string{"x"}, 1, sourcetest.Attribute("noop_with_empty_axes", 0)), nil, ""},
	{"no axes, back", 18, 17, onnx.Float, node1("ReduceL2", []string{"x"}, 1, sourcetest.Attribute("noop_with_empty_axes", 1)), nil, "noop_with_empty_axes"},
	{"parts of given sizes", 11, 18, onnx.Float, node1("Split", []string{"x"}, 2, sourcetest.Attribute("axis", 1), sourcetest.Attribute("split", []int64{1, 2})), nil, ""},
	{"equal parts", 13, 18, onnx.Float, node1("Split", []string{"x"}, 2, sourcetest.Attribute("axis", 2)), nil, ""},
	{"equal parts, back", 18, 13, onnx.Float, node1("Split", []string{"x"}, 2, sourcetest.Attribute("axis", 2), sourcetest.Attribute("num_outputs", 2)), nil, "equal size"},
	{"softmax over the last axis", 11, 13, onnx.Float, node1("Softmax", []string{"x"}, 1, sourcetest.Attribute("axis", 2)), nil, ""},
	{"softmax over two axes", 11, 13, onnx.Float, node1("Softmax", []string{"x"}, 1), nil, ""},
	{"log-softmax over all axes", 11, 17, onnx.Float, node1("LogSoftmax", []string{"x"}, 1, sourcetest.Attribute("axis", 0)), nil, ""},
	{"bounds", 6, 13, onnx.Float, node1("Clip", []string{"x"}, 1, sourcetest.Attribute("min", -0.5), sourcetest.Attribute("max", 0.25)), nil, ""},
	{"one bound", 6, 21, onnx.Float, node1("Clip", []string{"x"}, 1, sourcetest.Attribute("max", 0.25)), nil, ""},
	{"pads", 2, 19, onnx.Float, node1("Pad", []string{"x"}, 1, sourcetest.Attribute("pads", []int64{0, 1, 0, 1, 0, 2}), sourcetest.Attribute("value", 3.0)), nil, ""},
	{"slice", 1, 13, onnx.Float, node1("Slice", []string{"x"}, 1, sourcetest.Attribute("starts", []int64{1, 0}), sourcetest.Attribute("ends", []int64{3, -1}), sourcetest.Attribute("axes", []int64{1, 2})), nil, ""},
	{"largest", 9, 14, onnx.Float, node1("TopK", []string{"x"}, 2, sourcetest.Attribute("k", 2)), nil, ""},
	{"dropout in use", 10, 13, onnx.Float, node1("Dropout", []string{"x"}, 1, sourcetest.Attribute("ratio", 0.3)), nil, ""},
	{"batch normalisation", 9, 15, onnx.Float, node1("BatchNormalization", []string{"x", "s", "s", "s", "s"}, 1), []*onnxpb.TensorProto{threes("s")}, ""},
	{"zeros in a shape", 17, 13, onnx.Float, node1("Reshape", []string{"x", "s"}, 1, sourcetest.Attribute("allowzero", 0)), []*onnxpb.TensorProto{sourcetest.Ints("s", 0, -1)}, ""},
	{"zeros in a shape that count", 17, 13, onnx.Float, node1("Reshape", []string{"x", "s"}, 1, sourcetest.Attribute("allowzero", 1)), []*onnxpb.TensorProto{sourcetest.Ints("s", 4, 6)}, `"allowzero" came with 14`},
	{"eight bits", 14, 13, onnx.Int8, node1("Add", []string{"x", "x"}, 1), nil, "type int8 came with 14"},
	{"32 bits over floats", 13, 19, onnx.Int32, node1("QuantizeLinear", []string{"x", "s"}, 1), []*onnxpb.TensorProto{threes("s")}, "type int32 are gone"},
	{"float16 scales", 19, 13, onnx.Int8, node1("DequantizeLinear", []string{"x", "s"}, 1), []*onnxpb.TensorProto{{Name: proto.String("s"), DataType: proto.Int32(int32(onnx.Float16)), Int32Data: []int32{0x3c00}}}, "type float16 came with 19"},
	{"an operator that came later", 20, 17, onnx.Float, node1("Gelu", []string{"x"}, 1), nil, "came with opset 20"},
	{"an operator that does not exist", 17, 18, onnx.Float, node1("Glue", []string{"x"}, 1), nil, "no opset"},
	{"an operator that went", 9, 13, onnx.Float, node1("Upsample", []string{"x", "s"}, 1), []*onnxpb.TensorProto{threes("s")}, "Upsample-9 and Upsample-10 differ"},
	{"a newer opset", 22, 17, onnx.Float, node1("Add", []string{"x", "x"}, 1), nil, "newer"},
	{"part of a shape", 15, 13, onnx.Float, node1("Shape", []string{"x"}, 1, sourcetest.Attribute("start", 1)), nil, `"start" came with 15`},
}

func threes(name string) *onnxpb.TensorProto {
	return &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(int32(onnx.Float)), Dims: []int64{3}, FloatData: []float32{0.5, 1, 2}}
}

func TestNodesMeanTheSame(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := decoded(t, single(c.from, c.elem, c.node, c.with...))
			p, err := Convert(t.Context(), m, c.to)
			if c.refused != "" {
				var u *UnsupportedError
				if !errors.As(err, &u) || !strings.Contains(err.Error(), c.refused) || !strings.Contains(err.Error(), c.node.GetOpType()) {
					t.Fatalf("got %v, want an UnsupportedError that names %s and %q", err, c.node.GetOpType(), c.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			out, err := p.Apply(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if out.Opset("") != c.to || out.IRVersion != IRVersion(c.to) {
				t.Errorf("opset %d and IR %d, want %d and %d", out.Opset(""), out.IRVersion, c.to, IRVersion(c.to))
			}
			want, got := run(t, m, c.elem), run(t, out, c.elem)
			for name, w := range want {
				g := got[name]
				if !slices.Equal(g.Dims, w.Dims) {
					t.Fatalf("%s has dims %v, want %v", name, g.Dims, w.Dims)
				}
				a, err := g.Float64s()
				b, err2 := w.Float64s()
				if err != nil || err2 != nil {
					t.Fatal(err, err2)
				}
				if !slices.Equal(a, b) {
					t.Errorf("%s: %v, want %v", name, a, b)
				}
			}
		})
	}
}

// TestInnerGraphsAndFunctions converts nodes in the branch of an If and in a function, which imports its own opset.
func TestInnerGraphsAndFunctions(t *testing.T) {
	branch := func(name string, axis int64) *onnxpb.GraphProto {
		return &onnxpb.GraphProto{Name: proto.String(name), Output: []*onnxpb.ValueInfoProto{sourcetest.Port(name+"_out", onnx.Float)},
			Node: []*onnxpb.NodeProto{{OpType: proto.String("ReduceSum"), Input: []string{"x"}, Output: []string{name + "_out"}, Attribute: []*onnxpb.AttributeProto{sourcetest.Attribute("axes", []int64{axis})}}}}
	}
	call := &onnxpb.NodeProto{OpType: proto.String("Widen"), Domain: proto.String("local"), Input: []string{"y0"}, Output: []string{"z"}}
	p := single(11, onnx.Float, node1("If", []string{"yes"}, 1, sourcetest.Attribute("then_branch", branch("then", 0)), sourcetest.Attribute("else_branch", branch("else", 1))),
		&onnxpb.TensorProto{Name: proto.String("yes"), DataType: proto.Int32(int32(onnx.Bool)), Int32Data: []int32{1}})
	p.Graph.Node = append(p.Graph.Node, call)
	p.Graph.Output = []*onnxpb.ValueInfoProto{sourcetest.Port("z", onnx.Float)}
	p.OpsetImport = append(p.OpsetImport, &onnxpb.OperatorSetIdProto{Domain: proto.String("local"), Version: proto.Int64(1)})
	p.Functions = []*onnxpb.FunctionProto{{Name: proto.String("Widen"), Domain: proto.String("local"), Input: []string{"a"}, Output: []string{"b"},
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(11)}},
		Node:        []*onnxpb.NodeProto{{OpType: proto.String("Unsqueeze"), Input: []string{"a"}, Output: []string{"b"}, Attribute: []*onnxpb.AttributeProto{sourcetest.Attribute("axes", []int64{0})}}}}}
	m := decoded(t, p)
	patch, err := Convert(t.Context(), m, 13)
	if err != nil {
		t.Fatal(err)
	}
	out, err := patch.Apply(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if out.IRVersion != 8 || out.Functions[0].Opsets[0].Version != 13 {
		t.Errorf("IR %d and opset %d in the function, want 8 and 13", out.IRVersion, out.Functions[0].Opsets[0].Version)
	}
	want, got := run(t, m, onnx.Float)["z"], run(t, out, onnx.Float)["z"]
	a, _ := want.Float64s()
	b, _ := got.Float64s()
	if !slices.Equal(want.Dims, got.Dims) || !slices.Equal(a, b) {
		t.Errorf("got %v %v, want %v %v", got.Dims, b, want.Dims, a)
	}
}

// TestInputsThatAreInitializers: from IR 4 on such a pair says that callers may replace the value, which was not meant before.
func TestInputsThatAreInitializers(t *testing.T) {
	p := single(9, onnx.Float, node1("Add", []string{"x", "w"}, 1), &onnxpb.TensorProto{Name: proto.String("w"), DataType: proto.Int32(int32(onnx.Float)), Dims: []int64{1}, FloatData: []float32{2}})
	p.IrVersion = proto.Int64(3)
	p.Graph.Input = append(p.Graph.Input, sourcetest.Port("w", onnx.Float, 1))
	patch, err := Convert(t.Context(), decoded(t, p), 13)
	if err != nil {
		t.Fatal(err)
	}
	out, err := patch.Apply(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Graph.Inputs) != 1 || out.IRVersion != 7 {
		t.Errorf("%d inputs at IR %d, want x alone at 7", len(out.Graph.Inputs), out.IRVersion)
	}
}

// TestTable reads all of the table; versions rise, and each rule belongs to a version that needs one.
func TestTable(t *testing.T) {
	if n := len(operators()); n < 180 {
		t.Errorf("%d operators", n)
	}
	for op, versions := range operators() {
		for k, v := range versions {
			if k > 0 && v.since <= versions[k-1].since || v.since > Newest {
				t.Errorf("%s: version %d at place %d", op, v.since, k)
			}
		}
	}
	for key := range rules {
		if !slices.ContainsFunc(operators()[key.op], func(v version) bool {
			return v.since == key.since && slices.ContainsFunc(v.marks, func(m mark) bool { return m.kind == '!' })
		}) {
			t.Errorf("the rule for %s-%d belongs to no version of the table", key.op, key.since)
		}
	}
}

// TestTableIsPrinted compares the table with what ONNX's own schemas give today, where Debian's python3-onnx is installed.
func TestTableIsPrinted(t *testing.T) {
	const python = "/usr/bin/python3"
	if exec.Command(python, "-c", "import onnx; assert onnx.defs.onnx_opset_version() >= 17").Run() != nil {
		t.Skip("python3-onnx is not installed")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	printed, err := exec.CommandContext(ctx, python, "schemas.py").Output()
	if err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile("operators.txt")
	if err != nil {
		t.Fatal(err)
	}
	if string(printed) != string(table) {
		t.Error("operators.txt is not what schemas.py prints")
	}
}
