import time

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import check_grad, minimize
from sklearn.covariance import oas
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

import sktransfer._solvers.gaussian_prior as gaussian_prior_module
import sktransfer.hypothesis._positive_transfer as positive_transfer_module
from sktransfer._solvers.gaussian_prior import (
    _hessian,
    _objective,
    gaussian_prior,
    logistic_path,
    ridge_path,
)
from sktransfer.datasets import make_concept_shift
from sktransfer.exceptions import DomainError
from sktransfer.hypothesis import PositiveTransferLogistic, PositiveTransferRidge


def random_prior(rng, n_rows, d):
    return gaussian_prior(rng.normal(size=(4, n_rows, d)) * np.arange(1, d + 1))


def linear_problem(rng, n=15, d=4):
    X = rng.normal(size=(n, d))
    return X, X @ rng.normal(size=d) + 2 + 0.3 * rng.normal(size=n)


def class_problem(seed, n=40, d=3, n_classes=3):
    return make_classification(
        n, d, n_informative=d, n_redundant=0, n_classes=n_classes,
        n_clusters_per_class=1, class_sep=0.7, random_state=seed,
    )  # fmt: skip


# --- prior -----------------------------------------------------------------------


def test_prior_is_mean_and_shrunk_covariance_of_each_row():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(5, 2, 3))
    prior = gaussian_prior(vectors)
    assert_allclose(prior.mean, vectors.mean(axis=0))
    for row in range(2):
        covariance, _ = oas(vectors[:, row])
        assert_allclose(prior.covariance[row], covariance)
        scaled = np.linalg.inv(covariance) * np.trace(covariance) / 3
        assert_allclose(prior.precision[row], scaled)


@pytest.mark.parametrize(
    "vectors", [np.empty((0, 1, 3)), np.ones((1, 1, 3)), np.full((4, 1, 3), 0.1)]
)
def test_prior_without_spread_is_round(vectors):
    prior = gaussian_prior(vectors)
    assert_allclose(prior.precision, [np.eye(3)])
    assert_allclose(prior.mean, vectors.mean(axis=0) if len(vectors) else [[0, 0, 0]])


def test_prior_of_two_sources_is_not_singular():
    prior = gaussian_prior(np.random.default_rng(0).normal(size=(2, 1, 30)))
    assert np.linalg.eigvalsh(prior.precision[0]).max() < 1e3


# --- ridge -----------------------------------------------------------------------


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_ridge_first_order_condition_of_the_stated_objective(fit_intercept):
    rng = np.random.default_rng(0)
    (X, y), prior = linear_problem(rng), random_prior(rng, 1, 4)
    weights = np.array([0.0, 0.1, 10.0])
    _, solutions = ridge_path(
        X, y, prior, weights, alpha=0.3, fit_intercept=fit_intercept
    )
    for weight, w in zip(weights, solutions, strict=True):
        error = X @ w - y
        error -= error.mean() if fit_intercept else 0
        gradient = X.T @ error / len(y) + 0.3 * w
        gradient += weight * prior.precision[0] @ (w - prior.mean[0])
        assert_allclose(gradient, 0, atol=1e-10)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_ridge_leave_one_out_is_exact(fit_intercept):
    rng = np.random.default_rng(1)
    (X, y), prior = linear_problem(rng), random_prior(rng, 1, 4)
    n, options = len(y), {"fit_intercept": fit_intercept}
    for weight in [0.0, 0.5]:
        errors, _ = ridge_path(X, y, prior, np.array([weight]), alpha=0.1, **options)
        for i in range(n):
            rest = np.arange(n) != i
            grow = n / (n - 1)  # the penalties n * alpha and n * weight are kept
            _, (w,) = ridge_path(
                X[rest], y[rest], prior, np.array([weight * grow]),
                alpha=0.1 * grow, **options,
            )  # fmt: skip
            shift = (y[rest] - X[rest] @ w).mean() if fit_intercept else 0
            assert_allclose(errors[0, i], (y[i] - X[i] @ w - shift) ** 2, rtol=1e-8)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_ridge_weight_zero_is_sklearn_ridge(fit_intercept):
    rng = np.random.default_rng(0)
    X, y = linear_problem(rng)
    rows, labels = np.r_[X, -X], np.r_[y, y]
    ridge = Ridge(alpha=0.2 * len(y), fit_intercept=fit_intercept).fit(X, y)
    for model, sources in [
        (PositiveTransferRidge(0.2, fit_intercept=fit_intercept), None),
        (
            PositiveTransferRidge(0.2, prior_weight=0.0, fit_intercept=fit_intercept),
            np.repeat([-1, 1], len(y)),
        ),
    ]:
        if sources is None:
            model.fit(X, y)
        else:
            model.fit(rows, labels, sample_domain=sources)
            assert_array_equal(model.dropped_sources_, [1])
        assert_allclose(model.coef_, ridge.coef_)
        assert_allclose(model.intercept_, ridge.intercept_, atol=1e-12)
        assert model.prior_weight_ == 0


