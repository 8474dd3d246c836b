package runtime

import (
	"errors"

	"github.com/trconvert/trconvert/internal/gemm"
	"github.com/trconvert/trconvert/onnx/recurrent"
)

// recurrentBack is back-propagation through time.
func recurrentBack(c *backCall, in, _, d []*Tensor) ([]*Tensor, error) {
	switch t := c.saved.(type) {
	case *layerTrace[float32]:
		return t.backward(c, in, d)
	case *layerTrace[float64]:
		return t.backward(c, in, d)
	}
	return nil, errors.New("nothing was recorded")
}

func (t *layerTrace[T]) backward(c *backCall, in, d []*Tensor) ([]*Tensor, error) {
	grads := make([]*Tensor, len(in))
	var data [8][]T
	for k := range in {
		if k >= len(data) || in[k] == nil || !c.needs(k) {
			continue
		}
		l := c.loan
		if k != recurrent.SlotW && k != recurrent.SlotR {
			l = nil // is added to
		}
		g, err := lend[T](l, in[k].Dims)
		if err != nil {
			return nil, err
		}
		data[k], grads[k] = g, newTensor(t.typ, in[k].Dims, g)
	}
	var dy [3][]T
	for k := range dy {
		dy[k] = wideData[T](optional(d, k))
	}
	count := len(t.parts)
	own := make([]weightGradients[T], count)
	for k := range own {
		share := func(all []T) []T {
			n := len(all) / count
			if n == 0 {
				return nil
			}
			return all[k*n : (k+1)*n]
		}
		g := &own[k]
		g.w, g.r, g.p = share(data[recurrent.SlotW]), share(data[recurrent.SlotR]), share(data[recurrent.SlotP])
		if b := share(data[recurrent.SlotB]); b != nil {
			g.wb, g.rb = b[:len(b)/2], b[len(b)/2:]
		}
		g.x, g.initialH, g.initialC = data[recurrent.SlotX], data[recurrent.SlotInitialH], data[recurrent.SlotInitialC]
		if k > 0 && g.x != nil {
			g.x = make([]T, len(g.x))
		}
	}
	if err := eachDirection(count, func(d int) error { return t.parts[d].backward(c, dy, &own[d]) }); err != nil {
		return nil, err
	}
	for k := 1; k < count && own[k].x != nil; k++ {
		addInto(own[0].x, own[k].x)
	}
	for _, p := range t.parts {
		t.memory.traces.Put(p.space)
		*p = trace[T]{}
	}
	return grads, nil
}

// backward goes back through the direction; dy are the gradients of Y, Y_h and Y_c, nil where there are none.
func (t *trace[T]) backward(c *backCall, dy [3][]T, g *weightGradients[T]) error {
	ctx := c.ctx
	l, rows, h := t.layer, t.layer.batch, t.layer.cfg.Hidden
	dh := make([]T, rows*h)
	l.initial(dh, dy[1], t.d)
	if t.hidden != nil {
		scale(dh, t.hidden)
	}
	var dc []T
	if t.c != nil {
		dc = make([]T, rows*h)
		l.initial(dc, dy[2], t.d)
	}
	if t.stretches() == 0 {
		clear(g.w)
		clear(g.r)
	}
	cell := t.dir.cell.backward(c.loan)
	width := t.dir.w.rows + h
	var sums []T
	if g.wb != nil {
		sums = make([]T, t.blocks()*width)
	}
	for k := t.stretches() - 1; k >= 0; k-- {
		if k < t.stretches()-1 {
			if err := t.replay(ctx, k, nil); err != nil {
				return err
			}
		}
		first, last := t.bounds(k)
		gemm.Parallel(t.blocks(), func(k int) {
			s, row := t.block(k)
			s.dh = dh[row*h:][:s.batch*h]
			if dc != nil {
				s.dc = dc[row*h:][:s.batch*h]
			}
			if sums != nil {
				s.bias = sums[k*width : (k+1)*width]
			}
			for i := last - 1; i >= first && ctx.Err() == nil; i-- {
				t.state(s, row, i, first, last)
				t.arrive(s, row, dy[0])
				s.last = i == 0 && g.initialH == nil
				cell.step(s)
			}
		})
		if err := ctx.Err(); err != nil {
			return err
		}
		t.weights(k, cell, g)
	}
	if sums != nil {
		total := sums[:width]
		for k := 1; k < t.blocks(); k++ {
			addInto(total, sums[k*width:(k+1)*width])
		}
		cell.biases(total, g)
	}
	l.final(g.initialH, dh, t.d)
	l.final(g.initialC, dc, t.d)
	return nil
}

