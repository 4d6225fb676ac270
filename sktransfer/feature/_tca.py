"""Transfer component analysis."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin
from sklearn.exceptions import ConvergenceWarning

from sktransfer._compat import Interval, StrOptions
from sktransfer._domains import take_rows
from sktransfer._solvers.tca import tca_components
from sktransfer.base import KernelParametersMixin, TransferTransformer
from sktransfer.exceptions import warn

__all__ = ["TCA"]

_MISSED = 0.1


class KernelComponents(
    KernelParametersMixin, ClassNamePrefixFeaturesOutMixin, TransferTransformer
):
    """Template of component analyses: the hook ``_solve(data)`` finds components.

    ``_solve`` returns components, eigenvalues and their
    :class:`~sktransfer._solvers.tca.TCAInfo`.
    """

    _parameter_constraints: dict = {
        **KernelParametersMixin._kernel_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "mu": [Interval(Real, 0, None, closed="neither")],
        "eigen_solver": [StrOptions({"auto", "dense", "lanczos", "nystroem"})],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "n_landmarks": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def _fit_domains(self, data):
        if self.n_components > data.X.shape[0]:
            raise ValueError(
                f"n_components={self.n_components} exceeds the number of rows, "
                f"n_samples = {data.X.shape[0]}."
            )
        components, self.eigenvalues_, info = self._solve(data)
        if not info.converged:
            warn(
                f"The eigensolver ({info.solver}) stopped with a relative residual of "
                f"{info.eigen_residual:.1e}, above tol={self.tol:g}. Raise tol, or "
                "center and scale X.",
                ConvergenceWarning,
            )
        if info.objective_error > _MISSED:
            warn(
                "The components of eigen_solver='nystroem' miss an estimated "
                f"{info.objective_error:.0%} of the objective with the exact kernel "
                f"(relative residual {info.exact_residual:.1e}): center and scale X, "
                "raise n_landmarks, or use another eigen_solver.",
                ConvergenceWarning,
            )
        if isinstance(components, np.ndarray):
            components = components.astype(data.X.dtype, copy=False)
        self.components_ = components
        self.X_fit_ = {"dual": data.X, "primal": None}.get(info.form)
        if info.form == "landmarks":
            self.X_fit_ = take_rows(data.X, info.landmarks)
        self.residual_ = info.eigen_residual
        self.subspace_error_ = info.subspace_error
        self.objective_error_ = info.objective_error

    def _transform(self, X, source):
        if self.X_fit_ is None:
            return np.asarray(X @ self.components_)
        return self._project(X)

    @property
    def _n_features_out(self):
        return self.components_.shape[1]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transfer_tags.uses_unlabeled = True
        return tags


class TCA(KernelComponents):
    r"""Transfer component analysis: components on which the domains agree.

    The components keep the variance of all rows and bring the means of source and
    target rows in the kernel's feature space together. Labels are not used.

    Parameters
    ----------
    n_components : int in [1, n_samples], default=10
        Number of components.
    mu : float in (0, inf), default=1.0
        Weight of the regularizer :math:`\mathrm{tr}(W'W)`. The larger it is, the
        less the distance of the domains counts; as it grows the components become
        the leading eigenvectors of :math:`KHK`, a form of kernel PCA.
    kernel : str or callable, default="rbf"
        Kernel: "linear", "rbf", "poly", "sigmoid", "laplacian",
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
    eigen_solver : {"auto", "dense", "lanczos", "nystroem"}, default="auto"
        "dense" and "lanczos" are exact, the latter computes the leading pairs alone;
        "nystroem" replaces the kernel by `n_landmarks` features, of a linear kernel
        by those of X where they are not more, and is exact then. "auto": a problem of
        n_features x n_features for a linear kernel, dense for few rows, Lanczos where
        the kernel matrix fits `memory_budget`, else "nystroem".
    tol : float in (0, inf), default=1e-8
        Eigen-residual above which a warning is given (1e-3 at least for float32).
    n_landmarks : int in [1, inf), default=500
        Rank of the "nystroem" kernel.
    memory_budget : float in (0, inf), default=1024.0
        MiB that the kernel matrix may take.
    random_state : int, RandomState instance or None, default=0
        Seed of the landmarks and of the Lanczos start.

    Attributes
    ----------
    components_ : ndarray of shape (n_rows, n_components)
        Coefficients W, normalized by :math:`W'(KLK + \mu I)W = I`. A row is embedded
        as ``k(x, X_fit_) @ components_``.
    eigenvalues_ : ndarray of shape (n_components,)
        Their eigenvalues, in descending order; 0 beyond the rank of the problem.
    X_fit_ : {ndarray, sparse matrix} of shape (n_rows, n_features) or None
        Rows that the components refer to. None with a linear kernel and fewer
        features than rows, where ``x @ components_`` is the embedding.
    gamma_ : float or None
        The width that was used.
    residual_ : float
        Relative eigen-residual of the problem that was solved.
    subspace_error_ : float
        0 where the kernel is exact; for "nystroem" an estimated bound of the sine of
        the largest angle to the exact subspace, NaN where it was too costly. It is 1,
        which carries no information, where the leading eigenvalues lie close together.
    objective_error_ : float
        0 where the kernel is exact; for "nystroem" the estimated share of the sum of
        the leading eigenvalues that its components miss, NaN where it was too costly.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    Warns
    -----
    ConvergenceWarning
        If the eigen-residual is above `tol`, or the components of "nystroem" miss more
        than a tenth of the objective.

    See Also
    --------
    SSTCA : The semisupervised variant.
    sktransfer.baselines.Pooled : Ends the pipeline.

    Notes
    -----
    With K the kernel matrix of all n rows, :math:`H = I - 11'/n`, and
    :math:`v_i = 1/n_s` on source rows and :math:`-1/n_t` on target rows, W holds the
    leading eigenvectors of :math:`(K v v' K + \mu I)^{-1} K H K` [1]_. Without source
    rows :math:`v = 0` and the components are eigenvectors of :math:`KHK`. Cost: one
    kernel matrix and a few products with it; with "nystroem" linear in the rows.

    Under ``sklearn.config_context(array_api_dispatch=True)`` arrays of another library,
    such as torch, stay what they are: the kernel matrix and the products of the Lanczos
    steps are computed on their device.

    References
    ----------
    .. [1] S. J. Pan, I. W. Tsang, J. T. Kwok, Q. Yang. Domain adaptation via transfer
       component analysis. IEEE Transactions on Neural Networks 22(2), 2011.
       :doi:`10.1109/TNN.2010.2091281`

    Examples
    --------
    The first feature differs between the domains, the second does not.

    >>> import numpy as np
    >>> from sktransfer.feature import TCA
    >>> X = np.random.RandomState(0).normal(size=(60, 2))
    >>> domain = np.repeat([1, -1], 30)
    >>> X[domain == 1, 0] += 5
    >>> tca = TCA(1, kernel="linear", mu=0.1)
    >>> Z = tca.fit_transform(X, sample_domain=domain)
    >>> gap = abs(Z[domain == 1].mean() - Z[domain == -1].mean())
    >>> bool(gap < 0.1 * Z.std())
    True
    """

    _parameter_constraints: dict = {
        **KernelComponents._parameter_constraints,
        "memory_budget": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        n_components=10,
        *,
        mu=1.0,
        kernel="rbf",
        gamma="median",
        degree=3,
        coef0=1,
        kernel_params=None,
        eigen_solver="auto",
        tol=1e-8,
        n_landmarks=500,
        memory_budget=1024.0,
        random_state=0,
    ):
        self.n_components = n_components
        self.mu = mu
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.kernel_params = kernel_params
        self.eigen_solver = eigen_solver
        self.tol = tol
        self.n_landmarks = n_landmarks
        self.memory_budget = memory_budget
        self.random_state = random_state

    def _solve(self, data):
        return tca_components(
            data.X,
            data.is_source,
            n_components=self.n_components,
            mu=self.mu,
            **self._kernel_options(data.X),
            eigen_solver=self.eigen_solver,
            tol=self.tol,
            n_landmarks=self.n_landmarks,
            memory_budget=self.memory_budget,
            random_state=self.random_state,
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True  # labels are not used
        tags.array_api_support = True
        tags.transfer_tags.target_labels = "unused"
        return tags
