r"""Layers of marginalized denoising autoencoders, in closed form.

.. math:: W = E[P]\, E[Q]^{-1}, \qquad
          \min_W \sum_i E \lVert x_i - W \tilde x_i \rVert^2
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg

Array = npt.NDArray[Any]


def denoising_weights(
    X: Array, corruption: float, *, penalty: float = 1e-5, weight: Array | None = None
) -> Array:
    """Return the linear map that best restores rows with entries set to 0.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    corruption : float
        Probability in [0, 1) that an entry is set to 0; the constant 1, which is
        appended, never is.
    penalty : float, default=1e-5
        Ridge penalty, relative to the mean square of the entries.
    weight : ndarray of shape (n_samples,), default=None
        Weights of the rows.

    Returns
    -------
    W : ndarray of shape (n_features + 1, n_features)
        The map: rows with a constant 1 times W are nearest to the rows in the mean
        over all corruptions.
    """
    rows = np.column_stack([X.astype(np.float64), np.ones(len(X))])
    S = rows.T @ (rows if weight is None else rows * weight[:, None])
    kept = np.append(np.full(X.shape[1], 1.0 - corruption), 1.0)
    Q = S * np.outer(kept, kept)
    np.fill_diagonal(Q, kept * np.diag(S))
    Q.flat[:: len(Q) + 1] += penalty * max(float(np.trace(S)) / len(S), 1e-300)
    P = S[:, :-1] * kept[:, None]
    return np.asarray(linalg.solve(Q, P, assume_a="pos"))


def denoise(X: Array, W: Array) -> Array:
    """Return the layer tanh([X, 1] W) of rows."""
    return np.asarray(np.tanh(X @ W[:-1] + W[-1]))
