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
}

func (p *printer) line(format string, args ...any) {
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
	p.line("%s%s *%s = %s;", qualifier, cTypes[b.Elem], name, p.place(b))
}

var operandNames = []string{"a", "b", "c"}

// loops opens loops over dims, numbered from first on.
func (p *printer) loops(dims []int, first int) {
	for k, n := range dims {
		v := "i" + strconv.Itoa(first+k)
		p.line("for (%s = 0; %s < %d; %s++) {", v, v, n, v)
	}
}

func (p *printer) close(n int) {
	for range n {
		p.line("}")
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
	p.line("int32_t %s;", strings.Join(names, ", "))
}

func (p *printer) steps(list []source.Step) {
	for _, s := range list {
		switch s := s.(type) {
		case *source.Note:
			p.line("/* %s */", source.Comment(s.Text))
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

func (p *printer) nest(s *source.Nest) {
	reads := p.reads(s.Out, s.In)
	p.indices(len(s.Dims))
	p.loops(s.Dims, 0)
	p.line("o[%s] = %s;", s.Out.At(), p.expr(s.Expr, s.ReadElem(), s.Out.Buf.Elem, reads...))
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

func (p *printer) reduce(s *source.Reduce) {
	e := s.Out.Buf.Elem
	reads := p.reads(s.Out, s.In)
	n, dot := len(s.Dims), s.Dot()
	if dot {
		n--
	}
	p.indices(n)
	p.loops(s.Dims[:s.Outer], 0)
	p.line("%s acc = %s;", cTypes[e], start(s.Combine, e))
	p.loops(s.Dims[s.Outer:n], s.Outer)
	if dot {
		kernel := "dot"
		if s.In[1].Buf.Elem == source.Int8 {
			kernel = "dot8"
		}
		p.used[kernel] = true
		p.line("acc += k_%s(b + (%s), a + (%s), %d);", kernel, s.In[1].Outer(n).At(), s.In[0].Outer(n).At(), s.Dims[n])
	} else {
		p.line("%s v = %s;", cTypes[e], p.expr(s.Expr, s.In[0].Buf.Elem, e, reads...))
		p.line("acc = %s;", p.expr(s.Combination(), e, e, "acc", "v"))
	}
	p.close(n - s.Outer)
	p.line("o[%s] = %s;", s.Out.At(), p.expr(s.Finish, e, e, "acc"))
	p.close(s.Outer)
}

func (p *printer) rows(s *source.Rows) {
	p.pointer("o", s.Out, true)
	p.pointer("a", s.X, false)
	if s.M != 1 {
		p.line("int32_t m;")
		p.line("for (m = 0; m < %d; m++, o += %d, a += %d) {", s.M, s.N, s.K)
	}
	p.product("o", "a", s.W, s.Bias, s.N, s.K)
	if s.M != 1 {
		p.line("}")
	}
}

// product prints y = W·x + bias.
func (p *printer) product(y, x string, w source.Weight, bias *source.Buffer, n, k int) {
	b := "0"
	if bias != nil {
		b = p.place(bias)
	}
	if w.Scale != nil {
		p.used["rows8"] = true
		p.line("k_rows8(%s, %s, %s, %s, %s, %d, %d);", y, x, plus(p.place(w.Buf), w.Offset), plus(p.place(w.Scale), w.Offset/max(1, k)), b, n, k)
		return
	}
	p.used["rows"] = true
	p.line("k_rows(%s, %s, %s, %s, %d, %d);", y, x, plus(p.place(w.Buf), w.Offset), b, n, k)
}

// addProduct prints y += rows from first on of W times x.
func (p *printer) addProduct(y, x string, w source.Weight, first, n, k int) {
	at := w.Offset + first*k
	if w.Scale != nil {
		p.used["add8"] = true
		p.line("k_add8(%s, %s, %s, %s, %d, %d);", y, x, plus(p.place(w.Buf), at), plus(p.place(w.Scale), at/max(1, k)), n, k)
		return
	}
	p.used["add"] = true
	p.line("k_add(%s, %s, %s, %d, %d);", y, x, plus(p.place(w.Buf), at), n, k)
}

func (p *printer) lookup(s *source.Lookup) {
	p.pointer("o", s.Out, true)
	p.pointer("a", s.Data, false)
	p.pointer("x", s.Index, false)
	if s.Scale != nil {
		p.pointer("s", s.Scale, false)
	}
	p.line("int32_t i0, i1, i2;")
	p.loops([]int{s.Outer, s.Count}, 0)
	p.line("int64_t k = x[i1];")
	p.line("if (k < 0) {")
	p.line("k += %d;", s.Axis)
	p.line("}")
	p.line("if (k < 0 || k >= %d) {", s.Axis)
	p.line("%s", p.refuse)
	p.line("}")
	p.loops([]int{s.Inner}, 2)
	value := fmt.Sprintf("a[(i0*%d + k)*%d + i2]", s.Axis, s.Inner)
	if s.Scale != nil {
		value = "(float)" + value + " * s[k]"
	}
	p.line("o[(i0*%d + i1)*%d + i2] = %s;", s.Count, s.Inner, value)
	p.close(3)
}

func (p *printer) arg(s *source.Arg) {
	p.pointer("o", s.Out, true)
	p.pointer("a", s.In, false)
	p.line("int32_t i0, i1, i2;")
	p.loops([]int{s.Outer}, 0)
	p.line("for (i2 = 0; i2 < %d; i2++) {", s.Inner)
	p.line("int32_t best = 0;")
	p.line("for (i1 = 1; i1 < %d; i1++) {", s.Axis)
	op := ">"
	if s.Min {
		op = "<"
	}
	if s.Last {
		op += "="
	}
	at := func(v string) string { return fmt.Sprintf("a[(i0*%d + %s)*%d + i2]", s.Axis, v, s.Inner) }
	p.line("if (%s %s %s) {", at("i1"), op, at("best"))
	p.line("best = i1;")
	p.close(2)
	p.line("o[i0*%d + i2] = best;", s.Inner)
	p.close(2)
}

func (p *printer) running(s *source.Running) {
	e := s.Out.Elem
	p.pointer("o", s.Out, true)
	p.pointer("a", s.In, false)
	p.line("int32_t i0, i1, i2;")
	p.loops([]int{s.Outer}, 0)
	p.line("for (i2 = 0; i2 < %d; i2++) {", s.Inner)
	p.line("%s acc = 0;", cTypes[e])
	p.loops([]int{s.Axis}, 1)
	at := "i1"
	if s.Reverse {
		at = fmt.Sprintf("%d - i1", s.Axis-1)
	}
	p.line("int32_t at = (i0*%d + %s)*%d + i2;", s.Axis, at, s.Inner)
	p.line("%s v = a[at];", cTypes[e])
	sum := fmt.Sprintf("acc = %s;", p.expr(source.Expr{Op: "add"}, e, e, "acc", "v"))
	if s.Exclusive {
		p.line("o[at] = acc;")
		p.line("%s", sum)
	} else {
		p.line("%s", sum)
		p.line("o[at] = acc;")
	}
	p.close(3)
}

// recurrent prints one direction of a node, one row of the batch after the other.
func (p *printer) recurrent(s *source.Recurrent, d int) {
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
		p.line("const float *q = %s;", plus(p.place(s.P), d*3*h))
	}
	if s.Lens != nil {
		p.pointer("lens", s.Lens, false)
	}
	for k, b := range []*source.Buffer{s.Y, s.YH, s.YC, s.H0, s.C0} {
		if b != nil {
			p.pointer([]string{"y", "yh", "yc", "h0", "c0"}[k], b, k < 3)
		}
	}
	p.line("int32_t b, t, k;")
	p.line("for (b = 0; b < %d; b++) {", s.Batch)
	steps := strconv.Itoa(s.Steps)
	if s.Lens != nil {
		steps = "n"
		p.line("int32_t n = (int32_t)lens[b];")
		p.line("if (n < 0 || n > %d) {", s.Steps)
		p.line("%s", p.refuse)
		p.line("}")
	}
	state := fmt.Sprintf("[%s + k]", plus(fmt.Sprintf("b*%d", s.StateBatch), d*s.StateDirection))
	p.each(h, func() {
		p.line("h[k] = %s;", initial("h0", s.H0, state))
		if s.Cell != nil {
			p.line("c[k] = %s;", initial("c0", s.C0, state))
		}
	})
	p.line("for (t = 0; t < %s; t++) {", steps)
	at := "t"
	if s.Backwards(d) {
		p.line("int32_t at = %s - 1 - t;", steps)
		at = "at"
	}
	p.product("g", fmt.Sprintf("x + %s*%d + b*%d", at, s.XStep, s.XBatch), s.W[d], s.Bias[d], cfg.Op.Gates()*h, s.Inputs)
	acts := s.Activations(d)
	switch cfg.Op {
	case recurrent.LSTM:
		p.lstm(s, d, acts)
	case recurrent.GRU:
		p.gru(s, d, acts)
	default:
		p.addProduct("g", "h", s.R[d], 0, h, h)
		p.each(h, func() {
			p.line("float v = g[k];")
			p.line("h[k] = %s;", p.act(acts[0], cfg.Clip, "v"))
		})
	}
	if s.Y != nil {
		p.each(h, func() {
			p.line("y[%s*%d + b*%d + %d + k] = h[k];", at, s.YStep, s.YBatch, d*s.YDirection)
		})
	}
	p.line("}")
	if s.Lens != nil && s.Y != nil {
		p.line("for (t = n; t < %d; t++) {", s.Steps)
		p.each(h, func() {
			p.line("y[t*%d + b*%d + %d + k] = 0.0f;", s.YStep, s.YBatch, d*s.YDirection)
		})
		p.line("}")
	}
	for k, b := range []*source.Buffer{s.YH, s.YC} {
		if b != nil {
			p.each(h, func() { p.line("%s%s = %s[k];", []string{"yh", "yc"}[k], state, []string{"h", "c"}[k]) })
		}
	}
	p.line("}")
}

func initial(name string, b *source.Buffer, at string) string {
	if b == nil {
		return "0.0f"
	}
	return name + at
}

func (p *printer) each(n int, body func()) {
	p.line("for (k = 0; k < %d; k++) {", n)
	body()
	p.line("}")
}

// act prints an activation of a variable.
func (p *printer) act(a recurrent.Activation, clip float32, v string) string {
	if clip > 0 {
		v = p.expr(source.Expr{Op: "bound", Params: []float32{clip}}, source.Float32, source.Float32, v)
	}
	e := source.Activation(a)
	if clip > 0 && strings.Count(floatExpr[e.Op], "$0") > 1 {
		p.line("v = %s;", v)
		v = "v"
	}
	return p.expr(e, source.Float32, source.Float32, v)
}

func (p *printer) lstm(s *source.Recurrent, d int, acts []recurrent.Activation) {
	cfg := &s.Config
	h := cfg.Hidden
	p.addProduct("g", "h", s.R[d], 0, 4*h, h)
	gate := func(offset int) string { return "g[" + plus("k", offset) + "]" }
	peep := func(offset int, state string) string {
		if s.P == nil {
			return ""
		}
		return " + q[" + plus("k", offset) + "] * " + state
	}
	p.each(h, func() {
		p.line("float v, i, f, n;")
		p.line("v = %s%s;", gate(0), peep(0, "c[k]"))
		p.line("i = %s;", p.act(acts[0], cfg.Clip, "v"))
		if cfg.InputForget {
			p.line("f = 1.0f - i;")
		} else {
			p.line("v = %s%s;", gate(2*h), peep(2*h, "c[k]"))
			p.line("f = %s;", p.act(acts[0], cfg.Clip, "v"))
		}
		p.line("v = %s;", gate(3*h))
		p.line("n = %s;", p.act(acts[1], cfg.Clip, "v"))
		p.line("n = f * c[k] + i * n;")
		p.line("c[k] = n;")
		p.line("v = %s%s;", gate(h), peep(h, "n"))
		p.line("i = %s;", p.act(acts[0], cfg.Clip, "v"))
		p.line("v = n;")
		p.line("h[k] = i * (%s);", p.act(acts[2], cfg.Clip, "v"))
	})
}

func (p *printer) gru(s *source.Recurrent, d int, acts []recurrent.Activation) {
	cfg := &s.Config
	h := cfg.Hidden
	p.addProduct("g", "h", s.R[d], 0, 2*h, h)
	if cfg.LinearBeforeReset {
		w := s.R[d]
		w.Offset += 2 * h * h
		p.product("r", "h", w, s.HiddenBias[d], h, h)
		p.each(h, func() {
			p.line("float v = %s;", "g["+plus("k", h)+"]")
			p.line("float u = %s;", p.act(acts[0], cfg.Clip, "v"))
			p.line("%s += u * r[k];", "g["+plus("k", 2*h)+"]")
		})
	} else {
		p.each(h, func() {
			p.line("float v = %s;", "g["+plus("k", h)+"]")
			p.line("float u = %s;", p.act(acts[0], cfg.Clip, "v"))
			p.line("r[k] = u * h[k];")
		})
		p.addProduct(plus("g", 2*h), "r", s.R[d], 2*h, h, h)
	}
	p.each(h, func() {
		p.line("float v = g[k];")
		p.line("float z = %s;", p.act(acts[0], cfg.Clip, "v"))
		p.line("float n;")
		p.line("v = %s;", "g["+plus("k", 2*h)+"]")
		p.line("n = %s;", p.act(acts[1], cfg.Clip, "v"))
		p.line("h[k] = (1.0f - z) * n + z * h[k];")
	})
}
