package export

import "github.com/trconvert/trconvert/tensor"

// split is a way to contract a frame with the input cores in two groups: A [r_0, N1, r_m] from the first m cores and
// B [r_m, N2, r_n] from the others.
type split struct {
	at        int  // m
	leftFirst bool // A before B
	memory    int  // numbers: both groups, and the intermediates of a batch of frames
	products  int  // multiplications for one frame
}

// batchFrames is the number of frames whose intermediates count as memory, a small batch of short sequences. It only sets the
// balance between groups, which are held once, and intermediates, which every frame needs.
const batchFrames = 64

// chooseSplit takes, among the splits that need at most twice the fewest multiplications, the one with the least memory; the first
// one of equals. Per frame and with N1·N2 covering I, the costs are
//
//	B first: N1·N2·r_m·r_n + N1·r_m·r_0·r_n products, N1·r_m·r_n intermediates
//	A first: N1·N2·r_0·r_m + N2·r_m·r_0·r_n products, N2·r_0·r_m intermediates
func chooseSplit(f *tensor.Factor) split {
	n := len(f.InModes)
	r0, rn := f.Cores[0].Left, f.Cores[n].Left
	var all []split
	for m := 1; m < n; m++ {
		n1, n2, rm := tensorProduct(f.InModes[:m]), tensorProduct(f.InModes[m:]), f.Cores[m].Left
		groups := r0*n1*rm + rm*n2*rn
		all = append(all,
			split{at: m, memory: groups + batchFrames*n1*rm*rn, products: n1*n2*rm*rn + n1*rm*r0*rn},
			split{at: m, leftFirst: true, memory: groups + batchFrames*n2*r0*rm, products: n1*n2*r0*rm + n2*rm*r0*rn})
	}
	fewest := all[0].products
	for _, s := range all {
		fewest = min(fewest, s.products)
	}
	var best *split
	for k := range all {
		if all[k].products <= 2*fewest && (best == nil || all[k].memory < best.memory) {
			best = &all[k]
		}
	}
	return *best
}

// groups merges the two groups and returns the projection of X through them.
//
//	B first: X [T,B,N1,N2] · B [N2, r_m·r_n] → [T,B,N1·r_m, r_n];  A [r_0, N1·r_m] · that → [T,B,r_0,r_n]
//	A first: A [r_0·r_m, N1] · X [T,B,N1,N2] → [T,B,r_0, r_m·N2];  that · B [r_m·N2, r_n] → [T,B,r_0,r_n]
//
// Frames are never transposed. Where ∏ modes exceeds I, frames are padded with zeros.
func (b *builder) groups(f *tensor.Factor, names []string) func(x string) string {
	b.at = nil
	s := chooseSplit(f)
	n := len(f.InModes)
	r0, rm, rn := f.Cores[0].Left, f.Cores[s.at].Left, f.Cores[n].Left
	n1, n2 := tensorProduct(f.InModes[:s.at]), tensorProduct(f.InModes[s.at:])
	first, second := b.chain(names[:s.at]), b.chain(names[s.at:])
	if s.leftFirst {
		if s.at > 1 {
			first = b.reshape(first, 0, -1, rm)
		}
		first = b.reshape(b.transpose(first, 0, 2, 1), r0*rm, n1)
		second = b.reshape(second, -1, rn)
	} else {
		first = b.reshape(first, 0, -1)
		second = b.rows(second, n-s.at, rm, rn)
	}
	return func(x string) string {
		if n1*n2 > f.In {
			x = b.padFrames(x, n1*n2-f.In)
		}
		x = b.reshape(x, 0, 0, n1, n2)
		if s.leftFirst {
			x = b.matmul(b.reshape(b.matmul(first, x), 0, 0, r0, rm*n2), second)
		} else {
			x = b.matmul(first, b.reshape(b.matmul(x, second), 0, 0, n1*rm, rn))
		}
		return b.reshape(x, 0, 0, r0*rn)
	}
}
