r"""The negative transfer gap: what the sources cost on the target."""

from numbers import Integral, Real

import numpy as np
from scipy import stats
from sklearn.base import clone, is_classifier
from sklearn.metrics import check_scoring, get_scorer_names
from sklearn.pipeline import Pipeline
from sklearn.utils import Bunch
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_params,
)
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from sktransfer._domains import check_domains, check_scorable, take_rows
from sktransfer._folds import target_folds
from sktransfer.base import fit_on_domains, slice_params, without_sources
from sktransfer.exceptions import UnlabeledTargetError

__all__ = ["cross_val_ntg", "make_ntg_scorer", "negative_transfer_gap"]

_SCORING = [StrOptions(set(get_scorer_names())), callable, None]


@validate_params(
    {
        "transfer": [HasMethods("fit")],
        "target_only": [HasMethods("fit")],
        "X": ["array-like", "sparse matrix"],
        "y": ["array-like"],
        "scoring": _SCORING,
    },
    prefer_skip_nested_validation=True,
)
def negative_transfer_gap(transfer, target_only, X, y, *, scoring=None):
    r"""Compute the negative transfer gap of two fitted estimators on target rows.

    Parameters
    ----------
    transfer : estimator
        Fitted on sources and target, :math:`\theta(S,T)`.
    target_only : estimator
        The same algorithm fitted without the sources, :math:`\theta(0,T)`.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Target rows that neither was fitted on.
    y : array-like of shape (n_samples,)
        Their labels; a marker of a missing label is an error, because the gap on an
        unlabeled target is not defined.
    scoring : str, callable or None, default=None
        Scorer, higher is better. None: the ``score`` method of the estimators.

    Returns
    -------
    ntg : float
        Units of ``scoring``. Positive: the sources hurt.

    Raises
    ------
    UnlabeledTargetError
        If a row of ``y`` carries a marker.

    See Also
    --------
    cross_val_ntg : Estimate the gap, with an interval, by cross-validation.
    make_ntg_scorer : The gap as a scorer for a model search.

    Notes
    -----
    With the error :math:`\varepsilon_T` (the negated score),

    .. math:: \mathrm{NTG} = \varepsilon_T(\theta(S,T)) - \varepsilon_T(\theta(0,T)).

    References
    ----------
    Z. Wang, Z. Dai, B. Poczos, J. Carbonell. Characterizing and avoiding negative
    transfer. CVPR 2019. https://doi.org/10.1109/CVPR.2019.01155

    Examples
    --------
    >>> from sklearn.dummy import DummyRegressor
    >>> from sktransfer.metrics import negative_transfer_gap
    >>> transfer = DummyRegressor(strategy="constant", constant=3.0).fit([[0]], [0])
    >>> target_only = DummyRegressor(strategy="constant", constant=1.0).fit([[0]], [0])
    >>> error = "neg_mean_absolute_error"
    >>> X, y = [[0.0], [0.0]], [1.0, 2.0]
    >>> negative_transfer_gap(transfer, target_only, X, y, scoring=error)
    1.0
    """
    check_scorable(y, getattr(target_only, "classes_", None))
    score = check_scoring(transfer, scoring=scoring)
    score_0 = check_scoring(target_only, scoring=scoring)
    return float(score_0(target_only, X, y) - score(transfer, X, y))


