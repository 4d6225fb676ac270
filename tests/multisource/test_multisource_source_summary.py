"""A summary stands for the rows of a source."""

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier
from sklearn.linear_model import (
    GammaRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
)
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeRegressor

from sktransfer.multisource import (
    ARMUL,
    AngleTransfer,
    EmpiricalBayesRidge,
    SourceSummary,
    TransGLM,
    summarize_source,
)
from sktransfer.safe import TransferGuard


def _rows(rng, n=30, d=3):
    X = rng.normal(size=(n, d)) * [1.0, 10.0, 0.1] + [0.0, 5.0, 2000.0]
    return X, X @ [1.0, 0.2, -3.0] + rng.normal(size=n)


@pytest.mark.parametrize("model", [LinearRegression(), Ridge(5.0), Lasso(0.1)])
def test_gaussian_summary_is_least_squares_whatever_the_penalty(rng, model):
    X, y = _rows(rng)
    summary = summarize_source(model, X, y)
    ols = LinearRegression().fit(X, y)
    np.testing.assert_allclose(summary.coef, ols.coef_, rtol=1e-7)
    np.testing.assert_allclose(summary.intercept, ols.intercept_, rtol=1e-7)
    rss = ((y - ols.predict(X)) ** 2).sum()
    assert summary.noise == pytest.approx(rss / 26, rel=1e-8)
    design = np.column_stack([X, np.ones(30)])
    np.testing.assert_allclose(
        summary.information, design.T @ design / summary.noise, rtol=1e-9
    )
    assert summary.n == 30
    assert summary.residual_dof == 26


@pytest.mark.parametrize("n_classes", [2, 3])
def test_logistic_summary_has_the_likelihood_s_maximum(rng, n_classes):
    X = rng.normal(size=(120, 2))
    y = (X @ [1.0, -1.0] + rng.logistic(size=120) > 0).astype(int)
    y += (n_classes == 3) * (rng.uniform(size=120) < 0.4)
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(X, y)
    summary = summarize_source(model, X, y)
    np.testing.assert_allclose(
        summary.coef - summary.coef.mean(axis=0) * (n_classes == 3),
        model.coef_ - model.coef_.mean(axis=0) * (n_classes == 3),
        atol=1e-5,
    )
    penalized = summarize_source(LogisticRegression(C=1.0), X, y)
    assert np.abs(penalized.coef - summary.coef).max() < 0.05
    p = model.predict_proba(X)
    design = np.column_stack([X, np.ones(120)])
    weight = p[:, -1] * (1 - p[:, -1])
    np.testing.assert_allclose(
        summary.information[-3:, -3:], (design * weight[:, None]).T @ design, rtol=1e-5
    )


def test_poisson_summary_has_zero_gradient(rng):
    X = rng.normal(size=(200, 2))
    y = rng.poisson(np.exp(0.3 + X @ [0.5, -0.2]))
    summary = summarize_source(PoissonRegressor(alpha=0.0, tol=1e-9), X, y)
    gradient = X.T @ (y - np.exp(X @ summary.coef + summary.intercept))
    assert np.abs(gradient).max() < 1e-2
    assert summary.family == "poisson"
    assert summary.noise is None


def test_merged_parts_are_the_whole(rng):
    X, y = _rows(rng, 40)
    parts = [
        summarize_source(LinearRegression(), X[a:b], y[a:b])
        for a, b in [(0, 10), (10, 25), (25, 40)]
    ]
    whole = summarize_source(LinearRegression(), X, y)
    merged = parts[0].merge(*parts[1:])
    np.testing.assert_allclose(merged.coef, whole.coef, rtol=1e-5)
    np.testing.assert_allclose(merged.intercept, whole.intercept, rtol=1e-5)
    np.testing.assert_allclose(merged.noise, whole.noise, rtol=1e-5)
    np.testing.assert_allclose(merged.information, whole.information, rtol=1e-5)
    assert merged.n == whole.n


def test_covariance_and_fisher_are_the_same_summary(rng):
    X, y = _rows(rng)
    one = summarize_source(Ridge(), X, y)
    two = SourceSummary(
        one.coef, one.intercept, covariance=np.linalg.inv(one.information), n=30,
        noise=one.noise,
    )  # fmt: skip
    np.testing.assert_allclose(one.information, two.information, rtol=1e-4)


def test_weights_count_rows(rng):
    X, y = _rows(rng)
    weight = rng.randint(0, 3, size=30)
    weighted = summarize_source(Ridge(), X, y, sample_weight=weight)
    repeated = summarize_source(Ridge(), np.repeat(X, weight, 0), np.repeat(y, weight))
    for name in ("coef", "n", "noise", "information"):
        np.testing.assert_allclose(
            getattr(weighted, name), getattr(repeated, name), rtol=1e-7
        )


def test_few_rows_have_a_noise_and_a_singular_information(rng):
    X, y = _rows(rng, 3)
    summary = summarize_source(Ridge(), X, y)
    assert summary.residual_dof == 0
    assert summary.noise > 0


