package csource

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/trconvert/trconvert/export/source"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// printer writes steps as C.
type printer struct {
	b       strings.Builder
	depth   int
	used    map[string]bool // kernels
	inputs  []source.Port   // of the entry that is being printed
	outputs []source.Port
	states  []source.Port
	refuse  string // the statement for an index out of range
	bounds  int    // names of bounded values that were given
}

func (p *printer) Line(format string, args ...any) {
	text := format
	if len(args) > 0 {
		text = fmt.Sprintf(format, args...)
	}
	if strings.HasPrefix(text, "}") {
		p.depth--
	}
	p.b.WriteString(strings.Repeat("\t", p.depth) + text + "\n")
	if strings.HasSuffix(text, "{") {
		p.depth++
	}
}

// place is the address of a buffer's first element.
func (p *printer) place(b *source.Buffer) string {
	switch b.Space {
	case source.Const:
		return "w" + strconv.Itoa(b.Index)
	case source.Merged:
		return plus("merged_"+b.Elem.String(), b.Offset)
	case source.Input:
		return "in->" + p.inputs[b.Index].Ident
	case source.Output:
		return "out->" + p.outputs[b.Index].Ident
	case source.State:
		return "state->" + p.states[b.Index].Ident
	}
	return plus("arena_"+b.Elem.String(), b.Offset)
}

func plus(s string, n int) string {
	if n == 0 {
		return s
	}
	return s + " + " + strconv.Itoa(n)
}

// pointer declares a local name for a buffer.
func (p *printer) pointer(name string, b *source.Buffer, writes bool) {
	qualifier := "const "
	if writes {
		qualifier = ""
	}
	p.Line("%s%s *%s = %s;", qualifier, cTypes[b.Elem], name, p.place(b))
}

var operandNames = []string{"a", "b", "c"}

// loops opens loops over dims, numbered from first on.
func (p *printer) loops(dims []int, first int) {
	for k, n := range dims {
		v := "i" + strconv.Itoa(first+k)
		p.Line("for (%s = 0; %s < %d; %s++) {", v, v, n, v)
	}
}

func (p *printer) close(n int) {
	for range n {
		p.Line("}")
	}
}

func (p *printer) indices(n int) {
	if n == 0 {
		return
	}
	var names []string
	for k := range n {
		names = append(names, "i"+strconv.Itoa(k))
	}
	p.Line("int32_t %s;", strings.Join(names, ", "))
}

func (p *printer) steps(list []source.Step) { source.Print(list, p) }

// Note prints a comment.
func (p *printer) Note(text string) { p.Line("/* %s */", text) }

// reads declares the operands of an expression and gives the reads of their elements.
func (p *printer) reads(out source.Ref, in []source.Ref) []string {
	p.pointer("o", out.Buf, true)
	var reads []string
	for k, r := range in {
		p.pointer(operandNames[k], r.Buf, false)
		read := operandNames[k] + "[" + r.At() + "]"
		if source.Int8Weights(in, k) {
			read = "(float)" + read
		}
		reads = append(reads, read)
	}
	return reads
}

func (p *printer) Nest(s *source.Nest) {
	reads := p.reads(s.Out, s.In)
	p.indices(len(s.Dims))
	p.loops(s.Dims, 0)
	p.Line("o[%s] = %s;", s.Out.At(), p.expr(s.Expr, s.ReadElem(), s.Out.Buf.Elem, reads...))
	p.close(len(s.Dims))
}

// start is what a reduction begins with.
func start(combine string, e source.Elem) string {
	switch combine {
	case "prod":
		return "1"
	case "max":
		return map[source.Elem]string{source.Float32: "-INFINITY", source.Int32: "INT32_MIN", source.Int64: "INT64_MIN"}[e]
	case "min":
		return map[source.Elem]string{source.Float32: "INFINITY", source.Int32: "INT32_MAX", source.Int64: "INT64_MAX"}[e]
	}
	return "0"
}

func (p *printer) Reduce(s *source.Reduce) {
	e := s.Out.Buf.Elem
	reads := p.reads(s.Out, s.In)
	n, dot := len(s.Dims), s.Dot()
	if dot {
		n--
	}
	p.indices(n)
	p.loops(s.Dims[:s.Outer], 0)
	p.Line("%s acc = %s;", cTypes[e], start(s.Combine, e))
	p.loops(s.Dims[s.Outer:n], s.Outer)
	if dot {
		kernel := "dot"
		if s.In[1].Buf.Elem == source.Int8 {
			kernel = "dot8"
		}
		p.used[kernel] = true
		p.Line("acc += k_%s(b + (%s), a + (%s), %d);", kernel, s.In[1].Outer(n).At(), s.In[0].Outer(n).At(), s.Dims[n])
	} else {
		p.Line("%s v = %s;", cTypes[e], p.expr(s.Expr, s.In[0].Buf.Elem, e, reads...))
		p.Line("acc = %s;", p.expr(s.Combination(), e, e, "acc", "v"))
	}
	p.close(n - s.Outer)
	p.Line("o[%s] = %s;", s.Out.At(), p.expr(s.Finish, e, e, "acc"))
	p.close(s.Outer)
}

