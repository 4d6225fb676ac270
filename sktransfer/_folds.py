"""The one rule for what is held out: labeled target rows, by units, never in training.

Whatever `cv` is, :func:`target_folds` turns it into folds that obey the same rule, and
everything that holds rows out asks it.
"""

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import PredefinedSplit, check_cv
from sklearn.utils import check_random_state
from sklearn.utils.metadata_routing import get_routing_for_object

from sktransfer._domains import (
    DomainData,
    Rows,
    canonical_order,
    check_names,
    is_missing,
)
from sktransfer._learners import check_weights

Indices = NDArray[np.intp]
Folds = list[tuple[Indices, Indices]]

_DEFAULT_FOLDS = 5
_ListedFolds = type(check_cv([([0], [1])]))


def target_folds(
    data: DomainData,
    cv: Any,
    *,
    groups: Any = None,
    sample_weight: Any = None,
    stratify: bool,
    random_state: Any,
) -> Folds:
    """Turn ``cv`` into folds that test labeled target rows only.

    The rule, for whatever ``cv`` is:

    - A test part holds labeled target rows of positive weight. Other rows that an
      explicit fold tests are left out of it; if none remains, that is an error.
    - No row and no unit is on both sides. Rows that are never tested (of a source, or
      without a label) leave the training part of a fold that tests their unit; a
      labeled target row of a tested unit in a training part is an error.
    - An int, or a splitter without `sample_domain`, is about the labeled target rows;
      all other rows are in every training part. Labeled target rows that a splitter
      puts on neither side are on neither side. A splitter that takes
      ``sample_domain``, and explicit pairs, are about all rows.
    - Rows of weight zero do not exist.

    Parameters
    ----------
    data : DomainData
        Checked rows.
    cv : int, splitter, iterable of (train, test) or None
        Number of folds; an object with ``split``; or pairs of indices or masks over
        all rows. None: 5.
    groups : array-like of shape (n_samples,), default=None
        Unit of each row; equal values are one unit in whatever domain. A row of a
        source, or without a label, may have none (None or NaN).
    sample_weight : array-like of shape (n_samples,), default=None
        Nonnegative weights of the rows.
    stratify : bool
        Spread the rows of each class over the folds of an int.
    random_state : int, RandomState instance or None
        Deals the rows to the folds of an int.

    Returns
    -------
    folds : list of (train, test)
        Indices into the rows of ``data``, ascending; empty if ``cv`` is an int and
        there is no unit to hold out.

    Raises
    ------
    ValueError
        If ``groups`` or ``sample_weight`` do not fit the rows, or ``cv`` breaks the
        rule.
    """
    units = check_groups(groups, data)
    exists = np.ones(len(data.sample_domain), dtype=bool)
    if sample_weight is not None:
        weights: Rows = check_weights(sample_weight, len(exists))
        exists = weights > 0
    if cv is None:
        cv = _DEFAULT_FOLDS
    if isinstance(cv, _ListedFolds):
        cv = cv.cv
    if isinstance(cv, Integral):
        folds = _folds_of_int(data, int(cv), units, exists, stratify, random_state)
    elif not hasattr(cv, "split"):
        folds = _listed(cv, data)
    elif takes(cv, "sample_domain"):
        folds = _folds_of_domains(data, cv, units, exists)
    else:
        folds = _folds_of_labeled(data, cv, units, exists)
    checked = [
        _checked(k, train, test, data, cv, units, exists)
        for k, (train, test) in enumerate(folds)
    ]
    if not checked and not isinstance(cv, Integral):
        raise ValueError(
            f"cv={_name(cv)} gives no fold. A generator can be used once only: pass "
            "list(...) of it."
        )
    return checked


def take_folds(folds: Folds, rows: Rows) -> Folds:
    """Return the same folds of a part of the rows that has all tested rows.

    Parameters
    ----------
    folds : list of (train, test)
        Indices into all rows.
    rows : ndarray of bool of shape (n_samples,)
        Mask of the part.

    Returns
    -------
    folds : list of (train, test)
        Indices into the part.
    """
    position = np.cumsum(rows) - 1
    return [(position[train[rows[train]]], position[test]) for train, test in folds]


def take_units(groups: Any, rows: Rows) -> Any:
    """Return the groups of some rows; None stays None."""
    if groups is None:
        return None
    return (groups.to_numpy() if hasattr(groups, "to_numpy") else np.asarray(groups))[
        rows
    ]


def takes(splitter: Any, name: str) -> bool:
    """Tell whether ``split`` of a splitter asks for a piece of metadata."""
    routing = get_routing_for_object(splitter)
    return bool(routing.consumes("split", [name]))


