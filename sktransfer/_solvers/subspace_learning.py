r"""Subspaces that serve a criterion and hide the difference of two domains.

.. math:: \min_{W'W = I} \frac{\mathrm{tr}(W'NW)}{\mathrm{tr}(W'BW)}
    + \mu \sum_{i,j} v_i v_j \exp(-\gamma \lVert W'(x_i - x_j) \rVert^2)

with v = 1/n_s on source and -1/n_t on target rows. The second term is the squared
difference of two kernel density estimates, integrated over the subspace, up to a
factor. Both depend on the span of W alone, so L-BFGS runs over matrices A with W the
orthonormal factor of A.

References
----------
S. Si, D. Tao, B. Geng. Bregman divergence-based regularization for transfer subspace
learning. IEEE TKDE 22(7), 2010. :doi:`10.1109/TKDE.2009.126`.

H. Wang, S. Yan, D. Xu, X. Tang, T. Huang. Trace ratio vs. ratio trace for
dimensionality reduction. CVPR, 2007. :doi:`10.1109/CVPR.2007.382983`.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import linalg
from scipy.optimize import minimize
from sklearn.metrics.pairwise import rbf_kernel

Array = npt.NDArray[Any]


class Subspace(NamedTuple):
    """A subspace and what it achieved.

    Parameters
    ----------
    W : ndarray of shape (n_features, n_components)
        Orthonormal basis.
    objective : float
        Criterion plus weighted divergence.
    divergence : float
        The second term without its weight.
    n_iter : int
        Iterations of L-BFGS.
    converged : bool
        Whether it stopped at its tolerance.
    """

    W: Array
    objective: float
    divergence: float
    n_iter: int
    converged: bool


def trace_ratio(N: Array, B: Array, n_components: int, max_iter: int = 50) -> Array:
    """Minimize the criterion alone.

    Parameters
    ----------
    N, B : ndarray of shape (n_features, n_features)
        Positive semidefinite matrices, N also minus one.
    n_components : int
        Dimension of the subspace.
    max_iter : int, default=50
        Largest number of eigenproblems; the ratio falls in each.

    Returns
    -------
    ndarray of shape (n_features, n_components)
        Orthonormal basis of a global minimizer.
    """
    ratio = np.inf
    _, vectors = np.linalg.eigh(B)
    W: Array = vectors[:, -n_components:]
    for _ in range(max_iter):
        below = float(np.sum(W * (B @ W)))
        new = float(np.sum(W * (N @ W))) / below if below > 0 else 0.0
        if not ratio - new > 1e-10 * max(abs(new), 1.0):
            break
        ratio = new
        _, vectors = np.linalg.eigh(N - ratio * B)
        W = vectors[:, :n_components]
    return W


def divergence(X: Array, v: Array, W: Array, gamma: float) -> tuple[float, Array]:
    """Compute the second term and its gradient.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows of both domains.
    v : ndarray of shape (n_samples,)
        Weights that sum to 1 in one domain and to -1 in the other.
    W : ndarray of shape (n_features, n_components)
        Directions.
    gamma : float
        Width of the kernel.

    Returns
    -------
    value : float
        Squared difference of the densities, up to a factor.
    gradient : ndarray of shape (n_features, n_components)
        Derivative by W.
    """
    Z = X @ W
    A = rbf_kernel(Z, gamma=gamma)
    A *= v
    A *= v[:, None]
    rows = A.sum(axis=1)
    return float(rows.sum()), -4.0 * gamma * (X.T @ (rows[:, None] * Z - A @ Z))


def transfer_subspace(
    N: Array,
    B: Array,
    X: Array,
    v: Array,
    start: Array,
    *,
    mu: float,
    gamma: float,
    max_iter: int = 100,
    tol: float = 1e-5,
) -> Subspace:
    """Minimize the objective of the module from one start.

    Parameters
    ----------
    N, B : ndarray of shape (n_features, n_features)
        Matrices of the criterion.
    X, v
        Rows and weights, as in :func:`divergence`.
    start : ndarray of shape (n_features, n_components)
        Where to begin.
    mu : float
        Weight of the divergence.
    gamma : float
        Width of the kernel.
    max_iter : int, default=100
        Largest number of iterations.
    tol : float, default=1e-5
        Largest entry of the gradient on the manifold at which they end.

    Returns
    -------
    Subspace
        The local minimum.
    """
    shape = start.shape

    def value_and_gradient(flat: Array) -> tuple[float, Array]:
        W, R = np.linalg.qr(flat.reshape(shape))
        above, below = float(np.sum(W * (N @ W))), float(np.sum(W * (B @ W)))
        value, G = 0.0, np.zeros(shape)
        if below > 0:
            value = above / below
            G = 2.0 * (N @ W - value * (B @ W)) / below
        if mu > 0 and v.any():
            between, slope = divergence(X, v, W, gamma)
            value, G = value + mu * between, G + mu * slope
        G -= W @ (W.T @ G)
        return value, linalg.solve_triangular(R, G.T).T.ravel()

    found = minimize(
        value_and_gradient,
        start.ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": max_iter, "gtol": tol, "ftol": 1e-10},
    )
    W, _ = np.linalg.qr(found.x.reshape(shape))
    between = divergence(X, v, W, gamma)[0] if v.any() else 0.0
    return Subspace(W, float(found.fun), between, int(found.nit), found.status == 0)
