package convert

import (
	"context"
	"math"
	"testing"

	"github.com/trconvert/trconvert/export"
)

// TestExcused: what a rounding of W explains is excused, and nothing else is.
func TestExcused(t *testing.T) {
	ctx := context.Background()
	c := newConversion(Options{Model: own("lstm_bidi.onnx"), Budget: Budget{Rank: 3}, Export: ExportOptions{Form: export.Bottleneck}})
	defer c.close()
	for _, step := range []func(context.Context) error{c.open, c.choose, c.fit} {
		if err := step(ctx); err != nil {
			t.Fatal(err)
		}
	}
	rs := []export.Replacement{{Sites: c.groups[0].sites, Factor: c.results[0].Factor}}
	samples, err := c.samples(ctx)
	if err != nil || len(samples) == 0 {
		t.Fatalf("%d samples, %v", len(samples), err)
	}
	overrides, bound, err := c.overrides(factors{ws: rs})
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		samples       []sample
		whole, layers float64
		want          bool
	}{
		// One unit in the last place is 1.2e-7; a layer with saturating activations hardly amplifies it.
		"rounding":          {samples, 1e-7, 1e-7, true},
		"more than that":    {samples, 1e-4, 1e-7, false},
		"NaN":               {samples, math.NaN(), 1e-7, false},
		"the layers differ": {samples, 1e-7, 2e-5, false},
		"nothing was run":   {nil, 1e-7, 1e-7, false},
	} {
		got, err := c.excused(ctx, x.samples, overrides, factors{ws: rs}, x.whole, x.layers, bound)
		if err != nil || got != x.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if len(c.report.Warnings) != 1 || c.report.Warnings[0].Code != "sensitive" {
		t.Errorf("warnings %+v", c.report.Warnings)
	}
}
