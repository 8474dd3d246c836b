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

func (p *printer) line(format string, args ...any) {
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
		p.line("for i%d := range %d {", first+k, n)
	}
}

func (p *printer) close(n int) {
	for range n {
		p.line("}")
	}
}

func (p *printer) steps(list []source.Step) {
	for _, s := range list {
		switch s := s.(type) {
		case *source.Note:
			p.line("// %s", source.Comment(s.Text))
			continue
		case *source.Nest:
			p.line("{")
			p.nest(s)
		case *source.Reduce:
			p.line("{")
			p.reduce(s)
		case *source.Rows:
			p.line("{")
			p.rows(s)
		case *source.Lookup:
			p.line("{")
			p.lookup(s)
		case *source.Arg:
			p.line("{")
			p.arg(s)
		case *source.Running:
			p.line("{")
			p.running(s)
		case *source.Recurrent:
			for d := range s.W {
				p.line("{")
				p.recurrent(s, d)
				p.line("}")
			}
			continue
		}
		p.line("}")
	}
}

func (p *printer) reads(out source.Ref, in []source.Ref) []string {
	p.line("o := %s", p.place(out.Buf, 0))
	var reads []string
	for k, r := range in {
		p.line("%s := %s", operandNames[k], p.place(r.Buf, 0))
		read := operandNames[k] + "[" + r.At() + "]"
		if source.Int8Weights(in, k) {
			read = "float32(" + read + ")"
		}
		reads = append(reads, read)
	}
	return reads
}

