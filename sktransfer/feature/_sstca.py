"""Semisupervised transfer component analysis."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils.multiclass import type_of_target

from sktransfer._compat import Interval, StrOptions
from sktransfer._solvers.sstca import (
    class_label_factor,
    knn_laplacian,
    numeric_label_factor,
    sstca_components,
)
from sktransfer.feature._tca import KernelComponents

__all__ = ["SSTCA"]


class SSTCA(KernelComponents):
    r"""Semisupervised transfer component analysis: components that use the labels.

    Beyond what :class:`TCA` asks for, the components depend on the labels of source
    and labeled target rows and change little between neighboring rows.

    Parameters
    ----------
    n_components : int in [1, n_samples], default=10
        Number of components.
    mu : float in (0, inf), default=1.0
        Weight of the regularizer :math:`\mathrm{tr}(W'W)`.
    label_dependence : float in [0, 1], default=0.5
        Share :math:`\gamma` of the label kernel; 0 keeps the variance alone.
    laplacian_weight : float in [0, inf), default=1.0
        Weight :math:`\lambda` of the neighborhood graph.
    n_neighbors : int in [1, inf), default=10
        Neighbors of a row in the graph, itself excluded; fewer if there are fewer.
    heat_width : float in (0, inf), default=None
        Width :math:`\sigma` of the weights :math:`e^{-d^2 / (2 \sigma^2)}` of
        neighbors at distance d; None is the median of these distances.
    task : {"auto", "classification", "regression"}, default="auto"
        Label kernel: 1 for rows of one class, or the product of standardized real
        labels. "auto" takes labels with a fractional part as real.
    kernel : str or callable, default="rbf"
        Kernel of the rows: "linear", "rbf", "poly", "sigmoid", "laplacian",
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
        "dense" and "lanczos" are exact; "nystroem" replaces the kernel by
        `n_landmarks` features. "auto": dense up to 300 rows, Lanczos up to 5000.
    tol : float in (0, inf), default=1e-8
        Eigen-residual above which a warning is given.
    n_landmarks : int in [1, inf), default=500
        Rank of the "nystroem" kernel.
    random_state : int, RandomState instance or None, default=0
        Seed of the landmarks and of the Lanczos start.

    Attributes
    ----------
    components_ : ndarray of shape (n_rows, n_components)
        Coefficients W; a row is embedded as ``k(x, X_fit_) @ components_``.
    eigenvalues_ : ndarray of shape (n_components,)
        Their eigenvalues, in descending order; 0 beyond the rank of the problem.
    X_fit_ : {ndarray, sparse matrix} of shape (n_rows, n_features)
        Rows that the components refer to.
    gamma_ : float or None
        The width of the kernel that was used.
    residual_ : float
        Relative eigen-residual of the problem that was solved.
    subspace_error_, objective_error_ : float
        0 where the kernel is exact, NaN (not measured) for "nystroem".
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    Warns
    -----
    ConvergenceWarning
        If the eigen-residual is above `tol`.

    See Also
    --------
    TCA : The unsupervised variant.
    sktransfer.baselines.Pooled : Ends the pipeline.

    Notes
    -----
    With the notation of :class:`TCA`, :math:`\mathcal L` the Laplacian of the graph and
    :math:`\tilde K_{yy} = \gamma K_{yy} + (1 - \gamma) I`, W holds the leading
    solutions of [1]_

    .. math:: K H \tilde K_{yy} H K\, w = \nu \left( K \left( v v' +
        \frac{\lambda}{n^2} \mathcal L \right) K + \mu I \right) w.

    With :math:`\gamma = \lambda = 0` this is :class:`TCA`.

    References
    ----------
    .. [1] S. J. Pan, I. W. Tsang, J. T. Kwok, Q. Yang. Domain adaptation via transfer
       component analysis. IEEE Transactions on Neural Networks 22(2), 2011.
       :doi:`10.1109/TNN.2010.2091281`

    Examples
    --------
    The second feature holds the class and little variance.

    >>> import numpy as np
    >>> from sktransfer.feature import SSTCA
    >>> rng = np.random.RandomState(0)
    >>> y = np.tile([0, 1], 30)
    >>> X = np.column_stack([rng.normal(size=60), 0.5 * y + 0.1 * rng.normal(size=60)])
    >>> domain = np.repeat([1, -1], 30)
    >>> sstca = SSTCA(1, kernel="linear", label_dependence=1.0)
    >>> Z = sstca.fit_transform(X, y, sample_domain=domain)
    >>> bool(abs(np.corrcoef(Z[:, 0], y)[0, 1]) > 0.8)
    True
    """

    _parameter_constraints: dict = {
        **KernelComponents._parameter_constraints,
        "label_dependence": [Interval(Real, 0, 1, closed="both")],
        "laplacian_weight": [Interval(Real, 0, None, closed="left")],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "heat_width": [Interval(Real, 0, None, closed="neither"), None],
        "task": [StrOptions({"auto", "classification", "regression"})],
    }

    def __init__(
        self,
        n_components=10,
        *,
        mu=1.0,
        label_dependence=0.5,
        laplacian_weight=1.0,
        n_neighbors=10,
        heat_width=None,
        task="auto",
        kernel="rbf",
        gamma="median",
        degree=3,
        coef0=1,
        kernel_params=None,
        eigen_solver="auto",
        tol=1e-8,
        n_landmarks=500,
        random_state=0,
    ):
        self.n_components = n_components
        self.mu = mu
        self.label_dependence = label_dependence
        self.laplacian_weight = laplacian_weight
        self.n_neighbors = n_neighbors
        self.heat_width = heat_width
        self.task = task
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.kernel_params = kernel_params
        self.eigen_solver = eigen_solver
        self.tol = tol
        self.n_landmarks = n_landmarks
        self.random_state = random_state

    def _solve(self, data):
        laplacian = None
        if self.laplacian_weight > 0:
            laplacian = knn_laplacian(data.X, self.n_neighbors, self.heat_width)
        return sstca_components(
            data.X,
            data.is_source,
            self._label_factor(data),
            laplacian,
            n_components=self.n_components,
            gamma_dep=self.label_dependence,
            lambda_laplacian=self.laplacian_weight,
            mu=self.mu,
            **self._kernel_options(data.X),
            eigen_solver=self.eigen_solver,
            tol=self.tol,
            n_landmarks=self.n_landmarks,
            random_state=self.random_state,
        )

    def _label_factor(self, data):
        """Compute F with FF' the label kernel, 0 on unlabeled rows."""
        labels = data.labels(data.labeled)
        regression = self.task == "regression" or (
            self.task == "auto" and type_of_target(labels).startswith("continuous")
        )
        factor = numeric_label_factor if regression else class_label_factor
        values = np.zeros(len(data.labeled), dtype=labels.dtype)
        values[data.labeled] = labels
        return factor(values, data.labeled)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags
