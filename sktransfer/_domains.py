"""The domain convention: the only module that knows signs and label markers.

A row of ``X`` belongs to a domain by its entry of ``sample_domain``: a positive id
is a source, a negative id a target. An unlabeled target row carries a marker in
``y``: -1 among integer classes, NaN among floats, None or NaN among objects. All
other code asks a :class:`DomainData` or one of the functions here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.utils import _safe_indexing, check_array, column_or_1d
from sklearn.utils.validation import _num_samples, assert_all_finite

from sktransfer.exceptions import CapabilityError, DomainError, UnlabeledTargetError

TARGET_ID = -1
_INTEGER_MARKER = -1

Mask = NDArray[np.bool_]
Rows = NDArray[Any]


@dataclass(frozen=True)
class DomainData:
    """Validated rows with their domains; every array is in input order.

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
    """

    X: Any
    y: Rows | None
    sample_domain: NDArray[np.int64]
    labeled: Mask

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
        """Return the labels of labeled ``rows``; objects get their natural dtype."""
        if self.y is None:
            raise UnlabeledTargetError("y is None, but labels are needed here.")
        labels = self.y[rows]
        if labels.dtype != object:
            return labels
        natural = np.asarray(labels.tolist())
        if natural.dtype.kind == "U" and not all(isinstance(v, str) for v in labels):
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
        return DomainData(
            X=take_rows(self.X, rows),
            y=None if self.y is None else self.y[rows],
            sample_domain=self.sample_domain[rows],
            labeled=self.labeled[rows],
        )

    def with_X(self, X: Any) -> "DomainData":
        """Return the same rows described by other features."""
        return DomainData(X, self.y, self.sample_domain, self.labeled)

    def without_labels(self, rows: Mask) -> "DomainData":
        """Return the same rows with the labels of some of them not to be used."""
        return DomainData(self.X, self.y, self.sample_domain, self.labeled & ~rows)

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
    return _safe_indexing(X, np.flatnonzero(rows) if rows.dtype == bool else rows)


def canonical_order(X: Any, *keys: Rows) -> NDArray[np.intp]:
    """Return an order of the rows that does not depend on their order in ``X``.

    What is drawn from rows in this order, such as folds, batches or permutations, is
    the same in whatever order the rows come. NaN counts as 0; text and other objects
    count by the sorted order of their values in the column.

    Parameters
    ----------
    X : array-like of shape (n_samples, ...), sparse matrix or dataframe
        Rows.
    *keys : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Labels, masks or the like, which come before the rows in the order.

    Returns
    -------
    order : ndarray of shape (n_samples,)
        Positions of the rows.
    """
    rng = np.random.RandomState(0)
    if sparse.issparse(X):
        projection = X.tocsr() @ rng.normal(size=X.shape[1])
    else:
        rows = _as_numbers(X)
        weights = rng.normal(size=rows.shape[1])
        # a sum per row, not a matrix product: its rounding may depend on the position
        projection = np.einsum("ij,j->i", rows, weights)
        if np.isnan(projection).any():
            known = np.where(np.isnan(rows), 0.0, rows)
            projection = np.einsum("ij,j->i", known, weights)
    first = [key if key.ndim == 1 else key[:, 0] for key in map(np.asarray, keys)]
    codes = [np.unique(key, return_inverse=True)[1] for key in first]
    return np.lexsort((projection, *codes[::-1]))


def _as_numbers(X: Any) -> NDArray[np.float64]:
    """Return rows as floats; objects become the ranks of their text in a column."""
    try:
        rows = np.asarray(X, dtype=np.float64)
        return rows.reshape(len(rows), int(np.prod(rows.shape[1:])))
    except (TypeError, ValueError):
        objects = np.asarray(X, dtype=object)
        objects = objects.reshape(len(objects), -1)
    numbers = np.empty(objects.shape)
    for j, column in enumerate(objects.T):
        try:
            numbers[:, j] = column.astype(np.float64)
        except (TypeError, ValueError):
            text = np.array([str(value) for value in column])
            numbers[:, j] = np.unique(text, return_inverse=True)[1]
    return numbers


def check_sample_domain(sample_domain: Any, n_samples: int) -> NDArray[np.int64]:
    """Check domain ids and return them as an integer array of shape (n_samples,).

    Parameters
    ----------
    sample_domain : array-like of shape (n_samples,), int or None
        Domain ids; an integer holds for every row; None says that every row is a
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
    numeric_labels: bool = False,
    multi_output: bool = False,
) -> DomainData:
    """Check ``y`` and ``sample_domain`` against ``X`` and return them together.

    Parameters
    ----------
    X : {ndarray, sparse matrix, dataframe} of shape (n_samples, n_features)
        Rows, already validated as far as the caller wants it.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), or None
        Labels; None leaves every row unlabeled.
    sample_domain : array-like of shape (n_samples,), int or None
        Domain ids. None: every row is a labeled target row and ``y`` is taken at
        face value.
    numeric_labels : bool, default=False
        True for regression, where -1 is a value and only NaN marks a row.
    multi_output : bool, default=False
        Accept ``y`` with several columns.

    Returns
    -------
    data : DomainData
        The rows with their domains.

    Raises
    ------
    DomainError
        If an id is 0 or no integer, a length differs, no row is a target row, a
        source row carries a marker, or a marker is ambiguous.
    """
    n_samples = _num_samples(X)
    ids = check_sample_domain(sample_domain, n_samples)
    if n_samples and is_source(ids).all():
        raise DomainError(
            "sample_domain has no target row (no negative id). Mark the rows of the "
            "target with -1; their labels may be missing."
        )
    if y is None:
        return DomainData(X, None, ids, np.zeros(n_samples, dtype=bool))
    labels = _as_label_array(y, multi_output=multi_output)
    if len(labels) != n_samples:
        raise DomainError(f"y has {len(labels)} entries, but X has {n_samples} rows.")
    if sample_domain is None:
        labels = _check_face_value(labels, numeric=numeric_labels)
        return DomainData(X, labels, ids, np.ones(n_samples, dtype=bool))
    if numeric_labels and labels.dtype == object:
        labels = _to_floats(labels)
    unlabeled = _marked(labels, is_source(ids), numeric=numeric_labels)
    _check_sources_labeled(labels, unlabeled & is_source(ids))
    _check_labels_finite(labels, ~unlabeled)
    if numeric_labels and labels.dtype.kind in "iub":
        labels = labels.astype(np.float64)
    return DomainData(X, labels, ids, ~unlabeled)


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
    if classes is not None and labels.dtype.kind == "i" and labels.ndim == 1:
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
    data = check_domains(np.empty((n_samples, 0)), y, sample_domain)
    return np.flatnonzero(data.is_labeled_target)


