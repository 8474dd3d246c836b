def _activation(name, alpha, beta):
    """An activation of a recurrent node by its name."""
    functions = {
        "Sigmoid": torch.sigmoid,
        "Tanh": torch.tanh,
        "Relu": torch.relu,
        "Affine": lambda x: alpha * x + beta,
        "LeakyRelu": lambda x: torch.where(x < 0, alpha * x, x),
        "ThresholdedRelu": lambda x: torch.where(x > alpha, x, torch.zeros_like(x)),
        "ScaledTanh": lambda x: alpha * torch.tanh(beta * x),
        "HardSigmoid": lambda x: torch.clamp(alpha * x + beta, 0, 1),
        "Elu": lambda x: torch.where(x < 0, alpha * (torch.exp(torch.clamp(x, max=0)) - 1), x),
        "Softsign": lambda x: x / (1 + torch.abs(x)),
        "Softplus": lambda x: torch.clamp(x, min=0) + torch.log1p(torch.exp(-torch.abs(x))),
    }
    return functions[name]


def _bounded(f, clip):
    return f if not clip else lambda x: f(torch.clamp(x, -clip, clip))


def _scan(step, x, lens, reverse, states):
    """Runs step over time [T, B, …]; where lens are given, a sample's states stand still behind its end and its outputs are zero there."""
    steps = x.shape[0]
    outputs = [None] * steps
    for t in reversed(range(steps)) if reverse else range(steps):
        after = step(x[t], *states)
        if lens is None:
            states, outputs[t] = after, after[0]
            continue
        valid = (t < lens).unsqueeze(-1)
        states = tuple(torch.where(valid, a, s) for a, s in zip(after, states))
        outputs[t] = torch.where(valid, after[0], torch.zeros_like(after[0]))
    return torch.stack(outputs), states


def _lstm_direction(x, w, r, b, p, lens, h, c, reverse, functions, clip, input_forget):
    """One direction of LSTM (ONNX operator specification): gates i, o, f, c."""
    f, g, last = (_bounded(a, clip) for a in functions)
    units = r.shape[-1]
    pi, po, pf = (None,) * 3 if p is None else p.split(units)
    inputs = torch.matmul(x, w.t())
    if b is not None:
        inputs = inputs + b[: 4 * units] + b[4 * units :]

    def step(a, h, c):
        i, o, forget, cell = (a + torch.matmul(h, r.t())).split(units, -1)
        i = f(i if pi is None else i + pi * c)
        forget = 1 - i if input_forget else f(forget if pf is None else forget + pf * c)
        c = forget * c + i * g(cell)
        o = f(o if po is None else o + po * c)
        return o * last(c), c

    return _scan(step, inputs, lens, reverse, (h, c))


def _gru_direction(x, w, r, b, p, lens, h, c, reverse, functions, clip, linear_before_reset):
    """One direction of GRU (ONNX operator specification): gates z, r, h."""
    f, g = (_bounded(a, clip) for a in functions)
    units = r.shape[-1]
    wb, rb = (None, None) if b is None else b.split(3 * units)
    inputs = torch.matmul(x, w.t())
    if b is not None:
        inputs = inputs + wb
    gates, candidate = r[: 2 * units], r[2 * units :]

    def step(a, h):
        recurrent = torch.matmul(h, gates.t())
        if rb is not None:
            recurrent = recurrent + rb[: 2 * units]
        z, reset = f(a[..., : 2 * units] + recurrent).split(units, -1)
        if linear_before_reset:
            new = torch.matmul(h, candidate.t())
            new = reset * (new if rb is None else new + rb[2 * units :])
        else:
            new = torch.matmul(reset * h, candidate.t())
            new = new if rb is None else new + rb[2 * units :]
        return ((1 - z) * g(a[..., 2 * units :] + new) + z * h,)

    return _scan(step, inputs, lens, reverse, (h,))


def _rnn_direction(x, w, r, b, p, lens, h, c, reverse, functions, clip, _):
    """One direction of RNN (ONNX operator specification)."""
    f = _bounded(functions[0], clip)
    inputs = torch.matmul(x, w.t())
    if b is not None:
        units = r.shape[-1]
        inputs = inputs + b[:units] + b[units:]
    return _scan(lambda a, h: (f(a + torch.matmul(h, r.t())),), inputs, lens, reverse, (h,))


