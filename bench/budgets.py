#!/usr/bin/env python3
"""Budgets of the whole file: what was asked, what was written or refused, and whether two engines agree on it, as a Markdown table.

    python3 bench/budgets.py --models VISIBLE --data DATA --ort libonnxruntime.so [--trconvert PATH] [--keep FOLDER] [--only NAME,…]

VISIBLE holds a folder with model.onnx for each model, DATA the folders speech, text, fsdd, holistic and moving. For two models there is no data and some is drawn, as in
whole.py. The metric of --max-drop is that of the labels where there are any; else the outputs of the dense model are the labels: its classes (accuracy, 100 % at first)
or its numbers (relative error, 0 at first).

Every file that is written is measured on disk, its drop is measured anew by eval, it is compared with the dense model in ONNX Runtime, and the outputs of ONNX Runtime and of
this program's runtime on it are compared with each other on the same data. Every refusal must have the exit code 4, name the best that can be reached and write nothing; the size that a
refusal names is then asked for and must be met. Contradictions must have the exit code 2. The exit code is 1 where anything of this does not hold. NumPy is needed, and without --trconvert Go.
"""
import argparse, json, os, re, subprocess, sys, tempfile

import numpy as np

import build, drawn

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
for name in ("models", "data", "ort"):
    ap.add_argument("--" + name, required=True)
ap.add_argument("--trconvert", default="")
ap.add_argument("--keep", default="")
ap.add_argument("--only", default="")
args = ap.parse_args()

AGREE = 1e-4  # most that the outputs of two engines may differ
BEST = re.compile(r"the best that can be reached is (\d+)")
BEST_DROP = re.compile(r"a drop of (\S+), from")


class Model:
    """A model with data to calibrate on, and labelled data."""

    def __init__(self, name, dense, calibration, labelled, flags=(), label=(), drop=0.02):
        self.name, self.dense, self.calibration, self.labelled = name, dense, calibration, labelled
        self.flags, self.label, self.drop = list(flags), ["--labels", "label", *label], drop
        self.bytes = os.path.getsize(dense)


def sh(*command):
    r = subprocess.run([program, *command], capture_output=True, text=True)
    return r.returncode, r.stdout, r.stderr.strip()


def run(model, feeds, folder):
    """Outputs of a model in this program's runtime."""
    command = ["run", model, "-o", f"{folder}/out.npz", "--force", "--quiet"]
    for name, value in feeds.items():
        np.save(f"{folder}/in-{name}.npy", value)
        command += ["--input", f"{name}={folder}/in-{name}.npy"]
    code, _, err = sh(*command)
    if code:
        sys.exit(f"{model}: {err}")
    with np.load(f"{folder}/out.npz") as z:
        return {k: z[k] for k in z}


def stream(model, array, name, state, folder, constants={}):
    """Outputs of a stream, [streams, steps, …], its state (OUT, IN, zeros) running free."""
    out, into, zeros = state
    steps = []
    for x in array:
        s, ys = zeros, []
        for step in x:
            y = run(model, {name: step, into: s, **constants}, folder)
            s = y.pop(out)
            ys += y.values()
        steps.append(ys)
    return np.array(steps, np.float32)


def labelled(name, folder):
    path = f"{folder}/{name}-labelled.npz"
    return path, not os.path.exists(path)


