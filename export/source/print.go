package source

import (
	"strconv"
	"strings"
)

// At is the index that a walk reaches, in terms of loop variables i0, i1, …; it reads alike in C and Go. Loops are numbered from first on.
func (r Ref) At(first int) string {
	var terms []string
	for k, s := range r.Strides {
		v := "i" + strconv.Itoa(first+k)
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

// Dims returns the walk through some of its loops only.
func (r Ref) Dims(from, to int) Ref {
	return Ref{Buf: r.Buf, Offset: r.Offset, Strides: r.Strides[from:to]}
}

// Fill puts operands $0, $1, … and parameters %0, %1, … into a template.
func Fill(template string, args, params []string) string {
	var b strings.Builder
	for k := 0; k < len(template); k++ {
		if c := template[k]; (c == '$' || c == '%') && k+1 < len(template) && template[k+1] >= '0' && template[k+1] <= '9' {
			list := args
			if c == '%' {
				list = params
			}
			k++
			b.WriteString(list[template[k]-'0'])
			continue
		}
		b.WriteByte(template[k])
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
