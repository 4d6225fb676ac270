"""Low-rank factors of kernel matrices: pivoted Cholesky and Nystroem features."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg

from sktransfer._solvers.array_api import array_like, namespace_of, to_numpy
from sktransfer._solvers.kernels import (
    kernel_diagonal,
    kernel_matrix,
    order_free_sample,
    row_batches,
)

Array = npt.NDArray[Any]


def pivoted_cholesky(
    K: Array, rank: int, *, tol: float = 0.0
) -> tuple[Array, Array, npt.NDArray[np.intp]]:
    r"""Factor a positive semidefinite matrix as :math:`K \approx G'G` greedily.

    Each step takes the row with the largest remaining diagonal. The residual
    :math:`E = K - G'G` is positive semidefinite, so its trace bounds its norm.

    Parameters
    ----------
    K : ndarray of shape (n, n)
        The matrix; only `rank` of its rows are read.
    rank : int
        Largest number of rows of the factor.
    tol : float, default=0.0
        Stop when the largest remaining diagonal entry is not above it.

    Returns
    -------
    G : ndarray of shape (r, n)
        The factor, ``r <= rank``.
    residual : ndarray of shape (n,)
        Diagonal of :math:`K - G'G`, at least 0.
    pivots : ndarray of shape (r,)
        The rows taken.
    """
    residual = K.diagonal().astype(np.float64)
    G = np.zeros((min(rank, K.shape[0]), K.shape[0]))
    pivots = np.zeros(G.shape[0], dtype=np.intp)
    for step in range(G.shape[0]):
        pivot = int(residual.argmax())
        if residual[pivot] <= tol:
            return G[:step], residual, pivots[:step]
        row = K[pivot] - G[:step, pivot] @ G[:step]
        G[step] = row / np.sqrt(residual[pivot])
        residual -= G[step] ** 2
        np.maximum(residual, 0.0, out=residual)
        residual[pivot] = 0.0
        pivots[step] = pivot
    return G, residual, pivots


@dataclass(frozen=True)
class LandmarkMap:
    r"""The Nystroem map :math:`\phi(x) = L^{-1} k(Z, x)` with :math:`k(Z, Z) = L L'`.

    Attributes
    ----------
    landmarks : array of shape (rank, n_features)
        The rows Z.
    indices : ndarray of shape (rank,)
        Where they stood among the rows that they were chosen from.
    factor : ndarray of shape (rank, rank)
        The lower triangular L.
    kernel_options : dict
        As in :func:`~sktransfer._solvers.kernels.kernel_matrix`.
    """

    landmarks: Any
    indices: npt.NDArray[np.intp]
    factor: Array
    kernel_options: dict[str, Any]

    @property
    def rank(self) -> int:
        """Number of features."""
        return int(self.factor.shape[0])

    def transform(self, X: Any, dtype: Any = np.float64) -> Array:
        """Compute the features of rows, shape (rank, n_samples), in chunks.

        The features of a row lie next to each other in memory (Fortran order). Those
        of arrays of another library are of that library, in its own precision.
        """
        xp = namespace_of(X)
        if xp is not np:
            K = kernel_matrix(X, array_like(self.landmarks, X), **self.kernel_options)
            on_device: Array = xp.linalg.solve(array_like(self.factor, X), K.T)
            return on_device
        out = np.empty((self.rank, X.shape[0]), dtype=dtype, order="F")
        for rows in row_batches(X.shape[0], self.rank, working_memory=64.0):
            block = kernel_matrix(X[rows], self.landmarks, **self.kernel_options)
            out[:, rows] = linalg.solve_triangular(
                self.factor,
                block.T.astype(np.float64, copy=False),
                lower=True,
                overwrite_b=True,
                check_finite=False,
            )
        return out

    def mean(self, X: Any) -> Array:
        """Compute the mean feature vector of rows, without storing the features."""
        return self.mean_of_chunks([X])

    def mean_of_chunks(self, chunks: Iterable[Any]) -> Array:
        """Compute the mean feature vector of samples that come in chunks."""
        total, size = np.zeros(self.rank), 0
        for X in chunks:
            landmarks = array_like(self.landmarks, X)
            for rows in row_batches(X.shape[0], self.rank, working_memory=64.0):
                block = kernel_matrix(landmarks, X[rows], **self.kernel_options)
                total += to_numpy(block.sum(axis=1, dtype=namespace_of(X).float64))
            size += X.shape[0]
        mean: Array = linalg.solve_triangular(
            self.factor, total / size, lower=True, check_finite=False
        )
        return mean

    def residual(self, X: Any, features: Array) -> Array:
        """Compute ``k(x, x) - phi(x)'phi(x)``, at least 0, for every row."""
        xp = namespace_of(X)
        if xp is not np:
            square = xp.sum(features * features, axis=0)
            left = kernel_diagonal(X, **self.kernel_options) - square
            rest: Array = np.maximum(to_numpy(left), 0.0)
            return rest
        square = np.empty(X.shape[0])
        for rows in row_batches(X.shape[0], self.rank):
            block = features[:, rows].astype(np.float64, copy=False)
            square[rows] = np.einsum("ij,ij->j", block, block)
        residual: Array = np.maximum(
            kernel_diagonal(X, **self.kernel_options) - square, 0.0
        )
        return residual


def fit_landmarks(
    X: Any,
    rank: int,
    *,
    random_state: Any = 0,
    candidates: int = 4000,
    **kernel_options: Any,
) -> LandmarkMap:
    """Choose landmarks by pivoted Cholesky on a random sample of the rows.

    The sample and the choice do not depend on the order of the rows.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows to choose from.
    rank : int
        Largest number of landmarks.
    random_state : int, RandomState instance or None, default=0
        Seed of the sample.
    candidates : int, default=4000
        Size of the sample, at least twice the rank where there are so many rows.
    **kernel_options : dict
        As in :func:`~sktransfer._solvers.kernels.kernel_matrix`.

    Returns
    -------
    LandmarkMap
        The features; their rank is smaller where the kernel matrix has no more.
    """
    n_candidates = max(candidates, 2 * rank)
    chosen = order_free_sample(X, n_candidates, random_state)
    found = landmarks_among(to_numpy(X[chosen]), rank, **kernel_options)
    return replace(found, indices=to_numpy(chosen)[found.indices])


def landmarks_among(X: Any, rank: int, **kernel_options: Any) -> LandmarkMap:
    """Choose landmarks by pivoted Cholesky among all of some rows.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        The candidates.
    rank : int
        Largest number of landmarks.
    **kernel_options : dict
        As in :func:`~sktransfer._solvers.kernels.kernel_matrix`.

    Returns
    -------
    LandmarkMap
        The features; their rank is smaller where the kernel matrix has no more.
    """
    K = kernel_matrix(X, **kernel_options)
    scale = float(np.max(K.diagonal(), initial=0.0))
    _, _, pivots = pivoted_cholesky(K, rank, tol=1e-10 * scale)
    if pivots.size == 0:
        pivots = np.zeros(1, dtype=np.intp)
    inner = K[np.ix_(pivots, pivots)].astype(np.float64)
    inner[np.diag_indices_from(inner)] += 1e-12 * scale + np.finfo(float).tiny
    factor = linalg.cholesky(inner, lower=True, check_finite=False)
    return LandmarkMap(X[pivots], pivots, factor, dict(kernel_options))
