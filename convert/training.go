package convert

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/internal/plot"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime/finetune"
)

// FinetuneSchema is the schema of [Training].
const FinetuneSchema = "trconvert.finetune/v1"

// Training is what [Finetune] did and what came of it.
type Training struct {
	Schema  string          `json:"schema"`
	Input   FileStat        `json:"input"`
	Output  FileStat        `json:"output"`
	Teacher string          `json:"teacher"` // "" without
	Epochs  []TrainingEpoch `json:"epochs"`
	// BestEpoch is the epoch whose weights were written, 0 where none was better than the start.
	BestEpoch int   `json:"best_epoch"`
	Before    Score `json:"before"` // of the input, or of its fresh cores where these are asked for
	After     Score `json:"after"`  // of the written file
	// MeasuredOn says what Before and After were measured on: validation or training.
	MeasuredOn string `json:"measured_on"`
	LossName   string `json:"loss_name"`
	MetricName string `json:"metric_name"`
	// ClassWeights are by class; empty where all count alike.
	ClassWeights []float32       `json:"class_weights"`
	Trained      int64           `json:"trained_parameters"`
	Train        string          `json:"train"`
	Weights      Storage         `json:"weights"` // the narrowest type in which weights of the result are stored
	Groups       []TrainingGroup `json:"groups"`
	Samples      int             `json:"samples"`
	Held         int             `json:"val_samples"`
	Settings     SettingsReport  `json:"settings"`
	Plot         string          `json:"plot"`   // the curve of the losses, "" without
	Start        string          `json:"start"`  // of the cores: stored, fresh or layers; "" where there are none
	Layers       []LayerReport   `json:"layers"` // of the start layers
	Status       string          `json:"status"`
	BackOffs     int             `json:"back_offs"` // times that losses were NaN or infinite
	// KeptBytes is the most that the passes of a step kept for their gradients, StepBytes the most that this and the gradients on their way back took together.
	KeptBytes int64 `json:"kept_bytes"`
	StepBytes int64 `json:"step_bytes"`
	// FrontBytes is what was remembered of the part that no trained weight reaches, which ran only once; 0 where there is none, or where it did not fit.
	FrontBytes int64     `json:"front_bytes"`
	Seconds    float64   `json:"seconds"`
	PeakBytes  int64     `json:"peak_bytes"`
	Warnings   []Warning `json:"warnings"`
}

// TrainingEpoch is the figures of one epoch; those of validation are null without validation data.
type TrainingEpoch struct {
	Epoch     int     `json:"epoch"`
	TrainLoss Number  `json:"train_loss"`
	ValLoss   Number  `json:"val_loss"`
	ValMetric Number  `json:"val_metric"`
	Seconds   float64 `json:"seconds"`
}

// Score is a loss and a metric.
type Score struct {
	Loss   Number `json:"loss"`
	Metric Number `json:"metric"`
}

// TrainingGroup is a part of the weights that was trained.
type TrainingGroup struct {
	Name       string `json:"name"`
	Tensors    int    `json:"tensors"`
	Parameters int64  `json:"parameters"`
}

// SettingsReport is the settings that a training ran with.
type SettingsReport struct {
	Epochs int     `json:"epochs"`
	Rate   float64 `json:"learning_rate"`
	Batch  int     `json:"batch"`
	Seed   uint64  `json:"seed"`
}

// plotFile is the name of the curve beside a checkpoint.
const plotFile = "loss.svg"

// plot draws the losses. The model is written by then, so that a disk that is full now is worth a warning.
func (t *tuning) plot(ctx context.Context) {
	path := t.o.Plot
	if path == "" && t.o.Checkpoint.Folder != "" {
		path = filepath.Join(t.o.Checkpoint.Folder, plotFile)
	}
	if path == "" || len(t.report.Epochs) == 0 {
		return
	}
	training, validation := plot.Curve{Name: "training"}, plot.Curve{Name: "validation"}
	for _, e := range t.report.Epochs {
		training.Y = append(training.Y, float64(e.TrainLoss))
		validation.Y = append(validation.Y, float64(e.ValLoss))
	}
	chart := plot.Chart{Title: filepath.Base(t.o.Output), X: "epoch", Y: "loss", LogY: true, Curves: []plot.Curve{training}}
	if t.held != nil {
		chart.Curves = append(chart.Curves, validation)
	}
	if err := writeAtomic(ctx, path, chart.SVG); err != nil {
		t.warn("no-plot", "the curve of the losses was not written: %v", err)
		return
	}
	t.report.Plot = path
}

