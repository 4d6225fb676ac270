"""Speed, memory and accuracy of KMM and TCA, beside other libraries and yardsticks.

Run::

    python benchmarks/kernel_methods.py                  # sktransfer and yardsticks
    python benchmarks/kernel_methods.py --peers          # and skada, adapt
    python benchmarks/kernel_methods.py --large          # and up to 10^6 rows
    python benchmarks/kernel_methods.py --sizes 500 1000 --out results

Source and target have n rows each of 20 standard normal features, the target's first
feature moved by 1. TCA therefore works on 2n rows. Every cell of the table runs in a
process of its own, on one thread (``--large``: two), and is stopped at ``--limit``
seconds of processor time; a method that was stopped is not tried at larger sizes.
Inputs, imports and the width of the kernel are not timed.

Columns: processor and wall-clock seconds; peak memory above that of the process with
its inputs; "error", which is the relative objective gap of KMM's weights (Frank-Wolfe
gap over the absolute objective, after projection on the constraints) and the
relative eigen-residual of TCA's components (of Rayleigh-Ritz pairs in the span that a
method returns), both with the exact kernel, up to 8000 rows; "stated", what
sktransfer itself reports: the gap and the estimated error of the approximation.

The table goes to the screen and with a log-log plot to ``--out``. A slope is fitted
to the logarithms of time and size over the three largest sizes.

Peers' defaults are kept but for the kernel's width and the number of components,
equal for all. They are no dependencies: a peer that cannot be imported is left out.
"""

import argparse
import contextlib
import csv
import json
import os
import resource
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np

FEATURES, COMPONENTS = 20, 10
SIZES = (500, 1000, 2000, 4000, 8000, 16000)
COLUMNS = (
    "problem",
    "method",
    "n_source",
    "n_target",
    "cpu_s",
    "wall_s",
    "extra_mb",
    "error",
    "stated",
    "status",
)
#: figures of another run of other people's programs, shown where adapt is missing:
#: (problem, method, n, processor seconds, MB)
REFERENCE = (
    ("KMM", "adapt, one QP (reference)", 2000, 11.9, 224),
    ("KMM", "adapt, one QP (reference)", 4000, 90.0, 869),
    ("KMM", "adapt, batches (reference)", 4000, 4.6, None),
    ("TCA", "adapt (reference)", 2000, 54.8, 1200),
)


def make_data(n_source, n_target):
    rng = np.random.default_rng(0)
    X_source = rng.normal(size=(n_source, FEATURES))
    X_target = rng.normal(size=(n_target, FEATURES))
    X_target[:, 0] += 1.0
    return X_source, X_target


def stacked(X_source, X_target):
    domain = np.repeat([1, -2], [len(X_source), len(X_target)])
    return np.concatenate([X_source, X_target]), domain


# Each method: prepare(X_source, X_target, gamma) -> a function without arguments that
# is timed and returns (result, what it states).


def our_kmm(X_source, X_target, gamma, **options):
    from sktransfer.instance import kmm_weights

    def run():
        weights, info = kmm_weights(
            X_source, X_target, gamma=gamma, return_info=True, **options
        )
        stated = f"gap {info.duality_gap:.1e}"
        if info.approximation_error:
            stated += (
                f", approximation {info.approximation_error:.1e} (standard error "
                f"{info.approximation_stderr:.1e}), rank {info.rank}"
            )
        return weights, stated

    return run


def skada_kmm(X_source, X_target, gamma, **options):
    from skada import KMMReweightAdapter

    X, domain = stacked(X_source, X_target)
    adapter = KMMReweightAdapter(gamma=gamma, **options)

    def run():
        return adapter.fit(X, sample_domain=domain).source_weights_, ""

    return run


def adapt_kmm(X_source, X_target, gamma, **options):
    from adapt.instance_based import KMM

    model = KMM(gamma=gamma, verbose=0, random_state=0, **options)
    return lambda: (model.fit_weights(X_source, X_target), "")


