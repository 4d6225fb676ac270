r"""Small convex quadratic programs on the probability simplex.

.. math:: \min_a \tfrac12 a'Qa + c'a \quad\text{s.t.}\quad a \ge 0,\; \sum_i a_i = 1.

Every program over weights of models or sources is solved here, by an active set or,
where a caller asks for it by name, by cvxpy. Where several points are optimal (equal
models, more models than rows) both return the one of least norm, which treats equal
models alike and does not depend on their order.
"""

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import linalg
from scipy.optimize import nnls

Array = npt.NDArray[Any]
Solver = Literal["auto", "cvxpy"]

#: values of the parameter ``solver`` of every estimator with such a program
SOLVERS = {"auto", "cvxpy"}
_NULL = 1e-11


@dataclass(frozen=True)
class SimplexQPInfo:
    """How well a simplex program was solved.

    Attributes
    ----------
    objective : float
        Value at the solution.
    kkt_residual : float
        ``(grad'a - min grad) / scale``, scale the largest absolute entry of Q and c:
        0 exactly where a is optimal, and times scale an upper bound of the
        suboptimality.
    n_iter : int
        Changes of the active set, or iterations of the solver of cvxpy.
    converged : bool
        Whether ``kkt_residual <= tol``.
    """

    objective: float
    kkt_residual: float
    n_iter: int
    converged: bool


def solve_simplex_qp(
    Q: Array,
    c: Array | None = None,
    *,
    solver: Solver = "auto",
    tol: float = 1e-9,
    max_iter: int | None = None,
) -> tuple[Array, SimplexQPInfo]:
    r"""Minimize :math:`\tfrac12 a'Qa + c'a` on the simplex.

    Parameters
    ----------
    Q : ndarray of shape (k, k)
        Positive semidefinite, it may be singular.
    c : ndarray of shape (k,), default=None
        Linear term; None is 0.
    solver : {"auto", "cvxpy"}, default="auto"
        "auto" is a primal active set; "cvxpy" writes the program in cvxpy and has
        CLARABEL solve it. The solutions agree to 1e-8, the optimal one of least norm.
    tol : float, default=1e-9
        Scaled KKT residual that counts as solved.
    max_iter : int, default=None
        Largest number of changes of the active set, or of iterations of CLARABEL;
        None is ``20 * k + 100``.

    Returns
    -------
    a : ndarray of shape (k,)
        The weights; they sum to 1.
    info : SimplexQPInfo
        Certificate.

    Raises
    ------
    ValueError
        If Q is not positive semidefinite, a value is not finite or ``solver`` is not
        one of the two.
    """
    check_solver(solver)
    Q = np.asarray(Q, dtype=np.float64)
    Q = (Q + Q.T) / 2
    k = Q.shape[0]
    c = np.zeros(k) if c is None else np.asarray(c, dtype=np.float64)
    if not (np.all(np.isfinite(Q)) and np.all(np.isfinite(c))):
        raise ValueError("Q and c must be finite")
    size = float(np.max(np.abs(Q), initial=0.0))
    values, vectors = linalg.eigh(Q) if k else (np.zeros(0), np.zeros((0, 0)))
    if k and float(values[0]) < -1e-8 * size * k:
        raise ValueError("Q is not positive semidefinite, the program is not convex")
    # constants added to Q or c change nothing on the simplex but the conditioning
    shifted = c - c.min(initial=np.inf)
    scale = max(size, float(np.max(np.abs(shifted), initial=0.0)))
    if scale == 0.0:
        return np.full(k, 1.0 / k), SimplexQPInfo(float(c[0]), 0.0, 0, True)
    limit = 20 * k + 100 if max_iter is None else max_iter
    H, g = Q / scale, shifted / scale
    if solver == "cvxpy":
        root = np.sqrt(np.maximum(values / scale, 0.0))[:, None] * vectors.T
        a, n_iter = _by_cvxpy(root, g, limit)
    else:
        a, n_iter = _active_set(H, g, tol, limit)
    units = _units(H)
    a = _sharpened(H, g, a, units)
    if _residual(H, g, a) <= tol:
        slack = H @ a + g
        tight = slack - slack.min() <= 1e-11
        equations = np.vstack([units[:, None] * H, g, np.ones(k)])[:, tight]
        moved = np.where(tight, a, 0.0)
        moved[tight] = least_norm(moved[tight], equations, units=units[tight])
        a = _no_worse(H, g, a, moved, 1e-11)
    residual = _residual(H, g, a)
    objective = float(0.5 * a @ Q @ a + c @ a)
    return a, SimplexQPInfo(objective, residual, n_iter, residual <= tol)


