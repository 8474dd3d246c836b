package recurrent

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/trconvert/trconvert/onnx"
)

// Find lists every recurrent node in every scope, in the order of [Nodes]. A broken node (shapes that disagree, values that
// contradict the specification) is an *onnx.FormatError; a node that cannot be decomposed is a Site with Decomposable false and a
// Reason. R, B, P and the states may be computed when the model runs; only W must be constant, because W alone is replaced.
//
// No weight is read, except to find copies: where several matrices have equal types and dims and at most 16 MiB each, their
// payloads are compared, one in memory at a time.
func Find(ctx context.Context, m *onnx.Model) ([]*Site, error) {
	return find(ctx, newValues(m))
}

func find(ctx context.Context, v *values) ([]*Site, error) {
	var sites []*Site
	for _, n := range Nodes(v.model) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s := &Site{Name: n.Name, Node: n.Node, values: v}
		if err := s.read(ctx); err != nil {
			return nil, err
		}
		sites = append(sites, s)
	}
	if err := share(ctx, v, sites); err != nil {
		return nil, err
	}
	return sites, v.exhausted()
}

// read fills a site from its node.
func (s *Site) read(ctx context.Context) error {
	n := s.Node
	if isForeignCell(n) {
		s.Op = Op(n.OpType)
		s.Reason = foreignReason(n)
		return nil
	}
	c, err := ParseConfig(n, opset(s.values.model, n.Graph))
	var u *UnsupportedError
	if errors.As(err, &u) {
		s.Op = Op(n.OpType)
		s.Reason = u.Attribute + "=" + u.Value + " " + u.What
		return nil
	}
	if err != nil {
		return err
	}
	s.Config = c
	s.origins = s.values.origins(n.Graph, n.Input(SlotW))
	if err := s.values.exhausted(); err != nil {
		return err
	}
	if err := s.checkOperands(ctx); err != nil {
		var lacks *onnx.UnsupportedError
		if errors.As(err, &lacks) {
			s.Reason = lacks.What
			return nil
		}
		return err
	}
	s.Reason = s.obstacle()
	s.Decomposable = s.Reason == ""
	return nil
}

func foreignReason(n *onnx.Node) string {
	kind := plain(n.OpType) + " of domain " + strconv.Quote(n.Domain)
	switch n.OpType {
	case "DynamicQuantizeLSTM", "DynamicQuantizeGRU", "QLSTM", "QGRU":
		return "already quantised: " + kind + " (convert the float model, then quantise the result)"
	}
	return kind + " is a custom operator (export with the standard operator LSTM, GRU or RNN)"
}

// obstacle says why W cannot be replaced, "" where it can.
func (s *Site) obstacle() string {
	v, g, w := s.values, s.Node.Graph, s.Node.Input(SlotW)
	constant, why := v.eval.Constant(g, w)
	o := s.origins
	quantised := o.quantisedTensor(s.WParameters())
	switch {
	case o.quantised != nil:
		return "already quantised: W comes from " + o.quantised.String() + " (convert the float model, then quantise the result)"
	case constant && quantised != nil:
		return fmt.Sprintf("already quantised: W is computed from the %s tensor %q (convert the float model, then quantise the result)", quantised.Type, quantised.Name)
	case o.overridable != "":
		return fmt.Sprintf("W comes from the initializer %q, which is also a graph input: a caller may replace it (remove it from the graph's inputs)", o.overridable)
	case o.carried != nil:
		return fmt.Sprintf("W %q is carried through %s and may change from step to step (re-export with the weights outside the loop)", w, o.carried.String())
	case o.argument != "":
		return fmt.Sprintf("W comes from %q, an input of the function %s (inline the function before converting)", o.argument, o.function)
	case !constant && o.input != "":
		return fmt.Sprintf("W comes from the graph input %q, not from a constant (export the model with its weights)", o.input)
	case !constant:
		return fmt.Sprintf("W %q is not constant: %s", w, why)
	}
	return ""
}
