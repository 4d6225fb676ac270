"""Density ratios of samples that do not fit in memory."""

from numbers import Integral, Real

from sktransfer._chunks import RepeatedChunks, check_same_features
from sktransfer._compat import Interval, StrOptions, validate_params
from sktransfer._solvers.density_ratio import least_squares_ratio_of_chunks

__all__ = ["density_ratio_of_chunks"]


@validate_params(
    {
        "source": "no_validation",
        "target": "no_validation",
        "alpha": [Interval(Real, 0, 1, closed="left")],
        "gamma": [
            StrOptions({"cv", "median"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "regularization": [
            StrOptions({"cv"}),
            Interval(Real, 0, None, closed="left"),
        ],
        "n_centers": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "return_info": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def density_ratio_of_chunks(
    source,
    target,
    *,
    alpha=0.0,
    gamma="cv",
    regularization="cv",
    n_centers=100,
    random_state=0,
    return_info=False,
):
    r"""Weigh source samples by a density ratio without holding them in memory.

    The ratio is that of :func:`ulsif_weights` (uLSIF), or, with `alpha`, of
    :func:`rulsif_weights`. It follows from sums over the samples, so it is exact: the
    samples are read in parts, at most eight times, and memory holds a part, its
    features and the weights. The samples have no weights of their own: give one that
    counts twice twice.

    Parameters
    ----------
    source : array-like of shape (n_source, n_features), iterable or callable
        Source samples: an array, which may be a memory map; an iterable of chunks, each
        a two-dimensional array or frame, that starts anew in every loop, such as a
        list; or a function without arguments that returns one of these, such as a
        generator function. Every pass must give the same samples in the same order.
    target : array-like of shape (n_target, n_features), iterable or callable
        Target samples, labeled or not, in one of these forms.
    alpha : float in [0, 1), default=0.0
        Share of the target in the denominator; the ratio is at most 1 / alpha.
    gamma : {"cv", "median"} or float in (0, inf), default="cv"
        Width of the Gaussian kernel, as in :func:`ulsif_weights`.
    regularization : "cv" or float in [0, inf), default="cv"
        Ridge, as in :func:`ulsif_weights`.
    n_centers : int in [1, inf), default=100
        Largest number of kernel centers, which are drawn among the target samples.
    random_state : int, RandomState instance or None, default=0
        Draws the centers; the order of the samples does not matter.
    return_info : bool, default=False
        Also return what was chosen.

    Returns
    -------
    weights : ndarray of shape (n_source,)
        Estimated ratio of the target's to the source's density, at least 0, in the
        order of the samples.
    info : DensityRatioInfo
        Width, ridge and score; only if `return_info` is True.

    Raises
    ------
    TypeError
        If a domain is not of these forms.
    ValueError
        If a domain is an iterator, which can be read once; is empty; gives other
        numbers of samples in another pass; or has other numbers of features than the
        first chunk. If "cv" is asked of a domain with one sample.

    See Also
    --------
    ulsif_weights : The same of samples in memory, with the equations.
    kmm_weights_of_chunks : Weights by kernel mean matching.
    sktransfer.metrics.mmd_of_chunks : Discrepancy of such samples.

    Notes
    -----
    With the centers :math:`c_l`, :math:`\phi_l(x) = \exp(-\gamma \|x - c_l\|^2)` and
    the sums :math:`\sum_i \phi(x_i) \phi(x_i)'` and :math:`\sum_j \phi(x_j)` of each
    domain, the weights are
    :math:`\max(0, \phi(x_i)'(\hat H + \lambda I)^{-1} \hat h)` [1]_. A pass takes the
    sums for all widths, a second one the scores of samples left out, a third one the
    weights.

    References
    ----------
    .. [1] T. Kanamori, S. Hido, M. Sugiyama. A least-squares approach to direct
       importance estimation. Journal of Machine Learning Research 10, 2009.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.instance import density_ratio_of_chunks
    >>> def chunks():
    ...     for start in np.linspace(-1, 1, 10, endpoint=False):
    ...         yield np.linspace(start, start + 0.2, 100)[:, None]
    >>> weights = density_ratio_of_chunks(chunks, np.linspace(0, 1, 50)[:, None])
    >>> weights.shape
    (1000,)
    >>> bool(weights[500:].mean() > 3 * weights[:500].mean())
    True
    """
    source = RepeatedChunks(source, "source")
    target = RepeatedChunks(target, "target")
    check_same_features(source, target)
    weights, info = least_squares_ratio_of_chunks(
        source,
        target,
        alpha=alpha,
        gamma=gamma,
        regularization=regularization,
        n_centers=n_centers,
        random_state=random_state,
    )
    return (weights, info) if return_info else weights
