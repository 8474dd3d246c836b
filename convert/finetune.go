package convert

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime/dataset"
	"github.com/trconvert/trconvert/runtime/finetune"
)

// FinetuneOptions of [Finetune]. Model, Output and Data.Path are needed, and Data.Reading.Labels or Teacher.
type FinetuneOptions struct {
	Model, Output string
	Data          TrainingData
	Teacher       string  // a model whose outputs are to be met; "": none
	Loss          string  // one of Losses, "" for the first
	Train         string  // one of Trainings, "" for the first
	Weights       Storage // how the result is stored; "": as the model is
	Start         string  // one of Starts, "" for the first
	Settings      TrainingSettings
	Checkpoint    CheckpointOptions
	Plot          string // where the curve of the losses goes, as SVG; "": beside the checkpoint, if there is one
	Files         Files
	Threads       int

	Progress func(TrainingProgress) // may be nil
}

// TrainingData is what a model is trained on.
type TrainingData struct {
	Path    string
	Reading DataOptions
	Output  string // the output that the labels are for; "" where there is only one
	// Held is a data set for validation, of the same form as Path; "": the part HeldPart of the samples is held back.
	Held     string
	HeldPart float64 // 0: that of finetune.Defaults; negative: none
	// ClassWeights weigh the labels in the cross-entropy.
	ClassWeights ClassWeights
}

// TrainingSettings say how long and how boldly is trained; what is 0 is chosen by finetune.Defaults.
type TrainingSettings struct {
	Epochs int
	Rate   float64
	Batch  int
	Seed   uint64
}

// CheckpointOptions say where a training can be taken up again.
type CheckpointOptions struct {
	Folder string // "": no checkpoints
	Resume bool   // go on from the checkpoint there, if there is one
}

// TrainingProgress tells an observer how far a training is.
type TrainingProgress struct {
	Stage  Stage
	Layers Progress // of StageLayers: one of Decompose's, which tells of frames and sweeps
	Trial  string   // the start that is tried, "" in the training itself
	Epoch  int      // from 1
	Epochs int
	Step   int // in the epoch, from 1
	Steps  int
	Loss   float64        // of training, so far in the epoch
	Last   *TrainingEpoch // the last epoch that ended
	Note   string         // what has happened besides: a step back, a choice
}

// The stages of [Finetune] between reading and writing. The first is there with the start "layers" alone.
const (
	StageLayers Stage = "layers"
	StageTrain  Stage = "train"
)

// Finetune trains a model on data: the cores of its rings and, unless Train says otherwise, all other weights, with labels, with the outputs of a teacher, or with both. The written file is
// the input with other values in the trained tensors; nothing else changes, so that it can be fine-tuned again.
//
// All that can be known before is checked before training begins: labels, data, teacher, and that every operator between the weights and the loss has a gradient.
func Finetune(ctx context.Context, o FinetuneOptions) (*Training, error) {
	start := time.Now()
	if err := o.complete(); err != nil {
		return nil, err
	}
	t := &tuning{o: o, report: &Training{Schema: FinetuneSchema, Teacher: o.Teacher, Epochs: []TrainingEpoch{}, Train: o.Train, Groups: []TrainingGroup{}, Layers: []LayerReport{}, ClassWeights: []float32{}}}
	defer t.close()
	if err := t.run(ctx); err != nil {
		return nil, ended(ctx, o.Model, err)
	}
	t.report.Seconds = time.Since(start).Seconds()
	t.report.PeakBytes = peakBytes()
	return t.report, nil
}

