r"""Small convex quadratic programs on the probability simplex.

.. math:: \min_a \tfrac12 a'Qa + c'a \quad\text{s.t.}\quad a \ge 0,\; \sum_i a_i = 1.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg

Array = npt.NDArray[Any]


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
        Changes of the active set.
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
    tol: float = 1e-9,
    max_iter: int | None = None,
) -> tuple[Array, SimplexQPInfo]:
    r"""Minimize :math:`\tfrac12 a'Qa + c'a` on the simplex by a primal active set.

    Parameters
    ----------
    Q : ndarray of shape (k, k)
        Positive semidefinite, it may be singular.
    c : ndarray of shape (k,), default=None
        Linear term; None is 0.
    tol : float, default=1e-9
        Scaled KKT residual that counts as solved.
    max_iter : int, default=None
        Largest number of changes of the active set; None is ``20 * k + 100``.

    Returns
    -------
    a : ndarray of shape (k,)
        The weights; they sum to 1.
    info : SimplexQPInfo
        Certificate.

    Raises
    ------
    ValueError
        If Q is not positive semidefinite or a value is not finite.
    """
    Q = np.asarray(Q, dtype=np.float64)
    Q = (Q + Q.T) / 2
    k = Q.shape[0]
    c = np.zeros(k) if c is None else np.asarray(c, dtype=np.float64)
    if not (np.all(np.isfinite(Q)) and np.all(np.isfinite(c))):
        raise ValueError("Q and c must be finite")
    size = float(np.max(np.abs(Q), initial=0.0))
    if k and float(np.linalg.eigvalsh(Q)[0]) < -1e-8 * size * k:
        raise ValueError("Q is not positive semidefinite, the program is not convex")
    # constants added to Q or c change nothing on the simplex but the conditioning
    shifted = c - c.min(initial=np.inf)
    scale = max(size, float(np.max(np.abs(shifted), initial=0.0)))
    if scale == 0.0:
        return np.full(k, 1.0 / k), SimplexQPInfo(float(c[0]), 0.0, 0, True)
    limit = 20 * k + 100 if max_iter is None else max_iter
    a, n_iter = _active_set(Q / scale, shifted / scale, tol, limit)
    gradient = (Q @ a + shifted) / scale
    residual = max(0.0, float(gradient @ a - gradient.min()))
    objective = float(0.5 * a @ Q @ a + c @ a)
    return a, SimplexQPInfo(objective, residual, n_iter, residual <= tol)


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
