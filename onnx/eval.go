package onnx

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// Evaluator computes values that depend on constants alone: initializers, Constant nodes, and chains of Identity, Cast, Reshape,
// Transpose, Squeeze, Unsqueeze, Slice, Split, Concat, Gather, Expand, Pad, ConstantOfShape, Shape, elementwise arithmetic, MatMul, …
// The cores of a compact model merge through such chains. What chains compute is cached by scope and name; initializers are decoded
// anew each time, so that large ones are not held.
//
// An initializer of the main graph that is a graph input too is constant before IR 4, where every initializer had to be one, and not
// from IR 4 on, where the caller of the model may override it ([Index.Overridable] tells).
//
// An Evaluator is not for concurrent use.
type Evaluator struct {
	m        *Model
	ix       *Index
	limit    int64
	held     int64 // bytes of cache
	cache    map[valueKey]*Array
	constant map[valueKey]bool
}

// valueKey is a value: its name in the scope that defines it.
type valueKey struct {
	graph *Graph
	name  string
}

// NewEvaluator makes an evaluator; results of more than limit bytes in all, with those of the steps on the way, are refused (0: no
// limit beyond 8× the bytes present + 256 MiB). Matrix products of one value may take 64 multiplications per byte of the limit.
func NewEvaluator(m *Model, ix *Index, limit int64) *Evaluator {
	if limit <= 0 {
		limit = 8*max(m.FileBytes(), m.Size()) + 256<<20
	}
	return &Evaluator{m: m, ix: ix, limit: limit, cache: map[valueKey]*Array{}, constant: map[valueKey]bool{}}
}

// Constant says whether the value can be evaluated; it reads no weights. Where it cannot, why names the input, node or operator in the way.
// What only the values decide, such as indices out of range, is left to Eval.
func (e *Evaluator) Constant(g *Graph, name string) (ok bool, why string) {
	_, why = e.plan(g, name, planConstant)
	return why == "", why
}

// Eval computes the value. It may share memory with other results and must not be changed.
func (e *Evaluator) Eval(ctx context.Context, g *Graph, name string) (*Array, error) {
	return e.run(ctx, g, name, true)
}

// Info gives type and dims of a constant value; weights are read only where an operator's result shape depends on their values.
func (e *Evaluator) Info(ctx context.Context, g *Graph, name string) (DataType, []int, error) {
	a, err := e.run(ctx, g, name, false)
	if err != nil {
		return 0, nil, err
	}
	return a.Type, append([]int(nil), a.Dims...), nil
}

// Sources lists the initializers and Constant tensors that a constant value is computed from, without duplicates, in first-use order;
// the operands that name axes, shapes and the like are among them. It is nil for a value that is not constant.
func (e *Evaluator) Sources(g *Graph, name string) []*Tensor {
	steps, why := e.plan(g, name, planSources)
	if why != "" {
		return nil
	}
	var out []*Tensor
	for _, s := range steps {
		if s.node == nil {
			out = append(out, s.tensor)
		} else if s.node.OpType == "Constant" {
			if a := s.node.Attr("value"); a != nil && a.T != nil {
				out = append(out, a.T)
			}
		}
	}
	return out
}

// step is one link of a chain: a value that is there (an initializer or a cached one), or a node to run.
type step struct {
	key    valueKey // of the value
	tensor *Tensor
	cached *Array
	node   *Node
	inputs []valueKey // of the node; zero where absent or not looked at
	need   bool       // its values are needed, not only type and dims
}

// What plan is made for, and where it therefore stops walking.
const (
	planConstant = iota // to know whether the value is constant: at values already found to be
	planSources         // to list initializers and nodes: nowhere
	planRun             // to compute the value: at values already computed
)

