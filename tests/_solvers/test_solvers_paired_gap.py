"""Paired differences: limits of the estimate, and what unlabeled rows add."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sktransfer._solvers.paired_gap import paired_gap


def squared_losses(rng, n, N, weight, n_draws=1, noise=1.0):
    """Losses of two models; `weight` of the second is the best blend."""
    step, far = rng.normal(size=(n_draws, n)), rng.normal(size=(n_draws, N))
    error = weight * step + noise * rng.normal(size=(n_draws, n))
    return (step - error) ** 2 - error**2, step**2, np.mean(far**2, axis=1)


def test_without_guesses_it_is_the_mean_and_its_squared_standard_error():
    d = np.array([0.1, 0.4, -0.2, 0.3])
    mean, variance, n, slope = paired_gap(d)
    assert np.isnan(slope)
    assert_allclose([mean, variance, n], [d.mean(), d.var(ddof=1) / 4, 4])


def test_a_unit_of_weight_two_is_two_units_but_one_witness():
    d, g = np.array([0.1, 0.4, -0.2]), np.array([1.0, 0.5, 0.2])
    mean, variance, n, _ = paired_gap(d, np.array([0.5, 0.25, 0.25]), g)
    twice = paired_gap(np.append(d, 0.1), None, np.append(g, 1.0))
    assert_allclose(mean, twice[0])
    assert n == pytest.approx(8 / 3) and variance > twice[1]


def test_rows_can_be_estimated_at_once():
    d, g, reference = squared_losses(np.random.default_rng(0), 12, 50, 0.3, 5)
    together = paired_gap(d, None, g, reference, 50)
    for k in range(5):
        alone = paired_gap(d[k], None, g[k], reference[k], 50)
        assert_allclose([part[k] for part in together], alone)


def test_a_reference_of_the_same_guesses_changes_no_mean():
    d, g, _ = squared_losses(np.random.default_rng(1), 20, 1, 0.0)
    mean, *_ = paired_gap(d, None, g, g.mean(axis=1), 100)
    assert_allclose(mean, d.mean(axis=1))


def test_models_that_agree_everywhere_have_gap_zero():
    zero = np.zeros(6)
    assert paired_gap(zero, None, zero, 0.0, 30)[:2] == (0, 0)
    mean, variance, *_ = paired_gap(zero, None, zero, 0.0, 30, hits=True)
    assert mean == 0 < variance  # the next row may tell them apart


def test_equal_differences_are_no_proof():
    """One more unit might have none: no interval has the width 0."""
    variance = paired_gap(np.full(9, -0.4))[1]
    unlike = np.append(np.full(9, -0.4), 0.0)
    assert_allclose(variance, unlike.var() / 8)
    # models that differ on unlabeled rows alone: held-out rows tell nothing
    zero = np.zeros(6)
    assert np.isinf(paired_gap(zero, None, zero, 0.3, 30)[1])


def test_agreement_on_the_labels_alone_leaves_the_disagreement_elsewhere():
    zero = np.zeros(8)
    variance = [
        float(paired_gap(zero, None, zero, share, 100, hits=True)[1])
        for share in (0.0, 0.1, 0.4)
    ]
    assert variance == sorted(variance) and variance[0] > 0


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("n", [10, 40])
def test_unlabeled_rows_never_cost_more_than_noise(n, weight):
    d, g, reference = squared_losses(np.random.default_rng(n), n, 200, weight, 4000)
    gap = 1 - 2 * weight  # times the mean square of the step, which is 1
    labels, variance, *_ = paired_gap(d, None, g)
    all_rows, less, *_ = paired_gap(d, None, g, reference, 200)
    error, base = (np.mean((m - gap) ** 2) for m in (all_rows, labels))
    assert error < 1.02 * base
    assert np.mean(less) < 1.02 * np.mean(variance)
    if weight != 0.5 and n == 40:
        assert error < 0.85 * base  # 0.72 with a known lambda
    assert 0.8 < np.mean(less) / error < 1.7  # as wide as it should be


@pytest.mark.parametrize("win", [0.5, 0.9])
def test_disagreement_identity(win):
    rng = np.random.default_rng(0)
    disagree = rng.random((4000, 40)) < 0.3
    better = rng.random(disagree.shape) < win
    d = np.where(disagree, np.where(better, -1.0, 1.0), 0.0)
    share = np.mean(rng.random((4000, 200)) < 0.3, axis=1)
    gap = 0.3 * (1 - 2 * win)
    mean, variance, *_ = paired_gap(d, None, disagree * 1.0, share, 200, hits=True)
    error, base = (np.mean((m - gap) ** 2) for m in (mean, d.mean(axis=1)))
    m = 1 - 2 * win
    best = (1 - m**2) / (1 - 0.3 * m**2)  # all but the noise of the reference
    assert 0.95 * best * base < error < (best + 0.35 * (1 - best) + 0.03) * base
    assert 0.9 < np.mean(variance) / error < 1.3
