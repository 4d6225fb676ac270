"""A pool of models that grows batch by batch and drops unrelated ones."""

from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier

from sktransfer._compat import Interval
from sktransfer._domains import take_rows
from sktransfer._folds import check_groups, deal_rows, deal_units
from sktransfer._learners import fit_or_constant, predict_learner
from sktransfer._response import union_of_classes
from sktransfer._source_models import (
    ClassifierMixture,
    SourceModelCombiner,
    check_has_proba,
    fit_domain,
    models_or_rows,
)
from sktransfer.base import TakesGroupsMixin, slice_params
from sktransfer.exceptions import UnlabeledTargetError
from sktransfer.metrics import q_statistic

__all__ = ["IncrementalSourceEnsemble"]

_N_FOLDS = 5


class IncrementalSourceEnsemble(TakesGroupsMixin, SourceModelCombiner):
    r"""Selective transfer, batch by batch: keep the models that err like the new one.

    A pool holds the models of earlier batches. A new batch gets a model of its own,
    models of the pool that are unrelated to it are dropped, and the others predict
    together with it, by their accuracy. Sources are the first batches, in the order of
    their ids, and the target is the last; ``partial_fit`` goes on from there.

    Parameters
    ----------
    estimator : estimator
        Classifier with ``predict_proba``. A clone is fitted on each batch.
    source_models : estimator or list of them, default=None
        Fitted classifiers of earlier batches, the oldest first, which clones keep.
        They take the place of source rows. In a parameter grid give each as
        ``FrozenEstimator(model)``.
    threshold : float in [-1, inf), default=0.0
        Models with a smaller Q statistic are dropped. With -1 none is; above 1 all
        are, which leaves the model of the batch alone.
    max_models : int in [1, inf) or None, default=20
        Size of the pool, the model of the last batch included. Beyond it the least
        diverse models go. None: no limit.
    n_jobs : int, default=None
        Number of sources fitted in parallel. None means 1 unless in a joblib
        backend context, -1 all processors.

    Attributes
    ----------
    estimator_ : estimator
        The weighted mean of the pool.
    models_ : list of estimator
        The pool, the oldest model first. The last one is that of the last batch.
    source_weights_ : ndarray of shape (n_models,)
        Weights of the pool; they sum to 1.
    q_statistics_ : ndarray of shape (n_earlier,)
        Q of each model that was in the pool before the last batch.
    kept_ : ndarray of shape (n_earlier,)
        Which of these are still in it.
    n_batches_ : int
        Number of batches, sources and given models included.
    source_ids_ : ndarray of shape (n_sources,)
        Domain id of each source of ``fit``; of given models 1, 2, ...
    classes_ : ndarray of shape (n_classes,)
        Class labels of all batches.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    SourceSelector : Drop sources by a score, for any estimator.
    sktransfer.metrics.q_statistic : The statistic.

    Notes
    -----
    With :math:`Q_i` Yule's statistic of the correctness of model i and of the model
    of the batch, on the batch's labeled rows, the pool keeps
    :math:`\{i : Q_i \ge \tau\}`, and [1]_

    .. math:: p(x) = \sum_i w_i\, p_i(x), \qquad w_i \propto \mathrm{acc}_i,

    with accuracies on the same rows. The model of the batch was fitted on these rows,
    so its own answers are those of a cross-fit in five folds, which deal out whole
    units where there are ``groups``. Where Q is 0/0, as where
    one of both models is always right, it counts as 1 if model i is right at least as
    often as the other, else as -1.

    If the pool exceeds ``max_models``, the model goes whose Q with the others of the
    pool is largest on average, of equal ones the oldest; the model of the batch stays.

    ``fit`` puts the models of all sources into the pool and lets the target judge
    them; ``partial_fit`` lets each batch judge the pool before it. A user's
    ``sample_weight`` counts rows. Without a labeled target row ``fit`` gives the
    sources equal weights. A batch of ``partial_fit`` needs labels.

    References
    ----------
    .. [1] G. Xie, Y. Sun, M. Lin, K. Tang. A selective transfer learning method for
       concept drift adaptation. Advances in Neural Networks, ISNN, 2017.
       :doi:`10.1007/978-3-319-59081-3_42`

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sktransfer.multisource import IncrementalSourceEnsemble
    >>> rng = np.random.default_rng(0)
    >>> def batch(sign):
    ...     X = rng.normal(size=(80, 2))
    ...     return X, (sign * X[:, 0] + rng.normal(size=80) > 0).astype(int)
    >>> model = IncrementalSourceEnsemble(LogisticRegression())
    >>> for sign in (1, 1, -1):  # the last batch has the rule reversed
    ...     print(len(model.partial_fit(*batch(sign)).models_))
    1
    2
    1
    """

    _parameter_constraints: dict[str, Any] = {
        **SourceModelCombiner._parameter_constraints,
        "threshold": [Interval(Real, -1, None, closed="left")],
        "max_models": [Interval(Integral, 1, None, closed="left"), None],
    }
    _routed_methods = ("fit",)
    __metadata_request__partial_fit = {"groups": True}

    def __init__(
        self,
        estimator: Any,
        *,
        source_models: Any = None,
        threshold: Any = 0.0,
        max_models: Any = 20,
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(estimator, source_models=source_models, n_jobs=n_jobs)
        self.threshold = threshold
        self.max_models = max_models

    def _fit_estimator(self, data: Any, fit_params: dict[str, Any]) -> Any:
        check_has_proba(self.estimator, type(self).__name__)
        part, params, units, kept = self._prepared(data, fit_params)
        models, self.source_ids_ = models_or_rows(
            self, part, params, method="predict_proba"
        )
        self.models_, self.n_batches_ = list(models), len(models)
        model = self._add_batch(part, params, units)
        if not kept.all():
            self._restore_rows(data, kept)
        return model

    def _prepared(
        self, data: Any, fit_params: dict[str, Any]
    ) -> tuple[Any, Any, Any, NDArray[np.bool_]]:
        """Return rows of positive weight, their metadata and units, and their mask."""
        units = check_groups(fit_params.get("groups"), data)
        params = {k: v for k, v in fit_params.items() if k != "groups"}
        part, params, kept = self._existing(data, params)
        return part, params, None if units is None else units[kept], kept

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, groups: Any = None, **fit_params: Any
    ) -> Self:
        """Add a batch: a model of its own, and the related ones of the pool.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of the batch.
        y : array-like of shape (n_samples,)
            Their labels, all known. A batch may lack classes, and bring new ones.
        classes : array-like of shape (n_classes,), default=None
            All classes, if more are to come than the batches have brought so far.
        groups : array-like of shape (n_samples,), default=None
            Unit of each row, such as the patient, where units have several rows.
        **fit_params : dict
            Metadata that the estimator requests for ``fit``, one entry per row.

        Returns
        -------
        self : object
            The estimator, a batch further.
        """
        if "sample_domain" in fit_params:
            raise TypeError(
                "partial_fit takes one batch of one domain, and no sample_domain: call "
                "it once for each domain, the target last."
            )
        if groups is not None:
            fit_params["groups"] = groups
        first = not hasattr(self, "models_")
        if first:
            self._validate_params()
            if self.source_models is not None:
                self.fit(X, y, **fit_params)
                self._extend(classes)
                return self
            check_has_proba(self.estimator, type(self).__name__)
            self.models_, self.n_batches_ = [], 0
            self.source_ids_ = np.zeros(0, dtype=np.int64)
        try:
            data = self._validate_domains(X, y, None, skip_check_X=True, reset=first)
            params = self._route("fit", data, fit_params)
            data, params, units, _ = self._prepared(data, params)
            known = [] if first else [self.classes_]
            extra = [] if classes is None else [classes]
            union_of_classes([*known, *extra, np.unique(data.y_labeled)])
        except Exception:
            if first:  # nothing has been fitted
                del self.models_, self.n_batches_, self.source_ids_
            raise
        known = getattr(self, "estimator_", None)
        self.estimator_ = self._add_batch(data, params, units)
        if known is not None:  # classes that only dropped models had
            self._extend(known.classes_)
        self._extend(classes)
        return self

    def _extend(self, classes: Any) -> None:
        """Add columns of classes that no model of the pool has."""
        if classes is None:
            return
        everything = union_of_classes([self.classes_, classes])
        if len(everything) > len(self.classes_):
            self.estimator_ = ClassifierMixture(self.models_, self.source_weights_)
            self.estimator_.classes_ = everything

    def _add_batch(
        self, data: Any, fit_params: dict[str, Any], units: NDArray[Any] | None
    ) -> Any:
        """Fit the model of the batch, prune the pool and weigh it."""
        pool, rows = self.models_, data.is_labeled_target
        self.q_statistics_ = np.zeros(len(pool))
        self.kept_ = np.ones(len(pool), dtype=bool)
        if not rows.any():
            if not pool:
                raise UnlabeledTargetError(
                    "IncrementalSourceEnsemble has no label to learn from."
                )
            return self._weigh(pool, np.ones(len(pool)))
        new = fit_domain(self.estimator, data, rows, fit_params)
        X, y = data.X_labeled, data.y_labeled
        params = slice_params(fit_params, rows)
        units = None if units is None else units[rows]
        right = np.array(
            [predict_learner(model, X) == y for model in pool]
            + [_cross_fitted_hits(self.estimator, new, X, y, units, params)]
        )
        weight = params.get("sample_weight")
        weight = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=float)
        self.q_statistics_ = np.array(
            [_q(hits, right[-1], weight) for hits in right[:-1]]
        )
        keep = np.append(self.q_statistics_ >= self.threshold, True)
        self._limit(keep, right, weight)
        self.kept_ = keep[:-1]
        self.n_batches_ += 1
        models = [m for m, kept in zip([*pool, new], keep, strict=True) if kept]
        return self._weigh(models, np.average(right[keep], axis=1, weights=weight))

    def _limit(
        self, keep: NDArray[np.bool_], right: NDArray[np.bool_], weight: NDArray[Any]
    ) -> None:
        """Drop the least diverse models until the pool has its size."""
        while self.max_models is not None and keep.sum() > self.max_models:
            index = np.flatnonzero(keep)
            likeness = [
                np.mean([_q(right[i], right[j], weight) for j in index if j != i])
                for i in index[:-1]
            ]
            keep[index[int(np.argmax(likeness))]] = False

    def _weigh(self, models: list[Any], accuracies: NDArray[Any]) -> Any:
        self.models_ = models
        total = accuracies.sum()
        equal = np.full(len(models), 1 / len(models))
        self.source_weights_ = accuracies / total if total > 0 else equal
        if len(models) == 1:
            return models[0]
        return ClassifierMixture(models, self.source_weights_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if is_classifier(self.estimator):
            tags.target_tags.multi_output = False
        return tags


def _q(
    first: NDArray[np.bool_], second: NDArray[np.bool_], weight: NDArray[Any]
) -> float:
    """Return Q of the correctness of two models, with a value for 0/0."""
    undefined = 1.0 if weight @ first >= weight @ second else -1.0
    truth = np.ones(len(first))
    return q_statistic(
        truth, first, second, sample_weight=weight, zero_division=undefined
    )


def _cross_fitted_hits(
    learner: Any,
    model: Any,
    X: Any,
    y: Any,
    units: NDArray[Any] | None,
    params: dict[str, Any],
) -> NDArray[np.bool_]:
    """Tell on which rows a learner is right that has not seen them."""
    hits = np.asarray(predict_learner(model, X) == y)
    rng = np.random.RandomState(0)
    if units is None:
        folds = deal_rows(X, y, _N_FOLDS, True, rng)
    else:
        folds = deal_units(units, y, _N_FOLDS, True, rng)
    for test in folds:
        train = np.ones(len(y), dtype=bool)
        train[test] = False
        if train.any():
            fitted = fit_or_constant(
                learner, take_rows(X, train), y[train], **slice_params(params, train)
            )
            hits[test] = predict_learner(fitted, take_rows(X, test)) == y[test]
    return hits
