package onnx

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// rawFields cuts a message into its fields with protobuf's own functions, not the package's.
func rawFields(t *testing.T, b []byte) (fields [][]byte) {
	t.Helper()
	for len(b) > 0 {
		_, _, n := protowire.ConsumeField(b)
		if n < 0 {
			t.Fatalf("not a message: %v", protowire.ParseError(n))
		}
		fields = append(fields, b[:n])
		b = b[n:]
	}
	return fields
}

// content is the value of a length-delimited field.
func content(field []byte) []byte {
	_, _, n := protowire.ConsumeTag(field)
	v, _ := protowire.ConsumeBytes(field[n:])
	return v
}

// changes compares two messages field by field. Fields that are the same bytes must come in the same order; the others are returned.
func changes(t *testing.T, old, new []byte) (removed, added [][]byte) {
	t.Helper()
	was, is := rawFields(t, old), rawFields(t, new)
	inNew := map[string]int{}
	for _, f := range is {
		inNew[string(f)]++
	}
	var order []string
	for _, f := range was {
		if inNew[string(f)] > 0 {
			inNew[string(f)]--
			order = append(order, string(f))
		} else {
			removed = append(removed, f)
		}
	}
	next := 0
	for _, f := range is {
		if next < len(order) && string(f) == order[next] {
			next++
		} else {
			added = append(added, f)
		}
	}
	if next != len(order) {
		t.Errorf("%d fields that did not change are out of order", len(order)-next)
	}
	return removed, added
}

// factored replaces input 1 of a node, a constant, by Reshape(MatMul(A, B)).
func factored(ctx context.Context, m *Model, n *Node) (*Patch, error) {
	e := NewEvaluator(m, NewIndex(m), 0)
	typ, dims, err := e.Info(ctx, n.Graph, n.Inputs[1])
	if err != nil {
		return nil, err
	}
	cols := dims[len(dims)-1]
	rows := mustSize(dims) / cols
	p := NewPatch(m)
	a, b, shape, ab, w := p.Fresh("A"), p.Fresh("B"), p.Fresh("shape"), p.Fresh("AB"), p.Fresh("W")
	ramp := func(n int) []float64 {
		return filled(n, func(i int) float64 { return float64(i%7) / 8 })
	}
	for _, t := range []struct {
		name string
		dims []int
	}{{a, []int{rows, 2}}, {b, []int{2, cols}}} {
		v, err := castArray(&Array{Type: Double, Dims: t.dims, Data: ramp(t.dims[0] * t.dims[1])}, typ, true)
		if err != nil {
			return nil, err
		}
		p.AddInitializerArray(n.Graph, t.name, v)
	}
	target := make([]int64, len(dims))
	for k, d := range dims {
		target[k] = int64(d)
	}
	p.AddInitializer(n.Graph, int64sPB(shape, target...))
	for _, add := range []*onnxpb.NodeProto{nodePB("-> MatMul ->"), nodePB("-> Reshape ->")} {
		add.Name = proto.String(p.Fresh("new_" + add.GetOpType()))
		if add.GetOpType() == "MatMul" {
			add.Input, add.Output = []string{a, b}, []string{ab}
		} else {
			add.Input, add.Output = []string{ab, shape}, []string{w}
		}
		p.InsertBefore(n, add)
	}
	p.SetInput(n, 1, w)
	p.SetMetadata("patched", "yes")
	return p, nil
}

