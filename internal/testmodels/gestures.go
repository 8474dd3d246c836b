package testmodels

import (
	"math"

	"github.com/trconvert/trconvert/internal/seed"
)

const (
	hidden  = 64
	classes = 8
)

// gestureWeights are the classifier's parameters: an LSTM whose input weights are smooth receptive fields and a readout that is fitted to its
// last state by ridge regression. All are multiples of a small power of two, so that the last bits of exp on different machines do not show.
type gestureWeights struct {
	w, r, b         []float64 // [4H, pixels], [4H, H], [8H]; gates i, o, f, c
	columns         []float64 // w transposed
	readout, offset []float64 // [H, classes], [classes]
}

func makeGestures() *gestureWeights {
	g := &gestureWeights{w: make([]float64, 4*hidden*pixels), r: make([]float64, 4*hidden*hidden), b: make([]float64, 8*hidden)}
	rnd := seed.Stream(1, "gestures", "weights")
	// amplitude of the fields by gate, bias by gate
	amplitude := [4]float64{0.15, 0.15, 0.15, 0.16}
	for gate := range 4 {
		for u := range hidden {
			row := gate*hidden + u
			cy, cx, width := 4+24*rnd.Float64(), 4+24*rnd.Float64(), 5+4*rnd.Float64()
			a := amplitude[gate]
			if rnd.IntN(2) == 0 {
				a = -a
			}
			for py := range frameSize {
				for px := range frameSize {
					v := a*bump(float64(py)-cy, width)*bump(float64(px)-cx, width) + 0.002*rnd.NormFloat64()
					g.w[row*pixels+py*frameSize+px] = grid(v, 1<<16)
				}
			}
			for k := range hidden {
				if rnd.IntN(8) == 0 {
					g.r[row*hidden+k] = grid(0.35*rnd.NormFloat64(), 1<<12)
				}
			}
		}
	}
	for u := range hidden {
		g.b[0*hidden+u] = grid(rnd.NormFloat64()*0.5, 1<<12)
		g.b[1*hidden+u] = 1
		g.b[2*hidden+u] = grid(-1.5+4*float64(u)/(hidden-1), 1<<12) // memories from about one frame to the whole clip
		g.b[3*hidden+u] = grid(rnd.NormFloat64()*0.3, 1<<12)
	}
	g.columns = make([]float64, len(g.w))
	for row := range 4 * hidden {
		for p := range pixels {
			g.columns[p*4*hidden+row] = g.w[row*pixels+p]
		}
	}
	g.fit(clips("train", 2400))
	return g
}

func bump(d, width float64) float64 {
	b := 1 + d*d/(width*width)
	return 1 / (b * b)
}

// grid rounds to multiples of 1/n.
func grid(v, n float64) float64 { return math.Round(v*n) / n }

// fit solves the ridge regression of ±1 class codes on the last states: (HᵀH + λI) A = HᵀY.
func (g *gestureWeights) fit(train []clip) {
	const n = hidden + 1
	gram, right := make([]float64, n*n), make([]float64, n*classes)
	for i := range train {
		h := append(g.run(&train[i]), 1)
		for a, va := range h {
			for b, vb := range h {
				gram[a*n+b] += va * vb
			}
			for c := range classes {
				y := -1.0
				if c == train[i].label {
					y = 1
				}
				right[a*classes+c] += va * y
			}
		}
	}
	for a := range n {
		gram[a*n+a] += 1e-5 * float64(len(train))
	}
	solution := solve(gram, right, n, classes)
	g.readout, g.offset = solution[:hidden*classes], solution[hidden*classes:]
	for i, v := range solution {
		solution[i] = grid(4*v, 1<<10)
	}
}

// run returns the last hidden state of a clip (grey values divided by 255), computed in float64 after the ONNX specification of LSTM.
func (g *gestureWeights) run(c *clip) []float64 {
	h, cell, z := make([]float64, hidden), make([]float64, hidden), make([]float64, 4*hidden)
	for t := range steps {
		for k := range z {
			z[k] = g.b[k] + g.b[4*hidden+k]
			for j, v := range h {
				z[k] += g.r[k*hidden+j] * v
			}
		}
		for p, v := range c.pixels[t] {
			if v == 0 {
				continue
			}
			x := float64(v) / 255
			for k, w := range g.columns[p*4*hidden : (p+1)*4*hidden] {
				z[k] += w * x
			}
		}
		for u := range hidden {
			i, o, f := sigmoid(z[u]), sigmoid(z[hidden+u]), sigmoid(z[2*hidden+u])
			cell[u] = f*cell[u] + i*math.Tanh(z[3*hidden+u])
			h[u] = o * math.Tanh(cell[u])
		}
	}
	return h
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// accuracy of the classifier in float64.
func (g *gestureWeights) accuracy(cs []clip) float64 {
	right := 0
	for i := range cs {
		h := g.run(&cs[i])
		best, at := math.Inf(-1), 0
		for c := range classes {
			v := g.offset[c]
			for u := range hidden {
				v += h[u] * g.readout[u*classes+c]
			}
			if v > best {
				best, at = v, c
			}
		}
		if at == cs[i].label {
			right++
		}
	}
	return float64(right) / float64(len(cs))
}

// solve returns X of A·X = B for a symmetric positive definite A [n, n] and B [n, m], by Cholesky's factorisation in place.
func solve(a, b []float64, n, m int) []float64 {
	for j := range n {
		for i := j; i < n; i++ {
			s := a[i*n+j]
			for k := range j {
				s -= a[i*n+k] * a[j*n+k]
			}
			if i == j {
				a[j*n+j] = math.Sqrt(s)
			} else {
				a[i*n+j] = s / a[j*n+j]
			}
		}
	}
	for c := range m {
		for i := range n {
			for k := range i {
				b[i*m+c] -= a[i*n+k] * b[k*m+c]
			}
			b[i*m+c] /= a[i*n+i]
		}
		for i := n - 1; i >= 0; i-- {
			for k := i + 1; k < n; k++ {
				b[i*m+c] -= a[k*n+i] * b[k*m+c]
			}
			b[i*m+c] /= a[i*n+i]
		}
	}
	return b
}
