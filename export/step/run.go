package step

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/trconvert/trconvert/export/source"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
)

// Run runs a step model, which may be another than the one in s with the same interface, over a sample stream and gives its outputs at each step, without states, next to those of
// the whole model: outputs with a time axis are that step's, the others what the whole model gives for the steps so far.
func (s *Model) Run(ctx context.Context, stepped *onnx.Model, o runtime.Options) (got, want []map[string]*onnx.Array, err error) {
	whole, err := runtime.Compile(ctx, s.Timeline.Model, o)
	if err != nil {
		return nil, nil, err
	}
	step, err := runtime.Compile(ctx, stepped, o)
	if err != nil {
		return nil, nil, err
	}
	zeros, err := s.zeros(step.Inputs())
	if err != nil {
		return nil, nil, err
	}
	states := maps.Clone(zeros)
	for k := range source.SampleSteps {
		all := s.Timeline.Samples(0, k+1)
		for _, v := range whole.Inputs() {
			if zeros[v.Name] != nil {
				all[v.Name] = zeros[v.Name]
			}
		}
		out, err := whole.Run(ctx, all)
		if err != nil {
			return nil, nil, fmt.Errorf("export: one time step: the model does not run with %d steps: %w", k+1, err)
		}
		feeds := s.Timeline.Samples(k, 1)
		maps.Copy(feeds, states)
		mine, err := step.Run(ctx, feeds)
		if err != nil {
			return nil, nil, fmt.Errorf("export: one time step: step %d does not run: %w", k, err)
		}
		for _, st := range s.States {
			states[st.Input] = mine[st.Output]
			delete(mine, st.Output)
			delete(out, st.Output)
		}
		for name, axis := range s.Timeline.Outputs {
			if axis >= 0 && out[name] != nil {
				out[name] = source.Part(out[name], axis, k, 1)
			}
		}
		got, want = append(got, mine), append(want, out)
	}
	return got, want, nil
}

// zeros are the states at the start, in the dims of the sample.
func (s *Model) zeros(inputs []*onnx.ValueInfo) (map[string]*onnx.Array, error) {
	sample := s.Timeline.Samples(0, 1)
	zeros := map[string]*onnx.Array{}
	for _, v := range inputs {
		if !slices.ContainsFunc(s.States, func(st State) bool { return st.Input == v.Name }) {
			continue
		}
		t := onnx.Float
		var dims []int
		if a := sample[v.Name]; a != nil {
			t, dims = a.Type, a.Dims
		} else {
			t = v.Type.Elem
			for _, d := range v.Type.Shape {
				n := sampleDim
				if d.Known {
					n = int(d.Value)
				}
				dims = append(dims, n)
			}
		}
		zero, err := onnx.ZeroArray(t, dims)
		if err != nil {
			return nil, fmt.Errorf("export: one time step: %w", err)
		}
		zeros[v.Name] = zero
	}
	return zeros, nil
}
