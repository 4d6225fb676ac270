"""Label shift: the shares of the classes move, the rows of a class stay."""

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state, column_or_1d

from sktransfer._compat import Interval, StrOptions, validate_params
from sktransfer._domains import take_rows
from sktransfer._folds import deal_rows
from sktransfer._learners import (
    LearnerMethodsMixin,
    check_takes_sample_weight,
    check_weights,
    fit_learner,
    has_method,
    name_samples,
)
from sktransfer._solvers import label_shift as _numerics
from sktransfer.base import CommonColumns, ReweightingMetaEstimator, slice_params
from sktransfer.exceptions import warn

__all__ = ["LabelShiftClassifier", "LabelShiftInfo", "label_shift_weights"]

_METHOD_CONSTRAINTS = {
    "method": [StrOptions({"em", "bbse", "rlls"})],
    "calibration": [StrOptions({"bcts"}), None],
    "regularization": [Interval(Real, 0, None, closed="left")],
    "tol": [Interval(Real, 0, None, closed="neither")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
}
#: confidence at which the regularization of "rlls" bounds the confusion matrix
_DELTA = 0.05
#: rows of probabilities may miss the sum 1 by rounding
_SUM_SLACK = 1e-3


@dataclass(frozen=True, eq=False)
class LabelShiftInfo:
    """What :func:`label_shift_weights` found beside the weights.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        The classes.
    source_shares : ndarray of shape (n_classes,)
        Shares of the classes in the source, with the sum 1.
    target_shares : ndarray of shape (n_classes,)
        Estimated shares in the target, with the sum 1.
    temperature : float
        Temperature of the calibration; 1 without.
    bias : ndarray of shape (n_classes,)
        Biases of the calibration; 0 without.
    gap : float
        For "em": bound on the mean log-likelihood that the optimum has more; 0 for
        the other methods.
    n_iter : int
        Iterations of "em"; 0 for the other methods.
    """

    classes: np.ndarray
    source_shares: np.ndarray
    target_shares: np.ndarray
    temperature: float
    bias: np.ndarray
    gap: float
    n_iter: int


@validate_params(
    {
        "y_source": ["array-like"],
        "proba_source": ["array-like"],
        "proba_target": ["array-like"],
        "y_target": ["array-like", None],
        "sample_weight": ["array-like", None],
        **_METHOD_CONSTRAINTS,
        "return_info": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def label_shift_weights(
    y_source,
    proba_source,
    proba_target,
    *,
    y_target=None,
    sample_weight=None,
    method="em",
    calibration="bcts",
    regularization=0.01,
    tol=1e-6,
    max_iter=10_000,
    return_info=False,
):
    r"""Estimate how much more frequent each class is in the target.

    Parameters
    ----------
    y_source : array-like of shape (n_source,)
        Classes of source rows that `proba_source` was not fitted on.
    proba_source : array-like of shape (n_source, n_classes)
        Their predicted probabilities in [0, 1], held out or out of fold; one column
        per class of `y_source`, sorted. For "bbse" and "rlls" predicted classes do
        too, as rows with a single 1.
    proba_target : array-like of shape (n_unlabeled, n_classes)
        Probabilities of unlabeled target rows, by the same model.
    y_target : array-like of shape (n_labeled,), default=None
        Classes of labeled target rows, which are none of the rows of `proba_target`
        and were drawn at random from the target. Those of classes that the source
        does not have are not counted.
    sample_weight : array-like of shape (n_source,), default=None
        Weights of the source rows.
    method : {"em", "bbse", "rlls"}, default="em"
        "em": maximum likelihood (Saerens et al.), needs calibrated probabilities.
        "bbse": from the confusion matrix (Lipton et al.), needs none. "rlls": the
        same, drawn to weights of 1 by `regularization` (Azizzadenesheli et al.).
    calibration : {"bcts"} or None, default="bcts"
        Calibration of the probabilities on the source rows, for "em" only:
        bias-corrected temperature scaling, or none where they are calibrated.
    regularization : float in [0, inf), default=0.01
        For "rlls" only: factor of the bound on the error of the confusion matrix.
    tol : float in (0, inf), default=1e-6
        For "em" only: gap of the mean log-likelihood to reach.
    max_iter : int in [1, inf), default=10000
        For "em" only: largest number of iterations.
    return_info : bool, default=False
        Also return shares and certificate.

    Returns
    -------
    weights : ndarray of shape (n_classes,)
        Ratio of the target's to the source's share of each class, 0 or more, with
        mean 1 over the source rows; in the order of the sorted classes.
    info : LabelShiftInfo
        Shares, calibration and certificate; only if `return_info` is True.

    Raises
    ------
    ValueError
        If the shapes disagree, or a row does not hold probabilities.

    Warns
    -----
    ConvergenceWarning
        If the gap of "em" is above `tol` after `max_iter` iterations.

    See Also
    --------
    LabelShiftClassifier : A learner that is fitted with these weights.

    Notes
    -----
    Label shift means :math:`p_t(x \mid y) = p_s(x \mid y)`; only the shares
    :math:`\pi(y)` move, and :math:`w_y = \pi_t(y) / \pi_s(y)`. Corrected
    probabilities are :math:`p_t(y \mid x) \propto w_y\, p_s(y \mid x)`.

    "em" maximizes [1]_, with :math:`c_j` the counts of `y_target`,

    .. math:: \sum_i \log \sum_j p_s(j \mid x_i) w_j + \sum_j c_j \log w_j,

    where :math:`p_s(y \mid x)` is calibrated first, as
    :math:`\mathrm{softmax}(\log p / T + b)` with :math:`p \ge 10^{-6}` [2]_;
    for predictions that are nearly all 0 or 1, such as those of a single tree, "bbse"
    is the better choice. "bbse" solves
    :math:`C w = \mu` with the *joint* confusion matrix
    :math:`C_{ij} = P_s(\text{predicted } i, \text{class } j)` and the mean prediction
    :math:`\mu` on the target [3]_, by least squares with :math:`w \ge 0`; "rlls"
    minimizes :math:`\|C w - \mu\| + \Delta \|w - 1\|` with :math:`\Delta` =
    `regularization` :math:`\cdot\, 3 (2 \log(2K/.05) / (3n) + \sqrt{2 \log(2K/.05)
    / n})` [4]_. Labels add the equations :math:`\pi_s(j) w_j = c_j / \sum c`; the
    squares of both kinds are weighed by the numbers of target rows behind them.
    Without `proba_target` (no rows) all methods count labels, "rlls" but for its
    regularization.

    References
    ----------
    .. [1] M. Saerens, P. Latinne, C. Decaestecker. Adjusting the outputs of a
       classifier to new a priori probabilities. Neural Computation 14, 2002.
       :doi:`10.1162/089976602753284446`.
    .. [2] A. Alexandari, A. Kundaje, A. Shrikumar. Maximum likelihood with
       bias-corrected calibration is hard-to-beat at label shift adaptation.
       International Conference on Machine Learning, 2020.
    .. [3] Z. Lipton, Y.-X. Wang, A. Smola. Detecting and correcting for label shift
       with black box predictors. International Conference on Machine Learning, 2018.
    .. [4] K. Azizzadenesheli, A. Liu, F. Yang, A. Anandkumar. Regularized learning for
       domain adaptation under label shifts. International Conference on Learning
       Representations, 2019.

    Examples
    --------
    Predictions that are always right show the shares of the target:

    >>> import numpy as np
    >>> from sktransfer.instance import label_shift_weights
    >>> y_source = np.repeat([0, 1], [50, 50])
    >>> y_target = np.repeat([0, 1], [10, 40])
    >>> weights = label_shift_weights(
    ...     y_source, np.eye(2)[y_source], np.eye(2)[y_target], method="bbse"
    ... )
    >>> weights.round(6).tolist()
    [0.4, 1.6]
    """
    y_source = column_or_1d(y_source)
    classes, codes = np.unique(y_source, return_inverse=True)
    proba_source = _check_proba(proba_source, "proba_source", classes)
    proba_target = _check_proba(proba_target, "proba_target", classes)
    if len(proba_source) != len(codes):
        raise ValueError(
            f"proba_source has {len(proba_source)} rows, but y_source has {len(codes)}."
        )
    if sample_weight is None:
        sample_weight = np.ones(len(codes))
    sample_weight = check_weights(sample_weight, len(codes))
    shares = np.bincount(codes, weights=sample_weight, minlength=len(classes))
    if not shares.all():
        raise ValueError(
            f"Class {classes[shares.argmin()].tolist()!r} has sample_weight 0 in every "
            "source row: leave its rows and its columns out."
        )
    y_target = classes[:0] if y_target is None else column_or_1d(y_target)
    counts = np.array([np.sum(y_target == c) for c in classes], dtype=np.float64)
    weights, info = _weights(
        classes,
        shares / shares.sum(),
        codes,
        sample_weight,
        proba_source,
        proba_target,
        np.ones(len(proba_target)),
        counts,
        method,
        calibration,
        regularization,
        tol,
        max_iter,
    )
    _warn_unless_converged(info, tol)
    return (weights, info) if return_info else weights


def _check_proba(proba, name, classes):
    """Return probabilities of shape (n_samples, n_classes)."""
    proba = check_array(proba, input_name=name, dtype=np.float64, ensure_min_samples=0)
    if proba.shape[1] != len(classes):
        raise ValueError(
            f"{name} has {proba.shape[1]} columns, but y_source has {len(classes)} "
            f"classes ({classes.tolist()}): give one column per class, sorted."
        )
    total = proba.sum(axis=1)
    if len(proba) and (proba.min() < 0 or np.abs(total - 1).max() > _SUM_SLACK):
        raise ValueError(
            f"{name} must hold probabilities: nonnegative, with the sum 1 in each row."
        )
    return proba / total[:, None]


def _weights(
    classes, source_shares, codes, sample_weight, proba_source, proba_target,
    target_weight, counts, method, calibration, regularization, tol, max_iter,
):  # fmt: skip
    """Return weights and info from checked arrays.

    ``codes``, ``sample_weight`` and ``proba_source`` describe held-out source rows,
    ``source_shares`` all of them. ``target_weight`` states how often each row of
    ``proba_target`` counts.
    """
    n_classes = len(classes)
    temperature, bias = 1.0, np.zeros(n_classes)
    gap, n_iter = 0.0, 0
    if method == "em":
        if calibration == "bcts" and n_classes > 1:
            # rows of a class count by its share, whatever part of them was held out
            seen = np.bincount(codes, weights=sample_weight, minlength=n_classes)
            balance = sample_weight * (source_shares / seen)[codes]
            temperature, bias = _numerics.fit_calibration(proba_source, codes, balance)
            proba_target = _numerics.calibrate(proba_target, temperature, bias)
        shares, certificate = _numerics.em_shares(
            proba_target / source_shares,
            counts,
            source_shares,
            row_weight=target_weight,
            tol=tol,
            max_iter=max_iter,
        )
        gap, n_iter = certificate.gap, certificate.n_iter
    else:
        joint = np.zeros((n_classes, n_classes))
        np.add.at(joint.T, codes, sample_weight[:, None] * proba_source)
        joint *= source_shares / joint.sum(axis=0)
        n_rows = np.array([target_weight.sum(), counts.sum()])
        parts = np.sqrt(n_rows / max(n_rows.sum(), 1))
        matrix = np.vstack([parts[0] * joint, parts[1] * np.diag(source_shares)])
        prediction = target_weight @ proba_target / max(n_rows[0], 1)
        label = counts / max(n_rows[1], 1)
        right = np.concatenate([parts[0] * prediction, parts[1] * label])
        penalty = 0.0
        if method == "rlls":
            size = sample_weight.sum() ** 2 / np.sum(sample_weight**2)
            bound = _numerics.deviation_bound(n_classes, size, _DELTA)
            penalty = regularization * bound
        ratio = (
            _numerics.confusion_weights(matrix, right, penalty=penalty)
            if n_rows.any()
            else np.ones(n_classes)
        )
        shares = source_shares * ratio
        shares = shares / shares.sum()
    info = LabelShiftInfo(
        classes, source_shares, shares, temperature, bias, gap, n_iter
    )
    return shares / source_shares, info


def _warn_unless_converged(info, tol):
    if info.gap > tol:
        warn(
            f"EM stopped after {info.n_iter} iterations with a gap of {info.gap:.1e} > "
            f"tol={tol:g}. Raise max_iter or tol.",
            ConvergenceWarning,
        )


class LabelShiftClassifier(LearnerMethodsMixin, ReweightingMetaEstimator):
    r"""Fit a classifier on source rows weighted for the target's class shares.

    It is for targets in which the classes are more or less frequent than in the
    sources, while the rows of a class look the same (label shift). The shares are
    estimated from all target rows: unlabeled ones by their predictions, labeled ones
    by their labels. The learner is fitted on the weighted source rows and the labeled
    target rows.

    Parameters
    ----------
    estimator : estimator
        Classifier whose ``fit`` takes ``sample_weight``; for "em" it has
        ``predict_proba``.
    method : {"em", "bbse", "rlls"}, default="em"
        How the shares are estimated. "em": maximum likelihood from probabilities;
        "bbse": from the confusion matrix of predicted classes; "rlls": the same, drawn
        to no shift, for few source rows.
    calibration : {"bcts"} or None, default="bcts"
        Calibration of the probabilities for "em" on held-out source rows:
        bias-corrected temperature scaling, or none.
    regularization : float in [0, inf), default=0.01
        Strength of the regularization of "rlls".
    target_weight : float in [0, inf), default=1.0
        Weight of a labeled target row in the fit; the mean weight of a source row is 1.
    cv : int in [2, inf), default=5
        Number of folds of the source rows, whose held-out predictions calibrate and
        make the confusion matrix.
    tol : float in (0, inf), default=1e-6
        Gap of the mean log-likelihood that "em" is to reach.
    max_iter : int in [1, inf), default=10000
        Largest number of iterations of "em".
    random_state : int, RandomState instance or None, default=0
        Seed of the folds.

    Attributes
    ----------
    effective_sample_size_ : float
        :math:`(\sum w)^2 / \sum w^2` of the source rows.
    estimator_ : estimator
        The learner, fitted on the weighted rows.
    sample_weight_ : ndarray of shape (n_source,)
        Weights of the source rows in input order, the same within a class.
    label_shift_ : LabelShiftInfo
        Classes of the sources, their shares there and in the target, calibration.
    n_iter_ : int
        Iterations of "em"; 0 for the other methods and without sources.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    label_shift_weights : The weights alone, for any predictions.
    KMM : Weights for a shift of the inputs.

    Notes
    -----
    The weight of a source row of class y is :math:`\pi_t(y) / \pi_s(y)`, see
    :func:`label_shift_weights`. Under label shift the rows of a class have the same
    distribution in all domains, so several sources are pooled: a class may be missing
    in some of them, and :math:`\pi_s` are the shares of the pool. A class that the
    target does not have gets a weight near 0. A class that only labeled target rows
    have is fitted on but takes no part in the shares.

    Target rows are predicted by the same fold models whose held-out rows calibrate, or
    make the confusion matrix; each of these models counts by its held-out rows.

    Without sources the learner is fitted on the labeled target rows.

    References
    ----------
    .. [1] Z. Lipton, Y.-X. Wang, A. Smola. Detecting and correcting for label shift
       with black box predictors. International Conference on Machine Learning, 2018.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sktransfer.datasets import make_label_shift
    >>> from sktransfer.instance import LabelShiftClassifier
    >>> data = make_label_shift(500, n_labeled=0, n_unlabeled=500, random_state=0)
    >>> data.label_law  # shares of class 1: the target has fewer
    {1: 0.8175744761936437, -1: 0.5}
    >>> model = LabelShiftClassifier(LogisticRegression())
    >>> model = model.fit(data.X, data.y, sample_domain=data.sample_domain)
    >>> bool(abs(model.label_shift_.target_shares[1] - 0.5) < 0.1)
    True
    """

    _parameter_constraints: dict = {
        **ReweightingMetaEstimator._parameter_constraints,
        **_METHOD_CONSTRAINTS,
        "cv": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator,
        *,
        method="em",
        calibration="bcts",
        regularization=0.01,
        target_weight=1.0,
        cv=5,
        tol=1e-6,
        max_iter=10_000,
        random_state=0,
    ):
        super().__init__(estimator, target_weight=target_weight)
        self.method = method
        self.calibration = calibration
        self.regularization = regularization
        self.cv = cv
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    def _fit_estimator(self, data, fit_params):
        check_takes_sample_weight(self.estimator)
        if not is_classifier(self.estimator):
            raise TypeError(
                f"estimator={self.estimator!r} is no classifier, and label shift is "
                "about classes."
            )
        if self.method == "em" and not has_method(self.estimator, "predict_proba"):
            raise TypeError(
                f"method='em' needs probabilities, but estimator={self.estimator!r} "
                "has no predict_proba: use method='bbse' or 'rlls', which need classes."
            )
        weights = self._weigh(data, fit_params)
        self.n_iter_ = self.label_shift_.n_iter
        return self._fit_weighted(data, weights, fit_params)

    def _weigh(self, data, fit_params):
        """Return the weights of the source rows."""
        y_labeled = data.y_labeled if data.n_labeled else data.y_source[:0]
        if not data.n_source:
            classes, counts = np.unique(y_labeled, return_counts=True)
            shares = counts / counts.sum()
            zeros = np.zeros(len(classes))
            self.label_shift_ = LabelShiftInfo(
                classes, shares, shares, 1.0, zeros, 0.0, 0
            )
            return np.empty(0)
        y = data.y_source
        classes, codes, sizes = np.unique(y, return_inverse=True, return_counts=True)
        if sizes.min() < 2 and len(classes) > 1:
            raise ValueError(
                f"Class {classes[sizes.argmin()].tolist()!r} has one source row, but "
                "label shift needs two or more of each class: one to fit and one to "
                "hold out. Leave the row out or merge the class with another."
            )
        user = slice_params(fit_params, data.is_source)
        weight = user.get("sample_weight")
        weight = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=float)
        totals = np.bincount(codes, weights=weight)
        held_out, proba_source, proba_target, target_weight = self._predictions(
            data, y, classes, user, weight
        )
        counts = np.array([np.sum(y_labeled == c) for c in classes], dtype=np.float64)
        ratio, self.label_shift_ = _weights(
            classes,
            totals / totals.sum(),
            codes[held_out],
            weight[held_out],
            proba_source,
            proba_target,
            target_weight,
            counts,
            self.method,
            self.calibration,
            self.regularization,
            self.tol,
            self.max_iter,
        )
        _warn_unless_converged(self.label_shift_, self.tol)
        return ratio[codes]

    def _predictions(self, data, y, classes, user, weight):
        """Return held-out source rows, their predictions, the target's and weights.

        Every fold model predicts the unlabeled target rows. The answers are not
        averaged, as the calibration of single models does not hold for averages.
        """
        X, unlabeled = data.X_source, data.X_unlabeled
        n_unlabeled = data.n_target - data.n_labeled
        if len(classes) == 1:
            ones = np.ones((n_unlabeled, 1))
            return np.arange(len(y)), np.ones((len(y), 1)), ones, ones[:, 0]
        answer = "predict_proba" if self.method == "em" else "predict"
        columns = CommonColumns(classes, answer)
        rng = check_random_state(self.random_state)
        folds = deal_rows(X, y, self.cv, True, rng)
        proba_source = np.zeros((len(y), len(classes)))
        proba_target = []
        samples = name_samples(data, data.is_source)
        for test in folds:
            train = np.ones(len(y), dtype=bool)
            train[test] = False
            model = fit_learner(
                self.estimator,
                take_rows(X, train),
                y[train],
                samples=samples,
                **slice_params(user, train),
            )
            proba_source[test] = columns.answer(model, take_rows(X, test))
            if n_unlabeled:
                proba_target.append(columns.answer(model, unlabeled))
        share = np.array([weight[test].sum() for test in folds])
        held_out = np.sort(np.concatenate(folds))
        if not n_unlabeled:
            return held_out, proba_source[held_out], proba_source[:0], weight[:0]
        target_weight = np.repeat(share / share.sum(), n_unlabeled)
        proba_target = np.concatenate(proba_target)
        return held_out, proba_source[held_out], proba_target, target_weight

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transfer_tags.uses_unlabeled = True
        tags.transfer_tags.regression = False
        return tags
