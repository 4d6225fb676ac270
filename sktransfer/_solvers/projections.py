"""Exact projections and linear minimization over boxes, slabs and the simplex."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def project_simplex(v: Array, total: float = 1.0) -> Array:
    r"""Project on :math:`\{a : a \ge 0, \sum_i a_i = total\}` by sorting.

    Parameters
    ----------
    v : ndarray of shape (n,)
        Point to project.
    total : float, default=1.0
        Sum of the coordinates.

    Returns
    -------
    ndarray of shape (n,)
        The nearest point.
    """
    v = np.asarray(v, dtype=np.float64)
    # one shift by the largest entry keeps the sums small: the result is unchanged
    v = v - v.max()
    descending = np.sort(v)[::-1]
    excess = (np.cumsum(descending) - total) / np.arange(1, v.size + 1)
    level = excess[np.flatnonzero(descending > excess)[-1]]
    a: Array = np.maximum(v - level, 0.0)
    a *= total / a.sum()
    return a


def project_box_slab(
    v: Array, upper: float, lower_sum: float, upper_sum: float
) -> Array:
    r"""Project on :math:`\{b : 0 \le b \le u, l \le \sum_i b_i \le h\}` exactly.

    The projection is :math:`\operatorname{clip}(v - \tau, 0, u)`; the sum falls
    piecewise linearly in :math:`\tau`, so the right piece is found by bisection
    over the sorted breakpoints and :math:`\tau` by one division.

    Parameters
    ----------
    v : ndarray of shape (n,)
        Point to project.
    upper : float
        Largest value of a coordinate, > 0.
    lower_sum, upper_sum : float
        Bounds of the sum; ``0 <= lower_sum <= upper_sum`` and
        ``lower_sum <= n * upper``.

    Returns
    -------
    ndarray of shape (n,)
        The nearest point.
    """
    x: Array = np.clip(v, 0.0, upper)
    total = float(x.sum())
    if lower_sum <= total <= upper_sum:
        return x
    goal = upper_sum if total > upper_sum else lower_sum
    knots = np.sort(np.concatenate([v, v - upper]))
    low, high = 0, knots.size - 1
    while high - low > 1:
        middle = (low + high) // 2
        if np.clip(v - knots[middle], 0.0, upper).sum() >= goal:
            low = middle
        else:
            high = middle
    at_low = np.clip(v - knots[low], 0.0, upper).sum()
    at_high = np.clip(v - knots[high], 0.0, upper).sum()
    share = (at_low - goal) / (at_low - at_high) if at_low > at_high else 0.0
    level = knots[low] + share * (knots[high] - knots[low])
    x = np.clip(v - level, 0.0, upper)
    return x


def minimize_linear(
    g: Array, upper: float, lower_sum: float, upper_sum: float
) -> tuple[float, Array]:
    r"""Minimize :math:`g's` over the box and the slab by sorting.

    Parameters
    ----------
    g : ndarray of shape (n,)
        Costs.
    upper : float
        Largest value of a coordinate.
    lower_sum, upper_sum : float
        Bounds of the sum.

    Returns
    -------
    value : float
        The smallest value.
    s : ndarray of shape (n,)
        Where it is taken.
    """
    n_negative = int(np.count_nonzero(g < 0))
    total = min(max(n_negative * upper, lower_sum), upper_sum)
    n_full = min(int(total / upper), g.size)
    s = np.zeros(g.size)
    if n_full + 1 < g.size:
        order = np.argpartition(g, [max(n_full - 1, 0), n_full])
    else:
        order = np.argsort(g)
    s[order[:n_full]] = upper
    if n_full < g.size:
        s[order[n_full]] = total - n_full * upper
    return float(g @ s), s
