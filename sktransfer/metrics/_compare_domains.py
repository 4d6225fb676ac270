"""One table of every source against the target."""

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed

from sktransfer._compat import Interval, StrOptions, validate_params
from sktransfer._domains import check_domains
from sktransfer.exceptions import DomainError
from sktransfer.metrics._azab import azab_weights
from sktransfer.metrics._bregman import bregman
from sktransfer.metrics._checks import check_numbers, infer_task
from sktransfer.metrics._domain_classifier import proxy_a_distance
from sktransfer.metrics._feature_correlation import feature_correlation
from sktransfer.metrics._gaussian import coral_distance, gaussian_kl
from sktransfer.metrics._hsic import hsic
from sktransfer.metrics._label_informed import label_informed_divergence
from sktransfer.metrics._mmd import mmd
from sktransfer.metrics._q_statistic import q_statistic
from sktransfer.metrics._rank_of_domain import rank_of_domain
from sktransfer.metrics._scatter import domain_transferability_estimation
from sktransfer.metrics._transport import (
    sinkhorn_divergence,
    sliced_wasserstein,
    wasserstein,
)


def _on_rows(function: Callable[..., Any]) -> Callable[..., Any]:
    """Lift a function of source and target rows to the common form."""
    return lambda source, target, seed: function(source[0], target[0])


