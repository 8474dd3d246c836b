package runtime

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

func TestFeedsAreChecked(t *testing.T) {
	m := buildModel(t, graph(append(untyped("w"), declared("x", onnx.Float, -1, 3)), untyped("y"), []*onnxpb.TensorProto{initFloats("w", nil, 2)}, node("Mul", "x w", "y")))
	p := compileModel(t, m, Options{})
	if len(p.Inputs()) != 1 || p.Inputs()[0].Name != "x" {
		t.Fatalf("inputs %v, want x alone", p.Inputs())
	}
	good := f32([]int{1, 3}, 1, 2, 3)
	for _, tc := range []struct {
		name  string
		feeds map[string]*Tensor
		want  string
	}{
		{"missing", nil, `input "x": no value fed`},
		{"unknown", map[string]*Tensor{"x": good, "z": good}, `input "z": not an input of the model (its inputs are "x")`},
		{"initializer", map[string]*Tensor{"x": good, "w": scalar(1)}, `input "w": has an initializer`},
		{"type", map[string]*Tensor{"x": newTensor(onnx.Double, []int{1, 3}, make([]float64, 3))}, "fed, the model declares"},
		{"rank", map[string]*Tensor{"x": f32([]int{3}, 1, 2, 3)}, "rank 1 fed (dims [3]), the model declares rank 2"},
		{"known dim", map[string]*Tensor{"x": f32([]int{1, 2}, 1, 2)}, "dim 1 is 2 in the feed (dims [1 2]), the model declares 3"},
		{"payload", map[string]*Tensor{"x": f32([]int{1, 3}, 1, 2)}, "data has 2 elements, dims [1 3] need 3"},
		{"Go type", map[string]*Tensor{"x": newTensor(onnx.Float, []int{1, 3}, make([]float64, 3))}, "data is []float64"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := p.Run(context.Background(), tc.feeds); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error %v, want one with %q", err, tc.want)
			}
		})
	}
	out, err := p.Run(context.Background(), map[string]*Tensor{"x": good})
	if err != nil {
		t.Fatal(err)
	}
	wantFloats(t, out["y"], []int{1, 3}, 2, 4, 6)
}

func TestOutputsThatNoNodeComputes(t *testing.T) {
	m := buildModel(t, graph([]*onnxpb.ValueInfoProto{declared("x", onnx.Float), declared("unused", onnx.Float)}, untyped("x w c"), []*onnxpb.TensorProto{initFloats("w", nil, 2)},
		node("Constant", "", "c", tensorAttr("value", initFloats("", nil, 5)))))
	out := runFeeds(t, m, map[string]*Tensor{"x": scalar(1), "unused": scalar(0)})
	wantFloats(t, out["x"], []int{}, 1)
	wantFloats(t, out["w"], []int{}, 2)
	wantFloats(t, out["c"], []int{}, 5)
}

func TestEverythingUnsupportedAtOnce(t *testing.T) {
	branch := func(op, out string) *onnxpb.GraphProto { return graph(nil, untyped(out), nil, node(op, "x", out)) }
	m := buildModel(t, graph([]*onnxpb.ValueInfoProto{declared("x", onnx.Float), declared("c", onnx.Bool)}, untyped("y"), nil,
		node("Frobnicate", "x", "a"),
		node("Frobnicate", "a", "b"),
		inDomain(node("Thing", "b", "d"), "test"),
		node("Relu", "d", "e", intAttr("speed", 11)),
		node("If", "c", "f", graphAttr("then_branch", branch("Inner", "p")), graphAttr("else_branch", branch("Neg", "q"))),
		node("Dead", "x", "unread"),
		node("Add", "e f", "y")))
	_, err := Compile(context.Background(), m, Options{})
	var u *UnsupportedError
	if !errors.As(err, &u) {
		t.Fatalf("error %v, want *UnsupportedError", err)
	}
	want := map[string]int{"Frobnicate: operator": 2, "test.Thing: operator": 1, `Relu: attribute "speed"`: 1, "Inner: operator": 1}
	if !reflect.DeepEqual(u.Counts, want) {
		t.Errorf("counts %v, want %v", u.Counts, want)
	}
	if first := u.First["Frobnicate: operator"]; first != m.Graph.Nodes[0].String() {
		t.Errorf("first %q, want %q", first, m.Graph.Nodes[0].String())
	}
}

