r"""Logistic regression of few rows with many features, in the space of the rows.

With fewer rows than features, :math:`X = L Q'` with :math:`L` of the size of the rows
and orthonormal columns in Q. The penalty does not change under a rotation, and neither
do the steps of L-BFGS from 0: they are those of the features, rotated. Only where the
solver stops hangs on the axes, so that the gradient is turned back for this.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg, optimize
from scipy.linalg import blas

Array = npt.NDArray[Any]

#: least pivot of the products of the rows, relative to the largest, that is a number
_LEAST_PIVOT = 1e-5
#: features whose gradient is looked at first
_FIRST = 64


def row_factor(products: Array) -> Array | None:
    """Return the triangular L with ``L @ L.T`` the products of the rows.

    Parameters
    ----------
    products : ndarray of shape (n, n)
        ``X @ X.T``.

    Returns
    -------
    L : ndarray of shape (n, n) or None
        None where rows depend on each other.
    """
    try:
        factor = linalg.cholesky(products, lower=True, check_finite=False)
    except linalg.LinAlgError:
        return None
    pivots = factor.diagonal()
    if not pivots.min() > _LEAST_PIVOT * pivots.max():
        return None
    return np.asfortranarray(factor)


def logistic_of_rows(
    X: Array, factor: Array, codes: Array, weight: Array, n_classes: int, *,
    C: float, fit_intercept: bool, tol: float, max_iter: int,
) -> tuple[Array, Array, int] | None:  # fmt: skip
    r"""Fit L2-penalized logistic regression as L-BFGS does from 0.

    .. math:: \min_\theta\; \frac{1}{W} \sum_i w_i \ell(y_i, \theta z_i)
        + \frac{1}{2 C W} \lVert \theta \rVert^2, \qquad W = \sum_i w_i,

    until no entry of the gradient is above ``tol``.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Rows.
    factor : ndarray of shape (n, n)
        Of :func:`row_factor`.
    codes : ndarray of shape (n,)
        Classes 0, 1, ...
    weight : ndarray of shape (n,)
        Positive weights.
    n_classes : int
        Two have one column of coefficients.
    C : float
        Inverse of the penalty.
    fit_intercept : bool
        Whether there are intercepts, without a penalty.
    tol : float
        Largest entry of the gradient of a solution.
    max_iter : int
        Most iterations.

    Returns
    -------
    coef : ndarray of shape (q, d)
        Coefficients; q is ``n_classes``, or 1 of two.
    intercept : ndarray of shape (q,)
        Intercepts.
    n_iter : int
        Iterations. None is returned where they do not suffice.
    """
    n, q = len(factor), n_classes if n_classes > 2 else 1
    goal = np.eye(n_classes)[:, codes][-q:]
    share = weight / weight.sum()
    strength = 1.0 / (C * weight.sum())
    last: dict[str, Any] = {}
    ahead = np.ascontiguousarray(X[:, :_FIRST])

    def objective(theta: Array) -> tuple[float, Array]:
        if last and np.array_equal(theta, last["theta"].ravel()):
            return last["value"], last["gradient"].ravel().copy()
        theta = theta.reshape(q, n + 1)
        raw = blas.dtrmm(1.0, factor, theta[:, :n].T, lower=1).T
        raw += theta[:, n:]
        if q == 1:
            loss = np.logaddexp(0.0, raw)
            slope = np.exp(raw - loss)
        else:
            top = raw.max(axis=0)
            slope = np.exp(raw - top)
            total = slope.sum(axis=0)
            loss = np.log(total) + top
            slope /= total
        fitted = np.einsum("qn,qn->n", goal, raw)
        slope -= goal
        slope *= share
        gradient = np.zeros((q, n + 1))
        back = blas.dtrmm(1.0, factor, slope.T, lower=1, trans_a=1).T
        gradient[:, :n] = back + strength * theta[:, :n]
        if fit_intercept:
            gradient[:, n] = slope.sum(axis=1)
        value = float(share @ (loss.reshape(-1, n)[0] - fitted))
        value += 0.5 * strength * float(np.sum(theta[:, :n] ** 2))
        last.update(theta=theta.copy(), gradient=gradient, value=value)
        return value, gradient.ravel().copy()

    def dual(rotated: Array) -> Array:
        """Return what the rows are multiplied by to turn back."""
        found: Array = blas.dtrsm(1.0, factor, rotated.T, lower=1, trans_a=1).T
        return found

    def is_solved(theta: Array) -> bool:
        objective(theta)
        gradient = last["gradient"]
        if np.abs(gradient[:, n]).max() > tol:
            return False
        # the largest entry is between the length and its share per entry
        length = float(np.sqrt(np.sum(gradient[:, :n] ** 2)))
        if length <= tol or length > tol * np.sqrt(q * X.shape[1]):
            return length <= tol
        turned = dual(gradient[:, :n])
        first = np.abs(turned @ ahead).max()
        return bool(first <= tol and np.abs(turned @ X).max() <= tol)

    def stop(theta: Array) -> None:
        if is_solved(theta):
            raise StopIteration

    start = np.zeros(q * (n + 1))
    objective(start)
    if is_solved(start):
        return np.zeros((q, X.shape[1])), np.zeros(q), 0
    found = optimize.minimize(
        objective, start, method="L-BFGS-B", jac=True, callback=stop,
        options={"maxiter": max_iter, "maxls": 50, "gtol": 0.0,
                 "ftol": 64 * np.finfo(float).eps},
    )  # fmt: skip
    if found.nit >= max_iter or not (found.success or is_solved(found.x)):
        return None
    theta = found.x.reshape(q, n + 1)
    return dual(theta[:, :n]) @ X, theta[:, n].copy(), int(found.nit)
