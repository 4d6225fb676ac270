"""Ensembles of source models: the weights follow their equations and limits."""

from collections import Counter
from typing import ClassVar

import numpy as np
import pytest
from scipy.optimize import check_grad
from scipy.special import softmax
from sklearn import config_context
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

from sktransfer._solvers.centroid_labels import centroid_labels
from sktransfer.exceptions import UnlabeledTargetError
from sktransfer.multisource import (
    MCW,
    DomainRecognitionEnsemble,
    HEnsemble,
    MMDWeightedEnsemble,
    PeerWeightedEnsemble,
    SingleBestSource,
    SourceFreeEnsemble,
)
from sktransfer.multisource._h_ensemble import h_score_of_mixture, maximize_h_score
from sktransfer.multisource._source_free import (
    information_loss,
    minimize_information_loss,
)

CLASSIFIERS = [
    DomainRecognitionEnsemble,
    HEnsemble,
    MCW,
    MMDWeightedEnsemble,
    PeerWeightedEnsemble,
    SourceFreeEnsemble,
]
SOURCE_FREE = [HEnsemble, MCW, SourceFreeEnsemble]


def make_data(seed=0, n=60, n_labeled=20, n_unlabeled=20, shifts=(0.0, 0.3), flip=()):
    rng = np.random.default_rng(seed)
    X, y, domain = [], [], []
    for k, shift in enumerate(shifts, start=1):
        A = rng.normal(size=(n, 2)) + shift
        label = (A[:, 0] > shift).astype(int)
        X.append(A)
        y.append(1 - label if k in flip else label)
        domain.append(np.full(n, k))
    A = rng.normal(size=(n_labeled + n_unlabeled, 2))
    label = (A[:, 0] > 0).astype(int)
    label[n_labeled:] = -1
    X.append(A)
    y.append(label)
    domain.append(np.full(len(A), -1))
    return np.concatenate(X), np.concatenate(y), np.concatenate(domain)


@pytest.mark.parametrize("ensemble", CLASSIFIERS)
def test_equal_sources_get_equal_weights(ensemble):
    X, y, domain = make_data(shifts=(0.0,))
    S = domain == 1
    X, y = np.vstack([X, X[S]]), np.concatenate([y, y[S]])
    domain = np.concatenate([domain, np.full(S.sum(), 2)])
    model = ensemble(LogisticRegression()).fit(X, y, sample_domain=domain)
    first, second = model.source_weights_
    if ensemble in (DomainRecognitionEnsemble, SourceFreeEnsemble):
        # ties: the whole weight may go to either of two equal models
        assert first + second == pytest.approx(1)
    else:
        assert first == pytest.approx(second, abs=1e-6)
    proba = model.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1)


@pytest.mark.parametrize("ensemble", CLASSIFIERS)
def test_ensembles_predict_the_target(ensemble):
    X, y, domain = make_data(n_labeled=30)
    model = ensemble(LogisticRegression()).fit(X, y, sample_domain=domain)
    T = (domain == -1) & (y >= 0)
    assert model.score(X[T], y[T]) > 0.85


@pytest.mark.parametrize("ensemble", CLASSIFIERS)
def test_learner_without_probabilities_is_refused(ensemble):
    X, y, domain = make_data()
    with pytest.raises(TypeError, match="no predict_proba"):
        ensemble(LinearSVC()).fit(X, y, sample_domain=domain)


@pytest.mark.parametrize("ensemble", [*SOURCE_FREE, PeerWeightedEnsemble])
def test_regressor_is_refused(ensemble):
    X, y, domain = make_data()
    with pytest.raises(TypeError, match="is a regressor"):
        ensemble(Ridge()).fit(X, y.astype(float), sample_domain=domain)


@pytest.mark.parametrize("ensemble", CLASSIFIERS)
def test_source_of_one_class_or_one_row_is_a_constant_model(ensemble):
    X, y, domain = make_data()
    y[domain == 2] = 1
    keep = domain != 2
    keep[np.flatnonzero(domain == 2)[0]] = True
    model = ensemble(LogisticRegression())
    model.fit(X[keep], y[keep], sample_domain=domain[keep])
    assert np.isfinite(model.source_weights_).all()
    assert np.isfinite(model.predict_proba(X)).all()


