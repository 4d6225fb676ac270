"""Several outputs and several labels: splitters, gap, guard, portfolio, offset."""

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import make_scorer
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

from sktransfer._response import OutputColumns, common_columns
from sktransfer.baselines import Pooled, SourceOnly, TargetOnly
from sktransfer.datasets import from_frame
from sktransfer.exceptions import DomainError
from sktransfer.feature import (
    CORAL,
    TCA,
    DirectStandardization,
    FeatureAugmentation,
    GeodesicFlowKernel,
    LinearTransportMap,
    MMDLinearMap,
    PiecewiseDirectStandardization,
    SubspaceAlignment,
)
from sktransfer.hypothesis import LinearInterpolation, OffsetTransfer
from sktransfer.inspection import LearningCurveTransferDisplay
from sktransfer.metrics import cross_val_ntg, query_target, subset_influence
from sktransfer.metrics._held_out import exact_match_score
from sktransfer.model_selection import TargetKFold, cross_val_unseen_domain
from sktransfer.preprocessing import DomainScaler
from sktransfer.safe import (
    ReliableTransfer,
    TransferGuard,
    TransferPortfolioClassifier,
    TransferPortfolioRegressor,
    make_transfer_pipeline,
)
from sktransfer.safe._portfolio_members import default_linear

DOMAIN = np.repeat([1, 2, -1], 40)
TREE = DecisionTreeClassifier(max_depth=3, random_state=0)
LOGISTIC = MultiOutputClassifier(LogisticRegression())


@pytest.fixture
def data(rng):
    X = rng.normal(size=(120, 3))
    Y = np.c_[X[:, 0], X[:, 1] - X[:, 2]] + 0.1 * rng.normal(size=(120, 2))
    return X, Y


def marked(Y):
    Y = Y.astype(float) if Y.dtype.kind in "iufb" else Y.astype(object)
    Y[-10:] = np.nan if Y.dtype.kind == "f" else None
    return Y


@pytest.mark.parametrize(
    "model",
    [
        Pooled(Ridge()),
        TransferGuard(Pooled(Ridge()), cv=3),
        TransferGuard(Pooled(Ridge()), cv=3, policy="select"),
        TransferPortfolioRegressor(
            members=[("alone", Ridge()), ("pooled", Pooled(Ridge()))], cv=3
        ),
        TransferPortfolioRegressor(Ridge(), cv=2),
        OffsetTransfer(Ridge(), cv=3),
    ],
)
def test_regression(data, model):
    X, Y = data
    model.fit(X, marked(Y), sample_domain=DOMAIN)
    assert model.predict(X).shape == (120, 2)
    assert model.score(X, Y) > 0.9
    single = model.fit(X, marked(Y)[:, 0], sample_domain=DOMAIN)
    assert single.predict(X).shape == (120,)


@pytest.mark.parametrize("learner", [TREE, LOGISTIC], ids=["tree", "logistic"])
@pytest.mark.parametrize("kind", ["guard", "portfolio"])
@pytest.mark.parametrize("labels", ["int", "text"])
def test_classification(data, learner, kind, labels):
    X, Y = data
    L = (Y > 0).astype(int)
    L[:, 1] += Y[:, 1] > 1  # three classes
    L = np.array(["no", "yes", "very"])[L] if labels == "text" else L
    members = [("alone", TargetOnly(learner)), ("pooled", Pooled(learner)),
               ("source", SourceOnly(learner))]  # fmt: skip
    model = (
        TransferGuard(Pooled(learner), cv=3)
        if kind == "guard"
        else TransferPortfolioClassifier(members=members, cv=3)
    )
    model.fit(X, marked(L), sample_domain=DOMAIN)
    predicted, proba = model.predict(X), model.predict_proba(X)
    assert predicted.shape == (120, 2)
    assert np.mean(predicted == L) > 0.8
    assert [p.shape for p in proba] == [(120, 2), (120, 3)]
    for k, part in enumerate(proba):
        np.testing.assert_allclose(part.sum(axis=1), 1)
        assert model.classes_[k].tolist() == sorted(set(L[:, k]))
    if kind == "guard":
        assert model.score(X, L) == np.mean(np.all(predicted == L, axis=1))
        assert np.isfinite(model.ntg_)
    assert not hasattr(model, "decision_function")


