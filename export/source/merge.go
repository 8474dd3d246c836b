package source

import (
	"github.com/trconvert/trconvert/onnx"
)

// merge lowers the chains that build large constants from small ones (cores) to Init steps, if options ask for it. A value is left to them where it is read
// by a node that runs and has more elements than all that it is made of.
func (e *entryLowerer) merge() error {
	if e.lowerer.merged == nil {
		e.lowerer.merged = map[string]tensor{}
	}
	if !e.options.MergeAtStart {
		return nil
	}
	from := map[string]*onnx.Node{}
	for _, n := range e.nodes {
		for _, name := range n.Outputs {
			from[name] = n
		}
	}
	wanted, cone := map[string]bool{}, map[*onnx.Node]bool{}
	for _, n := range e.nodes {
		if e.folded(n) {
			continue
		}
		for _, name := range n.Inputs {
			if name == "" || !e.constant[name] || from[name] == nil || wanted[name] {
				continue
			}
			if chain := e.grows(name, from); chain != nil {
				wanted[name] = true
				for _, c := range chain {
					cone[c] = true
				}
			}
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	init := &entryLowerer{lowerer: e.lowerer, graph: &graph{model: e.model, values: e.values, constant: map[string]bool{}}, tensors: map[string]tensor{}}
	for name, fixed := range e.constant {
		init.constant[name] = fixed
	}
	for n := range cone {
		for _, name := range n.Outputs {
			init.constant[name] = false
		}
	}
	fresh := false
	for _, n := range e.nodes {
		for _, name := range n.Outputs {
			if t, done := e.merged[name]; done && cone[n] {
				init.tensors[name] = t
			}
		}
	}
	for _, n := range e.nodes {
		if !cone[n] {
			continue
		}
		if _, done := init.tensors[n.Output(0)]; done {
			continue
		}
		if err := init.lower(n); err != nil {
			return err
		}
		fresh = true
	}
	if init.unsupported.Counts != nil {
		return &init.unsupported
	}
	if fresh {
		e.program.Init = append(e.program.Init, init.steps...)
	}
	for _, n := range e.nodes {
		for _, name := range n.Outputs {
			if t, ok := init.tensors[name]; ok && wanted[name] {
				if t.buf.Space == Arena {
					t.buf.Space = Merged
				}
				e.merged[name] = t
			}
		}
	}
	return nil
}

// grows lists the nodes that make a constant, nil where it should be folded: it is not larger than its sources, or they are no plain arithmetic of floats.
func (e *entryLowerer) grows(name string, from map[string]*onnx.Node) []*onnx.Node {
	if a := e.values[name]; a == nil || a.Type != onnx.Float {
		return nil
	}
	var chain []*onnx.Node
	seen := map[string]bool{}
	sources := 0
	ok := true
	var walk func(name string)
	walk = func(name string) {
		if name == "" || seen[name] {
			return
		}
		seen[name] = true
		a := e.values[name]
		n := from[name]
		if a == nil {
			ok = false
			return
		}
		if n == nil || n.OpType == "Constant" || a.Type != onnx.Float {
			sources += a.Elements()
			return
		}
		if !lowered(n) || len(n.Subgraphs()) > 0 {
			ok = false
			return
		}
		chain = append(chain, n)
		for _, in := range n.Inputs {
			walk(in)
		}
	}
	walk(name)
	if !ok || e.values[name].Elements() <= sources {
		return nil
	}
	return chain
}

// dropUnread makes merged values that only other merged ones are made of temporary.
func (l *lowerer) dropUnread() {
	read := map[*Buffer]bool{}
	lists := [][]Step{l.program.Run.Steps}
	if l.program.Stream != nil {
		lists = append(lists, l.program.Stream.Steps)
	}
	for _, list := range lists {
		for _, s := range list {
			_, in := s.buffers()
			for _, b := range in {
				read[b] = true
			}
		}
	}
	for _, s := range l.program.Init {
		out, _ := s.buffers()
		for _, b := range out {
			if b != nil && b.Space == Merged && !read[b] {
				b.Space = Arena
			}
		}
	}
}
