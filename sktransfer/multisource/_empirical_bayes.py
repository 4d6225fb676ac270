"""Empirical Bayes: a prior for the target's coefficients, learned from the sources."""

from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from sktransfer._compat import Interval, StrOptions
from sktransfer._linear import LinearRegressorMixin
from sktransfer._solvers.random_effects import (
    Evidence,
    evidence_ridge,
    fit_random_effects,
    gaussian_evidence,
    prior_precision,
    random_effects_mean,
    sam_weight,
)
from sktransfer.multisource._summary_estimator import (
    ALPHAS,
    Coordinates,
    SummaryEstimator,
    gaussian_tasks,
)

__all__ = ["EmpiricalBayesRidge"]

#: factors of the prior variances that are tried
FACTORS = np.logspace(-4, 4, 17)


class EmpiricalBayesRidge(LinearRegressorMixin, SummaryEstimator):
    r"""Ridge regression toward the coefficients of the sources, as far as these vary.

    Every source is one draw of coefficients. Their mean is where the target is
    expected, their spread over the sources how far from there it may be, coefficient by
    coefficient; the labels of the target decide between this prior and themselves.

    Parameters
    ----------
    source_summaries : SourceSummary or list of SourceSummary, default=None
        Sources that give no rows, beside those among the rows.
    tau : {"reml"}, float in [0, inf] or array-like, default="reml"
        Standard deviation of the coefficients over the sources, of standardized
        features (the last entry is that of the intercept). "reml": restricted maximum
        likelihood. 0: all domains have the same coefficients; infinity: the sources
        carry nothing.
    commensurability : {"auto"} or float in (0, inf), default="auto"
        Factor c of the variances for the target: 1 if it is a domain like the sources,
        larger if it is farther away. "auto": largest marginal likelihood of the labels
        of the target among 17 values from 1e-4 to 1e4.
    alpha : {"auto"} or float in [0, inf), default="auto"
        The target's own ridge penalty, beside the residual sum of squares of
        standardized features. "auto": largest marginal likelihood; beside sources 0 is
        a candidate.
    pseudo_sources : float in [0, inf), default=2.0
        The variances are estimated as if so many further sources had shown the
        variance that all slopes have in common; 0 is plain REML. With one source
        the spread is unknown: the variance before c is that of one row's information,
        and Var(m) that of the source's coefficients, so c covers the whole difference.
    noise : {"separate", "common"}, default="separate"
        Noise variance of each domain, or a common one, which the sources estimate.
    borrow_weight : {"sam"}, float in (0, 1] or None, default=None
        Prior probability that the target is like the sources; with the rest it has
        coefficients of mean 0 with the information of one row. "sam": self-adapting,
        see Notes. None is 1.
    sam_delta : float in (0, inf), default=None
        The smallest difference of a standardized coefficient, in the unit of y, that
        matters; needed for "sam".
    varying : {"all", "intercept", "slopes"}, default="all"
        Which coefficients vary over the domains.
    fit_intercept : bool, default=True
        Fit an intercept; it varies as the coefficients do.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Posterior mean of the coefficients of the target.
    intercept_ : float
        Its intercept.
    covariance_ : ndarray of shape (n_parameters, n_parameters)
        Posterior covariance of coefficients and intercept (last).
    prior_coef_, prior_intercept_ : ndarray of shape (n_features,), float
        Mean of the prior; 0 and the mean label without sources.
    tau_ : ndarray of shape (n_parameters,)
        Standard deviations over the sources of standardized features.
    commensurability_ : float
        The factor c; NaN without sources.
    alpha_ : float
        The target's own penalty.
    noise_ : float
        Noise variance of the target.
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
    SourceSummary : What a source gives in place of its rows.
    sktransfer.hypothesis.PositiveTransferRidge : A prior with held-out weight.

    Notes
    -----
    With the least-squares coefficients :math:`b_k` of source k and their covariances
    :math:`V_k`

    .. math:: b_k \sim N(\theta_k, V_k), \qquad
              \theta_k \sim N(m, \mathrm{diag}\,\tau^2),

    the linear mixed model of all sources [1]_. The prior of the target is
    :math:`N(m, c\,\mathrm{diag}\,\tau^2 + \mathrm{Var}(m))`, where
    :math:`\mathrm{Var}(m) = (\sum_k (V_k + \mathrm{diag}\,\tau^2)^{-1})^{-1}`, so that
    :math:`c = 1` gives the best linear unbiased prediction of the mixed model, and
    :math:`\tau = 0` the pooled fit, where all domains have the same noise. Without
    sources the fit is ridge regression. The features are centered and scaled by all
    labeled rows, so units do not matter.

    With "sam" the prior weight of the sources is :math:`R / (1 + R)`,
    :math:`R = f(y | m) / \max_\pm f(y | m \pm \delta)`, the largest over a change of
    any one coefficient [2]_ on which the likelihood depends. The noise of the target
    is that of the largest marginal likelihood, under the prior information of up to
    four rows of the sources.

    References
    ----------
    .. [1] N. M. Laird, J. H. Ware. "Random-effects models for longitudinal data".
       Biometrics 38(4), 1982. :doi:`10.2307/2529876`

    .. [2] P. Yang, Y. Zhao, L. Nie, J. Vallejo, Y. Yuan. "SAM: self-adapting mixture
       prior to dynamically borrow information from historical data in clinical
       trials". Biometrics 79(4), 2023. :doi:`10.1111/biom.13927`

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.datasets import make_concept_shift
    >>> from sktransfer.multisource import EmpiricalBayesRidge
    >>> data = make_concept_shift(shift=[0.1, 0.2, 0.1, 0.2], random_state=1)
    >>> model = EmpiricalBayesRidge()
    >>> model.fit(data.X, data.y, sample_domain=data.sample_domain)
    EmpiricalBayesRidge()
    >>> alone = EmpiricalBayesRidge()
    >>> own = (data.sample_domain < 0) & ~np.isnan(data.y)
    >>> alone = alone.fit(data.X[own], data.y[own])
    >>> model.score(data.X_test, data.y_test) > alone.score(data.X_test, data.y_test)
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
        "noise": [StrOptions({"separate", "common"})],
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
        noise: str = "separate",
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
        self.noise = noise
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
        coordinates = Coordinates(
            data, weight, summaries, fit_intercept=self.fit_intercept
        )
        target, sources = gaussian_tasks(data, weight, summaries, coordinates)
        self.source_names_ = [task.name for task in sources]
        slopes = np.ones(len(target.vector), dtype=bool)
        slopes[self.n_features_in_ :] = False
        if sources:
            mean, theta, covariance = self._borrow(target, sources, slopes)
        else:
            mean, theta, covariance = self._alone(target, slopes)
        raw = coordinates.to_raw
        self.covariance_ = raw @ covariance @ raw.T
        dtype = data.X.dtype if data.X.dtype == np.float32 else np.float64
        coef, intercept = coordinates.raw(theta)
        self.coef_, self.intercept_ = coef.astype(dtype), float(intercept)
        coef, intercept = coordinates.raw(mean)
        self.prior_coef_, self.prior_intercept_ = coef, float(intercept)

    def _alone(
        self, target: Any, slopes: NDArray[np.bool_]
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        alphas = target.n * ALPHAS if self.alpha == "auto" else [self.alpha]
        ridge = evidence_ridge(
            target.gram, target.moment, target.energy, target.n, slopes,
            np.asarray(alphas, dtype=np.float64),
        )  # fmt: skip
        self.tau_ = np.full(len(slopes), np.inf)
        self.commensurability_, self.borrow_weight_ = np.nan, 0.0
        self.alpha_, self.noise_ = ridge.alpha, ridge.noise
        covariance = np.linalg.pinv(ridge.precision, hermitian=True)
        return np.zeros(len(slopes)), ridge.coef, covariance

    def _borrow(
        self, target: Any, sources: list[Any], slopes: NDArray[np.bool_]
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        information = np.array([task.information for task in sources])
        vectors = np.array([task.vector for task in sources])
        effects = estimate_effects(self, information, vectors, slopes, sources)
        guess, dof = _noise_guess(sources, target)
        common = self.noise == "common"
        if common:
            noises = [task.noise for task in sources]
            factor = np.array([s / effects.noise for s in noises])
            information = information * factor[:, None, None]
            guess = effects.noise
        mean, S = mean_of_sources(self, information, vectors, effects.variances)
        posterior = _gaussian_posterior(
            self, target, mean, S, effects, slopes, guess, np.inf if common else dof
        )
        self.tau_ = np.sqrt(effects.variances)
        if effects.infinite:
            self.tau_ = np.full(len(slopes), np.inf)
        self.commensurability_ = posterior.factor
        self.alpha_ = posterior.alpha
        self.noise_ = posterior.noise
        theta = posterior.evidence.mean
        covariance = np.linalg.pinv(posterior.evidence.precision, hermitian=True)
        self.borrow_weight_ = 1.0
        if self.borrow_weight is not None:
            theta, covariance = self._mix(target, mean, posterior)
        return mean, theta, covariance

    def _mix(
        self, target: Any, mean: NDArray[Any], posterior: "_Posterior"
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Average the posterior with that under one row's information."""
        noise = posterior.noise

        def log_density(theta: NDArray[Any]) -> float:
            residual = target.vector - theta
            return -0.5 * residual @ target.gram @ residual / noise

        prior = np.eye(len(mean)) / max(noise, target.energy / target.n)
        vague = gaussian_evidence(
            target.gram, target.moment, target.energy, target.n, noise, prior,
            np.zeros(len(mean)),
        )  # fmt: skip
        theta, covariance, self.borrow_weight_ = mix_with_vague(
            self, mean, posterior.evidence, vague, log_density
        )
        return theta, covariance


