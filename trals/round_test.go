package trals

import (
	"math"
	"testing"

	"github.com/trconvert/trconvert/tensor"
)

// inflate gives a ring larger ranks without changing its tensor: bonds are widened by states that no other core uses.
func inflate(cores []tensor.Core, by int) []tensor.Core {
	out := make([]tensor.Core, len(cores))
	for k, c := range cores {
		left, right := c.Left+by, c.Right+by
		if k == 0 {
			left = c.Left
		}
		if k == len(cores)-1 {
			right = c.Right
		}
		w := tensor.Core{Left: left, Mode: c.Mode, Right: right, Data: make([]float32, left*c.Mode*right)}
		for p := range c.Left {
			for n := range c.Mode {
				for q := range right { // spare states on the right of a core repeat; those on the left of the next are zero
					w.Data[(p*c.Mode+n)*right+q] = c.Data[(p*c.Mode+n)*c.Right+q%c.Right]
				}
			}
		}
		out[k] = w
	}
	return out
}

func TestRoundFindsTheTrueRanks(t *testing.T) {
	for i, c := range exactRings[:6] {
		want := randomCores(uint64(i), c.modes, CapRanks(c.modes, c.ranks))
		x := full(want)
		res, err := Round(inflate(want, 2), SVDOptions{Accuracy: 1e-5})
		if err != nil {
			t.Fatal(err)
		}
		for k, g := range res.Cores {
			if g.Left > want[k].Left {
				t.Errorf("%v: rank r_%d is %d, the ring has %d", c.modes, k, g.Left, want[k].Left)
			}
		}
		if e := errorByDefinition(x, res.Cores); e > 1e-5 {
			t.Errorf("%v: rounding changed the tensor by %v", c.modes, e)
		}
	}
}

func TestRoundKeepsItsAccuracy(t *testing.T) {
	for i, c := range exactRings[:6] {
		cores := randomCores(uint64(i), c.modes, uniform(len(c.modes), 5))
		x := full(cores)
		for _, accuracy := range []float64{0.8, 0.3, 0.05} {
			res, err := Round(cores, SVDOptions{Accuracy: accuracy})
			if err != nil {
				t.Fatal(err)
			}
			if e := errorByDefinition(x, res.Cores); e > accuracy || math.Abs(e-res.RelativeError) > 1e-5 {
				t.Errorf("%v at accuracy %v: error %v, reported %v", c.modes, accuracy, e, res.RelativeError)
			}
		}
		ranks := append([]int{5}, uniform(len(c.modes)-1, 2)...)
		res, err := Round(cores, SVDOptions{Ranks: ranks})
		if err != nil {
			t.Fatal(err)
		}
		for k, g := range res.Cores {
			if g.Left > ranks[k] {
				t.Errorf("%v: rank r_%d is %d, asked for %d", c.modes, k, g.Left, ranks[k])
			}
		}
		if e := errorByDefinition(x, res.Cores); math.Abs(e-res.RelativeError) > 1e-5 {
			t.Errorf("%v at ranks 2: error %v, reported %v", c.modes, e, res.RelativeError)
		}
	}
}

func TestRoundRefusals(t *testing.T) {
	cores := randomCores(1, []int{3, 4, 2}, uniform(3, 2))
	broken := randomCores(1, []int{3, 4, 2}, uniform(3, 2))
	broken[1].Data = broken[1].Data[1:]
	for name, c := range map[string]struct {
		cores []tensor.Core
		o     SVDOptions
	}{
		"nothing set":   {cores, SVDOptions{}},
		"another r_0":   {cores, SVDOptions{Ranks: []int{1, 2, 2}}},
		"rank 0":        {cores, SVDOptions{Ranks: []int{2, 0, 2}}},
		"one core":      {cores[:1], SVDOptions{Accuracy: 0.1}},
		"short core":    {broken, SVDOptions{Accuracy: 0.1}},
		"negative rank": {[]tensor.Core{{Left: -1, Mode: 1, Right: -1}, {Left: -1, Mode: 1, Right: -1}}, SVDOptions{Accuracy: 0.1}},
	} {
		if _, err := Round(c.cores, c.o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
