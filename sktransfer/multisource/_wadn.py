"""WADN: sources weighted by risk and conditional distance, classes by label ratios."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state

from sktransfer._compat import Interval, StrOptions
from sktransfer._domains import take_rows
from sktransfer._folds import deal_rows
from sktransfer._learners import (
    LearnerMethodsMixin,
    check_takes_sample_weight,
    fit_learner,
    has_method,
    name_samples,
)
from sktransfer._response import CommonColumns
from sktransfer._solvers.label_shift import confusion_weights
from sktransfer._solvers.norm_simplex import solve_norm_simplex
from sktransfer.base import ReweightingMetaEstimator, is_scale_free, slice_params

__all__ = ["WADN"]

#: change of the source weights that ends the rounds
_SETTLED = 1e-4


class WADN(LearnerMethodsMixin, ReweightingMetaEstimator):
    r"""Fit a classifier on sources weighted by source and by class, round by round.

    A source counts for how well it is predicted and for how near its samples of each
    class are to the target's; a class counts for how much more frequent it is in the
    target. It is the form for tables of the weighting that the authors call WADN.

    Parameters
    ----------
    estimator : classifier
        Learner whose ``fit`` takes ``sample_weight``.
    distance_weight : float in [0, inf), default=0.3
        Factor :math:`c_0` of the distances beside the risks.
    spread : float in [0, inf), default=0.3
        Factor :math:`c_1` of the norm that spreads the weights over the sources; 0
        leaves one source.
    spread_by : {"sources", "sizes"}, default="sizes"
        Toward which weights: "sources" equal ones, by the norm of the weights; "sizes"
        ones like the sizes of the sources, as in the error bound of [1]_.
    class_ratio : {"auto", "labels", "predictions"}, default="auto"
        What tells the class shares of the target. "labels": the labeled target
        samples, which are taken for a random sample then; "predictions": predictions
        of held-out samples of all sources against those of the target, as under label
        shift (BBSE, with probabilities where there are some); "auto": labels where
        there are some.
    n_rounds : int in [1, inf), default=5
        Largest number of rounds; they end where the weights settle.
    n_projections : int in [1, inf), default=50
        Number of lines on which distances are measured.
    target_weight : float in [0, inf), default=1.0
        Weight of a labeled target sample in the fit.
    cv : int in [2, inf), default=5
        Number of folds of the source samples for "predictions".
    random_state : int, RandomState instance or None, default=0
        Seed of the lines and the folds.

    Attributes
    ----------
    source_ids_ : ndarray of shape (n_sources,)
        Domain id of each source.
    source_weights_ : ndarray of shape (n_sources,)
        Weight :math:`\lambda_k` of each source, with the sum 1.
    class_ratios_ : ndarray of shape (n_sources, n_ratio_classes)
        Ratio :math:`\alpha_k(y)` of the share of each class of ``ratio_classes_`` in
        the target and in each source; 0 where a source lacks the class.
    ratio_classes_ : ndarray of shape (n_ratio_classes,)
        Classes of all labeled samples, sorted.
    risks_, distances_ : ndarray of shape (n_sources,)
        Weighted risk and distance of each source in the last round.
    gap_ : float
        Duality gap of the source weights, relative to the scale of the program.
    n_rounds_ : int
        Number of rounds.
    sample_weight_ : ndarray of shape (n_source,)
        Weights of the source samples, in input order.
    effective_sample_size_ : float
        :math:`(\sum w)^2 / \sum w^2` of the source samples.
    estimator_ : estimator
        The fitted classifier.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    Warns
    -----
    CollapsedWeightsWarning
        If few source samples keep a weight.

    See Also
    --------
    UOWQ : Source weights of a likelihood model.
    sktransfer.instance.LabelShiftClassifier : The class ratios alone.

    Notes
    -----
    With :math:`\alpha_k(y) = T(y) / S_k(y)`, the risk :math:`R_k` of source k under the
    current fit in which a sample counts by :math:`\alpha_k(y_i)`, and

    .. math:: W_k = \sum_y T(y)\, W_1(T(x | y), S_k(x | y))

    the source weights of a round solve

    .. math:: \min_{\lambda \in \Delta} \sum_k \lambda_k (R_k + c_0 W_k)
        + c_1 \sqrt{\textstyle\sum_k d_k \lambda_k^2}

    with :math:`d_k = 1`, or :math:`d_k = n / n_k` for ``spread_by="sizes"`` [1]_. The
    next fit gives a sample of source k the weight
    :math:`\lambda_k \alpha_k(y_i) n / n_k`, :math:`n = \sum_k n_k`. The method starts
    with equal :math:`\lambda_k`.

    The risk is the log loss, or the error rate of a learner without
    ``predict_proba``. :math:`W_1` is the mean over random lines (sliced), of features
    divided by their standard deviation over all samples. Labels of the target are its
    own, and with "predictions" its unlabeled samples count by their predicted
    probabilities. The distance of a source that lacks a class of the target is the
    largest one to that class, and the ratio of the class is 0. Here the features stay
    as they are, while the published method learns them.

    Without sources the learner is fitted on the labeled target samples.

    References
    ----------
    .. [1] C. Shui, Z. Li, J. Li, C. Gagne, C. Ling, B. Wang. Aggregating from multiple
       target-shifted sources. International Conference on Machine Learning, 2021.
       :arxiv:`2105.04051`

    Examples
    --------
    The second source has other labels.

    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sktransfer.multisource import WADN
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(220, 2))
    >>> domain = np.repeat([1, 2, -1], [100, 100, 20])
    >>> y = np.where(domain == 2, X[:, 0] < 0, X[:, 0] > 0).astype(int)
    >>> model = WADN(LogisticRegression(), spread=0.2)
    >>> model = model.fit(X, y, sample_domain=domain)
    >>> bool(model.source_weights_[0] > 0.9)
    True
    """

    _parameter_constraints: dict[str, Any] = {
        **ReweightingMetaEstimator._parameter_constraints,
        "distance_weight": [Interval(Real, 0, None, closed="left")],
        "spread": [Interval(Real, 0, None, closed="left")],
        "spread_by": [StrOptions({"sources", "sizes"})],
        "class_ratio": [StrOptions({"auto", "labels", "predictions"})],
        "n_rounds": [Interval(Integral, 1, None, closed="left")],
        "n_projections": [Interval(Integral, 1, None, closed="left")],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        distance_weight: Any = 0.3,
        spread: Any = 0.3,
        spread_by: str = "sizes",
        class_ratio: str = "auto",
        n_rounds: Any = 5,
        n_projections: Any = 50,
        target_weight: Any = 1.0,
        cv: Any = 5,
        random_state: Any = 0,
    ) -> None:
        super().__init__(estimator, target_weight=target_weight)
        self.distance_weight = distance_weight
        self.spread = spread
        self.spread_by = spread_by
        self.class_ratio = class_ratio
        self.n_rounds = n_rounds
        self.n_projections = n_projections
        self.cv = cv
        self.random_state = random_state

    def _fit_estimator(self, data: Any, fit_params: dict[str, Any]) -> Any:
        check_takes_sample_weight(self.estimator)
        if not is_classifier(self.estimator):
            raise TypeError(
                f"estimator={self.estimator!r} is no classifier, and WADN weighs "
                "classes."
            )
        rows = _Rows(data, fit_params)
        self.ratio_classes_ = rows.classes
        self.source_ids_ = data.sources
        if not data.n_source:
            none = np.zeros(0)
            self.source_weights_ = self.risks_ = self.distances_ = none
            self.class_ratios_ = np.zeros((0, len(rows.classes)))
            self.gap_, self.n_rounds_ = 0.0, 0
            return self._fit_weighted(data, none, fit_params)
        rng = check_random_state(self.random_state)
        by_labels = self.class_ratio == "labels" or (
            self.class_ratio == "auto" and data.n_labeled > 0
        )
        if by_labels and not data.n_labeled:
            raise ValueError(
                "class_ratio='labels', but no target sample is labeled: use "
                "'predictions'."
            )
        self._weigh_classes(data, rows, fit_params, by_labels, rng)
        lines = rng.normal(size=(self.n_features_in_, self.n_projections))
        lines /= np.linalg.norm(lines, axis=0)
        X = StandardScaler(with_mean=False).fit_transform(self._numeric_rows(data.X))
        places = np.asarray(X @ lines)
        return self._rounds(data, rows, places, fit_params, by_labels)

    def _rounds(
        self,
        data: Any,
        rows: "_Rows",
        places: NDArray[Any],
        fit_params: dict[str, Any],
        by_labels: bool,
    ) -> Any:
        """Alternate weights and fits."""
        n_sources = len(rows.sizes)
        weights, model, number, settled = np.full(n_sources, 1 / n_sources), None, 0, 0
        while number < self.n_rounds and not settled:
            number += 1
            if model is None:
                model = self._fit_with(weights, data, rows, fit_params, last=False)
            self.risks_ = self._risks(model, data, rows)
            self.distances_ = self._distances(model, data, rows, places, by_labels)
            losses = self.risks_ + self.distance_weight * self.distances_
            curvature = None
            if self.spread_by == "sizes":
                curvature = rows.sizes.sum() / rows.sizes
            before = weights
            weights, info = solve_norm_simplex(losses, self.spread, curvature)
            settled = np.max(np.abs(weights - before)) <= _SETTLED
            last = settled or number == self.n_rounds
            model = self._fit_with(weights, data, rows, fit_params, last=last)
        self.source_weights_, self.gap_, self.n_rounds_ = weights, info.gap, number
        return model

    def _fit_with(
        self,
        weights: NDArray[Any],
        data: Any,
        rows: "_Rows",
        fit_params: dict[str, Any],
        *,
        last: bool,
    ) -> Any:
        """Fit with weights of the sources; the last fit keeps them."""
        ratio = self.class_ratios_[rows.source, rows.code[data.is_source]]
        scale = weights * rows.sizes.sum() / rows.sizes
        sample_weight = scale[rows.source] * ratio
        if last:
            return self._fit_weighted(data, sample_weight, fit_params)
        labeled = data.labeled
        if self.target_weight == 0:
            labeled = data.is_source
        weight = np.full(len(labeled), float(self.target_weight) or 1.0)
        weight[data.is_source] = sample_weight
        return fit_learner(
            self.estimator,
            take_rows(data.X, labeled),
            data.labels(labeled),
            method_weight=weight[labeled],
            samples=name_samples(data, labeled),
            **slice_params(fit_params, labeled),
        )

    def _weigh_classes(
        self,
        data: Any,
        rows: "_Rows",
        fit_params: dict[str, Any],
        by_labels: bool,
        rng: np.random.RandomState,
    ) -> None:
        """Set the class ratios of all sources."""
        if by_labels:
            shares = rows.table(data.is_labeled_target)
            shares = shares / shares.sum()
        else:
            shares = self._shares_by_predictions(data, rows, fit_params, rng)
        own = np.array([rows.table(data.rows_of(k)) for k in data.sources])
        own /= own.sum(axis=1, keepdims=True)
        self._target_shares = shares
        self.class_ratios_ = np.where(own > 0, shares / np.where(own > 0, own, 1.0), 0)

    def _shares_by_predictions(
        self,
        data: Any,
        rows: "_Rows",
        fit_params: dict[Any, Any],
        rng: np.random.RandomState,
    ) -> NDArray[Any]:
        """Return the target's class shares by held-out predictions of all sources."""
        columns = _answers_of(self.estimator, rows.classes)
        X, y = data.X_source, data.y_source
        votes = np.zeros((len(y), len(rows.classes)))
        target = np.zeros(len(rows.classes))
        weight = rows.weight[data.is_target]
        user = slice_params(fit_params, data.is_source)
        for test in deal_rows(X, y, self.cv, True, rng):
            train = np.ones(len(y), dtype=bool)
            train[test] = False
            model = fit_learner(
                self.estimator,
                take_rows(X, train),
                y[train],
                samples=name_samples(data, data.is_source),
                **slice_params(user, train),
            )
            votes[test] = columns.answer(model, take_rows(X, test))
            mass = rows.weight[data.is_source][test].sum()
            target += mass * (weight @ columns.answer(model, data.X_target))
        held_out = votes.any(axis=1)
        if not held_out.any():  # no class has two samples
            table = rows.table(data.is_source)
            return table / table.sum()
        joint = np.zeros((len(rows.classes), len(rows.classes)))
        mass = rows.weight[data.is_source] * held_out
        np.add.at(joint.T, rows.code[data.is_source], mass[:, None] * votes)
        joint /= joint.sum()
        ratio = confusion_weights(joint, target / target.sum(), penalty=0.0)
        found = ratio * joint.sum(axis=0)
        return found / found.sum()

    def _risks(self, model: Any, data: Any, rows: "_Rows") -> NDArray[Any]:
        """Return the risk of each source under weights of its classes."""
        code = rows.code[data.is_source]
        if has_method(model, "predict_proba"):
            columns = CommonColumns(rows.classes, "predict_proba")
            proba = columns.answer(model, data.X_source)[np.arange(len(code)), code]
            loss = -np.log(np.maximum(proba, 1e-6))
        else:
            loss = (np.asarray(model.predict(data.X_source)) != data.y_source) * 1.0
        ratio = self.class_ratios_[rows.source, code]
        mass = rows.weight[data.is_source]
        total = np.bincount(rows.source, weights=mass * ratio * loss)
        return total / rows.sizes

    def _distances(
        self,
        model: Any,
        data: Any,
        rows: "_Rows",
        places: NDArray[Any],
        by_labels: bool,
    ) -> NDArray[Any]:
        """Return the mean distance of each source to the target by class."""
        belief = np.zeros((len(rows.code), len(rows.classes)))
        labeled = data.is_labeled_target
        belief[np.flatnonzero(labeled), rows.code[labeled]] = 1.0
        unlabeled = data.is_target & ~data.labeled
        if not by_labels and unlabeled.any():
            columns = _answers_of(model, rows.classes)
            belief[unlabeled] = columns.answer(model, data.X_unlabeled)
        belief *= rows.weight[:, None]
        found = np.full((len(rows.sizes), len(rows.classes)), np.nan)
        for k, source in enumerate(data.sources):
            members = data.rows_of(source)
            for c in np.flatnonzero(self._target_shares > 0):
                own = members & (rows.code == c) & (rows.weight > 0)
                seen = belief[:, c] > 0
                if own.any() and seen.any():
                    found[k, c] = _sliced(
                        places[own], rows.weight[own], places[seen], belief[seen, c]
                    )
        known = np.isfinite(found)
        largest = np.where(known, found, 0.0).max(axis=0)
        found = np.where(known, found, largest)
        return found @ self._target_shares

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = False
        tags.transfer_tags.uses_unlabeled = True
        tags.transfer_tags.regression = False
        tags.transfer_tags.scale_free = is_scale_free(self.estimator)
        return tags


