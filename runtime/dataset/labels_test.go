package dataset

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trconvert/trconvert/onnx"
)

func TestClassesAreCounted(t *testing.T) {
	x := model(value("x", onnx.Float, -1))
	tests := map[string]struct {
		labels  *onnx.Array
		lengths []int64
		classes int
		want    Classes
		only    int // -1: several
	}{
		"all present":         {ints([]int{4}, 0, 2, 1, 2), nil, 3, Classes{[]int{1, 1, 2}, 0}, -1},
		"number not known":    {ints([]int{4}, 0, 2, 0, 2), nil, 0, Classes{[]int{2, 0, 2}, 0}, -1},
		"one missing":         {ints([]int{4}, 0, 2, 0, 2), nil, 4, Classes{[]int{2, 0, 2, 0}, 0}, -1},
		"one only":            {ints([]int{4}, 1, 1, 1, 1), nil, 3, Classes{[]int{0, 4, 0}, 0}, 1},
		"one and none":        {ints([]int{4}, 1, -1, -1, 1), nil, 2, Classes{[]int{0, 2}, 2}, 1},
		"none":                {ints([]int{4}, -1, -1, -1, -1), nil, 2, Classes{[]int{0, 0}, 4}, -1},
		"whole floats":        {ramp(4), nil, 4, Classes{[]int{1, 1, 1, 1}, 0}, -1},
		"per step":            {ints([]int{4, 2}, 0, 1, 0, -1, 1, 1, 0, 0), nil, 2, Classes{[]int{4, 3}, 1}, -1},
		"per step, lengths":   {ints([]int{4, 2}, 0, 1, 0, 1, 1, 1, 0, 0), []int64{1, 2, 1, 2}, 2, Classes{[]int{4, 2}, 2}, -1},
		"per sample, lengths": {ints([]int{4, 1}, 0, 1, 0, 1), []int64{9, 2, 1, 2}, 2, Classes{[]int{2, 2}, 0}, -1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			arrays := map[string]*onnx.Array{"x": ramp(4), "label": tt.labels}
			o := Options{Labels: "label"}
			if tt.lengths != nil {
				arrays["len"], o.Lengths = ints([]int{4}, tt.lengths...), "len"
			}
			for from, d := range open(t, x, writeNPZ(t, arrays), o) {
				got, err := d.Classes(context.Background(), tt.classes)
				if err != nil {
					t.Fatalf("%s: %v", from, err)
				}
				if diff := cmp.Diff(tt.want, *got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", from, diff)
				}
				if class, only := got.Only(); only != (tt.only >= 0) || only && class != tt.only {
					t.Errorf("%s: only class %d %v, want %d", from, class, only, tt.only)
				}
			}
		})
	}
}

func TestLabelsRefuse(t *testing.T) {
	x := model(value("x", onnx.Float, -1))
	one := func(v float32) *onnx.Array {
		return &onnx.Array{Type: onnx.Float, Dims: []int{3}, Data: []float32{0, 1, v}}
	}
	tests := map[string]struct {
		labels  *onnx.Array
		lengths *onnx.Array
		targets []int // check as targets of these dims, nil: as 3 classes
		want    []string
	}{
		"out of range":           {ints([]int{3}, 0, 3, 1), nil, nil, []string{"data.npz: label", "sample 1", "class 3", "3 classes"}},
		"out of range in a step": {ints([]int{3, 2}, 0, 1, 1, 2, 7, 1), nil, nil, []string{"sample 2 at [0]", "class 7"}},
		"negative":               {ints([]int{3}, 0, 1, -2), nil, nil, []string{"sample 2", "class -2", "-1 means none"}},
		"PyTorch's ignore_index": {ints([]int{3}, -100, 1, 0), nil, nil, []string{"sample 0", "class -100", "-1 means none"}},
		"fraction":               {one(1.5), nil, nil, []string{"sample 2", "1.5", "integer"}},
		"NaN":                    {one(float32(math.NaN())), nil, nil, []string{"sample 2", "NaN"}},
		"complex":                {&onnx.Array{Type: onnx.Complex64, Dims: []int{3}, Data: make([]complex64, 3)}, nil, nil, []string{"not converted"}},
		"length zero":            {one(0), ints([]int{3}, 1, 1, 0), nil, []string{"data.npz: len", "sample 2 has the length 0"}},
		"length too large":       {ints([]int{3, 2}, 0, 0, 0, 0, 0, 0), ints([]int{3}, 1, 3, 2), nil, []string{"sample 1 has the length 3", "2 steps"}},
		"lengths, count":         {one(0), ints([]int{2}, 1, 1), nil, []string{"shape [2]", "3 samples"}},
		"lengths, fraction":      {one(0), &onnx.Array{Type: onnx.Float, Dims: []int{3}, Data: []float32{1, 1, 0.5}}, nil, []string{"lengths must be integers", "0.5"}},
		"target, shape":          {ramp(3, 4), nil, []int{5}, []string{"[4]", "[5]"}},
		"target, NaN":            {one(float32(math.NaN())), nil, []int{}, []string{"sample 2", "NaN", "finite"}},
		"target, too large":      {&onnx.Array{Type: onnx.Double, Dims: []int{3}, Data: []float64{0, 1, 1e300}}, nil, []int{}, []string{"1e+300"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			arrays := map[string]*onnx.Array{"x": ramp(3), "label": tt.labels}
			o := Options{Labels: "label"}
			if tt.lengths != nil {
				arrays["len"], o.Lengths = tt.lengths, "len"
			}
			d, err := Open(context.Background(), writeNPZ(t, arrays), x, o)
			switch {
			case err != nil:
			case tt.targets != nil:
				err = d.CheckTargets(context.Background(), tt.targets)
			default:
				_, err = d.Classes(context.Background(), 3)
			}
			if err == nil {
				t.Fatal("accepted")
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not say %q", err, w)
				}
			}
		})
	}
	streams := map[string]*onnx.Array{"x": ramp(2, 3), "len": ints([]int{2}, 3, 4)}
	o := Options{States: map[string]string{"hN": "h"}, Lengths: "len"}
	if _, err := Open(context.Background(), writeNPZ(t, streams), model(value("x", onnx.Float), value("h", onnx.Float)), o); err == nil || !strings.Contains(err.Error(), "sample 1 has the length 4, the streams have 3 steps") {
		t.Errorf("a stream that is longer than its steps: %v", err)
	}
	d := open(t, x, writeNPZ(t, map[string]*onnx.Array{"x": ramp(3)}), Options{})["memory"]
	if _, err := d.Classes(context.Background(), 2); err == nil || d.HasLabels() {
		t.Errorf("classes without labels: %v", err)
	}
	if err := d.CheckTargets(context.Background(), nil); err == nil {
		t.Error("targets without labels")
	}
}

