package runtime

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/internal/gemm"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// model wraps the layer in a model without inputs: its operands are the initializers X, W, R, B, initial_h, initial_c and P, as far as they are there.
// outputs are words, "_" for an output that nobody reads. It returns the names of the float operands.
func (l *layerCase) model(t *testing.T, typ onnx.DataType, outputs string) (*onnx.Model, []string) {
	t.Helper()
	var inits []*onnxpb.TensorProto
	var given []string
	inputs := ""
	for k, a := range l.arrays(typ) {
		if a == nil {
			inputs += " _"
			continue
		}
		name := slotName(k)
		inputs += " " + name
		inits = append(inits, initTensor(name, a))
		if k != recurrent.SlotSequenceLens {
			given = append(given, name)
		}
	}
	attrs := []*onnxpb.AttributeProto{intAttr("hidden_size", int64(l.cfg.Hidden)), stringAttr("direction", string(l.cfg.Direction)), intAttr("layout", int64(l.cfg.Layout))}
	var functions []string
	var alpha, beta []float32
	for _, a := range l.cfg.Activations {
		functions = append(functions, a.Name)
		switch a.Name {
		case "LeakyRelu", "ThresholdedRelu", "Elu":
			alpha = append(alpha, a.Alpha)
		case "HardSigmoid", "Affine", "ScaledTanh":
			alpha, beta = append(alpha, a.Alpha), append(beta, a.Beta)
		}
	}
	attrs = append(attrs, stringsAttr("activations", functions...), floatsAttr("activation_alpha", alpha...), floatsAttr("activation_beta", beta...))
	if l.cfg.Clip > 0 {
		attrs = append(attrs, floatAttr("clip", l.cfg.Clip))
	}
	if l.cfg.InputForget {
		attrs = append(attrs, intAttr("input_forget", 1))
	}
	if l.cfg.LinearBeforeReset {
		attrs = append(attrs, intAttr("linear_before_reset", 1))
	}
	read := ""
	for _, o := range names(outputs) {
		if o != "" {
			read += " " + o
		}
	}
	return buildModel(t, graph(nil, untyped(read), inits, node(string(l.cfg.Op), inputs, outputs, attrs...))), given
}

func floatsAttr(name string, v ...float32) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_FLOATS.Enum(), Floats: v}
}

// operands fills the operands of a layer with normal numbers.
func (l *layerCase) operands(rng *rand.Rand, deviation float64, bias, states, peepholes bool) {
	normal := func(n int) []float64 {
		v := make([]float64, n)
		for k := range v {
			v[k] = rng.NormFloat64() * deviation
		}
		return v
	}
	d, h, gh := l.dirs(), l.cfg.Hidden, l.rows()
	l.x, l.w, l.r = normal(l.steps*l.batch*l.inputs), normal(d*gh*l.inputs), normal(d*gh*h)
	if bias {
		l.b = normal(d * 2 * gh)
	}
	if states {
		l.h0 = normal(d * l.batch * h)
	}
	if states && l.cfg.Op == recurrent.LSTM {
		l.c0 = normal(d * l.batch * h)
	}
	if peepholes {
		l.p = normal(d * 3 * h)
	}
}

var (
	allActivations = []string{"Relu", "Tanh", "Sigmoid", "Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu", "Softsign", "Softplus"}
	allOutputs     = []string{"Y Y_h Y_c", "Y", "_ Y_h", "_ _ Y_c", "Y _ Y_c", "_ Y_h Y_c"}
)

