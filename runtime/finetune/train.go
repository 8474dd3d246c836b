package finetune

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// Train trains the tensors of o.Groups of a model. val, which may be nil, is what epochs are judged by; without it the last epoch is returned, or the start
// if that has the lower loss on the training data. Both sets must have been
// opened for this model.
//
// Only broken input, an operator without gradient or a failing disk is an error. Losses that become NaN, a context that ends once the start has been measured, and the
// like are a [Status], with the best parameters so far.
func Train(ctx context.Context, m *onnx.Model, train, val *dataset.Dataset, objective Objective, o Options) (*Result, error) {
	o.fill()
	if err := o.check(); err != nil {
		return nil, err
	}
	t, err := newTrainer(ctx, m, train, val, objective, o)
	if err != nil {
		return cancelled(ctx, nil, err)
	}
	if err := t.begin(ctx); err != nil {
		return cancelled(ctx, t, err)
	}
	status, err := t.epochs(ctx)
	if err != nil {
		return cancelled(ctx, t, err)
	}
	return t.result(status), nil
}

// cancelled turns an error that came from an ended context into a result, where there is one.
func cancelled(ctx context.Context, t *trainer, err error) (*Result, error) {
	if ctx.Err() != nil && t != nil && t.state != nil && t.state.best.values != nil {
		return t.result(Cancelled), nil
	}
	return nil, err
}

// trainer is a training at work.
type trainer struct {
	options   Options
	objective Objective
	model     *onnx.Model // that training runs
	training  *runtime.Training
	weights   []*weight
	rings     []*ring
	engine    *engine // the student
	train     source
	val       *source
	steps     int    // of an epoch
	windows   int    // of a stream
	trial     string // name of the start that is tried
	state     *state
	kept      int64 // most bytes that the passes of a run kept for their gradients
	peak      int64 // and with the gradients on their way back
	identity  identity
	full      [][]float32 // while parameters are rounded, by weight, what they are in full
}

// source is a data set with what the teacher says to it.
type source struct {
	data    *dataset.Dataset
	teacher *teacher
	front   *front
	stepped bool // labels of streams have a step axis
	observe func(sample, samples int)
}

func newTrainer(ctx context.Context, m *onnx.Model, train, val *dataset.Dataset, objective Objective, o Options) (*trainer, error) {
	if len(objective.Teacher()) > 0 && o.Teacher == nil {
		return nil, fmt.Errorf("finetune: the objective reads %d values of a teacher, there is none", len(objective.Teacher()))
	}
	t := &trainer{options: o, objective: objective}
	var tensors []*onnx.Tensor
	for _, g := range o.Groups {
		tensors = append(tensors, g.Tensors...)
	}
	t.engine = &engine{values: objective.Student(), states: o.Streams.States}
	compile := func(m *onnx.Model) error { return t.compile(ctx, m, tensors) }
	if err := t.engine.prepare(ctx, m, train, compile); err != nil {
		return nil, err
	}
	if err := t.engine.checkLabels(ctx, objective, train, true); err != nil {
		return nil, err
	}
	if val != nil {
		if err := t.engine.checkLabels(ctx, objective, val, false); err != nil {
			return nil, err
		}
	}
	if err := t.split(ctx, tensors, train); err != nil {
		return nil, err
	}
	k := 0
	for _, g := range o.Groups {
		rate := g.Rate
		if rate == 0 {
			rate = 1
		}
		for range g.Tensors {
			t.weights = append(t.weights, &weight{Parameter: t.training.Parameters()[k], group: g.Name, rate: rate, decay: g.Decay})
			k++
		}
	}
	byTensor := map[*onnx.Tensor]*weight{}
	for _, w := range t.weights {
		byTensor[w.Tensor] = w
	}
	for k := range o.Rings {
		r, err := newRing(&o.Rings[k], byTensor)
		if err != nil {
			return nil, err
		}
		t.rings = append(t.rings, r)
	}
	if err := t.sources(ctx, train, val); err != nil {
		return nil, err
	}
	var err error
	t.identity, err = newIdentity(m, train, val, objective, o)
	return t, err
}

// compile compiles a model: the one that is trained, or what became of it.
func (t *trainer) compile(ctx context.Context, m *onnx.Model, tensors []*onnx.Tensor) error {
	var variables []string
	for _, out := range t.options.Streams.outputs() {
		variables = append(variables, t.options.Streams.States[out])
	}
	var err error
	if t.training, err = runtime.CompileTraining(ctx, m, tensors, runtime.Options{Outputs: t.engine.outputs(), Variables: variables}); err != nil {
		return err
	}
	t.model, t.engine.program, t.engine.run = m, t.training.Program(), t.training.Run
	return nil
}

// split puts what no trained tensor reaches in front of the training.
func (t *trainer) split(ctx context.Context, tensors []*onnx.Tensor, train *dataset.Dataset) error {
	if len(t.options.Streams.States) > 0 || t.options.Noise.Input > 0 {
		return nil
	}
	f, err := newFront(ctx, t.model, tensors, t.engine.outputs(), train, t.options.FrontMemory)
	if f == nil || err != nil {
		return err
	}
	t.train.front = f
	return t.compile(ctx, f.cut.rest, tensors)
}

