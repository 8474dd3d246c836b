// Package vec applies the functions of recurrent cells to whole vectors of float32: exp, sigmoid, tanh, and the pointwise part of an LSTM and
// a GRU step, forwards and backwards; and it makes steps of Adam.
//
// The kernels are those internal/gemm picked: AVX-512, AVX2 with FMA, or portable Go. All follow one scheme: y = n·ln2 + r with |r| ≤ ln2/2,
// e^r − 1 = r + r²·q(r), q a polynomial of degree 4 with near-minimal largest relative error of e^r (8.2e-9, found by Remez exchange).
// With e = e^−|x| and d = e^−2|x| − 1, the latter computed as 2^n·(e^r − 1) + (2^n − 1),
//
//	sigmoid(x) = 1/(1+e) for x ≥ 0, e/(1+e) otherwise,    tanh(x) = −d/(d+2) with the sign of x,
//
// so that neither cancels nor overflows. NaN gives NaN, ±Inf the limits, −0 keeps its sign in tanh. The bits of a result depend on the
// kernels and the argument, not on its place in the vector, the vector's length or its alignment.
package vec

import "strconv"

//go:generate go -C ../gemm/gen run . -what activations -out ../../vec/vec_amd64.s -stubs ../../vec/vec_amd64.go -pkg vec

// Largest errors against the exact function, in units of the last place of a float32 result. Results below the smallest normal number, 2^-126,
// are off by at most one unit of 2^-149.
const (
	ExpULP     = 1.25
	SigmoidULP = 2.5
	TanhULP    = 2.75
)

// kernels are one implementation; n ≥ 1 elements are read from and written to each array.
type kernels struct {
	name               string
	exp, sigmoid, tanh func(n int, dst, src *float32)
	lstm               func(n int, in, out, forget, cand, old, next, hidden *float32)
	gru                func(n int, update, cand, old, hidden *float32)
	gruReset           func(n int, update, reset, projected, cand, old, hidden *float32)
	lstmBack           func(n int, in, out, forget, cand, old, next, dh, dc *float32)
	add                func(n int, dst, src *float32)
	trainingKernels
}

// Exp sets dst to e^src, element by element. The slices have the same length and are the same or do not overlap.
func Exp(dst, src []float32) { apply(current.exp, dst, src) }

// Sigmoid sets dst to 1/(1+e^−src), like [Exp].
func Sigmoid(dst, src []float32) { apply(current.sigmoid, dst, src) }

// Tanh sets dst to tanh(src), like [Exp].
func Tanh(dst, src []float32) { apply(current.tanh, dst, src) }

func apply(f func(n int, dst, src *float32), dst, src []float32) {
	check(len(dst), len(src))
	if len(dst) > 0 {
		f(len(dst), &dst[0], &src[0])
	}
}

// LSTM is the pointwise part of an LSTM step on H elements, with the standard activations and without peepholes. in, out, forget and cand
// hold the sums that enter the gates i, o, f and c̃ and are replaced by their activations:
//
//	i = sigmoid(i), o = sigmoid(o), f = sigmoid(f), c̃ = tanh(c̃), next = f·old + i·c̃, hidden = o·tanh(next)
//
// next may be old; no other slices may overlap.
func LSTM(in, out, forget, cand, old, next, hidden []float32) {
	n := len(in)
	check(n, len(out), len(forget), len(cand), len(old), len(next), len(hidden))
	if n > 0 {
		current.lstm(n, &in[0], &out[0], &forget[0], &cand[0], &old[0], &next[0], &hidden[0])
	}
}

// LSTMBack is the gradient of [LSTM]. in, out, forget and cand hold what LSTM left there and are replaced by the gradients of the sums that enter the gates; old and
// next are the states before and after the step, dh and dc the gradients of hidden and next, dc being replaced by that of old. With t = tanh(next) and
// d = dc + dh·o·(1 − t²):
//
//	i ← d·c̃·i·(1 − i), o ← dh·t·o·(1 − o), f ← d·old·f·(1 − f), c̃ ← d·i·(1 − c̃²), dc ← d·f
//
// No slices may overlap.
func LSTMBack(in, out, forget, cand, old, next, dh, dc []float32) {
	n := len(in)
	check(n, len(out), len(forget), len(cand), len(old), len(next), len(dh), len(dc))
	if n > 0 {
		current.lstmBack(n, &in[0], &out[0], &forget[0], &cand[0], &old[0], &next[0], &dh[0], &dc[0])
	}
}

// Add adds src to dst, which has the same length and is the same or does not overlap.
func Add(dst, src []float32) { apply(current.add, dst, src) }

// GRU is the pointwise end of a GRU step on H elements. update holds the activated gate z; cand the sum that enters h̃, replaced by h̃:
//
//	h̃ = tanh(h̃), hidden = (1 − z)·h̃ + z·old
//
// hidden may be old; no other slices may overlap.
func GRU(update, cand, old, hidden []float32) {
	n := len(update)
	check(n, len(cand), len(old), len(hidden))
	if n > 0 {
		current.gru(n, &update[0], &cand[0], &old[0], &hidden[0])
	}
}

// GRUReset is [GRU] with linear_before_reset: cand first has reset·projected added, projected being H·Rhᵀ + Rbh.
func GRUReset(update, reset, projected, cand, old, hidden []float32) {
	n := len(update)
	check(n, len(reset), len(projected), len(cand), len(old), len(hidden))
	if n > 0 {
		current.gruReset(n, &update[0], &reset[0], &projected[0], &cand[0], &old[0], &hidden[0])
	}
}

func check(n int, others ...int) {
	for _, m := range others {
		if m != n {
			panic("vec: slices of " + strconv.Itoa(n) + " and " + strconv.Itoa(m) + " elements (lengths must be equal)")
		}
	}
}
