package onnx

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// seedModels calls add with small models: hand-built ones, and the node tests where they are present.
func seedModels(f *testing.F, add func(data []byte)) {
	type nodes = []*onnxpb.NodeProto
	one := []int64{1}
	then := graphPB("", "a", nodes{nodePB("W -> Neg -> V"), nodePB("x V -> Add -> a")}, floatsPB("k", one, 1))
	other := graphPB("", "b", nodes{nodePB("x k2 -> Sub -> b")})
	for _, pb := range []*onnxpb.ModelProto{
		modelPB(8, graphPB("x c", "y", nodes{nodePB("c -> If -> y", graphAttrPB("then_branch", then), graphAttrPB("else_branch", other))}, floatsPB("W", one, 1), floatsPB("k2", one, 2))),
		modelPB(3, graphPB("x W", "y", nodes{nodePB("W s -> Reshape -> V"), nodePB("x V -> Add -> y")}, floatsPB("W", []int64{4}, 1, 2, 3, 4), int64sPB("s", 2, -1))),
		modelPB(8, graphPB("x", "y", nodes{nodePB("x -> local:F -> y")}), functionPB("F", "p", "q", nodePB("-> Constant -> w", tensorAttrPB("value", floatsPB("w", one, 3))), nodePB("p w -> Mul -> q"))),
		modelPB(8, graphPB("x", "y", nodes{
			nodePB("W a b c d -> Slice -> s"), nodePB("s s -> Concat -> t", intPB("axis", 0)), nodePB("t -> Transpose -> u", intsPB("perm", 1, 0)), nodePB("t u -> MatMul -> v"), nodePB("v -> Split -> p q", intPB("axis", 0)),
			nodePB("q -> Shape -> r"), nodePB("q r -> Expand -> z"), nodePB("z r -> Tile -> zz"), nodePB("zz -> Cast -> h", intPB("to", int64(Float16))), nodePB("h x -> Add -> y"), nodePB("a d -> ScatterND -> other"),
			nodePB("W a -> Gather -> g"), nodePB("W pads -> Pad -> padded"), nodePB("W -> ReduceSum -> sum"), nodePB("a b d -> Range -> ranged"), nodePB("W W W -> Gemm -> gemm", intPB("transB", 1)), nodePB("W -> Flatten -> flat"),
		}, floatsPB("W", []int64{3, 2}, 1, 2, 3, 4, 5, 6), int64sPB("a", 0), int64sPB("b", 2), int64sPB("c", 0), int64sPB("d", 1), int64sPB("pads", 1, 0, 0, 1))),
	} {
		data, err := proto.Marshal(pb)
		if err != nil {
			f.Fatal(err)
		}
		add(data)
	}
	files, _ := filepath.Glob(filepath.Join("..", "..", "shared", "onnx-node", "*", "model.onnx"))
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err == nil && len(data) < 2048 {
			add(data)
		}
	}
}

// FuzzEval evaluates every value of a model that is said to be constant: no panic, and Info agrees with Eval.
func FuzzEval(f *testing.F) {
	seedModels(f, func(data []byte) { f.Add(data) })
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := Decode("fuzz.onnx", data); err == nil {
			evalAll(t, m)
		}
	})
}

// evalAll evaluates the first values of a model.
func evalAll(t *testing.T, m *Model) {
	sound := Check(m) == nil
	e := NewEvaluator(m, NewIndex(m), 1<<18)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	values := 0
	for _, g := range m.Scopes() {
		for _, n := range g.Nodes {
			for _, name := range n.Outputs {
				if ok, _ := e.Constant(g, name); !ok || values == 100 {
					continue
				}
				values++
				typ, dims, infoErr := e.Info(ctx, g, name)
				a, err := e.Eval(ctx, g, name)
				if ctx.Err() != nil {
					t.Fatalf("%s %q takes too long", n, name)
				}
				if err != nil {
					continue
				}
				if infoErr != nil {
					t.Fatalf("%s %q: Info failed where Eval did not: %v", n, name, infoErr)
				}
				if err := a.Check(); err != nil {
					t.Fatalf("%s %q: %v", n, name, err)
				}
				if sound && (typ != a.Type || fmt.Sprint(dims) != fmt.Sprint(a.Dims)) {
					t.Fatalf("%s %q: Info says %s %v, Eval %s %v", n, name, typ, dims, a.Type, a.Dims)
				}
			}
		}
	}
}

