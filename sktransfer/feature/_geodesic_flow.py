"""Geodesic flow kernel."""

from numbers import Integral

import numpy as np
from scipy import linalg
from sklearn.base import ClassNamePrefixFeaturesOutMixin

from sktransfer._compat import Interval
from sktransfer._solvers.subspaces import geodesic, geodesic_flow_root, principal_axes
from sktransfer._solvers.tca import embedding_signs
from sktransfer.feature._source_map import AffineMap, DomainMaps, check_n_components

__all__ = ["GeodesicFlowKernel"]


class GeodesicFlowKernel(ClassNamePrefixFeaturesOutMixin, DomainMaps):
    r"""Geodesic flow kernel: features from all subspaces between two domains.

    The principal subspace of the source moves to that of the target on a geodesic; the
    inner product of the new features is that of the projections on all subspaces on
    the way. Labels are not used.

    Parameters
    ----------
    n_components : int in [1, n_features], default=10
        Dimension of the subspaces, below the number of samples of each domain.

    Attributes
    ----------
    kernel_ : ndarray of shape (n_features, n_features)
        The kernel G; the inner product of two centered samples is :math:`x'Gz`.
    components_ : ndarray of shape (n_features, 2 * n_components)
        W with :math:`WW' = G`; the columns are principal axes of the embedded samples,
        and 0 beyond the rank.
    angles_ : ndarray of shape (n_components,)
        Principal angles between the subspaces in radians, ascending; 0 without a
        source.
    maps_ : dict
        Map of all sources; empty without one.
    source_ids_ : ndarray of shape (n_sources,)
        Sources seen in ``fit``.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    SubspaceAlignment : Turns one subspace into the other.
    sktransfer.metrics.rank_of_domain : Ranks sources by such angles.

    Notes
    -----
    :math:`G = \int_0^1 \Phi(t)\Phi(t)' dt` with :math:`\Phi(t)` a basis of the subspace
    at time t has a closed form in the principal angles [1]_. Samples are multiplied
    with a root W of G, so that every linear learner and every distance follows; each
    domain is centered at its own mean. W is turned to the principal axes of the
    embedded samples, which makes it unique up to signs. Without source samples G
    projects on the principal axes of the target. Several sources are pooled. The cost
    is linear in the samples.

    References
    ----------
    .. [1] B. Gong, Y. Shi, F. Sha, K. Grauman. Geodesic flow kernel for unsupervised
       domain adaptation. CVPR, 2012. :doi:`10.1109/CVPR.2012.6247911`

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.feature import GeodesicFlowKernel
    >>> rng = np.random.RandomState(0)
    >>> X = rng.normal(size=(60, 5)) * [3.0, 2.0, 1.0, 0.5, 0.5]
    >>> domain = np.repeat([1, -1], 30)
    >>> gfk = GeodesicFlowKernel(2).fit(X, sample_domain=domain)
    >>> np.allclose(gfk.components_ @ gfk.components_.T, gfk.kernel_)
    True
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
    }
    per_source = False

    def __init__(self, n_components=10):
        self.n_components = n_components

    def _fit_target(self, data):
        check_n_components(self, data)
        target_mean, target = principal_axes(data.X_target, self.n_components)
        source_mean, source = target_mean, target
        if data.n_source:
            source_mean, source = principal_axes(data.X_source, self.n_components)
        self.angles_ = geodesic(source, target)[2]
        root = geodesic_flow_root(source, target)
        self.kernel_ = root @ root.T
        spread = np.zeros((root.shape[1],) * 2)
        domains = [(data.X_target, target_mean)]
        domains += [(data.X_source, source_mean)] * bool(data.n_source)
        for X, mean in domains:
            embedded = AffineMap(root, mean, 0.0)(X)
            spread += embedded.T @ embedded / X.shape[0]
        _, axes = linalg.eigh(spread, check_finite=False)
        components = root @ axes[:, ::-1]
        self.components_ = components * embedding_signs(components)
        self._to_target = AffineMap(self.components_, target_mean, 0.0)
        self._to_source = AffineMap(self.components_, source_mean, 0.0)

    def _fit_map(self, data):
        return self._to_source

    def _map_target(self, X):
        return self._to_target(X)

    @property
    def _n_features_out(self):
        return 2 * self.n_components
