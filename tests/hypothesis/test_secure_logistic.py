import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import LeaveOneGroupOut, LeaveOneOut
from sklearn.svm import LinearSVC

from sktransfer.baselines import Pooled
from sktransfer.hypothesis import SecureLogistic
from sktransfer.safe import TransferGuard


def make_data(n_classes=2, n_labeled=20, seed=0, shift=1.0):
    rng = np.random.RandomState(seed)
    domain = np.repeat([4, 9, -1], [80, 80, 120])
    X = rng.normal(size=(280, 3))
    W = rng.normal(size=(n_classes, 3))
    moved = W + shift * rng.normal(size=(n_classes, 3))
    logits = np.where((domain == 4)[:, None], X @ W.T, X @ moved.T)
    y = (logits + 0.5 * rng.gumbel(size=logits.shape)).argmax(axis=1).astype(float)
    target = np.flatnonzero(domain < 0)
    y[target[n_labeled:]] = np.nan
    return X, y, domain


def labeled(data):
    X, y, domain = data
    rows = (domain < 0) & ~np.isnan(y)
    return X[rows], y[rows].astype(int)


@pytest.fixture(params=[2, 3])
def data(request):
    return make_data(request.param)


@pytest.mark.parametrize("alpha", [1e-4, 0.1, 10.0, "auto"])
@pytest.mark.parametrize("unlabeled_weight", [0.0, 1.0])
def test_never_worse_than_the_source_on_the_labeled_samples(
    data, alpha, unlabeled_weight
):
    """u = 0 has value 0, so the optimum is <= 0: never worse than the source."""
    X, y, domain = data
    if alpha == "auto" and unlabeled_weight:
        alpha = 0.01
    model = SecureLogistic(alpha=alpha, unlabeled_weight=unlabeled_weight)
    model.fit(X, y, sample_domain=domain)
    own, labels = labeled(data)
    scores = np.tensordot(model.source_weights_, model._scores(own), 1)
    source = clone(model).set_params(alpha=np.inf).fit(X, y, sample_domain=domain)
    assert_allclose(source._logits(own), scores)
    losses = [log_loss(labels, m.predict_proba(own)) for m in (model, source)]
    assert losses[0] <= losses[1] + 1e-10
    assert model.relative_loss_ == pytest.approx(losses[0] - losses[1], abs=1e-9)


def test_lambda_to_infinity_is_the_source_model(data):
    X, y, domain = data
    rows = domain == 4
    source = LogisticRegression().fit(X[rows], y[rows].astype(int))
    own, labels = labeled(data)
    model = SecureLogistic(source, alpha=np.inf).fit(own, labels)
    proba = np.maximum(source.predict_proba(X), 1e-3)
    expected = proba / proba.sum(axis=1, keepdims=True)
    assert_allclose(model.predict_proba(X), expected)
    near = SecureLogistic(source, alpha=1e9, fit_intercept=False).fit(own, labels)
    assert_allclose(near.predict_proba(X), expected, atol=1e-6)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_without_a_source_it_is_logistic_ridge_on_the_target(data, fit_intercept):
    """s = 0 and no unlabeled samples: logistic ridge on T_l."""
    X = data[0]
    own, labels = labeled(data)
    model = SecureLogistic(alpha=0.2, fit_intercept=fit_intercept).fit(own, labels)
    plain = LogisticRegression(
        C=1 / (len(labels) * 0.2), fit_intercept=fit_intercept, tol=1e-10,
        max_iter=10000,
    ).fit(own, labels)  # fmt: skip
    assert_allclose(model.predict_proba(X), plain.predict_proba(X), atol=1e-6)
    assert_allclose(model.coef_, plain.coef_, atol=1e-5)


def test_without_labels_it_is_the_source(data):
    X, y, domain = data
    y = np.where(domain < 0, np.nan, y)
    model = SecureLogistic().fit(X, y, sample_domain=domain)
    assert model.alpha_ == np.inf and not model.coef_.any()
    assert_allclose(model.source_weights_, 0.5)
    one = SecureLogistic(model.source_models_[0]).fit(X, y, sample_domain=domain)
    assert_array_equal(one.predict(X), model.source_models_[0].predict(X))


