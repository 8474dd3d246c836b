package trals

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/trconvert/trconvert/tensor"
)

// element is X̂ at an index by definition: the trace of the product of the cores' slices.
func element(cores []tensor.Core, index []int) float64 {
	var sum float64
	r0 := cores[0].Left
	for start := range r0 {
		row := make([]float64, r0)
		row[start] = 1
		for k, c := range cores {
			next := make([]float64, c.Right)
			for p, v := range row {
				if v == 0 {
					continue
				}
				for q := range next {
					next[q] += v * float64(c.Data[(p*c.Mode+index[k])*c.Right+q])
				}
			}
			row = next
		}
		sum += row[start]
	}
	return sum
}

// full builds the tensor of a ring element by element.
func full(cores []tensor.Core) *tensor.Dense {
	dims := make([]int, len(cores))
	for k, c := range cores {
		dims[k] = c.Mode
	}
	x := tensor.NewDense(dims...)
	for i := range x.Data {
		x.Data[i] = float32(element(cores, x.Index(i)))
	}
	return x
}

// errorByDefinition is the relative error of a ring, from its elements.
func errorByDefinition(x *tensor.Dense, cores []tensor.Core) float64 {
	var diff, norm float64
	for i, v := range x.Data {
		d := float64(v) - element(cores, x.Index(i))
		diff += d * d
		norm += float64(v) * float64(v)
	}
	return math.Sqrt(diff / norm)
}

func randomCores(seed uint64, modes, ranks []int) []tensor.Core {
	r := rand.New(rand.NewPCG(seed, 1))
	cores := make([]tensor.Core, len(modes))
	for k, n := range modes {
		c := tensor.Core{Left: ranks[k], Mode: n, Right: ranks[(k+1)%len(modes)]}
		for range c.Left * n * c.Right {
			c.Data = append(c.Data, float32(r.NormFloat64()/math.Sqrt(float64(c.Left))))
		}
		cores[k] = c
	}
	return cores
}

func uniform(d, r int) []int {
	x := make([]int, d)
	for i := range x {
		x[i] = r
	}
	return x
}

// noisy adds noise of the given relative size.
func noisy(seed uint64, x *tensor.Dense, level float64) *tensor.Dense {
	r := rand.New(rand.NewPCG(seed, 2))
	scale := level * x.Norm() / math.Sqrt(float64(len(x.Data)))
	y := tensor.NewDense(x.Dims...)
	for i, v := range x.Data {
		y.Data[i] = v + float32(scale*r.NormFloat64())
	}
	return y
}

// exactRings are rings of 4 to 13 modes, the ranks small against the modes and not.
var exactRings = []struct {
	modes, ranks []int
}{
	{[]int{6, 5, 4, 7}, []int{3, 3, 3, 3}},
	{[]int{6, 5, 4, 7}, []int{2, 4, 3, 3}},
	{[]int{4, 4, 4, 4, 4}, []int{3, 3, 3, 3, 3}},
	{[]int{2, 3, 4, 3, 2, 4}, []int{2, 2, 3, 3, 2, 2}},
	{[]int{3, 4, 3, 3, 4, 3, 2}, uniform(7, 3)},
	{[]int{4, 2, 3, 3, 2, 4, 2, 3}, uniform(8, 3)},
	{[]int{2, 3, 2, 3, 2, 2, 3, 2, 2, 3}, uniform(10, 2)},
	{[]int{2, 2, 2, 3, 2, 2, 2, 2, 3, 2, 2, 2, 2}, uniform(13, 2)},
	{[]int{4, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2}, []int{1, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 2}}, // a train
}

func TestExactRankIsRecovered(t *testing.T) {
	for i, c := range exactRings {
		for _, init := range []Init{InitCut, InitRandom} {
			x := full(randomCores(uint64(i), c.modes, c.ranks))
			last := math.Inf(1)
			res, err := Decompose(context.Background(), x, Options{Ranks: c.ranks, Init: init, Sweeps: 300, Tol: 1e-7, Restarts: 3, Seed: 5,
				OnSweep: func(s Sweep) {
					if s.Number > 1 && s.RelativeError > last*(1+1e-9) {
						t.Errorf("%v %v: error rose from %v to %v in sweep %d", c.modes, c.ranks, last, s.RelativeError, s.Number)
					}
					last = s.RelativeError
				}})
			if err != nil {
				t.Fatal(err)
			}
			if res.RelativeError > 1e-6 {
				t.Errorf("%v %v init %d: error %v after %d sweeps, %v", c.modes, c.ranks, init, res.RelativeError, res.Sweeps, res.Status)
			}
			if e := errorByDefinition(x, res.Cores); math.Abs(e-res.RelativeError) > 1e-9 {
				t.Errorf("%v: reported error %v, recomputed %v", c.modes, res.RelativeError, e)
			}
			if res.LowerBound > res.RelativeError {
				t.Errorf("%v: lower bound %v above the error %v", c.modes, res.LowerBound, res.RelativeError)
			}
		}
	}
}

func TestNoisyRingReachesTheNoise(t *testing.T) {
	for i, c := range exactRings {
		x := noisy(uint64(i), full(randomCores(uint64(i), c.modes, c.ranks)), 0.01)
		for _, init := range []Init{InitCut, InitRandom} {
			var errs []float64
			res, err := Decompose(context.Background(), x, Options{Ranks: c.ranks, Init: init, Sweeps: 100, Seed: 5,
				OnSweep: func(s Sweep) { errs = append(errs, s.RelativeError) }})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%v %v init %d: %.5f, %d sweeps %v, bound %.5f: %.4f", c.modes, c.ranks, init, res.RelativeError, res.Sweeps, res.Status, res.LowerBound, errs[:min(6, len(errs))])
		}
	}
}

var _ = fmt.Sprint
var _ = runtime.GOOS
var _ = slices.Clone[[]int]
