package finetune

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
	"github.com/trconvert/trconvert/runtime/dataset"
)

func openModel(t testing.TB, path string) *onnx.Model {
	t.Helper()
	m, err := onnx.OpenFile(context.Background(), path, onnx.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func openData(t testing.TB, path string, m *onnx.Model) *dataset.Dataset {
	t.Helper()
	d, err := dataset.Open(context.Background(), path, m, dataset.Options{Labels: "label"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// Oracle: the accuracies that PyTorch measured, stored beside the data (data.md): 86 of 90, 294 of 300, 798 of 800.
func TestEvaluateSharedClassifiers(t *testing.T) {
	const shared = "../../../shared/data"
	if _, err := os.Stat(shared); err != nil {
		t.Skipf("%s is absent", shared)
	}
	for name, tt := range map[string]struct {
		model   string
		hits    float64
		samples int
	}{"holistic": {"dense_lstm64.onnx", 86, 90}, "fsdd": {"dense_lstm128.onnx", 294, 300}, "moving": {"dense_lstm64.onnx", 798, 800}} {
		m := openModel(t, filepath.Join(shared, name, tt.model))
		d := openData(t, filepath.Join(shared, name, "test.npz"), m)
		for _, batch := range []int{0, 7} {
			e, err := Evaluate(context.Background(), m, d, CrossEntropy{Head: findHead(t, m, "logits")}, EvaluateOptions{Batch: batch})
			if err != nil {
				t.Fatal(err)
			}
			if e.Samples != tt.samples || math.Abs(e.Metric*float64(tt.samples)-tt.hits) > 1e-9 {
				t.Errorf("%s: %v of %d are right, want %v of %d", name, e.Metric*float64(e.Samples), e.Samples, tt.hits, tt.samples)
			}
		}
	}
}

// A classifier whose readout was set to zero learns to read its LSTM again, and dropout is there, at random but the same every time.
func TestTrainClassifierAnew(t *testing.T) {
	const models = "../../testdata/models"
	m := openModel(t, filepath.Join(models, "gestures.onnx"))
	all := openData(t, filepath.Join(models, "gestures.npz"), m)
	train, val, err := all.Split(context.Background(), 0.25, 1)
	if err != nil {
		t.Fatal(err)
	}
	head := findHead(t, m, "logits")
	group := Group{Name: "floats"}
	zero := Start{Name: "zero readout", Values: map[*onnx.Tensor]*onnx.Array{}}
	for _, init := range m.Graph.Initializers {
		if init.Type != onnx.Float || init.Name == "scale" { // of the input
			continue
		}
		group.Tensors = append(group.Tensors, init)
		if strings.HasPrefix(init.Name, "readout.") {
			if zero.Values[init], err = onnx.ZeroArray(onnx.Float, ints(init.Dims)); err != nil {
				t.Fatal(err)
			}
		}
	}
	run := func(dropout runtime.Dropout) *Result {
		res, err := Train(context.Background(), m, train, val, CrossEntropy{Head: head}, Options{
			Groups: []Group{group}, Epochs: 12, Batch: 16, Seed: 1, Optimizer: Optimizer{Rate: 3e-3, Clip: 1}, Noise: Noise{Dropout: dropout}, Trial: Trial{Starts: []Start{zero}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	plain := run(runtime.Dropout{})
	if math.Abs(plain.Before.Loss-math.Log(8)) > 1e-6 || plain.After.Metric < 0.8 {
		t.Errorf("loss %v and accuracy %v at first, %v and %v in the end", plain.Before.Loss, plain.Before.Metric, plain.After.Loss, plain.After.Metric)
	}
	some := run(runtime.Dropout{Projection: 0.25, Hidden: 0.25})
	defer goruntime.GOMAXPROCS(goruntime.GOMAXPROCS(1))
	if !bytes.Equal(bytesOf(some), bytesOf(run(runtime.Dropout{Projection: 0.25, Hidden: 0.25, Seed: 5}))) {
		t.Error("on one thread the same seed of the options gives other bits")
	}
	if some.History[0].TrainLoss == plain.History[0].TrainLoss || some.After.Metric < 0.6 {
		t.Errorf("with dropout the first loss is %v, as without, or the accuracy %v", some.History[0].TrainLoss, some.After.Metric)
	}
}

func ints(dims []int64) []int {
	var out []int
	for _, d := range dims {
		out = append(out, int(d))
	}
	return out
}

// Hidden states of a teacher are one more term: with labels that say nothing (one in ten) they pull the student's states to the teacher's.
func TestHiddenStatesOfTeacher(t *testing.T) {
	student, teacher := perceptron(t, 1, "N", 2, 8, 2), perceptron(t, 2, "N", 2, 8, 2)
	d := openArrays(t, student, quadrants(1, 100), dataset.Options{Labels: "label"})
	hidden := Distill{Own: findHead(t, student, "h").Itself(), Of: findHead(t, teacher, "h").Itself()}
	objective := Mix{{CrossEntropy{Head: findHead(t, student, "p")}, 0.1}, {hidden, 0.9}}
	res, err := Train(context.Background(), student, d, nil, objective, Options{Groups: []Group{{Tensors: tensors(t, student, "A a C c")}}, Epochs: 40, Batch: 20, Optimizer: Optimizer{Rate: 0.03}, Teacher: teacher})
	if err != nil {
		t.Fatal(err)
	}
	before, err := Evaluate(context.Background(), student, d, hidden, EvaluateOptions{Teacher: teacher})
	if err != nil {
		t.Fatal(err)
	}
	start := Start{Values: map[*onnx.Tensor]*onnx.Array{}}
	for _, p := range res.Parameters {
		start.Values[p.Tensor] = p.Value
	}
	after, err := Train(context.Background(), student, d, nil, hidden, Options{Groups: []Group{{Tensors: tensors(t, student, "A a C c")}}, Epochs: 1, Optimizer: Optimizer{Method: SGD, Rate: 1e-30}, Teacher: teacher, Trial: Trial{Starts: []Start{start}}})
	if err != nil || after.Before.Metric > before.Metric/3 {
		t.Errorf("the states' error went from %v to %v (%v)", before.Metric, after.Before.Metric, err)
	}
}
