package finetune

import (
	"fmt"
	"math"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
)

// Group is tensors of the model that are trained alike. A tensor may be in one group only.
type Group struct {
	Name    string // in reports and errors, such as cores or head
	Tensors []*onnx.Tensor
	Rate    float64 // factor of Optimizer.Rate; 0: 1
	Decay   float64 // factor of Optimizer.Decay; 0 is none, as biases want
}

// Options of [Train]. Groups, Epochs and Optimizer.Rate must be given; see [Defaults].
type Options struct {
	Groups []Group
	Rings  []Ring // factored layers among the groups' tensors
	// Stored are the tensors of the groups that are stored in fewer bits than they are trained in.
	Stored    map[*onnx.Tensor]Rounding
	Epochs    int
	Batch     int // samples of an optimizer step; 0: dataset.DefaultBatch, or all where there are fewer
	Seed      uint64
	Optimizer Optimizer
	Schedule  Schedule
	Noise     Noise
	// Average is the decay of an exponential moving average of the parameters, which is then what is evaluated and returned; 0: none. Early in training it is less:
	// min(Average, (1+t)/(10+t)) at step t.
	Average float64
	Stop    Stop
	Teacher *onnx.Model // needed where the objective reads one
	Streams Streams
	Trial   Trial
	// FrontMemory is how many bytes may be taken by what no trained tensor reaches, which then runs once instead of in every epoch. 0: a quarter of GOMEMLIMIT, or 1 GiB
	// where there is none. What does not fit runs in every epoch, to the same bits.
	FrontMemory int64
	Checkpoints Checkpoints
	Observe     func(Event) // may be nil; called from the calling goroutine
}

// Noise is what makes training harder on purpose.
type Noise struct {
	Dropout runtime.Dropout // its Seed is not used: masks come from Options.Seed
	Input   float64         // standard deviation of normal noise on float inputs, as a part of their root mean square
}

// Stop says when training ends before its epochs do, and which epoch is kept.
type Stop struct {
	Patience int  // epochs without a better one; 0: all epochs run
	ByMetric bool // the better epoch has the better metric, or with the same the lower loss; false: the lower loss
	BackOffs int  // how often training goes back to its last good epoch with half the rate when a loss or gradient is NaN or infinite; 0: DefaultBackOffs
}

// DefaultBackOffs is Stop.BackOffs where it is 0.
const DefaultBackOffs = 5

// Trial chooses among starting points: each is trained for a few epochs on a part of the data, and the one with the lowest loss of validation is trained in
// full from its beginning.
type Trial struct {
	Starts   []Start // none, or one: no trial
	Epochs   int     // 0: a quarter of Options.Epochs, at least 1
	Fraction float64 // of the training data; 0: all where there is validation data, otherwise 0.8. What is left validates where there is no validation data
}

// Start is a starting point: values of tensors of Options.Groups; those it leaves out start as stored.
type Start struct {
	Name   string
	Values map[*onnx.Tensor]*onnx.Array
	Rate   float64 // in place of Optimizer.Rate; 0: that
}

// Event tells an observer how far training is.
type Event struct {
	Kind    EventKind
	Trial   string // name of the start that is tried, "" in the training itself
	Epoch   int    // from 1
	Epochs  int
	Step    int // in the epoch, from 1
	Steps   int
	Rate    float64 // of the step; after a back-off the new one
	Loss    float64 // training's so far in this epoch
	Summary Epoch   // of the epoch that ended
	Reason  string  // of a back-off
}

// EventKind is what happened.
type EventKind uint8

// The events.
const (
	Stepped    EventKind = iota
	EpochEnded           // Summary holds its figures
	BackedOff            // Reason says why
	Chosen               // of trials: Trial is the name of the start that is taken
)

// Status says why training ended.
type Status uint8

// Statuses.
const (
	Limit     Status = iota // all epochs have run, the best being one of the last few
	Converged               // all epochs have run, and the loss had not fallen for several
	Stalled                 // stopped early: no better epoch for Stop.Patience
	Diverged                // NaN or infinite losses for more than Stop.BackOffs times
	Cancelled               // the context ended
)

func (s Status) String() string {
	names := [...]string{"limit", "converged", "stalled", "diverged", "cancelled"}
	if int(s) >= len(names) {
		return fmt.Sprintf("status %d", uint8(s))
	}
	return names[s]
}

// Epoch is the figures of one epoch.
type Epoch struct {
	Number    int // from 1
	TrainLoss float64
	ValLoss   float64 // NaN without validation data
	Metric    float64 // of validation; NaN where there is none
	Seconds   float64 // 0 for epochs of a run that was resumed
}

// Evaluation is a measure of a model on a data set.
type Evaluation struct {
	Loss    float64
	Metric  float64 // NaN where there is none
	Kind    MetricKind
	Samples int
}

func (m Measure) evaluation(samples int) Evaluation {
	v, kind := m.Metric()
	return Evaluation{Loss: m.Loss(), Metric: v, Kind: kind, Samples: samples}
}

