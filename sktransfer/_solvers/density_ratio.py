r"""Ratios of two densities from samples of both: least squares and likelihood.

Both models are :math:`w(x) = \sum_l \theta_l \exp(-\gamma \|x - c_l\|^2)` with
centers :math:`c_l` among the samples of the numerator.
"""

from collections.abc import Callable, Iterable, Iterator
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
    median_gamma_of_chunks,
    order_free_ranks,
    order_free_sample,
    resolve_gamma,
    take_from_chunks,
)
from sktransfer._solvers.simplex_qp import solve_simplex_qp

Array = npt.NDArray[Any]
#: kernel values for some widths: chunks, in each an array for every width
_Values = Callable[[Array], Iterable[Iterable[Array]]]

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

    def held(distances: Array) -> _Values:
        return lambda part: [[np.exp(-width * distances) for width in part]]

    widths = [np.array([width]) for width in gammas]
    source, target = held(to_source), held(to_target)
    return _least_squares(source, target, alpha, widths, regularization)


def least_squares_ratio_of_chunks(
    source: Iterable[Array],
    target: Iterable[Array],
    *,
    alpha: float,
    gamma: float | str,
    regularization: float | str,
    n_centers: int,
    random_state: Any,
) -> tuple[Array, DensityRatioInfo]:
    """Fit the ratio of :func:`least_squares_ratio` to samples that come in chunks.

    Parameters
    ----------
    source, target : iterable of ndarray of shape (n_chunk, n_features)
        The samples, the same ones in every iteration.
    alpha, regularization, n_centers, random_state
        As in :func:`least_squares_ratio`.
    gamma : {"cv", "median"} or float
        Width of the kernel.

    Returns
    -------
    weights : ndarray of shape (n_source,)
        Ratio at the source samples, cut at 0.
    info : DensityRatioInfo
        What was chosen.
    """
    chosen = order_free_ranks(target, n_centers, random_state)
    centers = take_from_chunks(target, chosen)
    gammas = np.array([np.nan])
    if isinstance(gamma, str):
        width = median_gamma_of_chunks(source, target)
        gammas = width * GAMMA_FACTORS if gamma == "cv" else np.array([width])
    else:
        gammas[0] = gamma
    return _least_squares(
        lambda part: _ChunkBasis(source, centers, part),
        lambda part: _ChunkBasis(target, centers, part),
        alpha,
        [gammas],
        regularization,
    )


@dataclass(frozen=True)
class _ChunkBasis:
    """Kernel values of chunks at centers, computed anew in every iteration."""

    chunks: Iterable[Array]
    centers: Array
    gammas: Array

    def __iter__(self) -> Iterator[Iterable[Array]]:
        centers = common_origin(self.centers)[0]
        for X in self.chunks:
            moved = common_origin(X, self.centers)[0]
            square = euclidean_distances(moved, centers, squared=True)
            yield (np.exp(-gamma * square) for gamma in self.gammas)


def _least_squares(
    source: _Values,
    target: _Values,
    alpha: float,
    gammas: list[Array],
    regularization: float | str,
) -> tuple[Array, DensityRatioInfo]:
    """Choose width and ridge, and fit; widths of one array share their passes."""
    ridges = RIDGES if regularization == "cv" else np.array([float(regularization)])
    if sum(map(len, gammas)) * len(ridges) == 1:
        width, ridge, score = float(gammas[0][0]), float(ridges[0]), np.nan
    else:
        parts = [
            _left_out_scores(source(part), target(part), alpha, len(part), ridges)
            for part in gammas
        ]
        scores = np.concatenate(parts)
        i, j = np.unravel_index(int(np.argmin(scores)), scores.shape)
        score = float(scores[i, j])
        width, ridge = float(np.concatenate(gammas)[i]), float(ridges[j])
    at_source, at_target = (values(np.array([width])) for values in (source, target))
    n_s, [H_s], _ = _moments(at_source, 1)
    n_t, [H_t], [h] = _moments(at_target, 1)
    H = (1 - alpha) * H_s / n_s
    H += alpha * H_t / n_t
    coef = _ridge_solution(H, h / n_t, ridge)
    weights = np.concatenate([at @ coef for [at] in at_source])
    info = DensityRatioInfo(width, ridge, score, 0.0, 0, True)
    return np.maximum(weights, 0.0), info


