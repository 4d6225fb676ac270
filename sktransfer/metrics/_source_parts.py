"""Parts of the sources: whole sources, their classes, or clusters of their rows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.cluster import KMeans

from sktransfer._domains import canonical_order, is_missing, take_rows
from sktransfer.metrics._checks import check_numbers

#: parts that have a name
SOURCE_PARTS = ("source", "class", "cluster")


def source_parts(
    data: Any, parts: Any, n_clusters: int = 2, seed: int = 0
) -> tuple[NDArray[Any], Any]:
    """Return the part of every source row, and what the parts are called.

    Parameters
    ----------
    data : DomainData
        Rows of sources and target.
    parts : {"source", "class", "cluster"} or array-like of shape (n_samples,)
        "source": the sources; "class": the rows of one class in one source;
        "cluster": clusters of the rows of one source, by k-means; or the name of the
        part of each row, of which those of target rows do not count.
    n_clusters : int, default=2
        Clusters of each source.
    seed : int, default=0
        Seed of k-means, the same for each source.

    Returns
    -------
    codes : ndarray of shape (n_samples,)
        Number of the part of each source row, -1 for target rows.
    names : list
        Source id for "source", ``(source id, class)`` for "class", ``(source id,
        number)`` for "cluster", else the given name, in the order of the numbers.
    """
    if not isinstance(parts, str):
        return _given_parts(data, parts)
    codes = np.full(len(data.sample_domain), -1)
    names: list[Any] = []
    for source in data.sources.tolist():
        rows = np.flatnonzero(data.rows_of(source))
        if parts == "source":
            codes[rows] = len(names)
            names.append(source)
            continue
        if parts == "class":
            labels = data.labels(rows)
            values, within = np.unique(labels, return_inverse=True)
            values = values.tolist()
        else:
            within = row_clusters(take_rows(data.X, rows), n_clusters, seed)
            values = range(within.max() + 1)
        codes[rows] = within + len(names)
        names += [(source, value) for value in values]
    return codes, names


def _given_parts(data: Any, parts: NDArray[Any]) -> tuple[NDArray[Any], list[str]]:
    given = parts.to_numpy() if hasattr(parts, "to_numpy") else np.asarray(parts)
    n_samples = len(data.sample_domain)
    if given.shape != (n_samples,):
        raise ValueError(
            f"parts has shape {given.shape}, but X has {n_samples} rows: give the name "
            f"of a part per row, shape ({n_samples},), or one of {SOURCE_PARTS}."
        )
    rows = np.flatnonzero(data.is_source)
    missing = [k for k in rows.tolist() if is_missing(given[k])]
    if missing:
        raise ValueError(
            f"parts has no value for {len(missing)} source rows (first at row "
            f"{missing[0]}). Give each of them the name of its part."
        )
    values, within = np.unique(given[rows], return_inverse=True)
    codes = np.full(n_samples, -1)
    codes[rows] = within
    return codes, values.tolist()


def row_clusters(X: Any, n_clusters: int, seed: int) -> NDArray[Any]:
    """Cluster rows by k-means, whatever their order.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Numeric rows.
    n_clusters : int
        Clusters; fewer if there are fewer distinct rows.
    seed : int
        Seed of the starts.

    Returns
    -------
    clusters : ndarray of shape (n_samples,)
        Numbers 0, 1, ..., of the largest cluster first.
    """
    X = check_numbers(X, accept_sparse="csr")
    order = canonical_order(X)
    rows = X[order]
    n_clusters = min(n_clusters, _n_distinct(rows))
    if n_clusters == 1:
        return np.zeros(len(order), dtype=np.intp)
    found = KMeans(n_clusters, n_init=4, random_state=seed).fit_predict(rows)
    _, first, sizes = np.unique(found, return_index=True, return_counts=True)
    rank = np.argsort(np.lexsort((first, -sizes)))
    clusters = np.empty(len(order), dtype=np.intp)
    clusters[order] = rank[found]
    return clusters


def _n_distinct(rows: Any) -> int:
    """Count distinct rows."""
    if not sparse.issparse(rows):
        return len(np.unique(rows, axis=0))
    rows = rows.sorted_indices()
    ends = zip(rows.indptr[:-1], rows.indptr[1:], strict=True)
    return len({(rows.indices[a:b].tobytes(), rows.data[a:b].tobytes())
                for a, b in ends})  # fmt: skip
