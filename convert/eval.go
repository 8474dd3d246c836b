package convert

import (
	"context"
	"time"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
	"github.com/trconvert/trconvert/runtime/dataset"
	"github.com/trconvert/trconvert/runtime/finetune"
)

// EvalSchema is the schema of [Evaluation].
const EvalSchema = "trconvert.eval/v1"

// EvalOptions of [Eval].
type EvalOptions struct {
	Model   string
	Data    string // file or folder
	Reading DataOptions
	Loss    string // one of Losses, "" for the first
	Output  string // the output that the labels are for; "" where there is only one
	Files   Files
	Threads int

	Progress func(done, samples int) // may be nil
}

// Evaluation is how well a model does on labelled data.
type Evaluation struct {
	Schema  string   `json:"schema"`
	Model   FileStat `json:"model"`
	Output  string   `json:"output"`
	Samples int      `json:"samples"`
	// Loss is the mean over samples (over labels, where a sample has several), by LossName: cross-entropy, mse or bce.
	Loss     Number `json:"loss"`
	LossName string `json:"loss_name"`
	// Metric is the accuracy, and for mse the relative error ‖y−t‖/‖t‖; MetricName tells which.
	Metric     Number `json:"metric"`
	MetricName string `json:"metric_name"`
	// Counts are the labels of each class; empty where labels are no classes.
	Counts   []int     `json:"class_counts"`
	Seconds  float64   `json:"seconds"`
	Warnings []Warning `json:"warnings"`
}

// Eval runs a model on a data set and compares an output with the labels.
//
// Labels of one class for each sample or step are compared by cross-entropy and accuracy, whether the model gives logits or ends in a softmax; labels that are numbers, as many as the
// output has, by squared error, or by binary cross-entropy where the model ends in a sigmoid.
func Eval(ctx context.Context, o EvalOptions) (*Evaluation, error) {
	start := time.Now()
	if err := o.complete(); err != nil {
		return nil, err
	}
	e := &Evaluation{Schema: EvalSchema, Counts: []int{}}
	if err := o.run(ctx, e); err != nil {
		return nil, ended(ctx, o.Model, err)
	}
	e.Seconds = time.Since(start).Seconds()
	return e, nil
}

func (o *EvalOptions) complete() error {
	if o.Data == "" {
		return &OptionError{Option: "--data", What: "is missing (--data DATA)"}
	}
	if o.Reading.Labels == "" {
		return &OptionError{Option: "--labels", What: "is missing (--labels NAME)"}
	}
	return checkLoss(&o.Loss)
}

func checkLoss(loss *string) error {
	if *loss == "" {
		*loss = Losses[0]
	}
	return oneOf("--loss", *loss, Losses)
}

func (o *EvalOptions) run(ctx context.Context, e *Evaluation) error {
	m, err := openModel(ctx, o.Model, o.Files)
	if err != nil {
		return err
	}
	defer m.Close()
	e.Model = FileStat{File: o.Model, Bytes: m.FileBytes(), Parameters: m.Parameters()}
	e.Warnings = noticed(m)
	d, err := dataset.Open(ctx, o.Data, m, o.Reading)
	if err != nil {
		return err
	}
	defer d.Close()
	s, err := o.scoring(ctx, m, d)
	if err != nil {
		return err
	}
	if s.classes != nil {
		e.Counts = s.classes.Counts
	}
	got, err := finetune.Evaluate(ctx, m, d, s.objective, finetune.EvaluateOptions{
		Streams: finetune.Streams{States: o.Reading.States},
		Observe: o.Progress,
	})
	if err != nil {
		return err
	}
	e.Output, e.Samples = s.output, got.Samples
	e.Loss, e.LossName = Number(got.Loss), s.loss
	e.Metric, e.MetricName = Number(got.Metric), string(got.Kind)
	return nil
}

// scoring finds out how the model's output is compared with the labels of the data.
func (o *EvalOptions) scoring(ctx context.Context, m *onnx.Model, d *dataset.Dataset) (*scoring, error) {
	p, err := runtime.Compile(ctx, m, runtime.Options{Threads: o.Threads})
	if err != nil {
		return nil, inFile(o.Model, err)
	}
	output, err := chooseOutput(o.Model, p.Outputs(), o.Reading.States, o.Output)
	if err != nil {
		return nil, err
	}
	g, err := look(ctx, m, p, d, o.Reading.States)
	if err != nil {
		return nil, inFile(o.Model, err)
	}
	return score(ctx, m, g, d, output, o.Loss)
}
