package runtime

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// Expected values in this file follow by hand from the ONNX specification of each operator.

func runFeeds(t *testing.T, m *onnx.Model, feeds map[string]*Tensor) map[string]*Tensor {
	t.Helper()
	out, err := compileModel(t, m, Options{}).Run(context.Background(), feeds)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func wantFloats(t *testing.T, got *Tensor, dims []int, want ...float32) {
	t.Helper()
	if got == nil || got.Type != onnx.Float || !sameDims(got.Dims, dims) {
		t.Fatalf("got %v, want float32 of dims %v", got, dims)
	}
	for i, v := range got.Data.([]float32) {
		if v != want[i] {
			t.Fatalf("got %v, want %v", got.Data, want)
		}
	}
}

func TestIfReadsOuterValues(t *testing.T) {
	inner := func(op string) *onnxpb.GraphProto {
		// a nested If reads "x" two scopes out
		return graph(nil, untyped("r"), nil, node("If", "flag", "r",
			graphAttr("then_branch", graph(nil, untyped("r1"), nil, node(op, "x x", "r1"))),
			graphAttr("else_branch", graph(nil, untyped("r2"), nil, node("Identity", "x", "r2")))))
	}
	m := buildModel(t, graph(
		[]*onnxpb.ValueInfoProto{declared("cond", onnx.Bool), declared("flag", onnx.Bool), declared("v", onnx.Float)},
		untyped("y"), nil,
		node("Neg", "v", "x"),
		node("If", "cond", "y", graphAttr("then_branch", inner("Add")), graphAttr("else_branch", inner("Mul")))))
	for _, tc := range []struct {
		cond, flag bool
		want       float32
	}{{true, true, -6}, {false, true, 9}, {true, false, -3}, {false, false, -3}} {
		out := runFeeds(t, m, map[string]*Tensor{"cond": scalarBool(tc.cond), "flag": scalarBool(tc.flag), "v": scalar(3)})
		wantFloats(t, out["y"], []int{}, tc.want)
	}
}

// counting is a Loop body on (i, cond, a): a' = a + 1, the scan output is a, and it goes on while a' < limit.
func counting(limit float32) *onnxpb.GraphProto {
	return graph(untyped("i c a"), []*onnxpb.ValueInfoProto{declared("go", onnx.Bool), declared("a2", onnx.Float), declared("scan", onnx.Float)},
		[]*onnxpb.TensorProto{initFloats("one", nil, 1), initFloats("limit", nil, limit)},
		node("Add", "a one", "a2"), node("Less", "a2 limit", "go"), node("Identity", "a", "scan"))
}

func TestLoopForms(t *testing.T) {
	for _, tc := range []struct {
		name  string
		in    string // inputs of the Loop
		limit float32
		m     int64
		cond  bool
		last  float32
		scan  []float32
	}{
		{"for", "m _ a0", 100, 3, true, 13, []float32{10, 11, 12}},
		{"for ended by the condition", "m c0 a0", 12, 5, true, 12, []float32{10, 11}},
		{"while", "_ c0 a0", 13, 0, true, 13, []float32{10, 11, 12}},
		{"do while", "_ _ a0", 0, 0, true, 11, []float32{10}},
		{"no iteration by M", "m c0 a0", 100, 0, true, 10, nil},
		{"no iteration by cond", "m c0 a0", 100, 3, false, 10, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := buildModel(t, graph(nil, untyped("last scan"),
				[]*onnxpb.TensorProto{initInts("m", nil, tc.m), initBool("c0", tc.cond), initFloats("a0", nil, 10)},
				node("Loop", tc.in, "last scan", graphAttr("body", counting(tc.limit)))))
			out := runFeeds(t, m, nil)
			wantFloats(t, out["last"], []int{}, tc.last)
			wantFloats(t, out["scan"], []int{len(tc.scan)}, tc.scan...)
		})
	}
}

