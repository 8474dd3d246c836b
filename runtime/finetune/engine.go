package finetune

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// Streams say how a model that is one step of a stream is run.
type Streams struct {
	// States are state outputs with the inputs they become at the next step. They start at zero.
	States map[string]string
	// Window is how many steps gradients go back through; states go on without gradient behind them (truncated back-propagation through time). 0: DefaultWindow.
	Window int
}

// DefaultWindow is Streams.Window where it is 0.
const DefaultWindow = 50

func (s Streams) window() int {
	switch {
	case len(s.States) == 0:
		return 0
	case s.Window == 0:
		return DefaultWindow
	}
	return s.Window
}

// outputs are the state outputs in order.
func (s Streams) outputs() []string { return slices.Sorted(maps.Keys(s.States)) }

// engine runs a program on batches of a data set and, for streams, on its own states.
type engine struct {
	program *runtime.Program
	run     func(context.Context, map[string]*runtime.Tensor) (map[string]*runtime.Tensor, error)
	values  []string // what objectives read
	states  map[string]string
	wide    map[string]string // names of the float32 copies of values of 16 bits
	axes    map[string]int
	shapes  map[string][]int                   // of the values, for the fewest samples that are run at once
	current map[int]map[string]*runtime.Tensor // states by Batch.Run
}

// union joins lists of names.
func union(a, b []string) []string {
	all := slices.Clone(a)
	for _, n := range b {
		if !slices.Contains(all, n) {
			all = append(all, n)
		}
	}
	return all
}

// compileEngine compiles a model that only runs forward.
func compileEngine(ctx context.Context, m *onnx.Model, values []string, s Streams, d *dataset.Dataset) (*engine, error) {
	e := &engine{values: values, states: s.States}
	compile := func(m *onnx.Model) (err error) {
		e.program, err = runtime.Compile(ctx, m, runtime.Options{Outputs: e.outputs()})
		return err
	}
	if err := e.prepare(ctx, m, d, compile); err != nil {
		return nil, err
	}
	e.run = e.program.Run
	return e, nil
}

// prepare compiles a model with what compile does, which sets e.program, and looks at its values; where some are of 16 bits it does so again, with copies of them.
func (e *engine) prepare(ctx context.Context, m *onnx.Model, d *dataset.Dataset, compile func(*onnx.Model) error) error {
	if err := compile(m); err != nil {
		return err
	}
	halves, err := e.probe(ctx, d)
	if err != nil || len(halves) == 0 {
		return err
	}
	m, e.wide = widened(m, halves)
	return compile(m)
}

// zeroStates are the states of n streams at their beginning.
func (e *engine) zeroStates(n int) (map[string]*runtime.Tensor, error) {
	all := map[string]*runtime.Tensor{}
	for _, name := range slices.Sorted(maps.Values(e.states)) {
		k := slices.IndexFunc(e.program.Inputs(), func(v *onnx.ValueInfo) bool { return v.Name == name })
		if k < 0 {
			return nil, fmt.Errorf("finetune: state input %q: the model has no such input", name)
		}
		in := e.program.Inputs()[k]
		if in.Type == nil || !in.Type.HasShape {
			return nil, fmt.Errorf("finetune: state input %q: its shape is not declared, so that it cannot start at zero", name)
		}
		var dims []int
		total := int64(1)
		for _, d := range in.Type.Shape {
			size := d.Value
			if !d.Known {
				size = int64(n)
			}
			if size < 0 || size > 0 && total > math.MaxInt32/size {
				return nil, fmt.Errorf("finetune: state input %q: dims are too large", name)
			}
			total *= size
			dims = append(dims, int(size))
		}
		zero, err := onnx.ZeroArray(in.Type.Elem, dims)
		if err != nil {
			return nil, fmt.Errorf("finetune: state input %q: %w", name, err)
		}
		all[name] = zero
	}
	return all, nil
}

