package runtime

import (
	"math"

	"github.com/trconvert/trconvert/onnx"
)

// binaryGradient makes the gradient of a binary operation with broadcasting of a function for each operand that gives its gradient before the sum over the axes
// along which it was repeated. reads says by operand which inputs (low half) and outputs (high half) that function reads.
func binaryGradient(reads [2]binaryReads, parts [2]func(a, b, y, d *Tensor) (*Tensor, error)) gradientBuilder {
	return func(n *nodeInfo) (*gradient, error) {
		align := legacyBroadcast(n)
		g := &gradient{}
		for k, r := range reads {
			g.in |= n.whereVariable(k, r.in)
			g.out |= n.whereVariable(k, r.out)
		}
		g.run = func(c *backCall, in, out, d []*Tensor) ([]*Tensor, error) {
			a := in[0]
			b, err := align(a, in[1])
			if err != nil {
				return nil, err
			}
			grads := make([]*Tensor, 2)
			for k, t := range []*Tensor{a, b} {
				if !c.needs(k) {
					continue
				}
				part, err := parts[k](a, b, out[0], d[0])
				if err != nil {
					return nil, err
				}
				sum, err := sumTo(part, t.Dims)
				if grads[k], err = like(in[k], sum, err); err != nil {
					return nil, err
				}
			}
			return grads, nil
		}
		return g, nil
	}
}

// binaryReads are the inputs and outputs whose elements the gradient of one operand reads.
type binaryReads struct{ in, out uint64 }

var (
	addGradient = binaryGradient([2]binaryReads{}, [2]func(a, b, y, d *Tensor) (*Tensor, error){
		func(_, _, _, d *Tensor) (*Tensor, error) { return d, nil },
		func(_, _, _, d *Tensor) (*Tensor, error) { return d, nil },
	})
	subGradient = binaryGradient([2]binaryReads{}, [2]func(a, b, y, d *Tensor) (*Tensor, error){
		func(_, _, _, d *Tensor) (*Tensor, error) { return d, nil },
		func(_, _, _, d *Tensor) (*Tensor, error) { return scaled(d, -1) },
	})
	mulGradient = binaryGradient([2]binaryReads{{in: 2}, {in: 1}}, [2]func(a, b, y, d *Tensor) (*Tensor, error){
		func(_, b, _, d *Tensor) (*Tensor, error) { return arith(opMul, d, b) },
		func(a, _, _, d *Tensor) (*Tensor, error) { return arith(opMul, d, a) },
	})
	// y = a/b: d/b and −d·y/b.
	divGradient = binaryGradient([2]binaryReads{{in: 2}, {in: 2, out: 1}}, [2]func(a, b, y, d *Tensor) (*Tensor, error){
		func(_, b, _, d *Tensor) (*Tensor, error) { return arith(opDiv, d, b) },
		func(_, b, y, d *Tensor) (*Tensor, error) {
			q, err := arith(opDiv, y, b)
			if err != nil {
				return nil, err
			}
			return zipFloats(d, q, func(d, q float64) float64 { return -d * q })
		},
	})
	// y = a^b: d·b·a^(b−1) and d·y·ln a. Where a is 0 the latter is taken as 0, its limit for b > 0, and where a is negative too, since y is real for single b only.
	powGradient = binaryGradient([2]binaryReads{{in: 3}, {in: 1, out: 1}}, [2]func(a, b, y, d *Tensor) (*Tensor, error){
		func(a, b, _, d *Tensor) (*Tensor, error) {
			e, err := cast(b, a.Type)
			if err != nil {
				return nil, err
			}
			s, err := zipFloats(a, e, powSlope)
			if err != nil {
				return nil, err
			}
			return arith(opMul, d, s)
		},
		func(a, b, y, d *Tensor) (*Tensor, error) {
			s, err := zipFloats(a, y, func(a, y float64) float64 {
				if a <= 0 {
					return 0
				}
				return y * math.Log(a)
			})
			if err != nil {
				return nil, err
			}
			g, err := arith(opMul, d, s)
			if err != nil {
				return nil, err
			}
			return cast(g, b.Type)
		},
	})
	// y = a − trunc(a/b)·b, of floats under fmod.
	modGradient = binaryGradient([2]binaryReads{{}, {in: 3}}, [2]func(a, b, y, d *Tensor) (*Tensor, error){
		func(_, _, _, d *Tensor) (*Tensor, error) { return d, nil },
		func(a, b, _, d *Tensor) (*Tensor, error) {
			q, err := zipFloats(a, b, func(a, b float64) float64 { return -math.Trunc(a / b) })
			if err != nil {
				return nil, err
			}
			return arith(opMul, d, q)
		},
	})
)

func powSlope(a, b float64) float64 {
	switch b {
	case 0:
		return 0
	case 1:
		return 1
	case 2:
		return 2 * a
	}
	return b * math.Pow(a, b-1)
}

