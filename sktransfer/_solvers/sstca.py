r"""Semi-supervised transfer component analysis.

With the notation of transfer component analysis, :math:`\mathcal L` the Laplacian of a
neighborhood graph and :math:`\tilde K_{yy} = \gamma K_{yy} + (1 - \gamma) I`, W holds
the leading solutions of

.. math:: K H \tilde K_{yy} H K\, w = \lambda \left( K \left( L +
    \frac{\lambda_{\mathcal L}}{n^2} \mathcal L \right) K + \mu I \right) w .

With :math:`\gamma = 0` and :math:`\lambda_{\mathcal L} = 0` this is transfer component
analysis.

References
----------
S. J. Pan, I. W. Tsang, J. T. Kwok, Q. Yang. Domain adaptation via transfer component
analysis. IEEE Transactions on Neural Networks 22(2), 2011.
:doi:`10.1109/TNN.2010.2091281`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg, sparse
from sklearn.neighbors import kneighbors_graph
from sklearn.utils import check_random_state

from sktransfer._solvers.kernels import KernelSpec, kernel_matrix
from sktransfer._solvers.low_rank import fit_landmarks
from sktransfer._solvers.tca import (
    TCAInfo,
    domain_vector,
    embedding_signs,
    leading_pairs,
    relative_residual,
    solve_reduced,
)

Array = npt.NDArray[Any]


def knn_laplacian(X: Any, n_neighbors: int = 10, sigma: float | None = None) -> Any:
    r"""Compute the Laplacian of a neighborhood graph with heat-kernel weights.

    Two rows are joined where one is among the nearest neighbors of the other, with
    weight :math:`\exp(-\lVert x_i - x_j \rVert^2 / (2 \sigma^2))`.

    Parameters
    ----------
    X : {ndarray, sparse matrix} of shape (n_samples, n_features)
        Rows of all domains.
    n_neighbors : int, default=10
        Neighbors of each row; no more than n_samples - 1 are used.
    sigma : float, default=None
        Width; None is the median distance of joined rows.

    Returns
    -------
    sparse matrix of shape (n_samples, n_samples)
        Degree minus weight matrix, positive semidefinite.
    """
    n = X.shape[0]
    n_neighbors = min(n_neighbors, n - 1)
    if n_neighbors < 1:
        return sparse.csr_matrix((n, n))
    graph = kneighbors_graph(X, n_neighbors, mode="distance")
    graph = graph.maximum(graph.T).tocsr()
    if sigma is None:
        positive = graph.data[graph.data > 0]
        sigma = float(np.median(positive)) if positive.size else 1.0
    graph.data = np.exp(-(graph.data**2) / (2.0 * sigma**2))
    degrees = np.asarray(graph.sum(axis=1)).ravel()
    return (sparse.diags(degrees) - graph).tocsr()


def class_label_factor(codes: Array, labeled: Array) -> Array:
    """Compute F with FF' the label kernel: 1 for two labeled rows of one class, else 0.

    Parameters
    ----------
    codes : ndarray of shape (n_samples,)
        Classes as integers from 0; entries of unlabeled rows are ignored.
    labeled : ndarray of shape (n_samples,)
        True on labeled rows.

    Returns
    -------
    ndarray of shape (n_samples, n_classes)
        Indicators; rows without a label are 0.
    """
    labeled = np.asarray(labeled, dtype=bool)
    classes, inverse = np.unique(np.asarray(codes)[labeled], return_inverse=True)
    factor = np.zeros((labeled.size, classes.size))
    factor[np.flatnonzero(labeled), inverse] = 1.0
    return factor


def numeric_label_factor(y: Array, labeled: Array) -> Array:
    """Compute F with FF' the linear kernel of the standardized labels of labeled rows.

    Parameters
    ----------
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Labels; entries of unlabeled rows are ignored.
    labeled : ndarray of shape (n_samples,)
        True on labeled rows.

    Returns
    -------
    ndarray of shape (n_samples, n_outputs)
        Labels of mean 0 and variance 1; rows without a label are 0.
    """
    labeled = np.asarray(labeled, dtype=bool)
    y = np.asarray(y, dtype=np.float64).reshape(labeled.size, -1)
    factor = np.zeros_like(y)
    if labeled.any():
        centered = y[labeled] - y[labeled].mean(axis=0)
        spread = centered.std(axis=0)
        factor[labeled] = centered / np.where(spread > 0, spread, 1.0)
    return factor


def sstca_components(
    X: Any,
    source_mask: Array,
    label_factor: Array,
    laplacian: Any,
    *,
    n_components: int,
    gamma_dep: float = 0.5,
    lambda_laplacian: float = 1.0,
    mu: float = 1.0,
    kernel: KernelSpec = "rbf",
    gamma: float | None = None,
    degree: float = 3,
    coef0: float = 1,
    kernel_params: Mapping[str, Any] | None = None,
    eigen_solver: str = "auto",
    tol: float = 1e-8,
    n_landmarks: int = 500,
    random_state: Any = 0,
) -> tuple[Array, Array, TCAInfo]:
    r"""Compute the leading components of semi-supervised transfer component analysis.

    Normalization and signs are those of
    :func:`~sktransfer._solvers.tca.tca_components`, with the metric of this problem.

    Parameters
    ----------
    X : {ndarray, sparse matrix} of shape (n_samples, n_features)
        Rows of all domains in any order; the kernel matrix for
        ``kernel="precomputed"``.
    source_mask : ndarray of shape (n_samples,)
        True on source rows.
    label_factor : ndarray of shape (n_samples, k)
        F with :math:`K_{yy} = FF'`, 0 on unlabeled rows:
        :func:`class_label_factor` or :func:`numeric_label_factor`.
    laplacian : sparse matrix of shape (n_samples, n_samples) or None
        As of :func:`knn_laplacian`; None is 0.
    n_components : int
        Number of components.
    gamma_dep : float, default=0.5
        Share of the label dependence, in [0, 1].
    lambda_laplacian : float, default=1.0
        Weight of the Laplacian, divided by n_samples squared as by Pan et al.
    mu : float, default=1.0
        Weight of the regularizer, > 0.
    kernel, gamma, degree, coef0, kernel_params
        As in :func:`~sktransfer._solvers.kernels.kernel_matrix`.
    eigen_solver : {"auto", "dense", "lanczos", "nystroem"}, default="auto"
        "dense" and "lanczos" factor the n x n metric, "nystroem" works on landmark
        features at a cost linear in the rows. "auto": dense up to 300 rows, Lanczos
        up to 5000, Nystroem beyond.
    tol : float, default=1e-8
        Eigen-residual that counts as converged.
    n_landmarks : int, default=500
        Rank of the Nystroem kernel.
    random_state : int, RandomState instance or None, default=0
        Seed.

    Returns
    -------
    components : ndarray
        In the form that `info` names.
    eigenvalues : ndarray of shape (n_components,)
        In descending order.
    info : TCAInfo
        Residual, form and solver.
    """
    options: dict[str, Any] = {
        "kernel": kernel,
        "gamma": gamma,
        "degree": degree,
        "coef0": coef0,
        "kernel_params": kernel_params,
    }
    n = int(X.shape[0])
    v = domain_vector(source_mask)
    rng = check_random_state(random_state)
    penalty = sparse.csr_matrix((n, n)) if laplacian is None else laplacian
    penalty = penalty * (lambda_laplacian / n**2)
    dependence = (float(gamma_dep), np.asarray(label_factor, dtype=np.float64))
    if eigen_solver == "auto":
        small = "dense" if n <= 300 else "lanczos"
        large = n > 5000 and kernel != "precomputed"
        eigen_solver = "nystroem" if large else small
    if eigen_solver == "nystroem":
        return _nystroem(
            X, v, dependence, penalty, n_components, mu, tol, options, n_landmarks, rng
        )
    if eigen_solver not in {"dense", "lanczos"}:
        raise ValueError(
            "eigen_solver must be 'auto', 'dense', 'lanczos' or 'nystroem', got"
            f" {eigen_solver!r}"
        )
    K = X if kernel == "precomputed" else kernel_matrix(X, **options)
    dense = eigen_solver == "dense" or n_components > n // 3
    return _exact(K, v, dependence, penalty, n_components, mu, tol, rng, dense=dense)


def _depend(Y: Array, dependence: tuple[float, Array]) -> Array:
    r"""Multiply with :math:`H (\gamma FF' + (1 - \gamma) I) H`."""
    share, F = dependence
    centered = Y - Y.mean(axis=0)
    product = share * (F @ (F.T @ centered)) + (1.0 - share) * centered
    out: Array = product - product.mean(axis=0)
    return out


def _exact(
    K: Array,
    v: Array,
    dependence: tuple[float, Array],
    penalty: Any,
    q: int,
    mu: float,
    tol: float,
    rng: Any,
    *,
    dense: bool,
) -> tuple[Array, Array, TCAInfo]:
    out_dtype = K.dtype
    K = np.asarray(K, dtype=np.float64)
    n = K.shape[0]
    u = K @ v
    M = K @ (penalty @ K) + np.multiply.outer(u, u)
    M[np.diag_indices_from(M)] += mu
    factor = linalg.cholesky((M + M.T) / 2, lower=True, check_finite=False)

    def solve(Y: Array, trans: int) -> Array:
        out: Array = linalg.solve_triangular(
            factor, Y, lower=True, trans=trans, check_finite=False
        )
        return out

    missing = 0
    if dense:
        B = solve(K, 0)
        C = B @ _depend(np.ascontiguousarray(B.T), dependence)
        values, Y = linalg.eigh(
            (C + C.T) / 2, subset_by_index=[n - q, n - 1], check_finite=False
        )
        values, Y = values[::-1], Y[:, ::-1]
    else:

        def multiply(y: Array) -> Array:
            return solve(K @ _depend(K @ solve(y.ravel(), 1), dependence), 0)

        start = rng.standard_normal(n)
        values, Y, missing = leading_pairs(multiply, n, q, start, tol=1e-3 * tol)
    W = solve(np.ascontiguousarray(Y), 1)
    null = values <= max(float(values[0]), 0.0) * np.finfo(np.float64).eps * n
    values, W = np.where(null, 0.0, values), np.where(null, 0.0, W)
    embedding = K @ W
    residual = relative_residual(K @ _depend(embedding, dependence), M @ W, values)
    residual = max(residual, 1.0) if missing else residual
    W = (W * embedding_signs(embedding)).astype(out_dtype)
    solver = "dense" if dense else "lanczos"
    info = TCAInfo(residual, solver, "dual", residual <= tol, exact_residual=residual)
    return W, values.astype(out_dtype), info


def _nystroem(
    X: Any,
    v: Array,
    dependence: tuple[float, Array],
    penalty: Any,
    q: int,
    mu: float,
    tol: float,
    options: dict[str, Any],
    n_landmarks: int,
    rng: Any,
) -> tuple[Array, Array, TCAInfo]:
    landmarks = fit_landmarks(X, n_landmarks, random_state=rng, **options)
    dtype = np.float32 if X.dtype == np.float32 else np.float64
    G = landmarks.transform(X)
    second = G @ G.T
    objective = G @ _depend(np.ascontiguousarray(G.T), dependence)
    metric = G @ (penalty @ G.T) + np.multiply.outer(G @ v, G @ v)
    values, P, residual, _ = solve_reduced(second, objective, metric, q, mu)
    components = linalg.solve_triangular(
        landmarks.factor.T,
        P * embedding_signs(G.T @ P),
        lower=False,
        check_finite=False,
    )
    lost = float(landmarks.residual(X, G).sum())
    trace = lost / max(lost + float(np.trace(second)), np.finfo(float).tiny)
    info = TCAInfo(
        residual,
        "nystroem",
        "landmarks",
        residual <= tol,
        landmarks.indices,
        trace,
        subspace_error=float("nan"),
        objective_error=float("nan"),
    )
    return components.astype(dtype), values.astype(dtype), info
