r"""The programs of UOWQ and OTQMS: weights and numbers of rows of least expected KL."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg
from scipy.optimize import nnls

from sktransfer._solvers.simplex_qp import (
    Solver,
    check_solver,
    solve_by_clarabel,
)

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class UOWQResult:
    """Weights of sources and what they are expected to achieve.

    Parameters
    ----------
    weights : ndarray of shape (n_sources,)
        Weight of every row of a source, relative to a target row, in [0, 1] where no
        two sources make up for each other's bias.
    proportions : ndarray of shape (n_sources,)
        Share of each source in the transferred quantity; they sum to 1.
    transfer_quantity : float
        Effective number of transferred rows, the sum of weight times rows.
    kl : float
        Predicted Kullback-Leibler divergence of the weighted fit.
    kl_target_only : float
        The same of the fit on the target alone.
    discrepancy : float
        Squared distance, per parameter, between the mixture of the source parameters
        and the target parameter, after the noise correction.
    """

    weights: Array
    proportions: Array
    transfer_quantity: float
    kl: float
    kl_target_only: float
    discrepancy: float


def solve_uowq(
    root_differences: Array,
    n_target: float,
    source_sizes: Array,
    n_parameters: float,
    *,
    noise_correction: bool = False,
    solver: Solver = "auto",
) -> UOWQResult:
    r"""Solve for the weights, given :math:`J^{1/2} \Theta`.

    Parameters
    ----------
    root_differences : ndarray of shape (m, n_sources)
        Any matrix :math:`P` with :math:`P^\top P = \Theta^\top J \Theta`; an infinite
        column marks a source that cannot be used.
    n_target : float
        Number of labeled target rows.
    source_sizes : ndarray of shape (n_sources,)
        Rows of each source, or the sums of their weights.
    n_parameters : float
        Number of parameters :math:`d`.
    noise_correction : bool, default=False
        Whether to subtract what the noise of the parameters adds to :math:`t`.
    solver : {"auto", "cvxpy"}, default="auto"
        "auto" solves the equal nonnegative least-squares problem by an active set,
        "cvxpy" has CLARABEL solve it; both are exact on the support.

    Returns
    -------
    result : UOWQResult
        The solution.
    """
    check_solver(solver)
    usable = np.isfinite(root_differences).all(axis=0)
    P = root_differences[:, usable] / np.sqrt(n_parameters)
    sizes = source_sizes[usable]
    beta = np.zeros(len(source_sizes))
    if usable.any():
        beta[usable] = np.sqrt(sizes) * _nonnegative(P * np.sqrt(sizes), sizes, solver)
    kl_target_only = n_parameters / (2 * n_target)
    total = beta.sum()
    if not total > 0:
        zeros = np.zeros(len(beta))
        return UOWQResult(zeros, zeros, 0.0, kl_target_only, kl_target_only, np.inf)
    alpha = beta / total
    variance = np.sum(alpha**2 / source_sizes)
    discrepancy = np.sum((P @ alpha[usable]) ** 2)
    if noise_correction:
        discrepancy = max(discrepancy - 1 / n_target - variance, 0.0)
    s = 1 / (variance + discrepancy)
    return UOWQResult(
        weights=s * alpha / source_sizes,
        proportions=alpha,
        transfer_quantity=float(s),
        kl=float(n_parameters / (2 * (n_target + s))),
        kl_target_only=float(kl_target_only),
        discrepancy=float(discrepancy),
    )


def _nonnegative(scaled: Array, sizes: Array, solver: Solver) -> Array:
    r"""Minimize :math:`\|(I; B) u - (\sqrt n; 0)\|` over :math:`u \ge 0`.

    The columns of ``scaled`` are :math:`B`, and :math:`u_k = \sqrt{n_k} w_k`.
    """
    K, b = len(sizes), np.sqrt(sizes)
    if K == 1:
        closed: Array = b / (1 + np.sum(scaled**2))
        return closed
    if len(scaled) > K:
        scaled = np.asarray(np.linalg.qr(scaled, mode="r"))
    A = np.vstack([np.eye(K), scaled])
    goal = np.concatenate([b, np.zeros(len(scaled))])
    if solver == "auto":
        u, _ = nnls(A, goal, maxiter=30 * K)
        return np.asarray(u)
    import cvxpy

    cp: Any = cvxpy  # its stubs hide the atoms
    # in units in which the goal and every column of A have norm 1
    unit, size = 1 / linalg.norm(A, axis=0), linalg.norm(goal)
    v = cp.Variable(K, nonneg=True)
    solve_by_clarabel(
        cp.Problem(cp.Minimize(cp.sum_squares((A * unit) @ v - goal / size)))
    )
    found = np.maximum(np.asarray(v.value), 0.0)
    support = found > unit * (A.T @ (A @ (unit * found) - goal / size))
    u = np.zeros(K)
    u[support] = linalg.lstsq(A[:, support] * unit[support], goal)[0] * unit[support]
    return np.maximum(u, 0.0)


def optimal_quantities(
    root_differences: Array, n_target: float, source_sizes: Array, n_parameters: float
) -> tuple[Array, float]:
    r"""Minimize the KL expression of unit weights over the numbers of rows.

    Parameters
    ----------
    root_differences : ndarray of shape (m, n_sources)
        Any matrix :math:`P` with :math:`P^\top P = \Theta^\top J \Theta`; an infinite
        column marks a source that cannot be used.
    n_target : float
        Number of labeled target rows.
    source_sizes : ndarray of shape (n_sources,)
        Rows of each source, or the sums of their weights.
    n_parameters : float
        Number of parameters :math:`d`.

    Returns
    -------
    quantities : ndarray of shape (n_sources,)
        Real numbers of rows between 0 and the size of the source.
    kl : float
        The divergence that they predict.
    """
    import cvxpy

    cp: Any = cvxpy  # its stubs hide the atoms
    usable = np.isfinite(root_differences).all(axis=0)
    quantities = np.zeros(len(source_sizes))
    if not usable.any():
        return quantities, n_parameters / (2 * n_target)
    P = root_differences[:, usable]
    if len(P) > P.shape[1]:
        P = np.asarray(np.linalg.qr(P, mode="r"))
    # v = N_0 z and the objective times N_0 keep all numbers near 1
    P = P * np.sqrt(n_target / n_parameters)
    u, v = cp.Variable(P.shape[1], nonneg=True), cp.Variable(nonneg=True)
    constraints = [cp.sum(u) + v == 1, u <= source_sizes[usable] / n_target * v]
    problem = cp.Problem(cp.Minimize(v + cp.sum_squares(P @ u)), constraints)
    solve_by_clarabel(problem)
    share, rest = np.maximum(u.value, 0.0), max(float(v.value), np.finfo(float).tiny)
    quantities[usable] = np.minimum(n_target * share / rest, source_sizes[usable])
    total = n_target + quantities.sum()
    bias = P @ quantities[usable] / total
    kl = n_parameters / 2 * (1 / total + bias @ bias / n_target)
    return quantities, float(kl)
