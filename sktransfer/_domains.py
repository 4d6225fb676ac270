"""The domain convention: the only module that handles signs and label markers.

A sample belongs to a domain by its entry of ``sample_domain``: a positive id is a
source, a negative id a target. The label of an unlabeled target sample is a missing
value: NaN among numbers, None or NaN among objects. Integer classes with missing
labels are floats with NaN, so that a scorer or transformer of scikit-learn that meets
a missing label raises; the integer -1 is accepted with a warning. All other code asks
a :class:`DomainData` or one of the functions here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cached_property, lru_cache
from numbers import Real
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.validation import assert_all_finite

from sktransfer._compat import _num_samples, _safe_indexing
from sktransfer.exceptions import (
    CapabilityError,
    DomainError,
    IntegerMarkerWarning,
    UnlabeledTargetError,
    warn,
)

TARGET_ID = -1
_INTEGER_MARKER = -1
#: what becomes of a missing value that is turned into text; never a class
_MISSING_AS_TEXT = {"", "nan", "<na>", "nat"}
#: what files and people write for a missing value; a class if a source sample has it
_PERHAPS_MISSING = {"None", "NA", "N/A", "n/a", "#N/A", "NULL", "null"}
#: whole floats up to here are integers without loss
_LARGEST_WHOLE = 2.0**53

_checked_before: ContextVar[bool] = ContextVar("_checked_before", default=False)

Mask = NDArray[np.bool_]
Rows = NDArray[Any]


@dataclass(frozen=True)
class DomainData:
    """Checked samples with their domains, as the templates hand them to a method.

    Every array is in input order. A method asks it for sources, targets and labels and
    never looks at signs of ``sample_domain`` or at markers of missing labels itself.

    Parameters
    ----------
    X : {ndarray, sparse matrix, dataframe} of shape (n_samples, n_features)
        The rows of every domain.
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs), or None
        Labels, with markers on the unlabeled target rows.
    sample_domain : ndarray of shape (n_samples,)
        Domain id of each row.
    labeled : ndarray of shape (n_samples,)
        True where ``y`` holds a label.
    integer_classes : bool, default=False
        True if ``y`` holds integer classes as floats, because some are missing.

    See Also
    --------
    TransferMetaEstimator : Its hook gets such an object, as those of all templates.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> from sktransfer.base import TransferMetaEstimator
    >>> class FirstSourceOnly(TransferMetaEstimator):
    ...     def _fit_estimator(self, data, fit_params):
    ...         if not data.n_source:
    ...             return self.estimator.fit(data.X_labeled, data.y_labeled)
    ...         domain, X, y = next(data.each_source())
    ...         return self.estimator.fit(X, y)
    >>> X, y, domain = [[0.0], [1.0], [1.0]], [0.0, 2.0, 5.0], [1, 1, -1]
    >>> model = FirstSourceOnly(LinearRegression()).fit(X, y, sample_domain=domain)
    >>> model.predict([[3.0]])
    array([6.])
    """

    X: Any
    y: Rows | None
    sample_domain: NDArray[np.int64]
    labeled: Mask
    integer_classes: bool = False

    @cached_property
    def is_source(self) -> Mask:
        """Mask of the source rows."""
        return is_source(self.sample_domain)

    @cached_property
    def is_target(self) -> Mask:
        """Mask of the target rows, labeled or not."""
        return ~self.is_source

    @cached_property
    def is_labeled_target(self) -> Mask:
        """Mask of the labeled target rows."""
        return self.is_target & self.labeled

    @cached_property
    def sources(self) -> NDArray[np.int64]:
        """Ids of the sources, ascending."""
        return np.unique(self.sample_domain[self.is_source])

    @cached_property
    def targets(self) -> NDArray[np.int64]:
        """Ids of the targets, in the order -1, -2, ..."""
        return np.unique(self.sample_domain[self.is_target])[::-1]

    @property
    def n_source(self) -> int:
        """Number of source rows."""
        return int(self.is_source.sum())

    @property
    def n_target(self) -> int:
        """Number of target rows, labeled or not."""
        return int(self.is_target.sum())

    @property
    def n_labeled(self) -> int:
        """Number of labeled target rows."""
        return int(self.is_labeled_target.sum())

    @cached_property
    def X_source(self) -> Any:
        """Source rows."""
        return take_rows(self.X, self.is_source)

    @cached_property
    def X_target(self) -> Any:
        """Target rows, labeled or not."""
        return take_rows(self.X, self.is_target)

    @cached_property
    def X_labeled(self) -> Any:
        """Labeled target rows."""
        return take_rows(self.X, self.is_labeled_target)

    @cached_property
    def X_unlabeled(self) -> Any:
        """Unlabeled target rows."""
        return take_rows(self.X, self.is_target & ~self.labeled)

    @cached_property
    def y_source(self) -> Rows:
        """Labels of the source rows."""
        return self.labels(self.is_source)

    @cached_property
    def y_labeled(self) -> Rows:
        """Labels of the labeled target rows."""
        return self.labels(self.is_labeled_target)

    @cached_property
    def source_ids(self) -> NDArray[np.int64]:
        """Source id of each source row."""
        return self.sample_domain[self.is_source]

    def labels(self, rows: Mask) -> Rows:
        """Return the labels of labeled ``rows`` in their natural dtype."""
        if self.y is None:
            raise UnlabeledTargetError("y is None, but labels are needed here.")
        labels = self.y[rows]
        if self.integer_classes:
            return labels.astype(np.int64)
        if labels.dtype != object:
            return labels
        natural = np.asarray(labels.tolist())
        if natural.dtype.kind == "U" and not all(
            isinstance(v, str) for v in labels.flat
        ):
            raise DomainError("y mixes text and numbers; use one kind of label.")
        return natural

    def rows_of(self, domain: int) -> Mask:
        """Mask of the rows of one domain id."""
        return cast(Mask, self.sample_domain == domain)

    def each_source(self) -> Iterator[tuple[int, Any, Rows]]:
        """Yield ``(id, X, y)`` of every source in the order of ``sources``."""
        for domain in self.sources:
            rows = self.rows_of(domain)
            yield int(domain), take_rows(self.X, rows), self.labels(rows)

    def take(self, rows: Rows) -> "DomainData":
        """Return the data of some rows, given as a mask or as indices."""
        return replace(
            self,
            X=take_rows(self.X, rows),
            y=None if self.y is None else self.y[rows],
            sample_domain=self.sample_domain[rows],
            labeled=self.labeled[rows],
        )

    def mask_of(self, rows: Rows) -> Mask:
        """Mask of the rows with the given indices."""
        mask = np.zeros(len(self.sample_domain), dtype=bool)
        mask[rows] = True
        return mask

    def with_X(self, X: Any) -> "DomainData":
        """Return the same rows described by other features."""
        return replace(self, X=X)

    def without_labels(self, rows: Mask) -> "DomainData":
        """Return the same rows with the labels of some of them not to be used."""
        return replace(self, labeled=self.labeled & ~rows)

    def as_pair(self, source: int, target: int) -> "DomainData":
        """Return the rows of two domains, ``target`` being the target of the pair."""
        part = self.take(np.isin(self.sample_domain, [source, target]))
        own = part.sample_domain == target
        ids = np.where(own, TARGET_ID, abs(source))
        return replace(part, sample_domain=ids)

    def without_sources(self) -> "DomainData":
        """Return the target rows alone."""
        return self.take(self.is_target)


def is_source(sample_domain: NDArray[np.int64]) -> Mask:
    """Mask of the source rows of a checked ``sample_domain``."""
    return sample_domain > 0


def source_id(position: int) -> int:
    """Return the id of the source at ``position`` 0, 1, ... in a list of sources."""
    return position + 1


def take_rows(X: Any, rows: Rows) -> Any:
    """Index the rows of an array, a sparse matrix or a dataframe."""
    if type(X) is np.ndarray:
        return X[rows]
    return _safe_indexing(X, np.flatnonzero(rows) if rows.dtype == bool else rows)


def canonical_order(
    X: Any, *keys: Rows, rng: np.random.RandomState | None = None
) -> NDArray[np.intp]:
    """Return an order of the rows that does not depend on their order in ``X``.

    What is drawn from rows in this order, such as folds, batches or permutations, is
    the same in whatever order the rows come and in whatever units their columns are.
    NaN comes before the other values of its column; text and other objects count by
    the sorted order of their values in the column, dates and durations as numbers.

    Parameters
    ----------
    X : array-like of shape (n_samples, ...), sparse matrix or dataframe
        Rows.
    *keys : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Labels, masks or the like, which come before the rows in the order.
    rng : RandomState, default=None
        Decides on the order of the rows; None: always the same order.

    Returns
    -------
    order : ndarray of shape (n_samples,)
        Positions of the rows.
    """
    draw = _default_draw if rng is None else rng.normal
    if sparse.issparse(X):
        rows = X.tocsr()
        _, spread = _low_and_spread(rows)
        projection = rows @ (draw(size=rows.shape[1]) / spread)
    else:
        rows = _as_numbers(X)
        known = np.isfinite(rows)
        finite = bool(known.all())
        if finite and rows.size:
            low, spread = _low_and_spread_of(*(_end(rows, f) for f in _ENDS))
        else:
            low, spread = _low_and_spread(np.where(known, rows, np.nan))
        drawn = draw(size=rows.shape[1])
        projection = np.empty(len(rows))
        step = max(_BLOCK // max(rows.shape[1], 1), 1)
        for start in range(0, len(rows), step):
            block = rows[start : start + step]
            with np.errstate(invalid="ignore"):
                block = (block - low) / spread
            if not finite:
                block = np.nan_to_num(block, nan=-1.0, posinf=3.0, neginf=-3.0)
            # a sum per row, not a matrix product: its rounding may depend on the
            # position
            projection[start : start + step] = np.einsum("ij,j->i", block, drawn)
    first = [key if key.ndim == 1 else key[:, 0] for key in map(np.asarray, keys)]
    codes = [np.unique(key, return_inverse=True)[1] for key in first]
    return np.lexsort((projection, *codes[::-1]))


def _low_and_spread(rows: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return least value and range of each column, so that units do not matter."""
    if not rows.shape[0]:
        return np.zeros(rows.shape[1]), np.ones(rows.shape[1])
    if sparse.issparse(rows):
        ends = [np.asarray(f(axis=0).todense()).ravel() for f in (rows.min, rows.max)]
    else:
        ends = [f.reduce(rows, axis=0, initial=np.nan) for f in (np.fmin, np.fmax)]
    return _low_and_spread_of(*(np.asarray(end, dtype=np.float64) for end in ends))


