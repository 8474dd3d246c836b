package finetune

import (
	"fmt"
	"math"

	"github.com/trconvert/trconvert/runtime"
	"github.com/trconvert/trconvert/runtime/dataset"
)

// CTC is the loss of label sequences without alignment (Graves et al., ICML 2006, "Connectionist temporal classification", §4.1, equations 5 to 16, in logarithms):
// −log of the sum of the probabilities of all paths over the steps that give the label sequence once repeats are merged and blanks removed. The value has one vector
// of class logits for each step. Labels are [samples, longest], with [dataset.Ignore] behind a shorter sequence; a sample without any label counts for nothing.
// The mean over samples is not divided by the lengths. The metric is the share of sequences that the best path gives exactly. Streams are not supported.
//
// A step costs O(steps · labels) per sample beside the softmax.
type CTC struct {
	Head  Head
	Blank int // class of the blank
}

// Student is the value in front of the head's link.
func (c CTC) Student() []string { return []string{c.Head.Value} }

// Teacher is nothing.
func (CTC) Teacher() []string { return nil }

// Loss implements [Objective].
func (c CTC) Loss(r *Run, grads map[string]*runtime.Tensor) (Measure, error) {
	var m Measure
	if r.step.streams {
		return m, fmt.Errorf("finetune: the loss of label sequences (CTC) needs all steps at once, not streams")
	}
	z, err := r.student(c.Head)
	if err != nil {
		return m, err
	}
	if z.per != z.steps {
		return m, fmt.Errorf("finetune: value %q with dims %v: has axes besides samples, steps and classes", z.name, z.tensor.Dims)
	}
	if c.Blank < 0 || c.Blank >= z.classes {
		return m, fmt.Errorf("finetune: value %q: the blank is class %d, there are %d", z.name, c.Blank, z.classes)
	}
	labels, err := r.Classes()
	if err != nil {
		return m, err
	}
	g, want, err := z.gradient(grads)
	if err != nil {
		return m, err
	}
	samples := len(r.Weights)
	for b, w := range r.Weights {
		sequence, err := c.sequence(labels[b*len(labels)/samples:(b+1)*len(labels)/samples], z.classes)
		if err != nil {
			return m, fmt.Errorf("finetune: value %q: sample %d: %w", z.name, r.sample(b), err)
		}
		if w == 0 || len(sequence) == 0 {
			continue
		}
		steps := z.steps
		if r.Lengths != nil {
			steps = min(steps, r.Lengths[b])
		}
		if need := shortest(sequence); need > steps {
			return m, fmt.Errorf("finetune: value %q: sample %d: a sequence of %d labels needs %d steps, there are %d", z.name, r.sample(b), len(sequence), need, steps)
		}
		p := newPaths(sequence, steps, z.classes, c.Blank)
		for t := range steps {
			z.vector(b*z.per+t, p.logits[t])
			logSoftmax(p.logits[t], p.logp[t])
		}
		m.Sum -= w * p.forward()
		m.Weight += w
		m.Seen += w
		if p.best() {
			m.Hits += w
		}
		if !want {
			continue
		}
		p.backward()
		for t := range steps {
			v := p.gradient(t)
			for k := range v {
				v[k] *= w
			}
			z.add(g, b*z.per+t, v)
		}
	}
	return m, nil
}

// sequence takes the labels of a sample without padding.
func (c CTC) sequence(labels []int, classes int) ([]int, error) {
	var s []int
	for _, y := range labels {
		switch {
		case y == dataset.Ignore:
			continue
		case y < 0 || y >= classes:
			return nil, fmt.Errorf("a label is class %d, there are %d", y, classes)
		case y == c.Blank:
			return nil, fmt.Errorf("a label is class %d, which is the blank", y)
		}
		s = append(s, y)
	}
	return s, nil
}

// shortest is the number of steps that a sequence needs: a blank must stand between equal neighbours.
func shortest(s []int) int {
	n := len(s)
	for i := 1; i < len(s); i++ {
		if s[i] == s[i-1] {
			n++
		}
	}
	return n
}

