"""How CPU time grows with samples, features and sources, and where it ends.

    python benchmarks/scale.py                       # the table of benchmarks/scale.md
    python benchmarks/scale.py UOWQ KMM --limit 20   # some estimators, longer fits
    python benchmarks/scale.py --rows 10000000       # one pass over so many rows
    python benchmarks/scale.py --weights 1000000     # weights of so many rows in chunks
    python benchmarks/scale.py --code PATH           # UOWQ and KMM of another worktree

One core. Along each axis (samples per source, features, sources) the other two stay at
500, 20 and 3; the target has 500 samples, 50 of them labeled. An axis ends with the
first fit above ``--limit`` seconds. The slope is that of log time over log size over
the last two sizes; the first impractical size is where a line with this slope (at least
0) reaches 10 minutes, and "beyond" more than a million.
"""

import argparse
import os
import resource
import sys
import time
import warnings
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
parser = argparse.ArgumentParser()
parser.add_argument("names", nargs="*", help="estimators; default: one of each family")
parser.add_argument("--limit", type=float, default=4.0)
parser.add_argument("--rows", type=int, help="summarize so many rows in chunks")
parser.add_argument("--weights", type=int, help="weigh so many rows in chunks")
parser.add_argument("--code", type=Path, help="worktree whose UOWQ and KMM are timed")
args = parser.parse_args()
ROOT = Path(__file__).parents[1] if args.code is None else args.code
sys.path[:0] = [str(ROOT), str(Path(__file__).parents[1] / "docs")]

import numpy as np
from sklearn.linear_model import LinearRegression, LogisticRegression
from threadpoolctl import threadpool_limits

from sktransfer.datasets import make_concept_shift

IMPRACTICAL = 600.0
AXES = {
    "n": [250, 1000, 4000, 16_000],
    "d": [10, 40, 160, 640],
    "K": [2, 8, 32, 128],
}
FAMILIES = [
    "Pooled", "KMM", "ULSIF", "TrAdaBoost", "CORAL", "TCA", "JDOT",
    "SecureRLS", "PositiveTransferRidge", "UOWQ", "EmpiricalBayesRidge", "ARMUL",
    "AngleTransfer", "TransGLM", "PeerWeightedEnsemble", "MMDWeightedEnsemble",
    "SelfTraining", "SAFEW", "TransferGuard",
]  # fmt: skip


def rows(task, n=500, d=20, K=3):
    """Draw the samples of a task."""
    return make_concept_shift(
        n, n_labeled=50, n_unlabeled=450, shift=list(np.linspace(0.2, 1.0, K)),
        n_features=d, task=task, random_state=0,
    )  # fmt: skip


def grow(cls, axis, limit):
    """Return sizes and CPU seconds along an axis."""
    from running_times import measure

    sizes, seconds = [], []
    for size in AXES[axis]:
        drawn = {t: rows(t, **{axis: size}) for t in ("classification", "regression")}
        data = {t: [(b.X, b.y, b.sample_domain)] for t, b in drawn.items()}
        found = measure(cls, data, 5 * limit)
        if found is None or not np.isfinite(found[1]):
            break
        sizes.append(size)
        seconds.append(found[1])
        if found[1] > limit:
            break
    return sizes, seconds


def cell(sizes, seconds):
    """Return the last size with its time, the slope, and the first impractical size."""
    if len(sizes) < 2:
        return "-", "-", "-"
    (a, b), (s, t) = sizes[-2:], np.maximum(seconds[-2:], 1e-3)
    slope = max(np.log(t / s) / np.log(b / a), 0.0)
    end = b * (IMPRACTICAL / t) ** (1 / slope) if slope > 0.05 else np.inf
    far = "beyond" if end > 1e6 else f"{float(f'{end:.1g}'):,.0f}"
    return f"{t:.2g} s at {b}", f"{slope:.1f}", far


