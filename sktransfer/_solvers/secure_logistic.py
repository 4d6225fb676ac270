r"""Logistic regression relative to a known predictor, and its left-out predictions.

With offsets :math:`s_i`, corrections :math:`\Delta_i = B x_i + b`, the log loss
:math:`\ell` and weights :math:`w_i, v_j` of labeled and unlabeled rows,

.. math:: \min_{B, b} \sum_i w_i [\ell(y_i, s_i + \Delta_i) - \ell(y_i, s_i)]
          + \sum_j v_j \max_y [\ell(y, s_j + \Delta_j) - \ell(y, s_j)]
          + \frac{\rho}{2} \lVert B \rVert^2 .

The maximum is taken by weights q on the classes: it is that of
:math:`\mathrm{lse}(s + \Delta) - \mathrm{lse}(s) - q \cdot \Delta`. For fixed q the
problem is smooth, which gives the lower bound of the duality gap.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from sktransfer._solvers.glm import (
    glm_curvature,
    glm_losses,
    glm_mean,
    newton_direction,
)
from sktransfer._solvers.simplex_qp import solve_simplex_qp

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class SecureLogisticInfo:
    """Certificate of the solution.

    Attributes
    ----------
    value : float
        Objective; at most 0, the value without a correction.
    gap : float
        Objective less a lower bound of its minimum, up to ``gradient``; 0 without
        unlabeled rows.
    gradient : float
        Largest absolute entry of the gradient for fixed q, per unit of weight.
    n_iter : int
        Newton steps.
    converged : bool
        Whether gap and gradient are within the tolerance.
    """

    value: float
    gap: float
    gradient: float
    n_iter: int
    converged: bool


class SecureProblem:
    """One problem for several penalties.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Labeled rows.
    codes : ndarray of shape (n,)
        Classes 0, 1, ...
    offset : ndarray of shape (n, k)
        Known predictors: of class 1 of two, else of each class.
    weight : ndarray of shape (n,)
        Weights of the rows.
    unlabeled : tuple of ndarray or None
        Rows, offsets and weights of the unlabeled rows.
    fit_intercept : bool
        Whether there are free intercepts.
    tol : float
        Largest gradient per unit of weight, and gap, that count as solved.
    max_iter : int
        Newton steps for each smoothing.
    """

    def __init__(
        self,
        X: Array,
        codes: Array,
        offset: Array,
        weight: Array,
        *,
        unlabeled: tuple[Array, Array, Array] | None = None,
        fit_intercept: bool = True,
        tol: float = 1e-8,
        max_iter: int = 100,
    ) -> None:
        self.intercept, self.tol, self.max_iter = fit_intercept, tol, max_iter
        self.k = offset.shape[1]
        self.family = "binomial" if self.k == 1 else "multinomial"
        self.X, self.offset, self.weight = self._rows(X), offset, weight
        places = np.arange(1, 2) if self.k == 1 else np.arange(self.k)
        self.goal = (codes[:, None] == places).astype(np.float64)
        self.total = max(float(weight.sum()), np.finfo(float).tiny)
        self.start = glm_losses(self.family, offset, self.goal)
        self.unlabeled, self.scale = unlabeled, self.total
        if unlabeled is not None:
            self.U, self.known, self.pull = self._rows(unlabeled[0]), *unlabeled[1:]
            self.scale += float(self.pull.sum())
            zero = np.zeros_like(self.known)
            self.start_unlabeled = glm_losses(self.family, self.known, zero)

    def _rows(self, X: Array) -> Array:
        X = np.asarray(X, dtype=np.float64)
        return np.column_stack([X, np.ones(len(X))]) if self.intercept else X

    def solve(
        self, penalty: float, start: Array | None = None
    ) -> tuple[Array, SecureLogisticInfo]:
        r"""Minimize the objective.

        Parameters
        ----------
        penalty : float
            The factor :math:`\rho`.
        start : ndarray of shape (k, n_parameters), default=None
            Where to start; None is 0.

        Returns
        -------
        theta : ndarray of shape (k, n_parameters)
            Coefficients, and the intercepts in the last column if there are any.
        info : SecureLogisticInfo
            Certificate.
        """
        theta = np.zeros((self.k, self.X.shape[1]))
        if start is not None:
            theta = start.copy()
        n_iter = 0
        smoothings = [1.0] if self.unlabeled is None else 10.0 ** -np.arange(0, 11)
        for smoothing in smoothings:
            theta, steps, gradient = self._newton(theta, penalty, float(smoothing))
            n_iter += steps
            value, gap = self.value(theta, penalty), self._gap(theta, float(smoothing))
            if gap <= self.tol * self.scale:
                break
        if value > 0:  # no correction is better: the start of every fit
            zero = np.zeros_like(theta)
            theta, value = zero, 0.0
        converged = gradient <= self.tol and gap <= self.tol * self.scale
        return theta, SecureLogisticInfo(value, gap, gradient, n_iter, converged)

    def value(self, theta: Array, penalty: float) -> float:
        """Return the objective."""
        coef = theta[:, :-1] if self.intercept else theta
        eta = self.offset + self.X @ theta.T
        losses = glm_losses(self.family, eta, self.goal) - self.start
        value = self.weight @ losses + 0.5 * penalty * np.sum(coef**2)
        if self.unlabeled is not None:
            value += self.pull @ self._largest(theta)
        return float(value)

    def _shift(self, theta: Array) -> Array:
        """Return what a class loses by the correction, a column per class."""
        shift = -(self.U @ theta.T)
        return np.column_stack([np.zeros(len(shift)), shift]) if self.k == 1 else shift

    def _largest(self, theta: Array) -> Array:
        """Return the largest relative loss of each unlabeled row over the classes."""
        eta, zero = self.known + self.U @ theta.T, np.zeros_like(self.known)
        free = glm_losses(self.family, eta, zero) - self.start_unlabeled
        return np.asarray(free + self._shift(theta).max(axis=1))

    def _gap(self, theta: Array, smoothing: float) -> float:
        if self.unlabeled is None:
            return 0.0
        shift = self._shift(theta)
        q = softmax(shift / smoothing, axis=1)
        return float(self.pull @ (shift.max(axis=1) - np.sum(q * shift, axis=1)))

    def _newton(
        self, theta: Array, penalty: float, smoothing: float
    ) -> tuple[Array, int, float]:
        value, gradient, hessian = self._expansion(theta, penalty, smoothing)
        n_iter = 0
        while np.abs(gradient).max() > self.tol * self.scale and n_iter < self.max_iter:
            step = -newton_direction(hessian, gradient)
            slope, size = float(gradient @ step), 1.0
            while size > 1e-10:
                moved = theta + size * step.reshape(theta.shape)
                new = self._expansion(moved, penalty, smoothing)
                closer = np.abs(new[1]).max() < 0.5 * np.abs(gradient).max()
                if new[0] <= value + 1e-4 * size * slope or (size == 1 and closer):
                    break
                size /= 2
            theta, (value, gradient, hessian) = moved, new
            n_iter += 1
        return theta, n_iter, float(np.abs(gradient).max()) / self.scale

    def _expansion(
        self, theta: Array, penalty: float, smoothing: float
    ) -> tuple[float, Array, Array]:
        ridge = np.full(theta.shape, penalty)
        if self.intercept:
            ridge[:, -1] = 0.0
        value = 0.5 * float(np.sum(ridge * theta**2))
        eta = self.offset + self.X @ theta.T
        mean = glm_mean(self.family, eta)
        losses = glm_losses(self.family, eta, self.goal) - self.start
        value += float(self.weight @ losses)
        gradient = ((mean - self.goal) * self.weight[:, None]).T @ self.X
        curvature = glm_curvature(self.family, mean) * self.weight[:, None, None]
        hessian = _assemble(self.X, curvature)
        if self.unlabeled is not None:
            eta, zero = self.known + self.U @ theta.T, np.zeros_like(self.known)
            mean, shift = glm_mean(self.family, eta), self._shift(theta)
            high = shift.max(axis=1)
            shares = np.exp((shift - high[:, None]) / smoothing)
            q = shares / shares.sum(axis=1, keepdims=True)
            smooth = high + smoothing * np.log(shares.mean(axis=1))
            free = glm_losses(self.family, eta, zero) - self.start_unlabeled
            value += float(self.pull @ (free + smooth))
            goal = q[:, 1:] if self.k == 1 else q
            gradient += ((mean - goal) * self.pull[:, None]).T @ self.U
            spread = glm_curvature(self.family, goal) / smoothing
            curvature = glm_curvature(self.family, mean) + spread
            hessian += _assemble(self.U, curvature * self.pull[:, None, None])
        gradient = (gradient + ridge * theta).ravel()
        return value, gradient, hessian + np.diag(ridge.ravel())

    def left_out(
        self, theta: Array, penalty: float, units: Array | None = None
    ) -> Array:
        r"""Return the predictors of labeled rows without their units, by one step.

        With the Hessian H of the objective, the rows :math:`X_G` of a unit as the
        derivative of its predictors, :math:`A = X_G H^{-1} X_G'`, and gradient g and
        Hessian L of its losses in the predictors,
        :math:`\eta_{-G} = \eta_G + A (I - L A)^{-1} g`.

        Parameters
        ----------
        theta : ndarray of shape (k, n_parameters)
            A solution without unlabeled rows.
        penalty : float
            Its penalty.
        units : ndarray of shape (n,), default=None
            Unit of each row. None: a row of weight w is w units, at least one.

        Returns
        -------
        eta : ndarray of shape (n, k)
            Predictors.
        """
        eta = self.offset + self.X @ theta.T
        mean = glm_mean(self.family, eta)
        taken = self.removed(units)
        slope = (mean - self.goal) * taken[:, None]
        curvature = glm_curvature(self.family, mean) * taken[:, None, None]
        hessian = self._expansion(theta, penalty, 1.0)[2]
        inverse = np.linalg.pinv(hessian, hermitian=True)
        d, k = self.X.shape[1], self.k
        blocks = inverse.reshape(k, d, k, d)
        if units is None:
            A = np.einsum("nd,adbe,ne->nab", self.X, blocks, self.X, optimize=True)
            inner = np.linalg.pinv(np.eye(k) - curvature @ A)
            return np.asarray(eta + np.einsum("nab,nbc,nc->na", A, inner, slope))
        out: Array = np.empty_like(eta)
        for unit in np.unique(units):
            rows = np.flatnonzero(units == unit)
            X, m, at = self.X[rows], len(rows) * k, np.arange(len(rows))
            A = np.einsum("nd,adbe,me->namb", X, blocks, X, optimize=True)
            A = A.reshape(m, m)
            L = np.zeros((len(rows), k, len(rows), k))
            L[at, :, at, :] = curvature[rows]
            inner = np.linalg.pinv(np.eye(m) - L.reshape(m, m) @ A)
            step = A @ inner @ slope[rows].ravel()
            out[rows] = eta[rows] + step.reshape(len(rows), k)
        return out

    def removed(self, units: Array | None) -> Array:
        """Return the weight of each row that leaves with its unit."""
        taken = np.minimum(self.weight, 1.0) if units is None else self.weight
        return np.asarray(taken)

    def n_units(self, units: Array | None) -> float:
        """Return the number of units, a row of weight w being w units without them."""
        return self.total if units is None else float(len(np.unique(units)))

    def refitted(self, penalty: float, units: Array | None = None) -> Array:
        """Return the predictors of labeled rows by fits without their units.

        Parameters
        ----------
        penalty : float
            The penalty.
        units : ndarray of shape (n,), default=None
            As for :meth:`left_out`.

        Returns
        -------
        eta : ndarray of shape (n, k)
            Predictors.
        """
        eta, weight, taken = (
            np.empty_like(self.offset),
            self.weight,
            self.removed(units),
        )
        each = np.arange(len(weight)) if units is None else units
        for unit in np.unique(each):
            rows = each == unit
            self.weight = np.where(rows, weight - taken, weight)
            theta, _ = self.solve(penalty)
            eta[rows] = self.offset[rows] + self.X[rows] @ theta.T
        self.weight = weight
        return eta

    def losses(self, eta: Array) -> Array:
        """Return the log loss of each labeled row for given predictors."""
        return glm_losses(self.family, eta, self.goal)


def _assemble(X: Array, curvature: Array) -> Array:
    """Return the sum of the Kronecker products of curvatures and x x'."""
    d, k = X.shape[1], curvature.shape[1]
    hessian = np.empty((k, d, k, d))
    for a in range(k):
        for b in range(k):
            hessian[a, :, b, :] = (X * curvature[:, a, b, None]).T @ X
    return hessian.reshape(k * d, k * d)