def test_ridge_infinite_weight_is_the_mean_of_the_sources():
    data = make_concept_shift(shift=[0.5, 0.5, 1.0], random_state=0)
    model = PositiveTransferRidge(prior_weight=1e9, drop_sources=False)
    model.fit(data.X, data.y, sample_domain=data.sample_domain)
    assert_allclose(model.coef_, model.prior_mean_, rtol=1e-6)
    assert_allclose(model.prior_mean_, model.source_coef_.mean(axis=0))
    rows = data.sample_domain == 2
    ridge = Ridge(alpha=rows.sum()).fit(data.X[rows], data.y[rows])
    assert_allclose(model.source_coef_[1], ridge.coef_)


def test_ridge_of_one_source_is_biased_ridge():
    data = make_concept_shift(shift=0.5, n_unlabeled=0, random_state=0)
    model = PositiveTransferRidge(1e-9, prior_weight=0.5, drop_sources=False)
    model.fit(data.X, data.y, sample_domain=data.sample_domain)
    own = data.sample_domain < 0
    X, residual = data.X[own], data.y[own] - data.X[own] @ model.prior_mean_
    biased = Ridge(alpha=0.5 * own.sum()).fit(X, residual)
    assert_allclose(model.coef_, biased.coef_ + model.prior_mean_, rtol=1e-6)
    assert_array_equal(model.prior_covariance_, np.eye(10))


def test_bound_is_where_negative_transfer_starts():
    """Every weight up to the bound was tried; beyond it the error is above."""
    data = make_concept_shift(shift=0.8, n_unlabeled=0, random_state=3)
    grid = np.logspace(-3, 3, 7)
    model = PositiveTransferRidge(0.1, prior_weights=grid)
    model.fit(data.X, data.y, sample_domain=data.sample_domain)
    assert 0 < model.prior_weight_ <= model.prior_weight_bound_ < 1e3
    assert model.held_out_error_ < model.target_only_error_
    for weight in grid:
        fixed = PositiveTransferRidge(0.1, prior_weight=weight, drop_sources=False)
        fixed.fit(data.X, data.y, sample_domain=data.sample_domain)
        assert fixed.held_out_error_ >= model.held_out_error_ - 1e-12
        if weight > model.prior_weight_bound_:
            assert fixed.held_out_error_ > model.target_only_error_


def ridge_errors(shift, seeds=15, **params):
    errors, dropped = [], []
    for seed in range(seeds):
        data = make_concept_shift(shift=shift, n_unlabeled=0, random_state=seed)
        domain, truth = data.sample_domain, data.X_test @ data.coef[-1]
        models = [
            PositiveTransferRidge(0.05, **params).fit(data.X, data.y, domain),
            PositiveTransferRidge(0.05).fit(data.X[domain < 0], data.y[domain < 0]),
        ]
        errors.append([np.mean((m.predict(data.X_test) - truth) ** 2) for m in models])
        dropped.append(np.isin([1, 2, 3], models[0].dropped_sources_))
    return np.mean(errors, axis=0), np.mean(dropped, axis=0)


def test_ridge_drops_the_harmful_source_and_gains():
    (transfer, alone), dropped = ridge_errors([0.1, 0.1, 3.0])
    assert transfer < 0.5 * alone
    assert dropped[2] > 0.8
    assert max(dropped[:2]) < 0.5


def test_ridge_is_not_hurt_by_harmful_sources_alone():
    (transfer, alone), _ = ridge_errors([3.0, 3.0, 3.0], seeds=40)
    assert transfer < 1.1 * alone
    (forced, _), _ = ridge_errors([3.0] * 3, prior_weight=10.0, drop_sources=False)
    assert forced > 5 * alone


