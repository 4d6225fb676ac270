"""Coding rates of features with and without classes."""

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sktransfer._compat import Interval, StrOptions, validate_params
from sktransfer.metrics._checks import check_features


@validate_params(
    {
        "features": ["array-like"],
        "y": ["array-like"],
        "eps": [Interval(Real, 0, None, closed="neither")],
        "class_weight": [StrOptions({"proportional", "uniform"})],
        "standardize": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def transrate(
    features: Any,
    y: Any,
    *,
    eps: Any = 1e-4,
    class_weight: str = "proportional",
    standardize: bool = False,
) -> float:
    r"""Compute how many nats of the features' code the classes explain.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Features of the source model for labeled target rows.
    y : array-like of shape (n_samples,)
        Target classes of any kind.
    eps : float > 0, default=1e-4
        Distortion of the code, in the squared unit of the features.
    class_weight : {"proportional", "uniform"}, default="proportional"
        Weight of a class: its share of the rows as in the paper, or one over the
        number of classes as in its published code.
    standardize : bool, default=False
        Divide the centered features by one number, their root mean square, so that
        the score does not depend on the unit of the features. Without it the score
        grows with their scale, and models of different scales do not compare.

    Returns
    -------
    score : float
        In nats; higher is better.

    See Also
    --------
    logme : Does not depend on the scale of the features.

    Notes
    -----
    :math:`R(Z) - \sum_c w_c R(Z_c)` for centered features :math:`Z` and the rows
    :math:`Z_c` of class :math:`c`, centered with all others, with
    :math:`R(Z) = \frac12 \log\det(I + Z^\top Z / (n \epsilon))`.

    References
    ----------
    .. [1] Huang et al., "Frustratingly easy transferability estimation", ICML (2022),
       :arxiv:`2106.09362`.

    Examples
    --------
    >>> from sktransfer.metrics import transrate
    >>> import numpy as np
    >>> features = np.repeat(np.eye(3), 2, axis=0)
    >>> round(transrate(features, ["a", "a", "b", "b", "c", "c"]), 1)
    3.7
    >>> round(transrate(features, ["a", "b", "c", "a", "b", "c"]), 1)
    0.1
    """
    features, classes, codes = check_features(features, y)
    centered = features - features.mean(axis=0)
    if standardize:
        scale = np.sqrt(np.mean(centered**2))
        centered = centered / scale if scale > 0 else centered
    if class_weight == "uniform":
        weights = np.full(len(classes), 1 / len(classes))
    else:
        weights = np.bincount(codes) / len(codes)
    within = [_coding_rate(centered[codes == c], eps) for c in range(len(classes))]
    return float(_coding_rate(centered, eps) - weights @ within)


def _coding_rate(Z: NDArray[Any], eps: float) -> float:
    gram = Z.T @ Z if Z.shape[0] >= Z.shape[1] else Z @ Z.T
    gram /= len(Z) * eps
    gram.flat[:: len(gram) + 1] += 1
    return np.log(np.diag(np.linalg.cholesky(gram))).sum()
