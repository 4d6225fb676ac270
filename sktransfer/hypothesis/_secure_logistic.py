"""Secure logistic regression: correct a frozen source model, never for the worse."""

from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from sktransfer._compat import Interval, StrOptions, _fit_context
from sktransfer._linear import LinearClassifierMixin
from sktransfer._solvers.secure_logistic import SecureProblem, source_score_weights
from sktransfer.base import TransferEstimator
from sktransfer.exceptions import warn
from sktransfer.hypothesis._alphas import candidate_alphas
from sktransfer.hypothesis._offset_learners import LEAST_PROBABILITY
from sktransfer.hypothesis._source_classifiers import SourceClassifiersMixin

_ALPHAS = np.append(np.logspace(-3, 3, 7), np.inf)


class SecureLogistic(SourceClassifiersMixin, LinearClassifierMixin, TransferEstimator):
    r"""Logistic regression that corrects frozen source models and is never worse.

    The scores of the source models stay as they are; a linear correction is added to
    them where the labels support it. On the labeled target samples the mean log loss is
    never above that of the source, and how strongly the correction is penalized is
    chosen by leave-one-out.

    Parameters
    ----------
    source_models : classifier or list of them, default=None
        Fitted ones are used as they are, whatever they are, and need no source samples;
        a clone of every unfitted one is fitted on each source. None:
        ``LogisticRegression`` on each source. If all are fitted, source samples are
        ignored. In a parameter grid give each fitted model as
        ``FrozenEstimator(model)``.
    alpha : {"auto"} or float in (0, inf], default="auto"
        Penalty of the correction relative to the *mean* log loss. Infinity: the source
        as it is. "auto": that of the smallest leave-one-out log loss among ``alphas``,
        of equal ones the largest.
    alphas : array-like of float in (0, inf], default=None
        Candidates for "auto". None: 0.001, 0.01, ..., 1000, and infinity if there is a
        source.
    source_weights : {"loss", "uniform"}, default="loss"
        Weights :math:`\beta_k` of several sources: those of the smallest log loss on
        the labeled target samples among :math:`\beta \ge 0, \sum_k \beta_k \le 1`,
        shrunk towards equal weights where these are few; or :math:`1/K` each.
    unlabeled_weight : float in [0, inf), default=0.0
        Weight of the mean over unlabeled target samples, see Notes: a pull towards the
        source.
    fit_intercept : bool, default=True
        Whether the correction has a free intercept.
    tol : float in (0, inf), default=1e-8
        Largest gradient and duality gap, per unit of weight, that count as solved.
    max_iter : int in [1, inf), default=100
        Newton steps per fit.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Classes of the source models and of the labeled target samples.
    source_models_ : list of classifier
        The fitted source models.
    source_names_ : list of str
        ``"source_models[i]"`` for a given model, the domain id for one fitted here.
    source_weights_ : ndarray of shape (n_source_models,)
        Weights :math:`\beta_k`.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients u of the correction; one row if there are two classes.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Its intercepts.
    alpha_ : float
        The penalty that was used; infinity if the source is used as it is.
    loo_losses_ : dict of float to float
        Leave-one-out mean log loss of each candidate; empty without a choice.
    relative_loss_ : float
        Mean log loss on the labeled target samples less that of the source; not above
        0, and 0 without labels.
    gap_ : float
        Duality gap of the fit, per unit of weight; 0 without unlabeled samples.
    n_iter_ : int
        Newton steps of the fit.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    SecureRLS : The same for real labels.
    OffsetTransfer : Any learner beside one source model.
    PositiveTransferLogistic : Sources as a prior of the coefficients.

    Notes
    -----
    With the scores :math:`s(x) = \sum_k \beta_k s_k(x)` and
    :math:`h(x) = s(x) + u'x + b` [1]_,

    .. math::

        \min_{u, b} \tfrac{\alpha}{2} \|u\|^2 + \frac{1}{n_l} \sum_{i \le n_l}
        \mathrm{RES}_i(y_i) + \frac{\omega}{n_u} \sum_{j \le n_u} \max_y
        \mathrm{RES}_j(y), \qquad
        \mathrm{RES}_i(y) = \ell(y, h(x_i)) - \ell(y, s(x_i))

    with the log loss :math:`\ell` and :math:`\omega` = ``unlabeled_weight``. At
    :math:`u = 0, b = 0` the value is 0, so at the optimum it is not above 0, and the
    fit is not worse than the source in the mean log loss of the labeled samples. That
    is no promise about new samples. The maximum over the labels of an unlabeled sample
    is never negative, and is 0 only where h equals s: these samples pull to the source,
    and it takes a duality gap to see that a fit is optimal.

    :math:`\alpha \to \infty` is the source (with an intercept: the source and a shift;
    infinity itself has no shift). Without a source :math:`s = 0`, and the fit is
    ``sklearn.linear_model.LogisticRegression(C=1 / (n * alpha))``. Without labeled
    samples it is the source, with equal weights.

    A score is the logarithm of a probability, raised to 0.001 and centered over the
    classes; of a model without probabilities a decision value, and of one that only
    predicts a vote of probability 0.999. A class that a model has not seen has the
    score 0. A sample (or unit) is left out by one Newton step from the fit with it, and
    the source weights are kept; with unlabeled samples, where that step is not defined,
    it is left out by a fit.

    References
    ----------
    .. [1] M. A. Jamal, H. Li, B. Gong. "Deep face detector adaptation without negative
       transfer or catastrophic forgetting". CVPR, 2018.
       :doi:`10.1109/CVPR.2018.00591`

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from sktransfer.hypothesis import SecureLogistic
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(800, 3))
    >>> product = X[:, 0] * X[:, 1]  # no linear rule
    >>> forest = RandomForestClassifier(min_samples_leaf=5, random_state=0)
    >>> forest = forest.fit(X[:200], product[:200] > 0)
    >>> y = product + X[:, 2] > 0  # the target's
    >>> model = SecureLogistic(forest).fit(X[200:230], y[200:230])
    >>> alone = model.without_sources().fit(X[200:230], y[200:230])
    >>> [round(m.score(X[230:], y[230:]), 2) for m in (model, forest, alone)]
    [0.81, 0.69, 0.78]
    >>> model.relative_loss_ <= 0
    True
    """

    _parameter_constraints: dict = {
        **SourceClassifiersMixin._source_models_constraints,
        "alpha": [StrOptions({"auto"}), Interval(Real, 0, np.inf, closed="right")],
        "alphas": ["array-like", None],
        "source_weights": [StrOptions({"loss", "uniform"})],
        "unlabeled_weight": [Interval(Real, 0, None, closed="left")],
        "fit_intercept": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
    }
    __metadata_request__fit = {"sample_domain": True, "groups": True}

    def __init__(
        self,
        source_models=None,
        *,
        alpha="auto",
        alphas=None,
        source_weights="loss",
        unlabeled_weight=0.0,
        fit_intercept=True,
        tol=1e-8,
        max_iter=100,
    ):
        self.source_models = source_models
        self.alpha = alpha
        self.alphas = alphas
        self.source_weights = source_weights
        self.unlabeled_weight = unlabeled_weight
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_domain=None, sample_weight=None, groups=None):
        """Fit the correction on target samples.

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
        groups : array-like of shape (n_samples,), default=None
            Unit of each sample, such as a patient: units are left out as a whole.

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
            If there is one class in all, or ``alphas`` are not positive.
        """
        data, rows, meta = self._read_rows(X, y, sample_domain, sample_weight, groups)
        alphas = self._candidates()
        self._fit_source_models(data, meta, LogisticRegression())
        self._fit_correction(data, rows, meta, alphas)
        return self

    def _candidates(self):
        return candidate_alphas(
            self.alpha,
            self.alphas,
            free="auto",
            default=_ALPHAS if self.alpha == "auto" else [self.alpha],
            finite=False,
        )

    def _scores(self, X):
        """Return the scores of the source models, (n_models, n_samples, n_columns)."""
        n = X.shape[0] if hasattr(X, "shape") else len(X)
        scores = np.zeros((len(self.source_models_), n, len(self.classes_)))
        for k, model in enumerate(self.source_models_):
            known = _scores_of(model, X)
            place = np.searchsorted(self.classes_, model.classes_)
            scores[k][:, place] = known - known.mean(axis=1, keepdims=True)
        if len(self.classes_) == 2:
            return scores[:, :, 1:] - scores[:, :, :1]
        return scores

    def _fit_correction(self, data, rows, meta, alphas):
        weight = np.ones(len(data.labeled))
        weight = np.asarray(meta.get("weight", weight), dtype=np.float64)
        k = 1 if len(self.classes_) == 2 else len(self.classes_)
        n_features, dtype = rows.shape[1], rows.dtype
        n_models, labeled = len(self.source_models_), data.is_labeled_target
        self.source_weights_ = np.full(n_models, 1 / max(n_models, 1))
        self.coef_, self.intercept_ = np.zeros((k, n_features), dtype), np.zeros(k)
        self.alpha_, self.loo_losses_ = np.inf, {}
        self.relative_loss_, self.gap_, self.n_iter_ = 0.0, 0.0, 0
        if not data.n_labeled:
            return
        codes = np.searchsorted(self.classes_, data.y_labeled)
        own = weight[labeled]
        scores = self._scores(data.X_labeled)
        if n_models > 1 and self.source_weights == "loss":
            self.source_weights_, gap = source_score_weights(scores, codes, own)
            if gap > 1e-6:
                warn(
                    "The weights of the source models did not converge: gap "
                    f"{gap:.2g}.", ConvergenceWarning,
                )  # fmt: skip
        Z, back, unlabeled = self._compressed(data, rows, weight, own.sum())
        problem = SecureProblem(
            Z, codes, np.tensordot(self.source_weights_, scores, axes=1), own,
            unlabeled=unlabeled, fit_intercept=self.fit_intercept, tol=self.tol,
            max_iter=self.max_iter,
        )  # fmt: skip
        if not n_models and self.alpha == "auto" and np.isfinite(alphas).any():
            alphas = alphas[np.isfinite(alphas)]  # "as it is" is no model
        self.alpha_ = float(alphas[0])
        if len(alphas) > 1:
            units = meta["units"][labeled] if "units" in meta else None
            self.alpha_ = self._choose(problem, alphas, units)
        if np.isinf(self.alpha_):
            return
        theta, info = problem.solve(self.alpha_ * problem.total)
        if not info.converged:
            warn(
                "Newton's method stopped with the gradient "
                f"{info.gradient:.2g} and the gap {info.gap / problem.scale:.2g} > "
                f"tol={self.tol:g}: increase max_iter, or scale the features.",
                ConvergenceWarning,
            )
        if self.fit_intercept:
            theta, self.intercept_ = theta[:, :-1], theta[:, -1]
        self.coef_ = np.asarray(back(theta)).astype(dtype)
        eta = problem.offset + Z @ theta.T + self.intercept_
        losses = problem.losses(eta) - problem.start
        self.relative_loss_ = min(float(np.average(losses, weights=own)), 0.0)
        self.gap_ = info.gap / problem.scale
        self.n_iter_ = info.n_iter

    def _compressed(self, data, rows, weight, total):
        """Return samples in at most as many columns as there are samples.

        The penalty is the same in them, as they come from a rotation.
        """
        labeled, unlabeled = data.is_labeled_target, None
        used = labeled.copy()
        if self.unlabeled_weight > 0 and data.n_target > data.n_labeled:
            used |= data.is_target
        part = rows[np.flatnonzero(used)]
        n, d = part.shape
        if n < d:
            gram = part @ part.T
            gram = gram.toarray() if sparse.issparse(gram) else gram
            values, Q = np.linalg.eigh(np.asarray(gram, dtype=np.float64))
            kept = values > values[-1] * n * np.finfo(float).eps
            Q, root = Q[:, kept], np.sqrt(values[kept])
            Z = Q * root

            def back(theta):
                return (part.T @ (Q @ (theta / root).T)).T
        else:
            Z = part.toarray() if sparse.issparse(part) else part

            def back(theta):
                return theta

        Z = np.asarray(Z, dtype=np.float64)
        mine = labeled[used]
        if not mine.all():
            scores = self._scores(data.X_unlabeled)
            own = weight[used][~mine]
            unlabeled = (
                Z[~mine],
                np.tensordot(self.source_weights_, scores, axes=1),
                own * (self.unlabeled_weight * total / own.sum()),
            )
        return Z[mine], back, unlabeled

    def _choose(self, problem, alphas, units):
        """Return the penalty of the smallest leave-one-out loss."""
        start = None
        if problem.n_units(units) <= 1:
            return float(alphas[0])  # nothing can be left out
        for alpha in alphas:
            eta = problem.offset
            if np.isfinite(alpha):
                penalty = alpha * problem.total
                if problem.unlabeled is None:
                    start, _ = problem.solve(penalty, start)
                    eta = problem.left_out(start, penalty, units)
                else:
                    eta = problem.refitted(penalty, units)
            loss = np.average(problem.losses(eta), weights=problem.weight)
            self.loo_losses_[float(alpha)] = float(loss)
        return min(self.loo_losses_, key=self.loo_losses_.get)

    def _logits(self, X):
        """Return the scores of the source and the correction, one column for two."""
        rows = self._validate_rows(X)
        known = self._scores(X if hasattr(X, "columns") else rows)
        own = rows @ self.coef_.T + self.intercept_
        return np.tensordot(self.source_weights_, known, axes=1) + np.asarray(own)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transfer_tags.source_free = True
        tags.transfer_tags.uses_unlabeled = self.unlabeled_weight > 0
        return tags


def _scores_of(model, X):
    """Return a score per class of a model."""
    if hasattr(model, "predict_proba"):
        proba = np.asarray(model.predict_proba(X), dtype=np.float64)
        return np.log(np.maximum(proba, LEAST_PROBABILITY))
    if hasattr(model, "decision_function"):
        values = np.asarray(model.decision_function(X), dtype=np.float64)
        if values.ndim == 1:
            return np.column_stack([-values / 2, values / 2])
        return values
    votes = np.asarray(model.predict(X))[:, None] == model.classes_
    return np.log(np.where(votes, 1 - LEAST_PROBABILITY, LEAST_PROBABILITY))
