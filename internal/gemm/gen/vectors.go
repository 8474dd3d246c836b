package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func (m machine) begin(name, signature, doc string) {
	TEXT(m.prefix()+name, NOSPLIT, "func("+signature+")")
	Pragma("noescape")
	Doc(m.prefix() + name + " " + doc)
}

func loadGP(name string) reg.GPVirtual { return Load(Param(name), GP64()).(reg.GPVirtual) }

// loadStride is a distance in bytes.
func (m machine) loadStride(name string) reg.GPVirtual {
	r := loadGP(name)
	SHLQ(operand.Imm(uint64(m.shift())), r)
	return r
}

func (m machine) shift() int {
	if m.double {
		return 3
	}
	return 2
}

func param(name string) operand.Mem {
	b, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return b.Addr
}

// tailOf selects the first n mod lanes lanes; n keeps the number of whole vectors.
func (m machine) tailOf(n reg.GPVirtual) tail {
	count := GP64()
	MOVQ(n, count)
	ANDQ(operand.Imm(uint64(m.lanes()-1)), count)
	log := 3
	if m.wide {
		log++
	}
	if m.double {
		log--
	}
	SHRQ(operand.Imm(uint64(log)), n)
	return m.newTail(count)
}

// group of row pointers: rows 0…5, 6…11 and so on share one.
func rowPointers(first reg.Register, stride reg.GPVirtual, rows int) []reg.Register {
	p := []reg.Register{first}
	for r := group; r < rows; r += group {
		next := GP64()
		LEAQ(operand.Mem{Base: p[len(p)-1], Index: stride, Scale: 2}, next)
		LEAQ(operand.Mem{Base: next, Index: stride, Scale: 4}, next)
		p = append(p, next)
	}
	return p
}

func grid(f func() reg.VecVirtual, rows, cols int) [][]reg.VecVirtual {
	g := make([][]reg.VecVirtual, rows)
	for i := range g {
		for range cols {
			g[i] = append(g[i], f())
		}
	}
	return g
}

// sum adds the lanes of v into the lowest two (float64) or four (float32) lanes.
func (m machine) fold(v reg.VecVirtual) reg.VecVirtual {
	y := v.AsY()
	if m.wide {
		high := YMM()
		VEXTRACTF64X4(operand.Imm(1), v, high)
		m.add(high, y, y)
	}
	x, high := v.AsX(), XMM()
	if m.wide {
		VEXTRACTF64X2(operand.Imm(1), y, high) // reaches the upper registers
	} else {
		VEXTRACTF128(operand.Imm(1), y, high)
	}
	m.add(high, x, x)
	return v
}

