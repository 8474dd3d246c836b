#!/usr/bin/env python3
"""One sweep of our ring solver beside the same algorithm in NumPy, on the same matrices, from the same start, in one run.

    python3 bench/ring.py PEERS [--case paper] [--rounds N] [--threads 1] [--clock wall|cpu] [--tensorly]

PEERS is a folder with ring_numpy.py (exact alternating least squares half by half: functions chain, side, fit and a table CASES) and, for --tensorly, the
package tensorly. Rounds alternate between the two programs, so that both see the same load of the machine. A round's figure is the median of 5 sweeps of
each: NumPy's first five, and ours after five more, which find their memory from the sweeps before but keep nothing else of W than NumPy does, W itself.
Neither counts the start or an analysis of W. Printed are the medians over the rounds, the best rounds in brackets, the ratios ours / theirs of both, and
the errors after the first sweeps. On a machine that is busy otherwise, use --clock cpu, which counts the time both spent on processors: by the clock on
the wall the longer sweep is interrupted more often, and the ratio says little. --tensorly adds one sweep of TensorLy's TR-ALS, normal equations and
least squares, for the cases whose least squares need less than 8 GB.

Needs Go and a NumPy that uses OpenBLAS (Debian: python3-numpy, libopenblas0-pthread). OpenBLAS of Debian 12 does not know newer processors and would fall
back to kernels without AVX, so the script sets OPENBLAS_CORETYPE and says what OpenBLAS made of it.
"""
import argparse, ctypes, importlib.util, os, re, statistics, subprocess, sys, tempfile, time

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("peers")
ap.add_argument("--case", default="")
ap.add_argument("--rounds", type=int, default=7)
ap.add_argument("--threads", type=int, default=1)
ap.add_argument("--clock", choices=("wall", "cpu"), default="wall")
ap.add_argument("--tensorly", action="store_true")
args = ap.parse_args()

with open("/proc/cpuinfo") as f:
    cpuinfo = f.read()
os.environ["OPENBLAS_CORETYPE"] = "SkylakeX" if "avx512f" in cpuinfo else "Haswell"
os.environ["OPENBLAS_NUM_THREADS"] = str(args.threads)
os.environ.pop("OPENBLAS_L2_SIZE", None)  # shrinks its blocks
import numpy as np  # noqa: E402 (OpenBLAS reads the variables when it is loaded)

SWEEPS = 5  # of a round


def openblas_core():
    np.ones((2, 2), np.float32) @ np.ones((2, 2), np.float32)
    with open("/proc/self/maps") as f:
        paths = {line.split()[-1] for line in f if ".so" in line and "blas" in line.lower()}
    for path in sorted(paths):
        for suffix in ("", "64_"):
            name = getattr(ctypes.CDLL(path), "openblas_get_corename" + suffix, None)
            if name:
                name.restype = ctypes.c_char_p
                return name().decode()
    sys.exit("NumPy does not use OpenBLAS: %s (apt-get install libopenblas0-pthread)" % (sorted(paths) or "no BLAS loaded"))


def load_peer():
    spec = importlib.util.spec_from_file_location("ring_numpy", os.path.join(args.peers, "ring_numpy.py"))
    peer, sys.argv = importlib.util.module_from_spec(spec), ["ring_numpy.py", "paper", "--threads", str(args.threads)]
    spec.loader.exec_module(peer)
    if args.clock == "cpu":
        peer.time = type("clock", (), {"time": staticmethod(time.process_time)})
    return peer


def data(peer, case):
    """W: a random ring with 1 % noise, or (mid16) singular values i^-0.8. And a random start."""
    ins, outs, rank, r0 = peer.CASES[case]
    rows, cols = int(np.prod(outs)), int(np.prod(ins))
    rng = np.random.default_rng(0)
    if case == "mid16":
        k = min(rows, cols)
        basis = [np.linalg.qr(rng.standard_normal((n, k)))[0] for n in (rows, cols)]
        w = ((basis[0] * np.arange(1, k + 1) ** -0.8) @ basis[1].T).astype(np.float32)
    else:
        right, left = peer.side(peer.chain(rng, ins, rank, r0, rank)), peer.side(peer.chain(rng, outs, rank, rank, r0))
        w = left.reshape(rows, rank, r0).transpose(0, 2, 1).reshape(rows, -1) @ right.T
        w += 0.01 * np.linalg.norm(w) / np.sqrt(w.size) * rng.standard_normal(w.shape, dtype=np.float32)
    rng = np.random.default_rng(1)
    return w, peer.chain(rng, ins, rank, r0, rank), peer.chain(rng, outs, rank, rank, r0)


