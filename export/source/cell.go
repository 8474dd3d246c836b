package source

import (
	"strconv"

	"github.com/trconvert/trconvert/onnx/recurrent"
)

// Printer prints the steps of a program in one language.
type Printer interface {
	Line(format string, args ...any)
	Note(text string)
	Nest(s *Nest)
	Reduce(s *Reduce)
	Rows(s *Rows)
	Lookup(s *Lookup)
	Arg(s *Arg)
	Running(s *Running)
	Recurrent(s *Recurrent, direction int)
}

// Print prints steps one after the other, each in a block of its own, and a recurrent one in a block for each direction.
func Print(list []Step, p Printer) {
	block := func(body func()) {
		p.Line("{")
		body()
		p.Line("}")
	}
	for _, s := range list {
		switch s := s.(type) {
		case *Note:
			p.Note(Comment(s.Text))
		case *Nest:
			block(func() { p.Nest(s) })
		case *Reduce:
			block(func() { p.Reduce(s) })
		case *Rows:
			block(func() { p.Rows(s) })
		case *Lookup:
			block(func() { p.Lookup(s) })
		case *Arg:
			block(func() { p.Arg(s) })
		case *Running:
			block(func() { p.Running(s) })
		case *Recurrent:
			for d := range s.W {
				block(func() { p.Recurrent(s, d) })
			}
		}
	}
}

// CellPrinter prints the statements that the cells of recurrent nodes are made of. Arrays have the names g (pre-activations), h (hidden state), c (cell), r (scratch) and q
// (peepholes), and k counts units.
type CellPrinter interface {
	// Each is a loop over units.
	Each(n int, body func())
	// Let declares a float, Set assigns ("=" or "+=").
	Let(name, value string)
	Set(target, operator, value string)
	// Act is an activation of a variable, as an expression; clip bounds the variable first where it is above 0.
	Act(a recurrent.Activation, clip float32, variable string) string
	// From is an array from an element on.
	From(array string, first int) string
	// Product is y = W·x + bias, AddProduct y += rows of W from first on times x.
	Product(y, x string, w Weight, bias *Buffer, n, k int)
	AddProduct(y, x string, w Weight, first, n, k int)
}

// at is an element of an array, unit k of the block from first on.
func at(array string, first int) string {
	if first == 0 {
		return array + "[k]"
	}
	return array + "[" + strconv.Itoa(first) + " + k]"
}

// PrintCell prints one step of a direction (ONNX Operators.md, LSTM, GRU and RNN): g holds X·Wᵀ and the bias, h and c the states before and after.
func (s *Recurrent) PrintCell(d int, p CellPrinter) {
	c := cellPrinting{s, d, p, s.Activations(d)}
	switch s.Config.Op {
	case recurrent.LSTM:
		c.lstm()
	case recurrent.GRU:
		c.gru()
	default:
		h := s.Config.Hidden
		p.AddProduct("g", "h", s.R[d], 0, h, h)
		p.Each(h, func() { p.Set("h[k]", "=", c.act(0, "v", "g[k]")) })
	}
}

type cellPrinting struct {
	*Recurrent
	direction int
	CellPrinter
	acts []recurrent.Activation
}

// act gives a sum a name and applies activation k to it.
func (c *cellPrinting) act(k int, name, sum string) string {
	c.Let(name, sum)
	return c.Act(c.acts[k], c.Config.Clip, name)
}

func (c *cellPrinting) lstm() {
	h := c.Config.Hidden
	c.AddProduct("g", "h", c.R[c.direction], 0, 4*h, h)
	gate := func(first int, state string) string {
		sum := at("g", first)
		if c.P != nil {
			sum += " + " + at("q", first) + " * " + state
		}
		return sum
	}
	c.Each(h, func() {
		c.Let("i", c.act(0, "vi", gate(0, "c[k]")))
		if c.Config.InputForget {
			c.Let("f", "1 - i")
		} else {
			c.Let("f", c.act(0, "vf", gate(2*h, "c[k]")))
		}
		c.Let("n", "f * c[k] + i * ("+c.act(1, "vn", at("g", 3*h))+")")
		c.Set("c[k]", "=", "n")
		c.Let("o", c.act(0, "vo", gate(h, "n")))
		c.Set("h[k]", "=", "o * ("+c.Act(c.acts[2], c.Config.Clip, "n")+")")
	})
}

func (c *cellPrinting) gru() {
	h, r := c.Config.Hidden, c.R[c.direction]
	c.AddProduct("g", "h", r, 0, 2*h, h)
	if c.Config.LinearBeforeReset {
		last := r
		last.Offset += 2 * h * h
		c.Product("r", "h", last, c.HiddenBias[c.direction], h, h)
		c.Each(h, func() { c.Set(at("g", 2*h), "+=", "r[k] * ("+c.act(0, "v", at("g", h))+")") })
	} else {
		c.Each(h, func() { c.Set("r[k]", "=", "h[k] * ("+c.act(0, "v", at("g", h))+")") })
		c.AddProduct(c.From("g", 2*h), "r", r, 2*h, h, h)
	}
	c.Each(h, func() {
		c.Let("z", c.act(0, "vz", "g[k]"))
		c.Let("n", c.act(1, "vn", at("g", 2*h)))
		c.Set("h[k]", "=", "(1 - z) * n + z * h[k]")
	})
}

// Dictionary holds the texts of operations in a language: on floats, on int32 and int64, and on every type. See [Expr.Fill] for what stands in them.
type Dictionary struct{ Any, Float, Int map[string]string }

// Text is the text of an operation on elements of a type.
func (d Dictionary) Text(op string, of Elem) string {
	if text, ok := d.Any[op]; ok {
		return text
	}
	list := d.Float
	if of == Int32 || of == Int64 {
		list = d.Int
	}
	text, ok := list[op]
	if !ok {
		panic("source: no text for " + op) // every operation that this package uses has one in each language: their tests TestEveryOperation
	}
	return text
}
