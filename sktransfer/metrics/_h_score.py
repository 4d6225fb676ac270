"""H-score of features."""

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata
from sklearn.preprocessing import SplineTransformer
from sklearn.utils import check_array, check_consistent_length

from sktransfer._compat import HasMethods, Interval, StrOptions, validate_params
from sktransfer.exceptions import warn
from sktransfer.metrics._checks import (
    bin_labels,
    check_features,
    class_means,
    to_unit_range,
)
from sktransfer.metrics._gaussian import SHRINKAGE, ledoit_wolf
from sktransfer.metrics._maximal_h_score import maximal_h_score


@validate_params(
    {
        "features": ["array-like"],
        "y": ["array-like"],
        "shrinkage": [*SHRINKAGE, None],
        "normalize": ["boolean"],
        "inputs": ["array-like", "sparse matrix", None],
        "classifier": [HasMethods(["fit", "predict_proba"]), None],
        "bins": [
            Interval(Integral, 2, None, closed="left"),
            StrOptions({"spline"}),
            None,
        ],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def h_score(
    features: Any,
    y: Any,
    *,
    shrinkage: Any = None,
    normalize: bool = False,
    inputs: Any = None,
    classifier: Any = None,
    bins: Any = None,
    random_state: Any = 0,
) -> float:
    r"""Score how well features separate classes relative to their redundancy.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Features of the source model for labeled target rows.
    y : array-like of shape (n_samples,)
        Target classes of any kind; numbers with ``bins``.
    shrinkage : "ledoit_wolf", float in [0, 1] or None, default=None
        How far the covariance of the features is moved to a multiple of the identity
        of the same trace. None: no shrinkage, a pseudo-inverse where the covariance
        has no full rank.
    normalize : bool, default=False
        Divide by the larger of the score and the largest score that any features of
        ``inputs`` have, by :func:`maximal_h_score`. Only such shares compare tasks with
        different numbers of classes.
    inputs : {array-like, sparse matrix} of shape (n_samples, n_inputs), default=None
        What the features were made of, for ``normalize``. None: the features.
    classifier : classifier, default=None
        Estimates the largest score for ``normalize``, as in :func:`maximal_h_score`.
    bins : int >= 2, "spline" or None, default=None
        For real labels: an int gives quantile bins as classes; "spline" takes functions
        of the labels, the normal scores of their ranks and cubic splines of them, in
        place of classes, so that the score is the sum of the squared canonical
        correlations between features and these (the Hirschfeld-Gebelein-Renyi form).
        None: the labels are classes.
    random_state : int, RandomState instance or None, default=0
        Deals samples to folds, for ``normalize``.

    Returns
    -------
    score : float
        In [0, n_classes - 1], or in [0, 1] if normalized; higher is better.

    Raises
    ------
    ValueError
        If ``normalize`` is asked for with ``bins="spline"``, ``inputs`` have another
        number of samples, or ``inputs`` or ``classifier`` are given without
        ``normalize``.

    Warns
    -----
    UserWarning
        If no dependence of the classes on the inputs is found, so that the share is
        that of the features in themselves, which is 1 and tells nothing.

    See Also
    --------
    maximal_h_score : The score of the best features.
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
    if normalize and bins == "spline":
        raise ValueError(
            "normalize=True needs classes: give bins an int, not 'spline'."
        )
    for name, value in {"inputs": inputs, "classifier": classifier}.items():
        if value is not None and not normalize:
            raise ValueError(f"{name} is for normalize=True: set that, or leave it.")
    if isinstance(bins, Integral):
        y = bin_labels(y, int(bins))
    if inputs is not None:
        check_consistent_length(inputs, y)
    score = _h_score(features, y, shrinkage, spline=bins == "spline")
    if not normalize:
        return score
    best = maximal_h_score(
        features if inputs is None else inputs, y, classifier=classifier,
        random_state=random_state,
    )  # fmt: skip
    if score <= 1e-12:
        return 0.0
    if best <= 1e-12:
        warn(
            "The classifier finds no dependence of y on the inputs, so the features "
            "are compared with themselves, and the share of 1 tells nothing. Give "
            "another classifier or more samples."
        )
    return score / max(best, score)


def _h_score(
    features: NDArray[Any], y: Any, shrinkage: Any, *, spline: bool = False
) -> float:
    """Return the score for classes, or for splines of real labels."""
    if spline:
        features = check_array(features, dtype=np.float64, input_name="features")
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y").ravel()
        check_consistent_length(features, y)
    else:
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
    if spline:
        means = _label_functions(y).T @ centered / len(centered)
    else:
        means, counts = class_means(centered, codes, len(classes))
        means = means * np.sqrt(counts / len(centered))[:, None]
    ridge = amount * np.sum(centered**2) / len(centered) / len(kept)
    return (1 - amount) * _trace_ratio(centered, means, amount, ridge)


def _label_functions(y: Any, n_knots: int = 5) -> NDArray[Any]:
    """Return functions of the labels, of mean 0 and an identity as covariance."""
    normal = norm.ppf((rankdata(y) - 0.5) / len(y))[:, None]
    basis = normal
    if len(np.unique(y)) > n_knots:
        spline = SplineTransformer(n_knots, degree=3, knots="quantile")
        basis = np.column_stack([normal, spline.fit_transform(normal)])
    basis = basis - basis.mean(axis=0)
    U, s, _ = np.linalg.svd(basis, full_matrices=False)
    return U[:, s > s[0] * 1e-8] * np.sqrt(len(y)) if s[0] > 0 else U[:, :0]


def _amount(centered: NDArray[Any], shrinkage: Any, n_features: int) -> float:
    if shrinkage != "ledoit_wolf":
        return float(shrinkage)
    # the dropped constant columns count as features of the full covariance
    padded = np.zeros((len(centered), n_features))
    padded[:, : centered.shape[1]] = centered
    return ledoit_wolf(padded, padded.T @ padded / len(padded))


def _trace_ratio(
    centered: NDArray[Any], means: NDArray[Any], amount: float, ridge: float
) -> float:
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
