r"""Logistic losses of bilinear forms with a trace norm, by proximal gradients.

.. math:: \min_S \sum_k \tfrac{w_k}{|k|} \sum_{i \in k}
          \log(1 + e^{-y_i a_i' S b_i}) + \lambda \lVert S \rVert_*
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import expit

Array = npt.NDArray[Any]


class TraceNormInfo(NamedTuple):
    """How well the program was solved.

    Attributes
    ----------
    objective : float
        Value of the program.
    residual : float
        Norm of the proximal-gradient mapping, which is 0 at the optimum alone,
        relative to that at S = 0.
    n_iter : int
        Steps.
    converged : bool
        Whether the residual is within the tolerance.
    """

    objective: float
    residual: float
    n_iter: int
    converged: bool


class Grid(NamedTuple):
    """Losses of every row with every column: ``log(1 + exp(-Y * (A S B')))``.

    Attributes
    ----------
    A : ndarray of shape (n_rows, p)
        Left vectors.
    B : ndarray of shape (n_columns, q)
        Right vectors.
    Y : ndarray of shape (n_rows, n_columns)
        Signs.
    weight : float
        Weight of the mean over rows of the sum over columns.
    """

    A: Array
    B: Array
    Y: Array
    weight: float


class Pairs(NamedTuple):
    """Losses of rows with their partners: ``log(1 + exp(-a_i' S b_i))``.

    Attributes
    ----------
    A : ndarray of shape (n_pairs, p)
        Left vectors.
    B : ndarray of shape (n_pairs, q)
        Right vectors.
    weight : float
        Weight of the mean.
    """

    A: Array
    B: Array
    weight: float


def _loss(S: Array, grid: Grid, pairs: Pairs) -> float:
    total = 0.0
    if len(grid.A):
        margins = grid.Y * (grid.A @ S @ grid.B.T)
        total += grid.weight * float(np.logaddexp(0, -margins).sum()) / len(grid.A)
    if len(pairs.A):
        margins = np.einsum("ip,pq,iq->i", pairs.A, S, pairs.B, optimize=True)
        total += pairs.weight * float(np.logaddexp(0, -margins).mean())
    return total


def gradient(S: Array, grid: Grid, pairs: Pairs) -> Array:
    """Return the gradient of the losses at S, shape (p, q)."""
    total = np.zeros(S.shape)
    if len(grid.A):
        margins = grid.Y * (grid.A @ S @ grid.B.T)
        slope = -grid.Y * expit(-margins) * (grid.weight / len(grid.A))
        total += grid.A.T @ slope @ grid.B
    if len(pairs.A):
        margins = np.einsum("ip,pq,iq->i", pairs.A, S, pairs.B, optimize=True)
        slope = -expit(-margins) * (pairs.weight / len(pairs.A))
        total += pairs.A.T @ (slope[:, None] * pairs.B)
    return total


def shrink_values(S: Array, threshold: float) -> tuple[Array, float]:
    """Return the matrix with its singular values shrunk, and their new sum."""
    U, values, V = np.linalg.svd(S, full_matrices=False)
    values = np.maximum(values - threshold, 0.0)
    return (U * values) @ V, float(values.sum())


def solve_trace_norm(
    grid: Grid, pairs: Pairs, penalty: float, *,
    tol: float = 1e-4, max_iter: int = 1000,
) -> tuple[Array, TraceNormInfo]:  # fmt: skip
    r"""Solve by accelerated proximal gradients with line search and restarts.

    Parameters
    ----------
    grid : Grid
        Losses of labeled rows.
    pairs : Pairs
        Losses of pairs.
    penalty : float
        The factor :math:`\lambda > 0` of the trace norm.
    tol : float, default=1e-4
        Relative residual to reach.
    max_iter : int, default=1000
        Largest number of steps.

    Returns
    -------
    S : ndarray of shape (p, q)
        The solution. It is in the span of the rows of both sides, in which the program
        is solved where that is smaller.
    info : TraceNormInfo
        Certificate.
    """
    left = _basis(np.vstack([grid.A, pairs.A]))
    right = _basis(np.vstack([grid.B, pairs.B]))
    small = Grid(grid.A @ left, grid.B @ right, grid.Y, grid.weight)
    tied = Pairs(pairs.A @ left, pairs.B @ right, pairs.weight)
    S = np.zeros((left.shape[1], right.shape[1]))
    first = gradient(S, small, tied)
    scale = float(np.linalg.norm(first))
    if not len(grid.A) + len(pairs.A) or np.linalg.norm(first, 2) <= penalty:
        value = _loss(S, small, tied)
        return left @ S @ right.T, TraceNormInfo(value, 0.0, 0, True)
    ahead, momentum, step, trace = S, 1.0, 1.0 / max(scale, 1e-300), 0.0
    residual, n_iter = np.inf, 0
    while residual > tol * scale and n_iter < max_iter:
        n_iter += 1
        value, slope = _loss(ahead, small, tied), gradient(ahead, small, tied)
        step *= 1.5
        while True:
            new, trace = shrink_values(ahead - step * slope, step * penalty)
            move = new - ahead
            bound = value + float(np.vdot(slope, move)) + np.vdot(move, move) / 2 / step
            rounding = 1e-12 * (1 + abs(value))
            if _loss(new, small, tied) <= bound + rounding:
                break
            step /= 2
        residual = float(np.linalg.norm(move)) / step
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        if np.vdot(ahead - new, new - S) > 0:  # it overshoots: start again
            following, ahead = 1.0, new
        else:
            ahead = new + (momentum - 1) / following * (new - S)
        S, momentum = new, following
    # the residual of the solution itself, not of the extrapolated point
    final, _ = shrink_values(S - step * gradient(S, small, tied), step * penalty)
    residual = float(np.linalg.norm(final - S)) / step / scale
    objective = _loss(S, small, tied) + penalty * trace
    info = TraceNormInfo(objective, residual, n_iter, residual <= 10 * tol)
    return left @ S @ right.T, info


def _basis(rows: Array) -> Array:
    """Return an orthonormal basis of the span of rows, or all of the space."""
    if len(rows) >= rows.shape[1]:
        return np.eye(rows.shape[1])
    return np.asarray(np.linalg.qr(rows.T)[0])