class _Rows:
    """Codes, weights and source of the samples."""

    def __init__(self, data: Any, fit_params: dict[str, Any]) -> None:
        self.classes, code = np.unique(data.labels(data.labeled), return_inverse=True)
        self.code = np.full(len(data.labeled), -1)
        self.code[data.labeled] = code
        weight = fit_params.get("sample_weight")
        ones = np.ones(len(self.code))
        self.weight = ones if weight is None else np.asarray(weight, dtype=float)
        self.source = np.searchsorted(data.sources, data.source_ids)
        self.sizes = np.bincount(
            self.source,
            weights=self.weight[data.is_source],
            minlength=len(data.sources),
        )

    def table(self, rows: NDArray[np.bool_]) -> NDArray[Any]:
        """Return the weight of each class among labeled samples."""
        return np.bincount(
            self.code[rows], weights=self.weight[rows], minlength=len(self.classes)
        ).astype(np.float64)


def _answers_of(model: Any, classes: NDArray[Any]) -> CommonColumns:
    """Return columns of probabilities, or of votes of a learner without them."""
    proba = has_method(model, "predict_proba")
    return CommonColumns(classes, "predict_proba" if proba else "predict")


def _sliced(
    left: NDArray[Any],
    left_weight: NDArray[Any],
    right: NDArray[Any],
    right_weight: NDArray[Any],
) -> float:
    """Return the mean W1 distance over projected samples, one column per line."""
    import ot

    found = ot.wasserstein_1d(
        left, right, left_weight / left_weight.sum(), right_weight / right_weight.sum(),
        p=1,
    )  # fmt: skip
    return float(np.mean(found))