def check_groups(groups: Any, data: DomainData) -> Indices | None:
    """Check groups and return the number of the unit of each row.

    Parameters
    ----------
    groups : array-like of shape (n_samples,) or None
        Names of units: text or numbers.
    data : DomainData
        Checked rows.

    Returns
    -------
    units : ndarray of shape (n_samples,) or None
        Numbers from 0 on, in an order that does not depend on the order of the rows;
        a row without a group is a unit of its own.
    """
    if groups is None:
        return None
    names = groups.to_numpy() if hasattr(groups, "to_numpy") else np.asarray(groups)
    n_samples = len(data.sample_domain)
    if names.ndim == 2 and names.shape[1] == 1:
        names = names.ravel()
    if names.ndim != 1 or len(names) != n_samples:
        raise ValueError(
            f"groups has shape {names.shape}, but X has {n_samples} rows: give one "
            f"group per row, shape ({n_samples},)."
        )
    check_names(names.tolist(), "groups")
    missing = np.array([is_missing(name) for name in names.tolist()], dtype=bool)
    bad = np.flatnonzero(missing & data.is_labeled_target)
    if len(bad):
        raise ValueError(
            f"groups has no value for {len(bad)} labeled target rows (first at row "
            f"{bad[0]}). Say which unit they belong to; a value of its own makes a row "
            "its own unit."
        )
    units = np.empty(n_samples, dtype=np.intp)
    known = names[~missing]
    try:
        distinct, codes = np.unique(known, return_inverse=True)
    except TypeError:  # text beside numbers
        distinct, codes = np.unique([repr(v) for v in known], return_inverse=True)
    units[~missing] = codes
    units[missing] = len(distinct) + np.arange(missing.sum())
    return units


def _name(cv: Any) -> str:
    return repr(cv) if hasattr(cv, "split") or isinstance(cv, int) else "[...]"


def _folds_of_int(
    data: DomainData,
    n_folds: int,
    units: Indices | None,
    exists: Rows,
    stratify: bool,
    random_state: Any,
) -> Folds:
    rows = np.flatnonzero(data.is_labeled_target & exists)
    rng = check_random_state(random_state)
    if not len(rows):
        return []
    part = data.take(rows)
    if units is None:
        parts = deal_rows(part.X, part.y_labeled, n_folds, stratify, rng)
    else:
        parts = deal_units(units[rows], part.y_labeled, n_folds, stratify, rng)
    return [(_all_but(data, rows[part]), rows[part]) for part in parts]


def _folds_of_labeled(
    data: DomainData, cv: Any, units: Indices | None, exists: Rows
) -> Folds:
    """Apply a splitter without `sample_domain` to the labeled target rows."""
    rows = np.flatnonzero(data.is_labeled_target & exists)
    if isinstance(cv, PredefinedSplit) and len(cv.test_fold) == len(exists):
        return _listed(cv.split(), data)
    part = data.take(rows)
    extra: dict[str, Any] = {}
    if units is not None and (
        takes(cv, "groups") or not hasattr(cv, "get_metadata_routing")
    ):
        extra["groups"] = units[rows]
    others = np.flatnonzero(~data.is_labeled_target)
    folds = []
    for train, test in cv.split(part.X, part.y_labeled, **extra):
        train, test = (_as_indices(side, len(rows), cv) for side in (train, test))
        folds.append((np.concatenate([others, rows[train]]), rows[test]))
    return folds


def _folds_of_domains(
    data: DomainData, cv: Any, units: Indices | None, exists: Rows
) -> Folds:
    """Apply a splitter that takes ``sample_domain`` to the rows that exist."""
    rows = np.flatnonzero(exists)
    part = data if exists.all() else data.take(rows)
    extra: dict[str, Any] = {"sample_domain": part.sample_domain}
    if units is not None and takes(cv, "groups"):
        extra["groups"] = units[rows]
    folds = []
    for train, test in cv.split(part.X, part.y, **extra):
        train, test = (_as_indices(side, len(rows), cv) for side in (train, test))
        folds.append((rows[train], rows[test]))
    return folds


def _listed(cv: Any, data: DomainData) -> Folds:
    n_samples = len(data.sample_domain)
    folds = []
    for pair in cv:
        if len(pair) != 2:
            raise ValueError(
                "cv must yield pairs (train, test) of indices or masks over all rows, "
                f"got an entry of length {len(pair)}."
            )
        train, test = (_as_indices(part, n_samples, cv) for part in pair)
        folds.append((train, test))
    return folds


def _as_indices(part: Any, n_samples: int, cv: Any) -> Indices:
    """Return indices, given as such or as a mask."""
    rows = np.asarray(part)
    if rows.dtype == bool and rows.shape == (n_samples,):
        return np.flatnonzero(rows)
    if rows.size == 0:
        return np.empty(0, dtype=np.intp)
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise ValueError(
            f"cv={_name(cv)} must give indices of shape (n,) or masks of shape "
            f"({n_samples},), got dtype {rows.dtype} and shape {rows.shape}."
        )
    if rows.min() < 0 or rows.max() >= n_samples:
        raise ValueError(
            f"cv={_name(cv)} gives the indices {rows.min()} to {rows.max()}, but "
            f"there are {n_samples} rows to split."
        )
    return rows.astype(np.intp)


