"""Nets beside a gated one: a judge of source labels, and members of a mean."""

import copy
import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from sktransfer.deep import (
    DANN,
    TransferNetClassifier,
    TransferNetRegressor,
)
from sktransfer.deep._companions import Companions
from sktransfer.deep._trainer import TransferTrainer

SETTINGS = {"max_steps": 30, "lr": 0.01, "random_state": 0}


@pytest.fixture
def rows():
    """Three classes; of the source's labels a third is wrong, the target lacks one."""
    rng = np.random.RandomState(0)
    y = np.arange(120) % 3
    X = rng.normal(size=(120, 3)) + 3 * np.eye(3)[y]
    domain = np.repeat([1, -1], 60)
    given = y.astype(float)
    given[:20] = (given[:20] + 1) % 3
    given[(domain < 0) & (y == 2)] = np.nan
    given[100:] = np.nan
    return X, given, domain


def test_weights_are_the_probabilities_of_a_net_of_the_target(rows):
    X, y, domain = rows
    net = TransferNetClassifier(agreement=True, **SETTINGS)
    net.fit(X, y, sample_domain=domain)
    source, labeled = domain > 0, (domain < 0) & ~np.isnan(y)
    assert_array_equal(np.unique(y[labeled]), [0, 1])
    # scaled and trained by its own rows alone
    assert_allclose(net._companions.alone.shift_, X[labeled].mean(axis=0))
    proba = softmax(net._companions.alone._outputs(X[source]), axis=1)
    own = np.maximum(proba[np.arange(60), y[source].astype(int)], 1e-3)
    lacked = y[source] == 2
    expected = np.where(lacked, own[~lacked].mean(), own)
    assert_allclose(net.sample_weight_, expected)
    right = (np.arange(60) >= 20) & ~lacked
    weight = net.sample_weight_
    assert weight[right].mean() > 2 * weight[(np.arange(60) < 20) & ~lacked].mean()


def test_it_multiplies_the_gate_and_the_weights_of_the_rows(rows):
    X, y, domain = rows
    own = np.ones(120)
    own[40:45] = 0
    options = {"sample_domain": domain, "sample_weight": own}
    alone = TransferNetClassifier(agreement=True, **SETTINGS).fit(X, y, **options)
    given = TransferNetClassifier(**SETTINGS)
    given.fit(X, y, sample_domain=domain, sample_weight=np.r_[
        alone.sample_weight_, np.ones(60)])  # fmt: skip
    assert_allclose(alone.predict_proba(X), given.predict_proba(X), atol=1e-6)
    gated = DANN(gate=True, **SETTINGS).fit(X, y, **options)
    weights = alone.sample_weight_, gated.sample_weight_
    assert not np.any([w[40:45] for w in weights])
    assert np.abs(weights[0] - weights[1]).max() > 0.05


def test_where_nothing_can_be_judged_weights_stay(rows):
    X, y, domain = rows
    nothing = np.where(domain < 0, np.nan, y)
    one_class = np.where((domain < 0) & (y != 0), np.nan, y)
    for labels in nothing, one_class:
        fits = [
            TransferNetClassifier(agreement=agreement, **SETTINGS)
            .fit(X, labels, sample_domain=domain)
            .predict_proba(X)
            for agreement in (True, False)
        ]
        assert_array_equal(*fits)
    target = domain < 0
    alone = TransferNetClassifier(agreement=True, gate=True, **SETTINGS)
    alone.fit(X[target], y[target], sample_domain=domain[target])
    assert len(alone.sample_weight_) == 0
    with pytest.raises(ValueError, match="agreement=True judges classes"):
        TransferNetRegressor(agreement=True).fit(X, X[:, 0], sample_domain=domain)


def test_later_calls_train_the_companions_on(rows):
    X, y, domain = rows
    net = TransferNetClassifier(gate=True, **SETTINGS)
    net.partial_fit(X, y, sample_domain=domain)
    companions = net._companions
    alone, ungated = companions.alone, companions.ungated
    # what judges has to be trained by the first epoch, the other keeps step
    assert len(alone.history_["loss"]) > len(ungated.history_["loss"]) == 1
    heads = [copy.deepcopy(part.module_.head.weight) for part in (alone, ungated)]
    few = np.r_[0:50, 60:120]
    net = pickle.loads(pickle.dumps(net))
    net.partial_fit(X[few], y[few], sample_domain=domain[few])
    assert len(net.sample_weight_) == 50
    after = net._companions.alone, net._companions.ungated
    for head, part in zip(heads, after, strict=True):
        assert not torch.equal(head, part.module_.head.weight)
    # without labels of the target in a call they stay as they are
    none = np.where(domain < 0, np.nan, y)
    before = after[0].module_.head.weight.clone()
    net.partial_fit(X, none, sample_domain=domain)
    assert torch.equal(before, net._companions.alone.module_.head.weight)
    net.set_params(agreement=False, ensemble=False)
    net.partial_fit(X, y, sample_domain=domain)
    assert net._companions.alone is net._companions.ungated is None
    with pytest.raises(ValueError, match="gate=False cannot follow"):
        net.set_params(gate=False).partial_fit(X, y, sample_domain=domain)


