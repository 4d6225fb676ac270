"""Which of covariates, labels and concept moved between the domains."""

from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.base import clone, is_classifier
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state

from sktransfer._compat import HasMethods, Interval, StrOptions, validate_params
from sktransfer._domains import check_domains
from sktransfer.exceptions import UnlabeledTargetError
from sktransfer.metrics._checks import check_numbers, infer_task
from sktransfer.metrics._mmd import mmd_test

__all__ = ["ShiftTest", "which_shift"]

#: rows of a domain that the kernel tests look at
_MOST_ROWS = 400
_LEAST = 5


class ShiftTest(NamedTuple):
    """P-values of the three kinds of shift, and of the four tests that they are from.

    Parameters
    ----------
    covariate : float
        P-value of covariate shift: the rows moved, and not only because the labels
        did.
    label : float
        P-value of label shift: the labels moved, and not only because the rows did.
    concept : float
        P-value of concept shift: the law of the label given the row changed, and label
        shift does not explain it.
    p_x, p_y : float
        P-values of the tests whether rows, and labels, have the same distribution.
    p_y_given_x, p_x_given_y : float
        P-values of the tests of the conditional distributions.

    See Also
    --------
    which_shift : It returns one.

    Examples
    --------
    >>> from sktransfer.metrics import ShiftTest
    >>> ShiftTest(0.01, 0.5, 0.4, 0.01, 0.5, 0.4, 0.01).covariate
    0.01
    """

    covariate: float
    label: float
    concept: float
    p_x: float
    p_y: float
    p_y_given_x: float
    p_x_given_y: float


