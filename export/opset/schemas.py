"""Prints operators.txt: what each version of each standard operator changed, up to opset 21.

Run with Debian's python3-onnx (1.12, opset 17):  /usr/bin/python3 schemas.py > operators.txt
Versions 18 to 21, which it does not know, stand below as ONNX's docs/Changelog.md lists them; schema_test.go compares them with the schemas in ONNX Runtime.

A line is an operator and its versions in rising order; behind a version stand its changes that a node can notice:
  +name      a new attribute, whose default means what was meant before; +name=value where that is an integer
  -name      an attribute is gone; -name=value where it may be left out if it has this value
  @type      a new element type of the inputs
  ^type      nodes with inputs of that element type, as there were before, are gone
  #n         it takes more inputs; n is how many there were before, the further ones being optional
  ~name:v    a new value of a string attribute
  !          the meaning or the form changed otherwise
"""
import sys

import onnx
from onnx import defs, helper

LATEST = 17
FLOAT8 = ["float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz"]
INT4 = ["uint4", "int4"]


def types(names):
    return ["@" + n for n in names]


LATER = {
    "AffineGrid": [(20, [])],
    "AveragePool": [(19, ["+dilations"])],
    "BitwiseAnd": [(18, [])], "BitwiseOr": [(18, [])], "BitwiseXor": [(18, [])], "BitwiseNot": [(18, [])],
    "Cast": [(19, ["+saturate=1"] + types(FLOAT8)), (21, types(INT4))],
    "CastLike": [(19, ["+saturate=1"] + types(FLOAT8)), (21, types(INT4))],
    "CenterCropPad": [(18, [])], "Col2Im": [(18, [])],
    "Constant": [(19, types(FLOAT8)), (21, types(INT4))],
    "ConstantOfShape": [(20, types(FLOAT8 + ["bfloat16"])), (21, types(INT4))],
    "DFT": [(20, ["!"])],
    "DeformConv": [(19, [])],
    "DequantizeLinear": [(19, types(["float16", "bfloat16"] + FLOAT8)), (21, ["+block_size=0"] + types(INT4 + ["int16", "uint16"]))],
    "Equal": [(19, ["@string"])],
    "Flatten": [(21, types(FLOAT8 + INT4))],
    "Gelu": [(20, [])],
    "GridSample": [(20, ["!"])],
    "GroupNormalization": [(18, []), (21, ["!"])],
    "Identity": [(19, types(FLOAT8)), (21, types(INT4))],
    "If": [(19, types(FLOAT8)), (21, types(INT4))],
    "ImageDecoder": [(20, [])],
    "IsInf": [(20, types(["float16", "bfloat16"] + FLOAT8))],
    "IsNaN": [(20, types(FLOAT8))],
    "Loop": [(19, types(FLOAT8)), (21, types(INT4))],
    "LpPool": [(18, ["+ceil_mode=0", "+dilations"])],
    "Mish": [(18, [])],
    "OptionalGetElement": [(18, ["!"])], "OptionalHasElement": [(18, ["!"])],
    "Pad": [(18, ["#3"]), (19, ["~mode:wrap"]), (21, types(FLOAT8 + INT4))],
    "QLinearMatMul": [(21, types(["float16", "bfloat16"] + FLOAT8))],
    "QuantizeLinear": [(19, ["+saturate=1", "^int32"] + types(["int32", "float16", "bfloat16"] + FLOAT8)), (21, ["+block_size=0", "+output_dtype=0"] + types(INT4 + ["int16", "uint16"]))],
    "ReduceL1": [(18, ["!"])], "ReduceL2": [(18, ["!"])], "ReduceLogSum": [(18, ["!"])], "ReduceLogSumExp": [(18, ["!"])],
    "ReduceMax": [(18, ["!"]), (20, ["@bool"])], "ReduceMean": [(18, ["!"])], "ReduceMin": [(18, ["!"]), (20, ["@bool"])],
    "ReduceProd": [(18, ["!"])], "ReduceSumSquare": [(18, ["!"])],
    "RegexFullMatch": [(20, [])],
    "Reshape": [(19, types(FLOAT8)), (21, types(INT4))],
    "Resize": [(18, ["+antialias=0", "+axes", "+keep_aspect_ratio_policy"]), (19, ["~coordinate_transformation_mode:half_pixel_symmetric"])],
    "Scan": [(19, types(FLOAT8)), (21, types(INT4))],
    "ScatterElements": [(18, ["~reduction:max", "~reduction:min"])], "ScatterND": [(18, ["~reduction:max", "~reduction:min"])],
    "Shape": [(19, types(FLOAT8)), (21, types(INT4))],
    "Size": [(19, types(FLOAT8)), (21, types(INT4))],
    "Split": [(18, ["!"])],
    "Squeeze": [(21, types(FLOAT8 + INT4))],
    "StringConcat": [(20, [])], "StringSplit": [(20, [])],
    "Transpose": [(21, types(FLOAT8 + INT4))],
    "Unsqueeze": [(21, types(FLOAT8 + INT4))],
}

