"""OTQMS: numbers of rows that minimize the KL expression of unit weights."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LinearRegression, LogisticRegression

from sktransfer._solvers.uowq import optimal_quantities, solve_uowq
from sktransfer.multisource import OTQMS


def divergence(n, P, n0, d):
    total = n0 + n.sum()
    return d / 2 * (1 / total + np.sum((P @ n) ** 2) / total**2 / d)


@pytest.mark.parametrize("n_sources", [1, 2, 4])
def test_quantities_minimize_the_divergence(n_sources):
    rng = np.random.default_rng(n_sources)
    for scale in (0.05, 0.3, 2.0):
        P = rng.normal(size=(6, n_sources)) * scale
        sizes = rng.integers(20, 200, size=n_sources).astype(float)
        found, kl = optimal_quantities(P, 30, sizes, 6.0)
        assert (found >= 0).all()
        assert (found <= sizes).all()
        assert kl == pytest.approx(divergence(found, P, 30, 6.0))
        starts = [np.zeros(n_sources), sizes, sizes / 3]
        best = min(
            minimize(
                divergence,
                start,
                args=(P, 30, 6.0),
                bounds=[(0, s) for s in sizes],
                method="L-BFGS-B",
                options={"ftol": 1e-15, "gtol": 1e-12},
            ).fun
            for start in starts
        )
        assert kl == pytest.approx(best, rel=1e-5)


def test_the_best_weights_are_never_worse():
    rng = np.random.default_rng(0)
    for _ in range(20):
        P = rng.normal(size=(5, 3)) * rng.uniform(0.05, 1)
        sizes = rng.integers(10, 300, size=3).astype(float)
        kl = optimal_quantities(P, 25, sizes, 5.0)[1]
        assert solve_uowq(P, 25, sizes, 5.0).kl <= kl * (1 + 1e-7)


def test_equal_parameters_take_every_row_and_an_unusable_source_none():
    P = np.column_stack([np.zeros(3), np.full(3, np.inf)])
    found, kl = optimal_quantities(P, 10, np.array([50.0, 70.0]), 3.0)
    np.testing.assert_allclose(found, [50, 0], rtol=1e-6)
    assert kl == pytest.approx(3 / 2 / 60)
    found, kl = optimal_quantities(P[:, 1:], 10, np.array([70.0]), 3.0)
    assert found[0] == 0
    assert kl == pytest.approx(3 / 2 / 10)


@pytest.mark.parametrize("quantities", ["static", "dynamic"])
def test_near_rows_are_taken_and_far_ones_are_not(quantities):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(240, 2))
    domain = np.repeat([1, 2, -1], [100, 100, 40])
    y = np.where(domain == 2, 5.0, 1.0) * X[:, 0] + rng.normal(size=240)
    model = OTQMS(LinearRegression(), quantities=quantities, random_state=0)
    model.fit(X, y, sample_domain=domain)
    near, far = model.source_quantities_
    assert near > 20
    assert far < 5
    assert model.n_iter_ == (1 if quantities == "static" else 5)
    assert len(model.kl_path_) == model.n_iter_ + 1
    assert model.kl_path_[1] < model.kl_path_[0]


def test_the_fit_uses_the_stated_numbers_of_rows():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(160, 2))
    domain = np.repeat([1, -1], [120, 40])
    y = (X[:, 0] + rng.logistic(size=160) / 3 > 0).astype(int)
    counts = []

    class Recorder(LogisticRegression):
        def fit(self, X, y, sample_weight=None):
            counts.append(len(y))
            return super().fit(X, y, sample_weight=sample_weight)

    model = OTQMS(Recorder(), quantities="static", random_state=0)
    model.fit(X, y, sample_domain=domain)
    assert counts[-1] == 40 + model.source_quantities_[0]


def test_target_without_a_class_of_the_sources():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(160, 2))
    domain = np.repeat([1, -1], [120, 40])
    y = np.digitize(X[:, 0], [-0.5, 0.5])
    y[(domain == -1) & (y == 2)] = 1
    model = OTQMS(LogisticRegression(), random_state=0)
    with pytest.warns(UserWarning, match=r"No labeled target row .* \[2\]"):
        model.fit(X, y, sample_domain=domain)
    np.testing.assert_array_equal(model.classes_, [0, 1, 2])
