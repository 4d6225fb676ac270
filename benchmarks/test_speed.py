"""Speed of the solvers over commits, with pytest-benchmark.

Kept out of the default test run. Save a run on one commit, compare on another::

    pytest benchmarks/test_speed.py --benchmark-autosave
    pytest benchmarks/test_speed.py --benchmark-compare --benchmark-compare-fail=min:25%

Every case also asserts what its time buys: a tolerance that is met.
"""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import rbf_kernel

from sktransfer.baselines import Pooled, TargetOnly
from sktransfer.datasets import make_concept_shift
from sktransfer.feature import CORAL, TCA
from sktransfer.hypothesis import PositiveTransferRidge, SecureRLS
from sktransfer.instance import ULSIF, kmm_weights
from sktransfer.metrics import mmd
from sktransfer.multisource import UOWQ, EmpiricalBayesRidge, MMDWeightedEnsemble
from sktransfer.safe import SAFEW, TransferGuard


def two_domains(n):
    rng = np.random.default_rng(0)
    X_source, X_target = rng.normal(size=(2, n, 20))
    X_target[:, 0] += 1.0
    return X_source, X_target


def test_yardstick_kernel_product(benchmark):
    X, _ = two_domains(2000)
    benchmark(lambda: rbf_kernel(X) @ np.ones(len(X)))


@pytest.mark.parametrize("solver, n", [("dense", 2000), ("low_rank", 5000)])
def test_kmm(benchmark, solver, n):
    X_source, X_target = two_domains(n)

    def run():
        return kmm_weights(
            X_source, X_target, gamma=0.025, solver=solver, return_info=True
        )

    _, info = benchmark.pedantic(run, rounds=3, warmup_rounds=1)
    assert info.converged


@pytest.mark.parametrize("eigen_solver, n", [("lanczos", 1000), ("nystroem", 2000)])
def test_tca(benchmark, eigen_solver, n):
    X = np.concatenate(two_domains(n))
    domain = np.repeat([1, -1], n)
    tca = TCA(10, gamma=0.05, eigen_solver=eigen_solver)
    benchmark.pedantic(
        lambda: tca.fit(X, sample_domain=domain), rounds=3, warmup_rounds=1
    )
    assert tca.residual_ < 1e-6


@pytest.mark.parametrize("n", [250, 500, 1000])
@pytest.mark.parametrize(
    "model",
    [
        TargetOnly(Ridge()),
        Pooled(Ridge()),
        ULSIF(Ridge()),
        CORAL(),
        SecureRLS(),
        PositiveTransferRidge(),
        UOWQ(Ridge()),
        EmpiricalBayesRidge(),
        MMDWeightedEnsemble(Ridge()),
        SAFEW(Ridge()),
        TransferGuard(Pooled(Ridge()), random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_family(benchmark, model, n):
    data = make_concept_shift(
        n, n_labeled=50, n_unlabeled=n, shift=[0.2, 1.0], random_state=0
    )
    benchmark.pedantic(
        lambda: model.fit(data.X, data.y, sample_domain=data.sample_domain),
        rounds=3, warmup_rounds=1,
    )  # fmt: skip
    fitted = model.transform if hasattr(model, "transform") else model.predict
    assert np.isfinite(fitted(data.X_test)).all()


@pytest.mark.parametrize("n", [500, 1000, 2000])
def test_mmd(benchmark, n):
    assert benchmark(lambda: mmd(*two_domains(n), gamma=0.025)) > 0
