package finetune

import (
	"context"
	"testing"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// xor is a training that XOR needs: data, and options that reach it.
func xor(t testing.TB) (m *onnx.Model, train, val *dataset.Dataset, objective Objective, o Options) {
	m = perceptron(t, 3, "N", 2, 8, 2)
	open := func(seed uint64, n int) *dataset.Dataset {
		return openArrays(t, m, quadrants(seed, n), dataset.Options{Labels: "label"})
	}
	o = Options{
		Groups: []Group{{Name: "matrices", Tensors: tensors(t, m, "A C"), Decay: 1}, {Name: "biases", Tensors: tensors(t, m, "a c")}},
		Epochs: 20, Batch: 16, Seed: 1,
		Optimizer: Optimizer{Rate: 0.03, Decay: 1e-3, Clip: 1},
	}
	return m, open(1, 200), open(2, 100), CrossEntropy{Head: findHead(t, m, "p")}, o
}

// Oracle: the task. A perceptron with one hidden layer can tell the quadrants, a line cannot do better than chance.
func TestTrainLearnsXOR(t *testing.T) {
	m, train, val, objective, o := xor(t)
	res, err := Train(context.Background(), m, train, val, objective, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(res.History) != o.Epochs || res.After.Kind != Accuracy || res.After.Metric < 0.93 || res.Before.Metric > 0.8 {
		t.Errorf("after %d epochs the accuracy is %v of %v, it was %v", len(res.History), res.After.Metric, res.After.Kind, res.Before.Metric)
	}
	if res.Trained != 2*8+8+8*2+2 || len(res.Parameters) != 4 || res.PeakKept <= 0 || res.BestEpoch == 0 {
		t.Errorf("%d elements of %d parameters, %d bytes kept, best epoch %d", res.Trained, len(res.Parameters), res.PeakKept, res.BestEpoch)
	}
	if last := res.History[len(res.History)-1]; last.TrainLoss > 0.3 {
		t.Errorf("the loss of training is %v at the end", last.TrainLoss)
	}
}
