r"""Partial least squares whose weights see where the domains agree.

References
----------
R. Nikzad-Langerodi, W. Zellinger, E. Lughofer, S. Saminger-Platz. Domain-invariant
partial-least-squares regression. Analytical Chemistry 90(11), 2018.
:doi:`10.1021/acs.analchem.8b00498`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class PLSFit:
    """Weights, loadings and coefficients of partial least squares.

    Attributes
    ----------
    weights : ndarray of shape (n_features, n_components)
        Unit weights of each component, on deflated rows; 0 beyond the rank.
    loadings : ndarray of shape (n_features, n_components)
        Loadings of the rows.
    label_loadings : ndarray of shape (n_components,)
        Loadings of the labels.
    rotations : ndarray of shape (n_features, n_components)
        Scores are centered rows times these.
    coef : ndarray of shape (n_features,)
        Coefficients on centered rows.
    """

    weights: Array
    loadings: Array
    label_loadings: Array
    rotations: Array
    coef: Array


def absolute_difference(first: Array, second: Array) -> Array:
    """Return the difference of two covariances with absolute eigenvalues."""
    values, vectors = linalg.eigh(first - second, check_finite=False)
    return np.asarray((vectors * np.abs(values)) @ vectors.T)


def domain_invariant_pls(
    X: Array,
    y: Array,
    sources: list[Array],
    target: Array | None,
    *,
    n_components: int,
    penalty: float,
) -> PLSFit:
    r"""Fit components in turn on deflated rows.

    Each has the weights

    .. math:: w \propto (I + \lambda D / s)^{-1} X'y, \qquad
        D = \frac{1}{K} \sum_k |C_k - C_t|,

    with the covariances of the deflated domains and s the mean variance of a feature.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Labeled rows, centered.
    y : ndarray of shape (n_samples,)
        Their labels, centered.
    sources : list of ndarray of shape (n_k, n_features)
        Rows of each source, centered.
    target : ndarray of shape (n_target, n_features) or None
        Rows of the target, centered.
    n_components : int
        Number of components.
    penalty : float
        :math:`\lambda`.

    Returns
    -------
    PLSFit
        The fit.
    """
    d = X.shape[1]
    W, P = np.zeros((d, n_components)), np.zeros((d, n_components))
    q = np.zeros(n_components)
    X, y = X.copy(), y.copy()
    first = float(np.abs(X.T @ y).max(initial=0.0))
    for k in range(n_components):
        w = X.T @ y
        if np.abs(w).max(initial=0.0) <= 1e-12 * first:
            break
        if penalty > 0 and sources and target is not None:
            covariances = [_second(rows) for rows in sources]
            other = _second(target)
            D = np.mean([absolute_difference(C, other) for C in covariances], axis=0)
            scale = np.mean([np.trace(C) for C in [*covariances, other]]) / d
            if scale > 0:
                system = np.eye(d) + (penalty / scale) * D
                w = linalg.solve(system, w, assume_a="pos", check_finite=False)
        w = w / np.linalg.norm(w)
        t = X @ w
        size = float(t @ t)
        if size <= 0:
            break
        W[:, k], P[:, k], q[k] = w, X.T @ t / size, float(y @ t) / size
        X, y = X - np.multiply.outer(t, P[:, k]), y - q[k] * t
        sources = [_deflated(rows, w) for rows in sources]
        target = None if target is None else _deflated(target, w)
    used = int(np.count_nonzero(np.abs(W).sum(axis=0)))
    rotations = np.zeros((d, n_components))
    if used:
        inner = P[:, :used].T @ W[:, :used]
        rotations[:, :used] = W[:, :used] @ linalg.pinv(inner)
    return PLSFit(W, P, q, rotations, rotations @ q)


def _second(rows: Array) -> Array:
    return np.asarray(rows.T @ rows / max(len(rows) - 1, 1))


def _deflated(rows: Array, w: Array) -> Array:
    """Remove a component by its own loadings in this domain."""
    t = rows @ w
    size = float(t @ t)
    if size == 0:
        return rows
    return np.asarray(rows - np.multiply.outer(t, rows.T @ t / size))
