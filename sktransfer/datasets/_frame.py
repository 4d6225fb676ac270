"""From one table with a domain column to rows, labels and domain ids."""

import numpy as np
from sklearn.utils import Bunch

from sktransfer._domains import (
    TARGET_ID,
    check_target_labels,
    is_missing,
    join_labels,
    source_id,
)
from sktransfer.datasets._stack import is_frame
from sktransfer.exceptions import DomainError

__all__ = ["from_frame"]


#: further columns that a fit may take -> what they hold
_METADATA = ("groups", "sample_weight", "exposure", "sample_pair")


def from_frame(
    df,
    *,
    label,
    domain,
    target,
    features=None,
    groups=None,
    sample_weight=None,
    exposure=None,
    sample_pair=None,
):
    """Read features, labels and domain ids from one dataframe.

    Parameters
    ----------
    df : pandas or polars DataFrame of shape (n_samples, n_columns)
        One row per observation, domains in any order.
    label : str or list of str
        Column of the labels; several for several outputs. A missing value (NaN, None,
        NA) in a target row means that its label is unknown; in a source row it is an
        error.
    domain : str
        Column that names the domain of each row.
    target : object
        Value of the domain column that is the target; all others are sources.
    features : list of str or None, default=None
        Columns to learn from. None: all but the others that are named here.
    groups : str or None, default=None
        Column that names the unit of each row, such as the patient.
    sample_weight : str or None, default=None
        Column of the weights of the rows.
    exposure : str or None, default=None
        Column of the exposures of counts, such as the time at risk.
    sample_pair : str or None, default=None
        Column that names the object of rows that were measured in two domains.

    Returns
    -------
    data : Bunch
        With the entries

        X : dataframe of shape (n_samples, n_features)
            The feature columns, rows in their order, of the same library as ``df``.
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Labels. Those of unlabeled rows are missing: NaN among numbers, so that
            integer classes become floats, and None among text.
        sample_domain : ndarray of shape (n_samples,)
            Id of the domain of each row: sources 1, 2, ... in the order of their
            sorted names, the target -1.
        domain_names : dict of int to object
            The value of the domain column behind each id.
        metadata : dict of str to ndarray of shape (n_samples,)
            Metadata of the rows for ``fit``: ``sample_domain`` and those of
            ``groups``, ``sample_weight``, ``exposure`` and ``sample_pair`` that were
            named here, as in ``fit(data.X, data.y, **data.metadata)``.

    Raises
    ------
    DomainError
        If a column or the target is not there, a domain or the label of a source row
        is missing.

    See Also
    --------
    sktransfer.datasets.stack_domains : The same from separate arrays.
    sktransfer.safe.make_transfer_pipeline : A guarded model of such a table.

    Notes
    -----
    Integer classes with missing labels are floats here, as pandas reads them. A
    classifier of this library has integers as ``classes_`` nevertheless.

    Examples
    --------
    >>> import pandas as pd
    >>> from sktransfer.datasets import from_frame
    >>> df = pd.DataFrame(
    ...     {"age": [40, 50, 60], "ill": ["n", "y", None], "site": ["US", "DE", "DE"]}
    ... )
    >>> data = from_frame(df, label="ill", domain="site", target="DE")
    >>> data.y, data.sample_domain
    (array(['n', 'y', None], dtype=object), array([ 1, -1, -1]))
    >>> data.domain_names
    {1: 'US', -1: 'DE'}
    """
    if not is_frame(df):
        raise TypeError(
            f"df must be a pandas or polars DataFrame, got {type(df).__name__}. For "
            "arrays use sktransfer.datasets.stack_domains."
        )
    further = dict(
        zip(_METADATA, (groups, sample_weight, exposure, sample_pair), strict=True)
    )
    several = isinstance(label, list | tuple)
    if isinstance(label, tuple) and label in set(df.columns):
        several = False  # the name of one column of several levels
    labels = list(label) if several else [label]
    further = {name: column for name, column in further.items() if column is not None}
    if features is None:
        named = {*labels, domain, *further.values()}
        features = [column for column in df.columns if column not in named]
    _check_columns(df, labels=labels, domain=domain, features=features, **further)
    ids, domain_names = _domain_ids(df[domain].to_list(), domain, target)
    metadata = {name: _values(df[column]) for name, column in further.items()}
    return Bunch(
        X=df[list(features)],
        y=_all_labels(df, labels, ids),
        sample_domain=ids,
        domain_names=domain_names,
        metadata={"sample_domain": ids, **metadata},
    )


