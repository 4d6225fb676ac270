"""What the six methods and the gate do."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.datasets import make_moons
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_score
from torch import nn

from sktransfer.datasets import load_perturbed_digits
from sktransfer.deep import (
    ADDA,
    DAN,
    DANN,
    GTA,
    PADA,
    AdversarialAlignment,
    Alignment,
    ConditionalAlignment,
    DANNRegressor,
    DANRegressor,
    DeepCORAL,
    DeepCORALRegressor,
    SourceOnlyNet,
    TargetOnlyNet,
    TransferNetClassifier,
)
from sktransfer.safe import TransferConformal

METHODS = [DANN, ADDA, PADA, GTA, DAN, DeepCORAL]
REGRESSORS = [DANNRegressor, DANRegressor, DeepCORALRegressor]


def _features(cls, problem, **params):
    y = problem.y if cls in METHODS else np.where(problem.y < 0, np.nan, problem.y)
    net = cls(max_epochs=8, lr=5e-3, random_state=0, **params)
    net.fit(problem.X, y, sample_domain=problem.domain)
    return net, net.transform(problem.X, sample_domain=problem.domain)


@pytest.mark.parametrize("cls", METHODS + REGRESSORS)
def test_alignment_reaches_the_features(cls, toy):
    """A dead alignment or a zero gradient would leave them as they are."""
    aligned, plain = (_features(cls, toy, mu=mu)[1] for mu in (1.0, 0.0))
    assert np.abs(aligned - plain).max() > 1e-3


@pytest.mark.parametrize("cls", METHODS + REGRESSORS)
def test_the_gate_changes_the_fit_and_explains_itself(cls, toy):
    gated, features = _features(cls, toy, gate=True)
    plain, others = _features(cls, toy)
    assert np.abs(features - others).max() > 1e-4
    assert gated.sample_weight_.shape == (40,)
    assert (gated.sample_weight_ >= 0).all()
    assert np.ptp(gated.sample_weight_) > 0.01
    assert (plain.sample_weight_ == 1).all()


@pytest.mark.parametrize("cls", METHODS)
def test_every_part_is_trained(cls, toy):
    """No parameter of a gated net keeps its initial value."""
    start = cls(max_epochs=1, lr=1e-12, gate=True, random_state=0)
    end = cls(max_epochs=6, lr=1e-2, gate=True, random_state=0)
    states = [
        net.fit(toy.X, toy.y, sample_domain=toy.domain).module_.state_dict()
        for net in (start, end)
    ]
    for name, value in states[0].items():
        assert not np.allclose(value, states[1][name]), f"{name} is not trained"


@pytest.mark.parametrize("cls", [DANN, DAN])
def test_domains_are_harder_to_tell_with_alignment(cls, make_toy):
    toy = make_toy(n_source=100, n_labeled=0, n_unlabeled=100, shift=4.0)
    accuracy = {}
    for mu in (0.0, 1.0):
        # with momentum features and discriminator would run in circles
        net = cls(
            max_epochs=60, batch_size=32, mu=mu, random_state=0,
            optimizer__betas=(0.0, 0.99),
        )  # fmt: skip
        net.fit(toy.X, toy.y, sample_domain=toy.domain)
        features = net.transform(toy.X, sample_domain=toy.domain)
        scores = cross_val_score(LogisticRegression(), features, toy.domain, cv=5)
        accuracy[mu] = scores.mean()
    assert accuracy[0.0] > 0.8
    assert accuracy[1.0] - 0.5 < 0.6 * (accuracy[0.0] - 0.5)


def test_adda_gives_the_target_its_own_extractor(toy):
    net = ADDA(max_epochs=6, pretraining=0.5, random_state=0)
    net.fit(toy.X, toy.y, sample_domain=toy.domain)
    as_target = net.transform(toy.X)
    as_source = net.transform(toy.X, sample_domain=np.ones(len(toy.X), int))
    assert np.abs(as_target - as_source).max() > 1e-4
    early = ADDA(max_epochs=1, pretraining=0.9, random_state=0)
    early.fit(toy.X, toy.y, sample_domain=toy.domain)
    np.testing.assert_array_equal(
        early.transform(toy.X),
        early.transform(toy.X, sample_domain=np.ones(len(toy.X), int)),
    )


def test_adda_without_a_gate_leaves_the_source_extractor_alone(toy):
    """After pretraining the source's features do not move (Tzeng et al.)."""
    features = []
    for epochs in (4, 8):  # both pretrain for 4 epochs
        net = ADDA(max_epochs=epochs, pretraining=4 / epochs - 1e-9, random_state=0)
        net.fit(toy.X, toy.y, sample_domain=toy.domain)
        source = np.ones(len(toy.X), int)
        features.append(net.transform(toy.X, sample_domain=source))
    assert np.abs(features[0] - features[1]).max() < 1e-12


