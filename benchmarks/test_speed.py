"""Speed of the solvers over commits, with pytest-benchmark.

Kept out of the default test run. Save a run on one commit, compare on another::

    pytest benchmarks/test_speed.py --benchmark-autosave
    pytest benchmarks/test_speed.py --benchmark-compare --benchmark-compare-fail=min:25%

Every case also asserts what its time buys: a tolerance that is met.
"""

import numpy as np
import pytest
from sklearn.metrics.pairwise import rbf_kernel

from sktransfer.feature import TCA
from sktransfer.instance import kmm_weights


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
