"""Further members of the family, each by the limit in which it is known."""

import copy
import itertools

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import wasserstein_distance
from torch import nn

from sktransfer.deep import (
    MLP,
    AdversarialAlignment,
    BatchNormAlignment,
    ClassConfusionAlignment,
    ClassifierDiscrepancyAlignment,
    ConditionalAlignment,
    ConditionalWassersteinAlignment,
    ConsistencyAlignment,
    ContrastiveAlignment,
    CORALAlignment,
    DiscriminativeAlignment,
    Encoded,
    GenerativeAlignment,
    JointTransportAlignment,
    LowRankLinear,
    MarginDisparityAlignment,
    MMDAlignment,
    MomentMatchingAlignment,
    MultiAdversarialAlignment,
    PartialAlignment,
    Sizes,
    TransferNetClassifier,
    TransferNetRegressor,
    WassersteinAlignment,
    mk_mmd_loss,
)
from sktransfer.deep._losses import sliced_wasserstein
from sktransfer.deep._rows import Batch
from sktransfer.deep._source_free_nets import _Member
from sktransfer.exceptions import DomainError

ALIGNMENTS = [
    ClassConfusionAlignment,
    ClassifierDiscrepancyAlignment,
    ConditionalAlignment,
    ConditionalWassersteinAlignment,
    ConsistencyAlignment,
    ContrastiveAlignment,
    JointTransportAlignment,
    MarginDisparityAlignment,
    MultiAdversarialAlignment,
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


@pytest.mark.parametrize("cls", [*ALIGNMENTS, MomentMatchingAlignment])
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


@pytest.mark.parametrize(
    "cls", [*ALIGNMENTS[:-1], GenerativeAlignment, PartialAlignment]
)
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


# -- a discriminator for each class ---------------------------------------------------


def test_mada_of_one_class_is_dann(toy):
    y = np.where(toy.y < 0, np.nan, 3.0)
    found = []
    for net in (
        TransferNetClassifier(alignment=MultiAdversarialAlignment()),
        TransferNetClassifier(alignment=AdversarialAlignment()),
    ):
        net.set_params(max_steps=8, lr=0.02, batch_size=32, random_state=0)
        net.fit(toy.X, y, sample_domain=toy.domain)
        found.append((net.transform(toy.X), net.predict(toy.X)))
    assert_array_equal(found[0][0], found[1][0])
    assert (found[0][1] == 3).all()


def test_mada_judges_each_row_with_its_kind():
    """Sure predictions, or known labels, leave a row to one discriminator."""
    alignment = MultiAdversarialAlignment()
    net, batch, encoded = problem(alignment)
    sure = encoded._replace(
        out_source=1e3 * nn.functional.one_hot(batch.y_source, 2).double(),
        out_target=1e3 * nn.functional.one_hot(batch.y_source, 2).double(),
    )
    wrong = sure._replace(out_target=sure.out_target.flip(1))
    known = batch._replace(y_target=batch.y_source)
    found = [
        losses(alignment, net, b, e)["classwise"].item()
        for b, e in ((batch, sure), (known, wrong), (batch, wrong))
    ]
    by_hand = 0
    for c, discriminator in enumerate(alignment.discriminators):
        own = (batch.y_source == c)[:, None]
        for part, sign in (encoded.source, 1), (encoded.target, -1):
            logits = discriminator(part * own)
            by_hand += nn.functional.softplus(sign * logits).mean().item()
    assert_allclose(found[0], by_hand)
    assert_allclose(found[1], by_hand)
    assert abs(found[2] - by_hand) > 1e-6


# -- several sources ------------------------------------------------------------------


def several(alignment, domain, *, n_target=8, scale=1.0):
    """Return a net, a batch of several sources and its encoding."""
    torch.manual_seed(0)
    net, domain = Net(), torch.as_tensor(domain)
    alignment.build(Sizes((3,), 4, 2, 2, int(domain.max()) + 1), net)
    alignment.double()
    n = len(domain)
    x = scale * torch.randn(n + n_target, 3).double()
    y = torch.arange(n) % 2
    batch = Batch(x, y, y[:0], torch.arange(n), domain=domain)
    return net, batch, alignment.encode(net, batch)


def test_moments_are_their_formula_and_a_missing_source_is_left_out():
    domain = [0, 1, 2, 0, 1, 2, 2]
    for absent in (None, 1):
        alignment = MomentMatchingAlignment(weight=0.5)
        net, batch, encoded = several(alignment, domain)
        if absent is not None:
            batch = batch._replace(domain=torch.tensor([0, 0, 2, 0, 2, 2, 2]))
        found = alignment.losses(net, batch, encoded)["moments"].item()
        source, target = (
            encoded.source.detach().numpy(),
            encoded.target.detach().numpy(),
        )
        expected, ids = 0, np.unique(batch.domain)
        for q in 1, 2:
            means = [(source[batch.domain == k] ** q).mean(0) for k in ids]
            gaps = [np.linalg.norm(m - (target**q).mean(0)) for m in means]
            pairs = [np.linalg.norm(a - b) for a, b in itertools.combinations(means, 2)]
            expected += np.mean(gaps) + np.mean(pairs)
        assert_allclose(found, 0.5 * expected)


def test_moments_of_one_source_and_of_equal_domains():
    alignment = MomentMatchingAlignment(n_moments=1, weight=1)
    net, batch, encoded = several(alignment, [0] * 5)
    found = alignment.losses(net, batch, encoded)["moments"]
    gap = (encoded.source.mean(0) - encoded.target.mean(0)).norm()
    assert_allclose(found.item(), gap.item())  # a linear MMD
    constant = torch.ones(5, 4).double().requires_grad_()
    equal = encoded._replace(source=constant, target=constant)
    alignment = MomentMatchingAlignment()
    several(alignment, [0, 0, 1, 1, 1])
    batch = batch._replace(domain=torch.tensor([0, 0, 1, 1, 1]))
    loss = alignment.losses(net, batch, equal)["moments"]
    loss.backward()
    assert loss == 0 and torch.isfinite(constant.grad).all()


def test_each_source_has_its_head_and_the_target_their_mean():
    alignment = MomentMatchingAlignment()
    net, batch, encoded = several(alignment, [0, 1, 1, 0, 2])
    heads = [net.head, *alignment.others]
    for i, k in enumerate(batch.domain):
        assert torch.equal(encoded.out_source[i], heads[k](encoded.source[i]))
    proba = sum(head(encoded.target).softmax(1) for head in heads) / 3
    assert_allclose(encoded.out_target.softmax(1).detach(), proba.detach())
    shared = MomentMatchingAlignment(source_heads=False)
    net, batch, encoded = several(shared, [0, 1, 1])
    assert torch.equal(encoded.out_target, net.head(encoded.target))


def _three(toy):
    domain = np.where(toy.domain > 0, 1 + np.arange(80) % 3, -1)
    y = np.where(toy.y < 0, np.nan, toy.y)
    return toy.X, y, domain


def test_m3sda_in_nets(toy):
    X, y, domain = _three(toy)
    y[domain == 3] = 1 - y[domain == 3]  # a source of wrong labels
    settings = {"max_steps": 60, "lr": 0.02, "batch_size": 32, "random_state": 0}
    for beta in False, True:
        alignment = MomentMatchingAlignment(beta=beta)
        net = TransferNetClassifier(alignment=alignment, mu=0.1, **settings)
        net.fit(X, y, sample_domain=domain)
        weight = net.module_.alignment.head_weight
        assert weight[2] < weight[:2].min() and abs(weight.sum() - 1) < 1e-6
        assert net.score(X[domain < 0], toy.y_true[domain < 0]) > 0.7
        assert ("discrepancy_loss" in net.history_) == beta
    with pytest.raises(ValueError, match="give its alignment source_heads=False"):
        _Member(net, np.arange(2))
    few = domain != 3
    with pytest.raises(DomainError, match=r"\[3\], but the net has parts"):
        TransferNetClassifier(alignment=alignment, max_steps=1).partial_fit(
            X[few], y[few], sample_domain=domain[few]
        ).partial_fit(X, y, sample_domain=domain)
    regressor = TransferNetRegressor(
        alignment=MomentMatchingAlignment(), max_steps=40, lr=0.02, random_state=0
    )
    assert regressor.fit(X, X[:, 0], sample_domain=domain).score(X, X[:, 0]) > 0.5
    # one source and no weight is the plain net, bit for bit
    plain, off = (
        TransferNetClassifier(alignment=a, mu=0.0, **settings | {"max_steps": 5})
        .fit(X, y, sample_domain=toy.domain)
        .predict_proba(X)
        for a in (MMDAlignment(), MomentMatchingAlignment())
    )
    assert_array_equal(plain, off)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: MomentMatchingAlignment(0), "n_moments must be 1 or more"),
        (lambda: MomentMatchingAlignment(weight=-1), "weight must be"),
        (
            lambda: MomentMatchingAlignment(source_heads=False, beta=True),
            "source_heads",
        ),
        (lambda: ConditionalWassersteinAlignment(spread=-1), "spread must be"),
        (lambda: ConditionalWassersteinAlignment(class_ratio="x"), "class_ratio must"),
        (lambda: AdversarialAlignment("all"), "match must be one of"),
        (lambda: CORALAlignment("all"), "layers must be one of"),
        (lambda: MMDAlignment(factor=1.0), r"factor must be .* \(1.0, inf\)"),
        (lambda: DiscriminativeAlignment(1.0), r"pretraining must be .* \[0.0, 1.0\)"),
        (lambda: GenerativeAlignment(n_noise=0), "n_noise must be an integer, 1"),
        (lambda: ConditionalAlignment(entropy="no"), "entropy must be True or False"),
        (lambda: MarginDisparityAlignment(0), "margin must be"),
        (lambda: WassersteinAlignment(hidden_units=(64,)), "hidden_units must be"),
        (lambda: ClassConfusionAlignment("a"), "temperature must be"),
        (lambda: JointTransportAlignment(n_iter=0), "n_iter must be"),
        (lambda: ContrastiveAlignment(0), "n_kernels must be"),
        (lambda: ConsistencyAlignment(dropped=1.0), "dropped must be"),
        (lambda: LowRankLinear(nn.Linear(2, 2), rank=0), "rank must be"),
        (lambda: MLP(2, hidden_units=3), "hidden_units must be a tuple"),
        (lambda: mk_mmd_loss(torch.ones(2, 1), torch.ones(2, 1), 0), "n_kernels must"),
    ],
)
def test_arguments_of_alignments(make, match):
    with pytest.raises(ValueError, match=match):
        make()


