"""The estimated risk of a weighted fit: Mallows' criterion, unbiased, and its use."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
)

from sktransfer.multisource import UOWQ, FisherRoot, _estimated_risk, likelihood_of
from sktransfer.multisource._estimated_risk import estimated_risk, leverage
from sktransfer.multisource._weighted_likelihood import WeightedLikelihood


def make_rows(seed=0, n_target=30, n_source=100, width=10.0, slope=0.3, d=2):
    """One target, and a source of wide features with another slope."""
    rng = np.random.default_rng(seed)
    domain = np.repeat([-1, 1], [n_target, n_source])
    X = rng.normal(size=(len(domain), d))
    X[domain == 1] *= width
    y = X[:, 0] + slope * (domain == 1) * X[:, 1] + rng.normal(size=len(domain))
    return X, y, domain


def make_problem(learner, X, y, domain):
    problem = WeightedLikelihood(learner, X, y, domain, -1, {}, None)
    problem.fit_target()
    return problem


def random_root(rng, n, q, intercept, penalty, d=4):
    return FisherRoot(
        rng.normal(size=(n, d)), rng.normal(size=(n, q, q)), intercept, penalty
    )


@pytest.mark.parametrize("penalty", [0.0, 3.0])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("n", [2, 40])  # the dual and the primal matrix
@pytest.mark.parametrize("thin", [False, True])
def test_leverage_is_the_trace(penalty, intercept, n, thin):
    rng = np.random.default_rng(0)
    roots = [random_root(rng, n, 2, intercept, penalty) for _ in range(3)]
    quantities = np.array([n, 5.0, 0.3])
    eye = np.eye(2 * (4 + intercept))
    J = [root.project(eye).T @ root.project(eye) for root in roots]
    free = np.tile([1.0] * 4 + [1e-8] * intercept, 2)  # the intercept hardly has one
    H = sum(q * j for q, j in zip(quantities, J, strict=True)) + penalty * np.diag(free)
    expected = np.trace(quantities[0] * J[0] @ np.linalg.pinv(H, rcond=1e-11))
    if thin:
        roots = [
            FisherRoot(sparse.csr_matrix(r.X), r.factors, intercept, penalty)
            for r in roots
        ]
    found = leverage(roots, quantities, penalty)
    assert found == pytest.approx(expected, rel=1e-5)


def test_leverage_of_one_domain_is_its_number_of_parameters():
    rng = np.random.default_rng(1)
    for penalty in (0.0, 2.0):
        root = random_root(rng, 30, 2, True, penalty)
        expected = root.n_parameters(30, power=1)
        assert leverage([root], np.array([30.0]), penalty) == pytest.approx(expected)


@pytest.mark.parametrize("weight", [0.0, 0.01, 1.0])
def test_risk_of_ridge_is_mallows_criterion(weight):
    X, y, domain = make_rows()
    T = domain == -1
    learner = Ridge(2.0, fit_intercept=False)
    problem = make_problem(learner, X, y, domain)
    row = np.where(T, 1.0, weight)

    def smoother(row):
        H = X.T @ (row[:, None] * X) + 2 * np.eye(2)
        return X[T] @ np.linalg.solve(H, X.T * row)

    alone = smoother(1.0 * T)
    noise = np.sum((y[T] - alone @ y) ** 2) / (T.sum() - np.trace(alone[:, T]))
    A = smoother(row)

    def criterion(A):
        return np.sum((y[T] - A @ y) ** 2) / noise + 2 * np.trace(A[:, T])

    model = problem.fit_weighted(np.array([weight]))
    found = estimated_risk(problem, model, np.array([weight]))
    found -= estimated_risk(problem, problem.target_model, np.zeros(1))
    assert found == pytest.approx(criterion(A) - criterion(alone), abs=1e-8)


def test_risk_is_unbiased_whatever_the_source():
    """The risk saved, in units of the noise; the designs are fixed."""
    X, y, domain = make_rows(n_target=300, n_source=300)
    T = domain == -1
    mean = X[:, 0] + 0.3 * (domain == 1) * X[:, 1]
    rng = np.random.default_rng(2)
    weights = np.array([0.03])
    learner = LinearRegression(fit_intercept=False)
    gaps = []
    for _ in range(250):
        y = mean + rng.normal(size=len(y))
        problem = make_problem(learner, X, y, domain)
        fits = [problem.target_model, problem.fit_weighted(weights)]
        true = [np.sum((m.predict(X[T]) - mean[T]) ** 2) for m in fits]
        risk = [
            estimated_risk(problem, m, w)
            for m, w in zip(fits, (0 * weights, weights), strict=True)
        ]
        gaps.append([true[1] - true[0], risk[1] - risk[0]])
    true, found = np.transpose(gaps)
    error = np.std(found - true) / np.sqrt(len(true))
    assert abs(np.mean(found - true)) < 4 * error
    assert abs(np.mean(true)) > 10 * error  # where a constant would not do


@pytest.mark.parametrize("shift", [0.4, 0.6])
def test_corrected_weights_are_stationary_where_the_theory_holds(shift):
    """Equal designs, the distance above the noise: R is least at the weights."""
    rng = np.random.default_rng(0)
    X = np.vstack([np.eye(4)] * 60)
    domain = np.repeat([-1, 1, 2], 80)
    y = X @ np.arange(4) + shift * (domain == 1) + rng.normal(size=240)
    learner = LinearRegression(fit_intercept=False)
    model = UOWQ(learner, min_gain=0.0).fit(X, y, sample_domain=domain)
    assert model.scale_ == 1
    problem = make_problem(learner, X, y, domain)
    # one source of the two in the fixed shares, as the correction's floor does not bind
    only = domain != 2
    model.fit(X[only], y[only], sample_domain=domain[only])
    assert 0.01 < model.source_weights_[0] < 0.99
    problem = make_problem(learner, X[only], y[only], domain[only])
    risks = []
    for factor in (0.9, 1.0, 1.1):
        weights = factor * model.source_weights_
        risks.append(estimated_risk(problem, problem.fit_weighted(weights), weights))
    assert risks[1] < min(risks[0], risks[2])


@pytest.mark.parametrize("slope", [0.5, 1.0])
def test_wide_sources_do_no_harm(slope):
    """The theory gives them the target's information, and the free fit follows them."""
    learner = LinearRegression(fit_intercept=False)
    errors = []
    for seed in range(20):
        X, y, domain = make_rows(seed, n_source=200, slope=slope, d=4)
        models = [
            UOWQ(clone(learner), min_gain=None),
            UOWQ(clone(learner)),
        ]
        for model in models:
            model.fit(X, y, sample_domain=domain)
        T = domain == -1
        fits = [learner.fit(X[T], y[T]).coef_]
        fits += [model.estimator_.coef_ for model in models]
        errors.append([np.sum((coef - [1, 0, 0, 0]) ** 2) for coef in fits])
        weights = models[1].scale_ * models[0].source_weights_
        np.testing.assert_allclose(models[1].source_weights_, weights)
    alone, free, checked = np.mean(errors, axis=0)
    assert free > 1.3 * alone
    assert checked < alone