def test_ridge_of_one_labeled_row_does_not_transfer():
    data = make_concept_shift(
        shift=[0.1, 0.2], n_labeled=1, n_unlabeled=0, random_state=0
    )
    model = PositiveTransferRidge().fit(data.X, data.y, data.sample_domain)
    assert_array_equal(model.dropped_sources_, [1, 2])
    assert np.isnan(model.held_out_error_)
    fixed = PositiveTransferRidge(prior_weight=1e6)
    fixed.fit(data.X, data.y, data.sample_domain)
    assert_allclose(fixed.coef_, fixed.prior_mean_, rtol=1e-4)


# --- logistic --------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 3])
def test_logistic_gradient_and_hessian(n_classes):
    rng = np.random.default_rng(0)
    X, y = class_problem(0, n_classes=n_classes)
    n_logits = 1 if n_classes == 2 else 3
    rows = np.column_stack([X, np.ones(len(X))])
    onehot = y[:, None] == (np.array([1]) if n_logits == 1 else np.arange(3))
    prior = random_prior(rng, n_logits, 3)
    penalty = np.zeros((n_logits, 4, 4))
    penalty[:, :3, :3] = 0.1 * np.eye(3) + 0.5 * prior.precision
    center, theta = np.zeros((2, n_logits, 4))
    theta[:] = rng.normal(size=theta.shape)

    def value(t):
        return _objective(rows, onehot, penalty, center, t.reshape(theta.shape))[0]

    def gradient(t):
        t = t.reshape(theta.shape)
        return _objective(rows, onehot, penalty, center, t)[1].ravel()

    assert check_grad(value, gradient, theta.ravel()) < 1e-6
    step = 1e-6
    numeric = np.array(
        [
            (gradient(theta.ravel() + step * e) - gradient(theta.ravel() - step * e))
            / (2 * step)
            for e in np.eye(theta.size)
        ]
    )
    numeric = numeric.reshape(n_logits, 4, n_logits, 4)
    if n_logits > 1:  # the added curvature of a common shift of the intercepts
        numeric[:, 3, :, 3] += 1 / 3
    exact = _hessian(rows, theta, penalty, True).reshape(numeric.shape)
    assert_allclose(exact, numeric, atol=1e-8)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_logistic_weight_zero_is_sklearn_logistic(n_classes, fit_intercept):
    X, y = class_problem(0, n_classes=n_classes)
    model = PositiveTransferLogistic(0.05, fit_intercept=fit_intercept).fit(X, y)
    expected = LogisticRegression(
        C=1 / (0.05 * len(y)), fit_intercept=fit_intercept, tol=1e-10, max_iter=1000
    ).fit(X, y)
    assert_allclose(model.coef_, expected.coef_, atol=1e-6)
    assert_allclose(model.intercept_, expected.intercept_, atol=1e-6)
    assert_allclose(model.predict_proba(X), expected.predict_proba(X), atol=1e-6)
    assert_allclose(
        model.predict_log_proba(X), np.log(model.predict_proba(X)), atol=1e-12
    )
    assert_array_equal(model.predict(X), expected.predict(X))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_logistic_solves_the_stated_objective(n_classes):
    """Against a general solver on the formula of the docstring."""
    rng = np.random.default_rng(0)
    X, y = class_problem(1, n_classes=n_classes)
    n_logits = 1 if n_classes == 2 else 3
    prior = random_prior(rng, n_logits, 3)

    def objective(theta):
        W, b = np.split(theta.reshape(n_logits, 4), [3], axis=1)
        logits = X @ W.T + b.T
        if n_logits == 1:
            logits = np.column_stack([np.zeros(len(X)), logits])
        loss = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(X)), y]
        gaussian = sum(
            (w - m) @ P @ (w - m)
            for w, m, P in zip(W, prior.mean, prior.precision, strict=True)
        )
        return loss.mean() + 0.05 * np.sum(W**2) + 0.2 * gaussian

    _, (theta,), info = logistic_path(
        X, y, prior, [0.4], n_logits=n_logits, alpha=0.1, fit_intercept=True,
        tol=1e-10, max_iter=50,
    )  # fmt: skip
    assert info["residual"] <= 1e-10
    reference = minimize(objective, np.zeros(theta.size), tol=1e-10)
    assert_allclose(objective(theta.ravel()), reference.fun, atol=1e-9)
    assert_allclose(theta[:, :3].ravel(), reference.x.reshape(-1, 4)[:, :3].ravel(),
                    atol=1e-4)  # fmt: skip


