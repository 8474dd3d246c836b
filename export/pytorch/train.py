#!/usr/bin/env python3
"""Trains the model beside this file, in one process or, under torchrun, in several on one or more machines.

    python3 train.py --data train.npz --val test.npz
    torchrun --nproc_per_node 2 --rdzv_backend c10d --rdzv_endpoint localhost:0 train.py --data 'shards/*.npz' --val test.npz
    torchrun --nnodes 2 --nproc_per_node 8 --rdzv_backend c10d --rdzv_endpoint HOST:29500 train.py --data 'shards/*.npz'

(python3 -m torch.distributed.run is torchrun where that is not installed.) Data are .npz files: an array for each input of the model, under its name, with the samples along axis 0, and the labels. An
array that NumPy saved without compression is mapped, so that a process reads the samples that it trains on and no others.

Every process takes its part of each batch, and gradients are averaged (DistributedDataParallel: gloo on processors, nccl on graphics cards). The order of the samples depends on --seed alone, so that any number of
processes trains on the same batches. trained.safetensors holds the weights of the best epoch so far, at first those of the start; it is replaced as a whole. With --checkpoint the training can be taken up
after any epoch with --resume.
"""
import argparse
import ast
import contextlib
import glob
import importlib.util
import json
import math
import mmap
import os
import struct
import sys
import time
import zipfile

import torch
import torch.distributed as dist
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))


def module():
    """model.py beside this file, whatever else is called so."""
    spec = importlib.util.spec_from_file_location("exported_model", os.path.join(HERE, "model.py"))
    m = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(m)
    return m


model = module()

# The types of .npy files that PyTorch has.
TYPES = {
    "f2": torch.float16,
    "f4": torch.float32,
    "f8": torch.float64,
    "i1": torch.int8,
    "i2": torch.int16,
    "i4": torch.int32,
    "i8": torch.int64,
    "u1": torch.uint8,
    "b1": torch.bool,
}


def fail(text):
    sys.exit(f"train.py: {text}")


def parse_npy(path, name, data):
    """An array of the bytes of an .npy file, which are kept."""
    if bytes(data[:6]) != b"\x93NUMPY":
        fail(f"{path}: {name} is no .npy array")
    long = data[6] > 1
    (n,) = struct.unpack("<I" if long else "<H", data[8 : 12 if long else 10])
    start = (12 if long else 10) + n
    header = ast.literal_eval(bytes(data[start - n : start]).decode("latin1"))
    descr, shape = header["descr"], header["shape"]
    dtype = TYPES.get(descr[1:]) if isinstance(descr, str) and descr[0] in "<|=" else None
    if dtype is None or header["fortran_order"]:
        fail(f"{path}: {name} has elements {descr!r}{' in Fortran order' if header['fortran_order'] else ''}; save it in C order as one of {', '.join(TYPES)}")
    count = math.prod(shape)
    have, want = len(data) - start, count * torch.empty(0, dtype=dtype).element_size()
    if have < want:
        fail(f"{path}: {name} has shape {shape}, which takes {want} bytes, the file holds {have}")
    if count == 0:
        return torch.zeros(shape, dtype=dtype)
    return torch.frombuffer(data, dtype=dtype, count=count, offset=start).reshape(shape)


class Shard:
    """An .npz file. Stored members are mapped; deflated ones are unfolded when they are asked for."""

    def __init__(self, path):
        self.path = path
        try:
            self.zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as e:
            fail(f"{path}: {e}")
        self.names = [n[:-4] for n in self.zip.namelist() if n.endswith(".npy")]
        with open(path, "rb") as f:
            self.map = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY)

    def array(self, name):
        if name not in self.names:
            fail(f"{self.path}: no array {name!r} (there are {', '.join(self.names)})")
        info = self.zip.getinfo(name + ".npy")
        if info.compress_type != zipfile.ZIP_STORED:
            return parse_npy(self.path, name, bytearray(self.zip.read(info)))
        # The lengths of name and extra field in the local header are not those of the directory.
        length, extra = struct.unpack("<HH", self.map[info.header_offset + 26 : info.header_offset + 30])
        start = info.header_offset + 30 + length + extra
        return parse_npy(self.path, name, memoryview(self.map)[start : start + info.file_size])


