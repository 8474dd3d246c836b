package decompose

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/trconvert/trconvert/trals"
)

// tailKey names one prediction of trals.Matrix.BondTails.
type tailKey struct {
	output bool
	modes  string
	r0, rn int
}

func (j *job) bondTails(output bool, modes []int, r0, rn int) [][]float64 {
	key := tailKey{output, fmt.Sprint(modes), r0, rn}
	t, ok := j.tails[key]
	if !ok {
		t = j.m.BondTails(output, modes, r0, rn)
		j.tails[key] = t
	}
	return t
}

// firstBonds lists the r_0 that a search tries.
func (j *job) firstBonds() []int {
	if j.o.Format == "tr" {
		return []int{2, 3, 4, 6, 8}
	}
	return []int{1}
}

// search finds candidates of at most n numbers, the most promising first: two for each first bond and shape.
func (j *job) search(ctx context.Context, n int) ([]candidate, error) {
	var found []candidate
	for _, s := range j.shapes() {
		for _, r0 := range j.firstBonds() {
			rs := j.lastBonds(s, r0, n)
			if len(rs) == 0 {
				continue
			}
			spent := make(map[int]candidate, len(rs))
			spend := func(rn int) candidate {
				c, ok := spent[rn]
				if !ok {
					c = j.spend(s, r0, rn, n)
					spent[rn] = c
				}
				return c
			}
			best := 0
			for i, rn := range rs {
				if err := ctx.Err(); err != nil {
					return nil, err
				}
				if spend(rn).square < spend(rs[best]).square {
					best = i
				}
			}
			// Between the neighbours of the best on the coarse list a better one is found by bisection.
			low, high := rs[max(0, best-1)], rs[best]
			if best+1 < len(rs) {
				high = rs[best+1]
			}
			for high-low > max(1, high/16) {
				mid := (low + high) / 2
				if spend(mid).square <= spend(mid+1).square {
					high = mid
				} else {
					low = mid + 1
				}
			}
			for _, rn := range []int{low, high} {
				if c := spend(rn); c.square < spend(rs[best]).square {
					rs[best] = rn
				}
			}
			if c := spend(rs[best]); c.ranks != nil {
				found = append(found, c)
				if fewer := rs[best] * 3 / 4; fewer >= min(2, r0) && fewer < rs[best] {
					// Least squares gains more from inner ranks than the prediction knows.
					found = append(found, spend(fewer))
				}
			}
		}
	}
	if len(found) == 0 { // a ring is too large: the train of rank 1
		for _, s := range j.shapes() {
			if c := j.spend(s, 1, 1, n); c.ranks != nil {
				found = append(found, c)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.square, b.square), cmp.Compare(a.params, b.params))
	})
	return found, nil
}

// lastBonds lists the r_n that fit n numbers, spaced by a quarter, or a half for larger matrices.
func (j *job) lastBonds(s shape, r0, n int) []int {
	var rs []int
	most := min(j.In*j.Out()/(j.In+j.Out()), j.m.Known()) / r0 // a wider cut takes more multiplications than the matrix
	for most > 0 && j.least(s, r0, most) > n {                 // the largest that fits, from above: least grows with r
		most--
	}
	step := 5 // quarters
	if j.In+j.Out() > 700 {
		step = 6
	}
	for r := min(2, r0); r <= most; r = max(r+1, r*step/4) {
		rs = append(rs, r)
	}
	if len(rs) > 0 && rs[len(rs)-1] < most {
		rs = append(rs, most)
	}
	return rs
}

// least is the number of parameters with every inner rank 1.
func (j *job) least(s shape, r0, rn int) int {
	return paramsOf(s.modes(), startRanks(s, r0, rn))
}

func startRanks(s shape, r0, rn int) []int {
	ranks := slices.Repeat([]int{1}, len(s.in)+len(s.out))
	ranks[0], ranks[len(s.in)] = r0, rn
	return ranks
}

// spend gives the inner bonds ranks, one state at a time where it lowers the predicted error most for each number it adds, until n is
// used up. The prediction is that of trals.Matrix.BondTails plus the tail across the cut.
func (j *job) spend(s shape, r0, rn, n int) candidate {
	modes, ranks := s.modes(), startRanks(s, r0, rn)
	d, cut := len(modes), len(s.in)
	if j.least(s, r0, rn) > n {
		return candidate{square: math.Inf(1)}
	}
	tails := make([][]float64, d) // of the bond before core k
	for i, t := range j.bondTails(false, s.in, r0, rn) {
		tails[i+1] = t
	}
	for i, t := range j.bondTails(true, s.out, r0, rn) {
		tails[cut+i+1] = t
	}
	at := func(k, r int) float64 { return tails[k][min(r, len(tails[k])-1)] }
	used := paramsOf(modes, ranks)
	for {
		pick, rate := -1, 0.0
		for k := range ranks {
			if tails[k] == nil || ranks[k]+1 >= len(tails[k]) {
				continue
			}
			before := (k + d - 1) % d
			cost := ranks[before]*modes[before] + modes[k]*ranks[(k+1)%d]
			next := (k + 1) % d
			if used+cost > n || ranks[k]+1 > min(ranks[before]*modes[before], modes[k]*ranks[next]) || (ranks[k]+1)*max(ranks[before], ranks[next]) > maxUnknowns {
				continue
			}
			if gain := (at(k, ranks[k]) - at(k, ranks[k]+1)) / float64(cost); gain > rate {
				pick, rate = k, gain
			}
		}
		if pick < 0 {
			break
		}
		before := (pick + d - 1) % d
		used += ranks[before]*modes[before] + modes[pick]*ranks[(pick+1)%d]
		ranks[pick]++
	}
	ranks = trals.CapRanks(modes, ranks)
	square := j.m.SVDError(min(r0*rn, j.m.Known()))
	square *= square
	for k := range ranks {
		if tails[k] != nil {
			square += at(k, ranks[k])
		}
	}
	return candidate{shape: s, ranks: ranks, params: paramsOf(modes, ranks), square: square}
}

const (
	// maxUnknowns bounds r_k·r_{k+1}, the order of a core's normal equations, when ranks are chosen here: their solution takes time with
	// its third power.
	maxUnknowns = 1400
	trials      = 16 // candidates that are tried
	trialSweeps = 4  // of the first round
	// hopeless is how much worse than the best a candidate may be after the second round and stay.
	hopeless = 1.03
)

// tried reports a trial.
func (j *job) tried(done, most int, err float64) {
	if j.o.OnTrial != nil {
		j.o.OnTrial(Trial{j.Name, j.o.Format, done, most, err})
	}
}

func widestCut(cs []candidate) int {
	widest := 1
	for _, c := range cs {
		widest = max(widest, c.ranks[0]*c.ranks[len(c.in)])
	}
	return widest
}

func ranksOf(c candidate) []int {
	r := make([]int, len(c.cores))
	for k, g := range c.cores {
		r[k] = g.Left
	}
	return r
}

// pickTrials takes the most promising candidate of each first bond and of each shape, then the next best, up to most.
func pickTrials(found []candidate, most int) []candidate {
	var picked, rest []candidate
	bonds, shapes := map[int]bool{}, map[string]bool{}
	for _, c := range found {
		shape := fmt.Sprint(c.in, c.out)
		if bonds[c.ranks[0]] && shapes[shape] {
			rest = append(rest, c)
			continue
		}
		bonds[c.ranks[0]], shapes[shape] = true, true
		picked = append(picked, c)
	}
	picked = append(picked, rest...)
	return picked[:min(most, len(picked))]
}
