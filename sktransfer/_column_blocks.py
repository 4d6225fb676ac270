"""Two feature spaces in one table: blocks of columns, NaN where a row lacks one."""

from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np

from sktransfer._compat import _get_column_indices
from sktransfer._domains import match_pairs
from sktransfer.exceptions import DomainError

__all__ = [
    "ColumnBlocksMixin",
    "PairedBlocksMixin",
    "check_present",
    "has_block",
    "resolve_columns",
]


class ColumnBlocksMixin:
    """Keep the parameters ``source_columns`` and ``target_columns``.

    Each names a block of columns. A row that lacks a block holds NaN in all of its
    columns, and a row with both blocks is a pair. None for both is one feature space,
    in which each row is its own pair.
    """

    source_columns: Any
    target_columns: Any
    n_features_in_: int

    _column_blocks_constraints: ClassVar[dict[str, Any]] = {
        "source_columns": [Integral, str, slice, "array-like", None],
        "target_columns": [Integral, str, slice, "array-like", None],
    }

    @property
    def _one_space(self) -> Any:
        return self.source_columns is None and self.target_columns is None

    def _set_columns(self) -> None:
        """Set ``source_columns_`` and ``target_columns_``, the resolved positions."""
        self.source_columns_ = self.target_columns_ = np.arange(self.n_features_in_)
        if self._one_space:
            return
        names = getattr(self, "feature_names_in_", None)
        for name in ("source_columns", "target_columns"):
            key = getattr(self, name)
            columns = resolve_columns(key, name, self.n_features_in_, names)
            setattr(self, f"{name}_", columns)
        shared = np.intersect1d(self.source_columns_, self.target_columns_)
        if len(shared):
            raise ValueError(
                f"source_columns and target_columns share the columns {shared}. Give "
                "each block its own copy of a column, or leave both parameters None "
                "for one feature space."
            )

    def _find_blocks(self, data: Any) -> Any:
        """Return the masks of the rows that have each block.

        Rows of a domain that lack its block are refused.
        """
        has_source = has_block(data.X, self.source_columns_, "source")
        has_target = has_block(data.X, self.target_columns_, "target")
        check_present(data.is_source, has_source, "source")
        check_present(data.is_target, has_target, "target")
        return has_source, has_target

    def _named_pairs(self, sample_pair: Any, data: Any, both: Any) -> Any:
        """Return the rows of the source and of the target that ``sample_pair`` pairs.

        Parameters
        ----------
        sample_pair : array-like of shape (n_samples,) or None
            Names of the objects.
        data : DomainData
            Checked rows.
        both : ndarray of bool of shape (n_samples,)
            Mask of the rows with both blocks, each a pair by itself.

        Returns
        -------
        pairs : ndarray of shape (2, n_pairs) or None
            None without names or source rows.
        """
        if sample_pair is None or not data.n_source:
            return None
        named = np.stack(match_pairs(sample_pair, data))
        twice = named[:, both[named].any(axis=0)]
        if twice.size and not self._one_space:
            raise DomainError(
                f"sample_pair pairs the rows {twice[0, 0]} and {twice[1, 0]}, of "
                "which one has both blocks and is a pair by itself: leave its "
                "other block or its name out."
            )
        return named

    def _all_pairs(self, sample_pair: Any, data: Any, both: Any) -> Any:
        """Return the two rows of each pair, of one row with both blocks twice that row.

        In one feature space the named pairs are the only ones, if there are names.
        """
        own = np.tile(np.flatnonzero(both), (2, 1))
        named = self._named_pairs(sample_pair, data, both)
        if named is None:
            return own
        return named if self._one_space else np.hstack([own, named])

    def _block_of(self, X: Any, rows: Any, domain: Any) -> Any:
        """Return the block of a domain for some rows, all of which must have it."""
        columns = getattr(self, f"{domain}_columns_")
        check_present(rows, has_block(X, columns, domain), domain)
        return X[np.ix_(rows, columns)]