// Lengths mask labels of steps; classes per stream with several of them each are not steps.
func TestLengthsOfStreamsWithoutStepLabels(t *testing.T) {
	arrays := map[string]*onnx.Array{"x": ramp(2, 3), "len": ints([]int{2}, 1, 3), "label": ints([]int{2, 2}, 0, 1, 1, 0)}
	m := model(value("x", onnx.Float), value("h", onnx.Float))
	for from, d := range open(t, m, writeNPZ(t, arrays), Options{States: map[string]string{"hN": "h"}, Lengths: "len", Labels: "label"}) {
		c, err := d.Classes(context.Background(), 2)
		if err != nil || !slices.Equal(c.Counts, []int{2, 2}) {
			t.Errorf("%s: %v, %v", from, c, err)
		}
	}
}

func TestTargets(t *testing.T) {
	arrays := map[string]*onnx.Array{"x": ramp(3), "y": {Type: onnx.Float16, Dims: []int{3, 2, 1}, Data: []uint16{0, 0x3800, 0x3c00, 0, 0xc000, 0x7bff}}}
	for from, d := range open(t, model(value("x", onnx.Float, -1)), writeNPZ(t, arrays), Options{Labels: "y"}) {
		for _, dims := range [][]int{{2, 1}, {2}, {-1}, {1, 2}} {
			if err := d.CheckTargets(context.Background(), dims); err != nil {
				t.Errorf("%s: %v: %v", from, dims, err)
			}
		}
		got, err := epoch(t, d, BatchOptions{})[0].Targets()
		if want := []float32{0, 0.5, 1, 0, -2, 65504}; err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v, want %v", from, got, err, want)
		}
	}
}

// The sum of all labels' weights is their number, and each class has the same share of it: n_k·w_k = N/K.
func TestBalancedWeights(t *testing.T) {
	for _, counts := range [][]int{{1, 3}, {5, 5, 5}, {7, 0, 2}, {0, 4}} {
		total, present := 0, 0
		for _, n := range counts {
			total += n
			present += min(n, 1)
		}
		for k, w := range (&Classes{Counts: counts}).Weights() {
			share := float64(counts[k]) * float64(w)
			if want := float64(total*min(counts[k], 1)) / float64(present); math.Abs(share-want) > 1e-6*want {
				t.Errorf("counts %v: class %d has the weight %v, in all %v, want %v", counts, k, w, share, want)
			}
		}
	}
	// scikit-learn's compute_class_weight("balanced", classes=[0, 1], y=[0, 0, 1, 1, 1, 1]) is documented as n_samples/(n_classes·count): 6/(2·2) and 6/(2·4).
	if w := (&Classes{Counts: []int{2, 4}}).Weights(); !slices.Equal(w, []float32{1.5, 0.75}) {
		t.Errorf("weights %v", w)
	}
}

