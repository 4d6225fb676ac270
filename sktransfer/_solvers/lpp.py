"""Supervised locality preserving projection."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg

Array = npt.NDArray[Any]


def supervised_projection(
    X: Array, y: Array, n_components: int, regularization: float
) -> Array:
    r"""Find directions in which classes are narrow and samples far from the origin.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Centered samples.
    y : ndarray of shape (n_samples,)
        Their classes.
    n_components : int
        Number of directions, at most n_features.
    regularization : float
        Multiple of the identity in the denominator, relative to the mean of the
        diagonal of the numerator.

    Returns
    -------
    P : ndarray of shape (n_features, n_components)
        Leading solutions of :math:`X'DX p = \lambda (X'LX + r I) p` with the affinity
        1 within a class, its degrees D and its Laplacian L.
    """
    classes, code = np.unique(y, return_inverse=True)
    counts = np.bincount(code).astype(float)
    root = np.sqrt(counts[code])[:, None] * X
    total = root.T @ root
    sums = np.zeros((len(classes), X.shape[1]))
    np.add.at(sums, code, X)
    # x_i'(D - W)x_j over a class: n_c sum x x' less the outer product of the sum
    within = total - sums.T @ sums
    scale = float(np.trace(total)) / X.shape[1]
    within.flat[:: X.shape[1] + 1] += regularization * (scale or 1.0)
    vectors = linalg.eigh(total, within)[1]
    P = vectors[:, ::-1][:, :n_components]
    return np.asarray(P / np.linalg.norm(P, axis=0))