// begin makes the states of a run ready.
func (e *engine) begin(b *dataset.Batch) error {
	if len(e.states) == 0 || !b.Reset && e.current[b.Run] != nil {
		return nil
	}
	if e.current == nil || b.Reset && b.Run == 0 {
		e.current = map[int]map[string]*runtime.Tensor{}
	}
	zero, err := e.zeroStates(len(b.Weights))
	if err != nil {
		return err
	}
	e.current[b.Run] = zero
	return nil
}

// feeds adds the states to the feeds of a step.
func (e *engine) feeds(b *dataset.Batch, feeds map[string]*runtime.Tensor) map[string]*runtime.Tensor {
	if len(e.states) == 0 {
		return feeds
	}
	all := maps.Clone(feeds)
	maps.Copy(all, e.current[b.Run])
	return all
}

// advance keeps the states that a step gave.
func (e *engine) advance(b *dataset.Batch, out map[string]*runtime.Tensor) {
	if len(e.states) == 0 {
		return
	}
	next := map[string]*runtime.Tensor{}
	for from, to := range e.states {
		next[to] = out[from]
	}
	e.current[b.Run] = next
}

// step runs one step forward.
func (e *engine) step(ctx context.Context, b *dataset.Batch, feeds map[string]*runtime.Tensor) (map[string]*runtime.Tensor, error) {
	out, err := e.run(ctx, e.feeds(b, feeds))
	if err != nil {
		return nil, err
	}
	e.advance(b, out)
	return e.named(out), nil
}

// probe finds the batch axis of each value: the one that grows with the number of samples. A model with a fixed batch of K has it where the extent is K. halves are the values of 16 bits.
func (e *engine) probe(ctx context.Context, d *dataset.Dataset) (halves []string, err error) {
	e.axes, e.shapes = map[string]int{}, map[string][]int{}
	if d.Len() == 0 {
		return nil, fmt.Errorf("finetune: the data set has 0 samples")
	}
	rows := func(n int) int {
		if d.MaxBatch() != d.Len() {
			return d.MaxBatch()
		}
		return n
	}
	run := func(n int) (map[string]*runtime.Tensor, error) {
		feeds, err := d.Feeds(0, n, 0)
		if err != nil {
			return nil, err
		}
		states, err := e.zeroStates(rows(n))
		if err != nil {
			return nil, err
		}
		maps.Copy(states, feeds)
		return e.program.Run(ctx, states)
	}
	one, err := run(1)
	if err != nil {
		return nil, err
	}
	two := one
	if min(d.MaxBatch(), d.Len()) > 1 {
		if two, err = run(2); err != nil {
			return nil, err
		}
	}
	for _, name := range e.values {
		v := one[name]
		e.axes[name], e.shapes[name] = batchAxis(v.Dims, two[name].Dims, rows(1)), v.Dims
		if v.Type == onnx.Float16 || v.Type == onnx.BFloat16 {
			halves = append(halves, name)
		}
	}
	return halves, nil
}

// batchAxis compares the dims of one and of two samples; where they are the same the run has a fixed number of rows.
func batchAxis(one, two []int, rows int) int {
	same := slices.Equal(one, two)
	for k := range one {
		if same && rows > 1 && one[k] == rows || !same && k < len(two) && one[k] == 1 && two[k] == 2 {
			return k
		}
	}
	return -1
}

// weights are those of the samples at a step of a batch; lengths those that objectives have to look at themselves.
func weights(b *dataset.Batch, step int, streams bool) (w []float64, lengths []int) {
	w = make([]float64, len(b.Weights))
	for i, v := range b.Weights {
		w[i] = float64(v)
		if streams && b.Lengths != nil && step >= b.Lengths[i] {
			w[i] = 0
		}
	}
	if !streams {
		lengths = b.Lengths
	}
	return w, lengths
}

// labelsStepped says whether the labels of streams have a step axis.
func labelsStepped(d *dataset.Dataset) bool {
	l := d.Labels(0, 1)
	return l != nil && len(l.Dims) > 1 && l.Dims[1] == d.Steps()
}
