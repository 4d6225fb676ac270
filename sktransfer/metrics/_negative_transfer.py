r"""The negative transfer gap: what the sources cost on the target."""

from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.metrics import get_scorer_names
from sklearn.pipeline import Pipeline
from sklearn.utils import Bunch
from sklearn.utils.metadata_routing import MetadataRequest
from sklearn.utils.validation import check_is_fitted

from sktransfer._compat import (
    HasMethods,
    Interval,
    StrOptions,
    _num_samples,
    validate_params,
)
from sktransfer._deviance import without_exposure
from sktransfer._domains import check_domains, check_scorable
from sktransfer._folds import target_folds
from sktransfer._learners import HasLearnerMethods, check_weights
from sktransfer.base import as_rows
from sktransfer.exceptions import UnlabeledTargetError
from sktransfer.metrics._evidence import INTERVAL_FOR, FoldEvidence
from sktransfer.metrics._gap import PairMeasure
from sktransfer.metrics._held_out import score_pair, settle_scores
from sktransfer.metrics._pair import (
    check_pair,
    cross_fit,
    takes_unlabeled_sources,
)

__all__ = ["cross_val_ntg", "make_ntg_scorer", "negative_transfer_gap"]

_SCORING = [StrOptions(set(get_scorer_names())), callable, None]


