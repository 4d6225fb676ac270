r"""Linear models with a Gaussian prior of their coefficients, made from sources.

.. math:: \min_w \tfrac1n \sum_i \ell(y_i, x_i'w) + \tfrac\alpha2 \|w\|^2
    + \tfrac\lambda2 (w - \mu)' P (w - \mu)

for several weights :math:`\lambda`, with the error of every row when it is left out:
exact for squared errors, by one Newton step for log losses.

References
----------
H. Yoon, J. Li. A novel positive transfer learning approach for telemonitoring of
Parkinson's disease. IEEE Transactions on Automation Science and Engineering 16(1),
2019. :doi:`10.1109/TASE.2018.2874233`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from scipy import linalg, special
from sklearn.covariance import oas

Array = npt.NDArray[Any]


class Prior(NamedTuple):
    """Gaussian of each row of coefficients; the precision has mean scale 1."""

    mean: Array
    covariance: Array
    precision: Array


#: (prior, weights, start) -> (errors of the rows, solutions) at each weight
FitPath = Callable[[Prior | None, Array, Any], tuple[Array, Any]]
#: (weights, solutions) -> (prior -> guess of the least mean error), without a fit
Screen = Callable[[Array, Any], Callable[[Prior], float]]

#: of the fits with one source less the best guesses are solved, but no fewer than this
_SOLVED = 3


class PriorChoice(NamedTuple):
    """A fit with the sources, the weight and the held-out errors of its prior."""

    solution: Array
    path: Any
    errors: Array
    weight: float
    bound: float
    kept: list[int]
    prior: Prior


def gaussian_prior(vectors: Array) -> Prior:
    """Return mean, shrunk covariance and scaled precision of source coefficients.

    Parameters
    ----------
    vectors : ndarray of shape (n_sources, n_rows, n_features)
        Coefficients; each row gets a Gaussian of its own.

    Returns
    -------
    prior : Prior
        Of shapes (n_rows, n_features) and (n_rows, n_features, n_features). The
        covariance of less than two vectors, or of equal ones, is the identity.
    """
    n_sources, n_rows, d = vectors.shape
    mean = vectors.mean(axis=0) if n_sources else np.zeros((n_rows, d))
    covariance = np.tile(np.eye(d), (n_rows, 1, 1))
    spread = ((vectors - mean) ** 2).sum(axis=(0, 2))
    size = (vectors**2).sum(axis=(0, 2))
    for row in np.flatnonzero(spread > 1e-24 * size):
        covariance[row] = oas(vectors[:, row])[0]
    scale = np.trace(covariance, axis1=1, axis2=2) / d
    return Prior(mean, covariance, scale[:, None, None] * np.linalg.inv(covariance))


def choose_prior(
    vectors: Array,
    fit_path: FitPath,
    weights: Array,
    *,
    drop: bool,
    screen: Screen | None = None,
) -> tuple[PriorChoice, PriorChoice]:
    """Choose the sources and the weight of their prior by held-out target error.

    Parameters
    ----------
    vectors : ndarray of shape (n_sources, n_rows, n_features)
        Coefficients of the sources.
    fit_path : callable
        ``fit_path(prior, weights, start) -> (errors, solutions)``: held-out error of
        each row and solution at each weight; ``prior=None`` stands for the target
        alone, ``start`` is None or the solutions for a similar prior.
    weights : ndarray of shape (n_weights,)
        Ascending weights to try; the first of the smallest error is taken.
    drop : bool
        Whether to eliminate sources greedily.
    screen : callable, default=None
        ``screen(weights, solutions)`` returns a function that guesses the least mean
        error of a prior from the solutions for a similar one. Of the fits with one
        source less those of the best guesses are solved. None: all of them.

    Returns
    -------
    choice, alone : PriorChoice
        The fit with its sources, prior, weight and errors, and that without sources.
    """

    def best(kept: list[int], start: Any = None) -> PriorChoice:
        prior = gaussian_prior(vectors[kept])
        row_errors, solutions = fit_path(prior, weights, start)
        errors = row_errors.mean(axis=1)
        i = 0 if np.isnan(errors).any() else int(np.argmin(errors))
        allowed = weights[errors <= alone_errors.mean() * (1 + 1e-12)]
        bound = float(allowed.max(initial=0.0))
        return PriorChoice(
            solutions[i], solutions, row_errors[i], weights[i], bound, kept, prior
        )

    (alone_errors,), (alone,) = fit_path(None, np.zeros(1), None)
    nobody = PriorChoice(
        alone, [alone], alone_errors, 0.0, 0.0, [], gaussian_prior(vectors[:0])
    )
    if not len(vectors):
        return nobody, nobody
    choice = best(list(range(len(vectors))))
    n = len(alone_errors)
    while drop and n > 1 and len(choice.kept) > 1:
        fewer = [[j for j in choice.kept if j != k] for k in choice.kept]
        if screen is not None and len(fewer) > _SOLVED:
            guess = screen(weights, choice.path)
            guesses = [guess(gaussian_prior(vectors[kept])) for kept in fewer]
            fewer = [fewer[k] for k in sorted(np.argsort(guesses)[:_SOLVED])]
        options = [best(kept, choice.path) for kept in fewer]
        candidate = min(options, key=lambda option: option.errors.mean())
        gains = choice.errors - candidate.errors
        if not gains.mean() > 0.5 * gains.std(ddof=1) / np.sqrt(n):
            break
        choice = candidate
    refused = drop and choice.errors.mean() >= alone_errors.mean()
    return (nobody if choice.weight == 0 or refused else choice), nobody


def ridge_path(
    X: Array,
    y: Array,
    prior: Prior | None,
    weights: Array,
    *,
    alpha: float,
    fit_intercept: bool,
) -> tuple[Array, Array]:
    """Solve ridge regression with a Gaussian prior for several weights of the prior.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
        Labeled target rows.
    y : ndarray of shape (n,)
        Labels.
    prior : Prior or None
        Of one row. None: no prior.
    weights : ndarray of shape (n_weights,)
        Weights of the prior.
    alpha : float
        Ridge penalty, relative to the mean squared error.
    fit_intercept : bool
        Whether rows and labels are centered.

    Returns
    -------
    errors : ndarray of shape (n_weights, n)
        Leave-one-out squared errors; NaN of a single row.
    solutions : ndarray of shape (n_weights, n_features)
        Coefficients.
    """
    n, d = X.shape
    if fit_intercept:
        X, y = X - X.mean(axis=0), y - y.mean()
    gram = X.T @ X / n + alpha * np.eye(d)
    precision = np.zeros((d, d)) if prior is None else prior.precision[0]
    pull = 0 if prior is None else precision @ prior.mean[0]
    # V'gram V = I and V'precision V = diag(scales): each weight costs two products
    scales, V = linalg.eigh(precision, gram)
    shrink = 1 / (1 + np.outer(weights, np.clip(scales, 0, None)))
    goals = (X.T @ y / n)[:, None] + np.outer(pull, weights) if prior else (
        np.tile((X.T @ y / n)[:, None], len(weights))
    )  # fmt: skip
    solutions = (V @ (shrink.T * (V.T @ goals))).T
    if n == 1:
        return np.full((len(weights), 1), np.nan), solutions
    leverage = shrink @ ((X @ V) ** 2).T / n + (1 / n if fit_intercept else 0)
    residuals = (y - solutions @ X.T) / (1 - leverage)
    return residuals**2, solutions


def logistic_path(
    X: Array,
    codes: Array,
    prior: Prior | None,
    weights: npt.ArrayLike,
    *,
    n_logits: int,
    alpha: float,
    fit_intercept: bool,
    tol: float,
    max_iter: int,
    start: list[Array] | None = None,
    leave_out: bool = True,
) -> tuple[Array, list[Array], dict[str, Any]]:
    """Solve logistic regression with a Gaussian prior for several weights of it.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
        Labeled rows.
    codes : ndarray of shape (n,)
        Classes 0, 1, ...
    prior : Prior or None
        Of ``n_logits`` rows. None: no prior.
    weights : array-like of shape (n_weights,)
        Weights of the prior.
    n_logits : int
        1 for two classes, else the number of classes.
    alpha : float
        Ridge penalty, relative to the mean log loss.
    fit_intercept : bool
        Whether the last column of a solution is free; else it is 0.
    tol, max_iter : float, int
        Of Newton's method.
    start : list of ndarray of shape (n_logits, n_features + 1), default=None
        Where each weight starts. None: at the solution of the weight before.
    leave_out : bool, default=True
        Whether the errors are wanted; NaN if not.

    Returns
    -------
    errors : ndarray of shape (n_weights, n)
        Approximate leave-one-out log losses.
    solutions : list of ndarray of shape (n_logits, n_features + 1)
        Coefficients and intercepts.
    info : dict
        ``n_iter`` and ``residual``, the largest of all weights.
    """
    n, d = X.shape
    rows, onehot = _logistic_rows(X, codes, n_logits, fit_intercept)
    theta, errors, solutions = np.zeros((n_logits, d + 1)), [], []
    info: dict[str, Any] = {"n_iter": 0, "residual": 0.0}
    for i, weight in enumerate(np.asarray(weights, dtype=np.float64)):
        penalty, center = _quadratic(prior, weight, n_logits, d, alpha)
        theta = theta if start is None else start[i]
        theta, hessian, n_iter, residual = _newton(
            rows, onehot, penalty, center, theta, fit_intercept, tol, max_iter
        )
        info["n_iter"] = max(info["n_iter"], n_iter)
        info["residual"] = max(info["residual"], residual)
        if leave_out:
            errors.append(_left_out_log_losses(rows, onehot, theta, hessian))
        else:
            errors.append(np.full(n, np.nan))
        solutions.append(theta)
    return np.array(errors), solutions, info


def logistic_screen(
    X: Array,
    codes: Array,
    *,
    n_logits: int,
    alpha: float,
    fit_intercept: bool,
) -> Screen:
    r"""Guess left-out log losses for other priors by one Newton step each.

    With few rows these are left out at the end of the step. With many the cost must
    not grow with them: the mean loss is expanded to second order, with the mean
    gradient g, Hessian H and second moment G of the gradients of the rows. The step
    :math:`\delta` with the Hessian H + P of the objective gives the guess

    .. math:: \ell + g'\delta + \tfrac12 \delta' H \delta
              + \tfrac1n \operatorname{tr} (H + P)^{-1} G .

    Parameters
    ----------
    X, codes, n_logits, alpha, fit_intercept
        As in :func:`logistic_path`.

    Returns
    -------
    screen : callable
        What :func:`choose_prior` takes.
    """
    n, d = X.shape
    rows, onehot = _logistic_rows(X, codes, n_logits, fit_intercept)
    nothing = np.zeros((n_logits, d + 1, d + 1))
    few = n < 20 * n_logits * (d + 1)

    def screen(weights: Array, solutions: list[Array]) -> Callable[[Prior], float]:
        expansions = []
        for theta in solutions:
            value, gradient = _objective(rows, onehot, nothing, theta, theta)
            hessian = _hessian(rows, theta, nothing, fit_intercept)
            residual = _probabilities(rows @ theta.T) - onehot
            each = (residual[:, :, None] * rows[:, None, :]).reshape(n, -1)
            expansions.append((value, gradient, hessian, each.T @ each / n**2))

        def guess(prior: Prior) -> float:
            least = np.inf
            for weight, theta, expansion in zip(
                weights, solutions, expansions, strict=True
            ):
                value, gradient, hessian, spread = expansion
                penalty, center = _quadratic(prior, weight, n_logits, d, alpha)
                pull = np.einsum("cij,cj->ci", penalty, theta - center)
                system = hessian + linalg.block_diag(*penalty)
                step = -linalg.solve(system, (gradient + pull).ravel(), assume_a="pos")
                if few:
                    moved = theta + step.reshape(theta.shape)
                    losses = _left_out_log_losses(rows, onehot, moved, system)
                    least = min(least, float(losses.mean()))
                    continue
                loss = value + gradient.ravel() @ step + 0.5 * step @ hessian @ step
                variance = np.trace(linalg.solve(system, spread, assume_a="pos"))
                least = min(least, float(loss + variance))
            return least

        return guess

    return screen


def _logistic_rows(
    X: Array, codes: Array, n_logits: int, fit_intercept: bool
) -> tuple[Array, Array]:
    """Return the rows with the column of the intercept, and the indicators."""
    rows = np.column_stack([X, np.full(len(X), float(fit_intercept))])
    onehot = codes[:, None] == np.arange(n_logits) + (n_logits == 1)
    return rows.astype(np.float64), onehot


def _quadratic(
    prior: Prior | None, weight: float, n_logits: int, d: int, alpha: float
) -> tuple[Array, Array]:
    """Return matrix and center of ridge penalty and prior together."""
    penalty = np.zeros((n_logits, d + 1, d + 1))
    penalty[:, :d, :d] = alpha * np.eye(d)
    center = np.zeros((n_logits, d + 1))
    if prior is not None:
        penalty[:, :d, :d] += weight * prior.precision
        pull = weight * np.einsum("cij,cj->ci", prior.precision, prior.mean)
        center[:, :d] = np.linalg.solve(penalty[:, :d, :d], pull[..., None])[..., 0]
    return penalty, center


def _newton(
    rows: Array,
    onehot: Array,
    penalty: Array,
    center: Array,
    theta: Array,
    fit_intercept: bool,
    tol: float,
    max_iter: int,
) -> tuple[Array, Array, int, float]:
    """Minimize mean log loss plus the quadratic penalty around ``center``."""
    value, gradient = _objective(rows, onehot, penalty, center, theta)
    hessian = _hessian(rows, theta, penalty, fit_intercept)
    n_iter = 0
    while np.abs(gradient).max() > tol and n_iter < max_iter:
        step = -linalg.solve(hessian, gradient.ravel(), assume_a="pos")
        step = step.reshape(theta.shape)
        slope, size = np.sum(gradient * step), 1.0
        while size > 1e-10:
            new = _objective(rows, onehot, penalty, center, theta + size * step)
            # near the optimum rounding hides the decrease, the gradient does not
            closer = np.abs(new[1]).max() < 0.5 * np.abs(gradient).max()
            if new[0] <= value + 1e-4 * size * slope or (size == 1 and closer):
                break
            size /= 2
        theta, (value, gradient) = theta + size * step, new
        hessian = _hessian(rows, theta, penalty, fit_intercept)
        n_iter += 1
    return theta, hessian, n_iter, float(np.abs(gradient).max())


def _objective(
    rows: Array, onehot: Array, penalty: Array, center: Array, theta: Array
) -> tuple[float, Array]:
    logits = rows @ theta.T
    if logits.shape[1] == 1:
        losses = np.logaddexp(0, logits) - onehot * logits
    else:
        losses = special.logsumexp(logits, axis=1) - (onehot * logits).sum(axis=1)
    pull = np.einsum("cij,cj->ci", penalty, theta - center)
    value = losses.mean() + 0.5 * np.sum((theta - center) * pull)
    gradient = (_probabilities(logits) - onehot).T @ rows / len(rows) + pull
    return value, gradient


def _hessian(rows: Array, theta: Array, penalty: Array, fit_intercept: bool) -> Array:
    """Second derivatives; directions without any effect get curvature."""
    n_logits, width = theta.shape
    curvature = _loss_curvature(_probabilities(rows @ theta.T))
    hessian = np.empty((n_logits, width, n_logits, width))
    for c in range(n_logits):
        weighted = (curvature[:, c, :, None] * rows[:, None, :]).reshape(len(rows), -1)
        hessian[c] = (rows.T @ weighted / len(rows)).reshape(width, n_logits, width)
        hessian[c, :, c, :] += penalty[c]
    last = width - 1
    if not fit_intercept:
        hessian[range(n_logits), last, range(n_logits), last] += 1
    elif n_logits > 1:  # a shift of every intercept
        hessian[:, last, :, last] += 1 / n_logits
    return hessian.reshape(n_logits * width, n_logits * width)


def _probabilities(logits: Array) -> Array:
    if logits.shape[1] == 1:
        return cast(Array, special.expit(logits))
    return cast(Array, special.softmax(logits, axis=1))


def _loss_curvature(p: Array) -> Array:
    """Hessian of each row's log loss in its logits, shape (n, n_logits, n_logits)."""
    if p.shape[1] == 1:
        return cast(Array, (p * (1 - p))[:, :, None])
    return cast(
        Array, np.eye(p.shape[1]) * p[:, :, None] - p[:, :, None] * p[:, None, :]
    )


def _left_out_log_losses(
    rows: Array, onehot: Array, theta: Array, hessian: Array
) -> Array:
    """Log losses of rows left out by one Newton step each."""
    n, (n_logits, width) = len(rows), theta.shape
    inverse = linalg.inv(hessian).reshape(n_logits, width, n_logits, width) / n
    A = np.empty((n, n_logits, n_logits))
    for a in range(n_logits):
        for b in range(a, n_logits):  # two products, in BLAS
            A[:, a, b] = ((rows @ inverse[a, :, b]) * rows).sum(axis=1)
            A[:, b, a] = A[:, a, b]
    logits = rows @ theta.T
    p = _probabilities(logits)
    gradient = np.einsum("nab,nb->na", A, p - onehot)
    system = np.eye(n_logits) - A @ _loss_curvature(p)
    logits = logits + np.linalg.solve(system, gradient[:, :, None])[:, :, 0]
    if n_logits == 1:
        return cast(Array, (np.logaddexp(0, logits) - onehot * logits)[:, 0])
    return cast(Array, special.logsumexp(logits, axis=1) - logits[onehot])
