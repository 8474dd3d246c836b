// Package sourcetest lists what the printers of source code are tested with, and builds the messages of test models.
package sourcetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/trconvert/trconvert/export/source"
	"github.com/trconvert/trconvert/onnx"
)

// own is the folder of this project's models, relative to a package two levels below the root.
const own = "../../testdata/models/"

// Model is a model with the dims it is written for.
type Model struct {
	Name, Path string
	Dims       map[string]int
}

// Models are our own models, which are always there, and others below the folder shared, which tests skip where they are not.
func Models(shared string) []Model {
	return []Model{
		{"gru_lbr0", own + "gru_lbr0.onnx", map[string]int{"T": 5, "B": 2}},
		{"gru_lbr1", own + "gru_lbr1.onnx", map[string]int{"T": 5, "B": 2}},
		{"lstm_bidi", own + "lstm_bidi.onnx", map[string]int{"T": 4, "B": 3}},
		{"lstm_step_gates", own + "lstm_step_gates.onnx", nil},
		{"rnn_reverse", own + "rnn_reverse.onnx", map[string]int{"T": 6, "B": 2}},
		{"tied", own + "tied.onnx", map[string]int{"T": 3, "B": 1}},
		{"lstm_float16", own + "lstm_float16.onnx", map[string]int{"T": 4, "B": 2}},
		{"gestures", own + "gestures.onnx", map[string]int{"steps": 7}},
		{"dtln_model_1", shared + "models/visible/dtln_model_1/model.onnx", nil},
		{"byte_sb_bidi_lstm", shared + "models/visible/byte_sb_bidi_lstm/model.onnx", map[string]int{"length": 9}},
		{"mnist_gru_gap8", shared + "models/visible/mnist_gru_gap8/model.onnx", nil},
		{"burn_gru_bidirectional", shared + "models/visible/burn_gru_bidirectional/model.onnx", nil},
		{"holistic", shared + "data/holistic/dense_lstm64.onnx", nil},
	}
}

// Open opens a model or skips the test.
func Open(t testing.TB, path string) *onnx.Model {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%s is not there", path)
	}
	m, err := onnx.OpenFile(context.Background(), path, onnx.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// Write puts files into a folder.
func Write(t testing.TB, dir string, files map[string][]byte) {
	t.Helper()
	for name, data := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Case is a node test of the ONNX project, lowered, with its stored outputs as the sample.
type Case struct {
	Name    string
	Program *source.Program
}

// Cases lowers the node tests below the folder shared whose operators generated code has. Operands that must be constant are fixed to the stored inputs. The names of the others, which must be
// refused as unsupported, are returned too.
func Cases(t testing.TB, shared string) (cases []Case, refused []string) {
	t.Helper()
	paths, err := filepath.Glob(shared + "onnx-node/*/model.onnx")
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Skip(shared + "onnx-node is not there")
	}
	slices.Sort(paths)
	for _, path := range paths {
		name := filepath.Base(filepath.Dir(path))
		p, err := lowerCase(t, path)
		switch {
		case errors.Is(err, errNotTensors):
		case err != nil && Unsupported(err):
			refused = append(refused, name)
		case err != nil:
			t.Errorf("%s: %v", name, err)
		default:
			cases = append(cases, Case{name, p})
		}
	}
	return cases, refused
}

// Unsupported says whether an error is one that names what generated code lacks.
func Unsupported(err error) bool {
	var u *source.UnsupportedError
	return errors.As(err, &u)
}

var errNotTensors = errors.New("nothing to compare with")

// rounded are tests whose outputs are stored with four digits: the runtime's are used.
var rounded = map[string]bool{"test_averagepool_2d_ceil_last_window_starts_on_pad": true}

func lowerCase(t testing.TB, path string) (*source.Program, error) {
	m := Open(t, path)
	data := func(kind string, vs []*onnx.ValueInfo) ([]*onnx.Array, error) {
		var list []*onnx.Array
		for k := range vs {
			raw, err := os.ReadFile(filepath.Join(filepath.Dir(path), "test_data_set_0", fmt.Sprintf("%s_%d.pb", kind, k)))
			if err != nil {
				return nil, err
			}
			if vs[k].Type != nil && vs[k].Type.Kind != "tensor" {
				return nil, errNotTensors
			}
			tensor, err := onnx.DecodeTensor(path, raw)
			if err != nil {
				return nil, err
			}
			a, err := tensor.Array()
			if err != nil {
				return nil, err
			}
			list = append(list, a)
		}
		return list, nil
	}
	inputs, err := data("input", m.Graph.Inputs)
	if err != nil {
		return nil, err
	}
	outputs, err := data("output", m.Graph.Outputs)
	if err != nil {
		return nil, err
	}
	o := source.Options{Feeds: map[string]*onnx.Array{}}
	for k, v := range m.Graph.Inputs {
		o.Feeds[v.Name] = inputs[k]
	}
	p, err := source.Lower(context.Background(), m, o)
	if Unsupported(err) && len(inputs) > 1 {
		o.Fixed = map[string]*onnx.Array{}
		for k, v := range m.Graph.Inputs[1:] {
			o.Fixed[v.Name] = inputs[k+1]
		}
		if fixed, err2 := source.Lower(context.Background(), m, o); err2 == nil {
			p, err = fixed, nil
		}
	}
	if err != nil {
		return nil, err
	}
	if !rounded[filepath.Base(filepath.Dir(path))] {
		p.Run.Samples[0].Outputs = outputs
	}
	for _, a := range outputs {
		if a.Type == onnx.Float16 || a.Type == onnx.BFloat16 {
			return nil, errNotTensors // held as float32, so that stored values differ by their rounding
		}
	}
	return p, nil
}
