r"""Optimal transport plans, entropic or exact, with classes kept together.

References
----------
G. Peyre, M. Cuturi. Computational optimal transport. Foundations and Trends in Machine
Learning 11(5-6), 2019. :doi:`10.1561/2200000073`.

N. Courty, R. Flamary, D. Tuia, A. Rakotomamonjy. Optimal transport for domain
adaptation. IEEE TPAMI 39(9), 2017. :doi:`10.1109/TPAMI.2016.2615921`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics.pairwise import euclidean_distances

from sktransfer._solvers.array_api import array_like, namespace_of, to_numpy
from sktransfer._solvers.kernels import common_origin

Array = npt.NDArray[Any]

#: mass per target row at which the concave class penalty stops rising steeply
_ROUNDING = 1e-3
_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Plan:
    """A coupling of source and target rows.

    Attributes
    ----------
    coupling : ndarray of shape (n_source, n_target)
        Mass that goes from each source row to each target row.
    residual : float
        Norm of the violation of the marginals.
    potential : ndarray of shape (n_target,) or None
        Of an entropic plan the target's dual potential g, in the unit of the cost:
        row i of the coupling is proportional to ``exp((g - C[i]) / epsilon)``.
    n_iter : int
        Iterations of the outer loop over class penalties; 1 without them.
    converged : bool
        Whether that loop settled.
    source_potential : ndarray of shape (n_source,) or None
        Of an entropic plan the source's dual potential, in the unit of the cost.
    """

    coupling: Array
    residual: float
    potential: Array | None = None
    n_iter: int = 1
    converged: bool = True
    source_potential: Array | None = None


def squared_distances(left: Any, right: Any) -> Array:
    """Compute the squared Euclidean distance of each row to each row, at least 0."""
    distances: Array = euclidean_distances(*common_origin(left, right), squared=True)
    return distances


def exact_plan(C: Array, a: Array, b: Array) -> Plan:
    """Solve transport without regularization by the network simplex.

    Parameters
    ----------
    C : ndarray of shape (n_source, n_target)
        Cost of each pair.
    a, b : ndarray of shape (n_source,) and (n_target,)
        Masses of the rows, of sum 1.

    Returns
    -------
    Plan
        A vertex of the polytope of couplings.
    """
    import ot

    coupling, log = ot.emd(a, b, C, numItermax=2_000_000, log=True)
    residual = marginal_violation(coupling, a, b)
    return Plan(coupling, residual, converged=log["warning"] is None)


def entropic_plan(
    C: Array,
    epsilon: float,
    a: Array | None = None,
    b: Array | None = None,
    *,
    max_iter: int = 5000,
    tol: float = 1e-8,
    start: Plan | None = None,
) -> Plan:
    """Solve entropic transport by Sinkhorn iterations.

    The cost is first lowered by its row and column minima, which changes the scaling
    vectors and not the plan, and lets the fast iterations in the linear domain reach
    far smaller ``epsilon``; those in the log domain take over where it still
    underflows.

    Parameters
    ----------
    C : ndarray of shape (n_source, n_target)
        Cost of each pair.
    epsilon : float
        Strength of the entropy term, in the unit of the cost.
    a, b : ndarray of shape (n_source,) and (n_target,), default=None
        Masses of the rows, of sum 1; None: uniform.
    max_iter : int, default=5000
        Largest number of iterations.
    tol : float, default=1e-8
        Largest violation of the marginals.
    start : Plan, default=None
        Plan of a similar cost, from whose potentials the iterations start.

    Returns
    -------
    Plan
        The coupling, its residual and both potentials.
    """
    import ot

    m, n = C.shape
    xp = namespace_of(C)
    a = array_like(np.full(m, 1 / m) if a is None else a, C)
    b = array_like(np.full(n, 1 / n) if b is None else b, C)
    base = xp.min(C, axis=1, keepdims=True)
    lowered = C - base
    shift = xp.min(lowered, axis=0)
    lowered = lowered - shift
    options: dict[str, Any] = {"numItermax": max_iter, "stopThr": tol, "warn": False}
    if start is not None and start.potential is not None:
        assert start.source_potential is not None
        options["warmstart"] = (
            (start.source_potential - base[:, 0]) / epsilon,
            (start.potential - shift) / epsilon,
        )
    methods = ["sinkhorn_log"]
    if float(xp.max(lowered)) / epsilon < 500:
        methods.insert(0, "sinkhorn")
    for method in methods:
        with np.errstate(all="ignore"):
            coupling, log = ot.sinkhorn(
                a, b, lowered, epsilon, method=method, log=True, **options
            )
            left, right = (
                log[f"log_{side}"] if f"log_{side}" in log else xp.log(log[side])
                for side in "uv"
            )
        residual = marginal_violation(coupling, a, b)
        if np.isfinite(residual) and bool(xp.all(xp.isfinite(right))):
            break
    return Plan(
        coupling,
        residual,
        potential=epsilon * right + shift,
        source_potential=epsilon * left + base[:, 0],
    )


def marginal_violation(coupling: Array, a: Array, b: Array) -> float:
    """Return the larger norm of what the marginals miss; infinite where not finite."""
    xp = namespace_of(coupling)
    sums = [to_numpy(xp.sum(coupling, axis=k)) for k in (1, 0)]
    if not all(np.isfinite(one).all() for one in sums):
        return np.inf
    gaps = [one - to_numpy(mass) for one, mass in zip(sums, (a, b), strict=True)]
    return float(max(np.linalg.norm(gap) for gap in gaps))


def class_plan(
    C: Array,
    epsilon: float,
    codes: Array,
    strength: float,
    penalty: str,
    a: Array,
    b: Array,
    *,
    max_iter: int = 5000,
    tol: float = 1e-8,
    max_outer: int = 100,
    rounding: float = _ROUNDING,
    fall: float = 1e-5,
) -> Plan:
    r"""Solve entropic transport in which a target row draws on few source classes.

    With :math:`\pi_{cj}` the masses that the source rows of class c send to target row
    j, the penalty is

    .. math:: \eta \sum_{j, c} \lVert \pi_{cj} \rVert_2 \quad (\text{"group\_lasso"}),
        \qquad
        \eta \sum_j b_j \sum_c \sqrt{\lVert \pi_{cj} \rVert_1 / b_j + r}
        \quad (\text{"lp\_l1"}).

    The first is convex and solved by generalized conditional gradients, the second is
    concave and solved by majorization: entropic transport with the tangent as a cost.

    Parameters
    ----------
    C : ndarray of shape (n_source, n_target)
        Cost of each pair.
    epsilon : float
        Strength of the entropy term.
    codes : ndarray of shape (n_source,)
        Class of each source row.
    strength : float
        Strength :math:`\eta` of the penalty.
    penalty : {"group_lasso", "lp_l1"}
        Form of the penalty.
    a, b : ndarray of shape (n_source,) and (n_target,)
        Masses of the rows.
    max_iter, tol
        As in :func:`entropic_plan`.
    max_outer : int, default=100
        Largest number of outer iterations.
    rounding : float, default=1e-3
        r, which keeps the slope of the concave penalty finite.
    fall : float, default=1e-5
        The majorization of the concave penalty ends where the objective falls by no
        more than this share of itself.

    Returns
    -------
    Plan
        The coupling; the last fall of the objective decides on ``converged``.
    """
    members = np.unique(codes, return_inverse=True)[1]
    one_hot = np.zeros((len(codes), int(members.max()) + 1))
    one_hot[np.arange(len(codes)), members] = 1.0

    def solve(cost: Array, start: Plan | None = None) -> Plan:
        return entropic_plan(
            cost, epsilon, a, b, max_iter=max_iter, tol=tol, start=start
        )

    if penalty == "lp_l1":
        return _majorized(C, one_hot, strength, a, b, solve, max_outer, rounding, fall)
    found = _group_lasso(C, epsilon, one_hot, strength, solve, max_outer)
    return replace(found, residual=marginal_violation(found.coupling, a, b))


def _majorized(
    C: Array,
    one_hot: Array,
    strength: float,
    a: Array,
    b: Array,
    solve: Callable[..., Plan],
    max_outer: int,
    rounding: float,
    fall: float,
) -> Plan:
    plan, slope, step = solve(C), np.zeros(()), 1
    value, falls = np.inf, True
    while falls and step <= max_outer:
        mass = one_hot.T @ plan.coupling
        root = np.sqrt(mass / b + rounding)
        # cost and entropy of an entropic plan are what its potentials earn
        assert plan.potential is not None and plan.source_potential is not None
        earned = float(a @ plan.source_potential + b @ plan.potential)
        last, value = value, earned + strength * float(np.sum(b * root - slope * mass))
        falls = not last - value <= fall * abs(value)
        if falls and step < max_outer:
            slope = 0.5 / root
            plan = solve(C + strength * (one_hot @ slope), plan)
        step += 1
    return Plan(plan.coupling, plan.residual, n_iter=step - 1, converged=not falls)


def _group_lasso(
    C: Array,
    epsilon: float,
    one_hot: Array,
    strength: float,
    solve: Callable[..., Plan],
    max_outer: int,
) -> Plan:
    def norms(coupling: Array) -> Array:
        return np.asarray(np.sqrt(one_hot.T @ coupling**2))

    def objective(coupling: Array) -> float:
        positive = coupling[coupling > 0]
        entropy = float(np.sum(positive * np.log(positive)))
        transported = float(np.sum(coupling * C))
        penalty = float(norms(coupling).sum())
        return transported + epsilon * entropy + strength * penalty

    plan = solve(C)
    coupling = plan.coupling
    value, done, step = objective(coupling), False, 0
    while not done and step < max_outer:
        step += 1
        size = np.maximum(one_hot @ norms(coupling), np.finfo(float).tiny)
        plan = solve(C + strength * coupling / size, plan)
        direction = plan.coupling - coupling
        length, best = _line_search(objective, coupling, direction, value)
        done = value - best <= 1e-7 * max(abs(value), np.finfo(float).tiny)
        if length > 0:
            coupling, value = coupling + length * direction, best
    return Plan(coupling, 0.0, n_iter=step, converged=done)


def _line_search(
    objective: Any, coupling: Array, direction: Array, value: float
) -> tuple[float, float]:
    """Minimize a convex objective along a segment by golden sections."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda t: objective(coupling + t * direction),
        bounds=(0.0, 1.0),
        method="bounded",
        options={"xatol": 1e-3},
    )
    candidates = [(0.0, value), (float(found.x), float(found.fun))]
    candidates.append((1.0, objective(coupling + direction)))
    return min(candidates, key=lambda pair: pair[1])


