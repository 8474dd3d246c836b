package vec

import (
	"math"
	"unsafe"
)

//go:generate go -C ../gemm/gen run . -what training -out ../../vec/training_amd64.s -stubs ../../vec/training_amd64.go -pkg vec

// trainingKernels are one implementation of what training a recurrent layer does to vectors; n ≥ 1 elements are read from and written to each array.
type trainingKernels struct {
	lstmStep     func(n int, gates, bias, old, next, hidden *float32)
	gruStep      func(n int, gates, bias, projected, old, hidden *float32)
	gruBack      func(n int, update, cand, old, dh *float32)
	gruResetBack func(n int, reset, projected, d *float32)
	gruGateBack  func(n int, reset, q, old, dh *float32)
	adam         func(n int, weights, grads, first, second, factors *float32)
}

var portableTraining = trainingKernels{lstmStep, gruStep, gruBack, gruResetBack, gruGateBack, adam}

// LSTMStep is [LSTM] of sums that lack the bias. gates [4·H] holds the gates i, o, f and c̃, bias [4·H] what is added to them, and hidden has H elements. next may be old; no other
// slices may overlap.
func LSTMStep(gates, bias, old, next, hidden []float32) {
	n := len(hidden)
	check(n, len(old), len(next))
	check(4*n, len(gates), len(bias))
	if n > 0 {
		current.lstmStep(n, &gates[0], &bias[0], &old[0], &next[0], &hidden[0])
	}
}

// GRUStep is a GRU step with linear_before_reset and the standard activations, pointwise, of sums that lack the bias. gates [3·H] holds the sums of z, r and h̃ and is replaced by their
// activations, projected is H·Rhᵀ, and bias [4·H] what is added to those four:
//
//	z = sigmoid(z + bz), r = sigmoid(r + br), projected ← projected + bp, h̃ = tanh(h̃ + bh + r·projected), hidden = (1 − z)·h̃ + z·old
//
// hidden may be old; no other slices may overlap.
func GRUStep(gates, bias, projected, old, hidden []float32) {
	n := len(hidden)
	check(n, len(projected), len(old))
	check(3*n, len(gates))
	check(4*n, len(bias))
	if n > 0 {
		current.gruStep(n, &gates[0], &bias[0], &projected[0], &old[0], &hidden[0])
	}
}

// GRUBack is the gradient of [GRU] but for the reset gate. update and cand hold z and h̃ and are replaced by the gradients of the sums that enter them, dh is that of hidden and becomes
// the part of old's that does not go through the gates:
//
//	z ← dh·(old − h̃)·z·(1 − z), h̃ ← dh·(1 − z)·(1 − h̃²), dh ← dh·z
//
// No slices may overlap.
func GRUBack(update, cand, old, dh []float32) {
	n := len(update)
	check(n, len(cand), len(old), len(dh))
	if n > 0 {
		current.gruBack(n, &update[0], &cand[0], &old[0], &dh[0])
	}
}

// GRUResetBack is the gradient of a reset gate r that meets the projected state p, where d is that of the sum r·p takes part in: r ← d·p·r·(1 − r), p ← d·r. No slices may overlap.
func GRUResetBack(reset, projected, d []float32) {
	n := len(reset)
	check(n, len(projected), len(d))
	if n > 0 {
		current.gruResetBack(n, &reset[0], &projected[0], &d[0])
	}
}

// GRUGateBack is the gradient of a reset gate r that meets the state, where q is that of r·old: r ← q·old·r·(1 − r), dh ← dh + q·r. No slices may overlap.
func GRUGateBack(reset, q, old, dh []float32) {
	n := len(reset)
	check(n, len(q), len(old), len(dh))
	if n > 0 {
		current.gruGateBack(n, &reset[0], &q[0], &old[0], &dh[0])
	}
}

