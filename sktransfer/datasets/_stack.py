"""Stack domains into one table: the way in for data that lie in separate arrays."""

from importlib import import_module

import numpy as np
from scipy import sparse
from sklearn.utils import Bunch, check_array

from sktransfer._compat import _num_samples
from sktransfer._domains import TARGET_ID, check_target_labels, join_labels, source_id
from sktransfer.exceptions import DomainError

__all__ = ["stack_domains"]

TARGET_NAME = "target"


def stack_domains(sources, target=None, unlabeled=None):
    """Stack sources and target into one table with domain ids.

    Parameters
    ----------
    sources : dict of str to (X, y), or list of (X, y)
        Labeled rows of each source. The sources of a list are named "source_1",
        "source_2", and so on.
    target : tuple (X, y) or None, default=None
        Labeled target rows; None where no target row has a label.
    unlabeled : {array-like, sparse matrix, dataframe} or None, default=None
        Target rows without a label, of shape (n_unlabeled, n_features). Images and
        other arrays with more axes work alike, here and in the pairs; lists of texts
        do, too.

    Returns
    -------
    data : Bunch
        With the entries

        X : {ndarray, sparse array, dataframe} of shape (n_samples, n_features)
            The sources in the given order, then labeled, then unlabeled target rows.
            Frames (pandas or polars) stay frames; a column of categories has those of
            all domains. If one domain is sparse, all rows are. Texts are an array of
            objects of shape (n_samples,).
        y : ndarray of shape (n_samples,)
            Labels. Those of unlabeled rows are missing: NaN among numbers, so that
            integer classes become floats, and None among text.
        sample_domain : ndarray of shape (n_samples,)
            Id of the domain of each row: sources 1, 2, ..., the target -1.
        domain_names : dict of int to str
            Name of each id.

    Raises
    ------
    DomainError
        If there is no target row, the domains differ in their columns, lengths of X
        and y differ, or the labels mix kinds.

    See Also
    --------
    sktransfer.datasets.from_frame : The same from one table with a domain column.

    Examples
    --------
    >>> from sktransfer.datasets import stack_domains
    >>> data = stack_domains(
    ...     sources={"red": ([[0.0], [1.0]], [0, 1])},
    ...     target=([[2.0]], [1]),
    ...     unlabeled=[[3.0]],
    ... )
    >>> data.y
    array([ 0.,  1.,  1., nan])
    >>> data.sample_domain
    array([ 1,  1, -1, -1])
    >>> data.domain_names
    {1: 'red', -1: 'target'}
    """
    named = _name_sources(sources)
    if target is None and unlabeled is None:
        raise DomainError(
            "There is no target row: give target=(X, y), unlabeled=X, or both."
        )
    parts = [_labeled_part(name, pair) for name, pair in named.items()]
    ids = [source_id(position) for position in range(len(parts))]
    domain_names = {TARGET_ID: TARGET_NAME}
    domain_names = dict(zip(ids, named, strict=True)) | domain_names
    if target is not None:
        parts.append(_labeled_part(TARGET_NAME, target))
        ids.append(TARGET_ID)
    blocks, labels = [X for X, _ in parts], [y for _, y in parts]
    n_unlabeled = 0
    if unlabeled is not None:
        blocks.append(_as_block(unlabeled))
        ids.append(TARGET_ID)
        n_unlabeled = _num_samples(blocks[-1])
    if target is not None:
        check_target_labels(labels[-1], labels[:-1])
    if not labels:
        raise DomainError("No row has a label: give at least one source or target.")
    names = [domain_names[domain] for domain in ids]
    sizes = [_num_samples(block) for block in blocks]
    return Bunch(
        X=_concatenate(blocks, names),
        y=join_labels(labels, n_unlabeled),
        sample_domain=np.repeat(ids, sizes).astype(np.int64),
        domain_names=domain_names,
    )


