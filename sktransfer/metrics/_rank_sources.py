"""One table of what every source promises, and the sources to keep."""

from dataclasses import dataclass
from inspect import signature
from math import ceil
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.stats import rankdata
from sklearn import config_context
from sklearn.base import is_classifier, is_regressor
from sklearn.metrics import get_scorer_names
from sklearn.utils import check_array, check_random_state
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from sktransfer._compat import HasMethods, Interval, StrOptions, validate_params
from sktransfer._domains import check_domains, source_id, take_rows
from sktransfer._folds import check_groups, take_folds
from sktransfer.base import consumes_sample_domain, slice_params, without_sources
from sktransfer.exceptions import DomainError, UnlabeledTargetError
from sktransfer.metrics._compare_domains import (
    MEASURES,
    SOURCE_LABELS,
    TARGET_LABELS,
    compare_domains,
)
from sktransfer.metrics._evidence import INTERVAL_FOR
from sktransfer.metrics._negative_transfer import (
    cross_val_ntg,
    labeled_folds,
    with_groups,
)
from sktransfer.metrics._pair import handed_on, labels_to_score
from sktransfer.metrics._transfer_affinity import affinity_on_folds
from sktransfer.metrics._transferability_scorers import (
    gbc_scorer,
    h_score_scorer,
    leep_scorer,
    logme_scorer,
    n_leep_scorer,
    nce_scorer,
    otce_scorer,
    silhouette_scorer,
    transrate_scorer,
)

_SCORERS = {
    "leep": leep_scorer,
    "nce": nce_scorer,
    "n_leep": n_leep_scorer,
    "h_score": h_score_scorer,
    "logme": logme_scorer,
    "transrate": transrate_scorer,
    "silhouette": silhouette_scorer,
    "gbc": gbc_scorer,
    "otce": otce_scorer,
}
_FOR_VALUES = {"logme"}  # the scorer that also takes real labels
_DEFAULT = ("mmd", "coral_distance", "leep", "nce", "h_score", "logme", "ntg")
SOURCE_SCORES = (*MEASURES, *_SCORERS, "affinity", "ntg")


@dataclass(frozen=True)
class SourceScore:
    """A score of one source: its name, kind, direction and needs."""

    name: str
    kind: str
    higher_is_better: bool
    needs_target_labels: bool = True
    needs_source_labels: bool = True
    needs_classes: bool = False
    scorer: Any = None
    measure: str = ""

    @property
    def takes_domains(self) -> bool:
        """Whether the scorer needs source rows beside the target's."""
        if not hasattr(self.scorer, "get_metadata_routing"):
            return False
        routing = get_routing_for_object(self.scorer)
        return bool(routing.consumes("score", ["sample_domain"]))

    @property
    def takes_weights(self) -> bool:
        """Whether the scorer is one of scikit-learn, and takes ``sample_weight``."""
        function = getattr(self.scorer, "_score_func", None)
        return (
            function is not None and "sample_weight" in signature(function).parameters
        )


@dataclass(frozen=True)
class ScoreOptions:
    """How scores are computed; the parameters of :func:`rank_sources`."""

    cv: Any = 5
    scoring: Any = None
    n_bootstrap: int = 0
    confidence_level: float = 0.95
    interval_for: str = "average"
    max_samples: int | None = 500
    n_jobs: int | None = None
    seed: int = 0
    task: str | None = None


