r"""Principal subspaces of two domains and the geodesic between them.

References
----------
B. Gong, Y. Shi, F. Sha, K. Grauman. Geodesic flow kernel for unsupervised domain
adaptation. CVPR, 2012. :doi:`10.1109/CVPR.2012.6247911`.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg, sparse
from sklearn.decomposition import PCA

from sktransfer._solvers.moments import mean_and_covariance
from sktransfer._solvers.tca import embedding_signs

Array = npt.NDArray[Any]
_TINY = float(np.finfo(np.float64).tiny)


def principal_axes(X: Any, n_components: int) -> tuple[Array, Array]:
    """Compute the mean and the leading principal axes of rows.

    Parameters
    ----------
    X : {ndarray, sparse matrix} of shape (n_samples, n_features)
        Rows, more than `n_components` of them.
    n_components : int
        Number of axes, at most n_features.

    Returns
    -------
    mean : ndarray of shape (n_features,)
        Mean of the rows.
    axes : ndarray of shape (n_features, n_components)
        Orthonormal columns by descending variance; axes without variance, of which
        the data carry no information, are 0.
    """
    n, d = X.shape
    X = X.astype(np.float64)
    if sparse.issparse(X) and n_components < min(n, d) - 1 and d > 2000:
        pca = PCA(n_components, svd_solver="arpack", random_state=0).fit(X)
        mean, axes = pca.mean_, pca.components_.T
        variance = pca.explained_variance_
    elif sparse.issparse(X) or d <= n:
        mean, covariance = mean_and_covariance(X)
        variance, axes = _leading(covariance, n_components)
    else:
        mean = X.mean(axis=0)
        centered = X - mean
        variance, vectors = _leading(centered @ centered.T, n_components)
        axes = centered.T @ vectors / np.sqrt(np.maximum(variance, _TINY))
    kept = variance > max(float(variance[0]), 0.0) * 1e-12
    axes = np.where(kept, axes, 0.0)
    return mean, axes * embedding_signs(axes)


def _leading(matrix: Array, k: int) -> tuple[Array, Array]:
    """Return the k largest eigenpairs of a symmetric matrix, in descending order."""
    n = len(matrix)
    values, vectors = linalg.eigh(
        matrix, subset_by_index=[n - k, n - 1], check_finite=False
    )
    return values[::-1], vectors[:, ::-1]


def geodesic(source: Array, target: Array) -> tuple[Array, Array, Array]:
    r"""Describe the geodesic between two subspaces of the same dimension.

    With the principal angles :math:`\theta` the subspace at time t has the basis
    :math:`\Phi(t) = A \cos(t\theta) + Q \sin(t\theta)`; :math:`\Phi(0)` spans the
    source's, :math:`\Phi(1)` the target's.

    Parameters
    ----------
    source, target : ndarray of shape (n_features, n_components)
        Orthonormal bases; columns of 0 belong to no subspace.

    Returns
    -------
    start : ndarray of shape (n_features, n_components)
        A: principal vectors of the source.
    direction : ndarray of shape (n_features, n_components)
        Q: orthonormal to A; 0 where the angle is.
    angles : ndarray of shape (n_components,)
        Principal angles, ascending.
    """
    U, _, Vt = linalg.svd(source.T @ target)
    start, end = source @ U, target @ Vt.T
    cosines = np.einsum("ij,ij->j", start, end)
    rest = end - start * cosines
    sines = np.linalg.norm(rest, axis=0)
    moves = sines > 1e-12
    direction = np.divide(rest, sines, out=np.zeros_like(rest), where=moves)
    return start, direction, np.where(moves, np.arctan2(sines, cosines), 0.0)


def geodesic_flow_root(source: Array, target: Array) -> Array:
    r"""Compute W with :math:`WW' = \int_0^1 \Phi(t)\Phi(t)' dt` in closed form.

    In the basis (A, Q) the integral is block diagonal, one 2 x 2 matrix per angle,

    .. math:: \frac12 \begin{pmatrix} 1 + \frac{\sin 2\theta}{2\theta} &
        \frac{1 - \cos 2\theta}{2\theta} \\ \frac{1 - \cos 2\theta}{2\theta} &
        1 - \frac{\sin 2\theta}{2\theta} \end{pmatrix},

    whose square roots are those of the kernel.

    Parameters
    ----------
    source, target : ndarray of shape (n_features, n_components)
        Orthonormal bases.

    Returns
    -------
    ndarray of shape (n_features, 2 * n_components)
        W; columns of directions that do not move are 0.
    """
    start, direction, angles = geodesic(source, target)
    # sin(2t)/(2t) and (1 - cos 2t)/(2t) = t sinc(t)^2, without division by 0
    even = np.sinc(2 * angles / np.pi)
    odd = angles * np.sinc(angles / np.pi) ** 2
    blocks = np.empty((len(angles), 2, 2))
    blocks[:, 0, 0], blocks[:, 1, 1] = (1 + even) / 2, (1 - even) / 2
    blocks[:, 0, 1] = blocks[:, 1, 0] = odd / 2
    values, vectors = np.linalg.eigh(blocks)
    roots = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
    columns = [start * roots[:, 0, i] + direction * roots[:, 1, i] for i in (1, 0)]
    return np.concatenate(columns, axis=1)
