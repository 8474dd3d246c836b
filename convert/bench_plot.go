package convert

import (
	"context"
	"io"

	"github.com/trconvert/trconvert/internal/plot"
)

// plot draws the results as bars, a panel for each kind of figure.
func (b *bench) plot(ctx context.Context) error {
	if b.o.Plot == "" {
		return nil
	}
	panels := []plot.Bars{{Title: "a run, ms"}, {Title: "load and first run, ms"}, {Title: "resident memory, MB"}, {Title: "file, kB"}}
	for _, r := range b.report.Results {
		if r.Error != "" {
			continue
		}
		name := b.rowName(&r)
		for k, bar := range []plot.Bar{
			{Name: name, Value: float64(r.Median), Low: float64(r.Low), High: float64(r.High)},
			{Name: name, Value: float64(r.Ready)},
			{Name: name, Value: float64(r.Resident.Used) / 1e6},
			{Name: name, Value: float64(r.Bytes) / 1e3},
		} {
			panels[k].Bars = append(panels[k].Bars, bar)
		}
	}
	if err := writeAtomic(ctx, b.o.Plot, func(w io.Writer) error { return plot.BarsSVG(w, panels) }); err != nil {
		return err
	}
	b.report.Plot = b.o.Plot
	return nil
}
