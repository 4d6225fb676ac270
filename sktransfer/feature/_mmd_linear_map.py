"""Location and scale by the least maximum mean discrepancy."""

from numbers import Integral, Real

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sktransfer._compat import Interval, StrOptions
from sktransfer._domains import take_rows
from sktransfer._solvers.kernels import order_free_sample, resolve_gamma
from sktransfer._solvers.location_scale import fit_location_scale
from sktransfer.exceptions import warn
from sktransfer.feature._source_map import AffineMap, SourceMap, check_rows_of_domains

__all__ = ["MMDLinearMap"]

#: rows of a domain up to which "auto" computes the kernel itself
_EXACT_ROWS = 500


class MMDLinearMap(SourceMap):
    r"""Location-scale map: each feature of the source is stretched and shifted.

    Scale and location make the maximum mean discrepancy between the mapped source
    samples and the target samples least; target samples stay what they are. Unlike
    means and spreads they are not misled by a few outliers. Labels are not used.

    Parameters
    ----------
    gamma : {"median", "scale"} or float in (0, inf), default="median"
        Width of the RBF kernel on target samples. "median": one over their median
        squared distance; "scale": one over n_features times their variance.
    reg : float in [0, inf), default=0.0
        Weight of the squared distance from the map that only gives source samples the
        target's means and spreads, in units of these spreads.
    n_random_features : {"auto"}, int in [1, inf) or None, default="auto"
        None: the kernel itself, at a cost that is quadratic in the samples. An
        integer: so many random Fourier features of it, at a linear cost. "auto": the
        kernel for up to 500 samples of each domain, else 300 features.
    max_iter : int in [1, inf), default=200
        Largest number of iterations of L-BFGS.
    per_source : bool, default=False
        True: each source has a map of its own. False: all sources share one.
    random_state : int, RandomState instance or None, default=0
        Seed of the random features.

    Attributes
    ----------
    maps_ : dict
        Map of each source, or of all: ``matrix`` holds the scales, and a sample is
        mapped to ``(x - center) * matrix + offset``.
    mmd2_ : ndarray of shape (n_maps,)
        Squared discrepancy after each map, in [0, 2].
    source_ids_ : ndarray of shape (n_sources,)
        Sources seen in ``fit``.
    gamma_ : float
        The width that was used.
    n_iter_ : int
        Largest number of iterations that a map took.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    Warns
    -----
    ConvergenceWarning
        If `max_iter` ends the iterations.

    See Also
    --------
    CORAL : Equates means and covariances.
    sktransfer.metrics.mmd : The discrepancy.

    Notes
    -----
    With :math:`z = a \odot x + b` for source samples,

    .. math:: \min_{a, b} \; \mathrm{mean}\, k(z, z') - 2\, \mathrm{mean}\, k(z, x_t)
        + \mathrm{mean}\, k(x_t, x_t'),

    the location-scale model of [1]_ with one map for all classes, so that new samples
    can be mapped. Where the target is a stretched and shifted source, the optimum is
    0 and the map is exact. The optimization starts from equal means and spreads and
    may end in a local optimum.

    References
    ----------
    .. [1] K. Zhang, B. Schoelkopf, K. Muandet, Z. Wang. Domain adaptation under target
       and conditional shift. ICML, 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.feature import MMDLinearMap
    >>> X = np.random.RandomState(0).normal(size=(40, 2))
    >>> both = np.vstack([X, X * [2.0, 0.5] + [1.0, -3.0]])
    >>> domain = np.repeat([1, -1], 40)
    >>> Z = MMDLinearMap().fit_transform(both, sample_domain=domain)
    >>> np.allclose(Z[:40], Z[40:], atol=1e-4)
    True
    """

    _parameter_constraints: dict = {
        **SourceMap._parameter_constraints,
        "gamma": [
            StrOptions({"median", "scale"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "reg": [Interval(Real, 0, None, closed="left")],
        "n_random_features": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
            None,
        ],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        gamma="median",
        *,
        reg=0.0,
        n_random_features="auto",
        max_iter=200,
        per_source=False,
        random_state=0,
    ):
        self.gamma = gamma
        self.reg = reg
        self.n_random_features = n_random_features
        self.max_iter = max_iter
        self.per_source = per_source
        self.random_state = random_state

    def _fit_target(self, data):
        check_rows_of_domains(self, data, 2, "to have a spread")
        self.gamma_ = resolve_gamma(self.gamma, data.X_target, kernel="rbf")
        self.n_iter_, self.mmd2_ = 0, np.empty(0)

    def _fit_map(self, data):
        check_rows_of_domains(self, data, 2, "to have a spread")
        n_features = self.n_random_features
        if n_features == "auto":
            exact = max(data.n_source, data.n_target) <= _EXACT_ROWS
            n_features = None if exact else 300
        scale, location, info = fit_location_scale(
            self._ordered(data.X_source),
            self._ordered(data.X_target),
            gamma=self.gamma_,
            reg=self.reg,
            n_random_features=n_features,
            max_iter=self.max_iter,
            random_state=self.random_state,
        )
        if not info.converged:
            warn(
                f"The map stopped after max_iter={self.max_iter} iterations with a "
                f"gradient of {info.gradient:.1e}. Raise max_iter or reg.",
                ConvergenceWarning,
            )
        self.n_iter_ = max(self.n_iter_, info.n_iter)
        self.mmd2_ = np.append(self.mmd2_, info.mmd2)
        return AffineMap(scale, np.zeros_like(location), location)

    def _ordered(self, X):
        return take_rows(X, order_free_sample(X, X.shape[0], 0))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        return tags
