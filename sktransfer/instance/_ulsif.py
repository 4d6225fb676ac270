"""Density ratios by least squares: uLSIF and RuLSIF."""

from numbers import Real

from sktransfer._compat import Interval, StrOptions, validate_params
from sktransfer._solvers.density_ratio import least_squares_ratio
from sktransfer.instance._ratio_template import (
    PAIR_CONSTRAINTS,
    WIDTH_CONSTRAINTS,
    RatioWeighting,
    check_pair,
)

__all__ = ["RULSIF", "ULSIF", "rulsif_weights", "ulsif_weights"]

_CONSTRAINTS = {
    **WIDTH_CONSTRAINTS,
    "regularization": [
        StrOptions({"cv"}),
        Interval(Real, 0, None, closed="left"),
    ],
}
_ALPHA = {"alpha": [Interval(Real, 0, 1, closed="left")]}


@validate_params(
    {**PAIR_CONSTRAINTS, **_CONSTRAINTS, "return_info": ["boolean"]},
    prefer_skip_nested_validation=True,
)
def ulsif_weights(
    X_source,
    X_target,
    *,
    gamma="cv",
    regularization="cv",
    n_centers=100,
    random_state=0,
    return_info=False,
):
    r"""Weigh source samples by a density ratio fitted by least squares (uLSIF).

    Parameters
    ----------
    X_source : {array-like, sparse matrix} of shape (n_source, n_features)
        Source samples.
    X_target : {array-like, sparse matrix} of shape (n_target, n_features)
        Target samples, labeled or not.
    gamma : {"cv", "median", "scale"} or float in (0, inf), default="cv"
        Width of the Gaussian kernel. "cv": the best of nine widths around the median
        rule by the leave-one-out score; "median" and "scale" as in
        :func:`kmm_weights`.
    regularization : "cv" or float in [0, inf), default="cv"
        Ridge :math:`\lambda`. "cv": the best of nine values from 0.001 to 10 by the
        same score.
    n_centers : int in [1, inf), default=100
        Largest number of kernel centers, which are drawn among the target samples.
    random_state : int, RandomState instance or None, default=0
        Draws the centers; the order of the samples does not matter.
    return_info : bool, default=False
        Also return what was chosen.

    Returns
    -------
    weights : ndarray of shape (n_source,)
        Estimated ratio of the target's to the source's density, at least 0.
    info : DensityRatioInfo
        Width, ridge and score; only if `return_info` is True.

    Raises
    ------
    ValueError
        If the domains have different numbers of features, or "cv" is asked of a
        domain with one sample.

    See Also
    --------
    ULSIF : A learner that is fitted with these weights.
    rulsif_weights : A bounded ratio.

    Notes
    -----
    With :math:`\phi_l(x) = \exp(-\gamma \|x - c_l\|^2)`,
    :math:`\hat H = \tfrac1{n_s} \sum_{i \in S} \phi(x_i) \phi(x_i)'` and
    :math:`\hat h = \tfrac1{n_t} \sum_{j \in T} \phi(x_j)` the weights are
    :math:`\max(0, \phi(x_i)'\hat\theta)` with
    :math:`\hat\theta = (\hat H + \lambda I)^{-1} \hat h`, which minimizes the squared
    error of the ratio over the source's density [1]_. Each sample is left out once
    for the score, in closed form.

    References
    ----------
    .. [1] T. Kanamori, S. Hido, M. Sugiyama. A least-squares approach to direct
       importance estimation. Journal of Machine Learning Research 10, 2009.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.instance import ulsif_weights
    >>> X_source = np.linspace(-1, 1, 50)[:, None]
    >>> weights = ulsif_weights(X_source, X_source[25:])
    >>> bool(weights[25:].mean() > 3 * weights[:25].mean())
    True
    """
    X_source, X_target = check_pair(X_source, X_target)
    weights, info = least_squares_ratio(
        X_source,
        X_target,
        gamma=gamma,
        regularization=regularization,
        n_centers=n_centers,
        random_state=random_state,
    )
    return (weights, info) if return_info else weights