// sources prepares data and teacher.
func (t *trainer) sources(ctx context.Context, train, val *dataset.Dataset) error {
	o := &t.options
	t.train = source{data: train, stepped: labelsStepped(train), front: t.train.front}
	var err error
	if t.steps, err = train.BatchCount(t.batches(0, 0)); err != nil {
		return err
	}
	t.windows = 1
	if w := o.Streams.window(); w > 0 {
		t.windows = (train.Steps() + w - 1) / w
	}
	if t.train.teacher, err = newTeacher(ctx, o.Teacher, t.objective.Teacher(), o.Streams, train); err != nil {
		return fmt.Errorf("finetune: teacher: %w", err)
	}
	if err := t.train.teacher.remember(ctx, train); err != nil {
		return fmt.Errorf("finetune: teacher: %w", err)
	}
	if val == nil {
		return nil
	}
	t.val = &source{data: val, stepped: labelsStepped(val), teacher: t.train.teacher.again()}
	if t.val.front, err = t.train.front.of(ctx, val, o.FrontMemory); err != nil {
		return err
	}
	if err := t.val.teacher.remember(ctx, val); err != nil {
		return fmt.Errorf("finetune: teacher: %w", err)
	}
	return nil
}

// batches says how an epoch is cut, from a batch on.
func (t *trainer) batches(epoch, from int) dataset.BatchOptions {
	return dataset.BatchOptions{Size: t.options.Batch, Shuffle: true, Seed: t.options.Seed, Epoch: epoch, Skip: from, Window: t.options.Streams.window()}
}

// begin chooses the start, or goes on from a checkpoint.
func (t *trainer) begin(ctx context.Context) error {
	resumed, err := t.resume()
	if err != nil || resumed {
		return err
	}
	start, trials, err := t.choose(ctx)
	if err != nil {
		return err
	}
	if err := t.from(start); err != nil {
		return err
	}
	t.state.start, t.state.trials = start, trials
	if err := t.judgeStart(ctx); err != nil {
		return err
	}
	return t.save(ctx)
}

// from puts the training at the beginning with a start of Trial.Starts.
func (t *trainer) from(start int) error {
	if err := t.load(start); err != nil {
		return err
	}
	return t.fresh()
}

// load gives the parameters the values of a start.
func (t *trainer) load(start int) error {
	for _, w := range t.weights {
		stored, err := w.Tensor.Array()
		if err != nil {
			return fmt.Errorf("finetune: %w", err)
		}
		if start < len(t.options.Trial.Starts) {
			if v := t.options.Trial.Starts[start].Values[w.Tensor]; v != nil {
				if v.Type != stored.Type || v.Elements() != stored.Elements() || len(v.Dims) != len(stored.Dims) {
					return fmt.Errorf("finetune: start %q: %v: is %v%v, the model has %v%v", t.options.Trial.Starts[start].Name, w.Tensor, v.Type, v.Dims, stored.Type, stored.Dims)
				}
				stored = v
			}
		}
		if stored, err = dataset.Cast(stored, w.Value.Type); err != nil { // 16-bit tensors are trained in float32
			return fmt.Errorf("finetune: %w", err)
		}
		copyAll([]*onnx.Array{w.Value}, []*onnx.Array{stored})
	}
	for _, r := range t.rings {
		r.balance()
	}
	return nil
}

// fresh makes a new state around the parameters' values.
func (t *trainer) fresh() error {
	var values []*onnx.Array
	for _, w := range t.weights {
		values = append(values, w.Value)
	}
	n := t.options.Optimizer.moments()
	s, err := newState(values, n, t.options.Average > 0)
	if err != nil {
		return err
	}
	for k, w := range t.weights {
		w.moments = s.moments[k*n : (k+1)*n]
	}
	t.state = s
	return nil
}

// judgeStart measures the start, which is the best so far.
func (t *trainer) judgeStart(ctx context.Context) error {
	e, err := t.evaluate(ctx)
	if err != nil {
		return err
	}
	t.state.before = e
	t.state.best = bestEpoch{result: e, values: cloneAll(t.state.values)}
	return nil
}

// evaluate measures the present parameters on the validation data, or on the training data where there are none.
func (t *trainer) evaluate(ctx context.Context) (Evaluation, error) {
	s := &t.train
	if t.val != nil {
		s = t.val
	}
	t.hold()
	m, err := measure(ctx, t.engine, s, t.objective, evaluationBatch(t.options.Batch, s.data), t.options.Streams.window())
	if err == nil {
		err = t.release(ctx)
	}
	return m.evaluation(s.data.Len()), err
}

