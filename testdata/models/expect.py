"""Computes the expected outputs of the models beside it:  python3 expect.py

An oracle that shares no code with trconvert: the recurrent operators are written here in float64 NumPy from the formulas of the ONNX
specification (Operators.md: LSTM, GRU, RNN), the others are NumPy's own. NAME/test_data_set_0/input_K.pb is read, output_K.pb is written.
Needs Debian's python3-numpy and python3-onnx. Float16 models are computed in float64 and rounded once at the end."""
import glob, os
import numpy as np, onnx
from onnx import numpy_helper as nh

HERE = os.path.dirname(os.path.abspath(__file__))
ACTIVATIONS = {"Sigmoid": lambda x: 1 / (1 + np.exp(-x)), "Tanh": np.tanh, "Softsign": lambda x: x / (1 + np.abs(x))}
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
DEFAULT = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


def recurrent(op, a, X, W, R, B):
    """X [T, B, I], W [D, G*H, I], R [D, G*H, H], B [D, 2*G*H] -> Y [T, D, B, H], Y_h [D, B, H] and Y_c"""
    T, N, _ = X.shape
    D, _, H = R.shape
    direction = a.get("direction", b"forward").decode()
    names = [s.decode() for s in a.get("activations", [])] or DEFAULT[op] * D
    Y, last, cells = np.zeros((T, D, N, H)), np.zeros((D, N, H)), np.zeros((D, N, H))
    for d in range(D):
        f = [ACTIVATIONS[n] for n in names[d * len(DEFAULT[op]):(d + 1) * len(DEFAULT[op])]]
        wb, rb = np.split(B[d], 2)
        h, c = np.zeros((N, H)), np.zeros((N, H))
        backwards = direction == "reverse" or d == 1
        for t in range(T)[::-1] if backwards else range(T):
            x = X[t] @ W[d].T + wb
            if op == "LSTM":  # gates i, o, f, c
                i, o, g, n = np.split(x + h @ R[d].T + rb, 4, axis=1)
                c = f[0](g) * c + f[0](i) * f[1](n)
                h = f[0](o) * f[2](c)
            elif op == "GRU":  # gates z, r, h
                xz, xr, xh = np.split(x, 3, axis=1)
                rz, rr, rh = np.split(R[d], 3)
                bz, br, bh = np.split(rb, 3)
                z, r = f[0](xz + h @ rz.T + bz), f[0](xr + h @ rr.T + br)
                n = f[1](xh + r * (h @ rh.T + bh)) if a.get("linear_before_reset", 0) else f[1](xh + (r * h) @ rh.T + bh)
                h = (1 - z) * n + z * h
            else:
                h = f[0](x + h @ R[d].T + rb)
            Y[t, d] = h
        last[d], cells[d] = h, c
    return [Y, last, cells]


def run(graph, outer):
    """every value of a graph by name; outer holds the values of the enclosing scopes"""
    v = dict(outer)
    v.update({t.name: nh.to_array(t).astype(np.float64) if t.data_type in (1, 10) else nh.to_array(t) for t in graph.initializer})
    for n in graph.node:
        a = {x.name: onnx.helper.get_attribute_value(x) for x in n.attribute}
        x = [v[i] for i in n.input]
        if n.op_type in GATES: y = recurrent(n.op_type, a, *x)
        elif n.op_type == "If":
            body = a["then_branch"] if x[0] else a["else_branch"]
            inner = run(body, v)
            y = [inner[o.name] for o in body.output]
        elif n.op_type == "Mul": y = [x[0] * x[1]]
        elif n.op_type == "Sub": y = [x[0] - x[1]]
        elif n.op_type == "Transpose": y = [x[0].transpose(a["perm"])]
        elif n.op_type == "Squeeze": y = [x[0].squeeze(tuple(x[1]))]
        elif n.op_type == "Gemm": y = [x[0] @ (x[1].T if a.get("transB") else x[1]) + x[2]]
        elif n.op_type == "MatMul": y = [x[0] @ x[1]]
        elif n.op_type == "Add": y = [x[0] + x[1]]
        elif n.op_type in ACTIVATIONS: y = [ACTIVATIONS[n.op_type](x[0])]
        else: raise NotImplementedError(n.op_type)
        v.update({o: r for o, r in zip(n.output, y) if o})
    return v


if __name__ == "__main__":
    for file in sorted(glob.glob(HERE + "/*.onnx")):
        if file.endswith(".tr.onnx"): continue
        graph = onnx.load(file).graph
        folder = file[:-5] + "/test_data_set_0"
        feeds = {}
        for k, i in enumerate(graph.input):
            t = nh.to_array(onnx.load_tensor(f"{folder}/input_{k}.pb"))
            feeds[i.name] = t if t.dtype == bool else t.astype(np.float64)
        v = run(graph, feeds)
        for k, o in enumerate(graph.output):
            t = nh.from_array(v[o.name].astype({1: np.float32, 10: np.float16}[o.type.tensor_type.elem_type]), o.name)
            onnx.save_tensor(t, f"{folder}/output_{k}.pb")
        print(os.path.basename(file), {o.name: v[o.name].shape for o in graph.output})
