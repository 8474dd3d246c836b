package export

import (
	"slices"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/tensor"
)

// origin says what a dense reconstruction was made from.
type origin struct {
	Sites    []string `json:"sites"`
	Format   string   `json:"format"`
	InModes  []int    `json:"in_modes"`
	OutModes []int    `json:"out_modes"`
	Ranks    []int    `json:"ranks"`
}

type origins struct {
	Schema string   `json:"schema"`
	Dense  []origin `json:"dense"`
}

func originOf(r Replacement) origin {
	o := originOfFactor(r.Factor)
	for _, s := range r.Sites {
		o.Sites = append(o.Sites, s.Name)
	}
	return o
}

func originOfFactor(f *tensor.Factor, sites ...string) origin {
	return origin{Sites: sites, Format: f.Format, InModes: f.InModes, OutModes: f.OutModes, Ranks: f.Ranks()}
}

// recordOrigins writes the entry of dense reconstructions; sites that are replaced once more lose their old line.
func recordOrigins(m *onnx.Model, p *onnx.Patch, made []origin) error {
	if len(made) == 0 {
		return nil
	}
	var l origins
	if _, err := readEntry(m, DenseKey, denseSchema, &l); err != nil {
		return err
	}
	again := map[string]bool{}
	for _, o := range made {
		for _, s := range o.Sites {
			again[s] = true
		}
	}
	l.Dense = slices.DeleteFunc(l.Dense, func(o origin) bool {
		return slices.ContainsFunc(o.Sites, func(s string) bool { return again[s] })
	})
	l.Schema, l.Dense = denseSchema, append(l.Dense, made...)
	return setEntry(p, DenseKey, l)
}