// plan lists what a value is computed from, each step after those it depends on. Where the value is not constant, why says what is in
// the way.
func (e *Evaluator) plan(g *Graph, name string, purpose int) (steps []step, why string) {
	type frame struct {
		step
		next int
	}
	var stack []frame
	state := map[any]bool{} // tensors, nodes and cached values: false while open, true when listed
	var met []valueKey
	visit := func(g *Graph, name string) (valueKey, string) {
		d, ok := e.ix.Resolve(g, name)
		if !ok {
			return valueKey{}, "nothing defines " + strconv.Quote(name)
		}
		key := valueKey{d.Graph, name}
		if purpose == planConstant && e.constant[key] {
			return key, ""
		}
		if a := e.cache[key]; a != nil && purpose == planRun {
			if !state[key] {
				state[key] = true
				steps = append(steps, step{key: key, cached: a})
			}
			return key, ""
		}
		met = append(met, key)
		if why := e.obstacle(d, name); why != "" {
			return key, why
		}
		if d.Tensor != nil {
			if !state[d.Tensor] {
				state[d.Tensor] = true
				steps = append(steps, step{key: key, tensor: d.Tensor})
			}
			return key, ""
		}
		done, seen := state[d.Node]
		if seen && !done {
			return key, d.Node.String() + " depends on its own output"
		}
		if !seen {
			state[d.Node] = false
			stack = append(stack, frame{step: step{node: d.Node, inputs: make([]valueKey, len(d.Node.Inputs))}})
		}
		return key, ""
	}
	if _, why := visit(g, name); why != "" {
		return nil, why
	}
	for len(stack) > 0 {
		top := len(stack) - 1
		n, k := stack[top].node, stack[top].next
		if k == len(n.Inputs) {
			state[n] = true
			steps = append(steps, stack[top].step)
			stack = stack[:top]
			continue
		}
		stack[top].next++
		if n.Inputs[k] == "" || e.declared(n, k) != nil {
			continue
		}
		key, why := visit(n.Graph, n.Inputs[k])
		if why != "" {
			return nil, why
		}
		stack[top].inputs[k] = key
	}
	for _, key := range met {
		e.constant[key] = true
	}
	return steps, ""
}

// obstacle says why a definition alone keeps a value from being constant, "" where it does not.
func (e *Evaluator) obstacle(d Def, name string) string {
	quoted := strconv.Quote(name)
	switch {
	case d.Sparse != nil:
		return "sparse initializer " + quoted
	case e.ix.Overridable(d):
		return "initializer " + quoted + ", which is a graph input too and may be overridden"
	case d.Tensor != nil:
		return ""
	case d.Input != nil && d.Graph.Function != nil:
		return "function input " + quoted
	case d.Input != nil && d.Graph.Owner != nil:
		return "input " + quoted + " of a body of " + d.Graph.Owner.String()
	case d.Input != nil:
		return "graph input " + quoted
	}
	n := d.Node
	if e.ix.Function(n) != nil {
		return n.String() + ", a call of a model-local function"
	}
	op, ok := operators[n.OpType]
	if !ok || plainDomain(n.Domain) != "" {
		return n.String() + ", an operator that is not evaluated"
	}
	if why := op.refused(n); why != "" {
		return why
	}
	if d.Slot > 0 && !op.many {
		return "output " + strconv.Itoa(d.Slot) + " of " + n.String()
	}
	for _, a := range n.Attributes {
		if a.RefName != "" {
			return "attribute " + strconv.Quote(a.Name) + " of " + n.String() + ", which each call of the function sets"
		}
	}
	return ""
}

// declared is the static shape that Shape or Size takes from the declaration of a graph input, which runtimes hold callers to; nil
// otherwise.
func (e *Evaluator) declared(n *Node, k int) []int {
	if k != 0 || n.OpType != "Shape" && n.OpType != "Size" {
		return nil
	}
	d, ok := e.ix.Resolve(n.Graph, n.Inputs[0])
	if !ok || d.Input == nil || d.Graph != e.m.Graph {
		return nil
	}
	t := d.Input.Type
	if t == nil || t.Kind != "tensor" || !t.HasShape {
		return nil
	}
	dims := make([]int, len(t.Shape))
	for i, v := range t.Shape {
		if !v.Known || v.Value < 0 || int64(int(v.Value)) != v.Value {
			return nil
		}
		dims[i] = int(v.Value)
	}
	return dims
}

// errNotEvaluated marks what a valid model may ask for and the evaluator does not do.
type errNotEvaluated string

func (e errNotEvaluated) Error() string { return string(e) }

// run computes a value, or with values false its type and dims alone.
func (e *Evaluator) run(ctx context.Context, g *Graph, name string, values bool) (*Array, error) {
	steps, why := e.plan(g, name, planRun)
	if why != "" {
		return nil, &UnsupportedError{File: e.m.File(), Path: g.Path(), What: fmt.Sprintf("%q is not constant: %s", name, why)}
	}
	d, _ := e.ix.Resolve(g, name)
	root := valueKey{d.Graph, name}
	markNeeded(steps, values)
	r := &evaluation{e: e, ctx: ctx, left: e.limit - e.held, work: float64(e.limit) * 64, values: map[valueKey]*Array{}, readers: map[valueKey]int{root: 1}}
	for _, s := range steps {
		for _, k := range s.inputs {
			r.readers[k]++
		}
	}
	for _, s := range steps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := r.step(s); err != nil {
			return nil, err
		}
	}
	a := r.values[root]
	if a == nil {
		return nil, &FormatError{File: e.m.File(), Offset: -1, Path: g.Path(), What: fmt.Sprintf("no step computed %q", name)}
	}
	if values && d.Node != nil && e.cache[root] == nil {
		e.cache[root] = a
		e.held += a.bytes()
	}
	return a, nil
}

