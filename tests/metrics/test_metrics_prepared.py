"""What the fits of a guard share: transformers that see no label of the target."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer.baselines import Pooled
from sktransfer.feature import CORAL, TCA
from sktransfer.instance import KMM
from sktransfer.metrics import _pair, cross_val_ntg
from sktransfer.safe import TransferGuard


@pytest.fixture
def shared(monkeypatch):
    """Share from 20 target rows on."""
    monkeypatch.setattr(_pair, "LEAST_SHARED", 20)


def draw(n_target=30, n_labeled=30, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(60 + n_target, 4))
    domain = np.repeat([1, -1], [60, n_target])
    X[domain > 0] += 0.3
    y = (X[:, 0] + 0.5 * rng.normal(size=len(X)) > 0).astype(float)
    y[60 + n_labeled :] = np.nan
    return X, y, domain, rng.normal(size=(50, 4))


def fitted(pipe, X, y, domain):
    """Return a fitted clone."""
    with config_context(enable_metadata_routing=True):
        return clone(pipe).fit(X, y, sample_domain=domain)


class Counting(TransformerMixin, BaseEstimator):
    """A scaler of our own that counts its fits."""

    fits = 0

    def fit(self, X, y=None):
        type(self).fits += 1
        self.scaler_ = StandardScaler().fit(X)
        return self

    def transform(self, X):
        return self.scaler_.transform(X)


def count_fits(monkeypatch, kind):
    """Count the fits of a transformer."""
    fits, fit = [], kind.fit_transform

    def counted(self, *args, **params):
        fits.append(self)
        return fit(self, *args, **params)

    monkeypatch.setattr(kind, "fit_transform", counted)
    return fits


@pytest.mark.parametrize("n_labeled", [30, 12])
@pytest.mark.parametrize("step", [TCA(n_components=2), CORAL()])
def test_transformers_are_fitted_once_for_all_folds(
    shared, monkeypatch, step, n_labeled
):
    X, y, domain, X_test = draw(n_labeled=n_labeled)
    scalers = count_fits(monkeypatch, StandardScaler)
    maps = count_fits(monkeypatch, type(step))
    pipe = make_pipeline(StandardScaler(), step, Pooled(LogisticRegression()))
    guard = TransferGuard(pipe, cv=5).fit(X, y, sample_domain=domain)
    assert len(scalers) == len(maps) == 2  # with the sources and without
    # the models of all rows are those of a plain fit
    plain = fitted(pipe, X, y, domain)
    assert_allclose(guard.transfer_.predict_proba(X_test), plain.predict_proba(X_test))
    target = domain < 0
    alone = fitted(pipe, X[target], y[target], domain[target])
    assert_allclose(
        guard.target_only_.predict_proba(X_test), alone.predict_proba(X_test)
    )
    assert list(guard.transfer_.named_steps) == list(pipe.named_steps)


def test_a_guard_of_kmm_in_a_pipeline_computes_the_kernel_of_the_sources_once(
    shared, monkeypatch
):
    X, y, domain, X_test = draw()
    solved = []
    solve = KMM._solve

    def counted(self, *arguments):
        solved.append(1)
        return solve(self, *arguments)

    monkeypatch.setattr(KMM, "_solve", counted)
    pipe = make_pipeline(StandardScaler(), KMM(LogisticRegression()))
    guard = TransferGuard(pipe, cv=5).fit(X, y, sample_domain=domain)
    assert len(solved) == 1
    plain = fitted(pipe, X, y, domain)
    assert_allclose(
        guard.transfer_.predict_proba(X_test),
        plain.predict_proba(X_test),
        atol=1e-6,
    )


def test_held_out_evidence_is_nearly_that_of_fresh_fits(monkeypatch):
    X, y, domain, _ = draw(n_target=400, n_labeled=40)
    pipe = make_pipeline(
        StandardScaler(), TCA(n_components=2), Pooled(LogisticRegression())
    )
    fresh = TransferGuard(pipe).fit(X, y, sample_domain=domain)
    monkeypatch.setattr(_pair, "LEAST_SHARED", 20)
    guard = TransferGuard(pipe).fit(X, y, sample_domain=domain)
    assert_allclose(guard.ntg_, fresh.ntg_, atol=0.03)
    assert_allclose(guard.weights_, fresh.weights_, atol=0.15)


@pytest.mark.parametrize(
    "step", [SelectKBest(f_classif, k=2), Counting()], ids=["selects", "unknown"]
)
def test_steps_that_may_see_labels_are_fitted_afresh(shared, step):
    X, y, domain, _ = draw()
    Counting.fits = 0
    pipe = make_pipeline(step, Pooled(LogisticRegression()))
    guard = TransferGuard(pipe, cv=5).fit(X, y, sample_domain=domain)
    assert guard.n_held_out_ == 30
    # two models on all rows, two on each of five folds
    assert Counting.fits == (12 if isinstance(step, Counting) else 0)


def test_the_gap_and_groups(shared):
    X, y, domain, _ = draw(n_labeled=24)
    pipe = make_pipeline(StandardScaler(), Pooled(LogisticRegression()))
    groups = np.arange(len(y)) // 2
    grouped = TransferGuard(pipe, cv=4).fit(X, y, sample_domain=domain, groups=groups)
    assert grouped.n_held_out_ == 12
    gap = cross_val_ntg(
        pipe, X, y, sample_domain=domain, cv=4, groups=groups, random_state=0,
        scoring="neg_brier_score",
    )  # fmt: skip
    assert np.isfinite(gap.ntg)
    weight = np.where(np.arange(len(y)) % 5 == 0, 0.0, 1.0)
    with config_context(enable_metadata_routing=True):
        weighted = make_pipeline(
            StandardScaler().set_fit_request(sample_weight=False),
            Pooled(LogisticRegression().set_fit_request(sample_weight=True)),
        )
        # rows of weight 0 do not exist: nothing is shared
        guard = TransferGuard(weighted, cv=4)
        guard.fit(X, y, sample_domain=domain, sample_weight=weight)
        kept = weight > 0
        other = clone(guard).fit(X[kept], y[kept], sample_domain=domain[kept])
    assert_allclose(guard.transfer_.predict(X), other.transfer_.predict(X))


class Duck:
    """A transformer without a base class: it has no tags."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X

    def get_params(self, deep=True):
        return {}

    def set_params(self, **params):
        return self


