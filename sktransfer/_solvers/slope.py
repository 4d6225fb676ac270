r"""The slope that makes decision values of a classifier to shares of its classes.

With decision values :math:`d_k` and a slope b the share of class k is

.. math:: p_k \propto \exp(b\, d_k) .
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import softmax

Array = npt.NDArray[Any]

# slope times the typical lead of the first class over the second, before any label
_START = 2.0
# the logarithm of a slope is within this of its start
_REACH = 6.0
# standard deviation of the logarithm of a slope, before any label: the choice of
# benchmarks/margins.md
_WIDTH = 1.0


def starting_slope(values: Array) -> float:
    """Return a slope from the size of decision values alone.

    Parameters
    ----------
    values : ndarray of shape (n, n_classes)
        Decision values; -inf where a class is unknown.

    Returns
    -------
    slope : float
        2 over the median lead of the first class over the second.
    """
    if values.shape[1] < 2 or not len(values):
        return _START
    two = np.partition(values, -2, axis=1)[:, -2:]
    lead = two[:, 1] - two[:, 0]
    lead = lead[np.isfinite(lead) & (lead > 0)]
    slope = _START / float(np.median(lead)) if len(lead) else _START
    return slope if np.isfinite(slope) else _START


def fit_slope(values: Array, hits: Array, sample_weight: Array | None = None) -> float:
    r"""Return the slope that held-out samples support.

    With the slope :math:`b_0` of :func:`starting_slope` it minimizes

    .. math:: -\sum_i \log p_{y_i}(x_i) + \frac{1}{2 \tau^2} \log^2 \frac{b}{b_0},

    the logarithmic loss under a lognormal prior, which decides where there are few
    samples and keeps the slope finite where all of them are right. A multiple of the
    decision values divides the slope.

    Parameters
    ----------
    values : ndarray of shape (n, n_classes)
        Decision values; -inf where a class is unknown.
    hits : ndarray of bool of shape (n, n_classes)
        Whether a class is the class of the sample.
    sample_weight : ndarray of shape (n,), default=None
        How many samples each of them counts for.

    Returns
    -------
    slope : float
        A positive number.
    """
    start = starting_slope(values)
    right = np.where(hits, values, 0.0).sum(axis=1)
    known = np.isfinite(right) & hits.any(axis=1)  # a class that the model knows
    scaled, goal = start * values[known], start * right[known]
    weight = np.ones(len(values)) if sample_weight is None else sample_weight
    weight = weight[known]
    finite = np.where(np.isfinite(scaled), scaled, 0.0)

    def slant(log_slope: float) -> float:
        slope = np.exp(log_slope)
        mean = np.sum(softmax(slope * scaled, axis=1) * finite, axis=1)
        return float(slope * (weight @ (mean - goal)) + log_slope / _WIDTH**2)

    if slant(-_REACH) >= 0:
        return start * float(np.exp(-_REACH))
    if slant(_REACH) <= 0:
        return start * float(np.exp(_REACH))
    return start * float(np.exp(brentq(slant, -_REACH, _REACH, xtol=1e-10)))
