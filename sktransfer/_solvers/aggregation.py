r"""How much weight a transfer model earns beside a target-only model.

With out-of-fold residuals :math:`e_0` (target only) and :math:`e_1` (transfer) of n
rows, the blend with weight w has the risk

.. math:: R(w) = \frac1n \sum_i \lVert (1 - w) e_{0i} + w e_{1i} \rVert^2
               = R(w^*) + c (w - w^*)^2 .
"""

import warnings
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from sktransfer._solvers.simplex_qp import Solver, check_solver, solve_simplex_qp

Array = npt.NDArray[Any]

# a scale below this is a point
_LEAST_SCALE = 1e-12


@dataclass(frozen=True)
class BlendInfo:
    """Evidence of the rows on the weight.

    Attributes
    ----------
    minimizer : float
        Unconstrained minimizer of R; NaN if the two models agree on every row.
    standard_error : float
        Scale of the posterior; infinite without evidence.
    dof : int
        Degrees of freedom of the posterior.
    """

    minimizer: float
    standard_error: float
    dof: int


def blend_posterior(
    residual_0: Array,
    residual_1: Array,
    n_units: int | None = None,
    inflation: float = 1.0,
) -> BlendInfo:
    r"""Return the posterior of the transfer weight before it is cut to [0, 1].

    For Gaussian residuals of unknown variance (prior :math:`1/\sigma^2`) and a
    uniform prior of w the posterior density is proportional to
    :math:`R(w)^{-n/2}`. As R is a parabola this is Student's t with n - 1 degrees of
    freedom, centered at the minimizer :math:`w^*`, with the scale
    :math:`\sqrt{R(w^*) / (c (n - 1))}`.

    Parameters
    ----------
    residual_0, residual_1 : ndarray of shape (n, k)
        Residuals of the target-only and of the transfer model on the same rows,
        multiplied by the square root of the weight where rows have weights.
    n_units : int, default=None
        Number of independent rows that they stand for, if it is not n.
    inflation : float in (0, inf), default=1.0
        Factor of the scale.

    Returns
    -------
    info : BlendInfo
        Center, scale and degrees of freedom; no evidence with one row or where the
        models are equal.
    """
    e = np.asarray(residual_0, dtype=np.float64)
    step = e - np.asarray(residual_1, dtype=np.float64)
    n = len(e) if n_units is None else n_units
    curvature = float(np.sum(step**2))
    if n < 2 or curvature <= np.finfo(float).eps * float(np.sum(e**2)):
        return BlendInfo(float("nan"), float("inf"), max(n - 1, 0))
    center = float(np.sum(e * step)) / curvature
    least = float(np.sum((e - center * step) ** 2))
    scale = inflation * float(np.sqrt(least / (curvature * (n - 1))))
    return BlendInfo(center, scale, n - 1)


def atom_probability(
    center: Any, scale: Any, dof: Any, atom: Any, whole: Any = 0.0
) -> Array:
    r"""Return the probability that the best weight is 0, given the rows.

    The prior is :math:`p_0 \delta_0 + p_1 \delta_1 + (1 - p_0 - p_1)\, U[0, 1]`.
    Under the uniform part alone the weight has the density
    :math:`f(w) = t(w) / \int_0^1 t`, t the Student t of :class:`BlendInfo`. As the
    uniform prior has the density 1, :math:`f(0)` and :math:`f(1)` are the Bayes
    factors for 0 and 1 (Savage and Dickey), so

    .. math:: P(w = 0 | y) = \frac{p_0 f(0)}{p_0 f(0) + p_1 f(1) + 1 - p_0 - p_1} .

    Parameters
    ----------
    center, scale, dof : array-like
        Attributes of :class:`BlendInfo`, of any common shape; an infinite scale is
        no evidence.
    atom : array-like
        Prior probability :math:`p_0` in [0, 1).
    whole : array-like, default=0.0
        Prior probability :math:`p_1` of a best weight of 1, in [0, 1 - atom].

    Returns
    -------
    probability : ndarray
        Posterior probability of 0.
    """
    probability: Array = _component_probabilities(center, scale, dof, atom, whole)[0]
    return probability


def _component_probabilities(
    center: Any, scale: Any, dof: Any, atom: Any, whole: Any
) -> Array:
    """Return the posterior probabilities of 0, of 1 and of the uniform part."""
    atom, whole = np.asarray(atom, np.float64), np.asarray(whole, np.float64)
    prior = np.stack(np.broadcast_arrays(atom, whole, 1.0 - atom - whole))
    evidence = _log_components(center, scale, dof)
    prior, evidence = _same_dimensions(prior, evidence)
    with np.errstate(divide="ignore"):
        posterior: Array = special.softmax(np.log(prior) + evidence, axis=0)
    return posterior


