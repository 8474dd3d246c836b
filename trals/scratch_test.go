package trals

import "testing"

// Every permutation of axes, some of length one, moves each element where its index says.
func TestPermute(t *testing.T) {
	for _, dims := range [][4]int{{2, 3, 4, 5}, {1, 9, 8, 16}, {3, 1, 8, 1}, {1, 1, 7, 5}, {8, 1, 1, 8}, {1, 4, 1, 1}, {4, 8, 3, 1}} {
		size := dims[0] * dims[1] * dims[2] * dims[3]
		x := make([]float32, size)
		for i := range x {
			x[i] = float32(i)
		}
		for code := range 256 {
			perm := [4]int{code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6}
			var uses [4]int
			for _, p := range perm {
				uses[p]++
			}
			if uses != [4]int{1, 1, 1, 1} {
				continue
			}
			out := make([]float32, size)
			permuteInto(out, x, dims, perm)
			var index [4]int // of the source
			for from := range x {
				rest := from
				for k := 3; k >= 0; k-- {
					index[k], rest = rest%dims[k], rest/dims[k]
				}
				at := 0
				for _, p := range perm {
					at = at*dims[p] + index[p]
				}
				if out[at] != x[from] {
					t.Fatalf("dims %v, order %v: element %v is not at %d", dims, perm, index, at)
				}
			}
		}
	}
}