def print_growth(names, limit):
    """Print the table, a row per estimator."""
    from pages_from_code import estimator_classes

    classes = {name.rpartition(".")[2]: c for name, c in estimator_classes().items()}
    print("| estimator | " + " | ".join(
        f"time, {a} | slope | impractical" for a in AXES) + " |")  # fmt: skip
    print("| --- |" + " --- |" * 9)
    for name in names:
        if name not in classes:
            print(f"| {name} | unknown |")
            continue
        cells = [c for axis in AXES for c in cell(*grow(classes[name], axis, limit))]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def print_one_pass(n_rows, chunk=100_000, d=20):
    """Summarize rows that are drawn chunk by chunk; print time and memory."""
    from sktransfer.multisource import summarize_source

    rng, slope = np.random.default_rng(0), np.arange(d) / d
    drawing = 0.0

    def chunks():
        nonlocal drawing
        for start in range(0, n_rows, chunk):
            begin = time.process_time()
            X = rng.normal(size=(min(chunk, n_rows - start), d))
            y = X @ slope + rng.normal(size=len(X))
            drawing += time.process_time() - begin
            yield X, y

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    begin = time.process_time()
    summary = summarize_source(LinearRegression(), chunks())
    seconds = time.process_time() - begin - drawing
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    error = np.max(np.abs(summary.coef - slope))
    print(
        f"{summary}: {seconds:.1f} s beside {drawing:.1f} s of drawing; peak memory "
        f"{peak:.0f} MB, {before:.0f} MB of it before; noise {summary.noise:.4f}; "
        f"largest error of a coefficient {error:.1e}, of standard error "
        f"{1 / np.sqrt(n_rows):.1e}"
    )


def print_weights_of_chunks(n_rows, chunk=100_000, d=20):
    """Weigh rows that are drawn anew in every pass; print time, memory and error."""
    from sktransfer.instance import density_ratio_of_chunks, kmm_weights_of_chunks

    drawing, passes = 0.0, 0

    def chunks():
        nonlocal drawing, passes
        passes += 1
        rng = np.random.default_rng(0)
        for start in range(0, n_rows, chunk):
            begin = time.process_time()
            X = rng.normal(size=(min(chunk, n_rows - start), d))
            drawing += time.process_time() - begin
            yield X

    target = np.random.default_rng(1).normal(size=(10_000, d))
    target[:, 0] += 0.5
    truth = np.concatenate([np.exp(0.5 * X[:, 0] - 0.125) for X in chunks()])
    for weigh in (density_ratio_of_chunks, kmm_weights_of_chunks):
        drawing, passes = 0.0, 0
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        begin = time.process_time()
        weights, info = weigh(chunks, target, return_info=True)
        seconds = time.process_time() - begin - drawing
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{weigh.__name__}: {seconds:.1f} s beside {drawing:.1f} s of drawing, "
            f"{passes} passes; peak memory {peak:.0f} MB, {before:.0f} MB before; "
            f"correlation with the ratio {np.corrcoef(weights, truth)[0, 1]:.3f}\n"
            f"    {info}",
            flush=True,
        )


def print_beside():
    """Print the times of the UOWQ and KMM of this code, to compare worktrees."""
    from sktransfer.instance import kmm_weights
    from sktransfer.multisource import UOWQ

    rng = np.random.default_rng(0)
    centers = 0.2 * rng.normal(size=(7, 1024))
    y = np.append(np.tile(np.arange(600 // 3) % 7, 3), np.repeat(np.arange(7), 3))
    domain = np.append(np.repeat([1, 2, 3], 200), np.full(21, -1))
    shift = 0.1 * np.maximum(domain, 1)[:, None, None] * rng.normal(size=(1, 7, 1024))
    X = (centers + shift)[np.arange(621), y] + rng.normal(size=(621, 1024))
    learner = LogisticRegression(max_iter=1000)
    pooled = cpu(lambda: learner.fit(X, y))
    fit = cpu(lambda: UOWQ(learner).fit(X, y, sample_domain=domain))
    weights = UOWQ(learner).fit(X, y, sample_domain=domain).source_weights_
    print(f"UOWQ, d=1024, 7 classes: {fit:.3f} s, {fit / pooled:.1f} pooled fits; "
          f"weights {weights.round(8).tolist()}", flush=True)  # fmt: skip
    for n in (2000, 4000, 6000):
        A, B = rng.normal(size=(2, n, 20))
        B[:, 0] += 1
        for solver in ("auto", "dense"):
            info = []

            def solve(A=A, B=B, solver=solver, info=info):
                info.append(kmm_weights(
                    A, B, gamma=0.025, solver=solver, return_info=True)[1])  # fmt: skip

            seconds = cpu(solve, 1)
            print(f"KMM, n={n}, {solver} ({info[-1].solver}): {seconds:.2f} s, "
                  f"gap {info[-1].duality_gap:.0e}", flush=True)  # fmt: skip


def cpu(run, repeats=3):
    """Return the median of CPU seconds."""
    seconds = []
    for _ in range(repeats):
        begin = time.process_time()
        run()
        seconds.append(time.process_time() - begin)
    return float(np.median(seconds))


if __name__ == "__main__":
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if args.rows:
            print_one_pass(args.rows)
        elif args.weights:
            print_weights_of_chunks(args.weights)
        elif args.code:
            print_beside()
        else:
            print_growth(args.names or FAMILIES, args.limit)
