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
