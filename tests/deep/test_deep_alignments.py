"""Further members of the family, each by the limit in which it is known."""

import copy

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

from sktransfer.deep import (
    MLP,
    BatchNormAlignment,
    ClassConfusionAlignment,
    ClassifierDiscrepancyAlignment,
    ConditionalAlignment,
    ConsistencyAlignment,
    ContrastiveAlignment,
    Encoded,
    JointTransportAlignment,
    MarginDisparityAlignment,
    Sizes,
    TransferNetClassifier,
    TransferNetRegressor,
    WassersteinAlignment,
)
from sktransfer.deep._rows import Batch

ALIGNMENTS = [
    ClassConfusionAlignment,
    ClassifierDiscrepancyAlignment,
    ConditionalAlignment,
    ConsistencyAlignment,
    ContrastiveAlignment,
    JointTransportAlignment,
    MarginDisparityAlignment,
    WassersteinAlignment,
]


class Net(nn.Module):
    """Extractor and head of a problem of 3 inputs, 4 features and 2 classes."""

    def __init__(self, mu=1.0):
        super().__init__()
        self.extractor, self.head = MLP(3, (4,)).double(), nn.Linear(4, 2).double()
        self.mu = torch.tensor(mu)


def problem(alignment, *, n=9, mu=1.0, same=False, seed=0):
    """Return an alignment with a net, a batch and its encoding."""
    torch.manual_seed(seed)
    net = Net(mu)
    alignment.build(Sizes((3,), 4, 2, 2), net)
    alignment.double()
    x = torch.randn(2 * n, 3).double()
    if same:
        x[n:] = x[:n]
    y = torch.arange(n) % 2
    batch = Batch(x, y, y[:0], torch.arange(n))
    features = net.extractor(x)
    outputs = net.head(features)
    return net, batch, Encoded(*batch.split(features), *batch.split(outputs))


def losses(alignment, net, batch, encoded):
    found = alignment.losses(net, batch, encoded)
    return found | alignment.own_losses(net, batch, encoded)


@pytest.mark.parametrize("cls", ALIGNMENTS)
def test_it_reaches_the_features_and_its_own_modules(cls, toy):
    outputs = []
    for mu in (0.0, 3.0):
        net = TransferNetClassifier(
            alignment=cls(**{"threshold": 0.5} if cls is ConsistencyAlignment else {}),
            mu=mu, gate=mu > 0, max_steps=12, lr=0.02, random_state=0,
        )  # fmt: skip
        net.fit(toy.X, toy.y, sample_domain=toy.domain)
        outputs.append(net.transform(toy.X))
        assert np.isfinite(net.predict_proba(toy.X)).all()
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-3
    again = copy.deepcopy(net.module_.alignment)
    assert len(list(again.parameters())) == len(
        list(net.module_.alignment.parameters())
    )


@pytest.mark.parametrize("cls", ALIGNMENTS[:-1])
def test_classes_are_needed(cls, toy):
    net = TransferNetRegressor(alignment=cls(), max_steps=1)
    y = np.where(toy.y < 0, np.nan, toy.y)
    with pytest.raises(ValueError, match="use it in a classifier"):
        net.fit(toy.X, y, sample_domain=toy.domain)


def test_equal_weights_of_sure_and_unsure_rows_where_all_are_equally_sure():
    """CDAN+E is CDAN if the head says nothing; then it sees the features alone."""
    found = []
    for entropy in (True, False):
        alignment = ConditionalAlignment(entropy)
        net, batch, encoded = problem(alignment)
        encoded = encoded._replace(
            out_source=torch.zeros_like(encoded.out_source),
            out_target=torch.zeros_like(encoded.out_target),
        )
        found.append(losses(alignment, net, batch, encoded)["conditional"].item())
    assert_allclose(*found)


def test_adversaries_climb_what_the_extractor_descends():
    """MCD: heads raise the gap of their predictions, the extractor lowers it."""
    alignment = ClassifierDiscrepancyAlignment()
    net, batch, encoded = problem(alignment)
    gap = -alignment.own_losses(net, batch, encoded)["discrepancy"]
    assert gap > 0
    (-gap).backward()
    with torch.no_grad():
        for module, lower in ((net.extractor, True), (alignment.second, False)):
            moved = copy.deepcopy(module)
            for p, q in zip(moved.parameters(), module.parameters(), strict=True):
                p -= 0.05 * q.grad
            parts = {net.extractor: net.extractor, alignment.second: alignment.second}
            parts[module] = moved
            features = parts[net.extractor](batch.x[batch.n_source :])
            first = net.head(features).softmax(1)
            second = parts[alignment.second](features).softmax(1)
            change = (first - second).abs().mean() - gap
            assert change < 0 if lower else change > 0
    alignment.second.load_state_dict(net.head.state_dict())
    assert alignment.own_losses(net, batch, encoded)["discrepancy"] == 0


def test_the_disparity_of_equal_heads_is_that_of_the_formula():
    alignment = MarginDisparityAlignment(margin=3.0)
    net, batch, encoded = problem(alignment)
    alignment.second.load_state_dict(net.head.state_dict())
    found = alignment.own_losses(net, batch, encoded)["disparity"].item()
    source, target = (
        out.softmax(1).max(1).values for out in (encoded.out_source, encoded.out_target)
    )
    expected = -3 * source.log().mean() - (1 - target).log().mean()
    assert_allclose(found, expected.item())