func TestEndlessLoopIsCancelled(t *testing.T) {
	body := graph(untyped("i c a"), untyped("c2 a2"), nil, node("Identity", "c", "c2"), node("Identity", "a", "a2"))
	m := buildModel(t, graph([]*onnxpb.ValueInfoProto{declared("x", onnx.Float)}, untyped("y"), nil, node("Loop", "_ _ x", "y", graphAttr("body", body))))
	p := compileModel(t, m, Options{})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := p.Run(ctx, map[string]*Tensor{"x": scalar(1)}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error %v, want %v", err, context.DeadlineExceeded)
	}
}

func TestLoopCarriesSequence(t *testing.T) {
	body := graph(untyped("i c s"), untyped("c2 s2"), nil,
		node("Identity", "c", "c2"),
		node("Cast", "i", "f", intAttr("to", int64(onnx.Float))),
		node("Unsqueeze", "f zero", "row"),
		node("SequenceInsert", "s row", "s2"))
	m := buildModel(t, graph([]*onnxpb.ValueInfoProto{declared("m", onnx.Int64)}, untyped("y n at"),
		[]*onnxpb.TensorProto{initInts("zero", []int64{1}, 0), initInts("last", nil, -1)},
		node("SequenceEmpty", "", "s0"),
		node("Loop", "m _ s0", "s", graphAttr("body", body)),
		node("ConcatFromSequence", "s", "y", intAttr("axis", 0)),
		node("SequenceLength", "s", "n"),
		node("SequenceAt", "s last", "at")))
	out := runFeeds(t, m, map[string]*Tensor{"m": scalarInt(4)})
	wantFloats(t, out["y"], []int{4}, 0, 1, 2, 3)
	wantFloats(t, out["at"], []int{1}, 3)
	if n := out["n"].Data.([]int64)[0]; n != 4 {
		t.Errorf("length %d, want 4", n)
	}
}

// scanSum is the body of the specification's example: a running sum.
func scanSum() *onnxpb.GraphProto {
	return graph(untyped("sum next"), untyped("sum2 out"), nil, node("Add", "sum next", "sum2"), node("Identity", "sum2", "out"))
}

func TestScan(t *testing.T) {
	x := f32([]int{3, 2}, 1, 2, 3, 4, 5, 6)
	for _, tc := range []struct {
		name    string
		attrs   []*onnxpb.AttributeProto
		initial *Tensor
		sum     []float32
		dims    []int
		out     []float32
	}{
		{"specification's example", nil, f32([]int{2}, 0, 0), []float32{9, 12}, []int{3, 2}, []float32{1, 2, 4, 6, 9, 12}},
		{"input backward", []*onnxpb.AttributeProto{intsAttr("scan_input_directions", 1)}, f32([]int{2}, 0, 0), []float32{9, 12}, []int{3, 2}, []float32{5, 6, 8, 10, 9, 12}},
		{"output backward", []*onnxpb.AttributeProto{intsAttr("scan_output_directions", 1)}, f32([]int{2}, 0, 0), []float32{9, 12}, []int{3, 2}, []float32{9, 12, 4, 6, 1, 2}},
		{"axes", []*onnxpb.AttributeProto{intsAttr("scan_input_axes", -1), intsAttr("scan_output_axes", 1)}, f32([]int{3}, 0, 0, 0), []float32{3, 7, 11}, []int{3, 2}, []float32{1, 3, 3, 7, 5, 11}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			attrs := append(tc.attrs, intAttr("num_scan_inputs", 1), graphAttr("body", scanSum()))
			m := buildModel(t, graph([]*onnxpb.ValueInfoProto{declared("s0", onnx.Float, -1), declared("x", onnx.Float, -1, -1)}, untyped("s y"), nil, node("Scan", "s0 x", "s y", attrs...)))
			out := runFeeds(t, m, map[string]*Tensor{"s0": tc.initial, "x": x})
			wantFloats(t, out["s"], tc.initial.Dims, tc.sum...)
			wantFloats(t, out["y"], tc.dims, tc.out...)
		})
	}
}

