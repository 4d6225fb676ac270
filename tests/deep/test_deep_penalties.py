"""Penalties of every net, and layers that see the domain of each row."""

import pickle
import re

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from torch import nn

from sktransfer.deep import (
    ADDA,
    DANN,
    MLP,
    AdversarialTraining,
    BatchSpectralPenalization,
    BatchSpectralShrinkage,
    DomainLayer,
    Encoded,
    Penalty,
    SourceOnlyNet,
    StartPointPenalty,
    TargetOnlyNetRegressor,
    TransferNetClassifier,
    TransNorm1d,
    UOWQNet,
)
from sktransfer.deep._domain_layers import extract
from sktransfer.deep._penalties import features_by_domain
from sktransfer.deep._rows import Batch
from sktransfer.exceptions import DomainError

PENALTIES = [
    BatchSpectralShrinkage(1.0, k=8),
    BatchSpectralPenalization(0.1),
    StartPointPenalty(10.0, head=True),
    AdversarialTraining(1.0),
]


def _fit(toy, cls=DANN, **params):
    settings = {"max_steps": 6, "lr": 0.02, "random_state": 0, "batch_size": 32}
    net = cls(**settings | params)
    y = np.where(toy.y < 0, np.nan, toy.y)
    return net.fit(toy.X, y, sample_domain=toy.domain)


def _batch(source, target, *, alone=False):
    x = torch.cat([source, target])
    y = torch.arange(len(source)) % 2
    batch = Batch(x, y, y[:0], y, target_alone=alone)
    nothing = source[:0]
    return batch, Encoded(source, nothing, target, source, nothing, target)


@pytest.mark.parametrize("penalty", PENALTIES, ids=lambda p: type(p).__name__)
def test_a_penalty_changes_the_net_and_none_of_weight_0_does(toy, penalty):
    plain = _fit(toy).predict_proba(toy.X)
    off = type(penalty)(0.0)
    assert_array_equal(_fit(toy, penalties=[off]).predict_proba(toy.X), plain)
    net = _fit(toy, penalties=[penalty])
    assert abs(net.predict_proba(toy.X) - plain).max() > 1e-4
    again = pickle.loads(pickle.dumps(clone(net).fit(toy.X, toy.y_true)))
    assert np.isfinite(again.predict_proba(toy.X)).all()
    assert net.penalties == [penalty] and not list(penalty.buffers())


@pytest.mark.parametrize("cls", [ADDA, SourceOnlyNet, UOWQNet])
def test_every_net_takes_them_and_two_of_a_kind_have_two_names(toy, cls):
    net = _fit(toy, cls, penalties=(*PENALTIES, BatchSpectralPenalization(0.2)))
    assert {"penalization_loss", "penalization_2_loss"} <= set(net.history_)
    assert_allclose(
        net.history_["penalization_2_loss"], 2 * net.history_["penalization_loss"]
    )
    regressor = TargetOnlyNetRegressor(penalties=PENALTIES, max_steps=3)
    assert np.isfinite(regressor.fit(toy.X, toy.X[:, 0]).predict(toy.X)).all()


@pytest.mark.parametrize(
    ("penalties", "error"),
    [
        ([BatchSpectralShrinkage], TypeError),
        (Penalty(), ValueError),
        (["x"], TypeError),
    ],
)
def test_what_is_no_penalty_is_refused(toy, penalties, error):
    with pytest.raises(error, match="penalties"):
        _fit(toy, penalties=penalties)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: BatchSpectralShrinkage(-1), "weight must be a finite number, 0"),
        (lambda: StartPointPenalty(np.inf), "weight must be a finite number"),
        (lambda: BatchSpectralPenalization(k=0), "k must be an integer, 1 or more"),
        (lambda: AdversarialTraining(eps="a"), "eps must be"),
        (lambda: AdversarialTraining(step_size=0), "step_size must be more than 0"),
    ],
)
def test_bad_arguments(make, match):
    with pytest.raises(ValueError, match=re.escape(match)):
        make()


