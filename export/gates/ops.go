package gates

import (
	"cmp"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// lowering writes a node; what it gives back says why it cannot, "" where it can.
type lowering func(e *emitter, n *onnx.Node) string

var lowerings map[string]lowering

// The table is filled here and not in its declaration, because lowerings come back to it.
func init() {
	lowerings = map[string]lowering{
		"LSTM": lowerCell, "GRU": lowerCell, "RNN": lowerCell,
		"Identity": lowerSame, "Reshape": lowerSame, "Squeeze": lowerSame, "Unsqueeze": lowerSame, "Flatten": lowerSame, "Dropout": lowerSame,
		"Slice": lowerMover, "Gather": lowerMover, "Split": lowerMover, "Expand": lowerMover, "Tile": lowerMover,
		"Transpose": lowerTranspose, "Concat": lowerConcat, "MatMul": lowerMatMul, "Gemm": lowerGemm,
		"Add": lowerBinary, "Sub": lowerBinary, "Mul": lowerBinary, "Div": lowerBinary,
		"ReduceSum": lowerReduce, "ReduceMean": lowerReduce, "BatchNormalization": lowerBatchNorm, "Conv": lowerConv,
		"Softmax": lowerSoftmax, "LogSoftmax": lowerSoftmax, "Neg": lowerNeg,
	}
	for _, op := range []string{"Sigmoid", "Tanh", "Relu", "LeakyRelu", "Elu", "Selu", "HardSigmoid", "Softplus", "Softsign", "Exp", "Log", "Sqrt", "Abs", "Reciprocal", "Erf"} {
		lowerings[op] = lowerUnary
	}
}

func (e *emitter) node(n *onnx.Node) string {
	lower := lowerings[n.OpType]
	if n.Domain != "" || lower == nil {
		return "its operator has no such form"
	}
	for _, name := range slices.Concat(n.Inputs, n.Outputs) {
		if a := e.v.Of(name); a != nil && a.Type != onnx.Float && !e.v.Constant(name) {
			return fmt.Sprintf("%q is of type %v, only float is computed with", name, a.Type)
		}
	}
	return lower(e, n)
}

// lowerSame is for nodes that change dims only.
func lowerSame(e *emitter, n *onnx.Node) string {
	e.set(n, 0, e.get(n.Input(0)))
	return ""
}

func lowerUnary(e *emitter, n *onnx.Node) string {
	p, err := n.Proto()
	if err != nil {
		e.err = err
		return ""
	}
	x := e.get(n.Input(0))
	e.set(n, 0, e.emit(n.OpType, n.Output(0), x.dims, []value{x}, p.Attribute...))
	return ""
}

func lowerNeg(e *emitter, n *onnx.Node) string {
	x := e.get(n.Input(0))
	e.set(n, 0, e.emit("Mul", n.Output(0), x.dims, []value{x, e.filled(n.Output(0)+".minus", x.dims, -1)}))
	return ""
}

// filled is a constant of one number.
func (e *emitter) filled(name string, dims []int, v float32) value {
	data := make([]float32, size(dims))
	for k := range data {
		data[k] = v
	}
	return e.constant(name, dims, data)
}

// lowerBinary gives both operands the dims of the result, of two axes.
func lowerBinary(e *emitter, n *onnx.Node) string {
	out := e.dims(n.Output(0))
	rows, columns := matrix(out)
	op := n.OpType
	var operands []value
	for k, name := range n.Inputs {
		v, divisor := value{}, k == 1 && op == "Div" && e.v.Constant(name)
		if e.v.Constant(name) {
			data := spread(e.floats(name), e.dims(name), out)
			if divisor {
				op = "Mul"
				for i := range data {
					data[i] = 1 / data[i]
				}
			}
			v = e.constant(name+".wide", []int{rows, columns}, data)
		} else {
			v = e.widened(n, name, out)
		}
		operands = append(operands, e.as(v, rows, columns))
	}
	e.set(n, 0, e.emit(op, n.Output(0), []int{rows, columns}, operands))
	return ""
}

// spread broadcasts elements of dims from to dims to.
func spread(data []float32, from, to []int) []float32 {
	out := make([]float32, size(to))
	for k, at := range spreadIndex(from, to) {
		out[k] = data[at]
	}
	return out
}

// spreadIndex says where each element of a broadcast comes from.
func spreadIndex(from, to []int) []int {
	strides := make([]int, len(to))
	step := 1
	for k := len(from) - 1; k >= 0; k-- {
		if at := k + len(to) - len(from); from[k] > 1 {
			strides[at] = step
			step *= from[k]
		}
	}
	index := make([]int, size(to))
	for k := range index {
		rest, at := k, 0
		for a := len(to) - 1; a >= 0; a-- {
			at += rest % to[a] * strides[a]
			rest /= to[a]
		}
		index[k] = at
	}
	return index
}

// widened broadcasts a value of the model.
func (e *emitter) widened(n *onnx.Node, name string, out []int) value {
	from := e.dims(name)
	if size(from) == size(out) {
		return e.get(name)
	}
	v, why := e.pick(n, e.get(name), from, out, spreadIndex(from, out))
	if why != "" && e.err == nil {
		e.err = &UnsupportedError{[]string{n.String() + ": " + why}}
	}
	return v
}

func lowerMatMul(e *emitter, n *onnx.Node) string {
	a, b := e.dims(n.Input(0)), e.dims(n.Input(1))
	if len(a) == 1 {
		a = []int{1, a[0]}
	}
	if len(b) == 1 {
		b = []int{b[0], 1}
	}
	rows, k := matrix(a)
	inner, columns := b[len(b)-2], b[len(b)-1]
	if size(b) != inner*columns {
		return "it multiplies by a stack of matrices"
	}
	x, w := e.as(e.get(n.Input(0)), rows, k), e.as(e.get(n.Input(1)), inner, columns)
	e.set(n, 0, e.emit("MatMul", n.Output(0), []int{rows, columns}, []value{x, w}))
	return ""
}

func lowerGemm(e *emitter, n *onnx.Node) string {
	alpha, err := n.AttrFloat("alpha", 1)
	beta, err2 := n.AttrFloat("beta", 1)
	transA, err3 := n.AttrInt("transA", 0)
	transB, err4 := n.AttrInt("transB", 0)
	if e.err = cmp.Or(err, err2, err3, err4); e.err != nil {
		return ""
	}
	out := e.dims(n.Output(0))
	a, b := e.dims(n.Input(0)), e.dims(n.Input(1))
	x := e.as(e.get(n.Input(0)), a...)
	if transA != 0 {
		x = e.turned(n.Output(0)+".a", x)
	}
	var w value
	if e.v.Constant(n.Input(1)) {
		data := slices.Clone(e.floats(n.Input(1)))
		if transB != 0 {
			data, b = transposed(data, b[0], b[1]), []int{b[1], b[0]}
		}
		for k := range data {
			data[k] *= alpha
		}
		w, alpha = e.constant(n.Input(1)+".matrix", b, data), 1
	} else if w = e.as(e.get(n.Input(1)), b...); transB != 0 {
		w = e.turned(n.Output(0)+".b", w)
	}
	y := e.emit("MatMul", n.Output(0), out, []value{x, w})
	if alpha != 1 {
		y = e.emit("Mul", n.Output(0), out, []value{y, e.filled(n.Output(0)+".alpha", out, alpha)})
	}
	if c := n.Input(2); c != "" && beta != 0 {
		var term value
		if e.v.Constant(c) {
			data := spread(e.floats(c), e.dims(c), out)
			for k := range data {
				data[k] *= beta
			}
			term = e.constant(c+".wide", out, data)
		} else if term = e.as(e.widened(n, c, out), out...); beta != 1 {
			term = e.emit("Mul", n.Output(0), out, []value{term, e.filled(n.Output(0)+".beta", out, beta)})
		}
		y = e.emit("Add", n.Output(0), out, []value{y, term})
	}
	e.set(n, 0, y)
	return ""
}

// turned transposes a matrix.
func (e *emitter) turned(name string, v value) value {
	return e.emit("Transpose", name, []int{v.dims[1], v.dims[0]}, []value{v}, intsAttribute("perm", []int{1, 0}))
}

func intsAttribute(name string, v []int) *onnxpb.AttributeProto {
	a := &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_INTS.Enum()}
	for _, x := range v {
		a.Ints = append(a.Ints, int64(x))
	}
	return a
}

