r"""Secure regularized least squares: ridge regression on truncated corrections.

With the residuals :math:`r` of a combination of hypotheses the correction is

.. math:: w = \arg\min_w \tfrac1n \sum_i \big((x_i-\bar x)'w - (r_i-b)\big)^2
    + \alpha \|w\|^2 ,

truncated to a bound. Penalty, bound and combination are those of the smallest
leave-one-out error, which has a closed form, the combination shrunk towards equal
weights where rows are few. So has the error of rows for which everything is chosen
without them: two rows are left out at a time.

References
----------
I. Kuzborskij, F. Orabona. Stability and hypothesis transfer learning. International
Conference on Machine Learning, 2013.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
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


# of more labeled rows the choices, hardly random then, are not made without each row
_MOST_NESTED = 100
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
        Prediction of each row by the fit without it, every choice made without it.
    loo_error : float
        Their mean squared error.
    selection_error : float
        The leave-one-out error that the choices made smallest.
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
    selection_error: float
    weights_info: SimplexQPInfo


class _Choice(NamedTuple):
    error: float
    smoother: "_Smoother | _SmootherWithout"
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
    smoothers = [
        _Smoother(U, spectrum / (spectrum + len(y) * alpha), fit_intercept, alpha)
        for alpha in map(float, alphas)
    ]
    best = _choose(smoothers, y, columns, bounds, source_weights)
    alpha = best.smoother.alpha
    left_out = _nested_predictions(smoothers, y, columns, bounds, source_weights)
    residual = _residual(y, columns, best.source_weights)
    shift = residual.mean(axis=0) if fit_intercept else np.zeros_like(residual[0])
    dual = U @ (U.T @ (residual - shift) / (spectrum + len(y) * alpha)[:, None])
    coef = safe_sparse_dot(X.T, dual) - np.outer(center, dual.sum(axis=0))
    bound = best.rule.of(np.abs(residual - shift).max(axis=0))
    return SecureRLSSolution(
        coef=coef,
        intercept=shift,
        center=center,
        alpha=alpha,
        truncation=bound.astype(y.dtype),
        source_weights=best.source_weights,
        loo_predictions=left_out,
        loo_error=float(np.mean((y - left_out) ** 2)),
        selection_error=best.error,
        weights_info=best.info,
    )


def _residual(y: Array, columns: Array, beta: Array) -> Array:
    return cast(Array, y - np.tensordot(beta, columns, axes=1).astype(y.dtype))


def _choose(
    smoothers: "Sequence[_Smoother | _SmootherWithout]",
    y: Array,
    columns: Array,
    bounds: list[_Bound],
    source_weights: str,
) -> _Choice:
    """Choose penalty, weights and bound by the smallest leave-one-out error."""
    best: _Choice | None = None
    for smoother in smoothers:
        beta, info = _weights(smoother, y, columns, source_weights)
        residual = _residual(y, columns, beta)
        corrections = _Corrections(smoother, residual)
        for rule in bounds:
            error = float(np.mean((residual - corrections.within(rule)) ** 2))
            if best is None or error < best.error * (1 - 1e-10):
                best = _Choice(error, smoother, beta, rule, info)
    if best is None:
        raise ValueError("alphas must hold at least one penalty")
    return best


def _nested_predictions(
    smoothers: "list[_Smoother]",
    y: Array,
    columns: Array,
    bounds: list[_Bound],
    source_weights: str,
) -> Array:
    """Predict each row by the fit without it, every choice made without it."""
    n = len(y)
    if n == 1:
        return y - _residual(y, columns, _equal_weights(columns))
    given = source_weights == "uniform" or not len(columns)
    if n > _MOST_NESTED or (given and len(smoothers) == len(bounds) == 1):
        chosen = _choose(smoothers, y, columns, bounds, source_weights)
        return _left_out_predictions(chosen, y, columns)
    left_out = np.empty_like(y)
    for i in range(n):
        chosen = _choose(
            [smoother.without(i) for smoother in smoothers],
            np.delete(y, i, axis=0),
            np.delete(columns, i, axis=1),
            bounds,
            source_weights,
        )
        left_out[i] = _left_out_predictions(chosen, y, columns)[i]
    return left_out


def _left_out_predictions(chosen: _Choice, y: Array, columns: Array) -> Array:
    """Predict each row by the fit without it, the choices kept."""
    residual = _residual(y, columns, chosen.source_weights)
    corrections = _Corrections(chosen.smoother.whole, residual)
    return y - residual + corrections.within(chosen.rule)


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


class _Smoother:
    """The residuals of left-out rows, which are linear in the labels, for one alpha."""

    def __init__(
        self, U: Array, shrink: Array, fit_intercept: bool, alpha: float
    ) -> None:
        self.U, self.shrink, self.fit_intercept = U, shrink, fit_intercept
        self.alpha, self.n_rows, self.whole = alpha, len(U), self

    def left_out(self, values: Array) -> Array:
        """Return the residuals of rows left out one by one, along axis 0."""
        if len(values) == 1:
            return values
        return cast(Array, self._residuals(values) / (1 - self._leverage)[:, None])

    @cached_property
    def _leverage(self) -> Array:
        return cast(Array, (self.U**2) @ self.shrink + self.fit_intercept / self.n_rows)

    def _residuals(self, values: Array) -> Array:
        centered = values - values.mean(axis=0) if self.fit_intercept else values
        fitted = self.U @ (self.shrink[:, None] * (self.U.T @ centered))
        return cast(Array, centered - fitted)

    @cached_property
    def projector(self) -> Array:
        """The matrix I - H that turns labels into residuals."""
        return self._residuals(np.eye(self.n_rows))

    def without(self, row: int) -> "_SmootherWithout":
        """Return the smoother of the other rows, the penalty n * alpha kept."""
        return _SmootherWithout(self, row)


class _SmootherWithout:
    """A smoother without one row: two rows are left out at a time.

    With :math:`R = I - H` and :math:`r = R v`, the residual of row j without the rows
    i and j is :math:`(R_{ii} r_j - R_{ij} r_i) / (R_{ii} R_{jj} - R_{ij}^2)`.
    """

    def __init__(self, whole: _Smoother, row: int) -> None:
        self.whole, self.row = whole, row
        self.fit_intercept, self.alpha = whole.fit_intercept, whole.alpha

    def left_out(self, values: Array) -> Array:
        """Return the residuals of the other rows left out one by one, along axis 0."""
        if len(values) == 1:
            return values
        R, i = self.whole.projector, self.row
        others = np.delete(np.arange(len(R)), i)
        # the label of the left-out row cancels, so it is taken as 0
        r = R[:, others] @ values
        determinant = R[i, i] * R[others, others] - R[i, others] ** 2
        residual = R[i, i] * r[others] - np.outer(R[i, others], r[i])
        return cast(Array, residual / determinant[:, None])


def _equal_weights(columns: Array) -> Array:
    return np.full(len(columns), 1 / max(len(columns), 1))


def _weights(
    smoother: _Smoother | _SmootherWithout, y: Array, columns: Array, rule: str
) -> tuple[Array, SimplexQPInfo]:
    """Weigh the hypotheses by left-out errors, of few rows about equally."""
    equal = _equal_weights(columns)
    if rule == "uniform" or not len(columns) or len(y) == 1:
        return equal, SimplexQPInfo(0.0, 0.0, 0, True)
    errors = np.stack(
        [
            smoother.left_out(column).ravel()
            for column in [*columns, np.zeros_like(columns[0])]
        ]
    )
    share = (len(y) - 1) / len(y)
    goal = share * smoother.left_out(y).ravel() + (1 - share) * equal @ errors[:-1]
    weights, info = simplex_least_squares(errors, goal)
    return weights[:-1], info


class _Corrections:
    """Intercept plus truncated correction of each row by the fit without it."""

    def __init__(self, smoother: _Smoother | _SmootherWithout, residual: Array) -> None:
        n = len(residual)
        self.shift = np.zeros_like(residual)
        self.slope, self.largest = self.shift, self.shift
        if n == 1:
            return
        if smoother.fit_intercept:
            self.shift = (residual.sum(axis=0) - residual) / (n - 1)
        self.slope = residual - smoother.left_out(residual) - self.shift
        high, low = _extremes_of_others(residual)
        self.largest = np.maximum(np.abs(high - self.shift), np.abs(low - self.shift))

    def within(self, rule: _Bound) -> Array:
        """Return the corrections under a bound."""
        bound = rule.of(self.largest)
        return cast(Array, self.shift + np.clip(self.slope, -bound, bound))


def _extremes_of_others(values: Array) -> tuple[Array, Array]:
    """Largest and smallest entry of each column without the row itself."""
    ordered = np.sort(values, axis=0)
    largest = np.where(values == ordered[-1], ordered[-2], ordered[-1])
    smallest = np.where(values == ordered[0], ordered[1], ordered[0])
    return largest, smallest
