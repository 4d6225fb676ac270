r"""Secure regularized least squares: ridge regression on truncated corrections.

With the residuals :math:`r` of a combination of hypotheses the correction is

.. math:: w = \arg\min_w \tfrac1n \sum_i \big((x_i-\bar x)'w - (r_i-b)\big)^2
    + \alpha \|w\|^2 ,

truncated to a bound. Penalty, bound and combination are those of the smallest
leave-one-out error, which has a closed form.

References
----------
I. Kuzborskij, F. Orabona. Stability and hypothesis transfer learning. International
Conference on Machine Learning, 2013.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from scipy import linalg, sparse
from sklearn.utils.extmath import safe_sparse_dot

from sktransfer._solvers.simplex_qp import SimplexQPInfo, simplex_least_squares

Array = npt.NDArray[Any]


class _Bound(NamedTuple):
    """A bound of the correction: absolute, or a multiple of the largest residual."""

    value: float
    relative: bool

    def of(self, largest: Array) -> Array:
        if self.relative:
            return self.value * largest
        return np.full_like(largest, self.value)


_AUTO_BOUNDS = [
    _Bound(np.inf, False),
    *(_Bound(c, True) for c in (2.0, 1.0, 0.5, 0.25)),
]


@dataclass(frozen=True)
class SecureRLSSolution:
    """The fit of the best penalty and bound.

    Attributes
    ----------
    coef : ndarray of shape (n_features, n_outputs)
        Coefficients of the correction.
    intercept : ndarray of shape (n_outputs,)
        Mean residual.
    center : ndarray of shape (n_features,)
        Mean of the rows; 0 without intercept.
    alpha : float
        The penalty.
    truncation : ndarray of shape (n_outputs,)
        The bound; infinity for none.
    source_weights : ndarray of shape (n_source_models,)
        Weights of the hypotheses.
    loo_predictions : ndarray of shape (n, n_outputs)
        Prediction of each row by the fit without it.
    loo_error : float
        Their mean squared error.
    weights_info : SimplexQPInfo
        How well the program of the weights was solved.
    """

    coef: Array
    intercept: Array
    center: Array
    alpha: float
    truncation: Array
    source_weights: Array
    loo_predictions: Array
    loo_error: float
    weights_info: SimplexQPInfo


class _Choice(NamedTuple):
    loo_error: float
    loo_predictions: Array
    alpha: float
    source_weights: Array
    rule: _Bound
    info: SimplexQPInfo


def secure_rls(
    X: Any,
    y: Array,
    columns: Array,
    *,
    alphas: Array,
    truncation: float | str | None,
    source_weights: str,
    fit_intercept: bool,
) -> SecureRLSSolution:
    r"""Solve secure least squares for the best of several penalties.

    Parameters
    ----------
    X : {ndarray, sparse matrix} of shape (n, n_features)
        Labeled target rows.
    y : ndarray of shape (n, n_outputs)
        Their labels.
    columns : ndarray of shape (n_source_models, n, n_outputs)
        Predictions of the source hypotheses on these rows.
    alphas : ndarray of shape (n_alphas,)
        Penalties; the first of the smallest leave-one-out error wins.
    truncation : "auto", float or None
        Bound of the correction.
    source_weights : {"loo", "uniform"}
        How the hypotheses are combined.
    fit_intercept : bool
        Whether rows and residuals are centered.

    Returns
    -------
    solution : SecureRLSSolution
        The fit.
    """
    U, spectrum, center = _left_singular(X, fit_intercept)
    bounds = _AUTO_BOUNDS
    if truncation != "auto":
        bounds = [_Bound(np.inf if truncation is None else float(truncation), False)]
    best: _Choice | None = None
    for alpha in map(float, alphas):
        shrink = spectrum / (spectrum + len(y) * alpha)
        beta, info = _weights(U, shrink, y, columns, source_weights, fit_intercept)
        residual = y - np.tensordot(beta, columns, axes=1).astype(y.dtype)
        for rule in bounds:
            left_out = loo_corrections(U, shrink, residual, rule, fit_intercept)
            error = float(np.mean((residual - left_out) ** 2))
            if best is None or error < best.loo_error * (1 - 1e-10):
                predictions = y - residual + left_out
                best = _Choice(error, predictions, alpha, beta, rule, info)
    if best is None:
        raise ValueError("alphas must hold at least one penalty")
    residual = y - np.tensordot(best.source_weights, columns, axes=1).astype(y.dtype)
    shift = residual.mean(axis=0) if fit_intercept else np.zeros_like(residual[0])
    dual = U @ (U.T @ (residual - shift) / (spectrum + len(y) * best.alpha)[:, None])
    coef = safe_sparse_dot(X.T, dual) - np.outer(center, dual.sum(axis=0))
    bound = best.rule.of(np.abs(residual - shift).max(axis=0))
    return SecureRLSSolution(
        coef=coef,
        intercept=shift,
        center=center,
        alpha=best.alpha,
        truncation=bound.astype(y.dtype),
        source_weights=best.source_weights,
        loo_predictions=best.loo_predictions,
        loo_error=best.loo_error,
        weights_info=best.info,
    )


def _left_singular(X: Any, fit_intercept: bool) -> tuple[Array, Array, Array]:
    """Return the left singular vectors and squared values of the (centered) rows."""
    if sparse.issparse(X):
        center = np.asarray(X.mean(axis=0)).ravel().astype(X.dtype)
        center = center if fit_intercept else np.zeros_like(center)
        gram = (X @ X.T).toarray()
        if fit_intercept:
            gram -= gram.mean(axis=0)
            gram -= gram.mean(axis=1)[:, None]
        spectrum, U = linalg.eigh(gram)
        floor = len(U) * np.finfo(U.dtype).eps * max(spectrum[-1], 0)
    else:
        center = X.mean(axis=0) if fit_intercept else np.zeros_like(X[0])
        U, singular, _ = linalg.svd(X - center, full_matrices=False)
        spectrum = singular**2
        floor = (max(X.shape) * np.finfo(U.dtype).eps * singular[0]) ** 2
    kept = spectrum > floor
    return U[:, kept], spectrum[kept], center


def _left_out_residuals(
    U: Array, shrink: Array, values: Array, fit_intercept: bool
) -> Array:
    """Residuals of rows left out one by one; linear in ``values``, along axis 0."""
    if len(values) == 1:
        return values
    leverage = (U**2) @ shrink + (1 / len(values) if fit_intercept else 0)
    centered = values - values.mean(axis=0) if fit_intercept else values
    residual = centered - U @ (shrink[:, None] * (U.T @ centered))
    return cast(Array, residual / (1 - leverage)[:, None])


def _weights(
    U: Array, shrink: Array, y: Array, columns: Array, rule: str, fit_intercept: bool
) -> tuple[Array, SimplexQPInfo]:
    n_models = len(columns)
    if rule == "uniform" or not n_models:
        return np.full(n_models, 1 / max(n_models, 1)), SimplexQPInfo(0.0, 0.0, 0, True)
    errors = [
        _left_out_residuals(U, shrink, column, fit_intercept).ravel()
        for column in [*columns, np.zeros_like(columns[0])]
    ]
    goal = _left_out_residuals(U, shrink, y, fit_intercept).ravel()
    weights, info = simplex_least_squares(np.stack(errors), goal)
    return weights[:-1], info


def loo_corrections(
    U: Array, shrink: Array, residual: Array, rule: _Bound, fit_intercept: bool
) -> Array:
    """Return intercept plus truncated correction of each row by the fit without it."""
    n = len(residual)
    if n == 1:
        return np.zeros_like(residual)
    untruncated = residual - _left_out_residuals(U, shrink, residual, fit_intercept)
    shift = np.zeros_like(residual)
    if fit_intercept:
        shift = (residual.sum(axis=0) - residual) / (n - 1)
    largest, smallest = _extremes_of_others(residual)
    bound = rule.of(np.maximum(np.abs(largest - shift), np.abs(smallest - shift)))
    return cast(Array, shift + np.clip(untruncated - shift, -bound, bound))


def _extremes_of_others(values: Array) -> tuple[Array, Array]:
    """Largest and smallest entry of each column without the row itself."""
    ordered = np.sort(values, axis=0)
    largest = np.where(values == ordered[-1], ordered[-2], ordered[-1])
    smallest = np.where(values == ordered[0], ordered[1], ordered[0])
    return largest, smallest
