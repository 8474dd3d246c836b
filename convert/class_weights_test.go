package convert

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// Oracle: the definition in PyTorch's CrossEntropyLoss, the weighted mean Σ w_y·l / Σ w_y of the labels' losses l = −log softmax(z)_y, here from the logits of the start, which the report
// calls before.
func TestClassWeights(t *testing.T) {
	arrays, err := dataset.ReadNPZFile(own("gestures_train.npz"), "frames", "label")
	if err != nil {
		t.Fatal(err)
	}
	p, err := runtime.Compile(t.Context(), open(t, own("gestures.onnx")), runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	z := logitsOf(t, p.Run, arrays)
	labels := arrays["label"].Data.([]int64)
	const classes = 8
	counts := make([]float64, classes)
	for _, y := range labels {
		counts[y]++
	}
	balanced := make([]float64, classes)
	for k, n := range counts {
		balanced[k] = float64(len(labels)) / (classes * n)
	}
	each := []float64{0.5, 1, 0, 2, 1, 1, 3, 0.25}
	for name, c := range map[string]struct {
		given ClassWeights
		want  []float64
	}{
		"none":     {ClassWeights{}, nil},
		"balanced": {ClassWeights{Balanced: true}, balanced},
		"each":     {ClassWeights{Each: each}, each},
	} {
		var sum, total float64
		for i, y := range labels {
			var e float64
			for _, v := range z[i*classes : (i+1)*classes] {
				e += math.Exp(float64(v))
			}
			w := 1.0
			if c.want != nil {
				w = c.want[y]
			}
			sum += w * (math.Log(e) - float64(z[i*classes+int(y)]))
			total += w
		}
		data := gestures("gestures_train.npz")
		data.ClassWeights = c.given
		r := tunes(t, FinetuneOptions{Model: own("gestures.onnx"), Data: data, Train: "head", Settings: TrainingSettings{Epochs: 1}})
		if got, want := float64(r.Before.Loss), sum/total; math.Abs(got-want) > 1e-5*want {
			t.Errorf("%s: the loss before is %v, the weighted mean %v", name, got, want)
		}
		if len(r.ClassWeights) != len(c.want) {
			t.Errorf("%s: the report has the weights %v, want %v", name, r.ClassWeights, c.want)
			continue
		}
		for k, v := range r.ClassWeights {
			if math.Abs(float64(v)-c.want[k]) > 1e-6 {
				t.Errorf("%s: the weight of class %d is %v, want %v", name, k, v, c.want[k])
			}
		}
	}
}

func TestClassWeightsThatCannotBeMeant(t *testing.T) {
	train := own("gestures_train.npz")
	targets := npzOf(t, map[string]*onnx.Array{
		"frames": {Type: onnx.Float, Dims: []int{9, 12, 1024}, Data: make([]float32, 9*12*1024)},
		"label":  {Type: onnx.Float, Dims: []int{9, 8}, Data: make([]float32, 9*8)},
	})
	for name, c := range map[string]struct {
		each []float64
		data string
		says []string
	}{
		"too few":   {[]float64{1, 2}, train, []string{"2 weights", "8 classes"}},
		"negative":  {[]float64{1, -2, 1, 1, 1, 1, 1, 1}, train, []string{`"-2"`, "class 1"}},
		"NaN":       {[]float64{1, 1, math.NaN(), 1, 1, 1, 1, 1}, train, []string{`"NaN"`, "class 2"}},
		"infinite":  {[]float64{math.Inf(1), 1, 1, 1, 1, 1, 1, 1}, train, []string{`"+Inf"`, "class 0"}},
		"all zero":  {make([]float64, 8), train, []string{"above 0"}},
		"of no use": {[]float64{1, 1, 1, 1, 1, 1, 1, 1}, targets, []string{"loss is mse", "cross-entropy"}},
	} {
		_, err := Finetune(t.Context(), FinetuneOptions{
			Model: own("gestures.onnx"), Output: t.TempDir() + "/out.onnx",
			Data: TrainingData{Path: c.data, Reading: DataOptions{Labels: "label"}, ClassWeights: ClassWeights{Each: c.each}},
		})
		var option *OptionError
		if !errors.As(err, &option) || option.Option != "--class-weights" {
			t.Errorf("%s: got %v, want an error of --class-weights", name, err)
			continue
		}
		for _, s := range c.says {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%s: the error does not say %s: %v", name, s, err)
			}
		}
	}
	_, err := Finetune(t.Context(), FinetuneOptions{
		Model: own("gestures.onnx"), Output: t.TempDir() + "/out.onnx", Teacher: own("gestures.onnx"),
		Data: TrainingData{Path: train, ClassWeights: ClassWeights{Balanced: true}},
	})
	if err == nil || !strings.Contains(err.Error(), "no --labels are given") {
		t.Errorf("without labels: %v", err)
	}
}
