package convert

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/trconvert/trconvert/decompose"
	"github.com/trconvert/trconvert/export"
)

// WholeBudget is what the written file may cost, weights that stay dense, nodes and metadata included. At most one is set.
type WholeBudget struct {
	Ratio float64 // bytes of the input / bytes of the output
	Bytes int64   // of the output
	// MaxDrop, where Drop is true, is the most that the metric on Val may fall (accuracy), or rise where it is an error; the smallest
	// file that is found within it is written.
	Drop    bool
	MaxDrop float64
	Val     Validation
}

// Validation is labelled data that a model's quality is measured on.
type Validation struct {
	Data    string
	Reading DataOptions
	Output  string // the output that the labels are for; "" where there is only one
	Loss    string // one of Losses, "" for the first
}

func (w WholeBudget) set() bool { return w.Ratio != 0 || w.Bytes != 0 || w.Drop }

// check refuses what cannot be meant.
func (w WholeBudget) check(o Options, another bool) error {
	n := 0
	for _, is := range []bool{w.Ratio != 0, w.Bytes != 0, w.Drop, another} {
		if is {
			n++
		}
	}
	refuse := func(option, what string) error { return &OptionError{Option: option, What: what} }
	switch {
	case !w.Drop && w.Val.Data != "":
		return refuse("--val", "says what --max-drop is measured on, but there is no --max-drop")
	case !w.set():
		return nil
	case n > 1:
		return refuse("budget", "more than one is given; choose one of --model-ratio, --model-bytes, --max-drop, --ratio, --rank, --ranks, --max-error, --max-params")
	case math.IsNaN(w.Ratio) || math.IsInf(w.Ratio, 0) || w.Ratio != 0 && w.Ratio <= 1:
		return &OptionError{Option: "--model-ratio", Value: fmt.Sprint(w.Ratio), What: "must be a number above 1"}
	case w.Bytes < 0:
		return &OptionError{Option: "--model-bytes", Value: fmt.Sprint(w.Bytes), What: "must be above 0"}
	case w.Drop && !(w.MaxDrop >= 0 && w.MaxDrop < math.Inf(1)):
		return &OptionError{Option: "--max-drop", Value: fmt.Sprint(w.MaxDrop), What: "must be a number from 0"}
	case w.Drop && w.Val.Data == "":
		return refuse("--max-drop", "needs data with labels to measure the metric on (--val DATA --labels NAME)")
	case w.Drop && w.Val.Reading.Labels == "":
		return refuse("--labels", "is missing: --max-drop compares outputs with the labels of --val")
	case o.Export.Form == export.Dense:
		return refuse("--form", "the dense form does not get smaller, so that no budget of the whole file can be met; use --form bottleneck or cores")
	case len(o.Fit.InModes)+len(o.Fit.OutModes) > 0:
		return refuse("--in-modes, --out-modes", "are those of one matrix, and a budget of the whole file is split over all; choose a --ratio, or leave the modes to be chosen")
	}
	return checkLoss(&w.Val.Loss)
}

// split is the search for the factors of all matrices under a budget of bytes.
type split struct {
	c       *conversion
	fit     decompose.Options
	cal     *calibration // nil without calibration data
	samples []sample     // random inputs, where there is no calibration data
	ms      []decompose.Matrix
	fronts  [][]decompose.Point
	weights []float64 // squared error of the outputs by squared error of each matrix
	known   map[share]decompose.Result
}

// share is a number of numbers for a matrix.
type share struct{ matrix, params int }

// fitWhole fits all matrices so that the written file meets the budget.
func (c *conversion) fitWhole(ctx context.Context, ms []decompose.Matrix, o decompose.Options) error {
	s := &split{c: c, fit: o, ms: ms, known: map[share]decompose.Result{}}
	for i := range s.ms { // each is read once, not at every fit
		s.ms[i].Load = onceLoaded(s.ms[i].Load)
	}
	if err := s.measure(ctx); err != nil {
		return err
	}
	var (
		results []decompose.Result
		err     error
	)
	switch w := c.o.Whole; {
	case w.Drop:
		results, err = s.smallest(ctx, w)
	case w.Ratio != 0:
		results, err = s.within(ctx, int64(math.Floor(float64(c.report.Input.Bytes)/w.Ratio)), mostRounds, fmt.Sprintf("--model-ratio %g", w.Ratio))
	default:
		results, err = s.within(ctx, w.Bytes, mostRounds, fmt.Sprintf("--model-bytes %d", w.Bytes))
	}
	if err != nil {
		return err
	}
	fronts := make([][]decompose.Point, len(results))
	for i, r := range results {
		fronts[i] = withChosen(s.fronts[i], r)
	}
	c.shares = s.sharesOf(results)
	return c.conclude(outcome{results, fronts}, len(ms))
}