def source_score_weights(
    scores: Array, codes: Array, weight: Array, *, max_iter: int = 50
) -> tuple[Array, float]:
    r"""Return weights of source scores by their loss on labeled rows.

    With scores :math:`s_{ki}` of source k and :math:`\bar s` their mean,

    .. math:: \min_{\beta \ge 0, \sum \beta_k \le 1} \tfrac{n - 1}{n}
              \sum_i w_i \ell\Bigl(y_i, \sum_k \beta_k s_{ki}\Bigr)
              + \tfrac{1}{2n} \sum_i w_i \Bigl\| \sum_k \beta_k s_{ki}
              - \bar s_i \Bigr\|^2 ,

    where n is the sum of the weights: of one row the weights are equal.

    Parameters
    ----------
    scores : ndarray of shape (n_sources, n, k)
        Predictors of each source.
    codes : ndarray of shape (n,)
        Classes 0, 1, ...
    weight : ndarray of shape (n,)
        Weights of the rows.
    max_iter : int, default=50
        Quadratic programs.

    Returns
    -------
    beta : ndarray of shape (n_sources,)
        Weights.
    gap : float
        Frank-Wolfe gap, an upper bound of the objective's distance to its minimum, per
        unit of weight.
    """
    n_sources, _, k = scores.shape
    total = float(weight.sum())
    family = "binomial" if k == 1 else "multinomial"
    goal = (codes[:, None] == (np.arange(1, 2) if k == 1 else np.arange(k))) * 1.0
    mean_score, part = scores.mean(axis=0), max(total - 1.0, 0.0) / total
    # a last source of score 0 takes what the sum lacks
    every = np.concatenate([scores, np.zeros((1, *scores.shape[1:]))])
    beta = np.append(np.full(n_sources, 1 / n_sources), 0.0)

    def expand(beta: Array) -> tuple[float, Array, Array]:
        eta = np.tensordot(beta, every, axes=1)
        mean, off = glm_mean(family, eta), eta - mean_score
        value = part * float(weight @ glm_losses(family, eta, goal))
        value += 0.5 / total * float(weight @ np.sum(off**2, axis=1))
        slope = (part * (mean - goal) + off / total) * weight[:, None]
        gradient = np.tensordot(every, slope, axes=([1, 2], [0, 1]))
        curvature = part * glm_curvature(family, mean) + np.eye(k) / total
        root = np.einsum("snk,nkj->snj", every, curvature * weight[:, None, None])
        hessian = np.tensordot(root, every, axes=([1, 2], [1, 2]))
        return value, gradient, hessian

    gap = np.inf
    for _ in range(max_iter):
        value, gradient, hessian = expand(beta)
        gap = float(gradient @ beta - gradient.min()) / total
        if gap <= 1e-10:
            break
        goal_beta, _ = solve_simplex_qp(hessian, gradient - hessian @ beta)
        step, size = goal_beta - beta, 1.0
        while size > 1e-12:
            if expand(beta + size * step)[0] <= value + 1e-4 * size * (gradient @ step):
                break
            size /= 2
        beta = beta + size * step
    return beta[:-1], gap
