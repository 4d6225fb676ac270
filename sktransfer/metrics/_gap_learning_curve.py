"""How the negative transfer gap changes with more labels of the target."""

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from scipy import special, stats
from sklearn.base import is_classifier
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed

from sktransfer._compat import Interval, StrOptions, validate_params
from sktransfer._domains import check_domains, take_rows
from sktransfer._folds import target_folds
from sktransfer._learners import HasLearnerMethods
from sktransfer._response import align_classes, all_classes
from sktransfer.base import as_rows
from sktransfer.exceptions import UnlabeledTargetError
from sktransfer.metrics._pair import (
    check_pair,
    fit_target_only,
    fit_transfer,
    takes_unlabeled_sources,
)

__all__ = ["GapLearningCurve", "gap_learning_curve"]

_DRAWS = 2000
_RATES = (0.5, 1.0, 1.5, 2.0)
#: variance of the mean over rows that share training sets, by that of independent ones
_SHARED = 2.0
#: labels beyond which nobody goes on
_MOST = 1_000_000
_SHARE = [Interval(Real, 0, 1, closed="neither")]
_SIZE = [Interval(Real, 0, None, closed="neither")]


def _check(**constraints):
    return validate_params(constraints, prefer_skip_nested_validation=True)


@dataclass(frozen=True, eq=False)
class GapLearningCurve:
    r"""The gap as a function of the number of labels, with its uncertainty.

    Parameters
    ----------
    sizes : ndarray of shape (n_sizes,)
        Numbers of labels that were tried.
    gaps : ndarray of shape (n_sizes,)
        Mean loss with the sources less that without; positive: the sources hurt.
    standard_errors : ndarray of shape (n_sizes,)
        Standard errors of the gaps.
    rates : ndarray of shape (n_rates,)
        Exponents r of the curves :math:`g_\infty + c\, m^{-r}`.
    weights : ndarray of shape (n_rates,)
        Their posterior probabilities.
    coefs : ndarray of shape (n_rates, 2)
        Limit :math:`g_\infty` and slope c of each.
    covariances : ndarray of shape (n_rates, 2, 2)
        Their covariances.
    spread : ndarray of shape (2,)
        Standard deviation of the difference of one row at m labels:
        ``spread[0] * m ** spread[1]``.
    n_labeled : int
        Number of labels that there are.

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

    @_check(n_labels=_SIZE, confidence=_SHARE)
    def predict(self, n_labels, confidence=0.95):
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
            The expected gap, averaged over the exponents.
        interval : tuple of (float, float)
            Quantiles over draws of exponent, limit and slope.
        """
        gap = float(self.weights @ self._at(n_labels, self.rates, self.coefs))
        return gap, self._interval(self._at(n_labels, *self._draws()), confidence)

    @_check(confidence=_SHARE)
    def break_even(self, confidence=0.95):
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

    @_check(n_labels=_SIZE, confidence=_SHARE)
    def decision_probability(self, n_labels, confidence=0.95):
        """Predict how probable a clear answer with so many labels is.

        Parameters
        ----------
        n_labels : float
            Number of labeled target rows.
        confidence : float in (0, 1), default=0.95
            Coverage of the interval of the gap that is to exclude 0.

        Returns
        -------
        probability : float
            Mean over draws of the curve of the power at its gap.
        """
        gaps = np.abs(self._at(n_labels, *self._draws()))
        error = self.spread[0] * n_labels ** self.spread[1] / np.sqrt(n_labels)
        if error == 0:
            return float(np.mean(gaps > 0))
        least = stats.t.ppf((1 + confidence) / 2, max(n_labels - 1, 1))
        return float(stats.norm.cdf(gaps / error - least).mean())

    @_check(probability=_SHARE, confidence=_SHARE)
    def labels_needed(self, probability=0.8, confidence=0.95):
        """Count the labels with which a clear answer is this probable.

        Parameters
        ----------
        probability : float in (0, 1), default=0.8
            The probability.
        confidence : float in (0, 1), default=0.95
            Coverage of the interval of the gap that is to exclude 0.

        Returns
        -------
        n_labels : float
            The least number of labels in total, at least those that there are;
            infinity if no number up to a million is enough, as where the gap
            vanishes as fast as its error.
        """
        sizes = np.unique(
            np.geomspace(self.n_labeled, max(_MOST, self.n_labeled), 300).round()
        )
        for size in sizes:
            if self.decision_probability(size, confidence) >= probability:
                return float(size)
        return float(np.inf)

    @staticmethod
    def _at(n_labels, rates, coefs):
        return coefs[:, 0] + coefs[:, 1] * float(n_labels) ** -rates

    @staticmethod
    def _interval(draws, confidence):
        tails = [(1 - confidence) / 2, (1 + confidence) / 2]
        low, high = np.quantile(draws, tails, method="inverted_cdf")
        return float(low), float(high)

    def _draws(self):
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

    def _crossings(self, rates, coefs):
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
        "loss": [StrOptions({"auto", "zero_one", "brier", "squared"})],
        "rate": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "target_estimator": [HasLearnerMethods(["fit", "predict"]), None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def gap_learning_curve(
    estimator,
    X,
    y,
    *,
    sample_domain,
    sizes=None,
    cv=5,
    n_repeats=5,
    loss="auto",
    rate="auto",
    target_estimator=None,
    n_jobs=None,
    random_state=0,
):
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
    y : array-like of shape (n_samples,)
        Labels, missing on the unlabeled target rows.
    sample_domain : array-like of shape (n_samples,)
        Positive ids for sources, negative for the target.
    sizes : array-like of int, default=None
        Two or more numbers of labels to fit to. None: 0.4, 0.55, 0.75 and 1 times the
        labels that a fold trains on.
    cv : int, default=5
        Number of folds of the labeled target rows.
    n_repeats : int, default=5
        How often the rows are dealt to the folds, and drawn for each size.
    loss : {"auto", "zero_one", "brier", "squared"}, default="auto"
        Loss of a row. "auto": the squared error, or whether the class is wrong;
        "brier": the squared distance of the probabilities from the class.
    rate : {"auto"} or float in (0, inf), default="auto"
        The gap approaches its limit as ``m ** -rate``. "auto": 1/2, 1, 3/2 and 2, each
        with its posterior probability.
    target_estimator : estimator, default=None
        What to compare with, if not ``estimator`` without its sources.
    n_jobs : int, default=None
        Number of folds that are fitted in parallel.
    random_state : int, RandomState instance or None, default=0
        Deals the rows.

    Returns
    -------
    curve : GapLearningCurve
        With ``predict(n_labels)``, ``break_even()``, ``decision_probability(n_labels)``
        and ``labels_needed()``.

    Raises
    ------
    UnlabeledTargetError
        If the labeled target rows are too few for two sizes.
    ValueError
        If ``sizes`` do not fit the folds.

    See Also
    --------
    cross_val_ntg : The gap with the labels that there are.
    query_target : Which rows to label.

    Notes
    -----
    The expected loss of a parametric model falls with :math:`1/m` toward its limit,
    with the sources and without, and so does the gap:

    .. math:: g(m) = g_\infty + c\, m^{-r},

    faster as long as the labels are few for the features. Curves of several exponents
    are fitted by generalized least squares and weighed by their marginal likelihoods.
    The limit has the prior :math:`N(0, g(n)^2)`, with the gap at the largest size:
    sources of a given size matter less and less.

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
        unlabeled_sources=takes_unlabeled_sources(estimator),
    )  # fmt: skip
    loss = _check_loss(loss, classify, estimator)
    rng = check_random_state(random_state)
    tasks = []
    for _ in range(n_repeats):
        folds = target_folds(data, cv, stratify=classify, random_state=rng)
        least = min(
            (int(data.is_labeled_target[train].sum()) for train, _ in folds), default=0
        )
        n_classes = len(np.unique(data.y_labeled)) if classify else 1
        numbers = _check_sizes(sizes, least, n_classes)
        for train, test in folds:
            order = _order(data, train, classify, rng)
            tasks.append((train, test, order))
    losses = Parallel(n_jobs=n_jobs)(
        delayed(_differences)(estimator, baseline, data, *task, numbers, loss)
        for task in tasks
    )
    rows = np.concatenate([test for _, test, _ in tasks])
    values = np.concatenate(losses)
    tested, position = np.unique(rows, return_inverse=True)
    counts = np.bincount(position)
    each = np.array([
        np.bincount(position, weights=column) / counts for column in values.T
    ]).T  # fmt: skip
    n = len(tested)
    rates = np.array(_RATES if rate == "auto" else [float(rate)])
    weights, coefs, covariances = _fit_curves(numbers, each, rates)
    deviations = values.std(axis=0)
    return GapLearningCurve(
        sizes=numbers,
        gaps=each.mean(axis=0),
        standard_errors=each.std(axis=0, ddof=1) / np.sqrt(n),
        rates=rates,
        weights=weights,
        coefs=coefs,
        covariances=covariances,
        spread=_spread(numbers, deviations),
        n_labeled=data.n_labeled,
    )


