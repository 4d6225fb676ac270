"""Divergence of joint distributions of features and labels."""

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state

from sktransfer._compat import HasMethods, Interval, validate_params
from sktransfer._domains import canonical_order
from sktransfer._learners import fit_learner, predict_learner, takes_sample_weight
from sktransfer._response import union_of_classes
from sktransfer.metrics._checks import check_domain_pair, encode_labels


@validate_params(
    {
        "X_source": ["array-like"],
        "y_source": ["array-like"],
        "X_target": ["array-like"],
        "y_target": ["array-like"],
        "estimator": [HasMethods(["fit", "predict"]), None],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def label_informed_divergence(
    X_source: Any,
    y_source: Any,
    X_target: Any,
    y_target: Any,
    *,
    estimator: Any = None,
    cv: Any = 5,
    random_state: Any = None,
) -> float:
    r"""Measure how much better one labeling rule fits the source than the target.

    Unlike :func:`proxy_a_distance` it sees a change of the labels given the features.

    Parameters
    ----------
    X_source : array-like of shape (n_source, n_features)
        Rows of the source.
    y_source : array-like of shape (n_source,)
        Their classes.
    X_target : array-like of shape (n_target, n_features)
        Labeled rows of the target.
    y_target : array-like of shape (n_target,)
        Their classes.
    estimator : classifier, default=None
        Classifier that takes ``sample_weight``, or a pipeline that ends in one. None:
        logistic regression on standardized features.
    cv : int, default=5
        Number of folds, stratified by domain.
    random_state : int, RandomState instance or None, default=None
        Seed of the folds.

    Returns
    -------
    divergence : float
        In [0, 2]; 0: no rule fits one domain better than the other.

    Raises
    ------
    ValueError
        If there is one class over both domains, classes are text in one and numbers in
        the other, or a domain has fewer rows than folds.

    See Also
    --------
    proxy_a_distance : The same for features alone.

    Notes
    -----
    :math:`d_C = 2 \sup_h [P_S(h(x) = y) - P_T(h(x) = y)]`; for two classes and
    hypotheses closed under negation this is the divergence of [1]_. It is estimated
    out of fold by a classifier fitted to be right on the source and wrong on the
    target: each target row enters once with every class but its own (for two classes:
    with the label flipped), both domains with the same total weight. Values below 0
    count as 0. More than two classes make this a surrogate and the estimate a lower
    bound. The order of the rows does not matter.

    References
    ----------
    .. [1] Wu and He, "Continuous transfer learning with label-informed distribution
       alignment" (2020), :arxiv:`2006.03230`.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.metrics import label_informed_divergence
    >>> X = np.linspace(-1, 1, 40)[:, None]
    >>> y = (X[:, 0] > 0).astype(int)
    >>> label_informed_divergence(X, y, X, y, random_state=0) < 0.5
    True
    >>> label_informed_divergence(X, y, X, 1 - y, random_state=0) > 1.5
    True
    """
    X_source, X_target = check_domain_pair(X_source, X_target)
    m, n = len(X_source), len(X_target)
    encode_labels(y_source, m, name="y_source")
    encode_labels(y_target, n, name="y_target")
    y_source, y_target = np.ravel(y_source), np.ravel(y_target)
    union_of_classes([np.unique(y_source), np.unique(y_target)])
    first, second = (
        canonical_order(X, y) for X, y in [(X_source, y_source), (X_target, y_target)]
    )
    X_source, X_target = X_source[first], X_target[second]
    y = np.concatenate([y_source[first], y_target[second]])
    classes, codes = encode_labels(y, name="y of both domains", min_classes=2)
    domain = np.repeat([0, 1], [m, n])
    if min(m, n) < cv:
        raise ValueError(f"cv={cv} folds need {cv} rows of each domain.")
    if estimator is None:
        estimator = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    X = np.vstack([X_source, X_target])
    folds = StratifiedKFold(
        cv, shuffle=True, random_state=check_random_state(random_state)
    )
    right = np.empty(m + n, dtype=bool)
    for train, test in folds.split(X, domain):
        model = _fit_adversary(
            estimator, X[train], codes[train], domain[train], len(classes)
        )
        right[test] = predict_learner(model, X[test]) == codes[test]
    return float(max(0.0, 2 * (right[domain == 0].mean() - right[domain == 1].mean())))


def _fit_adversary(
    estimator: Any, X: Any, codes: NDArray[Any], domain: NDArray[Any], n_classes: int
) -> Any:
    """Fit a classifier to be right on the source and wrong on the target."""
    source, target = np.flatnonzero(domain == 0), np.flatnonzero(domain == 1)
    copies = np.repeat(target, n_classes - 1)
    steps = np.tile(np.arange(1, n_classes), len(target))
    labels = np.concatenate([codes[source], (codes[copies] + steps) % n_classes])
    weights = np.repeat(
        [1 / len(source), 1 / len(copies)], [len(source), len(copies)]
    ) * (len(source) + len(target))
    rows = np.concatenate([source, copies])
    if not takes_sample_weight(estimator):
        raise ValueError(f"estimator={estimator!r} takes no sample_weight.")
    return fit_learner(estimator, X[rows], labels, method_weight=weights / 2)
