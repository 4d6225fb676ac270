"""Agreement of two classifiers on which rows they get right."""

from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils import check_consistent_length, column_or_1d

from sktransfer._compat import Interval, StrOptions, validate_params
from sktransfer._learners import check_weights


@validate_params(
    {
        "y_true": ["array-like"],
        "y_pred_1": ["array-like"],
        "y_pred_2": ["array-like"],
        "sample_weight": ["array-like", None],
        "zero_division": [StrOptions({"raise"}), Interval(Real, -1, 1, closed="both")],
    },
    prefer_skip_nested_validation=True,
)
def q_statistic(
    y_true: Any,
    y_pred_1: Any,
    y_pred_2: Any,
    *,
    sample_weight: Any = None,
    zero_division: Any = "raise",
) -> float:
    r"""Compute Yule's Q of the correctness of two classifiers.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        True classes of target rows.
    y_pred_1, y_pred_2 : array-like of shape (n_samples,)
        Predictions of the two classifiers, such as a source model and a model of the
        target.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.
    zero_division : "raise" or float in [-1, 1], default="raise"
        What to do where the statistic is 0/0, for example where one classifier is
        always right.

    Returns
    -------
    q : float
        In [-1, 1]; 0 for independent errors, 1 where the classifiers err on the same
        rows. Large means a related source model.

    Raises
    ------
    ValueError
        If the statistic is 0/0 and `zero_division` is "raise", or weights are
        negative or not finite.

    Notes
    -----
    :math:`Q = (N_{11} N_{00} - N_{01} N_{10}) / (N_{11} N_{00} + N_{01} N_{10})`, with
    :math:`N_{ab}` the number (or weight) of rows that the first classifier gets right
    (:math:`a = 1`) or wrong and the second one (:math:`b`).

    References
    ----------
    .. [1] Kuncheva and Whitaker, "Measures of diversity in classifier ensembles",
       Machine Learning 51 (2003), :doi:`10.1023/A:1022859003006`.

    Examples
    --------
    >>> from sktransfer.metrics import q_statistic
    >>> q_statistic([0, 0, 1, 1], [0, 0, 0, 1], [0, 1, 0, 1])
    1.0
    """
    truth = column_or_1d(y_true)
    first, second = column_or_1d(y_pred_1), column_or_1d(y_pred_2)
    check_consistent_length(truth, first, second)
    right_1, right_2 = first == truth, second == truth
    weight = np.ones(len(truth))
    if sample_weight is not None:
        weight = check_weights(sample_weight, len(truth))
    both = float(weight @ (right_1 & right_2)) * float(weight @ (~right_1 & ~right_2))
    one = float(weight @ (right_1 & ~right_2)) * float(weight @ (~right_1 & right_2))
    if both + one > 0:
        return (both - one) / (both + one)
    if zero_division == "raise":
        raise ValueError(
            "The Q statistic is 0/0: the classifiers are right and wrong on too few "
            "different rows. Set zero_division to the value to use."
        )
    return float(zero_division)
