"""Transfer joint matching."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin
from sklearn.exceptions import ConvergenceWarning

from sktransfer._compat import Interval
from sktransfer._solvers.joint_components import matching_components
from sktransfer._solvers.kernels import kernel_matrix
from sktransfer._solvers.tca import domain_vector
from sktransfer.base import KernelParametersMixin, TransferTransformer
from sktransfer.exceptions import warn

__all__ = ["TJM"]


class TJM(KernelParametersMixin, ClassNamePrefixFeaturesOutMixin, TransferTransformer):
    r"""Transfer joint matching: components that irrelevant source samples leave alone.

    Like transfer component analysis, but the coefficients of each source sample are
    penalized by their norm, so that source samples without relevance for the target
    lose their part in the components. Labels are not used.

    Parameters
    ----------
    n_components : int in [1, n_samples], default=10
        Number of components.
    mu : float in (0, inf), default=1.0
        Weight of the penalty beside the distance of the means.
    max_iter : int in [1, inf), default=10
        Largest number of rounds of reweighting.
    tol : float in (0, inf), default=1e-3
        The rounds end where the objective falls by no more than this share.
    kernel : str or callable, default="linear"
        Kernel: "linear", "rbf", "poly", "sigmoid", "laplacian", "cosine", or a
        callable that takes two samples.
    gamma : {"median", "scale"}, float in (0, inf) or None, default="median"
        Width of the kernel. "median": one over the median squared distance of all
        samples; "scale": one over n_features times the variance; None:
        1 / n_features.
    degree : float in [1, inf), default=3
        Degree of the polynomial kernel.
    coef0 : float, default=1
        Constant of the polynomial and sigmoid kernels.
    kernel_params : dict, default=None
        Further arguments of a callable kernel.

    Attributes
    ----------
    components_ : ndarray of shape (n_samples, n_components)
        Coefficients A; a sample is embedded as ``k(x, X_fit_) @ components_``.
    eigenvalues_ : ndarray of shape (n_components,)
        Eigenvalues of the last round, descending.
    X_fit_ : {ndarray, sparse matrix} of shape (n_samples, n_features)
        Samples that the components refer to.
    source_relevance_ : ndarray of shape (n_source,)
        Norms of the coefficients of the source samples, in input order.
    objective_ : ndarray of shape (n_iter_,)
        The objective after each round.
    gamma_ : float or None
        The width that was used.
    n_iter_ : int
        Number of eigenproblems.
    residual_ : float
        Relative eigen-residual of the last one.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    Warns
    -----
    ConvergenceWarning
        If the eigen-residual is above 1e-6.

    See Also
    --------
    TCA : One penalty for all samples; linear in the samples with landmarks.
    sktransfer.instance.KMM : Weights of source samples.

    Notes
    -----
    .. math:: \min_A \mathrm{tr}(A'Kvv'KA) + \mu \left( \sum_{i \in S} \lVert a_i \rVert
        + \sum_{i \in T} \lVert a_i \rVert^2 \right), \quad A'KHKA = I,

    solved by eigenproblems in which :math:`\lVert a_i \rVert` is replaced by
    :math:`(\lVert a_i \rVert^2 / c_i + c_i) / 2` with :math:`c_i` its last value [1]_.
    :math:`vv'` has Frobenius norm 1. Without sources the components are those of
    kernel PCA. The kernel matrix of all samples is held in memory.

    References
    ----------
    .. [1] M. Long, J. Wang, G. Ding, J. Sun, P. S. Yu. Transfer joint matching for
       unsupervised domain adaptation. CVPR, 2014. :doi:`10.1109/CVPR.2014.183`

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.feature import TJM
    >>> rng = np.random.RandomState(0)
    >>> X = rng.normal(size=(60, 3))
    >>> domain = np.repeat([1, -1], 30)
    >>> X[:15, 0] += 8  # half of the source is far away
    >>> tjm = TJM(2, kernel="rbf").fit(X, sample_domain=domain)
    >>> tjm.source_relevance_.shape
    (30,)
    """

    _parameter_constraints: dict = {
        **KernelParametersMixin._kernel_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "mu": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        n_components=10,
        *,
        mu=1.0,
        max_iter=10,
        tol=1e-3,
        kernel="linear",
        gamma="median",
        degree=3,
        coef0=1,
        kernel_params=None,
    ):
        self.n_components = n_components
        self.mu = mu
        self.max_iter = max_iter
        self.tol = tol
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.kernel_params = kernel_params

    def _fit_domains(self, data):
        n = data.X.shape[0]
        if self.n_components > n:
            raise ValueError(
                f"n_components={self.n_components} exceeds the number of samples, "
                f"n_samples = {n}."
            )
        K = kernel_matrix(data.X, **self._kernel_options(data.X)).astype(np.float64)
        v = domain_vector(data.is_source)
        v = v / (np.linalg.norm(v) or 1.0)
        penalty, objectives = np.ones(n), []
        source = data.is_source
        while len(objectives) < self.max_iter:
            A, values, residual = matching_components(
                K, v, penalty, self.n_components, self.mu
            )
            # scaled to A'KHKA = I; components without variance are left out
            used = values > max(values[0], 0.0) * n * np.finfo(np.float64).eps
            A = np.where(used, A, 0.0) / np.sqrt(np.where(used, values, 1.0))
            norms = np.linalg.norm(A, axis=1)
            objectives.append(
                float(np.sum((v @ K @ A) ** 2))
                + self.mu * float(norms[source].sum() + np.sum(norms[~source] ** 2))
            )
            if not source.any() or (
                len(objectives) > 1
                and objectives[-2] - objectives[-1] <= self.tol * objectives[-2]
            ):
                break
            # the floor keeps a dropped sample's penalty finite
            floor = 1e-6 * float(norms.max()) or 1.0
            penalty[source] = 0.5 / np.maximum(norms[source], floor)
        if residual > 1e-6:
            warn(
                f"The eigenproblem was solved to a relative residual of {residual:.1e}:"
                " raise mu, or center and scale X.",
                ConvergenceWarning,
            )
        self.components_ = A.astype(data.X.dtype, copy=False)
        self.eigenvalues_, self.residual_ = np.where(used, values, 0.0), residual
        self.source_relevance_ = norms[source]
        self.objective_, self.n_iter_ = np.array(objectives), len(objectives)
        self.X_fit_ = data.X

    def _transform(self, X, source):
        return self._project(X)

    @property
    def _n_features_out(self):
        return self.n_components

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transfer_tags.target_labels = "unused"
        tags.transfer_tags.uses_unlabeled = True
        return tags