// measure collects frames, fronts and sensitivities.
func (s *split) measure(ctx context.Context) error {
	c := s.c
	var err error
	if c.o.Calibration.Data != "" {
		if s.cal, err = c.calibrate(ctx); err != nil {
			return err
		}
		if err := c.reference(ctx, s.cal); err != nil {
			return err
		}
		ridge, err := c.chooseRidge(ctx, s.cal, s.ms)
		if err != nil {
			return err
		}
		c.ridge = &ridge
		if s.ms, err = weighed(s.ms, s.cal, ridge); err != nil {
			return err
		}
	} else if s.samples, err = c.samples(ctx); err != nil {
		return err
	}
	for _, m := range s.ms {
		front, err := decompose.Front(ctx, m, s.quick())
		if err != nil {
			return err
		}
		s.fronts = append(s.fronts, front)
		c.progress(Progress{Stage: StageSearch, Site: m.Name, Matrix: len(s.fronts) - 1, Matrices: len(s.ms), Sweep: 1, Sweeps: 1})
	}
	return s.sensitivities(ctx)
}

// quick are the options of what is only tried.
func (s *split) quick() decompose.Options {
	o := s.fit
	o.OnSweep, o.OnTrial = nil, nil
	return o
}

// probes are the parts of a matrix's numbers that its truncated SVDs keep when its sensitivity is measured.
var probes = []float64{0.03, 0.2}

// sensitivities measures how much the outputs of the whole model change for the error of each matrix alone: the mean of the ratios of squared
// relative errors over truncated SVDs of a few sizes. Where the model cannot be run all matrices count alike.
func (s *split) sensitivities(ctx context.Context) error {
	s.weights = slices.Repeat([]float64{1}, len(s.ms))
	if s.cal == nil && len(s.samples) == 0 {
		s.c.warn("equal-weights", "", "the model cannot be run here, so that the errors of all matrices count alike")
		return nil
	}
	if s.cal == nil {
		s.c.warn("random-weights", "", "how much each matrix matters was measured on random inputs; --calibration measures it on real ones")
	}
	for i, m := range s.ms {
		sum, n := 0.0, 0
		for _, part := range probes {
			o := s.quick()
			o.Format = "svd"
			k := max(1, int(part*float64(m.Size())/float64(m.Out()+m.In)))
			r, err := decompose.Run(ctx, []decompose.Matrix{m}, decompose.Budget{Rank: min(k, m.Out(), m.In)}, o)
			if err != nil {
				return err
			}
			if r[0].KeptDense {
				continue
			}
			results := s.allDense()
			results[i] = r[0]
			e, err := s.outputError(ctx, results)
			if err != nil {
				return err
			}
			if own := s.loss(i, r[0]); own > 0 && !math.IsInf(e, 0) {
				sum, n = sum+square(e/own), n+1
			}
		}
		if n > 0 {
			s.weights[i] = max(sum/float64(n), 1e-12)
		}
		s.c.progress(Progress{Stage: StageCalibrate, Sample: i + 1, Samples: len(s.ms)})
	}
	return nil
}

func square(x float64) float64 { return x * x }

func (s *split) allDense() []decompose.Result {
	results := make([]decompose.Result, len(s.ms))
	for i, m := range s.ms {
		results[i] = decompose.Result{Matrix: m.Name, KeptDense: true}
	}
	return results
}

// aware says whether the error on data counts for a matrix.
func (s *split) aware(i int) bool {
	m := s.ms[i].Metric
	return m != nil && !m.Flat() && !m.Zero()
}

func (s *split) loss(i int, r decompose.Result) float64 {
	switch {
	case r.KeptDense:
		return 0
	case s.aware(i) && !math.IsNaN(r.DataError):
		return r.DataError
	}
	return r.RelativeError
}

