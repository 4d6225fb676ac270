"""The lasso of several domains: agreement with cvxpy and scikit-learn."""

import cvxpy as cp
import numpy as np
import pytest
from sklearn.linear_model import Lasso

from sktransfer._solvers.l1_glm import (
    QuadraticPart,
    RowsPart,
    fit_l1_glm,
    l1_residual,
)


def _labels(rng, family, eta):
    if family == "gaussian":
        return eta + rng.normal(size=len(eta))
    if family == "binomial":
        return (rng.uniform(size=len(eta)) < 1 / (1 + np.exp(-eta))).astype(float)
    return rng.poisson(np.exp(eta)).astype(float)


@pytest.mark.parametrize("family", ["gaussian", "binomial", "poisson"])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_agrees_with_cvxpy(rng, family, fit_intercept):
    parts, data = [], []
    for n, shift in [(60, 0.3), (80, -0.5)]:
        X = rng.normal(size=(n, 6))
        eta = X @ [0.7, -0.7, 0.3, 0, 0, 0] + shift * fit_intercept
        y, w = _labels(rng, family, eta), rng.uniform(0.5, 2, size=n)
        parts.append(RowsPart(family, X, y, w, fit_intercept))
        data.append((X, y, w))
    total = sum(part.n for part in parts)
    center = np.array([0.5, 0, 0, 0, 0, 0.2])
    thetas, residual = fit_l1_glm(parts, np.array([np.inf, 0.1, 0.02]), center)
    assert residual < 1e-7
    np.testing.assert_array_equal(thetas[0], center)
    for alpha, theta in zip([0.1, 0.02], thetas[1:], strict=True):
        T, a = cp.Variable(6), cp.Variable(2)
        loss = 0
        for k, (X, y, w) in enumerate(data):
            eta = X @ T + a[k] * fit_intercept
            loss += {
                "gaussian": lambda eta=eta, y=y: 0.5 * cp.square(y - eta),
                "binomial": lambda eta=eta, y=y: cp.logistic(eta) - cp.multiply(y, eta),
                "poisson": lambda eta=eta, y=y: cp.exp(eta) - cp.multiply(y, eta),
            }[family]() @ w
        goal = loss / total + alpha * cp.norm1(T - center)
        cp.Problem(cp.Minimize(goal)).solve(solver="CLARABEL")
        np.testing.assert_allclose(theta, T.value, atol=1e-3)


def test_one_gaussian_domain_is_scikit_learn_s_lasso(rng):
    X = rng.normal(size=(30, 50))
    y = X[:, :3].sum(axis=1) + rng.normal(size=30)
    part = RowsPart("gaussian", X, y, np.ones(30), True)
    A, b = X - X.mean(axis=0), y - y.mean()
    quadratic = QuadraticPart(A.T @ A, A.T @ b, 30.0)
    alphas = np.array([0.3, 0.1])
    for parts in ([part], [quadratic]):
        thetas, residual = fit_l1_glm(parts, alphas, np.zeros(50))
        assert residual < 1e-7
        for alpha, theta in zip(alphas, thetas, strict=True):
            lasso = Lasso(alpha, tol=1e-12, max_iter=100_000).fit(X, y)
            np.testing.assert_allclose(theta, lasso.coef_, atol=1e-6)


def test_residual_is_zero_only_at_an_optimum():
    gradient = np.array([-0.5, 0.3, 0.5])
    assert l1_residual(gradient, np.array([1.0, 0.0, -1.0]), 0.5) == 0
    assert l1_residual(gradient, np.array([1.0, 0.0, 1.0]), 0.5) == 1.0
    assert l1_residual(gradient, np.zeros(3), 0.2) == pytest.approx(0.3)


@pytest.mark.parametrize("family", ["binomial", "poisson"])
def test_labels_that_are_all_alike_leave_a_finite_intercept(rng, family):
    X = rng.normal(size=(10, 2))
    alike = RowsPart(family, X, np.zeros(10), np.ones(10), True)
    other = RowsPart(family, X, (X[:, 0] > 0).astype(float), np.ones(10), True)
    assert np.isfinite(alike.intercept(np.ones(2)))
    both, _ = fit_l1_glm([alike, other], np.array([0.01]), np.zeros(2))
    assert np.isfinite(both).all()
    assert both[0, 0] > 0
