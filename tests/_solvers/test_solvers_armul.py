"""The ARMUL program: certificate, exactness at the center, agreement with cvxpy."""

import cvxpy as cp
import numpy as np
import pytest

from sktransfer._solvers.armul import solve_armul, solve_task


def _tasks(rng, K=5, d=4, outlier=0.0, rows=(5, 40)):
    H, m, sizes = [], [], rng.randint(*rows, size=K)
    for k, n in enumerate(sizes):
        X = rng.normal(size=(n, d))
        beta = 1 + 0.3 * rng.normal(size=d) + outlier * (k == 0)
        y = X @ beta + rng.normal(size=n)
        H.append(X.T @ X / n)
        m.append(X.T @ y / n)
    return np.array(H), np.array(m), sizes.astype(float)


def _objective(theta, g, H, m, sizes, lams):
    return sum(
        n * (0.5 * t @ h @ t - v @ t + lam * np.linalg.norm(t - g))
        for t, h, v, n, lam in zip(theta, H, m, sizes, lams, strict=True)
    )


@pytest.mark.parametrize("rows", [(5, 40), (2, 4)])  # of full rank, and singular
@pytest.mark.parametrize("constant", [0.1, 0.5, 2.0, 20.0])
def test_agrees_with_cvxpy(rng, rows, constant):
    H, m, sizes = _tasks(rng, outlier=4.0, rows=rows)
    lams = constant * np.sqrt(4 / sizes)
    theta, g, info = solve_armul(H, m, sizes, lams)
    assert info.converged
    T, G = cp.Variable(m.shape), cp.Variable(4)
    roots = [np.linalg.cholesky(h + 1e-12 * np.eye(4)).T for h in H]
    terms = [
        n * (0.5 * cp.sum_squares(R @ T[k]) - v @ T[k] + lam * cp.norm(T[k] - G))
        for k, (R, v, n, lam) in enumerate(zip(roots, m, sizes, lams, strict=True))
    ]
    cp.Problem(cp.Minimize(sum(terms))).solve(solver="CLARABEL")
    best = _objective(T.value, G.value, H, m, sizes, lams)
    found = _objective(theta, g, H, m, sizes, lams)
    assert found <= best + 1e-8 * abs(best)
    assert found >= best - 1e-4 * abs(best)


def test_certificate_measures_the_optimality_conditions(rng):
    H, m, sizes = _tasks(rng, outlier=4.0)
    lams = 0.7 * np.sqrt(4 / sizes)
    theta, g, info = solve_armul(H, m, sizes, lams)
    gradients = np.einsum("kij,kj->ki", H, theta) - m
    np.testing.assert_allclose(sizes @ gradients, 0, atol=1e-7)
    for gradient, t, lam in zip(gradients, theta, lams, strict=True):
        gap = g - t
        if gap.any():
            np.testing.assert_allclose(gradient, lam * gap / np.linalg.norm(gap))
        else:
            assert np.linalg.norm(gradient) <= lam
    assert info.kkt_residual < 1e-9
    _, _, stopped = solve_armul(H, m, sizes, lams, max_iter=0)
    assert stopped.kkt_residual > 1e-9
    assert not stopped.converged


def test_task_is_exactly_the_center_on_its_condition(rng):
    H, m, _ = _tasks(rng, K=1)
    g = np.linalg.solve(H[0], m[0]) + 0.3
    norm = np.linalg.norm(H[0] @ g - m[0])
    np.testing.assert_array_equal(solve_task(H[0], m[0], norm * (1 + 1e-9), g), g)
    away = solve_task(H[0], m[0], norm * (1 - 1e-3), g)
    assert 0 < np.linalg.norm(away - g) < 0.01
    r = np.linalg.norm(away - g)
    inner = r * H[0] + norm * (1 - 1e-3) * np.eye(4)
    u = np.linalg.solve(inner, H[0] @ g - m[0])
    assert np.linalg.norm(u) == pytest.approx(1)
    np.testing.assert_allclose(away, g - r * u, atol=1e-12)


def test_limits(rng):
    H, m, sizes = _tasks(rng)
    own, _, _ = solve_armul(H, m, sizes, np.zeros(5))
    np.testing.assert_allclose(own, np.linalg.solve(H, m[..., None])[..., 0])
    pooled, g, _ = solve_armul(H, m, sizes, np.full(5, np.inf))
    expected = np.linalg.solve(np.einsum("k,kij->ij", sizes, H), sizes @ m)
    np.testing.assert_allclose(g, expected)
    assert (pooled == g).all()


def test_directions_without_rows_are_those_of_the_center(rng):
    H, m, sizes = _tasks(rng, K=2)
    x = np.array([1.0, 0.0, 0.0, 0.0])
    H = np.concatenate([H, np.outer(x, x)[None]])
    m = np.concatenate([m, 9.0 * x[None]])
    theta, g, info = solve_armul(H, m, np.append(sizes, 5.0), np.full(3, 0.1))
    assert info.converged
    np.testing.assert_allclose(theta[2, 1:], g[1:], atol=1e-12)
    assert theta[2, 0] > g[0] + 1
