"""Density ratios by maximum likelihood: KLIEP."""

from numbers import Integral, Real

from sklearn.exceptions import ConvergenceWarning

from sktransfer._compat import Interval, validate_params
from sktransfer._solvers.density_ratio import likelihood_ratio
from sktransfer.exceptions import warn
from sktransfer.instance._ratio_template import (
    PAIR_CONSTRAINTS,
    WIDTH_CONSTRAINTS,
    RatioWeighting,
    check_pair,
)

__all__ = ["KLIEP", "kliep_weights"]

_CONSTRAINTS = {
    **WIDTH_CONSTRAINTS,
    "cv": [Interval(Integral, 2, None, closed="left")],
    "tol": [Interval(Real, 0, None, closed="neither")],
}


@validate_params(
    {**PAIR_CONSTRAINTS, **_CONSTRAINTS, "return_info": ["boolean"]},
    prefer_skip_nested_validation=True,
)
def kliep_weights(
    X_source,
    X_target,
    *,
    gamma="cv",
    n_centers=100,
    cv=5,
    tol=1e-8,
    random_state=0,
    return_info=False,
):
    r"""Weigh source samples by a density ratio of maximum likelihood (KLIEP).

    Parameters
    ----------
    X_source : {array-like, sparse matrix} of shape (n_source, n_features)
        Source samples.
    X_target : {array-like, sparse matrix} of shape (n_target, n_features)
        Target samples, labeled or not.
    gamma : {"cv", "median", "scale"} or float in (0, inf), default="cv"
        Width of the Gaussian kernel. "cv": the best of nine widths around the median
        rule by the likelihood of held-out target samples; "median" and "scale" as in
        :func:`kmm_weights`.
    n_centers : int in [1, inf), default=100
        Largest number of kernel centers, which are drawn among the target samples.
    cv : int in [2, inf), default=5
        Folds of the target samples for "cv".
    tol : float in (0, inf), default=1e-8
        Gap of the mean log-likelihood to its maximum that is allowed.
    random_state : int, RandomState instance or None, default=0
        Draws the centers and the folds; the order of the samples does not matter.
    return_info : bool, default=False
        Also return the certificate.

    Returns
    -------
    weights : ndarray of shape (n_source,)
        Estimated ratio of the target's to the source's density, with mean 1.
    info : DensityRatioInfo
        Width, held-out loss, gap and iterations; only if `return_info` is True.

    Raises
    ------
    ValueError
        If the domains have different numbers of features, or "cv" is asked of one
        target sample.

    Warns
    -----
    ConvergenceWarning
        If the gap stays above `tol`.

    See Also
    --------
    KLIEP : A learner that is fitted with these weights.

    Notes
    -----
    The weights :math:`w(x) = \sum_l \theta_l \exp(-\gamma \|x - c_l\|^2)` solve [1]_

    .. math:: \max_{\theta \ge 0} \tfrac1{n_t} \sum_{j \in T} \log w(x_j)
        \quad\text{s.t.}\quad \tfrac1{n_s} \sum_{i \in S} w(x_i) = 1.

    That is a mixture of densities with unknown shares. It is solved by Newton's
    method on the simplex, in logarithms, so that domains which are far apart make no
    number overflow. The gap is a bound from duality.

    References
    ----------
    .. [1] M. Sugiyama, S. Nakajima, H. Kashima, P. von Buenau, M. Kawanabe. Direct
       importance estimation with model selection and its application to covariate
       shift adaptation. Advances in Neural Information Processing Systems 20, 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.instance import kliep_weights
    >>> X_source = np.linspace(-1, 1, 50)[:, None]
    >>> weights = kliep_weights(X_source, X_source[25:])
    >>> bool(weights[25:].mean() > 3 * weights[:25].mean())
    True
    >>> float(weights.mean().round(6))
    1.0
    """
    X_source, X_target = check_pair(X_source, X_target)
    weights, info = likelihood_ratio(
        X_source,
        X_target,
        gamma=gamma,
        n_centers=n_centers,
        cv=cv,
        tol=tol,
        random_state=random_state,
    )
    _warn_unless_converged(info, tol)
    return (weights, info) if return_info else weights


def _warn_unless_converged(info, tol):
    if not info.converged:
        warn(
            f"KLIEP stopped after {info.n_iter} steps with a gap of the log-likelihood "
            f"of {info.duality_gap:.1e} > tol={tol:g}. Raise tol.",
            ConvergenceWarning,
        )


class KLIEP(RatioWeighting):
    r"""Fit a learner on source samples weighted by a maximum-likelihood density ratio.

    The weights estimate the ratio of the target's to the sources' density; labels play
    no part in them.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor whose ``fit`` takes ``sample_weight``.
    gamma : {"cv", "median", "scale"} or float in (0, inf), default="cv"
        Width of the Gaussian kernel, see :func:`kliep_weights`.
    n_centers : int in [1, inf), default=100
        Largest number of kernel centers.
    cv : int in [2, inf), default=5
        Folds of the target samples for "cv".
    tol : float in (0, inf), default=1e-8
        Gap of the mean log-likelihood to its maximum that is allowed.
    target_weight : float in [0, inf), default=1.0
        Weight of a labeled target sample; the mean weight of a source sample is 1.
    per_source : bool, default=False
        False: all sources are one denominator. True: each source has its own ratio.
    random_state : int, RandomState instance or None, default=0
        Draws the centers and the folds.

    Attributes
    ----------
    sample_weight_ : ndarray of shape (n_source,)
        Weights of the source samples in input order, without the user's
        ``sample_weight``, by which they are multiplied.
    effective_sample_size_ : float
        :math:`(\sum w)^2 / \sum w^2` of the source samples.
    ratio_info_ : list of DensityRatioInfo
        Width, held-out loss and certificate of each ratio.
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
    kliep_weights : The weights alone, with the equations.
    ULSIF : Least squares, which are faster.

    References
    ----------
    .. [1] M. Sugiyama, S. Nakajima, H. Kashima, P. von Buenau, M. Kawanabe. Direct
       importance estimation with model selection and its application to covariate
       shift adaptation. Advances in Neural Information Processing Systems 20, 2007.

    Examples
    --------
    The curve's slope is 3 amid the target and 2 amid the source.

    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from sktransfer.instance import KLIEP
    >>> X = np.concatenate([np.linspace(0, 2, 40), np.linspace(1, 2, 20)])[:, None]
    >>> y = np.r_[X[:40, 0] ** 2, np.full(20, np.nan)]
    >>> domain = np.repeat([1, -1], [40, 20])
    >>> model = KLIEP(LinearRegression()).fit(X, y, sample_domain=domain)
    >>> bool(model.estimator_.coef_[0] > 2.4)
    True
    """

    _parameter_constraints: dict = {
        **RatioWeighting._parameter_constraints,
        **_CONSTRAINTS,
    }

    def __init__(
        self,
        estimator,
        *,
        gamma="cv",
        n_centers=100,
        cv=5,
        tol=1e-8,
        target_weight=1.0,
        per_source=False,
        random_state=0,
    ):
        super().__init__(estimator, target_weight=target_weight, per_source=per_source)
        self.gamma = gamma
        self.n_centers = n_centers
        self.cv = cv
        self.tol = tol
        self.random_state = random_state

    def _ratio(self, X_source, X_target, rng):
        weights, info = likelihood_ratio(
            X_source,
            X_target,
            gamma=self.gamma,
            n_centers=self.n_centers,
            cv=self.cv,
            tol=self.tol,
            random_state=rng,
        )
        _warn_unless_converged(info, self.tol)
        return weights, info
