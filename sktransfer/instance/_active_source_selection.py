"""A class-balanced subset of the source samples that looks like the target."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning

from sktransfer._compat import Interval
from sktransfer._domains import canonical_order, take_rows
from sktransfer._learners import LearnerMethodsMixin
from sktransfer._solvers.class_balance import balanced_counts, solve_balanced
from sktransfer._solvers.kernels import kernel_matrix, kernel_row_means
from sktransfer.base import KernelParametersMixin, ReweightingMetaEstimator
from sktransfer.exceptions import warn

__all__ = ["ActiveSourceSelection"]


class ActiveSourceSelection(
    KernelParametersMixin, LearnerMethodsMixin, ReweightingMetaEstimator
):
    r"""Fit a learner on the source samples that look like the target, balanced.

    Of every class the same number of source samples is kept, those that make the mean
    of the kept ones in the kernel's feature space nearest to that of all target
    samples, labeled or not. So samples that are far from the target are left out, and
    no class gets lost.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor whose ``fit`` takes ``sample_weight``.
    n_samples : int in [1, inf) or float in (0, 1], default=0.5
        How many source samples to keep, or their share.
    kernel : str or callable, default="rbf"
        Positive semidefinite kernel, see :class:`KMM`.
    gamma : {"median", "scale"}, float in (0, inf) or None, default="median"
        Width of the kernel, see :class:`KMM`.
    degree : float in [1, inf), default=3
        Degree of the polynomial kernel.
    coef0 : float, default=1
        Constant of the polynomial and sigmoid kernels.
    kernel_params : dict, default=None
        Further arguments of a callable kernel.
    target_weight : float in [0, inf), default=1.0
        Weight of a labeled target sample; that of a kept source sample is 1.
    tol : float in (0, inf), default=1e-4
        Relative gap of the program to reach.
    max_iter : int in [1, inf), default=2000
        Largest number of iterations.

    Attributes
    ----------
    sample_weight_ : ndarray of shape (n_source,)
        1 for the source samples that are kept, 0 for the others, in input order.
    scores_ : ndarray of shape (n_source,)
        Solution of the program, in [0, 1].
    n_kept_ : dict
        Number of kept samples of each class; of a regressor all under None.
    effective_sample_size_ : float
        Number of source samples that are kept.
    estimator_ : estimator
        The fitted learner.
    gamma_ : float or None
        The width that was used.
    n_iter_ : int
        Iterations of the solver; 0 without source samples.
    gap_ : float
        Relative gap of the program that was solved.

    See Also
    --------
    KMM : Weights for all source samples, without balance.
    sktransfer.metrics.query_target : Which target samples to label.

    Notes
    -----
    Kernel mean matching with class balance: with m samples to keep, of which
    :math:`m_c = \min(n_c, t)` of class c and :math:`\sum_c m_c = m`,

    .. math:: \min_b \tfrac12 b'Kb - \kappa'b \quad\text{s.t.}\quad 0 \le b_i \le 1,\;
              \sum_{i \in c} b_i = m_c, \qquad
              \kappa_i = \frac{m}{n_t} \sum_j k(x_i, x^t_j),

    and of each class the :math:`m_c` largest :math:`b_i` are kept. What does not
    divide goes to the first classes. ``n_samples`` of all source samples keeps all. A
    regressor has one class. The kernel matrix of the source samples is held in memory.

    References
    ----------
    Z. Peng, W. Zhang, N. Han, X. Fang, P. Kang, L. Teng. "Active transfer learning".
    IEEE Transactions on Circuits and Systems for Video Technology 30(4), 2020.
    :doi:`10.1109/TCSVT.2019.2900467`

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sktransfer.instance import ActiveSourceSelection
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(90, 2))
    >>> X[:30] += 8  # a far cluster of the source
    >>> domain = np.repeat([1, -1], [60, 30])
    >>> y = np.arange(90) % 2
    >>> model = ActiveSourceSelection(LogisticRegression(), n_samples=20)
    >>> bool(model.fit(X, y, sample_domain=domain).sample_weight_[:30].any())
    False
    >>> model.n_kept_
    {0: 10, 1: 10}
    """

    _parameter_constraints: dict = {
        **ReweightingMetaEstimator._parameter_constraints,
        **KernelParametersMixin._kernel_constraints,
        "n_samples": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Real, 0, 1, closed="right"),
        ],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        estimator,
        *,
        n_samples=0.5,
        kernel="rbf",
        gamma="median",
        degree=3,
        coef0=1,
        kernel_params=None,
        target_weight=1.0,
        tol=1e-4,
        max_iter=2000,
    ):
        super().__init__(estimator, target_weight=target_weight)
        self.n_samples = n_samples
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.kernel_params = kernel_params
        self.tol = tol
        self.max_iter = max_iter

    def _weigh_sources(self, data):
        X = self._numeric_rows(data.X)
        options = self._kernel_options(X)
        self.n_iter_, self.gap_, self.n_kept_ = 0, 0.0, {}
        n = data.n_source
        if not n:
            self.scores_ = np.empty(0)
            return np.empty(0)
        wanted = self.n_samples
        if not isinstance(wanted, Integral):
            wanted = max(round(float(wanted) * n), 1)
        elif wanted > n:
            raise ValueError(
                f"n_samples={wanted}, but the sources have {n} samples: give at most "
                "these, or a share in (0, 1]."
            )
        names, codes = [None], np.zeros(n, dtype=int)
        if is_classifier(self.estimator):
            names, codes = np.unique(data.y_source, return_inverse=True)
            names = names.tolist()
        counts = balanced_counts(np.bincount(codes), wanted)
        source, target = take_rows(X, data.is_source), take_rows(X, data.is_target)
        # the same rows are kept in whatever order they come
        order = canonical_order(source, codes)
        rows, codes = take_rows(source, order), codes[order]
        K = np.asarray(kernel_matrix(rows, **options), dtype=np.float64)
        kappa = wanted * kernel_row_means(rows, target, **options)
        b, info = solve_balanced(
            K, kappa, codes, counts, tol=self.tol, max_iter=self.max_iter
        )
        if info.gap > self.tol:
            warn(
                f"ActiveSourceSelection stopped after {info.n_iter} iterations with a "
                f"relative gap of {info.gap:.1e} > tol={self.tol:g}. Raise max_iter or "
                "tol.",
                ConvergenceWarning,
            )
        kept = np.zeros(n)
        for code, count in enumerate(counts):
            own = np.flatnonzero(codes == code)
            best = np.argsort(-b[own].round(9), kind="stable")[:count]
            kept[own[best]] = 1.0
        self.n_iter_, self.gap_ = info.n_iter, info.gap
        self.n_kept_ = dict(zip(names, counts.tolist(), strict=True))
        weights, self.scores_ = np.empty(n), np.empty(n)
        weights[order], self.scores_[order] = kept, b
        return weights

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = False
        tags.transfer_tags.uses_unlabeled = True
        if self.target_weight == 0:
            tags.transfer_tags.target_labels = "unused"
        return tags
