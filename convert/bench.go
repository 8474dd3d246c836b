package convert

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/trconvert/trconvert/internal/engine/ort"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
)

// BenchSchema is the schema of a [Benchmark].
const BenchSchema = "trconvert.bench/v1"

// BenchOptions of [Bench].
type BenchOptions struct {
	Models  []string // one or more with the same inputs; the first is what the others are compared with
	Batch   int      // 0: 1
	Steps   int      // 0: 32
	Library string   // of ONNX Runtime; "": it is not measured
	Files   Files
	Threads int // of each engine; 0: its own choice

	Progress func(done, most int) // may be nil
}

// Benchmark is how long models take.
type Benchmark struct {
	Schema  string `json:"schema"`
	Batch   int    `json:"batch"` // of the recurrent layers, as measured
	Steps   int    `json:"steps"` // of the recurrent layers, as measured
	Threads int    `json:"threads"`
	// ONNXRuntime is the library's version, "" where it was not measured.
	ONNXRuntime string        `json:"onnxruntime"`
	Inputs      []BenchInput  `json:"inputs"`
	Results     []BenchResult `json:"results"`
	Warnings    []Warning     `json:"warnings"`
}

// BenchInput is the shape of one input.
type BenchInput struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Dims []int  `json:"dims"`
}

// BenchResult is one model on one engine; times are in milliseconds.
type BenchResult struct {
	FileStat
	Engine  string  `json:"engine"`
	Load    float64 `json:"load_ms"`    // from the file to a model that is ready to run, the median of three
	First   float64 `json:"first_ms"`   // the first run, in which our runtime folds constants and packs weights
	Median  float64 `json:"median_ms"`  // of the runs after it
	Fastest float64 `json:"fastest_ms"` // of these
	Runs    int     `json:"runs"`
	Speedup float64 `json:"speedup"` // median of the first model on the same engine / this median
}

const (
	benchRounds  = 200             // most runs of a model on an engine
	benchLeast   = 7               // fewest
	benchTime    = 1 * time.Second // after this time for each of them no further round begins
	benchLoads   = 3
	defaultSteps = 32
)

// Bench measures models on the same random inputs, in our runtime and in ONNX Runtime where its library is given. The models take turns run by run, so that
// a busy machine slows all of them alike. Sizes that a model fixes win over Batch and Steps, with a warning.
func Bench(ctx context.Context, o BenchOptions) (*Benchmark, error) {
	if o.Batch == 0 {
		o.Batch = 1
	}
	if o.Steps == 0 {
		o.Steps = defaultSteps
	}
	switch {
	case len(o.Models) == 0:
		return nil, &OptionError{Option: "MODEL", What: "no model is named"}
	case o.Batch < 1 || o.Steps < 1:
		return nil, &OptionError{Option: "--batch, --steps", What: fmt.Sprintf("%d and %d: both are 1 or more", o.Batch, o.Steps)}
	}
	b := &bench{o: o, report: &Benchmark{Schema: BenchSchema, Threads: o.Threads, Inputs: []BenchInput{}, Results: []BenchResult{}, Warnings: []Warning{}}}
	defer b.close()
	for _, step := range []func(context.Context) error{b.open, b.shape, b.load, b.measure} {
		if err := step(ctx); err != nil {
			return nil, ended(ctx, b.at, err)
		}
	}
	return b.report, nil
}

// bench is one call of Bench at work.
type bench struct {
	o       BenchOptions
	report  *Benchmark
	at      string // the model at work
	models  []*onnx.Model
	engine  *ort.Engine
	feeds   map[string]*onnx.Array
	targets []*target
}

// target is one model on one engine.
type target struct {
	result BenchResult
	run    runner
	stop   func()
	times  []float64
}

func (b *bench) close() {
	for _, t := range b.targets {
		if t.stop != nil {
			t.stop()
		}
	}
	for _, m := range b.models {
		m.Close()
	}
}

func (b *bench) warn(code, path, text string) {
	b.report.Warnings = append(b.report.Warnings, Warning{code, path, text})
}

func (b *bench) open(ctx context.Context) error {
	for _, path := range b.o.Models {
		b.at = path
		m, err := onnx.OpenFile(ctx, path, onnx.OpenOptions{FollowLinks: b.o.Files.FollowLinks})
		if err != nil {
			return err
		}
		b.models = append(b.models, m)
	}
	b.at = b.o.Models[0]
	if b.o.Library == "" {
		return nil
	}
	var err error
	if b.engine, err = ort.Open(ort.Options{Library: b.o.Library, Threads: b.o.Threads}); err != nil {
		return err
	}
	b.report.ONNXRuntime = b.engine.Version()
	return nil
}

