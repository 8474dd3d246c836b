package runtime

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// Graphs through which gradients go: the oracle of the tests here is central differences in float64, unless a test names another.

// doubleInit stores random doubles away from 0.
func doubleInit(name string, dims ...int) *onnxpb.TensorProto {
	t := spread(-1, 1, dims...)
	rng := rand.New(rand.NewPCG(uint64(len(name)), uint64(name[0])))
	for i := range t.Data.([]float64) {
		t.Data.([]float64)[i] += 0.1 * rng.Float64()
	}
	return initTensor(name, t)
}

func TestGradientThroughGraphs(t *testing.T) {
	feeds := map[string]*Tensor{"x": spread(-1, 1, 2, 3), "xs": spread(-1, 1, 4, 2), "flag": scalarBool(true), "n": scalarInt(3)}
	x := func() []*onnxpb.ValueInfoProto { return []*onnxpb.ValueInfoProto{declared("x", onnx.Double, 2, 3)} }
	xs := func() []*onnxpb.ValueInfoProto { return []*onnxpb.ValueInfoProto{declared("xs", onnx.Double, 4, 2)} }
	// branch reads w and v of the graph around it.
	branch := func(op, in, out string, inits ...*onnxpb.TensorProto) *onnxpb.GraphProto {
		return graph(nil, untyped(out), inits, node(op, in, out))
	}
	// The body of a Loop: a' = tanh(a·w + c); scan outputs a' and a·c.
	loop := func() *onnxpb.GraphProto {
		outputs := append(untyped("go2"), declared("a2", onnx.Double, 3, 2), declared("s1", onnx.Double, 3, 2), declared("s2", onnx.Double, 3, 2))
		return graph(untyped("i go a"), outputs, []*onnxpb.TensorProto{doubleInit("c", 2)},
			node("Identity", "go", "go2"),
			node("MatMul", "a w", "aw"), node("Add", "aw c", "z"), node("Tanh", "z", "a2"), node("Identity", "a2", "s1"), node("Mul", "a c", "s2"))
	}
	scan := func(attrs ...*onnxpb.AttributeProto) *onnxpb.NodeProto {
		body := graph(untyped("h e"), untyped("h2 s"), nil,
			node("Mul", "h w", "hw"), node("Add", "hw e", "z"), node("Sigmoid", "z", "h2"), node("Mul", "h2 e", "s"))
		return node("Scan", "h0 ys", "hn s", append(attrs, intAttr("num_scan_inputs", 1), graphAttr("body", body))...)
	}
	for _, c := range []struct {
		name   string
		graph  *onnxpb.GraphProto
		f      []*onnxpb.FunctionProto
		params string
	}{
		{"a parameter is an output", graph(x(), untyped("w y"), []*onnxpb.TensorProto{doubleInit("w", 3)}, node("Mul", "x w", "y")), nil, "w"},
		{"a value is output and read", graph(x(), untyped("a y"), []*onnxpb.TensorProto{doubleInit("w", 3)}, node("Mul", "x w", "a"), node("Tanh", "a", "y")), nil, "w"},
		{"one value has two names as outputs", graph(x(), untyped("a b"), []*onnxpb.TensorProto{doubleInit("w", 3)}, node("Mul", "x w", "a"), node("Identity", "a", "b")), nil, "w"},
		{"several readers", graph(x(), untyped("y"), []*onnxpb.TensorProto{doubleInit("w", 3)},
			node("Mul", "x w", "a"), node("Tanh", "a", "b"), node("Exp", "a", "c"), node("Mul", "b c", "d"), node("Add", "d a", "e"), node("Add", "e a", "y")), nil, "w"},
		{"one reader twice", graph(x(), untyped("y"), []*onnxpb.TensorProto{doubleInit("w", 2, 3)}, node("Add", "w w", "a"), node("Mul", "a a", "b"), node("Mul", "b x", "y")), nil, "w"},
		{"unread outputs", graph(x(), untyped("y"), []*onnxpb.TensorProto{doubleInit("w", 4, 3)}, node("Split", "w", "a b", intAttr("axis", 0)), node("Mul", "a x", "y")), nil, "w"},
		{"a parameter that reaches nothing", graph(x(), untyped("y"), []*onnxpb.TensorProto{doubleInit("w", 3), doubleInit("u", 2)}, node("Mul", "x w", "y"), node("Neg", "u", "dead")), nil, "w u"},
		{"behind flat outputs only", graph(x(), untyped("y"), []*onnxpb.TensorProto{doubleInit("w", 3)}, node("Mul", "x w", "a"), node("Floor", "a", "y")), nil, "w"},
		{"If, nested", graph(append(x(), declared("flag", onnx.Bool)), untyped("y"), []*onnxpb.TensorProto{doubleInit("w", 3), doubleInit("v", 2, 3)},
			node("Mul", "x w", "a"), node("Not", "flag", "not"),
			node("If", "flag", "y",
				graphAttr("then_branch", graph(nil, untyped("r"), nil,
					node("If", "not", "q", graphAttr("then_branch", branch("Neg", "a", "q1")), graphAttr("else_branch", branch("Mul", "a v", "q2"))), node("Mul", "q w", "r"))),
				graphAttr("else_branch", branch("Identity", "v", "r2")))), nil, "w v"},
		{"If that hands out an outer value, and one of its branch", graph(append(x(), declared("flag", onnx.Bool)), untyped("y z"), []*onnxpb.TensorProto{doubleInit("w", 3)},
			node("Mul", "x w", "a"),
			node("If", "flag", "y z", graphAttr("then_branch", graph(nil, untyped("a k"), []*onnxpb.TensorProto{doubleInit("k", 3)})), graphAttr("else_branch", graph(nil, untyped("w w"), nil)))), nil, "w"},
		{"Loop", graph(append(xs(), declared("n", onnx.Int64)), untyped("a y z"), []*onnxpb.TensorProto{doubleInit("w", 2, 2)},
			node("Loop", "n _ xs", "a y z", graphAttr("body", loop()))), nil, "w"},
		{"Loop, whose state is a parameter and unread", graph([]*onnxpb.ValueInfoProto{declared("n", onnx.Int64)}, untyped("z"), []*onnxpb.TensorProto{doubleInit("w", 2, 2), doubleInit("a0", 3, 2)},
			node("Loop", "n _ a0", "a y z", graphAttr("body", loop()))), nil, "w a0"},
		{"Loop with integer state", graph(append(xs(), declared("n", onnx.Int64)), untyped("y k"), []*onnxpb.TensorProto{doubleInit("w", 2), initInts("k0", nil, 0)},
			node("Loop", "n _ k0 xs", "k y", graphAttr("body", graph(untyped("i go k a"), untyped("go2 k2 a2"), nil,
				node("Identity", "go", "go2"), node("Gather", "a k", "r"), node("Mul", "r w", "rw"), node("Add", "a rw", "a2"), node("Add", "k i", "k1"),
				node("Constant", "", "one", tensorAttr("value", initInts("", nil, 1))), node("Min", "k1 one", "k2"))))), nil, "w"},
		{"Loop of no iterations", graph(nil, untyped("a s"), []*onnxpb.TensorProto{doubleInit("w", 2, 2), doubleInit("a0", 3, 2), initInts("zero", nil, 0)},
			node("Identity", "zero", "none"), node("Mul", "a0 a0", "sq"), node("Loop", "none _ sq", "a s", graphAttr("body", loop()))), nil, "a0"},
		{"Scan", graph(xs(), untyped("hn s"), []*onnxpb.TensorProto{doubleInit("w", 2), doubleInit("h0", 2), doubleInit("u", 2)}, node("Mul", "xs u", "ys"), scan()), nil, "w h0 u"},
		{"Scan backwards", graph(xs(), untyped("hn s"), []*onnxpb.TensorProto{doubleInit("w", 2), doubleInit("h0", 2), doubleInit("u", 2)}, node("Mul", "xs u", "ys"),
			scan(intsAttr("scan_input_directions", 1), intsAttr("scan_output_directions", 1))), nil, "w h0 u"},
		{"Scan along other axes", graph(xs(), untyped("hn s"), []*onnxpb.TensorProto{doubleInit("w", 4), doubleInit("h0", 4), doubleInit("u", 2)}, node("Mul", "xs u", "ys"),
			scan(intsAttr("scan_input_axes", -1), intsAttr("scan_output_axes", 1))), nil, "w h0 u"},
		{"functions, called twice and in each other", graph(x(), untyped("y"), []*onnxpb.TensorProto{doubleInit("w", 3), doubleInit("v", 3)},
			inDomain(node("Outer", "x w", "a"), "test"), inDomain(node("Outer", "a v", "y"), "test")),
			[]*onnxpb.FunctionProto{function("Inner", "p q", "r", nil, node("Mul", "p q", "s"), node("Tanh", "s", "r")),
				function("Outer", "p q", "r", nil, inDomain(node("Inner", "p q", "t"), "test"), node("Add", "t q", "u"), inDomain(node("Inner", "u p", "r"), "test"))}, "w v"},
		{"a sequence by parts", graph(x(), untyped("y z"), []*onnxpb.TensorProto{doubleInit("w", 3), doubleInit("v", 2, 3), initInts("one", nil, 1), initInts("zero", nil, 0)},
			node("Mul", "x w", "a"), node("SequenceConstruct", "a v x", "s"), node("SequenceInsert", "s w zero", "s1"), node("SequenceErase", "s1 zero", "s2"), node("SequenceAt", "s2 one", "b"),
			node("ConcatFromSequence", "s2", "y", intAttr("axis", -1)), node("Mul", "b a", "z")), nil, "w v"},
		{"a sequence that is stacked", graph(x(), untyped("y"), []*onnxpb.TensorProto{doubleInit("w", 2, 3)},
			node("Mul", "x w", "a"), node("SequenceConstruct", "a x w", "s"), node("ConcatFromSequence", "s", "y", intAttr("axis", 1), intAttr("new_axis", 1))), nil, "w"},
		{"a tensor split into a sequence", graph(x(), untyped("y z"), []*onnxpb.TensorProto{doubleInit("w", 2, 3), initInts("two", nil, 2), initInts("one", nil, 1)},
			node("Mul", "x w", "a"), node("SplitToSequence", "a two", "s", intAttr("axis", 1)), node("SequenceAt", "s one", "b"), node("Exp", "b", "y"),
			node("SplitToSequence", "a", "s2", intAttr("axis", 0), intAttr("keepdims", 0)), node("SequenceAt", "s2 one", "z")), nil, "w"},
		{"a sequence that a Loop fills", graph(append(xs(), declared("n", onnx.Int64)), untyped("y"), []*onnxpb.TensorProto{doubleInit("w", 2)},
			node("SequenceEmpty", "", "s0", intAttr("dtype", int64(onnx.Double))), node("Mul", "xs w", "a"),
			node("Loop", "n _ s0", "s", graphAttr("body", graph(untyped("i go s"), untyped("go2 s2"), nil,
				node("Identity", "go", "go2"), node("Gather", "a i", "r"), node("Mul", "r w", "rw"), node("SequenceInsert", "s rw", "s2")))),
			node("ConcatFromSequence", "s", "y", intAttr("axis", 0))), nil, "w"},
		{"an optional", graph(x(), untyped("y"), []*onnxpb.TensorProto{doubleInit("w", 3)}, node("Mul", "x w", "a"), node("Optional", "a", "o"), node("OptionalGetElement", "o", "y")), nil, "w"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := buildModel(t, c.graph, c.f...)
			in := map[string]*Tensor{}
			for _, v := range m.Graph.Inputs {
				in[v.Name] = feeds[v.Name]
			}
			checkGradients(t, m, in, strings.Fields(c.params)...)
		})
	}
}

