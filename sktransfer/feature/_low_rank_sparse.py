"""Low-rank and sparse representation of target rows by source rows."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets

from sktransfer._compat import Interval
from sktransfer._solvers.low_rank_sparse import (
    N_MATRICES,
    low_rank_sparse,
    relaxed_regression,
)
from sktransfer.base import TransferTransformer
from sktransfer.exceptions import UnlabeledTargetError, warn

__all__ = ["LowRankSparseTransfer"]


class LowRankSparseTransfer(ClassNamePrefixFeaturesOutMixin, TransferTransformer):
    r"""Discriminative subspace in which source rows represent target rows.

    A linear map separates the classes of the source. In its image each target row is
    a combination of source rows, up to a sparse rest; the matrix of the combinations is
    of low rank and sparse, so that neighbors represent neighbors, and rows that no
    source row resembles go to the rest.

    It is for small data: a matrix of source rows times target rows is decomposed in
    each round.

    Parameters
    ----------
    lam : float in (0, inf), default=1.0
        Ridge penalty :math:`\lambda` of the map.
    alpha : float in [0, inf], default=0.1
        Weight of the absolute entries of the combinations.
    beta : float in [0, inf], default=0.1
        Weight of the absolute entries of the rest. Small values leave all to the rest,
        and the target has no say.
    growth : float in [1, inf), default=1.01
        Factor by which the penalty of the constraints grows in a round.
    tol : float in (0, inf), default=1e-3
        Relative violation of the constraints at which it ends.
    max_iter : int in [1, inf), default=1000
        Largest number of rounds.
    max_memory : float in (0, inf), default=0.25
        Memory in GiB that the matrices may take. More rows are refused.

    Attributes
    ----------
    components_ : ndarray of shape (n_features, n_classes)
        The map P.
    coupling_ : ndarray of shape (n_source, n_target) or None
        The combinations Z, rows in input order; None without source rows.
    rest_ : ndarray of shape (n_classes, n_target) or None
        The rest E; None without source rows.
    residual_ : float
        Largest violation of the constraints, relative to the mapped target rows.
    n_iter_ : int
        Rounds; 0 without source rows.
    classes_ : ndarray of shape (n_classes,)
        Classes, one for each component.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    Warns
    -----
    ConvergenceWarning
        If `max_iter` rounds leave a larger violation than `tol`.

    See Also
    --------
    JDA : Components for many rows, by pseudo-labels.
    SubspaceAlignment : Principal axes, without labels.

    Notes
    -----
    With rows as columns of X, Y = 1 for the class of a row and -1 for the others, and
    B = Y [1]_,

    .. math::

        \min_{P, M, Z, E} \tfrac12 \lVert P'X_S - (Y + B \circ M) \rVert_F^2
        + \tfrac{\lambda}{2} \lVert P \rVert_F^2 + \lVert Z \rVert_*
        + \alpha \lVert Z \rVert_1 + \beta \lVert E \rVert_1
        \quad\text{s.t.}\quad P'X_T = P'X_S Z + E,\; M \ge 0 .

    M lets scores be larger than the labels ask. Alternating directions with two copies
    of Z have a closed form for each block. The problem is not convex in P and Z
    together: ``residual_`` certifies that the constraints hold, not that no other
    solution is better. With ``alpha`` and ``beta`` infinite Z and E are 0, and P maps
    all target rows to 0; this is refused.

    The map has no intercept: put a scaler in front. Several sources are pooled. Labels
    of target rows are not used where there are sources. Without source rows P
    separates the classes of the labeled target rows.

    References
    ----------
    .. [1] Y. Xu, X. Fang, J. Wu, X. Li, D. Zhang. Discriminative transfer subspace
       learning via low-rank and sparse representation. IEEE Transactions on Image
       Processing 25(2), 2016. :doi:`10.1109/TIP.2015.2510498`

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.feature import LowRankSparseTransfer
    >>> rng = np.random.RandomState(0)
    >>> label, domain = np.tile([0, 1], 20), np.repeat([1, -1], 20)
    >>> X = np.c_[2.0 * label - 1, domain] + 0.3 * rng.normal(size=(40, 2))
    >>> y = np.where(domain > 0, label, np.nan)
    >>> model = LowRankSparseTransfer(growth=1.05).fit(X, y, sample_domain=domain)
    >>> Z = model.transform(X)
    >>> Z.shape, bool(model.residual_ <= 1e-3)
    ((40, 2), True)
    >>> bool(np.mean(Z[20:].argmax(axis=1) == label[20:]) > 0.9)
    True
    """

    _parameter_constraints: dict = {
        "lam": [Interval(Real, 0, None, closed="neither")],
        "alpha": [Interval(Real, 0, None, closed="both")],
        "beta": [Interval(Real, 0, None, closed="both")],
        "growth": [Interval(Real, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "max_memory": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        *,
        lam=1.0,
        alpha=0.1,
        beta=0.1,
        growth=1.01,
        tol=1e-3,
        max_iter=1000,
        max_memory=0.25,
    ):
        self.lam = lam
        self.alpha = alpha
        self.beta = beta
        self.growth = growth
        self.tol = tol
        self.max_iter = max_iter
        self.max_memory = max_memory

    def _fit_domains(self, data):
        if np.isinf(self.alpha) and np.isinf(self.beta):
            raise ValueError(
                "alpha=inf and beta=inf leave nothing that represents target rows: "
                "their components would all be 0. Make one of them finite."
            )
        rows = data.is_source if data.n_source else data.is_labeled_target
        if not rows.any():
            raise UnlabeledTargetError(
                "LowRankSparseTransfer has no label to learn from."
            )
        needed = 8 * N_MATRICES * data.n_source * data.n_target / 2**30
        if needed > self.max_memory:
            raise ValueError(
                f"LowRankSparseTransfer needs about {needed:.2g} GiB for "
                f"{data.n_source} source times {data.n_target} target rows, but "
                f"max_memory={self.max_memory:g}. Take fewer rows, e.g. by "
                "ActiveSourceSelection of sktransfer.instance, or raise max_memory."
            )
        y = data.labels(rows)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        Y = np.where(y[:, None] == self.classes_, 1.0, -1.0)
        X = data.X.astype(np.float64, copy=False)
        self.n_iter_, self.residual_ = 0, 0.0
        self.coupling_ = self.rest_ = None
        if data.n_source:
            P = self._couple(X[rows], Y, X[data.is_target])
        else:
            P = relaxed_regression(X[rows], Y, self.lam)
        self.components_ = P.astype(data.X.dtype, copy=False)

    def _couple(self, X_source, Y, X_target):
        solution, info = low_rank_sparse(
            X_source, Y, X_target, lam=self.lam, alpha=self.alpha, beta=self.beta,
            growth=self.growth, tol=self.tol, max_iter=self.max_iter,
        )  # fmt: skip
        self.coupling_, self.rest_ = solution.Z, solution.E
        self.residual_, self.n_iter_ = info.residual, info.n_iter
        if not info.converged:
            warn(
                f"LowRankSparseTransfer stopped after {info.n_iter} rounds with a "
                f"violation of its constraints of {info.residual:.1e} > "
                f"tol={self.tol:g}. Raise max_iter, growth or tol.",
                ConvergenceWarning,
            )
        return solution.P

    def _transform(self, X, source):
        return X @ self.components_

    @property
    def _n_features_out(self):
        return len(self.classes_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.transfer_tags.regression = False
        tags.transfer_tags.uses_unlabeled = True
        tags.transfer_tags.target_labels = "unused"
        return tags
