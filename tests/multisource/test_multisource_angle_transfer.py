"""Angle-based transfer: two limits and an exact leave-one-out error."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge

from sktransfer.multisource import AngleTransfer, summarize_source


def _problem(rng, n=15, d=4, n_sources=2, scale=3.0):
    beta = rng.normal(size=d)
    X, y = rng.normal(size=(n, d)), []
    X -= X.mean(axis=0)
    X /= X.std(axis=0)
    y = X @ beta + 0.5 * rng.normal(size=n) + 2.0
    summaries = []
    for _ in range(n_sources):
        rows = rng.normal(size=(60, d))
        labels = scale * rows @ (beta + 0.2 * rng.normal(size=d)) + rng.normal(size=60)
        summaries.append(summarize_source(LinearRegression(), rows, labels))
    return X, y, beta, summaries


def _scales(X, summaries):
    """Scales of the features over all rows, as the estimator takes them."""
    n = [len(X), *(s.n for s in summaries)]
    means, squares = [X.mean(axis=0)], [(X**2).mean(axis=0)]
    for s in summaries:
        info = s.information / s.information[-1, -1]
        means.append(info[-1, :-1])
        squares.append(np.diag(info)[:-1])
    mean = np.average(means, axis=0, weights=n)
    return mean, np.sqrt(np.average(squares, axis=0, weights=n) - mean**2)


def test_no_pull_is_ridge_on_the_target(rng):
    X, y, _, summaries = _problem(rng)
    _, scale = _scales(X, summaries)
    model = AngleTransfer(summaries, alpha=2.0, eta=0.0).fit(X, y)
    ridge = Ridge(2.0).fit(X / scale, y)
    np.testing.assert_allclose(model.coef_, ridge.coef_ / scale, rtol=1e-9)
    np.testing.assert_allclose(model.intercept_, ridge.intercept_, rtol=1e-9)
    alone = AngleTransfer(alpha=2.0).fit(X, y)
    np.testing.assert_allclose(alone.coef_, Ridge(2.0).fit(X, y).coef_, rtol=1e-9)


@pytest.mark.parametrize("n_sources", [1, 2])
def test_pull_as_strong_as_the_penalty_is_ridge_toward_the_sources(rng, n_sources):
    X, y, _, summaries = _problem(rng, n_sources=n_sources)
    _, scale = _scales(X, summaries)
    model = AngleTransfer(summaries, alpha=2.0, eta=2.0, source_weights="uniform").fit(
        X, y
    )
    w = model.source_coef_.mean(axis=0) * scale
    rows = X / scale
    ridge = Ridge(2.0).fit(rows, y - rows @ w)
    np.testing.assert_allclose(model.coef_, (ridge.coef_ + w) / scale, rtol=1e-9)


def test_equation(rng):
    X, y, _, summaries = _problem(rng)
    model = AngleTransfer(summaries, alpha=1.5, eta=4.0, source_weights=[1.0, 3.0])
    model.fit(X, y)
    mean, scale = _scales(X, summaries)
    rows = (X - mean) / scale
    rows = rows - rows.mean(axis=0)
    w = (0.25 * model.source_coef_[0] + 0.75 * model.source_coef_[1]) * scale
    expected = np.linalg.solve(
        rows.T @ rows + 1.5 * np.eye(4), rows.T @ (y - y.mean()) + 4.0 * w
    )
    np.testing.assert_allclose(model.coef_, expected / scale, rtol=1e-9)
    np.testing.assert_allclose(model.source_weights_, [0.25, 0.75])


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("shape", [(15, 4), (6, 9)])
def test_closed_form_leave_one_out_is_brute_force(rng, shape, fit_intercept):
    from sktransfer.multisource._angle_transfer import _fit

    X, y = rng.normal(size=shape) + 0.5, rng.normal(size=shape[0])
    W = rng.normal(size=(2, shape[1]))
    weight = np.ones(shape[0])
    shares = np.array([0.3, 0.7])
    fit = _fit(X, y, weight, W, 0.7, 2.0, shares, fit_intercept)
    errors = []
    for i in range(shape[0]):
        kept = np.arange(shape[0]) != i
        part = _fit(X[kept], y[kept], weight[kept], W, 0.7, 2.0, shares, fit_intercept)
        coef, intercept = part["theta"]
        errors.append((y[i] - X[i] @ coef - intercept) ** 2)
    assert fit["loo_error"] == pytest.approx(np.mean(errors), rel=1e-9)


def test_chosen_pull_has_the_least_leave_one_out_error(rng):
    from sktransfer.multisource._angle_transfer import _fit

    X, y, _, _ = _problem(rng)
    W = rng.normal(size=(2, 4)) + X.T @ y / len(y)
    weight = np.ones(len(y))
    best = _fit(X, y, weight, W, 1.0, "auto", None, True)
    for _ in range(50):
        pull = np.abs(best["pull"] + rng.normal(size=2))
        eta, shares = pull.sum(), pull / pull.sum()
        other = _fit(X, y, weight, W, 1.0, eta, shares, True)
        assert other["loo_error"] >= best["loo_error"] - 1e-12


def test_weight_two_is_two_rows(rng):
    X, y, _, summaries = _problem(rng)
    weight = rng.randint(0, 3, size=len(y))
    one = AngleTransfer(summaries).fit(X, y, sample_weight=weight)
    two = AngleTransfer(summaries).fit(np.repeat(X, weight, 0), np.repeat(y, weight))
    np.testing.assert_allclose(one.coef_, two.coef_, rtol=1e-7)
    assert one.loo_error_ == pytest.approx(two.loo_error_)


def test_sources_of_another_scale_help_and_useless_ones_hardly_hurt():
    gains = {"scaled": [], "useless": []}
    for seed in range(20):
        rng = np.random.RandomState(seed)
        X, y, beta, scaled = _problem(rng, n=20, d=15, scale=8.0)
        rows = rng.normal(size=(60, 15))
        useless = [
            summarize_source(
                LinearRegression(),
                rows,
                rows @ rng.normal(size=15) + rng.normal(size=60),
            )
        ]
        alone = np.sum((AngleTransfer().fit(X, y).coef_ - beta) ** 2)
        for name, summaries in [("scaled", scaled), ("useless", useless)]:
            error = np.sum((AngleTransfer(summaries).fit(X, y).coef_ - beta) ** 2)
            gains[name].append([error, alone])
    scaled, useless = (np.mean(gains[k], axis=0) for k in ("scaled", "useless"))
    assert scaled[0] < 0.4 * scaled[1]
    assert useless[0] < 1.2 * useless[1]


def test_bad_source_weights(rng):
    X, y, _, summaries = _problem(rng)
    for bad in ([1.0], [-1.0, 2.0], [0.0, 0.0]):
        with pytest.raises(ValueError, match="source_weights must hold one"):
            AngleTransfer(summaries, source_weights=bad).fit(X, y)
