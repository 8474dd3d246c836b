package plot

import (
	"math"
	"strings"
)

// blocks are eighths of a line's height.
var blocks = []rune("▁▂▃▄▅▆▇█")

// Sparkline draws values as a line of at most width characters, the lowest as ▁ and the highest as █; values that are NaN or infinite are blank. Where
// there are more values than characters each stands for the mean of its share. Width 0 is no limit.
func Sparkline(values []float64, width int) string {
	if width > 0 && len(values) > width {
		values = shrink(values, width)
	}
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if finite(v) {
			lo, hi = math.Min(lo, v), math.Max(hi, v)
		}
	}
	var s strings.Builder
	for _, v := range values {
		switch {
		case !finite(v):
			s.WriteByte(' ')
		case hi == lo:
			s.WriteRune(blocks[0])
		default:
			x := (v/2 - lo/2) / (hi/2 - lo/2) // halves, so that the difference of any two is finite
			s.WriteRune(blocks[min(int(x*float64(len(blocks))), len(blocks)-1)])
		}
	}
	return s.String()
}

// shrink replaces values by the means of width shares.
func shrink(values []float64, width int) []float64 {
	out := make([]float64, width)
	for k := range out {
		from, to := k*len(values)/width, (k+1)*len(values)/width
		sum, n := 0.0, 0.0
		for _, v := range values[from:to] {
			if finite(v) {
				n++
				sum += (v - sum) / n
			}
		}
		if out[k] = sum; n == 0 {
			out[k] = math.NaN()
		}
	}
	return out
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
