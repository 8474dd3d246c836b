package finetune

import (
	"fmt"
	"math"

	"github.com/trconvert/trconvert/runtime"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// CrossEntropy is the loss of classes. With z the logits of a sample (or of a step of it), p = softmax(z), y its label and K classes,
//
//	loss = −w_y·Σ_k q_k·log p_k,   q_k = (1−ε)·[k=y] + ε/K
//
// averaged with the weights w; samples or steps with the class [dataset.Ignore] count for nothing. ε is the smoothing of Szegedy et al. (CVPR 2016, §7).
// There must be one label for each vector of logits.
type CrossEntropy struct {
	Head         Head
	Smoothing    float64   // ε; 0: none
	ClassWeights []float32 // w by class; nil: 1
}

// Student is the value in front of the head's link.
func (c CrossEntropy) Student() []string { return []string{c.Head.Value} }

// Teacher is nothing.
func (CrossEntropy) Teacher() []string { return nil }

// Loss implements [Objective].
func (c CrossEntropy) Loss(r *Run, grads map[string]*runtime.Tensor) (Measure, error) {
	var m Measure
	z, err := r.student(c.Head)
	if err != nil {
		return m, err
	}
	labels, err := r.Classes()
	if err != nil {
		return m, err
	}
	if err := z.match(len(labels), len(r.Weights), "labels"); err != nil {
		return m, err
	}
	if c.ClassWeights != nil && len(c.ClassWeights) != z.classes {
		return m, fmt.Errorf("finetune: value %q: %d classes, %d class weights", z.name, z.classes, len(c.ClassWeights))
	}
	g, want, err := z.gradient(grads)
	if err != nil {
		return m, err
	}
	x, p := make([]float64, z.classes), make([]float64, z.classes)
	for i, y := range labels {
		w := z.weight(r, i)
		if y == dataset.Ignore || w == 0 {
			continue
		}
		if y < 0 || y >= z.classes {
			return m, fmt.Errorf("finetune: value %q: the label of sample %d is class %d, there are %d", z.name, r.sample(i/z.per), y, z.classes)
		}
		if best := z.vector2(i, x); best == y {
			m.Hits += w
		}
		m.Seen += w
		if c.ClassWeights != nil {
			w *= float64(c.ClassWeights[y])
		}
		lse := logSoftmax(x, p) // p holds log p now
		off := c.Smoothing / float64(z.classes)
		sum := -(1 - c.Smoothing) * p[y]
		if off > 0 {
			for _, v := range p {
				sum -= off * v
			}
		}
		m.Sum += w * sum
		m.Weight += w
		if !want {
			continue
		}
		for k := range p {
			p[k] = w * (math.Exp(x[k]-lse) - off)
		}
		p[y] -= w * (1 - c.Smoothing)
		z.add(g, i, p)
	}
	return m, nil
}

// sample is the number of a sample in its file.
func (r *Run) sample(i int) int {
	if r.batch != nil && i < len(r.batch.Index) {
		return r.batch.Index[i]
	}
	return i
}

// match compares the number of labels with that of vectors.
func (r *rows) match(labels, samples int, what string) error {
	if labels != len(r.offsets) {
		return fmt.Errorf("finetune: value %q with dims %v: %d %s for each of %d samples, the value has %d places for them", r.name, r.tensor.Dims, labels/samples, what, samples, r.per)
	}
	return nil
}

// vector2 copies vector i and finds its first largest element.
func (r *rows) vector2(i int, to []float64) (best int) {
	r.vector(i, to)
	for k, v := range to {
		if v > to[best] {
			best = k
		}
	}
	return best
}

// logSoftmax sets logp to x − lse and gives lse = log Σ exp x_k.
func logSoftmax(x, logp []float64) (lse float64) {
	top := math.Inf(-1)
	for _, v := range x {
		top = math.Max(top, v)
	}
	var sum float64
	for _, v := range x {
		sum += math.Exp(v - top)
	}
	lse = top + math.Log(sum)
	for k, v := range x {
		logp[k] = v - top - math.Log(sum)
	}
	return lse
}

// Binary is the cross-entropy of yes-or-no outputs: with logits z and targets y in [0, 1],
//
//	loss = mean of max(z,0) − z·y + log(1+e^−|z|)
//
// over the elements of a sample. The targets have the value's elements.
type Binary struct {
	Head Head // with [Head.Elements]
}

// Student is the value in front of the head's link.
func (b Binary) Student() []string { return []string{b.Head.Value} }

// Teacher is nothing.
func (Binary) Teacher() []string { return nil }

// Loss implements [Objective].
func (b Binary) Loss(r *Run, grads map[string]*runtime.Tensor) (Measure, error) {
	return targetLoss(b.Head.Elements(), r, grads, func(m *Measure, z, y, w float64) (float64, error) {
		if !(y >= 0 && y <= 1) {
			return 0, fmt.Errorf("a target is %v, want 0 to 1", y)
		}
		m.Seen += w
		if (z > 0) == (y > 0.5) {
			m.Hits += w
		}
		m.Sum += w * (math.Max(z, 0) - z*y + math.Log1p(math.Exp(-math.Abs(z))))
		return w * (sigmoid(z) - y), nil
	})
}

// Squared is the mean squared error of outputs: the mean over the elements of a sample of (z − y)².
type Squared struct {
	Head Head // with [Head.Itself]
}

// Student is the value the head reads.
func (s Squared) Student() []string { return []string{s.Head.Value} }

// Teacher is nothing.
func (Squared) Teacher() []string { return nil }

// Loss implements [Objective].
func (s Squared) Loss(r *Run, grads map[string]*runtime.Tensor) (Measure, error) {
	return targetLoss(s.Head.Elements(), r, grads, squared)
}

// squared is the squared error of an element, and its derivative.
func squared(m *Measure, z, y, w float64) (float64, error) {
	d := z - y
	m.Sum += w * d * d
	m.Square += d * d
	m.Target += y * y
	return 2 * w * d, nil
}

// targetLoss adds up a loss over elements and targets. The weights of the elements of a sample sum to the sample's.
func targetLoss(h Head, r *Run, grads map[string]*runtime.Tensor, element func(m *Measure, z, y, w float64) (float64, error)) (Measure, error) {
	var m Measure
	z, err := r.student(h)
	if err != nil {
		return m, err
	}
	targets, present, err := r.Targets()
	if err != nil || !present {
		return m, err
	}
	if err := z.match(len(targets), len(r.Weights), "targets"); err != nil {
		return m, err
	}
	return m, z.elements(&m, r, grads, func(i int) float64 { return float64(targets[i]) }, element)
}

// elements runs over the elements of a value beside those of another.
func (r *rows) elements(m *Measure, run *Run, grads map[string]*runtime.Tensor, other func(i int) float64, element func(m *Measure, z, y, w float64) (float64, error)) error {
	g, want, err := r.gradient(grads)
	if err != nil {
		return err
	}
	for b := range run.Weights {
		counted, total := 0, 0.0
		for i := b * r.per; i < (b+1)*r.per; i++ {
			if w := r.weight(run, i); w != 0 {
				counted++
				total = w
			}
		}
		if counted == 0 {
			continue
		}
		w := total / float64(counted)
		for i := b * r.per; i < (b+1)*r.per; i++ {
			if r.weight(run, i) == 0 {
				continue
			}
			d, err := element(m, r.data.at(r.offsets[i]), other(i), w)
			if err != nil {
				return fmt.Errorf("finetune: value %q: sample %d: %w", r.name, run.sample(b), err)
			}
			if want {
				g.add(r.offsets[i], d)
			}
		}
		m.Weight += total
	}
	return nil
}

func sigmoid(z float64) float64 {
	if z >= 0 {
		return 1 / (1 + math.Exp(-z))
	}
	e := math.Exp(z)
	return e / (1 + e)
}
