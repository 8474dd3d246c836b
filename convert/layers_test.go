package convert

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/internal/testmodels"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// preActivationError is ‖(W−Ŵ)·X‖_F/‖W·X‖_F frame by frame over the clips of the gestures, whose frames reach the layer as they are.
func preActivationError(t *testing.T, dense, compact string) float64 {
	t.Helper()
	weight := func(path string) []float32 {
		m, err := export.Expand(t.Context(), open(t, path))
		if err != nil {
			t.Fatal(err)
		}
		sites, err := recurrent.Find(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		w, err := sites[0].Weight(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return w.Data
	}
	w, hat := weight(dense), weight(compact)
	clips := testmodels.Clips("train", 64)["frames"]
	x, in := wide(t, clips), clips.Dims[len(clips.Dims)-1]
	var square, all float64
	for at := 0; at < len(x); at += in {
		for row := 0; row < len(w); row += in {
			var d, y float64
			for i := range in {
				v := x[at+i]
				y += float64(w[row+i]) * v
				d += (float64(w[row+i]) - float64(hat[row+i])) * v
			}
			square, all = square+d*d, all+y*y
		}
	}
	return math.Sqrt(square / all)
}

// TestLayersMeetTheTeacher moves models that were decomposed without data, and one with, towards the teacher's pre-activations. With no rate to speak of the written cores are those
// that training began with; the oracle is the error frame by frame.
func TestLayersMeetTheTeacher(t *testing.T) {
	dense := own("gestures.onnx")
	for _, c := range []struct {
		name   string
		o      Options
		falls  float64 // the error to this part of it, at most
		sweeps bool
	}{
		{"ring", Options{Fit: FitOptions{Format: "tr", Sweeps: 3}}, 0.9, true},
		{"train", Options{Fit: FitOptions{Format: "tt", Sweeps: 3}}, 0.9, true},
		{"svd", Options{Fit: FitOptions{Format: "svd", Sweeps: 3}}, 0.9, true},
		{"ttm", Options{Fit: FitOptions{Format: "ttm", Sweeps: 3}}, 0.9, true},
		{"ring, calibrated", Options{Fit: FitOptions{Format: "tr"}, Calibration: Calibration{Data: own("gestures_train.npz")}}, 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Model, c.o.Output, c.o.Budget = dense, filepath.Join(t.TempDir(), "small.onnx"), Budget{Ratio: 100}
			decomposes(t, c.o)
			out := filepath.Join(t.TempDir(), "out.onnx")
			r := tunes(t, FinetuneOptions{
				Model: c.o.Output, Output: out, Teacher: dense, Data: TrainingData{Path: own("gestures_train.npz"), HeldPart: -1}, Start: "layers", Train: "cores",
				Settings: TrainingSettings{Epochs: 1, Rate: 1e-12},
			})
			if len(r.Layers) != 1 || r.Start != "layers" {
				t.Fatalf("start %q, layers %+v", r.Start, r.Layers)
			}
			l := r.Layers[0]
			before, after := preActivationError(t, dense, c.o.Output), preActivationError(t, dense, out)
			if math.Abs(float64(l.Before)-before) > 0.05*before || math.Abs(float64(l.After)-after) > 0.05*after { // on other frames of the same kind
				t.Errorf("reported %v and %v, found %v and %v", l.Before, l.After, before, after)
			}
			if float64(l.After) > c.falls*float64(l.Before) || c.sweeps && l.Sweeps == 0 {
				t.Errorf("the error went from %v to %v in %d sweeps", l.Before, l.After, l.Sweeps)
			}
			if l.Frames < 100 || l.Site != l.Teacher || l.Format != c.o.Fit.Format {
				t.Errorf("%+v", l)
			}
		})
	}
}

func TestLayersErrors(t *testing.T) {
	small := compactGestures(t)
	other, _ := creates(t, NewOptions{Input: 64, Hidden: 16, Classes: 8, Budget: Budget{Rank: 2}})
	data := gestures("gestures_train.npz")
	for _, c := range []struct {
		name, model, teacher, train string
		want                        []string
	}{
		{"no teacher", small, "", "", []string{"--start layers", "--teacher"}},
		{"no trained rings", small, own("gestures.onnx"), "head", []string{"no rings all of whose cores are trained"}},
		{"a dense model", own("gestures.onnx"), own("gestures.onnx"), "", []string{"no rings all of whose cores are trained"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Finetune(t.Context(), FinetuneOptions{
				Model: c.model, Output: filepath.Join(t.TempDir(), "out.onnx"), Data: data, Teacher: c.teacher, Start: "layers", Train: c.train,
			})
			if err == nil || slices.ContainsFunc(c.want, func(part string) bool { return !strings.Contains(err.Error(), part) }) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	t.Run("other layers", func(t *testing.T) {
		m := open(t, small)
		records, err := export.Records(m)
		if err != nil {
			t.Fatal(err)
		}
		work := &tuning{o: FinetuneOptions{Model: small, Teacher: other}, model: m, rings: records, report: &Training{}}
		work.weights, err = chooseWeights(small, weightsOf(m, records), "all")
		if err != nil {
			t.Fatal(err)
		}
		dense, err := export.Expand(t.Context(), open(t, other))
		if err != nil {
			t.Fatal(err)
		}
		defer dense.Close()
		_, err = work.pupils(t.Context(), dense)
		if err == nil || !strings.Contains(err.Error(), "[64 64]") || !strings.Contains(err.Error(), "the model's [") {
			t.Errorf("same name, other size: %v", err)
		}
		work.rings[0].Sites = []string{"of no site"}
		_, err = work.pupils(t.Context(), dense)
		if err == nil || !strings.Contains(err.Error(), "no layer of") {
			t.Errorf("another name: %v", err)
		}
	})
}
