package dataset

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"

	"github.com/trconvert/trconvert/onnx"
)

// DefaultBatch is the batch size where none is asked for; a smaller data set is one batch.
const DefaultBatch = 32

// BatchOptions say how samples become batches.
type BatchOptions struct {
	Size    int  // samples of a batch; 0: DefaultBatch, or all samples where there are fewer. More than Len is an error
	Shuffle bool // false: in the order of the data
	Seed    uint64
	Epoch   int // the order of a shuffled epoch depends on Seed, Epoch and Len alone
	Skip    int // batches at the beginning that are left out without being read, to resume in the middle of an epoch
	Window  int // streams: the most steps of a batch; 0: all
	// Without names inputs that are not read and are missing in Batch.Feeds.
	Without []string
}

// Batch is what a model is run on once, and what is known about it.
//
// A batch of Size samples is one run of the model where the model joins them. A model whose batch dimension is fixed, or whose batch axis is not known, takes
// Size samples in several runs: gradients are summed over the runs of a batch and the optimizer steps behind the one with Last.
type Batch struct {
	// Feeds are the inputs besides states, of the model's types. Arrays may share the dataset's memory and must not be written to. With
	// [Options.States] all but constants have a step axis in front of the feed's own axes; see [Batch.At].
	Feeds map[string]*onnx.Array
	// Labels are nil where none were asked for. Axis 0 is the samples, in the order of Index; further axes (steps, classes) and the type are as
	// stored. Labels with an axis for the steps of streams are those of the window. The labels of a set of a test_data_set folder are its file's, whose axes are the
	// feed's. See [Batch.Classes] and [Batch.Targets].
	Labels *onnx.Array
	// Lengths are the steps of each sample that count, in the window for streams; nil where [Options.Lengths] names none.
	Lengths []int
	Index   []int // number of each sample in the file, also in a part made by Split
	// Weights are 1, and 0 for samples that only fill up a run of a model with a fixed batch: they repeat the first samples of the epoch and count for nothing.
	Weights []float32

	Number  int  // of the batch in its epoch, from 0
	Run     int  // of this run in its batch, from 0; the states of streams are kept per run
	Last    bool // this is the batch's last run
	Samples int  // of the whole batch: the sum of Weights over its runs
	Start   int  // streams: the first step of the window
	Reset   bool // the streams begin here: states are zero. Always true without streams

	stepped      map[string]bool // inputs with a step axis
	steps        int
	perStep      bool // axis 1 of Labels is steps
	labelsOfFeed bool // axis 0 of Labels is not the samples
}

// Steps is how many steps of the streams the batch holds, 1 without streams.
func (b *Batch) Steps() int { return b.steps }

// At gives the feeds of one step of the window, without copying: 0 ≤ step < Steps. Without streams it gives Feeds.
func (b *Batch) At(step int) map[string]*onnx.Array {
	if len(b.stepped) == 0 {
		return b.Feeds
	}
	feeds := make(map[string]*onnx.Array, len(b.Feeds))
	for name, a := range b.Feeds {
		if b.stepped[name] {
			n := size(a.Dims[1:])
			a = &onnx.Array{Type: a.Type, Dims: a.Dims[1:], Data: gather(a.Data, []span{{step * n, (step + 1) * n}})}
		}
		feeds[name] = a
	}
	return feeds
}

// Batches gives an epoch, batch by batch and each run by run. Only the rows of a run are read and held at once, where the arrays are not in memory.
//
// The last batch of an epoch is smaller where Size does not divide Len. A model whose batch dimension is fixed at K is given K rows in every run; what is
// missing is filled up (see [Batch.Weights]).
//
// Streams are cut into windows of Window steps, the last one shorter, each of them a batch: the windows of the same streams follow each other, and the first
// has Reset. The caller carries the states from window to window (truncated back-propagation through time), and where a batch has several runs keeps them for
// each Run.
//
// NaN and infinite values are errors that name file, array and sample. An error ends the iteration.
func (d *Dataset) Batches(ctx context.Context, o BatchOptions) iter.Seq2[*Batch, error] {
	return func(yield func(*Batch, error) bool) {
		p, err := d.plan(o)
		if err != nil {
			yield(nil, err)
			return
		}
		order := d.order(o)
		for number := o.Skip; number < p.batches*p.windows; number++ {
			lo := number / p.windows * p.size
			samples := order[lo:min(lo+p.size, len(order))]
			for run := range p.runs(len(samples)) {
				if err := ctx.Err(); err != nil {
					yield(nil, err)
					return
				}
				b, err := d.batch(p, order, samples, number, run, o.Without)
				if !yield(b, err) || err != nil {
					return
				}
			}
		}
	}
}

