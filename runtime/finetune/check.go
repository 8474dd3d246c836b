package finetune

import (
	"context"
	"fmt"

	"github.com/trconvert/trconvert/runtime/dataset"
)

// checkLabels looks at all labels that an objective will read, so that a wrong one is found before any work starts. To train on, there must be more than one class.
func (e *engine) checkLabels(ctx context.Context, objective Objective, d *dataset.Dataset, train bool) error {
	switch o := objective.(type) {
	case Mix:
		for _, t := range o {
			if err := e.checkLabels(ctx, t.Objective, d, train); err != nil {
				return err
			}
		}
	case CrossEntropy:
		return e.checkClasses(ctx, o.Head, d, train)
	case CTC:
		return e.checkClasses(ctx, o.Head, d, false) // one label beside the blank can be learnt
	case Squared, Binary:
		return d.CheckTargets(ctx, nil)
	}
	return nil
}

func (e *engine) checkClasses(ctx context.Context, h Head, d *dataset.Dataset, train bool) error {
	n, err := h.classCount(e.shapes[h.Value])
	if err != nil {
		return err
	}
	if n < 2 {
		return fmt.Errorf("finetune: value %q with dims %v: has one number for all classes on axis %d, a loss of classes needs one for each", h.Value, e.shapes[h.Value], h.axis)
	}
	c, err := d.Classes(ctx, n)
	if err != nil {
		return err
	}
	labelled := 0
	for _, k := range c.Counts {
		labelled += k
	}
	switch class, only := c.Only(); {
	case labelled == 0:
		return fmt.Errorf("finetune: none of the %d labels names a class", c.Ignored)
	case only && train:
		return fmt.Errorf("finetune: all %d labels are class %d: from one class nothing can be learnt", labelled, class)
	}
	return nil
}

// classCount is the number of classes of a value with the given dims.
func (h Head) classCount(dims []int) (int, error) {
	if h.elements {
		return 0, fmt.Errorf("finetune: value %q: its elements stand for themselves, a loss of classes needs a class axis", h.Value)
	}
	axis := h.axis
	if axis < 0 {
		axis += len(dims)
	}
	if axis < 0 || axis >= len(dims) {
		return 0, fmt.Errorf("finetune: value %q: dims %v have no class axis %d", h.Value, dims, h.axis)
	}
	if !h.flat {
		return dims[axis], nil
	}
	n := 1
	for _, d := range dims[axis:] {
		n *= d
	}
	return n, nil
}
