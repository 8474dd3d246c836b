package convert

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"

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
	Plot    string   // an SVG file to draw the results into; "": none
	Files   Files
	Threads int // of each engine; 0: its own choice

	// Child makes a process that calls [ServeResident], once for each measurement of memory: only in a process of its own can a model's memory be told
	// from what others left. Where it is nil or gives nil, memory is not measured.
	Child    func(context.Context) *exec.Cmd
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
	Plot        string        `json:"plot"` // the image, "" where none was written
	Warnings    []Warning     `json:"warnings"`
}

// BenchInput is the shape of one input.
type BenchInput struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Dims []int  `json:"dims"`
}

// BenchResult is one model on one engine; times are in milliseconds, sizes in bytes. Figures of a model that the engine does not run are null, as is memory that
// was not measured.
type BenchResult struct {
	FileStat
	Engine string `json:"engine"`
	Error  string `json:"error"` // why the engine does not run the model, "" where it does

	Load    Number `json:"load_ms"`  // from the file to a model that takes inputs, the median of several
	First   Number `json:"first_ms"` // the first run, in which our runtime folds constants and packs weights; the median of several
	Ready   Number `json:"ready_ms"` // from the file to the first outputs, the median of several
	Median  Number `json:"median_ms"`
	Low     Number `json:"p10_ms"`     // a tenth of the runs took less
	High    Number `json:"p90_ms"`     // a tenth of the runs took more
	Fastest Number `json:"fastest_ms"` // of all runs
	Step    Number `json:"step_ms"`    // median / steps; null where the steps are not known
	Runs    int    `json:"runs"`

	// LoadCPU and RunCPU are the time that the process had processors during a load and a run, medians: more with every thread, and not what a busy machine adds to the
	// clock. Null where the system does not tell.
	LoadCPU Number `json:"load_cpu_ms"`
	RunCPU  Number `json:"cpu_ms"`

	Resident Resident `json:"memory"`

	// What the first model takes on the same engine divided by what this one takes: above 1 this one is better.
	Speedup     Number `json:"speedup"` // of the medians
	LoadRatio   Number `json:"load_ratio"`
	ReadyRatio  Number `json:"ready_ratio"`
	BytesRatio  Number `json:"bytes_ratio"`
	MemoryRatio Number `json:"memory_ratio"` // of the resident memory
}

const benchSteps = 32

// Bench measures models on the same random inputs, in our runtime and in ONNX Runtime where its library is given. The models take turns, so that a busy machine slows all of
// them alike. Sizes that a model fixes win over Batch and Steps, with a warning. A model that an engine does not run is told in its result and in a warning; that no engine runs
// any model is an error, as are a file that is no model and a model with other inputs.
func Bench(ctx context.Context, o BenchOptions) (*Benchmark, error) {
	if o.Batch == 0 {
		o.Batch = 1
	}
	if o.Steps == 0 {
		o.Steps = benchSteps
	}
	switch {
	case len(o.Models) == 0:
		return nil, &OptionError{Option: "MODEL", What: "no model is named"}
	case o.Batch < 1 || o.Steps < 1:
		return nil, &OptionError{Option: "--batch, --steps", What: fmt.Sprintf("%d and %d: both are 1 or more", o.Batch, o.Steps)}
	}
	if o.Plot != "" {
		if err := guardOutput(o.Plot, o.Files.Force, o.Models...); err != nil {
			return nil, err
		}
	}
	b := &bench{o: o, report: &Benchmark{Schema: BenchSchema, Threads: o.Threads, Inputs: []BenchInput{}, Results: []BenchResult{}, Warnings: []Warning{}}}
	defer b.close()
	for _, step := range []func(context.Context) error{b.open, b.shape, b.load, b.measure, b.weigh, b.plot} {
		if err := step(ctx); err != nil {
			return nil, ended(ctx, b.at, err)
		}
	}
	return b.report, nil
}

// bench is one call of Bench at work.
type bench struct {
	o          BenchOptions
	report     *Benchmark
	at         string // the model at work
	models     []*onnx.Model
	engine     *ort.Engine
	feeds      map[string]*onnx.Array
	contenders []*contender // every model on every engine, in the order of the report
}

func (b *bench) close() {
	for _, t := range b.contenders {
		t.close()
	}
	for _, m := range b.models {
		m.Close()
	}
}

func (b *bench) warn(code, path, text string) {
	b.report.Warnings = append(b.report.Warnings, Warning{code, path, text})
}

func (b *bench) progress(done float64) {
	if b.o.Progress != nil {
		b.o.Progress(int(100*min(1, done)), 100)
	}
}