def test_fitted_estimator_is_used_as_it_is(rng):
    X, y = _rows(rng)
    label = (y > np.median(y)).astype(int)
    fitted = LogisticRegression().fit(X, label)
    before = fitted.coef_.copy()
    summarize_source(fitted, X, label)
    np.testing.assert_array_equal(fitted.coef_, before)
    with pytest.raises(ValueError, match="does not know"):
        summarize_source(fitted, X, label + 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"covariance": -np.eye(2)}, "covariance must be positive semidefinite"),
        ({"covariance": np.ones((2, 2))}, "covariance is singular"),
        ({"covariance": np.eye(3)}, "covariance must have shape"),
        ({"covariance": [[1.0, 0.5], [0.0, 1.0]]}, "covariance must be symmetric"),
        ({"covariance": [[1.0, np.nan], [np.nan, 1.0]]}, "covariance holds NaN"),
        ({"covariance": None}, "exactly one of covariance and fisher"),
        ({"fisher": np.eye(2)}, "exactly one of covariance and fisher"),
        ({"coef": [[[1.0]]]}, "coef must have shape"),
        ({"coef": ["a", "b"]}, "coef must hold numbers"),
        ({"n": 0}, "n must be a positive number"),
        ({"n": None}, "n must be a positive number"),
        ({"noise": -1.0}, "noise must be the positive variance"),
        ({"classes": [1, 0]}, "ascending classes"),
        ({"classes": [0, 1], "noise": 1.0}, "noise must be the positive variance"),
        ({"family": "gamma"}, "family must be one of"),
        ({"family": "binomial"}, "does not fit classes"),
        ({"feature_names": ["a"]}, "feature_names has 1 names"),
        ({"classes": [0, 1, 2]}, "coef of shape"),
        ({"intercept": [1.0, 2.0]}, "intercept must hold 1"),
    ],
)
def test_bad_summaries_are_one_error(changes, message):
    good = {"coef": [1.0, 2.0], "covariance": np.eye(2), "n": 10}
    with pytest.raises(ValueError, match=message):
        SourceSummary(**{**good, **changes})


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (make_pipeline(StandardScaler(), Ridge()), TypeError, "is a Pipeline"),
        (LinearSVC(), TypeError, "no probabilities"),
        (GammaRegressor(), TypeError, "no canonical link"),
        (DecisionTreeRegressor(), TypeError, "has no coef_"),
        (StandardScaler(), TypeError, "no regressor or classifier"),
    ],
)
def test_models_without_a_summary_are_refused(rng, model, error, message):
    X, y = _rows(rng)
    y = y if not is_classifier(model) else y > 0
    with pytest.raises(error, match=message):
        summarize_source(model, X, np.abs(y))


def test_an_entry_that_does_not_fit_is_named(rng):
    X, y = _rows(rng)
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    good = summarize_source(Ridge(), frame, y)
    assert good.feature_names == ("a", "b", "c")
    label = (y > y.mean()).astype(int)
    bad = {
        "3 features, but X has 2": (frame[["a", "b"]], good),
        "feature 'b' at position 0": (
            frame, summarize_source(Ridge(), frame[["b", "a", "c"]], y),
        ),
        "has none, but fit_intercept=True": (
            frame, summarize_source(Ridge(fit_intercept=False), frame, y),
        ),
        "family='binomial'": (
            frame, summarize_source(LogisticRegression(), frame, label),
        ),
    }  # fmt: skip
    for message, (rows, summary) in bad.items():
        first = good if rows.shape[1] == 3 else summary
        entry = r"source_summaries\[1\]" if rows.shape[1] == 3 else r"source_summaries"
        model = EmpiricalBayesRidge([first, summary])
        with pytest.raises(ValueError, match=f"{entry}.*{message}"):
            model.fit(rows, y)
    with pytest.raises(TypeError, match=r"source_summaries\[0\] must be a Source"):
        EmpiricalBayesRidge([Ridge()]).fit(X, y)
    with pytest.raises(ValueError, match="has the feature 'b'"):
        good.merge(bad["feature 'b' at position 0"][1])


@pytest.mark.parametrize(
    "estimator", [ARMUL(), AngleTransfer(), EmpiricalBayesRidge(), TransGLM(cv=3)]
)
def test_summaries_live_in_guards_and_searches(rng, estimator):
    X, y = rng.normal(size=(130, 3)), np.empty(130)
    y[:] = X @ [1.0, 2.0, 3.0] + rng.normal(size=130)
    summary = summarize_source(LinearRegression(), X[:100], y[:100])
    model = clone(estimator).set_params(source_summaries=[summary])
    guard = TransferGuard(model, cv=3).fit(X[100:], y[100:])
    assert guard.target_only_.source_summaries is None
    assert guard.transfer_.source_names_ == ["source_summaries[0]"]
    assert guard.ntg_ != 0
    search = GridSearchCV(model, {"fit_intercept": [True]}, cv=3).fit(X[100:], y[100:])
    assert search.best_score_ > 0.5
    assert repr(summary) == "SourceSummary(family='gaussian', n_features=3, n=100)"


def test_only_text_names_features(rng):
    X, y = _rows(rng)
    assert summarize_source(Ridge(), pd.DataFrame(X), y).feature_names is None
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    EmpiricalBayesRidge(summarize_source(Ridge(), X, y)).fit(frame, y)


def test_clone_keeps_summaries_and_without_sources_drops_them(rng):
    X, y = _rows(rng)
    summary = summarize_source(Ridge(), X, y)
    model = clone(EmpiricalBayesRidge([summary]))
    before = joblib.hash(model.get_params())
    assert joblib.hash(model.fit(X, y).get_params()) == before
    assert model.source_summaries[0].n == 30
    assert model.without_sources().source_summaries is None
