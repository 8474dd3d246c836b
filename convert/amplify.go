package convert

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/onnx/recurrent"
	"github.com/trconvert/trconvert/runtime"
)

// lastPlaces is how many times the effect of one unit in the last place of every element of Ŵ the whole model's outputs may differ by
// where they exceed formBound. The two forms round every product with X once more each, over as many terms as the layer has inputs.
const lastPlaces = 64

// excused says whether a model's outputs differ by no more than its own sensitivity to rounding explains: the changed layers, run alone, agree
// within the bound, and moving every element of Ŵ by one unit in its last place changes the outputs by at least 1/lastPlaces of the
// difference. Models whose outputs are all but zero on random inputs, or whose state feeds back on itself, are like that.
func (c *conversion) excused(ctx context.Context, samples []sample, overrides []override, fs factors, whole, layers, bound float64) (bool, error) {
	if len(samples) == 0 || !(layers <= bound) {
		return false, nil
	}
	moved, err := lastPlacesMoved(fs)
	if err != nil {
		return false, err
	}
	a, err := c.withOverrides(ctx, moved)
	if err != nil {
		return false, err
	}
	b, err := c.withOverrides(ctx, overrides)
	if err != nil {
		return false, err
	}
	change := newComparer()
	change.floatOnly = true
	for _, s := range samples {
		got, err := a.Run(ctx, s.feeds)
		if err != nil {
			return false, err
		}
		want, err := b.Run(ctx, s.feeds)
		if err != nil {
			return false, err
		}
		if err := change.add(got, want, nil); err != nil {
			return false, err
		}
	}
	sensitivity := float64(change.result("go").Relative)
	if !(whole <= lastPlaces*sensitivity) {
		return false, nil
	}
	c.warn("sensitive", "", "the model amplifies rounding: moving W by one unit in the last place changes its outputs by %.2g on random inputs, the written form by %.2g; the changed layers alone agree to %.2g",
		sensitivity, whole, layers)
	return true, nil
}

// withOverrides compiles the original with other matrices in place of W.
func (c *conversion) withOverrides(ctx context.Context, overrides []override) (*runtime.Program, error) {
	ro := runtime.Options{Threads: c.o.Threads}
	for _, ov := range overrides {
		ro.Overrides = append(ro.Overrides, runtime.Override{Node: c.heldNode(ov.node), Slot: ov.slot, Value: ov.value})
	}
	p, err := runtime.Compile(ctx, c.held(), ro)
	if err != nil {
		return nil, fmt.Errorf("convert: verification: the factored model: %w", err)
	}
	return p, nil
}

// lastPlacesMoved are the overrides with every element of Ŵ moved by one unit in its last place of float32, up or down as a fixed stream of
// random bits says.
func lastPlacesMoved(fs factors) ([]override, error) {
	bits := rand.New(rand.NewPCG(0x756c70, 1))
	return overridesOf(fs, func(w []float32) {
		for i, v := range w {
			w[i] = v * (1 + 0x1p-23*float32(2*int(bits.Uint64()&1)-1))
		}
	})
}

// overridesOf reconstructs every replaced matrix in the types of its sites, after a change.
func overridesOf(fs factors, change func(w []float32)) ([]override, error) {
	var out []override
	for _, r := range fs.matrices {
		w := r.Factor.Reconstruct()
		if change != nil {
			change(w.Data)
		}
		a, err := r.Matrix.Array(w)
		if err != nil {
			return nil, err
		}
		out = append(out, override{node: r.Matrix.Node, slot: r.Matrix.Slot, value: a})
	}
	for _, r := range fs.ws {
		w := r.Factor.Reconstruct()
		if change != nil {
			change(w.Data)
		}
		byType := make(map[onnx.DataType]*onnx.Array)
		for _, s := range r.Sites {
			a := byType[s.Elem]
			if a == nil {
				d := s.Direction.Count()
				var err error
				if a, err = recurrent.Array(s.Elem, []int{d, s.Rows() / d, s.Input}, w.Data); err != nil {
					return nil, err
				}
				byType[s.Elem] = a
			}
			out = append(out, override{s.Node, recurrent.SlotW, a, s})
		}
	}
	return out, nil
}
