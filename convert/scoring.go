package convert

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
	"github.com/trconvert/trconvert/runtime/dataset"
	"github.com/trconvert/trconvert/runtime/finetune"
)

// Losses are the losses of outputs against labels or a teacher's outputs. The first, the default, chooses by what labels and outputs look like.
var Losses = []string{lossAuto, lossClasses, lossSquared, lossBinary}

const (
	lossAuto    = "auto"
	lossClasses = "cross-entropy"
	lossSquared = "mse"
	lossBinary  = "bce"
)

// scoring is how an output of a model is compared with labels.
type scoring struct {
	output    string
	loss      string // never lossAuto
	head      finetune.Head
	objective finetune.Objective
	classes   *dataset.Classes // of cross-entropy
	count     int              // of classes
}

// floatOutputs lists the outputs that a loss can be taken of: of a floating type, and no states.
func floatOutputs(outputs []*onnx.ValueInfo, states map[string]string) []*onnx.ValueInfo {
	var out []*onnx.ValueInfo
	for _, v := range outputs {
		if _, state := states[v.Name]; !state && v.Type != nil && v.Type.Kind == "tensor" && isFloating(v.Type.Elem) {
			out = append(out, v)
		}
	}
	return out
}

// chooseOutput finds the output that labels are for: the one that is asked for, or the only one of its kind.
func chooseOutput(file string, outputs []*onnx.ValueInfo, states map[string]string, asked string) (string, error) {
	all := floatOutputs(outputs, states)
	names := inputNames(all)
	switch {
	case asked != "" && !slices.Contains(names, asked):
		return "", &OptionError{Option: "--output", Value: asked, What: "is no output of the model that a loss can be taken of", Near: nearest(asked, names, 1), Valid: describe(all)}
	case asked != "":
		return asked, nil
	case len(all) == 0:
		return "", &UnsupportedError{File: file, Reasons: []string{fmt.Sprintf("none of its outputs is of a floating type and no state: %s", strings.Join(describe(outputs), ", "))}}
	case len(all) > 1:
		return "", &OptionError{Option: "--output", What: "the model has several outputs; say which one the labels are for", Valid: describe(all)}
	}
	return names[0], nil
}

// glance is what a model makes of the first sample, and the labels beside it.
type glance struct {
	outputs map[string]*onnx.Array
	rows    int // samples in the run
	labels  *onnx.Array
}

// look runs the first sample (the first step of it).
func look(ctx context.Context, m *onnx.Model, p *runtime.Program, d *dataset.Dataset, states map[string]string) (*glance, error) {
	if d.Len() == 0 || d.Steps() == 0 {
		return nil, fmt.Errorf("%d samples of %d steps: there is nothing to run", d.Len(), d.Steps())
	}
	s := &subject{model: m, inputs: p.Inputs(), run: p.Run}
	first := dataset.BatchOptions{Size: 1}
	if len(states) > 0 {
		first.Window = 1
	}
	for b, err := range d.Batches(ctx, first) {
		if err != nil {
			return nil, err
		}
		g := &glance{rows: len(b.Weights), labels: b.Labels}
		if err := s.reset(states, g.rows); err != nil {
			return nil, err
		}
		if g.outputs, err = s.step(ctx, b.At(0), states); err != nil {
			return nil, fmt.Errorf("sample 0: %w", err)
		}
		return g, nil
	}
	return nil, errors.New("the data set gave no batch")
}

// score decides how an output is compared with the labels, and checks all labels.
func score(ctx context.Context, m *onnx.Model, g *glance, d *dataset.Dataset, output, loss string) (*scoring, error) {
	head, err := finetune.FindHead(m, output)
	if err != nil {
		return nil, err
	}
	s := &scoring{output: output, loss: loss, head: head}
	numbers, labels := g.outputs[output].Elements()/g.rows, g.labels.Elements()/g.rows
	if numbers == 0 || labels == 0 {
		return nil, fmt.Errorf("convert: output %q has dims %v, the labels of a sample %v: there is nothing to compare", output, g.outputs[output].Dims, g.labels.Dims)
	}
	if s.loss == "" || s.loss == lossAuto {
		s.loss = s.guess(g, numbers, labels)
	}
	if s.loss != lossClasses {
		if numbers != labels {
			return nil, fmt.Errorf("convert: output %q has %d numbers for a sample (dims %v), the labels %d (dims %v): loss %s needs as many", output, numbers, g.outputs[output].Dims, labels, g.labels.Dims, s.loss)
		}
		s.head = head.Itself()
		s.objective = finetune.Squared{Head: s.head}
		if s.loss == lossBinary {
			s.head = head.Elements()
			s.objective = finetune.Binary{Head: s.head}
		}
		return s, d.CheckTargets(ctx, nil)
	}
	if numbers%labels != 0 || numbers/labels < 2 {
		return nil, fmt.Errorf("convert: output %q has %d numbers for a sample (dims %v), the labels %d (dims %v): there are not two classes or more for each label", output, numbers, g.outputs[output].Dims, labels, g.labels.Dims)
	}
	s.count = numbers / labels
	s.objective = finetune.CrossEntropy{Head: head}
	s.classes, err = d.Classes(ctx, s.count)
	return s, err
}

// guess chooses a loss: as many labels as numbers are targets, of yes-or-no outputs where a sigmoid gives them or where they are integers 0 and 1; fewer labels are classes.
func (s *scoring) guess(g *glance, numbers, labels int) string {
	switch {
	case numbers != labels:
		return lossClasses
	case s.head.Link == finetune.Sigmoid, !isFloating(g.labels.Type):
		return lossBinary
	}
	return lossSquared
}
