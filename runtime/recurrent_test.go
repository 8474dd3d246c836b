package runtime

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// refCell advances one row by one step, in float64 and as the specification writes it. w is [G·H][I], r [G·H][H], b = Wb|Rb, p = i|o|f.
type refCell func(cfg *recurrent.Config, acts []recurrent.Activation, x, h, c []float64, w, r [][]float64, b, p []float64) (nextH, nextC []float64)

var refCells = map[recurrent.Op]refCell{recurrent.LSTM: refLSTM, recurrent.GRU: refGRU, recurrent.RNN: refRNN}

// refActivation is the specification's table of activation functions, its argument clipped.
func refActivation(cfg *recurrent.Config, a recurrent.Activation, x float64) float64 {
	if clip := float64(cfg.Clip); clip > 0 {
		x = math.Min(math.Max(x, -clip), clip)
	}
	alpha, beta := float64(a.Alpha), float64(a.Beta)
	switch a.Name {
	case "Relu":
		return math.Max(0, x)
	case "Tanh":
		return 2/(1+math.Exp(-2*x)) - 1
	case "Sigmoid":
		return 1 / (1 + math.Exp(-x))
	case "Affine":
		return alpha*x + beta
	case "LeakyRelu":
		if x >= 0 {
			return x
		}
		return alpha * x
	case "ThresholdedRelu":
		if x >= alpha {
			return x
		}
		return 0
	case "ScaledTanh":
		return alpha * math.Tanh(beta*x)
	case "HardSigmoid":
		return math.Min(math.Max(alpha*x+beta, 0), 1)
	case "Elu":
		if x >= 0 {
			return x
		}
		return alpha * (math.Exp(x) - 1)
	case "Softsign":
		return x / (1 + math.Abs(x))
	case "Softplus":
		if x > 50 {
			return x // e^x overflows, and 1 is lost beside it long before
		}
		return math.Log(1 + math.Exp(x))
	}
	panic(a.Name)
}

func dot(a, b []float64) float64 {
	s := 0.0
	for k := range a {
		s += a[k] * b[k]
	}
	return s
}

// layerCase is one node with its operands, layout 0, in float64; nil operands are absent.
type layerCase struct {
	cfg                   recurrent.Config
	steps, batch, inputs  int
	x, w, r, b, p, h0, c0 []float64
	lens                  []int32
}

func (l *layerCase) dirs() int { return l.cfg.Direction.Count() }
func (l *layerCase) rows() int { return l.cfg.Op.Gates() * l.cfg.Hidden }

func matrix(data []float64, rows int) [][]float64 {
	m := make([][]float64, rows)
	n := len(data) / rows
	for k := range m {
		m[k] = data[k*n : (k+1)*n]
	}
	return m
}

// reference computes Y [T,D,B,H], Y_h and Y_c [D,B,H] row by row.
func (l *layerCase) reference() (y, yh, yc []float64) {
	H, gh := l.cfg.Hidden, l.rows()
	y = make([]float64, l.steps*l.dirs()*l.batch*H)
	for d := range l.dirs() {
		acts := l.cfg.Activations[d*len(l.cfg.Activations)/l.dirs():]
		w, r := matrix(l.w, l.dirs()*gh)[d*gh:(d+1)*gh], matrix(l.r, l.dirs()*gh)[d*gh:(d+1)*gh]
		b, p := make([]float64, 2*gh), make([]float64, 3*H)
		if l.b != nil {
			b = l.b[d*2*gh:]
		}
		if l.p != nil {
			p = l.p[d*3*H:]
		}
		for n := range l.batch {
			h, c := make([]float64, H), make([]float64, H)
			if l.h0 != nil {
				copy(h, l.h0[(d*l.batch+n)*H:])
			}
			if l.c0 != nil {
				copy(c, l.c0[(d*l.batch+n)*H:])
			}
			length := l.steps
			if l.lens != nil {
				length = int(l.lens[n])
			}
			for i := range length {
				t := i
				if d == 1 || l.cfg.Direction == recurrent.Reverse {
					t = length - 1 - i
				}
				x := l.x[(t*l.batch+n)*l.inputs:][:l.inputs]
				h, c = refCells[l.cfg.Op](&l.cfg, acts, x, h, c, w, r, b, p)
				copy(y[((t*l.dirs()+d)*l.batch+n)*H:], h)
			}
			yh, yc = append(yh, h...), append(yc, c...)
		}
	}
	return y, yh, yc
}

