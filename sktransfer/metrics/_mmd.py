"""Maximum mean discrepancy and its permutation test."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch, check_random_state, gen_batches

from sktransfer._compat import Interval, StrOptions, validate_params
from sktransfer._solvers.array_api import array_like, namespace_of
from sktransfer._solvers.kernels import (
    ORIGIN_FREE_KERNELS,
    kernel_diagonal,
    kernel_matrix,
    kernel_product,
    resolve_gamma,
)
from sktransfer.metrics._checks import check_domain_pair

_KERNEL_CONSTRAINTS = {
    "kernel": [StrOptions({"rbf", "laplacian", "linear", "poly", "cosine"}), callable],
    "gamma": [
        StrOptions({"median", "scale"}),
        Interval(Real, 0, None, closed="neither"),
    ],
}


@validate_params(
    {
        "X_source": ["array-like"],
        "X_target": ["array-like"],
        "estimator": [StrOptions({"biased", "unbiased", "block", "random_features"})],
        **_KERNEL_CONSTRAINTS,
        "block_size": [Interval(Integral, 2, None, closed="left")],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def mmd(
    X_source: Any,
    X_target: Any,
    *,
    estimator: Any = "biased",
    kernel: Any = "rbf",
    gamma: Any = "median",
    block_size: Any = 2,
    n_components: int = 500,
    random_state: Any = None,
) -> float:
    r"""Estimate the squared maximum mean discrepancy between two samples.

    Parameters
    ----------
    X_source : array-like of shape (n_source, n_features)
        Rows of the source.
    X_target : array-like of shape (n_target, n_features)
        Rows of the target.
    estimator : {"biased", "unbiased", "block", "random_features"}, default="biased"
        "biased" is never negative and 0 for identical samples; "unbiased" has mean 0
        when both samples come from one distribution and may be negative. Both cost
        n_source * n_target kernel values in row chunks. "block" averages the unbiased
        estimate over disjoint blocks and "random_features" is the biased estimate
        with random Fourier features; both take time linear in the number of rows.
    kernel : {"rbf", "laplacian", "linear", "poly", "cosine"} or callable, default="rbf"
        The kernel :math:`k`. "random_features" takes "rbf" and "laplacian" only.
    gamma : float > 0, "median" or "scale", default="median"
        Width of the kernel: "median" is one over the median squared distance of the
        pooled rows, "scale" is 1 / (n_features * variance).
    block_size : int >= 2, default=2
        Rows of each domain in one block; with 2 it is the linear-time estimate of
        Gretton et al. Rows of the larger sample that fill no block are left out.
    n_components : int, default=500
        Number of random Fourier features; the error falls with its square root.
    random_state : int, RandomState instance or None, default=None
        Seed of the blocks and of the random features.

    Returns
    -------
    mmd2 : float
        The squared discrepancy. Small means similar.

    Raises
    ------
    ValueError
        If a sample is too small for the estimator or the kernel is not supported.

    See Also
    --------
    mmd_test : Permutation test of no shift.

    Notes
    -----
    With :math:`m` source rows and :math:`n` target rows the biased estimate is

    .. math:: \widehat{\mathrm{MMD}}^2 = \frac{1}{m^2}\sum_{i,j} k(x_i^s, x_j^s)
       + \frac{1}{n^2}\sum_{i,j} k(x_i^t, x_j^t)
       - \frac{2}{mn}\sum_{i,j} k(x_i^s, x_j^t),

    and the unbiased one leaves out :math:`i = j` in the first two sums and divides
    them by :math:`m(m-1)` and :math:`n(n-1)`.

    Under ``sklearn.config_context(array_api_dispatch=True)`` arrays of another library,
    such as torch, stay in it and on their device, in float32 if they come so; the
    kernel is then one of the names.

    References
    ----------
    .. [1] Gretton et al., "A kernel two-sample test", JMLR 13 (2012) 723-773.
    .. [2] Zaremba, Gretton and Blaschko, "B-tests", NeurIPS (2013),
       :arxiv:`1307.1954`.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.metrics import mmd
    >>> X = np.random.RandomState(0).normal(size=(100, 2))
    >>> shifts = [0.0, 0.5, 2.0]
    >>> [round(mmd(X, X + shift), 2) for shift in shifts]
    [0.0, 0.06, 0.64]
    """
    smallest = {"unbiased": 2, "block": block_size}.get(estimator, 1)
    X_source, X_target = check_domain_pair(
        X_source,
        X_target,
        min_rows=smallest,
        center=kernel in ORIGIN_FREE_KERNELS,
        array_api=True,
    )
    xp = namespace_of(X_source, X_target)
    both = (np.vstack if xp is np else xp.concat)([X_source, X_target])
    gamma = resolve_gamma(gamma, both, kernel=kernel)
    options = {"kernel": kernel, "gamma": gamma}
    if estimator == "block":
        rng = check_random_state(random_state)
        return _block_mmd(X_source, X_target, block_size, rng, options)
    if estimator == "random_features":
        rng = check_random_state(random_state)
        frequencies = random_frequencies(
            X_source.shape[1], kernel, gamma, n_components, rng
        )
        frequencies = array_like(frequencies, X_source)
        means = [
            feature_sums(X, frequencies, xp.ones_like(X[:, :1]) / X.shape[0])
            for X in (X_source, X_target)
        ]
        return float(xp.sum((means[0] - means[1]) ** 2))
    if kernel == "linear" and estimator == "biased":
        means = [xp.mean(X, axis=0) for X in (X_source, X_target)]
        return float(xp.sum((means[0] - means[1]) ** 2))
    return _quadratic_mmd(X_source, X_target, estimator == "unbiased", options)


def _quadratic_mmd(
    X_source: NDArray[Any],
    X_target: NDArray[Any],
    unbiased: bool,
    options: dict[str, Any],
) -> float:
    m, n = len(X_source), len(X_target)
    xp = namespace_of(X_source, X_target)
    ones = [xp.ones_like(X[:, 0]) for X in (X_source, X_target)]
    within_source = kernel_product(X_source, X_source, ones[0], **options).sum()
    within_target = kernel_product(X_target, X_target, ones[1], **options).sum()
    across = kernel_product(X_source, X_target, ones[1], **options).sum()
    if not unbiased:
        value = within_source / m**2 + within_target / n**2 - 2 * across / (m * n)
        return max(float(value), 0.0)
    within_source -= kernel_diagonal(X_source, **options).sum()
    within_target -= kernel_diagonal(X_target, **options).sum()
    return float(
        within_source / (m * (m - 1))
        + within_target / (n * (n - 1))
        - 2 * across / (m * n)
    )


def _block_mmd(
    X_source: NDArray[Any],
    X_target: NDArray[Any],
    block_size: int,
    rng: np.random.RandomState,
    options: dict[str, Any],
) -> float:
    """Average the unbiased estimate over disjoint random blocks of equal size."""
    n_blocks = min(len(X_source), len(X_target)) // block_size
    rows = n_blocks * block_size
    xp = namespace_of(X_source, X_target)
    source, target = (
        X[array_like(rng.permutation(len(X))[:rows], X, xp.int64)]
        for X in (X_source, X_target)
    )
    blocks = [slice(i, i + block_size) for i in range(0, rows, block_size)]
    if options["kernel"] == "rbf":
        return _block_mmd_rbf(source, target, n_blocks, block_size, options["gamma"])
    return float(
        np.mean([_quadratic_mmd(source[b], target[b], True, options) for b in blocks])
    )


def _block_mmd_rbf(
    source: NDArray[Any], target: NDArray[Any], n_blocks: int, size: int, gamma: Any
) -> float:
    """Compute all blocks at once, in chunks of blocks that fit into memory."""
    source = source.reshape((n_blocks, size, -1))
    target = target.reshape((n_blocks, size, -1))
    chunk = max(1, int(4e6 / (size * max(size, source.shape[2]))))
    total = 0.0
    for start in range(0, n_blocks, chunk):
        A, B = source[start : start + chunk], target[start : start + chunk]
        same = _batch_rbf(A, A, gamma).sum() + _batch_rbf(B, B, gamma).sum()
        same -= 2 * size * len(A)
        total += same / (size * (size - 1))
        total -= 2 * _batch_rbf(A, B, gamma).sum() / size**2
    return float(total / n_blocks)


def _batch_rbf(A: NDArray[Any], B: NDArray[Any], gamma: Any) -> NDArray[Any]:
    squares = (A**2).sum(-1)[:, :, None] + (B**2).sum(-1)[:, None, :]
    xp = namespace_of(A, B)
    swap = np.transpose if xp is np else xp.permute_dims
    distances = squares - 2 * A @ swap(B, (0, 2, 1))
    return xp.exp(-gamma * xp.clip(distances, 0, None))


def random_frequencies(
    n_features: int,
    kernel: Any,
    gamma: Any,
    n_components: int,
    rng: np.random.RandomState,
) -> NDArray[Any]:
    """Draw the frequencies of random Fourier features."""
    shape = (n_features, n_components)
    if kernel == "rbf":
        return rng.standard_normal(shape) * np.sqrt(2 * gamma)
    if kernel == "laplacian":
        return rng.standard_cauchy(shape) * gamma
    raise ValueError(
        "estimator='random_features' needs kernel='rbf' or 'laplacian', got "
        f"{kernel!r}; use estimator='block' for other kernels."
    )


def feature_sums(
    X: Any, frequencies: NDArray[Any], weights: NDArray[Any]
) -> NDArray[Any]:
    """Return weighted sums of the features over the rows, in row chunks."""
    n_components = frequencies.shape[1]
    xp = namespace_of(X, frequencies, weights)
    cosines, sines = 0.0, 0.0
    for rows in gen_batches(len(X), max(1, int(4e6 / n_components))):
        angles = X[rows] @ frequencies
        cosines = cosines + xp.cos(angles).T @ weights[rows]
        sines = sines + xp.sin(angles).T @ weights[rows]
    join = np.concatenate if xp is np else xp.concat
    return join([cosines, sines]) / float(np.sqrt(n_components))


@validate_params(
    {
        "X_source": ["array-like"],
        "X_target": ["array-like"],
        "n_permutations": [Interval(Integral, 1, None, closed="left")],
        "estimator": [StrOptions({"biased", "unbiased", "random_features"})],
        **_KERNEL_CONSTRAINTS,
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def mmd_test(
    X_source: Any,
    X_target: Any,
    *,
    n_permutations: int = 200,
    estimator: Any = "unbiased",
    kernel: Any = "rbf",
    gamma: Any = "median",
    n_components: int = 500,
    random_state: Any = None,
) -> Any:
    r"""Test by permutation whether two samples come from one distribution.

    Parameters
    ----------
    X_source : array-like of shape (n_source, n_features)
        Rows of the source.
    X_target : array-like of shape (n_target, n_features)
        Rows of the target.
    n_permutations : int, default=200
        Number of random reassignments of the rows to the two domains.
    estimator : {"unbiased", "biased", "random_features"}, default="unbiased"
        As in :func:`mmd`. "random_features" needs no kernel matrix and takes time
        linear in the number of rows; the others hold the pooled kernel matrix.
    kernel : {"rbf", "laplacian", "linear", "poly", "cosine"} or callable, default="rbf"
        The kernel.
    gamma : float > 0, "median" or "scale", default="median"
        Width of the kernel, set once from the pooled rows.
    n_components : int, default=500
        Number of random Fourier features.
    random_state : int, RandomState instance or None, default=None
        Seed of the permutations.

    Returns
    -------
    result : Bunch
        ``statistic``, the estimate of :func:`mmd`; ``p_value``; and
        ``null_statistics`` of shape (n_permutations,).

    See Also
    --------
    mmd : The estimate alone.

    Notes
    -----
    With statistics :math:`T_1, \dots, T_B` under permutation and :math:`T_0` as
    observed, :math:`p = (1 + \#\{b : T_b \ge T_0\}) / (1 + B)`. Under no shift
    :math:`P(p \le a) \le a` holds exactly for every sample size, also for the median
    bandwidth, which does not depend on which row belongs to which domain.

    Arrays of another library are treated as by :func:`mmd`; ``null_statistics`` is then
    one of theirs.

    References
    ----------
    .. [1] Gretton et al., "A kernel two-sample test", JMLR 13 (2012) 723-773.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.metrics import mmd_test
    >>> rng = np.random.RandomState(0)
    >>> X_source, X_target = rng.normal(size=(40, 2)), rng.normal(1, size=(40, 2))
    >>> mmd_test(X_source, X_target, random_state=0).p_value < 0.01
    True
    """
    smallest = 2 if estimator == "unbiased" else 1
    X_source, X_target = check_domain_pair(
        X_source,
        X_target,
        min_rows=smallest,
        center=kernel in ORIGIN_FREE_KERNELS,
        array_api=True,
    )
    xp = namespace_of(X_source, X_target)
    X = (np.vstack if xp is np else xp.concat)([X_source, X_target])
    gamma = resolve_gamma(gamma, X, kernel=kernel)
    rng = check_random_state(random_state)
    m, n = len(X_source), len(X_target)
    member = np.zeros((m + n, n_permutations + 1))
    member[:m, 0] = 1
    for b in range(1, n_permutations + 1):
        member[rng.permutation(m + n)[:m], b] = 1
    member = array_like(member, X)
    if estimator == "random_features":
        frequencies = random_frequencies(X.shape[1], kernel, gamma, n_components, rng)
        frequencies = array_like(frequencies, X)
        contrast = member / m - (1 - member) / n
        values = xp.sum(feature_sums(X, frequencies, contrast) ** 2, axis=0)
    else:
        K = kernel_matrix(X, kernel=kernel, gamma=gamma)
        values = _permuted_statistics(K, member, estimator == "unbiased")
    # rounding must not make a tie count as smaller
    digits = 1e-12 if X.dtype == xp.float64 else 1e-6
    reached = values[1:] >= values[0] - digits * xp.max(xp.abs(values))
    p_value = (1 + int(reached.sum())) / (1 + n_permutations)
    return Bunch(
        statistic=float(values[0]), p_value=float(p_value), null_statistics=values[1:]
    )


def _permuted_statistics(
    K: NDArray[Any], member: NDArray[Any], unbiased: bool
) -> NDArray[Any]:
    """Evaluate the estimate for every column of 0/1 memberships in the source."""
    xp = namespace_of(K, member)
    if unbiased:
        K = K * array_like(1.0 - np.eye(K.shape[0]), K)
    m = member[:, 0].sum()
    n = len(member) - m
    K_member = K @ member
    source = xp.sum(member * K_member, axis=0)
    rows = xp.sum(K_member, axis=0)
    across = rows - source
    target = K.sum() - 2 * rows + source
    if unbiased:
        return source / (m * (m - 1)) + target / (n * (n - 1)) - 2 * across / (m * n)
    biased = source / m**2 + target / n**2 - 2 * across / (m * n)
    return xp.clip(biased, 0, None)