def simplex_least_squares(
    columns: Array, goal: Array, *, solver: Solver = "auto"
) -> tuple[Array, SimplexQPInfo]:
    r"""Minimize :math:`\tfrac12 \|g - \sum_k a_k f_k\|^2` on the simplex.

    Parameters
    ----------
    columns : ndarray of shape (n_models, n)
        The vectors :math:`f_k`.
    goal : ndarray of shape (n,)
        The vector :math:`g`.
    solver : {"auto", "cvxpy"}, default="auto"
        Active set or cvxpy.

    Returns
    -------
    a : ndarray of shape (n_models,)
        Nonnegative, with sum 1.
    info : SimplexQPInfo
        Residual and iterations.
    """
    A = np.asarray(columns, dtype=np.float64)
    return solve_simplex_qp(A @ A.T, -A @ goal, solver=solver)


def check_solver(solver: str) -> None:
    """Raise a ValueError unless ``solver`` is "auto" or "cvxpy"."""
    if solver not in SOLVERS:
        raise ValueError(f'solver must be "auto" or "cvxpy", got {solver!r}')


def _by_cvxpy(root: Array, c: Array, max_iter: int) -> tuple[Array, int]:
    import cvxpy

    cp: Any = cvxpy  # its stubs hide the atoms
    a = cp.Variable(len(c), nonneg=True)
    objective = 0.5 * cp.sum_squares(root @ a) + c @ a
    problem = cp.Problem(cp.Minimize(objective), [cp.sum(a) == 1])
    n_iter = solve_by_clarabel(problem, max_iter=max_iter)
    found = np.maximum(np.asarray(a.value, dtype=np.float64), 0.0)
    return found / found.sum(), n_iter


def solve_by_clarabel(problem: Any, *, max_iter: int = 200) -> int:
    """Solve a cvxpy problem in place as exactly as double precision allows.

    Parameters
    ----------
    problem : cvxpy.Problem
        The problem.
    max_iter : int, default=200
        Largest number of iterations.

    Returns
    -------
    n_iter : int
        Iterations.
    """
    import cvxpy as cp

    with warnings.catch_warnings():
        # 1e-13 is out of reach at times; the callers measure what was reached
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        problem.solve(
            solver=cp.CLARABEL,
            tol_gap_abs=1e-13,
            tol_gap_rel=1e-13,
            tol_feas=1e-13,
            max_iter=max_iter,
        )
    return int(problem.solver_stats.num_iters)


def least_norm(
    x: Array,
    equations: Array,
    upper: Array | None = None,
    *,
    units: Array | None = None,
) -> Array:
    """Move a point to the one of least norm with the same bounds and equations.

    Parameters
    ----------
    x : ndarray of shape (k,)
        A point with ``0 <= x <= upper``.
    equations : ndarray of shape (m, k)
        What ``equations @ x`` is, stays.
    upper : ndarray of shape (k,), default=None
        Upper bounds; None: there are none.
    units : ndarray of shape (k,), default=None
        Units of x in which the equations are well scaled, for the judgement of which
        singular values are 0; None: 1.

    Returns
    -------
    x : ndarray of shape (k,)
        The point, by Lawson and Hanson's least-distance program.
    """
    units = np.ones(len(x)) if units is None else units
    scaled = equations * units
    size = linalg.norm(scaled, axis=1, keepdims=True)
    _, values, Vt = linalg.svd(scaled / np.where(size > 0, size, 1.0))
    rank = int(np.sum(values > _NULL * values[0]))
    if rank == len(x):
        return x
    N = linalg.qr(units[:, None] * Vt[rank:].T, mode="economic")[0]
    fixed = x - N @ (N.T @ x)
    G, h = N, -fixed
    if upper is not None:
        G, h = np.vstack([N, -N]), np.concatenate([-fixed, fixed - upper])
    if np.all(h <= 1e-13 * np.max(np.abs(x))):
        moved: Array = np.clip(fixed, 0.0, upper)
        return moved
    E = np.vstack([G.T, h])
    goal = np.zeros(len(E))
    goal[-1] = 1.0
    u, _ = nnls(E, goal, maxiter=30 * E.shape[1])
    # the multipliers name the bounds that hold with equality
    step = linalg.lstsq(G[u > 0], h[u > 0])[0]
    moved = fixed + N @ step
    moved = np.clip(moved, 0.0, upper)
    return moved


