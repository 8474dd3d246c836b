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
	data, err := floats(a)
	if err != nil {
		return nil, broken(s.Node, "W: "+err.Error())
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

// floats copies an array of a floating type to float32; doubles beyond its range become infinite.
func floats(a *onnx.Array) ([]float32, error) {
	switch d := a.Data.(type) {
	case []float32:
		return append([]float32(nil), d...), nil
	case []float64:
		out := make([]float32, len(d))
		for k, x := range d {
			out[k] = float32(x)
		}
		return out, nil
	case []uint16:
		convert := fromHalf
		switch a.Type {
		case onnx.Float16:
		case onnx.BFloat16:
			convert = fromBrain
		default:
			return nil, fmt.Errorf("element type %s is not a floating type", typeName(a.Type))
		}
		out := make([]float32, len(d))
		for k, x := range d {
			out[k] = convert(x)
		}
		return out, nil
	}
	return nil, fmt.Errorf("element type %s is not a floating type", typeName(a.Type))
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

// fromHalf widens IEEE 754 binary16 exactly.
func fromHalf(h uint16) float32 {
	sign, exp, frac := uint32(h>>15)<<31, uint32(h>>10)&31, uint32(h)&1023
	switch exp {
	case 0: // zero and denormals: frac · 2⁻²⁴
		return math.Float32frombits(math.Float32bits(float32(frac)*0x1p-24) | sign)
	case 31:
		return math.Float32frombits(sign | 255<<23 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}

// fromBrain widens bfloat16 exactly.
func fromBrain(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }
