"""SourceInfluence: fit without the parts of the sources that hurt."""

import warnings
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.metrics import get_scorer_names
from sklearn.utils import check_random_state

from sktransfer._compat import Interval, StrOptions
from sktransfer._folds import check_groups
from sktransfer._learners import LearnerMethodsMixin
from sktransfer.base import (
    TakesGroupsMixin,
    TransferMetaEstimator,
    get_transfer_tags,
    slice_params,
    without_sources,
)
from sktransfer.exceptions import NegativeTransferWarning
from sktransfer.metrics._negative_transfer import labeled_folds
from sktransfer.metrics._pair import check_knows_domains, fit_transfer
from sktransfer.metrics._source_parts import SOURCE_PARTS
from sktransfer.metrics._subset_influence import METHODS, SubsetStudy

__all__ = ["SourceInfluence"]


class SourceInfluence(TakesGroupsMixin, LearnerMethodsMixin, TransferMetaEstimator):
    r"""Leave out the parts of the sources that hurt, and fit any transfer method.

    The influence of each part, such as a source or a class of a source, is estimated
    by fits on many subsets of the parts, as in
    :func:`~sktransfer.metrics.subset_influence`. Parts with a negative influence are
    left out, the most negative first, as long as that raises the cross-validated
    score.

    Parameters
    ----------
    estimator : estimator
        Estimator with ``sample_domain``, such as ``Pooled(LogisticRegression())``, or a
        pipeline that ends in one.
    parts : {"source", "class", "cluster"}, default="source"
        What is left out together: a source, the samples of a class in a source, or a
        cluster of the samples of a source.
    n_subsets : int >= 2, default=64
        Most subsets of the parts. Up to 6 parts have no more than 64, which makes the
        influences exact; see :func:`~sktransfer.metrics.subset_influence`.
    method : {"refit", "gradient"}, default="refit"
        How subsets are fitted, as in :func:`~sktransfer.metrics.subset_influence`.
        Which parts to leave out is decided by fits in any case.
    drop : bool, default=True
        Whether to leave out parts. False: fit on all of them and only estimate.
    n_clusters : int >= 1, default=2
        Clusters of each source for ``parts="cluster"``.
    cv : int, splitter or iterable, default=5
        Folds of labeled target samples, as in
        :func:`~sktransfer.metrics.cross_val_ntg`.
    scoring : str, callable or None, default=None
        Scorer, higher is better. None: the ``score`` method.
    n_jobs : int, default=None
        Number of fits in parallel.
    random_state : int, RandomState instance or None, default=0
        Seed of folds, subsets and clusters.

    Attributes
    ----------
    estimator_ : estimator
        The fitted clone of ``estimator``.
    influence_ : dict
        Influence of each part: source id, ``(source id, class)`` or ``(source id,
        number of the cluster)``.
    standard_error_ : dict
        Its standard error.
    exact_ : bool
        Whether all subsets were used.
    dropped_parts_ : list
        Parts that are left out, the most negative first.
    path_scores_ : ndarray of shape (n_steps,)
        Cross-validated score without the 0, 1, 2, ... most negative parts, down to the
        last one with a negative influence.
    kept_ : ndarray of bool of shape (n_samples,)
        Samples that take part in the fit.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    sktransfer.metrics.subset_influence : The influences alone.
    SourceSelector : Judges each source alone.
    SourceClusters : Makes clusters of the sources' samples sources.

    Notes
    -----
    With no part left, the estimator is fitted on the target alone, with a
    :class:`~sktransfer.exceptions.NegativeTransferWarning`. The choice is made by the
    same labels that the fit learns from; an honest estimate of the error comes from a
    cross-validation around the whole.

    References
    ----------
    .. [1] S. Jain et al., "A data-based perspective on transfer learning", CVPR
       (2023), :arxiv:`2207.05739`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sktransfer.baselines import Pooled
    >>> from sktransfer.multisource import SourceInfluence
    >>> rng = np.random.default_rng(0)
    >>> domain = np.repeat([1, 2, -1], [60, 60, 40])
    >>> X = rng.normal(size=(160, 2))
    >>> y = np.where(X[:, 0] * np.where(domain == 2, -1, 1) > 0, "yes", "no")
    >>> model = SourceInfluence(Pooled(LogisticRegression()))
    >>> model.fit(X, y, sample_domain=domain).dropped_parts_
    [2]
    """

    _parameter_constraints: dict[str, Any] = {
        **TransferMetaEstimator._parameter_constraints,
        "parts": [StrOptions(set(SOURCE_PARTS))],
        "n_subsets": [Interval(Integral, 2, None, closed="left")],
        "method": [StrOptions(set(METHODS))],
        "drop": ["boolean"],
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "cv": ["cv_object"],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        parts: str = "source",
        n_subsets: Any = 64,
        method: str = "refit",
        drop: bool = True,
        n_clusters: Any = 2,
        cv: Any = 5,
        scoring: Any = None,
        n_jobs: int | None = None,
        random_state: Any = 0,
    ) -> None:
        super().__init__(estimator)
        self.parts = parts
        self.n_subsets = n_subsets
        self.method = method
        self.drop = drop
        self.n_clusters = n_clusters
        self.cv = cv
        self.scoring = scoring
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _fit_estimator(self, data: Any, fit_params: dict[str, Any]) -> Any:
        check_knows_domains(self.estimator)
        check_groups(fit_params.get("groups"), data)
        # every inner fit gets the domains of its own rows
        fit_params = {k: v for k, v in fit_params.items() if k != "sample_domain"}
        self.influence_: dict[Any, float] = {}
        self.standard_error_: dict[Any, float] = {}
        self.dropped_parts_: list[Any] = []
        self.path_scores_ = np.empty(0)
        self.exact_ = True
        kept = self._existing(data, fit_params)[2]
        if data.take(kept).n_source:
            kept = self._judge(data, fit_params, kept)
        self.kept_ = kept
        part, params = data.take(kept), slice_params(fit_params, kept)
        estimator = self.estimator
        if data.n_source and not part.n_source:
            estimator = without_sources(estimator)
        return fit_transfer(estimator, part, params)

    def _judge(
        self, data: Any, fit_params: dict[str, Any], kept: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Estimate the influences and return the rows to fit on."""
        rng = check_random_state(self.random_state)
        folds = labeled_folds(
            data, self.cv, params=fit_params, stratify=is_classifier(self.estimator),
            random_state=rng,
        )  # fmt: skip
        options = {
            "params": fit_params, "parts": self.parts, "n_clusters": self.n_clusters,
            "scoring": self.scoring, "n_jobs": self.n_jobs,
            "seed": rng.randint(np.iinfo(np.int32).max),
        }  # fmt: skip
        study = SubsetStudy(self.estimator, data, folds, method=self.method, **options)
        found = study.influence(self.n_subsets)
        self.exact_ = found.exact
        self.influence_ = dict(zip(found.parts, found.influence.tolist(), strict=True))
        self.standard_error_ = dict(
            zip(found.parts, found.standard_error.tolist(), strict=True)
        )
        if not self.drop:
            return kept
        worst = np.argsort(found.influence, kind="stable")
        worst = worst[found.influence[worst] < 0]
        path = np.ones((len(worst) + 1, len(found.parts)), dtype=bool)
        for step, part in enumerate(worst):
            path[step + 1 :, part] = False
        if self.method != "refit":
            study = SubsetStudy(self.estimator, data, folds, method="refit", **options)
        self.path_scores_ = study.means(path)
        best = int(np.argmax(self.path_scores_))  # of equal ones the fewest left out
        self.dropped_parts_ = [found.parts[part] for part in worst[:best]]
        if best == len(found.parts):
            warnings.warn(
                "Every part of the sources has a negative influence, and without all "
                "of them the cross-validated score is best: the estimator is fitted "
                "on the target alone.",
                NegativeTransferWarning,
                stacklevel=6,
            )
        return kept & (data.is_target | np.append(path[best], False)[found.codes])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        try:
            inner = get_transfer_tags(self.estimator)
        except TypeError:  # a plain estimator: fit refuses it by name
            return tags
        tags.transfer_tags = inner
        inner.multi_target = False
        inner.target_labels = "required"
        inner.unlabeled_sources = False
        if self.parts == "class":
            tags.target_tags.multi_output = False
        if self.parts == "cluster":
            inner.scale_free = False
            tags.input_tags.allow_nan = False
        return tags
