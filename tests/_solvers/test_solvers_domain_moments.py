"""Moments of several domains: equations hold, limits are exact, truth is found."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import polygamma

from sktransfer._solvers.domain_moments import (
    between_variance,
    inverse_trigamma,
    posterior_variance,
    variance_prior,
)


def excess(t, b, v):
    weights = 1 / (t + v)
    mean = np.average(b, weights=weights)
    return np.sum(weights * (b - mean) ** 2) - (len(b) - 1)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e9])
def test_the_equation_of_paule_and_mandel_is_solved(rng, unit):
    b, v = rng.normal(0, 2, size=(7, 5)), rng.uniform(0.1, 1.0, size=(7, 5))
    mean, t = between_variance(b * unit + 3 * unit, v * unit**2)
    for j in range(5):
        exact = brentq(excess, 0, 100, args=(b[:, j], v[:, j]), xtol=1e-12)
        assert t[j] / unit**2 == pytest.approx(exact, rel=1e-8)
        center = np.average(b[:, j], weights=1 / (exact + v[:, j]))
        assert mean[j] / unit == pytest.approx(center + 3, rel=1e-8)


def test_limits():
    v = np.ones((3, 1))
    assert between_variance(np.zeros((3, 1)), v)[1] == 0
    mean, t = between_variance(np.array([[4.0], [9.0]]), np.array([[1.0], [np.inf]]))
    assert (mean, t) == (4.0, np.inf)  # one domain says nothing of the others
    mean, t = between_variance(np.full((2, 1), 7.0), np.full((2, 1), np.inf))
    assert (mean, t) == (0.0, np.inf)
    with pytest.raises(ValueError, match="differ in shape"):
        between_variance(np.zeros((3, 1)), np.ones((2, 1)))


def test_inverse_trigamma():
    x = np.array([1e-3, 0.2, 1.0, 30.0, 1e5])
    np.testing.assert_allclose(inverse_trigamma(polygamma(1, x)), x, rtol=1e-9)
    assert inverse_trigamma([0.0, np.inf]).tolist() == [np.inf, 0.0]


def test_the_prior_of_variances_is_found(rng):
    """limma's model: s0^2 d0 / chi2(d0) times chi2(d) / d."""
    d0, s0, d = 8.0, 3.0, np.full((400, 20), 9.0)
    true = s0**2 * d0 / rng.chisquare(d0, size=d.shape)
    common, dof = variance_prior(true * rng.chisquare(9, size=d.shape) / 9, d)
    # the geometric mean of the true variances
    expected = np.exp(np.log(s0**2) + np.log(d0 / 2) - polygamma(0, d0 / 2))
    assert np.mean(common) == pytest.approx(expected, rel=0.03)
    assert np.mean(dof) == pytest.approx(d0, rel=0.1)
    alike, dof = variance_prior(9 * rng.chisquare(9, size=d.shape) / 9, d)
    assert np.mean(alike) == pytest.approx(9, rel=0.02)
    assert np.median(dof) > 100


def test_posterior_variances_lie_between():
    s2, d = np.array([0.0, 4.0, 7.0]), np.array([0.0, 3.0, 9.0])
    assert posterior_variance(s2, d, 2.0, np.inf).tolist() == [2.0, 2.0, 2.0]
    assert posterior_variance(s2, d, 2.0, 0.0).tolist() == [2.0, 4.0, 7.0]
    np.testing.assert_allclose(posterior_variance(s2, d, 2.0, 3.0), [2, 3, 5.75])


def test_no_or_one_variance():
    zero, one = np.zeros((2, 1)), np.array([[4.0], [0.0]])
    assert variance_prior(zero, zero + 3)[0] == 0
    assert variance_prior(one, zero + 3)[0] == 4
    assert variance_prior(one, zero + 3)[1] == 0