// TestUnsupportedTypeAtRunTime: where the model declares no type, the runtime learns it from the feed.
func TestUnsupportedTypeAtRunTime(t *testing.T) {
	m := buildModel(t, graph(untyped("x"), untyped("y"), []*onnxpb.TensorProto{initInts("w", []int64{1, 1, 1}, 1), initInts("r", []int64{1, 1, 1}, 1)},
		node("RNN", "x w r", "y", intAttr("hidden_size", 1))))
	_, err := compileModel(t, m, Options{}).Run(context.Background(), map[string]*Tensor{"x": newTensor(onnx.Int64, []int{1, 1, 1}, []int64{1})})
	var u *UnsupportedError
	if !errors.As(err, &u) || u.Counts["RNN: type int64"] != 1 || u.First["RNN: type int64"] != m.Graph.Nodes[0].String() {
		t.Fatalf("error %v, want *UnsupportedError for RNN on int64", err)
	}
}

// TestOverride: the chain that only fed the replaced slot does not run and may even be unsupported; other readers see the old value.
func TestOverride(t *testing.T) {
	m := buildModel(t, graph([]*onnxpb.ValueInfoProto{declared("x", onnx.Float)}, untyped("y z"), []*onnxpb.TensorProto{initFloats("w", nil, 2)},
		node("Frobnicate", "w", "v"),
		node("Mul", "x v", "y"),
		node("Mul", "x w", "z")))
	if _, err := Compile(context.Background(), m, Options{}); err == nil {
		t.Fatal("compiles without the override")
	}
	p := compileModel(t, m, Options{Overrides: []Override{{Node: m.Graph.Nodes[1], Slot: 1, Value: scalar(10)}}})
	out, err := p.Run(context.Background(), map[string]*Tensor{"x": scalar(3)})
	if err != nil {
		t.Fatal(err)
	}
	wantFloats(t, out["y"], []int{}, 30)
	wantFloats(t, out["z"], []int{}, 6)
	other := merged(t).Graph.Nodes[0]
	for _, bad := range []Override{{Node: m.Graph.Nodes[1], Slot: 2, Value: scalar(1)}, {Node: m.Graph.Nodes[1], Slot: 1}, {Node: other, Slot: 1, Value: scalar(1)}, {Slot: 1, Value: scalar(1)}, {Node: m.Graph.Nodes[1], Slot: 1, Value: f32([]int{3}, 1)}} {
		if _, err := Compile(context.Background(), m, Options{Overrides: []Override{bad}}); err == nil || !strings.Contains(err.Error(), "override") {
			t.Errorf("override %+v: error %v", bad, err)
		}
	}
}

func TestObserve(t *testing.T) {
	m := buildModel(t, graph([]*onnxpb.ValueInfoProto{declared("x", onnx.Float)}, untyped("y"), []*onnxpb.TensorProto{initFloats("w", nil, 2)},
		node("Neg", "x", "a"), node("Mul", "a w", "y")))
	seen := map[Observed]*Tensor{}
	want := []Observed{{m.Graph.Nodes[1], 0}, {m.Graph.Nodes[1], 1}}
	p := compileModel(t, m, Options{Observe: want})
	if _, err := p.RunWith(context.Background(), map[string]*Tensor{"x": scalar(3)}, func(o Observed, v *Tensor) { seen[o] = v }); err != nil {
		t.Fatal(err)
	}
	wantFloats(t, seen[want[0]], []int{}, -3)
	wantFloats(t, seen[want[1]], []int{}, 2)
}

// merged is a compact layer in small: two cores merge to a matrix through a chain of constants.
func merged(t *testing.T) *onnx.Model {
	return buildModel(t, graph([]*onnxpb.ValueInfoProto{declared("x", onnx.Float, -1, 2)}, untyped("y"),
		[]*onnxpb.TensorProto{initFloats("a", []int64{2, 1}, 1, 2), initFloats("b", []int64{1, 2}, 3, 4), initInts("shape", []int64{2}, 2, 2)},
		node("MatMul", "a b", "ab"), node("Reshape", "ab shape", "w"), node("MatMul", "x w", "y")))
}

