package onnx

// Array is a decoded tensor of any element type: the value that constants, feeds and runtime results are.
//
// Data is a slice with one element per entry in C order: []float32, []float64, []int8, []int16, []int32, []int64,
// []uint8, []uint16, []uint32, []uint64, []bool, []string, []complex64 or []complex128. Float16 and BFloat16 keep
// their bits in []uint16; float8 types their bits in []uint8; 4-bit and 2-bit integers one value per int8/uint8.
// A scalar has no Dims.
type Array struct {
	Type DataType
	Dims []int
	Data any
}
