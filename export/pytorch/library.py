def _ints(v):
    """The numbers of a tensor of integers: shapes, axes, bounds."""
    return v.reshape(-1).tolist()


def _number(v):
    return v.reshape(()).item()


def _meet(*values):
    """Puts operands on one device: shapes are computed on the processor."""
    device = next((v.device for v in values if v.device.type != "cpu"), None)
    return values if device is None else tuple(v.to(device) for v in values)


def _add(a, b):
    a, b = _meet(a, b)
    return a + b


def _sub(a, b):
    a, b = _meet(a, b)
    return a - b


def _mul(a, b):
    a, b = _meet(a, b)
    return a * b


def _div(a, b):
    a, b = _meet(a, b)
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _mod(a, b, fmod):
    a, b = _meet(a, b)
    return torch.fmod(a, b) if fmod else torch.remainder(a, b)


def _pow(a, b):
    a, b = _meet(a, b)
    if a.is_floating_point() or not b.is_floating_point():
        return torch.pow(a, b).to(a.dtype)
    return torch.pow(a.to(b.dtype), b).to(a.dtype)


def _compare(name, a, b):
    a, b = _meet(a, b)
    return getattr(torch, name)(a, b)


def _logical(name, a, b):
    a, b = _meet(a, b)
    return getattr(torch, "logical_" + name)(a, b)


def _fold(f, *values):
    """Max, Min, Sum of any number of tensors."""
    values = _meet(*values)
    result = values[0]
    for v in values[1:]:
        result = f(result, v)
    return result


def _mean(*values):
    return _fold(torch.add, *values) / len(values)


def _where(condition, a, b):
    condition, a, b = _meet(condition, a, b)
    return torch.where(condition, a, b)


def _clip(x, low=None, high=None):
    if low is not None:
        x = torch.maximum(x, torch.as_tensor(low, dtype=x.dtype, device=x.device))
    if high is not None:
        x = torch.minimum(x, torch.as_tensor(high, dtype=x.dtype, device=x.device))
    return x


def _cast(x, dtype):
    """Cast as ONNX has it: floats become integers by truncation, infinities and NaN are the machine's matter."""
    return x != 0 if dtype is torch.bool else x.to(dtype)


def _round_cast(x, dtype):
    """Cast to a narrow floating type, which this module holds in float32."""
    return x.to(dtype).to(torch.float32)


def _prelu(x, slope):
    x, slope = _meet(x, slope)
    return torch.where(x < 0, x * slope, x)


def _hard_sigmoid(x, alpha, beta):
    return torch.clamp(x * alpha + beta, 0, 1)


def _elu(x, alpha):
    return torch.where(x < 0, alpha * (torch.exp(torch.clamp(x, max=0)) - 1), x)


def _celu(x, alpha):
    return torch.clamp(x, min=0) + torch.clamp(alpha * (torch.exp(x / alpha) - 1), max=0)


def _selu(x, alpha, gamma):
    return torch.where(x <= 0, gamma * (alpha * torch.exp(torch.clamp(x, max=0)) - alpha), gamma * x)


def _gelu(x, approximate):
    if approximate == "tanh":
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def _thresholded_relu(x, alpha):
    return torch.where(x > alpha, x, torch.zeros_like(x))


def _softplus(x):
    return torch.clamp(x, min=0) + torch.log1p(torch.exp(-torch.abs(x)))


def _softmax_rows(f, x, axis):
    """Softmax before opset 13: over everything from an axis on."""
    axis %= max(x.dim(), 1)
    rows = math.prod(x.shape[:axis])
    return f(x.reshape(rows, -1), 1).reshape(x.shape)


def _axes(x, axes):
    return [a % max(x.dim(), 1) for a in axes]


def _reduce(f, x, axes, keep, empty_is_none=False):
    """A reduction over some axes, all where none are named (unless that means nothing is to be done)."""
    if not axes:
        if empty_is_none:
            return x
        axes = range(x.dim())
    axes = sorted(_axes(x, axes))
    if not axes:
        return f(x.reshape(1, -1), 1, False).reshape(x.shape)
    rest = [a for a in range(x.dim()) if a not in axes]
    dims = [x.shape[a] for a in rest]
    flat = x.permute(*rest, *axes).reshape(*dims, math.prod(x.shape[a] for a in axes))
    y = f(flat, -1, False)
    if keep:
        y = y.reshape([1 if a in axes else x.shape[a] for a in range(x.dim())])
    return y


