package convert

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
	"github.com/trconvert/trconvert/runtime/finetune"
)

// aim chooses what the training makes small, and checks labels and teacher.
func (t *tuning) aim(ctx context.Context) error {
	states := t.o.Data.Reading.States
	p, err := runtime.Compile(ctx, t.model, runtime.Options{Threads: t.o.Threads})
	if err != nil {
		return inFile(t.o.Model, err)
	}
	g, err := look(ctx, t.model, p, t.all, states)
	if err != nil {
		return inFile(t.o.Model, err)
	}
	outputs := inputNames(floatOutputs(p.Outputs(), states))
	loss := t.o.Loss
	var (
		labels finetune.Objective
		taught []finetune.Distill
	)
	if t.o.Data.Reading.Labels != "" {
		output, err := chooseOutput(t.o.Model, p.Outputs(), states, t.o.Data.Output)
		if err != nil {
			return err
		}
		s, err := t.aimAtLabels(ctx, g, output)
		if err != nil {
			return err
		}
		outputs, loss = []string{output}, s.loss
		t.report.LossName = s.loss
		labels = s.objective
	}
	if t.teacher != nil {
		if taught, err = t.aimAtTeacher(ctx, p, g, outputs, loss); err != nil {
			return err
		}
	}
	t.recipe = t.defaults()
	t.objective = t.mix(labels, taught)
	return nil
}

// mix weighs labels, which may be nil, and the teacher's outputs as the recipe says.
func (t *tuning) mix(labels finetune.Objective, taught []finetune.Distill) finetune.Objective {
	var terms finetune.Mix
	if labels != nil {
		terms = append(terms, finetune.Term{Objective: labels, Factor: 1 - t.recipe.Alpha})
	}
	for _, d := range taught {
		d.Temperature = t.recipe.Temperature
		terms = append(terms, finetune.Term{Objective: d, Factor: t.recipe.Alpha})
	}
	if len(terms) == 1 {
		return terms[0].Objective
	}
	return terms
}

// aimAtLabels checks all labels.
func (t *tuning) aimAtLabels(ctx context.Context, g *glance, output string) (*scoring, error) {
	s, err := score(ctx, t.model, g, t.all, output, t.o.Loss)
	if err != nil {
		return nil, err
	}
	labels := t.o.Data.Reading.Labels
	if s.classes != nil {
		if class, only := s.classes.Only(); only {
			return nil, fmt.Errorf("convert: data %q: labels %q: all of %d samples are of class %d, one of %d: nothing can be learnt from a single class", t.o.Data.Path, labels, t.all.Len(), class, s.count)
		}
		if s.classes.Ignored > 0 && !slices.ContainsFunc(s.classes.Counts, func(n int) bool { return n > 0 }) {
			return nil, fmt.Errorf("convert: data %q: labels %q: none of %d samples has one", t.o.Data.Path, labels, t.all.Len())
		}
	}
	if err := t.weigh(ctx, s); err != nil {
		return nil, err
	}
	if t.o.Data.Held == "" { // a part of what has been checked
		return s, nil
	}
	if s.classes != nil {
		_, err = t.held.Classes(ctx, s.count)
	} else {
		err = t.held.CheckTargets(ctx, nil)
	}
	return s, err
}

// aimAtTeacher pairs outputs with those of the teacher.
func (t *tuning) aimAtTeacher(ctx context.Context, student *runtime.Program, g *glance, outputs []string, loss string) ([]finetune.Distill, error) {
	if len(outputs) == 0 {
		return nil, &UnsupportedError{File: t.o.Model, Reasons: []string{"it has no output of a floating type that a loss could be taken of"}}
	}
	p, err := runtime.Compile(ctx, t.teacher, runtime.Options{Threads: t.o.Threads})
	if err != nil {
		return nil, classify(t.o.Teacher, inFile(t.o.Teacher, err))
	}
	if err := t.checkTeacherInputs(student.Inputs(), p.Inputs()); err != nil {
		return nil, err
	}
	states := t.o.Data.Reading.States
	tg, err := look(ctx, t.teacher, p, t.all, states)
	if err != nil {
		return nil, fmt.Errorf("convert: teacher %q: %w", t.o.Teacher, err)
	}
	var taught []finetune.Distill
	names := inputNames(floatOutputs(p.Outputs(), states))
	for _, own := range outputs {
		of := own
		if !slices.Contains(names, of) {
			if len(names) != 1 || len(outputs) != 1 {
				return nil, fmt.Errorf("convert: teacher %q: has no output %q as the model has (its outputs: %s)", t.o.Teacher, own, quoteAll(names, ", "))
			}
			of = names[0]
		}
		if a, b := g.outputs[own].Dims, tg.outputs[of].Dims; !slices.Equal(a, b) {
			return nil, fmt.Errorf("convert: teacher %q: output %q has dims %v on the first sample, the model's %q %v", t.o.Teacher, of, b, own, a)
		}
		d, name, err := t.distill(own, of, loss)
		if err != nil {
			return nil, err
		}
		if t.report.LossName == "" {
			t.report.LossName = name
		}
		taught = append(taught, d)
	}
	return taught, nil
}