def _fit_curves(sizes, each, rates):
    """Fit a curve of each exponent by generalized least squares with a prior."""
    n, S = each.shape
    mean, noise = each.mean(axis=0), _SHARED * np.cov(each.T).reshape(S, S) / n
    size = np.trace(noise) / S
    scale = float(np.sqrt(mean[-1] ** 2 + noise[-1, -1]))
    if size == 0:  # the models are the same
        zeros = np.zeros((len(rates), 2))
        return np.full(len(rates), 1 / len(rates)), zeros, np.zeros((len(rates), 2, 2))
    # sizes share rows: their differences have less noise, but not none
    precision = np.linalg.inv(0.9 * noise + 0.1 * size * np.eye(S))
    scores, coefs, covariances = [], [], []
    for rate in rates:
        unit = float(sizes[0]) ** rate
        design = np.column_stack([np.ones(S), unit * sizes.astype(float) ** -rate])
        prior = np.diag([1 / scale**2, 1 / (10 * scale + 10 * np.abs(mean).max()) ** 2])
        posterior = design.T @ precision @ design + prior
        covariance = np.linalg.inv(posterior)
        coef = covariance @ design.T @ precision @ mean
        residual = mean - design @ coef
        scores.append(
            -0.5 * (residual @ precision @ residual + coef @ prior @ coef)
            - 0.5 * (np.linalg.slogdet(posterior)[1] - np.linalg.slogdet(prior)[1])
        )
        units = np.array([1.0, unit])
        coefs.append(coef * units)
        covariances.append(covariance * np.outer(units, units))
    return special.softmax(scores), np.array(coefs), np.array(covariances)


