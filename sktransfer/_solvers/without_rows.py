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
#: most runs of consecutive rows that are summed one by one
_MOST_RUNS = 10
#: most unknowns of equations that are solved all at once
_SMALL = 50
#: numbers that are worked on at a time
_BLOCK = 2**16


def sums_without(
    total: Callable[[Any], Array], n_rows: int, left_out: Sequence[Indices]
) -> Array:
    """Sum over the rows, without some of them, for several sets of these.

    Nothing is subtracted, so no digits are lost.

    Parameters
    ----------
    total : callable
        ``total(rows)`` sums over rows with these indices, or of this slice.
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
    never = np.flatnonzero(count == 0)
    ends = np.flatnonzero(np.diff(never) != 1)
    if len(ends) < _MOST_RUNS and len(never):  # slices are not copied
        starts, stops = never[np.append(0, ends + 1)], never[np.append(ends, -1)] + 1
        runs = [total(slice(a, b)) for a, b in zip(starts, stops, strict=True)]
        common = sum(runs[1:], runs[0])
    else:
        common = total(never)
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
    plain = bool(np.all(weight == weight[0]))
    if fit_intercept:  # any center near the means does
        center, middle = (
            a.mean(axis=0) if plain else (weight / weight.sum()) @ a for a in (X, y)
        )
    root = None if plain else np.sqrt(weight)[:, None]

    def centered(some: Any) -> Array:
        """Return rows, labels and ones side by side."""
        x = X[some]
        rows = np.empty((len(x), d + n_outputs + 1))
        np.subtract(x, center, out=rows[:, :d])
        np.subtract(y[some], middle, out=rows[:, d:-1])
        rows[:, -1] = 1.0
        return rows

    coef = np.empty((len(left_out), n_outputs, d))
    intercept = np.zeros((len(left_out), n_outputs))
    kept = n - np.array([len(out) for out in left_out])
    wide = kept < d  # the dual has one unknown for each row
    if wide.any():
        rows = centered(slice(None))
        products = rows[:, :d] @ rows[:, :d].T
    for k in np.flatnonzero(wide).tolist():
        mask = np.ones(n, dtype=bool)
        mask[left_out[k]] = False
        coef[k], intercept[k] = _dual_ridge(
            rows[mask], products[np.ix_(mask, mask)], weight[mask], d, alpha,
            fit_intercept,
        )  # fmt: skip
    if not wide.all():

        def total(some: Any) -> Array:
            found = np.zeros((d + n_outputs + 1,) * 2)
            for block in _blocks(some, d):
                part = centered(block)
                if root is not None:
                    part *= root[block]
                found += part.T @ part
            return found if root is not None else weight[0] * found

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
        if d <= _SMALL:
            coef[narrow] = np.linalg.solve(A, b).transpose(0, 2, 1)
        else:
            for k, factor, right in zip(narrow, _cholesky(A), b, strict=True):
                coef[k] = linalg.cho_solve(factor, right, check_finite=False).T
        if fit_intercept:
            slopes = np.einsum("kod,kd->ko", coef[narrow], x_mean)
            intercept[narrow] = y_mean - slopes
    if fit_intercept:
        intercept += middle - coef @ center
    return coef, intercept


def _blocks(some: Any, d: int) -> list[Any]:
    """Split indices, or a slice, into parts that fit a cache."""
    step = max(_BLOCK // d, 1)
    if isinstance(some, slice):
        return [
            slice(a, min(a + step, some.stop))
            for a in range(some.start, some.stop, step)
        ]
    return [some[a : a + step] for a in range(0, len(some), step)]


def _dual_ridge(
    rows: Array, products: Array, weight: Array, d: int, alpha: float,
    fit_intercept: bool,
) -> tuple[Array, Array]:  # fmt: skip
    """Solve ridge regression by the products of its rows, which it may overwrite."""
    X, y = rows[:, :d], rows[:, d:-1]
    x_mean, y_mean = np.zeros(d), np.zeros(y.shape[1])
    K = products
    if fit_intercept:
        share = weight / weight.sum()
        x_mean, y_mean = share @ X, share @ y
        X, y = X - x_mean, y - y_mean
        shift = share @ K
        K += share @ shift - shift - shift[:, None]
    root = np.sqrt(weight)[:, None]
    K *= root
    K *= root.T
    K[np.diag_indices_from(K)] += alpha
    factor = linalg.cho_factor(K, lower=True, overwrite_a=True, check_finite=False)
    dual = linalg.cho_solve(factor, root * y, check_finite=False)
    coef: Array = (root * dual).T @ X
    return coef, y_mean - coef @ x_mean


def logistic_without(
    X: Array, goal: Array, weight: Array, left_out: Sequence[Indices], *,
    penalty: float, start: Array, fit_intercept: bool = True, tol: float = 1e-6,
    max_iter: int = 20,
) -> tuple[Array, Array]:  # fmt: skip
    r"""Fit logistic regression without some of the rows, for several sets of these.

    .. math:: F(\theta) = \sum_i w_i \ell(y_i, \theta z_i)
        + \frac{\lambda}{2} \lVert \theta \rVert^2

    The penalty leaves the intercept out. A solver stops where the gradient is small,
    so that `start`, the fit on all rows, has one left. Each set is solved as far: with
    F and the sum W of the weights of all rows, and :math:`F_k, W_k` of the rows of set
    k,

    .. math:: \nabla F_k(\theta_k) / W_k = \nabla F(\theta) / W .

    All sets take their Newton steps together.

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
        The fit on all rows, the intercept last.
    fit_intercept : bool, default=True
        Whether there is an intercept.
    tol : float, default=1e-6
        Largest entry of the difference of both sides that counts as solved.
    max_iter : int, default=20
        Most Newton steps.

    Returns
    -------
    theta : ndarray of shape (len(left_out), q, d + 1)
        Parameters of each set, the intercept last.
    residual : ndarray of shape (len(left_out),)
        The largest entry of the difference that is left.
    """
    (n, d), q, n_sets = X.shape, goal.shape[1], len(left_out)
    p = d + fit_intercept
    Z = X
    if fit_intercept:
        Z = np.empty((n, p))
        Z[:, :d] = X
        Z[:, d] = 1.0
    shrunk = np.full((q, p), penalty)
    if fit_intercept:
        shrunk[:, -1] = 0.0
    start = start[:, :p]
    plain = bool(np.all(weight == 1))
    mean = _means(start @ Z.T)
    slope = (mean - goal.T) * weight
    size = np.array([weight[rows].sum() for rows in left_out])
    size = weight.sum() - size
    whole = slope @ Z + shrunk * start
    goals = size[:, None, None] * (whole / weight.sum())
    curvature = _hessian(Z, mean, weight)
    gradient = np.empty((n_sets, q, p))
    hessians = np.empty((n_sets, q * p, q * p))
    for k, rows in enumerate(left_out):  # the residual tells whether digits were lost
        part = Z[rows]
        gradient[k] = whole - slope[:, rows] @ part
        hessians[k] = curvature - _hessian(part, mean[:, rows], weight[rows])
    gradient -= goals
    hessians = _regular(hessians, shrunk)
    factors = _cholesky(hessians) if q * p > _SMALL else []
    theta = np.repeat(start[None], n_sets, axis=0)
    best, residual = theta.copy(), np.abs(gradient).max(axis=(1, 2)) / size
    for _ in range(max_iter):
        open_ = np.flatnonzero(residual > tol)
        if q * p <= _SMALL:
            right = gradient[open_].reshape(len(open_), q * p, 1)
            steps = np.linalg.solve(hessians[open_], right)
        else:
            steps = np.stack([
                linalg.cho_solve(factors[k], gradient[k].ravel(), check_finite=False)
                for k in open_.tolist()
            ])  # fmt: skip
        theta[open_] -= steps.reshape(len(open_), q, p)
        means = _means(theta @ Z.T)
        slope_of = means - goal.T
        if not plain:
            slope_of *= weight
        for k, rows in enumerate(left_out):
            slope_of[k][:, rows] = 0.0
        gradient = (slope_of.reshape(n_sets * q, n) @ Z).reshape(n_sets, q, p)
        gradient += shrunk * theta - goals
        now = np.abs(gradient).max(axis=(1, 2)) / size
        closer = now < residual
        slow = _is_slow(now, residual, tol, q * p)
        best[closer], residual[closer] = theta[closer], now[closer]
        if (residual <= tol).all() or not closer[residual > tol].all():
            break  # all are solved, or one gets no closer
        if slow:
            parts = []
            for k, rows in enumerate(left_out):
                own = weight.copy()
                own[rows] = 0.0
                parts.append(_hessian(Z, means[k], own))
            hessians = _regular(np.stack(parts), shrunk)
            factors = _cholesky(hessians) if q * p > _SMALL else []
    if not fit_intercept:
        best = np.concatenate([best, np.zeros((n_sets, q, 1))], axis=2)
    return best, residual


def _is_slow(now: Array, before: Array, tol: float, p: int) -> bool:
    """Tell whether new Hessians cost less than the steps that the old ones need."""
    left = now > tol
    if not left.any():
        return False
    shrunk = np.minimum(now[left] / before[left], 0.99)
    n_steps = np.log(tol / now[left]) / np.log(shrunk)
    return bool(n_steps.max() > 2 + p / 8)


def _means(eta: Array) -> Array:
    """Return probabilities of logits of shape (..., q, n)."""
    if eta.shape[-2] > 1:
        mean: Array = special.softmax(eta, axis=-2)
        return mean
    with np.errstate(over="ignore"):
        np.exp(-eta, out=eta)
        eta += 1.0
        np.reciprocal(eta, out=eta)
    return eta


def _regular(hessians: Array, shrunk: Array) -> Array:
    """Add the penalty, and what makes the matrices regular."""
    q, p = shrunk.shape
    hessians[:, np.arange(q * p), np.arange(q * p)] += shrunk.ravel()
    if q > 1 and not shrunk[0, -1]:
        # probabilities do not change where all intercepts grow alike
        last = np.arange(p - 1, q * p, p)
        hessians[:, last[:, None], last] += hessians[:, last, last].mean(axis=1)[
            :, None, None
        ]
    return hessians


def _cholesky(matrices: Array) -> list[Any]:
    """Factorize symmetric matrices, which are overwritten."""
    return [
        linalg.cho_factor(one.T, lower=True, overwrite_a=True, check_finite=False)
        for one in matrices
    ]


def _hessian(Z: Array, mean: Array, weight: Array) -> Array:
    """Return the sum over rows for probabilities of shape (q, n)."""
    q, p = len(mean), Z.shape[1]
    if q == 1:
        root = np.sqrt(weight * mean[0] * (1 - mean[0]))[:, None]
        whole = np.zeros((p, p))
        for block in _blocks(slice(0, len(Z)), p):
            part = Z[block] * root[block]
            whole += part.T @ part
        return whole
    found = np.empty((q, p, q, p))
    for a in range(q):
        for b in range(a + 1):
            curvature = weight * mean[a] * ((a == b) - mean[b])
            found[a, :, b] = (Z * curvature[:, None]).T @ Z
            found[b, :, a] = found[a, :, b]
    return found.reshape(q * p, q * p)
