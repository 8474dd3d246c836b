package runtime

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/trconvert/trconvert/internal/engine/ort"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/onnxpb"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// benchModelsVariable names more models to measure: FILE:INPUT=D0xD1x…,… one after the other, apart by spaces; the inputs are
// filled with noise.
const benchModelsVariable = "TRCONVERT_BENCH_MODELS"

const sharedModels = "../../shared/models/visible"

// benchCase is a model file and what it is fed.
type benchCase struct {
	name, file string
	feeds      map[string]*Tensor
}

// benchCases are a plain LSTM layer, models by others with their stored inputs, and the files the environment names.
func benchCases(b *testing.B) []benchCase {
	b.Helper()
	cases := []benchCase{lstmCase(b, 32, 64, 256, 256)}
	folders, err := os.ReadDir(sharedModels)
	if err != nil {
		b.Logf("no folder %s", sharedModels)
	}
	for _, f := range folders {
		dir := filepath.Join(sharedModels, f.Name())
		feeds, err := storedFeeds(filepath.Join(dir, "io"))
		if err != nil {
			b.Fatal(err)
		}
		cases = append(cases, benchCase{f.Name(), filepath.Join(dir, "model.onnx"), feeds})
	}
	for _, spec := range strings.Fields(os.Getenv(benchModelsVariable)) {
		file, inputs, _ := strings.Cut(spec, ":")
		c := benchCase{strings.TrimSuffix(filepath.Base(file), ".onnx"), file, map[string]*Tensor{}}
		for _, in := range strings.Split(inputs, ",") {
			name, shape, ok := strings.Cut(in, "=")
			var dims []int
			for _, d := range strings.Split(shape, "x") {
				n, err := strconv.Atoi(d)
				if ok = ok && err == nil; ok {
					dims = append(dims, n)
				}
			}
			if !ok {
				b.Fatalf("%s: %q is not FILE:INPUT=D0xD1x…,…", benchModelsVariable, spec)
			}
			c.feeds[name] = f32(dims, noise(elements(dims), 1)...)
		}
		cases = append(cases, c)
	}
	return cases
}

// noise is standard normal times scale.
func noise(n int, scale float64) []float32 {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	x := make([]float32, n)
	for k := range x {
		x[k] = float32(scale * r.NormFloat64())
	}
	return x
}

// lstmCase is one LSTM node, T steps of a batch of B, I inputs, H units.
func lstmCase(b *testing.B, t, batch, in, h int) benchCase {
	b.Helper()
	w := func(name string, rows, cols int) *onnxpb.TensorProto {
		return initFloats(name, []int64{1, int64(rows), int64(cols)}, noise(rows*cols, 1/math.Sqrt(float64(cols)))...)
	}
	g := graph([]*onnxpb.ValueInfoProto{declared("x", onnx.Float, -1, -1, int64(in))}, []*onnxpb.ValueInfoProto{declared("y", onnx.Float, -1, 1, -1, int64(h))},
		[]*onnxpb.TensorProto{w("w", 4*h, in), w("r", 4*h, h), initFloats("b", []int64{1, int64(8 * h)}, noise(8*h, 0.1)...)},
		node("LSTM", "x w r b", "y", intAttr("hidden_size", int64(h))))
	data, err := proto.Marshal(modelProto(g))
	if err != nil {
		b.Fatal(err)
	}
	file := filepath.Join(b.TempDir(), "lstm.onnx")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		b.Fatal(err)
	}
	return benchCase{fmt.Sprintf("lstm_T%d_B%d_%d_%d", t, batch, in, h), file, map[string]*Tensor{"x": f32([]int{t, batch, in}, noise(t*batch*in, 1)...)}}
}

// storedFeeds reads the inputs that a model's io folder keeps.
func storedFeeds(dir string) (map[string]*Tensor, error) {
	data, err := os.ReadFile(filepath.Join(dir, "meta.json"))
	if err != nil {
		return nil, err
	}
	var meta struct{ Inputs []struct{ Name, File string } }
	if err := json.Unmarshal(data, &meta); err != nil {
		return nil, err
	}
	feeds := map[string]*Tensor{}
	for _, in := range meta.Inputs {
		f, err := os.Open(filepath.Join(dir, in.File))
		if err != nil {
			return nil, err
		}
		a, err := dataset.ReadNPY(f, in.File)
		f.Close()
		if err != nil {
			return nil, err
		}
		feeds[in.Name] = a
	}
	return feeds, nil
}

// program compiles the case's file for one thread.
func (c benchCase) program(b *testing.B) *Program {
	b.Helper()
	m, err := onnx.OpenFile(context.Background(), c.file, onnx.OpenOptions{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { m.Close() })
	return compileModel(b, m, Options{Threads: 1})
}

func BenchmarkRun(b *testing.B) {
	for _, c := range benchCases(b) {
		b.Run(c.name, func(b *testing.B) {
			p := c.program(b)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Run(context.Background(), c.feeds); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkBesideONNXRuntime runs each model in ours and in ONNX Runtime in turn, both on one thread, and reports in microseconds the
// medians of the clock's time and, where that is known, of the thread's own, and the ratios ours : theirs. On a machine that has other
// work, the thread's time is the one to compare. Both are called from Go with the same arrays; a call of ONNX Runtime costs some
// microseconds of glue beyond the model, those of the case "glue", which does nothing.
func BenchmarkBesideONNXRuntime(b *testing.B) {
	if os.Getenv(ort.LibraryVariable) == "" {
		b.Skip(ort.LibraryVariable + " is not set")
	}
	engine, err := ort.Open(ort.Options{Threads: 1})
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range append(benchCases(b), glueCase(b)) {
		b.Run(c.name, func(b *testing.B) {
			goruntime.LockOSThread()
			defer goruntime.UnlockOSThread()
			ctx := context.Background()
			p := c.program(b)
			s, err := engine.Load(ctx, c.file)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			var clock, thread [2][]float64
			one := func(k int, run func() (map[string]*Tensor, error)) {
				start, used := time.Now(), threadTime()
				if _, err := run(); err != nil {
					b.Fatal(err)
				}
				thread[k] = append(thread[k], float64((threadTime()-used).Nanoseconds())/1e3)
				clock[k] = append(clock[k], float64(time.Since(start).Nanoseconds())/1e3)
			}
			for b.Loop() {
				one(0, func() (map[string]*Tensor, error) { return p.Run(ctx, c.feeds) })
				one(1, func() (map[string]*Tensor, error) { return s.Run(ctx, c.feeds) })
			}
			b.ReportMetric(0, "ns/op")
			report := func(suffix string, times [2][]float64) {
				ours, theirs := median(times[0]), median(times[1])
				b.ReportMetric(ours, "ours-µs"+suffix)
				b.ReportMetric(theirs, "ort-µs"+suffix)
				b.ReportMetric(ours/theirs, "ratio"+suffix)
			}
			report("", clock)
			report("-thread", thread)
		})
	}
}

func median(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}

// glueCase is a model of one Identity node.
func glueCase(b *testing.B) benchCase {
	b.Helper()
	g := graph([]*onnxpb.ValueInfoProto{declared("x", onnx.Float, -1)}, []*onnxpb.ValueInfoProto{declared("y", onnx.Float, -1)}, nil, node("Identity", "x", "y"))
	data, err := proto.Marshal(modelProto(g))
	if err != nil {
		b.Fatal(err)
	}
	file := filepath.Join(b.TempDir(), "glue.onnx")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		b.Fatal(err)
	}
	return benchCase{"glue", file, map[string]*Tensor{"x": f32([]int{1}, 1)}}
}
