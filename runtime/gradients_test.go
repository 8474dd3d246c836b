package runtime

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// initTensor stores a tensor of float32, float64, int32, int64, uint8, int8 or bool.
func initTensor(name string, t *Tensor) *onnxpb.TensorProto {
	p := &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(int32(t.Type)), Dims: []int64{}}
	for _, d := range t.Dims {
		p.Dims = append(p.Dims, int64(d))
	}
	switch d := t.Data.(type) {
	case []float32:
		p.FloatData = d
	case []float64:
		p.DoubleData = d
	case []int64:
		p.Int64Data = d
	default:
		v, err := convertTo[int32](t)
		if err != nil {
			panic(err)
		}
		p.Int32Data = v
	}
	return p
}

// spread gives doubles in [lo, hi] in random order, no two alike and none near 0 if the interval is around it, so that they stand away from kinks and ties.
func spread(lo, hi float64, dims ...int) *Tensor {
	n := elements(dims)
	rng := rand.New(rand.NewPCG(uint64(n), uint64(len(dims))))
	v := make([]float64, n)
	for i, k := range rng.Perm(n) {
		v[i] = lo + (hi-lo)*(float64(k)+0.3+0.4*rng.Float64())/float64(n)
		if lo < 0 && hi > 0 {
			if v[i] > -0.01 && v[i] < 0.01 {
				v[i] += 0.02
			}
		}
	}
	return newTensor(onnx.Double, dims, v)
}

func doubles(dims []int, v ...float64) *Tensor { return newTensor(onnx.Double, dims, v) }

// nodeGradientCase is one node whose double inputs are parameters; the others are constants.
type nodeGradientCase struct {
	opset int64
	node  *onnxpb.NodeProto
	in    []*Tensor
}

// model makes the case a model of one node.
func (c nodeGradientCase) model(t *testing.T) (m *onnx.Model, parameters []string) {
	t.Helper()
	var inits []*onnxpb.TensorProto
	seen := map[string]bool{}
	for _, name := range c.node.Input {
		if name == "" || seen[name] {
			continue
		}
		seen[name] = true
		x := c.in[len(inits)]
		inits = append(inits, initTensor(name, x))
		if x.Type == onnx.Double {
			parameters = append(parameters, name)
		}
	}
	var outputs []string
	for _, name := range c.node.Output {
		if name != "" {
			outputs = append(outputs, name)
		}
	}
	p := modelProto(graph(nil, untyped(strings.Join(outputs, " ")), inits, c.node))
	p.OpsetImport[0].Version = proto.Int64(c.opset)
	b, err := proto.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if m, err = onnx.Decode("test", b); err != nil {
		t.Fatal(err)
	}
	return m, parameters
}

// TestOperatorGradients: the oracle is central differences in float64.
func TestOperatorGradients(t *testing.T) {
	for _, c := range nodeGradientCases() {
		name := fmt.Sprintf("%s_%d", c.node.GetOpType(), c.opset)
		for _, x := range c.in {
			name += strings.ReplaceAll(fmt.Sprintf("_%v", x.Dims), " ", ",")
		}
		t.Run(name, func(t *testing.T) {
			m, parameters := c.model(t)
			checkGradients(t, m, nil, parameters...)
		})
	}
}

