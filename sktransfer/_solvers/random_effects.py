r"""Gaussian random effects over domains, from their information alone.

Domain k has the log-likelihood :math:`-\tfrac12 (\theta - b_k)' \Lambda_k (\theta -
b_k)` with :math:`\Lambda_k = G_k / \sigma_k^2`, and :math:`\theta_k \sim N(m, T)`,
:math:`T = \mathrm{diag}\,\tau^2`. All formulas are in precisions, so that
neither singular :math:`\Lambda_k` nor :math:`\tau_j = 0` is special:

.. math:: A_k = (\Lambda_k^{-1} + T)^{-1} = \Lambda_k (I + T \Lambda_k)^{-1}, \quad
          S = \sum_k A_k, \quad m = S^{-1} \sum_k A_k b_k .
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg, optimize

Array = npt.NDArray[Any]

#: bounds of the logarithm of variances relative to their scale
_LOW, _HIGH = -30.0, 15.0


@dataclass(frozen=True)
class RandomEffects:
    r"""Random effects that were estimated from several domains.

    Attributes
    ----------
    mean : ndarray of shape (p,)
        Mean :math:`m`; of least norm where the domains do not determine it.
    mean_precision : ndarray of shape (p, p)
        The matrix S.
    variances : ndarray of shape (p,)
        The variances :math:`\tau_j^2`.
    noise : float
        Common noise variance; NaN if it was not estimated.
    objective : float
        Twice the negative restricted log-likelihood, less a constant.
    gradient : float
        Largest entry of the projected gradient in the logarithms of the variances.
    converged : bool
        Whether the gradient is below 1e-4.
    """

    mean: Array
    mean_precision: Array
    variances: Array
    noise: float
    objective: float
    gradient: float
    converged: bool


def random_effects_mean(
    information: Array, vectors: Array, variances: Array
) -> tuple[Array, Array]:
    r"""Return m and S for given variances.

    Parameters
    ----------
    information : ndarray of shape (n_domains, p, p)
        The matrices :math:`\Lambda_k`.
    vectors : ndarray of shape (n_domains, p)
        The vectors :math:`b_k`.
    variances : ndarray of shape (p,)
        The variances :math:`\tau_j^2`.

    Returns
    -------
    mean : ndarray of shape (p,)
        The generalized least-squares mean.
    precision : ndarray of shape (p, p)
        Its precision S.
    """
    A = _shrunk(information, variances)[0]
    S = A.sum(axis=0)
    pull = np.einsum("kij,kj->i", A, vectors)
    return _pinv(S)[0] @ pull, S


def fit_random_effects(
    information: Array,
    vectors: Array,
    *,
    free: Array | None = None,
    common: bool = False,
    sizes: Array | None = None,
    rss: Array | None = None,
    shrink_to: float | None = None,
    shrinkage: float = 0.0,
    boundary: float = 0.0,
    reml: bool = True,
) -> RandomEffects:
    r"""Estimate the variances by restricted maximum likelihood (REML).

    .. math:: -2\ell = \sum_k [\log|I + T \Lambda_k| + (b_k - m)' A_k (b_k - m)]
              + \log|S|

    plus, for a common noise, :math:`\sum_k [n_k \log \sigma^2 + R_k / \sigma^2]`, plus
    the penalties below.

    Parameters
    ----------
    information : ndarray of shape (n_domains, p, p)
        :math:`\Lambda_k`, or :math:`G_k` if the common noise is to be estimated.
    vectors : ndarray of shape (n_domains, p)
        Coefficients :math:`b_k`.
    free : ndarray of bool of shape (p,), default=None
        Coefficients that vary over the domains; None: all.
    common : bool, default=False
        One variance for all free coefficients.
    sizes, rss : ndarray of shape (n_domains,), default=None
        Numbers of rows and residual sums of squares: the noise is estimated.
    shrink_to : float, default=None
        Variance that ``shrinkage`` additional domains have shown in every free
        coefficient.
    shrinkage : float, default=0.0
        Number of such domains.
    boundary : float, default=0.0
        With ``common``: a gamma prior of shape ``1 + boundary`` and infinite scale on
        :math:`\tau` keeps it from 0.
    reml : bool, default=True
        Whether the mean is integrated out; else it is maximized over.

    Returns
    -------
    result : RandomEffects
        Estimates with the size of the projected gradient.
    """
    p = vectors.shape[1]
    free = np.ones(p, dtype=bool) if free is None else np.asarray(free, dtype=bool)
    joint = sizes is not None and rss is not None
    n_taus = 1 if common else int(free.sum())
    scale, noise_scale = _scales(information, vectors, sizes, rss)

    def unpack(log_parameters: Array) -> tuple[Array, float]:
        variances = np.zeros(p)
        variances[free] = scale * np.exp(log_parameters[:n_taus])
        noise = float(noise_scale * np.exp(log_parameters[-1])) if joint else 1.0
        return variances, noise

    def objective(log_parameters: Array) -> tuple[float, Array]:
        variances, noise = unpack(log_parameters)
        A, B, logdet = _shrunk(information / noise, variances)
        S = A.sum(axis=0)
        inverse, logdet_S = _pinv(S)
        mean = inverse @ np.einsum("kij,kj->i", A, vectors)
        residual = vectors - mean
        pulled = np.einsum("kij,kj->ki", A, residual)
        value = float(logdet.sum() + np.sum(pulled * residual))
        slope = np.einsum("kii->i", A) - np.sum(pulled**2, axis=0)
        if reml:
            value += logdet_S
            slope = slope - np.einsum("kij,jl,kli->i", A, inverse, A, optimize=True)
        slope = slope * variances
        taus = variances[free]
        if shrinkage and shrink_to is not None:
            value += shrinkage * float(np.sum(np.log(taus) + shrink_to / taus))
            slope[free] += shrinkage * (1 - shrink_to / taus)
        gradient = slope[free]
        if common:
            gradient = np.array([gradient.sum()])
        if boundary and common:
            value -= boundary * float(np.log(taus[0]))
            gradient = gradient - boundary
        if joint:
            assert sizes is not None and rss is not None
            value += float(np.sum(sizes * np.log(noise) + rss / noise))
            by_noise = float(np.sum(sizes - rss / noise))
            by_noise -= float(np.einsum("kii,i->", A, variances))
            moved = np.einsum("kij,kj->ki", B, residual)
            by_noise -= float(np.sum(pulled * moved))
            if reml:
                by_noise -= float(np.einsum("ij,kji->", inverse, A @ B, optimize=True))
            gradient = np.append(gradient, by_noise)
        return value, gradient

    start = np.concatenate([np.zeros(n_taus), np.zeros(int(joint))])
    bounds = [(_LOW, _HIGH)] * n_taus + [(-10.0, 10.0)] * int(joint)
    found = optimize.minimize(
        objective, start, jac=True, method="L-BFGS-B", bounds=bounds,
        options={"maxiter": 2000, "maxfun": 20000, "ftol": 1e-14, "gtol": 1e-8},
    )  # fmt: skip
    variances, noise = unpack(found.x)
    variances[variances <= scale * np.exp(_LOW) * (1 + 1e-9)] = 0.0
    mean, S = random_effects_mean(information / noise, vectors, variances)
    projected = np.where(found.x <= _LOW + 1e-9, np.minimum(found.jac, 0), found.jac)
    residual = float(np.max(np.abs(projected), initial=0.0))
    return RandomEffects(
        mean, S, variances, noise if joint else float("nan"), float(found.fun),
        residual, residual < 1e-4,
    )  # fmt: skip


def prior_precision(S: Array, variances: Array, factor: float) -> Array:
    r"""Return :math:`(c T + S^{-1})^{-1} = S (I + c T S)^{-1}`, S may be singular."""
    if not np.isfinite(factor):
        kept = variances == 0
        P = np.zeros_like(S)
        # a coefficient of infinite variance does not inform the others
        others = ~kept
        if kept.any():
            block = S[np.ix_(kept, kept)]
            if others.any():
                cross = S[np.ix_(kept, others)]
                inner = _pinv(S[np.ix_(others, others)])[0]
                block = block - cross @ inner @ cross.T
            P[np.ix_(kept, kept)] = block
        return P
    P = _shrunk(S[None], factor * variances)[0][0]
    return np.asarray(P)


@dataclass(frozen=True)
class Evidence:
    """Posterior of the coefficients of one domain under a Gaussian prior.

    Attributes
    ----------
    mean : ndarray of shape (p,)
        Posterior mean.
    precision : ndarray of shape (p, p)
        Posterior precision.
    log_likelihood : float
        Logarithm of the marginal likelihood, less a constant that does not depend on
        a proper prior.
    """

    mean: Array
    precision: Array
    log_likelihood: float


def gaussian_evidence(
    gram: Array, moment: Array, energy: float, size: float, noise: float,
    prior: Array, pull: Array,
) -> Evidence:  # fmt: skip
    r"""Update a Gaussian prior of precision R and mean :math:`R^{-1} h` by a domain.

    Parameters
    ----------
    gram : ndarray of shape (p, p)
        :math:`X'WX` of the domain.
    moment : ndarray of shape (p,)
        :math:`X'Wy`.
    energy : float
        :math:`y'Wy`.
    size : float
        Sum of the weights.
    noise : float
        Noise variance.
    prior : ndarray of shape (p, p)
        R; where it is singular the prior is flat.
    pull : ndarray of shape (p,)
        :math:`h`, in the range of R.

    Returns
    -------
    evidence : Evidence
        The posterior and the marginal likelihood.
    """
    precision = prior + gram / noise
    goal = pull + moment / noise
    inverse, logdet = _pinv(precision)
    prior_inverse, prior_logdet = _pinv(prior)
    mean = inverse @ goal
    value = size * np.log(2 * np.pi * noise) + logdet - prior_logdet
    value += energy / noise + pull @ prior_inverse @ pull - goal @ mean
    return Evidence(mean, precision, float(-0.5 * value))


def log_pseudo_determinant(matrix: Array) -> float:
    """Return the log of the product of the positive eigenvalues.

    Parameters
    ----------
    matrix : ndarray of shape (p, p)
        Positive semidefinite.

    Returns
    -------
    log_determinant : float
        0 for the zero matrix.
    """
    return _pinv(matrix)[1]


def sam_weight(log_density: float, log_density_shifted: Array) -> float:
    r"""Return the self-adapting prior weight of the informative component.

    .. math:: w = R / (1 + R), \quad R = f(D | m) / \max_\delta f(D | m + \delta)

    Parameters
    ----------
    log_density : float
        :math:`\log f(D | m)`.
    log_density_shifted : ndarray of shape (n_shifts,)
        The same at the means that differ by the smallest difference that matters.

    Returns
    -------
    weight : float
        Prior weight in (0, 1).
    """
    ratio = log_density - float(np.max(log_density_shifted))
    return float(1 / (1 + np.exp(-np.clip(ratio, -700, 700))))


def _shrunk(information: Array, variances: Array) -> tuple[Array, Array, Array]:
    """Return A, B = (I + T Lambda)^-1 and log|I + T Lambda| of every domain."""
    root = np.sqrt(variances)
    p = len(root)
    inner = np.eye(p) + root[:, None] * information * root
    chol = np.linalg.cholesky(inner)
    logdet = 2 * np.log(np.einsum("kii->ki", chol)).sum(axis=1)
    scaled = root[:, None] * information
    solved = np.linalg.solve(inner, scaled)
    A = information - np.swapaxes(scaled, 1, 2) @ solved
    A = (A + np.swapaxes(A, 1, 2)) / 2
    B = np.eye(p) - root[:, None] * solved
    return A, B, logdet


def _pinv(matrix: Array) -> tuple[Array, float]:
    """Return the pseudo-inverse and the log pseudo-determinant of a PSD matrix."""
    scale = np.sqrt(np.maximum(np.diagonal(matrix), 0))
    scale = np.where(scale > 0, scale, 1.0)
    scaled = matrix / scale / scale[:, None]
    try:
        factor = linalg.cho_factor(scaled, lower=True, check_finite=False)
        diagonal = np.diagonal(factor[0])
        if len(scaled) and diagonal.min() > 1e-6:
            inverse = linalg.cho_solve(factor, np.eye(len(scaled)), check_finite=False)
            logdet = 2 * float(np.log(diagonal).sum() + np.log(scale).sum())
            return inverse / scale / scale[:, None], logdet
    except linalg.LinAlgError:  # singular: the eigenvalues tell the rank
        pass
    values, Q = linalg.eigh(matrix)
    kept = values > len(values) * np.finfo(float).eps * max(values[-1], 0.0) * 10
    Q, values = Q[:, kept], values[kept]
    return (Q / values) @ Q.T, float(np.log(values).sum())


def _scales(
    information: Array, vectors: Array, sizes: Array | None, rss: Array | None
) -> tuple[float, float]:
    """Rough sizes of the variances, where the search starts."""
    noise = 1.0
    if sizes is not None and rss is not None:
        dof = max(float(sizes.sum()) - vectors.size, 1.0)
        noise = float(rss.sum()) / dof or 1.0
    spread = float(np.mean(np.var(vectors, axis=0)))
    typical = float(np.mean(np.einsum("kii->ki", information))) / noise
    return max(spread, 1 / typical if typical > 0 else 1.0), noise


@dataclass(frozen=True)
class EvidenceRidge:
    """Ridge regression whose penalty and noise have the largest marginal likelihood.

    Attributes
    ----------
    coef : ndarray of shape (p,)
        Coefficients.
    alpha : float
        Penalty beside the residual sum of squares.
    noise : float
        Noise variance.
    precision : ndarray of shape (p, p)
        Posterior precision of the coefficients.
    """

    coef: Array
    alpha: float
    noise: float
    precision: Array


def evidence_ridge(
    gram: Array, moment: Array, energy: float, size: float,
    penalized: Array, alphas: Array,
) -> EvidenceRidge:  # fmt: skip
    r"""Choose penalty and noise of ridge regression by the marginal likelihood.

    With :math:`\theta \sim N(0, \sigma^2 / \alpha)` for the penalized coefficients and
    a flat prior of the others the noise is profiled out:
    :math:`\hat\sigma^2 = (y'y - h'\hat\theta) / (n - f)` for f free coefficients.
    Labels that are all 0 give no scale: the noise is then :math:`1 / (n - f)`.

    Parameters
    ----------
    gram, moment, energy, size : ndarray, ndarray, float, float
        :math:`X'WX`, :math:`X'Wy`, :math:`y'Wy` and the sum of the weights.
    penalized : ndarray of bool of shape (p,)
        Coefficients that the penalty shrinks.
    alphas : ndarray of shape (n_alphas,)
        Penalties to try; 0 is least squares, of least norm.

    Returns
    -------
    ridge : EvidenceRidge
        The fit of the largest restricted marginal likelihood.
    """
    best, best_value = None, np.inf
    free = int(np.sum(~penalized))
    smallest = np.finfo(float).tiny / np.finfo(float).eps ** 2
    if energy <= smallest:  # labels that are all 0 have no scale
        moment, energy = np.zeros_like(moment), 1.0
    for alpha in map(float, alphas):
        inverse, logdet = _pinv(gram + alpha * np.diag(penalized.astype(float)))
        coef = inverse @ moment
        dof = max(size - free, 1.0)
        floor = np.finfo(float).eps * energy
        noise = max(float(energy - moment @ coef), floor) / dof
        if alpha == 0:
            rank = np.linalg.matrix_rank(gram)
            noise = max(float(energy - moment @ coef), floor) / max(size - rank, 1.0)
        value = dof * np.log(noise) + logdet
        value -= float(penalized.sum()) * np.log(alpha) if alpha > 0 else 0.0
        if best is None or value < best_value - 1e-9 * abs(best_value):
            precision = (gram + alpha * np.diag(penalized.astype(float))) / noise
            best, best_value = EvidenceRidge(coef, alpha, noise, precision), value
    assert best is not None
    return best
