"""Domain transferability estimation by scatter matrices."""

from typing import Any

import numpy as np

from sktransfer._compat import validate_params
from sktransfer.metrics._checks import check_domain_pair, class_means, encode_labels


@validate_params(
    {
        "X_source": ["array-like"],
        "y_source": ["array-like"],
        "X_target": ["array-like"],
    },
    prefer_skip_nested_validation=True,
)
def domain_transferability_estimation(
    X_source: Any, y_source: Any, X_target: Any
) -> float:
    r"""Compare how far apart the source classes and the two domains are (DTE).

    Parameters
    ----------
    X_source : array-like of shape (n_source, n_features)
        Rows of the source.
    y_source : array-like of shape (n_source,)
        Their classes, at least two.
    X_target : array-like of shape (n_target, n_features)
        Rows of the target; no labels are needed.

    Returns
    -------
    dte : float
        At least 0; large means that the source is discriminative and close. Infinite
        where the means of both domains are the same.

    Raises
    ------
    ValueError
        If there is one class, or classes and domains all have the same mean.

    Notes
    -----
    :math:`\lVert S_b^{S} \rVert_1 / \lVert S_b^{S,T} \rVert_1` with the largest
    absolute column sum as norm, the between-class scatter :math:`S_b^S = \sum_c p_c
    (m_c - m)(m_c - m)^\top` for shares :math:`p_c` of the source rows, and the
    between-domain scatter :math:`S_b^{S,T} = \frac12 \sum_{d \in \{S,T\}} (m_d - \bar
    m)(m_d - \bar m)^\top` around the midpoint :math:`\bar m`. Domains weigh one half
    each, so that the value does not depend on the numbers of rows.

    References
    ----------
    .. [1] Zhang and Wu, "Manifold embedded knowledge transfer for brain-computer
       interfaces", IEEE TNSRE 28 (2020), :doi:`10.1109/TNSRE.2020.2985996`.

    Examples
    --------
    >>> from sktransfer.metrics import domain_transferability_estimation
    >>> X, y = [[0.0], [2.0]], ["a", "b"]
    >>> round(domain_transferability_estimation(X, y, [[2.0], [4.0]]), 6)
    1.0
    """
    X_source, X_target = check_domain_pair(X_source, X_target)
    classes, codes = encode_labels(
        y_source, len(X_source), name="y_source", min_classes=2
    )
    means, counts = class_means(X_source, codes, len(classes))
    center = X_source.mean(axis=0)
    deviations = (means - center) * np.sqrt(counts / len(X_source))[:, None]
    between_classes = np.linalg.norm(deviations.T @ deviations, ord=1)
    half_gap = (center - X_target.mean(axis=0)) / 2
    between_domains = np.abs(half_gap).sum() * np.abs(half_gap).max()
    if between_domains > 0:
        return float(between_classes / between_domains)
    if between_classes == 0:
        raise ValueError("All classes and both domains have the same mean.")
    return float(np.inf)