def test_min_gain_is_asked_of_scaled_weights_only():
    X, y, domain = make_rows(width=1.0, slope=0.0)
    learner = LinearRegression()
    kept = UOWQ(learner, min_gain=1e3).fit(X, y, sample_domain=domain)
    free = UOWQ(learner, min_gain=None).fit(X, y, sample_domain=domain)
    assert kept.scale_ == 1
    np.testing.assert_allclose(kept.source_weights_, free.source_weights_)
    X, y, domain = make_rows(n_source=200, slope=0.5, d=4)
    T = domain == -1
    scaled = UOWQ(learner, min_gain=0.0).fit(X, y, sample_domain=domain)
    assert 0 < scaled.scale_ < 1
    alone = UOWQ(learner, min_gain=1e3).fit(X, y, sample_domain=domain)
    assert alone.scale_ == 0
    assert alone.transfer_quantity_ == 0
    np.testing.assert_array_equal(alone.source_weights_, [0])
    expected = LinearRegression().fit(X[T], y[T]).predict(X)
    np.testing.assert_allclose(alone.predict(X), expected)


def test_source_models_count_as_rows_of_the_same_design():
    """Averaged parameters keep n_0 / (n_0 + s) of the target's leverage."""
    X, y, domain = make_rows(width=1.0, slope=0.0)
    T = domain == -1
    target, source = Ridge().fit(X[T], y[T]), Ridge().fit(X[~T], y[~T])
    model = UOWQ(Ridge(), source_models=[source], source_sizes=[100], min_gain=0.0)
    model.fit(X[T], y[T])
    problem = make_problem(Ridge(), X[T], y[T], domain[T])
    problem.averages, problem.source_sizes = True, np.array([100.0])
    root = problem.fisher_root(target)
    s = model.transfer_quantity_
    expected = likelihood_of(target).deviance(model.estimator_, target, X[T], y[T])
    expected += 2 * root.n_parameters(30, power=1) * 30 / (30 + s)
    found = estimated_risk(problem, model.estimator_, model.source_weights_)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("classes", [2, 3])