// dot writes inner products of rows contiguous vectors with cols (1 or 4) others.
func (m machine) dot(rows, cols int) {
	e := m.element()
	m.begin(fmt.Sprintf("Dot%dx%d", rows, cols), fmt.Sprintf("k int, a *%s, as int, b *%s, bs int, c *%s, cs int, alpha %s, add int", e, e, e, e),
		fmt.Sprintf("computes a block of C, %d rows of A times %d rows of B.", rows, cols))
	k := loadGP("k")
	t := m.tailOf(k)
	as, bs := m.loadStride("as"), m.loadStride("bs")
	aAt, bAt := newRowAddress(as, rows), newRowAddress(bs, cols)
	a, b := loadGP("a"), loadGP("b")
	split := max(1, min(2, 8/(rows*cols)))
	acc := make([][][]reg.VecVirtual, split)
	for s := range acc {
		acc[s] = grid(m.vector, rows, cols)
		for _, row := range acc[s] {
			for _, v := range row {
				m.zero(v)
			}
		}
	}
	bytes := m.lanes() * m.size()
	step := func(acc [][]reg.VecVirtual, disp int, load func(operand.Mem, reg.VecVirtual)) {
		bv := make([]reg.VecVirtual, cols)
		for j := range bv {
			bv[j] = m.vector()
			from := bAt.at(b, j)
			from.Disp = disp
			load(from, bv[j])
		}
		for i := range rows {
			av := m.vector()
			from := aAt.at(a, i)
			from.Disp = disp
			load(from, av)
			for j := range bv {
				m.fma231(bv[j], av, acc[i][j])
			}
		}
	}
	whole := func(from operand.Mem, to reg.VecVirtual) { m.move(from, to) }
	SUBQ(operand.Imm(uint64(split)), k)
	JL(operand.LabelRef("rest"))
	Label("loop")
	for s := range split {
		step(acc[s], s*bytes, whole)
	}
	ADDQ(operand.Imm(uint64(split*bytes)), a)
	ADDQ(operand.Imm(uint64(split*bytes)), b)
	SUBQ(operand.Imm(uint64(split)), k)
	JGE(operand.LabelRef("loop"))
	Label("rest")
	if split > 1 {
		ADDQ(operand.Imm(uint64(split)), k)
		JE(operand.LabelRef("tail"))
		step(acc[0], 0, whole)
		ADDQ(operand.Imm(uint64(bytes)), a)
		ADDQ(operand.Imm(uint64(bytes)), b)
	}
	Label("tail")
	TESTQ(t.count, t.count)
	JE(operand.LabelRef("finish"))
	step(acc[split-1], 0, t.load)
	Label("finish")
	for i := range rows {
		for j := range cols {
			for s := 1; s < split; s++ {
				m.add(acc[s][i][j], acc[0][i][j], acc[0][i][j])
			}
			m.fold(acc[0][i][j])
		}
	}
	alpha := XMM()
	if m.double {
		VMOVDDUP(param("alpha"), alpha)
	} else {
		VBROADCASTSS(param("alpha"), alpha)
	}
	c, cs := loadGP("c"), m.loadStride("cs")
	add := loadGP("add")
	TESTQ(add, add)
	x := func(i, j int) reg.VecVirtual { return acc[0][i][j].AsX().(reg.VecVirtual) }
	for i := range rows {
		label := fmt.Sprintf("store%d", i)
		to := operand.Mem{Base: c}
		high := operand.Mem{Base: c, Disp: 16}
		switch {
		case cols == 1 && m.double:
			VHADDPD(x(i, 0), x(i, 0), x(i, 0))
			VMULSD(alpha, x(i, 0), x(i, 0))
			JE(operand.LabelRef(label))
			VADDSD(to, x(i, 0), x(i, 0))
			Label(label)
			VMOVSD(x(i, 0), to)
		case cols == 1:
			VHADDPS(x(i, 0), x(i, 0), x(i, 0))
			VHADDPS(x(i, 0), x(i, 0), x(i, 0))
			VMULSS(alpha, x(i, 0), x(i, 0))
			JE(operand.LabelRef(label))
			VADDSS(to, x(i, 0), x(i, 0))
			Label(label)
			VMOVSS(x(i, 0), to)
		case m.double:
			VHADDPD(x(i, 1), x(i, 0), x(i, 0))
			VHADDPD(x(i, 3), x(i, 2), x(i, 2))
			VMULPD(alpha, x(i, 0), x(i, 0))
			VMULPD(alpha, x(i, 2), x(i, 2))
			JE(operand.LabelRef(label))
			VADDPD(to, x(i, 0), x(i, 0))
			VADDPD(high, x(i, 2), x(i, 2))
			Label(label)
			VMOVUPD(x(i, 0), to)
			VMOVUPD(x(i, 2), high)
		default:
			VHADDPS(x(i, 1), x(i, 0), x(i, 0))
			VHADDPS(x(i, 3), x(i, 2), x(i, 2))
			VHADDPS(x(i, 2), x(i, 0), x(i, 0))
			VMULPS(alpha, x(i, 0), x(i, 0))
			JE(operand.LabelRef(label))
			VADDPS(to, x(i, 0), x(i, 0))
			Label(label)
			VMOVUPS(x(i, 0), to)
		}
		if i < rows-1 {
			LEAQ(operand.Mem{Base: c, Index: cs, Scale: 1}, c) // keeps the flags
		}
	}
	m.done()
}

