_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def read_safetensors(path):
    """The tensors of a .safetensors file by name, and its metadata."""
    with open(path, "rb") as f:
        data = bytearray(f.read())
    if len(data) < 8:
        raise ValueError(f"{path}: {len(data)} bytes are too few for the length of a header")
    (n,) = struct.unpack("<Q", data[:8])
    if n > min(len(data) - 8, 100_000_000):
        raise ValueError(f"{path}: a header of {n} bytes in a file of {len(data)}")
    header = json.loads(data[8 : 8 + n].decode())
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        dtype, shape = _DTYPES[entry["dtype"]], entry["shape"]
        begin, end = entry["data_offsets"]
        size = math.prod(shape) * torch.empty(0, dtype=dtype).element_size()
        if not 0 <= begin <= end <= len(data) - 8 - n or end - begin != size:
            raise ValueError(f"{path}: tensor {name!r}: data_offsets {[begin, end]} for shape {shape} of {entry['dtype']} in {len(data) - 8 - n} bytes")
        if size == 0:
            tensors[name] = torch.zeros(shape, dtype=dtype)
            continue
        raw = data[8 + n + begin : 8 + n + end]
        tensors[name] = torch.frombuffer(raw, dtype=dtype).reshape(shape)
    return tensors, metadata


def write_safetensors(path, tensors, metadata):
    """Writes a .safetensors file under a temporary name and renames it: the file is there complete or as it was."""
    names = {v: k for k, v in _DTYPES.items()}
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header, at = {"__metadata__": dict(sorted(metadata.items()))}, 0
    for name in order:
        end = at + tensors[name].numel() * tensors[name].element_size()
        header[name] = {"dtype": names[tensors[name].dtype], "shape": list(tensors[name].shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as f:
            f.write(struct.pack("<Q", len(text)) + text)
            for name in order:
                raw = tensors[name].detach().cpu().contiguous().reshape(-1)
                f.write(raw.numpy().tobytes() if raw.dtype != torch.bfloat16 else raw.view(torch.int16).numpy().tobytes())
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise
