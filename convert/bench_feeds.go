package convert

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/runtime"
)

// probe runs a model and tells what its first recurrent layer saw: sequences of how many steps, and how many of them; 0 where that is
// not known.
type probe func(ctx context.Context, feeds map[string]*onnx.Array) (steps, batch int, err error)

// observedRun compiles a model so that X of its first recurrent layer is seen.
func observedRun(ctx context.Context, m *onnx.Model, threads int) (probe, error) {
	sites, err := recurrent.Find(ctx, m)
	if err != nil {
		return nil, err
	}
	o := runtime.Options{Threads: threads}
	for _, s := range sites {
		o.Observe = append(o.Observe, runtime.Observed{Node: s.Node, Slot: recurrent.SlotX})
	}
	p, err := runtime.Compile(ctx, m, o)
	if err != nil {
		return nil, err
	}
	batchFirst := make(map[*onnx.Node]bool)
	for _, s := range sites {
		batchFirst[s.Node] = s.Layout == 1
	}
	return func(ctx context.Context, feeds map[string]*onnx.Array) (steps, batch int, err error) {
		_, err = p.RunWith(ctx, feeds, func(o runtime.Observed, x *onnx.Array) {
			if steps == 0 && len(x.Dims) == 3 {
				steps, batch = x.Dims[0], x.Dims[1]
				if batchFirst[o.Node] {
					steps, batch = batch, steps
				}
			}
		})
		return steps, batch, err
	}, nil
}

// sizes are inputs of a model and what its first recurrent layer makes of them.
type sizes struct {
	feeds        map[string]*onnx.Array
	steps, batch int
}

// probed are numbers that no model fixes, to see which free dimension is which.
const probedSteps, probedBatch = 7, 3

// findSizes makes random inputs on which the model's first recurrent layer runs batch sequences of so many steps. Which free dimension is the batch and which
// the time is found by running the model: it is tried with either order, and what the layer sees decides. A model that takes none of these is run on the first
// of a verification's inputs that it accepts.
func findSizes(ctx context.Context, inputs []*onnx.ValueInfo, m *onnx.Model, run probe, batch, steps int) (sizes, error) {
	var (
		best  trial
		score int
		last  error
	)
	for _, t := range benchTrials() {
		feeds, err := t.with(probedSteps, probedBatch).feeds(inputs, 0)
		if err != nil {
			return sizes{}, err
		}
		s, b, err := run(ctx, feeds)
		if ctx.Err() != nil {
			return sizes{}, ctx.Err()
		}
		if err != nil {
			last = err
			continue
		}
		fit := 1
		if s == probedSteps {
			fit++
		}
		if b == probedBatch {
			fit++
		}
		if fit > score {
			best, score = t.trial, fit
			best.sizes = t.with(steps, batch).sizes
		}
	}
	tried := trials
	if score > 1 {
		tried = append([]trial{best}, trials...)
	}
	for k, t := range tried {
		feeds, err := t.feeds(inputs, uint64(k))
		if err != nil {
			return sizes{}, err
		}
		s, b, err := run(ctx, feeds)
		if ctx.Err() != nil {
			return sizes{}, ctx.Err()
		}
		if err == nil {
			return sizes{fullLengths(ctx, feeds, run, s, b), s, b}, nil
		}
		last = err
	}
	return sizes{}, fmt.Errorf("it accepts none of the random inputs tried (the last: %w)", last)
}

// fullLengths makes sequences as long as they can be: an integer for each of them is taken for its length if the model runs with it.
func fullLengths(ctx context.Context, feeds map[string]*onnx.Array, run probe, steps, batch int) map[string]*onnx.Array {
	full := maps.Clone(feeds)
	for name, a := range feeds {
		if !a.Type.IsInteger() || !slices.Equal(a.Dims, []int{batch}) {
			continue
		}
		lens := make([]float64, batch)
		for i := range lens {
			lens[i] = float64(steps)
		}
		long, err := narrow(a.Type, a.Dims, lens)
		if err != nil {
			return feeds
		}
		full[name] = long
	}
	if _, _, err := run(ctx, full); err != nil {
		return feeds
	}
	return full
}

// benchTrial is a trial whose free dimensions are the time and the batch, in this order or the other.
type benchTrial struct {
	trial
	batchFirst bool
}

func (t benchTrial) with(steps, batch int) trial {
	t.sizes = []int{steps, batch, batch}
	if t.batchFirst {
		t.sizes = []int{batch, steps, batch}
	}
	return t.trial
}

// benchTrials go from what most models accept to the particular.
func benchTrials() []benchTrial {
	var all []benchTrial
	for _, scalar := range []int64{16000, 1} {
		for _, names := range []naming{byAxis, ofFirst} {
			for _, batchFirst := range []bool{true, false} {
				all = append(all, benchTrial{trial{names: names, scalar: scalar, integer: 4, reals: signed}, batchFirst})
			}
		}
	}
	return all
}
