"""Do the nets run right and fast on a GPU? One table in a few minutes.

::

    python benchmarks/gpu_check.py                    # on the GPU, if there is one
    python benchmarks/gpu_check.py --device cpu --tiny

Lines of the table, ``ok`` where a line has a bound:

- *step*: losses and gradients of one step of every net, from the same start and the
  same batch, beside those of the CPU in double precision (largest relative difference);
- *waits*: how often an epoch of steps waits for the device (on CUDA, where torch
  counts it; reading the losses once at the end of an epoch is one);
- *bf16*, *compile*: accuracy of a fit beside the plain one;
- *pickle*: predictions of a net that was fitted on the device, pickled and moved to the
  CPU;
- *speed*: rows per second beside a loop by hand (``deep_speed.py``);
- *kernel*: the MMD loss, the transport plan of OTCE and the Gaussian kernel of KMM
  beside NumPy in double precision: largest relative difference and times faster;
- *dispatch*: ``mmd``, ``sinkhorn_divergence``, ``TCA`` by Lanczos steps and the
  low-rank ``kmm_weights`` of arrays on the device, beside NumPy (with the environment
  variable ``SCIPY_ARRAY_API=1``, which this program sets if SciPy is not imported yet).

Without a GPU the same lines are computed on the CPU; that says nothing about a GPU.
"""

import argparse
import copy
import os
import pickle
import time
import warnings

os.environ.setdefault("SCIPY_ARRAY_API", "1")

import deep_speed
import numpy as np
import sklearn
import torch
from scipy.spatial.distance import cdist

from sktransfer.deep import (
    ADDA,
    DAN,
    DANN,
    GTA,
    PADA,
    ClassConfusionAlignment,
    ClassifierDiscrepancyAlignment,
    ConditionalAlignment,
    ContrastiveAlignment,
    DeepCORAL,
    JointTransportAlignment,
    MarginDisparityAlignment,
    TransferNetClassifier,
    WassersteinAlignment,
    mk_mmd_loss,
)
from sktransfer.deep._device import find_device
from sktransfer.deep._otce_fine_tuning import entropic_plan
from sktransfer.feature import TCA
from sktransfer.instance import kmm_weights
from sktransfer.metrics import mmd, sinkhorn_divergence

CLOSE, SLOWEST = 1e-3, 1.15
ALIGNMENTS = (
    ClassConfusionAlignment, ClassifierDiscrepancyAlignment, ConditionalAlignment,
    ContrastiveAlignment, JointTransportAlignment, MarginDisparityAlignment,
    WassersteinAlignment,
)  # fmt: skip


def nets(device):
    """Yield every net with its name."""
    options = {"device": device, "random_state": 0, "early_stopping": False}
    for cls in DANN, DAN, DeepCORAL, ADDA, PADA, GTA:
        for gate in (False, True):
            name = cls.__name__ + (" with gate" if gate else "")
            yield name, cls(gate=gate, gate_smoothing=0.0, **options)
    for alignment in ALIGNMENTS:
        yield (
            alignment.__name__,
            TransferNetClassifier(alignment=alignment(), **options),
        )


def losses_and_gradients(module, batch, criterion):
    """Return all losses and gradients of a step as one vector on the CPU."""
    module.zero_grad()
    module.ramp(0.5)
    torch.manual_seed(0)
    losses = module(batch, criterion)
    losses["loss"].backward()
    parts = [loss.detach().reshape(1) for loss in losses.values()]
    parts += [p.grad.reshape(-1) for p in module.parameters() if p.grad is not None]
    return torch.cat([part.cpu().double() for part in parts])


def check_step(name, net, X, y, domain):
    """Compare a step on the device with one on the CPU in double precision."""
    catch = deep_speed.Catch()
    net.set_params(max_steps=1, callbacks=[catch], dtype="float32")
    net.fit(X, y, sample_domain=domain)
    random = name.startswith(("GTA", "WassersteinAlignment"))
    rows, module = catch.rows, catch.module
    batch = next(iter(rows))
    exact = batch._replace(
        **{k: v.cpu() for k, v in batch._asdict().items() if torch.is_tensor(v)}
    )
    exact = exact._replace(x=exact.x.double())
    found = [
        losses_and_gradients(m, b, copy.deepcopy(net.net_.criterion_).to(b.x.device))
        for m, b in (
            (copy.deepcopy(module), batch),
            (copy.deepcopy(module).cpu().double(), exact),
        )
    ]
    gap = (found[0] - found[1]).abs().max() / found[1].abs().max()
    # their noise is drawn on the device, so that it differs
    return "step", name, f"{gap:.1e}", "drawn noise" if random else gap < CLOSE