def models(folder):
    visible = lambda name: f"{args.models}/{name}/model.onnx"
    wanted = lambda name: not args.only or name in args.only.split(",")

    name = "dtln_model_1"
    if wanted(name):
        stem = f"{args.data}/speech/{name}-"
        path, make = labelled(name, folder)
        if make:
            x = np.load(stem + "heldback.npz")["input_2"][:2, :40].astype(np.float32)
            np.savez(path, input_2=x, label=stream(visible(name), x, "input_2", ("tf_op_layer_stack_2", "input_3", np.zeros((1, 2, 128, 2), np.float32)), folder))
        yield Model(name, visible(name), stem + "calibration.npz", path, ["--state", "tf_op_layer_stack_2=input_3"], ["--loss", "mse"], 0.2)

    name = "keras2onnx_test_model_1"
    if wanted(name):
        stem = f"{args.data}/speech/blocks512-"
        path, make = labelled(name, folder)
        if make:
            x = np.load(stem + "heldback.npz")["input_1"][:60].astype(np.float32)
            np.savez(path, input_1=x, label=np.array([run(visible(name), {"input_1": v}, folder)["conv1d_1"] for v in x]))
        yield Model(name, visible(name), stem + "calibration.npz", path, label=["--loss", "mse"], drop=0.01)

    name = "byte_sb_bidi_lstm"
    if wanted(name):
        stem = f"{args.data}/text/byte_sb-"
        path, make = labelled(name, folder)
        if make:
            x = np.load(stem + "heldback.npz")["input"]
            np.savez(path, input=x, label=run(visible(name), {"input": x}, folder)["output"].argmax(-1))
        yield Model(name, visible(name), stem + "calibration.npz", path, drop=0.005)

    name = "silero_vad_v6"
    if wanted(name):
        stem = f"{args.data}/speech/silero-"
        path, make = labelled(name, folder)
        if make:
            with np.load(stem + "heldback.npz") as z:
                x, rate = z["input"][:3, :40].astype(np.float32), z["sr"]
            y = stream(visible(name), x, "input", ("stateN", "state", np.zeros((2, 1, 128), np.float32)), folder, {"sr": rate})
            np.savez(path, input=x, sr=rate, label=y)
        yield Model(name, visible(name), stem + "calibration.npz", path, ["--state", "stateN=state"], ["--loss", "mse"], 0.1)

    name = "libtashkeel_gru"
    if wanted(name):
        path, make = labelled(name, folder)
        if make:
            feeds = drawn.characters(np.random.default_rng(2), 60)
            y = run(visible(name), {k: v.reshape(len(v), -1) if v.ndim > 2 else v.reshape(-1) for k, v in feeds.items()}, folder)
            np.savez(path, **feeds, label=y["onnx::ArgMax_2259"].argmax(-1)[:, None])
            np.savez(f"{folder}/{name}-calibration.npz", **drawn.characters(np.random.default_rng(1), 200))
        yield Model(name, visible(name), f"{folder}/{name}-calibration.npz", path, label=["--output", "onnx::ArgMax_2259"])

    name = "msl150_gru_128_h5"
    if wanted(name):
        path, make = labelled(name, folder)
        if make:
            feeds = drawn.key_points(np.random.default_rng(2), 200)
            np.savez(path, **feeds, label=run(visible(name), feeds, folder)["y"].argmax(-1))
            np.savez(f"{folder}/{name}-calibration.npz", **drawn.key_points(np.random.default_rng(1), 400))
        yield Model(name, visible(name), f"{folder}/{name}-calibration.npz", path)

    for name, dense in (("holistic", "dense_lstm64"), ("fsdd", "dense_lstm128"), ("moving", "dense_lstm64")):
        if wanted(name):
            yield Model(name, f"{args.data}/{name}/{dense}.onnx", f"{args.data}/{name}/train.npz", f"{args.data}/{name}/test.npz")


def verify(m, a, b, *flags):
    """The largest relative difference of an output."""
    code, out, err = sh("verify", a, b, "--data", m.inputs, *m.flags, "--ort-library", args.ort, "--max-error", "1e30", "--json", *flags)
    if code:
        sys.exit(f"{b}: {err}")
    return max(o["relative"] for o in json.loads(out)["outputs"])


def metric(m, path):
    code, out, err = sh("eval", path, "--data", m.labelled, *m.flags, *m.label, "--json")
    if code:
        sys.exit(f"{path}: {err}")
    e = json.loads(out)
    return e["metric"], -1 if e["metric_name"] == "accuracy" else 1


failed = []


def judge(m, what, ok, why):
    if not ok:
        failed.append(f"{m.name} {what}: {why}")
    return "" if ok else " **no**"


