package dataset

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trconvert/trconvert/onnx"
)

// open opens arrays with one input x, in memory and from the file; both must give the same.
func open(t *testing.T, m *onnx.Model, path string, o Options) map[string]*Dataset {
	t.Helper()
	out := make(map[string]*Dataset)
	for name, memory := range map[string]int64{"memory": 0, "file": 1} {
		o.Memory = memory
		d, err := Open(context.Background(), path, m, o)
		if err != nil {
			t.Fatalf("from %s: %v", name, err)
		}
		t.Cleanup(func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
		out[name] = d
	}
	return out
}

func epoch(t *testing.T, d *Dataset, o BatchOptions) []*Batch {
	t.Helper()
	var out []*Batch
	for b, err := range d.Batches(context.Background(), o) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

func batchesError(d *Dataset, o BatchOptions) error {
	for _, err := range d.Batches(context.Background(), o) {
		if err != nil {
			return err
		}
	}
	return nil
}

func indices(batches []*Batch) (out [][]int) {
	for _, b := range batches {
		out = append(out, b.Index)
	}
	return out
}

// Sample k holds the values 10·k and 10·k + 1 and has the label 100 + k, so that a row tells where it is from.
func tens(n int) map[string]*onnx.Array {
	x := &onnx.Array{Type: onnx.Float, Dims: []int{n, 2}}
	var v []float32
	var l []int64
	for k := range n {
		v = append(v, float32(10*k), float32(10*k+1))
		l = append(l, int64(100+k))
	}
	x.Data = v
	return map[string]*onnx.Array{"x": x, "label": ints([]int{n}, l...)}
}

func TestBatchesInOrder(t *testing.T) {
	for from, d := range open(t, model(value("x", onnx.Float, -1, 2)), writeNPZ(t, tens(5)), Options{Labels: "label"}) {
		got := epoch(t, d, BatchOptions{Size: 2})
		if diff := cmp.Diff([][]int{{0, 1}, {2, 3}, {4}}, indices(got)); diff != "" {
			t.Fatalf("%s: samples (-want +got):\n%s", from, diff)
		}
		last := got[2]
		want := &Batch{
			Feeds:  map[string]*onnx.Array{"x": {Type: onnx.Float, Dims: []int{1, 2}, Data: []float32{40, 41}}},
			Labels: ints([]int{1}, 104), Index: []int{4}, Weights: []float32{1}, Number: 2, Last: true, Samples: 1, Reset: true,
		}
		if diff := cmp.Diff(want, last, cmp.FilterPath(func(p cmp.Path) bool {
			return slices.Contains([]string{".stepped", ".steps", ".perStep", ".labelsOfFeed"}, p.Last().String())
		}, cmp.Ignore())); diff != "" {
			t.Errorf("%s: last batch (-want +got):\n%s", from, diff)
		}
		if n, err := d.BatchCount(BatchOptions{Size: 2}); n != 3 || err != nil {
			t.Errorf("%s: %d batches, %v, want 3", from, n, err)
		}
	}
}

// A permutation: every sample once, its own row and label, another order in another epoch or with another seed, the same again otherwise.
func TestBatchesShuffled(t *testing.T) {
	const n = 50
	for from, d := range open(t, model(value("x", onnx.Float, -1, 2)), writeNPZ(t, tens(n)), Options{Labels: "label"}) {
		order := func(o BatchOptions) (out []int) {
			o.Size, o.Shuffle = 8, true
			for _, b := range epoch(t, d, o) {
				x, l := b.Feeds["x"].Data.([]float32), b.Labels.Data.([]int64)
				for i, k := range b.Index {
					if x[2*i] != float32(10*k) || x[2*i+1] != float32(10*k+1) || l[i] != int64(100+k) {
						t.Fatalf("%s: sample %d has the row %v and the label %d", from, k, x[2*i:2*i+2], l[i])
					}
				}
				out = append(out, b.Index...)
			}
			return out
		}
		first := order(BatchOptions{Seed: 1})
		sorted := slices.Sorted(slices.Values(first))
		for k, v := range sorted {
			if k != v || len(sorted) != n {
				t.Fatalf("%s: an epoch holds %v", from, sorted)
			}
		}
		if again := order(BatchOptions{Seed: 1}); !slices.Equal(first, again) {
			t.Errorf("%s: the same epoch again: %v, before %v", from, again, first)
		}
		for _, o := range []BatchOptions{{Seed: 2}, {Seed: 1, Epoch: 1}} {
			if other := order(o); slices.Equal(first, other) {
				t.Errorf("%s: %+v has the order of seed 1, epoch 0", from, o)
			}
		}
		if rest := order(BatchOptions{Seed: 1, Skip: 3}); !slices.Equal(first[24:], rest) {
			t.Errorf("%s: behind 3 batches: %v, want %v", from, rest, first[24:])
		}
	}
}

// A model that takes 4 rows at once gets 4 in every run; the batch of 6 takes two runs, the last batch of 3 one. What fills up counts for nothing.
func TestBatchesOfAFixedBatchModel(t *testing.T) {
	for from, d := range open(t, model(value("x", onnx.Float, 4, 2)), writeNPZ(t, tens(9)), Options{Labels: "label"}) {
		type run struct {
			Index        []int
			Weights      []float32
			Number, Run  int
			Last         bool
			Samples      int
			First, Label float64 // of the run's last row
		}
		var got []run
		for _, b := range epoch(t, d, BatchOptions{Size: 6}) {
			if dims := b.Feeds["x"].Dims; !slices.Equal(dims, []int{4, 2}) {
				t.Errorf("%s: a run of %v", from, dims)
			}
			got = append(got, run{b.Index, b.Weights, b.Number, b.Run, b.Last, b.Samples, element(b.Feeds["x"], 6), element(b.Labels, 3)})
		}
		want := []run{
			{[]int{0, 1, 2, 3}, []float32{1, 1, 1, 1}, 0, 0, false, 6, 30, 103},
			{[]int{4, 5, 0, 1}, []float32{1, 1, 0, 0}, 0, 1, true, 6, 10, 101},
			{[]int{6, 7, 8, 0}, []float32{1, 1, 1, 0}, 1, 0, true, 3, 0, 100},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", from, diff)
		}
		// Fewer samples than the model takes.
		if train, _, err := d.Split(context.Background(), 0.7, 1); err != nil || train.Len() != 3 {
			t.Fatal(err)
		} else if b := epoch(t, train, BatchOptions{}); len(b) != 1 || len(b[0].Index) != 4 || b[0].Samples != 3 {
			t.Errorf("%s: 3 samples make the runs %v", from, indices(b))
		}
	}
}

// Where the batch axis is not known, samples are run one by one.
func TestBatchesOfSamplesThatAreNotJoined(t *testing.T) {
	m := model(value("x", onnx.Float, 1, 2))
	for from, d := range open(t, m, writeNPZ(t, map[string]*onnx.Array{"x": ramp(5, 1, 2)}), Options{}) {
		var got []string
		for _, b := range epoch(t, d, BatchOptions{Size: 3}) {
			got = append(got, fmt.Sprint(b.Index, b.Number, b.Run, b.Last, b.Samples, b.Feeds["x"].Data))
		}
		want := []string{"[0] 0 0 false 3 [0 1]", "[1] 0 1 false 3 [2 3]", "[2] 0 2 true 3 [4 5]", "[3] 1 0 false 2 [6 7]", "[4] 1 1 true 2 [8 9]"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", from, diff)
		}
	}
}

// Streams of 5 steps in windows of 2: the step axis is in front, the windows of the same streams follow each other, labels and lengths go along.
// Element [n, s, b, i] of the array is 10·(5n + s) + i.
func TestBatchesOfStreams(t *testing.T) {
	x := &onnx.Array{Type: onnx.Float, Dims: []int{3, 5, 1, 2}}
	var v []float32
	for k := range 15 {
		v = append(v, float32(10*k), float32(10*k+1))
	}
	x.Data = v
	var steps []int64
	for k := range int64(15) {
		steps = append(steps, k)
	}
	arrays := map[string]*onnx.Array{"x": x, "rate": ints(nil, 16), "steps": ints([]int{3, 5}, steps...), "len": ints([]int{3}, 5, 3, 1)}
	m := model(value("x", onnx.Float, -1, 2), value("rate", onnx.Int64), value("h", onnx.Float, 1, 8))
	o := Options{States: map[string]string{"hN": "h"}, BatchAxis: map[string]int{"x": 0}, Labels: "steps", Lengths: "len"}
	for from, d := range open(t, m, writeNPZ(t, arrays), o) {
		batches := epoch(t, d, BatchOptions{Size: 2, Window: 2})
		var got []string
		for _, b := range batches {
			classes, err := b.Classes()
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(b.Index, b.Number, b.Last, b.Start, b.Reset, b.Steps(), b.Feeds["x"].Dims, b.Lengths, classes, b.Feeds["rate"].Data))
		}
		want := []string{
			"[0 1] 0 true 0 true 2 [2 2 2] [2 2] [0 1 5 6] [16]",
			"[0 1] 1 true 2 false 2 [2 2 2] [2 1] [2 3 7 -1] [16]",
			"[0 1] 2 true 4 false 1 [1 2 2] [1 0] [4 -1] [16]",
			"[2] 3 true 0 true 2 [2 1 2] [1] [10 -1] [16]",
			"[2] 4 true 2 false 2 [2 1 2] [0] [-1 -1] [16]",
			"[2] 5 true 4 false 1 [1 1 2] [0] [-1] [16]",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", from, diff)
		}
		at := batches[1].At(1) // step 3 of the streams 0 and 1
		if diff := cmp.Diff(&onnx.Array{Type: onnx.Float, Dims: []int{2, 2}, Data: []float32{30, 31, 80, 81}}, at["x"]); diff != "" {
			t.Errorf("%s: one step (-want +got):\n%s", from, diff)
		}
		if diff := cmp.Diff(arrays["rate"], at["rate"], cmp.Comparer(func(a, b []int) bool { return slices.Equal(a, b) })); diff != "" {
			t.Errorf("%s: constant (-want +got):\n%s", from, diff)
		}
		// Whole streams, and runs of one stream: what Feeds says of each step is what At gives.
		o := o
		o.BatchAxis = nil
		one, err := Open(context.Background(), d.path, m, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range epoch(t, one, BatchOptions{Size: 2}) {
			if b.Steps() != 5 || b.Run != b.Index[0]%2 || b.Last != (b.Index[0] != 0) {
				t.Errorf("%s: %d steps, run %d, last %v of stream %d", from, b.Steps(), b.Run, b.Last, b.Index[0])
			}
			for k := range b.Steps() {
				feeds, err := d.Feeds(b.Index[0], b.Index[0]+1, k)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(feeds, b.At(k)); diff != "" {
					t.Errorf("%s: step %d (-want +got):\n%s", from, k, diff)
				}
			}
		}
	}
}

func TestBatchesRefuse(t *testing.T) {
	plain := model(value("x", onnx.Float, -1, 2))
	nan := tens(4)
	nan["x"].Data.([]float32)[5] = float32(math.NaN())
	half := map[string]*onnx.Array{"x": {Type: onnx.Float16, Dims: []int{2, 2, 1}, Data: []uint16{0, 0, 0, 0xfc00}}}
	streams := ramp(2, 3, 1, 2)
	streams.Data.([]float32)[2*3+3] = float32(math.Inf(1))
	tests := map[string]struct {
		model  *onnx.Model
		arrays map[string]*onnx.Array
		opts   Options
		batch  BatchOptions
		want   []string
	}{
		"larger than the set": {plain, tens(4), Options{}, BatchOptions{Size: 5}, []string{"batch of 5", "set of 4"}},
		"negative":            {plain, tens(4), Options{}, BatchOptions{Size: -1}, []string{"-1 samples"}},
		"windows, no streams": {plain, tens(4), Options{}, BatchOptions{Window: 2}, []string{"windows of 2 steps", "--state"}},
		"NaN":                 {plain, nan, Options{}, BatchOptions{Size: 3}, []string{"data.npz: x", "sample 2", "NaN"}},
		"float16 infinity":    {model(value("x", onnx.Float, 2, -1, 1)), half, Options{BatchAxis: map[string]int{"x": 1}}, BatchOptions{}, []string{"sample 1", "[1, 1, 0]", "-Inf"}},
		"infinity in a step":  {model(value("x", onnx.Float, 1, 2), value("h", onnx.Float, 1, 8)), map[string]*onnx.Array{"x": streams}, Options{States: map[string]string{"hN": "h"}}, BatchOptions{Window: 1}, []string{"sample 1", "step 1", "+Inf"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for from, d := range open(t, tt.model, writeNPZ(t, tt.arrays), tt.opts) {
				err := batchesError(d, tt.batch)
				if err == nil {
					t.Fatalf("%s: accepted", from)
				}
				for _, w := range tt.want {
					if !strings.Contains(err.Error(), w) {
						t.Errorf("%s: error %q does not say %q", from, err, w)
					}
				}
				finite := d.CheckFinite(context.Background())
				if bad := strings.Contains(err.Error(), "finite"); bad != (finite != nil) {
					t.Errorf("%s: Batches says %v, CheckFinite %v", from, err, finite)
				}
			}
		})
	}
}

func TestBatchesCancelled(t *testing.T) {
	d := open(t, model(value("x", onnx.Float, -1, 2)), writeNPZ(t, tens(4)), Options{})["memory"]
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n := 0
	for _, err := range d.Batches(ctx, BatchOptions{Size: 1}) {
		if n++; n == 2 && err != context.Canceled || n > 2 {
			t.Fatalf("batch %d: %v", n, err)
		}
		cancel()
	}
	if n != 2 {
		t.Errorf("%d batches", n)
	}
}

// The labels that each layout of data can carry.
func TestLabelsOfEachLayout(t *testing.T) {
	npy := func(name string, a *onnx.Array) string {
		var b strings.Builder
		if err := WriteNPY(&b, a); err != nil {
			t.Fatal(err)
		}
		return writeFile(t, name, b.String())
	}
	x := model(value("x", onnx.Float, -1, 2))
	dir := t.TempDir()
	for k, classes := range [][]int64{{3, 1}, {2, 0}} {
		set := filepath.Join(dir, fmt.Sprintf("test_data_set_%d", k))
		writeTensor(t, filepath.Join(set, "input_0.pb"), "x", ramp(2, 2))
		writeTensor(t, filepath.Join(set, "class.pb"), "", ints([]int{2}, classes...))
		writeTensor(t, filepath.Join(set, "output_1.pb"), "", ramp(1, 3))
	}
	tests := map[string]struct {
		path   string
		labels string
		dims   []int
		want   []int
	}{
		"npz":                        {writeNPZ(t, map[string]*onnx.Array{"x": ramp(2, 2), "l": ints([]int{2}, 1, 0)}), "l", []int{1}, []int{0}},
		"npz, float":                 {writeNPZ(t, map[string]*onnx.Array{"x": ramp(2, 2), "l": ramp(2)}), "l", []int{1}, []int{1}},
		"npz, bool":                  {writeNPZ(t, map[string]*onnx.Array{"x": ramp(2, 2), "l": {Type: onnx.Bool, Dims: []int{2, 1}, Data: []bool{false, true}}}), "l", []int{1, 1}, []int{1}},
		"npz, float16, per step":     {writeNPZ(t, map[string]*onnx.Array{"x": ramp(2, 2), "l": {Type: onnx.Float16, Dims: []int{2, 3}, Data: []uint16{0, 0, 0, 0x3c00, 0x4000, 0xbc00}}}), "l", []int{1, 3}, []int{1, 2, -1}},
		"npy":                        {npy("x.npy", ramp(2, 2)), npy("y.npy", ints([]int{2}, 5, 6)), []int{1}, []int{6}},
		"csv, header":                {writeFile(t, "a.csv", "a,l,b\n1,0,2\n3,4,5\n"), "l", []int{1}, []int{4}},
		"csv, last column":           {writeFile(t, "a.csv", "1,2,7\n3,4,8\n"), "-1", []int{1}, []int{8}},
		"csv, first column":          {writeFile(t, "a.csv", "7,1,2\n9,3,4\n"), "1", []int{1}, []int{9}},
		"folder, a file":             {dir, "class", []int{2}, []int{2, 0}},
		"folder, the file's name":    {dir, "class.pb", []int{2}, []int{2, 0}},
		"folder, the model's output": {dir, "hN", []int{1, 3}, []int{0, 1, 2}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for from, d := range open(t, x, tt.path, Options{Labels: tt.labels}) {
				batches := epoch(t, d, BatchOptions{Size: 1})
				b := batches[len(batches)-1]
				got, err := b.Classes()
				if err != nil || !slices.Equal(got, tt.want) || !slices.Equal(b.Labels.Dims, tt.dims) || len(batches) != 2 {
					t.Errorf("%s: %d batches; labels %v of shape %v (%v), want %v of %v", from, len(batches), got, b.Labels.Dims, err, tt.want, tt.dims)
				}
				if err := d.CheckTargets(context.Background(), nil); err != nil {
					t.Errorf("%s: as targets: %v", from, err)
				}
			}
		})
	}
	for name, tt := range map[string]struct {
		path string
		opts Options
		want string
	}{
		"npy without a file":     {npy("x.npy", ramp(2, 2)), Options{Labels: "label"}, "the path of another .npy"},
		"npy, count":             {npy("x.npy", ramp(2, 2)), Options{Labels: npy("y.npy", ramp(3))}, "shape [3], there are 2 samples"},
		"npy, lengths":           {npy("x.npy", ramp(2, 2)), Options{Lengths: "l"}, "from an .npz only"},
		"folder, no file":        {dir, Options{Labels: "z"}, `a file of that name (z.pb) nor an output of the model (it has "y", "hN")`},
		"folder, path":           {dir, Options{Labels: "../test_data_set_0/class"}, "neither a file"},
		"folder, missing output": {dir, Options{Labels: "y"}, "output_0.pb"},
		"folder, lengths":        {dir, Options{Lengths: "l"}, "from an .npz only"},
		"csv, column 4":          {writeFile(t, "a.csv", "1,2,7\n"), Options{Labels: "4"}, "column 4: there are 3 columns"},
		"csv, column 0":          {writeFile(t, "a.csv", "1,2,7\n"), Options{Labels: "0"}, "column 0"},
	} {
		if _, err := Open(context.Background(), tt.path, x, tt.opts); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v does not say %q", name, err, tt.want)
		}
	}
}

