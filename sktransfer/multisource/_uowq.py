"""UOWQ: one fit to target and source rows, the sources weighted by a KL expansion."""

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from sktransfer._compat import Interval, StrOptions
from sktransfer._solvers.simplex_qp import SOLVERS
from sktransfer._source_models import SourceModelsMixin, given_models
from sktransfer._source_summary import SourceSummary, check_source_summaries
from sktransfer.base import TransferMetaEstimator, is_scale_free
from sktransfer.exceptions import warn
from sktransfer.multisource._estimated_risk import least_risk
from sktransfer.multisource._likelihood import likelihood_of
from sktransfer.multisource._summarized_likelihood import (
    SummarizedLikelihood,
    summary_families,
)
from sktransfer.multisource._weighted_likelihood import Relaxation, likelihood_problem

__all__ = ["UOWQ"]


class UOWQ(SourceModelsMixin, TransferMetaEstimator):
    r"""Fit a likelihood model to target rows and optimally weighted source rows.

    Every source gets one weight, the worth of one of its rows beside a target row. It
    is near 1 for a source like the target, near 0 for a misleading one, and less for a
    large source than for a small one at the same distance.

    Parameters
    ----------
    estimator : estimator
        Learner with a likelihood: ``LogisticRegression`` (binary, multinomial),
        ``LinearRegression``, ``Ridge``, ``PoissonRegressor``, or one registered by
        :func:`register_likelihood`. It must take ``sample_weight``.
    weighting : {"static", "dynamic"}, default="dynamic"
        "static" computes the weights once, from the fit on the target alone;
        "dynamic" alternates weights and weighted fits until the weights settle, in
        steps that halve where they turn back.
    noise_correction : bool, default=True
        Whether to take the noise of the parameters out of the discrepancies.
        Then they are always measured from the fit on the target alone, and
        "dynamic" updates the Fisher information only. False is the published
        algorithm, in which "dynamic" measures them from the current fit.
    min_gain : float in [0, inf) or None, default=0.5
        Least reduction of the estimated risk on the target, in units of twice the
        log-likelihood, that scaled weights must bring. All weights are multiplied by
        the factor of smallest risk. If the factor is below 1 and the risk is not
        smaller than that of the target alone by ``min_gain``, the weights become 0;
        see Notes. None: the weights are not scaled, as published.
    max_iter : int in [1, inf), default=30
        Largest number of weight updates when dynamic.
    tol : float in [0, inf), default=0.01
        The weights have settled when none changes by more.
    source_models : estimator or list of them, default=None
        Fitted models of the sources, in place of source rows; clones keep the fits.
        The weighted fit is then the average of the parameters, see Notes. In a
        parameter grid give each model as ``FrozenEstimator(model)``.
    source_sizes : array-like of shape (n_sources,) or int, default=None
        Numbers of rows behind ``source_models``; required with them.
    solver : {"auto", "cvxpy"}, default="auto"
        What solves for the weights: "auto" an active set, "cvxpy" CLARABEL. They
        agree to 1e-8.
    n_jobs : int, default=None
        Number of sources fitted in parallel. None means 1 unless in a joblib
        backend context, -1 all processors.
    source_summaries : SourceSummary or list of SourceSummary, default=None
        Sources of which summaries are known, beside or in place of source rows; see
        :func:`summarize_source`. The learner is one of those named above, without an
        L1 penalty; weighted fits are Newton's method then.

    Attributes
    ----------
    estimator_ : estimator
        The weighted fit.
    source_ids_ : ndarray of shape (n_sources,)
        Domain id of each source; with ``source_models`` their positions 1, 2, ...;
        with ``source_summaries`` ids, then ``"source_summaries[i]"``.
    source_weights_ : ndarray of shape (n_sources,)
        Weight of the rows of each source.
    source_proportions_ : ndarray of shape (n_sources,)
        Share of each source in the transferred quantity.
    scale_ : float
        Factor in [0, 1] by which the check of the risk scaled the weights; 0 is the
        fit on the target alone.
    transfer_quantity_ : float
        Effective number of transferred rows.
    n_parameters_ : float
        Number of parameters that the target rows determine, given the penalty.
    kl_path_ : ndarray of shape (n_iter_ + 1,)
        Predicted KL divergence, first of the fit on the target alone, then of the
        weights that each update found.
    n_iter_ : int
        Number of times that the weights were computed; 1 without sources.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    uowq_weights : The weights alone, for any parameters.
    UOWQMultiTask : Every domain is a target in turn.
    OTQMS : Chooses numbers of rows in place of weights.

    Notes
    -----
    The fit maximizes

    .. math:: \sum_{i \in T} \log p(y_i | x_i; \theta)
              + \sum_k w_k \sum_{i \in S_k} \log p(y_i | x_i; \theta)

    less the learner's penalty, with the weights of :func:`uowq_weights`. The Fisher
    information :math:`J` is the expected one of the model over the target rows
    (labels drawn from the model); for a registered likelihood without it, that of
    held-out scores. A penalty enters in two ways. Every source is fitted with the
    total weight of the target rows, so that source and target parameters are shrunk
    alike; and :math:`d` is the number of parameters that the target rows determine
    against it, :math:`\mathrm{tr}[(J (J + \Lambda / N_0)^{-1})^2]`, with
    :math:`\Lambda` the precision of the prior to which an L2 penalty amounts (an L1
    part is not counted). Noise variances and other nuisance parameters are estimated
    on the target and not counted.

    The theory gives the sources the same information per row as the target. Rows of
    a source with far larger features pull harder than that. So the weights
    :math:`c\,w` with :math:`c \le 1` are chosen to minimize an estimate of the risk
    that does without this assumption, Mallows' :math:`C_p` for linear models,

    .. math:: R(c) = -2 \sum_{i \in T} \log p(y_i | x_i; \hat\theta_c)
              + 2\, \mathrm{tr}\Bigl[N_0 J_0 \Bigl(N_0 J_0
              + c \sum_k w_k n_k J_k + \Lambda\Bigr)^{-1}\Bigr] ,

    in steps of half a decade down from 1. Where :math:`J_k = J` the corrected weights
    are at the minimum of R already, so :math:`c < 1` is a sign that the theory does
    not hold: then :math:`c = 0` unless :math:`R(0) - R(c)` exceeds ``min_gain``. A
    registered likelihood without the expected information is given :math:`J_k = J`.

    A user's ``sample_weight`` counts rows: :math:`N_0` and :math:`n_k` are sums of
    weights, the information is the weighted mean over rows, and a row of weight 0 is a
    removed row. The weights are not normalized, as they are not in the likelihood: a
    weight of 2 is two rows, and weights that only compare the rows of a domain with
    each other should be divided by their mean there.

    A source whose rows lack a class of the target gives that class no probability:
    its discrepancy is infinite and its weight 0, with a warning.

    With ``source_models`` each log-likelihood of a source is replaced by its
    expansion at :math:`\theta_k` with the information of the target, which gives
    :math:`\hat\theta = (N_0 \hat\theta_0 + \sum_k w_k n_k \theta_k) / (N_0 + s)`.
    That is exact for least squares where every domain has the same second moments of
    the features.

    With ``source_summaries`` it is replaced with the quadratic of the summary, which
    has the information of the source: for least squares and Ridge the fit is that on
    the rows, for other families it agrees with it to second order.

    References
    ----------
    Q. Zhang et al., "Unified optimization of source weights and transfer quantities
    in multi-source transfer learning: an asymptotic framework", 2026.
    :arxiv:`2601.10779`

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from sktransfer.multisource import UOWQ
    >>> rng = np.random.default_rng(1)
    >>> X = rng.normal(size=(230, 2))
    >>> domain = np.repeat([1, 2, -1], [100, 100, 30])
    >>> slope = np.where(domain == 2, 5.0, 1.0)
    >>> y = slope * X[:, 0] + rng.normal(size=230)
    >>> model = UOWQ(LinearRegression()).fit(X, y, sample_domain=domain)
    >>> model.source_weights_.round(1)
    array([1., 0.])
    """

    _parameter_constraints: dict[str, Any] = {
        **TransferMetaEstimator._parameter_constraints,
        "weighting": [StrOptions({"static", "dynamic"})],
        "noise_correction": ["boolean"],
        "min_gain": [Interval(Real, 0, None, closed="left"), None],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        **SourceModelsMixin._source_models_constraints,
        "source_sizes": [
            "array-like",
            Interval(Real, 0, None, closed="neither"),
            None,
        ],
        "solver": [StrOptions(SOLVERS)],
        "n_jobs": [Integral, None],
        "source_summaries": [list, tuple, SourceSummary, None],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        weighting: str = "dynamic",
        noise_correction: bool = True,
        min_gain: Any = 0.5,
        max_iter: Any = 30,
        tol: Any = 0.01,
        source_models: Any = None,
        source_sizes: Any = None,
        solver: Any = "auto",
        n_jobs: int | None = None,
        source_summaries: Any = None,
    ) -> None:
        super().__init__(estimator)
        self.weighting = weighting
        self.noise_correction = noise_correction
        self.min_gain = min_gain
        self.max_iter = max_iter
        self.tol = tol
        self.source_models = source_models
        self.source_sizes = source_sizes
        self.solver = solver
        self.n_jobs = n_jobs
        self.source_summaries = source_summaries

    def without_sources(self) -> "UOWQ":
        r"""Return the unfitted :math:`\theta(0,T)`: no models, no summaries.

        Returns
        -------
        target_only : UOWQ
            A copy whose ``source_models``, ``source_sizes`` and ``source_summaries``
            are None.
        """
        alone = super().without_sources()
        return alone.set_params(source_sizes=None, source_summaries=None)

    def _fit_estimator(self, data: Any, fit_params: dict[str, Any]) -> Any:
        problem = likelihood_problem(
            self, data, fit_params, kind=self._summarized(data)
        )
        if self.source_models is not None:
            return self._fit_to_models(problem, data)
        self.source_ids_ = problem.sources
        target_model = problem.fit_target()
        if not len(problem.sources):
            return self._keep_target(target_model, problem)
        source_params = problem.source_parameters()
        refit = partial(problem.fit_weighted, shared_only=True)
        model = self._alternate(problem, target_model, source_params, refit)
        if problem.shared.all():
            return model
        return problem.fit_weighted(self.source_weights_)

    def _summarized(self, data: Any) -> Callable[..., Any] | None:
        """Return what makes the problem with the given summaries; None without."""
        if self.source_summaries is None:
            return None
        if self.source_models is not None:
            raise ValueError(
                "source_models and source_summaries are both given: give one of them."
            )
        summaries = check_source_summaries(
            self.source_summaries, self,
            families=summary_families(self.estimator),
            fit_intercept=bool(self.estimator.fit_intercept),
        )  # fmt: skip
        for name, summary in summaries:
            if summary.family == "gaussian" and summary.noise is None:
                raise ValueError(
                    f"{name} has no noise, so its information has no scale beside "
                    "the target's residuals: give SourceSummary(noise=...)."
                )
        if summaries and np.ndim(data.y) > 1:
            raise ValueError(
                "y has several columns, but a SourceSummary is of a single one."
            )
        return partial(SummarizedLikelihood, summaries) if summaries else None

    def _fit_to_models(self, problem: Any, data: Any) -> Any:
        models = given_models(self, data)
        sizes = self._check_source_models(models)
        self.source_ids_ = np.arange(1, len(models) + 1)
        problem.sources, problem.source_sizes = self.source_ids_, sizes
        problem.averages = True
        target_model = problem.fit_target()
        likelihood = problem.likelihood
        theta = likelihood.parameters(target_model)
        source_params = _comparable_parameters(likelihood, target_model, models)
        usable = np.isfinite(source_params).all(axis=1)

        def average(weights: NDArray[Any]) -> Any:
            model = deepcopy(target_model)
            quantity = (weights * sizes)[usable]
            total = problem.n_target * theta + quantity @ source_params[usable]
            likelihood.set_parameters(
                model, total / (problem.n_target + quantity.sum())
            )
            return model

        return self._alternate(problem, target_model, source_params, average)

    def _check_source_models(self, models: list[Any]) -> NDArray[Any]:
        sizes = np.atleast_1d(
            np.asarray([] if self.source_sizes is None else self.source_sizes, float)
        )
        if sizes.shape != (len(models),) or not (sizes > 0).all():
            raise ValueError(
                "source_sizes must hold a positive number of rows for each of the "
                f"source_models; got {self.source_sizes!r} for {len(models)} models."
            )
        for i, model in enumerate(models):
            if likelihood_of(model) is not likelihood_of(self.estimator):
                raise ValueError(
                    f"source_models[{i}] is a {type(model).__name__}, whose parameters "
                    f"are not those of {type(self.estimator).__name__}."
                )
        return sizes

    def _keep_target(self, model: Any, problem: Any) -> Any:
        empty = np.zeros(0)
        self.source_weights_ = self.source_proportions_ = empty
        self.transfer_quantity_ = 0.0
        self.scale_ = 1.0
        self.n_parameters_ = np.nan
        self.kl_path_ = np.full(2, np.nan)
        self.n_iter_ = 1
        return model

    def _alternate(
        self,
        problem: Any,
        model: Any,
        source_params: NDArray[Any],
        refit: Callable[..., Any],
    ) -> Any:
        """Alternate weights and weighted fits, starting from the target alone."""
        anchor = problem.likelihood.parameters(model)
        weights = np.zeros(len(source_params))
        rounds = self.max_iter if self.weighting == "dynamic" else 1
        path: list[Any] = []
        relaxation = Relaxation()
        for _ in range(rounds):
            if not self.noise_correction:
                anchor = problem.likelihood.parameters(model)
            result, d = problem.weigh(
                model, anchor, source_params, noise_correction=self.noise_correction
            )
            path = path or [result.kl_target_only]
            path.append(result.kl)
            change = float(np.max(np.abs(result.weights - weights)))
            if len(path) > 2 and change <= self.tol:
                break
            weights = relaxation.move(weights, result.weights)
            model = refit(weights)
        if self.weighting == "dynamic" and change > self.tol:
            warn(
                f"The weights of UOWQ still change by {change:.2g} > tol={self.tol:g} "
                f"after max_iter={self.max_iter} updates.",
                ConvergenceWarning,
            )
        self.scale_ = 1.0
        if self.min_gain is not None:
            found = least_risk(problem, weights, model, refit, self.min_gain)
            weights, model, self.scale_ = found
        quantities = weights * problem.source_sizes
        self.source_weights_ = weights
        self.transfer_quantity_ = float(quantities.sum())
        self.source_proportions_ = quantities / (self.transfer_quantity_ or 1.0)
        self.n_parameters_ = d
        self.kl_path_ = np.array(path)
        self.n_iter_ = len(path) - 1
        return model

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = False
        tags.transfer_tags.target_labels = "required"
        tags.transfer_tags.scale_free = self.source_models is None and is_scale_free(
            self.estimator
        )
        tags.transfer_tags.source_free = True
        return tags


def _comparable_parameters(
    likelihood: Any, target_model: Any, models: list[Any]
) -> NDArray[Any]:
    """Stack the parameters of source models; other classes give infinities."""
    classes = getattr(target_model, "classes_", None)
    theta = likelihood.parameters(target_model)
    rows = []
    for position, model in enumerate(models):
        known: Any = getattr(model, "classes_", None)
        if classes is not None and not np.array_equal(classes, known):
            warn(
                f"source_models[{position}] knows the classes {known.tolist()}, the "
                f"target {classes.tolist()}: its weight is 0.",
                UserWarning,
            )
            rows.append(np.full(len(theta), np.inf))
            continue
        params = likelihood.parameters(model)
        if params.shape != theta.shape:
            raise ValueError(
                f"source_models[{position}] has {len(params)} parameters, the model of "
                f"the target {len(theta)}: fit it to the same features."
            )
        rows.append(params)
    return np.array(rows)
