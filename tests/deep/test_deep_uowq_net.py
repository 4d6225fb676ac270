"""UOWQ for nets: weights, their Fisher information, the weighted loss, adapters."""

import copy
import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from torch import nn

from sktransfer._domains import canonical_order
from sktransfer.deep import MLP, TargetOnlyNet, UOWQNet
from sktransfer.deep._rows import DomainRows
from sktransfer.deep._uowq_net import _SourceWeights, row_differences, state_of
from sktransfer.multisource import uowq_weights


def _problem(n_target=30, n_source=90, seed=0):
    """A copy of the target rows (5), rows like the target (2), shuffled labels (9)."""
    rng = np.random.RandomState(seed)
    n = n_target + 2 * n_source
    X = rng.normal(size=(n, 3))
    y = (X[:, 0] + 0.5 * X[:, 1] > 0).astype(int) + (X[:, 2] > 1)
    domain = np.repeat([-1, 2, 9], [n_target, n_source, n_source])
    y[domain == 9] = rng.permutation(y[domain == 9])
    own = domain == -1
    X, y = np.vstack([X, X[own]]), np.r_[y, y[own]]
    return X, y, np.r_[domain, np.full(n_target, 5)]


def _net(**params):
    settings = {"max_epochs": 20, "lr": 0.01, "random_state": 0} | params
    return UOWQNet(**settings)


@pytest.mark.parametrize("weighting", ["static", "dynamic"])
def test_a_copy_of_the_target_counts_and_shuffled_labels_do_not(weighting):
    X, y, domain = _problem()
    net = _net(weighting=weighting).fit(X, y, sample_domain=domain)
    assert_array_equal(net.source_ids_, [2, 5, 9])
    like, copied, shuffled = net.source_weights_
    assert shuffled < 0.05
    assert like > 5 * shuffled
    assert copied > (0.95 if weighting == "static" else 0.3)


def test_all_parameters_make_every_source_look_alike():
    X, y, domain = _problem()
    net = _net(n_parameters="all", fisher="expected").fit(X, y, sample_domain=domain)
    assert net.source_weights_.min() > 0.5
    n_parameters = sum(p.numel() for p in net.module_.parameters())
    assert net.n_parameters_ == n_parameters
    fewer = _net(n_parameters=5.0, weighting="static").fit(X, y, sample_domain=domain)
    assert fewer.n_parameters_ == 5.0


def test_schedules_and_attributes():
    X, y, domain = _problem()
    static, dynamic, published = (
        _net(max_epochs=6, **params).fit(X, y, sample_domain=domain)
        for params in ({"weighting": "static"}, {}, {"warmup": 0.0})
    )
    for net in static, dynamic, published:
        assert net.weights_path_.shape == (6, 3)
        assert_array_equal(net.weights_path_[-1], net.source_weights_)
        quantities = net.source_weights_ * [90, 30, 90]
        assert_allclose(net.transfer_quantity_, quantities.sum())
        assert_allclose(net.source_proportions_, quantities / quantities.sum())
    assert_array_equal(static.weights_path_, static.weights_path_[[0] * 6])
    assert_array_equal(dynamic.weights_path_[:3], static.weights_path_[:3])
    assert (dynamic.weights_path_[3:] != static.weights_path_[3:]).any(axis=1).all()
    assert_array_equal(published.weights_path_[0], np.zeros(3))
    assert [len(n.kl_path_) for n in (static, dynamic, published)] == [1, 4, 5]


def test_dynamic_weights_move_on_rows_that_the_net_has_not_learned():
    X, y, domain = _problem()
    y = y.astype(float)
    few = np.flatnonzero(domain == -1)
    y[few[12:]] = np.nan
    nets = [
        _net(weighting=w, max_epochs=30).fit(X, y, sample_domain=domain)
        for w in ("static", "dynamic")
    ]
    path = nets[1].weights_path_
    assert np.ptp(path[15:], axis=0).max() > 0.02
    assert abs(nets[1].source_weights_ - nets[0].source_weights_).max() > 0.02
    # unlabeled rows are looked at, and nothing else: not by the published Fisher
    seen = np.isfinite(y)
    published = [
        _net(fisher="empirical", max_epochs=3)
        .fit(X[m], y[m], sample_domain=domain[m])
        .predict_proba(X)
        for m in (seen, np.ones(len(y), bool))
    ]
    assert_array_equal(*published)


