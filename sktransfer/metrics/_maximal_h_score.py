"""The largest H-score that features can have."""

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.utils import check_random_state

from sktransfer._compat import HasMethods, Interval, _num_samples, validate_params
from sktransfer._domains import canonical_order, take_rows
from sktransfer._folds import deal_rows
from sktransfer._learners import fit_or_constant
from sktransfer._response import CommonColumns
from sktransfer.base import as_rows
from sktransfer.metrics._checks import bin_labels, encode_labels

__all__ = ["maximal_h_score"]


@validate_params(
    {
        "X": ["array-like", "sparse matrix"],
        "y": ["array-like"],
        "classifier": [HasMethods(["fit", "predict_proba"]), None],
        "discrete": ["boolean"],
        "n_bins": [Interval(Integral, 2, None, closed="left"), None],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def maximal_h_score(
    X: Any,
    y: Any,
    *,
    classifier: Any = None,
    discrete: bool = False,
    n_bins: Any = None,
    cv: Any = 5,
    random_state: Any = 0,
) -> float:
    r"""Estimate the H-score of the best features of any kind.

    H-scores grow with the number of classes: divided by this largest value they compare
    tasks of different sizes, see ``h_score(normalize=True)``.

    Parameters
    ----------
    X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
        Samples of the target: what the features are made of.
    y : array-like of shape (n_samples,)
        Their classes; numbers with ``n_bins``.
    classifier : classifier, default=None
        Its out-of-fold probabilities stand for those of the classes; calibrated ones
        lose least. None: ``RandomForestClassifier(min_samples_leaf=5)``.
    discrete : bool, default=False
        Whether the samples are categories: equal samples are one of them. The
        probabilities are their shares then, without a classifier and without folds,
        which is too large where categories have few samples.
    n_bins : int >= 2, default=None
        Number of quantile bins of ``y`` that are the classes, for real labels.
    cv : int >= 2, default=5
        Number of folds.
    random_state : int, RandomState instance or None, default=0
        Deals the samples to the folds, and seeds the default classifier.

    Returns
    -------
    score : float
        Not negative; about ``n_classes - 1`` at most.

    Raises
    ------
    ValueError
        If ``y`` does not fit ``X``, no sample can be held out, or a classifier is
        given although the samples are categories.
    TypeError
        If ``classifier`` is no classifier.

    See Also
    --------
    h_score : The H-score of given features.

    Notes
    -----
    With at least ``n_classes - 1`` features the largest H-score is the chi-square
    information [1]_

    .. math:: H^* = E_x \sum_y \frac{P(y|x)^2}{P(y)} - 1.

    Put in place of the probabilities, estimates p that are too sure of themselves make
    it too large: 2 on data without any dependence. The estimate here,

    .. math:: \max\Bigl(0,\; 2\,\mathrm{mean}_i \frac{p(y_i|x_i)}{P(y_i)} -
              \mathrm{mean}_i \sum_y \frac{p(y|x_i)^2}{P(y)} - 1\Bigr),

    has an expectation below :math:`H^*` by a squared distance of p to the truth, before
    the maximum with 0. It is 0 for independent labels and :math:`C - 1` for labels that
    X determines. For discrete X it is the sum of the squared singular values of
    :math:`P(x, y) / \sqrt{P(x) P(y)}` less 1, and twice the maximum of the soft-HGR
    objective :math:`E f'g - \tfrac12 \mathrm{tr}(\mathrm{cov} f\, \mathrm{cov} g)`.

    References
    ----------
    .. [1] Bao et al., "An information-theoretic approach to transferability in task
       transfer learning", ICIP (2019), :doi:`10.1109/ICIP.2019.8803726`.

    Examples
    --------
    >>> from sktransfer.metrics import maximal_h_score
    >>> X, y = [["a"], ["b"], ["c"], ["a"]], [0, 1, 2, 0]
    >>> round(maximal_h_score(X, y, discrete=True), 6)
    2.0
    """
    if classifier is not None and discrete:
        raise ValueError("discrete=True takes no classifier: leave one of them out.")
    if classifier is not None and not is_classifier(classifier):
        raise TypeError(
            f"classifier={classifier!r} is no classifier, and the probabilities of "
            "classes are needed."
        )
    X, y = as_rows(X), np.asarray(y)
    if n_bins is not None:
        y = bin_labels(y, n_bins)
    classes, codes = encode_labels(y, _num_samples(X), min_classes=1)
    shares = np.bincount(codes) / len(codes)
    if discrete:
        return _of_categories(X, codes, shares)
    rng = check_random_state(random_state)
    if classifier is None:
        seed = rng.randint(np.iinfo(np.int32).max)
        classifier = RandomForestClassifier(min_samples_leaf=5, random_state=seed)
    if len(classes) == 1:
        return 0.0
    parts = deal_rows(X, codes, cv, True, rng)
    if len(parts) < 2:
        raise ValueError(
            f"{len(codes)} samples, of which no two share a class, leave nothing to "
            "hold out. Label more samples, or lower n_bins."
        )
    hits, norms, n_tested = 0.0, 0.0, 0
    columns = CommonColumns(np.arange(len(classes)), "predict_proba")
    order = canonical_order(X, codes)
    for test in parts:
        train = order[~np.isin(order, test)]
        model = fit_or_constant(clone(classifier), take_rows(X, train), codes[train])
        p = columns.answer(model, take_rows(X, test))
        hits += float(
            np.sum(p[np.arange(len(test)), codes[test]] / shares[codes[test]])
        )
        norms += float(np.sum(p**2 / shares))
        n_tested += len(test)
    return max(0.0, (2 * hits - norms) / n_tested - 1.0)


def _of_categories(X: Any, codes: NDArray[Any], shares: NDArray[Any]) -> float:
    """Return the sum of squared singular values less 1."""
    rows = X.toarray() if hasattr(X, "toarray") else np.asarray(X)
    if rows.dtype == object:
        rows = rows.reshape(len(rows), -1)
        columns = [np.unique(column.astype(str), return_inverse=True)[1]
                   for column in rows.T]  # fmt: skip
        rows = np.column_stack(columns)
    category = np.unique(rows.reshape(len(rows), -1), axis=0, return_inverse=True)[1]
    table = np.zeros((category.max() + 1, len(shares)))
    np.add.at(table, (category.ravel(), codes), 1 / len(codes))
    of_x = table.sum(axis=1)
    scaled = table / np.sqrt(np.outer(of_x, shares))
    return max(0.0, float(np.sum(np.linalg.svd(scaled, compute_uv=False) ** 2)) - 1.0)