// complete checks what can be checked without the files.
func (o *FinetuneOptions) complete() error {
	if o.Train == "" {
		o.Train = Trainings[0]
	}
	if o.Start == "" {
		o.Start = Starts[0]
	}
	var unknown error
	if o.Weights != "" {
		unknown = oneOf("--weights", string(o.Weights), Storages)
	}
	for _, err := range []error{checkLoss(&o.Loss), oneOf("--train", o.Train, Trainings), oneOf("--start", o.Start, Starts), o.Data.ClassWeights.check(), unknown} {
		if err != nil {
			return err
		}
	}
	missing := func(option, what string) error { return &OptionError{Option: option, What: what} }
	s := o.Settings
	switch {
	case o.Output == "":
		return missing("-o", "no output file is named (-o OUT.onnx)")
	case o.Data.Path == "":
		return missing("--data", "is missing (--data DATA)")
	case o.Data.Reading.Labels == "" && o.Teacher == "":
		return missing("--labels", "nothing to train towards: give --labels NAME, --teacher MODEL, or both")
	case o.Start == startLayers && o.Teacher == "":
		return missing("--start layers", "needs the model whose pre-activations are to be met (--teacher MODEL)")
	case o.Checkpoint.Resume && o.Checkpoint.Folder == "":
		return missing("--resume", "needs the folder of the checkpoint (--checkpoint DIR)")
	case o.Data.Output != "" && o.Data.Reading.Labels == "":
		return missing("--output", "says which output the labels are for, but no --labels are given")
	case o.Data.ClassWeights.given() && o.Data.Reading.Labels == "":
		return missing("--class-weights", "weigh labels, but no --labels are given")
	case o.Data.HeldPart >= 1 || math.IsNaN(o.Data.HeldPart):
		return &OptionError{Option: "--val", Value: fmt.Sprint(o.Data.HeldPart), What: "must be a part of the samples below 1, or a file"}
	case s.Epochs < 0 || s.Batch < 0 || s.Rate < 0 || math.IsNaN(s.Rate) || math.IsInf(s.Rate, 0):
		return &OptionError{Option: "--epochs, --batch, --lr", Value: fmt.Sprint(s.Epochs, s.Batch, s.Rate), What: "must be numbers above 0"}
	}
	inputs := []string{o.Model, o.Data.Path, o.Teacher, o.Data.Held, o.Data.Reading.Labels}
	if o.Plot != "" {
		if samePath(o.Plot, o.Output) {
			return &OptionError{Option: "--plot", Value: o.Plot, What: "names the model to write too (choose another file for the image)"}
		}
		if err := guardOutput(o.Plot, o.Files.Force, inputs...); err != nil {
			return err
		}
	}
	return guardOutput(o.Output, o.Files.Force, inputs...)
}

// tuning is one call of Finetune at work.
type tuning struct {
	o      FinetuneOptions
	report *Training

	model, teacher *onnx.Model // model in float32
	written        *onnx.Model // what model's values are written into: model in the storage of the result
	rings          []export.Record
	matrices       []export.MatrixRecord
	weights        []weight
	all            *dataset.Dataset
	train, held    *dataset.Dataset // of all, or held is a set of its own; it may be nil
	recipe         finetune.Recipe  // from aim on
	objective      finetune.Objective
	stored         map[*onnx.Tensor]finetune.Rounding // of weights
	before         *finetune.Evaluation               // of the model as it is stored, where training does not begin with it
	closers        []func()
}

func (t *tuning) close() {
	for _, c := range slices.Backward(t.closers) {
		c()
	}
}

func (t *tuning) progress(p TrainingProgress) {
	if t.o.Progress != nil {
		t.o.Progress(p)
	}
}

func (t *tuning) warn(code, format string, args ...any) {
	t.report.Warnings = append(t.report.Warnings, Warning{Code: code, Text: fmt.Sprintf(format, args...)})
}

func (t *tuning) run(ctx context.Context) error {
	t.progress(TrainingProgress{Stage: StageRead})
	for _, step := range []func(context.Context) error{t.open, t.openTeacher, t.openData, t.aim} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return t.tune(ctx)
}

// open opens the model and finds what is to be trained.
func (t *tuning) open(ctx context.Context) error {
	m, err := openModel(ctx, t.o.Model, t.o.Files)
	if err != nil {
		return err
	}
	t.closers = append(t.closers, func() { m.Close() })
	if err := guardOutput(t.o.Output, true, m.DataFiles()...); err != nil {
		return err
	}
	if err := t.unpack(ctx, m); err != nil {
		return inFile(t.o.Model, err)
	}
	t.report.Input = FileStat{File: t.o.Model, Bytes: m.FileBytes(), Parameters: m.Parameters()}
	t.report.Warnings = noticed(m)
	if t.rings, err = export.Records(t.model); err != nil {
		return inFile(t.o.Model, err)
	}
	if t.matrices, err = export.Matrices(t.model); err != nil {
		return inFile(t.o.Model, err)
	}
	t.weights, err = chooseWeights(t.o.Model, weightsOf(t.model, t.rings, t.matrices...), t.o.Train)
	return err
}