def row(m, folder, asked, calibrated=False, most=None, drop=None):
    """Asks for a budget, prints what came of it, and gives back the best size that a refusal names."""
    path = f"{folder}/{m.name}{''.join(asked)}.onnx".replace("--", "-")
    if os.path.exists(path):
        os.remove(path)
    flags = ["--calibration", m.calibration] if calibrated else []
    if drop is not None:
        flags += ["--val", m.labelled, *m.label]
    flags += m.flags if flags else []
    code, out, err = sh("decompose", m.dense, "-o", path, "--json", "--quiet", *asked, *flags)
    what = " ".join(asked) + (", calibrated" if calibrated else "")
    cells = ["–"] * 5
    best = None
    if code == 0:
        size = os.path.getsize(path)
        ok = judge(m, what, most is None or size <= most, f"{size} bytes") + judge(m, what, json.loads(out)["output"]["bytes"] == size, "the report has another size")
        cells[0], cells[1] = "" if most is None else f"{most:,}", f"{size:,}{ok}"
        if drop is not None:
            (before, sign), (after, _) = metric(m, m.dense), metric(m, path)
            cells[0] = f"{before:.4g} {'−+'[sign > 0]} {drop:g}"
            cells[1] += f", {after:.4g}" + judge(m, what, sign * (after - before) <= drop + 1e-12, f"{before} became {after}")
        engines = verify(m, path, path, "--engine", "onnxruntime", "--other-engine", "go")
        cells[3] = f"{verify(m, m.dense, path, '--engine', 'onnxruntime'):.2g}"
        cells[4] = f"{engines:.1e}" + judge(m, what, engines <= AGREE, f"the engines differ by {engines}")
    else:
        found = BEST.search(err) or BEST_DROP.search(err)
        ok = judge(m, what, code == 4 and found and not os.path.exists(path), f"exit code {code}: {err}")
        cells[2] = f"{found[1] if found else '?'}{ok}"
        best = int(found[1]) if found and BEST.search(err) else None
    print(f"| {m.name} | {m.bytes:,} | {what} | " + " | ".join(cells) + f" | {code} |", flush=True)
    return best


def contradictions(m, folder):
    """Budgets that cannot be meant: usage errors, and no file."""
    path = f"{folder}/{m.name}-none.onnx"
    for asked in (["--model-ratio", "4", "--model-bytes", "50000"], ["--model-ratio", "1"], ["--model-ratio", "0.5"], ["--model-bytes", "0"], ["--model-bytes", "-5"], ["--max-drop", "0.1"],
                  ["--max-drop", "-0.1", "--val", m.labelled, "--labels", "label"], ["--model-bytes", "50000", "--ratio", "4"], ["--model-ratio", "nan"], ["--max-drop", "0.1", "--val", m.labelled],
                  ["--model-ratio", "4", "--form", "dense"], ["--model-ratio", "4", "--val", m.labelled, "--labels", "label"]):
        code, _, err = sh("decompose", m.dense, "-o", path, "--quiet", *asked)
        judge(m, " ".join(asked), code == 2 and err and not os.path.exists(path), f"exit code {code}: {err}")


def inputs_of(m, folder):
    """A part of the labelled data without labels, for comparing outputs."""
    path = f"{folder}/{m.name}-inputs.npz"
    with np.load(m.labelled) as z:
        np.savez(path, **{k: (z[k][:16] if z[k].ndim else z[k]) for k in z if k != "label"})
    return path


with tempfile.TemporaryDirectory() as folder:
    program = build.program(args.trconvert, folder)
    keep = args.keep or folder
    os.makedirs(keep, exist_ok=True)
    print("| model | bytes | asked | promised | written | refused, the best being | error, in ONNX Runtime | the two engines differ by | exit code |\n|" + "---|" * 9)
    for m in models(keep):
        m.inputs = inputs_of(m, keep)
        contradictions(m, keep)
        row(m, keep, ["--model-ratio", "3"], most=m.bytes // 3)
        row(m, keep, ["--model-bytes", str(m.bytes // 6)], calibrated=True, most=m.bytes // 6)
        row(m, keep, ["--model-ratio", "1000"], most=m.bytes // 1000)
        best = row(m, keep, ["--model-bytes", "1000"], most=1000)
        if best is None:
            judge(m, "--model-bytes 1000", False, "no best size")
        else:
            row(m, keep, ["--model-bytes", str(best)], most=best)
        row(m, keep, ["--max-drop", str(m.drop)], drop=m.drop)
        row(m, keep, ["--max-drop", "0"], drop=0)
print()
for f in failed:
    print("does not hold: " + f)
sys.exit(bool(failed))
