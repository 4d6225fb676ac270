"""Weights of sources by divergence within the classes."""

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sktransfer._compat import Interval, validate_params
from sktransfer.metrics._checks import check_domain_pair, encode_labels
from sktransfer.metrics._gaussian import SHRINKAGE, fit_gaussian, kl_of_fits


@validate_params(
    {
        "sources": [list, tuple],
        "X_target": ["array-like"],
        "y_target": ["array-like"],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "shrinkage": SHRINKAGE,
    },
    prefer_skip_nested_validation=True,
)
def azab_weights(
    sources: Any,
    X_target: Any,
    y_target: Any,
    *,
    epsilon: Any = 1e-4,
    shrinkage: Any = "ledoit_wolf",
) -> NDArray[Any]:
    r"""Weigh sources by their divergence from the target within each class.

    Parameters
    ----------
    sources : list of (X, y) tuples
        Rows of shape (n_k, n_features) and classes of shape (n_k,) of every source.
        Every class of the target must have at least two rows in each source.
    X_target : array-like of shape (n_target, n_features)
        Labeled rows of the target, at least two in each class.
    y_target : array-like of shape (n_target,)
        Their classes.
    epsilon : float > 0, default=1e-4
        Added to each divergence before the power.
    shrinkage : "ledoit_wolf" or float in [0, 1], default="ledoit_wolf"
        Shrinkage of the covariances of the classes, as in :func:`gaussian_kl`.

    Returns
    -------
    weights : ndarray of shape (n_sources,)
        Weights in [0, 1] that sum to 1.

    Raises
    ------
    ValueError
        If a class has fewer than two rows somewhere or a covariance is singular.

    See Also
    --------
    gaussian_kl : The divergence.

    Notes
    -----
    .. math:: \alpha_s = \frac{(\overline{\mathrm{KL}}_s + \epsilon)^{-4}}
       {\sum_m (\overline{\mathrm{KL}}_m + \epsilon)^{-4}}

    with :math:`\overline{\mathrm{KL}}_s` the mean over the classes of
    :math:`\mathrm{KL}(T_c \Vert S_c)` of Gaussian fits.

    References
    ----------
    .. [1] Azab et al., "Weighted transfer learning for improving motor imagery-based
       brain-computer interface", IEEE TNSRE 27 (2019),
       :doi:`10.1109/TNSRE.2019.2923315`.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.metrics import azab_weights
    >>> X = np.random.RandomState(0).normal(size=(40, 2))
    >>> y = np.arange(40) % 2
    >>> azab_weights([(X + 1.0, y), (X + 3.0, y)], X, y).round(3)
    array([1., 0.])
    """
    if not len(sources):
        raise ValueError("sources is empty; give one (X, y) per source.")
    divergences = [
        _class_divergence(X, y, X_target, y_target, shrinkage, f"source {k}")
        for k, (X, y) in enumerate(sources)
    ]
    log_weights = -4 * np.log(np.array(divergences) + epsilon)
    weights = np.exp(log_weights - log_weights.max())
    return weights / weights.sum()


def _class_divergence(
    X_source: NDArray[Any],
    y_source: Any,
    X_target: NDArray[Any],
    y_target: NDArray[Any],
    shrinkage: Any,
    name: str,
) -> float:
    """Return the mean over the target's classes of KL(target || source)."""
    X_source, X_target = check_domain_pair(X_source, X_target)
    encode_labels(y_source, len(X_source), name=f"y of {name}")
    encode_labels(y_target, len(X_target), name="y_target")
    y_source, y_target = np.asarray(y_source).ravel(), np.asarray(y_target).ravel()
    values = []
    for label in np.unique(y_target):
        parts = [
            (X_target[y_target == label], f"class {label!s} of the target"),
            (X_source[y_source == label], f"class {label!s} of {name}"),
        ]
        for rows, where in parts:
            if len(rows) < 2:
                raise ValueError(f"{where} has {len(rows)} rows; two are needed.")
        target, source = (fit_gaussian(rows, shrinkage, w) for rows, w in parts)
        values.append(kl_of_fits(target, source))
    return float(np.mean(values))
