"""Positive transfer: a Gaussian prior of the coefficients, from the sources' own."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.utils.multiclass import check_classification_targets

from sktransfer._compat import Interval, StrOptions
from sktransfer._linear import LinearClassifierMixin, LinearRegressorMixin
from sktransfer._solvers.gaussian_prior import (
    choose_prior,
    logistic_path,
    logistic_screen,
    ridge_path,
)
from sktransfer._solvers.glm import newton_direction
from sktransfer._source_summary import SourceSummary, check_source_summaries
from sktransfer.base import TransferEstimator
from sktransfer.exceptions import DomainError, warn


class _PositiveTransfer(TransferEstimator):
    """Choose the prior by held-out target error; subclasses fit sources and paths."""

    _n_weights = 13

    _parameter_constraints: dict = {
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "prior_weight": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "prior_weights": ["array-like", None],
        "drop_sources": ["boolean"],
        "fit_intercept": ["boolean"],
        "source_summaries": [list, tuple, SourceSummary, None],
    }

    def without_sources(self):
        r"""Return the unfitted :math:`\theta(0,T)`: a copy without summaries.

        Returns
        -------
        target_only : estimator
            A copy whose ``source_summaries`` is None.
        """
        return clone(self).set_params(source_summaries=None)

    def _summaries(self, families):
        return check_source_summaries(
            self.source_summaries, self, families=families,
            fit_intercept=self.fit_intercept,
        )  # fmt: skip

    def _ids(self, data, summaries):
        """Return ids of the sources; beside summaries their names."""
        names = [name for name, _ in summaries]
        if not names:
            return data.sources
        return np.array([str(int(k)) for k in data.sources] + names)

    def _weights_to_try(self):
        if self.prior_weight != "auto":
            return np.array([float(self.prior_weight)])
        if self.prior_weights is None:
            return np.r_[0, np.logspace(-3, 3, self._n_weights)]
        grid = np.unique(np.asarray(self.prior_weights, dtype=np.float64))
        if not len(grid) or grid[0] < 0 or not np.isfinite(grid).all():
            raise ValueError(
                "prior_weights must hold nonnegative finite numbers, got "
                f"{self.prior_weights!r}."
            )
        return np.union1d(0, grid)

    def _fit_prior(self, vectors, ids, fit_path, screen=None):
        """Store everything but the coefficients, which are returned."""
        choice, alone = choose_prior(
            vectors, fit_path, self._weights_to_try(), drop=self.drop_sources,
            screen=screen,
        )  # fmt: skip
        flat = vectors.shape[1] == 1
        self.source_coef_ = vectors[:, 0] if flat else vectors
        self.prior_mean_ = choice.prior.mean[0] if flat else choice.prior.mean
        covariance = choice.prior.covariance
        self.prior_covariance_ = covariance[0] if flat else covariance
        self.prior_weight_ = choice.weight
        self.prior_weight_bound_ = choice.bound
        self.kept_sources_ = ids[choice.kept]
        self.dropped_sources_ = np.setdiff1d(ids, self.kept_sources_)
        self.held_out_error_ = float(choice.errors.mean())
        self.target_only_error_ = float(alone.errors.mean())
        return choice.solution

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transfer_tags.target_labels = "required"
        tags.transfer_tags.source_free = True
        return tags


def _penalized(summary, penalty):
    """Coefficients of the ridge fit that a summary stands for, one row per logit.

    They minimize its quadratic plus ``penalty / 2`` times their squared norm, the
    intercepts free.
    """
    scale = summary.noise if summary.family == "gaussian" else 1.0
    information = summary.information_at(summary.center) * scale
    own = summary.vector_at(summary.center)  # the intercepts, free, may be any
    d, n_logits = summary.n_features, summary.n_logits
    ridge = np.full(len(information) // n_logits, float(penalty))
    ridge[d:] = 0.0
    total = information + np.diag(np.tile(ridge, n_logits))
    # solved from its own parameters: without a penalty they stay as they are
    theta = own + newton_direction(total, -np.tile(ridge, n_logits) * own)
    return theta.reshape(n_logits, -1)[:, :d]


class PositiveTransferRidge(LinearRegressorMixin, _PositiveTransfer):
    r"""Ridge regression with a Gaussian prior from the coefficients of the sources.

    The strength of the prior and the sources that form it are chosen by the exact
    leave-one-out error on the target, so harmful sources are dropped and named.

    Parameters
    ----------
    alpha : float in (0, inf), default=1.0
        Ridge penalty relative to the *mean* squared error, for target and sources:
        without prior the fit is ``sklearn.linear_model.Ridge(alpha=n * alpha)``.
    prior_weight : {"auto"} or float in [0, inf), default="auto"
        Weight :math:`\lambda` of the prior, in the unit of ``alpha``. ``"auto"``:
        that of the smallest leave-one-out error among ``prior_weights``, of equal
        ones the smallest.
    prior_weights : array-like of float in [0, inf), default=None
        Candidates for ``"auto"``; 0 is always one. None: 13 values from 1e-3 to 1e3.
    drop_sources : bool, default=True
        Drop sources one by one as long as this lowers the leave-one-out error by more
        than half the standard error of the difference, and all of them if the prior
        does not lower it below that of the target alone.
    fit_intercept : bool, default=True
        Fit an intercept, without penalty or prior.
    source_summaries : SourceSummary or list of SourceSummary, default=None
        Sources of which summaries are known, beside or in place of source rows; see
        :func:`~sktransfer.multisource.summarize_source`. They give the
        coefficients that the rows would give.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients.
    intercept_ : float
        Intercept.
    source_coef_ : ndarray of shape (n_sources, n_features)
        Coefficients of each source's own ridge regression.
    prior_mean_ : ndarray of shape (n_features,)
        Mean of the kept sources' coefficients; 0 if none is kept.
    prior_covariance_ : ndarray of shape (n_features, n_features)
        Their shrunk covariance; the identity for less than two sources.
    prior_weight_ : float
        The weight that was used; 0 if every source was dropped.
    prior_weight_bound_ : float
        The largest weight that was tried whose leave-one-out error is not above that
        of the target alone, for the kept sources: negative transfer starts beyond.
    kept_sources_, dropped_sources_ : ndarray of int or str
        Ids of the sources; with ``source_summaries`` ids as text, and
        ``"source_summaries[i]"``.
    held_out_error_, target_only_error_ : float
        Leave-one-out mean squared error of this fit and of the fit without sources;
        NaN if there is only one labeled target row. Prior weight and kept sources
        were chosen by the first, so with few rows it is too small.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    PositiveTransferLogistic : The same for classes.
    SecureRLS : Sources that may be any regressor.

    Notes
    -----
    With the :math:`n_l` labeled target rows [1]_

    .. math::

        \min_{w, b} \tfrac{1}{n_l} \sum_i (x_i'w + b - y_i)^2 + \alpha \|w\|^2
        + \lambda (w - \mu)' P (w - \mu), \qquad
        P = \tfrac{\operatorname{tr} \Sigma}{d} \Sigma^{-1},

    where :math:`\mu` and :math:`\Sigma` are mean and covariance of the sources'
    coefficients. The scale of :math:`P` gives :math:`\lambda` the unit of
    :math:`\alpha`; the shape is that of the Gaussian. As sources are few,
    :math:`\Sigma` is the oracle approximating shrinkage estimate [2]_, which is
    never singular for two or more different vectors; of one source, or of equal
    ones, :math:`P = I`. :math:`\lambda = 0` is ridge regression on the target,
    :math:`\lambda \to \infty` is :math:`w = \mu`.

    The published rule bounds :math:`\lambda` by the risk of negative transfer under
    a known noise. Here the risk is measured: row :math:`i` is left out in closed form
    (penalties :math:`n_l \alpha`, :math:`n_l \lambda` kept), and an error above that
    of :math:`\lambda = 0` is negative transfer. Of one labeled row nothing can be
    left out: ``"auto"`` does not transfer then.

    References
    ----------
    .. [1] H. Yoon, J. Li. "A novel positive transfer learning approach for
       telemonitoring of Parkinson's disease". IEEE Transactions on Automation
       Science and Engineering 16(1), 2019. :doi:`10.1109/TASE.2018.2874233`

    .. [2] Y. Chen, A. Wiesel, Y. C. Eldar, A. O. Hero. "Shrinkage algorithms for
       MMSE covariance estimation". IEEE Transactions on Signal Processing 58(10),
       2010. :doi:`10.1109/TSP.2010.2053029`

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from sktransfer.datasets import make_concept_shift
    >>> from sktransfer.hypothesis import PositiveTransferRidge
    >>> data = make_concept_shift(shift=[0.1, 0.1, 3.0], random_state=1)
    >>> model = PositiveTransferRidge(alpha=0.1)
    >>> model.fit(data.X, data.y, sample_domain=data.sample_domain).dropped_sources_
    array([3])
    >>> own = (data.sample_domain < 0) & ~np.isnan(data.y)
    >>> alone = Ridge(alpha=0.1 * own.sum()).fit(data.X[own], data.y[own])
    >>> [round(m.score(data.X_test, data.y_test), 2) for m in (model, alone)]
    [0.92, 0.84]
    """

    def __init__(
        self,
        alpha=1.0,
        *,
        prior_weight="auto",
        prior_weights=None,
        drop_sources=True,
        fit_intercept=True,
        source_summaries=None,
    ):
        self.alpha = alpha
        self.prior_weight = prior_weight
        self.prior_weights = prior_weights
        self.drop_sources = drop_sources
        self.fit_intercept = fit_intercept
        self.source_summaries = source_summaries

    def _fit_domains(self, data):
        summaries = self._summaries(("gaussian",))
        for name, summary in summaries:
            if summary.noise is None:
                raise ValueError(
                    f"{name} has no noise, so the penalty has no scale beside its "
                    "information: give SourceSummary(noise=...)."
                )
        X = data.X_labeled.astype(np.float64, copy=False)
        y = data.y_labeled.astype(np.float64, copy=False)
        vectors = np.empty((len(data.sources) + len(summaries), 1, X.shape[1]))
        for k, (_, rows, labels) in enumerate(data.each_source()):
            ridge = Ridge(len(labels) * self.alpha, fit_intercept=self.fit_intercept)
            vectors[k, 0] = ridge.fit(rows, labels).coef_
        for k, (_, summary) in enumerate(summaries, len(data.sources)):
            vectors[k] = _penalized(summary, float(summary.n) * self.alpha)

        def fit_path(prior, weights, start):
            return ridge_path(
                X, y, prior, weights, alpha=self.alpha, fit_intercept=self.fit_intercept
            )

        coef = self._fit_prior(vectors, self._ids(data, summaries), fit_path)
        shift = y.mean() - X.mean(axis=0) @ coef if self.fit_intercept else 0.0
        self.coef_ = coef.astype(data.X.dtype, copy=False)
        self.intercept_ = float(shift)


class PositiveTransferLogistic(LinearClassifierMixin, _PositiveTransfer):
    r"""Logistic regression with a Gaussian prior from the sources' coefficients.

    The strength of the prior and the sources that form it are chosen by the
    approximate leave-one-out log loss on the target, so harmful sources are dropped
    and named.

    Parameters
    ----------
    alpha : float in (0, inf), default=1.0
        Ridge penalty relative to the *mean* log loss, for target and sources: without
        prior the fit is ``sklearn.linear_model.LogisticRegression(C=1 / (n *
        alpha))``.
    prior_weight : {"auto"} or float in [0, inf), default="auto"
        Weight :math:`\lambda` of the prior, in the unit of ``alpha``. ``"auto"``:
        that of the smallest left-out log loss among ``prior_weights``, of equal ones
        the smallest.
    prior_weights : array-like of float in [0, inf), default=None
        Candidates for ``"auto"``; 0 is always one. None: 7 values from 1e-3 to 1e3.
    drop_sources : bool, default=True
        Drop sources one by one as long as this lowers the left-out log loss by more
        than half the standard error of the difference, and all of them if the prior
        does not lower it below that of the target alone.
    fit_intercept : bool, default=True
        Fit an intercept, without penalty or prior.
    tol : float in (0, inf), default=1e-8
        Largest absolute entry of the gradient that counts as solved.
    max_iter : int in [1, inf), default=100
        Newton steps per fit.
    source_summaries : SourceSummary or list of SourceSummary, default=None
        Sources of which summaries are known, beside or in place of source rows; see
        :func:`~sktransfer.multisource.summarize_source`. They give the coefficients
        of the rows to second order.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients, one row if there are two classes.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts.
    source_coef_ : ndarray of shape (n_sources, [n_classes,] n_features)
        Coefficients of each source's own logistic regression.
    prior_mean_ : ndarray of shape ([n_classes,] n_features)
        Mean of the kept sources' coefficients; 0 if none is kept.
    prior_covariance_ : ndarray of shape ([n_classes,] n_features, n_features)
        Their shrunk covariance per class; the identity for less than two sources.
    prior_weight_ : float
        The weight that was used; 0 if every source was dropped.
    prior_weight_bound_ : float
        The largest weight that was tried whose left-out log loss is not above that
        of the target alone, for the kept sources: negative transfer starts beyond.
    kept_sources_, dropped_sources_ : ndarray of int or str
        Ids of the sources; with ``source_summaries`` ids as text, and
        ``"source_summaries[i]"``.
    held_out_error_, target_only_error_ : float
        Left-out mean log loss of this fit and of the fit without sources. Prior
        weight and kept sources were chosen by the first, so with few rows it is too
        small.
    n_iter_ : int
        Newton steps of the longest fit.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    PositiveTransferRidge : The same for real labels; it states the prior.

    Notes
    -----
    With the multinomial (of two classes: logistic) log loss :math:`\ell` [1]_

    .. math::

        \min_{W, b} \tfrac{1}{n_l} \sum_i \ell(y_i, W x_i + b)
        + \tfrac{\alpha}{2} \|W\|_F^2
        + \tfrac{\lambda}{2} \sum_c (w_c - \mu_c)' P_c (w_c - \mu_c),

    with a Gaussian of its own for the coefficients of each class, made as in
    :class:`PositiveTransferRidge`. :math:`\lambda = 0` is logistic regression on the
    target, :math:`\lambda \to \infty` is :math:`W = \mu`.

    A row is left out by one Newton step from the fit with it [2]_: with
    :math:`H` the Hessian of :math:`n_l` times the objective, :math:`X_i` the
    derivative of the logits :math:`\eta_i`, :math:`A_i = X_i H^{-1} X_i'`, and
    :math:`g_i, L_i` gradient and Hessian of its loss in the logits,
    :math:`\eta_{-i} = \eta_i + (I - A_i L_i)^{-1} A_i g_i`.

    Every source needs the classes of the labeled target rows, no more and no less.

    References
    ----------
    .. [1] H. Yoon, J. Li. "A novel positive transfer learning approach for
       telemonitoring of Parkinson's disease". IEEE Transactions on Automation
       Science and Engineering 16(1), 2019. :doi:`10.1109/TASE.2018.2874233`

    .. [2] K. Rahnama Rad, A. Maleki. "A scalable estimate of the out-of-sample
       prediction error via approximate leave-one-out cross-validation". Journal of
       the Royal Statistical Society B 82(4), 2020. :doi:`10.1111/rssb.12374`

    Examples
    --------
    >>> from sktransfer.datasets import make_concept_shift
    >>> from sktransfer.hypothesis import PositiveTransferLogistic
    >>> data = make_concept_shift(
    ...     shift=[0.1, 3.0], task="classification", random_state=1
    ... )
    >>> model = PositiveTransferLogistic(alpha=0.1)
    >>> model.fit(data.X, data.y, sample_domain=data.sample_domain).dropped_sources_
    array([2])
    >>> model.score(data.X_test, data.y_test)
    0.874
    >>> model.held_out_error_ < model.target_only_error_
    True
    """

    _n_weights = 7
    _parameter_constraints: dict = {
        **_PositiveTransfer._parameter_constraints,
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        alpha=1.0,
        *,
        prior_weight="auto",
        prior_weights=None,
        drop_sources=True,
        fit_intercept=True,
        tol=1e-8,
        max_iter=100,
        source_summaries=None,
    ):
        self.alpha = alpha
        self.prior_weight = prior_weight
        self.prior_weights = prior_weights
        self.drop_sources = drop_sources
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.source_summaries = source_summaries

    def _fit_domains(self, data):
        check_classification_targets(data.y_labeled)
        self.classes_ = np.unique(data.y_labeled)
        _check_source_classes(data, self.classes_)
        families = ("binomial" if len(self.classes_) == 2 else "multinomial",)
        summaries = self._summaries(families)
        for name, summary in summaries:
            if not np.array_equal(summary.classes, self.classes_):
                raise ValueError(
                    f"{name} has the classes {summary.classes.tolist()}, the labeled "
                    f"target rows {self.classes_.tolist()}: both need the same."
                )
        problem = {
            "n_logits": 1 if len(self.classes_) == 2 else len(self.classes_),
            "alpha": self.alpha,
            "fit_intercept": self.fit_intercept,
        }
        options = problem | {"tol": self.tol, "max_iter": self.max_iter}
        fits = [
            logistic_path(
                X, np.searchsorted(self.classes_, y), None, [0.0],
                leave_out=False, **options,
            )
            for _, X, y in data.each_source()
        ]  # fmt: skip
        d = data.X.shape[1]
        vectors = [fit[1][0][:, :d] for fit in fits]
        vectors += [_penalized(s, float(s.n) * self.alpha) for _, s in summaries]
        vectors = np.reshape(vectors, (len(vectors), options["n_logits"], d))
        codes, infos = np.searchsorted(self.classes_, data.y_labeled), []

        def fit_path(prior, weights, start):
            *fitted, info = logistic_path(
                data.X_labeled, codes, prior, weights, start=start, **options
            )
            infos.append(info)
            return fitted

        screen = logistic_screen(data.X_labeled, codes, **problem)
        ids = self._ids(data, summaries)
        solution = self._fit_prior(vectors, ids, fit_path, screen)
        self.coef_ = solution[:, :d].astype(data.X.dtype)
        self.intercept_ = solution[:, d].astype(data.X.dtype)
        infos += [fit[2] for fit in fits]
        self.n_iter_ = max(info["n_iter"] for info in infos)
        _warn_unless_solved(infos, self.tol)


def _check_source_classes(data, classes):
    if len(classes) < 2:
        raise ValueError(
            "Labels of at least two classes are needed, but all labeled target rows "
            f"have one class: {classes.tolist()[0]!r}."
        )
    for domain, _, y in data.each_source():
        unseen, lacking = np.setdiff1d(y, classes), np.setdiff1d(classes, y)
        if len(unseen):
            raise DomainError(
                f"Source {domain} has the classes {unseen.tolist()}, but no labeled "
                "target row has them: label a target row of each class or leave these "
                "source rows out."
            )
        if len(lacking):
            raise DomainError(
                f"Source {domain} lacks the classes {lacking.tolist()} of the target, "
                "so it has no coefficients for them: leave its rows out."
            )


def _warn_unless_solved(infos, tol):
    residual = max(info["residual"] for info in infos)
    if residual > tol:
        warn(
            f"Newton's method stopped with a gradient of {residual:.2g} > tol={tol:g}: "
            "increase max_iter, or scale the features.",
            ConvergenceWarning,
        )
