"""Density ratios: closed forms, certificates, and agreement with other solvers."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.metrics.pairwise import rbf_kernel

from sktransfer._solvers import density_ratio
from sktransfer._solvers.density_ratio import (
    effective_sample_size,
    gaussian_log_ratio,
    least_squares_ratio,
    likelihood_ratio,
)


@pytest.fixture
def pair(rng):
    return rng.normal(size=(40, 2)), 0.5 + 0.8 * rng.normal(size=(25, 2))


def _fit(X_source, X_target, alpha, gamma, ridge, centers):
    """Least squares as a plain solve."""
    S, T = (rbf_kernel(X, centers, gamma=gamma) for X in (X_source, X_target))
    H = (1 - alpha) * S.T @ S / len(S) + alpha * T.T @ T / len(T)
    return np.linalg.solve(H + ridge * np.eye(len(centers)), T.mean(axis=0))


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_least_squares_are_the_solution_of_the_linear_system(pair, alpha):
    X_source, X_target = pair
    weights, _ = least_squares_ratio(
        X_source, X_target, alpha=alpha, gamma=0.7, regularization=0.05
    )
    coef = _fit(X_source, X_target, alpha, 0.7, 0.05, X_target)
    expected = rbf_kernel(X_source, X_target, gamma=0.7) @ coef
    assert_allclose(weights, np.maximum(expected, 0.0), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_the_score_leaves_each_sample_out_once(pair, alpha):
    X_source, X_target = pair
    gamma, ridge = 0.7, 0.05
    left_out = {"source": [], "target": []}
    for i in range(len(X_source)):
        rest = np.delete(X_source, i, axis=0)
        coef = _fit(rest, X_target, alpha, gamma, ridge, X_target)
        row = rbf_kernel(X_source[i : i + 1], X_target, gamma=gamma)
        left_out["source"].append(max(0.0, float((row @ coef)[0])))
    for j in range(len(X_target)):
        rest = np.delete(X_target, j, axis=0)
        coef = _fit(X_source, rest, alpha, gamma, ridge, X_target)
        row = rbf_kernel(X_target[j : j + 1], X_target, gamma=gamma)
        left_out["target"].append(max(0.0, float((row @ coef)[0])))
    w_s, w_t = (np.array(values) for values in left_out.values())
    expected = alpha / 2 * np.mean(w_t**2) + (1 - alpha) / 2 * np.mean(w_s**2)
    expected -= np.mean(w_t)
    assert_allclose(_score(pair, alpha, gamma, ridge), expected, rtol=1e-9)


def _score(pair, alpha, gamma, ridge):
    values = [[[rbf_kernel(X, pair[1], gamma=gamma)]] for X in pair]
    ridges = np.array([ridge])
    return density_ratio._left_out_scores(*values, alpha, 1, ridges)[0, 0]


def test_cv_takes_the_best_of_all_pairs(pair):
    X_source, X_target = pair
    info = least_squares_ratio(X_source, X_target)[1]
    for gamma in density_ratio._gammas("cv", X_source, X_target):
        for ridge in density_ratio.RIDGES:
            assert info.score <= _score(pair, 0.0, gamma, ridge) + 1e-9


def test_the_likelihood_is_that_of_another_solver(pair):
    X_source, X_target = pair
    weights, info = likelihood_ratio(X_source, X_target, gamma=0.7, tol=1e-10)
    S, T = (rbf_kernel(X, X_target, gamma=0.7) for X in pair)
    assert weights.mean() == pytest.approx(1.0, abs=1e-12)
    assert info.duality_gap <= 1e-10
    assert info.converged
    mean = S.mean(axis=0)
    other = minimize(
        lambda theta: -np.mean(np.log(T @ theta + 1e-300)),
        np.full(len(mean), 1.0 / mean.sum()),
        jac=lambda theta: -(T / (T @ theta)[:, None]).mean(axis=0),
        bounds=[(0, None)] * len(mean),
        constraints={"type": "eq", "fun": lambda theta: mean @ theta - 1},
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-12},
    )
    assert_allclose(weights, S @ other.x, atol=2e-3)


def test_the_gap_bounds_the_suboptimality(rng):
    log_basis = rng.normal(size=(30, 8))
    best = density_ratio._maximize_likelihood(log_basis, 1e-12)[0]
    values = np.exp(log_basis)
    for max_iter in range(4):
        u, gap, _ = density_ratio._maximize_likelihood(
            log_basis, 1e-12, max_iter=max_iter
        )
        lost = np.mean(np.log(values @ best)) - np.mean(np.log(values @ u))
        assert -1e-10 <= lost <= gap + 1e-10


def test_domains_far_apart_make_no_number_overflow(rng):
    X_source = rng.normal(size=(30, 2))
    X_target = 1e4 + rng.normal(size=(20, 2))
    weights, info = likelihood_ratio(X_source, X_target, gamma=1.0)
    assert np.isfinite(weights).all()
    assert weights.mean() == pytest.approx(1.0)
    assert info.converged
    least = least_squares_ratio(X_source, X_target, gamma=1.0, regularization=0.1)[0]
    assert (least == 0).all()


def test_gaussian_ratio_of_large_samples_is_that_of_the_densities(rng):
    X_source = rng.normal(size=(20000, 2))
    X_target = [0.3, -0.2] + rng.normal(size=(20000, 2)) @ [[0.8, 0.1], [0.0, 0.9]]
    log_ratio = gaussian_log_ratio(X_source, X_target)
    expected = multivariate_normal(X_target.mean(axis=0), np.cov(X_target.T)).logpdf(
        X_source
    ) - multivariate_normal(X_source.mean(axis=0), np.cov(X_source.T)).logpdf(X_source)
    assert np.abs(log_ratio - expected).max() < 0.05


def test_gaussian_ratio_without_shrinkage_is_exact(rng):
    X_source, X_target = rng.normal(size=(50, 3)), 1 + rng.normal(size=(40, 3))
    expected = np.zeros(50)
    for sign, X in ((1, X_target), (-1, X_source)):
        law = multivariate_normal(X.mean(axis=0), np.cov(X.T, bias=True))
        expected += sign * law.logpdf(X_source)
    log_ratio = gaussian_log_ratio(X_source, X_target, shrinkage=0.0)
    assert_allclose(log_ratio, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("shrinkage", ["auto", 0.4])
def test_gaussian_ratio_does_not_change_under_linear_maps(rng, shrinkage):
    X_source, X_target = rng.normal(size=(50, 3)), 1 + rng.normal(size=(40, 3))
    A = rng.normal(size=(3, 3))
    first = gaussian_log_ratio(X_source, X_target, shrinkage=shrinkage)
    second = gaussian_log_ratio(
        X_source @ A + 1e3, X_target @ A + 1e3, shrinkage=shrinkage
    )
    assert_allclose(first, second, rtol=1e-5, atol=1e-6)


def test_a_copied_and_a_constant_column_change_no_gaussian_ratio(rng):
    X_source, X_target = rng.normal(size=(50, 2)), 1 + rng.normal(size=(1, 2))
    first = gaussian_log_ratio(X_source, X_target)
    wide = [
        np.column_stack([X, X[:, 0], np.full(len(X), 7.0)])
        for X in (X_source, X_target)
    ]
    assert_allclose(gaussian_log_ratio(*wide), first, rtol=1e-6, atol=1e-7)
    assert (gaussian_log_ratio(np.ones((4, 2)), np.ones((3, 2))) == 0).all()


def test_singular_covariance_is_refused(rng):
    with pytest.raises(ValueError, match="Raise shrinkage"):
        gaussian_log_ratio(
            rng.normal(size=(50, 3)), rng.normal(size=(2, 3)), shrinkage=0.0
        )


def test_effective_sample_size():
    assert effective_sample_size(np.ones(7)) == pytest.approx(7)
    assert effective_sample_size(np.array([1e200, 0.0, 1e200])) == pytest.approx(2)
    assert effective_sample_size(np.zeros(3)) == 0.0
    assert effective_sample_size(np.empty(0)) == 0.0
    # a sample that is there twice counts as two
    repeated = effective_sample_size(np.array([1.0, 3.0, 3.0]))
    counted = effective_sample_size(np.array([1.0, 3.0]), np.array([1.0, 2.0]))
    assert counted == pytest.approx(repeated)