@pytest.mark.parametrize("ensemble", SOURCE_FREE)
def test_source_models_equal_source_rows(ensemble):
    X, y, domain = make_data()
    rows = ensemble(LogisticRegression()).fit(X, y, sample_domain=domain)
    models = [
        FrozenEstimator(LogisticRegression().fit(X[domain == k], y[domain == k]))
        for k in (1, 2)
    ]
    T = domain == -1
    free = ensemble(LogisticRegression(), source_models=models)
    clone(free).fit(X[T], y[T], sample_domain=domain[T])
    free.fit(X[T], y[T], sample_domain=domain[T])
    np.testing.assert_allclose(free.source_weights_, rows.source_weights_)
    np.testing.assert_allclose(free.predict_proba(X), rows.predict_proba(X))
    alone = free.without_sources()
    assert alone.source_models is None
    labeled = T & (y >= 0)
    np.testing.assert_array_equal(
        alone.fit(X[labeled], y[labeled]).predict(X),
        LogisticRegression().fit(X[labeled], y[labeled]).predict(X),
    )
    with pytest.raises(ValueError, match="Give one of the two"):
        free.fit(X, y, sample_domain=domain)
    bad = ensemble(LogisticRegression(), source_models=[Ridge().fit(X[T], X[T, 0])])
    with pytest.raises(TypeError, match=r"source_models\[0\]=Ridge"):
        bad.fit(X[T], y[T], sample_domain=domain[T])


def test_mmd_weights_follow_their_formula():
    X, y, domain = make_data(shifts=(0.0, 1.0, 4.0))
    model = MMDWeightedEnsemble(LogisticRegression(), gamma=0.5, scale=0.2)
    model.fit(X, y, sample_domain=domain)
    T = X[domain == -1]
    mmd = []
    for k in (1, 2, 3):
        S = X[domain == k]
        mmd.append(
            rbf_kernel(S, S, 0.5).mean()
            + rbf_kernel(T, T, 0.5).mean()
            - 2 * rbf_kernel(S, T, 0.5).mean()
        )
    np.testing.assert_allclose(model.mmd_, mmd, rtol=1e-6)
    share = 19 / (19 + 3)  # 20 labeled rows, two features and a constant
    closeness = np.append(np.exp(-np.array(mmd) / 0.2), share)
    expected = closeness / closeness.sum()
    np.testing.assert_allclose(model.source_weights_, expected[:3], rtol=1e-6)
    assert model.target_weight_ == pytest.approx(expected[3])
    assert mmd[0] < mmd[1] < mmd[2]


def test_mmd_mixture_is_the_weighted_mean():
    X, y, domain = make_data(n_labeled=0)
    model = MMDWeightedEnsemble(LogisticRegression()).fit(X, y, sample_domain=domain)
    assert model.target_weight_ == 0
    parts = [
        LogisticRegression().fit(X[domain == k], y[domain == k]).predict_proba(X)
        for k in (1, 2)
    ]
    expected = np.tensordot(model.source_weights_, parts, axes=1)
    np.testing.assert_allclose(model.predict_proba(X), expected)


@pytest.mark.parametrize("kind", [MMDWeightedEnsemble, PeerWeightedEnsemble])
@pytest.mark.parametrize("shifts", [(0.0,), (0.0, 0.3)])
def test_one_labeled_row_does_not_outvote_the_sources(kind, shifts):
    """Accuracy .92 of the sources, .41 when its model of one class had weight .57."""
    scores, weights = [], []
    for seed in range(5):
        X, y, domain = make_data(seed, n_labeled=0, n_unlabeled=400, shifts=shifts)
        target = np.flatnonzero(domain < 0)
        truth = (X[target, 0] > 0).astype(int)
        y[target[0]] = truth[0]
        model = kind(LogisticRegression()).fit(X, y, sample_domain=domain)
        scores.append(np.mean(model.predict(X[target]) == truth))
        weights.append(model.target_weight_)
    assert np.mean(scores) > 0.85
    assert max(weights) == 0


