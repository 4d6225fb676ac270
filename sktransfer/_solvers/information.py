r"""How many parameters rows determine, and the leverages of rows in a penalized fit.

The Fisher information of a model of linear predictors is a sum over rows,
:math:`H = \sum_i (B_i \otimes x_i^\top)^\top (B_i \otimes x_i^\top)`, with a prior
precision :math:`\Lambda` on the coefficients and free intercepts. The smaller of its
two Gram matrices is factored: a matrix of all parameters is never formed where there
are fewer rows.

A free intercept makes the offset of a feature a matter of notation, and without a
penalty its unit too. So columns are centered and scaled before any value is compared
with another one.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg, sparse

Array = npt.NDArray[Any]

#: precision of an intercept, in units of that of a coefficient of spread 1
_FREE = 1e-8
#: singular values of equilibrated matrices below this, relative to the largest, are 0
_RANK = 1e-9
#: the same for eigenvalues of their Gram matrices, which are the squares
_RANK_GRAM = 1e-12
#: and for those of single precision
_RANK_SINGLE = 1e-6
_RIDGE = 1e-11
#: least size of a matrix that is worth single precision
_LARGE = 500
_BLOCK = 256


def column_units(
    X: Any, mass: Array, intercept: bool, *, spread: bool = True
) -> tuple[Array, Array]:
    """Center and spread of the columns, by the information of the rows.

    Parameters
    ----------
    X : {ndarray, sparse matrix} of shape (n, d)
        Rows.
    mass : ndarray of shape (n,)
        Nonnegative weights of the rows.
    intercept : bool
        Whether an intercept takes up the center; if not it is 0.
    spread : bool, default=True
        Whether the spread is needed; if not, it is 1.

    Returns
    -------
    center : ndarray of shape (d,)
        Weighted means, or zeros.
    scale : ndarray of shape (d,)
        Root mean squares around the center; infinite for a column that does not vary
        beyond rounding, which then is 0 in these units.
    """
    n, d = X.shape
    total = float(mass.sum())
    share = mass / total if total > 0 else np.full(n, 1.0 / max(n, 1))
    center, scale = np.zeros(d), np.ones(d)
    columns = X.tocsc() if sparse.issparse(X) else X
    for start in range(0, d, _BLOCK):
        part = slice(start, start + _BLOCK)
        block = _dense(columns[:, part])
        if intercept:
            # around a row first: the mean of large numbers loses digits
            first = block[0] if n else 0.0
            center[part] = first + share @ (block - first)
        if not spread:
            continue
        size = np.sqrt(share @ (block - center[part]) ** 2)
        rounding = 8 * np.finfo(float).eps * np.max(np.abs(block), axis=0, initial=0.0)
        scale[part] = np.where(size > rounding, size, np.inf)
    return center, scale


def row_products(X: Any, center: Array, factor: Array) -> Array:
    """Return ``Z @ Z.T`` for ``Z = (X - center) * factor`` without a dense Z.

    Parameters
    ----------
    X : {ndarray, sparse matrix} of shape (n, d)
        Rows.
    center, factor : ndarray of shape (d,)
        Center and factor of each column.

    Returns
    -------
    K : ndarray of shape (n, n)
        The products.
    """
    if not sparse.issparse(X):
        Z = X - center
        if np.any(factor != 1):
            Z *= factor
        return np.asarray(Z @ Z.T)
    shift = center * factor
    far = np.abs(shift) > 1e3  # here the products of sparse rows lose digits
    K = np.zeros((X.shape[0], X.shape[0]))
    if far.any():
        K += row_products(_dense(X[:, far]), center[far], factor[far])
    S = X[:, ~far] @ sparse.diags_array(factor[~far])
    offset = np.asarray(S @ shift[~far])
    K += _dense(S @ S.T) - offset[:, None] - offset + shift[~far] @ shift[~far]
    return K


def effective_parameters(
    X: Any,
    B: Array,
    intercept: bool,
    penalty: Array,
    *,
    power: int,
) -> float:
    r"""Count the parameters that rows determine against a penalty.

    Parameters
    ----------
    X : {ndarray, sparse matrix} of shape (n, d)
        Rows.
    B : ndarray of shape (n, r, q)
        Factors, scaled so that the sum over rows is the information H.
    intercept : bool
        Whether every output has a free parameter that multiplies 1.
    penalty : ndarray of shape (q,)
        Precision of the coefficients of each output; all 0: no penalty.
    power : {1, 2}
        Power of the shrinkage.

    Returns
    -------
    d : float
        :math:`\mathrm{tr}[(H (H + \Lambda)^{-1})^{\text{power}}]`; the rank of H
        without a penalty.
    """
    n, r, q = B.shape
    narrow, free = q * (X.shape[1] + intercept) < n * r, not np.any(penalty > 0)
    mass = np.sum(B**2, axis=(1, 2))
    center, scale = column_units(X, mass, intercept, spread=narrow or free)
    if free:
        return float(_rank(X, B, intercept, center, scale))
    if narrow:
        Z = _standardized(X, center, scale, intercept)
        M = _primal(Z, B)
        precision = _precision(penalty, scale, intercept)
        F = _solve_equilibrated(M + np.diag(precision), M)
        return float(np.trace(F)) if power == 1 else float(np.sum(F * F.T))
    S = _residual_maker(X, B, intercept, penalty, center, n * r)
    trace = float(n * r - np.trace(S))
    if power == 1:
        return trace
    return float(2 * trace - n * r + np.sum(S * S))


def leverage_of_first(
    X: Any,
    B: Array,
    n_first: int,
    intercept: bool,
    penalty: Array,
    *,
    room: float = 0.0,
) -> float:
    r"""Sum the leverages of the first rows in a penalized fit to all rows.

    Parameters
    ----------
    X : {ndarray, sparse matrix} of shape (n, d)
        Rows.
    B : ndarray of shape (n, r, q)
        Factors, scaled so that the sum over rows is the information H.
    n_first : int
        Number of rows :math:`i \le n_1` whose leverages are summed.
    intercept : bool
        Whether every output has a free parameter that multiplies 1.
    penalty : ndarray of shape (q,)
        Precision of the coefficients of each output.
    room : float, default=0.0
        Error that is allowed: large matrices are factored in single precision where
        its rounding is less.

    Returns
    -------
    trace : float
        :math:`\mathrm{tr}[H_1 (H + \Lambda)^{-1}]` with :math:`H_1` the sum over the
        first rows; the pseudoinverse where nothing determines a parameter.
    """
    n, r, q = B.shape
    first = n_first * r
    narrow, free = q * (X.shape[1] + intercept) < n * r, not np.any(penalty > 0)
    mass = np.sum(B**2, axis=(1, 2))
    center, scale = column_units(X, mass, intercept, spread=narrow or free)
    if narrow:
        Z = _standardized(X, center, scale, intercept)
        H = _primal(Z, B) + np.diag(_precision(penalty, scale, intercept))
        own = _primal(Z[:n_first], B[:n_first])
        return float(np.trace(_solve_equilibrated(H, own)))
    if not free:
        S = _residual_maker(X, B, intercept, penalty, center, first, room)
        return float(first - np.trace(S))
    M = _dual(row_products(X, center, 1 / scale) + intercept, _per_output(B))
    values, vectors = linalg.eigh(M, check_finite=False)
    seen = values > _RANK_GRAM * values.max(initial=0.0)
    return float(np.sum(vectors[:first, seen] ** 2))


def _dense(X: Any) -> Array:
    return np.asarray(X.toarray() if sparse.issparse(X) else X, dtype=np.float64)


def _standardized(X: Any, center: Array, scale: Array, intercept: bool) -> Array:
    Z = (_dense(X) - center) / scale
    return np.hstack([Z, np.ones((len(Z), 1))]) if intercept else Z


def _precision(penalty: Array, scale: Array, intercept: bool) -> Array:
    """Precision of the parameters of centered and scaled columns, output by output."""
    relative = 1 / scale**2
    if intercept:
        relative = np.append(relative, _FREE)
    return np.outer(penalty, relative).ravel()


def _primal(Z: Array, B: Array) -> Array:
    q, width = B.shape[2], Z.shape[1]
    W = np.einsum("nrq,nrp->qpn", B, B)
    M = np.empty((q, width, q, width))
    for i in range(q):
        for k in range(i, q):
            M[i, :, k] = Z.T @ (W[i, k][:, None] * Z)
            M[k, :, i] = M[i, :, k].T
    return M.reshape(q * width, q * width)


def _dual(K: Array, B: Array) -> Array:
    n, r, q = B.shape
    flat = B.reshape(n * r, q)
    if r == 1:
        return np.asarray(K * (flat @ flat.T))
    M: Array = flat @ flat.T
    blocks = M.reshape(n, r, n * r)
    blocks *= np.repeat(K, r, axis=1)[:, None]
    return M


def _per_output(B: Array) -> Array:
    """Measure every output in its own units, as a parameter without a prior may be."""
    size = np.sqrt(np.mean(B**2, axis=(0, 1)))
    return B / np.where(size > 0, size, 1.0)


def _rank(X: Any, B: Array, intercept: bool, center: Array, scale: Array) -> int:
    n, r, q = B.shape
    B = _per_output(B)
    if q == 1 and r == 1 and min(n, X.shape[1]) <= 1000:
        R = B[:, 0] * _standardized(X, center, scale, intercept)
        values = linalg.svdvals(R, check_finite=False)
        return int(np.sum(values > _RANK * values.max(initial=0.0)))
    if q * (X.shape[1] + intercept) < n * r:
        M = _primal(_standardized(X, center, scale, intercept), B)
    else:
        M = _dual(row_products(X, center, 1 / scale) + intercept, B)
    values = linalg.eigvalsh(M, check_finite=False)
    return int(np.sum(values > _RANK_GRAM * values.max(initial=0.0)))


def _solve_equilibrated(H: Array, M: Array) -> Array:
    """Solve H F = M in units in which the diagonal of H is 1, with a tiny ridge."""
    diagonal = H.diagonal()
    unit = np.where(diagonal > 0, 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1)), 0)
    A = unit[:, None] * H * unit + _RIDGE * np.eye(len(H))
    factor = linalg.cho_factor(A, overwrite_a=True, check_finite=False)
    scaled = unit[:, None] * M * unit
    F: Array = linalg.cho_solve(factor, scaled, check_finite=False)
    return F


def _residual_maker(
    X: Any,
    B: Array,
    intercept: bool,
    penalty: Array,
    center: Array,
    first: int,
    room: float = 0.0,
) -> Array:
    r"""Return the leading block of :math:`(I + R \Lambda^{-1} R')^{-1}`, R the root.

    Taken in reverse order the leading rows come last, and the last block of the
    inverse needs the last block of the Cholesky factor only. An error E of the matrix
    changes the trace by less than its norm times the trace, as the inverse is at most
    1; the rounding of a factorization is about the root of the size.
    """
    n, r, _ = B.shape
    # an output without a penalty beside one with it has almost none
    weighted = B / np.sqrt(np.where(penalty > 0, penalty, 1e-10 * penalty.max()))
    weighted = weighted[::-1, ::-1]
    K = row_products(X, center, np.ones(X.shape[1]))[::-1, ::-1]
    single = n * r >= _LARGE and room > 0
    if single:
        with np.errstate(over="ignore", invalid="ignore"):
            M = _dual(K.astype(np.float32), weighted.astype(np.float32))
            norm = float(np.linalg.norm(M)) + 1.0
        error = 2 * np.sqrt(n * r) * float(np.finfo(np.float32).eps) * norm * first
        single = error <= room
    if not single:
        M = _dual(K, weighted)
    M[np.arange(n * r), np.arange(n * r)] += 1.0
    # LAPACK reads M.T, so nothing is copied; M is symmetric
    try:
        L = linalg.cholesky(M.T, lower=True, overwrite_a=True, check_finite=False)
    except linalg.LinAlgError:
        U = weighted.reshape(n * r, -1) if intercept else None
        return _residual_of_rounded(_dual(K, weighted), U, first)[::-1, ::-1]
    corner = L[n * r - first :, n * r - first :]
    half = linalg.solve_triangular(
        corner.astype(np.float64), np.eye(first), lower=True, check_finite=False
    )
    S: Array = half.T @ half
    if intercept:
        # the prior of the intercepts is as good as none: Woodbury's identity
        U = weighted.reshape(n * r, -1).astype(M.dtype)
        V = linalg.solve_triangular(L, U, lower=True, check_finite=False)
        V = V.astype(np.float64)
        W = half.T @ V[n * r - first :]
        G = V.T @ V
        if single:  # what the outputs have not in common alone is more than rounding
            values, vectors = linalg.eigh(G, check_finite=False)
            seen = values > _RANK_SINGLE * values.max(initial=0.0)
            W = W @ vectors[:, seen]
            G = np.diag(values[seen])
        G += _FREE * np.eye(len(G))
        S = S - W @ linalg.solve(G, W.T, assume_a="pos", check_finite=False)
    return S[::-1, ::-1]


def _residual_of_rounded(M: Array, U: Array | None, first: int) -> Array:
    """Return the same for a matrix whose rounding exceeds 1, from its eigenvalues."""
    values, vectors = linalg.eigh(M, check_finite=False)
    rounding = len(M) * np.finfo(float).eps * values.max(initial=0.0)
    half = (vectors / np.sqrt(1.0 + np.where(values > rounding, values, 0.0))).T
    last = half[:, len(M) - first :]
    S: Array = last.T @ last
    if U is not None:
        V = half @ U
        W, G = last.T @ V, V.T @ V + _FREE * np.eye(U.shape[1])
        S = S - W @ linalg.solve(G, W.T, assume_a="pos", check_finite=False)
    return S