def test_a_first_call_without_labels_or_sources_leaves_companions_to_the_next(rows):
    X, y, domain = rows
    target = domain < 0
    for first in (target, ~(target & ~np.isnan(y))):
        net = TransferNetClassifier(gate=True, **SETTINGS)
        net.partial_fit(
            X[first], y[first], sample_domain=domain[first], classes=[0, 1, 2]
        )
        assert not net._companions.in_mean
        net.partial_fit(X, y, sample_domain=domain)
        assert len(net._companions.alone.history_["loss"])
        assert net._companions.in_mean


def test_predictions_are_means_of_probabilities(rows):
    X, y, domain = rows
    net = TransferNetClassifier(gate=True, **SETTINGS).fit(X, y, sample_domain=domain)
    companions, weights = net._companions, net.ensemble_weights_
    assert weights[0] == pytest.approx(1 / 3)
    assert weights.sum() == pytest.approx(1)
    own = softmax(net._outputs(X), axis=1)
    ungated = companions.ungated.predict_proba(X)
    # two classes have labels in the target: the third gets what the others give it
    alone = np.average([own, ungated], axis=0, weights=weights[[0, 2]])
    of_alone = softmax(companions.alone._outputs(X)[:, :2], axis=1)
    alone[:, :2] = of_alone * alone[:, :2].sum(axis=1, keepdims=True)
    expected = np.average([own, alone, ungated], axis=0, weights=weights)
    assert_allclose(net.predict_proba(X), expected, rtol=1e-5)
    assert_allclose(np.exp(net.predict_log_proba(X)), expected, rtol=1e-5)
    assert_array_equal(net.predict(X), expected.argmax(axis=1))
    single = TransferNetClassifier(gate=True, ensemble=False, **SETTINGS)
    single.fit(X, y, sample_domain=domain)
    assert_allclose(single.predict_proba(X), own, rtol=1e-5)
    assert_allclose(net.sample_weight_, single.sample_weight_)
    assert_array_equal(net.transform(X), single.transform(X))
    assert_array_equal(single.ensemble_weights_, [1, 0, 0])


def test_shares_are_penalized_least_squares_on_labels_that_were_held_out(rows):
    X, y, domain = rows
    labels = np.where(domain < 0, np.arange(120) % 3, y)
    net = TransferNetClassifier(
        gate=True, early_stopping=True, validation_fraction=0.4, **SETTINGS
    )
    net.fit(X, labels, sample_domain=domain)
    companions = net._companions
    data = net._validate_domains(X, labels, domain)
    held = net._choose_held_out(data)
    assert held.sum() == 24
    alone, ungated = (
        part.predict_proba(X[held]) for part in (companions.alone, companions.ungated)
    )
    right = np.eye(3)[labels[held].astype(int)]

    def loss(w):
        found = ((w * alone + (1 - w) * ungated - right) ** 2).sum()
        apart = ((alone - ungated) ** 2).sum() / len(right)
        return found + 20 * apart * (w - 0.5) ** 2

    best = minimize_scalar(loss, bounds=(0, 1), method="bounded").x
    assert companions.share == pytest.approx(best, abs=1e-4)
    assert_allclose(net.ensemble_weights_, [1 / 3, best * 2 / 3, (1 - best) * 2 / 3],
                    atol=1e-4)  # fmt: skip