@validate_params(
    {
        "transfer": [HasMethods("fit")],
        "target_only": [HasMethods("fit")],
        "X": ["array-like", "sparse matrix"],
        "y": ["array-like"],
        "scoring": _SCORING,
        "sample_weight": ["array-like", None],
    },
    prefer_skip_nested_validation=True,
)
def negative_transfer_gap(
    transfer: Any,
    target_only: Any,
    X: Any,
    y: Any,
    *,
    scoring: Any = None,
    sample_weight: Any = None,
) -> float:
    r"""Compute the negative transfer gap of two fitted estimators on target rows.

    Parameters
    ----------
    transfer : estimator
        Fitted on sources and target, :math:`\theta(S,T)`.
    target_only : estimator
        The same algorithm fitted without the sources, :math:`\theta(0,T)`.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Target rows that neither was fitted on.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Their labels; a marker of a missing label is an error, because the gap on an
        unlabeled target is not defined.
    scoring : str, callable or None, default=None
        Scorer, higher is better. None: the ``score`` method of the estimators. Log
        loss, Brier score and top-k accuracy are taken over the classes of both
        estimators.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows in the scores.

    Returns
    -------
    ntg : float
        The gap of this fitted pair on these rows, in units of ``scoring``. Positive:
        the sources hurt.

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
    weight = sample_weight
    if weight is not None:
        weight = check_weights(weight, _num_samples(X))
    pair = target_only, transfer
    scores = score_pair(pair, X, np.asarray(y), weight, scoring=scoring)
    return scores[0].value - scores[1].value


@validate_params(
    {
        "estimator": [HasLearnerMethods(["fit", "predict"])],
        "X": ["array-like", "sparse matrix"],
        "y": ["array-like"],
        "sample_domain": ["array-like", Integral],
        "cv": ["cv_object"],
        "scoring": _SCORING,
        "target_estimator": [HasLearnerMethods(["fit", "predict"]), None],
        "confidence_level": [Interval(Real, 0, 1, closed="neither")],
        "interval_for": [StrOptions(set(INTERVAL_FOR))],
        "groups": ["array-like", None],
        "params": [dict, None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def cross_val_ntg(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    sample_domain: Any,
    cv: Any = 5,
    scoring: Any = None,
    target_estimator: Any = None,
    confidence_level: Any = 0.95,
    interval_for: str = "average",
    groups: Any = None,
    params: dict[str, Any] | None = None,
    n_jobs: int | None = None,
    random_state: Any = None,
) -> Any:
    r"""Estimate the negative transfer gap of an estimator by cross-validation.

    :math:`\theta(S,T)` and :math:`\theta(0,T)` are fitted on the same folds. Only
    labeled target rows are tested on; source rows and unlabeled target rows are in
    every training fold (:math:`\theta(0,T)` gets no source row).

    Parameters
    ----------
    estimator : estimator
        An estimator of this library, or a pipeline that ends in one. It is cloned.
    X : {array-like, sparse matrix, dataframe} of shape (n_samples, ...)
        Rows of every domain, in any order: whatever the estimator takes, be it
        numbers, a frame, texts or arrays of more dimensions.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Labels, with markers on the unlabeled target rows.
    sample_domain : array-like of shape (n_samples,)
        Positive ids for sources, negative for the target.
    cv : int, splitter or iterable, default=5
        With an int the labeled target rows are dealt to that many folds, sorted by
        label so that each fold has rows of all classes (or small and large values);
        the order of the rows does not matter. A class with a single labeled row is
        never held out. A splitter that takes ``sample_domain``, or an iterable of
        ``(train, test)`` indices or masks, splits all rows; any other splitter of
        scikit-learn is applied to the labeled target rows. See Notes.
    scoring : str, callable or None, default=None
        Scorer, higher is better. None: the ``score`` method of the estimator.
    target_estimator : estimator, default=None
        What to compare with, if not ``estimator`` without its sources. A plain
        estimator is fitted on the labeled target rows.
    confidence_level : float in (0, 1), default=0.95
        Coverage of the interval.
    interval_for : {"average", "fitted"}, default="average"
        Which gap the interval is about. "average": the mean gap over labeled target
        samples of this size, with these sources: whether the method pays on data such
        as these. "fitted": the gap of the pair of models that is fitted on all rows,
        which depends on what labeled rows there happen to be. Its interval is wider.
    groups : array-like of shape (n_samples,), default=None
        Unit of each row, such as the patient, where units have several rows. The
        folds of an int keep units together; so must any other ``cv``.
    params : dict, default=None
        Metadata for ``fit``, one entry per row. Its ``"sample_weight"`` counts in the
        scores, too, and rows of weight 0 are left out; its ``"groups"`` are those
        above, and reach the fits of estimators that request them. With
        ``"exposure"`` rates are scored, each of the weight that its exposure amounts
        to.
    n_jobs : int, default=None
        Number of folds that are fitted in parallel.
    random_state : int, RandomState instance or None, default=None
        Deals the rows to the folds when ``cv`` is an int. None deals anew at every
        call, as scikit-learn's splitters that shuffle do: give an int to get the same
        numbers again.

    Returns
    -------
    result : :class:`~sklearn.utils.Bunch`
        With the keys

        ntg : float
            Estimated gap: the mean over the folds, for a score that is a mean over
            rows with what the unlabeled target rows add. Positive: the sources hurt.
        interval : ndarray of shape (2,)
            Confidence interval of the gap that ``interval_for`` names, around ``ntg``;
            infinite with one fold.
        harm_probability : float
            Probability that the gap of the fitted pair is positive; that of
            :class:`~sktransfer.safe.TransferGuard` and of
            :func:`~sktransfer.inspection.transfer_report` with the same folds.
        gaps : ndarray of shape (n_splits,)
            Gap of every fold.
        transfer_scores, target_only_scores : ndarray of shape (n_splits,)
            Scores of :math:`\theta(S,T)` and :math:`\theta(0,T)`.
        transfer_interval, target_only_interval : ndarray of shape (2,)
            Confidence intervals of the scores: Wilson's for accuracy, those of the
            logarithm for the errors that are means over rows or the root of one.
        n_held_out : int
            Number of distinct units (rows, or groups) that the folds test.
        evidence : object
            What ``interval(confidence_level, interval_for)`` gives other intervals
            of, without another fit.

    Raises
    ------
    DomainError
        If the rows break the domain contract.
    UnlabeledTargetError
        If the labeled target rows are too few to hold some out.
    ValueError
        If ``cv`` tests no labeled target row in a fold, or has a row or a unit on
        both sides; if ``groups`` do not fit the rows; or if ``scoring`` is not
        defined.

    See Also
    --------
    negative_transfer_gap : The gap of two fitted estimators.
    sktransfer.metrics.SequentialHarmTest : A test that may stop at any label.

    Notes
    -----
    *Folds.* The same rule holds for every ``cv``. Source and unlabeled rows that an
    explicit fold tests are left out of its test part; a fold without any labeled
    target row to test, or with a row on both sides, is an error. Labeled target rows
    that a splitter puts on neither side are on neither side. With ``groups``, a value
    is one unit in whatever domain: source and unlabeled rows of a tested unit leave
    the training part, and a labeled target row of a tested unit in it is an error.
    A unit that alone has a class is never held out by an int. Rows other than
    labeled target rows may have no unit (None or NaN).

    *Scores.* Log loss, Brier score and top-k accuracy are taken over all classes of
    the fit, although a fold may lack some. Where a score is not defined on a fold,
    such as the area under a curve without a class or R2 of one row, the out-of-fold
    answers of all folds are scored together, and the scores of the folds are jackknife
    values: :math:`s + (J - 1)(\bar s_{(\cdot)} - s_{(-j)})`, where :math:`s_{(-j)}` is
    the score without fold j. Their mean is the pooled score s.

    *Interval.* The differences :math:`d_i` of the losses of the n tested units (rows,
    or groups), averaged over the times that a unit is tested, give the estimate
    :math:`\hat\Delta`, the variance v of its noise for given models, and

    .. math:: \hat\Delta \pm t_{\nu} \sqrt{v\,(1 + c A)}, \quad
              \nu = b (n - 1),

    with c = 0 for the average gap and c = 1 for that of the fitted pair, and b = 1/2,
    or 3/4 for accuracy and Brier scores.
    :math:`A = (1 - \hat\lambda) / 2 \in [0, 1]` (:math:`\lambda` below; 1 where it is
    not defined) is the best weight of transfer in a blend of both models: the more of
    the step between them is error of :math:`\theta(0,T)`, the more it hangs on what
    labeled rows there happen to be. Differences of losses have heavy tails, which fewer
    degrees of freedom allow for. Where errors are rare the tested units may show
    none: for accuracy v counts one more unit on which the models differ, and for Brier
    scores one on which both are wrong. Repeated folds are no new evidence.

    *Unlabeled rows.* Where two classifiers predict the same class, their 0-1 losses do
    not differ, and how often they disagree is known from all target rows. For squared
    losses and Brier scores, the squared step :math:`g` between the two answers has the
    same part: :math:`E[d \mid g] = \lambda g` with :math:`|\lambda| \le 1`. So

    .. math:: \hat\Delta = \bar d - \lambda' \bigl(\bar g_{labeled}
              - \bar g_{unlabeled}\bigr)

    with a :math:`\lambda'` that is shrunk to 0 as far as the difference may be noise
    (prediction-powered inference). At most 200 unlabeled rows are used, and they must
    be drawn from the target as the labeled ones are. Other scores use labels only.

    *Which scores have values of rows.* Accuracy, Brier score, squared and absolute
    error, the deviances of Poisson, gamma and Tweedie, and the root of the mean squared
    error, which is taken of all tested rows together. If at most 200 rows are tested,
    R2 has, given the variance of the labels of a fold, and any other score has
    jackknife values within its fold, if it is defined without each unit. Where there
    are none, the interval is the corrected resampled t of the J gaps of the folds,

    .. math:: \bar g \pm t_{\min(J, n) - 1} \sqrt{(1/J + \rho) s^2},

    for test folds that are :math:`\rho` times as large as the labeled target part of
    their training folds; for the fitted pair with 1.25 times the variance. With
    ``sample_weight`` a fold counts by the mean weight of its test rows.

    *What to expect.* ``benchmarks/uncertainty.md`` has the coverage of both intervals
    and the power, by simulation, for 5 to 40 labeled rows.

    The training folds are smaller than the data, which weakens
    :math:`\theta(0,T)` more than :math:`\theta(S,T)`: with very few labels the
    estimate leans towards transfer.

    References
    ----------
    A. N. Angelopoulos, J. C. Duchi, T. Zrnic. PPI++: efficient prediction-powered
    inference. 2023. https://arxiv.org/abs/2311.01453

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
    baseline, data, params, folds = _checked(
        estimator, target_estimator, X, y, sample_domain, cv, groups, params,
        random_state,
    )  # fmt: skip
    _, units = without_exposure(data.y, params, estimator)
    pair = PairMeasure(data, units, scoring)
    results = cross_fit(
        estimator, baseline, data, folds, pair.measure(), params=params, n_jobs=n_jobs
    )
    scores = pair.scores(folds, results)
    evidence = scores.evidence
    intervals = scores.intervals(confidence_level)
    return Bunch(
        ntg=evidence.mean,
        interval=evidence.interval(confidence_level, interval_for),
        harm_probability=evidence.probability_positive(),
        gaps=scores.target_only - scores.transfer,
        transfer_scores=scores.transfer,
        target_only_scores=scores.target_only,
        transfer_interval=intervals[1],
        target_only_interval=intervals[0],
        n_held_out=scores.folds.n_units,
        evidence=evidence,
    )


