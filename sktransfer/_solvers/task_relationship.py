r"""Generalized linear models of several tasks whose relation is learned with them.

.. math:: \min_{\Theta, \Omega} \sum_t \Bigl[L_t(\theta_t) + \frac{r_t}{2} \|w_t\|^2
    \Bigr] + \frac{\lambda}{2} \Bigl[\mathrm{tr}(W' \Omega^{-1} W)
    + \epsilon\, \mathrm{tr}(\Omega^{-1})\Bigr], \quad
    \Omega \succeq 0,\; \mathrm{tr}\, \Omega = 1,

with the mean loss :math:`L_t` of task t and the slopes :math:`w_t` in row t of W. The
program is convex in both. For given W the best :math:`\Omega` is
:math:`S / \mathrm{tr}\, S`, :math:`S = (W W' + \epsilon I)^{1/2}`, which leaves
:math:`\frac{\lambda}{2} (\mathrm{tr}\, S)^2`, for :math:`\epsilon = 0` the squared
trace norm of W.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg
from scipy.sparse.linalg import LinearOperator, cg

from sktransfer._solvers.glm import (
    fit_glm,
    glm_expansion,
    glm_losses,
    newton_direction,
)

Array = npt.NDArray[Any]

#: largest number of unknowns whose Newton system is solved at once
_DIRECT = 1200


@dataclass(frozen=True)
class GlmRows:
    """Rows of a task.

    Attributes
    ----------
    family : {"gaussian", "binomial", "multinomial", "poisson"}
        Its loss.
    design : ndarray of shape (n, width)
        Features; a column of ones comes last.
    goal : ndarray of shape (n, n_logits)
        Labels, or indicators of classes.
    weight : ndarray of shape (n,)
        Weights of sum 1.
    ridge : float
        The factor r of the squared slopes.
    """

    family: str
    design: Array
    goal: Array
    weight: Array
    ridge: float


@dataclass(frozen=True)
class RelationInfo:
    """How the alternation ended.

    Attributes
    ----------
    objective : ndarray of shape (n_iter + 1,)
        Value of the smoothed program with the best matrix after each step.
    kkt_residual : float
        Largest entry of the gradient, relative to the largest one at 0.
    n_iter : int
        Number of steps.
    converged : bool
        Whether the residual is within the tolerance.
    """

    objective: Array
    kkt_residual: float
    n_iter: int
    converged: bool


def relation_of(slopes: Array, epsilon: float) -> tuple[Array, Array, float]:
    r"""Return the best relation matrix for given slopes.

    Parameters
    ----------
    slopes : ndarray of shape (n_tasks, n_slopes)
        W.
    epsilon : float
        Smoothing, positive unless W has full row rank.

    Returns
    -------
    omega, inverse : ndarray of shape (n_tasks, n_tasks)
        The matrix, of trace 1, and its inverse.
    trace : float
        The trace of :math:`(W W' + \epsilon I)^{1/2}`.
    """
    m = len(slopes)
    values, vectors = linalg.eigh(slopes @ slopes.T)
    roots = np.sqrt(np.maximum(values, 0.0) + epsilon)
    trace = float(roots.sum())
    if trace == 0.0:
        return np.eye(m) / m, np.eye(m) * m, 0.0
    share = roots / trace
    omega = (vectors * share) @ vectors.T
    inverse = (vectors / share) @ vectors.T
    return omega, inverse, trace


def solve_task_relationship(
    tasks: list[GlmRows],
    strength: float,
    *,
    n_intercepts: int,
    smoothing: float = 1e-4,
    omega: Array | None = None,
    start: Array | None = None,
    tol: float = 1e-4,
    max_iter: int = 200,
) -> tuple[Array, Array, RelationInfo]:
    r"""Alternate the relation matrix and damped Newton steps of all tasks.

    Parameters
    ----------
    tasks : list of GlmRows
        The tasks, of one family and width.
    strength : float
        :math:`\lambda`; 0 fits every task for itself.
    n_intercepts : int
        Number of last columns of the designs that no penalty counts, 0 or 1.
    smoothing : float, default=1e-4
        :math:`\epsilon` relative to the mean squared length of the slopes of the fits
        without a learned relation.
    omega : ndarray of shape (n_tasks, n_tasks), default=None
        A given relation matrix, which stays.
    start : ndarray of shape (n_tasks, n_logits, width), default=None
        Where to start.
    tol : float, default=1e-4
        Relative gradient that counts as solved.
    max_iter : int, default=200
        Largest number of steps.

    Returns
    -------
    theta : ndarray of shape (n_tasks, n_logits, width)
        Parameters.
    omega : ndarray of shape (n_tasks, n_tasks)
        The relation matrix.
    info : RelationInfo
        Certificate.
    """
    m, n_logits, width = len(tasks), tasks[0].goal.shape[1], tasks[0].design.shape[1]
    slopes = np.tile(np.arange(width) < width - n_intercepts, n_logits)
    equal = np.eye(m) / m
    fits = [_alone(task, strength * m, slopes) for task in tasks]
    theta = np.stack([fit for fit, _ in fits]).reshape(m, -1)
    epsilon = smoothing * float(np.mean(np.sum(theta[:, slopes] ** 2, axis=1)))
    if strength == 0:
        found = relation_of(theta[:, slopes], epsilon)[0] if omega is None else omega
        residual = max(residual for _, residual in fits)
        values = [_expand(t, p, slopes)[0] for t, p in zip(tasks, theta, strict=True)]
        both = np.full(2, float(np.sum(values)))
        info = RelationInfo(both, residual, 1, residual <= 1e-6)
        return theta.reshape(m, n_logits, width), found, info
    zero = np.zeros_like(theta)
    scale = np.abs(_gradient(tasks, zero, slopes)[1]).max() or 1.0
    if start is not None:
        theta = start.reshape(m, -1)
    fixed = None if omega is None else linalg.inv(omega)

    def relation(theta: Array) -> tuple[Array, Array, float]:
        """Return the matrix, its inverse and the value of the penalty."""
        W = theta[:, slopes]
        if fixed is not None and omega is not None:
            penalty = np.sum(W * (fixed @ W)) + epsilon * np.trace(fixed)
            return omega, fixed, 0.5 * strength * float(penalty)
        found, inverse, trace = relation_of(W, epsilon)
        return found, inverse, 0.5 * strength * trace**2

    def program(theta: Array) -> float:
        return _value(tasks, theta, slopes) + relation(theta)[2]

    path: list[float] = []
    residual, memory = np.inf, _Memory()
    for _ in range(max_iter + 1):
        found, inverse, penalty = relation(theta)
        value, gradient, hessians = _gradient(tasks, theta, slopes)
        path.append(value + penalty)
        gradient[:, slopes] += strength * inverse @ theta[:, slopes]
        residual = float(np.abs(gradient).max()) / scale
        if residual <= tol or len(path) > max_iter:
            break
        step = -_newton(hessians, strength * inverse, slopes, gradient, n_logits)
        plain = _search(program, theta, step, path[-1], gradient)
        mixed = memory.mix(theta, plain)
        theta = plain if program(mixed) > program(plain) else mixed
    n_iter = max(len(path) - 1, 1)
    info = RelationInfo(np.array(path), residual, n_iter, residual <= tol)
    final = equal if found is None else found
    return theta.reshape(m, n_logits, width), final, info


def _alone(task: GlmRows, extra: float, slopes: Array) -> tuple[Array, float]:
    prior = np.diag((task.ridge + extra) * slopes.astype(np.float64))
    theta, residual, _ = fit_glm(
        task.family, task.design, task.goal, task.weight,
        prior=prior, pull=np.zeros(len(slopes)),
    )  # fmt: skip
    return theta, residual


def _expand(task: GlmRows, theta: Array, slopes: Array) -> tuple[float, Array, Array]:
    """Return value, gradient and Hessian of the penalized mean loss of a task."""
    shape = task.goal.shape[1], task.design.shape[1]
    value, gradient, hessian = glm_expansion(
        task.family, task.design, task.goal, task.weight, theta.reshape(shape)
    )
    penalty = task.ridge * slopes
    value += 0.5 * float(penalty @ theta**2)
    return value, gradient + penalty * theta, hessian + np.diag(penalty)


def _gradient(
    tasks: list[GlmRows], theta: Array, slopes: Array
) -> tuple[float, Array, list[Array]]:
    parts = [_expand(t, p, slopes) for t, p in zip(tasks, theta, strict=True)]
    value = float(np.sum([part[0] for part in parts]))
    return value, np.stack([part[1] for part in parts]), [part[2] for part in parts]


def _value(tasks: list[GlmRows], theta: Array, slopes: Array) -> float:
    """Return the penalized mean losses of all tasks."""
    total = 0.0
    for task, own in zip(tasks, theta, strict=True):
        shape = task.goal.shape[1], task.design.shape[1]
        eta = task.design @ own.reshape(shape).T
        total += float(task.weight @ glm_losses(task.family, eta, task.goal))
        total += 0.5 * task.ridge * float(slopes @ own**2)
    return total


def _search(
    program: Callable[[Array], float], theta: Array, step: Array, value: float,
    gradient: Array,
) -> Array:  # fmt: skip
    """Shorten a step until the smoothed program falls."""
    slope, size = float(np.sum(gradient * step)), 1.0
    while size > 1e-8:
        new = theta + size * step
        if program(new) <= value + 1e-4 * size * slope + 1e-14 * abs(value):
            return new
        size /= 2
    return theta


class _Memory:
    """Mix the last steps so that their remainder is least (Anderson)."""

    def __init__(self, depth: int = 8) -> None:
        self.depth = depth
        self.points: list[Array] = []
        self.images: list[Array] = []

    def mix(self, point: Array, image: Array) -> Array:
        """Return the mixture of the images of the last points."""
        self.points = [*self.points[-self.depth :], point.ravel()]
        self.images = [*self.images[-self.depth :], image.ravel()]
        if len(self.points) == 1:
            return image
        G = np.array(self.images)
        F = G - np.array(self.points)
        moves, changes = np.diff(G, axis=0), np.diff(F, axis=0)
        share = np.linalg.lstsq(changes.T, F[-1], rcond=1e-10)[0]
        mixed: Array = (G[-1] - share @ moves).reshape(point.shape)
        return mixed


def _newton(
    hessians: list[Array], coupling: Array, slopes: Array, gradient: Array,
    n_logits: int,
) -> Array:  # fmt: skip
    """Solve the Newton system of all tasks: blocks, and a coupling of the slopes."""
    m, size = gradient.shape
    # the common shift of several logits changes nothing: it counts as determined
    shift: Array | float = 0.0
    if n_logits > 1:
        width = size // n_logits
        ones = np.kron(np.ones((n_logits, n_logits)) / n_logits, np.eye(width))
        mean = float(np.mean([np.trace(H) for H in hessians])) / size or 1.0
        shift = mean * ones
    blocks = np.stack([H + shift for H in hessians])
    if m * size <= _DIRECT:
        full = np.zeros((m, size, m, size))
        inside = np.diag(slopes.astype(np.float64))
        for t in range(m):
            full[t, :, t] += blocks[t]
            for s in range(m):
                full[t, :, s] += coupling[t, s] * inside
        matrix = full.reshape(m * size, m * size)
        unit = 1.0 / np.sqrt(np.maximum(np.diagonal(matrix), 1e-300))
        try:
            factor = linalg.cho_factor(matrix * unit * unit[:, None])
            solution = unit * linalg.cho_solve(factor, unit * gradient.ravel())
        except linalg.LinAlgError:
            solution = newton_direction(matrix, gradient.ravel())
        return np.asarray(solution).reshape(m, size)
    return _by_cg(blocks, coupling, slopes, gradient)


def _by_cg(blocks: Array, coupling: Array, slopes: Array, gradient: Array) -> Array:
    """Solve by conjugate gradients, preconditioned by the system of the mean block."""
    m, size = gradient.shape
    mean = blocks.mean(axis=0)
    inner, Q = linalg.eigh(mean[np.ix_(slopes, slopes)])
    outer, U = linalg.eigh(coupling)
    denominator = np.maximum(outer, 0.0)[:, None] + np.maximum(inner, 0.0)
    denominator = np.maximum(denominator, 1e-12 * denominator.max())
    rest = np.maximum(np.diagonal(mean)[~slopes], 1e-12 * np.abs(mean).max())

    def apply(flat: Array) -> Array:
        x = flat.reshape(m, size)
        out: Array = np.einsum("tij,tj->ti", blocks, x)
        out[:, slopes] += coupling @ x[:, slopes]
        return np.asarray(out.ravel())

    def precondition(flat: Array) -> Array:
        x = flat.reshape(m, size)
        out = np.empty_like(x)
        out[:, slopes] = U @ ((U.T @ x[:, slopes] @ Q) / denominator) @ Q.T
        out[:, ~slopes] = x[:, ~slopes] / rest
        return out.ravel()

    shape = (m * size, m * size)
    solution, _ = cg(
        LinearOperator(shape, matvec=apply),
        gradient.ravel(),
        M=LinearOperator(shape, matvec=precondition),
        rtol=1e-8,
        maxiter=500,
    )
    return np.asarray(solution).reshape(m, size)
