package source

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
)

// Options of Lower.
type Options struct {
	// Dims are the sizes of symbolic dims by name. Others are 1, so that a model whose steps are symbolic should be given them.
	Dims map[string]int
	// Int8 holds the weights of products, convolutions, recurrent nodes and embedding tables as int8 with one scale per row (symmetric, largest magnitude /
	// 127); everything else stays float32.
	Int8 bool
	// MergeAtStart keeps the cores of a compact model as they are stored and merges them into static memory when the program starts; otherwise the
	// merged matrices are constants. See package csource for what each costs.
	MergeAtStart bool
	// Stream asks for Program.Stream as well, where the model can be run step by step.
	Stream bool
	// States pairs outputs with the inputs they are at the next step, for models that are one step of a stream already. They begin with zeros.
	States map[string]string
	// Fixed gives inputs a constant value; they are no inputs of the program then. Shapes, axes and other numbers that select what is computed must be.
	Fixed map[string]*onnx.Array
	// Feeds are the sample inputs by name; inputs that are not among them get numbers of a fixed sequence.
	Feeds map[string]*onnx.Array
}

// maxElements bounds a buffer, so that 32-bit indices serve.
const maxElements = math.MaxInt32 / 8

// Lower rewrites a model. What it lacks is reported at once as an *UnsupportedError.
func Lower(ctx context.Context, m *onnx.Model, o Options) (*Program, error) {
	for name, n := range o.Dims {
		if n < 1 || n > maxElements {
			return nil, fmt.Errorf("export: source code: dim %q: size %d (want 1 to %d)", name, n, maxElements)
		}
	}
	l := &lowerer{ctx: ctx, program: &Program{}, options: o, pool: map[string]*Buffer{}}
	g, err := prepare(ctx, m, o)
	if err != nil {
		return nil, err
	}
	run, err := l.entry(g, false)
	if err != nil {
		return nil, err
	}
	l.program.Run, l.program.Quantized = *run, l.quants
	l.program.Tolerance = g.tolerance()
	out := g.values
	if len(l.quants) > 0 {
		if out, err = l.quantizedOutputs(g); err != nil {
			return nil, err
		}
	}
	l.program.Run.Samples = []Sample{g.sample(out)}
	if o.Stream || len(o.States) > 0 {
		if err := l.stream(g); err != nil {
			return nil, err
		}
	}
	l.finish()
	return l.program, nil
}

// quantizedOutputs computes the outputs of the sample with the weights that int8 stands for.
func (l *lowerer) quantizedOutputs(g *graph) (map[string]*onnx.Array, error) {
	p, err := runtime.Compile(l.ctx, g.model, runtime.Options{Overrides: l.program.Quantized})
	if err != nil {
		return nil, err
	}
	return p.Run(l.ctx, g.feeds)
}

// tolerance goes by the coarsest type of a value, see [Program.Tolerance].
func (g *graph) tolerance() float64 {
	t := 1e-4
	for _, a := range g.values {
		switch {
		case a == nil:
		case a.Type == onnx.Float16:
			t = max(t, 2e-3)
		case a.Type == onnx.BFloat16:
			t = max(t, 1.6e-2)
		}
	}
	return t
}

// lowerer collects what the entries of a program share.
type lowerer struct {
	ctx     context.Context
	program *Program
	options Options
	pool    map[string]*Buffer // constants by content
	merged  map[string]tensor  // values of the Init steps by name, see merge.go
	quants  []runtime.Override // of the entry that is being lowered
	given   bool               // initial states may be made of inputs, see Steps
}

// tensor is a value in a buffer, in C order from its first element.
type tensor struct {
	buf  *Buffer
	dims []int
}

// entryLowerer lowers one graph.
type entryLowerer struct {
	*lowerer
	*graph
	streaming   bool
	tensors     map[string]tensor
	steps       []Step
	unsupported UnsupportedError
	bound       map[*Buffer]bool // outputs
}

