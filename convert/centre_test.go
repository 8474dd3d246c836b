package convert

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/runtime/dataset"
	"github.com/trconvert/trconvert/runtime/finetune"
)

// edited is a model file after a change of its protobuf form.
func edited(t *testing.T, path string, change func(*onnxpb.ModelProto)) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var m onnxpb.ModelProto
	if err := proto.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	change(&m)
	if raw, err = proto.Marshal(&m); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "edited.onnx")
	if err := os.WriteFile(out, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return out
}

// centredRings are the rings as training gets them.
func centredRings(t *testing.T, model string, d TrainingData) []finetune.Ring {
	t.Helper()
	o := FinetuneOptions{Model: model, Output: filepath.Join(t.TempDir(), "out.onnx"), Data: d}
	if o.Data.Reading.Labels == "" {
		o.Teacher = own("gestures.onnx") // not opened here
	}
	if err := o.complete(); err != nil {
		t.Fatal(err)
	}
	work := &tuning{o: o, report: &Training{}}
	defer work.close()
	if err := work.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := work.openData(t.Context()); err != nil {
		t.Fatal(err)
	}
	rings, err := work.centred(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return rings
}

// drawn are frames with means that differ from column to column, and those means.
func drawn(rows, in int) (x []float32, means []float64) {
	r := rand.New(rand.NewPCG(5, 6))
	x, means = make([]float32, rows*in), make([]float64, in)
	for i := range x {
		x[i] = float32(r.NormFloat64() + float64(i%in) - 3)
		means[i%in] += float64(x[i]) / float64(rows)
	}
	return x, means
}

func near(a, b []float64) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool { return math.Abs(x-y) <= 1e-5*(1+math.Abs(y)) })
}

// TestMeansOfFrames compares the means that training takes off with those of all frames, column by column. The first layer of a new model sees the frames as they are.
func TestMeansOfFrames(t *testing.T) {
	const samples, steps, in, hidden = 12, 5, 40, 6
	x, want := drawn(samples*steps, in)
	data := npzOf(t, map[string]*onnx.Array{"x": {Type: onnx.Float, Dims: []int{samples, steps, in}, Data: x}})
	for _, c := range []struct {
		name string
		o    NewOptions
		bias []int64
	}{
		{"forward", NewOptions{}, []int64{1, 8 * hidden}},
		{"both directions", NewOptions{Bidirectional: true}, []int64{2, 8 * hidden}},
		{"gru", NewOptions{Cell: "gru"}, []int64{1, 6 * hidden}},
		{"pairs", NewOptions{Fit: FitOptions{Format: "ttm"}}, []int64{1, 8 * hidden}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Input, c.o.Hidden, c.o.Classes, c.o.Budget = in, hidden, 3, Budget{Rank: 2}
			model, _ := creates(t, c.o)
			rings := centredRings(t, model, TrainingData{Path: data, HeldPart: -1})
			if len(rings) != 1 || rings[0].Bias == nil || !slices.Equal(rings[0].Bias.Dims, c.bias) {
				t.Fatalf("%+v", rings)
			}
			if !near(rings[0].Mean, want) {
				t.Errorf("means %v, want %v", rings[0].Mean, want)
			}
		})
	}
	t.Run("a bias of two layers", func(t *testing.T) {
		model, _ := creates(t, NewOptions{Input: in, Hidden: in, Classes: 3, Layers: 2, Budget: Budget{Ratio: 4}})
		own := centredRings(t, model, TrainingData{Path: data, HeldPart: -1})
		if len(own) != 2 || own[0].Bias == nil || own[1].Bias == nil || near(own[0].Mean, own[1].Mean) {
			t.Fatalf("with a bias for each layer: %+v", own)
		}
		shared := edited(t, model, func(m *onnxpb.ModelProto) {
			for _, n := range m.Graph.Node {
				for i, name := range n.Input {
					if name == "lstm_1.B" {
						n.Input[i] = "lstm_0.B"
					}
				}
			}
		})
		for _, r := range centredRings(t, shared, TrainingData{Path: data, HeldPart: -1}) {
			if r.Bias != nil || r.Mean != nil {
				t.Errorf("centred with the bias of another layer: %+v", r)
			}
		}
	})
}

