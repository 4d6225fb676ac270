"""Boosting over domains: the limits, the published updates, and the known failures."""

from typing import ClassVar

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import AdaBoostClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from sktransfer.exceptions import CollapsedWeightsWarning, UnlabeledTargetError
from sktransfer.instance import (
    MultiSourceTrAdaBoost,
    MultiSourceTrAdaBoostR2,
    TaskTrAdaBoost,
    TaskTrAdaBoostR2,
    TrAdaBoost,
    TrAdaBoostR2,
    TwoStageTrAdaBoostR2,
)
from sktransfer.instance._boosting import weighted_median
from sktransfer.instance._two_stage import lower_sources

STUMP = DecisionTreeClassifier(max_depth=1)
TREE = DecisionTreeRegressor(max_depth=3)
CLASSIFIERS = [TrAdaBoost, MultiSourceTrAdaBoost, TaskTrAdaBoost]
REGRESSORS = [
    TrAdaBoostR2,
    TwoStageTrAdaBoostR2,
    MultiSourceTrAdaBoostR2,
    TaskTrAdaBoostR2,
]


def problem(rng, *, n_source=(60, 50), n_target=30, n_classes=2, flipped=()):
    """Draw noisy classes of a plane; sources in ``flipped`` have wrong ones."""
    domain = np.repeat([*range(1, len(n_source) + 1), -1], [*n_source, n_target])
    X = rng.normal(size=(len(domain), 3))
    score = X[:, 0] + 0.7 * X[:, 1] + 0.5 * rng.normal(size=len(X))
    y = np.digitize(score, np.linspace(-1, 1, n_classes + 1)[1:-1])
    for source in flipped:
        y[domain == source] = (y[domain == source] + 1) % n_classes
    return X, y, domain


def curve(rng, *, n_source=(60, 50), n_target=30, offsets=(0.0, 0.0)):
    domain = np.repeat([1, 2, -1], [*n_source, n_target])
    X = rng.uniform(-2, 2, size=(len(domain), 1))
    y = np.sin(2 * X[:, 0]) + 0.1 * rng.normal(size=len(X))
    for source, offset in zip((1, 2), offsets, strict=True):
        y[domain == source] += offset
    return X, y, domain


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_without_sources_it_is_adaboost(cls, n_classes, rng):
    X, y, _ = problem(rng, n_source=(), n_target=120, n_classes=n_classes)
    X_test = rng.normal(size=(200, 3))
    names = np.array(["a", "b", "c"])[y]
    ours = cls(STUMP, n_estimators=15, learning_rate=0.8, random_state=3)
    ours = ours.fit(X, names)
    theirs = AdaBoostClassifier(
        STUMP, n_estimators=15, learning_rate=0.8, random_state=3
    ).fit(X, names)
    assert_allclose(ours.estimator_weights_, theirs.estimator_weights_[:15])
    assert_allclose(ours.target_errors_, theirs.estimator_errors_[:15], atol=1e-12)
    assert_array_equal(ours.predict(X_test), theirs.predict(X_test))
    assert_allclose(ours.predict_proba(X_test), theirs.predict_proba(X_test))
    assert_allclose(ours.decision_function(X_test), theirs.decision_function(X_test))


def test_perfect_learner_ends_adaboost_at_once(rng):
    X, y, _ = problem(rng, n_source=(), n_target=40)
    model = TrAdaBoost(DecisionTreeClassifier(), n_estimators=5).fit(X, y)
    assert len(model.estimators_) == 1
    assert model.score(X, y) == 1.0


@pytest.mark.parametrize("n_classes", [2, 3])
def test_weights_are_those_of_the_paper(n_classes, rng):
    X, y, domain = problem(rng, n_source=(60,), n_classes=n_classes, flipped=[1])
    model = TrAdaBoost(STUMP, n_estimators=6).fit(X, y, sample_domain=domain)
    target, weights = domain < 0, np.ones(len(y)) / len(y)
    down = 1 / (1 + np.sqrt(2 * np.log(60) / 6))
    for number in range(6):
        tree = DecisionTreeClassifier(max_depth=1)
        tree.random_state = model.estimators_[number].random_state
        tree.fit(X, y, sample_weight=weights / weights.mean())
        wrong = tree.predict(X) != y
        error = weights[target & wrong].sum() / weights[target].sum()
        assert model.target_errors_[number] == pytest.approx(error)
        assert model.source_mass_[number] == pytest.approx(weights[~target].sum())
        if number == 5:
            assert_allclose(model.sample_weight_, weights[~target])
        vote = 0.0
        if error < 1 - 1 / n_classes:
            vote = np.log((1 - error) / error) + np.log(n_classes - 1)
        if number >= 2:  # of six rounds the third and later ones vote
            assert model.estimator_weights_[number] == pytest.approx(vote)
        weights[target & wrong] *= np.exp(vote)
        weights[~target & wrong] *= down
        weights /= weights.sum()
    assert (model.estimator_weights_[:2] == 0).all()


