package onnxgo

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/onnx"
)

const models = "../../../testdata/models/"

func openModel(t *testing.T, path string) *onnx.Model {
	t.Helper()
	m, err := onnx.OpenFile(context.Background(), path, onnx.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func TestCheckOwnModels(t *testing.T) {
	for name, unsupported := range map[string]string{
		"gestures": "", "lstm_bidi": "", "gru_lbr0": "", "gru_lbr1": "", "rnn_reverse": "", "tied": "", "lstm_step_gates": "",
		"if_outer_w":   "subgraphs (2",
		"lstm_float16": "float16",
	} {
		path := models + name + ".onnx"
		err := Check(context.Background(), path, openModel(t, path))
		if unsupported == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		var ue *UnsupportedError
		if !errors.As(err, &ue) || !strings.Contains(strings.ToLower(err.Error()), unsupported) {
			t.Errorf("%s: error %v does not say %q", name, err, unsupported)
		}
	}
}

// The models of others that onnx-go can read at all agree with our view of them.
func TestCheckSharedModels(t *testing.T) {
	paths, err := filepath.Glob("../../../../shared/models/visible/*/model.onnx")
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Skip("no folder ../shared/models")
	}
	checked := 0
	for _, path := range paths {
		err := Check(context.Background(), path, openModel(t, path))
		var ue *UnsupportedError
		switch {
		case err == nil:
			checked++
		case errors.As(err, &ue):
			t.Log(err)
		default:
			t.Errorf("%s: %v", path, err)
		}
	}
	if checked < 10 {
		t.Errorf("onnx-go read %d of %d models, want at least 10", checked, len(paths))
	}
}

func TestCheckFindsDifferences(t *testing.T) {
	bidi := openModel(t, models+"lstm_bidi.onnx")
	for path, want := range map[string]string{
		models + "gestures.onnx":    "inputs",
		models + "rnn_reverse.onnx": "outputs",
		models + "gru_lbr1.onnx":    "outputs",
	} {
		if err := Check(context.Background(), path, bidi); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s against another model: %v", path, err)
		}
	}
	edit := func(name string, change func(g *onnx.Graph)) {
		m, err := onnx.OpenFile(context.Background(), models+"lstm_bidi.onnx", onnx.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		change(m.Graph)
		if err := Check(context.Background(), models+"lstm_bidi.onnx", m); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	edit("operator", func(g *onnx.Graph) { g.Nodes[0].OpType = "GRU" })
	edit("layer", func(g *onnx.Graph) { g.Nodes[0].Inputs[1] = "R" })
	edit(`"hidden_size"`, func(g *onnx.Graph) { g.Nodes[0].Attr("hidden_size").I++ })
	edit(`"direction"`, func(g *onnx.Graph) { g.Nodes[0].Attr("direction").S = []byte("forward") })
	edit(`initializer "W"`, func(g *onnx.Graph) { g.Initializers[0], g.Initializers[1].Name = g.Initializers[1], "W" })
	edit("nodes", func(g *onnx.Graph) { g.Nodes = append(g.Nodes, g.Nodes[0]) })
}

// The oracle is NumPy: testdata/models/expect.py.
func TestRunAgreesWithNumPy(t *testing.T) {
	set := models + "lstm_step_gates/test_data_set_0/"
	read := func(name string) (string, *onnx.Array) {
		b, err := os.ReadFile(set + name)
		if err != nil {
			t.Fatal(err)
		}
		tensor, err := onnx.DecodeTensor(name, b)
		if err != nil {
			t.Fatal(err)
		}
		a, err := tensor.Array()
		if err != nil {
			t.Fatal(err)
		}
		return tensor.Name, a
	}
	feeds := map[string]*onnx.Array{}
	for _, file := range []string{"input_0.pb", "input_1.pb", "input_2.pb"} {
		name, a := read(file)
		feeds[name] = a
	}
	got, err := Run(context.Background(), models+"lstm_step_gates.onnx", feeds)
	if err != nil {
		t.Fatal(err)
	}
	name, want := read("output_0.pb")
	a := got[name].Data.([]float32)
	for i, w := range want.Data.([]float32) {
		if math.Abs(float64(a[i]-w)) > 1e-6 {
			t.Fatalf("%s: element %d is %v, NumPy says %v", name, i, a[i], w)
		}
	}
	delete(feeds, "h")
	if _, err := Run(context.Background(), models+"lstm_step_gates.onnx", feeds); err == nil || !strings.Contains(err.Error(), `input "h"`) {
		t.Errorf("a missing feed: %v", err)
	}
}

func TestRunNamesWhatIsMissing(t *testing.T) {
	_, err := Run(context.Background(), models+"gestures.onnx", nil)
	var ue *UnsupportedError
	if !errors.As(err, &ue) || !strings.Contains(err.Error(), "operator LSTM (1") || !strings.Contains(err.Error(), "operator Squeeze (1") {
		t.Errorf("error %v", err)
	}
}

// Broken files must not bring the program down, whatever onnx-go does with them.
func TestBrokenFiles(t *testing.T) {
	good, err := os.ReadFile(models + "lstm_step_gates.onnx")
	if err != nil {
		t.Fatal(err)
	}
	m := openModel(t, models+"lstm_step_gates.onnx")
	path := filepath.Join(t.TempDir(), "broken.onnx")
	for at := 0; at < len(good); at += 97 {
		b := append([]byte(nil), good...)
		b[at] ^= 0xff
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Check(context.Background(), path, m); err == nil && at < 200 {
			t.Logf("byte %d: not noticed", at)
		}
		_, _ = Run(context.Background(), path, nil)
	}
	if err := Check(context.Background(), filepath.Join(t.TempDir(), "absent.onnx"), m); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an absent file: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Check(ctx, path, m); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
