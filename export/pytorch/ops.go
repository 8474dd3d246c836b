package pytorch

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/trconvert/trconvert/onnx"
)

// printers is the whole of what is printed, in the default domain.
var printers map[string]func(*node)

// The table is filled here and not in its declaration, because the bodies of If and Loop reach it again.
func init() {
	printers = map[string]func(*node){
		"LSTM": printRecurrent, "GRU": printRecurrent, "RNN": printRecurrent,
		"If": printIf, "Loop": printLoop,
		"Constant": printConstant, "ConstantOfShape": printConstantOfShape,

		"Identity": template("%s"), "Abs": template("torch.abs(%s)"), "Neg": template("-%s"), "Sign": template("torch.sign(%s)"), "Relu": template("torch.relu(%s)"),
		"Acos": template("torch.acos(%s)"), "Acosh": template("torch.acosh(%s)"), "Asin": template("torch.asin(%s)"), "Asinh": template("torch.asinh(%s)"),
		"Atan": template("torch.atan(%s)"), "Atanh": template("torch.atanh(%s)"), "Ceil": template("torch.ceil(%s)"), "Cos": template("torch.cos(%s)"), "Cosh": template("torch.cosh(%s)"),
		"Erf": template("torch.erf(%s)"), "Exp": template("torch.exp(%s)"), "Floor": template("torch.floor(%s)"), "Log": template("torch.log(%s)"),
		"Reciprocal": template("1 / %s"), "Round": template("torch.round(%s)"), "Sigmoid": template("torch.sigmoid(%s)"), "Sin": template("torch.sin(%s)"), "Sinh": template("torch.sinh(%s)"),
		"Softsign": template("F.softsign(%s)"), "Sqrt": template("torch.sqrt(%s)"), "Tan": template("torch.tan(%s)"), "Tanh": template("torch.tanh(%s)"), "Not": template("torch.logical_not(%s)"),
		"Mish": template("F.mish(%s)"), "HardSwish": template("F.hardswish(%s)"), "IsNaN": template("torch.isnan(%s)"), "Size": template("torch.tensor(%s.numel())"),
		"NonZero": template("torch.nonzero(%s).t()"), "GlobalAveragePool": globalPool("mean"), "GlobalMaxPool": globalPool("amax"),

		"Add": binary("_add"), "Sub": binary("_sub"), "Mul": binary("_mul"), "Div": binary("_div"), "Pow": library("_pow", 2), "PRelu": library("_prelu", 2), "MatMul": library("_matmul", 2),
		"Equal": comparison("eq"), "Less": comparison("lt"), "LessOrEqual": comparison("le"), "Greater": comparison("gt"), "GreaterOrEqual": comparison("ge"),
		"And": logical("and"), "Or": logical("or"), "Xor": logical("xor"), "Where": library("_where", 3), "Softplus": library("_softplus", 1),
		"Max": fold("torch.maximum"), "Min": fold("torch.minimum"), "Sum": fold("torch.add"),
		"Mean": func(n *node) { n.call("_mean", n.ins()...) }, "Mod": func(n *node) { n.call("_mod", n.in(0), n.in(1), n.flag("fmod", false)) },
		"Elu":         func(n *node) { n.call("_elu", n.in(0), n.float("alpha", 1)) },
		"Celu":        func(n *node) { n.call("_celu", n.in(0), n.float("alpha", 1)) },
		"LeakyRelu":   func(n *node) { n.set("F.leaky_relu(%s, %s)", n.in(0), n.float("alpha", 0.01)) },
		"HardSigmoid": func(n *node) { n.call("_hard_sigmoid", n.in(0), n.float("alpha", 0.2), n.float("beta", 0.5)) },
		"Selu": func(n *node) {
			n.call("_selu", n.in(0), n.float("alpha", 1.67326319217681884765625), n.float("gamma", 1.05070102214813232421875))
		},
		"ThresholdedRelu": func(n *node) { n.call("_thresholded_relu", n.in(0), n.float("alpha", 1)) },
		"Gelu":            func(n *node) { n.call("_gelu", n.in(0), n.string("approximate", "none", "none", "tanh")) },
		"Clip":            printClip, "Cast": printCast, "CastLike": func(n *node) { n.set("%s.to(%s.dtype)", n.in(0), n.in(1)) },
		"Dropout": printDropout, "Softmax": softmax("softmax"), "LogSoftmax": softmax("log_softmax"),

		"ReduceSum": reduction("_reduce_sum", 13), "ReduceMean": reduction("_reduce_mean", 18), "ReduceMax": reduction("_reduce_max", 18), "ReduceMin": reduction("_reduce_min", 18),
		"ReduceProd": reduction("_reduce_prod", 18), "ReduceL1": reduction("_reduce_l1", 18), "ReduceL2": reduction("_reduce_l2", 18),
		"ReduceSumSquare": reduction("_reduce_sum_square", 18), "ReduceLogSum": reduction("_reduce_log_sum", 18), "ReduceLogSumExp": reduction("_reduce_log_sum_exp", 18),
		"ArgMax": arg(true), "ArgMin": arg(false),
		"CumSum": func(n *node) {
			n.call("_cumsum", n.in(0), n.inInt(1), n.flag("exclusive", false), n.flag("reverse", false))
		},

		"Shape": printShape, "Reshape": printReshape,
		"Squeeze":   func(n *node) { n.call("_squeeze", n.in(0), n.moved("axes", 1)) },
		"Unsqueeze": func(n *node) { n.call("_unsqueeze", n.in(0), n.moved("axes", 1)) },
		"Flatten":   func(n *node) { n.call("_flatten", n.in(0), n.number("axis", 1)) },
		"Transpose": func(n *node) { n.call("_transpose", n.in(0), n.ints("perm")) },
		"Concat": func(n *node) {
			n.call("_concat", append([]string{n.number("axis", 1)}, n.ins()...)...)
		},
		"Expand": func(n *node) { n.call("_expand", n.in(0), n.inInts(1)) },
		"Tile":   func(n *node) { n.call("_tile", n.in(0), n.inInts(1)) },
		"Slice":  printSlice, "Split": printSplit, "Pad": printPad, "Gather": printGather,
		"GatherElements": func(n *node) {
			n.call("_gather_elements", n.in(0), n.in(1), n.number("axis", 0))
		},
		"ScatterElements": func(n *node) {
			n.call("_scatter_elements", n.in(0), n.in(1), n.in(2), n.number("axis", 0), n.string("reduction", "none", "none", "add", "mul", "max", "min"))
		},
		"ScatterND": func(n *node) {
			n.call("_scatter_nd", n.in(0), n.in(1), n.in(2), n.string("reduction", "none", "none", "add", "mul", "max", "min"))
		},
		"Range": library("_range", 3), "OneHot": func(n *node) {
			n.call("_one_hot", n.in(0), n.in(1), n.in(2), n.number("axis", -1))
		},
		"TopK": printTopK, "Trilu": printTrilu, "Einsum": printEinsum,

		"Gemm": printGemm, "Conv": printConv, "ConvTranspose": printConvTranspose, "MaxPool": printMaxPool, "AveragePool": printAveragePool,
		"BatchNormalization": printBatchNorm, "LayerNormalization": printLayerNorm,
		"InstanceNormalization": func(n *node) { n.call("_instance_norm", n.in(0), n.in(1), n.in(2), n.float("epsilon", 1e-5)) },
		"DequantizeLinear": func(n *node) {
			n.call("_dequantize", n.in(0), n.in(1), n.in(2), n.number("axis", 1))
		},
	}
}