// FuzzEvalChains reads its argument as a program: the opset, then six bytes for each node, which name the operator, four inputs among
// the values so far, and two attributes.
func FuzzEvalChains(f *testing.F) {
	for k := range byte(60) {
		f.Add([]byte{17, k, 1, 4, 5, 0, 0, k, 0, 4, 5, 6, k, k + 1, 7, 8, 4, 0, 2 * k, 3 * k, 2, 3, 4, 5, k})
	}
	var ops []string
	for op := range operators {
		ops = append(ops, op)
	}
	slices.Sort(ops)
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) < 7 || len(program) > 200 {
			return
		}
		pb := modelPB(8, graphPB("x", "x", nil,
			floatsPB("f", []int64{2, 3}, 1, -2, 3, 4, 5, 6), floatsPB("f1", []int64{3}, 1, 0, 2), floatsPB("f3", []int64{1, 3, 2}, 6, 5, 4, 3, 2, 1), floatsPB("none", []int64{0, 3}),
			int64sPB("i", 1, 2), int64sPB("i0", 0), int64sPB("i3", 2, -1, 3), int64sPB("empty"), int64sPB("big", 1<<40, -1<<62),
			&onnxpb.TensorProto{Name: proto.String("s"), DataType: proto.Int32(int32(Int64)), Int64Data: []int64{2}},
			&onnxpb.TensorProto{Name: proto.String("b"), DataType: proto.Int32(int32(Bool)), Dims: []int64{3}, Int32Data: []int32{1, 0, 1}},
			&onnxpb.TensorProto{Name: proto.String("h"), DataType: proto.Int32(int32(Float16)), Dims: []int64{2, 3}, Int32Data: []int32{1, 0x3c00, 0x7c00, 0xbc00, 0x7e00, 3}},
			&onnxpb.TensorProto{Name: proto.String("q"), DataType: proto.Int32(int32(Int8)), Dims: []int64{2, 3}, Int32Data: []int32{-128, 127, 0, 1, 2, 3}},
			&onnxpb.TensorProto{Name: proto.String("u"), DataType: proto.Int32(int32(Uint64)), Dims: []int64{3}, Uint64Data: []uint64{1, 1 << 63, 0}},
			&onnxpb.TensorProto{Name: proto.String("str"), DataType: proto.Int32(int32(String)), Dims: []int64{3}, StringData: [][]byte{{'a'}, {'b'}, {}}}))
		pb.OpsetImport[0].Version = proto.Int64(int64(program[0])%26 + 1)
		var values []string
		for _, init := range pb.Graph.Initializer {
			values = append(values, init.GetName())
		}
		for program = program[1:]; len(program) >= 6; program = program[6:] {
			n := &onnxpb.NodeProto{OpType: proto.String(ops[int(program[0])%len(ops)])}
			for _, b := range program[1:5] {
				if b == 255 {
					n.Input = append(n.Input, "")
				} else if b < 200 {
					n.Input = append(n.Input, values[int(b)%len(values)])
				}
			}
			for _, b := range []byte{program[5] & 15, program[5] >> 4} {
				if a := fuzzAttribute(b, int64(program[3]%8)-3, int64(program[4])); a != nil {
					n.Attribute = append(n.Attribute, a)
				}
			}
			for range 1 + program[5]%3 {
				n.Output = append(n.Output, fmt.Sprint("v", len(values)))
				values = append(values, n.Output[len(n.Output)-1])
			}
			pb.Graph.Node = append(pb.Graph.Node, n)
		}
		if m, err := FromProto("fuzz.onnx", pb); err == nil { // attributes may clash
			evalAll(t, m)
		}
	})
}

