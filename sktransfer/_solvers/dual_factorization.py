r"""Nonnegative tri-factorization of several domains with common and own clusters.

.. math:: \min_{U, H, V \ge 0} \sum_d \lVert X_d' - [U_0\; U_d] H V_d' \rVert^2
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import linalg
from scipy.optimize import nnls

Array = npt.NDArray[Any]

#: keeps divisors and factors off 0, from which no product returns
_TINY = 1e-12


class Factors(NamedTuple):
    """Factors of all domains.

    Attributes
    ----------
    common : ndarray of shape (n_features, n_common)
        Clusters of features that all domains share.
    own : list of ndarray of shape (n_features, n_specific)
        Clusters of each domain.
    H : ndarray of shape (n_common + n_specific, n_classes)
        Which clusters a class has.
    V : list of ndarray of shape (n_samples, n_classes)
        Classes of the rows of each domain.
    """

    common: Array
    own: list[Array]
    H: Array
    V: list[Array]


class FactorInfo(NamedTuple):
    """How the descent went.

    Attributes
    ----------
    objectives : ndarray of shape (n_iter + 1,)
        Objective before the first and after each round; it never rises.
    n_iter : int
        Rounds.
    converged : bool
        Whether the last ten rounds lowered the objective by less than the tolerance.
    """

    objectives: Array
    n_iter: int
    converged: bool


def dual_factorization(
    tables: list[Any], V: list[Array], free: list[Array], common: Array, own: Array,
    H: Array, *, tol: float = 1e-4, max_iter: int = 200,
) -> tuple[Factors, FactorInfo]:  # fmt: skip
    """Factorize by multiplicative updates, none of which raises the objective.

    Parameters
    ----------
    tables : list of {ndarray, sparse matrix} of shape (n_samples, n_features)
        Nonnegative rows of each domain.
    V : list of ndarray of shape (n_samples, n_classes)
        Start of the classes.
    free : list of ndarray of bool of shape (n_samples,)
        Rows whose classes are to be found; those of the others stay.
    common, own : ndarray of shape (n_features, n_clusters)
        Start of the clusters; that of the own ones is one for all domains.
    H : ndarray of shape (n_clusters, n_classes)
        Start of the middle factor.
    tol : float, default=1e-4
        Relative fall of the objective in ten rounds at which they end.
    max_iter : int, default=200
        Largest number of rounds.

    Returns
    -------
    factors : Factors
        The factors.
    info : FactorInfo
        Certificate.
    """
    state = Factors(common, [own.copy() for _ in tables], H, [v.copy() for v in V])
    squares = [_square(X) for X in tables]
    values = [_objective(tables, squares, state)]
    converged, n_iter = False, 0
    while not converged and n_iter < max_iter:
        n_iter += 1
        state = _update_clusters(tables, state)
        state = state._replace(H=_update_middle(tables, state))
        for d, rows in enumerate(free):
            if rows.any():
                _update_classes(tables[d], state, d, rows)
        values.append(_objective(tables, squares, state))
        ten_before = values[max(n_iter - 10, 0)]
        converged = n_iter >= 10 and ten_before - values[-1] <= tol * ten_before
    return state, FactorInfo(np.array(values), n_iter, converged)


def _square(X: Any) -> float:
    return float(X.multiply(X).sum() if hasattr(X, "multiply") else np.vdot(X, X))


def _clusters(state: Factors, d: int) -> Array:
    return np.hstack([state.common, state.own[d]])


def _objective(tables: list[Any], squares: list[float], state: Factors) -> float:
    total = 0.0
    for d, X in enumerate(tables):
        profile = _clusters(state, d) @ state.H
        total += squares[d] - 2 * float(np.vdot(X @ profile, state.V[d]))
        total += float(np.vdot(profile.T @ profile, state.V[d].T @ state.V[d]))
    return total


def _update_clusters(tables: list[Any], state: Factors) -> Factors:
    n_common = state.common.shape[1]
    above = np.zeros_like(state.common)
    below = np.zeros_like(state.common)
    for d, X in enumerate(tables):
        A = state.V[d] @ state.H.T
        above += (X.T @ A)[:, :n_common]
        below += _clusters(state, d) @ (A.T @ A)[:, :n_common]
    state = state._replace(common=state.common * above / (below + _TINY))
    own = []
    for d, X in enumerate(tables):
        A = state.V[d] @ state.H.T
        above = (X.T @ A)[:, n_common:]
        below = _clusters(state, d) @ (A.T @ A)[:, n_common:]
        own.append(state.own[d] * above / (below + _TINY))
    return state._replace(own=own)


def _update_middle(tables: list[Any], state: Factors) -> Array:
    above, below = np.zeros_like(state.H), np.zeros_like(state.H)
    for d, X in enumerate(tables):
        U = _clusters(state, d)
        above += (X @ U).T @ state.V[d]
        below += (U.T @ U) @ state.H @ (state.V[d].T @ state.V[d])
    return np.asarray(state.H * above / (below + _TINY))


def _update_classes(X: Any, state: Factors, d: int, rows: Array) -> None:
    profile = _clusters(state, d) @ state.H
    above = (X @ profile)[rows]
    below = state.V[d][rows] @ (profile.T @ profile)
    state.V[d][rows] *= above / (below + _TINY)


def nonnegative_shares(X: Any, profile: Array) -> Array:
    r"""Return the nonnegative combinations of profiles that are nearest to rows.

    Parameters
    ----------
    X : {ndarray, sparse matrix} of shape (n_samples, n_features)
        Rows.
    profile : ndarray of shape (n_features, n_classes)
        Profile of each class.

    Returns
    -------
    V : ndarray of shape (n_samples, n_classes)
        :math:`\arg\min_{v \ge 0} \lVert x - P v \rVert^2` of each row.
    """
    gram = profile.T @ profile
    gram.flat[:: len(gram) + 1] += 1e-10 * max(float(np.trace(gram)), 1e-300)
    R = linalg.cholesky(gram)
    goals = linalg.solve_triangular(R, np.asarray(X @ profile).T, trans="T").T
    return np.array([nnls(R, goal)[0] for goal in goals]).reshape(len(goals), -1)