// transposed is the transpose of a matrix [rows, columns].
func transposed(data []float32, rows, columns int) []float32 {
	out := make([]float32, len(data))
	for r := range rows {
		for c := range columns {
			out[c*rows+r] = data[r*columns+c]
		}
	}
	return out
}

// lowerSoftmax stays what it is, over the second of two axes.
func lowerSoftmax(e *emitter, n *onnx.Node) string {
	dims := e.dims(n.Input(0))
	opset := e.v.Model().Opset("")
	otherwise := int64(-1)
	if opset < 13 {
		otherwise = 1
	}
	axis, err := n.AttrInt("axis", otherwise)
	if err != nil {
		e.err = err
		return ""
	}
	k := int(axis)
	if k < 0 {
		k += len(dims)
	}
	if opset >= 13 && size(dims[k+1:]) != 1 {
		return "it does not work along the last axis"
	}
	flat := []int{size(dims[:k]), size(dims[k:])}
	e.set(n, 0, e.emit(n.OpType, n.Output(0), flat, []value{e.as(e.get(n.Input(0)), flat...)}, intAttribute("axis", 1)))
	return ""
}

// lowerReduce multiplies with a matrix of equal numbers.
func lowerReduce(e *emitter, n *onnx.Node) string {
	dims, out := e.dims(n.Input(0)), e.dims(n.Output(0))
	var axes []int64
	if a := n.Attr("axes"); a != nil {
		axes = a.Ints
	} else if n.Input(1) != "" {
		axes, e.err = e.v.Of(n.Input(1)).Int64s()
	} else {
		for k := range dims {
			axes = append(axes, int64(k))
		}
	}
	if size(out) == size(dims) {
		return lowerSame(e, n)
	}
	reduced := make([]bool, len(dims))
	for _, a := range axes {
		if a < 0 {
			a += int64(len(dims))
		}
		reduced[a] = dims[a] > 1
	}
	first := slices.Index(reduced, true)
	last := len(reduced)
	for last > 0 && !reduced[last-1] {
		last--
	}
	if first < 0 {
		return lowerSame(e, n)
	}
	for k := first; k < last; k++ {
		if !reduced[k] && dims[k] > 1 {
			return "it reduces axes that do not lie together"
		}
	}
	count := size(dims[first:last])
	each := float32(1)
	if n.OpType == "ReduceMean" {
		each = 1 / float32(count)
	}
	row := make([]float32, count)
	for k := range row {
		row[k] = each
	}
	e.set(n, 0, e.product(n, e.get(n.Input(0)), size(dims[:first]), count, size(dims[last:]), 1, row))
	return ""
}