// tensorsNamed finds stored tensors of any scope: initializers, and values of Constant nodes by the name of their output.
func tensorsNamed(t *testing.T, m *onnx.Model, names ...string) []*onnx.Tensor {
	t.Helper()
	found := map[string]*onnx.Tensor{}
	var walk func(g *onnx.Graph)
	walk = func(g *onnx.Graph) {
		for _, init := range g.Initializers {
			found[init.Name] = init
		}
		for _, n := range g.Nodes {
			if n.OpType == "Constant" {
				found[n.Outputs[0]] = n.Attr("value").T
			}
			for _, b := range n.Subgraphs() {
				walk(b)
			}
		}
	}
	walk(m.Graph)
	for _, f := range m.Functions {
		walk(f.Body)
	}
	var list []*onnx.Tensor
	for _, name := range names {
		if found[name] == nil {
			t.Fatalf("the model stores no %q", name)
		}
		list = append(list, found[name])
	}
	return list
}

// TestGradientOfInnerParameters: initializers of bodies, Constant nodes of the graph, of bodies and of a function that is called twice.
func TestGradientOfInnerParameters(t *testing.T) {
	constant := func(out string, dims ...int) *onnxpb.NodeProto {
		return node("Constant", "", out, tensorAttr("value", doubleInit(out, dims...)))
	}
	body := graph(untyped("i go a"), untyped("go2 a2 s"), []*onnxpb.TensorProto{doubleInit("inner", 2, 2)},
		node("Identity", "go", "go2"), constant("inside", 2), node("MatMul", "a inner", "b"), node("Add", "b inside", "z"), node("Tanh", "z", "a2"), node("Mul", "a2 outside", "s"))
	f := function("F", "p", "r", nil, constant("infunction", 2), node("Mul", "p infunction", "r"))
	m := buildModel(t, graph([]*onnxpb.ValueInfoProto{declared("x", onnx.Double, 3, 2), declared("flag", onnx.Bool)}, untyped("a s y"), []*onnxpb.TensorProto{initInts("n", nil, 3), doubleInit("taken", 2)},
		constant("outside", 2), inDomain(node("F", "x", "fx"), "test"), node("Loop", "n _ fx", "a s", graphAttr("body", body)), inDomain(node("F", "a", "fa"), "test"),
		node("If", "flag", "y", graphAttr("then_branch", graph(nil, untyped("t1"), []*onnxpb.TensorProto{doubleInit("branch", 2)}, node("Mul", "fa branch", "t1"))),
			graphAttr("else_branch", graph(nil, untyped("t2"), []*onnxpb.TensorProto{doubleInit("other", 2)}, node("Add", "fa other", "t2"))))), f)
	parameters := tensorsNamed(t, m, "inner", "inside", "outside", "infunction", "taken", "branch", "other")
	for _, flag := range []bool{true, false} {
		feeds := map[string]*Tensor{"x": spread(-1, 1, 3, 2), "flag": scalarBool(flag)}
		if err := gradientErrorOf(m, feeds, 1e-6, parameters); err != nil {
			t.Errorf("flag %v: %v", flag, err)
		}
	}
}

