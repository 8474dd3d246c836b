package main

import (
	"os"
	"path/filepath"
	"slices"

	"github.com/trconvert/trconvert/internal/plot"
)

// plot draws, for each set of an experiment, accuracy over size: a curve for each format and method, bars for the range over the seeds.
func (s *store) plot(folder, experiment string) error {
	charts, names := map[string]*plot.Chart{}, []string{}
	for _, g := range s.groups(experiment) {
		c := charts[g.Set]
		if c == nil {
			c = &plot.Chart{Title: g.Set + ": " + experiment, X: "W is smaller by", Y: "accuracy", LogX: true}
			if experiment == "stability" {
				c.X, c.LogX = "rank", false
			}
			charts[g.Set], names = c, append(names, g.Set)
		}
		size := float64(max(g.Rank, g.Ratio))
		if size == 0 {
			continue // the dense model has no place on the axis
		}
		name := g.Format
		if g.Method != methodScratch {
			name += " " + g.Method
		}
		k := slices.IndexFunc(c.Curves, func(c plot.Curve) bool { return c.Name == name })
		if k < 0 {
			k, c.Curves = len(c.Curves), append(c.Curves, plot.Curve{Name: name})
		}
		curve := &c.Curves[k]
		curve.X, curve.Y = append(curve.X, size), append(curve.Y, g.median())
		curve.Low, curve.High = append(curve.Low, slices.Min(g.accuracy)), append(curve.High, slices.Max(g.accuracy))
	}
	for _, name := range names {
		f, err := os.Create(filepath.Join(folder, experiment+"-"+name+".svg"))
		if err != nil {
			return err
		}
		err = charts[name].SVG(f)
		if e := f.Close(); err == nil {
			err = e
		}
		if err != nil {
			return err
		}
	}
	return nil
}
