r"""Ratios of two densities from samples of both: least squares and likelihood.

Both models are :math:`w(x) = \sum_l \theta_l \exp(-\gamma \|x - c_l\|^2)` with
centers :math:`c_l` among the samples of the numerator.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import linalg, sparse
from scipy.special import logsumexp
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.utils import check_random_state

from sktransfer._solvers.kernels import (
    common_origin,
    median_gamma,
    order_free_sample,
    resolve_gamma,
)
from sktransfer._solvers.simplex_qp import solve_simplex_qp

Array = npt.NDArray[Any]

#: multiples of the median rule among which "cv" chooses the width
GAMMA_FACTORS = 2.0 ** np.arange(-4, 5)
#: values among which "cv" chooses the ridge of least squares
RIDGES = np.logspace(-3, 1, 9)


@dataclass(frozen=True)
class DensityRatioInfo:
    """How the ratio of two densities was estimated.

    Parameters
    ----------
    gamma : float
        Width of the kernel.
    regularization : float
        Ridge of least squares; 0 for the likelihood.
    score : float
        Value of the criterion that "cv" chose by (lower is better); NaN where there
        was nothing to choose.
    duality_gap : float
        Upper bound of the suboptimality of the mean log-likelihood; 0 for least
        squares, which are solved in closed form.
    n_iter : int
        Newton steps of the final fit; 0 for least squares.
    converged : bool
        Whether the gap is within the tolerance.
    """

    gamma: float
    regularization: float
    score: float
    duality_gap: float
    n_iter: int
    converged: bool


def effective_sample_size(weights: Array, counts: Array | None = None) -> float:
    r"""Return Kish's effective sample size of weighted samples.

    Parameters
    ----------
    weights : ndarray of shape (n_samples,)
        Nonnegative weights.
    counts : ndarray of shape (n_samples,), default=None
        How often each sample is there; None: once.

    Returns
    -------
    size : float
        :math:`(\sum_i c_i w_i)^2 / \sum_i c_i w_i^2`; 0 where no weight is positive.
    """
    largest = float(np.max(weights, initial=0.0))
    if largest <= 0:
        return 0.0
    scaled = np.asarray(weights, dtype=np.float64) / largest
    repeats = np.ones(len(scaled)) if counts is None else counts
    total = float(repeats @ scaled)
    return total**2 / float(repeats @ scaled**2)


def least_squares_ratio(
    X_source: Any,
    X_target: Any,
    *,
    alpha: float = 0.0,
    gamma: float | str = "cv",
    regularization: float | str = "cv",
    n_centers: int = 100,
    random_state: Any = 0,
) -> tuple[Array, DensityRatioInfo]:
    r"""Fit a relative density ratio by least squares, in closed form.

    Parameters
    ----------
    X_source : {array-like, sparse matrix} of shape (n_source, n_features)
        Samples of the denominator.
    X_target : {array-like, sparse matrix} of shape (n_target, n_features)
        Samples of the numerator.
    alpha : float, default=0.0
        Share of the numerator in the denominator, in [0, 1).
    gamma : {"cv", "median", "scale"} or float, default="cv"
        Width of the kernel.
    regularization : "cv" or float, default="cv"
        Ridge.
    n_centers : int, default=100
        Largest number of centers.
    random_state : int, RandomState instance or None, default=0
        Draws the centers.

    Returns
    -------
    weights : ndarray of shape (n_source,)
        Ratio at the source samples, cut at 0.
    info : DensityRatioInfo
        What was chosen.
    """
    to_source, to_target = _distances(X_source, X_target, n_centers, random_state)
    gammas = _gammas(gamma, X_source, X_target)
    ridges = RIDGES if regularization == "cv" else np.array([float(regularization)])
    best = (float(gammas[0]), float(ridges[0]), np.nan)
    if len(gammas) * len(ridges) > 1:
        _check_two_samples(to_source, to_target)
        scores = np.array(
            [
                _left_out_scores(
                    np.exp(-g * to_source), np.exp(-g * to_target), alpha, ridges
                )
                for g in gammas
            ]
        )
        i, j = np.unravel_index(int(np.argmin(scores)), scores.shape)
        best = (float(gammas[i]), float(ridges[j]), float(scores[i, j]))
    width, ridge, score = best
    at_source, at_target = np.exp(-width * to_source), np.exp(-width * to_target)
    H = (1 - alpha) * (at_source.T @ at_source) / len(at_source)
    H += alpha * (at_target.T @ at_target) / len(at_target)
    coef = _ridge_solution(H, at_target.mean(axis=0), ridge)
    weights = np.maximum(at_source @ coef, 0.0)
    return weights, DensityRatioInfo(width, ridge, score, 0.0, 0, True)


def _ridge_solution(H: Array, h: Array, ridge: float) -> Array:
    """Solve ``(H + ridge I) coef = h``; without a ridge with least norm."""
    values, vectors = linalg.eigh(H)
    values = np.maximum(values, 0.0) + ridge
    kept = values > len(values) * np.finfo(float).eps * values.max(initial=0.0)
    inverse = np.where(kept, 1.0 / np.where(kept, values, 1.0), 0.0)
    return np.asarray(vectors @ (inverse * (vectors.T @ h)))


def _left_out_scores(
    at_source: Array, at_target: Array, alpha: float, ridges: Array
) -> Array:
    r"""Return the criterion of each ridge, every sample left out of its own ratio.

    :math:`\tfrac\alpha2 \overline{w_t^2} + \tfrac{1-\alpha}2 \overline{w_s^2} -
    \overline{w_t}`, where each ratio comes from the fit without that sample: by the
    Sherman-Morrison formula all of them follow from two eigendecompositions.
    """
    n_s, n_t = len(at_source), len(at_target)
    H_s, H_t = at_source.T @ at_source, at_target.T @ at_target
    h = at_target.mean(axis=0)
    scores = np.empty(len(ridges))
    without_source = linalg.eigh(alpha * H_t / n_t + (1 - alpha) * H_s / (n_s - 1))
    without_target = linalg.eigh(alpha * H_t / (n_t - 1) + (1 - alpha) * H_s / n_s)
    source, target = at_source @ without_source[1], at_target @ without_target[1]
    source_square, target_square = source**2, target**2
    for k, ridge in enumerate(ridges):
        inverse = 1.0 / (np.maximum(without_source[0], 0.0) + ridge)
        leverage = source_square @ inverse
        answer = source @ (inverse * (without_source[1].T @ h))
        w_s = answer / (1.0 - (1 - alpha) / (n_s - 1) * leverage)
        inverse = 1.0 / (np.maximum(without_target[0], 0.0) + ridge)
        leverage = target_square @ inverse
        answer = target @ (inverse * (without_target[1].T @ h))
        w_t = (n_t * answer - leverage) / (n_t - 1)
        w_t = w_t / (1.0 - alpha / (n_t - 1) * leverage)
        w_s, w_t = np.maximum(w_s, 0.0), np.maximum(w_t, 0.0)
        square = alpha * np.mean(w_t**2) + (1 - alpha) * np.mean(w_s**2)
        scores[k] = square / 2 - np.mean(w_t)
    return scores


def likelihood_ratio(
    X_source: Any,
    X_target: Any,
    *,
    gamma: float | str = "cv",
    n_centers: int = 100,
    cv: int = 5,
    tol: float = 1e-8,
    random_state: Any = 0,
) -> tuple[Array, DensityRatioInfo]:
    r"""Fit a density ratio by maximum likelihood.

    Parameters
    ----------
    X_source : {array-like, sparse matrix} of shape (n_source, n_features)
        Samples of the denominator.
    X_target : {array-like, sparse matrix} of shape (n_target, n_features)
        Samples of the numerator.
    gamma : {"cv", "median", "scale"} or float, default="cv"
        Width of the kernel.
    n_centers : int, default=100
        Largest number of centers.
    cv : int, default=5
        Folds of the target's samples for "cv".
    tol : float, default=1e-8
        Gap of the mean log-likelihood to reach.
    random_state : int, RandomState instance or None, default=0
        Draws the centers and the folds.

    Returns
    -------
    weights : ndarray of shape (n_source,)
        Ratio at the source samples; their mean is 1.
    info : DensityRatioInfo
        What was chosen, and the certificate.
    """
    rng = check_random_state(random_state)
    seed = int(rng.randint(np.iinfo(np.int32).max))
    to_source, to_target = _distances(X_source, X_target, n_centers, seed)
    gammas = _gammas(gamma, X_source, X_target)
    width, score = float(gammas[0]), np.nan
    if len(gammas) > 1:
        if len(to_target) < 2:
            raise ValueError(
                "gamma='cv' holds out samples of the target, but there is one: give a "
                "number, or 'median'."
            )
        order = order_free_sample(X_target, len(to_target), seed)
        fold = np.empty(len(order), dtype=np.intp)
        fold[order] = rng.permutation(np.arange(len(order)) % min(cv, len(order)))
        scores = [_held_out_loss(to_source, to_target, g, fold) for g in gammas]
        best = int(np.argmin(scores))
        width, score = float(gammas[best]), float(scores[best])
    log_mean = logsumexp(-width * to_source, axis=0) - np.log(len(to_source))
    shares, gap, n_iter = _maximize_likelihood(-width * to_target - log_mean, tol)
    weights = np.exp(-width * to_source - log_mean) @ shares
    return weights, DensityRatioInfo(width, 0.0, score, gap, n_iter, gap <= tol)


def _held_out_loss(
    to_source: Array, to_target: Array, gamma: float, fold: Array
) -> float:
    """Return minus the mean log-ratio at target samples that were held out."""
    log_mean = logsumexp(-gamma * to_source, axis=0) - np.log(len(to_source))
    log_basis = -gamma * to_target - log_mean
    total = 0.0
    start = None
    for k in range(int(fold.max()) + 1):
        test = fold == k
        start = _maximize_likelihood(log_basis[~test], 1e-3, start=start)[0]
        top = log_basis[test].max(axis=1)
        with np.errstate(divide="ignore"):
            mix = np.log(np.exp(log_basis[test] - top[:, None]) @ start)
        total -= float(np.sum(top + mix))
    return total / len(fold)


def _maximize_likelihood(
    log_basis: Array, tol: float, *, start: Array | None = None, max_iter: int = 100
) -> tuple[Array, float, int]:
    r"""Maximize :math:`\tfrac1n \sum_j \log \sum_l u_l e^{b_{jl}}` on the simplex.

    Newton's steps, each a quadratic program on the simplex, with backtracking. At a
    point :math:`u` with gradient :math:`g` the optimum is at most
    :math:`\max_l g_l - 1` higher, as the objective is concave and :math:`g'u = 1`.

    Returns
    -------
    u : ndarray of shape (n_centers,)
        The shares.
    gap : float
        That bound.
    n_iter : int
        Newton steps.
    """
    basis = np.exp(log_basis - log_basis.max(axis=1, keepdims=True))
    n, k = basis.shape
    u = np.full(k, 1.0 / k) if start is None else 0.9 * start + 0.1 / k
    mixture = basis @ u
    gap, n_iter = np.inf, 0
    for n_iter in range(max_iter + 1):
        scaled = basis / mixture[:, None]
        gradient = scaled.mean(axis=0)
        gap = float(max(gradient.max() - 1.0, 0.0))
        if gap <= tol or n_iter == max_iter:
            break
        H = scaled.T @ scaled / n
        H.flat[:: k + 1] += 1e-12 * H.max()
        goal = solve_simplex_qp(H, -2.0 * gradient)[0]
        step, slope = goal - u, float(gradient @ (goal - u))
        if slope <= 0:
            # rounding leaves nothing to climb along the Newton step
            break
        value, length, moved = np.mean(np.log(mixture)), 1.0, mixture
        while length > 1e-12:
            moved = basis @ (u + length * step)
            if moved.min() > 0 and (
                np.mean(np.log(moved)) >= value + 1e-4 * length * slope
            ):
                break
            length /= 2
        else:
            break
        u, mixture = np.maximum(u + length * step, 0.0), moved
    return u / u.sum(), gap, n_iter


def gaussian_log_ratio(
    X_source: Array, X_target: Array, *, shrinkage: float | Literal["auto"] = "auto"
) -> Array:
    r"""Return the log-ratio of two normal densities at the source samples.

    Each covariance is shrunk toward that of all samples, in whose coordinates the
    computation takes place, so that no invertible linear map of the features changes
    anything; directions in which no sample varies are left out.

    Parameters
    ----------
    X_source : ndarray of shape (n_source, n_features)
        Samples of the denominator.
    X_target : ndarray of shape (n_target, n_features)
        Samples of the numerator.
    shrinkage : "auto" or float, default="auto"
        Share of the common covariance; "auto" is :math:`(d + 2) / (n + d + 2)` with
        the dimension d and the n samples of the domain.

    Returns
    -------
    log_ratio : ndarray of shape (n_source,)
        Target's log-density less the source's.
    """
    # each domain counts the same, or a large one would hide a small one
    parts = [np.asarray(X, dtype=np.float64) for X in (X_source, X_target)]
    center = (parts[0].mean(axis=0) + parts[1].mean(axis=0)) / 2
    parts = [X - center for X in parts]
    spread = np.sqrt(sum(np.mean(X**2, axis=0) for X in parts) / 2)
    varies = spread > 0
    if not varies.any():
        return np.zeros(len(parts[0]))
    parts = [X[:, varies] / spread[varies] for X in parts]
    common = sum(X.T @ X / len(X) for X in parts) / 2
    values, vectors = linalg.eigh(common)
    kept = values > len(values) * np.finfo(float).eps * 10 * values[-1]
    whitener = vectors[:, kept] / np.sqrt(values[kept])
    parts = [X @ whitener for X in parts]
    dim = whitener.shape[1]
    log_density = []
    for X in parts:
        share = (dim + 2) / (len(X) + dim + 2) if shrinkage == "auto" else shrinkage
        mean = X.mean(axis=0)
        centered = X - mean
        covariance = (1 - share) * (centered.T @ centered) / len(X)
        covariance.flat[:: dim + 1] += share
        try:
            root = linalg.cholesky(covariance, lower=True)
        except linalg.LinAlgError:
            raise ValueError(
                f"shrinkage={shrinkage}: a domain of {len(X)} samples has no "
                f"invertible covariance in {dim} dimensions. Raise shrinkage, or use "
                "'auto'."
            ) from None
        scaled = linalg.solve_triangular(root, (parts[0] - mean).T, lower=True)
        square = np.einsum("ij,ij->j", scaled, scaled)
        log_density.append(-square / 2 - np.log(np.diag(root)).sum())
    return np.asarray(log_density[1] - log_density[0])


def _distances(
    X_source: Any, X_target: Any, n_centers: int, random_state: Any
) -> tuple[Array, Array]:
    """Return squared distances of all samples to centers among the target's."""
    chosen = order_free_sample(X_target, n_centers, random_state)
    stack = sparse.vstack if sparse.issparse(X_target) else np.concatenate
    rows = stack([X_source, X_target]).astype(np.float64)
    moved = common_origin(rows)[0]
    n_source = X_source.shape[0]
    square = euclidean_distances(moved, moved[n_source:][chosen], squared=True)
    return square[:n_source], square[n_source:]


def _gammas(gamma: float | str, X_source: Any, X_target: Any) -> Array:
    stack = sparse.vstack if sparse.issparse(X_target) else np.concatenate
    if isinstance(gamma, str):
        rows = stack([X_source, X_target])
        if gamma == "cv":
            return median_gamma(rows) * GAMMA_FACTORS
        return np.array([resolve_gamma(gamma, rows)])
    return np.array([float(gamma)])


def _check_two_samples(to_source: Array, to_target: Array) -> None:
    for name, rows in (("source", to_source), ("target", to_target)):
        if len(rows) < 2:
            raise ValueError(
                f"gamma='cv' and regularization='cv' leave samples out, but the "
                f"{name} has {len(rows)}: give numbers."
            )
