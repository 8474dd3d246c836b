package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/trconvert/trconvert/convert"
	"github.com/trconvert/trconvert/internal/term"
	"github.com/urfave/cli/v2"
)

// dataFiles says which files hold samples.
const dataFiles = ".npz with arrays named as the model's inputs, .npy or .csv for a single input, or a folder in the ONNX test_data_set layout"

// Flags that verbs on data share.
var (
	flagLabels    = &flag{name: "labels", value: "NAME", group: groupData, usage: "the labels: an array of the .npz, a column of the .csv, an .npy beside the data's, or a file NAME.pb of each set of a folder; a class for each sample or step, or numbers as the output has them"}
	flagLengths   = &flag{name: "lengths", value: "NAME", group: groupData, usage: "an array of the .npz with the steps of each sample that count, where samples are padded"}
	flagOutput    = &flag{name: "output", value: "NAME", group: groupData, usage: "the output that the labels are for (default: the only one)"}
	flagLoss      = &flag{name: "loss", value: "LOSS", group: groupData, words: convert.Losses, usage: "auto (default): what labels and output look like; cross-entropy: of classes, from logits or from the model's own softmax; mse: mean squared error; bce: binary cross-entropy, from logits or from the model's own sigmoid"}
	flagBatchAxis = &flag{name: "batch-axis", value: "NAME=K", group: groupData, many: true, usage: "the samples of input NAME lie along axis K"}
	flagState     = &flag{name: "state", value: "OUT=IN", group: groupData, many: true, usage: "the model is one step of a stream: arrays carry sample and step axes, IN starts at zero and takes OUT of the step before"}
)

func evalVerb() *verb {
	return &verb{
		name:  "eval",
		short: "measure accuracy and loss on labelled data",
		args:  []argument{modelArgument("MODEL")},
		flags: []*flag{
			{name: "data", value: "DATA", group: groupData, kind: anyFile, usage: "inputs: " + dataFiles},
			flagLabels, flagLoss, flagOutput, flagLengths, flagBatchAxis, flagState,
			flagJSON, flagQuiet, flagFollow, flagThreads,
		},
		text: `
Runs a model, dense or compact, on all samples and compares an output with the labels: the share of right answers, and the loss. For numbers that are no yes or no the metric is the
relative error ‖y−t‖/‖t‖ (Frobenius).

A label of −1 marks a sample or step without one.`,
		examples: []string{
			"eval model.tr.onnx --data test.npz --labels label",
			"eval model.onnx --data test.csv --labels class --json",
			"eval denoiser.onnx --data noisy.npz --labels clean --loss mse --state h_out=h_in",
		},
		parse: parseEval,
	}
}

// reading reads the flags that say how arrays become samples.
func (r *reader) reading() convert.DataOptions {
	return convert.DataOptions{BatchAxis: r.axes("batch-axis"), States: r.pairs("state", "OUT=IN"), Labels: r.text("labels"), Lengths: r.text("lengths")}
}

type evalCommand struct {
	common
	options convert.EvalOptions
}

func parseEval(c *cli.Context) (command, error) {
	r := &reader{c: c}
	e := evalCommand{common: r.common()}
	e.options = convert.EvalOptions{
		Model:   c.Args().First(),
		Data:    r.text("data"),
		Reading: r.reading(),
		Loss:    r.word("loss", convert.Losses),
		Output:  r.text("output"),
		Files:   r.files(),
		Threads: e.threads,
	}
	return e, r.err
}

func (e evalCommand) run(ctx context.Context, c *console) error {
	e.apply()
	bar := e.bar(c)
	e.options.Progress = func(done, samples int) { bar.Show(done, samples, "evaluating") }
	r, err := convert.Eval(ctx, e.options)
	bar.Clear()
	if err != nil {
		return err
	}
	return show(c, e.common, r, evaluationText)
}

func evaluationText(r *convert.Evaluation) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s on %s samples (output %s)\n\n", term.Escape(r.Model.File), term.Count(int64(r.Samples)), term.Escape(r.Output))
	rows := [][]string{{r.LossName, number(float64(r.Loss))}}
	if r.MetricName != "" {
		rows = append(rows, []string{r.MetricName, metric(r.MetricName, float64(r.Metric))})
	}
	b.WriteString(term.Table([]term.Column{{Title: "measure"}, {Title: "value", Figure: true}}, rows))
	b.WriteString(warnings(r.Warnings))
	fmt.Fprintf(&b, "\n%.1f s\n", r.Seconds)
	return b.String()
}

// number writes a loss with four digits.
func number(v float64) string { return fmt.Sprintf("%.4g", v) }

// metric writes an accuracy as a percentage, and other metrics as errors.
func metric(name string, v float64) string {
	if name == "accuracy" {
		return fmt.Sprintf("%.2f %%", 100*v)
	}
	return term.Error(v)
}
