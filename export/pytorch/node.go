package pytorch

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/trconvert/trconvert/onnx"
)

// node is a node while it is printed. It refuses attributes that nobody asked for, and remembers the first refusal.
type node struct {
	*onnx.Node
	*printer
	ctx   context.Context
	opset int64
	asked map[string]bool
	err   error
}

// node prints one node.
func (p *printer) node(ctx context.Context, n *onnx.Node) {
	x := &node{Node: n, printer: p, ctx: ctx, opset: n.Graph.Opset(""), asked: map[string]bool{}}
	name := n.OpType
	if n.Domain != "" {
		name = n.Domain + "." + n.OpType
	}
	print := printers[n.OpType]
	if n.Domain != "" || p.ix.Function(n) != nil || print == nil {
		p.lacks.Add(name+": operator", n.String())
		return
	}
	print(x)
	if x.err == nil {
		for _, a := range n.Attributes {
			if !x.asked[a.Name] {
				x.refuse("attribute %s", strconv.QuoteToASCII(a.Name))
			}
		}
	}
	if x.err != nil {
		p.lacks.Add(name+": "+x.err.Error(), n.String())
	}
}

func (n *node) refuse(format string, args ...any) {
	if n.err == nil {
		n.err = fmt.Errorf(format, args...)
	}
}

// in is the expression of operand k, None where it is absent.
func (n *node) in(k int) string { return n.value(n.Graph, n.Input(k)) }

func (n *node) has(k int) bool { return n.Input(k) != "" }

// ins are the expressions of all operands.
func (n *node) ins() []string {
	var all []string
	for k := range n.Inputs {
		all = append(all, n.in(k))
	}
	return all
}

// outs are the variables of the results, _ for those that nobody names. Trailing ones beyond count are left out.
func (n *node) outs(count int) string {
	var all []string
	for k := range count {
		name := n.Output(k)
		if name == "" {
			all = append(all, "_")
			continue
		}
		all = append(all, n.local(place{n.Graph, name}))
	}
	return strings.Join(all, ", ")
}

// set prints the assignment of the only result.
func (n *node) set(format string, args ...any) {
	n.only(1)
	n.line("%s = %s", n.outs(1), fmt.Sprintf(format, args...))
}

// only refuses results beyond count.
func (n *node) only(count int) {
	for k := count; k < len(n.Outputs); k++ {
		if n.Outputs[k] != "" {
			n.refuse("output %d", k)
		}
	}
}

// call prints the assignment of the only result of a function of the library.
func (n *node) call(function string, args ...string) {
	n.set("%s", n.calls(function, args...))
}

// calls is the call of a function of the library.
func (n *node) calls(function string, args ...string) string {
	n.used[function] = true
	return function + "(" + strings.Join(args, ", ") + ")"
}

func (n *node) int(name string, otherwise int64) int64 {
	n.asked[name] = true
	v, err := n.AttrInt(name, otherwise)
	if err != nil {
		n.refuse("%v", err)
	}
	return v
}

// number is an integer attribute as text.
func (n *node) number(name string, otherwise int64) string {
	return strconv.FormatInt(n.int(name, otherwise), 10)
}

// flag is an integer attribute that says yes or no.
func (n *node) flag(name string, otherwise bool) string {
	v := int64(0)
	if otherwise {
		v = 1
	}
	return boolean(n.int(name, v) != 0)
}

func (n *node) float(name string, otherwise float32) string {
	n.asked[name] = true
	v, err := n.AttrFloat(name, otherwise)
	if err != nil {
		n.refuse("%v", err)
	}
	return float(v)
}

func (n *node) string(name, otherwise string, valid ...string) string {
	n.asked[name] = true
	v, err := n.AttrString(name, otherwise)
	if err == nil && len(valid) > 0 && !slices.Contains(valid, v) {
		err = fmt.Errorf("%s %s (expected one of %s)", name, strconv.QuoteToASCII(v), strings.Join(valid, ", "))
	}
	if err != nil {
		n.refuse("%v", err)
	}
	return strconv.QuoteToASCII(v)
}

// ints is an attribute of integers as a list, None where it is absent.
func (n *node) ints(name string) string {
	n.asked[name] = true
	a := n.Attr(name)
	if a == nil {
		return "None"
	}
	if a.Type == onnx.AttrInt {
		return list([]int64{a.I})
	}
	v, err := n.AttrInts(name)
	if err != nil {
		n.refuse("%v", err)
	}
	return list(v)
}

// list is a list of integers.
func list[T int | int64](v []T) string {
	parts := make([]string, len(v))
	for k, x := range v {
		parts[k] = strconv.FormatInt(int64(x), 10)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// inInts is operand k as a list of integers: the numbers where they are constant.
func (n *node) inInts(k int) string {
	if !n.has(k) {
		return "None"
	}
	if v, ok := n.fixed(k); ok {
		return list(v)
	}
	return n.calls("_ints", n.in(k))
}

// fixed is the integers of a constant operand.
func (n *node) fixed(k int) ([]int64, bool) {
	if ok, _ := n.ev.Constant(n.Graph, n.Input(k)); !ok {
		return nil, false
	}
	a, err := n.ev.Eval(n.ctx, n.Graph, n.Input(k))
	if err != nil {
		return nil, false
	}
	v, err := a.Int64s()
	return v, err == nil && len(v) <= 64
}

// inInt is operand k as one integer.
func (n *node) inInt(k int) string {
	if v, ok := n.fixed(k); ok && len(v) == 1 {
		return strconv.FormatInt(v[0], 10)
	}
	return n.calls("_number", n.in(k))
}

// moved is a list of integers that was an attribute in older opsets and is operand k now.
func (n *node) moved(name string, k int) string {
	if n.Attr(name) != nil {
		return n.ints(name)
	}
	return n.inInts(k)
}

func boolean(v bool) string {
	if v {
		return "True"
	}
	return "False"
}

// float is a number in Python; the shortest digits that give the float32 again.
func float(v float32) string {
	s := strconv.FormatFloat(float64(v), 'g', -1, 32)
	switch s {
	case "NaN":
		return "math.nan"
	case "+Inf":
		return "math.inf"
	case "-Inf":
		return "-math.inf"
	}
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}

// dtypes are PyTorch's names of element types. Narrow floats are float32.
var dtypes = map[onnx.DataType]string{
	onnx.Float: "torch.float32", onnx.Double: "torch.float64", onnx.Float16: "torch.float32", onnx.BFloat16: "torch.float32",
	onnx.Int8: "torch.int8", onnx.Int16: "torch.int16", onnx.Int32: "torch.int32", onnx.Int64: "torch.int64", onnx.Uint8: "torch.uint8", onnx.Bool: "torch.bool",
}
