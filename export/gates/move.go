package gates

import (
	"context"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/export/source"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/runtime"
)

func sqrt(x float32) float32 { return float32(math.Sqrt(float64(x))) }

// maxSelection bounds the elements of a matrix that selects.
const maxSelection = 1 << 22

// lowerMover is for operators that only pick elements of their first operand: what they pick is found by running them on the numbers of the elements.
func lowerMover(e *emitter, n *onnx.Node) string {
	for k, name := range n.Inputs {
		if k > 0 && name != "" && !e.v.Constant(name) {
			return fmt.Sprintf("operand %d is not constant", k)
		}
	}
	picked, err := e.numbers(n)
	if err != nil {
		e.err = fmt.Errorf("export: gates: %v: %w", n, err)
		return ""
	}
	for k, name := range n.Outputs {
		if name == "" || picked[name] == nil {
			continue
		}
		at, err := picked[name].Ints()
		if err != nil {
			e.err = fmt.Errorf("export: gates: %v: %w", n, err)
			return ""
		}
		v, why := e.pick(n, e.get(n.Input(0)), e.dims(n.Input(0)), e.dims(name), at)
		if why != "" {
			return why
		}
		e.set(n, k, v)
	}
	return ""
}

// numbers runs a node on 0, 1, 2, … in the dims of its first operand, for the outputs that are read.
func (e *emitter) numbers(n *onnx.Node) (map[string]*onnx.Array, error) {
	p, err := n.Proto()
	if err != nil {
		return nil, err
	}
	g := &onnxpb.GraphProto{Name: proto.String("numbers"), Node: []*onnxpb.NodeProto{p}}
	m := &onnxpb.ModelProto{IrVersion: proto.Int64(firstIR), Graph: g,
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(e.v.Model().Opset(""))}}}
	for _, name := range n.Outputs {
		if e.v.Of(name) != nil {
			g.Output = append(g.Output, port(name, onnx.Int64, e.dims(name)))
		}
	}
	first := n.Input(0)
	dims := e.dims(first)
	g.Input = []*onnxpb.ValueInfoProto{port(first, onnx.Int64, dims)}
	for k, name := range n.Inputs {
		if k == 0 || name == "" || slices.Contains(n.Inputs[:k], name) {
			continue
		}
		t, err := stored(name, e.v.Of(name))
		if err != nil {
			return nil, err
		}
		g.Initializer = append(g.Initializer, t)
	}
	model, err := onnx.FromProto("numbers", m)
	if err != nil {
		return nil, err
	}
	program, err := runtime.Compile(context.Background(), model, runtime.Options{})
	if err != nil {
		return nil, err
	}
	all := make([]int64, size(dims))
	for k := range all {
		all[k] = int64(k)
	}
	return program.Run(context.Background(), map[string]*onnx.Array{first: {Type: onnx.Int64, Dims: dims, Data: all}})
}

// pick gives the elements at index, in dims to, of a value that the model sees in dims: axis by axis where they are chosen so, else by one matrix for all of them.
func (e *emitter) pick(n *onnx.Node, v value, dims, to, index []int) (value, string) {
	if len(index) == size(dims) && slices.IsSorted(index) && (len(index) == 0 || index[0] == 0 && index[len(index)-1] == len(index)-1) {
		return v, ""
	}
	for axis := len(dims) - 1; axis >= 0; axis-- {
		outer, count, inner := size(dims[:axis]), dims[axis], size(dims[axis+1:])
		if chosen := alongAxis(index, outer, count, inner); chosen != nil {
			return e.selected(n, v, outer, count, inner, chosen)
		}
	}
	if chosen := byAxes(index, dims, to); chosen != nil {
		now := slices.Clone(dims)
		for axis, c := range chosen {
			if now[axis] == len(c) && slices.IsSorted(c) && c[0] == 0 && c[len(c)-1] == len(c)-1 {
				continue
			}
			var why string
			if v, why = e.selected(n, v, size(now[:axis]), now[axis], size(now[axis+1:]), c); why != "" {
				return v, why
			}
			now[axis] = len(c)
		}
		return v, ""
	}
	return e.selected(n, v, 1, size(dims), 1, index)
}

