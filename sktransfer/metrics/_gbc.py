"""Gaussian Bhattacharyya overlap of classes."""

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from sktransfer._compat import Interval, StrOptions, validate_params
from sktransfer.metrics._checks import check_features, class_means, to_unit_range


@validate_params(
    {
        "features": ["array-like"],
        "y": ["array-like"],
        "covariance_type": [StrOptions({"diag", "spherical"})],
        "pca_components": [Interval(Integral, 1, None, closed="left"), None],
    },
    prefer_skip_nested_validation=True,
)
def gbc(
    features: Any,
    y: Any,
    *,
    covariance_type: str = "spherical",
    pca_components: int | None = 64,
) -> float:
    r"""Score classes by the overlap of Gaussian fits of their features.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Features of the source model for labeled target rows.
    y : array-like of shape (n_samples,)
        Target classes of any kind. The variance of a class with one row is the pooled
        variance within the classes.
    covariance_type : {"spherical", "diag"}, default="spherical"
        Covariance of each class.
    pca_components : int or None, default=64
        Number of principal components kept before the fits, at most the rank. None:
        no reduction.

    Returns
    -------
    score : float
        In [-n_classes * (n_classes - 1), 0]; higher is better.

    See Also
    --------
    h_score : Class separation by the ratio of covariances.

    Notes
    -----
    :math:`-\sum_{c \ne c'} \exp(-D_B(c, c'))` with the Bhattacharyya distance

    .. math:: D_B = \frac18 (\mu_c - \mu_{c'})^\top \Sigma^{-1} (\mu_c - \mu_{c'})
       + \frac12 \log \frac{\det \Sigma}{\sqrt{\det \Sigma_c \det \Sigma_{c'}}},
       \qquad \Sigma = \frac{\Sigma_c + \Sigma_{c'}}{2}.

    Variances are at least :math:`10^{-9}` times the total variance per feature, so
    that classes without spread stay comparable.

    References
    ----------
    .. [1] Pandy et al., "Transferability estimation using Bhattacharyya class
       separability", CVPR (2022), :arxiv:`2111.12780`.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.metrics import gbc
    >>> y = np.repeat([0, 1], 20)
    >>> noise = np.random.RandomState(0).normal(size=(40, 2))
    >>> [round(gbc(noise + shift * y[:, None], y), 2) for shift in (0, 2, 4)]
    [-1.61, -1.12, -0.07]
    """
    features, classes, codes = check_features(features, y)
    features = to_unit_range(features)
    features = features - features.mean(axis=0)
    if pca_components is not None and pca_components < min(features.shape):
        solver = "covariance_eigh" if features.shape[1] <= len(features) else "full"
        features = PCA(pca_components, svd_solver=solver).fit_transform(features)
    means, counts = class_means(features, codes, len(classes))
    variances = _class_variances(features, codes, means, counts, covariance_type)
    total = -float(len(classes))
    for mean, variance in zip(means, variances, strict=True):
        total += np.exp(-_bhattacharyya(mean, variance, means, variances)).sum()
    return 0.0 - max(float(total), 0.0)


def _class_variances(
    features: NDArray[Any],
    codes: NDArray[Any],
    means: NDArray[Any],
    counts: NDArray[Any],
    covariance_type: str,
) -> NDArray[Any]:
    squares = (features - means[codes]) ** 2
    variances, _ = class_means(squares, codes, len(counts))
    pooled = squares.sum(axis=0) / max(1, len(codes) - len(counts))
    variances[counts == 1] = pooled
    if covariance_type == "spherical":
        variances[:] = variances.mean(axis=1, keepdims=True)
    floor = 1e-9 * features.var(axis=0).mean()
    # all rows equal: any positive number says that all classes overlap
    return np.maximum(variances, floor if floor > 0 else 1.0)


def _bhattacharyya(
    mean: NDArray[Any],
    variance: NDArray[Any],
    means: NDArray[Any],
    variances: NDArray[Any],
) -> NDArray[Any]:
    """Return the distances of one diagonal Gaussian to all of them."""
    middle = (variance + variances) / 2
    shift = np.sum((mean - means) ** 2 / middle, axis=1) / 8
    logs = np.log(middle) - (np.log(variance) + np.log(variances)) / 2
    return shift + logs.sum(axis=1) / 2