// epochs trains until the end.
func (t *trainer) epochs(ctx context.Context) (Status, error) {
	s := t.state
	for s.epoch < t.options.Epochs {
		if t.stalled() {
			return Stalled, nil
		}
		began := time.Now()
		if s.batch == 0 {
			s.keepGood()
		}
		reason, err := t.epoch(ctx)
		if err != nil {
			return 0, err
		}
		var e Evaluation
		if reason == "" {
			if e, err = t.judge(ctx); err != nil {
				return 0, err
			}
			reason = t.unsound(e)
		}
		if reason != "" {
			if s.backOffs >= t.options.Stop.BackOffs {
				return Diverged, nil
			}
			s.goBack()
			t.options.observe(Event{Kind: BackedOff, Trial: t.trial, Epoch: s.epoch + 1, Epochs: t.options.Epochs, Rate: t.rate(), Reason: reason})
			continue
		}
		t.endEpoch(e, time.Since(began).Seconds())
		if err := t.save(ctx); err != nil {
			return 0, err
		}
	}
	if t.val == nil {
		return Limit, t.judgeEnd(ctx)
	}
	if len(s.history)-s.best.number >= 5 {
		return Converged, nil
	}
	return Limit, nil
}

// judgeEnd measures the last epoch of a training without validation data as the start was measured. Where the start is better, as it can be where it was nearly
// exact and the rate is bold, the start is the best.
func (t *trainer) judgeEnd(ctx context.Context) error {
	s := t.state
	copyAll(s.values, s.best.values)
	e, err := t.evaluate(ctx)
	if err != nil {
		return err
	}
	if t.options.Stop.better(e, s.before) {
		s.best.result = e
		return nil
	}
	if err := t.load(s.start); err != nil {
		return err
	}
	s.best.number, s.best.result = 0, s.before
	copyAll(s.best.values, s.values)
	return nil
}

// unsound says why an epoch that ended cannot be gone on from, "" where it can.
func (t *trainer) unsound(e Evaluation) string {
	if math.IsNaN(e.Loss) || math.IsInf(e.Loss, 0) {
		return fmt.Sprintf("the loss after epoch %d is %v", t.state.epoch+1, e.Loss)
	}
	for k, v := range t.state.values {
		if at, bad := notFinite(v); bad {
			return fmt.Sprintf("element %d of parameter %q is NaN or infinite after epoch %d", at, t.weights[k].Tensor.Name, t.state.epoch+1)
		}
	}
	return ""
}

// stalled says whether patience is at its end.
func (t *trainer) stalled() bool {
	p := t.options.Stop.Patience
	return p > 0 && t.val != nil && t.state.epoch-t.state.best.number >= p
}

// judge measures the epoch that ended, with averaged parameters if there are any.
func (t *trainer) judge(ctx context.Context) (Evaluation, error) {
	s := t.state
	if t.val == nil { // nothing to choose by: save the time
		m := s.partial
		return m.evaluation(t.train.data.Len()), nil
	}
	if s.average == nil {
		return t.evaluate(ctx)
	}
	own := cloneAll(s.values)
	copyAll(s.values, s.average)
	e, err := t.evaluate(ctx)
	copyAll(s.values, own)
	return e, err
}

// endEpoch notes the figures of an epoch, and keeps it if it is the best.
func (t *trainer) endEpoch(e Evaluation, seconds float64) {
	s := t.state
	s.epoch++
	s.batch = 0
	summary := Epoch{Number: s.epoch, TrainLoss: s.partial.Loss(), ValLoss: math.NaN(), Metric: math.NaN(), Seconds: seconds}
	watched := summary.TrainLoss
	if t.val != nil {
		summary.ValLoss, summary.Metric, watched = e.Loss, e.Metric, e.Loss
	}
	s.partial = Measure{}
	s.history = append(s.history, summary)
	s.plateau.observe(t.options.Schedule, watched)
	if t.val == nil || t.options.Stop.better(e, s.best.result) {
		from := s.values
		if s.average != nil {
			from = s.average
		}
		s.best.number, s.best.result = s.epoch, e
		copyAll(s.best.values, from)
	}
	t.options.observe(Event{Kind: EpochEnded, Trial: t.trial, Epoch: s.epoch, Epochs: t.options.Epochs, Step: t.steps, Steps: t.steps, Rate: t.rate(), Loss: summary.TrainLoss, Summary: summary})
}

// result is what there is to give back.
func (t *trainer) result(status Status) *Result {
	s := t.state
	r := &Result{
		History: s.history, Before: s.before, After: s.best.result, BestEpoch: s.best.number, Status: status, PeakKept: t.kept, Peak: t.peak, BackOffs: s.backOffs,
	}
	for k, w := range t.weights {
		r.Parameters = append(r.Parameters, Trained{w.Tensor, s.best.values[k]})
		r.Trained += int64(w.Value.Elements())
	}
	r.Front = t.front()
	for k, loss := range s.trials {
		r.Trials = append(r.Trials, TrialResult{t.options.Trial.Starts[k].Name, loss})
	}
	if s.start < len(t.options.Trial.Starts) {
		r.Start = t.options.Trial.Starts[s.start].Name
	}
	return r
}

// front describes what ran in front of the training.
func (t *trainer) front() Front {
	f := t.train.front
	if f == nil {
		return Front{}
	}
	out := Front{Values: f.cut.values, Bytes: f.bytes}
	if t.val != nil {
		out.Bytes += t.val.front.bytes
	}
	return out
}