// template prints an expression of the only operand.
func template(format string) func(*node) {
	return func(n *node) { n.set(format, n.in(0)) }
}

// library calls a function with a number of operands.
func library(function string, operands int) func(*node) {
	return func(n *node) {
		args := make([]string, operands)
		for k := range args {
			args[k] = n.in(k)
		}
		n.call(function, args...)
	}
}

// binary calls a function of two operands. Before opset 7 they broadcast by attributes, which are refused where they say more than that shapes are equal.
func binary(function string) func(*node) {
	return func(n *node) {
		if n.int("broadcast", 0) != 0 {
			n.refuse("attribute broadcast of opsets before 7")
		}
		n.call(function, n.in(0), n.in(1))
	}
}

func comparison(name string) func(*node) {
	return func(n *node) { n.call("_compare", strconv.Quote(name), n.in(0), n.in(1)) }
}

func logical(name string) func(*node) {
	return func(n *node) { n.call("_logical", strconv.Quote(name), n.in(0), n.in(1)) }
}

func fold(function string) func(*node) {
	return func(n *node) { n.call("_fold", append([]string{function}, n.ins()...)...) }
}

func globalPool(name string) func(*node) {
	return func(n *node) { n.set("%s.%s(list(range(2, %s.dim())), True)", n.in(0), name, n.in(0)) }
}