def test_equal_domains_have_no_distance_and_slope_one_no_penalty():
    alignment = WassersteinAlignment()
    net, batch, encoded = problem(alignment, same=True)
    assert_allclose(losses(alignment, net, batch, encoded)["wasserstein"].item(), 0)
    with torch.no_grad():  # the critic becomes a unit slope along the first feature
        for p in alignment.critic.parameters():
            p.zero_()
        alignment.critic[0].weight[0, 0] = 1
        alignment.critic[0].bias[0] = 100
        alignment.critic[2].weight[0, 0] = 1
    apart = encoded._replace(target=encoded.target + 2)
    found = alignment.own_losses(net, batch, apart)
    assert_allclose(found["wasserstein"].item(), 2)  # the critic loses what F gains
    assert found["slope"] < 1e-8


def test_confusion_is_none_for_sure_predictions_and_largest_for_none():
    alignment = ClassConfusionAlignment()
    net, batch, encoded = problem(alignment)
    sure = encoded._replace(out_target=1e3 * nn.functional.one_hot(batch.y_source, 2))
    assert losses(alignment, net, batch, sure)["confusion"] < 1e-6
    unsure = encoded._replace(out_target=torch.zeros(9, 2).double())
    assert_allclose(losses(alignment, net, batch, unsure)["confusion"].item(), 0.5)


def test_the_plan_couples_equal_rows_and_has_its_marginals():
    alignment = JointTransportAlignment(labels=0.0, reg=1e-3, n_iter=200)
    net, batch, encoded = problem(alignment, same=True)
    features = torch.randn(9, 4).double()
    encoded = encoded._replace(source=features, target=features.flip(0))
    assert losses(alignment, net, batch, encoded)["transport"] < 1e-6
    plan = alignment._plan(torch.rand(5, 7).double())
    assert_allclose(plan.sum(0), np.full(7, 1 / 7))
    one = encoded._replace(source=features[:1], target=features[1:2])
    batch = batch._replace(y_source=batch.y_source[:1])
    expected = (features[0] - features[1]).square().mean().item()
    found = losses(alignment, net, batch, one)["transport"].item()
    assert_allclose(found, expected)


def test_contrastive_distances_are_those_of_the_kernel_means():
    alignment = ContrastiveAlignment(n_kernels=1)
    net, batch, encoded = problem(alignment)
    found = losses(alignment, net, batch, encoded)
    rows = torch.cat([encoded.source, encoded.target]).detach()
    gaps = torch.cdist(rows, rows).square()
    kernel = torch.exp(-gaps / gaps.mean()).numpy()
    s, t = batch.y_source.numpy(), encoded.out_target.argmax(1).numpy() + 10
    codes = np.r_[s, t]

    def distance(a, b):
        w = (codes == a) / (codes == a).sum() - (codes == b) / (codes == b).sum()
        return w @ kernel @ w

    labels = np.unique(t)
    intra = [distance(b - 10, b) for b in labels]
    inter = [distance(a, b) for a in (0, 1) for b in labels if a != b - 10]
    assert_allclose(found["intra"].item(), np.mean(intra))
    assert_allclose(found["inter"].item(), -np.mean(inter))


def test_consistency_counts_sure_rows_and_needs_no_noise_to_be_self_training():
    alignment = ConsistencyAlignment(threshold=1.01)
    net, batch, encoded = problem(alignment)
    assert losses(alignment, net, batch, encoded)["consistency"] == 0
    alignment = ConsistencyAlignment(threshold=0.0, noise=0.0, dropped=0.0)
    net, batch, encoded = problem(alignment)
    found = losses(alignment, net, batch, encoded)["consistency"].item()
    expected = -encoded.out_target.log_softmax(1).max(1).values.mean().item()
    assert_allclose(found, expected)


def test_batch_norm_has_the_statistics_of_the_target(rng):
    X = rng.normal(size=(80, 3)) + np.repeat([0, 4], 40)[:, None]
    y = np.where(np.arange(80) < 40, X[:, 0] > 0, np.nan)
    domain = np.repeat([1, -1], 40)
    module = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 4), nn.ReLU())
    net = TransferNetClassifier(
        module, alignment=BatchNormAlignment(), max_steps=20, random_state=0
    ).fit(X, y, sample_domain=domain)
    scaled = (X[40:] - net.shift_) / net.scale_
    norm = net.module_.extractor[0]
    assert_allclose(norm.running_mean, scaled.mean(axis=0), rtol=1e-6)
    assert_allclose(norm.running_var, scaled.var(axis=0, ddof=1), rtol=1e-6)
    assert norm.momentum == 0.1
    outputs = [
        TransferNetClassifier(
            alignment=alignment, standardize=False, max_steps=3, random_state=0
        )
        .fit(X, y, sample_domain=domain)
        .predict_proba(X)
        for alignment in (None, BatchNormAlignment())
    ]
    assert_allclose(*outputs)  # without such layers nothing changes
