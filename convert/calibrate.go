package convert

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/trconvert/trconvert/internal/gemm"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/runtime"
	"github.com/trconvert/trconvert/runtime/dataset"
	"github.com/trconvert/trconvert/tensor"
	"github.com/trconvert/trconvert/trals"
)

// Calibration is real data for the fit: the layers' inputs are collected by running the original model on it, and the error on them is
// minimised in place of the error of W.
type Calibration struct {
	Data    string // file or folder of inputs; "": none
	Reading DataOptions
}

// Limits of the collection. A layer with at most momentWidth columns keeps the second moment of its frames, a wider one a sample of
// frames, both within 256 MB a layer.
const (
	momentWidth  = 2048
	sampleFrames = 2048
	sampleBytes  = 256 << 20
	// enoughFrames is how many frames of the busiest layer are collected; a longer data set is thinned evenly over its samples, and
	// single streams that are longer are cut.
	enoughFrames = 20000
)

// frames gathers what arrives at the sites of one group.
type frames struct {
	group *group
	width int
	count int // frames that count

	moment []float64   // Σ x·xᵀ, for narrow layers
	batch  []float32   // frames not yet in moment
	sample [][]float32 // every stride-th frame, for wide layers
	stride int
}

// add takes one run of a node: X [T, B, I] (or [B, T, I]) and the lengths of its rows, nil if all are full.
func (f *frames) add(x []float32, steps, batch int, batchFirst bool, lens []int) {
	for t := range steps {
		for b := range batch {
			if lens != nil && t >= lens[b] {
				continue
			}
			at := t*batch + b
			if batchFirst {
				at = b*steps + t
			}
			f.frame(x[at*f.width : (at+1)*f.width])
		}
	}
}

func (f *frames) frame(x []float32) {
	if f.width <= momentWidth {
		f.batch = append(f.batch, x...)
		f.count++
		if len(f.batch) >= 512*f.width {
			f.flush()
		}
		return
	}
	if f.stride == 0 {
		f.stride = 1
	}
	if f.count%f.stride == 0 {
		f.sample = append(f.sample, slices.Clone(x))
		if len(f.sample) == min(2*sampleFrames, sampleBytes/(4*f.width)) { // every second one, from now on at twice the stride
			for i := range len(f.sample) / 2 {
				f.sample[i] = f.sample[2*i]
			}
			f.sample = f.sample[:len(f.sample)/2]
			f.stride *= 2
		}
	}
	f.count++
}

// flush adds the waiting frames to the moment.
func (f *frames) flush() {
	if len(f.batch) == 0 {
		return
	}
	n := f.width
	if f.moment == nil {
		f.moment = make([]float64, n*n)
	}
	g := make([]float64, n*n)
	gemm.Gram(true, n, len(f.batch)/n, f.batch, n, g, n)
	for i, v := range g {
		f.moment[i] += v
	}
	f.batch = f.batch[:0]
}

// metric is what the frames come to, with an infinite ridge for now; nil if there are none.
func (f *frames) metric() (*trals.Metric, error) {
	if f.count == 0 {
		return nil, nil
	}
	if f.width <= momentWidth {
		f.flush()
		return trals.NewMomentMetric(f.width, f.moment, f.count, math.Inf(1))
	}
	x := tensor.NewDense(len(f.sample), f.width)
	for i, row := range f.sample {
		copy(x.Data[i*f.width:], row)
	}
	return trals.NewFrameMetric(x, math.Inf(1))
}

// calibration is the data of a run and what they have told.
type calibration struct {
	what    string // the data are, in errors
	data    *dataset.Dataset
	block   int   // samples in a block
	collect []int // first samples of the blocks whose frames make the metrics
	choose  []int // of those that are held back to choose a ridge by
	metrics []*trals.Metric
	want    []map[string]*onnx.Array // the original's outputs on choose
}

// calibrate opens the calibration data, runs the original model over a part of it and keeps one metric for each group, nil where no
// frame arrived.
func (c *conversion) calibrate(ctx context.Context) (*calibration, error) {
	d, err := c.openCalibration(ctx)
	if err != nil {
		return nil, err
	}
	if d.Len() == 0 || d.Steps() == 0 {
		return nil, fmt.Errorf("convert: calibration data %q: %d samples of %d steps, nothing can be collected", c.o.Calibration.Data, d.Len(), d.Steps())
	}
	cal := &calibration{what: "calibration data", data: d, block: max(1, min(d.Len()/64, d.MaxBatch(), 32)), metrics: make([]*trals.Metric, len(c.groups))}
	cal.split()
	all, err := collect(ctx, c.dense, c.groups, cal, c.o.Calibration, c.o.Threads, c.progress)
	if err != nil {
		return nil, err
	}
	for i, f := range all {
		if cal.metrics[i], err = f.metric(); err != nil {
			return nil, fmt.Errorf("convert: calibration: matrix %q: %w", f.group.name(), err)
		}
		switch {
		case f.count == 0:
			c.warn("no-frames", f.group.name(), "no calibration frame reached this layer: it is fitted to its weights alone")
		case f.count < f.width:
			c.warn("few-frames", f.group.name(), "only %d calibration frames for %d inputs: more of them would make a better fit", f.count, f.width)
		}
	}
	return cal, nil
}

