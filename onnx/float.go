package onnx

import (
	"fmt"
	"math"
)

// Float16ToFloat32 gives the value of IEEE 754 binary16 bits, exactly. A NaN keeps its sign and payload.
func Float16ToFloat32(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp := uint32(h>>10) & 0x1f
	frac := uint32(h & 0x3ff)
	switch {
	case exp == 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	case exp != 0:
		return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
	}
	// Zero and subnormals: frac·2⁻²⁴.
	v := float32(frac) * (1.0 / (1 << 24))
	return math.Float32frombits(sign | math.Float32bits(v))
}

// Float32ToFloat16 rounds to IEEE 754 binary16, ties to even. What rounds beyond 65504 becomes an infinity; a NaN stays
// one, quiet.
func Float32ToFloat16(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b>>16) & 0x8000
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000:
		return sign | 0x7e00 | uint16(b>>13)&0x1ff
	case b >= 0x477ff000: // 65520, the tie above the largest finite value
		return sign | 0x7c00
	case b >= 0x38800000: // 2⁻¹⁴, the smallest normal
		b += 0xfff + b>>13&1
		return sign | uint16((b>>13)-(112<<10))
	case b <= 0x33000000: // 2⁻²⁵, the tie below the smallest subnormal
		return sign
	}
	// Subnormal: adding 2⁻¹·1.0 (in units where the sum's last bit is 2⁻²⁴) makes the FPU round to a multiple of 2⁻²⁴.
	v := math.Float32frombits(b) + 0.5
	return sign | uint16(math.Float32bits(v)-math.Float32bits(0.5))
}

// Float64ToFloat16 rounds to IEEE 754 binary16 once, ties to even.
func Float64ToFloat16(f float64) uint16 {
	return uint16(float16Format.encode(f, false))
}

