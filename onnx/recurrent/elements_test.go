package recurrent

import (
	"testing"

	"github.com/trconvert/trconvert/onnx"
)

// Oracle: values that every floating type holds exactly, and the largest finite float16, 65504: halfway to 65536 rounds beyond it.
func TestArrayRoundTrips(t *testing.T) {
	data := []float32{0, 1, -2.5, 0.125}
	for _, elem := range []onnx.DataType{onnx.Float, onnx.Double, onnx.Float16, onnx.BFloat16} {
		a, err := Array(elem, []int{2, 2}, data)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Floats(a)
		if err != nil {
			t.Fatal(err)
		}
		for k := range data {
			if got[k] != data[k] {
				t.Errorf("%s: element %d is %g, want %g", elem, k, got[k], data[k])
			}
		}
		if got[0] = 7; a.Type == onnx.Float && data[0] == 7 {
			t.Error("Floats does not copy")
		}
	}
	if _, err := Array(onnx.Float16, []int{1}, []float32{65519}); err != nil {
		t.Errorf("65519 rounds to 65504: %v", err)
	}
	if _, err := Array(onnx.Float16, []int{1}, []float32{65520}); err == nil {
		t.Error("65520 fits float16")
	}
	if _, err := Array(onnx.Int8, []int{1}, []float32{1}); err == nil {
		t.Error("int8 is a floating type")
	}
	if _, err := Floats(&onnx.Array{Type: onnx.Uint16, Dims: []int{1}, Data: []uint16{1}}); err == nil {
		t.Error("uint16 is a floating type")
	}
}
