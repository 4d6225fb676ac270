"""MultiTaskRelationship: the sentences of its specification, and cvxpy."""

import cvxpy as cp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    Ridge,
)
from sklearn.svm import LinearSVC

from sktransfer._solvers import task_relationship
from sktransfer._solvers.task_relationship import GlmRows, solve_task_relationship
from sktransfer.exceptions import DomainError
from sktransfer.multisource import MultiTaskRelationship


def make_data(rng, slopes, n=30, classify=False, noise=1.0):
    """Draw rows of tasks -1, -2, ... with the given slopes."""
    slopes = np.asarray(slopes, dtype=float)
    task = np.repeat(-1 - np.arange(len(slopes)), n)
    X = rng.normal(size=(len(task), slopes.shape[1]))
    y = np.sum(X * slopes[-1 - task], axis=1) + 0.3
    if classify:
        return X, (y + rng.logistic(size=len(y)) > 0).astype(int), task
    return X, y + noise * rng.normal(size=len(y)), task


RELATED = [[1, 2, 0, -1], [1.1, 1.8, 0.1, -1], [-1, -2, 0, 1], [0, 0, 2, 0.5]]


@pytest.mark.parametrize("learner", [Ridge(2.0), LogisticRegression(C=0.5)])
def test_without_relation_they_are_separate_fits(learner, rng):
    """l2 = 0: separate ridges."""
    X, y, task = make_data(
        rng, RELATED, classify=isinstance(learner, LogisticRegression)
    )
    learner.set_params(tol=1e-10)
    model = MultiTaskRelationship(learner, penalty=0).fit(X, y, sample_domain=task)
    for t, fitted in zip(model.task_ids_, model.estimators_, strict=True):
        alone = learner.fit(X[task == t], y[task == t])
        assert_allclose(np.ravel(fitted.coef_), np.ravel(alone.coef_), rtol=1e-4)
        assert_allclose(fitted.intercept_, alone.intercept_, rtol=1e-3, atol=1e-5)


def test_with_a_fixed_equal_relation_it_is_a_ridge(rng):
    """Omega = I/m fixed: ridge with l1 + l2 m."""
    X, y, task = make_data(rng, RELATED)
    model = MultiTaskRelationship(
        Ridge(2.0), penalty=0.1, task_covariance=np.eye(4) / 4, tol=1e-10
    ).fit(X, y, sample_domain=task)
    for t, coef in zip(model.task_ids_, model.coef_, strict=True):
        alone = Ridge(2.0 + 30 * 0.1 * 4).fit(X[task == t], y[task == t])
        assert_allclose(coef, alone.coef_, rtol=1e-6)
    assert_allclose(model.task_covariance_, np.eye(4) / 4)


def test_identical_tasks_have_equal_entries(rng):
    """Identical tasks: Omega to 11'/m."""
    X, y, _ = make_data(rng, RELATED[:1], n=40)
    task = np.repeat([-1, 1, 2], 40)
    model = MultiTaskRelationship(Ridge(), penalty=0.1, smoothing=1e-8, tol=1e-6)
    model.fit(np.tile(X, (3, 1)), np.tile(y, 3), sample_domain=task)
    assert_allclose(model.task_covariance_, 1 / 3, atol=1e-3)
    assert_allclose(model.task_correlation_, 1.0, atol=1e-2)
    assert_allclose(model.coef_, model.coef_[[0, 0, 0]], atol=1e-6)


@pytest.mark.parametrize("learner", [Ridge(), LinearRegression(), LogisticRegression()])
def test_the_objective_never_rises(learner, rng):
    """Objective never rises: the smoothed one."""
    X, y, task = make_data(
        rng, RELATED, classify=isinstance(learner, LogisticRegression)
    )
    model = MultiTaskRelationship(learner, penalty=0.05).fit(X, y, sample_domain=task)
    path = model.objective_path_
    assert len(path) == model.n_iter_ + 1
    assert (np.diff(path) <= 1e-12 * path[0]).all()
    assert path[-1] < path[0]
    assert model.kkt_residual_ <= model.tol


def test_conflicting_tasks_have_negative_entries(rng):
    """Negative entries = conflicting tasks; the trace is 1."""
    X, y, task = make_data(rng, RELATED)
    model = MultiTaskRelationship(Ridge(), penalty=0.1).fit(X, y, sample_domain=task)
    R = model.task_correlation_
    assert R[0, 1] > 0.8
    assert R[0, 2] < -0.8
    assert R[1, 2] < -0.8
    assert abs(R[0, 3]) < 0.6
    assert np.trace(model.task_covariance_) == pytest.approx(1)
    assert np.linalg.eigvalsh(model.task_covariance_)[0] > 0