@pytest.mark.parametrize("kind", [MMDWeightedEnsemble, PeerWeightedEnsemble])
def test_the_target_model_counts_more_with_every_row(kind):
    """From nothing to the weight of the paper, its limit of many rows."""
    X, y, domain = make_data(n_labeled=3000, n_unlabeled=0)
    target = np.flatnonzero(domain < 0)
    labels, weights, sizes = y[target].copy(), [], np.array([1, 2, 5, 20, 100, 3000])
    for n in sizes:
        y[target] = np.where(np.arange(len(target)) < n, labels, -1)
        model = (
            kind(LogisticRegression(), mu=1.0)
            if "Peer" in kind.__name__
            else (kind(LogisticRegression()))
        )
        weights.append(model.fit(X, y, sample_domain=domain).target_weight_)
    assert weights[0] == 0
    assert (np.diff(weights) > 0).all()
    closeness = np.exp(-model.mmd_ / model.mmd_.mean()).sum()
    shares = (sizes - 1) / (sizes - 1 + 3)
    np.testing.assert_allclose(weights, shares / (shares + closeness))
    assert weights[-1] == pytest.approx(1 / (1 + closeness), rel=1e-2)


@pytest.mark.parametrize("kind", [MMDWeightedEnsemble, PeerWeightedEnsemble])
@pytest.mark.parametrize("n_labeled", [0, 1, 20])
def test_weights_of_sources_far_beyond_the_scale_do_not_vanish(kind, n_labeled):
    X, y, domain = make_data(n_labeled=n_labeled, shifts=(3.0, 4.0))
    model = kind(LogisticRegression(), scale=1e-6).fit(X, y, sample_domain=domain)
    assert model.source_weights_.sum() + model.target_weight_ == pytest.approx(1)
    assert np.isfinite(model.predict_proba(X)).all()


def test_share_of_the_target_model_counts_coefficients():
    X, y, domain = make_data(n_labeled=8)
    target = domain < 0
    three = np.where(target & (y < 0), -1, np.arange(len(y)) % 3)
    real = np.where(target & (y < 0), np.nan, X[:, 0])
    for learner, labels, p in (
        (LogisticRegression(), y, 3),
        (LogisticRegression(), three, 6),
        (Ridge(), real, 3),
    ):
        model = MMDWeightedEnsemble(learner).fit(X, labels, sample_domain=domain)
        odds = model.target_weight_ / (1 - model.target_weight_)
        closeness = np.exp(-model.mmd_ / model.mmd_.mean()).sum()
        assert odds * closeness == pytest.approx(7 / (7 + p))


def test_peers_keep_the_trust_that_the_target_does_not_earn():
    X, y, domain = make_data(n_labeled=2)
    model = PeerWeightedEnsemble(LogisticRegression()).fit(X, y, sample_domain=domain)
    R = model.peer_matrix_
    np.testing.assert_allclose(R.sum(axis=1), 1)
    share = 1 / (1 + 3)
    for k in (0, 1):
        trust = R[k, 2] / share
        assert R[k, k] == pytest.approx((1 - share) * trust)
        errors = [
            np.mean(m.predict(X[domain == k + 1]) != y[domain == k + 1])
            for m in (model.estimator_.models[1 - k], model.estimator_.models[2])
        ]
        say = np.exp(-5 * np.array(errors))
        assert trust == pytest.approx(say[1] / say.sum())


def test_mmd_regression():
    X, _, domain = make_data(shifts=(0.0, 3.0))
    y = np.where(domain == 2, 5.0, 0.0) + X[:, 0]
    y[(domain == -1).nonzero()[0][20:]] = np.nan
    model = MMDWeightedEnsemble(LinearRegression(), scale=0.01)
    model.fit(X, y, sample_domain=domain)
    np.testing.assert_allclose(model.predict(X), X[:, 0], atol=1e-3)


def test_classes_that_only_one_source_has():
    X, y, domain = make_data(n_labeled=0)
    y[(domain == 2) & (y == 1)] = 7
    model = MMDWeightedEnsemble(LogisticRegression()).fit(X, y, sample_domain=domain)
    np.testing.assert_array_equal(model.classes_, [0, 1, 7])
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)


