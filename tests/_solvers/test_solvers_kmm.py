"""Kernel mean matching: certificates, references, limits and bounds."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse

from sktransfer._solvers import box_qp
from sktransfer._solvers.box_qp import (
    DenseForm,
    LowRankForm,
    solve_box_qp,
    solve_box_qps,
)
from sktransfer._solvers.kernels import (
    kernel_diagonal,
    kernel_matrix,
    kernel_product,
    kernel_row_means,
    median_gamma,
)
from sktransfer._solvers.kmm import (
    _choose_solver,
    _predicted_seconds,
    certificate,
    kmm_weights,
    usual_eps,
)
from sktransfer._solvers.low_rank import fit_landmarks, pivoted_cholesky
from sktransfer._solvers.projections import (
    minimize_linear,
    project_box_slab,
    project_simplex,
)

RNG = np.random.default_rng


def shifted(n, m, d, seed=0, shift=1.0):
    rng = RNG(seed)
    source, target = rng.normal(size=(n, d)), 0.8 * rng.normal(size=(m, d))
    target[:, 0] += shift
    return source, target


def cvxpy_optimum(K, kappa, upper, bounds):
    import cvxpy as cp

    unit = np.mean(np.abs(kappa))
    b = cp.Variable(len(kappa))
    low, high = bounds
    slab = [cp.sum(b) == low] if low == high else [cp.sum(b) >= low, cp.sum(b) <= high]
    value = 0.5 * cp.quad_form(b, cp.psd_wrap(K / unit)) - (kappa / unit) @ b
    problem = cp.Problem(cp.Minimize(value), [b >= 0, b <= upper, *slab])
    problem.solve(solver=cp.CLARABEL, tol_gap_rel=1e-8)
    return problem.value * unit


@pytest.mark.parametrize("d", [1, 2, 20])
@pytest.mark.parametrize("width", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("upper, eps", [(1000.0, None), (2.0, 0.01), (1000.0, 0.0)])
def test_objective_agrees_with_cvxpy(d, width, upper, eps):
    source, target = shifted(80, 60, d)
    gamma = width * median_gamma(np.vstack([source, target]))
    weights, info = kmm_weights(source, target, gamma=gamma, upper=upper, eps=eps)
    K = kernel_matrix(source, gamma=gamma)
    kappa = 80 * kernel_row_means(source, target, gamma=gamma)
    eps = usual_eps(80) if eps is None else eps
    reference = cvxpy_optimum(K, kappa, upper, (80 * (1 - eps), 80 * (1 + eps)))
    assert info.converged
    value = 0.5 * weights @ K @ weights - kappa @ weights
    assert_allclose(info.objective, value, rtol=1e-9)
    # never worse than the reference by more than the gap, and it is the reference
    assert abs(value - reference) <= 1.1e-6 * abs(reference)
    assert weights.min() >= 0 and weights.max() <= upper
    assert abs(weights.sum() - 80) <= 80 * eps + 1e-9


def test_the_duality_gap_is_an_upper_bound_of_the_suboptimality():
    source, target = shifted(60, 40, 3)
    K = kernel_matrix(source, gamma=0.2)
    kappa = 60 * kernel_row_means(source, target, gamma=0.2)
    bounds, upper = (30.0, 90.0), 5.0
    optimum = cvxpy_optimum(K, kappa, upper, bounds)
    rng = RNG(0)
    for scale in (0.1, 1.0, 3.0):
        point = project_box_slab(1 + scale * rng.normal(size=60), upper, *bounds)
        info = certificate(K, kappa, point, upper=upper, sum_bounds=bounds, tol=1e-6)
        true = info.objective - optimum
        assert 0 < true <= info.duality_gap * abs(info.objective)


@pytest.mark.parametrize("n", [50, 900])
def test_kkt_conditions_hold(n):
    source, target = shifted(n, 100, 5)
    gamma = median_gamma(np.vstack([source, target]))
    weights, info = kmm_weights(
        source, target, gamma=gamma, upper=4.0, eps=0.05, tol=1e-10
    )
    gradient = kernel_matrix(source, gamma=gamma) @ weights - n * kernel_row_means(
        source, target, gamma=gamma
    )
    inner = (weights > 1e-3) & (weights < 4.0 - 1e-3)
    multiplier = gradient[inner].mean()
    unit = 1e-3 * np.abs(gradient).max() + 1e-6
    assert info.kkt_residual < 1e-3
    assert np.ptp(gradient[inner]) < unit
    assert np.all(gradient[weights <= 1e-3] >= multiplier - unit)
    assert np.all(gradient[weights >= 4.0 - 1e-3] <= multiplier + unit)


@pytest.mark.parametrize("kernel", ["rbf", "linear", "laplacian", "cosine", "poly"])
def test_equal_samples_give_the_objective_of_unit_weights(kernel):
    X = RNG(0).normal(size=(70, 3)) + 1.0
    weights, info = kmm_weights(X, X[::-1], kernel=kernel, gamma=0.3, tol=1e-12)
    K = kernel_matrix(X, kernel=kernel, gamma=0.3)
    assert_allclose(info.objective, -0.5 * K.sum(), rtol=1e-9)
    if kernel in {"rbf", "laplacian"}:
        assert_allclose(weights, 1.0, atol=0.01)


def test_scaling_the_kernel_changes_nothing():
    source, target = shifted(60, 40, 2)

    def scaled(x, y):
        return 1e6 * np.exp(-0.5 * np.sum((x - y) ** 2))

    plain, info = kmm_weights(source, target, gamma=0.5, tol=1e-10)
    other, other_info = kmm_weights(source, target, kernel=scaled, tol=1e-10)
    assert_allclose(other_info.objective, 1e6 * info.objective, rtol=1e-8)
    assert_allclose(other, plain, atol=1e-3 * plain.max())


@pytest.mark.parametrize("width, d", [(1.0, 1), (0.1, 20), (1.0, 20), (20.0, 20)])
def test_conjugate_gradient_path_meets_the_tolerance(width, d):
    source, target = shifted(1000, 300, d)
    gamma = width * median_gamma(np.vstack([source, target]))
    _, info = kmm_weights(source, target, gamma=gamma, solver="dense")
    K = kernel_matrix(source, gamma=gamma)
    kappa = 1000 * kernel_row_means(source, target, gamma=gamma)
    _, direct_info = solve_box_qp(
        DenseForm(K, direct_size=2000),
        kappa,
        upper=1000.0,
        sum_bounds=(1000 * (1 - usual_eps(1000)), 1000 * (1 + usual_eps(1000))),
    )
    assert info.converged and direct_info.converged
    assert_allclose(info.objective, direct_info.objective, rtol=2e-6)
    # the gap bounds what weights on the exact problem can still gain
    assert info.duality_gap <= 1e-6


def test_duplicates_one_target_row_and_two_source_rows():
    source, target = shifted(150, 1, 1, shift=4.0)
    source[75:] = source[:75]
    for eps in (None, 0.0, 0.01):
        weights, info = kmm_weights(source, target, gamma=2.0, eps=eps)
        assert info.converged
        assert np.all(np.isfinite(weights))
    weights, info = kmm_weights(source[:2], target, gamma=0.1)
    assert info.converged and weights.shape == (2,)
    weights, info = kmm_weights(source[:1], target, gamma=0.1, eps=0.0)
    assert_allclose(weights, 1.0)


def test_bounds_that_contradict_each_other_are_an_error():
    source, target = shifted(10, 10, 2)
    with pytest.raises(ValueError, match="raise B or eps"):
        kmm_weights(source, target, gamma=1.0, upper=0.5, eps=0.1)
    weights, _ = kmm_weights(source, target, gamma=1.0, upper=1.0, eps=0.0)
    assert_allclose(weights, 1.0)


def test_indefinite_kernels_are_refused_by_name():
    source, target = shifted(40, 40, 4)
    with pytest.raises(ValueError, match="'sigmoid' is not positive semidefinite"):
        kmm_weights(source, target, kernel="sigmoid", gamma=1.0, coef0=-1.0)

    def lopsided(x, y):
        return float(x[0] - y[1])

    with pytest.raises(ValueError, match="lopsided is not positive semidefinite"):
        kmm_weights(source, target, kernel=lopsided)
    with pytest.raises(ValueError, match="solver must be"):
        kmm_weights(source, target, gamma=1.0, solver="magic")
    with pytest.raises(ValueError, match="kernel must be one of"):
        kmm_weights(source, target, kernel="gauss")


def test_stopping_early_is_told():
    source, target = shifted(100, 100, 3)
    weights, info = kmm_weights(source, target, gamma=0.3, max_iter=2)
    assert not info.converged and info.n_iter == 2
    assert info.duality_gap > 1e-6
    assert weights.min() >= 0


def test_cvxpy_solver_agrees():
    source, target = shifted(50, 50, 2)
    _, ours = kmm_weights(source, target, gamma=0.5, tol=1e-9)
    _, theirs = kmm_weights(source, target, gamma=0.5, solver="cvxpy")
    assert theirs.solver == "cvxpy" and theirs.converged
    assert_allclose(ours.objective, theirs.objective, rtol=1e-8)


def test_linear_kernel_is_exact_at_low_rank_and_takes_sparse_rows():
    source, target = shifted(90, 30, 3)
    _, dense = kmm_weights(source, target, kernel="linear", solver="dense", tol=1e-9)
    _, low = kmm_weights(
        sparse.csr_matrix(source), sparse.csr_matrix(target), kernel="linear", tol=1e-9
    )
    assert low.solver == "low_rank" and low.rank == 3 and low.approximation_error == 0
    assert_allclose(low.objective, dense.objective, rtol=1e-8)


def test_float32_rows_give_float32_weights():
    source, target = shifted(60, 40, 2)
    low, _ = kmm_weights(
        source.astype(np.float32), target.astype(np.float32), gamma=0.5, tol=1e-8
    )
    high, _ = kmm_weights(source, target, gamma=0.5, tol=1e-8)
    assert low.dtype == np.float32
    assert_allclose(low, high, atol=0.05 * high.max())


@pytest.mark.parametrize("d, rank", [(2, 60), (8, 60), (8, 150)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_approximation_error_covers_the_exact_suboptimality(d, rank, seed):
    source, target = shifted(400, 300, d, seed=seed)
    gamma = median_gamma(np.vstack([source, target]))
    weights, info = kmm_weights(
        source, target, gamma=gamma, solver="low_rank", rank=rank, random_state=seed
    )
    _, exact = kmm_weights(source, target, gamma=gamma, tol=1e-9)
    K = kernel_matrix(source, gamma=gamma)
    kappa = 400 * kernel_row_means(source, target, gamma=gamma)
    value = 0.5 * weights @ K @ weights - kappa @ weights
    true = (value - exact.objective) / abs(exact.objective)
    assert info.converged
    assert true >= -1e-6
    assert true <= info.approximation_error + 3 * info.approximation_stderr + 1e-6
    if d == 2:
        assert info.approximation_error < 1e-3


def test_budget_decides_between_dense_and_low_rank():
    source, target = shifted(300, 100, 3)
    _, roomy = kmm_weights(source, target, gamma=0.3)
    _, tight = kmm_weights(source, target, gamma=0.3, memory_budget=0.3)
    assert (roomy.solver, tight.solver) == ("dense", "low_rank")
    # a factor that does not fit in float64 is held in float32
    assert 4 * 300 * tight.rank <= 0.3 * 2**20 < 8 * 300 * tight.rank


def test_low_rank_form_multiplies_and_solves():
    rng = RNG(0)
    G, e, d, t = rng.normal(size=(4, 30)), rng.random(30), rng.random(30) + 0.1, 0.7
    dense = G.T @ G + np.diag(e)
    for G_any, rtol in ((G, 1e-12), (G.astype(np.float32), 1e-5)):
        form = LowRankForm(G_any, e)
        x = rng.normal(size=30)
        assert_allclose(form.matvec(x), dense @ x, rtol=rtol, atol=rtol * 30)
        _, solve = form.shifted(d, t)
        expected = np.linalg.solve(dense + np.diag(d) + t, x)
        assert_allclose(solve(x), expected, rtol=10 * rtol, atol=100 * rtol)


def test_pivoted_cholesky_residual_is_exact_and_shrinks():
    X = RNG(0).normal(size=(50, 2))
    K = kernel_matrix(X, gamma=0.5)
    G, residual, pivots = pivoted_cholesky(K, 10)
    E = K - G.T @ G
    assert_allclose(np.diag(E), residual, atol=1e-12)
    assert np.linalg.eigvalsh(E)[0] > -1e-10
    assert len(set(pivots)) == 10
    full, rest, _ = pivoted_cholesky(K, 50)
    assert_allclose(full.T @ full, K, atol=1e-9)
    assert rest.max() < 1e-9


def test_landmarks_reproduce_the_kernel_on_themselves():
    X = RNG(0).normal(size=(80, 3))
    landmarks = fit_landmarks(X, 20, gamma=0.2)
    phi = landmarks.transform(X)
    exact = kernel_matrix(X, X[landmarks.indices], gamma=0.2)
    assert_allclose(phi.T @ phi[:, landmarks.indices], exact, atol=1e-8)
    assert_allclose(landmarks.mean(X), phi.mean(axis=1), atol=1e-8)
    assert landmarks.residual(X, phi).min() >= 0


@pytest.mark.parametrize("seed", range(5))
def test_projection_on_box_and_slab_is_exact(seed):
    import cvxpy as cp

    rng = RNG(seed)
    v = 3 * rng.normal(size=12)
    upper, low, high = 1.5, 5.0, 6.0
    x = cp.Variable(12)
    cp.Problem(
        cp.Minimize(cp.sum_squares(x - v)),
        [x >= 0, x <= upper, cp.sum(x) >= low, cp.sum(x) <= high],
    ).solve(solver=cp.CLARABEL)
    ours = project_box_slab(v, upper, low, high)
    assert_allclose(ours, x.value, atol=1e-5)
    assert_allclose(project_box_slab(ours, upper, low, high), ours, atol=1e-12)
    other = project_box_slab(v + rng.normal(size=12), upper, low, high)
    assert low - 1e-9 <= other.sum() <= high + 1e-9
    # the linear minimizer is never beaten by a feasible point
    g = rng.normal(size=12)
    value, s = minimize_linear(g, upper, low, high)
    assert_allclose(value, g @ s)
    assert value <= min(g @ ours, g @ other) + 1e-12
    assert s.min() >= 0 and s.max() <= upper and low <= s.sum() <= high + 1e-12


def test_projection_on_the_simplex():
    rng = RNG(0)
    for scale in (1e-8, 1.0, 1e8):
        v = scale * rng.normal(size=9)
        a = project_simplex(v)
        assert_allclose(a.sum(), 1.0)
        slack = (a - v) - (a - v)[a > 0].mean()
        assert slack.min() > -1e-6 * max(scale, 1)
    assert_allclose(project_simplex(np.array([0.2, 0.8])), [0.2, 0.8])


def test_median_gamma_is_the_stated_rule_in_any_row_order():
    X = RNG(0).normal(size=(101, 3))
    pairs = ((X[:, None] - X[None]) ** 2).sum(-1)[np.triu_indices(101, 1)]
    assert_allclose(median_gamma(X), 1 / np.median(pairs))
    assert_allclose(median_gamma(X[::-1]), median_gamma(X), rtol=1e-12)
    assert_allclose(median_gamma(sparse.csr_matrix(X)), median_gamma(X), rtol=1e-9)
    sampled = median_gamma(X, max_rows=40)
    order = RNG(1).permutation(101)
    assert_allclose(median_gamma(X[order], max_rows=40), sampled, rtol=1e-9)
    absolute = np.abs(X[:, None] - X[None]).sum(-1)[np.triu_indices(101, 1)]
    assert_allclose(median_gamma(X, kernel="laplacian"), 1 / np.median(absolute))


def test_median_gamma_of_degenerate_rows():
    assert median_gamma(np.ones((5, 2))) == 1.0
    assert median_gamma(np.ones((1, 2))) == 1.0
    mostly_equal = np.zeros((10, 1))
    mostly_equal[0] = 2.0
    assert_allclose(median_gamma(mostly_equal), 1 / 4)


@pytest.mark.parametrize("kernel", ["linear", "rbf", "laplacian", "poly", "cosine"])
def test_chunked_products_equal_the_matrix(kernel):
    rng = RNG(0)
    X, Y, right = rng.normal(size=(53, 4)), rng.normal(size=(31, 4)), rng.random(31)
    K = kernel_matrix(X, Y, kernel=kernel, gamma=0.3)
    product = kernel_product(X, Y, right, kernel=kernel, gamma=0.3, working_memory=1e-3)
    assert_allclose(product, K @ right, rtol=1e-10)
    assert_allclose(kernel_row_means(X, Y, kernel=kernel, gamma=0.3), K.mean(1))
    diagonal = np.diag(kernel_matrix(X, kernel=kernel, gamma=0.3))
    assert_allclose(kernel_diagonal(X, kernel=kernel, gamma=0.3), diagonal, rtol=1e-10)


@pytest.mark.parametrize(
    ("bounds", "tol"),
    [((0.5, 1.5), 1e-6), ((0.5, 1.5), 1e-8), ((1.0, 1.0), 1e-6)],
)
@pytest.mark.parametrize("stalled", [0.6, 0.0])  # 0: all go on alone at once
def test_programs_solved_together_are_those_solved_alone(
    bounds, tol, stalled, monkeypatch
):
    monkeypatch.setattr(box_qp, "_TOGETHER", 100)
    monkeypatch.setattr(box_qp, "_STALLED", stalled)
    gone_on, original = [], box_qp._go_on

    def go_on(*args):
        gone_on.append(original(*args))
        return gone_on[-1]

    monkeypatch.setattr(box_qp, "_go_on", go_on)
    n = 250
    source, target = shifted(n, 80, 3)
    K = kernel_matrix(source, kernel="rbf", gamma=0.3)
    linears = np.stack(
        [
            n * kernel_row_means(source, target[k:], kernel="rbf", gamma=0.3)
            for k in (0, 2, 30)
        ],
        axis=1,
    )
    limits = {"upper": 20.0, "sum_bounds": (bounds[0] * n, bounds[1] * n), "tol": tol}
    together = solve_box_qps(DenseForm(K, direct_size=50), linears, **limits)
    for q, (b, info) in zip(linears.T, together, strict=True):
        _, alone = solve_box_qp(DenseForm(K), q, **limits)
        assert info.converged and info.duality_gap <= tol
        assert_allclose(info.objective, alone.objective, rtol=2 * tol)
        assert b.min() >= 0 and b.max() <= 20.0
        low, high = limits["sum_bounds"]
        assert low * (1 - 1e-9) <= b.sum() <= high * (1 + 1e-9)
    if not stalled and bounds[0] < bounds[1]:
        assert len(gone_on) == 3 and (tol < 1e-6 or None not in gone_on)


@pytest.mark.parametrize(
    "n, d, options, expected",
    [
        (4000, 20, {}, "dense"),  # 2 seconds are worth an exact solution
        (4400, 20, {}, "dense"),
        (4600, 20, {}, "low_rank"),
        (8000, 20, {}, "low_rank"),  # though the matrix fits
        (8000, 20, {"memory_budget": 1e6}, "low_rank"),
        (8000, 20, {"memory_budget": 1e6, "rank": 8000}, "dense"),
        (4000, 20, {"memory_budget": 100.0}, "low_rank"),
        (3000, 20_000, {}, "low_rank"),
        (4000, 20, {"kernel": "linear"}, "low_rank"),
    ],
)
def test_predicted_time_decides_too(n, d, options, expected):
    X = np.broadcast_to(0.0, (n, d))
    options = {"kernel": "rbf", "memory_budget": 1024.0, "rank": None} | options
    assert _choose_solver(X, **options) == expected


def test_predicted_times_grow_and_have_no_cliff():
    sizes = np.arange(1000, 20_001, 100)
    times = []
    for n in sizes:
        X = np.broadcast_to(0.0, (n, 20))
        chosen = _choose_solver(X, "rbf", 1024.0, None)
        dense, low_rank = _predicted_seconds(n, 20, 500)
        times.append(dense if chosen == "dense" else low_rank)
        assert times[-1] <= max(2.0, 1.5 * min(dense, low_rank))
    switch = np.flatnonzero(np.diff(times) < 0)
    assert len(switch) <= 1  # dense, then low rank
    assert max(times[: switch[0] + 1]) <= 2.0
