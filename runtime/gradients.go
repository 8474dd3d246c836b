package runtime

import "math"

// Like the table of operators this one is filled by init, since some gradients look their operator up there.
func init() {
	gradients = map[string]gradientBuilder{
		// Recurrent.
		"LSTM": recurrentGradient,
		"GRU":  recurrentGradient,
		"RNN":  recurrentGradient,

		// Arithmetic, elementwise with broadcasting.
		"Identity": reshapeGradient,
		"Add":      addGradient,
		"Sub":      subGradient,
		"Mul":      mulGradient,
		"Div":      divGradient,
		"Mod":      modGradientOf,
		"Pow":      powGradient,
		"Max":      extremeGradient,
		"Min":      extremeGradient,
		"Sum":      sumGradient(false),
		"Mean":     sumGradient(true),
		"Where":    whereGradient,
		"Clip":     clipGradient,

		// Comparisons, bits and rounding.
		"Equal":          flatGradient,
		"Less":           flatGradient,
		"LessOrEqual":    flatGradient,
		"Greater":        flatGradient,
		"GreaterOrEqual": flatGradient,
		"And":            flatGradient,
		"Or":             flatGradient,
		"Xor":            flatGradient,
		"Not":            flatGradient,
		"BitwiseAnd":     flatGradient,
		"BitwiseOr":      flatGradient,
		"BitwiseXor":     flatGradient,
		"BitwiseNot":     flatGradient,
		"BitShift":       flatGradient,
		"IsNaN":          flatGradient,
		"IsInf":          flatGradient,
		"Sign":           flatGradient,
		"Ceil":           flatGradient,
		"Floor":          flatGradient,
		"Round":          flatGradient,

		// Functions of one tensor, elementwise.
		"Abs":             slopeAt(absSlope),
		"Neg":             slopeAt(func(float64) float64 { return -1 }),
		"Relu":            rowSlope(reluSlopes[float32], reluSlopes[float64]),
		"Acos":            slopeAt(func(x float64) float64 { return -1 / math.Sqrt(1-x*x) }),
		"Acosh":           slopeAt(func(x float64) float64 { return 1 / math.Sqrt(x*x-1) }),
		"Asin":            slopeAt(func(x float64) float64 { return 1 / math.Sqrt(1-x*x) }),
		"Asinh":           slopeAt(func(x float64) float64 { return 1 / math.Hypot(x, 1) }),
		"Atan":            slopeAt(func(x float64) float64 { return 1 / (1 + x*x) }),
		"Atanh":           slopeAt(func(x float64) float64 { return 1 / (1 - x*x) }),
		"Cos":             slopeAt(func(x float64) float64 { return -math.Sin(x) }),
		"Cosh":            slopeAt(math.Sinh),
		"Erf":             slopeAt(erfSlope),
		"Exp":             rowSlope(mulRow[float32], mulRow[float64]),
		"HardSwish":       slopeAt(hardSwishSlope),
		"Log":             slopeAt(reciprocal),
		"Mish":            slopeAt(mishSlope),
		"Reciprocal":      slopeFrom(func(y float64) float64 { return -y * y }),
		"Sigmoid":         rowSlope(sigmoidSlopes[float32], sigmoidSlopes[float64]),
		"Sin":             slopeAt(math.Cos),
		"Sinh":            slopeAt(math.Cosh),
		"Softplus":        slopeAt(sigmoid),
		"Softsign":        slopeAt(softsignSlope),
		"Sqrt":            slopeFrom(func(y float64) float64 { return 0.5 / y }),
		"Tan":             slopeFrom(func(y float64) float64 { return 1 + y*y }),
		"Tanh":            rowSlope(tanhSlopes[float32], tanhSlopes[float64]),
		"Celu":            slopeAtOf(celuSlope),
		"Elu":             slopeAtOf(eluSlope),
		"Gelu":            slopeAtOf(geluSlope),
		"HardSigmoid":     slopeAtOf(hardSigmoidSlope),
		"LeakyRelu":       slopeAtOf(leakyReluSlope),
		"Selu":            slopeAtOf(seluSlope),
		"Shrink":          slopeAtOf(shrinkSlope),
		"Swish":           slopeAtOf(swishSlope),
		"ThresholdedRelu": slopeAtOf(thresholdedReluSlope),
		"PRelu":           preluGradient,
		"Cast":            castGradient,
		"CastLike":        convertGradient,
		"Dropout":         dropoutGradient,

		// Along axes.
		"ArgMax":          flatGradient,
		"ArgMin":          flatGradient,
		"CumSum":          cumSumGradient,
		"Hardmax":         flatGradient,
		"LogSoftmax":      softmaxGradient(true),
		"Softmax":         softmaxGradient(false),
		"ReduceL1":        reduceGradient(reduceL1),
		"ReduceL2":        reduceGradient(reduceL2),
		"ReduceLogSum":    reduceGradient(reduceLogSum),
		"ReduceLogSumExp": reduceGradient(reduceLogSumExp),
		"ReduceMax":       reduceGradient(reduceMax),
		"ReduceMean":      reduceGradient(reduceMean),
		"ReduceMin":       reduceGradient(reduceMin),
		"ReduceProd":      reduceGradient(reduceProd),
		"ReduceSum":       reduceGradient(reduceSum),
		"ReduceSumSquare": reduceGradient(reduceSumSquare),
		"TopK":            topKGradient,

		// Normalisation.
		"BatchNormalization":        batchNormGradient,
		"GroupNormalization":        groupNormGradient,
		"InstanceNormalization":     instanceNormGradient,
		"LayerNormalization":        layerNormGradient(false),
		"LpNormalization":           floatGradient(lpNormBack),
		"LRN":                       floatGradient(lrnBack),
		"MeanVarianceNormalization": floatGradient(meanVarianceBack),
		"RMSNormalization":          layerNormGradient(true),

		// Matrix products, convolutions and poolings.
		"AveragePool":       poolGradient(slidingWindow, 0, 0, 0, averagePoolBack),
		"Conv":              convGradient,
		"ConvTranspose":     convTransposeGradient,
		"Einsum":            einsumGradient,
		"Gemm":              gemmGradient,
		"GlobalAveragePool": globalGradient(reduceMean),
		"GlobalLpPool":      poolGradient(globalWindow, 1, 1, 0, lpPoolBack),
		"GlobalMaxPool":     globalGradient(reduceMax),
		"LpPool":            poolGradient(slidingWindow, 1, 1, 0, lpPoolBack),
		"MatMul":            matMulGradient,
		"MaxPool":           poolGradient(slidingWindow, 1, 0, 2, maxPoolBack),

		// Quantised.
		"DequantizeLinear": dequantizeGradient,

		// Signals.
		"BlackmanWindow":  flatGradient,
		"DFT":             dftGradient,
		"HammingWindow":   flatGradient,
		"HannWindow":      flatGradient,
		"MelWeightMatrix": flatGradient,
		"STFT":            stftGradient,

		// Shapes and constants.
		"ConstantOfShape": flatGradient,
		"EyeLike":         flatGradient,
		"Flatten":         reshapeGradient,
		"Range":           rangeGradient,
		"Reshape":         reshapeGradient,
		"Shape":           flatGradient,
		"Size":            flatGradient,
		"Squeeze":         reshapeGradient,
		"Unsqueeze":       reshapeGradient,

		// Moving elements.
		"AffineGrid":      affineGridGradient,
		"GridSample":      gridSampleGradient,
		"Resize":          resizeGradient(newResize),
		"Upsample":        resizeGradient(newUpsample),
		"OneHot":          oneHotGradient,
		"Pad":             padGradient,
		"Unique":          uniqueGradient,
		"DepthToSpace":    moverGradient(0),
		"SpaceToDepth":    moverGradient(0),
		"Compress":        moverGradient(2),
		"Concat":          concatGradient,
		"Expand":          repeatGradient,
		"Gather":          gatherRowsGradient,
		"GatherElements":  moverGradient(2),
		"GatherND":        moverGradient(2),
		"NonZero":         flatGradient,
		"ReverseSequence": moverGradient(2),
		"Scatter":         scatterGradient,
		"ScatterElements": scatterGradient,
		"ScatterND":       scatterGradient,
		"Slice":           sliceGradient,
		"Split":           splitGradient,
		"Tile":            moverGradient(all &^ 1),
		"Transpose":       transposeGradient,
		"Trilu":           moverGradient(2),
	}
}

// dropoutGradient: at inference the data pass. The mask is true.
func dropoutGradient(*nodeInfo) (*gradient, error) {
	return &gradient{flat: 2, run: func(_ *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
		return []*Tensor{newTensor(d[0].Type, in[0].Dims, d[0].Data)}, nil
	}}, nil
}

// noGradient says why an operator has none. Rounding is flat, so the gradient of what is quantised would be zero everywhere and training would stand still without
// saying so; those operators are refused and not called flat.
var noGradient = map[string]string{
	"ConvInteger":           "it computes with integers",
	"DynamicQuantizeLinear": "it rounds to integers",
	"MatMulInteger":         "it computes with integers",
	"QLinearConv":           "it rounds to integers",
	"QLinearMatMul":         "it rounds to integers",
	"QuantizeLinear":        "it rounds to integers",
}