func TestStreamFoldersCarryLabels(t *testing.T) {
	dir := t.TempDir()
	writeTensor(t, filepath.Join(dir, "input_0.pb"), "x", ramp(4, 1, 2))
	writeTensor(t, filepath.Join(dir, "output_0.pb"), "y", ramp(4, 1))
	m := model(value("x", onnx.Float, 1, 2), value("h", onnx.Float, 1, 8))
	for from, d := range open(t, m, dir, Options{States: map[string]string{"hN": "h"}, Labels: "y"}) {
		got := epoch(t, d, BatchOptions{Window: 3})
		if b := got[1]; len(got) != 2 || !reflect.DeepEqual(b.Labels, &onnx.Array{Type: onnx.Float, Dims: []int{1, 1, 1}, Data: []float32{3}}) || !reflect.DeepEqual(b.At(0)["x"].Data, []float32{6, 7}) {
			t.Errorf("%s: %d batches, the last with the labels %v and feeds %v", from, len(got), b.Labels, b.At(0))
		}
	}
}

// Training data made with NumPy by others: each epoch holds every sample once with its own label, both splits keep the shares of the classes, and streams
// come in windows. Where the arrays do not fit, the batches are the same.
func TestBatchesOfSharedData(t *testing.T) {
	const root = "../../../shared"
	if _, err := os.Stat(root + "/data"); err != nil {
		t.Skip("no folder ../shared/data")
	}
	tests := []struct {
		model, data    string
		opts           Options
		batch          BatchOptions
		classes        int
		samples, count int
		dims           []int // of the first feed
	}{
		{"data/holistic/dense_lstm64.onnx", "data/holistic/train.npz", Options{Labels: "label"}, BatchOptions{}, 7, 360, 12, []int{32, 30, 1662}},
		{"data/fsdd/dense_lstm128.onnx", "data/fsdd/train.npz", Options{Labels: "label"}, BatchOptions{Size: 64}, 10, 2700, 43, []int{64, 12, 1032}},
		{"data/moving/dense_lstm64.onnx", "data/moving/test.npz", Options{Labels: "label"}, BatchOptions{}, 10, 800, 25, []int{32, 10, 4096}},
		{"models/visible/dtln_model_1/model.onnx", "data/speech/dtln_model_1-calibration.npz", Options{States: map[string]string{"tf_op_layer_stack_2": "input_3"}}, BatchOptions{Size: 4, Window: 50}, 0, 24, 48, []int{50, 1, 1, 257}},
		{"models/visible/silero_vad_v6/model.onnx", "data/speech/silero-calibration.npz", Options{States: map[string]string{"stateN": "state"}, BatchAxis: map[string]int{"input": 0}}, BatchOptions{Size: 8, Window: 16}, 0, 24, 21, []int{16, 8, 576}},
		{"models/visible/byte_sb_bidi_lstm/model.onnx", "data/text/byte_sb-calibration.npz", Options{}, BatchOptions{}, 0, 553, 18, []int{32, 128}},
	}
	for _, tt := range tests {
		t.Run(tt.data, func(t *testing.T) {
			m, err := onnx.OpenFile(context.Background(), filepath.Join(root, tt.model), onnx.OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			raw, err := ReadNPZFile(filepath.Join(root, tt.data))
			if err != nil {
				t.Fatal(err)
			}
			tt.batch.Shuffle = true
			sums := make(map[string][]string)
			for from, d := range open(t, m, filepath.Join(root, tt.data), tt.opts) {
				if n, err := d.BatchCount(tt.batch); n != tt.count || err != nil || d.Len() != tt.samples {
					t.Fatalf("from %s: %d samples in %d batches, %v; want %d in %d", from, d.Len(), n, err, tt.samples, tt.count)
				}
				seen := make([]int, d.Len())
				last := -1
				for b, err := range d.Batches(context.Background(), tt.batch) {
					if err != nil {
						t.Fatal(err)
					}
					for i, k := range b.Index {
						if b.Reset {
							seen[k]++
						}
						if tt.classes > 0 && b.Labels.Data.([]int64)[i] != raw["label"].Data.([]int64)[k] {
							t.Fatalf("from %s: sample %d has another sample's label", from, k)
						}
					}
					first := b.Feeds[d.inputs[0].name]
					if len(sums[from]) == 0 && !slices.Equal(first.Dims, tt.dims) {
						t.Errorf("from %s: feed %v, want %v", from, first.Dims, tt.dims)
					}
					sums[from] = append(sums[from], fmt.Sprint(b.Index, b.Number, b.Run, b.Start, element(first, 77)))
					last = b.Number
				}
				if slices.ContainsFunc(seen, func(n int) bool { return n != 1 }) || last != tt.count-1 {
					t.Errorf("from %s: samples seen %v times, last batch %d", from, seen, last)
				}
				if tt.classes == 0 {
					continue
				}
				train, held, err := d.Split(context.Background(), 0.1, 1)
				if err != nil {
					t.Fatal(err)
				}
				all, err := d.Classes(context.Background(), tt.classes)
				if err != nil {
					t.Fatal(err)
				}
				part, err := held.Classes(context.Background(), tt.classes)
				if err != nil || train.Len()+held.Len() != d.Len() {
					t.Fatal(err)
				}
				for k, n := range part.Counts {
					if share := float64(all.Counts[k]) / 10; math.Abs(float64(n)-share) >= 1 {
						t.Errorf("from %s: %d samples of class %d are held back, a tenth is %v", from, n, k, share)
					}
				}
				if _, err := d.Classes(context.Background(), tt.classes-1); err == nil {
					t.Errorf("from %s: %d classes are enough", from, tt.classes-1)
				}
			}
			if diff := cmp.Diff(sums["memory"], sums["file"]); diff != "" {
				t.Errorf("batches from memory (-) and from the file (+) differ:\n%s", diff)
			}
		})
	}
}

// Inputs that are not wanted are not read, not even for numbers that are not finite; all else of a batch is as ever.
func TestBatchesWithout(t *testing.T) {
	arrays := tens(5)
	arrays["z"] = &onnx.Array{Type: onnx.Float, Dims: []int{5, 1}, Data: []float32{1, 2, float32(math.NaN()), 4, 5}}
	for from, d := range open(t, model(value("x", onnx.Float, -1, 2), value("z", onnx.Float, -1, 1)), writeNPZ(t, arrays), Options{Labels: "label"}) {
		o := BatchOptions{Size: 2, Shuffle: true, Seed: 1}
		if batchesError(d, o) == nil {
			t.Errorf("%s: NaN was not found", from)
		}
		o.Without = []string{"x", "z"}
		none := epoch(t, d, o)
		o.Without = []string{"z"}
		for k, b := range epoch(t, d, o) {
			if len(b.Feeds) != 1 || b.Feeds["x"] == nil || len(none[k].Feeds) != 0 {
				t.Errorf("%s: batch %d has %d feeds, and %d without both", from, k, len(b.Feeds), len(none[k].Feeds))
			}
			if d := cmp.Diff(b.Labels, none[k].Labels); d != "" || !slices.Equal(b.Index, none[k].Index) {
				t.Errorf("%s: batch %d of samples %v and %v: %s", from, k, b.Index, none[k].Index, d)
			}
		}
	}
}