func TestSplit(t *testing.T) {
	ctx := context.Background()
	labels := func(counts ...int) *onnx.Array { // interleaved as far as possible
		var v []int64
		for left := true; left; {
			left = false
			for k := range counts {
				if counts[k] > 0 {
					counts[k]--
					v, left = append(v, int64(k)), true
				}
			}
		}
		return ints([]int{len(v)}, v...)
	}
	tests := map[string]struct {
		labels   *onnx.Array
		fraction float64
		want     []int // of each class, held back
	}{
		"even":              {labels(10, 20, 30), 0.2, []int{2, 4, 6}},
		"remainders":        {labels(9, 9, 12), 0.25, []int{3, 2, 3}}, // 8 of 30: shares 2.4, 2.4 and 3.2, the first of the equal remainders gets the eighth
		"a single one":      {labels(1, 9), 0.5, []int{0, 5}},
		"pairs":             {labels(2, 2), 0.9, []int{1, 1}},
		"at least one":      {labels(3, 3), 0.01, []int{1, 0}},
		"one class":         {labels(0, 8), 0.25, []int{0, 2}},
		"ids, not classes":  {ramp(8), 0.25, nil},
		"targets":           {&onnx.Array{Type: onnx.Float, Dims: []int{4}, Data: []float32{.5, .5, 1, 1}}, 0.5, nil},
		"labels of steps":   {ints([]int{4, 2}, 0, 1, 0, 1, 1, 1, 0, 0), 0.5, nil},
		"without a label":   {ints([]int{4}, -1, -1, 0, 0), 0.5, []int{1}},
		"all classes alone": {ints([]int{2}, 0, 1), 0.5, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			n := tt.labels.Dims[0]
			arrays := map[string]*onnx.Array{"x": ramp(n), "label": tt.labels}
			for from, d := range open(t, model(value("x", onnx.Float, -1)), writeNPZ(t, arrays), Options{Labels: "label"}) {
				train, held, err := d.Split(ctx, tt.fraction, 7)
				if err != nil {
					t.Fatal(err)
				}
				if want := min(max(int(math.Round(tt.fraction*float64(n))), 1), n-1); name != "pairs" && held.Len() != want {
					t.Errorf("%s: %d samples are held back, want %d", from, held.Len(), want)
				}
				all := slices.Concat(train.index, held.index)
				if !slices.IsSorted(train.index) || !slices.IsSorted(held.index) {
					t.Errorf("%s: parts %v and %v", from, train.index, held.index)
				}
				slices.Sort(all)
				for k, v := range all {
					if k != v || len(all) != n {
						t.Fatalf("%s: the parts hold %v", from, all)
					}
				}
				if tt.want != nil {
					c, err := held.Classes(ctx, len(tt.want))
					if err != nil || !slices.Equal(c.Counts, tt.want) {
						t.Errorf("%s: held back %v, %v, want %v", from, c, err, tt.want)
					}
				}
				_, again, err := d.Split(ctx, tt.fraction, 7)
				if err != nil || !slices.Equal(again.index, held.index) {
					t.Errorf("%s: the same split again holds back %v, before %v", from, again.index, held.index)
				}
				for _, b := range epoch(t, held, BatchOptions{}) {
					for i, k := range b.Index {
						if got := element(b.Feeds["x"], i); got != float64(k) {
							t.Errorf("%s: sample %d is %v", from, k, got)
						}
					}
				}
				if f, err := held.Feeds(0, 1, 0); err != nil || element(f["x"], 0) != float64(held.index[0]) || held.MaxBatch() != held.Len() {
					t.Errorf("%s: the first sample held back is %v, want %d", from, f, held.index[0])
				}
			}
		})
	}
	d := open(t, model(value("x", onnx.Float, -1)), writeNPZ(t, map[string]*onnx.Array{"x": ramp(40)}), Options{})["memory"]
	_, a, _ := d.Split(ctx, 0.5, 1)
	_, b, _ := d.Split(ctx, 0.5, 2)
	if slices.Equal(a.index, b.index) {
		t.Errorf("two seeds hold back the same %v", a.index)
	}
	for _, f := range []float64{0, 1, -0.5, math.NaN(), math.Inf(1)} {
		if _, _, err := d.Split(ctx, f, 1); err == nil || !strings.Contains(err.Error(), fmt.Sprint(f)) {
			t.Errorf("fraction %v: %v", f, err)
		}
	}
	one := open(t, model(value("x", onnx.Float, -1)), writeNPZ(t, map[string]*onnx.Array{"x": ramp(1)}), Options{})["memory"]
	if _, _, err := one.Split(ctx, 0.5, 1); err == nil || !strings.Contains(err.Error(), "1 samples") {
		t.Errorf("one sample: %v", err)
	}
}
