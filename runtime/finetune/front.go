package finetune

import (
	"context"
	"fmt"
	"math"
	"runtime/debug"
	"slices"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// front is the part of a model that no trained tensor reaches: the same for a sample whatever the epoch. It runs forward alone, on each sample by itself, so that what it
// gives does not depend on how samples are batched nor on whether it is remembered; training runs the rest of the model on that.
//
// A training has a front where its samples can be run one by one, inputs are without noise, the model is no step of a stream, and see [cutFront].
type front struct {
	cut     *cut
	program *runtime.Program
	axes    map[string]int // of the samples, by value; -1 where a run has one sample
	data    *dataset.Dataset
	// samples holds the values by the samples' numbers, in the order of cut.values. Where they do not fit, it is nil and places says where in data a sample stands.
	samples map[int][]*runtime.Tensor
	places  map[int]int
	bytes   int64 // of samples
}

// frontMemory is Options.FrontMemory where it is 0.
func frontMemory() int64 {
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		return limit / 4
	}
	return 1 << 30
}

// newFront cuts a model at its front; nil where there is none. Bytes of memory are what it may remember.
func newFront(ctx context.Context, m *onnx.Model, trained []*onnx.Tensor, outputs []string, d *dataset.Dataset, memory int64) (*front, error) {
	joins := d.MaxBatch() == d.Len()
	if d.Len() < 2 || !joins && d.MaxBatch() != 1 {
		return nil, nil
	}
	whole := cutFront(m, trained, outputs, nil)
	if whole == nil {
		return nil, nil
	}
	f := &front{}
	var err error
	if f.program, err = runtime.Compile(ctx, m, runtime.Options{Outputs: whole.values}); err != nil {
		return nil, err
	}
	if f.axes, err = f.separable(ctx, d, whole.values, joins); err != nil {
		return nil, err
	}
	if f.cut = cutFront(m, trained, outputs, func(value string) bool { _, ok := f.axes[value]; return ok }); f.cut == nil {
		return nil, nil
	}
	if !slices.Equal(f.cut.values, whole.values) {
		if f.program, err = runtime.Compile(ctx, m, runtime.Options{Outputs: f.cut.values}); err != nil {
			return nil, err
		}
	}
	same, err := f.fill(ctx, d, memory)
	if !same || err != nil {
		return nil, err
	}
	return f, nil
}

// probeSamples is how many samples are run together and alone, and sameRows how far apart the two may be, as a part of the largest element: sums over other numbers of rows are formed in
// another order.
const (
	probeSamples = 4
	sameRows     = 1e-3
)

// separable finds the values whose elements belong each to one sample, with the axis of the samples: those of the first samples together are those of the samples alone. Others, such as
// shapes and what mixes the samples of a batch, must be computed with the batch.
func (f *front) separable(ctx context.Context, d *dataset.Dataset, values []string, joins bool) (map[string]int, error) {
	run := func(from, to int) (map[string]*runtime.Tensor, error) {
		feeds, err := d.Feeds(from, to, 0)
		if err != nil {
			return nil, err
		}
		return f.program.Run(ctx, feeds)
	}
	n := min(probeSamples, d.Len())
	var alone []map[string]*runtime.Tensor
	for i := range n {
		out, err := run(i, i+1)
		if err != nil {
			return nil, err
		}
		alone = append(alone, out)
	}
	axes := map[string]int{}
	if !joins {
		for _, v := range values {
			if _, ok := floatsOf(alone[0][v]); ok {
				axes[v] = -1
			}
		}
		return axes, nil
	}
	two, err := run(0, 2)
	if err != nil {
		return nil, err
	}
	all, err := run(0, n)
	if err != nil {
		return nil, err
	}
	for _, v := range values {
		axis := batchAxis(alone[0][v].Dims, two[v].Dims, 1)
		if _, ok := floatsOf(all[v]); !ok || axis < 0 {
			continue
		}
		same := true
		for i := range n {
			part, ok := takeSample(all[v], axis, i, n)
			same = same && ok && near(part, alone[i][v])
		}
		if same {
			axes[v] = axis
		}
	}
	return axes, nil
}