// outputError is the worst relative error of an output with results in place of their matrices, on calibration samples held back or on random inputs.
func (s *split) outputError(ctx context.Context, results []decompose.Result) (float64, error) {
	if s.cal != nil {
		return s.c.heldBackError(ctx, s.cal, results)
	}
	overrides, _, err := s.c.overrides(factorsOf(s.c.groups, results))
	if err != nil {
		return 0, err
	}
	p, err := s.c.withOverrides(ctx, overrides)
	if err != nil {
		return 0, err
	}
	cmp := newComparer()
	cmp.floatOnly = true
	for _, x := range s.samples {
		out, err := p.Run(ctx, x.feeds)
		if err != nil {
			return 0, err
		}
		if err := cmp.add(out, x.outputs, nil); err != nil {
			return 0, err
		}
	}
	return float64(cmp.result("go").Relative), nil
}

// result fits a matrix with at most n numbers; n at or above its size keeps it dense.
func (s *split) result(ctx context.Context, i, n int) (decompose.Result, error) {
	m := s.ms[i]
	if n >= m.Size() {
		return decompose.Result{Matrix: m.Name, KeptDense: true, Reason: fmt.Sprintf("the budget leaves room for all of its %d numbers", m.Size())}, nil
	}
	key := share{i, n}
	if r, ok := s.known[key]; ok {
		return r, nil
	}
	r, err := decompose.Run(ctx, []decompose.Matrix{m}, decompose.Budget{MaxParams: n}, s.fit)
	if err != nil {
		return decompose.Result{}, err
	}
	s.known[key] = r[0]
	return r[0], nil
}

// sharesOf are the numbers for which results were fitted.
func (s *split) sharesOf(results []decompose.Result) []int {
	shares := make([]int, len(results))
	for k, r := range s.known {
		if r.Factor != nil && r.Factor == results[k.matrix].Factor {
			shares[k.matrix] = k.params
		}
	}
	return shares
}

// sizes are the numbers that a matrix may get, a part of 2^⅛ apart, its own size last.
func (s *split) sizes(i int) []int {
	m := s.ms[i]
	least := m.Size()
	for _, p := range s.fronts[i] {
		least = min(least, p.Params)
	}
	var all []int
	for n := float64(least); int(n) < m.Size()*9/10; n = math.Max(n+1, n*math.Pow(2, 0.125)) {
		all = append(all, int(n))
	}
	return append(all, m.Size())
}

// overhead is a guess at the bytes of nodes, names and metadata that a factor needs besides its numbers; what is written is measured.
const overhead = 700

// shares divides bytes: each matrix gets a number of numbers such that Σ weight·error² over the fronts is least. It is nil where not even the smallest factors fit.
func (s *split) shares(bytes int64) []int {
	things := make([][]decompose.Choice, len(s.ms))
	sizes := make([][]int, len(s.ms))
	for i, m := range s.ms {
		each := elementBytes(s.c.groups[i].elem(), s.c.o.Weights)
		sizes[i] = s.sizes(i)
		for _, n := range sizes[i] {
			choice := decompose.Choice{Size: int(each) * n}
			if n < m.Size() {
				choice.Size += overhead
				choice.Loss = s.weights[i] * square(decompose.At(s.fronts[i], n, s.aware(i)))
			}
			things[i] = append(things[i], choice)
		}
	}
	places := decompose.Mix(things, int(max(0, bytes)))
	if places == nil {
		return nil
	}
	shares := make([]int, len(s.ms))
	for i, k := range places {
		shares[i] = sizes[i][k]
	}
	return shares
}

// smallestShares are the smallest factors of all matrices.
func (s *split) smallestShares() []int {
	shares := make([]int, len(s.ms))
	for i := range s.ms {
		shares[i] = s.sizes(i)[0]
	}
	return shares
}

// fitted fits all matrices and measures the file that they make.
func (s *split) fitted(ctx context.Context, shares []int) ([]decompose.Result, int64, error) {
	results := make([]decompose.Result, len(s.ms))
	for i, n := range shares {
		var err error
		if results[i], err = s.result(ctx, i, n); err != nil {
			return nil, 0, err
		}
	}
	compact, err := s.c.lowered(ctx, factorsOf(s.c.groups, results))
	if err != nil {
		return nil, 0, err
	}
	defer compact.Close()
	size, err := compact.WrittenSize(s.c.o.Output)
	return results, size, err
}

