"""Simulations: the predicted divergence is what happens, and transfer does not hurt."""

import numpy as np
import pytest
from scipy.special import expit, ive, xlogy
from scipy.stats import ncx2
from sklearn.linear_model import LogisticRegression

from sktransfer._solvers.uowq import solve_uowq
from sktransfer.multisource import uowq_weights

D, N0, ROWS = 6, 30, np.array([50, 120])


def predicted(weights, theta, J=None):
    total = N0 + weights @ ROWS
    bias = (weights * ROWS) @ theta / total
    J = np.eye(D) if J is None else J
    variance = D * (N0 + weights**2 @ ROWS) / total**2
    return (variance + bias @ J @ bias) / 2


def means(rng, theta, repetitions):
    """Sample means of the target and of every source, as they are distributed."""
    target = rng.normal(size=(repetitions, D)) / np.sqrt(N0)
    noise = rng.normal(size=(repetitions, 2, D)) / np.sqrt(ROWS)[:, None]
    return target, theta + noise


@pytest.mark.parametrize("weights", [(0, 0), (1, 1), (0.3, 0.7), (1.2, 0.1)])
def test_gaussian_means_meet_the_prediction(weights):
    rng = np.random.default_rng(0)
    weights = np.array(weights, dtype=float)
    theta = rng.normal(size=(2, D)) / 10
    target, sources = means(rng, theta, 20_000)
    quantity = weights * ROWS
    fit = N0 * target + np.einsum("k,rkd->rd", quantity, sources)
    kl = np.sum((fit / (N0 + quantity.sum())) ** 2, axis=1) / 2
    error = kl.std() / np.sqrt(len(kl))
    assert abs(kl.mean() - predicted(weights, theta)) < 4 * error


def test_logistic_regression_meets_the_prediction_in_large_samples():
    rng = np.random.default_rng(1)
    d, n0, n, repetitions = 3, 1000, 2000, 60
    theta0 = np.array([1.0, -0.5, 0.0])
    delta = np.array([0.07, 0.07, -0.07])
    X_test = rng.normal(size=(5000, d))
    p = expit(X_test @ theta0)
    J = (X_test * (p * (1 - p))[:, None]).T @ X_test / len(X_test)
    result = uowq_weights(
        target_params=theta0,
        source_params=[theta0 + delta],
        n_target=n0,
        source_sizes=[n],
        fisher=J,
    )
    weight = np.repeat([1.0, result.weights[0]], [n0, n])
    theta = np.repeat([theta0, theta0 + delta], [n0, n], axis=0)
    kl = []
    for _ in range(repetitions):
        X = rng.normal(size=(n0 + n, d))
        y = rng.uniform(size=n0 + n) < expit(np.sum(X * theta, axis=1))
        model = LogisticRegression(C=np.inf, fit_intercept=False)
        q = expit(X_test @ model.fit(X, y, sample_weight=weight).coef_[0])
        kl.append(np.mean(xlogy(p, p / q) + xlogy(1 - p, (1 - p) / (1 - q))))
    error = np.std(kl) / np.sqrt(repetitions)
    assert abs(np.mean(kl) - result.kl) < 4 * error
    assert 1.1 * np.mean(kl) < result.kl_target_only


@pytest.mark.parametrize("distance", [0.0, 0.05, 0.2, 1.0])
def test_corrected_weights_are_better_than_the_target_alone(distance):
    """The James-Stein property, for two sources at various distances."""
    rng = np.random.default_rng(2)
    theta = np.zeros((2, D))
    theta[:, :2] = np.sqrt(distance) * np.array([[1, 1], [1, -1]])
    target, sources = means(rng, theta, 800)
    kl = []
    for x, s in zip(target, sources, strict=True):
        w = solve_uowq(
            (s - x).T, N0, ROWS.astype(float), D, noise_correction=True
        ).weights
        fit = (N0 * x + (w * ROWS) @ s) / (N0 + w @ ROWS)
        kl.append(np.sum(fit**2) / 2 - np.sum(x**2) / 2)
    error = np.std(kl) / np.sqrt(len(kl))
    assert np.mean(kl) < 2 * error
    if distance <= 0.05:
        assert np.mean(kl) < -10 * error


def ratios_of_one_source(kept, q, mass, inner, lam, ratio, d):
    """Divergence over that of the oracle weight; a rule keeps ``kept`` of Z at q."""
    risk = np.sum(mass * (kept**2 * q - 2 * kept * inner + lam[:, None]), axis=1) / d
    oracle = 1 / (1 / ratio + (1 + 1 / ratio) * lam / d)
    return (1 + oracle) / (1 + ratio) * (1 + ratio * risk), 1 + oracle


@pytest.mark.parametrize(
    ("ratio", "floor", "at_zero"), [(1, 1.05, 1.066), (6, 1.17, 1.398)]
)
def test_no_rule_comes_within_five_percent_of_the_oracle(ratio, floor, at_zero):
    """Bayes' rule for two distances, one of them 0; the docs give these figures.

    In units of the noise of the difference of the two means, Z has the mean mu; by
    symmetry a rule depends on q = |Z|^2 alone.
    """
    d = 10
    lam = np.array([1e-9, 1.4 * d])
    edges = np.linspace(0, 10, 1001) ** 2
    q = (edges[:-1] + edges[1:]) / 2
    mass = np.diff(ncx2.cdf(edges, d, lam[:, None]), axis=1)
    z = np.sqrt(lam[:, None] * q)
    inner = z * ive(d / 2, z) / ive(d / 2 - 1, z)
    _, total = ratios_of_one_source(0 * q, q, mass, inner, lam, ratio, d)
    prior = np.array([0.4, 0.6])
    density = (prior * total)[:, None] * mass
    kept = np.sum(density * inner, axis=0) / density.sum(axis=0) / q
    found, _ = ratios_of_one_source(kept, q, mass, inner, lam, ratio, d)
    assert prior @ found > floor

    n0, repetitions = 50, 3000
    rng = np.random.default_rng(3)
    x = rng.normal(size=(repetitions, d)) / np.sqrt(n0)
    y = rng.normal(size=(repetitions, d)) / np.sqrt(ratio * n0)
    kl = []
    n = np.array([float(ratio * n0)])
    for a, b in zip(x, y, strict=True):
        s = solve_uowq((b - a)[:, None], n0, n, d, noise_correction=True)
        s = s.transfer_quantity
        kl.append(np.sum(((n0 * a + s * b) / (n0 + s)) ** 2))
    simulated = np.array(kl) * n0 * (1 + ratio) / d
    error = simulated.std() / np.sqrt(repetitions)
    assert abs(simulated.mean() - at_zero) < 3 * error
