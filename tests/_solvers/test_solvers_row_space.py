"""Logistic regression in the space of the rows takes the steps of scikit-learn."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import LogisticRegression

from sktransfer._solvers.row_space import logistic_of_rows, row_factor


def draw(n=30, d=90, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % n_classes
    X = rng.normal(size=(n, d)) + codes[:, None] * (np.arange(d) < 5)
    return X, codes, rng.uniform(0.2, 3.0, size=n)


@pytest.mark.parametrize("n_classes", [2, 3, 7])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("C, tol", [(1.0, 1e-4), (100.0, 1e-4), (0.01, 1e-8)])
def test_same_steps_and_same_stop(n_classes, fit_intercept, C, tol):
    X, codes, weight = draw(n_classes=n_classes)
    own = LogisticRegression(C=C, tol=tol, fit_intercept=fit_intercept, max_iter=1000)
    own.fit(X, codes, sample_weight=weight)
    coef, intercept, n_iter = logistic_of_rows(
        X, row_factor(X @ X.T), codes, weight, n_classes, C=C, tol=tol,
        fit_intercept=fit_intercept, max_iter=1000,
    )  # fmt: skip
    assert n_iter == own.n_iter_[0]
    assert_allclose(coef, own.coef_, rtol=1e-6, atol=1e-7)
    assert_allclose(intercept, own.intercept_, rtol=1e-6, atol=1e-7)


def test_a_loose_tolerance_stops_at_the_start_and_a_tight_limit_gives_nothing():
    X, codes, weight = draw()
    factor = row_factor(X @ X.T)
    options = {"C": 1.0, "fit_intercept": True, "max_iter": 50}
    coef, _, n_iter = logistic_of_rows(X, factor, codes, weight, 3, tol=1e3, **options)
    assert n_iter == 0 and not coef.any()
    options["max_iter"] = 2
    assert logistic_of_rows(X, factor, codes, weight, 3, tol=1e-4, **options) is None


def test_rows_that_depend_on_each_other_have_no_factor():
    X, _, _ = draw()
    assert row_factor(X @ X.T) is not None
    X[1] = X[0]
    assert row_factor(X @ X.T) is None
    X = np.vstack([X, X.mean(axis=0)])[2:]
    assert row_factor(np.vstack([X, X[:3].sum(axis=0)]) @ np.vstack(
        [X, X[:3].sum(axis=0)]).T) is None  # fmt: skip