// sumGradient serves Sum and Mean.
func sumGradient(mean bool) gradientBuilder {
	return gradientOf(func(c *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
		g := d[0]
		if mean {
			var err error
			if g, err = scaled(g, 1/float64(len(in))); err != nil {
				return nil, err
			}
		}
		grads := make([]*Tensor, len(in))
		for k, t := range in {
			if !c.needs(k) {
				continue
			}
			var err error
			if grads[k], err = sumTo(g, t.Dims); err != nil {
				return nil, err
			}
		}
		return grads, nil
	})
}

// extremeGradient serves Max and Min. Where several inputs hold the extreme it is shared evenly among them.
func extremeGradient(*nodeInfo) (*gradient, error) {
	return &gradient{in: all, out: 1, run: func(c *backCall, in, out, d []*Tensor) ([]*Tensor, error) {
		hits := make([]*Tensor, len(in))
		var count *Tensor
		for k, t := range in {
			hit, err := zipFloats(out[0], t, func(y, x float64) float64 {
				if x == y {
					return 1
				}
				return 0
			})
			if err != nil {
				return nil, err
			}
			if hits[k] = hit; count == nil {
				count = hit
			} else if count, err = arith(opAdd, count, hit); err != nil {
				return nil, err
			}
		}
		share, err := zipFloats(d[0], count, func(d, n float64) float64 { return d / math.Max(n, 1) })
		if err != nil {
			return nil, err
		}
		grads := make([]*Tensor, len(in))
		for k, t := range in {
			if !c.needs(k) {
				continue
			}
			part, err := arith(opMul, share, hits[k])
			if err != nil {
				return nil, err
			}
			if grads[k], err = sumTo(part, t.Dims); err != nil {
				return nil, err
			}
		}
		return grads, nil
	}}, nil
}

// whereGradient sends the gradient to whichever input was taken.
func whereGradient(*nodeInfo) (*gradient, error) {
	return &gradient{in: 1, run: func(c *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
		zero, err := zeros(d[0].Type, nil)
		if err != nil {
			return nil, err
		}
		grads := make([]*Tensor, 3)
		for k := 1; k <= 2; k++ {
			if !c.needs(k) {
				continue
			}
			pair := [2]*Tensor{d[0], zero}
			x, y, err := elementsOf2(pair[k-1], pair[2-k])
			if err != nil {
				return nil, err
			}
			part, dims, err := x.Where(in[0].Data.([]bool), in[0].Dims, pair[k-1].Dims, y, pair[2-k].Dims, maxElements)
			if err != nil {
				return nil, err
			}
			if grads[k], err = sumTo(newTensor(d[0].Type, dims, part.Data()), in[k].Dims); err != nil {
				return nil, err
			}
		}
		return grads, nil
	}}, nil
}

// clipGradient passes the gradient where the input stands within its bounds; elsewhere it belongs to the bound that was taken, the upper one where min is
// above max.
func clipGradient(n *nodeInfo) (*gradient, error) {
	low, high := clipAttributes(n)
	return &gradient{in: all, run: func(c *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
		lo, hi := low, high
		for k, to := range []*float64{&lo, &hi} {
			if t := optional(in, k+1); t != nil {
				v, err := convertTo[float64](t)
				if err != nil {
					return nil, err
				}
				*to = v[0]
			}
		}
		within := func(from func(x float64) bool) (*Tensor, error) {
			return zipFloats(d[0], in[0], func(d, x float64) float64 {
				if from(x) {
					return d
				}
				return 0
			})
		}
		sides := []func(x float64) bool{
			func(x float64) bool { return x >= lo && x <= hi || math.IsNaN(x) },
			func(x float64) bool { return x < lo && lo <= hi },
			func(x float64) bool { return max(x, lo) > hi },
		}
		grads := make([]*Tensor, len(in))
		for k, t := range in {
			if !c.needs(k) {
				continue
			}
			g, err := within(sides[k])
			if err != nil {
				return nil, err
			}
			if k > 0 {
				g, err = reduce(reduceSum, g, allAxes(len(g.Dims)), false)
			}
			if grads[k], err = like(t, g, err); err != nil {
				return nil, err
			}
		}
		return grads, nil
	}}, nil
}

// modGradientOf: only floats, which need fmod, have a derivative.
func modGradientOf(n *nodeInfo) (*gradient, error) {
	if !n.bool("fmod", false) {
		return nil, nil
	}
	return modGradient(n)
}

// castGradient: floats become other floats; everything else is flat.
func castGradient(n *nodeInfo) (*gradient, error) {
	to, err := castTarget(n)
	if err != nil || to != onnx.Float && to != onnx.Double && !isHalf(to) {
		return nil, err
	}
	return convertGradient(n)
}

// convertGradient converts the gradient back to the type of the input.
func convertGradient(*nodeInfo) (*gradient, error) {
	return &gradient{run: func(c *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
		if !isFloat(in[0].Type) || !isFloat(d[0].Type) {
			return nil, nil
		}
		return one(cast(d[0], in[0].Type))
	}}, nil
}