func nodeGradientCases() []nodeGradientCase {
	var cases []nodeGradientCase
	add := func(opset int64, n *onnxpb.NodeProto, in ...*Tensor) {
		cases = append(cases, nodeGradientCase{opset, n, in})
	}
	unit := func(dims ...int) *Tensor { return spread(-1, 1, dims...) }
	positive := func(dims ...int) *Tensor { return spread(0.5, 2, dims...) }

	for _, op := range []string{"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min"} {
		for _, dims := range [][2][]int{{{2, 3}, {2, 3}}, {{2, 3}, {3}}, {{3}, {2, 1, 3}}, {{4, 1}, {1, 5}}, {{}, {2, 2}}, {{2, 2}, {1}}, {{2, 3, 4}, {3, 1}}} {
			add(14, node(op, "a b", "y"), positive(dims[0]...), spread(0.6, 1.9, dims[1]...))
		}
	}
	for _, op := range []string{"Add", "Sub", "Mul", "Div", "Pow"} {
		add(6, node(op, "a b", "y", intAttr("broadcast", 1), intAttr("axis", 1)), positive(2, 3, 2), positive(3))
	}
	add(13, node("Pow", "a b", "y"), unit(5), f32([]int{5}, 0, 1, 2, 3, 4))
	add(13, node("Pow", "a b", "y"), unit(2, 2), int64List(3))
	add(13, node("Mod", "a b", "y", intAttr("fmod", 1)), doubles([]int{4}, 5.3, -4.6, 2.2, 9.5), doubles([]int{4}, 2, 1.7, -0.9, 3.3))
	for _, op := range []string{"Sum", "Mean", "Max", "Min"} {
		add(13, node(op, "a b c", "y"), unit(2, 3), spread(-0.9, 1.1, 3), spread(-1.2, 0.8, 2, 1))
		add(13, node(op, "a", "y"), unit(2, 3))
	}
	add(16, node("Where", "c a b", "y"), typedTensor(onnx.Bool, []int{3}, true, false, true), unit(2, 3), unit(1))
	add(16, node("Where", "c a b", "y"), typedTensor(onnx.Bool, []int{2, 1}, true, false), unit(3), unit(2, 1))
	add(13, node("Clip", "x lo hi", "y"), unit(9), doubles(nil, -0.5), doubles(nil, 0.4))
	add(13, node("Clip", "x _ hi", "y"), unit(9), doubles([]int{1}, 0.4))
	add(13, node("Clip", "x lo hi", "y"), unit(4), doubles(nil, 0.6), doubles(nil, 0.4))
	add(6, node("Clip", "x", "y", floatAttr("min", -0.5), floatAttr("max", 0.25)), unit(9))
	add(6, node("Clip", "x", "y"), unit(3))

	for _, op := range strings.Fields("Abs Neg Sign Relu Asin Asinh Atan Atanh Cos Cosh Erf Exp HardSwish Mish Sigmoid Sin Sinh Softplus Softsign Tan Tanh Celu Elu Gelu HardSigmoid LeakyRelu Selu Shrink Swish ThresholdedRelu Identity Acos Reciprocal") {
		add(24, node(op, "x", "y"), spread(-0.9, 0.9, 2, 7))
	}
	for _, op := range strings.Fields("Log Sqrt Reciprocal Softplus Gelu HardSwish Mish ThresholdedRelu HardSigmoid Erf") {
		add(24, node(op, "x", "y"), spread(0.3, 4.7, 11))
	}
	for _, op := range strings.Fields("HardSwish Mish Softsign Celu Elu Selu HardSigmoid Gelu Swish Shrink Tanh Sigmoid") {
		add(24, node(op, "x", "y"), spread(-5.2, 5.3, 17))
	}
	add(13, node("Acosh", "x", "y"), spread(1.2, 3, 5))
	add(13, node("Celu", "x", "y", floatAttr("alpha", 0.7)), unit(6))
	add(13, node("Elu", "x", "y", floatAttr("alpha", 0.7)), unit(6))
	add(13, node("LeakyRelu", "x", "y", floatAttr("alpha", 0.3)), unit(6))
	add(13, node("Selu", "x", "y", floatAttr("alpha", 0.7), floatAttr("gamma", 1.3)), unit(6))
	add(5, node("Selu", "x", "y"), unit(6))
	add(13, node("HardSigmoid", "x", "y", floatAttr("alpha", 0.6), floatAttr("beta", 0.4)), spread(-1, 1.5, 9))
	add(13, node("Shrink", "x", "y", floatAttr("bias", 0.2), floatAttr("lambd", 0.35)), unit(8))
	add(13, node("ThresholdedRelu", "x", "y", floatAttr("alpha", 0.35)), unit(8))
	add(24, node("Swish", "x", "y", floatAttr("alpha", 1.5)), unit(6))
	add(20, node("Gelu", "x", "y", stringAttr("approximate", "tanh")), spread(-3, 3, 9))
	add(16, node("PRelu", "x s", "y"), unit(2, 3, 2), positive(3, 1))
	add(16, node("PRelu", "x s", "y"), unit(2, 3), positive(1))
	add(6, node("PRelu", "x s", "y"), unit(2, 3, 2), positive(3))
	add(13, node("Cast", "x", "y", intAttr("to", int64(onnx.Double))), unit(3))
	add(15, node("CastLike", "x t", "y"), unit(3), doubles(nil, 1))
	add(13, node("Dropout", "x", "y m"), unit(3))
	add(7, node("Dropout", "x", "y"), unit(3))

	for _, axes := range [][]int64{{1}, {0, 2}, {-1}, {0, 1, 2}, nil} {
		for _, op := range strings.Fields("ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare") {
			for _, keep := range []int64{0, 1} {
				attrs := []*onnxpb.AttributeProto{intAttr("keepdims", keep)}
				if axes == nil {
					add(18, node(op, "x", "y", attrs...), positive(2, 3, 2))
					add(18, node(op, "x", "y", append(attrs, intAttr("noop_with_empty_axes", 1))...), positive(2, 3, 2))
					add(11, node(op, "x", "y", attrs...), positive(2, 3))
				} else {
					add(18, node(op, "x a", "y", attrs...), positive(2, 3, 2), int64List(axes...))
					add(11, node(op, "x", "y", append(attrs, intsAttr("axes", axes...))...), positive(2, 3, 2))
				}
			}
		}
	}
	add(13, node("ReduceProd", "x", "y"), doubles([]int{4}, 0.5, 0, 2, -1))
	add(13, node("ReduceProd", "x", "y"), doubles([]int{4}, 0.5, 0, 2, 0))
	for _, op := range []string{"Softmax", "LogSoftmax", "Hardmax"} {
		for _, axis := range []int64{0, 1, 2, -1} {
			add(13, node(op, "x", "y", intAttr("axis", axis)), unit(2, 3, 4))
			add(11, node(op, "x", "y", intAttr("axis", max(axis, 0))), unit(2, 3, 4))
		}
		add(13, node(op, "x", "y"), unit(5))
		add(11, node(op, "x", "y"), unit(2, 3))
	}
	for _, exclusive := range []int64{0, 1} {
		for _, reverse := range []int64{0, 1} {
			for _, axis := range []int64{0, 1, -1} {
				add(14, node("CumSum", "x a", "y", intAttr("exclusive", exclusive), intAttr("reverse", reverse)), unit(2, 3, 2), scalarInt(axis))
			}
		}
	}
	add(11, node("TopK", "x k", "v i"), unit(2, 5), int64List(3))
	add(11, node("TopK", "x k", "v _", intAttr("axis", 0), intAttr("largest", 0)), unit(4, 2, 3), int64List(2))
	add(9, node("TopK", "x", "v i", intAttr("k", 2), intAttr("axis", 1)), unit(2, 4, 2))

	for _, dims := range [][2][]int{{{2, 3}, {3, 4}}, {{3}, {3, 4}}, {{2, 3}, {3}}, {{3}, {3}}, {{2, 2, 3}, {3, 4}}, {{2, 2, 3}, {2, 3, 2}}, {{2, 3}, {4, 3, 2}},
		{{2, 1, 2, 3}, {3, 3, 2}}, {{1, 2, 3}, {4, 3, 1}}, {{5, 1, 4}, {1, 4, 2}}, {{2, 3, 4}, {4}}, {{3}, {2, 3, 4}}} {
		add(13, node("MatMul", "a b", "y"), unit(dims[0]...), unit(dims[1]...))
	}
	for _, ta := range []int64{0, 1} {
		for _, tb := range []int64{0, 1} {
			a, b := []int{2, 3}, []int{3, 4}
			if ta == 1 {
				a = []int{3, 2}
			}
			if tb == 1 {
				b = []int{4, 3}
			}
			attrs := []*onnxpb.AttributeProto{intAttr("transA", ta), intAttr("transB", tb), floatAttr("alpha", 0.5), floatAttr("beta", 1.5)}
			for _, c := range [][]int{{4}, {2, 1}, {2, 4}, {}, {1, 4}} {
				add(13, node("Gemm", "a b c", "y", attrs...), unit(a...), unit(b...), unit(c...))
			}
			add(13, node("Gemm", "a b", "y", attrs...), unit(a...), unit(b...))
		}
	}
	add(6, node("Gemm", "a b c", "y", intAttr("broadcast", 1)), unit(2, 3), unit(3, 4), unit(4))
	for _, e := range []struct {
		equation string
		dims     [][]int
	}{
		{"ij,jk->ik", [][]int{{2, 3}, {3, 4}}}, {"bij,bjk->bik", [][]int{{2, 2, 3}, {2, 3, 2}}}, {"ij->ji", [][]int{{2, 3}}}, {"ij->i", [][]int{{2, 3}}}, {"ij->", [][]int{{2, 3}}},
		{"ii->i", [][]int{{3, 3}}}, {"ii", [][]int{{3, 3}}}, {"i,j->ij", [][]int{{2}, {3}}}, {"...i,...i->...", [][]int{{1, 2}, {2, 2}}}, {"...ij,jk->...ik", [][]int{{2, 2, 3}, {3, 2}}},
		{"ai,bij,cjk->abck", [][]int{{2, 3}, {2, 3, 2}, {2, 2, 3}}}, {"ij,kj", [][]int{{2, 3}, {4, 3}}}, {"ij,ik->j", [][]int{{2, 3}, {2, 4}}}, {"iij,j->i", [][]int{{2, 2, 3}, {3}}},
		{"i...,j->...j", [][]int{{2, 3}, {2}}}, {"ij,jk->ik", [][]int{{2, 1}, {3, 4}}}, {"aib,bjc,ckd,dla->ijkl", [][]int{{2, 3, 2}, {2, 2, 2}, {2, 2, 2}, {2, 2, 2}}},
	} {
		var in []*Tensor
		for _, d := range e.dims {
			in = append(in, unit(d...))
		}
		add(12, node("Einsum", strings.Join(strings.Split("a b c d", " ")[:len(in)], " "), "y", stringAttr("equation", e.equation)), in...)
	}
	add(13, node("GlobalAveragePool", "x", "y"), unit(2, 2, 3, 2))
	add(13, node("GlobalMaxPool", "x", "y"), unit(2, 2, 3))

	add(13, node("Reshape", "x s", "y"), unit(2, 6), int64List(3, -1))
	add(4, node("Reshape", "x", "y", intsAttr("shape", 3, 0)), unit(3, 2))
	add(13, node("Flatten", "x", "y", intAttr("axis", 2)), unit(2, 3, 2))
	add(13, node("Squeeze", "x a", "y"), unit(2, 1, 3), int64List(1))
	add(11, node("Squeeze", "x", "y"), unit(1, 2, 1))
	add(13, node("Unsqueeze", "x a", "y"), unit(2, 3), int64List(0, -1))
	add(11, node("Unsqueeze", "x", "y", intsAttr("axes", 1)), unit(2, 3))
	add(13, node("Transpose", "x", "y", intsAttr("perm", 2, 0, 1)), unit(2, 3, 4))
	add(13, node("Transpose", "x", "y", intsAttr("perm", 1, 0, 2)), unit(1, 3, 4))
	add(13, node("Transpose", "x", "y"), unit(2, 3, 4))
	add(13, node("Concat", "a b c", "y", intAttr("axis", 1)), unit(2, 3), unit(2, 1), unit(2, 2))
	add(13, node("Concat", "a b a", "y", intAttr("axis", -1)), unit(2, 3), unit(2, 1))
	add(13, node("Split", "x", "a b", intAttr("axis", 1)), unit(2, 4))
	add(13, node("Split", "x s", "a b c", intAttr("axis", 0)), unit(6, 2), int64List(1, 3, 2))
	add(11, node("Split", "x", "a b", intAttr("axis", 1), intsAttr("split", 1, 3)), unit(2, 4))
	add(13, node("Slice", "x s e", "y"), unit(4, 3), int64List(1, 0), int64List(3, 2))
	add(13, node("Slice", "x s e a t", "y"), unit(4, 5), int64List(-1, 0), int64List(-9, 9), int64List(0, 1), int64List(-2, 3))
	add(9, node("Slice", "x", "y", intsAttr("starts", 1), intsAttr("ends", 3), intsAttr("axes", 1)), unit(2, 4))
	add(13, node("Expand", "x s", "y"), unit(3, 1), int64List(2, 1, 4))
	add(13, node("Tile", "x r", "y"), unit(2, 3), int64List(2, 3))
	add(13, node("Gather", "x i", "y"), unit(3, 2), int64List(2, 0, 2, -1))
	add(13, node("Gather", "x i", "y", intAttr("axis", 1)), unit(2, 4, 3), typedTensor[int64](onnx.Int64, []int{2, 2}, 1, 3, 1, 0))
	add(13, node("Gather", "x i", "y", intAttr("axis", -1)), unit(2, 4), scalarInt(1))
	add(13, node("GatherElements", "x i", "y", intAttr("axis", 1)), unit(2, 3), typedTensor[int64](onnx.Int64, []int{2, 2}, 2, 0, 1, 1))
	add(13, node("GatherND", "x i", "y"), unit(2, 3, 2), typedTensor[int64](onnx.Int64, []int{2, 2}, 1, 2, 0, 1))
	add(13, node("GatherND", "x i", "y", intAttr("batch_dims", 1)), unit(2, 3, 2), typedTensor[int64](onnx.Int64, []int{2, 1}, 2, 0))
	add(16, node("ScatterElements", "x i u", "y", intAttr("axis", 1)), unit(2, 4), typedTensor[int64](onnx.Int64, []int{2, 2}, 1, 3, 0, 2), unit(2, 2))
	add(16, node("ScatterElements", "x i u", "y", stringAttr("reduction", "add")), unit(3, 2), typedTensor[int64](onnx.Int64, []int{2, 2}, 1, 2, 1, 0), unit(2, 2))
	add(9, node("Scatter", "x i u", "y"), unit(3, 2), typedTensor[int64](onnx.Int64, []int{1, 2}, 1, 2), unit(1, 2))
	add(16, node("ScatterND", "x i u", "y"), unit(4, 2), typedTensor[int64](onnx.Int64, []int{2, 1}, 3, 1), unit(2, 2))
	add(16, node("ScatterND", "x i u", "y", stringAttr("reduction", "add")), unit(4, 2), typedTensor[int64](onnx.Int64, []int{3, 1}, 3, 1, 3), unit(3, 2))
	add(13, node("Compress", "x c", "y", intAttr("axis", 1)), unit(2, 3), typedTensor(onnx.Bool, []int{3}, true, false, true))
	add(13, node("Compress", "x c", "y"), unit(2, 3), typedTensor(onnx.Bool, []int{5}, true, false, true, true, false))
	add(13, node("ReverseSequence", "x l", "y"), unit(4, 2, 3), int64List(3, 4))
	add(13, node("ReverseSequence", "x l", "y", intAttr("batch_axis", 0), intAttr("time_axis", 1)), unit(2, 4), int64List(3, 2))
	add(13, node("DepthToSpace", "x", "y", intAttr("blocksize", 2)), unit(1, 8, 2, 3))
	add(13, node("DepthToSpace", "x", "y", intAttr("blocksize", 2), stringAttr("mode", "CRD")), unit(1, 8, 2, 3))
	add(13, node("SpaceToDepth", "x", "y", intAttr("blocksize", 2)), unit(1, 2, 4, 6))
	add(14, node("Trilu", "x", "y"), unit(2, 3, 4))
	add(14, node("Trilu", "x k", "y", intAttr("upper", 0)), unit(4, 3), scalarInt(-1))
	return cases
}
