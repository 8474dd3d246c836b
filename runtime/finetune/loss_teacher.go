package finetune

import (
	"fmt"
	"math"

	"github.com/trconvert/trconvert/runtime"
)

// Distill is the loss against a teacher's output (Hinton, Vinyals & Dean 2015, arXiv 1503.02531, §2). With z and t the logits of student and teacher and T the temperature,
//
//	classes:    T²·KL(softmax(t/T) ‖ softmax(z/T))
//	yes or no:  T²·KL(sigmoid(t/T) ‖ sigmoid(z/T)), the mean over elements
//	other:      (z − t)², the mean over elements
//
// T² keeps the size of the gradient when T changes. The heads must have the same link; one with link Plain and [Head.Elements] is "other". The metric is the agreement
// of the largest class or of the answers, and the relative error of other outputs.
type Distill struct {
	Own, Of     Head    // the student's and the teacher's
	Temperature float64 // 0: 1
}

// Student is the value in front of the student's link.
func (d Distill) Student() []string { return []string{d.Own.Value} }

// Teacher is the value in front of the teacher's link.
func (d Distill) Teacher() []string { return []string{d.Of.Value} }

// Loss implements [Objective].
func (d Distill) Loss(r *Run, grads map[string]*runtime.Tensor) (Measure, error) {
	var m Measure
	z, err := r.student(d.Own)
	if err != nil {
		return m, err
	}
	t, err := r.teacher(d.Of)
	if err != nil {
		return m, err
	}
	if len(z.offsets) != len(t.offsets) || z.classes != t.classes {
		return m, fmt.Errorf("finetune: value %q has dims %v, the teacher's %q %v", z.name, z.tensor.Dims, t.name, t.tensor.Dims)
	}
	T := d.temperature()
	if !d.Own.elements {
		return m, distillClasses(&m, r, z, t, T, grads)
	}
	other := func(i int) float64 { return t.data.at(t.offsets[i]) }
	if d.Own.Link != Sigmoid {
		return m, z.elements(&m, r, grads, other, squared)
	}
	return m, z.elements(&m, r, grads, other, func(m *Measure, z, t, w float64) (float64, error) {
		m.Seen += w
		if (z > 0) == (t > 0) {
			m.Hits += w
		}
		p := sigmoid(t / T)
		kl := p*(logSigmoid(t/T)-logSigmoid(z/T)) + (1-p)*(logSigmoid(-t/T)-logSigmoid(-z/T))
		m.Sum += w * T * T * kl
		return w * T * (sigmoid(z/T) - p), nil
	})
}

func (d Distill) temperature() float64 {
	if d.Temperature == 0 {
		return 1
	}
	return d.Temperature
}

func distillClasses(m *Measure, r *Run, z, t *rows, T float64, grads map[string]*runtime.Tensor) error {
	g, want, err := z.gradient(grads)
	if err != nil {
		return err
	}
	x, logp := make([]float64, z.classes), make([]float64, z.classes)
	y, logq := make([]float64, z.classes), make([]float64, z.classes)
	for i := range z.offsets {
		w := z.weight(r, i)
		if w == 0 {
			continue
		}
		if z.vector2(i, x) == t.vector2(i, y) {
			m.Hits += w
		}
		m.Seen += w
		for k := range x {
			x[k] /= T
			y[k] /= T
		}
		logSoftmax(x, logp)
		logSoftmax(y, logq)
		var kl float64
		for k, l := range logq {
			if q := math.Exp(l); q > 0 {
				kl += q * (l - logp[k])
			}
		}
		m.Sum += w * T * T * kl
		m.Weight += w
		if !want {
			continue
		}
		for k := range x {
			x[k] = w * T * (math.Exp(logp[k]) - math.Exp(logq[k]))
		}
		z.add(g, i, x)
	}
	return nil
}

// logSigmoid is −log(1 + e^−z).
func logSigmoid(z float64) float64 {
	if z >= 0 {
		return -math.Log1p(math.Exp(-z))
	}
	return z - math.Log1p(math.Exp(z))
}

// Term is an objective in a [Mix].
type Term struct {
	Objective Objective
	Factor    float64
}

// Mix is the mean of several objectives, Σ f_i·Sum_i / Σ f_i·Weight_i: samples that an objective does not count (such as those without a label) count with the others
// alone. Labels with factor 1−α and a teacher with α are the usual mixture; hidden states are one more Distill of inner values. The metric is the first term's.
type Mix []Term

// Student joins the values that the terms read.
func (x Mix) Student() []string { return x.join(Objective.Student) }

// Teacher joins the teacher's values that the terms read.
func (x Mix) Teacher() []string { return x.join(Objective.Teacher) }

func (x Mix) join(names func(Objective) []string) []string {
	var all []string
	for _, t := range x {
		all = union(all, names(t.Objective))
	}
	return all
}

// Loss implements [Objective].
func (x Mix) Loss(r *Run, grads map[string]*runtime.Tensor) (Measure, error) {
	var m Measure
	for k, t := range x {
		var own map[string]*runtime.Tensor
		if grads != nil {
			own = map[string]*runtime.Tensor{}
		}
		part, err := t.Objective.Loss(r, own)
		if err != nil {
			return m, err
		}
		m.Sum += t.Factor * part.Sum
		m.Weight += t.Factor * part.Weight
		if k == 0 {
			m.Hits, m.Seen, m.Square, m.Target = part.Hits, part.Seen, part.Square, part.Target
		}
		for _, name := range t.Objective.Student() {
			if g := own[name]; g != nil {
				if err := addGradient(grads, name, g, t.Factor); err != nil {
					return m, err
				}
			}
		}
	}
	return m, nil
}
