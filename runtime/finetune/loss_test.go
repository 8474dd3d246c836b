package finetune

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// runOf is a run whose value "z" has the given elements, with labels and a teacher's value "t"; the batch is on axis 0.
func runOf(dims []int, z []float64, labels *onnx.Array, teacher []float64) *Run {
	r := &Run{
		Outputs: map[string]*runtime.Tensor{"z": {Type: onnx.Double, Dims: dims, Data: z}},
		batch:   &dataset.Batch{Labels: labels},
		axes:    map[string]int{"z": 0}, teacherAxes: map[string]int{"t": 0},
	}
	for i := range dims[0] {
		r.Weights = append(r.Weights, 1)
		r.batch.Index = append(r.batch.Index, i)
	}
	if teacher != nil {
		r.Teacher = map[string]*runtime.Tensor{"t": {Type: onnx.Double, Dims: dims, Data: teacher}}
	}
	return r
}

func doubles(dims []int, v ...float64) *onnx.Array {
	return &onnx.Array{Type: onnx.Double, Dims: dims, Data: v}
}

var (
	classes  = Head{Value: "z", axis: -1}
	elements = Head{Value: "z", elements: true}
	yes      = Head{Value: "z", Link: Sigmoid, elements: true}
)

func teacherOf(h Head) Head {
	h.Value = "t"
	return h
}

