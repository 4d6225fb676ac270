"""Correlation of the mean features of two domains."""

from typing import Any

import numpy as np

from sktransfer._compat import validate_params
from sktransfer.metrics._checks import check_domain_pair


@validate_params(
    {"X_source": ["array-like"], "X_target": ["array-like"]},
    prefer_skip_nested_validation=True,
)
def feature_correlation(X_source: Any, X_target: Any) -> float:
    r"""Compute the correlation over features between the means of two samples.

    Parameters
    ----------
    X_source : array-like of shape (n_source, n_features)
        Rows of the source, at least two features.
    X_target : array-like of shape (n_target, n_features)
        Rows of the target.

    Returns
    -------
    correlation : float
        In [-1, 1]; large means similar. It depends on the units of the features: use
        features of one unit, and not standardized ones, whose means are all 0.

    Raises
    ------
    ValueError
        If the mean vector of a domain is constant over the features.

    Notes
    -----
    Pearson's correlation of the :math:`d` pairs :math:`(\bar x^s_j, \bar x^t_j)`.

    References
    ----------
    .. [1] Lin and Jung, "Improving EEG-based emotion classification using conditional
       transfer learning", Frontiers in Human Neuroscience 11 (2017),
       :doi:`10.3389/fnhum.2017.00334`.

    Examples
    --------
    >>> from sktransfer.metrics import feature_correlation
    >>> round(feature_correlation([[0.0, 1.0, 2.0]], [[5.0, 6.0, 7.0]]), 6)
    1.0
    """
    X_source, X_target = check_domain_pair(X_source, X_target)
    centered = []
    for name, X in (("X_source", X_source), ("X_target", X_target)):
        mean = X.mean(axis=0)
        deviation = mean - mean.mean()
        if np.linalg.norm(deviation) <= 1e-12 * np.linalg.norm(mean):
            raise ValueError(
                f"The mean of {name} is the same for every feature, so that the "
                "correlation over features is undefined."
            )
        centered.append(deviation / np.linalg.norm(deviation))
    return float(np.clip(centered[0] @ centered[1], -1, 1))