// paths sums over the paths of one sample.
type paths struct {
	states      []int       // labels with blanks around them
	sequence    []int       // labels
	blank       int         // class
	logits      [][]float64 // by step
	logp        [][]float64
	alpha, beta [][]float64 // log of the sums of the paths' beginnings up to a step and state, and of their ends behind it
	total       float64     // log of the sum of all
	scratch     []float64
}

func newPaths(sequence []int, steps, classes, blank int) *paths {
	p := &paths{sequence: sequence, blank: blank, states: []int{blank}, scratch: make([]float64, classes)}
	for _, y := range sequence {
		p.states = append(p.states, y, blank)
	}
	table := func(width int) [][]float64 {
		all := make([]float64, steps*width)
		rows := make([][]float64, steps)
		for t := range rows {
			rows[t] = all[t*width : (t+1)*width]
		}
		return rows
	}
	p.logits, p.logp = table(classes), table(classes)
	p.alpha, p.beta = table(len(p.states)), table(len(p.states))
	return p
}

// skips says whether a path may come to state s from two states before.
func (p *paths) skips(s int) bool {
	return s >= 2 && p.states[s] != p.blank && p.states[s] != p.states[s-2]
}

// forward fills alpha and gives the log of the probability.
func (p *paths) forward() float64 {
	last := len(p.states) - 1
	for t, row := range p.alpha {
		for s, class := range p.states {
			in := math.Inf(-1)
			switch {
			case t == 0 && s <= 1:
				in = 0
			case t > 0:
				before := p.alpha[t-1]
				in = before[s]
				if s >= 1 {
					in = logAdd(in, before[s-1])
				}
				if p.skips(s) {
					in = logAdd(in, before[s-2])
				}
			}
			row[s] = in + p.logp[t][class]
		}
	}
	end := p.alpha[len(p.alpha)-1]
	p.total = logAdd(end[last], end[last-1])
	return p.total
}

// backward fills beta.
func (p *paths) backward() {
	last := len(p.states) - 1
	for t := len(p.beta) - 1; t >= 0; t-- {
		for s := range p.states {
			out := math.Inf(-1)
			switch {
			case t == len(p.beta)-1 && s >= last-1:
				out = 0
			case t < len(p.beta)-1:
				next := func(s int) float64 { return p.beta[t+1][s] + p.logp[t+1][p.states[s]] }
				out = next(s)
				if s < last {
					out = logAdd(out, next(s+1))
				}
				if s+2 <= last && p.skips(s+2) {
					out = logAdd(out, next(s+2))
				}
			}
			p.beta[t][s] = out
		}
	}
}

// gradient is that of −log probability with respect to the logits of a step: softmax minus the share of the paths that are in a class's states (equation 16).
func (p *paths) gradient(t int) []float64 {
	for k, l := range p.logp[t] {
		p.scratch[k] = math.Exp(l)
	}
	for s, class := range p.states {
		if share := p.alpha[t][s] + p.beta[t][s] - p.total; !math.IsNaN(share) {
			p.scratch[class] -= math.Exp(share)
		}
	}
	return p.scratch
}

// best says whether the most probable classes of the steps, repeats merged and blanks removed, are the sequence.
func (p *paths) best() bool {
	at, before := 0, p.blank
	for _, row := range p.logp {
		best := 0
		for k, v := range row {
			if v > row[best] {
				best = k
			}
		}
		if best != p.blank && best != before {
			if at == len(p.sequence) || p.sequence[at] != best {
				return false
			}
			at++
		}
		before = best
	}
	return at == len(p.sequence)
}

// logAdd is log(e^a + e^b).
func logAdd(a, b float64) float64 {
	if a < b {
		a, b = b, a
	}
	if math.IsInf(b, -1) {
		return a
	}
	return a + math.Log1p(math.Exp(b-a))
}
