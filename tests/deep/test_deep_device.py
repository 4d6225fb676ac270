"""Where rows are kept and moved, what waits for a device, whose random numbers."""

import ast
import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import sktransfer.deep
from sktransfer.deep import (
    ADDA,
    DANN,
    DATN,
    GTA,
    SHOT,
    AdversarialTraining,
    FineTuning,
    MultiTaskNetClassifier,
    OTCEFineTuning,
    SourceOnlyNet,
    StartPointPenalty,
    TransferNetClassifier,
    UOWQNet,
    WassersteinAlignment,
    _rows,
)
from sktransfer.deep._device import find_device, has_double, seeded
from sktransfer.deep._encoder import RowEncoder
from sktransfer.deep._rows import DomainRows

#: calls that make the host wait for the device, or move something to the host
WAITS = {"item", "cpu", "numpy", "tolist", "nonzero", "bool", "float"}
#: functions that run once a step
STEPS = {
    "forward", "label_losses", "judge", "encode", "losses", "own_losses",
    "source_weight", "labeled_weight", "ratio", "reversal", "train_step", "__iter__",
    "_moved", "ramp", "mk_mmd_loss", "_mk_mmd", "coral_loss", "_covariance",
    "_second_moments", "perturb", "_attack", "extract", "outputs_of_source",
    "source_outputs", "domains",
}  # fmt: skip


def _domain_rows(device="meta"):
    x, y = torch.randn(20, 3), torch.arange(20)
    return DomainRows(
        x, y, x[:5], y[:5], x, torch.zeros(20).long(), 8,
        w_source=torch.ones(20), device=device,
    )  # fmt: skip


def _count_moves(monkeypatch):
    moves, to = [], torch.Tensor.to

    def count(self, *args, **kwargs):
        found = to(self, *args, **kwargs)
        if found.device != self.device:
            moves.append(tuple(self.shape))
        return found

    monkeypatch.setattr(torch.Tensor, "to", count)
    return moves


def test_rows_move_once_and_positions_once_an_epoch(monkeypatch):
    moves = _count_moves(monkeypatch)
    rows = _domain_rows()
    assert moves == [(45, 3), (20,), (5,), (20,), (20,)]
    moves.clear()
    batches = list(rows)
    assert len(batches) == 3
    assert len(moves) == 3, "one move of positions for each kind of rows"
    assert all(
        part.device.type == "meta" for part in batches[0] if torch.is_tensor(part)
    )


def test_large_rows_stay_on_the_host_and_move_batch_by_batch(monkeypatch):
    monkeypatch.setattr(_rows, "_MOST_BYTES", 100)
    rows = _domain_rows()
    assert rows.x.device.type == "cpu"
    moves = _count_moves(monkeypatch)
    batches = list(rows)
    assert [shape for shape in moves if len(shape) == 2 and shape[1] == 3] == [
        (8 + 5 + 8, 3)
    ] * 3
    assert batches[0].x.device.type == "meta"
    assert [len(x) for x in rows.chunks(rows.x_source, 15)] == [15, 5]


def test_both_ways_to_keep_rows_give_the_same_net(make_toy, monkeypatch):
    toy, outputs = make_toy(), []
    for most in (2**30, 10):
        monkeypatch.setattr(_rows, "_MOST_BYTES", most)
        net = DANN(gate=True, max_steps=6, batch_size=8, random_state=0)
        net.fit(toy.X, toy.y, sample_domain=toy.domain)
        outputs.append(net.predict_proba(toy.X))
    np.testing.assert_array_equal(*outputs)


def test_no_step_waits_for_the_device():
    """By reading: what runs once a step calls nothing that synchronizes."""
    found = []
    for path in Path(inspect.getfile(sktransfer.deep)).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name in STEPS:
                calls = (n.func for n in ast.walk(node) if isinstance(n, ast.Call))
                names = [getattr(f, "attr", getattr(f, "id", None)) for f in calls]
                found += [(path.name, node.name, n) for n in names if n in WAITS]
    assert found == []


class CountWaits(TorchDispatchMode):
    """Count operations that make the host wait for a device."""

    def __init__(self):
        super().__init__()
        self.n = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func)
        index = args[1] if name.startswith("aten.index.") else ()
        by_mask = any(i is not None and i.dtype == torch.bool for i in index)
        waits = "_local_scalar_dense", "nonzero", "masked_select", "unique"
        self.n += by_mask or any(wait in name for wait in waits)
        return func(*args, **(kwargs or {}))


