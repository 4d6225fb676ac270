"""Mean silhouette of features under the target classes."""

from numbers import Integral
from typing import Any

from sklearn.metrics import silhouette_score
from sklearn.utils import check_random_state

from sktransfer._compat import Interval, validate_params
from sktransfer.metrics._checks import check_features


@validate_params(
    {
        "features": ["array-like"],
        "y": ["array-like"],
        "metric": [str, callable],
        "max_samples": [Interval(Integral, 2, None, closed="left"), None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def silhouette(
    features: Any,
    y: Any,
    *,
    metric: Any = "euclidean",
    max_samples: int | None = 4000,
    random_state: Any = 0,
) -> float:
    r"""Compute the mean silhouette of features under the target classes.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Features of the source model for labeled target rows.
    y : array-like of shape (n_samples,)
        Target classes of any kind, at least two, fewer than rows.
    metric : str or callable, default="euclidean"
        Distance of features.
    max_samples : int or None, default=4000
        More rows than this are replaced by a random sample, as the cost grows with
        their square. None: all rows.
    random_state : int, RandomState instance or None, default=0
        Seed of the sample.

    Returns
    -------
    score : float
        In [-1, 1]; higher is better. A class of one row counts 0.

    Raises
    ------
    ValueError
        If there is one class or every row is its own class.

    Notes
    -----
    Mean of :math:`(b_i - a_i) / \max(a_i, b_i)` with :math:`a_i` the mean distance of
    a row to the others of its class and :math:`b_i` to those of the nearest other
    class; scikit-learn's :func:`sklearn.metrics.silhouette_score`.

    References
    ----------
    .. [1] Meiseles and Rokach, "Source model selection for deep learning in the time
       series domain", IEEE Access 8 (2020), :doi:`10.1109/ACCESS.2019.2963742`.

    Examples
    --------
    >>> from sktransfer.metrics import silhouette
    >>> round(silhouette([[0.0], [0.1], [5.0], [5.1]], ["a", "a", "b", "b"]), 2)
    0.98
    """
    features, classes, codes = check_features(features, y, min_classes=2)
    if len(classes) == len(codes):
        raise ValueError("Every row is its own class; the silhouette needs two alike.")
    if max_samples is not None and len(features) > max_samples:
        rng = check_random_state(random_state)
        rows = rng.choice(len(features), max_samples, replace=False)
        features, codes = features[rows], codes[rows]
    if metric != "cosine":  # a distance, which the origin does not change
        features = features - features.mean(axis=0)
    return float(silhouette_score(features, codes, metric=metric))
