package convert

import (
	"math/rand/v2"
	"testing"

	"github.com/trconvert/trconvert/onnx"
)

// TestTrainHalf trains a model whose input, weights and outputs are float16 towards targets, which it meets better afterwards.
func TestTrainHalf(t *testing.T) {
	const clips, steps, in, units = 24, 5, 96, 24
	r := rand.New(rand.NewPCG(1, 2))
	draw := func(n int, scale float64) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(scale * r.NormFloat64())
		}
		return v
	}
	m := open(t, own("lstm_float16.onnx"))
	input, output := m.Graph.Inputs[0].Name, m.Graph.Outputs[0].Name
	data := npzOf(t, map[string]*onnx.Array{
		input:    {Type: onnx.Float, Dims: []int{clips, steps, 1, in}, Data: draw(clips*steps*in, 1)},
		"target": {Type: onnx.Float, Dims: []int{clips, steps, units}, Data: draw(clips*steps*units, 0.3)},
	})
	report := tunes(t, FinetuneOptions{
		Model: own("lstm_float16.onnx"), Data: TrainingData{Path: data, Reading: DataOptions{Labels: "target"}, Output: output}, Settings: TrainingSettings{Epochs: 20, Rate: 3e-3},
	})
	if report.LossName != lossSquared || !(report.After.Loss < 0.9*report.Before.Loss) {
		t.Errorf("%s went from %v to %v", report.LossName, report.Before.Loss, report.After.Loss)
	}
}