def test_weights_of_rows_are_in_input_order():
    X, y, domain = _problem()
    net = _net(max_epochs=3).fit(X, y, sample_domain=domain)
    ids = domain[domain > 0]
    for source, weight in zip(net.source_ids_, net.source_weights_, strict=True):
        assert (net.sample_weight_[ids == source] == weight).all()


# -- Fisher information ------------------------------------------------------------


@pytest.fixture
def fits():
    """A net, three others near it, and rows with labels."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
        others = [copy.deepcopy(net) for _ in range(3)]
        with torch.no_grad():
            for other in others:
                for parameter in other.parameters():
                    parameter += 0.1 * torch.randn_like(parameter)
        x, y = torch.randn(8, 4).double(), torch.randint(0, 3, (8,))
    return net, others, x, y


def _row_scores(net, x, y):
    """Gradient of the log-likelihood of each row, one row at a time."""
    rows = []
    for i in range(len(x)):
        loss = -nn.functional.cross_entropy(net(x[i : i + 1]), y[i : i + 1])
        grads = torch.autograd.grad(loss, tuple(net.parameters()))
        rows.append(torch.cat([g.ravel() for g in grads]))
    return torch.stack(rows)


def _vector(net):
    return torch.cat([p.detach().ravel() for p in net.parameters()])


def _gram(net, others, x, y, fisher):
    states = [state_of(other) for other in others]
    R = row_differences(net, state_of(net), states, x, y, fisher)
    R = R.reshape(-1, len(others)).numpy()
    return R.T @ R / len(x)


@pytest.mark.parametrize("fisher", ["empirical", "expected"])
def test_fisher_equals_a_loop_over_rows(fits, fisher):
    net, others, x, y = fits
    theta = torch.stack([_vector(other) - _vector(net) for other in others], 1)
    proba = net(x).softmax(1).detach()
    expected = 0
    for label in range(3):
        labels = y if fisher == "empirical" else torch.full_like(y, label)
        share = torch.ones(8).double() / 3 if fisher == "empirical" else proba[:, label]
        projected = _row_scores(net, x, labels) @ theta
        expected = expected + projected.T @ (share[:, None] * projected) / len(x)
    assert_allclose(_gram(net, others, x, y, fisher), expected, rtol=1e-10)


def test_weights_are_those_of_per_sample_scores(fits):
    net, others, x, y = fits
    alignment = _SourceWeights("empirical", 7.0, warmup=0.0, noise_correction=False)
    rows = DomainRows(x[:0], y[:0], x, y, x[:0], y[:0], 8)
    parts = nn.Module()
    parts.extractor, parts.head = net[:2], net[2:]
    # the two parts name their parameters alike, so the states fit the chain of both
    alignment.set_fits(
        [state_of(nn.Sequential(other[:2], other[2:])) for other in others], []
    )
    alignment.sizes = np.array([20.0, 30, 40])
    found = alignment._weigh(parts, rows, None)
    expected = uowq_weights(
        target_params=_vector(net),
        source_params=torch.stack([_vector(other) for other in others]),
        n_target=8,
        source_sizes=[20, 30, 40],
        scores=_row_scores(net, x, y).numpy(),
        n_parameters=7.0,
    )
    assert_allclose(found, expected.weights, rtol=1e-8)
    assert 0 < expected.weights.max() < 1


def test_path_agrees_with_the_expected_fisher_to_second_order(fits):
    net, others, x, y = fits
    errors = []
    for scale in 1e-2, 1e-3:
        near = []
        for other in others:
            moved = copy.deepcopy(net)
            with torch.no_grad():
                for p, q in zip(moved.parameters(), other.parameters(), strict=True):
                    p += scale * (q - p)
            near.append(moved)
        path = _gram(net, near, x, y, "path") / scale**2
        tangent = _gram(net, near, x, y, "expected") / scale**2
        errors.append(abs(path - tangent).max() / abs(tangent).max())
    assert errors[0] < 1e-2
    assert errors[1] < errors[0] / 5


def test_path_is_its_formula(fits):
    net, others, x, y = fits
    p, *roots = (m(x).softmax(1).detach().sqrt() for m in (net, *others))
    moves = torch.stack([root - p for root in roots])
    expected = 4 * torch.einsum("kic,lic->kl", moves, moves) / len(x)
    assert_allclose(_gram(net, others, x, y, "path"), expected, rtol=1e-10)


def test_parameters_are_counted_on_held_out_rows():
    X, y, domain = _problem(n_target=31)
    net = _net(max_epochs=8).fit(X, y, sample_domain=domain)
    alignment, module = net.module_.alignment, net.module_
    predictor = nn.Sequential(module.extractor, module.head)
    own = X[domain == -1]
    x = net._encoder.tensor(own[canonical_order(own, y[domain == -1])])
    found = row_differences(
        predictor, alignment.start, alignment.folds, x, torch.zeros(31).long(), "path"
    ).numpy()
    by_hand = sum(np.sum(found[k::3, :, k] ** 2) for k in range(3))
    assert_allclose(alignment._count(predictor, found, 31), by_hand, rtol=1e-12)
    more = np.concatenate([found, np.full((31, 3, 3), 0.1)])  # rows that none has seen
    assert_allclose(alignment._count(predictor, more, 31), (by_hand + 31 * 0.03) / 2)
    # what a net has learned from it knows better
    other = sum(np.sum(found[(k + 1) % 3 :: 3, :, k] ** 2) for k in range(3))
    assert other < by_hand


def test_only_the_path_sees_differences_from_an_interpolating_net(fits):
    net, others, x, _ = fits
    sure = copy.deepcopy(net)
    with torch.no_grad():
        sure[2].bias[0] += 40
    y = sure(x).argmax(1)
    sizes = {
        fisher: np.trace(_gram(sure, others, x, y, fisher))
        for fisher in ("path", "expected", "empirical")
    }
    assert sizes["expected"] < 1e-2 and sizes["empirical"] < 1e-2
    assert sizes["path"] > 1


# -- the loss ------------------------------------------------------------------------


def test_batches_are_unbiased_for_the_weighted_likelihood():
    X, y, domain = _problem()
    net = _net(max_epochs=1, batch_size=30, standardize=False)
    net.fit(X, y, sample_domain=domain)
    module, weights = net.module_, np.array([0.5, 0.0, 0.25])
    module.alignment.path = [weights]
    module.alignment.warmup = np.inf
    x, y = torch.as_tensor(X), torch.as_tensor(y)
    source = torch.as_tensor(domain > 0)
    position = torch.as_tensor(np.searchsorted([2, 5, 9], domain[domain > 0]))
    rows = DomainRows(x[source], y[source], x[~source], y[~source], x[:0], position, 30)
    module.alignment.begin_epoch(module, rows, 0.0)
    criterion = nn.CrossEntropyLoss(reduction="none")
    with torch.no_grad():
        losses = [module(batch, criterion)["loss"].item() for batch in rows]
        row = criterion(module.predict(x)[1], y).numpy()
    share = np.select([domain == -1, domain == 2, domain == 9], [1, 0.5, 0.25], 0)
    assert len(losses) == 7
    assert_allclose(np.mean(losses), share @ row / share.sum(), rtol=1e-10)


def test_target_alone_is_the_net_of_the_target():
    X, y, domain = _problem()
    own = domain == -1
    net = _net(max_epochs=5).fit(X[own], y[own])
    other = TargetOnlyNet(max_epochs=5, lr=0.01, random_state=0).fit(X[own], y[own])
    assert_array_equal(net.predict_proba(X), other.predict_proba(X))
    assert net.source_weights_.shape == (0,) and net.weights_path_.shape == (5, 0)


def test_a_weight_of_zero_takes_a_source_out():
    X, y, domain = _problem()
    wrong = _net(n_parameters=1e-6, weighting="static")
    wrong.fit(X, y, sample_domain=np.where(domain == 5, 9, domain))
    assert wrong.source_weights_.max() < 1e-3
    own = domain == -1
    assert wrong.score(X[own], y[own]) > 0.9


# -- what is trained -----------------------------------------------------------------


@pytest.mark.parametrize("trainable", ["head", "adapter"])
def test_the_base_stays_as_it_was(trainable):
    X, y, domain = _problem()
    module = MLP(3, hidden_units=(6, 5))
    before = state_of(module)
    net = _net(module=module, trainable=trainable, adapter_rank=2, max_epochs=5)
    net.fit(X, y, sample_domain=domain)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    after = dict(net.module_.extractor.named_parameters())
    kept = [n for n, p in after.items() if not p.requires_grad]
    assert len(kept) == 4
    for name in kept:
        first = name.removeprefix("module.").replace(".base", "")
        assert_allclose(after[name].detach(), before[first], rtol=1e-6)
    trained = [n for n, p in after.items() if p.requires_grad]
    assert len(trained) == (4 if trainable == "adapter" else 0)
    assert all(after[name].abs().sum() > 0 for name in trained)
    if trainable == "adapter":
        assert set(net.module_.alignment.sources[0]) == {
            *(f"0.{name}" for name in trained), "1.weight", "1.bias",
        }  # fmt: skip


def test_images_and_normalization_layers():
    X, y, domain = _problem()
    images = np.repeat(X[:, :, None, None], 4, axis=2).repeat(4, axis=3)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    net = _net(module=module, fisher="expected").fit(images, y, sample_domain=domain)
    assert net.source_weights_[1] > net.source_weights_[2]
    with pytest.raises(ValueError, match=r"no torch\.nn\.Linear"):
        _net(module=module, trainable="adapter").fit(images, y, sample_domain=domain)


class _Attention(nn.Module):
    """A small transformer that stands for a pretrained one."""

    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)

    def forward(self, x):
        """Map rows of shape (n, length, 4) to features of shape (n, 4)."""
        return self.layer(x).mean(1)


@pytest.mark.parametrize("trainable", ["all", "adapter"])
@pytest.mark.parametrize("fisher", ["path", "empirical"])
def test_attention(fisher, trainable):
    X, y, domain = _problem()
    rows = np.random.RandomState(0).normal(size=(len(X), 3, 4))
    net = _net(module=_Attention(), fisher=fisher, trainable=trainable, max_epochs=2)
    net.fit(rows + X[:, :, None], y, sample_domain=domain)
    assert np.isfinite(net.source_weights_).all()


# -- training goes on ------------------------------------------------------------------


def test_partial_fit_goes_on_with_the_same_sources():
    X, y, domain = _problem()
    net = _net(max_epochs=2, warmup=0.0)
    for _ in range(3):
        net.partial_fit(X, y, sample_domain=domain)
    assert net.weights_path_.shape == (3, 3)
    assert_array_equal(net.weights_path_[0], np.zeros(3))
    again = pickle.loads(pickle.dumps(net))
    assert_array_equal(again.predict_proba(X), net.predict_proba(X))
    with pytest.raises(ValueError, match="only with warm_start=True"):
        again.partial_fit(X, y, sample_domain=domain)
    kept = _net(max_epochs=2, warm_start=True).fit(X, y, sample_domain=domain)
    assert len(pickle.dumps(kept)) > 3 * len(pickle.dumps(net))
    kept = pickle.loads(pickle.dumps(kept)).fit(X, y, sample_domain=domain)
    assert kept.weights_path_.shape == (4, 3)
    with pytest.raises(ValueError, match=r"sources \[2, 5\], but"):
        net.partial_fit(
            X[domain != 9], y[domain != 9], sample_domain=domain[domain != 9]
        )


def test_one_labeled_row_and_missing_classes():
    X, y, domain = _problem()
    y[(domain == 2) & (y == 2)] = 0  # a source without a class
    few = domain > 0
    few[:1] = True
    net = clone(_net(max_epochs=3)).fit(X[few], y[few], sample_domain=domain[few])
    assert np.isfinite(net.source_weights_).all()
    assert_array_equal(net.classes_, [0, 1, 2])
