r"""Landmarks of two domains: a map between their spaces, and weights in [0, 1].

.. math:: \Big\lVert \tfrac{1}{\delta n_S} \sum_i \alpha_i A'x_i - \bar z \Big\rVert^2
          + \sum_c \Big\lVert \tfrac{1}{\delta n_{S,c}} \sum_{i \in c} \alpha_i A'x_i
          - \bar z_c \Big\rVert^2 + \lambda \lVert A \rVert_F^2
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sktransfer._solvers.box_qp import LowRankForm
from sktransfer._solvers.class_balance import BalanceInfo, solve_balanced

Array = npt.NDArray[Any]


class Side(NamedTuple):
    """Rows of one domain for the means that are to agree.

    Attributes
    ----------
    rows : ndarray of shape (n, n_features)
        Rows.
    codes : ndarray of int of shape (n,)
        Classes 0, 1, ...
    weights : ndarray of shape (n,)
        Weights in [0, 1].
    """

    rows: Array
    codes: Array
    weights: Array


def mean_operator(codes: Array, size: Array, shared: Array) -> Array:
    """Return the matrix whose products with weighted rows are their means.

    Parameters
    ----------
    codes : ndarray of int of shape (n,)
        Classes.
    size : ndarray of shape (1 + n_classes,)
        Divisor of the mean of all rows, and of those of the classes.
    shared : ndarray of bool of shape (n_classes,)
        Classes whose means are compared; the rows of the others are 0.

    Returns
    -------
    M : ndarray of shape (1 + n_classes, n)
        Row 0 is for all rows, row 1 + c for class c.
    """
    hits = np.arange(len(shared))[:, None] == codes
    M = np.vstack([np.ones(len(codes)), hits & shared[:, None]])
    return np.asarray(M / np.where(size > 0, size, 1.0)[:, None])


def fit_map(U: Array, V: Array, penalty: float) -> Array:
    r"""Minimize :math:`\lVert U A - V \rVert^2 + \lambda \lVert A \rVert^2`.

    Parameters
    ----------
    U : ndarray of shape (n_means, n_features)
        Means of the source.
    V : ndarray of shape (n_means, n_components)
        Means of the target.
    penalty : float
        The factor :math:`\lambda > 0`.

    Returns
    -------
    A : ndarray of shape (n_features, n_components)
        The map.
    """
    gram = U @ U.T
    gram.flat[:: len(gram) + 1] += penalty
    return np.asarray(U.T @ np.linalg.solve(gram, V))


def class_sizes(codes: Array, n_classes: int) -> Array:
    """Return the number of rows, and that of each class."""
    return np.concatenate([[len(codes)], np.bincount(codes, minlength=n_classes)])


def target_means(
    labeled: Side, unlabeled: Side, delta: float, shared: Array
) -> tuple[Array, Array, Array]:
    """Return the means of a target, and the operators that make them.

    Returns
    -------
    V : ndarray of shape (1 + n_classes, n_components)
        Means.
    M_labeled, M_unlabeled : ndarray of shape (1 + n_classes, n)
        Their operators.
    """
    n = len(shared)
    size = class_sizes(labeled.codes, n) + delta * class_sizes(unlabeled.codes, n)
    first = mean_operator(labeled.codes, size, shared)
    second = mean_operator(unlabeled.codes, size, shared)
    V = first @ labeled.rows + (second * unlabeled.weights) @ unlabeled.rows
    return V, first, second


def solve_landmarks(
    source: Side, labeled: Side, unlabeled: Side, delta: float, shared: Array,
    *, tol: float = 1e-4, max_iter: int = 2000,
) -> tuple[Array, Array, BalanceInfo]:  # fmt: skip
    r"""Find the weights of mapped source rows and of unlabeled target rows.

    Parameters
    ----------
    source, labeled, unlabeled : Side
        Mapped source rows and target rows, in one space; the weights of the first
        and the last are what is looked for.
    delta : float
        Mean of the weights within each class, in (0, 1].
    shared : ndarray of bool of shape (n_classes,)
        Classes whose means are compared.
    tol : float, default=1e-4
        Relative duality gap to reach.
    max_iter : int, default=2000
        Largest number of steps.

    Returns
    -------
    alpha, beta : ndarray of shape (n,)
        Weights of the source rows, and of the unlabeled rows.
    info : BalanceInfo
        Certificate.
    """
    n_classes = len(shared)
    sizes = class_sizes(source.codes, n_classes)
    M_source = mean_operator(source.codes, delta * sizes, shared)
    _, M_labeled, M_unlabeled = target_means(labeled, unlabeled, delta, shared)
    # one row for each mean and component, one column for each weight
    G = np.concatenate(
        [
            np.einsum("rn,nk->rkn", M_source, source.rows),
            -np.einsum("rn,nk->rkn", M_unlabeled, unlabeled.rows),
        ],
        axis=2,
    ).reshape(-1, len(source.rows) + len(unlabeled.rows))
    goal = (M_labeled @ labeled.rows).ravel()
    parts = np.concatenate([source.codes, n_classes + unlabeled.codes])
    counts = delta * np.bincount(parts, minlength=2 * n_classes)
    w, info = solve_balanced(
        LowRankForm(G), G.T @ goal, parts, counts, tol=tol, max_iter=max_iter
    )
    return w[: len(source.rows)], w[len(source.rows) :], info
