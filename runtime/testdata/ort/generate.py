"""Writes ops.jsonl: single operators at old and new opsets with the outputs of ONNX Runtime.

    python3 generate.py models          # needs numpy and onnx; writes one folder per case
    node run.js models                  # needs onnxruntime-node 1.30.0 on NODE_PATH
    python3 generate.py models ops.jsonl

Each line is {"name", "op", "opset", "attrs", "inputs", "outputs"}; a tensor is {"type", "dims", "data"}, an absent input null. The cases are
those that the ONNX project's node tests do not have: opsets before 13, and geometry drawn at random.
"""

import json
import os
import random
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper

rng = np.random.default_rng(1)
random.seed(1)
cases = []
TYPES = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "int64": TensorProto.INT64, "int32": TensorProto.INT32,
         "uint8": TensorProto.UINT8, "int8": TensorProto.INT8, "bool": TensorProto.BOOL}


def f(*dims):
    return np.round(rng.standard_normal(dims), 3).astype(np.float32)


def i64(*v):
    return np.array(v, np.int64)


def u8(*dims):
    return rng.integers(0, 255, dims).astype(np.uint8)


def case(op, opset, inputs, outputs=1, **attrs):
    cases.append((op, opset, [None if x is None else np.asarray(x) for x in inputs], outputs, attrs))


def softmax():
    for op in ("Softmax", "LogSoftmax", "Hardmax"):
        for opset in (7, 11, 13):
            for axis in (None, 0, 1, -1):
                case(op, opset, [f(2, 3, 2)], **({} if axis is None else {"axis": axis}))


def bounds_and_pads():
    case("Clip", 7, [f(3, 4)], min=-0.5, max=0.5)
    case("Clip", 10, [f(3, 4)], min=-0.5)
    case("Clip", 11, [f(3, 4), np.float32(-0.3)])
    case("Clip", 12, [f(3, 4), None, np.float32(0.3)])
    case("Clip", 12, [np.arange(-5, 5), np.int64(3), np.int64(1)])
    for mode in ("constant", "reflect", "edge"):
        case("Pad", 7, [f(3, 4)], pads=[0, 1, 2, 0], mode=mode, value=1.5)
        case("Pad", 11, [f(3, 4), i64(1, 1, 1, 3)], mode=mode)
        case("Pad", 18, [f(3, 4), i64(2, 1, 1, 1), None, i64(-1, 0)], mode=mode)
    case("Pad", 13, [np.arange(12).reshape(3, 4), i64(0, -1, 1, 2), np.int64(7)])
    case("Pad", 19, [f(3, 4), i64(1, 2, 3, 2)], mode="wrap")


