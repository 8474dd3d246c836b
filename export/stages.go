package export

import (
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/tensor"
)

// A factor whose cores carry modes of both sides has no cut through which few features pass. It is written in one of two ways, both with
// the cores merged to two groups A and B (see [tensor.Stages]):
//
//   - the frames go through A and B, and the node's W is the identity: x·1 = x, so nothing is lost (form cores);
//   - A and B are multiplied out to Ŵ, the node's W (form bottleneck). A runtime does so once, when it loads the model, and then
//     computes the dense layer.

// unsidedForm is the form in which a factor without sides is written where form is asked for.
func unsidedForm(f *tensor.Factor, form Form, opset int64) Form {
	s := f.Stages()
	if opset >= identityOpset && (form == Cores && s.Smaller(f.Out, f.In) || form == Bottleneck && s.Faster(f.Out, f.In)) {
		return Cores
	}
	return Bottleneck
}

// identityOpset is the first with all operators of identity.
const identityOpset = 9

// identity is the W [D, G·H, D·G·H] of a node that takes its pre-activations as they are. It is made of no stored number: a column of ones
// beside zeros is one element wider than the identity, whose ones it therefore has in its first elements.
func (b *builder) identity(s *recurrent.Site) string {
	b.at = nil
	n := s.Rows()
	x := b.pad(b.node("ConstantOfShape", []string{b.ints(n, 1)}, ones(b.elem)), 0, 0, 0, n)
	x = b.reshape(b.head(b.reshape(x, -1), 0, n*n), weightDims(s, n)...)
	if b.elem == onnx.BFloat16 { // which ConstantOfShape does not make
		to, name := int64(b.elem), "to"
		x = b.node("Cast", []string{x}, &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_INT.Enum(), I: &to})
	}
	return x
}

// ones is the attribute of a ConstantOfShape that fills with 1.
func ones(elem onnx.DataType) *onnxpb.AttributeProto {
	name := "value"
	t := &onnxpb.TensorProto{Dims: []int64{1}}
	switch elem {
	case onnx.Double:
		t.DoubleData = []float64{1}
	case onnx.Float16:
		t.Int32Data = []int32{int32(onnx.Float32ToFloat16(1))}
	default:
		elem, t.FloatData = onnx.Float, []float32{1}
	}
	code := int32(elem)
	t.DataType = &code
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_TENSOR.Enum(), T: t}
}

// group merges neighbouring cores and returns the value with the content [left, rows, columns, right], not yet in that shape unless it
// is told so by the caller. Each core is multiplied to the right end, and its rows are then moved beside the rows before it.
func (b *builder) group(f *tensor.Factor, names []string, from, to int) string {
	slots := f.Slots()
	row, col := max(slots[from].Row, 1), max(slots[from].Col, 1)
	m := names[from]
	for k := from + 1; k < to; k++ {
		c, moreRows, moreCols := f.Cores[k], max(slots[k].Row, 1), max(slots[k].Col, 1)
		m = b.matmul(b.reshape(m, -1, c.Left), b.reshape(names[k], 0, -1))
		if col > 1 && moreRows > 1 {
			m = b.reshape(m, f.Cores[from].Left*row, col, moreRows, moreCols*c.Right)
			m = b.transpose(m, 0, 2, 1, 3)
		}
		row, col = row*moreRows, col*moreCols
	}
	return m
}

// parts are the two groups of stages, A [r_0, M1, N1, r_m] and B [r_m, M2, N2, r_0], cut after the given number of cores.
func (b *builder) parts(f *tensor.Factor, names []string, at int) (a, z string, s tensor.Stages) {
	b.at = nil
	s = f.StagesAt(at)
	r0, rm := f.Cores[0].Left, f.Cores[at].Left
	a = b.reshape(b.group(f, names, 0, at), r0, s.M1, s.N1, rm)
	z = b.reshape(b.group(f, names, at, len(names)), rm, s.M2, s.N2, r0)
	return a, z, s
}

// stages returns what takes X [T, B, I] through both groups to the pre-activations [T, B, D·G·H]. Where ∏ modes exceeds I, frames are
// padded with zeros.
func (b *builder) stages(f *tensor.Factor, names []string) func(x string) string {
	best := f.Stages()
	first, second, s := b.parts(f, names, best.At)
	if best.LeftFirst {
		first = b.reshape(b.transpose(first, 1, 0, 3, 2), -1, s.N1)
		second = b.reshape(b.transpose(second, 3, 0, 2, 1), -1, s.M2)
	} else {
		first = b.reshape(b.transpose(first, 1, 2, 0, 3), s.M1, -1)
		second = b.reshape(b.transpose(second, 2, 3, 0, 1), s.N2, -1)
	}
	return func(x string) string {
		if n := s.N1 * s.N2; n > f.In {
			x = b.padFrames(x, n-f.In)
		}
		x = b.reshape(x, 0, 0, s.N1, s.N2)
		if best.LeftFirst {
			x = b.matmul(b.reshape(b.matmul(first, x), 0, 0, s.M1, s.R*s.N2), second)
		} else {
			x = b.matmul(first, b.reshape(b.matmul(x, second), 0, 0, s.N1*s.R, s.M2))
		}
		return b.reshape(x, 0, 0, f.Out)
	}
}

// whole multiplies the groups out to Ŵ in the given dims, [D, G·H, I] for a recurrent layer, cut where the larger group is smallest.
func (b *builder) whole(f *tensor.Factor, names []string, dims ...int) string {
	a, z, s := b.parts(f, names, f.BalancedCut())
	a = b.reshape(b.transpose(a, 1, 2, 0, 3), s.M1*s.N1, s.R)
	z = b.reshape(b.transpose(z, 3, 0, 1, 2), s.R, s.M2*s.N2)
	w := b.reshape(b.matmul(a, z), s.M1, s.N1, s.M2, s.N2)
	w = b.transpose(w, 0, 2, 1, 3)
	if n := s.N1 * s.N2; n > f.In {
		w = b.head(b.reshape(w, f.Out, n), 1, f.In)
	}
	return b.reshape(w, dims...)
}
