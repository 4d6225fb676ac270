"""SHOT and SourceFreeNets: limits, weights, labels and what they refuse."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer.deep import (
    SHOT,
    MultiTaskNetClassifier,
    SourceFreeNets,
    TransferNetClassifier,
)
from sktransfer.deep._source_free_nets import _surest, importance
from sktransfer.exceptions import DomainError
from sktransfer.multisource import SourceFreeEnsemble

NET = TransferNetClassifier(
    module__hidden_units=(8, 6), lr=0.01, max_steps=40, random_state=0
)
SHORT = {"max_epochs": 3, "lr": 1e-3, "random_state": 0}


@pytest.fixture(scope="module")
def nets():
    """Two nets of sources, one of them of no use, and target rows."""
    rng = np.random.RandomState(0)
    y = np.tile([0, 1], 40)
    X = rng.normal(size=(80, 3)) + 4 * y[:, None]
    good = clone(NET).fit(X, y)
    bad = clone(NET).fit(X[:20], rng.permutation(y[:20]))
    return [good, bad], X + [1.0, 0.0, 0.0], y


def _fit(model, X, known=()):
    labels = np.full(len(X), np.nan)
    for i, label in known:
        labels[i] = label
    return model.fit(X, labels, sample_domain=-1)


@pytest.mark.parametrize("still", [{"lr": 0}, {"max_epochs": 0}, {"max_steps": 0}])
@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_without_training_it_is_the_ensemble(nets, still, weight):
    models, X, _ = nets
    both = [
        _fit(cls(NET, source_models=models, pseudo_label_weight=weight, **params), X)
        for cls, params in ((SourceFreeNets, still), (SourceFreeEnsemble, {}))
    ]
    assert_array_equal(both[0].source_weights_, both[1].source_weights_)
    assert_array_equal(both[0].predict_proba(X), both[1].predict_proba(X))
    assert both[0].loss_ == both[1].loss_
    assert both[0].n_iter_ == 1 and both[0].history_ == {}


def test_without_epochs_shot_is_the_source_net(nets):
    (good, _), X, _ = nets
    model = _fit(SHOT(NET, source_models=good, max_epochs=0), X)
    assert_array_equal(model.predict_proba(X), good.predict_proba(X))


@pytest.mark.parametrize("weights", ["learn", "date", "uniform"])
def test_one_net_is_shot(nets, weights):
    (good, _), X, _ = nets
    one = _fit(SHOT(NET, source_models=good, **SHORT), X)
    many = SourceFreeNets(NET, source_models=[good], weights=weights, **SHORT)
    assert_allclose(_fit(many, X).predict_proba(X), one.predict_proba(X), rtol=1e-10)
    assert not np.allclose(one.predict_proba(X), good.predict_proba(X))
    assert one.n_iter_ == len(one.history_["entropy_loss"]) == 3


def test_heads_stay_and_given_nets_are_not_touched(nets):
    (good, bad), X, _ = nets
    before = good.predict_proba(X)
    model = SourceFreeNets(NET, source_models=[good, bad], weights="uniform", **SHORT)
    _fit(model, X)
    assert_array_equal(good.predict_proba(X), before)
    assert_array_equal(model.predict_proba(X, sample_domain=1), before)
    for net, own in zip([good, bad], model.estimator_.models, strict=True):
        assert torch.equal(net.module_.head.weight, own.module_.head.weight)
        assert own.module_.head.weight.requires_grad
        moved = own.module_.extractor.layers[1].weight
        assert not torch.equal(net.module_.extractor.layers[1].weight, moved)
    assert_allclose(model.source_weights_, 0.5)
    mean = np.mean([m.predict_proba(X) for m in model.estimator_.models], axis=0)
    assert_allclose(model.predict_proba(X), mean)


def test_the_losses_are_the_equation(nets):
    """The first batch holds all rows, so its losses are those of the start."""
    models, X, _ = nets
    model = SourceFreeNets(
        NET, source_models=models, weights="uniform", max_steps=1, lr=1e-9,
        pseudo_label_weight=0.5,
    )  # fmt: skip
    known = [(0, 1.0), (1, 0.0), (5, 1.0)]
    history = _fit(model, X, known).history_
    p = np.mean([m.predict_proba(X) for m in models], axis=0)
    mean = p.mean(axis=0)
    assert_allclose(history["entropy_loss"][0], -(p * np.log(p)).sum(axis=1).mean())
    assert_allclose(history["balance_loss"][0], (mean * np.log(mean)).sum())
    features = [
        f / np.maximum(np.linalg.norm(f, axis=1, keepdims=True), 1e-12)
        for f in (m.transform(X) for m in models)
    ]
    z, proba = np.hstack(features), p
    for _ in range(2):  # nearest centroid by cosine, soft and then hard
        centers = proba.T @ z / proba.sum(axis=0)[:, None]
        cosine = z @ (centers / np.linalg.norm(centers, axis=1, keepdims=True)).T
        proba = np.eye(2)[cosine.argmax(axis=1)]
    labels = cosine.argmax(axis=1)
    for row, label in known:
        labels[row] = label  # given labels stay
    of_label = np.log(p[np.arange(len(X)), labels])
    assert_allclose(history["label_loss"][0], -0.5 * of_label.mean())


def test_adaptation_lowers_the_loss_and_follows_a_shift(nets):
    (good, bad), X, y = nets
    far = X + 2.5
    model = SHOT(NET, source_models=good, lr=3e-3, max_epochs=60, random_state=0)
    _fit(model, far)
    assert model.history_["loss"][-1] < model.history_["loss"][0]
    assert model.score(far, y) > good.score(far, y)
    pair = SourceFreeNets(NET, source_models=[bad, good], weights="date", **SHORT)
    weights = _fit(pair, X).source_weights_
    assert_allclose(weights.sum(), 1)
    assert weights[1] > weights[0]


def test_importance_of_models():
    sure = np.eye(2)[[0, 1, 0, 1]]
    blind, one_class = np.full((4, 2), 0.5), np.eye(2)[[0, 0, 0, 0]]
    assert_allclose(
        importance(np.stack([sure, blind, one_class])), [1, 0, 0], atol=1e-9
    )
    assert_allclose(importance(np.stack([blind, blind])), 0.5)
    assert_allclose(importance(sure[None]), 1)
    # two that agree beat one that is as sure and disagrees
    other = np.eye(2)[[0, 0, 1, 1]]
    weights = importance(np.stack([sure, sure, other]))
    assert weights[0] == weights[1] > weights[2]


def test_share_of_pseudo_labels_and_alignment(nets):
    labels = np.array([0, 0, 0, 0, 1, 1])
    proba = np.array([0.9, 0.6, 0.8, 0.7, 0.2, 0.4])
    proba = np.column_stack([proba, 1 - proba])
    assert _surest(labels, proba, 0.5).tolist() == [1, 0, 1, 0, 1, 0]
    (good, _), X, _ = nets
    params = {"source_models": good, **SHORT}
    half = _fit(SHOT(NET, pseudo_label_share=0.5, **params), X)
    both = SHOT(NET, pseudo_label_share=0.5, feature_alignment=1.0, **params)
    assert (_fit(both, X).history_["alignment_loss"] > 0).all()
    assert not np.allclose(half.predict_proba(X), both.predict_proba(X))
    # all rows have a label: nothing to align
    with pytest.raises(ValueError, match=r"feature_alignment=1.0 has no effect"):
        _fit(SHOT(NET, feature_alignment=1.0, **params), X)


def test_pipelines_text_labels_and_images(nets):
    _, X, y = nets
    names = np.array(["no", "yes"])[y]
    pipe = make_pipeline(StandardScaler(), clone(NET)).fit(X, names)
    none = np.full(len(X), None)
    model = SourceFreeNets(NET, source_models=[pipe, clone(NET).fit(X, names)], **SHORT)
    model.fit(X + 1, none, sample_domain=-1)
    assert model.classes_.tolist() == ["no", "yes"]
    assert model.score(X + 1, names) > 0.9
    images = X.reshape(-1, 1, 3, 1)
    net = clone(NET).fit(images, y)
    fitted = _fit(SourceFreeNets(NET, source_models=[net, net], **SHORT), images)
    assert_allclose(fitted.predict_proba(images).sum(axis=1), 1)


def test_rows_of_sources_with_one_class_and_without_sources(nets):
    _, X, y = nets
    domain = np.where(y == 0, 1, 2)  # a class each: models that are constant
    rows, labels = (
        np.vstack([X, X]),
        np.append(y.astype(float), np.full(len(X), np.nan)),
    )
    ids = np.append(domain, np.full(len(X), -1))
    model = SourceFreeNets(NET, **SHORT).fit(rows, labels, sample_domain=ids)
    assert model.classes_.tolist() == [0, 1]
    assert model.n_iter_ == 1
    pooled = SHOT(NET, **SHORT).fit(rows, labels, sample_domain=ids)
    assert pooled.score(X, y) > 0.9
    alone = SHOT(NET).fit(X, y)
    assert_array_equal(alone.predict_proba(X), clone(NET).fit(X, y).predict_proba(X))


def test_what_is_refused(nets):
    (good, bad), X, _ = nets
    with pytest.raises(TypeError, match=r"estimator=LogisticRegression.*is no net"):
        SHOT(LogisticRegression()).fit(X, np.arange(len(X)) % 2)
    linear = LogisticRegression().fit(X[:10], np.tile([0, 1], 5))
    with pytest.raises(TypeError, match=r"source_models\[1\].*is no net"):
        _fit(SourceFreeNets(NET, source_models=[good, linear]), X)
    with pytest.raises(ValueError, match=r"SHOT adapts one net, but .* holds 2"):
        _fit(SHOT(NET, source_models=[good, bad]), X)
    with pytest.raises(ValueError, match="both say how long"):
        _fit(SHOT(NET, source_models=good, max_epochs=1, max_steps=1), X)
    with pytest.raises(DomainError, match="fit did not see"):
        _fit(SourceFreeNets(NET, source_models=good, lr=0), X).predict(
            X, sample_domain=7
        )


def test_nets_that_predict_by_several_heads_are_refused(nets):
    (good, _), X, _ = nets
    y, domain = np.arange(len(X)) % 2, np.repeat([1, -1], len(X) // 2)
    several = MultiTaskNetClassifier(max_steps=2).fit(X, y, sample_domain=domain)
    gated = clone(NET).set_params(gate=True, max_steps=2)
    gated.fit(X, y, sample_domain=domain)
    for net, match in (several, "by a head for each task"), (gated, "ensemble=False"):
        with pytest.raises(ValueError, match=match):
            _fit(SHOT(NET, source_models=net, **SHORT), X)
    alone = gated.set_params(ensemble=False).fit(X, y, sample_domain=domain)
    assert _fit(SourceFreeNets(NET, source_models=[good, alone], **SHORT), X).n_iter_
