package onnx

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx/onnxpb"
)

func TestConstantSaysWhatIsInTheWay(t *testing.T) {
	type nodes = []*onnxpb.NodeProto
	one := []int64{1}
	inner := graphPB("", "t", nodes{nodePB("V x -> Add -> a"), nodePB("V -> Neg -> n"), nodePB("a -> Neg -> t")})
	loop := graphPB("i cond s", "cond s2", nodes{nodePB("s -> Neg -> s2")})
	pb := modelPB(8, graphPB("x c over", "y", nodes{
		nodePB("W -> Neg -> V"), nodePB("V x -> Add -> sum"), nodePB("sum -> Exp -> e"), nodePB("W -> Foo -> foo"), nodePB("foo -> Neg -> f2"), nodePB("over -> Neg -> o"),
		nodePB("c -> If -> y", graphAttrPB("then_branch", inner), graphAttrPB("else_branch", graphPB("", "x", nil))), nodePB("-> RandomNormal -> r"), nodePB("W -> local:F -> called"),
		nodePB("static -> Shape -> dims"), nodePB("x -> Shape -> unknown"), nodePB("c c V -> Loop -> looped", graphAttrPB("body", loop)),
		nodePB("V -> Split -> p1 p2"), nodePB("V -> TopK -> t1 t2"),
	}, floatsPB("W", one, 1), floatsPB("over", one, 1)), functionPB("F", "p", "q", nodePB("-> Constant -> k", tensorAttrPB("value", floatsPB("", one, 3))), nodePB("p k -> Mul -> q"),
		&onnxpb.NodeProto{OpType: proto.String("Transpose"), Input: []string{"k"}, Output: []string{"turned"}, Attribute: []*onnxpb.AttributeProto{
			{Name: proto.String("perm"), RefAttrName: proto.String("axes"), Type: onnxpb.AttributeProto_INTS.Enum()}}}))
	pb.Functions[0].Attribute = []string{"axes"}
	pb.Graph.Input = append(pb.Graph.Input, valuePB("static", 2, 3))
	m := decodeProto(t, pb)
	if err := Check(m); err != nil {
		t.Fatal(err)
	}
	e := NewEvaluator(m, NewIndex(m), 0)
	then, body, function := m.Graph.Nodes[6].Subgraphs()[0], m.Graph.Nodes[11].Subgraphs()[0], m.Functions[0].Body
	for _, c := range []struct {
		g    *Graph
		name string
		why  string
	}{
		{m.Graph, "W", ""},
		{m.Graph, "V", ""},
		{then, "V", ""},
		{then, "n", ""},
		{m.Graph, "dims", ""},
		{m.Graph, "p2", ""},
		{function, "k", ""},
		{m.Graph, "x", `graph input "x"`},
		{m.Graph, "e", `graph input "x"`},
		{then, "t", `graph input "x"`},
		{m.Graph, "o", `initializer "over", which is a graph input too and may be overridden`},
		{m.Graph, "f2", `graph.node[3] Foo, an operator that is not evaluated`},
		{m.Graph, "y", `graph.node[6] If, an operator that is not evaluated`},
		{m.Graph, "r", `graph.node[7] RandomNormal, an operator that is not evaluated`},
		{m.Graph, "called", `graph.node[8] local.F, a call of a model-local function`},
		{m.Graph, "unknown", `graph input "x"`},
		{m.Graph, "t2", `graph.node[13] TopK, an operator that is not evaluated`},
		{body, "s2", `input "s" of a body of graph.node[11] Loop`},
		{function, "q", `function input "p"`},
		{function, "turned", `attribute "perm" of function local.F.node[2] Transpose, which each call of the function sets`},
		{m.Graph, "nowhere", `nothing defines "nowhere"`},
	} {
		for range 2 { // the second time from memory
			ok, why := e.Constant(c.g, c.name)
			if ok != (c.why == "") || why != c.why {
				t.Errorf("Constant(%q, %q) = %v, %q; want %q", c.g.Path(), c.name, ok, why, c.why)
			}
		}
		if c.why != "" {
			var no *UnsupportedError
			if _, err := e.Eval(t.Context(), c.g, c.name); !errors.As(err, &no) || !strings.Contains(err.Error(), c.why) {
				t.Errorf("Eval(%q): %v, want an UnsupportedError with %q", c.name, err, c.why)
			}
			if s := e.Sources(c.g, c.name); s != nil {
				t.Errorf("Sources(%q) = %v", c.name, s)
			}
		}
	}
	if a, err := e.Eval(t.Context(), m.Graph, "dims"); err != nil || !reflect.DeepEqual(a.Data, []int64{2, 3}) {
		t.Errorf("dims: %v, %v", a, err)
	}
}