class Truth:
    """The model that the labels are drawn from."""

    classes_ = np.array([0, 1])

    def predict(self, X):
        return self.predict_proba(X).argmax(axis=1)

    def predict_proba(self, X):
        p = 1 / (1 + np.exp(-2 * np.asarray(X)[:, 0]))
        return np.column_stack([1 - p, p])


def test_labels_that_agree_with_the_source_leave_it_nearly_as_it_is():
    norms = []
    for seed in range(10):
        rng = np.random.RandomState(seed)
        X = rng.normal(size=(60, 3))
        y = (rng.uniform(size=60) < Truth().predict_proba(X)[:, 1]).astype(int)
        model = SecureLogistic(Truth()).fit(X, y)
        assert min(model.loo_losses_.values()) == model.loo_losses_[model.alpha_]
        norms.append(np.linalg.norm(model.coef_))
    assert np.median(norms) < 0.1


@pytest.mark.parametrize("unlabeled_weight", [0.0, 0.3])
@pytest.mark.parametrize("grouped", [False, True])
def test_the_choice_is_by_leave_one_out(unlabeled_weight, grouped):
    """One Newton step without unlabeled samples, fits with them."""
    X, y, domain = make_data(2, 16)
    alphas = [0.05, 1.0, np.inf]
    source = LogisticRegression().fit(X[domain == 4], y[domain == 4].astype(int))
    groups = np.arange(len(y)) // 2 if grouped else None
    model = SecureLogistic(source, alphas=alphas, unlabeled_weight=unlabeled_weight)
    target = domain < 0
    rows = X[target], y[target], domain[target]
    units = None if groups is None else groups[target]
    model.fit(rows[0], rows[1], sample_domain=rows[2], groups=units)
    at = np.flatnonzero(~np.isnan(rows[1]))
    splitter = LeaveOneGroupOut() if grouped else LeaveOneOut()
    for alpha in alphas:
        losses = []
        parts = splitter.split(at, groups=None if units is None else units[at])
        for _, out in parts:
            labels = rows[1].copy()
            labels[at[out]] = np.nan
            # the penalty and the pull are those of all labels
            share = (len(at) - len(out)) / len(at)
            one = SecureLogistic(
                source, alpha=alpha / share, unlabeled_weight=unlabeled_weight / share
            )
            kept = np.setdiff1d(np.arange(len(labels)), at[out])
            one.fit(rows[0][kept], labels[kept], sample_domain=rows[2][kept])
            proba = one.predict_proba(rows[0][at[out]])
            truth = rows[1][at[out]].astype(int)
            losses += list(-np.log(proba[np.arange(len(out)), truth]))
        exact = bool(unlabeled_weight) or np.isinf(alpha)
        limit = {"rel": 1e-5} if exact else {"rel": 0.1}
        assert model.loo_losses_[alpha] == pytest.approx(np.mean(losses), **limit)


def test_unlabeled_samples_pull_to_the_source(data):
    X, y, domain = data
    norms = [
        np.linalg.norm(
            SecureLogistic(alpha=0.01, unlabeled_weight=weight)
            .fit(X, y, sample_domain=domain)
            .coef_
        )
        for weight in (0.0, 0.05, 0.5, 50.0)
    ]
    assert norms == sorted(norms, reverse=True) and norms[-1] < 1e-4 < norms[0]


def test_any_classifier_is_a_source():
    X, y, domain = make_data(2, 20)
    rows = domain == 4
    Xs, ys = X[rows], y[rows].astype(int)
    own, labels = labeled((X, y, domain))
    for learner in (
        RandomForestClassifier(5, random_state=0), LinearSVC(), RidgeClassifier(),
    ):  # fmt: skip
        source = learner.fit(Xs, ys)
        model = SecureLogistic(source, alpha=np.inf).fit(own, labels)
        assert_array_equal(model.predict(own), source.predict(own))
        assert SecureLogistic(source).fit(own, labels).relative_loss_ <= 0

    class Bare:
        classes_ = np.array([0, 1])

        def predict(self, X):
            return (np.asarray(X)[:, 0] > 0).astype(int)

    model = SecureLogistic([Bare(), source]).fit(own, labels)
    assert model.source_names_ == ["source_models[0]", "source_models[1]"]


