r"""Blocks of augmented features, and the root of their agreement penalty.

References
----------
A. Kumar, A. Saha, H. Daume III. Co-regularization based semi-supervised domain
adaptation. NeurIPS, 2010.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg

Array = npt.NDArray[Any]


def agreement_roots(
    second_moment: Array, agreement: float, n_sources: int
) -> list[tuple[Array, Array]]:
    r"""Split :math:`(I + \gamma L \otimes C)^{-1/2}` by the eigenvalues of L.

    L is the Laplacian of the star that joins every source to the target, the last of
    its ``n_sources + 1`` nodes, so :math:`w'(L \otimes C)w = \sum_k \mathrm{mean}_x
    (w_k'x - w_t'x)^2` over the samples with second moment C.

    Parameters
    ----------
    second_moment : ndarray of shape (r, r)
        C.
    agreement : float
        Weight :math:`\gamma` of the penalty.
    n_sources : int
        Number of sources.

    Returns
    -------
    list of (ndarray of shape (n_sources + 1, n_sources + 1), ndarray of shape (r, r))
        Projections P and matrices S with the root :math:`\sum P \otimes S`.
    """
    size = n_sources + 1
    laplacian = np.diag([1.0] * n_sources + [float(n_sources)])
    laplacian[:-1, -1] = laplacian[-1, :-1] = -1.0
    values, vectors = linalg.eigh(laplacian)
    moments, axes = linalg.eigh(second_moment, check_finite=False)
    moments = np.maximum(moments, 0.0)
    roots = []
    for value in (0.0, 1.0, float(size)):
        group = vectors[:, np.abs(values - value) < 0.25]
        if group.shape[1]:
            scale = 1.0 / np.sqrt(1.0 + agreement * value * moments)
            roots.append((group @ group.T, (axes * scale) @ axes.T))
    return roots
