"""The simplex program: reference, KKT conditions and degenerate data."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sktransfer._solvers.simplex_qp import solve_simplex_qp


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
