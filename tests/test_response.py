"""Answers of several models in common columns."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit, softmax
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.svm import SVC, LinearSVC

from sktransfer._response import (
    CommonColumns,
    all_classes,
    common_columns,
    union_of_classes,
)

X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
AB = LogisticRegression().fit(X, ["a", "a", "b", "b"])
BC = LogisticRegression().fit(X, ["b", "b", "c", "c"])


def test_columns_are_the_classes_of_all_models_and_labels():
    columns = common_columns([AB, BC], np.array(["d"]), classify=True)
    assert_array_equal(columns.classes, ["a", "b", "c", "d"])
    first, second = columns.answers([AB, BC], X)
    assert_allclose(first[:, :2], AB.predict_proba(X))
    assert_allclose(second[:, 1:3], BC.predict_proba(X))
    assert not first[:, 2:].any() and not second[:, [0, 3]].any()
    assert_array_equal(all_classes([BC, AB]), ["a", "b", "c"])


def test_the_richest_answer_that_all_models_have():
    svc = LinearSVC(dual=False).fit(X, [0, 0, 1, 1])
    lr = LogisticRegression().fit(X, [0, 0, 1, 1])
    dummy = DummyClassifier().fit(X, [0, 0, 1, 1])
    y = np.array([0, 1])
    assert common_columns([lr, dummy], y, classify=True).method == "predict_proba"
    columns = common_columns([lr, svc], y, classify=True)
    assert columns.method == "decision_function"
    values = svc.decision_function(X)
    assert_allclose(columns.ask(svc, X), np.column_stack([-values, values]) / 2)
    assert_allclose(columns.answer(svc, X)[:, 1], expit(2 * values))
    assert_array_equal(columns.code([1, 0]), [[0, 1], [1, 0]])
    assert common_columns([svc, dummy], y, classify=True).method == "predict"


def test_blend_asks_no_model_without_weight():
    columns = CommonColumns(np.array(["a", "b", "c"]), "predict_proba")
    blended = columns.blend([AB, None, BC], np.array([0.25, 0.0, 0.75]), X)
    assert_allclose(blended.sum(axis=1), 1)
    assert_array_equal(columns.decide(blended), ["b", "b", "c", "c"])


@pytest.mark.parametrize("n_outputs", [0, 1, 2])
def test_values_keep_the_form_of_the_labels(n_outputs):
    y = np.arange(4.0) if not n_outputs else np.arange(4.0 * n_outputs).reshape(4, -1)
    model = LinearRegression().fit(X, y)
    columns = common_columns([model], y, classify=False)
    assert columns.decide(columns.answer(model, X)).shape == y.shape
    assert columns.residual(model, X, y).shape == (4, n_outputs or 1)


def test_wrong_outputs_are_named():
    two = LinearRegression().fit(X, np.ones((4, 2)))
    with pytest.raises(ValueError, match=r"Source 3 \(.* predicts 2 column"):
        CommonColumns().answer(two, X, "Source 3")
    with pytest.raises(ValueError, match="dtype <U1"):
        CommonColumns().answer(AB, X)


THREE = np.array([[-2.0], [-1.0], [0.0], [0.1], [1.0], [2.0]])
KINDS = np.array([0, 0, 1, 1, 2, 2])


def test_margins_are_shares_of_the_classes_that_a_model_knows():
    three = LinearSVC(dual=False).fit(THREE, KINDS)
    two = LinearSVC(dual=False).fit(THREE[:4], KINDS[:4])
    columns = common_columns([three, two], KINDS, classify=True)
    columns = columns.completed({0: three, 1: two}, THREE)
    first, second = columns.answers([three, two], THREE)
    decisions = three.decision_function(THREE)
    assert_allclose(first, softmax(columns.slopes[0] * decisions, axis=1))
    assert not second[:, 2].any()
    assert_allclose(second.sum(axis=1), 1)
    for shares, model in ((first, three), (second, two)):
        assert_array_equal(columns.decide(shares), model.predict(THREE))


def test_decisions_between_pairs_of_classes_are_no_answer_for_a_class():
    ovo = SVC(decision_function_shape="ovo").fit(THREE, KINDS)
    ovr = SVC().fit(THREE, KINDS)
    assert common_columns([ovo, ovr], KINDS, classify=True).method == "predict"
    assert common_columns([ovr], KINDS, classify=True).method == "decision_function"
    ovo.fit(THREE[:4], KINDS[:4])
    columns = common_columns([ovo], KINDS[:4], classify=True)
    assert columns.method == "decision_function"


def test_a_calibrated_slope_follows_the_held_out_samples():
    svc = LinearSVC(dual=False).fit(X, [0, 0, 1, 1])
    columns = common_columns([svc], np.array([0, 1]), classify=True)
    rows = np.linspace(-2, 2, 60)[:, None]
    said = columns.ask(svc, rows)
    right = (rows[:, 0] > 0).astype(int)
    noise = np.arange(60) % 2
    sharp = columns.calibrated({"svc": said}, right)
    flat = columns.calibrated({"svc": said}, noise)
    assert sharp.slopes["svc"] > 3 * flat.slopes["svc"] > 0
    assert sharp.completed({"svc": svc}, rows).slopes == sharp.slopes
    share = flat.answer(svc, rows, key="svc")[:, 1]
    assert np.abs(share - 0.5).max() < 0.25


def test_classes_of_text_and_numbers_are_refused():
    """NumPy would make text of the numbers."""
    with pytest.raises(ValueError, match=r"text and numbers .*'a', 'b'.* and .1, 2."):
        all_classes([AB], np.array([1, 2]))
    assert_array_equal(union_of_classes([[True], [0, 1]]), [0, 1])
    mixed = np.array(["c", "a"], dtype=object)
    assert_array_equal(union_of_classes([AB.classes_, mixed]), ["a", "b", "c"])


@pytest.mark.parametrize("power", [0.0, 1.0, 1.5, 2.0])
def test_squares_of_paired_residuals_differ_as_the_losses_do(power):
    rng = np.random.default_rng(0)
    columns = CommonColumns(power=power)
    y = rng.poisson(2.0, 300) + (0.5 if power == 2 else 0.0)
    means = np.exp(rng.normal(size=(2, 300)))
    means[1, :50] = means[0, :50] * (1 + 10.0 ** -rng.uniform(2, 12, 50))
    means[1, 50:60] = means[0, 50:60]
    residuals = (y - means)[..., None]
    paired, losses = columns.paired(y, residuals), columns.losses(y, residuals)
    squares = np.sum(paired**2, axis=-1)
    np.testing.assert_allclose(
        squares[0] - squares[1], losses[0] - losses[1], atol=1e-8
    )
    step = (residuals / columns.spread(y, residuals))[:, :60]
    np.testing.assert_allclose(paired[:, 50:60], step[:, 50:60], rtol=1e-12)
    np.testing.assert_allclose(paired[:, :50], step[:, :50], rtol=0.01, atol=1e-3)
