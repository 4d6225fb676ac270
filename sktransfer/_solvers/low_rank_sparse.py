r"""Relaxed regression with a low-rank and sparse coupling of two domains, by ADMM.

.. math:: \min \tfrac12 \lVert P'X_S - (Y + B \circ M) \rVert^2
          + \tfrac{\lambda}{2} \lVert P \rVert^2 + \lVert Z \rVert_*
          + \alpha \lVert Z \rVert_1 + \beta \lVert E \rVert_1,
          \quad M \ge 0,\; P'X_T = P'X_S Z + E
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sktransfer._solvers.trace_norm import shrink_values

Array = npt.NDArray[Any]

_FIRST_MU = 0.1
_LARGEST_MU = 1e6
#: matrices of the size of Z that live at the same time
N_MATRICES = 8


class Coupling(NamedTuple):
    """The solution.

    Attributes
    ----------
    P : ndarray of shape (n_features, n_outputs)
        Map of rows.
    Z : ndarray of shape (n_source, n_target)
        Coupling: the mapped target rows are combinations of mapped source rows.
    E : ndarray of shape (n_outputs, n_target)
        What the coupling leaves.
    """

    P: Array
    Z: Array
    E: Array


class CouplingInfo(NamedTuple):
    """How well it was solved.

    Attributes
    ----------
    residual : float
        Largest violation of the three constraints, relative to the mapped rows.
    n_iter : int
        Rounds.
    converged : bool
        Whether the residual is within the tolerance.
    """

    residual: float
    n_iter: int
    converged: bool


def relaxed_regression(
    X: Array, Y: Array, lam: float, *, tol: float = 1e-8, max_iter: int = 500
) -> Array:
    """Return the map of the first two terms, by alternating closed forms.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    Y : ndarray of shape (n_samples, n_outputs)
        Signs of the classes.
    lam : float
        Ridge penalty.
    tol : float, default=1e-8
        Relative change of the map at which it ends.
    max_iter : int, default=500
        Largest number of rounds.

    Returns
    -------
    P : ndarray of shape (n_features, n_outputs)
        The map.
    """
    inverse = np.linalg.inv(X.T @ X + lam * np.eye(X.shape[1])) @ X.T
    P = inverse @ Y
    for _ in range(max_iter):
        new = inverse @ (Y + Y * np.maximum(Y * (X @ P - Y), 0.0))
        moved = np.linalg.norm(new - P)
        P = new
        if moved <= tol * np.linalg.norm(P):
            break
    return np.asarray(P)


def low_rank_sparse(
    X_source: Array, Y: Array, X_target: Array, *, lam: float, alpha: float,
    beta: float, growth: float, tol: float, max_iter: int,
) -> tuple[Coupling, CouplingInfo]:  # fmt: skip
    """Solve by alternating directions with a growing penalty.

    Parameters
    ----------
    X_source : ndarray of shape (n_source, n_features)
        Source rows.
    Y : ndarray of shape (n_source, n_outputs)
        Signs of their classes.
    X_target : ndarray of shape (n_target, n_features)
        Target rows.
    lam, alpha, beta : float
        Factors of the terms.
    growth : float
        Factor by which the penalty of the constraints grows in a round.
    tol : float
        Relative residual at which it ends.
    max_iter : int
        Largest number of rounds.

    Returns
    -------
    solution : Coupling
        Map, coupling and rest.
    info : CouplingInfo
        Certificate.
    """
    S, T = X_source.T, X_target.T
    n_source, n_target, n_outputs = S.shape[1], T.shape[1], Y.shape[1]
    P = relaxed_regression(X_source, Y, lam)
    Z = np.zeros((n_source, n_target))
    E = np.zeros((n_outputs, n_target))
    Y1, Y2, Y3 = np.zeros_like(E), np.zeros_like(Z), np.zeros_like(Z)
    ridge = S @ S.T + lam * np.eye(len(S))
    mu, n_iter, residual = _FIRST_MU, 0, np.inf
    while residual > tol and n_iter < max_iter:
        n_iter += 1
        Z1, _ = shrink_values(Z + Y2 / mu, 1 / mu)
        Z2 = _shrink(Z + Y3 / mu, alpha / mu)
        RS, RT = P.T @ S, P.T @ T
        E = _shrink(RT - RS @ Z + Y1 / mu, beta / mu)
        goal = RS.T @ (RT - E + Y1 / mu) + Z1 + Z2 - (Y2 + Y3) / mu
        # (2 I + R'R)^-1 by the inverse of a matrix of the number of outputs
        small = np.linalg.solve(2 * np.eye(n_outputs) + RS @ RS.T, RS @ goal)
        Z = (goal - RS.T @ small) / 2
        G = T - S @ Z
        relaxed = Y + Y * np.maximum(Y * (RS.T - Y), 0.0)
        P = np.linalg.solve(
            ridge + mu * (G @ G.T), S @ relaxed + mu * (G @ (E - Y1 / mu).T)
        )
        coupled = P.T @ G - E
        Y1, Y2, Y3 = Y1 + mu * coupled, Y2 + mu * (Z - Z1), Y3 + mu * (Z - Z2)
        scale = max(float(np.abs(P.T @ T).max(initial=0.0)), 1e-12)
        parts = [np.abs(coupled).max(initial=0.0) / scale]
        parts += [np.abs(Z - other).max(initial=0.0) for other in (Z1, Z2)]
        residual = float(max(parts))
        mu = min(growth * mu, _LARGEST_MU)
    return Coupling(P, Z, E), CouplingInfo(residual, n_iter, residual <= tol)


def _shrink(values: Array, threshold: float) -> Array:
    return np.asarray(np.sign(values) * np.maximum(np.abs(values) - threshold, 0.0))