// BFloat16ToFloat32 gives the value of bfloat16 bits, exactly.
func BFloat16ToFloat32(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// Float32ToBFloat16 rounds to bfloat16, ties to even; a NaN stays one, quiet.
func Float32ToBFloat16(f float32) uint16 {
	b := math.Float32bits(f)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// Float64ToBFloat16 rounds to bfloat16 once, ties to even.
func Float64ToBFloat16(f float64) uint16 {
	return uint16(bfloat16Format.encode(f, false))
}

// floatFormat describes a binary floating-point format of at most 16 bits: sign, exponent, fraction.
type floatFormat struct {
	exp, frac uint // bits
	bias      int
	inf       bool   // the highest exponent with fraction 0 is infinity, with others NaN
	nan       uint32 // the NaN that encode makes
	largest   uint32 // largest finite value
	noNegZero bool   // the pattern of −0 is the NaN
	noNaN     bool
}

var (
	float16Format  = floatFormat{exp: 5, frac: 10, bias: 15, inf: true, nan: 0x7e00, largest: 0x7bff}
	bfloat16Format = floatFormat{exp: 8, frac: 7, bias: 127, inf: true, nan: 0x7fc0, largest: 0x7f7f}

	// The float8 formats of "FP8 Formats for Deep Learning" (arXiv 2209.05433) and, with the suffix UZ, of "8-bit
	// Numerical Formats for Deep Neural Networks" (arXiv 2206.02915); float4 of the OCP microscaling formats.
	smallFormats = map[DataType]floatFormat{
		Float8E4M3FN:   {exp: 4, frac: 3, bias: 7, nan: 0x7f, largest: 0x7e},
		Float8E4M3FNUZ: {exp: 4, frac: 3, bias: 8, nan: 0x80, largest: 0x7f, noNegZero: true},
		Float8E5M2:     {exp: 5, frac: 2, bias: 15, inf: true, nan: 0x7f, largest: 0x7b},
		Float8E5M2FNUZ: {exp: 5, frac: 2, bias: 16, nan: 0x80, largest: 0x7f, noNegZero: true},
		Float4E2M1:     {exp: 2, frac: 1, bias: 1, largest: 0x7, noNaN: true},
	}
)

func (m floatFormat) signBit() uint32 { return 1 << (m.exp + m.frac) }

// encode rounds f to the format, ties to even. With saturate, what is beyond the largest finite value becomes that;
// otherwise infinity, or NaN where the format has none. A format without NaN saturates always and turns NaN to its
// largest value.
func (m floatFormat) encode(f float64, saturate bool) uint32 {
	sign := uint32(0)
	if math.Signbit(f) {
		sign = m.signBit()
	}
	saturate = saturate || m.noNaN
	switch {
	case math.IsNaN(f):
		if m.noNaN {
			return m.largest
		}
		if m.noNegZero {
			return m.nan
		}
		return sign | m.nan
	case f == 0:
		if m.noNegZero {
			return 0
		}
		return sign
	case math.IsInf(f, 0) && m.noNegZero:
		return m.nan // also with saturate, as Cast of ONNX has it
	}
	abs := math.Abs(f)
	top := m.value(m.largest)
	bits := m.largest + 1
	if !math.IsInf(abs, 0) {
		e := math.Ilogb(abs)
		e = max(e, 1-m.bias) // subnormals share the exponent of the smallest normal
		units := math.RoundToEven(math.Ldexp(abs, int(m.frac)-e))
		if math.Ldexp(units, e-int(m.frac)) <= top {
			// units is the fraction with its leading one; a carry runs into the exponent by itself.
			bits = uint32(e+m.bias-1)<<m.frac + uint32(units)
		}
	}
	switch {
	case bits <= m.largest:
	case saturate:
		bits = m.largest
	case m.inf:
		bits = (1<<m.exp - 1) << m.frac
	case m.noNegZero:
		return m.nan
	default:
		bits = m.nan
	}
	if bits == 0 && m.noNegZero {
		return 0
	}
	return sign | bits
}

// value is the value of non-negative finite bits.
func (m floatFormat) value(bits uint32) float64 {
	e := int(bits >> m.frac)
	frac := float64(bits & (1<<m.frac - 1))
	if e == 0 {
		return math.Ldexp(frac, 1-m.bias-int(m.frac))
	}
	return math.Ldexp(frac+float64(uint32(1)<<m.frac), e-m.bias-int(m.frac))
}

func (m floatFormat) decode(bits uint32) float64 {
	neg := bits&m.signBit() != 0
	abs := bits &^ m.signBit()
	switch {
	case m.noNegZero && bits == m.nan:
		return math.NaN()
	case abs <= m.largest:
		v := m.value(abs)
		if neg {
			v = math.Copysign(v, -1)
		}
		return v
	case m.inf && abs == m.largest+1:
		if neg {
			return math.Inf(-1)
		}
		return math.Inf(1)
	}
	return math.NaN()
}

// DecodeSmallFloat gives the value of an element of a float8 type or Float4E2M1, exactly. Other types give NaN.
func DecodeSmallFloat(typ DataType, bits uint8) float64 {
	if typ == Float8E8M0 {
		if bits == 0xff {
			return math.NaN()
		}
		return math.Ldexp(1, int(bits)-127)
	}
	m, ok := smallFormats[typ]
	if !ok {
		return math.NaN()
	}
	if typ == Float4E2M1 {
		bits &= 0xf
	}
	return m.decode(uint32(bits))
}

// EncodeSmallFloat rounds a value to an element of a float8 type or Float4E2M1, ties to even. saturate is the attribute
// of ONNX's Cast: whether values beyond the largest finite one become that one, or infinity or NaN. Float4E2M1, which
// has neither, always saturates. Float8E8M0 rounds to the nearest power of two, ties up, and holds no zero or sign:
// what is not above 0 becomes its smallest value.
func EncodeSmallFloat(typ DataType, f float64, saturate bool) (uint8, error) {
	if typ == Float8E8M0 {
		return encodeE8M0(f, saturate), nil
	}
	m, ok := smallFormats[typ]
	if !ok {
		return 0, fmt.Errorf("onnx: %s is no float8 or float4 type", typ)
	}
	return uint8(m.encode(f, saturate)), nil
}

func encodeE8M0(f float64, saturate bool) uint8 {
	const largest = 0xfe
	switch {
	case math.IsNaN(f):
		return 0xff
	case f <= 0:
		return 0
	case math.IsInf(f, 1):
		if saturate {
			return largest
		}
		return 0xff
	}
	frac, exp := math.Frexp(f) // f = frac·2^exp, 0.5 ≤ frac < 1
	e := exp - 1
	if frac >= 0.75 {
		e++
	}
	switch {
	case e < -127:
		return 0
	case e > 127 && saturate:
		return largest
	case e > 127:
		return 0xff
	}
	return uint8(e + 127)
}