// lowerBatchNorm scales and shifts: in use, all its operands but the first are constant.
func lowerBatchNorm(e *emitter, n *onnx.Node) string {
	dims := e.dims(n.Input(0))
	epsilon, err := n.AttrFloat("epsilon", 1e-5)
	if err != nil {
		e.err = err
		return ""
	}
	for k, name := range n.Inputs {
		if k > 0 && !e.v.Constant(name) {
			return fmt.Sprintf("operand %d is not constant", k)
		}
	}
	if len(dims) < 2 {
		return "its data have no channels"
	}
	scale, shift, mean, variance := e.floats(n.Input(1)), e.floats(n.Input(2)), e.floats(n.Input(3)), e.floats(n.Input(4))
	by, plus := make([]float32, size(dims)), make([]float32, size(dims))
	inner := size(dims[2:])
	for k := range by {
		c := k / inner % dims[1]
		by[k] = scale[c] / sqrt(variance[c]+epsilon)
		plus[k] = shift[c] - mean[c]*by[k]
	}
	x := e.get(n.Input(0))
	y := e.emit("Mul", n.Output(0), x.dims, []value{x, e.constant(n.Output(0)+".scale", x.dims, by)})
	e.set(n, 0, e.emit("Add", n.Output(0), x.dims, []value{y, e.constant(n.Output(0)+".shift", x.dims, plus)}))
	return ""
}

// lowerConv is for convolutions that see one place: a product with the weights that meet it.
func lowerConv(e *emitter, n *onnx.Node) string {
	x, w, out := e.dims(n.Input(0)), e.dims(n.Input(1)), e.dims(n.Output(0))
	if !e.v.Constant(n.Input(1)) || n.Input(2) != "" && !e.v.Constant(n.Input(2)) {
		return "its weights are not constant"
	}
	if size(x[2:]) != 1 || size(out[2:]) != 1 {
		return "it works on more than one place"
	}
	group, err := n.AttrInt("group", 1)
	pads, err2 := n.AttrInts("pads")
	dilations, err3 := n.AttrInts("dilations")
	auto, err4 := n.AttrString("auto_pad", "NOTSET")
	if e.err = cmp.Or(err, err2, err3, err4); e.err != nil {
		return ""
	}
	if auto != "NOTSET" && auto != "VALID" && size(w[2:]) != 1 {
		return "padding " + auto
	}
	tap := 0
	for k, size := range w[2:] {
		at, dilation := int64(0), int64(1)
		if pads != nil {
			at = pads[k]
		}
		if dilations != nil {
			dilation = dilations[k]
		}
		if at%dilation != 0 || at/dilation >= int64(size) {
			return "its window does not meet the place"
		}
		tap = tap*size + int(at/dilation)
	}
	data := e.floats(n.Input(1))
	channels, filters, window := x[1], out[1], size(w[2:])
	m := make([]float32, channels*filters)
	for f := range filters {
		g := f / (filters / int(group))
		for c := range w[1] {
			m[(g*w[1]+c)*filters+f] = data[(f*w[1]+c)*window+tap]
		}
	}
	y := e.emit("MatMul", n.Output(0), []int{x[0], filters}, []value{e.as(e.get(n.Input(0)), x[0], channels), e.constant(n.Input(1)+".matrix", []int{channels, filters}, m)})
	if b := n.Input(2); b != "" {
		y = e.emit("Add", n.Output(0), y.dims, []value{y, e.constant(b+".wide", y.dims, spread(e.floats(b), e.dims(b), y.dims))})
	}
	e.set(n, 0, y)
	return ""
}
