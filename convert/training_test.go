package convert

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gonum.org/v1/gonum/mat"

	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/internal/engine/ort"
	"github.com/trconvert/trconvert/internal/testmodels"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/matrices"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/runtime"
)

func open(t *testing.T, path string) *onnx.Model {
	t.Helper()
	m, err := onnx.OpenFile(t.Context(), path, onnx.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// creates writes a new model.
func creates(t *testing.T, o NewOptions) (path string, r *Creation) {
	t.Helper()
	o.Output = filepath.Join(t.TempDir(), "new.onnx")
	r, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return o.Output, r
}

// compactGestures is the gesture classifier with its W 100 times smaller.
func compactGestures(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "small.onnx")
	decomposes(t, Options{Model: own("gestures.onnx"), Output: out, Budget: Budget{Ratio: 100}, Fit: FitOptions{Format: "tr", Sweeps: 3}})
	return out
}

// tunes trains for a few epochs.
func tunes(t *testing.T, o FinetuneOptions) *Training {
	t.Helper()
	if o.Output == "" {
		o.Output = filepath.Join(t.TempDir(), "tuned.onnx")
	}
	r, err := Finetune(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func gestures(file string) TrainingData {
	return TrainingData{Path: own(file), Reading: DataOptions{Labels: "label"}}
}

// TestWeights holds the roles of tensors to what a person says of them.
func TestWeights(t *testing.T) {
	deep, _ := creates(t, NewOptions{Input: 64, Hidden: 16, Classes: 3, Embed: 20, Layers: 2, Bidirectional: true, Budget: Budget{Rank: 2}})
	dense, _ := creates(t, NewOptions{Input: 12, Hidden: 4, Classes: 3, Scale: 0.5, Fit: FitOptions{Format: "dense"}})
	for _, c := range []struct {
		name, model string
		want        []string
	}{
		{"a dense classifier", own("gestures.onnx"), []string{"lstm.W site", "lstm.R site", "lstm.B site", "readout.weight head", "readout.bias head"}},
		{"a matrix that branches share", own("if_outer_w.onnx"), []string{"W site", "then/R site", "then/B site", "else/R site", "else/B site"}},
		{"scale in front of all weights", dense, []string{"lstm.weight site", "lstm.R site", "lstm.B site", "head.weight head", "head.bias head"}},
		{"tokens, two layers", deep, []string{
			"embed.table other", "core", "core", "core", "core", "lstm_0.R site ring", "lstm_0.B site ring",
			"core", "core", "core", "core", "lstm_1.R site ring", "lstm_1.B site ring", "head.weight head", "head.bias head",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := open(t, c.model)
			records, err := export.Records(m)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, w := range weightsOf(m, records) {
				switch {
				case w.role == roleCore:
					got = append(got, "core")
				case w.ring:
					got = append(got, w.tensor.Name+" "+string(w.role)+" ring")
				default:
					got = append(got, w.tensor.Name+" "+string(w.role))
				}
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

// TestTrainingChangesWhatItSaysAndNothingElse compares all tensors, nodes and metadata before and after.
func TestTrainingChangesWhatItSaysAndNothingElse(t *testing.T) {
	small := compactGestures(t)
	for what, changed := range map[string]func(name string, core bool) bool{
		"all": func(name string, core bool) bool {
			return core || slices.Contains([]string{"lstm.R", "lstm.B", "readout.weight", "readout.bias"}, name)
		},
		"cores": func(_ string, core bool) bool { return core },
		"site":  func(name string, core bool) bool { return core || name == "lstm.R" || name == "lstm.B" },
		"head":  func(name string, _ bool) bool { return name == "readout.weight" || name == "readout.bias" },
	} {
		t.Run(what, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "tuned.onnx")
			r := tunes(t, FinetuneOptions{Model: small, Output: out, Data: gestures("gestures_train.npz"), Train: what, Settings: TrainingSettings{Epochs: 1, Rate: 1e-3}})
			before, after := open(t, small), open(t, out)
			records, err := export.Records(before)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(before.Metadata, after.Metadata); d != "" {
				t.Errorf("metadata: %s", d)
			}
			if len(before.Graph.Nodes) != len(after.Graph.Nodes) || before.FileBytes() != after.FileBytes() {
				t.Errorf("%d and %d nodes, %d and %d bytes", len(before.Graph.Nodes), len(after.Graph.Nodes), before.FileBytes(), after.FileBytes())
			}
			var trained int64
			for k, x := range before.Graph.Initializers {
				y := after.Graph.Initializers[k]
				a, err := x.Array()
				if err != nil {
					t.Fatal(err)
				}
				b, err := y.Array()
				if err != nil {
					t.Fatal(err)
				}
				want := changed(x.Name, slices.Contains(records[0].Cores, x.Name))
				if want {
					trained += x.Elements()
				}
				if x.Name != y.Name || cmp.Equal(a, b) == want {
					t.Errorf("%v and %v: it changed: %v, want %v", x, y, !want, want)
				}
			}
			if r.Trained != trained {
				t.Errorf("%d trained parameters are reported, %d tensors' elements changed", r.Trained, trained)
			}
		})
	}
}

// TestTrainingGetsAccuracyBack trains without labels, after the original; the labels of other clips are the judge.
func TestTrainingGetsAccuracyBack(t *testing.T) {
	small := compactGestures(t)
	out := filepath.Join(t.TempDir(), "tuned.onnx")
	tunes(t, FinetuneOptions{Model: small, Output: out, Teacher: own("gestures.onnx"), Data: TrainingData{Path: own("gestures_train.npz")}, Settings: TrainingSettings{Epochs: 8}})
	measured := func(model string) float64 {
		e, err := Eval(t.Context(), EvalOptions{Model: model, Data: own("gestures.npz"), Reading: DataOptions{Labels: "label"}})
		if err != nil {
			t.Fatal(err)
		}
		return float64(e.Metric)
	}
	dense, before, after := measured(own("gestures.onnx")), measured(small), measured(out)
	if before > dense-0.02 {
		t.Fatalf("the compact model is right in %v already, the original in %v", before, dense)
	}
	if after < dense-0.0126 { // two clips
		t.Errorf("it is right in %v, before in %v; the original in %v", after, before, dense)
	}
}

// logitsOf runs a model on all clips of the gestures' test set.
func logitsOf(t *testing.T, run runner, clips map[string]*onnx.Array) []float32 {
	t.Helper()
	frames, err := narrow(onnx.Float, clips["frames"].Dims, wide(t, clips["frames"]))
	if err != nil {
		t.Fatal(err)
	}
	out, err := run(t.Context(), map[string]*onnx.Array{"frames": frames})
	if err != nil {
		t.Fatal(err)
	}
	return out["logits"].Data.([]float32)
}

func wide(t *testing.T, a *onnx.Array) []float64 {
	t.Helper()
	v, err := floats(a)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// scalarScore is cross-entropy and accuracy, written out.
func scalarScore(logits []float32, labels []int64, classes int) (loss, accuracy float64) {
	for i, y := range labels {
		row := logits[i*classes : (i+1)*classes]
		best, sum := 0, 0.0
		for k, v := range row {
			if v > row[best] {
				best = k
			}
			sum += math.Exp(float64(v))
		}
		loss += math.Log(sum) - float64(row[y])
		if int64(best) == y {
			accuracy++
		}
	}
	n := float64(len(labels))
	return loss / n, accuracy / n
}

// TestEvalAgainstFormulas has the loss and accuracy of the gesture classifier recomputed from its logits.
func TestEvalAgainstFormulas(t *testing.T) {
	clips := testmodels.Clips("test", 160)
	p, err := runtime.Compile(t.Context(), open(t, own("gestures.onnx")), runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	loss, accuracy := scalarScore(logitsOf(t, p.Run, clips), clips["label"].Data.([]int64), 8)
	e, err := Eval(t.Context(), EvalOptions{Model: own("gestures.onnx"), Data: own("gestures.npz"), Reading: DataOptions{Labels: "label"}})
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(float64(e.Loss)-loss) > 1e-5 || float64(e.Metric) != accuracy || e.Samples != 160 {
		t.Errorf("loss %v, accuracy %v of %d samples, want %v and %v", e.Loss, e.Metric, e.Samples, loss, accuracy)
	}
}

// TestEvalOfNumbers compares a sequence of states with targets: the squared and the relative error are recomputed from what Run gives.
func TestEvalOfNumbers(t *testing.T) {
	model := own("lstm_bidi.onnx")
	m := open(t, model)
	p, err := runtime.Compile(t.Context(), m, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	feeds, err := trials[0].feeds(p.Inputs(), 1)
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.Run(t.Context(), feeds)
	if err != nil {
		t.Fatal(err)
	}
	last := out["y_h"] // [2, B, H]
	d, b, h := last.Dims[0], last.Dims[1], last.Dims[2]
	targets := make([]float32, b*d*h)
	var square, norm float64
	for i := range b {
		for k := range d {
			for u := range h {
				y := last.Data.([]float32)[(k*b+i)*h+u]
				v := y + float32(i+1)*0.1
				targets[(i*d+k)*h+u] = v
				square += math.Pow(float64(y-v), 2)
				norm += float64(v) * float64(v)
			}
		}
	}
	x := feeds[p.Inputs()[0].Name]
	data := npzOf(t, map[string]*onnx.Array{p.Inputs()[0].Name: x, "target": {Type: onnx.Float, Dims: []int{b, d, h}, Data: targets}})
	e, err := Eval(t.Context(), EvalOptions{Model: model, Data: data, Output: "y_h", Reading: DataOptions{Labels: "target", BatchAxis: map[string]int{p.Inputs()[0].Name: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	if want := square / float64(b*d*h); e.LossName != "mse" || math.Abs(float64(e.Loss)-want) > 1e-5*want {
		t.Errorf("%s %v, want mse %v", e.LossName, e.Loss, want)
	}
	if want := math.Sqrt(square / norm); e.MetricName != "relative error" || math.Abs(float64(e.Metric)-want) > 1e-5*want {
		t.Errorf("%s %v, want relative error %v", e.MetricName, e.Metric, want)
	}
}

// TestTrainedModelInORT has ONNX Runtime classify all clips with a trained model: clip by clip the same answer.
func TestTrainedModelInORT(t *testing.T) {
	if os.Getenv(ort.LibraryVariable) == "" {
		t.Skip(ort.LibraryVariable + " does not name ONNX Runtime's library")
	}
	out := filepath.Join(t.TempDir(), "tuned.onnx")
	tunes(t, FinetuneOptions{Model: compactGestures(t), Output: out, Data: gestures("gestures_train.npz"), Settings: TrainingSettings{Epochs: 2}})
	engine, err := ort.Open(ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	session, err := engine.Load(t.Context(), out)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	p, err := runtime.Compile(t.Context(), open(t, out), runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	clips := testmodels.Clips("test", 160)
	theirs, ours := logitsOf(t, session.Run, clips), logitsOf(t, p.Run, clips)
	for i := range 160 {
		a, b := theirs[i*8:(i+1)*8], ours[i*8:(i+1)*8]
		if slices.Index(a, slices.Max(a)) != slices.Index(b, slices.Max(b)) {
			t.Errorf("clip %d: ONNX Runtime gives %v, we %v", i, a, b)
		}
	}
}

// TestNewIsInitialised takes the numbers of a new model apart.
func TestNewIsInitialised(t *testing.T) {
	const in, hidden = 600, 100
	for _, format := range NewFormats {
		t.Run(format, func(t *testing.T) {
			o := NewOptions{Input: in, Hidden: hidden, Classes: 4, Fit: FitOptions{Format: format}}
			if format != "dense" {
				o.Budget.Ratio = 8
			}
			path, r := creates(t, o)
			m := open(t, path)
			dense, err := export.Expand(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			defer dense.Close()
			sites, err := recurrent.Find(t.Context(), dense)
			if err != nil || len(sites) != 1 || sites[0].Input != in || sites[0].Hidden != hidden {
				t.Fatalf("sites %v, %v", sites, err)
			}
			w, err := sites[0].Weight(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			variance, want := w.SquaredNorm()/float64(len(w.Data)), 2.0/(in+hidden)
			if format != "dense" && r.Sites[0].W > int64(len(w.Data)/8) {
				t.Errorf("W has %d numbers of %d", r.Sites[0].W, len(w.Data))
			}
			// A product of random cores has a norm that spreads; a factor of 2 is far outside of chance at these ranks and inside of it for none of them.
			if math.Abs(math.Log(variance/want)) > math.Log(2) {
				t.Errorf("W has the variance %v, want about %v", variance, want)
			}
			for _, x := range m.Graph.Initializers {
				a, err := x.Array()
				if err != nil {
					t.Fatal(err)
				}
				switch x.Name {
				case "lstm.R", "head.weight", "head.bias":
					v := a.Data.([]float32)
					if largest := float64(slices.Max(v)); largest > 0.1 || largest < 0.08 && len(v) > 100 { // ±1/√100
						t.Errorf("%s goes up to %v", x.Name, largest)
					}
				case "lstm.B":
					for i, v := range a.Data.([]float32) {
						want := float32(0)
						if i >= 2*hidden && i < 3*hidden { // the input bias of f in i, o, f, c
							want = 1
						}
						if v != want {
							t.Fatalf("bias %d is %v", i, v)
						}
					}
				}
			}
		})
	}
}

// TestNewFactorsR takes R of every layer apart: its size, its variance and its rank, as the definition of RecurrentRank gives them.
func TestNewFactorsR(t *testing.T) {
	const hidden, rank, layers, directions = 64, 8, 2, 2
	for _, cell := range []struct {
		name  string
		gates int
	}{{"lstm", 4}, {"gru", 3}, {"rnn", 1}} {
		t.Run(cell.name, func(t *testing.T) {
			o := NewOptions{Cell: cell.name, Input: 600, Hidden: hidden, Classes: 4, Layers: layers, Bidirectional: true, Budget: Budget{Ratio: 20}, RecurrentRank: rank}
			path, r := creates(t, o)
			dense, err := export.Expand(t.Context(), open(t, path))
			if err != nil {
				t.Fatal(err)
			}
			defer dense.Close()
			all, err := matrices.Find(t.Context(), dense)
			if err != nil {
				t.Fatal(err)
			}
			all = slices.DeleteFunc(all, func(s *matrices.Site) bool { return s.Role != matrices.Recurrent })
			if len(all) != layers || len(r.Sites) != layers {
				t.Fatalf("%d matrices R, %d sites", len(all), len(r.Sites))
			}
			const rows = directions * hidden
			for k, s := range all {
				if want := int64((rows*cell.gates + hidden) * rank); r.Sites[k].R != want || r.Sites[k].RRank != rank {
					t.Errorf("layer %d: R has %d numbers of rank %d, want %d of rank %d", k, r.Sites[k].R, r.Sites[k].RRank, want, rank)
				}
				w, err := s.Weight(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if variance, want := w.SquaredNorm()/float64(len(w.Data)), 1.0/(3*hidden); math.Abs(math.Log(variance/want)) > math.Log(2) {
					t.Errorf("layer %d: R has the variance %v, want about %v", k, variance, want)
				}
				var svd mat.SVD
				data := make([]float64, len(w.Data))
				for i, v := range w.Data {
					data[i] = float64(v)
				}
				if !svd.Factorize(mat.NewDense(w.Dims[0], w.Dims[1], data), mat.SVDNone) {
					t.Fatal("no SVD")
				}
				if v := svd.Values(nil); v[rank-1] < 1e-2*v[0] || v[rank] > 1e-5*v[0] {
					t.Errorf("layer %d: singular values %v do not end at rank %d", k, v[:rank+2], rank)
				}
			}
		})
	}
	for _, o := range []NewOptions{
		{Input: 600, Hidden: hidden, Classes: 4, RecurrentRank: 52}, // (4·64 + 64)·52 > 4·64·64
		{Input: 600, Hidden: 8, Classes: 4, RecurrentRank: 1},       // 4·8·8 < 512
		{Input: 600, Hidden: hidden, Classes: 4, RecurrentRank: -1},
	} {
		o.Output = filepath.Join(t.TempDir(), "m.onnx")
		var refused *OptionError
		if _, err := New(t.Context(), o); !errors.As(err, &refused) || refused.Option != "--recurrent-rank" {
			t.Errorf("rank %d of %d units: %v", o.RecurrentRank, o.Hidden, err)
		}
	}
}

// TestNewFormsNoMatrix holds the bytes that are allocated at the paper's size far below the 236 MB of a dense W.
func TestNewFormsNoMatrix(t *testing.T) {
	o := NewOptions{
		Output: filepath.Join(t.TempDir(), "m.onnx"), Input: 57600, Hidden: 256, Classes: 11, Budget: Budget{Rank: 5},
		Fit: FitOptions{InModes: []int{4, 2, 5, 8, 6, 5, 3, 2}, OutModes: []int{4, 4, 2, 4, 8}},
	}
	result := testing.Benchmark(func(b *testing.B) {
		o.Files.Force = true
		for range b.N {
			if _, err := New(b.Context(), o); err != nil {
				b.Fatal(err)
			}
		}
	})
	if n := result.AllocedBytesPerOp(); n > 64<<20 {
		t.Errorf("%d bytes are allocated", n)
	}
}

func TestTrainingErrors(t *testing.T) {
	small := compactGestures(t)
	half := own("lstm_float16.onnx")
	data := gestures("gestures_train.npz")
	for _, c := range []struct {
		name string
		o    FinetuneOptions
		want string
	}{
		{"data of another model", FinetuneOptions{Model: half, Data: data}, "input"},
		{"unknown part", FinetuneOptions{Model: small, Data: data, Train: "core"}, "--train"},
		{"the output for no labels", FinetuneOptions{Model: small, Data: TrainingData{Path: data.Path, Output: "logits"}, Teacher: small}, "--output"},
		{"negative epochs", FinetuneOptions{Model: small, Data: data, Settings: TrainingSettings{Epochs: -1}}, "--epochs"},
		{"NaN part", FinetuneOptions{Model: small, Data: TrainingData{Path: data.Path, Reading: data.Reading, HeldPart: math.NaN()}}, "--val"},
		{"targets of classes", FinetuneOptions{Model: small, Data: data, Loss: "mse"}, "needs as many"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Output = filepath.Join(t.TempDir(), "out.onnx")
			_, err := Finetune(t.Context(), c.o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if _, err := os.Stat(c.o.Output); err == nil {
				t.Error("something was written")
			}
		})
	}
}

// TestTrainingCanBeCancelled ends a training in its second epoch.
func TestTrainingCanBeCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := filepath.Join(t.TempDir(), "out.onnx")
	_, err := Finetune(ctx, FinetuneOptions{
		Model: compactGestures(t), Output: out, Data: gestures("gestures_train.npz"), Settings: TrainingSettings{Epochs: 1000},
		Progress: func(p TrainingProgress) {
			if p.Epoch == 2 {
				cancel()
			}
		},
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("something was written")
	}
}
