package trals

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/tensor"
)

func TestTRSVDKeepsItsAccuracy(t *testing.T) {
	for i, c := range exactRings[:6] {
		x := noisy(uint64(i), full(randomCores(uint64(i), c.modes, c.ranks)), 0.2)
		for _, accuracy := range []float64{0.5, 0.1, 1e-3} {
			for name, f := range map[string]func(context.Context, *tensor.Dense, SVDOptions) (*Result, error){"TR-SVD": TRSVD, "TT-SVD": TTSVD} {
				res, err := f(context.Background(), x, SVDOptions{Accuracy: accuracy})
				if err != nil {
					t.Fatal(err)
				}
				if e := errorByDefinition(x, res.Cores); e > accuracy || math.Abs(e-res.RelativeError) > 1e-9 {
					t.Errorf("%s of %v at accuracy %v: error %v, reported %v", name, c.modes, accuracy, e, res.RelativeError)
				}
				if name == "TT-SVD" && res.Cores[0].Left != 1 {
					t.Errorf("TT-SVD begins with rank %d", res.Cores[0].Left)
				}
			}
		}
	}
}

// At full rank nothing is cut off.
func TestTRSVDOfGivenRanks(t *testing.T) {
	modes := []int{6, 2, 3, 2}
	x := full(randomCores(4, modes, uniform(4, 3)))
	for _, ranks := range [][]int{{2, 3, 6, 4}, {1, 6, 6, 2}, {3, 2, 4, 6}} {
		res, err := TRSVD(context.Background(), x, SVDOptions{Ranks: ranks})
		if err != nil {
			t.Fatal(err)
		}
		for k, c := range res.Cores {
			if c.Left != ranks[k] {
				t.Errorf("core %d begins with rank %d, asked for %v", k, c.Left, ranks)
			}
		}
		if e := errorByDefinition(x, res.Cores); e > 1e-5 {
			t.Errorf("ranks %v: error %v", ranks, e)
		}
	}
}

func TestTRSVDRefusesWhatItCannotStart(t *testing.T) {
	x := full(randomCores(4, []int{4, 4, 4}, uniform(3, 2)))
	_, err := TRSVD(context.Background(), x, SVDOptions{Ranks: uniform(3, 5)})
	if err == nil || !strings.Contains(err.Error(), "25") || !strings.Contains(err.Error(), "4×16") {
		t.Errorf("r_0·r_1 = 25 at a mode of 4: %v", err)
	}
	for name, o := range map[string]SVDOptions{"nothing": {}, "both": {Ranks: uniform(3, 2), Accuracy: 0.1}, "negative": {Accuracy: -1}} {
		if _, err := TRSVD(context.Background(), x, o); err == nil {
			t.Errorf("%s set: accepted", name)
		}
	}
	if _, err := TTSVD(context.Background(), x, SVDOptions{Ranks: uniform(3, 2)}); err == nil {
		t.Error("a train with r_0 = 2 was accepted")
	}
}
