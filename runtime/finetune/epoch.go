package finetune

import (
	"context"
	"fmt"
	"iter"
	"math"
	"strconv"

	"github.com/trconvert/trconvert/internal/seed"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// epoch runs what is left of an epoch. A reason says that it broke off because a loss or gradient is not finite.
func (t *trainer) epoch(ctx context.Context) (reason string, err error) {
	s := t.state
	t.training.ZeroGrad()
	var sum Measure
	for b, err := range t.train.batches(ctx, t.batches(s.epoch, s.batch)) {
		if err != nil {
			return "", err
		}
		t.hold() // parameters stay as they are until the step
		m, err := t.run(ctx, b)
		if err != nil {
			return "", err
		}
		sum.Add(m)
		if !b.Last {
			continue
		}
		if err := t.release(ctx); err != nil {
			return "", err
		}
		if reason, err := t.step(sum); reason != "" || err != nil {
			return reason, err
		}
		sum = Measure{}
		t.training.ZeroGrad()
		if every := t.options.Checkpoints.Every; every > 0 && s.batch%every == 0 && s.batch < t.steps && s.batch%t.windows == 0 {
			if err := t.save(ctx); err != nil {
				return "", err
			}
		}
	}
	return "", nil
}

// rate is that of the next step.
func (t *trainer) rate() float64 {
	s, o := t.state, &t.options
	rate := o.Optimizer.Rate
	if s.start < len(o.Trial.Starts) && o.Trial.Starts[s.start].Rate > 0 {
		rate = o.Trial.Starts[s.start].Rate
	}
	return rate * s.scale * s.plateau.factor * o.Schedule.at(s.epoch*t.steps+s.batch, t.steps, o.Epochs)
}

// step moves the parameters after a batch whose gradients are summed up.
func (t *trainer) step(m Measure) (reason string, err error) {
	s, o := t.state, &t.options
	rate := t.rate()
	number := s.epoch*t.steps + s.batch + 1
	if m.Weight > 0 {
		scale := 1 / m.Weight
		offsets := make([][]float64, len(t.rings))
		for k, r := range t.rings {
			if offsets[k], err = r.centre(); err != nil {
				return "", err
			}
		}
		n := norm(t.weights) * scale
		if loss := m.Loss(); math.IsNaN(loss) || math.IsInf(loss, 0) || math.IsNaN(n) || math.IsInf(n, 0) {
			return fmt.Sprintf("step %d of epoch %d: the loss is %v, the norm of the gradient %v", s.batch+1, s.epoch+1, loss, n), nil
		}
		if o.Optimizer.Clip > 0 && n > o.Optimizer.Clip {
			scale *= o.Optimizer.Clip / n
		}
		o.Optimizer.update(t.weights, rate, scale, number)
		for k, r := range t.rings {
			if err := r.follow(offsets[k]); err != nil {
				return "", err
			}
		}
		s.averaged(o.Average, number)
	}
	s.partial.Add(m)
	s.batch++
	o.observe(Event{Kind: Stepped, Trial: t.trial, Epoch: s.epoch + 1, Epochs: o.Epochs, Step: s.batch, Steps: t.steps, Rate: rate, Loss: s.partial.Loss()})
	return "", nil
}

// run sends one run of a batch forward and its gradients back: all steps of a window forward, then back from the last to the first with the gradients of the states.
func (t *trainer) run(ctx context.Context, b *dataset.Batch) (Measure, error) {
	var sum Measure
	if err := t.train.begin(t.engine, b); err != nil {
		return sum, err
	}
	name := []string{"finetune", strconv.Itoa(t.state.epoch), strconv.Itoa(b.Number), strconv.Itoa(b.Run)}
	options := runtime.PassOptions{Dropout: t.options.Noise.Dropout}
	options.Dropout.Seed = seed.Stream(t.options.Seed, append(name, "dropout")...).Uint64()
	noise := seed.Stream(t.options.Seed, append(name, "noise")...)
	steps := b.Steps()
	passes := make([]*runtime.Pass, steps)
	grads := make([]map[string]*runtime.Tensor, steps)
	var kept int64
	for k := range steps {
		clean := b.At(k)
		feeds := clean
		if sigma := t.options.Noise.Input; sigma > 0 {
			feeds = noisy(clean, sigma, noise.NormFloat64)
		}
		feeds, err := t.train.front.feeds(ctx, b, feeds)
		if err != nil {
			return sum, err
		}
		pass, err := t.training.Forward(ctx, t.engine.feeds(b, feeds), options)
		if err != nil {
			return sum, err
		}
		t.engine.advance(b, pass.Outputs)
		r, err := t.train.look(ctx, t.engine, b, k, t.engine.named(pass.Outputs), clean)
		if err != nil {
			return sum, err
		}
		grads[k] = map[string]*runtime.Tensor{}
		m, err := t.objective.Loss(r, grads[k])
		if err != nil {
			return sum, err
		}
		sum.Add(m)
		passes[k] = pass
		kept += pass.Kept()
	}
	t.kept = max(t.kept, kept)
	return sum, t.back(ctx, passes, grads, kept)
}

// back sends the gradients of the steps of a window back, the last first. kept is what their passes keep together.
func (t *trainer) back(ctx context.Context, passes []*runtime.Pass, grads []map[string]*runtime.Tensor, kept int64) error {
	states := t.options.Streams.States
	outputs := t.options.Streams.outputs()
	for k := len(passes) - 1; k >= 0; k-- {
		if len(grads[k]) > 0 {
			if err := passes[k].Backward(ctx, t.engine.computed(grads[k])); err != nil {
				return err
			}
			if k > 0 {
				for _, out := range outputs {
					if g := passes[k].InputGradient(states[out]); g != nil {
						if err := addGradient(grads[k-1], out, g, 1); err != nil {
							return err
						}
					}
				}
			}
		}
		t.peak = max(t.peak, kept+passes[k].Peak()-passes[k].Kept())
		kept -= passes[k].Kept()
		passes[k] = nil
	}
	return nil
}

// addGradient adds factor times g to the gradient of a value. Of all values only a state has gradients from two places, whose dims might differ.
func addGradient(grads map[string]*runtime.Tensor, name string, g *runtime.Tensor, factor float64) error {
	to, err := AddGradient(grads, name, g)
	if err != nil {
		return err
	}
	dst, ok := floatsOf(to)
	src, both := floatsOf(g)
	if !ok || !both || to.Elements() != g.Elements() {
		return fmt.Errorf("finetune: state %q: gradients %v%v and %v%v", name, to.Type, to.Dims, g.Type, g.Dims)
	}
	for i := range g.Elements() {
		dst.add(i, factor*src.at(i))
	}
	return nil
}

// noisy adds normal noise to the float inputs.
func noisy(feeds map[string]*runtime.Tensor, sigma float64, normal func() float64) map[string]*runtime.Tensor {
	out := make(map[string]*runtime.Tensor, len(feeds))
	for _, name := range sortedKeys(feeds) {
		a := feeds[name]
		out[name] = a
		f, ok := floatsOf(a)
		n := a.Elements()
		if !ok || n == 0 {
			continue
		}
		var square float64
		for i := range n {
			square += f.at(i) * f.at(i)
		}
		by := sigma * math.Sqrt(square/float64(n))
		out[name] = a.Clone()
		g, _ := floatsOf(out[name])
		for i := range n {
			g.add(i, by*normal())
		}
	}
	return out
}

// batches gives an epoch without the inputs that nobody reads.
func (s *source) batches(ctx context.Context, o dataset.BatchOptions) iter.Seq2[*dataset.Batch, error] {
	if s.teacher == nil || s.teacher.samples != nil {
		o.Without = s.front.unread()
	}
	return s.data.Batches(ctx, o)
}

// begin makes the states of student and teacher ready for a run.
func (s *source) begin(e *engine, b *dataset.Batch) error {
	if err := e.begin(b); err != nil || s.teacher == nil {
		return err
	}
	return s.teacher.engine.begin(b)
}

// look puts together what an objective sees of step k of a batch.
func (s *source) look(ctx context.Context, e *engine, b *dataset.Batch, k int, outputs, feeds map[string]*onnx.Array) (*Run, error) {
	r := &Run{Outputs: outputs, batch: b, axes: e.axes}
	streams := len(e.states) > 0
	r.Weights, r.Lengths = weights(b, k, streams)
	r.step = stepLabels{streams: streams, stepped: s.stepped, number: k, last: b.Start+k == s.data.Steps()-1}
	if s.teacher == nil {
		return r, nil
	}
	var err error
	if r.Teacher, err = s.teacher.step(ctx, b, k, feeds); err != nil {
		return nil, fmt.Errorf("finetune: teacher: %w", err)
	}
	r.teacherAxes = s.teacher.engine.axes
	return r, nil
}