def _check_loss(loss, classify, estimator):
    if loss == "auto":
        return "zero_one" if classify else "squared"
    if (loss == "squared") == classify:
        kind = "a classifier" if classify else "a regressor"
        raise ValueError(f"loss={loss!r} is no loss of {kind}.")
    if loss == "brier" and not hasattr(estimator, "predict_proba"):
        raise ValueError(
            f"loss='brier' needs predict_proba, which {estimator!r} lacks."
        )
    return loss


def _check_sizes(sizes, least, n_classes):
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


def _order(data, train, classify, rng):
    """Order the labeled target rows of a fold so that every prefix has all classes."""
    rows = train[data.is_labeled_target[train]]
    rows = rng.permutation(rows)
    if not classify:
        return rows
    labels = data.labels(data.mask_of(rows))[np.argsort(np.argsort(rows))]
    classes, codes = np.unique(labels, return_inverse=True)
    place = np.empty(len(rows))
    for c in range(len(classes)):
        own = codes == c
        place[own] = np.arange(own.sum()) / own.sum()  # 0: one of every class first
    return rows[np.argsort(place, kind="stable")]


def _differences(estimator, baseline, data, train, test, order, sizes, loss):
    """Loss with the sources less that without, at every size, for each test row."""
    others = train[~data.is_labeled_target[train]]
    X, y = take_rows(data.X, test), _labels_at(data, test)
    columns = []
    for size in sizes:
        rows = np.sort(np.concatenate([others, order[:size]]))
        part = data.take(rows)
        pair = fit_target_only(baseline, part, {}), fit_transfer(estimator, part, {})
        without, with_sources = _row_losses(pair, X, y, loss)
        columns.append(with_sources - without)
    return np.column_stack(columns)


def _labels_at(data, rows):
    """Return the labels of rows in the order of their indices."""
    labels = data.labels(data.mask_of(rows))
    return labels[np.argsort(np.argsort(rows))]


def _row_losses(pair, X, y, loss):
    if loss == "squared":
        return [(np.asarray(m.predict(X)).reshape(len(y)) - y) ** 2 for m in pair]
    if loss == "zero_one":
        return [(np.asarray(m.predict(X)) != y).astype(np.float64) for m in pair]
    classes = all_classes(pair, y)
    goal = (y[:, None] == classes).astype(np.float64)
    return [
        ((align_classes(m.predict_proba(X), m.classes_, classes, 0.0) - goal) ** 2).sum(
            axis=1
        )
        for m in pair
    ]


def _spread(sizes, deviations):
    """Fit a power law to the deviations; the exponent is from -1/2 to 0."""
    if not (deviations > 0).all():
        return np.array([float(deviations[-1]), 0.0])
    exponent = float(np.polyfit(np.log(sizes), np.log(deviations), 1)[0])
    exponent = min(max(exponent, -0.5), 0.0)
    return np.array([deviations[-1] / sizes[-1] ** exponent, exponent])