class Data:
    """Samples of all shards: rows of the inputs with their labels."""

    def __init__(self, pattern, labels, batch_axes):
        paths = sorted(p for part in pattern for p in (glob.glob(part) or [part]))
        self.shards, self.ends, self.batch_axes = [], [], batch_axes
        total = 0
        for path in paths:
            shard = Shard(path)
            arrays = [shard.array(name) for name, *_ in model.INPUTS]
            arrays.append(shard.array(labels))
            sizes = {a.shape[0] if a.dim() else -1 for a in arrays}
            if len(sizes) != 1:
                fail(f"{path}: the arrays do not agree in their number of samples: {sorted(sizes)}")
            for a, (name, _, dims, _) in zip(arrays, model.INPUTS):
                if dims is not None and a.dim() != len(dims):
                    fail(f"{path}: input {name!r}: the array has shape {list(a.shape)}, the model wants {dims}")
            total += sizes.pop()
            self.shards.append(arrays)
            self.ends.append(total)
        self.size = total
        if total == 0:
            fail(f"{' '.join(pattern)}: no samples")

    def batch(self, rows, device):
        """Inputs and labels of some rows, in the types of the model."""
        parts = []
        rows = sorted(rows)
        begin = 0
        for arrays, end in zip(self.shards, self.ends):
            mine = torch.tensor([r - begin for r in rows if begin <= r < end], dtype=torch.int64)
            if len(mine):
                parts.append([a.index_select(0, mine) for a in arrays])
            begin = end
        *inputs, labels = (torch.cat(p) for p in zip(*parts))
        for k, (name, dtype, _, _) in enumerate(model.INPUTS):
            inputs[k] = inputs[k].to(device, dtype or inputs[k].dtype).movedim(0, self.batch_axes.get(name, 0)).contiguous()
        return inputs, labels.to(device)


class World:
    """The processes that train together."""

    def __init__(self):
        self.size, self.rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
        self.device = torch.device("cpu")
        if torch.cuda.is_available():
            self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
            torch.cuda.set_device(self.device)
        self.shared = "RANK" in os.environ
        if self.shared:
            dist.init_process_group("nccl" if self.device.type == "cuda" else "gloo")

    def sum(self, *values):
        t = torch.tensor(values, dtype=torch.float64, device=self.device)
        if self.shared:
            dist.all_reduce(t)
        return t.tolist()

    def say(self, text):
        if self.rank == 0:
            print(text, flush=True)

    def close(self):
        if self.shared:
            dist.destroy_process_group()


class Loss:
    """Of a batch: the loss to minimise, and the numbers that the metric is made of."""

    def __init__(self, kind, output, batch_axis):
        names = [name for name, *_ in model.OUTPUTS]
        if output and output not in names:
            fail(f"--output {output!r}: the model has no such output (there are {', '.join(names)})")
        self.at = names.index(output) if output else 0
        self.kind, self.last, self.batch_axis = kind, model.OUTPUTS[self.at][3], batch_axis

    def choose(self, labels):
        if self.kind == "auto":
            self.kind = "mse" if labels.is_floating_point() else "cross-entropy"

    def output(self, y):
        y = y[self.at] if isinstance(y, tuple) else y
        return y.movedim(self.batch_axis, 0)

    def __call__(self, y, labels):
        """The mean loss, the number of labels, and the metric summed over them: right answers, or squared errors and squared numbers."""
        y = self.output(y)
        if self.kind == "mse":
            labels = labels.to(y.dtype)
            if labels.shape != y.shape:
                fail(f"labels have shape {list(labels.shape)}, the output has {list(y.shape)}")
            return F.mse_loss(y, labels), labels.numel(), float(((y - labels) ** 2).sum()), float((labels**2).sum())
        scores = y.reshape(-1, y.shape[-1])
        labels = labels.reshape(-1).to(torch.int64)
        if len(labels) != len(scores):
            fail(f"{len(labels)} labels for an output of shape {list(y.shape)}: a label for each sample, or for each step")
        if int(labels.max()) >= scores.shape[1] or int(labels.min()) < -1:
            fail(f"labels from {int(labels.min())} to {int(labels.max())} for {scores.shape[1]} classes")
        count = int((labels >= 0).sum())
        right = float((scores.argmax(-1) == labels).sum())
        if self.last == "Softmax":
            loss = F.nll_loss(torch.log(scores.clamp_min(torch.finfo(scores.dtype).tiny)), labels, ignore_index=-1, reduction="sum")
        elif self.last == "LogSoftmax":
            loss = F.nll_loss(scores, labels, ignore_index=-1, reduction="sum")
        else:
            loss = F.cross_entropy(scores, labels, ignore_index=-1, reduction="sum")
        return loss / max(count, 1), count, right, float(count)

    def metric(self, a, b):
        return math.sqrt(a / b) if self.kind == "mse" and b else a / max(b, 1)

    @property
    def metric_name(self):
        return "relative error" if self.kind == "mse" else "accuracy"

    def better(self, a, b):
        return a < b if self.kind == "mse" else a > b


