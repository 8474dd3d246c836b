package runtime

import (
	"strings"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// nodeGradientCases are those of TestOperatorGradients and the like.
func nodeGradientCases() []nodeGradientCase {
	var cases []nodeGradientCase
	add := func(opset int64, n *onnxpb.NodeProto, in ...*Tensor) {
		cases = append(cases, nodeGradientCase{opset: opset, node: n, in: in})
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
	add(11, node("TopK", "x k", "v"), unit(5), int64List(2))
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
	add(18, node("Split", "x", "a b", intAttr("num_outputs", 2)), unit(5, 2))
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
	for _, reduction := range []string{"add", "mul", "max", "min"} {
		add(18, node("ScatterElements", "x i u", "y", intAttr("axis", 1), stringAttr("reduction", reduction)), unit(2, 3), typedTensor[int64](onnx.Int64, []int{2, 4}, 1, 2, 1, 1, 0, 0, 2, -1), spread(-1.1, 0.9, 2, 4))
		add(18, node("ScatterND", "x i u", "y", stringAttr("reduction", reduction)), unit(3, 2), typedTensor[int64](onnx.Int64, []int{4, 1}, 2, 1, 2, 2), spread(-0.9, 1.2, 4, 2))
	}
	add(13, node("Compress", "x c", "y", intAttr("axis", 1)), unit(2, 3), typedTensor(onnx.Bool, []int{3}, true, false, true))
	add(13, node("Compress", "x c", "y"), unit(2, 3), typedTensor(onnx.Bool, []int{5}, true, false, true, true, false))
	add(13, node("ReverseSequence", "x l", "y"), unit(4, 2, 3), int64List(3, 4))
	add(13, node("ReverseSequence", "x l", "y", intAttr("batch_axis", 0), intAttr("time_axis", 1)), unit(2, 4), int64List(3, 2))
	add(13, node("DepthToSpace", "x", "y", intAttr("blocksize", 2)), unit(1, 8, 2, 3))
	add(13, node("DepthToSpace", "x", "y", intAttr("blocksize", 2), stringAttr("mode", "CRD")), unit(1, 8, 2, 3))
	add(13, node("SpaceToDepth", "x", "y", intAttr("blocksize", 2)), unit(1, 2, 4, 6))
	add(14, node("Trilu", "x", "y"), unit(2, 3, 4))
	add(14, node("Trilu", "x k", "y", intAttr("upper", 0)), unit(4, 3), scalarInt(-1))

	for _, c := range []struct {
		x, w  []int
		attrs []*onnxpb.AttributeProto
	}{
		{[]int{2, 3, 6}, []int{4, 3, 3}, nil},
		{[]int{1, 2, 5, 4}, []int{3, 2, 2, 3}, []*onnxpb.AttributeProto{intsAttr("pads", 1, 0, 2, 1), intsAttr("strides", 2, 1)}},
		{[]int{1, 4, 7}, []int{6, 2, 2}, []*onnxpb.AttributeProto{intAttr("group", 2), intsAttr("dilations", 2)}},
		{[]int{2, 3, 5}, []int{3, 1, 3}, []*onnxpb.AttributeProto{intAttr("group", 3), stringAttr("auto_pad", "SAME_UPPER"), intsAttr("strides", 2)}},
		{[]int{1, 2, 4}, []int{3, 2, 1}, nil},
		{[]int{1, 2, 4, 3}, []int{2, 2, 3, 2}, []*onnxpb.AttributeProto{stringAttr("auto_pad", "SAME_LOWER")}},
		{[]int{1, 1, 3, 3, 3}, []int{2, 1, 2, 2, 2}, []*onnxpb.AttributeProto{stringAttr("auto_pad", "VALID")}},
	} {
		add(13, node("Conv", "x w b", "y", c.attrs...), unit(c.x...), unit(c.w...), unit(c.w[0]))
		add(13, node("Conv", "x w", "y", c.attrs...), unit(c.x...), unit(c.w...))
	}
	for _, c := range []struct {
		x, w  []int
		attrs []*onnxpb.AttributeProto
	}{
		{[]int{2, 3, 4}, []int{3, 2, 3}, nil},
		{[]int{1, 2, 3, 4}, []int{2, 3, 2, 3}, []*onnxpb.AttributeProto{intsAttr("pads", 1, 0, 0, 1), intsAttr("strides", 2, 1), intsAttr("output_padding", 1, 0)}},
		{[]int{1, 4, 5}, []int{4, 3, 2}, []*onnxpb.AttributeProto{intAttr("group", 2), intsAttr("dilations", 2), intsAttr("strides", 3)}},
		{[]int{1, 2, 3}, []int{2, 2, 3}, []*onnxpb.AttributeProto{stringAttr("auto_pad", "SAME_UPPER"), intsAttr("strides", 2)}},
		{[]int{1, 2, 3}, []int{2, 2, 3}, []*onnxpb.AttributeProto{intsAttr("output_shape", 8), intsAttr("strides", 2)}},
	} {
		group := 1
		if c.attrs != nil && c.attrs[0].GetName() == "group" {
			group = 2
		}
		add(13, node("ConvTranspose", "x w b", "y", c.attrs...), unit(c.x...), unit(c.w...), unit(c.w[1]*group))
		add(13, node("ConvTranspose", "x w", "y", c.attrs...), unit(c.x...), unit(c.w...))
	}
	for _, attrs := range [][]*onnxpb.AttributeProto{
		{intsAttr("kernel_shape", 2, 2)},
		{intsAttr("kernel_shape", 3, 2), intsAttr("strides", 2, 1), intsAttr("pads", 1, 1, 1, 0)},
		{intsAttr("kernel_shape", 2, 3), stringAttr("auto_pad", "SAME_UPPER")},
		{intsAttr("kernel_shape", 2, 2), intsAttr("strides", 2, 2), intAttr("ceil_mode", 1)},
	} {
		for _, op := range []string{"MaxPool", "AveragePool", "LpPool"} {
			if op == "LpPool" && len(attrs) == 3 && attrs[2].GetName() == "ceil_mode" {
				attrs = attrs[:2]
			}
			add(12, node(op, "x", "y", attrs...), unit(1, 2, 5, 4))
		}
		add(12, node("AveragePool", "x", "y", append(attrs[:len(attrs):len(attrs)], intAttr("count_include_pad", 1))...), unit(1, 2, 5, 4))
	}
	add(12, node("MaxPool", "x", "y i", intsAttr("kernel_shape", 2), intsAttr("dilations", 2), intAttr("storage_order", 1)), unit(1, 2, 7))
	add(12, node("LpPool", "x", "y", intsAttr("kernel_shape", 3), intAttr("p", 3)), unit(1, 2, 7))
	add(1, node("LpPool", "x", "y", intsAttr("kernel_shape", 3), floatAttr("p", 2.5)), unit(1, 2, 7))
	add(12, node("GlobalLpPool", "x", "y", intAttr("p", 3)), unit(2, 2, 3, 2))
	add(12, node("GlobalLpPool", "x", "y"), unit(2, 2, 3))

	add(15, node("BatchNormalization", "x s b m v", "y"), unit(2, 3, 2), positive(3), unit(3), unit(3), spread(0.5, 1.5, 3))
	add(9, node("BatchNormalization", "x s b m v", "y", floatAttr("epsilon", 0.1)), unit(4, 2), positive(2), unit(2), unit(2), spread(0.5, 1.5, 2))
	for _, axis := range []int64{-1, 1, 0} {
		last := [][]int{{2, 3, 4}, {3, 4}, {4}}[map[int64]int{-1: 2, 1: 1, 0: 0}[axis]]
		add(17, node("LayerNormalization", "x s b", "y m i", intAttr("axis", axis)), unit(2, 3, 4), positive(last...), unit(last...))
		add(17, node("LayerNormalization", "x s", "y", intAttr("axis", axis)), unit(2, 3, 4), positive(4))
		add(23, node("RMSNormalization", "x s", "y", intAttr("axis", axis)), unit(2, 3, 4), positive(last...))
	}
	add(13, node("InstanceNormalization", "x s b", "y"), unit(2, 3, 5), positive(3), unit(3))
	add(18, node("GroupNormalization", "x s b", "y", intAttr("num_groups", 2)), unit(2, 4, 3), positive(2), unit(2))
	add(21, node("GroupNormalization", "x s b", "y", intAttr("num_groups", 2)), unit(2, 4, 3), positive(4), unit(4))
	for _, p := range []int64{1, 2} {
		add(13, node("LpNormalization", "x", "y", intAttr("p", p)), unit(2, 4))
		add(13, node("LpNormalization", "x", "y", intAttr("p", p), intAttr("axis", 0)), unit(3, 2, 2))
	}
	add(13, node("MeanVarianceNormalization", "x", "y"), unit(2, 2, 3, 2))
	add(13, node("MeanVarianceNormalization", "x", "y", intsAttr("axes", 1, 2)), unit(2, 3, 4))
	add(13, node("LRN", "x", "y", intAttr("size", 3), floatAttr("alpha", 0.6), floatAttr("bias", 1.1)), unit(2, 5, 2))
	add(13, node("LRN", "x", "y", intAttr("size", 2), floatAttr("alpha", 0.6), floatAttr("beta", 1.5)), unit(1, 4, 3))

	for _, mode := range []string{"constant", "reflect", "edge", "wrap"} {
		add(19, node("Pad", "x p", "y", stringAttr("mode", mode)), unit(3, 4), int64List(1, 2, 1, 1))
	}
	add(13, node("Pad", "x p c", "y"), unit(3, 4), int64List(1, -1, 0, 2), doubles(nil, 0.5))
	add(18, node("Pad", "x p c a", "y"), unit(3, 4), int64List(1, 2), doubles([]int{1}, 0.5), int64List(-1))
	add(9, node("Pad", "x", "y", intsAttr("pads", 1, 0, 0, 2), floatAttr("value", 3)), unit(3, 4))
	for _, mode := range []string{"nearest", "linear", "cubic"} {
		for _, coordinate := range []string{"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"} {
			add(19, node("Resize", "x _ s", "y", stringAttr("mode", mode), stringAttr("coordinate_transformation_mode", coordinate)), unit(1, 2, 3, 4), f32([]int{4}, 1, 1, 2, 1.5))
			add(19, node("Resize", "x _ _ s", "y", stringAttr("mode", mode), stringAttr("coordinate_transformation_mode", coordinate)), unit(1, 1, 5, 4), int64List(1, 1, 3, 3))
		}
		add(19, node("Resize", "x _ s", "y", stringAttr("mode", mode), intAttr("antialias", 1)), unit(1, 1, 8, 6), f32([]int{4}, 1, 1, 0.5, 0.6))
		add(19, node("Resize", "x r _ s", "y", stringAttr("mode", mode), stringAttr("coordinate_transformation_mode", "tf_crop_and_resize"), floatAttr("extrapolation_value", 7)),
			unit(1, 1, 4, 4), f32([]int{8}, 0, 0, 0.2, 0.1, 1, 1, 1.3, 0.9), int64List(1, 1, 5, 3))
	}
	add(19, node("Resize", "x _ s", "y", stringAttr("mode", "cubic"), intAttr("exclude_outside", 1)), unit(1, 1, 4, 3), f32([]int{4}, 1, 1, 2, 2))
	add(10, node("Resize", "x s", "y", stringAttr("mode", "linear")), unit(1, 1, 3, 2), f32([]int{4}, 1, 1, 2, 2))
	add(9, node("Upsample", "x s", "y", stringAttr("mode", "linear")), unit(1, 1, 3, 2), f32([]int{4}, 1, 1, 2, 2))
	add(9, node("Upsample", "x s", "y"), unit(1, 1, 3, 2), f32([]int{4}, 1, 1, 2, 3))
	add(7, node("Upsample", "x", "y", floatsAttr("scales", 1, 1, 2, 1)), unit(1, 1, 3, 2))
	for _, padding := range []string{"zeros", "border", "reflection"} {
		for _, mode := range []string{"linear", "nearest", "cubic"} {
			for _, corners := range []int64{0, 1} {
				add(20, node("GridSample", "x g", "y", stringAttr("mode", mode), stringAttr("padding_mode", padding), intAttr("align_corners", corners)), unit(1, 2, 4, 3), spread(-1.3, 1.37, 1, 3, 2, 2))
			}
		}
	}
	add(20, node("GridSample", "x g", "y"), unit(2, 1, 3, 2, 3), spread(-0.93, 0.87, 2, 1, 2, 2, 3))
	for _, corners := range []int64{0, 1} {
		add(20, node("AffineGrid", "t s", "y", intAttr("align_corners", corners)), unit(2, 2, 3), int64List(2, 1, 3, 4))
		add(20, node("AffineGrid", "t s", "y", intAttr("align_corners", corners)), unit(1, 3, 4), int64List(1, 1, 2, 3, 2))
	}
	add(13, node("OneHot", "i d v", "y"), int64List(1, -1, 5), scalarInt(3), doubles([]int{2}, 0.3, 1.7))
	add(13, node("OneHot", "i d v", "y", intAttr("axis", 0)), int64List(1, 0), scalarInt(3), doubles([]int{2}, 0.3, 1.7))
	add(11, node("Range", "a b d", "y"), doubles(nil, 0.3), doubles(nil, 2), doubles(nil, 0.4))
	add(11, node("Unique", "x", "y i j k"), doubles([]int{5}, 0.3, 2, -1, 1.5, 0.7))
	add(11, node("Unique", "x", "y", intAttr("axis", 1), intAttr("sorted", 0)), unit(2, 3))

	// Nothing at all.
	for _, op := range []string{"Add", "Mul", "Div", "Pow", "Max"} {
		add(14, node(op, "a b", "y"), positive(0, 3), positive(3))
		add(14, node(op, "a b", "y"), positive(2, 1), positive(2, 0))
	}
	add(13, node("MatMul", "a b", "y"), unit(0, 3), unit(3, 2))
	add(13, node("MatMul", "a b", "y"), unit(2, 0), unit(0, 3))
	add(13, node("MatMul", "a b", "y"), unit(0, 2, 3), unit(0, 3, 2))
	add(13, node("Gemm", "a b c", "y"), unit(2, 0), unit(0, 3), unit(3))
	add(13, node("Softmax", "x", "y"), unit(0, 3))
	add(13, node("ReduceSum", "x a", "y"), unit(2, 0), int64List(1))
	add(13, node("ReduceMax", "x", "y", intsAttr("axes", 1)), unit(0, 2))
	add(13, node("Conv", "x w b", "y"), unit(0, 2, 4), unit(3, 2, 2), unit(3))
	add(13, node("MaxPool", "x", "y", intsAttr("kernel_shape", 2)), unit(0, 2, 4))
	add(13, node("Concat", "a b", "y", intAttr("axis", 0)), unit(0, 2), unit(1, 2))
	add(13, node("Gather", "x i", "y"), unit(2, 3), int64List())
	add(17, node("LayerNormalization", "x s b", "y"), unit(0, 4), positive(4), unit(4))
	add(13, node("InstanceNormalization", "x s b", "y"), unit(0, 2, 3), positive(2), unit(2))
	add(11, node("TopK", "x k", "v i"), unit(2, 3), int64List(0))
	// More inputs than a mask has bits.
	many := strings.Repeat("a b ", 40)
	add(13, node("Max", many+"c", "y"), unit(3), spread(-1.1, 0.8, 3), spread(-0.9, 1.2, 3))

	for _, op := range strings.Fields("Equal Less LessOrEqual Greater GreaterOrEqual") {
		add(16, node(op, "a b", "y"), unit(2, 3), positive(3))
	}
	for _, op := range strings.Fields("IsNaN IsInf Floor Ceil Round Sign Shape Size NonZero") {
		add(16, node(op, "a", "y"), spread(-3.4, 3.3, 7))
	}
	add(16, node("EyeLike", "x", "y"), unit(2, 3))
	for _, op := range []string{"ArgMax", "ArgMin"} {
		add(13, node(op, "x", "y", intAttr("axis", 1)), unit(2, 5))
	}
	add(17, node("MelWeightMatrix", "a b c d e", "y"), scalarInt(3), scalarInt(16), scalarInt(8000), doubles(nil, 105), doubles(nil, 3600))
	for _, inverse := range []int64{0, 1} {
		add(20, node("DFT", "x", "y", intAttr("inverse", inverse)), unit(2, 5, 2))
		add(20, node("DFT", "x n a", "y", intAttr("inverse", inverse)), unit(2, 4, 3, 1), scalarInt(6), scalarInt(1))
		add(20, node("DFT", "x n", "y", intAttr("inverse", inverse)), unit(5, 2), scalarInt(3))
	}
	add(17, node("DFT", "x", "y", intAttr("onesided", 1), intAttr("axis", 1)), unit(2, 6, 1))
	add(17, node("STFT", "x s w", "y"), unit(2, 9, 1), scalarInt(2), positive(4))
	add(17, node("STFT", "x s w n", "y", intAttr("onesided", 0)), unit(1, 9, 2), scalarInt(3), positive(5), scalarInt(5))
	add(17, node("STFT", "x s _ n", "y"), unit(1, 8, 1), scalarInt(3), scalarInt(5))
	return cases
}
