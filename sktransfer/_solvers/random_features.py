r"""Estimates of the maximum mean discrepancy in linear time.

.. math:: \mathrm{MMD}^2 = \mathbb E\, k(x, x') + \mathbb E\, k(y, y') - 2 \mathbb E\,
    k(x, y)
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.kernel_approximation import RBFSampler
from sklearn.utils import check_random_state, gen_batches

from sktransfer._solvers.kernels import kernel_matrix

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class MMDInfo:
    """How good an estimate of the squared discrepancy is.

    Attributes
    ----------
    stderr : float
        Standard error of the estimate, of the method's own randomness for "features"
        and of the sampling of the rows for "blocks".
    n_used : int
        Number of features or of blocks.
    """

    stderr: float
    n_used: int


def mmd2_random_features(
    X: Any,
    Y: Any,
    *,
    gamma: float,
    n_features: int = 1000,
    random_state: Any = 0,
    batch_size: int = 4096,
) -> tuple[float, MMDInfo]:
    """Estimate the biased squared MMD of an RBF kernel by random Fourier features.

    Parameters
    ----------
    X, Y : {ndarray, sparse matrix} of shape (n_samples, n_features)
        The two samples.
    gamma : float
        Width of the kernel.
    n_features : int, default=1000
        Number of random features; the error falls with its square root.
    random_state : int, RandomState instance or None, default=0
        Seed of the features.
    batch_size : int, default=4096
        Rows whose features are held at once.

    Returns
    -------
    value : float
        The estimate, at least 0; 0 for equal samples.
    info : MMDInfo
        Its standard error over the features.
    """
    sampler = RBFSampler(
        gamma=gamma, n_components=n_features, random_state=random_state
    ).fit(X[:1])
    difference = np.zeros(n_features)
    for rows, sign in ((X, 1.0), (Y, -1.0)):
        for batch in gen_batches(rows.shape[0], batch_size):
            total = sampler.transform(rows[batch]).sum(axis=0, dtype=np.float64)
            difference += sign * total / rows.shape[0]
    parts = n_features * difference**2
    stderr = float(parts.std(ddof=1) / np.sqrt(n_features)) if n_features > 1 else 0.0
    return float(parts.mean()), MMDInfo(stderr, n_features)


def mmd2_blocks(
    X: Any,
    Y: Any,
    *,
    block_size: int = 100,
    random_state: Any = 0,
    **kernel_options: Any,
) -> tuple[float, MMDInfo]:
    """Estimate the squared MMD without bias as the mean over disjoint blocks of rows.

    Each block takes as many rows of either sample and gives the unbiased estimate;
    rows beyond the last full block are not used. Works for every kernel.

    Parameters
    ----------
    X, Y : {ndarray, sparse matrix} of shape (n_samples, n_features)
        The two samples, two rows at least.
    block_size : int, default=100
        Rows of each sample in a block; the cost is linear in the rows and in this.
    random_state : int, RandomState instance or None, default=0
        Seed of the order in which rows fall into blocks.
    **kernel_options : dict
        As in :func:`~sktransfer._solvers.kernels.kernel_matrix`.

    Returns
    -------
    value : float
        The estimate; it may be negative.
    info : MMDInfo
        Its standard error over the blocks (nan with one block).
    """
    rng = check_random_state(random_state)
    n = min(X.shape[0], Y.shape[0])
    size = min(block_size, n)
    n_blocks = n // size
    order_x = rng.permutation(X.shape[0])
    order_y = rng.permutation(Y.shape[0])
    values = np.empty(n_blocks)
    for block in range(n_blocks):
        part = slice(block * size, (block + 1) * size)
        A, B = X[order_x[part]], Y[order_y[part]]
        values[block] = _unbiased(A, B, kernel_options)
    stderr = values.std(ddof=1) / np.sqrt(n_blocks) if n_blocks > 1 else np.nan
    return float(values.mean()), MMDInfo(float(stderr), n_blocks)


def _unbiased(A: Any, B: Any, options: dict[str, Any]) -> float:
    size = A.shape[0]
    within = 0.0
    for rows in (A, B):
        K = kernel_matrix(rows, **options)
        within += (float(K.sum()) - float(np.trace(K))) / (size * (size - 1))
    return within - 2.0 * float(kernel_matrix(A, B, **options).mean())
