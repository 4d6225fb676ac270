"""Empirical Bayes for classes: the mixed logistic model by Laplace's approximation."""

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sktransfer._compat import Interval, StrOptions
from sktransfer.multisource._empirical_bayes import (
    Effects,
    check_borrowing,
    choose_prior,
    estimate_effects,
    mean_of_sources,
    mix_with_vague,
)
from sktransfer.multisource._logistic_tasks import (
    LogisticSummaryEstimator,
    PenalizedLikelihood,
)
from sktransfer.multisource._summary_estimator import ALPHAS, SummaryEstimator

__all__ = ["EmpiricalBayesLogistic"]


class EmpiricalBayesLogistic(LogisticSummaryEstimator):
    r"""Logistic regression toward the coefficients of the sources, as far as they vary.

    The classifier beside :class:`EmpiricalBayesRidge`: sources are draws of
    coefficients, whose mean and spread are the prior of the target.

    Parameters
    ----------
    source_summaries : SourceSummary or list of SourceSummary, default=None
        Sources that give no rows, beside those among the rows; they need the classes
        of all domains together.
    tau : {"reml"}, float in [0, inf] or array-like, default="reml"
        Standard deviation of the coefficients over the sources, of standardized
        features; logit after logit, each with its intercept last. "reml": restricted
        maximum likelihood. 0: all domains have the same coefficients; infinity: the
        sources carry no information.
    commensurability : {"auto"} or float in (0, inf), default="auto"
        Factor c of the variances for the target. "auto": largest marginal likelihood of
        the labels of the target among 17 values from 1e-4 to 1e4.
    alpha : {"auto"} or float in [0, inf), default="auto"
        The target's own ridge penalty, :math:`\tfrac{\alpha}{2} \|\cdot\|^2` of
        standardized features beside the summed log loss. "auto": largest marginal
        likelihood; beside sources 0 is a candidate.
    pseudo_sources : float in [0, inf), default=2.0
        The variances are estimated as if so many further sources had shown the
        variance that all slopes have in common; 0 is plain REML. With one source
        the spread is unknown: the variance before c is that of one row's information,
        and c covers the whole difference.
    borrow_weight : {"sam"}, float in (0, 1] or None, default=None
        Prior probability that the target is like the sources; with the rest its
        standardized coefficients have mean 0 and standard deviation 2, about the
        information of one row. "sam": self-adapting, see
        :class:`EmpiricalBayesRidge`. None is 1.
    sam_delta : float in (0, inf), default=None
        The smallest difference of a standardized coefficient that matters; needed for
        "sam".
    varying : {"all", "intercept", "slopes"}, default="all"
        Which coefficients vary over the domains.
    fit_intercept : bool, default=True
        Fit intercepts; they vary as the coefficients do.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Classes of all labeled rows.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Posterior mode of the coefficients of the target, one row if there are two
        classes; else they sum to 0 over the classes.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts.
    covariance_ : ndarray of shape (n_parameters, n_parameters)
        Covariance by Laplace's approximation, logit after logit, intercepts last.
    prior_coef_, prior_intercept_ : ndarray
        Mean of the prior, shaped as ``coef_`` and ``intercept_``; 0 without sources.
    tau_ : ndarray of shape (n_parameters,)
        Standard deviations over the sources, of standardized features.
    commensurability_ : float
        The factor c; NaN without sources.
    alpha_ : float
        The target's own penalty.
    borrow_weight_ : float
        Posterior probability that the target is like the sources; 0 without sources.
    source_names_ : list of str
        Ids of the sources among the rows, then ``"source_summaries[i]"``.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    EmpiricalBayesRidge : The same for real labels; it states the prior.
    sktransfer.hypothesis.PositiveTransferLogistic : A prior with held-out weight.

    Notes
    -----
    Two classes have one logit, more have one per class (multinomial). The
    log-likelihood of a source is replaced by its expansion at its mode under a weak
    prior (standard deviation 3 of standardized coefficients), so that a source whose
    classes are separated, or that lacks a class, is no special case. The labels of the
    target enter exactly: :math:`\hat\theta` maximizes

    .. math:: \log p(y | \theta) - \tfrac12 (\theta - m)' P (\theta - m), \qquad
              P = (c\,\mathrm{diag}\,\tau^2 + \mathrm{Var}(m))^{-1},

    and the marginal likelihood that chooses c and alpha is Laplace's approximation at
    it. As one class may be missing among the labels of the target, the sources can
    tell its coefficients.

    References
    ----------
    .. [1] P. Yang, Y. Zhao, L. Nie, J. Vallejo, Y. Yuan. "SAM: self-adapting mixture
       prior to dynamically borrow information from historical data in clinical
       trials". Biometrics 79(4), 2023. :doi:`10.1111/biom.13927`

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.multisource import EmpiricalBayesLogistic
    >>> rng = np.random.default_rng(0)
    >>> X, domain = rng.normal(size=(510, 3)), np.repeat([1, 2, -1], [250, 250, 10])
    >>> y = (X @ [2.0, -1.0, 0.0] + rng.logistic(size=510) > 0).astype(int)
    >>> model = EmpiricalBayesLogistic().fit(X, y, sample_domain=domain)
    >>> bool(np.abs(model.coef_[0] - [2.0, -1.0, 0.0]).max() < 0.6)
    True
    """

    _parameter_constraints: dict[str, Any] = {
        **SummaryEstimator._parameter_constraints,
        "tau": [StrOptions({"reml"}), Interval(Real, 0, None, closed="both"),
                "array-like"],
        "commensurability": [
            StrOptions({"auto"}), Interval(Real, 0, None, closed="neither"),
        ],
        "alpha": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "pseudo_sources": [Interval(Real, 0, None, closed="left")],
        "borrow_weight": [
            StrOptions({"sam"}), Interval(Real, 0, 1, closed="right"), None,
        ],
        "sam_delta": [Interval(Real, 0, None, closed="neither"), None],
        "varying": [StrOptions({"all", "intercept", "slopes"})],
    }  # fmt: skip

    def __init__(
        self,
        source_summaries: Any = None,
        *,
        tau: Any = "reml",
        commensurability: Any = "auto",
        alpha: Any = "auto",
        pseudo_sources: Any = 2.0,
        borrow_weight: Any = None,
        sam_delta: Any = None,
        varying: str = "all",
        fit_intercept: bool = True,
    ) -> None:
        self.source_summaries = source_summaries
        self.tau = tau
        self.commensurability = commensurability
        self.alpha = alpha
        self.pseudo_sources = pseudo_sources
        self.borrow_weight = borrow_weight
        self.sam_delta = sam_delta
        self.varying = varying
        self.fit_intercept = fit_intercept

    def _fit_tasks(
        self,
        data: Any,
        weight: NDArray[Any],
        summaries: list[tuple[str, Any]],
        folds: list[Any],
    ) -> None:
        check_borrowing(self)
        coordinates, rows_of = self._prepare_rows(data, weight, summaries)
        width = self.n_features_in_ + self.fit_intercept
        slopes = np.tile(np.arange(width) < self.n_features_in_, self._n_logits)
        rows: tuple[Any, Any, Any, Any] = rows_of(data.is_labeled_target)
        target = PenalizedLikelihood(*rows, slopes)
        sources = self._expanded_sources(data, summaries, coordinates, rows_of)
        self.source_names_ = [task.name for task in sources]
        mean, theta, covariance = self._posterior(target, sources, slopes)
        M = np.kron(np.eye(self._n_logits), coordinates.to_raw)
        self.covariance_ = M @ covariance @ M.T
        self.coef_, self.intercept_ = self._raw(theta, coordinates, data.X.dtype)
        self.prior_coef_, self.prior_intercept_ = self._raw(mean, coordinates)

    def _posterior(
        self, target: PenalizedLikelihood, sources: list[Any], slopes: NDArray[np.bool_]
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        p = len(slopes)
        if sources:
            information = np.array([task.information for task in sources])
            vectors = np.array([task.vector for task in sources])
            effects = estimate_effects(self, information, vectors, slopes, sources)
            mean, S = mean_of_sources(self, information, vectors, effects.variances)
        else:
            effects = Effects(np.ones(p), True, np.nan)
            mean, S = np.zeros(p), np.zeros((p, p))
        evidence, factor, alpha = choose_prior(
            self, mean, S, effects, target.curvature, target.evidence,
            target.n / 4 * (ALPHAS[4:] if effects.infinite else ALPHAS[4::4]),
            zero=not effects.infinite,  # separated classes have no finite fit
        )  # fmt: skip
        self.alpha_ = alpha
        self.tau_ = np.sqrt(effects.variances)
        if effects.infinite:
            self.tau_ = np.full(p, np.inf)
        self.commensurability_ = factor if sources else np.nan
        self.borrow_weight_ = float(bool(sources))
        if not sources or self.borrow_weight is None:
            covariance = np.linalg.pinv(evidence.precision, hermitian=True)
            return mean, evidence.mean, covariance
        vague = target.evidence(np.eye(p) / 4, np.zeros(p), 0.0)
        theta, covariance, self.borrow_weight_ = mix_with_vague(
            self, mean, evidence, vague, target.log_likelihood
        )
        return mean, theta, covariance
