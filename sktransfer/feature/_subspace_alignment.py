"""Subspace alignment."""

from numbers import Integral

from sklearn.base import ClassNamePrefixFeaturesOutMixin

from sktransfer._compat import Interval
from sktransfer._solvers.subspaces import principal_axes
from sktransfer.feature._source_map import AffineMap, DomainMaps, check_n_components

__all__ = ["SubspaceAlignment"]


class SubspaceAlignment(ClassNamePrefixFeaturesOutMixin, DomainMaps):
    r"""Subspace alignment: principal axes of the source turned to the target's.

    Target samples are described by their principal components, source samples by
    theirs, multiplied with the matrix that brings the source's axes closest to the
    target's. Labels are not used.

    Parameters
    ----------
    n_components : int in [1, n_features], default=10
        Number of principal axes of each domain, below its number of samples.
    per_source : bool, default=False
        True: each source has axes of its own. False: all sources share them.

    Attributes
    ----------
    components_ : ndarray of shape (n_features, n_components)
        Principal axes of the target. An axis along which the target does not vary
        is 0.
    mean_ : ndarray of shape (n_features,)
        Mean of the target.
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
    GeodesicFlowKernel : Integrates over the subspaces between the two.
    TCA : Components on which the means of the domains agree.

    Notes
    -----
    With orthonormal bases :math:`P_s, P_t` of the leading principal axes, source
    samples become :math:`(x - m_s) P_s P_s' P_t` and target samples
    :math:`(x - m_t) P_t`; :math:`P_s'P_t` minimizes
    :math:`\lVert P_s M - P_t \rVert_F` [1]_. Each domain is centered at its own mean.
    Without source samples the components are principal components of the target.
    Rotated features give the same components up to their signs.

    References
    ----------
    .. [1] B. Fernando, A. Habrard, M. Sebban, T. Tuytelaars. Unsupervised visual domain
       adaptation using subspace alignment. ICCV, 2013. :doi:`10.1109/ICCV.2013.368`

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.feature import SubspaceAlignment
    >>> rng = np.random.RandomState(0)
    >>> X = rng.normal(size=(60, 3)) * [3.0, 2.0, 0.1]
    >>> domain = np.repeat([1, -1], 30)
    >>> Z = SubspaceAlignment(2).fit_transform(X, sample_domain=domain)
    >>> Z.shape
    (60, 2)
    """

    _parameter_constraints: dict = {
        **DomainMaps._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, n_components=10, *, per_source=False):
        self.n_components = n_components
        self.per_source = per_source

    def _fit_target(self, data):
        check_n_components(self, data)
        self.mean_, self.components_ = principal_axes(data.X_target, self.n_components)
        self._to_target = AffineMap(self.components_, self.mean_, 0.0)

    def _fit_map(self, data):
        mean, axes = principal_axes(data.X_source, self.n_components)
        return AffineMap(axes @ (axes.T @ self.components_), mean, 0.0)

    def _map_target(self, X):
        return self._to_target(X)

    @property
    def _n_features_out(self):
        return self.n_components
