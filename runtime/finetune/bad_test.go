package finetune

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime/dataset"
)

func TestBadTrainings(t *testing.T) {
	relabelled := func(m *onnx.Model, label func(i int) int64) *dataset.Dataset {
		arrays := quadrants(1, 40)
		y := arrays["label"].Data.([]int64)
		for i := range y {
			y[i] = label(i)
		}
		return openArrays(t, m, arrays, dataset.Options{Labels: "label"})
	}
	for name, tt := range map[string]struct {
		change func(m *onnx.Model, train **dataset.Dataset, objective *Objective, o *Options)
		want   []string
	}{
		"out of range": {func(m *onnx.Model, d **dataset.Dataset, _ *Objective, _ *Options) {
			*d = relabelled(m, func(i int) int64 { return int64(i) % 3 })
		}, []string{"sample 2", "class 2", "2 classes"}},
		"one class": {func(m *onnx.Model, d **dataset.Dataset, _ *Objective, _ *Options) {
			*d = relabelled(m, func(int) int64 { return 1 })
		}, []string{"all 40 labels are class 1"}},
		"no label": {func(m *onnx.Model, d **dataset.Dataset, _ *Objective, _ *Options) {
			*d = relabelled(m, func(int) int64 { return -1 })
		}, []string{"none of the 40 labels"}},
		"large batch": {func(_ *onnx.Model, _ **dataset.Dataset, _ *Objective, o *Options) { o.Batch = 500 }, []string{"500", "200"}},
		"no tensors":  {func(_ *onnx.Model, _ **dataset.Dataset, _ *Objective, o *Options) { o.Groups = []Group{{Name: "none"}} }, []string{"no tensors"}},
		"a tensor twice": {func(_ *onnx.Model, _ **dataset.Dataset, _ *Objective, o *Options) {
			o.Groups = append(o.Groups, o.Groups[0])
		}, []string{`"A"`, "matrices"}},
		"epochs":    {func(_ *onnx.Model, _ **dataset.Dataset, _ *Objective, o *Options) { o.Epochs = 0 }, []string{"0 epochs"}},
		"rate":      {func(_ *onnx.Model, _ **dataset.Dataset, _ *Objective, o *Options) { o.Optimizer.Rate = math.NaN() }, []string{"learning rate", "NaN"}},
		"dropout":   {func(_ *onnx.Model, _ **dataset.Dataset, _ *Objective, o *Options) { o.Noise.Dropout.Hidden = 1 }, []string{"dropout of 1"}},
		"optimizer": {func(_ *onnx.Model, _ **dataset.Dataset, _ *Objective, o *Options) { o.Optimizer.Method = "lion" }, []string{`"lion"`, "adamw"}},
		"schedule":  {func(_ *onnx.Model, _ **dataset.Dataset, _ *Objective, o *Options) { o.Schedule.Shape = "steps" }, []string{`"steps"`, "cosine"}},
		"no teacher": {func(m *onnx.Model, _ **dataset.Dataset, c *Objective, _ *Options) {
			*c = Distill{Own: findHead(t, m, "p"), Of: findHead(t, m, "p")}
		}, []string{"teacher"}},
		"class weights": {func(m *onnx.Model, _ **dataset.Dataset, c *Objective, _ *Options) {
			*c = CrossEntropy{Head: findHead(t, m, "p"), ClassWeights: []float32{1}}
		}, []string{"2 classes", "1 class weights"}},
		"targets of classes": {func(m *onnx.Model, _ **dataset.Dataset, c *Objective, _ *Options) {
			*c = Squared{findHead(t, m, "p").Itself()}
		}, []string{`"p"`, "1 targets", "2 places"}},
		"start": {func(m *onnx.Model, _ **dataset.Dataset, _ *Objective, o *Options) {
			o.Trial.Starts = []Start{{Name: "s", Values: map[*onnx.Tensor]*onnx.Array{o.Groups[0].Tensors[0]: floatArray([]int{1}, []float32{1})}}}
		}, []string{`"s"`, `"A"`, "[1]", "[2 8]"}},
	} {
		m, train, val, objective, o := xor(t)
		tt.change(m, &train, &objective, &o)
		_, err := Train(context.Background(), m, train, val, objective, o)
		for _, want := range tt.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v, want one with %q", name, err, want)
			}
		}
	}
}
