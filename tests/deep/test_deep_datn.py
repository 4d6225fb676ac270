"""DATN: its losses, its descent, its convention for two feature spaces."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback, EarlyStopping, EpochScoring, LRScheduler

from sktransfer._column_blocks import has_block, resolve_columns
from sktransfer.deep import DATN, WSDTN
from sktransfer.deep._datn_nets import (
    GroupModule,
    GroupRows,
    Pathway,
    Side,
    StalledStopping,
    cross_losses,
    draw_batches,
    encode,
    intra_losses,
    mean_discrepancy,
    pair_loss,
    solve_map,
    squared_weights,
    train_groups,
)
from sktransfer.deep._device import find_device
from sktransfer.exceptions import CapabilityError, DomainError
from sktransfer.metrics import cross_val_ntg
from sktransfer.model_selection import StratifiedTargetKFold
from sktransfer.safe import TransferGuard
from sktransfer.utils import parametrize_with_transfer_checks
from sktransfer.utils.estimator_checks import make_problem

SOURCE, TARGET = slice(0, 3), slice(3, 8)
SMALL = {
    "source_hidden": (12,),
    "target_hidden": (12,),
    "n_components": 8,
    "pretrain_iter": 40,
    "max_iter": 10,
    "learning_rate": 0.02,
    "random_state": 0,
}


def two_views(
    seed=0, *, n_source=60, n_pairs=60, n_labeled=6, n_unlabeled=30, noise=0.3,
    flipped=0.0,
):  # fmt: skip
    """Make a table of three classes with a clean view, a noisy one, and pairs.

    Returns X, y, sample_domain and test rows with their labels.
    """
    rng = np.random.RandomState(seed)
    n_test = 150
    sizes = [n_source, n_pairs, n_labeled, n_unlabeled, n_test]
    y = np.arange(sum(sizes)) % 3
    latent = 1.5 * np.eye(3)[y] + 0.4 * rng.normal(size=(len(y), 3))
    clean = np.tanh(latent @ rng.normal(size=(3, 3)))
    noisy = latent @ rng.normal(size=(3, 5))
    X = np.hstack([clean, noisy + noise * 4 * rng.normal(size=noisy.shape)])
    kind = np.repeat(np.arange(5), sizes)
    X[kind == 0, TARGET] = np.nan
    X[kind >= 2, SOURCE] = np.nan
    marked = np.where((kind == 0) | (kind == 2), y, -1)
    wrong = np.flatnonzero(kind == 0)[: int(flipped * n_source)]
    marked[wrong] = rng.randint(3, size=len(wrong))
    train, test = kind < 4, kind == 4
    domain = np.where(kind == 0, 1, -1)[train]
    return X[train], marked[train], domain, X[test], y[test]


def fit(data, **params):
    X, y, domain, _, _ = data
    return DATN(SOURCE, TARGET, **{**SMALL, **params}).fit(X, y, sample_domain=domain)


def target_only(data, **params):
    X, y, domain, _, _ = data
    net = DATN(SOURCE, TARGET, **{**SMALL, **params})
    return net.fit(X[domain < 0], y[domain < 0], sample_domain=domain[domain < 0])


def tensor(array):
    return torch.as_tensor(np.asarray(array, dtype=float))


# --- numeric parts


def test_map_is_ridge_regression(rng):
    Zs, Zt = rng.normal(size=(30, 4)), rng.normal(size=(30, 4))
    G = solve_map(tensor(Zs), tensor(Zt), 0.7).numpy()
    assert_allclose(G, Ridge(alpha=0.7, fit_intercept=False).fit(Zt, Zs).coef_.T)
    G = solve_map(tensor(Zs), tensor(Zt), 1e-12).numpy()
    assert_allclose(G, np.linalg.lstsq(Zt, Zs, rcond=None)[0], rtol=1e-8)


def test_map_minimizes_its_terms_of_the_objective(rng):
    Zs, Zt = tensor(rng.normal(size=(30, 4))), tensor(rng.normal(size=(30, 4)))
    G = solve_map(Zs, Zt, 0.7)

    def terms(G):
        return 30 * pair_loss(Zs, Zt, G) + 0.7 * G.square().sum()

    for _ in range(5):
        assert terms(G) < terms(G + 1e-3 * tensor(rng.normal(size=(4, 4))))


def test_losses_equal_their_numpy_forms(rng):
    Zs, Zt, G = (rng.normal(size=s) for s in ((9, 4), (9, 4), (4, 4)))
    expected = np.linalg.norm(Zs - Zt @ G) ** 2 / 9
    assert_allclose(pair_loss(tensor(Zs), tensor(Zt), tensor(G)), expected)
    other = rng.normal(size=(5, 4))
    # the linear-kernel MMD by its kernel sums
    expected = (Zs @ Zs.T).mean() + (other @ other.T).mean() - 2 * (Zs @ other.T).mean()
    assert_allclose(mean_discrepancy(tensor(Zs), tensor(other)), expected)
    net = Pathway([4, 3, 2], 2, activation="relu")
    weights = [p.detach().numpy() for p in net.encoder.parameters()]
    expected = sum((w**2).sum() for w in weights)
    assert_allclose(squared_weights(net.encoder).item(), expected, rtol=1e-6)


def test_encoding_in_groups_is_encoding_each():
    X = torch.randn(7, 3)
    net = Pathway([3, 2], 2, activation="tanh").encoder
    groups = [np.array([4, 1, 4]), np.array([], dtype=int), np.array([1, 6])]
    for Z, rows in zip(encode(net, X, groups), groups, strict=True):
        assert_allclose(Z.detach(), net(X[rows]).detach(), rtol=1e-6)


def test_batches_cover_each_group(rng):
    groups = [np.arange(10), np.arange(20, 24), np.arange(30, 37)]
    batches = list(draw_batches(groups, 4, rng))
    assert len(batches) == 3
    for i, group in enumerate(groups):
        dealt = [batch[i] for batch in batches]
        assert all(len(rows) == 4 for rows in dealt)
        assert set(np.concatenate(dealt)) == set(group)
    whole = list(draw_batches(groups, 10, rng))
    assert len(whole) == 1
    for rows, group in zip(whole[0], groups, strict=True):
        assert_array_equal(rows, group)


def _problem(rng, *, activation="relu"):
    torch.manual_seed(0)
    X = tensor(rng.normal(size=(20, 3)))
    codes = torch.as_tensor(np.arange(20) % 2)
    rows = np.arange(20)
    sides = (Side(X, rows[:12], rows[:8], codes), Side(X, rows[8:], rows[12:16], codes))
    source, target = (Pathway([3, 6, 4], 2, activation=activation) for _ in range(2))
    for net in (source, target):
        net.double()
        with torch.no_grad():
            for parameter in net.parameters():
                parameter += 0.1  # no bias is 0
    return source, target, sides


def test_cross_losses_are_those_of_the_docstring(rng):
    source, target, sides = _problem(rng)
    G = tensor(rng.normal(size=(4, 4)))
    pairs = np.arange(8, 12)
    batch = pairs, sides[0].members, sides[1].members, sides[1].labeled
    losses = cross_losses(source, target, G, source.softmax, sides, batch)
    X = sides[0].X
    with torch.no_grad():
        Zs, Zt = source.encoder(X).numpy(), target.encoder(X).numpy()
        theta = source.softmax.weight.numpy()
    logits = Zt[12:16] @ G.numpy() @ theta.T
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    code = sides[1].codes.numpy()[12:16]
    expected = {
        "pair": np.linalg.norm(Zs[8:12] - Zt[8:12] @ G.numpy()) ** 2 / 4,
        "classification": -np.log(p[np.arange(4), code]).mean(),
        "mmd": ((Zs[:12].mean(axis=0) - Zt[8:].mean(axis=0)) ** 2).sum(),
        "map": (G.numpy() ** 2).sum(),
    }
    for name, value in expected.items():
        assert_allclose(losses[name].item(), value, err_msg=name)


def test_each_loss_moves_the_nets_that_it_should(rng):
    source, target, sides = _problem(rng, activation="tanh")
    G = tensor(rng.normal(size=(4, 4)))
    batch = np.arange(8, 12), sides[0].members, sides[1].members, sides[1].labeled
    nets = {
        "source": source.encoder,
        "target": target.encoder,
        "softmax": source.softmax,
        "decoder": source.decoder,
    }
    moved = {
        "pair": {"source", "target"},
        "classification": {"target", "softmax"},
        "mmd": {"source", "target"},
        "regularization": {"source", "target"},
    }
    for name, expected in moved.items():
        losses = cross_losses(source, target, G, source.softmax, sides, batch)
        for net in nets.values():
            net.zero_grad()
        losses[name].backward()
        alive = {
            key
            for key, net in nets.items()
            if all(p.grad is not None and p.grad.any() for p in net.parameters())
        }
        assert alive == expected, name


def test_initialization_moves_encoder_decoder_and_softmax(rng):
    source, _, sides = _problem(rng, activation="tanh")
    losses = intra_losses(source, sides[0], (sides[0].members, sides[0].labeled))
    with torch.no_grad():
        X = sides[0].X[:12]
        error = source.decoder(source.encoder(X)) - X
    expected = (error.numpy() ** 2).mean()
    assert_allclose(losses["reconstruction"].item(), expected)
    (losses["reconstruction"] + losses["classification"]).backward()
    assert all(p.grad.any() for p in source.parameters())


def test_gradients_agree_with_finite_differences(rng):
    source, target, sides = _problem(rng, activation="tanh")
    G = tensor(rng.normal(size=(4, 4)))
    batch = np.arange(8, 12), sides[0].members, sides[1].members, sides[1].labeled
    weight = target.encoder[0].weight

    def objective():
        losses = cross_losses(source, target, G, source.softmax, sides, batch)
        return sum(losses.values())

    objective().backward()
    direction = tensor(rng.normal(size=tuple(weight.shape)))
    slope = (weight.grad * direction).sum().item()
    values = []
    with torch.no_grad():
        for step in (1e-5, -2e-5):
            weight += step * direction
            values.append(objective().item())
    assert_allclose((values[0] - values[1]) / 2e-5, slope, rtol=1e-5)


def test_a_pass_reports_the_weighted_objective():
    weight = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(weight.weight, 3.0)

    def losses_of(batch):
        w = weight.weight
        return {"a": (w**2).sum(), "b": w.sum()}

    seen = []
    module = GroupModule([weight], losses_of, {"b": 0.5}, lambda: seen.append(0))
    rows = GroupRows([np.arange(4)], 4, np.random.RandomState(0))
    history = train_groups(module, rows, 2, lr=0.1, device="cpu")
    assert {k: v[0] for k, v in history.items()} == {
        "a": 9.0, "b": 3.0, "objective": 10.5
    }  # fmt: skip
    assert len(seen) == len(history["objective"]) == 2
    assert_allclose(weight.weight.item(), 3 - 2 * 0.1, rtol=1e-3)  # Adam's steps
    assert train_groups(module, rows, 0, lr=0.1, device="cpu") == {}


def test_a_stalled_objective_ends_the_training_after_its_patience():
    weight = torch.nn.Linear(1, 1)
    values = iter([2.0, 1.0, *[0.995] * 20])

    def losses_of(batch):
        return {"a": 0 * weight.weight.sum() + next(values)}

    stopping = StalledStopping(0.01)
    rows = GroupRows([np.arange(4)], 4, np.random.RandomState(0))
    module = GroupModule([weight], losses_of, {})
    history = train_groups(module, rows, 20, lr=0.1, device="cpu", callbacks=[stopping])
    assert stopping.stalled
    assert_allclose(stopping.residual, 0.005, rtol=1e-4)
    assert len(history["objective"]) == 12


# --- unlabeled rows of the source


def _with_unlabeled_source(n=40):
    """Append rows that have the source's block alone, and no label."""
    X, y, domain, X_test, y_test = two_views()
    rng = np.random.RandomState(1)
    rows = np.full((n, X.shape[1]), np.nan)
    rows[:, SOURCE] = X[:n, SOURCE] + 0.1 * rng.normal(size=(n, 3))
    y = np.where((y == -1) & (domain < 0), np.nan, y)
    X, y = np.vstack([X, rows]), np.r_[y, np.full(n, np.nan)]
    return X, y, np.r_[domain, np.ones(n, int)], X_test, y_test


