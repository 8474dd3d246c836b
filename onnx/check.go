package onnx

import (
	"fmt"
	"strconv"
)

// Check validates what a well-formed model promises: unique names in every scope, no shadowing, topological order, no dangling
// input or output, imported domains, acyclic functions. It returns a *FormatError naming the first violation.
//
// The rules are those of the ONNX intermediate representation's specification (docs/IR.md), save two that runtimes do not
// hold anybody to: initializers need not be graph inputs before IR 4, and the names of nodes may repeat. As there, only the
// outputs of nodes must not hide a name that is visible from an outer scope; inputs and initializers of an inner graph may.
func Check(m *Model) error {
	c := &checker{m: m}
	if m.Graph == nil {
		return c.fail("", "the model has no graph")
	}
	if err := c.opsets("", m.Opsets); err != nil {
		return err
	}
	if err := c.graph(m.Graph, nil, m.Opsets); err != nil {
		return err
	}
	return c.functions()
}

// checker walks the scopes of one model.
type checker struct{ m *Model }

// visible holds the names that nodes at the current place may read: those of a scope so far, and of the scopes around it.
type visible struct {
	outer *visible
	by    map[string]definer
}

// definer is what defines a name: a node, or the k-th graph input or initializer.
type definer struct {
	node *Node
	kind string
	k    int
}

func (d definer) String() string {
	if d.node != nil {
		return d.node.String()
	}
	return d.kind + " " + strconv.Itoa(d.k)
}

func (v *visible) lookup(name string) (definer, bool) {
	for ; v != nil; v = v.outer {
		if d, ok := v.by[name]; ok {
			return d, true
		}
	}
	return definer{}, false
}

func (c *checker) fail(path, format string, args ...any) error {
	return &FormatError{File: c.m.File(), Offset: -1, Path: path, What: fmt.Sprintf(format, args...)}
}

func (c *checker) failNode(n *Node, format string, args ...any) error {
	return &FormatError{File: c.m.File(), Offset: n.src.offset, Path: n.String(), What: fmt.Sprintf(format, args...)}
}

func (c *checker) opsets(path string, opsets []Opset) error {
	seen := map[string]int64{}
	for _, o := range opsets {
		d := plainDomain(o.Domain)
		if v, ok := seen[d]; ok && v != o.Version {
			return c.fail(path, "domain %s is imported twice, as version %d and %d (keep one)", quote(d), v, o.Version)
		}
		seen[d] = o.Version
	}
	return nil
}

// graph checks a scope and those inside it. opsets are the imports that hold here: the model's or the function's.
func (c *checker) graph(g *Graph, outer *visible, opsets []Opset) error {
	here := &visible{outer: outer, by: make(map[string]definer, len(g.Nodes))}
	if err := c.inputs(g, here); err != nil {
		return err
	}
	if err := c.initializers(g, here); err != nil {
		return err
	}
	imported := map[string]bool{}
	for _, o := range opsets {
		imported[plainDomain(o.Domain)] = true
	}
	var later map[string]*Node // made when the first unknown name is met
	for _, n := range g.Nodes {
		if d := plainDomain(n.Domain); !imported[d] {
			return c.failNode(n, "operator domain %s is not among the opset imports (add it to opset_import)", quote(d))
		}
		for k, name := range n.Inputs {
			if name == "" {
				continue
			}
			if _, ok := here.lookup(name); ok {
				continue
			}
			if later == nil {
				later = producers(g)
			}
			if p := later[name]; p != nil {
				return c.disorder(n, k, p, later)
			}
			return c.failNode(n, "input %d reads %s, which nothing defines (connect it or remove the node)", k, quote(name))
		}
		for _, a := range n.Attributes {
			if a.RefName != "" && !inFunction(g) {
				return c.failNode(n, "attribute %s refers to a function's attribute %s outside a function", quote(a.Name), quote(a.RefName))
			}
		}
		for _, inner := range n.Subgraphs() {
			if err := c.graph(inner, here, opsets); err != nil {
				return err
			}
		}
		for k, name := range n.Outputs {
			if name == "" {
				continue
			}
			if err := c.define(g, here, name, definer{n, "output", k}); err != nil {
				return err
			}
		}
	}
	for k, out := range g.Outputs {
		if _, ok := here.lookup(out.Name); !ok {
			return c.fail(g.Path(), "graph output %d reads %s, which nothing defines (compute it or remove the output)", k, quote(out.Name))
		}
	}
	return nil
}

// define adds a name to the scope; it must be new there and, if a node defines it, in the scopes around.
func (c *checker) define(g *Graph, here *visible, name string, d definer) error {
	prev, hidden := here.outer.lookup(name)
	hidden = hidden && d.node != nil
	was, dup := here.by[name]
	if !hidden && !dup {
		here.by[name] = d
		return nil
	}
	what := fmt.Sprintf("%s %d defines %s, which hides the value of %s in an outer scope (rename one of them)", d.kind, d.k, quote(name), prev)
	if dup {
		what = fmt.Sprintf("%s %d defines %s, which %s has already defined (every value needs a name of its own)", d.kind, d.k, quote(name), was)
	}
	if d.node != nil {
		return c.failNode(d.node, "%s", what)
	}
	return c.fail(g.Path(), "%s", what)
}