// The reference computes with plain loops what the nodes of a compact model say: R and L merged from four cores.
func TestEvalMergesCores(t *testing.T) {
	r := []int{2, 3, 2, 4} // r_0 … r_3, r_4 = r_0
	n := []int{3, 2, 4, 5} // two input modes, two output modes
	core := make([][]float32, 4)
	var inits []*onnxpb.TensorProto
	for k := range core {
		dims := []int64{int64(r[k]), int64(n[k]), int64(r[(k+1)%4])}
		core[k] = filled(int(dims[0]*dims[1]*dims[2]), func(i int) float32 { return float32((i*7+k*3)%11-5) / 4 })
		inits = append(inits, floatsPB(fmt.Sprintf("G%d", k), dims, core[k]...))
	}
	at := func(k, a, i, b int) float64 { return float64(core[k][(a*n[k]+i)*r[(k+1)%4]+b]) }
	inits = append(inits, int64sPB("s0", -1, 3), int64sPB("s1", 3, -1), int64sPB("s2", 2, 6, 2), int64sPB("s3", 6, 4), int64sPB("t0", 8, 4), int64sPB("t1", 4, 10), int64sPB("t2", 2, 20, 2), int64sPB("t3", 20, -1))
	pb := modelPB(8, graphPB("x", "R L", []*onnxpb.NodeProto{
		nodePB("G0 s0 -> Reshape -> a0"), nodePB("G1 s1 -> Reshape -> a1"), nodePB("a0 a1 -> MatMul -> a2"), nodePB("a2 s2 -> Reshape -> a3"), nodePB("a3 -> Transpose -> a4", intsPB("perm", 1, 0, 2)), nodePB("a4 s3 -> Reshape -> R"),
		nodePB("G2 t0 -> Reshape -> b0"), nodePB("G3 t1 -> Reshape -> b1"), nodePB("b0 b1 -> MatMul -> b2"), nodePB("b2 t2 -> Reshape -> b3"), nodePB("b3 -> Transpose -> b4", intsPB("perm", 1, 2, 0)), nodePB("b4 t3 -> Reshape -> L"),
	}, inits...))
	m := decodeProto(t, pb)
	e := NewEvaluator(m, NewIndex(m), 0)
	sum := func(first, a, i, j, b int) (s float64) { // Σ_c G_first[a,i,c]·G_first+1[c,j,b]
		for c := range r[first+1] {
			s += at(first, a, i, c) * at(first+1, c, j, b)
		}
		return s
	}
	for _, c := range []struct {
		name  string
		dims  []int
		value func(k int) float64
	}{
		{"R", []int{6, 4}, func(k int) float64 { row, col := k/4, k%4; return sum(0, col/2, row/2, row%2, col%2) }},
		{"L", []int{20, 4}, func(k int) float64 { row, col := k/4, k%4; return sum(2, col%2, row/5, row%5, col/2) }},
	} {
		a, err := e.Eval(t.Context(), m.Graph, c.name)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(a.Dims, c.dims) {
			t.Fatalf("%s has shape %v, want %v", c.name, a.Dims, c.dims)
		}
		for k, v := range a.Data.([]float32) {
			if v != float32(c.value(k)) {
				t.Errorf("%s[%d] = %v, want %v", c.name, k, v, c.value(k))
			}
		}
		if s := e.Sources(m.Graph, c.name); len(s) != 6 {
			t.Errorf("%s has %d sources, want 2 cores and 4 shapes", c.name, len(s))
		}
	}
}

