"""Leave one domain out: the worth of an estimator in a domain it has not seen."""

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral

import numpy as np
from scipy import stats
from sklearn.base import clone, is_classifier
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import check_scoring
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed

from sktransfer._compat import Interval, _num_samples, validate_params
from sktransfer._domains import (
    TARGET_ID,
    DomainData,
    check_sample_domain,
    mark_unlabeled,
    missing_labels,
    take_rows,
)
from sktransfer._folds import check_groups
from sktransfer.base import fit_on_domains, get_transfer_tags, slice_params
from sktransfer.exceptions import DomainError, warn
from sktransfer.metrics._held_out import score_pair
from sktransfer.metrics._pair import check_knows_domains, handed_on, labels_to_score

__all__ = ["UnseenDomainResult", "cross_val_unseen_domain"]


@dataclass(frozen=True, eq=False)
class UnseenDomainResult:
    """Scores in domains that were left out in turn.

    Parameters
    ----------
    domains : ndarray of shape (n_domains,)
        Ids of the domains that were left out.
    n_calibration : ndarray of shape (n_sizes,)
        Numbers of their rows that kept their labels.
    scores : ndarray of shape (n_domains, n_sizes)
        Score of each domain, the mean of the repeats; NaN where the score is not
        defined.
    mean : ndarray of shape (n_sizes,)
        Mean over the domains that have a score: the curve over ``n_calibration``.
    interval : ndarray of shape (n_sizes, 2)
        95 % confidence interval of the mean, by a t over the domains; infinite with
        one domain.
    n_scored : ndarray of shape (n_domains,)
        Number of rows that were scored in each domain, the same for all sizes.
    """

    domains: np.ndarray
    n_calibration: np.ndarray
    scores: np.ndarray
    mean: np.ndarray
    interval: np.ndarray
    n_scored: np.ndarray