// Adam are the numbers of a step of Adam with decoupled weight decay (Kingma & Ba, ICLR 2015; Loshchilov & Hutter, ICLR 2019). Steps in float64 have no kernels.
type Adam[T float32 | float64] struct {
	Rate         T // over the bias correction of m, 1 − β1ᵗ
	Shrink       T // what decay leaves of a weight
	Scale        T // of gradients
	Beta1, Rest1 T // β1 and 1 − β1
	Beta2, Rest2 T
	C2           T // 1/(1 − β2ᵗ)
	Epsilon      T
}

// Step updates weights w with their gradients g and moments m and v, all of one length and apart:
//
//	d = Scale·g, m ← Beta1·m + Rest1·d, v ← Beta2·v + Rest2·d², w ← Shrink·w − Rate·m/(√(C2·v) + Epsilon)
//
// Every operation is rounded by itself, so that all kernels give the same bits.
func (f *Adam[T]) Step(w, g, m, v []T) {
	check(len(w), len(g), len(m), len(v))
	if f, ok := any(f).(*Adam[float32]); ok && len(w) > 0 {
		current.adam(len(w), first(w), first(g), first(m), first(v), &f.Rate)
		return
	}
	f.step(w, g, m, v)
}

func first[T any](x []T) *float32 { return any(&x[0]).(*float32) }

// step is Step in Go.
func (f *Adam[T]) step(w, g, m, v []T) {
	g, m, v = g[:len(w)], m[:len(w)], v[:len(w)]
	for k := range w {
		// The conversions keep the compiler from fusing products and sums.
		d := T(f.Scale * g[k])
		m[k] = T(f.Beta1*m[k]) + T(f.Rest1*d)
		v[k] = T(f.Beta2*v[k]) + T(f.Rest2*T(d*d))
		step := T(f.Rate*m[k]) / (T(math.Sqrt(float64(T(f.C2*v[k])))) + f.Epsilon)
		w[k] = T(f.Shrink*w[k]) - step
	}
}

func lstmStep(n int, gates, bias, old, next, hidden *float32) {
	g := addBias(4*n, gates, bias)
	lstm(n, &g[0], &g[n], &g[2*n], &g[3*n], old, next, hidden)
}

func addBias(n int, sums, bias *float32) []float32 {
	add(n, sums, bias)
	return unsafe.Slice(sums, n)
}

func gruStep(n int, gates, bias, projected, old, hidden *float32) {
	g := addBias(3*n, gates, bias)
	addBias(n, projected, &unsafe.Slice(bias, 4*n)[3*n])
	for k, x := range g[:2*n] {
		g[k] = sigmoid(x)
	}
	gruReset(n, &g[0], &g[n], projected, &g[2*n], old, hidden)
}

func gruBack(n int, update, cand, old, dh *float32) {
	z, g, s, h := unsafe.Slice(update, n), unsafe.Slice(cand, n), unsafe.Slice(old, n), unsafe.Slice(dh, n)
	for k, d := range h {
		kept := d * z[k]
		z[k] = d * (s[k] - g[k]) * z[k] * (1 - z[k])
		g[k] = (d - kept) * (1 - g[k]*g[k])
		h[k] = kept
	}
}

func gruResetBack(n int, reset, projected, d *float32) {
	r, p := unsafe.Slice(reset, n), unsafe.Slice(projected, n)
	for k, d := range unsafe.Slice(d, n) {
		r[k], p[k] = d*p[k]*r[k]*(1-r[k]), d*r[k]
	}
}

func gruGateBack(n int, reset, q, old, dh *float32) {
	r, s, h := unsafe.Slice(reset, n), unsafe.Slice(old, n), unsafe.Slice(dh, n)
	for k, q := range unsafe.Slice(q, n) {
		h[k] += q * r[k]
		r[k] = q * s[k] * r[k] * (1 - r[k])
	}
}

func adam(n int, weights, grads, first, second, factors *float32) {
	f := (*Adam[float32])(unsafe.Pointer(factors))
	f.step(unsafe.Slice(weights, n), unsafe.Slice(grads, n), unsafe.Slice(first, n), unsafe.Slice(second, n))
}
