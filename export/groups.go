package export

import "github.com/trconvert/trconvert/tensor"

// groups merges the two groups and returns the projection of X through them.
//
//	B first: X [T,B,N1,N2] · B [N2, r_m·r_n] → [T,B,N1·r_m, r_n];  A [r_0, N1·r_m] · that → [T,B,r_0,r_n]
//	A first: A [r_0·r_m, N1] · X [T,B,N1,N2] → [T,B,r_0, r_m·N2];  that · B [r_m·N2, r_n] → [T,B,r_0,r_n]
//
// Frames are never transposed. Where ∏ modes exceeds I, frames are padded with zeros.
func (b *builder) groups(f *tensor.Factor, names []string) func(x string) string {
	b.at = nil
	s := tensor.ChooseGroups(f.InModes, f.Ranks())
	n := len(f.InModes)
	r0, rm, rn := f.Cores[0].Left, f.Cores[s.At].Left, f.Cores[n].Left
	n1, n2 := tensorProduct(f.InModes[:s.At]), tensorProduct(f.InModes[s.At:])
	first, second := b.chain(names[:s.At]), b.chain(names[s.At:])
	if s.LeftFirst {
		if s.At > 1 {
			first = b.reshape(first, 0, -1, rm)
		}
		first = b.reshape(b.transpose(first, 0, 2, 1), r0*rm, n1)
		second = b.reshape(second, -1, rn)
	} else {
		first = b.reshape(first, 0, -1)
		second = b.rows(second, n-s.At, rm, rn)
	}
	return func(x string) string {
		if n1*n2 > f.In {
			x = b.padFrames(x, n1*n2-f.In)
		}
		x = b.reshape(x, 0, 0, n1, n2)
		if s.LeftFirst {
			x = b.matmul(b.reshape(b.matmul(first, x), 0, 0, r0, rm*n2), second)
		} else {
			x = b.matmul(first, b.reshape(b.matmul(x, second), 0, 0, n1*rm, rn))
		}
		return b.reshape(x, 0, 0, r0*rn)
	}
}
