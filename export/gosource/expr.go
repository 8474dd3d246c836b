package gosource

import (
	"fmt"
	"math"
	"strconv"

	"github.com/trconvert/trconvert/export/source"
)

// goTypes by element type.
var goTypes = [source.Elems]string{"float32", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "bool"}

// floatExpr are the operations on floats: $0 … are operands, %0 … parameters. A name in front of "|" is the kernel that is called.
var floatExpr = map[string]string{
	"add": "$0 + $1", "sub": "$0 - $1", "mul": "$0 * $1", "div": "$0 / $1", "pow": "pow|pow($0, $1)", "max": "max($0, $1)", "min": "min($0, $1)",
	"prelu": "pick|pick($0 < 0, $0*$1, $0)", "abs": "abs|abs($0)", "neg": "-$0", "sign": "sign|sign($0)", "relu": "max($0, 0)",
	"acos": "math|f32(math.Acos, $0)", "acosh": "math|f32(math.Acosh, $0)", "asin": "math|f32(math.Asin, $0)", "asinh": "math|f32(math.Asinh, $0)",
	"atan": "math|f32(math.Atan, $0)", "atanh": "math|f32(math.Atanh, $0)", "ceil": "math|f32(math.Ceil, $0)", "cos": "math|f32(math.Cos, $0)",
	"cosh": "math|f32(math.Cosh, $0)", "erf": "math|f32(math.Erf, $0)", "exp": "math|f32(math.Exp, $0)", "floor": "math|f32(math.Floor, $0)", "log": "math|f32(math.Log, $0)",
	"reciprocal": "1 / $0", "round": "math|f32(math.RoundToEven, $0)", "sigmoid": "sigmoid|sigmoid($0)", "sin": "math|f32(math.Sin, $0)", "sinh": "math|f32(math.Sinh, $0)",
	"softplus": "softplus|softplus($0)", "softsign": "abs|$0 / (1 + abs($0))", "sqrt": "math|f32(math.Sqrt, $0)", "tan": "math|f32(math.Tan, $0)", "tanh": "tanh|tanh($0)",
	"square": "$0 * $0", "hardswish": "$0 * min(max($0/6+0.5, 0), 1)", "mish": "softplus tanh|$0 * tanh(softplus($0))",
	"elu": "elu|elu($0, %0)", "celu": "elu|%0 * elu($0/%0, 1)", "selu": "elu|%1 * elu($0, %0)",
	"gelu": "gelu|gelu($0)", "gelutanh": "gelutanh|gelutanh($0)", "hardsigmoid": "min(max(%0*$0+%1, 0), 1)",
	"leakyrelu": "pick|pick($0 < 0, %0*$0, $0)", "thresholdedrelu": "pick|pick($0 > %0, $0, 0)", "linear": "$0*%0 + %1", "muladd": "$0*$1 + $2", "addscaled": "$0 + %0*$1",
	"rsqrtlinear": "math|1 / f32(math.Sqrt, $0*%0+%1)", "bound": "min(max($0, -%0), %0)", "scaledtanh": "tanh|%0 * tanh(%1*$0)", "cellthreshold": "pick|pick($0 < %0, 0, $0)",
}

// intExpr are those on int32 and int64, which wrap around.
var intExpr = map[string]string{
	"add": "$0 + $1", "sub": "$0 - $1", "mul": "$0 * $1", "div": "div|div($0, $1)", "max": "max($0, $1)", "min": "min($0, $1)", "abs": "abs|abs($0)", "neg": "-$0",
	"sign": "sign|sign($0)", "relu": "max($0, 0)",
}

// anyExpr are those on every type.
var anyExpr = map[string]string{
	"copy": "$0", "eq": "$0 == $1", "lt": "$0 < $1", "le": "$0 <= $1", "gt": "$0 > $1", "ge": "$0 >= $1", "and": "$0 && $1", "or": "$0 || $1", "xor": "$0 != $1", "not": "!$0",
	"where": "pick|pick($0, $1, $2)",
}

// boolExpr replaces what Go does not have on bools.
var boolExpr = map[string]string{"lt": "!$0 && $1", "le": "!$0 || $1", "gt": "$0 && !$1", "ge": "$0 || !$1"}

// float prints a number of a parameter.
func float(v float32) string {
	switch f := float64(v); {
	case math.IsNaN(f):
		return "float32(math.NaN())"
	case math.IsInf(f, 0):
		return fmt.Sprintf("float32(math.Inf(%d))", int(math.Copysign(1, f)))
	}
	return strconv.FormatFloat(float64(v), 'g', -1, 32)
}

var texts = source.Dictionary{Any: anyExpr, Float: floatExpr, Int: intExpr}

// expr prints an expression; from is the type of its last operand and to that of the result.
func (p *printer) expr(e source.Expr, from, to source.Elem, args ...string) string {
	switch e.Op {
	case "fill":
		switch to {
		case source.Float32:
			return float(e.Params[0])
		case source.Bool:
			return strconv.FormatBool(e.Params[0] != 0)
		}
		return strconv.FormatInt(int64(e.Params[0]), 10)
	case "cast":
		return p.cast(from, to, args[0])
	}
	text := boolExpr[e.Op]
	if from != source.Bool || text == "" {
		text = texts.Text(e.Op, from)
	}
	return e.Fill(text, float, p.used, args...)
}

// cast prints a conversion as ONNX defines it: towards zero from floats, wrapping between integers, "not zero" to bool.
func (p *printer) cast(from, to source.Elem, v string) string {
	switch {
	case to == source.Bool:
		return v + " != 0"
	case from == source.Bool:
		p.used["frombool"] = true
		return "frombool[" + goTypes[to] + "](" + v + ")"
	case from != source.Float32 || to == source.Float32:
		return goTypes[to] + "(" + v + ")"
	case to == source.Int64:
		p.used["toint"] = true
		return "toint(" + v + ")"
	case to == source.Int32:
		p.used["toint32"] = true
		return "toint32(" + v + ")"
	}
	p.used["toint"] = true
	return goTypes[to] + "(toint(" + v + "))"
}