def evaluate(net, data, loss, batch, world):
    """Loss and metric over all samples, each process taking its part."""
    net.eval()
    total, count, a, b = 0.0, 0, 0.0, 0.0
    mine = list(range(world.rank, data.size, world.size))
    with torch.no_grad():
        for k in range(0, len(mine), batch):
            inputs, labels = data.batch(mine[k : k + batch], world.device)
            mean, n, x, y = loss(net(*inputs), labels)
            total, count, a, b = total + float(mean) * n, count + n, a + x, b + y
    total, count, a, b = world.sum(total, count, a, b)
    return total / max(count, 1), loss.metric(a, b)


def save_checkpoint(path, net, optimizer, state):
    """Weights and the state of the optimizer, as tensors: nothing in the file can run."""
    tensors = {"model/" + k: v for k, v in net.state_dict().items()}
    names = {id(p): name for name, p in net.named_parameters()}
    for p, s in optimizer.state.items():
        for key, v in s.items():
            tensors[f"optimizer/{key}/{names[id(p)]}"] = v if torch.is_tensor(v) else torch.tensor(float(v))
    model.write_safetensors(path, tensors, {"trconvert.training": json.dumps(state)})


def load_checkpoint(path, net, optimizer):
    tensors, metadata = model.read_safetensors(path)
    state = json.loads(metadata["trconvert.training"])
    if state["model"] != model.MODEL:
        fail(f"{path}: the checkpoint is of model {state['model']}, this is {model.MODEL}")
    net.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model/")})
    named = dict(net.named_parameters())
    for key, v in tensors.items():
        if key.startswith("optimizer/"):
            _, what, name = key.split("/", 2)
            p = named[name]
            optimizer.state[p][what] = v if what == "step" else v.to(p.device)
    return state


def freeze_unused(net, data, loss, world):
    """Weights that the loss does not depend on get no gradient, which DistributedDataParallel would wait for."""
    inputs, labels = data.batch(range(min(2, data.size)), world.device)
    mean, *_ = loss(net(*inputs), labels)
    mean.backward()
    for p in net.parameters():
        if p.grad is None:
            p.requires_grad_(False)
    net.zero_grad(set_to_none=True)


