package source

import "math"

// lowerBatchNorm folds the statistics into a factor and a summand per channel where they are constant.
func lowerBatchNorm(n *node) error {
	n.ignore("momentum", "spatial", "consumed_inputs")
	epsilon, err := n.float("epsilon", 1e-5)
	if err != nil {
		return err
	}
	training, err := n.int("training_mode", 0)
	if err != nil {
		return err
	}
	test, err := n.int("is_test", 1)
	if err != nil {
		return err
	}
	if training != 0 || test == 0 {
		return lacksf("training mode")
	}
	if n.wants(1) {
		return lacksf("further outputs")
	}
	t, err := n.floatIn(0)
	if err != nil {
		return err
	}
	var p [4][]float32
	for k := range p {
		a, err := n.fixed(k + 1)
		if err != nil {
			return err
		}
		if p[k], err = a.Float32s(); err != nil {
			return err
		}
	}
	channels := 1
	if len(t.dims) > 1 {
		channels = t.dims[1]
	}
	factor, summand := make([]float32, channels), make([]float32, channels)
	for c := range channels {
		if c >= len(p[0]) || c >= len(p[1]) || c >= len(p[2]) || c >= len(p[3]) {
			return lacksf("statistics that are not one number per channel")
		}
		f := float64(p[0][c]) / math.Sqrt(float64(p[3][c])+float64(epsilon))
		factor[c], summand[c] = float32(f), float32(float64(p[1][c])-f*float64(p[2][c]))
	}
	out, err := n.out(0)
	if err != nil {
		return err
	}
	perChannel := func(v []float32) Ref {
		r := Ref{Buf: n.floats(v), Strides: make([]int, len(t.dims))}
		if len(t.dims) > 1 {
			r.Strides[1] = 1
		}
		return r
	}
	n.nest(t.dims, whole(out), Expr{Op: "muladd"}, whole(t), perChannel(factor), perChannel(summand))
	return nil
}

// normalize writes (x − mean)/√(variance + ε) of each of rows rows to out.
func (n *node) normalize(out, x *Buffer, rows, columns int, epsilon float32) {
	dims := []int{rows, columns}
	t, y := tensor{x, dims}, tensor{out, dims}
	mean := Ref{Buf: temp(Float32, rows), Strides: []int{1, 0}}
	deviation := Ref{Buf: temp(Float32, rows), Strides: []int{1, 0}}
	n.reduce(mean.Buf, t, []int{1}, "sum", Expr{Op: "copy"}, finishing("mean", columns))
	n.nest(dims, whole(y), Expr{Op: "sub"}, whole(t), mean)
	n.reduce(deviation.Buf, y, []int{1}, "sum", Expr{Op: "square"}, Expr{Op: "rsqrtlinear", Params: []float32{1 / float32(max(1, columns)), epsilon}})
	n.nest(dims, whole(y), Expr{Op: "mul"}, whole(y), deviation)
}

func lowerInstanceNorm(n *node) error {
	n.ignore("consumed_inputs")
	epsilon, err := n.float("epsilon", 1e-5)
	if err != nil {
		return err
	}
	t, err := n.floatIn(0)
	if err != nil {
		return err
	}
	if len(t.dims) < 2 || n.opset() < 6 {
		return lacksf("rank %d in opset %d", len(t.dims), n.opset())
	}
	scale, err := n.floatIn(1)
	if err != nil {
		return err
	}
	bias, err := n.floatIn(2)
	if err != nil {
		return err
	}
	out, err := n.out(0)
	if err != nil {
		return err
	}
	rows, columns := t.dims[0]*t.dims[1], size(t.dims[2:])
	n.normalize(out.buf, t.buf, rows, columns, epsilon)
	dims := []int{t.dims[0], t.dims[1], columns}
	y := whole(tensor{out.buf, dims})
	n.nest(dims, y, Expr{Op: "muladd"}, y, Ref{Buf: scale.buf, Strides: []int{0, 1, 0}}, Ref{Buf: bias.buf, Strides: []int{0, 1, 0}})
	return nil
}

func lowerLayerNorm(n *node) error {
	epsilon, err := n.float("epsilon", 1e-5)
	if err != nil {
		return err
	}
	n.ignore("stash_type")
	t, err := n.floatIn(0)
	if err != nil {
		return err
	}
	axis, err := n.axis("axis", -1, len(t.dims))
	if err != nil {
		return err
	}
	if n.wants(1) || n.wants(2) {
		return lacksf("further outputs")
	}
	scale, err := n.floatIn(1)
	if err != nil {
		return err
	}
	out, err := n.out(0)
	if err != nil {
		return err
	}
	n.normalize(out.buf, t.buf, size(t.dims[:axis]), size(t.dims[axis:]), epsilon)
	n.nest(t.dims, whole(out), Expr{Op: "mul"}, whole(out), spread(scale, t.dims))
	if n.has(2) {
		bias, err := n.floatIn(2)
		if err != nil {
			return err
		}
		n.nest(t.dims, whole(out), Expr{Op: "add"}, whole(out), spread(bias, t.dims))
	}
	return nil
}
