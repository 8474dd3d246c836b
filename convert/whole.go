package convert

import (
	"context"
	"errors"
	"fmt"
	"math"

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

// split is the search for the factors and storages of all matrices under a budget of bytes.
type split struct {
	c        *conversion
	fit      decompose.Options
	storages []Storage    // that there are to choose from
	cal      *calibration // nil without calibration data
	samples  []sample     // random inputs, where there is no calibration data
	ms       []decompose.Matrix
	fronts   [][]decompose.Point

	weights   []float64 // squared error of the outputs by squared error of each matrix
	rounding  []float64 // squared error of the outputs where each matrix, and last all other weights, are stored as int8
	restBytes []int64   // of all that is no matrix, by storages
	known     map[[2]int]decompose.Result
}

// fitWhole fits all matrices so that the written file meets the budget.
func (c *conversion) fitWhole(ctx context.Context, ms []decompose.Matrix, o decompose.Options) error {
	s := &split{c: c, fit: o, storages: c.storagesToChoose(), ms: ms, known: map[[2]int]decompose.Result{}}
	for i := range s.ms { // each is read once, not at every fit
		s.ms[i].Load = onceLoaded(s.ms[i].Load)
	}
	if err := s.measure(ctx); err != nil {
		return err
	}
	var (
		f   *fitted
		err error
	)
	within := func(most int64, asked string) (*fitted, error) {
		f, err := s.within(ctx, most, mostRounds, asked)
		if err != nil {
			return nil, err
		}
		return s.quicker(ctx, f, most)
	}
	switch w := c.o.Whole; {
	case w.Drop:
		f, err = s.smallest(ctx, w)
	case w.Ratio != 0:
		f, err = within(int64(math.Floor(float64(c.report.Input.Bytes)/w.Ratio)), fmt.Sprintf("--model-ratio %g", w.Ratio))
	default:
		f, err = within(w.Bytes, fmt.Sprintf("--model-bytes %d", w.Bytes))
	}
	if err != nil {
		return err
	}
	fronts := make([][]decompose.Point, len(f.results))
	for i, r := range f.results {
		fronts[i] = withChosen(s.fronts[i], r)
	}
	c.mix = f.mix
	return c.conclude(outcome{f.results, fronts}, len(ms))
}

// storagesToChoose are the storages that a budget of the whole file may give to weights: the one that was asked for, or all that the model's opset has the nodes for.
func (c *conversion) storagesToChoose() []Storage {
	if c.o.Weights != "" {
		return []Storage{c.o.Weights}
	}
	if c.dense.Opset("") < export.FirstStoring {
		return []Storage{export.Float32}
	}
	return []Storage{export.Float32, export.Float16, export.Int8}
}

// dropSteps is the number of sizes that are tried for a largest drop.
const dropSteps = 7

// smallest finds the smallest file whose metric is within the drop, by bisection of the logarithm of its size.
func (s *split) smallest(ctx context.Context, w WholeBudget) (*fitted, error) {
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
	f, err := s.fitMix(ctx, s.smallestMix())
	if err != nil {
		return nil, err
	}
	var best *fitted
	least := math.Inf(1)
	try := func(f *fitted) (ok bool, err error) {
		compact, err := s.c.lowered(ctx, s.c.factors(f.results), f.mix)
		if err != nil {
			return false, err
		}
		defer compact.Close()
		after, err := val.metric(ctx, compact)
		if err != nil {
			return false, err
		}
		drop := after - before
		if val.falls {
			drop = -drop
		}
		least = min(least, drop)
		if drop > w.MaxDrop {
			return false, nil
		}
		best = f
		s.c.report.Drop = &DropReport{Metric: val.name, Before: Number(before), After: Number(after)}
		return true, nil
	}
	if ok, err := try(f); ok || err != nil {
		return f, err
	}
	low, high := float64(f.bytes), float64(s.c.report.Input.Bytes)
	for range dropSteps {
		at := math.Sqrt(low * high)
		f, err := s.within(ctx, int64(at), fewRounds, asked)
		if errors.As(err, new(*GateError)) {
			low = at
			continue
		}
		if err != nil {
			return nil, err
		}
		ok, err := try(f)
		if err != nil {
			return nil, err
		}
		if ok {
			high = float64(f.bytes)
		} else {
			low = at
		}
	}
	if best == nil {
		return nil, &GateError{Gate: asked, Got: fmt.Sprintf("the best that can be reached with a smaller file is a drop of %.4g, from %.4g", least, before)}
	}
	return best, nil
}
