"""How far two rankings are apart."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.metrics import ndcg_score
from sklearn.utils import check_array, check_consistent_length

from sktransfer._compat import validate_params

__all__ = ["ranking_footrule", "ranking_ndcg"]


@validate_params(
    {"scores": ["array-like"], "truth": ["array-like"], "normalize": ["boolean"]},
    prefer_skip_nested_validation=True,
)
def ranking_footrule(scores: Any, truth: Any, *, normalize: bool = False) -> float:
    r"""Compute Spearman's footrule between the rankings of two scores.

    Parameters
    ----------
    scores, truth : array-like of shape (n_items,)
        Two scores of the same items, such as the transferability of source models and
        their accuracy; higher is better in both.
    normalize : bool, default=False
        Divide by the footrule of a ranking and its reverse, :math:`\lfloor n^2/2
        \rfloor`.

    Returns
    -------
    footrule : float
        0 for equal rankings; smaller is better.

    Raises
    ------
    ValueError
        If the scores are not finite or differ in length.

    See Also
    --------
    ranking_ndcg : Looks at the top of the ranking.

    Notes
    -----
    :math:`\sum_i |r_i - s_i|` with the ranks :math:`r, s`; equal scores share the mean
    of their ranks.

    Examples
    --------
    >>> from sktransfer.metrics import ranking_footrule
    >>> ranking_footrule([0.9, 0.5, 0.1], [70, 80, 60])
    2.0
    """
    scores, truth = _pair(scores, truth)
    footrule = float(np.sum(np.abs(rankdata(scores) - rankdata(truth))))
    if not normalize:
        return footrule
    return footrule / max(len(scores) ** 2 // 2, 1)


@validate_params(
    {"scores": ["array-like"], "truth": ["array-like"]},
    prefer_skip_nested_validation=True,
)
def ranking_ndcg(scores: Any, truth: Any) -> float:
    r"""Compute the normalized discounted cumulative gain of a ranking.

    Parameters
    ----------
    scores : array-like of shape (n_items,)
        Scores that rank the items, higher is better.
    truth : array-like of shape (n_items,)
        What the items are worth; only the order of its ranks counts, the worst being
        worth 0.

    Returns
    -------
    ndcg : float
        In [0, 1]; 1 for the order of ``truth``.

    Raises
    ------
    ValueError
        If the scores are not finite or differ in length.

    See Also
    --------
    ranking_footrule : Looks at all places alike.
    sklearn.metrics.ndcg_score : For given gains.

    Examples
    --------
    >>> from sktransfer.metrics import ranking_ndcg
    >>> ranking_ndcg([0.9, 0.5, 0.1], [80, 70, 60])
    1.0
    """
    scores, truth = _pair(scores, truth)
    gains = rankdata(truth, method="dense") - 1
    if len(scores) < 2 or not gains.any():
        return 1.0
    return float(ndcg_score(gains[None], scores[None]))


def _pair(scores: Any, truth: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    options = {"ensure_2d": False, "dtype": np.float64}
    scores = check_array(scores, input_name="scores", **options).ravel()
    truth = check_array(truth, input_name="truth", **options).ravel()
    check_consistent_length(scores, truth)
    return scores, truth