@dataclass(frozen=True)
class SharesInfo:
    """How the fit of the target's class shares ended.

    Attributes
    ----------
    change : float
        Norm of the last change of the shares.
    residual : float
        Largest violation of a target marginal.
    n_iter : int
        Iterations.
    converged : bool
        Whether the change is within the tolerance.
    """

    change: float
    residual: float
    n_iter: int
    converged: bool


def joint_class_shares(
    costs: list[Array],
    members: list[Array],
    epsilon: float,
    b: Array,
    *,
    max_iter: int = 5000,
    tol: float = 1e-8,
) -> tuple[Array, list[Array], SharesInfo]:
    r"""Find class shares of the target that all sources agree on.

    .. math:: \min_{h, \pi_1, .., \pi_K} \sum_k \langle \pi_k, C_k \rangle + \epsilon
        \sum_{ij} \pi_{k,ij} \log \pi_{k,ij}

    over couplings of each source with the target in which the rows of class c have
    the mass :math:`h_c`, spread evenly, and target rows the masses b. Solved by
    iterated Bregman projections.

    Parameters
    ----------
    costs : list of ndarray of shape (n_k, n_target)
        Cost of each pair for every source.
    members : list of ndarray of shape (n_k, n_classes)
        Masses of rows within their class: columns of sum 1.
    epsilon : float
        Strength of the entropy term.
    b : ndarray of shape (n_target,)
        Masses of the target rows.
    max_iter : int, default=5000
        Largest number of iterations.
    tol : float, default=1e-8
        Largest change of the shares that counts as settled.

    Returns
    -------
    shares : ndarray of shape (n_classes,)
        h, of sum 1.
    couplings : list of ndarray of shape (n_k, n_target)
        Couplings with these shares.
    info : SharesInfo
        Their certificate.

    References
    ----------
    I. Redko, N. Courty, R. Flamary, D. Tuia. Optimal transport for multi-source domain
    adaptation under target shift. AISTATS, 2019. :arxiv:`1803.04899`.
    """
    n_classes = members[0].shape[1]
    indicators = [m > 0 for m in members]
    # a cost that is lowered column by column changes no coupling: each column's mass
    # is given
    logs = [-(C - C.min(axis=0)) / epsilon for C in costs]
    kernels = [np.exp(K) for K in logs]
    scalings = [np.ones(len(C)) for C in costs]
    shares, change, step = np.full(n_classes, 1 / n_classes), np.inf, 0
    while change > tol and step < max_iter:
        step += 1
        masses, sums = [], []
        for K, u, hit in zip(kernels, scalings, indicators, strict=True):
            received = K @ (b / np.maximum(u @ K, _TINY))
            sums.append(np.maximum(received, _TINY))
            masses.append(hit.T @ (u * sums[-1]))
        new = np.exp(np.mean([np.log(np.maximum(m, _TINY)) for m in masses], axis=0))
        scalings = [m @ new / s for m, s in zip(members, sums, strict=True)]
        change = float(np.linalg.norm(new - shares))
        shares = new
    couplings = []
    for K, u in zip(kernels, scalings, strict=True):
        columns = b / np.maximum(u @ K, _TINY)
        couplings.append(u[:, None] * K * columns)
    residual = max(float(np.linalg.norm(g.sum(axis=0) - b)) for g in couplings)
    info = SharesInfo(change, residual, step, change <= tol)
    return shares / shares.sum(), couplings, info
