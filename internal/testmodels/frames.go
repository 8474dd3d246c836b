package testmodels

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/trconvert/trconvert/internal/seed"
)

// The frames of the gesture classifier: a bright spot on a dark field that moves in one of eight ways.
const (
	frameSize = 32 // pixels a side
	pixels    = frameSize * frameSize
	steps     = 12
)

// GestureNames are the classes in the order of their labels.
var GestureNames = []string{"left", "right", "up", "down", "clockwise", "anticlockwise", "nearer", "farther"}

// clip is one gesture: frames of grey values 0 to 255.
type clip struct {
	label  int
	pixels [steps][pixels]uint8
}

// clips makes n gestures, the classes in turn. Where the spot starts, how fast it moves and how large it is are drawn at random, so that no single
// frame tells the class.
func clips(name string, n int) []clip {
	out := make([]clip, n)
	for i := range out {
		r := seed.Stream(1, "gestures", name, fmt.Sprint(i))
		out[i].label = i % len(GestureNames)
		out[i].draw(r)
	}
	return out
}

func (c *clip) draw(r *rand.Rand) {
	uniform := func(lo, hi float64) float64 { return lo + (hi-lo)*r.Float64() }
	y, x := uniform(11, 21), uniform(11, 21)
	speed, size := uniform(1.1, 1.6), uniform(2.4, 3.2)
	radius, phase, turn := uniform(5.5, 8), uniform(0, 2*math.Pi), uniform(0.45, 0.65)
	drift := uniform(-0.3, 0.3)
	for t := range steps {
		s := float64(t) - float64(steps-1)/2
		cy, cx, width := y, x, size
		switch c.label {
		case 0:
			cx, cy = x-speed*s, y+drift*s
		case 1:
			cx, cy = x+speed*s, y+drift*s
		case 2:
			cy, cx = y-speed*s, x+drift*s
		case 3:
			cy, cx = y+speed*s, x+drift*s
		case 4:
			cx, cy = x+radius*math.Cos(phase+turn*s), y+radius*math.Sin(phase+turn*s)
		case 5:
			cx, cy = x+radius*math.Cos(phase-turn*s), y+radius*math.Sin(phase-turn*s)
		case 6:
			width = size * (1 + 0.11*s)
			cx = x + drift*s
		case 7:
			width = size * (1 - 0.11*s)
			cx = x + drift*s
		}
		c.spot(t, cy+0.2*r.NormFloat64(), cx+0.2*r.NormFloat64(), width)
		for range 6 { // dust
			c.pixels[t][r.IntN(pixels)] = uint8(r.IntN(60))
		}
	}
}

// spot adds a round spot to frame t; its brightness falls off as (1 + d²/w²)⁻² and is cut where it would be barely seen.
func (c *clip) spot(t int, cy, cx, w float64) {
	for py := range frameSize {
		for px := range frameSize {
			dy, dx := float64(py)-cy, float64(px)-cx
			b := 1 + (dy*dy+dx*dx)/(w*w)
			if v := math.Round(255 / (b * b)); v >= 8 {
				c.pixels[t][py*frameSize+px] = uint8(v)
			}
		}
	}
}
