"""The dual Newton method for low-rank quadratic programs against interior points."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sktransfer._solvers import dual_newton
from sktransfer._solvers.box_qp import LowRankForm, solve_box_qp
from sktransfer._solvers.dual_newton import (
    Columns,
    frank_wolfe_gap,
    mean_diagonal,
    solve_dual_newton,
)
from sktransfer._solvers.kernels import order_free_sample
from sktransfer._solvers.low_rank import fit_landmarks


def problem(n=300, rank=12, diagonal=0.5, upper=20.0, eps=0.3, seed=0, dtype=float):
    rng = np.random.default_rng(seed)
    G = np.asfortranarray(rng.normal(size=(rank, n)) / np.sqrt(rank), dtype=dtype)
    c = n * rng.normal(size=rank) * 0.2
    e = np.full(n, diagonal) * rng.random(n)
    return Columns(G, c, e, upper, (n * (1 - eps), n * (1 + eps)))


def value(columns, b):
    y = columns.G.astype(float) @ b - columns.c
    return 0.5 * (y @ y + columns.e @ b**2 - columns.c @ columns.c)


@pytest.mark.parametrize("diagonal", [1.0, 1e-3, 0.0])
@pytest.mark.parametrize("upper, eps", [(20.0, 0.3), (1.5, 0.01), (1000.0, 0.0)])
def test_agrees_with_interior_points(diagonal, upper, eps):
    columns = problem(diagonal=diagonal, upper=upper, eps=eps)
    b, n_iter = solve_dual_newton(columns, tol=1e-8, max_iter=200)
    assert n_iter > 0
    assert b.min() >= 0 and b.max() <= upper
    low, high = columns.bounds
    assert low * (1 - 1e-9) <= b.sum() <= high * (1 + 1e-9)
    assert frank_wolfe_gap(columns, b) <= 1e-8
    form = LowRankForm(columns.G, columns.e)
    _, info = solve_box_qp(
        form,
        columns.G.T @ columns.c,
        upper=upper,
        sum_bounds=columns.bounds,
        tol=1e-7,
    )
    assert info.converged
    assert_allclose(value(columns, b), info.objective, rtol=1e-6)


def test_start_from_a_sample_and_sampled_preconditioner(monkeypatch):
    whole = problem(n=3000, rank=8)
    b, _ = solve_dual_newton(whole, tol=1e-9, max_iter=100)
    monkeypatch.setattr(dual_newton, "_COARSE", 500)
    monkeypatch.setattr(dual_newton, "_SAMPLE", 10)
    other, n_iter = solve_dual_newton(whole, tol=1e-9, max_iter=100)
    assert frank_wolfe_gap(whole, other) <= 1e-9
    assert_allclose(value(whole, other), value(whole, b), rtol=2e-9)
    # the start is close, so few steps are left
    assert n_iter <= 12


def test_float32_factor_is_solved_to_the_same_gap():
    columns = problem(n=2000, rank=20, dtype=np.float32)
    b, _ = solve_dual_newton(columns, tol=1e-7, max_iter=100)
    assert frank_wolfe_gap(columns, b) <= 1e-7
    high = Columns(
        columns.G.astype(np.float64), columns.c, columns.e, 20.0, columns.bounds
    )
    assert frank_wolfe_gap(high, b) <= 2e-7


def test_few_steps_leave_a_feasible_point_with_its_gap():
    columns = problem()
    b, n_iter = solve_dual_newton(columns, tol=1e-12, max_iter=1)
    assert n_iter <= 1
    assert b.min() >= 0 and b.max() <= columns.upper
    assert frank_wolfe_gap(columns, b) > 1e-12


def test_products_in_blocks(monkeypatch):
    monkeypatch.setattr(dual_newton, "_BLOCK", 7)
    columns = problem(n=50)
    rng = np.random.default_rng(0)
    b, y = rng.random(50), rng.random(12)
    assert_allclose(columns.forward(b), columns.G @ b)
    assert_allclose(columns.backward(y), columns.G.T @ y)
    assert_allclose(columns.normal(y, b), (columns.G * b) @ columns.G.T @ y)
    diagonal = np.diag(columns.G.T @ columns.G) + columns.e
    assert_allclose(mean_diagonal(columns), diagonal.mean())


def test_samples_and_landmarks_do_not_depend_on_the_order_of_rows():
    rng = np.random.default_rng(0)
    X, order = rng.normal(size=(200, 3)), rng.permutation(200)
    plain, shuffled = X[order_free_sample(X, 40, 0)], X[order]
    assert_allclose(shuffled[order_free_sample(shuffled, 40, 0)], plain)
    for candidates in (50, 4000):
        a = fit_landmarks(X, 15, candidates=candidates, gamma=0.3)
        b = fit_landmarks(X[order], 15, candidates=candidates, gamma=0.3)
        assert_allclose(b.landmarks, a.landmarks)
    assert fit_landmarks(np.ones((30, 2)), 10, gamma=0.3).rank == 1
