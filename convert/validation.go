package convert

import (
	"context"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime/dataset"
	"github.com/trconvert/trconvert/runtime/finetune"
	"github.com/trconvert/trconvert/tensor"
)

// DropReport is what a largest drop of the metric came to.
type DropReport struct {
	Metric string `json:"metric_name"`
	Before Number `json:"before"`
	After  Number `json:"after"`
}

// validation measures models on labelled data.
type validation struct {
	options EvalOptions
	data    *dataset.Dataset
	name    string // of the metric
	falls   bool   // a lower metric is worse
}

// validation opens the data that a largest drop is measured on.
func (c *conversion) validation(ctx context.Context, v Validation) (*validation, error) {
	d, err := dataset.Open(ctx, v.Data, c.original, v.Reading)
	if err != nil {
		return nil, err
	}
	return &validation{
		options: EvalOptions{Model: c.o.Model, Data: v.Data, Reading: v.Reading, Loss: v.Loss, Output: v.Output, Threads: c.o.Threads},
		data:    d,
	}, nil
}

func (v *validation) close() { v.data.Close() }

// metric is that of a model with the original's interface.
func (v *validation) metric(ctx context.Context, m *onnx.Model) (float64, error) {
	s, err := v.options.scoring(ctx, m, v.data)
	if err != nil {
		return 0, err
	}
	e, err := finetune.Evaluate(ctx, m, v.data, s.objective, finetune.EvaluateOptions{Streams: finetune.Streams{States: v.options.Reading.States}})
	if err != nil {
		return 0, err
	}
	v.name, v.falls = string(e.Kind), e.Kind == finetune.Accuracy
	return e.Metric, nil
}

// onceLoaded reads a matrix at the first call and gives the same one at each.
func onceLoaded(load func(context.Context) (*tensor.Dense, error)) func(context.Context) (*tensor.Dense, error) {
	var w *tensor.Dense
	return func(ctx context.Context) (*tensor.Dense, error) {
		if w == nil {
			var err error
			if w, err = load(ctx); err != nil {
				return nil, err
			}
		}
		return w, nil
	}
}
