r"""Logistic regression with an offset: a known part of the linear predictor.

With the offset :math:`o_i`, labels coded as indicators and weights :math:`w_i`,

.. math:: \min_{B, b} \sum_i w_i \, \ell(y_i, \; o_i + B x_i + b)
          + \frac{\alpha}{2} \lVert B \rVert^2 ,

where :math:`\ell` is the log loss: of one linear predictor for two classes, of the
softmax of one for each class otherwise.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, logsumexp, softmax

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class OffsetLogisticInfo:
    """Certificate of the solution.

    Attributes
    ----------
    gradient : float
        Largest absolute entry of the gradient, per unit of weight.
    n_iter : int
        Number of iterations.
    converged : bool
        Whether ``gradient`` is at most ``tol``.
    """

    gradient: float
    n_iter: int
    converged: bool


def solve_offset_logistic(
    X: Any,
    codes: Array,
    offset: Array,
    *,
    n_classes: int,
    alpha: float = 0.0,
    sample_weight: Array | None = None,
    fit_intercept: bool = True,
    tol: float = 1e-6,
    max_iter: int = 1000,
) -> tuple[Array, Array, OffsetLogisticInfo]:
    """Fit coefficients and intercepts beside an offset.

    Parameters
    ----------
    X : {ndarray, sparse matrix} of shape (n_samples, n_features)
        Rows.
    codes : ndarray of shape (n_samples,)
        Classes 0, ..., ``n_classes`` - 1.
    offset : ndarray of shape (n_samples,) or (n_samples, n_classes)
        Offset: for two classes of the log-odds of class 1, else of each class.
    n_classes : int
        Number of classes, at least 2.
    alpha : float, default=0.0
        Penalty of the coefficients; intercepts are free.
    sample_weight : ndarray of shape (n_samples,), default=None
        Nonnegative weights.
    fit_intercept : bool, default=True
        Whether there are intercepts.
    tol : float, default=1e-6
        Gradient per unit of weight at which the solution counts as found.
    max_iter : int, default=1000
        Largest number of L-BFGS iterations.

    Returns
    -------
    coef : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients; one row for two classes.
    intercept : ndarray of shape (1,) or (n_classes,)
        Intercepts.
    info : OffsetLogisticInfo
        Certificate.
    """
    n, p = X.shape
    k = 1 if n_classes == 2 else n_classes
    weight = np.ones(n) if sample_weight is None else np.asarray(sample_weight, float)
    total = float(weight.sum())
    weight = weight / total
    known = np.asarray(offset, dtype=np.float64).reshape(n, k)
    hit = codes[:, None] == (np.arange(1, 2) if k == 1 else np.arange(k))

    def value_and_gradient(flat: Array) -> tuple[float, Array]:
        coef = flat[: k * p].reshape(k, p)
        eta = known + X @ coef.T
        if fit_intercept:
            eta = eta + flat[k * p :]
        if k == 1:
            losses = np.logaddexp(0.0, eta[:, 0]) - hit[:, 0] * eta[:, 0]
            error = expit(eta) - hit
        else:
            losses = logsumexp(eta, axis=1) - eta[hit]
            error = softmax(eta, axis=1) - hit
        error = weight[:, None] * error
        value = weight @ losses + 0.5 * alpha / total * np.sum(coef**2)
        gradient = np.asarray(X.T @ error).T + alpha / total * coef
        parts = [gradient.ravel(), error.sum(axis=0)] if fit_intercept else [gradient]
        return float(value), np.concatenate([part.ravel() for part in parts])

    start = np.zeros(k * p + (k if fit_intercept else 0))
    found = minimize(
        value_and_gradient,
        start,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": max_iter, "gtol": 0.1 * tol, "ftol": 1e-15, "maxcor": 20},
    )
    residual = float(np.abs(found.jac).max(initial=0.0))
    coef = found.x[: k * p].reshape(k, p)
    intercept = found.x[k * p :] if fit_intercept else np.zeros(k)
    info = OffsetLogisticInfo(residual, int(found.nit), residual <= tol)
    return coef, intercept, info