// gradientCases are layers of one kind in every direction, layout and activation, and with every option on and off. drawn from fixed seeds, so that none stands at
// a kink.
func gradientCases(op recurrent.Op) (list []*layerCase, outputs []string) {
	functions := map[recurrent.Op]int{recurrent.LSTM: 3, recurrent.GRU: 2, recurrent.RNN: 1}[op]
	for k := range 66 {
		rng := rand.New(rand.NewPCG(11, uint64(k)))
		l := &layerCase{steps: 1 + k%4, batch: 1 + rng.IntN(3), inputs: 1 + rng.IntN(3)}
		l.cfg = recurrent.Config{Op: op, Hidden: 1 + rng.IntN(3), Layout: k / 3 % 2,
			Direction: []recurrent.Direction{recurrent.Forward, recurrent.Reverse, recurrent.Bidirectional}[k%3]}
		flag := func(bit int) bool { return rng.Uint32()>>bit&1 == 1 }
		for j := range l.dirs() * functions {
			a := recurrent.Activation{Name: allActivations[(k+4*j)%len(allActivations)], Alpha: 0.3 + 0.5*rng.Float32(), Beta: 0.3 + 0.5*rng.Float32()}
			if k%6 == 0 || k%6 == 5 { // the default, also with options
				a = defaultActivations[op][j%functions]
			}
			l.cfg.Activations = append(l.cfg.Activations, a)
		}
		if flag(3) {
			l.cfg.Clip = 0.4
		}
		l.cfg.InputForget = op == recurrent.LSTM && flag(4)
		l.cfg.LinearBeforeReset = op == recurrent.GRU && flag(5)
		l.operands(rng, 0.6, flag(6), flag(7), op == recurrent.LSTM && flag(8))
		if flag(9) {
			for range l.batch {
				l.lens = append(l.lens, int32(rng.IntN(l.steps+1)))
			}
		}
		read := allOutputs[rng.IntN(len(allOutputs))]
		if op != recurrent.LSTM {
			read = []string{"Y Y_h", "Y", "_ Y_h"}[rng.IntN(3)]
		}
		list, outputs = append(list, l), append(outputs, read)
	}
	return list, outputs
}

// TestRecurrentGradients compares the gradients of all operands with central differences, the sequence whole and cut into stretches.
func TestRecurrentGradients(t *testing.T) {
	oldTrace, oldStretch := traceElements, stretchElements
	defer func() { traceElements, stretchElements = oldTrace, oldStretch }()
	for _, op := range []recurrent.Op{recurrent.LSTM, recurrent.GRU, recurrent.RNN} {
		cases, outputs := gradientCases(op)
		for k, l := range cases {
			traceElements, stretchElements = oldTrace, oldStretch
			if k%2 == 1 {
				traceElements, stretchElements = 0, l.batch*l.rows()
			}
			m, operands := l.model(t, onnx.Double, outputs[k])
			if err := gradientError(m, nil, 1e-6, operands...); err != nil {
				t.Errorf("%v\noutputs %s of %d steps, lengths %v, %+v", err, outputs[k], l.steps, l.lens, l.cfg)
			}
		}
	}
}

// layerGradients runs a layer forward and back and returns its outputs and the gradients of its operands for gradients of the outputs that are drawn from
// a fixed seed.
func layerGradients(t *testing.T, l *layerCase, typ onnx.DataType, outputs string, o PassOptions, parameters ...string) (out, grads map[string][]float64, kept int64) {
	t.Helper()
	ctx := context.Background()
	m, operands := l.model(t, typ, outputs)
	if parameters == nil {
		parameters = operands
	}
	var tensors []*onnx.Tensor
	for _, init := range m.Graph.Initializers {
		if slices.Contains(parameters, init.Name) {
			tensors = append(tensors, init)
		}
	}
	training, err := CompileTraining(ctx, m, tensors, Options{})
	if err != nil {
		t.Fatal(err)
	}
	pass, err := training.Forward(ctx, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	kept = pass.Kept()
	rng := rand.New(rand.NewPCG(3, 4))
	out, grads = map[string][]float64{}, map[string][]float64{}
	d := map[string]*Tensor{}
	for _, v := range training.Program().Outputs() {
		y := pass.Outputs[v.Name]
		c := make([]float64, elements(y.Dims))
		for k := range c {
			c[k] = float64(float32(rng.NormFloat64()))
		}
		out[v.Name], d[v.Name] = slices.Clone(asFloat64(y)), floats(typ, y.Dims, c)
	}
	if err := pass.Backward(ctx, d); err != nil {
		t.Fatal(err)
	}
	for _, p := range training.Parameters() {
		grads[p.Tensor.Name] = asFloat64(p.Grad)
	}
	return out, grads, kept
}

// near compares values with an absolute tolerance times the largest of those wanted, or 1.
func near(t *testing.T, what string, got, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s has %d elements, want %d", what, len(got), len(want))
	}
	scale := 1.0
	for _, v := range want {
		scale = math.Max(scale, math.Abs(v))
	}
	for k := range want {
		if !(math.Abs(got[k]-want[k]) <= tolerance*scale) {
			t.Fatalf("%s[%d] is %v, want %v", what, k, got[k], want[k])
		}
	}
}