// near says whether two tensors are the same but for rounding.
func near(a, b *runtime.Tensor) bool {
	x, ok := floatsOf(a)
	y, both := floatsOf(b)
	if !ok || !both || !slices.Equal(a.Dims, b.Dims) {
		return false
	}
	var top, off float64
	for i := range a.Elements() {
		top = math.Max(top, math.Abs(y.at(i)))
		off = math.Max(off, math.Abs(x.at(i)-y.at(i)))
	}
	return off <= sameRows*top
}

// fill runs the front on every sample of a data set and remembers what it gives where that fits. same is false where joined samples differ in their dims.
func (f *front) fill(ctx context.Context, d *dataset.Dataset, memory int64) (same bool, err error) {
	f.data, f.samples, f.places, f.bytes = d, map[int][]*runtime.Tensor{}, map[int]int{}, 0
	place := 0
	var first []*runtime.Tensor
	for b, err := range d.Batches(ctx, dataset.BatchOptions{Size: 1}) {
		if err != nil {
			return false, err
		}
		f.places[b.Index[0]] = place
		place++
		if f.samples == nil {
			continue
		}
		values, err := f.run(ctx, b.Feeds)
		if err != nil {
			return false, err
		}
		if first == nil {
			first = values
		}
		var size int64
		for k, v := range values {
			if f.axes[f.cut.values[k]] >= 0 && !slices.Equal(v.Dims, first[k].Dims) {
				return false, nil
			}
			size += int64(v.Elements()) * int64(elementBytes(v))
		}
		if f.bytes += size; f.bytes > memory || size > memory/int64(d.Len()) {
			f.samples, f.bytes = nil, 0
			continue
		}
		f.samples[b.Index[0]] = values
	}
	return true, nil
}

func elementBytes(t *runtime.Tensor) int {
	if t.Type == onnx.Double {
		return 8
	}
	return 4
}

// run computes the values of one sample.
func (f *front) run(ctx context.Context, feeds map[string]*runtime.Tensor) ([]*runtime.Tensor, error) {
	out, err := f.program.Run(ctx, feeds)
	if err != nil {
		return nil, err
	}
	values := make([]*runtime.Tensor, len(f.cut.values))
	for k, name := range f.cut.values {
		values[k] = out[name]
	}
	return values, nil
}

// of is the front with the samples of another data set, with what is left of the memory; one that is part of the same data needs none.
func (f *front) of(ctx context.Context, d *dataset.Dataset, memory int64) (*front, error) {
	if f == nil {
		return nil, nil
	}
	other := *f
	same, err := other.fill(ctx, d, memory-f.bytes)
	if err == nil && !same {
		err = fmt.Errorf("finetune: the values %q that no trained tensor reaches have other dims from sample to sample", f.cut.values)
	}
	return &other, err
}

// feeds are what the rest of the model reads: the front's values beside those of the feeds that it wants.
func (f *front) feeds(ctx context.Context, b *dataset.Batch, feeds map[string]*runtime.Tensor) (map[string]*runtime.Tensor, error) {
	if f == nil {
		return feeds, nil
	}
	parts := make([][]*runtime.Tensor, len(f.cut.values)) // by value, then by sample
	for _, i := range b.Index {
		values := f.samples[i]
		if values == nil {
			place, ok := f.places[i]
			if !ok {
				return nil, fmt.Errorf("finetune: sample %d is not of the data that the front was prepared for", i)
			}
			own, err := f.data.Feeds(place, place+1, 0)
			if err != nil {
				return nil, err
			}
			if values, err = f.run(ctx, own); err != nil {
				return nil, err
			}
		}
		for k, v := range values {
			parts[k] = append(parts[k], v)
		}
	}
	all := make(map[string]*runtime.Tensor, len(f.cut.inputs)+len(parts))
	for _, name := range f.cut.inputs {
		all[name] = feeds[name]
	}
	for k, name := range f.cut.values {
		v, ok := joinSamples(parts[k], f.axes[name])
		if !ok {
			return nil, fmt.Errorf("finetune: value %q: has other dims from sample to sample", name)
		}
		all[name] = v
	}
	return all, nil
}

// unread lists the inputs that the rest of the model does not read; the front reads its own from the data set, not from a batch.
func (f *front) unread() []string {
	if f == nil {
		return nil
	}
	return f.cut.unread
}
