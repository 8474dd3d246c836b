package convert

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/trconvert/trconvert/internal/engine/onnxgo"
	"github.com/trconvert/trconvert/internal/engine/ort"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// DataOptions say how arrays become samples: --batch-axis NAME=K and --state OUT=IN.
type DataOptions = dataset.Options

// VerifyOptions of [Verify].
type VerifyOptions struct {
	Model, Other string // the reference, and what is compared with it
	Data         string // file or folder of inputs; "": random inputs from the model's declarations
	Reading      DataOptions
	MaxError     float64 // the largest relative error that passes; 0: any finite one
	Engine       string  // one of Engines, "" for the first
	OtherEngine  string  // what Other runs on; "": Engine
	Library      string  // of ONNX Runtime; "": TRCONVERT_ORT_LIBRARY or the system's
	Files        Files
	Threads      int

	Progress func(done, samples int) // may be nil
}

// Verification is how far two models' outputs are apart.
type Verification struct {
	Schema string   `json:"schema"`
	Model  FileStat `json:"model"`
	Other  FileStat `json:"other"`
	Engine string   `json:"engine"`
	// OtherEngine is what Other ran on, mostly Engine too.
	OtherEngine string        `json:"other_engine"`
	Inputs      int           `json:"inputs"`   // random inputs, or samples times steps of the data
	MaxAbs      Number        `json:"max_abs"`  // largest difference of two elements
	Relative    Number        `json:"relative"` // ‖a−b‖_F/‖b‖_F, the worst over the outputs
	Pass        bool          `json:"pass"`
	MaxError    *float64      `json:"max_error"` // the gate, null where none was set
	Outputs     []OutputError `json:"outputs"`
	Seconds     float64       `json:"seconds"`
	Warnings    []Warning     `json:"warnings"`
}

// OutputError is one output's share of a [Verification].
type OutputError struct {
	Name     string `json:"name"`
	MaxAbs   Number `json:"max_abs"`
	Relative Number `json:"relative"`
}