func printClip(n *node) {
	low, high := "None", "None"
	if n.opset < 11 {
		if n.Attr("min") != nil {
			low = n.float("min", 0)
		}
		if n.Attr("max") != nil {
			high = n.float("max", 0)
		}
	} else {
		low, high = n.in(1), n.in(2)
	}
	n.call("_clip", n.in(0), low, high)
}

func (n *node) dtype(t onnx.DataType) string {
	s := dtypes[t]
	if s == "" {
		n.refuse("type %v", t)
	}
	return s
}

func printCast(n *node) {
	n.int("saturate", 1)
	if n.opset < 6 {
		n.refuse("cast by the name of a type, of opsets before 6")
	}
	switch to := onnx.DataType(n.int("to", 0)); to {
	case onnx.Float16:
		n.call("_round_cast", n.in(0), "torch.float16")
	case onnx.BFloat16:
		n.call("_round_cast", n.in(0), "torch.bfloat16")
	default:
		n.call("_cast", n.in(0), n.dtype(to))
	}
}

// printDropout is the identity: what drops out in training is a matter of the training, and PyTorch has it for whoever wants it.
func printDropout(n *node) {
	for _, name := range []string{"ratio", "seed", "is_test"} {
		n.asked[name] = true
	}
	n.only(1)
	if n.has(2) {
		if v, ok := n.fixed(2); !ok || len(v) != 1 || v[0] != 0 {
			n.refuse("training_mode")
		}
	}
	n.set("%s", n.in(0))
}

func softmax(name string) func(*node) {
	return func(n *node) {
		if n.opset >= 13 {
			n.set("F.%s(%s, %d)", name, n.in(0), n.int("axis", -1))
			return
		}
		n.call("_softmax_rows", "F."+name, n.in(0), n.number("axis", 1))
	}
}

// reduction calls a reduction whose axes are an operand from an opset on.
func reduction(function string, moved int64) func(*node) {
	return func(n *node) {
		n.used[function] = true
		axes := n.ints("axes")
		if n.opset >= moved {
			axes = n.inInts(1)
		}
		n.call("_reduce", function, n.in(0), axes, n.flag("keepdims", true), n.flag("noop_with_empty_axes", false))
	}
}

func arg(largest bool) func(*node) {
	return func(n *node) {
		n.call("_arg", n.in(0), n.number("axis", 0), n.flag("keepdims", true), n.flag("select_last_index", false), boolean(largest))
	}
}

func printShape(n *node) {
	end := "None"
	if n.Attr("end") != nil {
		end = n.number("end", 0)
	}
	n.call("_shape", n.in(0), n.number("start", 0), end)
}

func printReshape(n *node) {
	n.call("_reshape", n.in(0), n.moved("shape", 1), n.flag("allowzero", false))
}

func printSlice(n *node) {
	if n.opset < 10 {
		n.call("_slice", n.in(0), n.ints("starts"), n.ints("ends"), n.ints("axes"))
		return
	}
	n.call("_slice", n.in(0), n.inInts(1), n.inInts(2), n.inInts(3), n.inInts(4))
}