@validate_params(
    {
        "estimator": [object],
        "domains": ["array-like", None],
        "n_repeats": [Interval(Integral, 1, None, closed="left")],
        "params": [dict, None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def cross_val_unseen_domain(
    estimator,
    X,
    y,
    *,
    sample_domain,
    n_calibration=0,
    domains=None,
    scoring=None,
    groups=None,
    params=None,
    n_repeats=1,
    n_jobs=None,
    random_state=0,
):
    """Make each domain in turn the target and score it.

    All other domains are sources. The rows of the domain are the target; k of them keep
    their labels, the others are unlabeled in ``fit``.

    Parameters
    ----------
    estimator : estimator
        An estimator of this library, or a pipeline that ends in one.
    X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
        Rows of every domain.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Labels. Rows without one are never scored; those of a source are left out.
    sample_domain : array-like of shape (n_samples,)
        Domain of each row; signs do not matter here.
    n_calibration : int or array-like of int, default=0
        Numbers k of rows of the target that keep their labels. Larger sets hold the
        smaller ones. In classification the first rows are of different classes, so
        that ``k`` of them suffice for ``k`` classes.
    domains : array-like of int, default=None
        Domains to leave out; None: each of them.
    scoring : str, callable or None, default=None
        Scorer, higher is better. None: the score of the estimator.
    groups : array-like of shape (n_samples,), default=None
        Unit of each row, such as a patient. Whole units are drawn until they have k
        rows, so that more than k may keep their labels; rows of a unit are never
        fitted with a label and scored at once, in whatever domain they are.
    params : dict, default=None
        Further metadata for ``fit``, one entry per row, such as ``sample_weight``. With
        ``exposure`` rates are scored, each of the weight that its exposure amounts to.
    n_repeats : int, default=1
        How often calibration rows are drawn.
    n_jobs : int, default=None
        Number of fits in parallel.
    random_state : int, RandomState instance or None, default=0
        Draws the calibration rows.

    Returns
    -------
    result : UnseenDomainResult
        The curve over k and the scores behind it. The rows that are scored are the
        same for all k: those that are in no calibration set.

    Raises
    ------
    DomainError
        If there are fewer than two domains, or one has too few rows.
    ValueError
        If ``n_calibration`` holds negative numbers, or 0 for an estimator that needs
        labels of the target.
    TypeError
        If the estimator does not take `sample_domain`.

    Warns
    -----
    UndefinedMetricWarning
        If the score of a domain is not defined, such as the area under the curve of
        one class; the mean leaves it out.

    See Also
    --------
    sktransfer.preprocessing.DomainScaler : Puts unseen domains on a common scale.
    sktransfer.metrics.cross_val_ntg : Whether sources help where labels are at hand.

    Notes
    -----
    The unlabeled rows of the domain are in ``fit``, as they are when a model is fitted
    for a new site whose rows are at hand. Their labels are not.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from sktransfer.baselines import Pooled
    >>> from sktransfer.model_selection import cross_val_unseen_domain
    >>> rng = np.random.default_rng(0)
    >>> X, site = rng.normal(size=(120, 2)), np.repeat([1, 2, 3, 4], 30)
    >>> y = X[:, 0] + 0.1 * rng.normal(size=120)
    >>> result = cross_val_unseen_domain(
    ...     Pooled(Ridge()), X, y, sample_domain=site, n_calibration=[0, 5]
    ... )
    >>> result.scores.shape
    (4, 2)
    >>> bool((result.mean > 0.9).all())
    True
    """
    check_knows_domains(estimator)
    ids = check_sample_domain(sample_domain, _num_samples(X))
    if sample_domain is None:
        raise DomainError("sample_domain is None: it names the domains to leave out.")
    sizes = _check_sizes(n_calibration, estimator)
    missing = missing_labels(y)
    if len(missing) != len(ids):
        raise DomainError(f"y has {len(missing)} entries, but X has {len(ids)} rows.")
    names = np.unique(ids)
    if len(names) < 2:
        raise DomainError(
            "sample_domain names one domain: leaving it out leaves no source."
        )
    left_out = names if domains is None else np.asarray(domains)
    unknown = np.setdiff1d(left_out, names)
    if len(unknown):
        raise DomainError(
            f"domains names {unknown.tolist()}, which sample_domain does not hold."
        )
    classify = is_classifier(estimator)
    labels = y.to_numpy() if hasattr(y, "to_numpy") else np.asarray(y)
    everything = DomainData(X, labels, ids, ~missing)
    units = check_groups(groups, everything)
    units = np.arange(len(ids)) if units is None else units
    rng = check_random_state(random_state)
    tasks = []
    for domain in left_out:
        rows = np.flatnonzero((ids == domain) & ~missing)
        for _ in range(n_repeats):
            drawn = _draw(rows, labels, units, sizes, classify, rng)
            # the largest set holds the others; a unit in it may have further rows
            scored = rows[~np.isin(units[rows], units[drawn[-1]])]
            if not len(scored):
                raise DomainError(
                    f"Domain {domain} has {len(rows)} labeled rows, so that none is "
                    f"left to score beside {sizes.max()} calibration rows."
                )
            tasks += [(domain, kept, scored) for kept in drawn]
    check_scoring(estimator, scoring=scoring)
    results = Parallel(n_jobs=n_jobs)(
        delayed(_score)(estimator, everything, units, *task, scoring, params or {})
        for task in tasks
    )
    shape = (len(left_out), n_repeats, len(sizes))
    n_scored = np.array([len(scored) for _, _, scored in tasks]).reshape(shape)
    scores = np.reshape(results, shape).mean(axis=1)
    known = ~np.isnan(scores).any(axis=1)
    _check_defined(left_out, known)
    return UnseenDomainResult(
        left_out, sizes, scores, scores[known].mean(axis=0), _interval(scores[known]),
        n_scored[:, 0, 0],
    )  # fmt: skip


def _check_defined(domains, known):
    """Name the domains that have no score; an error if none has one."""
    if known.all():
        return
    lost = ", ".join(map(str, domains[~known]))
    reason = (
        f"The score of the domains {lost} is not defined, as that of one class or one "
        "row may be"
    )
    if not known.any():
        raise ValueError(
            f"{reason}, so that no domain is left: choose another scoring."
        )
    warn(
        f"{reason}: their scores are NaN, and the mean is that of the others. Choose "
        "another scoring, or leave them out by domains=.",
        UndefinedMetricWarning,
    )


def _check_sizes(n_calibration, estimator):
    sizes = np.atleast_1d(np.asarray(n_calibration))
    if sizes.ndim > 1 or sizes.dtype.kind not in "iu" or not sizes.size:
        raise ValueError(
            f"n_calibration must be one or several integers, got {n_calibration!r}."
        )
    if sizes.min() < 0:
        raise ValueError(f"n_calibration holds {sizes.min()}: use 0 or more.")
    needed = get_transfer_tags(estimator).target_labels == "required"
    if needed and sizes.min() == 0:
        raise ValueError(
            f"{type(estimator).__name__} needs labeled target rows, so n_calibration "
            "must be positive."
        )
    return np.unique(sizes)


def _draw(rows, labels, units, sizes, classify, rng):
    """Return nested sets of calibration rows, whole units, of at least these sizes."""
    order = rng.permutation(rows)
    if classify and labels.ndim == 1:
        # one row of each class first
        first = np.unique(labels[order].astype(str), return_index=True)[1]
        front = order[np.sort(first)]
        order = np.concatenate([front, order[~np.isin(order, front)]])
    # rows of a unit follow its first one
    _, first, unit = np.unique(units[order], return_index=True, return_inverse=True)
    order = order[np.argsort(first[unit], kind="stable")]
    ends = np.append(np.flatnonzero(np.diff(units[order])) + 1, len(order))
    ends = np.append(0, ends)
    return [order[: ends[ends >= size].min(initial=len(order))] for size in sizes]


def _score(estimator, data, units, domain, kept, scored, scoring, params):
    """Fit with the labels of ``kept`` rows and score others of the domain."""
    target = data.sample_domain == domain
    # sources need labels, and a unit that is scored must not be learned from
    leaks = np.isin(units, units[scored]) & ~target
    rows = target | (data.labeled & ~leaks)
    others = target.copy()
    others[kept] = False
    ids = np.where(target, TARGET_ID, _positive(data.sample_domain))
    if not (rows & ~target).any():
        raise DomainError(
            f"No labeled row of another domain than {domain} is left to learn from."
        )
    y = mark_unlabeled(data.y, others) if others.any() else data.y
    part = DomainData(
        take_rows(data.X, rows), y[rows], ids[rows], (data.labeled & ~others)[rows]
    )
    handed = slice_params(handed_on(estimator, {**params}), rows)
    with _naming(domain), warnings.catch_warnings():
        fitted = fit_on_domains(clone(estimator), part, **handed)
        # weights of the user are those of the fit
        exposure = {"exposure": params.get("exposure")}
        y, weight = labels_to_score(estimator, data, data.mask_of(scored), exposure)
        X = take_rows(data.X, scored)
        # said once, for all domains
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        if weight is None:
            return check_scoring(fitted, scoring=scoring)(fitted, X, y)
        return score_pair((fitted,), X, y, weight, scoring=scoring)[0].value


@contextmanager
def _naming(domain):
    """Say in an error which domain was left out."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        kind = type(error) if isinstance(error, DomainError) else kind
        raise kind(f"With domain {domain} left out: {error}") from error


def _positive(ids):
    """Return other ids for the same domains, all of them positive."""
    return np.unique(ids, return_inverse=True)[1] + 1


def _interval(scores):
    mean, n_domains = scores.mean(axis=0), len(scores)
    if n_domains < 2:
        return np.tile([-np.inf, np.inf], (len(mean), 1))
    scale = scores.std(axis=0, ddof=1) / np.sqrt(n_domains)
    t = stats.t.ppf(0.975, n_domains - 1)
    return np.column_stack([mean - t * scale, mean + t * scale])
