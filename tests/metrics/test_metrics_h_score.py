import mpmath
import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf

from sktransfer.metrics import h_score


def mp_h_score(F, y, amount=0.0):
    """tr(C_a^-1 (1 - a) B) with 50 digits, for an invertible C_a."""
    with mpmath.workdps(50):
        F = mpmath.matrix(np.asarray(F, dtype=float).tolist())
        n, d = F.rows, F.cols
        mean = [mpmath.fsum(F[:, j]) / n for j in range(d)]
        C, B = mpmath.matrix(d, d), mpmath.matrix(d, d)
        for i in range(n):
            row = mpmath.matrix([F[i, j] - mean[j] for j in range(d)])
            C += row * row.T / n
        for label in set(y):
            rows = [i for i in range(n) if y[i] == label]
            gap = mpmath.matrix(
                [
                    mpmath.fsum(F[i, j] for i in rows) / len(rows) - mean[j]
                    for j in range(d)
                ]
            )
            B += gap * gap.T * len(rows) / n
        trace = mpmath.fsum(C[j, j] for j in range(d))
        amount = mpmath.mpf(amount)
        C = (1 - amount) * C + amount * trace / d * mpmath.eye(d)
        product = (1 - amount) * C**-1 * B
        return float(mpmath.fsum(product[j, j] for j in range(d)))


@pytest.fixture
def data():
    rng = np.random.RandomState(0)
    y = np.array(list("abcabbca") * 5)
    features = rng.normal(size=(40, 4)) @ np.diag([1, 10, 0.1, 3])
    features[:, 0] += y == "a"
    return features, y


def test_matches_high_precision(data):
    assert h_score(*data) == pytest.approx(mp_h_score(*data), abs=1e-8)


@pytest.mark.parametrize("amount", [0.1, 0.7, 1.0])
def test_shrinkage_matches_high_precision(data, amount):
    expected = mp_h_score(*data, amount)
    assert h_score(*data, shrinkage=amount) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("shape", [(40, 4), (12, 15), (24, 24)])
def test_ledoit_wolf_is_the_published_score(shape):
    rng = np.random.RandomState(0)
    features, y = rng.normal(size=shape), np.arange(shape[0]) % 3
    features[:, 0] += y
    features[:, -1] = 3.0
    amount = ledoit_wolf(features)[1]
    expected = mp_h_score(features, y.tolist(), amount)
    score = h_score(features, y, shrinkage="ledoit_wolf")
    assert score == pytest.approx(expected, rel=1e-8)


def test_affine_invariance(data):
    features, y = data
    A = np.random.RandomState(1).normal(size=(4, 4))
    assert h_score(features @ A + 7, y) == pytest.approx(h_score(features, y), rel=1e-9)
    scaled = features * [1e-6, 1e6, 1, 1e3]
    assert h_score(scaled, y) == pytest.approx(h_score(features, y), rel=1e-9)


@pytest.mark.parametrize("shrinkage", [None, "ledoit_wolf", 0.3])
def test_redundant_columns(data, shrinkage):
    features, y = data
    twice = np.hstack([features, features[:, :2], np.full((40, 1), 5.5)])
    if shrinkage is None:
        expected = h_score(features, y)
        assert h_score(twice, y) == pytest.approx(expected, rel=1e-9)
        assert h_score(np.hstack([features, np.zeros((40, 2))]), y) == pytest.approx(
            expected, rel=1e-12
        )
    else:
        amount = ledoit_wolf(twice)[1] if shrinkage == "ledoit_wolf" else shrinkage
        expected = mp_h_score(twice, y, amount)
        assert h_score(twice, y, shrinkage=shrinkage) == pytest.approx(expected)


def test_integer_features_are_not_truncated():
    y = [0, 0, 0, 1, 1, 1]
    integers = np.array([[0, 3], [1, 1], [1, 0], [1, 2], [2, 5], [1, 1]])
    assert h_score(integers, y) == pytest.approx(h_score(integers.astype(float), y))
    assert h_score(integers, y) == pytest.approx(mp_h_score(integers, y), abs=1e-10)


def test_saturates_at_classes_minus_one_when_rows_are_few():
    rng = np.random.RandomState(0)
    y = np.arange(10) % 3
    features = rng.normal(size=(10, 30))
    assert h_score(features, y) == pytest.approx(2.0)
    assert h_score(features, y, shrinkage="ledoit_wolf") < 1.9


def test_no_signal_and_full_signal():
    y = np.repeat([0, 1, 2], 4)
    assert h_score(np.ones((12, 3)), y) == 0.0
    assert h_score(np.ones((12, 3)) * 0.1, y, shrinkage="ledoit_wolf") == 0.0
    assert h_score(np.eye(3)[y], y) == pytest.approx(2.0)
    assert h_score(np.eye(3)[y], np.zeros(12)) == pytest.approx(0, abs=1e-12)
