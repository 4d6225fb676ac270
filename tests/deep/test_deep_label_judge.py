"""Source labels that a net of the target alone agrees with."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import softmax

from sktransfer.deep import (
    DANN,
    TransferNetClassifier,
    TransferNetRegressor,
)

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
    assert_allclose(net._judge.shift_, X[labeled].mean(axis=0))
    *_, outputs = net._judge._infer(X[source])
    proba = softmax(outputs, axis=1)
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


def test_later_calls_ask_the_first_judge(rows):
    X, y, domain = rows
    net = TransferNetClassifier(gate=True, **SETTINGS)
    net.partial_fit(X, y, sample_domain=domain)
    judge = net._judge
    few = np.r_[0:50, 60:120]
    net = pickle.loads(pickle.dumps(net.partial_fit(X, y, sample_domain=domain)))
    net.partial_fit(X[few], y[few], sample_domain=domain[few])
    assert len(net.sample_weight_) == 50
    heads = judge.module_.head, net._judge.module_.head
    assert torch.equal(*[head.weight for head in heads])
    net.set_params(agreement=False).partial_fit(X, y, sample_domain=domain)
    assert net._agreement(None) is None


def test_a_first_call_without_labels_or_sources_leaves_the_judge_to_the_next(rows):
    X, y, domain = rows
    target = domain < 0
    for first in (target, ~(target & ~np.isnan(y))):
        net = TransferNetClassifier(gate=True, **SETTINGS)
        net.partial_fit(
            X[first], y[first], sample_domain=domain[first], classes=[0, 1, 2]
        )
        assert net._judge is None
        net.partial_fit(X, y, sample_domain=domain)
        assert len(net._judge.history_["loss"])
