package onnx

import (
	"context"
	"errors"
	"fmt"
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
	m     *Model
	ix    *Index
	limit int64
	held  int64 // bytes of cache
	cache map[valueKey]*Array
	infos map[valueKey]*Array // type and dims
	known map[valueKey]string // why the value is not constant, "" where it is
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
	return &Evaluator{m: m, ix: ix, limit: limit, cache: map[valueKey]*Array{}, infos: map[valueKey]*Array{}, known: map[valueKey]string{}}
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

// errNotEvaluated marks what a valid model may ask for and the evaluator does not do.
type errNotEvaluated string

func (e errNotEvaluated) Error() string { return string(e) }

// run computes a value, or with values false its type and dims alone.
func (e *Evaluator) run(ctx context.Context, g *Graph, name string, values bool) (*Array, error) {
	d, _ := e.ix.Resolve(g, name)
	root := valueKey{d.Graph, name}
	if a := e.infos[root]; a != nil && !values {
		return a, nil
	}
	steps, why := e.plan(g, name, planRun)
	if why != "" {
		return nil, &UnsupportedError{File: e.m.File(), Path: g.Path(), What: fmt.Sprintf("%s is not constant: %s", quote(name), why)}
	}
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
		return nil, &FormatError{File: e.m.File(), Offset: -1, Path: g.Path(), What: "no step computed " + quote(name)}
	}
	if values && d.Node != nil && e.cache[root] == nil {
		e.cache[root] = a
		e.held += a.bytes()
	}
	e.infos[root] = &Array{Type: a.Type, Dims: a.Dims}
	return a, nil
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
			return r.fail(n, fmt.Errorf("input %d %s has no value", k, quote(n.Inputs[k])))
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
			return r.fail(n, fmt.Errorf("output %d %s is not computed", k, quote(name)))
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