def _log_components(center: Any, scale: Any, dof: Any) -> Array:
    """Return the log Bayes factors of 0, of 1 and of the uniform part."""
    at_0 = log_bayes_factor(center, scale, dof)
    at_1 = log_bayes_factor(1.0 - np.asarray(center, np.float64), scale, dof)
    return np.stack([at_0, at_1, np.zeros_like(at_0)])


def _same_dimensions(prior: Array, evidence: Array) -> tuple[Array, Array]:
    more = evidence.ndim - prior.ndim
    if more > 0:
        prior = prior.reshape(prior.shape + (1,) * more)
    return prior, evidence


@dataclass(frozen=True)
class BlendPrior:
    """Prior of the best weight of transfer: two atoms, the rest uniform on [0, 1].

    Attributes
    ----------
    atom : float or ndarray
        Probability that it is 0.
    whole : float or ndarray
        Probability that it is 1.
    """

    atom: Any
    whole: Any


def fit_blend_prior(
    center: Any,
    scale: Any,
    dof: Any,
    base: BlendPrior,
    *,
    strength: float = 1.0,
    max_iter: int = 500,
) -> BlendPrior:
    r"""Fit the prior of the best weight to trials, by marginal likelihood.

    The probabilities p of 0, of 1 and of the uniform part maximize

    .. math:: \sum_k \log(p_0 f_k(0) + p_1 f_k(1) + p_U) + \alpha \sum_c q_c \log p_c,

    with the Bayes factors of :func:`atom_probability` for each trial k and the base
    prior q: the estimate of a mixture under a Dirichlet prior that is worth
    :math:`\alpha` trials. Found by expectation maximization, which ascends.

    Parameters
    ----------
    center, scale, dof : array-like of shape (..., n_trials)
        Attributes of :class:`BlendInfo`, one per trial.
    base : BlendPrior
        The base prior q.
    strength : float in (0, inf), default=1.0
        :math:`\alpha`.
    max_iter : int, default=500
        Largest number of iterations.

    Returns
    -------
    prior : BlendPrior
        Its attributes have the shape (...).
    """
    q = np.array([base.atom, base.whole, 1.0 - base.atom - base.whole])
    evidence = _log_components(center, scale, dof)
    n_trials = evidence.shape[-1]
    q = q.reshape((3,) + (1,) * (evidence.ndim - 2))
    p = np.broadcast_to(q, evidence.shape[:-1])
    for _ in range(max_iter):
        with np.errstate(divide="ignore"):
            share = special.softmax(np.log(p)[..., None] + evidence, axis=0)
        new = (strength * q + share.sum(axis=-1)) / (strength + n_trials)
        change = float(np.max(np.abs(new - p)))
        p = new
        if change < 1e-9:
            break
    return BlendPrior(p[0], p[1])


def log_bayes_factor(center: Any, scale: Any, dof: Any) -> Array:
    """Return the log of f(0) of :func:`atom_probability`; 0 without evidence."""
    center, scale, dof = np.broadcast_arrays(
        *(np.asarray(a, dtype=np.float64) for a in (center, scale, dof))
    )
    known = np.isfinite(scale) & np.isfinite(center)
    c = np.where(known, center, 0.5)
    s = np.maximum(np.where(known, scale, 1.0), _LEAST_SCALE)
    nu = np.where(known, np.maximum(dof, 1.0), 1.0)
    # by the tail that holds digits: mirror the interval where it lies left of the mode
    left, right = -c / s, (1.0 - c) / s
    mirrored = left < 0
    low = np.where(mirrored, -right, left)
    high = np.where(mirrored, -left, right)
    log_low = _log_survival(low, nu)
    log_high = _log_survival(high, nu)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_mass = log_low + np.log1p(-np.exp(np.minimum(log_high - log_low, 0.0)))
    log_factor = _log_density(left, nu) - np.log(s) - log_mass
    factor: Array = np.where(known, log_factor, 0.0)
    return factor


def _log_survival(x: Array, nu: Array) -> Array:
    """Log of P(t > x); where that underflows, the density over its log-slope."""
    with np.errstate(divide="ignore"):
        direct: Array = np.log(special.stdtr(nu, -x))
    if np.isfinite(direct).all():
        return direct
    far = np.maximum(np.abs(x), 1.0)
    tail = _log_density(far, nu) + np.log((nu + far**2) / (nu * far))
    survival: Array = np.where(np.isneginf(direct), tail, direct)
    return survival


