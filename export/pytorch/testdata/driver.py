"""Runs exported models: python3 driver.py FOLDER…

Each folder holds model.py with its weights, and files inputs*.safetensors with the inputs by their number. For each of them outputs*.safetensors takes the outputs by their number; error.txt takes what went
wrong instead. again.safetensors are the weights that were loaded, written again, and every factored layer is asked for both of its ways to the pre-activations.
"""
import glob
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
    for path in sorted(glob.glob(os.path.join(folder, "inputs*.safetensors"))):
        inputs, _ = module.read_safetensors(path)
        with torch.no_grad():
            outputs = net(*[inputs.get(str(k)) for k in range(len(module.INPUTS))])
        if not isinstance(outputs, tuple):
            outputs = (outputs,)
        named = {str(k): v for k, v in enumerate(outputs) if v is not None}
        module.write_safetensors(os.path.join(folder, os.path.basename(path).replace("inputs", "outputs")), named, {})
    net.save_weights(os.path.join(folder, "again.safetensors"))
    for layer in net.modules():
        if type(layer).__name__ == "Factored":
            both_ways(layer.double())


def both_ways(layer):
    x = torch.randn(7, 1, layer.columns, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    results = []
    for costs in ((0, 1), (1, 0)):
        layer._costs = lambda frames: costs
        with torch.no_grad():
            y, w = layer(x)
        results.append(y @ w.flatten(0, 1).t())
    error = float((results[0] - results[1]).norm() / results[1].norm())
    if not error < 1e-12:
        raise ValueError(f"{layer}: the ways through the factors and through W differ by {error}")


for folder in sys.argv[1:]:
    try:
        run(folder)
    except Exception:
        with open(os.path.join(folder, "error.txt"), "w") as f:
            f.write(traceback.format_exc())
