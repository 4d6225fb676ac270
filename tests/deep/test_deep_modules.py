"""The small modules: reversal, freezing, the discriminator and its ratio."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

from sktransfer.deep import DANN, MLP
from sktransfer.deep._discriminator import DomainDiscriminator
from sktransfer.deep._modules import freeze, reverse_gradient
from sktransfer.deep._rows import DomainRows


def test_the_adversarial_gradient_reverses():
    """Finite differences on a small net: F climbs what the discriminator descends."""
    torch.manual_seed(0)
    F, D = nn.Linear(3, 2).double(), nn.Linear(2, 1).double()
    x, strength = torch.randn(5, 3).double(), torch.tensor(0.7).double()

    def loss(reverse):
        features = F(x)
        features = reverse_gradient(features, strength) if reverse else features
        return nn.functional.softplus(D(features)).mean()

    loss(reverse=True).backward()
    found = {name: p.grad.clone() for name, p in F.named_parameters()}
    step = 1e-6
    with torch.no_grad():
        for name, p in F.named_parameters():
            for i in np.ndindex(tuple(p.shape)):
                p[i] += step
                up = loss(reverse=False)
                p[i] -= 2 * step
                slope = (up - loss(reverse=False)) / (2 * step)
                p[i] += step
                assert_allclose(found[name][i], -0.7 * slope, rtol=1e-5, atol=1e-9)
        for p in D.parameters():  # the discriminator itself gets the plain gradient
            i = (0,) * p.ndim
            p[i] += step
            up = loss(reverse=False)
            p[i] -= 2 * step
            slope = (up - loss(reverse=False)) / (2 * step)
            p[i] += step
            assert_allclose(p.grad[i], slope, rtol=1e-5, atol=1e-9)


def test_frozen_modules_pass_gradients_but_keep_none():
    layer = nn.Linear(2, 1)
    x = torch.ones(1, 2, requires_grad=True)
    freeze(layer)(x).sum().backward()
    assert layer.weight.grad is None
    assert_allclose(x.grad.numpy(), layer.weight.detach().numpy())


@pytest.mark.parametrize("n_classes", [3, 0])
def test_discriminator_codes_labels_and_nil(n_classes):
    discriminator = DomainDiscriminator(2, n_classes)
    features = torch.zeros(3, 2)
    y = torch.tensor([2, 0, 1]) if n_classes else torch.tensor([0.5, -1.0, 2.0])
    code, nil = discriminator.code(y, features), discriminator.code(None, features)
    assert (code[:, -1] == 0).all()
    assert (nil[:, -1] == 1).all()
    assert (nil[:, :-1] == 0).all()
    expected = nn.functional.one_hot(y, 3).float() if n_classes else y[:, None]
    assert_allclose(code[:, :-1].numpy(), expected.numpy())


def test_discriminator_losses_and_ratio_are_their_formulas():
    torch.manual_seed(0)
    discriminator = DomainDiscriminator(2, 2).double()
    source, labeled, target = (torch.randn(n, 2).double() for n in (4, 3, 5))
    y_source, y_labeled = torch.tensor([0, 1, 1, 0]), torch.tensor([1, 0, 1])
    zero = torch.zeros(())
    logits = discriminator.judge(
        source, y_source, labeled, y_labeled, target, (zero, zero)
    )
    losses = discriminator.losses(logits)

    def D(x, y):
        return torch.sigmoid(discriminator(x, discriminator.code(y, x)))

    marginal = -D(target, None).log().mean() - (1 - D(source, None)).log().mean()
    pairs = D(source, y_source)
    joint = -D(labeled, y_labeled).log().mean() - (1 - pairs).log().mean()
    assert_allclose(losses["marginal"].item(), marginal.item(), rtol=1e-12)
    assert_allclose(losses["joint"].item(), joint.item(), rtol=1e-12)
    ratio = discriminator.ratio(logits[-2])
    assert not ratio.requires_grad
    assert_allclose(ratio.numpy(), (pairs / (1 - pairs)).detach().numpy(), rtol=1e-10)


def test_ratio_is_bounded():
    discriminator = DomainDiscriminator(2, 2, max_ratio=3.0)
    ratio = discriminator.ratio(torch.tensor([-1.0, 0.0, 5.0]))
    assert_allclose(ratio.numpy(), [np.exp(-1), 1, 3], rtol=1e-6)


def test_noise_smooths_what_the_discriminator_sees_in_training():
    """It is that many standard deviations of the batch, and only in training."""
    torch.manual_seed(0)
    discriminator = DomainDiscriminator(2, 0, labels=False, noise=0.5).double()
    with torch.no_grad():  # the discriminator's logit is the first feature
        discriminator.hidden[0].weight.zero_()
        discriminator.hidden[0].weight[0, 0] = 1
        discriminator.hidden[0].bias.fill_(100)
        discriminator.logit.weight.zero_()
        discriminator.logit.weight[0, 0] = 1
        discriminator.logit.bias.fill_(-100)
    source, target = torch.randn(4000, 2).double() * 3, torch.randn(4000, 2).double()
    spread = torch.cat([source, target])[:, 0].std(correction=0)
    none, zero = torch.zeros(0, 2).double(), torch.zeros(()).double()
    y = torch.zeros(4000)

    def judge():
        return discriminator.judge(source, y, none, y[:0], target, (zero, zero))[0]

    noise = judge().detach() - source[:, 0]
    assert abs(noise.mean()) < 0.05
    assert_allclose(noise.std(), 0.5 * spread, rtol=0.05)
    discriminator.eval()
    assert_allclose(judge().detach().numpy(), source[:, 0].numpy(), atol=1e-9)


def test_ratio_without_pairs_is_that_of_the_features():
    discriminator = DomainDiscriminator(2, 2)
    source, target, none = torch.randn(4, 2), torch.randn(5, 2), torch.zeros(0, 2)
    y, zero = torch.tensor([0, 1, 1, 0]), torch.zeros(())
    logits = discriminator.judge(source, y, none, y[:0], target, (zero, zero))
    alone = discriminator(source, discriminator.code(None, source)).exp()
    assert_allclose(
        discriminator.ratio(logits[-2]).numpy(), alone.detach().numpy(), rtol=1e-5
    )


def test_features_get_no_gradient_at_reversal_zero():
    discriminator = DomainDiscriminator(2, 2)
    features = torch.randn(3, 2, requires_grad=True)
    y, zero = torch.tensor([0, 1, 0]), torch.zeros(())
    logits = discriminator.judge(features, y, features, y, features, (zero, zero))
    sum(discriminator.losses(logits).values()).backward()
    assert (features.grad == 0).all()
    assert discriminator.hidden[0].weight.grad.abs().sum() > 0


def test_batches_hold_every_part_and_an_epoch_every_row():
    x = torch.arange(30.0)[:, None]
    y = torch.arange(20), torch.arange(100, 104)
    rows = DomainRows(x[:20], y[0], x[20:24], y[1], x[24:], torch.zeros(20), 8)
    seen = []
    for batch in rows:
        source, labeled, target = batch.split(batch.x)
        assert (len(source), len(labeled), len(target)) == (8, 4, 6)
        assert (source[:, 0] == batch.y_source).all()
        assert (labeled[:, 0] == batch.y_labeled - 80).all()
        assert sorted(target[:, 0].tolist()) == [24, 25, 26, 27, 28, 29]
        seen += batch.y_source.tolist()
    assert len(seen) == 24
    assert set(seen) == set(range(20))


def test_mlp_is_sized_from_the_data():
    widths = [m.out_features for m in MLP(100).layers if isinstance(m, nn.Linear)]
    assert widths == [128, 64]
    assert MLP(3)(torch.zeros(2, 3)).shape == (2, 16)
    assert MLP(10_000).layers[1].out_features == 256
    assert any(isinstance(m, nn.Dropout) for m in MLP(3, dropout=0.5).layers)


def test_products_of_many_features_and_classes_are_projected_not_dropped():
    torch.manual_seed(0)
    small, large = DomainDiscriminator(40, 100), DomainDiscriminator(41, 100)
    assert small.hidden[0].in_features == 40 + 101 + 40 * 101
    assert large.hidden[0].in_features == 41 + 101 + 1024
    f, g = torch.randn(2, 4000, 41)
    code = large.code(torch.zeros(4000).long(), f)

    def products(x):
        return (x @ large.of_features) * (code @ large.of_codes) / np.sqrt(1024)

    found = (products(f) * products(g)).sum(1)
    expected = (f * g).sum(1)  # inner product of the outer products, as code @ code = 1
    assert np.corrcoef(found, expected)[0, 1] > 0.9
    large(f, code).sum().backward()
    assert large.hidden[0].weight.grad[:, 142:].abs().sum() > 0


def test_discriminators_have_the_layers_that_were_asked_for(toy):
    net = DANN(discriminator_units=(5, 3), label_input=True, max_epochs=1)
    net.fit(toy.X, toy.y, sample_domain=toy.domain)
    widths = [m.out_features for m in net.module_.discriminator.hidden[::2]]
    assert widths == [5, 3]


def test_an_adversary_sees_features_without_the_noise_of_the_gate(toy):
    for smoothing, alone in ((1.0, False), (0.0, True)):
        net = DANN(gate=True, match="both", gate_smoothing=smoothing, max_epochs=2)
        net.fit(toy.X, toy.y, sample_domain=toy.domain)
        module = net.module_
        assert module.discriminator.noise == 0
        assert (module.gate_discriminator is None) == alone
        assert ("gate_joint_loss" in net.history_) != alone
    own = DANN(gate=True, match="none", max_epochs=1)
    own.fit(toy.X, toy.y, sample_domain=toy.domain)
    assert own.module_.discriminator.noise > 0, "no adversary: the one is the gate's"
    plain = DANN(match="none", max_epochs=1)
    plain.fit(toy.X, toy.y, sample_domain=toy.domain)
    assert plain.module_.discriminator is None