def test_columns_of_outputs(data):
    X, Y = data
    L = (Y > 0).astype(int)
    models = [TREE.fit(X, L), LOGISTIC.fit(X, L)]
    columns = common_columns(models, L, classify=True)
    assert isinstance(columns, OutputColumns)
    code = columns.code(L)
    np.testing.assert_array_equal(code.sum(axis=1), 2)
    np.testing.assert_array_equal(columns.decide(code), L)
    values = columns.answer(models[0], X)
    np.testing.assert_array_equal(values[:, :2], models[0].predict_proba(X)[0])
    net = MLPClassifier((3,), max_iter=2000, random_state=0).fit(X, L)
    share = columns.answer(net, X)
    np.testing.assert_allclose(share[:, 1], net.predict_proba(X)[:, 0])
    # a source that lacks a class of the second output
    part = L[:, 1] == 0
    narrow = DecisionTreeClassifier().fit(X[part], L[part])
    lacking = columns.answer(narrow, X)
    assert (lacking[:, 3] == 0).all()


def test_gap_splitters_and_unseen_domain(data):
    X, Y = data
    L = (Y > 0).astype(int)
    for model, y in ((Pooled(Ridge()), Y), (Pooled(TREE), L)):
        folds = list(TargetKFold(3).split(X, marked(y), sample_domain=DOMAIN))
        assert len(np.concatenate([test for _, test in folds])) == 30
        result = cross_val_ntg(model, X, marked(y), sample_domain=DOMAIN, cv=3)
        assert np.isfinite(result.ntg)
        result = cross_val_unseen_domain(
            model, X, y, sample_domain=DOMAIN, n_calibration=[0, 5]
        )
        assert result.scores.shape == (3, 2)


@pytest.mark.parametrize(
    "step",
    [
        DomainScaler(),
        DirectStandardization(),
        PiecewiseDirectStandardization(1),
        CORAL(),
        LinearTransportMap(),
        SubspaceAlignment(2),
        GeodesicFlowKernel(1),
        FeatureAugmentation(),
        MMDLinearMap(),
        TCA(2),
    ],
    ids=lambda step: type(step).__name__,
)
def test_steps_that_use_no_labels_take_several(data, step):
    X, Y = data
    source = DOMAIN if type(step).__name__ == "DomainScaler" else np.sign(DOMAIN)
    model = make_pipeline(step, Pooled(Ridge()))
    with config_context(enable_metadata_routing=True):
        both = model.fit(X, marked(Y), sample_domain=source).predict(X[80:])
        for j in (0, 1):
            one = model.fit(X, marked(Y)[:, j], sample_domain=source)
            np.testing.assert_allclose(both[:, j], one.predict(X[80:]), atol=1e-8)


def test_the_gap_of_text_labels(data):
    """The score() of classifiers was taken for R2, which text has none of."""
    X, Y = data
    L = np.where(Y > 0, "yes", "no").astype(object)
    L[-10:] = None
    exact = make_scorer(exact_match_score)
    for learner, scoring in ((LOGISTIC, None), (TREE, exact), (LOGISTIC, exact)):
        gaps = []
        for labels in (L, marked((Y > 0) * 1)):
            result = cross_val_ntg(
                Pooled(learner), X, labels, sample_domain=DOMAIN, cv=3,
                scoring=scoring, random_state=0,
            )  # fmt: skip
            assert result.n_held_out == 30
            assert result.evidence.n_units == pytest.approx(30)
            gaps.append(result.ntg)
        assert gaps[0] == pytest.approx(gaps[1])