def _reference(X, y, task, ids, ridge, penalty, loss):
    """Solve the program without smoothing by cvxpy, the squared trace norm."""
    W, b = cp.Variable((len(ids), X.shape[1])), cp.Variable(len(ids))
    value = penalty / 2 * cp.square(cp.norm(W, "nuc"))
    for i, t in enumerate(ids):
        own = task == t
        eta = X[own] @ W[i] + b[i]
        n = own.sum()
        if loss == "squared":
            value += cp.sum_squares(eta - y[own]) / 2 / n
        else:
            value += (cp.sum(cp.logistic(eta)) - y[own] @ eta) / n
        value += ridge / 2 / n * cp.sum_squares(W[i])
    problem = cp.Problem(cp.Minimize(value))
    problem.solve(solver=cp.CLARABEL)
    return W.value, b.value, problem.value


@pytest.mark.parametrize("kind", ["squared", "log"])
def test_it_agrees_with_an_independent_solver(kind, rng):
    classify = kind == "log"
    X, y, task = make_data(rng, RELATED, n=25, classify=classify)
    learner = LogisticRegression(C=0.5) if classify else Ridge(2.0)
    model = MultiTaskRelationship(
        learner, penalty=0.05, smoothing=1e-6, tol=1e-4, max_iter=1000
    ).fit(X, y, sample_domain=task)
    W, b, value = _reference(X, y, task, model.task_ids_, 2.0, 0.05, kind)
    assert model.objective_path_[-1] == pytest.approx(value, rel=2e-3)
    assert_allclose(model.coef_, W, atol=5e-3)
    assert_allclose(model.intercept_, b, atol=5e-3)
    U, s, _ = np.linalg.svd(W)
    assert_allclose(model.task_covariance_, U * s / s.sum() @ U.T, atol=5e-3)


def test_several_classes(rng):
    """The relation is of tasks: it is shared by the logits of the classes."""
    X = rng.normal(size=(180, 3))
    task = np.repeat([-1, -2, 1], 60)
    sign = np.where(task == 1, -1.0, 1.0)
    logits = 2 * X * sign[:, None] + rng.gumbel(size=X.shape)
    y = np.array(["a", "b", "c"])[logits.argmax(axis=1)]
    model = MultiTaskRelationship(LogisticRegression(), penalty=0.02, tol=1e-6)
    model.fit(X, y, sample_domain=task)
    assert model.coef_.shape == (3, 3, 3)
    assert model.task_correlation_[0, 1] > 0.5
    assert model.task_correlation_[0, 2] < -0.5
    proba = model.predict_proba(X, sample_domain=task)
    assert_allclose(proba.sum(axis=1), 1)
    assert model.score(X, y, sample_domain=task) > 0.7
    loss = -np.mean(np.log(proba[np.arange(180), np.searchsorted(model.classes_, y)]))
    assert 3 * loss < model.objective_path_[-1]
    none = MultiTaskRelationship(LogisticRegression(), penalty=0)
    none.fit(X, y, sample_domain=task)
    alone = LogisticRegression().fit(X[task == 1], y[task == 1])
    assert_allclose(none.coef_[2], alone.coef_, atol=1e-3)


def test_conjugate_gradients_and_the_direct_solution_agree(rng, monkeypatch):
    X, y, task = make_data(rng, RELATED, classify=True)
    model = MultiTaskRelationship(LogisticRegression(), penalty=0.05, tol=1e-6)
    direct = model.fit(X, y, sample_domain=task).coef_
    monkeypatch.setattr(task_relationship, "_DIRECT", 0)
    assert_allclose(model.fit(X, y, sample_domain=task).coef_, direct, atol=1e-5)


def test_related_tasks_help_each_other(rng):
    slopes = np.outer(rng.choice([-1, 1], size=12), rng.normal(size=10))
    X, y, task = make_data(rng, slopes, n=12, noise=1.0)
    Z, v, other = make_data(rng, slopes, n=200, noise=0.0)
    y = y - 0.3
    related = MultiTaskRelationship(Ridge()).fit(X, y, sample_domain=task)
    alone = MultiTaskRelationship(Ridge(), penalty=0).fit(X, y, sample_domain=task)
    error = [
        np.mean((m.predict(Z, sample_domain=other) - v + 0.3) ** 2)
        for m in (related, alone)
    ]
    assert error[0] < 0.5 * error[1]
    assert related.penalty_ in related.cv_losses_
    assert min(related.cv_losses_.values()) == related.cv_losses_[related.penalty_]


def test_weights_count_rows_and_order_and_ids_do_not_matter(rng, routing):
    X, y, task = make_data(rng, RELATED)
    weight = rng.randint(0, 3, size=len(y)).astype(float)
    many = np.repeat(np.arange(len(y)), weight.astype(int))
    learner = Ridge().set_fit_request(sample_weight=True)
    model = MultiTaskRelationship(learner, penalty=0.1)
    weighted = model.fit(X, y, sample_domain=task, sample_weight=weight).coef_
    assert_allclose(
        model.fit(X[many], y[many], sample_domain=task[many]).coef_, weighted
    )
    auto = MultiTaskRelationship(Ridge())
    expected = auto.fit(X, y, sample_domain=task).predict(X, sample_domain=task)
    order = rng.permutation(len(y))
    ids = np.where(task < -1, 7 + task, task)
    auto.fit(X[order], y[order], sample_domain=ids[order])
    assert_allclose(auto.predict(X, sample_domain=ids), expected, atol=1e-4)


