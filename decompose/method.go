package decompose

import (
	"context"

	"github.com/trconvert/trconvert/tensor"
)

// method is how the factors of one format are found for a matrix. It is all that this package needs of a format.
type method interface {
	// smallest is the fewest numbers that a factor of the matrix can have.
	smallest() int
	// layouts are the modes to choose from where no matrix says which are best; modes that are given are taken as they are.
	layouts() []shape
	// given is the candidate of a Rank or Ranks budget.
	given(b Budget) (candidate, error)
	// best is the most promising candidate of at most n numbers that many trials find; its ranks are nil where there is none.
	best(ctx context.Context, n int) (candidate, error)
	// quick is what a few trials find, nil where there is nothing as small.
	quick(ctx context.Context, n int) (*tensor.Factor, error)
	// finish fits a candidate to the end and records the result.
	finish(ctx context.Context, c candidate) error
}

// reacher is a method that finds the smallest factor within an error by itself.
type reacher interface {
	reach(limit float64) (float64, error)
}

// methods are the formats, in the order in which messages list them.
var methods = []struct {
	format string
	of     func(*job) method
}{
	{tensor.Ring, func(j *job) method { return chains{j} }},
	{tensor.Train, func(j *job) method { return chains{j} }},
	{tensor.SVD, func(j *job) method { return truncation{j} }},
	{tensor.TTMatrix, func(j *job) method { return pairing{j} }},
}

func (j *job) method() method {
	for _, m := range methods {
		if m.format == j.o.Format {
			return m.of(j)
		}
	}
	panic("decompose: no method for format " + j.o.Format) // checkOptions lets no other through
}

// formatNames are what Options.Format may be, the default first.
func formatNames() []string {
	names := []string{auto}
	for _, m := range methods {
		names = append(names, m.format)
	}
	return names
}
