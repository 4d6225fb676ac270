r"""Counts and other positive labels: the deviance that a learner fits, and exposure.

A learner with a log link and a Tweedie deviance of power p (1: Poisson, 2: gamma)
takes exposures E as weights, because

.. math:: d_p(y, E m) = E^{2-p} d_p(y / E, m).

So labels become rates :math:`y / E`, weights are multiplied by :math:`E^{2-p}`, and
everything that takes weights takes exposures.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from sktransfer._learners import deviance_power, multiply_weights, objective
from sktransfer.exceptions import warn

__all__ = [
    "as_rates",
    "check_exposure",
    "deviance_power",
    "least_mean",
    "objective",
    "to_score",
    "unit_deviance",
    "warn_of_zeros",
    "without_exposure",
]

Array = NDArray[Any]

#: a mean prediction is at least this share of the mean label
_LEAST_SHARE = 1e-3


def check_exposure(
    exposure: Any, n_samples: int, estimator: Any, labeled: Any = None
) -> Array:
    """Return exposures as floats of shape (n_samples,).

    Parameters
    ----------
    exposure : array-like of shape (n_samples,)
        Positive, finite numbers.
    n_samples : int
        Number of samples.
    estimator : estimator
        Who gets them.
    labeled : ndarray of bool of shape (n_samples,), default=None
        Which samples have a label. A missing exposure of the others, which nothing is
        divided by, becomes 1. None: all.

    Returns
    -------
    exposure : ndarray of shape (n_samples,)
        Checked exposures.

    Raises
    ------
    ValueError
        If the learner has no log link, or the exposures are not positive.
    """
    if deviance_power(estimator) is None:
        raise ValueError(
            "exposure needs a learner with a log link, such as PoissonRegressor(), "
            'HistGradientBoostingRegressor(loss="poisson") or TweedieRegressor('
            f"power=1.5); {type(estimator).__name__} has none."
        )
    try:
        values = np.array(exposure, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"exposure must hold numbers: {error}") from error
    if values.ndim == 2 and values.shape[1] == 1:
        values = values.ravel()
    if values.shape != (n_samples,):
        raise ValueError(
            f"exposure must hold {n_samples} positive values, one for each row; it has "
            f"shape {values.shape}."
        )
    if labeled is not None:
        values[np.isnan(values) & ~labeled] = 1.0
    bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if len(bad):
        raise ValueError(
            f"exposure must hold {n_samples} positive values, one for each row, but "
            f"{len(bad)} are missing, infinite or not positive (first at row {bad[0]}: "
            f"{values[bad[0]]}). Only a row without a label may have none."
        )
    return values


def as_rates(y: Any, exposure: Array, power: Any) -> tuple[Array, Array]:
    """Return rates and the weights that the exposures amount to.

    Parameters
    ----------
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Labels, NaN where missing.
    exposure : ndarray of shape (n_samples,)
        Exposures.
    power : float
        Of the deviance.

    Returns
    -------
    rates : ndarray
        Labels per unit of exposure.
    weights : ndarray of shape (n_samples,)
        Factors of the weights.
    """
    shape = (-1, *[1] * (np.ndim(y) - 1))
    rates = np.asarray(y, dtype=np.float64) / exposure.reshape(shape)
    return rates, exposure ** (2 - power)


def without_exposure(
    y: Any, params: dict[str, Any], estimator: Any
) -> tuple[Array, dict[str, Any]]:
    """Return rates, and metadata in which exposures have become weights."""
    exposure = params.get("exposure")
    rest = {name: value for name, value in params.items() if name != "exposure"}
    if exposure is None:
        return y, rest
    exposure = check_exposure(exposure, len(y), estimator, ~_missing_rows(y))
    rates, weights = as_rates(y, exposure, deviance_power(estimator) or 0.0)
    own = multiply_weights(weights, rest.get("sample_weight"))
    return rates, {**rest, "sample_weight": own}


def _missing_rows(y: Array) -> Array:
    missing = np.isnan(np.asarray(y, dtype=np.float64))
    return np.asarray(missing if missing.ndim == 1 else missing.any(axis=1))


def to_score(
    y: Array, sample_weight: Array | None, exposure: Array | None, estimator: Any
) -> tuple[Array, Array | None]:
    """Return labels and weights to score predictions by: with exposures rates."""
    given = {"sample_weight": sample_weight, "exposure": exposure}
    y, rest = without_exposure(y, given, estimator)
    return y, rest["sample_weight"]


def unit_deviance(y: Array, mean: Array, power: Any) -> Array:
    """Return the Tweedie deviance of each entry; powers 0, 1 and from there on.

    Parameters
    ----------
    y : ndarray
        Labels: nonnegative, for powers from 2 on positive.
    mean : ndarray
        Predictions. Those below a thousandth of the mean label are raised to it.
    power : float
        0: squared error, 1: Poisson, 2: gamma.

    Returns
    -------
    deviance : ndarray
        Nonnegative.
    """
    if power == 0:
        return np.asarray((y - mean) ** 2)
    m = np.maximum(mean, least_mean(y))
    if power == 1:
        return np.asarray(2 * (xlogy(y, y / m) - y + m))
    if power == 2:
        return np.asarray(2 * (np.log(m / y) + y / m - 1))
    own = np.where(y > 0, y, 0.0) ** (2 - power) / ((1 - power) * (2 - power))
    return np.asarray(
        2 * (own - y * m ** (1 - power) / (1 - power) + m ** (2 - power) / (2 - power))
    )


def least_mean(y: Array) -> float:
    """Return the least prediction that counts beside labels."""
    return max(_LEAST_SHARE * float(np.mean(y)), float(np.finfo(np.float64).tiny))


def warn_of_zeros(y: Array, estimator: Any) -> None:
    """Warn that evidence from counts that are all 0 can only speak for 0.

    Parameters
    ----------
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Labels of the labeled target samples.
    estimator : estimator
        Who learns from them.
    """
    power = deviance_power(estimator)
    if power is None or not 1 <= power < 2 or not len(y) or np.any(y):
        return
    warn(
        f"All labels of the {len(y)} labeled target samples are 0, so the target alone "
        "predicts 0, and no held-out sample can show that a larger rate is right. "
        "Label samples with an event, or use a method without a guard, such as Pooled "
        "or OffsetTransfer."
    )
