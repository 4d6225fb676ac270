r"""Means, covariances and their powers, of dense and sparse rows.

References
----------
O. Ledoit, M. Wolf. A well-conditioned estimator for large-dimensional covariance
matrices. Journal of Multivariate Analysis 88(2), 2004.
:doi:`10.1016/S0047-259X(03)00096-4`.

Y. Chen, A. Wiesel, Y. C. Eldar, A. O. Hero. Shrinkage algorithms for MMSE covariance
estimation. IEEE Transactions on Signal Processing 58(10), 2010.
:doi:`10.1109/TSP.2010.2053029`.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg, sparse

Array = npt.NDArray[Any]


def mean_and_covariance(X: Any) -> tuple[Array, Array]:
    """Compute mean and biased covariance in float64; sparse rows stay sparse.

    Parameters
    ----------
    X : {ndarray, sparse matrix} of shape (n_samples, n_features)
        Rows.

    Returns
    -------
    mean : ndarray of shape (n_features,)
        Mean of the rows.
    covariance : ndarray of shape (n_features, n_features)
        Mean outer product of the centered rows.
    """
    n = X.shape[0]
    if sparse.issparse(X):
        X = X.astype(np.float64)
        mean = np.asarray(X.mean(axis=0)).ravel()
        second = np.asarray((X.T @ X).todense())
        return mean, second / n - np.multiply.outer(mean, mean)
    mean = np.asarray(np.mean(X, axis=0, dtype=np.float64))
    centered = X - mean
    return mean, np.asarray(centered.T @ centered / n)


def shrink_covariance(
    covariance: Array, X: Any, mean: Array, shrinkage: float | str
) -> Array:
    r"""Move a covariance toward a multiple of the identity of the same trace.

    .. math:: (1 - a) C + a \, \mathrm{tr}(C) / d \; I

    Parameters
    ----------
    covariance : ndarray of shape (n_features, n_features)
        Biased covariance of the rows.
    X : {ndarray, sparse matrix} of shape (n_samples, n_features)
        Rows that it was computed from.
    mean : ndarray of shape (n_features,)
        Their mean.
    shrinkage : {"ledoit_wolf", "oas"} or float in [0, 1]
        The share a, or the rule that estimates it.

    Returns
    -------
    ndarray of shape (n_features, n_features)
        The shrunk covariance.
    """
    if shrinkage == "ledoit_wolf":
        share = ledoit_wolf_share(covariance, X, mean)
    elif shrinkage == "oas":
        share = oas_share(covariance, X.shape[0])
    else:
        share = float(shrinkage)
    shrunk: Array = (1 - share) * covariance
    d = covariance.shape[0]
    shrunk[np.diag_indices(d)] += share * float(np.trace(covariance)) / d
    return shrunk


def ledoit_wolf_share(covariance: Array, X: Any, mean: Array) -> float:
    """Estimate the share of the identity by the rule of Ledoit and Wolf."""
    n, d = X.shape[0], covariance.shape[0]
    size = float(np.sum(covariance**2))
    distance = size - float(np.trace(covariance)) ** 2 / d
    if distance <= 0:
        return 0.0
    if sparse.issparse(X):
        rows = X.astype(np.float64)
        square = np.asarray(rows.multiply(rows).sum(axis=1)).ravel()
        norms = square - 2 * np.asarray(rows @ mean).ravel() + float(mean @ mean)
    else:
        centered = X - mean
        norms = np.einsum("ij,ij->i", centered, centered)
    noise = (float(np.mean(norms**2)) - size) / n
    return float(np.clip(noise / distance, 0.0, 1.0))


def oas_share(covariance: Array, n_samples: int) -> float:
    """Estimate the share of the identity by oracle approximating shrinkage."""
    d = covariance.shape[0]
    size, trace = float(np.sum(covariance**2)), float(np.trace(covariance))
    mean_size, mean_trace = size / d**2, (trace / d) ** 2
    bottom = (n_samples + 1) * (mean_size - mean_trace / d)
    return 1.0 if bottom <= 0 else min((mean_size + mean_trace) / bottom, 1.0)


def symmetric_roots(covariance: Array) -> tuple[Array, Array]:
    """Compute the square root of a covariance and its pseudo-inverse.

    Parameters
    ----------
    covariance : ndarray of shape (n_features, n_features)
        Symmetric, positive semidefinite up to rounding.

    Returns
    -------
    root : ndarray of shape (n_features, n_features)
        Symmetric square root.
    inverse : ndarray of shape (n_features, n_features)
        Pseudo-inverse of the root; eigenvalues at the level of rounding count as 0.
    """
    values, vectors = linalg.eigh(covariance, check_finite=False)
    limit = max(float(values[-1]), 0.0) * len(values) * np.finfo(np.float64).eps
    kept = values > limit
    roots = np.sqrt(np.where(kept, values, 0.0))
    inverse = np.divide(1.0, roots, out=np.zeros_like(roots), where=kept)
    return (vectors * roots) @ vectors.T, (vectors * inverse) @ vectors.T


def coral_map(source: Array, target: Array) -> Array:
    r"""Compute :math:`C_s^{-1/2} C_t^{1/2}`, which rows are multiplied with.

    Parameters
    ----------
    source, target : ndarray of shape (n_features, n_features)
        Covariances.

    Returns
    -------
    ndarray of shape (n_features, n_features)
        The map; the covariance of mapped source rows is that of the target where the
        source's has full rank.
    """
    _, whiten = symmetric_roots(source)
    color, _ = symmetric_roots(target)
    return np.asarray(whiten @ color)


def monge_map(source: Array, target: Array) -> Array:
    r"""Compute the optimal linear transport between Gaussians.

    .. math:: A = C_s^{-1/2} (C_s^{1/2} C_t C_s^{1/2})^{1/2} C_s^{-1/2}

    Parameters
    ----------
    source, target : ndarray of shape (n_features, n_features)
        Covariances.

    Returns
    -------
    ndarray of shape (n_features, n_features)
        The symmetric map, with :math:`A C_s A = C_t` where the source's covariance has
        full rank.
    """
    root, inverse = symmetric_roots(source)
    middle, _ = symmetric_roots(root @ target @ root)
    return np.asarray(inverse @ middle @ inverse)