@validate_params(
    {
        "estimator_or_models": [HasMethods("fit"), dict, list, tuple],
        "X": ["array-like", "sparse matrix"],
        "y": ["array-like", None],
        "sample_domain": ["array-like", Integral, None],
        "scores": [StrOptions({"all"}), list, tuple, dict, None],
        "task": [StrOptions({"auto", "classification", "regression"})],
        "select_by": [str, None],
        "threshold": [Interval(Real, None, None, closed="neither"), None],
        "n_sources": [Interval(Integral, 1, None, closed="left"), None],
        "cv": ["cv_object"],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "n_bootstrap": [Interval(Integral, 0, None, closed="left")],
        "confidence_level": [Interval(Real, 0, 1, closed="neither")],
        "interval_for": [StrOptions(set(INTERVAL_FOR))],
        "max_samples": [Interval(Integral, 2, None, closed="left"), None],
        "groups": ["array-like", None],
        "params": [dict, None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def rank_sources(
    estimator_or_models: Any,
    X: Any,
    y: Any,
    sample_domain: Any,
    *,
    scores: Any = None,
    task: str = "auto",
    select_by: str | None = None,
    threshold: float | None = None,
    n_sources: Any = None,
    cv: Any = 5,
    scoring: Any = None,
    n_bootstrap: int = 0,
    confidence_level: Any = 0.95,
    interval_for: str = "average",
    max_samples: int | None = 500,
    groups: Any = None,
    params: dict[str, Any] | None = None,
    n_jobs: int | None = None,
    random_state: Any = None,
) -> dict[str, Any]:
    r"""Rank the sources by similarity, transferability and negative transfer.

    Parameters
    ----------
    estimator_or_models : estimator, dict or list
        What the sources are for. An unfitted estimator is fitted on the rows of each
        source alone for scores of transferability, and on each source with the target
        for "ntg", which needs an estimator that takes `sample_domain`, such as
        ``Pooled(LogisticRegression())``. Or fitted source models, as a dict of source
        id to model or as a list of the models of the sources 1, 2, ...; the rows of
        the sources may then be absent, and "ntg" is not available.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows of every domain. Measures of similarity compare these columns as they
        are.
    y : array-like of shape (n_samples,) or None
        Labels, with markers on the unlabeled target rows. None: only measures of
        similarity that need no labels.
    sample_domain : array-like of shape (n_samples,) or None
        Positive ids for sources, negative for the target. None, with fitted models:
        every row is a labeled target row.
    scores : list of str or callable, dict, "all" or None, default=None
        What to compute. Measures of similarity are named as in
        :func:`compare_domains`, scores of transferability "leep", "nce", "n_leep",
        "h_score", "logme", "transrate", "silhouette", "gbc" and "otce", the
        cross-validated negative transfer gap "ntg", and "affinity", by which source
        serves more held-out target rows, see :func:`transfer_affinity`. A callable
        ``scorer(source_model, X, y)`` gets the labeled target rows and returns a
        number, higher is better; any scorer of scikit-learn will do. A dict gives
        them other names. "all": every name; None: "mmd", "coral_distance", "leep",
        "nce", "h_score", "logme" and "ntg". Both leave out what the labels, the task
        or the estimator do not allow.
    task : {"auto", "classification", "regression"}, default="auto"
        Whether `y` holds classes or values. "auto": what the estimator or the first
        model is for; a transformer alone does not say, so the labels decide where
        they leave no doubt.
    select_by : str, default=None
        Name of the score that selects. None: "ntg" where it is defined, otherwise
        the first score that is.
    threshold : float, default=None
        Keep a source whose score is at least this where higher is better, or at most
        this where lower is better.
    n_sources : int >= 1, default=None
        Keep that many at most, the best; of equal ones the smaller id. If this and
        `threshold` are None, "ntg" keeps the gaps up to 0 and any other score the
        better half, rounded up.
    cv : int, splitter or iterable, default=5
        Folds of "ntg", as in :func:`cross_val_ntg`.
    scoring : str, callable or None, default=None
        Scorer of "ntg", higher is better. None: the ``score`` method.
    n_bootstrap : int, default=0
        Number of bootstrap samples for the intervals of the similarities.
    confidence_level : float in (0, 1), default=0.95
        Level of the intervals.
    interval_for : {"average", "fitted"}, default="average"
        Which gap the intervals of "ntg" are about, as in :func:`cross_val_ntg`: the
        average over labeled target samples of this size, or that of the models fitted
        on all rows.
    max_samples : int or None, default=500
        Similarity and transport replace a domain with more rows by a random sample
        of this size. None: all rows.
    groups : array-like of shape (n_samples,), default=None
        Unit of each row, such as the patient; "ntg" never holds out a part of one.
    params : dict, default=None
        Metadata for ``fit``, one entry per row, as in :func:`cross_val_ntg`. With
        ``"exposure"`` a scorer of scikit-learn gets rates, with the weights that the
        exposures amount to; other scores of transferability take no exposure.
    n_jobs : int or None, default=None
        Number of parallel jobs.
    random_state : int, RandomState instance or None, default=None
        Seed of the samples and of the folds, which are the same for every source.

    Returns
    -------
    table : dict of ndarrays
        One entry per score and source, ready for ``pandas.DataFrame(table)``:
        "source" (id), "score", "kind" ("similarity", "transferability", "affinity" or
        "ntg"),
        "value", "low" and "high" (NaN without an interval), "higher_is_better",
        "rank" (1 is the best by this score, NaN where it is undefined), "selected"
        (the same in every entry of a source) and "note", the reason why a value is
        NaN: scores of source models, for example, where a source holds one class and
        the estimator needs two.

    Raises
    ------
    DomainError
        If there is no source, or several targets.
    ValueError
        If a score is unknown, or named although the labels, the task or the estimator
        do not allow it.

    See Also
    --------
    compare_domains : The similarities alone.
    cross_val_ntg : The negative transfer gap alone.
    sktransfer.multisource.SourceSelector : Drop sources before a fit.

    Notes
    -----
    Distances and the gap are better when lower; "feature_correlation",
    "domain_transferability_estimation", "q_statistic", "azab_weights", every score of
    transferability and every callable when higher. The gap of source :math:`k` is
    :math:`\varepsilon_T(\theta(S_k,T)) - \varepsilon_T(\theta(0,T))`, of that source
    alone: sources that help one by one may still be redundant together.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from sktransfer.baselines import Pooled
    >>> from sktransfer.metrics import rank_sources
    >>> X = np.random.default_rng(0).normal(size=(90, 2))
    >>> domain = np.repeat([1, 2, -1], 30)
    >>> y = X[:, 0] * np.where(domain == 2, -1.0, 1.0)  # the second is reversed
    >>> table = rank_sources(
    ...     Pooled(Ridge()), X, y, domain, scores=["mmd", "ntg"], random_state=0
    ... )
    >>> gaps = table["score"] == "ntg"
    >>> table["source"][gaps], table["value"][gaps] > 0, table["selected"][gaps]
    (array([1, 2]), array([False,  True]), array([ True, False]))
    """
    estimator, models = _split_argument(estimator_or_models)
    task = _task(task, estimator, models)
    data = _check_rows(X, y, sample_domain, task, models)
    chosen = _resolve_all(scores, data, estimator, models, task, params or {})
    if select_by is not None and select_by not in [score.name for score in chosen]:
        raise ValueError(
            f"select_by={select_by!r} is not among the scores that are computed: "
            f"{', '.join(score.name for score in chosen)}."
        )
    options = ScoreOptions(
        cv, scoring, n_bootstrap, confidence_level, interval_for, max_samples, n_jobs,
        check_random_state(random_state).randint(np.iinfo(np.int32).max), task,
    )  # fmt: skip
    params = with_groups(params, groups)
    check_groups(params.get("groups"), data)
    results = score_sources(chosen, data, estimator, models, options, params)
    if scores is None or isinstance(scores, str):
        pairs = zip(chosen, results, strict=True)
        defined = [pair for pair in pairs if not np.isnan(pair[1][0]).all()]
        chosen, results = map(list, zip(*defined, strict=True)) if defined else ([], [])
    ids = np.array(sorted(models)) if models is not None else data.sources
    selected = _selection(chosen, results, select_by, threshold, n_sources, len(ids))
    return _table(chosen, results, ids, selected)


def _split_argument(argument: Any) -> tuple[Any, Any]:
    """Return ``(estimator, None)`` or ``(None, {source id: fitted model})``."""
    if hasattr(argument, "fit"):
        return argument, None
    if not isinstance(argument, dict):
        argument = {source_id(k): model for k, model in enumerate(argument)}
    if not argument:
        raise ValueError("estimator_or_models holds no model.")
    for model in argument.values():
        check_is_fitted(model)
    return None, {int(source): argument[source] for source in sorted(argument)}


def _task(task: str, estimator: Any, models: dict[int, Any] | None) -> str | None:
    """Return the task that was said or that the estimator is for; None if unknown."""
    if task != "auto":
        return task
    kind = estimator if models is None else next(iter(models.values()))
    if is_classifier(kind):
        return "classification"
    return "regression" if is_regressor(kind) else None


def _check_rows(
    X: Any, y: Any, sample_domain: Any, task: str | None, models: dict[int, Any] | None
) -> Any:
    X = X.tocsr() if sparse.issparse(X) else X if hasattr(X, "shape") else np.asarray(X)
    numeric = {"regression": True, "classification": False, None: None}[task]
    data = check_domains(X, y, sample_domain, numeric_labels=numeric, multi_output=True)
    if len(data.targets) != 1 or (models is None and not data.n_source):
        raise DomainError(
            f"sample_domain names {len(data.sources)} sources and {len(data.targets)} "
            "targets; at least one source and exactly one target are needed."
        )
    if models is not None and data.n_source and list(models) != list(data.sources):
        raise DomainError(
            f"estimator_or_models has models of the sources {list(models)}, but "
            f"sample_domain names {data.sources.tolist()}."
        )
    return data


def resolve_score(score: Any, name: str | None = None) -> SourceScore:
    """Return the :class:`SourceScore` of a name or of a scorer.

    Parameters
    ----------
    score : str or callable
        A name of ``SOURCE_SCORES``, or ``scorer(source_model, X, y)``.
    name : str, default=None
        Another name for it.

    Returns
    -------
    score : SourceScore
        Its kind, direction and needs.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    if callable(score):
        name = name or getattr(score, "__name__", None) or repr(score)
        return SourceScore(name, "transferability", True, scorer=score)
    if score in MEASURES:
        return SourceScore(
            name or score,
            "similarity",
            MEASURES[score][1],
            needs_target_labels=score in TARGET_LABELS,
            needs_source_labels=score in TARGET_LABELS | SOURCE_LABELS,
            needs_classes=score in TARGET_LABELS | SOURCE_LABELS,
            measure=score,
        )
    if score in _SCORERS:
        return SourceScore(
            name or score,
            "transferability",
            True,
            needs_classes=score not in _FOR_VALUES,
            scorer=_SCORERS[score],
        )
    if score == "ntg":
        return SourceScore(name or score, "ntg", False)
    if score == "affinity":
        return SourceScore(name or score, "affinity", True)
    raise ValueError(f"scores holds {score!r}; known are {', '.join(SOURCE_SCORES)}.")


def _resolve_all(
    scores: Any,
    data: Any,
    estimator: Any,
    models: dict[int, Any] | None,
    task: str | None,
    params: dict[Any, Any],
) -> list[SourceScore]:
    """Return the scores to compute; those named must be possible."""
    if scores is None or isinstance(scores, str):
        names = _DEFAULT if scores is None else SOURCE_SCORES
        every = [resolve_score(name) for name in names]
        given = data, estimator, models, task, params
        return [s for s in every if not why_not(s, *given)]
    pairs = scores.items() if isinstance(scores, dict) else [(None, s) for s in scores]
    chosen = [resolve_score(score, name) for name, score in pairs]
    names = [score.name for score in chosen]
    for score in chosen:
        reason = why_not(score, data, estimator, models, task, params)
        if reason:
            raise ValueError(f"scores={score.name!r} {reason}.")
        if names.count(score.name) > 1:
            raise ValueError(
                f"scores names {score.name!r} twice; tell them apart by a dict of "
                "names and scores."
            )
    if not chosen:
        raise ValueError("scores is empty; name a score.")
    return chosen


def why_not(
    score: Any,
    data: Any,
    estimator: Any,
    models: Any,
    task: str | None = None,
    params: dict[str, Any] | None = None,
) -> str:
    """Say why a score cannot be computed; empty if it can.

    Parameters
    ----------
    score : SourceScore
        The score.
    data : DomainData
        Checked rows.
    estimator : estimator or None
        Unfitted estimator.
    models : dict or None
        Fitted source models.
    task : {"classification", "regression"} or None, default=None
        What the labels are. None: what the estimator is for.
    params : dict, default=None
        Metadata for ``fit``; "exposure" counts.

    Returns
    -------
    reason : str
        A clause that follows the name of the score.
    """
    if score.kind in ("ntg", "affinity") and models is not None:
        return "needs an unfitted estimator in place of fitted models"
    if score.kind in ("ntg", "affinity") and not consumes_sample_domain(estimator):
        return (
            f"needs an estimator that knows domains; wrap {type(estimator).__name__}, "
            "e.g. in Pooled of sktransfer.baselines"
        )
    if (score.kind == "similarity" or score.takes_domains) and not data.n_source:
        return "needs the rows of the sources in X"
    if score.needs_target_labels and not data.n_labeled:
        return "needs labeled target rows, but y labels none"
    if score.needs_source_labels and data.n_source and data.y is None:
        return "needs the labels of the sources in y"
    known = task or _task("auto", estimator, models)
    if score.needs_classes and known == "regression":
        kind = estimator if models is None else next(iter(models.values()))
        said = "the estimator is a regressor" if is_regressor(kind) else f"{task=}"
        return f"needs classes, but {said}"
    exposed = (params or {}).get("exposure") is not None
    if exposed and score.kind == "transferability" and not score.takes_weights:
        return (
            "compares counts with rates where there are exposures: use 'ntg', a "
            "measure of similarity, or a scorer of scikit-learn that takes "
            "sample_weight"
        )
    return ""


def score_sources(
    scores: Any,
    data: Any,
    estimator: Any,
    models: Any,
    options: Any,
    params: dict[str, Any] | None = None,
) -> list[tuple[NDArray[Any], NDArray[Any], NDArray[Any], list[str]]]:
    """Compute scores of every source.

    Parameters
    ----------
    scores : list of SourceScore
        What to compute.
    data : DomainData
        Checked rows of the sources and one target.
    estimator : estimator or None
        Fitted on each source where `models` are None and a score needs them.
    models : dict or None
        Fitted model of each source id.
    options : ScoreOptions
        How to compute.
    params : dict, default=None
        Metadata for ``fit``, one entry per row.

    Returns
    -------
    results : list of (values, low, high, notes)
        Arrays of shape (n_sources,) for each score, sources by ascending id. A value
        is NaN where its note gives the reason.
    """
    if models is None and any(score.kind == "transferability" for score in scores):
        models = _fit_models(estimator, data, options, params or {})
    results = []
    for score in scores:
        if score.kind == "similarity":
            results.append(_similarity(score, data, options))
        elif score.kind == "affinity":
            results.append(_affinities(estimator, data, options, params or {}))
        elif score.kind == "ntg":
            results.append(_gaps(estimator, data, options, params or {}))
        else:
            results.append(_transferability(score, data, models, options, params or {}))
    return results


@dataclass(frozen=True)
class NoModel:
    """In place of a model of a source: why there is none."""

    reason: str


def _fit_models(
    estimator: Any, data: Any, options: ScoreOptions, params: dict[str, Any]
) -> dict[int, Any]:
    """Fit the estimator, or find no model, on every source as the only domain."""
    fitted = Parallel(n_jobs=options.n_jobs)(
        delayed(_fit_alone)(without_sources(estimator), data, rows, params)
        for rows in (data.rows_of(source) for source in data.sources)
    )
    return dict(zip(data.sources.tolist(), fitted, strict=True))


def _fit_alone(
    estimator: Any, data: Any, rows: NDArray[np.bool_], params: dict[str, Any]
) -> Any:
    y, params = data.labels(rows), slice_params(handed_on(estimator, params), rows)
    try:
        with config_context(enable_metadata_routing=True):
            return estimator.fit(take_rows(data.X, rows), y, **params)
    except ValueError:
        if is_regressor(estimator) or len(np.unique(y)) > 1:
            raise
        return NoModel(
            f"all labels of this source are {np.unique(y).tolist()[0]!r}, and no model "
            "is fitted on one class"
        )


def _similarity(
    score: SourceScore, data: Any, options: ScoreOptions
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], list[str]]:
    sample = _sample(data, options, labeled=score.needs_target_labels)
    try:
        X = check_array(sample.X, accept_sparse="csr", dtype=np.float64)
    except ValueError as error:  # text or NaN, which only the estimator understands
        nothing = np.full(len(data.sources), np.nan)
        note = (
            f"similarity needs numeric columns; transform X first ({error}), by a step "
            "in front such as SimpleImputer() or OneHotEncoder()"
        )
        return nothing, nothing, nothing, [note] * len(nothing)
    table = compare_domains(
        X.toarray() if sparse.issparse(X) else X,
        sample.y if score.needs_source_labels else None,
        sample.sample_domain,
        measures=[score.measure],
        task="classification",
        n_bootstrap=options.n_bootstrap,
        confidence_level=options.confidence_level,
        max_samples=None,
        n_jobs=options.n_jobs,
        random_state=options.seed,
    )
    return table["value"], table["low"], table["high"], list(table["note"])


def _sample(data: Any, options: ScoreOptions, *, labeled: bool) -> Any:
    """Draw rows of every domain, of the target only labeled ones if asked."""
    rng = check_random_state(options.seed)
    domains = [data.rows_of(source) for source in data.sources]
    domains.append(data.is_labeled_target if labeled else data.is_target)
    rows = [np.flatnonzero(domain) for domain in domains]
    most = options.max_samples
    if most is not None:
        rows = [
            rng.choice(part, most, replace=False) if len(part) > most else part
            for part in rows
        ]
    return data.take(np.sort(np.concatenate(rows)))


def _affinities(
    estimator: Any, data: Any, options: ScoreOptions, params: dict[Any, Any]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], list[str]]:
    nothing = np.full(len(data.sources), np.nan)
    try:
        folds = labeled_folds(
            data, options.cv, params=params, stratify=is_classifier(estimator),
            random_state=options.seed,
        )  # fmt: skip
    except UnlabeledTargetError as error:
        return nothing, nothing, nothing, [str(error)] * len(nothing)
    found = affinity_on_folds(estimator, data, folds, params)
    values, notes = nothing.copy(), ["no row of positive weight"] * len(nothing)
    for source, value in zip(found.sources, found.affinity, strict=True):
        place = int(np.searchsorted(data.sources, source))
        values[place], notes[place] = value, ""
    return values, nothing, nothing, notes


def _gaps(
    estimator: Any, data: Any, options: ScoreOptions, params: dict[str, Any]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], list[str]]:
    try:
        folds = labeled_folds(
            data, options.cv, params=params, stratify=is_classifier(estimator),
            random_state=options.seed,
        )  # fmt: skip
    except UnlabeledTargetError as error:
        nothing = np.full(len(data.sources), np.nan)
        return nothing, nothing, nothing, [str(error)] * len(nothing)
    results = Parallel(n_jobs=options.n_jobs)(
        delayed(_gap)(estimator, data, data.rows_of(source), folds, options, params)
        for source in data.sources
    )
    values, low, high, notes = zip(*results, strict=True)
    return np.array(values), np.array(low), np.array(high), list(notes)


def _gap(
    estimator: Any,
    data: Any,
    source: NDArray[np.bool_],
    folds: list[tuple[NDArray[Any], NDArray[Any]]],
    options: ScoreOptions,
    params: dict[str, Any],
) -> tuple[float, float, float, str]:
    rows = source | data.is_target
    part = data.take(rows)
    try:
        result = cross_val_ntg(
            estimator,
            part.X,
            part.y,
            sample_domain=part.sample_domain,
            cv=take_folds(folds, rows),
            scoring=options.scoring,
            confidence_level=options.confidence_level,
            interval_for=options.interval_for,
            params=slice_params(params, rows),
        )
    except ValueError as error:
        return np.nan, np.nan, np.nan, str(error)
    return result.ntg, *result.interval, ""


def _transferability(
    score: SourceScore,
    data: Any,
    models: dict[int, Any],
    options: ScoreOptions,
    params: dict[str, Any],
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], list[str]]:
    if score.takes_domains:
        data = _sample(data, options, labeled=True)
    values, notes = [], []
    for source, model in models.items():
        if isinstance(model, NoModel):
            values.append(np.nan)
            notes.append(model.reason)
            continue
        rows, extra = data.is_labeled_target, {}
        if score.takes_domains:
            rows = rows | data.rows_of(source)
            extra = {"sample_domain": data.sample_domain[rows]}
        if options.task and hasattr(score.scorer, "score_func"):
            extra["task"] = options.task
        try:
            y, weight = data.labels(rows), None
            if params.get("exposure") is not None:
                exposed = {"exposure": params["exposure"]}
                y, weight = labels_to_score(model, data, rows, exposed)
            if weight is not None:
                extra["sample_weight"] = weight
            value = score.scorer(model, take_rows(data.X, rows), y, **extra)
            values.append(float(value))
            notes.append("")
        except (AttributeError, TypeError, ValueError) as error:
            # the first two: the model has no features, probabilities or predictions
            values.append(np.nan)
            notes.append(str(error))
    nothing = np.full(len(values), np.nan)
    return np.array(values), nothing, nothing, notes


def choose_sources(
    score: Any, values: Any, threshold: float | None, n_sources: int | None
) -> NDArray[np.bool_]:
    """Choose the sources to keep.

    Parameters
    ----------
    score : SourceScore
        Gives the direction.
    values : ndarray of shape (n_sources,)
        The score of each source; one with NaN is not kept.
    threshold : float or None
        Worst value that is kept.
    n_sources : int or None
        Largest number that is kept; of equal sources the first.

    Returns
    -------
    keep : ndarray of bool of shape (n_sources,)
        True for sources to keep.
    """
    if threshold is None and n_sources is None:
        if score.kind == "ntg":
            threshold = 0.0
        else:
            n_sources = ceil(len(values) / 2)
    cost = -values if score.higher_is_better else values
    keep = ~np.isnan(values)
    if threshold is not None:
        keep &= cost <= (-threshold if score.higher_is_better else threshold)
    order = np.argsort(cost, kind="stable")
    order = order[keep[order]][:n_sources]
    return np.isin(np.arange(len(values)), order)


def _selection(
    chosen: list[SourceScore],
    results: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any], list[str]]],
    select_by: str | None,
    threshold: float | None,
    n_sources: int | None,
    n_ids: int,
) -> NDArray[np.bool_]:
    """Return the mask of the selected sources."""
    defined = {
        score.name: (score, values)
        for score, (values, *_) in zip(chosen, results, strict=True)
        if score.name == select_by or not np.isnan(values).all()
    }
    if select_by is None:
        gaps = [name for name, (score, _) in defined.items() if score.kind == "ntg"]
        select_by = next(iter([*gaps, *defined]), None)
    if select_by not in defined:
        return np.zeros(n_ids, dtype=bool)
    return choose_sources(*defined[select_by], threshold, n_sources)


def _table(
    chosen: list[SourceScore],
    results: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any], list[str]]],
    ids: NDArray[Any],
    selected: NDArray[np.bool_],
) -> dict[str, Any]:
    n_scores, n_sources = len(chosen), len(ids)
    values, low, high = (
        np.concatenate([np.empty(0), *(result[k] for result in results)])
        for k in range(3)
    )
    ranks = [_ranks(s, r[0]) for s, r in zip(chosen, results, strict=True)]
    better = np.array([score.higher_is_better for score in chosen], dtype=bool)

    def repeat(names: list[str]) -> NDArray[Any]:
        return np.repeat(np.array(names, dtype=object), n_sources)

    return {
        "source": np.tile(ids, n_scores),
        "score": repeat([score.name for score in chosen]),
        "kind": repeat([score.kind for score in chosen]),
        "value": values,
        "low": low,
        "high": high,
        "higher_is_better": np.repeat(better, n_sources),
        "rank": np.concatenate([np.empty(0), *ranks]),
        "selected": np.tile(selected, n_scores),
        "note": np.array([n for result in results for n in result[3]], dtype=object),
    }


def _ranks(score: SourceScore, values: NDArray[Any]) -> NDArray[Any]:
    cost = -values if score.higher_is_better else values
    return rankdata(cost, method="min", nan_policy="omit")