def test_unlabeled_source_rows_count_in_reconstruction_and_distribution(routing):
    X, y, domain, X_test, y_test = _with_unlabeled_source()
    few, many = (
        DATN(SOURCE, TARGET, **SMALL).fit(X[:n], y[:n], sample_domain=domain[:n])
        for n in (-40, len(y))
    )
    assert_array_equal(few.classes_, many.classes_)
    gap = abs(few.predict_proba(X_test) - many.predict_proba(X_test)).max()
    assert gap > 1e-3
    assert many.score(X_test, y_test) > 0.6
    search = GridSearchCV(
        DATN(SOURCE, TARGET, **SMALL), {"beta": [0.0]}, cv=StratifiedTargetKFold(2)
    )
    search.fit(X, y, sample_domain=domain)
    assert search.best_score_ > 0
    guard = TransferGuard(DATN(SOURCE, TARGET, **SMALL), cv=2, random_state=0)
    assert guard.fit(X, y, sample_domain=domain).score(X_test, y_test) > 0.5
    gap = cross_val_ntg(DATN(SOURCE, TARGET, **SMALL), X, y, sample_domain=domain, cv=2)
    assert np.isfinite(gap.ntg)


def test_a_source_without_any_label_has_no_classifier_to_transfer():
    X, y, domain, X_test, _ = _with_unlabeled_source()
    y[domain > 0] = np.nan
    with pytest.raises(DomainError, match="no label of a source row"):
        DATN(SOURCE, TARGET, **SMALL).fit(X, y, sample_domain=domain)
    net = DATN(SOURCE, TARGET, variant="unsupervised", **SMALL)
    net.fit(X, y, sample_domain=domain)
    assert np.isfinite(net.predict_proba(X_test)).all()


