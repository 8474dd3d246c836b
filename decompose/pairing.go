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

// pairing is the method of TT-matrices. With its elements put in the order (o_1, i_1), …, (o_d, i_d) a matrix is a tensor of d modes
// m_k·n_k, and a TT-matrix of W is a plain train of that tensor with the same error. A matrix of one half of the pairs against the other
// therefore goes the way of every train.
type pairing struct{ *job }

// layouts are the modes that a search tries, too: two pairs up to one more than the longer side's default. Modes that are given are taken
// as they are, for their order pairs them. The side that splits into fewer modes has 1s at its end.
func (j pairing) layouts() []shape {
	from, to := 2, max(2, defaultCount(j.In), defaultCount(j.Out()))+1
	if n := j.asked(); n > 0 {
		from, to = n, n
	}
	var all []shape
	for count := from; count <= to; count++ {
		if s, ok := j.pairs(count); ok {
			all = append(all, s)
		}
	}
	if len(all) == 0 { // both sides are prime: they only pair with 1s
		all = append(all, shape{[]int{j.In, 1}, []int{1, j.Out()}})
	}
	return all
}

// asked is the number of pairs that given modes make, 0 where none are given.
func (j pairing) asked() int { return max(len(j.o.InModes), len(j.o.OutModes)) }

// pairs is the shape with so many pairs; ok is false where a pair would be 1 × 1.
func (j pairing) pairs(count int) (s shape, ok bool) {
	s.in, s.out = j.o.InModes, j.o.OutModes
	if s.in == nil {
		s.in = withOnes(count, j.splitIn)
	}
	if s.out == nil {
		s.out = withOnes(count, j.splitOut)
	}
	for k := range s.in {
		if s.in[k]*s.out[k] == 1 {
			return s, false
		}
	}
	return s, true
}

// withOnes is the split into the most modes up to count, with 1s for the rest.
func withOnes(count int, split func(count int) []int) []int {
	for c := count; ; c-- {
		if modes := split(c); modes != nil {
			return append(modes, slices.Repeat([]int{1}, count-c)...)
		}
	}
}

// pairModes are m_k·n_k.
func (s shape) pairModes() []int {
	modes := make([]int, len(s.in))
	for k := range modes {
		modes[k] = s.in[k] * s.out[k]
	}
	return modes
}

func (j pairing) smallest() int {
	least := math.MaxInt
	for _, s := range j.layouts() {
		least = min(least, sum(s.pairModes()))
	}
	return least
}

func (j pairing) given(b Budget) (candidate, error) {
	count := cmp.Or(j.asked(), len(b.Ranks), max(2, (defaultCount(j.In)+defaultCount(j.Out())+1)/2))
	s, ok := j.pairs(count)
	if !ok || len(b.Ranks) > 0 && len(b.Ranks) != count {
		return candidate{}, &OptionError{"ranks", j.Name, fmt.Sprintf("%d columns and %d rows do not make %d pairs of modes for %d ranks (give --in-modes and --out-modes)", j.In, j.Out(), count, len(b.Ranks))}
	}
	ranks := j.usable(b.ranks(count, j.o.Format), s.pairModes())
	return candidate{shape: s, ranks: ranks, params: paramsOf(s.pairModes(), ranks)}, nil
}

// paired is the job of fitting the tensor of pairs, cut into two halves as alike as can be, as a train. n numbers or the given ranks
// say how much of the spectrum is needed.
func (j pairing) paired(ctx context.Context, s shape, n int, ranks []int) (*job, error) {
	modes := s.pairModes()
	cut := balancedCut(modes)
	p := pairUp(j.w, s, cut)
	rows, cols := p.Dims[0], p.Dims[1]
	leading := min(rows, cols, 2*n/(rows+cols)+8)
	if ranks != nil {
		leading = min(rows, cols, ranks[cut])
	}
	m, err := trals.NewMatrix(ctx, p, leading)
	if err != nil {
		return nil, j.failed(ctx, err)
	}
	m.Prepare(leading)
	o := j.o
	o.Format = tensor.Train
	o.InModes, o.OutModes = nil, nil
	if j.o.OnTrial != nil {
		o.OnTrial = func(t Trial) {
			t.Format = j.o.Format
			j.o.OnTrial(t)
		}
	}
	return &job{
		Matrix: Matrix{Name: j.Name, Directions: 1, Gates: 1, Hidden: rows, In: cols},
		o:      o, w: p, m: m, plain: m, tails: map[tailKey][][]float64{},
		fixed: []shape{{modes[:cut], modes[cut:]}},
	}, nil
}

