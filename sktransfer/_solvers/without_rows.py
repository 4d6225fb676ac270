r"""Linear models without some of their rows, from the model of all rows.

A fold leaves a few rows out. With :math:`z_i` the features of row i and a 1 for the
intercept, ridge depends on the rows through sums alone, such as

.. math:: A = \sum_i w_i z_i z_i',

so that the sums of the rows which no fold leaves out are computed once. Logistic
regression takes Newton steps from the solution for all rows, for all folds together:
the Hessian of a fold is that of all rows less a sum over the few that it lacks.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg, special

Array = npt.NDArray[Any]
Indices = npt.NDArray[np.intp]
#: most numbers in the matrices of all folds
MOST_NUMBERS = 2**23
#: factor by which a step must shrink the gradient, lest the Hessian be taken anew
_SLOW = 0.1


def sums_without(
    total: Callable[[Indices], Array], n_rows: int, left_out: Sequence[Indices]
) -> Array:
    """Sum over the rows, without some of them, for several sets of these.

    Nothing is subtracted, so no digits are lost.

    Parameters
    ----------
    total : callable
        ``total(rows)`` sums over rows with these indices.
    n_rows : int
        Number of rows.
    left_out : list of ndarray of int
        Rows that each of the sums lacks.

    Returns
    -------
    sums : ndarray of shape (len(left_out), ...)
        The sums.
    """
    count = np.zeros(n_rows, dtype=np.intp)
    for rows in left_out:
        count[rows] += 1
    common = total(np.flatnonzero(count == 0))
    if count.max(initial=0) <= 1:
        parts = np.stack([total(rows) for rows in left_out])
        before, after = np.zeros_like(parts), np.zeros_like(parts)
        np.cumsum(parts[:-1], axis=0, out=before[1:])
        np.cumsum(parts[:0:-1], axis=0, out=after[:-1][::-1])
        sums: Array = common + before + after
        return sums
    sometimes = count > 0
    sums = np.empty((len(left_out), *common.shape))
    for k, rows in enumerate(left_out):
        kept = sometimes.copy()
        kept[rows] = False
        sums[k] = common + total(np.flatnonzero(kept))
    return sums


def ridge_without(
    X: Array, y: Array, weight: Array, left_out: Sequence[Indices], *,
    alpha: float, fit_intercept: bool = True,
) -> tuple[Array, Array]:  # fmt: skip
    r"""Solve ridge regression without some of the rows, for several sets of these.

    .. math:: \min_{b, c}\; \sum_i w_i (y_i - b'x_i - c)^2 + \alpha \lVert b \rVert^2

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Rows.
    y : ndarray of shape (n, n_outputs)
        Labels.
    weight : ndarray of shape (n,)
        Positive weights.
    left_out : list of ndarray of int
        Rows that each solution lacks; each has others.
    alpha : float
        Positive penalty.
    fit_intercept : bool, default=True
        Whether there is a c, without a penalty.

    Returns
    -------
    coef : ndarray of shape (len(left_out), n_outputs, d)
        The b of each set.
    intercept : ndarray of shape (len(left_out), n_outputs)
        The c; 0 without an intercept.
    """
    n, d = X.shape
    n_outputs = y.shape[1]
    center, middle = np.zeros(d), np.zeros(n_outputs)
    if fit_intercept:
        center, middle = (np.average(a, axis=0, weights=weight) for a in (X, y))
    rows = np.hstack([X - center, y - middle, np.ones((n, 1))])
    plain = bool(np.all(weight == weight[0]))
    coef = np.empty((len(left_out), n_outputs, d))
    intercept = np.zeros((len(left_out), n_outputs))
    kept = n - np.array([len(out) for out in left_out])
    wide = kept < d  # the dual has one unknown for each row
    for k in np.flatnonzero(wide).tolist():
        mask = np.ones(n, dtype=bool)
        mask[left_out[k]] = False
        solved = _dual_ridge(rows[mask], weight[mask], d, alpha, fit_intercept)
        coef[k], intercept[k] = solved
    if not wide.all():

        def total(some: Indices) -> Array:
            part = rows if len(some) == n else rows[some]
            factor = weight[0] if plain else weight[some, None]
            found: Array = (
                factor * (part.T @ part) if plain else (part * factor).T @ part
            )
            return found

        narrow = np.flatnonzero(~wide).tolist()
        sums = sums_without(total, n, [left_out[k] for k in narrow])
        A, b = sums[:, :d, :d].copy(), sums[:, :d, d:-1].copy()
        if fit_intercept:
            size = sums[:, -1, -1]
            x_mean = sums[:, :d, -1] / size[:, None]
            y_mean = sums[:, d:-1, -1] / size[:, None]
            A -= np.einsum("kd,ke->kde", x_mean * size[:, None], x_mean)
            b -= np.einsum("kd,ke->kde", x_mean * size[:, None], y_mean)
        A[:, np.arange(d), np.arange(d)] += alpha
        coef[narrow] = np.linalg.solve(A, b).transpose(0, 2, 1)
        if fit_intercept:
            slopes = np.einsum("kod,kd->ko", coef[narrow], x_mean)
            intercept[narrow] = y_mean - slopes
    if fit_intercept:
        intercept += middle - coef @ center
    return coef, intercept


def _dual_ridge(
    rows: Array, weight: Array, d: int, alpha: float, fit_intercept: bool
) -> tuple[Array, Array]:
    X, y = rows[:, :d], rows[:, d:-1]
    x_mean, y_mean = np.zeros(d), np.zeros(y.shape[1])
    if fit_intercept:
        x_mean, y_mean = (np.average(a, axis=0, weights=weight) for a in (X, y))
    root = np.sqrt(weight)[:, None]
    X, y = (X - x_mean) * root, (y - y_mean) * root
    K = X @ X.T
    K[np.diag_indices_from(K)] += alpha
    coef: Array = (X.T @ linalg.solve(K, y, assume_a="pos")).T
    return coef, y_mean - coef @ x_mean


def logistic_without(
    X: Array, goal: Array, weight: Array, left_out: Sequence[Indices], *,
    penalty: float, start: Array, fit_intercept: bool = True, tol: float = 1e-6,
    max_iter: int = 20,
) -> tuple[Array, Array]:  # fmt: skip
    r"""Solve logistic regression without some of the rows, for several sets of these.

    .. math:: \min_\theta\; \sum_i w_i \ell(y_i, \theta z_i)
        + \frac{\lambda}{2} \lVert \theta \rVert^2

    The penalty leaves the intercept out. All sets take their steps together.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Rows.
    goal : ndarray of shape (n, q)
        Labels: with q = 1 indicators of the second of two classes, else of each class.
    weight : ndarray of shape (n,)
        Positive weights.
    left_out : list of ndarray of int
        Rows that each solution lacks.
    penalty : float
        Positive :math:`\lambda`.
    start : ndarray of shape (q, d + 1)
        Solution for all rows, the intercept last.
    fit_intercept : bool, default=True
        Whether there is an intercept.
    tol : float, default=1e-6
        Largest gradient, over the sum of the weights, that counts as solved.
    max_iter : int, default=20
        Most Newton steps.

    Returns
    -------
    theta : ndarray of shape (len(left_out), q, d + 1)
        Parameters of each set, the intercept last.
    residual : ndarray of shape (len(left_out),)
        The largest gradient left, over the sum of the weights.
    """
    n, q, n_sets = len(X), goal.shape[1], len(left_out)
    Z = np.hstack([X, np.ones((n, 1))]) if fit_intercept else X
    p = Z.shape[1]
    shrunk = np.full((q, p), penalty)
    if fit_intercept:
        shrunk[:, -1] = 0.0
    theta = np.repeat(start[None, :, :p], n_sets, axis=0)
    weights = np.repeat(weight[:, None], n_sets, axis=1)
    for k, rows in enumerate(left_out):
        weights[rows, k] = 0.0
    total = weights.sum(axis=0)
    best, residual = theta.copy(), np.full(n_sets, np.inf)
    hessians = None
    for _ in range(max_iter + 1):
        eta = (Z @ theta.reshape(n_sets * q, p).T).reshape(n, n_sets, q)
        mean = special.expit(eta) if q == 1 else special.softmax(eta, axis=2)
        slope = (mean - goal[:, None]) * weights[:, :, None]
        gradient = (slope.reshape(n, -1).T @ Z).reshape(n_sets, q, p)
        gradient += shrunk * theta
        size = np.abs(gradient).max(axis=(1, 2)) / total
        closer = size < residual
        slow = bool((size > np.maximum(_SLOW * residual, tol)).any())
        best[closer], residual[closer] = theta[closer], size[closer]
        if (residual <= tol).all() or not closer[residual > tol].all():
            break  # all are solved, or one gets no closer
        if hessians is None or slow:
            first = hessians is None
            hessians = _hessians(Z, mean, weights, left_out, shrunk, first=first)
        step = np.linalg.solve(hessians, gradient.reshape(n_sets, q * p, 1))
        open_ = residual > tol
        theta[open_] -= step.reshape(n_sets, q, p)[open_]
    if not fit_intercept:
        best = np.concatenate([best, np.zeros((n_sets, q, 1))], axis=2)
    return best, residual


def _hessians(
    Z: Array, mean: Array, weights: Array, left_out: Sequence[Indices],
    shrunk: Array, *, first: bool,
) -> Array:  # fmt: skip
    """Return the Hessian of each set, (n_sets, q * p, q * p)."""
    n, n_sets, q = mean.shape
    p = Z.shape[1]
    if first:  # the solution for all rows is the start of every set
        own = weights.max(axis=1)

        def total(some: Indices) -> Array:
            return _hessian(Z[some], mean[some, 0], own[some])

        found = sums_without(total, n, left_out)
    else:
        found = np.stack(
            [_hessian(Z, mean[:, k], weights[:, k]) for k in range(n_sets)]
        )
    found[:, np.arange(q * p), np.arange(q * p)] += shrunk.ravel()
    if q > 1 and not shrunk[0, -1]:
        # probabilities do not change where all intercepts grow alike
        last = np.arange(p - 1, q * p, p)
        found[:, last[:, None], last] += found[:, last, last].mean(axis=1)[
            :, None, None
        ]
    return found


def _hessian(Z: Array, mean: Array, weight: Array) -> Array:
    q, p = mean.shape[1], Z.shape[1]
    if q == 1:
        curvature = weight * mean[:, 0] * (1 - mean[:, 0])
        whole: Array = (Z * curvature[:, None]).T @ Z
        return whole
    found = np.empty((q, p, q, p))
    for a in range(q):
        for b in range(a + 1):
            curvature = weight * mean[:, a] * ((a == b) - mean[:, b])
            found[a, :, b] = (Z * curvature[:, None]).T @ Z
            found[b, :, a] = found[a, :, b]
    return found.reshape(q * p, q * p)