// open opens the files and the engines.
func (b *bench) open(ctx context.Context) error {
	for _, path := range b.o.Models {
		b.at = path
		m, err := onnx.OpenFile(ctx, path, onnx.OpenOptions{FollowLinks: b.o.Files.FollowLinks})
		if err != nil {
			return err
		}
		b.models = append(b.models, m)
		if first, other := sortedInputs(b.models[0]), sortedInputs(m); !slices.Equal(first, other) {
			return fmt.Errorf("convert: %q: the inputs of %q do not run: it takes [%s], and not [%s]", path, b.o.Models[0], quoteAll(other, ", "), quoteAll(first, ", "))
		}
	}
	b.at = b.o.Models[0]
	if b.o.Library != "" {
		var err error
		if b.engine, err = ort.Open(ort.Options{Library: b.o.Library, Threads: b.o.Threads}); err != nil {
			return err
		}
		b.report.ONNXRuntime = b.engine.Version()
	}
	for k, m := range b.models {
		for _, engine := range b.engines() {
			b.contenders = append(b.contenders, &contender{bench: b, result: BenchResult{FileStat: FileStat{b.o.Models[k], m.FileBytes(), m.Parameters()}, Engine: engine}})
		}
	}
	return nil
}

// engines are the names of those that are measured.
func (b *bench) engines() []string {
	if b.engine == nil {
		return Engines[:1]
	}
	return Engines[:2]
}

func sortedInputs(m *onnx.Model) []string {
	return slices.Sorted(slices.Values(inputNames(trueInputs(m))))
}

// shape finds inputs that the models accept.
func (b *bench) shape(ctx context.Context) error {
	run, k, err := b.prober(ctx)
	if err != nil {
		return err
	}
	s, err := findSizes(ctx, trueInputs(b.models[k]), b.models[k], run, b.o.Batch, b.o.Steps)
	if err != nil {
		return fmt.Errorf("convert: %q: %w", b.o.Models[k], err)
	}
	b.feeds, b.report.Batch, b.report.Steps = s.feeds, s.batch, s.steps
	switch {
	case s.steps == 0:
		b.warn("sizes", b.o.Models[k], "how many steps its recurrent layers were run for is not known")
	case s.batch != b.o.Batch || s.steps != b.o.Steps:
		b.warn("sizes", b.o.Models[k], fmt.Sprintf("its recurrent layers were run on %d sequences of %d steps, for the model does not take %d of %d", s.batch, s.steps, b.o.Batch, b.o.Steps))
	}
	for _, name := range sortedNames(b.feeds) {
		a := b.feeds[name]
		b.report.Inputs = append(b.report.Inputs, BenchInput{name, a.Type.String(), notNil(a.Dims)})
	}
	return nil
}

// prober runs the first model that our runtime has the operators of, or else the first one in ONNX Runtime, which does not tell what a layer sees. It gives the model's place, too.
func (b *bench) prober(ctx context.Context) (probe, int, error) {
	var first error
	for k, m := range b.models {
		run, err := observedRun(ctx, m, b.o.Threads)
		var missing *runtime.UnsupportedError
		if err == nil || !errors.As(err, &missing) {
			b.at = b.o.Models[k]
			return run, k, err
		}
		if first == nil {
			first = err
		}
	}
	if b.engine == nil {
		return nil, 0, first
	}
	session, err := b.engine.Load(ctx, b.o.Models[0])
	if err != nil {
		return nil, 0, err
	}
	b.contenders[0].stop = session.Close
	return func(ctx context.Context, feeds map[string]*onnx.Array) (steps, batch int, err error) {
		_, err = session.Run(ctx, feeds)
		return 0, 0, err
	}, 0, nil
}

// refuse enters that an engine does not run a model.
func (b *bench) refuse(t *contender, err error) {
	r := &t.result
	code, text := "not-run", message(err)
	var missing *runtime.UnsupportedError
	if errors.As(err, &missing) {
		code = "operator-missing"
	}
	r.Error = text
	t.failed = err
	b.warn(code, r.File, fmt.Sprintf("engine %s does not run it: %s", r.Engine, text))
}

// message is an error's text on one line.
func message(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// running are the contenders that can be measured.
func (b *bench) running() []*contender {
	return slices.DeleteFunc(slices.Clone(b.contenders), func(t *contender) bool { return t.failed != nil })
}

// compare enters the ratios to the first model on the same engine.
func (b *bench) compare() {
	for k, t := range b.contenders {
		r, first := &t.result, &b.contenders[k%len(b.engines())].result
		r.Speedup = first.Median / r.Median
		r.LoadRatio = first.Load / r.Load
		r.ReadyRatio = first.Ready / r.Ready
		r.BytesRatio = Number(first.Bytes) / Number(r.Bytes)
		r.MemoryRatio = first.Resident.Used / r.Resident.Used
	}
}

// rowName is a model on an engine for a chart.
func (b *bench) rowName(r *BenchResult) string {
	name := r.File
	if k := strings.LastIndexAny(name, `/\`); k >= 0 {
		name = name[k+1:]
	}
	if len(b.engines()) > 1 {
		name += ", " + r.Engine
	}
	return strings.Trim(strconv.Quote(name), `"`)
}