// arrive adds the gradients that come to H after a step from the readers of Y, and clears what rows that have ended hold of the step. row is the first of s.
func (t *trace[T]) arrive(s *stepState[T], row int, dy []T) {
	l, h, gh := t.layer, s.hidden, t.dir.w.rows
	for b := range s.batch {
		if !s.active(b) {
			clear(s.gates[b*gh : (b+1)*gh])
			if s.scratch != nil {
				clear(s.scratch[b*h : (b+1)*h])
			}
			continue
		}
		if dy == nil {
			continue
		}
		from := dy[l.outputRow(l.time(s.step, row+b, t.dir.reverse), row+b, t.d)*h:]
		to := s.dh[b*h : (b+1)*h]
		if t.hidden == nil {
			addInto(to, from[:h])
			continue
		}
		for k, m := range t.hidden[(row+b)*h:][:h] {
			to[k] += m * from[k]
		}
	}
}

// weights adds the gradients of what all steps share, and finds those of X, from the gradients of the gates of stretch k.
func (t *trace[T]) weights(k int, cell backCell[T], g *weightGradients[T]) {
	l, w, rows, h, gh := t.layer, &t.dir.w, t.layer.batch, t.layer.cfg.Hidden, t.dir.w.rows
	first, last := t.bounds(k)
	n := (last - first) * rows
	v := &stretch[T]{n: n, hi: n, gates: t.gates[:n*gh]}
	if first == 0 && l.initialH == nil {
		if t.flipped {
			v.hi -= rows
		} else {
			v.lo = rows
		}
	}
	ahead := func(x []T) (before, after []T) {
		if x == nil {
			return nil, nil
		}
		if before, after = x[:n*h], x[rows*h:][:n*h]; t.flipped {
			return after, before
		}
		return before, after
	}
	v.h, v.nextH = ahead(t.h)
	v.c, v.nextC = ahead(t.c)
	if t.scratch != nil {
		v.scratch = t.scratch[:n*h]
	}
	cell.weights(v, g)
	if g.w == nil && g.x == nil {
		return
	}
	if t.projection != nil {
		t.mask(v.gates)
	}
	if l.inOrder(t.dir) {
		from := first
		if t.dir.reverse {
			from = l.steps - last
		}
		at := from * rows * l.inputs
		if g.x != nil {
			product(false, false, n, l.inputs, gh, v.gates, gh, w.data, l.inputs, 0, g.x[at:], l.inputs)
		}
		if g.w != nil && l.lens == nil {
			product(true, false, gh, l.inputs, n, v.gates, gh, l.x[at:], l.inputs, g.betaW, g.w, l.inputs)
			g.betaW = 1
			return
		}
	}
	for from := first; from < last; from += t.chunk {
		to := min(from+t.chunk, last)
		d, m := v.gates[(from-first)*rows*gh:], (to-from)*rows
		if g.w != nil {
			l.gather(t.dir, from, to, t.x)
			product(true, false, gh, l.inputs, m, d, gh, t.x, l.inputs, g.betaW, g.w, l.inputs)
			g.betaW = 1
		}
		if g.x != nil && !l.inOrder(t.dir) {
			product(false, false, m, l.inputs, gh, d, gh, w.data, l.inputs, 0, t.x, l.inputs)
			l.scatter(t.dir, from, to, t.x, g.x)
		}
	}
}

// scatter is gather backwards.
func (l *layer[T]) scatter(dir *direction[T], first, last int, x, to []T) {
	for i := first; i < last; i++ {
		for b := range l.batch {
			if l.lens == nil || i < l.lens[b] {
				copy(to[l.row(l.time(i, b, dir.reverse), b)*l.inputs:], x[((i-first)*l.batch+b)*l.inputs:][:l.inputs])
			}
		}
	}
}
