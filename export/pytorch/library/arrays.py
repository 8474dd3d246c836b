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
