"""Logistic regression with an offset: agreement and optimality."""

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from sktransfer._solvers.offset_logistic import solve_offset_logistic


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_without_an_offset_it_is_the_logistic_regression(rng, n_classes, fit_intercept):
    X = rng.normal(size=(60, 4)) + 1.0
    codes = rng.randint(n_classes, size=60)
    weight = rng.uniform(0.5, 2.0, 60)
    offset = np.zeros(60) if n_classes == 2 else np.zeros((60, n_classes))
    coef, intercept, info = solve_offset_logistic(
        X, codes, offset, n_classes=n_classes, alpha=2.0, sample_weight=weight,
        fit_intercept=fit_intercept,
    )  # fmt: skip
    expected = LogisticRegression(
        C=0.5, tol=1e-10, max_iter=1000, fit_intercept=fit_intercept
    ).fit(X, codes, sample_weight=weight)
    assert info.converged
    np.testing.assert_allclose(coef, expected.coef_, atol=1e-5)
    np.testing.assert_allclose(intercept, expected.intercept_, atol=1e-5)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_an_independent_solver_finds_the_same(rng, n_classes):
    X = rng.normal(size=(40, 3))
    codes = rng.randint(n_classes, size=40)
    k = 1 if n_classes == 2 else n_classes
    offset = rng.normal(size=(40, k))

    def objective(flat):
        eta = offset + X @ flat[: 3 * k].reshape(k, 3).T + flat[3 * k :]
        full = np.column_stack([np.zeros(40), eta]) if k == 1 else eta
        logs = full - np.log(np.exp(full).sum(axis=1, keepdims=True))
        return -logs[np.arange(40), codes].sum() + 0.5 * np.sum(flat[: 3 * k] ** 2)

    known = offset[:, 0] if k == 1 else offset
    coef, intercept, info = solve_offset_logistic(
        X, codes, known, n_classes=n_classes, alpha=1.0
    )
    found = np.concatenate([coef.ravel(), intercept])
    free = minimize(objective, np.zeros(4 * k), method="BFGS")
    assert info.converged
    assert objective(found) <= free.fun + 1e-8


def test_sparse_rows_give_the_same(rng):
    X = rng.normal(size=(30, 5)) * (rng.uniform(size=(30, 5)) < 0.4)
    codes, offset = rng.randint(2, size=30), rng.normal(size=30)
    dense = solve_offset_logistic(X, codes, offset, n_classes=2, alpha=1.0)
    rows = sparse.csr_array(X)
    found = solve_offset_logistic(rows, codes, offset, n_classes=2, alpha=1.0)
    np.testing.assert_allclose(found[0], dense[0], atol=1e-8)


def test_a_stop_before_the_solution_says_so(rng):
    X = rng.normal(size=(30, 5)) * [1, 10, 100, 1000, 10]
    codes, offset = rng.randint(2, size=30), rng.normal(size=30)
    *_, info = solve_offset_logistic(X, codes, offset, n_classes=2, max_iter=2)
    assert not info.converged
    assert info.n_iter <= 2