// axpy writes the sum of rows contiguous rows of B, each times its own factor, to a row of C.
func (m machine) axpy(rows int) {
	e := m.element()
	m.begin(fmt.Sprintf("Axpy%d", rows), fmt.Sprintf("n int, x *%s, xs int, b *%s, bs int, c *%s, alpha %s, add int", e, e, e, e),
		fmt.Sprintf("computes n elements of a row of C from %d rows of B.", rows))
	n := loadGP("n")
	t := m.tailOf(n)
	xs, bs := m.loadStride("xs"), m.loadStride("bs")
	x := rowPointers(loadGP("x"), xs, rows)
	xAt := newRowAddress(xs, min(rows, group))
	alpha := m.vector()
	m.broadcast(param("alpha"), alpha)
	factor := make([]reg.VecVirtual, rows)
	for r := range factor {
		factor[r] = m.vector()
		m.broadcast(xAt.at(x[r/group], r%group), factor[r])
		m.mul(alpha, factor[r], factor[r])
	}
	b := rowPointers(loadGP("b"), bs, rows)
	bAt := newRowAddress(bs, min(rows, group))
	c, add := loadGP("c"), loadGP("add")
	bytes := m.lanes() * m.size()
	body := func(masked bool, label string) {
		sum := m.vector()
		m.zero(sum)
		TESTQ(add, add)
		JE(operand.LabelRef(label))
		to := operand.Mem{Base: c}
		if masked {
			t.load(to, sum)
		} else {
			m.move(to, sum)
		}
		Label(label)
		second := m.vector()
		m.zero(second)
		for r := range factor {
			from := bAt.at(b[r/group], r%group)
			to := sum
			if r%2 == 1 {
				to = second
			}
			if masked {
				v := m.vector()
				t.load(from, v)
				m.fma231(v, factor[r], to)
			} else {
				m.fma231(from, factor[r], to)
			}
		}
		m.add(second, sum, sum)
		if masked {
			t.store(sum, to, label)
		} else {
			m.move(sum, to)
		}
	}
	TESTQ(n, n)
	JE(operand.LabelRef("rest"))
	Label("loop")
	body(false, "whole")
	for _, p := range b {
		ADDQ(operand.Imm(uint64(bytes)), p)
	}
	ADDQ(operand.Imm(uint64(bytes)), c)
	DECQ(n)
	JNE(operand.LabelRef("loop"))
	Label("rest")
	TESTQ(t.count, t.count)
	JE(operand.LabelRef("finish"))
	body(true, "part")
	Label("finish")
	m.done()
}

// reduce writes the inner product of two vectors, widened to float64 if they are float32.
func (m machine) reduce() {
	e := m.element()
	d := machine{wide: m.wide, double: true}
	m.begin("Inner", fmt.Sprintf("n int, a, b *%s) (sum float64", e), "is the inner product in float64 of n elements, n a multiple of 32.")
	n, a, b := loadGP("n"), loadGP("a"), loadGP("b")
	const unroll = 32
	count := unroll / d.lanes()
	acc := grid(d.vector, 1, count)[0]
	for _, v := range acc {
		d.zero(v)
	}
	Label("loop")
	for i, v := range acc {
		at := operand.Mem{Base: a, Disp: i * d.lanes() * m.size()}
		bt := operand.Mem{Base: b, Disp: i * d.lanes() * m.size()}
		x := d.vector()
		if m.double {
			VMOVUPD(at, x)
			VFMADD231PD(bt, x, v)
			continue
		}
		y := d.vector()
		VCVTPS2PD(at, x)
		VCVTPS2PD(bt, y)
		VFMADD231PD(y, x, v)
	}
	ADDQ(operand.U32(uint32(unroll*m.size())), a)
	ADDQ(operand.U32(uint32(unroll*m.size())), b)
	SUBQ(operand.Imm(unroll), n)
	JNE(operand.LabelRef("loop"))
	for width := count / 2; width >= 1; width /= 2 {
		for i := range width {
			VADDPD(acc[i+width], acc[i], acc[i])
		}
	}
	d.fold(acc[0])
	VHADDPD(acc[0].AsX(), acc[0].AsX(), acc[0].AsX())
	Store(acc[0].AsX(), ReturnIndex(0))
	m.done()
}

