r"""Weights that make the discrepancy of linear hypotheses small.

For squared losses of linear hypotheses the discrepancy of the target to weighted source
samples is the spectral norm of a difference of second moments:

.. math:: \min_{w \ge 0, \sum w = 1} \lVert M(w) \rVert_2, \qquad
    M(w) = \frac1{n_t} X_t'X_t - \sum_i w_i x_i x_i' .

The norm is smoothed by the logarithm of a sum of exponentials of the eigenvalues, and
minimized by accelerated projected gradients while the smoothing falls. A symmetric Z
whose absolute eigenvalues sum to 1 bounds the minimum from below by
:math:`\langle Z, M_t \rangle - \max_i x_i'Zx_i`; the gradients give such Z.

References
----------
Y. Mansour, M. Mohri, A. Rostamizadeh. Domain adaptation: learning bounds and
algorithms. COLT, 2009. :arxiv:`0902.3430`.

C. Cortes, M. Mohri. Domain adaptation and sample bias correction theory and algorithm
for regression. Theoretical Computer Science 519, 2014.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sktransfer._solvers.projections import project_simplex

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class DiscrepancyInfo:
    """What the weights achieved.

    Parameters
    ----------
    discrepancy : float
        Spectral norm of the difference of second moments with these weights.
    uniform : float
        The same with equal weights.
    lower_bound : float
        No weights have a smaller one.
    n_iter : int
        Number of eigendecompositions.
    converged : bool
        Whether discrepancy and bound differ by no more than the tolerance.
    """

    discrepancy: float
    uniform: float
    lower_bound: float
    n_iter: int
    converged: bool


class _Point:
    """Smoothed and exact norm at some weights, gradient and lower bound."""

    def __init__(self, rows: Array, moment: Array, w: Array, smooth: float) -> None:
        values, vectors = np.linalg.eigh(moment - (rows * w[:, None]).T @ rows)
        self.w, self.norm = w, float(np.abs(values).max())
        high = np.exp((values - self.norm) / smooth)
        low = np.exp((-values - self.norm) / smooth)
        total = float(high.sum() + low.sum())
        z = (high - low) / total
        self.value = self.norm + smooth * np.log(total)
        bent = (rows @ vectors) ** 2 @ z
        self.gradient = -bent
        self.bound = float(z @ np.sum(vectors * (moment @ vectors), axis=0))
        self.bound -= float(bent.max())


def minimize_discrepancy(
    source: Array, target: Array, *, tol: float = 1e-2, max_iter: int = 2000
) -> tuple[Array, DiscrepancyInfo]:
    """Solve the problem of the module.

    Parameters
    ----------
    source : ndarray of shape (n_source, n_features)
        Source samples.
    target : ndarray of shape (n_target, n_features)
        Target samples.
    tol : float, default=1e-2
        Largest gap between discrepancy and lower bound, as a share of the discrepancy
        of equal weights.
    max_iter : int, default=2000
        Largest number of eigendecompositions.

    Returns
    -------
    weights : ndarray of shape (n_source,)
        Weights that sum to 1.
    info : DiscrepancyInfo
        Certificate.
    """
    n, d = source.shape
    size = float(np.sqrt(max(np.mean(source**2), np.mean(target**2)))) or 1.0
    rows, moment = source / size, (target / size).T @ (target / size) / len(target)
    w = np.full(n, 1.0 / n)
    best = start = _Point(rows, moment, w, 1.0)
    rounding = 1e-12 * float(np.trace(moment) + np.trace(rows.T @ rows) / n)
    room = max(tol * start.norm, rounding)
    smooth = max(0.3 * start.norm / np.log(2 * d), np.finfo(np.float64).tiny)
    bound, n_iter, steep = 0.0, 1, 1.0
    while best.norm - bound > room and n_iter < max_iter:
        here, momentum, last = w, 1.0, np.inf
        while n_iter < max_iter:
            at = _Point(rows, moment, here, smooth)
            while True:
                step = project_simplex(here - at.gradient / steep)
                new = _Point(rows, moment, step, smooth)
                n_iter += 1
                moved = step - here
                rise = at.gradient @ moved + 0.5 * steep * (moved @ moved)
                slack = 1e-14 * (1.0 + abs(at.value))
                if new.value <= at.value + rise + slack or n_iter >= max_iter:
                    break
                steep *= 2.0
            n_iter += 1
            bound = max(bound, at.bound, new.bound)
            best = min(best, at, new, key=lambda point: point.norm)
            if new.value > last:  # the momentum went too far
                momentum, here = 1.0, step
            else:
                later = (1.0 + np.sqrt(1.0 + 4.0 * momentum**2)) / 2.0
                here = project_simplex(step + (momentum - 1.0) / later * (step - w))
                momentum = later
            w, last, steep = step, new.value, 0.9 * steep
            solved = new.value - bound < 2.0 * smooth * np.log(2 * d)
            if best.norm - bound <= room or solved:
                break
        smooth, steep = smooth / 3.0, 2.0 * steep
    scale = size**2
    info = DiscrepancyInfo(
        best.norm * scale,
        start.norm * scale,
        bound * scale,
        n_iter,
        best.norm - bound <= room,
    )
    return best.w, info
