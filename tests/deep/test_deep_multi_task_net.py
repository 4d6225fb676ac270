"""Nets of several tasks: their weightings, limits and predictions."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from torch import nn

from sktransfer.deep import (
    MGDA,
    MLP,
    CAGrad,
    DynamicAverage,
    EqualTasks,
    GradientVaccine,
    GradNorm,
    LossBalance,
    MoCo,
    MoDo,
    MultiTaskNetClassifier,
    MultiTaskNetRegressor,
    PCGrad,
    RandomTasks,
    TaskState,
    TaskWeighting,
    TransferNetClassifier,
    TransferNetRegressor,
    UncertaintyWeighting,
    UOWQTasks,
)
from sktransfer.exceptions import UnlabeledTargetError

NAMES = [
    "equal", "random", "dwa", "lbtw", "uncertainty", "gradnorm", "mgda", "pcgrad",
    "gradvac", "cagrad", "moco", "modo", "uowq",
]  # fmt: skip
SMALL = {"max_steps": 6, "lr": 0.01, "batch_size": 16, "random_state": 0}

#: four gradients in five dimensions, and the directions that TorchJD 0.18.0 (MIT
#: license; MGDA(epsilon=1e-12, max_iters=100000), CAGrad(c=0.4), and for two gradients
#: PCGrad and GradVac(beta=0.5), of which it returns the sum) gives for them
GRADIENTS = [
    [-0.8, -1.3, -0.2, 0.4, 1.1],
    [0.37, 0.22, -0.32, 0.19, 0.36],
    [0.3, -1.2, -1.0, 1.6, 0.2],
    [-1.7, -0.1, -1.2, -0.6, -0.5],
]
TORCHJD = {
    "mgda": [0.0207392, 0.0972867, -0.4368118, 0.0904083, 0.2777981],
    "cagrad": [-0.2100128, -0.4478454, -0.894043, 0.524588, 0.5307984],
    "pcgrad": [-0.2011505, -0.5368345, -0.2774629, 0.3070982, 0.7550267],
    "gradvac": [-0.194229, -0.5352525, -0.2861902, 0.3131444, 0.7675342],
}


def _gradients(n_tasks=4):
    return torch.tensor(GRADIENTS[:n_tasks], dtype=torch.float64)


def _combine(weighting, gradients, state=None, losses=None):
    losses = torch.ones(gradients.shape[-2]).double() if losses is None else losses
    if weighting.needs_two_batches and gradients.ndim == 2:
        gradients = gradients.expand(2, *gradients.shape)
    state = TaskState(len(losses)) if state is None else state
    return weighting.combine(losses, gradients, state)


def _tasks(n=24, classes=True, seed=0):
    rng = np.random.RandomState(seed)
    X, task = rng.normal(size=(3 * n, 3)), np.repeat([-1, 4, 2], n)
    y = X[:, 0] + np.where(task == 2, 1, -1) * X[:, 1]
    return X, (y > 0).astype(int) if classes else y, task


@pytest.mark.parametrize(
    "weighting, direction",
    [(MGDA(), "mgda"), (CAGrad(), "cagrad"), (PCGrad(), "pcgrad"),
     (GradientVaccine(beta=0.5), "gradvac")],
)  # fmt: skip
def test_directions_are_those_of_torchjd(weighting, direction):
    expected = TORCHJD[direction]
    n_tasks = 2 if direction in ("pcgrad", "gradvac") else 4
    state = TaskState(n_tasks)
    for factor in (-1.0, 1.0) if direction == "gradvac" else (1.0,):
        gradients = _gradients(n_tasks)
        gradients[0] *= factor
        found = _combine(weighting, gradients, state)
    assert_allclose(found.numpy(), expected, atol=2e-5)


def test_mgda_is_no_step_back_for_any_task_and_rests_at_opposite_gradients():
    gradients = _gradients()
    d = _combine(MGDA(), gradients)
    assert (gradients @ d >= d @ d - 1e-12).all()
    opposite = torch.stack([gradients[0], -3 * gradients[0]])
    assert_allclose(_combine(MGDA(), opposite), np.zeros(5), atol=1e-12)


@pytest.mark.parametrize(
    "weighting",
    [EqualTasks(), RandomTasks(), DynamicAverage(), LossBalance(), GradNorm(), MGDA(),
     PCGrad(), GradientVaccine(), MoCo(), MoDo(), UncertaintyWeighting()],
    ids=lambda w: type(w).__name__,
)  # fmt: skip
def test_equal_gradients_give_themselves(weighting):
    g = _gradients(1)[0]
    for _ in range(3):
        assert_allclose(_combine(weighting, g.expand(3, 5)), g, rtol=1e-6)


def test_cagrad_between_the_mean_and_more():
    gradients = _gradients()
    assert_allclose(_combine(CAGrad(c=0.0), gradients), gradients.mean(0))
    g = gradients[0]
    assert_allclose(_combine(CAGrad(c=0.4), g.expand(3, 5)), 1.4 * g, rtol=1e-6)
    opposite = torch.stack([g, -g])
    assert_allclose(_combine(CAGrad(), opposite), np.zeros(5), atol=1e-12)


@pytest.mark.parametrize("weighting", [PCGrad(), GradientVaccine(beta=0.0)])
def test_without_conflict_surgery_is_the_mean(weighting):
    gradients = _gradients().abs()
    assert_allclose(_combine(weighting, gradients), gradients.mean(0))
    # with conflicts the vaccine without memory is PCGrad
    torch.manual_seed(0)
    first = _combine(PCGrad(), _gradients())
    torch.manual_seed(0)
    assert_allclose(_combine(GradientVaccine(beta=0.0), _gradients()), first)


def test_moco_and_modo_end_at_mgda():
    gradients = _gradients()
    least = _combine(MGDA(), gradients)
    for weighting in (MoCo(), MoDo()):
        state = TaskState(4)
        for _ in range(400):
            found = _combine(weighting, gradients, state)
        assert_allclose(found, least, atol=1e-3)
    # rho pulls to equal weights
    state = TaskState(4)
    for _ in range(100):
        _combine(MoCo(gamma=1e-3, rho=500.0), gradients, state)
    assert_allclose(state.weights, 0.25, atol=0.02)


@pytest.mark.parametrize(
    "weighting", [MGDA(), CAGrad(), MoCo(), MoDo(), GradNorm(), DynamicAverage()],
    ids=lambda w: type(w).__name__,
)  # fmt: skip
def test_order_of_tasks_does_not_matter(weighting):
    gradients, order = _gradients(), torch.tensor([2, 0, 3, 1])
    losses = torch.tensor([1.0, 2.0, 0.5, 1.0]).double()
    first, second = (
        TaskState(4, past=[torch.ones(4).double()[o], losses[o]])
        for o in (torch.arange(4), order)
    )
    for _ in range(3):
        one = _combine(weighting, gradients, first, losses)
        other = _combine(weighting, gradients[order], second, losses[order])
    assert_allclose(one, other, rtol=1e-6)


def test_losses_of_zero_leave_finite_weights():
    zero = torch.zeros(2).double()
    state = TaskState(2, past=[zero, zero], first=zero)
    for weighting in (DynamicAverage(), LossBalance(), UncertaintyWeighting()):
        assert torch.isfinite(weighting.weights(zero, state)).all()
    nothing = torch.zeros(2, 3).double()
    for weighting in (GradNorm(), MGDA(), PCGrad(), GradientVaccine(), CAGrad()):
        assert_array_equal(_combine(weighting, nothing, losses=zero), np.zeros(3))


@pytest.mark.parametrize(
    "weighting",
    ["equal", "dwa", "lbtw", "gradnorm", "mgda", "pcgrad", "gradvac", MoCo(beta=1),
     "uowq", CAGrad(c=0.4)],
    ids=str,
)  # fmt: skip
def test_a_single_task_is_the_plain_net(weighting):
    """CAGrad's longer step of the extractor shows under plain SGD."""
    X, y, _ = _tasks(8, classes=False)
    params = SMALL | {"optimizer": torch.optim.SGD, "max_steps": 4, "batch_size": 24}
    plain = TransferNetRegressor(**params)
    if isinstance(weighting, CAGrad):
        own = {"optimizer__param_groups": [("head*", {"lr": 0.01})]}
        plain.set_params(lr=0.014, **own)
    net = MultiTaskNetRegressor(weighting=weighting, **params).fit(X, y)
    assert_allclose(net.predict(X), plain.fit(X, y).predict(X), rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_every_weighting_trains_both_kinds(name):
    X, y, task = _tasks()
    params = SMALL | {"max_steps": 3, "batch_size": 24}
    net = MultiTaskNetClassifier(weighting=name, **params)
    net.fit(X, y, sample_domain=task)
    proba = net.predict_proba(X, sample_domain=task)
    assert_allclose(proba.sum(axis=1), 1)
    assert net.task_ids_.tolist() == [-1, 2, 4]
    assert net.task_weights_path_.shape == net.task_loss_path_.shape == (2, 3)
    again = clone(net).fit(X, y, sample_domain=task)
    assert_array_equal(again.predict_proba(X, sample_domain=task), proba)


def test_gradients_of_the_extractor_are_what_the_weighting_returns():
    """The step of one weighting on another way through the module."""
    X, y, task = _tasks(classes=False)
    params = SMALL | {"optimizer": torch.optim.SGD}

    class EqualByGradients(TaskWeighting):
        needs_gradients = True

        def combine(self, losses, gradients, state):
            state.weights = torch.full_like(losses, 1 / len(losses))
            return gradients.mean(0)

    class EqualByFeatures(EqualByGradients):
        on_features = True

    found = [
        MultiTaskNetRegressor(weighting=w, **params)
        .fit(X, y, sample_domain=task)
        .predict(X, sample_domain=task)
        for w in ("equal", EqualByGradients(), EqualByFeatures(), CAGrad(c=0.0))
    ]
    for other in found[1:]:
        assert_allclose(other, found[0], rtol=1e-9)


def test_mgda_on_features_weighs_by_lengths():
    """Each task has rows of its own, so gradients on features are orthogonal."""
    X, y, task = _tasks(classes=False)
    seen = []

    class Watched(MGDA):
        def combine(self, losses, gradients, state):
            direction = super().combine(losses, gradients, state)
            seen.append((gradients, state.weights))
            return direction

    net = MultiTaskNetRegressor(weighting=Watched(on_features=True), **SMALL)
    net.fit(X, y, sample_domain=task)
    gradients, weights = seen[0]
    gram = (gradients @ gradients.T).numpy()
    assert_allclose(gram - np.diag(np.diag(gram)), 0)
    inverse = 1 / np.diag(gram)
    assert_allclose(weights, inverse / inverse.sum(), rtol=1e-5)


def test_uowq_weights_pool_equal_tasks_and_part_different_ones():
    rng = np.random.RandomState(0)
    X = np.tile(rng.normal(size=(40, 2)), (2, 1))
    task, y = np.repeat([-1, 1], 40), (X[:, 0] > 0).astype(int)
    params = {"max_steps": 20, "lr": 0.02, "random_state": 0}
    net = MultiTaskNetClassifier(weighting="uowq", **params)
    net.fit(X, y, sample_domain=task)
    assert_allclose(net.module_.state.memory["affinity"], 1.0, atol=0.01)
    X = np.vstack([X, X[:10] * 5 + 3])
    task, y = np.append(task, [3] * 10), np.append(y, (X[80:, 1] > 3).astype(int))
    net.fit(X, y, sample_domain=task)
    state = net.module_.state.memory
    shares = state["affinity"] * [40, 40, 10]
    expected = (shares / shares.sum(axis=1, keepdims=True)).mean(axis=0)
    assert_allclose(net.task_weights_, expected)
    assert state["affinity"][0, 1] > 2 * state["affinity"][0, 2]
    alone = MultiTaskNetRegressor(weighting=UOWQTasks(noise_correction=True), **SMALL)
    X, y, task = _tasks(classes=False)
    assert_allclose(alone.fit(X, y, sample_domain=task).task_weights_.sum(), 1)


def test_labels_of_tasks_have_scales_of_their_own():
    X, y, task = _tasks(classes=False)
    params = SMALL | {"max_steps": 150, "lr": 0.02}
    net = MultiTaskNetRegressor(**params).fit(X, y, sample_domain=task)
    other = np.where(task == 2, 1000.0 * y + 7.0, y)
    far = MultiTaskNetRegressor(**params).fit(X, other, sample_domain=task)
    one, two = (m.predict(X, sample_domain=task) for m in (net, far))
    assert_allclose(two, np.where(task == 2, 1000 * one + 7, one), rtol=1e-6)
    assert net.score(X, y, sample_domain=task) > 0.9
    # the mean of the tasks for an unseen domain, the first target without one
    by_task = [far.predict(X, sample_domain=k) for k in (-1, 2, 4)]
    assert_allclose(far.predict(X, sample_domain=9), np.mean(by_task, axis=0))
    assert_array_equal(far.predict(X), by_task[0])
    # a constant task gets the scale of the others
    constant = MultiTaskNetRegressor(**SMALL)
    constant.fit(X, np.where(task == 2, 3.0, y), sample_domain=task)
    assert constant.label_shift_[1] == 3.0
    assert 0.5 < constant.label_scale_[1] < 3.0


def test_row_weights_count_within_a_task_and_classes_by_task():
    X, y, task = _tasks()
    params = SMALL | {"batch_size": 24, "standardize": False}
    weight = np.where(task == 2, 100.0, 1.0)  # the same for all rows of a task
    plain = MultiTaskNetClassifier(**params).fit(X, y, sample_domain=task)
    weighted = clone(plain).fit(X, y, sample_domain=task, sample_weight=weight)
    assert_allclose(
        weighted.predict_proba(X, sample_domain=task),
        plain.predict_proba(X, sample_domain=task),
    )
    balanced = clone(plain).set_params(class_weight="balanced")
    once = balanced.fit(X, y, sample_domain=task).predict_proba(X, sample_domain=task)
    assert not np.allclose(once, plain.predict_proba(X, sample_domain=task))
    # text labels, tasks with different classes, a task of one row
    names = np.array(["no", "yes", "other"])[np.where(task == 4, 2 * y, y)]
    rows = np.r_[0:24, 24:48, [50]]
    net = MultiTaskNetClassifier(weighting="modo", **SMALL)
    net.fit(X[rows], names[rows], sample_domain=task[rows])
    assert net.classes_.tolist() == ["no", "other", "yes"]


def test_early_stopping_holds_out_rows_of_every_task():
    X, y, task = _tasks(30)
    net = MultiTaskNetClassifier(
        early_stopping=True, n_iter_no_change=2, max_epochs=60, lr=0.1, random_state=0
    ).fit(X, y, sample_domain=task)
    held = net.net_.callbacks_  # the stopping is one of them
    assert "valid_loss" in net.history_
    assert any(type(c).__name__ == "HeldOutStopping" for _, c in held)
    assert net.n_iter_ < 60
    with pytest.raises(ValueError, match="no task has enough labeled rows"):
        MultiTaskNetClassifier(early_stopping=True).fit(
            X[::10], y[::10], sample_domain=task[::10]
        )


def test_training_goes_on_with_the_same_tasks_only():
    X, y, task = _tasks()
    net = MultiTaskNetClassifier(weighting="moco", **SMALL)
    for _ in range(2):
        net.partial_fit(X, y, sample_domain=task)
    assert net.task_loss_path_.shape == (2, 3)
    with pytest.raises(ValueError, match="set up for"):
        net.partial_fit(X[:48], y[:48], sample_domain=task[:48])
    marked = np.where(task == 2, np.nan, y)
    with pytest.raises(UnlabeledTargetError, match="No row of domain -2 is labeled"):
        net.fit(X, marked, sample_domain=np.where(task == 2, -2, task))


def test_other_parts_and_errors():
    X, y, task = _tasks()
    frozen = MLP(3, hidden_units=(4,)).requires_grad_(False)
    net = MultiTaskNetClassifier(frozen, weighting="mgda", head=nn.Linear, **SMALL)
    net.fit(X, y, sample_domain=task)
    assert_array_equal(
        net.module_.extractor.layers[1].weight.detach(),
        frozen.layers[1].weight.double(),
    )
    for bad in (lambda: CAGrad(c=-1), lambda: MoCo(beta=0), lambda: GradNorm(rate=0)):
        with pytest.raises(ValueError, match="must be in"):
            bad()
    with pytest.raises(ValueError, match="'weighting' parameter"):
        MultiTaskNetClassifier(weighting="best").fit(X, y)
    with pytest.raises(NotImplementedError, match="must override"):
        MultiTaskNetClassifier(weighting=TaskWeighting(), **SMALL).fit(X, y)
    with pytest.raises(TypeError, match="compile"):
        MultiTaskNetClassifier(compile=True)
    with pytest.raises(AttributeError):
        MultiTaskNetRegressor().predict_proba
    with pytest.raises(AttributeError):
        net.decision_function(X)
    assert isinstance(net, TransferNetClassifier)
