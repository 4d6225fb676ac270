"""A linear function and a weighted norm on the simplex."""

import cvxpy as cp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from sktransfer._solvers.norm_simplex import solve_norm_simplex


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("strength", [0.01, 0.3, 3.0])
def test_it_agrees_with_an_independent_solver_and_certifies_itself(seed, strength):
    rng = np.random.default_rng(seed)
    k = int(rng.integers(1, 9))
    losses = rng.normal(size=k) * 10.0 ** rng.integers(-2, 3)
    d = rng.uniform(0.1, 5, size=k)
    a, info = solve_norm_simplex(losses, strength, d)
    x = cp.Variable(k, nonneg=True)
    value = losses @ x + strength * cp.norm(cp.multiply(np.sqrt(d), x))
    problem = cp.Problem(cp.Minimize(value), [cp.sum(x) == 1])
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11)
    assert info.objective == pytest.approx(problem.value, rel=1e-7, abs=1e-8)
    assert info.gap < 1e-12
    assert a.min() >= 0
    assert a.sum() == pytest.approx(1)


def test_limits():
    losses = np.array([0.3, 0.1, 0.1, 0.9])
    assert_allclose(solve_norm_simplex(losses, 0.0)[0], [0, 0.5, 0.5, 0])
    assert_allclose(solve_norm_simplex(losses, 1e9)[0], 0.25, atol=1e-8)
    curvature = 1 / np.array([1.0, 2.0, 3.0, 4.0])
    spread = solve_norm_simplex(losses, 1e9, curvature)[0]
    assert_allclose(spread, [0.1, 0.2, 0.3, 0.4], atol=1e-8)
    assert_allclose(solve_norm_simplex(np.zeros(3), 0.0)[0], 1 / 3)


def test_a_constant_added_to_the_losses_changes_nothing():
    losses = np.array([0.3, 0.1, 0.2])
    a, b = (solve_norm_simplex(losses + add, 0.2)[0] for add in (0, 1e3))
    assert_allclose(a, b, atol=1e-9)


def test_a_worse_weight_has_a_gap():
    from sktransfer._solvers.norm_simplex import _gap

    losses, d = np.array([0.0, 1.0]), np.ones(2)
    assert _gap(losses, 0.5, d, np.array([0.5, 0.5])) > 0.1