def test_misleading_classes_are_left_out(classes):
    """Labels turned around in a source of wide features."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(260, 3))
    domain = np.repeat([-1, 1], [60, 200])
    X[domain == 1] *= 5
    score = np.where(domain == 1, -1, 2) * X[:, 0] + rng.logistic(size=260)
    y = np.digitize(score, [0.0] if classes == 2 else [-1.0, 1.0])
    model = UOWQ(LogisticRegression()).fit(X, y, sample_domain=domain)
    free = UOWQ(LogisticRegression(), min_gain=None).fit(X, y, sample_domain=domain)
    assert model.scale_ < 1
    X_test = rng.normal(size=(2000, 3))
    score = 2 * X_test[:, 0] + rng.logistic(size=2000)
    y_test = np.digitize(score, [0.0] if classes == 2 else [-1.0, 1.0])
    assert model.score(X_test, y_test) > free.score(X_test, y_test)


def test_poisson_penalty_grows_with_the_total_weight():
    """The learner averages its loss; a copy of the target changes nothing at all."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2))
    y = rng.poisson(np.exp(X[:, 0] / 2)).astype(float)
    twice = np.vstack([X, X]), np.concatenate([y, y]), np.repeat([-1, 1], 40)
    problem = make_problem(PoissonRegressor(alpha=0.5, tol=1e-8), *twice)
    ones = np.ones(1)
    alone = estimated_risk(problem, problem.target_model, 0 * ones)
    copied = estimated_risk(problem, problem.fit_weighted(ones), ones)
    assert copied == pytest.approx(alone / 2, rel=1e-4)


def test_single_precision_decides_where_risks_are_apart(monkeypatch):
    rng = np.random.default_rng(0)
    root, source = (random_root(rng, n, 3, True, 5.0, d=600) for n in (12, 160))
    sizes = np.array([12.0, 40.0])
    exact, rounded = (leverage([root, source], sizes, 5.0, room=r) for r in (0.0, 5.0))
    assert exact != rounded == pytest.approx(exact, rel=1e-4)
    values, rooms = iter([3.0, 3.4, 3.2, 3.1, 2.0]), []

    def risk(*args, room=0.0):
        rooms.append(room)
        return next(values)

    monkeypatch.setattr(_estimated_risk, "estimated_risk", risk)
    first, second = (_estimated_risk._Risk(None, None, k) for k in range(2))
    assert not any(risk_.room == 0 for risk_ in (first, second))
    assert first.exceeds(second)  # too close: both are computed once more
    assert rooms[2:] == [0.0, 0.0] and first.value == 3.2
    third = _estimated_risk._Risk(None, None, 2)
    assert first.exceeds(third) and len(rooms) == 5
