package runtime

import (
	"fmt"

	"github.com/trconvert/trconvert/internal/shape"
	"github.com/trconvert/trconvert/onnx"
)

// checkFeed compares a fed tensor with the declared input: payload, type, rank and known dims.
func checkFeed(v *onnx.ValueInfo, t *Tensor) error {
	if err := checkArray(t); err != nil {
		return fmt.Errorf("runtime: input %q: %w", v.Name, err)
	}
	if v.Type == nil {
		return nil
	}
	if v.Type.Elem != onnx.Undefined && v.Type.Elem != t.Type {
		return fmt.Errorf("runtime: input %q: type %v fed, the model declares %v", v.Name, t.Type, v.Type.Elem)
	}
	if !v.Type.HasShape {
		return nil
	}
	if len(v.Type.Shape) != len(t.Dims) {
		return fmt.Errorf("runtime: input %q: rank %d fed (dims %v), the model declares rank %d", v.Name, len(t.Dims), t.Dims, len(v.Type.Shape))
	}
	for i, d := range v.Type.Shape {
		if d.Known && d.Value != int64(t.Dims[i]) {
			return fmt.Errorf("runtime: input %q: dim %d is %d in the feed (dims %v), the model declares %d", v.Name, i, t.Dims[i], t.Dims, d.Value)
		}
	}
	return nil
}

// checkArray verifies that Data has the Go type of Type and one entry per element.
func checkArray(t *Tensor) error {
	n, err := shape.Size(t.Dims, maxElements)
	if err != nil {
		return err
	}
	have, ok := dataLen(t)
	if !ok {
		return fmt.Errorf("data is %T, which is not the Go type of %v", t.Data, t.Type)
	}
	if have != n {
		return fmt.Errorf("data has %d elements, dims %v need %d", have, t.Dims, n)
	}
	return nil
}

// dataLen is the length of Data, and whether Data has the Go type that onnx.Array fixes for t.Type.
func dataLen(t *Tensor) (int, bool) {
	switch d := t.Data.(type) {
	case []float32:
		return len(d), t.Type == onnx.Float
	case []float64:
		return len(d), t.Type == onnx.Double
	case []int8:
		return len(d), t.Type == onnx.Int8 || t.Type == onnx.Int4 || t.Type == onnx.Int2
	case []int16:
		return len(d), t.Type == onnx.Int16
	case []int32:
		return len(d), t.Type == onnx.Int32
	case []int64:
		return len(d), t.Type == onnx.Int64
	case []uint8:
		switch t.Type {
		case onnx.Uint8, onnx.Uint4, onnx.Uint2, onnx.Float4E2M1, onnx.Float8E4M3FN, onnx.Float8E4M3FNUZ, onnx.Float8E5M2, onnx.Float8E5M2FNUZ, onnx.Float8E8M0:
			return len(d), true
		}
		return len(d), false
	case []uint16:
		return len(d), t.Type == onnx.Uint16 || t.Type == onnx.Float16 || t.Type == onnx.BFloat16
	case []uint32:
		return len(d), t.Type == onnx.Uint32
	case []uint64:
		return len(d), t.Type == onnx.Uint64
	case []bool:
		return len(d), t.Type == onnx.Bool
	case []string:
		return len(d), t.Type == onnx.String
	case []complex64:
		return len(d), t.Type == onnx.Complex64
	case []complex128:
		return len(d), t.Type == onnx.Complex128
	}
	return 0, false
}
