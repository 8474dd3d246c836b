package onnx

import "fmt"

var dataTypeNames = [...]string{
	"undefined", "float", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool", "float16", "double", "uint32", "uint64",
	"complex64", "complex128", "bfloat16", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz", "uint4", "int4", "float4e2m1",
	"float8e8m0", "uint2", "int2",
}

// String is the name of the type as the operator specifications write it: "float", "bfloat16", "int64", …
func (t DataType) String() string {
	if t < 0 || int(t) >= len(dataTypeNames) {
		return fmt.Sprintf("data type %d", int32(t))
	}
	return dataTypeNames[t]
}

// IsFloat says whether the type is a real floating-point type of any width.
func (t DataType) IsFloat() bool {
	switch t {
	case Float, Double, Float16, BFloat16, Float8E4M3FN, Float8E4M3FNUZ, Float8E5M2, Float8E5M2FNUZ, Float4E2M1, Float8E8M0:
		return true
	}
	return false
}

// IsInteger says whether the type is a signed or unsigned integer of any width; bool is none.
func (t DataType) IsInteger() bool {
	switch t {
	case Uint8, Int8, Uint16, Int16, Int32, Int64, Uint32, Uint64, Uint4, Int4, Uint2, Int2:
		return true
	}
	return false
}