def test_groups_stay_together(rng):
    X, y, task = make_data(rng, RELATED, n=10)
    X, y, task = (np.repeat(a, 4, axis=0) for a in (X, y, task))
    groups = np.repeat(np.arange(40), 4)
    y = y + np.repeat(rng.normal(size=40) * 3, 4)
    grouped = MultiTaskRelationship(Ridge(1e-6)).fit(
        X, y, sample_domain=task, groups=groups
    )
    rows = MultiTaskRelationship(Ridge(1e-6)).fit(X, y, sample_domain=task)
    # copies of a unit on both sides make the held-out loss too small
    assert min(grouped.cv_losses_.values()) > 1.2 * min(rows.cv_losses_.values())


def test_a_task_of_one_class_or_one_row(rng):
    X, y, task = make_data(rng, RELATED, classify=True)
    y[task == -2] = 1
    kept = (task != -3) | (np.cumsum(task == -3) == 1)
    model = MultiTaskRelationship(LogisticRegression())
    model.fit(X[kept], y[kept], sample_domain=task[kept])
    assert (model.predict(X[task == -2], sample_domain=-2) == 1).all()
    assert np.isfinite(model.coef_).all()


def test_unseen_domains_get_the_mean_of_the_tasks(rng):
    X, y, task = make_data(rng, RELATED)
    model = MultiTaskRelationship(Ridge(), penalty=0.1).fit(X, y, sample_domain=task)
    expected = np.mean([m.predict(X) for m in model.estimators_], axis=0)
    assert_allclose(model.predict(X, sample_domain=99), expected)
    label = (y > 0).astype(int)
    classifier = MultiTaskRelationship(LogisticRegression(), penalty=0.1)
    classifier.fit(X, label, sample_domain=task)
    with pytest.raises(DomainError, match="were not in fit"):
        classifier.decision_function(X, sample_domain=99)


@pytest.mark.parametrize(
    ("learner", "match"),
    [
        (LinearSVC(), "must be LinearRegression, Ridge or LogisticRegression"),
        (LogisticRegressionCV(), "must be LinearRegression"),
        (LogisticRegression(class_weight="balanced"), "class_weight"),
        (LogisticRegression(l1_ratio=0.5, solver="saga"), "L1 penalty"),
        (Ridge(alpha=[1.0, 2.0]), "alpha for each output"),
        (Ridge(positive=True), "positive=True"),
    ],
)
def test_learners_that_cannot_serve_are_named(learner, match, rng):
    X, y, task = make_data(rng, RELATED, classify=True)
    with pytest.raises((TypeError, ValueError), match=match):
        MultiTaskRelationship(learner).fit(X, y, sample_domain=task)


def test_a_bad_covariance_is_named(rng):
    X, y, task = make_data(rng, RELATED)
    for omega, match in (
        (np.eye(3), "there are 4 tasks"),
        (-np.eye(4), "positive definite"),
    ):
        with pytest.raises(ValueError, match=match):
            MultiTaskRelationship(Ridge(), task_covariance=omega).fit(
                X, y, sample_domain=task
            )


def test_the_solver_stops_where_the_gradient_is_small(rng):
    X, y, task = make_data(rng, RELATED)
    tasks = [
        GlmRows(
            "gaussian", X[task == t], y[task == t][:, None], np.full(30, 1 / 30), 0.0
        )
        for t in (-1, -2, -3, -4)
    ]
    options = {"n_intercepts": 0, "smoothing": 1e-3}
    theta, omega, info = solve_task_relationship(tasks, 0.1, tol=1e-9, **options)
    assert info.converged
    # the gradient of the smoothed program by finite differences
    epsilon = 1e-3 * np.mean(
        [
            np.sum(
                Ridge(30 * 0.4, fit_intercept=False).fit(t.design, t.goal[:, 0]).coef_
                ** 2
            )
            for t in tasks
        ]
    )

    def program(W):
        loss = sum(
            np.mean((t.design @ w - t.goal[:, 0]) ** 2) / 2
            for t, w in zip(tasks, W, strict=True)
        )
        return loss + 0.05 * np.sqrt(np.linalg.eigvalsh(W @ W.T) + epsilon).sum() ** 2

    W = theta[:, 0]
    assert program(W) == pytest.approx(info.objective[-1])
    for _ in range(5):
        move = 1e-4 * rng.normal(size=W.shape)
        assert program(W + move) > program(W)
        slope = (program(W + move) - program(W - move)) / 2
        assert abs(slope) < 1e-9
    few = solve_task_relationship(tasks, 0.1, tol=1e-9, max_iter=1, **options)[2]
    assert not few.converged
    assert_allclose(np.trace(omega), 1)
