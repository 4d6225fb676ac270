"""OTCE fine-tuning: the plan, its gradient, the task difference, the two steps."""

import copy

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from sktransfer.deep import MLP, OTCEFineTuning, TargetOnlyNet
from sktransfer.deep._otce_fine_tuning import entropic_plan, task_difference
from sktransfer.metrics import otce, otce_components
from sktransfer.metrics._transport import cost_matrix
from sktransfer.metrics._transport import entropic_plan as numpy_plan


@pytest.fixture
def features():
    rng = np.random.RandomState(0)
    source, target = rng.normal(size=(12, 3)), rng.normal(size=(9, 3)) + 0.5
    y_source, y_target = np.arange(12) % 3, np.arange(9) % 3
    return [torch.as_tensor(a) for a in (source, target, y_source, y_target)]


def _problem(seed=0):
    rng = np.random.RandomState(seed)
    X = rng.normal(size=(150, 4))
    domain = np.repeat([1, 2, -1], [60, 60, 30])
    y = (X[:, 0] + X[:, 1] * (domain != -1) > 0).astype(int)
    return X, y, domain


def _net(**params):
    return OTCEFineTuning(**{"max_epochs": 10, "lr": 0.005, "random_state": 0} | params)


@pytest.mark.parametrize("reg", [0.02, 0.05, 1.0])
def test_plan_is_that_of_the_metric(features, reg):
    source, target, *_ = features
    plan, residual = entropic_plan(source, target, reg)
    C = cost_matrix(source.numpy(), target.numpy(), "sqeuclidean")
    expected, _ = numpy_plan(C, reg * C.mean(), max_iter=50_000, tol=1e-12)
    assert_allclose(plan, expected, atol=1e-8)
    assert residual < 1e-8


def test_task_difference_is_that_of_the_metric(features):
    source, target, y_source, y_target = features
    value = task_difference(
        entropic_plan(source, target, 0.05)[0], y_source, y_target, 3
    )
    arrays = source, y_source, target, y_target
    expected = otce_components(*(a.numpy() for a in arrays), tol=1e-12, max_iter=20_000)
    assert_allclose(value, expected.task_difference, rtol=1e-6)


@pytest.mark.parametrize("reg", [0.05, 0.5])
def test_gradient_passes_exactly_through_the_plan(features, reg):
    source, target, y_source, y_target = features

    def value(s, t):
        return task_difference(entropic_plan(s, t, reg)[0], y_source, y_target, 3)

    inputs = source.requires_grad_(), target.requires_grad_()
    assert torch.autograd.gradcheck(value, inputs, rtol=1e-4, atol=1e-7)


def test_scale_of_the_features_changes_nothing(features):
    source, target, *_ = features
    plan, _ = entropic_plan(source, target, 0.05)
    assert_allclose(entropic_plan(100 * source, 100 * target, 0.05)[0], plan, rtol=1e-8)


def test_constant_features_have_the_independent_plan():
    plan, residual = entropic_plan(torch.ones(4, 2), torch.ones(5, 2), 0.05)
    assert_allclose(plan, np.full((4, 5), 1 / 20))
    assert residual < 1e-10


def test_coupled_apart_from_the_others():
    rows = torch.tensor([[0.0], [0.1], [50.0], [50.1]])
    plan, residual = entropic_plan(rows, rows, 1e-3)
    assert residual < 1e-6
    labels = torch.tensor([0, 0, 1, 1])
    assert task_difference(plan, labels, labels, 2) < 1e-8


def test_step_1_lowers_the_task_difference():
    X, y, domain = _problem()
    net = _net(otce_epochs=12, batch_size=150).fit(X, y, sample_domain=domain)
    path = net.task_difference_path_
    assert path.shape == (12,)
    assert path[-1] < 0.75 * path[0]


def test_step_1_lowers_the_task_difference_as_the_metric_sees_it():
    X, y, domain = _problem()
    scores = []
    for otce_epochs in 0, 12:
        net = _net(otce_epochs=otce_epochs, max_epochs=1, source_epochs=10, lr=0.005)
        net.fit(X, y, sample_domain=domain)
        features = net.transform(X, sample_domain=domain)
        source, target = domain > 0, domain < 0
        scores.append(otce(features[source], y[source], features[target], y[target]))
    assert scores[1] > scores[0] + 0.05


