package dataset

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/trconvert/trconvert/onnx"
)

// binder matches arrays with the inputs of a model.
type binder struct {
	path    string
	options Options
	wanted  []*onnx.ValueInfo // true inputs that are not states, in the model's order
	all     []*onnx.ValueInfo // true inputs
	outputs []string
	arrays  map[string]*stored
	series  []*series
	labels  *labels
	lengths *stored
	files   *files
	memory  int64 // what is left of Options.Memory
}

func newBinder(path string, m *onnx.Model, o Options) (*binder, error) {
	b := &binder{path: path, options: o, arrays: map[string]*stored{}, files: &files{}}
	if b.memory = o.Memory; b.memory == 0 {
		b.memory = DefaultMemory
	}
	b.all = m.Graph.TrueInputs()
	var names []string
	for _, in := range b.all {
		names = append(names, in.Name)
	}
	for _, out := range m.Graph.Outputs {
		b.outputs = append(b.outputs, out.Name)
	}
	states := map[string]bool{}
	for _, out := range sortedKeys(o.States) {
		in := o.States[out]
		switch {
		case !slices.Contains(b.outputs, out):
			return nil, fmt.Errorf("dataset: state %s=%s: the model has no output %s (it has %s)", quote(out), quote(in), quote(out), quoteAll(b.outputs))
		case !slices.Contains(names, in):
			return nil, fmt.Errorf("dataset: state %s=%s: the model has no input %s (it has %s)", quote(out), quote(in), quote(in), quoteAll(names))
		case states[in]:
			return nil, fmt.Errorf("dataset: state %s=%s: the input %s takes two states", quote(out), quote(in), quote(in))
		}
		states[in] = true
	}
	for _, in := range b.all {
		if states[in.Name] {
			continue
		}
		if in.Type == nil || in.Type.Kind != "tensor" {
			return nil, fmt.Errorf("dataset: input %s is not a tensor: data for it cannot be read", quote(in.Name))
		}
		b.wanted = append(b.wanted, in)
	}
	for _, name := range sortedKeys(o.BatchAxis) {
		i := slices.IndexFunc(b.all, func(in *onnx.ValueInfo) bool { return in.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("dataset: batch axis of %s: the model has no such input (it has %s)", quote(name), quoteAll(names))
		}
		if t, k := b.all[i].Type, o.BatchAxis[name]; k < 0 || t != nil && t.HasShape && k >= len(t.Shape) {
			return nil, fmt.Errorf("dataset: batch axis %d of %s: the input has the shape %s", k, quote(name), dimsString(t))
		}
	}
	if len(b.wanted) == 0 {
		return nil, errors.New("dataset: the model has no inputs besides its states: there is nothing to feed")
	}
	return b, nil
}

// open loads and binds.
func (b *binder) open(ctx context.Context) (*Dataset, error) {
	if err := b.load(ctx); err != nil {
		return nil, err
	}
	return b.finish(ctx)
}

// finish binds the arrays and makes all inputs and labels agree.
func (b *binder) finish(ctx context.Context) (*Dataset, error) {
	if b.series == nil {
		for _, in := range b.wanted {
			s, err := b.bind(in, b.arrays[in.Name])
			if err != nil {
				return nil, err
			}
			b.series = append(b.series, s)
		}
	}
	d := &Dataset{path: b.path, inputs: b.series, labels: b.labels, files: b.files, streams: len(b.options.States) > 0}
	if err := b.fixBatch(d); err != nil {
		return nil, err
	}
	var firstSamples, firstSteps *series
	for _, s := range b.series {
		if err := s.checkValues(ctx); err != nil {
			return nil, err
		}
		if s.kind == constant {
			continue
		}
		if n := s.samples(); firstSamples == nil {
			firstSamples, d.rows = s, n
		} else if n != d.rows {
			return nil, fmt.Errorf("dataset: %s has %d samples (%s), %s has %d (%s)", quote(firstSamples.from), d.rows, firstSamples.shapes(), quote(s.from), n, s.shapes())
		}
		switch n := s.stepCount(); {
		case n == 0:
		case firstSteps == nil:
			firstSteps, d.steps = s, n
		case n != d.steps:
			return nil, fmt.Errorf("dataset: %s has %d steps (%s), %s has %d (%s)", quote(firstSteps.from), d.steps, firstSteps.shapes(), quote(s.from), n, s.shapes())
		}
	}
	d.rows, d.steps = max(d.rows, 1), max(d.steps, 1)
	if err := b.checkLabels(d); err != nil {
		return nil, err
	}
	return d, b.readLengths(d)
}

// fixBatch finds how many samples a feed takes. Where every input takes the same fixed number of rows, a row is a sample; otherwise those rows are one.
func (b *binder) fixBatch(d *Dataset) error {
	var groups []int
	d.joins = true
	for _, s := range b.series {
		d.joins = d.joins && s.joins(b.wanted)
		if s.kind != constant && !slices.Contains(groups, s.group) {
			groups = append(groups, s.group)
		}
	}
	d.fixed = 1
	if len(groups) == 1 {
		d.fixed = groups[0]
		for _, s := range b.series {
			s.group = 1
		}
	}
	for _, s := range b.series {
		if s.kind == batched && s.parts[0].dims[s.axis]%s.group != 0 {
			return fmt.Errorf("dataset: %s: shape %s: %d rows are no multiple of the model's fixed batch of %d", quote(s.from), shapeString(s.parts[0].dims), s.parts[0].dims[s.axis], s.group)
		}
	}
	return nil
}

// bind tells what an array's axes mean.
func (b *binder) bind(in *onnx.ValueInfo, a *stored) (*series, error) {
	from := b.path + ": " + in.Name
	s := &series{name: in.Name, typ: in.Type.Elem, from: from, parts: []*stored{a}, axis: -1, group: 1}
	fail := func(format string, args ...any) (*series, error) {
		return nil, fmt.Errorf("dataset: %s: shape %s, the input %s is %s: %s", quote(from), shapeString(a.dims), quote(in.Name), dimsString(in.Type), fmt.Sprintf(format, args...))
	}
	if k := slices.Index(a.dims, 0); k >= 0 {
		return fail("axis %d is empty", k)
	}
	lead, leadName := 1, "a sample axis"
	if len(b.options.States) > 0 {
		lead, leadName = 2, "sample and step axes"
	}
	want := in.Type.Shape
	if !in.Type.HasShape {
		// Nothing is known: the axes are taken for the feed's own, or for those behind samples and steps.
		want = make([]onnx.Dim, max(len(a.dims)-lead+1, 0))
		if lead == 2 {
			want = make([]onnx.Dim, max(len(a.dims)-lead, 0))
		}
	}
	axis, given := b.options.BatchAxis[in.Name]
	if given && axis >= len(want) {
		return fail("there is no axis %d for its batch", axis)
	}
	switch len(a.dims) {
	case len(want) + lead:
		if k := mismatch(a.dims[lead:], want, -1); k >= 0 {
			return fail("axis %d of the array and axis %d of the input differ", k+lead, k)
		}
		s.kind = stacked
		if lead == 2 {
			s.kind = streamed
		}
		if given {
			s.axis = axis
		}
		return s, nil
	case len(want):
	default:
		return fail("an array for it has rank %d, or %d with %s in front", len(want), len(want)+lead, leadName)
	}
	if !given {
		switch {
		case allEqual(a.dims, want):
			s.kind = constant
			return s, nil
		case want[0].Known && want[0].Value == int64(a.dims[0]):
			return fail("axis 0 is fixed and equal and another one is not, so the batch axis is not known (say --batch-axis %s=K, or put %s in front)", in.Name, leadName)
		}
	}
	if lead == 2 {
		return fail("with states an array has %s in front", leadName)
	}
	if k := mismatch(a.dims, want, axis); k >= 0 {
		return fail("axis %d differs", k)
	}
	s.kind, s.axis = batched, axis
	if want[axis].Known {
		s.group = int(want[axis].Value)
		if s.group < 1 {
			return fail("axis %d of the input is empty", axis)
		}
	}
	return s, nil
}

// mismatch is the first axis whose fixed dimension is another one, -1 where there is none; the batch axis is not compared.
func mismatch(dims []int, want []onnx.Dim, batch int) int {
	for k, d := range dims {
		if k != batch && want[k].Known && want[k].Value != int64(d) {
			return k
		}
	}
	return -1
}

func allEqual(dims []int, want []onnx.Dim) bool {
	for k, d := range dims {
		if !want[k].Known || want[k].Value != int64(d) {
			return false
		}
	}
	return true
}

// checkValues casts all elements once, a block at a time, so that a value out of range is found before the first feed.
func (s *series) checkValues(ctx context.Context) error {
	for _, a := range s.parts {
		if alwaysFits(a.typ, s.typ) {
			none, err := a.take(nil)
			if err == nil {
				_, err = cast(none, a.typ, s.typ)
			}
			if err != nil {
				return fmt.Errorf("dataset: %s: %w", quote(s.from), err)
			}
			continue
		}
		err := a.blocks(func(from int, data any) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			_, err := cast(data, a.typ, s.typ)
			var ve *valueError
			if errors.As(err, &ve) {
				return fmt.Errorf("dataset: %s: at %s: %w", quote(s.from), indexString(a.dims, from+ve.index), err)
			}
			if err != nil {
				return fmt.Errorf("dataset: %s: %w", quote(s.from), err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// dimsString prints a declared shape, for instance float [batch, ?, 257].
func dimsString(t *onnx.TypeInfo) string {
	if t == nil || !t.HasShape {
		return "of unknown shape"
	}
	parts := make([]string, len(t.Shape))
	for k, d := range t.Shape {
		switch {
		case d.Known:
			parts[k] = strconv.FormatInt(d.Value, 10)
		case d.Param != "":
			parts[k] = strings.Trim(quote(d.Param), `"`)
		default:
			parts[k] = "?"
		}
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// indexString prints the place of an element, for instance [3, 0, 17].
func indexString(dims []int, at int) string {
	index := make([]int, len(dims))
	for k := len(dims) - 1; k >= 0; k-- {
		index[k] = at % dims[k]
		at /= dims[k]
	}
	return shapeString(index)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