def _checked(
    k: int,
    train: Indices,
    test: Indices,
    data: DomainData,
    cv: Any,
    units: Indices | None,
    exists: Rows,
) -> tuple[Indices, Indices]:
    """Restrict one fold to what may be tested, and refuse a leak."""

    def where() -> str:
        return f"fold {k} of cv={_name(cv)}"

    if not exists.all():
        train = train[exists[train]]
    if not (train[1:] > train[:-1]).all():
        train = np.sort(train)
    test = np.unique(test)
    test = test[(data.is_labeled_target & exists)[test]]
    if not len(test):
        raise ValueError(
            f"{where()} tests no labeled target row. A test part may hold source and "
            "unlabeled rows, which are left out, but not only those."
        )
    both = data.mask_of(train)
    if both[test].any():
        both &= data.mask_of(test)
        raise ValueError(
            f"{where()} trains on {both.sum()} rows that it tests (first: row "
            f"{both.argmax()})."
        )
    if units is not None:
        leaks = np.isin(units[train], units[test])
        labeled = train[leaks & data.is_labeled_target[train]]
        if len(labeled):
            raise ValueError(
                f"{where()} trains on {len(labeled)} labeled target rows (first: row "
                f"{labeled[0]}) of units in groups that it tests. Use an int, or a "
                "splitter that keeps units together, such as GroupKFold or "
                "GroupTargetKFold."
            )
        train = train[~leaks]
    if not data.is_labeled_target[train].any():
        raise ValueError(
            f"{where()} trains on no labeled target row, so nothing can be fitted to "
            "the target alone."
        )
    return train, test


def _all_but(data: DomainData, test: Indices) -> Indices:
    return np.flatnonzero(~data.mask_of(test))


def deal_rows(
    X: Any, y: Rows, n_folds: int, stratify: bool, rng: np.random.RandomState
) -> list[Indices]:
    """Deal rows to folds like cards, sorted by label, whatever the order of the rows.

    Each fold has rows of all classes, or small and large values. So n_folds may
    exceed the size of a class and yet half of its rows at least stay for training.
    A class with a single row is never held out.
    """
    order = canonical_order(X, y, rng=rng)
    labels, counts = np.unique(_first(y), return_inverse=True, return_counts=True)[1:]
    if stratify:
        order = order[counts[labels[order]] > 1]
        n_folds = min(n_folds, len(order))
        fold = np.arange(len(order)) % max(n_folds, 1)
    else:
        n_folds = min(n_folds, len(order)) if len(order) > 1 else 0
        n_blocks = -(-len(order) // max(n_folds, 1))
        cards = np.tile(np.arange(n_folds), (n_blocks, 1))
        for card in cards:
            rng.shuffle(card)
        fold = cards.ravel()[: len(order)]
    return [order[fold == k] for k in range(n_folds)]


def deal_units(
    units: Indices, y: Rows, n_folds: int, stratify: bool, rng: np.random.RandomState
) -> list[Indices]:
    """Deal whole units to folds of about equal size, whatever the order of the rows.

    Classes are spread over the folds, and a unit that alone has a class is never held
    out. Without classes each fold has units of small and of large values.
    """
    names, unit, size = np.unique(units, return_inverse=True, return_counts=True)
    shuffled = rng.permutation(len(names))
    if stratify:
        classes, codes = np.unique(_first(y), return_inverse=True)
        table = np.zeros((len(names), len(classes)))
        np.add.at(table, (unit, codes), 1.0)
        alone = (table > 0) & ((table > 0).sum(axis=0) == 1)
        free = shuffled[~alone[shuffled].any(axis=1)]
        free = free[np.argsort(-size[free], kind="stable")]
    else:
        mean = np.bincount(unit, weights=_first(y).astype(np.float64)) / size
        table = size[:, None].astype(np.float64)
        free = shuffled if len(names) > 1 else shuffled[:0]
        free = free[np.argsort(mean[free], kind="stable")]
    n_folds = min(n_folds, len(free))
    share = table / table.sum(axis=0)
    load, rows = np.zeros((n_folds, table.shape[1])), np.zeros(n_folds)
    fold = np.full(len(names), -1)
    for start in range(0, len(free), 1 if stratify else max(n_folds, 1)):
        block = free[start : start + (1 if stratify else n_folds)]
        open_folds = list(range(n_folds))
        for k in block[np.argsort(-size[block], kind="stable")]:
            cost = (load[open_folds] @ share[k]).round(12)
            best = open_folds[int(np.lexsort((rows[open_folds], cost))[0])]
            fold[k] = best
            load[best] += share[k]
            rows[best] += size[k]
            open_folds.remove(best)
    return [np.flatnonzero(fold[unit] == k) for k in range(n_folds)]


def _first(y: Rows) -> Rows:
    return y if y.ndim == 1 else y[:, 0]