# --- columns and blocks


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ([2, 0], [2, 0]),
        (1, [1]),
        (range(1, 3), [1, 2]),
        (slice(1, None), [1, 2, 3]),
        ([True, False, False, True], [0, 3]),
        ("b", [1]),
        (["d", "a"], [3, 0]),
        (slice("b", "c"), [1, 2]),
        (slice("c", None), [2, 3]),
        (np.array(["a"], dtype=object), [0]),
        (-1, [3]),
    ],
)
def test_columns_by_every_kind_of_name(key, expected):
    columns = resolve_columns(key, "source_columns", 4, np.array(list("abcd")))
    assert_array_equal(columns, expected)


@pytest.mark.parametrize(
    ("key", "match"),
    [
        ([7], "source_columns"),
        ("z", "unknown columns"),
        ([], "names no column"),
        ([1, 1], "twice"),
        ([True, False], "source_columns"),
        ([0.5], "source_columns"),
        (None, "name both blocks"),
    ],
)
def test_bad_columns_are_named(key, match):
    with pytest.raises(ValueError, match=match):
        resolve_columns(key, "source_columns", 4, np.array(list("abcd")))


def test_names_need_a_frame():
    with pytest.raises(ValueError, match="no column names"):
        resolve_columns("a", "source_columns", 4, None)


