package convert

import (
	"context"
	"fmt"
	"math"

	"github.com/trconvert/trconvert/decompose"
	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/onnx"
)

// fitted is a mix with the factors that were fitted for it.
type fitted struct {
	mix     mix
	results []decompose.Result
	bytes   int64   // of the file
	loss    float64 // squared error of the outputs, as the split models it
}

// result fits a matrix with at most n numbers; n at or above its size keeps it dense.
func (s *split) result(ctx context.Context, i, n int) (decompose.Result, error) {
	m := s.ms[i]
	if n >= m.Size() {
		return decompose.Result{Matrix: m.Name, KeptDense: true, Reason: fmt.Sprintf("the budget leaves room for all of its %d numbers", m.Size())}, nil
	}
	key := [2]int{i, n}
	if r, ok := s.known[key]; ok {
		return r, nil
	}
	r, err := decompose.Run(ctx, []decompose.Matrix{m}, decompose.Budget{MaxParams: n}, s.fit)
	if err != nil {
		return decompose.Result{}, err
	}
	s.known[key] = r[0]
	return r[0], nil
}

// sizes are the numbers that a matrix may get, a part of 2^⅛ apart, its own size last.
func (s *split) sizes(i int) []int {
	m := s.ms[i]
	least := m.Size()
	for _, p := range s.fronts[i] {
		least = min(least, p.Params)
	}
	var all []int
	for n := float64(least); int(n) < m.Size()*9/10; n = math.Max(n+1, n*math.Pow(2, 0.125)) {
		all = append(all, int(n))
	}
	return append(all, m.Size())
}

// Guesses at the bytes that a matrix needs besides its numbers; what is written is measured.
const (
	factorBytes = 700 // nodes, names and metadata of a factor
	narrowBytes = 100 // nodes and names of a stored tensor
	scalesPart  = 0.03
)

// bytes guesses what a share of matrix i takes in the file.
func (s *split) bytes(i int, of share) int64 {
	n := int64(of.numbers) * elementBytes(s.c.groups[i].elem(), of.storage)
	if of.storage != export.Float32 {
		n += narrowBytes
	}
	if of.storage == export.Int8 {
		n += int64(scalesPart * float64(of.numbers))
	}
	if of.numbers < s.ms[i].Size() {
		n += factorBytes
	}
	return n
}

// factorRoundings counts the rounding of a factor in roundings of the matrix: two cores or so err, each by itself.
const factorRoundings = 2

// rounded is what rounding adds to the loss of matrix i, or of the other weights behind the last one.
func (s *split) rounded(i int, of share) float64 {
	if of.storage == export.Float32 {
		return 0
	}
	loss := s.rounding[i] * square(roundingErrors[of.storage]/roundingErrors[export.Int8])
	if i < len(s.ms) && of.numbers < s.ms[i].Size() {
		loss *= factorRoundings
	}
	return loss
}

// storagesOf are the storages that matrix i may have: numbers that are no float32 stay as they are.
func (s *split) storagesOf(i int) []Storage {
	if s.c.groups[i].elem() != onnx.Float {
		return []Storage{export.Float32}
	}
	return s.storages
}

// choices are the shares that matrix i may have, with what each costs.
func (s *split) choices(i int) (shares []share, costs []decompose.Choice) {
	for _, n := range s.sizes(i) {
		e := 0.0
		if n < s.ms[i].Size() {
			e = decompose.At(s.fronts[i], n, s.aware(i))
		}
		for _, t := range s.storagesOf(i) {
			of := share{n, t}
			shares = append(shares, of)
			costs = append(costs, decompose.Choice{Size: int(s.bytes(i, of)), Loss: s.weights[i]*square(e) + s.rounded(i, of)})
		}
	}
	return shares, costs
}