def _values(column):
    """Return a column as an array; missing values of text and objects are None."""
    values = np.asarray(column.to_numpy())
    if values.dtype != object:
        return values
    return np.array([None if is_missing(v) else v for v in values], dtype=object)


def _check_columns(df, *, labels, domain, features, **further):
    if isinstance(features, str):
        raise TypeError(f"features must be a list of columns: use [{features!r}].")
    known = ", ".join(map(str, df.columns))
    wanted = {"label": labels, "domain": [domain], "features": features}
    wanted |= {name: [column] for name, column in further.items()}
    names = list(df.columns)
    for argument, columns in wanted.items():
        for column in columns:
            if column not in df.columns:
                raise DomainError(
                    f"{argument}={column!r} is no column of df. Its columns: {known}."
                )
            if names.count(column) > 1:
                raise DomainError(
                    f"df has {names.count(column)} columns of the name {column!r}, so "
                    f"that {argument} is not clear: rename or drop them."
                )
            if list(columns).count(column) > 1:
                raise DomainError(f"{argument} names {column!r} more than once.")
    if not labels:
        raise DomainError("label is empty: name the column of the labels.")
    for label in labels:
        if label == domain:
            raise DomainError(f"label and domain are both {label!r}.")
        if label in features:
            raise DomainError(f"features holds the label {label!r}.")
    if not len(features):
        raise DomainError("features is empty: no column is left to learn from.")


def _domain_ids(values, column, target):
    missing = [row for row, value in enumerate(values) if is_missing(value)]
    if missing:
        raise DomainError(
            f"Column {column!r} names no domain in {len(missing)} rows (first at row "
            f"{missing[0]}): fill them in or drop them."
        )
    # by type first, so that a column that mixes text and numbers has an order, too
    names = sorted(set(values), key=lambda name: (type(name).__name__, name))
    if target not in names:
        raise DomainError(
            f"target={target!r} is no value of column {column!r}. Its values: "
            f"{_preview(names)}."
        )
    sources = [name for name in names if name != target]
    id_of = {name: source_id(position) for position, name in enumerate(sources)}
    domain_names = {number: name for name, number in id_of.items()}
    id_of[target] = TARGET_ID
    domain_names[TARGET_ID] = next(name for name in names if name == target)
    return np.array([id_of[value] for value in values], dtype=np.int64), domain_names


def _all_labels(df, labels, ids):
    """Return the labels, with a column for each of several outputs."""
    outputs = [_labels(df[label], label, ids) for label in labels]
    if len(outputs) == 1:
        return outputs[0]
    if len({values.dtype.kind in "OUS" for values in outputs}) > 1:
        raise DomainError(f"label names columns of text and of numbers: {labels}.")
    return np.column_stack(outputs)


def _labels(column, label, ids):
    """Return the labels with the marker of their kind where one is missing."""
    values = column.to_list()
    missing = np.array([is_missing(value) for value in values], dtype=bool)
    unlabeled_source = np.flatnonzero(missing & (ids != TARGET_ID))
    if len(unlabeled_source):
        raise DomainError(
            f"Column {label!r} is missing in {len(unlabeled_source)} source rows "
            f"(first at row {unlabeled_source[0]}), but source rows must be labeled: "
            "drop them."
        )
    if missing.all():
        raise DomainError(f"Column {label!r} holds no label at all.")
    present = [value for value, out in zip(values, missing, strict=True) if not out]
    of_source = ids[~missing] != TARGET_ID
    known = np.asarray(present)
    check_target_labels(known[~of_source], [known[of_source]])
    joined = join_labels([present], int(missing.sum()))
    y = np.empty_like(joined)
    y[~missing], y[missing] = joined[: len(present)], joined[len(present) :]
    return y


def _preview(names, limit=10):
    shown = ", ".join(repr(name) for name in names[:limit])
    return shown + (", ..." if len(names) > limit else "")