def test_half_a_block_is_refused():
    X = np.array([[1.0, 2.0], [np.nan, np.nan], [1.0, np.nan]])
    assert_array_equal(has_block(X[:2], np.arange(2), "source"), [True, False])
    with pytest.raises(DomainError, match="Row 2 of X holds NaN in some of source"):
        has_block(X, np.arange(2), "source")


def _broken(change):
    X, y, domain, _, _ = two_views()
    change(X, y, domain)
    return X, y, domain


def _no_source_block(X, y, domain):
    X[np.flatnonzero(domain > 0)[4], SOURCE] = np.nan


def _no_target_block(X, y, domain):
    X[60:, TARGET] = np.nan


def _neither(X, y, domain):
    X[70] = np.nan


def _no_pairs(X, y, domain):
    X[60:, SOURCE] = np.nan


def _partial(X, y, domain):
    X[70, 4] = np.nan


def _infinite(X, y, domain):
    X[70, 4] = np.inf


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (_no_source_block, "Row 4 of X is a source row"),
        (_no_target_block, "Row 60 of X is a target row"),
        (_neither, "Row 70 of X is a target row"),
        (_no_pairs, "No row of X has both blocks"),
        (_partial, "in some of target_columns"),
        (_infinite, "infinity"),
    ],
)
def test_bad_blocks_are_refused_before_training(change, match, monkeypatch):
    monkeypatch.setattr(DATN, "_make_pathways", None)  # training would call it
    X, y, domain = _broken(change)
    with pytest.raises(ValueError, match=match):
        DATN(SOURCE, TARGET, **SMALL).fit(X, y, sample_domain=domain)


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"source_columns": [0, 1], "target_columns": [1, 2]}, "share the columns"),
        ({"source_columns": [0, 1]}, "target_columns is None"),
        ({"target_columns": [0, 1]}, "source_columns is None"),
        ({"device": "abacus"}, "no device of torch"),
        ({"target_hidden": (3, 0)}, "target_hidden must hold positive"),
        ({"source_hidden": (2.5,)}, "source_hidden must hold positive"),
    ],
)
def test_bad_parameters_are_refused(params, match, rng):
    X, y = rng.normal(size=(12, 4)), np.arange(12) % 2
    domain = np.repeat([1, -1], 6)
    with pytest.raises(ValueError, match=match):
        DATN(**{**SMALL, **params}).fit(X, y, sample_domain=domain)


def test_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="sees no GPU"):
        find_device("cuda")
    assert find_device("auto").type == "cpu"


def test_two_sources_are_refused():
    X, y, domain, _, _ = two_views()
    domain[:5] = 2
    with pytest.raises(CapabilityError, match="2 sources"):
        DATN(SOURCE, TARGET, **SMALL).fit(X, y, sample_domain=domain)


# --- the estimator


@pytest.fixture(scope="module")
def data():
    return two_views()


@pytest.fixture(scope="module")
def fitted(data):
    return fit(data)


def test_predictions_read_the_target_block_alone(data, fitted):
    X, _, domain, X_test, _ = data
    assert fitted.n_pairs_ == 60
    assert fitted.transferred_
    proba = fitted.predict_proba(X_test)
    assert_allclose(proba.sum(axis=1), 1)
    filled = X_test.copy()
    filled[:, SOURCE] = 7.0
    assert_array_equal(fitted.predict_proba(filled), proba)
    with pytest.raises(DomainError, match="Row 0 of X is a target row"):
        fitted.predict(X[domain > 0])


def test_transform_maps_targets_into_the_space_of_the_source(data, fitted):
    X, _, domain, X_test, _ = data
    Z = fitted.transform(X, sample_domain=domain)
    assert Z.shape == (len(X), 8)
    assert list(fitted.get_feature_names_out())[:2] == ["datn0", "datn1"]
    Z_test = fitted.transform(X_test)
    logits = Z_test @ fitted.source_module_.softmax.weight.detach().numpy().T
    assert_array_equal(fitted.classes_[logits.argmax(axis=1)], fitted.predict(X_test))
    # the two halves of a pair lie closer than halves of different pairs
    pairs = X[60:120]
    as_source = fitted.transform(pairs, sample_domain=np.ones(60, dtype=int))
    as_target = fitted.transform(pairs)
    apart = np.linalg.norm(as_source - as_target, axis=1).mean()
    others = np.linalg.norm(as_source - np.roll(as_target, 1, axis=0), axis=1).mean()
    assert apart < 0.7 * others


