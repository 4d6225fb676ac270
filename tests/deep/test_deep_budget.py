"""How long nets train: steps, epochs, and equal budgets on both sides of a gap."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer._domains import DomainData, check_domains
from sktransfer.base import with_budget_of
from sktransfer.deep import (
    ADDA,
    DAN,
    DANN,
    OTCEFineTuning,
    SourceOnlyNet,
    TargetOnlyNet,
    TransferNetClassifier,
    UOWQNet,
)
from sktransfer.deep._budget import epoch_size_of, find_budget
from sktransfer.deep._rows import DomainRows
from sktransfer.metrics import cross_val_ntg
from sktransfer.safe import TransferGuard

rows = st.integers(0, 5000)


def _data(n_source, n_labeled, n_unlabeled):
    n = n_source + n_labeled + n_unlabeled
    domain = np.where(np.arange(n) < n_source, 1, -1)
    labeled = np.arange(n) < n_source + n_labeled
    return DomainData(np.zeros((n, 1)), np.zeros(n), domain, labeled)


@given(
    sizes=st.tuples(rows, rows, rows),
    batch_size=st.integers(1, 6000),
    max_epochs=st.none() | st.integers(1, 200),
    max_steps=st.none() | st.integers(1, 5000),
)
def test_steps_never_collapse(sizes, batch_size, max_epochs, max_steps):
    """Every kind of rows is passed ``max_epochs`` times, alone and with the sources."""
    if max_epochs and max_steps:
        max_steps = None
    data = _data(*sizes)
    net = DANN(batch_size=batch_size, max_epochs=max_epochs, max_steps=max_steps)
    budget = net._budget(data)
    passes = -(-max(sizes) // batch_size)
    if max_steps:
        assert budget.n_steps == max_steps
        assert budget.n_epochs <= 50
    elif max_epochs:
        assert budget.n_steps >= max_epochs * max(passes, 1)
        assert budget.n_epochs == max_epochs
    else:
        assert budget.n_steps >= max(1000, 10 * passes)
    assert 1 <= budget.epoch_steps <= budget.n_steps
    assert (budget.n_epochs - 1) * budget.epoch_steps < budget.n_steps
    alone = with_budget_of(net, data)._budget(data.without_sources())
    assert alone == budget


@settings(max_examples=40)
@given(sizes=st.tuples(rows, rows, rows), batch_size=st.integers(100, 6000))
def test_an_epoch_shows_every_row(sizes, batch_size):
    """However many rows of each kind there are, none of them included."""
    data = _data(*sizes)
    budget = DANN(batch_size=batch_size, max_epochs=1)._budget(data)
    x = torch.arange(sum(sizes)).split(sizes)
    source, labeled, target = (part[:, None] for part in x)
    batches = DomainRows(
        source, x[0], labeled, x[1], target, torch.zeros(sizes[0]), batch_size,
        n_batches=budget.epoch_steps,
    )  # fmt: skip
    seen = torch.cat([batch.x[:, 0] for batch in batches])
    assert budget.epoch_steps == max(
        1, -(-max(data.n_source, data.n_target) // batch_size)
    )
    assert len(seen.unique()) == sum(sizes)


def test_one_of_epochs_and_steps_is_given():
    with pytest.raises(ValueError, match="max_epochs=3 and max_steps=4 both"):
        find_budget(10, 5, max_epochs=3, max_steps=4)


def _count_steps(net):
    return net.net_.steps_done_


@pytest.mark.parametrize(
    "cls",
    [TransferNetClassifier, UOWQNet, OTCEFineTuning, DANN, TargetOnlyNet, ADDA],
)
def test_every_net_takes_its_steps(cls, rng):
    X = rng.normal(size=(330, 2))
    y, domain = (X[:, 0] > 0).astype(int), np.repeat([1, -1], [10, 320])
    net = cls(max_epochs=3, batch_size=100, early_stopping=False, random_state=0)
    net.fit(X, y, sample_domain=domain)
    assert _count_steps(net) == 3 * 4
    assert net.n_iter_ == 3
    net.set_params(max_epochs=None, max_steps=7).fit(X, y, sample_domain=domain)
    assert _count_steps(net) == 7
    assert net.history_["loss"].shape == (2,)


def test_both_sides_of_a_gap_take_the_same_steps(make_toy, monkeypatch):
    """In pipelines and inside other estimators, too."""
    toy = make_toy(n_source=90, n_labeled=12, n_unlabeled=8)
    y = np.where(toy.y < 0, np.nan, toy.y)
    steps, fit = [], DAN._train

    def record(self, data, *args, **kwargs):
        fit(self, data, *args, **kwargs)
        steps.append((data.n_source > 0, _count_steps(self)))

    monkeypatch.setattr(DAN, "_train", record)
    net = DAN(max_epochs=2, batch_size=10, random_state=0)
    for estimator in net, make_pipeline(StandardScaler(), net):
        cross_val_ntg(estimator, toy.X, y, sample_domain=toy.domain, cv=2)
        TransferGuard(estimator, cv=2).fit(toy.X, y, sample_domain=toy.domain)
    assert {source for source, _ in steps} == {True, False}
    assert {n for _, n in steps} == {18}
    own = DAN(max_epochs=2, batch_size=10, epoch_size=50, random_state=0)
    steps.clear()
    TransferGuard(own, cv=2).fit(toy.X, y, sample_domain=toy.domain)
    assert {n for _, n in steps} == {10}


def test_nothing_to_train_longer_is_left_alone(make_toy):
    toy = make_toy()
    y = np.where(toy.y < 0, np.nan, toy.y)
    data = check_domains(toy.X, y, toy.domain)
    assert epoch_size_of(data) == 40
    net = DANN(epoch_size=7)
    assert with_budget_of(net, data) is net
    scaler = StandardScaler()
    assert with_budget_of(scaler, data) is scaler


def test_baselines_train_as_long_as_nets_on_the_same_rows(make_toy):
    toy = make_toy(n_source=90, n_labeled=12, n_unlabeled=8)
    for cls in SourceOnlyNet, TargetOnlyNet, DANN:
        net = cls(max_epochs=2, batch_size=10, random_state=0)
        assert _count_steps(net.fit(toy.X, toy.y, sample_domain=toy.domain)) == 18
