package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/trconvert/trconvert/convert"
	"github.com/trconvert/trconvert/internal/plot"
	"github.com/trconvert/trconvert/internal/term"
	"github.com/urfave/cli/v2"
)

func finetuneVerb() *verb {
	return &verb{
		name:  "finetune",
		short: "train a compact model on data, with labels or after the original",
		args:  []argument{modelArgument("COMPACT")},
		flags: []*flag{
			flagOut,
			{name: "weights", value: "TYPE", group: groupForm, words: convert.Storages, usage: "how the weights of the result are stored (default: as they are in COMPACT). Training computes with what will be stored"},
			{name: "plot", value: "FILE.svg", group: groupForm, kind: anyFile, usage: "draw the losses of the epochs (default: loss.svg in the folder of the checkpoint, if there is one)"},

			{name: "data", value: "DATA", group: groupData, kind: anyFile, usage: "what to train on: " + dataFiles},
			flagLabels,
			{name: "teacher", value: "MODEL", group: groupData, kind: modelFile, usage: "a model, such as the original, whose outputs are to be met; with --labels both count"},
			flagLoss, flagOutput,
			{name: "class-weights", value: "WEIGHTS", group: groupData, usage: "how much the labels of each class count in the cross-entropy, a weighted mean then: none (default); balanced, N/(K·n) for a class with n of the N labels of K classes; or a number for each class, such as 1,1,4"},
			{name: "val", value: "FRACTION|DATA", group: groupData, kind: anyFile, usage: "what epochs are judged by: a part of the samples, held back, such as 0.1 (default: none, and the last epoch is written), or another data set"},
			flagLengths, flagBatchAxis, flagState,

			{name: "train", value: "WHAT", group: groupTrain, words: convert.Trainings, usage: "all (default): every weight; cores: the cores of factored layers; site: those and the layers' R and biases; head: what stands behind the last recurrent layer"},
			{name: "start", value: "START", group: groupTrain, words: convert.Starts, usage: "what the cores begin with: auto (default), with --teacher fresh where a layer is 200 times smaller or more and the model wrong more often than right, otherwise stored; stored, as they are; fresh, drawn anew, with all other weights as they are; try, whichever of the two does better in a short trial; layers, as they are, then moved by least squares until each layer's input projection is as near to that of the same layer of --teacher as it gets. layers takes seconds, and pays where the model was decomposed without --calibration"},
			{name: "epochs", value: "N", group: groupTrain, usage: "times the data are gone through (default: as often as makes 2400 steps, for streams 480 steps of a window each)"},
			{name: "lr", value: "X", group: groupTrain, usage: "learning rate (default 0.01, with cores that auto drew anew 0.02, for streams 0.001)"},
			{name: "batch", value: "N", group: groupTrain, usage: "samples of a step (default 32, for streams 4, or all where there are fewer)"},
			{name: "seed", value: "S", group: groupTrain, usage: "of everything random (default 0); same seed, same bytes"},
			{name: "checkpoint", value: "DIR", group: groupTrain, kind: anyFile, usage: "keep the state of the training in this folder"},
			{name: "resume", group: groupTrain, usage: "go on from the checkpoint in --checkpoint DIR, to the same bytes; without one training begins"},

			flagJSON, flagQuiet, flagForce, flagFollow, flagThreads,
		},
		text: `
Trains the cores of a compact model, and unless --train says otherwise all other weights, and writes a model with the new values. Nothing else in it changes: it has the same size and
runs where the old one did, and finetune can go on with it. Weights that are stored as float16 or int8 stay so: float32 copies of them are trained, through the
rounding, so that the figures of the epochs are those of the stored model. The best epoch on samples held back with --val is written, or the last one without any.

With --labels it learns what the labels say. With --teacher it learns to answer as the original does, for which no labels are needed. With both the loss is
0.7 · (loss on labels) + 0.3 · (loss against the teacher), which usually is best. Every operator on the way from the trained weights to the output needs a gradient; those without are named before anything is done.

It works on dense models, too, with --train all, site or head.

A training that is interrupted writes nothing but its checkpoint.`,
		examples: []string{
			"finetune small.onnx -o tuned.onnx --data train.npz --labels label --teacher model.onnx",
			"finetune small.onnx -o tuned.onnx --data unlabelled.npz --teacher model.onnx",
			"finetune s.onnx -o t.onnx --data train.npz --labels label --checkpoint ckpt --resume",
			"finetune s.onnx -o t.onnx --data noisy.npz --teacher step.onnx --state h_out=h_in",
		},
		parse: parseFinetune,
	}
}

type finetuneCommand struct {
	common
	options convert.FinetuneOptions
}