def test_early_stopping_does_not_switch_adda_off(make_toy):
    """Epochs count once the second extractor has been trained for a while."""
    toy = make_toy(n_labeled=60)
    net = ADDA(
        max_epochs=40,
        lr=0.1,
        mu=50.0,
        pretraining=0.3,
        early_stopping=True,
        n_iter_no_change=3,
        random_state=0,
    )
    net.fit(toy.X, toy.y, sample_domain=toy.domain)
    assert net.history_["valid_loss"].argmin() < 12  # adaptation is made to hurt
    assert net.n_iter_ >= 0.65 * 40 + 3
    as_source = net.transform(toy.X, sample_domain=np.ones(len(toy.X), int))
    assert np.abs(net.transform(toy.X) - as_source).max() > 1e-3


def test_the_first_extractor_of_adda_keeps_its_statistics(toy):
    norm = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.ReLU())
    states = []
    for epochs in (4, 8):  # both pretrain for 4 epochs
        net = ADDA(
            norm, max_epochs=epochs, pretraining=4 / epochs - 1e-9, random_state=0
        )
        net.fit(toy.X, toy.y, sample_domain=toy.domain)
        states.append(net.module_.extractor[1])
        assert states[-1].num_batches_tracked == 4
    assert torch.equal(states[0].running_mean, states[1].running_mean)
    moved = net.module_.alignment.extractor[1].num_batches_tracked
    assert moved == 8


def test_pada_weighs_down_the_class_that_the_target_lacks(rng):
    y = np.r_[np.repeat([0, 1, 2], 40), np.full(60, -1)]
    center = np.r_[np.repeat([0, 4, 8], 40), np.repeat([0, 4], 30)]
    X = center[:, None] + rng.normal(size=(180, 1))
    net = PADA(lr=0.01, random_state=0)
    net.fit(X, y, sample_domain=np.where(y < 0, -1, 1))
    assert net.class_weight_.max() == 1
    assert net.class_weight_[2] < 0.5 < net.class_weight_[:2].min()


@pytest.mark.parametrize(
    "params",
    [
        {"gate": True, "label_input": False},
        {"label_input": True},
        {"gate": True, "match": "joint"},
        {"gate": True, "match": "marginal"},
        {"gate": True, "match": "none"},
    ],
)
def test_ablations_of_the_paper_are_reachable_and_differ(params, toy):
    _, features = _features(DANN, toy, **params)
    _, full = _features(DANN, toy, gate=True, match="both")
    assert np.abs(features - full).max() > 1e-4
    if params.get("match") == "none":  # what a gate does unless told otherwise
        np.testing.assert_array_equal(features, _features(DANN, toy, gate=True)[1])


def test_matching_pairs_needs_labels(toy):
    net = DANN(match="joint")
    plain = TransferNetClassifier(alignment=AdversarialAlignment("joint"))
    for fit in net.fit, net.partial_fit, plain.fit:
        with pytest.raises(ValueError, match="label_input=True or gate=True"):
            fit(toy.X, toy.y, sample_domain=toy.domain)


