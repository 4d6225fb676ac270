r"""Adaptive and robust multi-task learning (ARMUL) with half squared losses.

.. math:: \min_{\theta_j, g} \sum_j n_j \left[ f_j(\theta_j)
          + \lambda_j \|\theta_j - g\|_2 \right], \qquad
          f_j(\theta) = \tfrac12 \theta' H_j \theta - m_j'\theta

Minimized over :math:`\theta_j` first, each term is a smooth convex function of g, whose
gradient is that of :math:`n_j f_j` at :math:`\theta_j(g)`: Newton's method in g.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ArmulInfo:
    """How well the program was solved.

    Attributes
    ----------
    kkt_residual : float
        Largest violation of the optimality conditions, relative to the size of the
        gradients at 0: the sum of the gradients, and for each task the distance of its
        gradient from the subdifferential of the norm.
    n_iter : int
        Newton steps.
    converged : bool
        Whether ``kkt_residual <= tol``.
    """

    kkt_residual: float
    n_iter: int
    converged: bool


def solve_task(H: Array, m: Array, lam: float, center: Array) -> Array:
    r"""Minimize :math:`f(\theta) + \lambda \|\theta - g\|` for a fixed center.

    The solution is g exactly where :math:`\|\nabla f(g)\| \le \lambda`; else
    :math:`g - r u` with :math:`u = (r H + \lambda I)^{-1} \nabla f(g)`, and the
    length r solves :math:`\|u\| = 1`.

    Parameters
    ----------
    H : ndarray of shape (d, d)
        Positive semidefinite; m must be in its range.
    m : ndarray of shape (d,)
        Linear term.
    lam : float in [0, inf]
        Penalty.
    center : ndarray of shape (d,)
        The center g.

    Returns
    -------
    theta : ndarray of shape (d,)
        The minimizer; the one nearest to g where it is not unique.
    """
    values, Q = np.linalg.eigh(H)
    return _solve_in_basis(values, Q, Q.T @ (H @ center - m), lam, center)


def _solve_in_basis(
    values: Array, Q: Array, gradient: Array, lam: float, center: Array
) -> Array:
    norm = float(np.linalg.norm(gradient))
    if norm <= lam:
        return center
    kept = values > 1e-12 * values[-1]
    values, gradient, Q = values[kept], gradient[kept], Q[:, kept]
    longest = float(np.linalg.norm(gradient / values))
    if lam == 0 or longest == 0:
        return np.asarray(center - Q @ (gradient / values))

    def excess(r: float) -> float:
        return float(np.linalg.norm(gradient / (r * values + lam))) - 1

    if excess(0.0) <= 0:  # the part outside the range of H is rounding
        return center
    if excess(longest) >= 0:
        r = longest
    else:
        r = float(optimize.brentq(excess, 0, longest, xtol=1e-300, rtol=1e-14))
    return np.asarray(center - r * (Q @ (gradient / (r * values + lam))))


def solve_armul(
    H: Array, m: Array, sizes: Array, lams: Array, *,
    tol: float = 1e-9, max_iter: int = 200,
) -> tuple[Array, Array, ArmulInfo]:  # fmt: skip
    """Solve the vanilla program for square losses.

    Parameters
    ----------
    H : ndarray of shape (n_tasks, d, d)
        Second moments of the rows of each task.
    m : ndarray of shape (n_tasks, d)
        Their moments with the labels.
    sizes : ndarray of shape (n_tasks,)
        Numbers of rows.
    lams : ndarray of shape (n_tasks,)
        Penalties; infinity gives all tasks the center.
    tol : float, default=1e-9
        Relative residual that counts as solved.
    max_iter : int, default=200
        Newton steps.

    Returns
    -------
    theta : ndarray of shape (n_tasks, d)
        Parameters of the tasks.
    center : ndarray of shape (d,)
        The center.
    info : ArmulInfo
        Certificate.
    """
    K, d = m.shape
    bases = [np.linalg.eigh(h) for h in H]
    scale = float(np.sum(sizes[:, None] * np.abs(m))) or 1.0

    def tasks(center: Array) -> Array:
        return np.array([
            _solve_in_basis(*bases[k], bases[k][1].T @ (H[k] @ center - m[k]),
                            float(lams[k]), center)
            for k in range(K)
        ])  # fmt: skip

    def value(theta: Array, center: Array) -> float:
        total = 0.0
        for k in range(K):
            gap = float(np.linalg.norm(theta[k] - center))
            loss = 0.5 * theta[k] @ H[k] @ theta[k] - m[k] @ theta[k]
            total += sizes[k] * (loss + (lams[k] * gap if gap else 0.0))
        return float(total)

    center = _least_squares(np.einsum("k,kij->ij", sizes, H), sizes @ m)
    theta = tasks(center)
    n_iter = 0
    for n_iter in range(max_iter + 1):
        gradients = np.einsum("kij,kj->ki", H, theta) - m
        gradient = sizes @ gradients
        if np.abs(gradient).max() <= 0.1 * tol * scale or n_iter == max_iter:
            break
        hessian = np.zeros((d, d))
        for k in range(K):
            hessian += sizes[k] * _curvature(H[k], theta[k], center, float(lams[k]))
        ridge = 1e-10 * max(float(np.trace(hessian)) / d, 1e-300)
        step = -np.linalg.solve(hessian + ridge * np.eye(d), gradient)
        slope, size, current = float(gradient @ step), 1.0, value(theta, center)
        while size > 1e-12:
            new = tasks(center + size * step)
            if value(new, center + size * step) <= current + 1e-4 * size * slope:
                break
            found = sizes @ (np.einsum("kij,kj->ki", H, new) - m)
            if size == 1 and np.abs(found).max() < 0.5 * np.abs(gradient).max():
                break  # near the optimum rounding hides the decrease
            size /= 2
        if size <= 1e-12:
            break
        center, theta = center + size * step, new
    residual = _kkt_residual(H, m, sizes, lams, theta, center) / scale
    return theta, center, ArmulInfo(residual, n_iter, residual <= tol)


def _curvature(H: Array, theta: Array, center: Array, lam: float) -> Array:
    """Second derivative of a task's share in the center."""
    gap = center - theta
    r = float(np.linalg.norm(gap))
    if r == 0:
        return H
    if lam == 0:
        return np.zeros_like(H)
    u = gap / r
    M = lam / r * (np.eye(len(u)) - np.outer(u, u))
    inner = np.linalg.lstsq(H + M, M, rcond=None)[0]
    product = H @ inner
    return np.asarray((product + product.T) / 2)


def _kkt_residual(
    H: Array, m: Array, sizes: Array, lams: Array, theta: Array, center: Array
) -> float:
    gradients = np.einsum("kij,kj->ki", H, theta) - m
    worst = float(np.abs(sizes @ gradients).max())
    for k, gradient in enumerate(gradients):
        gap = center - theta[k]
        r = float(np.linalg.norm(gap))
        if r == 0:
            distance = max(float(np.linalg.norm(gradient)) - lams[k], 0.0)
        else:
            distance = float(np.linalg.norm(gradient - lams[k] * gap / r))
        worst = max(worst, float(sizes[k] * distance))
    return worst


def _least_squares(H: Array, m: Array) -> Array:
    return np.asarray(np.linalg.lstsq(H, m, rcond=1e-12)[0])
