package source

// lowerings is the whole of what generated code can do, in the default domain. That a node's opset and attributes fit together has been checked by the
// runtime, which has run it.
var lowerings map[string]lowering

// The table is filled here and not in its declaration, because lowerings reach it again through the nodes of merged constants.
func init() {
	lowerings = map[string]lowering{
		"LSTM": lowerRecurrent, "GRU": lowerRecurrent, "RNN": lowerRecurrent,

		"Identity": lowerAlias(), "Reshape": lowerAlias("shape", "allowzero", "consumed_inputs"), "Squeeze": lowerAlias("axes"), "Unsqueeze": lowerAlias("axes"),
		"Flatten": lowerAlias("axis"), "Dropout": lowerDropout, "Cast": lowerCast,
		"Transpose": lowerTranspose, "Expand": lowerExpand, "Tile": lowerTile, "Slice": lowerSlice, "Concat": lowerConcat, "Split": lowerSplit, "Pad": lowerPad, "Gather": lowerGather, "ScatterND": lowerScatterND, "Trilu": lowerTrilu,

		"Add": lowerBinary("add", numeric), "Sub": lowerBinary("sub", numeric), "Mul": lowerBinary("mul", numeric), "Div": lowerBinary("div", numeric), "Pow": lowerPow,
		"Max": lowerVariadic("max", false), "Min": lowerVariadic("min", false), "Sum": lowerVariadic("add", false), "Mean": lowerVariadic("add", true),
		"PRelu": lowerBinary("prelu", floating), "Equal": lowerBinary("eq", anything), "Less": lowerBinary("lt", anything), "LessOrEqual": lowerBinary("le", anything),
		"Greater": lowerBinary("gt", anything), "GreaterOrEqual": lowerBinary("ge", anything),
		"And": lowerBinary("and", logical), "Or": lowerBinary("or", logical), "Xor": lowerBinary("xor", logical), "Not": lowerUnary("not", logical),
		"Where": lowerWhere, "Clip": lowerClip,

		"Abs": lowerUnary("abs", numeric), "Neg": lowerUnary("neg", numeric), "Sign": lowerUnary("sign", numeric), "Relu": lowerUnary("relu", numeric),
		"Acos": lowerUnary("acos", floating), "Acosh": lowerUnary("acosh", floating), "Asin": lowerUnary("asin", floating), "Asinh": lowerUnary("asinh", floating),
		"Atan": lowerUnary("atan", floating), "Atanh": lowerUnary("atanh", floating), "Ceil": lowerUnary("ceil", floating), "Cos": lowerUnary("cos", floating),
		"Cosh": lowerUnary("cosh", floating), "Erf": lowerUnary("erf", floating), "Exp": lowerUnary("exp", floating), "Floor": lowerUnary("floor", floating),
		"HardSwish": lowerUnary("hardswish", floating), "Log": lowerUnary("log", floating), "Mish": lowerUnary("mish", floating),
		"Reciprocal": lowerUnary("reciprocal", floating), "Round": lowerUnary("round", floating), "Sigmoid": lowerUnary("sigmoid", floating),
		"Sin": lowerUnary("sin", floating), "Sinh": lowerUnary("sinh", floating), "Softplus": lowerUnary("softplus", floating),
		"Softsign": lowerUnary("softsign", floating), "Sqrt": lowerUnary("sqrt", floating), "Tan": lowerUnary("tan", floating), "Tanh": lowerUnary("tanh", floating),
		"Celu": lowerActivation("celu", parameter{"alpha", 1}), "Elu": lowerActivation("elu", parameter{"alpha", 1}), "Gelu": lowerGelu,
		"HardSigmoid": lowerActivation("hardsigmoid", parameter{"alpha", 0.2}, parameter{"beta", 0.5}), "LeakyRelu": lowerActivation("leakyrelu", parameter{"alpha", 0.01}),
		"Selu":            lowerActivation("selu", parameter{"alpha", 1.67326319217681884765625}, parameter{"gamma", 1.05070102214813232421875}),
		"ThresholdedRelu": lowerActivation("thresholdedrelu", parameter{"alpha", 1}),

		"ReduceSum": lowerReduce("sum", "copy", "copy"), "ReduceMean": lowerReduce("sum", "copy", "mean"), "ReduceMax": lowerReduce("max", "copy", "copy"),
		"ReduceMin": lowerReduce("min", "copy", "copy"), "ReduceProd": lowerReduce("prod", "copy", "copy"), "ReduceL1": lowerReduce("sum", "abs", "copy"),
		"ReduceL2": lowerReduce("sum", "square", "sqrt"), "ReduceSumSquare": lowerReduce("sum", "square", "copy"), "ReduceLogSum": lowerReduce("sum", "copy", "log"),
		"GlobalAveragePool": lowerGlobalPool("sum", "mean"), "GlobalMaxPool": lowerGlobalPool("max", "copy"),
		"ArgMax": lowerArg(false), "ArgMin": lowerArg(true), "CumSum": lowerCumSum, "Softmax": lowerSoftmax(false), "LogSoftmax": lowerSoftmax(true),
		"BatchNormalization": lowerBatchNorm, "InstanceNormalization": lowerInstanceNorm, "LayerNormalization": lowerLayerNorm,

		"MatMul": lowerMatMul, "Gemm": lowerGemm, "Conv": lowerConv, "ConvTranspose": lowerConvTranspose, "AveragePool": lowerAveragePool, "MaxPool": lowerMaxPool, "Einsum": lowerEinsum,
	}
}
