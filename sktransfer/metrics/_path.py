"""The order in which a chain goes over several sources."""

from typing import Any

import numpy as np
from sklearn.preprocessing import StandardScaler

from sktransfer._domains import canonical_order, take_rows
from sktransfer.metrics._mmd import mmd

__all__ = ["find_path"]

#: rows of a domain beyond which its similarity is that of a random part
_MOST_ROWS = 500


def find_path(path: Any, data: Any, X: Any, rng: Any) -> Any:
    """Return the sources from the farthest to the nearest, or in the given order.

    Parameters
    ----------
    path : "auto" or array-like of int
        Ids of the sources, the nearest to the target last; "auto": descending maximum
        mean discrepancy to the target.
    data : DomainData
        All samples.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Their numeric features.
    rng : RandomState
        Draws samples where a domain has more than 500.

    Returns
    -------
    path : list of int
        Ids of the sources in their order; empty without sources.
    distances : dict of int to float
        Squared discrepancy of each source to the target; empty for a given path and
        for less than two sources.

    Raises
    ------
    ValueError
        If a given path holds anything but sources, each once.
    """
    sources = data.sources.tolist()
    if not isinstance(path, str):
        given = np.asarray(path)
        whole = not len(given) or given.dtype.kind in "iu"
        if given.ndim != 1 or not whole or any(map(_is_bool, path)):
            raise ValueError(f"path must hold ids of sources, got {path!r}.")
        given = given.astype(int).tolist()
        if not sources:
            return [], {}  # theta(0,T)
        unknown = sorted(set(given) - set(sources))
        if unknown or len(set(given)) < len(given) or not given:
            raise ValueError(
                f"path={path!r} must name sources of sample_domain, each "
                f"once; these are {sources}."
            )
        return given, {}
    if len(sources) < 2:
        return sources, {}
    scaled = StandardScaler(with_mean=False).fit(X).transform(X)
    target = _sample(take_rows(scaled, data.is_target), rng)
    distances = {}
    for source in sources:
        rows = _sample(take_rows(scaled, data.rows_of(source)), rng)
        distances[source] = float(mmd(rows, target))
    return sorted(sources, key=lambda source: -distances[source]), distances


def _is_bool(value: Any) -> bool:
    """Tell whether a value is a bool, which NumPy turns into an int beside ints."""
    return isinstance(value, bool | np.bool_)


def _sample(X: Any, rng: Any) -> Any:
    """Return at most 500 rows, in an order that does not depend on that of X."""
    part = take_rows(X, canonical_order(X, rng=rng)[:_MOST_ROWS])
    return part.toarray() if hasattr(part, "toarray") else part