def test_without_a_source_it_is_the_targets_own_net(data):
    X, y, domain, X_test, _ = data
    net = target_only(data)
    assert not net.transferred_
    assert net.n_pairs_ == 0
    assert net.source_module_ is None
    assert_array_equal(net.G_, np.eye(8))
    assert net.n_iter_ == 40
    assert set(net.history_) == {
        f"target_{name}"
        for name in ("reconstruction", "classification", "regularization", "objective")
    }
    # the source's block of its pairs is not read
    blind = X.copy()
    blind[domain < 0, SOURCE] = np.nan
    other = target_only((blind, y, domain, X_test, None))
    assert_allclose(net.predict_proba(X_test), other.predict_proba(X_test))
    with pytest.raises(DomainError, match="fitted without any"):
        net.transform(X[domain > 0], sample_domain=1)


def test_the_target_begins_alike_with_and_without_a_source(data):
    # the initialization of the target sees the same rows, so it is the same
    with_source, without = fit(data), target_only(data)
    name = "target_objective"
    assert_allclose(with_source.history_[name], without.history_[name])


def test_history_holds_every_loss_and_falls(fitted):
    terms = ("pair", "map", "classification", "mmd", "regularization", "objective")
    for name in terms:
        assert len(fitted.history_[name]) == fitted.n_iter_ == 10, name
    for phase in ("source", "target"):
        for loss in ("reconstruction", "classification"):
            values = fitted.history_[f"{phase}_{loss}"]
            assert len(values) == 40
            assert values[-1] < 0.8 * values[0], (phase, loss)
    h = fitted.history_
    assert h["objective"][-1] < h["objective"][0]
    expected = (
        h["pair"] + 0.1 / 60 * h["map"] + 2 * h["classification"] + h["mmd"]
        + 1e-4 * h["regularization"]
    )  # fmt: skip
    assert_allclose(h["objective"], expected)


def test_the_map_step_never_raises_the_pair_loss(data):
    rows, every = data[0][60:120], np.ones(60, dtype=bool)
    before = fit(data, max_iter=3, fine_tuning_rate=0.01)
    Zs, Zt = (before._represent(rows, every, side) for side in ("source", "target"))
    G = solve_map(tensor(Zs), tensor(Zt), 0.1)

    def value(G):
        loss = pair_loss(tensor(Zs), tensor(Zt), tensor(G))
        return 60 * loss.item() + 0.1 * float((np.asarray(G) ** 2).sum())

    assert value(G) < value(before.G_)  # of the iteration before


def test_variants_leave_out_their_terms(data):
    X_test = data[3]
    nets = {v: fit(data, variant=v) for v in ("full", "supervised", "unsupervised")}
    proba = {v: net.predict_proba(X_test) for v, net in nets.items()}
    assert np.abs(proba["full"] - proba["supervised"]).max() > 1e-6
    assert np.abs(proba["full"] - proba["unsupervised"]).max() > 1e-2
    # supervised is full with beta = 0
    assert_array_equal(fit(data, beta=0.0).predict_proba(X_test), proba["supervised"])
    # unsupervised needs no pairs and keeps the target's own softmax
    X = data[0].copy()
    X[60:, SOURCE] = np.nan
    apart = fit((X, *data[1:]), variant="unsupervised")
    assert apart.n_pairs_ == nets["unsupervised"].n_pairs_ == 0
    assert_array_equal(apart.G_, np.eye(8))
    assert_allclose(
        apart.predict_proba(X_test).argmax(axis=1),
        (
            apart.transform(X_test)
            @ apart.target_module_.softmax.weight.detach().numpy().T
        ).argmax(axis=1),
    )


def test_beta_brings_the_means_together(data):
    gaps = []
    for beta in (0.0, 10.0):
        net = fit(data, beta=beta, max_iter=60, fine_tuning_rate=0.003)
        gaps.append(net.history_["mmd"][-1] / net.history_["mmd"][0])
    assert gaps[1] < 0.5 * gaps[0]


def test_alpha_fits_the_labeled_target_rows(data):
    last = [
        fit(data, alpha=alpha, max_iter=60, fine_tuning_rate=0.003).history_[
            "classification"
        ][-1]
        for alpha in (0.0, 5.0)
    ]
    assert last[1] < 0.5 * last[0]


def test_few_labels_with_pairs_beat_the_target_alone():
    gains = []
    for seed in range(3):
        data = two_views(seed, n_labeled=6)
        with_source, without = fit(data), target_only(data)
        gains.append(with_source.score(*data[3:]) - without.score(*data[3:]))
    assert np.mean(gains) > 0.05
    assert min(gains) > -0.05