def count_waits(X, y, domain, device):
    """Count the waits for the device in epochs of one and of two steps more."""
    if device.type != "cuda":
        return "waits", "DANN with gate", "-", "no GPU"
    net = DANN(
        gate=True, batch_size=32, max_steps=5, random_state=0, device=str(device)
    )
    net.partial_fit(X, y, sample_domain=domain)
    rows, counts = _rows_of(net, X, y, domain), []
    for n_steps in (2, 12):
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("warn")
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            rows._n_batches = n_steps
            net.net_.train(rows, n_steps)
        torch.cuda.set_sync_debug_mode("default")
        counts.append(sum("synchroniz" in str(w.message) for w in seen))
    shown = f"{counts[0]} in 2 steps, {counts[1]} in 12"
    return "waits", "DANN with gate", shown, counts[0] == counts[1]


def _rows_of(net, X, y, domain):
    catch = deep_speed.Catch()
    again = DANN(**net.get_params()).set_params(callbacks=[catch], max_steps=1)
    again.fit(X, y, sample_domain=domain)
    return catch.rows


def check_options(X, y, domain, device, *, steps, compiled):
    """Fit in bfloat16 and compiled; pickle and predict on the CPU."""
    known = domain > 0

    def fitted(**options):
        net = DANN(max_steps=steps, random_state=0, device=str(device), **options)
        return net.fit(X, y, sample_domain=domain)

    plain = fitted()
    base = plain.score(X[known], y[known])
    options = {"bf16": {"mixed_precision": True}}
    if compiled:
        options["compile"] = {"compile": True}
    for name, params in options.items():
        found = fitted(**params).score(X[known], y[known])
        yield name, "DANN", f"{found:.3f} beside {base:.3f}", abs(found - base) < 0.05
    expected = plain.predict_proba(X)
    again = pickle.loads(pickle.dumps(plain))
    again.net_.set_params(device="cpu")
    again.module_.to("cpu")
    gap = np.abs(again.predict_proba(X) - expected).max()
    yield "pickle", f"{device} to cpu", f"{gap:.1e}", gap < CLOSE


def check_speed(n, batch_size, device, repeats):
    """Compare an epoch with a loop by hand."""
    functions, n_steps, n_rows, _ = deep_speed.loops(n, batch_size, False, str(device))
    del functions["skorch"]
    times = deep_speed.time_in_turn(functions, 1, device.type, repeats)
    which = 1 if device.type == "cuda" else 0
    bare, ours = (np.median(times[k], axis=0)[which] for k in ("bare", "ours"))
    per_second = n_rows * n_steps / ours
    shown = f"{per_second:,.0f} rows/s, {ours / bare:.2f} x"
    return "speed", f"DANN, {n} rows", shown, ours / bare < SLOWEST