def cross_val_pair(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    sample_domain: Any,
    cv: Any,
    scoring: Any,
    target_estimator: Any,
    params: Any,
    n_jobs: int | None,
) -> Any:
    r"""Return the scores of both models of every fold, without their evidence on a gap.

    Parameters
    ----------
    estimator, X, y, sample_domain, cv, scoring, target_estimator, params, n_jobs
        As in :func:`cross_val_ntg`.

    Returns
    -------
    target_only, transfer : ndarray of shape (n_splits,)
        Scores of :math:`\theta(0,T)` and :math:`\theta(S,T)`.
    """
    baseline, data, params, folds = _checked(
        estimator, target_estimator, X, y, sample_domain, cv, None, params, None
    )
    scores = cross_fit(
        estimator, baseline, data, folds, partial(score_pair, scoring=scoring),
        params=params, n_jobs=n_jobs,
    )  # fmt: skip
    return settle_scores(scores, scoring)


def _checked(
    estimator: Any,
    target_estimator: Any,
    X: Any,
    y: Any,
    sample_domain: Any,
    cv: Any,
    groups: Any,
    params: dict[str, Any] | None,
    random_state: Any,
) -> tuple[Any, Any, Any, list[tuple[NDArray[Any], NDArray[Any]]]]:
    """Return theta(0,T), checked rows and metadata, and the folds."""
    baseline = check_pair(estimator, target_estimator)
    classify = is_classifier(estimator)
    data = check_domains(
        as_rows(X), y, sample_domain, numeric_labels=not classify, multi_output=True,
        unlabeled_sources=takes_unlabeled_sources(estimator),
    )  # fmt: skip
    params = with_groups(params, groups)
    folds = labeled_folds(
        data, cv, params=params, stratify=classify, random_state=random_state
    )
    if "sample_weight" in params:
        weight = check_weights(params["sample_weight"], len(data.sample_domain))
        params["sample_weight"] = weight
    return baseline, data, params, folds


