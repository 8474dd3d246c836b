package seed

import (
	"hash/fnv"
	"math/rand/v2"
)

// Stream returns the random stream with the given names under a root seed. Streams with different names are independent of each
// other and of the order in which they are asked for; the same root and names give the same numbers on every machine.
func Stream(root uint64, names ...string) *rand.Rand {
	h := fnv.New64a()
	for _, n := range names {
		h.Write([]byte(n))
		h.Write([]byte{0}) // so that ("ab", "c") differs from ("a", "bc")
	}
	return rand.New(rand.NewPCG(root, h.Sum64()))
}

// Normal returns n standard normal numbers.
func Normal(r *rand.Rand, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = r.NormFloat64()
	}
	return x
}
