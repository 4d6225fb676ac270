"""Folds of ridge and logistic regression follow from the fit on all rows."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

from sktransfer import _learners
from sktransfer._fold_fits import fits_without, is_known
from sktransfer._solvers.without_rows import ridge_without, sums_without
from sktransfer.baselines import Pooled, SourceOnly, TargetOnly
from sktransfer.datasets import make_concept_shift
from sktransfer.metrics import cross_val_ntg
from sktransfer.safe import TransferGuard, TransferPortfolioRegressor

EXACT = LogisticRegression(tol=1e-9, max_iter=5000, warm_start=True)


def rows(task, n_classes=2, n=80, d=4, n_labeled=24, seed=0):
    data = make_concept_shift(
        n, n_labeled=n_labeled, n_unlabeled=20, shift=[0.5, 1.0], n_features=d,
        task="regression", random_state=seed,
    )  # fmt: skip
    y = data.y
    if task == "classification":
        cuts = np.nanquantile(y, np.arange(1, n_classes) / n_classes)
        names = np.array(["a", "b", "c"], dtype=object)
        y = np.where(np.isnan(y), None, names[np.digitize(y, cuts)])
    return data.X, y, data.sample_domain


def compared(monkeypatch, model, X, y, domain, **fit):
    """Return two guards: with folds that follow, and with fits of their own."""
    guard = TransferGuard(model, cv=fit.pop("cv", 5), random_state=0)
    fast = guard.fit(X, y, sample_domain=domain, **fit)
    with monkeypatch.context() as patch:
        patch.setattr(type(model), "leaves_out", lambda self, n_samples: False)
        slow = clone(guard).fit(X, y, sample_domain=domain, **fit)
    return fast, slow


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("d", [4, 40])
@pytest.mark.parametrize("weighted", [True, False])
def test_ridge_without_rows_is_ridge_on_the_others(fit_intercept, d, weighted):
    rng = np.random.default_rng(0)
    X, y = 1e6 + rng.normal(size=(40, d)), rng.normal(size=(40, 2))
    weight = rng.uniform(0.5, 2, size=40) if weighted else np.full(40, 2.0)
    parts = [np.arange(4), np.arange(4, 20), np.array([39])]
    parts += [np.arange(10)] if weighted else []  # rows that two folds leave out
    if not fit_intercept:
        X -= 1e6
    found = ridge_without(X, y, weight, parts, alpha=0.5, fit_intercept=fit_intercept)
    for part, coef, intercept in zip(parts, *found, strict=True):
        kept = np.delete(np.arange(40), part)
        own = Ridge(0.5, fit_intercept=fit_intercept, solver="svd")
        own.fit(X[kept], y[kept], sample_weight=weight[kept])
        assert_allclose(coef, own.coef_, rtol=1e-6, atol=1e-8)
        at = X[kept] @ coef.T + intercept
        assert_allclose(at, own.predict(X[kept]), rtol=1e-6, atol=1e-7)


def test_sums_lose_no_digits():
    values = np.array([1.0, 1e17, 2.0, 4.0])
    parts = [np.array([1]), np.array([0]), np.array([2, 3])]
    sums = sums_without(lambda some: np.array(values[some].sum()), 4, parts)
    assert sums[0] == 7.0


@pytest.mark.parametrize("model", [Pooled, TargetOnly, SourceOnly])
@pytest.mark.parametrize(
    "learner, task, n_classes, rtol",
    [
        (Ridge(), "regression", 0, 1e-9),
        (EXACT, "classification", 2, 1e-5),
        (EXACT, "classification", 3, 1e-4),
    ],
)
def test_guard_is_that_of_fits_of_their_own(
    model, learner, task, n_classes, rtol, monkeypatch
):
    X, y, domain = rows(task, n_classes)
    fast, slow = compared(monkeypatch, model(learner), X, y, domain)
    assert_allclose(fast.ntg_, slow.ntg_, rtol=rtol, atol=1e-9)
    assert_allclose(fast.ntg_interval_, slow.ntg_interval_, rtol=rtol, atol=1e-7)
    assert_allclose(fast.weights_, slow.weights_, atol=1e-5)
    assert_array_equal(fast.predict(X), slow.predict(X))


def test_logistic_regression_by_default_and_by_a_warm_start(monkeypatch):
    X, y, domain = rows("classification")
    few = compared(monkeypatch, Pooled(LogisticRegression()), X, y, domain)
    assert_array_equal(*(guard.ntg_interval_ for guard in few))
    monkeypatch.setattr("sktransfer._fold_fits._LEAST_FOLLOWED", len(X))
    for learner in (LogisticRegression(), LogisticRegression(warm_start=True)):
        # as far as tol leaves them open
        fast, slow = compared(monkeypatch, Pooled(learner), X, y, domain)
        assert not np.array_equal(fast.ntg_interval_, slow.ntg_interval_)
        assert_allclose(fast.ntg_, slow.ntg_, rtol=0.02)
        assert_allclose(fast.weights_, slow.weights_, atol=0.004)
    # a fit that did not end by itself tells nothing of others
    learner = LogisticRegression(max_iter=3)
    with pytest.warns(ConvergenceWarning):
        fast, slow = compared(monkeypatch, Pooled(learner), X, y, domain)
    assert_array_equal(fast.ntg_interval_, slow.ntg_interval_)


def test_weights_groups_frames_and_outputs(monkeypatch, routing):
    X, y, domain = rows("regression")
    rng = np.random.default_rng(1)
    learner = Ridge().set_fit_request(sample_weight=True)
    model = Pooled(learner, source_weight=0.3)
    weight = rng.uniform(0.5, 2, len(y))
    groups = rng.integers(30, size=len(y))  # a fold leaves source rows out, too
    frame = pd.DataFrame(X, columns=list("abcd")).astype({"a": "float32"})
    both = np.column_stack([y, 2 * y + X[:, 0]])
    for table, labels in ((frame, y), (X, both)):
        for extra in ({"sample_weight": weight}, {"groups": groups}):
            pair = compared(monkeypatch, model, table, labels, domain, **extra)
            assert_allclose(pair[0].ntg_, pair[1].ntg_, rtol=1e-6)
    weight[::7] = 0.0  # such rows do not exist, and every fold is a fit of its own
    pair = compared(monkeypatch, model, X, y, domain, sample_weight=weight)
    assert pair[0].ntg_ == pair[1].ntg_


def test_scores_that_a_scorer_asks_for(monkeypatch):
    X, y, domain = rows("classification", 3, n=40)
    for scoring in ("neg_log_loss", None):
        values = []
        for leaves in (True, False):
            with monkeypatch.context() as patch:
                patch.setattr(
                    Pooled, "leaves_out", lambda self, n_samples, leaves=leaves: leaves
                )
                values.append(
                    cross_val_ntg(
                        Pooled(EXACT), X, y, sample_domain=domain, cv=3,
                        scoring=scoring, random_state=0,
                    ).ntg
                )  # fmt: skip
        assert_allclose(*values, atol=1e-5)


def test_a_guard_costs_two_fits_of_the_learner(monkeypatch):
    fits = []

    def fit_learner(learner, *args, **params):
        fits.append(learner)
        return original(learner, *args, **params)

    original = _learners.fit_learner
    monkeypatch.setattr("sktransfer.baselines.fit_learner", fit_learner)
    for learner in (Ridge(), EXACT):
        fits.clear()
        X, y, domain = rows("classification" if hasattr(learner, "C") else "regression")
        TransferGuard(Pooled(learner)).fit(X, y, sample_domain=domain)
        assert len(fits) == 2
    # what cannot follow is fitted: with all rows, and on ten folds
    for learner in (Ridge(solver="lsqr"), LogisticRegression()):
        fits.clear()
        X, y, domain = rows("classification" if hasattr(learner, "C") else "regression")
        TransferGuard(Pooled(learner)).fit(X, y, sample_domain=domain)
        assert len(fits) == 22
    fits.clear()  # with many samples, fits of their own would be dear
    monkeypatch.setattr("sktransfer._fold_fits._LEAST_FOLLOWED", len(X))
    TransferGuard(Pooled(LogisticRegression())).fit(X, y, sample_domain=domain)
    assert len(fits) == 2


@pytest.mark.parametrize("weighted", [False, True])
def test_a_portfolio_costs_one_fit_of_each_linear_member(
    monkeypatch, routing, weighted
):
    X, y, domain = rows("regression")
    learner = Ridge().set_fit_request(sample_weight=True)
    members = [
        ("alone", TargetOnly(learner)),
        ("pooled", Pooled(learner)),
        ("light", Pooled(learner, source_weight=0.1)),
        ("source", SourceOnly(learner)),
    ]
    portfolio = TransferPortfolioRegressor(members=members, cv=5)
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y)) if weighted else None
    fits = []

    def fit_learner(*args, **params):
        fits.append(args[0])
        return original(*args, **params)

    original = _learners.fit_learner
    monkeypatch.setattr("sktransfer.baselines.fit_learner", fit_learner)
    fast = portfolio.fit(X, y, sample_domain=domain, sample_weight=weight)
    assert len(fits) == 4
    with monkeypatch.context() as patch:
        patch.setattr(Pooled, "leaves_out", lambda self, n_samples: False)
        patch.setattr(TargetOnly, "leaves_out", lambda self, n_samples: False)
        slow = clone(portfolio).fit(X, y, sample_domain=domain, sample_weight=weight)
    assert len(fits) == 4 + 3 * 6 + 1
    assert_allclose(list(fast.weights_.values()), list(slow.weights_.values()))
    assert_allclose(fast.ntg_interval_, slow.ntg_interval_)
    assert_allclose(fast.predict(X), slow.predict(X))
    if weighted:  # a row of weight 0 does not exist, and every fold has its own fit
        weight[::7] = 0.0
        kept = weight > 0
        some = clone(portfolio).fit(X, y, sample_domain=domain, sample_weight=weight)
        same = clone(portfolio).fit(
            X[kept], y[kept], sample_domain=domain[kept], sample_weight=weight[kept]
        )
        assert_allclose(some.members_["pooled"].estimator_.coef_,
                        same.members_["pooled"].estimator_.coef_)  # fmt: skip


def test_what_cannot_be_left_out():
    class Own(Ridge):
        pass

    for learner in (
        Own(), Ridge(0.0), Ridge([1.0, 2.0]), Ridge(solver="saga"),
        LogisticRegression(C=np.inf), LogisticRegression(class_weight="balanced"),
        LogisticRegression(solver="saga"), LogisticRegression(l1_ratio=0.5),
    ):  # fmt: skip
        assert not is_known(learner)
    X, y = np.arange(8.0).reshape(4, 2) ** 2, np.array([0, 0, 1, 1])
    model = EXACT.fit(X, y)
    assert fits_without(model, X, y, None, [np.array([2, 3])]) is None  # one class
    assert fits_without(model, pd.DataFrame({"a": list("abcd")}), y, None, []) is None
    assert not Pooled(Ridge(), add_domain=True).leaves_out(5000)


def test_models_of_folds_answer_as_any_model(monkeypatch):
    X, y, domain = rows("classification", 3)
    data = Pooled(EXACT)._validate_domains(X, y, domain)
    test = np.flatnonzero(data.is_labeled_target)[:4]
    folds = [(np.delete(np.arange(len(y)), test), test)]
    _, (found,) = Pooled(EXACT).fit_with_folds(data, folds, {})
    again = pickle.loads(pickle.dumps(found))
    plain = found.model
    for one in (found, again):
        assert_allclose(one.predict_proba(X), plain.predict_proba(X), atol=1e-12)
        assert_allclose(one.decision_function(X), plain.decision_function(X))
        assert_array_equal(one.predict(X), plain.predict(X))
        assert_array_equal(one.classes_, plain.classes_)
    bad = X.copy()
    bad[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        found.predict_proba(bad)
    assert_array_equal(found.predict(X.tolist()), plain.predict(X))


def test_singular_rows_are_left_to_the_learner(monkeypatch):
    X, y, domain = rows("regression")
    X = np.hstack([X, X])
    fast, slow = compared(monkeypatch, Pooled(Ridge(1e-30)), X, y, domain)
    assert_allclose(fast.ntg_, slow.ntg_)
    assert_allclose(fast.weights_, slow.weights_)


@pytest.mark.parametrize("label", [np.float32, np.float64])
def test_single_precision_has_the_same_interval(label):
    X, y, domain = rows("regression")
    found = [
        cross_val_ntg(
            Pooled(Ridge()), table, labels, sample_domain=domain, random_state=0
        ).interval
        for table, labels in ((X, y), (X.astype(np.float32), y.astype(label)))
    ]
    assert_allclose(*found, rtol=1e-3)
