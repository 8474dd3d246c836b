package convert

import (
	"context"
	"fmt"
	"slices"

	"github.com/trconvert/trconvert/export"
	"github.com/trconvert/trconvert/export/step"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
)

// exportStep writes the model of one time step.
func exportStep(ctx context.Context, e *exporting) (*product, error) {
	if err := e.checkStates(); err != nil {
		return nil, err
	}
	s, err := step.Make(ctx, e.model, step.Options{States: e.o.States})
	if err != nil {
		return nil, err
	}
	e.states(s)
	out := s.Model
	if e.o.Weights != "" {
		if out, err = stored(ctx, s.Model, e.o.Weights); err != nil {
			return nil, err
		}
	}
	return &product{model: out, check: func(ctx context.Context, written *onnx.Model) (*Comparison, error) {
		if s.Timeline == nil {
			storage, err := storageOf(e.model)
			if err != nil {
				return nil, err
			}
			return e.compare(ctx, written, storage)
		}
		return e.compareSteps(ctx, s, written)
	}}, nil
}

// stored gives a model with weights of another storage, and closes the one that it had.
func stored(ctx context.Context, m *onnx.Model, storage Storage) (*onnx.Model, error) {
	c := chain{m: m}
	err := c.restore(ctx)
	if err == nil {
		err = c.store(ctx, storage)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c.m, nil
}

// checkStates refuses pairs of which the model has no such output or input.
func (e *exporting) checkStates() error {
	outs, ins := inputNames(e.model.Graph.Outputs), inputNames(trueInputs(e.model))
	for _, out := range sortedNames(e.o.States) {
		in := e.o.States[out]
		for _, c := range []struct {
			kind, name string
			valid      []string
		}{{"output", out, outs}, {"input", in, ins}} {
			if !slices.Contains(c.valid, c.name) {
				return &OptionError{Option: optState, Value: out + "=" + in, What: fmt.Sprintf("the model has no %s %q", c.kind, c.name), Near: nearest(c.name, c.valid, 1), Valid: c.valid}
			}
		}
	}
	return nil
}

// states reports the states of a step.
func (e *exporting) states(s *step.Model) {
	for _, st := range s.States {
		e.report.States = append(e.report.States, StateInfo{Input: st.Input, Output: st.Output})
	}
}

// compareSteps runs the written step over a sample stream and holds it to the model of the whole sequence. Narrower weights are held to themselves in full.
func (e *exporting) compareSteps(ctx context.Context, s *step.Model, written *onnx.Model) (*Comparison, error) {
	ro := runtime.Options{Threads: e.o.Threads}
	c := newComparer()
	got, want, err := s.Run(ctx, written, ro)
	if err != nil {
		return nil, err
	}
	for k := range got {
		if err := c.add(got[k], want[k], nil); err != nil {
			return nil, fmt.Errorf("convert: verification: step %d: %w", k, err)
		}
	}
	result := c.result("go")
	if e.o.Weights != "" && e.o.Weights != export.Float32 {
		return &result, nil
	}
	if err := e.within(&result, c.worst(), "the steps differ from the whole sequence"); err != nil {
		return nil, err
	}
	return &result, nil
}