// TestMeansInBranches has layers in the two branches of an If, of which the data enter one.
func TestMeansInBranches(t *testing.T) {
	const samples, steps, in = 3, 7, 96
	model := edited(t, own("if_outer_w.onnx"), func(m *onnxpb.ModelProto) {
		w := proto.Clone(m.Graph.Initializer[0]).(*onnxpb.TensorProto)
		w.Name = proto.String("else/W")
		clear(w.RawData[:4]) // equal ones would be shared
		m.Graph.Initializer = append(m.Graph.Initializer, w)
		for _, a := range m.Graph.Node[0].Attribute {
			if a.GetName() == "else_branch" {
				a.G.Node[0].Input[1] = w.GetName()
			}
		}
	})
	small := filepath.Join(t.TempDir(), "small.onnx")
	decomposes(t, Options{Model: model, Output: small, Budget: Budget{Ratio: 8}, Fit: FitOptions{Format: "tr", Sweeps: 2}})
	x, want := drawn(steps*samples, in) // [steps, samples, in]: the mean is over both
	data := npzOf(t, map[string]*onnx.Array{"x": {Type: onnx.Float, Dims: []int{steps, samples, in}, Data: x}, "forward": {Type: onnx.Bool, Data: []bool{true}}})
	rings := centredRings(t, small, TrainingData{Path: data, HeldPart: -1, Reading: DataOptions{BatchAxis: map[string]int{"x": 1}}})
	if len(rings) != 2 {
		t.Fatalf("%d rings", len(rings))
	}
	for _, r := range rings {
		switch {
		case r.Bias == nil:
			t.Error("a ring has no bias")
		case r.Bias.Name == "then/B" && !near(r.Mean, want):
			t.Errorf("means %v, want %v", r.Mean, want)
		case r.Bias.Name == "else/B" && r.Mean != nil:
			t.Errorf("a branch that is not entered has the means %v", r.Mean)
		}
	}
}

// TestSharedMatrixIsNotCentred has two layers with one W.
func TestSharedMatrixIsNotCentred(t *testing.T) {
	const samples, steps, in = 3, 4, 96
	small := filepath.Join(t.TempDir(), "small.onnx")
	decomposes(t, Options{Model: own("tied.onnx"), Output: small, Budget: Budget{Ratio: 4}, Fit: FitOptions{Format: "tr", Sweeps: 2}})
	x, _ := drawn(steps*samples, in)
	a := &onnx.Array{Type: onnx.Float, Dims: []int{steps, samples, in}, Data: x}
	data := npzOf(t, map[string]*onnx.Array{"left": a, "right": a})
	rings := centredRings(t, small, TrainingData{Path: data, HeldPart: -1, Reading: DataOptions{BatchAxis: map[string]int{"left": 1, "right": 1}}})
	if len(rings) != 1 || rings[0].Bias != nil || rings[0].Mean != nil {
		t.Errorf("%+v", rings)
	}
}

// TestHalfPrecisionIsTrained has a readout stored in float16 or bfloat16 behind a Cast, as converters of models write it. Its values change, and stay of their type; the whole training set
// is then told better.
func TestHalfPrecisionIsTrained(t *testing.T) {
	small := compactGestures(t)
	for _, half := range []onnx.DataType{onnx.Float16, onnx.BFloat16} {
		t.Run(half.String(), func(t *testing.T) {
			model := edited(t, small, func(m *onnxpb.ModelProto) {
				for _, w := range m.Graph.Initializer {
					if w.GetName() != "readout.weight" {
						continue
					}
					full, err := onnx.NewFloat32s([]int{int(w.Dims[0]), int(w.Dims[1])}, make([]float32, w.Dims[0]*w.Dims[1]))
					if err != nil {
						t.Fatal(err)
					}
					if _, err := binary.Decode(w.RawData, binary.LittleEndian, full.Data); err != nil {
						t.Fatal(err)
					}
					narrow, err := dataset.Cast(full, half)
					if err != nil {
						t.Fatal(err)
					}
					if w.RawData, err = narrow.Bytes(); err != nil {
						t.Fatal(err)
					}
					w.DataType, w.Name = proto.Int32(int32(half)), proto.String("readout.half")
				}
				cast := &onnxpb.NodeProto{
					OpType: proto.String("Cast"), Name: proto.String("widen"), Input: []string{"readout.half"}, Output: []string{"readout.weight"},
					Attribute: []*onnxpb.AttributeProto{{Name: proto.String("to"), Type: onnxpb.AttributeProto_INT.Enum(), I: proto.Int64(int64(onnx.Float))}},
				}
				m.Graph.Node = append([]*onnxpb.NodeProto{cast}, m.Graph.Node...)
			})
			out := filepath.Join(t.TempDir(), "out.onnx")
			r := tunes(t, FinetuneOptions{Model: model, Output: out, Data: gestures("gestures_train.npz"), Train: "head", Settings: TrainingSettings{Epochs: 3}})
			if !(r.After.Loss < r.Before.Loss) {
				t.Errorf("the loss went from %v to %v", r.Before.Loss, r.After.Loss)
			}
			find := func(path string) *onnx.Array {
				m := open(t, path)
				k := slices.IndexFunc(m.Graph.Initializers, func(x *onnx.Tensor) bool { return x.Name == "readout.half" })
				a, err := m.Graph.Initializers[k].Array()
				if err != nil {
					t.Fatal(err)
				}
				return a
			}
			before, after := find(model), find(out)
			if after.Type != half || cmp.Equal(before, after) {
				t.Errorf("the readout is of %v, as before: %v", after.Type, cmp.Equal(before, after))
			}
		})
	}
}