@pytest.mark.parametrize("n_classes", [2, 3])
def test_logistic_leave_one_out_is_close_to_refits(n_classes):
    rng = np.random.default_rng(0)
    X, y = class_problem(2, n_classes=n_classes)
    n, n_logits = len(y), 1 if n_classes == 2 else 3
    prior = random_prior(rng, n_logits, 3)
    options = {"n_logits": n_logits, "fit_intercept": True, "tol": 1e-9, "max_iter": 50}
    (errors,), _, _ = logistic_path(X, y, prior, [0.02], alpha=0.02, **options)
    exact = np.empty(n)
    for i in range(n):
        rest, grow = np.arange(n) != i, n / (n - 1)
        _, (theta,), _ = logistic_path(
            X[rest], y[rest], prior, [0.02 * grow], alpha=0.02 * grow, **options
        )
        logits = np.r_[X[i], 1] @ theta.T
        logits = np.r_[0, logits] if n_logits == 1 else logits
        exact[i] = np.log(np.exp(logits).sum()) - logits[y[i]]
    in_sample = np.empty(n)
    _, (theta,), _ = logistic_path(X, y, prior, [0.02], alpha=0.02, **options)
    for i in range(n):
        logits = np.r_[X[i], 1] @ theta.T
        logits = np.r_[0, logits] if n_logits == 1 else logits
        in_sample[i] = np.log(np.exp(logits).sum()) - logits[y[i]]
    gap = np.abs(errors - exact)
    assert np.median(gap) < 0.005
    assert gap.sum() < 0.15 * np.abs(in_sample - exact).sum()


def test_logistic_infinite_weight_is_the_mean_of_the_sources():
    data = make_concept_shift(shift=[0.5, 1.0], task="classification", random_state=0)
    model = PositiveTransferLogistic(0.1, prior_weight=1e8, drop_sources=False)
    model.fit(data.X, data.y, sample_domain=data.sample_domain)
    assert_allclose(model.coef_[0], model.prior_mean_, atol=1e-6)
    rows = data.sample_domain == 2
    own = LogisticRegression(C=1 / (0.1 * rows.sum()), tol=1e-10)
    own.fit(data.X[rows], data.y[rows])
    assert_allclose(model.source_coef_[1], own.coef_[0], atol=1e-6)


def test_logistic_drops_the_harmful_source_and_gains():
    gains, dropped = [], []
    for seed in range(10):
        data = make_concept_shift(
            shift=[0.1, 3.0], task="classification", random_state=seed
        )
        own = (data.sample_domain < 0) & (data.y >= 0)
        model = PositiveTransferLogistic(0.1)
        model.fit(data.X, data.y, sample_domain=data.sample_domain)
        alone = PositiveTransferLogistic(0.1).fit(data.X[own], data.y[own])
        test = data.X_test, data.y_test
        gains.append(model.score(*test) - alone.score(*test))
        dropped.append(np.isin([1, 2], model.dropped_sources_))
    assert np.mean(gains) > 0.05
    assert np.mean(dropped, axis=0)[0] < 0.3
    assert np.mean(dropped, axis=0)[1] > 0.8


def test_logistic_multiclass_shapes_and_labels():
    X, y = class_problem(0)
    names = np.array(["a", "b", "c"], dtype=object)[y]
    domain = np.where(np.arange(40) < 25, 1, -1)
    model = PositiveTransferLogistic().fit(X, names, sample_domain=domain)
    assert model.coef_.shape == (3, 3)
    assert model.source_coef_.shape == (1, 3, 3)
    assert model.prior_covariance_.shape == (3, 3, 3)
    assert_array_equal(model.classes_, ["a", "b", "c"])
    assert_array_equal(
        model.predict(X), model.classes_[model.decision_function(X).argmax(axis=1)]
    )


def test_one_label_per_class_is_enough():
    data = make_concept_shift(
        shift=0.1, task="classification", n_labeled=30, n_unlabeled=0, random_state=0
    )
    own = np.flatnonzero(data.sample_domain < 0)
    first = [own[np.flatnonzero(data.y[own] == c)[0]] for c in (0, 1)]
    rows = np.r_[np.flatnonzero(data.sample_domain > 0), first]
    model = PositiveTransferLogistic(0.1)
    model.fit(data.X[rows], data.y[rows], sample_domain=data.sample_domain[rows])
    assert model.score(data.X_test, data.y_test) > 0.8