def _reduce_sum(x, axis, keep):
    return torch.sum(x, axis, keep).to(x.dtype)


def _reduce_mean(x, axis, keep):
    if x.is_floating_point():
        return torch.mean(x, axis, keep)
    return torch.div(torch.sum(x, axis, keep), x.shape[axis], rounding_mode="trunc").to(x.dtype)


def _extreme(x, lowest):
    """The identity of Max or Min, for a reduction of nothing."""
    if x.dtype is torch.bool:
        return not lowest
    if x.is_floating_point():
        return -math.inf if lowest else math.inf
    return torch.iinfo(x.dtype).min if lowest else torch.iinfo(x.dtype).max


def _reduce_max(x, axis, keep):
    if x.shape[axis] == 0:
        return x.new_full(x.shape[:-1], _extreme(x, True))
    return torch.amax(x, axis, keep) if x.dtype is not torch.bool else torch.any(x, axis, keep)


def _reduce_min(x, axis, keep):
    if x.shape[axis] == 0:
        return x.new_full(x.shape[:-1], _extreme(x, False))
    return torch.amin(x, axis, keep) if x.dtype is not torch.bool else torch.all(x, axis, keep)


def _reduce_prod(x, axis, keep):
    return torch.prod(x, axis, keep).to(x.dtype)


def _reduce_l1(x, axis, keep):
    return torch.sum(torch.abs(x), axis, keep).to(x.dtype)


def _reduce_l2(x, axis, keep):
    return torch.sqrt(torch.sum(x * x, axis, keep).to(x.dtype))


def _reduce_sum_square(x, axis, keep):
    return torch.sum(x * x, axis, keep).to(x.dtype)


def _reduce_log_sum(x, axis, keep):
    return torch.log(torch.sum(x, axis, keep))


def _reduce_log_sum_exp(x, axis, keep):
    return torch.logsumexp(x, axis, keep)


def _arg(x, axis, keep, last, largest):
    """The place of the largest or smallest element, of equal ones the first, or the last."""
    best = torch.amax(x, axis, True) if largest else torch.amin(x, axis, True)
    at = (x == best).to(torch.int8)
    if last:
        return x.shape[axis] - 1 - torch.argmax(torch.flip(at, [axis]), axis, keep)
    return torch.argmax(at, axis, keep)


def _cumsum(x, axis, exclusive, reverse):
    y = torch.flip(x, [axis]) if reverse else x
    s = torch.cumsum(y, axis, dtype=x.dtype)
    if exclusive:
        s = s - y
    return torch.flip(s, [axis]) if reverse else s


def _shape(x, start=0, end=None):
    return torch.tensor(list(x.shape)[start:end], dtype=torch.int64)


def _reshape(x, shape, allow_zero=False):
    shape = [x.shape[k] if d == 0 and not allow_zero else d for k, d in enumerate(shape)]
    return x.reshape(shape)


def _squeeze(x, axes):
    if axes is None:
        return x.squeeze()
    axes = _axes(x, axes)
    return x.reshape([d for k, d in enumerate(x.shape) if k not in axes])


def _unsqueeze(x, axes):
    rank = x.dim() + len(axes)
    axes = [a % rank for a in axes]
    dims = iter(x.shape)
    return x.reshape([1 if k in axes else next(dims) for k in range(rank)])


def _flatten(x, axis):
    if axis < 0:
        axis += x.dim()
    return x.reshape(math.prod(x.shape[:axis]), -1 if x.numel() else math.prod(x.shape[axis:]))


def _transpose(x, perm=None):
    return x.permute(perm) if perm is not None else x.permute(*reversed(range(x.dim())))


def _concat(axis, *values):
    return torch.cat(_meet(*values), axis)


def _expand(x, shape):
    return x.expand(torch.broadcast_shapes(x.shape, shape))


def _tile(x, repeats):
    return x.repeat(repeats) if repeats else x