// TestRecurrentGradientsInFloat32 holds the gradients of the vector kernels against those in float64, which finite differences
// have checked.
func TestRecurrentGradientsInFloat32(t *testing.T) {
	for _, op := range []recurrent.Op{recurrent.LSTM, recurrent.GRU, recurrent.RNN} {
		for k := range 12 {
			l := &layerCase{steps: 7, batch: 3 + 40*(k%2), inputs: 5, cfg: recurrent.Config{Op: op, Hidden: 37, Layout: k / 2 % 2, LinearBeforeReset: op == recurrent.GRU && k%4 < 2,
				Direction: []recurrent.Direction{recurrent.Forward, recurrent.Reverse, recurrent.Bidirectional}[k%3]}}
			for range l.dirs() {
				l.cfg.Activations = append(l.cfg.Activations, defaultActivations[op]...)
			}
			rng := rand.New(rand.NewPCG(5, uint64(k)))
			l.operands(rng, 0.3, true, k%2 == 0, false)
			if k >= 6 {
				for range l.batch {
					l.lens = append(l.lens, int32(rng.IntN(l.steps+1)))
				}
			}
			out, grads, _ := layerGradients(t, l, onnx.Float, "Y Y_h", PassOptions{})
			wantOut, wantGrads, _ := layerGradients(t, l, onnx.Double, "Y Y_h", PassOptions{})
			for name := range wantOut {
				near(t, fmt.Sprintf("%s %d: %s", op, k, name), out[name], wantOut[name], 1e-5)
			}
			for name := range wantGrads {
				near(t, fmt.Sprintf("%s %d: gradient of %s", op, k, name), grads[name], wantGrads[name], 1e-5)
			}
		}
	}
}

// TestLongSequencesAreCut: cutting a sequence lowers what a pass keeps and changes no bit that does not hang on the order of a sum.
func TestLongSequencesAreCut(t *testing.T) {
	old := traceElements
	defer func() { traceElements = old }()
	for _, op := range []recurrent.Op{recurrent.LSTM, recurrent.GRU, recurrent.RNN} {
		l := &layerCase{steps: 100, batch: 2, inputs: 1, cfg: recurrent.Config{Op: op, Hidden: 20, Direction: recurrent.Forward, Activations: defaultActivations[op]}}
		l.operands(rand.New(rand.NewPCG(1, 1)), 0.3, true, true, false)
		_, want, whole := layerGradients(t, l, onnx.Double, "Y", PassOptions{})
		traceElements = 0
		_, got, cut := layerGradients(t, l, onnx.Double, "Y", PassOptions{})
		traceElements = old
		for name := range want {
			near(t, string(op)+" "+name, got[name], want[name], 1e-12)
		}
		if cut > whole/3 {
			t.Errorf("%s: %d bytes are kept, uncut %d", op, cut, whole)
		}
	}
}