def test_without_step_1_it_is_plain_fine_tuning():
    X, y, domain = _problem()
    extractor, head = MLP(4, hidden_units=(8, 5)).double(), nn.Linear(5, 2).double()
    net = _net(
        module=extractor,
        head=head,
        otce_epochs=0,
        batch_size=200,
        standardize=False,
        keep_head=True,
    ).fit(X, y, sample_domain=domain)
    reference = copy.deepcopy(nn.Sequential(extractor, head))
    for own in domain > 0, domain < 0:
        optimizer = torch.optim.Adam(reference.parameters(), lr=0.005)
        x, labels = torch.as_tensor(X[own]), torch.as_tensor(y[own])
        for _ in range(10):
            optimizer.zero_grad()
            nn.functional.cross_entropy(reference(x), labels).backward()
            optimizer.step()
    with torch.no_grad():
        proba = reference(torch.as_tensor(X)).softmax(1)
    assert_allclose(net.predict_proba(X), proba, atol=1e-8)
    assert net.task_difference_path_.shape == (0,)


def test_step_1_changes_the_extractor_alone():
    X, y, domain = _problem()
    module, head = MLP(4, hidden_units=(8, 5)), nn.Linear(5, 2)
    net = _net(
        module=module, head=head, source_epochs=0, otce_epochs=2, keep_head=True,
        max_epochs=1,
    )  # fmt: skip
    net.set_params(lr=1e-9).fit(X, y, sample_domain=domain)
    assert_allclose(net.module_.head.weight.detach(), head.weight.detach(), atol=1e-6)
    net.set_params(source_epochs=5, lr=0.01, otce_epochs=0, keep_head=False)
    net.fit(X, y, sample_domain=domain)
    # a fresh head has moved by one step of Adam
    moved = abs(net.module_.head.weight.detach() - head.weight.detach())
    assert moved.max() <= 0.011


def test_target_alone_is_the_net_of_the_target():
    X, y, domain = _problem()
    own = domain < 0
    net = _net().fit(X[own], y[own])
    other = TargetOnlyNet(max_epochs=10, lr=0.005, random_state=0).fit(X[own], y[own])
    assert_array_equal(net.predict_proba(X), other.predict_proba(X))


def test_a_transport_that_is_not_found_is_reported(monkeypatch):
    monkeypatch.setattr("sktransfer.deep._otce_fine_tuning._MAX_ITER", 1)
    monkeypatch.setattr("sktransfer.deep._otce_fine_tuning._WARN", 1e-12)
    X, y, domain = _problem()
    with pytest.warns(ConvergenceWarning, match="raise reg"):
        _net(max_epochs=1, reg=0.005).fit(X, y, sample_domain=domain)


def test_an_extractor_without_parameters():
    X, y, domain = _problem()
    _net(module=nn.Identity(), otce_epochs=0).fit(X, y, sample_domain=domain)
    with pytest.raises(ValueError, match=r"module=Identity\(\) has no parameter"):
        _net(module=nn.Identity()).fit(X, y, sample_domain=domain)


def test_step_1_takes_the_rates_of_the_optimizer():
    X, y, domain = _problem()
    paths = [
        _net(otce_epochs=3, max_epochs=1, **params)
        .fit(X, y, sample_domain=domain)
        .task_difference_path_
        for params in (
            {"source_epochs": 1, "optimizer__lr": 0.05},
            {"source_epochs": 1, "lr": 0.05},
            {
                "source_epochs": 1,
                "optimizer__param_groups": [
                    ("extractor*", {"lr": 0.05}), ("head*", {"lr": 0.05}),
                ],
            },
            {"source_epochs": 1},
        )
    ]  # fmt: skip
    assert_array_equal(paths[1], paths[0])
    assert_array_equal(paths[2], paths[0])
    assert np.abs(paths[3] - paths[0]).max() > 1e-3
