#!/usr/bin/env python3
"""Every form, storage type and target on real models, run by two engines that share no code, as a Markdown table.

    python3 bench/verify_all.py --models VISIBLE --data DATA --ort libonnxruntime.so [--trconvert PATH] [--only NAME,…] [FILE …]

Each model is decomposed at ratio 4 in every form and storage type and exported to opset 17; every file is run by `verify` in ONNX Runtime and in this
program's runtime on the same random inputs. Printed is the largest relative difference of an output, for each file; FILEs that are given are compared in the same way. The exit code is 1 where it is above 1e-4.
A file that is not written (an operator that the storage needs is missing in the opset, …) is named with the reason. Without --trconvert the program is built, which needs Go.
"""
import argparse, json, os, subprocess, sys, tempfile

import build

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
for name in ("models", "data", "ort"):
    ap.add_argument("--" + name, required=True)
ap.add_argument("--trconvert", default="")
ap.add_argument("--only", default="")
ap.add_argument("files", nargs="*", metavar="FILE")
args = ap.parse_args()

BOUND = 1e-4
REAL = ["dtln_model_1", "keras2onnx_test_model_1", "byte_sb_bidi_lstm", "silero_vad_v6", "libtashkeel_gru", "msl150_gru_128_h5"]
FILES = [
    ("bottleneck", []), ("bottleneck, float16", ["--weights", "float16"]), ("bottleneck, int8", ["--weights", "int8"]), ("merged output", ["--merge-output"]), ("merged output, int8", ["--merge-output", "--weights", "int8"]),
    ("cores", ["--form", "cores", "--format", "tr"]), ("cores, int8", ["--form", "cores", "--format", "tr", "--weights", "int8"]), ("dense form", ["--form", "dense"]), ("R too", ["--matrices", "r"]), ("all matrices, int8", ["--matrices", "all", "--weights", "int8"]),
]


def sh(*command):
    r = subprocess.run([program, *command], capture_output=True, text=True)
    return r.returncode, r.stdout, r.stderr.strip().removeprefix("trconvert: ")


worst = 0.0


def verify(path):
    """The largest relative difference of an output of a file between the engines, as text."""
    global worst
    code, out, err = sh("verify", path, path, "--engine", "onnxruntime", "--other-engine", "go", "--ort-library", args.ort, "--max-error", "1e30", "--json")
    if code:
        worst = max(worst, 1e30)
        return "**" + err.replace("|", "/") + "**"
    e = max(o["relative"] for o in json.loads(out)["outputs"])
    worst = max(worst, e)
    return f"{e:.1e}"


def models():
    for name in REAL:
        yield name, f"{args.models}/{name}/model.onnx"
    for name, file in (("holistic", "dense_lstm64"), ("fsdd", "dense_lstm128"), ("moving", "dense_lstm64")):
        yield name, f"{args.data}/{name}/{file}.onnx"


with tempfile.TemporaryDirectory() as folder:
    program = build.program(args.trconvert, folder)
    if args.files:
        print("| file | largest difference |\n|---|---|")
        for path in args.files:
            print(f"| {os.path.basename(path)} | {verify(path)} |", flush=True)
        sys.exit(worst > BOUND)
    print("| model | " + " | ".join(what for what, _ in FILES) + " | opset 17 |\n|" + "---|" * (len(FILES) + 2))
    reasons = []
    for name, dense in models():
        if args.only and name not in args.only.split(","):
            continue
        cells, path = [], f"{folder}/{name}.onnx"
        for what, flags in FILES:
            own = flags if "--format" in flags else flags + ["--format", "svd"]
            code, _, err = sh("decompose", dense, "-o", path, "--force", "--quiet", "--ratio", "4", "--sweeps", "3", *own)
            if code:
                reasons.append(f"{name}, {what}: {err}")
            cells.append("–" if code else verify(path))
        code, _, err = sh("decompose", dense, "-o", path, "--force", "--quiet", "--ratio", "4", "--format", "svd")
        moved = path.replace(".onnx", ".17.onnx")
        code, _, err = sh("export", path, "--target", "onnx", "--opset", "17", "-o", moved, "--force", "--quiet")
        if code:
            reasons.append(f"{name}, opset 17: {err}")
        cells.append("–" if code else verify(moved))
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    print("\n" + "\n".join(reasons))
sys.exit(worst > BOUND)
