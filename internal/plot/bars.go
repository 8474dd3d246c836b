package plot

import (
	"fmt"
	"io"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Bar is one figure. A Value that is NaN, infinite or negative leaves its line empty.
type Bar struct {
	Name  string
	Value float64
	// Low and High, where High is above 0, are the ends of a line over the bar.
	Low, High float64
}

// Bars is a panel of horizontal bars, the first on top, each with its figure beside it. Axes begin at 0.
type Bars struct {
	Title string
	Bars  []Bar
}

const (
	barHeight  = 14 // of a bar and the room around it, in points
	panelFrame = 60 // height of a panel without its bars
)

// BarsSVG writes panels below each other as an SVG image that is Width wide and as high as it takes. Panels in which no bar can be drawn are left out; that none is left is an error.
func BarsSVG(w io.Writer, panels []Bars) error {
	var (
		plots  []*plot.Plot
		height []vg.Length
		total  vg.Length
	)
	for _, panel := range panels {
		p, err := panel.plot(len(plots))
		if err != nil {
			return fmt.Errorf("plot: panel %q: %w", panel.Title, err)
		}
		if p == nil {
			continue
		}
		plots, height = append(plots, p), append(height, vg.Points(float64(panelFrame+barHeight*len(panel.Bars))))
		total += height[len(height)-1]
	}
	if len(plots) == 0 {
		return fmt.Errorf("plot: none of %d panels has a bar", len(panels))
	}
	canvas := vgsvg.New(vg.Length(Width), total)
	all, below := draw.New(canvas), total
	for k, p := range plots {
		below -= height[k]
		p.Draw(draw.Crop(all, 0, 0, below, below+height[k]-total))
	}
	if _, err := canvas.WriteTo(w); err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	return nil
}

// plot lays a panel out, nil where it has no bar.
func (b Bars) plot(k int) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = b.Title
	p.X.Min, p.Y.Min, p.Y.Max = 0, -0.5, float64(len(b.Bars))-0.5
	var (
		names  = make([]string, len(b.Bars))
		values = make(plotter.Values, len(b.Bars))
		labels plotter.XYLabels
		ranges run
	)
	for i, bar := range b.Bars {
		at := len(b.Bars) - 1 - i
		names[at] = bar.Name
		if !(bar.Value >= 0) || !fits(bar.Value, false) {
			continue
		}
		values[at] = bar.Value
		end := bar.Value
		if bar.High > 0 && fits(bar.High, false) && bar.Low >= 0 && bar.Low <= bar.Value && bar.High >= bar.Value {
			end = bar.High
			ranges.points = append(ranges.points, plotter.XY{X: bar.Value, Y: float64(at)})
			ranges.bars = append(ranges.bars, struct{ Low, High float64 }{bar.Value - bar.Low, bar.High - bar.Value})
		}
		labels.XYs = append(labels.XYs, plotter.XY{X: end, Y: float64(at)})
		labels.Labels = append(labels.Labels, " "+figures(bar.Value))
		p.X.Max = math.Max(p.X.Max, end)
	}
	if len(labels.Labels) == 0 {
		return nil, nil
	}
	if p.X.Max *= 1.12; p.X.Max == 0 { // room for the figures
		p.X.Max = 1
	}
	chart, err := plotter.NewBarChart(values, vg.Points(0.7*barHeight))
	if err != nil {
		return nil, err
	}
	chart.Horizontal, chart.Color, chart.LineStyle.Width = true, colour(k), 0
	p.Add(chart)
	if len(ranges.points) > 0 {
		lines, err := plotter.NewXErrorBars(horizontal{ranges})
		if err != nil {
			return nil, err
		}
		p.Add(lines)
	}
	figures, err := plotter.NewLabels(labels)
	if err != nil {
		return nil, err
	}
	for i := range figures.TextStyle {
		figures.TextStyle[i].Font.Size, figures.TextStyle[i].YAlign = vg.Points(8), draw.YCenter
	}
	p.Add(figures)
	p.NominalY(names...)
	p.Y.Tick.Label.Font.Size = vg.Points(8)
	p.Y.Min, p.Y.Max = -0.5, float64(len(b.Bars))-0.5
	return p, nil
}

// horizontal turns the bars of a run to the other axis.
type horizontal struct{ run }

func (h horizontal) XError(i int) (low, up float64) { return h.YError(i) }

// figures writes three significant digits, or all of those before the point.
func figures(v float64) string {
	if v >= 1000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