func (c *checker) inputs(g *Graph, here *visible) error {
	for k, in := range g.Inputs {
		if in.Name == "" {
			return c.fail(g.Path(), "graph input %d has no name", k)
		}
		if err := c.define(g, here, in.Name, definer{kind: "graph input", k: k}); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) initializers(g *Graph, here *visible) error {
	inputs := make(map[string]bool, len(g.Inputs))
	for _, in := range g.Inputs {
		inputs[in.Name] = true
	}
	add := func(name string, d definer) error {
		switch {
		case name == "":
			return c.fail(g.Path(), "%s has no name", d)
		case inputs[name]: // the default of a graph input; a second one is a duplicate
			inputs[name] = false
			here.by[name] = d
			return nil
		}
		return c.define(g, here, name, d)
	}
	for k, t := range g.Initializers {
		if err := add(t.Name, definer{kind: "initializer", k: k}); err != nil {
			return err
		}
	}
	for k, t := range g.Sparse {
		if err := add(t.Name, definer{kind: "sparse initializer", k: k}); err != nil {
			return err
		}
	}
	return nil
}

// producers maps the values of a scope's nodes to the nodes.
func producers(g *Graph) map[string]*Node {
	by := make(map[string]*Node, len(g.Nodes))
	for _, n := range g.Nodes {
		for _, name := range n.Outputs {
			if name != "" {
				by[name] = n
			}
		}
	}
	return by
}

// disorder reports that input k of n comes from a node p that stands later (or is n itself): a cycle or a wrong order.
func (c *checker) disorder(n *Node, k int, p *Node, by map[string]*Node) error {
	// Walk from p against the arrows; n is in a cycle if it is met.
	seen := map[*Node]bool{p: true}
	for todo := []*Node{p}; len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if at == n {
			return c.failNode(n, "input %d reads %s, which depends on this node's own output through %s: the graph has a cycle", k, quote(n.Inputs[k]), p)
		}
		for _, name := range captured(at) {
			if q := by[name]; q != nil && !seen[q] {
				seen[q] = true
				todo = append(todo, q)
			}
		}
	}
	return c.failNode(n, "input %d reads %s before %s computes it (sort the nodes topologically)", k, quote(n.Inputs[k]), p)
}

// captured lists the names a node reads, with those that its inner graphs mention.
func captured(n *Node) []string {
	names := append([]string(nil), n.Inputs...)
	for _, g := range n.Subgraphs() {
		for _, m := range g.Nodes {
			names = append(names, captured(m)...)
		}
		for _, out := range g.Outputs {
			names = append(names, out.Name)
		}
	}
	return names
}

func inFunction(g *Graph) bool {
	for g != nil {
		if g.Function != nil {
			return true
		}
		if g.Owner == nil {
			return false
		}
		g = g.Owner.Graph
	}
	return false
}

// functions checks the model-local functions: distinct identities, sound bodies that see no outer names, no recursion.
func (c *checker) functions() error {
	key := func(f *Function) functionKey { return functionKey{plainDomain(f.Domain), f.Name, f.Overload} }
	byKey := map[functionKey]int{}
	for i, f := range c.m.Functions {
		if _, dup := byKey[key(f)]; dup {
			return c.fail(f.String(), "the function is defined twice (keep one, or give them different overloads)")
		}
		byKey[key(f)] = i
		if err := c.opsets(f.String(), f.Opsets); err != nil {
			return err
		}
		if f.Body == nil {
			continue
		}
		if err := c.graph(f.Body, nil, f.Opsets); err != nil {
			return err
		}
	}
	// Depth-first over the calls; a function met again while it is open calls itself.
	calls := make([][]int, len(c.m.Functions))
	for i, f := range c.m.Functions {
		walkNodes(f.Body, func(n *Node) {
			if j, ok := byKey[functionKey{plainDomain(n.Domain), n.OpType, n.Overload}]; ok {
				calls[i] = append(calls[i], j)
			}
		})
	}
	const unseen, open, done = 0, 1, 2
	state := make([]int, len(calls))
	next := make([]int, len(calls))
	for root := range calls {
		if state[root] != unseen {
			continue
		}
		state[root] = open
		for stack := []int{root}; len(stack) > 0; {
			i := stack[len(stack)-1]
			if next[i] == len(calls[i]) {
				state[i] = done
				stack = stack[:len(stack)-1]
				continue
			}
			j := calls[i][next[i]]
			next[i]++
			switch state[j] {
			case open:
				return c.fail(c.m.Functions[i].String(), "the function calls %s, which calls it in turn: functions must not recurse", c.m.Functions[j])
			case unseen:
				state[j] = open
				stack = append(stack, j)
			}
		}
	}
	return nil
}

// walkNodes calls f for every node of a scope and of those inside it, in file order.
func walkNodes(g *Graph, f func(*Node)) {
	if g == nil {
		return
	}
	for _, n := range g.Nodes {
		f(n)
		for _, inner := range n.Subgraphs() {
			walkNodes(inner, f)
		}
	}
}
