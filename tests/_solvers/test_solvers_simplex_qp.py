"""The simplex program: reference, KKT conditions and degenerate data."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sktransfer._solvers.simplex_qp import least_norm, solve_simplex_qp


@pytest.mark.parametrize("k, rank", [(2, 2), (5, 2), (20, 40), (100, 30), (200, 300)])
def test_agrees_with_cvxpy(k, rank):
    import cvxpy as cp

    rng = np.random.default_rng(k)
    A, c = rng.normal(size=(rank, k)), rng.normal(size=k)
    a, info = solve_simplex_qp(A.T @ A, c)
    x = cp.Variable(k)
    problem = cp.Problem(
        cp.Minimize(0.5 * cp.sum_squares(A @ x) + c @ x), [x >= 0, cp.sum(x) == 1]
    )
    problem.solve(solver=cp.CLARABEL)
    assert info.converged
    assert a.min() >= 0
    assert_allclose(a.sum(), 1.0)
    assert_allclose(info.objective, 0.5 * np.sum((A @ a) ** 2) + c @ a)
    assert info.objective <= problem.value + 1e-7 * abs(problem.value)


def test_kkt_residual_is_zero_only_at_the_optimum():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(30, 10))
    Q = A.T @ A
    a, info = solve_simplex_qp(Q)
    gradient = Q @ a
    assert np.ptp(gradient[a > 0]) < 1e-8
    assert np.all(gradient >= gradient[a > 0].mean() - 1e-8)
    _, early = solve_simplex_qp(Q, max_iter=1)
    assert not early.converged and early.kkt_residual > info.kkt_residual


def test_projection_on_a_hull_that_holds_the_point_is_exact():
    rng = np.random.default_rng(0)
    F = rng.normal(size=(50, 4))
    truth = np.array([0.1, 0.0, 0.6, 0.3])
    h = F @ truth
    a, _ = solve_simplex_qp(F.T @ F, -F.T @ h)
    assert_allclose(a, truth, atol=1e-8)


def test_constants_and_scale_change_nothing():
    rng = np.random.default_rng(1)
    A, c = rng.normal(size=(8, 6)), rng.normal(size=6)
    a, _ = solve_simplex_qp(A.T @ A, c)
    assert_allclose(solve_simplex_qp(A.T @ A, c + 1e3)[0], a, atol=1e-7)
    assert_allclose(solve_simplex_qp(1e9 * A.T @ A, 1e9 * c)[0], a, atol=1e-7)


def test_degenerate_programs():
    assert_allclose(solve_simplex_qp(np.zeros((3, 3)))[0], 1 / 3)
    assert_allclose(solve_simplex_qp(np.zeros((2, 2)), np.array([1.0, 0.0]))[0], [0, 1])
    assert_allclose(solve_simplex_qp(np.ones((1, 1)))[0], [1.0])
    twins = np.ones((4, 4))
    a, info = solve_simplex_qp(twins)
    assert info.converged
    assert_allclose(a.sum(), 1.0)
    with pytest.raises(ValueError, match="positive semidefinite"):
        solve_simplex_qp(-np.eye(3))
    with pytest.raises(ValueError, match="finite"):
        solve_simplex_qp(np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match='"auto" or "cvxpy"'):
        solve_simplex_qp(np.eye(2), solver="CLARABEL")


def programs(kind, rng, n=8):
    """Yield matrices and linear terms of one kind."""
    for _ in range(n):
        k = int(rng.integers(2, 13))
        A = rng.normal(size=(30, k))
        if kind == "random":
            yield A.T @ A, rng.normal(size=k)
        elif kind == "low rank":
            yield A[:3].T @ A[:3], rng.normal(size=k)
        elif kind == "twins":
            A, c = np.tile(A[:5], 2), np.tile(rng.normal(size=k), 2)
            yield A.T @ A, c
        elif kind == "inside the hull":
            A = A[:3]
            yield A.T @ A, -A.T @ (A @ rng.dirichlet(np.ones(k)))
        elif kind == "multiplier 0":
            truth = np.where(np.arange(k) < k // 2, 0.0, rng.dirichlet(np.ones(k)))
            yield A.T @ A, -A.T @ (A @ truth / truth.sum())
        elif kind == "scales":
            A = A * 10.0 ** rng.integers(-3, 4, size=k)
            yield A.T @ A, -A.T @ rng.normal(size=30)
        elif kind == "vertex":
            yield A.T @ A, np.where(np.arange(k) == 0, -1e3, 0.0)
        else:
            yield np.zeros((k, k)), (np.arange(k) > k // 2).astype(float)


KINDS = [
    "random", "low rank", "twins", "inside the hull", "multiplier 0", "scales",
    "vertex", "no curvature",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_both_solvers_agree_to_1e_8(kind):
    for Q, c in programs(kind, np.random.default_rng(len(kind))):
        a, info = solve_simplex_qp(Q, c)
        b, other = solve_simplex_qp(Q, c, solver="cvxpy")
        assert info.converged and other.converged
        assert_allclose(a, b, atol=1e-8)
        assert_allclose(info.objective, other.objective, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("solver", ["auto", "cvxpy"])
@pytest.mark.parametrize("kind", KINDS)
def test_order_of_the_weights_does_not_matter(kind, solver):
    rng = np.random.default_rng(3)
    for Q, c in programs(kind, rng, n=4):
        a, _ = solve_simplex_qp(Q, c, solver=solver)
        order = rng.permutation(len(c))
        b, _ = solve_simplex_qp(Q[np.ix_(order, order)], c[order], solver=solver)
        assert_allclose(b, a[order], atol=1e-8)


@pytest.mark.parametrize("solver", ["auto", "cvxpy"])
def test_equal_models_get_equal_weights(solver):
    rng = np.random.default_rng(4)
    F = rng.normal(size=(30, 3))[:, [0, 1, 2, 0, 0]]
    a, _ = solve_simplex_qp(F.T @ F, -F.T @ F[:, 0], solver=solver)
    assert_allclose(a, [1 / 3, 0, 0, 1 / 3, 1 / 3], atol=1e-10)


def test_least_norm_keeps_equations_and_bounds():
    x = np.array([0.7, 0.3, 0.0, 1.0])
    equations = np.array([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 1.0]])
    assert_allclose(least_norm(x, equations), [1 / 3, 1 / 3, 1 / 3, 1.0])
    upper = np.array([1.0, 0.2, 1.0, 1.0])
    moved = least_norm(np.array([0.8, 0.2, 0.0, 1.0]), equations, upper)
    assert_allclose(moved, [0.4, 0.2, 0.4, 1.0])
    one = least_norm(np.array([0.5, 0.0, 0.5]), np.array([[1.0, 1.0, 0.0]]))
    assert_allclose(one, [0.25, 0.25, 0.0])