@validate_params(
    {
        "estimator": [HasMethods(["fit", "predict"])],
        "X": ["array-like", "sparse matrix"],
        "y": ["array-like"],
        "sample_domain": ["array-like", Integral],
        "cv": ["cv_object"],
        "scoring": _SCORING,
        "target_estimator": [HasMethods(["fit", "predict"]), None],
        "confidence_level": [Interval(Real, 0, 1, closed="neither")],
        "params": [dict, None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def cross_val_ntg(
    estimator,
    X,
    y,
    *,
    sample_domain,
    cv=5,
    scoring=None,
    target_estimator=None,
    confidence_level=0.95,
    params=None,
    n_jobs=None,
    random_state=None,
):
    r"""Estimate the negative transfer gap of an estimator by cross-validation.

    :math:`\theta(S,T)` and :math:`\theta(0,T)` are fitted on the same folds. Only
    labeled target rows are tested on; source rows and unlabeled target rows are in
    every training fold (:math:`\theta(0,T)` gets no source row).

    Parameters
    ----------
    estimator : estimator
        An estimator of this library, or a pipeline that ends in one. It is cloned.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows of every domain, in any order.
    y : array-like of shape (n_samples,)
        Labels, with markers on the unlabeled target rows.
    sample_domain : array-like of shape (n_samples,)
        Positive ids for sources, negative for the target.
    cv : int, splitter or iterable, default=5
        With an int the labeled target rows are dealt to that many folds, sorted by
        label so that each fold has rows of all classes (or small and large values);
        the order of the rows does not matter. A class with a single labeled row is
        never held out. A splitter that takes ``sample_domain``, or an iterable of
        ``(train, test)`` indices, splits all rows; any other splitter of
        scikit-learn is applied to the labeled target rows.
    scoring : str, callable or None, default=None
        Scorer, higher is better. None: the ``score`` method of the estimator.
    target_estimator : estimator, default=None
        What to compare with, if not ``estimator`` without its sources.
    confidence_level : float in (0, 1), default=0.95
        Coverage of the interval.
    params : dict, default=None
        Metadata for ``fit``, one entry per row.
    n_jobs : int, default=None
        Number of folds that are fitted in parallel.
    random_state : int, RandomState instance or None, default=None
        Deals the rows to the folds when ``cv`` is an int.

    Returns
    -------
    result : :class:`~sklearn.utils.Bunch`
        With the keys

        ntg : float
            Mean gap over the folds. Positive: the sources hurt.
        interval : ndarray of shape (2,)
            Confidence interval of ``ntg``; infinite with one fold.
        gaps : ndarray of shape (n_splits,)
            Gap of every fold.
        transfer_scores, target_only_scores : ndarray of shape (n_splits,)
            Scores of :math:`\theta(S,T)` and :math:`\theta(0,T)`.

    Raises
    ------
    DomainError
        If the rows break the domain contract.
    UnlabeledTargetError
        If the labeled target rows are too few to hold some out.

    See Also
    --------
    negative_transfer_gap : The gap of two fitted estimators.

    Notes
    -----
    The interval is the corrected resampled t of Nadeau and Bengio: with the mean
    :math:`\bar g` and variance :math:`s^2` of :math:`J` gaps, and test folds that are
    :math:`\rho` times as large as the labeled target part of their training folds,

    .. math:: \bar g \pm t_{J-1} \sqrt{(1/J + \rho) s^2}.

    The term :math:`\rho` stands for the overlap of the training folds. A bootstrap of
    the test rows would hold the fitted models fixed and so leave out the variance
    that dominates with few labels, and it needs scores that are means over rows;
    this interval takes any score.

    The training folds are smaller than the data, which weakens
    :math:`\theta(0,T)` more than :math:`\theta(S,T)`: with very few labels the
    estimate leans towards transfer.

    References
    ----------
    C. Nadeau, Y. Bengio. Inference for the generalization error. Machine Learning 52
    (2003). https://doi.org/10.1023/A:1024068626366

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from sktransfer.baselines import Pooled
    >>> from sktransfer.metrics import cross_val_ntg
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 2))
    >>> domain = np.repeat([1, -1], 30)
    >>> y = X[:, 0] * np.where(domain > 0, -1.0, 1.0)  # the source is reversed
    >>> result = cross_val_ntg(Pooled(Ridge()), X, y, sample_domain=domain)
    >>> bool(result.interval[0] > 0)
    True
    """
    data = check_domains(
        X, y, sample_domain, numeric_labels=not is_classifier(estimator)
    )
    baseline = without_sources(
        estimator if target_estimator is None else target_estimator
    )
    folds = target_folds(
        data, cv, stratify=is_classifier(estimator), random_state=random_state
    )
    if not folds:
        raise UnlabeledTargetError(
            "The gap needs labeled target rows to hold out, but y labels "
            f"{data.n_labeled} row(s), or one row per class. Label more target rows."
        )
    scores = Parallel(n_jobs=n_jobs)(
        delayed(_score_fold)(
            estimator, baseline, data, train, test, scoring, params or {}
        )
        for train, test in folds
    )
    transfer, target_only = np.transpose(scores)
    if not np.isfinite(scores).all():
        raise ValueError(
            f"scoring={scoring!r} is not finite on a fold with "
            f"{min(len(test) for _, test in folds)} labeled target rows. Lower cv, or "
            "use a score that is defined on so few rows."
        )
    gaps = target_only - transfer
    sizes = [(len(test), data.is_labeled_target[train].sum()) for train, test in folds]
    interval = corrected_resampled_t(gaps, sizes, confidence_level)
    return Bunch(
        ntg=float(gaps.mean()),
        interval=interval,
        gaps=gaps,
        transfer_scores=transfer,
        target_only_scores=target_only,
    )


def corrected_resampled_t(gaps, sizes, confidence_level):
    """Return Nadeau and Bengio's interval for the mean of cross-validated gaps.

    Parameters
    ----------
    gaps : ndarray of shape (n_splits,)
        One gap per fold.
    sizes : list of (int, int)
        Number of test rows and of training rows in each fold.
    confidence_level : float in (0, 1)
        Coverage.

    Returns
    -------
    interval : ndarray of shape (2,)
        Lower and upper limit.
    """
    n_splits = len(gaps)
    if n_splits < 2:
        return np.array([-np.inf, np.inf])
    ratio = np.mean([n_test / max(n_train, 1) for n_test, n_train in sizes])
    scale = np.sqrt((1 / n_splits + ratio) * np.var(gaps, ddof=1))
    t = stats.t.ppf((1 + confidence_level) / 2, n_splits - 1)
    return gaps.mean() + np.array([-1.0, 1.0]) * t * scale


def _score_fold(estimator, baseline, data, train, test, scoring, params):
    """Return the scores of theta(S,T) and theta(0,T) on one fold."""
    rows, X_test = data.take(train), take_rows(data.X, test)
    y_test = data.labels(test)
    in_fold = np.zeros(len(data.sample_domain), dtype=bool)
    in_fold[train] = True
    params = slice_params(params, in_fold)
    transfer = fit_on_domains(clone(estimator), rows, **params)
    target_only = fit_on_domains(
        clone(baseline),
        rows.without_sources(),
        **slice_params(params, rows.is_target),
    )
    return [
        check_scoring(fitted, scoring=scoring)(fitted, X_test, y_test)
        for fitted in (transfer, target_only)
    ]


@validate_params({"scoring": _SCORING}, prefer_skip_nested_validation=True)
def make_ntg_scorer(scoring=None):
    r"""Make a scorer that returns the negated negative transfer gap.

    It reads the pair ``transfer_`` and ``target_only_`` of a fitted guard, also
    where the guard is the best estimator of a search or the last step of a pipeline.

    Parameters
    ----------
    scoring : str, callable or None, default=None
        Scorer of the two models, higher is better. None: their ``score`` methods.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y)`` returns :math:`-\mathrm{NTG}` on the target rows
        ``X``: positive where transfer helps, so higher is better.

    See Also
    --------
    negative_transfer_gap : The gap itself.

    Notes
    -----
    The score tells how well *transfer* works, not the guarded prediction: a search
    that is refitted by it prefers settings in which the sources help most, which is
    not the same as the most accurate setting.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from sktransfer.baselines import Pooled
    >>> from sktransfer.metrics import make_ntg_scorer
    >>> from sktransfer.safe import TransferGuard
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 2))
    >>> domain = np.repeat([1, -1], [40, 20])
    >>> y = X[:, 0] * np.where(domain > 0, -1.0, 1.0)  # the source is reversed
    >>> guard = TransferGuard(Pooled(Ridge())).fit(X, y, sample_domain=domain)
    >>> score = make_ntg_scorer("r2")(guard, X[domain < 0], y[domain < 0])
    >>> bool(score < 0)
    True
    """
    return _NTGScorer(scoring)


class _NTGScorer:
    """Scorer over the pair of models of a fitted guard."""

    def __init__(self, scoring):
        self.scoring = scoring

    def __repr__(self):
        return f"make_ntg_scorer({self.scoring!r})"

    def __eq__(self, other):
        return isinstance(other, _NTGScorer) and self.scoring == other.scoring

    def __hash__(self):
        return hash((type(self), self.scoring))

    def __call__(self, estimator, X, y):
        guard, X = _find_guard(estimator, X)
        check_scorable(y, getattr(guard, "classes_", None))
        pair = (guard.transfer_, guard.target_only_)
        return -negative_transfer_gap(*pair, X, y, scoring=self.scoring)


def _find_guard(estimator, X):
    """Return the guard inside a fitted estimator, and X as the guard sees it."""
    found = estimator
    while not hasattr(found, "transfer_"):
        if isinstance(found, Pipeline):
            X = found[:-1].transform(X) if len(found) > 1 else X
            found = found[-1]
        elif hasattr(found, "best_estimator_"):
            found = found.best_estimator_
        else:
            check_is_fitted(found)
            raise TypeError(
                f"make_ntg_scorer needs a fitted pair transfer_ and target_only_, but "
                f"{type(estimator).__name__} has none. Wrap the estimator in "
                "TransferGuard of sktransfer.safe."
            )
    return found, X
