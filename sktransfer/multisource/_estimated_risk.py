"""How far to scale source weights down: Mallows' criterion of the weighted fit."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sktransfer._solvers.information import leverage_of_first

_STEP = 10**-0.5
_LEAST = 1e-4
_MAX_SCORES = 1500
#: error of the trace that decides nothing unless risks are close
_ROOM = 0.25


def least_risk(
    problem: Any, weights: Any, model: Any, refit: Any, min_gain: float
) -> tuple[NDArray[Any], Any, float]:
    r"""Scale weights down to where the estimated risk of the weighted fit is least.

    The risk of the fit with weights :math:`c\,w` is estimated on the target rows by

    .. math:: R(c) = -2 \sum_{i \in T} \log p(y_i | x_i; \hat\theta_c)
              + 2\, \mathrm{tr}\Bigl[N_0 J_0 \Bigl(N_0 J_0
              + c \sum_k w_k n_k J_k + \Lambda\Bigr)^{-1}\Bigr],

    Mallows' :math:`C_p` for a linear model. :math:`c` falls from 1 by steps of half a
    decade while that lowers :math:`R`. It is 0 unless :math:`R(0) - R(c)` is positive,
    and exceeds ``min_gain`` where c < 1.

    Parameters
    ----------
    problem : WeightedLikelihood
        The problem, its target fitted.
    weights : ndarray of shape (n_sources,)
        Weights w.
    model : estimator
        The fit with them.
    refit : callable
        Gives the fit for other weights.
    min_gain : float
        What the transfer must gain where the weights had to be scaled down.

    Returns
    -------
    weights : ndarray of shape (n_sources,)
        Scaled weights.
    model : estimator
        The fit with them.
    scale : float
        The factor c, in [0, 1].
    """
    if not np.any(weights > 0):
        return weights, model, 1.0
    scale, best = 1.0, _Risk(problem, model, weights)
    while scale > _LEAST:
        lower = scale * _STEP
        candidate = refit(lower * weights)
        risk = _Risk(problem, candidate, lower * weights)
        if not best.exceeds(risk):
            break
        scale, best, model = lower, risk, candidate
    none = np.zeros_like(weights)
    alone = _Risk(problem, problem.target_model, none)
    if not alone.exceeds(best, min_gain if scale < 1 else 0.0):
        return none, problem.target_model, 0.0
    return scale * weights, model, scale


class _Risk:
    """Estimated risk of one fit, as exact as it must be."""

    def __init__(self, *args: Any) -> None:
        self.args, self.room = args, _ROOM
        self.value = estimated_risk(*args, room=_ROOM)

    def exceeds(self, other: "_Risk", gain: float = 0.0) -> bool:
        """Tell whether another risk is lower by more than ``gain``."""
        if abs(self.value - other.value - gain) <= 2 * (self.room + other.room):
            for risk in (self, other):
                risk.settle()
        return bool(self.value - other.value > gain)

    def settle(self) -> None:
        """Compute it in double precision."""
        if self.room:
            self.room, self.value = 0.0, estimated_risk(*self.args)


def estimated_risk(
    problem: Any, model: Any, weights: Any, *, room: float = 0.0
) -> float:
    """Estimate the expected deviance of a weighted fit, less that of the target's.

    Parameters
    ----------
    problem : WeightedLikelihood
        The problem, its target fitted.
    model : estimator
        The fit.
    weights : ndarray of shape (n_sources,)
        Its weights.
    room : float, default=0.0
        Error of the trace that is allowed.

    Returns
    -------
    risk : float
        R(c), up to a constant that is the same for all weights.
    """
    loss = problem.deviance(model)
    return loss + 2 * problem.degrees_of_freedom(model, weights, room=room)


def degrees_of_freedom(
    problem: Any, model: Any, weights: NDArray[Any], *, room: float = 0.0
) -> float:
    """Return the trace in R(c); J_k = J for models of which only scores are known."""
    root, n = problem.fisher_root(model), problem.n_target
    if problem.averages or not problem.likelihood.expected:
        s = weights @ problem.source_sizes
        return root.n_parameters(n, power=1) * n / (n + s)
    roots, quantities = [root], [n]
    used = weights > 0
    for source, weight in zip(problem.sources[used], weights[used], strict=True):
        size = problem.size_of((problem.domain == source) & problem.shared)
        quantities.append(weight * size)
        at_most = max(_MAX_SCORES // (used.sum() * root.factors.shape[1]), 10)
        roots.append(problem.source_root(model, source, root, at_most))
    total = sum(quantities) / n if problem.likelihood.normalized else 1.0
    return leverage(roots, np.array(quantities), root.penalty * total, room=room)


def _spread(items: NDArray[Any], at_most: int) -> NDArray[Any]:
    return items[:: max(1, -(-len(items) // max(at_most, 1)))]


def leverage(roots: Any, quantities: Any, penalty: Any, *, room: float = 0.0) -> float:
    r"""Sum the leverages of the rows of the first domain in a weighted fit.

    Parameters
    ----------
    roots : list of FisherRoot
        Information per row of every domain, :math:`J_k`; at most 1500 evenly spaced
        rows of each count.
    quantities : ndarray of shape (n_domains,)
        Weight times number of rows, :math:`w_k n_k`.
    penalty : float or ndarray of shape (n_outputs,)
        Precision :math:`\Lambda` of the prior; the intercept is free.
    room : float, default=0.0
        Error that is allowed.

    Returns
    -------
    trace : float
        :math:`\mathrm{tr}[w_0 n_0 J_0 (\sum_k w_k n_k J_k + \Lambda)^{-1}]`, with the
        pseudoinverse where nothing determines a parameter.
    """
    parts = [_scaled(r, q) for r, q in zip(roots, quantities, strict=True)]
    X = [rows for rows, _ in parts]
    X = sparse.vstack(X, format="csr") if sparse.issparse(X[0]) else np.vstack(X)
    B = np.concatenate([factors for _, factors in parts])
    penalties = np.broadcast_to(np.asarray(penalty, float), B.shape[2:])
    n_first = len(parts[0][1])
    return leverage_of_first(X, B, n_first, roots[0].intercept, penalties, room=room)


def _scaled(root: Any, quantity: float) -> tuple[Any, NDArray[Any]]:
    """Thin a root out, and put its quantity into its factors."""
    rows = _spread(np.arange(len(root.factors)), _MAX_SCORES // root.factors.shape[1])
    return root.X[rows], root.factors[rows] * np.sqrt(quantity / len(rows))