def test_rows_to_label_of_several_outputs(data):
    X, Y = data
    L = marked(np.where(Y > 0, "yes", "no"))
    rows = query_target(Pooled(LOGISTIC), X, L, sample_domain=DOMAIN, n_samples=3)
    assert (rows >= 110).all()
    with pytest.raises(ValueError, match="is for classes of one label"):
        query_target(
            Pooled(LOGISTIC), X, L, sample_domain=DOMAIN, n_samples=3,
            strategy="difference",
        )  # fmt: skip
    with pytest.raises(TypeError, match="method='gradient' is for one label"):
        subset_influence(
            Pooled(Ridge()), X, marked(Y), sample_domain=DOMAIN, method="gradient"
        )


def test_learning_curve_of_several_classes(data):
    X, Y = data
    display = LearningCurveTransferDisplay.from_estimator(
        Pooled(TREE), X, marked(np.where(Y > 0, "yes", "no")), sample_domain=DOMAIN,
        n_splits=2, scoring=make_scorer(exact_match_score),
    )  # fmt: skip
    assert len(display.n_labels) > 1
    assert np.isfinite(display.transfer_errors).all()


def test_from_a_table_with_several_labels(data):
    X, Y = data
    df = pd.DataFrame(X, columns=list("abc"))
    df["kind"] = np.where(X[:, 0] > 0, "x", "y")
    df["sick"], df["tired"] = np.where(Y > 0, "yes", "no").T
    df["site"] = np.repeat(["one", "two", "here"], 40)
    df.loc[115:, ["sick", "tired"]] = None
    names = {"label": ["sick", "tired"], "domain": "site", "target": "here"}
    table = from_frame(df, **names)
    assert [*table.X.columns] == ["a", "b", "c", "kind"]
    assert table.y.shape == (120, 2)
    model = make_transfer_pipeline(TREE, method="guard", cv=3)
    model.fit(table.X, table.y, **table.metadata)
    assert set(model.predict(table.X).ravel()) == {"yes", "no"}
    with pytest.raises(DomainError, match="text and of numbers"):
        from_frame(df.assign(tired=1.0), **names)
    df.loc[100, "sick"] = None
    part = from_frame(df, **names)
    with pytest.raises(DomainError, match="partly missing row"):
        model.fit(part.X, part.y, **part.metadata)


@pytest.mark.parametrize(
    ("model", "weights"),
    [
        (TransferGuard(Pooled(Ridge()), cv=3), "weights_"),
        (TransferGuard(Pooled(Ridge()), cv=3, policy="safew"), "weights_"),
        (
            TransferPortfolioRegressor(
                members=[("alone", Ridge()), ("pooled", Pooled(Ridge()))], cv=3
            ),
            "weights_",
        ),
        (LinearInterpolation(Ridge(), cv=3), "source_weights_"),
        (ReliableTransfer(Ridge()), "harm_"),
    ],
)
def test_the_unit_of_an_output_changes_no_weight(data, model, weights):
    X, Y = data
    Y[:80, 0] += X[:80, 2]
    found = []
    for unit in (1.0, 1000.0):
        model.fit(X, marked(Y * [unit, 1.0]), sample_domain=DOMAIN)
        values = getattr(model, weights)
        found.append(list(values.values()) if isinstance(values, dict) else values)
    np.testing.assert_allclose(*found, atol=1e-6)
    assert np.max(found) > 0


def test_the_unit_of_an_output_changes_no_penalty():
    rng = np.random.default_rng(0)
    X, noise = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))
    Y = X[:, :1] + noise * [0.1, 10.0]
    found = []
    for unit in (1.0, 1000.0):
        model = default_linear(False, None).fit(X, Y * [unit, 1.0])
        found.append(model.predict(X) / [unit, 1.0])
    np.testing.assert_allclose(*found)