// shape finds inputs that the first model accepts.
func (b *bench) shape(ctx context.Context) error {
	run, inputs, err := b.prober(ctx)
	if err != nil {
		return err
	}
	s, err := findSizes(ctx, inputs, b.models[0], run, b.o.Batch, b.o.Steps)
	if err != nil {
		return fmt.Errorf("convert: %q: %w", b.o.Models[0], err)
	}
	b.feeds, b.report.Batch, b.report.Steps = s.feeds, s.batch, s.steps
	if s.batch != b.o.Batch || s.steps != b.o.Steps {
		b.warn("sizes", b.o.Models[0], fmt.Sprintf("its recurrent layers were run on %d sequences of %d steps, for the model does not take %d of %d", s.batch, s.steps, b.o.Batch, b.o.Steps))
	}
	for _, name := range sortedNames(b.feeds) {
		a := b.feeds[name]
		b.report.Inputs = append(b.report.Inputs, BenchInput{name, a.Type.String(), notNil(a.Dims)})
	}
	return nil
}

// prober runs the first model in the engine that has its operators.
func (b *bench) prober(ctx context.Context) (probe, []*onnx.ValueInfo, error) {
	run, inputs, err := observedRun(ctx, b.models[0], b.o.Threads)
	var missing *runtime.UnsupportedError
	if b.engine == nil || !errors.As(err, &missing) {
		return run, inputs, err
	}
	session, err := b.engine.Load(ctx, b.o.Models[0])
	if err != nil {
		return nil, nil, err
	}
	b.targets = append(b.targets, &target{stop: session.Close})
	return func(ctx context.Context, feeds map[string]*onnx.Array) (steps, batch int, err error) {
		_, err = session.Run(ctx, feeds)
		return 0, 0, err
	}, trueInputs(b.models[0]), nil
}

// load makes every model ready to run, and runs it once.
func (b *bench) load(ctx context.Context) error {
	b.close()
	paths := b.o.Models
	b.models, b.targets = nil, nil
	for _, path := range paths {
		b.at = path
		engines := []string{"go"}
		if b.engine != nil {
			engines = append(engines, "onnxruntime")
		}
		for _, engine := range engines {
			t, err := b.target(ctx, path, engine)
			var missing *runtime.UnsupportedError
			if errors.As(err, &missing) && b.engine != nil {
				b.warn("operator-missing", path, "our runtime cannot run it: "+missing.Error())
				continue
			}
			if err != nil {
				return err
			}
			b.targets = append(b.targets, t)
		}
	}
	return nil
}

func (b *bench) target(ctx context.Context, path, engine string) (*target, error) {
	t := &target{result: BenchResult{FileStat: FileStat{File: path}, Engine: engine}}
	var loads []float64
	for range benchLoads {
		if t.stop != nil {
			t.stop()
		}
		start := time.Now()
		if err := b.start(ctx, t, path, engine); err != nil {
			return nil, err
		}
		loads = append(loads, since(start))
	}
	t.result.Load = median(loads)
	start := time.Now()
	if _, err := t.run(ctx, b.feeds); err != nil {
		t.stop()
		return nil, fmt.Errorf("convert: %q on engine %s: the inputs of %q do not run: %w", path, engine, b.o.Models[0], err)
	}
	t.result.First = since(start)
	return t, nil
}

// start opens a model from its file on an engine.
func (b *bench) start(ctx context.Context, t *target, path, engine string) error {
	if engine == "onnxruntime" {
		session, err := b.engine.Load(ctx, path)
		if err != nil {
			return err
		}
		t.run, t.stop = session.Run, session.Close
	}
	m, err := onnx.OpenFile(ctx, path, onnx.OpenOptions{FollowLinks: b.o.Files.FollowLinks})
	if err != nil {
		return err
	}
	t.result.Bytes, t.result.Parameters = m.FileBytes(), m.Parameters()
	if engine == "onnxruntime" {
		return m.Close()
	}
	t.stop = func() { m.Close() }
	p, err := runtime.Compile(ctx, m, runtime.Options{Threads: b.o.Threads})
	if err != nil {
		m.Close()
		return err
	}
	t.run = p.Run
	return nil
}

// measure runs the targets in turns.
func (b *bench) measure(ctx context.Context) error {
	if len(b.targets) == 0 {
		return errors.New("convert: no engine runs any of the models")
	}
	start, limit := time.Now(), time.Duration(len(b.targets))*benchTime
	rounds := 0
	for ; rounds < benchRounds && (rounds < benchLeast || time.Since(start) < limit); rounds++ {
		for _, t := range b.targets {
			b.at = t.result.File
			begin := time.Now()
			if _, err := t.run(ctx, b.feeds); err != nil {
				return fmt.Errorf("convert: %q on engine %s: %w", t.result.File, t.result.Engine, err)
			}
			t.times = append(t.times, since(begin))
		}
		if b.o.Progress != nil {
			done := float64(time.Since(start)) / float64(limit)
			b.o.Progress(int(100*max(min(1, done), float64(rounds+1)/benchRounds)), 100)
		}
	}
	first := make(map[string]float64)
	for _, t := range b.targets {
		r := &t.result
		r.Runs, r.Median, r.Fastest = rounds, median(t.times), slices.Min(t.times)
		if _, ok := first[r.Engine]; !ok && r.File == b.o.Models[0] {
			first[r.Engine] = r.Median
		}
		r.Speedup = 0
		if m, ok := first[r.Engine]; ok {
			r.Speedup = m / r.Median
		}
		b.report.Results = append(b.report.Results, *r)
	}
	return nil
}

func since(t time.Time) float64 { return float64(time.Since(t)) / float64(time.Millisecond) }

func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}