def moving():
    case("Slice", 7, [f(4, 5)], starts=[1, -3], ends=[100, -1])
    case("Slice", 9, [f(2, 3, 4)], starts=[1], ends=[3], axes=[2])
    case("Slice", 10, [f(4, 5), i64(3, 0), i64(0, 5), i64(0, 1), i64(-1, 2)])
    case("Slice", 13, [f(4, 5), i64(-1), i64(-1000), i64(1), i64(-2)])
    case("Split", 7, [f(6, 2)], 3, axis=0)
    case("Split", 11, [f(6, 2)], 2, split=[2, 4])
    case("Split", 13, [f(3, 4), i64(1, 3)], 2, axis=1)
    case("Split", 18, [f(7, 2)], 3, num_outputs=3)
    case("Squeeze", 7, [f(1, 3, 1, 2)], axes=[0])
    case("Squeeze", 11, [f(1, 3, 1, 2)])
    case("Unsqueeze", 7, [f(3, 4)], axes=[0, 3])
    case("Flatten", 7, [f(2, 3, 4)], axis=2)
    case("Tile", 7, [f(2, 3), i64(2, 2)])
    case("Expand", 8, [f(3, 1), i64(2, 1, 2)])
    case("EyeLike", 9, [f(3, 4)], k=-1)
    case("DepthToSpace", 7, [f(1, 8, 1, 2)], blocksize=2)
    case("DepthToSpace", 11, [f(1, 8, 1, 2)], blocksize=2, mode="CRD")
    case("SpaceToDepth", 7, [f(1, 2, 4, 2)], blocksize=2)
    case("Where", 9, [np.array([True, False]), f(3, 2), f(1, 1)])
    case("Gather", 7, [f(4, 5), i64(0, 3)], axis=1)
    case("Gather", 11, [f(4, 3), np.array([[0, -1], [2, 1]], np.int32)])
    case("GatherElements", 11, [f(3, 4), i64(0, 2, 1, -1).reshape(1, 4)])
    case("GatherND", 11, [f(3, 4, 2), i64(0, 1, 2, 3).reshape(2, 2)])
    case("GatherND", 12, [f(3, 4, 2), i64(0, 1, 2).reshape(3, 1)], batch_dims=1)
    case("Scatter", 9, [f(3, 4), i64(0, 2, 1, 1).reshape(1, 4), f(1, 4)], axis=0)
    case("ScatterND", 11, [f(3, 4), i64(0, 2).reshape(2, 1), f(2, 4)])
    for reduction in ("add", "mul", "max", "min"):
        opset = 16 if reduction in ("add", "mul") else 18
        case("ScatterElements", opset, [f(3, 4), i64(0, 0, 1).reshape(3, 1), f(3, 1)], axis=1, reduction=reduction)
        case("ScatterND", opset, [f(3, 2), i64(0, 0, 2).reshape(3, 1), f(3, 2)], reduction=reduction)
    case("OneHot", 9, [i64(0, 2, -1, 9), np.int64(4), np.array([0.5, 2], np.float32)], axis=0)
    case("ReverseSequence", 10, [f(4, 3, 2), i64(4, 2, 1)])
    case("ReverseSequence", 10, [f(3, 4, 2), i64(4, 2, 1)], batch_axis=0, time_axis=1)
    case("Trilu", 14, [f(2, 4, 5), np.int64(1)])
    case("Trilu", 14, [f(4, 5), np.int64(-2)], upper=0)
    case("Compress", 9, [f(3, 4), np.array([True, False, True])], axis=0)
    case("Compress", 11, [f(3, 4), np.array([True, False, True])])
    case("TopK", 7, [f(3, 6)], 2, k=3)
    case("TopK", 7, [f(3, 6)], 2, k=2, axis=0)
    case("TopK", 10, [f(3, 6), i64(4)], 2)
    case("TopK", 11, [np.array([[3, 1, 3, 1, 2]], np.int64), i64(5)], 2)
    case("TopK", 13, [np.array([[3, 1, 3, 1, 2]], np.int32), i64(3)], 2, largest=0)
    case("Unique", 11, [np.array([[1, 0, 0], [1, 0, 0], [2, 3, 4]], np.float32)], 4, axis=0, sorted=0)


def normalisation():
    for opset in (7, 9, 14):
        case("BatchNormalization", opset, [f(2, 3, 4), f(3), f(3), f(3), abs(f(3))], epsilon=1e-3)
    case("BatchNormalization", 9, [f(4, 3), f(3), f(3), f(3), abs(f(3))])
    case("InstanceNormalization", 7, [f(2, 3, 5), f(3), f(3)])
    case("GroupNormalization", 21, [f(2, 6, 3), f(6), f(6)], num_groups=3)
    case("LayerNormalization", 17, [f(2, 3, 4), f(3, 4)], axis=1)
    case("LpNormalization", 7, [f(2, 3)], p=1, axis=0)
    case("LRN", 7, [f(2, 7, 2, 2)], size=3, alpha=0.1, beta=0.5)
    case("MeanVarianceNormalization", 9, [f(2, 3, 2, 2)])


def poolings():
    for opset in (7, 8, 10, 11, 19):
        for op in ("MaxPool", "AveragePool", "LpPool"):
            for _ in range(5):
                rank = random.choice([1, 2, 2, 3])
                kernel = [random.randint(1, 3) for _ in range(rank)]
                attrs = {"kernel_shape": kernel, "strides": [random.randint(1, 3) for _ in range(rank)]}
                if random.random() < 0.2:
                    # Strides no longer than the kernel: beyond that ONNX Runtime's padding is negative.
                    attrs["strides"] = [random.randint(1, k) for k in kernel]
                    attrs["auto_pad"] = random.choice(["SAME_UPPER", "SAME_LOWER", "VALID"])
                else:
                    attrs["pads"] = [random.randint(0, k - 1) for k in kernel * 2]
                    if opset >= 10 and op == "MaxPool" or opset >= 19 and op == "AveragePool":
                        attrs["dilations"] = [random.randint(1, 2) for _ in range(rank)]
                if opset >= 10 and op != "LpPool":
                    attrs["ceil_mode"] = random.randint(0, 1)
                if op == "AveragePool":
                    attrs["count_include_pad"] = random.randint(0, 1)
                outputs = 1
                if op == "MaxPool" and opset >= 8:
                    outputs, attrs["storage_order"] = 2, random.randint(0, 1)
                case(op, opset, [f(1, 2, *[random.randint(5, 6) for _ in range(rank)])], outputs, **attrs)
    case("GlobalLpPool", 7, [f(2, 3, 4)], p=3)


