"""Rank of domain by principal angles and projected divergences."""

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sktransfer._compat import Interval, validate_params
from sktransfer.metrics._checks import check_domain_pair


@validate_params(
    {
        "X_source": ["array-like"],
        "X_target": ["array-like"],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
    },
    prefer_skip_nested_validation=True,
)
def rank_of_domain(
    X_source: Any, X_target: Any, *, n_components: int | None = None
) -> float:
    r"""Measure how far apart two domains are along matched principal directions.

    Parameters
    ----------
    X_source : array-like of shape (n_source, n_features)
        Rows of the source, at least two.
    X_target : array-like of shape (n_target, n_features)
        Rows of the target, at least two.
    n_components : int, default=None
        Dimension of both subspaces, at most the smaller rank of the centered rows.
        None: half of that rank, rounded up.

    Returns
    -------
    rod : float
        At least 0; small means similar. Where the subspaces coincide it is 0 whatever
        the distributions within them, as every angle is 0: choose `n_components`
        below the number of features.

    Raises
    ------
    ValueError
        If a domain is constant or `n_components` exceeds the rank.

    Notes
    -----
    With PCA bases :math:`P_s, P_t` and :math:`P_s^\top P_t = U \cos(\Theta) V^\top`,
    the principal vectors are :math:`s_i = P_s u_i`, :math:`t_i = P_t v_i`, and

    .. math:: \mathrm{ROD} = \frac{1}{q} \sum_{i=1}^{q} \theta_i \left[
       \mathrm{KL}(S_i \Vert T_i) + \mathrm{KL}(T_i \Vert S_i) \right]

    where :math:`S_i, T_i` are Gaussian fits of the source rows projected on
    :math:`s_i` and the target rows projected on :math:`t_i`, both measured from the
    point halfway between the means of the domains, so that the origin of the features
    does not matter.

    References
    ----------
    .. [1] Gong et al., "Geodesic flow kernel for unsupervised domain adaptation",
       CVPR (2012), :doi:`10.1109/CVPR.2012.6247911`.

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.metrics import rank_of_domain
    >>> X = np.random.RandomState(0).normal(size=(50, 4)) * [4, 3, 2, 1]
    >>> rank_of_domain(X, X) < 1e-6 < rank_of_domain(X, 1 + X[:, ::-1])
    True
    """
    X_source, X_target = check_domain_pair(X_source, X_target, min_rows=2, center=True)
    source = _principal_basis(X_source, "X_source")
    target = _principal_basis(X_target, "X_target")
    rank = min(source.shape[1], target.shape[1])
    if n_components is None:
        n_components = (rank + 1) // 2
    if n_components > rank:
        raise ValueError(f"n_components={n_components} exceeds the rank {rank}.")
    source, target = source[:, :n_components], target[:, :n_components]
    U, cosines, Vt = np.linalg.svd(source.T @ target)
    principal_source, principal_target = source @ U, target @ Vt.T
    angles = _angles(principal_source, principal_target, cosines)
    S, T = X_source @ principal_source, X_target @ principal_target
    return float(np.mean(angles * _symmetric_kl(S, T)))


def _principal_basis(X: Any, name: str) -> NDArray[Any]:
    centered = X - X.mean(axis=0)
    _, values, Vt = np.linalg.svd(centered, full_matrices=False)
    rank = np.count_nonzero(values > values[0] * max(X.shape) * np.finfo(float).eps)
    if values[0] == 0:
        raise ValueError(f"All rows of {name} are the same.")
    return Vt[:rank].T


def _angles(
    principal_source: NDArray[Any],
    principal_target: NDArray[Any],
    cosines: NDArray[Any],
) -> NDArray[Any]:
    """Return the angles; small ones from their sines, which keep their digits."""
    residual = principal_target - principal_source * cosines
    sines = np.linalg.norm(residual, axis=0)
    return np.arctan2(sines, np.clip(cosines, 0, 1))


def _symmetric_kl(S: NDArray[Any], T: NDArray[Any]) -> NDArray[Any]:
    """Return the sum of both divergences of the Gaussian fits, column by column."""
    var_s, var_t = S.var(axis=0), T.var(axis=0)
    gap = (S.mean(axis=0) - T.mean(axis=0)) ** 2
    return (var_s / var_t + var_t / var_s + gap * (1 / var_s + 1 / var_t)) / 2 - 1
