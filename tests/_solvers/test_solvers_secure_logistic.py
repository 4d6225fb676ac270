import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import logsumexp

from sktransfer._solvers.secure_logistic import SecureProblem, source_score_weights


def make_problem(n_classes=2, n=18, n_unlabeled=0, seed=0, **options):
    rng = np.random.RandomState(seed)
    k = 1 if n_classes == 2 else n_classes
    X, weight = rng.normal(size=(n, 3)), rng.uniform(0.5, 2.0, n)
    codes, offset = rng.randint(n_classes, size=n), rng.normal(size=(n, k))
    unlabeled = None
    if n_unlabeled:
        unlabeled = (
            rng.normal(size=(n_unlabeled, 3)),
            rng.normal(size=(n_unlabeled, k)),
            rng.uniform(0.1, 0.5, n_unlabeled),
        )
    data = X, codes, offset, weight
    return SecureProblem(*data, unlabeled=unlabeled, **options), data, unlabeled


def all_logits(eta):
    return np.column_stack([np.zeros(len(eta)), eta]) if eta.shape[1] == 1 else eta


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("n_unlabeled", [0, 8])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_the_solution_is_that_of_cvxpy_and_its_gap_is_closed(
    n_classes, n_unlabeled, fit_intercept
):
    import cvxpy as cp

    problem, (X, codes, offset, weight), unlabeled = make_problem(
        n_classes, n_unlabeled=n_unlabeled, fit_intercept=fit_intercept
    )
    theta, info = problem.solve(0.7)
    assert info.converged and info.gap <= 1e-8 * problem.total
    k = offset.shape[1]
    B, b = cp.Variable((k, 3)), cp.Variable((1, k))
    goal = 0.35 * cp.sum_squares(B)

    def logits(rows, known):
        eta = known + rows @ B.T + np.ones((len(rows), 1)) @ b
        if k > 1:
            return eta
        return cp.hstack([np.zeros((len(rows), 1)), eta])

    eta = logits(X, offset)
    hit = np.eye(n_classes)[codes]
    goal += weight @ (cp.log_sum_exp(eta, axis=1) - cp.sum(cp.multiply(hit, eta), 1))
    s = all_logits(offset)
    start = weight @ (logsumexp(s, axis=1) - s[np.arange(len(s)), codes])
    if unlabeled:
        rows, known, pull = unlabeled
        eta, s = logits(rows, known), all_logits(known)
        free = cp.log_sum_exp(eta, axis=1) - logsumexp(s, axis=1)
        goal += pull @ (free + cp.max(s - eta, axis=1))
    constraints = [] if fit_intercept else [b == 0]
    found = cp.Problem(cp.Minimize(goal), constraints).solve(solver=cp.CLARABEL)
    assert info.value == pytest.approx(found - start, abs=1e-6)
    if k == 1 or not fit_intercept:  # else intercepts are free up to a constant
        assert_allclose(theta[:, :3], B.value, atol=2e-4)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_the_largest_relative_loss_is_never_negative(n_classes):
    """max_y RES >= 0, with equality only at h = s."""
    problem, _, _ = make_problem(n_classes, n_unlabeled=6)
    rng = np.random.RandomState(1)
    for _ in range(20):
        theta = rng.normal(size=(problem.k, 4))
        assert (problem._largest(theta) > 0).all()
    assert_allclose(problem._largest(0 * theta), 0, atol=1e-12)
    if n_classes > 2:  # a constant in the logits is no move
        assert_allclose(problem._largest(np.ones_like(theta)), 0, atol=1e-12)


def test_a_strong_pull_holds_the_fit_at_the_source():
    problem, _, (rows, known, pull) = make_problem(n_unlabeled=12)
    strong = SecureProblem(
        problem.X[:, :3], problem.goal[:, 0].astype(int), problem.offset,
        problem.weight, unlabeled=(rows, known, 1e3 * pull),
    )  # fmt: skip
    theta, info = strong.solve(0.1)
    assert_allclose(theta, 0, atol=1e-6)
    assert -1e-6 < info.value <= 0


@pytest.mark.parametrize("n_classes", [2, 3])
def test_left_out_predictors_are_close_to_those_of_fits(n_classes):
    problem, _, _ = make_problem(n_classes, n=40)
    theta, _ = problem.solve(8.0)
    for units in (None, np.arange(40) // 2):
        fast, slow = problem.left_out(theta, 8.0, units), problem.refitted(8.0, units)
        inside = problem.offset + problem.X @ theta.T
        assert np.abs(fast - slow).max() < 0.15 * np.abs(slow - inside).max()


def test_a_sample_of_weight_2_is_two_samples():
    _, (X, codes, offset, _), _ = make_problem(3)
    weight = np.tile([1.0, 2.0, 3.0], 6)
    rows = np.repeat(np.arange(18), weight.astype(int))
    one = SecureProblem(X, codes, offset, weight)
    two = SecureProblem(X[rows], codes[rows], offset[rows], np.ones(len(rows)))
    thetas = [problem.solve(2.0)[0] for problem in (one, two)]
    assert_allclose(*thetas, atol=1e-7)
    left = [p.left_out(t, 2.0) for p, t in zip((one, two), thetas, strict=True)]
    assert_allclose(left[0][rows], left[1], atol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_source_weights_are_those_of_cvxpy(n_classes):
    import cvxpy as cp

    rng = np.random.RandomState(0)
    k = 1 if n_classes == 2 else n_classes
    n = 25
    codes = rng.randint(n_classes, size=n)
    hit = (codes[:, None] == (np.arange(1, 2) if k == 1 else np.arange(k))) * 2.0 - 1
    scores = np.stack([a * hit + rng.normal(size=(n, k)) for a in (0.8, 0.3, -0.5)])
    weight = rng.uniform(0.5, 2.0, n)
    beta, gap = source_score_weights(scores, codes, weight)
    assert gap <= 1e-9
    b = cp.Variable(3, nonneg=True)
    eta = sum(b[j] * scores[j] for j in range(3))
    every = eta if k > 1 else cp.hstack([np.zeros((n, 1)), eta])
    losses = cp.log_sum_exp(every, axis=1) - cp.sum(
        cp.multiply(np.eye(n_classes)[codes], every), 1
    )
    total = weight.sum()
    off = cp.sum(cp.square(eta - scores.mean(axis=0)), axis=1)
    goal = (total - 1) / total * (weight @ losses) + weight @ off / (2 * total)
    cp.Problem(cp.Minimize(goal), [cp.sum(b) <= 1]).solve(solver=cp.CLARABEL)
    assert_allclose(beta, b.value, atol=1e-4)
    assert beta[2] == pytest.approx(0, abs=1e-6)


def test_of_one_sample_the_source_weights_are_equal():
    scores = np.random.RandomState(0).normal(size=(4, 1, 3))
    beta, _ = source_score_weights(scores, np.array([1]), np.ones(1))
    assert_allclose(np.tensordot(beta, scores, 1), scores.mean(axis=0), atol=1e-6)
