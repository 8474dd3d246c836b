package finetune

import (
	"fmt"
	"math"
)

// Shape is the course of the learning rate.
type Shape string

// The courses. All begin with a linear warm-up.
const (
	Constant Shape = "constant"
	// Cosine goes from the rate down to Floor times the rate (Loshchilov & Hutter, ICLR 2017, equation 5, one cycle).
	Cosine Shape = "cosine"
	// Plateau multiplies the rate with Factor when the loss of validation (of training without any) has not fallen for Patience epochs.
	Plateau Shape = "plateau"
)

// Schedule is the course of the learning rate over the steps of a training.
type Schedule struct {
	Shape    Shape   // "": Cosine
	WarmUp   float64 // epochs of linear rise; at most half of all
	Floor    float64 // of Cosine: the last rate as a part of the first
	Factor   float64 // of Plateau; 0: 0.5
	Patience int     // of Plateau, in epochs; 0: 3
}

func (s Schedule) filled() Schedule {
	if s.Shape == "" {
		s.Shape = Cosine
	}
	if s.Factor == 0 {
		s.Factor = 0.5
	}
	if s.Patience == 0 {
		s.Patience = 3
	}
	return s
}

func (s Schedule) check() error {
	switch {
	case s.Shape != Constant && s.Shape != Cosine && s.Shape != Plateau:
		return fmt.Errorf("finetune: schedule %q: there is none of that name (constant, cosine, plateau)", string(s.Shape))
	case !(s.WarmUp >= 0), !(s.Floor >= 0 && s.Floor <= 1), !(s.Factor > 0 && s.Factor < 1), s.Patience < 0:
		return fmt.Errorf("finetune: schedule: warm-up of %v epochs, floor %v, factor %v, patience %d: want from 0, 0 to 1, between 0 and 1, from 0", s.WarmUp, s.Floor, s.Factor, s.Patience)
	}
	return nil
}

// at is the factor of the rate at a step, from 0, of an epoch of perEpoch steps.
func (s Schedule) at(step, perEpoch, epochs int) float64 {
	total := perEpoch * epochs
	warm := int(math.Round(math.Min(s.WarmUp, float64(epochs)/2) * float64(perEpoch)))
	if step < warm {
		return float64(step+1) / float64(warm)
	}
	if s.Shape != Cosine || total <= warm {
		return 1
	}
	x := float64(step-warm) / float64(total-warm)
	return s.Floor + (1-s.Floor)*0.5*(1+math.Cos(math.Pi*math.Min(x, 1)))
}

// plateau is how far a schedule of that shape is.
type plateau struct {
	best   float64 // the lowest loss
	waited int     // epochs since
	factor float64 // of the rate
}

// observe takes the loss of an epoch.
func (p *plateau) observe(s Schedule, loss float64) {
	if s.Shape != Plateau {
		return
	}
	if loss < p.best {
		p.best, p.waited = loss, 0
		return
	}
	if p.waited++; p.waited >= s.Patience {
		p.factor *= s.Factor
		p.waited = 0
	}
}
