"""Support vector machines biased toward those of the sources."""

from numbers import Real

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from sktransfer._compat import Interval, _fit_context
from sktransfer._solvers.box_qp import DenseForm, solve_box_qp
from sktransfer._solvers.kernels import kernel_matrix
from sktransfer.base import (
    KernelParametersMixin,
    TransferEstimator,
    TransferPredictorMixin,
)
from sktransfer.exceptions import warn
from sktransfer.hypothesis._source_classifiers import SourceClassifiersMixin

__all__ = ["AdaptiveSVC"]

_LEAST = 1e-3  # probability of a class, where a model has no decision values


class AdaptiveSVC(
    SourceClassifiersMixin,
    KernelParametersMixin,
    TransferPredictorMixin,
    ClassifierMixin,
    TransferEstimator,
):
    r"""Support vector machine whose penalty pulls it to source models (adaptive SVM).

    The decision values of the source models are kept, and a kernel machine is added to
    them where the labeled target samples lie within the margin. For linear models that
    is biased regularization: the weights are pulled to those of the source, not to 0.

    Parameters
    ----------
    source_models : classifier or list of them, default=None
        Fitted ones are used as they are, and need no source samples; a clone of every
        unfitted one is fitted on each source. None: ``LinearSVC`` on each source. If
        all are fitted, source samples are ignored. In a parameter grid give each fitted
        model as ``FrozenEstimator(model)``.
    C : float in (0, inf), default=1.0
        Weight of the hinge losses beside the penalty: the smaller, the nearer to the
        sources.
    source_share : float in [0, inf), default=1.0
        Factor of the decision values of the sources; 0 ignores them.
    kernel : str or callable, default="linear"
        Kernel of the added machine: "linear", "rbf", "poly", "sigmoid", "laplacian",
        "cosine", or a callable that takes two samples.
    gamma : {"median", "scale"}, float in (0, inf) or None, default="median"
        Width of the kernel. "median": one over the median squared distance of all
        samples; "scale": one over n_features times the variance; None:
        1 / n_features.
    degree : float in [1, inf), default=3
        Degree of the polynomial kernel.
    coef0 : float, default=1
        Constant of the polynomial and sigmoid kernels.
    kernel_params : dict, default=None
        Further arguments of a callable kernel.
    tol : float in (0, inf), default=1e-4
        Largest duality gap, as a share of the losses of a classifier that answers 0.

    Attributes
    ----------
    source_models_ : list
        The fitted source models.
    source_names_ : list of str
        Their names.
    dual_coef_ : ndarray of shape (n_columns, n_labeled)
        Coefficients of the labeled target samples: signs times dual variables. One
        column for two classes, else one for each class against the others.
    intercept_ : ndarray of shape (n_columns,)
        Intercepts of the added machines.
    X_fit_ : {ndarray, sparse matrix} of shape (n_labeled, n_features)
        The labeled target samples.
    gap_ : float
        Largest duality gap of the columns, in the unit of `tol`.
    gamma_ : float or None
        The width that was used.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    Warns
    -----
    ConvergenceWarning
        If the gap is above `tol`.

    See Also
    --------
    SecureLogistic : Probabilities, a penalty by leave-one-out, never worse in sample.
    PositiveTransferLogistic : Biased logistic regression, on source samples.

    Notes
    -----
    With labels of -1 and 1, the mean f of the sources' decision values, and weights
    :math:`u_i` of the labeled target samples, the decision value is
    :math:`h(x) = r f(x) + g(x)` with [1]_

    .. math:: \min_g \tfrac12 \lVert g \rVert^2
        + C \sum_i u_i \max(0, 1 - y_i (r f(x_i) + g(x_i))),

    r the ``source_share``. For a linear source of weights w and a linear kernel the
    first term is :math:`\lVert v - r w \rVert^2 / 2` of the weights v of the whole. The
    norm counts the intercept like a weight, as in ``LinearSVC``, which the fit without
    sources is (with the hinge loss). More than two classes are separated one against
    the others. A model without decision values gives the log-odds of its probabilities,
    raised to 0.001, and one that only predicts a vote of -1 or 1; a class that a model
    has not seen has the value 0.

    References
    ----------
    .. [1] J. Yang, R. Yan, A. G. Hauptmann. Cross-domain video concept detection using
       adaptive SVMs. ACM Multimedia, 2007. :doi:`10.1145/1291233.1291276`

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.svm import LinearSVC
    >>> from sktransfer.hypothesis import AdaptiveSVC
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(600, 8))
    >>> source = LinearSVC().fit(X[:200], X[:200].sum(axis=1) > 0)
    >>> y = X.sum(axis=1) + 2 * X[:, 0] > 0  # the target's rule
    >>> model = AdaptiveSVC(source, C=0.1).fit(X[200:220], y[200:220])
    >>> alone = model.without_sources().fit(X[200:220], y[200:220])
    >>> scores = [m.score(X[220:], y[220:]) for m in (model, source, alone)]
    >>> bool(scores[0] > max(scores[1:]))
    True
    """

    _parameter_constraints: dict = {
        **SourceClassifiersMixin._source_models_constraints,
        **KernelParametersMixin._kernel_constraints,
        "C": [Interval(Real, 0, None, closed="neither")],
        "source_share": [Interval(Real, 0, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        source_models=None,
        *,
        C=1.0,
        source_share=1.0,
        kernel="linear",
        gamma="median",
        degree=3,
        coef0=1,
        kernel_params=None,
        tol=1e-4,
    ):
        self.source_models = source_models
        self.C = C
        self.source_share = source_share
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.kernel_params = kernel_params
        self.tol = tol

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_domain=None, sample_weight=None):
        """Fit the added machine on the labeled target samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples of every domain, in any order.
        y : array-like of shape (n_samples,)
            Labels; those of unlabeled target samples are missing.
        sample_domain : array-like of shape (n_samples,), default=None
            Positive ids for sources, negative for the target. None: every sample is a
            labeled target sample.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, in the fits of learners on sources, too. A sample of
            weight 0 is left out.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        DomainError
            If the samples break the domain contract.
        TypeError
            If a source model is no classifier.
        ValueError
            If there is one class in all.
        """
        data, rows, meta = self._read_rows(X, y, sample_domain, sample_weight)
        self._fit_source_models(data, meta, LinearSVC())
        weight = meta.get("weight", np.ones(len(data.labeled)))
        self._fit_machines(data, rows, np.asarray(weight, dtype=np.float64))
        return self

    def _fit_machines(self, data, rows, weight):
        options, labeled = self._kernel_options(rows), data.is_labeled_target
        self.X_fit_ = rows[np.flatnonzero(labeled)]
        codes = np.searchsorted(self.classes_, data.y_labeled)
        caps = self.C * weight[labeled]
        K = np.empty((0, 0))
        if data.n_labeled:
            K = kernel_matrix(self.X_fit_, **options).astype(np.float64) + 1.0
            known = self._source_values(data.X_labeled)
        positive = range(1, 2) if len(self.classes_) == 2 else range(len(self.classes_))
        duals = np.zeros((len(positive), len(codes)))
        self.gap_ = 0.0
        for k, c in enumerate(positive if data.n_labeled else ()):
            sign = np.where(codes == c, 1.0, -1.0)
            duals[k], gap = _added_machine(K, sign, known[:, k], caps)
            self.gap_ = max(self.gap_, gap)
        if self.gap_ > self.tol:
            warn(
                f"The dual was solved to a gap of {self.gap_:.1e} > tol={self.tol:g}: "
                "scale the features, or lower C.",
                ConvergenceWarning,
            )
        self.dual_coef_, self.intercept_ = duals, duals.sum(axis=1)

    def _source_values(self, X):
        """Return the sources' part of the decision values, one column for two."""
        n = X.shape[0] if hasattr(X, "shape") else len(X)
        values = np.zeros((n, len(self.classes_)))
        for model in self.source_models_:
            place = np.searchsorted(self.classes_, model.classes_)
            values[:, place] += _values_of(model, X) / len(self.source_models_)
        values *= self.source_share
        return values[:, 1:] if len(self.classes_) == 2 else values

    def decision_function(self, X):
        """Compute the decision values of target samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target samples.

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Values of each class against the others; of two classes of the second.
        """
        rows = self._validate_rows(X)
        values = self._source_values(X if hasattr(X, "columns") else rows)
        if self.X_fit_.shape[0]:
            K = kernel_matrix(rows, self.X_fit_, **self._fitted_kernel())
            values = values + K @ self.dual_coef_.T + self.intercept_
        return values[:, 0] if values.shape[1] == 1 else values

    def predict(self, X):
        """Predict classes of target samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target samples.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            The classes of the largest decision values.
        """
        values = self.decision_function(X)
        best = values > 0 if values.ndim == 1 else values.argmax(axis=1)
        return self.classes_[best.astype(np.intp)]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transfer_tags.source_free = True
        tags.transfer_tags.regression = False
        return tags


def _added_machine(K, sign, known, caps):
    """Return signed dual variables and the duality gap of one machine."""
    room = 1.0 - sign * known  # what is missing to the margin
    unit = float(caps.sum())
    if not (room > 0).any():
        return np.zeros(len(sign)), 0.0
    scaled = sign * caps
    form = DenseForm(K * np.multiply.outer(scaled, scaled))
    shares, _ = solve_box_qp(
        form,
        caps * room,
        upper=1.0,
        sum_bounds=(0.0, float(len(sign))),
        tol=1e-9,
        max_iter=200,
    )
    dual = scaled * shares
    added = K @ dual
    half = 0.5 * float(dual @ added)
    loss = float(caps @ np.maximum(room - sign * added, 0.0))
    return dual, (2 * half + loss - float(shares @ (caps * room))) / unit


def _values_of(model, X):
    """Return a decision value per class of a model."""
    if hasattr(model, "decision_function"):
        values = np.asarray(model.decision_function(X), dtype=np.float64)
        if values.ndim == 1:
            return np.column_stack([-values, values])
        return values
    if hasattr(model, "predict_proba"):
        proba = np.asarray(model.predict_proba(X), dtype=np.float64)
        proba = np.clip(proba, _LEAST, 1 - _LEAST)
        return np.log(proba / (1 - proba))
    votes = np.asarray(model.predict(X))[:, None] == model.classes_
    return np.where(votes, 1.0, -1.0)
