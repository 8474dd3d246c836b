package recurrent

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/trconvert/trconvert/onnx"
)

// function is an activation function: which of alpha and beta it takes, and their defaults (NaN: the specification has none).
type function struct {
	name                  string
	takesAlpha, takesBeta bool
	alpha, beta           float32
}

var functions = func() map[string]function {
	nan := float32(math.NaN())
	m := map[string]function{}
	for _, f := range []function{
		{name: "Relu"},
		{name: "Tanh"},
		{name: "Sigmoid"},
		{name: "Softsign"},
		{name: "Softplus"},
		{name: "LeakyRelu", takesAlpha: true, alpha: 0.01},
		{name: "ThresholdedRelu", takesAlpha: true, alpha: 1},
		{name: "Elu", takesAlpha: true, alpha: 1},
		{name: "HardSigmoid", takesAlpha: true, takesBeta: true, alpha: 0.2, beta: 0.5},
		{name: "Affine", takesAlpha: true, takesBeta: true, alpha: nan, beta: nan},
		{name: "ScaledTanh", takesAlpha: true, takesBeta: true, alpha: nan, beta: nan},
	} {
		m[strings.ToLower(f.name)] = f
	}
	return m
}()

func (p *parser) activations(c *Config) error {
	want := c.Direction.Count() * len(p.spec.activations)
	var names []string
	if a := p.seen["activations"]; a != nil && len(a.Strings) > 0 {
		for _, s := range a.Strings {
			names = append(names, string(s))
		}
	} else {
		for d := 0; d < c.Direction.Count(); d++ {
			names = append(names, p.spec.activations...)
		}
	}
	if len(names) != want {
		return broken(p.node, fmt.Sprintf("attribute \"activations\" has %d names, %s %s takes %d", len(names), c.Direction, c.Op, want))
	}
	alpha, beta := p.list("activation_alpha"), p.list("activation_beta")
	for k, name := range names {
		f, known := functions[strings.ToLower(name)]
		if !known {
			return unsupported(p.node, "activations", strconv.Quote(name), fmt.Sprintf("function %d is none of the specification's eleven", k))
		}
		act := Activation{Name: f.name}
		if f.takesAlpha {
			act.Alpha = alpha.next(k, f.alpha)
		}
		if f.takesBeta {
			act.Beta = beta.next(k, f.beta)
		}
		if isNaN(act.Alpha) || isNaN(act.Beta) {
			return unsupported(p.node, "activations", strconv.Quote(name), fmt.Sprintf("function %d needs activation_alpha and activation_beta: the specification gives no defaults", k))
		}
		c.Activations = append(c.Activations, act)
	}
	for _, l := range []*parameters{alpha, beta} {
		if err := l.leftover(p.node, want); err != nil {
			return err
		}
	}
	return nil
}

// parameters is activation_alpha or activation_beta while it is consumed.
type parameters struct {
	name   string
	values []float32
	taken  int
	// positional stays true while each value taken equals the one at the function's own position.
	positional bool
}

func (p *parser) list(name string) *parameters {
	l := &parameters{name: name, positional: true}
	if a := p.seen[name]; a != nil {
		l.values = a.Floats
	}
	return l
}

// next gives the next value to function k, or its default when the list is used up.
func (l *parameters) next(k int, otherwise float32) float32 {
	if l.taken >= len(l.values) {
		return otherwise
	}
	v := l.values[l.taken]
	l.taken++
	l.positional = l.positional && k < len(l.values) && l.values[k] == v
	return v
}

// leftover refuses values that no function takes, unless the list has one entry for every function and both readings agree.
func (l *parameters) leftover(n *onnx.Node, functions int) error {
	if l.taken == len(l.values) || (len(l.values) == functions && l.positional) {
		return nil
	}
	return unsupported(n, l.name, fmt.Sprint(l.values), fmt.Sprintf("has %d values, the activations take %d", len(l.values), l.taken))
}

func isNaN(x float32) bool { return x != x }
