#!/usr/bin/env python3
"""Writes gradients.json: recurrent layers and their gradients by PyTorch's autograd, in float64.

    python3 generate.py     (PyTorch 1.13, Debian's python3-torch)

Each case holds tensors in the layout of ONNX, the gradient c of Y, PyTorch's Y for them, and its gradients of all tensors: of the loss sum(c * Y). PyTorch's gates
are i f g o and r z n; ONNX's are i o f c and z r h. In the cases tt and tr the weight W of an LSTM is the ring
W[o, i] = trace(R0[:, i_1, :] ... Rn[:, i_n, :] L0[:, o_1, :] ... Lm[:, o_m, :]) with the gates, in the order of ONNX, in the leading part of o.
"""
import json, os
import torch

torch.manual_seed(1)
torch.set_default_dtype(torch.float64)
STEPS, BATCH, HIDDEN = 4, 3, 4
GATES = {"LSTM": [0, 2, 3, 1], "GRU": [1, 0, 2], "RNN": [0]}  # where PyTorch's gates stand in ONNX's weights


def rounded(*dims):
    """Random numbers short enough to be written down."""
    return ((torch.randn(*dims) * 0.5) * 256).round() / 256


def to_torch(op, w):
    """The gates of the rows of w in PyTorch's order."""
    blocks = w.reshape(len(GATES[op]), HIDDEN, *w.shape[1:])
    return blocks[GATES[op]].reshape(w.shape)


def layer(op, x, w, r, b):
    """Y [T, D, B, H] of ONNX weights w [D, GH, I], r [D, GH, H], b [D, 2GH]."""
    weights, directions = [], w.shape[0]
    for d in range(directions):
        n = w.shape[1]
        weights += [to_torch(op, w[d]), to_torch(op, r[d]), to_torch(op, b[d, :n]), to_torch(op, b[d, n:])]
    state = torch.zeros(directions, BATCH, HIDDEN)
    run = {"LSTM": torch._VF.lstm, "GRU": torch._VF.gru, "RNN": torch._VF.rnn_tanh}[op]
    y = run(x, (state, state) if op == "LSTM" else state, weights, True, 1, 0.0, True, directions == 2, False)[0]
    return y.reshape(STEPS, BATCH, directions, HIDDEN).transpose(1, 2)


def case(name, op, tensors, weight):
    """One entry; weight makes W [D, GH, I] of the tensors."""
    for t in tensors.values():
        t.requires_grad_()
    y = layer(op, tensors["X"], weight(tensors), tensors["R"], tensors["B"])
    c = rounded(*y.shape)
    (c * y).sum().backward()
    entry = lambda t: {"dims": list(t.shape), "data": t.detach().reshape(-1).tolist()}
    return {"name": name, "op": op, "tensors": {k: entry(t) for k, t in tensors.items()}, "c": entry(c), "y": entry(y),
            "gradients": {k: entry(t.grad) for k, t in tensors.items()}}


def operands(op, directions, inputs):
    rows = len(GATES[op]) * HIDDEN
    return {"X": rounded(STEPS, BATCH, inputs), "R": rounded(directions, rows, HIDDEN), "B": rounded(directions, 2 * rows)}


def dense(name, op, directions):
    tensors = operands(op, directions, 5)
    tensors["W"] = rounded(directions, len(GATES[op]) * HIDDEN, 5)
    return case(name, op, tensors, lambda t: t["W"])


def ring(name, ins, outs, ranks):
    tensors = operands("LSTM", 1, ins[0] * ins[1] * ins[2])
    for k, n in enumerate(ins + outs):
        side = f"R.core{k}" if k < len(ins) else f"L.core{k - len(ins)}"
        tensors[side] = rounded(ranks[k], n, ranks[(k + 1) % len(ranks)])

    def weight(t):
        w = torch.einsum("aib,bjc,ckd,dle,ema->lmijk", *(t[k] for k in t if "core" in k))
        return w.reshape(1, 4 * HIDDEN, -1)

    return case(name, "LSTM", tensors, weight)


cases = [
    dense("lstm", "LSTM", 1), dense("lstm both ways", "LSTM", 2), dense("gru", "GRU", 1), dense("gru both ways", "GRU", 2), dense("rnn", "RNN", 1),
    ring("tt", [2, 3, 2], [4, 4], [1, 2, 3, 2, 3]), ring("tr", [2, 3, 2], [4, 4], [2, 3, 2, 3, 2]),
]
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "gradients.json"), "w") as f:
    f.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
