package main

import (
	"strings"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func writeTraining() {
	c := newConstants()
	for _, wide := range []bool{true, false} {
		activations{machine{wide: wide}, c}.writeTraining()
	}
	c.define()
}

// writeTraining writes what a step of a recurrent layer's training does to vectors: see package vec.
func (a activations) writeTraining() {
	// biased loads sums and adds the biases that bear their numbers.
	biased := func(load load) load {
		return func(sum string) reg.VecVirtual {
			v := load(sum)
			VADDPS(load("bias"+strings.TrimPrefix(sum, "gates")), v, v)
			return v
		}
	}
	a.loopParts("lstmStep", "computes n elements of a cell, adding the bias.", []array{{"gates", 4}, {"bias", 4}, {"old", 1}, {"next", 1}, {"hidden", 1}}, "", nil,
		func(load load, store store) {
			a.lstm(biased(load), load, store, "gates0", "gates1", "gates2", "gates3")
		})
	a.loopParts("gruStep", "computes n elements of a cell whose reset gate meets the projected state, adding the bias.",
		[]array{{"gates", 3}, {"bias", 4}, {"projected", 1}, {"old", 1}, {"hidden", 1}}, "", nil,
		func(load load, store store) {
			sum := biased(load)
			r := a.sigmoid(sum("gates1"))
			store(r, "gates1")
			p := load("projected")
			VADDPS(load("bias3"), p, p)
			store(p, "projected")
			x := sum("gates2")
			VFMADD231PS(p, r, x)
			g := a.tanh(x)
			store(g, "gates2")
			z := a.sigmoid(sum("gates0"))
			store(z, "gates0")
			a.blend(load, store, z, g)
		})
	a.loop("gruBack", "computes n elements of the gradient of the end of a cell.", []string{"update", "cand", "old", "dh"}, func(load load, store store) {
		z, g, dh := load("update"), load("cand"), load("dh")
		old := load("old")
		VSUBPS(g, old, old)
		VMULPS(dh, old, old)
		VMULPS(a.steep(z), old, old)
		store(old, "update")
		kept := a.product(dh, z)
		VSUBPS(kept, dh, dh) // dh·(1 − z)
		store(a.bend(g, dh), "cand")
		store(kept, "dh")
	})
	a.loop("gruResetBack", "computes n elements of the gradient of a reset gate that meets the projected state.", []string{"reset", "projected", "d"}, func(load load, store store) {
		r, p, d := load("reset"), load("projected"), load("d")
		VMULPS(d, p, p)
		VMULPS(a.steep(r), p, p)
		store(p, "reset")
		store(a.product(d, r), "projected")
	})
	a.loop("gruGateBack", "computes n elements of the gradient of a reset gate that meets the state.", []string{"reset", "q", "old", "dh"}, func(load load, store store) {
		r, q, dh := load("reset"), load("q"), load("dh")
		VFMADD231PS(q, r, dh)
		store(dh, "dh")
		VMULPS(load("old"), q, q)
		VMULPS(a.steep(r), q, q)
		store(q, "reset")
	})
	// The roundings are those of the portable path, so that all kernels give the same bits.
	var factor []reg.VecVirtual
	a.loopParts("adam", "makes a step of Adam on n elements.", []array{{"weights", 1}, {"grads", 1}, {"first", 1}, {"second", 1}}, ", factors *float32", func() {
		at := loadGP("factors")
		factor = nil
		for k := range 9 {
			x := a.vector()
			a.broadcast(operand.Mem{Base: at, Disp: 4 * k}, x)
			factor = append(factor, x)
		}
	}, func(load load, store store) {
		rate, shrink, scale, beta1, rest1, beta2, rest2, c2, epsilon := factor[0], factor[1], factor[2], factor[3], factor[4], factor[5], factor[6], factor[7], factor[8]
		d, m, v, w := load("grads"), load("first"), load("second"), load("weights")
		VMULPS(scale, d, d)
		VMULPS(beta1, m, m)
		VADDPS(a.product(rest1, d), m, m)
		store(m, "first")
		VMULPS(d, d, d)
		VMULPS(rest2, d, d)
		VMULPS(beta2, v, v)
		VADDPS(d, v, v)
		store(v, "second")
		VMULPS(c2, v, v)
		VSQRTPS(v, v)
		VADDPS(epsilon, v, v)
		VMULPS(rate, m, m)
		VDIVPS(v, m, m)
		VMULPS(shrink, w, w)
		VSUBPS(m, w, w)
		store(w, "weights")
	})
}