def test_a_better_source_gives_a_better_target():
    scores = {
        flipped: np.mean([
            fit(d, max_iter=2).score(*d[3:])
            for d in (two_views(seed, flipped=flipped) for seed in range(3))
        ])
        for flipped in (0.0, 0.6, 1.0)
    }  # fmt: skip
    assert scores[0.0] > scores[0.6] > scores[1.0]


def test_labels_belong_to_the_domain_of_their_row(data):
    """A labeled pair among target rows trains the transferred classifier."""
    X, y, domain, _, _ = data
    more = y.copy()
    more[60:120] = 0  # pairs, all of one class
    net = DATN(SOURCE, TARGET, **SMALL).fit(X, more, sample_domain=domain)
    plain = fit(data)
    name = "source_classification"
    assert_array_equal(net.history_[name], plain.history_[name])
    moved = domain.copy()
    moved[60:90] = 1  # half of the pairs become source rows
    net = DATN(SOURCE, TARGET, **SMALL).fit(X, more, sample_domain=moved)
    assert net.n_pairs_ == 60
    assert (net.history_[name] != plain.history_[name]).any()


def test_no_labeled_target_row_is_needed(data):
    X, y, domain, X_test, y_test = data
    net = fit((X, np.where(domain < 0, -1, y), domain, None, None))
    assert not net.history_["classification"].any()
    assert net.score(X_test, y_test) > 0.6


def test_one_feature_space_copies_the_source(rng):
    """Without columns each row is its own pair: the map repeats the source's net."""
    y = np.arange(90) % 2
    X = rng.normal(size=(90, 3)) + 2.0 * (2 * y - 1)[:, None]
    domain = np.repeat([1, -1], [60, 30])
    marked = np.where(domain > 0, y, -1)
    net = DATN(**SMALL).fit(X, marked, sample_domain=domain)
    assert net.n_pairs_ == 90
    assert net.score(X[60:], y[60:]) > 0.95


def test_mini_batches_do_not_depend_on_the_order_of_rows(data):
    X, y, domain, X_test, _ = data
    order = np.random.RandomState(3).permutation(len(y))
    params = {"batch_size": 16, "pretrain_iter": 3, "max_iter": 3}
    first = fit(data, **params)
    second = fit((X[order], y[order], domain[order], None, None), **params)
    assert_allclose(first.predict_proba(X_test), second.predict_proba(X_test))
    assert len(first.history_["pair"]) == 3


def test_columns_that_no_block_names_are_ignored(data):
    X, y, domain, X_test, _ = data
    extra = np.full((len(X), 1), np.nan)
    extra[::2] = 5.0
    blocks = np.arange(3), np.arange(3, 8)
    params = {**SMALL, "batch_size": 16, "pretrain_iter": 3, "max_iter": 2}
    wide = DATN(*blocks, **params).fit(np.hstack([X, extra]), y, sample_domain=domain)
    plain = DATN(*blocks, **params).fit(X, y, sample_domain=domain)
    test = np.hstack([X_test, np.full((len(X_test), 1), np.nan)])
    assert_array_equal(wide.predict_proba(test), plain.predict_proba(X_test))


def test_frames_with_named_blocks(data):
    X, y, domain, X_test, _ = data
    names = ["t0", "t1", "t2", "i0", "i1", "i2", "i3", "i4"]
    net = DATN(names[:3], slice("i0", "i4"), **SMALL)
    net.fit(pd.DataFrame(X, columns=names), y, sample_domain=domain)
    assert_array_equal(net.target_columns_, np.arange(3, 8))
    test = pd.DataFrame(X_test, columns=names)
    assert_array_equal(net.predict_proba(test), fit(data).predict_proba(X_test))


def test_random_numbers_of_others_are_left_alone(data):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    fit(data, random_state=1, max_iter=1, pretrain_iter=1)
    assert torch.equal(torch.get_rng_state(), state)


def test_float32_is_kept(data, fitted):
    X, y, domain, X_test, _ = data
    net = fit((X.astype(np.float32), y, domain, None, None))
    assert net.transform(X_test.astype(np.float32)).dtype == np.float32
    assert net.G_.dtype == np.float32
    assert next(net.target_module_.parameters()).dtype == torch.float32
    assert next(fitted.target_module_.parameters()).dtype == torch.float64
    assert_allclose(net.predict_proba(X_test), fitted.predict_proba(X_test), atol=0.02)


def test_tol_ends_the_descent_or_warns(data):
    params = {"fine_tuning_rate": 0.003, "variant": "supervised"}
    net = fit(data, tol=0.2, max_iter=300, **params)
    assert 10 < net.n_iter_ < 300
    with pytest.warns(ConvergenceWarning, match="the objective fell by"):
        fit(data, tol=1e-6, max_iter=15, **params)


def test_clone_pickle_and_grid_search(data, fitted, routing):
    X, y, domain, X_test, _ = data
    again = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(again.predict(X_test), fitted.predict(X_test))
    assert clone(fitted).get_params() == fitted.get_params()
    search = GridSearchCV(
        DATN(SOURCE, TARGET, **{**SMALL, "pretrain_iter": 5, "max_iter": 2}),
        {"alpha": [0.0, 2.0], "variant": ["full", "supervised"]},
        cv=StratifiedTargetKFold(2),
    )
    search.fit(X, y, sample_domain=domain)
    assert search.cv_results_["mean_test_score"].shape == (4,)


