import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LinearRegression, Ridge

from sktransfer._solvers.subset_values import (
    banzhaf_contrasts,
    draw_subsets,
    linear_surrogate,
    sampling_error,
)


def game(subsets, n_parts=4):
    """A value with interactions, of any kind."""
    rng = np.random.RandomState(n_parts)
    table = rng.normal(size=2**n_parts)
    return table[(subsets * 2 ** np.arange(n_parts)).sum(axis=1)]


def test_all_subsets_give_the_exact_banzhaf_values():
    """m = all 2^K subsets = exact Banzhaf values."""
    subsets, exact = draw_subsets(4, 16, np.random.RandomState(0))
    assert exact and len(np.unique(subsets, axis=0)) == 16
    found = banzhaf_contrasts(subsets) @ game(subsets)
    for part in range(4):
        others = [k for k in range(4) if k != part]
        steps = []
        for members in itertools.product([False, True], repeat=3):
            without = np.zeros((1, 4), dtype=bool)
            without[0, others] = members
            within = without.copy()
            within[0, part] = True
            steps.append(game(within)[0] - game(without)[0])
        assert found[part] == pytest.approx(np.mean(steps))


def test_symmetric_parts_get_equal_values_and_an_empty_part_0():
    subsets, _ = draw_subsets(4, 16, np.random.RandomState(0))
    values = np.sqrt(subsets[:, 0].astype(float) + subsets[:, 1]) - subsets[:, 2]
    found = banzhaf_contrasts(subsets) @ values
    assert found[0] == pytest.approx(found[1])
    assert found[3] == pytest.approx(0, abs=1e-12)


def test_over_all_subsets_the_difference_equals_least_squares_and_ridge_shrinks_it():
    subsets, _ = draw_subsets(4, 16, np.random.RandomState(0))
    values = game(subsets)
    intercept, coefficients = linear_surrogate(subsets, values)
    assert_allclose(coefficients, banzhaf_contrasts(subsets) @ values)
    ols = LinearRegression().fit(subsets, values)
    assert_allclose([intercept, *coefficients], [ols.intercept_, *ols.coef_])
    intercept, shrunk = linear_surrogate(subsets, values, ridge=0.5)
    assert_allclose(shrunk, coefficients / 3)
    ridge = Ridge(0.5 * 16).fit(subsets, values)
    assert_allclose([intercept, *shrunk], [ridge.intercept_, *ridge.coef_])


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_sum_rule_of_the_surrogate(ridge):
    """b_0 + sum b_k mean[k in A] = mean v."""
    subsets, exact = draw_subsets(9, 40, np.random.RandomState(1))
    assert not exact
    values = game(subsets, 9)
    intercept, coefficients = linear_surrogate(subsets, values, ridge)
    total = intercept + coefficients @ subsets.mean(axis=0)
    assert total == pytest.approx(values.mean())


def test_each_part_is_in_half_of_the_random_subsets():
    subsets, _ = draw_subsets(9, 41, np.random.RandomState(1))
    assert subsets.shape == (40, 9)
    assert_array_equal(subsets.mean(axis=0), 0.5)
    assert_array_equal(subsets[::2], ~subsets[1::2])


def test_random_subsets_are_unbiased_and_their_standard_error_is_right():
    everything, _ = draw_subsets(7, 128, np.random.RandomState(0))
    truth = banzhaf_contrasts(everything) @ game(everything, 7)
    found, errors = [], []
    for seed in range(400):
        subsets, _ = draw_subsets(7, 40, np.random.RandomState(seed))
        found.append(banzhaf_contrasts(subsets) @ game(subsets, 7))
        errors.append(sampling_error(subsets, game(subsets, 7)))
    found, errors = np.array(found), np.array(errors)
    spread = found.std(axis=0)
    assert_allclose(found.mean(axis=0), truth, atol=4 * spread.max() / 20)
    assert_allclose(np.sqrt((errors**2).mean(axis=0)), spread, rtol=0.15)
    covered = np.abs(found - truth) <= 2.09 * errors
    assert 0.92 <= covered.mean() <= 0.98


def test_one_pair_has_no_standard_error():
    subsets, _ = draw_subsets(3, 2, np.random.RandomState(0))
    assert np.isinf(sampling_error(subsets, game(subsets, 3))).all()