// record enters what training gave into the report.
func (t *tuning) record(r *finetune.Result) {
	for _, e := range r.History {
		t.report.Epochs = append(t.report.Epochs, trainingEpoch(e))
	}
	t.report.BestEpoch, t.report.Status, t.report.BackOffs = r.BestEpoch, r.Status.String(), r.BackOffs
	t.report.KeptBytes, t.report.StepBytes, t.report.FrontBytes = r.PeakKept, r.Peak, r.Front.Bytes
	t.report.Start = r.Start
	if r.Start == "" && slices.ContainsFunc(t.weights, func(w weight) bool { return w.role == roleCore }) {
		t.report.Start = startStored
	}
	before := r.Before
	if t.before != nil {
		before = *t.before
	}
	t.report.Before = Score{Number(before.Loss), Number(before.Metric)}
	t.report.MetricName = string(r.Before.Kind)
	t.report.MeasuredOn = "training"
	if t.held != nil {
		t.report.MeasuredOn = "validation"
	}
	switch {
	case r.Status == finetune.Diverged:
		t.warn("diverged", "losses became NaN or infinite %d times, each time at half the rate; the best epoch before was written", r.BackOffs+1)
	case r.BackOffs > 0:
		t.warn("backed-off", "losses became NaN or infinite %d times; training went on with half the rate each time", r.BackOffs)
	}
	if r.BestEpoch == 0 {
		t.warn("no-gain", "no epoch was better than the start: the written model is as the input was")
	}
}

func trainingEpoch(e finetune.Epoch) TrainingEpoch {
	return TrainingEpoch{Epoch: e.Number, TrainLoss: Number(e.TrainLoss), ValLoss: Number(e.ValLoss), ValMetric: Number(e.Metric), Seconds: e.Seconds}
}

// sameLoss is how far the loss of the written file may be from that of the weights in memory, whose products are formed in another order: relative, and absolute for losses near zero.
const sameLoss = 1e-3

// check reads the complete file back, wants the values in it that were trained, and measures it.
func (t *tuning) check(ctx context.Context, path string, r *finetune.Result, values map[*onnx.Tensor]*onnx.Array) error {
	t.progress(TrainingProgress{Stage: StageVerify})
	m, err := openModel(ctx, path, Files{})
	if err != nil {
		return fmt.Errorf("convert: verification: the written file cannot be read back: %w", err)
	}
	defer m.Close()
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("convert: verification: %w", err)
	}
	t.report.Output = FileStat{File: t.o.Output, Bytes: max(info.Size(), m.FileBytes()), Parameters: m.Parameters()}
	if err := t.checkValues(ctx, m, values); err != nil {
		return err
	}
	data := t.train
	if t.held != nil {
		data = t.held
	}
	streams := t.recipe.Options.Streams
	streams.States = t.o.Data.Reading.States
	e, err := finetune.Evaluate(ctx, m, data, t.objective, finetune.EvaluateOptions{Batch: t.report.Settings.Batch, Streams: streams, Teacher: t.teacher})
	if err != nil {
		return fmt.Errorf("convert: verification: the written file: %w", err)
	}
	t.report.After = Score{Number(e.Loss), Number(e.Metric)}
	if want := r.After.Loss; t.held != nil && !(math.Abs(e.Loss-want) <= sameLoss*(1e-3+math.Abs(want))) {
		return fmt.Errorf("convert: verification: the written file has the loss %.6g, the trained weights %.6g; nothing was written", e.Loss, want)
	}
	return nil
}

// checkValues wants the written tensors to be what was trained, bit for bit, after rounding where they are stored in fewer bits.
func (t *tuning) checkValues(ctx context.Context, m *onnx.Model, values map[*onnx.Tensor]*onnx.Array) error {
	full, err := export.Restore(ctx, m)
	if err != nil {
		return fmt.Errorf("convert: verification: %w", err)
	}
	if full != m {
		defer full.Close()
	}
	records, err := export.Records(full)
	if err != nil {
		return fmt.Errorf("convert: verification: %w", err)
	}
	others, err := export.Matrices(full)
	if err != nil {
		return fmt.Errorf("convert: verification: %w", err)
	}
	written, err := chooseWeights(t.o.Output, weightsOf(full, records, others...), t.o.Train)
	if err != nil {
		return fmt.Errorf("convert: verification: %w", err)
	}
	if len(written) != len(t.weights) {
		return fmt.Errorf("convert: verification: the written file has %d tensors to train, the model %d; nothing was written", len(written), len(t.weights))
	}
	for k, w := range t.weights {
		got, err := written[k].tensor.Array()
		if err != nil {
			return fmt.Errorf("convert: verification: %w", err)
		}
		a, err := got.Bytes()
		if err != nil {
			return fmt.Errorf("convert: verification: %w", err)
		}
		b, err := values[w.tensor].Bytes()
		if err != nil {
			return fmt.Errorf("convert: verification: %w", err)
		}
		if r := t.stored[w.tensor]; r != nil && !bytes.Equal(a, b) { // equal where the stored value was left as it is
			rounded := values[w.tensor].Clone()
			r.Round(rounded.Data.([]float32))
			if b, err = rounded.Bytes(); err != nil {
				return fmt.Errorf("convert: verification: %w", err)
			}
		}
		if got.Type != w.tensor.Type || !bytes.Equal(a, b) {
			return fmt.Errorf("convert: verification: %v: the written file has other values than were trained; nothing was written", w.tensor)
		}
	}
	return nil
}