class PairedBlocksMixin(ColumnBlocksMixin):
    """``fit`` takes ``sample_pair``; ``_fit_domains`` finds it as ``_pair_names``."""

    __metadata_request__fit = {"sample_domain": True, "sample_pair": True}

    def fit(
        self, X: Any, y: Any, sample_domain: Any = None, sample_pair: Any = None
    ) -> Self:
        """Fit to source and target rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of source and target, in any order.
        y : array-like of shape (n_samples,)
            Labels; those of unlabeled rows are missing.
        sample_domain : array-like of shape (n_samples,), default=None
            Positive ids for sources, negative for the target. None: every row is a
            labeled target row.
        sample_pair : array-like of shape (n_samples,), default=None
            Name of the object that each row describes: a source row and a target row
            of the same name are a pair, beside rows with both blocks. In one feature
            space they are the only pairs. None or NaN: a row without a partner.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        DomainError
            If the rows break the domain contract, a domain has two rows of the same
            name, no name occurs in both, or a row with both blocks has a partner.
        """
        self._pair_names = sample_pair
        super().fit(X, y, sample_domain=sample_domain)  # type: ignore[misc]
        del self._pair_names
        return self


def resolve_columns(key: Any, name: str, n_features: int, feature_names: Any) -> Any:
    """Return the positions of a block of columns.

    Parameters
    ----------
    key : int, str, slice or array-like
        Positions, names or a mask.
    name : str
        Name of the parameter for messages.
    n_features : int
        Number of columns.
    feature_names : ndarray of shape (n_features,) or None
        Names of the columns, if any.

    Returns
    -------
    columns : ndarray of shape (n_block,)
        Positions in the order of `key`.
    """
    if key is None:
        raise ValueError(
            f"{name} is None, but the other block is named: name both blocks, or none."
        )
    try:
        columns = np.array(_positions(key, n_features, feature_names), dtype=np.intp)
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{name}={key!r} does not fit X: {error}") from error
    if not len(columns):
        raise ValueError(f"{name}={key!r} names no column of X.")
    if len(np.unique(columns)) < len(columns):
        raise ValueError(f"{name}={key!r} names a column twice.")
    return columns


def _positions(key: Any, n_features: Any, feature_names: Any) -> Any:
    everything = np.empty((0, n_features))
    by_slice = isinstance(key, slice)
    parts = [key.start, key.stop] if by_slice else np.atleast_1d(np.asarray(key))
    if not any(isinstance(part, str) for part in parts):
        plain = np.arange(n_features)[key] if by_slice else parts
        return _get_column_indices(everything, plain) if len(plain) else []
    if feature_names is None:
        raise ValueError("X has no column names; give positions.")
    place = {column: position for position, column in enumerate(feature_names)}
    unknown = [part for part in parts if part is not None and part not in place]
    if unknown:
        raise ValueError(f"unknown columns {[str(part) for part in unknown]}.")
    if not by_slice:
        return [place[part] for part in parts]
    start, stop = (None if part is None else place[part] for part in parts)
    # by name both ends count, as in ColumnTransformer
    return np.arange(n_features)[start : None if stop is None else stop + 1]


def has_block(X: Any, columns: Any, domain: str) -> Any:
    """Return the mask of the rows that have a block; refuse half a block.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    columns : ndarray of shape (n_block,)
        Positions of the block.
    domain : {"source", "target"}
        Name of the domain for messages.

    Returns
    -------
    has : ndarray of shape (n_samples,)
        True where no value is NaN.
    """
    missing = np.isnan(X[:, columns])
    partly = np.flatnonzero(missing.any(axis=1) & ~missing.all(axis=1))
    if len(partly):
        raise DomainError(
            f"Row {partly[0]} of X holds NaN in some of {domain}_columns but not in "
            f"all ({len(partly)} such rows): a row has a block or lacks it. Impute "
            "single values before."
        )
    return ~missing.any(axis=1)


def check_present(rows: Any, has: Any, domain: str) -> None:
    """Refuse rows of a domain that lack its block.

    Parameters
    ----------
    rows, has : ndarray of shape (n_samples,)
        Masks of the domain's rows and of the rows with its block.
    domain : {"source", "target"}
        Name of the domain for messages.
    """
    lacking = np.flatnonzero(rows & ~has)
    if len(lacking):
        raise DomainError(
            f"Row {lacking[0]} of X is a {domain} row, but holds NaN in all of "
            f"{domain}_columns ({len(lacking)} such rows)."
        )
