package runtime

import (
	"math"

	"github.com/trconvert/trconvert/internal/vec"
)

// newestOpset is the newest version of the default domain whose changes this table follows.
const newestOpset = 27

// operators is the whole of what the runtime can do in the default domain: for each operator its versions in rising order. A
// node uses the last version that is not newer than the opset in force; an opset older than the first is not supported.
// since is the oldest opset for which the builder is right, so an entry that serves several versions of the specification
// alike stands once. A builder may look at nodeInfo.opset for small differences.
var operators map[string][]version

// The table is filled here and not in its declaration, because the builders of If, Loop and Scan compile subgraphs and so refer to it.
func init() {
	operators = map[string][]version{
		// Recurrent.
		"LSTM": {{1, buildRecurrent}},
		"GRU":  {{1, buildRecurrent}},
		"RNN":  {{1, buildRecurrent}},

		// Control flow, sequences and optionals.
		"Identity":           {{1, buildIdentity}},
		"If":                 {{1, buildIf}},
		"Loop":               {{1, buildLoop}},
		"Scan":               {{9, buildScan}},
		"SequenceEmpty":      {{11, buildSequenceEmpty}},
		"SequenceConstruct":  {{11, buildSequenceConstruct}},
		"SequenceInsert":     {{11, buildSequenceInsert}},
		"SequenceErase":      {{11, buildSequenceErase}},
		"SequenceAt":         {{11, buildSequenceAt}},
		"SequenceLength":     {{11, buildSequenceLength}},
		"ConcatFromSequence": {{11, buildConcatFromSequence}},
		"SplitToSequence":    {{11, buildSplitToSequence}},
		"Optional":           {{15, buildOptional}},
		"OptionalHasElement": {{15, buildOptionalHasElement}},
		"OptionalGetElement": {{15, buildOptionalGetElement}},

		// Arithmetic and comparison, elementwise with broadcasting.
		"Add":            {{1, buildArith(opAdd)}},
		"Sub":            {{1, buildArith(opSub)}},
		"Mul":            {{1, buildArith(opMul)}},
		"Div":            {{1, buildArith(opDiv)}},
		"Mod":            {{10, buildMod}},
		"Pow":            {{1, buildPow}},
		"Max":            {{1, buildVariadic(opMax, false)}},
		"Min":            {{1, buildVariadic(opMin, false)}},
		"Sum":            {{1, buildVariadic(opAdd, false)}},
		"Mean":           {{1, buildVariadic(opAdd, true)}},
		"Equal":          {{1, buildCompare(opEqual)}},
		"Less":           {{1, buildCompare(opLess)}},
		"LessOrEqual":    {{12, buildCompare(opLessOrEqual)}},
		"Greater":        {{1, buildCompare(opGreater)}},
		"GreaterOrEqual": {{12, buildCompare(opGreaterOrEqual)}},
		"And":            {{1, buildLogical(logicalAnd)}},
		"Or":             {{1, buildLogical(logicalOr)}},
		"Xor":            {{1, buildLogical(logicalXor)}},
		"Not":            {{1, buildNot}},
		"BitwiseAnd":     {{18, buildBitwise(bitAnd)}},
		"BitwiseOr":      {{18, buildBitwise(bitOr)}},
		"BitwiseXor":     {{18, buildBitwise(bitXor)}},
		"BitwiseNot":     {{18, buildBitwiseNot}},
		"BitShift":       {{11, buildBitShift}},
		"IsNaN":          {{9, buildIsNaN}},
		"IsInf":          {{10, buildIsInf}},
		"Where":          {{9, buildWhere}},
		"Clip":           {{1, buildClip}},

		// Functions of one tensor, elementwise.
		"Abs":             {{1, buildNumericMap(opAbs)}},
		"Neg":             {{1, buildNumericMap(opNeg)}},
		"Sign":            {{9, buildNumericMap(opSign)}},
		"Relu":            {{1, buildNumericMap(opRelu)}},
		"Acos":            {{7, buildFloatMap(math.Acos)}},
		"Acosh":           {{9, buildFloatMap(math.Acosh)}},
		"Asin":            {{7, buildFloatMap(math.Asin)}},
		"Asinh":           {{9, buildFloatMap(math.Asinh)}},
		"Atan":            {{7, buildFloatMap(math.Atan)}},
		"Atanh":           {{9, buildFloatMap(math.Atanh)}},
		"Ceil":            {{1, buildFloatMap(math.Ceil)}},
		"Cos":             {{7, buildFloatMap(math.Cos)}},
		"Cosh":            {{9, buildFloatMap(math.Cosh)}},
		"Erf":             {{9, buildFloatMap(math.Erf)}},
		"Exp":             {{1, buildVectorMap(vec.Exp, math.Exp)}},
		"Floor":           {{1, buildFloatMap(math.Floor)}},
		"HardSwish":       {{14, buildFloatMap(hardSwish)}},
		"Log":             {{1, buildFloatMap(math.Log)}},
		"Mish":            {{18, buildFloatMap(mish)}},
		"Reciprocal":      {{1, buildFloatMap(reciprocal)}},
		"Round":           {{11, buildFloatMap(math.RoundToEven)}},
		"Sigmoid":         {{1, buildVectorMap(vec.Sigmoid, sigmoid)}},
		"Sin":             {{7, buildFloatMap(math.Sin)}},
		"Sinh":            {{9, buildFloatMap(math.Sinh)}},
		"Softplus":        {{1, buildFloatMap(softplus)}},
		"Softsign":        {{1, buildFloatMap(softsign)}},
		"Sqrt":            {{1, buildFloatMap(math.Sqrt)}},
		"Tan":             {{7, buildFloatMap(math.Tan)}},
		"Tanh":            {{1, buildVectorMap(vec.Tanh, math.Tanh)}},
		"Celu":            {{12, buildActivation(celu)}},
		"Elu":             {{1, buildActivation(elu)}},
		"Gelu":            {{20, buildActivation(gelu)}},
		"HardSigmoid":     {{1, buildActivation(hardSigmoid)}},
		"LeakyRelu":       {{1, buildActivation(leakyRelu)}},
		"Selu":            {{1, buildActivation(selu)}},
		"Shrink":          {{9, buildActivation(shrink)}},
		"Swish":           {{24, buildActivation(swish)}},
		"ThresholdedRelu": {{10, buildActivation(thresholdedRelu)}},
		"PRelu":           {{1, buildPRelu}},
		"Cast":            {{1, buildCast}},
		"CastLike":        {{15, buildCastLike}},
		"Dropout":         {{1, buildDropout}},

		// Along axes.
		"ArgMax":          {{1, buildArg(true)}},
		"ArgMin":          {{1, buildArg(false)}},
		"CumSum":          {{11, buildCumSum}},
		"Hardmax":         {{1, buildSoftmax(hardmax)}},
		"LogSoftmax":      {{1, buildSoftmax(logSoftmax)}},
		"Softmax":         {{1, buildSoftmax(softmax)}},
		"ReduceL1":        {{1, buildReduce(reduceL1)}},
		"ReduceL2":        {{1, buildReduce(reduceL2)}},
		"ReduceLogSum":    {{1, buildReduce(reduceLogSum)}},
		"ReduceLogSumExp": {{1, buildReduce(reduceLogSumExp)}},
		"ReduceMax":       {{1, buildReduce(reduceMax)}},
		"ReduceMean":      {{1, buildReduce(reduceMean)}},
		"ReduceMin":       {{1, buildReduce(reduceMin)}},
		"ReduceProd":      {{1, buildReduce(reduceProd)}},
		"ReduceSum":       {{1, buildReduce(reduceSum)}},
		"ReduceSumSquare": {{1, buildReduce(reduceSumSquare)}},
		"TopK":            {{1, buildTopK}},

		// Normalisation.
		"BatchNormalization":        {{1, buildBatchNorm}},
		"GroupNormalization":        {{18, buildGroupNorm}},
		"InstanceNormalization":     {{1, buildInstanceNorm}},
		"LayerNormalization":        {{17, buildLayerNorm}},
		"LpNormalization":           {{1, buildLpNorm}},
		"LRN":                       {{1, buildLRN}},
		"MeanVarianceNormalization": {{9, buildMeanVarianceNorm}},
		"RMSNormalization":          {{23, buildRMSNorm}},

		// Matrix products, convolutions and poolings.
		"AveragePool":       {{1, buildAveragePool}},
		"Conv":              {{1, buildConv}},
		"ConvTranspose":     {{1, buildConvTranspose}},
		"Einsum":            {{12, buildEinsum}},
		"Gemm":              {{1, buildGemm}},
		"GlobalAveragePool": {{1, buildGlobalPool(reduceMean)}},
		"GlobalLpPool":      {{1, buildGlobalLpPool}},
		"GlobalMaxPool":     {{1, buildGlobalPool(reduceMax)}},
		"LpPool":            {{1, buildLpPool}},
		"MatMul":            {{1, buildMatMul}},
		"MaxPool":           {{1, buildMaxPool}},

		// Quantised.
		"ConvInteger":           {{10, buildConvInteger}},
		"QLinearConv":           {{10, buildQLinearConv}},
		"DequantizeLinear":      {{10, buildDequantizeLinear}},
		"DynamicQuantizeLinear": {{11, buildDynamicQuantizeLinear}},
		"MatMulInteger":         {{10, buildMatMulInteger}},
		"QLinearMatMul":         {{10, buildQLinearMatMul}},
		"QuantizeLinear":        {{10, buildQuantizeLinear}},

		// Signals.
		"BlackmanWindow":  {{17, buildCosineWindow(0.42, 0.5, 0.08)}},
		"DFT":             {{17, buildDFT}},
		"HammingWindow":   {{17, buildCosineWindow(25.0/46, 21.0/46)}},
		"HannWindow":      {{17, buildCosineWindow(0.5, 0.5)}},
		"MelWeightMatrix": {{17, buildMelWeightMatrix}},
		"STFT":            {{17, buildSTFT}},

		// Shapes and constants.
		"EyeLike":         {{9, buildEyeLike}},
		"Constant":        {{1, buildConstant}},
		"ConstantOfShape": {{9, buildConstantOfShape}},
		"Flatten":         {{1, buildFlatten}},
		"Range":           {{11, buildRange}},
		"Reshape":         {{1, buildReshape}},
		"Shape":           {{1, buildShape}},
		"Size":            {{1, buildSize}},
		"Squeeze":         {{1, buildSqueeze}},
		"Unsqueeze":       {{1, buildUnsqueeze}},

		// Moving elements.
		"AffineGrid":      {{20, buildAffineGrid}},
		"GridSample":      {{16, buildGridSample}},
		"DepthToSpace":    {{1, buildDepthToSpace}},
		"SpaceToDepth":    {{1, buildSpaceToDepth}},
		"Resize":          {{10, buildResize}},
		"Upsample":        {{7, buildUpsample}},
		"Compress":        {{9, buildCompress}},
		"Concat":          {{1, buildConcat}},
		"Expand":          {{8, buildExpand}},
		"Gather":          {{1, buildGatherKind("axis", gather)}},
		"GatherElements":  {{11, buildGatherKind("axis", gatherElements)}},
		"GatherND":        {{11, buildGatherKind("batch_dims", gatherND)}},
		"NonZero":         {{9, buildNonZero}},
		"OneHot":          {{9, buildOneHot}},
		"Pad":             {{1, buildPad}},
		"ReverseSequence": {{10, buildReverseSequence}},
		"Scatter":         {{9, buildScatterElements}},
		"ScatterElements": {{11, buildScatterElements}},
		"ScatterND":       {{11, buildScatterND}},
		"Slice":           {{1, buildSlice}},
		"Split":           {{1, buildSplit}},
		"Tile":            {{1, buildTile}},
		"Transpose":       {{1, buildTranspose}},
		"Trilu":           {{14, buildTrilu}},
		"Unique":          {{11, buildUnique}},
	}
}
