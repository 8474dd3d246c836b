package convert

import (
	"context"
	"reflect"
	"testing"

	"github.com/trconvert/trconvert/decompose"
	"github.com/trconvert/trconvert/tensor"
)

// What makes a shape quicker follows from the numbers: whole vectors of 16 columns, or modes whose product is the number of inputs, for no more numbers. Whether there is such a
// factor is for package decompose to say.
func TestQuickerShapes(t *testing.T) {
	for _, c := range []struct {
		name    string
		shape   decompose.Shape
		columns int // of the first, 0 where there is no quicker shape
		exact   bool
	}{
		{"both", decompose.Shape{Format: "tr", Out: 512, In: 1032, InModes: []int{37, 28}, OutModes: []int{512}, Ranks: []int{2, 48, 9}}, 16, true},
		{"columns of a train", decompose.Shape{Format: "tt", Out: 256, In: 1662, InModes: []int{1662}, OutModes: []int{16, 16}, Ranks: []int{1, 17, 16}}, 16, false},
		{"columns of a truncated SVD", decompose.Shape{Format: "svd", Out: 256, In: 300, InModes: []int{300}, OutModes: []int{256}, Ranks: []int{1, 34}}, 32, false},
		{"padding alone", decompose.Shape{Format: "tr", Out: 512, In: 1032, InModes: []int{37, 28}, OutModes: []int{512}, Ranks: []int{2, 48, 8}}, 16, true},
		{"no divisors nearby", decompose.Shape{Format: "tr", Out: 512, In: 1031, InModes: []int{37, 28}, OutModes: []int{512}, Ranks: []int{2, 48, 8}}, 0, false},
		{"nothing to gain", decompose.Shape{Format: "tr", Out: 512, In: 1036, InModes: []int{37, 28}, OutModes: []int{512}, Ranks: []int{4, 48, 8}}, 0, false},
		{"too many columns to give up", decompose.Shape{Format: "svd", Out: 256, In: 300, InModes: []int{300}, OutModes: []int{256}, Ranks: []int{1, 37}}, 0, false},
		{"less than a vector", decompose.Shape{Format: "svd", Out: 256, In: 300, InModes: []int{300}, OutModes: []int{256}, Ranks: []int{1, 3}}, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := decompose.Fresh(c.shape, 1, 1)
			if err != nil {
				t.Fatal(err)
			}
			all := quickerShapes(f)
			if c.columns == 0 {
				if len(all) != 0 {
					t.Fatalf("%v, want none", all)
				}
				return
			}
			for k, s := range all {
				g, err := decompose.Fresh(s, 1, 1)
				if err != nil {
					t.Fatalf("%v: %v", s, err)
				}
				if n, most := g.Params(), f.Params(); n > most || n < most*9/10 {
					t.Errorf("%v has %d numbers, the factor %d", s, n, most)
				}
				if g.In != f.In || g.Out != f.Out || s.Format != c.shape.Format {
					t.Errorf("%v is of another matrix or format", s)
				}
				product := 1
				for _, m := range s.InModes {
					product *= m
				}
				if k == 0 && (g.Cut() != c.columns || (product == f.In) != (c.exact || len(s.InModes) == 1)) {
					t.Errorf("the first is %v with %d columns, want %d", s, g.Cut(), c.columns)
				}
			}
			if len(all) == 0 {
				t.Fatal("none")
			}
			m := decompose.Matrix{Name: "W", Directions: 1, Gates: 4, Hidden: f.Out / 4, In: f.In, Load: func(context.Context) (*tensor.Dense, error) { return f.Reconstruct(), nil }}
			rs, err := decompose.Run(t.Context(), []decompose.Matrix{m}, decompose.Budget{Ranks: all[0].Ranks}, withModes(decompose.Options{Sweeps: 1}, all[0].Format, all[0].InModes, all[0].OutModes))
			if err != nil {
				t.Fatal(err)
			}
			if got := decompose.ShapeOf(rs[0].Factor); !reflect.DeepEqual(got, all[0]) {
				t.Errorf("the fit is %v, want %v", got, all[0])
			}
		})
	}
}