_DIRECTIONS = {"LSTM": _lstm_direction, "GRU": _gru_direction, "RNN": _rnn_direction}

# PyTorch's order of the gates in terms of ONNX's: i, f, g, o of i, o, f, c and r, z, n of z, r, h.
_GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}


def _torch_order(op, m):
    """Rows of a direction in PyTorch's order of gates."""
    blocks = m.reshape(len(_GATES[op]), -1, *m.shape[1:])
    return torch.cat([blocks[g] for g in _GATES[op]])


def _fused(op, nonlinearity, x, w, r, b, lens, h, c, direction):
    """PyTorch's own recurrent kernels, which are the same function for the default activations."""
    weights = []
    for d in range(w.shape[0]):
        weights += [_torch_order(op, w[d]), _torch_order(op, r[d])]
        if b is not None:
            rows = b.shape[1] // 2
            weights += [_torch_order(op, b[d, :rows]), _torch_order(op, b[d, rows:])]
    kernel = {"LSTM": torch.lstm, "GRU": torch.gru, "RNN": torch.rnn_relu if nonlinearity == "Relu" else torch.rnn_tanh}[op]
    states = (h, c) if op == "LSTM" else h
    rest = (weights, b is not None, 1, 0.0, torch.is_grad_enabled(), w.shape[0] == 2)
    if direction == "reverse":
        x = torch.flip(x, [0])
    if lens is None:
        y, *last = kernel(x, states, *rest, False)
    else:
        packed = nn.utils.rnn.pack_padded_sequence(x, lens.cpu(), enforce_sorted=False)
        order = packed.sorted_indices
        states = (h[:, order], c[:, order]) if op == "LSTM" else h[:, order]
        y, *last = kernel(packed.data, packed.batch_sizes, states, *rest)
        packed = nn.utils.rnn.PackedSequence(y, packed.batch_sizes, order, packed.unsorted_indices)
        y, _ = nn.utils.rnn.pad_packed_sequence(packed, total_length=x.shape[0])
        last = [s[:, packed.unsorted_indices] for s in last]
    if direction == "reverse":
        y = torch.flip(y, [0])
    return y.unflatten(-1, (w.shape[0], -1)).transpose(1, 2), last


def _recurrent(op, x, w, r, b, lens, h, c, p, direction, layout, activations, clip, variant):
    """LSTM, GRU and RNN of ONNX: Y [T, D, B, H] and the last states [D, B, H]; with layout 1, [B, T, D, H] and [B, D, H].

    w is a weight [D, G·H, I], or a Factored layer that stands for one. lens may hold the length of each sample. activations lists (name, alpha, beta) for each direction in turn. variant is
    input_forget of LSTM and linear_before_reset of GRU.
    """
    if layout:
        x = x.transpose(0, 1)
        h, c = (s if s is None else s.transpose(0, 1) for s in (h, c))
    if isinstance(w, nn.Module):
        x, w = w(x)
    if lens is not None:
        lens = lens.to(x.device, torch.int64)
        if bool((lens == x.shape[0]).all()):
            lens = None
    start = torch.zeros(w.shape[0], x.shape[1], r.shape[2], dtype=x.dtype, device=x.device)
    h, c = (start if s is None else s for s in (h, c))
    names = [a[0] for a in activations]
    per = len(names) // w.shape[0]
    usual = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": names[:1]}[op] * w.shape[0]
    fusible = names == usual and names[0] in ("Sigmoid", "Tanh", "Relu") and not clip and p is None and variant == (op == "GRU")
    if lens is not None:
        fusible = fusible and direction != "reverse" and bool((lens > 0).all())
    if fusible and x.numel() > 0:
        y, last = _fused(op, names[0], x, w, r, b, lens, h, c, direction)
    else:
        ys, lasts = [], []
        for d in range(w.shape[0]):
            functions = [_activation(*a) for a in activations[d * per : (d + 1) * per]]
            bias, holes = (v if v is None else v[d] for v in (b, p))
            backwards = direction == "reverse" or d == 1
            y, states = _DIRECTIONS[op](x, w[d], r[d], bias, holes, lens, h[d], c[d], backwards, functions, clip, variant)
            ys.append(y)
            lasts.append(states)
        y, last = torch.stack(ys, 1), [torch.stack(s) for s in zip(*lasts)]
    if layout:
        y, last = y.permute(2, 0, 1, 3), [s.transpose(0, 1) for s in last]
    return (y, *last)