// Trained is a tensor with its new value, in full where it is to be stored in fewer bits.
type Trained struct {
	Tensor *onnx.Tensor
	Value  *onnx.Array
}

// Result is what training gave: the best so far, whatever the status.
type Result struct {
	Parameters []Trained // in the order of the groups
	History    []Epoch
	// Before and After are the start and the returned parameters on the validation data, or on the training data where there are none.
	Before, After Evaluation
	BestEpoch     int // 0: the start is better than any epoch
	Status        Status
	Trained       int64 // elements of all parameters
	Front         Front
	PeakKept      int64 // most bytes that forward passes kept for their gradients
	Peak          int64 // most bytes that these and the gradients on their way back took together
	BackOffs      int
	Start         string // of Trial.Starts
	Trials        []TrialResult
}

// Front is the part of the model that no trained tensor reaches, as far as it ran apart from the rest.
type Front struct {
	Values []string // that it gives to the rest; none: there was no such part
	Bytes  int64    // of them that were remembered; 0: they did not fit, and were computed in every epoch
}

// TrialResult is the lowest loss of validation of a start in its trial.
type TrialResult struct {
	Name string
	Loss float64
}

// check refuses options that make no sense, before anything runs.
func (o *Options) check() error {
	switch {
	case len(o.Groups) == 0:
		return fmt.Errorf("finetune: no tensors to train")
	case o.Epochs < 1 || o.Epochs > maxEpochs:
		return fmt.Errorf("finetune: %d epochs, want 1 to %d", o.Epochs, maxEpochs)
	case o.Batch < 0:
		return fmt.Errorf("finetune: batch of %d samples, want at least 1", o.Batch)
	case o.FrontMemory < 0:
		return fmt.Errorf("finetune: %d bytes of memory for what no trained tensor reaches, want a number from 0", o.FrontMemory)
	case !(o.Average >= 0 && o.Average < 1):
		return fmt.Errorf("finetune: decay of the average is %v, want 0 to below 1", o.Average)
	case !(o.Noise.Input >= 0) || math.IsInf(o.Noise.Input, 0):
		return fmt.Errorf("finetune: input noise is %v, want a number from 0", o.Noise.Input)
	case o.Stop.Patience < 0 || o.Stop.BackOffs < 0 || o.Streams.Window < 0 || o.Trial.Epochs < 0 || o.Checkpoints.Every < 0:
		return fmt.Errorf("finetune: patience %d, back-offs %d, window %d, epochs of a trial %d, steps between checkpoints %d: none may be negative",
			o.Stop.Patience, o.Stop.BackOffs, o.Streams.Window, o.Trial.Epochs, o.Checkpoints.Every)
	case !(o.Trial.Fraction >= 0 && o.Trial.Fraction <= 1):
		return fmt.Errorf("finetune: trials on a part of %v of the data, want 0 to 1", o.Trial.Fraction)
	}
	for _, rate := range []float64{o.Noise.Dropout.Projection, o.Noise.Dropout.Hidden} {
		if !(rate >= 0 && rate < 1) {
			return fmt.Errorf("finetune: dropout of %v, want 0 to below 1", rate)
		}
	}
	seen := map[*onnx.Tensor]string{}
	for _, g := range o.Groups {
		if !(g.Rate >= 0) || !(g.Decay >= 0) || math.IsInf(g.Rate, 0) || math.IsInf(g.Decay, 0) {
			return fmt.Errorf("finetune: group %q: factors %v of the rate and %v of the decay, want numbers from 0", g.Name, g.Rate, g.Decay)
		}
		for _, t := range g.Tensors {
			if in, ok := seen[t]; ok {
				return fmt.Errorf("finetune: %v: is in the groups %q and %q", t, in, g.Name)
			}
			seen[t] = g.Name
		}
	}
	if len(seen) == 0 {
		return fmt.Errorf("finetune: no tensors to train")
	}
	if err := o.checkStored(seen); err != nil {
		return err
	}
	for _, s := range o.Trial.Starts {
		for t := range s.Values {
			if _, ok := seen[t]; !ok {
				return fmt.Errorf("finetune: start %q: %v: is in no group", s.Name, t)
			}
		}
		if !(s.Rate >= 0) || math.IsInf(s.Rate, 0) {
			return fmt.Errorf("finetune: start %q: learning rate: is %v, want a number from 0", s.Name, s.Rate)
		}
	}
	if err := o.Optimizer.check(); err != nil {
		return err
	}
	return o.Schedule.check()
}

// maxEpochs bounds what a history may hold.
const maxEpochs = 1 << 20

func (o *Options) fill() {
	o.Optimizer = o.Optimizer.filled()
	o.Schedule = o.Schedule.filled()
	if o.Stop.BackOffs == 0 {
		o.Stop.BackOffs = DefaultBackOffs
	}
	if o.Trial.Epochs == 0 {
		o.Trial.Epochs = max(o.Epochs/4, 1)
	}
	if o.FrontMemory == 0 {
		o.FrontMemory = frontMemory()
	}
}

func (o *Options) observe(e Event) {
	if o.Observe != nil {
		o.Observe(e)
	}
}
