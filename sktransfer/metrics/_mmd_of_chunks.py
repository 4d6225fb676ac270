"""Maximum mean discrepancy of samples that do not fit in memory."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import Bunch, check_random_state

from sktransfer._chunks import SameColumns, read_chunks
from sktransfer._compat import Interval, StrOptions, validate_params
from sktransfer.metrics._mmd import feature_sums, random_frequencies


@validate_params(
    {
        "source": "no_validation",
        "target": "no_validation",
        "kernel": [StrOptions({"rbf", "laplacian"})],
        "gamma": [Interval(Real, 0, None, closed="neither")],
        "n_components": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def mmd_of_chunks(
    source: Any,
    target: Any,
    *,
    gamma: Any,
    kernel: Any = "rbf",
    n_components: Any = 500,
    random_state: Any = 0,
) -> Any:
    r"""Estimate the squared maximum mean discrepancy in one pass over each sample.

    Memory is bounded by a chunk and its random features, whatever the number of
    samples. The samples have no weights: give one that counts twice twice.

    Parameters
    ----------
    source : array-like of shape (n_source, n_features), or iterable of such arrays
        The source: an array, which may be a memory map and is read in parts, or an
        iterable of chunks, each a two-dimensional array or frame.
    target : array-like of shape (n_target, n_features), or iterable of such arrays
        The target, in the same form or the other one.
    gamma : float > 0
        Width of the kernel. It has no default, which would need all samples: take
        1 / (n_features * variance) of some of them.
    kernel : {"rbf", "laplacian"}, default="rbf"
        The kernel.
    n_components : int >= 2, default=500
        Number D of random Fourier features.
    random_state : int, RandomState instance or None, default=0
        Seed of the features.

    Returns
    -------
    result : Bunch
        ``mmd2``, the biased estimate; ``stderr``, its standard error by the draw of
        the features; ``source_size`` and ``target_size``, the numbers of samples.

    Raises
    ------
    ValueError
        If a sample is empty, or chunks differ in their numbers of features or in the
        names or the order of their columns.
    TypeError
        If a sample is sparse or no iterable.

    See Also
    --------
    mmd : The same of samples in memory, with other estimates.

    Notes
    -----
    With frequencies :math:`\omega_j` drawn from the spectrum of the kernel [1]_ and
    :math:`\hat\varphi` the mean of :math:`e^{i \omega_j^\top x}` over a sample,

    .. math:: \widehat{\mathrm{MMD}}^2 = \frac1D \sum_{j=1}^D
        |\hat\varphi_s(\omega_j) - \hat\varphi_t(\omega_j)|^2 .

    The terms are independent given the samples, so their spread gives the error.

    References
    ----------
    .. [1] A. Rahimi, B. Recht. "Random features for large-scale kernel machines".
       Advances in Neural Information Processing Systems 20, 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.metrics import mmd_of_chunks
    >>> rng = np.random.default_rng(0)
    >>> chunks = (rng.normal(size=(1000, 2)) for _ in range(20))
    >>> result = mmd_of_chunks(chunks, rng.normal(1.0, size=(500, 2)), gamma=0.5)
    >>> result.source_size, round(result.mmd2, 1)
    (20000, 0.2)
    """
    rng = check_random_state(random_state)
    state: dict[str, Any] = {}
    columns = SameColumns()
    means, sizes = [], []
    for name, sample in (("source", source), ("target", target)):
        total, size = 0.0, 0
        for X in read_chunks(sample, name, columns):
            if not state:
                # phases relative to the first samples keep their digits
                state["origin"] = X.mean(axis=0)
                state["frequencies"] = random_frequencies(
                    X.shape[1], kernel, gamma, n_components, rng
                )
            if X.shape[1] != len(state["origin"]):
                raise ValueError(
                    f"A chunk of {name} has {X.shape[1]} features, the first chunk of "
                    f"source {len(state['origin'])}."
                )
            ones = np.ones((len(X), 1))
            total = total + feature_sums(
                X - state["origin"], state["frequencies"], ones
            )
            size += len(X)
        if not size:
            raise ValueError(f"{name} holds no sample.")
        means.append(np.asarray(total)[:, 0] / size)
        sizes.append(size)
    terms = np.sum(((means[0] - means[1]) ** 2).reshape(2, -1), axis=0)
    return Bunch(
        mmd2=float(terms.sum()),
        stderr=float(np.std(terms, ddof=1) * np.sqrt(n_components)),
        source_size=sizes[0],
        target_size=sizes[1],
    )
