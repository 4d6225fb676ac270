"""Gradual self-training and DASVM."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import SVC, LinearSVC

from sktransfer.baselines import Pooled, SourceOnly
from sktransfer.pseudo_label import DASVM, GradualSelfTraining, SelfTraining

LEARNER = LogisticRegression()


def turning(rng, n=400, angle=np.pi * 0.6):
    """Two clusters that turn while time passes."""
    time = np.r_[np.zeros(100), np.linspace(0.01, 1, n)]
    y = np.arange(100 + n) % 2
    center = np.c_[np.cos(time * angle), np.sin(time * angle)] * (2 * y - 1)[:, None]
    X = 2 * center + 0.5 * rng.normal(size=(100 + n, 2))
    domain = np.where(time > 0, -1, 1)
    return X, np.where(time > 0, np.nan, y), domain, time, y


def test_small_steps_reach_a_target_that_one_step_misses(rng):
    X, labels, domain, time, y = turning(rng)
    late = time > 0.85
    model = GradualSelfTraining(LEARNER, n_steps=8)
    model.fit(X, labels, sample_domain=domain, order=time)
    source = SourceOnly(LEARNER).fit(X, labels, sample_domain=domain)
    assert model.score(X[late], y[late]) > 0.95
    assert source.score(X[late], y[late]) < 0.5
    assert_array_equal(np.bincount(model.part_), [50] * 8)
    assert (np.diff(model.part_[np.argsort(time[domain < 0])]) >= 0).all()
    assert (model.pseudo_labels_ == y[domain < 0]).mean() > 0.95
    assert 0.85 < model.pseudo_weight_.mean() < 0.95


def test_without_an_order_the_domains_give_one(rng):
    X, labels, domain, time, _ = turning(rng, angle=0.0)
    X[:, 1] += 6 * time
    model = GradualSelfTraining(LEARNER, n_steps=4)
    model.fit(X, labels, sample_domain=domain)
    assert np.corrcoef(model.part_, time[domain < 0])[0, 1] > 0.9


def test_one_step_that_keeps_all_is_a_round_of_self_training(rng):
    X, labels, domain, _, _ = turning(rng, n=100)
    model = GradualSelfTraining(LEARNER, n_steps=1, keep=1.0)
    model.fit(X, labels, sample_domain=domain)
    other = SelfTraining(LEARNER, n_rounds=1, fade_sources=True)
    other.fit(X, labels, sample_domain=domain)
    assert_allclose(model.estimator_.coef_, other.estimator_.coef_)


def test_a_class_that_a_part_lacks_stays(rng):
    X, labels, domain, time, y = turning(rng, n=200)
    sorted_target = np.argsort(np.where(domain < 0, y, -1), kind="stable")[100:]
    order = np.zeros(len(y))
    order[sorted_target] = np.arange(200)  # first all of class 0, then those of class 1
    model = GradualSelfTraining(LEARNER, n_steps=4)
    model.fit(X, labels, sample_domain=domain, order=order)
    assert model.classes_.tolist() == [0, 1]
    assert len(time) == len(order)


def test_equal_places_are_one_part(rng):
    X, labels, domain, _, _ = turning(rng, n=60)
    model = GradualSelfTraining(LEARNER, n_steps=3)
    model.fit(X, labels, sample_domain=domain, order=np.zeros(160))
    assert (model.part_ == 0).all()


def test_order_must_be_a_number_where_it_counts(rng):
    X, labels, domain, time, _ = turning(rng, n=60)
    model = GradualSelfTraining(LEARNER)
    with pytest.raises(ValueError, match=r"order has shape \(3,\)"):
        model.fit(X, labels, sample_domain=domain, order=[1.0, 2.0, 3.0])
    missing = np.where(domain > 0, np.nan, time)
    model.fit(X, labels, sample_domain=domain, order=missing)
    missing[-1] = np.nan
    with pytest.raises(ValueError, match="order must be a number"):
        model.fit(X, labels, sample_domain=domain, order=missing)


def shifted(rng, n_classes=2, shift=1.2):
    y = np.arange(240) % n_classes
    angle = 2 * np.pi * y / n_classes
    X = 0.5 * rng.normal(size=(240, 2)) + 2 * np.c_[np.cos(angle), np.sin(angle)]
    X[120:] += shift
    domain = np.repeat([1, -1], 120)
    return X, np.r_[y[:120], np.full(120, np.nan)], domain, y


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_last_machine_has_seen_the_target_alone(n_classes, rng):
    X, labels, domain, y = shifted(rng, n_classes, shift=0.0)
    angle = 1.0 if n_classes == 2 else 0.7
    turn = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    X[120:] = X[120:] @ turn
    model = DASVM(SVC(kernel="linear"), n_rounds=6)
    model.fit(X, labels, sample_domain=domain)
    source = SourceOnly(SVC(kernel="linear")).fit(X, labels, sample_domain=domain)
    assert model.score(X[120:], y[120:]) > source.score(X[120:], y[120:])
    assert (np.diff(model.n_sources_left_) < 0).all()
    assert model.n_sources_left_[-1] == 0
    assert (model.pseudo_weight_ == 1).all()
    alone = SVC(kernel="linear").fit(X[120:], model.pseudo_labels_)
    assert_array_equal(alone.predict(X), model.predict(X))


def test_the_first_labels_are_next_to_the_margin(rng):
    X, labels, domain, _ = shifted(rng)
    source = LinearSVC(dual=False).fit(X[:120], labels[:120])
    model = DASVM(LinearSVC(dual=False), n_rounds=4)
    model.fit(X, labels, sample_domain=domain)
    one = DASVM(LinearSVC(dual=False), n_rounds=4)
    one._n_rounds = lambda: 1
    one.fit(X, labels, sample_domain=domain)
    margin = source.decision_function(X[120:])
    for side in (-1, 1):
        rows = np.flatnonzero(np.sign(margin) == side)
        distance = np.abs(np.abs(margin[rows]) - 1)
        first = rows[np.argsort(distance)[: int(np.ceil(len(rows) / 4))]]
        assert set(np.flatnonzero(one.pseudo_weight_)) & set(rows) == set(first)
    left = one.n_sources_left_[0]
    assert left == 120 - 2 * 15


def test_given_labels_stay_and_no_unlabeled_ones_are_pooled(rng):
    X, _, domain, y = shifted(rng)
    learner = LinearSVC(dual=False)
    model = DASVM(learner).fit(X, y, sample_domain=domain)
    pooled = Pooled(learner).fit(X, y, sample_domain=domain)
    assert_allclose(model.estimator_.coef_, pooled.estimator_.coef_)


def test_machines_without_a_margin_are_refused(rng):
    X, labels, domain, _ = shifted(rng)
    with pytest.raises(TypeError, match="no decision_function"):
        DASVM(GaussianNB()).fit(X, labels, sample_domain=domain)
