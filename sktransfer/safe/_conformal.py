"""Intervals and sets around the predictions of a transferred model."""

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sktransfer._compat import HasMethods, Interval, StrOptions
from sktransfer._domains import (
    canonical_order,
    check_sample_domain,
    check_scorable,
    take_rows,
)
from sktransfer._folds import check_groups, target_folds
from sktransfer._learners import has_method
from sktransfer._solvers.conformal import (
    cross_interval,
    cross_set,
    split_quantile,
    weighted_quantiles,
)
from sktransfer.base import (
    CommonColumns,
    TakesGroupsMixin,
    TransferMetaEstimator,
    as_rows,
    consumes_sample_domain,
    get_transfer_tags,
    slice_params,
)
from sktransfer.metrics._pair import fit_transfer

__all__ = ["TransferConformal"]

#: with so many labels some can be spared for calibration
_ENOUGH_LABELS = 50


class TransferConformal(TakesGroupsMixin, TransferMetaEstimator):
    r"""Put intervals, or sets of classes, around predictions of a transferred model.

    Held-out residuals measure how far predictions are off; an interval or a set
    contains a new label with probability 1 - `alpha`, on average over labels and rows.
    The sources may be as bad as they like: they cost width, not coverage, where target
    labels calibrate.

    Parameters
    ----------
    estimator : estimator
        Classifier with ``predict_proba`` or regressor that takes `sample_domain`, such
        as ``Pooled(Ridge())`` or a :class:`~sktransfer.safe.TransferGuard`.
    alpha : float in (0, 1), default=0.1
        Probability that an interval or a set may miss the label.
    method : {"auto", "jackknife+", "split", "weighted"}, default="auto"
        What calibrates. "jackknife+": each labeled target row in turn, left out of a
        fit with all other rows; one fit per labeled target row. "split": labeled target
        rows that no fit sees. "weighted": source rows that no fit sees, weighted by the
        ratio of the densities of target and source; for covariate shift only, and as
        "split" where there is no source. "auto":
        "split" from 50 labeled target rows on; with fewer, "jackknife+" if intervals
        can be finite (:math:`n \ge 1 / \alpha - 1`) or there is no source, else
        "weighted".
    calibration_size : float in (0, 1), default=0.5
        Share of the rows that "split" and "weighted" keep for calibration.
    domain_classifier : classifier, default=None
        For "weighted": separates target rows from source rows by ``predict_proba``; its
        odds are the ratio of the densities. None: ``LogisticRegression()``.
    random_state : int, RandomState instance or None, default=0
        Seed that draws the rows for calibration.

    Attributes
    ----------
    estimator_ : estimator
        The fitted model that predicts. "jackknife+": fitted on all rows; else on those
        that do not calibrate.
    method_ : {"jackknife+", "split", "weighted"}
        What calibrated.
    models_ : list of estimator
        The fits that make the intervals: one per labeled target row (with groups: per
        group of them) for "jackknife+", else ``estimator_`` alone.
    scores_ : ndarray of shape (n_calibration,)
        Scores of the held-out rows: absolute residuals, or one minus the probability of
        the class.
    domain_classifier_ : classifier
        Only for "weighted": the fitted classifier of domains.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    TransferGuard : Decides whether the transferred model is used at all.

    Notes
    -----
    *Split.* With n scores, q is the :math:`\lceil (1 - \alpha)(n + 1) \rceil`-th
    smallest, infinite if that exceeds n. The interval is :math:`f(x) \pm q`, the set
    has the classes with :math:`1 - p_y(x) \le q`. Coverage is at least
    :math:`1 - \alpha` for exchangeable target rows.

    *Jackknife+.* With :math:`f_{-i}` the fit without row i and :math:`R_i` its
    score, the limits are the :math:`\lfloor \alpha (n + 1) \rfloor`-th smallest of
    :math:`f_{-i}(x) - R_i` and the :math:`\lceil (1 - \alpha)(n + 1) \rceil`-th of
    :math:`f_{-i}(x) + R_i` [1]_; a class y is in the set if
    :math:`R_i < 1 - p_{y,-i}(x)` for fewer than :math:`(1 - \alpha)(n + 1)` rows
    [2]_. Coverage is at least :math:`1 - 2 \alpha`, and about :math:`1 - \alpha` for
    learners that a single row does not change much.

    *Weighted.* The quantile of scores with the masses
    :math:`w(x_i) / (\sum_j w(x_j) + w(x))`, and the mass of the new row at infinity
    [3]_. Coverage is :math:`1 - \alpha` if the labels have the same distribution given
    the inputs in all domains and w is the true ratio; target labels check neither.

    With ``groups`` in ``fit``, such as the patient of each row, a group is left out or
    kept for calibration as a whole, "auto" counts groups, and coverage is about
    :math:`1 - \alpha` for rows of new groups; their scores count by row.

    A row that is the last of its class stays in the fit of "split"; a fit of the
    jackknife+ whose rows hold one class predicts that class.

    Coverage is over the draw of the rows, calibration included, and over all of the
    target: not for each x. :meth:`coverage` counts it, by domain.

    The formulas are evaluated here rather than by MAPIE or crepes, since only labeled
    target rows are held out, with source and unlabeled rows in every fit. Without
    sources the intervals of the jackknife+ are those of MAPIE.

    References
    ----------
    .. [1] R. F. Barber, E. J. Candes, A. Ramdas, R. J. Tibshirani. Predictive inference
       with the jackknife+. Annals of Statistics 49, 2021. :doi:`10.1214/20-AOS1965`.
    .. [2] Y. Romano, M. Sesia, E. J. Candes. Classification with valid and adaptive
       coverage. Advances in Neural Information Processing Systems 33, 2020.
    .. [3] R. J. Tibshirani, R. F. Barber, E. J. Candes, A. Ramdas. Conformal prediction
       under covariate shift. Advances in Neural Information Processing Systems 32,
       2019.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sktransfer.baselines import Pooled
    >>> from sktransfer.datasets import make_concept_shift
    >>> from sktransfer.safe import TransferConformal
    >>> data = make_concept_shift(100, n_labeled=30, noise=0.5, random_state=0)
    >>> model = TransferConformal(Pooled(Ridge()), alpha=0.2)
    >>> model = model.fit(data.X, data.y, sample_domain=data.sample_domain)
    >>> model.method_
    'jackknife+'
    >>> model.predict_interval(data.X_test).shape
    (1000, 2)
    >>> bool(0.7 < model.coverage(data.X_test, data.y_test)[-1] < 0.9)
    True
    """

    _parameter_constraints: dict[str, Any] = {
        **TransferMetaEstimator._parameter_constraints,
        "alpha": [Interval(Real, 0, 1, closed="neither")],
        "method": [StrOptions({"auto", "jackknife+", "split", "weighted"})],
        "calibration_size": [Interval(Real, 0, 1, closed="neither")],
        "domain_classifier": [HasMethods(["fit", "predict_proba"]), None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        alpha: Any = 0.1,
        method: Any = "auto",
        calibration_size: Any = 0.5,
        domain_classifier: Any = None,
        random_state: Any = 0,
    ) -> None:
        super().__init__(estimator)
        self.alpha = alpha
        self.method = method
        self.calibration_size = calibration_size
        self.domain_classifier = domain_classifier
        self.random_state = random_state

    def fit(
        self,
        X: Any,
        y: Any,
        sample_domain: Any = None,
        groups: Any = None,
        **fit_params: Any,
    ) -> Any:
        """Fit the model and hold out the samples that calibrate.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of every domain, in any order.
        y : array-like of shape (n_samples,)
            Labels. Those of unlabeled target rows are missing: NaN among numbers,
            None among objects; see :func:`~sktransfer.datasets.mark_unlabeled`.
        sample_domain : array-like of shape (n_samples,), default=None
            Positive ids for sources, negative for the target. None: every row is a
            labeled target row.
        groups : array-like of shape (n_samples,), default=None
            Unit of each row, such as the patient, where units have several rows: a
            unit never is fitted on and calibrates at once. Rows of a source, or without
            a label, may have none (None or NaN).
        **fit_params : dict
            Metadata that the wrapped estimator requests, one entry per row. Rows of
            weight 0 are left out; other held-out rows count alike.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        DomainError
            If the rows break the domain contract or ask for more than the tags
            declare.
        TypeError
            If the wrapped estimator cannot answer, or takes no `sample_domain`.
        """
        if groups is not None:
            fit_params["groups"] = groups
        return TransferMetaEstimator.fit(
            self, X, y, sample_domain=sample_domain, **fit_params
        )

    def _drop_weightless(
        self, data: Any, params: dict[str, Any], *, is_batch: bool = False
    ) -> tuple[Any, dict[str, Any], NDArray[np.bool_]]:
        return TransferMetaEstimator._drop_weightless(
            self, data, params, is_batch=is_batch
        )

    def _fit_estimator(self, data: Any, fit_params: dict[str, Any]) -> Any:
        if not (is_classifier(self.estimator) or is_regressor(self.estimator)):
            raise TypeError(
                f"estimator={self.estimator!r} is neither a classifier nor a regressor."
            )
        if is_classifier(self.estimator) and not has_method(
            self.estimator, "predict_proba"
        ):
            raise TypeError(
                f"estimator={self.estimator!r} has no predict_proba, by which classes "
                "enter a set: calibrate it, e.g. in CalibratedClassifierCV."
            )
        if not consumes_sample_domain(self.estimator):
            raise TypeError(
                f"estimator={self.estimator!r} does not take sample_domain; wrap it, "
                "e.g. in Pooled of sktransfer.baselines."
            )
        params = {k: v for k, v in fit_params.items() if k != "sample_domain"}
        groups = params.get("groups")
        units = check_groups(groups, data)
        if units is None:
            units = np.arange(len(data.sample_domain))
        n_units = len(np.unique(units[data.is_labeled_target]))
        self.method_ = self._choose_method(data, n_units)
        if self.method_ == "jackknife+":
            return self._fit_jackknife(data, params, groups, n_units)
        return self._fit_split(data, params, None if groups is None else units)

    def _choose_method(self, data: Any, n: int) -> str:
        if self.method == "auto":
            if n >= _ENOUGH_LABELS:
                return "split"
            can_be_finite = n + 1 >= 1 / self.alpha - 1e-9
            return "jackknife+" if can_be_finite or not data.n_source else "weighted"
        if self.method == "weighted" and not data.n_source:
            return "split"  # without sources the target calibrates
        return self.method

    def _fit_jackknife(
        self, data: Any, params: dict[str, Any], groups: Any, n_units: int
    ) -> Any:
        model = fit_transfer(self.estimator, data, params)
        self.models_, scores = [], []
        # without the only row there may be no target row
        folds = n_units > 1 and target_folds(
            data, n_units, groups=groups, stratify=False, random_state=self.random_state
        )
        for train, test in folds or []:
            kept = np.zeros(len(data.sample_domain), dtype=bool)
            kept[train] = True
            self.models_.append(self._fit_part(data, kept, params))
            left = data.take(test)
            scores.append(self._scores(self.models_[-1], model, left.X, left.y_labeled))
        self.scores_ = np.concatenate([*scores, []])
        self._n_scored = list(map(len, scores))
        return model

    def _by_score(
        self, answers: list[NDArray[Any]], n_rows: int, *shape: Any
    ) -> NDArray[Any]:
        """Return the answers of the model of each score, shape (n_scores, ...)."""
        each = np.reshape(answers, (len(answers), n_rows, *shape))
        return np.repeat(each, self._n_scored, axis=0)

    def _fit_split(
        self, data: Any, params: dict[str, Any], units: NDArray[Any] | None
    ) -> Any:
        pool = data.is_source if self.method_ == "weighted" else data.is_labeled_target
        rows = np.flatnonzero(pool)
        n_held_out = int(np.floor(self.calibration_size * len(rows)))
        rng = check_random_state(self.random_state)
        if units is None:
            units = np.arange(len(pool))
            order = canonical_order(take_rows(data.X, rows), data.labels(rows), rng=rng)
            drawn = rows[order[rng.permutation(len(rows))[:n_held_out]]]
        else:
            names = rng.permutation(np.unique(units[rows]))
            names = names[: int(np.floor(self.calibration_size * len(names)))]
            drawn = rows[np.isin(units[rows], names)]
        kept = ~np.isin(units, units[drawn])
        if is_classifier(self.estimator) and len(drawn):
            # a class needs a row in the fit
            y_drawn = data.labels(drawn)
            for label in np.setdiff1d(y_drawn, data.labels(kept & data.labeled)):
                kept |= units == units[drawn[np.argmax(y_drawn == label)]]
        model = self._fit_part(data, kept, params)
        calibrates = pool & ~kept
        X, y = take_rows(data.X, calibrates), data.labels(calibrates)
        self.models_ = [model]
        self.scores_ = self._scores(model, model, X, y) if len(y) else np.empty(0)
        if self.method_ == "weighted":
            part = data.take(kept)
            learner = self.domain_classifier
            learner = LogisticRegression() if learner is None else clone(learner)
            try:
                learner.fit(part.X, part.is_target.astype(int))
            except (TypeError, ValueError) as error:
                raise ValueError(
                    "method='weighted' tells target rows from source rows, but "
                    f"domain_classifier={learner!r} cannot be fitted to them: give one "
                    f"that takes such rows, e.g. a pipeline. It says: {error}"
                ) from error
            self.domain_classifier_ = learner
            self._calibration_weights = (
                self._density_ratio(X) if len(y) else np.empty(0)
            )
        return model

    def _fit_part(
        self, data: Any, kept: NDArray[np.bool_], params: dict[Any, Any]
    ) -> Any:
        part = data.take(kept)
        if is_classifier(self.estimator) and kept.sum() < len(kept):
            y = part.labels(part.labeled)
            if len(np.unique(y)) == 1:
                return DummyClassifier().fit(take_rows(part.X, part.labeled), y)
        return fit_transfer(self.estimator, part, slice_params(params, kept))

    def _scores(self, model: Any, main: Any, X: Any, y: Any) -> NDArray[Any]:
        """Return scores of labels, infinite for a class that ``main`` has not seen."""
        if not is_classifier(self.estimator):
            return np.abs(np.asarray(y, dtype=float) - self._values(model, X))
        classes = main.classes_
        column = np.searchsorted(classes, y).clip(max=len(classes) - 1)
        score = 1 - self._proba(model, X, classes)[np.arange(len(y)), column]
        return np.where(classes[column] == y, score, np.inf)

    def _values(self, model: Any, X: Any) -> NDArray[Any]:
        return CommonColumns().answer(model, X)[:, 0]

    def _proba(self, model: Any, X: Any, classes: NDArray[Any]) -> NDArray[Any]:
        return CommonColumns(classes, "predict_proba").answer(model, X)

    def _density_ratio(self, X: Any) -> NDArray[Any]:
        """Return target density over source density, up to a factor."""
        p = self.domain_classifier_.predict_proba(X)[:, 1]
        least = np.finfo(float).eps
        return p / np.maximum(1 - p, least)

    def _radius(self, X: Any) -> NDArray[Any]:
        """Return the largest score that stays in, shape (n_samples,)."""
        if self.method_ == "split":
            return np.full(np.shape(X)[0], split_quantile(self.scores_, self.alpha))
        return weighted_quantiles(
            self.scores_, self._calibration_weights, self._density_ratio(X), self.alpha
        )

    @available_if(lambda self: is_regressor(self.estimator))
    def predict_interval(self, X: Any) -> NDArray[Any]:
        """Predict intervals for the labels of target rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target rows.

        Returns
        -------
        interval : ndarray of shape (n_samples, 2)
            Lower and upper limit; infinite where there are too few held-out rows for
            `alpha`.
        """
        check_is_fitted(self)
        X = as_rows(X)
        if self.method_ == "jackknife+":
            values = [self._values(model, X) for model in self.models_]
            values = self._by_score(values, np.shape(X)[0])
            return cross_interval(values, self.scores_, self.alpha)
        center, radius = self._values(self.estimator_, X), self._radius(X)
        return np.column_stack([center - radius, center + radius])

    @available_if(lambda self: is_classifier(self.estimator))
    def predict_set(self, X: Any) -> NDArray[np.bool_]:
        """Predict sets of classes for target rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target rows.

        Returns
        -------
        members : ndarray of bool of shape (n_samples, n_classes)
            Which of ``classes_`` are in the set of each row. All are, where there are
            too few held-out rows for `alpha`; a set may be empty.
        """
        check_is_fitted(self)
        X = as_rows(X)
        classes = self.estimator_.classes_
        if self.method_ == "jackknife+":
            scores = [1 - self._proba(model, X, classes) for model in self.models_]
            scores = self._by_score(scores, np.shape(X)[0], len(classes))
            return cross_set(scores, self.scores_, self.alpha)
        proba = self._proba(self.estimator_, X, classes)
        return 1 - proba <= self._radius(X)[:, None]

    def coverage(self, X: Any, y: Any, sample_domain: Any = None) -> dict[int, Any]:
        """Count how often intervals or sets contain the labels, by domain.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows that were not fitted on.
        y : array-like of shape (n_samples,)
            Their labels.
        sample_domain : array-like of shape (n_samples,), default=None
            Their domains. None: all are target rows.

        Returns
        -------
        coverage : dict of int to float
            Share of the rows of each domain whose label is covered, in [0, 1].

        Raises
        ------
        UnlabeledTargetError
            If a row of ``y`` carries a marker.
        """
        check_is_fitted(self)
        X = as_rows(X)
        check_scorable(y, getattr(self, "classes_", None))
        y = np.asarray(y)
        check_consistent_length(X, y)
        domain = check_sample_domain(sample_domain, len(y))
        if is_classifier(self.estimator):
            members = self.predict_set(X)
            covered = (members & (y[:, None] == self.classes_)).any(axis=1)
        else:
            low, high = self.predict_interval(X).T
            covered = (low <= y) & (y <= high)
        return {int(d): float(covered[domain == d].mean()) for d in np.unique(domain)}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = False
        try:
            inner = get_transfer_tags(self.estimator)
        except TypeError:  # a plain estimator: fit refuses it by name
            return tags
        if self.method in {"jackknife+", "split"}:
            inner.target_labels = "required"
        elif inner.target_labels == "unused":
            inner.target_labels = "optional"
        inner.multi_target = False
        tags.transfer_tags = inner
        return tags