@validate_params(
    {**PAIR_CONSTRAINTS, **_ALPHA, **_CONSTRAINTS, "return_info": ["boolean"]},
    prefer_skip_nested_validation=True,
)
def rulsif_weights(
    X_source,
    X_target,
    *,
    alpha=0.1,
    gamma="cv",
    regularization="cv",
    n_centers=100,
    random_state=0,
    return_info=False,
):
    r"""Weigh source samples by a relative density ratio, at most 1/alpha (RuLSIF).

    Parameters
    ----------
    X_source : {array-like, sparse matrix} of shape (n_source, n_features)
        Source samples.
    X_target : {array-like, sparse matrix} of shape (n_target, n_features)
        Target samples, labeled or not.
    alpha : float in [0, 1), default=0.1
        Share of the target in the denominator. 0: the ratio of :func:`ulsif_weights`;
        the larger, the smoother and the nearer to 1 are the weights.
    gamma : {"cv", "median", "scale"} or float in (0, inf), default="cv"
        Width of the Gaussian kernel, see :func:`ulsif_weights`.
    regularization : "cv" or float in [0, inf), default="cv"
        Ridge :math:`\lambda`, see :func:`ulsif_weights`.
    n_centers : int in [1, inf), default=100
        Largest number of kernel centers, which are drawn among the target samples.
    random_state : int, RandomState instance or None, default=0
        Draws the centers; the order of the samples does not matter.
    return_info : bool, default=False
        Also return what was chosen.

    Returns
    -------
    weights : ndarray of shape (n_source,)
        Estimated relative ratio, at least 0.
    info : DensityRatioInfo
        Width, ridge and score; only if `return_info` is True.

    Raises
    ------
    ValueError
        If the domains have different numbers of features, or "cv" is asked of a
        domain with one sample.

    See Also
    --------
    RULSIF : A learner that is fitted with these weights.

    Notes
    -----
    The weights estimate
    :math:`p_t(x) / (\alpha p_t(x) + (1 - \alpha) p_s(x)) \le 1 / \alpha` [1]_ as in
    :func:`ulsif_weights`, with :math:`\hat H` the mean of :math:`\phi\phi'` over that
    mixture. The bound holds for the ratio, for its estimate up to its error.

    References
    ----------
    .. [1] M. Yamada, T. Suzuki, T. Kanamori, H. Hachiya, M. Sugiyama. Relative
       density-ratio estimation for robust distribution comparison. Neural Computation
       25, 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.instance import rulsif_weights
    >>> X_source = np.linspace(-1, 1, 50)[:, None]
    >>> weights = rulsif_weights(X_source, X_source[40:], alpha=0.5)
    >>> bool(weights.max() < 2.5)
    True
    """
    X_source, X_target = check_pair(X_source, X_target)
    weights, info = least_squares_ratio(
        X_source,
        X_target,
        alpha=alpha,
        gamma=gamma,
        regularization=regularization,
        n_centers=n_centers,
        random_state=random_state,
    )
    return (weights, info) if return_info else weights