def test_raw_columns_without_standardization(data):
    net = fit(data, standardize=False, activation="identity", target_hidden=())
    encoder = net.target_module_.encoder
    expected = data[3][:, TARGET] @ encoder[0].weight.detach().numpy().T
    expected = (expected + encoder[0].bias.detach().numpy()) @ net.G_
    assert_allclose(net.transform(data[3]), expected)


# --- the transfer contract with two feature spaces


def paired_problem(estimator, **sizes):
    """Give the rows of the common problem a second block; two target rows in three
    are pairs."""
    problem = make_problem(estimator, **sizes)
    mixing = np.random.RandomState(0).normal(size=(4, 3))
    X = np.hstack([problem.X, problem.X @ mixing])
    source = problem.sample_domain > 0
    X[source, 4:] = np.nan
    X[np.flatnonzero(~source)[::3], :4] = np.nan
    X_test = np.hstack([np.full_like(problem.X_test, np.nan), problem.X_test @ mixing])
    return replace(problem, X=X, X_test=X_test)


@parametrize_with_transfer_checks(
    [
        DATN(
            range(4), range(4, 7), n_components=4, source_hidden=(), target_hidden=(),
            pretrain_iter=3, max_iter=2, random_state=0,
        )
    ],
    make_data=paired_problem,
)  # fmt: skip
def test_two_feature_spaces_keep_the_transfer_contract(estimator, check):
    check(estimator)


# --- pairs of two rows


def as_two_rows(data):
    """Give every row with both blocks as a source row and a target row of one name."""
    X, y, domain, X_test, y_test = data
    y = np.where(y < 0, np.nan, y.astype(float))
    both = np.flatnonzero(~np.isnan(X).any(axis=1))
    first = X[both].copy()
    first[:, TARGET] = np.nan
    second = X.copy()
    second[np.ix_(both, np.arange(8)[SOURCE])] = np.nan
    names = np.full(len(X), None, dtype=object)
    names[both] = [f"object {k}" for k in both]
    order = np.random.RandomState(1).permutation(len(X) + len(both))
    rows = (
        np.vstack([second, first]),
        np.r_[y, np.full(len(both), np.nan)],
        np.r_[domain, np.ones(len(both), dtype=int)],
        np.r_[names, names[both]],
    )
    return *(part[order] for part in rows), X_test, y_test


@pytest.mark.parametrize("variant", ["full", "supervised", "unsupervised"])
def test_pairs_of_two_rows_are_rows_with_both_blocks(variant):
    data = two_views(n_labeled=9)
    expected = fit(data, variant=variant)
    X, y, domain, names, X_test, _ = as_two_rows(data)
    net = DATN(SOURCE, TARGET, **{**SMALL, "variant": variant})
    net.fit(X, y, sample_domain=domain, sample_pair=names)
    assert net.n_pairs_ == expected.n_pairs_
    assert_allclose(
        net.predict_proba(X_test), expected.predict_proba(X_test), atol=1e-6
    )
    assert_allclose(net.G_, expected.G_, atol=1e-6)
    Z = net.fit_transform(X, y, sample_domain=domain, sample_pair=names)
    assert_allclose(Z[domain < 0], net.transform(X[domain < 0]))


def test_pairs_of_two_rows_in_one_feature_space(rng):
    """A second instrument turns the features round; ten objects show how."""
    y = np.arange(120) % 2
    objects = rng.normal(size=(120, 3)) + np.where(y, 1.5, -1.5)[:, None]
    X = np.vstack([objects[:60], -objects[:20], -objects[60:]])
    labels = np.r_[y[:60], np.full(80, np.nan)]
    domain = np.repeat([1, -1], [60, 80])
    names = np.r_[np.arange(20.0), np.full(40, np.nan), np.arange(20.0)]
    names = np.r_[names, np.full(60, np.nan)]
    net = DATN(**SMALL).fit(X, labels, sample_domain=domain, sample_pair=names)
    assert net.n_pairs_ == 20
    assert net.score(X[80:], y[60:]) > 0.9
    alone = DATN(**SMALL).fit(X, labels, sample_domain=domain)
    assert alone.n_pairs_ == 140
    assert alone.score(X[80:], y[60:]) < 0.2


