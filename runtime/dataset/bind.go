package dataset

import (
	"context"
	"errors"
	"fmt"
	"os"
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
	arrays  map[string]*onnx.Array
	series  []*series
	labels  *onnx.Array
}

func newBinder(path string, m *onnx.Model, o Options) (*binder, error) {
	b := &binder{path: path, options: o, arrays: map[string]*onnx.Array{}}
	initializers := map[string]bool{}
	for _, t := range m.Graph.Initializers {
		initializers[t.Name] = true
	}
	for _, t := range m.Graph.Sparse {
		initializers[t.Name] = true
	}
	var names, outputs []string
	for _, in := range m.Graph.Inputs {
		if !initializers[in.Name] {
			b.all = append(b.all, in)
			names = append(names, in.Name)
		}
	}
	for _, out := range m.Graph.Outputs {
		outputs = append(outputs, out.Name)
	}
	states := map[string]bool{}
	for _, out := range sortedKeys(o.States) {
		in := o.States[out]
		switch {
		case !slices.Contains(outputs, out):
			return nil, fmt.Errorf("dataset: state %s=%s: the model has no output %s (it has %s)", quote(out), quote(in), quote(out), quoteAll(outputs))
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

// load reads the file's arrays; only test_data_set folders are bound here, as each of their files is one whole feed.
func (b *binder) load(ctx context.Context) error {
	st, err := os.Stat(b.path)
	if err != nil {
		return fmt.Errorf("dataset: %w", err)
	}
	if st.IsDir() {
		return b.loadFolder(ctx)
	}
	f, size, err := openRegular(b.path)
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, 8)
	n, _ := f.ReadAt(head, 0)
	head = head[:n]
	lower := strings.ToLower(b.path)
	switch {
	case strings.HasPrefix(string(head), "PK\x03\x04"), strings.HasPrefix(string(head), "PK\x05\x06"):
		z, err := openNPZ(f, size, b.path)
		if err != nil {
			return err
		}
		return b.loadNPZ(ctx, z)
	case strings.HasPrefix(string(head), npyMagic):
		in, err := b.single(".npy")
		if err != nil {
			return err
		}
		a, err := readNPY(ctxReader{ctx, f}, b.path, size)
		b.arrays[in.Name] = a
		return err
	case strings.HasSuffix(lower, ".csv"):
		return b.loadCSV(ctx, f)
	case strings.HasSuffix(lower, ".npz"), strings.HasSuffix(lower, ".npy"):
		return fmt.Errorf("dataset: %s: begins with %q: neither a zip archive of arrays nor an .npy array", quote(b.path), head)
	}
	return fmt.Errorf("dataset: %s: not an .npz, .npy or .csv file, nor a folder in the ONNX test_data_set layout", quote(b.path))
}

// single is the only input of the model, which files without names need.
func (b *binder) single(what string) (*onnx.ValueInfo, error) {
	if len(b.wanted) == 1 {
		return b.wanted[0], nil
	}
	var names []string
	for _, in := range b.wanted {
		names = append(names, in.Name)
	}
	return nil, fmt.Errorf("dataset: %s: %s holds one array without a name, the model has %d inputs besides its states: %s (use an .npz)", quote(b.path), what, len(names), quoteAll(names))
}

func (b *binder) loadNPZ(ctx context.Context, z *npz) error {
	var names []string
	for _, in := range b.wanted {
		if z.members[in.Name] == nil {
			return fmt.Errorf("dataset: %s: no array for the input %s (there are %s)", quote(b.path), quote(in.Name), quoteAll(z.names))
		}
		names = append(names, in.Name)
	}
	if l := b.options.Labels; l != "" {
		if z.members[l] == nil {
			return fmt.Errorf("dataset: %s: no array of labels %s (there are %s)", quote(b.path), quote(l), quoteAll(z.names))
		}
		if !slices.Contains(names, l) {
			names = append(names, l)
		}
	}
	var err error
	b.arrays, err = z.read(ctx, names)
	if b.options.Labels != "" && err == nil {
		b.labels = b.arrays[b.options.Labels]
	}
	return err
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
	d := &Dataset{inputs: b.series, labels: b.labels}
	var firstSamples, firstSteps *series
	for _, s := range b.series {
		if err := s.checkValues(ctx); err != nil {
			return nil, err
		}
		if s.kind == constant {
			continue
		}
		if n := s.samples(); firstSamples == nil {
			firstSamples, d.samples = s, n
		} else if n != d.samples {
			return nil, fmt.Errorf("dataset: %s has %d samples (%s), %s has %d (%s)", quote(firstSamples.from), d.samples, firstSamples.shapes(), quote(s.from), n, s.shapes())
		}
		switch n := s.stepCount(); {
		case n == 0:
		case firstSteps == nil:
			firstSteps, d.steps = s, n
		case n != d.steps:
			return nil, fmt.Errorf("dataset: %s has %d steps (%s), %s has %d (%s)", quote(firstSteps.from), d.steps, firstSteps.shapes(), quote(s.from), n, s.shapes())
		}
	}
	d.samples, d.steps = max(d.samples, 1), max(d.steps, 1)
	d.maxBatch = d.samples
	for _, s := range b.series {
		if !s.joins(b.wanted) {
			d.maxBatch = 1
		}
	}
	return d, b.checkLabels(d)
}

// bind tells what an array's axes mean.
func (b *binder) bind(in *onnx.ValueInfo, a *onnx.Array) (*series, error) {
	from := b.path + ": " + in.Name
	s := &series{name: in.Name, typ: in.Type.Elem, from: from, parts: []*onnx.Array{a}, axis: -1, group: 1}
	fail := func(format string, args ...any) (*series, error) {
		return nil, fmt.Errorf("dataset: %s: shape %s, the input %s is %s: %s", quote(from), shapeString(a.Dims), quote(in.Name), dimsString(in.Type), fmt.Sprintf(format, args...))
	}
	if k := slices.Index(a.Dims, 0); k >= 0 {
		return fail("axis %d is empty", k)
	}
	lead, leadName := 1, "a sample axis"
	if len(b.options.States) > 0 {
		lead, leadName = 2, "sample and step axes"
	}
	want := in.Type.Shape
	if !in.Type.HasShape {
		// Nothing is known: the axes are taken for the feed's own, or for those behind samples and steps.
		want = make([]onnx.Dim, max(len(a.Dims)-lead+1, 0))
		if lead == 2 {
			want = make([]onnx.Dim, max(len(a.Dims)-lead, 0))
		}
	}
	axis, given := b.options.BatchAxis[in.Name]
	switch len(a.Dims) {
	case len(want) + lead:
		if k := mismatch(a.Dims[lead:], want, -1); k >= 0 {
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
		case allEqual(a.Dims, want):
			s.kind = constant
			return s, nil
		case want[0].Known && want[0].Value == int64(a.Dims[0]):
			return fail("axis 0 is fixed and equal and another one is not, so the batch axis is not known (say --batch-axis %s=K, or put %s in front)", in.Name, leadName)
		}
	}
	if lead == 2 {
		return fail("with states an array has %s in front", leadName)
	}
	if k := mismatch(a.Dims, want, axis); k >= 0 {
		return fail("axis %d differs", k)
	}
	s.kind, s.axis = batched, axis
	if want[axis].Known {
		s.group = int(want[axis].Value)
		if s.group < 1 || a.Dims[axis]%s.group != 0 {
			return fail("%d rows are no multiple of the model's fixed batch of %d", a.Dims[axis], want[axis].Value)
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

func (s *series) samples() int {
	switch s.kind {
	case batched:
		return s.parts[0].Dims[s.axis] / s.group
	case stacked, streamed:
		return s.parts[0].Dims[0]
	}
	return len(s.parts)
}

// stepCount is 0 where the series has no step axis.
func (s *series) stepCount() int {
	switch s.kind {
	case streamed:
		return s.parts[0].Dims[1]
	case recorded:
		return s.parts[0].Dims[0]
	}
	return 0
}

func (s *series) shapes() string { return "shape " + shapeString(s.parts[0].Dims) }

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

// checkValues casts all elements once, a block at a time, so that a value out of range is found before the first feed.
func (s *series) checkValues(ctx context.Context) error {
	const block = 1 << 16
	for _, a := range s.parts {
		n, _, err := extent(a.Dims, 1)
		if err != nil {
			return fmt.Errorf("dataset: %s: %w", quote(s.from), err)
		}
		end := n
		if alwaysFits(a.Type, s.typ) {
			end = min(n, 1) // the first tells whether the types can be cast at all
		}
		for lo := 0; lo < end; lo += block {
			if err := ctx.Err(); err != nil {
				return err
			}
			_, err := cast(gather(a.Data, []span{{lo, min(lo+block, end)}}), a.Type, s.typ)
			var ve *valueError
			if errors.As(err, &ve) {
				return fmt.Errorf("dataset: %s: at %s: %w", quote(s.from), indexString(a.Dims, lo+ve.index), err)
			}
			if err != nil {
				return fmt.Errorf("dataset: %s: %w", quote(s.from), err)
			}
		}
	}
	return nil
}

func (b *binder) checkLabels(d *Dataset) error {
	if d.labels == nil {
		return nil
	}
	rows := d.samples
	for _, s := range b.series {
		if s.kind == batched {
			rows = d.samples * s.group
		}
	}
	if dims := d.labels.Dims; len(dims) == 0 || dims[0] != rows {
		return fmt.Errorf("dataset: %s: labels %s have the shape %s, there are %d samples (%s has %s)", quote(b.path), quote(b.options.Labels), shapeString(dims), rows, quote(b.series[0].name), b.series[0].shapes())
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