// divide divides bytes: each matrix gets a number of numbers and a storage such that Σ weight·error² over the fronts is least, and the other
// weights get a storage. ok is false where not even the smallest mix fits.
func (s *split) divide(bytes int64) (x mix, ok bool) {
	shares := make([][]share, len(s.ms))
	things := make([][]decompose.Choice, len(s.ms)+1)
	for i := range s.ms {
		shares[i], things[i] = s.choices(i)
	}
	for k, t := range s.storages {
		things[len(s.ms)] = append(things[len(s.ms)], decompose.Choice{Size: int(s.restBytes[k]), Loss: s.rounded(len(s.ms), share{storage: t})})
	}
	places := decompose.Mix(things, int(max(0, bytes)))
	if places == nil {
		return mix{}, false
	}
	for i := range s.ms {
		x.shares = append(x.shares, shares[i][places[i]])
	}
	x.rest = s.storages[places[len(s.ms)]]
	return x, true
}

// guess is what divide takes a mix to take.
func (s *split) guess(x mix) int64 {
	var n int64
	for i, of := range x.shares {
		n += s.bytes(i, of)
	}
	for k, t := range s.storages {
		if t == x.rest {
			n += s.restBytes[k]
		}
	}
	return n
}

// smallestMix has the smallest choice of every matrix.
func (s *split) smallestMix() mix {
	var x mix
	for i := range s.ms {
		shares, costs := s.choices(i)
		least := 0
		for k := range costs {
			if costs[k].Size < costs[least].Size {
				least = k
			}
		}
		x.shares = append(x.shares, shares[least])
	}
	least := 0
	for k := range s.storages {
		if s.restBytes[k] < s.restBytes[least] {
			least = k
		}
	}
	x.rest = s.storages[least]
	return x
}

// fitMix fits all matrices and measures the file that they make.
func (s *split) fitMix(ctx context.Context, x mix) (*fitted, error) {
	f := &fitted{mix: x, results: make([]decompose.Result, len(s.ms)), loss: s.rounded(len(s.ms), share{storage: x.rest})}
	for i, of := range x.shares {
		var err error
		if f.results[i], err = s.result(ctx, i, of.numbers); err != nil {
			return nil, err
		}
		f.loss += s.weights[i]*square(s.loss(i, f.results[i])) + s.rounded(i, of)
	}
	var err error
	f.bytes, err = s.written(ctx, f.results, x)
	return f, err
}

// written is the size of the file that results and a mix make.
func (s *split) written(ctx context.Context, rs []decompose.Result, x mix) (int64, error) {
	compact, err := s.c.lowered(ctx, s.c.factors(rs), x)
	if err != nil {
		return 0, err
	}
	defer compact.Close()
	return compact.WrittenSize(s.c.o.Output)
}

// Bounds of the fits that are made to meet a budget, the difference between what was guessed and what is written being known better each time; fewer
// where many budgets are tried.
const (
	mostRounds = 5
	fewRounds  = 2
)

// within finds factors for which the file has at most so many bytes, in so many rounds: of those that do, the ones of least loss.
func (s *split) within(ctx context.Context, most int64, rounds int, asked string) (*fitted, error) {
	var (
		best  *fitted
		off   int64 // what the file has beyond the guess
		tried = map[string]bool{}
	)
	for range rounds {
		x, ok := s.divide(most - off)
		if !ok || tried[fmt.Sprint(x)] {
			break
		}
		tried[fmt.Sprint(x)] = true
		f, err := s.fitMix(ctx, x)
		if err != nil {
			return nil, err
		}
		if f.bytes <= most && (best == nil || f.loss < best.loss) {
			best = f
		}
		if f.bytes <= most && most-f.bytes < max(256, most/100) {
			break
		}
		off = f.bytes - s.guess(x)
	}
	if best != nil {
		return best, nil
	}
	f, err := s.fitMix(ctx, s.smallestMix())
	if err != nil {
		return nil, err
	}
	if f.bytes <= most {
		return f, nil
	}
	return nil, &GateError{Gate: asked, Got: fmt.Sprintf("asked for at most %d bytes, the best that can be reached is %d (ratio %.4g)", most, f.bytes, float64(s.c.report.Input.Bytes)/float64(f.bytes))}
}
