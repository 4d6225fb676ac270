"""Self-training: the template, its criteria, noise of labels, and SPL."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.linalg import eigh
from sklearn import config_context
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

from sktransfer._solvers.lpp import supervised_projection
from sktransfer.baselines import Pooled, SourceOnly
from sktransfer.pseudo_label import (
    SelectivePseudoLabeling,
    SelfTraining,
    label_noise,
)
from sktransfer.pseudo_label._self_training import _certainty
from sktransfer.pseudo_label._template import most_certain

LEARNER = LogisticRegression()


def moved(rng, shift=1.5, n_source=80, n_target=80, n_labeled=0):
    """Two clusters; those of the target moved along the boundary and across it."""
    y = np.arange(n_source + n_target) % 2
    X = rng.normal(size=(len(y), 2)) * 0.6 + np.outer(2 * y - 1, [1.5, 0.0])
    domain = np.repeat([1, -1], [n_source, n_target])
    X[domain < 0] += [shift, 1.0]
    labels = y.astype(float)
    labels[n_source + n_labeled :] = np.nan
    return X, labels, domain, y


def test_it_learns_where_the_clusters_of_the_target_are(rng):
    X, labels, domain, y = moved(rng)
    target = domain < 0
    source = SourceOnly(LEARNER).fit(X, labels, sample_domain=domain)
    model = SelfTraining(LEARNER, fade_sources=True)
    model.fit(X, labels, sample_domain=domain)
    assert source.score(X[target], y[target]) < 0.85
    assert model.score(X[target], y[target]) > 0.95
    # a share of each class, rounded up
    assert_allclose(model.n_accepted_, [8 * k for k in range(1, 11)], atol=2)
    assert model.mutual_information_[-1] > model.mutual_information_[0]
    assert model.mean_entropy_[-1] < model.mean_entropy_[0]
    assert (model.pseudo_labels_ == y[target]).mean() > 0.9


@pytest.mark.parametrize(
    "criterion", ["confidence", "margin", "entropy", "mutual_information"]
)
def test_the_first_round_is_a_refit_on_the_most_certain(criterion, rng):
    X, labels, domain, _ = moved(rng, n_labeled=3)
    model = SelfTraining(LEARNER, n_rounds=4, criterion=criterion, class_balance=False)
    pooled = Pooled(LEARNER).fit(X, labels, sample_domain=domain)
    unlabeled = np.isnan(labels)
    proba = pooled.predict_proba(X[unlabeled])
    chosen = most_certain(_certainty(proba, criterion), 0.25)
    assert chosen.sum() == 20  # a quarter of 77, rounded up
    labels_then = labels.copy()
    places = np.flatnonzero(unlabeled)[chosen]
    labels_then[places] = proba[chosen].argmax(axis=1)
    by_hand = Pooled(LEARNER).fit(X, labels_then, sample_domain=domain)
    seen = []

    class Watched(LogisticRegression):
        def fit(self, X, y, sample_weight=None):
            super().fit(X, y, sample_weight=sample_weight)
            seen.append(self.coef_)
            return self

    model.set_params(estimator=Watched()).fit(X, labels, sample_domain=domain)
    assert_allclose(seen[0], pooled.estimator_.coef_)
    assert_allclose(seen[1], by_hand.estimator_.coef_, rtol=1e-6)


def test_criteria():
    proba = np.array([[0.5, 0.3, 0.2], [0.5, 0.5, 0.0], [0.1, 0.1, 0.8]])
    assert_allclose(_certainty(proba, "confidence"), [0.5, 0.5, 0.8])
    assert_allclose(_certainty(proba, "margin"), [0.2, 0.0, 0.7])
    entropy = [1.0296530140645737, np.log(2), 0.639031859650177]
    assert_allclose(_certainty(proba, "entropy"), -np.array(entropy))
    mean = proba.mean(axis=0)
    information = -(mean @ np.log(mean)) - np.mean(entropy)
    assert _certainty(proba, "mutual_information").mean() == pytest.approx(information)


def test_shares_within_classes_and_ties():
    certainty = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.5])
    parts = np.array([0, 0, 0, 0, 1, 1])
    chosen = most_certain(certainty, 0.5, parts)
    assert_array_equal(chosen, [True, True, False, False, True, True])
    assert most_certain(np.ones(10), 0.1).all()
    assert most_certain(np.arange(10.0), 0.3).sum() == 3
    assert most_certain(np.arange(10.0), 1.0).all()


def test_labeled_target_samples_keep_their_labels(rng):
    X, labels, domain, y = moved(rng, n_labeled=10)
    labels[80:90] = 1 - y[80:90]  # wrong, but given
    seen = []

    class Watched(LogisticRegression):
        def fit(self, X, y, sample_weight=None):
            seen.append((np.array(X), np.array(y)))
            return super().fit(X, y, sample_weight=sample_weight)

    model = SelfTraining(Watched()).fit(X, labels, sample_domain=domain)
    assert len(model.pseudo_labels_) == 70
    for rows, given in seen:
        for k in range(80, 90):
            place = np.flatnonzero((rows == X[k]).all(axis=1))
            assert given[place] == labels[k]


def test_without_unlabeled_samples_it_is_pooled(rng):
    X, _, domain, y = moved(rng)
    model = SelfTraining(LEARNER, fade_sources=True).fit(X, y, sample_domain=domain)
    pooled = Pooled(LEARNER).fit(X, y, sample_domain=domain)
    assert_allclose(model.estimator_.coef_, pooled.estimator_.coef_)
    assert len(model.n_accepted_) == len(model.pseudo_labels_) == 0


def test_the_sources_are_gone_in_the_last_round(rng):
    X, labels, domain, _ = moved(rng)
    model = SelfTraining(LEARNER, n_rounds=3, fade_sources=True)
    model.fit(X, labels, sample_domain=domain)
    before = SelfTraining(LEARNER, n_rounds=3, fade_sources=True)
    target = domain < 0
    alone = LogisticRegression().fit(X[target], model.pseudo_labels_)
    assert_allclose(model.estimator_.coef_, alone.coef_, rtol=1e-6)
    assert before.get_params()["fade_sources"]


def test_threshold_keeps_uncertain_samples_out(rng):
    X, labels, domain, _ = moved(rng)
    model = SelfTraining(LEARNER, threshold=1.0).fit(X, labels, sample_domain=domain)
    pooled = Pooled(LEARNER).fit(X, labels, sample_domain=domain)
    assert (model.n_accepted_ == 0).all()
    assert_allclose(model.estimator_.coef_, pooled.estimator_.coef_)


def test_soft_labels_count_by_their_probability(rng):
    X, labels, domain, _ = moved(rng)
    model = SelfTraining(LEARNER, n_rounds=1, soft=True, pseudo_weight=0.5)
    model.fit(X, labels, sample_domain=domain)
    pooled = Pooled(LEARNER).fit(X, labels, sample_domain=domain)
    proba = pooled.predict_proba(X[domain < 0]).max(axis=1)
    assert_allclose(model.pseudo_weight_, 0.5 * proba)


def test_harm_is_predicted_where_labels_are_noise(rng):
    """Labels of the source that mean nothing on the target: the first model stays."""
    X, labels, domain, _ = moved(rng)
    good = SelfTraining(LEARNER, predict_harm=True)
    good.fit(X, labels, sample_domain=domain)
    assert good.harm_round_ is None or good.n_accepted_[-1] > 40
    assert (np.diff(good.bound_) <= 1e-12).all()

    class Guess(LogisticRegression):
        def predict_proba(self, X):
            share = np.random.RandomState(0).uniform(size=(len(X), 1))
            return np.hstack([share, 1 - share])

    bad = SelfTraining(Guess(), predict_harm=True)
    bad.fit(X, labels, sample_domain=domain)
    assert bad.harm_round_ is not None
    assert len(bad.n_accepted_) < 10


def test_noisy_pseudo_labels_are_dropped(rng):
    X, labels, domain, _ = moved(rng)
    model = SelfTraining(LEARNER, n_rounds=2, max_noise=0.05)
    model.fit(X, labels, sample_domain=domain)
    loose = SelfTraining(LEARNER, n_rounds=2, max_noise=1.0)
    loose.fit(X, labels, sample_domain=domain)
    assert model.n_accepted_[-1] < loose.n_accepted_[-1] == 80


def test_samples_of_weight_zero(rng):
    X, labels, domain, _ = moved(rng)
    weight = np.ones(len(X))
    weight[[0, 1, 100, 101]] = 0.0
    with config_context(enable_metadata_routing=True):
        learner = LogisticRegression().set_fit_request(sample_weight=True)
        model = SelfTraining(learner, n_rounds=3)
        model.fit(X, labels, sample_domain=domain, sample_weight=weight)
        there = weight > 0
        other = SelfTraining(learner, n_rounds=3)
        other.fit(
            X[there], labels[there], sample_domain=domain[there],
            sample_weight=weight[there],
        )  # fmt: skip
    assert_allclose(model.estimator_.coef_, other.estimator_.coef_)
    assert len(model.pseudo_labels_) == 80
    assert (model.pseudo_weight_[[20, 21]] == 0).all()


@pytest.mark.parametrize("labels", [np.array(["no", "yes"]), np.array([False, True])])
def test_labels_of_any_kind_and_sparse_samples(labels, rng):
    X, given, domain, _ = moved(rng)
    y = np.full(len(X), None, dtype=object)
    y[:80] = labels[given[:80].astype(int)]
    model = SelfTraining(LEARNER, n_rounds=2, max_noise=0.5, predict_harm=True)
    model.fit(sparse.csr_array(X), y, sample_domain=domain)
    assert set(model.pseudo_labels_) <= set(labels)
    assert model.classes_.dtype.kind == labels.dtype.kind


def test_learners_that_cannot(rng):
    X, labels, domain, _ = moved(rng)
    with pytest.raises(TypeError, match="no classifier"):
        SelfTraining(Ridge()).fit(X, labels, sample_domain=domain)
    with pytest.raises(TypeError, match="has no predict_proba"):
        SelfTraining(LinearSVC()).fit(X, labels, sample_domain=domain)
    with pytest.raises(TypeError, match="takes no sample_weight"):
        SelfTraining(KNeighborsClassifier(), soft=True).fit(
            X, labels, sample_domain=domain
        )


def test_clustered_labels_have_no_noise_and_shuffled_ones_half(rng):
    y = np.repeat(np.arange(4), 60)
    X = rng.normal(size=(240, 2)) + 8 * np.c_[y % 2, y // 2]
    assert label_noise(X, y, n_neighbors=20).mean() < 1e-3
    shuffled = label_noise(X, rng.permutation(y), n_neighbors=20)
    assert abs(shuffled.mean() - 0.5) < 0.06
    assert (label_noise(X, np.zeros(240)) == 0).all()
    assert label_noise([[1.0]], ["a"]).tolist() == [0.0]


def test_noise_by_hand():
    X, y = np.array([[0.0], [1.0], [3.0]]), np.array([0, 1, 1])
    noise = label_noise(X, y, n_neighbors=2)
    w = 1 / (1 + np.array([1.0, 3.0]))
    from scipy.stats import norm

    z = (w.sum() - 2 / 3 * w.sum()) / np.sqrt(2 / 9 * (w**2).sum())
    assert noise[0] == pytest.approx(norm.cdf(z))


def test_the_projection_solves_its_eigenproblem(rng):
    X, y = rng.normal(size=(30, 4)), rng.randint(3, size=30)
    X = X - X.mean(axis=0)
    W = (y[:, None] == y).astype(float)
    D = np.diag(W.sum(axis=1))
    A = X.T @ D @ X
    B = X.T @ (D - W) @ X + 0.5 * np.trace(A) / 4 * np.eye(4)
    values, vectors = eigh(A, B)
    P = supervised_projection(X, y, 2, 0.5)
    for k in range(2):
        expected = vectors[:, -1 - k] / np.linalg.norm(vectors[:, -1 - k])
        assert abs(P[:, k] @ expected) == pytest.approx(1.0)
    assert_allclose(A @ P[:, 0], values[-1] * B @ P[:, 0])


def test_clusters_of_the_target_beat_class_means(rng):
    wins = []
    for _ in range(5):
        y = np.arange(150) % 3
        centers = 4 * np.array([[1.0, 0.0], [-0.5, 0.9], [-0.5, -0.9]])
        X = rng.normal(size=(150, 2)) + centers[y]
        angle = 0.7
        turn = np.array(
            [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
        )
        target = (rng.normal(size=(150, 2)) + centers[y]) @ turn
        domain = np.repeat([1, -1], 150)
        labels = np.r_[y.astype(float), np.full(150, np.nan)]
        model = SelectivePseudoLabeling().fit(
            np.r_[X, target], labels, sample_domain=domain
        )
        source = SourceOnly(LEARNER).fit(np.r_[X, target], labels, sample_domain=domain)
        wins.append(model.score(target, y) - source.score(target, y))
    assert np.mean(wins) > 0.03


def test_fewer_target_samples_than_classes(rng):
    X, y = rng.normal(size=(31, 2)), np.r_[np.arange(30) % 3, np.nan]
    domain = np.repeat([1, -1], [30, 1])
    model = SelectivePseudoLabeling().fit(X, y, sample_domain=domain)
    assert model.cluster_means_ is None
    assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)