func fuzzAttribute(kind byte, small, wide int64) *onnxpb.AttributeProto {
	switch kind {
	case 1:
		return intPB("axis", small)
	case 2:
		return intsPB("axes", small)
	case 3:
		return intsPB("perm", small, 1-small)
	case 4:
		return intPB("to", wide%28)
	case 5:
		return intPB("keepdims", 0)
	case 6:
		return intsPB("starts", small, wide)
	case 7:
		return intsPB("ends", wide, small)
	case 8:
		return intsPB("pads", small, 0, wide, 1)
	case 9:
		return intsPB("split", small, wide)
	case 10:
		return intPB("transB", 1)
	case 11:
		return &onnxpb.AttributeProto{Name: proto.String("mode"), Type: onnxpb.AttributeProto_STRING.Enum(), S: []byte([]string{"edge", "reflect", "wrap", "?"}[wide%4])}
	case 12:
		return tensorAttrPB("value", floatsPB("", []int64{1}, float32(small)))
	case 13:
		return intPB("block_size", wide)
	case 14:
		return intPB("start", small)
	case 15:
		return intPB("batch_dims", small)
	}
	return nil
}

// FuzzPatch makes a few edits, chosen by the second argument, on a model: either an error, or a sound model that is what its bytes say.
// The old model never changes.
func FuzzPatch(f *testing.F) {
	k := byte(0)
	seedModels(f, func(data []byte) {
		f.Add(data, []byte{k % 8, 0, 1, 2, (k + 1) % 8, 1, 0, 3, (k + 3) % 8, 2, 1, 4})
		k++
	})
	f.Fuzz(func(t *testing.T, data, edits []byte) {
		m, err := Decode("fuzz.onnx", data)
		if err != nil {
			return
		}
		before := encoded(t, m)
		p := NewPatch(m)
		scopes := m.Scopes()
		for ; len(edits) >= 4; edits = edits[4:] {
			g := scopes[int(edits[1])%len(scopes)]
			name := p.Fresh("new")
			var existing []string
			for _, n := range g.Nodes {
				existing = append(append(existing, n.Inputs...), n.Outputs...)
			}
			some := "x"
			if len(existing) > 0 {
				some = existing[int(edits[3])%len(existing)]
			}
			added := &onnxpb.NodeProto{OpType: proto.String("Neg"), Input: []string{some}, Output: []string{name}}
			var at *Node
			if len(g.Nodes) > 0 {
				at = g.Nodes[int(edits[2])%len(g.Nodes)]
			}
			switch edits[0] % 8 {
			case 0:
				p.AddInitializer(g, floatsPB(name, []int64{1}, 1))
				some = name
				fallthrough
			case 1:
				if at != nil {
					p.SetInput(at, int(edits[3])%5, some)
				}
			case 2:
				p.Prepend(g, added)
			case 3:
				if at != nil {
					p.InsertBefore(at, added)
					p.SetInput(at, 0, name)
				}
			case 4:
				if at != nil {
					p.RemoveNode(at)
				}
			case 5:
				p.AddInitializerArray(g, name, &Array{Type: Int64, Dims: []int{2}, Data: []int64{1, 2}})
			case 6:
				p.SetMetadata(fmt.Sprint("k", edits[2]%3), fmt.Sprint(edits[3]%2))
			case 7:
				if len(g.Initializers) > 0 {
					tensor := g.Initializers[int(edits[2])%len(g.Initializers)]
					if a, err := tensor.Array(); err == nil {
						p.ReplaceInitializer(tensor, a)
					}
				}
			}
		}
		patched, err := p.Apply(t.Context())
		if !bytes.Equal(encoded(t, m), before) {
			t.Fatal("the old model changed")
		}
		if err != nil {
			return
		}
		if err := Check(patched); err != nil {
			t.Fatal(err)
		}
		agree(t, patched)
	})
}
