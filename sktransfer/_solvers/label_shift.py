"""Class shares of a target from predictions: EM, confusion matrices, calibration."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize, nnls
from scipy.special import log_softmax, softmax

Array = NDArray[np.float64]

__all__ = [
    "EMInfo",
    "calibrate",
    "confusion_weights",
    "deviation_bound",
    "em_shares",
    "fit_calibration",
]

#: a probability of 0, as trees give it, is not meant that seriously
_LEAST_PROBABILITY = 1e-6
#: inverse temperatures and biases stay finite where classes are separated
_SCALE_BOUNDS, _BIAS_BOUNDS = (1e-3, 1e2), (-50.0, 50.0)


@dataclass(frozen=True)
class EMInfo:
    """Certificate of :func:`em_shares`.

    Parameters
    ----------
    n_iter : int
        Number of iterations.
    gap : float
        Bound on the mean log-likelihood that the optimum has more.
    converged : bool
        Whether the gap is at most the tolerance.
    """

    n_iter: int
    gap: float
    converged: bool


def em_shares(
    likelihood: Array,
    counts: Array,
    start: Array,
    *,
    row_weight: Array | None = None,
    tol: float,
    max_iter: int,
) -> tuple[Array, EMInfo]:
    r"""Maximize the likelihood of class shares by EM.

    With likelihoods :math:`L_{ij} \propto p(x_i | y = j)` of N unlabeled rows and
    counts :math:`c_j` of n labeled ones, :math:`\sum_i \log \sum_j L_{ij} \pi_j +
    \sum_j c_j \log \pi_j` is concave on the simplex. Its distance to the optimum per
    row is at most :math:`\max_j g_j - 1`, g the gradient over N + n.

    Parameters
    ----------
    likelihood : ndarray of shape (n_unlabeled, n_classes)
        Nonnegative, up to a factor per row.
    counts : ndarray of shape (n_classes,)
        Labeled rows of each class.
    start : ndarray of shape (n_classes,)
        Positive shares to begin with.
    row_weight : ndarray of shape (n_unlabeled,), default=None
        How often each unlabeled row counts; None: once.
    tol : float
        Gap to reach.
    max_iter : int
        Largest number of iterations.

    Returns
    -------
    shares : ndarray of shape (n_classes,)
        Class shares with the sum 1; those of `start` if there is no row.
    info : EMInfo
        Certificate.
    """
    if row_weight is None:
        row_weight = np.ones(len(likelihood))
    total = row_weight.sum() + counts.sum()
    shares, gap = np.asarray(start, dtype=np.float64), 0.0
    if not total:
        return shares, EMInfo(0, 0.0, converged=True)
    for n_iter in range(max_iter + 1):
        gradient = (row_weight / (likelihood @ shares)) @ likelihood
        known = counts > 0
        gradient[known] += counts[known] / shares[known]
        gradient /= total
        gap = float(gradient.max() - 1)
        if gap <= tol or n_iter == max_iter:
            break
        shares = shares * gradient
        shares /= shares.sum()
    return shares, EMInfo(n_iter, gap, gap <= tol)


def confusion_weights(
    confusion: Array, mean_prediction: Array, *, penalty: float, ridge: float = 1e-8
) -> Array:
    r"""Solve :math:`C w = \mu` for weights :math:`w \ge 0`.

    It minimizes :math:`\|C w - \mu\| + \Delta \|w - 1\|` over w >= 0. Without a
    penalty, directions that C does not see keep the weight 1.

    Parameters
    ----------
    confusion : ndarray of shape (n_equations, n_classes)
        C.
    mean_prediction : ndarray of shape (n_equations,)
        The right-hand side.
    penalty : float
        :math:`\Delta`, 0 or more.
    ridge : float, default=1e-8
        Relative size of the least regularization.

    Returns
    -------
    weights : ndarray of shape (n_classes,)
        Nonnegative weights.
    """
    n_classes = confusion.shape[1]
    scale = np.linalg.norm(confusion, 2)

    def solve(size: float) -> Array:
        matrix = np.vstack([confusion, size * np.eye(n_classes)])
        right = np.concatenate([mean_prediction, np.full(n_classes, size)])
        solution: Array = nnls(matrix, right)[0]
        return solution

    def excess(log_size: float) -> float:
        # 0 at the optimum: nu ||w - 1|| = penalty ||C w - mu||, nu the size squared
        weights = solve(np.exp(log_size))
        residual = np.linalg.norm(confusion @ weights - mean_prediction)
        move = np.linalg.norm(weights - 1)
        return float(np.exp(2 * log_size) * move - penalty * residual)

    least, most = np.log(ridge * scale), np.log(1e4 * scale)
    if penalty == 0 or excess(least) >= 0:
        return solve(np.exp(least))
    if excess(most) <= 0:
        return np.ones(n_classes)
    return solve(np.exp(brentq(excess, least, most, xtol=1e-12)))


def deviation_bound(n_classes: int, n_samples: float, delta: float) -> float:
    r"""Return the bound on the error of a confusion matrix, times 3.

    :math:`3 (2 \log(2 K / \delta) / (3 n) + \sqrt{2 \log(2 K / \delta) / n})`.
    """
    log_term = 2 * np.log(2 * n_classes / delta) / n_samples
    return float(3 * (log_term / 3 + np.sqrt(log_term)))


def fit_calibration(
    proba: Array, codes: NDArray[np.intp], sample_weight: Array
) -> tuple[float, Array]:
    r"""Fit :math:`\mathrm{softmax}(\log p / T + b)` by maximum likelihood.

    Parameters
    ----------
    proba : ndarray of shape (n_samples, n_classes)
        Probabilities.
    codes : ndarray of shape (n_samples,)
        Column of the class of each row.
    sample_weight : ndarray of shape (n_samples,)
        Weights.

    Returns
    -------
    temperature : float
        T, between 0.01 and 1000.
    bias : ndarray of shape (n_classes,)
        b, with the sum 0.
    """
    scores = _logs(proba)
    n_classes = scores.shape[1]
    weights = sample_weight / sample_weight.sum()
    truth = np.eye(n_classes)[codes]

    def loss(parameters: Array) -> tuple[float, Array]:
        log_p = log_softmax(parameters[0] * scores + parameters[1:], axis=1)
        slope = weights[:, None] * (np.exp(log_p) - truth)
        gradient = np.concatenate([[np.sum(slope * scores)], slope.sum(axis=0)])
        return -weights @ log_p[np.arange(len(codes)), codes], gradient

    result = minimize(
        loss,
        np.concatenate([[1.0], np.zeros(n_classes)]),
        jac=True,
        method="L-BFGS-B",
        bounds=[_SCALE_BOUNDS, *[_BIAS_BOUNDS] * n_classes],
        options={"gtol": 1e-10, "ftol": 1e-15, "maxiter": 1000},
    )
    bias = result.x[1:]
    return float(1 / result.x[0]), bias - bias.mean()


def calibrate(proba: Array, temperature: float, bias: Array) -> Array:
    """Return probabilities calibrated by a temperature and a bias per class."""
    calibrated: Array = softmax(_logs(proba) / temperature + bias, axis=1)
    return calibrated


def _logs(proba: Array) -> Array:
    logs: Array = np.log(np.maximum(proba, _LEAST_PROBABILITY))
    return logs
