#!/usr/bin/env python3
"""Our float32 matrix kernels beside OpenBLAS (through NumPy), in one run.

    python3 bench/gemm.py [--rounds N] [--kernel avx512|avx2|go] [--threads 1,2] [--shape SUBSTRING] [--seconds S] [--clock wall|cpu]

Rounds alternate between the two, so that both see the same load of the machine; printed are the medians over the rounds, the best rounds in
brackets, and the ratio ours / OpenBLAS of both. On a machine that is busy otherwise, --clock cpu counts the time both spent on processors instead
of the time that passed (times the number of threads; OpenBLAS's threads spin while they wait, and that counts). Needs Go and a NumPy that uses OpenBLAS (Debian: python3-numpy, libopenblas0-pthread).

OpenBLAS of Debian 12 does not know newer processors and would fall back to kernels without AVX. So the script sets OPENBLAS_CORETYPE to the best
the processor can run (SkylakeX with AVX-512, else Haswell) and says what OpenBLAS made of it.
"""
import argparse, ctypes, os, re, statistics, subprocess, sys, tempfile, time

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--rounds", type=int, default=9)
ap.add_argument("--kernel", default="", help="default: the best the processor has")
ap.add_argument("--threads", default="1,2")
ap.add_argument("--shape", default="")
ap.add_argument("--seconds", type=float, default=0.1, help="of each round")
ap.add_argument("--core", default="", help="OPENBLAS_CORETYPE; default: SkylakeX with AVX-512, else Haswell")
ap.add_argument("--clock", choices=("wall", "cpu"), default="wall")
args = ap.parse_args()

with open("/proc/cpuinfo") as f:
    cpuinfo = f.read()
os.environ["OPENBLAS_CORETYPE"] = args.core or ("SkylakeX" if "avx512f" in cpuinfo else "Haswell")
os.environ.pop("OPENBLAS_L2_SIZE", None)  # shrinks its blocks
import numpy as np  # noqa: E402 (OpenBLAS reads the variables when it is loaded)


def openblas():
    """The library NumPy loaded, if it is OpenBLAS."""
    np.ones((2, 2), np.float32) @ np.ones((2, 2), np.float32)
    with open("/proc/self/maps") as f:
        paths = {line.split()[-1] for line in f if ".so" in line and "blas" in line.lower()}
    for path in sorted(paths):
        for suffix in ("", "64_"):
            lib = ctypes.CDLL(path)
            if hasattr(lib, "openblas_set_num_threads" + suffix):
                return lib, suffix
    sys.exit("NumPy does not use OpenBLAS: %s (apt-get install libopenblas0-pthread)" % (sorted(paths) or "no BLAS loaded"))


lib, suffix = openblas()
core = getattr(lib, "openblas_get_corename" + suffix)
core.restype = ctypes.c_char_p
set_threads = getattr(lib, "openblas_set_num_threads" + suffix)

# name of BenchmarkF32: (op(A) transposed, op(B) transposed, m, k, n)
SHAPES = {
    "512x512x512": (0, 0, 512, 512, 512),
    "1024x1024x1024": (0, 0, 1024, 1024, 1024),
    "57600x1024x50": (0, 0, 57600, 1024, 50),
    "57600x1024x50-At": (1, 0, 57600, 1024, 50),
    "1024x57600x50": (0, 0, 1024, 57600, 50),
    "57600x1024x25": (0, 0, 57600, 1024, 25),
    "64x256x1024": (0, 0, 64, 256, 1024),
    "64x256x1024-Bt": (0, 1, 64, 256, 1024),
    "64x256x1024-packed": (0, 1, 64, 256, 1024),
    "16x256x1024-packed": (0, 1, 16, 256, 1024),
    "4x256x1024-packed": (0, 1, 4, 256, 1024),
    "2x256x1024-packed": (0, 1, 2, 256, 1024),
    "1x256x1024-packed": (0, 1, 1, 256, 1024),
    "16x256x1024-Bt": (0, 1, 16, 256, 1024),
    "4x256x1024-Bt": (0, 1, 4, 256, 1024),
    "1x256x1024-Bt": (0, 1, 1, 256, 1024),
    "1x1024x1024": (0, 0, 1, 1024, 1024),
}


def rival(shape, threads):
    """A function that times one round of OpenBLAS, in GFLOP/s."""
    ta, tb, m, k, n = shape
    r = np.random.default_rng(0)
    a = r.standard_normal((k, m) if ta else (m, k), dtype=np.float32)
    b = r.standard_normal((n, k) if tb else (k, n), dtype=np.float32)
    x, y, c = (a.T if ta else a), (b.T if tb else b), np.empty((m, n), np.float32)

    def round_():
        done, start, cpu = 0, time.perf_counter(), time.process_time()
        step = max(1, int(2e7 / (m * k * n)))
        while True:
            for _ in range(step):
                np.matmul(x, y, out=c)
            done += step
            spent = time.perf_counter() - start
            if spent >= args.seconds:
                if args.clock == "cpu":
                    spent = (time.process_time() - cpu) / threads
                return 2e-9 * m * k * n * done / spent

    round_()
    return round_


def ours(binary, name, threads):
    """One round of our benchmark, in GFLOP/s."""
    pattern = "^BenchmarkF32$/^shape=%s$/^kernel=%s$/^threads=%d$" % (name, args.kernel, threads)
    out = subprocess.run([binary, "-test.run", "^$", "-test.bench", pattern, "-test.benchtime", "%gs" % args.seconds],
                         capture_output=True, text=True, check=True).stdout
    m = re.search(r"([\d.]+) GFLOP/" + ("cpu-s" if args.clock == "cpu" else "s"), out)
    if not m:
        sys.exit("no result from the benchmark:\n" + out)
    return float(m.group(1))


def main():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with tempfile.TemporaryDirectory() as tmp:
        binary = os.path.join(tmp, "gemm.test")
        subprocess.run(["go", "test", "-c", "-o", binary, "./internal/gemm"], cwd=root, check=True)
        if not args.kernel:
            out = subprocess.run([binary, "-test.run", "^TestPick$", "-test.v"], capture_output=True, text=True, check=True).stdout
            args.kernel = re.search(r"best set: (\w+)", out).group(1)
        model = re.search(r"model name\s*: (.*)", cpuinfo)
        print("%s, kernel %s; NumPy %s, OpenBLAS core %s (OPENBLAS_CORETYPE=%s); %d rounds of %g s" % (
            model.group(1) if model else "unknown processor", args.kernel, np.__version__, core().decode(), os.environ["OPENBLAS_CORETYPE"],
            args.rounds, args.seconds))
        print("GFLOP/s, median (best)")
        print("%-20s %7s  %15s  %15s  %6s  %6s" % ("shape m x k x n", "threads", "ours", "OpenBLAS", "ratio", "(best)"))
        for name, shape in SHAPES.items():
            if args.shape not in name:
                continue
            for threads in map(int, args.threads.split(",")):
                set_threads(threads)
                theirs = rival(shape, threads)
                pairs = [(ours(binary, name, threads), theirs()) for _ in range(args.rounds)]
                us, them = zip(*pairs)
                mu, mt = statistics.median(us), statistics.median(them)
                print("%-20s %7d  %6.1f (%6.1f)  %6.1f (%6.1f)  %6.2f  %6.2f" % (
                    name, threads, mu, max(us), mt, max(them), mu / mt, max(us) / max(them)), flush=True)


main()
