package onnx

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// listed shows a model's nodes as text, inner scopes in brackets after their node.
func listed(g *Graph) string {
	var parts []string
	for _, t := range g.Initializers {
		parts = append(parts, "="+t.Name)
	}
	for _, n := range g.Nodes {
		s := n.OpType + "(" + strings.Join(n.Inputs, ",") + ")" + strings.Join(n.Outputs, ",")
		for _, body := range n.Subgraphs() {
			s += "[" + listed(body) + "]"
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, " ")
}

func TestPatch(t *testing.T) {
	type nodes = []*onnxpb.NodeProto
	one := []int64{1}
	simple := func() *onnxpb.ModelProto {
		return modelPB(8, graphPB("x", "y", nodes{
			nodePB("W -> Identity -> V"), nodePB("D -> Neg -> never"), nodePB("x V -> Add -> y"),
		}, floatsPB("W", one, 1), floatsPB("D", one, 2)))
	}
	branches := func() *onnxpb.ModelProto {
		then := graphPB("", "a", nodes{nodePB("W -> Identity -> V"), nodePB("x V -> Add -> a")})
		other := graphPB("", "b", nodes{nodePB("x W2 -> Sub -> b")})
		return modelPB(8, graphPB("x c", "y", nodes{nodePB("c -> If -> y", graphAttrPB("then_branch", then), graphAttrPB("else_branch", other))},
			floatsPB("W", one, 1), floatsPB("W2", one, 2)))
	}
	called := func() *onnxpb.ModelProto {
		return modelPB(8, graphPB("x", "y", nodes{nodePB("x -> local:Scale -> y")}),
			functionPB("Scale", "p", "q", nodePB("-> Constant -> w", tensorAttrPB("value", floatsPB("w", one, 3))), nodePB("p w -> Mul -> q")))
	}
	ir3 := func() *onnxpb.ModelProto {
		pb := modelPB(3, graphPB("x W", "y", nodes{nodePB("x W -> Add -> y")}, floatsPB("W", one, 1)))
		return pb
	}
	body := func(m *Model, k int) *Graph { return m.Graph.Nodes[0].Subgraphs()[k] }
	for _, c := range []struct {
		name  string
		model *onnxpb.ModelProto
		edit  func(p *Patch, m *Model)
		show  func(m *Model) string // default: the main graph
		want  string
	}{
		{"a node gives the value of a removed initializer", simple(), func(p *Patch, m *Model) {
			p.RemoveInitializer(m.Graph.Initializers[0])
			p.AddInitializer(m.Graph, floatsPB("q", one, 1))
			p.Prepend(m.Graph, nodePB("q -> Neg -> W"))
		}, nil, "=D =q Neg(q)W Identity(W)V Neg(D)never Add(x,V)y"},
		{"the same before IR 4", ir3(), func(p *Patch, m *Model) {
			p.RemoveInitializer(m.Graph.Initializers[0])
			p.AddInitializer(m.Graph, floatsPB("q", one, 1))
			p.Prepend(m.Graph, nodePB("q -> Neg -> W"))
		}, func(m *Model) string {
			return listed(m.Graph) + " inputs " + m.Graph.Inputs[0].Name + " " + m.Graph.Inputs[1].Name
		}, "=q Neg(q)W Add(x,W)y inputs x q"},
		{"nothing", simple(), func(*Patch, *Model) {}, nil, "=W =D Identity(W)V Neg(D)never Add(x,V)y"},
		{"the chain that fed the input goes, what was dead before stays", simple(), func(p *Patch, m *Model) {
			p.AddInitializer(m.Graph, floatsPB("N", one, 5))
			p.SetInput(m.Graph.Nodes[2], 1, "N")
		}, nil, "=D =N Neg(D)never Add(x,N)y"},
		{"what a dead node reads stays", simple(), func(p *Patch, m *Model) {
			p.SetInput(m.Graph.Nodes[1], 0, "V")
			p.SetInput(m.Graph.Nodes[2], 1, "x")
		}, nil, "=W =D Identity(W)V Neg(V)never Add(x,x)y"},
		{"insert in order", simple(), func(p *Patch, m *Model) {
			at := m.Graph.Nodes[2]
			p.InsertBefore(at, nodePB("V -> Neg -> v1"))
			p.InsertBefore(at, nodePB("v1 -> Abs -> v2"))
			p.Prepend(m.Graph, nodePB("x -> Exp -> x1"))
			p.Prepend(m.Graph, nodePB("x1 -> Log -> x2"))
			p.SetInput(at, 1, "v2")
			p.SetInput(at, 0, "x2")
		}, nil, "=W =D Exp(x)x1 Log(x1)x2 Identity(W)V Neg(D)never Neg(V)v1 Abs(v1)v2 Add(x2,v2)y"},
		{"remove a node", simple(), func(p *Patch, m *Model) { p.RemoveNode(m.Graph.Nodes[1]) }, nil, "=W =D Identity(W)V Add(x,V)y"},
		{"fewer outputs", func() *onnxpb.ModelProto {
			pb := modelPB(8, graphPB("x", "y", nodes{nodePB("x -> LSTM -> y yh yc")}))
			pb.Graph.ValueInfo = []*onnxpb.ValueInfoProto{valuePB("yh", 1), valuePB("yc", 1)}
			return pb
		}(), func(p *Patch, m *Model) {
			p.SetInput(m.Graph.Nodes[0], 2, "x")
			p.KeepOutputs(m.Graph.Nodes[0], 2)
		}, func(m *Model) string {
			s := listed(m.Graph)
			for _, v := range m.Graph.ValueInfos {
				s += " " + v.Name
			}
			return s
		}, "LSTM(x,,x)y,yh yh"},
		{"all outputs", simple(), func(p *Patch, m *Model) { p.KeepOutputs(m.Graph.Nodes[2], 1) }, nil, "=W =D Identity(W)V Neg(D)never Add(x,V)y"},
		{"a slot beyond the end", simple(), func(p *Patch, m *Model) { p.SetInput(m.Graph.Nodes[2], 3, "V") }, nil, "=W =D Identity(W)V Neg(D)never Add(x,V,,V)y"},
		{"an outer initializer that only a branch read", branches(), func(p *Patch, m *Model) {
			g := body(m, 0)
			p.AddInitializer(g, floatsPB("inner", one, 7))
			p.SetInput(g.Nodes[1], 1, "inner")
		}, nil, "=W2 If(c)y[=inner Add(x,inner)a][Sub(x,W2)b]"},
		{"an outer initializer that another branch reads", branches(), func(p *Patch, m *Model) {
			p.SetInput(body(m, 1).Nodes[0], 1, "W")
			p.SetInput(body(m, 0).Nodes[1], 1, "x")
		}, nil, "=W If(c)y[Add(x,x)a][Sub(x,W)b]"},
		{"a function takes constants", called(), func(p *Patch, m *Model) {
			f := m.Functions[0].Body
			p.AddInitializer(f, floatsPB("n", one, 4))
			p.AddInitializerArray(f, "k", &Array{Type: Float, Dims: []int{1}, Data: []float32{6}})
			p.Prepend(f, nodePB("n k -> Add -> s"))
			p.SetInput(f.Nodes[1], 1, "s")
		}, func(m *Model) string { return listed(m.Functions[0].Body) }, "Constant()n Constant()k Add(n,k)s Mul(p,s)q"},
		{"a Constant's tensor is replaced", called(), func(p *Patch, m *Model) {
			p.ReplaceInitializer(m.Functions[0].Body.Nodes[0].Attributes[0].T, &Array{Type: Float, Dims: []int{1}, Data: []float32{9}})
		}, func(m *Model) string { return tensorText(m.Functions[0].Body.Nodes[0].Attributes[0].T) }, `"w" float [1] [9]`},
		{"before IR 4 initializers are inputs", ir3(), func(p *Patch, m *Model) {
			p.AddInitializer(m.Graph, floatsPB("N", one, 5))
			p.SetInput(m.Graph.Nodes[0], 1, "N")
		}, func(m *Model) string {
			s := listed(m.Graph)
			for _, in := range m.Graph.Inputs {
				s += " " + in.Name + typeText(in.Type)
			}
			return s
		}, "=N Add(x,N)y xtensorfloat true [{false 0 n}]none Ntensorfloat true [{true 1 }]none"},
		{"an overridable initializer stays", func() *onnxpb.ModelProto { pb := ir3(); pb.IrVersion = proto.Int64(8); return pb }(), func(p *Patch, m *Model) {
			p.SetInput(m.Graph.Nodes[0], 1, "x")
		}, nil, "=W Add(x,x)y"},
		{"value_info goes with its value", func() *onnxpb.ModelProto {
			pb := simple()
			pb.Graph.ValueInfo = []*onnxpb.ValueInfoProto{valuePB("V", 1), valuePB("never", 1), valuePB("stray", 1)}
			return pb
		}(), func(p *Patch, m *Model) { p.SetInput(m.Graph.Nodes[2], 1, "x") }, func(m *Model) string {
			var names []string
			for _, v := range m.Graph.ValueInfos {
				names = append(names, v.Name)
			}
			return strings.Join(names, " ")
		}, "never stray"},
		{"an initializer is replaced in its place", simple(), func(p *Patch, m *Model) {
			p.ReplaceInitializer(m.Graph.Initializers[0], &Array{Type: Float, Dims: []int{1}, Data: []float32{42}})
		}, func(m *Model) string { return listed(m.Graph) + " " + tensorText(m.Graph.Initializers[0]) }, `=W =D Identity(W)V Neg(D)never Add(x,V)y "W" float [1] [42]`},
		{"metadata", func() *onnxpb.ModelProto {
			pb := simple()
			for _, kv := range [][2]string{{"a", "1"}, {"b", "2"}, {"a", "3"}, {"c", "4"}} {
				pb.MetadataProps = append(pb.MetadataProps, &onnxpb.StringStringEntryProto{Key: proto.String(kv[0]), Value: proto.String(kv[1])})
			}
			return pb
		}(), func(p *Patch, m *Model) {
			p.SetMetadata("a", "9")
			p.SetMetadata("b", "")
			p.SetMetadata("d", "5")
			p.SetMetadata("none", "")
		}, func(m *Model) string { return entries(m.Metadata) }, "a 9 c 4 d 5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := decodeProto(t, c.model)
			bytesBefore, viewBefore := encoded(t, m), dump(t, m)
			p := NewPatch(m)
			c.edit(p, m)
			var first []byte
			for range 2 { // a patch may be applied again: it changes nothing it refers to
				patched, err := p.Apply(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				show := c.show
				if show == nil {
					show = func(m *Model) string { return listed(m.Graph) }
				}
				if got := show(patched); got != c.want {
					t.Errorf("got  %s\nwant %s", got, c.want)
				}
				agree(t, patched)
				if first == nil {
					first = encoded(t, patched)
				} else if !bytes.Equal(encoded(t, patched), first) {
					t.Error("the second time gave other bytes")
				}
				if c.name == "nothing" && !bytes.Equal(encoded(t, patched), bytesBefore) {
					t.Error("an empty patch changed the bytes")
				}
			}
			if !bytes.Equal(encoded(t, m), bytesBefore) || dump(t, m) != viewBefore {
				t.Error("the old model changed")
			}
		})
	}
}

func entries(kv []KeyValue) string {
	var parts []string
	for _, e := range kv {
		parts = append(parts, e.Key, e.Value)
	}
	return strings.Join(parts, " ")
}

func TestPatchRefuses(t *testing.T) {
	build := func() *Model {
		return decodeProto(t, modelPB(8, graphPB("x", "y", []*onnxpb.NodeProto{nodePB("W -> Identity -> V"), nodePB("x V -> Add -> y")}, floatsPB("W", []int64{1}, 1))))
	}
	other := build()
	for _, c := range []struct {
		name string
		edit func(p *Patch, m *Model)
		want string
	}{
		{"a view of another model", func(p *Patch, m *Model) { p.SetInput(other.Graph.Nodes[0], 0, "W") }, "not a view of the model"},
		{"nil", func(p *Patch, m *Model) { p.RemoveNode(nil) }, "the view is nil"},
		{"a nil node", func(p *Patch, m *Model) { p.Prepend(m.Graph, nil) }, "the node is nil"},
		{"a slot", func(p *Patch, m *Model) { p.SetInput(m.Graph.Nodes[0], -1, "W") }, "has no input -1"},
		{"an array that is not one", func(p *Patch, m *Model) {
			p.AddInitializerArray(m.Graph, "N", &Array{Type: Float, Dims: []int{2}, Data: []float32{1}})
		}, `AddInitializerArray: "N"`},
		{"other dims", func(p *Patch, m *Model) {
			p.ReplaceInitializer(m.Graph.Initializers[0], &Array{Type: Float, Dims: []int{1, 1}, Data: []float32{1}})
		}, "is float [1], the array float [1 1]"},
		{"a reader is left", func(p *Patch, m *Model) { p.RemoveNode(m.Graph.Nodes[0]) }, `input 1 reads "V", which nothing defines`},
		{"no output", func(p *Patch, m *Model) { p.KeepOutputs(m.Graph.Nodes[0], 0) }, "KeepOutputs:"},
		{"more outputs", func(p *Patch, m *Model) { p.KeepOutputs(m.Graph.Nodes[0], 2) }, "KeepOutputs:"},
		{"an output that is read", func(p *Patch, m *Model) {
			n := nodePB("x -> Split -> a b")
			p.Prepend(m.Graph, n)
			p.SetInput(m.Graph.Nodes[1], 1, "b")
			q, err := p.Apply(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			*p = *NewPatch(q)
			p.KeepOutputs(q.Graph.Nodes[0], 1)
		}, `reads "b", which nothing defines`},
		{"an unknown name", func(p *Patch, m *Model) { p.SetInput(m.Graph.Nodes[1], 0, "nowhere") }, `reads "nowhere", which nothing defines`},
		{"a cycle", func(p *Patch, m *Model) { p.SetInput(m.Graph.Nodes[0], 0, "y") }, "the graph has a cycle"},
		{"the wrong place", func(p *Patch, m *Model) { p.Prepend(m.Graph, nodePB("V -> Neg -> n")) }, "sort the nodes"},
		{"a name taken", func(p *Patch, m *Model) { p.AddInitializer(m.Graph, floatsPB("V", []int64{1}, 1)) }, `defines "V", which`},
		{"a domain", func(p *Patch, m *Model) { p.Prepend(m.Graph, nodePB("x -> com.example:Foo -> f")) }, `operator domain "com.example" is not among the opset imports`},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := build()
			before := encoded(t, m)
			p := NewPatch(m)
			c.edit(p, m)
			if _, err := p.Apply(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if !bytes.Equal(encoded(t, m), before) {
				t.Error("the old model changed")
			}
		})
	}
}

func TestPatchFreshNames(t *testing.T) {
	then := graphPB("", "a", []*onnxpb.NodeProto{nodePB("x -> Neg -> a")})
	pb := modelPB(8, graphPB("x c", "y", []*onnxpb.NodeProto{nodePB("c -> If -> y", graphAttrPB("then_branch", then), graphAttrPB("else_branch", graphPB("", "b", []*onnxpb.NodeProto{nodePB("x -> Abs -> b")})))}),
		functionPB("F", "p", "q", nodePB("p -> Neg -> q")))
	pb.Graph.Node[0].Name = proto.String("the_node")
	p := NewPatch(decodeProto(t, pb))
	for _, c := range [][2]string{{"free", "free"}, {"free", "free_1"}, {"x", "x_1"}, {"a", "a_1"}, {"q", "q_1"}, {"the_node", "the_node_1"}, {"free", "free_2"}, {"", "value"}} {
		if got := p.Fresh(c[0]); got != c[1] {
			t.Errorf("Fresh(%q) = %q, want %q", c[0], got, c[1])
		}
	}
}

func TestPatchRefusesABrokenModel(t *testing.T) {
	m := decodeProto(t, modelPB(8, graphPB("x", "y", []*onnxpb.NodeProto{nodePB("x z -> Add -> y")})))
	var format *FormatError
	if _, err := NewPatch(m).Apply(t.Context()); !errors.As(err, &format) {
		t.Errorf("got %v, want a FormatError", err)
	}
}