def test_peer_weights_follow_their_formula():
    X, y, domain = make_data(shifts=(0.0, 0.5, 1.0), flip=(3,), n_labeled=0)
    model = PeerWeightedEnsemble(LogisticRegression(), mu=0.3, sharpness=2.0)
    model.fit(X, y, sample_domain=domain)
    parts = [
        LogisticRegression().fit(X[domain == k], y[domain == k]) for k in (1, 2, 3)
    ]
    R = np.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            S = domain == i + 1
            R[i, j] = i != j and np.exp(-2 * (1 - parts[j].score(X[S], y[S])))
    R /= R.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.peer_matrix_, R)
    delta = np.exp(-model.mmd_ / model.mmd_.mean())
    w = delta @ (0.3 * np.eye(3) + 0.7 * R)
    np.testing.assert_allclose(model.source_weights_, w / w.sum())
    own = np.stack([p.predict_proba(X) for p in parts])
    asked = np.tensordot(R, own, axes=1)
    sure = abs(own[..., 1] - own[..., 0]) >= 0.2
    expected = np.tensordot(
        model.source_weights_, np.where(sure[..., None], own, asked), axes=1
    )
    np.testing.assert_allclose(model.predict_proba(X), expected)


def test_peer_limits():
    X, y, domain = make_data(shifts=(0.0, 2.0))
    by_mmd = MMDWeightedEnsemble(LogisticRegression()).fit(X, y, sample_domain=domain)
    peer = PeerWeightedEnsemble(LogisticRegression(), mu=1.0, tolerance=0.0)
    peer.fit(X, y, sample_domain=domain)
    np.testing.assert_allclose(peer.source_weights_, by_mmd.source_weights_)
    np.testing.assert_allclose(peer.predict_proba(X), by_mmd.predict_proba(X))
    one = PeerWeightedEnsemble(LogisticRegression())
    X, y, domain = make_data(shifts=(0.0,), n_labeled=0)
    one.fit(X, y, sample_domain=domain)
    np.testing.assert_array_equal(one.source_weights_, [1.0])


def test_domain_recognition_counts_votes():
    X, y, domain = make_data(shifts=(0.0, 9.0))
    moved = np.flatnonzero(domain == -1)[:10]
    X[moved] += 9
    for joint in (False, True):
        model = DomainRecognitionEnsemble(LogisticRegression(), joint=joint)
        model.fit(X, y, sample_domain=domain)
        np.testing.assert_allclose(model.source_weights_, [0.75, 0.25])
    assert len(model.domain_estimator_.classes_) == 4
    own = DomainRecognitionEnsemble(
        LogisticRegression(), domain_estimator=KNeighborsClassifier(3), joint=False
    ).fit(X, y, sample_domain=domain)
    np.testing.assert_allclose(own.source_weights_, [0.75, 0.25])
    one = DomainRecognitionEnsemble(LogisticRegression())
    X, y, domain = make_data(shifts=(0.0,))
    assert one.fit(X, y, sample_domain=domain).domain_estimator_ is None


def test_domain_recognition_regression():
    X, _, domain = make_data(shifts=(0.0, 9.0))
    y = np.where(domain == 2, 5.0, 0.0) + X[:, 0]
    model = DomainRecognitionEnsemble(LinearRegression())
    model.fit(X, y, sample_domain=domain)
    np.testing.assert_allclose(model.source_weights_, [1, 0])
    np.testing.assert_allclose(model.predict(X), X[:, 0], atol=1e-8)


def random_proba(rng, K=3, n=30, C=3):
    return rng.dirichlet(np.ones(C), size=(K, n))


def test_information_loss_and_its_gradient():
    rng = np.random.default_rng(0)
    P = random_proba(rng)
    labels = rng.integers(3, size=30)
    w = rng.dirichlet(np.ones(3))
    p = np.tensordot(w, P, axes=1)
    mean = p.mean(axis=0)
    expected = (
        -np.mean(np.sum(p * np.log(p), axis=1))
        + np.sum(mean * np.log(mean))
        - 0.3 * np.mean(np.log(p[np.arange(30), labels]))
    )
    assert information_loss(w, P, labels, 0.3)[0] == pytest.approx(expected)
    error = check_grad(
        lambda w: information_loss(w, P, labels, 0.3)[0],
        lambda w: information_loss(w, P, labels, 0.3)[1],
        w,
    )
    assert error < 1e-5


