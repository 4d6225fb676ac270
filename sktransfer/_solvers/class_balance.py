r"""Rows of a class-balanced subset whose mean is near that of a target.

.. math:: \min_b \tfrac12 b'Kb - \kappa'b \quad\text{s.t.}\quad 0 \le b_i \le 1,\;
          \sum_{i \in c} b_i = m_c
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sktransfer._solvers.box_qp import LowRankForm
from sktransfer._solvers.projections import project_box_slab

Array = npt.NDArray[Any]


class BalanceInfo(NamedTuple):
    """How well the program was solved.

    Attributes
    ----------
    objective : float
        Value of the program.
    gap : float
        Bound of its distance to the optimum, relative to the linear term.
    n_iter : int
        Projected gradient steps.
    """

    objective: float
    gap: float
    n_iter: int


def balanced_counts(sizes: Array, total: int) -> Array:
    """Share a number of rows over classes as equally as their sizes allow.

    Parameters
    ----------
    sizes : ndarray of int of shape (n_classes,)
        Rows of each class.
    total : int
        Rows that are wanted; at most the sum.

    Returns
    -------
    counts : ndarray of int of shape (n_classes,)
        Equal but for exhausted classes; what does not divide goes to the first ones.
    """
    counts = np.zeros(len(sizes), dtype=int)
    while total > counts.sum():
        open_classes = np.flatnonzero(counts < sizes)
        rest = total - int(counts.sum())
        each = rest // len(open_classes)
        if each == 0:
            counts[open_classes[:rest]] += 1
            break
        counts[open_classes] = np.minimum(
            counts[open_classes] + each, sizes[open_classes]
        )
    return counts


def solve_balanced(
    K: Array | LowRankForm, kappa: Array, classes: Array, counts: Array, *,
    tol: float = 1e-4, max_iter: int = 2000,
) -> tuple[Array, BalanceInfo]:  # fmt: skip
    """Solve by accelerated projected gradients with restarts.

    Parameters
    ----------
    K : ndarray of shape (n, n) or LowRankForm
        Kernel matrix, positive semidefinite.
    kappa : ndarray of shape (n,)
        Linear term.
    classes : ndarray of int of shape (n,)
        Class of each row, 0, 1, ...
    counts : ndarray of shape (n_classes,)
        Sums of the weights.
    tol : float, default=1e-4
        Relative gap to reach.
    max_iter : int, default=2000
        Largest number of steps.

    Returns
    -------
    b : ndarray of shape (n,)
        Weights in [0, 1].
    info : BalanceInfo
        Certificate.
    """
    parts = [np.flatnonzero(classes == c) for c in range(len(counts))]

    def project(v: Array) -> Array:
        b = np.zeros(len(v))
        for part, count in zip(parts, counts, strict=True):
            if count >= len(part):
                b[part] = 1.0
            elif count > 0:
                b[part] = project_box_slab(v[part], 1.0, float(count), float(count))
        return b

    def gap_of(b: Array, gradient: Array) -> float:
        best = 0.0
        for part, count in zip(parts, counts, strict=True):
            # the least sum: weight 1 on the smallest entries, the rest on the next
            share = np.clip(float(count) - np.arange(len(part)), 0.0, 1.0)
            best += float(np.sort(gradient[part]) @ share)
        return float(gradient @ b) - best

    scale = max(float(np.abs(kappa).sum()) * counts.sum() / max(len(kappa), 1), 1e-300)
    multiply: Callable[[Array], Array]
    if isinstance(K, LowRankForm):
        multiply, largest = K.matvec, float(np.linalg.norm(K.G, 2)) ** 2
    else:
        multiply, largest = partial(np.matmul, K), _largest_eigenvalue(K)
    step = 1 / max(largest, 1e-300)
    b = project(np.zeros(len(kappa)) + 0.5)
    momentum, ahead = 1.0, b
    product = multiply(b)
    gap, n_iter = gap_of(b, product - kappa), 0
    while gap > tol * scale and n_iter < max_iter:
        n_iter += 1
        new = project(ahead - step * (multiply(ahead) - kappa))
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        if (ahead - new) @ (new - b) > 0:  # it overshoots: start again
            following, ahead = 1.0, new
        else:
            ahead = new + (momentum - 1) / following * (new - b)
        b, momentum = new, following
        product = multiply(b)
        gap = gap_of(b, product - kappa)
    objective = float(0.5 * b @ product - kappa @ b)
    return b, BalanceInfo(objective, gap / scale, n_iter)


def _largest_eigenvalue(K: Array) -> float:
    """Return an upper bound, by power steps from the row sums of absolute values."""
    bound = float(np.abs(K).sum(axis=1).max(initial=0.0))
    v = np.abs(K).sum(axis=1)
    for _ in range(50):  # of |K|, whose largest eigenvalue is at least that of K
        size = float(np.linalg.norm(v))
        if size == 0:
            return bound
        v = np.abs(K) @ (v / size)
    # Collatz and Wielandt: the largest ratio bounds it from above
    following = np.abs(K) @ v
    positive = v > 0
    return min(bound, float((following[positive] / v[positive]).max(initial=0.0)))