@pytest.mark.slow
@pytest.mark.parametrize("cls", [DANN, DeepCORAL])
def test_the_gate_finds_corrupted_rows(cls, corrupted_digits):
    """As in figure 4 of the paper: 70 % corruption, 30 % of the target labeled."""
    d = corrupted_digits
    net = cls(gate=True, max_epochs=30, early_stopping=False, random_state=0)
    net.fit(d.X.astype("f"), d.y, sample_domain=d.sample_domain)
    source = d.sample_domain > 0
    corrupt = ((d.y != d.y_true) | d.input_perturbed)[source]
    weight = net.sample_weight_
    assert weight[~corrupt].mean() > 2 * weight[corrupt].mean()
    assert roc_auc_score(~corrupt, weight) > 0.75


def test_the_gate_agrees_with_no_gate_on_a_clean_source(make_toy):
    gaps = []
    for seed in range(3):
        toy = make_toy(n_source=150, n_labeled=40, n_unlabeled=60, seed=seed, shift=0.0)
        scores = [
            DANN(gate=gate, max_epochs=15, lr=5e-3, random_state=seed)
            .fit(toy.X, toy.y, sample_domain=toy.domain)
            .score(toy.X, toy.y_true)
            for gate in (True, False)
        ]
        gaps.append(scores[0] - scores[1])
    assert abs(np.mean(gaps)) < 0.04


def test_smoothing_is_in_units_of_scotts_bandwidth(toy):
    def noise(**params):
        net = DANN(max_epochs=1, match="both", module__hidden_units=(6,), **params)
        net.fit(toy.X, toy.y, sample_domain=toy.domain)
        own = net.module_.gate_discriminator
        assert net.module_.discriminator.noise == 0
        return 0 if own is None else own.noise

    assert noise(gate=True) == pytest.approx(10 ** (-1 / (6 + 4)))
    assert noise(gate=True, gate_smoothing=0.5) == pytest.approx(0.5 * 10**-0.1)
    assert noise(gate=True, label_input=False) == pytest.approx(40 ** (-1 / (6 + 4)))
    assert noise(gate=True, gate_smoothing=0) == 0
    assert noise(gate=False) == 0


def test_smoothing_keeps_a_clean_source_with_few_labels():
    """Without it the discriminator knows the labeled rows, and trusts only them."""
    digits = load_perturbed_digits(0.0, 0.0, 0.1, random_state=0)
    mean = [
        DAN(gate=True, gate_smoothing=width, max_epochs=30, random_state=0)
        .fit(digits.X.astype("f"), digits.y, sample_domain=digits.sample_domain)
        .sample_weight_.mean()
        for width in (1.0, 0.0)
    ]
    assert mean[0] > 1.3 * mean[1]
    assert mean[0] > 0.7


def test_pada_on_the_target_alone_is_dann_and_does_not_collapse():
    rng = np.random.RandomState(0)
    y = np.arange(96) % 6
    X = rng.normal(size=(96, 4)) + 3 * np.eye(6, 4)[y] + 3 * (y > 3)[:, None]
    marked = np.where(np.arange(96) < 18, y, np.nan)
    domain = np.full(96, -1)
    nets = [
        cls(max_steps=200, lr=0.02, batch_size=32, random_state=0).fit(
            X, marked, sample_domain=domain
        )
        for cls in (PADA, DANN)
    ]
    assert_array_equal(*(net.predict_proba(X) for net in nets))
    assert_array_equal(nets[0].class_weight_, np.ones(6))
    assert len(np.unique(nets[0].predict(X))) == 6


def test_target_alone_the_labeled_rows_play_the_source(toy):
    """theta(0,T): the same net, told so by hand, is the same fit."""
    target = toy.domain < 0
    X, y = toy.X[target], toy.y[target]
    net = DANN(max_epochs=4, random_state=0).fit(X, y, sample_domain=toy.domain[target])
    rows = y >= 0
    X_both = np.vstack([X[rows], X[~rows]])
    y_both = np.r_[y[rows], y[~rows]]
    domain = np.where(y_both >= 0, 1, -1)
    other = DANN(max_epochs=4, random_state=0).fit(X_both, y_both, sample_domain=domain)
    np.testing.assert_allclose(net.predict_proba(toy.X), other.predict_proba(toy.X))


