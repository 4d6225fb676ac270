"""SourceSelector: drop sources by a score before any transfer method."""

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.metrics import get_scorer_names
from sklearn.utils import check_random_state

from sktransfer._compat import Interval, StrOptions
from sktransfer._folds import check_groups, take_folds
from sktransfer._learners import LearnerMethodsMixin
from sktransfer.base import (
    TakesGroupsMixin,
    TransferMetaEstimator,
    get_transfer_tags,
    slice_params,
    without_sources,
)
from sktransfer.exceptions import NegativeTransferWarning, UnlabeledTargetError, warn
from sktransfer.metrics._negative_transfer import labeled_folds
from sktransfer.metrics._pair import check_knows_domains, fit_transfer
from sktransfer.metrics._rank_sources import (
    SOURCE_SCORES,
    ScoreOptions,
    choose_sources,
    resolve_score,
    score_sources,
    why_not,
)

__all__ = ["SourceSelector"]


class SourceSelector(TakesGroupsMixin, LearnerMethodsMixin, TransferMetaEstimator):
    r"""Drop sources by a score and fit any transfer method on the others.

    Every source is scored against the target; the wrapped estimator is fitted on the
    sources that are kept and the target. If none is kept, it is fitted on the target
    alone, :math:`\theta(0,T)`, with a
    :class:`~sktransfer.exceptions.NegativeTransferWarning`.

    Parameters
    ----------
    estimator : estimator
        Estimator that takes `sample_domain`, such as ``Pooled(LogisticRegression())``,
        or a pipeline that ends in one. One that takes a single source needs
        ``n_sources=1``.
    source_score : str or callable, default="mmd"
        What to judge a source by.

        - Lower is better, and all target rows count: "mmd", "coral_distance",
          "proxy_a_distance", "wasserstein", "sinkhorn_divergence",
          "sliced_wasserstein", "gaussian_kl", "bregman", "hsic", "rank_of_domain".
        - Lower is better, needs labeled target rows: "label_informed_divergence",
          and "ntg", the cross-validated negative transfer gap of `estimator` with
          that source alone.
        - Higher is better, and all target rows count: "feature_correlation",
          "domain_transferability_estimation".
        - Higher is better, needs labeled target rows: "q_statistic", "azab_weights",
          and the scores of `estimator` fitted on that source alone: "leep", "nce",
          "n_leep", "h_score", "logme", "transrate", "silhouette", "gbc", "otce",
          "affinity" (that of :func:`~sktransfer.metrics.transfer_affinity`), or a
          callable ``scorer(source_model, X, y)``, for which any scorer of scikit-learn
          will do.
    threshold : float, default=None
        Keep a source whose score is at most this where lower is better, or at least
        this where higher is better.
    n_sources : int >= 1, default=None
        Keep that many at most, the best; of equal ones the smaller id. If this and
        `threshold` are None, "ntg" keeps the gaps up to 0 and any other score the
        better half, rounded up.
    cv : int, splitter or iterable, default=5
        Folds of "ntg", as in :func:`~sktransfer.metrics.cross_val_ntg`.
    scoring : str, callable or None, default=None
        Scorer of "ntg", higher is better. None: the ``score`` method.
    max_samples : int or None, default=500
        Similarity and transport replace a domain with more rows by a random sample
        of this size. None: all rows.
    n_jobs : int, default=None
        Number of parallel jobs for the scores. None means 1 unless in a joblib
        backend context, -1 all processors.
    random_state : int, RandomState instance or None, default=0
        Seed of the samples and folds.

    Attributes
    ----------
    estimator_ : estimator
        The fitted clone of ``estimator``.
    scores_ : dict of int to float
        Score of each source id; NaN where it is undefined, and such a source is
        dropped.
    kept_sources_ : ndarray of shape (n_kept,)
        Ids of the sources in the fit, ascending.
    dropped_sources_ : ndarray of shape (n_dropped,)
        Ids of the other sources, ascending.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    sktransfer.metrics.rank_sources : All scores of all sources in one table.
    SingleBestSource : Choose one source by its model's score on the target.
    sktransfer.safe.TransferGuard : Decide between all sources and none.

    Notes
    -----
    With scores :math:`s_k`, of which lower is better, and ``threshold``
    :math:`\tau`, the sources :math:`\{k : s_k \le \tau\}` are kept, of these the
    ``n_sources`` with the smallest scores.

    Similarities compare the columns of ``X`` as they arrive: put a scaler in front,
    ``make_pipeline(StandardScaler(), SourceSelector(...))``, if units differ. Scores
    that use labels of target rows choose by the same rows that the fit learns from;
    an honest estimate of the error comes from a cross-validation around the whole.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from sktransfer.baselines import Pooled
    >>> from sktransfer.multisource import SourceSelector
    >>> rng = np.random.default_rng(0)
    >>> domain = np.repeat([1, 2, -1], 30)
    >>> X = rng.normal(size=(90, 2)) + np.where(domain == 2, 5.0, 0.0)[:, None]
    >>> y = X[:, 0] * np.where(domain == 2, -1.0, 1.0)
    >>> model = SourceSelector(Pooled(Ridge()), threshold=0.2)
    >>> model.fit(X, y, sample_domain=domain).kept_sources_
    array([1])
    >>> {source: round(value, 1) for source, value in model.scores_.items()}
    {1: 0.0, 2: 1.5}
    """

    _parameter_constraints: dict[str, Any] = {
        **TransferMetaEstimator._parameter_constraints,
        "source_score": [StrOptions(set(SOURCE_SCORES)), callable],
        "threshold": [Interval(Real, None, None, closed="neither"), None],
        "n_sources": [Interval(Integral, 1, None, closed="left"), None],
        "cv": ["cv_object"],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "max_samples": [Interval(Integral, 2, None, closed="left"), None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        source_score: Any = "mmd",
        threshold: float | None = None,
        n_sources: Any = None,
        cv: Any = 5,
        scoring: Any = None,
        max_samples: int | None = 500,
        n_jobs: int | None = None,
        random_state: Any = 0,
    ) -> None:
        super().__init__(estimator)
        self.source_score = source_score
        self.threshold = threshold
        self.n_sources = n_sources
        self.cv = cv
        self.scoring = scoring
        self.max_samples = max_samples
        self.n_jobs = n_jobs
        self.random_state = random_state

    _hands_exposure_on = True

    def _fit_estimator(self, data: Any, fit_params: dict[str, Any]) -> Any:
        check_knows_domains(self.estimator)
        check_groups(fit_params.get("groups"), data)
        # every inner fit gets the domains of its own rows
        fit_params = {k: v for k, v in fit_params.items() if k != "sample_domain"}
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        every, all_params = data, fit_params
        data, fit_params, kept = self._existing(every, all_params)

        def find_folds() -> list[tuple[NDArray[Any], NDArray[Any]]]:
            # explicit folds count all rows
            folds = labeled_folds(
                every, self.cv, params=all_params,
                stratify=is_classifier(self.estimator), random_state=seed,
            )  # fmt: skip
            return take_folds(folds, kept)

        values, keep = self._judge(data, fit_params, find_folds, seed)
        sources = data.sources
        self.scores_ = dict(zip(sources.tolist(), values.tolist(), strict=True))
        self.kept_sources_, self.dropped_sources_ = sources[keep], sources[~keep]
        estimator = self.estimator
        if data.n_source and not keep.any():
            self._check_none_kept(data)
            estimator = without_sources(estimator)
        rows = data.is_target | np.isin(data.sample_domain, self.kept_sources_)
        params = slice_params(fit_params, rows)
        return fit_transfer(estimator, data.take(rows), params)

    def _judge(
        self,
        data: Any,
        fit_params: dict[str, Any],
        find_folds: Callable[..., Any],
        seed: int,
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return the score of each source, and which sources are kept."""
        if not data.n_source:
            return np.zeros(0), np.zeros(0, dtype=bool)
        score = resolve_score(self.source_score)
        reason = why_not(score, data, self.estimator, None, params=fit_params)
        if reason:
            raise ValueError(f"source_score={score.name!r} {reason}.")
        options = ScoreOptions(
            cv=find_folds() if score.kind in ("ntg", "affinity") else self.cv,
            scoring=self.scoring,
            max_samples=self.max_samples,
            n_jobs=self.n_jobs,
            seed=seed,
        )
        ((values, _, _, notes),) = score_sources(
            [score], data, self.estimator, None, options, fit_params
        )
        undefined = np.flatnonzero(np.isnan(values))
        if len(undefined) == len(values):
            raise ValueError(
                f"source_score={score.name!r} is undefined for every source: {notes[0]}"
            )
        for k in undefined:
            warn(
                f"source_score={score.name!r} is undefined for source "
                f"{data.sources[k]}, which is dropped: {notes[k]}",
                UserWarning,
            )
        keep = choose_sources(score, values, self.threshold, self.n_sources)
        return values, keep

    def _check_none_kept(self, data: Any) -> None:
        values = ", ".join(f"{k}: {v:.3g}" for k, v in self.scores_.items())
        name = resolve_score(self.source_score).name
        what = f"No source passes the threshold of source_score={name!r} ({values})"
        if not data.n_labeled:
            raise UnlabeledTargetError(
                f"{what}, and no target row is labeled, so that nothing is left to "
                "learn from. Change threshold, or label target rows."
            )
        warn(
            f"{what}: the estimator is fitted on the target alone.",
            NegativeTransferWarning,
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        try:
            inner = get_transfer_tags(self.estimator)
        except TypeError:  # a plain estimator: fit refuses it by name
            return tags
        tags.transfer_tags = inner
        inner.multi_source = inner.multi_source or self.n_sources == 1
        inner.multi_target = False
        inner.scale_free = inner.scale_free and self.source_score == "ntg"
        if not (callable(self.source_score) or self.source_score in SOURCE_SCORES):
            return tags  # fit refuses it by name
        score = resolve_score(self.source_score)
        if score.needs_target_labels:
            inner.target_labels = "required"
        elif score.kind == "similarity":
            inner.uses_unlabeled = True
        if score.kind == "similarity":
            tags.input_tags.allow_nan = False
        return tags
