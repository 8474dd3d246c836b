package onnx

import "slices"

// findAlive finds the nodes and initializers that outputs depend on: outputs of the main graph, of functions' bodies, and of the inner
// graphs of nodes that are alive themselves. Extra nodes count as alive with all they read.
func findAlive(ix *Index, extra []*Node) map[any]bool {
	alive := map[any]bool{}
	var todo []*Node
	node := func(n *Node) {
		if !alive[n] {
			alive[n] = true
			todo = append(todo, n)
		}
	}
	value := func(g *Graph, name string) {
		d, ok := ix.Resolve(g, name)
		switch {
		case !ok:
		case d.Node != nil:
			node(d.Node)
		case d.Tensor != nil:
			alive[d.Tensor] = true
		case d.Sparse != nil:
			alive[d.Sparse] = true
		}
	}
	outputs := func(g *Graph) {
		for _, out := range g.Outputs {
			value(g, out.Name)
		}
	}
	if ix.model.Graph != nil {
		outputs(ix.model.Graph)
	}
	for _, f := range ix.model.Functions {
		outputs(f.Body)
	}
	for _, n := range extra {
		node(n)
	}
	for len(todo) > 0 {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, name := range n.Inputs {
			value(n.Graph, name)
		}
		for _, g := range n.Subgraphs() {
			outputs(g)
		}
	}
	return alive
}

// prune removes from the copied model what was alive in the old one and is no longer: nodes, initializers, the graph inputs that
// initializers needed before IR 4, and what the graph said about the types of values that go. What was dead before stays, with all it
// reads, and so do new nodes. From IR 4 on an initializer that is a graph input too stays: without it the input would be required.
func (a *application) prune(aliveBefore map[any]bool) {
	old := make(map[any]any, len(a.views)) // copy to original
	for from, to := range a.views {
		old[to] = from
	}
	wasAlive := func(view any) bool {
		if from, ok := old[view]; ok {
			return aliveBefore[from]
		}
		_, sparse := view.(*SparseTensor) // shared with the old model
		return sparse && aliveBefore[view]
	}
	var kept []*Node
	scopes := a.m.Scopes()
	for _, g := range scopes {
		for _, n := range g.Nodes {
			if !wasAlive(n) {
				kept = append(kept, n)
			}
		}
	}
	alive := findAlive(NewIndex(a.m), kept)
	dead := func(view any) bool { return wasAlive(view) && !alive[view] }
	for _, g := range scopes {
		e := &graphEdit{g: g}
		inputs := map[string]bool{}
		for _, in := range g.Inputs {
			inputs[in.Name] = true
		}
		keepsInput := func(name string) bool {
			return inputs[name] && a.m.IRVersion >= 4
		}
		gone := map[string]bool{}
		g.Nodes = slices.DeleteFunc(g.Nodes, func(n *Node) bool {
			if !dead(n) {
				return false
			}
			e.drop(n)
			return true
		})
		g.Initializers = slices.DeleteFunc(g.Initializers, func(t *Tensor) bool {
			if !dead(t) || keepsInput(t.Name) {
				return false
			}
			e.drop(t)
			gone[t.Name] = true
			return true
		})
		g.Sparse = slices.DeleteFunc(slices.Clone(g.Sparse), func(t *SparseTensor) bool {
			if !dead(t) || keepsInput(t.Name) {
				return false
			}
			e.drop(t)
			gone[t.Name] = true
			return true
		})
		if len(gone) > 0 {
			e.dropInputs(gone)
		}
		if from, ok := old[g].(*Graph); ok {
			pruneTypes(from, g, e)
		}
		e.write()
	}
}

// pruneTypes removes the value_info of values that the old scope defined and the new one does not.
func pruneTypes(before, g *Graph, e *graphEdit) {
	if len(g.ValueInfos) == 0 {
		return
	}
	defined := g.Defined()
	had := before.Defined()
	g.ValueInfos = slices.DeleteFunc(slices.Clone(g.ValueInfos), func(v *ValueInfo) bool {
		drop := had[v.Name] && !defined[v.Name]
		if drop {
			e.drop(v)
		}
		return drop
	})
}