def convolutions():
    for opset in (7, 11):
        for _ in range(12):
            rank, group = random.choice([1, 2, 2, 3]), random.choice([1, 1, 2, 3])
            kernel = [random.randint(1, 3) for _ in range(rank)]
            per_in, per_out = random.randint(1, 2), random.randint(1, 2)
            attrs = {"group": group, "strides": [random.randint(1, 3) for _ in range(rank)]}
            if random.random() < 0.3:
                attrs["auto_pad"] = random.choice(["SAME_UPPER", "SAME_LOWER", "VALID"])
            else:
                attrs["dilations"] = [random.randint(1, 2) for _ in range(rank)]
                attrs["pads"] = [random.randint(0, 2) for _ in range(2 * rank)]
            inputs = [f(1, group * per_in, *[random.randint(5, 6) for _ in range(rank)]), f(group * per_out, per_in, *kernel)]
            if random.random() < 0.5:
                inputs.append(f(group * per_out))
            case("Conv", opset, inputs, **attrs)
        for _ in range(12):
            rank, group = random.choice([1, 2, 2, 3]), random.choice([1, 1, 2])
            kernel = [random.randint(1, 4) for _ in range(rank)]
            strides = [random.randint(1, min(k, 3)) for k in kernel]
            space = [random.randint(3, 4) for _ in range(rank)]
            per_in, per_out = random.randint(1, 2), random.randint(1, 2)
            attrs = {"group": group, "strides": strides}
            choice = random.random()
            if choice < 0.3:
                attrs["auto_pad"] = random.choice(["SAME_UPPER", "SAME_LOWER", "VALID"])
            elif choice < 0.6:
                attrs["pads"] = [random.randint(0, 1) for _ in range(2 * rank)]
                attrs["dilations"] = [random.randint(1, 2) for _ in range(rank)]
                attrs["output_padding"] = [random.randint(0, s - 1) for s in strides]
            elif choice < 0.9:
                attrs["output_shape"] = [s * t for s, t in zip(space, strides)]
            inputs = [f(1, group * per_in, *space), f(group * per_in, per_out, *kernel)]
            if random.random() < 0.5:
                inputs.append(f(group * per_out))
            case("ConvTranspose", opset, inputs, **attrs)


def reductions():
    for op in "Sum Mean Prod Max Min SumSquare L1 L2 LogSum LogSumExp".split():
        x = abs(f(2, 3, 2)) + np.float32(0.1)
        case("Reduce" + op, 7, [x], keepdims=0)
        case("Reduce" + op, 11, [x], axes=[-1, 0])
        case("Reduce" + op, 18, [x, i64(1)], keepdims=0)
    for op in "Sum Prod Max Min Mean".split():
        case("Reduce" + op, 11, [np.arange(1, 13, dtype=np.int32).reshape(3, 4)], axes=[0])
    for opset in (7, 11, 13):
        case("ArgMax", opset, [f(3, 4)], axis=1)
        case("ArgMin", opset, [f(3, 4)], axis=0, keepdims=0)
    case("CumSum", 11, [f(2, 3, 2), np.int32(1)], exclusive=1, reverse=1)


def products():
    case("Gemm", 7, [f(3, 4), f(4, 5), f(5)])
    case("Gemm", 9, [f(4, 3), f(5, 4), f(3, 1)], transA=1, transB=1, alpha=0.5, beta=2.0)
    case("Gemm", 11, [f(3, 4), f(4, 5)])
    for a, b in (((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 2, 3), (3, 4)), ((1, 2, 3), (2, 3, 4)), ((2, 1, 2, 3), (2, 3, 2)),
                 ((2, 3), (2, 3, 4)), ((3,), (2, 3, 4))):
        case("MatMul", 9, [f(*a), f(*b)])
    for equation, shapes in (("ij,jk->ik", ((2, 3), (3, 4))), ("bij,bjk", ((2, 2, 3), (2, 3, 4))), ("ii->i", ((3, 3),)),
                             ("...ij,...jk->...ik", ((2, 2, 3), (3, 2))), ("bhid,bhjd->bhij", ((2, 2, 2, 3), (2, 2, 3, 3))),
                             ("i,j,k->ijk", ((2,), (3,), (2,))), ("ijk,jl,kl->il", ((2, 3, 4), (3, 2), (4, 2))),
                             ("nctw,cd->ndtw", ((1, 3, 2, 2), (3, 2))), ("ij,ij->", ((2, 3), (2, 3))), ("abc->ca", ((2, 3, 2),)),
                             ("bwk,bk->bw", ((2, 3, 2), (2, 2)))):
        case("Einsum", 12, [f(*s) for s in shapes], equation=equation)


