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