@pytest.mark.parametrize("weight", [0.0, 0.3, 3.0])
def test_source_free_weights_are_the_best_on_the_simplex(weight):
    rng = np.random.default_rng(1)
    P, labels = random_proba(rng), rng.integers(3, size=30)
    found, info = minimize_information_loss(
        P, labels, label_weight=weight, max_iter=500, tol=1e-10
    )
    assert found.sum() == pytest.approx(1)
    assert info["loss"] == pytest.approx(information_loss(found, P, labels, weight)[0])
    grid = rng.dirichlet(np.full(3, 0.5), size=3000)
    losses = [information_loss(w, P, labels, weight)[0] for w in grid]
    assert info["loss"] <= min(losses) + 1e-6


def test_source_free_weights_leave_the_vertices_where_labels_ask_for_it():
    """Two models are each right about one half of the rows."""
    P = np.full((2, 40, 2), 0.5)
    labels = np.tile([0, 1], 20)
    P[0, :20] = 0.05 + 0.9 * np.eye(2)[labels[:20]]
    P[1, 20:] = 0.05 + 0.9 * np.eye(2)[labels[20:]]
    weights, _ = minimize_information_loss(
        P, labels, label_weight=5.0, max_iter=200, tol=1e-10
    )
    np.testing.assert_allclose(weights, 0.5, atol=0.01)


def test_source_free_labels_and_unlabeled_rows_count():
    """An upside-down model fits the unlabeled rows as well as the right one."""
    X, y, domain = make_data(shifts=(0.0, 0.0), flip=(2,), n_labeled=20)
    right = SourceFreeEnsemble(LogisticRegression(), pseudo_label_weight=1.0)
    right.fit(X, y, sample_domain=domain)
    flipped = y.copy()
    labeled = (domain == -1) & (y >= 0)
    flipped[labeled] = 1 - y[labeled]
    wrong = clone(right).fit(X, flipped, sample_domain=domain)
    assert right.source_weights_[0] > 0.9 > 0.1 > wrong.source_weights_[0]
    # unlabeled rows decide between a sharp and a constant model
    models = [
        FrozenEstimator(LogisticRegression().fit(X[:60], y[:60])),
        FrozenEstimator(DummyClassifier(strategy="prior").fit(X[:60], y[:60])),
    ]
    free = SourceFreeEnsemble(LogisticRegression(), source_models=models)
    free.fit(X[:60], None, sample_domain=-1)
    assert free.source_weights_[0] > 0.9


def test_pseudo_labels_are_nearest_centroids():
    X = np.array([[3.0, 0.1], [5.0, -0.2], [0.1, 2.0], [-0.1, 1.0]])
    proba = np.array([[0.9, 0.1, 0], [0.6, 0.4, 0], [0.2, 0.8, 0], [0.4, 0.6, 0]])
    np.testing.assert_array_equal(centroid_labels(X, proba), [0, 0, 1, 1])


def test_h_score_of_one_model_is_the_h_score():
    """tr(cov(f)^-1 cov(E[f|y])) with the ridge added to the covariance."""
    rng = np.random.default_rng(0)
    f, label = rng.normal(size=(50, 3)), rng.integers(3, size=50)
    f += 2 * np.eye(3)[label]
    f -= f.mean(axis=0)
    means = np.array([f[label == c].mean(axis=0) for c in range(3)])[label]
    S = f.T @ f / 50 + 0.1 * np.mean(f**2) * np.eye(3)
    expected = np.trace(np.linalg.solve(S, means.T @ means / 50))
    score, _ = h_score_of_mixture(np.ones(1), f[None], label, 0.1)
    assert score == pytest.approx(expected)


def test_h_score_gradient_and_maximum():
    rng = np.random.default_rng(1)
    label = rng.integers(3, size=60)
    F = rng.normal(size=(3, 60, 3))
    F[0] += 2 * np.eye(3)[label]
    F -= F.mean(axis=1, keepdims=True)
    w = rng.dirichlet(np.ones(3))
    error = check_grad(
        lambda w: h_score_of_mixture(w, F, label, 0.1)[0],
        lambda w: h_score_of_mixture(w, F, label, 0.1)[1],
        w,
    )
    assert error < 1e-5
    weights, info = maximize_h_score(F, label, 0.1, max_iter=500)
    grid = rng.dirichlet(np.full(3, 0.5), size=2000)
    best = max(h_score_of_mixture(g, F, label, 0.1)[0] for g in grid)
    assert info["h_score"] >= best - 1e-6
    assert weights[0] > 0.5


