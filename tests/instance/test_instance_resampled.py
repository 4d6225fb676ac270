"""Weighted resamples: counts, classes, seeds, and every wrapper that weighs."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from sktransfer.baselines import Pooled
from sktransfer.instance import KMM, LabelShiftClassifier, Resampled
from sktransfer.safe import TransferGuard

DOMAIN = np.repeat([1, -1], [60, 40])


@pytest.fixture
def data(rng):
    X = rng.normal(size=(100, 2))
    return X, (X[:, 0] + 0.3 * rng.normal(size=100) > 0).astype(int)


def test_counts_are_rounded_expectations(rng, data):
    X, y = data
    weights = rng.gamma(0.5, size=100)
    expected = 100 * weights / weights.sum()
    counts = Resampled(KNeighborsClassifier()).fit(X, y, weights).counts_
    assert counts.sum() == 100
    assert (np.abs(counts - expected) < 1).all()
    for k in (0, 1):  # classes keep their shares
        assert abs(counts[y == k].sum() - expected[y == k].sum()) < 1 + 1e-6
    few = Resampled(KNeighborsClassifier(), max_rows=30).fit(X, y, weights).counts_
    assert few.sum() == 30


def test_equal_whole_and_zero_weights(data):
    X, y = data
    plain = KNeighborsClassifier().fit(X, y)
    for weights in (None, np.full(100, 0.3)):
        model = Resampled(KNeighborsClassifier()).fit(X, y, weights)
        assert (model.counts_ == 1).all()
        np.testing.assert_array_equal(model.predict_proba(X), plain.predict_proba(X))
    weights = np.tile([0, 1, 2, 3, 1], 20)
    model = Resampled(KNeighborsClassifier()).fit(X, y, weights)
    np.testing.assert_array_equal(model.counts_, weights)
    weights = np.where(np.arange(100) < 50, 0.0, 0.37 + np.arange(100) / 100)
    assert Resampled(KNeighborsClassifier()).fit(X, y, weights).counts_[:50].sum() == 0
    for y_bad in (None, y[:7]):
        with pytest.raises(ValueError, match=r"y is None|inconsistent numbers"):
            Resampled(KNeighborsClassifier(), max_rows=9).fit(X, y_bad)
    with pytest.raises(ValueError, match="zero for all"):
        Resampled(KNeighborsClassifier()).fit(X, y, np.zeros(100))


def test_same_seed_same_rows_in_any_order(rng, data):
    X, y = data
    weights, order = rng.uniform(size=100), rng.permutation(100)
    model = Resampled(KNeighborsClassifier(3), random_state=4)
    first = clone(model).fit(X, y, weights).counts_
    np.testing.assert_array_equal(clone(model).fit(X, y, weights).counts_, first)
    moved = clone(model).fit(X[order], y[order], weights[order]).counts_
    np.testing.assert_array_equal(moved, first[order])
    other = Resampled(KNeighborsClassifier(3), random_state=5).fit(X, y, weights)
    assert (other.counts_ != first).any()


def test_it_stands_in_for_weights(rng):
    """The resampled fit of a learner that takes weights is near the weighted one."""
    X = rng.normal(size=(4000, 2))
    y = (X @ [1.0, -1.0] + rng.normal(size=4000) > 0).astype(int)
    weights = np.exp(X[:, 1])
    plain = LogisticRegression().fit(X, y, sample_weight=weights)
    model = Resampled(LogisticRegression()).fit(X, y, weights)
    np.testing.assert_allclose(model.estimator_.coef_, plain.coef_, atol=0.12)


@pytest.mark.parametrize(
    "make",
    [
        lambda learner: KMM(learner),
        lambda learner: Pooled(learner, source_weight=0.3),
        lambda learner: LabelShiftClassifier(learner, cv=2),
        lambda learner: TransferGuard(Pooled(learner, source_weight=0.3), cv=3),
    ],
)
def test_methods_that_weigh_take_it(data, make):
    X, y = data
    model = make(Resampled(KNeighborsClassifier(3)))
    model.fit(X, y, sample_domain=DOMAIN)
    assert model.predict_proba(X).shape == (100, 2)
    with pytest.raises(TypeError, match=r"Resampled\(KNeighborsClassifier\(...\)\)"):
        make(KNeighborsClassifier(3)).fit(X, y, sample_domain=DOMAIN)


def test_text_labels_and_several_outputs(rng, data):
    X, y = data
    weights = rng.uniform(size=100)
    text = np.array(["no", "yes"])[y]
    model = Resampled(KNeighborsClassifier()).fit(X, text, weights)
    assert model.classes_.tolist() == ["no", "yes"]
    both = np.column_stack([X[:, 0], -X[:, 0]])
    model = Resampled(KNeighborsRegressor()).fit(X, both, weights)
    assert model.predict(X).shape == (100, 2)
