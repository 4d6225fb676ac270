"""Hilbert-Schmidt independence criterion."""

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array, check_consistent_length

from sktransfer._compat import Interval, StrOptions, validate_params
from sktransfer._solvers.kernels import (
    ORIGIN_FREE_KERNELS,
    common_origin,
    kernel_matrix,
    resolve_gamma,
)
from sktransfer.metrics._checks import encode_labels

_GAMMA = [StrOptions({"median", "scale"}), Interval(Real, 0, None, closed="neither")]


@validate_params(
    {
        "X": ["array-like"],
        "Y": ["array-like"],
        "kernel": [StrOptions({"rbf", "laplacian", "linear"}), callable],
        "gamma": _GAMMA,
        "normalize": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def hsic(
    X: Any,
    Y: Any,
    *,
    kernel: Any = "rbf",
    gamma: Any = "median",
    normalize: bool = False,
) -> float:
    r"""Measure the dependence between two descriptions of the same rows.

    With the domain of each row as `Y` it measures how much the features tell about
    the domain: small means that the domains are alike.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        First description of the rows.
    Y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Second description. One dimension: class labels of any kind, with kernel
        :math:`l(y, y') = 1` if :math:`y = y'`, else 0. Two dimensions: numbers, with
        the same kernel as `X`.
    kernel : {"rbf", "laplacian", "linear"} or callable, default="rbf"
        The kernel of two-dimensional input.
    gamma : float > 0, "median" or "scale", default="median"
        Width of the kernel; the rules are applied to `X` and `Y` separately.
    normalize : bool, default=False
        Divide by the geometric mean of HSIC(X, X) and HSIC(Y, Y), which gives a value
        in [0, 1] (centered kernel alignment).

    Returns
    -------
    value : float
        At least 0.

    Raises
    ------
    ValueError
        If `normalize` is set and one side is constant.

    See Also
    --------
    mmd : Discrepancy between two samples.

    Notes
    -----
    :math:`\mathrm{HSIC} = \mathrm{tr}(K H L H) / n^2` with
    :math:`H = I - 11^\top/n`, the biased estimate. For :math:`m` source and
    :math:`n - m` target rows and their domains as labels it equals
    :math:`2 (m (n - m) / n^2)^2 \, \mathrm{MMD}^2` with the biased MMD.

    References
    ----------
    .. [1] Gretton et al., "Measuring statistical dependence with Hilbert-Schmidt
       norms", ALT (2005), :doi:`10.1007/11564089_7`.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.metrics import hsic
    >>> X = np.array([[0.0], [0.1], [5.0], [5.1]])
    >>> hsic(X, ["a", "a", "b", "b"]) > hsic(X, ["a", "b", "a", "b"])
    True
    """
    K = _centered_kernel(X, "X", kernel, gamma)
    if np.ndim(Y) == 1:
        codes = encode_labels(Y, name="Y")[1]
        L = _center((codes[:, None] == codes[None, :]).astype(np.float64))
    else:
        L = _centered_kernel(Y, "Y", kernel, gamma)
    check_consistent_length(K, L)
    value = float(np.sum(K * L))
    if normalize:
        scale = float(np.linalg.norm(K) * np.linalg.norm(L))
        if scale == 0:
            raise ValueError("normalize=True is undefined: X or Y is constant.")
        return max(value, 0.0) / scale
    return max(value, 0.0) / len(K) ** 2


def _center(K: NDArray[Any]) -> NDArray[Any]:
    rows = K.mean(axis=0)
    return K - rows - rows[:, None] + rows.mean()


def _centered_kernel(X: Any, name: str, kernel: Any, gamma: Any) -> NDArray[Any]:
    X = check_array(X, dtype=np.float64, input_name=name)
    gamma = resolve_gamma(gamma, X, kernel=kernel)
    if kernel in ORIGIN_FREE_KERNELS:
        X, _ = common_origin(X)
    K = kernel_matrix(X, kernel=kernel, gamma=gamma)
    centered = _center(K)
    # what is left of a constant is rounding
    constant = np.linalg.norm(centered) <= 1e-12 * np.linalg.norm(K)
    return np.zeros_like(K) if constant else centered
