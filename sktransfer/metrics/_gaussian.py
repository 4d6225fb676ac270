"""Distances of domains from their means and covariances."""

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from sktransfer._compat import Interval, StrOptions, validate_params
from sktransfer.metrics._checks import check_domain_pair

SHRINKAGE = [StrOptions({"ledoit_wolf"}), Interval(Real, 0, 1, closed="both")]


@validate_params(
    {"X_source": ["array-like"], "X_target": ["array-like"]},
    prefer_skip_nested_validation=True,
)
def coral_distance(X_source: Any, X_target: Any) -> float:
    r"""Compute the distance between the covariances of two samples.

    Parameters
    ----------
    X_source : array-like of shape (n_source, n_features)
        Rows of the source, at least two.
    X_target : array-like of shape (n_target, n_features)
        Rows of the target, at least two.

    Returns
    -------
    distance : float
        At least 0. It does not see a shift of the mean.

    See Also
    --------
    gaussian_kl : Sees means and covariances.

    Notes
    -----
    :math:`\lVert C_s - C_t \rVert_F^2 / (4 d^2)` with the unbiased covariances, the
    loss of Deep CORAL.

    References
    ----------
    .. [1] Sun and Saenko, "Deep CORAL", ECCV workshops (2016), :arxiv:`1607.01719`.

    Examples
    --------
    >>> from sktransfer.metrics import coral_distance
    >>> coral_distance([[0.0], [2.0]], [[10.0], [14.0]])
    9.0
    """
    X_source, X_target = check_domain_pair(X_source, X_target, min_rows=2)
    n_features = X_source.shape[1]
    difference = _covariance(X_source, ddof=1) - _covariance(X_target, ddof=1)
    return float(np.sum(difference**2) / (4 * n_features**2))


def _covariance(X: Any, ddof: int = 0) -> NDArray[Any]:
    centered = X - X.mean(axis=0)
    return centered.T @ centered / (len(X) - ddof)


@validate_params(
    {
        "X_source": ["array-like"],
        "X_target": ["array-like"],
        "shrinkage": SHRINKAGE,
        "symmetric": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def gaussian_kl(
    X_source: Any,
    X_target: Any,
    *,
    shrinkage: Any = "ledoit_wolf",
    symmetric: bool = True,
) -> float:
    r"""Compute the Kullback-Leibler divergence between Gaussian fits of two samples.

    Parameters
    ----------
    X_source : array-like of shape (n_source, n_features)
        Rows of the source, at least two.
    X_target : array-like of shape (n_target, n_features)
        Rows of the target, at least two.
    shrinkage : "ledoit_wolf" or float in [0, 1], default="ledoit_wolf"
        How far each covariance is moved to a multiple of the identity of the same
        trace. With 0 both covariances must have full rank.
    symmetric : bool, default=True
        True: mean of both directions. False: divergence of the target from the
        source, KL(target || source).

    Returns
    -------
    divergence : float
        At least 0, in nats.

    Raises
    ------
    ValueError
        If a covariance is singular after the shrinkage.

    See Also
    --------
    azab_weights : Weights of sources by this divergence within the classes.

    Notes
    -----
    .. math:: \mathrm{KL}(T \Vert S) = \frac12\Big[\mathrm{tr}(C_s^{-1} C_t)
       + (\mu_s - \mu_t)^\top C_s^{-1} (\mu_s - \mu_t) - d
       + \log\frac{\det C_s}{\det C_t}\Big]

    with covariances divided by the number of rows.

    References
    ----------
    .. [1] Ledoit and Wolf, "A well-conditioned estimator for large-dimensional
       covariance matrices", JMVA 88 (2004), :doi:`10.1016/S0047-259X(03)00096-4`.

    Examples
    --------
    >>> from sktransfer.metrics import gaussian_kl
    >>> gaussian_kl([[-1.0], [1.0]], [[1.0], [3.0]], shrinkage=0.0)
    2.0
    """
    X_source, X_target = check_domain_pair(X_source, X_target, min_rows=2)
    source = fit_gaussian(X_source, shrinkage, "X_source")
    target = fit_gaussian(X_target, shrinkage, "X_target")
    if symmetric:
        return (kl_of_fits(target, source) + kl_of_fits(source, target)) / 2
    return kl_of_fits(target, source)


def ledoit_wolf(X: Any, covariance: NDArray[Any]) -> float:
    """Return the Ledoit-Wolf shrinkage of centered rows from their covariance.

    It needs no product beyond the covariance, because the squared rows enter only by
    their norms.
    """
    n_rows, n_features = X.shape
    spread = np.sum(covariance**2)
    mean_variance = np.trace(covariance) / n_features
    delta = (spread - n_features * mean_variance**2) / n_features
    fourth = np.sum(np.einsum("ij,ij->i", X, X) ** 2) / n_rows
    beta = min((fourth - spread) / (n_features * n_rows), delta)
    return float(beta / delta) if beta > 0 and delta > 0 else 0.0


def shrunk_covariance(X: Any, shrinkage: Any) -> tuple[NDArray[Any], float]:
    """Return the shrunk covariance of centered rows and the shrinkage used."""
    covariance = X.T @ X / len(X)
    amount = ledoit_wolf(X, covariance) if shrinkage == "ledoit_wolf" else shrinkage
    target = amount * np.trace(covariance) / len(covariance)
    covariance *= 1 - amount
    covariance.flat[:: len(covariance) + 1] += target
    return covariance, float(amount)


def fit_gaussian(
    X: Any, shrinkage: Any, name: str
) -> tuple[
    NDArray[Any], NDArray[Any], tuple[tuple[NDArray[Any], bool], NDArray[Any]], float
]:
    """Return mean, covariance, its Cholesky factor and its log determinant."""
    mean = X.mean(axis=0)
    covariance, _ = shrunk_covariance(X - mean, shrinkage)
    scale = np.sqrt(np.diag(covariance))
    singular = ValueError(
        f"The covariance of {name} is singular ({len(X)} rows, {X.shape[1]} features): "
        "raise shrinkage, remove constant features or reduce their number."
    )
    if scale.min() <= 1e-150:
        raise singular
    correlation = covariance / scale / scale[:, None]
    try:
        factor = cho_factor(correlation, lower=True)
    except np.linalg.LinAlgError:
        raise singular from None
    diagonal = np.diag(factor[0])
    # a pivot at the level of rounding is a zero that rounding has hidden
    if diagonal.min() ** 2 <= 1e-13 * len(diagonal):
        raise singular
    log_det = 2 * (np.log(diagonal).sum() + np.log(scale).sum())
    return mean, covariance, (factor, scale), log_det


def kl_of_fits(
    first: tuple[
        NDArray[Any],
        NDArray[Any],
        tuple[tuple[NDArray[Any], bool], NDArray[Any]],
        float,
    ],
    second: tuple[
        NDArray[Any],
        NDArray[Any],
        tuple[tuple[NDArray[Any], bool], NDArray[Any]],
        float,
    ],
) -> float:
    """Return KL(first || second) of two results of :func:`fit_gaussian`."""
    (mean_1, cov_1, _, log_det_1), (mean_2, _, whitener, log_det_2) = first, second
    factor, scale = whitener
    shift = (mean_1 - mean_2) / scale
    trace = np.trace(cho_solve(factor, cov_1 / scale / scale[:, None]))
    mahalanobis = shift @ cho_solve(factor, shift)
    value = (trace + mahalanobis - len(shift) + log_det_2 - log_det_1) / 2
    return max(float(value), 0.0)
