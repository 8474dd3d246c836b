package runtime

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
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

	parameters map[int]bool // further ones, by number in in
}

func (c nodeGradientCase) name() string {
	name := fmt.Sprintf("%s_%d", c.node.GetOpType(), c.opset)
	for _, x := range c.in {
		name += strings.ReplaceAll(fmt.Sprintf("_%v", x.Dims), " ", ",")
	}
	return name
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
		if x.Type == onnx.Double || c.parameters[len(inits)-1] {
			parameters = append(parameters, name)
		}
	}
	nodes := []*onnxpb.NodeProto{c.node}
	var outputs []string
	for _, name := range c.node.Output {
		if name != "" { // as doubles, so that those of other types are compared too
			cast := node("Cast", name, name+"_double", intAttr("to", int64(onnx.Double)))
			if c.opset < 6 {
				cast = node("Cast", name, name+"_double", stringAttr("to", "DOUBLE"))
			}
			nodes, outputs = append(nodes, cast), append(outputs, name+"_double")
		}
	}
	return buildModelAt(t, c.opset, graph(nil, untyped(strings.Join(outputs, " ")), inits, nodes...)), parameters
}

// TestOperatorGradients: the oracle is central differences in float64.
func TestOperatorGradients(t *testing.T) {
	for _, c := range nodeGradientCases() {
		t.Run(c.name(), func(t *testing.T) {
			m, parameters := c.model(t)
			checkGradients(t, m, nil, parameters...)
		})
	}
}

// single is the case with its parameters in float32.
func (c nodeGradientCase) single(t *testing.T) nodeGradientCase {
	t.Helper()
	c.in, c.parameters = slices.Clone(c.in), map[int]bool{}
	for k, x := range c.in {
		if x.Type == onnx.Double {
			narrow, err := cast(x, onnx.Float)
			if err != nil {
				t.Fatal(err)
			}
			c.in[k], c.parameters[k] = narrow, true
		}
	}
	return c
}

// TestSinglePrecision: the gradients of the same cases in float32; the oracle is the gradient in double, which differs by roundings. Neither writes into a value.
func TestSinglePrecision(t *testing.T) {
	for _, c := range nodeGradientCases() {
		if to := c.node.Attribute; c.node.GetOpType() == "Cast" && to[0].GetI() == int64(onnx.Double) {
			c.node = node("Cast", "x", "y", intAttr("to", int64(onnx.Float)))
		}
		t.Run(c.name(), func(t *testing.T) {
			var grads [2][]*Parameter
			for k, c := range []nodeGradientCase{c, c.single(t)} {
				m, names := c.model(t)
				training, err := CompileTraining(t.Context(), m, tensorsNamed(t, m, names...), Options{})
				if err != nil {
					t.Fatal(err)
				}
				pass, err := training.Forward(t.Context(), nil, PassOptions{})
				if err != nil {
					t.Fatal(err)
				}
				d, untouched := map[string]*Tensor{}, []any{}
				for name, y := range pass.Outputs {
					v := make([]float64, elements(y.Dims))
					for i := range v {
						v[i] = 0.5 + float64(i%7)/8
					}
					d[name] = newTensor(onnx.Double, y.Dims, v)
				}
				tensors := slices.Collect(maps.Values(d))
				for _, p := range training.Parameters() {
					tensors = append(tensors, p.Value)
				}
				for _, x := range tensors {
					untouched = append(untouched, slices.Clone(asFloat64(x)))
				}
				if err := pass.Backward(t.Context(), d); err != nil {
					t.Fatal(err)
				}
				for i, x := range tensors {
					if !reflect.DeepEqual(asFloat64(x), untouched[i]) {
						t.Error("the gradient wrote into a value")
					}
				}
				grads[k] = training.Parameters()
			}
			for k, p := range grads[0] {
				got, largest := asFloat64(grads[1][k].Grad), 1.0
				want := asFloat64(p.Grad)
				for _, v := range want {
					largest = math.Max(largest, math.Abs(v))
				}
				for i, v := range want {
					if diff := math.Abs(got[i] - v); !(diff <= 0x1p-17*largest) { // a hundred roundings
						t.Fatalf("gradient %d of %q is %g, in double %g", i, p.Tensor.Name, got[i], v)
					}
				}
			}
		})
	}
}