// TestGradientOfParametersThatOnlyBodiesHold: nothing that the node reads is a parameter, but what its body gives back is its own next input.
func TestGradientOfParametersThatOnlyBodiesHold(t *testing.T) {
	x := []*onnxpb.ValueInfoProto{declared("x", onnx.Double, 2)}
	n := []*onnxpb.TensorProto{initInts("n", nil, 3)}
	body := graph(untyped("i go a"), untyped("go2 a2"), []*onnxpb.TensorProto{doubleInit("w", 2)}, node("Identity", "go", "go2"), node("Mul", "a w", "b"), node("Tanh", "b", "a2"))
	m := buildModel(t, graph(x, untyped("y"), n, node("Loop", "n _ x", "y", graphAttr("body", body))))
	if err := gradientErrorOf(m, map[string]*Tensor{"x": doubles([]int{2}, 0.5, -1)}, 1e-6, tensorsNamed(t, m, "w")); err != nil {
		t.Error(err)
	}
	m = buildModel(t, graph(nil, untyped("y"), append(n, doubleInit("x", 2)), node("Loop", "n _ x", "y", graphAttr("body", body))))
	if err := gradientErrorOf(m, nil, 1e-6, tensorsNamed(t, m, "w")); err != nil {
		t.Errorf("over constants: %v", err)
	}
	f := function("F", "p", "r", nil, node("Loop", "k _ p", "r", graphAttr("body", body)))
	f.Node = append([]*onnxpb.NodeProto{node("Constant", "", "k", tensorAttr("value", initInts("", nil, 2)))}, f.Node...)
	m = buildModel(t, graph(x, untyped("y"), nil, inDomain(node("F", "x", "a"), "test"), inDomain(node("F", "a", "y"), "test")), f)
	if err := gradientErrorOf(m, map[string]*Tensor{"x": doubles([]int{2}, 0.5, -1)}, 1e-6, tensorsNamed(t, m, "w")); err != nil {
		t.Error(err)
	}
}

