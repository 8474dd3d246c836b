package decompose

import (
	"context"
	"fmt"
	"math"
)

// runRanks fits every matrix at given ranks.
func runRanks(ctx context.Context, jobs []*job, b Budget) error {
	for _, j := range jobs {
		if j.single() {
			j.keepDense(j.tooSmall())
			continue
		}
		c, err := j.method().given(b)
		if err != nil {
			return err
		}
		if c.params >= j.Size() {
			j.keepDense(fmt.Sprintf("ranks %v need %d numbers, the matrix has %d", c.ranks, c.params, j.Size()))
			continue
		}
		if err := j.finish(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func (j *job) tooSmall() string {
	if j.single() {
		return fmt.Sprintf("%d rows × %d columns: a matrix with one row or column has no sides to share ranks", j.Out(), j.In)
	}
	return fmt.Sprintf("%d rows × %d columns cannot get smaller: the smallest %s has %d numbers, the matrix %d", j.Out(), j.In, j.o.Format, j.smallest(), j.Size())
}

// runParams spends n numbers on all matrices together.
func runParams(ctx context.Context, jobs []*job, n int, asked string, describe func(n int) string) error {
	least, shrinkable := 0, jobs[:0:0]
	for _, j := range jobs {
		if small := j.smallest(); small < j.Size() {
			least += small
			shrinkable = append(shrinkable, j)
		} else {
			least += j.Size()
			n -= j.Size()
			j.keepDense(j.tooSmall())
		}
	}
	shares := share(shrinkable, n)
	if shares == nil {
		return &BudgetError{Asked: asked, Best: describe(least)}
	}
	spare := 0
	for i, j := range shrinkable {
		budget := shares[i] + spare
		if budget >= j.Size() {
			j.keepDense(fmt.Sprintf("the budget leaves room for all of its %d numbers", j.Size()))
			spare = budget - j.Size()
			continue
		}
		c, err := j.best(ctx, budget)
		if err != nil {
			return err
		}
		if err := j.finish(ctx, c); err != nil {
			return err
		}
		if err := j.balance(ctx, budget); err != nil {
			return err
		}
		spare = budget - j.params()
	}
	return nil
}

// share divides n numbers. Each matrix first gets its smallest factor. The rest goes, one singular value at a time, to where the
// truncated SVD's squared relative error falls most for each number; where n is too small for that to say much, a quarter of it is
// shared in proportion to the sizes. It returns nil if n is not enough for the smallest factors.
func share(jobs []*job, n int) []int {
	shares := make([]int, len(jobs))
	size := 0
	for i, j := range jobs {
		shares[i] = j.smallest()
		n -= shares[i]
		size += j.Size()
	}
	if n < 0 {
		return nil
	}
	if len(jobs) == 1 {
		shares[0] += n
		return shares
	}
	even := n / 4
	for i, j := range jobs {
		part := min(int(float64(even)*float64(j.Size())/float64(size)), j.Size()-shares[i])
		shares[i] += part
		n -= part
	}
	next := make([]int, len(jobs)) // singular values given so far
	for n > 0 {
		pick, rate := -1, math.Inf(-1)
		for i, j := range jobs {
			if shares[i] >= j.Size() {
				continue
			}
			gain := 0.0
			if next[i] < j.m.Known() {
				a, b := j.m.SVDError(next[i]), j.m.SVDError(next[i]+1)
				gain = (a*a - b*b) / float64(j.Out()+j.In)
			}
			if gain > rate {
				pick, rate = i, gain
			}
		}
		if pick < 0 {
			break
		}
		j := jobs[pick]
		part := min(j.Out()+j.In, n, j.Size()-shares[pick])
		shares[pick] += part
		n -= part
		next[pick]++
	}
	return shares
}

// runMaxError finds for each matrix the fewest numbers that reach a relative error.
func runMaxError(ctx context.Context, jobs []*job, limit float64) error {
	closest, dense := math.Inf(1), 0
	for _, j := range jobs {
		reached, err := j.reach(ctx, limit)
		if err != nil {
			return err
		}
		if j.result.KeptDense {
			dense++
			closest = min(closest, reached)
		}
	}
	if dense == len(jobs) && dense > 0 {
		return unreached(limit, closest)
	}
	return nil
}

// reach fits the smallest factor it finds with at most the given error, or keeps the matrix dense. It returns the error reached.
//
// Sizes are tried by bisection on a logarithmic scale, from the size at which a truncated SVD reaches the error, until the smallest
// that did and the largest that did not are within 3 %.
func (j *job) reach(ctx context.Context, limit float64) (float64, error) {
	low, high := j.smallest()-1, j.Size() // the error is missed at low; high is the matrix itself
	if low+1 >= high {
		j.keepDense(j.tooSmall())
		return math.Inf(1), nil
	}
	if r, ok := j.method().(reacher); ok {
		return r.reach(limit)
	}
	try := j.Size() - 1
	for k := 1; k <= j.m.Known(); k++ {
		if j.m.SVDError(k) <= limit {
			try = min(try, k*(j.Out()+j.In))
			break
		}
	}
	try = max(try, low+1)
	var best *Result
	closest := math.Inf(1)
	for range 12 {
		c, err := j.best(ctx, try)
		if err != nil {
			return 0, err
		}
		if c.ranks != nil {
			if err := j.finish(ctx, c); err != nil {
				return 0, err
			}
			closest = min(closest, j.result.RelativeError)
		}
		if c.ranks != nil && j.result.RelativeError <= limit {
			res := j.result
			best, high = &res, min(try, res.Factor.Params())
		} else {
			low = try
		}
		if low+1 >= high || float64(high) <= 1.03*float64(low) {
			break
		}
		switch {
		case best == nil:
			try = min(high-1, low+low/4+1)
		default:
			try = int(math.Sqrt(float64(low) * float64(high)))
		}
		try = max(low+1, min(try, high-1))
	}
	if best != nil {
		j.result = *best
		return best.RelativeError, nil
	}
	j.missed(limit, closest)
	return closest, nil
}

// missed keeps the matrix dense because no smaller factor reaches an error.
func (j *job) missed(limit, closest float64) {
	j.keepDense(fmt.Sprintf("a relative error of %.4g takes as many numbers as the matrix has; the closest with fewer is %.4g", limit, closest))
}
