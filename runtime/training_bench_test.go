package runtime

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/trconvert/trconvert/internal/vec"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
)

// trainingCase is a recurrent layer to train; without modes W is dense, else a ring of one rank with the gates in its last output mode.
type trainingCase struct {
	name        string
	in, out     []int
	rank        int
	batch, time int
}

// trainingCases are those of bench/training.py.
var trainingCases = []trainingCase{
	{"paper", []int{4, 2, 5, 8, 6, 5, 3, 2}, []int{4, 4, 2, 4, 8}, 5, 16, 6},
	{"mid", []int{8, 8, 8, 8}, []int{4, 4, 4, 16}, 8, 16, 32},
	{"dense", []int{256}, []int{1024}, 0, 64, 32},
	{"gru", []int{256}, []int{768}, 0, 64, 32},
}

// graph is the layer as trconvert writes it in the form bottleneck: the cores of each side are merged from the last to the first, R [I, r²] and L [4H, r²],
// one product with R, and an LSTM whose W is L. All initializers but the shapes are parameters.
func (c trainingCase) graph() *onnxpb.GraphProto {
	inputs, rows := elements(c.in), elements(c.out)
	h, op := rows/4, "LSTM"
	attrs := []*onnxpb.AttributeProto{}
	if c.name == "gru" {
		h, op = rows/3, "GRU"
		attrs = append(attrs, intAttr("linear_before_reset", 1)) // PyTorch's
	}
	inits := []*onnxpb.TensorProto{
		initFloats("R", []int64{1, int64(rows), int64(h)}, noise(rows*h, 1/math.Sqrt(float64(h)))...),
		initFloats("B", []int64{1, int64(2 * rows)}, noise(2*rows, 0.1)...),
	}
	cores := func(side string, modes []int) (dims [][3]int) {
		for k, n := range modes {
			dims = append(dims, [3]int{c.rank, n, c.rank})
			inits = append(inits, initFloats(fmt.Sprintf("%s.core%d", side, k), []int64{int64(c.rank), int64(n), int64(c.rank)},
				noise(c.rank*n*c.rank, 1/math.Sqrt(float64(c.rank)))...))
		}
		return dims
	}
	var nodes []*onnxpb.NodeProto
	x, w := "X", "W"
	if c.rank > 0 {
		merge, shapes := mergedRing(cores("R", c.in), cores("L", c.out))
		nodes, inits = merge, append(inits, shapes...)
		x, w = "Z", "L"
	} else {
		inits = append(inits, initFloats("W", []int64{1, int64(rows), int64(inputs)}, noise(rows*inputs, 1/math.Sqrt(float64(inputs)))...))
	}
	nodes = append(nodes, node(op, x+" "+w+" R B", "Y", append(attrs, intAttr("hidden_size", int64(h)))...))
	return graph([]*onnxpb.ValueInfoProto{declared("X", onnx.Float, -1, -1, int64(inputs))}, untyped("Y"), inits, nodes...)
}

// adam is Adam as PyTorch's torch.optim.Adam does it, without weight decay.
type adam struct {
	step   int
	m, v   [][]float32
	params []*Parameter
}

func (a *adam) update() {
	const rate, beta1, beta2, eps = 1e-4, 0.9, 0.999, 1e-8
	if a.m == nil {
		for _, p := range a.params {
			n := elements(p.Value.Dims)
			a.m, a.v = append(a.m, make([]float32, n)), append(a.v, make([]float32, n))
		}
	}
	a.step++
	f := vec.Adam[float32]{Rate: float32(rate / (1 - math.Pow(beta1, float64(a.step)))), Shrink: 1, Scale: 1, Beta1: beta1, Rest1: 1 - beta1, Beta2: beta2, Rest2: 1 - beta2,
		C2: float32(1 / (1 - math.Pow(beta2, float64(a.step)))), Epsilon: eps}
	for k, p := range a.params {
		w, g, m, v := p.Value.Data.([]float32), p.Grad.Data.([]float32), a.m[k], a.v[k]
		inBlocks(len(w), func(lo, hi int) { f.Step(w[lo:hi], g[lo:hi], m[lo:hi], v[lo:hi]) })
	}
}

// warmSteps run before those that are measured: the first ten or so of a process grow its heap, and its threads have not found their processors.
const warmSteps = 10

// BenchmarkTrainingStep measures one step: forward, the mean square of Y as the loss, backward, Adam. Besides the mean it reports the median and the least
// of the clock's time and of the processor time of all threads.
func BenchmarkTrainingStep(b *testing.B) {
	for _, c := range trainingCases {
		b.Run(c.name, func(b *testing.B) {
			ctx := context.Background()
			m := buildModel(b, c.graph())
			var parameters []*onnx.Tensor
			for _, t := range m.Graph.Initializers {
				if t.Type == onnx.Float {
					parameters = append(parameters, t)
				}
			}
			training, err := CompileTraining(ctx, m, parameters, Options{})
			if err != nil {
				b.Fatal(err)
			}
			inputs := elements(c.in)
			feeds := map[string]*Tensor{"X": f32([]int{c.time, c.batch, inputs}, noise(c.time*c.batch*inputs, 1)...)}
			optimizer := &adam{params: training.Parameters()}
			step := func() {
				training.ZeroGrad()
				pass, err := training.Forward(ctx, feeds, PassOptions{})
				if err != nil {
					b.Fatal(err)
				}
				y := pass.Outputs["Y"]
				values := y.Data.([]float32)
				d := make([]float32, len(values))
				scale := 2 / float32(len(values))
				inBlocks(len(values), func(lo, hi int) {
					for k, v := range values[lo:hi] {
						d[lo+k] = scale * v
					}
				})
				if err := pass.Backward(ctx, map[string]*Tensor{"Y": f32(y.Dims, d...)}); err != nil {
					b.Fatal(err)
				}
				optimizer.update()
			}
			for range warmSteps {
				step()
			}
			var wall, cpu []float64
			for b.Loop() {
				start, used := time.Now(), processTime()
				step()
				wall, cpu = append(wall, time.Since(start).Seconds()), append(cpu, (processTime()-used).Seconds())
			}
			slices.Sort(wall)
			slices.Sort(cpu)
			b.ReportMetric(1000*wall[len(wall)/2], "wall-ms")
			b.ReportMetric(1000*cpu[len(cpu)/2], "cpu-ms")
			b.ReportMetric(1000*wall[0], "best-wall-ms")
			b.ReportMetric(1000*cpu[0], "best-cpu-ms")
		})
	}
}
