r"""The mean of paired loss differences, with what unlabeled rows tell about it.

Two models answer on n held-out units; :math:`d_i` is the loss of the second less that
of the first. A guess :math:`g_i \ge 0` bounds the difference of the losses:
whether two classifiers disagree, or the squared step between two answers. Then
:math:`E[d \mid g] = \lambda g` with :math:`|\lambda| \le 1` for the 0-1 loss, where
:math:`\lambda` is the mean difference of rows that are classified differently, and
for squared losses, where :math:`\lambda = 1 - 2 w` and w is the best weight of the
second model in a blend of both.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: held-out units without any difference, which draw lambda to 0; this and the next are
#: the choice of ``benchmarks/uncertainty.py --calibrate``
_PSEUDO_UNITS = 4.0
#: squared standard errors by which lambda must differ from 0 to be used
_CAUTION = 2.0


def paired_gap(
    differences: Array,
    weights: Array | None = None,
    guesses: Array | None = None,
    reference: Any = None,
    n_reference: int = 0,
    *,
    hits: bool = False,
    unseen: float = 0.0,
) -> tuple[Array, Array, Array, Array]:
    r"""Estimate a mean difference of losses and the variance of the estimate.

    Without guesses it is the mean, and its variance :math:`s^2 / n`, but not less than
    if one more unit had no difference, :math:`\bar d^2 n / ((n + 1)^2 (n - 1))`: equal
    differences are no proof that all are. With them,

    .. math:: \hat\lambda = \frac{\sum_i d_i}{\sum_i g_i + 4 \bar g},
              \quad e_i = d_i - \hat\lambda g_i,
              \quad v = \frac{\bar g}{n} \max\Bigl(
              \frac1{n-1} \sum_i \frac{e_i^2}{g_i},
              \frac{n}{n-1} \frac{\sum_i e_i^2}{\sum_i g_i} \Bigr)

    where :math:`\bar g` is the mean guess of N unlabeled rows (of the held-out units
    if there are none) and :math:`\hat\lambda` is cut to [-1, 1]. The first of the two
    takes the noise to be equal for all rows, and is less variable; the second does
    not. The estimate is (prediction-powered inference)

    .. math:: \bar d - \lambda' \Bigl(\frac1n \sum_i g_i - \bar g\Bigr), \quad
              \lambda' = \hat\lambda \frac{N}{N + n} \Bigl(1 - \frac{2}{z^2}\Bigr)_+,

    z being the mean :math:`\hat\lambda \bar g` over its standard error, so that a
    difference which may be noise leaves the labels alone. Its variance is
    :math:`v + (\hat\lambda - \lambda')^2 s_g^2 / n + \lambda'^2 s_g^2 / N`.

    Parameters
    ----------
    differences : ndarray of shape (..., n_units)
        Differences :math:`d_i`.
    weights : ndarray of shape (..., n_units), default=None
        Weights of the units with the sum 1; n is then
        :math:`1 / \sum_i w_i^2`. None: equal.
    guesses : ndarray of shape (..., n_units), default=None
        Guesses :math:`g_i`.
    reference : ndarray of shape (...), default=None
        Mean guess of the unlabeled rows.
    n_reference : int, default=0
        Their number N; 0 ignores ``reference``.
    hits : bool, default=False
        Whether the losses are 0 or 1. Then v counts one more unit that is classified
        differently, and never is zero.
    unseen : float, default=0.0
        With guesses, :math:`e^2 / g` of one more unit of the mean guess in v: where
        large losses are rare the held-out units may have none.

    Returns
    -------
    mean, variance, n_units, slope : ndarray of shape (...)
        The estimate, the variance of its noise given the fitted models, n, and
        :math:`\hat\lambda`, NaN without guesses.

    References
    ----------
    A. N. Angelopoulos, J. C. Duchi, T. Zrnic. PPI++: efficient prediction-powered
    inference. 2023. https://arxiv.org/abs/2311.01453
    """
    d = np.asarray(differences, dtype=np.float64)
    if weights is None:
        w = np.full(d.shape, 1.0 / d.shape[-1])
    else:
        w = np.broadcast_to(np.asarray(weights, dtype=np.float64), d.shape)
    n = 1.0 / np.sum(w**2, axis=-1)
    rest = np.maximum(n - 1.0, np.finfo(float).tiny)
    mean = np.sum(w * d, axis=-1)
    if guesses is None:
        spread = np.sum(w * (d - mean[..., None]) ** 2, axis=-1) + hits / n
        spread = np.maximum(spread, least_spread(mean, n))
        return mean, spread / rest, n, np.full_like(mean, np.nan)
    g = np.asarray(guesses, dtype=np.float64)
    own = np.sum(w * g, axis=-1)
    size = np.asarray(reference, dtype=np.float64) if n_reference else own
    if hits:
        N = n_reference or n
        size = (N * size + 1.0) / (N + 1.0)
    slope = np.clip(_ratio(mean, own + _PSEUDO_UNITS * size / n), -1.0, 1.0)
    e = d - slope[..., None] * g
    squares = np.sum(w * e**2, axis=-1)
    if hits:
        noise = size * (n * squares + 1.0) / (n * own + 1.0) / rest
    else:
        equal = size * (np.sum(w * _ratio(e**2, g), axis=-1) + unseen / n)
        unequal = _ratio(n * squares + unseen * size, n * own + (unseen > 0) * size)
        noise = np.maximum(equal, size * unequal) / rest
    spread = np.sum(w * (g - own[..., None]) ** 2, axis=-1) * n / rest
    used = np.zeros_like(slope)
    if n_reference:
        doubt = _CAUTION * _ratio(noise, (slope * own) ** 2, np.inf)
        used = slope * np.maximum(1.0 - doubt, 0.0) * n_reference / (n_reference + n)
        noise = noise + used**2 * spread / n_reference
    if not hits and not unseen:
        # models that differ elsewhere alone: held-out units tell nothing
        noise = np.where((own == 0) & (size > 0), np.inf, noise)
    return (
        mean - used * (own - size),
        noise + (slope - used) ** 2 * spread / n,
        n,
        slope,
    )


def least_spread(mean: Any, n: Any) -> Any:
    """Return the variance of n equal numbers and one zero."""
    return np.asarray(mean) ** 2 * n / (n + 1.0) ** 2


def _ratio(a: Array, b: Array, otherwise: float = 0.0) -> Array:
    """Return a / b, and another value where b is 0."""
    a, b = np.broadcast_arrays(a, b)
    full = np.full(b.shape, otherwise)
    ratio: Array = np.divide(a, b, out=full, where=b > 0)
    return ratio
