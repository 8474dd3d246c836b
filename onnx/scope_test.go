package onnx

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx/onnxpb"
)

func TestIndexFollowsNamesThroughScopes(t *testing.T) {
	type nodes = []*onnxpb.NodeProto
	one := []int64{1}
	inner := graphPB("", "t", nodes{nodePB("x W v -> Sum -> s"), nodePB("s -> Neg -> t")}, floatsPB("v", one, 9))
	middle := graphPB("", "m", nodes{nodePB("W -> Neg -> w2"), nodePB("c -> If -> m", graphAttrPB("then_branch", inner), graphAttrPB("else_branch", graphPB("", "x", nil)))})
	pb := modelPB(8, graphPB("x c W", "y W", nodes{
		nodePB("x -> Neg -> v"), nodePB("c -> If -> y", graphAttrPB("then_branch", middle), graphAttrPB("else_branch", graphPB("", "o", nodes{nodePB("v v -> Add -> o")}))),
	}, floatsPB("W", one, 1)), functionPB("F", "p", "q", nodePB("p -> Neg -> q"), nodePB("p -> local:G -> r")), functionPB("G", "p", "q", nodePB("p -> Exp -> q")))
	m := decodeProto(t, pb)
	ix := NewIndex(m)
	graphs := m.Scopes()
	then := graphs[1]
	deep := graphs[2]
	function := m.Functions[0].Body

	for _, c := range []struct {
		g    *Graph
		name string
		want string
	}{
		{m.Graph, "W", "input and tensor of "},
		{deep, "W", "input and tensor of "},
		{deep, "x", "input of "},
		{deep, "v", "tensor of " + deep.Path()}, // hides the outer one
		{then, "v", "output 0 of graph.node[0] Neg"},
		{deep, "s", "output 0 of " + deep.Path() + ".node[0] Sum"},
		{then, "s", "nothing"},
		{m.Graph, "", "nothing"},
		{function, "p", "input of function local.F"},
		{function, "x", "nothing"},
	} {
		d, ok := ix.Resolve(c.g, c.name)
		var got string
		switch {
		case !ok:
			got = "nothing"
		case d.Node != nil:
			got = fmt.Sprintf("output %d of %s", d.Slot, d.Node)
		case d.Input != nil && d.Tensor != nil:
			got = "input and tensor of " + d.Graph.Path()
		case d.Input != nil:
			got = "input of " + d.Graph.Path()
		case d.Tensor != nil:
			got = "tensor of " + d.Graph.Path()
		}
		if got != c.want {
			t.Errorf("Resolve(%q, %q) = %s, want %s", c.g.Path(), c.name, got, c.want)
		}
	}
	uses := func(g *Graph, name string) string {
		var parts []string
		for _, u := range ix.Uses(g, name) {
			if u.Node != nil {
				parts = append(parts, fmt.Sprintf("%s:%d", u.Node, u.Slot))
			} else {
				parts = append(parts, fmt.Sprintf("%q output %d %s", u.Graph.Path(), u.Slot, u.Output.Name))
			}
		}
		return strings.Join(parts, " ")
	}
	for _, c := range []struct {
		g          *Graph
		name, want string
	}{
		{m.Graph, "W", then.Path() + ".node[0] Neg:0 " + deep.Path() + ".node[0] Sum:1 \"\" output 1 W"},
		{m.Graph, "v", graphs[4].Path() + ".node[0] Add:0 " + graphs[4].Path() + ".node[0] Add:1"},
		{deep, "v", deep.Path() + ".node[0] Sum:2"},
		{m.Graph, "x", "graph.node[0] Neg:0 " + deep.Path() + ".node[0] Sum:0 \"" + graphs[3].Path() + "\" output 0 x"},
		{deep, "W", ""}, // not its own
		{then, "w2", ""},
	} {
		if got := uses(c.g, c.name); got != c.want {
			t.Errorf("Uses(%q, %q)\n got %s\nwant %s", c.g.Path(), c.name, got, c.want)
		}
	}
	if ix.Outer(deep) != then || ix.Outer(then) != m.Graph || ix.Outer(m.Graph) != nil || ix.Outer(function) != nil {
		t.Error("Outer does not walk outwards")
	}
	if f := ix.Function(function.Nodes[1]); f != m.Functions[1] {
		t.Errorf("the call of G resolves to %v", f)
	}
	if f := ix.Function(function.Nodes[0]); f != nil {
		t.Errorf("Neg resolves to %v", f)
	}
	d, _ := ix.Resolve(m.Graph, "W")
	if !ix.Overridable(d) {
		t.Error("an initializer that is an input in IR 8 may be overridden")
	}
	pb.IrVersion = proto.Int64(3)
	old := decodeProto(t, pb)
	ix = NewIndex(old)
	if d, _ = ix.Resolve(old.Graph, "W"); ix.Overridable(d) {
		t.Error("before IR 4 every initializer is an input")
	}
}
