"""Stacking: what models of the sources predict, as further columns."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.special import expit, logit
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import LinearSVC

from sktransfer.base import without_sources
from sktransfer.baselines import Pooled, TargetOnly
from sktransfer.hypothesis import SourcePredictions
from sktransfer.safe import TransferGuard
from sktransfer.utils import check_transfer_estimator


@pytest.fixture
def domain():
    return np.repeat([1, 2, -1], [30, 20, 25])


@pytest.fixture
def X(rng):
    return rng.normal(size=(75, 3))


@pytest.fixture
def y(X, rng):
    return X @ [1.0, 2.0, -1.0] + rng.normal(size=75)


@pytest.fixture
def classes(X, rng):
    return (X + rng.gumbel(size=(75, 3))).argmax(axis=1)


def test_each_source_gives_a_column_of_values(X, y, domain):
    stacking = SourcePredictions(Ridge()).fit(X, y, sample_domain=domain)
    parts = [Ridge().fit(X[domain == i], y[domain == i]).predict(X) for i in (1, 2)]
    assert_allclose(stacking.transform(X), np.column_stack([X, *parts]))
    alone = clone(stacking).set_params(passthrough=False)
    alone.fit(X, y, sample_domain=domain)
    assert_allclose(alone.transform(X), np.column_stack(parts))
    assert stacking.get_feature_names_out().tolist() == [
        "x0", "x1", "x2", "source 1", "source 2",
    ]  # fmt: skip


def test_pooled_fits_one_model_on_all_sources(X, y, domain):
    stacking = SourcePredictions(Ridge(), pooled=True, passthrough=False)
    found = stacking.fit(X, y, sample_domain=domain).transform(X)
    assert_allclose(found[:, 0], Ridge().fit(X[:50], y[:50]).predict(X))
    assert stacking.get_feature_names_out().tolist() == ["sources"]
    check_transfer_estimator(SourcePredictions(Ridge(), pooled=True))


@pytest.mark.parametrize("pooled", [False, True])
def test_source_rows_get_the_prediction_of_a_model_that_did_not_see_them(
    X, y, domain, pooled
):
    """One neighbor knows the label of a row that it has seen, and of no other."""
    stacking = SourcePredictions(
        KNeighborsRegressor(1), pooled=pooled, passthrough=False
    )
    seen = stacking.fit(X, y, sample_domain=domain).transform(X)
    held_out = stacking.fit_transform(X, y, sample_domain=domain)
    for i, source in enumerate([domain == 1, domain == 2]):
        column = 0 if pooled else i
        assert_array_equal(seen[source, column], y[source])
        assert not np.any(held_out[source, column] == y[source])
        if not pooled:  # the other source's model has not seen these rows
            other = 1 - column
            assert_array_equal(held_out[source, other], seen[source, other])
    target = domain < 0
    assert_array_equal(held_out[target], seen[target])


def test_out_of_fold_predictions_are_those_of_the_other_folds(X, y, domain):
    stacking = SourcePredictions(LinearRegression(), passthrough=False, cv=20)
    held_out = stacking.fit_transform(X, y, sample_domain=domain)
    rows = np.flatnonzero(domain == 2)  # 20 rows: leave-one-out
    for i in rows:
        train = np.setdiff1d(rows, i)
        expected = LinearRegression().fit(X[train], y[train]).predict(X[[i]])
        assert_allclose(held_out[i, 1], expected[0])


def test_a_leak_would_show_in_the_target(rng):
    """Labels of the sources are noise: pooled stacking must not learn to trust them."""
    X = rng.normal(size=(330, 5))
    domain = np.repeat([1, -1], [300, 30])
    y = np.where(domain > 0, rng.randint(2, size=330), X[:, 0] > 0).astype(int)
    pipe = make_pipeline(
        SourcePredictions(KNeighborsClassifier(1), passthrough=False),
        Pooled(LogisticRegression()),
    )
    X_test = rng.normal(size=(500, 5))
    pipe[0].fit_transform(X, y, sample_domain=domain)
    Z = clone(pipe[0]).fit_transform(X, y, sample_domain=domain)
    leaked = clone(pipe[0]).fit(X, y, sample_domain=domain).transform(X)
    honest, fooled = (
        abs(LogisticRegression().fit(rows, y).coef_[0, 0]) for rows in (Z, leaked)
    )
    assert honest < 0.1 * fooled
    assert np.isfinite(clone(pipe[0]).fit(X, y).transform(X_test)).all()


def test_two_classes_give_log_odds_in_one_column(X, y, domain):
    labels = np.where(y > 0, "b", "a")
    stacking = SourcePredictions(LogisticRegression(), passthrough=False)
    found = stacking.fit(X, labels, sample_domain=domain).transform(X)
    model = LogisticRegression().fit(X[:30], labels[:30])
    proba = np.clip(model.predict_proba(X)[:, 1], 1e-3, 1 - 1e-3)
    assert found.shape == (75, 2)
    assert_allclose(found[:, 0], logit(proba), atol=2e-3)
    shares = clone(stacking).set_params(response_method="predict_proba")
    found = shares.fit(X, labels, sample_domain=domain).transform(X)
    assert_allclose(found[:, 0], model.predict_proba(X)[:, 1])
    votes = clone(stacking).set_params(response_method="predict")
    found = votes.fit(X, labels, sample_domain=domain).transform(X)
    assert_array_equal(found[:, 0], model.predict(X) == "b")


def test_the_linear_adjustment_of_a_source_model(X, y, domain):
    """Fitted on a shifted and scaled logit, it finds shift and scale."""
    labels = (y > 0).astype(int)
    rng = np.random.RandomState(0)
    stacking = SourcePredictions(LogisticRegression(), pooled=True, passthrough=False)
    pipe = make_pipeline(stacking, TargetOnly(LogisticRegression(C=1e6)))
    X_target = rng.normal(size=(5000, 3))
    source = LogisticRegression().fit(X[:50], labels[:50])
    truth = expit(0.5 * source.decision_function(X_target) - 1.0)
    goal = (rng.uniform(size=5000) < truth).astype(int)
    Z, t = np.vstack([X[:50], X_target]), np.r_[labels[:50], goal]
    ids = np.r_[domain[:50], np.full(5000, -1)]
    steps = pipe.steps
    rows = steps[0][1].fit_transform(Z, t, sample_domain=ids)
    model = steps[1][1].fit(rows, t, sample_domain=ids).estimator_
    assert_allclose([model.coef_[0, 0], model.intercept_[0]], [0.5, -1.0], atol=0.1)


def test_more_classes_give_a_column_each_with_mean_0(X, classes, domain):
    classes[:30][classes[:30] == 2] = 0  # the first source lacks a class
    stacking = SourcePredictions(LogisticRegression(), passthrough=False)
    found = stacking.fit(X, classes, sample_domain=domain).transform(X)
    assert found.shape == (75, 6)
    assert_allclose(found[:, :3].sum(axis=1), 0, atol=1e-10)
    assert_allclose(found[:, 3:].sum(axis=1), 0, atol=1e-10)
    assert_array_equal(found[:, 2], 0.0)
    assert stacking.get_feature_names_out().tolist() == [
        f"source {i}: {c}" for i in (1, 2) for c in (0, 1, 2)
    ]


def test_classifiers_without_probabilities_give_decision_values(X, classes, domain):
    labels = (classes > 0).astype(int)
    stacking = SourcePredictions(LinearSVC(dual=False), passthrough=False)
    found = stacking.fit(X, labels, sample_domain=domain).transform(X)
    model = LinearSVC(dual=False).fit(X[:30], labels[:30])
    assert_allclose(found[:, 0], model.decision_function(X))


def test_given_models_and_learners_stand_side_by_side(X, y, domain):
    given = LinearRegression().fit(X[:, ::-1], y)
    stacking = SourcePredictions([Ridge(), given, Ridge(5.0)], passthrough=False)
    stacking = clone(stacking)
    found = stacking.fit(X, y, sample_domain=domain).transform(X)
    assert_array_equal(found[:, 0], given.predict(X))
    assert stacking.model_names_ == [
        "model 1", "source 1 (0)", "source 2 (0)", "source 1 (2)", "source 2 (2)",
    ]  # fmt: skip
    only = SourcePredictions(given, passthrough=False)
    target = only.fit(X[50:], sample_domain=domain[50:])
    assert_array_equal(target.transform(X)[:, 0], given.predict(X))
    held_out = only.fit_transform(X, y, sample_domain=domain)
    assert_array_equal(held_out[:, 0], given.predict(X))  # it saw none of these rows


def test_the_target_alone_keeps_its_features(X, y, domain):
    given = Ridge().fit(X, y)
    for stacking in (
        SourcePredictions(Ridge(), passthrough=False),
        without_sources(SourcePredictions([Ridge(), given], passthrough=False)),
        without_sources(SourcePredictions(given)),
    ):
        found = stacking.fit(X[50:], y[50:], sample_domain=domain[50:])
        assert_array_equal(found.transform(X), X)
        assert stacking.get_feature_names_out().tolist() == ["x0", "x1", "x2"]


def test_several_outputs_give_a_column_each(X, y, domain):
    Y = np.column_stack([y, -y])
    stacking = SourcePredictions(Ridge(), passthrough=False)
    found = stacking.fit_transform(X, Y, sample_domain=domain)
    assert_allclose(found[:, 0], -found[:, 1])
    names = stacking.get_feature_names_out().tolist()
    assert names == ["source 1: 0", "source 1: 1", "source 2: 0", "source 2: 1"]


def test_small_sources_and_rare_classes_are_held_out_too(X, domain):
    labels = np.r_[0, np.arange(74) % 2]
    labels[0] = 2  # the only row of its class
    ids = domain.copy()
    ids[49] = 3  # a source of one row
    stacking = SourcePredictions(KNeighborsClassifier(1), passthrough=False)
    held_out = stacking.fit_transform(X, labels, sample_domain=ids)
    assert np.isfinite(held_out).all()
    assert held_out[0, 2] <= 0  # nobody else has seen its class
    assert_array_equal(held_out[49, 6:], 0.0)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_mixed_frames_stay_frames(X, y, domain, library):
    kinds = np.where(X[:, 0] > 0, "up", "down")
    if library == "pandas":
        frame = pd.DataFrame(X, columns=list("abc"), index=np.arange(75)[::-1])
        frame = frame.assign(kind=pd.Categorical(kinds))
    else:
        frame = pl.DataFrame(X, schema=list("abc")).with_columns(kind=pl.Series(kinds))
    encode = make_column_transformer(
        (OneHotEncoder(), ["kind"]), remainder="passthrough"
    )
    learner = make_pipeline(encode, Ridge())
    stacking = SourcePredictions(learner).fit(frame, y, sample_domain=domain)
    found = stacking.transform(frame)
    assert type(found) is type(frame)
    assert list(found.columns) == [*"abc", "kind", "source 1", "source 2"]
    assert list(found.dtypes)[:4] == list(frame.dtypes)
    pipe = make_pipeline(encode, Ridge())
    rows = stacking.fit_transform(frame, y, sample_domain=domain)
    model = Pooled(pipe).fit(rows, y, sample_domain=domain)
    assert model.predict(found).shape == (75,)
    taken = stacking.fit_transform(frame, y, sample_domain=domain)
    with pytest.raises(ValueError, match="'source 1', the name of a column"):
        clone(stacking).fit_transform(taken, y, sample_domain=domain)


def test_sparse_rows_stay_sparse(X, y, domain):
    stacking = SourcePredictions(Ridge())
    rows = sparse.csr_array(X)
    found = stacking.fit_transform(rows, y, sample_domain=domain)
    assert sparse.issparse(found)
    dense = stacking.fit_transform(X, y, sample_domain=domain)
    assert_allclose(found.toarray(), dense, atol=1e-2)


def test_in_a_pipeline_the_source_rows_are_out_of_fold(X, classes, domain, routing):
    trees = HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=2)
    stacking = SourcePredictions(trees)
    pipe = make_pipeline(stacking, Pooled(LogisticRegression()))
    pipe.fit(X, classes, sample_domain=domain)
    rows = clone(stacking).fit_transform(X, classes, sample_domain=domain)
    expected = LogisticRegression().fit(rows, classes)
    assert_allclose(pipe[-1].estimator_.coef_, expected.coef_, rtol=1e-6)
    guard = TransferGuard(pipe, cv=3).fit(X, classes, sample_domain=domain)
    assert guard.target_only_.predict(X).shape == (75,)


def test_mixed_kinds_are_refused(X, y, domain):
    stacking = SourcePredictions([Ridge(), LogisticRegression()])
    with pytest.raises(TypeError, match="mixes classifiers and regressors"):
        stacking.fit(X, y, sample_domain=domain)


def test_whole_numbers_are_no_classes_for_a_regressor(X, domain):
    ages = np.round(10 + 3 * X[:, 0]).astype(int)
    ages[0] = -1  # a value
    found = SourcePredictions(Ridge(), passthrough=False).fit_transform(
        X, ages.astype(float), sample_domain=domain
    )
    expected = Ridge().fit(X[30:50], ages[30:50]).predict(X[:30])
    assert_allclose(found[:30, 1], expected)


def test_a_given_model_need_not_be_one_of_scikit_learn(X, y, domain):
    class Foreign:
        def predict(self, X):
            return 2 * X[:, 0]

    stacking = clone(SourcePredictions([Foreign(), Ridge()], passthrough=False))
    found = stacking.fit_transform(X, y, sample_domain=domain)
    assert_array_equal(found[:, 0], 2 * X[:, 0])
    assert found.shape == (75, 3)


def test_arrays_that_hold_text_reach_the_models_as_they_are(X, y, domain):
    rows = X.astype(object)
    rows[:, 2] = np.where(X[:, 2] > 0, "up", "down")
    encode = make_column_transformer((OneHotEncoder(), [2]), remainder="passthrough")
    stacking = SourcePredictions(make_pipeline(encode, Ridge()))
    found = stacking.fit_transform(rows, y, sample_domain=domain)
    assert_array_equal(found[:, :3], rows)
    assert found.dtype == object
    assert np.isfinite(found[:, 3:].astype(float)).all()
    names = rows[:, 2:].astype(str)  # an array of text alone
    alone = SourcePredictions(make_pipeline(OneHotEncoder(), Ridge()))
    found = alone.fit_transform(names, y, sample_domain=domain)
    assert_array_equal(found[:, 0], names[:, 0])
    assert isinstance(found[0, 1], float)


def test_missing_values_reach_a_pipeline_that_takes_them(rng):
    X, domain = rng.normal(size=(60, 2)), np.repeat([1, -1], 30)
    y = X[:, 0].copy()
    X[rng.random(X.shape) < 0.2] = np.nan
    taking = make_pipeline(SimpleImputer(), Ridge())
    model = SourcePredictions(taking).fit(X, y, sample_domain=domain)
    assert model.transform(X).shape == (60, 3)
    frozen = SourcePredictions([FrozenEstimator(taking.fit(X, y))])
    assert frozen.fit(X, y, sample_domain=domain).transform(X).shape == (60, 3)
    with pytest.raises(ValueError, match=r"contains NaN.*put a step in front"):
        SourcePredictions(Ridge()).fit(X, y, sample_domain=domain)