func TestControlFlowErrors(t *testing.T) {
	growing := graph(untyped("i c a"), untyped("c2 a2 scan"), nil, node("Identity", "c", "c2"), node("Concat", "a a", "a2", intAttr("axis", 0)), node("Identity", "a", "scan"))
	for _, tc := range []struct {
		name string
		g    *onnxpb.GraphProto
		want string
	}{
		{"condition of two values", graph(nil, untyped("y"), []*onnxpb.TensorProto{{Name: proto.String("c"), DataType: proto.Int32(9), Dims: []int64{2}, Int32Data: []int32{1, 0}}},
			node("If", "c", "y", graphAttr("then_branch", graph(nil, untyped("a"), []*onnxpb.TensorProto{initFloats("a", nil, 1)})), graphAttr("else_branch", graph(nil, untyped("b"), []*onnxpb.TensorProto{initFloats("b", nil, 1)})))),
			"want one bool"},
		{"scan outputs of different dims", graph(nil, untyped("a y"), []*onnxpb.TensorProto{initInts("m", nil, 3), initFloats("a0", []int64{1}, 1)}, node("Loop", "m _ a0", "a y", graphAttr("body", growing))),
			"the first iteration gave"},
		{"scan inputs of different length", graph(nil, untyped("a y"), []*onnxpb.TensorProto{initFloats("x", []int64{2}, 1, 1), initFloats("z", []int64{3}, 1, 1, 1)},
			node("Scan", "x z", "a y", intAttr("num_scan_inputs", 2), graphAttr("body", graph(untyped("p q"), untyped("p2 q2"), nil, node("Identity", "p", "p2"), node("Identity", "q", "q2"))))),
			"has 3 steps, input 0 has 2"},
		{"position outside", graph(nil, untyped("y"), []*onnxpb.TensorProto{initFloats("x", nil, 1), initInts("k", nil, 1)}, node("SequenceConstruct", "x", "s"), node("SequenceAt", "s k", "y")),
			"position 1 is outside [-1, 1)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := compileModel(t, buildModel(t, tc.g), Options{}).Run(context.Background(), nil)
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "graph.node[") {
				t.Fatalf("error %v, want one with %q that names the node", err, tc.want)
			}
		})
	}
}

// function is a model-local function of domain "test".
func function(name, in, out string, attributes []string, nodes ...*onnxpb.NodeProto) *onnxpb.FunctionProto {
	return &onnxpb.FunctionProto{Name: proto.String(name), Domain: proto.String("test"), Input: names(in), Output: names(out), Attribute: attributes, Node: nodes,
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(17)}, {Domain: proto.String("test"), Version: proto.Int64(1)}}}
}

func TestFunctions(t *testing.T) {
	leaky := function("Leaky", "x", "y", []string{"slope"}, node("LeakyRelu", "x", "y", refAttr("alpha", "slope", onnxpb.AttributeProto_FLOAT)))
	preset := function("Preset", "x", "y", nil, node("LeakyRelu", "x", "y", refAttr("alpha", "slope", onnxpb.AttributeProto_FLOAT)))
	preset.AttributeProto = []*onnxpb.AttributeProto{floatAttr("slope", 0.25)}
	twice := function("Twice", "a", "b", nil, inDomain(node("Leaky", "a", "m", floatAttr("slope", 0.5)), "test"), node("Add", "m m", "b"))
	for _, tc := range []struct {
		name string
		call *onnxpb.NodeProto
		want float32
	}{
		{"attribute bound at the call", node("Leaky", "x", "y", floatAttr("slope", 0.125)), -0.5},
		{"attribute absent: the operator's default", node("Leaky", "x", "y"), -0.04},
		{"function's default", node("Preset", "x", "y"), -1},
		{"default overridden", node("Preset", "x", "y", floatAttr("slope", 0.125)), -0.5},
		{"nested", node("Twice", "x", "y"), -4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := buildModel(t, graph([]*onnxpb.ValueInfoProto{declared("x", onnx.Float)}, untyped("y"), nil, inDomain(tc.call, "test")), leaky, preset, twice)
			wantFloats(t, runFeeds(t, m, map[string]*Tensor{"x": scalar(-4)})["y"], []int{}, tc.want)
		})
	}
}

