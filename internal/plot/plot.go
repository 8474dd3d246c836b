// Package plot draws curves: as SVG for reports (gonum/plot), and as a line of block characters for a terminal. The same curves give the same bytes.
package plot

import (
	"fmt"
	"io"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Curve is a line through points. Where a coordinate is NaN or infinite there is a gap.
type Curve struct {
	Name string
	X    []float64 // nil: 1, 2, 3, …
	Y    []float64
	// Low and High, which may be nil, are the ends of a bar at each point.
	Low, High []float64
}

// Chart is curves in one frame.
type Chart struct {
	Title, X, Y string
	LogX, LogY  bool // axes with equal ratios; points that are not above 0 are gaps then
	Curves      []Curve
}

// Width and Height of a chart in points of 1/72 inch.
const (
	Width  = 480
	Height = 300
)

// SVG writes the chart as an SVG image.
func (c Chart) SVG(w io.Writer) error {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = c.Title, c.X, c.Y
	p.Legend.Top = true
	p.Add(plotter.NewGrid())
	drawn := 0
	for k, curve := range c.Curves {
		n, err := c.add(p, k, curve)
		if err != nil {
			return fmt.Errorf("plot: curve %q: %w", curve.Name, err)
		}
		drawn += n
	}
	if drawn == 0 {
		return fmt.Errorf("plot: %q: no curve has a point", c.Title)
	}
	widen(&p.X.Min, &p.X.Max)
	widen(&p.Y.Min, &p.Y.Max)
	if c.LogX {
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, logTicks{}
	}
	if c.LogY {
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, logTicks{}
	}
	canvas := vgsvg.New(vg.Length(Width), vg.Length(Height))
	p.Draw(draw.New(canvas))
	if _, err := canvas.WriteTo(w); err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	return nil
}

// add draws a curve and gives the number of its points.
func (c Chart) add(p *plot.Plot, k int, curve Curve) (int, error) {
	for _, other := range [][]float64{curve.X, curve.Low, curve.High} {
		if other != nil && len(other) != len(curve.Y) {
			return 0, fmt.Errorf("%d values beside %d", len(other), len(curve.Y))
		}
	}
	if (curve.Low == nil) != (curve.High == nil) {
		return 0, fmt.Errorf("bars need both ends")
	}
	drawn := 0
	for _, run := range c.runs(curve) {
		line, points, err := plotter.NewLinePoints(run.points)
		if err != nil {
			return 0, err
		}
		line.Color, points.Color = colour(k), colour(k)
		line.Width = vg.Points(1.2)
		points.Shape, points.Radius = draw.CircleGlyph{}, vg.Points(1.6)
		if len(run.points) > 40 {
			p.Add(line)
		} else {
			p.Add(line, points)
		}
		if len(run.bars) > 0 {
			bars, err := plotter.NewYErrorBars(run)
			if err != nil {
				return 0, err
			}
			bars.Color = colour(k)
			p.Add(bars)
		}
		if drawn == 0 && curve.Name != "" {
			p.Legend.Add(curve.Name, line)
		}
		drawn += len(run.points)
	}
	return drawn, nil
}

// run is a piece of a curve without gaps.
type run struct {
	points plotter.XYs
	bars   []struct{ Low, High float64 }
}

func (r run) Len() int                       { return len(r.points) }
func (r run) XY(i int) (x, y float64)        { return r.points[i].X, r.points[i].Y }
func (r run) YError(i int) (low, up float64) { return r.bars[i].Low, r.bars[i].High }

// runs cuts a curve at its gaps.
func (c Chart) runs(curve Curve) []run {
	var all []run
	open := false
	for i, y := range curve.Y {
		x := float64(i + 1)
		if curve.X != nil {
			x = curve.X[i]
		}
		low, high := y, y
		if curve.Low != nil {
			low, high = curve.Low[i], curve.High[i]
		}
		if !fits(x, c.LogX) || !fits(y, c.LogY) || !fits(low, c.LogY) || !fits(high, c.LogY) {
			open = false
			continue
		}
		if !open {
			all, open = append(all, run{}), true
		}
		r := &all[len(all)-1]
		r.points = append(r.points, plotter.XY{X: x, Y: y})
		if curve.Low != nil {
			r.bars = append(r.bars, struct{ Low, High float64 }{y - low, high - y})
		}
	}
	return all
}

// fits says whether a coordinate can be drawn. Beyond 1e100 ticks overflow.
func fits(v float64, log bool) bool {
	return math.Abs(v) < 1e100 && (!log || v > 1e-100)
}

// widen makes room where an axis has no extent.
func widen(lo, hi *float64) {
	if *lo < *hi {
		return
	}
	d := math.Abs(*lo) / 10
	if d == 0 {
		d = 1
	}
	*lo, *hi = *lo-d, *hi+d
}