// entry lowers the live nodes of a graph; samples are the caller's.
func (l *lowerer) entry(g *graph, streaming bool) (*Entry, error) {
	l.quants = nil
	e := &entryLowerer{lowerer: l, graph: g, streaming: streaming, tensors: map[string]tensor{}, bound: map[*Buffer]bool{}}
	entry := &Entry{}
	for k, v := range g.inputs {
		a := g.values[v.Name]
		b, err := newBuffer(a, Input)
		if err != nil {
			return nil, unsupportedInput(v.Name, err)
		}
		b.Index = k
		e.tensors[v.Name] = tensor{b, a.Dims}
		entry.Inputs = append(entry.Inputs, Port{Name: v.Name, Type: a.Type, Dims: a.Dims, Buf: b})
	}
	if err := e.merge(); err != nil {
		return nil, err
	}
	for _, n := range g.nodes {
		if err := l.ctx.Err(); err != nil {
			return nil, fmt.Errorf("export: source code: %w", err)
		}
		if g.folded(n) {
			continue
		}
		if err := e.lower(n); err != nil {
			return nil, err
		}
	}
	if e.unsupported.Counts != nil {
		return nil, &e.unsupported
	}
	for k, v := range g.outputs {
		t, err := e.get(v.Name)
		if err != nil {
			return nil, fmt.Errorf("export: source code: output %q: %w", v.Name, err)
		}
		b := t.buf
		if b.Space != Arena || e.bound[b] {
			b = &Buffer{Elem: t.buf.Elem, Len: t.buf.Len}
			e.steps = append(e.steps, copyStep(b, t.buf))
		}
		b.Space, b.Index = Output, k
		e.bound[b] = true
		entry.Outputs = append(entry.Outputs, Port{Name: v.Name, Type: g.values[v.Name].Type, Dims: t.dims, Buf: b})
	}
	nameports(entry.Inputs, "input")
	nameports(entry.Outputs, "output")
	entry.Steps = e.steps
	return entry, nil
}

func unsupportedInput(name string, err error) error {
	var lacks *lack
	if !errors.As(err, &lacks) {
		return fmt.Errorf("export: source code: input %q: %w", name, err)
	}
	u := &UnsupportedError{}
	u.Add("graph input: "+lacks.reason, strconv.Quote(name))
	return u
}

func nameports(ports []Port, otherwise string) {
	names := make([]string, len(ports))
	for k, p := range ports {
		names[k] = p.Name
	}
	for k, id := range identifiers(names, otherwise) {
		ports[k].Ident = id
	}
}

// finish drops notes without steps, lays out memory and numbers the constants that are used.
func (l *lowerer) finish() {
	p := l.program
	lists := []*[]Step{&p.Init, &p.Run.Steps}
	if p.Stream != nil {
		lists = append(lists, &p.Stream.Steps)
	}
	l.dropUnread()
	used := map[*Buffer]bool{}
	number := func(b *Buffer) {
		if b != nil && !used[b] {
			used[b] = true
			b.Index = len(p.Consts)
			p.Consts = append(p.Consts, b)
		}
	}
	for _, list := range lists {
		*list = withoutEmptyNotes(*list)
		p.plan(*list, Arena)
		for _, s := range *list {
			out, in := s.buffers()
			for _, b := range append(out, in...) {
				if b != nil && b.Space == Const {
					number(b)
				}
			}
		}
	}
	for _, s := range p.States {
		number(s.Init)
	}
	p.plan(p.Init, Merged)
}

func withoutEmptyNotes(steps []Step) []Step {
	var kept []Step
	for k, s := range steps {
		if _, note := s.(*Note); note {
			if k+1 == len(steps) {
				continue
			}
			if _, next := steps[k+1].(*Note); next {
				continue
			}
		}
		kept = append(kept, s)
	}
	return kept
}

// lower lowers one node; what is unsupported is noted.
func (e *entryLowerer) lower(n *onnx.Node) error {
	op := &node{Node: n, entryLowerer: e, asked: map[string]bool{}}
	e.steps = append(e.steps, &Note{Text: n.String()})
	err := guard(func() error { return lowerings[n.OpType](op) })
	if err == nil {
		for _, a := range n.Attributes {
			if !op.asked[a.Name] {
				err = lacksf("attribute %q", a.Name)
			}
		}
	}
	var lacks *lack
	switch {
	case errors.As(err, &lacks):
		e.unsupported.Add(opName(n)+": "+lacks.Error(), n.String())
		for _, name := range n.Outputs { // so that the nodes after it are looked at too
			if a := e.values[name]; name != "" && a != nil {
				if b, err := newBuffer(a, Arena); err == nil {
					e.tensors[name] = tensor{b, a.Dims}
				}
			}
		}
		return nil
	case err != nil:
		return fmt.Errorf("export: source code: %v: %w", n, err)
	}
	return nil
}