def our_tca(X_source, X_target, gamma, **options):
    from sktransfer.feature import TCA

    X, domain = stacked(X_source, X_target)
    tca = TCA(COMPONENTS, gamma=gamma, mu=1.0, memory_budget=4096, **options)

    def run():
        tca.fit(X, sample_domain=domain)
        return tca.components_, f"residual {tca.residual_:.1e}"

    return run


def our_nystroem_tca(X_source, X_target, gamma):
    from sktransfer._solvers.tca import tca_components

    X, domain = stacked(X_source, X_target)

    def run():
        _, _, info = tca_components(
            X, domain > 0, n_components=COMPONENTS, gamma=gamma, eigen_solver="nystroem"
        )
        return None, (
            f"subspace angle {info.subspace_error:.1e}, objective missed "
            f"{info.objective_error:.1e}, exact residual {info.exact_residual:.1e}"
        )

    return run


def skada_tca(X_source, X_target, gamma):
    from skada._subspace import TransferComponentAnalysisAdapter as Adapter

    X, domain = stacked(X_source, X_target)
    adapter = Adapter(n_components=COMPONENTS, mu=1.0)  # its kernel width is 1 / d
    return lambda: (adapter.fit(X, sample_domain=domain).eigvects_, "")


def adapt_tca(X_source, X_target, gamma):
    from adapt.feature_based import TCA

    model = TCA(n_components=COMPONENTS, mu=1.0, gamma=gamma, verbose=0)

    def run():
        model.fit_transform(X_source, X_target)
        return model.vectors_, ""

    return run


def kernel_product(X_source, X_target, gamma):
    from sklearn.metrics.pairwise import rbf_kernel

    return lambda: (rbf_kernel(X_source, gamma=gamma) @ np.ones(len(X_source)), "")


def dense_eigh(X_source, X_target, gamma):
    from scipy.linalg import eigh
    from sklearn.metrics.pairwise import rbf_kernel

    K = rbf_kernel(X_source, gamma=gamma)
    return lambda: (eigh(K, check_finite=False)[0], "")


METHODS = {
    ("KMM", "sktransfer, dense"): (our_kmm, {"solver": "dense"}),
    ("KMM", "sktransfer, low rank"): (our_kmm, {"solver": "low_rank"}),
    ("KMM", "skada, Frank-Wolfe"): (skada_kmm, {}),
    ("KMM", "skada, scipy"): (skada_kmm, {"solver": "scipy"}),
    ("KMM", "adapt, one QP"): (adapt_kmm, {"max_size": 10**9}),
    ("KMM", "adapt, batches"): (adapt_kmm, {}),
    ("TCA", "sktransfer"): (our_tca, {}),
    ("TCA", "sktransfer, Nystroem"): (our_nystroem_tca, {}),
    ("TCA", "skada"): (skada_tca, {}),
    ("TCA", "adapt"): (adapt_tca, {}),
    ("yardstick", "kernel product, n rows"): (kernel_product, {}),
    ("yardstick", "dense eigh, n rows"): (dense_eigh, {}),
}
LARGE = (
    ("KMM", "sktransfer, low rank", 100_000, 10_000, {"memory_budget": 2048}),
    ("KMM", "sktransfer, low rank", 1_000_000, 100_000, {"memory_budget": 2048}),
    ("TCA", "sktransfer, Nystroem", 25_000, 25_000, {}),
)


def kmm_gap(weights, X_source, X_target, gamma):
    from sktransfer._solvers.kernels import kernel_matrix, kernel_row_means
    from sktransfer._solvers.kmm import certificate, usual_eps
    from sktransfer._solvers.projections import project_box_slab

    n, upper = len(X_source), 1000.0
    eps = usual_eps(n)
    bounds = (n * (1 - eps), n * (1 + eps))
    weights = project_box_slab(np.asarray(weights, dtype=float), upper, *bounds)
    K = kernel_matrix(X_source, gamma=gamma)
    kappa = n * kernel_row_means(X_source, X_target, gamma=gamma)
    return certificate(
        K, kappa, weights, upper=upper, sum_bounds=bounds, tol=1e-6
    ).duality_gap