// Oracle: worked by hand from the definitions; ln is the natural logarithm.
func TestLossesByHand(t *testing.T) {
	ln := math.Log
	for name, tt := range map[string]struct {
		objective Objective
		run       *Run
		sum       float64
		weight    float64
		hits      float64
	}{
		"cross-entropy": {CrossEntropy{Head: classes}, runOf([]int{2, 2}, []float64{0, ln(3), ln(4), 0}, intArray([]int{2}, []int64{1, 1}), nil), -ln(0.75) - ln(0.2), 2, 1},
		"ignored":       {CrossEntropy{Head: classes}, runOf([]int{2, 2}, []float64{0, ln(3), ln(4), 0}, intArray([]int{2}, []int64{-1, 1}), nil), -ln(0.2), 1, 0},
		"smoothing":     {CrossEntropy{Head: classes, Smoothing: 0.2}, runOf([]int{1, 2}, []float64{0, ln(3)}, intArray([]int{1}, []int64{1}), nil), -0.9*ln(0.75) - 0.1*ln(0.25), 1, 1},
		"class weights": {CrossEntropy{Head: classes, ClassWeights: []float32{1, 3}}, runOf([]int{2, 2}, []float64{0, ln(3), 0, 0}, intArray([]int{2}, []int64{1, 0}), nil), -3*ln(0.75) + ln(2), 4, 2},
		"steps":         {CrossEntropy{Head: classes}, runOf([]int{1, 2, 2}, []float64{0, ln(3), 0, 0}, intArray([]int{1, 2}, []int64{0, 1}), nil), -ln(0.25) + ln(2), 2, 0},
		"large":         {CrossEntropy{Head: classes}, runOf([]int{1, 2}, []float64{1e4, -1e4}, intArray([]int{1}, []int64{1}), nil), 2e4, 1, 0},
		"squares":       {Squared{elements}, runOf([]int{1, 2}, []float64{1, 5}, doubles([]int{1, 2}, 3, 4), nil), 2.5, 1, 0},
		"yes or no":     {Binary{yes}, runOf([]int{1, 2}, []float64{0, ln(3)}, doubles([]int{1, 2}, 1, 0), nil), (ln(2) - ln(0.25)) / 2, 1, 0},
		"large no":      {Binary{yes}, runOf([]int{2, 1}, []float64{1e4, -1e4}, doubles([]int{2}, 0, 0), nil), 1e4, 2, 1},
		"teacher":       {Distill{classes, teacherOf(classes), 0}, runOf([]int{1, 2}, []float64{0, ln(3)}, nil, []float64{0, 0}), 0.5*ln(0.5/0.25) + 0.5*ln(0.5/0.75), 1, 0},
		"temperature":   {Distill{classes, teacherOf(classes), 2}, runOf([]int{1, 2}, []float64{0, 2 * ln(3)}, nil, []float64{0, 0}), 4 * (0.5*ln(0.5/0.25) + 0.5*ln(0.5/0.75)), 1, 0},
		"large teacher": {Distill{classes, teacherOf(classes), 1}, runOf([]int{1, 2}, []float64{-1e4, 1e4}, nil, []float64{1e4, -1e4}), 2e4, 1, 0},
		"yes teacher":   {Distill{yes, teacherOf(yes), 2}, runOf([]int{1, 1}, []float64{2 * ln(3)}, nil, []float64{0}), 4 * (0.5*ln(0.5/0.75) + 0.5*ln(0.5/0.25)), 1, 0},
		"large yes":     {Distill{yes, teacherOf(yes), 1}, runOf([]int{1, 1}, []float64{-1e4}, nil, []float64{1e4}), 1e4, 1, 0},
		"plain teacher": {Distill{elements, teacherOf(elements), 2}, runOf([]int{1, 2}, []float64{1, 5}, nil, []float64{3, 4}), 2.5, 1, 0},
		"mix": {Mix{{CrossEntropy{Head: classes}, 0.25}, {Distill{classes, teacherOf(classes), 1}, 0.75}},
			runOf([]int{2, 2}, []float64{0, ln(3), 0, 0}, intArray([]int{2}, []int64{1, -1}), []float64{0, ln(3), 0, 0}), -0.25 * ln(0.75), 0.25 + 2*0.75, 1},
	} {
		m, err := tt.objective.Loss(tt.run, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if math.Abs(m.Sum-tt.sum) > 1e-12*math.Max(1, math.Abs(tt.sum)) || math.Abs(m.Weight-tt.weight) > 1e-12 || m.Hits != tt.hits {
			t.Errorf("%s: sum %v of weight %v with %v hits, want %v of %v with %v", name, m.Sum, m.Weight, m.Hits, tt.sum, tt.weight, tt.hits)
		}
	}
}

// lossGradient compares the gradient of an objective with central differences.
func lossGradient(objective Objective, r *Run) error {
	grads := map[string]*runtime.Tensor{}
	if _, err := objective.Loss(r, grads); err != nil {
		return err
	}
	z := r.Outputs["z"].Data.([]float64)
	got := grads["z"].Data.([]float64)
	for i, v := range z {
		const h = 1e-5
		var side [2]float64
		for s, x := range []float64{v + h, v - h} {
			z[i] = x
			m, err := objective.Loss(r, nil)
			if err != nil {
				return err
			}
			side[s] = m.Sum
		}
		z[i] = v
		if want := (side[0] - side[1]) / (2 * h); !(math.Abs(got[i]-want) <= 1e-6*math.Max(1, math.Abs(want))) {
			return fmt.Errorf("gradient %d is %v, the central difference %v", i, got[i], want)
		}
	}
	return nil
}

// Oracle: central differences in float64.
func TestGradientsOfLosses(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	normal := func(n int) []float64 {
		v := make([]float64, n)
		for i := range v {
			v[i] = 2 * r.NormFloat64()
		}
		return v
	}
	dims := []int{3, 4, 5}
	perStep := intArray([]int{3, 4}, []int64{0, 1, 2, -1, 4, 3, 2, 1, -1, -1, 0, 0})
	targets := doubles(dims, normal(60)...)
	answers := make([]float64, 60)
	for i := range answers {
		answers[i] = r.Float64()
	}
	soft := CrossEntropy{Head: classes, Smoothing: 0.1, ClassWeights: []float32{1, 2, 0.5, 1, 3}}
	middle := Head{Value: "z", axis: 1}
	for name, tt := range map[string]struct {
		objective Objective
		labels    *onnx.Array
	}{
		"cross-entropy":    {CrossEntropy{Head: classes}, perStep},
		"smoothed":         {soft, perStep},
		"class axis 1":     {CrossEntropy{Head: middle}, intArray([]int{3, 5}, []int64{0, 1, 2, 3, 0, 1, -1, 3, 0, 1, 2, 3, 0, 1, 2})},
		"flat":             {CrossEntropy{Head: Head{Value: "z", axis: 1, flat: true}}, intArray([]int{3}, []int64{0, 19, 7})},
		"squares":          {Squared{elements}, targets},
		"yes or no":        {Binary{yes}, doubles(dims, answers...)},
		"teacher":          {Distill{classes, teacherOf(classes), 3}, nil},
		"teacher, axis 1":  {Distill{middle, teacherOf(middle), 1}, nil},
		"teacher's yes":    {Distill{yes, teacherOf(yes), 2}, nil},
		"teacher's plain":  {Distill{elements, teacherOf(elements), 0}, nil},
		"mix":              {Mix{{soft, 0.3}, {Distill{classes, teacherOf(classes), 2}, 0.7}, {Distill{elements, teacherOf(elements), 0}, 0.1}}, perStep},
		"label sequences":  {CTC{Head: classes, Blank: 2}, intArray([]int{3, 3}, []int64{0, 1, -1, 3, 3, -1, 4, -1, -1})},
		"no label at all":  {CTC{Head: classes}, intArray([]int{3, 1}, []int64{1, -1, 2})},
		"all of the steps": {CTC{Head: classes}, intArray([]int{3, 4}, []int64{1, 2, 3, 4, 4, 3, 2, 1, 1, 2, 1, 2})},
	} {
		run := runOf(dims, normal(60), tt.labels, normal(60))
		run.Weights = []float64{1, 0.5, 2}
		if err := lossGradient(tt.objective, run); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		run.Weights = []float64{0, 1, 0}
		run.Lengths = []int{4, 3, 1}
		if _, ctc := tt.objective.(CTC); ctc {
			run.Lengths = nil
		}
		if err := lossGradient(tt.objective, run); err != nil {
			t.Errorf("%s with lengths: %v", name, err)
		}
	}
}

// Gradients of logits of ±1e4 are those of the limits: by hand softmax minus one, and the like.
func TestGradientsOfLargeLogits(t *testing.T) {
	for name, tt := range map[string]struct {
		objective Objective
		run       *Run
		want      []float64
	}{
		"cross-entropy": {CrossEntropy{Head: classes}, runOf([]int{1, 2}, []float64{1e4, -1e4}, intArray([]int{1}, []int64{1}), nil), []float64{1, -1}},
		"yes or no":     {Binary{yes}, runOf([]int{2, 1}, []float64{1e4, -1e4}, doubles([]int{2}, 0, 0), nil), []float64{1, 0}},
		"teacher":       {Distill{classes, teacherOf(classes), 2}, runOf([]int{1, 2}, []float64{-1e4, 1e4}, nil, []float64{1e4, -1e4}), []float64{-2, 2}},
		"teacher's yes": {Distill{yes, teacherOf(yes), 2}, runOf([]int{1, 1}, []float64{-1e4}, nil, []float64{1e4}), []float64{-2}},
		"sequences":     {CTC{Head: classes}, runOf([]int{1, 1, 2}, []float64{1e4, -1e4}, intArray([]int{1, 1}, []int64{1}), nil), []float64{1, -1}},
	} {
		grads := map[string]*runtime.Tensor{}
		if _, err := tt.objective.Loss(tt.run, grads); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for i, g := range grads["z"].Data.([]float64) {
			if math.Abs(g-tt.want[i]) > 1e-12 {
				t.Errorf("%s: gradient %d is %v, want %v", name, i, g, tt.want[i])
			}
		}
	}
}

// Oracle: the definition. All paths are enumerated, merged, and the probabilities of those that give the labels summed.
func TestCTCAgainstAllPaths(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for _, tt := range []struct {
		steps, classes, blank int
		labels                []int64
	}{
		{1, 2, 0, []int64{1}}, {4, 3, 0, []int64{1, 2}}, {5, 3, 0, []int64{1, 1}}, {5, 3, 1, []int64{0, 2, 0}}, {6, 3, 2, []int64{0, 0, 1}}, {4, 4, 3, []int64{2}},
	} {
		z := make([]float64, tt.steps*tt.classes)
		for i := range z {
			z[i] = r.NormFloat64()
		}
		logp := make([]float64, len(z))
		for s := range tt.steps {
			logSoftmax(z[s*tt.classes:(s+1)*tt.classes], logp[s*tt.classes:(s+1)*tt.classes])
		}
		var want float64
		path := make([]int, tt.steps)
		for {
			var merged []int64
			p := 0.0
			for s, k := range path {
				p += logp[s*tt.classes+k]
				if k != tt.blank && (s == 0 || path[s-1] != k) {
					merged = append(merged, int64(k))
				}
			}
			if fmt.Sprint(merged) == fmt.Sprint(tt.labels) {
				want += math.Exp(p)
			}
			at := 0
			for at < tt.steps && path[at] == tt.classes-1 {
				path[at] = 0
				at++
			}
			if at == tt.steps {
				break
			}
			path[at]++
		}
		m, err := CTC{Head: classes, Blank: tt.blank}.Loss(runOf([]int{1, tt.steps, tt.classes}, z, intArray([]int{1, len(tt.labels)}, tt.labels), nil), nil)
		if err != nil || math.Abs(m.Sum+math.Log(want)) > 1e-12 {
			t.Errorf("%+v: loss %v, want %v (%v)", tt, m.Sum, -math.Log(want), err)
		}
	}
}

// The best path by hand: 0 is the blank.
func TestCTCHits(t *testing.T) {
	for _, tt := range []struct {
		path []int
		hits float64
	}{{[]int{1, 1, 0, 2}, 1}, {[]int{0, 1, 2, 2}, 1}, {[]int{1, 0, 1, 2}, 0}, {[]int{1, 1, 0, 0}, 0}, {[]int{2, 1, 1, 0}, 0}} {
		z := make([]float64, 12)
		for s, k := range tt.path {
			z[s*3+k] = 5
		}
		m, err := CTC{Head: classes}.Loss(runOf([]int{1, 4, 3}, z, intArray([]int{1, 2}, []int64{1, 2}), nil), nil)
		if err != nil || m.Hits != tt.hits || m.Seen != 1 {
			t.Errorf("path %v: %v hits of %v, want %v (%v)", tt.path, m.Hits, m.Seen, tt.hits, err)
		}
	}
}
