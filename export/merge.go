package export

import (
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/tensor"
)

// chain multiplies consecutive cores out to [left, N, right] and returns the value with that content, not yet in that shape unless
// there is one core.
//
// It goes from the right: M starts as the last core [l, n·r]; each core [l, n, l'] times M [l', N·r] gives [l, n, N·r], whose
// last two axes are then joined. One shape, [0, −1], serves every step.
func (b *builder) chain(names []string) string {
	last := len(names) - 1
	m := names[last]
	for k := last - 1; k >= 0; k-- {
		m = b.matmul(names[k], b.reshape(m, 0, -1))
	}
	return m
}

// inputSide merges the input cores and returns what projects X [T, B, I] (or [B, T, I]) to [T, B, r_0·r_n].
func (b *builder) inputSide(f *tensor.Factor, names []string) func(x string) string {
	n := len(f.InModes)
	if b.options.Form == Cores && n > 1 {
		return b.groups(f, names[:n])
	}
	r := b.right(f, names)
	return func(x string) string { return b.matmul(x, r) }
}

// right merges the input cores to R [I, r_0·r_n].
func (b *builder) right(f *tensor.Factor, names []string) string {
	n := len(f.InModes)
	b.at = nil
	r := b.rows(b.chain(names[:n]), n, f.Cores[0].Left, f.Cores[n].Left)
	if tensorProduct(f.InModes) > f.In {
		r = b.head(r, 0, f.In)
	}
	return r
}

// rows turns the content of [left, N, right] into the matrix [N, left·right].
func (b *builder) rows(m string, cores, left, right int) string {
	if left == 1 {
		return b.reshape(m, -1, right)
	}
	if cores > 1 {
		m = b.reshape(m, 0, -1, right)
	}
	return b.reshape(b.transpose(m, 1, 0, 2), 0, -1)
}

// outputSide merges the output cores to L, the W of the recurrent nodes: [D, G·H, r_0·r_n].
func (b *builder) outputSide(s *recurrent.Site, f *tensor.Factor, names []string) string {
	return b.reshape(b.transpose(b.outputs(f, names), 1, 2, 0), weightDims(s, f.Cut())...)
}

// outputs multiplies the output cores out to [r_n, O, r_0].
func (b *builder) outputs(f *tensor.Factor, names []string) string {
	n := len(f.InModes)
	b.at = nil
	m := b.chain(names[n:])
	if len(f.OutModes) > 1 {
		m = b.reshape(m, 0, -1, f.Cores[0].Left)
	}
	return m
}

// left merges the output cores to L [O, r_0·r_n].
func (b *builder) left(f *tensor.Factor, names []string) string {
	return b.reshape(b.transpose(b.outputs(f, names), 1, 2, 0), f.Out, -1)
}

// leftTransposed merges the output cores to Lᵀ [r_0·r_n, O].
func (b *builder) leftTransposed(f *tensor.Factor, names []string) string {
	m := b.outputs(f, names)
	if f.Cores[0].Left > 1 {
		m = b.transpose(m, 2, 0, 1)
	}
	return b.reshape(m, -1, f.Out)
}

func tensorProduct(modes []int) int {
	n := 1
	for _, m := range modes {
		n *= m
	}
	return n
}
