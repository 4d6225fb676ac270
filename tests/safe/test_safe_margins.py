"""Classifiers without probabilities: decision values or votes alone."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import (
    LogisticRegression,
    Perceptron,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.multiclass import OneVsRestClassifier, OutputCodeClassifier
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from sktransfer.baselines import Pooled
from sktransfer.hypothesis import LinearInterpolation
from sktransfer.metrics import cross_val_ntg
from sktransfer.multisource import MMDWeightedEnsemble
from sktransfer.safe import (
    SAFEW,
    ReliableTransfer,
    TransferGuard,
    TransferPortfolioClassifier,
)

MARGINS = [
    LinearSVC(dual=False),
    LinearSVC(C=10.0, dual=False),
    LinearSVC(C=0.01, dual=False),
    RidgeClassifier(),
    RidgeClassifier(alpha=100.0),
    SVC(),
    Perceptron(),
    SGDClassifier(random_state=0),
    OneVsRestClassifier(LinearSVC(dual=False)),
    make_pipeline(StandardScaler(), SVC(kernel="linear")),
]
VOTES = [
    NearestCentroid(metric="manhattan"),
    OutputCodeClassifier(LinearSVC(dual=False), random_state=0),
    SVC(decision_function_shape="ovo"),
]
FORMS = {
    "bool": np.array([False, True]),
    "text": np.array(["no", "yes"]),
    "float": np.array([0.0, 1.0]),
}


def draw(n_classes=2, *, kind="useful", seed=0, n_test=400):
    """Normal classes; the classes of a harmful source are exchanged."""
    rng = np.random.default_rng(seed)
    means = 0.45 * rng.normal(size=(n_classes, 20))
    sizes = 200, 10 * n_classes if n_classes == 2 else 6 * n_classes, n_test
    labels = [rng.permutation(np.arange(n) % n_classes) for n in sizes]
    centers = [means[::-1] if kind == "harmful" else means, means, means]
    X = [
        m[k] + rng.normal(size=(len(k), 20))
        for m, k in zip(centers, labels, strict=True)
    ]
    domain = np.repeat([1, -1], sizes[:2])
    return np.vstack(X[:2]), np.concatenate(labels[:2]), domain, X[2], labels[2]


def accuracies(model, X_test, y_test):
    """Accuracy of the blend, of the target alone and of the transfer."""
    models = model, model.target_only_, model.transfer_
    return [np.mean(one.predict(X_test) == y_test) for one in models]


@pytest.mark.parametrize(
    ("learner", "n_classes"),
    [(learner, 2 + 2 * (k % 2)) for k, learner in enumerate(MARGINS)],
    ids=str,
)
def test_a_guard_takes_a_useful_source_and_refuses_a_harmful_one(learner, n_classes):
    gains, shares = [], []
    for seed in (0, 1, 3):
        X, y, domain, X_test, y_test = draw(n_classes, seed=seed)
        guard = TransferGuard(Pooled(learner), cv=5).fit(X, y, sample_domain=domain)
        blend, alone, pooled = accuracies(guard, X_test, y_test)
        gains.append([blend - alone, pooled - alone])
        shares.append(guard.weights_[1])
    gain, possible = np.mean(gains, axis=0)
    assert possible > 0.02
    assert gain > 0.25 * possible
    assert np.mean(shares) > 0.2
    X, y, domain, X_test, y_test = draw(n_classes, kind="harmful")
    guard = TransferGuard(Pooled(learner), cv=5).fit(X, y, sample_domain=domain)
    blend, alone, _ = accuracies(guard, X_test, y_test)
    assert blend > alone - 0.02


@pytest.mark.parametrize("learner", VOTES, ids=str)
def test_a_guard_of_votes_follows_the_model_of_more_weight(learner):
    X, y, domain, X_test, y_test = draw(4, seed=3)
    guard = TransferGuard(Pooled(learner), cv=5).fit(X, y, sample_domain=domain)
    assert guard.transferred_
    heavier = guard.models_[int(guard.weights_.argmax())]
    assert_array_equal(guard.predict(X_test), heavier.predict(X_test))
    X, y, domain, X_test, y_test = draw(4, kind="harmful")
    guard = TransferGuard(Pooled(learner), cv=5).fit(X, y, sample_domain=domain)
    blend, alone, _ = accuracies(guard, X_test, y_test)
    assert blend > alone - 0.02


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_a_multiple_of_the_decision_values_changes_nothing(n_classes, factor):
    X, y, domain, X_test, _ = draw(n_classes)
    plain = TransferGuard(Pooled(Scaled(1.0))).fit(X, y, sample_domain=domain)
    other = TransferGuard(Pooled(Scaled(factor))).fit(X, y, sample_domain=domain)
    assert 0 < plain.weights_[1] < 1
    assert_allclose(other.weights_, plain.weights_, rtol=1e-6)
    assert_array_equal(other.predict(X_test), plain.predict(X_test))
    assert_allclose(
        other.decision_function(X_test), plain.decision_function(X_test), atol=1e-6
    )


class Scaled(ClassifierMixin, BaseEstimator):
    """A support vector machine whose decision values are multiplied by a factor."""

    def __init__(self, factor):
        self.factor = factor

    def fit(self, X, y):
        self.model_ = LinearSVC(dual=False).fit(X, y)
        self.classes_ = self.model_.classes_
        return self

    def predict(self, X):
        return self.model_.predict(X)

    def decision_function(self, X):
        return self.factor * self.model_.decision_function(X)


@pytest.mark.parametrize("factor", [1e-3, 1e3])
@pytest.mark.parametrize("learner", [Perceptron(), SVC()], ids=str)
def test_units_of_the_features_change_little(learner, factor):
    X, y, domain, _, _ = draw()
    found = [
        TransferGuard(Pooled(learner)).fit(scale * X, y, sample_domain=domain)
        for scale in (1.0, factor)
    ]
    assert_allclose(found[1].weights_, found[0].weights_, atol=0.2)


@pytest.mark.parametrize(
    ("learner", "n_classes"),
    [(LinearSVC(dual=False), 2), (SVC(), 2), (Perceptron(), 4), (VOTES[0], 4)],
    ids=str,
)
def test_a_portfolio_takes_a_useful_source(learner, n_classes):
    X, y, domain, X_test, y_test = draw(n_classes, seed=1)
    members = [("alone", learner), ("pooled", Pooled(learner))]
    portfolio = TransferPortfolioClassifier(members=members)
    portfolio.fit(X, y, sample_domain=domain)
    blend, alone, pooled = accuracies(portfolio, X_test, y_test)
    assert portfolio.transferred_
    assert blend > alone + 0.25 * (pooled - alone) - 0.01
    X, y, domain, X_test, y_test = draw(n_classes, kind="harmful")
    portfolio.fit(X, y, sample_domain=domain)
    blend, alone, _ = accuracies(portfolio, X_test, y_test)
    assert blend > alone - 0.02


def test_members_of_different_scales_are_comparable():
    X, y, domain, _, _ = draw(4, seed=1)
    X, y = X[domain < 0], y[domain < 0]
    members = [("svc", LinearSVC(dual=False)), ("large", Scaled(1e6)),
               ("logistic", LogisticRegression())]  # fmt: skip
    portfolio = TransferPortfolioClassifier(members=members)
    weights = portfolio.fit(X, y).weights_
    assert_allclose(weights["svc"], weights["large"], rtol=1e-6)
    first, second, third = portfolio.member_table_["loss"]
    assert first == pytest.approx(second, rel=1e-6)
    assert 0.5 < first / third < 2


@pytest.mark.parametrize("form", FORMS)
def test_any_form_of_labels(form):
    X, y, domain, X_test, _ = draw()
    guard = TransferGuard(Pooled(LinearSVC(dual=False)))
    plain = clone(guard).fit(X, y, sample_domain=domain)
    guard.fit(X, FORMS[form][y], sample_domain=domain)
    assert_allclose(guard.weights_, plain.weights_)
    assert_array_equal(guard.predict(X_test), FORMS[form][plain.predict(X_test)])


def test_a_class_that_the_target_lacks():
    X, y, domain, X_test, _ = draw(4)
    kept = (domain > 0) | (y < 3)
    learner = LinearSVC(dual=False)
    guard = TransferGuard(Pooled(learner)).fit(
        X[kept], y[kept], sample_domain=domain[kept]
    )
    assert_array_equal(guard.classes_, np.arange(4))
    assert np.isfinite(guard.weights_).all()
    decisions = guard.decision_function(X_test)
    assert_array_equal(guard.predict(X_test), decisions.argmax(axis=1))
    model = LinearInterpolation(learner).fit(
        X[kept], y[kept], sample_domain=domain[kept]
    )
    assert_array_equal(np.unique(model.predict(X_test)), np.arange(4))


def test_one_model_alone_keeps_its_own_decision_values():
    X, y, domain, X_test, _ = draw(kind="harmful")
    guard = TransferGuard(Pooled(LinearSVC(dual=False))).fit(X, y, sample_domain=domain)
    assert guard.weights_[1] == 0
    alone = guard.target_only_.decision_function(X_test)
    assert_array_equal(guard.decision_function(X_test), alone)
    members = [("only", LinearSVC(dual=False))]
    portfolio = TransferPortfolioClassifier(members=members).fit(
        X[domain < 0], y[domain < 0]
    )
    assert_array_equal(portfolio.decision_function(X_test), alone)


@pytest.mark.parametrize("policy", ["aggregate", "select", "safew"])
def test_one_label_per_class(policy):
    X, y, domain, X_test, _ = draw(4)
    target = np.flatnonzero(domain < 0)
    first = [target[y[target] == k][0] for k in range(4)]
    rows = np.concatenate([np.flatnonzero(domain > 0), first])
    domain = np.where(domain > 0, 1 + np.arange(len(domain)) % 2, -1)
    guard = TransferGuard(Pooled(LinearSVC(dual=False)), policy=policy, atom=0.0)
    guard.fit(X[rows], y[rows], sample_domain=domain[rows])
    assert np.isnan(guard.ntg_)
    assert set(guard.predict(X_test)) <= set(range(4))
    members = [("alone", LinearSVC(dual=False)), ("pooled", Pooled(SVC()))]
    portfolio = TransferPortfolioClassifier(members=members)
    portfolio.fit(X[rows], y[rows], sample_domain=domain[rows])
    assert portfolio.weights_["pooled"] == pytest.approx(0.25)
    assert np.isfinite(portfolio.decision_function(X_test)).all()


@pytest.mark.parametrize("learner", [LinearSVC(dual=False), VOTES[0]], ids=str)
@pytest.mark.parametrize("scoring", [None, "balanced_accuracy"])
def test_the_gap_of_a_useful_source_is_negative(learner, scoring):
    X, y, domain, _, _ = draw(4)
    gap = cross_val_ntg(
        Pooled(learner), X, y, sample_domain=domain, scoring=scoring, random_state=0
    )
    assert gap.ntg < 0


def test_the_guard_reads_unlabeled_samples_and_a_score():
    X, y, domain, X_test, _ = draw(3, seed=2)
    X = np.vstack([X, X_test])
    y = np.concatenate([y, np.full(len(X_test), np.nan)])
    domain = np.concatenate([domain, np.full(len(X_test), -1)])
    for scoring in (None, "accuracy"):
        guard = TransferGuard(Pooled(LinearSVC(dual=False)), scoring=scoring)
        guard.fit(X, y, sample_domain=domain)
        assert guard.transferred_ and guard.ntg_ < 0


@pytest.mark.parametrize(
    "learner", [LinearSVC(dual=False), Perceptron(), VOTES[0], VOTES[2]], ids=str
)
def test_reliable_transfer_judges_models_without_probabilities(learner):
    # the source model errs in a third of the target samples: useful, if not by much
    rng = np.random.default_rng(0)
    X, y, domain, _, _ = draw(2, seed=3)
    flipped = (domain < 0) & (rng.uniform(size=len(y)) < 0.2)
    y = np.where(flipped, 1 - y, y)
    model = ReliableTransfer(learner, n_permutations=99)
    assert model.fit(X, y, sample_domain=domain).levels_[1] != "low"
    y = np.where(domain > 0, 1 - y, y)
    assert model.fit(X, y, sample_domain=domain).levels_[1] == "low"


@pytest.mark.parametrize("learner", [Perceptron(), VOTES[0]], ids=str)
def test_methods_that_need_probabilities_name_the_learner(learner):
    X, y, domain, X_test, _ = draw()
    with pytest.raises((TypeError, AttributeError), match="predict_proba"):
        MMDWeightedEnsemble(learner).fit(X, y, sample_domain=domain).predict(X_test)
    with pytest.raises(TypeError, match="predict_proba"):
        SAFEW(learner).fit(X, y, sample_domain=domain)
    hinge = SAFEW(learner, loss="hinge").fit(X, y, sample_domain=domain)
    assert set(hinge.predict(X_test)) <= {0, 1}


@pytest.mark.parametrize(
    "learner", [LinearSVC(dual=False), SVC(), Perceptron(), VOTES[0]], ids=str
)
def test_interpolation_prefers_the_source_that_is_like_the_target(learner):
    X, y, domain, X_test, y_test = draw(3, seed=1)
    other, y_other, domain_other, _, _ = draw(3, kind="harmful", seed=1)
    X = np.vstack([X, other[domain_other > 0]])
    y = np.concatenate([y, y_other[domain_other > 0]])
    domain = np.concatenate([domain, np.full(len(y) - len(domain), 2)])
    model = LinearInterpolation(learner).fit(X, y, sample_domain=domain)
    shares = model.source_weights_
    assert shares[0] > shares[1] + 0.2
    alone = clone(learner).fit(X[domain < 0], y[domain < 0])
    assert model.score(X_test, y_test) > alone.score(X_test, y_test) - 0.02