def _low_and_spread_of(low: Any, high: Any) -> tuple[Any, Any]:
    with np.errstate(invalid="ignore"):
        spread = high - low
    known = np.isfinite(spread) & (spread > 0)
    return np.where(np.isfinite(low), low, 0.0), np.where(known, spread, 1.0)


#: least and greatest value
_ENDS = np.minimum, np.maximum
#: numbers that are worked on at a time
_BLOCK = 2**15


def _end(rows: NDArray[np.float64], extreme: Any) -> NDArray[np.float64]:
    """Return the least or greatest value of each column, several rows at a time."""
    n, d = rows.shape
    block = max(1024 // d, 1)
    head, tail = rows[: n - n % block], rows[n - n % block :]
    if len(head):
        head = extreme.reduce(head.reshape(-1, block * d), axis=0).reshape(block, d)
    found: NDArray[np.float64] = extreme.reduce(np.vstack([head, tail]), axis=0)
    return found


@lru_cache(maxsize=64)
def _default_draw(size: int) -> NDArray[np.float64]:
    """Return the directions that are drawn where no generator is given."""
    drawn = np.random.RandomState(0).normal(size=size)
    drawn.flags.writeable = False
    return drawn


def _as_numbers(X: Any) -> NDArray[np.float64]:
    """Return rows as floats; text becomes the ranks in its column, dates seconds."""
    try:
        rows = np.asarray(X, dtype=np.float64)
        return rows.reshape(len(rows), int(np.prod(rows.shape[1:])))
    except (TypeError, ValueError):
        objects = _as_objects(X)
    numbers = np.full(objects.shape, np.nan)  # whatever a library has for missing
    for j, column in enumerate(objects.T):
        known = np.array([not is_missing(value) for value in column], dtype=bool)
        present = column[known]
        try:
            if present.size and isinstance(present[0], (date, timedelta)):
                present = np.array([_seconds(value) for value in present])
            numbers[known, j] = present.astype(np.float64)
        except (AttributeError, TypeError, ValueError):
            text = np.array([str(value) for value in present])
            numbers[known, j] = np.unique(text, return_inverse=True)[1]
    return numbers


def _seconds(value: Any) -> float:
    """Return a date or a duration as a number, the same from pandas and polars."""
    if isinstance(value, timedelta):
        return float(value.total_seconds())
    if not isinstance(value, datetime):
        return 86400.0 * float((value - date(1970, 1, 1)).days)
    if value.tzinfo is not None:
        return float(value.timestamp())
    return float((value - datetime(1970, 1, 1)).total_seconds())


def _as_objects(X: Any) -> NDArray[np.object_]:
    """Return rows as objects, those of a dataframe column by column.

    The whole of a polars table with dates and numbers cannot become one array.
    """
    if hasattr(X, "columns"):
        columns = [_safe_indexing(X, j, axis=1) for j in range(X.shape[1])]
        values = [np.fromiter(c.to_list(), object, count=X.shape[0]) for c in columns]
        return np.column_stack(values)
    objects = np.asarray(X, dtype=object)
    return objects.reshape(len(objects), -1)


def check_sample_domain(sample_domain: Any, n_samples: int) -> NDArray[np.int64]:
    """Check domain ids and return them as an integer array of shape (n_samples,).

    Parameters
    ----------
    sample_domain : array-like of shape (n_samples,), int or None
        Domain ids; an integer holds for every row; None means that every row is a
        target row.
    n_samples : int
        Number of rows that the ids must describe.

    Returns
    -------
    sample_domain : ndarray of shape (n_samples,)
        A checked copy.
    """
    if sample_domain is None:
        return np.full(n_samples, TARGET_ID, dtype=np.int64)
    ids = np.asarray(sample_domain)
    if ids.ndim == 2 and ids.shape[1] == 1:
        ids = ids.ravel()
    if ids.ndim > 1:
        raise DomainError(
            f"sample_domain must have shape (n_samples,), got shape {ids.shape}."
        )
    if ids.dtype.kind not in "iu":
        raise DomainError(
            f"sample_domain must hold integers, got dtype {ids.dtype}. Named domains "
            "become ids in sktransfer.datasets.from_frame and stack_domains."
        )
    if ids.ndim == 1 and len(ids) != n_samples:
        raise DomainError(
            f"sample_domain has {len(ids)} entries, but X has {n_samples} rows."
        )
    ids = np.array(np.broadcast_to(ids, (n_samples,)), dtype=np.int64)
    zeros = np.flatnonzero(ids == 0)
    if len(zeros):
        raise DomainError(
            f"sample_domain holds 0 (first at row {zeros[0]}): use positive ids for "
            "sources and negative ids for the target."
        )
    return ids


def check_domains(
    X: Any,
    y: Any,
    sample_domain: Any,
    *,
    numeric_labels: bool | None = False,
    multi_output: bool = False,
    target_required: bool = True,
    unlabeled_sources: bool = False,
) -> DomainData:
    """Check ``y`` and ``sample_domain`` against ``X`` and return them together.

    Parameters
    ----------
    X : {ndarray, sparse matrix, dataframe} of shape (n_samples, n_features)
        Rows, validated by the caller if at all.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), or None
        Labels; None leaves every row unlabeled.
    sample_domain : array-like of shape (n_samples,), int or None
        Domain ids. None: every row is a labeled target row and ``y`` is taken at
        face value.
    numeric_labels : bool or None, default=False
        True for regression, where -1 is a value and only NaN marks a missing label.
        False for classification. None: the caller cannot tell; labels keep their
        dtype, and doubtful ones are left to the fit to refuse.
    multi_output : bool, default=False
        Accept ``y`` with several columns.
    target_required : bool, default=True
        Refuse rows without a target row; a batch may hold source rows alone.
    unlabeled_sources : bool, default=False
        Accept missing values as labels of source rows, which are unlabeled then; the
        integer -1 never marks them.

    Returns
    -------
    data : DomainData
        The rows with their domains.

    Raises
    ------
    DomainError
        If an id is 0 or no integer, a length differs, no row is a target row, the
        label of a source row is missing, or a label may be a class or a missing one.

    Warns
    -----
    IntegerMarkerWarning
        If the integer -1 marks unlabeled target rows, or if it is a class beside two
        or more others where no domains are given.
    """
    n_samples = _num_samples(X)
    ids = check_sample_domain(sample_domain, n_samples)
    if target_required and n_samples and is_source(ids).all():
        raise DomainError(
            "sample_domain has no target row (no negative id). Mark the rows of the "
            "target with -1; their labels may be missing."
        )
    if y is None:
        return DomainData(X, None, ids, np.zeros(n_samples, dtype=bool))
    labels = _as_label_array(y, multi_output=multi_output)
    if len(labels) != n_samples:
        raise DomainError(f"y has {len(labels)} entries, but X has {n_samples} rows.")
    doubtful = numeric_labels is False and not _checked_before.get()
    if sample_domain is None:
        labels = _check_face_value(labels, numeric=bool(numeric_labels))
        if doubtful:
            _warn_of_class_minus_one(labels)
        return DomainData(X, labels, ids, np.ones(n_samples, dtype=bool))
    source = is_source(ids)
    if numeric_labels:
        _check_no_text(labels)
    if numeric_labels and labels.dtype == object:
        labels = _to_floats(labels)
    if doubtful:
        _check_ambiguous(labels, source)
    labels, unlabeled = _find_missing(labels, source, numeric=numeric_labels)
    if not unlabeled_sources:
        _check_sources_labeled(labels, unlabeled & source)
    _check_labels_finite(labels, ~unlabeled)
    if numeric_labels and labels.dtype.kind in "iub":
        labels = labels.astype(np.float64)
    whole = numeric_labels is False and _is_whole(labels)
    return DomainData(X, labels, ids, ~unlabeled, integer_classes=whole)


@contextmanager
def labels_checked_before() -> Iterator[None]:
    """Do not question labels again that an outer fit has checked.

    A part of the rows can look doubtful where all of them are not: the class -1.0 of
    a source, for example, in a fit on the target alone.
    """
    token = _checked_before.set(True)
    try:
        yield
    finally:
        _checked_before.reset(token)


def check_capabilities(
    data: DomainData,
    name: str,
    *,
    multi_source: bool,
    multi_target: bool,
    labels_required: bool,
    needs_y: bool,
) -> None:
    """Refuse data that ask for more than an estimator declares.

    Parameters
    ----------
    data : DomainData
        Checked rows.
    name : str
        Name of the estimator for the message.
    multi_source, multi_target : bool
        Whether several sources or targets are supported.
    labels_required : bool
        Whether at least one labeled target row is needed.
    needs_y : bool
        Whether any label is needed at all.

    Raises
    ------
    CapabilityError
        If there are more sources or targets than the estimator supports.
    UnlabeledTargetError
        If labels are missing that the estimator needs.
    """
    if len(data.targets) > 1 and not multi_target:
        raise CapabilityError(
            f"sample_domain names {len(data.targets)} targets "
            f"({', '.join(map(str, data.targets))}), but {name} takes one target per "
            "fit: fit it once per target."
        )
    if len(data.sources) > 1 and not multi_source:
        raise CapabilityError(
            f"sample_domain names {len(data.sources)} sources, but {name} takes one: "
            "select a source or give all of them the same id."
        )
    if labels_required and not data.n_labeled:
        raise UnlabeledTargetError(
            f"{name} needs labeled target rows, but every target row in y carries the "
            "marker of a missing label."
        )
    if needs_y and not data.labeled.any():
        raise UnlabeledTargetError(
            f"{name} has no label to learn from: y marks every target row as "
            "unlabeled and sample_domain names no source."
        )


def check_scorable(y: Any, classes: ArrayLike | None = None) -> None:
    """Refuse to score rows whose label is a marker.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Labels of the rows to score.
    classes : array-like of shape (n_classes,), default=None
        Known classes: a marker among them is a label. None for regression.

    Raises
    ------
    UnlabeledTargetError
        If a row carries a marker.
    """
    labels = _as_label_array(y, multi_output=True)
    marked = _missing(labels)
    if classes is not None and labels.dtype.kind in "if" and labels.ndim == 1:
        known = np.asarray(classes)
        marked |= (labels == _INTEGER_MARKER) & ~np.isin(labels, known)
    if marked.any():
        raise UnlabeledTargetError(
            f"y marks {int(marked.sum())} of {len(labels)} rows as unlabeled, so they "
            "cannot be scored. Use a splitter that tests on labeled target rows, such "
            "as cv=StratifiedTargetKFold() or TargetKFold() of "
            "sktransfer.model_selection."
        )


def labeled_target_index(y: Any, sample_domain: Any, n_samples: int) -> Rows:
    """Return the indices of the labeled target rows (splitters test on these)."""
    data = check_domains(
        np.empty((n_samples, 0)), y, sample_domain, numeric_labels=None,
        multi_output=True, unlabeled_sources=True,
    )  # fmt: skip
    return np.flatnonzero(data.is_labeled_target)


def mark_unlabeled(y: Any, unlabeled: Any = -1) -> Rows:
    """Mark unlabeled samples by a missing value, which no scorer takes for a class.

    Integers and booleans become floats with NaN, text and objects become objects with
    None. A classifier of this library still has integers as ``classes_``.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Labels. Labels that are missing already stay missing.
    unlabeled : object or array-like of bool of shape (n_samples,), default=-1
        The value that stands for a missing label in ``y``, or a mask of the unlabeled
        samples.

    Returns
    -------
    y_marked : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Labels in which NaN or None marks the unlabeled samples.

    Raises
    ------
    DomainError
        If a mask has another length than ``y``, or an integer is too large for a
        float.

    Examples
    --------
    >>> from sktransfer.datasets import mark_unlabeled
    >>> mark_unlabeled([0, 2, -1])
    array([ 0.,  2., nan])
    >>> mark_unlabeled(["no", "yes", "?"], "?")
    array(['no', 'yes', None], dtype=object)
    >>> mark_unlabeled([1, 0, 1], [False, False, True])
    array([ 1.,  0., nan])
    """
    labels = _as_label_array(y, multi_output=True)
    chosen = np.asarray(unlabeled)
    if chosen.dtype.kind == "b" and chosen.ndim == 1:
        if len(chosen) != len(labels):
            raise DomainError(
                f"unlabeled is a mask of {len(chosen)} samples, but y has {len(labels)}"
                " entries."
            )
        mask = chosen
    elif chosen.ndim:
        raise DomainError(
            "unlabeled must be one value, or a mask with one boolean per sample; got "
            f"an array of shape {chosen.shape} and dtype {chosen.dtype}."
        )
    else:
        hits = labels == unlabeled
        mask = hits if labels.ndim == 1 else np.all(hits, axis=1)
    return _with_missing(labels, np.asarray(mask, dtype=bool))


def _with_missing(labels: Rows, mask: Mask) -> Rows:
    """Return a copy with missing values where ``mask`` is True."""
    marked = labels.copy()
    if labels.dtype.kind in "iub":
        if labels.dtype.kind != "b" and (np.abs(labels) > _LARGEST_WHOLE).any():
            raise DomainError(
                "y holds integers beyond 2**53, which a float with NaN cannot hold. "
                "Use text as classes."
            )
        marked = labels.astype(np.float64)
    elif labels.dtype.kind in "US":
        marked = labels.astype(object)
    marked[mask] = np.nan if marked.dtype.kind == "f" else None
    return marked


def check_target_labels(target: Any, sources: list[Any]) -> None:
    """Refuse the integer -1 among labels of the target that no source has.

    Parameters
    ----------
    target : array-like of shape (n_labeled,)
        Labels of labeled target rows.
    sources : list of array-like of shape (n_i,)
        Labels of each source.

    Raises
    ------
    DomainError
        If -1 may be a class or a missing label.
    """
    labels = _as_label_array(target, multi_output=True)
    if labels.dtype.kind != "i" or not (labels == _INTEGER_MARKER).any():
        return
    if not any((np.asarray(part) == _INTEGER_MARKER).any() for part in sources):
        _ask("-1", "no source sample has it")


def join_labels(parts: list[Any], n_unlabeled: int) -> Rows:
    """Concatenate label vectors and append missing ones for unlabeled target rows.

    Parameters
    ----------
    parts : list of array-like of shape (n_i,)
        Labels of the sources and of the labeled target rows.
    n_unlabeled : int
        Number of missing labels to append: NaN among numbers, else None.

    Returns
    -------
    y : ndarray of shape (sum(n_i) + n_unlabeled,)
        Labels and missing ones.
    """
    arrays = [_as_label_array(part, multi_output=True) for part in parts]
    kinds = {a.dtype.kind if a.dtype.kind in "iufb" else "O" for a in arrays}
    if "O" in kinds and len(kinds) > 1:
        raise DomainError(
            "y mixes numbers and text over the domains; use one kind of label."
        )
    joined = np.concatenate(arrays)
    if not n_unlabeled:
        return joined
    filler = np.repeat(joined[:1], n_unlabeled, axis=0)
    unlabeled = np.arange(len(joined) + n_unlabeled) >= len(joined)
    return _with_missing(np.concatenate([joined, filler]), unlabeled)


def _as_label_array(y: Any, *, multi_output: bool) -> Rows:
    labels = y.to_numpy() if hasattr(y, "to_numpy") else np.asarray(y)
    if labels.dtype.kind in "US" and isinstance(y, list | tuple):
        mixed = any(not isinstance(label, str) for label in y)
        labels = np.array(y, dtype=object) if mixed else labels
    if labels.dtype == object:  # pandas.NA, which cannot be compared, becomes None
        gaps = [type(label).__name__ == "NAType" for label in labels.flat]
        if any(gaps):
            labels = labels.copy()
            labels[np.reshape(gaps, labels.shape)] = None
    if multi_output and labels.ndim == 2 and labels.shape[1] > 1:
        return cast(Rows, labels)
    return cast(Rows, column_or_1d(labels, warn=True))


def _to_floats(labels: Rows) -> Rows:
    missing = _missing(labels)
    numbers = np.full(labels.shape, np.nan)
    numbers[~missing] = labels[~missing].astype(np.float64)
    return numbers


def _check_no_text(labels: Rows) -> None:
    """Refuse text among the labels of a regression."""
    if labels.dtype.kind not in "USO":
        return
    for value in labels.ravel().tolist():
        if isinstance(value, str | bytes):
            try:
                float(value)
            except ValueError:
                raise DomainError(
                    f"y holds text such as {value!r}, but labels of a regression are "
                    "numbers: give a classifier, or encode y."
                ) from None


def _check_face_value(labels: Rows, *, numeric: bool) -> Rows:
    """Check labels without a domain as scikit-learn does: no NaN, no infinity."""
    if _missing(labels).any():
        raise UnlabeledTargetError(
            "Input y contains NaN: labels are missing, but sample_domain is None. Pass "
            "sample_domain, which tells unlabeled target rows from source rows; in a "
            "pipeline or a search that needs "
            "sklearn.set_config(enable_metadata_routing=True)."
        )
    if numeric:
        _check_no_text(labels)
    if labels.dtype == object and not numeric:
        assert_all_finite(labels, input_name="y")
        return labels
    return cast(
        Rows,
        check_array(
            labels, dtype="numeric" if numeric else None, ensure_2d=False,
            ensure_min_samples=0, input_name="y",
        ),
    )  # fmt: skip


def is_missing(value: Any) -> bool:
    """Tell whether a single value is missing: None, NaN, NaT or ``pandas.NA``."""
    if type(value) is str:  # the common case first: this runs for every cell
        return False
    # pandas.NA cannot be compared, so its type is asked first
    if value is None or type(value).__name__ == "NAType":
        return True
    differs = value != value
    return isinstance(differs, bool | np.bool_) and bool(differs)


def check_names(names: Any, argument: str) -> None:
    """Refuse names of units or pairs that are missing values turned into text.

    Parameters
    ----------
    names : list
        Names of samples, text or other values.
    argument : str
        What the message calls them.

    Raises
    ------
    DomainError
        If a name is empty or reads "nan", "<NA>" or "NaT".
    """
    for row, name in enumerate(names):
        if isinstance(name, str) and name.strip().casefold() in _MISSING_AS_TEXT:
            raise DomainError(
                f"{argument} holds the text {name!r} (first at row {row}): a missing "
                "value turned into text looks so, and all such rows would be one. Pass "
                "None or NaN where there is none, e.g. in an array of dtype object."
            )


def match_pairs(sample_pair: Any, data: DomainData) -> tuple[Rows, Rows]:
    """Return the rows of the pairs, those of the source and those of the target.

    Parameters
    ----------
    sample_pair : array-like of shape (n_samples,)
        Name of the object of each row; None or NaN: it has no partner.
    data : DomainData
        Checked rows.

    Returns
    -------
    source, target : ndarray of shape (n_pairs,)
        Indices of the rows; those in one place are a pair. Rows whose partner is not
        there, as in a part of the rows, are left out.

    Raises
    ------
    DomainError
        If a domain has a name twice, a name is a missing value turned into text, or
        no name is in both.
    """
    names = sample_pair.to_numpy() if hasattr(sample_pair, "to_numpy") else sample_pair
    names = np.asarray(names)
    n_samples = len(data.sample_domain)
    if names.shape != (n_samples,):
        raise DomainError(
            f"sample_pair has shape {names.shape}, but X has {n_samples} rows: give "
            "one name per row, None or NaN for a row without a partner."
        )
    check_names(names.tolist(), "sample_pair")
    found: list[dict[Any, int]] = [{}, {}]
    for row, name in enumerate(names.tolist()):
        if is_missing(name):
            continue
        side = found[int(data.is_target[row])]
        if name in side:
            where = "target" if data.is_target[row] else "source"
            raise DomainError(
                f"sample_pair names {name!r} in two {where} rows ({side[name]} and "
                f"{row}): average repeated measurements of an object before."
            )
        side[name] = row
    shared = [name for name in found[0] if name in found[1]]
    if not shared:
        raise DomainError(
            "sample_pair holds no name that is in a source row and in a target row, so "
            "there are no pairs."
        )
    source, target = (np.array([side[name] for name in shared]) for side in found)
    return source, target


def missing_labels(y: Any) -> Mask:
    """Return the mask of the rows of ``y`` that have no label: NaN or None.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Labels.

    Returns
    -------
    missing : ndarray of bool of shape (n_samples,)
        True where the label is missing.
    """
    return _missing(_as_label_array(y, multi_output=True))


def _missing(labels: Rows) -> Mask:
    """Mask of the rows whose label is NaN or None."""
    if labels.dtype.kind == "f":
        missing = np.isnan(labels)
    elif labels.dtype == object:
        missing = np.array([is_missing(v) for v in labels.flat], dtype=bool)
        missing = missing.reshape(labels.shape)
    else:
        missing = np.zeros(labels.shape, dtype=bool)
    if missing.ndim == 1:
        return cast(Mask, missing)
    partial = np.flatnonzero(missing.any(axis=1) & ~missing.all(axis=1))
    if len(partial):
        raise DomainError(
            f"y has a partly missing row (first at row {partial[0]}): give all of its "
            "outputs or none."
        )
    return cast(Mask, missing.all(axis=1))


def _find_missing(
    labels: Rows, source: Mask, *, numeric: bool | None
) -> tuple[Rows, Mask]:
    """Return labels in which missing ones are missing values, and where they are."""
    if labels.dtype.kind != "i":
        return labels, _missing(labels)
    marked = labels == _INTEGER_MARKER
    marked = marked if marked.ndim == 1 else marked.all(axis=1)
    if not marked.any():
        return labels, cast(Mask, marked)
    if numeric:
        raise DomainError(
            "y holds integers and -1 in a regression: is -1 a value or a missing "
            "label? Pass y as floats, with NaN for unlabeled target rows."
        )
    _check_sources_labeled(labels, marked & source)
    if numeric is False and not _checked_before.get():
        warn(
            f"The integer -1 marks {int(marked.sum())} target samples as unlabeled. "
            "Scorers, supervised transformers before this step and meta-estimators "
            "around it count -1 as a class. Pass "
            "y=sktransfer.datasets.mark_unlabeled(y), which marks them by NaN, test "
            "on cv=StratifiedTargetKFold(), and put such transformers and "
            "meta-estimators inside, e.g. Pooled(make_pipeline(...)).",
            IntegerMarkerWarning,
        )
    return _with_missing(labels, marked), cast(Mask, marked)


def _is_whole(labels: Rows) -> bool:
    """Tell whether floats are integers but for the missing ones."""
    if labels.dtype.kind != "f":
        return False
    known = labels[~np.isnan(labels)]
    return bool((np.abs(known) <= _LARGEST_WHOLE).all() and (known % 1 == 0).all())


def _warn_of_class_minus_one(labels: Rows) -> None:
    """Warn where -1 beside two or more classes may be meant as a missing label."""
    if labels.dtype.kind not in "if" or labels.ndim > 1:
        return
    if (labels == _INTEGER_MARKER).any() and len(np.unique(labels)) > 2:
        warn(
            "y holds -1 beside two or more other classes, and sample_domain is None, "
            "so -1 is a class of its own. If it marks unlabeled samples, pass "
            "sample_domain, and y=sktransfer.datasets.mark_unlabeled(y).",
            IntegerMarkerWarning,
        )


def _warn_of_recoded_marker(labels: Rows, source: Mask) -> None:
    """Warn where a meta-estimator may have turned the marker -1 into a class.

    Bagging, voting and stacking number the classes 0, 1, ...; the marker, the
    smallest label, becomes 0. One-versus-rest makes it the class 1 against 0.
    """
    classes, own = np.unique(labels), np.unique(labels[source])
    lacking = np.setdiff1d(classes, own)
    numbered = np.array_equal(classes, np.arange(len(classes)))
    if not numbered or not len(own) or len(lacking) != 1:
        return
    if lacking[0] == (1 if len(classes) == 2 else 0):
        warn(
            f"The class {lacking[0]} occurs in target samples only. If this is the "
            "marker -1 of unlabeled samples, recoded by an outer meta-estimator such "
            "as BaggingClassifier, pass y=sktransfer.datasets.mark_unlabeled(y) and "
            "put the meta-estimator inside: Pooled(BaggingClassifier(...)).",
            IntegerMarkerWarning,
        )


def _check_ambiguous(labels: Rows, source: Mask) -> None:
    """Refuse labels of which nobody can tell whether they are classes or missing."""
    if labels.ndim > 1:
        return
    if labels.dtype.kind in "OUS":
        _check_text(labels, source)
    elif labels.dtype.kind == "i":
        others = np.unique(labels[labels != _INTEGER_MARKER])
        if others.tolist() == [1] and (labels[~source] == _INTEGER_MARKER).any():
            _ask("-1", "every other label is 1")
        _warn_of_recoded_marker(labels, source)
    elif not source.any():
        _warn_of_class_minus_one(labels)
    elif labels.dtype.kind == "f":
        minus = labels == _INTEGER_MARKER
        if minus.any() and not minus[source].any():
            _ask("-1.0", "no source sample has it")
    elif labels.dtype.kind == "u":
        wrapped = np.iinfo(labels.dtype).max
        hits = labels == wrapped
        if hits.any() and not hits[source].any():
            _ask(str(wrapped), f"-1 becomes {wrapped} in {labels.dtype}")


def _check_text(labels: Rows, source: Mask) -> None:
    if labels.dtype == object and any(
        isinstance(v, Real) and v == _INTEGER_MARKER for v in labels
    ):
        raise DomainError(
            "y has dtype object and holds the number -1: is it a class or a missing "
            "label? Convert y to integers and then by "
            "sktransfer.datasets.mark_unlabeled(y), or mark unlabeled target rows "
            "with None."
        )
    for text in {v for v in labels.tolist() if isinstance(v, str)}:
        hits = labels == text
        if text.strip().casefold() in _MISSING_AS_TEXT:
            _ask(repr(text), "a missing value turned into text looks like that")
        elif (
            text.strip() in _PERHAPS_MISSING
            and source.any()
            and not hits[source].any()
            and not _missing(labels).any()
        ):
            _ask(repr(text), "no source sample has it")


def _ask(label: str, reason: str) -> None:
    raise DomainError(
        f"y holds the label {label} and {reason}: is it a class or a missing label? "
        "For missing labels pass y=sktransfer.datasets.mark_unlabeled(y, unlabeled), "
        "which marks them by NaN or None; give a class another name, e.g. {-1, 1} as "
        "{0, 1} or as text."
    )


def _check_sources_labeled(labels: Rows, marked_source: Mask) -> None:
    rows = np.flatnonzero(marked_source)
    if not len(rows):
        return
    advice = (
        " If -1 is a class, re-encode the classes, e.g. {-1, 1} as {0, 1} or as text; "
        "if y holds values, pass them as floats."
        if labels.dtype.kind == "i"
        else ""
    )
    raise DomainError(
        f"y marks {len(rows)} source rows as unlabeled (first at row {rows[0]}), but "
        f"source rows must be labeled.{advice}"
    )


def _check_labels_finite(labels: Rows, labeled: Mask) -> None:
    if labels.dtype.kind == "f":
        assert_all_finite(labels[labeled], input_name="y")