// swap01 exchanges the first two axes of a tensor [a, b, rest].
func swap01(data []float64, a, b int) []float64 {
	if len(data) == 0 {
		return data
	}
	n := len(data) / (a * b)
	out := make([]float64, 0, len(data))
	for j := range b {
		for i := range a {
			out = append(out, data[(i*b+j)*n:(i*b+j+1)*n]...)
		}
	}
	return out
}

// arrays gives the operands as the layout wants them.
func (l *layerCase) arrays(typ onnx.DataType) []*Tensor {
	d, h, gh := l.dirs(), l.cfg.Hidden, l.rows()
	x, h0, c0 := l.x, l.h0, l.c0
	xd, sd := []int{l.steps, l.batch, l.inputs}, []int{d, l.batch, h}
	if l.cfg.Layout == 1 {
		x, h0, c0 = swap01(x, l.steps, l.batch), swap01(h0, d, l.batch), swap01(c0, d, l.batch)
		xd, sd = []int{l.batch, l.steps, l.inputs}, []int{l.batch, d, h}
	}
	in := []*Tensor{
		floats(typ, xd, x), floats(typ, []int{d, gh, l.inputs}, l.w), floats(typ, []int{d, gh, h}, l.r), floats(typ, []int{d, 2 * gh}, l.b),
		nil, floats(typ, sd, h0), floats(typ, sd, c0), floats(typ, []int{d, 3 * h}, l.p),
	}
	if l.lens != nil {
		in[recurrent.SlotSequenceLens] = newTensor(onnx.Int32, []int{l.batch}, l.lens)
	}
	return in
}

func floats(typ onnx.DataType, dims []int, data []float64) *Tensor {
	if data == nil {
		return nil
	}
	switch typ {
	case onnx.Double:
		return newTensor(typ, dims, data)
	case onnx.Float:
		f := make([]float32, len(data))
		for k, v := range data {
			f[k] = float32(v)
		}
		return newTensor(typ, dims, f)
	}
	return narrowHalf(floats(onnx.Float, dims, data), typ)
}

func asFloat64(t *Tensor) []float64 {
	switch d := t.Data.(type) {
	case []float64:
		return d
	case []float32:
		f := make([]float64, len(d))
		for k, v := range d {
			f[k] = float64(v)
		}
		return f
	}
	return asFloat64(widenHalf(t))
}

func runLayerCase(l *layerCase, typ onnx.DataType, read ...bool) ([]*Tensor, error) {
	op := &recurrentOp{cfg: l.cfg}
	if len(read) == 0 {
		read = []bool{true, true, true}
	}
	return op.run(&call{ctx: context.Background(), node: &nodeInfo{read: read}}, l.arrays(typ))
}

// check compares the node's outputs with the scalar reference. Errors are measured against the largest of all values, or against 1, the
// order of the operands: a small result of large terms is no more exact than they are.
func (l *layerCase) check(t interface{ Fatalf(string, ...any) }, typ onnx.DataType, tol float64) {
	out, err := runLayerCase(l, typ)
	if err != nil {
		t.Fatalf("%v", err)
	}
	y, yh, yc := l.reference()
	scale := 1.0
	for _, v := range slices.Concat(y, yh, yc) {
		scale = math.Max(scale, math.Abs(v))
	}
	if math.IsInf(scale, 0) || math.IsNaN(scale) {
		return // the gates have grown beyond float64
	}
	d, h := l.dirs(), l.cfg.Hidden
	for k, want := range [][]float64{y, yh, yc} {
		if k == 2 && l.cfg.Op != recurrent.LSTM {
			if out[2] != nil {
				t.Fatalf("%s gave Y_c", l.cfg.Op)
			}
			continue
		}
		dims := []int{d, l.batch, h}
		if k == 0 {
			dims = []int{l.steps, d, l.batch, h}
		}
		if l.cfg.Layout == 1 {
			if k == 0 {
				// [T,D,B,H] to [B,T,D,H]
				want = swap01(want, l.steps*d, l.batch)
				dims = []int{l.batch, l.steps, d, h}
			} else {
				want = swap01(want, d, l.batch)
				dims = []int{l.batch, d, h}
			}
		}
		if !sameDims(out[k].Dims, dims) {
			t.Fatalf("output %d has dims %v, want %v", k, out[k].Dims, dims)
		}
		got := asFloat64(out[k])
		for i := range want {
			if !(math.Abs(got[i]-want[i]) <= tol*scale) {
				t.Fatalf("output %d element %d is %v, the specification gives %v\n%+v", k, i, got[i], want[i], l.cfg)
			}
		}
	}
}