def _name_sources(sources):
    if isinstance(sources, list | tuple):
        sources = {f"source_{i}": pair for i, pair in enumerate(sources, start=1)}
    if not hasattr(sources, "items"):
        raise TypeError(
            "sources must be a dict of name to (X, y) or a list of (X, y), got "
            f"{type(sources).__name__}."
        )
    if TARGET_NAME in sources:
        raise DomainError(
            f"A source is named {TARGET_NAME!r}, which is the name of the target: "
            "choose another name."
        )
    return dict(sources)


def _labeled_part(name, pair):
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        raise TypeError(f"Domain {name!r} must be a pair (X, y).")
    X, y = _as_block(pair[0]), pair[1]
    if _num_samples(X) != _num_samples(y):
        raise DomainError(
            f"Domain {name!r} has {_num_samples(X)} rows in X, but "
            f"{_num_samples(y)} labels in y."
        )
    return X, y


def is_frame(X):
    """Tell whether ``X`` is a dataframe (pandas, polars, or alike)."""
    return hasattr(X, "columns") and hasattr(X, "shape")


def _as_block(X):
    if is_frame(X) or sparse.issparse(X):
        return X
    return check_array(
        _as_array(X),
        dtype=None,
        ensure_2d=False,
        ensure_all_finite=False,
        ensure_min_samples=0,
        allow_nd=True,
        input_name="X",
    )


def _as_array(X):
    """Make an array of lists; numbers beside text stay numbers."""
    if hasattr(X, "shape"):
        return X
    array = np.asarray(X)
    return np.asarray(X, dtype=object) if array.dtype.kind in "US" else array


def _concatenate(blocks, names):
    frames = [is_frame(block) for block in blocks]
    if any(frames):
        if len({type(block) for block in blocks}) > 1:
            kinds = sorted({type(block).__name__ for block in blocks})
            raise DomainError(
                f"X is a {' here and a '.join(kinds)} there: give all domains as "
                "dataframes of one library, or none."
            )
        return _concatenate_frames(blocks, names)
    shapes = [block.shape[1:] for block in blocks]
    for name, shape in zip(names, shapes, strict=True):
        if len(shape) == len(shapes[0]) == 1 and shape != shapes[0]:
            raise DomainError(
                f"Domain {name!r} has {shape[0]} columns in X, but {names[0]!r} has "
                f"{shapes[0][0]}."
            )
        if shape != shapes[0]:
            raise DomainError(
                f"Domain {name!r} has rows of shape {shape} in X, but {names[0]!r} of "
                f"shape {shapes[0]}."
            )
    if any(sparse.issparse(block) for block in blocks):
        return sparse.vstack([sparse.csr_array(block) for block in blocks]).tocsr()
    return np.concatenate(blocks)


def _concatenate_frames(blocks, names):
    columns = list(blocks[0].columns)
    for name, block in zip(names, blocks, strict=True):
        odd = sorted(map(str, set(block.columns) ^ set(columns)))
        if odd:
            raise DomainError(
                f"Domains {names[0]!r} and {name!r} differ in the columns "
                f"{', '.join(odd)} of X."
            )
    library = import_module(type(blocks[0]).__module__.partition(".")[0])
    ordered = [block[columns] for block in blocks]
    if hasattr(blocks[0], "iloc"):
        return library.concat(_with_common_categories(ordered), ignore_index=True)
    return library.concat(ordered, how="vertical_relaxed")


def _with_common_categories(frames):
    """Give categorical columns of pandas frames the categories of all frames."""
    import pandas as pd

    frames = [frame.copy() for frame in frames]
    for column in frames[0].columns:
        dtypes = [frame[column].dtype for frame in frames]
        if not all(isinstance(dtype, pd.CategoricalDtype) for dtype in dtypes):
            continue
        first, *others = (dtype.categories for dtype in dtypes)
        if any(dtype != dtypes[0] for dtype in dtypes):
            if any(dtype.ordered for dtype in dtypes):
                raise DomainError(
                    f"The ordered categories of column {column!r} of X differ between "
                    "domains: give all domains the same."
                )
            for other in others:
                first = first.union(other, sort=False)
            for frame in frames:
                frame[column] = frame[column].cat.set_categories(first)
    return frames
