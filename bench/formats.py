#!/usr/bin/env python3
"""Format auto beside ring, train and truncated SVD at one ratio, as a Markdown table.

    python3 bench/formats.py [--ratio X] [--trconvert PATH] MODEL [NAME=MODEL …]

Each model is decomposed four times into a temporary file. Printed are the root mean square of the relative errors of its weights W (a W that stays
dense counts as 0, a W that layers share once), what auto chose, and the processor time of the four runs. The exit code is 1 if any format alone
errs less than auto. Without --trconvert the program is built from this folder's module; that needs Go.
"""
import argparse, collections, json, os, resource, subprocess, sys, tempfile

import build

FORMATS = ["auto", "tr", "tt", "svd"]
ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--ratio", default="4")
ap.add_argument("--trconvert", default="")
ap.add_argument("models", nargs="+", metavar="MODEL")
args = ap.parse_args()


def cpu():
    r = resource.getrusage(resource.RUSAGE_CHILDREN)
    return r.ru_utime + r.ru_stime


def decompose(program, model, out, form):
    start = cpu()
    run = subprocess.run([program, "decompose", model, "-o", out, "--force", "--ratio", args.ratio, "--format", form, "--json"], capture_output=True, text=True)
    seconds = cpu() - start
    if run.returncode:
        return None, run.stderr.strip(), seconds
    sites = [s for s in json.loads(run.stdout)["sites"] if not s["shared_with"]]
    squares = [0 if s["kept_dense"] else s["relative_error"] ** 2 for s in sites]
    chosen = collections.Counter(s["format"] for s in sites)
    return (sum(squares) / len(squares)) ** 0.5, ", ".join(f"{n} {f}" if n > 1 else f for f, n in chosen.items()), seconds


with tempfile.TemporaryDirectory() as folder:
    program = build.program(args.trconvert, folder)
    print("| model | auto chose | " + " | ".join(FORMATS) + " | seconds: " + ", ".join(FORMATS) + " |")
    print("|---" * 7 + "|")
    worse = False
    for spec in args.models:
        name, _, model = spec.rpartition("=")
        results = [decompose(program, model, os.path.join(folder, "out.onnx"), f) for f in FORMATS]
        errors = [r[0] for r in results]
        alone = [e for e in errors[1:] if e is not None]
        if alone and (errors[0] is None or errors[0] > min(alone) * (1 + 1e-6)):
            worse = True
        cells = ["–" if e is None else f"{e:.4f}" for e in errors]
        print(f"| {name or os.path.basename(model)} | {results[0][1]} | " + " | ".join(cells) + " | " + ", ".join(f"{r[2]:.1f}" for r in results) + " |", flush=True)
sys.exit(worse)