def test_no_convergence_warns_with_the_gradient():
    X, y = class_problem(0)
    with pytest.warns(ConvergenceWarning, match="gradient of"):
        PositiveTransferLogistic(1e-4, max_iter=1).fit(X, y)


# --- bad input -------------------------------------------------------------------


def test_classes_of_sources_and_target_must_agree():
    X, y = class_problem(0)
    domain = np.where(np.arange(40) < 20, 1, -1)
    seen = np.where((domain == -1) & (y == 2), -1, y)
    with pytest.raises(DomainError, match=r"Source 1 has the classes \[2\]"):
        PositiveTransferLogistic().fit(X, seen, sample_domain=domain)
    kept = (domain == -1) | (y != 0)
    with pytest.raises(DomainError, match=r"Source 1 lacks the classes \[0\]"):
        PositiveTransferLogistic().fit(X[kept], y[kept], sample_domain=domain[kept])
    with pytest.raises(ValueError, match="one class: 1"):
        PositiveTransferLogistic().fit(X, np.ones(40, dtype=int))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"alpha": 0.0}, "alpha"),
        ({"prior_weight": -1.0}, "prior_weight"),
        ({"prior_weights": [-1.0]}, "prior_weights must hold nonnegative"),
        ({"prior_weights": []}, "prior_weights must hold nonnegative"),
        ({"prior_weights": [np.inf]}, "prior_weights must hold nonnegative"),
    ],
)
def test_bad_parameters(params, message):
    X, y = class_problem(0)
    for model in [PositiveTransferRidge(**params), PositiveTransferLogistic(**params)]:
        with pytest.raises(ValueError, match=message):
            model.fit(X, y)


def _many_sources(seed, n_sources, n_target, n_classes=2, d=5, n_source=60):
    rng = np.random.RandomState(seed)
    coef = rng.normal(size=(n_classes - 1, d))
    X, y, domain = [], [], []
    for k in [*range(1, n_sources + 1), -1]:
        n = n_source if k > 0 else n_target
        own = coef + (rng.normal(size=coef.shape) * (1.0 if k % 2 else 0.2)) * (k > 0)
        rows = rng.normal(size=(n, d))
        scores = np.column_stack([np.zeros(n), rows @ own.T])
        X.append(rows)
        y.append(np.argmax(scores + rng.gumbel(size=scores.shape), axis=1))
        domain.append(np.full(n, k))
    return np.concatenate(X), np.concatenate(y), np.concatenate(domain)


@pytest.mark.parametrize(("n_target", "n_classes"), [(20, 2), (250, 2), (60, 3)])
def test_guesses_find_the_sources_that_solving_every_fit_finds(
    n_target, n_classes, monkeypatch
):
    for seed in (0, 1):
        X, y, domain = _many_sources(seed, 8, n_target, n_classes)
        monkeypatch.setattr(gaussian_prior_module, "_SOLVED", 3)
        fast = PositiveTransferLogistic(0.1).fit(X, y, sample_domain=domain)
        monkeypatch.setattr(gaussian_prior_module, "_SOLVED", 100)
        full = PositiveTransferLogistic(0.1).fit(X, y, sample_domain=domain)
        np.testing.assert_array_equal(fast.kept_sources_, full.kept_sources_)
        np.testing.assert_allclose(fast.coef_, full.coef_, atol=1e-6)


def test_rounds_solve_few_fits(monkeypatch):
    """With K sources each round solves 3 fits, not K."""
    X, y, domain = _many_sources(0, 15, 30)
    solved, solve = [], logistic_path
    monkeypatch.setattr(
        positive_transfer_module,
        "logistic_path",
        lambda *args, **options: solved.append(1) or solve(*args, **options),
    )
    model = PositiveTransferLogistic(0.1).fit(X, y, sample_domain=domain)
    assert len(model.dropped_sources_) > 3
    rounds = len(model.dropped_sources_) + 1
    # the sources, the target alone, all sources together, and the rounds
    assert len(solved) <= 15 + 2 + 3 * rounds


@pytest.mark.slow
def test_fifty_sources_take_seconds():
    X, y, domain = _many_sources(0, 50, 40, d=20, n_source=200)
    start = time.process_time()
    PositiveTransferLogistic(0.1).fit(X, y, sample_domain=domain)
    assert time.process_time() - start < 10
