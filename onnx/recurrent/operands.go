package recurrent

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/trconvert/trconvert/onnx"
)

// unknown stands for a dimension that the configuration does not fix.
const unknown = -1

// checkOperands compares what is known of the operands' types and dims with the configuration, and fills Input and Elem.
// Dims follow the ONNX specification: X [T,B,I] (layout 1: [B,T,I]), W [D,G·H,I], R [D,G·H,H], B [D,2·G·H], sequence_lens [B],
// initial_h and initial_c [D,B,H] (layout 1: [B,D,H]), P [D,3·H].
func (s *Site) checkOperands(ctx context.Context) error {
	n := s.Node
	shapes := make([]shape, len(slotNames))
	for slot := range slotNames {
		name := n.Input(slot)
		if name == "" {
			continue
		}
		var err error
		if shapes[slot], err = s.values.static(ctx, n.Graph, name); err != nil {
			return err
		}
	}
	d, h, rows := int64(s.Direction.Count()), int64(s.Hidden), int64(s.Rows()/s.Direction.Count())
	if err := s.matches(SlotW, shapes[SlotW].dims, "[D, G·H, I]", d, rows, unknown); err != nil {
		return err
	}
	if err := s.matches(SlotR, shapes[SlotR].dims, "[D, G·H, H]", d, rows, h); err != nil {
		return err
	}
	if err := s.matches(SlotB, shapes[SlotB].dims, "[D, 2·G·H]", d, 2*rows); err != nil {
		return err
	}
	if err := s.matches(SlotP, shapes[SlotP].dims, "[D, 3·H]", d, 3*h); err != nil {
		return err
	}
	input := int64(unknown)
	if w := shapes[SlotW].dims; w != nil {
		input = w[2]
	}
	if input > maxHidden {
		return broken(n, fmt.Sprintf("W has %d columns, more than %d", input, maxHidden))
	}
	x := shapes[SlotX].dims
	if err := s.matches(SlotX, x, "[T, B, I]", unknown, unknown, input); err != nil {
		return err
	}
	if input == unknown && x != nil {
		input = x[2]
	}
	if input > 0 && input <= maxHidden {
		s.Input = int(input)
	}
	if err := s.checkStates(shapes); err != nil {
		return err
	}
	return s.checkTypes(shapes)
}

// checkStates compares the operands that carry the batch dimension.
func (s *Site) checkStates(shapes []shape) error {
	d, h, batch := int64(s.Direction.Count()), int64(s.Hidden), int64(unknown)
	if x := shapes[SlotX].dims; x != nil {
		batch = x[1-s.Layout]
	}
	if err := s.matches(SlotSequenceLens, shapes[SlotSequenceLens].dims, "[B]", batch); err != nil {
		return err
	}
	state, text := []int64{d, batch, h}, "[D, B, H]"
	if s.Layout == 1 {
		state, text = []int64{batch, d, h}, "[B, D, H] (layout 1)"
	}
	for _, slot := range []int{SlotInitialH, SlotInitialC} {
		if err := s.matches(slot, shapes[slot].dims, text, state...); err != nil {
			return err
		}
	}
	return nil
}

// checkTypes asks for one floating type throughout and for int32 sequence lengths.
func (s *Site) checkTypes(shapes []shape) error {
	first := unknown
	for slot, sh := range shapes {
		if sh.elem == onnx.Undefined {
			continue
		}
		if slot == SlotSequenceLens {
			if sh.elem != onnx.Int32 {
				return broken(s.Node, fmt.Sprintf("sequence_lens has element type %s, the specification says int32", sh.elem))
			}
			continue
		}
		if !isWeightType(sh.elem) {
			return broken(s.Node, fmt.Sprintf("%s %q has element type %s, the specification says a floating type", slotNames[slot], s.Node.Input(slot), sh.elem))
		}
		if first == unknown {
			first = slot
		} else if shapes[first].elem != sh.elem {
			return broken(s.Node, fmt.Sprintf("%s has element type %s, %s has %s", slotNames[first], shapes[first].elem, slotNames[slot], sh.elem))
		}
	}
	if first != unknown {
		s.Elem = shapes[first].elem
	}
	return nil
}

// matches compares an operand's known dims with those wanted; nil dims are not known at all.
func (s *Site) matches(slot int, got []int64, text string, want ...int64) error {
	if got == nil {
		return nil
	}
	equal := len(got) == len(want)
	for k := 0; equal && k < len(want); k++ {
		if got[k] == 0 && (slot == SlotW || slot == SlotR) {
			equal = false
		}
		equal = equal && (want[k] == unknown || got[k] == unknown || got[k] == want[k])
	}
	if equal {
		return nil
	}
	return broken(s.Node, fmt.Sprintf("%s %q is %s, but %s %s with hidden_size %d needs %s = %s",
		slotNames[slot], s.Node.Input(slot), dimsText(got), s.Direction, s.Op, s.Hidden, text, dimsText(want)))
}

func dimsText(dims []int64) string {
	parts := make([]string, len(dims))
	for k, d := range dims {
		if d == unknown {
			parts[k] = "?"
		} else {
			parts[k] = strconv.FormatInt(d, 10)
		}
	}
	return "[" + strings.Join(parts, ", ") + "]"
}