def test_the_better_source_gets_more_weight():
    X, y, domain = make_data(3, 40, shift=2.0)
    model = SecureLogistic().fit(X, y, sample_domain=domain)
    # source 9 has the rule of the target
    assert [str(name) for name in model.source_names_] == ["4", "9"]
    assert model.source_weights_[1] > 0.8
    assert model.source_weights_.sum() <= 1 + 1e-9


def test_classes_that_only_one_side_knows():
    X, y, domain = make_data(3, 30)
    y = np.where((domain > 0) & (y == 2), 1.0, y)
    model = SecureLogistic().fit(X, y, sample_domain=domain)
    assert_array_equal(model.classes_, [0, 1, 2])
    target = (domain < 0) & ~np.isnan(y)
    one = target & (y != 0)
    hidden = np.where(one, np.nan, y)
    model = SecureLogistic().fit(X, hidden, sample_domain=domain)
    assert np.isfinite(model.predict_log_proba(X)).all()
    with pytest.raises(ValueError, match="have one class"):
        SecureLogistic().fit(X[:9], np.zeros(9, int))


def test_sparse_wide_and_framed_samples(data):
    X, y, domain = data
    X = np.where(np.abs(X) < 0.3, 0.0, X)
    dense = SecureLogistic(alpha=0.1).fit(X, y, sample_domain=domain)
    found = SecureLogistic(alpha=0.1).fit(sparse.csr_array(X), y, sample_domain=domain)
    assert_allclose(found.coef_, dense.coef_, atol=1e-6)
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    framed = SecureLogistic(alpha=0.1).fit(frame, y, sample_domain=domain)
    assert_allclose(framed.predict_proba(frame), dense.predict_proba(X))
    own, labels = labeled((X, y, domain))
    wide = np.hstack([own, np.random.RandomState(0).normal(size=(len(own), 60))])
    for rows in (wide, sparse.csr_array(wide)):
        model = SecureLogistic(alpha=0.3).fit(rows, labels)
        plain = LogisticRegression(C=1 / (0.3 * len(labels)), tol=1e-10).fit(
            wide, labels
        )
        assert_allclose(model.coef_, plain.coef_, atol=1e-5)


def test_a_guard_and_clones_keep_the_frozen_models(data):
    X, y, domain = data
    own, labels = labeled(data)
    source = LogisticRegression().fit(X[domain == 4], y[domain == 4].astype(int))
    model = clone(SecureLogistic(source)).fit(own, labels)
    assert model.source_models_[0] is source
    target = domain < 0
    guard = TransferGuard(SecureLogistic(source), cv=3)
    guard.fit(X[target], y[target], sample_domain=domain[target])
    assert not guard.target_only_.source_models_
    assert np.isfinite(guard.ntg_)


def test_what_cannot_be_done_is_refused(data):
    own, labels = labeled(data)
    with pytest.raises(ValueError, match="alphas must hold positive numbers"):
        SecureLogistic(alphas=[1.0, 0.0]).fit(own, labels)
    with pytest.raises(TypeError, match="is a regressor"):
        SecureLogistic(Ridge().fit(own, labels)).fit(own, labels)
    with pytest.warns(ConvergenceWarning, match="increase max_iter"):
        SecureLogistic(alpha=1e-4, max_iter=1).fit(own, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SecureLogistic(Pooled(LogisticRegression()).fit(own, labels)).fit(own, labels)


def test_one_class_is_named_as_it_is_written():
    with pytest.raises(ValueError, match="have one class, 1\\."):
        SecureLogistic().fit([[0.0], [1.0]], [1, 1])
