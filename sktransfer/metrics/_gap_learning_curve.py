"""How the negative transfer gap changes with more labels of the target."""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats
from sklearn.base import is_classifier
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed

from sktransfer._compat import Interval, StrOptions, validate_params
from sktransfer._deviance import deviance_power, unit_deviance
from sktransfer._domains import check_domains, take_rows
from sktransfer._learners import HasLearnerMethods, check_weights
from sktransfer._response import align_classes, all_classes
from sktransfer.base import as_rows, slice_params
from sktransfer.exceptions import UnlabeledTargetError
from sktransfer.metrics._evidence import (
    INTERVAL_FOR,
    PairedEvidence,
    by_unit,
    dof_share,
    error_ratio,
    units_of,
)
from sktransfer.metrics._negative_transfer import labeled_folds, with_groups
from sktransfer.metrics._pair import (
    check_pair,
    fit_target_only,
    fit_transfer,
    labels_to_score,
    takes_unlabeled_sources,
)

__all__ = ["GapLearningCurve", "gap_learning_curve"]

_DRAWS = 2000
_RATES = (0.5, 1.0, 1.5, 2.0)
#: variance of the mean over rows that share training sets, by that of independent ones;
#: this and the next are among the best of ``benchmarks/uncertainty.py --calibrate``
_SHARED = 2.0
#: prior probability of a limit of 0
_NO_LIMIT = 0.25
#: labels beyond which nobody goes on
_MOST = 1_000_000
_SHARE = [Interval(Real, 0, 1, closed="neither")]
_SIZE = [Interval(Real, 0, None, closed="neither")]
_GAP = [StrOptions(set(INTERVAL_FOR))]


def _check(**constraints: Any) -> Callable[..., Any]:
    return validate_params(constraints, prefer_skip_nested_validation=True)


