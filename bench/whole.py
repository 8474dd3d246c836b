#!/usr/bin/env python3
"""Whole files: bytes and output error of the dense model, of its dynamic int8, and of ours, as Markdown tables.

    python3 bench/whole.py --models VISIBLE --data DATA --int8 int8.py --ort libonnxruntime.so [--trconvert PATH] [--keep FOLDER] [--only NAME,…] [--epochs N] [--rate X]

VISIBLE holds a folder for each model, DATA the folders speech and text with NAME-calibration.npz and NAME-heldback.npz; int8.py MODEL OUT is ONNX Runtime's dynamic
quantiser. For two models there is no data: key points that wander and characters of a random language are drawn. Budgets are parts of the int8 file's bytes. Errors are
‖y−ŷ‖/‖y‖ on held-back data, in ONNX Runtime and in our runtime; int8 runs in the former alone. Distilled files were trained against the dense model on the calibration data.
Stacked is the int8 of a file of ours whose W alone is factored, with --merge-output:
the quantiser takes layers whose W and R are stored whole. Without --trconvert the program is built from this folder's module; that needs Go. NumPy is needed.
"""
import argparse, json, os, subprocess, sys, tempfile

import numpy as np

import build, drawn

SPEECH = {"dtln_model_1": ("dtln_model_1", ["--state", "tf_op_layer_stack_2=input_3"]), "keras2onnx_test_model_1": ("blocks512", []), "silero_vad_v6": ("silero", ["--state", "stateN=state"])}
MODELS = [*SPEECH, "byte_sb_bidi_lstm", "libtashkeel_gru", "msl150_gru_128_h5"]
ROWS = [("float32", 2, False), ("any", 2, True), ("any", 4, True)]  # storage, int8 bytes over the budget, with distillation
OPSET = "13"  # of models that are older than the operators of int8

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
for name in ("models", "data", "int8", "ort"):
    ap.add_argument("--" + name, required=True)
ap.add_argument("--trconvert", default="")
ap.add_argument("--keep", default="")
ap.add_argument("--only", default=",".join(MODELS))
ap.add_argument("--epochs", default="60")
ap.add_argument("--rate", default="3e-4")
args = ap.parse_args()


def sh(*command):
    r = subprocess.run(command, capture_output=True, text=True)
    return r.returncode, r.stdout, r.stderr.strip()


def data(name, folder):
    """Calibration data, held-back data and flags."""
    if name in SPEECH:
        stem, flags = SPEECH[name]
        return [f"{args.data}/speech/{stem}-{part}.npz" for part in ("calibration", "heldback")] + [flags]
    if name == "byte_sb_bidi_lstm":
        return [f"{args.data}/text/byte_sb-{part}.npz" for part in ("calibration", "heldback")] + [[]]
    draw, paths = (drawn.characters if name.startswith("lib") else drawn.key_points), []
    for seed, part, n in ((1, "calibration", 400), (2, "heldback", 100)):
        paths.append(f"{folder}/{name}-{part}.npz")
        np.savez(paths[-1], **draw(np.random.default_rng(seed), n))
    return paths + [[]]