class Effects(NamedTuple):
    """Variances over the sources; whether they are infinite; the common noise."""

    variances: np.ndarray
    infinite: bool
    noise: float


class _Posterior(NamedTuple):
    evidence: Evidence
    factor: float
    alpha: float
    noise: float


def check_borrowing(estimator: Any) -> None:
    """Refuse "sam" without the difference that it needs."""
    if estimator.borrow_weight == "sam" and estimator.sam_delta is None:
        raise ValueError(
            'borrow_weight="sam" needs sam_delta, the smallest difference of a '
            "standardized coefficient that matters."
        )


def mix_with_vague(
    estimator: Any, mean: Any, informed: Any, vague: Any, log_density: Any
) -> tuple[NDArray[Any], NDArray[Any], float]:
    """Average two posteriors by Bayes' rule.

    Parameters
    ----------
    estimator : estimator
        Holds ``borrow_weight`` and ``sam_delta``.
    mean : ndarray of shape (p,)
        Mean of the sources.
    informed, vague : Evidence
        The posteriors with and without the sources.
    log_density : callable
        ``log_density(theta)``: log-likelihood of the target.

    Returns
    -------
    theta, covariance, weight : ndarray of shape (p,), ndarray of shape (p, p), float
        Moments of the mixture, and the posterior weight of the sources.
    """
    weight = estimator.borrow_weight
    if weight == "sam":
        shifts = np.vstack([np.eye(len(mean)), -np.eye(len(mean))])
        here = log_density(mean)
        shifted = np.array(
            [log_density(mean + estimator.sam_delta * s) for s in shifts]
        )
        # a coefficient of which the rows say nothing is no evidence of a conflict
        told = np.abs(shifted - here) > 1e-9 * (1 + abs(here))
        weight = sam_weight(here, shifted[told]) if told.any() else 0.5
    odds = np.log(weight) - np.log1p(-weight) if weight < 1 else np.inf
    odds += informed.log_likelihood - vague.log_likelihood
    w = float(1 / (1 + np.exp(-np.clip(odds, -700, 700))))
    gap = informed.mean - vague.mean
    covariance = w * np.linalg.pinv(informed.precision, hermitian=True)
    covariance += (1 - w) * np.linalg.pinv(vague.precision, hermitian=True)
    covariance += w * (1 - w) * np.outer(gap, gap)
    return vague.mean + w * gap, covariance, w


