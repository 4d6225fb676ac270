"""Fine-tuning: what is trained, how fast, held where, and along which path."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from sktransfer.deep import (
    MLP,
    FineTuning,
    FineTuningRegressor,
    OTCEFineTuning,
    StartPointPenalty,
    TargetOnlyNet,
    TargetOnlyNetRegressor,
)
from sktransfer.deep._fine_tuning import blocks_of
from sktransfer.hypothesis import SecureRLS, TransferChain

SETTINGS = {"max_steps": 12, "lr": 0.02, "random_state": 0, "standardize": False}


@pytest.fixture
def rows():
    """Return a far source 3, a bridge 1, and a target."""
    rng = np.random.RandomState(0)
    domain = np.repeat([3, 1, -1], [40, 40, 12])
    shift = np.select([domain == 3, domain == 1], [4.0, 2.0], 0.0)
    X = rng.normal(size=(92, 3)) + shift[:, None]
    y = (X[:, 0] - shift + 0.5 * rng.normal(size=92) > 0).astype(int)
    return X, y, domain


def _fit(rows, cls=FineTuning, **params):
    X, y, domain = rows
    if cls is FineTuningRegressor:
        y = y + X[:, 1]
    return cls(**SETTINGS | params).fit(X, y, sample_domain=domain)


def _weights(net, part="extractor"):
    return [p.detach().clone() for p in getattr(net.module_, part).parameters()]


def _same(left, right):
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize(
    ("cls", "alone"),
    [(FineTuning, TargetOnlyNet), (FineTuningRegressor, TargetOnlyNetRegressor)],
)
def test_no_source_is_the_net_of_the_target(rows, cls, alone):
    X, y = (part[rows[2] < 0] for part in rows[:2])
    hold = [StartPointPenalty(1e6)]
    net = cls(trainable="head", path="auto", penalties=hold, **SETTINGS).fit(X, y)
    assert_array_equal(net.predict(X), alone(**SETTINGS).fit(X, y).predict(X))
    assert net.path_ == [] and net.sample_weight_.shape == (0,)


def test_it_is_otce_fine_tuning_without_step_1(rows):
    X = rows[0]
    for keep_head in True, False:
        plain = _fit(rows, keep_head=keep_head)
        otce = _fit(rows, OTCEFineTuning, otce_epochs=0, keep_head=keep_head)
        assert_array_equal(plain.predict_proba(X), otce.predict_proba(X))
    moved = _fit(rows, OTCEFineTuning, otce_epochs=2, keep_head=True, trainable=1)
    assert moved.task_difference_path_.shape == (2,)


def test_a_ratio_of_0_is_a_linear_probe(rows):
    source = _source(rows)
    for params in {"lr_ratio": 0}, {"trainable": "head"}, {"trainable": 0}:
        net = _fit(rows, **params)
        assert _same(_weights(net), source)
        assert not _same(_weights(net, "head"), _weights(_fit(rows), "head"))
        assert_array_equal(
            net.predict_proba(rows[0]), _fit(rows, lr_ratio=0).predict_proba(rows[0])
        )


def _source(rows):
    """Return the weights of the extractor before the fine-tuning."""
    return _weights(_fit(rows, trainable="head"))


def test_a_strong_hold_freezes(rows):
    source, gaps = _source(rows), []
    for weight in 0.0, 1.0, 1e6:
        net = _fit(rows, penalties=[StartPointPenalty(weight)], max_steps=40,
                   source_epochs=12)  # fmt: skip
        start = _weights(_fit(rows, trainable="head", source_epochs=12))
        pairs = zip(_weights(net), start, strict=True)
        gaps.append(max((a - b).abs().max().item() for a, b in pairs))
    assert gaps[2] < 0.05 * gaps[0] and gaps[2] < gaps[1] < gaps[0]
    assert not _same(_weights(_fit(rows)), source)


def test_the_extractor_learns_more_slowly(rows):
    source, gaps = _source(rows), []
    for ratio in 0.01, 1.0:
        pairs = zip(_weights(_fit(rows, lr_ratio=ratio)), source, strict=True)
        gaps.append(max((a - b).abs().max().item() for a, b in pairs))
    assert 0 < gaps[0] < 0.02 * gaps[1]
    groups = _fit(rows, lr_ratio=0.5).net_.optimizer_.param_groups
    assert sorted(group["lr"] for group in groups) == [0.01, 0.02]


def test_the_first_blocks_are_frozen_with_their_statistics(rows):
    module = nn.Sequential(
        nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5)), nn.ReLU(), nn.Linear(5, 4)
    )
    assert blocks_of(module) == ["0", "2"]
    assert blocks_of(MLP(3)) == ["layers.1", "layers.3"]
    assert blocks_of(nn.Sequential(nn.Linear(3, 2), nn.ReLU())) == ["0"]
    assert blocks_of(nn.Identity()) == []
    whole = _fit(rows, module=module)
    some = _fit(rows, module=module, trainable=1)
    probe = _fit(rows, module=module, trainable="head")
    for net, kept in (whole, 0), (some, 1), (probe, 2):
        first, last = (
            _same(
                net.module_.extractor[i].state_dict().values(),
                probe.module_.extractor[i].state_dict().values(),
            )
            for i in (0, 2)
        )
        assert (first, last) == (kept > 0, kept > 1)
    every = _fit(rows, module=module, trainable=2)
    assert_array_equal(every.predict_proba(rows[0]), whole.predict_proba(rows[0]))
    with pytest.raises(ValueError, match="trainable=3, but the module has 2 blocks"):
        _fit(rows, module=module, trainable=3)


def test_adapters_and_a_module_that_is_trained_already(rows):
    X, y, domain = rows
    net = _fit(rows, trainable="adapter", adapter_rank=2)
    trained = [
        n for n, p in net.module_.extractor.named_parameters() if p.requires_grad
    ]
    assert len(trained) == 4
    module, own = MLP(3, hidden_units=(4,)).double(), domain < 0
    for fitted in (
        _fit(rows, module=module, source_epochs=0, trainable="head"),
        FineTuning(module, source_epochs=0, trainable="head", **SETTINGS).fit(
            X[own], y[own]
        ),
    ):
        assert _same(_weights(fitted), list(module.parameters()))


def test_a_path_goes_over_bridges_and_its_order_matters(rows):
    X, y, domain = rows
    far = _fit(rows, path=[3, 1])
    assert far.path_ == [3, 1] and far.distances_ == {}
    auto = _fit(rows, path="auto")
    assert auto.path_ == [3, 1] and auto.distances_[3] > auto.distances_[1]
    assert_array_equal(auto.predict_proba(X), far.predict_proba(X))
    back = _fit(rows, path=[1, 3])
    assert abs(back.predict_proba(X) - far.predict_proba(X)).max() > 1e-3
    chain = TransferChain(SecureRLS()).fit(X, X[:, 0], sample_domain=domain)
    assert chain.path_ == auto.path_  # nets take the order of other chains
    assert chain.distances_ == auto.distances_
    # a source that the path lacks is not there
    short = _fit(rows, path=[1])
    part = domain != 3
    single = _fit((X[part], y[part], domain[part]))
    assert_allclose(short.predict_proba(X), single.predict_proba(X), rtol=1e-10)
    assert_array_equal(short.sample_weight_ > 0, domain[domain > 0] == 1)
    weight = np.where(part, 2.0, 0.0)  # weight 0 leaves out, too
    none = FineTuning(path="auto", **SETTINGS)
    none.fit(X, y, sample_domain=domain, sample_weight=weight)
    assert none.path_ == [1]
    assert_allclose(none.predict_proba(X), single.predict_proba(X), rtol=1e-10)
    one = _fit((X[part], y[part], domain[part]), path="auto")
    assert_array_equal(one.predict_proba(X), single.predict_proba(X))


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"path": [3, 5]}, r"path=\[3, 5\] must name sources of sample_domain"),
        ({"path": [3, 3]}, "each once"),
        ({"path": ["a"]}, "path must hold ids"),
        ({"trainable": "head", "lr_ratio": 0.1}, "lr_ratio=0.1 has no effect"),
        ({"trainable": "adapter", "lr_ratio": 0}, "would train no adapter"),
        (
            {"lr_ratio": 0.1, "optimizer__param_groups": [("head*", {"lr": 1.0})]},
            "both set rates",
        ),
        ({"trainable": "some"}, "'trainable' parameter"),
    ],
)
def test_what_contradicts_itself_is_refused(rows, params, match):
    with pytest.raises(ValueError, match=match):
        _fit(rows, **params)


def test_partial_fit_goes_on_with_the_target(rows):
    X, y, domain = rows
    net = FineTuning(trainable=1, path="auto", **SETTINGS)
    for _ in range(2):
        net.partial_fit(X, y, sample_domain=domain)
    assert _same(_weights(net)[:2], _weights(_fit(rows, trainable=1, path="auto"))[:2])


def test_a_path_without_training_on_sources_is_refused(rows):
    with pytest.raises(ValueError, match="source_epochs=0"):
        _fit(rows, module=MLP(2), source_epochs=0, path="auto")


def test_an_extractor_that_is_trained_already_must_be_given(rows):
    with pytest.raises(ValueError, match="source_epochs=0 takes module as"):
        _fit(rows, source_epochs=0)