def _slice(x, starts, ends, axes=None, steps=None):
    axes = axes if axes is not None else list(range(len(starts)))
    for k, axis in enumerate(axes):
        step, n = steps[k] if steps is not None else 1, x.shape[axis]
        if step > 0:
            x = x[(slice(None),) * (axis % x.dim()) + (slice(starts[k], ends[k], step),)]
            continue
        start = starts[k] + n if starts[k] < 0 else starts[k]
        end = ends[k] + n if ends[k] < 0 else ends[k]
        rows = list(range(min(start, n - 1), max(end, -1), step))
        x = x.index_select(axis, torch.tensor(rows, dtype=torch.int64, device=x.device))
    return x


def _split(x, axis, sizes=None, parts=0):
    if sizes is None:
        size = -(-x.shape[axis] // parts)
        sizes = [max(0, min(size, x.shape[axis] - k * size)) for k in range(parts)]
    return torch.split(x, sizes, axis)


def _gather(x, index, axis=0):
    n = x.shape[axis]
    index = index.to(x.device, torch.int64)
    flat = torch.where(index < 0, index + n, index).reshape(-1)
    axis %= x.dim()
    return x.index_select(axis, flat).reshape(x.shape[:axis] + index.shape + x.shape[axis + 1 :])


def _embedding(table, index):
    """Gather along axis 0 of a table that is a weight."""
    index = index.to(table.device, torch.int64)
    return F.embedding(torch.where(index < 0, index + table.shape[0], index), table)


def _gather_elements(x, index, axis):
    index = index.to(x.device, torch.int64)
    return torch.gather(x, axis, torch.where(index < 0, index + x.shape[axis], index))


def _scatter_elements(x, index, updates, axis, reduction):
    index = index.to(x.device, torch.int64)
    index = torch.where(index < 0, index + x.shape[axis], index)
    if reduction == "none":
        return x.scatter(axis, index, updates)
    names = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}
    return x.scatter_reduce(axis, index, updates, names[reduction], include_self=True)


def _scatter_nd(x, index, updates, reduction):
    depth = index.shape[-1]
    index = index.to(x.device, torch.int64).reshape(-1, depth)
    strides = [math.prod(x.shape[k + 1 : depth]) for k in range(depth)]
    sizes = torch.tensor(x.shape[:depth], device=x.device)
    rows = (torch.where(index < 0, index + sizes, index) * torch.tensor(strides, device=x.device)).sum(1)
    flat = x.reshape(math.prod(x.shape[:depth]), -1)
    updates = updates.reshape(rows.shape[0], -1)
    if reduction == "none":
        return flat.index_copy(0, rows, updates).reshape(x.shape)
    if reduction == "add":
        return flat.index_add(0, rows, updates).reshape(x.shape)
    names = {"mul": "prod", "max": "amax", "min": "amin"}
    return flat.index_reduce(0, rows, updates, names[reduction]).reshape(x.shape)


def _range(start, limit, delta):
    start, limit, delta = _meet(start, limit, delta)
    if not start.is_floating_point():
        return torch.arange(_number(start), _number(limit), _number(delta), dtype=start.dtype, device=start.device)
    n = max(0, math.ceil((_number(limit) - _number(start)) / _number(delta)))
    return (start + torch.arange(n, device=start.device) * delta).to(start.dtype)


def _full(like, shape, value):
    """ConstantOfShape, on the device of the model."""
    return torch.full(shape, value.item(), dtype=value.dtype, device=like.device)


def _pad(x, pads, mode, value=0.0, axes=None):
    axes = _axes(x, axes) if axes is not None else list(range(x.dim()))
    for k, axis in enumerate(axes):
        before, after = pads[k], pads[k + len(axes)]
        n = x.shape[axis]
        if before == 0 and after == 0:
            continue
        if before < 0 or after < 0:
            cut = slice(max(-before, 0), n - max(-after, 0))
            x = x[(slice(None),) * axis + (cut,)]
            before, after, n = max(before, 0), max(after, 0), x.shape[axis]
        if mode == "constant":
            dims = list(x.shape)
            parts = [x]
            if before:
                dims[axis] = before
                parts.insert(0, torch.full(dims, value, dtype=x.dtype, device=x.device))
            if after:
                dims[axis] = after
                parts.append(torch.full(dims, value, dtype=x.dtype, device=x.device))
            x = torch.cat(parts, axis)
            continue
        at = torch.arange(-before, n + after, device=x.device)
        if mode == "edge":
            at = at.clamp(0, n - 1)
        elif mode == "wrap":
            at = at % n
        else:
            period = max(2 * (n - 1), 1)
            at = (at % period + period) % period
            at = torch.where(at >= n, period - at, at)
        x = x.index_select(axis, at)
    return x