def test_h_ensemble_classifier_is_the_closed_form():
    X, y, domain = make_data()
    model = HEnsemble(LogisticRegression()).fit(X, y, sample_domain=domain)
    labeled = (domain == -1) & (y >= 0)
    F = np.stack(
        [
            LogisticRegression().fit(X[domain == k], y[domain == k]).predict_proba(X)
            for k in (1, 2)
        ]
    )
    f = np.tensordot(model.source_weights_, F, axes=1)
    f = f - f[labeled].mean(axis=0)
    G = F[:, labeled] - F[:, labeled].mean(axis=1, keepdims=True)
    S = f[labeled].T @ f[labeled] / labeled.sum() + 0.1 * np.mean(G**2) * np.eye(2)
    yl = y[labeled]
    prior = np.bincount(yl) / len(yl)
    means = np.array([f[labeled][yl == c].mean(axis=0) for c in (0, 1)])
    raw = prior * np.maximum(1 + f @ np.linalg.solve(S, means.T), 0)
    np.testing.assert_allclose(
        model.predict_proba(X), raw / raw.sum(axis=1, keepdims=True)
    )


def test_mcw_classifier_is_the_closed_form():
    X, y, domain = make_data()
    model = MCW(LogisticRegression()).fit(X, y, sample_domain=domain)
    labeled = (domain == -1) & (y >= 0)
    f = np.hstack(
        [
            LogisticRegression().fit(X[domain == k], y[domain == k]).predict_proba(X)
            for k in (1, 2)
        ]
    )
    f = (f - f[labeled].mean(axis=0)) / f[labeled].std(axis=0)
    yl = y[labeled]
    prior = np.bincount(yl) / len(yl)
    means = np.array([f[labeled][yl == c].mean(axis=0) for c in (0, 1)])
    sigma = np.sqrt(prior @ means**2)
    g = means / sigma
    np.testing.assert_allclose(prior @ g**2, 1)
    np.testing.assert_allclose(model.correlations_.ravel(), sigma)
    # sigma is the correlation of f and g(y) on the labeled rows
    for i in range(4):
        r = np.corrcoef(f[labeled][:, i], g[yl, i])[0, 1]
        assert r == pytest.approx(sigma[i])
    raw = prior * np.maximum(1 + (sigma * f) @ g.T, 0)
    np.testing.assert_allclose(
        model.predict_proba(X), raw / raw.sum(axis=1, keepdims=True)
    )


def test_single_best_source():
    X, y, domain = make_data(shifts=(0.0, 0.0, 0.0), flip=(1, 3))
    model = SingleBestSource(LogisticRegression()).fit(X, y, sample_domain=domain)
    assert model.best_source_ == 2
    labeled = (domain == -1) & (y >= 0)
    for k, score in zip((1, 2, 3), model.source_scores_, strict=True):
        part = LogisticRegression().fit(X[domain == k], y[domain == k])
        assert score == part.score(X[labeled], y[labeled])
    rows = labeled | (domain == 2)
    np.testing.assert_allclose(
        model.estimator_.coef_, LogisticRegression().fit(X[rows], y[rows]).coef_
    )
    alone = SingleBestSource(
        LogisticRegression(), include_target=False, scoring="neg_log_loss"
    ).fit(X, y, sample_domain=domain)
    rows = domain == 2
    np.testing.assert_allclose(
        alone.estimator_.coef_, LogisticRegression().fit(X[rows], y[rows]).coef_
    )


def test_single_best_source_regression():
    X, _, domain = make_data(shifts=(0.0, 0.0))
    y = np.where(domain == 1, 5.0, 1.0) * X[:, 0]
    model = SingleBestSource(LinearRegression()).fit(X, y, sample_domain=domain)
    assert model.best_source_ == 2


@pytest.mark.parametrize("kind", ["random", "twins"])
def test_both_solvers_give_the_same_mixture_of_largest_h_score(kind):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        label = np.arange(60) % 3
        logits = (
            rng.normal(size=(4, 60, 3))
            + np.eye(3)[label] * rng.uniform(size=4)[:, None, None] * 2
        )
        F = softmax(logits, axis=2)
        F = F[[0, 1, 0, 1]] if kind == "twins" else F
        found = [
            maximize_h_score(F, label, 0.1, max_iter=200, solver=solver)
            for solver in ("auto", "cvxpy")
        ]
        (a, info), (b, other) = found
        np.testing.assert_allclose(a, b, atol=1e-7)
        assert info["h_score"] == pytest.approx(other["h_score"], abs=1e-10)
        if kind == "twins":
            np.testing.assert_allclose(a[:2], a[2:], atol=1e-8)
        center = F - F.mean(axis=1, keepdims=True)
        for other_weights in rng.dirichlet(np.ones(4), size=30):
            score = h_score_of_mixture(other_weights, center, label, 0.1)[0]
            assert score <= info["h_score"] + 1e-9


