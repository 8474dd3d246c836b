// Package dataset reads .npy, .npz, .csv and ONNX test_data_set folders into feeds for a model.
//
// What an array means is told by its rank. An array of the input's rank + 1 (+ 2 with [Options.States]) has samples (and steps) in front;
// one of equal rank whose axis 0 is symbolic in the model, or differs from it, has the batch there; one of equal rank whose dims are all fixed
// and equal is a constant. [Options.BatchAxis] says otherwise where that is wrong, as for time-major inputs. In a test_data_set folder
// each input_K.pb is one whole feed.
package dataset

import (
	"context"
	"fmt"
	"slices"

	"github.com/trconvert/trconvert/onnx"
)

// Options say how arrays become samples.
type Options struct {
	// BatchAxis names the batch axis of an input. For arrays of equal rank the samples lie along it; samples that have an axis of their
	// own in front are joined along it, which is only done where it is given.
	BatchAxis map[string]int
	States    map[string]string // output name to input name of a stream's states; the arrays then carry sample and step axes
	Labels    string            // name of the label array (or of the column of a .csv with a header line), "" for none
}

// Dataset is a list of samples for one model. It is read-only and safe for concurrent use.
type Dataset struct {
	samples  int
	steps    int
	maxBatch int
	inputs   []*series
	labels   *onnx.Array
}

// Open reads path (its kind told by name and content) and checks every array against the model's true inputs (those that are not
// initializers). Arrays for state inputs are not read: a state starts at zero and is the caller's. Other arrays of an .npz that are neither an input nor
// the labels are not read either.
//
// Elements stay as they are stored and are cast to the input's type feed by feed; that they fit is checked here. Errors name the file, the array
// and both shapes.
func Open(ctx context.Context, path string, m *onnx.Model, o Options) (*Dataset, error) {
	b, err := newBinder(path, m, o)
	if err != nil {
		return nil, err
	}
	if err := b.load(ctx); err != nil {
		return nil, err
	}
	return b.finish(ctx)
}

// Len is the number of samples (streams, with States).
func (d *Dataset) Len() int { return d.samples }

// Steps is the number of steps of each stream, 1 without States.
func (d *Dataset) Steps() int { return d.steps }

// MaxBatch is how many samples one Feeds call may join: 1 where an input's batch dimension is fixed or not known, Len where all are symbolic.
func (d *Dataset) MaxBatch() int { return d.maxBatch }

// Feeds returns the inputs for samples [from, to) as one batch of at most MaxBatch, at one step of the streams (0 without States). Where
// the model's batch dimension is fixed at K > 1, a sample is K rows. State inputs are left to the caller. The arrays may share the dataset's
// memory and must not be written to.
func (d *Dataset) Feeds(from, to, step int) (map[string]*onnx.Array, error) {
	if from < 0 || to <= from || to > d.samples || to-from > d.maxBatch || step < 0 || step >= d.steps {
		return nil, fmt.Errorf("dataset: samples [%d, %d) at step %d: there are %d samples of %d steps, at most %d in one batch", from, to, step, d.samples, d.steps, d.maxBatch)
	}
	feeds := make(map[string]*onnx.Array, len(d.inputs))
	for _, s := range d.inputs {
		a, err := s.feed(from, to, step)
		if err != nil {
			return nil, err
		}
		feeds[s.name] = a
	}
	return feeds, nil
}

// Labels returns the labels of samples [from, to), nil where none were asked for: axis 0 is the samples, further axes (steps, classes) as stored.
func (d *Dataset) Labels(from, to int) *onnx.Array {
	if d.labels == nil || from < 0 || to < from || to > d.samples {
		return nil
	}
	per := 1
	if d.samples > 0 {
		per = d.labels.Dims[0] / d.samples
	}
	inner, _, _ := extent(d.labels.Dims[1:], 1)
	dims := slices.Clone(d.labels.Dims)
	dims[0] = (to - from) * per
	return &onnx.Array{Type: d.labels.Type, Dims: dims, Data: gather(d.labels.Data, []span{{from * per * inner, to * per * inner}})}
}

// series is one input's data.
type series struct {
	name  string
	typ   onnx.DataType // the input's
	from  string        // file and array, for errors
	parts []*onnx.Array // one array, or one for each sample
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

// span is a range of elements.
type span struct{ lo, hi int }

// feed cuts samples [from, to) at one step out of the data. Whatever the kind, it is a list of spans of one array.
func (s *series) feed(from, to, step int) (*onnx.Array, error) {
	a := s.parts[0]
	var dims []int
	var spans []span
	switch s.kind {
	case constant:
		dims = a.Dims
	case batched:
		dims = slices.Clone(a.Dims)
		dims[s.axis] = (to - from) * s.group
		outer, _, _ := extent(a.Dims[:s.axis], 1)
		inner, _, _ := extent(a.Dims[s.axis+1:], 1)
		for o := range outer {
			row := o * a.Dims[s.axis]
			spans = append(spans, span{(row + from*s.group) * inner, (row + to*s.group) * inner})
		}
	case stacked:
		dims, spans = s.join(a.Dims[1:], from, to, 1, 0)
	case streamed:
		dims, spans = s.join(a.Dims[2:], from, to, a.Dims[1], step)
	case separate:
		a = s.parts[from]
		dims = a.Dims
	case recorded:
		a = s.parts[from]
		dims = a.Dims[1:]
		n, _, _ := extent(dims, 1)
		spans = []span{{step * n, (step + 1) * n}}
	}
	data := a.Data
	if spans != nil {
		data = gather(data, spans)
	}
	data, err := cast(data, a.Type, s.typ)
	if err != nil {
		return nil, fmt.Errorf("dataset: %s: %w", quote(s.from), err)
	}
	return &onnx.Array{Type: s.typ, Dims: dims, Data: data}, nil
}

// join puts samples, which lie one after the other, side by side along the batch axis.
func (s *series) join(sample []int, from, to, steps, step int) (dims []int, spans []span) {
	n, _, _ := extent(sample, 1)
	if to == from+1 {
		at := (from*steps + step) * n
		return sample, []span{{at, at + n}}
	}
	dims = slices.Clone(sample)
	dims[s.axis] *= to - from
	outer, _, _ := extent(sample[:s.axis], 1)
	for o := range outer {
		for k := from; k < to; k++ {
			at := (k*steps+step)*n + o*(n/outer)
			spans = append(spans, span{at, at + n/outer})
		}
	}
	return dims, spans
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
