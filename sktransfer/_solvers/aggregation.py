r"""How much weight a transfer model earns beside a target-only model.

With out-of-fold residuals :math:`e_0` (target only) and :math:`e_1` (transfer) of n
rows, the blend with weight w has the risk

.. math:: R(w) = \frac1n \sum_i \lVert (1 - w) e_{0i} + w e_{1i} \rVert^2
               = R(w^*) + c (w - w^*)^2 .
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class BlendInfo:
    """What the rows say about the weight.

    Attributes
    ----------
    minimizer : float
        Unconstrained minimizer of R; NaN if the two models agree on every row.
    standard_error : float
        Scale of the posterior; infinite without evidence.
    dof : int
        Degrees of freedom of the posterior.
    """

    minimizer: float
    standard_error: float
    dof: int


def blend_posterior(residual_0: Array, residual_1: Array) -> BlendInfo:
    r"""Return the posterior of the transfer weight before it is cut to [0, 1].

    For Gaussian residuals of unknown variance (prior :math:`1/\sigma^2`) and a
    uniform prior of w the posterior density is proportional to
    :math:`R(w)^{-n/2}`. As R is a parabola this is Student's t with n - 1 degrees of
    freedom, centered at the minimizer :math:`w^*`, with the scale
    :math:`\sqrt{R(w^*) / (c (n - 1))}`.

    Parameters
    ----------
    residual_0, residual_1 : ndarray of shape (n, k)
        Residuals of the target-only and of the transfer model on the same rows.

    Returns
    -------
    info : BlendInfo
        Center, scale and degrees of freedom; no evidence with one row or where the
        models are equal.
    """
    e = np.asarray(residual_0, dtype=np.float64)
    step = e - np.asarray(residual_1, dtype=np.float64)
    n = len(e)
    curvature = float(np.sum(step**2))
    if n < 2 or curvature <= np.finfo(float).eps * float(np.sum(e**2)):
        return BlendInfo(float("nan"), float("inf"), max(n - 1, 0))
    center = float(np.sum(e * step)) / curvature
    least = float(np.sum((e - center * step) ** 2))
    scale = float(np.sqrt(least / (curvature * (n - 1))))
    return BlendInfo(center, scale, n - 1)


def blend_weight(info: BlendInfo, quantile: float) -> float:
    """Return a quantile of the posterior of the transfer weight on [0, 1].

    Parameters
    ----------
    info : BlendInfo
        Posterior of :func:`blend_posterior`; it is truncated to [0, 1]. Without
        evidence the prior is left, whose quantile is ``quantile``.
    quantile : float in (0, 1)
        Probability, given the rows, that the best weight is below the returned one.

    Returns
    -------
    weight : float
        Weight of the transfer model, in [0, 1].
    """
    if not np.isfinite(info.standard_error):
        return quantile
    return _truncated_t_quantile(
        info.minimizer, info.standard_error, info.dof, quantile
    )


def _truncated_t_quantile(
    center: float, scale: float, dof: int, quantile: float
) -> float:
    """Quantile of Student's t truncated to [0, 1], by the tail that holds digits."""
    if center > 0.5:
        return 1.0 - _truncated_t_quantile(1.0 - center, scale, dof, 1.0 - quantile)
    if scale < 1e-12:
        return max(center, 0.0)
    t = stats.t(dof, loc=center, scale=scale)
    above_0, above_1 = float(t.sf(0.0)), float(t.sf(1.0))
    if above_0 <= above_1:  # the density beyond 0 underflows
        return 0.0
    tail = above_0 - quantile * (above_0 - above_1)
    return float(np.clip(t.isf(tail), 0.0, 1.0))