def test_r2_weights_are_those_of_the_paper(rng):
    X, y, domain = curve(rng, offsets=(2.0, 0.0))
    model = TrAdaBoostR2(TREE, n_estimators=5, loss="square", voting="all")
    model.fit(X, y, sample_domain=domain)
    target, weights = domain < 0, np.ones(len(y)) / len(y)
    n_source = int((~target).sum())
    down = 1 / (1 + np.sqrt(2 * np.log(n_source) / 5))
    predictions, votes = [], []
    for number in range(5):
        tree = DecisionTreeRegressor(max_depth=3)
        tree.random_state = model.estimators_[number].random_state
        tree.fit(X, y, sample_weight=weights / weights.mean())
        error = np.abs(tree.predict(X) - y)
        error = (error / error.max()) ** 2
        mean = weights[target] @ error[target] / weights[target].sum()
        assert model.target_errors_[number] == pytest.approx(mean)
        beta = mean / (1 - mean)
        votes.append(np.log(1 / beta))
        predictions.append(tree.predict(X))
        weights[target] *= beta ** -error[target]
        weights[~target] *= down ** error[~target]
        weights /= weights.sum()
    assert_allclose(model.estimator_weights_, votes)
    expected = weighted_median(np.column_stack(predictions), np.array(votes))
    assert_allclose(model.predict(X), expected)


def test_weighted_median():
    values = np.array([[3.0, 1.0, 2.0], [5.0, 5.0, 0.0]])
    assert_allclose(weighted_median(values, np.array([1.0, 1.0, 1.0])), [2.0, 5.0])
    assert_allclose(weighted_median(values, np.array([5.0, 1.0, 1.0])), [3.0, 5.0])


@pytest.mark.parametrize("cls", [TrAdaBoost, MultiSourceTrAdaBoost])
def test_a_flipped_source_ends_below_a_clean_one(cls, rng):
    X, y, domain = problem(rng, n_source=(60, 60), flipped=[1])
    model = cls(STUMP, n_estimators=20).fit(X, y, sample_domain=domain)
    flipped, clean = model.sample_weight_[:60].sum(), model.sample_weight_[60:].sum()
    assert flipped < 0.95 * clean
    if cls is MultiSourceTrAdaBoost:
        assert model.chosen_sources_.count(2) > model.chosen_sources_.count(1)


@pytest.mark.parametrize("cls", [TrAdaBoost, TrAdaBoostR2])
def test_source_weights_never_rise_and_target_weights_never_fall(cls, rng):
    draw, learner = (problem, STUMP) if cls is TrAdaBoost else (curve, TREE)
    X, y, domain = draw(rng)
    before = None
    for n_rounds in range(1, 6):
        # the step depends on the number of rounds, so compare ratios to the largest
        model = cls(learner, n_estimators=n_rounds)
        model.fit(X, y, sample_domain=domain)
        masses = model.source_mass_
        assert (np.diff(masses) <= 1e-12).all()
        before = masses if before is None else before
        assert masses[0] == pytest.approx(before[0])


def test_names_and_order_of_sources_do_not_matter(rng):
    X, y, domain = problem(rng, flipped=[1])
    renamed = np.where(domain == 1, 9, np.where(domain == 2, 4, -1))
    forest = RandomForestClassifier(2, max_depth=2, random_state=0)
    for learner in (STUMP, forest):
        first = MultiSourceTrAdaBoost(learner, n_estimators=6)
        second = MultiSourceTrAdaBoost(learner, n_estimators=6)
        first.fit(X, y, sample_domain=domain)
        second.fit(X, y, sample_domain=renamed)
        assert_allclose(first.sample_weight_, second.sample_weight_)
        names = {1: 9, 2: 4}
        assert [names[k] for k in first.chosen_sources_] == second.chosen_sources_
    pools = [TaskTrAdaBoost(forest, n_estimators=4) for _ in range(2)]
    for model, ids in zip(pools, (domain, renamed), strict=True):
        model.fit(X, y, sample_domain=ids)
    assert_array_equal(pools[0].predict(X), pools[1].predict(X))
    assert_allclose(pools[0].target_errors_, pools[1].target_errors_)


def test_vanished_sources_are_told(rng):
    """A few source samples that contradict the target, and many rounds."""
    domain = np.repeat([1, -1], [8, 60])
    X = rng.normal(size=(68, 3))
    y = (X[:, 0] + X[:, 1] + 0.5 * rng.normal(size=68) > 0).astype(int)
    y[:8] = 1 - (X[:8, 0] + X[:8, 1] > 0)
    model = TrAdaBoost(STUMP, n_estimators=60)
    with pytest.warns(CollapsedWeightsWarning, match="boosted learner of the target"):
        model.fit(X, y, sample_domain=domain)
    voters = np.flatnonzero(model.estimator_weights_)
    assert model.vanished_round_ <= voters[0]
    assert model.source_mass_[model.vanished_round_] < 0.01