// checkTeacherInputs wants the data to fit the teacher: every input that it has must be one of the model's, of the same type.
func (t *tuning) checkTeacherInputs(own, of []*onnx.ValueInfo) error {
	for _, in := range of {
		k := slices.IndexFunc(own, func(v *onnx.ValueInfo) bool { return v.Name == in.Name })
		if k < 0 {
			return fmt.Errorf("convert: teacher %q: its input %q is none of the model's %s", t.o.Teacher, in.Name, strings.Join(describe(own), ", "))
		}
		if v := own[k]; v.Type != nil && in.Type != nil && v.Type.Elem != in.Type.Elem {
			return fmt.Errorf("convert: teacher %q: its input %q is of %s, the model's of %s", t.o.Teacher, in.Name, typeName(in.Type.Elem), typeName(v.Type.Elem))
		}
	}
	return nil
}

// distill is the loss of an output against the teacher's. Where the loss is not told, outputs of a softmax or sigmoid are taken for what they are, outputs whose name speaks of logits for
// logits of classes, and others for numbers.
func (t *tuning) distill(own, of, loss string) (d finetune.Distill, name string, err error) {
	if d.Own, err = finetune.FindHead(t.model, own); err != nil {
		return d, "", err
	}
	if d.Of, err = finetune.FindHead(t.teacher, of); err != nil {
		return d, "", err
	}
	if loss == lossAuto {
		switch {
		case d.Own.Link == finetune.Softmax, d.Own.Link == finetune.Plain && strings.Contains(strings.ToLower(own), "logit"):
			loss = lossClasses
		case d.Own.Link == finetune.Sigmoid:
			loss = lossBinary
		default:
			loss = lossSquared
		}
	}
	switch loss {
	case lossBinary:
		d.Own, d.Of = d.Own.Elements(), d.Of.Elements()
	case lossSquared:
		d.Own, d.Of = d.Own.Itself(), d.Of.Itself()
	}
	return d, loss, nil
}

// options are the settings of the training: the recipe's where the user gives none.
func (t *tuning) options() finetune.Options {
	s, o := t.o.Settings, t.recipe.Options
	if s.Epochs > 0 {
		o.Epochs = s.Epochs
	}
	if s.Batch > 0 {
		o.Batch = s.Batch
	}
	if s.Rate > 0 {
		o.Optimizer.Rate = s.Rate
	}
	o.Seed = s.Seed
	o.Groups = t.groups()
	o.Teacher = t.teacher
	o.Streams.States = t.o.Data.Reading.States
	o.Checkpoints = finetune.Checkpoints{Dir: t.o.Checkpoint.Folder, Resume: t.o.Checkpoint.Resume, Replace: t.o.Files.Force, Every: checkpointSteps}
	o.Observe = t.observe()
	t.report.Settings = SettingsReport{Epochs: o.Epochs, Rate: o.Optimizer.Rate, Batch: o.Batch, Seed: o.Seed}
	return o
}

// checkpointSteps is the number of optimizer steps between checkpoints.
const checkpointSteps = 50

// observe draws events of the training as progress.
func (t *tuning) observe() func(finetune.Event) {
	var last *TrainingEpoch
	return func(e finetune.Event) {
		p := TrainingProgress{Stage: StageTrain, Trial: e.Trial, Epoch: e.Epoch, Epochs: e.Epochs, Step: e.Step, Steps: e.Steps, Loss: e.Loss}
		switch e.Kind {
		case finetune.EpochEnded:
			v := trainingEpoch(e.Summary)
			last = &v
		case finetune.BackedOff:
			p.Note = e.Reason
		case finetune.Chosen:
			p.Note = "start: " + e.Trial
			last = nil
		}
		p.Last = last
		t.progress(p)
	}
}
