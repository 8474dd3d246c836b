package testmodels_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/trconvert/trconvert/convert"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
	"github.com/trconvert/trconvert/runtime/dataset"
)

const models = "../../testdata/models/"

// accuracy runs a classifier over the labelled clips it was not fitted to.
func accuracy(t *testing.T, path string) float64 {
	t.Helper()
	ctx := context.Background()
	m, err := onnx.OpenFile(ctx, path, onnx.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	p, err := runtime.Compile(ctx, m, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := dataset.Open(ctx, models+"gestures.npz", m, dataset.Options{Labels: "label"})
	if err != nil {
		t.Fatal(err)
	}
	right := 0
	for from := 0; from < d.Len(); from += 40 {
		to := min(from+40, d.Len())
		feeds, err := d.Feeds(from, to, 0)
		if err != nil {
			t.Fatal(err)
		}
		out, err := p.Run(ctx, feeds)
		if err != nil {
			t.Fatal(err)
		}
		logits, labels := out["logits"].Data.([]float32), d.Labels(from, to).Data.([]int64)
		for i, label := range labels {
			row := logits[i*8 : i*8+8]
			best := 0
			for c := range row {
				if row[c] > row[best] {
					best = c
				}
			}
			if int64(best) == label {
				right++
			}
		}
	}
	return float64(right) / float64(d.Len())
}

// What the README says of the classifier: the labels, which the generator drew, are the oracle.
func TestConvertedGesturesAreStillTold(t *testing.T) {
	dense := accuracy(t, models+"gestures.onnx")
	if dense < 0.95 {
		t.Fatalf("the dense classifier tells %.1f %% of the clips", 100*dense)
	}
	for _, tt := range []struct {
		budget convert.Budget
		fit    convert.FitOptions
		least  float64
		most   float64
	}{
		{convert.Budget{Ranks: []int{3, 22, 16}}, convert.FitOptions{Format: "tr", InModes: []int{32, 32}, OutModes: []int{256}}, dense - 0.02, 1},
		// A ring with a hundredth of the numbers, and a truncated SVD with as many, which does not keep enough.
		{convert.Budget{Ranks: []int{4, 5, 4, 2}}, convert.FitOptions{Format: "tr", InModes: []int{16, 8, 8}, OutModes: []int{256}}, dense - 0.06, 1},
		{convert.Budget{Rank: 2}, convert.FitOptions{Format: "svd"}, 0, 0.6},
	} {
		small := filepath.Join(t.TempDir(), "small.onnx")
		_, err := convert.Decompose(context.Background(), convert.Options{Model: models + "gestures.onnx", Output: small, Budget: tt.budget, Fit: tt.fit})
		if err != nil {
			t.Fatal(err)
		}
		a := accuracy(t, small)
		if a < tt.least || a > tt.most {
			t.Errorf("%s, budget %+v: tells %.1f %% of the clips, want %.1f to %.1f", tt.fit.Format, tt.budget, 100*a, 100*tt.least, 100*tt.most)
		}
	}
}
