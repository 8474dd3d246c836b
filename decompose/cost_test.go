package decompose

import (
	"testing"

	"github.com/trconvert/trconvert/tensor"
)

// Counted by hand. 32 rows, modes 40×24 | 4×8, rank 1: A first takes 4·24·(40+8) = 4608 products and holds 96 features, B first
// 40·8·(24+4) = 8960 and 320; the identity takes 32² = 1024, the dense layer 960·32 = 30720.
func TestCostOfTTMatrices(t *testing.T) {
	for _, c := range []struct {
		in, rank          int
		modes             []int
		bottleneck, cores float64
	}{
		{960, 1, []int{40, 24}, 2 * (4608 + 1024), 2 * (4608 + 1024)},
		{960, 4, []int{40, 24}, 2 * 30720, 2 * (4*4608 + 1024)}, // no longer half the products, but less memory
		{24, 1, []int{4, 6}, 2 * 24 * 32, 2 * 24 * 32},          // the identity alone is larger than W
	} {
		f, err := Fresh(Shape{tensor.TTMatrix, 32, c.in, c.modes, []int{4, 8}, []int{1, c.rank}}, 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		if got := FactorCost(f); got.Bottleneck != c.bottleneck || got.Cores != c.cores {
			t.Errorf("%d inputs, rank %d: %v and %v FLOPs, want %v and %v", c.in, c.rank, got.Bottleneck, got.Cores, c.bottleneck, c.cores)
		}
	}
}
