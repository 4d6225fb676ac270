r"""Lasso of generalized linear models over several domains, rows or quadratics.

.. math:: \min_\theta \frac1N \sum_k \min_a L_k(\theta, a) + \lambda \|\theta - c\|_1

with an intercept a of its own for each domain: proximal Newton steps, whose quadratic
programs scikit-learn's coordinate descent solves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import lasso_path

from sktransfer._solvers.glm import glm_curvature, glm_losses, glm_mean

Array = npt.NDArray[Any]

#: an intercept beyond has no effect: all labels of the domain are alike
_FARTHEST = 30.0


@dataclass(frozen=True)
class QuadraticPart:
    r"""A domain as :math:`\tfrac12 \theta'G\theta - r'\theta`, its intercept left out.

    Attributes
    ----------
    G : ndarray of shape (d, d)
        Positive semidefinite.
    r : ndarray of shape (d,)
        Linear term.
    n : float
        Number of rows.
    """

    G: Array
    r: Array
    n: float

    def expand(self, theta: Array) -> tuple[float, Array, Array]:
        """Return value, gradient and Hessian."""
        pulled = self.G @ theta
        return float(theta @ (0.5 * pulled - self.r)), pulled - self.r, self.G

    @cached_property
    def factor(self) -> tuple[Array, Array]:
        """Nonzero eigenvalues of G and their vectors, found once for all fits."""
        return _factor(self.G)


@dataclass(frozen=True)
class RowsPart:
    """A domain as rows.

    Attributes
    ----------
    family : {"gaussian", "binomial", "poisson"}
        The family.
    X : ndarray of shape (n, d)
        Rows.
    y, weight : ndarray of shape (n,)
        Labels and weights.
    fit_intercept : bool
        Whether the domain has a free intercept.
    """

    family: str
    X: Array
    y: Array
    weight: Array
    fit_intercept: bool

    @property
    def n(self) -> float:
        """Sum of the weights."""
        return float(self.weight.sum())

    def intercept(self, theta: Array) -> float:
        """Return the best intercept for given coefficients."""
        if not self.fit_intercept:
            return 0.0
        eta, y, w = self.X @ theta, self.y, self.weight
        if self.family == "gaussian":
            return float(w @ (y - eta) / w.sum())
        low, high = -_FARTHEST - eta.max(), _FARTHEST - eta.min()
        if self.family == "poisson":
            top = float(eta.max())
            total = float(w @ y)
            a = np.log(total / float(w @ np.exp(eta - top))) - top if total else low
            return float(np.clip(a, low, high))
        a = 0.0
        for _ in range(200):  # Newton, by bisection where it leaves the bracket
            mean = glm_mean("binomial", eta + a)
            slope = float(w @ (mean - y))
            if slope > 0:
                high = a
            else:
                low = a
            curvature = float(w @ (mean * (1 - mean)))
            new = a - slope / curvature if curvature > 0 else np.inf
            if not low < new < high:
                new = (low + high) / 2
            if abs(new - a) <= 1e-14 * (1 + abs(a)):
                break
            a = new
        return float(a)

    def expand(self, theta: Array) -> tuple[float, Array, Array]:
        """Return value, gradient and Hessian with the intercept minimized out."""
        eta = self.X @ theta + self.intercept(theta)
        value = float(
            self.weight @ glm_losses(self.family, eta[:, None], self.y[:, None])
        )
        mean = glm_mean(self.family, eta[:, None])
        gradient = self.X.T @ (self.weight * (mean[:, 0] - self.y))
        curvature = self.weight * glm_curvature(self.family, mean)[:, 0, 0]
        weighted = self.X * curvature[:, None]
        hessian = weighted.T @ self.X
        if self.fit_intercept and curvature.sum() > 0:
            cross = weighted.sum(axis=0)
            hessian = hessian - np.outer(cross, cross) / curvature.sum()
        return value, gradient, hessian


Part = QuadraticPart | RowsPart


def fit_l1_glm(
    parts: Sequence[Part], alphas: Array, center: Array, *,
    tol: float = 1e-7, max_iter: int = 50,
) -> tuple[Array, float]:  # fmt: skip
    r"""Fit at every penalty, starting each from the one before.

    Parameters
    ----------
    parts : sequence of QuadraticPart and RowsPart
        The domains; their losses are added and divided by all their rows.
    alphas : ndarray of shape (n_alphas,)
        Penalties :math:`\lambda`, descending; infinity gives the center.
    center : ndarray of shape (d,)
        The vector c.
    tol : float, default=1e-7
        Largest violation of the optimality conditions, relative to the gradient at the
        center, that counts as solved.
    max_iter : int, default=50
        Newton steps per penalty.

    Returns
    -------
    thetas : ndarray of shape (n_alphas, d)
        Coefficients.
    residual : float
        Largest relative violation of the optimality conditions.
    """
    total = sum(part.n for part in parts)
    quadratic = all(isinstance(part, QuadraticPart) for part in parts)
    if quadratic and len(parts) > 1:
        parts = [_added([p for p in parts if isinstance(p, QuadraticPart)])]

    def expand(delta: Array) -> tuple[float, Array, Array]:
        value, gradient, hessian = parts[0].expand(center + delta)
        for part in parts[1:]:
            more = part.expand(center + delta)
            value += more[0]
            gradient, hessian = gradient + more[1], hessian + more[2]
        return value / total, gradient / total, hessian / total

    if quadratic:
        max_iter = 3  # one step is the solution; the others polish it
    state = expand(np.zeros_like(center))
    scale = float(np.abs(state[1]).max()) or 1.0
    delta, thetas, worst = np.zeros_like(center), [], 0.0
    for alpha in map(float, alphas):
        if not np.isfinite(alpha):
            thetas.append(center + delta)
            continue
        for _ in range(max_iter):
            residual = l1_residual(state[1], delta, alpha)
            if residual <= 0.1 * tol * scale:
                break
            factor = _factor_of_mean(parts, state[2], total)
            goal = _l1_quadratic(factor, state[2] @ delta - state[1], alpha)
            step = goal - delta
            decrease = state[1] @ step + alpha * (
                np.abs(goal).sum() - np.abs(delta).sum()
            )
            size, before = 1.0, state[0] + alpha * np.abs(delta).sum()
            while size > 1e-10:
                moved = delta + size * step
                new = expand(moved)
                after = new[0] + alpha * np.abs(moved).sum()
                closer = l1_residual(new[1], moved, alpha) < 0.5 * residual
                if after <= before + 1e-4 * size * decrease or (size == 1 and closer):
                    break
                size /= 2
            if size <= 1e-10:
                break
            delta, state = moved, new
        worst = max(worst, l1_residual(state[1], delta, alpha) / scale)
        thetas.append(center + delta)
    return np.array(thetas), worst


def l1_residual(gradient: Array, delta: Array, alpha: float) -> float:
    """Return the largest distance of the gradient from the subdifferential.

    Parameters
    ----------
    gradient, delta : ndarray of shape (d,)
        Gradient of the smooth part, and the penalized coefficients.
    alpha : float
        Penalty.

    Returns
    -------
    residual : float
        0 exactly at an optimum.
    """
    active = np.abs(gradient + alpha * np.sign(delta))
    inactive = np.maximum(np.abs(gradient) - alpha, 0.0)
    return float(np.max(np.where(delta != 0, active, inactive), initial=0.0))


def _added(parts: Sequence[QuadraticPart]) -> QuadraticPart:
    """Return one part with the loss of all of them."""
    G = np.sum([part.G for part in parts], axis=0)
    return QuadraticPart(
        G, np.sum([part.r for part in parts], axis=0), sum(part.n for part in parts)
    )


def _factor_of_mean(
    parts: Sequence[Part], hessian: Array, total: float
) -> tuple[Array, Array]:
    """Return the factor of the Hessian of the mean loss."""
    if isinstance(parts[0], QuadraticPart) and len(parts) == 1:
        values, Q = parts[0].factor
        return values / total, Q
    return _factor(hessian)


def _factor(G: Array) -> tuple[Array, Array]:
    """Return the nonzero eigenvalues of G and their vectors."""
    values, Q = np.linalg.eigh(G)
    kept = values > 1e-12 * max(float(values[-1]), np.finfo(float).tiny)
    return values[kept], Q[:, kept]


def _l1_quadratic(factor: tuple[Array, Array], r: Array, alpha: float) -> Array:
    """Minimize ``theta'G theta / 2 - r'theta + alpha |theta|_1``."""
    values, Q = factor
    if not len(values) or np.abs(r).max() <= alpha:
        return np.zeros(len(r))
    # rows with these second moments: scikit-learn's lasso divides by their number
    size = np.sqrt(len(values))
    X = np.asfortranarray((np.sqrt(values) * size)[:, None] * Q.T)
    labels = Q.T @ r / np.sqrt(values) * size
    _, coefs, _ = lasso_path(
        X, labels, alphas=[max(alpha, 1e-14)], tol=1e-12, max_iter=100_000
    )
    return np.asarray(coefs[:, 0])
