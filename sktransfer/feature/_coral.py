"""Correlation alignment."""

from numbers import Real

from sktransfer._compat import Interval, StrOptions
from sktransfer._solvers.moments import (
    coral_map,
    mean_and_covariance,
    shrink_covariance,
)
from sktransfer.feature._source_map import (
    AffineMap,
    SourceMap,
    check_rows_of_domains,
)

__all__ = ["CORAL"]


class CORAL(SourceMap):
    r"""Correlation alignment: source samples get the covariance of the target.

    Source samples are whitened and colored again; target samples stay what they are.
    Labels are not used.

    Parameters
    ----------
    shrinkage : {"ledoit_wolf", "oas"} or float in [0, 1], default="ledoit_wolf"
        How far both covariances are moved to a multiple of the identity of the same
        trace before they are compared: a share, or a rule that estimates it for each
        domain. With 0 the covariances are equal after the map.
    reg : float in [0, inf), default=0.0
        Further number on the diagonals of both covariances, in squared units of the
        features. The paper has ``shrinkage=0, reg=1`` on standardized features.
    align_means : bool, default=True
        True: mapped source samples have the mean of the target. False: the mean of the
        sources stays where it is.
    per_source : bool, default=False
        True: each source has a map of its own. False: all sources share one.

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
    LinearTransportMap : Moves samples least of all such maps.
    MMDLinearMap : Looks at more than two moments, but only at scales.
    sktransfer.deep.DeepCORAL : Learns features with equal covariances.

    Notes
    -----
    A source sample becomes :math:`m + (x - m_s) C_s^{-1/2} C_t^{1/2}` with the
    (shrunk) covariances :math:`C_s` and :math:`C_t` and :math:`m = m_t` or
    :math:`m_s` [1]_. The inverse of a singular covariance is its pseudo-inverse.
    Sparse samples are never centered in memory; the result is dense. The cost is
    linear in the samples and cubic in the features. Features of very different units
    are shrunk unevenly: standardize them first.

    References
    ----------
    .. [1] B. Sun, J. Feng, K. Saenko. Return of frustratingly easy domain adaptation.
       AAAI, 2016. :arxiv:`1511.05547`

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.feature import CORAL
    >>> rng = np.random.RandomState(0)
    >>> X = rng.normal(size=(200, 2))
    >>> domain = np.repeat([1, -1], 100)
    >>> X[domain == 1] = X[domain == 1] @ [[3.0, 1.0], [0.0, 0.2]] + 5
    >>> Z = CORAL(shrinkage=0.0).fit_transform(X, sample_domain=domain)
    >>> covariances = [np.cov(Z[domain == d], rowvar=False, bias=True) for d in (1, -1)]
    >>> np.allclose(*covariances)
    True
    """

    _parameter_constraints: dict = {
        **SourceMap._parameter_constraints,
        "shrinkage": [
            StrOptions({"ledoit_wolf", "oas"}),
            Interval(Real, 0, 1, closed="both"),
        ],
        "reg": [Interval(Real, 0, None, closed="left")],
        "align_means": ["boolean"],
    }

    def __init__(
        self,
        shrinkage="ledoit_wolf",
        *,
        reg=0.0,
        align_means=True,
        per_source=False,
    ):
        self.shrinkage = shrinkage
        self.reg = reg
        self.align_means = align_means
        self.per_source = per_source

    def _fit_target(self, data):
        check_rows_of_domains(self, data, 2, "to have covariances")

    def _fit_map(self, data):
        check_rows_of_domains(self, data, 2, "to have covariances")
        source_mean, source = self._moments(data.X_source)
        target_mean, target = self._moments(data.X_target)
        offset = target_mean if self.align_means else source_mean
        return AffineMap(coral_map(source, target), source_mean, offset)

    def _moments(self, X):
        mean, covariance = mean_and_covariance(X)
        covariance = shrink_covariance(covariance, X, mean, self.shrinkage)
        covariance.flat[:: len(mean) + 1] += self.reg
        return mean, covariance
