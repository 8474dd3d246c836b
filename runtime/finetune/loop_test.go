package finetune

import (
	"bytes"
	"context"
	"math"
	"math/rand/v2"
	goruntime "runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/runtime"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// broken is an objective whose loss is NaN in the calls that bad names, counting those with gradients from 1.
type broken struct {
	Objective
	calls *int
	bad   func(call int) bool
}

func (b broken) Loss(r *Run, grads map[string]*runtime.Tensor) (Measure, error) {
	m, err := b.Objective.Loss(r, grads)
	if grads != nil {
		if *b.calls++; b.bad(*b.calls) {
			m.Sum = math.NaN()
		}
	}
	return m, err
}

// The way back: a NaN in the second epoch leads to the state behind the first, with half the rate; nothing of the broken epoch is left.
func TestBackOff(t *testing.T) {
	m, train, val, objective, o := xor(t)
	o.Epochs, o.Schedule.Shape = 3, Constant
	calls, perEpoch := 0, 13 // 200 samples in batches of 16
	var rates []float64
	var reasons []string
	o.Observe = func(e Event) {
		switch e.Kind {
		case Stepped:
			rates = append(rates, e.Rate)
		case BackedOff:
			reasons = append(reasons, e.Reason)
		}
	}
	res, err := Train(context.Background(), m, train, val, broken{objective, &calls, func(call int) bool { return call == perEpoch+5 }}, o)
	if err != nil {
		t.Fatal(err)
	}
	if res.BackOffs != 1 || res.Status != Limit || len(res.History) != 3 || len(reasons) != 1 || !strings.Contains(reasons[0], "step 5 of epoch 2: the loss is NaN") {
		t.Errorf("%d back-offs, status %v, %d epochs, reasons %q", res.BackOffs, res.Status, len(res.History), reasons)
	}
	if calls != perEpoch+5+2*perEpoch {
		t.Errorf("%d batches were run, want %d", calls, perEpoch+5+2*perEpoch)
	}
	if first, last := rates[0], rates[len(rates)-1]; first != 0.03 || last != 0.015 {
		t.Errorf("rates went from %v to %v, want 0.03 and 0.015", first, last)
	}
	o.Observe = nil
	plain, err := Train(context.Background(), m, train, val, objective, o)
	if err != nil || plain.History[0].TrainLoss != res.History[0].TrainLoss || plain.History[1].TrainLoss == res.History[1].TrainLoss {
		t.Errorf("undisturbed epochs %v, with a back-off in the second %v (%v)", plain.History, res.History, err)
	}
}

// Going back restores parameters, momenta and average as they were when the epoch began.
func TestGoBackRestoresAll(t *testing.T) {
	ctx := context.Background()
	m, train, val, objective, o := xor(t)
	o.Average = 0.9
	o.fill()
	tr, err := newTrainer(ctx, m, train, val, objective, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.begin(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.epoch(ctx); err != nil { // so that momenta are not zero
		t.Fatal(err)
	}
	tr.endEpoch(Evaluation{Loss: 1}, 0)
	want := cloneAll(tr.state.all())
	tr.state.keepGood()
	if _, err := tr.epoch(ctx); err != nil {
		t.Fatal(err)
	}
	changed := cloneAll(tr.state.all())
	tr.state.goBack()
	if len(want) != 4+8+4 || tr.state.batch != 0 || tr.state.partial != (Measure{}) {
		t.Errorf("%d arrays, batch %d, partial %+v", len(want), tr.state.batch, tr.state.partial)
	}
	for k, a := range tr.state.all() {
		if !cmp.Equal(a.Data, want[k].Data) || cmp.Equal(a.Data, changed[k].Data) {
			t.Errorf("array %d is %v, want %v", k, a.Data, want[k].Data)
		}
	}
}

// By hand: the lower loss; with ByMetric the better metric, and among the same the lower loss. NaN is worse than anything.
func TestBetter(t *testing.T) {
	e := func(loss, metric float64, kind MetricKind) Evaluation {
		return Evaluation{Loss: loss, Metric: metric, Kind: kind}
	}
	nan := math.NaN()
	for _, tt := range []struct {
		byMetric bool
		a, than  Evaluation
		want     bool
	}{
		{false, e(1, 0.5, Accuracy), e(2, 0.9, Accuracy), true}, {false, e(2, 0.9, Accuracy), e(1, 0.5, Accuracy), false}, {false, e(1, 1, Accuracy), e(1, 0, Accuracy), false},
		{true, e(1, 0.5, Accuracy), e(2, 0.9, Accuracy), false}, {true, e(2, 0.9, Accuracy), e(1, 0.5, Accuracy), true}, {true, e(1, 0.9, Accuracy), e(2, 0.9, Accuracy), true},
		{true, e(2, 0.1, RelativeError), e(1, 0.2, RelativeError), true}, {true, e(1, nan, NoMetric), e(2, nan, NoMetric), true},
		{false, e(1, 0, Accuracy), e(nan, 0, Accuracy), true}, {false, e(nan, 0, Accuracy), e(1, 0, Accuracy), false}, {true, e(nan, 1, Accuracy), e(nan, 0, Accuracy), false},
	} {
		if got := (Stop{ByMetric: tt.byMetric}).better(tt.a, tt.than); got != tt.want {
			t.Errorf("by metric %v: %+v better than %+v is %v", tt.byMetric, tt.a, tt.than, got)
		}
	}
}

// Parameters that overflow in the very last step of an epoch have no loss that shows it where nothing is held back.
func TestOverflowWithoutValidation(t *testing.T) {
	m, train, _, objective, o := xor(t)
	o.Epochs, o.Batch, o.Stop.BackOffs = 1, 200, 1
	o.Optimizer = Optimizer{Method: SGD, Rate: 1e39}
	o.Schedule.Shape = Constant
	res, err := Train(context.Background(), m, train, nil, objective, o)
	if err != nil {
		t.Fatal(err)
	}
	if res.Status != Diverged || res.BestEpoch != 0 {
		t.Errorf("status %v, best epoch %d", res.Status, res.BestEpoch)
	}
	for _, p := range res.Parameters {
		if at, bad := notFinite(p.Value); bad {
			t.Errorf("element %d of %s is not finite", at, p.Tensor.Name)
		}
	}
}

func TestStatuses(t *testing.T) {
	always := func(int) bool { return true }
	for name, tt := range map[string]struct {
		change func(*Options)
		bad    func(int) bool
		cancel int // event, 0: none
		status Status
		check  func(*Result) bool
	}{
		"limit":     {func(o *Options) { o.Epochs = 2 }, nil, 0, Limit, func(r *Result) bool { return len(r.History) == 2 }},
		"diverged":  {func(o *Options) { o.Stop.BackOffs = 3 }, always, 0, Diverged, func(r *Result) bool { return r.BackOffs == 3 && r.BestEpoch == 0 && r.After == r.Before }},
		"stalled":   {func(o *Options) { o.Epochs, o.Stop.Patience, o.Optimizer.Rate = 500, 3, 0.2 }, nil, 0, Stalled, func(r *Result) bool { return len(r.History) == r.BestEpoch+3 }},
		"converged": {func(o *Options) { o.Epochs, o.Optimizer.Rate = 300, 0.2 }, nil, 0, Converged, func(r *Result) bool { return r.BestEpoch <= 295 }},
		"cancelled": {func(o *Options) { o.Epochs = 9 }, nil, 30, Cancelled, func(r *Result) bool { return len(r.History) == 2 }},
	} {
		m, train, val, objective, o := xor(t)
		tt.change(&o)
		ctx, cancel := context.WithCancel(context.Background())
		events, calls := 0, 0
		o.Observe = func(Event) {
			if events++; events == tt.cancel {
				cancel()
			}
		}
		if tt.bad != nil {
			objective = broken{objective, &calls, tt.bad}
		}
		res, err := Train(ctx, m, train, val, objective, o)
		cancel()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if res.Status != tt.status || !tt.check(res) || len(res.Parameters) != 4 {
			t.Errorf("%s: status %v after %d epochs, the best %d, %d back-offs", name, res.Status, len(res.History), res.BestEpoch, res.BackOffs)
		}
	}
}

// The returned parameters are those of the best epoch: Evaluate, on a model that has them, gives the figures of that epoch.
func TestBestEpochIsReturned(t *testing.T) {
	for _, average := range []float64{0, 0.95} {
		m, train, val, objective, o := xor(t)
		o.Epochs, o.Optimizer.Rate, o.Average = 40, 0.2, average
		res, err := Train(context.Background(), m, train, val, objective, o)
		if err != nil {
			t.Fatal(err)
		}
		best := math.Inf(1)
		number := 0
		for _, e := range res.History {
			if e.ValLoss < best {
				best, number = e.ValLoss, e.Number
			}
		}
		o.Epochs, o.Optimizer.Rate, o.Average = 1, 1e-30, 0
		start := Start{Values: map[*onnx.Tensor]*onnx.Array{}}
		for _, p := range res.Parameters {
			start.Values[p.Tensor] = p.Value
		}
		o.Trial.Starts = []Start{start}
		again, err := Train(context.Background(), m, train, val, objective, o)
		if err != nil || res.BestEpoch != number || res.After.Loss != best || again.Before != res.After {
			t.Errorf("average %v: best epoch %d with %+v, want %d with %v; evaluated %+v (%v)", average, res.BestEpoch, res.After, number, best, again.Before, err)
		}
	}
}

// Of a start that is a trained model and of one with zeros everywhere, which never breaks the symmetry of the hidden units, the trained one is chosen.
func TestTrialChooses(t *testing.T) {
	m, train, val, objective, o := xor(t)
	trained, err := Train(context.Background(), m, train, val, objective, o)
	if err != nil {
		t.Fatal(err)
	}
	good, zero := map[*onnx.Tensor]*onnx.Array{}, map[*onnx.Tensor]*onnx.Array{}
	for _, p := range trained.Parameters {
		good[p.Tensor] = p.Value
		if zero[p.Tensor], err = onnx.ZeroArray(p.Value.Type, p.Value.Dims); err != nil {
			t.Fatal(err)
		}
	}
	o.Epochs = 4
	for _, tt := range []struct {
		val   *dataset.Dataset
		trial Trial
	}{{val, Trial{}}, {val, Trial{Epochs: 2, Fraction: 0.5}}, {nil, Trial{Epochs: 2}}} {
		o.Trial = tt.trial
		o.Trial.Starts = []Start{{Name: "zero", Values: zero}, {Name: "good", Values: good, Rate: 0.01}}
		var chosen []string
		o.Observe = func(e Event) {
			if e.Kind == Chosen {
				chosen = append(chosen, e.Trial)
			}
		}
		res, err := Train(context.Background(), m, train, tt.val, objective, o)
		if err != nil {
			t.Fatal(err)
		}
		if res.Start != "good" || len(chosen) != 1 || chosen[0] != "good" || len(res.Trials) != 2 || !(res.Trials[1].Loss < res.Trials[0].Loss) {
			t.Errorf("chosen is %q of %v", res.Start, res.Trials)
		}
		if tt.val != nil && res.Before != trained.After {
			t.Errorf("training begins at %+v, the start has %+v", res.Before, trained.After)
		}
	}
}

// A step of plain gradient descent on all samples at once moves each parameter by rate times the derivative of what Evaluate calls the loss; clipped, the step has
// the length rate times Clip. Oracle: central differences in float64.
func TestStepFollowsTheLoss(t *testing.T) {
	ctx := context.Background()
	m := cell(t, 1, "N")
	d := streamData(t, m, 4, 3, true)
	objective := Squared{findHead(t, m, "y").Itself()}
	tr := newCellTrainer(t, m, d, objective, Options{})
	var slope [][]float64
	for _, w := range tr.weights {
		value := w.Value.Data.([]float64)
		var g []float64
		for i, v := range value {
			var side [2]float64
			for s, x := range []float64{v + 1e-5, v - 1e-5} {
				value[i] = x
				e, err := measure(ctx, tr.engine, &tr.train, objective, 4, 3)
				if err != nil {
					t.Fatal(err)
				}
				side[s] = e.Loss()
			}
			value[i] = v
			g = append(g, (side[0]-side[1])/2e-5)
		}
		slope = append(slope, g)
	}
	for _, clip := range []float64{0, 1e-3} {
		res, err := Train(ctx, m, d, nil, objective, Options{Groups: []Group{{Name: "all", Tensors: tensors(t, m, "A R C")}}, Epochs: 1, Batch: 4, Streams: cellStreams,
			Optimizer: Optimizer{Method: SGD, Rate: 0.5, Clip: clip}, Schedule: Schedule{Shape: Constant}})
		if err != nil {
			t.Fatal(err)
		}
		var length float64
		for k, p := range res.Parameters {
			stored, err := p.Tensor.Array()
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range p.Value.Data.([]float64) {
				moved := v - stored.Data.([]float64)[i]
				length += moved * moved
				if clip == 0 && math.Abs(moved+0.5*slope[k][i]) > 1e-7 {
					t.Errorf("%s at %d moved by %v, want %v", p.Tensor.Name, i, moved, -0.5*slope[k][i])
				}
			}
		}
		if clip > 0 && math.Abs(math.Sqrt(length)-0.5*clip) > 1e-12 {
			t.Errorf("the clipped step has the length %v, want %v", math.Sqrt(length), 0.5*clip)
		}
	}
}

// What a teacher says is remembered by sample: the loss of a shuffled epoch that changes next to nothing is what Evaluate, which remembers nothing, finds. The
// value has its samples on axis 1.
func TestTeacherIsRemembered(t *testing.T) {
	build := func(seed uint64) *onnx.Model {
		r := rand.New(rand.NewPCG(seed, 8))
		return buildModel(t, 13, &onnxpb.GraphProto{
			Input: []*onnxpb.ValueInfoProto{value("x", "N", 3, 2)}, Output: []*onnxpb.ValueInfoProto{value("y")},
			Initializer: []*onnxpb.TensorProto{random(r, "A", 1, 2, 4)},
			Node:        []*onnxpb.NodeProto{node("Transpose", "x", "xt", &onnxpb.AttributeProto{Name: ptr("perm"), Type: onnxpb.AttributeProto_INTS.Enum(), Ints: []int64{1, 0, 2}}), node("MatMul", "xt A", "z"), node("Softmax", "z", "y")},
		})
	}
	student, teacher := build(1), build(2)
	x := quadrants(1, 60)["x"].Data.([]float32)
	d := openArrays(t, student, map[string]*onnx.Array{"x": floatArray([]int{20, 3, 2}, x)}, dataset.Options{})
	h := findHead(t, student, "y")
	objective := Distill{Own: h, Of: h, Temperature: 2}
	e, err := Evaluate(context.Background(), student, d, objective, EvaluateOptions{Batch: 7, Teacher: teacher})
	if err != nil {
		t.Fatal(err)
	}
	res, err := Train(context.Background(), student, d, nil, objective, Options{Groups: []Group{{Tensors: tensors(t, student, "A")}}, Epochs: 1, Batch: 6, Optimizer: Optimizer{Method: SGD, Rate: 1e-12}, Teacher: teacher})
	if err != nil {
		t.Fatal(err)
	}
	if got := res.History[0].TrainLoss; !(e.Loss > 0.01) || math.Abs(got-e.Loss) > 1e-6*e.Loss {
		t.Errorf("the loss of the epoch is %v, Evaluate says %v", got, e.Loss)
	}
}

// The same bits whatever the number of threads.
func TestThreadsChangeNothing(t *testing.T) {
	defer goruntime.GOMAXPROCS(goruntime.GOMAXPROCS(1))
	one := bytesOf(mustTrain(t, resumable(t, "", 3)))
	goruntime.GOMAXPROCS(2)
	if two := bytesOf(mustTrain(t, resumable(t, "", 3))); !bytes.Equal(one, two) {
		t.Error("two threads give another result than one")
	}
}

// A value [steps, samples, classes] is read along its own axes, also where there are as many steps as samples.
func TestTimeMajorOutputs(t *testing.T) {
	transposed := func(to string) *onnx.Model {
		return buildModel(t, 13, &onnxpb.GraphProto{
			Input: []*onnxpb.ValueInfoProto{value("x", "N", 4, 3)}, Output: []*onnxpb.ValueInfoProto{value(to)},
			Node: []*onnxpb.NodeProto{node("Transpose", "x", "y", &onnxpb.AttributeProto{Name: ptr("perm"), Type: onnxpb.AttributeProto_INTS.Enum(), Ints: []int64{1, 0, 2}}), node("Identity", "x", "z")},
		})
	}
	r := quadrants(1, 24)["x"].Data.([]float32)
	labels := make([]int64, 16)
	for i := range labels {
		labels[i] = int64(i % 3)
	}
	arrays := map[string]*onnx.Array{"x": floatArray([]int{4, 4, 3}, r), "label": intArray([]int{4, 4}, labels)}
	var loss []float64
	for _, name := range []string{"z", "y"} {
		m := transposed(name)
		e, err := Evaluate(context.Background(), m, openArrays(t, m, arrays, dataset.Options{Labels: "label"}), CrossEntropy{Head: Head{Value: name, axis: -1}}, EvaluateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		loss = append(loss, e.Loss)
	}
	if math.Abs(loss[0]-loss[1]) > 1e-12 {
		t.Errorf("losses are %v", loss)
	}
}

func ptr[T any](v T) *T { return &v }

// Steps behind a sample's length count for nothing: their labels and inputs may be anything.
func TestLengths(t *testing.T) {
	m := buildModel(t, 13, &onnxpb.GraphProto{Input: []*onnxpb.ValueInfoProto{value("x", "N", 3, 2)}, Output: []*onnxpb.ValueInfoProto{value("y")}, Node: []*onnxpb.NodeProto{node("Identity", "x", "y")}})
	var got []Evaluation
	for _, junk := range []float32{0, 50} {
		arrays := map[string]*onnx.Array{
			"x": floatArray([]int{2, 3, 2}, []float32{1, 2, junk, -junk, 2, junk, 3, 1, 0, 1, 1, junk}), "label": intArray([]int{2, 3}, []int64{1, 0, 0, 0, 1, int64(junk) / 50}),
			"n": intArray([]int{2}, []int64{1, 2}), "t": floatArray([]int{2, 3, 2}, []float32{0, 0, 9, 9, 9, 9, 1, 1, 1, 1, 9, 9}),
		}
		for label, objective := range map[string]Objective{"label": CrossEntropy{Head: findHead(t, m, "y")}, "t": Squared{findHead(t, m, "y").Itself()}} {
			e, err := Evaluate(context.Background(), m, openArrays(t, m, arrays, dataset.Options{Labels: label, Lengths: "n"}), objective, EvaluateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e)
			want := (1.0+4.0)/2 + (4.0+0+1+0)/4 // the means of squares over one step of the first sample and two of the second
			if label == "t" && math.Abs(e.Loss-want/2) > 1e-12 {
				t.Errorf("squares are %v, want %v", e.Loss, want/2)
			}
			if want := (math.Log1p(math.Exp(-1)) + math.Log1p(math.Exp(-2)) + math.Log1p(math.Exp(-1))) / 3; label == "label" && math.Abs(e.Loss-want) > 1e-6 {
				t.Errorf("cross-entropy is %v, want %v", e.Loss, want)
			}
		}
	}
	if len(got) != 4 {
		t.Fatal(got)
	}
}

// A start that is exact cannot be bettered: without validation data, too, it is what comes back, to the bit.
func TestStartIsKeptWhereTrainingHarms(t *testing.T) {
	m := perceptron(t, 1, "N", 2, 8, 2)
	d := openArrays(t, m, quadrants(1, 60), dataset.Options{})
	head := findHead(t, m, "p")
	list := tensors(t, m, "A a C c")
	res, err := Train(context.Background(), m, d, nil, Mix{{Distill{Own: head, Of: head}, 1}}, Options{
		Groups: []Group{{Name: "all", Tensors: list, Decay: 1}}, Epochs: 2, Seed: 1, Teacher: m, Optimizer: Optimizer{Rate: 0.3, Decay: 0.5}, Schedule: Schedule{Shape: Constant},
	})
	if err != nil {
		t.Fatal(err)
	}
	if res.BestEpoch != 0 || res.After.Loss != res.Before.Loss || len(res.History) != 2 {
		t.Errorf("best epoch %d of %d, loss %v from %v", res.BestEpoch, len(res.History), res.After.Loss, res.Before.Loss)
	}
	for k, a := range arrays(t, list) {
		if !cmp.Equal(a.Data, res.Parameters[k].Value.Data) {
			t.Errorf("%s has changed", list[k].Name)
		}
	}
}