func opName(n *onnx.Node) string {
	if n.Domain != "" {
		return n.Domain + "." + n.OpType
	}
	return n.OpType
}

// lack is something that generated code cannot do.
type lack struct{ reason string }

func (l *lack) Error() string { return l.reason }

func lacksf(format string, args ...any) error { return &lack{fmt.Sprintf(format, args...)} }

// get finds a value: computed, merged or constant.
func (e *entryLowerer) get(name string) (tensor, error) {
	if t, ok := e.tensors[name]; ok {
		return t, nil
	}
	if t, ok := e.merged[name]; ok {
		return t, nil
	}
	a := e.values[name]
	if a == nil {
		return tensor{}, lacksf("value %q is no tensor", name)
	}
	if !e.constant[name] {
		return tensor{}, lacksf("an operand that is not computed")
	}
	return e.constTensor(a)
}

func (l *lowerer) constTensor(a *onnx.Array) (tensor, error) {
	b, err := newBuffer(a, Const)
	if err != nil {
		return tensor{}, err
	}
	if b.Data, err = elements(a); err != nil {
		return tensor{}, err
	}
	return tensor{l.share(b), a.Dims}, nil
}

// floats makes a constant.
func (l *lowerer) floats(data []float32) *Buffer {
	return l.share(&Buffer{Elem: Float32, Len: len(data), Space: Const, Data: data})
}

func (l *lowerer) int64s(data []int64) *Buffer {
	return l.share(&Buffer{Elem: Int64, Len: len(data), Space: Const, Data: data})
}

// define makes the buffer of an output.
func (e *entryLowerer) define(name string) (tensor, error) {
	a := e.values[name]
	if a == nil {
		return tensor{}, lacksf("result %q is no tensor", name)
	}
	b, err := newBuffer(a, Arena)
	if err != nil {
		return tensor{}, err
	}
	t := tensor{b, a.Dims}
	e.tensors[name] = t
	return t, nil
}

// alias gives a value's elements other dims.
func (e *entryLowerer) alias(name string, t tensor) error {
	a := e.values[name]
	if a == nil {
		return lacksf("result %q is no tensor", name)
	}
	e.tensors[name] = tensor{t.buf, a.Dims}
	return nil
}

// temp makes a temporary buffer.
func temp(elem Elem, n int) *Buffer { return &Buffer{Elem: elem, Len: n} }

func (e *entryLowerer) add(steps ...Step) {
	for _, s := range steps {
		out, _ := s.buffers()
		empty := len(out) > 0
		for _, b := range out {
			empty = empty && (b == nil || b.Len == 0)
		}
		if !empty {
			e.steps = append(e.steps, s)
		}
	}
}

func (e *entryLowerer) nest(dims []int, out Ref, expr Expr, in ...Ref) {
	e.add(newNest(dims, out, in, expr))
}

func copyStep(out, in *Buffer) Step {
	return newNest([]int{out.Len}, Ref{Buf: out, Strides: []int{1}}, []Ref{{Buf: in, Strides: []int{1}}}, Expr{Op: "copy"})
}

// strides of a C-order array.
func strides(dims []int) []int {
	s := make([]int, len(dims))
	n := 1
	for k := len(dims) - 1; k >= 0; k-- {
		s[k] = n
		n *= dims[k]
	}
	return s
}

func size(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// whole walks a tensor in C order.
func whole(t tensor) Ref { return Ref{Buf: t.buf, Strides: strides(t.dims)} }

// spread walks a tensor as if it were broadcast to dims.
func spread(t tensor, dims []int) Ref {
	s := strides(t.dims)
	r := Ref{Buf: t.buf, Strides: make([]int, len(dims))}
	for k, n := range t.dims {
		if at := len(dims) - len(t.dims) + k; at >= 0 && n != 1 {
			r.Strides[at] = s[k]
		}
	}
	return r
}