def _ridge_solution(H: Array, h: Array, ridge: float) -> Array:
    """Solve ``(H + ridge I) coef = h``; without a ridge with least norm."""
    values, vectors = linalg.eigh(H)
    values = np.maximum(values, 0.0) + ridge
    kept = values > len(values) * np.finfo(float).eps * values.max(initial=0.0)
    inverse = np.where(kept, 1.0 / np.where(kept, values, 1.0), 0.0)
    return np.asarray(vectors @ (inverse * (vectors.T @ h)))


def _moments(
    values: Iterable[Iterable[Array]], n_widths: int
) -> tuple[int, list[Array], list[Array]]:
    r"""Return size, :math:`\sum \phi\phi'` and :math:`\sum \phi` for each width."""
    size = 0
    squares: list[Any] = [0.0] * n_widths
    totals: list[Any] = [0.0] * n_widths
    for block in values:
        for k, at in enumerate(block):
            squares[k] = squares[k] + at.T @ at
            totals[k] = totals[k] + at.sum(axis=0)
        size += len(at)
    return size, squares, totals


class _LeftOut:
    """Ratios at samples, each from the fit without that sample, for every ridge.

    By the Sherman-Morrison formula all of them follow from two eigendecompositions.
    """

    def __init__(
        self,
        H_s: Array,
        H_t: Array,
        total: Array,
        n_s: int,
        n_t: int,
        alpha: float,
        ridges: Array,
    ) -> None:
        self.n_s, self.n_t, self.alpha, self.ridges = n_s, n_t, alpha, ridges
        self.h = total / n_t
        self.no_source = linalg.eigh(alpha * H_t / n_t + (1 - alpha) * H_s / (n_s - 1))
        self.no_target = linalg.eigh(alpha * H_t / (n_t - 1) + (1 - alpha) * H_s / n_s)

    def at_source(self, at: Array) -> Iterator[Array]:
        """Yield the ratios at source samples for one ridge after the other."""
        factor = (1 - self.alpha) / (self.n_s - 1)
        for answer, leverage in self._fits(at, self.no_source):
            yield np.maximum(answer / (1.0 - factor * leverage), 0.0)

    def at_target(self, at: Array) -> Iterator[Array]:
        """Yield the ratios at target samples for one ridge after the other."""
        factor = self.alpha / (self.n_t - 1)
        for answer, leverage in self._fits(at, self.no_target):
            w = (self.n_t * answer - leverage) / (self.n_t - 1)
            yield np.maximum(w / (1.0 - factor * leverage), 0.0)

    def _fits(
        self, at: Array, system: tuple[Array, Array]
    ) -> Iterator[tuple[Array, Array]]:
        rows = at @ system[1]
        square, h = rows**2, system[1].T @ self.h
        for ridge in self.ridges:
            inverse = 1.0 / (np.maximum(system[0], 0.0) + ridge)
            yield rows @ (inverse * h), square @ inverse


def _left_out_scores(
    source: Iterable[Iterable[Array]],
    target: Iterable[Iterable[Array]],
    alpha: float,
    n_widths: int,
    ridges: Array,
) -> Array:
    r"""Return the criterion of each width and ridge over samples left out.

    :math:`\tfrac\alpha2 \overline{w_t^2} + \tfrac{1-\alpha}2 \overline{w_s^2} -
    \overline{w_t}`, where each ratio comes from the fit without that sample.
    """
    n_s, H_s, _ = _moments(source, n_widths)
    n_t, H_t, h = _moments(target, n_widths)
    _check_two_samples(n_s, n_t)
    fits = [
        _LeftOut(H_s[k], H_t[k], h[k], n_s, n_t, alpha, ridges) for k in range(n_widths)
    ]
    scores = np.zeros((n_widths, len(ridges)))
    for block in source:
        for i, (at, fit) in enumerate(zip(block, fits, strict=True)):
            for j, w in enumerate(fit.at_source(at)):
                scores[i, j] += (1 - alpha) / 2 * float(w @ w) / n_s
    for block in target:
        for i, (at, fit) in enumerate(zip(block, fits, strict=True)):
            for j, w in enumerate(fit.at_target(at)):
                scores[i, j] += (alpha / 2 * float(w @ w) - float(w.sum())) / n_t
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


def _check_two_samples(n_source: int, n_target: int) -> None:
    for name, size in (("source", n_source), ("target", n_target)):
        if size < 2:
            raise ValueError(
                f"gamma='cv' and regularization='cv' leave samples out, but the "
                f"{name} has {size}: give numbers."
            )