@pytest.mark.parametrize("wrong", ["source", "target"])
def test_folds_tell_which_companion_is_right(wrong):
    rng = np.random.RandomState(0)
    y = np.arange(160) % 2
    X = rng.normal(size=(160, 2)) + 2.0 * np.c_[y, y]
    domain = np.repeat([1, -1], [100, 60])
    given = y.astype(float)
    bad = domain > 0 if wrong == "source" else domain < 0
    if wrong == "source":
        given[bad] = 1 - given[bad]
    else:  # half of few target labels are wrong, which the source makes up for
        given[130:] = np.nan
        given[100:130:3] = 1 - given[100:130:3]
    net = TransferNetClassifier(
        gate=True, agreement=False, max_steps=60, lr=0.02, random_state=0
    )
    net.fit(X, given, sample_domain=domain)
    share = net._companions.share
    assert share > 0.7 if wrong == "source" else share < 0.5
    equal = net.set_params(ensemble="equal").fit(X, given, sample_domain=domain)
    assert_allclose(equal.ensemble_weights_, 1 / 3)


def test_shares_are_equal_where_nothing_can_be_held_out(rows):
    X, y, domain = rows
    labels = np.where(domain < 0, np.nan, y)
    for label in (0, 1):
        labels[np.flatnonzero((domain < 0) & (y == label))[0]] = label
    net = TransferNetClassifier(gate=True, **SETTINGS)
    net.fit(X, labels, sample_domain=domain)
    assert_allclose(net.ensemble_weights_, 1 / 3)
    # and the same in any order of the rows
    order = np.random.RandomState(0).permutation(120)
    a = net.fit(X, y, sample_domain=domain).ensemble_weights_
    b = net.fit(X[order], y[order], sample_domain=domain[order]).ensemble_weights_
    assert_allclose(a, b)


def test_the_ungated_net_has_rows_weights_and_steps_of_the_net(rows):
    X, y, domain = rows
    weight = np.r_[np.ones(60), np.full(60, 2.0)]
    options = {"sample_domain": domain, "sample_weight": weight}
    net = DANN(gate=True, source_weight=0.5, ensemble="equal", **SETTINGS)
    net.fit(X, y, **options)
    ungated = net._companions.ungated
    assert len(ungated.net_.history) == len(net.net_.history)
    settings = SETTINGS | {"random_state": ungated.random_state}
    again = TransferNetClassifier(source_weight=0.5, **settings)
    again.fit(X, y, **options)
    assert_allclose(again.predict_proba(X), ungated.predict_proba(X), atol=1e-6)
    matched = DANN(ensemble=True, **SETTINGS).fit(X, y, **options)
    assert matched.ensemble_weights_[1] > 0


def test_regressors_predict_means_of_labels(rows):
    X, _, domain = rows
    y = X[:, 0] ** 2 + (domain > 0)
    y[100:] = np.nan
    net = TransferNetRegressor(gate=True, **SETTINGS).fit(X, y, sample_domain=domain)
    companions = net._companions
    assert companions.alone.label_shift_ == pytest.approx(y[60:100].mean())
    parts = [net._outputs(X)[:, 0] * net.label_scale_ + net.label_shift_]
    parts += [companions.alone.predict(X), companions.ungated.predict(X)]
    weights = net.ensemble_weights_
    assert_allclose(net.predict(X), np.average(parts, axis=0, weights=weights))
    assert weights[1] != weights[2]
    # the shares do not depend on the unit of the labels
    other = TransferNetRegressor(gate=True, **SETTINGS)
    other.fit(X, 1000 * y, sample_domain=domain)
    assert_allclose(other.ensemble_weights_, weights, rtol=1e-4)
    one = np.where((domain < 0) & (np.arange(120) > 60), np.nan, y)
    single = TransferNetRegressor(gate=True, **SETTINGS)
    single.fit(X, one, sample_domain=domain)
    assert single._companions.alone is None


def test_labels_of_an_earlier_call_are_not_taken_for_unseen(rows, monkeypatch):
    X, y, domain = rows
    folds = []
    monkeypatch.setattr(Companions, "_fold_nets", lambda *_: folds.append(1) or [])
    settings = SETTINGS | {"max_steps": 3, "gate": True, "warm_start": True}
    net = TransferNetClassifier(early_stopping=True, **settings)
    for _ in range(2):  # holds out the same rows
        net.fit(X, y, sample_domain=domain)
    assert folds == []
    net = TransferNetClassifier(early_stopping=False, **settings)
    net.fit(X, y, sample_domain=domain)  # learns all labels
    net.set_params(early_stopping=True).fit(X, y, sample_domain=domain)
    assert len(folds) == 2


def test_ctrl_c_before_the_last_training_ends_the_fit(rows, monkeypatch):
    X, y, domain = rows
    trained = []

    def interrupt(self, batch, **params):
        trained.append(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(TransferTrainer, "train_step", interrupt)
    net = TransferNetClassifier(gate=True, **SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y, sample_domain=domain)
    assert len(trained) == 1
