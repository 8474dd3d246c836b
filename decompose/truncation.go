package decompose

import (
	"context"
	"fmt"
	"math"

	"github.com/trconvert/trconvert/tensor"
	"github.com/trconvert/trconvert/trals"
)

// truncation is the method of the truncated SVD. The spectrum tells all its errors, so nothing is tried.
type truncation struct{ *job }

func (j truncation) smallest() int { return j.Out() + j.In }

func (j truncation) layouts() []shape { return []shape{j.rank(1).shape} }

func (j truncation) given(b Budget) (candidate, error) {
	return j.rank(max(b.Rank, last(b.Ranks))), nil
}

func (j truncation) rank(k int) candidate {
	return candidate{shape: shape{[]int{j.In}, []int{j.Out()}}, ranks: []int{1, k}, params: k * (j.In + j.Out())}
}

func (j truncation) best(_ context.Context, n int) (candidate, error) {
	c := j.rank(min(n/(j.Out()+j.In), j.Out(), j.In, j.m.Known()))
	c.err = j.m.SVDError(c.ranks[1])
	return c, nil
}

func (j truncation) quick(ctx context.Context, n int) (*tensor.Factor, error) {
	f, _, err := j.truncate(min(n/(j.Out()+j.In), j.m.Known()))
	return f, err
}

func (j truncation) finish(_ context.Context, c candidate) error { return j.record(c.ranks[1]) }

// record makes the truncated SVD of rank k the job's result.
func (j truncation) record(k int) error {
	f, res, err := j.truncate(k)
	if err != nil {
		return err
	}
	j.job.record(f, res)
	return nil
}

// truncate is the truncated SVD of rank k: a train of two cores.
func (j truncation) truncate(k int) (*tensor.Factor, *trals.Result, error) {
	c := j.rank(k)
	res, err := j.m.Decompose(context.Background(), c.in, c.out, trals.Options{Ranks: c.ranks, Sweeps: -1})
	if err != nil {
		return nil, nil, fmt.Errorf("decompose: %q: %w", j.Name, err)
	}
	res.Status = trals.Converged
	return j.factor(c.shape, res.Cores), res, nil
}

// reach goes by the spectrum.
func (j truncation) reach(limit float64) (float64, error) {
	both := j.Out() + j.In
	closest := math.Inf(1)
	for k := 1; k <= min(j.Out(), j.In, j.m.Known()) && k*both < j.Size(); k++ {
		closest = j.m.SVDError(k)
		if closest > limit {
			continue
		}
		if err := j.record(k); err != nil {
			return 0, err
		}
		if closest = j.result.RelativeError; closest <= limit { // rounding may have cost the last digits
			return closest, nil
		}
	}
	j.missed(limit, closest)
	return closest, nil
}
