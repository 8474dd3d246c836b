package decompose

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/trconvert/trconvert/tensor"
	"github.com/trconvert/trconvert/trals"
)

// chains is the method of rings and trains: input cores, then output cores, fitted by package trals.
type chains struct{ *job }

func (j chains) smallest() int {
	least := math.MaxInt
	for _, s := range j.shapes() {
		least = min(least, sum(s.modes()))
	}
	return least
}

func (j chains) layouts() []shape {
	return combined(sideChoices(j.o.InModes, defaultCount(j.In)+3, j.splitIn), sideChoices(j.o.OutModes, defaultCount(j.Out())+3, j.splitOut))
}

func (j chains) given(b Budget) (candidate, error) {
	s, ok := defaultShape(j.Matrix, j.o, len(b.Ranks))
	if !ok {
		return candidate{}, &OptionError{"ranks", j.Name, fmt.Sprintf("no modes of %d columns and %d rows fit %d ranks (give --in-modes and --out-modes)", j.In, j.Out(), len(b.Ranks))}
	}
	ranks := j.usable(b.ranks(len(s.in)+len(s.out), j.o.Format), s.modes())
	return candidate{shape: s, ranks: ranks, params: paramsOf(s.modes(), ranks)}, nil
}

// ranks are the d ranks that a Rank or Ranks budget asks for.
func (b Budget) ranks(d int, format string) []int {
	if b.Rank == 0 {
		return slices.Clone(b.Ranks)
	}
	asked := slices.Repeat([]int{b.Rank}, d)
	if !closed(format) {
		asked[0] = 1
	}
	return asked
}

// usable lowers ranks to what their cores can use, with a warning.
func (j *job) usable(asked, modes []int) []int {
	ranks := trals.CapRanks(modes, asked)
	if !slices.Equal(ranks, asked) {
		j.warnings = append(j.warnings, fmt.Sprintf("ranks %v are lowered to %v: a bond cannot use more states than its cores have", asked, ranks))
	}
	return ranks
}

// best searches, tries the most promising candidates with a few sweeps, drops the worse half, doubles the sweeps, and so on; it returns
// the one that is left, with its cores.
func (j chains) best(ctx context.Context, n int) (candidate, error) {
	found, err := j.search(ctx, n)
	if err != nil || len(found) == 0 {
		return candidate{}, err
	}
	stand := j.m.Compressed(min(j.m.Known(), 2*widestCut(found)+16))
	candidates, first := j.trials()
	found = pickTrials(found, candidates)
	done, most := 0, 2*len(found)
	for sweeps := first; ; sweeps *= 2 {
		for i, c := range found {
			if c.ended {
				continue
			}
			res, err := j.fit(ctx, stand, c, sweeps, 0, false)
			if err != nil {
				return candidate{}, err
			}
			c.cores, c.err, c.sweeps = res.Cores, res.WeightedError, c.sweeps+res.Sweeps
			c.ended = res.Status != trals.SweepLimit
			c.ranks = ranksOf(c)
			found[i] = c
			done++
			j.tried(done, most, c.err)
		}
		slices.SortStableFunc(found, func(a, b candidate) int { return cmp.Compare(a.err, b.err) })
		if len(found) == 1 || j.o.Method == "svd" {
			return found[0], nil
		}
		found = found[:(len(found)+1)/2]
		for sweeps > first && found[len(found)-1].err > hopeless*found[0].err {
			found = found[:len(found)-1]
		}
		if len(found) == 1 {
			return found[0], nil
		}
	}
}

const (
	quickTrials = 3 // candidates for a point of the front
	quickSweeps = 6
)

func (j chains) quick(ctx context.Context, n int) (*tensor.Factor, error) {
	best, err := j.quickBest(ctx, n)
	if best.cores == nil || err != nil {
		return nil, err
	}
	f := j.factor(best.shape, best.cores)
	if len(f.Cores) == 2 && f.Cores[0].Left == 1 {
		f.Format = tensor.SVD // a train of two cores
	}
	return f, nil
}

// quickBest is the best of a few candidates after a few sweeps; its cores are nil where there is none.
func (j chains) quickBest(ctx context.Context, n int) (candidate, error) {
	found, err := j.search(ctx, n)
	if err != nil || len(found) == 0 {
		return candidate{}, err
	}
	found = pickTrials(found, trials)
	found = found[:min(quickTrials, len(found))]
	stand := j.m.Compressed(min(j.m.Known(), 2*widestCut(found)+16))
	best := candidate{err: math.Inf(1)}
	for i, c := range found {
		res, err := j.fit(ctx, stand, c, quickSweeps, 0, false)
		if err != nil {
			return candidate{}, err
		}
		j.tried(i+1, len(found), res.WeightedError)
		if res.WeightedError < best.err {
			c.cores, c.err = res.Cores, res.WeightedError
			best = c
		}
	}
	return best, nil
}

func (j chains) finish(ctx context.Context, c candidate) error {
	res, err := j.fit(ctx, j.m, c, j.o.Sweeps, j.o.Restarts, true)
	if err != nil {
		return err
	}
	res.Sweeps += c.sweeps
	if res, err = j.better(ctx, c, res); err != nil {
		return err
	}
	j.record(j.factor(c.shape, res.Cores), res)
	return nil
}