#: settings of nets whose optimizer reads nothing
NEVER = {
    "optimizer": torch.optim.SGD, "epoch_size": 2000, "batch_size": 32,
    "early_stopping": False, "random_state": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [
        lambda n: DANN(gate=True, match="both", max_steps=n, **NEVER),
        lambda n: ADDA(max_steps=n, **NEVER),
        lambda n: GTA(max_steps=n, **NEVER),
        lambda n: UOWQNet(max_steps=n, **NEVER),
        lambda n: FineTuning(max_steps=n, **NEVER),
        lambda n: MultiTaskNetClassifier(weighting="gradnorm", max_steps=n, **NEVER),
        lambda n: TransferNetClassifier(
            alignment=WassersteinAlignment(), max_steps=n,
            penalties=[StartPointPenalty(), AdversarialTraining(0.1)], **NEVER,
        ),
        lambda n: SHOT(
            TransferNetClassifier(max_steps=2, **NEVER), max_steps=n,
            pseudo_label_share=0.5, feature_alignment=1.0, random_state=0,
        ),
    ],
)  # fmt: skip
def test_a_longer_epoch_waits_no_more_often(toy, make):
    y, waits = np.where(toy.y < 0, np.nan, toy.y), []
    for n_steps in 4, 9:
        with CountWaits() as counted:
            make(n_steps).fit(toy.X, y, sample_domain=toy.domain)
        waits.append(counted.n)
    assert waits[0] == waits[1]


def test_random_numbers_of_a_device_are_seeded_and_restored():
    state = torch.get_rng_state()
    draws = []
    for _ in range(2):
        with seeded(3, torch.device("cpu")):
            draws.append(torch.randn(4))
    assert torch.equal(*draws)
    assert torch.equal(state, torch.get_rng_state())
    with torch.random.fork_rng():
        torch.manual_seed(3)
        assert torch.equal(torch.randn(4), draws[0])


def test_double_precision_where_a_device_has_it(monkeypatch):
    assert has_double("cpu")
    assert has_double("cuda:1")
    assert not has_double("mps")
    X = np.zeros((3, 2))
    encoder = RowEncoder(True, "float64")
    with pytest.raises(ValueError, match="'mps' has no double"):
        encoder.fit(X, torch.device("mps"))
    assert RowEncoder(True, "auto").fit(X, torch.device("mps")).dtype_name == "float32"
    assert RowEncoder(True, "auto").fit(X, torch.device("cpu")).dtype_name == "float64"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match="torch sees no GPU"):
        find_device("mps")
    with pytest.raises(ValueError, match="'meta' computes nothing"):
        find_device("meta")
    with pytest.raises(ValueError, match="torch cannot use device='hpu'"):
        find_device("hpu")


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_fits_compute_gradients_where_the_caller_does_not(toy, off):
    y = np.where(toy.y < 0, np.nan, toy.y)
    short = {"max_steps": 3, "lr": 0.05, "random_state": 0}
    nets = [
        DANN(gate=True, **short),
        OTCEFineTuning(**short),
        SHOT(SourceOnlyNet(**short), max_steps=3, random_state=0),
        DATN(pretrain_iter=2, max_iter=2, random_state=0),
    ]
    for net in nets:
        expected = net.fit(toy.X, y, sample_domain=toy.domain).predict_proba(toy.X)
        with off():
            again = net.fit(toy.X, y, sample_domain=toy.domain)
            assert not torch.is_grad_enabled()
        np.testing.assert_array_equal(again.predict_proba(toy.X), expected)


def test_mixed_precision_is_of_single_precision(toy):
    nets = [DANN(max_steps=5, mixed_precision=m, random_state=0) for m in (True, False)]
    outputs = [
        net.fit(toy.X, toy.y, sample_domain=toy.domain).predict_proba(toy.X)
        for net in nets
    ]
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-5
    net = DANN(mixed_precision=True, dtype="float64")
    with pytest.raises(ValueError, match="mixed_precision=True has no effect"):
        net.fit(toy.X, toy.y, sample_domain=toy.domain)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("weight", [None, np.ones(1000)])
def test_scales_of_large_numbers(dtype, weight):
    """Constants of inexact sums, squares that overflow, sums that lose digits."""
    x = np.random.RandomState(0).normal(size=1000)
    columns = [np.full(1000, 1e30), 1e30 * x, 1e5 + x, np.full(1000, 0.1)]
    top = [] if dtype is np.float32 else [1e250 * x]
    X = np.column_stack(columns + top).astype(dtype)
    encoder = RowEncoder(True, "auto").fit(X, torch.device("cpu"), weight)
    z = encoder.tensor(X).numpy()
    np.testing.assert_array_equal(z[:, [0, 3]], 0)
    others = z[:, [1, 2, *range(4, X.shape[1])]]
    np.testing.assert_allclose(others.mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(others.std(axis=0), 1, rtol=1e-3)