// balancedCut is the number of modes before the cut that keeps the larger part smallest.
func balancedCut(modes []int) int {
	all := 1.0
	for _, n := range modes {
		all *= float64(n)
	}
	best, largest, before := 1, math.Inf(1), 1.0
	for k, n := range modes[:len(modes)-1] {
		before *= float64(n)
		if l := max(before, all/before); l < largest {
			best, largest = k+1, l
		}
	}
	return best
}

// pairUp is W as a matrix of the pairs from cut on against those before it. Columns of padding are zero.
func pairUp(w *tensor.Dense, s shape, cut int) *tensor.Dense {
	out, in := w.Dims[0], w.Dims[1]
	padded := product(s.in)
	data := w.Data
	if padded > in {
		data = make([]float32, out*padded)
		for o := range out {
			copy(data[o*padded:], w.Data[o*in:(o+1)*in])
		}
	}
	d := len(s.in)
	var later, earlier []int
	for k := range d {
		if k < cut {
			earlier = append(earlier, k, d+k)
		} else {
			later = append(later, k, d+k)
		}
	}
	x := tensor.Dense{Dims: slices.Concat(s.out, s.in), Data: data}
	p := x.Transpose(slices.Concat(later, earlier)...)
	rows := product(p.Dims[:len(later)])
	p.Dims = []int{rows, len(data) / rows}
	return p
}

func product(modes []int) int {
	n := 1
	for _, m := range modes {
		n *= m
	}
	return n
}

func (j pairing) best(ctx context.Context, n int) (candidate, error) {
	return j.leastError(ctx, n, func(t *job) (candidate, error) { return t.best(ctx, n) })
}

// leastError is the best of what is found for each pairing.
func (j pairing) leastError(ctx context.Context, n int, find func(train *job) (candidate, error)) (candidate, error) {
	best := candidate{err: math.Inf(1)}
	for _, s := range j.layouts() {
		if sum(s.pairModes()) > n {
			continue
		}
		train, err := j.paired(ctx, s, n, nil)
		if err != nil {
			return candidate{}, err
		}
		c, err := find(train)
		if err != nil {
			return candidate{}, err
		}
		if c.cores != nil && c.err < best.err {
			c.shape = s
			best = c
		}
	}
	return best, nil
}

func (j pairing) quick(ctx context.Context, n int) (*tensor.Factor, error) {
	c, err := j.leastError(ctx, n, func(t *job) (candidate, error) { return chains{t}.quickBest(ctx, n) })
	if c.cores == nil || err != nil {
		return nil, err
	}
	return j.factor(c.shape, c.cores), nil
}

func (j pairing) finish(ctx context.Context, c candidate) error {
	train, err := j.paired(ctx, c.shape, 0, c.ranks)
	if err != nil {
		return err
	}
	s := c.shape
	c.shape = train.fixed[0]
	res, err := train.fit(ctx, train.m, c, j.o.Sweeps, j.o.Restarts, true)
	if err != nil {
		return err
	}
	res.Sweeps += c.sweeps
	f := j.factor(s, res.Cores)
	guided := false
	if j.aware() && j.o.Method != "svd" {
		sweeps, err := j.refine(ctx, f)
		if err != nil {
			return err
		}
		res.Sweeps, guided = res.Sweeps+sweeps, sweeps > 0
	}
	res.RelativeError = f.Error(j.w)
	if product(s.in) > j.In { // the train's bound counts the zeros of the padding, which W does not have
		res.LowerBound = 0
	}
	res.LowerBound = min(res.LowerBound, res.RelativeError)
	j.record(f, res)
	if j.aware() && !guided {
		j.result.Warnings = append(slices.Clip(j.result.Warnings), "the TT-matrix is fitted to W itself: the calibration frames measure it only (the start alone is asked for, or following them would take too long)")
	}
	return nil
}