def check_kernels(n, device, repeats):
    """Compare three kernels with NumPy."""
    rng = np.random.RandomState(0)
    a, b = rng.normal(size=(n, 16)), rng.normal(size=(n, 16)) + 0.5
    x, z = (torch.as_tensor(v, dtype=torch.float32, device=device) for v in (a, b))

    def mmd():
        rows = np.vstack([a, b])
        gaps = cdist(rows, rows, "sqeuclidean")
        mean = gaps.sum() / (len(rows) * (len(rows) - 1))
        w = np.repeat([1 / n, -1 / n], n)
        kernels = [np.exp(-gaps / (mean * 2.0 ** (k - 2))) for k in range(5)]
        return w @ sum(kernels) @ w / 5

    m = min(n, 128)

    def plan():
        gaps = cdist(a[:m], b[:m], "sqeuclidean")
        K = np.exp(-gaps / (0.1 * gaps.mean()))
        v = np.full(m, 1.0)
        for _ in range(3000):
            u = 1 / m / (K @ v)
            v = 1 / m / (K.T @ u)
        return u[:, None] * K * v

    pairs = {
        "MMD": (mmd, lambda: mk_mmd_loss(x, z)),
        "transport plan": (plan, lambda: entropic_plan(x[:m], z[:m], 0.1)[0]),
        "Gaussian kernel": (
            lambda: np.exp(-cdist(a, b, "sqeuclidean") / 16),
            lambda: torch.exp(-torch.cdist(x, z).square() / 16),
        ),
    }
    for name, (by_numpy, by_torch) in pairs.items():
        expected, found = by_numpy(), by_torch().double().cpu().numpy()
        gap = np.abs(found - expected).max() / np.abs(expected).max()
        seconds = [_time(f, device, repeats) for f in (by_numpy, by_torch)]
        shown = f"{gap:.1e}, {seconds[0] / seconds[1]:.1f} x as fast"
        yield "kernel", name, shown, gap < 10 * CLOSE


def check_dispatch(n, device, repeats):
    """Compare functions of arrays on the device with those of NumPy's."""
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(n, 16)), rng.normal(size=(n, 16)) + 0.5
    domain = np.repeat([1, -1], n)

    def embed(*pair):
        stack = torch.concat if isinstance(pair[0], torch.Tensor) else np.concatenate
        tca = TCA(5, eigen_solver="lanczos").fit(stack(pair), sample_domain=domain)
        return tca.transform(pair[1])

    functions = {
        "mmd": mmd,
        "sinkhorn_divergence": sinkhorn_divergence,
        "TCA": embed,
        "kmm_weights": lambda *pair: kmm_weights(*pair, solver="low_rank"),
    }
    try:
        with sklearn.config_context(array_api_dispatch=True):
            pass
    except RuntimeError:
        yield "dispatch", "all", "-", "SCIPY_ARRAY_API was not set"
        return
    kind = torch.float32 if device.type == "mps" else torch.float64
    moved = [torch.as_tensor(A, dtype=kind, device=device) for A in (X, Y)]
    for name, function in functions.items():
        expected = np.asarray(function(X, Y))
        with sklearn.config_context(array_api_dispatch=True):
            found = function(*moved)
            found = found.cpu().numpy() if hasattr(found, "cpu") else found
            on_device = _time(lambda f=function: f(*moved), device, repeats)
        by_numpy = _time(lambda f=function: f(X, Y), device, repeats)
        gap = np.abs(found - expected).max() / np.abs(expected).max()
        shown = f"{gap:.1e}, {by_numpy / on_device:.1f} x as fast"
        yield "dispatch", name, shown, gap < CLOSE


def _time(function, device, repeats):
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return np.median(times[1:])


def check(device, *, tiny=False, compiled=True):
    """Yield the lines of the table.

    Parameters
    ----------
    device : torch.device
        What to check.
    tiny : bool
        Small sizes, for a test of this program.
    compiled : bool
        Compile a net, which needs a compiler for C++ on the CPU.
    """
    X, y, domain = deep_speed.make_rows(200 if tiny else 4000)
    y = np.where(y < 0, np.nan, y)
    for name, net in nets(str(device)):
        yield check_step(name, net, X, y, domain)
    yield count_waits(X, y, domain, device)
    steps = 20 if tiny else 500
    yield from check_options(X, y, domain, device, steps=steps, compiled=compiled)
    for n in [400] if tiny else [20000, 200000]:
        yield check_speed(n, 64 if tiny else 1024, device, 1 if tiny else 5)
    yield from check_kernels(40 if tiny else 4000, device, 1 if tiny else 5)
    yield from check_dispatch(40 if tiny else 4000, device, 1 if tiny else 5)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--no-compile", action="store_true")
    args = parser.parse_args()
    device = find_device(args.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{name}, PyTorch {torch.__version__}\n")
    print("| check | of | found | ok |")
    print("|---|---|---|---|")
    for line in check(device, tiny=args.tiny, compiled=not args.no_compile):
        what, of, found, ok = line
        shown = ok if isinstance(ok, str) else ("yes" if ok else "NO")
        print(f"| {what} | {of} | {found} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
