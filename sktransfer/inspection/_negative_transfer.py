"""The negative transfer gap per method, fold or source."""

from collections.abc import Iterator
from numbers import Real

import numpy as np
from sklearn.base import is_classifier

from sktransfer._compat import HasMethods, Interval, StrOptions, validate_params
from sktransfer._domains import check_domains, check_scorable
from sktransfer._folds import take_folds
from sktransfer.base import as_rows, slice_params
from sktransfer.inspection._display import (
    HELPS,
    HURTS,
    INK,
    MARKERS,
    Display,
    domain_label,
    named,
    plain_text,
)
from sktransfer.metrics import cross_val_ntg
from sktransfer.metrics._checks import infer_task
from sktransfer.metrics._evidence import INTERVAL_FOR, PairedEvidence
from sktransfer.metrics._negative_transfer import (
    corrected_resampled_t,
    labeled_folds,
    with_groups,
)

__all__ = ["NegativeTransferDisplay"]

_LEVEL = [Interval(Real, 0, 1, closed="neither")]
_LOSSES = {
    "zero_one": lambda y, y_pred: (y != y_pred).astype(float),
    "squared": lambda y, y_pred: (y - y_pred) ** 2,
    "absolute": lambda y, y_pred: np.abs(y - y_pred),
}


class NegativeTransferDisplay(Display):
    r"""Negative transfer gaps with their intervals.

    Right of the dashed line the sources hurt, left of it they help. A filled marker
    marks an interval that excludes zero. Use one of the class methods to make a
    display.

    Parameters
    ----------
    ntg : array-like of shape (n_gaps,)
        Negative transfer gaps; positive where the sources hurt.
    intervals : array-like of shape (n_gaps, 2)
        Lower and upper limits; NaN or infinite where there is no interval.
    methods : array-like of str of shape (n_gaps,)
        Name of the method behind each gap.
    groups : array-like of str of shape (n_gaps,), default=None
        Name of the fold or the source behind each gap. None: one gap per method.
    by : {"method", "fold", "source"}, default="method"
        What the lines of the picture are.
    unit : str, default="score"
        Unit of the gaps, for the axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the picture.
    figure_ : matplotlib Figure
        Figure with the axes.
    points_ : list of matplotlib Line2D
        One marker per gap.

    See Also
    --------
    sktransfer.metrics.cross_val_ntg : The gap with its interval.
    LearningCurveTransferDisplay : The gap against the number of labels.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sktransfer.baselines import Pooled, SourceOnly
    >>> from sktransfer.datasets import make_concept_shift
    >>> from sktransfer.inspection import NegativeTransferDisplay
    >>> data = make_concept_shift(n_labeled=20, random_state=0)
    >>> display = NegativeTransferDisplay.from_estimator(
    ...     {"pooled": Pooled(Ridge()), "source only": SourceOnly(Ridge())},
    ...     data.X, data.y, sample_domain=data.sample_domain, random_state=0,
    ... )
    >>> display.frame().columns.to_list()
    ['method', 'ntg', 'low', 'high']
    """

    def __init__(
        self, ntg, intervals, *, methods, groups=None, by="method", unit="score"
    ):
        self.ntg = np.asarray(ntg, dtype=float)
        self.intervals = np.asarray(intervals, dtype=float)
        self.methods = np.asarray(methods, dtype=object)
        self.groups = None if groups is None else np.asarray(groups, dtype=object)
        self.by = by
        self.unit = unit

    def _columns(self):
        low, high = self.intervals.T
        group = {} if self.groups is None else {self.by: self.groups}
        return {
            "method": self.methods, **group, "ntg": self.ntg, "low": low, "high": high
        }  # fmt: skip

    @classmethod
    @validate_params(
        {
            "estimator": [HasMethods(["fit", "predict"]), dict],
            "sample_domain": ["array-like"],
            "by": [StrOptions({"method", "fold", "source"})],
            "confidence_level": _LEVEL,
            "interval_for": [StrOptions(set(INTERVAL_FOR))],
            "domain_names": [dict, None],
            "params": [dict, None],
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
        by="method",
        cv=5,
        scoring=None,
        confidence_level=0.95,
        interval_for="average",
        domain_names=None,
        groups=None,
        params=None,
        n_jobs=None,
        random_state=None,
        ax=None,
    ):
        r"""Estimate the gap of one or several estimators by cross-validation.

        Parameters
        ----------
        estimator : estimator or dict of str to estimator
            Estimators of this library, or pipelines that end in one. They are cloned.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of every domain, in any order.
        y : array-like of shape (n_samples,)
            Labels, with markers on the unlabeled target rows.
        sample_domain : array-like of shape (n_samples,)
            Positive ids for sources, negative for the target.
        by : {"method", "fold", "source"}, default="method"
            "method": one gap with an interval per estimator, all sources used.
            "fold": one gap per fold, without an interval. "source": one gap with an
            interval per source, the other sources left out.
        cv : int, splitter or iterable, default=5
            As in :func:`~sktransfer.metrics.cross_val_ntg`.
        scoring : str, callable or None, default=None
            Scorer, higher is better. None: the ``score`` method of the estimator.
        confidence_level : float in (0, 1), default=0.95
            Coverage of the intervals.
        interval_for : {"average", "fitted"}, default="average"
            Which gap the intervals are about, as in
            :func:`~sktransfer.metrics.cross_val_ntg`: the average over labeled target
            samples of this size, or that of the models fitted on all rows.
        domain_names : dict of int to str, default=None
            Names of the domain ids.
        groups : array-like of shape (n_samples,), default=None
            Unit of each row, as in :func:`~sktransfer.metrics.cross_val_ntg`.
        params : dict, default=None
            Metadata for ``fit``, one entry per row.
        n_jobs : int, default=None
            Number of folds that are fitted in parallel.
        random_state : int, RandomState instance or None, default=None
            Deals the rows to the folds when ``cv`` is an int.
        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        display : NegativeTransferDisplay
            The display, drawn.
        """
        options = {
            "scoring": scoring,
            "confidence_level": confidence_level,
            "interval_for": interval_for,
            "n_jobs": n_jobs,
        }
        params = with_groups(params, groups)
        if isinstance(cv, Iterator):
            cv = list(cv)  # a generator, which every estimator needs
        entries = []
        for name, model in named(estimator).items():
            data = check_domains(
                as_rows(X), y, sample_domain, multi_output=True,
                numeric_labels=not is_classifier(model),
            )  # fmt: skip
            folds = labeled_folds(
                data, cv, params=params, stratify=is_classifier(model),
                random_state=random_state,
            )  # fmt: skip
            for group, rows in _parts(data, by, domain_names):
                part = data.take(rows)
                result = cross_val_ntg(
                    model, part.X, part.y, sample_domain=part.sample_domain,
                    cv=take_folds(folds, rows), params=slice_params(params, rows),
                    **options,
                )  # fmt: skip
                entries += _entries(
                    name, group, result.gaps, result.interval, by, result.ntg
                )
        unit = scoring if isinstance(scoring, str) else "score"
        unit = unit.removeprefix("neg_").replace("_", " ")
        return cls._from_entries(entries, by, unit).plot(ax=ax)

    @classmethod
    @validate_params(
        {
            "cv_results": [dict],
            "column": [str],
            "names": [list, None],
            "by": [StrOptions({"method", "fold"})],
            "test_train_ratio": [Interval(Real, 0, None, closed="left"), None],
            "unit": [str],
            "confidence_level": _LEVEL,
        },
        prefer_skip_nested_validation=True,
    )
    def from_cv_results(
        cls,
        cv_results,
        *,
        column="ntg",
        names=None,
        by="method",
        test_train_ratio=None,
        confidence_level=0.95,
        unit="score",
        ax=None,
    ):
        r"""Read the gaps from a search or from ``cross_validate``.

        Parameters
        ----------
        cv_results : dict
            ``cv_results_`` of a fitted search, what
            :func:`~sklearn.model_selection.cross_validate` returns, or a dict of name
            to what it returns.
        column : str, default="ntg"
            Name of :func:`~sktransfer.metrics.make_ntg_scorer` in ``scoring``.
        names : list of str, default=None
            Names of the candidates. None: their parameters.
        by : {"method", "fold"}, default="method"
            One gap with an interval per candidate, or one gap per fold.
        test_train_ratio : float in [0, inf), default=None
            Size of the test part of a fold over the labeled target rows of its
            training part. None: that of K folds, :math:`1 / (K - 1)`.
        confidence_level : float in (0, 1), default=0.95
            Coverage of the intervals, see Notes.
        unit : str, default="score"
            Unit of the gaps, for the axis.
        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        display : NegativeTransferDisplay
            The display, drawn.

        Notes
        -----
        A search keeps the gaps of the folds only, so the interval is the corrected
        resampled t of :func:`~sktransfer.metrics.cross_val_ntg`, for the average gap
        over labeled target samples of this size. The gaps of a search are those that
        chose its best candidate, so the gap of the best one is too good.
        """
        gaps = _read_gaps(cv_results, column)
        if names is not None:
            if len(names) != len(gaps):
                raise ValueError(
                    f"names has {len(names)} entries, but cv_results {len(gaps)} "
                    "candidates."
                )
            gaps = dict(zip(map(str, names), gaps.values(), strict=True))
        entries = []
        for name, values in gaps.items():
            ratio = 1 / max(len(values) - 1, 1)
            ratio = ratio if test_train_ratio is None else test_train_ratio
            interval = corrected_resampled_t(values, [(ratio, 1)], confidence_level)
            entries += _entries(name, None, values, interval, by)
        return cls._from_entries(entries, by, unit).plot(ax=ax)

    @classmethod
    @validate_params(
        {
            "y": ["array-like"],
            "y_pred": ["array-like", dict],
            "y_pred_target_only": ["array-like"],
            "loss": [StrOptions(set(_LOSSES)), callable, None],
            "confidence_level": _LEVEL,
        },
        prefer_skip_nested_validation=True,
    )
    def from_predictions(
        cls,
        y,
        y_pred,
        y_pred_target_only,
        *,
        loss=None,
        confidence_level=0.95,
        ax=None,
    ):
        r"""Compute the gap from predictions of target rows that no fit has seen.

        Parameters
        ----------
        y : array-like of shape (n_samples,)
            Labels of the target rows.
        y_pred : array-like of shape (n_samples,) or dict of str to such
            Predictions with transfer; a dict names several methods.
        y_pred_target_only : array-like of shape (n_samples,)
            Predictions of the same rows by the fit without the sources.
        loss : {"zero_one", "squared", "absolute"} or callable, default=None
            Loss of each row, ``loss(y, y_pred)``. None: "squared" if `y` or a
            prediction has a fractional part, or `y` whole floats, most of them
            distinct; "zero_one" for text, truth values and few integers. Numbers
            that may be classes or values are an error.
        confidence_level : float in (0, 1), default=0.95
            Coverage of the intervals, see Notes.
        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        display : NegativeTransferDisplay
            The display, drawn.

        Notes
        -----
        The interval is that of a paired t over the rows, for the gap of these fitted
        models; it leaves out what another sample of labels would change. Where all
        rows have the same zero-one loss with both, one more row may still differ, and
        the interval allows for it.
        """
        check_scorable(y)
        y, base = np.asarray(y), np.asarray(y_pred_target_only)
        if loss is None:
            predictions = y_pred.values() if isinstance(y_pred, dict) else [y_pred]
            loss = _infer_loss(y, [base, *predictions])
        unit = loss if isinstance(loss, str) else getattr(loss, "__name__", "loss")
        row_loss = _LOSSES[loss] if isinstance(loss, str) else loss
        several = y_pred if isinstance(y_pred, dict) else {"transfer": y_pred}
        entries = []
        for name, predicted in several.items():
            predicted = np.asarray(predicted)
            if predicted.shape != y.shape or base.shape != y.shape:
                raise ValueError(
                    "y, y_pred and y_pred_target_only must have the same shape, got "
                    f"{y.shape}, {predicted.shape} and {base.shape}."
                )
            gaps = row_loss(y, predicted) - row_loss(y, base)
            interval = corrected_resampled_t(gaps, [(0, 1)], confidence_level)
            if loss == "zero_one" and np.ptp(gaps) == 0 and len(gaps) > 1:
                differ = (predicted != base).astype(np.float64)
                evidence = PairedEvidence(gaps, guesses=differ, hits=True)
                interval = evidence.interval(confidence_level, "average")
            entries += _entries(str(name), None, gaps, interval, "method")
        return cls._from_entries(
            entries, "method", f"{unit} loss".replace("_", "-")
        ).plot(ax=ax)

    @classmethod
    def _from_entries(cls, entries, by, unit):
        methods, groups, ntg, intervals = zip(*entries, strict=True)
        groups = None if by == "method" else groups
        return cls(
            ntg, intervals, methods=methods, groups=groups, by=by, unit=unit
        )  # fmt: skip

    def plot(self, ax=None):
        """Draw the gaps.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        display : NegativeTransferDisplay
            This display.
        """
        lines = self.methods if self.groups is None else self.groups
        categories = list(dict.fromkeys(lines))
        series = [""] if self.groups is None else list(dict.fromkeys(self.methods))
        height = 1.3 + max(0.38, 0.22 * len(series)) * len(categories)
        ax = self._start(ax, (6.4, max(height, 2.2)))
        ax.axvline(0.0, color=INK, linestyle="--", linewidth=1)
        offsets = np.linspace(-0.25, 0.25, len(series)) if len(series) > 1 else [0.0]
        self.points_ = []
        for k, line in enumerate(lines):
            method = series.index(self.methods[k]) if len(series) > 1 else 0
            at = categories.index(line) + offsets[method]
            self._draw_gap(ax, k, at, MARKERS[method % len(MARKERS)])
        ax.set_yticks(range(len(categories)), map(plain_text, categories))
        ax.set_ylim(len(categories) - 0.4, -0.6)
        note = ""
        if np.isfinite(self.intervals).all(axis=1).any():
            note = "\nfilled marker: the interval excludes 0"
        ax.set_xlabel(f"negative transfer gap ({self.unit}){note}")
        self._mark_sides(ax)
        if len(series) > 1:
            self._add_legend(ax, series)
        return self

    def _draw_gap(self, ax, k, at, marker):
        low, high = self.intervals[k]
        finite = np.isfinite([low, high]).all()
        sure = np.isnan([low, high]).any() or low > 0 or high < 0
        color = (HELPS if self.ntg[k] < 0 else HURTS) if sure else INK
        if finite:
            ax.plot([low, high], [at, at], color=color, linewidth=1.5)
            ax.plot([low, high], [at, at], "|", color=color, markersize=7)
        face = color if sure else "white"
        self.points_ += ax.plot(
            self.ntg[k], at, marker, color=color, markerfacecolor=face, markersize=7
        )

    def _mark_sides(self, ax):
        """Leave room on both sides of zero and say which one is which."""
        limits = np.concatenate([self.ntg, self.intervals.ravel(), [0.0]])
        limits = limits[np.isfinite(limits)]
        low, high = limits.min(), limits.max()
        span = max(high - low, 1e-6)
        left, right = min(low, -0.4 * high), max(high, -0.4 * low)
        ax.set_xlim(left - 0.06 * span, right + 0.06 * span)
        for text, side, shift, color in (
            ("◂ sources help", "right", -4, HELPS),
            ("sources hurt ▸", "left", 4, HURTS),
        ):
            ax.annotate(
                text, (0.0, 1.0), xycoords=("data", "axes fraction"),
                xytext=(shift, 4), textcoords="offset points", ha=side, fontsize=9,
                color=color,
            )  # fmt: skip

    def _add_legend(self, ax, series):
        from matplotlib.lines import Line2D

        handles = [
            Line2D([], [], color=INK, marker=MARKERS[k % len(MARKERS)], linestyle="")
            for k in range(len(series))
        ]
        ax.legend(
            handles,
            [plain_text(name) for name in series],
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            frameon=False,
        )


def _parts(data, by, domain_names):
    """Yield the name and the rows of every part that gets a gap of its own."""
    if by != "source":
        yield None, np.ones(len(data.sample_domain), dtype=bool)
        return
    for source in data.sources:
        yield domain_label(source, domain_names), data.rows_of(source) | data.is_target


def _entries(name, group, gaps, interval, by, ntg=None):
    """Return ``(method, group, gap, interval)`` of a method or of each fold."""
    if by == "fold":
        return [
            (name, f"fold {k}", gap, (np.nan, np.nan))
            for k, gap in enumerate(gaps, start=1)
        ]
    ntg = float(np.mean(gaps)) if ntg is None else ntg
    return [(name, group, ntg, tuple(interval))]


def _read_gaps(cv_results, column):
    """Return a dict of name to the gaps of every fold."""
    if cv_results and all(isinstance(value, dict) for value in cv_results.values()):
        gaps = {str(k): _read_gaps(v, column) for k, v in cv_results.items()}
        return {k: next(iter(v.values())) for k, v in gaps.items()}
    splits = [key for key in cv_results if _is_split(key, column)]
    if splits:
        scores = np.transpose([cv_results[key] for key in splits])
        names = _candidate_names(cv_results, len(scores))
    elif f"test_{column}" in cv_results:
        scores, names = [np.asarray(cv_results[f"test_{column}"])], ["transfer"]
    else:
        known = sorted(key for key in cv_results if "test_" in key)
        raise ValueError(
            f"cv_results has no scores {column!r}. Add "
            f"scoring={{{column!r}: make_ntg_scorer(...), ...}} to the search. Scores "
            f"at hand: {', '.join(known) or 'none'}."
        )
    if not np.isfinite(scores).all():
        raise ValueError(
            f"cv_results holds scores {column!r} that are not finite: some fits failed."
        )
    # the scorer returns the negated gap
    gaps = [-np.asarray(row, dtype=float) for row in scores]
    return dict(zip(names, gaps, strict=True))


def _is_split(key, column):
    head, _, tail = key.partition("_test_")
    return head[:5] == "split" and head[5:].isdigit() and tail == column


def _candidate_names(cv_results, n_candidates):
    """Write the parameters of each candidate without the names of the steps."""
    params = cv_results.get("params", [{}] * n_candidates)
    short = [
        ", ".join(f"{key.rsplit('__', 1)[-1]}={value}" for key, value in each.items())
        for each in params
    ]
    full = [", ".join(f"{key}={value}" for key, value in p.items()) for p in params]
    names = short if len(set(short)) == n_candidates else full
    return [
        name or "transfer" if n_candidates == 1 else name or f"candidate {k}"
        for k, name in enumerate(names)
    ]


def _infer_loss(y, predictions):
    """Return the loss that labels and predictions ask for, or ask the user."""
    ask = "loss='zero_one' for classes, or loss='squared' or 'absolute' for values"
    if y.dtype.kind not in "iuf":
        return "zero_one"
    numbers = [np.asarray(p) for p in (y, *predictions)]
    numbers = [p for p in numbers if p.dtype.kind in "iuf" and np.isfinite(p).all()]
    if any((p != np.round(p)).any() for p in numbers):
        return "squared"
    if infer_task(y, argument=ask) == "regression":
        return "squared"
    if y.dtype.kind == "f":
        raise ValueError(f"y holds few whole numbers, as floats: give {ask}.")
    return "zero_one"