def tca_residual(W, X_source, X_target, gamma):
    from scipy.linalg import eigh

    from sktransfer._solvers.kernels import kernel_matrix
    from sktransfer._solvers.tca import domain_vector, relative_residual

    X, domain = stacked(X_source, X_target)
    K = kernel_matrix(X, gamma=gamma)
    Z = K @ W
    left = K @ (Z - Z.mean(axis=0))
    u = K @ domain_vector(domain > 0)
    right = np.multiply.outer(u, u @ W) + W
    values, mix = eigh(W.T @ left, W.T @ right)
    return relative_residual(left @ mix[:, ::-1], right @ mix[:, ::-1], values[::-1])


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextlib.contextmanager
def processor_limit(seconds):
    """End this process by a signal once the block has used so much processor time."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    until = int(time.process_time() + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (until, hard))
    yield
    resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))


def run_cell(cell):
    """Run one cell in this process and print it as JSON."""
    problem, method, n_source, n_target, options, limit = cell
    X_source, X_target = make_data(n_source, n_target)
    # a peer's TCA has this width alone; the other is about the median rule's, which
    # is not computed here because it would raise the peak that memory is counted from
    gamma = 1.0 / FEATURES if problem == "TCA" else 0.5 / FEATURES
    prepare, more = METHODS[problem, method]
    warnings.simplefilter("ignore")
    run = prepare(X_source, X_target, gamma, **{**more, **options})
    before = peak_mb()
    with processor_limit(limit):
        cpu, wall = time.process_time(), time.perf_counter()
        result, stated = run()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    row = {"cpu_s": cpu, "wall_s": wall, "extra_mb": peak_mb() - before}
    row["error"], row["stated"] = None, stated
    if problem == "KMM" and n_source <= 8000:
        row["error"] = kmm_gap(result, X_source, X_target, gamma)
    if problem == "TCA" and result is not None and n_source + n_target <= 8000:
        row["error"] = tca_residual(result, X_source, X_target, gamma)
    print("\n" + json.dumps(row))


def start_cell(problem, method, n_source, n_target, options, limit, threads):
    """Run one cell in a process of its own; one row of the table."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
    }
    row = {"problem": problem, "method": method, "n_source": n_source}
    row["n_target"] = n_target
    cell = json.dumps([problem, method, n_source, n_target, options, limit])
    try:
        done = subprocess.run(
            [sys.executable, __file__, "--cell", cell],
            env=environment,
            capture_output=True,
            text=True,
            timeout=10 * limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {**row, "status": f"> {limit:g} s"}
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        killed = done.returncode == -signal.SIGKILL
        return {**row, "status": "out of memory" if killed else f"> {limit:g} s"}
    if done.returncode:
        return {**row, "status": "failed: " + done.stderr.strip().split("\n")[-1][:90]}
    return {**row, **json.loads(done.stdout.strip().split("\n")[-1]), "status": "ok"}


def installed(library):
    command = [sys.executable, "-c", f"import {library}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def chosen_methods(peers, only):
    libraries = {name: peers and installed(name) for name in ("skada", "adapt")}
    kept = [
        key
        for key in METHODS
        if libraries.get(key[1].split(",")[0], True)
        and any(part in ": ".join(key) for part in only)
    ]
    return kept, peers and not libraries["adapt"]


def cells(sizes, methods, limit, large):
    for n in sizes:
        for problem, method in methods:
            yield problem, method, n, n, {}, limit, 1
    for problem, method, n_source, n_target, options in LARGE if large else ():
        if (problem, method) in methods:
            yield problem, method, n_source, n_target, options, 900, 2


def measure(arguments, methods):
    """Yield the rows of the table as they are measured."""
    stopped = set()
    for cell in cells(arguments.sizes, methods, arguments.limit, arguments.large):
        if cell[:2] in stopped and cell[-1] == 1:
            row = dict(zip(COLUMNS, cell[:4], strict=False))
            yield {**row, "status": f"> {arguments.limit:g} s (not tried)"}
            continue
        row = start_cell(*cell)
        if row["status"].startswith((">", "out")):
            stopped.add(cell[:2])
        yield row


def add_slopes(rows):
    """Slope of log time over log size, from the three largest sizes of a method."""
    lines = {}
    for row in rows:
        if row["status"] == "ok" and row["cpu_s"] > 0.005:
            key = row["problem"], row["method"]
            lines.setdefault(key, []).append((row["n_source"], row["cpu_s"]))
    return {
        key: float(np.polyfit(*np.log(np.array(points[-3:])).T, 1)[0])
        for key, points in lines.items()
        if len(points) > 1
    }


def as_markdown(rows, slopes):
    header = (
        "| problem | method | n source | n target | CPU s | wall s | extra MB | error "
        "| stated | slope |"
    )
    lines = [header, "|" + " --- |" * 10]
    last = {
        (row["problem"], row["method"]): i
        for i, row in enumerate(rows)
        if row["status"] == "ok"
    }
    for i, row in enumerate(rows):
        key = row["problem"], row["method"]
        slope = f"{slopes[key]:.2f}" if last.get(key) == i and key in slopes else ""
        cells = [*key, str(row["n_source"]), str(row["n_target"])]
        if row["status"] == "ok":
            cells += [f"{row['cpu_s']:.2f}", f"{row['wall_s']:.2f}"]
            cells += [f"{row['extra_mb']:.0f}"]
            cells += [f"{row['error']:.1e}" if row["error"] is not None else ""]
            cells += [row["stated"], slope]
        else:
            cells += [row["status"], *[""] * 5]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def plot(rows, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    problems = [p for p in ("KMM", "TCA") if any(r["problem"] == p for r in rows)]
    figure, axes = plt.subplots(
        1, len(problems), figsize=(5.5 * len(problems), 4.6), sharey=True, squeeze=False
    )
    markers = dict(zip(METHODS, "osv^<>osv^x+", strict=False))
    for problem, axis in zip(problems, axes[0], strict=True):
        names = dict.fromkeys(
            (r["problem"], r["method"])
            for r in rows
            if r["problem"] in (problem, "yardstick") and r["status"] == "ok"
        )
        for key in names:
            points = [
                (r["n_source"], r["cpu_s"])
                for r in rows
                if (r["problem"], r["method"]) == key
                and r["status"] == "ok"
                and r["cpu_s"] > 0.001
            ]
            style = ":" if key[0] == "yardstick" else "-"
            ours = key[1].startswith("sktransfer")
            axis.plot(
                *np.array(points).reshape(-1, 2).T,
                style,
                marker=markers.get(key, "*"),
                linewidth=2.5 if ours else 1.2,
                color="0.6" if key[0] == "yardstick" else None,
                label=key[1],
            )
        axis.set(xscale="log", yscale="log", xlabel="source rows", title=problem)
        axis.grid(alpha=0.3)
        if names:
            axis.legend(fontsize=8)
    axes[0, 0].set_ylabel("processor seconds")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def save(rows, folder):
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "kernel_methods.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)
    text = as_markdown(rows, add_slopes(rows))
    (folder / "kernel_methods.md").write_text(text)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--peers", action="store_true", help="skada and adapt too")
    parser.add_argument("--large", action="store_true", help="up to 10^6 rows")
    parser.add_argument(
        "--only", nargs="+", default=[""], help="parts of 'problem: method' to keep"
    )
    parser.add_argument("--limit", type=float, default=120.0, help="CPU s per cell")
    parser.add_argument("--out", type=Path, default=Path("benchmark_results"))
    parser.add_argument("--cell", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cell:
        run_cell(arguments.cell)
        return
    methods, reference = chosen_methods(arguments.peers, arguments.only)
    rows = []
    for row in measure(arguments, methods):
        rows.append(row)
        print(as_markdown([row], {}).split("\n")[2], flush=True)
        save(rows, arguments.out)
    if reference:
        for problem, method, n, cpu, memory in REFERENCE:
            figures = f"{cpu:g} s" + (f", {memory} MB" if memory else "")
            row = dict(zip(COLUMNS, (problem, method, n, n), strict=False))
            rows.append({**row, "status": figures})
    save(rows, arguments.out)
    print("\n" + as_markdown(rows, add_slopes(rows)))
    plot(rows, arguments.out / "kernel_methods.png")


if __name__ == "__main__":
    main()