// PyTorch's gates are i, f, g, o; exporters reorder them to i, o, f, g by Slice and Concat inside If branches, over weights of the outer
// scope. The reference takes the blocks from the initializer directly.
func TestEvalReordersGatesInInnerScopes(t *testing.T) {
	for _, file := range sharedFiles(t, "models/visible", "model.onnx") {
		if !strings.Contains(file, "silero_vad_16k_op15") && !strings.Contains(file, "silero_vad_v6") {
			continue
		}
		m, err := OpenFile(t.Context(), file, OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		ix := NewIndex(m)
		e := NewEvaluator(m, ix, 0)
		sites := 0
		for _, g := range m.Scopes() {
			for _, n := range g.Nodes {
				if n.OpType != "LSTM" {
					continue
				}
				sites++
				for slot := 1; slot <= 2; slot++ {
					got, err := e.Eval(t.Context(), g, n.Inputs[slot])
					if err != nil {
						t.Fatal(err)
					}
					var dense *Tensor
					for _, s := range e.Sources(g, n.Inputs[slot]) {
						if s.Type == Float && len(s.Dims) == 2 {
							dense = s
						}
					}
					src, err := dense.Array()
					if err != nil {
						t.Fatal(err)
					}
					w := src.Data.([]float32)
					block := len(w) / 4
					var want []float32
					for _, gate := range []int{0, 3, 1, 2} {
						want = append(want, w[gate*block:(gate+1)*block]...)
					}
					if fmt.Sprint(got.Dims) != "[1 512 128]" || !reflect.DeepEqual(got.Data, want) {
						t.Errorf("%s input %d: shape %v, or other values", n, slot, got.Dims)
					}
				}
			}
		}
		if sites == 0 {
			t.Errorf("%s: no LSTM", file)
		}
	}
}

// Where Constant says yes, Info and Eval agree: on every input of every node of the real models.
func TestInfoAgreesWithEval(t *testing.T) {
	values := 0
	for _, file := range sharedFiles(t, "models", "model.onnx") {
		m, err := OpenFile(t.Context(), file, OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		e := NewEvaluator(m, NewIndex(m), 0)
		seen := map[valueKey]bool{}
		for _, g := range m.Scopes() {
			for _, n := range g.Nodes {
				for _, name := range n.Inputs {
					if ok, _ := e.Constant(g, name); !ok || seen[valueKey{g, name}] {
						continue
					}
					seen[valueKey{g, name}] = true
					typ, dims, err := e.Info(t.Context(), g, name)
					if err != nil {
						t.Errorf("%s: %v", file, err)
						continue
					}
					a, err := e.Eval(t.Context(), g, name)
					if err != nil {
						t.Errorf("%s: %v", file, err)
						continue
					}
					values++
					if a.Type != typ || fmt.Sprint(a.Dims) != fmt.Sprint(dims) || a.Check() != nil {
						t.Errorf("%s: %s %q: Info says %s %v, Eval %s %v (%v)", file, n, name, typ, dims, a.Type, a.Dims, a.Check())
					}
				}
			}
		}
	}
	if values < 2000 {
		t.Errorf("only %d constants", values)
	}
}

// The weight's payload lies in a data file that is not there: whatever reads it fails.
func TestInfoReadsNoWeights(t *testing.T) {
	weight := &onnxpb.TensorProto{Name: proto.String("W"), DataType: proto.Int32(int32(Float16)), Dims: []int64{512, 40}, DataLocation: onnxpb.TensorProto_EXTERNAL.Enum(),
		ExternalData: []*onnxpb.StringStringEntryProto{{Key: proto.String("location"), Value: proto.String("missing.data")}, {Key: proto.String("offset"), Value: proto.String("0")}, {Key: proto.String("length"), Value: proto.String("40960")}}}
	pb := modelPB(8, graphPB("x", "x", []*onnxpb.NodeProto{
		nodePB("W from to axes -> Slice -> first"), nodePB("W to end axes -> Slice -> rest"), nodePB("rest first -> Concat -> C", intPB("axis", 0)), nodePB("C -> Cast -> F", intPB("to", int64(Float))), nodePB("F axes -> Unsqueeze -> U"),
		nodePB("U -> Shape -> S"), nodePB("F S -> Reshape -> back"), nodePB("back perm -> MatMul -> M"),
	}, weight, int64sPB("from", 0), int64sPB("to", 128), int64sPB("end", 1<<40), int64sPB("axes", 0), floatsPB("perm", []int64{40, 2}, make([]float32, 80)...)))
	data, err := proto.Marshal(pb)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := OpenFile(t.Context(), path, OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	e := NewEvaluator(m, NewIndex(m), 0)
	for name, want := range map[string]string{"W": "float16 [512 40]", "C": "float16 [512 40]", "U": "float [1 512 40]", "S": "int64 [3]", "back": "float [1 512 40]", "M": "float [1 512 2]"} {
		typ, dims, err := e.Info(t.Context(), m.Graph, name)
		if err != nil || fmt.Sprint(typ, dims) != want {
			t.Errorf("Info(%q) = %s %v, %v; want %s", name, typ, dims, err, want)
		}
	}
	if a, err := e.Eval(t.Context(), m.Graph, "S"); err != nil || !reflect.DeepEqual(a.Data, []int64{1, 512, 40}) {
		t.Errorf("the shape of a weight: %v, %v", a, err)
	}
	if _, err := e.Eval(t.Context(), m.Graph, "C"); err == nil {
		t.Error("the weight was evaluated without its data")
	}
}

func TestEvalIsBounded(t *testing.T) {
	pb := modelPB(8, graphPB("x", "x", []*onnxpb.NodeProto{
		nodePB("W big -> Expand -> huge"), nodePB("big -> ConstantOfShape -> filled"), nodePB("W big -> Tile -> tiled"), nodePB("start limit delta -> Range -> range"),
		nodePB("big big -> Concat -> dims", intPB("axis", 0)), nodePB("dims -> ConstantOfShape -> filled2"), nodePB("filled -> Shape -> asked"),
		nodePB("tall -> ConstantOfShape -> A"), nodePB("wide -> ConstantOfShape -> B"), nodePB("A B -> MatMul -> slow"), nodePB("zero zero -> Div -> never"), nodePB("W six -> Reshape -> unfit"),
	}, floatsPB("W", []int64{1}, 1), int64sPB("big", 1<<40), int64sPB("zero", 0), int64sPB("tall", 1500, 20000), int64sPB("wide", 20000, 1500), int64sPB("six", 6),
		&onnxpb.TensorProto{Name: proto.String("start"), DataType: proto.Int32(int32(Int64)), Int64Data: []int64{0}},
		&onnxpb.TensorProto{Name: proto.String("limit"), DataType: proto.Int32(int32(Int64)), Int64Data: []int64{1 << 62}},
		&onnxpb.TensorProto{Name: proto.String("delta"), DataType: proto.Int32(int32(Int64)), Int64Data: []int64{1}}))
	m := decodeProto(t, pb)
	e := NewEvaluator(m, NewIndex(m), 0)
	for _, name := range []string{"huge", "filled", "tiled", "range", "slow"} {
		var no *UnsupportedError
		if _, err := e.Eval(t.Context(), m.Graph, name); !errors.As(err, &no) {
			t.Errorf("%s: %v, want an UnsupportedError", name, err)
		}
	}
	for name, want := range map[string]string{"filled2": "more elements than memory", "never": "division by zero", "unfit": "does not fit target [6]"} {
		var format *FormatError
		if _, err := e.Eval(t.Context(), m.Graph, name); !errors.As(err, &format) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want a FormatError with %q", name, err, want)
		}
	}
	if a, err := e.Eval(t.Context(), m.Graph, "asked"); err != nil || !reflect.DeepEqual(a.Data, []int64{1 << 40}) {
		t.Errorf("the shape of what is never filled: %v, %v", a, err)
	}
	small := NewEvaluator(m, NewIndex(m), 16)
	if _, err := small.Eval(t.Context(), m.Graph, "dims"); err != nil {
		t.Errorf("16 bytes: %v", err)
	}
	if _, err := small.Eval(t.Context(), m.Graph, "never"); err == nil || strings.Contains(err.Error(), "division") {
		t.Errorf("8 bytes beyond the limit: %v", err)
	}
}

func TestEvalRemembersAndStops(t *testing.T) {
	pb := modelPB(8, graphPB("x", "x", []*onnxpb.NodeProto{nodePB("W -> Neg -> V"), nodePB("V -> Neg -> U")}, floatsPB("W", []int64{1}, 1)))
	m := decodeProto(t, pb)
	e := NewEvaluator(m, NewIndex(m), 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Eval(ctx, m.Graph, "U"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	v, err := e.Eval(t.Context(), m.Graph, "V")
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := e.Eval(t.Context(), m.Graph, "V"); again != v {
		t.Error("V was computed twice")
	}
	if u, err := e.Eval(t.Context(), m.Graph, "U"); err != nil || !reflect.DeepEqual(u.Data, []float32{1}) {
		t.Errorf("U = %v, %v", u, err)
	}
}

// One walk decides for every value of a chain, or asking about each of them would take quadratic time.
func TestConstantRemembersWholeChains(t *testing.T) {
	for _, from := range []string{"x", "W"} {
		nodes := []*onnxpb.NodeProto{nodePB(from + " -> Neg -> v0")}
		for i := range 50 {
			nodes = append(nodes, nodePB(fmt.Sprintf("v%d -> Neg -> v%d", i, i+1)))
		}
		m := decodeProto(t, modelPB(8, graphPB("x", "x", nodes, floatsPB("W", []int64{1}, 5))))
		e := NewEvaluator(m, NewIndex(m), 0)
		ok, _ := e.Constant(m.Graph, "v50")
		if ok != (from == "W") {
			t.Errorf("a chain from %s: %v", from, ok)
		}
		for i := range 51 {
			if why, known := e.known[valueKey{m.Graph, fmt.Sprint("v", i)}]; !known || (why == "") != ok {
				t.Errorf("a chain from %s: v%d: %v, %q", from, i, known, why)
			}
		}
	}
}

// A chain as long as the file allows must not exhaust the stack.
func TestEvalOfLongChains(t *testing.T) {
	const n = 50000
	nodes := make([]*onnxpb.NodeProto, n)
	for i := range nodes {
		nodes[i] = &onnxpb.NodeProto{OpType: proto.String("Identity"), Input: []string{fmt.Sprint("v", i)}, Output: []string{fmt.Sprint("v", i+1)}}
	}
	m := decodeProto(t, modelPB(8, graphPB("x", "x", nodes, floatsPB("v0", []int64{1}, 5))))
	e := NewEvaluator(m, NewIndex(m), 0)
	last := fmt.Sprint("v", n)
	if ok, why := e.Constant(m.Graph, last); !ok {
		t.Fatal(why)
	}
	if a, err := e.Eval(t.Context(), m.Graph, last); err != nil || !reflect.DeepEqual(a.Data, []float32{5}) {
		t.Errorf("%v, %v", a, err)
	}
	p := NewPatch(m)
	p.SetInput(m.Graph.Nodes[n-1], 0, "x")
	patched, err := p.Apply(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(patched.Graph.Nodes) != n { // nothing of it reaches an output: it was dead before
		t.Errorf("%d nodes are left", len(patched.Graph.Nodes))
	}
}