// openCalibration opens the calibration data. Labels, which are asked for where other data have them, need not be there; a column of them is no input.
func (c *conversion) openCalibration(ctx context.Context) (*dataset.Dataset, error) {
	o := c.o.Calibration.Reading
	if o.Labels != "" {
		if d, err := dataset.Open(ctx, c.o.Calibration.Data, c.dense, o); err == nil {
			return d, nil
		}
		o.Labels = ""
	}
	return dataset.Open(ctx, c.o.Calibration.Data, c.dense, o)
}

// split holds every eighth block back, or the last of fewer; a single block serves for both.
func (cal *calibration) split() {
	blocks := (cal.data.Len() + cal.block - 1) / cal.block
	every := min(8, blocks)
	for k := range blocks {
		if k%every == every-1 {
			cal.choose = append(cal.choose, k*cal.block)
		}
		if k%every != every-1 || blocks == 1 {
			cal.collect = append(cal.collect, k*cal.block)
		}
	}
}

// thin takes every so many blocks that what is left is not above part of them.
func thin(blocks []int, part float64) []int {
	every := max(1, int(math.Ceil(1/max(part, 1e-9))))
	var out []int
	for k := 0; k < len(blocks); k += every {
		out = append(out, blocks[k])
	}
	return out
}

// each runs a model over blocks of samples, streams step by step, until done (which may be nil) says so.
func (cal *calibration) each(ctx context.Context, o Calibration, s *subject, blocks []int, visit func(block, step int, outputs map[string]*onnx.Array) (stop bool, err error)) error {
	for k, from := range blocks {
		to := min(from+cal.block, cal.data.Len())
		if err := s.reset(o.Reading.States, to-from); err != nil {
			return err
		}
		for step := range cal.data.Steps() {
			if err := ctx.Err(); err != nil {
				return err
			}
			feeds, err := cal.data.Feeds(from, to, step)
			if err != nil {
				return err
			}
			if err := finiteFeeds(feeds); err != nil {
				return cal.notFinite(o, from, to, step, err)
			}
			out, err := s.step(ctx, feeds, o.Reading.States)
			if err != nil {
				return cal.at(o, from, step, err)
			}
			stop, err := visit(k, step, out)
			if err != nil {
				return cal.at(o, from, step, err)
			}
			if stop {
				break
			}
		}
	}
	return nil
}

// at says at which sample and step of the data an error arose.
func (cal *calibration) at(o Calibration, sample, step int, err error) error {
	return fmt.Errorf("convert: %s %q: sample %d, step %d: %w", cal.what, o.Data, sample, step, err)
}

// notFinite names the first of a block's samples that finiteFeeds refuses, and the element within it.
func (cal *calibration) notFinite(o Calibration, from, to, step int, err error) error {
	for k := from; k < to; k++ {
		alone, e := cal.data.Feeds(k, k+1, step)
		if e == nil {
			e = finiteFeeds(alone)
		}
		if e != nil {
			return cal.at(o, k, step, e)
		}
	}
	return cal.at(o, from, step, err)
}

// collect runs blocks of a model, evenly spread, until the busiest layer has enough frames, and gives those of each group.
func collect(ctx context.Context, m *onnx.Model, groups []*group, cal *calibration, o Calibration, threads int, progress func(Progress)) ([]*frames, error) {
	col := &collector{
		of: make(map[*onnx.Node]*frames), site: make(map[*onnx.Node]*recurrent.Site), waiting: make(map[*onnx.Node]*onnx.Array),
		matrices: make(map[runtime.Observed]*frames), states: make(map[string]*frames),
	}
	all := make([]*frames, len(groups))
	var observe []runtime.Observed
	for i, g := range groups {
		all[i] = &frames{group: g, width: g.decomposed().In}
		if g.matrix != nil {
			if x := statesOf(g.matrix); x != "" {
				col.states[x] = all[i]
			} else if g.matrix.X >= 0 {
				at := runtime.Observed{Node: g.matrix.Node, Slot: g.matrix.X}
				col.matrices[at] = all[i]
				observe = append(observe, at)
			}
			continue
		}
		for _, s := range g.sites {
			col.of[s.Node], col.site[s.Node] = all[i], s
			observe = append(observe, runtime.Observed{Node: s.Node, Slot: recurrent.SlotX})
			if s.HasSequenceLens {
				observe = append(observe, runtime.Observed{Node: s.Node, Slot: recurrent.SlotSequenceLens})
			}
		}
	}
	s, err := watch(ctx, m, runtime.Options{Threads: threads, Observe: observe, Outputs: col.outputs(m)}, col.observe)
	if err != nil {
		return nil, err
	}
	have := func(out map[string]*onnx.Array) (int, error) {
		col.takeStates(out)
		return col.most(), col.err
	}
	done := func(k, n int) { progress(Progress{Stage: StageCalibrate, Sample: k, Samples: n}) }
	if err := cal.gather(ctx, o, s, enoughFrames, have, done); err != nil {
		return nil, err
	}
	return all, nil
}

