"""Adapters: unchanged at the start, and nothing but them is trained."""

import copy

import pytest
import torch
from torch import nn

from sktransfer.deep import MLP, LowRankLinear, add_adapters


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def _mlp():
    return MLP(6, hidden_units=(5, 4))


def test_outputs_are_unchanged_at_the_start():
    module, x = _mlp(), torch.randn(7, 6)
    before = module(x)
    assert torch.equal(add_adapters(module, rank=2)(x), before)


def test_only_adapters_get_gradients():
    adapted = add_adapters(_mlp(), rank=2)
    adapted(torch.randn(7, 6)).sum().backward()
    for name, parameter in adapted.named_parameters():
        is_adapter = name.endswith((".A", ".B"))
        assert parameter.requires_grad == is_adapter
        assert (parameter.grad is not None) == is_adapter


@pytest.mark.parametrize(("rank", "alpha"), [(1, 1.0), (2, 8.0)])
def test_layer_is_its_equation(rank, alpha):
    layer = LowRankLinear(nn.Linear(4, 3), rank, alpha)
    nn.init.normal_(layer.B)
    x = torch.randn(5, 4)
    weight = layer.base.weight + alpha / rank * layer.B @ layer.A
    torch.testing.assert_close(layer(x), x @ weight.T + layer.base.bias)
    torch.testing.assert_close(layer.weight, weight)
    assert layer.A.shape == (rank, 4) and layer.B.shape == (3, rank)


def test_a_layer_used_twice_stays_one():
    shared = nn.Linear(4, 4)
    adapted = add_adapters(nn.Sequential(nn.Sequential(shared), nn.ReLU(), shared))
    assert adapted.module[0][0] is adapted.module[2]


@pytest.mark.parametrize("train", [True, False])
def test_attention_is_adapted_too(train):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    module, x = layer.train(train), torch.randn(3, 5, 8)
    before = copy.deepcopy(module).eval()(x)
    adapted = add_adapters(module, rank=2).train(train)
    torch.testing.assert_close(adapted(x), before)
    nn.init.normal_(adapted.module.self_attn.out_proj.B)
    assert not torch.allclose(adapted(x), before)


def test_statistics_of_the_base_are_frozen():
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout())
    adapted = add_adapters(module).train()
    x = torch.randn(9, 3)
    assert torch.equal(adapted(x), adapted(x))
    assert torch.equal(module[1].running_mean, torch.zeros(4))


def test_a_single_layer():
    base, x = nn.Linear(3, 2), torch.randn(4, 3)
    assert torch.equal(add_adapters(base)(x), base(x))


def test_nothing_to_adapt():
    with pytest.raises(ValueError, match=r"Conv2d has no torch\.nn\.Linear"):
        add_adapters(nn.Conv2d(1, 2, 3))
