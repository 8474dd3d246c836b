package csource_test

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/trconvert/trconvert/export/csource"
	"github.com/trconvert/trconvert/export/source"
	"github.com/trconvert/trconvert/export/source/sourcetest"
	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/runtime"
)

// TestInt8 holds code with int8 weights to the runtime with exactly the weights that int8 stands for, to 1e-4, and says what that costs against the model. The bound of a
// single weight is that of rounding: half a scale of its row.
func TestInt8(t *testing.T) {
	for _, tt := range sourcetest.Models(shared) {
		t.Run(tt.Name, func(t *testing.T) {
			ctx := context.Background()
			m := sourcetest.Open(t, tt.Path)
			o := csource.Options{Options: source.Options{Dims: tt.Dims, Int8: true}}
			p, err := source.Lower(ctx, m, o.Options)
			if err != nil {
				t.Fatal(err)
			}
			if len(p.Quantized) == 0 {
				t.Fatal("no weight is held as int8")
			}
			dense, err := source.Lower(ctx, m, source.Options{Dims: tt.Dims})
			if err != nil {
				t.Fatal(err)
			}
			weights := 0.0
			for _, q := range p.Quantized {
				e := checkRounding(t, m, q)
				weights += e * e
			}
			weights = math.Sqrt(weights)
			worst := 0.0
			for k := range p.Run.Outputs {
				worst = max(worst, relative(t, p.Run.Samples[0].Outputs[k], dense.Run.Samples[0].Outputs[k]))
			}
			t.Logf("outputs change by %.2g, matrices by %.2g; %d bytes of constants", worst, weights, p.ConstBytes())
			if worst > amplification*weights {
				t.Errorf("int8 weights change an output by %g of its norm, more than %g times the %g of the matrices", worst, float64(amplification), weights)
			}
			files, err := csource.Print(ctx, p, o)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(tt.Path, shared) && tt.Name != "dtln_model_1" {
				return // compiled in TestModelsGiveTheOutputsOfTheRuntime; the kernels are the same
			}
			t.Log(run(t, build(t, files), "sample_input.bin", "sample_output.bin"))
		})
	}
}

// amplification bounds the relative change of an output, ‖a − b‖/‖b‖, as a multiple of the relative errors of all int8 matrices, √Σ(‖Ŵ − W‖/‖W‖)²: the bound that the
// documentation states. Were the errors of products independent of each other and gates linear, it would be 1; squashing
// lowers it, the recurrence and differences between nearly equal sums raise it, to 2.3 at most on these models.
const amplification = 3

func relative(t *testing.T, a, b *onnx.Array) float64 {
	t.Helper()
	x, err := a.Float64s()
	if err != nil {
		t.Fatal(err)
	}
	y, err := b.Float64s()
	if err != nil {
		t.Fatal(err)
	}
	var d, n float64
	for k := range y {
		d += (x[k] - y[k]) * (x[k] - y[k])
		n += y[k] * y[k]
	}
	return math.Sqrt(d / max(n, 1e-30))
}

// checkRounding compares the values that stand in for an initializer with it: none is off by more than 1/254 of the largest of the tensor, which no row exceeds. It returns
// the relative error of the matrix.
func checkRounding(t *testing.T, m *onnx.Model, q runtime.Override) float64 {
	t.Helper()
	for _, init := range m.Graph.Initializers {
		if init.Name != q.Node.Input(q.Slot) {
			continue
		}
		a, err := init.Array()
		if err != nil {
			t.Fatal(err)
		}
		w, err := a.Float64s()
		if err != nil {
			t.Fatal(err)
		}
		used, err := q.Value.Float64s()
		if err != nil {
			t.Fatal(err)
		}
		top, slack := 0.0, 1.0001
		if init.Type != onnx.Float { // the runtime is given values rounded to float16
			slack += 0x1p-11 * 254
		}
		for _, v := range w {
			top = max(top, math.Abs(v))
		}
		var d, n float64
		for k := range w {
			d += (used[k] - w[k]) * (used[k] - w[k])
			n += w[k] * w[k]
			if math.Abs(used[k]-w[k]) > top/254*slack {
				t.Fatalf("%s: weight %d is %g instead of %g", init.Name, k, used[k], w[k])
			}
		}
		return math.Sqrt(d / max(n, 1e-30))
	}
	return 0
}
