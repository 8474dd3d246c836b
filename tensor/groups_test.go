package tensor

import "testing"

// The groups of the input side, for rings whose best one is plain from the costs worked out by hand.
func TestChooseGroups(t *testing.T) {
	for _, c := range []struct {
		name      string
		modes     []int
		ranks     []int
		at        int
		leftFirst bool
	}{
		// Per frame A first costs r_0·r_m·N1·N2 products, B first r_m·r_n·N1·N2: a train saves r_n-fold by A first.
		{"train", []int{8, 8}, []int{1, 4, 16}, 1, true},
		{"train read backwards", []int{8, 8}, []int{16, 4, 1}, 1, false},
		// B first: 102,000 numbers at N1 = 40 (2,000 + 36,000 for the groups, 64·1,000 for intermediates), 193,200 at 8, 532,500 at 320.
		// A first: at least 192,750, at N1 = 1920, and twice the products.
		{"paper", []int{4, 2, 5, 8, 6, 5, 3, 2}, []int{10, 5, 5, 5, 5, 5, 5, 5, 5}, 3, false},
	} {
		s := ChooseGroups(c.modes, c.ranks)
		if s.At != c.at || s.LeftFirst != c.leftFirst {
			t.Errorf("%s: %+v, want at %d, A first %v", c.name, s, c.at, c.leftFirst)
		}
	}
}
