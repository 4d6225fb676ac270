"""Linear-time estimates of the maximum mean discrepancy."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sktransfer._solvers.kernels import kernel_matrix
from sktransfer._solvers.random_features import mmd2_blocks, mmd2_random_features


def exact(X, Y, gamma):
    return (
        kernel_matrix(X, gamma=gamma).mean()
        + kernel_matrix(Y, gamma=gamma).mean()
        - 2 * kernel_matrix(X, Y, gamma=gamma).mean()
    )


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_random_features_estimate_the_biased_statistic(shift):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(300, 3)), rng.normal(size=(200, 3)) + shift
    value, info = mmd2_random_features(X, Y, gamma=0.2, n_features=3000)
    assert abs(value - exact(X, Y, 0.2)) < 4 * info.stderr
    assert mmd2_random_features(X, X[::-1], gamma=0.2)[0] < 1e-20


def test_blocks_are_unbiased_and_one_block_is_the_statistic_itself():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(60, 2)), rng.normal(size=(60, 2)) + 0.5
    value, info = mmd2_blocks(X, Y, block_size=60, gamma=0.5)
    within = sum((kernel_matrix(Z, gamma=0.5).sum() - 60) / (60 * 59) for Z in (X, Y))
    assert_allclose(value, within - 2 * kernel_matrix(X, Y, gamma=0.5).mean())
    assert info.n_used == 1 and np.isnan(info.stderr)
    many, spread = mmd2_blocks(X, Y, block_size=10, gamma=0.5)
    assert spread.n_used == 6
    assert abs(many - value) < 4 * spread.stderr