def ours(binary, folder, case):
    """Seconds of a sweep in the median, and the errors after the first ones."""
    env = {**os.environ, "TRCONVERT_RING_DATA": folder, "GOMAXPROCS": str(args.threads)}
    out = subprocess.run([binary, "-test.run", "^$", "-test.bench", "^BenchmarkSweep$/^case=%s$" % case, "-test.benchtime", "%dx" % SWEEPS],
                         capture_output=True, text=True, env=env, check=True).stdout
    metric = {unit: float(value) for value, unit in re.findall(r"([\d.e+-]+) (\S+)", out)}
    unit = "median-cpu-ns" if args.clock == "cpu" else "median-ns"
    if unit not in metric:
        sys.exit("no result from the benchmark:\n" + out)
    return metric[unit] / 1e9, [metric["error%d" % i] for i in range(1, SWEEPS + 1)]


def tensorly(peer, case, w):
    """Seconds of one sweep of TensorLy's TR-ALS by normal equations and by least squares."""
    sys.path.insert(0, args.peers)
    import tensorly as tl
    from tensorly.decomposition import tensor_ring_als
    ins, outs, rank, r0 = peer.CASES[case]
    x = tl.tensor(np.ascontiguousarray(w.T).reshape(ins + outs))
    for solve in ("normal_eq", "lstsq"):
        if w.size * rank * r0 * 16 > 8 << 30 and solve == "lstsq":
            print("%-8s TensorLy %s, %s: left out, it needs more than 8 GB" % (case, tl.__version__, solve))
            continue
        clock = time.process_time if args.clock == "cpu" else time.perf_counter
        start = clock()
        f = tensor_ring_als(x, rank=[r0] + [rank] * (len(ins + outs) - 1) + [r0], n_iter_max=1, ls_solve=solve, random_state=0)
        spent = clock() - start
        err = np.linalg.norm(f.to_tensor() - x) / np.linalg.norm(x)
        print("%-8s TensorLy %s, %s: %.2f s a sweep, error %.4f after one" % (case, tl.__version__, solve, spent, err), flush=True)


def main():
    peer = load_peer()
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    model = re.search(r"model name\s*: (.*)", cpuinfo)
    print("%s; NumPy %s, OpenBLAS core %s (OPENBLAS_CORETYPE=%s); threads: %d; %d rounds of %d sweeps; clock: %s; load %.1f" % (
        model.group(1) if model else "unknown processor", np.__version__, openblas_core(), os.environ["OPENBLAS_CORETYPE"], args.threads,
        args.rounds, SWEEPS, args.clock, os.getloadavg()[0]))
    print("%-8s  %18s  %18s  %6s  %6s  errors after sweeps 1 to %d, ours and NumPy's" % ("case", "ours, ms (best)", "NumPy, ms (best)", "ratio", "(best)", SWEEPS))
    with tempfile.TemporaryDirectory() as tmp:
        binary = os.path.join(tmp, "trals.test")
        subprocess.run(["go", "test", "-c", "-o", binary, "./trals"], cwd=root, check=True)
        for case in peer.CASES:
            if args.case not in ("", case):
                continue
            w, ins, outs = data(peer, case)
            w.tofile(os.path.join(tmp, case + ".w"))
            np.concatenate([g.ravel() for g in ins + outs]).astype(np.float32).tofile(os.path.join(tmp, case + ".start"))
            us, them = [], []
            for _ in range(args.rounds):
                spent, errors = ours(binary, tmp, case)
                us.append(spent)
                log = peer.fit(w, ins, outs, SWEEPS)[2]
                them.append(statistics.median(s for _, s in log))
            mu, mt = statistics.median(us), statistics.median(them)
            print("%-8s  %8.2f (%7.2f)  %8.2f (%7.2f)  %6.2f  %6.2f  %s | %s" % (
                case, 1e3 * mu, 1e3 * min(us), 1e3 * mt, 1e3 * min(them), mu / mt, min(us) / min(them),
                " ".join("%.5f" % e for e in errors), " ".join("%.5f" % e for e, _ in log)), flush=True)
            if args.tensorly:
                tensorly(peer, case, w)
            os.remove(os.path.join(tmp, case + ".w"))


main()