// TestGradientsOnDemand: only those that are wanted are computed, the same as with all others.
func TestGradientsOnDemand(t *testing.T) {
	l := &layerCase{steps: 4, batch: 3, inputs: 2, cfg: recurrent.Config{Op: recurrent.LSTM, Hidden: 3, Direction: recurrent.Bidirectional,
		Activations: slices.Concat(defaultActivations[recurrent.LSTM], defaultActivations[recurrent.LSTM])}}
	l.operands(rand.New(rand.NewPCG(8, 8)), 0.5, true, true, true)
	_, all, _ := layerGradients(t, l, onnx.Double, "Y Y_h Y_c", PassOptions{})
	if len(all) != 7 {
		t.Fatalf("%d gradients, want those of seven operands", len(all))
	}
	for name, want := range all {
		_, one, _ := layerGradients(t, l, onnx.Double, "Y Y_h Y_c", PassOptions{}, name)
		if len(one) != 1 {
			t.Fatalf("gradients of %d operands, want %s", len(one), name)
		}
		near(t, name, one[name], want, 1e-13)
	}
}

// TestEndedRowsDoNotSpread: what X holds behind the end of a row, NaN here, reaches no gradient.
func TestEndedRowsDoNotSpread(t *testing.T) {
	for _, op := range []recurrent.Op{recurrent.LSTM, recurrent.GRU, recurrent.RNN} {
		for _, direction := range []recurrent.Direction{recurrent.Forward, recurrent.Reverse} {
			l := &layerCase{steps: 3, batch: 2, inputs: 2, lens: []int32{3, 1}, cfg: recurrent.Config{Op: op, Hidden: 2, Direction: direction, Activations: defaultActivations[op]}}
			l.operands(rand.New(rand.NewPCG(8, 9)), 0.5, true, true, false)
			_, want, _ := layerGradients(t, l, onnx.Double, "Y Y_h", PassOptions{})
			for step := 1; step < 3; step++ {
				l.x[(step*2+1)*2] = math.NaN()
			}
			_, got, _ := layerGradients(t, l, onnx.Double, "Y Y_h", PassOptions{})
			for name := range want {
				near(t, fmt.Sprintf("%s %s: %s", op, direction, name), got[name], want[name], 0)
			}
		}
	}
}

// TestDropoutGradients compares gradients under dropout with central differences of the same masks.
func TestDropoutGradients(t *testing.T) {
	o := PassOptions{Dropout: Dropout{Projection: 0.4, Hidden: 0.3, Seed: 5}}
	for _, op := range []recurrent.Op{recurrent.LSTM, recurrent.GRU, recurrent.RNN} {
		l := &layerCase{steps: 3, batch: 3, inputs: 2, lens: []int32{3, 0, 2}, cfg: recurrent.Config{Op: op, Hidden: 3, Direction: recurrent.Bidirectional, LinearBeforeReset: op == recurrent.GRU,
			Activations: slices.Concat(defaultActivations[op], defaultActivations[op])}}
		l.operands(rand.New(rand.NewPCG(8, 1)), 0.5, true, true, false)
		_, grads, _ := layerGradients(t, l, onnx.Double, "Y Y_h", o)
		loss := func() float64 {
			out, _, _ := layerGradients(t, l, onnx.Double, "Y Y_h", o)
			rng := rand.New(rand.NewPCG(3, 4))
			sum := 0.0
			for _, name := range []string{"Y", "Y_h"} {
				for _, v := range out[name] {
					sum += v * float64(float32(rng.NormFloat64()))
				}
			}
			return sum
		}
		for name, values := range map[string][]float64{"X": l.x, "W": l.w, "R": l.r, "B": l.b, "initial_h": l.h0} {
			for k := 0; k < len(values); k += 5 {
				const h = 1e-5
				v := values[k]
				values[k] = v + h
				above := loss()
				values[k] = v - h
				below := loss()
				values[k] = v
				near(t, fmt.Sprintf("%s: %s[%d]", op, name, k), grads[name][k:k+1], []float64{(above - below) / (2 * h)}, 1e-6)
			}
		}
	}
}

