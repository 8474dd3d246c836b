// Command gen writes the assembly of packages gemm and vec, and the tables that list gemm's:
//
//	go run . -what products -out ../products_amd64.s -stubs ../products_amd64.go -pkg gemm -tables ../tables_amd64.go
//	go run . -what activations -out ../../vec/vec_amd64.s -stubs ../../vec/vec_amd64.go -pkg vec
//	go run . -what training -out ../../vec/training_amd64.s -stubs ../../vec/training_amd64.go -pkg vec
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// laneMask is eight words of ones and eight of zeros: read from inside, it selects leading lanes.
var laneMask operand.Mem

func main() {
	what := flag.String("what", "products", "the kernels to write: products, activations or training")
	tables := flag.String("tables", "", "where to write the tables of the products' kernels")
	flag.Parse()
	ConstraintExpr("amd64")
	laneMask = GLOBL("laneMask", attr.RODATA|attr.NOPTR)
	for i := range 16 {
		DATA(4*i, operand.U32(uint32(i/8)-1))
	}
	switch *what {
	case "activations":
		writeActivations()
	case "training":
		writeTraining()
	default:
		writeProducts()
	}
	Generate()
	err := checkRegisters(flag.Lookup("out").Value.String())
	if err == nil && *tables != "" {
		err = os.WriteFile(*tables, listing(), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func writeProducts() {
	for _, m := range machines {
		for _, s := range m.shapes() {
			m.micro(s.rows, s.vectors, fetchNothing)
		}
		if s, ok := m.fetching(); ok {
			m.micro(s.rows, s.vectors, fetchColumns)
			m.micro(s.rows, s.vectors, fetchRows)
		}
		for _, rows := range m.dotRows() {
			m.dot(rows, 4)
			m.dot(rows, 1)
		}
		m.axpy(8)
		m.axpy(1)
		m.reduce()
		if !m.wide {
			m.transpose(false)
		}
	}
	for _, panel := range []int{16, 32} {
		machine{wide: true, double: true}.eliminate(panel)
		machine{double: true}.eliminate(panel)
	}
	machine{}.transpose(true)
	copyRows(false)
	copyRows(true)
}

// machine is a vector width and an element type.
type machine struct{ wide, double bool }

var machines = []machine{{wide: true}, {}, {wide: true, double: true}, {double: true}}

// dotRows are the numbers of rows that inner products are taken of at a time.
func (m machine) dotRows() []int {
	if m.wide {
		return []int{4, 2, 1}
	}
	return []int{2, 1}
}

// shape is a block of C in registers: rows times vectors.
type shape struct{ rows, vectors int }

// shapes are the blocks there is a kernel for. The largest of each width fill the registers: 24 of 32, or 12 of 16.
func (m machine) shapes() []shape {
	rows := map[int][]int{1: {6, 4, 2, 1}, 2: {6, 4, 2, 1}}
	if m.wide {
		rows = map[int][]int{1: {12, 8, 4, 2, 1}, 2: {12, 8, 4, 2, 1}, 3: {8, 4, 2, 1}, 4: {6, 4, 2, 1}}
	}
	var s []shape
	for v := 1; v <= len(rows); v++ {
		for _, r := range rows[v] {
			s = append(s, shape{r, v})
		}
	}
	return s
}

// fetching is the block that there are other kernels of, which fetch A in place.
func (m machine) fetching() (s shape, ok bool) { return shape{6, 4}, m.wide }

func (m machine) lanes() int {
	n := 8
	if m.wide {
		n *= 2
	}
	if m.double {
		n /= 2
	}
	return n
}

func (m machine) size() int {
	if m.double {
		return 8
	}
	return 4
}

func (m machine) element() string {
	if m.double {
		return "float64"
	}
	return "float32"
}

// prefix names the tier.
func (m machine) prefix() string {
	s := "f32"
	if m.double {
		s = "f64"
	}
	if m.wide {
		return s + "AVX512"
	}
	return s + "AVX2"
}

func (m machine) vector() reg.VecVirtual {
	if m.wide {
		return ZMM()
	}
	return YMM()
}

// pick is the instruction of the element type.
func (m machine) pick(single, double func(...operand.Op)) func(...operand.Op) {
	if m.double {
		return double
	}
	return single
}

func (m machine) fma231(ops ...operand.Op) { m.pick(VFMADD231PS, VFMADD231PD)(ops...) }
func (m machine) fma213(ops ...operand.Op) { m.pick(VFMADD213PS, VFMADD213PD)(ops...) }
func (m machine) add(ops ...operand.Op)    { m.pick(VADDPS, VADDPD)(ops...) }
func (m machine) mul(ops ...operand.Op)    { m.pick(VMULPS, VMULPD)(ops...) }
func (m machine) move(ops ...operand.Op)   { m.pick(VMOVUPS, VMOVUPD)(ops...) }

func (m machine) zero(v reg.VecVirtual) {
	if m.wide {
		VPXORQ(v, v, v)
	} else {
		VXORPS(v, v, v)
	}
}

func (m machine) broadcast(from operand.Mem, to reg.VecVirtual) {
	if m.double {
		VBROADCASTSD(from, to)
	} else {
		VBROADCASTSS(from, to)
	}
}

// tail selects the lanes of the last vector: a mask register, or a vector whose sign bits are set.
type tail struct {
	m     machine
	count reg.GPVirtual
	k     reg.OpmaskVirtual
	v     reg.VecVirtual
}

func (m machine) newTail(count reg.GPVirtual) tail {
	t := tail{m: m, count: count}
	if m.wide {
		bits := GP32()
		MOVQ(t.count, reg.RCX)
		MOVL(operand.U32(1), bits)
		SHLL(reg.CL, bits)
		DECL(bits)
		t.k = K()
		KMOVW(bits, t.k)
		return t
	}
	base, at := GP64(), GP64()
	LEAQ(laneMask, base)
	MOVQ(operand.U32(uint32(m.lanes())), at)
	SUBQ(t.count, at)
	t.v = YMM()
	VMOVUPS(operand.Mem{Base: base, Index: at, Scale: uint8(m.size())}, t.v)
	return t
}

// load reads the selected lanes; the others become zero and are not touched in memory.
func (t tail) load(from operand.Mem, to reg.VecVirtual) {
	if t.m.wide {
		t.m.pick(three(VMOVUPS_Z), three(VMOVUPD_Z))(from, t.k, to)
		return
	}
	t.m.pick(three(VMASKMOVPS), three(VMASKMOVPD))(from, t.v, to)
}

func three(f func(a, b, c operand.Op)) func(...operand.Op) {
	return func(ops ...operand.Op) { f(ops[0], ops[1], ops[2]) }
}

// store writes the selected lanes. VMASKMOV stores are slow on some processors, so that full vectors take another way.
func (t tail) store(from reg.VecVirtual, to operand.Mem, label string) {
	if t.m.wide {
		t.m.move(from, t.k, to)
		return
	}
	CMPQ(t.count, operand.Imm(uint64(t.m.lanes())))
	JNE(operand.LabelRef(label + "masked"))
	t.m.move(from, to)
	JMP(operand.LabelRef(label + "done"))
	Label(label + "masked")
	t.m.pick(three(VMASKMOVPS), three(VMASKMOVPD))(from, t.v, to)
	Label(label + "done")
}

// rowAddress gives the memory of rows 0…5 of a pointer group: multiples of one stride by scaled indexing.
type rowAddress struct{ one, three, five reg.GPVirtual }

func newRowAddress(stride reg.GPVirtual, rows int) rowAddress {
	r := rowAddress{one: stride}
	if rows > 3 {
		r.three = GP64()
		LEAQ(operand.Mem{Base: stride, Index: stride, Scale: 2}, r.three)
	}
	if rows > 5 {
		r.five = GP64()
		LEAQ(operand.Mem{Base: stride, Index: stride, Scale: 4}, r.five)
	}
	return r
}

func (r rowAddress) at(base reg.Register, row int) operand.Mem {
	m := operand.Mem{Base: base, Scale: 1}
	switch row {
	case 0:
		return operand.Mem{Base: base}
	case 1, 2, 4:
		m.Index, m.Scale = r.one, uint8(row)
	case 3:
		m.Index = r.three
	case 5:
		m.Index = r.five
	}
	return m
}

// latency is the number of multiply-adds in flight that keep two units of four cycles busy.
const latency = 8

const group = 6 // rows addressed from one pointer

// rowsAhead is how many k ahead a kernel fetches A into the second-level cache: far enough for memory shared by all cores, few enough for rows
// a power of two apart, which meet in a few of its sets.
const rowsAhead = 32

// fetched is what a kernel fetches of A into the second-level cache.
type fetched int

const (
	fetchNothing fetched = iota
	fetchColumns         // those to come, of rows that are neighbours in memory and k far apart
	fetchRows            // the rows of the next block, each contiguous: the processor's own fetching begins anew with every row
)

func (f fetched) suffix() string { return [...]string{"", "Ahead", "Below"}[f] }

// micro writes a kernel of rows × vectors accumulators. Blocks too small to hide the latency of a multiply-add run several k at a time
// into accumulators of their own, added at the end.
func (m machine) micro(rows, vectors int, fetch fetched) {
	split := 1
	for split*rows*vectors < latency {
		split *= 2
	}
	e := m.element()
	name, how := fmt.Sprintf("R%dV%d", rows, vectors)+fetch.suffix(), "."
	if fetch != fetchNothing {
		how = ", fetching A ahead."
	}
	m.begin(name, fmt.Sprintf("k int, a *%s, rs, ks int, b *%s, bs int, c *%s, cs int, alpha %s, tail, add int", e, e, e, e),
		fmt.Sprintf("computes %d rows of %d vectors of C%s", rows, vectors, how))
	t := m.newTail(loadGP("tail"))
	k, b := loadGP("k"), loadGP("b")
	bs, ks, rs := m.loadStride("bs"), m.loadStride("ks"), m.loadStride("rs")
	address := newRowAddress(rs, min(rows, group))
	a := rowPointers(loadGP("a"), rs, rows)
	far := GP64()
	switch fetch {
	case fetchColumns:
		IMUL3Q(operand.Imm(rowsAhead), ks, far)
	case fetchRows:
		far = rowPointers(a[0], rs, 2*rows)[rows/group].(reg.GPVirtual)
	}
	m.prefetchC(rows, vectors)
	acc := make([][][]reg.VecVirtual, split)
	for s := range acc {
		acc[s] = make([][]reg.VecVirtual, rows)
		for r := range acc[s] {
			for range vectors {
				v := m.vector()
				m.zero(v)
				acc[s][r] = append(acc[s][r], v)
			}
		}
	}
	bytes := m.lanes() * m.size()
	step := func(acc [][]reg.VecVirtual, masked bool) {
		bv := make([]reg.VecVirtual, vectors)
		for v := range bv {
			bv[v] = m.vector()
			from := operand.Mem{Base: b, Disp: v * bytes}
			if masked && v == vectors-1 {
				t.load(from, bv[v])
			} else {
				m.move(from, bv[v])
			}
		}
		switch fetch {
		case fetchColumns:
			for _, r := range []int{0, rows - 1} { // the line may end between them
				PREFETCHT1(operand.Mem{Base: a[0], Index: far, Scale: 1, Disp: r * m.size()})
			}
		case fetchRows:
			for r := range rows {
				PREFETCHT1(address.at(far, r))
			}
			ADDQ(ks, far)
		}
		for r := range acc {
			from := address.at(a[r/group], r%group)
			if m.wide && vectors == 1 {
				m.pick(VFMADD231PS_BCST, VFMADD231PD_BCST)(from, bv[0], acc[r][0])
				continue
			}
			x := m.vector()
			m.broadcast(from, x)
			for v := range bv {
				m.fma231(bv[v], x, acc[r][v])
			}
		}
		for _, p := range a {
			ADDQ(ks, p)
		}
		ADDQ(bs, b)
	}
	if m.wide {
		m.multiply(k, acc, "", func(acc [][]reg.VecVirtual) { step(acc, true) })
	} else { // masked loads are slower than others
		CMPQ(t.count, operand.Imm(uint64(m.lanes())))
		JNE(operand.LabelRef("masked"))
		m.multiply(k, acc, "", func(acc [][]reg.VecVirtual) { step(acc, false) })
		JMP(operand.LabelRef("sum"))
		Label("masked")
		m.multiply(k, acc, "Masked", func(acc [][]reg.VecVirtual) { step(acc, true) })
		Label("sum")
	}
	for width := split / 2; width >= 1; width /= 2 {
		for s := range width {
			for r := range rows {
				for v := range vectors {
					m.add(acc[s+width][r][v], acc[s][r][v], acc[s][r][v])
				}
			}
		}
	}
	alpha := m.vector()
	m.broadcast(param("alpha"), alpha)
	cs := m.loadStride("cs")
	c := rowPointers(loadGP("c"), cs, rows)
	address = newRowAddress(cs, min(rows, group))
	add := loadGP("add")
	TESTQ(add, add)
	JE(operand.LabelRef("overwrite"))
	m.finish(acc[0], alpha, c, address, t, true, "a")
	m.done()
	Label("overwrite")
	m.finish(acc[0], alpha, c, address, t, false, "o")
	m.done()
}

// multiply loops over k, as many steps at a time as there are sets of accumulators.
func (m machine) multiply(k reg.GPVirtual, acc [][][]reg.VecVirtual, label string, step func(acc [][]reg.VecVirtual)) {
	split := operand.Imm(uint64(len(acc)))
	if len(acc) > 1 {
		SUBQ(split, k)
		JL(operand.LabelRef("rest" + label))
	}
	Label("loop" + label)
	for _, set := range acc {
		step(set)
	}
	if len(acc) == 1 {
		DECQ(k)
		JNE(operand.LabelRef("loop" + label))
		return
	}
	SUBQ(split, k)
	JGE(operand.LabelRef("loop" + label))
	Label("rest" + label)
	ADDQ(split, k)
	JE(operand.LabelRef("finish" + label))
	Label("single" + label)
	step(acc[0])
	DECQ(k)
	JNE(operand.LabelRef("single" + label))
	Label("finish" + label)
}

// prefetchC fetches the block of C, which is needed at the end.
func (m machine) prefetchC(rows, vectors int) {
	cs := m.loadStride("cs")
	c := rowPointers(loadGP("c"), cs, rows)
	address := newRowAddress(cs, min(rows, group))
	for r := range rows {
		for at := 0; at < vectors*m.lanes()*m.size(); at += 64 {
			to := address.at(c[r/group], r%group)
			to.Disp = at
			PREFETCHT0(to)
		}
	}
}

func (m machine) name(rows, vectors int) string {
	return fmt.Sprintf("%sR%dV%d", m.prefix(), rows, vectors)
}

// finish scales the accumulators and adds them to C or replaces it.
func (m machine) finish(acc [][]reg.VecVirtual, alpha reg.VecVirtual, c []reg.Register, address rowAddress, t tail, add bool, label string) {
	for r, row := range acc {
		for v, x := range row {
			at := address.at(c[r/group], r%group)
			at.Disp = v * m.lanes() * m.size()
			last := v == len(row)-1
			switch {
			case !add:
				m.mul(alpha, x, x)
			case !last:
				m.fma213(at, alpha, x)
			default:
				old := m.vector()
				t.load(at, old)
				m.fma213(old, alpha, x)
			}
			if last {
				t.store(x, at, fmt.Sprintf("%s%d", label, r))
			} else {
				m.move(x, at)
			}
		}
	}
}

func (m machine) done() {
	VZEROUPPER()
	RET()
}
