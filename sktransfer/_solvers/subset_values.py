"""What the parts of a whole are worth, from the values of subsets of them."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def draw_subsets(
    n_parts: int, n_subsets: int, rng: np.random.RandomState
) -> tuple[Array, bool]:
    """Return all subsets of the parts, or random ones with their complements.

    Parameters
    ----------
    n_parts : int
        Number of parts.
    n_subsets : int >= 2
        Most subsets.
    rng : RandomState
        Draws the subsets, each part with probability 1/2 and for itself.

    Returns
    -------
    subsets : ndarray of bool of shape (n_drawn, n_parts)
        All subsets, the empty one first, if there are at most ``n_subsets``; else
        ``n_subsets // 2`` random ones, each followed by its complement.
    exact : bool
        Whether these are all subsets.
    """
    if n_parts < 63 and 2**n_parts <= n_subsets:
        codes = np.arange(2**n_parts)
        return (codes[:, None] >> np.arange(n_parts)) % 2 == 1, True
    drawn = rng.random_sample((max(n_subsets // 2, 1), n_parts)) < 0.5
    return np.stack([drawn, ~drawn], axis=1).reshape(-1, n_parts), False


def banzhaf_contrasts(subsets: Array) -> Array:
    r"""Return the contrasts whose products with the values are the influences.

    Parameters
    ----------
    subsets : ndarray of bool of shape (n_subsets, n_parts)
        Which parts each subset has; every part is in half of them.

    Returns
    -------
    contrasts : ndarray of shape (n_parts, n_subsets)
        :math:`\pm 2 / m`: the mean over the subsets with the part less the mean over
        the others.
    """
    return np.where(subsets.T, 2.0, -2.0) / len(subsets)


def sampling_error(subsets: Array, values: Array) -> Array:
    r"""Return the standard errors of the influences over the draw of the subsets.

    Each subset and its complement give an unbiased value
    :math:`\pm (v(A) - v(A^c))` of the influence of each part, and these pairs are
    independent.

    Parameters
    ----------
    subsets : ndarray of bool of shape (n_subsets, n_parts)
        Random subsets, each followed by its complement.
    values : ndarray of shape (n_subsets,)
        Their values.

    Returns
    -------
    errors : ndarray of shape (n_parts,)
        Infinite for one pair.
    """
    steps = values[::2] - values[1::2]
    pairs = np.where(subsets[::2], steps[:, None], -steps[:, None])
    if len(pairs) < 2:
        return np.full(subsets.shape[1], np.inf)
    return np.asarray(np.std(pairs, axis=0, ddof=1) / np.sqrt(len(pairs)))


def linear_surrogate(
    subsets: Array, values: Array, ridge: float = 0.0
) -> tuple[float, Array]:
    r"""Fit :math:`v(A) \approx b_0 + \sum_{k \in A} b_k` by least squares.

    Parameters
    ----------
    subsets : ndarray of bool of shape (n_subsets, n_parts)
        Which parts each subset has.
    values : ndarray of shape (n_subsets,)
        Their values.
    ridge : float in [0, inf), default=0.0
        Penalty of the squared coefficients, relative to the number of subsets.

    Returns
    -------
    intercept : float
        :math:`b_0`, not penalized.
    coefficients : ndarray of shape (n_parts,)
        :math:`b_k`; those of least norm where the subsets do not decide.
    """
    design = subsets.astype(np.float64)
    center, mean = design.mean(axis=0), float(values.mean())
    rows, goal = design - center, values - mean
    if ridge > 0:
        root = np.sqrt(ridge * len(rows)) * np.eye(rows.shape[1])
        rows, goal = np.vstack([rows, root]), np.append(goal, np.zeros(len(root)))
    coefficients = np.linalg.lstsq(rows, goal, rcond=None)[0]
    return mean - float(center @ coefficients), coefficients
