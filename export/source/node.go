package source

import (
	"fmt"
	"slices"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/runtime"
)

// node is a node while it is lowered; like the runtime's builders it refuses attributes that nobody asked for.
type node struct {
	*onnx.Node
	*entryLowerer
	asked map[string]bool
}

// lowering rewrites a node as steps.
type lowering func(n *node) error

// guard calls f, and gives a panic, which no check foresaw, as an error.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("internal error: %v", p)
		}
	}()
	return f()
}

func (n *node) opset() int64 { return n.model.Opset("") }

func (n *node) has(k int) bool { return n.Input(k) != "" }

func (n *node) wants(k int) bool { return n.Output(k) != "" && n.values[n.Output(k)] != nil }

// in is operand k.
func (n *node) in(k int) (tensor, error) {
	if !n.has(k) {
		return tensor{}, lacksf("operand %d is absent", k)
	}
	return n.get(n.Input(k))
}

// floatIn is an operand of floats.
func (n *node) floatIn(k int) (tensor, error) {
	t, err := n.in(k)
	if err == nil && t.buf.Elem != Float32 {
		err = lacksf("type %v", t.buf.Elem)
	}
	return t, err
}

// out makes output k.
func (n *node) out(k int) (tensor, error) { return n.define(n.Output(k)) }

// dims of output k.
func (n *node) outDims(k int) ([]int, error) {
	a := n.values[n.Output(k)]
	if a == nil {
		return nil, lacksf("result %d is no tensor", k)
	}
	return a.Dims, nil
}

// fixed is the value of a constant operand, nil where it is absent.
func (n *node) fixed(k int) (*onnx.Array, error) {
	if !n.has(k) {
		return nil, nil
	}
	if !n.constant[n.Input(k)] {
		return nil, lacksf("operand %d that is not constant", k)
	}
	a := n.values[n.Input(k)]
	if a == nil {
		return nil, lacksf("operand %d that is no tensor", k)
	}
	return a, nil
}

// isFixed says whether an operand is a constant to be folded, not one that is merged at the start.
func (n *node) isFixed(k int) bool {
	name := n.Input(k)
	_, merged := n.merged[name]
	return n.has(k) && n.constant[name] && !merged && n.values[name] != nil
}

// ints is an attribute of older opsets that became operand k (−1: never), nil where there is none.
func (n *node) ints(attribute string, k int) ([]int64, error) {
	n.asked[attribute] = true
	if a := n.Attr(attribute); a != nil {
		if a.Type == onnx.AttrInt {
			return []int64{a.I}, nil
		}
		return n.AttrInts(attribute)
	}
	if k < 0 {
		return nil, nil
	}
	a, err := n.fixed(k)
	if a == nil || err != nil {
		return nil, err
	}
	return a.Int64s()
}

func (n *node) int(attribute string, otherwise int64) (int64, error) {
	n.asked[attribute] = true
	return n.AttrInt(attribute, otherwise)
}

func (n *node) float(attribute string, otherwise float32) (float32, error) {
	n.asked[attribute] = true
	return n.AttrFloat(attribute, otherwise)
}

func (n *node) string(attribute, otherwise string) (string, error) {
	n.asked[attribute] = true
	return n.AttrString(attribute, otherwise)
}

func (n *node) ignore(attributes ...string) {
	for _, a := range attributes {
		n.asked[a] = true
	}
}

// axis reads an axis and resolves negative ones.
func (n *node) axis(attribute string, otherwise int64, rank int) (int, error) {
	a, err := n.int(attribute, otherwise)
	if err != nil {
		return 0, err
	}
	return resolveAxis(a, rank)
}

func resolveAxis(a int64, rank int) (int, error) {
	if a < int64(-rank) || a >= int64(max(rank, 1)) {
		return 0, fmt.Errorf("axis %d of a value of rank %d", a, rank)
	}
	if a < 0 {
		a += int64(rank)
	}
	return int(a), nil
}

func resolveAxes(axes []int64, rank int) ([]int, error) {
	var list []int
	for _, a := range axes {
		k, err := resolveAxis(a, rank)
		if err != nil {
			return nil, err
		}
		list = append(list, k)
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

// minQuantized is the number of weights below which int8 saves nothing worth the error.
const minQuantized = 64

// rows gives operand k, a constant or merged matrix, as rows [rows, columns]; transposed says that it is stored as [columns, rows]. Constants are multiplied
// by factor first.
func (n *node) rows(k, rows, columns int, transposed bool, factor float32) (Weight, error) {
	if !n.isFixed(k) {
		return n.computedRows(k, rows, columns, transposed, factor)
	}
	a, err := n.fixed(k)
	if err != nil {
		return Weight{}, err
	}
	stored, err := a.Float32s()
	if err != nil {
		return Weight{}, err
	}
	w := make([]float32, len(stored))
	place := func(i int) int {
		if transposed {
			return (i%rows)*columns + i/rows
		}
		return i
	}
	for i, v := range stored {
		w[place(i)] = v * factor
	}
	if !n.options.Int8 || len(w) < minQuantized {
		return Weight{Buf: n.floats(w)}, nil
	}
	q, scale, used := quantize(w, rows)
	back := make([]float32, len(w))
	for i := range back {
		back[i] = used[place(i)] / factor
	}
	if err := n.quantized(k, a, back); err != nil {
		return Weight{}, err
	}
	return n.int8Weight(q, scale), nil
}

func (l *lowerer) int8Weight(q []int8, scale []float32) Weight {
	return Weight{Buf: l.share(&Buffer{Elem: Int8, Len: len(q), Space: Const, Data: q}), Scale: l.floats(scale)}
}

// quantized notes the values that stand in for operand k.
func (n *node) quantized(k int, a *onnx.Array, used []float32) error {
	v, err := recurrent.Array(a.Type, slices.Clone(a.Dims), used)
	if err != nil {
		return err
	}
	n.quants = append(n.quants, runtime.Override{Node: n.Node, Slot: k, Value: v})
	return nil
}

// computedRows gives a matrix that is no constant as rows.
func (n *node) computedRows(k, rows, columns int, transposed bool, factor float32) (Weight, error) {
	t, err := n.floatIn(k)
	if err != nil {
		return Weight{}, err
	}
	if !transposed && factor == 1 {
		return Weight{Buf: t.buf}, nil
	}
	name := n.Input(k)
	_, merged := n.merged[name]
	key := fmt.Sprintf("%s\x00%d×%d %v %g", name, rows, columns, transposed, factor)
	if w, done := n.merged[key]; done {
		return Weight{Buf: w.buf}, nil
	}
	out := temp(Float32, rows*columns)
	from := Ref{Buf: t.buf, Strides: []int{columns, 1}}
	if transposed {
		from.Strides = []int{1, rows}
	}
	step := newNest([]int{rows, columns}, Ref{Buf: out, Strides: []int{columns, 1}}, []Ref{from}, Expr{Op: "linear", Params: []float32{factor, 0}})
	if merged {
		out.Space = Merged
		n.program.Init = append(n.program.Init, step)
		n.merged[key] = tensor{out, []int{rows, columns}}
	} else {
		n.add(step)
	}
	return Weight{Buf: out}, nil
}
