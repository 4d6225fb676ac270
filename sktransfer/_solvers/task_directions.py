r"""Common directions of several gradients, as weights of the gradients.

With the gradients :math:`g_1, \dots, g_K` in the rows of G, all functions see the Gram
matrix :math:`M = G G^\top` alone and return weights w of the direction
:math:`d = G^\top w`.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from sktransfer._solvers.simplex_qp import solve_simplex_qp

Array = npt.NDArray[Any]

#: squared lengths below this share of the largest are 0
_NOTHING = 1e-12
#: largest cosine that gradients are raised to
_PARALLEL = 1 - 1e-6


class DirectionInfo(NamedTuple):
    """Certificate of a direction.

    Parameters
    ----------
    gap : float
        How far the objective is from its optimum at most, relative to its size.
    n_iter : int
        Number of quadratic programs that were solved.
    """

    gap: float
    n_iter: int


def min_norm_weights(gram: Array) -> tuple[Array, DirectionInfo]:
    r"""Find the shortest convex combination of gradients, MGDA's direction.

    Parameters
    ----------
    gram : ndarray of shape (k, k)
        Gram matrix.

    Returns
    -------
    weights : ndarray of shape (k,)
        :math:`\arg\min_{w \in \Delta} w^\top M w`; of several ones that of least norm.
    info : DirectionInfo
        Certificate: :math:`d^\top g_k \ge \|d\|^2` for all k up to the gap.
    """
    gram = _symmetric(gram)
    weights, found = solve_simplex_qp(gram)
    return weights, DirectionInfo(found.kkt_residual, 1)


def conflict_averse_weights(gram: Array, c: float) -> tuple[Array, DirectionInfo]:
    r"""Find CAGrad's direction: near the mean, and good for the worst task.

    Among the directions at most :math:`c \|g_0\|` from the mean gradient
    :math:`g_0` it is that of the largest :math:`\min_k g_k^\top d`. Its dual is
    :math:`\min_{w \in \Delta} g_w^\top g_0 + c \|g_0\| \|g_w\|`. As
    :math:`\|g\| = \min_t (\|g\|^2 / t + t) / 2`, a root in t of one quadratic program
    solves it.

    Parameters
    ----------
    gram : ndarray of shape (k, k)
        Gram matrix.
    c : float in [0, inf)
        Radius relative to the mean gradient.

    Returns
    -------
    weights : ndarray of shape (k,)
        Weights of :math:`d = g_0 + c \|g_0\| g_w / \|g_w\|`; they sum to more than 1.
    info : DirectionInfo
        Certificate: the gap of the dual.
    """
    gram = _symmetric(gram)
    k = len(gram)
    mean = np.full(k, 1 / k)
    slope = gram @ mean
    radius = c * np.sqrt(max(mean @ slope, 0.0))
    largest = np.sqrt(np.max(np.diag(gram)))
    if radius <= np.sqrt(_NOTHING) * largest:
        return mean, DirectionInfo(0.0, 0)
    n_iter, w = 0, mean

    def excess(t: float) -> float:
        nonlocal n_iter, w
        n_iter += 1
        w, _ = solve_simplex_qp(gram * (radius / t), slope)
        return float(np.sqrt(max(w @ gram @ w, 0.0))) - t

    least = 1e-7 * largest
    if excess(least) <= 0:  # the gradients cancel each other
        return mean, DirectionInfo(0.0, n_iter)
    if excess(largest) < 0:
        excess(brentq(excess, least, largest, xtol=1e-12 * largest, rtol=1e-12))
    length = np.sqrt(w @ gram @ w)
    gradient = slope + radius * (gram @ w) / length
    gap = (w @ gradient - gradient.min()) / np.max(np.abs(gradient))
    return mean + radius / length * w, DirectionInfo(float(gap), n_iter)


def surgery_weights(gram: Array, orders: Array) -> Array:
    r"""Project conflicts out of gradients, one after another: PCGrad.

    Parameters
    ----------
    gram : ndarray of shape (k, k)
        Gram matrix.
    orders : ndarray of shape (k, k)
        Row i: the order in which gradient i meets the others (and itself, which changes
        nothing).

    Returns
    -------
    weights : ndarray of shape (k,)
        Weights of the mean of the projected gradients.
    """
    gram = _symmetric(gram)
    tasks, parts = np.arange(len(gram)), np.eye(len(gram))
    for j in orders.T:
        dots, squares = _dots(parts, gram, j), gram[j, j]
        conflict = (dots < 0) & (j != tasks) & (squares > 0)
        parts[tasks, j] -= np.where(conflict, dots / np.where(conflict, squares, 1), 0)
    return np.asarray(parts.mean(axis=0))


def vaccine_weights(
    gram: Array, orders: Array, targets: Array, beta: float
) -> tuple[Array, Array]:
    r"""Raise the cosines between gradients to their running means: gradient vaccine.

    Parameters
    ----------
    gram : ndarray of shape (k, k)
        Gram matrix.
    orders : ndarray of shape (k, k)
        Row i: the order in which gradient i meets the others.
    targets : ndarray of shape (k, k)
        Running means of the cosines.
    beta : float in [0, 1]
        Weight of a new cosine in them.

    Returns
    -------
    weights : ndarray of shape (k,)
        Weights of the mean of the changed gradients.
    targets : ndarray of shape (k, k)
        The running means with the cosines met here.
    """
    gram, targets = _symmetric(gram), targets.copy()
    tasks, parts = np.arange(len(gram)), np.eye(len(gram))
    lengths = np.sqrt(np.maximum(np.diag(gram), 0.0))
    for j in orders.T:
        own = np.sqrt(np.maximum(np.einsum("ik,kl,il->i", parts, gram, parts), 0.0))
        there = (own > 0) & (lengths[j] > 0) & (j != tasks)
        scale = np.where(there, own * lengths[j], 1.0)
        cosine = np.clip(_dots(parts, gram, j) / scale, -1.0, 1.0)
        goal = np.clip(targets[tasks, j], -_PARALLEL, _PARALLEL)
        low = there & (cosine < goal)
        sine, of_goal = np.sqrt(1 - cosine**2), np.sqrt(1 - goal**2)
        raised = own * (goal * sine - cosine * of_goal)
        step = raised / np.where(low, lengths[j] * of_goal, 1.0)
        parts[tasks, j] += np.where(low, step, 0.0)
        moved = (1 - beta) * targets[tasks, j] + beta * cosine
        targets[tasks, j] = np.where(there, moved, targets[tasks, j])
    return np.asarray(parts.mean(axis=0)), targets


def _dots(parts: Array, gram: Array, j: Array) -> Array:
    """Return the product of each changed gradient i with the given gradient j_i."""
    return np.asarray(np.sum(parts * gram[j], axis=1))


def _symmetric(gram: Array) -> Array:
    gram = np.asarray(gram, dtype=np.float64)
    return np.asarray((gram + gram.T) / 2)
