"""Kernel mean matching."""

from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array

from sktransfer._compat import Interval, StrOptions, validate_params
from sktransfer._domains import take_rows
from sktransfer._learners import (
    LearnerMethodsMixin,
)
from sktransfer._solvers import kmm as _kmm
from sktransfer._solvers.array_api import array_like, namespace_of
from sktransfer._solvers.kernels import resolve_gamma
from sktransfer.base import (
    KernelParametersMixin,
    ReweightingMetaEstimator,
)
from sktransfer.exceptions import warn

__all__ = ["KMM", "kmm_weights"]

_SOLVER_CONSTRAINTS = {
    "B": [Interval(Real, 0, None, closed="neither")],
    "eps": [Interval(Real, 0, None, closed="left"), None],
    "solver": [StrOptions({"auto", "dense", "low_rank", "cvxpy"})],
    "tol": [Interval(Real, 0, None, closed="neither")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "memory_budget": [Interval(Real, 0, None, closed="neither")],
    "random_state": ["random_state"],
}


@validate_params(
    {
        "X_source": ["array-like", "sparse matrix"],
        "X_target": ["array-like", "sparse matrix"],
        **KernelParametersMixin._kernel_constraints,
        **_SOLVER_CONSTRAINTS,
        "return_info": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def kmm_weights(
    X_source,
    X_target,
    *,
    kernel="rbf",
    gamma="median",
    degree=3,
    coef0=1,
    kernel_params=None,
    B=1000.0,
    eps=None,
    solver="auto",
    tol=1e-6,
    max_iter=100,
    memory_budget=1024.0,
    random_state=0,
    return_info=False,
):
    r"""Weigh source rows so that their kernel mean matches the target's.

    Parameters
    ----------
    X_source : {array-like, sparse matrix} of shape (n_source, n_features)
        Source rows.
    X_target : {array-like, sparse matrix} of shape (n_target, n_features)
        Target rows, labeled or not.
    kernel : str or callable, default="rbf"
        Positive semidefinite kernel: "linear", "rbf", "poly", "sigmoid", "laplacian",
        "cosine", or a callable that takes two rows.
    gamma : {"median", "scale"}, float in (0, inf) or None, default="median"
        Width of the kernel. "median": one over the median squared distance of all
        rows; "scale": one over n_features times the variance; None: 1 / n_features.
    degree : float in [1, inf), default=3
        Degree of the polynomial kernel.
    coef0 : float, default=1
        Constant of the polynomial and sigmoid kernels.
    kernel_params : dict, default=None
        Further arguments of a callable kernel.
    B : float in (0, inf), default=1000.0
        Largest weight.
    eps : float in [0, inf), default=None
        Slack of the sum; None is :math:`(\sqrt{n_s} - 1) / \sqrt{n_s}`.
    solver : {"auto", "dense", "low_rank", "cvxpy"}, default="auto"
        "dense" is exact and holds the kernel of the source rows, "low_rank" needs
        memory linear in the rows and states its error, "cvxpy" hands the dense
        problem to CLARABEL. "auto": dense where it fits `memory_budget` and
        takes about 2 seconds at most (up to some 4000 source rows), else low rank.
        Under ``sklearn.config_context(array_api_dispatch=True)`` arrays of another
        library, such as torch, take "low_rank", whose features and products stay on
        their device; so do the weights that are returned.
    tol : float in (0, inf), default=1e-6
        Relative duality gap to reach.
    max_iter : int in [1, inf), default=100
        Largest number of iterations.
    memory_budget : float in (0, inf), default=1024.0
        MiB that a kernel matrix or its factor may take.
    random_state : int, RandomState instance or None, default=0
        Seed of the landmarks of "low_rank".
    return_info : bool, default=False
        Also return the certificate.

    Returns
    -------
    weights : ndarray of shape (n_source,)
        Weights in [0, B], with a mean within `eps` of 1.
    info : KMMInfo
        Objective, relative duality gap, KKT residual, iterations, solver and
        approximation error; only if `return_info` is True.

    Raises
    ------
    ValueError
        If the kernel is not positive semidefinite, or `B` and `eps` contradict each
        other.

    Warns
    -----
    ConvergenceWarning
        If the duality gap is above `tol` after `max_iter` iterations.

    See Also
    --------
    KMM : A learner that is fitted with these weights.

    Notes
    -----
    The weights solve

    .. math:: \min_b \tfrac12 b'Kb - \kappa'b
        \quad\text{s.t.}\quad 0 \le b_i \le B,\;
        \Bigl|\sum_i b_i - n_s\Bigr| \le n_s \epsilon

    with :math:`K_{ij} = k(x^s_i, x^s_j)` and
    :math:`\kappa_i = (n_s / n_t) \sum_j k(x^s_i, x^t_j)` [1]_. Time and memory of the
    dense solver grow with :math:`n_s^2` to :math:`n_s^3`, of the low-rank one with
    :math:`n_s + n_t`.

    References
    ----------
    .. [1] J. Huang, A. Gretton, K. Borgwardt, B. Schoelkopf, A. Smola. Correcting
       sample selection bias by unlabeled data. Advances in Neural Information
       Processing Systems 19, 2006.

    Examples
    --------
    The target sits on the right, so source rows on the right count.

    >>> import numpy as np
    >>> from sktransfer.instance import kmm_weights
    >>> X_source = np.linspace(-1, 1, 50)[:, None]
    >>> weights = kmm_weights(X_source, X_source[25:])
    >>> bool(weights[25:].mean() > 3 * weights[:25].mean())
    True
    """
    xp = namespace_of(X_source, X_target)
    rows = {"accept_sparse": "csr", "dtype": [xp.float64, xp.float32]}
    X_source = check_array(X_source, input_name="X_source", **rows)
    X_target = check_array(X_target, input_name="X_target", **rows)
    if X_source.shape[1] != X_target.shape[1]:
        raise ValueError(
            f"X_source has {X_source.shape[1]} features, but X_target has "
            f"{X_target.shape[1]}."
        )
    if sparse.issparse(X_source) != sparse.issparse(X_target):
        X_source, X_target = sparse.csr_array(X_source), sparse.csr_array(X_target)
    stack = np.concatenate if xp is np else xp.concat
    stack = sparse.vstack if sparse.issparse(X_source) else stack
    weights, info = _kmm.kmm_weights(
        X_source,
        X_target,
        kernel=kernel,
        gamma=resolve_gamma(gamma, stack([X_source, X_target]), kernel=kernel),
        degree=degree,
        coef0=coef0,
        kernel_params=kernel_params,
        upper=B,
        eps=eps,
        solver=solver,
        tol=tol,
        max_iter=max_iter,
        memory_budget=memory_budget,
        random_state=random_state,
    )
    warn_unless_converged(info, tol)
    weights = array_like(weights, X_source)
    return (weights, info) if return_info else weights


def warn_unless_converged(info, tol):
    if not info.converged:
        warn(
            f"KMM stopped after {info.n_iter} iterations with a relative duality gap "
            f"of {info.duality_gap:.1e} > tol={tol:g}. Raise max_iter or tol.",
            ConvergenceWarning,
        )


class KMM(KernelParametersMixin, LearnerMethodsMixin, ReweightingMetaEstimator):
    r"""Fit a learner on source rows weighted by kernel mean matching.

    The weights make the mean of the source rows in the kernel's feature space equal
    to that of all target rows, labeled or not; labels play no part in them. The
    learner is fitted on the weighted source rows and the labeled target rows.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor whose ``fit`` takes ``sample_weight``.
    kernel : str or callable, default="rbf"
        Positive semidefinite kernel: "linear", "rbf", "poly", "sigmoid", "laplacian",
        "cosine", or a callable that takes two rows.
    gamma : {"median", "scale"}, float in (0, inf) or None, default="median"
        Width of the kernel. "median": one over the median squared distance of all
        rows; "scale": one over n_features times the variance; None: 1 / n_features.
    degree : float in [1, inf), default=3
        Degree of the polynomial kernel.
    coef0 : float, default=1
        Constant of the polynomial and sigmoid kernels.
    kernel_params : dict, default=None
        Further arguments of a callable kernel.
    B : float in (0, inf), default=1000.0
        Largest weight of a source row.
    eps : float in [0, inf), default=None
        Slack of the mean weight around 1; None is
        :math:`(\sqrt{n_s} - 1) / \sqrt{n_s}`.
    target_weight : float in [0, inf), default=1.0
        Weight of a labeled target row; the mean weight of a source row is about 1.
    solver : {"auto", "dense", "low_rank", "cvxpy"}, default="auto"
        See :func:`kmm_weights`.
    tol : float in (0, inf), default=1e-6
        Relative duality gap to reach.
    max_iter : int in [1, inf), default=100
        Largest number of iterations.
    memory_budget : float in (0, inf), default=1024.0
        MiB that a kernel matrix or its factor may take.
    random_state : int, RandomState instance or None, default=0
        Seed of the landmarks of the low-rank solver.

    Attributes
    ----------
    sample_weight_ : ndarray of shape (n_source,)
        Weights of the source rows, in input order, without the user's
        ``sample_weight``, by which they are multiplied; 0 for a row whose
        ``sample_weight`` is 0, which is left out.
    effective_sample_size_ : float
        :math:`(\sum w)^2 / \sum w^2` of the source rows.
    estimator_ : estimator
        The fitted learner.
    gamma_ : float or None
        The width that was used.
    n_iter_ : int
        Iterations of the solver; 0 without source rows.
    residual_ : float
        KKT residual of the weights, in units of the weights.
    duality_gap_ : float
        Relative duality gap of the problem that was solved.
    approximation_error_ : float
        Estimated bound of the relative objective gap with the exact kernel; 0 for
        exact solvers.
    approximation_stderr_ : float
        Standard error of that estimate, which comes from a probe of rows.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    kmm_weights : The weights alone, with the equations.
    sktransfer.baselines.Pooled : The same without weights.

    Notes
    -----
    With weights :math:`b` and :math:`\omega` = `target_weight` the learner minimizes
    :math:`\sum_{i \in S} b_i \ell(x_i, y_i) + \omega \sum_{i \in T} \ell(x_i, y_i)`
    over the source rows S and the labeled target rows T. The weights correct a shift
    of the inputs alone; where the law of the label given the input differs, guard the
    fit. A guard, or :func:`~sktransfer.metrics.cross_val_ntg`, computes the kernel of
    the source rows once, with the width ``gamma_`` of all rows, and finds the weights
    of all folds together.

    References
    ----------
    .. [1] J. Huang, A. Gretton, K. Borgwardt, B. Schoelkopf, A. Smola. Correcting
       sample selection bias by unlabeled data. Advances in Neural Information
       Processing Systems 19, 2006.

    Examples
    --------
    A straight line fitted to a curve is right where the target is.

    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from sktransfer.instance import KMM
    >>> X = np.concatenate([np.linspace(0, 2, 40), np.linspace(1, 2, 20)])[:, None]
    >>> y = np.r_[X[:40, 0] ** 2, np.full(20, np.nan)]
    >>> domain = np.repeat([1, -1], [40, 20])
    >>> model = KMM(LinearRegression()).fit(X, y, sample_domain=domain)
    >>> bool(abs(model.predict([[1.5]])[0] - 1.5**2) < 0.15)
    True
    """

    _parameter_constraints: dict = {
        **ReweightingMetaEstimator._parameter_constraints,
        **KernelParametersMixin._kernel_constraints,
        **_SOLVER_CONSTRAINTS,
    }

    def __init__(
        self,
        estimator,
        *,
        kernel="rbf",
        gamma="median",
        degree=3,
        coef0=1,
        kernel_params=None,
        B=1000.0,
        eps=None,
        target_weight=1.0,
        solver="auto",
        tol=1e-6,
        max_iter=100,
        memory_budget=1024.0,
        random_state=0,
    ):
        super().__init__(estimator, target_weight=target_weight)
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.kernel_params = kernel_params
        self.B = B
        self.eps = eps
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.memory_budget = memory_budget
        self.random_state = random_state

    def _weigh_sources(self, data):
        X = self._numeric_rows(data.X)
        solution, options = None, {}
        if "_prepared" in vars(self):
            solution, self.gamma_ = vars(self).pop("_prepared")
        else:
            options = self._kernel_options(X)
        if not data.n_source:
            self.n_iter_, self.residual_ = 0, 0.0
            self.duality_gap_ = 0.0
            self.approximation_error_ = self.approximation_stderr_ = 0.0
            return np.empty(0, dtype=X.dtype)
        if solution is None:
            solution = self._solve(X, data, [], options)[0]
        weights, info = solution
        warn_unless_converged(info, self.tol)
        self.n_iter_ = info.n_iter
        self.residual_ = info.kkt_residual
        self.duality_gap_ = info.duality_gap
        self.approximation_error_ = info.approximation_error
        self.approximation_stderr_ = info.approximation_stderr
        return weights

    def _solve(self, X, data, parts, options):
        """Return the solutions for all target rows and without each of the parts."""
        return _kmm.kmm_weights_without(
            take_rows(X, data.is_source),
            take_rows(X, data.is_target),
            parts,
            **options,
            upper=self.B,
            eps=self.eps,
            solver=self.solver,
            tol=self.tol,
            max_iter=self.max_iter,
            memory_budget=self.memory_budget,
            random_state=self.random_state,
        )

    def prepare_folds(self, data, folds, params):
        """Compute what the fits on all rows and on the folds have in common.

        The kernel of the source rows is computed once, with the width for all rows, and
        the weights of all folds are found together: a fold changes the linear term
        alone.

        Parameters
        ----------
        data : DomainData
            Rows of sources and target.
        folds : list of (train, test)
            Indices of the rows.
        params : dict
            Metadata for ``fit``, one entry per row; rows of ``sample_weight`` 0 do not
            exist.

        Returns
        -------
        prepared : list of KMM or None
            Unfitted clones that hold their weights until they are fitted: for all
            rows, then for the training part of each fold. None where nothing can be
            shared: without source rows, where a fold leaves source rows out, or where a
            fit would refuse these rows.
        """
        existing = np.ones(len(data.sample_domain), dtype=bool)
        if params.get("sample_weight") is not None:
            existing = np.asarray(params["sample_weight"], dtype=np.float64) > 0
        trained = [data.mask_of(train) & existing for train, _ in folds]
        source, target = data.is_source & existing, ~data.is_source & existing
        shares = all((rows & source).sum() == source.sum() for rows in trained)
        if not (shares and source.any() and all((t & target).any() for t in trained)):
            return None
        part, model = data.take(existing), clone(self)
        try:
            model._validate_params()
            X = model._numeric_rows(part.X)
            options = model._kernel_options(X)
        except (TypeError, ValueError):
            return None  # the fit itself has the better message
        left_out = [np.flatnonzero(~rows[target]) for rows in trained]
        solutions = self._solve(X, part, left_out, options)
        prepared = [clone(self) for _ in solutions]
        for fitter, solution in zip(prepared, solutions, strict=True):
            fitter._prepared = solution, model.gamma_
        return prepared

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = False
        tags.transfer_tags.uses_unlabeled = True
        if self.target_weight == 0:
            tags.transfer_tags.target_labels = "unused"
        return tags
