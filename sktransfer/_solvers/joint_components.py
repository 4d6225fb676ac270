r"""Components on which the means and the means of the classes agree.

With :math:`\Phi` the features of all n rows, :math:`H = I - 11'/n`, and M the sum of
:math:`vv'` over vectors that compare the means of source and target, P holds the
leading solutions of

.. math:: \Phi'H\Phi\, p = \lambda \left( \frac{\Phi'M\Phi}{\lVert M \rVert_F}
    + \mu I \right) p .

References
----------
M. Long, J. Wang, G. Ding, J. Sun, P. S. Yu. Transfer feature learning with joint
distribution adaptation. ICCV, 2013. :doi:`10.1109/ICCV.2013.274`.

J. Wang, Y. Chen, S. Hao, W. Feng, Z. Shen. Balanced distribution adaptation for
transfer learning. ICDM, 2017. :doi:`10.1109/ICDM.2017.150`.

M. Long, J. Wang, G. Ding, J. Sun, P. S. Yu. Transfer joint matching for unsupervised
domain adaptation. CVPR, 2014. :doi:`10.1109/CVPR.2014.183`.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg, sparse

from sktransfer._solvers.tca import (
    domain_vector,
    embedding_signs,
    leading_pairs,
    relative_residual,
)

Array = npt.NDArray[Any]


def joint_vectors(source_mask: Array, codes: Array | None, balance: float) -> Array:
    """Compute V with VV' = M, the comparison of means and of class means.

    Parameters
    ----------
    source_mask : ndarray of shape (n_samples,)
        True on source rows.
    codes : ndarray of shape (n_samples,) or None
        Classes or pseudo-labels from 0, -1 where there is none; None: means alone.
    balance : float
        Weight of the class means in [0, 1]; one minus it is that of the means.

    Returns
    -------
    ndarray of shape (n_samples, n_vectors)
        V, scaled such that VV' has Frobenius norm 1; a class that one domain lacks has
        no vector. 0 with one domain.
    """
    columns = [domain_vector(source_mask)]
    if codes is not None:
        columns[0] = columns[0] * np.sqrt(1 - balance)
        for code in np.unique(codes[codes >= 0]):
            rows = codes == code
            column = np.zeros(len(codes))
            column[rows] = domain_vector(source_mask[rows])
            columns.append(np.sqrt(balance) * column)
    V = np.column_stack(columns)
    size = float(np.linalg.norm(V.T @ V))
    return V / np.sqrt(size) if size > 0 else V


def range_root(features: Any) -> Array:
    r"""Compute R with :math:`RR' = \Phi'\Phi`, of full column rank.

    Directions p = R b have the least dual coefficients a, with :math:`p = \Phi'a`, of
    norm :math:`\lVert b \rVert`.

    Parameters
    ----------
    features : {ndarray, sparse matrix} of shape (n_samples, r)
        Features of all rows.

    Returns
    -------
    ndarray of shape (r, rank)
        R.
    """
    second = features.T @ features
    second = second.toarray() if sparse.issparse(second) else np.asarray(second)
    values, vectors = np.linalg.eigh(second.astype(np.float64))
    kept = values > max(float(values[-1]), 0.0) * np.finfo(np.float64).eps * len(values)
    if not kept.any():
        return vectors[:, -1:] * 0.0
    return np.asarray(vectors[:, kept] * np.sqrt(values[kept]))


def joint_components(
    features: Any, V: Array, n_components: int, mu: float
) -> tuple[Array, Array, float]:
    """Solve the eigenproblem of the module for leading components.

    Parameters
    ----------
    features : {ndarray, sparse matrix} of shape (n_samples, r)
        Features of all rows.
    V : ndarray of shape (n_samples, n_vectors)
        From :func:`joint_vectors`.
    n_components : int
        Number of components.
    mu : float
        Weight of the norm of the directions.

    Returns
    -------
    directions : ndarray of shape (r, n_components)
        P; a row is embedded as ``features @ P``. Columns beyond the rank are 0.
    values : ndarray of shape (n_components,)
        Eigenvalues, descending.
    residual : float
        Relative eigen-residual.
    """
    n, r = features.shape
    second = features.T @ features
    second = second.toarray() if sparse.issparse(second) else np.asarray(second)
    mean = np.asarray(features.mean(axis=0)).ravel()
    total = second.astype(np.float64) - n * np.multiply.outer(mean, mean)
    compared = np.asarray(features.T @ V)
    metric = compared @ compared.T
    metric[np.diag_indices(r)] += mu
    kept = min(n_components, r)
    values, P = linalg.eigh(total, metric, subset_by_index=[r - kept, r - 1])
    values, P = values[::-1], P[:, ::-1]
    null = values <= max(float(values[0]), 0.0) * np.finfo(np.float64).eps * n
    directions, found = np.zeros((r, n_components)), np.zeros(n_components)
    directions[:, :kept] = np.where(null, 0.0, P)
    found[:kept] = np.where(null, 0.0, values)
    residual = relative_residual(total @ directions, metric @ directions, found)
    signs = embedding_signs(np.asarray(features @ directions))
    return directions * signs, found, residual


def matching_components(
    K: Array,
    v: Array,
    penalty: Array,
    n_components: int,
    mu: float,
    *,
    tol: float = 1e-8,
) -> tuple[Array, Array, float]:
    r"""Find components with a penalty of its own for each row.

    .. math:: KHK\, w = \lambda (K v v' K + \mu G)\, w, \qquad G = \mathrm{diag}(g)

    Parameters
    ----------
    K : ndarray of shape (n_samples, n_samples)
        Kernel matrix.
    v : ndarray of shape (n_samples,)
        Comparison of the means.
    penalty : ndarray of shape (n_samples,)
        g > 0.
    n_components : int
        Number of components.
    mu : float
        Weight of the penalty.
    tol : float, default=1e-8
        Relative tolerance of the eigenvalues.

    Returns
    -------
    components : ndarray of shape (n_samples, n_components)
        W, with :math:`W'(Kvv'K + \mu G)W = I`.
    values : ndarray of shape (n_components,)
        Eigenvalues, descending.
    residual : float
        Relative eigen-residual.
    """
    n = len(K)
    root = 1.0 / np.sqrt(mu * penalty)
    u = K @ v
    direction = root * u
    norm2 = float(direction @ direction)
    shrink = 0.0
    if norm2 > 0:
        shrink = (1.0 - 1.0 / np.sqrt(1.0 + norm2)) / norm2

    def whiten(y: Array) -> Array:
        return np.asarray(y - shrink * np.multiply.outer(direction, direction @ y))

    def centered(Y: Array) -> Array:
        return np.asarray(Y - Y.mean(axis=0))

    if n <= 600 or n_components > n // 3:
        B = whiten(root[:, None] * K)  # whitened K
        C = centered(B.T)
        values, Y = linalg.eigh(C.T @ C, subset_by_index=[n - n_components, n - 1])
        values, Y = values[::-1], Y[:, ::-1]
    else:
        start = np.random.RandomState(0).standard_normal(n)

        def multiply(y: Array) -> Array:
            inner = K @ (root * whiten(y.ravel()))
            return whiten(root * (K @ centered(inner)))

        values, Y, _ = leading_pairs(multiply, n, n_components, start, tol=0.1 * tol)
    W = root[:, None] * whiten(Y)
    embedding = K @ W
    left = K @ centered(embedding)
    right = np.multiply.outer(u, u @ W) + mu * penalty[:, None] * W
    residual = relative_residual(left, right, values)
    return W * embedding_signs(embedding), values, residual
