"""Which unlabeled target rows to label next."""

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy
from sklearn.base import is_classifier
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state

from sktransfer._compat import Interval, StrOptions, validate_params
from sktransfer._domains import check_domains
from sktransfer._folds import check_groups
from sktransfer._learners import HasLearnerMethods
from sktransfer._response import align_classes, all_classes
from sktransfer.exceptions import UnlabeledTargetError
from sktransfer.metrics._checks import check_numbers
from sktransfer.metrics._negative_transfer import with_groups
from sktransfer.metrics._pair import check_pair, fit_target_only, fit_transfer

__all__ = ["query_target"]

#: the density ratio beyond which rows count alike
_LARGEST_RATIO = 20.0
#: rows with the best scores among which the clusters are, per row that is wanted
_PER_ROW = 20
#: the least probability whose logarithm counts as evidence
_LEAST_PROBABILITY = 1e-6


@validate_params(
    {
        "estimator": [HasLearnerMethods(["fit", "predict"])],
        "X": ["array-like"],
        "y": ["array-like"],
        "sample_domain": ["array-like"],
        "n_samples": [Interval(Integral, 0, None, closed="left")],
        "strategy": [StrOptions({"difference", "evidential", "model"})],
        "diverse": ["boolean"],
        "target_estimator": [HasLearnerMethods(["fit", "predict"]), None],
        "groups": ["array-like", None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def query_target(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    sample_domain: Any,
    n_samples: int,
    strategy: str = "model",
    diverse: bool = True,
    target_estimator: Any = None,
    groups: Any = None,
    random_state: Any = 0,
) -> NDArray[Any]:
    r"""Choose the unlabeled target rows that are worth labeling next.

    Parameters
    ----------
    estimator : estimator
        An estimator of this library, or a pipeline that ends in one. It is cloned.
    X : array-like of shape (n_samples, n_features)
        Rows of every domain, numbers.
    y : array-like of shape (n_samples,)
        Labels, missing on the unlabeled target rows.
    sample_domain : array-like of shape (n_samples,)
        Positive ids for sources, negative for the target.
    n_samples : int
        How many rows to choose; how many units if there are groups.
    strategy : {"model", "difference", "evidential"}, default="model"
        What the labels are for. "model": a better transferred model. "difference": to
        tell whether the sources hurt, which needs labeled target rows already.
        "evidential": a better transferred classifier, as by the evidence that the
        sources give of each class at the row.
    diverse : bool, default=True
        Choose rows that are far from each other, not only those of the largest scores.
    target_estimator : estimator, default=None
        For "difference" only: what to compare with, if not ``estimator`` without its
        sources.
    groups : array-like of shape (n_samples,), default=None
        Unit of each row, such as the patient, where units have several rows: units are
        chosen as wholes, among those of which no row is labeled.
    random_state : int, RandomState instance or None, default=0
        Seed of the clusters.

    Returns
    -------
    rows : ndarray of shape (n_samples,)
        Positions of the chosen rows in ``X``, the best first. With ``groups`` all
        target rows of the chosen units, the best unit first and in it the row of the
        largest score, so that the first row of each unit is the one to take where
        one label per unit is to be had.

    Raises
    ------
    UnlabeledTargetError
        If "difference" lacks labeled target rows.
    ValueError
        If there are not as many different unlabeled target rows (with ``groups``:
        units without labels), or the estimator has no probabilities where the strategy
        needs them.

    See Also
    --------
    gap_learning_curve : How many labels are needed.
    SequentialHarmTest : Stop labeling when the answer is clear.

    Notes
    -----
    "model": the score of a row is the entropy of the transferred model's probabilities
    times the density ratio :math:`p_t(x) / p_s(x)` by a logistic domain classifier, at
    most 20: rows about which the model is unsure and the sources help little. For
    regression it is the density ratio alone. "difference": the squared difference of
    the probabilities (or predictions) of the models with and without the sources; where
    they agree a label is no evidence on the gap.

    "evidential": the probabilities at a row have a Dirichlet distribution,

    .. math:: \alpha_k = 1 + \frac{p_s(x)}{p_t(x)} e^{\ell_k(x)}, \quad
              \ell_k = \log p_k - \frac1K \sum_j \log p_j,

    so that there is no evidence where there are no sources. The score is the entropy
    :math:`H(\alpha / \sum_k \alpha_k)`. It is the sum of two uncertainties. That of the
    distribution is the mutual information of label and probabilities, and is large
    where evidence is missing. That of the data is the expected entropy of the
    probabilities, and is large where classes overlap. This is the selection of
    "Detective" (below) for tables: the density ratio, from 1/20 to 20, replaces the
    evidence of its nets, and the clusters its context.

    A unit of ``groups`` has the mean score and the mean features of its rows.

    With ``diverse`` the best-scored 20 rows per wanted one form as many clusters by
    k-means of the standardized features, weighted by the scores, and the best row of
    each is taken. Equal rows are chosen once.

    Rows that are chosen like this are no random sample: fit on them, but estimate the
    gap, coverage and class shares on rows that were labeled at random. With
    "difference" the gap on the chosen rows is larger than on the target, in the same
    direction.

    References
    ----------
    W. Zhang, Z. Lv, H. Zhou, et al. Revisiting the domain shift and sample uncertainty
    in multi-source active domain transfer. CVPR 2024. https://arxiv.org/abs/2311.12905

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sktransfer.baselines import Pooled
    >>> from sktransfer.metrics import query_target
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 2))
    >>> domain = np.repeat([1, -1], [100, 200])
    >>> y = np.where(domain > 0, X[:, 0] > 0, np.nan)
    >>> rows = query_target(
    ...     Pooled(LogisticRegression()), X, y, sample_domain=domain, n_samples=5
    ... )
    >>> bool(np.abs(X[rows, 0]).mean() < np.abs(X[100:, 0]).mean())  # near the boundary
    True
    """
    baseline = check_pair(estimator, target_estimator)
    if target_estimator is not None and strategy != "difference":
        raise ValueError("target_estimator is for strategy='difference' only.")
    classify = is_classifier(estimator)
    rows = check_numbers(X)
    data = check_domains(
        X, y, sample_domain, numeric_labels=not classify, multi_output=True
    )
    several = classify and data.y is not None and np.ndim(data.y) == 2
    if several and strategy == "difference":
        raise ValueError(
            "strategy='difference' is for classes of one label: use 'model', or give "
            "y[:, k]."
        )
    if strategy == "evidential" and (several or not classify):
        raise ValueError(
            "strategy='evidential' is for a classifier of one label: use 'model'."
        )
    pool, unit, different = candidates(rows, data, groups)
    if n_samples > len(different):
        raise ValueError(
            f"n_samples={n_samples}, but only {len(different)} different target rows "
            "are unlabeled."
            if groups is None
            else f"n_samples={n_samples}, but only {len(different)} different target "
            "units of groups have no label."
        )
    if n_samples == 0:
        return np.zeros(0, dtype=np.intp)
    params = with_groups(None, groups)
    if strategy == "difference":
        if not data.n_labeled:
            raise UnlabeledTargetError(
                "strategy='difference' compares with a model of the labeled target "
                "rows, but y labels none: label some rows at random, or use 'model'."
            )
        pair = (
            fit_target_only(baseline, data, params),
            fit_transfer(estimator, data, params),
        )
        each = _differences(pair, data.take(pool).X, classify)
    else:
        model = fit_transfer(estimator, data, params)
        each = _density_ratio(rows, data, pool)
        if classify:
            proba = _probabilities(model, data.take(pool).X, strategy)
            if strategy == "evidential":
                each = _evidential(proba, each)
            else:
                each = each * _entropy(proba)
    scores = np.bincount(unit, each) / np.bincount(unit)
    scores, centers = scores[different], _means(rows[pool], unit)[different]
    order = np.argsort(-scores, kind="stable")
    chosen = order[:n_samples]
    if diverse:
        rng = check_random_state(random_state)
        best = order[: _PER_ROW * n_samples]
        chosen = _spread_out(centers, scores, best, n_samples, rng)
    if groups is None:
        return pool[different[chosen]]
    found = []
    for k in different[chosen]:
        own = np.flatnonzero(unit == k)
        found.append(pool[own[np.argsort(-each[own], kind="stable")]])
    return np.concatenate(found)


def candidates(rows: Any, data: Any, groups: Any = None) -> Any:
    """Return what may be labeled.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_features)
        Numbers.
    data : DomainData
        The same rows, checked.
    groups : array-like of shape (n_samples,), default=None
        Unit of each row; units with labels are left out.

    Returns
    -------
    pool : ndarray of shape (n_pool,)
        Positions of unlabeled target rows.
    unit : ndarray of shape (n_pool,)
        Their units, from 0 on; without groups each row is one.
    different : ndarray
        Units, the first of those with equal mean rows.
    """
    pool = np.flatnonzero(data.is_target & ~data.labeled)
    units = check_groups(groups, data)
    unit = np.arange(len(pool))
    if units is not None:
        pool = pool[~np.isin(units[pool], units[data.is_labeled_target])]
        unit = np.unique(units[pool], return_inverse=True)[1]
    centers = _means(rows[pool], unit)
    return pool, unit, np.sort(np.unique(centers, axis=0, return_index=True)[1])


def _means(rows: Any, unit: Any) -> Any:
    """Return the mean row of each unit."""
    total = np.zeros((unit.max(initial=-1) + 1, rows.shape[1]))
    np.add.at(total, unit, rows)
    return total / np.bincount(unit)[:, None]


def _differences(pair: tuple[Any, Any], X: Any, classify: bool) -> NDArray[Any]:
    if not classify:
        one, two = (
            np.asarray(m.predict(X), float).reshape(X.shape[0], -1) for m in pair
        )
        return ((one - two) ** 2).sum(axis=1)
    classes = all_classes(pair, pair[0].classes_)
    answers = []
    for model in pair:
        if hasattr(model, "predict_proba"):
            proba = model.predict_proba(X)
        else:
            proba = (model.predict(X)[:, None] == model.classes_).astype(np.float64)
        answers.append(align_classes(proba, model.classes_, classes, 0.0))
    return ((answers[0] - answers[1]) ** 2).sum(axis=1)


def _probabilities(model: Any, X: Any, strategy: Any) -> Any:
    if not hasattr(model, "predict_proba"):
        raise ValueError(
            f"strategy={strategy!r} needs predict_proba for classes, which {model!r} "
            "lacks."
        )
    p = model.predict_proba(X)
    if isinstance(p, list):  # one per output
        p = np.concatenate(p, axis=1)
    return p


def _entropy(p: Any) -> NDArray[Any]:
    return -xlogy(p, p).sum(axis=1)


def _evidential(p: Any, ratio: Any) -> Any:
    """Return the uncertainty of distribution and data of Dirichlet probabilities."""
    logits = np.log(np.maximum(p, _LEAST_PROBABILITY))
    logits -= logits.mean(axis=1, keepdims=True)
    alpha = 1.0 + np.exp(logits) / np.maximum(ratio, 1 / _LARGEST_RATIO)[:, None]
    return _entropy(alpha / alpha.sum(axis=1, keepdims=True))


def _density_ratio(rows: NDArray[Any], data: Any, pool: NDArray[Any]) -> NDArray[Any]:
    """Density of the target over that of the sources, by a domain classifier."""
    if not data.n_source:
        return np.ones(len(pool))
    classifier = make_pipeline(
        StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000)
    )
    classifier.fit(rows, data.is_target)
    log_ratio = classifier.decision_function(rows[pool])
    return np.exp(np.minimum(log_ratio, np.log(_LARGEST_RATIO)))


def _spread_out(
    rows: NDArray[Any],
    scores: NDArray[Any],
    best: NDArray[Any],
    n_samples: int,
    rng: np.random.RandomState,
) -> NDArray[Any]:
    """Take the best row of each cluster, and fill up where clusters are empty."""
    scaled = StandardScaler().fit(rows).transform(rows[best])
    weight = scores[best]
    if not weight.sum() > 0:
        weight = np.ones(len(best))
    clusters = KMeans(n_samples, n_init=4, random_state=rng.randint(2**31))
    labels = clusters.fit_predict(scaled, sample_weight=weight)
    # `best` is sorted by score, so the first of a cluster is its best row
    first = np.sort(np.unique(labels, return_index=True)[1])
    rest = np.setdiff1d(np.arange(len(best)), first)
    chosen = np.concatenate([first, rest])[:n_samples]
    return best[np.sort(chosen)]
