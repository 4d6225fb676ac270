"""Quadratic Bregman divergence between density estimates."""

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.utils import gen_batches

from sktransfer._compat import Interval, StrOptions, validate_params
from sktransfer.metrics._checks import check_domain_pair


@validate_params(
    {
        "X_source": ["array-like"],
        "X_target": ["array-like"],
        "bandwidth": [
            StrOptions({"scott"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "normalize": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def bregman(
    X_source: Any, X_target: Any, *, bandwidth: Any = "scott", normalize: bool = True
) -> float:
    r"""Compute the quadratic Bregman divergence between two density estimates.

    Parameters
    ----------
    X_source : array-like of shape (n_source, n_features)
        Rows of the source.
    X_target : array-like of shape (n_target, n_features)
        Rows of the target.
    bandwidth : float > 0 or "scott", default="scott"
        Standard deviation :math:`h` of the isotropic Gaussian kernel of both
        estimates. "scott": root mean variance of the pooled rows times
        :math:`n^{-1/(d+4)}`, with :math:`n` the size of the smaller sample.
    normalize : bool, default=True
        Divide by the sum of the two integrated squared densities: a value in [0, 1]
        without unit. False: the divergence itself, whose size depends on the unit of
        the features to the power of their number.

    Returns
    -------
    divergence : float
        At least 0; 0 for identical samples.

    Raises
    ------
    ValueError
        If all rows are the same and `bandwidth` is "scott", or the unnormalized value
        leaves the range of floating point numbers.

    See Also
    --------
    mmd : The same up to a factor for the RBF kernel of width :math:`1/(4h^2)`.

    Notes
    -----
    :math:`\int (p_s(x) - p_t(x))^2 dx`, the Bregman divergence of the squared norm,
    with kernel density estimates :math:`p_s, p_t`. The integral is exact:
    :math:`\int p_s p_t = \frac{1}{mn} \sum_{ij} N(x_i^s; x_j^t, 2 h^2 I)`.

    References
    ----------
    .. [1] Si, Tao and Geng, "Bregman divergence-based regularization for transfer
       subspace learning", IEEE TKDE 22 (2010), :doi:`10.1109/TKDE.2009.126`.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.metrics import bregman
    >>> X = np.random.RandomState(0).normal(size=(50, 2))
    >>> [round(bregman(X, X + shift), 2) for shift in (0.0, 1.0, 10.0)]
    [0.0, 0.33, 1.0]
    """
    X_source, X_target = check_domain_pair(X_source, X_target)
    if bandwidth == "scott":
        bandwidth = _scott(X_source, X_target)
    source = _log_overlap(X_source, X_source, bandwidth)
    target = _log_overlap(X_target, X_target, bandwidth)
    across = _log_overlap(X_source, X_target, bandwidth)
    top = max(source, target)
    squares = np.exp(source - top) + np.exp(target - top)
    relative = float(squares - 2 * np.exp(across - top))
    # equal samples leave rounding
    relative = relative if relative > 1e-14 else 0.0
    if normalize:
        return relative / float(squares)
    n_features = X_source.shape[1]
    log_constant = top - n_features / 2 * np.log(4 * np.pi * bandwidth**2)
    if not -700 < log_constant < 700:
        raise ValueError(
            "The divergence leaves the range of floating point numbers for "
            f"{n_features} features; use normalize=True."
        )
    return relative * float(np.exp(log_constant))


def _scott(X_source: NDArray[Any], X_target: NDArray[Any]) -> float:
    variance = np.vstack([X_source, X_target]).var(axis=0).mean()
    if variance == 0:
        raise ValueError("All rows are the same; give bandwidth as a number.")
    n_rows = min(len(X_source), len(X_target))
    return float(np.sqrt(variance) * n_rows ** (-1 / (X_source.shape[1] + 4)))


def _log_overlap(left: NDArray[Any], right: NDArray[Any], bandwidth: float) -> float:
    """Return the log of the mean kernel value over all pairs, in row chunks."""
    size = max(1, int(4e6 / len(right)))
    parts = [
        logsumexp(-cdist(left[rows], right, "sqeuclidean") / (4 * bandwidth**2))
        for rows in gen_batches(len(left), size)
    ]
    return float(logsumexp(parts) - np.log(len(left)) - np.log(len(right)))