// BatchCount is the number of batches of an epoch: of optimizer steps, not of runs. Skip does not change it.
func (d *Dataset) BatchCount(o BatchOptions) (int, error) {
	p, err := d.plan(o)
	if err != nil {
		return 0, err
	}
	return p.batches * p.windows, nil
}

// epochPlan is how an epoch is cut.
type epochPlan struct {
	size, batches   int // samples of a batch
	run             int // samples of a run
	full            bool
	window, windows int // steps of a batch, batches of the same streams
}

func (p *epochPlan) runs(samples int) int { return (samples + p.run - 1) / p.run }

func (d *Dataset) plan(o BatchOptions) (*epochPlan, error) {
	n := d.Len()
	fail := func(format string, args ...any) (*epochPlan, error) {
		return nil, fmt.Errorf("dataset: %s: %s", quote(d.path), fmt.Sprintf(format, args...))
	}
	switch {
	case o.Size < 0 || o.Skip < 0 || o.Window < 0 || o.Epoch < 0:
		return fail("batches of %d samples and %d steps from batch %d of epoch %d: none of them may be negative", o.Size, o.Window, o.Skip, o.Epoch)
	case o.Size > n:
		return fail("a batch of %d samples is larger than the set of %d (take a smaller batch)", o.Size, n)
	case o.Window > 0 && !d.streams:
		return fail("windows of %d steps need streams (--state OUT=IN)", o.Window)
	}
	p := &epochPlan{size: o.Size, window: d.steps}
	if p.size == 0 {
		p.size = min(DefaultBatch, n)
	}
	if o.Window > 0 {
		p.window = min(o.Window, d.steps)
	}
	p.batches = (n + p.size - 1) / p.size
	p.windows = (d.steps + p.window - 1) / p.window
	switch {
	case d.fixed > 1:
		p.run, p.full = d.fixed, true
	case d.joins:
		p.run = p.size
	default:
		p.run = 1
	}
	return p, nil
}

// order is the samples' order in an epoch, as numbers in the file.
func (d *Dataset) order(o BatchOptions) []int {
	order := make([]int, d.Len())
	for i := range order {
		order[i] = d.at(i)
	}
	if o.Shuffle {
		shuffle(order, o.Seed, "epoch", strconv.Itoa(o.Epoch))
	}
	return order
}

// batch reads one run of the batch of the given samples.
func (d *Dataset) batch(p *epochPlan, order, samples []int, number, run int, without []string) (*Batch, error) {
	index := samples[run*p.run : min((run+1)*p.run, len(samples))]
	b := &Batch{
		Number: number, Run: run, Last: run == p.runs(len(samples))-1, Samples: len(samples),
		Start: number % p.windows * p.window, Reset: number%p.windows == 0,
		Weights: make([]float32, len(index), p.run),
	}
	for i := range index {
		b.Weights[i] = 1
	}
	b.Index = append(make([]int, 0, p.run), index...)
	for i := 0; p.full && len(b.Index) < p.run; i++ {
		b.Index = append(b.Index, order[i%len(order)])
		b.Weights = append(b.Weights, 0)
	}
	b.steps = min(p.window, d.steps-b.Start)
	return b, d.fill(b, without)
}

// fill reads feeds, labels and lengths.
func (d *Dataset) fill(b *Batch, without []string) error {
	b.Feeds = make(map[string]*onnx.Array, len(d.inputs))
	w := window{step: b.Start, steps: b.steps, axis: d.streams}
	for _, s := range d.inputs {
		if slices.Contains(without, s.name) {
			continue
		}
		a, err := s.feed(b.Index, w)
		if err != nil {
			return err
		}
		if i := nonFinite(a); i >= 0 {
			return s.nonFiniteError(a, i, b.Index, b.Start)
		}
		b.Feeds[s.name] = a
		if d.streams && s.kind != constant {
			if b.stepped == nil {
				b.stepped = make(map[string]bool)
			}
			b.stepped[s.name] = true
		}
	}
	return d.fillLabels(b)
}
