package plot

import (
	"math"
	"strconv"

	"gonum.org/v1/plot"
)

// logTicks are ticks at the digits of each decade, with labels at 1 and, over less than two decades, at 2 and 5. Over a third of a decade or less they are those of a linear
// axis, so that there are labels always.
type logTicks struct{}

// Ticks implements plot.Ticker.
func (logTicks) Ticks(lo, hi float64) []plot.Tick {
	decades := math.Log10(hi) - math.Log10(lo)
	if decades <= 1.0/3 {
		return plot.DefaultTicks{}.Ticks(lo, hi)
	}
	every := max(int(decades/10), 1) // of the decades that get a label
	var ticks []plot.Tick
	for e := int(math.Floor(math.Log10(lo))); e <= int(math.Ceil(math.Log10(hi))); e++ {
		for m := 1; m <= 9; m++ {
			v := float64(m) * math.Pow10(e)
			if v < lo || v > hi || every > 1 && m > 1 {
				continue
			}
			t := plot.Tick{Value: v}
			if m == 1 && e%every == 0 || decades < 2 && (m == 2 || m == 5) {
				t.Label = strconv.FormatFloat(v, 'g', 3, 64)
			}
			ticks = append(ticks, t)
		}
	}
	return ticks
}
