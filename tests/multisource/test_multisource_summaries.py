"""Chunks of a source add up, and parametric methods fit from summaries as from rows."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
)

from sktransfer.hypothesis import (
    PositiveTransferLogistic,
    PositiveTransferRidge,
    SecureRLS,
    SourcePredictions,
)
from sktransfer.multisource import (
    UOWQ,
    SourceSummarizer,
    SourceSummary,
    summarize_source,
)
from sktransfer.safe import SAFEW, TransferGuard


def regression(rng, n_sources=3, n=40, n_target=15):
    """Rows of sources and a target whose features have their own units."""
    domain = np.r_[np.repeat(np.arange(1, n_sources + 1), n), np.full(n_target, -1)]
    X = rng.normal(size=(len(domain), 3)) * [1.0, 10.0, 0.1] + [0.0, 5.0, 20.0]
    slope = np.where((domain == n_sources)[:, None], [3.0, 0.5, 1.0], [1.0, 0.2, -3.0])
    return X, (X * slope).sum(axis=1) + rng.normal(size=len(X)), domain


def classification(rng, n_classes, n=400, n_target=60):
    """Standard rows of three sources, of which the last has other coefficients."""
    domain = np.repeat([1, 2, 3, -1], [n, n, n, n_target])
    X = rng.normal(size=(len(domain), 3))
    slope = np.where((domain == 3)[:, None], [0.2, 1.0, 0.5], [1.0, 0.2, -0.5])
    noisy = (X * slope).sum(axis=1) + 0.7 * rng.logistic(size=len(X))
    return X, np.digitize(noisy, np.linspace(-1, 1, n_classes + 1)[1:-1]), domain


def chunks(X, y, weight=None, size=7):
    for i in range(0, len(X), size):
        part = slice(i, i + size)
        yield (X[part], y[part]) if weight is None else (X[part], y[part], weight[part])


def assert_same(one, two, rtol=1e-7):
    np.testing.assert_allclose(one.vector, two.vector, rtol=rtol)
    scale = np.sqrt(np.outer(*[np.diagonal(two.information)] * 2))
    np.testing.assert_allclose(
        one.information / scale, two.information / scale, atol=rtol
    )
    assert one.n == pytest.approx(two.n)
    if two.noise is not None:
        assert one.noise == pytest.approx(two.noise, rel=rtol)
        assert one.rss == pytest.approx(two.rss, rel=rtol, abs=1e-9)


@pytest.mark.parametrize("size", [1, 3, 7, 50])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("intercept", [False, True])
def test_least_squares_of_chunks_is_that_of_all_rows(rng, size, weighted, intercept):
    X, y, _ = regression(rng, 1, 45, 5)
    weight = rng.uniform(0.001, 0.2, size=len(X)) if weighted else None
    model = LinearRegression(fit_intercept=intercept)
    whole = summarize_source(model, X, y, weight)
    found = summarize_source(model, chunks(X, y, weight, size))
    assert_same(found, whole)


@pytest.mark.parametrize("learner", [LinearRegression(), LogisticRegression()])
def test_features_a_million_spreads_from_0_keep_their_digits(rng, learner):
    X = rng.normal(size=(300, 3)).round(8)
    y = X[:, 0] + rng.normal(size=300)
    y = y if isinstance(learner, LinearRegression) else y > 0
    far = X + 1e6  # exact to about 1e-10
    near = clone(learner).fit(X, y)
    model = clone(learner).fit(X, y)
    model.intercept_ = near.intercept_ - near.coef_ @ np.full(3, 1e6)
    expected = summarize_source(near, chunks(X, y, size=50))
    found = summarize_source(model, chunks(far, y, size=50))
    np.testing.assert_allclose(found.coef, expected.coef, rtol=1e-7, atol=1e-9)
    information = expected.information_at(np.zeros(3))
    np.testing.assert_allclose(
        found.information_at(np.full(3, 1e6)), information, rtol=1e-7, atol=1e-5
    )
    np.testing.assert_allclose(expected.information, information, rtol=1e-12)
    # in units of their spread the offset is nothing to what takes the summary
    target = slice(0, 20)
    if learner.__class__ is LinearRegression:
        one, two = (
            PositiveTransferRidge(source_summaries=[s]).fit(Z[target], y[target])
            for Z, s in ((X, expected), (far, found))
        )
        np.testing.assert_allclose(one.predict(X), two.predict(far), rtol=1e-5)


def test_a_center_needs_fisher_and_an_intercept():
    for bad in (
        {"covariance": np.eye(2), "intercept": 0.0, "center": [1.0]},
        {"fisher": np.eye(1), "center": [1.0]},
        {"fisher": np.eye(2), "intercept": 0.0, "center": [1.0, 2.0]},
    ):
        with pytest.raises(ValueError, match="center"):
            SourceSummary([1.0], n=3, **bad)


def test_chunks_of_equal_labels_and_few_rows_are_exact(rng):
    X = rng.normal(size=(30, 2))
    y = np.r_[np.zeros(20), rng.normal(size=10)]
    assert_same(
        summarize_source(LinearRegression(), chunks(X, y, size=10)),
        summarize_source(LinearRegression(), X, y),
    )
    few = summarize_source(LinearRegression(), chunks(X[18:21], y[18:21], size=1))
    assert_same(few, summarize_source(LinearRegression(), X[18:21], y[18:21]), 1e-5)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_logistic_chunks_at_one_fitted_estimator_are_exact(rng, n_classes):
    X, y, _ = classification(rng, n_classes, 60, 20)
    model = LogisticRegression(max_iter=5000).fit(X, y)
    whole = summarize_source(model, X, y)
    assert_same(summarize_source(model, chunks(X, y, size=9)), whole, 1e-6)


def test_poisson_chunks_at_one_fitted_estimator_are_exact(rng):
    X = rng.normal(size=(200, 3))
    y = rng.poisson(np.exp(X @ [0.5, 0.2, -0.3] + 1))
    model = PoissonRegressor(alpha=0.1).fit(X, y)
    assert_same(summarize_source(model, chunks(X, y)), summarize_source(model, X, y))


def test_a_second_pass_is_a_newton_step_closer(rng):
    X = rng.normal(size=(2000, 3))
    y = (X @ [1.0, -1.0, 0.5] + rng.logistic(size=2000) > 0).astype(int)
    best = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(X, y).coef_
    first = summarize_source(LogisticRegression(), chunks(X, y, size=200))
    second = summarize_source(first.to_estimator(), chunks(X, y, size=200))
    errors = [abs(s.coef - best).max() for s in (first, second)]
    assert errors[1] < 1e-3 < errors[0] < 0.2


def test_partial_fit_counts_chunks_and_skips_empty_ones(rng):
    X, y, _ = regression(rng, 1, 20, 5)
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    summarizer = SourceSummarizer(Ridge())
    summarizer.partial_fit(frame[:0], y[:0])
    summarizer.partial_fit(frame[:5], y[:5], np.zeros(5))
    assert not hasattr(summarizer, "summary_")
    summarizer.partial_fit(frame[:10], y[:10]).partial_fit(frame[10:], y[10:])
    assert summarizer.n_chunks_ == 2
    assert summarizer.summary_.feature_names == ("a", "b", "c")
    assert_same(summarizer.summary_, summarize_source(Ridge(), frame, y))


def test_sites_merge_as_their_rows_do(rng):
    X, y, domain = regression(rng)
    sites = [summarize_source(Ridge(), X[domain == k], y[domain == k]) for k in (1, 2)]
    rows = (domain == 1) | (domain == 2)
    assert_same(sites[0].merge(sites[1]), summarize_source(Ridge(), X[rows], y[rows]))


@pytest.mark.parametrize(
    "arguments, error, match",
    [
        ((np.eye(3),), TypeError, "y is missing"),
        ((pd.DataFrame(np.eye(3)),), TypeError, "y is missing"),
        (([np.eye(3)],), TypeError, "chunk 0 is a ndarray"),
        (([],), ValueError, "no row"),
        (([(np.eye(3), [1.0, 2.0, 3.0])], None, [1.0]), ValueError, "third entry"),
        (([(np.eye(3), [1.0, 2.0, 3.0], np.zeros(3))],), ValueError, "no row"),
    ],
)
def test_what_is_no_source_is_refused(arguments, error, match):
    with pytest.raises(error, match=match):
        summarize_source(LinearRegression(), *arguments)


def test_classes_of_later_chunks_must_be_known(rng):
    X = rng.normal(size=(20, 2))
    y = np.repeat(["a", "b", "c"], [5, 5, 10])
    with pytest.raises(ValueError, match="holds one class"):
        summarize_source(LogisticRegression(), chunks(X, y, size=5))
    with pytest.raises(ValueError, match=r"classes \['c'\].*every class"):
        summarize_source(LogisticRegression(), chunks(X, y, size=10))


@pytest.mark.parametrize(
    "make", [LinearRegression, LogisticRegression, PoissonRegressor]
)
@pytest.mark.parametrize("intercept", [False, True])
def test_a_summary_becomes_the_model_it_describes(rng, make, intercept):
    X = rng.normal(size=(60, 2))
    y = rng.poisson(np.exp(X @ [0.5, -0.5]))
    y = np.where(y > 1, "many", "few") if make is LogisticRegression else y
    frame = pd.DataFrame(X, columns=["a", "b"])
    model = make(fit_intercept=intercept).fit(frame, y)
    summary = summarize_source(model, frame, y)
    again = summary.to_estimator()
    assert type(again) is make
    copy = summarize_source(again, frame, y)
    np.testing.assert_allclose(
        again.predict(frame) == "many" if make is LogisticRegression else
        np.log(abs(again.predict(frame))),
        (X @ summary.coef.ravel() + np.ravel(summary.intercept or 0.0) > 0)
        if make is LogisticRegression
        else np.log(abs(X @ summary.coef + (summary.intercept or 0.0)))
        if make is LinearRegression
        else X @ summary.coef + (summary.intercept or 0.0),
    )  # fmt: skip
    assert copy.feature_names == ("a", "b")


@pytest.mark.parametrize(
    "learner",
    [LinearRegression(), Ridge(2.0), Ridge(0.5, fit_intercept=False)],
)
@pytest.mark.parametrize("noise_correction", [True, False])
def test_uowq_of_summaries_is_uowq_of_rows(rng, learner, noise_correction):
    X, y, domain = regression(rng)
    model = UOWQ(learner, noise_correction=noise_correction, max_iter=100)
    rows = clone(model).fit(X, y, sample_domain=domain)
    summaries = [
        summarize_source(learner, X[domain == k], y[domain == k]) for k in (1, 2, 3)
    ]
    own = domain < 0
    found = clone(model).set_params(source_summaries=summaries).fit(X[own], y[own])
    assert list(found.source_ids_) == [f"source_summaries[{i}]" for i in range(3)]
    for name in ("source_weights_", "transfer_quantity_", "kl_path_", "scale_"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(rows, name), rtol=1e-6, atol=1e-8
        )
    np.testing.assert_allclose(found.predict(X), rows.predict(X), rtol=1e-6)
    both = clone(model).set_params(source_summaries=summaries[2:])
    kept = domain != 3
    both.fit(X[kept], y[kept], sample_domain=domain[kept])
    np.testing.assert_allclose(both.source_weights_, rows.source_weights_, rtol=1e-6)
    np.testing.assert_allclose(both.predict(X), rows.predict(X), rtol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_uowq_of_logistic_summaries_is_near_that_of_rows(rng, n_classes):
    X, y, domain = classification(rng, n_classes)
    learner = LogisticRegression(tol=1e-8, max_iter=2000)
    rows = UOWQ(learner).fit(X, y, sample_domain=domain)
    summaries = [
        summarize_source(learner, X[domain == k], y[domain == k]) for k in (1, 2, 3)
    ]
    own = domain < 0
    found = UOWQ(learner, source_summaries=summaries).fit(X[own], y[own])
    np.testing.assert_allclose(found.source_weights_, rows.source_weights_, atol=0.1)
    np.testing.assert_allclose(found.predict_proba(X), rows.predict_proba(X), atol=0.1)
    moved = UOWQ(learner, source_summaries=[
        summarize_source(learner, X[domain == k] + 5, y[domain == k])
        for k in (1, 2, 3)
    ]).fit(X[own] + 5, y[own])  # fmt: skip
    np.testing.assert_allclose(moved.source_weights_, found.source_weights_, atol=1e-3)


def test_uowq_of_poisson_summaries_is_near_that_of_rows(rng):
    domain = np.repeat([1, 2, -1], [300, 300, 40])
    X = rng.normal(size=(640, 2)) * 0.5
    y = rng.poisson(np.exp(X @ [0.5, -0.5] + 1 + 0.3 * (domain == 2) * X[:, 0]))
    learner = PoissonRegressor(alpha=0.01, tol=1e-8, max_iter=500)
    rows = UOWQ(learner).fit(X, y, sample_domain=domain)
    summaries = [
        summarize_source(learner, X[domain == k], y[domain == k]) for k in (1, 2)
    ]
    found = UOWQ(learner, source_summaries=summaries).fit(X[600:], y[600:])
    np.testing.assert_allclose(found.source_weights_, rows.source_weights_, atol=0.02)
    np.testing.assert_allclose(found.predict(X), rows.predict(X), rtol=0.01)


def test_uowq_with_summaries_refuses_what_it_cannot_follow(rng):
    X, y, domain = regression(rng)
    summary = summarize_source(LinearRegression(), X[domain == 1], y[domain == 1])
    own = domain < 0
    with pytest.raises(TypeError, match="positive"):
        UOWQ(Ridge(positive=True), source_summaries=summary).fit(X[own], y[own])
    with pytest.raises(TypeError, match="L1"):
        UOWQ(
            LogisticRegression(l1_ratio=0.5, solver="saga"), source_summaries=summary
        ).fit(X[own], y[own] > 0)
    with pytest.raises(ValueError, match="family='gaussian'"):
        UOWQ(LogisticRegression(), source_summaries=summary).fit(X[own], y[own] > 0)
    with pytest.raises(ValueError, match="give one of them"):
        UOWQ(
            LinearRegression(), source_summaries=summary,
            source_models=summary.to_estimator(), source_sizes=3,
        ).fit(X[own], y[own])  # fmt: skip
    bare = SourceSummary([1.0] * 3, 0.0, fisher=np.eye(4), n=9)
    with pytest.raises(ValueError, match="no noise"):
        UOWQ(LinearRegression(), source_summaries=bare).fit(X[own], y[own])


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_positive_transfer_ridge_of_summaries_is_that_of_rows(rng, fit_intercept):
    X, y, domain = regression(rng)
    model = PositiveTransferRidge(0.1, fit_intercept=fit_intercept)
    rows = clone(model).fit(X, y, sample_domain=domain)
    learner = LinearRegression(fit_intercept=fit_intercept)
    summaries = [
        summarize_source(learner, X[domain == k], y[domain == k]) for k in (1, 2, 3)
    ]
    own = domain < 0
    found = clone(model).set_params(source_summaries=summaries).fit(X[own], y[own])
    np.testing.assert_allclose(found.source_coef_, rows.source_coef_, rtol=1e-6)
    np.testing.assert_allclose(found.coef_, rows.coef_, rtol=1e-6)
    names = [f"source_summaries[{k - 1}]" for k in rows.kept_sources_]
    assert list(found.kept_sources_) == names
    assert found.without_sources().source_summaries is None


@pytest.mark.parametrize("n_classes", [2, 3])
def test_positive_transfer_logistic_of_summaries_is_near_that_of_rows(rng, n_classes):
    X, y, domain = classification(rng, n_classes, 500)
    model = PositiveTransferLogistic(0.1)
    rows = clone(model).fit(X, y, sample_domain=domain)
    summaries = [
        summarize_source(LogisticRegression(C=1 / 50), X[domain == k], y[domain == k])
        for k in (1, 2, 3)
    ]
    own = domain < 0
    found = clone(model).set_params(source_summaries=summaries).fit(X[own], y[own])
    np.testing.assert_allclose(found.source_coef_, rows.source_coef_, atol=1e-3)
    np.testing.assert_allclose(found.predict_proba(X), rows.predict_proba(X), atol=0.01)
    odd = summarize_source(LogisticRegression(), X[:99], y[:99] + 1)
    with pytest.raises(ValueError, match="both need the same"):
        PositiveTransferLogistic(source_summaries=odd).fit(X[own], y[own])


def test_source_models_take_summaries(rng):
    X, y, domain = regression(rng)
    one, two = (
        summarize_source(LinearRegression(), X[domain == k], y[domain == k])
        for k in (1, 3)
    )
    own = domain < 0
    found = SecureRLS([one, two]).fit(X[own], y[own])
    models = SecureRLS([one.to_estimator(), two.to_estimator()]).fit(X[own], y[own])
    np.testing.assert_allclose(found.predict(X), models.predict(X))
    guard = TransferGuard(clone(SecureRLS(one)), cv=3).fit(X[own], y[own])
    assert np.isfinite(guard.predict(X)).all()
    assert SecureRLS(one).without_sources().source_models is None
    safe = SAFEW(Ridge(), source_models=[one, two]).fit(X[own], y[own])
    assert np.isfinite(safe.predict(X)).all()
    columns = SourcePredictions(one).fit(X[own], y[own]).transform(X)
    assert columns.shape[0] == len(X)


def test_counts_below_zero_and_columns_in_another_order_are_refused(rng):
    X = pd.DataFrame(rng.normal(size=(40, 2)), columns=["a", "b"])
    counts = rng.poisson(1.0, 40).astype(float)
    model = PoissonRegressor().fit(X, counts)
    with pytest.raises(ValueError, match="y holds negative values"):
        summarize_source(model, X, counts - 1.0)
    with pytest.raises(ValueError, match="but estimator was fitted to"):
        summarize_source(model, X[["b", "a"]], counts)
    summary = summarize_source(model, X, counts)
    plain = summarize_source(model, X.to_numpy(), counts)
    np.testing.assert_array_equal(summary.coef, plain.coef)