def _log_density(x: Array, nu: Array) -> Array:
    """Log density of Student's t."""
    constant = np.log(special.poch(0.5 * nu, 0.5)) - 0.5 * (np.log(nu) + np.log(np.pi))
    density: Array = constant - (nu + 1) / 2 * np.log1p(x * x / nu)
    return density


def blend_weight(
    info: BlendInfo, quantile: float, atom: float = 0.0, whole: float = 0.0
) -> float:
    """Return a quantile of the posterior of the transfer weight on [0, 1].

    Parameters
    ----------
    info : BlendInfo
        Posterior of :func:`blend_posterior`; it is truncated to [0, 1]. Without
        evidence the prior is left.
    quantile : float in (0, 1)
        Probability, given the rows, that the best weight is below the returned one.
    atom : float in [0, 1), default=0.0
        Prior probability that the best weight is 0.
    whole : float in [0, 1 - atom], default=0.0
        Prior probability that it is 1; the rest is uniform on [0, 1].

    Returns
    -------
    weight : float
        Weight of the transfer model, in [0, 1].
    """
    center, scale, dof = info.minimizer, info.standard_error, info.dof
    zero, one, between = map(
        float, _component_probabilities(center, scale, dof, atom, whole)
    )
    if quantile <= zero:
        return 0.0
    if quantile >= 1.0 - one or between <= 0:
        return 1.0
    quantile = (quantile - zero) / between
    if not np.isfinite(scale):
        return quantile
    return _truncated_t_quantile(center, scale, dof, quantile)


def _truncated_t_quantile(
    center: float, scale: float, dof: int, quantile: float
) -> float:
    """Quantile of Student's t truncated to [0, 1], by the tail that holds digits."""
    if center > 0.5:
        return 1.0 - _truncated_t_quantile(1.0 - center, scale, dof, 1.0 - quantile)
    if scale < 1e-12:
        return max(center, 0.0)
    above_0 = float(special.stdtr(dof, center / scale))
    above_1 = float(special.stdtr(dof, (center - 1.0) / scale))
    if above_0 <= above_1:  # the density beyond 0 underflows
        return 0.0
    tail = above_0 - quantile * (above_0 - above_1)
    return float(np.clip(center - scale * special.stdtrit(dof, tail), 0.0, 1.0))


@dataclass(frozen=True)
class AggregationInfo:
    """How well the weights of an aggregate were solved.

    Attributes
    ----------
    objective : float or ndarray
        Value of the program at the weights.
    gap : float or ndarray
        Upper bound of the suboptimality (Frank-Wolfe gap) relative to the scale of
        the program; 0 for closed forms.
    converged : bool
        Whether ``gap`` is within the tolerance.
    """

    objective: Any
    gap: Any
    converged: bool


def exponential_weights(
    losses: Array, n_units: int, temperature: float, prior: Array
) -> Array:
    r"""Weigh members by the exponential of their losses.

    .. math:: w_j \propto \pi_j \exp(-S_j / (2 T s^2)), \qquad s^2 = \min_j S_j / n .

    Parameters
    ----------
    losses : ndarray of shape (..., n_members)
        Sums :math:`S_j` of squared residuals over the held-out units.
    n_units : int
        Number :math:`n` of units; 0 leaves the prior.
    temperature : float in [0, inf]
        T; 0 selects the least loss, infinity leaves the prior.
    prior : ndarray of shape (n_members,)
        Positive prior weights; they are normalized.

    Returns
    -------
    weights : ndarray of shape (..., n_members)
        Nonnegative, with sum 1. Members of equal loss share by the prior; where a
        member has no loss at all, the prior among those without loss is left.
    """
    S = np.asarray(losses, dtype=np.float64)
    log_prior = np.log(_normalized(prior))
    if n_units == 0 or np.isinf(temperature):
        return np.broadcast_to(np.exp(log_prior), S.shape).copy()
    least = S.min(axis=-1, keepdims=True)
    excess = S - least
    scale = 2 * temperature * least / n_units
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        exponent = np.where(excess > 0, -excess / scale, 0.0)
    # rounding must not decide between members of the same loss
    exponent = np.where(excess <= 1e-12 * least, 0.0, exponent)
    return _softmax(log_prior + exponent)


def select_weights(losses: Array, prior: Array) -> Array:
    """Give all weight to the least loss; members of equal loss share by the prior.

    Parameters
    ----------
    losses : ndarray of shape (..., n_members)
        Sums of squared residuals over the held-out units.
    prior : ndarray of shape (n_members,)
        Positive prior weights.

    Returns
    -------
    weights : ndarray of shape (..., n_members)
        Nonnegative, with sum 1.
    """
    return exponential_weights(losses, 1, 0.0, prior)


