"""Runs exported models: python3 driver.py FOLDER…

Each folder holds model.py with its weights, and inputs.safetensors with the inputs by their number. outputs.safetensors takes the outputs by their number; error.txt takes what went wrong instead.
"""
import importlib.util
import os
import sys
import traceback

import torch

torch.set_num_threads(1)


def run(folder):
    spec = importlib.util.spec_from_file_location("model", os.path.join(folder, "model.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    net = module.load()
    inputs, _ = module.read_safetensors(os.path.join(folder, "inputs.safetensors"))
    with torch.no_grad():
        outputs = net(*[inputs.get(str(k)) for k in range(len(module.INPUTS))])
    if not isinstance(outputs, tuple):
        outputs = (outputs,)
    named = {str(k): v for k, v in enumerate(outputs) if v is not None}
    module.write_safetensors(os.path.join(folder, "outputs.safetensors"), named, {})
    # What was loaded is written as it was.
    net.save_weights(os.path.join(folder, "again.safetensors"))


for folder in sys.argv[1:]:
    try:
        run(folder)
    except Exception:
        with open(os.path.join(folder, "error.txt"), "w") as f:
            f.write(traceback.format_exc())
