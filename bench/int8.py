#!/usr/bin/env python3
"""Compact models beside what ONNX Runtime's dynamic quantiser makes of the same dense models, as a Markdown table.

    python3 bench/int8.py --ort-library libonnxruntime.so.1 --quantiser QUANTISER.py --out FOLDER SET…

A SET is a folder with dense*.onnx, train.npz and test.npz (labels under "label"). QUANTISER.py MODEL OUT writes the int8 model; it is not part of this project. For each set the dense model is
converted to a tenth of the int8 file (decompose --model-bytes with calibration, then finetune with labels and the dense model); files that are in FOLDER already are not made again. Then
`trconvert bench` loads and runs all of them in turns, on one thread, with batches of 1 and 16 sequences, in ONNX Runtime and in our own runtime; figures are medians: on the clock, and
of the time that the process had a processor, which other work on the machine blurs less. Each is the median of --rounds benchmarks again, so that one disturbed benchmark decides nothing. --check exits with 1 where, by the latter, the compact model
is slower, loads later or takes more memory than the int8 model in ONNX Runtime. Without --trconvert the program is built from this folder's module; that needs Go.
"""
import argparse, glob, json, os, statistics, subprocess, sys

import build

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--ort-library", required=True)
ap.add_argument("--quantiser", required=True)
ap.add_argument("--out", required=True)
ap.add_argument("--trconvert", default="")
ap.add_argument("--smaller", type=int, default=10, help="the compact file is the int8 file's size divided by this (default 10)")
ap.add_argument("--seed", default="1")
ap.add_argument("--rounds", type=int, default=3, help="benchmarks of each set and batch (default 3)")
ap.add_argument("--check", action="store_true")
ap.add_argument("sets", nargs="+", metavar="SET")
args = ap.parse_args()
os.makedirs(args.out, exist_ok=True)
program = build.program(args.trconvert, args.out)


def run(*command):
    r = subprocess.run(command, capture_output=True, text=True)
    if r.returncode:
        sys.exit(f"{' '.join(command)}: exit {r.returncode}\n{r.stderr}")
    return r.stdout


def models(folder):
    """The dense, the int8 and the compact model of a set."""
    name = os.path.basename(os.path.normpath(folder))
    dense = glob.glob(os.path.join(folder, "dense*.onnx"))[0]
    int8, start, compact = (os.path.join(args.out, f"{name}.{kind}.onnx") for kind in ("int8", "decomposed", "compact"))
    train = os.path.join(folder, "train.npz")
    if not os.path.exists(int8):
        run(sys.executable, args.quantiser, dense, int8)
    if not os.path.exists(start):
        run(program, "decompose", dense, "-o", start, "--model-bytes", str(os.path.getsize(int8) // args.smaller), "--calibration", train, "--quiet")
    if not os.path.exists(compact):
        run(program, "finetune", start, "-o", compact, "--data", train, "--labels", "label", "--teacher", dense, "--seed", args.seed, "--quiet")
    return name, [("dense", dense), ("int8", int8), ("compact", compact)]


def benchmark(files, batch):
    """Batch, steps, and the figures of each file on each engine: medians of the rounds."""
    rounds = [json.loads(run(program, "bench", *files, "--ort-library", args.ort_library, "--threads", "1", "--batch", str(batch), "--json")) for _ in range(args.rounds)]
    rows = {}
    for results in zip(*(r["results"] for r in rounds)):
        row = dict(results[0])
        if not any(r["error"] for r in results):
            for key in ("median_ms", "cpu_ms", "load_ms", "load_cpu_ms"):
                row[key] = statistics.median(r[key] for r in results)
            row["memory"] = {"used_bytes": statistics.median(r["memory"]["used_bytes"] for r in results)}
        rows[row["file"], row["engine"]] = row
    return rounds[0]["batch"], rounds[0]["steps"], rows


def figures(row):
    if row["error"]:
        return "– | – | – | – | –"
    return f"{row['median_ms']:.3f} | {row['cpu_ms']:.3f} | {row['load_ms']:.2f} | {row['load_cpu_ms']:.2f} | {row['memory']['used_bytes'] / 1e6:.1f}"


missed = []
head = "run, ms | processor | load, ms | processor | memory, MB"
print(f"| set, batch × steps | model | file, bytes | {head} | here: {head} |")
print("|---" * 13 + "|")
for folder in args.sets:
    name, files = models(folder)
    for batch in (1, 16):
        sequences, steps, rows = benchmark([path for _, path in files], batch)
        for k, (kind, path) in enumerate(files):
            where = f"{name}, {sequences} × {steps}" if k == 0 else ""
            ort, own = rows[path, "onnxruntime"], rows[path, "go"]
            print(f"| {where} | {kind} | {ort['bytes']:,} | {figures(ort)} | {figures(own)} |", flush=True)
        rival, ours = rows[files[1][1], "onnxruntime"], rows[files[2][1], "onnxruntime"]
        for what, a, b in [("run", ours["cpu_ms"], rival["cpu_ms"]), ("load", ours["load_cpu_ms"], rival["load_cpu_ms"]), ("memory", ours["memory"]["used_bytes"], rival["memory"]["used_bytes"])]:
            if a > b:
                missed.append(f"{name}, batch {batch}: {what} {a:.4g}, int8 {b:.4g}")
for line in missed:
    print(line, file=sys.stderr)
sys.exit(1 if missed and args.check else 0)