@validate_params(
    {
        "X": ["array-like"],
        "y": ["array-like"],
        "sample_domain": ["array-like"],
        "estimator": [HasMethods(["fit", "predict"]), None],
        "task": [StrOptions({"auto", "classification", "regression"})],
        "n_permutations": [Interval(Integral, 19, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def which_shift(
    X: Any,
    y: Any,
    *,
    sample_domain: Any,
    estimator: Any = None,
    task: str = "auto",
    n_permutations: int = 499,
    random_state: Any = 0,
) -> ShiftTest:
    r"""Test which of covariates, labels and concept moved from source to target.

    The answer points to the remedy: weights of rows (:class:`~sktransfer.instance.
    KMM`) for covariate shift, weights of classes
    (:class:`~sktransfer.instance.LabelShiftClassifier`) for label shift, and labels of
    the target for concept shift, which nothing else repairs.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Rows of source and target, numbers.
    y : array-like of shape (n_samples,)
        Labels, missing on the unlabeled target rows, which count in the test of the
        rows.
    sample_domain : array-like of shape (n_samples,)
        Positive ids for sources, which are pooled, negative for the target.
    estimator : estimator, default=None
        Model of the labels, with ``predict_proba`` for classes. None: logistic or ridge
        regression of standardized features. The better it is, the more the test of
        the concept sees.
    task : {"auto", "classification", "regression"}, default="auto"
        Whether the labels are classes. "auto": as the estimator, or the labels, say.
    n_permutations : int, default=499
        Permutations of each test; no p-value is below 1 over this number plus 1.
    random_state : int, RandomState instance or None, default=0
        Seed of permutations, folds and subsamples of at most 400 rows of a domain.

    Returns
    -------
    result : ShiftTest
        P-values ``covariate``, ``label`` and ``concept``, and the four others.

    Raises
    ------
    UnlabeledTargetError
        If fewer than 5 target rows are labeled.

    See Also
    --------
    mmd_test : The test of the rows alone.
    compare_domains : Measures of how far the domains are apart.

    Notes
    -----
    Four hypotheses are tested, with the domain D:

    - *the rows*, :math:`D \perp x`: MMD with permutations of D;
    - *the labels*, :math:`D \perp y`: chi-squared with permutations, for regression
      the test of Kolmogorov and Smirnov;
    - *the concept*, :math:`D \perp y \mid x`: generalized covariance measure [1]_ of
      :math:`(D - \hat e(x))` and :math:`(y - \hat m(x))`, both cross-fitted, with the
      mean residual and its slope along :math:`\hat m`, by flips of signs;
    - *the rows of a label*, :math:`D \perp x \mid y`: MMD within each class, with
      permutations of D within the classes. For regression within bins of y, of what a
      cubic polynomial in y leaves of the rows.

    Label shift alone keeps :math:`p(x \mid y)` and covariate shift alone :math:`p(y
    \mid x)`, although each moves all the rest. So each kind needs two rejections, and
    its p-value is the larger one (an intersection-union test, which keeps its level):
    covariate :math:`\max(p_x, p_{x|y})`, label :math:`\max(p_y, p_{y|x})`, concept
    :math:`\max(p_{y|x}, p_{x|y})`. Where the concept moves, the shares of the labels
    often do, and then both are found. A large p-value shows nothing: with few labels
    the tests have little power.

    References
    ----------
    .. [1] R. D. Shah, J. Peters. "The hardness of conditional independence testing and
       the generalised covariance measure". Annals of Statistics 48(3), 2020.
       :doi:`10.1214/19-AOS1857`

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.metrics import which_shift
    >>> rng = np.random.default_rng(0)
    >>> domain = np.repeat([1, -1], [300, 100])
    >>> y = (rng.random(400) < np.where(domain > 0, 0.5, 0.1)).astype(int)
    >>> X = rng.normal(size=(400, 2)) + y[:, None]  # only the shares of y moved
    >>> result = which_shift(X, y, sample_domain=domain)
    >>> result.label < 0.05, result.covariate < 0.05, result.concept < 0.05
    (True, False, False)
    """
    X = check_numbers(X)
    numeric = None if estimator is None else not is_classifier(estimator)
    if task == "regression":
        numeric = True
    data = check_domains(X, y, sample_domain, numeric_labels=numeric)
    if not data.n_source:
        raise ValueError(
            "sample_domain has no source row: there is nothing to compare."
        )
    if data.n_labeled < _LEAST:
        raise UnlabeledTargetError(
            f"{data.n_labeled} target rows are labeled: the tests need at least "
            f"{_LEAST}."
        )
    rng = check_random_state(random_state)
    labels = data.labels(data.labeled)
    if task == "auto":
        if estimator is not None:
            task = "classification" if is_classifier(estimator) else "regression"
        else:
            task = infer_task(labels)
    classify = task == "classification"
    if estimator is not None and is_classifier(estimator) != classify:
        raise ValueError(f"estimator={estimator!r} does not fit task={task!r}.")
    if classify and estimator is not None and not hasattr(estimator, "predict_proba"):
        raise ValueError(f"estimator={estimator!r} has no predict_proba.")
    rows, is_target = X[data.labeled], data.is_labeled_target[data.labeled]
    if classify:
        labels = np.unique(labels, return_inverse=True)[1]
    else:
        labels = labels.astype(np.float64)
    p_x = mmd_test(
        _subsample(data.X_source, rng), _subsample(X[data.is_target], rng),
        n_permutations=n_permutations, random_state=rng,
    ).p_value  # fmt: skip
    p_y = _test_labels(labels, is_target, classify, n_permutations, rng)
    p_concept = _test_concept(
        rows, labels, is_target, estimator, classify, n_permutations, rng
    )
    p_rows = _test_rows_of_labels(
        rows, labels, is_target, classify, n_permutations, rng
    )
    p_x, p_y, p_concept, p_rows = map(float, (p_x, p_y, p_concept, p_rows))
    return ShiftTest(
        covariate=max(p_x, p_rows), label=max(p_y, p_concept),
        concept=max(p_concept, p_rows), p_x=p_x, p_y=p_y, p_y_given_x=p_concept,
        p_x_given_y=p_rows,
    )  # fmt: skip


def _subsample(rows: NDArray[Any], rng: np.random.RandomState) -> NDArray[Any]:
    if len(rows) <= _MOST_ROWS:
        return rows
    return rows[rng.choice(len(rows), _MOST_ROWS, replace=False)]


def _p_value(statistic: float, null: NDArray[Any]) -> float:
    # equal statistics that differ by rounding count as equal
    slack = 1e-9 * max(abs(statistic), 1e-300)
    return (1 + np.sum(null >= statistic - slack)) / (1 + len(null))


def _test_labels(
    labels: NDArray[Any],
    is_target: NDArray[np.bool_],
    classify: bool,
    n_permutations: int,
    rng: np.random.RandomState,
) -> float:
    if not classify:
        return stats.ks_2samp(labels[is_target], labels[~is_target]).pvalue
    totals = np.bincount(labels)
    n, own = len(labels), np.bincount(labels[is_target], minlength=len(totals))
    expected = totals * is_target.sum() / n
    generator = np.random.default_rng(rng.randint(2**31))
    draws = generator.multivariate_hypergeometric(
        totals, int(is_target.sum()), size=n_permutations
    )
    null = ((draws - expected) ** 2 / expected).sum(axis=1)
    return _p_value(((own - expected) ** 2 / expected).sum(), null)


def _test_concept(
    rows: NDArray[Any],
    labels: NDArray[Any],
    is_target: NDArray[np.bool_],
    estimator: Any,
    classify: bool,
    n_permutations: int,
    rng: np.random.RandomState,
) -> float:
    """Generalized covariance measure of domain and label, given the rows."""
    domain = is_target.astype(int)
    n_folds = int(min(5, domain.sum(), (1 - domain).sum()))
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=rng.randint(2**31))
    propensity = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    e = cross_val_predict(propensity, rows, domain, cv=folds, method="predict_proba")
    if classify:
        kept = np.isin(labels, np.flatnonzero(np.bincount(labels) >= 2))
        rows, domain, e = rows[kept], domain[kept], e[kept]
        labels = np.unique(labels[kept], return_inverse=True)[1]
        if labels.max(initial=0) < 1:
            return 1.0  # one class: its label says nothing
        n_folds = int(min(5, np.bincount(labels).min()))
        split = StratifiedKFold(n_folds, shuffle=True, random_state=rng.randint(2**31))
        model = estimator
        if model is None:
            model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        m = cross_val_predict(
            clone(model), rows, labels, cv=split, method="predict_proba"
        )[:, 1:]
        residual = np.eye(m.shape[1] + 1)[labels][:, 1:] - m
        m = np.log(np.clip(m, 1e-3, None) / np.clip(1 - m, 1e-3, None))
    else:
        split = KFold(5, shuffle=True, random_state=rng.randint(2**31))
        model = estimator
        if model is None:
            model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 3, 7)))
        m = cross_val_predict(clone(model), rows, labels, cv=split).reshape(-1, 1)
        residual = labels[:, None] - m
    shape = m - m.mean(axis=0)
    scale = shape.std(axis=0)
    shape = shape / np.where(scale > 0, scale, 1.0)
    parts = np.hstack([residual, residual * shape]) * (domain - e[:, 1])[:, None]
    second = parts.T @ parts / len(parts)
    inverse = np.linalg.pinv(second, rcond=1e-6, hermitian=True)

    def statistic(sums: NDArray[Any]) -> Any:
        return np.einsum("...i,ij,...j->...", sums, inverse, sums)

    signs = rng.choice([-1.0, 1.0], size=(n_permutations, len(parts)))
    return _p_value(statistic(parts.sum(axis=0)), statistic(signs @ parts))