func (p *printer) Rows(s *source.Rows) {
	p.pointer("o", s.Out, true)
	p.pointer("a", s.X, false)
	if s.M != 1 {
		p.Line("int32_t m;")
		p.Line("for (m = 0; m < %d; m++, o += %d, a += %d) {", s.M, s.N, s.K)
	}
	p.Product("o", "a", s.W, s.Bias, s.N, s.K)
	if s.M != 1 {
		p.Line("}")
	}
}

// Product prints y = W·x + bias.
func (p *printer) Product(y, x string, w source.Weight, bias *source.Buffer, n, k int) {
	b := "0"
	if bias != nil {
		b = p.place(bias)
	}
	p.kernel("rows", y, x, w, 0, k, fmt.Sprintf("%s, %d, %d", b, n, k))
}

// AddProduct prints y += rows from first on of W times x.
func (p *printer) AddProduct(y, x string, w source.Weight, first, n, k int) {
	p.kernel("add", y, x, w, first, k, fmt.Sprintf("%d, %d", n, k))
}

// kernel calls a kernel on rows of W from first on, or its form for int8.
func (p *printer) kernel(name, y, x string, w source.Weight, first, k int, rest string) {
	at := w.Offset + first*k
	weights := plus(p.place(w.Buf), at)
	if w.Scale != nil {
		name += "8"
		weights += ", " + plus(p.place(w.Scale), at/max(1, k))
	}
	p.used[name] = true
	p.Line("k_%s(%s, %s, %s, %s);", name, y, x, weights, rest)
}

func (p *printer) Lookup(s *source.Lookup) {
	p.pointer("o", s.Out, true)
	p.pointer("a", s.Data, false)
	p.pointer("x", s.Index, false)
	if s.Scale != nil {
		p.pointer("s", s.Scale, false)
	}
	p.Line("int32_t i0, i1, i2;")
	p.loops([]int{s.Outer, s.Count}, 0)
	p.Line("int64_t k = x[i1];")
	p.Line("if (k < 0) {")
	p.Line("k += %d;", s.Axis)
	p.Line("}")
	p.Line("if (k < 0 || k >= %d) {", s.Axis)
	p.Line("%s", p.refuse)
	p.Line("}")
	p.loops([]int{s.Inner}, 2)
	value := fmt.Sprintf("a[(i0*%d + k)*%d + i2]", s.Axis, s.Inner)
	if s.Scale != nil {
		value = "(float)" + value + " * s[k]"
	}
	p.Line("o[(i0*%d + i1)*%d + i2] = %s;", s.Count, s.Inner, value)
	p.close(3)
}

func (p *printer) Arg(s *source.Arg) {
	p.pointer("o", s.Out, true)
	p.pointer("a", s.In, false)
	p.Line("int32_t i0, i1, i2;")
	p.loops([]int{s.Outer}, 0)
	p.Line("for (i2 = 0; i2 < %d; i2++) {", s.Inner)
	p.Line("int32_t best = 0;")
	p.Line("for (i1 = 1; i1 < %d; i1++) {", s.Axis)
	at := func(v string) string { return fmt.Sprintf("a[(i0*%d + %s)*%d + i2]", s.Axis, v, s.Inner) }
	p.Line("if (%s %s %s) {", at("i1"), s.Better(), at("best"))
	p.Line("best = i1;")
	p.close(2)
	p.Line("o[i0*%d + i2] = best;", s.Inner)
	p.close(2)
}

func (p *printer) Running(s *source.Running) {
	e := s.Out.Elem
	p.pointer("o", s.Out, true)
	p.pointer("a", s.In, false)
	p.Line("int32_t i0, i1, i2;")
	p.loops([]int{s.Outer}, 0)
	p.Line("for (i2 = 0; i2 < %d; i2++) {", s.Inner)
	p.Line("%s acc = 0;", cTypes[e])
	p.loops([]int{s.Axis}, 1)
	at := "i1"
	if s.Reverse {
		at = fmt.Sprintf("%d - i1", s.Axis-1)
	}
	p.Line("int32_t at = (i0*%d + %s)*%d + i2;", s.Axis, at, s.Inner)
	p.Line("%s v = a[at];", cTypes[e])
	sum := fmt.Sprintf("acc = %s;", p.expr(source.Expr{Op: "add"}, e, e, "acc", "v"))
	if s.Exclusive {
		p.Line("o[at] = acc;")
		p.Line("%s", sum)
	} else {
		p.Line("%s", sum)
		p.Line("o[at] = acc;")
	}
	p.close(3)
}

