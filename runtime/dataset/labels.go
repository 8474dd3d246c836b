package dataset

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/trconvert/trconvert/onnx"
)

// Ignore is the class of a sample or step that has none: it counts for nothing. Other negative classes are errors.
const Ignore = -1

// labels are classes or targets.
type labels struct {
	from     string // file and array, for errors
	parts    []*stored
	separate bool // one part for each sample, otherwise one for all
	per      int  // rows of axis 0 for one sample
	stepped  bool // axis 1 (of separate parts axis 0) is the steps of streams
}

// take gives the labels of samples, of the steps of a window where they have a step axis.
func (l *labels) take(samples []int, w window) (*onnx.Array, error) {
	a := l.parts[0]
	var spans spanList
	dims := slices.Clone(a.dims)
	switch {
	case l.separate:
		a = l.parts[samples[0]]
		dims = slices.Clone(a.dims)
		if !l.stepped {
			spans.whole(dims)
			break
		}
		dims[0] = w.steps
		inner := size(dims[1:])
		spans.add(w.step*inner, (w.step+w.steps)*inner)
		dims = slices.Concat([]int{1}, dims)
	case l.stepped:
		dims[0], dims[1] = len(samples), w.steps
		inner := size(dims[2:])
		for _, k := range samples {
			at := (k*a.dims[1] + w.step) * inner
			spans.add(at, at+w.steps*inner)
		}
	default:
		dims[0] = len(samples) * l.per
		inner := size(dims[1:])
		for _, k := range samples {
			spans.add(k*l.per*inner, (k+1)*l.per*inner)
		}
	}
	data, err := a.take(spans)
	if err != nil {
		return nil, err
	}
	return &onnx.Array{Type: a.typ, Dims: dims, Data: data}, nil
}

func (b *binder) checkLabels(d *Dataset) error {
	l := b.labels
	if l == nil {
		return nil
	}
	if l.separate {
		l.stepped = d.streams && !slices.ContainsFunc(l.parts, func(a *stored) bool { return len(a.dims) == 0 || a.dims[0] != d.steps })
		return nil
	}
	rows := d.rows
	for _, s := range b.series {
		if s.kind == batched {
			rows = d.rows * s.group
		}
	}
	dims := l.parts[0].dims
	if !slices.ContainsFunc(b.series, func(s *series) bool { return s.kind != constant }) && (len(dims) == 0 || dims[0] != rows) {
		return fmt.Errorf("dataset: %s: labels have the shape %s, but every array is a constant for one run of the model: %s has %s, as the input (say --batch-axis %s=K if samples lie along axis K)",
			quote(l.from), shapeString(dims), quote(b.series[0].name), b.series[0].shapes(), b.series[0].name)
	}
	if len(dims) == 0 || dims[0] != rows {
		return fmt.Errorf("dataset: %s: labels have the shape %s, there are %d samples (%s has %s)", quote(l.from), shapeString(dims), rows, quote(b.series[0].name), b.series[0].shapes())
	}
	l.per = rows / d.rows
	l.stepped = d.streams && len(dims) > 1 && dims[1] == d.steps
	return nil
}

// readLengths reads one length for each sample.
func (b *binder) readLengths(d *Dataset) error {
	if b.lengths == nil {
		return nil
	}
	from := b.path + ": " + b.options.Lengths
	if dims := b.lengths.dims; len(dims) != 1 || dims[0] != d.rows {
		return fmt.Errorf("dataset: %s: lengths have the shape %s, there are %d samples", quote(from), shapeString(dims), d.rows)
	}
	data, err := b.lengths.all()
	if err != nil {
		return err
	}
	data, err = cast(data, b.lengths.typ, onnx.Int64)
	if err != nil {
		return fmt.Errorf("dataset: %s: lengths must be integers: %w", quote(from), err)
	}
	for i, v := range data.([]int64) {
		switch {
		case v < 1:
			return fmt.Errorf("dataset: %s: sample %d has the length %d (at least one step must count)", quote(from), i, v)
		case d.streams && v > int64(d.steps):
			return fmt.Errorf("dataset: %s: sample %d has the length %d, the streams have %d steps", quote(from), i, v, d.steps)
		}
		d.lengths = append(d.lengths, int(v))
	}
	return nil
}