func drawActivation(t *rapid.T) recurrent.Activation {
	name := rapid.SampledFrom([]string{"Relu", "Tanh", "Sigmoid", "Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu", "Softsign", "Softplus"}).Draw(t, "activation")
	return recurrent.Activation{Name: name, Alpha: rapid.SampledFrom([]float32{0.01, 0.2, 0.75, 1}).Draw(t, "alpha"), Beta: rapid.SampledFrom([]float32{0, 0.5, 1.25}).Draw(t, "beta")}
}

func drawLayer(t *rapid.T, op recurrent.Op) *layerCase {
	l := &layerCase{
		steps: rapid.IntRange(0, 5).Draw(t, "T"), batch: rapid.IntRange(1, 4).Draw(t, "B"), inputs: rapid.IntRange(1, 5).Draw(t, "I"),
		cfg: recurrent.Config{
			Op: op, Hidden: rapid.IntRange(1, 5).Draw(t, "H"),
			Direction: rapid.SampledFrom([]recurrent.Direction{recurrent.Forward, recurrent.Reverse, recurrent.Bidirectional}).Draw(t, "direction"),
			Layout:    rapid.IntRange(0, 1).Draw(t, "layout"),
			Clip:      rapid.SampledFrom([]float32{0, 0, 0.25, 1.5}).Draw(t, "clip"),
		},
	}
	d := l.dirs()
	flag := func(name string) bool { return rapid.Bool().Draw(t, name) }
	perDirection := map[recurrent.Op]int{recurrent.LSTM: 3, recurrent.GRU: 2, recurrent.RNN: 1}[op]
	for range d * perDirection {
		l.cfg.Activations = append(l.cfg.Activations, drawActivation(t))
	}
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
	normal := func(n int) []float64 {
		// values that float32 holds exactly, so that both precisions see the same operands
		v := make([]float64, n)
		for k := range v {
			v[k] = float64(float32(rng.NormFloat64() * 0.7))
		}
		return v
	}
	h, gh := l.cfg.Hidden, l.rows()
	l.x, l.w, l.r = normal(l.steps*l.batch*l.inputs), normal(d*gh*l.inputs), normal(d*gh*h)
	if flag("B present") {
		l.b = normal(d * 2 * gh)
	}
	if flag("initial_h present") {
		l.h0 = normal(d * l.batch * h)
	}
	if flag("sequence_lens present") {
		l.lens = make([]int32, l.batch)
		for k := range l.lens {
			l.lens[k] = int32(rapid.IntRange(0, l.steps).Draw(t, "length"))
		}
	}
	switch op {
	case recurrent.LSTM:
		l.cfg.InputForget = flag("input_forget")
		if flag("initial_c present") {
			l.c0 = normal(d * l.batch * h)
		}
		if flag("P present") {
			l.p = normal(d * 3 * h)
		}
	case recurrent.GRU:
		l.cfg.LinearBeforeReset = flag("linear_before_reset")
	}
	return l
}

// stable says that rounding errors do not grow from step to step: gates are bounded and continuous.
func (l *layerCase) stable() bool {
	return !slices.ContainsFunc(l.cfg.Activations, func(a recurrent.Activation) bool {
		switch a.Name {
		case "Tanh", "Sigmoid", "HardSigmoid", "Softsign", "ScaledTanh":
			return false
		case "ThresholdedRelu":
			return true
		}
		return l.cfg.Clip == 0
	})
}

// checkCell compares a cell with its scalar reference over all configurations in float64, and in float32 where float32 can tell.
func checkCell(t *testing.T, op recurrent.Op) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLayer(t, op)
		l.check(t, onnx.Double, 1e-11)
		if l.stable() {
			l.check(t, onnx.Float, 2e-5)
		}
	})
}

