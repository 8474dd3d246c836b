package recurrent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/onnx"
)

const sharedModels = "../../../shared/models"

func openShared(t *testing.T, parts ...string) *onnx.Model {
	t.Helper()
	if _, err := os.Stat(sharedModels); err != nil {
		t.Skipf("%s is absent", sharedModels)
	}
	m, err := onnx.OpenFile(context.Background(), filepath.Join(append([]string{sharedModels}, parts...)...), onnx.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// sketch writes the sites as "LSTM bidirectional [2,512,32]", with "!" before those that cannot be decomposed.
func sketch(sites []*Site) string {
	var s []string
	for _, x := range sites {
		mark := ""
		if !x.Decomposable {
			mark = "!"
		}
		d := x.Direction.Count()
		s = append(s, fmt.Sprintf("%s%s %s [%d,%d,%d]", mark, x.Op, x.Direction, d, x.Rows()/d, x.Input))
	}
	return strings.Join(s, " ")
}

func repeat(s string, n int) string { return strings.TrimSpace(strings.Repeat(s+" ", n)) }

// Oracle: the list that comes with the models, read from them with the onnx Python package.
func TestFindVisibleModels(t *testing.T) {
	for model, want := range map[string]string{
		"apple_dashboard_lstm":         "LSTM bidirectional [2,256,1] LSTM bidirectional [2,256,128]",
		"burn_gru_bidirectional":       "GRU bidirectional [2,24,4]",
		"burn_lstm":                    "LSTM forward [1,32,4]",
		"burn_lstm_bidirectional":      "LSTM bidirectional [2,32,4]",
		"burn_lstm_reverse":            "LSTM reverse [1,32,4]",
		"burn_lstm_with_initial_state": "LSTM forward [1,32,4]",
		"burn_rnn_bidirectional":       "RNN bidirectional [2,8,4]",
		"byte_sb_bidi_lstm":            "LSTM bidirectional [2,512,32] LSTM bidirectional [2,256,256]",
		"dtln_model_1":                 "LSTM forward [1,512,257] LSTM forward [1,512,128]",
		"keras2onnx_test_model_1":      "LSTM forward [1,512,256] LSTM forward [1,512,128]",
		"libtashkeel_gru":              "GRU bidirectional [2,144,48] " + repeat("GRU bidirectional [2,144,96]", 5),
		"mnist_gru_gap8":               "GRU bidirectional [2,192,28] GRU bidirectional [2,192,128]",
		"msl150_gru_128_h5":            "GRU forward [1,384,226]",
		"opset14_burn":                 "GRU forward [1,12,3] LSTM forward [1,16,3]",
		"quant_sentinel_lstm_loop":     "",
		"silero_vad_16k_op15":          repeat("LSTM forward [1,512,128]", 2),
		"silero_vad_v4":                repeat("LSTM forward [1,256,64]", 8),
		"silero_vad_v6":                repeat("LSTM forward [1,512,128]", 4),
		"thai2rom_encoder":             "LSTM bidirectional [2,512,128]",
	} {
		t.Run(model, func(t *testing.T) {
			m := openShared(t, "visible", model, "model.onnx")
			sites, err := Find(context.Background(), m)
			if err != nil {
				t.Fatal(err)
			}
			if got := sketch(sites); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			for _, s := range sites {
				if !s.Decomposable {
					t.Errorf("%s: %s", s.Name, s.Reason)
					continue
				}
				w, err := s.Weight(context.Background())
				if err != nil {
					t.Error(err)
				} else if err := w.Validate(); err != nil || w.Dims[0] != s.Rows() || w.Dims[1] != s.Input {
					t.Errorf("%s: W %v, %v", s.Name, w.Dims, err)
				}
			}
		})
	}
}

// silero builds W in each branch of an If from the same outer tensors, by chains of its own.
func TestFindSharedThroughBranches(t *testing.T) {
	for model, groups := range map[string]string{"silero_vad_16k_op15": "1 1", "silero_vad_v6": "1 1 1 1"} {
		m := openShared(t, "visible", model, "model.onnx")
		sites, err := Find(context.Background(), m)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range sites {
			got = append(got, fmt.Sprint(len(s.SharedWith)))
			if s.UsedElsewhere {
				t.Errorf("%s: W is said to be used elsewhere", s.Name)
			}
		}
		if strings.Join(got, " ") != groups {
			t.Errorf("%s: sites share with %v others, want %s", model, got, groups)
		}
	}
}

func TestFindTorchExports(t *testing.T) {
	dirs, _ := filepath.Glob(filepath.Join(sharedModels, "torch-export", "*"))
	if len(dirs) == 0 {
		t.Skipf("%s is absent", sharedModels)
	}
	for _, dir := range dirs {
		name := filepath.Base(dir)
		m := openShared(t, "torch-export", name, "model.onnx")
		sites, err := Find(context.Background(), m)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if name == "lstmcell_unrolled_op14" {
			if len(sites) != 0 || !strings.Contains(Diagnose(m), "nn.LSTM") {
				t.Errorf("%s: %d sites, diagnosis %q", name, len(sites), Diagnose(m))
			}
			continue
		}
		if len(sites) == 0 {
			t.Errorf("%s: no site", name)
		}
		for _, s := range sites {
			if !s.Decomposable || s.UsedElsewhere {
				t.Errorf("%s: %s: decomposable %v (%s), used elsewhere %v", name, s.Name, s.Decomposable, s.Reason, s.UsedElsewhere)
			}
			if _, err := s.Weight(context.Background()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// Every synthetic model with what is to be found in it.
func TestFindSyntheticModels(t *testing.T) {
	const plain = "LSTM forward [1,32,24]"
	for model, want := range map[string]string{
		"bidirectional":                 "LSTM bidirectional [2,32,24]",
		"clip_hardsigmoid_alpha":        plain,
		"dequantized_W":                 "!LSTM forward [1,32,24]",
		"external_data":                 plain,
		"fp16":                          plain,
		"fp16_weights_cast":             plain,
		"gru_lbr0":                      "GRU forward [1,24,24]",
		"gru_lbr1":                      "GRU forward [1,24,24]",
		"input_forget":                  plain,
		"inside_if_outer_scope_weights": plain + " LSTM reverse [1,32,24]",
		"ir3_initializers_are_inputs":   plain,
		"layout1_batchwise":             plain,
		"no_bias_no_states":             plain,
		"only_Yh":                       plain,
		"paddle_style_bilstm":           "LSTM bidirectional [2,32,24]",
		"peephole":                      plain,
		"plain":                         plain,
		"relu_relu_keras":               plain,
		"rnn_relu":                      "RNN forward [1,8,24]",
		"seq_lens_reverse":              "LSTM reverse [1,32,24]",
		"tied_weights_two_nodes":        repeat(plain, 2),
		"w_also_used_elsewhere":         plain,
		"weights_in_constant_nodes":     plain,
		"weights_via_identity_and_cast": plain,
	} {
		t.Run(model, func(t *testing.T) {
			m := openShared(t, "synthetic", model, "model.onnx")
			sites, err := Find(context.Background(), m)
			if err != nil {
				t.Fatal(err)
			}
			got := sketch(sites)
			if model == "inside_if_outer_scope_weights" && got == "LSTM reverse [1,32,24] "+plain {
				got = want // the file may hold the branches in either order
			}
			if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			for _, s := range sites {
				if used := model == "w_also_used_elsewhere"; s.UsedElsewhere != used {
					t.Errorf("%s: used elsewhere %v, want %v", s.Name, s.UsedElsewhere, used)
				}
				if shared := model == "tied_weights_two_nodes" || model == "inside_if_outer_scope_weights"; (len(s.SharedWith) == 1) != shared {
					t.Errorf("%s: shared with %d others", s.Name, len(s.SharedWith))
				}
				if model == "dequantized_W" && !strings.Contains(s.Reason, "already quantised") {
					t.Errorf("%s: reason %q", s.Name, s.Reason)
				}
			}
		})
	}
}

// The weights of these models are graph inputs.
func TestFindNgraphModels(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(sharedModels, "ngraph-rnn", "*.onnx"))
	if len(files) == 0 {
		t.Skipf("%s is absent", sharedModels)
	}
	for _, f := range files {
		m := openShared(t, "ngraph-rnn", filepath.Base(f))
		sites, err := Find(context.Background(), m)
		if err != nil || len(sites) != 1 {
			t.Errorf("%s: %d sites, %v", f, len(sites), err)
			continue
		}
		if s := sites[0]; s.Decomposable || !strings.Contains(s.Reason, `graph input "W"`) {
			t.Errorf("%s: decomposable %v, reason %q", f, s.Decomposable, s.Reason)
		}
	}
}

func TestDiagnoseLoop(t *testing.T) {
	m := openShared(t, "visible", "quant_sentinel_lstm_loop", "model.onnx")
	got := Diagnose(m)
	for _, w := range []string{"no LSTM, GRU or RNN", "Loop", "while_loop", "and 2 more", "nothing to decompose", "re-export"} {
		if !strings.Contains(got, w) {
			t.Errorf("diagnosis %q does not say %q", got, w)
		}
	}
	if got := Diagnose(openShared(t, "synthetic", "plain", "model.onnx")); got != "" {
		t.Errorf("diagnosis of a model with a site: %q", got)
	}
}
