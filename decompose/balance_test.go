package decompose

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/trconvert/trconvert/tensor"
)

// noise is a matrix of normal numbers around a mean; of the numbers' deviations no ring much smaller keeps anything.
func noise(mean float64) Matrix {
	const gates, hidden, in = 4, 32, 480
	r := rand.New(rand.NewPCG(3, 4))
	w := tensor.NewDense(gates*hidden, in)
	for i := range w.Data {
		w.Data[i] = float32(mean + r.NormFloat64())
	}
	return given("W", 1, gates, hidden, in, w)
}

func TestBalancedWhereNothingFits(t *testing.T) {
	const ratio = 220
	m := noise(0)
	want, _, err := ShapeFor(m, Budget{Ratio: ratio}, Options{Format: "tr"})
	if err != nil {
		t.Fatal(err)
	}
	results := make(map[string]Result)
	for _, format := range []string{"tr", "tt", auto} {
		rs, err := Run(context.Background(), []Matrix{m}, Budget{Ratio: ratio}, Options{Format: format, Sweeps: 6})
		if err != nil {
			t.Fatal(err)
		}
		checkResult(t, m, rs[0])
		if n, most := rs[0].Factor.Params(), m.Size()/ratio; n > most {
			t.Errorf("%s: %d numbers, %d allowed", format, n, most)
		}
		results[format] = rs[0]
	}
	if got := ShapeOf(results["tr"].Factor); !results["tr"].Balanced || !slices.Equal(got.Ranks, want.Ranks) || !slices.Equal(got.InModes, want.InModes) || !slices.Equal(got.OutModes, want.OutModes) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := ShapeOf(results[auto].Factor); !slices.Equal(got.Ranks, want.Ranks) {
		t.Errorf("auto: %+v, want %+v", got, want)
	}
	for _, format := range []string{"tr", "tt"} {
		if a, b := results[auto].RelativeError, results[format].RelativeError; a > (1+balanceMargin)*b {
			t.Errorf("auto errs by %v, %s alone by %v", a, format, b)
		}
	}
}

func TestNotBalancedWhereAFitMeansSomething(t *testing.T) {
	for name, c := range map[string]struct {
		mean, ratio float64
	}{
		"some of W is kept": {1, 220},
		"larger cores":      {0, 150},
	} {
		rs, err := Run(context.Background(), []Matrix{noise(c.mean)}, Budget{Ratio: c.ratio}, Options{Format: "tr", Sweeps: 6})
		if err != nil {
			t.Fatal(err)
		}
		if rs[0].Balanced {
			t.Errorf("%s: balanced, with an error of %v", name, rs[0].RelativeError)
		}
	}
}
