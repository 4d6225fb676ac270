r"""Kernel mean matching: weights of source rows that match the target's mean embedding.

.. math:: \min_b \tfrac12 b'Kb - \kappa'b
    \quad\text{s.t.}\quad 0 \le b_i \le B,\;
    \Bigl|\sum_i b_i - n_s\Bigr| \le n_s \epsilon,

with :math:`K_{ij} = k(x^s_i, x^s_j)` and
:math:`\kappa_i = (n_s / n_t) \sum_j k(x^s_i, x^t_j)`.

References
----------
J. Huang, A. Gretton, K. Borgwardt, B. Schoelkopf, A. Smola. Correcting sample
selection bias by unlabeled data. Advances in Neural Information Processing Systems
19, 2006.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg, sparse
from sklearn.utils import check_random_state

from sktransfer._solvers.array_api import array_like, namespace_of, to_numpy
from sktransfer._solvers.box_qp import (
    BoxQPInfo,
    Certifier,
    DenseForm,
    LowRankForm,
    solve_box_qp,
    solve_box_qps,
)
from sktransfer._solvers.dual_newton import (
    ChunkedColumns,
    Columns,
    DeviceColumns,
    Problem,
    mean_diagonal,
    solve_dual_newton,
)
from sktransfer._solvers.kernels import (
    PSD_KERNELS,
    KernelSpec,
    kernel_matrix,
    kernel_product,
    kernel_row_means,
    order_free_ranks,
    take_from_chunks,
)
from sktransfer._solvers.low_rank import LandmarkMap, fit_landmarks, landmarks_among
from sktransfer._solvers.projections import minimize_linear, project_box_slab

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class KMMInfo:
    r"""How well the weights solve kernel mean matching.

    Attributes
    ----------
    objective : float
        :math:`\tfrac12 b'Kb - \kappa'b` of the problem that was solved.
    duality_gap : float
        Upper bound of ``(objective - optimum) / |objective|`` for the problem that
        was solved (the Frank-Wolfe gap).
    kkt_residual : float
        Natural residual ``max |b - P(b - grad / c)|``, P the projection on the
        constraints, c the mean of :math:`|\kappa|`: in units of the weights.
    n_iter : int
        Iterations of the solver.
    solver : {"dense", "low_rank", "cvxpy"}
        The solver that ran.
    converged : bool
        Whether ``duality_gap <= tol``.
    rank : int
        Rank of the kernel that was solved with; the number of source rows where the
        kernel matrix is exact.
    approximation_error : float
        0 for the exact kernel. Otherwise an estimate of an upper bound of
        ``(objective - optimum) / |objective|`` with the *exact* kernel for these
        weights, `duality_gap` included.
    approximation_stderr : float
        Standard error of that estimate, which comes from a random probe of rows.
    trace_residual : float
        Share of the trace of K that the low-rank kernel leaves out.
    """

    objective: float
    duality_gap: float
    kkt_residual: float
    n_iter: int
    solver: str
    converged: bool
    rank: int
    approximation_error: float = 0.0
    approximation_stderr: float = 0.0
    trace_residual: float = 0.0


def usual_eps(n_source: int) -> float:
    r"""Compute the usual slack of the sum, :math:`(\sqrt{n_s} - 1) / \sqrt{n_s}`."""
    return float((np.sqrt(n_source) - 1.0) / np.sqrt(n_source))


def kmm_weights(
    X_source: Any,
    X_target: Any,
    *,
    kernel: KernelSpec = "rbf",
    gamma: float | None = None,
    degree: float = 3,
    coef0: float = 1,
    kernel_params: Mapping[str, Any] | None = None,
    upper: float = 1000.0,
    eps: float | None = None,
    solver: str = "auto",
    tol: float = 1e-6,
    max_iter: int = 100,
    memory_budget: float = 1024.0,
    rank: int | None = None,
    random_state: Any = 0,
) -> tuple[Array, KMMInfo]:
    """Compute the weights of source rows by kernel mean matching.

    Parameters
    ----------
    X_source : {ndarray, sparse matrix} of shape (n_source, n_features)
        Source rows.
    X_target : {ndarray, sparse matrix} of shape (n_target, n_features)
        Target rows.
    kernel : str or callable, default="rbf"
        As in :func:`~sktransfer._solvers.kernels.kernel_matrix`; must be positive
        semidefinite.
    gamma : float, default=None
        Width of the kernel, a number; None is 1 / n_features.
    degree, coef0, kernel_params
        As in :func:`~sktransfer._solvers.kernels.kernel_matrix`.
    upper : float, default=1000.0
        Largest weight, B.
    eps : float, default=None
        Slack of the sum of the weights; None is :func:`usual_eps`.
    solver : {"auto", "dense", "low_rank", "cvxpy"}, default="auto"
        "dense" holds the kernel matrix of the source rows; "low_rank" replaces the
        kernel by a factor whose memory is linear in the rows (exact for a linear
        kernel); "cvxpy" hands the dense problem to CLARABEL. "auto" is low rank for
        a linear kernel with fewer features than rows; dense where the matrix fits
        half of `memory_budget` and is predicted to take at most 2 seconds of a core
        (about 4000 rows), or at most 1.5 times as long as low rank; low rank
        otherwise. The prediction depends on the sizes alone.
    tol : float, default=1e-6
        Relative duality gap to reach.
    max_iter : int, default=100
        Largest number of iterations.
    memory_budget : float, default=1024.0
        MiB for the kernel matrix or its factor, which is held in float32 where
        float64 does not fit; sums are taken in float64 either way.
    rank : int, default=None
        Largest rank of the low-rank kernel; None is 500 or what `memory_budget`
        allows.
    random_state : int, RandomState instance or None, default=0
        Seed of the landmarks and of the error's probe.

    Returns
    -------
    weights : ndarray of shape (n_source,)
        In float64, or float32 for float32 rows.
    info : KMMInfo
        Certificate.

    Raises
    ------
    ValueError
        If the kernel is not positive semidefinite or no weights satisfy the bounds.
    """
    return kmm_weights_without(
        X_source,
        X_target,
        [],
        kernel=kernel,
        gamma=gamma,
        degree=degree,
        coef0=coef0,
        kernel_params=kernel_params,
        upper=upper,
        eps=eps,
        solver=solver,
        tol=tol,
        max_iter=max_iter,
        memory_budget=memory_budget,
        rank=rank,
        random_state=random_state,
    )[0]


def kmm_weights_without(
    X_source: Any,
    X_target: Any,
    parts: list[Array],
    *,
    upper: float,
    eps: float | None = None,
    solver: str = "auto",
    tol: float = 1e-6,
    max_iter: int = 100,
    memory_budget: float = 1024.0,
    rank: int | None = None,
    random_state: Any = 0,
    **options: Any,
) -> list[tuple[Array, KMMInfo]]:
    r"""Compute the weights for all target rows, and without some of them in turn.

    The kernel of the source rows, or its factor, is computed once. Without the m
    target rows J the linear term is

    .. math:: \kappa^{-J} = \frac{n_t \kappa - n_s \sum_{j \in J} k(x^s, x^t_j)}
              {n_t - m} .

    Parameters
    ----------
    X_source, X_target, upper, eps, solver, tol, max_iter, memory_budget, rank,
    random_state
        As in :func:`kmm_weights`.
    parts : list of ndarray
        Indices of target rows to be left out.
    **options : dict
        ``kernel``, ``gamma``, ``degree``, ``coef0``, ``kernel_params``.

    Returns
    -------
    solutions : list of (weights, info)
        For all target rows, then without each of the parts.
    """
    bounds = _sum_bounds(int(X_source.shape[0]), upper, eps)
    xp = namespace_of(X_source, X_target)
    if xp is not np:
        if solver not in ("auto", "low_rank") or options["kernel"] == "linear":
            raise ValueError(
                f"solver={solver!r} with kernel={options['kernel']!r} takes NumPy's "
                "arrays; those of other libraries are for solver='low_rank' and "
                "another kernel than 'linear'."
            )
        solver = "low_rank"
        # the features need double precision
        X_source, X_target = (xp.astype(X, xp.float64) for X in (X_source, X_target))
    if solver == "auto":
        solver = _choose_solver(X_source, options["kernel"], memory_budget, rank)
    problem = (upper, bounds, tol, max_iter)
    if solver == "low_rank":
        limit = _largest_rank(X_source, memory_budget, rank)
        solutions = _solve_low_rank(
            X_source,
            X_target,
            parts,
            options,
            problem,
            limit,
            memory_budget,
            random_state,
        )
    elif solver in {"dense", "cvxpy"}:
        solutions = _solve_dense(X_source, X_target, parts, options, problem, solver)
    else:
        raise ValueError(
            f"solver must be 'auto', 'dense', 'low_rank' or 'cvxpy', got {solver!r}"
        )
    if getattr(X_source, "dtype", None) == np.float32:
        top = np.float32(upper)
        solutions = [(np.minimum(b.astype(top.dtype), top), i) for b, i in solutions]
    return solutions


def _sum_bounds(n: int, upper: float, eps: float | None) -> tuple[float, float]:
    eps = usual_eps(n) if eps is None else float(eps)
    if n * upper < n * (1.0 - eps):
        raise ValueError(
            f"B={upper:g} and eps={eps:g} contradict each other: weights of B at most"
            f" cannot reach a mean of {1 - eps:g}; raise B or eps"
        )
    return max(0.0, n * (1.0 - eps)), n * (1.0 + eps)


def kmm_weights_of_chunks(
    source: Iterable[Array],
    target: Iterable[Array],
    *,
    upper: float,
    eps: float | None,
    tol: float,
    max_iter: int,
    rank: int,
    memory_budget: float,
    random_state: Any,
    **options: Any,
) -> tuple[Array, KMMInfo]:
    """Compute the weights of the low-rank solver from samples that come in chunks.

    Parameters
    ----------
    source, target : iterable of ndarray of shape (n_chunk, n_features)
        The samples, the same ones in every iteration.
    upper, eps, tol, max_iter, rank, random_state
        As in :func:`kmm_weights`.
    memory_budget : float
        MiB that the features may take; larger ones are computed anew for a product.
    **options : dict
        ``kernel`` and ``gamma`` of a kernel that is positive semidefinite.

    Returns
    -------
    weights : ndarray of shape (n_source,)
        Nonnegative weights.
    info : KMMInfo
        The certificate.
    """
    rng = check_random_state(random_state)
    chosen = order_free_ranks(source, max(4000, 2 * rank), rng)
    landmarks = landmarks_among(take_from_chunks(source, chosen), rank, **options)
    left_out, n = 0.0, 0
    for X in source:
        residual = landmarks.residual(X, landmarks.transform(X))
        left_out, n = left_out + float(residual.sum()), n + X.shape[0]
    limits = (upper, _sum_bounds(n, upper, eps), tol, max_iter)
    diagonal = np.broadcast_to(_diagonal(left_out / n), (n,))
    c = n * landmarks.mean_of_chunks(target)
    features = _Features(source, landmarks)
    problem: Problem
    if 8 * n * landmarks.rank <= memory_budget * 2**20:
        G = np.empty((landmarks.rank, n), order="F")
        start = 0
        for block in features:
            G[:, start : start + block.shape[1]] = block
            start += block.shape[1]
        problem = _columns(G, c, diagonal, limits)
        weights, info = _solve_columns(problem, limits)
    else:
        bounds = _reachable(limits[1], n, upper)
        problem = ChunkedColumns(features, c, diagonal, upper, bounds)
        certify = Certifier(problem, problem.backward(c), upper, problem.bounds)
        weights, steps = np.full(n, upper), 0
        if problem.bounds[0] < n * upper * (1 - 1e-9):
            weights, steps = solve_dual_newton(problem, tol=tol, max_iter=max_iter)
        weights = certify.project(weights)
        info = certify(weights, steps, tol)
    error, stderr = _approximation_error(
        source, target, weights, landmarks, problem, rng
    )
    return weights, _kmm_info(
        info,
        "low_rank",
        landmarks.rank,
        approximation_error=error,
        approximation_stderr=stderr,
        trace_residual=left_out / n / mean_diagonal(problem),
    )


@dataclass(frozen=True)
class _Features:
    """The features of chunks, computed anew in every iteration."""

    chunks: Iterable[Array]
    landmarks: LandmarkMap

    def __iter__(self) -> Iterator[Array]:
        for X in self.chunks:
            yield self.landmarks.transform(X)


def _diagonal(left_out: float) -> float:
    """Return what stands for the part of k(x, x) that the features leave out.

    Without it weight piles up on few rows. One value for all, as a diagonal that keeps
    k(x, x) exact would be 0 on the landmarks and favor them.
    """
    return left_out * (1 + 1e-12) + 1e-12


def _means_without(
    mean: Array, X_target: Any, parts: list[Array], of: Any
) -> list[Array]:
    """Return the means of ``of(rows)`` without each of the parts."""
    n = X_target.shape[0]
    means = []
    for part in parts:
        m = len(part)
        means.append((n * mean - m * of(X_target[part])) / (n - m) if m else mean)
    return means


def _choose_solver(
    X: Any, kernel: KernelSpec, memory_budget: float, rank: int | None
) -> str:
    n, d = int(X.shape[0]), int(X.shape[1])
    if kernel == "linear" and d < n and d <= 2000:
        return "low_rank"
    # the interior-point method keeps about as much again for its preconditioner
    if 2 * 8 * n * n > memory_budget * 2**20:
        return "low_rank"
    dense, low_rank = _predicted_seconds(
        n, d, min(n, _largest_rank(X, memory_budget, rank))
    )
    return "dense" if dense <= max(2.0, 1.5 * low_rank) else "low_rank"


def _predicted_seconds(n: int, d: int, rank: int) -> tuple[float, float]:
    """Seconds of a core, dense and low rank, as measured at 1000 to 20 000 rows.

    The dense method multiplies and factors parts of an n x n matrix some hundred times;
    the low-rank one forms and factors products of its features.
    """
    dense = n * n * (1e-7 + 1e-10 * d)
    low_rank = n * rank * (6e-10 * rank + 1e-10 * d) + 2e-9 * rank**3
    return dense, low_rank


def _largest_rank(X: Any, memory_budget: float, rank: int | None) -> int:
    fits = int(memory_budget * 2**20 / (4 * X.shape[0]))  # float32 if need be
    return max(1, min(X.shape[0], fits, 500) if rank is None else rank)


def _factor_type(X: Any, rank: int, memory_budget: float) -> Any:
    fits = 8 * rank * X.shape[0] <= memory_budget * 2**20
    return np.float64 if fits and X.dtype != np.float32 else np.float32


def _solve_dense(
    X_source: Any,
    X_target: Any,
    parts: list[Array],
    options: dict[str, Any],
    problem: tuple[float, tuple[float, float], float, int],
    solver: str,
) -> list[tuple[Array, KMMInfo]]:
    upper, bounds, tol, max_iter = problem
    K = kernel_matrix(X_source, **options).astype(np.float64, copy=False)
    n = K.shape[0]
    check_positive_semidefinite(K, options["kernel"])

    def of(rows: Any) -> Array:
        return kernel_row_means(X_source, rows, **options)

    mean = of(X_target)
    kappas = [n * m for m in (mean, *_means_without(mean, X_target, parts, of))]
    if solver == "cvxpy":
        solutions = []
        for kappa in kappas:
            b = _solve_cvxpy(K, kappa, upper, bounds)
            info = certificate(K, kappa, b, upper=upper, sum_bounds=bounds, tol=tol)
            solutions.append((b, info))
    else:
        form = DenseForm(K)
        limits: dict[str, Any] = {"upper": upper, "sum_bounds": bounds}
        limits |= {"tol": tol, "max_iter": max_iter}
        solutions = [solve_box_qp(form, kappas[0], **limits)]
        if parts:
            # a form of their own: it remembers what its systems needed
            linears = np.stack(kappas[1:], axis=1)
            solutions += solve_box_qps(form.copy(), linears, **limits)
    return [(b, _kmm_info(info, solver, n)) for b, info in solutions]


def _kmm_info(info: BoxQPInfo, solver: str, rank: int, **more: float) -> KMMInfo:
    return KMMInfo(
        objective=info.objective,
        duality_gap=info.duality_gap,
        kkt_residual=info.kkt_residual,
        n_iter=info.n_iter,
        solver=solver,
        converged=info.converged,
        rank=rank,
        **more,
    )


def certificate(
    K: Array,
    linear: Array,
    weights: Array,
    *,
    upper: float,
    sum_bounds: tuple[float, float],
    tol: float,
) -> BoxQPInfo:
    """Certify any feasible weights for the dense problem.

    Parameters
    ----------
    K : ndarray of shape (n, n)
        Kernel matrix.
    linear : ndarray of shape (n,)
        The linear term.
    weights : ndarray of shape (n,)
        Feasible weights.
    upper : float
        Largest weight.
    sum_bounds : tuple of two floats
        Bounds of their sum.
    tol : float
        Relative gap that counts as converged.

    Returns
    -------
    BoxQPInfo
        Objective, Frank-Wolfe gap and natural residual.
    """
    gradient = K @ weights - linear
    objective = float(0.5 * weights @ (gradient - linear))
    lowest, _ = minimize_linear(gradient, upper, *sum_bounds)
    scale = max(abs(objective), np.finfo(float).tiny)
    gap = max(0.0, float(gradient @ weights) - lowest) / scale
    unit = float(np.mean(np.abs(linear))) or 1.0
    moved = project_box_slab(weights - gradient / unit, upper, *sum_bounds)
    residual = float(np.max(np.abs(weights - moved)))
    return BoxQPInfo(objective, gap, residual, 0, gap <= tol)


def check_positive_semidefinite(K: Array, kernel: KernelSpec) -> None:
    """Refuse a kernel matrix with a clearly negative eigenvalue.

    Parameters
    ----------
    K : ndarray of shape (n, n)
        Kernel matrix.
    kernel : str or callable
        The kernel, for the message; those that cannot fail are not checked.

    Raises
    ------
    ValueError
        If the matrix is not finite or not positive semidefinite.
    """
    name = repr(kernel) if isinstance(kernel, str) else getattr(kernel, "__name__", "?")
    if not np.isfinite(K.sum()):
        raise ValueError(f"kernel {name} gives values that are not finite")
    if isinstance(kernel, str) and kernel in PSD_KERNELS:
        return
    scale = float(np.max(np.abs(K.diagonal()), initial=0.0)) * K.shape[0]
    try:
        linalg.cholesky(
            K + 1e-8 * scale * np.eye(K.shape[0]), lower=True, check_finite=False
        )
    except linalg.LinAlgError:
        raise ValueError(
            f"kernel {name} is not positive semidefinite on these rows, so the problem"
            " is not convex; use 'rbf', 'laplacian', 'linear' or 'cosine', or change"
            " gamma, degree and coef0"
        ) from None


def _solve_cvxpy(
    K: Array, kappa: Array, upper: float, bounds: tuple[float, float]
) -> Array:
    import cvxpy

    cp: Any = cvxpy  # its public names are not typed
    unit = float(np.mean(np.abs(kappa))) or 1.0
    b = cp.Variable(K.shape[0])
    objective = 0.5 * cp.quad_form(b, cp.psd_wrap(K / unit)) - (kappa / unit) @ b
    constraints = [b >= 0, b <= upper]
    if bounds[0] == bounds[1]:  # two inequalities would leave no interior
        constraints += [cp.sum(b) == bounds[0]]
    else:
        constraints += [cp.sum(b) >= bounds[0], cp.sum(b) <= bounds[1]]
    cp.Problem(cp.Minimize(objective), constraints).solve(
        solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-9, tol_feas=1e-9
    )
    return project_box_slab(np.asarray(b.value), upper, *bounds)


def _solve_low_rank(
    X_source: Any,
    X_target: Any,
    parts: list[Array],
    options: dict[str, Any],
    problem: tuple[float, tuple[float, float], float, int],
    rank: int,
    memory_budget: float,
    random_state: Any,
) -> list[tuple[Array, KMMInfo]]:
    n = int(X_source.shape[0])
    if options["kernel"] == "linear":
        features = X_source.toarray() if sparse.issparse(X_source) else X_source

        def column_means(rows: Any) -> Array:
            return np.asarray(rows.mean(axis=0), dtype=np.float64).ravel()

        mean = column_means(X_target)
        means = [mean, *_means_without(mean, X_target, parts, column_means)]
        G = np.asfortranarray(features.T)
        linear = [_columns(G, n * m, 0.0, problem) for m in means]
        return [
            (b, _kmm_info(info, "low_rank", int(X_source.shape[1])))
            for b, info in _solve_each(linear, problem)
        ]
    rng = check_random_state(random_state)
    landmarks = fit_landmarks(X_source, rank, random_state=rng, **options)
    check_positive_semidefinite(
        kernel_matrix(landmarks.landmarks, **options), options["kernel"]
    )
    dtype = _factor_type(X_source, landmarks.rank, memory_budget)
    G = landmarks.transform(X_source, dtype)
    residual = landmarks.residual(X_source, G)
    diagonal = _diagonal(float(np.mean(residual)))
    mean = landmarks.mean(X_target)
    means = [mean, *_means_without(mean, X_target, parts, landmarks.mean)]
    problems = [_columns(G, n * m, diagonal, problem) for m in means]
    solutions = []
    unit = mean_diagonal(problems[0])
    for k, (b, info) in enumerate(_solve_each(problems, problem)):
        rows = X_target
        if k:
            rows = X_target[np.setdiff1d(np.arange(X_target.shape[0]), parts[k - 1])]
        error, stderr = _approximation_error(
            [X_source], [rows], b, landmarks, problems[k], rng
        )
        found = _kmm_info(
            info,
            "low_rank",
            landmarks.rank,
            approximation_error=error,
            approximation_stderr=stderr,
            trace_residual=float(np.mean(residual)) / unit,
        )
        solutions.append((b, found))
    return solutions


def _solve_each(
    problems: list[Columns], limits: tuple[float, tuple[float, float], float, int]
) -> list[tuple[Array, BoxQPInfo]]:
    """Solve the first; the others start from its solution."""
    solutions = [_solve_columns(problems[0], limits)]
    start = solutions[0][0]
    return solutions + [_solve_columns(p, limits, start) for p in problems[1:]]


def _columns(
    G: Array,
    c: Array,
    diagonal: Array | float,
    problem: tuple[float, tuple[float, float], float, int],
) -> Columns:
    upper, bounds, _, _ = problem
    n = G.shape[1]
    bounds = _reachable(bounds, n, upper)
    kind = Columns if namespace_of(G) is np else DeviceColumns
    return kind(G, c, np.broadcast_to(np.asarray(diagonal), (n,)), upper, bounds)


def _reachable(
    bounds: tuple[float, float], n: int, upper: float
) -> tuple[float, float]:
    return min(bounds[0], n * upper), min(bounds[1], n * upper)


def _solve_columns(
    columns: Columns,
    problem: tuple[float, tuple[float, float], float, int],
    start: Array | None = None,
) -> tuple[Array, BoxQPInfo]:
    """Run the dual Newton method; interior points where it does not get there."""
    upper, bounds, tol, max_iter = problem
    n = columns.e.size
    linear = columns.backward(columns.c)
    steps = 0
    best: tuple[Array, BoxQPInfo] | None = None
    if n > 1 and columns.bounds[0] < n * upper * (1 - 1e-9):
        product = (
            columns
            if isinstance(columns, DeviceColumns)
            else LowRankForm(columns.G, columns.e)
        )
        certify = Certifier(product, linear, upper, columns.bounds)
        weights, steps = solve_dual_newton(
            columns, tol=tol, max_iter=max_iter, start=start
        )
        weights = certify.project(weights)
        best = weights, certify(weights, steps, tol)
        if start is not None and not best[1].converged:
            return _solve_columns(columns, problem)  # not near enough
        if best[1].converged or steps >= max_iter:
            return best
    form = LowRankForm(to_numpy(columns.G), columns.e)  # interior points, on the host
    weights, info = solve_box_qp(
        form, linear, upper=upper, sum_bounds=bounds, tol=tol, max_iter=max_iter - steps
    )
    info = replace(info, n_iter=info.n_iter + steps)
    if best is not None and best[1].duality_gap < info.duality_gap:
        return best[0], replace(best[1], n_iter=info.n_iter)
    return weights, info


def _approximation_error(
    source: Iterable[Any],
    target: Iterable[Any],
    weights: Array,
    landmarks: LandmarkMap,
    columns: Problem,
    rng: Any,
) -> tuple[float, float]:
    r"""Estimate a bound of the relative suboptimality with the exact kernel.

    The features are an orthogonal projection, so up to a constant the approximate
    objective never exceeds the exact one. With u the weights of all rows (b on the
    source, :math:`-n_s / n_t` on the target) and E the part of the kernel that the
    features leave out, the exact suboptimality of b is at most its approximate one
    plus :math:`\tfrac12 u'Eu`, and that quadratic form is estimated without bias
    from random rows.
    """
    n = weights.size
    embedding = columns.forward(weights) - columns.c
    gradient = columns.backward(embedding)
    objective = 0.5 * float(embedding @ embedding - columns.c @ columns.c)
    lowest, _ = minimize_linear(gradient, columns.upper, *columns.bounds)
    gap = max(0.0, float(gradient @ weights) - lowest)
    m = sum(int(X.shape[0]) for X in target)
    half = min(200, n, m)
    total = float(weights.sum())
    # ranked first, so that the probe does not depend on the order of the rows
    order = order_free_ranks(source, n, rng)
    chosen = order[rng.choice(n, size=half, p=weights[order] / total)]
    probes = [take_from_chunks(source, chosen)]
    chosen = order_free_ranks(target, m, rng)[rng.choice(m, size=half)]
    probes.append(take_from_chunks(target, chosen))
    options = landmarks.kernel_options
    exact = [np.zeros(half), np.zeros(half)]
    start = 0
    for X in source:
        part = weights[start : start + X.shape[0]]
        start += X.shape[0]
        for values, probe in zip(exact, probes, strict=True):
            product = kernel_product(probe, X, array_like(part, X), **options)
            values += to_numpy(product)
    for X in target:
        for values, probe in zip(exact, probes, strict=True):
            values -= n * X.shape[0] / m * kernel_row_means(probe, X, **options)
    means = []
    for values, probe, size in zip(exact, probes, (total, -float(n)), strict=True):
        approximate = to_numpy(landmarks.transform(probe)).T @ embedding
        means.append(size * (values - approximate))
    bound = 0.5 * float(np.mean(means[0]) + np.mean(means[1]))
    spread = 0.5 * float(np.sqrt((np.var(means[0]) + np.var(means[1])) / half))
    scale = max(abs(objective), np.finfo(float).tiny)
    return max(0.0, gap + bound) / scale, spread / scale
