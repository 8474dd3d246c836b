package convert

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/onnx"
)

// Real models of all kinds of cells are converted to TT-matrices, checked by Decompose itself and by ONNX Runtime where it is at hand, and
// converted once more: the second file is made from the first one's reconstruction, and its choices are those of the format.
func TestTTMatrixOfVisibleModels(t *testing.T) {
	root := shared(t, "models", "visible")
	for _, name := range []string{"dtln_model_1", "silero_vad_v6", "byte_sb_bidi_lstm", "mnist_gru_gap8"} {
		for _, form := range []Form{export.Bottleneck, export.Dense} {
			t.Run(name+"/"+string(form), func(t *testing.T) {
				model := filepath.Join(root, name, "model.onnx")
				out := converts(t, model, form, "ttm")
				agreesWithORT(t, model, out)
				if form == export.Dense {
					return
				}
				again := filepath.Join(t.TempDir(), "again.onnx")
				o := options(out, again)
				o.Fit.Format, o.Budget.Ratio = "ttm", 8
				decomposes(t, o)
			})
		}
	}
}

// The gestures model has four times as many inputs as pre-activations, so that frames go through the cores of a TT-matrix and W is an identity.
func TestTTMatrixInStages(t *testing.T) {
	for _, c := range []struct {
		form Form
		rank int
		want Form
	}{{export.Bottleneck, 2, export.Cores}, {export.Cores, 8, export.Cores}, {export.Bottleneck, 40, export.Bottleneck}} {
		out := filepath.Join(t.TempDir(), "out.onnx")
		decomposes(t, Options{
			Model: own("gestures.onnx"), Output: out, Budget: Budget{Rank: c.rank}, Export: ExportOptions{Form: c.form},
			Fit: FitOptions{Format: "ttm", InModes: []int{32, 32}, OutModes: []int{16, 16}},
		})
		m, err := onnx.OpenFile(t.Context(), out, onnx.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		records, err := export.Records(m)
		m.Close()
		if err != nil || len(records) != 1 || records[0].Form != c.want || records[0].Format != "ttm" || !slices.Equal(records[0].Ranks, []int{1, c.rank}) {
			t.Errorf("%s, rank %d: records %+v, %v", c.form, c.rank, records, err)
		}
		agreesWithORT(t, own("gestures.onnx"), out)
	}
}

func TestTTMatrixHasNoOutputCores(t *testing.T) {
	_, err := Decompose(t.Context(), Options{Model: own("gestures.onnx"), Fit: FitOptions{Format: "ttm"}, Export: ExportOptions{MergeOutput: true}})
	if e, ok := err.(*OptionError); !ok || e.Option != "--merge-output" {
		t.Errorf("error %v", err)
	}
}
