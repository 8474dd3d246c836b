package finetune

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime/dataset"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// EvaluateOptions say how [Evaluate] runs a model.
type EvaluateOptions struct {
	Batch   int // samples run at once; 0: dataset.DefaultBatch
	Streams Streams
	Teacher *onnx.Model // needed where the objective reads one
	Observe func(sample, samples int)
}

// Evaluate measures a model on a data set, without gradients.
func Evaluate(ctx context.Context, m *onnx.Model, data *dataset.Dataset, objective Objective, o EvaluateOptions) (Evaluation, error) {
	if len(objective.Teacher()) > 0 && o.Teacher == nil {
		return Evaluation{}, fmt.Errorf("finetune: the objective reads %d values of a teacher, there is none", len(objective.Teacher()))
	}
	e, err := compileEngine(ctx, m, objective.Student(), o.Streams, data)
	if err != nil {
		return Evaluation{}, err
	}
	if err := e.checkLabels(ctx, objective, data, false); err != nil {
		return Evaluation{}, err
	}
	s := &source{data: data, stepped: labelsStepped(data)}
	if s.teacher, err = newTeacher(ctx, o.Teacher, objective.Teacher(), o.Streams, data); err != nil {
		return Evaluation{}, fmt.Errorf("finetune: teacher: %w", err)
	}
	s.observe = o.Observe
	sum, err := measure(ctx, e, s, objective, evaluationBatch(o.Batch, data), o.Streams.window())
	return sum.evaluation(data.Len()), err
}

// evaluationBatch is a batch size that a data set has.
func evaluationBatch(size int, d *dataset.Dataset) int {
	if size <= 0 {
		size = dataset.DefaultBatch
	}
	return min(size, d.Len())
}

// measure runs an objective over all samples in their order.
func measure(ctx context.Context, e *engine, s *source, objective Objective, batch, window int) (Measure, error) {
	var sum Measure
	e.current = nil
	done := 0
	for b, err := range s.batches(ctx, dataset.BatchOptions{Size: batch, Window: window}) {
		if err != nil {
			return sum, err
		}
		if err := s.begin(e, b); err != nil {
			return sum, err
		}
		for k := range b.Steps() {
			feeds := b.At(k)
			read, err := s.front.feeds(ctx, b, feeds)
			if err != nil {
				return sum, err
			}
			out, err := e.step(ctx, b, read)
			if err != nil {
				return sum, err
			}
			r, err := s.look(ctx, e, b, k, out, feeds)
			if err != nil {
				return sum, err
			}
			m, err := objective.Loss(r, nil)
			if err != nil {
				return sum, err
			}
			sum.Add(m)
		}
		if s.observe != nil && b.Reset {
			for _, w := range b.Weights {
				if w > 0 {
					done++
				}
			}
			s.observe(done, s.data.Len())
		}
	}
	return sum, nil
}