// doubledProgram is y = tanh(x·w), z = w.
func doubledProgram(t *testing.T) (*Training, map[string]*Tensor) {
	t.Helper()
	m := buildModel(t, graph([]*onnxpb.ValueInfoProto{declared("x", onnx.Double, 2)}, untyped("y k"), []*onnxpb.TensorProto{doubleInit("w", 2)},
		node("Mul", "x w", "a"), node("Tanh", "a", "y"), node("Shape", "a", "k")))
	training, err := CompileTraining(context.Background(), m, m.Graph.Initializers, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return training, map[string]*Tensor{"x": doubles([]int{2}, 0.5, -2)}
}

// TestPasses: what callers may and may not do with a pass.
func TestPasses(t *testing.T) {
	ctx := context.Background()
	training, feeds := doubledProgram(t)
	forward := func() *Pass {
		pass, err := training.Forward(ctx, feeds, PassOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return pass
	}
	d := map[string]*Tensor{"y": doubles([]int{2}, 1, 2)}
	pass := forward()
	if pass.Kept() != 16 { // tanh reads y; Mul reads x, which is a feed
		t.Errorf("%d bytes kept, want the 16 of y", pass.Kept())
	}
	for name, bad := range map[string]map[string]*Tensor{
		"dims":    {"y": doubles([]int{1}, 1)},
		"type":    {"y": f32([]int{2}, 1, 2)},
		"integer": {"k": int64List(1)},
		"unknown": {"q": doubles([]int{2}, 1, 2)},
		"data":    {"y": doubles([]int{2}, 1)},
	} {
		if err := forward().Backward(ctx, bad); err == nil || !strings.Contains(err.Error(), "backward") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	tape := pass.tape
	if err := pass.Backward(ctx, d); err != nil {
		t.Fatal(err)
	}
	if tape.ledger.now != 0 || pass.Peak() != 16+16 { // y and its gradient; then y, Kept, and that of a
		t.Errorf("%d bytes at the end and %d at most, want 0 and 32", tape.ledger.now, pass.Peak())
	}
	once := append([]float64(nil), training.Parameters()[0].Grad.Data.([]float64)...)
	if err := pass.Backward(ctx, d); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("second way back: error %v", err)
	}
	// Gradients add up over passes, also of two that are open at once, until they are forgotten.
	a, b := forward(), forward()
	for _, p := range []*Pass{b, a} {
		if err := p.Backward(ctx, d); err != nil {
			t.Fatal(err)
		}
	}
	for i, g := range training.Parameters()[0].Grad.Data.([]float64) {
		if diff := g - 3*once[i]; diff > 1e-15 || diff < -1e-15 {
			t.Errorf("gradient %d after three passes is %g, after one %g", i, g, once[i])
		}
	}
	training.ZeroGrad()
	if err := forward().Backward(ctx, d); err != nil {
		t.Fatal(err)
	}
	for i, g := range training.Parameters()[0].Grad.Data.([]float64) {
		if g != once[i] {
			t.Errorf("gradient %d after ZeroGrad is %g, was %g", i, g, once[i])
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	pass = forward()
	cancel()
	if err := pass.Backward(cancelled, d); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: error %v", err)
	}
}

// TestUnsupportedGradients: everything without a gradient is named at once, and only what stands between a parameter and an output.
func TestUnsupportedGradients(t *testing.T) {
	m := buildModel(t, graph([]*onnxpb.ValueInfoProto{declared("x", onnx.Float, 4)}, untyped("y z"), []*onnxpb.TensorProto{initFloats("w", []int64{4}, 1, 2, 3, 4), initFloats("s", nil, 1), initFloats("v", nil, 1)},
		node("QuantizeLinear", "x s", "q"), node("DequantizeLinear", "q s", "z"),
		node("Mul", "x w", "a"), node("QuantizeLinear", "a s", "b"), node("DynamicQuantizeLinear", "a", "c d e"), node("Cast", "b", "f", intAttr("to", 1)), node("Mul", "d f", "y")))
	_, err := CompileTraining(context.Background(), m, tensorsNamed(t, m, "w"), Options{})
	var u *UnsupportedError
	if !errors.As(err, &u) || len(u.Counts) != 2 {
		t.Fatalf("error %v, want one about two operators", err)
	}
	for _, op := range []string{"QuantizeLinear", "DynamicQuantizeLinear"} {
		if !strings.Contains(err.Error(), op+": no gradient") {
			t.Errorf("error %v does not name %s", err, op)
		}
	}
	if _, err := CompileTraining(context.Background(), m, tensorsNamed(t, m, "w"), Options{Outputs: []string{"z"}}); err != nil {
		t.Errorf("an output that no parameter reaches: %v", err)
	}
	if _, err := CompileTraining(context.Background(), m, tensorsNamed(t, m, "w", "w"), Options{}); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a parameter given twice: error %v", err)
	}
}

// TestHalfGradients: values of 16 bits have gradients in float32. The oracle is the same graph in float32, which differs by the roundings of the values to 11 bits (8 for
// bfloat16).
func TestHalfGradients(t *testing.T) {
	ctx := context.Background()
	stored := func(name string, typ onnx.DataType, v ...float32) *onnxpb.TensorProto {
		x, err := cast(f32([]int{len(v)}, v...), typ)
		if err != nil {
			t.Fatal(err)
		}
		p := initTensor(name, x)
		if bits, ok := x.Data.([]uint16); ok {
			p.Int32Data = nil
			for _, b := range bits {
				p.Int32Data = append(p.Int32Data, int32(b))
			}
		}
		return p
	}
	gradient := func(typ onnx.DataType) []float32 {
		w := []float32{0.5, -1.25, 2, 0.75, -0.5, 1.5}
		m := buildModel(t, graph([]*onnxpb.ValueInfoProto{declared("x", typ, 2, 3)}, untyped("y"), []*onnxpb.TensorProto{initFloats("w", []int64{3, 2}, w...), stored("v", typ, 0.5, -0.75)},
			node("Cast", "w", "w16", intAttr("to", int64(typ))), node("MatMul", "x w16", "a0"), node("Add", "a0 v", "a"), node("Tanh", "a", "b"), node("Softmax", "b", "c"), node("Mul", "c a", "y")))
		training, err := CompileTraining(ctx, m, m.Graph.Initializers, Options{Variables: []string{"x"}})
		if err != nil {
			t.Fatal(err)
		}
		convert := func(x *Tensor) *Tensor {
			y, err := cast(x, typ)
			if err != nil {
				t.Fatal(err)
			}
			return y
		}
		pass, err := training.Forward(ctx, map[string]*Tensor{"x": convert(f32([]int{2, 3}, 0.5, -0.25, 1, 0.125, 0.75, -0.5))}, PassOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := pass.Backward(ctx, map[string]*Tensor{"y": convert(f32([]int{2, 2}, 1, -2, 0.5, 1.5))}); err != nil {
			t.Fatal(err)
		}
		return slices.Concat(training.Parameters()[0].Grad.Data.([]float32), training.Parameters()[1].Grad.Data.([]float32), pass.InputGradient("x").Data.([]float32))
	}
	want := gradient(onnx.Float)
	for typ, unit := range map[onnx.DataType]float64{onnx.Float16: 1.0 / 2048, onnx.BFloat16: 1.0 / 256} {
		for i, g := range gradient(typ) {
			if diff := float64(g - want[i]); !(math.Abs(diff) <= 8*unit) { // values and gradients are around 1, and eight roundings deep
				t.Errorf("%v: gradient %d is %g, in float %g", typ, i, g, want[i])
			}
		}
	}
}
