"""Density ratios of two normal distributions."""

from numbers import Real

import numpy as np

from sktransfer._compat import Interval, StrOptions, validate_params
from sktransfer._solvers.density_ratio import gaussian_log_ratio
from sktransfer.instance._ratio_template import (
    PAIR_CONSTRAINTS,
    RatioWeighting,
    check_pair,
)

__all__ = ["GaussianWeighting", "gaussian_weights"]

_CONSTRAINTS = {
    "shrinkage": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="both")],
}


@validate_params(
    {**PAIR_CONSTRAINTS, **_CONSTRAINTS}, prefer_skip_nested_validation=True
)
def gaussian_weights(X_source, X_target, *, shrinkage="auto"):
    r"""Weigh source samples by the ratio of two normal densities.

    Parameters
    ----------
    X_source : array-like of shape (n_source, n_features)
        Source samples.
    X_target : array-like of shape (n_target, n_features)
        Target samples, labeled or not.
    shrinkage : "auto" or float in [0, 1], default="auto"
        Share of the covariance of both domains together in the covariance of each.
        "auto": :math:`(d + 2) / (n + d + 2)` for n samples in d dimensions. 1: both
        domains have the common covariance, and differ in their means alone.

    Returns
    -------
    weights : ndarray of shape (n_source,)
        Ratio of the target's to the source's normal density, scaled to the mean 1.

    Raises
    ------
    ValueError
        If the domains have different numbers of features, or `shrinkage` leaves a
        covariance singular.

    See Also
    --------
    GaussianWeighting : A learner that is fitted with these weights.

    Notes
    -----
    .. math:: w(x) \propto \frac{N(x; \mu_t, \Sigma_t)}{N(x; \mu_s, \Sigma_s)},
        \qquad \Sigma_d = (1 - a_d) S_d + a_d S

    with the covariance :math:`S_d` of a domain, S the mean square around the point
    between both means, and :math:`a_d` the shrinkage. An invertible linear map of the
    features changes no weight.

    References
    ----------
    .. [1] H. Shimodaira. Improving predictive inference under covariate shift by
       weighting the log-likelihood function. Journal of Statistical Planning and
       Inference 90, 2000.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.instance import gaussian_weights
    >>> X_source = np.linspace(-1, 1, 50)[:, None]
    >>> weights = gaussian_weights(X_source, X_source[25:])
    >>> bool(weights[25:].mean() > 3 * weights[:25].mean())
    True
    """
    X_source, X_target = check_pair(X_source, X_target, accept_sparse=False)
    return _weights(X_source, X_target, shrinkage)


def _weights(X_source, X_target, shrinkage):
    log_ratio = gaussian_log_ratio(X_source, X_target, shrinkage=shrinkage)
    weights = np.exp(log_ratio - log_ratio.max())
    return weights / weights.mean()


class GaussianWeighting(RatioWeighting):
    r"""Fit a learner on source samples weighted by a ratio of normal densities.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor whose ``fit`` takes ``sample_weight``.
    shrinkage : "auto" or float in [0, 1], default="auto"
        Share of the common covariance, see :func:`gaussian_weights`.
    target_weight : float in [0, inf), default=1.0
        Weight of a labeled target sample; the mean weight of a source sample is 1.
    per_source : bool, default=False
        False: all sources are one denominator. True: each source has its own ratio.

    Attributes
    ----------
    sample_weight_ : ndarray of shape (n_source,)
        Weights of the source samples in input order, without the user's
        ``sample_weight``, by which they are multiplied.
    effective_sample_size_ : float
        :math:`(\sum w)^2 / \sum w^2` of the source samples.
    ratio_info_ : list
        Empty: there is nothing to choose.
    estimator_ : estimator
        The fitted learner.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    gaussian_weights : The weights alone, with the equations.
    ULSIF : A ratio of any form.

    References
    ----------
    .. [1] H. Shimodaira. Improving predictive inference under covariate shift by
       weighting the log-likelihood function. Journal of Statistical Planning and
       Inference 90, 2000.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from sktransfer.instance import GaussianWeighting
    >>> X = np.concatenate([np.linspace(0, 2, 40), np.linspace(1, 2, 20)])[:, None]
    >>> y = np.r_[X[:40, 0] ** 2, np.full(20, np.nan)]
    >>> domain = np.repeat([1, -1], [40, 20])
    >>> model = GaussianWeighting(LinearRegression()).fit(X, y, sample_domain=domain)
    >>> bool(model.estimator_.coef_[0] > 2.4)
    True
    """

    _parameter_constraints: dict = {
        **RatioWeighting._parameter_constraints,
        **_CONSTRAINTS,
    }
    _takes_sparse = False

    def __init__(
        self, estimator, *, shrinkage="auto", target_weight=1.0, per_source=False
    ):
        super().__init__(estimator, target_weight=target_weight, per_source=per_source)
        self.shrinkage = shrinkage

    def _ratio(self, X_source, X_target, rng):
        return _weights(X_source, X_target, self.shrinkage), None
