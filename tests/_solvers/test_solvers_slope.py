"""The slope of decision values: its optimum, limits and scale."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from sktransfer._solvers.slope import _WIDTH, fit_slope, starting_slope


def draw(n=40, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(n_classes, size=n)
    hits = np.eye(n_classes, dtype=bool)[y]
    return 1.5 * hits + rng.normal(size=hits.shape), hits, rng.uniform(0.5, 2, size=n)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_it_minimizes_the_penalized_loss(n_classes):
    values, hits, weight = draw(n_classes=n_classes)
    start = starting_slope(values)

    def loss(log_slope):
        logs = log_softmax(np.exp(log_slope) * start * values, axis=1)[hits]
        return -weight @ logs + 0.5 * (log_slope / _WIDTH) ** 2

    best = minimize_scalar(loss, bounds=(-6, 6), method="bounded",
                           options={"xatol": 1e-10}).x  # fmt: skip
    assert_allclose(fit_slope(values, hits, weight), start * np.exp(best), rtol=1e-6)


def test_weights_are_counts_and_the_order_does_not_matter():
    values, hits, _ = draw()
    counts = np.arange(len(values)) % 3
    rows = np.repeat(np.arange(len(values)), counts)[::-1]
    # the start is the median of all rows
    same = np.ones((len(values), 1)) * [1.0, 0.0, -1.0]
    weighted = fit_slope(same, hits, counts.astype(float))
    assert_allclose(weighted, fit_slope(same[rows], hits[rows]), rtol=1e-8)


@pytest.mark.parametrize("factor", [1e-8, 1e8])
def test_a_multiple_divides_the_slope(factor):
    values, hits, _ = draw()
    assert_allclose(factor * fit_slope(factor * values, hits), fit_slope(values, hits))


def test_extremes_stay_finite():
    values, hits, _ = draw()
    sure = np.where(hits, 1.0, -1.0)
    start = starting_slope(sure)
    assert start < fit_slope(sure, hits) < 1e3 * start
    assert 0 < fit_slope(-100 * sure, hits) < starting_slope(-100 * sure)
    assert fit_slope(np.zeros_like(values), hits) == starting_slope(0 * values)
    many = np.repeat(-sure, 10**5 // len(sure), axis=0)
    assert fit_slope(many, np.repeat(hits, 10**5 // len(sure), axis=0)) > 0


def test_classes_that_the_model_does_not_know():
    values, hits, _ = draw(n=60)
    known = values.copy()
    known[:, 2] = -np.inf
    some = ~hits[:, 2]
    # rows of the unknown class tell nothing
    assert_allclose(
        fit_slope(known, hits) / starting_slope(known),
        fit_slope(known[some], hits[some])
        / starting_slope(known[some])
        * starting_slope(known[some]) / starting_slope(known),
        rtol=0.2,
    )  # fmt: skip
    alone = np.full_like(values, -np.inf)
    alone[:, 0] = 1.0
    assert np.isfinite(fit_slope(alone, hits))
