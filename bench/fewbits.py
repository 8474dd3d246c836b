#!/usr/bin/env python3
"""What numbers of other widths than those that trconvert stores would give, on three models of which half the bytes of int8 err more than int8. As Markdown tables.

    python3 bench/fewbits.py --models VISIBLE --data DATA

VISIBLE and DATA are as for whole.py. Nothing is written: matrices are rounded in memory, and the models are computed in NumPy.

dtln_model_1: W, R and the dense layer as integers of b bits, groups of numbers of a row sharing a float16 scale; "nearest" rounds each number, "feedback" rounds column by column and
adds each column's error to those to come, as the second moments of the inputs on calibration data say (Frantar, Ashkboos, Hoefler, Alistarh: OPTQ, ICLR 2023). Errors are those of the output on
held-back streams, which run free for 400 steps. keras2onnx_test_model_1: its kernels as 16-bit integers with a scale for each row. silero_vad_v6: the best of a lossless compressor.
NumPy and onnx are needed.
"""
import argparse, lzma, os

import numpy as np
import onnx
from onnx import numpy_helper

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--models", required=True)
ap.add_argument("--data", required=True)
args = ap.parse_args()

NODES = 300  # bytes of the nodes that would widen one matrix


def model(name):
    path = f"{args.models}/{name}/model.onnx"
    return os.path.getsize(path), onnx.load(path).graph