def test_baselines_see_one_domain(toy):
    source, target = toy.domain > 0, (toy.domain < 0) & (toy.y >= 0)
    for cls, rows in (SourceOnlyNet, source), (TargetOnlyNet, target):
        # scaled by hand, as the net of the sources takes its scales from all inputs
        options = {"max_epochs": 3, "random_state": 0, "standardize": False}
        fitted = cls(**options)
        fitted.fit(toy.X, toy.y, sample_domain=toy.domain)
        alone = TransferNetClassifier(**options)
        alone.fit(toy.X[rows], toy.y[rows])
        np.testing.assert_array_equal(
            fitted.predict_proba(toy.X), alone.predict_proba(toy.X)
        )


def test_features_that_hardly_vary_in_the_source_do_not_explode(rng):
    """One pixel that is nearly constant in the source is noise in the target."""
    X = rng.normal(size=(400, 2))
    X[:200, 1] = 0
    X[0, 1] = 1e-3
    y = np.where(np.arange(400) < 200, X[:, 0] > 0, np.nan)
    net = SourceOnlyNet(max_epochs=1, random_state=0)
    net.fit(X, y, sample_domain=np.repeat([1, -1], 200))
    assert np.abs((X - net.shift_) / net.scale_).max() < 10
    alone = SourceOnlyNet(max_epochs=1, random_state=0)
    alone.fit(X[:200], y[:200])
    assert np.abs((X[:200] - alone.shift_) / alone.scale_).max() <= 20
    robust = SourceOnlyNet(max_epochs=1, standardize="robust").fit(X[:200], y[:200])
    np.testing.assert_allclose(robust.shift_, np.median(X[:200], axis=0))


def test_own_alignment_gets_its_say(toy):
    class Means(Alignment):
        def losses(self, net, batch, encoded):
            gap = encoded.source.mean(0) - encoded.target.mean(0)
            return {"means": gap.square().sum()}

    gaps = []
    for mu in (0.0, 10.0):
        net = TransferNetClassifier(
            alignment=Means(), mu=mu, max_epochs=40, lr=5e-3, random_state=0
        )
        net.fit(toy.X, toy.y, sample_domain=toy.domain)
        Z, source = net.transform(toy.X), toy.domain > 0
        gaps.append(np.linalg.norm(Z[source].mean(0) - Z[~source].mean(0)))
        assert net.history_["means_loss"].shape == (40,)
    assert gaps[1] < 0.5 * gaps[0]


def _rotated_moons(seed, n=300, degrees=35):
    """The usual toy of the field: two moons, and two turned around the origin."""
    X, y = make_moons(2 * n, noise=0.1, random_state=seed)
    turn = np.deg2rad(degrees)
    R = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    X[n:] = X[n:] @ R
    return X.astype("f"), y, np.repeat([1, -1], n)


@pytest.mark.slow
def test_alignment_beats_the_source_alone_on_rotated_moons():
    """With all defaults; ``benchmarks/net_defaults.md`` has more draws."""
    nets = {
        "source only": SourceOnlyNet(),
        "DAN": DAN(),
        "DANN": DANN(),
        "CDAN": TransferNetClassifier(alignment=ConditionalAlignment()),
        "Deep CORAL": DeepCORAL(),
    }
    scores = {}
    X, y, domain = _rotated_moons(seed=0)
    target = domain < 0
    for name, net in nets.items():
        net.set_params(random_state=0, early_stopping=False)
        net.fit(X, np.where(target, np.nan, y), sample_domain=domain)
        scores[name] = net.score(X[target], y[target])
    for name in ("DAN", "DANN", "CDAN", "Deep CORAL"):
        assert scores[name] > scores["source only"] + 0.05, scores


@pytest.mark.parametrize("cls", [DeepCORAL, DeepCORALRegressor])
def test_a_net_has_sets_and_intervals(cls, toy):
    y = toy.y if cls is DeepCORAL else np.where(toy.y < 0, np.nan, toy.y)
    net = cls(max_steps=10, lr=5e-3, random_state=0)
    model = TransferConformal(net, method="split", alpha=0.3)
    model.fit(toy.X, y, sample_domain=toy.domain)
    known = (toy.domain < 0) & (toy.y >= 0)
    coverage = model.coverage(toy.X[known], y[known])
    assert 0.5 < coverage[-1] <= 1
