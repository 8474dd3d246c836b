package tensor

import (
	"math/rand/v2"
	"testing"
)

// Random permutations of arrays of up to six axes, sizes of 0 and 1 among them, element by element.
func TestPermute(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	for range 2000 {
		dims := make([]int, r.IntN(7))
		for k := range dims {
			dims[k] = 1 + r.IntN(9)
			if r.IntN(40) == 0 {
				dims[k] = 0
			}
		}
		perm := r.Perm(len(dims))
		x := NewDense(dims...)
		wide := make([]float64, len(x.Data))
		for i := range x.Data {
			x.Data[i], wide[i] = float32(i), float64(i)
		}
		y, z := x.Transpose(perm...), permute(wide, dims, perm)
		for flat, v := range y.Data {
			to := y.Index(flat)
			from := 0
			index := make([]int, len(dims))
			for k, p := range perm {
				index[p] = to[k]
			}
			for k, i := range index {
				from = from*dims[k] + i
			}
			if v != x.Data[from] || z[flat] != wide[from] {
				t.Fatalf("dims %v, perm %v: element %v is %v and %v, want %v", dims, perm, to, v, z[flat], x.Data[from])
			}
		}
	}
}
