// Package quant rounds weights to the narrow types they are stored in: float16, and int8 with a float32 scale for each channel.
package quant

import (
	"math"

	"github.com/trconvert/trconvert/onnx"
)

// maxFloat16 is the largest finite value of binary16.
const maxFloat16 = 65504

// Float16 rounds to IEEE 754 binary16, ties to even: |x − x̂| ≤ max(2⁻¹¹·|x|, 2⁻²⁵). Values beyond ±65504 become ±65504.
type Float16 struct{}

// Round replaces numbers by the values that storing them gives.
func (Float16) Round(x []float32) {
	for i, v := range x {
		x[i] = onnx.Float16ToFloat32(toFloat16(v))
	}
}

func toFloat16(v float32) uint16 {
	if v > maxFloat16 { // a NaN stays one
		v = maxFloat16
	} else if v < -maxFloat16 {
		v = -maxFloat16
	}
	return onnx.Float32ToFloat16(v)
}

// Bits are the numbers as binary16.
func (Float16) Bits(x []float32) []uint16 {
	out := make([]uint16, len(x))
	for i, v := range x {
		out[i] = toFloat16(v)
	}
	return out
}

// Fits says whether binary16 holds the numbers to its precision: none is beyond its range, and so few are below it that
// ‖x − x̂‖ ≤ 2⁻¹¹·‖x‖.
func (Float16) Fits(x []float32) bool {
	var square, off float64
	for _, v := range x {
		if !(v >= -maxFloat16 && v <= maxFloat16) {
			return false
		}
		d := float64(v) - float64(onnx.Float16ToFloat32(toFloat16(v)))
		square += float64(v) * float64(v)
		off += d * d
	}
	return off <= 0x1p-22*square
}

// levels is the largest 8-bit number that is used: the range is symmetric.
const levels = 127

// clips are the parts of a channel's largest magnitude that 127 may stand for. What lies beyond is clipped, which costs little where it is
// rare and makes the steps of everything else finer. Of a normal distribution the best is at four standard deviations.
var clips = [...]float64{1, 0.9375, 0.875, 0.8125, 0.75, 0.6875, 0.625, 0.5625, 0.5}

// smallestScale is the smallest normal float32: runtimes may take smaller numbers for zero.
const smallestScale = 0x1p-126

// Channels says which numbers of a tensor share a scale: number i belongs to channel (i / Inner) mod Count. A tensor of dims
// [Outer…, Count…, Inner…] has a channel for each index of a run of axes, or one in all (Count 1).
type Channels struct {
	Count, Inner int
}

// Int8 is numbers as 8-bit integers: x̂ = Scales[c]·Values[i] for number i of channel c, rounded to float32.
type Int8 struct {
	Channels
	Values []int8
	Scales []float32
}

// Quantize gives each channel the scale of least squared error among clip·max|x|/127 for clips from 1 down to 0.5, and each number the
// nearest multiple in [−127, 127]. So |x − x̂| ≤ s/2 within |x| ≤ 127·s, up to the rounding of x̂ to float32, and |x| − 127·s beyond. Numbers must be finite. It costs
// eleven passes over x.
func (c Channels) Quantize(x []float32) Int8 {
	q := Int8{Channels: c, Values: make([]int8, len(x)), Scales: c.scales(x)}
	inv := inverses(q.Scales)
	c.each(len(x), func(channel, from, to int) {
		k := inv[channel]
		for i, v := range x[from:to] {
			q.Values[from+i] = int8(nearest(float64(v) * k))
		}
	})
	return q
}

// Floats are the numbers that the integers stand for.
func (q Int8) Floats() []float32 {
	out := make([]float32, len(q.Values))
	q.each(len(out), func(channel, from, to int) {
		s := q.Scales[channel]
		for i := from; i < to; i++ {
			out[i] = s * float32(q.Values[i])
		}
	})
	return out
}

// Round replaces numbers by the values that storing them gives; the scales are chosen from the numbers.
func (c Channels) Round(x []float32) {
	scales := c.scales(x)
	inv := inverses(scales)
	c.each(len(x), func(channel, from, to int) {
		s, k := scales[channel], inv[channel]
		part := x[from:to]
		for i, v := range part {
			part[i] = s * float32(int8(nearest(float64(v)*k))) // an integer has no −0
		}
	})
}