func printSplit(n *node) {
	parts := int(n.int("num_outputs", int64(len(n.Outputs))))
	values := n.calls("_split", n.in(0), n.number("axis", 0), n.moved("split", 1), strconv.Itoa(parts))
	if len(n.Outputs) == 1 {
		n.line("%s, = %s", n.outs(1), values)
		return
	}
	n.line("%s = %s", n.outs(len(n.Outputs)), values)
}

func printPad(n *node) {
	mode := n.string("mode", "constant", "constant", "reflect", "edge", "wrap")
	if n.opset < 11 {
		name := "pads"
		if n.opset < 2 {
			name = "paddings"
		}
		n.call("_pad", n.in(0), n.ints(name), mode, n.float("value", 0))
		return
	}
	value := "0.0"
	if n.has(2) {
		value = n.calls("_number", n.in(2))
	}
	n.call("_pad", n.in(0), n.inInts(1), mode, value, n.inInts(3))
}

// printGather looks up in a table by PyTorch's own function, whose gradient is quicker.
func printGather(n *node) {
	axis := n.int("axis", 0)
	def, ok := n.ix.Resolve(n.Graph, n.Input(0))
	if t := tensorOf(def); ok && axis == 0 && t != nil && n.weights[t] != nil && len(t.Dims) == 2 {
		n.call("_embedding", n.in(0), n.in(1))
		return
	}
	n.call("_gather", n.in(0), n.in(1), strconv.FormatInt(axis, 10))
}

func printTopK(n *node) {
	k := ""
	if n.opset < 10 {
		k = n.number("k", 0)
	} else {
		k = n.inInt(1)
	}
	n.only(2)
	n.line("%s = %s", n.outs(2), n.calls("_top_k", n.in(0), k, n.number("axis", -1), n.number("largest", 1), n.number("sorted", 1)))
}

func printTrilu(n *node) {
	k := "0"
	if n.has(1) {
		k = n.inInt(1)
	}
	n.call("_trilu", n.in(0), k, n.flag("upper", true))
}

func printEinsum(n *node) {
	equation := n.string("equation", "")
	n.set("torch.einsum(%s, %s)", equation, strings.Join(n.ins(), ", "))
}

func printGemm(n *node) {
	if n.opset < 7 {
		n.asked["broadcast"] = true
	}
	n.call("_gemm", n.in(0), n.in(1), n.in(2), n.float("alpha", 1), n.float("beta", 1), n.flag("transA", false), n.flag("transB", false))
}

var padModes = []string{"NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID", ""}

func printConv(n *node) {
	n.asked["kernel_shape"] = true // that of W
	n.call("_conv", n.in(0), n.in(1), n.in(2), n.ints("strides"), n.ints("dilations"), n.ints("pads"), n.string("auto_pad", "NOTSET", padModes...), n.number("group", 1))
}

func printConvTranspose(n *node) {
	n.asked["kernel_shape"] = true
	n.call("_conv_transpose", n.in(0), n.in(1), n.in(2), n.ints("strides"), n.ints("dilations"), n.ints("pads"), n.ints("output_padding"), n.ints("output_shape"),
		n.string("auto_pad", "NOTSET", padModes...), n.number("group", 1))
}

func printMaxPool(n *node) {
	if n.int("storage_order", 0) != 0 {
		n.refuse("storage_order 1")
	}
	n.call("_max_pool", n.in(0), n.ints("kernel_shape"), n.ints("strides"), n.ints("dilations"), n.ints("pads"), n.string("auto_pad", "NOTSET", padModes...), n.flag("ceil_mode", false))
}

func printAveragePool(n *node) {
	n.call("_average_pool", n.in(0), n.ints("kernel_shape"), n.ints("strides"), n.ints("dilations"), n.ints("pads"), n.string("auto_pad", "NOTSET", padModes...),
		n.flag("ceil_mode", false), n.flag("count_include_pad", false))
}

