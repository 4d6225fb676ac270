"""Linear discrepancy minimization."""

from numbers import Integral, Real

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sktransfer._compat import Interval, validate_params
from sktransfer._solvers.discrepancy import DiscrepancyInfo, minimize_discrepancy
from sktransfer.exceptions import warn
from sktransfer.instance._ratio_template import (
    PAIR_CONSTRAINTS,
    RatioWeighting,
    check_pair,
)

__all__ = ["LDM", "DiscrepancyInfo", "ldm_weights"]

_CONSTRAINTS = {
    "fit_intercept": ["boolean"],
    "tol": [Interval(Real, 0, None, closed="neither")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
}


@validate_params(
    {**PAIR_CONSTRAINTS, **_CONSTRAINTS, "return_info": ["boolean"]},
    prefer_skip_nested_validation=True,
)
def ldm_weights(
    X_source,
    X_target,
    *,
    fit_intercept=True,
    tol=0.01,
    max_iter=2000,
    return_info=False,
):
    r"""Weigh source samples such that linear hypotheses err alike on both domains.

    Parameters
    ----------
    X_source : array-like of shape (n_source, n_features)
        Source samples.
    X_target : array-like of shape (n_target, n_features)
        Target samples, labeled or not.
    fit_intercept : bool, default=True
        Whether the hypotheses have an intercept, so that means count beside second
        moments.
    tol : float in (0, inf), default=0.01
        Largest gap between the discrepancy and its lower bound, as a share of the
        discrepancy of equal weights.
    max_iter : int in [1, inf), default=2000
        Largest number of eigendecompositions.
    return_info : bool, default=False
        Whether to return a certificate, too.

    Returns
    -------
    weights : ndarray of shape (n_source,)
        Weights with mean 1.
    info : DiscrepancyInfo
        Discrepancy, lower bound and iterations; only with ``return_info=True``.

    Raises
    ------
    ValueError
        If the domains have different numbers of features.

    Warns
    -----
    ConvergenceWarning
        If the gap is above `tol` after `max_iter` eigendecompositions.

    See Also
    --------
    LDM : A learner that is fitted with these weights.
    kmm_weights : Matches the means of kernel features instead.

    Notes
    -----
    The difference of the squared losses of two hypotheses on the two domains is at most
    a multiple of

    .. math:: \max_{\lVert u \rVert \le 1} \left| u' \left( \frac1{n_t} X_t'X_t
        - \sum_i w_i x_i x_i' \right) u \right| ,

    which the weights minimize among those that are not negative and sum to 1 [1]_; they
    are returned times n_source. The largest norm depends on the units of the features:
    standardize them first. Where several weights are best, those found from equal
    weights are returned. The cost of an iteration is linear in the samples and cubic
    in the features.

    References
    ----------
    .. [1] Y. Mansour, M. Mohri, A. Rostamizadeh. Domain adaptation: learning bounds
       and algorithms. COLT, 2009. :arxiv:`0902.3430`

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.instance import ldm_weights
    >>> X_source = np.linspace(-1, 1, 50)[:, None]
    >>> weights = ldm_weights(X_source, X_source[25:])
    >>> bool(abs(np.average(X_source[:, 0], weights=weights) - 0.5) < 0.05)
    True
    """
    X_source, X_target = check_pair(X_source, X_target, accept_sparse=False)
    weights, info = _weights(X_source, X_target, fit_intercept, tol, max_iter)
    return (weights, info) if return_info else weights


def _weights(X_source, X_target, fit_intercept, tol, max_iter):
    parts = [np.asarray(X, dtype=np.float64) for X in (X_source, X_target)]
    if fit_intercept:
        parts = [np.column_stack([X, np.ones(len(X))]) for X in parts]
    weights, info = minimize_discrepancy(*parts, tol=tol, max_iter=max_iter)
    if not info.converged:
        warn(
            f"The discrepancy was minimized to {info.discrepancy:.3g} with a lower "
            f"bound of {info.lower_bound:.3g} in {info.n_iter} eigendecompositions: "
            "raise max_iter or tol, or standardize X.",
            ConvergenceWarning,
        )
    return weights * len(weights), info


class LDM(RatioWeighting):
    r"""Linear discrepancy minimization: linear hypotheses err alike on both domains.

    Source samples get weights under which all linear hypotheses have about the same
    squared losses as on the target. Made for linear regression; labels are not used
    for the weights.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor whose ``fit`` takes ``sample_weight``.
    fit_intercept : bool, default=True
        Whether the hypotheses have an intercept, so that means count beside second
        moments.
    tol : float in (0, inf), default=0.01
        Largest gap between the discrepancy and its lower bound, as a share of the
        discrepancy of equal weights.
    max_iter : int in [1, inf), default=2000
        Largest number of eigendecompositions.
    target_weight : float in [0, inf), default=1.0
        Weight of a labeled target sample; the mean weight of a source sample is 1.
    per_source : bool, default=False
        False: all sources are one. True: each source has weights of its own.

    Attributes
    ----------
    sample_weight_ : ndarray of shape (n_source,)
        Weights of the source samples in input order, without the user's
        ``sample_weight``, by which they are multiplied.
    effective_sample_size_ : float
        :math:`(\sum w)^2 / \sum w^2` of the source samples.
    ratio_info_ : list of DiscrepancyInfo
        Certificate of the weights, or one of each source.
    n_iter_ : int
        Number of eigendecompositions in all; 0 without sources.
    estimator_ : estimator
        The fitted learner.
    classes_ : ndarray of shape (n_classes,)
        Class labels; only for classifiers.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    Warns
    -----
    ConvergenceWarning
        If the gap is above `tol` after `max_iter` eigendecompositions.

    See Also
    --------
    ldm_weights : The weights alone, with the equations.
    KMM : Matches the means of kernel features instead.

    References
    ----------
    .. [1] Y. Mansour, M. Mohri, A. Rostamizadeh. Domain adaptation: learning bounds
       and algorithms. COLT, 2009. :arxiv:`0902.3430`

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from sktransfer.instance import LDM
    >>> X = np.concatenate([np.linspace(0, 2, 40), np.linspace(1, 2, 20)])[:, None]
    >>> y = np.r_[X[:40, 0] ** 2, np.full(20, np.nan)]
    >>> domain = np.repeat([1, -1], [40, 20])
    >>> model = LDM(LinearRegression()).fit(X, y, sample_domain=domain)
    >>> bool(model.estimator_.coef_[0] > 2.4)
    True
    """

    _parameter_constraints: dict = {
        **RatioWeighting._parameter_constraints,
        **_CONSTRAINTS,
    }
    _takes_sparse = False

    def __init__(
        self,
        estimator,
        *,
        fit_intercept=True,
        tol=0.01,
        max_iter=2000,
        target_weight=1.0,
        per_source=False,
    ):
        super().__init__(estimator, target_weight=target_weight, per_source=per_source)
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter

    def _weigh_sources(self, data):
        weights = super()._weigh_sources(data)
        self.n_iter_ = sum(info.n_iter for info in self.ratio_info_)
        return weights

    def _ratio(self, X_source, X_target, rng):
        return _weights(X_source, X_target, self.fit_intercept, self.tol, self.max_iter)
