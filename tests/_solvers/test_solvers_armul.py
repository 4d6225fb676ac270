"""The ARMUL program: certificate, exactness at the center, agreement with cvxpy."""

import cvxpy as cp
import numpy as np
import pytest

from sktransfer._solvers.armul import (
    GlmTask,
    QuadraticTask,
    expanded,
    solve_armul,
    solve_clustered,
    solve_low_rank,
    solve_task,
    solve_vanilla,
)


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


def _glm_tasks(rng, K=3, d=3, n=(12, 40)):
    tasks, rows, sizes = [], [], rng.randint(*n, size=K).astype(float)
    for size in sizes:
        X = rng.normal(size=(int(size), d))
        y = (X @ (1 + rng.normal(size=d)) + rng.logistic(size=int(size)) > 0) * 1.0
        ridge = np.full(d, 0.5 / size)
        tasks.append(GlmTask("binomial", X, y[:, None], np.ones(len(X)), ridge))
        rows.append((X, y))
    return tasks, rows, sizes


@pytest.mark.parametrize("constant", [0.05, 0.2, 1.0])
def test_logistic_tasks_agree_with_cvxpy(rng, constant):
    tasks, rows, sizes = _glm_tasks(rng)
    lams = constant * np.sqrt(3 / sizes)
    theta, centers, info = solve_vanilla(tasks, sizes, lams)
    assert info.converged
    T, G, terms = cp.Variable((3, 3)), cp.Variable(3), []
    for k, (X, y) in enumerate(rows):
        eta = X @ T[k]
        terms.append(cp.sum(cp.logistic(eta)) - y @ eta + 0.25 * cp.sum_squares(T[k]))
        terms.append(sizes[k] * lams[k] * cp.norm(T[k] - G))
    best = cp.Problem(cp.Minimize(sum(terms))).solve(solver="CLARABEL")
    assert info.objective == pytest.approx(best, rel=1e-7)
    np.testing.assert_allclose(theta, T.value, atol=2e-3)
    np.testing.assert_allclose(centers, centers[:1].repeat(3, axis=0))


def test_logistic_task_is_exactly_the_center_on_its_condition(rng):
    (task, *_), _, _ = _glm_tasks(rng)
    center = np.array([1.0, -0.5, 0.3])
    norm = np.linalg.norm(task.expand(center)[1])
    at = task.minimize(norm * (1 + 1e-9), center, np.zeros(3))
    np.testing.assert_array_equal(at, center)
    away = task.minimize(norm * (1 - 1e-3), center, np.zeros(3))
    gap = center - away
    assert 0 < np.linalg.norm(gap) < 0.1
    np.testing.assert_allclose(
        task.expand(away)[1], norm * (1 - 1e-3) * gap / np.linalg.norm(gap), atol=1e-10
    )


def test_expansion_of_a_task_has_its_minimum(rng):
    (task, *_), _, _ = _glm_tasks(rng)
    zero = np.zeros(3)
    own = task.minimize(0.0, zero, zero)
    assert np.abs(task.expand(own)[1]).max() < 1e-10
    quadratic = expanded(task)
    np.testing.assert_allclose(quadratic.minimize(0.0, zero, zero), own)
    assert expanded(quadratic) is quadratic


def _quadratics(H, m):
    return [QuadraticTask(h, v) for h, v in zip(H, m, strict=True)]


def test_one_cluster_is_the_vanilla_form_and_full_rank_is_each_task_alone(rng):
    H, m, sizes = _tasks(rng, outlier=4.0)
    lams = 0.7 * np.sqrt(4 / sizes)
    tasks = _quadratics(H, m)
    vanilla = solve_vanilla(tasks, sizes, lams)
    one = solve_clustered(tasks, sizes, lams, 1)
    np.testing.assert_allclose(one[0], vanilla[0])
    assert one[2].objective == pytest.approx(vanilla[2].objective)
    own = np.linalg.solve(H, m[..., None])[..., 0]
    for solve, size in [(solve_clustered, 5), (solve_low_rank, 4)]:
        theta, centers, info = solve(tasks, sizes, lams, size)
        np.testing.assert_allclose(theta, own, atol=1e-5)
        assert np.linalg.matrix_rank(centers) <= size
        assert info.converged


@pytest.mark.parametrize("constant", [0.3, 1.0, np.inf])
def test_clusters_are_the_best_of_all_partitions(rng, constant):
    H, m, sizes = _tasks(rng, K=6, rows=(20, 40))
    own = np.linalg.solve(H, m[..., None])[..., 0]
    shifts = np.repeat([0.0, 3.0], 3)
    m = np.einsum("kij,kj->ki", H, own + shifts[:, None])
    lams = constant * np.sqrt(4 / sizes)
    tasks = _quadratics(H, m)
    theta, centers, info = solve_clustered(tasks, sizes, lams, 2)
    values = []
    for code in range(1, 32):  # every partition of six tasks in two parts
        mask = np.array([code >> i & 1 for i in range(6)], dtype=bool)
        values.append(sum(
            solve_vanilla([t for t, k in zip(tasks, part, strict=True) if k],
                          sizes[part], lams[part])[2].objective
            for part in (mask, ~mask)
        ))  # fmt: skip
    assert info.objective == pytest.approx(min(values), rel=1e-9)
    assert len(set(info.labels[:3])) == len(set(info.labels[3:])) == 1
    assert info.labels[0] != info.labels[3]
    assert info.converged
    again = solve_clustered(tasks, sizes, lams, 2, labels=info.labels, n_init=0)
    np.testing.assert_allclose(again[1], centers)
    assert len(np.unique(theta.round(6), axis=0)) >= 2


def test_more_centers_never_cost_more(rng):
    H, m, sizes = _tasks(rng, K=6, outlier=3.0)
    lams = 0.8 * np.sqrt(4 / sizes)
    tasks = _quadratics(H, m)
    for solve in (solve_clustered, solve_low_rank):
        values = [solve(tasks, sizes, lams, c)[2].objective for c in (1, 2, 3, 4)]
        assert all(np.diff(values) <= 1e-6 * np.abs(values[0]))


def test_low_rank_finds_a_subspace_without_noise(rng):
    B, Z = rng.normal(size=(5, 2)), rng.normal(size=(7, 2))
    parameters = Z @ B.T
    parameters[0] += [0, 0, 4.0, 0, 0]  # one task is not in the subspace
    X = rng.normal(size=(7, 30, 5))
    H = np.einsum("kni,knj->kij", X, X) / 30
    m = np.einsum("kij,kj->ki", H, parameters)
    theta, centers, info = solve_low_rank(
        _quadratics(H, m), np.full(7, 30.0), np.full(7, 0.3), 2
    )
    assert info.converged
    assert np.linalg.matrix_rank(centers, tol=1e-6) == 2
    # the odd task pulls the others by no more than its penalty
    assert np.abs(theta[1:] - parameters[1:]).max() < 0.2
    assert (theta[1:] == centers[1:]).all()
    assert np.linalg.norm(theta[0] - centers[0]) > 1
    # stationary in both factors: the pulls are orthogonal to rows and columns
    gradients = np.einsum("kij,kj->ki", H, theta) - m
    U, _, V = np.linalg.svd(centers)
    np.testing.assert_allclose(gradients @ V[:2].T, 0, atol=1e-4)
    np.testing.assert_allclose(gradients.T @ U[:, :2], 0, atol=1e-4)
