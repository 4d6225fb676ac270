"""How probable it is that a label is wrong, from the labels of its neighbors."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm
from sklearn.neighbors import NearestNeighbors

Array = npt.NDArray[Any]


def cut_edge_noise(X: Any, y: Array, n_neighbors: int) -> Array:
    r"""Return the probability that each label is no better than drawn by lot.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples.
    y : ndarray of shape (n_samples,)
        Their classes.
    n_neighbors : int
        Neighbors of each sample; at most the others there are.

    Returns
    -------
    noise : ndarray of shape (n_samples,)
        :math:`P(Z \le (J_i - m_i) / s_i)` for a normal Z, with the weight
        :math:`J_i = \sum_j w_{ij} [y_i \ne y_j]` of cut edges,
        :math:`w_{ij} = 1 / (1 + d_{ij})`, and mean and standard deviation of that
        weight where labels do not depend on neighbors. 0 where all have one class.
    """
    n_samples = len(y)
    k = min(n_neighbors, n_samples - 1)
    classes, code, counts = np.unique(y, return_inverse=True, return_counts=True)
    if k < 1 or len(classes) == 1:
        return np.zeros(n_samples)
    # without X the neighbors of a sample do not include itself
    distance, index = NearestNeighbors(n_neighbors=k).fit(X).kneighbors()
    weight = 1.0 / (1.0 + distance)
    cut = np.sum(weight * (code[index] != code[:, None]), axis=1)
    share = counts[code] / n_samples
    mean = (1 - share) * weight.sum(axis=1)
    variance = share * (1 - share) * np.sum(weight**2, axis=1)
    return np.asarray(norm.cdf((cut - mean) / np.sqrt(variance)))
