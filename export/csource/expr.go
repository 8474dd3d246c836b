package csource

import (
	"math"
	"strconv"
	"strings"

	"github.com/trconvert/trconvert/export/source"
)

// cTypes by element type.
var cTypes = [source.Elems]string{"float", "int8_t", "int16_t", "int32_t", "int64_t", "uint8_t", "uint16_t", "uint32_t", "uint8_t"}

// floatExpr are the operations on floats: $0 … are operands, %0 … parameters. A name in front of "|" is the kernel that is called.
var floatExpr = map[string]string{
	"add": "$0 + $1", "sub": "$0 - $1", "mul": "$0 * $1", "div": "$0 / $1", "pow": "powf($0, $1)", "max": "fmax|k_max($0, $1)", "min": "fmin|k_min($0, $1)",
	"prelu": "$0 < 0.0f ? $0 * $1 : $0", "abs": "fabsf($0)", "neg": "-$0", "sign": "$0 > 0.0f ? 1.0f : $0 < 0.0f ? -1.0f : $0", "relu": "$0 > 0.0f ? $0 : $0 != $0 ? $0 : 0.0f",
	"acos": "acosf($0)", "acosh": "acoshf($0)", "asin": "asinf($0)", "asinh": "asinhf($0)", "atan": "atanf($0)", "atanh": "atanhf($0)", "ceil": "ceilf($0)",
	"cos": "cosf($0)", "cosh": "coshf($0)", "erf": "erff($0)", "exp": "expf($0)", "floor": "floorf($0)", "log": "logf($0)", "reciprocal": "1.0f / $0",
	"round": "rintf($0)", "sigmoid": "sigmoid|k_sigmoid($0)", "sin": "sinf($0)", "sinh": "sinhf($0)", "softplus": "softplus|k_softplus($0)",
	"softsign": "$0 / (1.0f + fabsf($0))", "sqrt": "sqrtf($0)", "tan": "tanf($0)", "tanh": "tanhf($0)", "square": "$0 * $0",
	"hardswish": "$0 * fminf(fmaxf($0 / 6.0f + 0.5f, 0.0f), 1.0f)", "mish": "softplus|$0 * tanhf(k_softplus($0))",
	"elu": "elu|k_elu($0, %0)", "celu": "elu|%0 * k_elu($0 / %0, 1.0f)", "selu": "elu|%1 * k_elu($0, %0)",
	"gelu": "erf|k_gelu($0)", "gelutanh": "gelutanh|k_gelutanh($0)", "hardsigmoid": "fminf(fmaxf(%0 * $0 + %1, 0.0f), 1.0f)",
	"leakyrelu": "$0 < 0.0f ? %0 * $0 : $0", "thresholdedrelu": "$0 > %0 ? $0 : 0.0f", "linear": "$0 * %0 + %1", "muladd": "$0 * $1 + $2", "addscaled": "$0 + %0 * $1",
	"rsqrtlinear": "1.0f / sqrtf($0 * %0 + %1)", "bound": "bound|k_bound($0, %0)", "scaledtanh": "%0 * tanhf(%1 * $0)", "cellthreshold": "$0 < %0 ? 0.0f : $0",
}

// intExpr are those on int32 and int64, without overflow that C leaves undefined; T is the type and U its unsigned one.
var intExpr = map[string]string{
	"add": "(T)((U)$0 + (U)$1)", "sub": "(T)((U)$0 - (U)$1)", "mul": "(T)((uint64_t)$0 * (uint64_t)$1)", "div": "div|(T)k_div($0, $1)", "max": "$0 > $1 ? $0 : $1",
	"min": "$0 < $1 ? $0 : $1", "abs": "$0 < 0 ? (T)(0 - (U)$0) : $0", "neg": "(T)(0 - (U)$0)", "sign": "(T)(($0 > 0) - ($0 < 0))", "relu": "$0 > 0 ? $0 : 0",
}

// anyExpr are those on every type.
var anyExpr = map[string]string{
	"copy": "$0", "eq": "$0 == $1", "lt": "$0 < $1", "le": "$0 <= $1", "gt": "$0 > $1", "ge": "$0 >= $1", "and": "$0 & $1", "or": "$0 | $1", "xor": "$0 ^ $1", "not": "!$0",
	"where": "$0 ? $1 : $2",
}

// float prints a number of a parameter or a constant.
func float(v float32) string {
	switch f := float64(v); {
	case math.IsNaN(f):
		return "NAN"
	case math.IsInf(f, 1):
		return "INFINITY"
	case math.IsInf(f, -1):
		return "-INFINITY"
	}
	s := strconv.FormatFloat(float64(v), 'g', -1, 32)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s + "f"
}

var texts = source.Dictionary{Any: anyExpr, Float: floatExpr, Int: intExpr}

// expr prints an expression; from is the type of its first operand and to that of the result.
func (p *printer) expr(e source.Expr, from, to source.Elem, args ...string) string {
	switch e.Op {
	case "fill":
		if to != source.Float32 {
			return strconv.FormatInt(int64(e.Params[0]), 10)
		}
		return float(e.Params[0])
	case "cast":
		return p.cast(from, to, args[0])
	}
	text := texts.Text(e.Op, from)
	if from == source.Int32 || from == source.Int64 {
		text = strings.NewReplacer("(T)", "("+cTypes[from]+")", "(U)", "(u"+cTypes[from]+")").Replace(text)
	}
	return e.Fill(text, float, p.used, args...)
}

// cast prints a conversion as ONNX defines it: towards zero from floats, wrapping between integers, "not zero" to bool.
func (p *printer) cast(from, to source.Elem, v string) string {
	switch {
	case to == source.Bool:
		return v + " != 0"
	case from != source.Float32 || to == source.Float32:
		return "(" + cTypes[to] + ")" + v
	case to == source.Int64:
		p.used["toint"] = true
		return "k_toint(" + v + ")"
	case to == source.Int32:
		p.used["toint32"] = true
		return "k_toint32(" + v + ")"
	}
	p.used["toint"] = true
	return "(" + cTypes[to] + ")k_toint(" + v + ")"
}