// TestHalfLayer runs float16 and bfloat16, which are computed in float32 and rounded once: half a unit in the last of 11 and 8 bits.
func TestHalfLayer(t *testing.T) {
	for _, tc := range []struct {
		typ onnx.DataType
		tol float64
	}{{onnx.Float16, 5e-3}, {onnx.BFloat16, 2e-2}} {
		l := &layerCase{steps: 3, batch: 2, inputs: 3, cfg: recurrent.Config{Op: recurrent.LSTM, Hidden: 2, Direction: recurrent.Forward,
			Activations: []recurrent.Activation{{Name: "Sigmoid"}, {Name: "Tanh"}, {Name: "Tanh"}}}}
		rng := rand.New(rand.NewPCG(1, 2))
		for _, f := range []struct {
			to *[]float64
			n  int
		}{{&l.x, 18}, {&l.w, 24}, {&l.r, 16}, {&l.b, 16}} {
			for range f.n {
				// three significant bits survive both formats
				*f.to = append(*f.to, math.Round(rng.NormFloat64()*4)/4)
			}
		}
		l.check(t, tc.typ, tc.tol)
	}
}

// TestLayerOutputsOnDemand: an output that nobody reads need not be computed, the others do not change by a bit.
func TestLayerOutputsOnDemand(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLayer(t, recurrent.LSTM)
		all, err := runLayerCase(l, onnx.Double, true, true, true)
		if err != nil {
			t.Fatalf("%v", err)
		}
		out, err := runLayerCase(l, onnx.Double, false, true, true)
		if err != nil {
			t.Fatalf("%v", err)
		}
		if out[0] != nil {
			t.Fatalf("Y was computed")
		}
		for k := 1; k < 3; k++ {
			want := asFloat64(all[k])
			for i, v := range asFloat64(out[k]) {
				if math.Float64bits(v) != math.Float64bits(want[i]) {
					t.Fatalf("state %d element %d is %v, with Y it is %v", k, i, v, want[i])
				}
			}
		}
	})
}

