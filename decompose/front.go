package decompose

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/trconvert/trconvert/tensor"
)

// Point is a way to store one matrix and what it costs. Dense has no modes, no ranks and no error.
type Point struct {
	Format                   string // "tr", "tt", "svd", "dense"
	InModes, OutModes, Ranks []int
	Params                   int
	RelativeError            float64 // ‖W−Ŵ‖_F/‖W‖_F
	DataError                float64 // as [Result].DataError, NaN without data
	Cost                     Cost
	Chosen                   bool // what [Plan] decided for
}

// Front is the Pareto front of one matrix over ring, train, truncated SVD and the matrix itself, or of o.Format and the matrix alone:
// points of growing size of which none has both more numbers and no smaller error than another one. The error is the one that
// counts: on data where m has a Metric, else of W.
//
// Rings and trains are tried at sizes of ½, ¼, ⅛ … of the matrix with a few sweeps each, so that a fit at one of these sizes errs a
// little less. Cost: a few sweeps of a stand-in for W at each size.
func Front(ctx context.Context, m Matrix, o Options) ([]Point, error) {
	b := Budget{Ratio: 2}
	b, o, err := checkOptions([]Matrix{m}, b, o)
	if err != nil {
		return nil, err
	}
	j, err := newJob(ctx, m, b, o, m.Size())
	if err != nil {
		return nil, err
	}
	return j.front(ctx, formatsOf(o))
}

// formatsOf are the formats that a front compares.
func formatsOf(o Options) []string {
	if o.Format == "" || o.Format == auto {
		return autoFormats(o)
	}
	return []string{o.Format}
}

// Plan is [Run] together with the front of each matrix, on which its result is marked as chosen (and stands even where a trial was
// better). Results are those of Run.
func Plan(ctx context.Context, ms []Matrix, b Budget, o Options) ([]Result, [][]Point, error) {
	jobs, err := run(ctx, ms, b, o)
	if err != nil {
		return nil, nil, err
	}
	results, fronts := resultsOf(jobs), make([][]Point, len(jobs))
	for i, j := range jobs {
		if fronts[i], err = j.front(ctx, formatsOf(o)); err != nil {
			return nil, nil, err
		}
	}
	return results, fronts, nil
}

// front collects points and keeps the best.
func (j *job) front(ctx context.Context, formats []string) ([]Point, error) {
	points := []Point{{Format: "dense", Params: j.Size(), DataError: j.noError(), Cost: denseCost(j.Out(), j.In)}}
	if !j.single() {
		for n := j.Size() / 2; n >= 1; n /= 2 {
			for _, v := range j.inAll(formats) {
				p, ok, err := v.tryPoint(ctx, n)
				if err != nil {
					return nil, err
				}
				if ok {
					points = append(points, p)
				}
			}
		}
	}
	if f := j.result.Factor; f != nil {
		points = append(points, j.point(f, j.result.RelativeError, j.result.DataError, true))
	} else if j.result.KeptDense {
		points[0].Chosen = true
	}
	return j.pareto(points), nil
}

// noError is the data error of the matrix itself.
func (j *job) noError() float64 {
	if j.Metric == nil {
		return math.NaN()
	}
	return 0
}

// tryPoint is the best that a few trials find with n numbers; ok is false if the format has nothing as small.
func (j *job) tryPoint(ctx context.Context, n int) (p Point, ok bool, err error) {
	if n < j.smallest() {
		return p, false, nil
	}
	f, err := j.method().quick(ctx, n)
	if f == nil || err != nil {
		return p, false, err
	}
	return j.point(f, f.Error(j.w), j.dataError(f), false), true, nil
}

func (j *job) point(f *tensor.Factor, relative, data float64, chosen bool) Point {
	return Point{
		Format: f.Format, InModes: f.InModes, OutModes: f.OutModes, Ranks: f.Ranks(), Params: f.Params(),
		RelativeError: relative, DataError: data, Cost: FactorCost(f), Chosen: chosen,
	}
}

// counts is the error that counts: that on data where aware, else that of W.
func (p Point) counts(aware bool) float64 {
	if aware {
		return p.DataError
	}
	return p.RelativeError
}

// noticeable is the part by which a larger point must lower the error to stand on a front.
const noticeable = 1e-3

// pareto sorts by size and drops what another point beats, but never the chosen one.
func (j *job) pareto(points []Point) []Point {
	counts := func(p Point) float64 { return p.counts(j.aware()) }
	slices.SortStableFunc(points, func(a, b Point) int {
		return cmp.Or(cmp.Compare(a.Params, b.Params), cmp.Compare(counts(a), counts(b)))
	})
	var kept []Point
	least := math.Inf(1)
	for _, p := range points {
		if !p.Chosen && !(counts(p) < least*(1-noticeable)) {
			continue
		}
		if last := len(kept) - 1; p.Chosen && last >= 0 && kept[last].Params == p.Params && counts(p) <= counts(kept[last])*(1+noticeable) {
			kept = kept[:last] // the same again
		}
		kept = append(kept, p)
		least = min(least, counts(p))
	}
	return kept
}
