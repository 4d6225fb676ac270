"""What holds for all self-labeling: given labels stay, noise is filtered."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from sktransfer._solvers.centroid_labels import centroid_labels
from sktransfer.baselines import Pooled, SourceOnly
from sktransfer.pseudo_label import (
    DASVM,
    GradualSelfTraining,
    PredictiveDistributionMatching,
    SelectivePseudoLabeling,
    SelfTraining,
    label_noise,
)
from sktransfer.pseudo_label import _selective as selective

LEARNER = LogisticRegression()


def make_data(rng, n_labeled=10, shift=1.0, n_target=80):
    """Two clusters; those of the target moved. The given target labels are wrong."""
    y = np.arange(80 + n_target) % 2
    X = rng.normal(size=(len(y), 2)) * 0.6 + np.outer(2 * y - 1, [1.5, 0.0])
    domain = np.repeat([1, -1], [80, n_target])
    X[domain < 0] += [shift, 1.0]
    labels = y.astype(float)
    labels[80 : 80 + n_labeled] = 1 - y[80 : 80 + n_labeled]
    labels[80 + n_labeled :] = np.nan
    return X, labels, domain, y


class Seen:
    """Learners that keep what they were fitted on."""

    fits: list = []

    def fit(self, X, y, sample_weight=None):
        Seen.fits.append((np.array(X), np.array(y)))
        return super().fit(X, y, sample_weight=sample_weight)


class SeenLogistic(Seen, LogisticRegression):
    pass


class SeenSVC(Seen, LinearSVC):
    pass


@pytest.mark.parametrize(
    "model",
    [
        SelfTraining(SeenLogistic()),
        SelfTraining(SeenLogistic(), soft=True, fade_sources=True, max_noise=0.5),
        SelfTraining(SeenLogistic(), soft="shares", fade_sources=True),
        SelfTraining(SeenLogistic(), assign="clusters", predict_harm=True),
        PredictiveDistributionMatching(SeenLogistic(), max_noise=0.5),
        GradualSelfTraining(SeenLogistic(), n_steps=3),
        DASVM(SeenSVC(dual=False), n_rounds=3),
    ],
    ids=lambda model: type(model).__name__,
)
def test_labeled_target_rows_are_never_relabeled(model, rng):
    """Labeled target rows are never relabeled, however wrong they look."""
    X, labels, domain, _ = make_data(rng)
    Seen.fits = []
    model.fit(X, labels, sample_domain=domain)
    assert len(Seen.fits) > 1
    for rows, given in Seen.fits:
        for k in range(80, 90):
            place = np.flatnonzero((rows == X[k]).all(axis=1))
            assert len(place) <= 1
            assert (given[place] == labels[k]).all()
    assert len(model.pseudo_labels_) == 70


def test_selective_labeling_never_relabels_the_labeled(rng, monkeypatch):
    """Labeled target rows are never relabeled: in the projection of SPL."""
    X, labels, domain, _ = make_data(rng)
    seen = []

    def watched(rows, y, n_components, regularization):
        seen.append((rows, y))
        return original(rows, y, n_components, regularization)

    original = selective.supervised_projection
    monkeypatch.setattr(selective, "supervised_projection", watched)
    model = SelectivePseudoLabeling(max_noise=0.3)
    model.fit(X, labels, sample_domain=domain)
    assert len(seen) == 11
    for rows, y in seen:
        for k in range(80, 90):
            place = np.flatnonzero(np.isclose(rows, X[k] - model.center_).all(axis=1))
            assert (y[place] == labels[k]).all()
            assert len(place) == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda noise: SelfTraining(LEARNER, n_rounds=3, max_noise=noise),
        lambda noise: PredictiveDistributionMatching(
            LEARNER, target_threshold=0.0, max_noise=noise
        ),
    ],
    ids=["SelfTraining", "PredictiveDistributionMatching"],
)
def test_the_noise_filter_drops_labels_that_their_neighbors_contradict(make, rng):
    """Drop rows that are not significantly smooth: the filter of any self-labeling."""
    X, labels, domain, y = make_data(rng, n_labeled=0, shift=1.6)
    strict, loose = (make(n).fit(X, labels, sample_domain=domain) for n in (0.05, None))
    assert (strict.pseudo_weight_ > 0).sum() < (loose.pseudo_weight_ > 0).sum()
    kept = strict.pseudo_weight_ > 0
    noise = label_noise(X, np.r_[y[:80], strict.pseudo_labels_])[80:]
    assert noise[kept].mean() < 0.2 * noise[~kept].mean()


def test_the_noise_filter_of_selective_labeling(rng):
    X, labels, domain, y = make_data(rng, n_labeled=0)
    one = SelectivePseudoLabeling(max_noise=1.0).fit(X, labels, sample_domain=domain)
    none = SelectivePseudoLabeling().fit(X, labels, sample_domain=domain)
    assert_allclose(one.projection_, none.projection_)
    strict = SelectivePseudoLabeling(max_noise=1e-6, n_neighbors=5)
    strict.fit(X, labels, sample_domain=domain)
    assert not np.allclose(strict.class_means_, none.class_means_)
    assert strict.score(X[80:], y[80:]) > 0.9


def test_noise_of_clustered_and_shuffled_labels(rng):
    """Clustered labels: near 0; shuffled: about 1/2 for any number of classes."""
    for n_classes in (2, 3, 5):
        y = np.arange(300) % n_classes
        X = 0.3 * rng.normal(size=(300, 2))
        X += 9 * np.c_[np.cos(y), np.sin(y)]
        assert label_noise(X, y, n_neighbors=20).mean() < 1e-3
        shuffled = label_noise(X, rng.permutation(y), n_neighbors=20)
        assert abs(shuffled.mean() - 0.5) < 0.06


def test_the_bound_is_that_of_the_specification(rng):
    """Harm is predicted when sqrt(2 log(2N/d) / (m (1-2 eta)^2)) rises."""
    X, labels, domain, _ = make_data(rng, n_labeled=0)
    model = SelfTraining(LEARNER, n_rounds=4, predict_harm=True)
    model.fit(X, labels, sample_domain=domain)
    rate = []
    for bound, n in zip(model.bound_, model.n_accepted_, strict=True):
        m = 80 + n
        eta = (1 - 1 / (bound * np.sqrt(m))) / 2
        rate.append(eta)
        full = np.sqrt(2 * np.log(2 * 7 / 0.05) / (m * (1 - 2 * eta) ** 2))
        assert full == pytest.approx(bound * np.sqrt(2 * np.log(2 * 7 / 0.05)))
    assert (np.array(rate) >= -1e-12).all()
    assert (np.array(rate) < 0.5).all()


def test_soft_labels_are_every_class_in_its_share(rng):
    """Soft labels: the fit of one round by hand."""
    X, labels, domain, _ = make_data(rng, n_labeled=0)
    model = SelfTraining(LEARNER, n_rounds=1, soft="shares", pseudo_weight=0.5)
    model.fit(X, labels, sample_domain=domain)
    proba = Pooled(LEARNER).fit(X, labels, sample_domain=domain).predict_proba(X[80:])
    rows = np.vstack([X[:80], X[80:], X[80:]])
    y = np.r_[labels[:80], np.zeros(80), np.ones(80)]
    weight = np.r_[np.ones(80), 0.5 * proba[:, 0], 0.5 * proba[:, 1]]
    by_hand = LogisticRegression().fit(rows, y, sample_weight=weight)
    assert_allclose(model.estimator_.coef_, by_hand.coef_, rtol=1e-4)
    assert_allclose(model.pseudo_weight_, 0.5)
    sparse_fit = SelfTraining(LEARNER, n_rounds=1, soft="shares", pseudo_weight=0.5)
    sparse_fit.fit(sparse.csr_matrix(X), labels, sample_domain=domain)
    assert_allclose(sparse_fit.estimator_.coef_, by_hand.coef_, rtol=1e-3)


def test_soft_labels_with_weights_and_certain_learners(rng):
    X, labels, domain, _ = make_data(rng, n_labeled=4)
    tree = DecisionTreeClassifier(max_depth=3, random_state=0)
    model = SelfTraining(tree, soft="shares", fade_sources=True)
    model.fit(X, labels, sample_domain=domain)
    assert model.classes_.tolist() == [0, 1]
    weight = np.ones(len(X))
    weight[[0, 100]] = 0
    with config_context(enable_metadata_routing=True):
        learner = LogisticRegression().set_fit_request(sample_weight=True)
        soft = SelfTraining(learner, soft="shares", n_rounds=2)
        one = soft.fit(X, labels, sample_domain=domain, sample_weight=weight).predict(X)
        there = weight > 0
        soft.fit(
            X[there], labels[there], sample_domain=domain[there],
            sample_weight=weight[there],
        )  # fmt: skip
    assert_array_equal(one, soft.predict(X))


def test_clustered_labels_are_those_of_the_nearest_centroid(rng):
    """Clustered labels: the classes of weighted centroids of the target itself."""
    X, labels, domain, y = make_data(rng, n_labeled=0, n_target=200)
    model = SelfTraining(LEARNER, n_rounds=1, assign="clusters")
    model.fit(X, labels, sample_domain=domain)
    proba = SourceOnly(LEARNER).fit(X, labels, sample_domain=domain)
    expected = centroid_labels(X[80:], proba.predict_proba(X[80:]))
    assert_array_equal(model.pseudo_labels_, expected)
    # the centroids cut where the target's own clusters part, in directions
    angle = np.arange(400) % 2 * 1.2 + 0.15 * rng.normal(size=400)
    Z = np.c_[np.cos(angle), np.sin(angle)] * rng.uniform(1, 3, size=(400, 1))
    truth = np.arange(400) % 2
    moved = np.r_[np.zeros(200), np.full(200, 0.5)]
    turn = np.c_[np.cos(moved), np.sin(moved)]
    W = np.c_[
        Z[:, 0] * turn[:, 0] - Z[:, 1] * turn[:, 1],
        Z[:, 0] * turn[:, 1] + Z[:, 1] * turn[:, 0],
    ]
    given = np.where(moved > 0, np.nan, truth)
    ids = np.where(moved > 0, -1, 1)
    scores = [
        np.mean(
            SelfTraining(LEARNER, n_rounds=1, assign=assign)
            .fit(W, given, sample_domain=ids)
            .pseudo_labels_
            == truth[200:]
        )
        for assign in ("clusters", "prediction")
    ]
    assert scores[0] > scores[1] + 0.05
    assert len(y) == 280


def test_selective_labeling_of_one_round_labels_all_rows_once(rng, monkeypatch):
    """T = 1: all target rows labeled once; else per class the top (m/T) n_t^c."""
    X, labels, domain, _ = make_data(rng, n_labeled=0)
    sizes = []
    original = selective.supervised_projection

    def watched(rows, y, n_components, regularization):
        sizes.append(len(y) - 80)
        return original(rows, y, n_components, regularization)

    monkeypatch.setattr(selective, "supervised_projection", watched)
    SelectivePseudoLabeling(n_rounds=1).fit(X, labels, sample_domain=domain)
    assert sizes == [0, 80]
    sizes.clear()
    SelectivePseudoLabeling(n_rounds=4).fit(X, labels, sample_domain=domain)
    assert sizes[0] == 0
    assert_allclose(sizes[1:], [20, 40, 60, 80], atol=1)


def test_selective_labeling_of_identical_domains():
    """Identical domains: accuracy >= nearest mean on the source."""
    differences = []
    for seed in range(5):
        rng = np.random.RandomState(seed)
        y = np.arange(200) % 3
        X = rng.normal(size=(200, 3)) + 1.5 * np.eye(3)[y]
        domain = np.repeat([1, -1], 100)
        given = np.where(domain > 0, y, np.nan)
        model = SelectivePseudoLabeling().fit(X, given, sample_domain=domain)
        mean = NearestCentroid().fit(X[:100], y[:100])
        differences.append(model.score(X[100:], y[100:]) - mean.score(X[100:], y[100:]))
    assert np.mean(differences) > -0.02
