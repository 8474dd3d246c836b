package decompose

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/trconvert/trconvert/tensor"
)

// auto is the format that stands for the best of the others, matrix by matrix.
const auto = "auto"

// autoFormats are the formats that auto compares. Given modes rule the truncated SVD out, which has none.
func autoFormats(o Options) []string {
	if len(o.InModes)+len(o.OutModes) > 0 {
		return []string{"tr", "tt"}
	}
	return []string{"tr", "tt", "svd"}
}

// as is the job in another format. Data, spectrum and predictions are shared.
func (j *job) as(format string) *job {
	v := *j
	v.o.Format = format
	return &v
}

func (j *job) inAll(formats []string) []*job {
	views := make([]*job, len(formats))
	for i, f := range formats {
		views[i] = j.as(f)
	}
	return views
}

// option is one outcome that a matrix can have in a mix.
type option struct {
	params int
	square float64 // of the relative error
	take   func() (Result, error)
}

// runAutoParams spends n numbers on all matrices together. Every format first spends them alone, so that no mix is worse than the best
// of them; then the budget is divided anew by what each matrix gained in its best format (see [rebalance]), and of all that was
// fitted, of every truncated SVD and of the matrices themselves the mix with the least Σ error² is taken.
func runAutoParams(ctx context.Context, jobs []*job, n int, asked string, describe func(n int) string) error {
	var refused *BudgetError
	options := make([][]option, len(jobs))
	for _, format := range autoFormats(jobs[0].o) {
		views := make([]*job, len(jobs))
		for i, j := range jobs {
			views[i] = j.as(format)
		}
		err := runParams(ctx, views, n, asked, describe)
		if e := (*BudgetError)(nil); errors.As(err, &e) {
			if refused == nil {
				refused = e // of the ring, whose smallest is the smallest of all
			}
			continue
		}
		if err != nil {
			return err
		}
		for i, v := range views {
			options[i] = append(options[i], v.outcome())
		}
	}
	if options[0] == nil {
		return refused
	}
	if len(jobs) > 1 {
		if err := rebalance(ctx, jobs, options, n); err != nil {
			return err
		}
	}
	for i, j := range jobs {
		if len(jobs) > 1 { // alone, a matrix has no use for less than the largest, which is there
			svds, err := j.svdOptions(n)
			if err != nil {
				return err
			}
			options[i] = append(options[i], svds...)
		}
		if j.Size() <= n {
			options[i] = append(options[i], j.dense())
		}
	}
	for i, k := range bestMix(options, n) {
		var err error
		if jobs[i].result, err = options[i][k].take(); err != nil {
			return err
		}
	}
	return nil
}

// outcome is a finished job as an option. A balanced ring may err balanceMargin more than the other formats, too.
func (j *job) outcome() option {
	r, loss := j.result, j.loss()
	if r.Balanced {
		loss /= 1 + balanceMargin
	}
	return option{j.params(), square(loss), func() (Result, error) { return r, nil }}
}

// loss is the error that the fit minimises: that on data where there are some, else that of W.
func (j *job) loss() float64 {
	switch {
	case j.result.KeptDense:
		return 0
	case j.aware():
		return j.result.DataError
	}
	return j.result.RelativeError
}

func (j *job) dense() option {
	v := j.as("")
	v.keepDense(fmt.Sprintf("the budget leaves room for all of its %d numbers", j.Size()))
	return v.outcome()
}

// svdOptions are truncated SVDs of at most n numbers. The spectrum tells the errors of all of them; that on data has to be measured, and
// is for ranks a quarter apart.
func (j *job) svdOptions(n int) ([]option, error) {
	if len(j.o.InModes)+len(j.o.OutModes) > 0 || j.single() {
		return nil, nil
	}
	var all []option
	both := j.Out() + j.In
	for k := 1; k <= min(j.Out(), j.In, j.m.Known()) && k*both < min(n+1, j.Size()); k++ {
		take := func() (Result, error) {
			v := j.as(tensor.SVD)
			err := truncation{v}.record(k)
			return v.result, err
		}
		if !j.aware() {
			all = append(all, option{k * both, square(j.m.SVDError(k)), take})
			continue
		}
		r, err := take()
		if err != nil {
			return nil, err
		}
		all = append(all, option{k * both, square(r.DataError), func() (Result, error) { return r, nil }})
		k += k / 4
	}
	return all, nil
}

func square(x float64) float64 { return x * x }

// rebalance moves numbers to the matrices that gain most by them. The front of a matrix is taken to have the shape of its truncated
// SVD's, scaled to pass through its best option; n is shared by marginal gain on these fronts, and where a share differs by more than
// a twentieth from what the option took, the matrix is fitted anew in the option's format.
func rebalance(ctx context.Context, jobs []*job, options [][]option, n int) error {
	var (
		moving []*job
		scale  []float64
		of     []int
	)
	for i, j := range jobs {
		best := bestOption(options[i], n)
		r, err := best.take()
		if err != nil {
			return err
		}
		if r.KeptDense {
			n -= j.Size()
			continue
		}
		v := j.as(r.Factor.Format)
		v.result = r
		moving, of = append(moving, v), append(of, i)
		scale = append(scale, best.square/max(square(v.svdAt(best.params)), math.SmallestNonzeroFloat64))
	}
	front := func(i, params int) float64 { return scale[i] * square(moving[i].svdAt(params)) }
	shares := shareByGain(moving, n, front)
	now, then := 0.0, 0.0
	for i, share := range shares {
		now, then = now+front(i, moving[i].params()), then+front(i, share)
	}
	if now-then < worthwhile*now {
		return nil
	}
	for i, share := range shares {
		v := moving[i]
		if v.o.Format == "svd" || share >= v.Size() || math.Abs(float64(share-v.params())) < float64(v.params())/20 {
			continue // the SVD's options are known without a fit
		}
		c, err := v.best(ctx, share)
		if err != nil {
			return err
		}
		if c.ranks == nil {
			continue
		}
		if err := v.finish(ctx, c); err != nil {
			return err
		}
		if err := v.balance(ctx, share); err != nil {
			return err
		}
		options[of[i]] = append(options[of[i]], v.outcome())
	}
	return nil
}

