package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
)

var nan, inf = math.NaN(), math.Inf(1)

// Oracle: encoding/xml says that the image is well-formed; its names and the number of its lines are counted by hand.
func TestSVG(t *testing.T) {
	c := Chart{Title: "Loss & more", X: "epoch", Y: "loss", Curves: []Curve{
		{Name: "training", Y: []float64{3, 2, nan, 1, 0.5}},
		{Name: "validation <held back>", X: []float64{1, 2, 3}, Y: []float64{3, 2.5, 2}, Low: []float64{2.9, 2, 1}, High: []float64{3.1, 3, 2}},
	}}
	var first, again bytes.Buffer
	for _, w := range []*bytes.Buffer{&first, &again} {
		if err := c.SVG(w); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), again.Bytes()) {
		t.Error("the same chart gave other bytes")
	}
	text := xmlText(t, &first)
	for _, want := range []string{"Loss & more", "epoch", "loss", "training", "validation <held back>"} {
		if !strings.Contains(text, want) {
			t.Errorf("the image has no %q", want)
		}
	}
}

func TestSVGOfOddValues(t *testing.T) {
	for name, tt := range map[string]struct {
		chart Chart
		want  string // in the error, "" for none
	}{
		"one point":        {Chart{Curves: []Curve{{Y: []float64{1}}}}, ""},
		"all the same":     {Chart{Curves: []Curve{{Y: []float64{0, 0, 0}}}}, ""},
		"log with zero":    {Chart{LogY: true, Curves: []Curve{{Y: []float64{0, 1, 10}}}}, ""},
		"log of one value": {Chart{LogY: true, LogX: true, Curves: []Curve{{Y: []float64{5}}}}, ""},
		"huge":             {Chart{Curves: []Curve{{Y: []float64{1e300, 1, -1e300}}}}, ""},
		"infinite":         {Chart{Curves: []Curve{{Y: []float64{inf, 1}}}}, ""},
		"nothing":          {Chart{Title: "t", Curves: []Curve{{Y: []float64{nan}}}}, "no curve has a point"},
		"no curves":        {Chart{}, "no curve has a point"},
		"lengths":          {Chart{Curves: []Curve{{Name: "c", X: []float64{1}, Y: []float64{1, 2}}}}, `"c"`},
		"half a bar":       {Chart{Curves: []Curve{{Name: "c", Y: []float64{1}, Low: []float64{1}}}}, "both ends"},
	} {
		var w bytes.Buffer
		switch err := tt.chart.SVG(&w); {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: error %v, want %q", name, err, tt.want)
		case tt.want == "" && (strings.Contains(w.String(), "NaN") || strings.Contains(w.String(), "Inf")):
			t.Errorf("%s: the image has coordinates that are no numbers", name)
		}
	}
}

// The expected lines follow from the rule: eighths between the lowest and the highest value, means of shares.
func TestSparkline(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		width  int
		want   string
	}{
		{nil, 5, ""},
		{[]float64{0, 1, 2, 3, 4, 5, 6, 7}, 0, "▁▂▃▄▅▆▇█"},
		{[]float64{7, 0}, 0, "█▁"},
		{[]float64{2, 2, 2}, 0, "▁▁▁"},
		{[]float64{1, nan, 2, inf}, 0, "▁ █ "},
		{[]float64{0, 2, 6, 8}, 2, "▁█"},
		{[]float64{nan, nan, 1, 3, 4, 6}, 3, " ▁█"},
		{[]float64{-math.MaxFloat64, math.MaxFloat64}, 0, "▁█"},
		{[]float64{math.MaxFloat64, math.MaxFloat64, 0, 0}, 2, "█▁"},
	} {
		if got := Sparkline(tt.values, tt.width); got != tt.want {
			t.Errorf("Sparkline(%v, %d) is %q, want %q", tt.values, tt.width, got, tt.want)
		}
	}
}

// Every range of a logarithmic axis has at least two labels, and not more than fit. Labels by hand.
func TestLogTicks(t *testing.T) {
	for _, tt := range []struct {
		lo, hi float64
		want   string
	}{
		{0.05, 3, "0.05 0.1 0.2 0.5 1 2"}, {0.2, 0.9, "0.2 0.5"}, {1, 10, "1 2 5 10"}, {0.001, 100, "0.001 0.01 0.1 1 10 100"}, {1e-40, 1e40, "1e-40 1e-32 1e-24 1e-16 1e-08 1 1e+08 1e+16 1e+24 1e+32 1e+40"},
	} {
		var labels []string
		for _, tick := range (logTicks{}).Ticks(tt.lo, tt.hi) {
			if tick.Label != "" {
				labels = append(labels, tick.Label)
			}
		}
		if got := strings.Join(labels, " "); got != tt.want {
			t.Errorf("%v to %v: %s, want %s", tt.lo, tt.hi, got, tt.want)
		}
	}
	if n := len((logTicks{}).Ticks(0.5, 0.6)); n < 2 {
		t.Errorf("%d ticks from 0.5 to 0.6", n)
	}
}

// Oracle: encoding/xml says that the image is well-formed; names and figures are the bars' own, and the height is counted by hand.
func TestBarsSVG(t *testing.T) {
	panels := []Bars{
		{Title: "a run, ms", Bars: []Bar{{Name: "dense <model>", Value: 12.345, Low: 12, High: 13}, {Name: "compact", Value: 0.5}}},
		{Title: "memory", Bars: []Bar{{Name: "dense", Value: nan}, {Name: "compact", Value: inf}}},
		{Title: "bytes", Bars: []Bar{{Name: "dense", Value: 123456}, {Name: "compact", Value: 0}, {Name: "unknown", Value: nan}, {Name: "negative", Value: -1}}},
	}
	var first, again bytes.Buffer
	for _, w := range []*bytes.Buffer{&first, &again} {
		if err := BarsSVG(w, panels); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), again.Bytes()) {
		t.Error("the same bars gave other bytes")
	}
	text := xmlText(t, &first)
	for _, want := range []string{"a run, ms", "dense <model>", "12.3", "compact", "0.5", "bytes", "123456", "unknown"} {
		if !strings.Contains(text, want) {
			t.Errorf("the image has no %q", want)
		}
	}
	if strings.Contains(text, "memory") {
		t.Error("a panel without a bar is drawn")
	}
	if want := "height=\"204pt\""; !strings.Contains(again.String(), want) { // 60 + 2 · 14 and 60 + 4 · 14
		t.Errorf("the image has no %s", want)
	}
	if err := BarsSVG(io.Discard, panels[1:2]); err == nil || !strings.Contains(err.Error(), "none of 1 panels has a bar") {
		t.Errorf("no bar at all: error %v", err)
	}
}

// xmlText is all character data of a document.
func xmlText(t *testing.T, r io.Reader) string {
	t.Helper()
	var text strings.Builder
	for d := xml.NewDecoder(r); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return text.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := token.(xml.CharData); ok {
			text.Write(c)
		}
	}
}
