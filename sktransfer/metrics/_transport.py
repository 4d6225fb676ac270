"""Distances of domains by optimal transport."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from sktransfer._compat import Interval, StrOptions, validate_params
from sktransfer._solvers.array_api import array_like, namespace_of
from sktransfer._solvers.transport import entropic_plan as solve_entropic
from sktransfer.metrics._checks import check_domain_pair, warn_not_converged

_PAIR = {"X_source": ["array-like"], "X_target": ["array-like"]}
_ORDER = {"order": [Interval(Real, 1, None, closed="left")]}


@validate_params({**_PAIR, **_ORDER}, prefer_skip_nested_validation=True)
def wasserstein(X_source: Any, X_target: Any, *, order: Any = 1) -> float:
    r"""Compute the Wasserstein distance between two samples.

    Parameters
    ----------
    X_source : array-like of shape (n_source, n_features)
        Rows of the source.
    X_target : array-like of shape (n_target, n_features)
        Rows of the target.
    order : float >= 1, default=1
        Order :math:`p` of the distance.

    Returns
    -------
    distance : float
        In the unit of the features.

    See Also
    --------
    sinkhorn_divergence : Entropic version, cheaper for many rows.
    sliced_wasserstein : Mean over projections on lines, cheaper still.

    Notes
    -----
    :math:`W_p = (\min_\pi \sum_{ij} \pi_{ij} \lVert x_i^s - x_j^t \rVert_2^p)^{1/p}`
    over plans :math:`\pi \ge 0` whose rows sum to :math:`1/n_s` and whose columns sum
    to :math:`1/n_t`. One feature: solved by sorting; otherwise by the network simplex
    of POT, whose time grows with the cube of the number of rows.

    References
    ----------
    .. [1] Peyre and Cuturi, "Computational optimal transport" (2019),
       :doi:`10.1561/2200000073`.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.metrics import wasserstein
    >>> X = np.random.RandomState(0).normal(size=(30, 2))
    >>> round(wasserstein(X, X + [3.0, 4.0]), 6)
    5.0
    """
    import ot

    X_source, X_target = check_domain_pair(X_source, X_target, center=True)
    if X_source.shape[1] == 1:
        value = ot.wasserstein_1d(X_source[:, 0], X_target[:, 0], p=order)
        return float(value) ** (1 / order)
    cost = ot.dist(X_source, X_target, metric="euclidean") ** order
    value, log = ot.emd2([], [], cost, numItermax=2_000_000, log=True)
    if log["warning"] is not None:
        warn_not_converged("The network simplex", np.nan, 0.0, str(log["warning"]))
    return float(max(value, 0.0)) ** (1 / order)


@validate_params(
    {
        **_PAIR,
        **_ORDER,
        "n_projections": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def sliced_wasserstein(
    X_source: Any,
    X_target: Any,
    *,
    order: Any = 2,
    n_projections: int = 100,
    random_state: Any = None,
) -> float:
    r"""Compute the Wasserstein distance averaged over random lines.

    Parameters
    ----------
    X_source : array-like of shape (n_source, n_features)
        Rows of the source.
    X_target : array-like of shape (n_target, n_features)
        Rows of the target.
    order : float >= 1, default=2
        Order :math:`p` of the distance.
    n_projections : int, default=100
        Number of random directions.
    random_state : int, RandomState instance or None, default=None
        Seed of the directions.

    Returns
    -------
    distance : float
        In the unit of the features.

    See Also
    --------
    wasserstein : Exact distance.

    Notes
    -----
    :math:`(\frac1L \sum_l W_p^p(u_l^\top x^s, u_l^\top x^t))^{1/p}` with directions
    :math:`u_l` uniform on the sphere.

    References
    ----------
    .. [1] Bonneel et al., "Sliced and Radon Wasserstein barycenters of measures",
       JMIV 51 (2015), :doi:`10.1007/s10851-014-0506-3`.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.metrics import sliced_wasserstein
    >>> X = np.random.RandomState(0).normal(size=(30, 2))
    >>> sliced_wasserstein(X, X, random_state=0)
    0.0
    """
    import ot

    X_source, X_target = check_domain_pair(X_source, X_target, center=True)
    rng = check_random_state(random_state)
    if X_source.shape[1] == 1:
        value = ot.wasserstein_1d(X_source[:, 0], X_target[:, 0], p=order)
        return float(value) ** (1 / order)
    return float(
        ot.sliced_wasserstein_distance(
            X_source, X_target, n_projections=n_projections, p=order, seed=rng
        )
    )


@validate_params(
    {
        **_PAIR,
        "reg": [Interval(Real, 0, None, closed="neither")],
        "cost": [StrOptions({"sqeuclidean", "euclidean"})],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
    },
    prefer_skip_nested_validation=True,
)
def sinkhorn_divergence(
    X_source: Any,
    X_target: Any,
    *,
    reg: Any = 0.05,
    cost: str = "sqeuclidean",
    max_iter: int = 5000,
    tol: float = 1e-8,
) -> float:
    r"""Compute the debiased entropic transport cost between two samples.

    Parameters
    ----------
    X_source : array-like of shape (n_source, n_features)
        Rows of the source.
    X_target : array-like of shape (n_target, n_features)
        Rows of the target.
    reg : float > 0, default=0.05
        Strength of the entropy term relative to the mean cost between the domains,
        so that the value does not depend on the unit of the features but for its own
        unit.
    cost : {"sqeuclidean", "euclidean"}, default="sqeuclidean"
        Cost of moving a row.
    max_iter : int, default=5000
        Largest number of Sinkhorn iterations.
    tol : float, default=1e-8
        Largest violation of the marginals.

    Returns
    -------
    divergence : float
        At least 0 up to the tolerance, 0 for identical samples; in the unit of the
        cost. For a small `reg` close to :math:`W_p^p`.

    Warns
    -----
    ConvergenceWarning
        If `max_iter` ends the iterations, with the violation that is left.

    See Also
    --------
    wasserstein : Exact distance.

    Notes
    -----
    :math:`S = OT_\epsilon(s,t) - \frac12 OT_\epsilon(s,s) - \frac12 OT_\epsilon(t,t)`
    with :math:`OT_\epsilon(s,t) = \min_\pi \langle \pi, C \rangle + \epsilon
    \mathrm{KL}(\pi \,\Vert\, \mu_s \otimes \mu_t)`.

    References
    ----------
    .. [1] Feydy et al., "Interpolating between optimal transport and MMD using
       Sinkhorn divergences", AISTATS (2019), :arxiv:`1810.08278`.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.metrics import sinkhorn_divergence
    >>> X = np.random.RandomState(0).normal(size=(30, 2))
    >>> round(sinkhorn_divergence(X, X + [3.0, 4.0]), 3)
    25.0
    """
    X_source, X_target = check_domain_pair(
        X_source, X_target, center=True, array_api=True
    )
    C = cost_matrix(X_source, X_target, cost)
    epsilon = reg * float(namespace_of(C).mean(C))
    if epsilon == 0:
        return 0.0
    plan, residual = entropic_plan(C, epsilon, max_iter=max_iter, tol=tol)
    value, residuals = _entropic_cost(plan, C, epsilon), [residual]
    for X in (X_source, X_target):
        C = cost_matrix(X, X, cost)
        plan, residual = _symmetric_plan(C, epsilon, max_iter, tol)
        value -= _entropic_cost(plan, C, epsilon) / 2
        residuals.append(residual)
    if max(residuals) > 10 * tol:
        warn_not_converged("Sinkhorn", max(residuals), tol, "Raise reg or max_iter.")
    return float(value)


def _symmetric_plan(
    C: NDArray[Any], epsilon: float, max_iter: int, tol: float
) -> tuple[NDArray[Any], float]:
    """Couple a sample with itself by averaged symmetric iterations.

    One scaling vector is enough, each step takes the geometric mean of the old and
    the new one, and the zeros on the diagonal of ``C`` keep every row above underflow.
    """
    xp = namespace_of(C)
    kernel = xp.exp(-(C + C.T) / (2 * epsilon))
    mass = 1 / len(C)
    scaling = array_like(np.sqrt(np.full(len(C), mass)), C)
    for _ in range(max_iter):
        marginal = scaling * (kernel @ scaling)
        if _norm(marginal - mass) <= tol:
            break
        scaling = scaling * xp.sqrt(mass / marginal)
    plan = scaling[:, None] * kernel * scaling
    return plan, _norm(xp.sum(plan, axis=1) - mass)


def _norm(vector: Any) -> float:
    return float(np.sqrt(float(vector @ vector)))


def cost_matrix(left: NDArray[Any], right: NDArray[Any], cost: str) -> NDArray[Any]:
    """Return the cost of moving each row to each row, at least 0."""
    import ot

    distances = ot.dist(left, right, metric=cost)
    return namespace_of(distances).clip(distances, 0.0, None)


def _entropic_cost(plan: NDArray[Any], C: NDArray[Any], epsilon: float) -> float:
    """Return the transport cost plus epsilon times KL to the independent plan."""
    xp = namespace_of(plan)
    independent = xp.sum(plan, axis=1)[:, None] * xp.sum(plan, axis=0)
    positive = plan > 0
    ratio = xp.log(plan[positive] / independent[positive])
    return float(xp.sum(plan * C) + epsilon * xp.sum(plan[positive] * ratio))


def entropic_plan(
    C: NDArray[Any], epsilon: float, *, max_iter: int = 5000, tol: float = 1e-8
) -> tuple[NDArray[Any], float]:
    """Return the entropic coupling of uniform samples and its marginal violation."""
    plan = solve_entropic(C, epsilon, max_iter=max_iter, tol=tol)
    return plan.coupling, plan.residual
