package source

import (
	"fmt"
	"strings"

	"github.com/trconvert/trconvert/onnx/recurrent"
)

// lowerRecurrent serves LSTM, GRU and RNN with all their attributes. Rows of the batch run one after the other, so that the states and pre-activations of one
// row are all the memory the scan needs.
func lowerRecurrent(n *node) error {
	cfg, err := recurrent.ParseConfig(n.Node, n.opset())
	if err != nil {
		return lacksf("%v", err)
	}
	for _, a := range n.Attributes {
		n.asked[a.Name] = true
	}
	x, err := n.floatIn(recurrent.SlotX)
	if err != nil {
		return err
	}
	if len(x.dims) != 3 {
		return fmt.Errorf("input of rank %d", len(x.dims))
	}
	s := &Recurrent{Config: cfg, X: x.buf, Steps: x.dims[0], Batch: x.dims[1], Inputs: x.dims[2]}
	count, h := cfg.Direction.Count(), cfg.Hidden
	if h == 0 && n.values[n.Input(recurrent.SlotR)] != nil {
		d := n.values[n.Input(recurrent.SlotR)].Dims
		h = d[len(d)-1]
		s.Config.Hidden = h
	}
	gh := cfg.Op.Gates() * h
	if cfg.Layout == 1 {
		s.Batch, s.Steps = s.Steps, s.Batch
		s.XStep, s.XBatch = s.Inputs, s.Steps*s.Inputs
		s.YStep, s.YBatch, s.YDirection = count*h, s.Steps*count*h, h
		s.StateBatch, s.StateDirection = count*h, h
	} else {
		s.XStep, s.XBatch = s.Batch*s.Inputs, s.Inputs
		s.YStep, s.YBatch, s.YDirection = count*s.Batch*h, h, s.Batch*h
		s.StateBatch, s.StateDirection = h, s.Batch*h
	}
	if s.W, err = n.directions(recurrent.SlotW, count, gh, s.Inputs); err != nil {
		return err
	}
	if s.R, err = n.directions(recurrent.SlotR, count, gh, h); err != nil {
		return err
	}
	if err := n.biases(s, count, gh, h); err != nil {
		return err
	}
	if cfg.HasSequenceLens {
		lens, err := n.in(recurrent.SlotSequenceLens)
		if err != nil {
			return err
		}
		s.Lens = lens.buf
	}
	for _, o := range []struct {
		has  bool
		read func(k int) (tensor, error)
		slot int
		to   **Buffer
	}{{cfg.HasInitialH, n.initial, recurrent.SlotInitialH, &s.H0}, {cfg.HasInitialC, n.initial, recurrent.SlotInitialC, &s.C0}, {cfg.HasPeepholes, n.floatIn, recurrent.SlotP, &s.P}} {
		if o.has {
			t, err := o.read(o.slot)
			if err != nil {
				return err
			}
			*o.to = t.buf
		}
	}
	s.dropZeroStates()
	if n.streaming {
		n.streamStates(s, count*s.Batch*h)
	}
	for k, to := range []**Buffer{&s.Y, &s.YH, &s.YC} {
		if n.wants(k) {
			out, err := n.out(k)
			if err != nil {
				return err
			}
			*to = out.buf
		}
	}
	s.Gates, s.Hidden = temp(Float32, gh), temp(Float32, h)
	switch cfg.Op {
	case recurrent.LSTM:
		s.Cell = temp(Float32, h)
	case recurrent.GRU:
		s.Scratch = temp(Float32, h)
	}
	n.add(s)
	if n.streaming {
		n.saveStates(s)
	}
	return nil
}

// initial is the state that operand k begins with: of a stream a constant even where it could be merged at the start, because a reset reads it from the constants.
func (n *node) initial(k int) (tensor, error) {
	if !n.streaming {
		return n.floatIn(k)
	}
	a, err := n.fixed(k)
	if err != nil {
		return tensor{}, err
	}
	return n.constTensor(a)
}

// dropZeroStates leaves constant zero states out, which are what absent ones are.
func (s *Recurrent) dropZeroStates() {
	for _, b := range []**Buffer{&s.H0, &s.C0} {
		if *b == nil || (*b).Space != Const {
			continue
		}
		zero := true
		for _, v := range (*b).Data.([]float32) {
			zero = zero && v == 0
		}
		if zero {
			*b = nil
		}
	}
}

// directions gives W or R by direction.
func (n *node) directions(slot, count, rows, columns int) ([]Weight, error) {
	w, err := n.rows(slot, count*rows, columns, false, 1)
	if err != nil {
		return nil, err
	}
	list := make([]Weight, count)
	for d := range list {
		list[d] = w
		list[d].Offset = d * rows * columns
	}
	return list, nil
}

// biases sums Wb and Rb where they stand on the same side of the reset.
func (n *node) biases(s *Recurrent, count, gh, h int) error {
	s.Bias, s.HiddenBias = make([]*Buffer, count), make([]*Buffer, count)
	if !s.Config.HasBias {
		return nil
	}
	inside := s.Config.Op == recurrent.GRU && s.Config.LinearBeforeReset
	summed := gh
	if inside {
		summed = 2 * h
	}
	if n.isFixed(recurrent.SlotB) {
		a, err := n.fixed(recurrent.SlotB)
		if err != nil {
			return err
		}
		b, err := a.Float32s()
		if err != nil {
			return err
		}
		for d := range count {
			wb, rb := b[d*2*gh:d*2*gh+gh], b[d*2*gh+gh:(d+1)*2*gh]
			sum := make([]float32, gh)
			copy(sum, wb)
			for k := range summed {
				sum[k] += rb[k]
			}
			s.Bias[d] = n.floats(sum)
			if inside {
				s.HiddenBias[d] = n.floats(append([]float32(nil), rb[summed:]...))
			}
		}
		return nil
	}
	t, err := n.floatIn(recurrent.SlotB)
	if err != nil {
		return err
	}
	part := func(offset int) Ref { return Ref{Buf: t.buf, Offset: offset, Strides: []int{1}} }
	for d := range count {
		first := d * 2 * gh
		s.Bias[d] = temp(Float32, gh)
		n.nest([]int{gh}, Ref{Buf: s.Bias[d], Strides: []int{1}}, Expr{Op: "copy"}, part(first))
		n.nest([]int{summed}, Ref{Buf: s.Bias[d], Strides: []int{1}}, Expr{Op: "add"}, Ref{Buf: s.Bias[d], Strides: []int{1}}, part(first+gh))
		if inside {
			s.HiddenBias[d] = temp(Float32, h)
			n.nest([]int{h}, Ref{Buf: s.HiddenBias[d], Strides: []int{1}}, Expr{Op: "copy"}, part(first+gh+summed))
		}
	}
	return nil
}

// Activation is the expression of an activation function of a recurrent node.
func Activation(a recurrent.Activation) Expr {
	switch a.Name {
	case "Affine":
		return Expr{Op: "linear", Params: []float32{a.Alpha, a.Beta}}
	case "ScaledTanh":
		return Expr{Op: "scaledtanh", Params: []float32{a.Alpha, a.Beta}}
	case "HardSigmoid":
		return Expr{Op: "hardsigmoid", Params: []float32{a.Alpha, a.Beta}}
	case "LeakyRelu", "Elu":
		return Expr{Op: strings.ToLower(a.Name), Params: []float32{a.Alpha}}
	case "ThresholdedRelu": // ≥ here, > in the operator of the same name
		return Expr{Op: "cellthreshold", Params: []float32{a.Alpha}}
	}
	return Expr{Op: strings.ToLower(a.Name)}
}