def test_pairs_of_two_rows_are_checked(routing):
    data = two_views(n_pairs=20, n_source=20, n_labeled=9)
    X, y, domain, names, *_ = as_two_rows(data)
    net = DATN(SOURCE, TARGET, **{**SMALL, "pretrain_iter": 2, "max_iter": 2})
    with pytest.raises(DomainError, match="name pairs of rows by sample_pair"):
        net.fit(X, y, sample_domain=domain)
    with pytest.raises(DomainError, match="no name that is in a source row and"):
        net.fit(X, y, sample_domain=domain, sample_pair=np.arange(len(X)))
    with pytest.raises(DomainError, match="shape"):
        net.fit(X, y, sample_domain=domain, sample_pair=names[:3])
    whole = X.copy()
    row = np.flatnonzero((domain < 0) & (names != None))[0]  # noqa: E711
    whole[row, SOURCE] = 0.0
    with pytest.raises(DomainError, match="is a pair by itself"):
        net.fit(whole, y, sample_domain=domain, sample_pair=names)
    # without a source there is nothing to pair
    target = domain < 0
    alone = net.fit(
        X[target], y[target], sample_domain=domain[target], sample_pair=names[target]
    )
    assert not alone.transferred_
    guard = TransferGuard(net, cv=StratifiedTargetKFold(3))
    guard.fit(X, y, sample_domain=domain, sample_pair=names)
    assert guard.transfer_.n_pairs_ == 20
    result = cross_val_ntg(
        net, X, y, sample_domain=domain, params={"sample_pair": names}, cv=2
    )
    assert np.isfinite(result.ntg)


def test_callbacks_of_skorch_follow_the_descent(data, capsys):
    seen = []

    class Counting(Callback):
        def on_epoch_end(self, net, **kwargs):
            seen.append(net.optimizer_.param_groups[0]["lr"])

    schedule = LRScheduler("StepLR", step_size=1, gamma=0.5)
    short = {"pretrain_iter": 2, "max_iter": 3, "fine_tuning_rate": 0.1}
    net = fit(data, callbacks=[Counting(), ("rate", schedule)], verbose=1, **short)
    assert_allclose(seen, [0.1, 0.05, 0.025])
    assert net.n_iter_ == 3
    assert "train_loss" in capsys.readouterr().out
    seen.clear()
    target_only(data, callbacks=[Counting()], **short)
    assert len(seen) == 2  # the initialization is all there is
    for callback in (EpochScoring("accuracy"), EarlyStopping("valid_loss")):
        with pytest.raises(ValueError, match=f"{type(callback).__name__}, which looks"):
            fit(data, callbacks=[callback])


# --- weakly shared nets


def _shared(data, **params):
    X, y, domain, _, _ = data
    small = {"n_components": 8, "pretrain_iter": 20, "max_iter": 30, "random_state": 0}
    net = WSDTN(SOURCE, TARGET, **{**small, "learning_rate": 0.02, **params})
    return net.fit(X, y, sample_domain=domain)


def test_weakly_shared_nets_vote_by_similarity(data):
    X, y, domain, X_test, y_test = data
    net = _shared(data, fine_tuning_rate=0.01)
    assert net.n_pairs_ == 60
    assert net.score(X_test, y_test) > 0.8
    # f_c(x) = mean of s_ic z_i' z(x) over the source
    Z = net.transform(X, sample_domain=domain)[domain > 0]
    signs = 2 * (y[domain > 0][:, None] == net.classes_) - 1
    scores = net.transform(X_test) @ (Z.T @ signs / len(Z))
    proba = np.exp(scores - scores.max(axis=1, keepdims=True))
    assert_allclose(
        net.predict_proba(X_test), proba / proba.sum(axis=1, keepdims=True), rtol=1e-5
    )
    h = net.history_
    expected = (
        h["classification"] + h["pair"] + 0.1 * h["sharing"]
        + 1e-3 * h["regularization"]
    )  # fmt: skip
    assert_allclose(h["objective"], expected, rtol=1e-5)
    assert h["pair"][-1] < 0.5 * h["pair"][0]


def test_sharing_draws_the_upper_layers_together(data):
    last = [
        _shared(data, sharing=sharing, fine_tuning_rate=0.01).history_["sharing"][-1]
        for sharing in (0.0, 10.0)
    ]
    assert last[1] < 0.4 * last[0]
    net = _shared(data, shared_hidden=(6, 5), target_hidden=(7,), max_iter=1)
    shapes = [
        [layer.weight.shape for layer in side.encoder[::2]]
        for side in (net.source_module_, net.target_module_)
    ]
    # source: block, 6, 5, 8; target: block, 7, 6, 5, 8
    assert shapes[0][1:] == shapes[1][2:]
    with pytest.raises(ValueError, match="shared_hidden is empty"):
        _shared(data, shared_hidden=())


def test_weakly_shared_nets_without_a_source_or_pairs(data):
    X, y, domain, X_test, _ = data
    target = domain < 0
    net = _shared((X[target], y[target], domain[target], None, None))
    logits = net.transform(X_test) @ net.class_vectors_
    assert_array_equal(net.classes_[logits.argmax(axis=1)], net.predict(X_test))
    assert_allclose(net.class_vectors_.T, net.target_module_.softmax.weight.detach())
    apart = X.copy()
    apart[60:, SOURCE] = np.nan
    with pytest.raises(DomainError, match="but WSDTN learns the similarity"):
        _shared((apart, *data[1:]))