def test_a_good_source_helps_a_small_target(rng):
    scores = []
    for _ in range(4):
        X, y, domain = problem(rng, n_source=(200, 200), n_target=8)
        if len(np.unique(y[domain < 0])) < 2:
            continue
        X_test, y_test, _ = problem(rng, n_source=(), n_target=300)
        alone = TrAdaBoost(STUMP, n_estimators=12).fit(X[domain < 0], y[domain < 0])
        row = [alone.score(X_test, y_test)]
        for cls in (MultiSourceTrAdaBoost, TaskTrAdaBoost):
            model = cls(STUMP, n_estimators=12).fit(X, y, sample_domain=domain)
            row.append(model.score(X_test, y_test))
        scores.append(row)
    alone, multi, task = np.mean(scores, axis=0)
    assert multi > alone
    assert task > alone


def test_a_perfect_weak_learner_of_a_source_is_taken_at_once(rng):
    X = np.tile(np.linspace(-1, 1, 40), 2)[:, None]
    y = np.r_[X[:40, 0] > 0.3, X[40:, 0] > 0.3].astype(int)
    domain = np.repeat([1, -1], 40)
    model = TaskTrAdaBoost(STUMP, n_estimators=10).fit(X, y, sample_domain=domain)
    assert len(model.estimators_) == 1
    assert model.score(X, y) == 1.0


def test_of_two_classes_a_wrong_model_is_negated(rng):
    X = rng.normal(size=(50, 1))
    y = (X[:, 0] > 0).astype(int)
    opposite = LogisticRegression().fit(X, 1 - y)
    model = TaskTrAdaBoost(STUMP, source_models=opposite).fit(X[:4], y[:4])
    assert model.score(X, y) > 0.9
    assert model.pool_size_ == 1
    assert model.without_sources().source_models is None


class Counted(ClassifierMixin, BaseEstimator):
    """A stump that keeps what was asked of all such stumps."""

    calls: ClassVar[list] = []

    def fit(self, X, y, sample_weight=None):
        self.calls.append(("fit", len(X)))
        self.model_ = clone(STUMP).fit(X, y, sample_weight=sample_weight)
        self.classes_ = self.model_.classes_
        return self

    def predict(self, X):
        self.calls.append(("predict", len(X)))
        return self.model_.predict(X)


@pytest.mark.parametrize("n_estimators", [2, 8])
def test_cost_does_not_depend_on_the_sources_after_phase_one(n_estimators, rng):
    """Each model of the pool predicts the target's samples once, and no source's."""
    for n_source in ((61, 47), (610, 470)):
        X, y, domain = problem(rng, n_source=n_source, n_target=30)
        Counted.calls.clear()
        model = TaskTrAdaBoost(Counted(), n_estimators=n_estimators)
        model.fit(X, y, sample_domain=domain)
        calls = Counted.calls
        start = calls.index(("predict", 30))
        assert {size for _, size in calls[:start]} == set(n_source)
        assert calls[start:] == [("predict", 30)] * model.pool_size_
        # in phase one each source is fitted and predicted once in a round at most
        assert start <= 2 * 2 * n_estimators


def test_one_labeled_target_sample_is_enough_for_the_pool(rng):
    X, y, domain = problem(rng, n_target=1)
    model = TaskTrAdaBoost(STUMP, n_estimators=5).fit(X, y, sample_domain=domain)
    assert len(model.classes_) == 2
    assert model.predict(X).shape == y.shape


def test_pool_may_be_empty(rng):
    X, y, domain = problem(rng)
    with pytest.raises(ValueError, match="min_vote=100 leaves no weak learner"):
        TaskTrAdaBoost(STUMP, min_vote=100).fit(X, y, sample_domain=domain)


@pytest.mark.parametrize("offset", [0.0, 5.0])
def test_two_stages_find_how_much_the_source_counts(offset, rng):
    X, y, domain = curve(rng, n_source=(80, 80), n_target=20, offsets=(offset,) * 2)
    model = TwoStageTrAdaBoostR2(TREE, n_estimators=8, n_steps=4, cv=4)
    model.fit(X, y, sample_domain=domain)
    assert model.cv_errors_.shape == (4,)
    assert model.best_step_ == np.argmin(model.cv_errors_)
    assert (model.best_step_ == 3) == (offset == 5.0)
    assert (model.vanished_round_ is None) == (offset == 0.0)
    X_test = np.linspace(-2, 2, 100)[:, None]
    truth = np.sin(2 * X_test[:, 0])
    if offset == 0:
        alone = TwoStageTrAdaBoostR2(TREE, n_estimators=8)
        alone.fit(X[domain < 0], y[domain < 0])
        error = np.mean((model.predict(X_test) - truth) ** 2)
        assert error < np.mean((alone.predict(X_test) - truth) ** 2)