def estimate_effects(
    estimator: Any, information: Any, vectors: Any, slopes: Any, tasks: Any
) -> Effects:
    """Return the variances of the coefficients over the sources.

    Parameters
    ----------
    estimator : estimator
        Holds ``tau``, ``varying``, ``pseudo_sources`` and ``noise``.
    information : ndarray of shape (n_sources, p, p)
        Information of each source.
    vectors : ndarray of shape (n_sources, p)
        Their parameters.
    slopes : ndarray of bool of shape (p,)
        True but for intercepts.
    tasks : list of Task
        The sources.

    Returns
    -------
    effects : Effects
        The variances, 0 where a coefficient does not vary.
    """
    free = {"all": slopes | True, "slopes": slopes, "intercept": ~slopes}
    free = free[estimator.varying]
    common = getattr(estimator, "noise", "separate") == "common"
    if common and any(task.noise is None for task in tasks):
        raise ValueError(
            'noise="common" needs the noise of every source, but '
            f"{next(t.name for t in tasks if t.noise is None)} has none."
        )
    rss = np.array([task.rss for task in tasks])
    dof = np.array([task.dof for task in tasks])
    noise = np.nan
    if common:
        sizes = np.array([task.n for task in tasks])
        # without a residual the noise of each domain comes from a ridge
        measured = dof.sum() > 0
        noise = float(
            rss.sum() / dof.sum()
            if measured
            else np.average([task.noise for task in tasks], weights=sizes)
        )
    if not isinstance(estimator.tau, str):
        tau = np.asarray(estimator.tau, dtype=np.float64)
        if np.ndim(tau) and (tau.shape != free.shape or not (tau >= 0).all()):
            raise ValueError(
                f"tau must be one number or {len(free)} nonnegative ones, one per "
                f"parameter (intercepts included), got shape {tau.shape}."
            )
        if np.isinf(tau).any():
            if not np.isinf(tau).all():
                raise ValueError("tau must be infinite for all parameters or for none.")
            return Effects(np.ones(len(free)), True, noise)
        return Effects(np.where(free, tau**2, 0.0), False, noise)
    if len(tasks) == 1:
        diagonal = np.diagonal(information[0])
        least = diagonal[diagonal > 0].min(initial=np.inf)
        unit = tasks[0].n / np.where(diagonal > 0, diagonal, least)
        return Effects(np.where(free, unit, 0.0), False, noise)
    options = {"free": free}
    if estimator.pseudo_sources:
        inner, part = _without_intercepts(information, vectors, slopes)
        # constant columns alone have no variance that the slopes have in common
        if np.abs(inner).max(initial=0.0) > 1e-10 * np.abs(information).max():
            pooled = fit_random_effects(inner, part, common=True, boundary=1.0)
            options["shrink_to"] = float(pooled.variances[0])
            options["shrinkage"] = estimator.pseudo_sources
    if not common:
        return Effects(
            fit_random_effects(information, vectors, **options).variances, False, noise
        )
    grams = np.array([task.gram for task in tasks])
    if not measured:
        fitted = fit_random_effects(grams / noise, vectors, **options)
        return Effects(fitted.variances, False, noise)
    fitted = fit_random_effects(grams, vectors, sizes=sizes, rss=rss, **options)
    return Effects(fitted.variances, False, fitted.noise)