// Bounds of the fits that are made to meet a budget, the difference between what was guessed and what is written being known better each time; fewer
// where many budgets are tried.
const (
	mostRounds = 5
	fewRounds  = 2
)

// within finds factors for which the file has at most so many bytes, in so many rounds.
func (s *split) within(ctx context.Context, most int64, rounds int, asked string) ([]decompose.Result, error) {
	rest := s.c.dense.Size() // of the file, without its matrices
	for i := range s.ms {
		rest -= s.c.groups[i].size() * elementBytes(s.c.groups[i].elem(), export.Float32)
	}
	var (
		best  []decompose.Result
		size  int64
		tried = map[string]bool{}
	)
	for range rounds {
		shares := s.shares(most - rest)
		if shares == nil || tried[fmt.Sprint(shares)] {
			break
		}
		tried[fmt.Sprint(shares)] = true
		results, n, err := s.fitted(ctx, shares)
		if err != nil {
			return nil, err
		}
		if n <= most && (best == nil || n > size) {
			best, size = results, n
		}
		if n <= most && most-n < max(256, most/100) {
			break
		}
		// What the file has beyond its numbers is known now, for these factors.
		var guessed int64
		for i, k := range shares {
			guessed += int64(k) * elementBytes(s.c.groups[i].elem(), s.c.o.Weights)
			if k < s.ms[i].Size() {
				guessed += overhead
			}
		}
		rest = n - guessed
	}
	if best != nil {
		return best, nil
	}
	results, n, err := s.fitted(ctx, s.smallestShares())
	if err != nil {
		return nil, err
	}
	if n <= most {
		return results, nil
	}
	return nil, &GateError{Gate: asked, Got: fmt.Sprintf("asked for at most %d bytes, the best that can be reached is %d (ratio %.4g)", most, n, float64(s.c.report.Input.Bytes)/float64(n))}
}

// dropSteps is the number of sizes that are tried for a largest drop.
const dropSteps = 5

// smallest finds the smallest file whose metric is within the drop, by bisection of the logarithm of its size.
func (s *split) smallest(ctx context.Context, w WholeBudget) ([]decompose.Result, error) {
	asked := fmt.Sprintf("--max-drop %g", w.MaxDrop)
	val, err := s.c.validation(ctx, w.Val)
	if err != nil {
		return nil, err
	}
	defer val.close()
	before, err := val.metric(ctx, s.c.original)
	if err != nil {
		return nil, err
	}
	results, n, err := s.fitted(ctx, s.smallestShares())
	if err != nil {
		return nil, err
	}
	reached := 0.0 // of the best so far
	drop := func(results []decompose.Result) (float64, error) {
		compact, err := s.c.lowered(ctx, factorsOf(s.c.groups, results))
		if err != nil {
			return 0, err
		}
		defer compact.Close()
		after, err := val.metric(ctx, compact)
		d := after - before
		if val.falls {
			d = -d
		}
		if d <= w.MaxDrop {
			reached = after
		}
		return d, err
	}
	report := func() {
		s.c.report.Drop = &DropReport{Metric: val.name, Before: Number(before), After: Number(reached)}
	}
	least, err := drop(results)
	if err != nil || least <= w.MaxDrop {
		report()
		return results, err
	}
	low, high := float64(n), float64(s.c.report.Input.Bytes)
	var best []decompose.Result
	for range dropSteps {
		at := math.Sqrt(low * high)
		results, err := s.within(ctx, int64(at), fewRounds, asked)
		var missed *GateError
		if errors.As(err, &missed) {
			low = at
			continue
		}
		if err != nil {
			return nil, err
		}
		d, err := drop(results)
		if err != nil {
			return nil, err
		}
		least = min(least, d)
		if d <= w.MaxDrop {
			best, high = results, at
		} else {
			low = at
		}
	}
	if best == nil {
		return nil, &GateError{Gate: asked, Got: fmt.Sprintf("the best that can be reached with a smaller file is a drop of %.4g, from %.4g", least, before)}
	}
	report()
	return best, nil
}
