"""Speed and memory of every family over commits, with pytest-benchmark.

Kept out of the default test run. Save a run on one commit, compare on another::

    pytest benchmarks/test_speed.py --benchmark-autosave
    pytest benchmarks/test_speed.py --benchmark-compare --benchmark-compare-fail=min:25%

Every case asserts what its time buys: a tolerance that is met, or finite answers. The
stored ``extra_info`` of a case holds, so that runs on other machines compare, too,

- ``ratio``: its least time over that of a kernel product of 2000 samples, the yardstick
  of the same run;
- ``slope``: of log time over log size, from the size before (of the same family);
- ``peak_mb``: the largest memory that Python and NumPy held during a fit of its own.
"""

import time
import tracemalloc
import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics.pairwise import rbf_kernel

from sktransfer.baselines import Pooled, TargetOnly
from sktransfer.datasets import make_concept_shift
from sktransfer.feature import CORAL, JDA, TCA, FeatureAugmentation, SubspaceAlignment
from sktransfer.hypothesis import (
    AdaptiveGP,
    LinearInterpolation,
    PositiveTransferRidge,
    SecureRLS,
)
from sktransfer.instance import (
    KLIEP,
    KMM,
    ULSIF,
    TrAdaBoost,
    TrAdaBoostR2,
    kmm_weights,
)
from sktransfer.metrics import mmd
from sktransfer.multisource import (
    ARMUL,
    UOWQ,
    AngleTransfer,
    EmpiricalBayesRidge,
    MMDWeightedEnsemble,
    PeerWeightedEnsemble,
    TransGLM,
)
from sktransfer.pseudo_label import SelfTraining
from sktransfer.safe import SAFEW, TransferGuard, TransferPortfolioRegressor

SIZES = [250, 500, 1000]
LEAST = {}


def two_domains(n):
    rng = np.random.default_rng(0)
    X_source, X_target = rng.normal(size=(2, n, 20))
    X_target[:, 0] += 1.0
    return X_source, X_target


@pytest.fixture(scope="session")
def yardstick():
    """Least seconds of a kernel product of 2000 samples."""
    X, _ = two_domains(2000)
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        rbf_kernel(X) @ np.ones(len(X))
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


@pytest.fixture
def measure(benchmark, yardstick):
    """Return what times a function, and notes ratio, slope and memory."""

    def run(function, family, n, rounds=3):
        found = benchmark.pedantic(function, rounds=rounds, warmup_rounds=1)
        least = benchmark.stats.stats.min
        LEAST[family, n] = least
        before = LEAST.get((family, n // 2))
        tracemalloc.start()
        function()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        benchmark.extra_info |= {
            "ratio": round(least / yardstick, 4),
            "slope": None if before is None else round(np.log2(least / before), 2),
            "peak_mb": round(peak / 2**20, 1),
        }
        return found

    return run


def test_yardstick_kernel_product(benchmark):
    X, _ = two_domains(2000)
    benchmark(lambda: rbf_kernel(X) @ np.ones(len(X)))


@pytest.mark.parametrize(
    "solver, n",
    [
        *(("dense", n) for n in (1000, 2000, 4000)),
        *(("low_rank", n) for n in (2500, 5000, 10_000)),
    ],
)
def test_kmm(measure, solver, n):
    X_source, X_target = two_domains(n)

    def run():
        return kmm_weights(
            X_source, X_target, gamma=0.025, solver=solver, return_info=True
        )

    _, info = measure(run, f"kmm {solver}", n)
    assert info.converged


@pytest.mark.parametrize(
    "eigen_solver, n",
    [
        *(("lanczos", n) for n in (500, 1000, 2000)),
        *(("nystroem", n) for n in (1000, 2000, 4000)),
    ],
)
def test_tca(measure, eigen_solver, n):
    X = np.concatenate(two_domains(n))
    domain = np.repeat([1, -1], n)
    tca = TCA(10, gamma=0.05, eigen_solver=eigen_solver)
    measure(lambda: tca.fit(X, sample_domain=domain), f"tca {eigen_solver}", n)
    assert tca.residual_ < 1e-6


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(
    "model",
    [
        TargetOnly(Ridge()),
        Pooled(Ridge()),
        KMM(Ridge()),
        ULSIF(Ridge()),
        KLIEP(Ridge()),
        TrAdaBoost(LogisticRegression()),
        TrAdaBoostR2(Ridge(), random_state=0),
        CORAL(),
        JDA(5),
        SubspaceAlignment(5),
        FeatureAugmentation(),
        SecureRLS(),
        PositiveTransferRidge(),
        LinearInterpolation(Ridge()),
        AdaptiveGP(),
        UOWQ(Ridge()),
        EmpiricalBayesRidge(),
        ARMUL(),
        AngleTransfer(),
        TransGLM(),
        MMDWeightedEnsemble(Ridge()),
        PeerWeightedEnsemble(LogisticRegression()),
        SelfTraining(LogisticRegression()),
        SAFEW(Ridge()),
        TransferGuard(Pooled(Ridge())),
        TransferPortfolioRegressor(random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_family(measure, model, n):
    name = type(model).__name__
    classify = getattr(model, "_estimator_type", None) == "classifier" or isinstance(
        getattr(model, "estimator", None), LogisticRegression
    )
    data = make_concept_shift(
        n, n_labeled=50, n_unlabeled=n, shift=[0.2, 1.0], random_state=0,
        task="classification" if classify or name == "JDA" else "regression",
    )  # fmt: skip

    def run():
        with warnings.catch_warnings():  # of solvers that stop early
            warnings.simplefilter("ignore")
            model.fit(data.X, data.y, sample_domain=data.sample_domain)

    measure(run, name, n)
    fitted = model.transform if hasattr(model, "transform") else model.predict
    answers = np.asarray(fitted(data.X_test))
    assert answers.dtype.kind not in "fc" or np.isfinite(answers).all()


@pytest.mark.parametrize("n", [500, 1000, 2000])
def test_mmd(measure, n):
    assert measure(lambda: mmd(*two_domains(n), gamma=0.025), "mmd", n) > 0