def labeled_folds(
    data: Any, cv: Any, *, params: dict[str, Any], stratify: bool, random_state: Any
) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Return folds by the units and weights among the metadata, or raise.

    Parameters
    ----------
    data : DomainData
        Checked rows.
    cv : int, splitter or iterable
        As in :func:`cross_val_ntg`.
    params : dict
        Metadata, one entry per row; "groups" and "sample_weight" count.
    stratify : bool
        Spread the rows of each class over the folds of an int.
    random_state : int, RandomState instance or None
        Deals the rows to the folds of an int.

    Returns
    -------
    folds : list of (train, test)
        At least one fold.
    """
    folds = target_folds(
        data, cv, groups=params.get("groups"),
        sample_weight=params.get("sample_weight"), stratify=stratify,
        random_state=random_state,
    )  # fmt: skip
    if not folds:
        units = ", or groups one unit" if params.get("groups") is not None else ""
        weight = params.get("sample_weight")
        weighed = "" if weight is None else " of positive sample_weight"
        n_labeled = int(
            data.n_labeled if weight is None
            else np.sum(np.asarray(weight)[data.is_labeled_target] > 0)
        )  # fmt: skip
        raise UnlabeledTargetError(
            "The gap needs labeled target rows to hold out, but y labels "
            f"{n_labeled} row(s){weighed}, or one row per class{units}. Label more "
            "target rows."
        )
    return folds


def with_groups(params: dict[str, Any] | None, groups: Any) -> dict[str, Any]:
    """Return the metadata with the groups among them."""
    params = {k: v for k, v in (params or {}).items() if v is not None}
    if groups is None:
        return params
    if "groups" in params:
        raise ValueError("groups and params['groups'] are both given; give one.")
    return {**params, "groups": groups}


def corrected_resampled_t(gaps: Any, sizes: Any, confidence_level: Any) -> NDArray[Any]:
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
    ratio = np.mean([n_test / max(n_train, 1) for n_test, n_train in sizes])
    n_splits = len(gaps)
    evidence = FoldEvidence(np.full(n_splits, 1 / n_splits), float(ratio), n_splits)
    return evidence.interval(gaps, confidence_level)


@validate_params({"scoring": _SCORING}, prefer_skip_nested_validation=True)
def make_ntg_scorer(scoring: Any = None) -> "_NTGScorer":
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
        ``scorer(estimator, X, y, sample_weight=None)`` returns
        :math:`-\mathrm{NTG}` on the target rows ``X``: positive where transfer helps,
        so higher is better. It requests ``sample_weight`` if it is routed.

    See Also
    --------
    negative_transfer_gap : The gap itself.

    Notes
    -----
    The score measures how well *transfer* works, not the guarded prediction: a search
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

    def __init__(self, scoring: Any) -> None:
        self.scoring = scoring

    def __repr__(self) -> str:
        return f"make_ntg_scorer({self.scoring!r})"

    def __eq__(self, other: Any) -> Any:
        return isinstance(other, _NTGScorer) and self.scoring == other.scoring

    def __hash__(self) -> Any:
        return hash((type(self), self.scoring))

    def get_metadata_routing(self) -> Any:
        """Request the weights of the scored rows."""
        request = MetadataRequest(owner=self)
        request.score.add_request(param="sample_weight", alias=True)
        return request

    def __call__(
        self, estimator: Any, X: Any, y: Any, sample_weight: Any = None
    ) -> float:
        guard, X = _find_guard(estimator, X)
        check_scorable(y, getattr(guard, "classes_", None))
        pair = (guard.transfer_, guard.target_only_)
        return -negative_transfer_gap(
            *pair, X, y, scoring=self.scoring, sample_weight=sample_weight
        )


def _find_guard(estimator: Any, X: Any) -> tuple[Any, NDArray[Any]]:
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