def test_spectral_penalties_are_their_formulas():
    torch.manual_seed(0)
    source, target = torch.randn(7, 4).double(), torch.randn(9, 4).double()
    values = [np.linalg.svd(part.numpy())[1] for part in (source, target)]
    encoded = _batch(source, target)
    found = BatchSpectralShrinkage(0.5, k=2).losses(None, *encoded)["shrinkage"]
    assert_allclose(found, 0.5 * (values[1][-2:] ** 2).sum())
    found = BatchSpectralPenalization(0.5).losses(None, *encoded)["penalization"]
    assert_allclose(found, 0.5 * sum(v[0] ** 2 for v in values))
    # labeled rows that play the source are the target's
    batch, encoded = _batch(source, target, alone=True)
    parts = features_by_domain(batch, encoded)
    assert [len(part) for part in parts] == [0, 16]


def test_small_values_of_low_rank_cost_nothing_and_equal_ones_have_a_gradient():
    low = (torch.randn(8, 2) @ torch.randn(2, 5)).double()
    found = BatchSpectralShrinkage(1.0, k=3).losses(None, *_batch(low, low))
    assert found["shrinkage"] < 1e-10
    equal = torch.eye(4).double().requires_grad_()
    BatchSpectralShrinkage(1.0, k=2).losses(None, *_batch(equal, equal))[
        "shrinkage"
    ].backward()
    assert torch.isfinite(equal.grad).all()


def test_a_strong_hold_keeps_the_weights_and_a_weak_one_does_not(toy):
    module = MLP(2, hidden_units=(6, 4)).double()
    moved = []
    for weight in 0.0, 1.0, 1e6:
        hold = StartPointPenalty(weight)
        net = _fit(toy, module=module, penalties=[hold], max_steps=40)
        pairs = zip(
            net.module_.extractor.parameters(), module.parameters(), strict=True
        )
        moved.append(max((p - q).abs().max().item() for p, q in pairs))
    assert moved[2] < 0.05 * moved[0] and moved[2] < moved[1] < moved[0]


def test_moved_rows_lie_on_the_ball_and_are_harder(toy):
    net = _fit(toy, module=nn.Sequential(nn.BatchNorm1d(2), MLP(2))).module_.double()
    torch.manual_seed(0)
    x, y = torch.randn(12, 2).double(), torch.arange(6) % 2
    batch, criterion = Batch(x, y, y[:0], y), nn.CrossEntropyLoss(reduction="none")
    net.train()
    before = net.extractor[0].running_mean.clone()
    seen = AdversarialTraining(0.3, n_steps=5).perturb(net, batch, criterion)
    assert net.extractor[0].training
    assert torch.equal(net.extractor[0].running_mean, before)
    assert torch.equal(seen.x[6:], x[6:])
    lengths = (seen.x - x)[:6].norm(dim=1)
    assert_allclose(lengths, np.full(6, 0.3), rtol=1e-6)
    net.eval()
    losses = [criterion(net.outputs_of_source(b.x[:6], None), y) for b in (batch, seen)]
    assert (losses[1] > losses[0]).all()
    alone = batch._replace(target_alone=True)
    assert AdversarialTraining(0.3).perturb(net, alone, criterion) is alone


# -- layers that see the domain -------------------------------------------------------


def test_trans_norm_of_equal_domains_is_twice_batch_norm():
    torch.manual_seed(0)
    for shape in (6, 3), (6, 3, 2, 2):
        x = torch.randn(shape).double()
        both = torch.cat([x, x])
        norm, plain = TransNorm1d(3).double(), nn.BatchNorm1d(3).double()
        plain = nn.BatchNorm2d(3).double() if len(shape) > 2 else plain
        assert_allclose(
            extract(norm, both, 6).detach(), 2 * plain(both).detach(), atol=1e-10
        )
        assert_allclose(norm(x).detach(), 2 * plain(x).detach(), atol=1e-10)


def test_trans_norm_is_its_formula_and_predicts_by_the_target():
    torch.manual_seed(0)
    norm = TransNorm1d(4, momentum=1.0).double()
    with torch.no_grad():
        norm.weight.uniform_(), norm.bias.uniform_()
    source, target = torch.randn(9, 4).double() * 2 + 1, torch.randn(7, 4).double()
    out = extract(norm, torch.cat([source, target]), 9).detach()
    parts = [part.numpy() for part in (source, target)]
    place = [p.mean(0) / np.sqrt(p.var(0) + 1e-5) for p in parts]
    alpha = 1 / (1 + abs(place[0] - place[1]))
    alpha *= 4 / alpha.sum()
    assert_allclose(alpha.sum(), 4)
    gamma, beta = norm.weight.detach().numpy(), norm.bias.detach().numpy()
    normal = [(p - p.mean(0)) / np.sqrt(p.var(0) + 1e-5) for p in parts]
    assert_allclose(out, (1 + alpha) * (gamma * np.vstack(normal) + beta))
    norm.eval()
    assert_allclose(norm.target_mean, parts[1].mean(0))
    spread = np.sqrt(parts[1].var(0, ddof=1) + 1e-5)
    expected = (parts[1] - parts[1].mean(0)) / spread
    scale = norm(target).detach().numpy() / (gamma * expected + beta)
    assert_allclose(scale, np.tile(scale[0], (7, 1)))
    fresh = TransNorm1d(4).double()
    extract(fresh, source, 9)  # a target that was never seen is like the source
    assert torch.equal(fresh.eval()(source), extract(fresh, source, 9))


