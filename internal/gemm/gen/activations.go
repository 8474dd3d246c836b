package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// constants are vectors in memory, each the same word 16 times.
type constants struct {
	data operand.Mem
	at   map[uint32]int
}

func newConstants() *constants {
	return &constants{GLOBL("constants", attr.RODATA|attr.NOPTR), map[uint32]int{}}
}

func (c *constants) word(w uint32) operand.Mem {
	at, ok := c.at[w]
	if !ok {
		at = 64 * len(c.at)
		c.at[w] = at
	}
	return c.data.Offset(at)
}

func (c *constants) float(f float32) operand.Mem { return c.word(math.Float32bits(f)) }

// define writes the words met, in the order of their offsets.
func (c *constants) define() {
	words := make([]uint32, len(c.at))
	for w, at := range c.at {
		words[at/64] = w
	}
	for i, w := range words {
		for j := range 16 {
			DATA(64*i+4*j, operand.U32(w))
		}
	}
}

// The numbers of exp, shared with the portable path: see package vec.
const (
	log2e  = 1.442695
	ln2    = 0.6931472
	ln2Low = -1.9046542e-09
	expMin = -104
	expMax = 89
)

var expPoly = []float32{0.5, 0.16666545, 0.041666865, 0.0083662784, 0.001390502}

// activations are the functions of one vector width.
type activations struct {
	machine
	c *constants
}

func (a activations) and(x operand.Op, y, to reg.VecVirtual) {
	if a.wide {
		VPANDD(x, y, to)
	} else {
		VANDPS(x, y, to)
	}
}

func (a activations) or(x operand.Op, y, to reg.VecVirtual) {
	if a.wide {
		VPORD(x, y, to)
	} else {
		VORPS(x, y, to)
	}
}

// reduced is the range reduction y = n·ln2 + r and e^r − 1 = r + r²·q(r).
func (a activations) reduced(y reg.VecVirtual) (n, em1 reg.VecVirtual) {
	n, r, q, s := a.vector(), a.vector(), a.vector(), a.vector()
	VMULPS(a.c.float(log2e), y, n)
	if a.wide {
		VRNDSCALEPS(operand.Imm(8), n, n)
	} else {
		VROUNDPS(operand.Imm(8), n, n)
	}
	a.move(y, r)
	VFNMADD231PS(a.c.float(ln2), n, r)
	VFNMADD231PS(a.c.float(ln2Low), n, r)
	a.move(a.c.float(expPoly[4]), q)
	for i := 3; i >= 0; i-- {
		VFMADD213PS(a.c.float(expPoly[i]), r, q)
	}
	VMULPS(r, r, s)
	VFMADD213PS(r, s, q) // q·r² + r
	return n, q
}

// power is 2^n for −126 ≤ n ≤ 127.
func (a activations) power(n reg.VecVirtual) reg.VecVirtual {
	p := a.vector()
	VCVTPS2DQ(n, p)
	VPADDD(a.c.word(127), p, p)
	VPSLLD(operand.Imm(23), p, p)
	return p
}

// exp is e^y; y is clamped, and lost.
func (a activations) exp(y reg.VecVirtual) reg.VecVirtual {
	// A NaN is the second source and so survives.
	for _, bound := range []struct {
		f func(...operand.Op)
		x float32
	}{{VMAXPS, expMin}, {VMINPS, expMax}} {
		b := a.vector()
		a.move(a.c.float(bound.x), b)
		bound.f(y, b, y)
	}
	n, e := a.reduced(y)
	VADDPS(a.c.float(1), e, e)
	if a.wide {
		VSCALEFPS(n, e, e)
		return e
	}
	// In two steps, since 2^n may be no normal number.
	whole, half := YMM(), YMM()
	VCVTPS2DQ(n, whole)
	VPSRAD(operand.Imm(1), whole, half)
	VPSUBD(half, whole, whole)
	for _, part := range []reg.VecVirtual{half, whole} {
		VPADDD(a.c.word(127), part, part)
		VPSLLD(operand.Imm(23), part, part)
		VMULPS(part, e, e)
	}
	return e
}

// sigmoid is 1/(1+e), or e/(1+e) for negative x, e = exp(−|x|).
func (a activations) sigmoid(x reg.VecVirtual) reg.VecVirtual {
	y, one, sum := a.vector(), a.vector(), a.vector()
	a.or(a.c.word(1<<31), x, y)
	e := a.exp(y)
	a.move(a.c.float(1), one)
	VADDPS(one, e, sum)
	// The numerator: e where the sign bit of x is set.
	if a.wide {
		k := K()
		VPMOVD2M(x, k)
		VMOVAPS(e, k, one)
	} else {
		VBLENDVPS(x, e, one, one)
	}
	VDIVPS(sum, one, one)
	return one
}

// tanh is −d/(d+2) with the sign of x, d = exp(−2|x|) − 1.
func (a activations) tanh(x reg.VecVirtual) reg.VecVirtual {
	y, low := a.vector(), a.vector()
	a.or(a.c.word(1<<31), x, y)
	VADDPS(y, y, y)
	a.move(a.c.float(-40), low)
	VMAXPS(y, low, y)
	n, d := a.reduced(y)
	p := a.power(n)
	less := a.vector()
	VSUBPS(a.c.float(1), p, less)
	VFMADD213PS(less, p, d) // 2^n·(e^r − 1) + (2^n − 1)
	sum, sign := a.vector(), a.vector()
	VADDPS(a.c.float(2), d, sum)
	VDIVPS(sum, d, d)
	a.and(a.c.word(1<<31), x, sign)
	a.and(a.c.word(1<<31-1), d, d)
	a.or(sign, d, d)
	return d
}

// array is an argument of a function over vectors: parts of n elements each, one behind the other, called name0, name1 and so on where there are several.
type array struct {
	name  string
	parts int
}

// loop writes a function over vectors of the named arrays.
func (a activations) loop(name, doc string, arrays []string, body func(load load, store store)) {
	list := make([]array, len(arrays))
	for i, s := range arrays {
		list[i] = array{s, 1}
	}
	a.loopParts(name, doc, list, "", nil, body)
}

// loopParts writes a function over vectors of arrays, then arguments more: whole vectors, then the rest with a mask. prepare, which may be nil, runs once.
func (a activations) loopParts(name, doc string, arrays []array, more string, prepare func(), body func(load load, store store)) {
	names := make([]string, len(arrays))
	for i, s := range arrays {
		names[i] = s.name
	}
	suffix := map[bool]string{true: "AVX512", false: "AVX2"}[a.wide]
	TEXT(name+suffix, NOSPLIT, "func(n int, "+strings.Join(names, ", ")+" *float32"+more+")")
	Pragma("noescape")
	Doc(name + suffix + " " + doc)
	n := loadGP("n")
	t := a.tailOf(n)
	p := map[string]reg.GPVirtual{}
	var order []reg.GPVirtual
	for _, s := range arrays {
		at := loadGP(s.name)
		if s.parts == 1 {
			p[s.name] = at
		}
		for k := range s.parts {
			if k > 0 {
				next, size := GP64(), loadGP("n")
				LEAQ(operand.Mem{Base: at, Index: size, Scale: 4}, next)
				at = next
			}
			if s.parts > 1 {
				p[fmt.Sprint(s.name, k)] = at
			}
			order = append(order, at)
		}
	}
	if prepare != nil {
		prepare()
	}
	TESTQ(n, n)
	JE(operand.LabelRef("rest"))
	Label("loop")
	body(func(s string) reg.VecVirtual {
		v := a.vector()
		a.move(operand.Mem{Base: p[s]}, v)
		return v
	}, func(v reg.VecVirtual, s string) { a.move(v, operand.Mem{Base: p[s]}) })
	for _, at := range order {
		ADDQ(operand.Imm(uint64(4*a.lanes())), at)
	}
	DECQ(n)
	JNE(operand.LabelRef("loop"))
	Label("rest")
	TESTQ(t.count, t.count)
	JE(operand.LabelRef("done"))
	body(func(s string) reg.VecVirtual {
		v := a.vector()
		t.load(operand.Mem{Base: p[s]}, v)
		return v
	}, func(v reg.VecVirtual, s string) {
		if a.wide {
			a.move(v, t.k, operand.Mem{Base: p[s]})
		} else {
			VMASKMOVPS(v, t.v, operand.Mem{Base: p[s]})
		}
	})
	Label("done")
	a.done()
}

