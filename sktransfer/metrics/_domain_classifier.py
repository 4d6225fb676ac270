"""Distance of domains by a classifier that separates them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer._compat import HasMethods, validate_params
from sktransfer._domains import canonical_order
from sktransfer.metrics._checks import check_domain_pair


@validate_params(
    {
        "X_source": ["array-like"],
        "X_target": ["array-like"],
        "estimator": [HasMethods(["fit", "predict"]), None],
        "cv": ["cv_object"],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def proxy_a_distance(
    X_source: Any,
    X_target: Any,
    *,
    estimator: Any = None,
    cv: Any = 5,
    random_state: Any = None,
) -> float:
    r"""Measure how well a cross-validated classifier separates two domains.

    Parameters
    ----------
    X_source : array-like of shape (n_source, n_features)
        Rows of the source.
    X_target : array-like of shape (n_target, n_features)
        Rows of the target.
    estimator : classifier, default=None
        Any classifier. None: logistic regression on standardized features, with
        balanced class weights.
    cv : int or splitter, default=5
        Number of stratified folds, or a splitter.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffling before the folds when `cv` is an integer.

    Returns
    -------
    distance : float
        In [0, 2]; 0: not to be told apart, 2: always told apart.

    Raises
    ------
    ValueError
        If a domain has fewer rows than there are folds.

    Notes
    -----
    :math:`d_A = 2 (1 - 2 \epsilon)` with :math:`\epsilon` the out-of-fold error,
    each domain counted with weight one half so that the distance does not depend on
    how many rows a domain has. The hypotheses and their negations are both allowed,
    as the definition asks, so that an error above one half counts as one half. With
    an integer `cv` the order of the rows does not matter.

    References
    ----------
    .. [1] Ben-David et al., "A theory of learning from different domains", Machine
       Learning 79 (2010), :doi:`10.1007/s10994-009-5152-4`.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.metrics import proxy_a_distance
    >>> X = np.random.RandomState(0).normal(size=(60, 2))
    >>> proxy_a_distance(X, X + 100.0, random_state=0)
    2.0
    """
    X_source, X_target = check_domain_pair(X_source, X_target)
    if isinstance(cv, int | np.integer):  # the folds of any order of the rows
        X_source = X_source[canonical_order(X_source)]
        X_target = X_target[canonical_order(X_target)]
    X = np.vstack([X_source, X_target])
    domain = np.repeat([0, 1], [len(X_source), len(X_target)])
    if estimator is None:
        estimator = make_pipeline(
            StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000)
        )
    predicted = cross_val_predict(
        clone(estimator), X, domain, cv=_folds(cv, domain, random_state)
    )
    wrong = predicted != domain
    error = (wrong[domain == 0].mean() + wrong[domain == 1].mean()) / 2
    return float(max(0.0, 2 * (1 - 2 * error)))


def _folds(cv: Any, strata: NDArray[Any], random_state: Any) -> Any:
    if not isinstance(cv, int | np.integer):
        return cv
    smallest = np.bincount(strata).min()
    if smallest < cv:
        raise ValueError(
            f"cv={cv} folds need {cv} rows of each domain, but one has {smallest}."
        )
    return StratifiedKFold(int(cv), shuffle=True, random_state=random_state)