func parseFinetune(c *cli.Context) (command, error) {
	r := &reader{c: c}
	f := finetuneCommand{common: r.common()}
	f.options = convert.FinetuneOptions{
		Model:      c.Args().First(),
		Output:     r.text("o"),
		Data:       convert.TrainingData{Path: r.text("data"), Reading: r.reading(), Output: r.text("output")},
		Teacher:    r.text("teacher"),
		Loss:       r.word("loss", convert.Losses),
		Train:      r.word("train", convert.Trainings),
		Weights:    convert.Storage(r.word("weights", convert.Storages)),
		Start:      r.word("start", convert.Starts),
		Settings:   convert.TrainingSettings{Epochs: r.integer("epochs", 1), Rate: r.number("lr", 0), Batch: r.integer("batch", 1), Seed: r.seed("seed")},
		Checkpoint: convert.CheckpointOptions{Folder: r.text("checkpoint"), Resume: c.Bool("resume")},
		Plot:       r.text("plot"),
		Files:      r.files(),
		Threads:    f.threads,
	}
	f.options.Data.Held, f.options.Data.HeldPart = r.held("val")
	f.options.Data.ClassWeights = r.classWeights("class-weights")
	return f, r.err
}

// held reads a part of the samples or the name of a data set.
func (r *reader) held(name string) (data string, part float64) {
	v := r.text(name)
	x, err := strconv.ParseFloat(v, 64)
	switch {
	case err != nil:
		return v, 0
	case x == 0:
		return "", -1
	case !(x > 0 && x < 1):
		r.fail(name, v, "must be a part of the samples from 0 to below 1, or a file")
	}
	return "", x
}

// classWeights reads none, balanced, or a number for each class.
func (r *reader) classWeights(name string) (w convert.ClassWeights) {
	v := r.text(name)
	switch v {
	case "", "none":
		return w
	case "balanced":
		return convert.ClassWeights{Balanced: true}
	}
	for _, s := range strings.Split(v, ",") {
		x, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) || x < 0 {
			r.fail(name, v, "must be none, balanced, or a number from 0 for each class, such as 1,1,4")
			return w
		}
		w.Each = append(w.Each, x)
	}
	return w
}

func (f finetuneCommand) run(ctx context.Context, c *console) error {
	f.apply()
	bar := f.bar(c)
	f.options.Progress = (&trainingDrawer{bar: bar}).show
	r, err := convert.Finetune(ctx, f.options)
	bar.Clear()
	if err != nil {
		return err
	}
	return show(c, f.common, r, func(r *convert.Training) string { return trainingText(r, term.Is(c.out)) })
}

// kept says what an interrupted training leaves behind.
func (f finetuneCommand) kept() string {
	if folder := f.options.Checkpoint.Folder; folder != "" {
		return fmt.Sprintf("no model was written; --resume goes on from the checkpoint in %s, if it was reached", folder)
	}
	return "nothing was written"
}

// trainingDrawer moves a bar along a training, a unit being a step.
type trainingDrawer struct {
	bar   *term.Bar
	trial string
	start time.Time
	first int // steps done at start
}

func (d *trainingDrawer) show(p convert.TrainingProgress) {
	switch p.Stage {
	case convert.StageRead:
		d.bar.Show(0, 1, "reading")
		return
	case convert.StageLayers:
		d.layers(p.Layers)
		return
	case convert.StageWrite, convert.StageVerify:
		d.bar.Show(1, 1, string(p.Stage))
		return
	}
	done, total := (p.Epoch-1)*p.Steps+p.Step, p.Epochs*p.Steps
	if d.start.IsZero() || d.trial != p.Trial {
		d.start, d.trial, d.first = time.Now(), p.Trial, done
	}
	text := fmt.Sprintf("epoch %d/%d, loss %s", p.Epoch, p.Epochs, number(p.Loss))
	if p.Trial != "" {
		text = "trying " + p.Trial + ", " + text
	}
	if l := p.Last; l != nil && !math.IsNaN(float64(l.ValLoss)) {
		text += ", val " + number(float64(l.ValLoss))
		if m := float64(l.ValMetric); !math.IsNaN(m) {
			text += " (" + number(m) + ")"
		}
	}
	if p.Note != "" {
		text += ", " + p.Note
	}
	if n := done - d.first; n > 0 && done < total {
		left := time.Duration(float64(time.Since(d.start)) / float64(n) * float64(total-done))
		text += ", " + left.Round(time.Second).String() + " left"
	}
	d.bar.Show(done, total, text)
}