def weights(graph):
    return {t.name: numpy_helper.to_array(t).astype(np.float64) for t in graph.initializer if t.data_type == 1}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def cell(x, h, c, w, r, b):
    i, o, f, g = np.split(x @ w.T + h @ r.T + b, 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def nearest(v, scale, bits):
    return np.clip(np.rint(v / scale), -2 ** (bits - 1), 2 ** (bits - 1) - 1) * scale


def scales(v, bits):
    """A float16 scale for each row, of either sign, of least squared error."""
    top = np.maximum(abs(v).max(1, keepdims=True), 1e-12) / 2 ** (bits - 1)
    best = None
    for k in np.linspace(0.5, 1.1, 13):
        for s in (k * top, -k * top):
            s = s.astype(np.float16).astype(np.float64)
            e = ((nearest(v, s, bits) - v) ** 2).sum(1, keepdims=True)
            best, least = (s, e) if best is None else (np.where(e < least, s, best), np.minimum(e, least))
    return best


def rounded(w, bits, group, moment=None):
    """w with the numbers that integers stand for; moment is that of the inputs, for feedback."""
    w, out, inverse = w.copy(), np.empty_like(w), None
    if moment is not None:
        damped = moment + 0.01 * np.diag(moment).mean() * np.eye(len(moment))
        inverse = np.linalg.cholesky(np.linalg.inv(damped)).T
    for k in range(w.shape[1]):
        if k % group == 0:
            s = scales(w[:, k:k + group], bits)
        out[:, k] = nearest(w[:, k], s[:, 0], bits)
        if inverse is not None:
            w[:, k:] -= np.outer((w[:, k] - out[:, k]) / inverse[k, k], inverse[k, k:])
    return out


def dtln():
    size, graph = model("dtln_model_1")
    p = weights(graph)
    t = {"W1": p["lstm_4_W"][0], "R1": p["lstm_4_R"][0], "W2": p["lstm_5_W"][0], "R2": p["lstm_5_R"][0], "D": p["dense_2/kernel:0"].T}
    b1, b2 = (p[n][0, :512] + p[n][0, 512:] for n in ("lstm_4_B", "lstm_5_B"))

    def run(t, x, moments=None):
        h1, c1, h2, c2 = np.zeros((4, len(x), 128))
        out = np.empty(x.shape)
        for k in range(x.shape[1]):
            seen = {"W1": x[:, k], "R1": h1, "R2": h2}
            h1, c1 = cell(x[:, k], h1, c1, t["W1"], t["R1"], b1)
            h2, c2 = cell(h1, h2, c2, t["W2"], t["R2"], b2)
            out[:, k] = sigmoid(h2 @ t["D"].T + p["dense_2/bias:0"])
            if moments is not None:
                for name, v in {**seen, "W2": h1, "D": h2}.items():
                    moments[name] = moments.get(name, 0) + v.T @ v
        return out

    streams = [np.load(f"{args.data}/speech/dtln_model_1-{part}.npz")["input_2"].astype(np.float64) for part in ("calibration", "heldback")]
    calibration, held = (x.reshape(x.shape[0], x.shape[1], 257) for x in streams)
    moments = {}
    run(t, calibration, moments)
    want = run(t, held)
    print("| bits | bytes | nearest | feedback |\n|---|---|---|---|")
    whole = {"6": 6, "5": 5, "4": 4, "4; W of the first layer and the dense layer 3": {"W1": 3, "D": 3}, "3": 3}
    for text, bits in whole.items():
        total, errors = size, []
        for feedback in (False, True):
            q = {}
            for name, w in t.items():
                b, group = bits.get(name, 4) if isinstance(bits, dict) else bits, 65 if name == "W1" else 64
                q[name] = rounded(w, b, group, moments[name] if feedback else None)
                if feedback:
                    total += NODES + w.size * b // 8 + 2 * len(w) * -(-w.shape[1] // group) - 4 * w.size
            errors.append(np.linalg.norm(run(q, held) - want) / np.linalg.norm(want))
        print(f"| {text} | {total:,} | {errors[0]:.2g} | {errors[1]:.2g} |", flush=True)


def keras():
    size, graph = model("keras2onnx_test_model_1")
    p = weights(graph)
    x = np.load(f"{args.data}/speech/blocks512-heldback.npz")["input_1"].reshape(-1, 512).astype(np.float64)

    def run(p):
        h = a = x @ p["conv1d/kernel:0"][:, :, 0].T
        for n in ("lstm", "lstm_1"):  # one step from zeros: R multiplies nothing
            h, _ = cell(h, np.zeros((len(x), 128)), np.zeros((len(x), 128)), p[n + "_W"][0], p[n + "_R"][0], p[n + "_B"][0, :512] + p[n + "_B"][0, 512:])
        return (a * sigmoid(h @ p["dense/kernel:0"] + p["dense/bias:0"])) @ p["conv1d_1/kernel:0"][:, :, 0].T

    want, q, total = run(p), dict(p), size
    for name, w in p.items():
        if w.size < 2000:
            continue
        axis = {"conv1d/kernel:0": 1, "conv1d_1/kernel:0": 1, "dense/kernel:0": 0}.get(name, w.ndim - 1)
        levels = 2 ** 15 - 1 if "conv" in name else 2 ** 7 - 1
        s = abs(w).max(axis, keepdims=True) / levels
        q[name] = np.rint(w / s) * s
        if name.endswith("_R"):
            q[name], numbers, s = 0 * w, 0, np.zeros(0)
        else:
            numbers = w.size * (2 if "conv" in name else 1)
        total += NODES + numbers + 4 * s.size - 4 * w.size
    print(f"\nkeras2onnx_test_model_1: kernels of 16 bits, W and the dense layer of 8, R left out: {total:,} bytes, error {np.linalg.norm(run(q) - want) / np.linalg.norm(want):.2g}")


def silero():
    _, graph = model("silero_vad_v6")
    tensors = [a.t for n in graph.node for branch in n.attribute for inner in branch.g.node for a in inner.attribute if a.HasField("t")]
    raw = b"".join(numpy_helper.to_array(t).tobytes() for t in tensors if t.data_type == 1)
    planes = np.frombuffer(raw, np.uint8).reshape(-1, 4).T.tobytes()  # equal bytes of numbers side by side compress better
    print(f"\nsilero_vad_v6: {len(raw):,} bytes of float32 numbers; xz leaves {len(lzma.compress(planes)):,} of them")


dtln()
keras()
silero()