def test_peers_predict_once_per_model():
    calls = []

    class Counted(LogisticRegression):
        def predict(self, X):
            calls.append(len(X))
            return super().predict(X)

    rng = np.random.default_rng(0)
    X = rng.normal(size=(140, 2))
    domain = np.repeat([1, 2, 3, 4, 5, 6, -1], 20)
    y = (X[:, 0] > 0).astype(int)
    PeerWeightedEnsemble(Counted()).fit(X, y, sample_domain=domain)
    assert calls == [140] * 7


class CountedClassifier(LogisticRegression):
    """Counts its fits and the answers of its fits."""

    counts: ClassVar = Counter()

    def fit(self, X, y, sample_weight=None):
        self.counts["fit"] += 1
        return super().fit(X, y, sample_weight)

    def predict_proba(self, X):
        self.counts["predict_proba"] += 1
        return super().predict_proba(X)


@pytest.mark.parametrize(
    "make",
    [
        PeerWeightedEnsemble,
        MMDWeightedEnsemble,
        DomainRecognitionEnsemble,
        SourceFreeEnsemble,
    ],
)
def test_two_hundred_sources_are_fitted_and_asked_once_each(make):
    rng = np.random.default_rng(0)
    domain = np.append(np.repeat(np.arange(1, 201), 6), np.full(12, -1))
    X = rng.normal(size=(len(domain), 2))
    y = (X[:, 0] + rng.normal(size=len(X)) > 0).astype(int)
    y[: len(domain) - 1 : 2], y[1 : len(domain) : 2] = 0, 1
    CountedClassifier.counts.clear()
    model = make(CountedClassifier()).fit(X, y, sample_domain=domain)
    # the sources, the target, and a model that tells domains apart
    assert 200 <= CountedClassifier.counts["fit"] <= 202
    CountedClassifier.counts.clear()
    assert model.predict_proba(X[-12:]).shape == (12, 2)
    assert CountedClassifier.counts["predict_proba"] <= 202


@pytest.mark.parametrize("kind", [HEnsemble, MCW])
@pytest.mark.parametrize("given", [False, True])
@config_context(enable_metadata_routing=True)
def test_weights_of_target_rows_count_rows(kind, given):
    X, y, domain = make_data(n_unlabeled=0, flip=(1,))
    weight = np.random.default_rng(0).integers(1, 4, len(y))
    learner = LogisticRegression(tol=1e-10).set_fit_request(sample_weight=True)
    models = None
    if given:
        models = [LogisticRegression().fit(X[domain == k], y[domain == k])
                  for k in (1, 2)]  # fmt: skip
        X, y, weight = (part[domain < 0] for part in (X, y, weight))
        domain = domain[domain < 0]
    again = np.repeat(np.arange(len(y)), weight)
    found = kind(learner, source_models=models).fit(
        X, y, sample_domain=domain, sample_weight=weight
    )
    repeated = kind(learner, source_models=models).fit(
        X[again], y[again], sample_domain=domain[again]
    )
    plain = kind(learner, source_models=models).fit(X, y, sample_domain=domain)
    expected = repeated.predict_proba(X)
    np.testing.assert_allclose(found.predict_proba(X), expected, atol=1e-5)
    assert np.abs(plain.predict_proba(X) - expected).max() > 1e-3


@config_context(enable_metadata_routing=True)
def test_weights_of_zero_on_all_labels_are_named():
    X, y, domain = make_data()
    learner = LogisticRegression().set_fit_request(sample_weight=True)
    weight = (y < 0) | (domain > 0)
    with pytest.raises(UnlabeledTargetError, match="all of them have sample_weight 0"):
        HEnsemble(learner).fit(X, y, sample_domain=domain, sample_weight=weight)