def mean_of_sources(
    estimator: Any,
    information: NDArray[Any],
    vectors: NDArray[Any],
    variances: NDArray[Any],
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return mean and precision; of one source with unknown spread its own."""
    if len(vectors) == 1 and isinstance(estimator.tau, str):
        variances = np.zeros_like(variances)  # c covers the whole difference
    return random_effects_mean(information, vectors, variances)


def _without_intercepts(
    information: NDArray[Any], vectors: NDArray[Any], slopes: NDArray[np.bool_]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Information of the slopes alone: the intercepts of all sources are free."""
    if slopes.all():
        return information, vectors
    a = information[:, slopes][:, :, slopes]
    b = information[:, slopes][:, :, ~slopes]
    c = np.linalg.pinv(information[:, ~slopes][:, :, ~slopes], hermitian=True)
    return a - b @ c @ np.swapaxes(b, 1, 2), vectors[:, slopes]


def choose_prior(
    estimator: Any,
    mean: Any,
    S: Any,
    effects: Any,
    own: Any,
    evaluate: Any,
    alphas: Any,
    *,
    zero: bool = True,
) -> Any:
    """Choose factor and own penalty by the marginal likelihood of the target.

    Parameters
    ----------
    estimator : estimator
        Holds ``commensurability`` and ``alpha``.
    mean, S : ndarray of shape (p,), (p, p)
        Mean of the sources and its precision.
    effects : Effects
        Variances over the sources.
    own : ndarray of shape (p, p)
        Information of the target.
    evaluate : callable
        ``evaluate(prior, pull, alpha) -> Evidence``.
    alphas : ndarray of shape (n_alphas,)
        Positive own penalties that are tried.
    zero : bool, default=True
        Whether 0 is tried, too, where all coefficients are determined without.

    Returns
    -------
    evidence, factor, alpha : Evidence, float, float
        The best.
    """
    factors = [1.0]
    if not effects.infinite and effects.variances.any():
        factors = [estimator.commensurability]
        if estimator.commensurability == "auto":
            factors = FACTORS
    if estimator.alpha != "auto":
        alphas = [estimator.alpha]
    elif zero:
        informed = own if effects.infinite else own + S
        free = np.linalg.matrix_rank(informed, hermitian=True) < len(own)
        alphas = [*([] if free else [0.0]), *alphas]
    best = None
    for factor in factors:
        scale = np.inf if effects.infinite else factor
        prior = prior_precision(S, effects.variances, scale)
        for alpha in alphas:
            evidence = evaluate(prior, prior @ mean, alpha)
            # of equal ones that nearest to the sources: the first
            gain = 1e-9 * (1 + abs(evidence.log_likelihood))
            if best is None or (
                evidence.log_likelihood > best[0].log_likelihood + gain
            ):
                best = evidence, float(factor), float(alpha)
    return best


def _noise_guess(sources: list[Any], target: Any) -> tuple[float, float]:
    """Pooled noise of the sources, and how many rows it is worth for the target."""
    dof = sum(task.dof for task in sources)
    if dof > 0 and (rss := sum(task.rss for task in sources)) > 0:
        return rss / dof, min(dof, 4.0)
    known = [task.noise for task in sources if task.noise]
    return float(np.mean(known)) if known else target.noise, 1.0


def _gaussian_posterior(
    estimator: Any,
    target: Any,
    mean: NDArray[Any],
    S: NDArray[Any],
    effects: Effects,
    slopes: NDArray[np.bool_],
    guess: float,
    dof: float,
) -> _Posterior:
    """Alternate the prior and the noise of the target."""
    penalized = np.diag(slopes.astype(np.float64))

    def evidence_at(
        prior: NDArray[Any], pull: NDArray[Any], alpha: Any, noise: float
    ) -> Evidence:
        return gaussian_evidence(
            target.gram, target.moment, target.energy, target.n, noise,
            prior + alpha / noise * penalized, pull,
        )  # fmt: skip

    noise = guess
    for _ in range(3 if np.isfinite(dof) else 1):
        evidence, factor, alpha = choose_prior(
            estimator, mean, S, effects, target.gram,
            lambda prior, pull, alpha, noise=noise: evidence_at(
                prior, pull, alpha, noise
            ),
            target.n * ALPHAS[::2],
        )  # fmt: skip
        if not np.isfinite(dof):
            break
        scale = np.inf if effects.infinite else factor
        prior = prior_precision(S, effects.variances, scale)
        pull = prior @ mean

        def loss(
            log_noise: float,
            prior: NDArray[Any] = prior,
            pull: NDArray[Any] = pull,
            alpha: Any = alpha,
        ) -> float:
            s = guess * np.exp(log_noise)
            value = evidence_at(prior, pull, alpha, s).log_likelihood
            return -2 * value + dof * (log_noise + guess / s)

        found = optimize.minimize_scalar(
            loss, bounds=(-10, 10), method="bounded", options={"xatol": 1e-9}
        )
        noise = guess * float(np.exp(found.x))
        evidence = evidence_at(prior, pull, alpha, noise)
    return _Posterior(evidence, factor, alpha, noise)
