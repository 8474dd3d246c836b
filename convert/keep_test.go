package convert

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/tensor"
)

// coresOf are the factors of a model by matrix: for each core the type that it is stored in and its numbers, bit by bit, in the order of [tensor.Core].
func coresOf(t *testing.T, path string) map[string][]string {
	t.Helper()
	m := open(t, path)
	stored, err := export.StoredTensors(m)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string][]string)
	add := func(r export.Record, f *tensor.Factor, err error) {
		if err != nil {
			t.Fatal(err)
		}
		var cores []string
		for i, name := range r.Cores {
			as := export.Float32
			if k := slices.IndexFunc(stored, func(s export.Stored) bool { return s.Name == name }); k >= 0 {
				as = stored[k].Storage
			}
			cores = append(cores, fmt.Sprintf("%s %x", as, f.Cores[i]))
		}
		for _, site := range r.Sites {
			all[site] = cores
		}
	}
	rings, err := export.Records(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rings {
		f, err := r.Factor(t.Context(), m)
		add(r, f, err)
	}
	others, err := export.Matrices(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range others {
		f, err := r.Factor(t.Context(), m)
		add(r.Record, f, err)
	}
	return all
}

// What is a factor already stays as it is, bit by bit, where other matrices are factored.
func TestFactorsStay(t *testing.T) {
	for _, c := range []struct {
		name, model   string
		first, second Options
		same, others  []string // of the second file: factors as in the first, and new ones
	}{
		{"R of a bottleneck", "lstm_bidi.onnx", Options{Budget: Budget{Ratio: 4}}, Options{Matrices: "r", Budget: Budget{Ratio: 3}}, []string{"layer"}, []string{"layer.R"}},
		{"R of cores", "lstm_bidi.onnx", Options{Budget: Budget{Rank: 3}, Export: ExportOptions{Form: export.Cores}, Fit: FitOptions{Format: "tr"}}, Options{Matrices: "r", Budget: Budget{Ratio: 3}}, []string{"layer"}, []string{"layer.R"}},
		{"R of a merged output", "lstm_bidi.onnx", Options{Budget: Budget{Rank: 3}, Export: ExportOptions{MergeOutput: true}, Fit: FitOptions{Format: "tt"}}, Options{Matrices: "r", Budget: Budget{Ratio: 3}}, []string{"layer"}, []string{"layer.R"}},
		{"R of int8", "lstm_bidi.onnx", Options{Budget: Budget{Ratio: 4}, Weights: export.Int8}, Options{Matrices: "r", Budget: Budget{Ratio: 3}}, []string{"layer"}, []string{"layer.R"}},
		{"R of float16", "gestures.onnx", Options{Budget: Budget{Ratio: 40}, Weights: export.Float16}, Options{Matrices: "r", Budget: Budget{Ratio: 3}}, []string{"lstm"}, []string{"lstm.R"}},
		{"all", "lstm_bidi.onnx", Options{Budget: Budget{Ratio: 4}}, Options{Matrices: "all", Budget: Budget{Ratio: 3}}, []string{"layer"}, []string{"layer.R"}},
		{"W anew, R stays", "lstm_bidi.onnx", Options{Matrices: "r", Budget: Budget{Ratio: 25}}, Options{Matrices: "w", Budget: Budget{Ratio: 30}}, []string{"layer.R"}, []string{"layer"}},
		{"bytes of the file", "lstm_bidi.onnx", Options{Budget: Budget{Ratio: 4}}, Options{Matrices: "r", Whole: WholeBudget{Bytes: 24_000}}, []string{"layer"}, []string{"layer.R"}},
		{"in a branch", "if_outer_w.onnx", Options{Budget: Budget{Rank: 2}}, Options{Matrices: "r", Budget: Budget{Ratio: 2}}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			first, second := filepath.Join(dir, "first.onnx"), filepath.Join(dir, "second.onnx")
			c.first.Model, c.first.Output = own(c.model), first
			decomposes(t, c.first)
			c.second.Model, c.second.Output = first, second
			r, err := Decompose(t.Context(), c.second)
			if err != nil {
				t.Fatal(err)
			}
			before, after := coresOf(t, first), coresOf(t, second)
			for name := range before {
				if c.same == nil && !reflect.DeepEqual(before[name], after[name]) {
					t.Errorf("%s has changed", name)
				}
			}
			for _, name := range c.same {
				if before[name] == nil || !reflect.DeepEqual(before[name], after[name]) {
					t.Errorf("%s:\n%.300s\nbecame\n%.300s", name, before[name], after[name])
				}
				k := slices.IndexFunc(r.Sites, func(s SiteReport) bool { return s.Name == name })
				if k < 0 || r.Sites[k].Status != statusKept || !strings.Contains(r.Sites[k].Reason, "stays") || float64(r.Sites[k].RelativeError) > 1e-6 {
					t.Errorf("%s is reported as %+v", name, r.Sites)
				}
			}
			for _, name := range c.others {
				if after[name] == nil || reflect.DeepEqual(before[name], after[name]) {
					t.Errorf("%s was not factored", name)
				}
			}
			agreesWithORT(t, own(c.model), second)
		})
	}
}
