"""Samples that come in parts: an array, a memory map, or an iterable of arrays."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import check_array, gen_batches

_VALUES, _ROWS = 2**20, 2**15


class SameColumns:
    """Refuse frames whose columns differ from those of the first one.

    Attributes
    ----------
    names : list of str or None
        Columns of the first frame with names; as in scikit-learn only text names them.
    """

    names: list[Any] | None = None

    def check(self, chunk: Any, name: str) -> None:
        """Raise a ValueError if a frame has other columns, or another order of them."""
        names = list(chunk.columns) if hasattr(chunk, "columns") else [None]
        if not all(isinstance(column, str) for column in names):
            return
        self.names = self.names or names
        if names != self.names:
            raise ValueError(
                f"A chunk of {name} has the columns {names}, an earlier chunk "
                f"{self.names}: give all chunks the same columns in the same order."
            )


def read_chunks(sample: Any, name: str, columns: Any = None) -> Iterator[Any]:
    """Yield checked parts of a sample, of a million values and 32768 rows at most.

    Parameters
    ----------
    sample : array-like of shape (n_samples, n_features), or iterable of such arrays
        The sample.
    name : str
        What messages call it.
    columns : SameColumns, default=None
        Compares the columns of chunks that are frames, those of several samples if they
        share it; None: of this sample alone.

    Yields
    ------
    X : ndarray of shape (n_chunk, n_features)
        Finite numbers in float64.

    Raises
    ------
    TypeError
        If `sample` is neither an array nor an iterable, or sparse.
    ValueError
        If a chunk is not two-dimensional, has other columns than the first, or holds
        values that are not finite.
    """
    columns = SameColumns() if columns is None else columns
    whole = hasattr(sample, "shape") or hasattr(sample, "columns")
    if not whole and not isinstance(sample, Iterable):
        raise TypeError(
            f"{name} must be an array or an iterable of arrays, got "
            f"{type(sample).__name__}."
        )
    for chunk in [sample] if whole else sample:
        if sparse.issparse(chunk):
            raise TypeError(
                f"{name} is sparse: give dense chunks, such as "
                "X[i : i + 1000].toarray()."
            )
        if np.ndim(chunk) != 2:
            raise ValueError(
                f"{name} must be a two-dimensional array, or an iterable of them; got "
                f"a chunk with {np.ndim(chunk)} dimension(s)."
            )
        columns.check(chunk, name)
        shape = chunk.shape if hasattr(chunk, "shape") else (len(chunk), 1)
        rows = max(1, min(_ROWS, _VALUES // max(1, shape[1])))
        for part in gen_batches(shape[0], rows) if shape[0] else ():
            taken = chunk.iloc[part] if hasattr(chunk, "iloc") else chunk[part]
            yield check_array(taken, dtype=np.float64, input_name=name)


class RepeatedChunks:
    """Samples in parts that can be read several times.

    Parameters
    ----------
    sample : array-like, iterable of arrays, or callable
        The sample; a callable returns it anew at every call.
    name : str
        What messages call it.

    Attributes
    ----------
    size : int
        Number of samples.
    n_features : int
        Number of features.
    columns : SameColumns
        Their names, if the chunks are frames.

    Raises
    ------
    ValueError
        If `sample` is an iterator, which can be read once, or empty, or gives chunks of
        different numbers of features, or other numbers of samples in another pass.
    """

    def __init__(self, sample: Any, name: str) -> None:
        if isinstance(sample, Iterator):
            raise ValueError(
                f"{name} is an iterator, which can be read once, but the weights need "
                "several passes. Give an array, a memory map, a list of chunks, or a "
                f"function that starts anew, such as {name}=lambda: chunks()."
            )
        self.sample, self.name = sample, name
        self.columns = SameColumns()
        self.size = self.n_features = None
        size = sum(len(X) for X in self)
        if not size:
            raise ValueError(f"{name} holds no sample.")
        self.size = size

    def __iter__(self) -> Iterator[Any]:
        sample = self.sample() if callable(self.sample) else self.sample
        size = 0
        for X in read_chunks(sample, self.name, self.columns):
            if self.n_features is None:
                self.n_features = X.shape[1]
            if X.shape[1] != self.n_features:
                raise ValueError(
                    f"A chunk of {self.name} has {X.shape[1]} features, the first one "
                    f"{self.n_features}."
                )
            size += len(X)
            yield X
        if self.size not in (None, size):
            raise ValueError(
                f"{self.name} gave {self.size} samples in one pass and {size} in "
                "another; every pass must give the same samples in the same order."
            )


def check_same_features(source: Any, target: Any) -> None:
    """Refuse chunks of two domains with different features."""
    if source.n_features != target.n_features:
        raise ValueError(
            f"{source.name} has {source.n_features} features, but {target.name} has "
            f"{target.n_features}."
        )
    names = source.columns.names, target.columns.names
    if None not in names and names[0] != names[1]:
        raise ValueError(
            f"{source.name} has the columns {names[0]}, but {target.name} has "
            f"{names[1]}: give both the same columns in the same order."
        )
