"""The scikit-learn side of the nets: inputs, modules, options, errors."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EpochScoring,
    GradientNormClipping,
    LRScheduler,
    PassthroughScoring,
)
from skorch.callbacks import EarlyStopping as SkorchStopping
from torch import nn

import sktransfer.deep
from sktransfer._domains import check_domains
from sktransfer.deep import (
    ADDA,
    DANN,
    GTA,
    MLP,
    DANNRegressor,
    MultiTaskNetClassifier,
    SelectiveAutoencoder,
    SourceOnlyNet,
    TransferNetClassifier,
    TransferNetRegressor,
    UOWQNet,
)
from sktransfer.deep._net import TransferNet
from sktransfer.deep._rows import DomainRows
from sktransfer.metrics import h_score, leep, logme, make_transferability_scorer
from sktransfer.model_selection import StratifiedTargetKFold


def _fit(net, toy, **changes):
    data = {"X": toy.X, "y": toy.y, "sample_domain": toy.domain} | changes
    return net.fit(**data)


def test_string_labels_and_frames(toy):
    names = np.array(["no", "yes"], dtype=object)
    y = np.where(toy.y < 0, None, names[toy.y])
    frame = pd.DataFrame(toy.X, columns=["a", "b"])
    net = _fit(DANN(max_epochs=15, lr=0.01, random_state=0), toy, X=frame, y=y)
    codes = _fit(DANN(max_epochs=15, lr=0.01, random_state=0), toy)
    assert_array_equal(net.classes_, ["no", "yes"])
    assert_array_equal(net.predict(frame), names[codes.predict(toy.X)])
    assert_array_equal(net.feature_names_in_, ["a", "b"])
    assert net.score(frame, names[toy.y_true]) > 0.75


def test_out_of_a_transform_comes_a_frame(toy):
    net = _fit(DANN(max_epochs=2, module__hidden_units=(4, 3), random_state=0), toy)
    assert_array_equal(net.get_feature_names_out(), ["dann0", "dann1", "dann2"])
    net.set_output(transform="pandas")
    assert net.transform(toy.X).shape == (80, 3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_precision(toy, dtype):
    net = _fit(DANN(max_epochs=2, dtype=dtype, random_state=0), toy)
    assert next(net.module_.parameters()).dtype == getattr(torch, dtype)
    auto = _fit(DANN(max_epochs=2, random_state=0), toy, X=toy.X.astype(dtype))
    assert next(auto.module_.parameters()).dtype == getattr(torch, dtype)
    assert auto.transform(toy.X.astype(dtype)).dtype == dtype


@pytest.mark.parametrize("cls", [DANN, GTA, ADDA])
def test_images(cls, rng):
    y = rng.randint(2, size=60)
    X = rng.normal(size=(60, 1, 6, 6)) + y[:, None, None, None]
    domain = np.repeat([1, -1], 30)
    convolution = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2))
    before = convolution[0].weight.clone()
    net = cls(convolution, max_epochs=20, lr=0.01, random_state=0)
    net.fit(X, y, sample_domain=domain)
    assert net.score(X, y) > 0.9
    assert net.transform(X).shape == (60, 16)
    assert torch.equal(before, convolution[0].weight), "trained in place"
    with pytest.raises(ValueError, match="rows of shape"):
        net.predict(X[:, :, :4])
    flat = cls(max_epochs=2, random_state=0).fit(X, y, sample_domain=domain)
    assert flat.predict_proba(X).shape == (60, 2)


def test_own_modules(toy):
    class Wide(nn.Module):
        def __init__(self, n_features, width=5):
            super().__init__()
            self.layer = nn.Linear(n_features, width)

        def forward(self, x):
            return torch.tanh(self.layer(x))

    net = _fit(DANN(Wide, module__width=7, max_epochs=2, random_state=0), toy)
    assert net.transform(toy.X).shape == (80, 7)
    head = nn.Sequential(nn.Linear(7, 4), nn.ReLU(), nn.Linear(4, 2))
    net = DANN(Wide, module__width=7, head=head, max_epochs=2, random_state=0)
    assert _fit(net, toy).predict_proba(toy.X).shape == (80, 2)
    assert net.get_params()["module__width"] == 7
    assert clone(net).get_params()["module__width"] == 7


@pytest.mark.parametrize(
    ("params", "error", "match"),
    [
        ({"module": nn.Linear(5, 3)}, ValueError, "cannot take rows of shape"),
        ({"module": nn.RNN(2, 3)}, ValueError, "must return one tensor"),
        ({"module": nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))}, ValueError, "must"),
        ({"module": MLP(2), "module__dropout": 0.1}, ValueError, "is an instance"),
        ({"module": dict}, TypeError, "does not make a torch module"),
        ({"device": "abacus"}, ValueError, "no device of torch"),
        ({"early_stopping": True, "validation_fraction": 0.01}, ValueError, "early_st"),
        ({"max_epochs": 0}, ValueError, "max_epochs"),
        ({"lr": 1e300, "max_epochs": 5}, ValueError, "lower lr"),
        ({"head": nn.Linear(5, 2)}, ValueError, "cannot take 16 features"),
        ({"head": nn.Linear(16, 3)}, ValueError, "must return 2 outputs, one per"),
        ({"head": lambda *sizes: nn.Flatten(0)}, ValueError, "2 outputs, one per"),
        ({"callbacks": [1]}, TypeError, "must hold callbacks of skorch"),
        ({"optimizer": torch.optim.LBFGS}, ValueError, "needs no closure"),
        ({"class_weight": "even"}, ValueError, "'class_weight' parameter"),
        ({"class_weight": {0: -1.0}}, ValueError, r"class_weight must hold numbers"),
        ({"class_weight": {0: 0.0, 1: 0}}, ValueError, "is 0 for every class"),
    ],
)
def test_bad_parameters(toy, params, error, match):
    with pytest.raises(error, match=match):
        _fit(DANN(**params), toy)


def test_unknown_arguments_are_refused():
    with pytest.raises(TypeError, match="unexpected keyword argument 'epochs'"):
        DANN(epochs=3)
    with pytest.raises(TypeError, match="'alignment'"):
        DANN(alignment=None)
    with pytest.raises(TypeError, match="'gate'"):
        SourceOnlyNet(gate=True)
    with pytest.raises(ValueError, match="Invalid parameter"):
        DANN().set_params(epochs=3)


def test_signature_and_docstring_hold_every_parameter():
    names = set(DANN().get_params())
    assert {"match", "gate", "mu", "max_epochs", "module"} <= names
    assert "alignment" not in names
    for name in names:
        assert f"    {name} : " in DANN.__doc__
    assert repr(DANN(gate=True)) == "DANN(gate=True)"


def test_early_stopping_goes_back_to_the_best_epoch(make_toy):
    toy = make_toy(n_labeled=60)
    net = DANN(
        max_epochs=200, lr=0.05, early_stopping=True, n_iter_no_change=5, random_state=0
    )
    _fit(net, toy)
    loss = net.history_["valid_loss"]
    assert net.n_iter_ == len(loss) < 200
    assert loss.argmin() == len(loss) - 1 - 5 or loss.argmin() < len(loss) - 5
    few = _fit(DANN(max_epochs=2, random_state=0), make_toy(n_labeled=60))
    assert "valid_loss" not in few.history_
    many = _fit(DANN(max_epochs=2, random_state=0), make_toy(n_labeled=220))
    assert "valid_loss" in many.history_


def test_partial_fit_and_warm_start_go_on(toy):
    whole = _fit(DANN(max_epochs=3, random_state=0), toy)
    step = DANN(max_epochs=3, random_state=0)
    for _ in range(3):
        step.partial_fit(toy.X, toy.y, sample_domain=toy.domain)
    assert step.n_iter_ == 3
    assert_allclose(step.history_["mu"], whole.history_["mu"])
    warm = DANN(max_epochs=2, warm_start=True, random_state=0)
    first = _fit(warm, toy).predict_proba(toy.X)
    second = _fit(warm, toy).predict_proba(toy.X)
    assert warm.n_iter_ == 4
    assert np.abs(first - second).max() > 1e-6
    with pytest.raises(ValueError, match="among the classes"):
        step.partial_fit(toy.X[:3], [7, 7, 7])
    known = DANN(random_state=0)
    known.partial_fit(toy.X, toy.y, sample_domain=toy.domain, classes=[0, 1, 7])
    assert_array_equal(known.classes_, [0, 1, 7])
    known.partial_fit(toy.X[:3], [7, 7, 7])
    with pytest.raises(ValueError, match="classes must be None"):
        DANNRegressor().partial_fit(toy.X[:3], [1.0, 2.0, 3.0], classes=[1])


def test_calls_go_on_with_other_batches(toy, monkeypatch):
    """An int seed makes the calls repeatable, not alike."""
    seen, cut = [], DomainRows.__iter__

    def record(self):
        for batch in cut(self):
            seen.append(batch.source.tolist())
            yield batch

    monkeypatch.setattr(DomainRows, "__iter__", record)
    runs = []
    for _ in range(2):
        net = DANN(batch_size=8, max_epochs=1, warm_start=True, random_state=0)
        for _ in range(2):
            net.partial_fit(toy.X, toy.y, sample_domain=toy.domain)
        _fit(net, toy)
        runs.append([tuple(map(tuple, seen[k : k + 5])) for k in (0, 5, 10)])
        seen.clear()
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == 3


def test_warm_starts_hold_out_the_same_rows_and_batches_none(make_toy):
    toy, held_out = make_toy(n_labeled=60), []

    class Record(Callback):
        def on_train_begin(self, net, X=None, **kwargs):
            held_out.append(X.validation and list(X.validation))

    net = DANN(max_epochs=1, warm_start=True, early_stopping=True, random_state=0)
    net.set_params(callbacks=[Record()])
    for _ in range(3):
        _fit(net, toy)
    assert all(torch.equal(held_out[0][0][0], h[0][0]) for h in held_out)
    with pytest.raises(ValueError, match="partial_fit holds out no label"):
        net.partial_fit(toy.X, toy.y, sample_domain=toy.domain)
    many = make_toy(n_labeled=220)
    batch = DANN(random_state=0, callbacks=[Record()])
    batch.partial_fit(many.X, many.y, sample_domain=many.domain)
    assert held_out[-1] is None


@pytest.mark.parametrize("labels", [(220, 60), (60, 220)])
def test_early_stopping_comes_and_goes_with_the_number_of_labels(make_toy, labels):
    net = DANN(max_epochs=3, warm_start=True, random_state=0)
    for n_labeled in labels:
        net = _fit(net, make_toy(n_labeled=n_labeled))
    known = ~np.isnan(net.history_["valid_loss"])
    assert known.tolist() == [n >= 200 for n in labels for _ in range(3)]


def test_same_seed_same_net_and_other_randomness_is_left_alone(toy):
    state = torch.get_rng_state()
    first, second = (_fit(DANN(max_epochs=2, random_state=3), toy) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    assert_array_equal(first.predict_proba(toy.X), second.predict_proba(toy.X))
    other = _fit(DANN(max_epochs=2, random_state=4), toy)
    assert np.abs(first.predict_proba(toy.X) - other.predict_proba(toy.X)).max() > 1e-6


def test_weights_come_in_input_order(toy, rng):
    net = DANN(gate=True, max_epochs=4, random_state=0)
    first = _fit(clone(net), toy).sample_weight_
    order = rng.permutation(len(toy.y))
    again = clone(net).fit(toy.X[order], toy.y[order], sample_domain=toy.domain[order])
    expected = np.zeros(len(toy.y))
    expected[toy.domain > 0] = first
    assert_allclose(again.sample_weight_, expected[order][toy.domain[order] > 0])


def test_pickle(toy):
    net = _fit(DANN(gate=True, max_epochs=2, random_state=0), toy)
    again = pickle.loads(pickle.dumps(net))
    assert_array_equal(net.predict_proba(toy.X), again.predict_proba(toy.X))
    again.partial_fit(toy.X, toy.y, sample_domain=toy.domain)
    assert again.n_iter_ == 3


def test_every_call_trains_in_training_mode(toy):
    """Between the calls the net is in the mode of prediction: no dropout."""
    net = DANN(module__dropout=0.5, max_epochs=2, random_state=0)
    _fit(net, toy)
    modes = []
    net.module_.extractor.register_forward_hook(
        lambda module, *_: modes.append(module.training)
    )
    net.partial_fit(toy.X, toy.y, sample_domain=toy.domain)
    assert modes
    assert all(modes)
    assert not net.module_.training
    assert_allclose(net.predict_proba(toy.X), net.predict_proba(toy.X))


def test_modules_in_prediction_mode_are_trained_in_training_mode(toy):
    modes = []
    head = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 2)).eval()
    head.register_forward_hook(lambda module, *_: modes.append(module[0].training))
    net = DANN(module__hidden_units=(4,), head=head, max_epochs=2, random_state=0)
    _fit(net, toy)
    assert modes
    assert all(modes)
    assert not head.training


@pytest.mark.parametrize("options", [{"mixed_precision": True}, {"verbose": 1}])
def test_options(toy, options, capsys):
    net = _fit(DANN(max_epochs=12, lr=0.03, random_state=0, **options), toy)
    assert net.score(toy.X, toy.y_true) > 0.7
    assert ("train_loss" in capsys.readouterr().out) == ("verbose" in options)


def test_progress_bar(toy, capsys):
    _fit(DANN(max_steps=8, epoch_size=512, verbose=2, random_state=0), toy)
    shown = capsys.readouterr()
    assert "train_loss" in shown.out
    assert "it/s" in shown.err
    assert "/4 [" in shown.err  # steps of an epoch
    tasks = MultiTaskNetClassifier(max_steps=4, early_stopping=True, verbose=2)
    rows = np.repeat(np.flatnonzero(toy.y >= 0), 2)[:-1]  # tasks differ in size
    tasks.fit(toy.X[rows], toy.y[rows], sample_domain=toy.domain[rows])
    assert "valid_loss" in tasks.history_


@pytest.mark.parametrize(
    "callback", [LRScheduler("StepLR", step_size=2), GradientNormClipping(1.0)]
)
def test_callbacks_of_skorch_have_their_effect(toy, callback):
    nets = [
        _fit(DANN(max_epochs=4, lr=0.05, callbacks=c, random_state=0), toy)
        for c in (None, [callback])
    ]
    outputs = [net.predict_proba(toy.X) for net in nets]
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-4


def test_callbacks_of_skorch_are_called(toy):
    seen = []

    class Record(Callback):
        def on_epoch_begin(self, net, **kwargs):
            seen.append("epoch")

        def on_batch_end(self, net, loss=None, **kwargs):
            seen.append(float(loss.detach()))

    _fit(DANN(max_epochs=2, callbacks=[Record()], random_state=0), toy)
    assert [entry == "epoch" for entry in seen] == [True, False, True, False]


def test_scoring_callbacks_and_checkpoints(make_toy, tmp_path):
    toy = make_toy(n_labeled=60)
    callbacks = [
        EpochScoring("accuracy", name="held_out", lower_is_better=False),
        EpochScoring("roc_auc", name="auc", lower_is_better=False),
        EpochScoring("accuracy", name="seen", on_train=True, lower_is_better=False),
        EpochScoring("accuracy", name="anew", use_caching=False),
        BatchScoring("accuracy", name="by_batch", lower_is_better=False),
        BatchScoring("accuracy", name="seen_by_batch", on_train=True),
        PassthroughScoring("train_loss", on_train=True),
        Checkpoint(dirname=tmp_path, monitor="valid_loss_best", load_best=True),
        LRScheduler("StepLR", step_size=5, gamma=0.5, step_every="batch"),
        SkorchStopping("valid_loss", patience=30),
    ]
    net = DANN(max_epochs=8, lr=0.05, early_stopping=True, callbacks=callbacks)
    net = _fit(net.set_params(random_state=0, batch_size=8), toy)
    for name in "held_out", "auc", "seen", "anew", "by_batch", "seen_by_batch":
        # as in skorch, the history is that of the checkpoint
        assert net.history_[name].shape == (net.n_iter_,)
        assert net.history_[name].max() > 0.6
    assert_allclose(net.history_["anew"], net.history_["held_out"])
    assert_allclose(net.history_["by_batch"], net.history_["held_out"])
    pairs, y = zip(*[(v[0], v[1]) for v in _held_out(net, toy)], strict=True)
    last = net.net_.base_module.predict(torch.cat(pairs))[1].argmax(1)
    best = net.history_["valid_loss"].argmin()
    accuracy = (last == torch.cat(y)).double().mean().item()
    assert accuracy == pytest.approx(net.history_["held_out"][best])
    assert (tmp_path / "params.pt").exists()
    assert pickle.loads(pickle.dumps(net)).n_iter_ == net.n_iter_ <= 8


def _held_out(net, toy):
    """Held-out rows of a net, which a further fit of it would take."""
    found = []

    class Record(Callback):
        def on_train_begin(self, net, X=None, **kwargs):
            found.extend(X.validation)

    again = clone(net).set_params(callbacks=[Record()], max_epochs=1)
    _fit(again, toy)
    return found


def test_scores_of_regression(rng):
    X = rng.uniform(-2, 2, size=(100, 1))
    callback = EpochScoring("r2", lower_is_better=False)
    net = TransferNetRegressor(
        max_steps=200, lr=0.02, early_stopping=True, callbacks=[callback],
        random_state=0,
    ).fit(X, np.abs(X[:, 0]))  # fmt: skip
    assert net.history_["r2"][-1] > 0.8


@pytest.mark.parametrize(
    "callback",
    [
        SkorchStopping(),
        Checkpoint(),
        SkorchStopping,
        EpochScoring("accuracy"),
        BatchScoring("accuracy"),
        PassthroughScoring("valid_loss"),
        ("plateau", LRScheduler("ReduceLROnPlateau", monitor="valid_loss")),
    ],
)
def test_callbacks_that_need_held_out_rows_say_so(toy, callback):
    with pytest.raises(ValueError, match="early_stopping=True"):
        _fit(DANN(max_epochs=1, callbacks=[callback]), toy)


def test_weights_are_relative_and_those_of_classes_multiply(toy):
    def outputs(weight=None, **params):
        net = DANN(max_epochs=4, mu=0.0, random_state=0, **params)
        net.fit(toy.X, toy.y, sample_domain=toy.domain, sample_weight=weight)
        return net.predict_proba(toy.X)

    rng = np.random.RandomState(0)
    weight = rng.uniform(0.5, 2, len(toy.y))
    assert_allclose(outputs(weight), outputs(10 * weight), rtol=1e-6)
    assert np.abs(outputs(weight) - outputs()).max() > 1e-3
    assert_allclose(outputs(class_weight={0: 1.0, 1: 1.0}), outputs(), rtol=1e-6)
    costly = outputs(class_weight={1: 20.0})
    assert costly[:, 1].mean() > outputs()[:, 1].mean() + 0.005
    assert np.abs(outputs(class_weight="balanced") - outputs()).max() > 1e-6
    with pytest.raises(ValueError, match="class_weight names 7"):
        outputs(class_weight={7: 2.0})


def test_class_weights_of_a_class_that_the_labeled_target_rows_lack(toy):
    names = np.array(["a", "b", None], dtype=object)[toy.y]
    names[(toy.domain == 1) & (np.arange(len(names)) % 7 == 0)] = "c"
    for class_weight in ({"c": 9.0}, {"c": 9.0, "a": 2.0}, "balanced"):
        net = DANN(max_epochs=1, class_weight=class_weight, gate=True, random_state=0)
        net.fit(toy.X, names, sample_domain=toy.domain)
        data = check_domains(toy.X, names, toy.domain)
        held_out = np.zeros(len(names), dtype=bool)
        weight = net._label_weights(data, None, data.labeled, held_out)
        own = data.labels(data.is_labeled_target)
        found = weight[data.is_labeled_target]
        if class_weight == "balanced":
            assert found.sum() == pytest.approx(len(own))
            assert found[own == "a"].sum() == pytest.approx(found[own == "b"].sum())
        else:
            assert_array_equal(found, [class_weight.get(c, 1.0) for c in own])
            assert set(weight[data.is_source][data.y_source == "c"]) == {9.0}


def test_balanced_classes_weigh_each_domain_by_its_own_frequencies(toy):
    net = DANN(max_epochs=1, class_weight="balanced", random_state=0)
    _fit(net, toy)
    rows = []

    class Record(Callback):
        def on_train_begin(self, net, X=None, **kwargs):
            rows.append(X)

    _fit(net.set_params(callbacks=[Record()]), toy)
    for y, weight in (
        (rows[0].y_source, rows[0].w_source),
        (rows[0].y_labeled, rows[0].w_labeled),
    ):
        sums = [weight[y == k].sum().item() for k in (0, 1)]
        assert sums[0] == pytest.approx(sums[1])
        assert weight.mean().item() == pytest.approx(1)


@pytest.mark.parametrize(
    "params",
    [
        {"criterion": nn.CrossEntropyLoss, "criterion__label_smoothing": 0.3},
        {"criterion": nn.CrossEntropyLoss(label_smoothing=0.3)},
        {"criterion__label_smoothing": 0.3},
    ],
)
def test_criterion(toy, params):
    net = _fit(DANN(max_steps=300, lr=0.02, mu=0.0, random_state=0, **params), toy)
    largest = net.predict_proba(toy.X[toy.domain > 0]).max(axis=1)
    assert largest.mean() < 0.9
    plain = _fit(DANN(max_steps=300, lr=0.02, mu=0.0, random_state=0), toy)
    assert plain.predict_proba(toy.X[toy.domain > 0]).max(axis=1).mean() > 0.9


def test_criterion_of_regression_and_bad_ones(toy, rng):
    X = rng.uniform(-2, 2, size=(60, 1))
    huber = TransferNetRegressor(criterion=nn.HuberLoss, criterion__delta=0.1)
    huber.set_params(lr=0.02, max_steps=200, random_state=0)
    assert huber.fit(X, np.abs(X[:, 0])).score(X, np.abs(X[:, 0])) > 0.8

    class Mean(nn.Module):
        def forward(self, outputs, y):
            return nn.functional.cross_entropy(outputs, y)

    with pytest.raises(ValueError, match="reduction='none'"):
        _fit(DANN(max_epochs=1, criterion=Mean), toy)
    with pytest.raises(ValueError, match="criterion is an instance"):
        _fit(DANN(criterion=nn.CrossEntropyLoss(), criterion__weight=None), toy)


@pytest.mark.parametrize("routed", [False, True])
def test_in_a_pipeline_and_a_grid(toy, routed, request):
    if routed:
        request.getfixturevalue("routing")
        pipe = make_pipeline(StandardScaler(), DANN(max_epochs=2, random_state=0))
        grid = {"dann__mu": [0.0, 1.0], "dann__gate": [False, True]}
        search = GridSearchCV(pipe, grid, cv=StratifiedTargetKFold(2))
        search.fit(toy.X, toy.y, sample_domain=toy.domain)
        assert search.best_score_ > 0
    net = _fit(DANN(max_epochs=2, random_state=0), toy)
    assert net.predict(toy.X).shape == (80,)


@pytest.mark.slow
def test_grid_in_parallel(toy, routing):
    grid = {
        "module__hidden_units": [(4,), (8, 4)],
        "mu": [0.5, 1.0],
        "gate": [False, True],
        "lr": [1e-3, 1e-2],
    }
    net = DANN(max_epochs=2, random_state=0)
    search = GridSearchCV(net, grid, cv=StratifiedTargetKFold(2), n_jobs=2)
    search.fit(toy.X, toy.y, sample_domain=toy.domain)
    assert len(search.cv_results_["params"]) == 16
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize("score", [h_score, logme, leep])
def test_transferability_scorers_read_the_features(toy, score):
    source = toy.domain > 0
    net = SourceOnlyNet(max_epochs=3, random_state=0)
    net.fit(toy.X[source], toy.y[source])
    target = (toy.domain < 0) & (toy.y >= 0)
    response = "predict_proba" if score is leep else "features"
    scorer = make_transferability_scorer(score, response=response)
    assert np.isfinite(scorer(net, toy.X[target], toy.y[target]))


def test_regression_is_in_the_unit_of_y(rng):
    X = rng.uniform(-2, 2, size=(100, 1))
    y = 500 + 100 * np.abs(X[:, 0])
    domain = np.tile([1, -1], 50)
    net = TransferNetRegressor(lr=0.01, random_state=0).fit(X, y, sample_domain=domain)
    assert net.score(X, y) > 0.9
    constant = TransferNetRegressor(max_epochs=2, random_state=0).fit(
        X, np.full(100, 7.0)
    )
    assert np.abs(constant.predict(X) - 7).max() < 2


def test_standardizing_can_be_left_out(toy):
    net = _fit(TransferNetClassifier(max_epochs=1, standardize=False), toy)
    assert net.shift_ == 0
    assert net.scale_ == 1
    net = _fit(DANN(max_epochs=1), toy)
    assert_allclose(net.shift_, toy.X.mean(axis=0))
    assert_allclose(net.scale_, toy.X.std(axis=0))


def test_sources_without_target_labels_and_target_without_sources(toy):
    y = np.where(toy.domain < 0, -1, toy.y)
    for gate in (False, True):
        net = _fit(DANN(gate=gate, max_epochs=2, random_state=0), toy, y=y)
        assert "labeled_loss" not in net.history_
        rows = toy.domain < 0
        alone = DANN(gate=gate, max_epochs=2, random_state=0)
        alone.fit(toy.X[rows], toy.y[rows], sample_domain=toy.domain[rows])
        assert alone.sample_weight_.shape == (0,)
        labeled = rows & (toy.y >= 0)
        alone.fit(toy.X[labeled], toy.y[labeled])
        assert "marginal_loss" not in alone.history_


# torch's tracer makes an instance of an autograd function, which torch deprecates
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_compiled_nets_agree(toy, monkeypatch):
    calls, compiled = [], torch.compile

    def trace(module, **kwargs):
        """Trace as torch.compile does, without a compiler for C++."""
        calls.append(module)
        return compiled(module, backend="eager")

    monkeypatch.setattr(torch, "compile", trace)
    plain = _fit(DANN(gate=True, max_epochs=2, random_state=0), toy)
    net = _fit(DANN(gate=True, max_epochs=2, compile=True, random_state=0), toy)
    assert type(plain.module_) in map(type, calls)
    assert isinstance(net.module_, type(plain.module_))
    assert_allclose(net.predict_proba(toy.X), plain.predict_proba(toy.X), rtol=1e-6)


def test_callbacks_of_scikit_learn_follow_the_epochs(toy):
    pytest.importorskip("sklearn.callback")
    heard = []

    class Log:
        def setup(self, estimator, context):
            heard.append("setup")

        def teardown(self, estimator, context):
            heard.append("teardown")

        def on_fit_task_begin(self, estimator, context):
            heard.append(("begin", context.task_name))

        def on_fit_task_end(self, estimator, context):
            heard.append(("end", context.task_name))

    plain = _fit(DANN(max_epochs=3, random_state=0), toy)
    net = _fit(DANN(max_epochs=3, random_state=0).set_callbacks(Log()), toy)
    assert_array_equal(net.predict_proba(toy.X), plain.predict_proba(toy.X))
    assert heard[0] == "setup" and heard[-1] == "teardown"
    # the root is named fit, too
    for name, count in {"fit": 1 + 3, "epochs": 1}.items():
        assert heard.count(("begin", name)) == heard.count(("end", name)) == count
    assert len(net.net_.callbacks_) == len(plain.net_.callbacks_)


@pytest.mark.parametrize("name", sktransfer.deep.__all__)
def test_every_parameter_is_validated(name):
    cls = getattr(sktransfer.deep, name)
    if hasattr(cls, "_parameter_constraints") and issubclass(cls, TransferNet):
        assert set(cls().get_params(deep=False)) <= set(cls._parameter_constraints)


@pytest.mark.parametrize(
    "change",
    [
        {"lr": 0.2},
        {"optimizer__weight_decay": 1.0},
        {"optimizer": torch.optim.SGD},
        {"source_weight": 0.0},
        {"callbacks": [LRScheduler("StepLR", step_size=1, gamma=0.01)]},
    ],
)
def test_later_calls_read_the_parameters_of_a_training_anew(toy, change):
    def twice(**between):
        net = DANN(max_epochs=4, lr=0.01, warm_start=True, gate=True, random_state=0)
        net = pickle.loads(pickle.dumps(_fit(net, toy))).set_params(**between)
        return _fit(net, toy).predict_proba(toy.X)

    assert_array_equal(twice(), twice(lr=0.01, callbacks=None))
    assert np.abs(twice(**change) - twice()).max() > 1e-4


def test_early_stopping_may_be_asked_for_in_a_later_call(make_toy):
    toy = make_toy(n_labeled=60)
    net = DANN(max_epochs=40, lr=0.05, warm_start=True, n_iter_no_change=2)
    net.set_params(early_stopping=False, random_state=0)
    lengths = [
        _fit(net.set_params(early_stopping=stop), toy).n_iter_
        for stop in (False, True, False)
    ]
    assert lengths[0] == 40
    assert lengths[1] < 80
    assert lengths[2] == lengths[1] + 40


def test_batch_normalization_of_one_row_is_refused(toy):
    module = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4))
    with pytest.raises(ValueError, match="a batch has one row only: raise batch_size"):
        _fit(SourceOnlyNet(module, batch_size=1, max_steps=1), toy)


@pytest.mark.parametrize("cls", [UOWQNet, SelectiveAutoencoder])
def test_a_source_of_weight_0_is_left_out(make_toy, cls):
    toy = make_toy()
    domain = np.where(np.arange(80) < 20, 2, toy.domain)
    y, kept = np.where(toy.y < 0, np.nan, toy.y), domain != 1
    fits = [
        cls(max_steps=10, epoch_size=100, lr=0.02, random_state=0).fit(
            toy.X[rows], y[rows], sample_domain=domain[rows], sample_weight=weight
        )
        for rows, weight in ((slice(None), kept.astype(float)), (kept, None))
    ]
    assert_array_equal(*[net.source_ids_ for net in fits])
    assert_allclose(*[net.predict_proba(toy.X) for net in fits])
    assert_allclose(fits[0].sample_weight_, np.r_[fits[1].sample_weight_, np.zeros(20)])
    alone = cls(max_steps=2).fit(toy.X, y, domain, sample_weight=domain < 0)
    assert not alone.sample_weight_.any()


def test_a_label_per_class_is_no_sign_of_regression(rng):
    y, domain = np.tile(np.arange(24), 3), np.repeat([1, 1, -1], 24)
    net = DANN(gate=True, max_steps=1)
    net.fit(rng.normal(size=(72, 2)), y, sample_domain=domain)
    assert net._companions.in_mean
