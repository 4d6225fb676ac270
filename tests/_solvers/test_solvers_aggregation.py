"""The weight of a blend: posterior quantile, limits, invariances."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import cumulative_trapezoid

from sktransfer._solvers.aggregation import blend_posterior, blend_weight


def residuals(seed=0, n=12, k=1, gap=0.5):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, k))
    return common, common * gap + 0.7 * rng.normal(size=(n, k))


def weigh(e0, e1, quantile):
    return blend_weight(blend_posterior(e0, e1), quantile)


@pytest.mark.parametrize("n", [2, 5, 40])
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("quantile", [0.1, 0.4, 0.8])
def test_quantile_of_the_stated_density(n, k, quantile):
    e0, e1 = residuals(n=n, k=k)
    info = blend_posterior(e0, e1)
    weight = blend_weight(info, quantile)
    w = np.linspace(0, 1, 20001)
    risk = np.array([np.sum(((1 - v) * e0 + v * e1) ** 2) for v in w])
    density = (risk / risk.min()) ** (-n / 2)
    cdf = cumulative_trapezoid(density, w, initial=0)
    assert_allclose(weight, np.interp(quantile, cdf / cdf[-1], w), atol=1e-5)
    assert info.dof == n - 1


def test_swapping_the_models_mirrors_the_weight():
    e0, e1 = residuals()
    weight = weigh(e0, e1, 0.3)
    mirrored = weigh(e1, e0, 0.7)
    assert_allclose(weight, 1 - mirrored)


def test_many_rows_give_the_best_blend():
    e0, e1 = residuals(n=200_000, gap=0.2)
    info = blend_posterior(e0, e1)
    weight = blend_weight(info, 0.3)
    assert_allclose(weight, info.minimizer, atol=0.01)
    assert 0 < weight < 1


@pytest.mark.parametrize(("first", "second", "weight"), [(1, 0, 1), (0, 1, 0)])
def test_perfect_model_gets_all(first, second, weight):
    noise = residuals()[0]
    assert weigh(first * noise, second * noise, 0.4) == weight


def test_no_evidence_gives_the_prior():
    e0, e1 = residuals(n=1)
    assert weigh(e0, e1, 0.4) == 0.4
    e0, _ = residuals()
    assert weigh(e0, e0.copy(), 0.4) == 0.4
    assert weigh(np.zeros((0, 1)), np.zeros((0, 1)), 0.2) == 0.2


def test_far_tails_do_not_underflow():
    e0 = residuals(n=4000)[0]
    assert weigh(e0, 50 * e0 + 1.0, 0.4) < 0.01
    assert weigh(50 * e0 + 1.0, e0, 0.4) > 0.99


def test_scale_does_not_matter():
    e0, e1 = residuals()
    weight = weigh(e0, e1, 0.3)
    assert_allclose(weigh(1e-6 * e0, 1e-6 * e1, 0.3), weight)