// layers shows the least squares in front of the training.
func (d *trainingDrawer) layers(p convert.Progress) {
	if p.Stage == convert.StageCalibrate {
		d.bar.Show(p.Sample, p.Samples, "running the teacher")
		return
	}
	d.bar.Show(p.Matrix*p.Sweeps+p.Sweep, p.Matrices*p.Sweeps, fmt.Sprintf("layer %s, error %s", term.Escape(p.Site), number(p.RelativeError)))
}

// mostEpochs is how many lines of the table of epochs are printed.
const mostEpochs = 12

// curveWidth is the width of the curve of losses on a terminal.
const curveWidth = 60

func trainingText(r *convert.Training, terminal bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s → %s\n\n", term.Escape(r.Input.File), term.Escape(r.Output.File))
	b.WriteString(layersTable(r))
	b.WriteString(epochsTable(r))
	if terminal {
		var losses []float64
		for _, e := range r.Epochs {
			losses = append(losses, float64(e.TrainLoss))
		}
		fmt.Fprintf(&b, "\nloss %s\n", plot.Sparkline(losses, curveWidth))
	}
	var groups []string
	for _, g := range r.Groups {
		groups = append(groups, fmt.Sprintf("%s %s", g.Name, term.Count(g.Parameters)))
	}
	fmt.Fprintf(&b, "\n%s parameters were trained (%s) on %s samples, %s\n\n", term.Count(r.Trained), strings.Join(groups, ", "), term.Count(int64(r.Samples)), ending(r))
	on := "the samples held back"
	if r.MeasuredOn == "training" {
		on = "the training data"
	}
	b.WriteString(term.Table([]term.Column{{Title: "on " + on}, {Title: "before", Figure: true}, {Title: "after", Figure: true}}, [][]string{
		{metricTitle(r), metric(r.MetricName, float64(r.Before.Metric)), metric(r.MetricName, float64(r.After.Metric))},
		{"loss", number(float64(r.Before.Loss)), number(float64(r.After.Loss))},
	}))
	b.WriteString(warnings(r.Warnings))
	if r.Plot != "" {
		fmt.Fprintf(&b, "\nlosses drawn in %s\n", term.Escape(r.Plot))
	}
	fmt.Fprintf(&b, "\n%.1f s, %s of memory at most\n", r.Seconds, term.Bytes(r.PeakBytes))
	return b.String()
}

// layersTable says what came of the start layers, nothing without it.
func layersTable(r *convert.Training) string {
	if len(r.Layers) == 0 {
		return ""
	}
	var rows [][]string
	for _, l := range r.Layers {
		rows = append(rows, []string{l.Site, l.Format, term.Count(int64(l.Frames)), number(float64(l.Before)), number(float64(l.After)), fmt.Sprint(l.Sweeps)})
	}
	return term.Table([]term.Column{
		{Title: "pre-activations", Wrap: 60}, {Title: "format"}, {Title: "frames", Figure: true}, {Title: "error before", Figure: true}, {Title: "after", Figure: true}, {Title: "sweeps", Figure: true},
	}, rows) + "\n"
}

// ending says which epoch was kept and why training ended.
func ending(r *convert.Training) string {
	s := fmt.Sprintf("epoch %d of %d was kept", r.BestEpoch, len(r.Epochs))
	switch r.Status {
	case "stalled":
		s += "; it ended early, for none got better any more"
	case "diverged":
		s += "; it ended because losses became NaN"
	}
	return s
}

// epochsTable shows the epochs, evenly thinned where there are many, the kept one marked.
func epochsTable(r *convert.Training) string {
	var rows [][]string
	every := (len(r.Epochs) + mostEpochs - 1) / mostEpochs
	for k, e := range r.Epochs {
		mark := ""
		if e.Epoch == r.BestEpoch {
			mark = "*"
		}
		if mark == "" && k%every != 0 && k != len(r.Epochs)-1 {
			continue
		}
		row := []string{mark, fmt.Sprint(e.Epoch), number(float64(e.TrainLoss))}
		if r.Held > 0 {
			row = append(row, number(float64(e.ValLoss)), dashed(float64(e.ValMetric), func(v float64) string { return metric(r.MetricName, v) }))
		}
		rows = append(rows, row)
	}
	columns := []term.Column{{Title: ""}, {Title: "epoch", Figure: true}, {Title: "loss", Figure: true}}
	if r.Held > 0 {
		columns = append(columns, term.Column{Title: "val loss", Figure: true}, term.Column{Title: "val " + metricTitle(r), Figure: true})
	}
	return term.Table(columns, rows)
}

// metricTitle names the metric in tables.
func metricTitle(r *convert.Training) string { return cmp.Or(r.MetricName, "metric") }

// dashed writes a figure, a dash where there is none.
func dashed(v float64, write func(float64) string) string {
	if math.IsNaN(v) {
		return "–"
	}
	return write(v)
}
