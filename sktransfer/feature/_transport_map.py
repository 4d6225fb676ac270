"""Maps of source samples by optimal transport."""

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.multiclass import type_of_target

from sktransfer._compat import Interval, StrOptions
from sktransfer._domains import take_rows
from sktransfer._response import class_of_each
from sktransfer._solvers.kernels import order_free_sample, row_batches
from sktransfer._solvers.moments import (
    mean_and_covariance,
    monge_map,
    shrink_covariance,
)
from sktransfer._solvers.transport import (
    class_plan,
    entropic_plan,
    exact_plan,
    squared_distances,
)
from sktransfer.exceptions import warn
from sktransfer.feature._source_map import (
    AffineMap,
    SourceMap,
    check_rows_of_domains,
)

__all__ = ["LinearTransportMap", "OptimalTransportMap"]


@dataclass(frozen=True)
class EntropicMap:
    """The map to mean target rows under an entropic plan, defined for every row.

    Parameters
    ----------
    goals : ndarray of shape (n_target, n_features)
        Target rows.
    potential : ndarray of shape (n_target,)
        Their dual potential.
    epsilon : float
        Strength of the entropy term.
    """

    goals: Any
    potential: Any
    epsilon: float

    def __call__(self, X):
        """Map rows."""
        out = np.empty(X.shape)
        for rows in row_batches(X.shape[0], len(self.goals)):
            cost = squared_distances(X[rows], self.goals)
            share = softmax((self.potential - cost) / self.epsilon, axis=1)
            out[rows] = share @ self.goals
        return out


@dataclass(frozen=True)
class NearestMap:
    """The map that moves a row like the nearest coupled source row.

    Parameters
    ----------
    neighbors : NearestNeighbors
        Fitted on the coupled source rows.
    moves : ndarray of shape (n_source, n_features)
        What was added to each of them.
    """

    neighbors: Any
    moves: Any

    def __call__(self, X):
        """Map rows."""
        nearest = self.neighbors.kneighbors(X, return_distance=False)[:, 0]
        return X + self.moves[nearest]


