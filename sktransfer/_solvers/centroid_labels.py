"""Pseudo-labels by the nearest class centroid of the samples themselves."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.preprocessing import normalize
from sklearn.utils.extmath import safe_sparse_dot

Array = npt.NDArray[Any]

_TINY = 1e-12


def centroid_labels(X: Any, proba: Array) -> Array:
    """Label rows by the nearest class centroid in cosine distance.

    Parameters
    ----------
    X : {ndarray, sparse matrix} of shape (n_rows, n_features)
        Rows.
    proba : ndarray of shape (n_rows, n_classes)
        Probabilities that weigh the rows in the first centroids.

    Returns
    -------
    labels : ndarray of shape (n_rows,)
        Columns of ``proba``, after one more round with hard assignments.
    """
    rows = normalize(X)
    labels = np.zeros(len(proba), dtype=np.intp)
    for _ in range(2):
        mass = proba.sum(axis=0)
        total = np.maximum(mass, _TINY)
        centroids = normalize(
            np.asarray(safe_sparse_dot(proba.T, rows)) / total[:, None]
        )
        similarity = np.asarray(safe_sparse_dot(rows, centroids.T))
        similarity[:, mass <= _TINY] = -np.inf
        labels = similarity.argmax(axis=1)
        proba = np.eye(proba.shape[1])[labels]
    return labels
