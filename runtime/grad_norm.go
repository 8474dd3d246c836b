package runtime

import (
	"math"

	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// batchNormGradient is that of inference, an affine map of each channel with the given statistics.
func batchNormGradient(n *nodeInfo) (*gradient, error) {
	if n.opset >= 14 && n.bool("training_mode", false) {
		return nil, unsupportedf("training_mode, whose statistics depend on the batch")
	}
	epsilon := float64(n.float("epsilon", 1e-5))
	reads := uint64(1<<1 | 1<<3 | 1<<4)
	return &gradient{in: reads | n.whereVariable(1, 1) | n.whereVariable(4, 1), run: func(c *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
		dims := in[0].Dims
		channels, area := 1, 1
		if len(dims) > 1 {
			channels, area = dims[1], elements(dims[2:])
		}
		var arg [5][]float64
		for _, k := range []int{1, 3, 4} {
			v, err := convertTo[float64](in[k])
			if err != nil {
				return nil, err
			}
			arg[k] = v
		}
		x, err := keptFloats(in[0])
		if err != nil {
			return nil, err
		}
		g, err := convertTo[float64](d[0])
		if err != nil {
			return nil, err
		}
		inverse := make([]float64, channels)
		for k, v := range arg[4] {
			inverse[k] = 1 / math.Sqrt(v+epsilon)
		}
		var sums [5][]float64
		for k := range sums {
			sums[k] = make([]float64, channels)
		}
		if c.needs(0) {
			sums[0] = make([]float64, len(g))
		}
		for i := 0; i < len(g); i += area {
			k := i / area % channels
			scale, mean, s := arg[1][k], arg[3][k], inverse[k]
			plain, weighted := 0.0, 0.0 // Σ dy and Σ dy·(x − mean)
			for j := i; j < i+area; j++ {
				plain += g[j]
				if x != nil {
					weighted += g[j] * (x[j] - mean)
				}
				if c.needs(0) {
					sums[0][j] = g[j] * scale * s
				}
			}
			sums[1][k] += weighted * s
			sums[2][k] += plain
			sums[3][k] -= plain * scale * s
			sums[4][k] -= weighted * scale * s * s * s / 2
		}
		return castNeeded(c, in, sums[:])
	}}, nil
}

// castNeeded gives the gradients that somebody wants the type and dims of the inputs.
func castNeeded(c *backCall, in []*Tensor, grads [][]float64) ([]*Tensor, error) {
	out := make([]*Tensor, len(in))
	for k, t := range in {
		if k >= len(grads) || grads[k] == nil || !c.needs(k) {
			continue
		}
		var err error
		if out[k], err = cast(newTensor(onnx.Double, t.Dims, grads[k]), t.Type); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// normaliseBack is the gradient of normalise: with s = 1/√(var + ε) and ŷ the result, dx = s·(g − mean(g) − ŷ·mean(g·ŷ)) for each run of n elements; the mean of g
// is left out with rms.
func normaliseBack[T floating](y []T, inverse []float64, g []T, n int, rms bool) []T {
	dx := make([]T, len(y))
	for r, s := range inverse {
		row, grad, to := y[r*n:(r+1)*n], g[r*n:(r+1)*n], dx[r*n:(r+1)*n]
		mean, along := 0.0, 0.0
		for i, v := range grad {
			mean += float64(v)
			along += float64(v) * float64(row[i])
		}
		mean, along = mean/float64(n), along/float64(n)
		if rms {
			mean = 0
		}
		for i, v := range grad {
			to[i] = T(s * (float64(v) - mean - float64(row[i])*along))
		}
	}
	return dx
}

// layerNormGradient serves LayerNormalization and RMSNormalization.
func layerNormGradient(rms bool) gradientBuilder {
	return func(n *nodeInfo) (*gradient, error) {
		axis, epsilon := n.int("axis", -1), float64(n.float("epsilon", 1e-5))
		return &gradient{in: 1 | n.whereVariable(0, 2), run: func(c *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
			k, err := shape.Axis(axis, len(in[0].Dims))
			if err != nil {
				return nil, err
			}
			switch x := in[0].Data.(type) {
			case []float32:
				return layerNormBack(c, in, x, d, elements(in[0].Dims[k:]), epsilon, rms)
			case []float64:
				return layerNormBack(c, in, x, d, elements(in[0].Dims[k:]), epsilon, rms)
			}
			return nil, unsupportedType(in[0].Type)
		}}, nil
	}
}

func layerNormBack[T floating](c *backCall, in []*Tensor, x []T, d []*Tensor, n int, epsilon float64, rms bool) ([]*Tensor, error) {
	y, _, inverse := normalise(x, n, epsilon, rms)
	grads := make([]*Tensor, len(in))
	if dy := d[0]; dy != nil {
		var err error
		if c.needs(0) {
			g, err := arith(opMul, dy, in[1])
			if err != nil {
				return nil, err
			}
			grads[0] = newTensor(in[0].Type, in[0].Dims, normaliseBack(y, inverse, g.Data.([]T), n, rms))
		}
		if c.needs(1) {
			g, err := arith(opMul, dy, newTensor(dy.Type, dy.Dims, y))
			if err != nil {
				return nil, err
			}
			if grads[1], err = sumTo(g, in[1].Dims); err != nil {
				return nil, err
			}
		}
		if c.needs(2) {
			if grads[2], err = sumTo(dy, in[2].Dims); err != nil {
				return nil, err
			}
		}
	}
	if !c.needs(0) {
		return grads, nil
	}
	// The statistics as outputs: the mean moves by 1/n with each element, s = 1/√(var + ε) by −s²·ŷ/n.
	for k, moves := range []func(y, s float64) float64{
		func(_, _ float64) float64 { return 1 / float64(n) },
		func(y, s float64) float64 { return -s * s * y / float64(n) },
	} {
		if k+1 >= len(d) || d[k+1] == nil {
			continue
		}
		if grads[0] == nil {
			grads[0] = newTensor(in[0].Type, in[0].Dims, make([]T, len(x)))
		}
		to, g := grads[0].Data.([]T), d[k+1].Data.([]T)
		for i, v := range y {
			to[i] += T(float64(g[i/n]) * moves(float64(v), inverse[i/n]))
		}
	}
	return grads, nil
}

// instanceNormGradient and groupNormGradient are channelNormGradient with the operators' groups.
func instanceNormGradient(n *nodeInfo) (*gradient, error) {
	return channelNormGradient(n, func(channels int) int { return channels }, false)
}

func groupNormGradient(n *nodeInfo) (*gradient, error) {
	groups := int(n.int("num_groups", 1))
	return channelNormGradient(n, func(int) int { return groups }, n.opset < 21)
}

// channelNormGradient serves the normalisations over groups of channels.
func channelNormGradient(n *nodeInfo, groups func(channels int) int, perGroup bool) (*gradient, error) {
	epsilon := float64(n.float("epsilon", 1e-5))
	return &gradient{in: 1 | n.whereVariable(0, 2), run: func(c *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
		switch x := in[0].Data.(type) {
		case []float32:
			return channelNormBack(c, in, x, d[0], groups(in[0].Dims[1]), epsilon, perGroup)
		case []float64:
			return channelNormBack(c, in, x, d[0], groups(in[0].Dims[1]), epsilon, perGroup)
		}
		return nil, unsupportedType(in[0].Type)
	}}, nil
}

func channelNormBack[T floating](c *backCall, in []*Tensor, x []T, dy *Tensor, groups int, epsilon float64, perGroup bool) ([]*Tensor, error) {
	channels, area := in[0].Dims[1], elements(in[0].Dims[2:])
	parts := channels
	if perGroup {
		parts = groups
	}
	length, run := channels/groups*area, channels/parts*area
	y, _, inverse := normalise(x, length, epsilon, false)
	d := dy.Data.([]T)
	dscale, dbias := make([]float64, parts), make([]float64, parts)
	var g []T
	var scale []T
	if c.needs(0) {
		g, scale = make([]T, len(d)), in[1].Data.([]T)
	}
	for i := 0; i < len(d); i += run {
		p := i / run % parts
		for j := i; j < i+run; j++ {
			dscale[p] += float64(d[j]) * float64(y[j])
			dbias[p] += float64(d[j])
			if g != nil {
				g[j] = d[j] * scale[p]
			}
		}
	}
	grads, err := castNeeded(c, in, [][]float64{nil, dscale, dbias})
	if err != nil {
		return nil, err
	}
	if g != nil {
		grads[0] = newTensor(in[0].Type, in[0].Dims, normaliseBack(y, inverse, g, length, false))
	}
	return grads, nil
}

// floatGradient is the gradient of an operator on one float tensor that keeps its shape, computed in float64 from the input x and the gradient g.
func floatGradient(back func(n *nodeInfo) func(dims []int, x, g []float64) ([]float64, error)) gradientBuilder {
	return func(n *nodeInfo) (*gradient, error) {
		f := back(n)
		return &gradient{in: 1, run: func(_ *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
			x, err := convertTo[float64](in[0])
			if err != nil {
				return nil, err
			}
			g, err := convertTo[float64](d[0])
			if err != nil {
				return nil, err
			}
			dx, err := f(in[0].Dims, x, g)
			if err != nil {
				return nil, err
			}
			return one(cast(newTensor(onnx.Double, in[0].Dims, dx), in[0].Type))
		}}, nil
	}
}

// lpNormBack: with the norm N of a lane, y = x/N, so dx = g/N − N'·Σ(g·x)/N², N' being sign(x) for p = 1 and x/N for p = 2. Lanes of norm 0 have none.
func lpNormBack(n *nodeInfo) func(dims []int, x, g []float64) ([]float64, error) {
	axis, p := n.int("axis", -1), n.int("p", 2)
	return func(dims []int, x, g []float64) ([]float64, error) {
		k, err := shape.Axis(axis, len(dims))
		if err != nil {
			return nil, err
		}
		dx := make([]float64, len(x))
		eachLane(dims, k, func(at func(j int) int, length int) {
			norm, along := 0.0, 0.0
			for j := range length {
				v := x[at(j)]
				if p == 1 {
					norm += math.Abs(v)
				} else {
					norm += v * v
				}
				along += g[at(j)] * v
			}
			if p != 1 {
				norm = math.Sqrt(norm)
			}
			if norm == 0 {
				return
			}
			for j := range length {
				slope := x[at(j)] / norm
				if p == 1 {
					slope = absSlope(x[at(j)])
				}
				dx[at(j)] = (g[at(j)] - slope*along/norm) / norm
			}
		})
		return dx, nil
	}
}

// eachLane visits the lanes along an axis: at gives the offset of element j.
func eachLane(dims []int, axis int, visit func(at func(j int) int, length int)) {
	length, inner := dims[axis], elements(dims[axis+1:])
	for lane := range elements(dims) / max(length, 1) {
		base := lane/inner*inner*length + lane%inner
		visit(func(j int) int { return base + j*inner }, length)
	}
}

// meanVarianceBack: with c = x − mean, σ² its mean square and y = c/(σ + 1e-9), dc = g/(σ + 1e-9) − c·Σ(g·c)/((σ + 1e-9)²·n·σ) and dx = dc − mean(dc).
func meanVarianceBack(n *nodeInfo) func(dims []int, x, g []float64) ([]float64, error) {
	axes := n.ints("axes", []int64{0, 2, 3})
	return func(dims []int, x, g []float64) ([]float64, error) {
		along, err := shape.Axes(axes, len(dims))
		if err != nil {
			return nil, err
		}
		r := newReduction(dims, along, true)
		groups := elements(r.reduced)
		// The mean of f over each group.
		mean := func(f func(i, k int) float64) []float64 {
			sum := make([]float64, groups)
			r.each(func(i, k int) { sum[k] += f(i, k) })
			for k := range sum {
				sum[k] /= float64(r.n)
			}
			return sum
		}
		m := mean(func(i, _ int) float64 { return x[i] })
		variance := mean(func(i, k int) float64 { return (x[i] - m[k]) * (x[i] - m[k]) })
		moment := mean(func(i, k int) float64 { return g[i] * (x[i] - m[k]) })
		dc := make([]float64, len(x))
		r.each(func(i, k int) {
			sigma := math.Sqrt(variance[k])
			s := 1 / (sigma + 1e-9)
			if dc[i] = g[i] * s; sigma > 0 {
				dc[i] -= (x[i] - m[k]) * moment[k] * s * s / sigma
			}
		})
		shift := mean(func(i, _ int) float64 { return dc[i] })
		r.each(func(i, k int) { dc[i] -= shift[k] })
		return dc, nil
	}
}

// lrnBack: y = x·s^−β with s = bias + α/size·Σ x² over the window, so an element moves its own result and those whose windows hold it.
func lrnBack(n *nodeInfo) func(dims []int, x, g []float64) ([]float64, error) {
	size := n.int("size", 1)
	alpha, beta, bias := float64(n.float("alpha", 1e-4)), float64(n.float("beta", 0.75)), float64(n.float("bias", 1))
	return func(dims []int, x, g []float64) ([]float64, error) {
		channels, area := int64(dims[1]), elements(dims[2:])
		before, after := (size-1)/2, size-1-(size-1)/2
		dx := make([]float64, len(x))
		for i, v := range x {
			c := int64(i / area % dims[1])
			lo, hi := max(c-before, 0), min(c+after, channels-1)
			s := bias
			for o := lo; o <= hi; o++ {
				w := x[i+int(o-c)*area]
				s += alpha / float64(size) * w * w
			}
			power := math.Pow(s, -beta)
			dx[i] += g[i] * power
			f := g[i] * v * -beta * power / s * 2 * alpha / float64(size)
			for o := lo; o <= hi; o++ {
				dx[i+int(o-c)*area] += f * x[i+int(o-c)*area]
			}
		}
		return dx, nil
	}
}
