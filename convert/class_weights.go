package convert

import (
	"context"
	"fmt"
	"math"

	"github.com/trconvert/trconvert/runtime/finetune"
)

// ClassWeights say how much the labels of a class count in the cross-entropy, which is then the weighted mean Σ w_y·l / Σ w_y over labels y with losses l, as PyTorch defines it. The zero
// value weighs all alike. Metrics are not weighted.
type ClassWeights struct {
	// Balanced gives each of K classes that occur the same share: N/(K·n_k) to a class with n_k of the N labels that are trained on, 0 to one without labels.
	Balanced bool
	Each     []float64 // by class, from 0; not all may be 0
}

func (w ClassWeights) given() bool { return w.Balanced || w.Each != nil }

// check wants weights that a mean can be taken with.
func (w ClassWeights) check() error {
	var sum float64
	for k, v := range w.Each {
		if !(v >= 0 && v <= math.MaxFloat32) {
			return &OptionError{Option: "--class-weights", Value: fmt.Sprint(v), What: fmt.Sprintf("the weight of class %d must be a number from 0", k)}
		}
		sum += v
	}
	if w.Each != nil && !(sum > 0) {
		return &OptionError{Option: "--class-weights", What: "at least one weight must be above 0"}
	}
	return nil
}

// weigh puts the class weights into a loss of labels.
func (t *tuning) weigh(ctx context.Context, s *scoring) error {
	w := t.o.Data.ClassWeights
	if !w.given() {
		return nil
	}
	loss, ok := s.objective.(finetune.CrossEntropy)
	switch {
	case !ok:
		return &OptionError{Option: "--class-weights", What: fmt.Sprintf("weigh classes, but the loss is %s (--loss %s)", s.loss, lossClasses)}
	case w.Balanced:
		classes, err := t.train.Classes(ctx, s.count)
		if err != nil {
			return err
		}
		loss.ClassWeights = classes.Weights()
	case len(w.Each) != s.count:
		return &OptionError{Option: "--class-weights", What: fmt.Sprintf("%d weights are given, output %q has %d classes", len(w.Each), s.output, s.count)}
	default:
		loss.ClassWeights = make([]float32, s.count)
		for k, v := range w.Each {
			loss.ClassWeights[k] = float32(v)
		}
	}
	t.report.ClassWeights = loss.ClassWeights
	s.objective = loss
	return nil
}