// worthwhile is the part of Σ error² that a new division must promise to save before anything is fitted for it.
const worthwhile = 0.01

// svdAt is the error of the truncated SVD with so many numbers, on straight lines between the ranks; without any numbers it is 1.
func (j *job) svdAt(params int) float64 {
	k, rest := params/(j.Out()+j.In), params%(j.Out()+j.In)
	if k >= j.m.Known() {
		return j.m.SVDError(j.m.Known())
	}
	part := float64(rest) / float64(j.Out()+j.In)
	return (1-part)*j.m.SVDError(k) + part*j.m.SVDError(k+1)
}

// shareByGain divides n numbers: each matrix gets its smallest factor, the rest goes in steps to where square falls most for each
// number. It returns nil if n is not enough for the smallest factors.
func shareByGain(jobs []*job, n int, square func(i, params int) float64) []int {
	shares := make([]int, len(jobs))
	for i, j := range jobs {
		shares[i] = min(j.smallest(), j.Size())
		n -= shares[i]
	}
	if n < 0 {
		return nil
	}
	for n > 0 {
		pick, rate, step := -1, -1.0, 0
		for i, j := range jobs {
			d := min((j.Out()+j.In)/2, n, j.Size()-shares[i])
			if d <= 0 {
				continue
			}
			if gain := (square(i, shares[i]) - square(i, shares[i]+d)) / float64(d); gain > rate {
				pick, rate, step = i, gain, d
			}
		}
		if pick < 0 {
			break
		}
		shares[pick] += step
		n -= step
	}
	return shares
}

// bestOption is the option with the least error among those of at most n numbers.
func bestOption(options []option, n int) option {
	best := options[0]
	for _, o := range options[1:] {
		if o.params <= n && (best.params > n || o.square < best.square) {
			best = o
		}
	}
	return best
}

// mixed is the best choice for the first matrices at its number of parameters.
type mixed struct {
	params int
	square float64
	choice []int
}

// mostMixes bounds the mixes that are carried from matrix to matrix.
const mostMixes = 4096

// bestMix picks an option for each matrix: of the mixes of at most n numbers the one with the least Σ square, then the fewest numbers.
// Mixes that another one beats in both are dropped matrix by matrix, which loses nothing; so are, if more than mostMixes are left,
// those that another one in the same mostMixes-th part of n beats. The mixes in which all matrices have their option of the same
// place are always among those compared.
func bestMix(options [][]option, n int) []int {
	mixes := []mixed{{}}
	for _, of := range options {
		var next []mixed
		for _, m := range mixes {
			for k, o := range of {
				if m.params+o.params <= n {
					next = append(next, mixed{m.params + o.params, m.square + o.square, append(slices.Clip(m.choice), k)})
				}
			}
		}
		mixes = thin(frontier(next), n)
	}
	best := mixed{square: math.Inf(1)}
	for place := range options[0] {
		m := mixed{}
		for _, of := range options {
			if place >= len(of) {
				m.square = math.Inf(1)
				break
			}
			m.params, m.square, m.choice = m.params+of[place].params, m.square+of[place].square, append(m.choice, place)
		}
		if m.params <= n && m.square < best.square {
			best = m
		}
	}
	for _, m := range mixes {
		if m.square < best.square || m.square == best.square && m.params < best.params {
			best = m
		}
	}
	return best.choice
}

// frontier keeps the mixes that no other one beats, by growing number.
func frontier(ms []mixed) []mixed {
	slices.SortStableFunc(ms, func(a, b mixed) int {
		return cmp.Or(cmp.Compare(a.params, b.params), cmp.Compare(a.square, b.square))
	})
	kept, least := ms[:0], math.Inf(1)
	for _, m := range ms {
		if m.square < least {
			kept, least = append(kept, m), m.square
		}
	}
	return kept
}

func thin(ms []mixed, n int) []mixed {
	if len(ms) <= mostMixes {
		return ms
	}
	kept := ms[:0]
	part := func(m mixed) int { return int(float64(m.params) / float64(n+1) * mostMixes) }
	for i, m := range ms {
		if i+1 == len(ms) || part(ms[i+1]) != part(m) {
			kept = append(kept, m)
		}
	}
	return kept
}

// runAutoMaxError finds for each matrix the format and size with the fewest numbers that reach a relative error.
func runAutoMaxError(ctx context.Context, jobs []*job, limit float64) error {
	closest, dense := math.Inf(1), 0
	for _, j := range jobs {
		reached := math.Inf(1)
		for i, v := range j.inAll(autoFormats(j.o)) {
			e, err := v.reach(ctx, limit)
			if err != nil {
				return err
			}
			reached = min(reached, e)
			if i == 0 || v.params() < j.params() || v.params() == j.params() && v.loss() < j.loss() {
				j.result = v.result
			}
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

// unreached is the refusal of a MaxError budget that no matrix can keep with any saving.
func unreached(limit, closest float64) error {
	best := "no saving at all"
	if !math.IsInf(closest, 0) {
		best = fmt.Sprintf("%.4g with any saving", closest)
	}
	return &BudgetError{Asked: fmt.Sprintf("relative error %.4g", limit), Best: best}
}
