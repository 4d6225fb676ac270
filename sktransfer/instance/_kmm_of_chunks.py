"""Kernel mean matching of samples that do not fit in memory."""

from numbers import Integral, Real

from sktransfer._chunks import RepeatedChunks, check_same_features
from sktransfer._compat import Interval, StrOptions, validate_params
from sktransfer._solvers import kmm as _kmm
from sktransfer._solvers.kernels import median_gamma_of_chunks
from sktransfer.instance._kmm import warn_unless_converged

__all__ = ["kmm_weights_of_chunks"]


@validate_params(
    {
        "source": "no_validation",
        "target": "no_validation",
        "kernel": [StrOptions({"rbf", "laplacian"})],
        "gamma": [
            StrOptions({"median"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "B": [Interval(Real, 0, None, closed="neither")],
        "eps": [Interval(Real, 0, None, closed="left"), None],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "memory_budget": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
        "return_info": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def kmm_weights_of_chunks(
    source,
    target,
    *,
    kernel="rbf",
    gamma="median",
    B=1000.0,
    eps=None,
    n_components=100,
    tol=1e-6,
    max_iter=100,
    memory_budget=256.0,
    random_state=0,
    return_info=False,
):
    r"""Weigh source samples by kernel mean matching without holding them in memory.

    The samples are read in parts, several times. Memory holds a part and its features,
    and some fifteen numbers for each source sample, whatever the number of features.
    The samples have no weights of their own: give one that counts twice twice.

    Parameters
    ----------
    source : array-like of shape (n_source, n_features), iterable or callable
        Source samples: an array, which may be a memory map; an iterable of chunks, each
        a two-dimensional array or frame, that starts anew in every loop, such as a
        list; or a function without arguments that returns one of these, such as a
        generator function. Every pass must give the same samples in the same order.
    target : array-like of shape (n_target, n_features), iterable or callable
        Target samples, labeled or not, in one of these forms.
    kernel : {"rbf", "laplacian"}, default="rbf"
        The kernel.
    gamma : "median" or float in (0, inf), default="median"
        Width of the kernel. "median": one over the median squared distance of 2000 of
        all samples, as in :func:`kmm_weights`.
    B : float in (0, inf), default=1000.0
        Largest weight.
    eps : float in [0, inf), default=None
        Slack of the sum; None is :math:`(\sqrt{n_s} - 1) / \sqrt{n_s}`.
    n_components : int in [1, inf), default=100
        Largest number of landmarks, that is the rank of the kernel.
    tol : float in (0, inf), default=1e-6
        Relative duality gap to reach.
    max_iter : int in [1, inf), default=100
        Largest number of iterations.
    memory_budget : float in [0, inf), default=256.0
        MiB that the features of the source may take. Where they take more, they are
        computed anew from the samples in each of some dozens of passes.
    random_state : int, RandomState instance or None, default=0
        Seed of the landmarks.
    return_info : bool, default=False
        Also return the certificate.

    Returns
    -------
    weights : ndarray of shape (n_source,)
        Weights in [0, B], in the order of the samples, with a mean within `eps` of 1.
    info : KMMInfo
        Relative duality gap, rank, and an estimated bound of the error with the exact
        kernel (``approximation_error``) with its standard error; only if `return_info`
        is True.

    Raises
    ------
    TypeError
        If a domain is not of these forms.
    ValueError
        If a domain is an iterator, which can be read once; is empty; gives other
        numbers of samples in another pass; or has other numbers of features than the
        first chunk. If `B` and `eps` contradict each other.

    Warns
    -----
    ConvergenceWarning
        If the duality gap is above `tol` after `max_iter` iterations.

    See Also
    --------
    kmm_weights : The same of samples in memory.
    density_ratio_of_chunks : Weights by a density ratio.
    sktransfer.metrics.mmd_of_chunks : Discrepancy of such samples.

    Notes
    -----
    The problem is that of :func:`kmm_weights` with ``solver="low_rank"``, where
    landmarks Z chosen among 4000 source samples by pivoted Cholesky steps [1]_ give the
    features :math:`\phi(x) = L^{-1} k(Z, x)`, :math:`LL' = k(Z, Z)`, and the mean that
    they leave out of k(x, x) comes back as a diagonal :math:`\delta`:

    .. math:: \min_b \tfrac12 \Bigl\lVert \sum_i b_i \phi(x^s_i) -
        \tfrac{n_s}{n_t} \sum_j \phi(x^t_j) \Bigr\rVert^2
        + \tfrac{\delta}{2} \sum_i b_i^2

    with the constraints of :func:`kmm_weights`. Newton's method runs in the dual, which
    has a variable for each landmark; a step takes three passes over the source. The
    kernel mean matching itself is of [2]_.

    References
    ----------
    .. [1] S. Fine, K. Scheinberg. Efficient SVM training using low-rank kernel
       representations. Journal of Machine Learning Research 2, 2001.
    .. [2] J. Huang, A. Gretton, K. Borgwardt, B. Schoelkopf, A. Smola. Correcting
       sample selection bias by unlabeled data. Advances in Neural Information
       Processing Systems 19, 2006.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.instance import kmm_weights_of_chunks
    >>> def chunks():
    ...     for start in np.linspace(-1, 1, 10, endpoint=False):
    ...         yield np.linspace(start, start + 0.2, 100)[:, None]
    >>> weights = kmm_weights_of_chunks(chunks, np.linspace(0, 1, 50)[:, None])
    >>> weights.shape
    (1000,)
    >>> bool(weights[500:].mean() > 3 * weights[:500].mean())
    True
    """
    source = RepeatedChunks(source, "source")
    target = RepeatedChunks(target, "target")
    check_same_features(source, target)
    if gamma == "median":
        gamma = median_gamma_of_chunks(source, target, kernel=kernel)
    weights, info = _kmm.kmm_weights_of_chunks(
        source,
        target,
        kernel=kernel,
        gamma=gamma,
        upper=B,
        eps=eps,
        tol=tol,
        max_iter=max_iter,
        rank=n_components,
        memory_budget=memory_budget,
        random_state=random_state,
    )
    warn_unless_converged(info, tol)
    return (weights, info) if return_info else weights