// nearest rounds to the nearest level, ties to even.
func nearest(v float64) float64 {
	return math.RoundToEven(min(max(v, -levels), levels))
}

// each calls f for runs of numbers of one channel, in order.
func (c Channels) each(n int, f func(channel, from, to int)) {
	if c.Count == 1 {
		f(0, 0, n)
		return
	}
	channel := 0
	for from := 0; from < n; from += c.Inner {
		f(channel, from, from+c.Inner)
		if channel++; channel == c.Count {
			channel = 0
		}
	}
}

func (c Channels) scales(x []float32) []float32 {
	most := make([]float32, c.Count)
	c.each(len(x), func(channel, from, to int) {
		m := most[channel]
		for _, v := range x[from:to] {
			if v < 0 {
				v = -v
			}
			if v > m {
				m = v
			}
		}
		most[channel] = m
	})
	best := make([]float32, c.Count)
	lowest := make([]float64, c.Count)
	scales, inv, square := make([]float32, c.Count), make([]float64, c.Count), make([]float64, c.Count)
	for n, clip := range clips {
		for k, m := range most {
			scales[k] = float32(max(clip*float64(m)/levels, smallestScale))
			inv[k], square[k] = 1/float64(scales[k]), 0
		}
		c.each(len(x), func(channel, from, to int) {
			s, k := float64(scales[channel]), inv[channel]
			var sum float64
			for _, v := range x[from:to] {
				d := float64(v) - float64(s*nearest(float64(v)*k)) // no fused operations: every machine chooses alike
				sum += float64(d * d)
			}
			square[channel] += sum
		})
		for k, v := range square {
			if n == 0 || v < lowest[k] {
				lowest[k], best[k] = v, scales[k]
			}
		}
	}
	return best
}

func inverses(scales []float32) []float64 {
	inv := make([]float64, len(scales))
	for k, s := range scales {
		inv[k] = 1 / float64(s)
	}
	return inv
}

// Run is a run of axes [From, To) of a tensor that have a channel for each of their indices; an empty run is one channel in all.
type Run struct{ From, To int }

// Channels are those of a tensor of dims. Axes of the run that are 1 count nothing.
func (r Run) Channels(dims []int) Channels {
	c := Channels{Count: 1, Inner: 1}
	for k, d := range dims {
		switch {
		case k >= r.From && k < r.To:
			c.Count *= d
		case k >= r.To:
			c.Inner *= d
		}
	}
	return c
}

// ScaleDims are dims in which the scales of a tensor broadcast against it; none where there is one.
func (r Run) ScaleDims(dims []int) []int {
	if r.From == r.To {
		return nil
	}
	out := make([]int, len(dims)-r.From)
	for k := range out {
		if out[k] = 1; r.From+k < r.To {
			out[k] = dims[r.From+k]
		}
	}
	return out
}

// Choose finds the run of axes whose channels lose least at equal bytes. A scale takes 32 bits. Spent on the n numbers of the tensor
// instead, the bits of C scales would make the steps finer by 2^(32·C/n), so that runs are compared by
//
//	‖x − x̂‖ · 2^(32·(C−1)/n).
//
// Tried are one scale in all, each axis alone, and the first two axes together (direction and row of recurrent weights). float32 numbers
// must be finite and at most 10³⁸ in magnitude: ok says so.
func Choose(x []float32, dims []int) (best Run, q Int8, ok bool) {
	for _, v := range x {
		if !(v >= -1e38 && v <= 1e38) {
			return Run{}, Int8{}, false
		}
	}
	runs := []Run{{}}
	for k, d := range dims {
		if d > 1 && d < len(x) {
			runs = append(runs, Run{k, k + 1})
		}
	}
	if len(dims) > 2 && dims[0] > 1 && dims[1] > 1 {
		runs = append(runs, Run{0, 2})
	}
	least := math.Inf(1)
	for _, r := range runs {
		c := r.Channels(dims)
		if c.Count > 1 && c.Count > len(x)/4 { // more bytes for scales than for numbers
			continue
		}
		trial := c.Quantize(x)
		var square float64
		for i, v := range trial.Floats() {
			d := float64(x[i]) - float64(v)
			square += float64(d * d)
		}
		score := math.Sqrt(square) * math.Exp2(32*float64(c.Count-1)/float64(max(len(x), 1)))
		if score < least {
			best, q, least = r, trial, score
		}
	}
	return best, q, true
}