class ULSIF(RatioWeighting):
    r"""Fit a learner on source samples weighted by a least-squares density ratio.

    The weights estimate the ratio of the target's to the sources' density (uLSIF);
    labels play no part in them.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor whose ``fit`` takes ``sample_weight``.
    gamma : {"cv", "median", "scale"} or float in (0, inf), default="cv"
        Width of the Gaussian kernel, see :func:`ulsif_weights`.
    regularization : "cv" or float in [0, inf), default="cv"
        Ridge of the ratio, see :func:`ulsif_weights`.
    n_centers : int in [1, inf), default=100
        Largest number of kernel centers.
    target_weight : float in [0, inf), default=1.0
        Weight of a labeled target sample; the mean weight of a source sample is about
        1.
    per_source : bool, default=False
        False: all sources are one denominator. True: each source has its own ratio.
    random_state : int, RandomState instance or None, default=0
        Draws the centers.

    Attributes
    ----------
    sample_weight_ : ndarray of shape (n_source,)
        Weights of the source samples in input order, without the user's
        ``sample_weight``, by which they are multiplied.
    effective_sample_size_ : float
        :math:`(\sum w)^2 / \sum w^2` of the source samples.
    ratio_info_ : list of DensityRatioInfo
        Width, ridge and score of each ratio.
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
    ulsif_weights : The weights alone, with the equations.
    RULSIF : With bounded weights.
    KMM : Weights by matching of means.

    References
    ----------
    .. [1] T. Kanamori, S. Hido, M. Sugiyama. A least-squares approach to direct
       importance estimation. Journal of Machine Learning Research 10, 2009.

    Examples
    --------
    The curve's slope is 3 amid the target and 2 amid the source.

    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from sktransfer.instance import ULSIF
    >>> X = np.concatenate([np.linspace(0, 2, 40), np.linspace(1, 2, 20)])[:, None]
    >>> y = np.r_[X[:40, 0] ** 2, np.full(20, np.nan)]
    >>> domain = np.repeat([1, -1], [40, 20])
    >>> model = ULSIF(LinearRegression()).fit(X, y, sample_domain=domain)
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
        regularization="cv",
        n_centers=100,
        target_weight=1.0,
        per_source=False,
        random_state=0,
    ):
        super().__init__(estimator, target_weight=target_weight, per_source=per_source)
        self.gamma = gamma
        self.regularization = regularization
        self.n_centers = n_centers
        self.random_state = random_state

    def _ratio(self, X_source, X_target, rng):
        return least_squares_ratio(
            X_source,
            X_target,
            alpha=self._share(),
            gamma=self.gamma,
            regularization=self.regularization,
            n_centers=self.n_centers,
            random_state=rng,
        )

    def _share(self):
        """Return the share of the target in the denominator."""
        return 0.0


class RULSIF(ULSIF):
    r"""Fit a learner on source samples weighted by a relative density ratio.

    The weights estimate the ratio of the target's density to a mixture of both
    domains' (RuLSIF): they are at most 1/alpha, so that no few samples decide.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor whose ``fit`` takes ``sample_weight``.
    alpha : float in [0, 1), default=0.1
        Share of the target in the denominator; 0 is :class:`ULSIF`.
    gamma : {"cv", "median", "scale"} or float in (0, inf), default="cv"
        Width of the Gaussian kernel, see :func:`ulsif_weights`.
    regularization : "cv" or float in [0, inf), default="cv"
        Ridge of the ratio, see :func:`ulsif_weights`.
    n_centers : int in [1, inf), default=100
        Largest number of kernel centers.
    target_weight : float in [0, inf), default=1.0
        Weight of a labeled target sample.
    per_source : bool, default=False
        False: all sources are one denominator. True: each source has its own ratio.
    random_state : int, RandomState instance or None, default=0
        Draws the centers.

    Attributes
    ----------
    sample_weight_ : ndarray of shape (n_source,)
        Weights of the source samples in input order, without the user's
        ``sample_weight``, by which they are multiplied.
    effective_sample_size_ : float
        :math:`(\sum w)^2 / \sum w^2` of the source samples.
    ratio_info_ : list of DensityRatioInfo
        Width, ridge and score of each ratio.
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
    rulsif_weights : The weights alone, with the equations.
    ULSIF : The plain ratio.

    References
    ----------
    .. [1] M. Yamada, T. Suzuki, T. Kanamori, H. Hachiya, M. Sugiyama. Relative
       density-ratio estimation for robust distribution comparison. Neural Computation
       25, 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from sktransfer.instance import RULSIF
    >>> X = np.concatenate([np.linspace(0, 2, 40), np.linspace(1, 2, 20)])[:, None]
    >>> y = np.r_[X[:40, 0] ** 2, np.full(20, np.nan)]
    >>> domain = np.repeat([1, -1], [40, 20])
    >>> model = RULSIF(LinearRegression()).fit(X, y, sample_domain=domain)
    >>> bool(model.sample_weight_.max() < 10.0)
    True
    """

    _parameter_constraints: dict = {**ULSIF._parameter_constraints, **_ALPHA}

    def __init__(
        self,
        estimator,
        *,
        alpha=0.1,
        gamma="cv",
        regularization="cv",
        n_centers=100,
        target_weight=1.0,
        per_source=False,
        random_state=0,
    ):
        super().__init__(
            estimator,
            gamma=gamma,
            regularization=regularization,
            n_centers=n_centers,
            target_weight=target_weight,
            per_source=per_source,
            random_state=random_state,
        )
        self.alpha = alpha

    def _share(self):
        return self.alpha