// Every recurrent node of the real models whose W is constant gets another W. What the patch did not touch must be the same bytes in the
// same order, at every level, and the views of the new model must say what its bytes say.
func TestPatchLeavesTheRestAlone(t *testing.T) {
	patched, inner, dead := 0, 0, 0
	for _, file := range sharedFiles(t, "models", "model.onnx") {
		name := filepath.Base(filepath.Dir(file))
		m, err := OpenFile(t.Context(), file, OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		e := NewEvaluator(m, NewIndex(m), 0)
		for _, g := range m.Scopes() {
			for _, n := range g.Nodes {
				if n.OpType != "LSTM" && n.OpType != "GRU" && n.OpType != "RNN" {
					continue
				}
				if ok, why := e.Constant(g, n.Inputs[1]); !ok {
					t.Logf("%s: %s: W is not constant: %s", name, n, why)
					continue
				}
				t.Run(fmt.Sprintf("%s/%s", name, n), func(t *testing.T) {
					p, err := factored(t.Context(), m, n)
					if err != nil {
						t.Fatal(err)
					}
					got, err := p.Apply(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					defer got.Close()
					agree(t, got)
					compareLevels(t, m, got, n)
					patched++
					if g.Owner != nil {
						inner++
					}
					if got.Parameters() < m.Parameters() {
						dead++
					}
					now := got.Scopes()[indexOf(m.Scopes(), g)]
					for _, w := range now.Nodes {
						if w.Name == n.Name && w.OpType == n.OpType && w.Outputs[0] == n.Outputs[0] {
							v, err := NewEvaluator(got, NewIndex(got), 0).Eval(t.Context(), now, w.Inputs[1])
							if err != nil {
								t.Fatal(err)
							}
							// Row 1 of A is (2/8, 3/8); column 0 of B is (0, (cols mod 7)/8).
							numbers, _ := numbersOf(v)
							cols := v.Dims[len(v.Dims)-1]
							if x, want := numbers.float(cols), 3.0/8*float64(cols%7)/8; x != want {
								t.Errorf("W' at row 1 is %v, want %v", x, want)
							}
						}
					}
				})
			}
		}
	}
	if patched < 100 || inner < 8 || dead < 50 {
		t.Errorf("%d nodes patched, %d in inner scopes, %d with fewer parameters after", patched, inner, dead)
	}
}

func indexOf(list []*Graph, g *Graph) int {
	for i, x := range list {
		if x == g {
			return i
		}
	}
	return -1
}

// compareLevels walks from the model's message down to the patched node.
func compareLevels(t *testing.T, m, got *Model, n *Node) {
	t.Helper()
	// The scopes around the node, outermost first.
	chain := []*Graph{n.Graph}
	for chain[0].Owner != nil {
		chain = append([]*Graph{chain[0].Owner.Graph}, chain...)
	}
	removed, added := changes(t, encoded(t, m), encoded(t, got))
	if len(removed) != 1 || len(added) != 2 { // the graph; the graph and the metadata
		t.Fatalf("model: %d fields changed, %d new (want 1 and 2)", len(removed), len(added))
	}
	old, new := content(removed[0]), content(added[0])
	scopes, before := got.Scopes(), m.Scopes()
	for depth, g := range chain {
		now := scopes[indexOf(before, g)]
		count := func(g *Graph) int {
			return len(g.Nodes) + len(g.Initializers) + len(g.Inputs) + len(g.Outputs) + len(g.ValueInfos) + len(g.Sparse)
		}
		removed, added = changes(t, old, new)
		last := depth == len(chain)-1
		wantNew := 1 // the node that changed
		if last {
			wantNew += 5 // two nodes, three initializers
			if m.IRVersion < 4 && g.Owner == nil {
				wantNew += 3
			}
		}
		if len(added) != wantNew {
			t.Fatalf("%q: %d new fields (want %d)", g.Path(), len(added), wantNew)
		}
		if want := count(g) - (count(now) - wantNew + 1) + 1; len(removed) != want {
			t.Fatalf("%q: %d fields gone (want %d)", g.Path(), len(removed), want)
		}
		// Of the fields that went, the one that was changed holds the old node.
		changed := n
		if !last {
			changed = chain[depth+1].Owner
		}
		old, new = nil, nil
		for _, f := range removed {
			if string(content(f)) == string(changed.src.raw) {
				old = content(f)
			}
		}
		for _, f := range added {
			if sameNode(t, changed, f) {
				new = content(f)
			}
		}
		if old == nil || new == nil {
			t.Fatalf("%q: the changed node is not found", g.Path())
		}
		removed, added = changes(t, old, new)
		if len(removed) != 1 || len(added) != 1 {
			t.Fatalf("%s: %d fields changed, %d new (want 1 and 1)", changed, len(removed), len(added))
		}
		if last {
			return
		}
		// From the attribute to the graph in it.
		removed, added = changes(t, content(removed[0]), content(added[0]))
		if len(removed) != 1 || len(added) != 1 {
			t.Fatalf("%s: its attribute has %d fields changed, %d new (want 1 and 1)", changed, len(removed), len(added))
		}
		old, new = content(removed[0]), content(added[0])
	}
}

// sameNode says whether a graph's field holds the node, by its outputs.
func sameNode(t *testing.T, n *Node, f []byte) bool {
	var pb onnxpb.NodeProto
	number, _, _ := protowire.ConsumeTag(f)
	if number != 1 || proto.Unmarshal(content(f), &pb) != nil {
		return false
	}
	return fmt.Sprint(pb.Output) == fmt.Sprint(n.Outputs) && pb.GetOpType() == n.OpType
}
