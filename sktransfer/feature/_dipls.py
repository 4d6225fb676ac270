"""Domain-invariant partial least squares."""

from numbers import Integral, Real

import numpy as np

from sktransfer._compat import Interval
from sktransfer._domains import take_rows
from sktransfer._linear import LinearRegressorMixin
from sktransfer._solvers.pls import domain_invariant_pls
from sktransfer.base import TransferEstimator

__all__ = ["DomainInvariantPLS"]


class DomainInvariantPLS(LinearRegressorMixin, TransferEstimator):
    r"""Domain-invariant partial least squares regression.

    Components that go with the labels, and along which the domains vary alike. It is
    made for calibration models, such as spectra of one instrument that are to be read
    on another, without reference values for the other.

    Parameters
    ----------
    n_components : int in [1, inf), default=2
        Number of components.
    penalty : float in [0, inf), default=1.0
        Weight of the difference between the variances of the domains, in units of the
        mean variance of a feature. 0: partial least squares.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients.
    intercept_ : float
        Intercept for target samples.
    x_weights_ : ndarray of shape (n_features, n_components)
        Unit weights of each component; 0 beyond the rank.
    x_loadings_ : ndarray of shape (n_features, n_components)
        Loadings of the labeled samples.
    x_rotations_ : ndarray of shape (n_features, n_components)
        Scores are centered samples times these.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    sklearn.cross_decomposition.PLSRegression : The same for one domain.
    CORAL : Equates the covariances instead.

    Notes
    -----
    In each component the weights are :math:`w \propto (I + \lambda D / s)^{-1} X'y` on
    deflated labeled samples, with :math:`D = \frac{1}{K} \sum_k |C_k - C_t|` the
    difference between the covariances of the sources and the target with absolute
    eigenvalues, and s the mean variance of a feature [1]_. In the notation of the paper
    :math:`\lambda_{paper} = 2 y'y \lambda / s`. Each domain is centered at its own
    mean, so a constant offset between instruments does not matter; labels are centered
    together, and a target sample at the target's mean is predicted by their mean.
    Labeled target samples are used like those of the sources. As `penalty` grows the
    components leave out all directions in which the variances differ.

    References
    ----------
    .. [1] R. Nikzad-Langerodi, W. Zellinger, E. Lughofer, S. Saminger-Platz.
       Domain-invariant partial-least-squares regression. Analytical Chemistry 90(11),
       2018. :doi:`10.1021/acs.analchem.8b00498`

    Examples
    --------
    The second instrument has noise in a channel that the first one relies on.

    >>> import numpy as np
    >>> from sktransfer.feature import DomainInvariantPLS
    >>> rng = np.random.RandomState(0)
    >>> y = rng.normal(size=100)
    >>> X = np.c_[y, y, y] + 0.1 * rng.normal(size=(100, 3))
    >>> domain = np.repeat([1, -1], 50)
    >>> X[50:, 2] += 3 * rng.normal(size=50)
    >>> labels = np.where(domain > 0, y, np.nan)
    >>> for penalty in (0.0, 100.0):
    ...     model = DomainInvariantPLS(1, penalty=penalty)
    ...     model = model.fit(X, labels, sample_domain=domain)
    ...     print(round(model.score(X[50:], y[50:]), 1))
    -0.2
    0.7
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "penalty": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, n_components=2, *, penalty=1.0):
        self.n_components = n_components
        self.penalty = penalty

    def _fit_domains(self, data):
        X = data.X.astype(np.float64)
        centered, target_mean = X.copy(), X[data.is_target].mean(axis=0)
        centered[data.is_target] -= target_mean
        for source in data.sources:
            rows = data.rows_of(source)
            centered[rows] -= X[rows].mean(axis=0)
        y = data.labels(data.labeled).astype(np.float64)
        fit = domain_invariant_pls(
            take_rows(centered, data.labeled),
            y - y.mean(),
            [centered[data.rows_of(source)] for source in data.sources],
            centered[data.is_target],
            n_components=self.n_components,
            penalty=self.penalty,
        )
        self.coef_ = fit.coef
        self.intercept_ = float(y.mean() - target_mean @ fit.coef)
        self.x_weights_, self.x_loadings_ = fit.weights, fit.loadings
        self.x_rotations_ = fit.rotations

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transfer_tags.uses_unlabeled = True
        return tags