def join_labels(parts: list[Any], n_unlabeled: int) -> Rows:
    """Concatenate label vectors and append markers for unlabeled target rows.

    Parameters
    ----------
    parts : list of array-like of shape (n_i,)
        Labels of the sources and of the labeled target rows.
    n_unlabeled : int
        Number of markers to append: -1 for integers, NaN for floats, else None.

    Returns
    -------
    y : ndarray of shape (sum(n_i) + n_unlabeled,)
        Labels and markers.
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
    if joined.dtype.kind in "iub":
        joined = joined.astype(np.int64)
        if (joined == _INTEGER_MARKER).any():
            raise DomainError(
                "y holds the class -1, which marks unlabeled rows among integer "
                "classes. Re-encode the classes, e.g. {-1, 1} as {0, 1} or as text."
            )
        marker: Any = _INTEGER_MARKER
    else:
        marker = np.nan if joined.dtype.kind == "f" else None
    dtype = object if marker is None else joined.dtype
    markers = np.full((n_unlabeled, *joined.shape[1:]), marker, dtype=dtype)
    return np.concatenate([joined.astype(dtype), markers])


def _as_label_array(y: Any, *, multi_output: bool) -> Rows:
    labels = y.to_numpy() if hasattr(y, "to_numpy") else np.asarray(y)
    if labels.dtype.kind in "US" and isinstance(y, list | tuple):
        mixed = any(not isinstance(label, str) for label in y)
        labels = np.array(y, dtype=object) if mixed else labels
    if multi_output and labels.ndim == 2 and labels.shape[1] > 1:
        return cast(Rows, labels)
    return cast(Rows, column_or_1d(labels, warn=True))


def _to_floats(labels: Rows) -> Rows:
    missing = _missing(labels)
    numbers = np.full(labels.shape, np.nan)
    numbers[~missing] = labels[~missing].astype(np.float64)
    return numbers


def _check_face_value(labels: Rows, *, numeric: bool) -> Rows:
    """Check labels without a domain as scikit-learn does: no NaN, no infinity."""
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


def _is_missing(label: Any) -> bool:
    # pandas.NA cannot be compared, so its type is asked first
    return label is None or type(label).__name__ == "NAType" or label != label


def _missing(labels: Rows) -> Mask:
    """Mask of the rows whose label is NaN or None."""
    if labels.dtype.kind == "f":
        missing = np.isnan(labels)
    elif labels.dtype == object:
        missing = np.array([_is_missing(v) for v in labels.flat], dtype=bool)
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


def _marked(labels: Rows, source: Mask, *, numeric: bool) -> Mask:
    """Mask of the rows whose label is the marker of their dtype."""
    if labels.dtype.kind == "i":
        marked = labels == _INTEGER_MARKER
        if numeric and marked.any():
            raise DomainError(
                "y holds integers and -1 in a regression: is -1 a value or a missing "
                "label? Pass y as floats, with NaN for unlabeled target rows."
            )
        return cast(Mask, marked if marked.ndim == 1 else marked.all(axis=1))
    if labels.dtype == object and any(
        isinstance(v, int | np.integer) and v == _INTEGER_MARKER for v in labels.flat
    ):
        raise DomainError(
            "y has dtype object and holds the integer -1: convert y to integers, or "
            "mark unlabeled target rows with None."
        )
    if labels.dtype.kind == "U" and (labels[~source] == "nan").any():
        raise DomainError(
            "y holds the text 'nan': NumPy made a missing label a string. Build y "
            "with dtype=object, with None for unlabeled target rows."
        )
    return _missing(labels)


def _check_sources_labeled(labels: Rows, marked_source: Mask) -> None:
    rows = np.flatnonzero(marked_source)
    if not len(rows):
        return
    advice = (
        " If -1 is a class, re-encode the classes, e.g. {-1, 1} as {0, 1} or as text."
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
