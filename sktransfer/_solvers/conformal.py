"""Quantiles, intervals and sets of conformal prediction."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["cross_interval", "cross_set", "split_quantile", "weighted_quantiles"]

Array = NDArray[np.float64]
#: (1 - alpha)(n + 1) may be a whole number but for rounding
_SLACK = 1e-9


def _upper_rank(n: int, alpha: float) -> int:
    return int(np.ceil((1 - alpha) * (n + 1) - _SLACK))


def split_quantile(scores: Array, alpha: float) -> float:
    """Return the ceil((1 - alpha)(n + 1))-th smallest score, infinite beyond n."""
    rank = _upper_rank(len(scores), alpha)
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else np.inf


def weighted_quantiles(
    scores: Array, weights: Array, test_weights: Array, alpha: float
) -> Array:
    """Return quantiles of scores, with the mass of each test row at infinity.

    Parameters
    ----------
    scores : ndarray of shape (n_calibration,)
        Scores.
    weights : ndarray of shape (n_calibration,)
        Their masses, up to a factor.
    test_weights : ndarray of shape (n_samples,)
        Masses of the test rows, up to the same factor.
    alpha : float
        One minus the level of the quantile.

    Returns
    -------
    quantiles : ndarray of shape (n_samples,)
        Smallest score whose lower tail has a mass of 1 - alpha; infinite if none.
    """
    order = np.argsort(scores)
    mass = np.cumsum(weights[order])
    total = mass[-1] if len(mass) else 0.0
    needed = (1 - alpha) * (total + test_weights) * (1 - _SLACK)
    ranked = np.append(scores[order], np.inf)
    quantiles: Array = ranked[np.searchsorted(mass, needed)]
    return quantiles


def cross_interval(predictions: Array, scores: Array, alpha: float) -> Array:
    """Return the intervals of the jackknife+, shape (n_samples, 2).

    Parameters
    ----------
    predictions : ndarray of shape (n_calibration, n_samples)
        Row i: by the model that was fitted without calibration row i.
    scores : ndarray of shape (n_calibration,)
        Absolute residuals of the calibration rows by these models.
    alpha : float
        Probability to miss.

    Returns
    -------
    intervals : ndarray of shape (n_samples, 2)
        Limits.
    """
    n, n_samples = predictions.shape
    rank = _upper_rank(n, alpha)
    if rank > n:
        return np.tile([-np.inf, np.inf], (n_samples, 1))
    # the floor(alpha (n + 1))-th smallest is the rank-th largest
    low = -np.sort(scores[:, None] - predictions, axis=0)[rank - 1]
    high = np.sort(scores[:, None] + predictions, axis=0)[rank - 1]
    return np.column_stack([low, high])


def cross_set(
    scores_of_classes: Array, scores: Array, alpha: float
) -> NDArray[np.bool_]:
    """Return the sets of the jackknife+, shape (n_samples, n_classes).

    Parameters
    ----------
    scores_of_classes : ndarray of shape (n_calibration, n_samples, n_classes)
        Scores of classes; row i: by the model without calibration row i.
    scores : ndarray of shape (n_calibration,)
        Scores of the classes of the calibration rows by these models.
    alpha : float
        Probability to miss.

    Returns
    -------
    members : ndarray of bool of shape (n_samples, n_classes)
        Which classes are in.
    """
    above = (scores[:, None, None] < scores_of_classes).sum(axis=0)
    members: NDArray[np.bool_] = above < (1 - alpha) * (len(scores) + 1) - _SLACK
    return members
