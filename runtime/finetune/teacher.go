package finetune

import (
	"context"
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
	// samples holds the values of each sample, in the order of engine.values; nil where they are computed anew.
	samples map[int][]*runtime.Tensor
}

// newTeacher compiles a teacher, nil where the objective reads none of its values.
func newTeacher(ctx context.Context, m *onnx.Model, values []string, s Streams, d *dataset.Dataset) (*teacher, error) {
	if m == nil || len(values) == 0 {
		return nil, nil
	}
	e, err := compileEngine(ctx, m, values, s)
	if err != nil {
		return nil, err
	}
	if err := e.probe(ctx, d); err != nil {
		return nil, err
	}
	return &teacher{engine: e}, nil
}

// again is this teacher with states of its own; what it remembers goes by the samples' numbers and holds for parts of the same data only.
func (t *teacher) again() *teacher {
	if t == nil {
		return nil
	}
	e := *t.engine
	e.current = nil
	return &teacher{engine: &e, samples: t.samples}
}

// remember runs the teacher on all samples once, in the order of the data so that batches of training do not matter, where the values fit cachedTeacher.
// Streams are not remembered.
func (t *teacher) remember(ctx context.Context, d *dataset.Dataset, batch int) error {
	if t == nil || len(t.engine.states) > 0 {
		return nil
	}
	known := map[int][]*runtime.Tensor{}
	for b, err := range d.Batches(ctx, dataset.BatchOptions{Size: min(batch, d.Len())}) {
		if err != nil {
			return err
		}
		out, err := t.engine.program.Run(ctx, b.Feeds)
		if err != nil {
			return err
		}
		var bytes int64
		rows := len(b.Weights)
		for _, name := range t.engine.values {
			bytes += int64(out[name].Elements()) * 8
		}
		if bytes/int64(rows) > cachedTeacher/int64(d.Len()) {
			return nil
		}
		for i := range rows {
			if b.Weights[i] == 0 {
				continue
			}
			var values []*runtime.Tensor
			for _, name := range t.engine.values {
				v, ok := takeSample(out[name], t.engine.axes[name], i, rows)
				if !ok {
					return nil
				}
				values = append(values, v)
			}
			known[b.Index[i]] = values
		}
	}
	t.samples = known
	return nil
}

// step gives the teacher's values at a step of a batch.
func (t *teacher) step(ctx context.Context, b *dataset.Batch, feeds map[string]*runtime.Tensor) (map[string]*runtime.Tensor, error) {
	if t == nil {
		return nil, nil
	}
	if t.samples == nil {
		return t.engine.step(ctx, b, feeds)
	}
	out := map[string]*runtime.Tensor{}
	for k, name := range t.engine.values {
		var parts []*runtime.Tensor
		for _, i := range b.Index {
			if s := t.samples[i]; s != nil {
				parts = append(parts, s[k])
			}
		}
		v, ok := joinSamples(parts, t.engine.axes[name])
		if !ok || len(parts) != len(b.Index) {
			return t.engine.step(ctx, b, feeds)
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