// Verify runs two models on the same inputs and compares all outputs. Where both are one file and the engines are two, it compares the engines. As streams (Reading.States) each model runs free on its own states, which start at
// zero; state outputs are left out of the comparison. The engine onnx-go also compares how it decodes the files with how we do, and where it
// cannot run them that is all: Inputs is 0 and a warning says so (with a gate it is an [UnsupportedError]). Where the gate is missed the Verification comes with a [GateError].
func Verify(ctx context.Context, o VerifyOptions) (*Verification, error) {
	start := time.Now()
	if err := o.validate(); err != nil {
		return nil, err
	}
	v := &Verification{Schema: VerifySchema, Engine: o.Engine, OtherEngine: o.OtherEngine, Outputs: []OutputError{}, Warnings: []Warning{}}
	a, err := openSubject(ctx, o, o.Model, &v.Model)
	if err != nil {
		return nil, classify(o.Model, err)
	}
	defer a.close()
	another := o
	another.Engine = o.OtherEngine
	b, err := openSubject(ctx, another, o.Other, &v.Other)
	if err != nil {
		return nil, classify(o.Other, err)
	}
	defer b.close()

	c := newComparer()
	if o.Data != "" {
		err = verifyData(ctx, o, a, b, c)
	} else {
		err = verifyRandom(ctx, o, a, b, c)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var missing *onnxgo.UnsupportedError
	if errors.As(err, &missing) && o.MaxError == 0 {
		v.decodedOnly(missing)
		v.Seconds = time.Since(start).Seconds()
		return v, nil
	}
	if err != nil {
		return nil, classify(o.Model, err)
	}
	v.finish(c, o.MaxError)
	v.Seconds = time.Since(start).Seconds()
	if !v.Pass {
		got := fmt.Sprintf("the relative error is %.4g", float64(v.Relative))
		if math.IsInf(float64(v.Relative), 0) {
			got = "values that are finite in one model are not in the other"
		}
		gate := "verify"
		if o.MaxError > 0 {
			gate = fmt.Sprintf("--max-error %g", o.MaxError)
		}
		return v, &GateError{Gate: gate, Got: got + fmt.Sprintf(" (at output %q)", c.worst())}
	}
	return v, nil
}

func (o *VerifyOptions) validate() error {
	if o.Engine == "" {
		o.Engine = Engines[0]
	}
	if err := oneOf("--engine", o.Engine, Engines); err != nil {
		return err
	}
	if o.OtherEngine == "" {
		o.OtherEngine = o.Engine
	}
	if err := oneOf("--other-engine", o.OtherEngine, Engines); err != nil {
		return err
	}
	if o.MaxError < 0 || math.IsNaN(o.MaxError) {
		return &OptionError{Option: "--max-error", Value: fmt.Sprint(o.MaxError), What: "must be a positive number"}
	}
	if o.Data == "" && (len(o.Reading.States) > 0 || len(o.Reading.BatchAxis) > 0) {
		return &OptionError{Option: "--data", What: "--state and --batch-axis say how data is read, but no --data is given"}
	}
	return nil
}

func (v *Verification) finish(c *comparer, maxError float64) {
	r := c.result(v.Engine)
	v.Inputs, v.MaxAbs, v.Relative = r.Inputs, r.MaxAbs, r.Relative
	for _, name := range sortedNames(c.outputs) {
		d := c.outputs[name]
		m := d.max
		if d.broken {
			m = math.Inf(1)
		}
		v.Outputs = append(v.Outputs, OutputError{Name: name, MaxAbs: Number(m), Relative: Number(d.relative())})
		if d.unbounded > 0 {
			v.Warnings = append(v.Warnings, Warning{
				Code: "not-finite",
				Text: fmt.Sprintf("%d of the %d elements of output %q are the same NaN or infinity in both models: they were not compared", d.unbounded, d.elements, name),
			})
		}
	}
	v.Pass = !math.IsInf(float64(r.Relative), 0)
	if maxError > 0 {
		v.MaxError = &maxError
		v.Pass = float64(r.Relative) <= maxError
	}
}

// decodedOnly is the outcome where onnx-go has read both files as we do but cannot run them.
func (v *Verification) decodedOnly(missing *onnxgo.UnsupportedError) {
	v.MaxAbs, v.Relative, v.Pass = Number(math.NaN()), Number(math.NaN()), true
	v.Warnings = append(v.Warnings, Warning{
		Code: "decoded-only",
		Text: "onnx-go decodes both files as this program does, but it cannot run them and no outputs were compared: it lacks " + strings.Join(missing.Reasons, ", "),
	})
}

// subject is one of the two models, ready to run on the engine.
type subject struct {
	model  *onnx.Model
	inputs []*onnx.ValueInfo
	run    runner
	states map[string]*onnx.Array // by input
	stop   func()
}

func (s *subject) close() {
	if s.stop != nil {
		s.stop()
	}
	s.model.Close()
}

func openSubject(ctx context.Context, o VerifyOptions, path string, stat *FileStat) (*subject, error) {
	m, err := openModel(ctx, path, o.Files)
	if err != nil {
		return nil, err
	}
	*stat = FileStat{File: path, Bytes: m.FileBytes(), Parameters: m.Parameters()}
	s := &subject{model: m}
	if err := s.start(ctx, o, path); err != nil {
		m.Close()
		return nil, inFile(path, err)
	}
	return s, nil
}

func (s *subject) start(ctx context.Context, o VerifyOptions, path string) error {
	switch o.Engine {
	case "onnxruntime":
		e, err := ort.Open(ort.Options{Library: o.Library, Threads: o.Threads})
		if err != nil {
			return err
		}
		session, err := e.Load(ctx, path)
		if err != nil {
			return err
		}
		s.run, s.stop = session.Run, session.Close
		s.inputs = trueInputs(s.model)
	case "onnx-go":
		if err := onnxgo.Check(ctx, path, s.model); err != nil {
			return err
		}
		s.run = func(ctx context.Context, feeds map[string]*onnx.Array) (map[string]*onnx.Array, error) {
			return onnxgo.Run(ctx, path, feeds)
		}
		s.inputs = trueInputs(s.model)
	default:
		p, err := runtime.Compile(ctx, s.model, runtime.Options{Threads: o.Threads})
		if err != nil {
			return err
		}
		s.inputs, s.run = p.Inputs(), p.Run
	}
	return nil
}

// trueInputs are those of the main graph.
func trueInputs(m *onnx.Model) []*onnx.ValueInfo { return m.Graph.TrueInputs() }

// verifyRandom compares on random inputs that the first model accepts. They are found with our own runtime where it can run the model, so
// that other engines do not log the tries that fail, and so that all engines see the same inputs.
func verifyRandom(ctx context.Context, o VerifyOptions, a, b *subject, c *comparer) error {
	inputs, try := a.inputs, a.run
	if p, err := runtime.Compile(ctx, a.model, runtime.Options{Threads: o.Threads}); err == nil {
		inputs, try = p.Inputs(), p.Run
	}
	samples, err := acceptedFeeds(ctx, inputs, try)
	if len(samples) == 0 {
		return fmt.Errorf("convert: %q: accepts none of the random inputs tried, give some with --data (the last: %w)", o.Model, err)
	}
	for k, s := range samples {
		want, err := a.run(ctx, s.feeds)
		if err != nil {
			return fmt.Errorf("convert: %q: %w", o.Model, err)
		}
		got, err := b.run(ctx, s.feeds)
		if err != nil {
			return fmt.Errorf("convert: %q: fails where %q runs: %w", o.Other, o.Model, err)
		}
		if err := c.add(got, want, nil); err != nil {
			return fmt.Errorf("convert: %q and %q: %w", o.Model, o.Other, err)
		}
		if o.Progress != nil {
			o.Progress(k+1, len(samples))
		}
	}
	return nil
}

// verifyData compares on all samples of a data set, batch by batch, and step by step where it holds streams.
func verifyData(ctx context.Context, o VerifyOptions, a, b *subject, c *comparer) error {
	d, err := dataset.Open(ctx, o.Data, a.model, o.Reading)
	if err != nil {
		return err
	}
	skip := make(map[string]bool)
	for out := range o.Reading.States {
		skip[out] = true
	}
	const batch = 32
	size := max(1, min(batch, d.MaxBatch()))
	for from := 0; from < d.Len(); from += size {
		to := min(from+size, d.Len())
		for _, s := range []*subject{a, b} {
			if err := s.reset(o.Reading.States, to-from); err != nil {
				return err
			}
		}
		for step := range d.Steps() {
			if err := ctx.Err(); err != nil {
				return err
			}
			feeds, err := d.Feeds(from, to, step)
			if err != nil {
				return err
			}
			want, err := a.step(ctx, feeds, o.Reading.States)
			if err != nil {
				return fmt.Errorf("convert: %q: sample %d, step %d: %w", o.Model, from, step, err)
			}
			got, err := b.step(ctx, feeds, o.Reading.States)
			if err != nil {
				return fmt.Errorf("convert: %q: sample %d, step %d: %w", o.Other, from, step, err)
			}
			if err := c.add(got, want, skip); err != nil {
				return fmt.Errorf("convert: %q and %q: %w", o.Model, o.Other, err)
			}
			c.inputs += to - from - 1 // a batch is as many inputs as it has samples
		}
		if o.Progress != nil {
			o.Progress(to, d.Len())
		}
	}
	return nil
}

// reset sets every state to zero, for a batch of n streams.
func (s *subject) reset(states map[string]string, n int) error {
	s.states = make(map[string]*onnx.Array)
	for _, out := range sortedNames(states) {
		name := states[out]
		k := slices.IndexFunc(s.inputs, func(v *onnx.ValueInfo) bool { return v.Name == name })
		if k < 0 {
			return &OptionError{Option: "--state", Value: out + "=" + name, What: "the model has no input of that name", Near: nearest(name, inputNames(s.inputs), 1), Valid: inputNames(s.inputs)}
		}
		in := s.inputs[k]
		if in.Type == nil || !in.Type.HasShape {
			return fmt.Errorf("convert: state input %q: its shape is not declared, so that it cannot start at zero", name)
		}
		var dims []int
		total := 1
		for _, d := range in.Type.Shape {
			size := int(d.Value)
			if !d.Known {
				size = n
			}
			if size < 0 || size > 0 && total > maxFeedElements/size {
				return fmt.Errorf("convert: state input %q: dims are too large", name)
			}
			total *= size
			dims = append(dims, size)
		}
		zero, err := narrow(in.Type.Elem, dims, make([]float64, total))
		if err != nil {
			return fmt.Errorf("convert: state input %q: %w", name, err)
		}
		s.states[name] = zero
	}
	return nil
}

// step runs the model once on feeds and its own states, and keeps the states it gives.
func (s *subject) step(ctx context.Context, feeds map[string]*onnx.Array, states map[string]string) (map[string]*onnx.Array, error) {
	all := make(map[string]*onnx.Array, len(feeds)+len(s.states))
	for name, a := range feeds {
		all[name] = a
	}
	for name, a := range s.states {
		all[name] = a
	}
	out, err := s.run(ctx, all)
	if err != nil {
		return nil, err
	}
	for from, to := range states {
		a, ok := out[from]
		if !ok {
			return nil, &OptionError{Option: "--state", Value: from + "=" + to, What: "the model has no output of that name", Near: nearest(from, sortedNames(out), 1), Valid: sortedNames(out)}
		}
		s.states[to] = a
	}
	return out, nil
}

func inputNames(inputs []*onnx.ValueInfo) []string {
	names := make([]string, len(inputs))
	for i, v := range inputs {
		names[i] = v.Name
	}
	return names
}