class First(Pipeline):
    """A pipeline that predicts in its own way."""

    def predict(self, X, **params):
        return np.full(len(X), self.classes_[0])


def test_a_transformer_without_tags_is_fitted_afresh(shared):
    X, y, domain, _ = draw()
    learner = Pooled(LogisticRegression())
    guard = TransferGuard(make_pipeline(Duck(), learner)).fit(
        X, y, sample_domain=domain
    )
    plain = TransferGuard(learner).fit(X, y, sample_domain=domain)
    assert_allclose(guard.predict_proba(X), plain.predict_proba(X))


def test_a_pipeline_of_another_class_stays_one(shared):
    X, y, domain, _ = draw()
    pipe = First([("scale", StandardScaler()), ("last", Pooled(LogisticRegression()))])
    guard = TransferGuard(pipe).fit(X, y, sample_domain=domain)
    assert type(guard.transfer_) is type(guard.target_only_) is First
    assert set(guard.transfer_.predict(X)) == {0.0}


def test_the_target_alone_trains_as_long_as_with_the_sources(shared):
    class Passes(Pooled):
        """It counts passes; a fit without sources gets the samples of that with."""

        def __init__(self, estimator=None, *, epoch_size=None):
            super().__init__(estimator)
            self.epoch_size = epoch_size

        def budget_params(self, data):
            return {"epoch_size": len(data.sample_domain)}

    X, y, domain, _ = draw()
    pipe = make_pipeline(StandardScaler(), Passes(LogisticRegression()))
    guard = TransferGuard(pipe, cv=5).fit(X, y, sample_domain=domain)
    assert guard.target_only_[-1].epoch_size == len(X)
    assert guard.transfer_[-1].epoch_size is None