@pytest.mark.parametrize("cls", [DANN, ADDA, SourceOnlyNet, UOWQNet])
def test_trans_norm_in_nets(toy, cls):
    module = nn.Sequential(nn.Linear(2, 6), TransNorm1d(6), nn.ReLU())
    net = _fit(toy, cls, module=module, max_steps=12)
    norm = net.module_.extractor[1]
    assert norm.source_batches > 0
    target = net.module_.alignment.target_extractor(net.module_)[1]
    assert (target.target_batches > 0) == (cls is not SourceOnlyNet)
    assert norm.told is None
    assert np.isfinite(net.predict_proba(toy.X)).all()
    mapped = net.transform(toy.X, sample_domain=toy.domain)
    moved = abs(mapped - net.transform(toy.X))[toy.domain > 0].max()
    assert (moved > 1e-3) == (cls is not SourceOnlyNet)


class _Tell(DomainLayer):
    """Put the domain of each row among its features."""

    def forward(self, x):
        """Append a column."""
        return torch.cat([x, self.domains(x)[:, None].to(x.dtype)], 1)


def test_a_layer_sees_which_source_a_row_is_from(toy):
    domain = np.where(toy.domain > 0, np.where(np.arange(80) % 3 == 0, 7, 4), -1)
    net = TransferNetClassifier(_Tell(), max_steps=3, random_state=0)
    net.fit(toy.X, toy.y_true, sample_domain=domain)
    assert (net.transform(toy.X)[:, 2] == -1).all()
    seen = net.transform(toy.X, sample_domain=domain)[:, 2]
    assert_array_equal(seen, np.select([domain == 4, domain == 7], [0, 1], -1))
    with pytest.raises(DomainError, match=r"tell those of the fit apart: \[4, 7\]"):
        net.transform(toy.X, sample_domain=np.where(domain > 0, 5, -1))
    with pytest.raises(DomainError, match=r"\[9\], but the net has parts"):
        net.partial_fit(toy.X, toy.y_true, sample_domain=np.where(domain > 0, 9, -1))
    layer = _Tell()
    with pytest.raises(ValueError, match="got 3 rows, but the batch has 6"):
        extract(nn.Sequential(nn.Flatten(0, 1), nn.Unflatten(0, (3, -1)), layer),
                torch.zeros(6, 2), 2)  # fmt: skip


def test_batches_tell_sources_and_known_labels(toy, monkeypatch):
    seen = []

    class Watch(Penalty):
        def losses(self, net, batch, encoded):
            seen.append(batch)
            return {}

    domain = np.where(toy.domain > 0, np.where(np.arange(80) % 4 == 0, 9, 2), -1)
    X = toy.X.copy()
    X[domain == 9, 0] = 50.0
    y = np.where(toy.y < 0, np.nan, toy.y)
    net = DANN(penalties=[Watch()], max_steps=2, standardize=False, random_state=0)
    net.fit(X, y, sample_domain=domain)
    batch = seen[0]
    assert_array_equal(batch.domain, (batch.x[: batch.n_source, 0] == 50).long())
    assert not batch.target_alone and (batch.y_target >= 0).sum() == 10
    truth = dict(zip(map(tuple, X[domain < 0]), toy.y[domain < 0], strict=True))
    for row, label in zip(batch.x[50:].numpy(), batch.y_target, strict=True):
        assert truth[tuple(row)] == label
    DANN(penalties=[Watch()], max_steps=2).fit(X[domain < 0], y[domain < 0],
        sample_domain=domain[domain < 0])  # fmt: skip
    assert seen[-1].target_alone and seen[-1].y_target is None