def _test_rows_of_labels(
    rows: NDArray[Any],
    labels: NDArray[Any],
    is_target: NDArray[np.bool_],
    classify: bool,
    n_permutations: int,
    rng: np.random.RandomState,
) -> float:
    """MMD within the classes, or within bins of the label, by permutations."""
    chosen = np.concatenate([
        np.flatnonzero(is_target)[: _MOST_ROWS],
        _subsample(np.flatnonzero(~is_target), rng),
    ])  # fmt: skip
    rows, labels, is_target = rows[chosen], labels[chosen], is_target[chosen]
    scale = rows.std(axis=0)
    rows = (rows - rows.mean(axis=0)) / np.where(scale > 0, scale, 1.0)
    if not classify:
        ranks = stats.rankdata(labels) / len(labels)
        powers = np.column_stack([ranks**k for k in range(4)])
        rows = rows - powers @ np.linalg.lstsq(powers, rows, rcond=None)[0]
        n_bins = int(np.clip(is_target.sum() // 4, 1, 8))
        edges = np.quantile(labels[is_target], np.linspace(0, 1, n_bins + 1)[1:-1])
        labels = np.searchsorted(edges, labels)
    squared = euclidean_distances(rows, squared=True)
    positive = squared[squared > 0]
    median = float(np.median(positive)) if len(positive) else 1.0
    K = np.exp(-squared / median)
    observed, null = 0.0, np.zeros(n_permutations)
    for label in np.unique(labels):
        part = np.flatnonzero(labels == label)
        own = is_target[part]
        n_own, n_other = int(own.sum()), int((~own).sum())
        if not n_own or not n_other:
            continue
        block = K[np.ix_(part, part)]
        draws = np.array([rng.permutation(own) for _ in range(n_permutations)])
        weights = np.where(np.vstack([own, draws]), 1 / n_own, -1 / n_other)
        values = n_own * np.einsum("ni,ni->n", weights @ block, weights)
        observed += values[0]
        null += values[1:]
    return _p_value(observed, null)
