"""Shares of source and target models."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import KFold, LeaveOneOut
from sklearn.svm import LinearSVC

from sktransfer.base import without_sources
from sktransfer.hypothesis import LinearInterpolation


def problem(rng, n_target=20, flip=True):
    domain = np.repeat([1, 2, -1], [60, 50, n_target])
    X = rng.normal(size=(len(domain), 3))
    y = X @ [1.0, -0.5, 0.0] + 0.5 * rng.normal(size=len(X))
    if flip:
        y[domain == 2] *= -1
    return X, y, domain


def test_shares_minimize_the_held_out_error(rng):
    X, y, domain = problem(rng)
    target = domain < 0
    model = LinearInterpolation(Ridge(), cv=LeaveOneOut())
    model.fit(X, y, sample_domain=domain)
    own = np.empty(20)
    for train, test in LeaveOneOut().split(X[target]):
        own[test] = (
            Ridge().fit(X[target][train], y[target][train]).predict(X[target][test])
        )
    sources = [Ridge().fit(X[domain == k], y[domain == k]) for k in (1, 2)]
    columns = np.column_stack([*(m.predict(X[target]) for m in sources), own])
    best = minimize(
        lambda a: np.sum((y[target] - columns @ a) ** 2),
        np.full(3, 1 / 3),
        bounds=[(0, 1)] * 3,
        constraints={"type": "eq", "fun": lambda a: a.sum() - 1},
    )
    shares = np.append(model.source_weights_, model.target_share_)
    assert_allclose(shares, best.x, atol=1e-4)
    alone = Ridge().fit(X[target], y[target])
    blend = sum(
        a * m.predict(X) for a, m in zip(shares, [*sources, alone], strict=True)
    )
    assert_allclose(model.predict(X), blend)
    assert model.source_weights_[1] < 0.05  # the flipped source


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_ends_of_the_share(share, rng):
    X, y, domain = problem(rng, flip=False)
    model = LinearInterpolation(LinearRegression(), target_share=share)
    model.fit(X, y, sample_domain=domain)
    assert model.target_share_ == share
    assert model.source_weights_.sum() == pytest.approx(1 - share)
    alone = LinearRegression().fit(X[domain < 0], y[domain < 0])
    same = np.allclose(model.predict(X), alone.predict(X))
    assert same == (share == 1.0)


def test_without_sources_or_labels(rng):
    X, y, domain = problem(rng)
    alone = LinearInterpolation(Ridge()).fit(X[domain < 0], y[domain < 0])
    assert_allclose(alone.predict(X), Ridge().fit(X[-20:], y[-20:]).predict(X))
    y[domain < 0] = np.nan
    model = LinearInterpolation(Ridge()).fit(X, y, sample_domain=domain)
    assert_allclose(model.source_weights_, [0.5, 0.5])
    assert model.target_share_ == 0.0


@pytest.mark.parametrize("learner", [LogisticRegression(), LinearSVC(dual=False)])
def test_classes_of_any_names_with_given_models(learner, rng):
    X, y, domain = problem(rng, flip=False)
    names = np.where(y > 0, "up", "down")
    source = learner.fit(X[domain > 0], names[domain > 0])
    model = LinearInterpolation(learner, source_models=source, cv=4)
    model.fit(X[domain < 0], names[domain < 0])
    assert model.source_names_ == ["source_models[0]"]
    assert model.score(X, names) > 0.8
    assert hasattr(model, "predict_proba") == hasattr(learner, "predict_proba")
    bare = without_sources(model)
    assert bare.source_models is None


def test_units_stay_together_and_one_unit_gives_equal_shares(rng):
    X, y, domain = problem(rng)
    groups = np.r_[np.full(110, -1), np.zeros(20)]
    model = LinearInterpolation(Ridge())
    with pytest.warns(UserWarning, match="one unit.* leave none to hold out"):
        model.fit(X, y, sample_domain=domain, groups=groups)
    assert_allclose(model.source_weights_, [0.5, 0.5])
    groups[-10:] = 1
    model.fit(X, y, sample_domain=domain, groups=groups)
    assert model.source_weights_[1] < 0.1


def test_good_sources_count_where_target_labels_are_few(rng):
    errors = []
    for _ in range(10):
        X, y, domain = problem(rng, n_target=6)
        X_test = rng.normal(size=(200, 3))
        truth = X_test @ [1.0, -0.5, 0.0]
        blend = LinearInterpolation(LinearRegression(), cv=KFold(3))
        blend.fit(X, y, sample_domain=domain)
        alone = LinearRegression().fit(X[domain < 0], y[domain < 0])
        errors.append(
            [np.mean((m.predict(X_test) - truth) ** 2) for m in (blend, alone)]
        )
    blend, alone = np.mean(errors, axis=0)
    assert blend < 0.5 * alone


@pytest.mark.parametrize("share", ["cv", 0.3])
def test_solvers_agree(share, rng):
    X, y, domain = problem(rng, flip=False)
    found = [
        LinearInterpolation(Ridge(), target_share=share, solver=solver)
        .fit(X, y, sample_domain=domain)
        .source_weights_
        for solver in ("auto", "cvxpy")
    ]
    assert_allclose(*found, atol=1e-8)
