r"""Log-likelihoods of generalized linear models with canonical link.

The parameters of one linear predictor are a row of ``theta``; a multinomial model has
one row per class, the others a single one. Nuisance terms that do not depend on
``theta`` are left out, and the noise variance of the Gaussian is 1.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

Array = npt.NDArray[Any]

FAMILIES = ("gaussian", "binomial", "multinomial", "poisson")


def glm_mean(family: str, eta: Array) -> Array:
    """Return the means for linear predictors.

    Parameters
    ----------
    family : {"gaussian", "binomial", "multinomial", "poisson"}
        The family.
    eta : ndarray of shape (n, n_rows)
        Linear predictors.

    Returns
    -------
    mean : ndarray of shape (n, n_rows)
        Means; probabilities for classes.
    """
    mean: Array
    if family == "gaussian":
        mean = eta
    elif family == "binomial":
        mean = special.expit(eta)
    elif family == "multinomial":
        mean = special.softmax(eta, axis=1)
    else:
        mean = np.exp(np.minimum(eta, 700))
    return mean


def glm_losses(family: str, eta: Array, goal: Array) -> Array:
    """Return the negative log-likelihood of each row, less a constant.

    Parameters
    ----------
    family : {"gaussian", "binomial", "multinomial", "poisson"}
        The family.
    eta, goal : ndarray of shape (n, n_rows)
        Linear predictors; labels, indicators for classes.

    Returns
    -------
    losses : ndarray of shape (n,)
        For the Gaussian half the squared residuals.
    """
    losses: Array
    if family == "gaussian":
        losses = 0.5 * (goal - eta)[:, 0] ** 2
    elif family == "binomial":
        losses = (np.logaddexp(0, eta) - goal * eta)[:, 0]
    elif family == "multinomial":
        losses = special.logsumexp(eta, axis=1) - (goal * eta).sum(axis=1)
    else:
        losses = (glm_mean(family, eta) - goal * eta)[:, 0]
    return losses


def glm_curvature(family: str, mean: Array) -> Array:
    """Return the second derivatives of the losses in the linear predictors.

    Parameters
    ----------
    family : {"gaussian", "binomial", "multinomial", "poisson"}
        The family.
    mean : ndarray of shape (n, n_rows)
        Means.

    Returns
    -------
    curvature : ndarray of shape (n, n_rows, n_rows)
        One matrix per row.
    """
    if family == "multinomial":
        eye = np.eye(mean.shape[1])
        return np.asarray(eye * mean[:, :, None] - mean[:, :, None] * mean[:, None, :])
    if family == "gaussian":
        return np.ones((len(mean), 1, 1))
    variance = mean * (1 - mean) if family == "binomial" else mean
    return np.asarray(variance[:, :, None])


def glm_expansion(
    family: str, X: Array, goal: Array, weight: Array, theta: Array,
    offset: Array | float = 0.0,
) -> tuple[float, Array, Array]:  # fmt: skip
    """Expand the weighted negative log-likelihood at ``theta``.

    Parameters
    ----------
    family : {"gaussian", "binomial", "multinomial", "poisson"}
        The family.
    X : ndarray of shape (n, d)
        Rows, with a column of ones for an intercept.
    goal : ndarray of shape (n, n_rows)
        Labels, indicators for classes.
    weight : ndarray of shape (n,)
        Weights of the rows.
    theta : ndarray of shape (n_rows, d)
        Parameters.
    offset : ndarray of shape (n, n_rows) or float, default=0.0
        Added to the linear predictors.

    Returns
    -------
    value : float
        Weighted sum of the losses.
    gradient : ndarray of shape (n_rows * d,)
        Its gradient, row of ``theta`` after row.
    hessian : ndarray of shape (n_rows * d, n_rows * d)
        The Fisher information.
    """
    n_rows, d = theta.shape
    eta = X @ theta.T + offset
    mean = glm_mean(family, eta)
    value = float(weight @ glm_losses(family, eta, goal))
    gradient = ((mean - goal) * weight[:, None]).T @ X
    curvature = glm_curvature(family, mean) * weight[:, None, None]
    hessian = np.empty((n_rows, d, n_rows, d))
    for a in range(n_rows):
        for b in range(n_rows):
            hessian[a, :, b, :] = (X * curvature[:, a, b, None]).T @ X
    return value, gradient.ravel(), hessian.reshape(n_rows * d, n_rows * d)


def fit_glm(
    family: str, X: Array, goal: Array, weight: Array, *,
    prior: Array, pull: Array, start: Array | None = None,
    tol: float = 1e-9, max_iter: int = 100,
) -> tuple[Array, float, int]:  # fmt: skip
    r"""Minimize the negative log-likelihood plus a quadratic by damped Newton steps.

    .. math:: L(\theta) + \tfrac12 \theta' R \theta - h'\theta

    Parameters
    ----------
    family : {"gaussian", "binomial", "multinomial", "poisson"}
        The family.
    X, goal, weight : ndarray
        As in :func:`glm_expansion`.
    prior : ndarray of shape (n_rows * d, n_rows * d)
        The matrix R.
    pull : ndarray of shape (n_rows * d,)
        The vector h.
    start : ndarray of shape (n_rows, d), default=None
        Where to start; None is 0.
    tol : float, default=1e-9
        Largest gradient, relative to the sum of the weights, that counts as solved.
    max_iter : int, default=100
        Newton steps.

    Returns
    -------
    theta : ndarray of shape (n_rows, d)
        Parameters.
    residual : float
        Largest entry of the gradient over the sum of the weights.
    n_iter : int
        Steps taken.
    """
    shape = (goal.shape[1], X.shape[1])
    theta = np.zeros(shape) if start is None else start.copy()
    total = max(float(weight.sum()), 1.0)

    def at(theta: Array) -> tuple[float, Array, Array]:
        value, gradient, hessian = glm_expansion(family, X, goal, weight, theta)
        flat = theta.ravel()
        pulled = prior @ flat
        value += 0.5 * float(flat @ pulled) - float(pull @ flat)
        return value, gradient + pulled - pull, hessian + prior

    value, gradient, hessian = at(theta)
    n_iter = 0
    while np.abs(gradient).max() > tol * total and n_iter < max_iter:
        step = -newton_direction(hessian, gradient).reshape(shape)
        slope, size = float(gradient @ step.ravel()), 1.0
        while size > 1e-10:
            new = at(theta + size * step)
            closer = np.abs(new[1]).max() < 0.5 * np.abs(gradient).max()
            if new[0] <= value + 1e-4 * size * slope or (size == 1 and closer):
                break
            size /= 2
        theta = theta + size * step
        value, gradient, hessian = new
        n_iter += 1
    return theta, float(np.abs(gradient).max()) / total, n_iter


def newton_direction(hessian: Array, gradient: Array) -> Array:
    """Solve the Newton system on the range of the Hessian.

    Parameters
    ----------
    hessian : ndarray of shape (d, d)
        Positive semidefinite.
    gradient : ndarray of shape (d,)
        The right side.

    Returns
    -------
    direction : ndarray of shape (d,)
        Solution of least norm after scaling to a unit diagonal.
    """
    scaled, scale = _unit_diagonal(hessian)
    values, Q = np.linalg.eigh(scaled)
    kept = values > _RANK * max(float(values[-1]), 0.0)
    inner = Q[:, kept].T @ (gradient / scale) / values[kept]
    direction: Array = Q[:, kept] @ inner / scale
    return direction


def pseudo_trace(part: Array, whole: Array) -> float:
    r"""Return :math:`\mathrm{tr}[A H^{+}]`, whatever the units of the parameters.

    Parameters
    ----------
    part : ndarray of shape (d, d)
        The matrix A, positive semidefinite and not above H.
    whole : ndarray of shape (d, d)
        The matrix H.

    Returns
    -------
    trace : float
        The trace, with the eigenvalues of the scaled H that are 0 left out.
    """
    scaled, scale = _unit_diagonal(whole)
    values, Q = np.linalg.eigh(scaled)
    kept = values > _RANK * max(float(values[-1]), 0.0)
    inner = part / scale / scale[:, None]
    return float(np.sum((Q[:, kept].T @ inner) * Q[:, kept].T / values[kept, None]))


def information_rank(information: Array) -> int:
    """Return the rank of an information matrix, whatever the units of the parameters.

    Parameters
    ----------
    information : ndarray of shape (d, d)
        Positive semidefinite.

    Returns
    -------
    rank : int
        Number of eigenvalues that are not 0 after scaling to a unit diagonal.
    """
    values = np.linalg.eigvalsh(_unit_diagonal(information)[0])
    return int(np.sum(values > _RANK * max(float(values[-1]), 0.0)))


#: eigenvalues below this share of the largest are 0 to rounding
_RANK = 1e-13


def _unit_diagonal(matrix: Array) -> tuple[Array, Array]:
    scale = np.sqrt(np.maximum(np.diagonal(matrix), 0.0))
    scale = np.where(scale > 0, scale, 1.0)
    return matrix / scale / scale[:, None], scale
