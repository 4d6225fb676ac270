"""Distances of features: equal to their numpy forms, with gradients that are right."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.metrics.pairwise import euclidean_distances

from sktransfer.deep import coral_loss, mk_mmd_loss, soft_triplet_loss


def _pair(rng, n_source=7, n_target=5, d=3):
    return rng.normal(size=(n_source, d)), rng.normal(size=(n_target, d)) + 1


@pytest.mark.parametrize(("n_kernels", "factor"), [(5, 2.0), (1, 2.0), (4, 1.5)])
def test_mmd_equals_its_numpy_form(rng, n_kernels, factor):
    S, T = _pair(rng)
    rows = np.vstack([S, T])
    d = euclidean_distances(rows, squared=True)
    mean = d.sum() / (len(d) * (len(d) - 1))
    widths = mean * factor ** (np.arange(n_kernels) - (n_kernels - 1) / 2)
    k = np.mean([np.exp(-d / width) for width in widths], axis=0)
    n = len(S)
    expected = k[:n, :n].mean() + k[n:, n:].mean() - 2 * k[:n, n:].mean()
    found = mk_mmd_loss(torch.tensor(S), torch.tensor(T), n_kernels, factor)
    assert_allclose(found.item(), expected, rtol=1e-10)


def test_mmd_of_equal_samples_is_zero(rng):
    S = torch.tensor(rng.normal(size=(6, 2)))
    assert abs(mk_mmd_loss(S, S[torch.randperm(6)]).item()) < 1e-12
    assert mk_mmd_loss(S, S + 3).item() > 0.1


def test_mmd_of_constant_features_has_a_finite_gradient():
    S = torch.zeros(4, 2, requires_grad=True)
    mk_mmd_loss(S, torch.zeros(3, 2)).backward()
    assert torch.isfinite(S.grad).all()


def test_coral_equals_its_numpy_form(rng):
    S, T = _pair(rng)
    gap = np.cov(S, rowvar=False) - np.cov(T, rowvar=False)
    expected = (gap**2).sum() / (4 * S.shape[1] ** 2)
    found = coral_loss(torch.tensor(S), torch.tensor(T))
    assert_allclose(found.item(), expected, rtol=1e-12)
    assert coral_loss(torch.tensor(S), torch.tensor(S + 5)).item() < 1e-20


def test_scaled_moments_equal_their_numpy_form_at_any_scale(rng):
    S, T = _pair(rng)
    a, b = S.T @ S / len(S), T.T @ T / len(T)
    expected = ((a - b) ** 2).sum() / (a**2 + b**2).sum() / 4
    form = {"scaled": True, "centered": False}
    for scale in (1.0, 1e-4, 1e4):
        pair = torch.tensor(S * scale), torch.tensor(T * scale)
        assert_allclose(coral_loss(*pair, **form).item(), expected, rtol=1e-6)
    moved = torch.tensor(S + 5)
    assert coral_loss(moved, torch.tensor(S), **form).item() > 0.1
    assert coral_loss(moved, torch.tensor(S), scaled=True).item() < 1e-20
    # orthogonal moments are the farthest
    far = torch.eye(2)[:1] * 3, torch.eye(2)[1:] / 7
    assert_allclose(coral_loss(*far, **form).item(), 0.25, rtol=1e-6)


@pytest.mark.parametrize("centered", [True, False])
def test_scaled_moments_of_constant_features_have_a_finite_gradient(centered):
    S = torch.zeros(4, 2, requires_grad=True)
    loss = coral_loss(S, torch.zeros(3, 2), scaled=True, centered=centered)
    loss.backward()
    assert loss.item() == 0
    assert (S.grad == 0).all()


def test_gradients_of_scaled_moments_agree_with_finite_differences(rng):
    S, T = (torch.tensor(a) for a in _pair(rng, 4, 4, 2))
    form = {"scaled": True, "centered": False}
    assert torch.autograd.gradcheck(
        lambda s: coral_loss(s, T, **form), S.requires_grad_()
    )


@pytest.mark.parametrize("loss", [coral_loss, lambda s, t: mk_mmd_loss(s * 1.0, t)])
def test_gradients_agree_with_finite_differences(rng, loss):
    S, T = (torch.tensor(a) for a in _pair(rng, 4, 4, 2))
    if loss is coral_loss:
        assert torch.autograd.gradcheck(loss, (S.requires_grad_(), T))
        return
    # the width carries no gradient, so it is fixed by rows that do not move
    anchor = torch.cat([T, -T])
    fixed = torch.autograd.functional.jacobian(lambda s: loss(s, anchor), S)
    assert torch.isfinite(fixed).all()
    assert fixed.abs().sum() > 0


def test_the_soft_triplet_loss_is_its_formula():
    torch.manual_seed(0)
    x, mean = torch.randn(2, 7, 3).double()
    y = torch.tensor([0, 0, 1, 1, 1, 2, 0])  # the row of class 2 has no positive
    gap, mean_gap = torch.cdist(x, x), torch.cdist(mean, mean)
    expected, hard = [], []
    for i in range(7):
        own = [j for j in range(7) if y[j] == y[i] and j != i]
        others = [j for j in range(7) if y[j] != y[i]]
        if own:
            p = max(own, key=lambda j: gap[i, j])
            n = min(others, key=lambda j: gap[i, j])
            t, s = (g[i, n].exp() / (g[i, p].exp() + g[i, n].exp())
                    for g in (gap, mean_gap))  # fmt: skip
            expected.append(-s * t.log() - (1 - s) * (1 - t).log())
            hard.append(-t.log())
    assert_allclose(soft_triplet_loss(x, y, mean), np.mean(expected))
    assert_allclose(soft_triplet_loss(x, y), np.mean(hard))
    # equal nets are as near as they can be, and nothing is learned from them
    own = x.clone().requires_grad_()
    soft_triplet_loss(own, y, x).backward()
    assert own.grad.abs().max() < 1e-12
    assert soft_triplet_loss(x, y, x) < soft_triplet_loss(3 * x, y, x)
    # no positive, no negative, one row, equal rows: 0, and a gradient
    for labels in torch.arange(7), torch.zeros(7).long():
        rows = torch.ones(7, 3).double().requires_grad_()
        soft_triplet_loss(rows, labels).backward()
        assert (rows.grad == 0).all()
    assert soft_triplet_loss(x[:1], y[:1]) == 0