// TestAbsentFunctionInput: an input that the caller leaves out is absent in the body, where it may be optional or not.
func TestAbsentFunctionInput(t *testing.T) {
	f := function("Bound", "x hi", "y", nil, node("Clip", "x _ hi", "y"))
	x := []*onnxpb.ValueInfoProto{declared("x", onnx.Float)}
	m := buildModel(t, graph(x, untyped("y"), nil, inDomain(node("Bound", "x", "y"), "test")), f)
	wantFloats(t, runFeeds(t, m, map[string]*Tensor{"x": scalar(7)})["y"], []int{}, 7)
	m = buildModel(t, graph(x, untyped("y"), []*onnxpb.TensorProto{initFloats("hi", nil, 5)}, inDomain(node("Bound", "x hi", "y"), "test")), f)
	wantFloats(t, runFeeds(t, m, map[string]*Tensor{"x": scalar(7)})["y"], []int{}, 5)
	m = buildModel(t, graph(x, untyped("y"), nil, inDomain(node("Bound", "_ x", "y"), "test")), f)
	if _, err := Compile(context.Background(), m, Options{}); err == nil || !strings.Contains(err.Error(), "input 0 is absent") {
		t.Errorf("error %v, want one about the absent input", err)
	}
}

// TestRecurrentNodeInFunction: the node takes its hidden_size from the function's caller.
func TestRecurrentNodeInFunction(t *testing.T) {
	f := function("Layer", "x w r", "h", []string{"size"}, node("RNN", "x w r", "_ h", refAttr("hidden_size", "size", onnxpb.AttributeProto_INT), stringsAttr("activations", "Relu")))
	m := buildModel(t, graph([]*onnxpb.ValueInfoProto{declared("x", onnx.Float, 2, 1, 1)}, untyped("h"),
		[]*onnxpb.TensorProto{initFloats("w", []int64{1, 1, 1}, 3), initFloats("r", []int64{1, 1, 1}, 10)},
		inDomain(node("Layer", "x w r", "h", intAttr("size", 1)), "test")), f)
	out := runFeeds(t, m, map[string]*Tensor{"x": f32([]int{2, 1, 1}, 1, 2)})
	wantFloats(t, out["h"], []int{1, 1, 1}, 36) // 3·2 + 10·(3·1)
}

func TestRecursiveFunction(t *testing.T) {
	a := function("A", "x", "y", nil, inDomain(node("B", "x", "y"), "test"))
	b := function("B", "x", "y", nil, inDomain(node("A", "x", "y"), "test"))
	m := buildModel(t, graph(untyped("x"), untyped("y"), nil, inDomain(node("A", "x", "y"), "test")), a, b)
	if _, err := Compile(context.Background(), m, Options{}); err == nil || !strings.Contains(err.Error(), "calls itself") {
		t.Fatalf("error %v, want one about recursion", err)
	}
}

// TestFunctionsDoNotExplode: twenty functions that each call the next one three times would be 3^20 nodes.
func TestFunctionsDoNotExplode(t *testing.T) {
	var fs []*onnxpb.FunctionProto
	name := func(k int) string { return "F" + strings.Repeat("i", k) }
	for k := range 20 {
		fs = append(fs, function(name(k), "x", "y", nil,
			inDomain(node(name(k+1), "x", "a"), "test"), inDomain(node(name(k+1), "a", "b"), "test"), inDomain(node(name(k+1), "b", "y"), "test")))
	}
	fs = append(fs, function(name(20), "x", "y", nil, node("Neg", "x", "y")))
	m := buildModel(t, graph(untyped("x"), untyped("y"), nil, inDomain(node(name(0), "x", "y"), "test")), fs...)
	if _, err := Compile(context.Background(), m, Options{}); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Fatalf("error %v, want one about the number of nodes", err)
	}
}
