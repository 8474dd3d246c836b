package source_test

import (
	"math"
	"slices"
	"testing"

	"github.com/trconvert/trconvert/export/source"
	"github.com/trconvert/trconvert/export/source/sourcetest"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
)

// rounding is what float32 adds to a bound, relative to the largest element, float16 values of a model excepted.
const rounding = 1e-5

// TestInt8Bounds: the oracle is the runtime, with the numbers that int8 stands for in place of the weights of one layer, and of all.
func TestInt8Bounds(t *testing.T) {
	for _, tt := range sourcetest.Models("../../../shared/") {
		t.Run(tt.Name, func(t *testing.T) {
			m := sourcetest.Open(t, tt.Path)
			o := source.Options{Dims: tt.Dims}
			layers, outputs, err := source.Int8Bounds(t.Context(), m, o)
			if err != nil {
				t.Fatal(err)
			}
			plain := lowered(t, m, o)
			o.Int8 = true
			p := lowered(t, m, o)
			slack := rounding
			if p.Tolerance > 1e-4 {
				slack = p.Tolerance
			}
			bounded := map[string]bool{}
			for _, b := range layers {
				bounded[source.FirstOutput(b.Node)] = true
				want, got := layerOutput(t, m, p, b, false), layerOutput(t, m, p, b, true)
				checkBound(t, "layer "+b.Name, b.Elements, want, got, slack)
			}
			for _, q := range p.Quantized {
				if !bounded[source.FirstOutput(q.Node)] {
					t.Errorf("%v holds int8 and has no bound", q.Node)
				}
			}
			for _, b := range outputs {
				k := slices.IndexFunc(p.Run.Outputs, func(o source.Port) bool { return o.Name == b.Name })
				checkBound(t, "output "+b.Name, b.Elements, plain.Run.Samples[0].Outputs[k], p.Run.Samples[0].Outputs[k], slack)
			}
		})
	}
}

func lowered(t *testing.T, m *onnx.Model, o source.Options) *source.Program {
	t.Helper()
	p, err := source.Lower(t.Context(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// layerOutput is what the node of a bound gives on the sample, with its weights as int8 or as they are; all other weights are the model's.
func layerOutput(t *testing.T, m *onnx.Model, p *source.Program, b source.Bound, narrow bool) *onnx.Array {
	t.Helper()
	o := runtime.Options{Outputs: []string{b.Name}}
	for _, q := range p.Quantized {
		if narrow && source.FirstOutput(q.Node) == source.FirstOutput(b.Node) {
			o.Overrides = append(o.Overrides, q)
		}
	}
	program, err := runtime.Compile(t.Context(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	feeds := map[string]*onnx.Array{}
	for k, in := range p.Run.Inputs {
		feeds[in.Name] = p.Run.Samples[0].Inputs[k]
	}
	out, err := program.Run(t.Context(), feeds)
	if err != nil {
		t.Fatal(err)
	}
	return out[b.Name]
}

func checkBound(t *testing.T, what string, bound []float64, want, got *onnx.Array, slack float64) {
	t.Helper()
	a, err := want.Float64s()
	if err != nil {
		t.Fatal(err)
	}
	b, err := got.Float64s()
	if err != nil {
		t.Fatal(err)
	}
	if len(bound) != len(a) {
		t.Fatalf("%s: %d bounds for %d elements", what, len(bound), len(a))
	}
	top, most, widest := 0.0, 0.0, 0.0
	for k := range a {
		top = max(top, math.Abs(a[k]))
	}
	for k := range a {
		d := math.Abs(a[k] - b[k])
		most, widest = max(most, d), max(widest, bound[k])
		if !(d <= bound[k]*(1+rounding)+slack*top) {
			t.Fatalf("%s: element %d moves by %g, more than its bound %g", what, k, d, bound[k])
		}
	}
	if widest == 0 {
		t.Errorf("%s: the bound is 0 everywhere", what)
	}
	t.Logf("%s: largest change %.2g, largest bound %.2g, largest element %.2g", what, most, widest, top)
}
