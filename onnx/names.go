package onnx

import (
	"fmt"
	"strconv"
	"strings"
)

// quote makes a name from a file safe to print: control characters and invalid UTF-8 are escaped, and a very long
// name is cut.
func quote(s string) string {
	const limit = 200
	if len(s) > limit {
		return strconv.Quote(s[:limit]) + "…"
	}
	return strconv.Quote(s)
}

// printable leaves a file's path as it is unless it holds what a terminal should not see.
func printable(path string) string {
	for _, r := range path {
		if !strconv.IsPrint(r) || r == '\uFFFD' {
			return strconv.Quote(path)
		}
	}
	return path
}

// plain prints a name without quotes where it is printable and has no spaces or quotes, quoted otherwise.
func plain(s string) string {
	if s == "" || len(s) > 200 {
		return quote(s)
	}
	for _, r := range s {
		if !strconv.IsPrint(r) || r == ' ' || r == '"' || r == '\\' || r == '\uFFFD' {
			return quote(s)
		}
	}
	return s
}

// viewLabel names a view inside a path, "" where it has no name (yet).
func viewLabel(view any) string {
	switch v := view.(type) {
	case *Node:
		return v.label()
	case *Attribute:
		return quote(v.Name)
	case *Tensor:
		if v.Name != "" {
			return quote(v.Name)
		}
	case *SparseTensor:
		if v.Name != "" {
			return quote(v.Name)
		}
	case *ValueInfo:
		return quote(v.Name)
	case *Function:
		return quote(v.fullName())
	}
	return ""
}

func (f *Function) fullName() string {
	s := f.Name
	if f.Domain != "" {
		s = f.Domain + "." + s
	}
	if f.Overload != "" {
		s += ":" + f.Overload
	}
	return s
}

// String names the function in errors: `function "domain.name"`.
func (f *Function) String() string { return "function " + quote(f.fullName()) }

// Path names the scope: "" for the main graph, otherwise a chain such as `If_23.else_branch/If_0.then_branch`, or
// `function domain.name` followed by such a chain. A node without a name stands in it as its operator and position.
func (g *Graph) Path() string {
	if g.Function != nil {
		return "function " + plain(g.Function.fullName())
	}
	if g.Owner == nil {
		return ""
	}
	n := g.Owner
	name := plain(n.Name)
	if n.Name == "" {
		name = fmt.Sprintf("%s[%d]", plain(n.OpType), n.Index)
	}
	step := name + "." + plain(g.OwnerAttr)
	if k := n.bodyPosition(g); k >= 0 {
		step += fmt.Sprintf("[%d]", k)
	}
	if n.Graph == nil {
		return step
	}
	outer := n.Graph.Path()
	if outer == "" {
		return step
	}
	return outer + "/" + step
}

// bodyPosition is g's position in a GRAPHS attribute, -1 where it is the value of a GRAPH attribute.
func (n *Node) bodyPosition(g *Graph) int {
	for _, a := range n.Attributes {
		for k, body := range a.Graphs {
			if body == g {
				return k
			}
		}
	}
	return -1
}

// label is the operator and the name of a node, as far as it has them.
func (n *Node) label() string {
	var parts []string
	if n.OpType != "" {
		op := plain(n.OpType)
		if n.Domain != "" {
			op = plain(n.Domain) + "." + op
		}
		parts = append(parts, op)
	}
	if n.Name != "" {
		parts = append(parts, quote(n.Name))
	}
	return strings.Join(parts, " ")
}

// String names the node in errors: `graph.node[12] LSTM "encoder/rnn"`, with the scope's path before it.
func (n *Node) String() string {
	s := "graph"
	if n.Graph != nil {
		if path := n.Graph.Path(); path != "" {
			s = path
		}
	}
	s += fmt.Sprintf(".node[%d]", n.Index)
	if label := n.label(); label != "" {
		s += " " + label
	}
	return s
}

// String names the tensor in errors: `initializer "W"`, with the scope's path before it, or `tensor "W"` for the
// value of an attribute.
func (t *Tensor) String() string {
	if t.Graph == nil {
		return "tensor " + quote(t.Name)
	}
	s := "initializer " + quote(t.Name)
	if path := t.Graph.Path(); path != "" {
		s = path + " " + s
	}
	return s
}
