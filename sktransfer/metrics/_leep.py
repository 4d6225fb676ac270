"""Scores from the labels that a source model gives to target rows."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.utils import check_array, check_random_state

from sktransfer._compat import Interval, StrOptions, validate_params
from sktransfer.metrics._checks import check_features, encode_labels, to_unit_range


@validate_params(
    {"y_source": ["array-like"], "y_target": ["array-like"]},
    prefer_skip_nested_validation=True,
)
def nce(y_source: Any, y_target: Any) -> float:
    r"""Compute the negative conditional entropy of target labels given source labels.

    Parameters
    ----------
    y_source : array-like of shape (n_samples,)
        Source label of each target row, such as the prediction of the source model.
    y_target : array-like of shape (n_samples,)
        Target label of the same rows.

    Returns
    -------
    score : float
        In [-log(n_classes), 0], in nats; higher is better. 0: the source label
        determines the target label.

    See Also
    --------
    leep : The same with probabilities of the source model.

    Notes
    -----
    :math:`-H(Y|Z) = \sum_{y,z} P(y,z) \log P(y|z)` with empirical frequencies.

    References
    ----------
    .. [1] Tran, Nguyen and Hassner, "Transferability and hardness of supervised
       classification tasks", ICCV (2019), :arxiv:`1908.08142`.

    Examples
    --------
    >>> from sktransfer.metrics import nce
    >>> nce(["cat", "cat", "car", "car"], [0, 0, 7, 7])
    0.0
    >>> round(nce(["cat", "cat", "car", "car"], [0, 7, 0, 7]), 4)
    -0.6931
    """
    source_classes, source = encode_labels(y_source, name="y_source")
    target_classes, target = encode_labels(y_target, len(source), name="y_target")
    joint = np.zeros((len(source_classes), len(target_classes)))
    np.add.at(joint, (source, target), 1.0)
    return 0.0 - conditional_entropy(joint / len(source))


def conditional_entropy(joint: NDArray[Any]) -> float:
    """Return H(column | row) of a joint probability table, in nats."""
    rows = joint.sum(axis=1, keepdims=True)
    conditional = np.divide(joint, rows, out=np.ones_like(joint), where=joint > 0)
    return float(max(0.0, -np.sum(joint * np.log(conditional))))


@validate_params(
    {"proba": ["array-like"], "y": ["array-like"]}, prefer_skip_nested_validation=True
)
def leep(proba: Any, y: Any) -> float:
    r"""Compute the log expected empirical prediction of a source model.

    Parameters
    ----------
    proba : array-like of shape (n_samples, n_source_classes)
        Probabilities of the source classes for labeled target rows; each row sums to
        1. A column of zeros, an unused source class, changes nothing.
    y : array-like of shape (n_samples,)
        Target classes of any kind.

    Returns
    -------
    score : float
        At most 0, in nats; higher is better.

    Raises
    ------
    ValueError
        If `proba` has negative entries or rows that do not sum to 1.

    See Also
    --------
    nce : The same with hard source labels.
    n_leep : The same with clusters in place of source classes.

    Notes
    -----
    .. math:: \frac1n \sum_i \log \sum_z \hat P(y_i | z) \, \theta(x_i)_z, \qquad
       \hat P(y|z) = \frac{\sum_{i : y_i = y} \theta(x_i)_z}{\sum_i \theta(x_i)_z}.

    With one-hot probabilities it equals :func:`nce`; with uniform ones it is
    :math:`-H(Y)`. It is at least NCE plus the mean log probability of the predicted
    source class.

    References
    ----------
    .. [1] Nguyen et al., "LEEP: A new measure to evaluate transferability of learned
       representations", ICML (2020), :arxiv:`2002.12462`.

    Examples
    --------
    >>> from sktransfer.metrics import leep
    >>> leep([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], ["a", "a", "b"])
    0.0
    """
    proba = check_array(proba, dtype=np.float64, input_name="proba")
    classes, codes = encode_labels(y, len(proba))
    if proba.min() < 0:
        raise ValueError(f"proba has negative entries (smallest {proba.min():.3g}).")
    error = np.abs(proba.sum(axis=1) - 1).max()
    if error > 1e-3:
        raise ValueError(
            f"The rows of proba must sum to 1; one is off by {error:.3g}. Pass the "
            "output of predict_proba, or a softmax of decision values."
        )
    return _leep(proba / proba.sum(axis=1, keepdims=True), codes, len(classes))


def _leep(proba: NDArray[Any], codes: NDArray[Any], n_classes: int) -> float:
    member = np.zeros((n_classes, len(codes)))
    member[codes, np.arange(len(codes))] = 1
    joint = member @ proba
    mass = joint.sum(axis=0)
    conditional = np.divide(joint, mass, out=np.zeros_like(joint), where=mass > 0)
    expected = np.einsum("iz,iz->i", proba, conditional[codes])
    return float(min(0.0, np.mean(np.log(expected))))


@validate_params(
    {
        "features": ["array-like"],
        "y": ["array-like"],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "pca_components": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Real, 0, 1, closed="neither"),
            None,
        ],
        "covariance_type": [StrOptions({"full", "tied", "diag", "spherical"})],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def n_leep(
    features: Any,
    y: Any,
    *,
    n_components: int | None = None,
    pca_components: Any = 0.8,
    covariance_type: str = "diag",
    max_iter: int = 100,
    random_state: Any = None,
) -> float:
    r"""Compute LEEP with the clusters of a Gaussian mixture as source classes.

    It needs features only, so it also serves models without a classifier.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Features of the source model for labeled target rows.
    y : array-like of shape (n_samples,)
        Target classes of any kind.
    n_components : int, default=None
        Number of Gaussians, at most the number of rows. None: the number of classes.
    pca_components : int >= 1, float in (0, 1) or None, default=0.8
        Principal components kept before the mixture: a number, or the smallest number
        that explains this share of the variance; None: no reduction.
    covariance_type : {"full", "tied", "diag", "spherical"}, default="diag"
        Covariances of the Gaussians.
    max_iter : int, default=100
        Largest number of expectation-maximization steps.
    random_state : int, RandomState instance or None, default=None
        Seed of the start of the mixture.

    Returns
    -------
    score : float
        At most 0, in nats; higher is better.

    Warns
    -----
    ConvergenceWarning
        If `max_iter` ends the fit of the mixture.

    See Also
    --------
    leep : The same with the classes of the source model.

    Notes
    -----
    :func:`leep` with :math:`\theta(x)_v = P(v | x)`, the posterior of component
    :math:`v` of a Gaussian mixture fitted to the reduced features of all rows.

    References
    ----------
    .. [1] Li et al., "Ranking neural checkpoints", CVPR (2021), :arxiv:`2011.11200`.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.metrics import n_leep
    >>> y = np.repeat([0, 1], 20)
    >>> noise = np.random.RandomState(0).normal(size=(40, 2))
    >>> good = n_leep(noise + 9 * y[:, None], y, random_state=0)
    >>> good > n_leep(noise, y, random_state=0)
    True
    """
    features, classes, codes = check_features(features, y)
    n_components = len(classes) if n_components is None else n_components
    if n_components > len(features):
        raise ValueError(
            f"n_components={n_components} exceeds the number of rows {len(features)}."
        )
    rng = check_random_state(random_state)
    features = features - features.mean(axis=0)
    features = _reduce(to_unit_range(features), pca_components, rng)
    scale = np.sqrt(np.mean(features**2))
    if scale == 0:
        return _leep(np.ones((len(codes), 1)), codes, len(classes))
    features /= scale
    mixture = GaussianMixture(
        n_components,
        covariance_type=covariance_type,
        max_iter=max_iter,
        init_params="k-means++",
        random_state=rng,
    )
    return _leep(mixture.fit(features).predict_proba(features), codes, len(classes))


def _reduce(
    features: NDArray[Any], pca_components: float | None, rng: np.random.RandomState
) -> NDArray[Any]:
    """Return centered features or their principal components."""
    n_samples, n_features = features.shape
    if n_samples < 2 or not np.ptp(features, axis=0).any():
        return np.zeros((n_samples, 1))
    if pca_components is None:
        return features - features.mean(axis=0)
    solver = "covariance_eigh" if n_samples >= n_features else "full"
    if isinstance(pca_components, Integral):
        pca_components, solver = min(pca_components, n_samples, n_features), "auto"
    pca = PCA(pca_components, svd_solver=solver, random_state=rng)
    return pca.fit_transform(features)
