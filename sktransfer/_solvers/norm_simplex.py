r"""A linear function and a weighted norm on the probability simplex.

.. math:: \min_a l'a + c \sqrt{\sum_i d_i a_i^2}
          \quad\text{s.t.}\quad a \ge 0,\; \sum_i a_i = 1.

The bounds of weighted empirical risks have this form: losses of the sources, and a norm
that keeps the weights spread.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class NormSimplexInfo:
    """How well a program was solved.

    Attributes
    ----------
    objective : float
        Value at the solution.
    gap : float
        Upper bound of what the value lies above the least one, relative to the
        largest of the losses' range and ``c``.
    """

    objective: float
    gap: float


def solve_norm_simplex(
    losses: Array, strength: float, curvature: Array | None = None
) -> tuple[Array, NormSimplexInfo]:
    r"""Minimize :math:`l'a + c \sqrt{\sum_i d_i a_i^2}` on the simplex.

    Parameters
    ----------
    losses : ndarray of shape (k,)
        l.
    strength : float
        c, 0 or more.
    curvature : ndarray of shape (k,), default=None
        d, positive; None is 1.

    Returns
    -------
    a : ndarray of shape (k,)
        The weights. For c = 0 those with the least loss share the mass.
    info : NormSimplexInfo
        Certificate.

    Notes
    -----
    At the solution :math:`a_i \propto (\nu - l_i)_+ / d_i` with the level
    :math:`\nu` that solves :math:`\sum_i (\nu - l_i)_+^2 / d_i = c^2`. Among sorted
    losses that is one quadratic equation for each number of active weights.
    """
    losses = np.asarray(losses, dtype=np.float64)
    d = np.ones(len(losses)) if curvature is None else np.asarray(curvature, float)
    shifted = losses - losses.min()
    scale = max(float(shifted.max()), float(strength)) or 1.0
    l_, c = shifted / scale, strength / scale
    active = l_ <= 1e-12
    a = np.maximum(_level(l_, c, d) - l_, 0.0) if c >= 1e-12 else active.astype(float)
    a = a / d / np.sum(a / d)
    return a, NormSimplexInfo(
        float(losses @ a + strength * np.sqrt(d @ a**2)), _gap(l_, c, d, a)
    )


def _level(losses: Array, c: float, d: Array) -> float:
    """Return the level at which the active weights have the norm c."""
    order = np.argsort(losses, kind="stable")
    inverse, sorted_ = 1.0 / d[order], losses[order]
    ends = np.append(sorted_[1:], np.inf)
    s0, s1 = np.cumsum(inverse), np.cumsum(inverse * sorted_)
    mean = s1 / s0
    # sum of inverse * (level - l)^2 about its mean, which keeps the digits
    spread = np.array(
        [
            np.sum(inverse[: i + 1] * (sorted_[: i + 1] - mean[i]) ** 2)
            for i in range(len(losses))
        ]
    )
    levels = mean + np.sqrt(np.maximum(c**2 - spread, 0.0) / s0)
    valid = (spread <= c**2) & (levels <= ends)
    return float(levels[int(np.argmax(valid))])


def _gap(losses: Array, c: float, d: Array, a: Array) -> float:
    r"""Return the duality gap.

    The norm is :math:`\max_{u' D^{-1} u \le 1} u'a`, so :math:`\min_i (l_i + c u_i)`
    is a lower bound for each such u; here u is the gradient of the norm at a.
    """
    norm = float(np.sqrt(d @ a**2))
    lower = float(np.min(losses + c * d * a / norm))
    return float(losses @ a + c * norm - lower)
