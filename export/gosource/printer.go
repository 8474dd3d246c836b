package gosource

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/trconvert/trconvert/export/source"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// printer writes steps as Go.
type printer struct {
	b       strings.Builder
	used    map[string]bool // kernels
	inputs  []source.Port   // of the entry that is being printed
	outputs []source.Port
	states  []source.Port
	refuse  string // what a step returns for an index out of range
}

func (p *printer) Line(format string, args ...any) {
	if len(args) > 0 {
		format = fmt.Sprintf(format, args...)
	}
	p.b.WriteString(format + "\n")
}

// place is a slice of a buffer, from an element on.
func (p *printer) place(b *source.Buffer, offset int) string {
	s := ""
	switch b.Space {
	case source.Const:
		s = "w.c" + strconv.Itoa(b.Index)
	case source.Merged:
		offset += b.Offset
		s = "w.merged" + exported(b.Elem.String())
	case source.Input:
		s = "in." + exported(p.inputs[b.Index].Ident)
	case source.Output:
		s = "out." + exported(p.outputs[b.Index].Ident)
	case source.State:
		s = "m.state." + exported(p.states[b.Index].Ident)
	default:
		offset += b.Offset
		s = "m." + b.Elem.String() + "s"
	}
	if offset != 0 {
		s += "[" + strconv.Itoa(offset) + ":]"
	}
	return s
}

