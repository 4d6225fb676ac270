r"""Laplace's approximation for binary classes with a Gaussian process.

With labels t in {-1, 1}, latent values f of covariance K and the logistic likelihood,
the posterior is approximated by a Gaussian around its mode.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg
from scipy.special import expit

Array = npt.NDArray[Any]


def posterior_mode(
    K: Array, t: Array, *, start: Array | None = None, tol: float = 1e-10,
    max_iter: int = 100,
) -> tuple[Array, Array, float]:  # fmt: skip
    r"""Maximize :math:`\log p(t \mid f) - \tfrac12 f' K^{-1} f`.

    Parameters
    ----------
    K : ndarray of shape (n, n)
        Covariance, positive semidefinite.
    t : ndarray of shape (n,)
        Labels -1 and 1.
    start : ndarray of shape (n,), default=None
        Value of ``a`` to start at; None is 0.
    tol : float, default=1e-10
        Largest entry of the gradient that counts as solved.
    max_iter : int, default=100
        Newton steps.

    Returns
    -------
    f : ndarray of shape (n,)
        The mode.
    a : ndarray of shape (n,)
        :math:`K^{-1} f`, which is the gradient of the likelihood at the mode.
    residual : float
        Largest entry of the difference of both.
    """
    a = np.zeros(len(t)) if start is None else start.copy()
    f = K @ a

    def value(f: Array, a: Array) -> float:
        return float(-np.logaddexp(0, -t * f).sum() - 0.5 * a @ f)

    current = value(f, a)
    residual = np.inf
    for _ in range(max_iter):
        p = expit(f)
        gradient, W = (t + 1) / 2 - p, p * (1 - p)
        residual = float(np.abs(gradient - a).max(initial=0.0))
        if residual <= tol:
            break
        root = np.sqrt(W)
        L = linalg.cholesky(np.eye(len(t)) + root[:, None] * K * root, lower=True)
        b = W * f + gradient
        step = b - root * linalg.cho_solve((L, True), root * (K @ b)) - a
        size = 1.0
        while size > 1e-8:
            new = a + size * step
            moved = K @ new
            found = value(moved, new)
            if found >= current - 1e-12 * abs(current):
                break
            size /= 2
        a, f, current = new, moved, found
    return f, a, residual


def laplace_evidence(K: Array, t: Array) -> tuple[float, Array, Array]:
    r"""Return minus the approximate log probability of the labels.

    Parameters
    ----------
    K : ndarray of shape (n, n)
        Covariance of the latent values.
    t : ndarray of shape (n,)
        Labels -1 and 1.

    Returns
    -------
    value : float
        :math:`-\log p(t \mid \hat f) + \tfrac12 \hat f' K^{-1} \hat f + \tfrac12 \log
        |I + W^{1/2} K W^{1/2}|`.
    slope : ndarray of shape (n, n)
        Its derivative with respect to K, symmetric.
    a : ndarray of shape (n,)
        :math:`K^{-1} \hat f`.
    """
    f, a, _ = posterior_mode(K, t)
    p = expit(f)
    W = p * (1 - p)
    root = np.sqrt(W)
    L = linalg.cholesky(np.eye(len(t)) + root[:, None] * K * root, lower=True)
    value = np.logaddexp(0, -t * f).sum() + 0.5 * a @ f + np.log(L.diagonal()).sum()
    # R = (K + W^-1)^-1, C = L^-1 W^1/2 K
    half = linalg.solve_triangular(L, np.diag(root), lower=True)
    R = half.T @ half
    C = half @ K
    third = p * (1 - p) * (1 - 2 * p)  # the derivative of W
    spread = np.diag(K) - np.sum(C**2, axis=0)
    # value depends on K through the mode, too: d f = (I - K R) dK a
    by_mode = 0.5 * spread * third
    across = np.outer(by_mode - R @ (K @ by_mode), a)
    slope = 0.5 * (R - np.outer(a, a)) + 0.5 * (across + across.T)
    return float(value), slope, a