def test_the_target_gets_its_share_of_the_weight(rng):
    target = np.arange(30) >= 20
    weights, errors = np.full(30, 1 / 30), rng.uniform(size=30)
    for share in (0.4, 0.7, 0.99):
        lowered = lower_sources(weights, errors, target, share)
        assert lowered[target].sum() / lowered.sum() == pytest.approx(share)
        assert_allclose(lowered[target], weights[target])
        ratio = np.log(lowered[~target] * 30) / errors[~target]
        assert_allclose(ratio, ratio[0], rtol=1e-6)
    errors[:5] = 0.0  # perfect samples
    lowered = lower_sources(weights, errors, target, 0.99)
    assert lowered[target].sum() / lowered.sum() == pytest.approx(0.99)


def test_two_stages_keep_units_together(rng):
    X, y, domain = curve(rng, n_source=(20, 20), n_target=12)
    groups = np.r_[np.full(40, -1), np.repeat(np.arange(6), 2)]
    model = TwoStageTrAdaBoostR2(TREE, n_estimators=2, n_steps=2, cv=3)
    model.fit(X, y, sample_domain=domain, groups=groups)
    assert np.isfinite(model.cv_errors_).all()
    one = np.r_[np.full(40, -1), np.zeros(12)]
    model.fit(X, y, sample_domain=domain, groups=one)
    assert np.isnan(model.cv_errors_).all()
    assert model.best_step_ == 0


@pytest.mark.parametrize("cls", CLASSIFIERS + REGRESSORS)
def test_a_weight_counts_samples(cls, rng):
    draw, learner = (problem, STUMP) if cls in CLASSIFIERS else (curve, TREE)
    X, y, domain = draw(rng, n_source=(20, 15), n_target=12)
    counts = np.ones(len(y))
    counts[[1, 2, 25, -1]], counts[[3, 30]] = 2.0, 0.0
    repeated = np.repeat(np.arange(len(y)), counts.astype(int))
    options = {"n_estimators": 3}
    if cls is TwoStageTrAdaBoostR2:
        options["n_steps"] = 1  # folds of repeated samples are others
    with config_context(enable_metadata_routing=True):
        learner = clone(learner).set_fit_request(sample_weight=True)
        weighted = cls(learner, **options).fit(
            X, y, sample_domain=domain, sample_weight=counts
        )
        plain = cls(learner, **options).fit(
            X[repeated], y[repeated], sample_domain=domain[repeated]
        )
    assert_allclose(weighted.predict(X), plain.predict(X), rtol=1e-6)
    assert len(weighted.sample_weight_) == 35
    assert (weighted.sample_weight_[[3, 30]] == 0).all()


@pytest.mark.parametrize("cls", CLASSIFIERS + REGRESSORS)
def test_the_wrong_kind_of_learner_is_named(cls, rng):
    X, y, domain = problem(rng)
    wrong, kind = (
        (Ridge(), "classifier") if cls in CLASSIFIERS else (STUMP, "regressor")
    )
    with pytest.raises(TypeError, match=f"is no {kind}"):
        cls(wrong).fit(X, y, sample_domain=domain)


def test_a_learner_without_weights_is_refused(rng):
    X, y, domain = problem(rng)
    with pytest.raises(TypeError, match="takes no sample_weight"):
        TrAdaBoost(KNeighborsClassifier()).fit(X, y, sample_domain=domain)


def test_labels_of_the_target_are_required(rng):
    X, y, domain = problem(rng)
    y = np.where(domain < 0, np.nan, y)
    with pytest.raises(UnlabeledTargetError):
        TrAdaBoost(STUMP).fit(X, y, sample_domain=domain)


def test_no_probabilities_of_a_regressor():
    assert not hasattr(TrAdaBoostR2(TREE), "predict_proba")
    assert not hasattr(TrAdaBoostR2(TREE), "decision_function")
    assert hasattr(TrAdaBoost(STUMP), "predict_proba")


def test_a_class_that_the_target_lacks_and_one_that_only_it_has(rng):
    X, y, domain = problem(rng, n_classes=3)
    y[(domain < 0) & (y == 2)] = 1
    y[(domain > 0) & (y == 0)] = 1
    model = TrAdaBoost(STUMP, n_estimators=5).fit(X, y, sample_domain=domain)
    assert model.classes_.tolist() == [0, 1, 2]
    assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)