# -- conditional Wasserstein ----------------------------------------------------------


def _weighted(X, y, domain, **params):
    alignment = ConditionalWassersteinAlignment(**params)
    net = TransferNetClassifier(
        alignment=alignment, lr=0.02, max_epochs=12, batch_size=64, random_state=0
    ).fit(X, y, sample_domain=domain)
    found = net.module_.alignment
    return found.source_weights.numpy(), found.class_ratios.numpy(), net


@pytest.fixture
def shifted():
    """Two balanced sources, the second of wrong labels, and a target of 3:1."""
    rng = np.random.RandomState(0)
    y = np.r_[np.arange(60) % 2, np.arange(60) % 2, np.arange(40) % 4 == 0].astype(
        float
    )
    X = rng.normal(size=(160, 2)) + 3 * y[:, None]
    domain = np.repeat([2, 5, -1], [60, 60, 40])
    y[domain == 5] = 1 - y[domain == 5]
    return X, y, domain


def test_weights_of_sources_have_their_limits(shifted):
    X, y, domain = shifted
    one, _, net = _weighted(X, y, domain, spread=0.0)
    assert_array_equal(one, [1, 0])
    assert net.score(X[domain < 0], y[domain < 0]) > 0.9
    even, *_ = _weighted(X, y, domain, spread=1e6, spread_by="sources")
    assert_allclose(even, [0.5, 0.5], atol=1e-3)
    few = np.arange(160) >= 30
    sizes, *_ = _weighted(X[few], y[few], domain[few], spread=1e6)
    assert_allclose(sizes, [1 / 3, 2 / 3], atol=1e-3)