// markNeeded finds the steps whose values the last one needs: all of them but what only Shape and Size look at. Without values, only
// the operands that decide shapes.
func markNeeded(steps []step, values bool) {
	need := map[valueKey]bool{}
	for i := len(steps) - 1; i >= 0; i-- {
		s := &steps[i]
		if s.node == nil {
			s.need = need[s.key] || (values && i == len(steps)-1)
			continue
		}
		s.need = values && i == len(steps)-1
		for _, name := range s.node.Outputs {
			s.need = s.need || need[valueKey{s.node.Graph, name}]
		}
		op := operators[s.node.OpType]
		for k, key := range s.inputs {
			if key.graph != nil && (op.decides(k) || (s.need && !op.dimsOnly)) {
				need[key] = true
			}
		}
	}
}

// evaluation is one run over a plan.
type evaluation struct {
	e       *Evaluator
	ctx     context.Context
	left    int64   // bytes that results may still take
	work    float64 // multiplications that matrix products may still take
	values  map[valueKey]*Array
	readers map[valueKey]int // steps that still read a value
}

func (r *evaluation) step(s step) error {
	if s.cached != nil {
		r.values[s.key] = s.cached
		return nil
	}
	if s.node == nil {
		a, err := tensorArray(s.tensor, s.need)
		if err != nil {
			return err
		}
		r.values[s.key] = a
		return nil
	}
	n := s.node
	c := &call{evaluation: r, node: n, in: make([]*Array, len(n.Inputs)), shapeOnly: !s.need, version: n.Graph.Opset("")}
	for k, key := range s.inputs {
		if key.graph == nil {
			continue
		}
		c.in[k] = r.values[key]
		if r.readers[key]--; r.readers[key] == 0 {
			delete(r.values, key)
		}
		if c.in[k] == nil {
			return r.fail(n, fmt.Errorf("input %d %q has no value", k, n.Inputs[k]))
		}
	}
	out, err := operators[n.OpType].run(c)
	if err != nil {
		return r.fail(n, err)
	}
	for k, name := range n.Outputs {
		key := valueKey{n.Graph, name}
		if name == "" || r.readers[key] == 0 {
			continue
		}
		if k >= len(out) || out[k] == nil {
			return r.fail(n, fmt.Errorf("output %d %q is not computed", k, name))
		}
		r.values[key] = out[k]
	}
	return nil
}

// fail types an operator's error: the model is wrong, unless the error says otherwise.
func (r *evaluation) fail(n *Node, err error) error {
	var no errNotEvaluated
	var format *FormatError
	var unsupported *UnsupportedError
	switch {
	case errors.As(err, &format), errors.As(err, &unsupported), r.ctx.Err() != nil && errors.Is(err, r.ctx.Err()):
		return err
	case errors.As(err, &no):
		return &UnsupportedError{File: r.e.m.File(), Path: n.String(), What: err.Error()}
	}
	return &FormatError{File: r.e.m.File(), Offset: -1, Path: n.String(), What: err.Error()}
}

// tensorArray decodes a tensor, or gives its type and dims alone.
func tensorArray(t *Tensor, values bool) (*Array, error) {
	if values {
		return t.Array()
	}
	a := &Array{Type: t.Type, Dims: make([]int, len(t.Dims))}
	for k, d := range t.Dims {
		a.Dims[k] = int(d)
	}
	return a, nil
}

// bytes is the memory an array's data take.
func (a *Array) bytes() int64 {
	n := int64(1)
	for _, d := range a.Dims {
		n *= int64(d)
	}
	return n * elementBytes(a.Type)
}

// elementBytes is the memory one element of an array takes.
func elementBytes(t DataType) int64 {
	switch t {
	case Double, Int64, Uint64, Complex64:
		return 8
	case Float, Int32, Uint32:
		return 4
	case Float16, BFloat16, Int16, Uint16:
		return 2
	case String, Complex128:
		return 16
	}
	return 1
}
