package vec

import (
	"math"
	"unsafe"
)

var portable = kernels{"go", mapped(exp), mapped(sigmoid), mapped(tanh), lstm, gru, gruReset, lstmBack, add, portableTraining}

// reduce returns n and e^r − 1 of y = n·ln2 + r, in float64, which costs a processor without vector units nothing.
func reduce(y float64) (n, em1 float64) {
	n = math.RoundToEven(y * math.Log2E)
	r := y - n*math.Ln2
	q := 0.001390502
	q = q*r + 0.0083662784
	q = q*r + 0.041666865
	q = q*r + 0.16666545
	q = q*r + 0.5
	return n, r + r*r*q
}

// power is 2^n for −1022 ≤ n ≤ 1023.
func power(n float64) float64 { return math.Float64frombits(uint64(int64(n)+1023) << 52) }

func exp64(x float32) float64 {
	if x != x {
		return float64(x)
	}
	n, e := reduce(float64(min(max(x, -104), 89)))
	return (1 + e) * power(n)
}

func exp(x float32) float32 { return float32(exp64(x)) }

func sigmoid(x float32) float32 {
	e := exp64(-abs(x))
	if math.Signbit(float64(x)) {
		return float32(e / (1 + e))
	}
	return float32(1 / (1 + e))
}

func tanh(x float32) float32 {
	if x != x {
		return x
	}
	n, d := reduce(float64(max(-2*abs(x), -40)))
	p := power(n)
	d = d*p + (p - 1)
	return float32(math.Copysign(d/(d+2), float64(x)))
}

func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }

func mapped(f func(float32) float32) func(n int, dst, src *float32) {
	return func(n int, dst, src *float32) {
		d := unsafe.Slice(dst, n)
		for i, x := range unsafe.Slice(src, n) {
			d[i] = f(x)
		}
	}
}

func lstm(n int, in, out, forget, cand, old, next, hidden *float32) {
	i, o, f, g := unsafe.Slice(in, n), unsafe.Slice(out, n), unsafe.Slice(forget, n), unsafe.Slice(cand, n)
	c, d, h := unsafe.Slice(old, n), unsafe.Slice(next, n), unsafe.Slice(hidden, n)
	for k := range n {
		i[k], o[k], f[k], g[k] = sigmoid(i[k]), sigmoid(o[k]), sigmoid(f[k]), tanh(g[k])
		d[k] = f[k]*c[k] + i[k]*g[k]
		h[k] = o[k] * tanh(d[k])
	}
}

func lstmBack(n int, in, out, forget, cand, old, next, dh, dc *float32) {
	i, o, f, g := unsafe.Slice(in, n), unsafe.Slice(out, n), unsafe.Slice(forget, n), unsafe.Slice(cand, n)
	c, s, h, r := unsafe.Slice(old, n), unsafe.Slice(next, n), unsafe.Slice(dh, n), unsafe.Slice(dc, n)
	for k := range n {
		t := tanh(s[k])
		d := r[k] + h[k]*o[k]*(1-t*t)
		o[k] = h[k] * t * o[k] * (1 - o[k])
		r[k] = d * f[k]
		f[k] = d * c[k] * f[k] * (1 - f[k])
		i[k], g[k] = d*g[k]*i[k]*(1-i[k]), d*i[k]*(1-g[k]*g[k])
	}
}

func add(n int, dst, src *float32) {
	d := unsafe.Slice(dst, n)
	for k, x := range unsafe.Slice(src, n) {
		d[k] += x
	}
}

func gru(n int, update, cand, old, hidden *float32) {
	z, g, s, h := unsafe.Slice(update, n), unsafe.Slice(cand, n), unsafe.Slice(old, n), unsafe.Slice(hidden, n)
	for k := range n {
		g[k] = tanh(g[k])
		h[k] = g[k] + z[k]*(s[k]-g[k])
	}
}

func gruReset(n int, update, reset, projected, cand, old, hidden *float32) {
	r, p, g := unsafe.Slice(reset, n), unsafe.Slice(projected, n), unsafe.Slice(cand, n)
	for k := range n {
		g[k] += r[k] * p[k]
	}
	gru(n, update, cand, old, hidden)
}
