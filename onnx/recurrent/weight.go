package recurrent

import (
	"context"
	"fmt"
	"math"

	"github.com/trconvert/trconvert/onnx"
	"github.com/trconvert/trconvert/tensor"
)

// Weight reads W as a float32 matrix [D·G·H, I], rows in C order (direction, gate, unit); float16, bfloat16 and double are
// converted. NaN, Inf and doubles beyond float32 are errors that name the first index. A matrix of zeros, or one whose largest
// entry is denormal in float32, adds a warning. The matrix is new at each call.
func (s *Site) Weight(ctx context.Context) (*tensor.Dense, error) {
	if !s.Decomposable {
		return nil, &UnsupportedError{Site: s.Name, Attribute: "input W", Value: quote(s.Node.Input(SlotW)), What: s.Reason}
	}
	a, err := s.Operand(ctx, SlotW)
	if err != nil {
		return nil, err
	}
	data, err := Floats(a)
	if err != nil {
		return nil, fmt.Errorf("%w (site %q, input W)", err, s.Name)
	}
	if len(data) != s.Rows()*s.Input {
		return nil, broken(s.Node, fmt.Sprintf("W has %d elements, its dims say %d·%d", len(data), s.Rows(), s.Input))
	}
	largest := float32(0)
	for k, x := range data {
		m := float32(math.Abs(float64(x)))
		if !(m <= math.MaxFloat32) {
			return nil, s.notFinite(a, k)
		}
		largest = max(largest, m)
	}
	s.remark(largest)
	return &tensor.Dense{Dims: []int{s.Rows(), s.Input}, Data: data}, nil
}

func (s *Site) notFinite(a *onnx.Array, k int) error {
	gates := s.Op.Gates() * s.Hidden
	row, col := k/s.Input, k%s.Input
	value := fmt.Sprint(elementAt(a, k))
	what := "is not finite"
	if d, ok := a.Data.([]float64); ok && !math.IsNaN(d[k]) && !math.IsInf(d[k], 0) {
		what = "is beyond float32"
	}
	return broken(s.Node, fmt.Sprintf("W[%d, %d, %d] = %s %s (repair the weights before converting)", row/gates, row%gates, col, value, what))
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
	for _, old := range s.Warnings {
		if old == w {
			return
		}
	}
	s.Warnings = append(s.Warnings, w)
}

func elementAt(a *onnx.Array, k int) float64 {
	switch d := a.Data.(type) {
	case []float32:
		return float64(d[k])
	case []float64:
		return d[k]
	case []uint16:
		if a.Type == onnx.BFloat16 {
			return float64(fromBrain(d[k]))
		}
		return float64(fromHalf(d[k]))
	}
	return math.NaN()
}
