import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

from sktransfer.metrics import leep, n_leep, nce


def brute_leep(proba, y):
    labels, n = sorted(set(y)), len(y)
    total = 0.0
    for i in range(n):
        inner = []
        for z in range(len(proba[0])):
            mass = math.fsum(row[z] for row in proba)
            if mass > 0:
                joint = math.fsum(
                    p[z] for p, v in zip(proba, y, strict=True) if v == y[i]
                )
                inner.append(proba[i][z] * joint / mass)
        total += math.log(math.fsum(inner))
    assert labels
    return total / n


def brute_nce(z, y):
    n, total = len(y), 0.0
    for i in range(n):
        same = [y[j] for j in range(n) if z[j] == z[i]]
        total += math.log(same.count(y[i]) / len(same))
    return total / n


def entropy(y):
    shares = np.unique(y, return_counts=True)[1] / len(y)
    return -np.sum(shares * np.log(shares))


@pytest.fixture
def data():
    rng = np.random.RandomState(0)
    proba = rng.dirichlet(np.ones(5) * 0.3, size=60)
    return proba, np.array(["x", "y", "z"])[rng.randint(3, size=60)]


def test_leep_matches_loops(data):
    assert leep(*data) == pytest.approx(brute_leep(*data), abs=1e-12)


def test_nce_matches_loops(data):
    z, y = data[0].argmax(axis=1) * 7 - 3, data[1]
    assert nce(z, y) == pytest.approx(brute_nce(z.tolist(), y.tolist()), abs=1e-12)


def test_hard_probabilities_give_nce(data):
    z = data[0].argmax(axis=1)
    assert leep(np.eye(5)[z], data[1]) == pytest.approx(nce(z, data[1]), abs=1e-14)


def test_uniform_probabilities_give_minus_entropy(data):
    uniform = np.full((60, 4), 0.25)
    assert leep(uniform, data[1]) == pytest.approx(-entropy(data[1]), abs=1e-14)


def test_unused_source_class_changes_nothing(data):
    proba, y = data
    padded = np.insert(proba, 2, 0.0, axis=1)
    assert leep(padded, y) == pytest.approx(leep(proba, y), abs=1e-15)
    assert np.isfinite(leep(padded, y))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(2, 40), st.integers(1, 6), st.integers(1, 5), st.integers(0, 1000))
def test_bounds(n, n_source, n_target, seed):
    rng = np.random.RandomState(seed)
    proba = rng.dirichlet(np.ones(n_source) * 0.5, size=n)
    y = rng.randint(n_target, size=n)
    z = proba.argmax(axis=1)
    top = proba.max(axis=1)
    score = nce(z, y)
    assert -entropy(y) - 1e-12 <= score <= 0
    assert score + np.mean(np.log(top)) - 1e-12 <= leep(proba, y) <= 0


def test_nce_extremes():
    y = ["a", "b", "c"] * 4
    assert nce(y, y) == 0.0
    assert nce([1] * 12, y) == pytest.approx(-np.log(3))
    assert nce(y, ["only"] * 12) == 0.0


def test_leep_refuses_what_is_no_distribution(data):
    proba, y = data
    with pytest.raises(ValueError, match="sum to 1"):
        leep(2 * proba, y)
    with pytest.raises(ValueError, match="negative"):
        leep(np.array([[1.5, -0.5]]), [0])
    with pytest.raises(ValueError, match="NaN"):
        leep([[np.nan, 1.0]], [0])
    with pytest.raises(ValueError, match="60 rows"):
        leep(proba, y[:-1])


def test_float32_probabilities_are_accepted(data):
    proba, y = data
    assert leep(proba.astype(np.float32), y) == pytest.approx(leep(proba, y), abs=1e-6)


def test_n_leep_finds_separated_classes():
    rng = np.random.RandomState(0)
    y = np.repeat(["a", "b", "c"], 30)
    centers = 20 * np.eye(3, 6)
    features = centers[np.repeat([0, 1, 2], 30)] + rng.normal(size=(90, 6))
    assert n_leep(features, y, random_state=0) == pytest.approx(0, abs=1e-6)
    noise = n_leep(rng.normal(size=(90, 6)), y, random_state=0)
    assert -np.log(3) - 1e-9 <= noise < -0.5


def test_one_component_gives_minus_entropy():
    rng = np.random.RandomState(0)
    y = rng.randint(3, size=50)
    value = n_leep(rng.normal(size=(50, 4)), y, n_components=1, random_state=0)
    assert value == pytest.approx(-entropy(y), abs=1e-12)
    assert n_leep(np.ones((50, 4)), y) == pytest.approx(-entropy(y), abs=1e-12)


def test_n_leep_does_not_depend_on_the_unit():
    rng = np.random.RandomState(0)
    X, y = rng.normal(size=(60, 5)), rng.randint(3, size=60)
    for pca in (None, 2, 0.9):
        first = n_leep(X, y, pca_components=pca, random_state=0)
        second = n_leep(1e4 * X - 3, y, pca_components=pca, random_state=0)
        assert first == pytest.approx(second, abs=1e-8)


def test_n_leep_errors_and_warnings():
    rng = np.random.RandomState(0)
    X, y = rng.normal(size=(60, 5)), rng.randint(3, size=60)
    with pytest.raises(ValueError, match="n_components=61"):
        n_leep(X, y, n_components=61)
    with pytest.warns(ConvergenceWarning):
        n_leep(X, y, max_iter=1, random_state=0)