// TestGradientsOfOddShapes: where a forward run takes some shapes, the gradient must not fail on them.
func TestGradientsOfOddShapes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, c := range nodeGradientCases() {
		for range 30 {
			m := c
			m.in = slices.Clone(c.in)
			for range 1 + rng.IntN(2) {
				k := rng.IntN(len(m.in))
				x := m.in[k]
				if x.Type != onnx.Double {
					continue
				}
				dims := slices.Clone(x.Dims)
				switch what := rng.IntN(6); {
				case what == 0:
					dims = append(dims, 1+rng.IntN(2))
				case what == 1 && len(dims) > 0:
					dims = dims[1:]
				case len(dims) > 0:
					dims[rng.IntN(len(dims))] = rng.IntN(4)
				}
				m.in[k] = spread(-1, 1, dims...)
			}
			model, names := m.model(t)
			training, err := CompileTraining(t.Context(), model, tensorsNamed(t, model, names...), Options{})
			if err != nil {
				continue
			}
			pass, err := training.Forward(t.Context(), nil, PassOptions{})
			if err != nil {
				continue
			}
			d := map[string]*Tensor{}
			for name, y := range pass.Outputs {
				d[name] = newTensor(onnx.Double, y.Dims, make([]float64, elements(y.Dims)))
			}
			if err := pass.Backward(t.Context(), d); err != nil {
				t.Errorf("%s: %v", m.name(), err)
				var p *panicError
				if errors.As(err, &p) {
					t.Logf("%s", p.stack)
				}
			}
		}
	}
}

// TestEveryOperatorHasAGradient: or says why not. Every entry of the table is covered by TestOperatorGradients; the recurrent operators have tests of their own.
func TestEveryOperatorHasAGradient(t *testing.T) {
	traced := map[string]bool{} // operators that note on the tape themselves where their values come from, see TestGradientThroughGraphs
	for _, op := range strings.Fields("If Loop Scan SequenceEmpty SequenceConstruct SequenceInsert SequenceErase SequenceAt SequenceLength ConcatFromSequence SplitToSequence Optional OptionalHasElement OptionalGetElement") {
		traced[op] = true
	}
	tested := map[string]bool{"LSTM": true, "GRU": true, "RNN": true, "DequantizeLinear": true} // elsewhere
	for _, op := range strings.Fields("And Or Xor Not BitwiseAnd BitwiseOr BitwiseXor BitwiseNot BitShift HannWindow HammingWindow BlackmanWindow ConstantOfShape") {
		if g, err := gradients[op](nil); g != nil || err != nil { // of what is no float
			t.Errorf("%s is not flat", op)
		}
		tested[op] = true
	}
	for _, c := range nodeGradientCases() {
		tested[c.node.GetOpType()] = true
	}
	for op := range operators {
		ways := 0
		for _, has := range []bool{gradients[op] != nil, traced[op], noGradient[op] != "", op == "Constant"} {
			if has {
				ways++
			}
		}
		if ways != 1 {
			t.Errorf("%s has a gradient in %d ways, want one: an entry in the table, its own traces, or a reason why not", op, ways)
		}
	}
	for op := range gradients {
		if operators[op] == nil {
			t.Errorf("%s has a gradient and is no operator", op)
		}
		if !tested[op] {
			t.Errorf("the gradient of %s is not tested", op)
		}
	}
}

// TestDequantizeGradient: the oracle is the definition, dscale = Σ dy·(x − zero) over the elements of the scale. Values are rounded to float32, so differences would
// not tell.
func TestDequantizeGradient(t *testing.T) {
	x := typedTensor[int8](onnx.Int8, []int{2, 3}, 1, -2, 3, 4, 5, -6)
	d := []float32{1, 2, -1, 0.5, 3, 1}
	for _, c := range []struct {
		attrs       []*onnxpb.AttributeProto
		scale, zero *Tensor
		want        []float32
	}{
		{nil, scalar(0.5), nil, []float32{1 - 4 - 3 + 2 + 15 - 6}},
		{[]*onnxpb.AttributeProto{intAttr("axis", 0)}, f32([]int{2}, 0.5, 2), typedTensor[int8](onnx.Int8, []int{2}, 1, -1), []float32{0 - 6 - 2, 2.5 + 18 - 5}},
		{[]*onnxpb.AttributeProto{intAttr("axis", 1), intAttr("block_size", 2)}, f32([]int{2, 2}, 1, 2, 3, 4), nil, []float32{1 - 4, -3, 2 + 15, -6}},
	} {
		inits := []*onnxpb.TensorProto{initTensor("x", x), initTensor("s", c.scale)}
		inputs := "x s"
		if c.zero != nil {
			inits, inputs = append(inits, initTensor("z", c.zero)), "x s z"
		}
		m := buildModelAt(t, 21, graph(nil, untyped("y"), inits, node("DequantizeLinear", inputs, "y", c.attrs...)))
		training, err := CompileTraining(t.Context(), m, m.Graph.Initializers[1:2], Options{})
		if err != nil {
			t.Fatal(err)
		}
		pass, err := training.Forward(t.Context(), nil, PassOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := pass.Backward(t.Context(), map[string]*Tensor{"y": f32([]int{2, 3}, d...)}); err != nil {
			t.Fatal(err)
		}
		if got := training.Parameters()[0].Grad.Data.([]float32); !slices.Equal(got, c.want) {
			t.Errorf("scale of %v: gradient %v, want %v", c.scale.Dims, got, c.want)
		}
	}
}