def convex_weights(
    gram: Array, *, solver: Solver = "auto"
) -> tuple[Array, AggregationInfo]:
    r"""Find the convex combination of members of the least loss.

    .. math:: \min_w \Bigl\|\sum_j w_j r_j\Bigr\|^2
              \quad\text{s.t.}\quad w \ge 0,\; \sum_j w_j = 1 .

    Where several combinations are optimal (copies of a member), the one of least norm
    is returned, in which copies share.

    Parameters
    ----------
    gram : ndarray of shape (n_members, n_members)
        Inner products of the residuals.
    solver : {"auto", "cvxpy"}, default="auto"
        As in :func:`~sktransfer._solvers.simplex_qp.solve_simplex_qp`.

    Returns
    -------
    weights : ndarray of shape (n_members,)
        Nonnegative, with sum 1.
    info : AggregationInfo
        Objective and gap.
    """
    G = np.asarray(gram, dtype=np.float64)
    w, info = solve_simplex_qp(2 * G, solver=solver)
    return w, AggregationInfo(info.objective, info.kkt_residual, info.converged)


def q_weights(
    gram: Array,
    n_units: int,
    temperature: float,
    prior: Array,
    *,
    solver: Solver = "auto",
    tol: float = 1e-10,
    max_iter: int = 200,
) -> tuple[Array, AggregationInfo]:
    r"""Q-aggregation: between the mean of the losses and the loss of the mean.

    .. math:: \min_w \tfrac12 R(f_w) + \tfrac12 \sum_j w_j R(f_j)
              + \frac{\beta}{n} \sum_j w_j \log \frac{w_j}{\pi_j}, \qquad
              \beta = 2 T s^2, \quad s^2 = \min_j R(f_j)

    over the simplex, with :math:`R(f_w) = \|\sum_j w_j r_j\|^2 / n`. The relative
    entropy stands in place of :math:`\sum_j w_j \log(1/\pi_j)` so that copies of a
    member that share its prior change nothing.

    Parameters
    ----------
    gram : ndarray of shape (..., n_members, n_members)
        Inner products of the residuals of the members over the held-out units.
    n_units : int
        Number n of units; 0 leaves the prior.
    temperature : float in (0, inf]
        T; infinity leaves the prior.
    prior : ndarray of shape (n_members,)
        Positive prior weights.
    solver : {"auto", "cvxpy"}, default="auto"
        "auto" is Newton's method for all programs of the stack at once, with the
        interior-point method of "cvxpy" where it is not within ``tol``.
    tol : float, default=1e-10
        Gap, relative to the largest loss, that counts as solved.
    max_iter : int, default=200
        Largest number of Newton steps.

    Returns
    -------
    weights : ndarray of shape (..., n_members)
        Nonnegative, with sum 1.
    info : AggregationInfo
        Objective and gap.

    References
    ----------
    D. Dai, P. Rigollet, T. Zhang. Deviation optimal learning using greedy
    Q-aggregation. Annals of Statistics 40 (2012).
    https://doi.org/10.1214/12-AOS1025
    """
    check_solver(solver)
    G = np.asarray(gram, dtype=np.float64)
    pi = _normalized(prior)
    losses = np.diagonal(G, axis1=-2, axis2=-1)
    least = losses.min(axis=-1)
    if n_units == 0 or np.isinf(temperature):
        w = np.broadcast_to(pi, losses.shape).copy()
        return w, AggregationInfo(np.zeros(least.shape), np.zeros(least.shape), True)
    perfect = least <= 0
    # a program per unit of its scale; without noise there is no entropy to weigh
    scale = np.maximum(losses.max(axis=-1), np.finfo(float).tiny)
    A = G / scale[..., None, None]
    c = losses / scale[..., None] / 2
    b = np.maximum(2 * temperature * least / scale / n_units, 1e-14)
    if solver == "cvxpy":
        w = np.full(c.shape, np.nan)
    else:
        w = _q_newton(A, c, b, pi, tol, max_iter)
    gap = _q_certificate(A, c, b, pi, w)[1]
    for i in np.argwhere(~(gap <= tol) & ~perfect):
        at = tuple(i)
        w[at] = _q_cvxpy(A[at], c[at], float(b[at]), pi)
    w = np.where(perfect[..., None], select_weights(losses, pi), w)
    value, gap = _q_certificate(A, c, b, pi, w)
    gap = np.where(perfect, 0.0, gap)
    solved = bool((gap <= max(tol, 1e-7)).all())
    return w, AggregationInfo(value * scale / n_units, gap, solved)


