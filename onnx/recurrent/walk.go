package recurrent

import (
	"fmt"
	"strings"

	"github.com/trconvert/trconvert/onnx"
)

// Named is a recurrent node with the name of its site.
type Named struct {
	Name string
	Node *onnx.Node
}

// Nodes lists the recurrent nodes of every scope in file order: the main graph with the bodies of If, Loop and Scan where their
// owner stands, then the model's functions. It reads no weights and checks nothing. Operators of other domains that are recurrent
// by their name (DynamicQuantizeLSTM, a custom GRU, …) are listed too, as long as the model does not define them as functions.
//
// A site's name survives any patch that keeps the node: the node's name, else its first output, after the path of its scope made
// of the owners' names in the same way; a name that stands before in the model gets "#2", "#3", …. Bytes that are not UTF-8, which
// ONNX does not allow, become U+FFFD, so that a name can stand in JSON.
func Nodes(m *onnx.Model) []Named {
	functions := map[string]bool{}
	for _, f := range m.Functions {
		functions[f.Domain+"\x00"+f.Name] = true
	}
	return NodesWhere(m, func(n *onnx.Node) bool {
		return isCell(n) || (isForeignCell(n) && !functions[n.Domain+"\x00"+n.OpType])
	})
}

// NodesWhere lists the nodes of every scope that a condition holds for, in the order and under names by the rules of [Nodes].
func NodesWhere(m *onnx.Model, is func(*onnx.Node) bool) []Named {
	w := walker{is: is, taken: map[string]int{}}
	if m.Graph != nil {
		w.graph(m.Graph, "")
	}
	for _, f := range m.Functions {
		if f.Body != nil {
			w.graph(f.Body, inside("", "function "+f.Domain+"."+f.Name))
		}
	}
	return w.found
}

type walker struct {
	is    func(*onnx.Node) bool
	taken map[string]int // names given, and the next number to try for a repetition
	found []Named
}

func (w *walker) graph(g *onnx.Graph, prefix string) {
	for _, n := range g.Nodes {
		if w.is(n) {
			w.found = append(w.found, Named{w.unique(prefix + label(n)), n})
		}
		for _, a := range n.Attributes {
			if a.G != nil {
				w.graph(a.G, inside(prefix, label(n)+"."+a.Name))
			}
			for k, body := range a.Graphs {
				w.graph(body, inside(prefix, fmt.Sprintf("%s.%s[%d]", label(n), a.Name, k)))
			}
		}
	}
}

// inside extends a path by one owner. Absurdly long paths lose their beginning, or every site in them would carry all of it.
func inside(prefix, owner string) string {
	const most = 1000
	path := prefix + owner + "/"
	if len(path) > most {
		path = "…" + strings.ToValidUTF8(path[len(path)-most:], "")
	}
	return path
}

func (w *walker) unique(name string) string {
	name = strings.ToValidUTF8(name, "\uFFFD")
	got := name
	for w.taken[got] > 0 {
		w.taken[name]++
		got = fmt.Sprintf("%s#%d", name, w.taken[name])
	}
	w.taken[got] = 1
	return got
}

// label is a node's name, else its first output, else its operator.
func label(n *onnx.Node) string {
	if n.Name != "" {
		return n.Name
	}
	for _, o := range n.Outputs {
		if o != "" {
			return o
		}
	}
	return n.OpType
}

// isCell says that a node is one of the default domain's three.
func isCell(n *onnx.Node) bool {
	_, known := cells[Op(n.OpType)]
	return known && isDefaultDomain(n.Domain)
}

// isForeignCell says that a node of another domain is recurrent by its name.
func isForeignCell(n *onnx.Node) bool {
	return !isDefaultDomain(n.Domain) &&
		(strings.Contains(n.OpType, "LSTM") || strings.Contains(n.OpType, "GRU") || n.OpType == "RNN")
}

func isDefaultDomain(d string) bool { return d == "" || d == "ai.onnx" }

// root is the outermost scope around g: the main graph or a function's body.
func root(g *onnx.Graph) *onnx.Graph {
	for g.Owner != nil && g.Owner.Graph != nil {
		g = g.Owner.Graph
	}
	return g
}

// opset is the version of the default operator domain in a scope; functions import their own.
func opset(m *onnx.Model, g *onnx.Graph) int64 {
	if f := root(g).Function; f != nil {
		for _, o := range f.Opsets {
			if isDefaultDomain(o.Domain) {
				return o.Version
			}
		}
	}
	return m.Opset("")
}
