package onnx

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// Every model that ONNX Runtime or the ONNX project's own checker accepts is well-formed.
func TestCheckAcceptsRealModels(t *testing.T) {
	for _, folder := range []string{"models", "onnx-node", "data"} {
		t.Run(folder, func(t *testing.T) {
			for _, file := range sharedFiles(t, folder, ".onnx") {
				m, err := OpenFile(t.Context(), file, OpenOptions{})
				if err != nil {
					t.Error(err)
					continue
				}
				if err := Check(m); err != nil {
					t.Error(err)
				}
				m.Close()
			}
		})
	}
}

func TestCheckNamesTheFirstViolation(t *testing.T) {
	type nodes = []*onnxpb.NodeProto
	branch := func(g *onnxpb.GraphProto) nodes {
		return nodes{nodePB("x -> Neg -> v"), nodePB("c -> If -> y", graphAttrPB("then_branch", g), graphAttrPB("else_branch", graphPB("", "e", nodes{nodePB("x -> Abs -> e")}))), nodePB("v -> Exp -> late")}
	}
	one := []int64{1}
	withDomain := func(m *onnxpb.ModelProto, domain string, version int64) *onnxpb.ModelProto {
		m.OpsetImport = append(m.OpsetImport, &onnxpb.OperatorSetIdProto{Domain: &domain, Version: &version})
		return m
	}
	refer := func() *onnxpb.NodeProto {
		n := nodePB("x -> LeakyRelu -> y", intPB("alpha", 1))
		n.Attribute[0].RefAttrName = proto.String("a")
		return n
	}
	for _, c := range []struct {
		name  string
		model *onnxpb.ModelProto
		want  string // "" where the model is well-formed
	}{
		{"an input is an output", modelPB(8, graphPB("x", "x", nil)), ""},
		{"the same output twice", modelPB(8, graphPB("x", "y y", nodes{nodePB("x -> Neg -> y")})), ""},
		{"absent inputs and outputs", modelPB(8, graphPB("x", "y", nodes{nodePB("x _ -> Foo -> _ y")})), ""},
		{"initializers before IR 4 that are no inputs", modelPB(3, graphPB("x", "y", nodes{nodePB("x W -> Add -> y")}, floatsPB("W", one, 1))), ""},
		{"an unused domain", withDomain(modelPB(8, graphPB("x", "x", nil)), "com.example", 1), ""},
		{"sibling scopes share names", modelPB(8, graphPB("x c", "y", nodes{nodePB("c -> If -> y",
			graphAttrPB("then_branch", graphPB("", "b", nodes{nodePB("x -> Neg -> a"), nodePB("a -> Neg -> b")})),
			graphAttrPB("else_branch", graphPB("", "b", nodes{nodePB("x -> Abs -> a"), nodePB("a -> Abs -> b")})))})), ""},
		{"an inner name that is defined outside only later", modelPB(8, graphPB("x c", "y", branch(graphPB("", "late", nodes{nodePB("x -> Neg -> late")})))), ""},
		{"an inner initializer hides an outer name", modelPB(8, graphPB("x c", "y", branch(graphPB("", "o", nodes{nodePB("v -> Neg -> o")}, floatsPB("v", one, 1))))), ""},
		{"a function", modelPB(8, graphPB("x", "y", nodes{nodePB("x -> local:F -> y")}), functionPB("F", "p", "q", nodePB("p -> Neg -> q"))), ""},

		{"a dangling input", modelPB(8, graphPB("x", "y", nodes{nodePB("x z -> Add -> y")})), `graph.node[0] Add: input 1 reads "z", which nothing defines`},
		{"a dangling output", modelPB(8, graphPB("x", "y", nil)), `graph output 0 reads "y", which nothing defines`},
		{"a node's own output", modelPB(8, graphPB("x", "y", nodes{nodePB("x y -> Add -> y")})), `the graph has a cycle`},
		{"a cycle of two", modelPB(8, graphPB("x", "y", nodes{nodePB("x b -> Add -> a"), nodePB("a -> Neg -> b"), nodePB("a -> Neg -> y")})), `graph.node[0] Add: input 1 reads "b", which depends on this node's own output through graph.node[1] Neg: the graph has a cycle`},
		{"a cycle through a branch", modelPB(8, graphPB("x c", "y", nodes{nodePB("d -> Neg -> a"),
			nodePB("c -> If -> d", graphAttrPB("then_branch", graphPB("", "t", nodes{nodePB("a -> Neg -> t")})), graphAttrPB("else_branch", graphPB("", "e", nodes{nodePB("x -> Abs -> e")}))), nodePB("a -> Neg -> y")})), "the graph has a cycle"},
		{"the wrong order", modelPB(8, graphPB("x", "y", nodes{nodePB("a -> Neg -> y"), nodePB("x -> Neg -> a")})), `graph.node[0] Neg: input 0 reads "a" before graph.node[1] Neg computes it (sort the nodes topologically)`},
		{"an inner node reads what is computed later", modelPB(8, graphPB("x c", "y", branch(graphPB("", "o", nodes{nodePB("late -> Neg -> o")})))), `reads "late", which nothing defines`},
		{"an output twice", modelPB(8, graphPB("x", "y", nodes{nodePB("x -> Neg -> y"), nodePB("x -> Abs -> y")})), `graph.node[1] Abs: output 0 defines "y", which graph.node[0] Neg has already defined`},
		{"an output that is an input", modelPB(8, graphPB("x", "x", nodes{nodePB("x -> Neg -> x")})), `defines "x", which graph input 0 has already defined`},
		{"an input twice", modelPB(8, graphPB("x x", "x", nil)), `graph input 1 defines "x", which graph input 0 has already defined`},
		{"an initializer twice", modelPB(8, graphPB("x", "x", nil, floatsPB("W", one, 1), floatsPB("W", one, 2))), `initializer 1 defines "W", which initializer 0 has already defined`},
		{"an initializer of an input twice", modelPB(8, graphPB("x", "x", nil, floatsPB("x", one, 1), floatsPB("x", one, 2))), `initializer 1 defines "x", which initializer 0`},
		{"a hidden name", modelPB(8, graphPB("x c", "y", branch(graphPB("", "o", nodes{nodePB("x -> Neg -> v"), nodePB("v -> Neg -> o")})))), `If[1].then_branch.node[0] Neg: output 0 defines "v", which hides the value of graph.node[0] Neg in an outer scope`},
		{"an initializer without a name", modelPB(8, graphPB("x", "x", nil, floatsPB("", one, 1))), "initializer 0 has no name"},
		{"a domain", modelPB(8, graphPB("x", "y", nodes{nodePB("x -> com.example:Foo -> y")})), `operator domain "com.example" is not among the opset imports (add it to opset_import)`},
		{"an attribute reference outside", modelPB(8, graphPB("x", "y", nodes{refer()})), `attribute "alpha" refers to a function's attribute "a" outside a function`},
		{"a function sees no outer names", modelPB(8, graphPB("x", "y", nodes{nodePB("x -> local:F -> y")}), functionPB("F", "p", "q", nodePB("p x -> Add -> q"))), `function local.F.node[0] Add: input 1 reads "x", which nothing defines`},
		{"a function calls itself", modelPB(8, graphPB("x", "x", nil), functionPB("F", "p", "q", nodePB("p -> local:F -> q"))), "functions must not recurse"},
		{"functions call each other", modelPB(8, graphPB("x", "x", nil), functionPB("A", "p", "q", nodePB("p -> local:B -> q")), functionPB("B", "p", "q", nodePB("p -> local:C -> q")), functionPB("C", "p", "q", nodePB("p -> local:A -> q"))), "functions must not recurse"},
		{"a function twice", modelPB(8, graphPB("x", "x", nil), functionPB("F", "p", "p"), functionPB("F", "p", "p")), `function "local.F": the function is defined twice`},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Check(decodeProto(t, c.model))
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var format *FormatError
			if !errors.As(err, &format) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want a FormatError with %q", err, c.want)
			}
		})
	}
}