@dataclass(frozen=True, eq=False)
class GapLearningCurve:
    r"""The gap as a function of the number of labels, with its uncertainty.

    Parameters
    ----------
    sizes : ndarray of shape (n_sizes,)
        Numbers of labels that were tried; of groups, if there are groups.
    gaps : ndarray of shape (n_sizes,)
        Mean loss with the sources less that without; positive: the sources hurt.
    standard_errors : ndarray of shape (n_sizes,)
        Standard errors of the gaps.
    rates : ndarray of shape (n_curves,)
        Exponents r of the curves :math:`g_\infty + c\, m^{-r}`.
    weights : ndarray of shape (n_curves,)
        Their posterior probabilities.
    coefs : ndarray of shape (n_curves, 2)
        Limit :math:`g_\infty` and slope c of each.
    covariances : ndarray of shape (n_curves, 2, 2)
        Their covariances.
    spread : ndarray of shape (2,)
        Standard deviation of the difference of one row at m labels:
        ``spread[0] * m ** spread[1]``.
    n_labeled : int
        Number of labels that there are; of groups, if there are groups.
    instability : float, default=0.0
        How much of the step between the models hangs on the labels, from 0 to 1: the
        best weight of the sources' model in a blend of both. What is known of the gap
        of the fitted pair is less than of the average by it.
    kind : {"unbounded", "brier", "hits"}, default="unbounded"
        Kind of the loss: what an interval of so many labels is like.

    See Also
    --------
    gap_learning_curve : It estimates one.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.metrics import GapLearningCurve
    >>> curve = GapLearningCurve(
    ...     sizes=np.array([10, 20]), gaps=np.array([-0.4, -0.1]),
    ...     standard_errors=np.array([0.05, 0.02]), rates=np.array([1.0]),
    ...     weights=np.array([1.0]), coefs=np.array([[0.2, -6.0]]),
    ...     covariances=np.diag([1e-4, 1e-2])[None], spread=np.array([0.5, 0.0]),
    ...     n_labeled=20,
    ... )
    >>> abs(curve.predict(30)[0]) < 1e-9, round(curve.break_even()[0])
    (True, 30)
    """

    sizes: np.ndarray
    gaps: np.ndarray
    standard_errors: np.ndarray
    rates: np.ndarray
    weights: np.ndarray
    coefs: np.ndarray
    covariances: np.ndarray
    spread: np.ndarray
    n_labeled: int
    instability: float = 0.0
    kind: str = "unbounded"

    @_check(n_labels=_SIZE, confidence=_SHARE)
    def predict(
        self, n_labels: float, confidence: Any = 0.95
    ) -> tuple[float, tuple[float, float]]:
        """Extrapolate the gap to a number of labels.

        Parameters
        ----------
        n_labels : float
            Number of labeled target rows.
        confidence : float in (0, 1), default=0.95
            Share of the draws of the curve in the interval.

        Returns
        -------
        gap : float
            The expected gap, averaged over the curves: that on average over labeled
            target samples of this size, as all gaps here.
        interval : tuple of (float, float)
            Quantiles over draws of exponent, limit and slope.
        """
        gap = float(self.weights @ self._at(n_labels, self.rates, self.coefs))
        return gap, self._interval(self._at(n_labels, *self._draws()), confidence)

    @_check(confidence=_SHARE)
    def break_even(self, confidence: Any = 0.95) -> tuple[float, tuple[float, float]]:
        """Estimate from how many labels on the sources no longer help.

        Parameters
        ----------
        confidence : float in (0, 1), default=0.95
            Share of the draws of the curve in the interval.

        Returns
        -------
        n_labels : float
            Number of labels at which a gap that is below 0 reaches it, the median over
            draws of the curve: infinity if it never does, 0 if the sources do not help
            now.
        interval : tuple of (float, float)
            Quantiles over the draws.
        """
        found = self._crossings(*self._draws())
        middle = float(np.quantile(found, 0.5, method="inverted_cdf"))
        return middle, self._interval(found, confidence)

    @_check(n_labels=_SIZE, confidence=_SHARE, interval_for=_GAP)
    def decision_probability(
        self, n_labels: float, confidence: Any = 0.95, interval_for: str = "average"
    ) -> float:
        """Predict how probable a clear answer with so many labels is.

        Parameters
        ----------
        n_labels : float
            Number of labeled target rows.
        confidence : float in (0, 1), default=0.95
            Coverage of the interval of the gap that is to exclude 0.
        interval_for : {"average", "fitted"}, default="average"
            Whether it is the interval of the average gap or of that of the fitted
            pair, as in :func:`cross_val_ntg`. A harm probability of at most 0.05 or at
            least 0.95 is a 90 % interval for the fitted pair that excludes 0.

        Returns
        -------
        probability : float
            Mean over draws of the curve of the power at its gap.
        """
        return float(
            self._power(self._draws(), n_labels, confidence, interval_for).mean()
        )

    def _power(
        self,
        draws: tuple[NDArray[Any], NDArray[Any]],
        n_labels: float,
        confidence: float,
        interval_for: str,
    ) -> Any:
        gaps = np.abs(self._at(n_labels, *draws))
        error = self.spread[0] * n_labels ** self.spread[1] / np.sqrt(n_labels)
        if error == 0:
            return (gaps > 0).astype(np.float64)
        least = stats.t.ppf(
            (1 + confidence) / 2, max(dof_share(self.kind) * (n_labels - 1), 0.5)
        )
        reach, noise = (
            error_ratio(self.instability, which, self.kind, n_labels)
            for which in (interval_for, "average")
        )
        return stats.norm.cdf((gaps / error - least * reach) / noise)

    @_check(probability=_SHARE, confidence=_SHARE, interval_for=_GAP)
    def labels_needed(
        self,
        probability: Any = 0.8,
        confidence: Any = 0.95,
        interval_for: str = "average",
    ) -> float:
        """Count the labels with which a clear answer is this probable.

        Parameters
        ----------
        probability : float in (0, 1), default=0.8
            The probability.
        confidence : float in (0, 1), default=0.95
            Coverage of the interval of the gap that is to exclude 0.
        interval_for : {"average", "fitted"}, default="average"
            Of which gap, as in :meth:`decision_probability`.

        Returns
        -------
        n_labels : float
            The least number of labels in total, at least those that there are;
            infinity if no number up to a million is enough, as where the gap
            vanishes as fast as its error. :meth:`labels_interval` is finite where most
            curves decide, and :meth:`undecidable_probability` tells how many do not.
        """
        draws = self._draws()
        for size in self._numbers():
            power = self._power(draws, size, confidence, interval_for).mean()
            if power >= probability:
                return float(size)
        return float(np.inf)

    @_check(probability=_SHARE, confidence=_SHARE, interval_for=_GAP, coverage=_SHARE)
    def labels_interval(
        self,
        probability: Any = 0.8,
        confidence: Any = 0.95,
        interval_for: str = "average",
        coverage: Any = 0.95,
    ) -> tuple[float, tuple[float, float]]:
        """Estimate, curve by curve, from how many labels on a clear answer is likely.

        :meth:`labels_needed` averages over the curves that the labels leave possible,
        and with some of them no number of labels is enough. Here each has its own
        number.

        Parameters
        ----------
        probability, confidence, interval_for
            As in :meth:`labels_needed`.
        coverage : float in (0, 1), default=0.95
            Share of the draws of the curve in the interval.

        Returns
        -------
        n_labels : float
            The median over draws of the curve: infinity if with most of them no number
            of labels up to a million is enough.
        interval : tuple of (float, float)
            Quantiles over the draws.
        """
        found = self._needed(probability, confidence, interval_for)
        middle = float(np.quantile(found, 0.5, method="inverted_cdf"))
        return middle, self._interval(found, coverage)

    @_check(probability=_SHARE, confidence=_SHARE, interval_for=_GAP)
    def undecidable_probability(
        self,
        probability: Any = 0.8,
        confidence: Any = 0.95,
        interval_for: str = "average",
    ) -> float:
        """Estimate how probable it is that no number of labels gives a clear answer.

        This is so where the gap vanishes as fast as its error: every label makes the
        sources matter less, so that in the end it is the same with and without them.

        Parameters
        ----------
        probability, confidence, interval_for
            As in :meth:`labels_needed`.

        Returns
        -------
        probability : float
            Share of the draws of the curve.
        """
        found = self._needed(probability, confidence, interval_for)
        return float(np.mean(np.isinf(found)))

    def _numbers(self) -> Any:
        most = max(_MOST, self.n_labeled)
        return np.unique(np.geomspace(self.n_labeled, most, 300).round())

    def _needed(
        self, probability: float, confidence: float, interval_for: str
    ) -> NDArray[Any]:
        """Return the number of labels for each draw of the curve."""
        draws = self._draws()
        found = np.full(_DRAWS, np.inf)
        for size in self._numbers()[::-1]:
            power = self._power(draws, size, confidence, interval_for)
            found[power >= probability] = size
        return found

    @staticmethod
    def _at(n_labels: float, rates: NDArray[Any], coefs: NDArray[Any]) -> NDArray[Any]:
        return coefs[:, 0] + coefs[:, 1] * float(n_labels) ** -rates

    @staticmethod
    def _interval(draws: NDArray[Any], confidence: float) -> tuple[float, float]:
        tails = [(1 - confidence) / 2, (1 + confidence) / 2]
        low, high = np.quantile(draws, tails, method="inverted_cdf")
        return float(low), float(high)

    def _draws(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Draw exponents with their limits and slopes, by Student's t."""
        rng = np.random.RandomState(0)  # the same question gets the same answer
        which = rng.choice(len(self.rates), size=_DRAWS, p=self.weights)
        free = max(self.n_labeled - 2, 1)
        normal = rng.normal(size=(_DRAWS, 2))
        normal /= np.sqrt(rng.chisquare(free, size=_DRAWS) / free)[:, None]
        values, vectors = np.linalg.eigh(self.covariances)
        roots = vectors * np.sqrt(np.maximum(values, 0))[:, None, :]
        moves = np.einsum("nij,nj->ni", roots[which], normal)
        return self.rates[which], self.coefs[which] + moves

    def _crossings(self, rates: NDArray[Any], coefs: NDArray[Any]) -> NDArray[Any]:
        now = self._at(self.n_labeled, rates, coefs)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            crossing = (-coefs[:, 1] / coefs[:, 0]) ** (1 / rates)
        later = np.where(coefs[:, 0] > 0, crossing, np.inf)
        return np.where(now >= 0, 0.0, later)


@validate_params(
    {
        "estimator": [HasLearnerMethods(["fit", "predict"])],
        "X": ["array-like", "sparse matrix"],
        "y": ["array-like"],
        "sample_domain": ["array-like", Integral],
        "sizes": ["array-like", None],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "n_repeats": [Interval(Integral, 1, None, closed="left")],
        "loss": [StrOptions({"auto", "zero_one", "brier", "squared", "deviance"})],
        "rate": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "target_estimator": [HasLearnerMethods(["fit", "predict"]), None],
        "groups": ["array-like", None],
        "params": [dict, None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def gap_learning_curve(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    sample_domain: Any,
    sizes: Any = None,
    cv: Any = 5,
    n_repeats: int = 5,
    loss: str = "auto",
    rate: Any = "auto",
    target_estimator: Any = None,
    groups: Any = None,
    params: dict[str, Any] | None = None,
    n_jobs: int | None = None,
    random_state: Any = 0,
) -> GapLearningCurve:
    r"""Estimate how the negative transfer gap changes with more target labels.

    What the sources are worth falls with every label, so the gap of today is little
    evidence about that of tomorrow. Here both models are fitted to fewer labels than
    there are, several numbers of them, and the curve of the gap is extrapolated with
    its uncertainty.

    Parameters
    ----------
    estimator : estimator
        An estimator of this library, or a pipeline that ends in one. It is cloned.
    X : {array-like, sparse matrix, dataframe} of shape (n_samples, ...)
        Rows of every domain, in any order.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Labels, missing on the unlabeled target rows. Several outputs in regression
        only; their squared errors are averaged.
    sample_domain : array-like of shape (n_samples,)
        Positive ids for sources, negative for the target.
    sizes : array-like of int, default=None
        Two or more numbers of labels to fit to (of groups, if there are groups). None:
        0.4, 0.55, 0.75 and 1 times those that a fold trains on.
    cv : int, default=5
        Number of folds of the labeled target rows.
    n_repeats : int, default=5
        How often the rows are dealt to the folds, and drawn for each size.
    loss : {"auto", "zero_one", "brier", "squared", "deviance"}, default="auto"
        Loss of a row. "auto": the squared error, or whether the class is wrong;
        "brier": the squared distance of the probabilities from the class;
        "deviance": that of a learner with a log link, such as ``PoissonRegressor``.
    rate : {"auto"} or float in (0, inf), default="auto"
        The gap approaches its limit as ``m ** -rate``. "auto": 1/2, 1, 3/2 and 2, each
        with its posterior probability.
    target_estimator : estimator, default=None
        What to compare with, if not ``estimator`` without its sources.
    groups : array-like of shape (n_samples,), default=None
        Unit of each row, such as the patient, where units have several rows: a unit is
        never fitted on and tested at once, labels come and go by units, and all
        numbers of labels count units.
    params : dict, default=None
        Metadata for ``fit``, one entry per row. ``"sample_weight"`` weighs the tested
        rows, too, and rows of weight 0 are left out; with ``"exposure"`` errors are
        those of rates.
    n_jobs : int, default=None
        Number of folds that are fitted in parallel.
    random_state : int, RandomState instance or None, default=0
        Deals the rows.

    Returns
    -------
    curve : GapLearningCurve
        With ``predict(n_labels)``, ``break_even()``,
        ``decision_probability(n_labels)``, ``labels_needed()``, ``labels_interval()``
        and ``undecidable_probability()``.

    Raises
    ------
    UnlabeledTargetError
        If the labeled target rows are too few for two sizes.
    ValueError
        If ``sizes`` do not fit the folds, or ``groups`` not the rows.

    See Also
    --------
    cross_val_ntg : The gap with the labels that there are.
    query_target : Which rows to label.

    Notes
    -----
    The expected loss of a parametric model falls with :math:`1/m` toward its limit,
    with the sources and without; the gap follows:

    .. math:: g(m) = g_\infty + c\, m^{-r},

    faster as long as the labels are few for the features. Curves of several exponents
    are fitted by generalized least squares and weighed by their marginal likelihoods.
    Sources of a given size matter less and less: with prior probability 1/4 the limit
    is 0, else :math:`N(0, g(n)^2)`, with the gap at the largest size.
    ``benchmarks/uncertainty.md`` shows how often its predictions come true.

    Every labeled row is tested at every size, and the covariance of the sizes is that
    of the rows, times 2 because rows share training sets (about the correction of
    Nadeau and Bengio for five folds). That the curve keeps this form far beyond the
    labels is an assumption.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from sktransfer.baselines import Pooled
    >>> from sktransfer.metrics import gap_learning_curve
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(140, 5))
    >>> domain = np.repeat([1, -1], [100, 40])
    >>> y = X.sum(axis=1) + 0.3 * (domain > 0) * X[:, 0] + rng.normal(size=140)
    >>> curve = gap_learning_curve(
    ...     Pooled(LinearRegression()), X, y, sample_domain=domain
    ... )
    >>> bool(curve.gaps[0] < curve.gaps[-1])  # the sources help less and less
    True
    """
    baseline = check_pair(estimator, target_estimator)
    classify = is_classifier(estimator)
    data = check_domains(
        as_rows(X), y, sample_domain, numeric_labels=not classify,
        multi_output=not classify, unlabeled_sources=takes_unlabeled_sources(estimator),
    )  # fmt: skip
    loss = _check_loss(loss, classify, estimator)
    params = with_groups(params, groups)
    if params.get("sample_weight") is not None:
        weights = check_weights(params["sample_weight"], len(data.sample_domain))
        exists = weights > 0
        data, params = data.take(exists), slice_params(params, exists)
    units = units_of(data, params.get("groups"))
    goal, weight = _labels_to_score(estimator, data, params)
    rng = check_random_state(random_state)
    tasks = []
    for _ in range(n_repeats):
        folds = labeled_folds(
            data, cv, params=params, stratify=classify, random_state=rng
        )
        labeled = [train[data.is_labeled_target[train]] for train, _ in folds]
        least = min(len(np.unique(units[rows])) for rows in labeled)
        n_classes = len(np.unique(data.y_labeled)) if classify else 1
        numbers = _check_sizes(sizes, least, n_classes)
        for (train, test), rows in zip(folds, labeled, strict=True):
            tasks.append((train, test, _order(data, rows, units, classify, rng)))
    found = Parallel(n_jobs=n_jobs)(
        delayed(_differences)(
            estimator, baseline, data, params, units, goal, *task, numbers, loss
        )
        for task in tasks
    )
    values, guesses = (np.concatenate(part) for part in zip(*found, strict=True))
    folds = [(train, test) for train, test, _ in tasks]
    weights, collect = by_unit(data, folds, params.get("groups"), weight)
    each = np.column_stack([collect(column) for column in values.T])
    rates = np.array(_RATES if rate == "auto" else [float(rate)])
    mean, covariance = _moments(each, weights)
    rates, shares, coefs, covariances = _fit_curves(numbers, mean, covariance, rates)
    n = 1 / np.sum(weights**2)
    last = PairedEvidence(
        each[:, -1], weights, None if loss == "deviance" else collect(guesses),
        hits=loss == "zero_one",
    )  # fmt: skip
    return GapLearningCurve(
        sizes=numbers,
        gaps=mean,
        standard_errors=np.sqrt(np.diagonal(covariance)),
        rates=rates,
        weights=shares,
        coefs=coefs,
        covariances=covariances,
        spread=_spread(numbers, np.sqrt(n * np.diagonal(covariance))),
        n_labeled=len(np.unique(units[data.is_labeled_target])),
        instability=last.instability,
        kind={"zero_one": "hits", "brier": "brier"}.get(loss, "unbounded"),
    )


def _labels_to_score(
    estimator: Any, data: Any, params: dict[str, Any]
) -> tuple[NDArray[Any], Any]:
    """Return labels and weights of all rows, known for the labeled target rows."""
    rows = data.is_labeled_target
    y, w = labels_to_score(estimator, data, rows, params)
    goal = np.empty((len(rows), *y.shape[1:]), dtype=y.dtype)
    goal[rows] = y
    if w is None:
        return goal, None
    weight = np.zeros(len(rows))
    weight[rows] = w
    return goal, weight


def _moments(
    each: NDArray[Any], weights: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the mean of the units and the covariance of that mean, by size."""
    share = np.sum(weights**2)
    mean = weights @ each
    centered = each - mean
    return mean, (centered.T * weights) @ centered * share / (1 - share)


def _fit_curves(
    sizes: NDArray[Any],
    mean: NDArray[Any],
    covariance: NDArray[Any],
    rates: NDArray[Any],
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Fit a curve of each exponent, with a limit of 0 and with any, by least squares.

    Returns the exponents, the posterior probabilities, and limits and slopes with
    their covariances.
    """
    S, noise = len(sizes), _SHARED * covariance
    rates = np.repeat(rates, 2)
    size = np.trace(noise) / S
    scale = float(np.sqrt(mean[-1] ** 2 + max(noise[-1, -1], size)))
    coefs, covariances = np.zeros((len(rates), 2)), np.zeros((len(rates), 2, 2))
    if size == 0:  # the models are the same
        return rates, np.full(len(rates), 1 / len(rates)), coefs, covariances
    # sizes share rows: their differences have less noise, but not none
    precision = np.linalg.inv(0.9 * noise + 0.1 * size * np.eye(S))
    scores = np.empty(len(rates))
    for k, rate in enumerate(rates):
        unit = float(sizes[0]) ** rate
        design = np.column_stack([np.ones(S), unit * sizes.astype(float) ** -rate])
        prior = np.diag([1 / scale**2, 1 / (10 * scale + 10 * np.abs(mean).max()) ** 2])
        used = slice(k % 2, None)
        design, prior = design[:, used], prior[used, used]
        posterior = design.T @ precision @ design + prior
        covariance = np.linalg.inv(posterior)
        coef = covariance @ design.T @ precision @ mean
        residual = mean - design @ coef
        scores[k] = np.log(_NO_LIMIT if k % 2 else 1 - _NO_LIMIT) + (
            -0.5 * (residual @ precision @ residual + coef @ prior @ coef)
            - 0.5 * (np.linalg.slogdet(posterior)[1] - np.linalg.slogdet(prior)[1])
        )
        units = np.array([1.0, unit])[used]
        coefs[k, used] = coef * units
        covariances[k, used, used] = covariance * np.outer(units, units)
    return rates, special.softmax(scores), coefs, covariances


def _check_loss(loss: str, classify: bool, estimator: Any) -> str:
    if loss == "auto":
        return "zero_one" if classify else "squared"
    if (loss in ("squared", "deviance")) == classify:
        kind = "a classifier" if classify else "a regressor"
        raise ValueError(f"loss={loss!r} is no loss of {kind}.")
    if loss == "deviance" and deviance_power(estimator) is None:
        raise ValueError(
            f"loss='deviance' needs a learner with a log link, which {estimator!r} "
            "lacks."
        )
    if loss == "brier" and not hasattr(estimator, "predict_proba"):
        raise ValueError(
            f"loss='brier' needs predict_proba, which {estimator!r} lacks."
        )
    return loss


def _check_sizes(sizes: list[int] | None, least: int, n_classes: int) -> NDArray[Any]:
    smallest = max(n_classes, 2)
    if sizes is None:
        shares = np.array([0.4, 0.55, 0.75, 1.0])
        found = np.unique(np.maximum(np.round(shares * least), smallest).astype(int))
        if least < smallest or len(found) < 2:
            raise UnlabeledTargetError(
                f"A fold trains on {least} labeled target rows, which is not enough "
                "for two sizes: label more rows, or raise cv."
            )
        return found
    found = np.unique(np.asarray(sizes))
    if found.dtype.kind not in "iu" or len(found) < 2:
        raise ValueError(f"sizes must be two or more whole numbers, got {sizes!r}.")
    if found[0] < smallest or found[-1] > least:
        raise ValueError(
            f"sizes must be from {smallest} to {least}, the labels that a fold trains "
            f"on; got {sizes!r}."
        )
    return found


def _order(
    data: Any,
    rows: NDArray[Any],
    units: NDArray[Any],
    classify: bool,
    rng: np.random.RandomState,
) -> NDArray[Any]:
    """Order the units of a fold so that the first ones have all classes."""
    names, unit = np.unique(units[rows], return_inverse=True)
    order = rng.permutation(len(names))
    if not classify:
        return names[order]
    classes, codes = np.unique(data.labels(data.mask_of(rows)), return_inverse=True)
    codes = codes[np.argsort(np.argsort(rows))]
    known = np.zeros((len(names), len(classes)), dtype=bool)
    known[unit, codes] = True
    # a unit counts for its rarest class; the classes come by their shares
    rare = np.where(known, known.sum(axis=0), len(names) + 1).argmin(axis=1)[order]
    place = np.empty(len(names))
    for c in range(len(classes)):
        own = rare == c
        place[own] = np.arange(own.sum()) / max(own.sum(), 1)
    order = order[np.argsort(place, kind="stable")]
    first, seen = [], np.zeros(len(classes), dtype=bool)
    for k in order:  # one of every class first
        if (known[k] & ~seen).any():
            first.append(k)
            seen |= known[k]
    rest = order[~np.isin(order, first)]
    return names[np.concatenate([np.array(first, dtype=int), rest])]


def _differences(
    estimator: Any,
    baseline: Any,
    data: Any,
    params: dict[str, Any],
    units: NDArray[Any],
    goal: NDArray[Any],
    train: NDArray[Any],
    test: NDArray[Any],
    order: NDArray[Any],
    sizes: NDArray[Any],
    loss: str,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Loss with the sources less that without, at every size, for each test row."""
    labeled = data.is_labeled_target[train]
    X, columns = take_rows(data.X, test), []
    for size in sizes:
        rows = train[~labeled | np.isin(units[train], order[:size])]
        part, handed = data.take(rows), slice_params(params, data.mask_of(rows))
        pair = (
            fit_target_only(baseline, part, handed),
            fit_transfer(estimator, part, handed),
        )
        without, with_sources, guesses = _row_losses(pair, X, goal[test], loss)
        columns.append(with_sources - without)
    return np.column_stack(columns), guesses


def _row_losses(
    pair: tuple[Any, Any], X: Any, y: Any, loss: str
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return the losses of both models, and by how much they can differ."""
    if loss == "zero_one":
        answers = [np.asarray(m.predict(X)) for m in pair]
        losses = [(answer != y).astype(np.float64) for answer in answers]
        return *losses, (answers[0] != answers[1]).astype(np.float64)
    if loss == "deviance":
        goal = y.reshape(len(y), -1).astype(np.float64)
        answers = [np.asarray(m.predict(X)).reshape(goal.shape) for m in pair]
        power = deviance_power(pair[1])
        losses = [unit_deviance(goal, m, power).mean(axis=1) for m in answers]
        return *losses, np.full(len(y), np.nan)  # how far they can differ is not known
    if loss == "squared":
        goal = y.reshape(len(y), -1).astype(np.float64)
        answers = [np.asarray(m.predict(X)).reshape(goal.shape) for m in pair]
        scale = 1 / goal.shape[1]
    else:
        classes = all_classes(pair, y)
        goal, scale = (y[:, None] == classes).astype(np.float64), 1.0
        answers = [
            align_classes(m.predict_proba(X), m.classes_, classes, 0.0) for m in pair
        ]
    losses = [scale * np.sum((answer - goal) ** 2, axis=1) for answer in answers]
    return *losses, scale * np.sum((answers[1] - answers[0]) ** 2, axis=1)


def _spread(sizes: NDArray[Any], deviations: NDArray[Any]) -> NDArray[Any]:
    """Fit a power law to the deviations; the exponent is from -1/2 to 0."""
    if not (deviations > 0).all():
        return np.array([float(deviations[-1]), 0.0])
    exponent = float(np.polyfit(np.log(sizes), np.log(deviations), 1)[0])
    exponent = min(max(exponent, -0.5), 0.0)
    return np.array([deviations[-1] / sizes[-1] ** exponent, exponent])