func (p *printer) nest(s *source.Nest) {
	reads := p.reads(s.Out, s.In)
	p.loops(s.Dims, 0)
	p.line("o[%s] = %s", s.Out.At(), p.expr(s.Expr, s.ReadElem(), s.Out.Buf.Elem, reads...))
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

func (p *printer) reduce(s *source.Reduce) {
	e := s.Out.Buf.Elem
	reads := p.reads(s.Out, s.In)
	n, dot := len(s.Dims), s.Dot()
	if dot {
		n--
	}
	p.loops(s.Dims[:s.Outer], 0)
	p.line("var acc %s = %s", goTypes[e], start(s.Combine, e))
	p.loops(s.Dims[s.Outer:n], s.Outer)
	if dot {
		kernel := "dot"
		if s.In[1].Buf.Elem == source.Int8 {
			kernel = "dot8"
		}
		p.used[kernel] = true
		p.line("acc += %s(b[%s:][:%d], a[%s:])", kernel, s.In[1].Outer(n).At(), s.Dims[n], s.In[0].Outer(n).At())
	} else {
		p.line("v := %s", p.expr(s.Expr, s.In[0].Buf.Elem, e, reads...))
		p.line("acc = %s", p.expr(s.Combination(), e, e, "acc", "v"))
	}
	p.close(n - s.Outer)
	p.line("o[%s] = %s", s.Out.At(), p.expr(s.Finish, e, e, "acc"))
	p.close(s.Outer)
}

func (p *printer) rows(s *source.Rows) {
	p.line("o, a := %s, %s", p.place(s.Out, 0), p.place(s.X, 0))
	if s.M == 1 {
		p.product("o", "a", s.W, s.Bias, s.N, s.K)
		return
	}
	p.line("for i := range %d {", s.M)
	p.product(fmt.Sprintf("o[i*%d:]", s.N), fmt.Sprintf("a[i*%d:]", s.K), s.W, s.Bias, s.N, s.K)
	p.line("}")
}

// product prints y = W·x + bias.
func (p *printer) product(y, x string, w source.Weight, bias *source.Buffer, n, k int) {
	b := "nil"
	if bias != nil {
		b = p.place(bias, 0)
	}
	if w.Scale != nil {
		p.used["rows8"] = true
		p.line("rows8(%s, %s, %s, %s, %s, %d, %d)", y, x, p.place(w.Buf, w.Offset), p.place(w.Scale, w.Offset/max(1, k)), b, n, k)
		return
	}
	p.used["rows"] = true
	p.line("rows(%s, %s, %s, %s, %d, %d)", y, x, p.place(w.Buf, w.Offset), b, n, k)
}

// addProduct prints y += rows from first on of W times x.
func (p *printer) addProduct(y, x string, w source.Weight, first, n, k int) {
	at := w.Offset + first*k
	if w.Scale != nil {
		p.used["add8"] = true
		p.line("add8(%s, %s, %s, %s, %d, %d)", y, x, p.place(w.Buf, at), p.place(w.Scale, at/max(1, k)), n, k)
		return
	}
	p.used["add"] = true
	p.line("add(%s, %s, %s, %d, %d)", y, x, p.place(w.Buf, at), n, k)
}

func (p *printer) lookup(s *source.Lookup) {
	p.line("o, a, x := %s, %s, %s", p.place(s.Out, 0), p.place(s.Data, 0), p.place(s.Index, 0))
	p.loops([]int{s.Outer, s.Count}, 0)
	p.line("k := int(x[i1])")
	p.line("if k < 0 {")
	p.line("k += %d", s.Axis)
	p.line("}")
	p.line("if k < 0 || k >= %d {", s.Axis)
	p.line("return %s", p.refuse)
	p.line("}")
	p.loops([]int{s.Inner}, 2)
	value := fmt.Sprintf("a[(i0*%d+k)*%d+i2]", s.Axis, s.Inner)
	if s.Scale != nil {
		value = fmt.Sprintf("float32(%s) * %s[k]", value, p.place(s.Scale, 0))
	}
	p.line("o[(i0*%d+i1)*%d+i2] = %s", s.Count, s.Inner, value)
	p.close(3)
}

func (p *printer) arg(s *source.Arg) {
	p.line("o, a := %s, %s", p.place(s.Out, 0), p.place(s.In, 0))
	p.loops([]int{s.Outer}, 0)
	p.line("for i2 := range %d {", s.Inner)
	p.line("best := 0")
	p.line("for i1 := 1; i1 < %d; i1++ {", s.Axis)
	op := ">"
	if s.Min {
		op = "<"
	}
	if s.Last {
		op += "="
	}
	at := func(v string) string { return fmt.Sprintf("a[(i0*%d+%s)*%d+i2]", s.Axis, v, s.Inner) }
	p.line("if %s %s %s {", at("i1"), op, at("best"))
	p.line("best = i1")
	p.close(2)
	p.line("o[i0*%d+i2] = int64(best)", s.Inner)
	p.close(2)
}

func (p *printer) running(s *source.Running) {
	p.line("o, a := %s, %s", p.place(s.Out, 0), p.place(s.In, 0))
	p.loops([]int{s.Outer}, 0)
	p.line("for i2 := range %d {", s.Inner)
	p.line("var acc %s", goTypes[s.Out.Elem])
	p.loops([]int{s.Axis}, 1)
	at := "i1"
	if s.Reverse {
		at = fmt.Sprintf("%d - i1", s.Axis-1)
	}
	p.line("at := (i0*%d+%s)*%d + i2", s.Axis, at, s.Inner)
	p.line("v := a[at]")
	if s.Exclusive {
		p.line("o[at] = acc")
	}
	p.line("acc += v")
	if !s.Exclusive {
		p.line("o[at] = acc")
	}
	p.close(3)
}

// recurrent prints one direction of a node, one row of the batch after the other.
func (p *printer) recurrent(s *source.Recurrent, d int) {
	cfg := &s.Config
	h := cfg.Hidden
	p.line("x, g := %s, %s", p.place(s.X, 0), p.place(s.Gates, 0))
	p.line("h := %s[:%d]", p.place(s.Hidden, 0), h)
	if s.Cell != nil {
		p.line("c := %s[:%d]", p.place(s.Cell, 0), h)
	}
	if s.Scratch != nil {
		p.line("r := %s[:%d]", p.place(s.Scratch, 0), h)
	}
	if s.P != nil {
		p.line("q := %s", p.place(s.P, d*3*h))
	}
	p.line("for b := range %d {", s.Batch)
	steps := strconv.Itoa(s.Steps)
	if s.Lens != nil {
		steps = "n"
		p.line("n := int(%s[b])", p.place(s.Lens, 0))
		p.line("if n < 0 || n > %d {", s.Steps)
		p.line("return %s", p.refuse)
		p.line("}")
	}
	state := func(b *source.Buffer) string {
		return fmt.Sprintf("%s[b*%d+%d:][:%d]", p.place(b, 0), s.StateBatch, d*s.StateDirection, h)
	}
	begin := func(name string, from *source.Buffer) {
		if from == nil {
			p.line("clear(%s)", name)
		} else {
			p.line("copy(%s, %s)", name, state(from))
		}
	}
	begin("h", s.H0)
	if s.Cell != nil {
		begin("c", s.C0)
	}
	p.line("for t := range %s {", steps)
	at := "t"
	if s.Backwards(d) {
		at = fmt.Sprintf("(%s-1-t)", steps)
	}
	p.product("g", fmt.Sprintf("x[%s*%d+b*%d:]", at, s.XStep, s.XBatch), s.W[d], s.Bias[d], cfg.Op.Gates()*h, s.Inputs)
	acts := s.Activations(d)
	switch cfg.Op {
	case recurrent.LSTM:
		p.lstm(s, d, acts)
	case recurrent.GRU:
		p.gru(s, d, acts)
	default:
		p.addProduct("g", "h", s.R[d], 0, h, h)
		p.line("for k := range h {")
		p.line("h[k] = %s", p.act(acts[0], cfg.Clip, "g[k]"))
		p.line("}")
	}
	if s.Y != nil {
		p.line("copy(%s[%s*%d+b*%d+%d:], h)", p.place(s.Y, 0), at, s.YStep, s.YBatch, d*s.YDirection)
	}
	p.line("}")
	if s.Lens != nil && s.Y != nil {
		p.line("for t := n; t < %d; t++ {", s.Steps)
		p.line("clear(%s[t*%d+b*%d+%d:][:%d])", p.place(s.Y, 0), s.YStep, s.YBatch, d*s.YDirection, h)
		p.line("}")
	}
	if s.YH != nil {
		p.line("copy(%s, h)", state(s.YH))
	}
	if s.YC != nil {
		p.line("copy(%s, c)", state(s.YC))
	}
	p.line("}")
}

// act prints an activation.
func (p *printer) act(a recurrent.Activation, clip float32, v string) string {
	if clip > 0 {
		v = p.expr(source.Expr{Op: "bound", Params: []float32{clip}}, source.Float32, source.Float32, v)
	}
	return p.expr(source.Activation(a), source.Float32, source.Float32, v)
}

func at(first int) string {
	if first == 0 {
		return "[k]"
	}
	return "[" + strconv.Itoa(first) + "+k]"
}

func (p *printer) lstm(s *source.Recurrent, d int, acts []recurrent.Activation) {
	cfg := &s.Config
	h := cfg.Hidden
	p.addProduct("g", "h", s.R[d], 0, 4*h, h)
	gate := func(act int, first int, state string) string {
		v := "g" + at(first)
		if s.P != nil && act == 0 {
			p.line("%s += q%s * %s", v, at(first), state)
		}
		return p.act(acts[act], cfg.Clip, v)
	}
	p.line("for k := range h {")
	p.line("i := %s", gate(0, 0, "c[k]"))
	if cfg.InputForget {
		p.line("f := 1 - i")
	} else {
		p.line("f := %s", gate(0, 2*h, "c[k]"))
	}
	p.line("n := f*c[k] + i*(%s)", gate(1, 3*h, ""))
	p.line("c[k] = n")
	p.line("o := %s", gate(0, h, "n"))
	p.line("h[k] = o * (%s)", p.act(acts[2], cfg.Clip, "n"))
	p.line("}")
}

func (p *printer) gru(s *source.Recurrent, d int, acts []recurrent.Activation) {
	cfg := &s.Config
	h := cfg.Hidden
	p.addProduct("g", "h", s.R[d], 0, 2*h, h)
	reset := p.act(acts[0], cfg.Clip, "g"+at(h))
	if cfg.LinearBeforeReset {
		w := s.R[d]
		w.Offset += 2 * h * h
		p.product("r", "h", w, s.HiddenBias[d], h, h)
		p.line("for k := range h {")
		p.line("g%s += r[k] * (%s)", at(2*h), reset)
		p.line("}")
	} else {
		p.line("for k := range h {")
		p.line("r[k] = h[k] * (%s)", reset)
		p.line("}")
		p.addProduct(fmt.Sprintf("g[%d:]", 2*h), "r", s.R[d], 2*h, h, h)
	}
	p.line("for k := range h {")
	p.line("z := %s", p.act(acts[0], cfg.Clip, "g[k]"))
	p.line("h[k] = (1-z)*(%s) + z*h[k]", p.act(acts[1], cfg.Clip, "g"+at(2*h)))
	p.line("}")
}
