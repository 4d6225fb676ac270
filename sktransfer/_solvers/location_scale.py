r"""Location and scale of each feature by the least maximum mean discrepancy.

.. math:: \min_{a, b} \; \lVert \overline{\phi(a \odot x + b)} - \overline{\phi(z)}
    \rVert^2

over the source rows x and target rows z, with :math:`\phi` the feature map of an RBF
kernel, or random Fourier features of it.

References
----------
K. Zhang, B. Schoelkopf, K. Muandet, Z. Wang. Domain adaptation under target and
conditional shift. ICML, 2013.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from sklearn.utils import check_random_state

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class LocationScaleInfo:
    """How the fit of location and scale ended.

    Attributes
    ----------
    mmd2 : float
        Squared discrepancy after the map, without the penalty.
    start_mmd2 : float
        Squared discrepancy of rows that are moved to the target's mean and spread.
    gradient : float
        Largest entry of the gradient in size, in standardized units.
    n_iter : int
        Iterations of L-BFGS.
    converged : bool
        Whether the optimizer met its tolerance.
    """

    mmd2: float
    start_mmd2: float
    gradient: float
    n_iter: int
    converged: bool


def fit_location_scale(
    X: Array,
    Z: Array,
    *,
    gamma: float,
    reg: float = 0.0,
    n_random_features: int | None = None,
    max_iter: int = 200,
    tol: float = 1e-7,
    random_state: Any = 0,
) -> tuple[Array, Array, LocationScaleInfo]:
    """Fit a map ``x * scale + location`` of each feature.

    Parameters
    ----------
    X : ndarray of shape (n_source, n_features)
        Source rows.
    Z : ndarray of shape (n_target, n_features)
        Target rows.
    gamma : float
        Width of the kernel.
    reg : float, default=0.0
        Weight of the squared distance from the start, the map that only equates means
        and spreads, in units of the target's spreads.
    n_random_features : int, default=None
        None: the exact kernel, quadratic in the rows. Else the number of random
        Fourier features.
    max_iter : int, default=200
        Largest number of iterations.
    tol : float, default=1e-7
        Tolerance of the gradient.
    random_state : int, RandomState instance or None, default=0
        Seed of the features.

    Returns
    -------
    scale, location : ndarray of shape (n_features,)
        The map.
    info : LocationScaleInfo
        Its certificate.
    """
    X, Z = X.astype(np.float64), Z.astype(np.float64)
    center, spread = Z.mean(axis=0), _spread(Z)
    source_center, source_spread = X.mean(axis=0), _spread(X)
    # rows of mean 0 and spread 1: the start is scale 1, location 0
    standard = (X - source_center) / source_spread
    d = X.shape[1]
    if n_random_features is None:
        value = _exact_objective(standard * spread, Z - center, gamma)
    else:
        rng = check_random_state(random_state)
        value = _random_objective(
            standard * spread, Z - center, gamma, n_random_features, rng
        )

    def objective(parameters: Array) -> tuple[float, Array]:
        scale, shift = parameters[:d], parameters[d:]
        mmd2, by_scale, by_shift = value(scale, shift * spread)
        change = np.concatenate([scale - 1, shift])
        gradient = np.concatenate([by_scale, by_shift * spread]) + 2 * reg * change
        return mmd2 + reg * float(change @ change), gradient

    start = np.concatenate([np.ones(d), np.zeros(d)])
    found = minimize(
        objective,
        start,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": max_iter, "gtol": tol, "ftol": 1e-15, "maxcor": 20},
    )
    scale = found.x[:d] * spread / source_spread
    location = center + found.x[d:] * spread - source_center * scale
    mmd2 = value(found.x[:d], found.x[d:] * spread)[0]
    info = LocationScaleInfo(
        mmd2=max(float(mmd2), 0.0),
        start_mmd2=max(float(value(start[:d], start[d:])[0]), 0.0),
        gradient=float(np.abs(found.jac).max()),
        n_iter=int(found.nit),
        converged=int(found.nit) < max_iter,
    )
    return scale, location, info


def _spread(X: Array) -> Array:
    spread = X.std(axis=0)
    return np.where(spread > 0, spread, 1.0)


def _exact_objective(X: Array, Z: Array, gamma: float) -> Any:
    squares = np.einsum("ij,ij->i", Z, Z)
    exponent = 2 * gamma * (Z @ Z.T) - gamma * (squares[:, None] + squares)
    constant = float(np.exp(np.minimum(exponent, 0.0)).mean())

    def value(scale: Array, shift: Array) -> tuple[float, Array, Array]:
        moved = X * scale + shift
        n = len(moved)
        own = np.einsum("ij,ij->i", moved, moved)
        K = np.exp(
            np.minimum(2 * gamma * moved @ moved.T - gamma * (own[:, None] + own), 0.0)
        )
        C = np.exp(
            np.minimum(2 * gamma * moved @ Z.T - gamma * (own[:, None] + squares), 0.0)
        )
        mmd2 = float(K.mean()) + constant - 2 * float(C.mean())
        # derivative by each moved row
        within = 2 * (moved * K.sum(axis=1)[:, None] - K @ moved) / n**2
        across = (moved * C.sum(axis=1)[:, None] - C @ Z) / (n * len(Z))
        by_row = -2 * gamma * within + 4 * gamma * across
        return mmd2, np.einsum("ij,ij->j", by_row, X), by_row.sum(axis=0)

    return value


def _random_objective(X: Array, Z: Array, gamma: float, m: int, rng: Any) -> Any:
    omega = rng.normal(scale=np.sqrt(2 * gamma), size=(X.shape[1], m))

    def mean_of(rows: Array) -> tuple[Array, Array, Array]:
        phase = rows @ omega
        cosine, sine = np.cos(phase), np.sin(phase)
        return cosine, sine, np.concatenate([cosine.mean(0), sine.mean(0)])

    goal = mean_of(Z)[2]

    def value(scale: Array, shift: Array) -> tuple[float, Array, Array]:
        cosine, sine, mean = mean_of(X * scale + shift)
        rest = mean - goal
        weight = cosine * rest[m:] - sine * rest[:m]
        by_row = (2 / (m * len(X))) * (weight @ omega.T)
        mmd2 = float(rest @ rest) / m
        return mmd2, np.einsum("ij,ij->j", by_row, X), by_row.sum(axis=0)

    return value