def _matmul(a, b):
    a, b = _meet(a, b)
    return torch.matmul(a, b)


def _gemm(a, b, c, alpha, beta, trans_a, trans_b):
    a, b = _meet(a, b)
    y = torch.matmul(a.t() if trans_a else a, b.t() if trans_b else b)
    if alpha != 1:
        y = y * alpha
    if c is not None:
        y = y + (c.to(y.device) if beta == 1 else c.to(y.device) * beta)
    return y


def _window_pads(x, kernel, strides, dilations, pads, auto_pad):
    """The padding of a convolution or pool: begins and ends for every axis of space."""
    n = len(kernel)
    if auto_pad in ("NOTSET", ""):
        return pads or [0] * (2 * n)
    if auto_pad == "VALID":
        return [0] * (2 * n)
    begins, ends = [], []
    for k in range(n):
        size = x.shape[2 + k]
        reach = (kernel[k] - 1) * dilations[k] + 1
        total = max(0, (-(-size // strides[k]) - 1) * strides[k] + reach - size)
        small, large = total // 2, total - total // 2
        begins.append(small if auto_pad == "SAME_UPPER" else large)
        ends.append(large if auto_pad == "SAME_UPPER" else small)
    return begins + ends


def _conv(x, w, b, strides, dilations, pads, auto_pad, group):
    n = w.dim() - 2
    strides, dilations = strides or [1] * n, dilations or [1] * n
    pads = _window_pads(x, list(w.shape[2:]), strides, dilations, pads, auto_pad)
    if pads[:n] != pads[n:]:
        x = F.pad(x, [p for k in reversed(range(n)) for p in (pads[k], pads[n + k])])
        pads = [0] * (2 * n)
    return getattr(F, f"conv{n}d")(x, w, b, strides, pads[:n], dilations, group)


def _conv_transpose(x, w, b, strides, dilations, pads, output_padding, output_shape, auto_pad, group):
    n = w.dim() - 2
    strides, dilations, extra = strides or [1] * n, dilations or [1] * n, output_padding or [0] * n
    full = [(x.shape[2 + k] - 1) * strides[k] + (w.shape[2 + k] - 1) * dilations[k] + 1 + extra[k] for k in range(n)]
    if output_shape is not None or auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        shape = output_shape[-n:] if output_shape is not None else [x.shape[2 + k] * strides[k] for k in range(n)]
        totals = [max(full[k] - shape[k], 0) for k in range(n)]
        begins, ends = [t - t // 2 for t in totals], [t // 2 for t in totals]
        pads = ends + begins if auto_pad == "SAME_UPPER" else begins + ends
    else:
        pads = pads or [0] * (2 * n)
    y = getattr(F, f"conv_transpose{n}d")(x, w, None, strides, 0, 0, group, dilations)
    for k in range(n):
        have = full[k] - extra[k]
        if extra[k]:
            y = F.pad(y, [0, 0] * (n - 1 - k) + [0, extra[k]])
        y = y.narrow(2 + k, pads[k], have + extra[k] - pads[k] - pads[n + k])
    return y if b is None else y + b.reshape(1, -1, *([1] * n))


def _pool_windows(x, kernel, strides, dilations, pads, auto_pad, ceil_mode, fill, beyond):
    """x as windows [N, C, out…, taps], padded with fill, and with beyond where ceil_mode goes further."""
    n = len(kernel)
    strides, dilations = strides or [1] * n, dilations or [1] * n
    pads = list(_window_pads(x, kernel, strides, dilations, pads, auto_pad))
    reach = [(kernel[k] - 1) * dilations[k] + 1 for k in range(n)]
    outs, extra = [], []
    for k in range(n):
        room = x.shape[2 + k] + pads[k] + pads[n + k] - reach[k]
        out = (-(-room // strides[k]) if ceil_mode else room // strides[k]) + 1
        if ceil_mode and (out - 1) * strides[k] >= x.shape[2 + k] + pads[k]:
            out -= 1
        extra.append(max(0, (out - 1) * strides[k] + reach[k] - (x.shape[2 + k] + pads[k] + pads[n + k])))
        outs.append(out)
    x = F.pad(x, [p for k in reversed(range(n)) for p in (pads[k], pads[n + k])], value=fill)
    x = F.pad(x, [p for k in reversed(range(n)) for p in (0, extra[k])], value=beyond)
    for k in range(n):
        at = torch.arange(outs[k], device=x.device)[:, None] * strides[k] + torch.arange(kernel[k], device=x.device) * dilations[k]
        x = x.index_select(2 + k, at.reshape(-1)).unflatten(2 + k, (outs[k], kernel[k])).movedim(3 + k, -1)
    return x.flatten(2 + n)


def _max_pool(x, kernel, strides, dilations, pads, auto_pad, ceil_mode):
    low = _extreme(x, True)
    return _pool_windows(x, kernel, strides, dilations, pads, auto_pad, ceil_mode, low, low).amax(-1)


def _average_pool(x, kernel, strides, dilations, pads, auto_pad, ceil_mode, count_pads):
    window = (kernel, strides, dilations, pads, auto_pad, ceil_mode)
    counts = _pool_windows(torch.ones_like(x), *window, 1.0 if count_pads else 0.0, 0.0).sum(-1)
    return _pool_windows(x, *window, 0.0, 0.0).sum(-1) / counts


def _batch_norm(x, scale, bias, mean, variance, epsilon):
    dims = [1, -1] + [1] * (x.dim() - 2)
    return (x - mean.reshape(dims)) / torch.sqrt(variance.reshape(dims) + epsilon) * scale.reshape(dims) + bias.reshape(dims)


def _instance_norm(x, scale, bias, epsilon):
    axes = list(range(2, x.dim()))
    dims = [1, -1] + [1] * (x.dim() - 2)
    mean = x.mean(axes, True)
    return (x - mean) / torch.sqrt(((x - mean) ** 2).mean(axes, True) + epsilon) * scale.reshape(dims) + bias.reshape(dims)


def _layer_norm(x, scale, bias, axis, epsilon):
    axes = list(range(axis % x.dim(), x.dim()))
    mean = x.mean(axes, True)
    inverse = 1 / torch.sqrt(((x - mean) ** 2).mean(axes, True) + epsilon)
    y = (x - mean) * inverse * scale
    return (y if bias is None else y + bias), mean, inverse


def _one_hot(index, depth, values, axis):
    depth = int(_number(depth))
    index = index.to(torch.int64)
    axis = axis % (index.dim() + 1)
    classes = torch.arange(depth, device=index.device).reshape([-1] + [1] * (index.dim() - axis))
    hot = torch.where(index < 0, index + depth, index).unsqueeze(axis) == classes
    values = values.to(index.device)
    return torch.where(hot, values[1], values[0])


def _top_k(x, k, axis, largest, ordered):
    """Of equal elements the first comes first."""
    values, index = torch.sort(x, stable=True, dim=axis, descending=bool(largest))
    return values.narrow(axis, 0, k), index.narrow(axis, 0, k)


def _trilu(x, k, upper):
    return torch.triu(x, k) if upper else torch.tril(x, k)


def _dequantize(x, scale, zero, axis):
    if scale.dim() == 1 and x.dim() > 1:
        dims = [1] * x.dim()
        dims[axis] = -1
        scale = scale.reshape(dims)
        zero = zero if zero is None else zero.reshape(dims)
    x = x.to(torch.int32)
    return (x if zero is None else x - zero.to(torch.int32)).to(scale.dtype) * scale


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


class Factored(nn.Module):
    """W [out, in] of a recurrent layer as a network of small cores; W[d] is the block of rows of direction d.

    Core k is [r_k, mode, r_{k+1}] with r_d = r_0. Rings, trains and truncated SVDs (formats tr, tt, svd) have the cores of the input modes first, then those of the
    output modes: W = L·Rᵀ, R [in, r_0·r_n] and L [out, r_0·r_n] merged from the two sides. A TT-matrix (ttm) has a row and a column mode on every core. Columns beyond `columns` are padding.

    Called with frames it gives (x', W') with x'·W'ᵀ = x·Wᵀ by the way that takes fewer multiplications for as many frames: through the bottleneck, or with W multiplied out.
    """

    def __init__(self, format, in_modes, out_modes, shapes, columns, directions, merged_output):
        super().__init__()
        self.format, self.in_modes, self.out_modes = format, in_modes, out_modes
        self.columns, self.directions, self.merged_output = columns, directions, merged_output
        for k, shape in enumerate(shapes):
            self.register_parameter(f"core{k}", nn.Parameter(torch.zeros(shape)))
        self.length = len(shapes)

    def cores(self):
        return [getattr(self, f"core{k}") for k in range(self.length)]

    def extra_repr(self):
        ranks = " ".join(str(c.shape[0]) for c in self.cores())
        return f"{self.format}, modes {self.in_modes} | {self.out_modes}, ranks {ranks}"

    @staticmethod
    def _chain(cores):
        """An open chain of cores as one [r_first, modes…, r_last]."""
        merged = cores[0]
        for core in cores[1:]:
            rows = merged.reshape(-1, merged.shape[-1]) @ core.reshape(core.shape[0], -1)
            merged = rows.reshape(merged.shape[0], -1, core.shape[-1])
        return merged

    def sides(self):
        """L [out, r_0·r_n] and R [in, r_0·r_n]."""
        cores = self.cores()
        n = len(self.in_modes)
        right = self._chain(cores[:n])
        right = right.permute(1, 0, 2).reshape(right.shape[1], -1)[: self.columns]
        if self.merged_output:
            return cores[n].reshape(-1, right.shape[1]), right
        left = self._chain(cores[n:])
        return left.permute(1, 2, 0).reshape(left.shape[1], -1), right

    def _pairs(self):
        """The cores of a TT-matrix as [r_k, row, column, r_{k+1}]; a mode that is not there is 1."""
        return [c.reshape(c.shape[0], o, i, c.shape[-1]) for c, o, i in zip(self.cores(), self.out_modes, self.in_modes)]

    def weight(self):
        """W [out, in], multiplied out."""
        if self.format != "ttm":
            left, right = self.sides()
            return left @ right.t()
        w = None
        for core in self._pairs():
            if w is None:
                w = core[0]
                continue
            w = torch.tensordot(w, core, 1).permute(0, 2, 1, 3, 4)
            w = w.reshape(w.shape[0] * w.shape[1], w.shape[2] * w.shape[3], -1)
        return w[..., 0][:, : self.columns]

    def _core_by_core(self, x):
        """x·Wᵀ of a TT-matrix, core by core."""
        lead = x.shape[:-1]
        padding = math.prod(self.in_modes) - self.columns
        z = F.pad(x.reshape(-1, self.columns), [0, padding]).unsqueeze(0)
        # z is [r_k, frames × rows so far, columns to come].
        frames = z.shape[1]
        for core in self._pairs():
            r, o, i, after = core.shape
            z = z.reshape(r, z.shape[1], i, -1)
            z = torch.einsum("rfic,roig->gfoc", z, core).reshape(after, z.shape[1] * o, -1)
        return z.reshape(*lead, -1) if frames else x.new_zeros(*lead, math.prod(self.out_modes))

    def _costs(self, frames):
        """Multiplications for as many frames: with factors, and with W multiplied out."""
        rows, columns = math.prod(self.out_modes), self.columns
        if self.format != "ttm":
            cut = self.core0.shape[0] * self.cores()[len(self.in_modes)].shape[0] if not self.merged_output else self.cores()[-1].shape[-1]
            return frames * cut * (rows + columns), cut * rows * columns + frames * rows * columns
        apart, merged, done, left, size = 0, 0, 1, math.prod(self.in_modes), 1
        for core in self._pairs():
            r, o, i, after = core.shape
            apart += frames * done * left * r * o * after
            done, left, size = done * o, left // i, size * o * i
            merged += size * r * after
        return apart + frames * rows * rows, merged + frames * rows * columns

    def forward(self, x):
        apart, merged = self._costs(x.numel() // max(x.shape[-1], 1))
        if merged < apart:
            return x, self.weight().unflatten(0, (self.directions, -1))
        if self.format == "ttm":
            y = self._core_by_core(x)
            identity = torch.eye(y.shape[-1], dtype=x.dtype, device=x.device)
            return y, identity.unflatten(0, (self.directions, -1))
        left, right = self.sides()
        return x @ right, left.unflatten(0, (self.directions, -1))