func TestLayerRefusesBrokenOperands(t *testing.T) {
	base := func() *layerCase {
		one := func(n int) []float64 { return make([]float64, n) }
		return &layerCase{steps: 2, batch: 2, inputs: 3, x: one(12), w: one(24), r: one(16), b: one(16), p: one(6), h0: one(4), c0: one(4), lens: []int32{1, 2},
			cfg: recurrent.Config{Op: recurrent.LSTM, Hidden: 2, Direction: recurrent.Forward, Activations: []recurrent.Activation{{Name: "Sigmoid"}, {Name: "Tanh"}, {Name: "Tanh"}}}}
	}
	for _, tc := range []struct {
		name   string
		change func(in []*Tensor)
		want   string
	}{
		{"X rank", func(in []*Tensor) { in[0] = floats(onnx.Float, []int{4, 3}, make([]float64, 12)) }, "X has dims [4 3], want rank 3"},
		{"W columns", func(in []*Tensor) { in[0] = floats(onnx.Float, []int{2, 3, 2}, make([]float64, 12)) }, "W has dims [1 8 3], want [1 8 2]"},
		{"W rows", func(in []*Tensor) { in[1] = floats(onnx.Float, []int{1, 4, 3}, make([]float64, 12)) }, "W has dims [1 4 3], want [1 8 3]"},
		{"R and hidden_size", func(in []*Tensor) { in[2] = floats(onnx.Float, []int{1, 8, 1}, make([]float64, 8)) }, "R has dims [1 8 1], want [1 8 2]"},
		{"B", func(in []*Tensor) { in[3] = floats(onnx.Float, []int{1, 8}, make([]float64, 8)) }, "B has dims [1 8], want [1 16]"},
		{"initial_h batch", func(in []*Tensor) { in[5] = floats(onnx.Float, []int{1, 1, 2}, make([]float64, 2)) }, "initial_h has dims [1 1 2], want [1 2 2]"},
		{"initial_c", func(in []*Tensor) { in[6] = floats(onnx.Float, []int{2, 2}, make([]float64, 4)) }, "initial_c has dims [2 2], want [1 2 2]"},
		{"P", func(in []*Tensor) { in[7] = floats(onnx.Float, []int{1, 2}, make([]float64, 2)) }, "P has dims [1 2], want [1 6]"},
		{"length above T", func(in []*Tensor) { in[4] = newTensor(onnx.Int32, []int{2}, []int32{1, 3}) }, "sequence_lens[1] is 3, want 0 to the 2 steps"},
		{"length below 0", func(in []*Tensor) { in[4] = newTensor(onnx.Int32, []int{2}, []int32{-1, 2}) }, "sequence_lens[0] is -1"},
		{"lengths of another batch", func(in []*Tensor) { in[4] = newTensor(onnx.Int32, []int{3}, []int32{1, 1, 1}) }, "want int32[2]"},
		{"lengths of another type", func(in []*Tensor) { in[4] = newTensor(onnx.Int64, []int{2}, []int64{1, 1}) }, "want int32[2]"},
		{"mixed types", func(in []*Tensor) { in[2] = floats(onnx.Double, []int{1, 8, 2}, make([]float64, 16)) }, "input R is"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := base()
			in := l.arrays(onnx.Float)
			tc.change(in)
			_, err := (&recurrentOp{cfg: l.cfg}).run(&call{ctx: context.Background(), node: &nodeInfo{read: []bool{true, true, true}}}, in)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

// TestLayerHonoursContext: a cancelled context ends the time loop.
func TestLayerHonoursContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	l := &layerCase{steps: 3, batch: 1, inputs: 1, x: make([]float64, 3), w: make([]float64, 1), r: make([]float64, 1),
		cfg: recurrent.Config{Op: recurrent.RNN, Hidden: 1, Direction: recurrent.Forward, Activations: []recurrent.Activation{{Name: "Tanh"}}}}
	_, err := (&recurrentOp{cfg: l.cfg}).run(&call{ctx: ctx, node: &nodeInfo{read: []bool{true, true}}}, l.arrays(onnx.Float))
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want %v", err, context.Canceled)
	}
}

// BenchmarkLSTM times a layer forward: the paper's (57,600 inputs) and a middling one.
func BenchmarkLSTM(b *testing.B) {
	for _, s := range []struct{ T, B, I, H int }{{6, 16, 57600, 256}, {32, 64, 256, 256}} {
		b.Run(fmt.Sprintf("T=%d/B=%d/I=%d/H=%d", s.T, s.B, s.I, s.H), func(b *testing.B) {
			rng := rand.New(rand.NewPCG(3, 4))
			random := func(dims ...int) *Tensor {
				d := make([]float32, elements(dims))
				for k := range d {
					d[k] = float32(rng.NormFloat64()) / 100
				}
				return newTensor(onnx.Float, dims, d)
			}
			op := &recurrentOp{cfg: recurrent.Config{Op: recurrent.LSTM, Hidden: s.H, Direction: recurrent.Forward, Activations: []recurrent.Activation{{Name: "Sigmoid"}, {Name: "Tanh"}, {Name: "Tanh"}}}}
			in := []*Tensor{random(s.T, s.B, s.I), random(1, 4*s.H, s.I), random(1, 4*s.H, s.H), random(1, 8*s.H)}
			for b.Loop() {
				if _, err := op.run(&call{ctx: context.Background(), node: &nodeInfo{read: []bool{true, true, true}}}, in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestRowOfLengthZero: with no valid step the state is the initial one, which is what the recurrence says after zero steps. ONNX Runtime
// 1.30 gives zeros for Y_h and Y_c of such a row.
func TestRowOfLengthZero(t *testing.T) {
	for _, op := range []recurrent.Op{recurrent.LSTM, recurrent.GRU, recurrent.RNN} {
		g := op.Gates()
		l := &layerCase{steps: 2, batch: 2, inputs: 1, lens: []int32{0, 2}, x: make([]float64, 4), w: make([]float64, g), r: make([]float64, g), h0: []float64{3, 4},
			cfg: recurrent.Config{Op: op, Hidden: 1, Direction: recurrent.Forward, Activations: []recurrent.Activation{{Name: "Tanh"}, {Name: "Tanh"}, {Name: "Tanh"}}}}
		if op == recurrent.LSTM {
			l.c0 = []float64{5, 6}
		}
		out, err := runLayerCase(l, onnx.Double)
		if err != nil {
			t.Fatal(err)
		}
		if got := asFloat64(out[1])[0]; got != 3 {
			t.Errorf("%s: Y_h is %v, want the initial 3", op, got)
		}
		if y := asFloat64(out[0]); y[0] != 0 || y[2] != 0 {
			t.Errorf("%s: Y of the empty row is %v, %v, want 0", op, y[0], y[2])
		}
		if op == recurrent.LSTM && asFloat64(out[2])[0] != 5 {
			t.Errorf("Y_c is %v, want the initial 5", asFloat64(out[2])[0])
		}
	}
}