def resizes():
    for scales in ([1, 1, 2, 3], [1, 1, 0.5, 0.7]):
        for mode in ("nearest", "linear"):
            if scales[2] > 1:
                case("Upsample", 9, [f(1, 1, 3, 4), np.array(scales, np.float32)], mode=mode)
            case("Resize", 10, [f(1, 1, 3, 4), np.array(scales, np.float32)], mode=mode)
    for mode in ("nearest", "linear", "cubic"):
        for coordinate in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize"):
            for scales in ([1, 1, 1.3, 2], [1, 1, 0.6, 0.5]):
                opset = random.choice([11, 13, 18])
                attrs = {"mode": mode, "coordinate_transformation_mode": coordinate}
                roi = np.array([0, 0, 0.1, 0.2, 1, 1, 0.8, 1.2], np.float32)
                if mode == "nearest":
                    attrs["nearest_mode"] = random.choice(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
                if mode == "cubic":
                    attrs["exclude_outside"] = random.randint(0, 1)
                case("Resize", opset, [f(1, 1, 4, 5), roi, np.array(scales, np.float32)], **attrs)
    for mode in ("linear", "cubic"):
        case("Resize", 18, [f(1, 1, 6, 7), None, np.array([1, 1, 0.4, 0.6], np.float32)], mode=mode, antialias=1)
    for policy in ("not_larger", "not_smaller"):
        case("Resize", 18, [f(1, 1, 6, 7), None, None, i64(4, 5)], mode="linear", axes=[2, 3], keep_aspect_ratio_policy=policy)


def arithmetic():
    for op in ("Add", "Sub", "Mul", "Div", "Pow"):
        case(op, 7, [abs(f(2, 3, 2)), abs(f(3, 1))])
    case("Div", 13, [np.array([7, -7, 7, -7], np.int32), np.array([2, 2, -2, -2], np.int32)])
    for fmod in (0, 1):
        case("Mod", 13, [np.array([7, -7, 7, -7], np.int64), np.array([3, 3, -3, -3], np.int64)], fmod=fmod)
    case("Mod", 13, [f(4), f(4)], fmod=1)
    case("Pow", 13, [np.array([2, -3, 4], np.int32), np.array([3, 3, 0], np.int32)])
    case("Pow", 13, [np.array([2, 3], np.int64), np.array([0.5, 2], np.float32)])
    case("Min", 12, [np.array([1, np.nan], np.float32), np.array([np.nan, 2], np.float32)])
    case("PRelu", 9, [f(2, 3, 2), f(3, 1)])
    case("IsInf", 10, [np.array([1, np.inf, -np.inf, np.nan], np.float32)], detect_negative=0)
    case("BitShift", 11, [np.array([16, 4, 1], np.uint8), np.array([1, 2, 3], np.uint8)], direction="RIGHT")
    case("BitwiseAnd", 18, [np.array([5, -3], np.int32), np.array([3, 6], np.int32)])
    for op in "Elu Selu HardSigmoid LeakyRelu Celu ThresholdedRelu Shrink HardSwish Mish Round Asinh Erf".split():
        case(op, 18, [f(2, 4) * 3])
    for source in (np.float32, np.float64, np.int32, np.uint8, np.bool_):
        for to in (TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT8, TensorProto.INT64, TensorProto.BOOL, TensorProto.UINT64):
            x = f(6) * 50
            case("Cast", 13, [(abs(x) if source is np.uint8 else x).astype(source)], to=to)


def quantised():
    case("QuantizeLinear", 10, [f(3, 4) * 100, np.float32(0.5), np.uint8(128)])
    case("QuantizeLinear", 13, [f(3, 4) * 100, abs(f(4)), np.zeros(4, np.int8)], axis=1)
    case("DequantizeLinear", 10, [u8(3, 4), np.float32(0.5), np.uint8(128)])
    case("DequantizeLinear", 13, [u8(3, 4).view(np.int8), abs(f(3)), np.array([1, 2, 3], np.int8)], axis=0)
    case("DynamicQuantizeLinear", 11, [f(5, 2)], 3)
    case("DynamicQuantizeLinear", 11, [np.zeros((2, 2), np.float32)], 3)
    case("MatMulInteger", 10, [u8(2, 2, 4), u8(4, 3).view(np.int8), np.uint8(3), np.array([1, 2, 3], np.int8)])
    case("QLinearMatMul", 10, [u8(3, 4), np.float32(0.1), np.uint8(120), u8(4, 2), np.float32(0.2), np.uint8(128), np.float32(3), np.uint8(100)])
    case("ConvInteger", 10, [u8(1, 2, 4, 4), u8(3, 2, 3, 3), np.uint8(3), np.uint8(5)], pads=[1, 1, 1, 1])
    case("QLinearConv", 10, [u8(1, 2, 4, 4), np.float32(0.02), np.uint8(120), u8(3, 2, 3, 3), np.array([0.1, 0.2, 0.3], np.float32),
                             np.full(3, 128, np.uint8), np.float32(0.9), np.uint8(100), np.array([10, 20, -5], np.int32)], pads=[1, 1, 0, 1])


def signals():
    case("STFT", 17, [f(1, 24, 1), np.int64(6), np.hanning(12).astype(np.float32)])
    case("DFT", 17, [f(1, 15, 2)], axis=1)
    case("DFT", 17, [f(1, 12, 2)], axis=1, inverse=1)
    case("MelWeightMatrix", 17, [np.int64(4), np.int64(16), np.int64(8000), np.float32(20), np.float32(4000)])


def grids():
    for mode in ("linear", "nearest", "cubic"):
        for padding in ("zeros", "border", "reflection"):
            grid = np.round(rng.random((1, 3, 3, 2)) * 3 - 1.5, 3).astype(np.float32)
            case("GridSample", 20, [f(1, 2, 4, 5), grid], mode=mode, padding_mode=padding, align_corners=random.randint(0, 1))


def write_models(folder):
    for k, (op, opset, inputs, outputs, attrs) in enumerate(cases):
        d = os.path.join(folder, f"{k:03d}_{op}_{opset}")
        os.makedirs(d)
        names = ["" if x is None else f"i{j}" for j, x in enumerate(inputs)]
        spec, declared = {}, []
        for name, x in zip(names, inputs):
            if x is None:
                continue
            declared.append(helper.make_tensor_value_info(name, TYPES[str(x.dtype)], x.shape))
            spec[name] = {"type": str(x.dtype), "dims": x.shape}
            x.tofile(os.path.join(d, name + ".bin"))
        outs = [f"o{j}" for j in range(outputs)]
        graph = helper.make_graph([helper.make_node(op, names, outs, **attrs)], "g", declared, [onnx.ValueInfoProto(name=o) for o in outs])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        onnx.save(model, os.path.join(d, "model.onnx"))
        with open(os.path.join(d, "spec.json"), "w") as out:
            json.dump(spec, out)


def tensor(x):
    def number(v):
        if x.dtype.kind != "f":
            return int(v)
        return float(f"{float(v):.9g}") if np.isfinite(v) else str(float(v))
    return {"type": str(x.dtype), "dims": list(x.shape), "data": [number(v) for v in x.ravel()]}


def write_lines(folder, path):
    with open(path, "w") as out:
        for k, (op, opset, inputs, outputs, attrs) in enumerate(cases):
            d = os.path.join(folder, f"{k:03d}_{op}_{opset}")
            if not os.path.exists(os.path.join(d, "out.json")):
                continue  # ONNX Runtime refused it
            with open(os.path.join(d, "out.json")) as results:
                shapes = json.load(results)
            results = [np.fromfile(os.path.join(d, f"out_{j}.bin"), s["type"]).reshape(s["dims"]) for j, s in enumerate(shapes)]
            line = {"name": os.path.basename(d), "op": op, "opset": opset, "attrs": attrs,
                    "inputs": [None if x is None else tensor(x) for x in inputs], "outputs": [tensor(x) for x in results]}
            out.write(json.dumps(line, separators=(",", ":")) + "\n")


for group in (softmax, bounds_and_pads, moving, normalisation, poolings, convolutions, reductions, products, resizes, arithmetic, quantised, signals,
              grids):
    group()
if len(sys.argv) == 2:
    write_models(sys.argv[1])
else:
    write_lines(sys.argv[1], sys.argv[2])