// Labels returns the labels of samples [from, to), nil where none were asked for or they cannot be read: axis 0 is the samples, further axes (steps, classes) as stored.
func (d *Dataset) Labels(from, to int) *onnx.Array {
	if d.labels == nil || from < 0 || to < from || to > d.Len() || d.labels.separate && to != from+1 {
		return nil
	}
	var samples []int
	for i := from; i < to; i++ {
		samples = append(samples, d.at(i))
	}
	a, err := d.labels.take(samples, window{steps: d.steps})
	if err != nil {
		return nil
	}
	return a
}

// HasLabels says whether labels were asked for.
func (d *Dataset) HasLabels() bool { return d.labels != nil }

// Classes are the classes that labels name.
type Classes struct {
	Counts  []int // samples (or steps) of each class
	Ignored int   // samples (or steps) with the class Ignore, and steps behind a sample's length
}

// Only tells whether a single class is present, from which nothing can be learnt, and which one.
func (c *Classes) Only() (class int, only bool) {
	class = -1
	for k, n := range c.Counts {
		if n > 0 && class >= 0 {
			return 0, false
		}
		if n > 0 {
			class = k
		}
	}
	return max(class, 0), class >= 0
}

// Weights are balanced class weights, N/(K·n_k) for a class with n_k of N labels where K classes are present: the weights of all labels sum to N and each
// class has the same share. A class that is not present has weight 0.
func (c *Classes) Weights() []float32 {
	total, present := 0, 0
	for _, n := range c.Counts {
		total += n
		if n > 0 {
			present++
		}
	}
	w := make([]float32, len(c.Counts))
	for k, n := range c.Counts {
		if n > 0 {
			w[k] = float32(float64(total) / (float64(present) * float64(n)))
		}
	}
	return w
}

