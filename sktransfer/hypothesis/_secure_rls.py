"""Secure regularized least squares: correct a source hypothesis, within bounds."""

from numbers import Real
from typing import NamedTuple

import numpy as np
from scipy import linalg, sparse
from sklearn.base import RegressorMixin, is_classifier
from sklearn.linear_model import RidgeCV
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.extmath import safe_sparse_dot

from sktransfer.base import TransferEstimator, TransferPredictorMixin
from sktransfer.hypothesis._sources import (
    SourceModelsMixin,
    as_list,
    check_sources,
    fit_simplex_weights,
    fit_sources,
    predict_columns,
)


class SecureRLS(
    SourceModelsMixin, TransferPredictorMixin, RegressorMixin, TransferEstimator
):
    r"""Regularized least squares on what source hypotheses leave unexplained.

    The source enters as fitted models only. Their combination is corrected by a
    ridge regression of the target residuals, the correction is truncated, and models
    that do not predict left-out target rows get weight zero.

    Parameters
    ----------
    source : estimator or list of them, default=None
        Regressors. Fitted ones, e.g. ``FrozenEstimator(model)``, are used as they
        are and need no source rows; a clone of every unfitted one is fitted on each
        source. None: ``RidgeCV`` on each source. If all are fitted, source rows are
        ignored.
    alpha : float in (0, inf), default=1.0
        Strength of the penalty relative to the *mean* squared error: the correction
        is that of ``sklearn.linear_model.Ridge(alpha=n_labeled * alpha)``.
    alphas : array-like of float in (0, inf), default=None
        Candidates for ``alpha``; that of the smallest leave-one-out error is used,
        of equal ones the largest. None: use ``alpha``.
    truncation : {"auto"}, float in (0, inf) or None, default="auto"
        Bound :math:`C` of the correction. None: no bound. ``"auto"``: the bound of
        the smallest leave-one-out error among 1/4, 1/2, 1 and 2 times the largest
        absolute residual (see Notes) and no bound; of equal ones the largest. It is
        shared by the outputs as a multiple.
    source_weights : {"loo", "uniform"}, default="loo"
        Weights :math:`\beta_k`: those of the smallest leave-one-out error among
        :math:`\beta \ge 0, \sum_k \beta_k \le 1`, or :math:`1/K` each.
    fit_intercept : bool, default=True
        Shift the source hypothesis by the mean residual, unpenalized and not
        truncated.

    Attributes
    ----------
    source_models_ : list of estimator
        The fitted source hypotheses.
    source_names_ : list of str
        ``"source[i]"`` for a given model, the domain id for one fitted here.
    source_weights_ : ndarray of shape (n_source_models,)
        Weights :math:`\beta_k \ge 0` with a sum of at most 1. What the sum lacks is
        the weight of the zero hypothesis.
    coef_ : ndarray of shape (n_features,) or (n_outputs, n_features)
        Coefficients of the correction.
    intercept_ : float or ndarray of shape (n_outputs,)
        Mean residual :math:`b`.
    center_ : ndarray of shape (n_features,)
        Mean :math:`\bar x` of the labeled target rows; 0 without intercept.
    alpha_ : float
        The penalty that was used.
    truncation_ : float or ndarray of shape (n_outputs,)
        The bound that was used; infinity for none.
    loo_predictions_ : ndarray of shape (n_labeled,) or (n_labeled, n_outputs)
        Prediction of each labeled target row by the fit without it, with the source
        weights, ``alpha_`` and the penalty ``n_labeled * alpha_`` kept.
    loo_error_ : float
        Mean squared error of ``loo_predictions_``.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    PositiveTransferRidge : Sources as a Gaussian prior of the coefficients.
    sktransfer.safe.SAFEW : Source models that only vote.

    Notes
    -----
    With :math:`h' = \sum_k \beta_k h_k` and the residuals
    :math:`r_i = y_i - h'(x_i)` of the :math:`n_l` labeled target rows [1]_,

    .. math::

        w = \arg\min_w \tfrac{1}{n_l} \sum_i \big((x_i-\bar x)'w - (r_i-b)\big)^2
        + \alpha \|w\|^2, \qquad
        h_T(x) = h'(x) + b + T_C\big((x-\bar x)'w\big),

    where :math:`T_C(v) = \min(\max(v, -C), C)` and :math:`b = \bar r`. Without
    intercept :math:`\bar x = 0` and :math:`b = 0`, the form of the paper.
    :math:`C \to \infty` is biased least squares; :math:`\alpha \to \infty` leaves
    :math:`h' + b`; no source and no bound is ridge regression on the target.

    The left-out residuals are linear in the labels and in :math:`\beta`, by the hat
    matrix :math:`H`: :math:`e_i = ((I-H)(y-\sum_k \beta_k h_k))_i / (1-H_{ii})`. So
    the best weights solve a small quadratic program, as in [2]_ but on the simplex,
    where the zero hypothesis stands for "no transfer". The weights are shared by the
    outputs. Of one target row nothing can be left out: its left-out prediction is
    :math:`h'`.

    The theory of [1]_ asks for a bound on :math:`|y - h'(x)|`. The largest residual
    of a few rows underestimates it where the source is poor, and the bound pays
    where the source is good; hence the choice by left-out error. The left-out fit
    takes its own largest residual :math:`\max_{j \ne i} |r_j - b_{-i}|`.

    References
    ----------
    .. [1] I. Kuzborskij, F. Orabona. "Stability and hypothesis transfer learning".
       International Conference on Machine Learning, 2013.

    .. [2] T. Tommasi, F. Orabona, B. Caputo. "Learning categories from few examples
       with multi model knowledge transfer". IEEE Transactions on Pattern Analysis
       and Machine Intelligence 36(5), 2014. :doi:`10.1109/TPAMI.2013.197`

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.frozen import FrozenEstimator
    >>> from sklearn.linear_model import LinearRegression
    >>> from sktransfer.hypothesis import SecureRLS
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 5))
    >>> model = LinearRegression().fit(X, X.sum(axis=1) ** 2 + X @ [1, 2, 3, 4, 5])
    >>> y = X @ [1, 2, 3, 4, 5] + X[:, 0]
    >>> secure = SecureRLS(FrozenEstimator(model)).fit(X[:8], y[:8])
    >>> alone = secure.without_sources().fit(X[:8], y[:8])
    >>> [round(m.score(X[8:], y[8:]), 2) for m in (secure, alone)]
    [0.98, 0.67]
    """

    _parameter_constraints: dict = {
        "source": [HasMethods(["predict"]), list, tuple, None],
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "alphas": ["array-like", None],
        "truncation": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="neither"),
            None,
        ],
        "source_weights": [StrOptions({"loo", "uniform"})],
        "fit_intercept": ["boolean"],
    }

    def __init__(
        self,
        source=None,
        *,
        alpha=1.0,
        alphas=None,
        truncation="auto",
        source_weights="loo",
        fit_intercept=True,
    ):
        self.source = source
        self.alpha = alpha
        self.alphas = alphas
        self.truncation = truncation
        self.source_weights = source_weights
        self.fit_intercept = fit_intercept

    def _validate_domains(self, X, y, sample_domain):
        # source models may want the frame, so only the correction's rows are numeric
        return super()._validate_domains(X, y, sample_domain, skip_check_X=True)

    def _fit_domains(self, data):
        X = self._validate_X(data.X, get_tags(self), reset=False)
        if not hasattr(data.X, "columns"):
            data = data.with_X(X)
        alphas = self._check_alphas()
        source = self._check_source()
        self.source_models_, self.source_names_ = fit_sources(source, data)
        y = data.y_labeled
        targets = y.reshape(len(y), -1).astype(X.dtype, copy=False)
        solution = fit_secure_rls(
            X[data.is_labeled_target],
            targets,
            self._source_columns(data.X_labeled, targets.shape[1]),
            alphas=alphas,
            truncation=self.truncation,
            source_weights=self.source_weights,
            fit_intercept=self.fit_intercept,
        )
        self._store(solution, y.ndim == 1)

    def _check_alphas(self):
        if self.alphas is None:
            return np.array([self.alpha], dtype=np.float64)
        alphas = np.sort(np.asarray(self.alphas, dtype=np.float64).ravel())[::-1]
        if not len(alphas) or not (alphas > 0).all() or not np.isfinite(alphas).all():
            raise ValueError(
                f"alphas must hold positive finite numbers, got {self.alphas!r}."
            )
        return alphas

    def _check_source(self):
        source = as_list(self.source)
        check_sources(source, self.n_features_in_)
        for i, model in enumerate(source):
            if hasattr(model, "__sklearn_tags__") and is_classifier(model):
                raise TypeError(
                    f"source[{i}]={model!r} is a classifier, but SecureRLS corrects "
                    "numbers: give a regressor."
                )
        return source or [RidgeCV(alphas=np.logspace(-3, 3, 13))]

    def _source_columns(self, X, n_outputs):
        return predict_columns(self.source_models_, self.source_names_, X, n_outputs)

    def _store(self, solution, single):
        def shape(value):
            return value[..., 0] if single else value

        self.source_weights_ = solution["source_weights"]
        self.coef_ = shape(solution["coef"]).T
        self.intercept_ = shape(solution["intercept"])
        self.center_ = solution["center"]
        self.alpha_ = float(solution["alpha"])
        self.truncation_ = shape(solution["truncation"])
        self.loo_predictions_ = shape(solution["loo_predictions"])
        self.loo_error_ = float(solution["loo_error"])

    def predict(self, X):
        """Predict target rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target rows.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Source hypothesis plus intercept plus truncated correction.
        """
        rows = self._validate_rows(X)
        slope = safe_sparse_dot(rows, self.coef_.T) - self.center_ @ self.coef_.T
        correction = np.clip(slope, -self.truncation_, self.truncation_)
        own = correction + self.intercept_
        if not self.source_models_:
            return own
        n_outputs = 1 if own.ndim == 1 else own.shape[1]
        columns = self._source_columns(X if hasattr(X, "columns") else rows, n_outputs)
        combined = np.tensordot(self.source_weights_, columns, axes=1)
        return (own + combined.reshape(own.shape)).astype(own.dtype, copy=False)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        tags.transfer_tags.target_labels = "required"
        tags.transfer_tags.source_free = True
        tags.transfer_tags.classification = False
        return tags


