package convert

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/trconvert/trconvert/onnx"
)

// comparer accumulates the difference of two models' outputs over many inputs.
//
// The relative error of an output is ‖a−b‖_F/‖b‖_F over everything it was given, b being the reference. Elements that are
// NaN, or the same infinity, on both sides are equal and left out; elements that are finite on one side only make the error infinite. Where b is
// zero throughout, the error is 0 if a is too and 1 otherwise.
type comparer struct {
	floatOnly bool // leave outputs of discrete types out
	inputs    int
	outputs   map[string]*difference
}

type difference struct {
	diff, ref, max float64 // Σ(a−b)², Σb², max|a−b|
	broken         bool    // finite on one side only
	unbounded      int     // elements that are the same NaN or infinity on both sides
	elements       int
}

func newComparer() *comparer { return &comparer{outputs: make(map[string]*difference)} }

// add compares the outputs of one input; names in skip are left out. Outputs of a that b lacks (or the reverse) are an error.
func (c *comparer) add(a, b map[string]*onnx.Array, skip map[string]bool) error {
	for _, name := range sortedNames(b) {
		if skip[name] {
			continue
		}
		x, ok := a[name]
		if !ok {
			return fmt.Errorf("output %q: only one of the models has it", name)
		}
		if c.floatOnly && !isFloating(b[name].Type) {
			continue
		}
		if err := c.addOutput(name, x, b[name]); err != nil {
			return fmt.Errorf("output %q: %w", name, err)
		}
	}
	for _, name := range sortedNames(a) {
		if _, ok := b[name]; !ok && !skip[name] {
			return fmt.Errorf("output %q: only one of the models has it", name)
		}
	}
	c.inputs++
	return nil
}

func (c *comparer) addOutput(name string, a, b *onnx.Array) error {
	if !slices.Equal(a.Dims, b.Dims) {
		return fmt.Errorf("shapes %v and %v differ", a.Dims, b.Dims)
	}
	d := c.outputs[name]
	if d == nil {
		d = &difference{}
		c.outputs[name] = d
	}
	if s, ok := b.Data.([]string); ok {
		t, ok := a.Data.([]string)
		if !ok {
			return fmt.Errorf("element types %v and %v differ", a.Type, b.Type)
		}
		for i := range s {
			var v float64
			if s[i] != t[i] {
				v = 1
			}
			d.element(1+v, 1)
		}
		return nil
	}
	x, err := floats(a)
	if err != nil {
		return err
	}
	y, err := floats(b)
	if err != nil {
		return err
	}
	if len(x) != len(y) {
		return fmt.Errorf("%d and %d elements", len(x), len(y))
	}
	for i := range y {
		d.element(x[i], y[i])
	}
	return nil
}

func (d *difference) element(a, b float64) {
	d.elements++
	if a == b || math.IsNaN(a) && math.IsNaN(b) {
		if math.IsInf(b, 0) || math.IsNaN(b) {
			d.unbounded++
		} else {
			d.ref += b * b
		}
		return
	}
	e := math.Abs(a - b)
	if math.IsNaN(e) || math.IsInf(e, 0) {
		d.broken = true
		return
	}
	d.diff += e * e
	d.ref += b * b
	d.max = math.Max(d.max, e)
}

// relative is ‖a−b‖_F/‖b‖_F with the conventions of [comparer].
func (d *difference) relative() float64 {
	switch {
	case d.broken:
		return math.Inf(1)
	case d.diff == 0:
		return 0
	case d.ref == 0:
		return 1
	}
	return math.Sqrt(d.diff) / math.Sqrt(d.ref)
}

// result is the comparison over all outputs so far: the worst of each figure.
func (c *comparer) result(engine string) Comparison {
	r := Comparison{Engine: engine, Inputs: c.inputs}
	for _, d := range c.outputs {
		m := d.max
		if d.broken {
			m = math.Inf(1)
		}
		r.MaxAbs = Number(math.Max(float64(r.MaxAbs), m))
		r.Relative = Number(math.Max(float64(r.Relative), d.relative()))
	}
	return r
}

// merge adds what another comparer saw, under its own names.
func (c *comparer) merge(prefix string, o *comparer) {
	for name, d := range o.outputs {
		c.outputs[prefix+name] = d
	}
}

func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// worst names the output whose relative error is the largest.
func (c *comparer) worst() string {
	var name string
	for _, n := range sortedNames(c.outputs) {
		if name == "" || c.outputs[n].relative() > c.outputs[name].relative() {
			name = n
		}
	}
	return name
}