// recurrent prints one direction of a node, one row of the batch after the other.
func (p *printer) Recurrent(s *source.Recurrent, d int) {
	cfg := &s.Config
	h := cfg.Hidden
	p.pointer("x", s.X, false)
	p.pointer("g", s.Gates, true)
	p.pointer("h", s.Hidden, true)
	if s.Cell != nil {
		p.pointer("c", s.Cell, true)
	}
	if s.Scratch != nil {
		p.pointer("r", s.Scratch, true)
	}
	if s.P != nil {
		p.Line("const float *q = %s;", plus(p.place(s.P), d*3*h))
	}
	if s.Lens != nil {
		p.pointer("lens", s.Lens, false)
	}
	for k, b := range []*source.Buffer{s.Y, s.YH, s.YC, s.H0, s.C0} {
		if b != nil {
			p.pointer([]string{"y", "yh", "yc", "h0", "c0"}[k], b, k < 3)
		}
	}
	p.Line("int32_t b, t, k;")
	p.Line("for (b = 0; b < %d; b++) {", s.Batch)
	steps := strconv.Itoa(s.Steps)
	if s.Lens != nil {
		steps = "n"
		p.Line("int32_t n = (int32_t)lens[b];")
		p.Line("if (n < 0 || n > %d) {", s.Steps)
		p.Line("%s", p.refuse)
		p.Line("}")
	}
	state := fmt.Sprintf("[%s + k]", plus(fmt.Sprintf("b*%d", s.StateBatch), d*s.StateDirection))
	p.Each(h, func() {
		p.Line("h[k] = %s;", initial("h0", s.H0, state))
		if s.Cell != nil {
			p.Line("c[k] = %s;", initial("c0", s.C0, state))
		}
	})
	p.Line("for (t = 0; t < %s; t++) {", steps)
	at := "t"
	if s.Backwards(d) {
		p.Line("int32_t at = %s - 1 - t;", steps)
		at = "at"
	}
	p.Product("g", fmt.Sprintf("x + %s*%d + b*%d", at, s.XStep, s.XBatch), s.W[d], s.Bias[d], cfg.Op.Gates()*h, s.Inputs)
	s.PrintCell(d, p)
	if s.Y != nil {
		p.Each(h, func() {
			p.Line("y[%s*%d + b*%d + %d + k] = h[k];", at, s.YStep, s.YBatch, d*s.YDirection)
		})
	}
	p.Line("}")
	if s.Lens != nil && s.Y != nil {
		p.Line("for (t = n; t < %d; t++) {", s.Steps)
		p.Each(h, func() {
			p.Line("y[t*%d + b*%d + %d + k] = 0.0f;", s.YStep, s.YBatch, d*s.YDirection)
		})
		p.Line("}")
	}
	for k, b := range []*source.Buffer{s.YH, s.YC} {
		if b != nil {
			p.Each(h, func() { p.Line("%s%s = %s[k];", []string{"yh", "yc"}[k], state, []string{"h", "c"}[k]) })
		}
	}
	p.Line("}")
}

func initial(name string, b *source.Buffer, at string) string {
	if b == nil {
		return "0.0f"
	}
	return name + at
}

func (p *printer) Each(n int, body func()) {
	p.Line("for (k = 0; k < %d; k++) {", n)
	body()
	p.Line("}")
}

// Act prints an activation of a variable; a bound one gets a name where it is read more than once.
func (p *printer) Act(a recurrent.Activation, clip float32, v string) string {
	e := source.Activation(a)
	if clip > 0 {
		bound := p.expr(source.Expr{Op: "bound", Params: []float32{clip}}, source.Float32, source.Float32, v)
		if strings.Count(floatExpr[e.Op], "$0") <= 1 {
			return p.expr(e, source.Float32, source.Float32, bound)
		}
		p.bounds++
		v = "bound" + strconv.Itoa(p.bounds)
		p.Let(v, bound)
	}
	return p.expr(e, source.Float32, source.Float32, v)
}

func (p *printer) Let(name, value string)              { p.Line("float %s = %s;", name, value) }
func (p *printer) Set(target, operator, value string)  { p.Line("%s %s %s;", target, operator, value) }
func (p *printer) From(array string, first int) string { return plus(array, first) }