// Classes reads all labels as classes and counts them. Labels of a float type are fine if they are whole. A negative class other than Ignore and, with
// classes > 0, one that is not below it are errors that name the sample; with classes 0 there are as many as the largest label says.
func (d *Dataset) Classes(ctx context.Context, classes int) (*Classes, error) {
	c := &Classes{Counts: make([]int, max(classes, 0))}
	const most = 1 << 20 // of the classes, where their number is not known
	err := d.eachLabels(ctx, func(b *Batch) error {
		values, err := b.Classes()
		if err != nil {
			return err
		}
		for i, v := range values {
			switch {
			case v == Ignore:
				c.Ignored++
				continue
			case classes > 0 && v >= classes:
				return fmt.Errorf("%s: class %d is out of range: there are %d classes, numbered from 0", b.place(i), v, classes)
			case v >= most:
				return fmt.Errorf("%s: class %d is out of range: at most %d classes are counted", b.place(i), v, most)
			}
			if v >= len(c.Counts) {
				c.Counts = append(c.Counts, make([]int, v+1-len(c.Counts))...)
			}
			c.Counts[v]++
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// CheckTargets reads all labels as targets: they must be finite, and those of one sample must have the given dims (-1 is any number): the model output's without its
// batch axis. Dims of 1 may be left out on both sides. Nil dims are not compared.
func (d *Dataset) CheckTargets(ctx context.Context, dims []int) error {
	return d.eachLabels(ctx, func(b *Batch) error {
		own := b.Labels.Dims
		if !b.labelsOfFeed {
			own = own[1:]
		}
		if dims != nil && !sameShape(own, dims) {
			return fmt.Errorf("sample %d has a target of the shape %s, wanted is %s", b.Index[0], shapeString(own), shapeString(dims))
		}
		if i := nonFinite(b.Labels); i >= 0 {
			return fmt.Errorf("%s: the target %v is not a finite number", b.place(i), element(b.Labels, i))
		}
		_, err := b.Targets()
		return err
	})
}

// sameShape compares dims without those of 1; -1 in want is any number.
func sameShape(dims, want []int) bool {
	one := func(d int) bool { return d == 1 }
	return slices.EqualFunc(slices.DeleteFunc(slices.Clone(dims), one), slices.DeleteFunc(slices.Clone(want), one), func(d, w int) bool { return w < 0 || d == w })
}

// eachLabels visits the labels of all samples, in batches without feeds.
func (d *Dataset) eachLabels(ctx context.Context, visit func(*Batch) error) error {
	if d.labels == nil {
		return fmt.Errorf("dataset: %s: no labels were asked for", quote(d.path))
	}
	size := 256
	if d.labels.separate {
		size = 1
	}
	for from := 0; from < d.Len(); from += size {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := &Batch{steps: d.steps}
		for i := from; i < min(from+size, d.Len()); i++ {
			b.Index = append(b.Index, d.at(i))
		}
		if err := d.fillLabels(b); err != nil {
			return err
		}
		if err := visit(b); err != nil {
			return fmt.Errorf("dataset: %s: %w", quote(d.labels.from), err)
		}
	}
	return nil
}

// fillLabels reads labels and lengths.
func (d *Dataset) fillLabels(b *Batch) error {
	if d.lengths != nil {
		b.Lengths = make([]int, len(b.Index))
		for i, k := range b.Index {
			b.Lengths[i] = d.lengths[k]
			if d.streams {
				b.Lengths[i] = min(max(d.lengths[k]-b.Start, 0), b.steps)
			}
		}
	}
	l := d.labels
	if l == nil {
		return nil
	}
	var err error
	if b.Labels, err = l.take(b.Index, window{step: b.Start, steps: b.steps}); err != nil {
		return err
	}
	b.labelsOfFeed = l.separate && !l.stepped || l.per > 1
	b.perStep = l.stepped || !d.streams && !b.labelsOfFeed && len(b.Labels.Dims) > 1 && b.Labels.Dims[1] != 1
	return nil
}

// place names label i by its sample, and by its place in the sample's labels where there are several.
func (b *Batch) place(i int) string {
	per, dims := b.Labels.Elements()/len(b.Index), b.Labels.Dims
	where := fmt.Sprintf("sample %d", b.Index[i/per])
	switch {
	case per == 1:
		return where
	case !b.labelsOfFeed:
		dims = dims[1:]
	}
	return where + " at " + indexString(dims, i%per)
}

// Classes gives the labels as classes in the order of Labels' elements, with Ignore for steps behind a sample's length. It does not know how many classes there
// are: see [Dataset.Classes].
func (b *Batch) Classes() ([]int, error) {
	if b.Labels == nil {
		return nil, errors.New("dataset: the batch has no labels")
	}
	data, err := cast(b.Labels.Data, b.Labels.Type, onnx.Int64)
	var ve *valueError
	if errors.As(err, &ve) {
		return nil, fmt.Errorf("%s: the label %v is not a class (an integer from 0, or %d for none)", b.place(ve.index), ve.value, Ignore)
	}
	if err != nil {
		return nil, fmt.Errorf("labels are no classes: %w", err)
	}
	values := data.([]int64)
	out := make([]int, len(values))
	for i, v := range values {
		if v < Ignore || v > math.MaxInt32 {
			return nil, fmt.Errorf("%s: the class %d is out of range (classes are numbered from 0, %d means none)", b.place(i), v, Ignore)
		}
		out[i] = int(v)
	}
	return out, b.maskClasses(out)
}

// maskClasses ignores steps behind a sample's length.
func (b *Batch) maskClasses(classes []int) error {
	if b.Lengths == nil || !b.perStep {
		return nil
	}
	steps := b.Labels.Dims[1]
	inner := size(b.Labels.Dims[2:])
	for i, n := range b.Lengths {
		if n > steps {
			return fmt.Errorf("sample %d has the length %d, its labels have %d steps", b.Index[i], n, steps)
		}
		for k := (i*steps + n) * inner; k < (i+1)*steps*inner; k++ {
			classes[k] = Ignore
		}
	}
	return nil
}

// Targets gives the labels as float32 in the order of Labels' elements. They may share the dataset's memory and must not be written to.
func (b *Batch) Targets() ([]float32, error) {
	if b.Labels == nil {
		return nil, errors.New("dataset: the batch has no labels")
	}
	data, err := cast(b.Labels.Data, b.Labels.Type, onnx.Float)
	if err != nil {
		return nil, fmt.Errorf("labels are no targets: %w", err)
	}
	return data.([]float32), nil
}