class _Bound(NamedTuple):
    """A bound of the correction: absolute, or a multiple of the largest residual."""

    value: float
    relative: bool

    def of(self, largest):
        return (
            self.value * largest if self.relative else np.full_like(largest, self.value)
        )


_AUTO_BOUNDS = [
    _Bound(np.inf, False),
    *(_Bound(c, True) for c in (2.0, 1.0, 0.5, 0.25)),
]


def fit_secure_rls(X, y, columns, *, alphas, truncation, source_weights, fit_intercept):
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
    solution : dict
        ``coef`` (n_features, n_outputs), ``intercept``, ``center``, ``alpha``,
        ``truncation``, ``source_weights``, ``loo_predictions``, ``loo_error``.
    """
    U, spectrum, center = _left_singular(X, fit_intercept)
    bounds = _AUTO_BOUNDS
    if truncation != "auto":
        bounds = [_Bound(np.inf if truncation is None else truncation, False)]
    best = {"loo_error": np.inf}
    for alpha in map(float, alphas):
        shrink = spectrum / (spectrum + len(y) * alpha)
        beta = _weights(U, shrink, y, columns, source_weights, fit_intercept)
        residual = y - np.tensordot(beta, columns, axes=1).astype(y.dtype)
        for rule in bounds:
            left_out = loo_corrections(U, shrink, residual, rule, fit_intercept)
            error = float(np.mean((residual - left_out) ** 2))
            if error < best["loo_error"] * (1 - 1e-10):
                best = {
                    "loo_error": error, "loo_predictions": y - residual + left_out,
                    "alpha": alpha, "source_weights": beta, "rule": rule,
                }  # fmt: skip
    residual = y - np.tensordot(best["source_weights"], columns, axes=1).astype(y.dtype)
    shift = residual.mean(axis=0) if fit_intercept else np.zeros_like(residual[0])
    dual = U @ (U.T @ (residual - shift) / (spectrum + len(y) * best["alpha"])[:, None])
    coef = safe_sparse_dot(X.T, dual) - np.outer(center, dual.sum(axis=0))
    bound = best.pop("rule").of(np.abs(residual - shift).max(axis=0))
    return {
        **best, "coef": coef, "intercept": shift, "center": center,
        "truncation": bound.astype(y.dtype),
    }  # fmt: skip


def _left_singular(X, fit_intercept):
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


def _left_out_residuals(U, shrink, values, fit_intercept):
    """Residuals of rows left out one by one; linear in ``values``, along axis 0."""
    if len(values) == 1:
        return values
    leverage = (U**2) @ shrink + (1 / len(values) if fit_intercept else 0)
    centered = values - values.mean(axis=0) if fit_intercept else values
    residual = centered - U @ (shrink[:, None] * (U.T @ centered))
    return residual / (1 - leverage)[:, None]


def _weights(U, shrink, y, columns, rule, fit_intercept):
    n_models = len(columns)
    if rule == "uniform" or not n_models:
        return np.full(n_models, 1 / max(n_models, 1))
    errors = [
        _left_out_residuals(U, shrink, column, fit_intercept).ravel()
        for column in [*columns, np.zeros_like(columns[0])]
    ]
    goal = _left_out_residuals(U, shrink, y, fit_intercept).ravel()
    return fit_simplex_weights(np.stack(errors), goal)[:-1]


def loo_corrections(U, shrink, residual, rule, fit_intercept):
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
    return shift + np.clip(untruncated - shift, -bound, bound)


def _extremes_of_others(values):
    """Largest and smallest entry of each column without the row itself."""
    ordered = np.sort(values, axis=0)
    largest = np.where(values == ordered[-1], ordered[-2], ordered[-1])
    smallest = np.where(values == ordered[0], ordered[1], ordered[0])
    return largest, smallest