func TestConstantsAreFoldedOnceAndReleased(t *testing.T) {
	m := merged(t)
	p := compileModel(t, m, Options{})
	if n := len(p.main.steps); n != 1 {
		t.Errorf("%d nodes run each time, want the last MatMul alone", n)
	}
	w := p.main.steps[0].in[1].constant
	if w == nil || w.value.Load() != nil {
		t.Fatal("w is not a constant, or is computed before the first run")
	}
	for range 2 {
		out, err := p.Run(context.Background(), map[string]*Tensor{"x": f32([]int{1, 2}, 1, 1)})
		if err != nil {
			t.Fatal(err)
		}
		wantFloats(t, out["y"], []int{1, 2}, 9, 12)
	}
	if w.value.Load() == nil {
		t.Error("the merged matrix is not kept")
	}
	ab := w.fold.step.in[0].constant
	if ab.value.Load() != nil || ab.fold.step.in[0].constant.value.Load() != nil {
		t.Error("the parts of the merged matrix are still held")
	}
}

func TestValuesAreReleasedAfterTheirLastReader(t *testing.T) {
	m := buildModel(t, graph([]*onnxpb.ValueInfoProto{declared("x", onnx.Float), declared("c", onnx.Bool)}, untyped("y"), nil,
		node("Neg", "x", "a"), node("Neg", "a", "b"), node("Abs", "a", "d"),
		node("If", "c", "e", graphAttr("then_branch", graph(nil, untyped("p"), nil, node("Neg", "b", "p"))), graphAttr("else_branch", graph(nil, untyped("q"), nil, node("Identity", "d", "q")))),
		node("Neg", "e", "y")))
	s := compileModel(t, m, Options{}).main
	slot := func(name string) int { return s.names[name].slot }
	want := [][]int{{slot("x")}, nil, {slot("a")}, {slot("c"), slot("b"), slot("d")}, {slot("e")}}
	for k, st := range s.steps {
		got := map[int]bool{}
		for _, r := range st.release {
			got[r] = true
		}
		if len(got) != len(want[k]) {
			t.Errorf("step %d releases %v, want %v", k, st.release, want[k])
		}
		for _, r := range want[k] {
			if !got[r] {
				t.Errorf("step %d releases %v, want %v", k, st.release, want[k])
			}
		}
	}
}

// TestConcurrentRuns is for the race detector as much as for the values: constants are folded by whichever run comes first.
func TestConcurrentRuns(t *testing.T) {
	p := compileModel(t, merged(t), Options{})
	var wg sync.WaitGroup
	for k := range 16 {
		wg.Go(func() {
			v := float32(k)
			out, err := p.Run(context.Background(), map[string]*Tensor{"x": f32([]int{1, 2}, v, v)})
			if err != nil {
				t.Error(err)
				return
			}
			if got := out["y"].Data.([]float32); got[0] != 9*v || got[1] != 12*v {
				t.Errorf("run %d gave %v", k, got)
			}
		})
	}
	wg.Wait()
}

func TestPanicBecomesAnError(t *testing.T) {
	m := buildModel(t, graph([]*onnxpb.ValueInfoProto{declared("x", onnx.Float)}, untyped("y"), nil, node("Neg", "x", "y")))
	p := compileModel(t, m, Options{})
	p.main.steps[0].op = opFunc(func(_ *call, in []*Tensor) ([]*Tensor, error) {
		return []*Tensor{newTensor(onnx.Float, nil, in[0].Data.([]float32)[5:])}, nil
	})
	_, err := p.Run(context.Background(), map[string]*Tensor{"x": scalar(1)})
	var pe *panicError
	if !errors.As(err, &pe) || !strings.Contains(err.Error(), m.Graph.Nodes[0].String()) {
		t.Fatalf("error %v, want one that names the node", err)
	}
}

func TestCancelledBeforeTheFirstNode(t *testing.T) {
	p := compileModel(t, merged(t), Options{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	feeds := map[string]*Tensor{"x": f32([]int{1, 2}, 1, 1)}
	if _, err := p.Run(ctx, feeds); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want %v", err, context.Canceled)
	}
	if _, err := p.Run(context.Background(), feeds); err != nil {
		t.Fatalf("a later run fails: %v", err)
	}
}