// TestDropoutMasks reads the masks off a layer that shows them: H = X·Wᵀ + B with W = 1 and X = 1 at each step.
func TestDropoutMasks(t *testing.T) {
	const steps, batch, hidden, projectionRate, hiddenRate = 3, 8, 50, 0.25, 0.5
	l := &layerCase{steps: steps, batch: batch, inputs: 1, cfg: recurrent.Config{Op: recurrent.RNN, Hidden: hidden, Direction: recurrent.Forward,
		Activations: []recurrent.Activation{{Name: "Affine", Alpha: 1}}}}
	l.x, l.w, l.r, l.b = make([]float64, steps*batch), make([]float64, hidden), make([]float64, hidden*hidden), make([]float64, 2*hidden)
	for _, v := range [][]float64{l.x, l.w, l.b[:hidden]} {
		for k := range v {
			v[k] = 1
		}
	}
	run := func(seed uint64) []float64 {
		out, _, _ := layerGradients(t, l, onnx.Double, "Y Y_h", PassOptions{Dropout: Dropout{Projection: projectionRate, Hidden: hiddenRate, Seed: seed}})
		y := out["Y"]
		for k := range batch * hidden {
			if y[k] != y[batch*hidden+k] || y[k] != y[2*batch*hidden+k] || y[k] != out["Y_h"][k] {
				t.Fatalf("feature %d changes over time", k)
			}
		}
		return y[:batch*hidden]
	}
	y := run(1)
	count := map[float64]int{}
	for _, v := range y {
		count[math.Round(v*1e9)/1e9]++
	}
	// Hidden is dropped, or twice the bias 1 alone, or twice the bias and 1/(1 − 0.25).
	none, bias, both := count[0], count[2], count[math.Round(2*(1+4./3)*1e9)/1e9]
	if none+bias+both != len(y) || math.Abs(float64(none)/400-0.5) > 0.1 || math.Abs(float64(bias)/float64(bias+both)-0.25) > 0.1 {
		t.Errorf("values and their counts: %v", count)
	}
	if !slices.Equal(y, run(1)) {
		t.Error("the same seed gave other masks")
	}
	if slices.Equal(y, run(2)) {
		t.Error("another seed gave the same masks")
	}
}

func TestDropoutRefusesRates(t *testing.T) {
	l := &layerCase{steps: 1, batch: 1, inputs: 1, cfg: recurrent.Config{Op: recurrent.RNN, Hidden: 1, Direction: recurrent.Forward, Activations: defaultActivations[recurrent.RNN]}}
	l.operands(rand.New(rand.NewPCG(8, 1)), 0.5, false, false, false)
	m, _ := l.model(t, onnx.Double, "Y")
	training, err := CompileTraining(context.Background(), m, m.Graph.Initializers[:1], Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, rate := range []float64{-0.1, 1, math.NaN()} {
		if _, err := training.Forward(context.Background(), nil, PassOptions{Dropout: Dropout{Hidden: rate}}); err == nil {
			t.Errorf("a rate of %v was accepted", rate)
		}
	}
}

// TestGradientBitsDoNotDependOnThreads runs a layer large enough for several goroutines in every part on one and on four.
func TestGradientBitsDoNotDependOnThreads(t *testing.T) {
	defer gemm.SetThreads(0)
	for _, op := range []recurrent.Op{recurrent.LSTM, recurrent.GRU, recurrent.RNN} {
		l := largeLayer(op)
		gemm.SetThreads(1)
		wantOut, want, _ := layerGradients(t, l, onnx.Float, "Y Y_h", PassOptions{})
		gemm.SetThreads(4)
		out, got, _ := layerGradients(t, l, onnx.Float, "Y Y_h", PassOptions{})
		for name := range wantOut {
			if !slices.Equal(out[name], wantOut[name]) {
				t.Errorf("%s: %s has other bits", op, name)
			}
		}
		for name := range want {
			if !slices.Equal(got[name], want[name]) {
				t.Errorf("%s: the gradient of %s has other bits", op, name)
			}
		}
	}
}