def _q_certificate(
    A: Array, c: Array, b: Array, pi: Array, w: Array
) -> tuple[Array, Array]:
    """Return the objective and a bound of the suboptimality (conjugate of entropy).

    At the gradient g of the smooth part, the minimum of ``g'v + b KL(v, pi)`` over
    the simplex is ``-b log sum(pi exp(-g/b))``; the convex smooth part lies above its
    tangent, so value minus that minimum bounds the suboptimality.
    """
    Aw = np.einsum("...ij,...j->...i", A, w)
    g = Aw + c
    with np.errstate(divide="ignore", invalid="ignore"):
        kl = np.sum(np.where(w > 0, w * np.log(w / pi), 0.0), axis=-1)
    linear = np.sum(g * w, axis=-1)
    z = np.log(pi) - g / b[..., None]
    top = z.max(axis=-1)
    bound = -b * (top + np.log(np.sum(np.exp(z - top[..., None]), axis=-1)))
    value = np.sum((Aw / 2 + c) * w, axis=-1) + b * kl
    return value, np.maximum(linear + b * kl - bound, 0.0)


def _q_newton(
    A: Array, c: Array, b: Array, pi: Array, tol: float, max_iter: int
) -> Array:
    """Follow the solutions from a large weight of the entropy down to b."""
    w = np.broadcast_to(pi, c.shape).copy()
    level = 1.0
    for _ in range(max_iter):
        at = np.maximum(b, level)
        w, decrement = _newton_step(A, c, at, pi, w)
        if decrement.max(initial=0.0) < 0.1 and level > b.min(initial=1.0):
            level /= 5.0
        elif (_q_certificate(A, c, b, pi, w)[1] <= tol * 1e-2).all():
            break
    return w


def _newton_step(
    A: Array, c: Array, b: Array, pi: Array, w: Array
) -> tuple[Array, Array]:
    """One damped Newton step on the plane ``sum(w) = 1``, and its length."""
    m = c.shape[-1]
    gradient = np.einsum("...ij,...j->...i", A, w) + c
    gradient = gradient + b[..., None] * np.log(w / pi)
    # in the coordinates step = sqrt(w) z: well scaled where weights vanish
    root = np.sqrt(w)
    system = np.zeros((*c.shape[:-1], m + 1, m + 1))
    system[..., :m, :m] = root[..., :, None] * A * root[..., None, :]
    system[..., range(m), range(m)] += b[..., None]
    system[..., :m, m] = system[..., m, :m] = root
    right = np.zeros((*c.shape[:-1], m + 1, 1))
    right[..., :m, 0] = -root * gradient
    step = root * np.linalg.solve(system, right)[..., :m, 0]
    relative = np.max(np.abs(step / w), axis=-1)
    t = 1.0 / np.maximum(1.0, relative / 0.9)
    trial = np.maximum(w + t[..., None] * step, 1e-200)
    # a weight that vanishes is small beside the largest, so its length does not matter
    weighty = np.max(np.where(w > 1e-12, np.abs(step / w), 0.0), axis=-1)
    return trial / trial.sum(axis=-1, keepdims=True), weighty


def _q_cvxpy(A: Array, c: Array, b: float, pi: Array) -> Array:
    cp: Any = import_module("cvxpy")
    w = cp.Variable(len(c), nonneg=True)
    entropy = cp.sum(cp.rel_entr(w, pi))
    objective = cp.quad_form(w, cp.psd_wrap(A)) / 2 + c @ w + b * entropy
    problem = cp.Problem(cp.Minimize(objective), [cp.sum(w) == 1])
    with warnings.catch_warnings():
        # the certificate states how accurate it is
        warnings.filterwarnings("ignore", "Solution may be inaccurate")
        problem.solve(
            solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11
        )
    found = np.maximum(np.asarray(w.value, dtype=np.float64), 1e-200)
    found = found / found.sum()
    # an interior-point solver leaves the weights at the root of its tolerance
    level = np.array(b)
    gap = _q_certificate(A, c, level, pi, found)[1]
    for _ in range(20):
        polished, _ = _newton_step(A, c, level, pi, found)
        new_gap = _q_certificate(A, c, level, pi, polished)[1]
        if not new_gap < gap:
            break
        found, gap = polished, new_gap
    return found


def _normalized(prior: Array) -> Array:
    pi = np.asarray(prior, dtype=np.float64)
    normalized: Array = pi / pi.sum()
    return normalized


def _softmax(z: Array) -> Array:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    weights: Array = e / e.sum(axis=-1, keepdims=True)
    return weights