// copyRows writes a copy of rows of float32, to float64 if widened. Lines of the row that is ahead rows further are fetched on the way: where
// rows are short and far apart in memory, the processor would not see them coming.
func copyRows(widened bool) {
	m := machine{}
	name, to := "copyRowsAVX2", "float32"
	if widened {
		name, to = "widenRowsAVX2", "float64"
	}
	TEXT(name, NOSPLIT, "func(rows, cols int, src *float32, ss int, dst *"+to+", ds, ahead int)")
	Pragma("noescape")
	Doc(name + " copies rows of cols elements, rows ≥ 1; the source's lie ss apart, the copies ds.")
	rows, cols := loadGP("rows"), loadGP("cols")
	vectors := GP64()
	MOVQ(cols, vectors)
	t := m.tailOf(vectors)
	src, dst := loadGP("src"), loadGP("dst")
	ss, ds := m.loadStride("ss"), machine{double: widened}.loadStride("ds")
	ahead := loadGP("ahead")
	IMULQ(ss, ahead)
	move := func(load func(operand.Mem, reg.VecVirtual), from, to operand.Mem, whole bool) {
		x := YMM()
		load(from, x)
		if !widened {
			if whole {
				VMOVUPS(x, to)
			} else {
				VMASKMOVPS(x, t.v, to)
			}
			return
		}
		half, low, high := XMM(), YMM(), YMM()
		VEXTRACTF128(operand.Imm(1), x, half)
		VCVTPS2PD(x.AsX(), low)
		VCVTPS2PD(half, high)
		VMOVUPD(low, to)
		to.Disp += 32
		VMOVUPD(high, to)
	}
	if !widened { // rows of one or two vectors, of which none are fetched
		TESTQ(ahead, ahead)
		JNE(operand.LabelRef("row"))
		for n := 1; n <= 2; n++ {
			label := fmt.Sprintf("short%d", n)
			CMPQ(cols, operand.Imm(uint64(8*n)))
			JNE(operand.LabelRef("not" + label))
			Label(label)
			for i := range n {
				x := YMM()
				VMOVUPS(operand.Mem{Base: src, Disp: 32 * i}, x)
				VMOVUPS(x, operand.Mem{Base: dst, Disp: 32 * i})
			}
			ADDQ(ss, src)
			ADDQ(ds, dst)
			DECQ(rows)
			JNE(operand.LabelRef(label))
			VZEROUPPER()
			RET()
			Label("not" + label)
		}
	}
	Label("row")
	from, into, left, next := GP64(), GP64(), GP64(), GP64()
	MOVQ(src, from)
	MOVQ(dst, into)
	MOVQ(vectors, left)
	LEAQ(operand.Mem{Base: src, Index: ahead, Scale: 1}, next)
	TESTQ(left, left)
	JE(operand.LabelRef("rest"))
	Label("vector")
	PREFETCHT0(operand.Mem{Base: next})
	move(func(m operand.Mem, v reg.VecVirtual) { VMOVUPS(m, v) }, operand.Mem{Base: from}, operand.Mem{Base: into}, true)
	ADDQ(operand.Imm(32), from)
	ADDQ(operand.Imm(32), next)
	if widened {
		ADDQ(operand.Imm(64), into)
	} else {
		ADDQ(operand.Imm(32), into)
	}
	DECQ(left)
	JNE(operand.LabelRef("vector"))
	Label("rest")
	TESTQ(t.count, t.count)
	JE(operand.LabelRef("next"))
	PREFETCHT0(operand.Mem{Base: next})
	if widened {
		MOVQ(t.count, left)
		Label("scalar")
		x := XMM()
		VCVTSS2SD(operand.Mem{Base: from}, x, x)
		VMOVSD(x, operand.Mem{Base: into})
		ADDQ(operand.Imm(4), from)
		ADDQ(operand.Imm(8), into)
		DECQ(left)
		JNE(operand.LabelRef("scalar"))
	} else {
		move(t.load, operand.Mem{Base: from}, operand.Mem{Base: into}, false)
	}
	Label("next")
	ADDQ(ss, src)
	ADDQ(ds, dst)
	DECQ(rows)
	JNE(operand.LabelRef("row"))
	VZEROUPPER()
	RET()
}

// transpose writes the transposition of groups of 8 rows of float32, or 4 of float64; widened stores float64.
func (m machine) transpose(widened bool) {
	rows := m.lanes()
	name, to := "Transpose", m.element()
	if widened {
		name, to = "TransposeWiden", "float64"
	}
	m.begin(name, fmt.Sprintf("n, k int, src *%s, ss int, dst *%s, ds int", m.element(), to),
		fmt.Sprintf("copies n times %d rows of k elements, n positive and k a positive multiple of %[1]d, to k rows of n times %[1]d.", rows))
	wide := machine{double: to == "float64"}
	n, src, first := loadGP("n"), loadGP("src"), loadGP("dst")
	ss, ds := m.loadStride("ss"), wide.loadStride("ds")
	from := newRowAddress(ss, min(rows, group))
	Label("rows")
	k, dst, start := loadGP("k"), GP64(), GP64()
	MOVQ(first, dst)
	MOVQ(src, start)
	p := rowPointers(start, ss, rows)
	Label("loop")
	in := grid(m.vector, 1, rows)[0]
	for r, v := range in {
		m.move(from.at(p[r/group], r%group), v)
	}
	out := make([]reg.VecVirtual, rows)
	if m.double {
		t := grid(m.vector, 1, 4)[0]
		VUNPCKLPD(in[1], in[0], t[0])
		VUNPCKHPD(in[1], in[0], t[1])
		VUNPCKLPD(in[3], in[2], t[2])
		VUNPCKHPD(in[3], in[2], t[3])
		for i := range out {
			out[i] = m.vector()
			VPERM2F128(operand.Imm([]uint64{0x20, 0x31}[i/2]), t[i%2+2], t[i%2], out[i])
		}
	} else {
		// Pairs of rows, then fours, then halves of the register.
		t := grid(m.vector, 1, 8)[0]
		for i := 0; i < 8; i += 2 {
			VUNPCKLPS(in[i+1], in[i], t[i])
			VUNPCKHPS(in[i+1], in[i], t[i+1])
		}
		u := grid(m.vector, 1, 8)[0]
		for i := 0; i < 8; i += 4 {
			VSHUFPS(operand.Imm(0x44), t[i+2], t[i], u[i])
			VSHUFPS(operand.Imm(0xee), t[i+2], t[i], u[i+1])
			VSHUFPS(operand.Imm(0x44), t[i+3], t[i+1], u[i+2])
			VSHUFPS(operand.Imm(0xee), t[i+3], t[i+1], u[i+3])
		}
		for i := range out {
			out[i] = m.vector()
			VPERM2F128(operand.Imm([]uint64{0x20, 0x31}[i/4]), u[i%4+4], u[i%4], out[i])
		}
	}
	for _, v := range out {
		if !widened {
			m.move(v, operand.Mem{Base: dst})
			ADDQ(ds, dst)
			continue
		}
		low, half := YMM(), XMM()
		VEXTRACTF128(operand.Imm(1), v, half)
		VCVTPS2PD(v.AsX(), low)
		VMOVUPD(low, operand.Mem{Base: dst})
		VCVTPS2PD(half, low)
		VMOVUPD(low, operand.Mem{Base: dst, Disp: 32})
		ADDQ(ds, dst)
	}
	for _, q := range p {
		ADDQ(operand.Imm(uint64(rows*m.size())), q)
	}
	SUBQ(operand.Imm(uint64(rows)), k)
	JNE(operand.LabelRef("loop"))
	LEAQ(operand.Mem{Base: src, Index: ss, Scale: uint8(min(rows, 8))}, src)
	ADDQ(operand.Imm(uint64(rows*wide.size())), first)
	DECQ(n)
	JNE(operand.LabelRef("rows"))
	m.done()
}

