r"""Means and variances of several domains, shrunk by what the domains have in common.

Domain k shows the estimate :math:`b_k` with the sampling variance :math:`v_k`, and
:math:`b_k \sim N(m, t + v_k)`. The variance t between domains solves

.. math:: Q(t) = \sum_k \frac{(b_k - m(t))^2}{t + v_k} = K - 1,

(Paule and Mandel 1982), which has one solution, or none above 0. Variances follow the
same equation on the log scale: :math:`s_k^2` on :math:`d_k` degrees of freedom has
:math:`\mathrm{var} \log s_k^2 = \psi'(d_k / 2)` (Smyth 2004).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, polygamma

Array = NDArray[np.float64]

_BISECTIONS = 100
_FEW = 1e-12


def between_variance(estimates: Array, variances: Array) -> tuple[Array, Array]:
    """Return the mean over domains and the variance between them, for each column.

    Parameters
    ----------
    estimates : ndarray of shape (n_domains, n_columns)
        Estimates of the domains; those of infinite variance do not count.
    variances : ndarray of shape (n_domains, n_columns)
        Their sampling variances.

    Returns
    -------
    mean : ndarray of shape (n_columns,)
        Weighted by ``1 / (between + variances)``; 0 without any estimate.
    between : ndarray of shape (n_columns,)
        Root of Q; 0 if Q(0) is at most K - 1, infinite if fewer than two domains count.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    if estimates.shape != variances.shape:
        raise ValueError(
            f"estimates and variances differ in shape: {estimates.shape} and "
            f"{variances.shape}."
        )
    known = np.isfinite(variances)
    b = np.where(known, estimates, 0.0)
    n_known = known.sum(axis=0)
    # in units of the spread of each column, so that no step depends on its scale
    unit = np.abs(b - b.mean(axis=0)).max(axis=0, initial=0.0)
    unit = np.maximum(unit, np.sqrt(np.where(known, variances, 0.0).max(axis=0)))
    unit = np.where(unit > 0, unit, 1.0)
    v = np.where(known, variances, np.inf) / unit**2
    center = b.sum(axis=0) / np.maximum(n_known, 1)
    b = np.where(known, (b - center) / unit, 0.0)

    def at(t: Array) -> tuple[Array, Array]:
        weights = np.where(known, 1 / np.maximum(t + v, _FEW**2), 0.0)
        mean = (weights * b).sum(axis=0) / np.maximum(weights.sum(axis=0), _FEW**2)
        return mean, (weights * (b - mean) ** 2).sum(axis=0)

    low, high = np.zeros(b.shape[1]), np.full(b.shape[1], 4.0 * len(b) + 1)
    some = at(low)[1] > n_known - 1 + 1e-9
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        above = at(middle)[1] > n_known - 1
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    t = np.where(some, (low + high) / 2, 0.0)
    mean = np.where(n_known > 0, at(t)[0] * unit + center, 0.0)
    return mean, np.where(n_known < 2, np.inf, t * unit**2)


def variance_prior(variances: Array, dof: Array) -> tuple[Array, Array]:
    r"""Return the common variance and the degrees of freedom that it is worth.

    Parameters
    ----------
    variances : ndarray of shape (n_domains, n_columns)
        Sample variances :math:`s_k^2` of the domains.
    dof : ndarray of shape (n_domains, n_columns)
        Their degrees of freedom :math:`d_k`; 0: there is no variance.

    Returns
    -------
    common : ndarray of shape (n_columns,)
        Common variance :math:`s_0^2`; 0 if no domain has a positive variance.
    prior_dof : ndarray of shape (n_columns,)
        :math:`d_0` with :math:`\psi'(d_0 / 2) = t`: infinite if the domains differ no
        more than by chance, 0 with fewer than two domains.
    """
    known = (dof > 0) & (variances > 0)
    half = np.where(known, dof, 2.0) / 2
    logs = np.log(np.where(known, variances, 1.0)) - digamma(half) + np.log(half)
    mean, between = between_variance(
        np.where(known, logs, 0.0), np.where(known, polygamma(1, half), np.inf)
    )
    single = known.sum(axis=0) == 1
    only = np.where(known, variances, 0.0).sum(axis=0)
    common = np.where(known.any(axis=0), np.where(single, only, np.exp(mean)), 0.0)
    prior_dof = 2 * inverse_trigamma(np.where(np.isinf(between), np.inf, between))
    return common, prior_dof


def inverse_trigamma(values: Any) -> Array:
    r"""Return x with :math:`\psi'(x) = y`: infinite for y = 0, 0 for infinite y."""
    y = np.atleast_1d(np.asarray(values, dtype=np.float64))
    inside = (y > _FEW) & np.isfinite(y)
    safe = np.where(inside, y, 1.0)
    x = 0.5 + 1 / safe
    for _ in range(60):  # Newton's method on 1 / trigamma, which is nearly linear
        trigamma = polygamma(1, x)
        step = trigamma * (1 - trigamma / safe) / polygamma(2, x)
        x = np.maximum(x + step, x / 10)
        if np.max(np.abs(step) / x, initial=0.0) < 1e-12:
            break
    return np.where(inside, x, np.where(y <= _FEW, np.inf, 0.0))


def posterior_variance(
    variances: Array, dof: Array, common: Any, prior_dof: Any
) -> Array:
    r"""Return :math:`(d_0 s_0^2 + d_k s_k^2) / (d_0 + d_k)`, columns as above."""
    share = prior_share(prior_dof, dof)
    own = np.where(dof > 0, variances, 0.0)
    return np.asarray(share * common + (1 - share) * own)


def prior_share(prior: Any, own: Any) -> Array:
    """Return prior / (prior + own), 1 for an infinite prior or where both are 0."""
    prior, own = np.broadcast_arrays(
        np.asarray(prior, dtype=np.float64), np.asarray(own, dtype=np.float64)
    )
    total = np.where(np.isinf(prior), 1.0, prior) + own
    share = np.where(np.isinf(prior), 1.0, prior) / np.where(total > 0, total, 1.0)
    return np.where(np.isinf(prior) | (total <= 0), 1.0, share)
