package dataset

import (
	"fmt"
	"slices"

	"github.com/trconvert/trconvert/onnx"
)

// series is one input's data.
type series struct {
	name  string
	typ   onnx.DataType // the input's
	from  string        // file and array, for errors
	parts []*stored     // one array, or one for each sample
	kind  kind
	axis  int // batch axis of a feed, -1 where not known
	group int // batched: rows of the axis for one sample
}

// kind is how samples lie in a series.
type kind int

const (
	constant kind = iota // the same for all samples
	batched              // along axis
	stacked              // along axis 0 of the array, before the feed's own axes
	streamed             // axis 0 samples, axis 1 steps, then the feed's own axes
	separate             // each part is one sample's feed
	recorded             // each part is one sample's stream: axis 0 is steps
)

// window is a range of steps of the streams.
type window struct {
	step, steps int
	axis        bool // the feed gets an axis for them
}

// span is a range of elements.
type span struct{ lo, hi int }

// spanList joins spans that touch.
type spanList []span

func (l *spanList) add(lo, hi int) {
	if k := len(*l) - 1; k >= 0 && (*l)[k].hi == lo {
		(*l)[k].hi = hi
		return
	}
	*l = append(*l, span{lo, hi})
}

// feed cuts samples at the steps of a window out of the data: a list of spans of one array, whatever the kind.
func (s *series) feed(samples []int, w window) (*onnx.Array, error) {
	a := s.parts[0]
	var dims []int
	var spans spanList
	switch s.kind {
	case constant:
		dims = a.dims
		spans.whole(dims)
	case batched:
		dims = slices.Clone(a.dims)
		dims[s.axis] = len(samples) * s.group
		outer := size(a.dims[:s.axis])
		inner := size(a.dims[s.axis+1:])
		for o := range outer {
			row := o * a.dims[s.axis]
			for _, k := range samples {
				spans.add((row+k*s.group)*inner, (row+(k+1)*s.group)*inner)
			}
		}
	case stacked:
		dims = s.join(&spans, a.dims[1:], samples, 1, 0)
	case streamed:
		for t := range w.steps {
			dims = s.join(&spans, a.dims[2:], samples, a.dims[1], w.step+t)
		}
	case separate:
		a = s.parts[samples[0]]
		dims = a.dims
		spans.whole(dims)
	case recorded:
		a = s.parts[samples[0]]
		dims = a.dims[1:]
		n := size(dims)
		spans.add(w.step*n, (w.step+w.steps)*n)
	}
	if w.axis && (s.kind == streamed || s.kind == recorded) {
		dims = slices.Concat([]int{w.steps}, dims)
	}
	data, err := a.takeAs(spans, s.typ)
	if err != nil {
		return nil, err
	}
	return &onnx.Array{Type: s.typ, Dims: dims, Data: data}, nil
}

func (l *spanList) whole(dims []int) {
	n := size(dims)
	l.add(0, n)
}

// join puts samples, which lie one after the other, side by side along the batch axis, and returns the dims of the result.
func (s *series) join(spans *spanList, sample, samples []int, steps, step int) []int {
	n := size(sample)
	dims, outer := sample, 1
	if len(samples) > 1 {
		dims = slices.Clone(sample)
		dims[s.axis] *= len(samples)
		outer = size(sample[:s.axis])
	}
	for o := range outer {
		for _, k := range samples {
			at := (k*steps+step)*n + o*(n/outer)
			spans.add(at, at+n/outer)
		}
	}
	return dims
}

// nonFiniteError names element i of a feed by its sample and its place in the feed.
func (s *series) nonFiniteError(a *onnx.Array, i int, samples []int, step int) error {
	where := "at " + indexString(a.Dims, i) + " of the feed"
	sample := samples[0]
	dims := a.Dims
	if s.kind == streamed || s.kind == recorded {
		inner := size(dims[1:])
		where += fmt.Sprintf(", step %d", step+i/inner)
		i, dims = i%inner, dims[1:]
	}
	if len(samples) > 1 {
		inner := size(dims[s.axis+1:])
		sample = samples[i/inner%dims[s.axis]*len(samples)/dims[s.axis]]
	}
	if s.kind != constant {
		where = fmt.Sprintf("sample %d, ", sample) + where
	}
	return fmt.Errorf("dataset: %s: %s: %v is not a finite number", quote(s.from), where, element(a, i))
}

func (s *series) samples() int {
	switch s.kind {
	case batched:
		return s.parts[0].dims[s.axis] / s.group
	case stacked, streamed:
		return s.parts[0].dims[0]
	}
	return len(s.parts)
}

// stepCount is 0 where the series has no step axis.
func (s *series) stepCount() int {
	switch s.kind {
	case streamed:
		return s.parts[0].dims[1]
	case recorded:
		return s.parts[0].dims[0]
	}
	return 0
}

func (s *series) shapes() string { return "shape " + shapeString(s.parts[0].dims) }

// joins says that several samples can be one feed: the batch axis is known and the model leaves its size open.
func (s *series) joins(inputs []*onnx.ValueInfo) bool {
	switch s.kind {
	case constant:
		return true
	case separate, recorded:
		return false
	}
	if s.axis < 0 {
		return false
	}
	in := inputs[slices.IndexFunc(inputs, func(in *onnx.ValueInfo) bool { return in.Name == s.name })]
	return !in.Type.HasShape || !in.Type.Shape[s.axis].Known
}

// gather joins spans of elements; a single span shares the memory.
func gather(data any, spans []span) any {
	switch d := data.(type) {
	case []float32:
		return gatherElems(d, spans)
	case []float64:
		return gatherElems(d, spans)
	case []int8:
		return gatherElems(d, spans)
	case []int16:
		return gatherElems(d, spans)
	case []int32:
		return gatherElems(d, spans)
	case []int64:
		return gatherElems(d, spans)
	case []uint8:
		return gatherElems(d, spans)
	case []uint16:
		return gatherElems(d, spans)
	case []uint32:
		return gatherElems(d, spans)
	case []uint64:
		return gatherElems(d, spans)
	case []bool:
		return gatherElems(d, spans)
	case []string:
		return gatherElems(d, spans)
	case []complex64:
		return gatherElems(d, spans)
	case []complex128:
		return gatherElems(d, spans)
	}
	return data
}

func gatherElems[T any](src []T, spans []span) []T {
	if len(spans) == 1 {
		return src[spans[0].lo:spans[0].hi:spans[0].hi]
	}
	n := 0
	for _, s := range spans {
		n += s.hi - s.lo
	}
	dst := make([]T, 0, n)
	for _, s := range spans {
		dst = append(dst, src[s.lo:s.hi]...)
	}
	return dst
}