def test_ratios_of_classes_have_their_limits(shifted):
    X, y, domain = shifted
    good = domain != 5
    X, y, domain = X[good], y[good], domain[good]
    truth, hidden = y, np.where(domain < 0, np.nan, y)
    for ratio, seen, slack in ("labels", truth, 1e-6), ("auto", hidden, 0.2):
        _, found, _ = _weighted(X, seen, domain, class_ratio=ratio)
        assert_allclose(found[0], [1.5, 0.5], atol=slack)  # pure label shift: T / S
    _, same, _ = _weighted(X, np.r_[truth[:60], truth[:40]], domain)
    assert_allclose(same, [[1, 1]])  # no label shift
    # a row counts lambda_k alpha_k(y) n / n_k
    weights, found, net = _weighted(*shifted, spread=0.5)
    rows = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    batch = Batch(*[None] * 4, domain=rows[0])._replace(y_source=rows[1])
    seen = net.module_.alignment.source_weight(None, batch).numpy()
    assert_allclose(seen, (2 * weights[:, None] * found).ravel(), rtol=1e-5)
    with pytest.raises(ValueError, match="no target row is labeled"):
        _weighted(X, hidden, domain, class_ratio="labels")


def test_distances_are_those_of_scipy():
    torch.manual_seed(0)
    rows, lines = torch.randn(9, 3).double(), torch.eye(3).double()[:, :2]
    left, right = torch.rand(9, 2).double(), torch.rand(9, 2).double()
    left[5:], right[:5] = 0, 0
    left, right = left / left.sum(0), right / right.sum(0)
    found = sliced_wasserstein(rows, left, right, lines)
    for j in range(2):
        expected = [
            wasserstein_distance(rows[:, i], rows[:, i], left[:, j], right[:, j])
            for i in range(2)
        ]
        assert_allclose(found[j], np.mean(expected))
    assert (sliced_wasserstein(rows, 0 * left, right, lines) == 0).all()
