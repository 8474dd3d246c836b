package source

import (
	"strconv"
	"strings"

	"github.com/trconvert/trconvert/onnx/recurrent"
)

// At is the index that a walk reaches, in terms of loop variables i0, i1, …; it reads alike in C and Go.
func (r Ref) At() string {
	var terms []string
	for k, s := range r.Strides {
		v := "i" + strconv.Itoa(k)
		switch s {
		case 0:
		case 1:
			terms = append(terms, v)
		default:
			terms = append(terms, v+"*"+strconv.Itoa(s))
		}
	}
	if r.Offset != 0 || len(terms) == 0 {
		terms = append(terms, strconv.Itoa(r.Offset))
	}
	return strings.ReplaceAll(strings.Join(terms, " + "), "+ -", "- ")
}

// Outer is the walk through its first n loops only.
func (r Ref) Outer(n int) Ref {
	return Ref{Buf: r.Buf, Offset: r.Offset, Strides: r.Strides[:n]}
}

// ReadElem is the type of the operands of the expression: of the last one, for the first of "where" is a condition.
func (s *Nest) ReadElem() Elem {
	if len(s.In) == 0 {
		return s.Out.Buf.Elem
	}
	return s.In[len(s.In)-1].Buf.Elem
}

// dotLength is the length of a loop from which it is worth a call of the dot product.
const dotLength = 8

// Dot says whether the innermost loop is the dot product of two runs that is worth a call.
func (s *Reduce) Dot() bool {
	last := len(s.Dims) - 1
	return s.Expr.Op == "mul" && s.Combine == "sum" && len(s.In) == 2 && last >= s.Outer && s.Dims[last] >= dotLength &&
		s.In[0].Strides[last] == 1 && s.In[1].Strides[last] == 1
}

var combines = map[string]string{"sum": "add", "prod": "mul", "max": "max", "min": "min"}

// Combination is the expression that adds an element to the result so far.
func (s *Reduce) Combination() Expr { return Expr{Op: combines[s.Combine]} }

// Int8Weights says whether operand k is int8 weights that floats are multiplied with.
func Int8Weights(in []Ref, k int) bool {
	return in[k].Buf.Elem == Int8 && len(in) == 2 && in[0].Buf.Elem == Float32
}

// Better is the comparison by which an element takes the place of the best so far.
func (s *Arg) Better() string {
	op := ">"
	if s.Min {
		op = "<"
	}
	if s.Last {
		op += "="
	}
	return op
}

// Backwards says whether direction d goes from the last step to the first.
func (s *Recurrent) Backwards(d int) bool { return s.Config.Direction == recurrent.Reverse || d == 1 }

// Activations are those of direction d.
func (s *Recurrent) Activations(d int) []recurrent.Activation {
	return s.Config.Activations[d*len(s.Config.Activations)/s.Config.Direction.Count():]
}

// Fill puts operands $0, $1, … and the parameters of an expression, %0, %1, …, as number prints them, into a template. The template may begin with the names of
// the kernels that it calls and "|": they are noted in used.
func (e Expr) Fill(template string, number func(float32) string, used map[string]bool, args ...string) string {
	if kernels, call, ok := strings.Cut(template, "|"); ok && !strings.Contains(kernels, "$") {
		for _, k := range strings.Fields(kernels) {
			used[k] = true
		}
		template = call
	}
	var b strings.Builder
	for k := 0; k < len(template); k++ {
		c := template[k]
		if c != '$' && c != '%' || k+1 == len(template) || template[k+1] < '0' || template[k+1] > '9' {
			b.WriteByte(c)
			continue
		}
		k++
		at := template[k] - '0'
		if c == '$' {
			b.WriteString(args[at])
			continue
		}
		s := number(e.Params[at])
		if s[0] == '-' {
			s = "(" + s + ")"
		}
		b.WriteString(s)
	}
	return b.String()
}

// Block is a function of a target's library of kernels.
type Block struct {
	Name, Text string
	Needs      []string
}

// Blocks reads a library: functions under lines of the form "//// name: needs …".
func Blocks(text string) []Block {
	var list []Block
	for _, part := range strings.Split("\n"+text, "\n//// ")[1:] {
		head, body, _ := strings.Cut(part, "\n")
		name, needs, _ := strings.Cut(head, ":")
		list = append(list, Block{Name: strings.TrimSpace(name), Text: strings.TrimRight(body, "\n") + "\n", Needs: strings.Fields(needs)})
	}
	return list
}

// Used lists the blocks that are needed, in the order of the library, which puts needs first.
func Used(library []Block, used map[string]bool) []Block {
	for k := len(library) - 1; k >= 0; k-- {
		if used[library[k].Name] {
			for _, n := range library[k].Needs {
				used[n] = true
			}
		}
	}
	var list []Block
	for _, b := range library {
		if used[b.Name] {
			list = append(list, b)
		}
	}
	return list
}
