package dataset

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/trconvert/trconvert/internal/seed"
)

// Split holds back a fraction of the samples, 0 < fraction < 1, as a second data set: round(fraction·Len) of them, at least one and never all. Where each sample
// has one class, each class gives its share, as exactly as whole numbers allow, and no class is held back whole. Which samples are held back depends on
// the labels, fraction and seed alone; both parts keep the order of the data. The parts share the files of d.
func (d *Dataset) Split(ctx context.Context, fraction float64, seed uint64) (train, held *Dataset, err error) {
	n := d.Len()
	switch {
	case !(fraction > 0 && fraction < 1):
		return nil, nil, fmt.Errorf("dataset: %s: a fraction of %v cannot be held back (it must lie between 0 and 1)", quote(d.path), fraction)
	case n < 2:
		return nil, nil, fmt.Errorf("dataset: %s: %d samples cannot be split in two", quote(d.path), n)
	}
	groups, err := d.byClass(ctx)
	if err != nil {
		return nil, nil, err
	}
	total := min(max(int(math.Round(fraction*float64(n))), 1), n-1)
	out := make([]bool, n)
	for k, take := range shares(groups, total) {
		shuffle(groups[k], seed, "split")
		for _, i := range groups[k][:take] {
			out[i] = true
		}
	}
	train, held = d.part(), d.part()
	for i := range n {
		if out[i] {
			held.index = append(held.index, d.at(i))
		} else {
			train.index = append(train.index, d.at(i))
		}
	}
	return train, held, nil
}

func shuffle(s []int, root uint64, names ...string) {
	r := seed.Stream(root, append([]string{"dataset"}, names...)...)
	r.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
}

// part is an empty part of d.
func (d *Dataset) part() *Dataset {
	p := *d
	p.index = []int{}
	return &p
}

// byClass lists samples (as places in this part) class by class, or all in one list where a sample has not one class.
func (d *Dataset) byClass(ctx context.Context) ([][]int, error) {
	all := make([]int, d.Len())
	for i := range all {
		all[i] = i
	}
	if d.labels == nil {
		return [][]int{all}, nil
	}
	classes := make([]int, 0, d.Len())
	var unclassed bool
	err := d.eachLabels(ctx, func(b *Batch) error {
		values, err := b.Classes()
		if unclassed = unclassed || err != nil || len(values) != len(b.Index); !unclassed {
			classes = append(classes, values...)
		}
		return nil
	})
	if err != nil || unclassed {
		return [][]int{all}, err
	}
	slices.SortStableFunc(all, func(i, j int) int { return cmp.Compare(classes[i], classes[j]) })
	var groups [][]int
	for k, i := range all {
		if k == 0 || classes[i] != classes[all[k-1]] {
			groups = append(groups, nil)
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], i)
	}
	if len(groups) == len(all) { // a label of its own for each sample is no class
		return [][]int{all}, nil
	}
	return groups, nil
}

// shares says how many of each group make up total: those of the exact shares, rounded down, and one more for the largest remainders; one of each group
// is left.
func shares(groups [][]int, total int) []int {
	n, most := 0, 0
	for _, g := range groups {
		n += len(g)
		most += len(g) - 1
	}
	total = min(total, most)
	take := make([]int, len(groups))
	left := total
	order := make([]int, len(groups))
	for k, g := range groups {
		take[k] = min(total*len(g)/n, len(g)-1)
		left -= take[k]
		order[k] = k
	}
	remainder := func(k int) int { return total*len(groups[k]) - take[k]*n }
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(remainder(j), remainder(i)) })
	for left > 0 {
		for _, k := range order {
			if left > 0 && take[k] < len(groups[k])-1 {
				take[k]++
				left--
			}
		}
	}
	return take
}