class Model:
    def __init__(self, name, folder, program):
        self.name, self.program, self.stem = name, program, f"{folder}/{name}"
        self.dense = f"{args.models}/{name}/model.onnx"
        self.calibration, self.held, self.flags = data(name, folder)

    def errors(self, path, engines=("onnxruntime", "go")):
        """Errors by engine, of the output of floating point that errs most."""
        found = []
        for engine in engines:
            extra = ["--ort-library", args.ort] if engine == "onnxruntime" else []
            code, out, err = sh(self.program, "verify", self.dense, path, "--data", self.held, *self.flags, "--engine", engine, *extra, "--max-error", "1e30", "--json")
            if code:
                sys.exit(f"{path}: {engine}: {err}")
            outputs = [o["relative"] for o in json.loads(out)["outputs"] if self.name != "libtashkeel_gru" or o["name"] != "output"]  # which is the argmax of the other
            found.append(max(outputs))
        return found

    def quantise(self, source, path):
        if self.name == "byte_sb_bidi_lstm":
            old, source = source, path.replace(".onnx", ".opset.onnx")
            sh(self.program, "export", old, "--target", "onnx", "--opset", OPSET, "-o", source, "--force")
        code, _, err = sh(sys.executable, args.int8, source, path)
        if code:
            sys.exit(f"{source}: int8: {err}")

    def decompose(self, path, budget, *flags):
        """Writes a file of at most budget bytes, or of the smallest size that the refusal names."""
        for _ in range(2):
            code, out, err = sh(self.program, "decompose", self.dense, "-o", path, "--force", "--quiet", "--model-bytes", str(budget), "--calibration", self.calibration, *self.flags, *flags, "--json")
            if code == 0:
                return ""
            if code != 4 or "best that can be reached is " not in err:
                sys.exit(f"{self.name}: {err}")
            refused, budget = budget, int(err.split("best that can be reached is ")[1].split()[0])
        return f" ({refused:,} refused)"

    def distil(self, source, path):
        code, _, err = sh(self.program, "finetune", source, "-o", path, "--force", "--quiet", "--data", self.calibration, "--teacher", self.dense, *self.flags,
                            "--epochs", args.epochs, "--lr", args.rate, "--json")
        if code:
            sys.exit(f"{source}: {err}")


def row(m, what, path, engines=("onnxruntime", "go")):
    errors = m.errors(path, engines)
    cells = [f"{e:.2g}" for e in errors] + ["–"] * (2 - len(engines))
    print(f"| {m.name} | {what} | {os.path.getsize(path):,} | " + " | ".join(cells) + " |", flush=True)
    return errors[0]


def compare(m):
    """Prints the rows of a model and tells how many times smaller than int8 the smallest file is that errs no more."""
    print(f"| {m.name} | dense | {os.path.getsize(m.dense):,} | 0 | 0 |")
    int8 = m.stem + ".int8.onnx"
    m.quantise(m.dense, int8)
    bytes8 = os.path.getsize(int8)
    bar = row(m, "int8", int8, ("onnxruntime",))
    best = None
    for storage, part, distilled in ROWS:
        path = f"{m.stem}.{storage}{part}.onnx"
        flags = [] if storage == "any" else ["--weights", storage]
        note = m.decompose(path, bytes8 // part, *flags)
        what = f"ours, {storage} storage, int8 / {part}{note}"
        files = [(row(m, what, path), path)]
        if distilled:
            tuned = path.replace(".onnx", ".ft.onnx")
            m.distil(path, tuned)
            files.append((row(m, what + ", distilled", tuned), tuned))
        for e, path in files:
            if e <= bar and (best is None or os.path.getsize(path) < best):
                best = os.path.getsize(path)
    merged, stacked = m.stem + ".merged.onnx", m.stem + ".stacked.onnx"
    code, _, err = sh(program, "decompose", m.dense, "-o", merged, "--force", "--quiet", "--ratio", "4", "--merge-output", "--calibration", m.calibration, *m.flags)
    if code:
        sys.exit(f"{m.name}: {err}")
    row(m, "ours, W alone, 4×, merged", merged)
    m.quantise(merged, stacked)
    row(m, "stacked: int8 of that", stacked, ("onnxruntime",))
    return f"{m.name}: " + (f"{bytes8 / best:.1f} × smaller than int8 at no greater error" if best else f"no smaller file of ours errs as little as int8 ({bar:.2g})")


with tempfile.TemporaryDirectory() as folder:
    program = build.program(args.trconvert, folder)
    keep = args.keep or folder
    os.makedirs(keep, exist_ok=True)
    print("| model | file | bytes | error in ONNX Runtime | in our runtime |\n|---|---|---|---|---|")
    summary = [compare(Model(name, keep, program)) for name in args.only.split(",")]
    print("\n" + "\n".join(summary))
