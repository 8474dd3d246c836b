package finetune

import (
	"context"
	"fmt"
	"slices"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// cachedTeacher is the most bytes of a teacher's values that are kept instead of being computed in every epoch.
const cachedTeacher = 256 << 20

// teacher gives the values of a model that is not trained.
type teacher struct {
	engine *engine
	// samples holds the values of each sample, step by step and then in the order of engine.values; nil where they are computed anew.
	samples map[int][]*runtime.Tensor
	window  int              // of streams, 0 for other models
	dims    map[string][]int // of one sample's values
}

// newTeacher compiles a teacher, nil where the objective reads none of its values.
func newTeacher(ctx context.Context, m *onnx.Model, values []string, s Streams, d *dataset.Dataset) (*teacher, error) {
	if m == nil || len(values) == 0 {
		return nil, nil
	}
	e, err := compileEngine(ctx, m, values, s, d)
	if err != nil {
		return nil, err
	}
	return &teacher{engine: e, window: s.window()}, nil
}

// again is this teacher with states of its own; what it remembers goes by the samples' numbers and holds for parts of the same data only.
func (t *teacher) again() *teacher {
	if t == nil {
		return nil
	}
	e := *t.engine
	e.current = nil
	return &teacher{engine: &e, samples: t.samples, window: t.window}
}

// remember runs the teacher on all samples once, in the order of the data so that batches of training do not matter, where the values fit cachedTeacher. What it
// remembered of other data is forgotten.
func (t *teacher) remember(ctx context.Context, d *dataset.Dataset) error {
	if t == nil {
		return nil
	}
	t.engine.current, t.samples, t.dims = nil, nil, map[string][]int{}
	known := map[int][]*runtime.Tensor{}
	for b, err := range d.Batches(ctx, dataset.BatchOptions{Size: evaluationBatch(0, d), Window: t.window}) {
		if err != nil {
			return err
		}
		if err := t.engine.begin(b); err != nil {
			return err
		}
		for k := range b.Steps() {
			out, err := t.engine.step(ctx, b, b.At(k))
			if err != nil {
				return err
			}
			if fits, err := t.keep(known, d, b, out); !fits || err != nil {
				return err
			}
		}
	}
	t.samples = known
	return nil
}

// keep adds the values of one run, and says whether all of them will fit.
func (t *teacher) keep(known map[int][]*runtime.Tensor, d *dataset.Dataset, b *dataset.Batch, out map[string]*runtime.Tensor) (fits bool, err error) {
	var bytes int64
	rows := len(b.Weights)
	for _, name := range t.engine.values {
		bytes += int64(out[name].Elements()) * 8
	}
	if bytes/int64(rows) > cachedTeacher/int64(d.Len())/int64(t.runs(d)) {
		return false, nil
	}
	for i := range rows {
		if b.Weights[i] == 0 {
			continue
		}
		for _, name := range t.engine.values {
			v, ok := takeSample(out[name], t.engine.axes[name], i, rows)
			if first := t.dims[name]; !ok || first != nil && !slices.Equal(v.Dims, first) {
				return false, nil
			}
			t.dims[name] = v.Dims
			known[b.Index[i]] = append(known[b.Index[i]], v)
		}
	}
	return true, nil
}

// runs is how often a sample is run: the steps of a stream, otherwise once.
func (t *teacher) runs(d *dataset.Dataset) int {
	if t.window == 0 {
		return 1
	}
	return d.Steps()
}

// step gives the teacher's values at step k of a batch.
func (t *teacher) step(ctx context.Context, b *dataset.Batch, k int, feeds map[string]*runtime.Tensor) (map[string]*runtime.Tensor, error) {
	if t.samples == nil {
		return t.engine.step(ctx, b, feeds)
	}
	first := 0
	if t.window > 0 {
		first = (b.Start + k) * len(t.engine.values)
	}
	out := map[string]*runtime.Tensor{}
	for n, name := range t.engine.values {
		var parts []*runtime.Tensor
		for _, i := range b.Index {
			s := t.samples[i]
			if first+n >= len(s) {
				return nil, fmt.Errorf("sample %d: %d values are remembered, number %d is asked for", i, len(s), first+n)
			}
			parts = append(parts, s[first+n])
		}
		v, ok := joinSamples(parts, t.engine.axes[name])
		if !ok {
			return nil, fmt.Errorf("value %q: has other dims from sample to sample", name)
		}
		out[name] = v
	}
	return out, nil
}

// takeSample copies sample i of a value, which keeps an axis of 1; without an axis the value is that of the only sample.
func takeSample(t *runtime.Tensor, axis, i, samples int) (*runtime.Tensor, bool) {
	if axis < 0 {
		return t, samples == 1
	}
	if t.Dims[axis] != samples {
		return nil, false
	}
	outer, inner := around(t.Dims, axis)
	dims := slices.Clone(t.Dims)
	dims[axis] = 1
	part, err := onnx.ZeroArray(t.Type, dims)
	if err != nil {
		return nil, false
	}
	for o := range outer {
		if !copyElements(part, o*inner, t, (o*samples+i)*inner, inner) {
			return nil, false
		}
	}
	return part, true
}

// joinSamples puts samples together along their axis.
func joinSamples(parts []*runtime.Tensor, axis int) (*runtime.Tensor, bool) {
	if len(parts) == 0 {
		return nil, false
	}
	if axis < 0 {
		return parts[0], len(parts) == 1
	}
	dims := slices.Clone(parts[0].Dims)
	for _, p := range parts[1:] {
		if !slices.Equal(p.Dims, parts[0].Dims) {
			return nil, false
		}
	}
	dims[axis] = len(parts)
	whole, err := onnx.ZeroArray(parts[0].Type, dims)
	if err != nil {
		return nil, false
	}
	outer, inner := around(dims, axis)
	for i, p := range parts {
		for o := range outer {
			if !copyElements(whole, (o*len(parts)+i)*inner, p, o*inner, inner) {
				return nil, false
			}
		}
	}
	return whole, true
}

// around is the product of the dims in front of and behind an axis.
func around(dims []int, axis int) (outer, inner int) {
	outer, inner = 1, 1
	for k, d := range dims {
		switch {
		case k < axis:
			outer *= d
		case k > axis:
			inner *= d
		}
	}
	return outer, inner
}

// copyElements copies n elements of float tensors.
func copyElements(to *runtime.Tensor, at int, from *runtime.Tensor, start, n int) bool {
	switch src := from.Data.(type) {
	case []float32:
		dst, ok := to.Data.([]float32)
		return ok && copy(dst[at:at+n], src[start:start+n]) == n
	case []float64:
		dst, ok := to.Data.([]float64)
		return ok && copy(dst[at:at+n], src[start:start+n]) == n
	}
	return false
}