def _residual(Q: Array, c: Array, a: Array) -> float:
    gradient = Q @ a + c
    return max(0.0, float(gradient @ a - gradient.min()))


def _units(Q: Array) -> Array:
    """Units of the weights in which the curvature of every one is 1."""
    curvature = Q.diagonal()
    seen = curvature > 0
    return np.where(seen, 1 / np.sqrt(np.where(seen, curvature, 1.0)), 1.0)


def _no_worse(
    Q: Array, c: Array, a: Array, moved: Array, slack: float = 1e-13
) -> Array:
    """Take the other point unless it is further from optimal than rounding explains."""
    if not moved.sum() > 0:
        return a
    moved = moved / moved.sum()
    return moved if _residual(Q, c, moved) <= _residual(Q, c, a) + slack else a


def _sharpened(Q: Array, c: Array, a: Array, units: Array) -> Array:
    """Solve exactly on the support that a nearly optimal point shows."""
    gradient = Q @ a + c
    support = a > units**2 * (gradient - gradient.min())
    k = int(support.sum())
    if not k:
        return a
    b = np.where(support, a, 0.0)
    unit = units[support]
    top = unit.max()  # the row of the sum is scaled to entries of at most 1
    system = np.zeros((k + 1, k + 1))
    system[:k, :k] = unit[:, None] * Q[np.ix_(support, support)] * unit
    system[:k, k] = system[k, :k] = unit / top
    slope = (Q @ b + c)[support]
    level = float(gradient @ a)
    error = np.append(unit * (level - slope), (1.0 - b.sum()) / top)
    step = linalg.lstsq(system, error, cond=_NULL)[0]
    b[support] += unit * step[:k]
    return _no_worse(Q, c, a, np.maximum(b, 0.0))


def _active_set(Q: Array, c: Array, tol: float, limit: int) -> tuple[Array, int]:
    a = np.zeros(c.size)
    a[int(np.argmin(0.5 * Q.diagonal() + c))] = 1.0
    free = a > 0
    for n_iter in range(limit):
        goal = np.zeros_like(a)
        goal[free] = _equality_solution(Q[np.ix_(free, free)], c[free])
        leaving = free & (goal < 0)
        if leaving.any():
            share = a[leaving] / (a[leaving] - goal[leaving])
            step = float(share.min())
            a = a + step * (goal - a)
            gone = np.flatnonzero(leaving)[share <= step * (1 + 1e-12)]
            a[gone] = 0.0
            free[gone] = False
            if free.any():
                continue
        a = goal
        gradient = Q @ a + c
        slack = gradient - gradient @ a
        slack[free] = 0.0
        entering = int(np.argmin(slack))
        if slack[entering] >= -0.1 * tol:
            return a / a.sum(), n_iter
        free[entering] = True
    return a / a.sum(), limit


def _equality_solution(Q: Array, c: Array) -> Array:
    """Minimize on the plane ``sum(a) = 1``; a tiny ridge makes it unique."""
    k = c.size
    system = np.ones((k + 1, k + 1))
    system[:k, :k] = Q
    system[np.arange(k), np.arange(k)] += 1e-13
    system[k, k] = 0.0
    solution = linalg.solve(system, np.append(-c, 1.0), assume_a="sym")
    a: Array = solution[:k] / solution[:k].sum()
    return a