// groups are the weights by role; biases and other vectors do not decay.
func (t *tuning) groups() []finetune.Group {
	var groups []finetune.Group
	for _, r := range []role{roleCore, roleSite, roleHead, roleOther} {
		count := TrainingGroup{Name: string(r)}
		for _, decay := range []float64{1, 0} {
			g := finetune.Group{Name: string(r), Rate: 1, Decay: decay}
			if decay == 0 {
				g.Name += " biases"
			}
			for _, w := range t.weights {
				if w.role == r && (decay == 0) == w.bias() {
					g.Tensors = append(g.Tensors, w.tensor)
					count.Tensors++
					count.Parameters += w.tensor.Elements()
				}
			}
			if len(g.Tensors) > 0 {
				groups = append(groups, g)
			}
		}
		if count.Tensors > 0 {
			t.report.Groups = append(t.report.Groups, count)
			t.report.Trained += count.Parameters
		}
	}
	return groups
}

// openTeacher opens the model whose outputs are to be met.
func (t *tuning) openTeacher(ctx context.Context) error {
	if t.o.Teacher == "" {
		return nil
	}
	m, err := openModel(ctx, t.o.Teacher, t.o.Files)
	if err != nil {
		return classify(t.o.Teacher, err)
	}
	t.closers = append(t.closers, func() { m.Close() })
	t.teacher = m
	return nil
}

// openData opens the data and holds a part back.
func (t *tuning) openData(ctx context.Context) error {
	open := func(path string) (*dataset.Dataset, error) {
		d, err := dataset.Open(ctx, path, t.model, t.o.Data.Reading)
		if err != nil {
			return nil, err
		}
		t.closers = append(t.closers, func() { d.Close() })
		if d.Len() == 0 || d.Steps() == 0 {
			return nil, fmt.Errorf("convert: data %q: %d samples of %d steps: there is nothing to train on", path, d.Len(), d.Steps())
		}
		if n := t.o.Settings.Batch; n > d.Len() && path == t.o.Data.Path {
			return nil, fmt.Errorf("convert: data %q: a batch of %d samples, the data set has %d (--batch %d at most)", path, n, d.Len(), d.Len())
		}
		return d, nil
	}
	var err error
	if t.all, err = open(t.o.Data.Path); err != nil {
		return err
	}
	t.train = t.all
	if t.o.Data.Held != "" {
		if t.held, err = open(t.o.Data.Held); err != nil {
			return err
		}
	} else if err := t.holdBack(ctx); err != nil {
		return err
	}
	t.report.Samples = t.train.Len()
	if t.held != nil {
		t.report.Held = t.held.Len()
	}
	return nil
}

// defaults are the recipe for what is known so far; the loss is once aim has chosen it.
func (t *tuning) defaults() finetune.Recipe {
	r := t.o.Data.Reading
	return finetune.Defaults(finetune.Setting{Numbers: t.report.LossName == lossSquared, Samples: t.train.Len(), Labels: r.Labels != "", Teacher: t.teacher != nil, Streams: len(r.States) > 0, Steps: t.train.Steps()})
}

// holdBack splits the data into what is trained on and what epochs are judged by.
func (t *tuning) holdBack(ctx context.Context) error {
	part := t.o.Data.HeldPart
	if part == 0 {
		part = t.defaults().ValFraction
	}
	if part <= 0 || t.train.Len() < 2 {
		return nil
	}
	var err error
	if t.train, t.held, err = t.train.Split(ctx, part, t.o.Settings.Seed); err != nil {
		return err
	}
	if n := t.o.Settings.Batch; n > t.train.Len() {
		return fmt.Errorf("convert: data %q: a batch of %d samples, %d are left beside the %d held back for validation (--batch %d at most, or --val 0)",
			t.o.Data.Path, n, t.train.Len(), t.held.Len(), t.train.Len())
	}
	return nil
}

// tune trains and writes the result.
func (t *tuning) tune(ctx context.Context) error {
	o := t.options()
	var err error
	if o.Trial.Starts, err = t.starts(ctx); err != nil {
		return err
	}
	if o.Rings, err = t.centred(ctx); err != nil {
		return err
	}
	if t.stored, err = t.roundings(); err != nil {
		return err
	}
	o.Stored = t.stored
	r, err := finetune.Train(ctx, t.model, t.train, t.held, t.objective, o)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	t.record(r)
	t.progress(TrainingProgress{Stage: StageWrite, Epochs: o.Epochs})
	patch, values, err := t.pack(r)
	if err != nil {
		return err
	}
	tuned, err := patch.Apply(ctx)
	if err != nil {
		return err
	}
	defer tuned.Close()
	err = tuned.WriteFile(ctx, t.o.Output, onnx.WriteOptions{
		Force: t.o.Files.Force,
		Check: func(path string) error { return t.check(ctx, path, r, values) },
	})
	if err != nil {
		return err
	}
	t.plot(ctx)
	return nil
}