// printBatchNorm normalises by the running statistics, as the model does.
func printBatchNorm(n *node) {
	n.asked["momentum"] = true
	if n.int("training_mode", 0) != 0 {
		n.refuse("training_mode")
	}
	if n.opset < 7 && n.int("is_test", 0) == 0 || n.opset < 9 && n.int("spatial", 1) == 0 {
		n.refuse("the modes of opsets before 9")
	}
	n.only(1)
	n.call("_batch_norm", n.in(0), n.in(1), n.in(2), n.in(3), n.in(4), n.float("epsilon", 1e-5))
}

func printLayerNorm(n *node) {
	if n.int("stash_type", 1) != 1 {
		n.refuse("stash_type")
	}
	n.only(3)
	n.line("%s = %s", n.outs(3), n.calls("_layer_norm", n.in(0), n.in(1), n.in(2), n.number("axis", -1), n.float("epsilon", 1e-5)))
}

// printConstant leaves tensors to those who read them, and prints numbers where they stand.
func printConstant(n *node) {
	for _, a := range n.Attributes {
		n.asked[a.Name] = true
		var array *onnx.Array
		switch a.Name {
		case "value":
			return
		case "value_int":
			array = &onnx.Array{Type: onnx.Int64, Data: []int64{a.I}}
		case "value_ints":
			array = &onnx.Array{Type: onnx.Int64, Dims: []int{len(a.Ints)}, Data: a.Ints}
		case "value_float":
			array = &onnx.Array{Type: onnx.Float, Data: []float32{a.F}}
		case "value_floats":
			array = &onnx.Array{Type: onnx.Float, Dims: []int{len(a.Floats)}, Data: a.Floats}
		default:
			n.refuse("attribute %s", strconv.QuoteToASCII(a.Name))
			return
		}
		text, err := n.literal(array)
		if err != nil {
			n.refuse("%v", err)
		}
		n.set("%s", text)
	}
}

func printConstantOfShape(n *node) {
	n.asked["value"] = true
	value := &onnx.Array{Type: onnx.Float, Dims: []int{1}, Data: []float32{0}}
	if a := n.Attr("value"); a != nil && a.T != nil {
		var err error
		if value, err = a.T.Array(); err != nil {
			n.refuse("%v", err)
			return
		}
	}
	text, err := n.literal(value)
	if err != nil {
		n.refuse("%v", err)
	}
	n.call("_full", n.device(), n.inInts(0), text)
}

// device is an expression of a tensor on the device of the model.
func (n *node) device() string {
	if in := n.inputs(); len(in) > 0 {
		return n.local(place{n.model.Graph, in[0].Name})
	}
	return "torch.zeros(0)"
}

// literal writes numbers that are no weights. Long arrays are base64 of their bytes.
func (p *printer) literal(a *onnx.Array) (string, error) {
	dtype := dtypes[a.Type]
	if dtype == "" || a.Type == onnx.Float16 || a.Type == onnx.BFloat16 {
		return "", fmt.Errorf("constant of type %v", a.Type)
	}
	if a.Elements() > 64 {
		return longLiteral(a, dtype)
	}
	var parts []string
	switch d := a.Data.(type) {
	case []bool:
		for _, v := range d {
			parts = append(parts, boolean(v))
		}
	case []float32:
		for _, v := range d {
			parts = append(parts, float(v))
		}
	case []float64:
		for _, v := range d {
			parts = append(parts, "float("+strconv.Quote(strconv.FormatFloat(v, 'g', -1, 64))+")")
		}
	default:
		v, err := a.Int64s()
		if err != nil {
			return "", err
		}
		for _, x := range v {
			parts = append(parts, strconv.FormatInt(x, 10))
		}
	}
	text := "torch.tensor([" + strings.Join(parts, ", ") + "], dtype=" + dtype + ")"
	if len(a.Dims) != 1 {
		text += ".reshape(" + list(a.Dims) + ")"
	}
	return text, nil
}
