"""Target error against the number of labels, with and without the sources."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils import check_random_state

from sktransfer._compat import HasMethods, Interval, validate_params
from sktransfer._domains import check_domains
from sktransfer._folds import check_groups
from sktransfer._learners import check_weights
from sktransfer._response import class_of_each
from sktransfer.base import as_rows, slice_params
from sktransfer.exceptions import UnlabeledTargetError
from sktransfer.inspection._display import HELPS, INK, Display
from sktransfer.metrics._negative_transfer import cross_val_pair, with_groups
from sktransfer.model_selection import GroupTargetShuffleSplit, TargetShuffleSplit

__all__ = ["LearningCurveTransferDisplay"]


class LearningCurveTransferDisplay(Display):
    r"""Error on the target against the number of labeled target rows.

    One curve is that of the estimator with the sources, :math:`\theta(S,T)`, the
    other that of the same estimator without them, :math:`\theta(0,T)`. Where they
    meet, transfer stops paying.

    Parameters
    ----------
    n_labels : array-like of int of shape (n_steps,)
        Numbers of labeled target rows in the fits, ascending.
    transfer_errors : array-like of shape (n_steps, n_splits)
        Errors with the sources.
    target_only_errors : array-like of shape (n_steps, n_splits)
        Errors without the sources, on the same splits.
    error_name : str, default="error"
        Name of the error, for the axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the picture.
    figure_ : matplotlib Figure
        Figure with the axes.
    curves_ : tuple of matplotlib ErrorbarContainer
        The curve with the sources and the curve without.

    See Also
    --------
    NegativeTransferDisplay : The gap at the number of labels at hand.
    sklearn.model_selection.LearningCurveDisplay : Learning curves without domains.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sktransfer.baselines import Pooled
    >>> from sktransfer.datasets import make_concept_shift
    >>> from sktransfer.inspection import LearningCurveTransferDisplay
    >>> data = make_concept_shift(n_labeled=60, random_state=0)
    >>> display = LearningCurveTransferDisplay.from_estimator(
    ...     Pooled(Ridge()), data.X, data.y, sample_domain=data.sample_domain,
    ...     n_labels=[5, 40], n_splits=3, random_state=0,
    ... )
    >>> display.transfer_errors.shape
    (2, 3)
    """

    def __init__(
        self, n_labels, transfer_errors, target_only_errors, *, error_name="error"
    ):
        self.n_labels = np.array(n_labels, dtype=int)
        self.transfer_errors = np.array(transfer_errors, dtype=float)
        self.target_only_errors = np.array(target_only_errors, dtype=float)
        self.error_name = error_name

    def _columns(self):
        n_steps, n_splits = self.transfer_errors.shape
        return {
            "n_labels": np.repeat(self.n_labels, n_splits),
            "split": np.tile(np.arange(1, n_splits + 1), n_steps),
            "transfer_error": self.transfer_errors.ravel(),
            "target_only_error": self.target_only_errors.ravel(),
        }

    @property
    def break_even(self):
        """Number of labels from which on transfer does not pay, by mean errors.

        The smallest of ``n_labels`` at which, and at all larger ones, the mean error
        without the sources is no larger; None if transfer pays at the largest.
        """
        gap = self.transfer_errors.mean(axis=1) - self.target_only_errors.mean(axis=1)
        pays = np.flatnonzero(gap < 0)
        first = pays[-1] + 1 if len(pays) else 0
        return int(self.n_labels[first]) if first < len(self.n_labels) else None

    @classmethod
    @validate_params(
        {
            "estimator": [HasMethods(["fit", "predict"])],
            "sample_domain": ["array-like"],
            "n_labels": ["array-like", None],
            "n_splits": [Interval(Integral, 1, None, closed="left")],
            "test_size": [
                Interval(Real, 0, 1, closed="neither"),
                Interval(Integral, 1, None, closed="left"),
            ],
            "random_state": ["random_state"],
        },
        prefer_skip_nested_validation=True,
    )
    def from_estimator(
        cls,
        estimator,
        X,
        y,
        *,
        sample_domain,
        n_labels=None,
        n_splits=10,
        test_size=0.3,
        scoring=None,
        target_estimator=None,
        groups=None,
        params=None,
        n_jobs=None,
        random_state=0,
        ax=None,
    ):
        r"""Fit an estimator with ever more labeled target rows.

        Parameters
        ----------
        estimator : estimator
            An estimator of this library, or a pipeline that ends in one. It is
            cloned.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of every domain, in any order.
        y : array-like of shape (n_samples,)
            Labels, with markers on the unlabeled target rows.
        sample_domain : array-like of shape (n_samples,)
            Positive ids for sources, negative for the target.
        n_labels : array-like of int, default=None
            Numbers of labeled target rows in the fits. None: up to six numbers, in
            equal steps of their logarithm, from 4 (at least one per class) to all
            that are not tested on.
        n_splits : int >= 1, default=10
            Number of random splits.
        test_size : float in (0, 1) or int, default=0.3
            Share or number of the labeled target rows to test on.
        scoring : str, callable or None, default=None
            Scorer, higher is better. None: the ``score`` method of the estimator.
        target_estimator : estimator, default=None
            What to compare with, if not ``estimator`` without its sources.
        groups : array-like of shape (n_samples,), default=None
            Unit of each row, such as the patient: units are tested on as a whole, and
            ``test_size`` is a share or number of them.
        params : dict, default=None
            Metadata for ``fit``, one entry per row.
        n_jobs : int, default=None
            Number of fits that run in parallel.
        random_state : int, RandomState instance or None, default=0
            Draws the splits and the labels.
        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        display : LearningCurveTransferDisplay
            The display, drawn.

        Raises
        ------
        UnlabeledTargetError
            If there are too few labeled target rows.

        Notes
        -----
        The splits are those of
        :class:`~sktransfer.model_selection.TargetShuffleSplit`, the same for every
        number of labels, and the labels of a fit are among those of the larger fits
        of its split. In classification the first labels of a split are one of each
        class; then the classes come by their shares. Labeled rows that a fit must
        not know are left out of it.

        The error is the negated score if the scorer negates a loss, such as
        ``"neg_mean_squared_error"``, else one minus the score, as for accuracy and R2.
        """
        stratify = is_classifier(estimator)
        data = check_domains(
            as_rows(X), y, sample_domain, numeric_labels=not stratify,
            multi_output=True,
        )  # fmt: skip
        data, params = _with_weight(data, with_groups(params, groups))
        units = check_groups(params.get("groups"), data)
        rng = check_random_state(random_state)
        splits = _ordered_splits(data, n_splits, test_size, stratify, rng, units)
        steps = _check_steps(n_labels, splits, data, stratify)
        scores = [
            cross_val_pair(
                estimator, data.X, data.y, sample_domain=data.sample_domain,
                cv=[(np.r_[rest, order[:step]], test) for rest, order, test in splits],
                scoring=scoring, target_estimator=target_estimator, params=params,
                n_jobs=n_jobs,
            )
            for step in steps
        ]  # fmt: skip
        best, name = _error_of(scoring, stratify)
        return cls(
            steps,
            [best - transfer for _, transfer in scores],
            [best - target_only for target_only, _ in scores],
            error_name=name,
        ).plot(ax=ax)

    def plot(self, ax=None):
        """Draw both curves: means, and the range of the middle 80 % of the splits.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        display : LearningCurveTransferDisplay
            This display.
        """
        ax = self._start(ax, (6.4, 4.0))
        wide = self.n_labels[-1] > 8 * self.n_labels[0]
        if wide:
            ax.set_xscale("log")
        left, right = _nudged(self.n_labels, wide)
        self.curves_ = (
            _curve(ax, left, self.transfer_errors,
                   "with the sources", fmt="o-", color=HELPS),
            _curve(ax, right, self.target_only_errors,
                   "target alone", fmt="s--", color=INK, markerfacecolor="white"),
        )  # fmt: skip
        ax.set_xticks(self.n_labels, [str(n) for n in self.n_labels])
        ax.minorticks_off()
        ax.set_xlabel("labeled target rows")
        ax.set_ylabel(f"{self.error_name} on the target")
        handles = list(self.curves_)
        if self.break_even is not None:
            line = ax.axvline(self.break_even, color="0.4", linestyle=":", zorder=0)
            line.set_label(f"transfer stops paying: {self.break_even} labels")
            handles.append(line)
        ax.legend(handles=handles, edgecolor="none", framealpha=0.9)
        return self


def _nudged(x, wide):
    """Move a little to the left and to the right, so that both bars can be seen."""
    if wide:
        return x / 1.015, x * 1.015
    step = 0.004 * np.ptp(x)
    return x - step, x + step


def _curve(ax, x, errors, label, **style):
    mean = errors.mean(axis=1)
    low, high = np.quantile(errors, [0.1, 0.9], axis=1)
    reach = np.maximum([mean - low, high - mean], 0.0)  # a mean may lie outside
    return ax.errorbar(
        x, mean, yerr=reach, capsize=3, elinewidth=0.8, label=label, **style
    )


def _with_weight(data, params):
    """Leave out rows of weight 0, which are no labels that a fit sees."""
    if "sample_weight" not in params:
        return data, params
    weights = check_weights(params["sample_weight"], len(data.sample_domain))
    rows = weights > 0
    return data.take(rows), slice_params(params, rows)


def _ordered_splits(data, n_splits, test_size, stratify, rng, units):
    """Return ``(rows always trained on, labeled rows in order, test rows)``."""
    splitter = TargetShuffleSplit if units is None else GroupTargetShuffleSplit
    splitter = splitter(
        n_splits, test_size=test_size, random_state=rng.randint(np.iinfo(np.int32).max)
    )
    rows = np.empty((len(data.sample_domain), 0))
    splits = []
    for train, test in splitter.split(
        rows, data.y, sample_domain=data.sample_domain, groups=units
    ):
        labeled = data.is_labeled_target[train]
        known = rng.permutation(train[labeled])
        if stratify:
            known = known[_class_order(class_of_each(data.labels(known)))]
        splits.append((train[~labeled], known, test))
    return splits


def _class_order(y):
    """Order rows: one per class first, then the classes by their shares."""
    key = np.empty(len(y))
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        key[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
        key[rows[0]] = 0.0
    return np.argsort(key, kind="stable")


def _check_steps(n_labels, splits, data, stratify):
    largest = min(len(order) for _, order, _ in splits)
    least = 1
    if stratify:
        least = max(
            len(np.unique(class_of_each(data.labels(order)))) for _, order, _ in splits
        )
    if n_labels is None:
        start = min(max(least, 4), largest)
        n_labels = np.unique(np.geomspace(start, largest, 6).round().astype(int))
    steps = np.unique(np.asarray(n_labels))
    if steps.dtype.kind not in "iu" or steps[0] < least or steps[-1] > largest:
        raise UnlabeledTargetError(
            f"n_labels must be integers from {least} (one per class) to {largest} (the "
            f"labeled target rows that are not tested on), got {n_labels!r}."
        )
    return steps


def _error_of(scoring, classify):
    """Return what a perfect score is, and the name of the error."""
    if scoring is None:
        scoring = "accuracy" if classify else "r2"
    if isinstance(scoring, str):
        if scoring.startswith("neg_"):
            return 0.0, scoring.removeprefix("neg_").replace("_", " ")
        return 1.0, f"1 - {scoring}"
    if getattr(scoring, "_sign", 1) < 0:
        return 0.0, "error"
    return 1.0, "1 - score"
