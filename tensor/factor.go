// Package tensor holds dense n-mode arrays, tensor networks, their contraction plans, and Factor: a matrix kept as a network of small cores.
package tensor

// Dense is an n-mode array in C order.
type Dense struct {
	Dims []int
	Data []float32
}

// Core is one tensor of a ring: Data is [Left, Mode, Right] in C order.
type Core struct {
	Left, Mode, Right int
	Data              []float32
}

// Factor is a matrix W [Out, In] held as a ring of cores: the input cores first, then the output cores (Pan et al., AAAI 2019).
//
//	W[o, i] = Tr( G_1[i_1] … G_n[i_n] · G_{n+1}[o_1] … G_d[o_m] )
//
// The ring's ranks are r_0 … r_{d−1} with r_d = r_0; core k is [r_k, n_k, r_{k+1}]. A tensor train has r_0 = 1; a truncated SVD
// is a train of two cores. ∏ InModes may exceed In: columns beyond In are padding and never leave this package.
type Factor struct {
	Format            string // "tr", "tt", "svd"
	Out, In           int
	InModes, OutModes []int
	Cores             []Core // len(InModes) + len(OutModes)
}

// Ranks lists r_0 … r_{d−1}.
func (f *Factor) Ranks() []int {
	r := make([]int, len(f.Cores))
	for k, c := range f.Cores {
		r[k] = c.Left
	}
	return r
}

// Params is the number of stored numbers.
func (f *Factor) Params() int {
	n := 0
	for _, c := range f.Cores {
		n += len(c.Data)
	}
	return n
}

// Cut is r_0·r_n, the number of features per frame between the input and the output side; rank(Ŵ) ≤ Cut.
func (f *Factor) Cut() int { return f.Cores[0].Left * f.Cores[len(f.InModes)].Left }

// Reconstruct multiplies the network out to Ŵ [Out, In].
func (f *Factor) Reconstruct() *Dense { panic("not yet") }

// Sides merges each side: Ŵ = L·Rᵀ with right [In, Cut] from the input cores and left [Out, Cut] from the output cores. The column
// index is a·r_n + b for bond values a of r_0 and b of r_n.
func (f *Factor) Sides() (left, right *Dense) { panic("not yet") }

// Validate checks shapes: cores chain into a ring, modes multiply to at least In and exactly to Out, no NaN.
func (f *Factor) Validate() error { panic("not yet") }
