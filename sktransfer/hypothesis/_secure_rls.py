"""Secure regularized least squares: correct a source hypothesis, within bounds."""

from numbers import Real

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils import get_tags
from sklearn.utils.extmath import safe_sparse_dot

from sktransfer._compat import Interval, StrOptions
from sktransfer._learners import FewRowsRidgeCV
from sktransfer._response import CommonColumns
from sktransfer._solvers.secure_rls import secure_rls
from sktransfer._source_models import (
    SourceModelsMixin,
    check_source_models,
    fit_sources,
    given_entries,
    warn_unless_converged,
)
from sktransfer.base import TransferEstimator, TransferPredictorMixin
from sktransfer.hypothesis._alphas import candidate_alphas


class SecureRLS(
    SourceModelsMixin, TransferPredictorMixin, RegressorMixin, TransferEstimator
):
    r"""Regularized least squares on what source hypotheses leave unexplained.

    The source enters as fitted models only. Their combination is corrected by a
    ridge regression of the target residuals, the correction is truncated, and models
    that do not predict left-out target rows get weight zero.

    Parameters
    ----------
    source_models : estimator or list of them, default=None
        Regressors. Fitted ones are used as they are and need no source rows, and
        clones keep them; a clone of every unfitted one is fitted on each source.
        None: ``RidgeCV`` on each source. If all are fitted, source rows are ignored.
        A :class:`~sktransfer.multisource.SourceSummary` counts as the fitted model
        that it describes.
        In a parameter grid give each fitted model as ``FrozenEstimator(model)``.
    alpha : float in (0, inf), default=1.0
        Strength of the penalty relative to the *mean* squared error: the correction
        is that of ``sklearn.linear_model.Ridge(alpha=n_labeled * alpha)``.
    alphas : array-like of float in (0, inf), default=None
        Candidates for ``alpha``; that of the smallest leave-one-out error is used,
        of equal ones the largest. None: use ``alpha``, which cannot be set beside them.
    truncation : {"auto"}, float in (0, inf) or None, default="auto"
        Bound :math:`C` of the correction. None: no bound. ``"auto"``: the bound of
        the smallest leave-one-out error among 1/4, 1/2, 1 and 2 times the largest
        absolute residual (see Notes) and no bound; of equal ones the largest. It is
        shared by the outputs as a multiple.
    source_weights : {"loo", "uniform"}, default="loo"
        Weights :math:`\beta_k`: those of the smallest leave-one-out error among
        :math:`\beta \ge 0, \sum_k \beta_k \le 1`, shrunk towards equal weights where
        labeled rows are few (see Notes), or :math:`1/K` each.
    fit_intercept : bool, default=True
        Shift the source hypothesis by the mean residual, unpenalized and not
        truncated.

    Attributes
    ----------
    source_models_ : list of estimator
        The fitted source hypotheses.
    source_names_ : list of str
        ``"source_models[i]"`` for a given model, the domain id for one fitted here.
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
        Prediction of each labeled target row by the fit without it, the penalty
        ``n_labeled * alpha`` kept. Source weights, ``alpha`` and bound are chosen
        again without the row (of more than 100 rows, where the choice hardly
        depends on one of them, they are kept).
    loo_error_ : float
        Mean squared error of ``loo_predictions_``, an honest estimate of the error
        of the fit on one row less.
    selection_error_ : float
        The leave-one-out error that the choices made smallest. With few rows it is
        too small: compare fits by ``loo_error_``.
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
    outputs. Few rows are weak evidence on the hypotheses, so the criterion is

    .. math:: \tfrac{n_l - 1}{n_l} \sum_i e_i(\beta)^2 + \tfrac{1}{n_l} \sum_i
        \big(e_i(\beta) - e_i(\bar\beta)\big)^2, \qquad \bar\beta_k = 1/K:

    of one row, of which nothing can be left out, the weights are equal and its
    left-out prediction is the mean of the hypotheses; of many, those of the smallest
    leave-one-out error.

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
    >>> from sklearn.linear_model import LinearRegression
    >>> from sktransfer.hypothesis import SecureRLS
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 5))
    >>> model = LinearRegression().fit(X, X.sum(axis=1) ** 2 + X @ [1, 2, 3, 4, 5])
    >>> y = X @ [1, 2, 3, 4, 5] + X[:, 0]
    >>> secure = SecureRLS(model).fit(X[:8], y[:8])
    >>> alone = secure.without_sources().fit(X[:8], y[:8])
    >>> [round(m.score(X[8:], y[8:]), 2) for m in (secure, alone)]
    [0.98, 0.67]
    """

    _parameter_constraints: dict = {
        **SourceModelsMixin._source_models_constraints,
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
        source_models=None,
        *,
        alpha=1.0,
        alphas=None,
        truncation="auto",
        source_weights="loo",
        fit_intercept=True,
    ):
        self.source_models = source_models
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
        models = self._check_source_models()
        self.source_models_, self.source_names_ = fit_sources(models, data)
        y = data.y_labeled
        targets = y.reshape(len(y), -1).astype(X.dtype, copy=False)
        solution = secure_rls(
            X[data.is_labeled_target],
            targets,
            self._columns_of(data.X_labeled, targets.shape[1]),
            alphas=alphas,
            truncation=self.truncation,
            source_weights=self.source_weights,
            fit_intercept=self.fit_intercept,
        )
        warn_unless_converged(solution.weights_info)
        self._store(solution, y.ndim == 1)

    def _check_alphas(self):
        return candidate_alphas(
            self.alpha, self.alphas, free=1.0, default=[self.alpha], finite=True
        )

    def _check_source_models(self):
        models = given_entries(self.source_models)
        check_source_models(
            models, owner=self, n_features=self.n_features_in_, learners=True
        )
        return models or [FewRowsRidgeCV(alphas=np.logspace(-3, 3, 13))]

    def _columns_of(self, X, n_outputs):
        """Return the predictions of the models, (n_models, n_samples, n_outputs)."""
        if not self.source_models_:
            return np.empty((0, X.shape[0], n_outputs))
        names = [f"The source hypothesis {name}" for name in self.source_names_]
        columns = CommonColumns(n_outputs=n_outputs)
        return columns.answers(self.source_models_, X, names)

    def _store(self, solution, single):
        def shape(value):
            return value[..., 0] if single else value

        self.source_weights_ = solution.source_weights
        self.coef_ = shape(solution.coef).T
        self.intercept_ = shape(solution.intercept)
        self.center_ = solution.center
        self.alpha_ = float(solution.alpha)
        self.truncation_ = shape(solution.truncation)
        self.loo_predictions_ = shape(solution.loo_predictions)
        self.loo_error_ = solution.loo_error
        self.selection_error_ = float(solution.selection_error)

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
        columns = self._columns_of(X if hasattr(X, "columns") else rows, n_outputs)
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
