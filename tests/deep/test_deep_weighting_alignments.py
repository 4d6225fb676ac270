"""Nets that weigh source rows (IWN, WANN), and pairs of labeled rows (CCSA)."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from sktransfer.deep import (
    MLP,
    AdversarialWeighting,
    Alignment,
    ConditionalAlignment,
    ConditionalWassersteinAlignment,
    ContrastiveSemanticAlignment,
    Encoded,
    ImportanceWeighting,
    MomentMatchingAlignment,
    MultiAdversarialAlignment,
    Sizes,
    TransferNetClassifier,
    TransferNetRegressor,
    TransNorm1d,
    mk_mmd_loss,
)
from sktransfer.deep._rows import Batch

OPTIONS = {
    "max_steps": 100,
    "lr": 0.03,
    "batch_size": 64,
    "module": MLP(1, (16,)),
    "standardize": False,
    "random_state": 0,
}


class Net(nn.Module):
    """Extractor and head of two inputs."""

    def __init__(self, n_outputs):
        super().__init__()
        self.extractor = MLP(2, (4,)).double()
        self.head = nn.Linear(4, n_outputs).double()


def built(alignment, n_classes=0):
    torch.manual_seed(0)
    net = Net(max(n_classes, 1))
    alignment.build(Sizes((2,), 4, max(n_classes, 1), n_classes), net)
    return net, alignment.double()


def shifted(rng, n=200):
    """Return a cubic whose slope is another one where the target is."""
    x = np.r_[rng.uniform(-2, 2, n), rng.uniform(1, 2, n)]
    y = np.r_[x[:n] ** 3, np.full(n, np.nan)]
    return x[:, None], y, np.repeat([1, -1], n)


def test_weights_start_at_one_and_the_loss_is_the_discrepancy():
    net, iwn = built(ImportanceWeighting())
    x = torch.randn(20, 2).double()
    batch = Batch(x, x[:12, 0], x[:0, 0], torch.arange(12))
    assert torch.allclose(iwn.source_weight(net, batch), torch.ones(12).double())
    assert iwn.source_weight(net, batch).grad_fn is None
    loss = iwn.own_losses(net, batch, None)["discrepancy"]
    assert 0 < loss < 2 * mk_mmd_loss(x[:12], x[12:])
    same = Batch(torch.cat([x, x]), x[:, 0], x[:0, 0], torch.arange(20))
    assert abs(iwn.own_losses(net, same, None)["discrepancy"]) < 1e-12


def test_weights_follow_the_target(rng):
    X, y, domain = shifted(rng)
    net = TransferNetRegressor(alignment=ImportanceWeighting(), **OPTIONS)
    net.fit(X, y, sample_domain=domain)
    first, *_, last = net.history_["discrepancy_loss"]
    assert last < 0.5 * first
    weight = net.module_.alignment.weigh(torch.as_tensor(X[:200]))
    weight = weight.detach().numpy()
    assert weight.mean() == pytest.approx(1, abs=1e-4)
    inside = X[:200, 0] > 1
    assert weight[inside].mean() > 3 * weight[~inside].mean()
    pickle.loads(pickle.dumps(net)).predict(X[:3])


def test_adversary_and_weights_pull_in_opposite_directions():
    net, wann = built(AdversarialWeighting(clip=3.0))
    x, y = torch.randn(20, 2).double(), torch.randn(16).double()
    batch = Batch(x, y[:10], y[10:], torch.arange(10))
    own = wann.own_losses(net, batch, None)
    assert own["adversary"].item() == pytest.approx(-own["weights"].item())
    own["weights"].backward(retain_graph=True)
    assert all(p.grad is None for p in wann.second.parameters())
    own["adversary"].backward()
    assert any(p.grad.abs().sum() > 0 for p in wann.second.parameters())
    for p in wann.second.parameters():
        if p.ndim > 1:
            p.data *= 100
    wann.own_losses(net, batch, None)
    assert all(p.norm() < 3.001 for p in wann.second.parameters() if p.ndim > 1)


def test_rows_with_wrong_labels_lose_weight(rng):
    x = rng.uniform(-1, 1, size=(300, 1))
    y = x[:, 0].copy()
    domain = np.repeat([1, -1], [240, 60])
    wrong = (x[:, 0] > 0) & (domain > 0)
    y[wrong] = -3.0
    net = TransferNetRegressor(alignment=AdversarialWeighting(), **OPTIONS)
    net.fit(x, y, sample_domain=domain)
    rows = torch.as_tensor(x[:240])
    weight = net.module_.alignment.weigh(rows).detach().numpy()
    assert weight[wrong[:240]].mean() < 0.5 * weight[~wrong[:240]].mean()


def test_pairs_of_labeled_rows():
    net, ccsa = built(ContrastiveSemanticAlignment(margin=2.0), 2)
    source = torch.tensor([[0.0, 0.0], [3.0, 0.0]])
    labeled = torch.tensor([[1.0, 0.0]])
    batch = Batch(
        torch.zeros(4, 2), torch.tensor([0, 1]), torch.tensor([0]), torch.arange(2)
    )
    encoded = Encoded(source, labeled, labeled, source, labeled, labeled)
    found = ccsa.losses(net, batch, encoded)
    assert found["semantic"] == pytest.approx(0.5)
    assert found["separation"] == pytest.approx(0.0, abs=1e-6)
    batch = batch._replace(y_labeled=torch.tensor([1]))
    found = ccsa.losses(net, batch, encoded)
    assert found["semantic"] == pytest.approx(2.0)
    assert found["separation"] == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("cls", [AdversarialWeighting, ContrastiveSemanticAlignment])
def test_labels_of_the_target_are_needed(cls, make_toy):
    toy = make_toy(n_labeled=0)
    net = TransferNetClassifier(alignment=cls(), max_steps=2)
    y = np.where(toy.domain > 0, toy.y_true, np.nan)
    with pytest.raises(ValueError, match="no target row has a label"):
        net.fit(toy.X, y, sample_domain=toy.domain)


@pytest.mark.parametrize(
    "cls", [AdversarialWeighting, ContrastiveSemanticAlignment, ImportanceWeighting]
)
def test_they_learn_with_labeled_rows_alone(cls, make_toy):
    toy = make_toy(n_unlabeled=0, n_labeled=20)
    net = TransferNetClassifier(alignment=cls(), max_steps=60, lr=0.05, random_state=0)
    net.fit(toy.X, toy.y_true, sample_domain=toy.domain)
    assert net.score(toy.X[40:], toy.y_true[40:]) > 0.8
    assert len(net.history_) >= 5


@pytest.mark.parametrize("cls", [AdversarialWeighting, ContrastiveSemanticAlignment])
def test_without_sources_there_is_nothing_to_compare(cls, make_toy):
    toy = make_toy(n_unlabeled=10, n_labeled=20)
    keep = toy.domain < 0
    net = TransferNetClassifier(alignment=cls(), max_steps=3, random_state=0)
    net.fit(toy.X[keep], toy.y[keep], sample_domain=toy.domain[keep])
    plain = clone(net).set_params(alignment=Alignment())
    plain.fit(toy.X[keep], toy.y[keep], sample_domain=toy.domain[keep])
    expected = plain.history_["loss"]
    np.testing.assert_allclose(net.history_["loss"], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: AdversarialWeighting(clip=0), "clip"),
        (lambda: ContrastiveSemanticAlignment(margin=-1), "margin"),
        (lambda: ImportanceWeighting(n_kernels=0), "n_kernels"),
        (lambda: MomentMatchingAlignment(n_moments=True), "n_moments"),
        (lambda: MultiAdversarialAlignment(hidden_units=64), "hidden_units"),
        (lambda: ConditionalAlignment(hidden_units=(0,)), "hidden_units"),
        (lambda: TransNorm1d(0), "n_features"),
        (lambda: TransNorm1d(2, momentum=2.0), "momentum"),
    ],
)
def test_arguments_out_of_range_are_named(make, name):
    with pytest.raises(ValueError, match=name):
        make()


def test_a_later_fit_without_a_source_gives_it_no_weight():
    rng = np.random.RandomState(0)
    X, domain = rng.normal(size=(60, 2)), np.repeat([1, 2, -1], 20)
    y = (X[:, 0] > 0).astype(float)
    y[50:] = np.nan
    net = TransferNetClassifier(
        alignment=ConditionalWassersteinAlignment(), max_epochs=3, random_state=0
    )
    net.fit(X, y, sample_domain=domain)
    for _ in range(2):
        net.partial_fit(X[domain < 0], y[domain < 0], sample_domain=domain[domain < 0])
    for _ in range(2):
        keep = domain != 2
        net.partial_fit(X[keep], y[keep], sample_domain=domain[keep])
    assert net.module_.alignment.source_weights.tolist() == [1, 0]
    with pytest.raises(ValueError, match="make_pipeline"):
        net.fit(np.where(X > 2, np.nan, X), y, sample_domain=domain)
