package finetune

import (
	"context"
	"fmt"
	"math"
)

// choose tries the starts and gives the number of the best with all their losses.
func (t *trainer) choose(ctx context.Context) (start int, losses []float64, err error) {
	o := &t.options
	if len(o.Trial.Starts) < 2 {
		return 0, nil, nil
	}
	short, err := t.short(ctx)
	if err != nil {
		return 0, nil, err
	}
	best := math.Inf(1)
	for k, s := range o.Trial.Starts {
		short.trial = s.Name
		if err := short.from(k); err != nil {
			return 0, nil, err
		}
		short.state.start = k
		if err := short.judgeStart(ctx); err != nil {
			return 0, nil, err
		}
		if _, err := short.epochs(ctx); err != nil {
			return 0, nil, err
		}
		loss := short.state.best.result.Loss
		if losses = append(losses, loss); loss < best {
			start, best = k, loss
		}
	}
	t.kept, t.peak = short.kept, short.peak
	o.observe(Event{Kind: Chosen, Trial: o.Trial.Starts[start].Name, Epochs: o.Epochs, Loss: best})
	return start, losses, nil
}

// short is the trainer of trials, on a part of the data and without checkpoints.
func (t *trainer) short(ctx context.Context) (*trainer, error) {
	short := *t
	o := &short.options
	o.Epochs = o.Trial.Epochs
	o.Checkpoints = Checkpoints{}
	fraction := o.Trial.Fraction
	if fraction == 0 && t.val == nil {
		fraction = 0.8
	}
	if fraction == 0 || fraction == 1 {
		if t.val == nil {
			return nil, fmt.Errorf("finetune: trials on all data have nothing to be judged by (give validation data, or a part below 1)")
		}
		return &short, nil
	}
	train, held, err := t.train.data.Split(ctx, 1-fraction, o.Seed)
	if err != nil {
		return nil, err
	}
	short.train.data = train
	if t.val == nil {
		val := t.train
		val.data = held
		val.teacher = t.train.teacher.again()
		short.val = &val
	}
	if o.Batch > train.Len() {
		o.Batch = train.Len()
	}
	short.steps, err = train.BatchCount(short.batches(0, 0))
	return &short, err
}
