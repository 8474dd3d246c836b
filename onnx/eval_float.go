package onnx

import "math"

// smallFloat is a binary floating-point format of at most 16 bits.
type smallFloat struct {
	mantissa int    // bits
	bias     int    // of the exponent
	max      uint16 // code of the largest finite value
	inf      bool   // the code after max is infinity; otherwise there is none
	nan      uint16
	unsigned bool // zero has no sign (the FNUZ formats, whose NaN is the code of −0)
	bits     int
}

// smallFloats are the formats that arrays hold as bits. Sources: IEEE 754 (float16), the bfloat16 and "FP8 Formats for Deep Learning"
// definitions as the ONNX documentation of float8 gives them.
var smallFloats = map[DataType]smallFloat{
	Float16:        {mantissa: 10, bias: 15, max: 0x7bff, inf: true, nan: 0x7e00, bits: 16},
	BFloat16:       {mantissa: 7, bias: 127, max: 0x7f7f, inf: true, nan: 0x7fc0, bits: 16},
	Float8E4M3FN:   {mantissa: 3, bias: 7, max: 0x7e, nan: 0x7f, bits: 8},
	Float8E4M3FNUZ: {mantissa: 3, bias: 8, max: 0x7f, nan: 0x80, unsigned: true, bits: 8},
	Float8E5M2:     {mantissa: 2, bias: 15, max: 0x7b, inf: true, nan: 0x7f, bits: 8},
	Float8E5M2FNUZ: {mantissa: 2, bias: 16, max: 0x7f, nan: 0x80, unsigned: true, bits: 8},
}

// value decodes a code.
func (f smallFloat) value(code uint16) float64 {
	sign := code >> (f.bits - 1) & 1
	abs := code &^ (1 << (f.bits - 1))
	if code == f.nan || (abs > f.max && !(f.inf && abs == f.max+1)) {
		return math.NaN()
	}
	v := math.Inf(1)
	if abs <= f.max {
		e := int(abs >> f.mantissa)
		m := int(abs & (1<<f.mantissa - 1))
		if e > 0 {
			m |= 1 << f.mantissa
		} else {
			e = 1
		}
		v = math.Ldexp(float64(m), e-f.bias-f.mantissa)
	}
	if sign != 0 {
		v = -v
	}
	return v
}

// code rounds to the nearest value, ties to even. What is too large becomes infinity; with saturate, which 8-bit formats are given, or
// where there is no infinity, see the table of Cast: the largest finite value, or else NaN.
func (f smallFloat) code(v float64, saturate bool) uint16 {
	if v != v {
		return f.nan
	}
	var sign uint16
	if math.Signbit(v) {
		sign = 1 << (f.bits - 1)
		v = -v
	}
	var abs uint16
	_, e := math.Frexp(v)
	if e > 1024-f.bias { // far beyond any format, infinity among it
		e = 1025
	}
	exp := max(e-1, 1-f.bias)
	scaled := math.Ldexp(v, f.mantissa-exp)
	// A mantissa that rounds up to the next power of two carries into the exponent by itself.
	bits := uint64(exp+f.bias-1)<<f.mantissa + uint64(math.RoundToEven(math.Min(scaled, 1<<20)))
	switch {
	case !math.IsInf(v, 0) && bits <= uint64(f.max):
		abs = uint16(bits)
	case saturate && f.bits == 8:
		abs = f.max
	case f.inf:
		abs = f.max + 1
	default:
		return f.nan
	}
	if f.unsigned && abs == 0 {
		return 0
	}
	return sign | abs
}

// table holds the values of all codes of an 8-bit format, or of the 16-bit ones.
func (f smallFloat) table() []float64 {
	t := make([]float64, 1<<f.bits)
	for i := range t {
		t[i] = f.value(uint16(i))
	}
	return t
}
