package decompose

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Oracle: all mixes, one by one.
func TestMixIsTheBestOfAll(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		things := make([][]Choice, 1+rng.IntN(4))
		for i := range things {
			for range 1 + rng.IntN(5) {
				things[i] = append(things[i], Choice{rng.IntN(50), float64(rng.IntN(1000))})
			}
		}
		budget := rng.IntN(150)
		best, found := math.Inf(1), false
		var try func(i, size int, loss float64)
		try = func(i, size int, loss float64) {
			if size > budget {
				return
			}
			if i == len(things) {
				best, found = min(best, loss), true
				return
			}
			for _, c := range things[i] {
				try(i+1, size+c.Size, loss+c.Loss)
			}
		}
		try(0, 0, 0)
		places := Mix(things, budget)
		if !found {
			if places != nil {
				t.Fatalf("%v within %d: %v, nothing fits", things, budget, places)
			}
			continue
		}
		size, loss := 0, 0.0
		for i, k := range places {
			size, loss = size+things[i][k].Size, loss+things[i][k].Loss
		}
		if len(places) != len(things) || size > budget || loss != best {
			t.Fatalf("%v within %d: %v with size %d and loss %v, the best is %v", things, budget, places, size, loss, best)
		}
	}
	if Mix(nil, 5) != nil {
		t.Error("nothing has a mix")
	}
}

// Oracle: e = c/n is a straight line between logarithms, so that the points between lie on it too.
func TestAt(t *testing.T) {
	front := []Point{{Params: 10, RelativeError: 0.5}, {Params: 40, RelativeError: 0.125}, {Params: 100}}
	for _, c := range []struct {
		n    int
		want float64
	}{{5, 1}, {10, 0.5}, {20, 0.25}, {40, 0.125}, {80, 0.125}, {100, 0}, {200, 0}} {
		if got := At(front, c.n, false); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("at %d: %v, want %v", c.n, got, c.want)
		}
	}
}
