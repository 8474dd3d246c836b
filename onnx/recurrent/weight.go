package recurrent

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/tensor"
)

// Weight reads W as a float32 matrix [D·G·H, I], rows in C order (direction, gate, unit); float16, bfloat16 and double are
// converted. NaN, Inf and doubles beyond float32 are errors that name the first index. A matrix of zeros, or one whose largest
// entry is denormal in float32, adds a warning. The matrix is new at each call.
func (s *Site) Weight(ctx context.Context) (*tensor.Dense, error) {
	if !s.Decomposable {
		return nil, &UnsupportedError{Site: s.Node.String(), Attribute: "input W", Value: strconv.Quote(s.Node.Input(SlotW)), What: s.Reason}
	}
	a, data, err := s.loadW(ctx)
	if err != nil {
		return nil, err
	}
	if len(data) != s.Rows()*s.Input {
		return nil, broken(s.Node, fmt.Sprintf("W has %d elements, its dims say %d·%d", len(data), s.Rows(), s.Input))
	}
	largest := float32(0)
	for k, x := range data {
		m := float32(math.Abs(float64(x)))
		if !(m <= math.MaxFloat32) {
			return nil, s.notFinite(a, SlotW, k)
		}
		largest = max(largest, m)
	}
	s.remark(largest)
	return &tensor.Dense{Dims: []int{s.Rows(), s.Input}, Data: data}, nil
}

// loadW reads W and its elements as float32 that nobody else holds: an initializer is decoded for the caller alone, so that a large
// matrix is not copied; what a chain computes is shared with the evaluator.
func (s *Site) loadW(ctx context.Context) (*onnx.Array, []float32, error) {
	def, _ := s.values.index.Resolve(s.Node.Graph, s.Node.Input(SlotW))
	var a *onnx.Array
	var err error
	if def.Tensor != nil {
		a, err = def.Tensor.Array()
	} else {
		a, err = s.Operand(ctx, SlotW)
	}
	if err != nil {
		return nil, nil, err
	}
	if d, ok := a.Data.([]float32); ok && def.Tensor != nil {
		return a, d, nil
	}
	data, err := Floats(a)
	if err != nil {
		return nil, nil, broken(s.Node, "W "+strconv.Quote(s.Node.Input(SlotW))+": "+err.Error())
	}
	return a, data, nil
}

// CheckFinite reports the first number of R, B and P that is not finite, with its index, as [Site.Weight] does for W. What is computed when the model runs is not looked at.
func (s *Site) CheckFinite(ctx context.Context) error {
	for _, slot := range []int{SlotR, SlotB, SlotP} {
		a, err := s.Operand(ctx, slot)
		if errors.As(err, new(*UnsupportedError)) || err == nil && a == nil {
			continue
		}
		if err != nil {
			return err
		}
		data, err := Floats(a)
		if err != nil {
			return broken(s.Node, slotNames[slot]+" "+strconv.Quote(s.Node.Input(slot))+": "+err.Error())
		}
		if k := (&tensor.Dense{Data: data}).FirstNonFinite(); k >= 0 {
			return s.notFinite(a, slot, k)
		}
	}
	return nil
}

// notFinite reports element k of an operand with its value before the conversion to float32.
func (s *Site) notFinite(a *onnx.Array, slot, k int) error {
	value, what := math.NaN(), "is not finite"
	if wide, err := a.Float64s(); err == nil {
		value = wide[k]
	}
	if !math.IsNaN(value) && !math.IsInf(value, 0) {
		what = "is beyond float32"
	}
	at := make([]string, len(a.Dims))
	for d := len(at) - 1; d >= 0; d-- {
		n := int(a.Dims[d])
		at[d], k = strconv.Itoa(k%n), k/n
	}
	return broken(s.Node, fmt.Sprintf("%s[%s] = %g %s (repair the weights before converting)", slotNames[slot], strings.Join(at, ", "), value, what))
}

// remark warns of a matrix that carries nothing.
func (s *Site) remark(largest float32) {
	const smallestNormal = 0x1p-126
	var w string
	switch {
	case largest == 0:
		w = "W is all zero"
	case largest < smallestNormal:
		w = fmt.Sprintf("W is denormal: its largest entry is %g", largest)
	default:
		return
	}
	s.values.mu.Lock()
	defer s.values.mu.Unlock()
	if !slices.Contains(s.Warnings, w) {
		s.Warnings = append(s.Warnings, w)
	}
}
