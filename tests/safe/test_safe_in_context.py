"""Learners that store their samples: prediction is costly, context is limited."""

from collections import Counter

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import pairwise_distances_argmin
from sklearn.tree import DecisionTreeClassifier

from sktransfer.baselines import Pooled, SourceOnly
from sktransfer.hypothesis import OffsetTransfer, SourcePredictions
from sktransfer.instance import KMM, Resampled
from sktransfer.metrics import cross_val_ntg
from sktransfer.safe import (
    TransferGuard,
    TransferPortfolioClassifier,
    TransferPortfolioRegressor,
)

N_SOURCE, N_TARGET = 60, 24
DOMAIN = np.repeat([1, 2, -1], [N_SOURCE // 2, N_SOURCE // 2, N_TARGET])
ROWS = N_SOURCE + N_TARGET


class _Context(BaseEstimator):
    """The nearest stored sample answers; no weights, and a context of limited size."""

    asked: Counter = Counter()
    fits: list = []

    def __init__(self, context=50):
        self.context = context

    def fit(self, X, y):
        """Store the samples."""
        X = np.asarray(X)
        if len(X) > self.context:
            raise ValueError(f"{len(X)} samples exceed the context of {self.context}.")
        if hasattr(self, "X_"):
            raise AssertionError("a fitted learner was fitted again")
        self.X_, self.y_ = X, np.asarray(y)
        self.n_features_in_ = X.shape[1]
        _Context.fits.append(len(X))
        self.key_ = len(_Context.fits)
        self._after_fit()
        return self

    def _nearest(self, X):
        X = np.asarray(X)
        _Context.asked.update((self.key_, row) for row in X[:, -1].astype(int))
        return pairwise_distances_argmin(X[:, :-1], self.X_[:, :-1])


class ContextClassifier(ClassifierMixin, _Context):
    """A classifier in context."""

    def _after_fit(self):
        self.classes_ = np.unique(self.y_)

    def predict_proba(self, X):
        """Predict probabilities."""
        hit = self.y_[self._nearest(X)][:, None] == self.classes_
        return 0.8 * hit + 0.2 / len(self.classes_)

    def predict(self, X):
        """Predict classes."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


class ContextRegressor(RegressorMixin, _Context):
    """A regressor in context."""

    def _after_fit(self):
        pass

    def predict(self, X):
        """Predict values."""
        return self.y_[self._nearest(X)]


@pytest.fixture
def data(rng):
    """The last column names the row."""
    _Context.asked, _Context.fits = Counter(), []
    X = np.column_stack([rng.normal(size=(ROWS, 2)), np.arange(ROWS)])
    score = X[:, 0] + 0.2 * rng.normal(size=ROWS)
    return X, (score > 0).astype(int), score


def is_asked_once():
    """Each model is asked at most once about each row."""
    return max(_Context.asked.values()) == 1


@pytest.mark.parametrize("scoring", [None, "accuracy", "neg_log_loss"])
def test_a_guard_asks_each_model_once_about_a_held_out_row(data, scoring):
    X, y, _ = data
    guard = TransferGuard(
        Pooled(ContextClassifier(100)), cv=4, policy="select", scoring=scoring
    ).fit(X, y, sample_domain=DOMAIN)
    if scoring != "accuracy":  # which asks for classes beside probabilities
        assert is_asked_once()
        assert sum(_Context.asked.values()) == 2 * N_TARGET
    assert len(_Context.fits) == 2 * (4 + 1)
    _Context.asked.clear()
    guard.predict_proba(X)
    assert is_asked_once()


def test_a_guard_of_regressors_too(data):
    X, _, score = data
    guard = TransferGuard(Pooled(ContextRegressor(100)), cv=4)
    guard.fit(X, score, sample_domain=DOMAIN)
    assert is_asked_once()
    assert sum(_Context.asked.values()) == 2 * N_TARGET
    _Context.asked.clear()
    guard.predict(X)
    assert is_asked_once()


def test_a_gap_asks_each_model_once(data):
    X, y, _ = data
    cross_val_ntg(
        Pooled(ContextClassifier(100)), X, y, sample_domain=DOMAIN, cv=4,
        scoring="neg_log_loss",
    )  # fmt: skip
    assert is_asked_once()


@pytest.mark.parametrize("classify", [True, False])
def test_a_portfolio_asks_each_member_once(data, classify):
    X, y, score = data
    kind, learner = (
        (TransferPortfolioClassifier, ContextClassifier(100))
        if classify
        else (TransferPortfolioRegressor, ContextRegressor(100))
    )
    members = [
        ("alone", learner),
        ("pooled", Pooled(learner)),
        ("source", SourceOnly(learner)),
    ]
    portfolio = kind(members=members, cv=4)
    portfolio.fit(X, y if classify else score, sample_domain=DOMAIN)
    assert portfolio.skipped_ == {}
    assert is_asked_once()
    assert sum(_Context.asked.values()) == 3 * N_TARGET
    # a model of the sources alone is fitted once, not once per fold
    assert len(_Context.fits) == 2 * (4 + 1) + 1


def test_budgets_of_rows_keep_to_the_context(data):
    X, y, _ = data
    learner = ContextClassifier(45)
    with pytest.raises(ValueError, match="exceed the context"):
        Pooled(learner).fit(X, y, sample_domain=DOMAIN)
    model = Pooled(learner, max_rows=10).fit(X, y, sample_domain=DOMAIN)
    assert _Context.fits == [10 + 10 + N_TARGET]
    assert model.predict(X).shape == (ROWS,)
    guard = TransferGuard(Pooled(learner, max_rows=10), cv=3)
    guard.fit(X, y, sample_domain=DOMAIN)
    assert max(_Context.fits) <= 45
    resampled = Pooled(Resampled(learner, max_rows=40), source_weight=0.5)
    resampled.fit(X, y, sample_domain=DOMAIN)
    assert max(_Context.fits) <= 45
    portfolio = TransferPortfolioClassifier(learner, cv=2, max_rows=10)
    portfolio.fit(X, y, sample_domain=DOMAIN)
    # every member keeps to the budget; those with weights need a resample
    assert not any("exceed" in reason for reason in portfolio.skipped_.values())
    wanted = {"pooled_learner", "source_learner", "stacking", "offset"}
    assert wanted <= {*portfolio.members_}
    assert max(_Context.fits) <= 45
    _Context.fits.clear()
    source = SourceOnly(learner, max_rows=10).fit(X, y, sample_domain=DOMAIN)
    assert _Context.fits == [20]
    assert set(source.classes_) == {0, 1}
    # several outputs: classes of the first are kept in proportion
    trees = Pooled(DecisionTreeClassifier(), max_rows=10)
    trees.fit(X, np.column_stack([y, 1 - y]), sample_domain=DOMAIN)
    assert len(trees.rows_) == 20 + N_TARGET


def test_weights_are_refused_by_name(data):
    X, y, _ = data
    with pytest.raises(TypeError, match=r"Resampled\(ContextClassifier"):
        KMM(ContextClassifier()).fit(X, y, sample_domain=DOMAIN)


def test_source_models_in_offset_and_stacking(data):
    X, y, _ = data
    offset = OffsetTransfer(ContextClassifier(60), cv=3)
    offset.fit(X, y, sample_domain=DOMAIN)
    assert is_asked_once()
    _Context.asked.clear()
    stack = SourcePredictions(ContextClassifier(60), cv=3)
    stack.fit(X, y, sample_domain=DOMAIN).transform(X[-5:])
    assert is_asked_once()
