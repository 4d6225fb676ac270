"""Linear maps between paired samples."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def least_norm_map(A: Array, B: Array, rank: int | None = None) -> Array:
    """Return the matrix F of least norm for which A F is nearest to B.

    Parameters
    ----------
    A : ndarray of shape (n_pairs, n_features)
        Centered samples.
    B : ndarray of shape (n_pairs, n_outputs)
        Their centered partners.
    rank : int or None, default=None
        Number of leading singular values of A that count. None: all that are not 0.

    Returns
    -------
    F : ndarray of shape (n_features, n_outputs)
        The map.
    """
    U, values, V = np.linalg.svd(A, full_matrices=False)
    least = np.finfo(np.float64).eps * max(A.shape) * values.max(initial=0.0)
    kept = values > least
    kept[rank if rank is not None else len(values) :] = False
    inverse = np.where(kept, 1 / np.where(kept, values, 1.0), 0.0)
    return np.asarray((V.T * inverse) @ (U.T @ B))


def banded_map(A: Array, B: Array, half_width: int, rank: int) -> Array:
    """Return the banded matrix F whose columns map windows of A to columns of B.

    Parameters
    ----------
    A, B : ndarray of shape (n_pairs, n_features)
        Centered samples and their centered partners.
    half_width : int
        Number of columns on either side of the diagonal.
    rank : int
        Number of components of a window that count.

    Returns
    -------
    F : ndarray of shape (n_features, n_features)
        The map.
    """
    n_features = A.shape[1]
    F = np.zeros((n_features, n_features))
    for j in range(n_features):
        window = slice(max(j - half_width, 0), min(j + half_width + 1, n_features))
        F[window, j] = least_norm_map(A[:, window], B[:, [j]], rank)[:, 0]
    return F
