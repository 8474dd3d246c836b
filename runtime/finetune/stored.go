package finetune

import (
	"context"
	"fmt"
	"slices"

	"github.com/trconvert/trconvert/onnx"
)

// Rounding is how a float32 tensor is stored in fewer bits. Training keeps and moves the numbers in full; losses and gradients are those of the rounded
// ones, and the gradient of a rounded number goes to the full one as it is (the straight-through estimator of Bengio, Léonard & Courville 2013, as in
// Jacob et al., CVPR 2018, §3). So steps smaller than a rounding still add up, and what epochs are judged by is what will be stored.
type Rounding interface {
	Round(x []float32) // replaces numbers by what they are when they are stored
	String() string    // names the rounding in checkpoints: trainings of different roundings do not resume each other
}

// checkStored refuses roundings of what is not trained or no float32.
func (o *Options) checkStored(trained map[*onnx.Tensor]string) error {
	for t := range o.Stored {
		if _, ok := trained[t]; !ok {
			return fmt.Errorf("finetune: %v: has a rounding and is in no group", t)
		}
		if t.Type != onnx.Float {
			return fmt.Errorf("finetune: %v: is of type %v, only float can be trained with a rounding", t, t.Type)
		}
	}
	return nil
}

// storedText describes the roundings in the order of the groups, "" where there are none.
func (o *Options) storedText() string {
	text := ""
	for _, g := range o.Groups {
		for _, t := range g.Tensors {
			if r := o.Stored[t]; r != nil {
				text += fmt.Sprintf("%q as %v\n", t.Name, r)
			}
		}
	}
	return text
}

// hold begins passes with the same parameters, those that are stored in fewer bits as they will be stored. It may be called again before release.
func (t *trainer) hold() {
	t.training.Hold()
	if len(t.options.Stored) == 0 || t.full != nil {
		return
	}
	t.full = make([][]float32, len(t.weights))
	for k, w := range t.weights {
		if r := t.options.Stored[w.Tensor]; r != nil {
			x := w.Value.Data.([]float32)
			t.full[k] = slices.Clone(x)
			r.Round(x)
		}
	}
}

// release ends them: gradients are complete and parameters are there in full again, also where ending them fails.
func (t *trainer) release(ctx context.Context) error {
	err := t.training.Release(ctx)
	for k, x := range t.full {
		if x != nil {
			copy(t.weights[k].Value.Data.([]float32), x)
		}
	}
	t.full = nil
	return err
}