// exported makes an exported name of an identifier in lower case with underscores. Those before a digit stay, so that different identifiers have different names.
func exported(ident string) string {
	var b strings.Builder
	for k := range len(ident) {
		c := ident[k]
		switch {
		case c == '_' && k+1 < len(ident) && ident[k+1] >= 'a' && ident[k+1] <= 'z':
		case c >= 'a' && c <= 'z' && (k == 0 || ident[k-1] == '_'):
			b.WriteByte(c - 'a' + 'A')
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

var operandNames = []string{"a", "b", "c"}

func (p *printer) loops(dims []int, first int) {
	for k, n := range dims {
		p.Line("for i%d := range %d {", first+k, n)
	}
}

func (p *printer) close(n int) {
	for range n {
		p.Line("}")
	}
}

func (p *printer) steps(list []source.Step) { source.Print(list, p) }

// Note prints a comment.
func (p *printer) Note(text string) { p.Line("// %s", text) }

func (p *printer) reads(out source.Ref, in []source.Ref) []string {
	p.Line("o := %s", p.place(out.Buf, 0))
	var reads []string
	for k, r := range in {
		p.Line("%s := %s", operandNames[k], p.place(r.Buf, 0))
		read := operandNames[k] + "[" + r.At() + "]"
		if source.Int8Weights(in, k) {
			read = "float32(" + read + ")"
		}
		reads = append(reads, read)
	}
	return reads
}

func (p *printer) Nest(s *source.Nest) {
	reads := p.reads(s.Out, s.In)
	p.loops(s.Dims, 0)
	p.Line("o[%s] = %s", s.Out.At(), p.expr(s.Expr, s.ReadElem(), s.Out.Buf.Elem, reads...))
	p.close(len(s.Dims))
}

// start is what a reduction begins with.
func start(combine string, e source.Elem) string {
	switch combine {
	case "prod":
		return "1"
	case "max":
		return map[source.Elem]string{source.Float32: "float32(math.Inf(-1))", source.Int32: "math.MinInt32", source.Int64: "math.MinInt64"}[e]
	case "min":
		return map[source.Elem]string{source.Float32: "float32(math.Inf(1))", source.Int32: "math.MaxInt32", source.Int64: "math.MaxInt64"}[e]
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
	p.loops(s.Dims[:s.Outer], 0)
	p.Line("var acc %s = %s", goTypes[e], start(s.Combine, e))
	p.loops(s.Dims[s.Outer:n], s.Outer)
	if dot {
		kernel := "dot"
		if s.In[1].Buf.Elem == source.Int8 {
			kernel = "dot8"
		}
		p.used[kernel] = true
		p.Line("acc += %s(b[%s:][:%d], a[%s:])", kernel, s.In[1].Outer(n).At(), s.Dims[n], s.In[0].Outer(n).At())
	} else {
		p.Line("v := %s", p.expr(s.Expr, s.In[0].Buf.Elem, e, reads...))
		p.Line("acc = %s", p.expr(s.Combination(), e, e, "acc", "v"))
	}
	p.close(n - s.Outer)
	p.Line("o[%s] = %s", s.Out.At(), p.expr(s.Finish, e, e, "acc"))
	p.close(s.Outer)
}

func (p *printer) Rows(s *source.Rows) {
	p.Line("o, a := %s, %s", p.place(s.Out, 0), p.place(s.X, 0))
	if s.M == 1 {
		p.Product("o", "a", s.W, s.Bias, s.N, s.K)
		return
	}
	p.Line("for i := range %d {", s.M)
	p.Product(fmt.Sprintf("o[i*%d:]", s.N), fmt.Sprintf("a[i*%d:]", s.K), s.W, s.Bias, s.N, s.K)
	p.Line("}")
}

// Product prints y = W·x + bias.
func (p *printer) Product(y, x string, w source.Weight, bias *source.Buffer, n, k int) {
	b := "nil"
	if bias != nil {
		b = p.place(bias, 0)
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
	weights := p.place(w.Buf, at)
	if w.Scale != nil {
		name += "8"
		weights += ", " + p.place(w.Scale, at/max(1, k))
	}
	p.used[name] = true
	p.Line("%s(%s, %s, %s, %s)", name, y, x, weights, rest)
}

func (p *printer) Lookup(s *source.Lookup) {
	p.Line("o, a, x := %s, %s, %s", p.place(s.Out, 0), p.place(s.Data, 0), p.place(s.Index, 0))
	p.loops([]int{s.Outer, s.Count}, 0)
	p.Line("k := int(x[i1])")
	p.Line("if k < 0 {")
	p.Line("k += %d", s.Axis)
	p.Line("}")
	p.Line("if k < 0 || k >= %d {", s.Axis)
	p.Line("return %s", p.refuse)
	p.Line("}")
	p.loops([]int{s.Inner}, 2)
	value := fmt.Sprintf("a[(i0*%d+k)*%d+i2]", s.Axis, s.Inner)
	if s.Scale != nil {
		value = fmt.Sprintf("float32(%s) * %s[k]", value, p.place(s.Scale, 0))
	}
	p.Line("o[(i0*%d+i1)*%d+i2] = %s", s.Count, s.Inner, value)
	p.close(3)
}

func (p *printer) Arg(s *source.Arg) {
	p.Line("o, a := %s, %s", p.place(s.Out, 0), p.place(s.In, 0))
	p.loops([]int{s.Outer}, 0)
	p.Line("for i2 := range %d {", s.Inner)
	p.Line("best := 0")
	p.Line("for i1 := 1; i1 < %d; i1++ {", s.Axis)
	at := func(v string) string { return fmt.Sprintf("a[(i0*%d+%s)*%d+i2]", s.Axis, v, s.Inner) }
	p.Line("if %s %s %s {", at("i1"), s.Better(), at("best"))
	p.Line("best = i1")
	p.close(2)
	p.Line("o[i0*%d+i2] = int64(best)", s.Inner)
	p.close(2)
}

func (p *printer) Running(s *source.Running) {
	p.Line("o, a := %s, %s", p.place(s.Out, 0), p.place(s.In, 0))
	p.loops([]int{s.Outer}, 0)
	p.Line("for i2 := range %d {", s.Inner)
	p.Line("var acc %s", goTypes[s.Out.Elem])
	p.loops([]int{s.Axis}, 1)
	at := "i1"
	if s.Reverse {
		at = fmt.Sprintf("%d - i1", s.Axis-1)
	}
	p.Line("at := (i0*%d+%s)*%d + i2", s.Axis, at, s.Inner)
	p.Line("v := a[at]")
	if s.Exclusive {
		p.Line("o[at] = acc")
	}
	p.Line("acc += v")
	if !s.Exclusive {
		p.Line("o[at] = acc")
	}
	p.close(3)
}

// recurrent prints one direction of a node, one row of the batch after the other.
func (p *printer) Recurrent(s *source.Recurrent, d int) {
	cfg := &s.Config
	h := cfg.Hidden
	p.Line("x, g := %s, %s", p.place(s.X, 0), p.place(s.Gates, 0))
	p.Line("h := %s[:%d]", p.place(s.Hidden, 0), h)
	if s.Cell != nil {
		p.Line("c := %s[:%d]", p.place(s.Cell, 0), h)
	}
	if s.Scratch != nil {
		p.Line("r := %s[:%d]", p.place(s.Scratch, 0), h)
	}
	if s.P != nil {
		p.Line("q := %s", p.place(s.P, d*3*h))
	}
	p.Line("for b := range %d {", s.Batch)
	steps := strconv.Itoa(s.Steps)
	if s.Lens != nil {
		steps = "n"
		p.Line("n := int(%s[b])", p.place(s.Lens, 0))
		p.Line("if n < 0 || n > %d {", s.Steps)
		p.Line("return %s", p.refuse)
		p.Line("}")
	}
	state := func(b *source.Buffer) string {
		return fmt.Sprintf("%s[b*%d+%d:][:%d]", p.place(b, 0), s.StateBatch, d*s.StateDirection, h)
	}
	begin := func(name string, from *source.Buffer) {
		if from == nil {
			p.Line("clear(%s)", name)
		} else {
			p.Line("copy(%s, %s)", name, state(from))
		}
	}
	begin("h", s.H0)
	if s.Cell != nil {
		begin("c", s.C0)
	}
	p.Line("for t := range %s {", steps)
	at := "t"
	if s.Backwards(d) {
		at = fmt.Sprintf("(%s-1-t)", steps)
	}
	p.Product("g", fmt.Sprintf("x[%s*%d+b*%d:]", at, s.XStep, s.XBatch), s.W[d], s.Bias[d], cfg.Op.Gates()*h, s.Inputs)
	s.PrintCell(d, p)
	if s.Y != nil {
		p.Line("copy(%s[%s*%d+b*%d+%d:], h)", p.place(s.Y, 0), at, s.YStep, s.YBatch, d*s.YDirection)
	}
	p.Line("}")
	if s.Lens != nil && s.Y != nil {
		p.Line("for t := n; t < %d; t++ {", s.Steps)
		p.Line("clear(%s[t*%d+b*%d+%d:][:%d])", p.place(s.Y, 0), s.YStep, s.YBatch, d*s.YDirection, h)
		p.Line("}")
	}
	if s.YH != nil {
		p.Line("copy(%s, h)", state(s.YH))
	}
	if s.YC != nil {
		p.Line("copy(%s, c)", state(s.YC))
	}
	p.Line("}")
}

// Act prints an activation of a variable.
func (p *printer) Act(a recurrent.Activation, clip float32, v string) string {
	if clip > 0 {
		v = p.expr(source.Expr{Op: "bound", Params: []float32{clip}}, source.Float32, source.Float32, v)
	}
	return p.expr(source.Activation(a), source.Float32, source.Float32, v)
}

func (p *printer) Let(name, value string)              { p.Line("%s := %s", name, value) }
func (p *printer) Set(target, operator, value string)  { p.Line("%s %s %s", target, operator, value) }
func (p *printer) From(array string, first int) string { return fmt.Sprintf("%s[%d:]", array, first) }

// Each is a loop over units.
func (p *printer) Each(n int, body func()) {
	p.Line("for k := range %d {", n)
	body()
	p.Line("}")
}
