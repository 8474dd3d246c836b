"""python3 module.py CASE.json RESULT.json: runs the PyTorch module in the folder that the case calls model.

A case is {model, inputs: {name: {type, dims, data}}}, data being the elements' bytes in base64; the result is {outputs} of the same form.
"""
import base64
import importlib.util
import json
import os
import sys

import torch

TYPES = {"float32": torch.float32, "float64": torch.float64, "float16": torch.float16, "int8": torch.int8, "int16": torch.int16, "int32": torch.int32, "int64": torch.int64, "uint8": torch.uint8, "bool": torch.bool}
NAMES = {t: n for n, t in TYPES.items()}

case, result = sys.argv[1:]
with open(case) as f:
    case = json.load(f)
spec = importlib.util.spec_from_file_location("model", os.path.join(case["model"], "model.py"))
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
net = module.load()
torch.set_num_threads(1)


def tensor(i):
    return torch.frombuffer(bytearray(base64.b64decode(i["data"])), dtype=TYPES[i["type"]]).reshape(i["dims"])


with torch.no_grad():
    outputs = net(*[tensor(case["inputs"][name]).to(dtype or torch.float32) for name, dtype, *_ in module.INPUTS])
if not isinstance(outputs, tuple):
    outputs = (outputs,)
named = {}
for (name, *_), v in zip(module.OUTPUTS, outputs):
    raw = bytes(v.contiguous().flatten().view(torch.uint8).tolist()) if v.dtype != torch.bool else bytes(v.flatten().tolist())
    named[name] = {"type": NAMES[v.dtype], "dims": list(v.shape), "data": base64.b64encode(raw).decode()}
with open(result, "w") as f:
    json.dump({"outputs": named}, f)