type (
	load  = func(string) reg.VecVirtual
	store = func(reg.VecVirtual, string)
)

func (a activations) product(x, y reg.VecVirtual) reg.VecVirtual {
	z := a.vector()
	VMULPS(x, y, z)
	return z
}

// steep is x − x², the derivative of sigmoid where it is x.
func (a activations) steep(x reg.VecVirtual) reg.VecVirtual {
	z := a.vector()
	a.move(x, z)
	VFNMADD231PS(x, x, z)
	return z
}

// bend is y·(1 − x²), the derivative of tanh where it is x, times y.
func (a activations) bend(x, y reg.VecVirtual) reg.VecVirtual {
	z := a.product(x, y)
	VFNMADD213PS(y, x, z) // y − x·(x·y)
	return z
}

// lstm is a step of a cell whose gates have the given names; sum gives what enters their activations.
func (a activations) lstm(sum, load load, store store, in, out, forget, cand string) {
	i := a.sigmoid(sum(in))
	store(i, in)
	g := a.tanh(sum(cand))
	store(g, cand)
	VMULPS(i, g, g)
	f := a.sigmoid(sum(forget))
	store(f, forget)
	c := load("old")
	VFMADD213PS(g, f, c)
	store(c, "next")
	h := a.tanh(c)
	o := a.sigmoid(sum(out))
	store(o, out)
	VMULPS(o, h, h)
	store(h, "hidden")
}

// blend is the end of a GRU step: hidden becomes g + z·(old − g).
func (a activations) blend(load load, store store, z, g reg.VecVirtual) {
	old := load("old")
	VSUBPS(g, old, old)
	VFMADD132PS(z, g, old)
	store(old, "hidden")
}

func writeActivations() {
	c := newConstants()
	for _, wide := range []bool{true, false} {
		activations{machine{wide: wide}, c}.write()
	}
	c.define()
}

func (a activations) write() {
	for _, f := range []struct {
		name string
		of   func(reg.VecVirtual) reg.VecVirtual
	}{{"exp", a.exp}, {"sigmoid", a.sigmoid}, {"tanh", a.tanh}} {
		a.loop(f.name, "computes n elements.", []string{"dst", "src"}, func(load load, store store) {
			store(f.of(load("src")), "dst")
		})
	}
	a.loop("lstm", "computes n elements of a cell.", []string{"in", "out", "forget", "cand", "old", "next", "hidden"}, func(load load, store store) {
		a.lstm(load, load, store, "in", "out", "forget", "cand")
	})
	a.loop("gru", "computes n elements of a cell.", []string{"update", "cand", "old", "hidden"}, func(load load, store store) {
		g := a.tanh(load("cand"))
		store(g, "cand")
		a.blend(load, store, load("update"), g)
	})
	a.loop("lstmBack", "computes n elements of the gradient of a cell.", []string{"in", "out", "forget", "cand", "old", "next", "dh", "dc"}, func(load load, store store) {
		t := a.tanh(load("next"))
		o, dh := load("out"), load("dh")
		d := a.bend(t, a.product(dh, o))
		VMULPS(dh, t, t)
		VMULPS(a.steep(o), t, t)
		store(t, "out")
		VADDPS(load("dc"), d, d)
		f := load("forget")
		store(a.product(d, f), "dc")
		slope := a.steep(f)
		VMULPS(load("old"), slope, slope)
		VMULPS(d, slope, slope)
		store(slope, "forget")
		i, g := load("in"), load("cand")
		store(a.bend(g, a.product(d, i)), "cand")
		slope = a.steep(i)
		VMULPS(g, slope, slope)
		VMULPS(d, slope, slope)
		store(slope, "in")
	})
	a.loop("add", "computes n sums.", []string{"dst", "src"}, func(load load, store store) {
		x := load("dst")
		VADDPS(load("src"), x, x)
		store(x, "dst")
	})
	a.loop("gruReset", "computes n elements of a cell whose reset gate meets the projected state.", []string{"update", "reset", "projected", "cand", "old", "hidden"}, func(load load, store store) {
		x := load("cand")
		VFMADD231PS(load("projected"), load("reset"), x)
		g := a.tanh(x)
		store(g, "cand")
		a.blend(load, store, load("update"), g)
	})
}
