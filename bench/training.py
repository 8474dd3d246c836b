#!/usr/bin/env python3
"""Training steps of our runtime beside PyTorch, in one run: forward, mean square of Y as the loss, backward, Adam; float32.

    python3 bench/training.py [--rounds N] [--steps N] [--threads 1,2] [--case paper|mid|dense|gru] [--clock wall|cpu]

paper: a ring 57600 -> 256 of rank 5, batch 16 x 6 steps. mid: a ring 4096 -> 256 of rank 8, 16 x 32. dense, gru: a plain layer 256 -> 256, 64 x 32. A ring is computed in
the same way by both: its cores are merged to R and L, one product X·R serves all time steps, and a standard LSTM has W = L.

Rounds alternate between the two, so that both see the same load of the machine, and begin with ten steps that do not count. Printed are the medians over all steps of all rounds, the best steps in brackets, the
ratios ours / PyTorch of both, and how much faster the best step becomes with more threads. On a machine that is busy otherwise, --clock cpu counts the time both
spent on processors instead of the time that passed (of all threads; theirs may spin while they wait). Needs Go and PyTorch (Debian: python3-torch).

OpenBLAS of Debian 12 does not know newer processors and would fall back to kernels without AVX. So the script sets OPENBLAS_CORETYPE to the best
the processor can run (SkylakeX with AVX-512, else Haswell).
"""
import argparse, math, os, re, statistics, subprocess, sys, tempfile, time

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--rounds", type=int, default=7)
ap.add_argument("--steps", type=int, default=10, help="of each round")
ap.add_argument("--threads", default="1")
ap.add_argument("--case", default="")
ap.add_argument("--core", default="", help="OPENBLAS_CORETYPE; default: SkylakeX with AVX-512, else Haswell")
ap.add_argument("--clock", choices=("wall", "cpu"), default="wall")
args = ap.parse_args()

with open("/proc/cpuinfo") as f:
    cpuinfo = f.read()
os.environ["OPENBLAS_CORETYPE"] = args.core or ("SkylakeX" if "avx512f" in cpuinfo else "Haswell")
import torch  # noqa: E402 (OpenBLAS reads the variable when it is loaded)

WARM = 10  # steps of each round that do not count, as in BenchmarkTrainingStep

# name: input modes, output modes (the gates in the last one), rank, batch, time steps; rank 0 is a dense W
CASES = {
    "paper": ([4, 2, 5, 8, 6, 5, 3, 2], [4, 4, 2, 4, 8], 5, 16, 6),
    "mid": ([8, 8, 8, 8], [4, 4, 4, 16], 8, 16, 32),
    "dense": ([256], [1024], 0, 64, 32),
    "gru": ([256], [768], 0, 64, 32),
}


class Ring(torch.nn.Module):
    """An LSTM whose W is a ring of cores."""

    def __init__(self, ins, outs, rank):
        super().__init__()
        core = lambda n: torch.nn.Parameter(torch.randn(rank, n, rank) / math.sqrt(rank) / n**0.25)
        self.rank, self.hidden = rank, math.prod(outs) // 4
        self.ins = torch.nn.ParameterList([core(n) for n in ins])
        self.outs = torch.nn.ParameterList([core(n) for n in outs])
        self.r = torch.nn.Parameter(torch.randn(4 * self.hidden, self.hidden) / math.sqrt(self.hidden))
        self.b = torch.nn.ParameterList([torch.nn.Parameter(torch.zeros(4 * self.hidden)) for _ in "xh"])

    def merged(self, cores):
        """The product of a side's cores as a matrix [modes, r_first · r_last]."""
        m = cores[-1]
        for c in reversed(cores[:-1]):
            m = (c.reshape(-1, self.rank) @ m.reshape(self.rank, -1)).reshape(self.rank, -1, self.rank)
        return m.transpose(0, 1).reshape(-1, self.rank**2)

    def forward(self, x):
        steps, batch, width = x.shape
        left = self.merged(list(self.outs))
        z = (x.reshape(-1, width) @ self.merged(list(self.ins))).reshape(steps, batch, -1)
        state = torch.zeros(1, batch, self.hidden)
        return torch._VF.lstm(z, (state, state), [left, self.r, *self.b], True, 1, 0.0, True, False, False)[0]


def rival(name):
    """A function that runs one step of PyTorch and returns its seconds."""
    ins, outs, rank, batch, steps = CASES[name]
    width, rows = math.prod(ins), math.prod(outs)
    torch.manual_seed(0)
    if rank:
        model = Ring(ins, outs, rank)
        run = model
    else:
        model = torch.nn.GRU(width, rows // 3) if name == "gru" else torch.nn.LSTM(width, rows // 4)
        run = lambda x: model(x)[0]
    optimizer, x = torch.optim.Adam(model.parameters(), 1e-4), torch.randn(steps, batch, width)
    clock = time.process_time if args.clock == "cpu" else time.perf_counter

    def step():
        start = clock()
        optimizer.zero_grad()
        run(x).square().mean().backward()
        optimizer.step()
        return clock() - start

    step()
    return step


def ours(binary, name, threads):
    """Median and least milliseconds of some steps of ours."""
    out = subprocess.run([binary, "-test.run", "^$", "-test.bench", "^BenchmarkTrainingStep$/^%s$" % name, "-test.benchtime", "%dx" % args.steps],
                         capture_output=True, text=True, check=True, env=dict(os.environ, GOMAXPROCS=str(threads))).stdout
    figures = {unit: float(v) for v, unit in re.findall(r"([\d.e+]+) (\S+-ms)", out)}
    return figures[args.clock + "-ms"], figures["best-" + args.clock + "-ms"]


def main():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    model = re.search(r"model name\s*: (.*)", cpuinfo)
    print("%s; PyTorch %s, OPENBLAS_CORETYPE=%s; %d rounds of %d steps, %s time" % (
        model.group(1) if model else "unknown processor", torch.__version__, os.environ["OPENBLAS_CORETYPE"], args.rounds, args.steps, args.clock))
    print("milliseconds a step, median (best)")
    print("%-6s %7s  %15s  %15s  %6s  %6s  %8s" % ("case", "threads", "ours", "PyTorch", "ratio", "(best)", "speed-up"))
    with tempfile.TemporaryDirectory() as tmp:
        binary = os.path.join(tmp, "runtime.test")
        subprocess.run(["go", "test", "-c", "-o", binary, "./runtime"], cwd=root, check=True)
        for name in CASES:
            if args.case not in ("", name):
                continue
            first = None
            for threads in map(int, args.threads.split(",")):
                torch.set_num_threads(threads)
                theirs, us, best, them = rival(name), [], [], []
                for _ in range(args.rounds):
                    m, b = ours(binary, name, threads)
                    us.append(m)
                    best.append(b)
                    for _ in range(WARM):
                        theirs()
                    them += [1000 * theirs() for _ in range(args.steps)]
                mu, mt = statistics.median(us), statistics.median(them)
                first = first or min(best)
                print("%-6s %7d  %6.1f (%6.1f)  %6.1f (%6.1f)  %6.2f  %6.2f  %8.2f" % (
                    name, threads, mu, min(best), mt, min(them), mu / mt, min(best) / min(them), first / min(best)), flush=True)


main()