// byAxes gives what is chosen along each axis, nil where index is not of that kind.
func byAxes(index, dims, to []int) [][]int {
	if len(dims) != len(to) || len(index) == 0 {
		return nil
	}
	chosen := make([][]int, len(dims))
	for axis, d := range dims {
		each := size(to[axis+1:])
		stride := size(dims[axis+1:])
		for j := range to[axis] {
			chosen[axis] = append(chosen[axis], index[j*each]/stride%d)
		}
	}
	for k, at := range index {
		rest, want := k, 0
		for axis := range dims {
			each := size(to[axis+1:])
			want = want*dims[axis] + chosen[axis][rest/each]
			rest %= each
		}
		if at != want {
			return nil
		}
	}
	return chosen
}

// alongAxis gives what is chosen along one axis, nil where index is not of that kind.
func alongAxis(index []int, outer, count, inner int) []int {
	if len(index) == 0 || len(index)%(outer*inner) != 0 {
		return nil
	}
	m := len(index) / (outer * inner)
	chosen := make([]int, m)
	for j := range chosen {
		if chosen[j] = index[j*inner] / inner; chosen[j] >= count {
			return nil
		}
	}
	for k, at := range index {
		o, j, i := k/inner/m, k/inner%m, k%inner
		if at != (o*count+chosen[j])*inner+i {
			return nil
		}
	}
	return chosen
}

// selected takes entries of the middle one of three axes.
func (e *emitter) selected(n *onnx.Node, v value, outer, count, inner int, chosen []int) (value, string) {
	if len(chosen)*count > maxSelection {
		return value{}, fmt.Sprintf("a matrix that picks %d of %d elements is too large", len(chosen), count)
	}
	m := make([]float32, len(chosen)*count)
	for j, at := range chosen {
		m[j*count+at] = 1
	}
	return e.product(n, v, outer, count, inner, len(chosen), m), ""
}

// product multiplies the middle one of three axes, of count entries, by a matrix [to, count].
func (e *emitter) product(n *onnx.Node, v value, outer, count, inner, to int, m []float32) value {
	name := source.FirstOutput(n)
	left := func(x value, columns int) value {
		return e.emit("MatMul", name+".part", []int{to, columns}, []value{e.constant(name+".pick", []int{to, count}, m), e.as(x, count, columns)})
	}
	switch {
	case outer == 1:
		return left(v, inner)
	case inner == 1:
		return e.emit("MatMul", name+".part", []int{outer, to}, []value{e.as(v, outer, count), e.constant(name+".pick", []int{count, to}, transposed(m, to, count))})
	}
	swap := intsAttribute("perm", []int{1, 0, 2})
	x := e.emit("Transpose", name+".front", []int{count, outer, inner}, []value{e.as(v, outer, count, inner)}, swap)
	y := left(x, outer*inner)
	return e.emit("Transpose", name+".back", []int{outer, to, inner}, []value{e.as(y, to, outer, inner)}, swap)
}

// lowerTranspose leaves out axes of one entry; where the others keep their order nothing moves.
func lowerTranspose(e *emitter, n *onnx.Node) string {
	dims := e.dims(n.Input(0))
	perm, err := n.AttrInts("perm")
	if err != nil {
		e.err = err
		return ""
	}
	if perm == nil {
		for k := range dims {
			perm = append(perm, int64(len(dims)-1-k))
		}
	}
	place := make([]int, len(dims)) // of an axis among those of more than one entry
	var kept []int
	for k, d := range dims {
		if d != 1 {
			place[k] = len(kept)
			kept = append(kept, d)
		}
	}
	var order, out []int
	for _, axis := range perm {
		if d := dims[axis]; d != 1 {
			order, out = append(order, place[axis]), append(out, d)
		}
	}
	x := e.get(n.Input(0))
	if slices.IsSorted(order) {
		e.set(n, 0, x)
		return ""
	}
	e.set(n, 0, e.emit("Transpose", n.Output(0), out, []value{e.as(x, kept...)}, intsAttribute("perm", order)))
	return ""
}

// lowerConcat joins matrices along their second axis.
func lowerConcat(e *emitter, n *onnx.Node) string {
	out := e.dims(n.Output(0))
	axis, err := n.AttrInt("axis", 1)
	if err != nil {
		e.err = err
		return ""
	}
	k := int(axis)
	if k < 0 {
		k += len(out)
	}
	rows := size(out[:k])
	var parts []value
	for _, name := range n.Inputs {
		if d := e.dims(name); size(d) > 0 {
			parts = append(parts, e.as(e.get(name), rows, size(d[k:])))
		}
	}
	if len(parts) == 1 {
		e.set(n, 0, parts[0])
		return ""
	}
	e.set(n, 0, e.emit("Concat", n.Output(0), []int{rows, size(out[k:])}, parts, intAttribute("axis", 1)))
	return ""
}
