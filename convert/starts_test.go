package convert

import (
	"path/filepath"
	"testing"
)

// TestStartAuto wants fresh cores, at twice the rate, where a fit means nothing, and the stored ones where they do something, be it by their size or by training.
func TestStartAuto(t *testing.T) {
	gesture := own("gestures.onnx")
	compact := func(ratio float64) string {
		out := filepath.Join(t.TempDir(), "small.onnx")
		decomposes(t, Options{Model: gesture, Output: out, Budget: Budget{Ratio: ratio}, Fit: FitOptions{Format: "tr", Sweeps: 3}})
		return out
	}
	tuned := func(model, start string, rate float64, epochs int) (string, *Training) {
		out := filepath.Join(t.TempDir(), "tuned.onnx")
		return out, tunes(t, FinetuneOptions{Model: model, Output: out, Data: gestures("gestures_train.npz"), Teacher: gesture, Start: start, Settings: TrainingSettings{Epochs: epochs, Rate: rate}})
	}
	tiny := compact(400)
	trained, r := tuned(tiny, "", 0, 40)
	if r.Start != "fresh" || r.Settings.Rate != 0.02 || !(r.Before.Metric < freshCorrect) {
		t.Errorf("400 times smaller: start %s at rate %v with %v right, want fresh at 0.02", r.Start, r.Settings.Rate, r.Before.Metric)
	}
	if !(r.After.Metric > 0.9) {
		t.Fatalf("it is right in %v after training", r.After.Metric)
	}
	for name, c := range map[string]struct {
		model, start string
		rate         float64
		want         string
	}{
		"trained already":   {trained, "", 0, "stored"},
		"100 times smaller": {compact(100), "", 0, "stored"},
		"stored on request": {tiny, "stored", 0, "stored"},
	} {
		_, r := tuned(c.model, c.start, c.rate, 1)
		if r.Start != c.want || r.Settings.Rate != 0.01 {
			t.Errorf("%s: start %s at rate %v, want %s at 0.01", name, r.Start, r.Settings.Rate, c.want)
		}
	}
	alone := tunes(t, FinetuneOptions{Model: tiny, Data: gestures("gestures_train.npz"), Settings: TrainingSettings{Epochs: 1}})
	if alone.Start != "stored" || alone.Settings.Rate != 0.01 {
		t.Errorf("without a teacher: start %s at rate %v, want stored at 0.01", alone.Start, alone.Settings.Rate)
	}
	if _, r := tuned(tiny, "", 0.003, 1); r.Start != "fresh" || r.Settings.Rate != 0.003 {
		t.Errorf("a rate on request: start %s at rate %v, want fresh at 0.003", r.Start, r.Settings.Rate)
	}
}