class OptimalTransportMap(SourceMap):
    r"""Optimal transport: source samples move to mean coupled target samples.

    A coupling of source and target samples of least cost is found; each source sample
    moves to the mean of the target samples that it is coupled with. Target samples
    stay what they are.

    Parameters
    ----------
    reg : float in [0, inf), default=0.05
        Strength of the entropy term relative to the mean cost, so that it does not
        depend on units. 0: exact transport by the network simplex, whose time grows
        with the cube of the samples.
    class_reg : float in [0, inf), default=0.0
        Strength, relative to the mean cost, of the penalty that keeps source samples
        of different classes from moving to the same target sample; it needs `reg` > 0
        and class labels.
    class_penalty : {"group_lasso", "lp_l1"}, default="group_lasso"
        "group_lasso": the sum of the norms of the masses of each class, convex.
        "lp_l1": the sum of the square roots of the masses of each class, sharper and
        not convex.
    match_labels : bool or "auto", default="auto"
        Whether a source sample and a labeled target sample of another class are kept
        apart, by adding the largest cost. "auto": where the labels are classes.
        The class of a sample with several outputs is the combination of them.
    out_of_sample : {"auto", "nearest"}, default="auto"
        How source samples that `fit` did not see move. "auto": by the closed form of
        entropic transport, which agrees with the coupling on the samples of `fit`,
        where the coupling does not depend on labels and `reg` > 0; else "nearest":
        like the nearest source sample of `fit`.
    max_samples : int in [2, inf), default=5000
        A domain with more samples is coupled through a random sample of this size; the
        others are mapped as out-of-sample ones. Memory grows with the product of the
        sizes.
    max_iter : int in [1, inf), default=5000
        Largest number of Sinkhorn iterations.
    tol : float in (0, inf), default=1e-6
        Largest violation of the marginals.
    per_source : bool, default=False
        True: each source is coupled with the target by itself. False: all sources
        together.
    random_state : int, RandomState instance or None, default=0
        Seed of the samples.

    Attributes
    ----------
    maps_ : dict
        Map of each source, or of all.
    residual_ : float
        Largest violation of the marginals, over all maps.
    source_ids_ : ndarray of shape (n_sources,)
        Sources seen in ``fit``.
    n_iter_ : int
        Largest number of outer iterations: 1 without a class penalty, 0 without a
        source.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    Raises
    ------
    ValueError
        If a class penalty is asked for with ``reg=0``, or without class labels.

    Warns
    -----
    ConvergenceWarning
        If the coupling misses the marginals by more than ten times `tol`.

    See Also
    --------
    LinearTransportMap : Optimal transport between Gaussians, in closed form.
    sktransfer.metrics.sinkhorn_divergence : The cost of such a coupling.

    Notes
    -----
    :math:`\pi = \arg\min \sum_{ij} \pi_{ij} \lVert x_i - z_j \rVert^2 + \epsilon
    \sum_{ij} \pi_{ij} \log \pi_{ij} + \eta\, \Omega(\pi)` over couplings with uniform
    marginals [1]_, :math:`\Omega` the class penalty; :math:`x_i` moves to
    :math:`\sum_j \pi_{ij} z_j / \sum_j \pi_{ij}`. With :math:`\eta = 0` the weights are
    :math:`\propto \exp((g_j - \lVert x - z_j \rVert^2) / \epsilon)` with the target's
    dual potential g, for every x [2]_. As `reg` falls the map approaches exact
    transport; as it grows, the constant map to the target's mean.

    References
    ----------
    .. [1] N. Courty, R. Flamary, D. Tuia, A. Rakotomamonjy. Optimal transport for
       domain adaptation. IEEE TPAMI 39(9), 2017. :doi:`10.1109/TPAMI.2016.2615921`
    .. [2] A.-A. Pooladian, J. Niles-Weed. Entropic estimation of optimal transport
       maps. 2021. :arxiv:`2109.12004`

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.feature import OptimalTransportMap
    >>> X = np.random.RandomState(0).normal(size=(60, 2))
    >>> domain = np.repeat([1, -1], 30)
    >>> X[domain == 1] += 10
    >>> Z = OptimalTransportMap().fit_transform(X, sample_domain=domain)
    >>> gap = Z[domain == 1].mean(axis=0) - Z[domain == -1].mean(axis=0)
    >>> bool(abs(gap).max() < 1e-4)
    True
    """

    _parameter_constraints: dict = {
        **SourceMap._parameter_constraints,
        "reg": [Interval(Real, 0, None, closed="left")],
        "class_reg": [Interval(Real, 0, None, closed="left")],
        "class_penalty": [StrOptions({"group_lasso", "lp_l1"})],
        "match_labels": ["boolean", StrOptions({"auto"})],
        "out_of_sample": [StrOptions({"auto", "nearest"})],
        "max_samples": [Interval(Integral, 2, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        reg=0.05,
        *,
        class_reg=0.0,
        class_penalty="group_lasso",
        match_labels="auto",
        out_of_sample="auto",
        max_samples=5000,
        max_iter=5000,
        tol=1e-6,
        per_source=False,
        random_state=0,
    ):
        self.reg = reg
        self.class_reg = class_reg
        self.class_penalty = class_penalty
        self.match_labels = match_labels
        self.out_of_sample = out_of_sample
        self.max_samples = max_samples
        self.max_iter = max_iter
        self.tol = tol
        self.per_source = per_source
        self.random_state = random_state

    def _fit_target(self, data):
        if self.class_reg > 0 and self.reg == 0:
            raise ValueError(
                f"class_reg={self.class_reg} needs entropic transport: set reg > 0."
            )
        numbers = False
        if data.labeled.any():
            labels = data.labels(data.labeled)
            numbers = type_of_target(labels).startswith("continuous")
        if numbers and (self.class_reg > 0 or self.match_labels is True):
            name = "class_reg" if self.class_reg > 0 else "match_labels"
            raise ValueError(
                f"{name}={getattr(self, name)} needs classes as labels, but y holds "
                "real numbers."
            )
        self._matches = self.match_labels is not False and not numbers
        self.residual_, self.n_iter_ = 0.0, 0

    def _fit_map(self, data):
        data = self._sample(data)
        source, target = (rows.astype(np.float64) for rows in _both(data))
        cost = squared_distances(source, target)
        scale = float(cost.mean()) or 1.0
        if self._matches and data.n_labeled:
            cost = cost + cost.max() * _mismatches(data)
        plan, epsilon = self._couple(cost, scale, data)
        limit = 10 * self.tol
        if plan.residual > limit or not plan.converged:
            warn(
                f"The coupling misses its marginals by {plan.residual:.1e}, or its "
                f"class penalty did not settle (tol={self.tol:g}). Raise reg or "
                "max_iter, or scale X.",
                ConvergenceWarning,
            )
        self.residual_ = max(self.residual_, plan.residual)
        self.n_iter_ = max(self.n_iter_, plan.n_iter)
        # labeled target samples change the cost of some pairs, which a new sample
        # has no label for
        closed = self.out_of_sample == "auto" and plan.potential is not None
        if closed and not (self._matches and data.n_labeled):
            return EntropicMap(target, plan.potential, epsilon)
        mass = plan.coupling.sum(axis=1, keepdims=True)
        moves = plan.coupling @ target / mass - source
        return NearestMap(NearestNeighbors(n_neighbors=1).fit(source), moves)

    def _couple(self, cost, scale, data):
        a, b = (np.full(size, 1 / size) for size in cost.shape)
        if self.reg == 0:
            return exact_plan(cost, a, b), 0.0
        epsilon = self.reg * scale
        solve = {"max_iter": self.max_iter, "tol": self.tol}
        if self.class_reg == 0:
            return entropic_plan(cost, epsilon, a, b, **solve), epsilon
        plan = class_plan(
            cost,
            epsilon,
            class_of_each(data.y_source),
            self.class_reg * scale,
            self.class_penalty,
            a,
            b,
            **solve,
        )
        return plan, epsilon

    def _sample(self, data):
        """Return both domains in an order of their own, a sample of a large one."""
        kept = []
        for rows in (np.flatnonzero(data.is_source), np.flatnonzero(data.is_target)):
            X = take_rows(data.X, rows)
            kept.append(rows[order_free_sample(X, self.max_samples, self.random_state)])
        return data.take(np.concatenate(kept))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        tags.target_tags.required = self.class_reg > 0
        if self.match_labels is not False:
            tags.transfer_tags.target_labels = "optional"
        return tags


def _both(data):
    return data.X_source, data.X_target


def _mismatches(data):
    """Return 1 for a source and a labeled target sample of different classes."""
    wrong = np.zeros((data.n_source, data.n_target))
    labeled = data.labeled[data.is_target]
    classes = class_of_each(np.concatenate([data.y_source, data.y_labeled]))
    source, target = classes[: data.n_source], classes[data.n_source :]
    wrong[:, labeled] = source[:, None] != target
    return wrong


class LinearTransportMap(SourceMap):
    r"""Optimal transport between Gaussians: a linear map of source samples.

    It is the linear map that moves source samples least among those that give them the
    mean and the covariance of the target. Target samples stay what they are. Labels are
    not used.

    Parameters
    ----------
    shrinkage : {"ledoit_wolf", "oas"} or float in [0, 1], default="ledoit_wolf"
        How far both covariances are moved to a multiple of the identity of the same
        trace: a share, or a rule that estimates it for each domain. With 0 the
        covariances are equal after the map.
    per_source : bool, default=False
        True: each source is moved to the target by a map of its own. False: all
        sources share one.

    Attributes
    ----------
    maps_ : dict
        Map of each source, or of all. A map has ``matrix``, ``center`` and ``offset``.
    source_ids_ : ndarray of shape (n_sources,)
        Sources seen in ``fit``.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    CORAL : Equates covariances by whitening and coloring.
    OptimalTransportMap : Transport between the samples themselves.

    Notes
    -----
    A source sample becomes :math:`m_t + (x - m_s) A` with

    .. math:: A = C_s^{-1/2} (C_s^{1/2} C_t C_s^{1/2})^{1/2} C_s^{-1/2},

    the Monge map between the Gaussians with the domains' means and covariances [1]_.
    A is symmetric and positive: no feature is turned round. A source that is a
    symmetric positive map of the target is mapped back exactly.

    References
    ----------
    .. [1] R. Flamary, K. Lounici, A. Ferrari. Concentration bounds for linear Monge
       mapping estimation and optimal transport domain adaptation. 2019.
       :arxiv:`1905.10155`

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.feature import LinearTransportMap
    >>> X = np.random.RandomState(0).normal(size=(50, 2))
    >>> both = np.vstack([X @ [[2.0, 0.5], [0.5, 1.0]] + 3, X])
    >>> domain = np.repeat([1, -1], 50)
    >>> Z = LinearTransportMap(0.0).fit_transform(both, sample_domain=domain)
    >>> np.allclose(Z[:50], X)
    True
    """

    _parameter_constraints: dict = {
        **SourceMap._parameter_constraints,
        "shrinkage": [
            StrOptions({"ledoit_wolf", "oas"}),
            Interval(Real, 0, 1, closed="both"),
        ],
    }

    def __init__(self, shrinkage="ledoit_wolf", *, per_source=False):
        self.shrinkage = shrinkage
        self.per_source = per_source

    def _fit_target(self, data):
        check_rows_of_domains(self, data, 2, "to have covariances")

    def _fit_map(self, data):
        check_rows_of_domains(self, data, 2, "to have covariances")
        moments = []
        for X in _both(data):
            mean, covariance = mean_and_covariance(X)
            moments.append(
                (mean, shrink_covariance(covariance, X, mean, self.shrinkage))
            )
        (source_mean, source), (target_mean, target) = moments
        return AffineMap(monge_map(source, target), source_mean, target_mean)
