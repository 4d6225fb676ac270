"""H-score of features."""

import numpy as np

from sktransfer._compat import validate_params
from sktransfer.metrics._checks import check_features, class_means, to_unit_range
from sktransfer.metrics._gaussian import SHRINKAGE, ledoit_wolf


@validate_params(
    {
        "features": ["array-like"],
        "y": ["array-like"],
        "shrinkage": [*SHRINKAGE, None],
    },
    prefer_skip_nested_validation=True,
)
def h_score(features, y, *, shrinkage=None):
    r"""Score how well features separate classes relative to their redundancy.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Features of the source model for labeled target rows.
    y : array-like of shape (n_samples,)
        Target classes of any kind.
    shrinkage : "ledoit_wolf", float in [0, 1] or None, default=None
        How far the covariance of the features is moved to a multiple of the identity
        of the same trace. None: no shrinkage, a pseudo-inverse where the covariance
        has no full rank.

    Returns
    -------
    score : float
        In [0, n_classes - 1]; higher is better.

    See Also
    --------
    logme : Evidence of a linear model, which does not saturate for many features.

    Notes
    -----
    :math:`\mathrm{tr}(C^{+} B)` with the covariance :math:`C` of the features and
    :math:`B` of the class means :math:`E[f|y]` over the rows; with shrinkage
    :math:`a`, :math:`\mathrm{tr}(C_a^{-1} (1-a) B)` with :math:`C_a = (1-a) C + a
    \frac{\mathrm{tr} C}{d} I`.

    Without shrinkage the score does not change under invertible affine maps of the
    features, and it reaches its largest value, which carries no information, once the
    centered features have rank :math:`n - 1`: shrink in that case. Directions whose
    variance is below :math:`n d` roundings of the largest, after scaling every feature
    to unit variance, count as absent.

    References
    ----------
    .. [1] Bao et al., "An information-theoretic approach to transferability in task
       transfer learning", ICIP (2019), :doi:`10.1109/ICIP.2019.8803726`.
    .. [2] Ibrahim, Ponomareva and Mazumder, "Newer is not always better" (2021),
       :arxiv:`2110.06893`.

    Examples
    --------
    >>> from sktransfer.metrics import h_score
    >>> y = ["cat", "cat", "dog", "dog"]
    >>> round(h_score([[0], [0], [1], [1]], y), 6), h_score([[0], [1], [0], [1]], y)
    (1.0, 0.0)
    """
    features, classes, codes = check_features(features, y)
    features = to_unit_range(features)
    centered = features - features.mean(axis=0)
    spread = np.linalg.norm(centered, axis=0)
    # what is left of a constant column is rounding of its mean
    kept = spread > 1e-13 * np.linalg.norm(features, axis=0)
    centered = centered[:, kept]
    if not kept.any():
        return 0.0
    if shrinkage is None:
        centered = centered / (spread[kept] / np.sqrt(len(centered)))
        amount = 0.0
    else:
        amount = _amount(centered, shrinkage, len(kept))
    means, counts = class_means(centered, codes, len(classes))
    means = means * np.sqrt(counts / len(centered))[:, None]
    ridge = amount * np.sum(centered**2) / len(centered) / len(kept)
    return (1 - amount) * _trace_ratio(centered, means, amount, ridge)


def _amount(centered, shrinkage, n_features):
    if shrinkage != "ledoit_wolf":
        return float(shrinkage)
    # the dropped constant columns count as features of the full covariance
    padded = np.zeros((len(centered), n_features))
    padded[:, : centered.shape[1]] = centered
    return ledoit_wolf(padded, padded.T @ padded / len(padded))


def _trace_ratio(centered, means, amount, ridge):
    """Return tr(C_a^-1 means' means), in the smaller of rows and features."""
    n_samples, n_features = centered.shape
    wide = n_samples < n_features
    gram = centered @ centered.T if wide else centered.T @ centered
    values, vectors = np.linalg.eigh(gram / n_samples)
    tolerance = values[-1] * max(n_samples, n_features) * np.finfo(float).eps
    kept = values > tolerance
    values, vectors = values[kept], vectors[:, kept]
    if wide:
        vectors = centered.T @ vectors / np.sqrt(values * n_samples)
    weights = (1 - amount) * values + ridge
    return float(np.sum((means @ vectors) ** 2 / weights))
