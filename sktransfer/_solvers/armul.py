r"""Adaptive and robust multi-task learning (ARMUL).

.. math:: \min_{\theta_j, \gamma_j} \sum_j n_j \left[ f_j(\theta_j)
          + \lambda_j \|\theta_j - \gamma_j\|_2 \right]

The centers :math:`\gamma_j` are all equal (vanilla), one of a few (clustered), or in a
subspace of low dimension (low rank). Minimized over :math:`\theta_j` first, each term
is a smooth convex function :math:`F_j` of :math:`\gamma_j`, whose gradient is that of
:math:`f_j` at :math:`\theta_j`. So the vanilla form is solved by Newton's method, the
clustered one by assigning each task to the center of least :math:`F_j` in turn with
that, and the low-rank one by a quasi-Newton method in the factors. The last two are not
convex: their solutions are stationary, the best of the starts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy import optimize

from sktransfer._solvers.glm import glm_expansion, newton_direction

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ArmulInfo:
    """How well the program was solved.

    Attributes
    ----------
    kkt_residual : float
        Largest violation of the optimality conditions, relative to the size of the
        gradients at 0: the gradient in the centers, and for each task the distance of
        its gradient from the subdifferential of the norm.
    n_iter : int
        Steps of Newton's or the quasi-Newton method.
    converged : bool
        Whether ``kkt_residual <= tol``.
    objective : float
        Value of the program.
    labels : ndarray of shape (n_tasks,)
        Cluster of each task; 0 of other forms.
    """

    kkt_residual: float
    n_iter: int
    converged: bool
    objective: float = np.nan
    labels: Array = field(default_factory=lambda: np.zeros(0, dtype=int))


class ArmulTask(Protocol):
    """Mean loss of a task."""

    @property
    def size(self) -> int:
        """Number of parameters."""

    def expand(self, theta: Array) -> tuple[float, Array, Array]:
        """Return value, gradient and Hessian at ``theta``."""

    def minimize(self, lam: float, center: Array, start: Array) -> Array:
        """Return the minimizer of the loss plus ``lam`` times the distance."""


class QuadraticTask:
    r"""The loss :math:`\tfrac12 \theta' H \theta - m'\theta`.

    Parameters
    ----------
    H : ndarray of shape (d, d)
        Positive semidefinite; m must be in its range.
    m : ndarray of shape (d,)
        Linear term.
    """

    def __init__(self, H: Array, m: Array) -> None:
        self.H, self.m = H, m
        self.values, self.Q = np.linalg.eigh(H)

    @property
    def size(self) -> int:
        """Number of parameters."""
        return len(self.m)

    def expand(self, theta: Array) -> tuple[float, Array, Array]:
        """Return value, gradient and Hessian at ``theta``."""
        product = self.H @ theta
        value = float(0.5 * theta @ product - self.m @ theta)
        return value, product - self.m, self.H

    def minimize(self, lam: float, center: Array, start: Array) -> Array:
        """Return the minimizer of the loss plus ``lam`` times the distance."""
        gradient = self.Q.T @ (self.H @ center - self.m)
        return _solve_in_basis(self.values, self.Q, gradient, lam, center)


class GlmTask:
    r"""Mean loss of a generalized linear model with a ridge penalty.

    Parameters
    ----------
    family : {"binomial", "multinomial", "poisson", "gaussian"}
        The family.
    X : ndarray of shape (n, d)
        Samples.
    goal : ndarray of shape (n, n_logits)
        Labels, indicators for classes.
    weight : ndarray of shape (n,)
        Weights.
    ridge : ndarray of shape (n_logits * d,)
        Ridge penalties of the parameters beside the mean loss.
    """

    def __init__(
        self, family: str, X: Array, goal: Array, weight: Array, ridge: Array
    ) -> None:
        self.rows = family, X, goal, weight / weight.sum()
        self.ridge = ridge
        self.shape = (goal.shape[1], X.shape[1])
        self.scale = float(np.abs(self.expand(np.zeros(self.size))[1]).sum()) or 1.0

    @property
    def size(self) -> int:
        """Number of parameters."""
        return int(self.shape[0] * self.shape[1])

    def expand(self, theta: Array) -> tuple[float, Array, Array]:
        """Return value, gradient and Hessian at ``theta``."""
        value, gradient, hessian = glm_expansion(*self.rows, theta.reshape(self.shape))
        value += float(0.5 * self.ridge @ theta**2)
        return value, gradient + self.ridge * theta, hessian + np.diag(self.ridge)

    def minimize(self, lam: float, center: Array, start: Array) -> Array:
        """Return the minimizer of the loss plus ``lam`` times the distance."""
        gradient = self.expand(center)[1]
        if np.linalg.norm(gradient) <= lam:
            return center
        theta = start
        value, gradient, hessian = self.expand(theta)
        residual = _distance(gradient, theta, center, lam)
        stalled = False
        for _ in range(100):
            if residual <= 1e-13 * self.scale or stalled:
                break
            if lam:
                m = hessian @ theta - gradient
                new = solve_task(hessian, m, lam, center)
            else:
                new = theta - newton_direction(hessian, gradient)
            step, size = new - theta, 1.0
            far = lam * float(np.linalg.norm(theta - center)) if lam else 0.0
            near = lam * float(np.linalg.norm(new - center)) if lam else 0.0
            slope = float(gradient @ step) + near - far
            while size > 1e-10:
                trial = theta + size * step
                expanded = self.expand(trial)
                gap = lam * float(np.linalg.norm(trial - center)) if lam else 0.0
                found = _distance(expanded[1], trial, center, lam)
                if expanded[0] + gap <= value + far + 1e-4 * size * slope or (
                    size == 1 and found < 0.5 * residual  # rounding hides the decrease
                ):
                    break
                size /= 2
            else:
                break
            stalled = found > 0.5 * residual and found <= 1e-10 * self.scale
            theta, residual = trial, found
            value, gradient, hessian = expanded
        return theta


def expanded(task: ArmulTask) -> QuadraticTask:
    """Replace a task by the quadratic at its own fit.

    Parameters
    ----------
    task : ArmulTask
        The task.

    Returns
    -------
    quadratic : QuadraticTask
        Its expansion.
    """
    if isinstance(task, QuadraticTask):
        return task
    zero = np.zeros(task.size)
    own = task.minimize(0.0, zero, zero)
    _, gradient, hessian = task.expand(own)
    return QuadraticTask(hessian, hessian @ own - gradient)


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
    return QuadraticTask(H, m).minimize(lam, center, center)


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
    if r <= 1e-13 * float(np.linalg.norm(center)):
        return center  # nearer than rounding can tell a direction
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
    tasks = [QuadraticTask(h, v) for h, v in zip(H, m, strict=True)]
    theta, centers, info = solve_vanilla(tasks, sizes, lams, tol=tol, max_iter=max_iter)
    return theta, centers[0], info


def solve_vanilla(
    tasks: Sequence[ArmulTask], sizes: Array, lams: Array, *,
    start: Array | None = None, tol: float = 1e-9, max_iter: int = 200,
) -> tuple[Array, Array, ArmulInfo]:  # fmt: skip
    """Solve the program with one center by Newton's method.

    Parameters
    ----------
    tasks : sequence of ArmulTask
        Their mean losses.
    sizes : ndarray of shape (n_tasks,)
        Numbers of rows.
    lams : ndarray of shape (n_tasks,)
        Penalties; infinity gives all tasks the center.
    start : ndarray of shape (d,), default=None
        Where the center starts. None: the pooled fit of the expansions at 0.
    tol : float, default=1e-9
        Relative residual that counts as solved.
    max_iter : int, default=200
        Newton steps.

    Returns
    -------
    theta : ndarray of shape (n_tasks, d)
        Parameters of the tasks.
    centers : ndarray of shape (n_tasks, d)
        The center of each task, here the same.
    info : ArmulInfo
        Certificate.
    """
    scale, center = _scale_and_start(tasks, sizes)
    if start is not None:
        center = start
    if len(tasks) == 1:  # its own center
        center = tasks[0].minimize(0.0, center, center)
    theta = np.array([center] * len(tasks))

    def solve(center: Array, theta: Array) -> tuple[Array, list[Any], float]:
        theta = np.array([
            task.minimize(float(lam), center, t)
            for task, lam, t in zip(tasks, lams, theta, strict=True)
        ])  # fmt: skip
        expansions = [task.expand(t) for task, t in zip(tasks, theta, strict=True)]
        return theta, expansions, _objective(expansions, theta, center, sizes, lams)

    theta, expansions, value = solve(center, theta)
    n_iter = 0
    for n_iter in range(max_iter + 1):
        gradient = sizes @ np.array([e[1] for e in expansions])
        if np.abs(gradient).max() <= 0.1 * tol * scale or n_iter == max_iter:
            break
        hessian = np.zeros((len(center), len(center)))
        for k, (_, _, H) in enumerate(expansions):
            hessian += sizes[k] * _curvature(H, theta[k], center, float(lams[k]))
        ridge = 1e-10 * max(float(np.trace(hessian)) / len(center), 1e-300)
        step = -np.linalg.solve(hessian + ridge * np.eye(len(center)), gradient)
        slope, size = float(gradient @ step), 1.0
        while size > 1e-12:
            new = solve(center + size * step, theta)
            if new[2] <= value + 1e-4 * size * slope:
                break
            found = sizes @ np.array([e[1] for e in new[1]])
            if size == 1 and np.abs(found).max() < 0.5 * np.abs(gradient).max():
                break  # near the optimum rounding hides the decrease
            size /= 2
        if size <= 1e-12:
            break
        center = center + size * step
        theta, expansions, value = new
    gradients = np.array([e[1] for e in expansions])
    centers = np.array([center] * len(tasks))
    residual = float(np.abs(sizes @ gradients).max())
    residual = max(residual, _task_residual(gradients, theta, centers, sizes, lams))
    residual /= scale
    return (
        theta, centers,
        ArmulInfo(residual, n_iter, residual <= tol, value, np.zeros(len(tasks), int)),
    )  # fmt: skip


def solve_clustered(
    tasks: Sequence[ArmulTask], sizes: Array, lams: Array, n_clusters: int, *,
    labels: Array | None = None, n_init: int = 3, tol: float = 1e-9,
    max_iter: int = 50,
) -> tuple[Array, Array, ArmulInfo]:  # fmt: skip
    r"""Solve the program with a few centers.

    Each start takes the own fit of a task as the first center, the largest tasks
    first, and then the own fit of the task that gains most. From there tasks go to the
    center of least :math:`F_j` and the centers are solved for, which never raises the
    objective, until no task moves.

    Parameters
    ----------
    tasks : sequence of ArmulTask
        Their mean losses.
    sizes, lams : ndarray of shape (n_tasks,)
        Numbers of rows; penalties.
    n_clusters : int
        Largest number of centers.
    labels : ndarray of shape (n_tasks,), default=None
        Clusters to start from, beside the ``n_init`` starts.
    n_init : int, default=3
        Number of starts.
    tol : float, default=1e-9
        Relative residual that counts as solved.
    max_iter : int, default=50
        Rounds of each start.

    Returns
    -------
    theta : ndarray of shape (n_tasks, d)
        Parameters of the tasks.
    centers : ndarray of shape (n_tasks, d)
        The center of each task.
    info : ArmulInfo
        Certificate for the clusters that were found, and their labels.
    """
    everything = np.arange(len(tasks))
    n_clusters = min(n_clusters, len(tasks))
    best: tuple[Array, Array, ArmulInfo] | None = None
    starts = [] if labels is None else [labels]
    for first in np.argsort(-sizes, kind="stable")[:n_init]:
        starts.append(_farthest_first(tasks, sizes, lams, n_clusters, int(first)))
    for start in starts:
        moved, seen = np.asarray(start), -np.ones(len(tasks), dtype=int)
        rounds = 0
        theta = np.zeros((len(tasks), tasks[0].size))
        centers = theta.copy()
        parts: list[ArmulInfo] = []
        known: dict[int, Array] = {}
        while not np.array_equal(moved, seen) and rounds < max_iter:
            seen, rounds, parts = moved, rounds + 1, []
            for c in np.unique(seen):
                own = everything[seen == c]
                theta[own], centers[own], info = solve_vanilla(
                    [tasks[k] for k in own], sizes[own], lams[own],
                    start=known.get(int(c)), tol=tol,
                )  # fmt: skip
                known[int(c)] = centers[own[0]]
                parts.append(info)
            moved = _assign(tasks, lams, known, seen)
        value = sum(part.objective for part in parts)
        if best is None or value < best[2].objective - 1e-12 * abs(value):
            residual = max(part.kkt_residual for part in parts)
            steps = rounds + sum(part.n_iter for part in parts)
            labels = np.unique(seen, return_inverse=True)[1]
            done = residual <= tol and np.array_equal(moved, seen)
            best = (
                theta, centers,
                ArmulInfo(residual, steps, done, value, labels.astype(int)),
            )  # fmt: skip
    assert best is not None
    return best


def solve_low_rank(
    tasks: Sequence[ArmulTask], sizes: Array, lams: Array, rank: int, *,
    start: tuple[Array, Array] | None = None, tol: float = 1e-6, max_iter: int = 2000,
) -> tuple[Array, Array, ArmulInfo]:  # fmt: skip
    r"""Solve the program with centers :math:`\gamma_j = B z_j` in a subspace.

    Starts from the leading singular vectors of the own fits, weighted by the roots of
    their sizes.

    Parameters
    ----------
    tasks : sequence of ArmulTask
        Their mean losses.
    sizes, lams : ndarray of shape (n_tasks,)
        Numbers of rows; penalties.
    rank : int
        Dimension of the subspace.
    start : tuple of ndarray of shape (d, rank) and (n_tasks, rank), default=None
        Factors to start from instead.
    tol : float, default=1e-6
        Relative residual that counts as solved.
    max_iter : int, default=2000
        Steps.

    Returns
    -------
    theta : ndarray of shape (n_tasks, d)
        Parameters of the tasks.
    centers : ndarray of shape (n_tasks, d)
        Their centers, a matrix of at most this rank.
    info : ArmulInfo
        Certificate: stationarity in both factors.
    """
    scale, pooled = _scale_and_start(tasks, sizes)
    K, d = len(tasks), tasks[0].size
    rank = min(rank, K, d)
    own = np.array([task.minimize(0.0, pooled, pooled) for task in tasks])
    state = {"theta": own}

    def factors(x: Array) -> tuple[Array, Array]:
        return x[: d * rank].reshape(d, rank), x[d * rank :].reshape(K, rank)

    def parts(centers: Array) -> tuple[float, Array]:
        theta = np.array([
            task.minimize(float(lam), g, t)
            for task, lam, g, t in zip(
                tasks, lams, centers, state["theta"], strict=True
            )
        ])  # fmt: skip
        state["theta"] = theta
        expansions = [task.expand(t) for task, t in zip(tasks, theta, strict=True)]
        value = _objective(expansions, theta, centers, sizes, lams)
        return value, np.array([e[1] for e in expansions])

    def function(x: Array) -> tuple[float, Array]:
        B, Z = factors(x)
        value, gradients = parts(Z @ B.T)
        pulls = sizes[:, None] * gradients / scale
        return value / scale, np.concatenate(
            [(pulls.T @ Z).ravel(), (pulls @ B).ravel()]
        )

    if start is None:
        roots = np.sqrt(sizes)[:, None]
        U, s, V = np.linalg.svd(roots * own, full_matrices=False)
        # balanced, so that both factors have gradients of like size
        start = V[:rank].T * np.sqrt(s[:rank]), U[:, :rank] * np.sqrt(s[:rank]) / roots
    x, n_iter = np.concatenate([start[0].ravel(), start[1].ravel()]), 0
    for _ in range(5):  # restarts forget the curvature that rounding has spoiled
        done = optimize.minimize(
            function, x, jac=True, method="L-BFGS-B",
            options={"maxiter": max_iter, "maxfun": 2 * max_iter, "ftol": 0.0,
                     "gtol": 0.1 * tol, "maxcor": 30},
        )  # fmt: skip
        x, n_iter = done.x, n_iter + int(done.nit)
        if np.abs(done.jac).max() <= tol or n_iter >= max_iter:
            break
    B, Z = factors(x)
    centers = Z @ B.T
    value, gradients = parts(centers)
    theta = state["theta"]
    residual = float(np.abs(function(x)[1]).max())
    residual = max(
        residual, _task_residual(gradients, theta, centers, sizes, lams) / scale
    )
    return (
        theta, centers,
        ArmulInfo(residual, n_iter, residual <= tol, value, np.zeros(K, dtype=int)),
    )  # fmt: skip


def _scale_and_start(tasks: Sequence[ArmulTask], sizes: Array) -> tuple[float, Array]:
    """Size of the gradients at 0, and the pooled fit of the expansions there."""
    expansions = [task.expand(np.zeros(task.size)) for task in tasks]
    m = -np.array([e[1] for e in expansions])
    H = np.einsum("k,kij->ij", sizes, np.array([e[2] for e in expansions]))
    return float(np.sum(sizes[:, None] * np.abs(m))) or 1.0, _least_squares(
        H, sizes @ m
    )


def _farthest_first(
    tasks: Sequence[ArmulTask], sizes: Array, lams: Array, n_clusters: int, first: int
) -> Array:
    """Own fits as centers, each of the task that gains most by it."""
    zero = np.zeros(tasks[0].size)
    own = [task.minimize(0.0, zero, zero) for task in tasks]
    floor = np.array([t.expand(o)[0] for t, o in zip(tasks, own, strict=True)])
    chosen = [first]
    costs = _costs(tasks, lams, own[first])[:, None]
    while len(chosen) < n_clusters:
        gains = sizes * (costs.min(axis=1) - floor)
        gains[chosen] = -np.inf
        chosen.append(int(np.argmax(gains)))
        costs = np.column_stack([costs, _costs(tasks, lams, own[chosen[-1]])])
    return np.asarray(costs.argmin(axis=1))


def _costs(tasks: Sequence[ArmulTask], lams: Array, center: Array) -> Array:
    """Return what each task pays for this center."""
    costs = np.empty(len(tasks))
    for k, (task, lam) in enumerate(zip(tasks, lams, strict=True)):
        theta = task.minimize(float(lam), center, center)
        gap = float(np.linalg.norm(theta - center))
        costs[k] = task.expand(theta)[0] + (lam * gap if gap else 0.0)
    return costs


def _assign(
    tasks: Sequence[ArmulTask], lams: Array, centers: dict[int, Array], current: Array
) -> Array:
    """Cluster of each task: the cheapest one, the present one among equals."""
    names = np.array(sorted(centers))
    costs = np.column_stack([_costs(tasks, lams, centers[int(c)]) for c in names])
    present = costs[np.arange(len(tasks)), np.searchsorted(names, current)]
    better = costs.min(axis=1) < present - 1e-10 * np.maximum(np.abs(present), 1e-300)
    return np.asarray(np.where(better, names[costs.argmin(axis=1)], current))


def _objective(
    expansions: list[Any], theta: Array, centers: Array, sizes: Array, lams: Array
) -> float:
    gaps = np.linalg.norm(theta - centers, axis=1)
    distances = [lam * gap if gap else 0.0 for lam, gap in zip(lams, gaps, strict=True)]
    return float(sizes @ (np.array([e[0] for e in expansions]) + distances))


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


def _distance(gradient: Array, theta: Array, center: Array, lam: float) -> float:
    """How far the gradient of a task is from what its penalty can balance."""
    gap = center - theta
    r = float(np.linalg.norm(gap))
    if r == 0:
        return max(float(np.linalg.norm(gradient)) - lam, 0.0)
    return float(np.linalg.norm(gradient - (lam * gap / r if lam else 0.0)))


def _task_residual(
    gradients: Array, theta: Array, centers: Array, sizes: Array, lams: Array
) -> float:
    return max(
        float(n) * _distance(g, t, c, float(lam))
        for g, t, c, n, lam in zip(gradients, theta, centers, sizes, lams, strict=True)
    )


def _least_squares(H: Array, m: Array) -> Array:
    return np.asarray(np.linalg.lstsq(H, m, rcond=1e-12)[0])