# Changes that schemas do not show: test mode became the default, another algorithm, an attribute whose new default is not the old behaviour.
MEANING = {("Dropout", 7), ("BatchNormalization", 7), ("Softmax", 13), ("LogSoftmax", 13), ("Hardmax", 13), ("RoiAlign", 16), ("Resize", 11), ("BatchNormalization", 14)}

# Attributes that never meant anything to the result.
HINTS = {"consumed_inputs", "output_sequence"}


def default(a):
    v = a.default_value
    return helper.get_attribute_value(v) if v.type else None


def allowed(schema, slot):
    for c in schema.type_constraints:
        if c.type_param_str == slot.typeStr:
            return set(c.allowed_type_strs)
    return {slot.typeStr}


def changes(name, a, b):
    if b.deprecated or (name, b.since_version) in MEANING:
        return ["!"]
    out, other = [], False
    for k in sorted(set(a.attributes) - set(b.attributes)):
        d = default(a.attributes[k])
        if k in HINTS:
            out.append("-%s=*" % k)
        elif len(a.inputs) != len(b.inputs):
            other = True  # it became an input
        elif isinstance(d, int):
            out.append("-%s=%d" % (k, d))
        else:
            out.append("-" + k)
    for k in sorted(set(a.attributes) & set(b.attributes)):
        x, y = a.attributes[k], b.attributes[k]
        other |= x.type != y.type or str(default(x)) != str(default(y)) or y.required and not x.required
    for k in sorted(set(b.attributes) - set(a.attributes)):
        other |= b.attributes[k].required
        d = default(b.attributes[k])
        out.append("+" + k + ("=%d" % d if isinstance(d, int) else ""))
    optional = [i.option != defs.OpSchema.FormalParameterOption.Single for i in b.inputs]
    if len(b.inputs) < len(a.inputs) or not all(optional[len(a.inputs):]):
        other = True
    elif len(b.inputs) > len(a.inputs):
        out.append("#%d" % len(a.inputs))
    other |= any(x.option == defs.OpSchema.FormalParameterOption.Variadic != y.option for x, y in zip(a.inputs, b.inputs))
    added = set()
    for x, y in zip(a.inputs, b.inputs):
        other |= bool(allowed(a, x) - allowed(b, y))
        added |= allowed(b, y) - allowed(a, x)
    out += sorted("@" + t[len("tensor("):-1] for t in added if t.startswith("tensor("))
    if any(not t.startswith("tensor(") for t in added):
        out.append("@sequence")
    return ["!"] if other else out


def main():
    table = {}
    for s in defs.get_all_schemas_with_history():
        if s.domain in ("", "ai.onnx") and s.since_version <= LATEST and s.support_level == defs.OpSchema.SupportType.COMMON:
            table.setdefault(s.name, {})[s.since_version] = s
    print("# Printed by schemas.py, which explains it.")
    for name in sorted(set(table) | set(LATER)):
        line, last = [name], None
        for version, s in sorted(table.get(name, {}).items()):
            line.append(str(version) + ",".join([""] + changes(name, last, s))[1:] if last else str(version))
            last = s
        for version, marks in LATER.get(name, []):
            line.append(str(version) + ",".join(marks))
        print(" ".join(line))


if __name__ == "__main__":
    sys.exit(main())