// watch is a model that shows what arrives at the observed inputs of nodes whenever it is run.
func watch(ctx context.Context, m *onnx.Model, o runtime.Options, see func(runtime.Observed, *onnx.Array)) (*subject, error) {
	p, err := runtime.Compile(ctx, m, o)
	if err != nil {
		return nil, err
	}
	run := func(ctx context.Context, feeds map[string]*onnx.Array) (map[string]*onnx.Array, error) {
		return p.RunWith(ctx, feeds, see)
	}
	return &subject{model: m, inputs: p.Inputs(), run: run}, nil
}

// gather runs the blocks of cal.collect, evenly thinned, until there are enough frames. have tells how many there are after a run with such outputs, done how many of the blocks have run. The
// first block tells how many frames all of them hold.
func (cal *calibration) gather(ctx context.Context, o Calibration, s *subject, enough int, have func(outputs map[string]*onnx.Array) (int, error), done func(blocks, of int)) error {
	n := 0
	visit := func(_, _ int, out map[string]*onnx.Array) (bool, error) {
		var err error
		n, err = have(out)
		return n >= enough, err
	}
	if err := cal.each(ctx, o, s, cal.collect[:1], visit); err != nil {
		return err
	}
	rest := cal.collect[1:]
	if n > 0 {
		rest = thin(rest, float64(enough)/(float64(n)*float64(len(cal.collect))))
	}
	for k := range rest {
		if err := cal.each(ctx, o, s, rest[k:k+1], visit); err != nil {
			return err
		}
		done(k+1, len(rest))
	}
	return nil
}

func finiteFeeds(feeds map[string]*onnx.Array) error {
	for _, name := range sortedNames(feeds) {
		a := feeds[name]
		if !isFloating(a.Type) {
			continue
		}
		v, err := recurrent.Floats(a)
		if err != nil {
			return err
		}
		if i := firstNonFinite(v); i >= 0 {
			return fmt.Errorf("input %q is %v at element %d (only finite numbers can be used)", name, v[i], i)
		}
	}
	return nil
}

// firstNonFinite is the place of the first NaN or infinity, −1 where there is none.
func firstNonFinite(v []float32) int { return (&tensor.Dense{Data: v}).FirstNonFinite() }

// collector is the observer of a calibration run.
type collector struct {
	of      map[*onnx.Node]*frames
	site    map[*onnx.Node]*recurrent.Site
	waiting map[*onnx.Node]*onnx.Array // X whose sequence_lens come next

	matrices map[runtime.Observed]*frames // of matrices that are no W, by where their frames arrive
	states   map[string]*frames           // of recurrent matrices, by the output Y that holds their frames

	err error // the first
}

// most is the number of frames of the busiest layer, or matrix where there are no layers.
func (c *collector) most() int {
	n := 0
	for _, f := range c.of {
		n = max(n, f.count)
	}
	if len(c.of) == 0 {
		for _, f := range c.matrices {
			n = max(n, f.count)
		}
	}
	return n
}

func (c *collector) observe(o runtime.Observed, t *onnx.Array) {
	if c.err != nil {
		return
	}
	if f := c.matrices[o]; f != nil {
		c.err = f.takeOperand(t)
		return
	}
	s := c.site[o.Node]
	if o.Slot == recurrent.SlotX && s.HasSequenceLens {
		c.waiting[o.Node] = t
		return
	}
	x, lens := t, []int(nil)
	if o.Slot == recurrent.SlotSequenceLens {
		var err error
		if lens, err = t.Ints(); err != nil {
			c.err = fmt.Errorf("site %q: %w", s.Name, err)
			return
		}
		x = c.waiting[o.Node]
		delete(c.waiting, o.Node)
	}
	c.err = c.take(s, x, lens)
}

// take checks X and adds it to the site's frames.
func (c *collector) take(s *recurrent.Site, x *onnx.Array, lens []int) error {
	f := c.of[s.Node]
	if x == nil || len(x.Dims) != 3 || x.Dims[2] != f.width {
		return fmt.Errorf("site %q: X does not have the layer's %d inputs", s.Name, f.width)
	}
	v, err := recurrent.Floats(x)
	if err != nil {
		return fmt.Errorf("site %q: %w", s.Name, err)
	}
	if i := firstNonFinite(v); i >= 0 {
		return fmt.Errorf("site %s: %v arrives at element %d of its X", strconv.Quote(s.Name), v[i], i)
	}
	steps, batch := x.Dims[0], x.Dims[1]
	if s.Layout == 1 {
		steps, batch = batch, steps
	}
	if lens != nil && len(lens) != batch {
		return fmt.Errorf("site %s: %d sequence lengths for a batch of %d", strconv.Quote(s.Name), len(lens), batch)
	}
	f.add(v, steps, batch, s.Layout == 1, lens)
	return nil
}