def train(args, world):
    torch.manual_seed(args.seed)
    net = model.load(args.start or model.WEIGHTS_FILE).to(world.device)
    axes = dict(args.batch_axis)
    data = Data(args.data, args.labels, axes)
    held = Data([args.val], args.labels, axes) if args.val else None
    loss = Loss(args.loss, args.output, axes.get(args.output, 0))
    loss.choose(data.shards[0][-1])
    freeze_unused(net, data, loss, world)
    part = args.batch // world.size
    if part == 0 or args.batch % world.size or args.batch > data.size:
        fail(f"--batch {args.batch}: must be a multiple of the {world.size} processes, and at most the {data.size} samples")
    decay, plain = [], []
    for p in net.parameters():
        if p.requires_grad:
            (plain if max(p.shape, default=1) == p.numel() or p.dim() == 2 and p.shape[0] <= 2 else decay).append(p)
    groups = [{"params": decay, "weight_decay": args.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW([g for g in groups if g["params"]], lr=args.lr)
    state = {"model": model.MODEL, "epoch": 0, "best": None, "seed": args.seed, "epochs": args.epochs}
    if args.resume:
        if not args.checkpoint:
            fail("--resume needs the file of the checkpoint (--checkpoint FILE)")
        if os.path.exists(args.checkpoint):
            state = load_checkpoint(args.checkpoint, net, optimizer)
            if (state["seed"], state["epochs"]) != (args.seed, args.epochs):
                fail(f"{args.checkpoint}: it was made with --seed {state['seed']} --epochs {state['epochs']}, not --seed {args.seed} --epochs {args.epochs}")
    judge = held or data
    if state["epoch"] == 0:
        mean, metric = evaluate(net, judge, loss, part, world)
        world.say(f"before: loss {mean:.4f}, {loss.metric_name} {metric:.4f}")
        state["best"] = metric
        if world.rank == 0:
            net.save_weights(args.out)
    parallel = net
    if world.shared:
        ids = [world.device.index] if world.device.type == "cuda" else None
        parallel = torch.nn.parallel.DistributedDataParallel(net, device_ids=ids)
    steps = data.size // args.batch
    for epoch in range(state["epoch"], args.epochs):
        started = time.time()
        net.train()
        order = torch.randperm(data.size, generator=torch.Generator().manual_seed(args.seed * 1_000_003 + epoch)).tolist()
        total = 0.0
        for step in range(steps):
            rows = order[step * args.batch : (step + 1) * args.batch]
            inputs, labels = data.batch(rows[world.rank * part : (world.rank + 1) * part], world.device)
            rate = args.lr * 0.5 * (1 + math.cos(math.pi * (epoch * steps + step) / (args.epochs * steps)))
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad(set_to_none=True)
            mean, *_ = loss(parallel(*inputs), labels)
            mean.backward()
            torch.nn.utils.clip_grad_norm_([p for p in net.parameters() if p.requires_grad], args.clip)
            optimizer.step()
            total += float(mean)
        (total,) = world.sum(total / (steps * world.size))
        mean, metric = evaluate(net, judge, loss, part, world)
        best = loss.better(metric, state["best"]) or metric == state["best"]
        state["epoch"], state["best"] = epoch + 1, metric if best else state["best"]
        if world.rank == 0:
            if best:
                net.save_weights(args.out)
            if args.checkpoint:
                save_checkpoint(args.checkpoint, net, optimizer, state)
        world.say(f"epoch {epoch + 1}: training loss {total:.4f}, loss {mean:.4f}, {loss.metric_name} {metric:.4f}{' *' if best else ''}  {time.time() - started:.1f} s")
    world.say(f"best {loss.metric_name} {state['best']:.4f}; weights in {args.out}")


def pair(text):
    name, _, axis = text.rpartition("=")
    return name, int(axis)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", nargs="+", required=True, help=".npz files, or patterns of them")
    p.add_argument("--val", help="an .npz file that epochs are judged by (default: the data)")
    p.add_argument("--labels", default="label", help="the array with the labels: a class for each sample or step, −1 for none, or numbers as the output has them (default: label)")
    p.add_argument("--output", help="the output that the labels are for (default: the first)")
    p.add_argument("--loss", default="auto", choices=["auto", "cross-entropy", "mse"])
    p.add_argument("--batch-axis", nargs="*", type=pair, default=[], metavar="NAME=K", help="inputs and outputs of the model whose samples lie along axis K")
    p.add_argument("--epochs", type=int, default=10)
    p.add_argument("--batch", type=int, default=32, help="samples in a step, over all processes")
    p.add_argument("--lr", type=float, default=3e-3, help="highest rate of AdamW, which falls to 0 as a cosine")
    p.add_argument("--weight-decay", type=float, default=1e-4)
    p.add_argument("--clip", type=float, default=1.0, help="largest norm of the gradient")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--start", help="weights to start from (default: those beside this file)")
    p.add_argument("--out", default=os.path.join(HERE, "trained.safetensors"), help="where the weights of the best epoch go, for trconvert import")
    p.add_argument("--checkpoint", help="a file that is written after every epoch")
    p.add_argument("--resume", action="store_true", help="go on from the checkpoint, if there is one")
    args = p.parse_args()
    if args.epochs < 1 or args.batch < 1 or args.lr <= 0:
        p.error("--epochs, --batch and --lr must be above 0")
    world = World()
    with contextlib.closing(world):
        train(args, world)


if __name__ == "__main__":
    main()
