package convert

import (
	"context"
	"fmt"
	"strings"

	"github.com/trconvert/trconvert/export/gates"
	"github.com/trconvert/trconvert/export/step"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
)

// exportGates writes one time step with matrices of two axes.
func exportGates(ctx context.Context, e *exporting) (*product, error) {
	if err := e.checkStates(); err != nil {
		return nil, err
	}
	s, err := step.Make(ctx, e.model, step.Options{States: e.o.States})
	if err != nil {
		return nil, err
	}
	defer s.Model.Close()
	e.states(s)
	dims, err := e.fixedDims(ctx, s.Model)
	if err != nil {
		return nil, err
	}
	record, _ := s.Model.MetadataValue(step.Key)
	r, err := gates.Lower(ctx, s.Model, gates.Options{Dims: dims, Metadata: map[string]string{step.Key: record}})
	if err != nil {
		return nil, err
	}
	if len(r.Beyond) > 0 {
		e.warn("operators", "", "besides %s it needs %s, which the smallest runtimes (onnx-go among them) lack", strings.Join(gates.Core, ", "), strings.Join(r.Beyond, ", "))
	}
	return &product{model: r.Model, check: func(ctx context.Context, written *onnx.Model) (*Comparison, error) {
		if s.Timeline != nil {
			if _, err := e.compareSteps(ctx, s, s.Model); err != nil {
				return nil, err
			}
		}
		return e.compareStreams(ctx, written, s)
	}}, nil
}

// streamSteps is the number of steps of a comparison of two models of one step.
const streamSteps = 5

// compareStreams runs two models of one step beside each other, each on its own states.
func (e *exporting) compareStreams(ctx context.Context, written *onnx.Model, s *step.Model) (*Comparison, error) {
	ro := runtime.Options{Threads: e.o.Threads}
	a, err := runtime.Compile(ctx, written, ro)
	if err != nil {
		return nil, err
	}
	b, err := runtime.Compile(ctx, s.Model, ro)
	if err != nil {
		return nil, err
	}
	states := map[string]string{}
	for _, st := range s.States {
		states[st.Output] = st.Input
	}
	c := newComparer()
	both := []*subject{{run: a.Run, inputs: a.Inputs()}, {run: b.Run, inputs: b.Inputs()}}
	skip := map[string]bool{}
	for name := range states {
		skip[name] = true
	}
	for k := range streamSteps {
		feeds, err := trials[0].feeds(a.Inputs(), uint64(k))
		if err != nil {
			return nil, err
		}
		var outs []map[string]*onnx.Array
		for _, sub := range both {
			if k == 0 {
				sub.states = map[string]*onnx.Array{}
				for _, in := range states {
					if sub.states[in], err = onnx.ZeroArray(feeds[in].Type, feeds[in].Dims); err != nil {
						return nil, err
					}
				}
			}
			out, err := sub.step(ctx, feeds, states)
			if err != nil {
				return nil, fmt.Errorf("convert: verification: step %d does not run: %w", k, err)
			}
			outs = append(outs, out)
		}
		if err := c.add(outs[0], outs[1], skip); err != nil {
			return nil, fmt.Errorf("convert: verification: step %d: %w", k, err)
		}
	}
	result := c.result("go")
	if err := e.within(&result, c.worst(), "the written step differs from the model's"); err != nil {
		return nil, err
	}
	return &result, nil
}