def _seeded(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda source, target, seed: function(
        source[0], target[0], random_state=seed
    )


def _domain_hsic(X_source: NDArray[Any], X_target: NDArray[Any]) -> float:
    domain = np.repeat([0, 1], [len(X_source), len(X_target)])
    return hsic(np.vstack([X_source, X_target]), domain)


def _dte(
    source: tuple[NDArray[Any], NDArray[Any]],
    target: tuple[NDArray[Any], NDArray[Any]],
    seed: int,
) -> float:
    return domain_transferability_estimation(*source, target[0])


def _label_informed(
    source: tuple[NDArray[Any], NDArray[Any]],
    target: tuple[NDArray[Any], NDArray[Any]],
    seed: int,
) -> float:
    return label_informed_divergence(*source, *target, random_state=seed)


def _model_q(
    source: tuple[NDArray[Any], NDArray[Any]],
    target: tuple[NDArray[Any], NDArray[Any]],
    seed: int,
) -> float:
    """Q statistic of a source model and a cross-validated target model."""
    X, y = target
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    target_predictions = cross_val_predict(model, X, y, cv=3)
    return q_statistic(y, model.fit(*source).predict(X), target_predictions)


# name: (function of one source, whether large means similar)
MEASURES = {
    "mmd": (_on_rows(mmd), False),
    "coral_distance": (_on_rows(coral_distance), False),
    "proxy_a_distance": (_seeded(proxy_a_distance), False),
    "wasserstein": (_on_rows(wasserstein), False),
    "sinkhorn_divergence": (_on_rows(sinkhorn_divergence), False),
    "sliced_wasserstein": (_seeded(sliced_wasserstein), False),
    "gaussian_kl": (_on_rows(gaussian_kl), False),
    "bregman": (_on_rows(bregman), False),
    "hsic": (_on_rows(_domain_hsic), False),
    "rank_of_domain": (_on_rows(rank_of_domain), False),
    "feature_correlation": (_on_rows(feature_correlation), True),
    "domain_transferability_estimation": (_dte, True),
    "label_informed_divergence": (_label_informed, False),
    "q_statistic": (_model_q, True),
    "azab_weights": (None, True),
}
# measures of source labels alone, and of labels of source and target
SOURCE_LABELS = {"domain_transferability_estimation"}
TARGET_LABELS = {"label_informed_divergence", "q_statistic", "azab_weights"}
_DEFAULT = ("mmd", "coral_distance", "proxy_a_distance", "wasserstein", "gaussian_kl")


@validate_params(
    {
        "X": ["array-like"],
        "y": ["array-like", None],
        "sample_domain": ["array-like"],
        "measures": [StrOptions({"all"}), list, tuple, None],
        "task": [StrOptions({"auto", "classification", "regression"})],
        "n_bootstrap": [Interval(Integral, 0, None, closed="left")],
        "confidence_level": [Interval(Real, 0, 1, closed="neither")],
        "max_samples": [Interval(Integral, 2, None, closed="left"), None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def compare_domains(
    X: Any,
    y: Any,
    sample_domain: Any,
    *,
    measures: Any = None,
    task: str = "auto",
    n_bootstrap: int = 20,
    confidence_level: Any = 0.95,
    max_samples: int | None = 500,
    n_jobs: int | None = None,
    random_state: Any = None,
) -> dict[str, Any]:
    r"""Compare every source with the target by several measures.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Rows of every domain.
    y : array-like of shape (n_samples,) or None
        Classes, with markers on the unlabeled target rows. None: only measures of the
        features.
    sample_domain : array-like of shape (n_samples,)
        Positive ids for sources, negative for the target.
    measures : list of str, "all" or None, default=None
        Names of functions of this package: "mmd", "coral_distance",
        "proxy_a_distance", "wasserstein", "gaussian_kl" (these are meant by None),
        "sinkhorn_divergence", "sliced_wasserstein", "bregman", "hsic" (of the rows
        and their domain), "rank_of_domain", "feature_correlation",
        "domain_transferability_estimation" (needs `y`), and, where target rows are
        labeled, "label_informed_divergence", "q_statistic" (of logistic regressions
        of the source and, out of fold, of the target) and "azab_weights". "all": all
        that the labels at hand allow.
    task : {"auto", "classification", "regression"}, default="auto"
        Whether `y` holds classes, which the measures of labels compare. "auto" tells
        it by the labels where they leave no doubt, else it is an error that asks.
    n_bootstrap : int, default=20
        Number of bootstrap samples of the rows of each domain for the standard
        errors; 0: none.
    confidence_level : float in (0, 1), default=0.95
        Level of the intervals.
    max_samples : int or None, default=500
        A domain with more rows is replaced by a random sample of this size. None: all
        rows; transport then takes time cubic in their number.
    n_jobs : int or None, default=None
        Number of parallel jobs over measures and bootstrap samples.
    random_state : int, RandomState instance or None, default=None
        Seed of the samples.

    Returns
    -------
    table : dict of ndarrays
        One entry per source and measure, ready for ``pandas.DataFrame(table)``:
        "source" (id), "measure", "value", "std_error", "low", "high",
        "larger_is_similar", and "note", the reason why a value is NaN.

    Raises
    ------
    DomainError
        If there is no source, or several targets.

    Notes
    -----
    The interval is the value plus and minus the normal quantile times the bootstrap
    standard error: a percentile interval would be off, as resampled rows raise every
    distance.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.metrics import compare_domains
    >>> rng = np.random.RandomState(0)
    >>> domain = np.repeat([1, 2, -1], 40)
    >>> shift = np.repeat([0.0, 5.0, 0.0], 40)
    >>> X = rng.normal(size=(120, 2)) + shift[:, None]
    >>> table = compare_domains(X, None, domain, measures=["mmd"], random_state=0)
    >>> table["source"], table["value"].round(1)
    (array([1, 2]), array([0. , 1.5]))
    """
    X = check_numbers(X)
    numeric = True if task == "regression" else None
    data = check_domains(X, y, sample_domain, numeric_labels=numeric)
    if not data.n_source or len(data.targets) > 1:
        raise DomainError(
            f"sample_domain names {len(data.sources)} sources and {len(data.targets)} "
            "targets; at least one source and exactly one target are needed."
        )
    names = _names(measures, data, task)
    rng = check_random_state(random_state)
    domains = _domains(data, max_samples, rng)
    seeds = rng.randint(np.iinfo(np.int32).max, size=n_bootstrap + 1)
    tasks = [(name, b) for name in names for b in range(n_bootstrap + 1)]
    results = Parallel(n_jobs=n_jobs)(
        delayed(_evaluate)(name, domains, seeds[b], resample=b > 0) for name, b in tasks
    )
    shape = (len(names), n_bootstrap + 1, len(data.sources))
    values = np.array([value for value, _ in results]).reshape(shape)
    notes = [results[k * (n_bootstrap + 1)][1] for k in range(len(names))]
    return _table(names, data.sources, values, notes, confidence_level)


def _names(measures: Any, data: Any, task: str) -> list[str]:
    if measures is None:
        return list(_DEFAULT)
    allowed, lack = set(MEASURES), "needs labels that y does not give"
    of_labels = SOURCE_LABELS | TARGET_LABELS
    asked = of_labels if isinstance(measures, str) else of_labels & set(measures)
    if data.y is not None and asked and task == "auto":
        ask = "task='classification' or task='regression'"
        task = infer_task(data.labels(data.labeled), argument=ask)
    if data.y is None:
        allowed -= of_labels
    elif task == "regression":
        allowed -= of_labels
        lack = "compares classes, but y holds values"
    elif not data.n_labeled:
        allowed -= TARGET_LABELS
    if isinstance(measures, str):
        return [name for name in MEASURES if name in allowed]
    unknown = [name for name in measures if name not in MEASURES]
    if unknown:
        raise ValueError(
            f"measures holds {unknown[0]!r}; known are {', '.join(MEASURES)}."
        )
    lacking = [name for name in measures if name not in allowed]
    if lacking:
        raise ValueError(f"measures={lacking[0]!r} {lack}.")
    return list(measures)


def _domains(
    data: Any, max_samples: int | None, rng: np.random.RandomState
) -> tuple[
    list[tuple[NDArray[Any], NDArray[Any]]],
    tuple[NDArray[Any], NDArray[Any]],
    tuple[NDArray[Any], NDArray[Any]],
]:
    """Return ``(X, y)`` of each source, of the target, and of its labeled rows.

    The labeled rows are a sample of their own: of many rows with few labels a common
    sample would hold hardly any.
    """

    def sample(mask: NDArray[np.bool_]) -> NDArray[Any]:
        rows = np.flatnonzero(mask)
        if max_samples is None or len(rows) <= max_samples:
            return rows
        return np.sort(rng.choice(rows, max_samples, replace=False))

    y = np.zeros(len(data.X), dtype=int) if data.y is None else data.y
    samples = [sample(data.rows_of(source)) for source in data.sources]
    samples += [sample(data.is_target), sample(data.is_labeled_target)]
    *sources, target, labeled = ((data.X[rows], y[rows]) for rows in samples)
    return sources, target, labeled


def _evaluate(
    name: str,
    domains: tuple[
        list[tuple[NDArray[Any], NDArray[Any]]],
        tuple[NDArray[Any], NDArray[Any]],
        tuple[NDArray[Any], NDArray[Any]],
    ],
    seed: int,
    *,
    resample: bool,
) -> tuple[list[float], list[str]]:
    """Return the values for all sources and notes on those that are undefined."""
    sources, target, labeled = domains
    if name in TARGET_LABELS:
        target = labeled
    if resample:
        rng = np.random.RandomState(seed)
        sources = [_resampled(source, rng) for source in sources]
        target = _resampled(target, rng)
    if name == "azab_weights":
        try:
            weights = azab_weights(sources, *target)
        except ValueError as error:
            return [np.nan] * len(sources), [str(error)] * len(sources)
        return list(weights), [""] * len(sources)
    function: Any = MEASURES[name][0]
    values, notes = [], []
    for source in sources:
        try:
            values.append(function(source, target, seed))
            notes.append("")
        except ValueError as error:
            values.append(np.nan)
            notes.append(str(error))
    return values, notes


def _resampled(
    domain: tuple[NDArray[Any], NDArray[Any]], rng: np.random.RandomState
) -> tuple[NDArray[Any], ...]:
    rows = rng.randint(len(domain[0]), size=len(domain[0]))
    return tuple(part[rows] for part in domain)


def _table(
    names: list[str],
    sources: NDArray[Any],
    values: NDArray[Any],
    notes: list[list[str]],
    confidence_level: float,
) -> dict[str, Any]:
    """Lay out values of shape (n_measures, 1 + n_bootstrap, n_sources)."""
    value, replicates = values[:, 0], values[:, 1:]
    std_error = np.full(value.shape, np.nan)
    enough = np.isfinite(replicates).sum(axis=1) >= 2
    if enough.any():
        finite = np.where(np.isfinite(replicates), replicates, np.nan)
        columns = finite.transpose(0, 2, 1)[enough]
        std_error[enough] = np.nanstd(columns, axis=1, ddof=1)
    half = norm.ppf((1 + confidence_level) / 2) * std_error
    n_measures, n_sources = value.shape
    larger = np.array([MEASURES[name][1] for name in names])
    return {
        "source": np.tile(sources, n_measures),
        "measure": np.repeat(np.array(names, dtype=object), n_sources),
        "value": value.ravel(),
        "std_error": std_error.ravel(),
        "low": (value - half).ravel(),
        "high": (value + half).ravel(),
        "larger_is_similar": np.repeat(larger, n_sources),
        "note": np.array([note for row in notes for note in row], dtype=object),
    }