// eliminate writes the elimination of a panel of a symmetric matrix beside the identity: rows of 2·panel elements, of which panel+8 from the
// pivot's group of eight on are not zero.
func (m machine) eliminate(panel int) {
	m.begin(fmt.Sprintf("Eliminate%d", panel), "w int, x *float64) (done int", fmt.Sprintf(
		"eliminates w ≥ 1 columns of rows of %d elements and returns w, or the number of the pivot that is not positive.", 2*panel))
	w, pivot := loadGP("w"), loadGP("x")
	row, c := GP64(), GP64()
	MOVQ(pivot, row)
	XORQ(c, c)
	zero, one, ones := XMM(), XMM(), GP64()
	VXORPD(zero, zero, zero)
	MOVQ(operand.U64(0x3ff0000000000000), ones)
	MOVQ(ones, one)
	stride := 2 * panel * m.size()
	bytes := m.lanes() * m.size()
	v := grid(m.vector, 1, (panel+8)/m.lanes())[0]
	Label("pivot")
	d, root := XMM(), XMM()
	VMOVSD(operand.Mem{Base: pivot}, d)
	VUCOMISD(zero, d)
	JLS(operand.LabelRef("end")) // also where it is not a number
	VSQRTSD(d, d, root)
	VDIVSD(root, one, root)
	scale := m.vector()
	VBROADCASTSD(root, scale)
	start := GP64()
	MOVQ(c, start)
	ANDQ(operand.Imm(0x78), start)
	LEAQ(operand.Mem{Base: row, Index: start, Scale: 8}, start)
	for i, x := range v {
		at := operand.Mem{Base: start, Disp: i * bytes}
		m.mul(at, scale, x)
		m.move(x, at)
	}
	factor, left := GP64(), GP64()
	MOVQ(pivot, factor)
	MOVQ(w, left)
	SUBQ(c, left)
	JMP(operand.LabelRef("next"))
	Label("row")
	ADDQ(operand.Imm(8), factor)
	ADDQ(operand.U32(uint32(stride)), start)
	f := m.vector()
	m.broadcast(operand.Mem{Base: factor}, f)
	for i, x := range v {
		at := operand.Mem{Base: start, Disp: i * bytes}
		y := m.vector()
		m.move(at, y)
		VFNMADD231PD(x, f, y)
		m.move(y, at)
	}
	Label("next")
	DECQ(left)
	JNE(operand.LabelRef("row"))
	ADDQ(operand.U32(uint32(stride)), row)
	ADDQ(operand.U32(uint32(stride+m.size())), pivot)
	INCQ(c)
	CMPQ(c, w)
	JNE(operand.LabelRef("pivot"))
	Label("end")
	Store(c, ReturnIndex(0))
	m.done()
}
