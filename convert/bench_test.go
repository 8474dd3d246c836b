package convert

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// A model that the engine does not run has a row without figures, wherever it stands; the others are measured.
func TestBenchGoesOnWithoutAModel(t *testing.T) {
	known := lstmModel(t, &onnxpb.NodeProto{OpType: proto.String("Tanh"), Input: []string{"Y"}, Output: []string{"out"}})
	unknown := lstmModel(t, &onnxpb.NodeProto{OpType: proto.String("Frobnicate"), Domain: proto.String("my.domain"), Input: []string{"Y"}, Output: []string{"out"}})
	for _, models := range [][]string{{known, unknown}, {unknown, known}} {
		r, err := Bench(t.Context(), BenchOptions{Models: models})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Results) != 2 {
			t.Fatalf("%d results of 2 models", len(r.Results))
		}
		for k, row := range r.Results {
			figures := []Number{row.Load, row.First, row.Ready, row.Median, row.Low, row.High, row.Fastest}
			if models[k] == unknown {
				if !strings.Contains(row.Error, "my.domain.Frobnicate") || row.Runs != 0 || slices.ContainsFunc(figures, func(n Number) bool { return !math.IsNaN(float64(n)) }) {
					t.Errorf("the unknown operator's row is %+v", row)
				}
				continue
			}
			if row.Error != "" || row.Runs < benchLeast || !(row.Fastest <= row.Low && row.Low <= row.Median && row.Median <= row.High) || !(row.Load < row.Ready) {
				t.Errorf("the known operator's row is %+v", row)
			}
		}
		if len(r.Warnings) == 0 || !slices.ContainsFunc(r.Warnings, func(w Warning) bool { return w.Code == "operator-missing" && w.Path == unknown }) {
			t.Errorf("warnings are %v", r.Warnings)
		}
	}
	_, err := Bench(t.Context(), BenchOptions{Models: []string{unknown}})
	var unsupported *UnsupportedError
	if !errors.As(err, &unsupported) {
		t.Errorf("nothing to measure: error %v", err)
	}
}

// The measurement is that of the weights at least: a runtime that answers has read them. It is made in this process, whose own memory is in before and after.
func TestServeResident(t *testing.T) {
	if _, err := resident(); err != nil {
		t.Skip(err)
	}
	model := filepath.Join("..", "testdata", "models", "gestures.onnx")
	feeds := filepath.Join(t.TempDir(), "feeds.npz")
	x, err := onnx.ZeroArray(onnx.Float, []int{1, 20, 1024})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(feeds)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(dataset.WriteNPZ(f, map[string]*onnx.Array{"frames": x}), f.Close()); err != nil {
		t.Fatal(err)
	}
	request, err := json.Marshal(residentRequest{Model: model, Engine: Engines[0], Feeds: feeds})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := ServeResident(t.Context(), bytes.NewReader(request), &out); err != nil {
		t.Fatal(err)
	}
	var r Resident
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if !(r.Peak >= r.Used && r.Peak > 0) {
		t.Errorf("resident memory is %+v", r)
	}
	for _, broken := range []string{"", "{", `{"engine": "go", "feeds": "none.npz"}`} {
		if err := ServeResident(t.Context(), strings.NewReader(broken), &out); err == nil {
			t.Errorf("the request %q is taken", broken)
		}
	}
}

// Quantiles by hand: the smallest value that at least the part q does not exceed.
func TestQuantile(t *testing.T) {
	ten := []float64{10, 9, 8, 7, 6, 5, 4, 3, 2, 1}
	for _, c := range []struct {
		values []float64
		q      float64
		want   float64
	}{
		{ten, 0.1, 1}, {ten, 0.9, 9}, {ten, 0.11, 2}, {ten, 0, 1}, {ten, 1, 10}, {[]float64{4}, 0.1, 4}, {[]float64{4}, 0.9, 4},
	} {
		if got := quantile(c.values, c.q); got != c.want {
			t.Errorf("quantile %v of %v is %v, want %v", c.q, c.values, got, c.want)
		}
	}
	if got := quantile(nil, 0.5); !math.IsNaN(got) {
		t.Errorf("a quantile of nothing is %v", got)
	}
}
