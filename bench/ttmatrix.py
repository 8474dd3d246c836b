#!/usr/bin/env python3
"""TT-matrices in ONNX Runtime beside the dense layer and a ring of equal size, as a Markdown table.

    python3 bench/ttmatrix.py --ort-library libonnxruntime.so.1 [--trconvert PATH]

For each size a random LSTM is written, converted with --format ttm in the forms bottleneck and cores and with --format tr to as many numbers, and measured
by `trconvert bench` with one thread: load and median run in ONNX Runtime, median run in our own runtime. Needs numpy and onnx. Without --trconvert the program is built from this folder's module; that needs Go.
"""
import argparse, json, os, subprocess, tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import build

SIZES = [  # inputs, units, input modes, output modes, rank, batch, steps
    (57600, 256, "8x20x20x18", "16x4x4x4", 4, 16, 6),
    (4096, 256, "16x16x16", "16x8x8", 8, 16, 32),
    (2048, 256, "16x16x8", "16x8x8", 8, 16, 32),
    (260, 128, "20x13", "32x16", 8, 4, 32),
]
ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--ort-library", required=True)
ap.add_argument("--trconvert", default="")
args = ap.parse_args()


def write(path, inputs, hidden):
    r = np.random.default_rng(0)
    w = (r.standard_normal((1, 4 * hidden, inputs)) / inputs**0.5).astype(np.float32)
    rec = (r.standard_normal((1, 4 * hidden, hidden)) / hidden**0.5).astype(np.float32)
    node = helper.make_node("LSTM", ["X", "W", "R"], ["Y"], name="lstm", hidden_size=hidden)
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["T", "B", inputs])],
                              [helper.make_tensor_value_info("Y", TensorProto.FLOAT, ["T", 1, "B", hidden])],
                              [numpy_helper.from_array(w, "W"), numpy_helper.from_array(rec, "R")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 7
    with open(path, "wb") as f:
        f.write(model.SerializeToString())


def run(*command):
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


with tempfile.TemporaryDirectory() as folder:
    program = build.program(args.trconvert, folder)
    print("| inputs → units, batch × steps | model | W, numbers | file, kB | load, ms | run, ms | run here, ms |")
    print("|---" * 7 + "|")
    for inputs, hidden, in_modes, out_modes, rank, batch, steps in SIZES:
        dense = os.path.join(folder, "dense.onnx")
        write(dense, inputs, hidden)
        names, files, numbers = ["dense"], [dense], [4 * hidden * inputs]
        modes = ["--in-modes", in_modes, "--out-modes", out_modes]
        for name, flags in [("ttm, bottleneck", ["--format", "ttm", "--rank", str(rank), "--form", "bottleneck", *modes]),
                            ("ttm, cores", ["--format", "ttm", "--rank", str(rank), "--form", "cores", *modes]),
                            ("ring, bottleneck", ["--format", "tr", "--max-params", "{}"])]:
            out = os.path.join(folder, name + ".onnx")
            report = run(program, "decompose", dense, "-o", out, "--force", "--json", *[f.format(numbers[-1]) for f in flags])
            names.append(name), files.append(out), numbers.append(report["w_parameters_after"])
        result = run(program, "bench", *files, "--batch", str(batch), "--steps", str(steps), "--threads", "1", "--ort-library", args.ort_library, "--json")
        ms = {(r["file"], r["engine"]): r for r in result["results"]}
        for name, file, n in zip(names, files, numbers):
            ort, go = ms[file, "onnxruntime"], ms[file, "go"]
            print(f"| {inputs} → {hidden}, {batch} × {steps} | {name} | {n:,} | {os.path.getsize(file) / 1e3:,.0f} | {ort['load_ms']:.0f} | {ort['median_ms']:.2f} | {go['median_ms']:.2f} |", flush=True)
