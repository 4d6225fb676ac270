"""Kernels, the median bandwidth, and kernel products in row chunks."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.linalg import blas
from sklearn.metrics.pairwise import (
    euclidean_distances,
    manhattan_distances,
    pairwise_kernels,
)
from sklearn.utils import check_random_state, gen_batches

from sktransfer._solvers.array_api import array_like, namespace_of, to_numpy

Array = npt.NDArray[Any]
KernelFunction = Callable[..., Any]
KernelSpec = str | KernelFunction

#: kernels for which a maximum mean discrepancy does not depend on the origin
ORIGIN_FREE_KERNELS = frozenset({"linear", "rbf", "laplacian"})
#: kernels whose matrix is positive semidefinite for every parameter value
PSD_KERNELS = frozenset({"linear", "rbf", "laplacian", "cosine"})
KERNELS = frozenset({"linear", "rbf", "poly", "sigmoid", "laplacian", "cosine"})
_USES_GAMMA = frozenset({"rbf", "poly", "sigmoid", "laplacian"})


def median_gamma(
    X: Any,
    *,
    kernel: KernelSpec = "rbf",
    max_rows: int = 2000,
    random_state: Any = 0,
) -> float:
    r"""Set the kernel width by the median rule.

    For every kernel but the Laplacian one,

    .. math:: \gamma = 1 / \operatorname{median}_{i<j} \lVert x_i - x_j \rVert_2^2,

    so that two rows at the median distance have an RBF kernel value of
    :math:`e^{-1}`. For the Laplacian kernel the median is that of
    :math:`\lVert x_i - x_j \rVert_1`.

    Up to ``max_rows`` rows all pairs count, and the value does not depend on the
    order of the rows. Beyond that, a seeded sample of ``max_rows`` rows stands for
    them: the rows are first ranked by a fixed projection of their values, so the
    same set of rows gives the same sample whatever its order (up to rounding).

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows of all domains together.
    kernel : str or callable, default="rbf"
        The kernel that the width is meant for.
    max_rows : int, default=2000
        Largest number of rows whose pairs are all compared.
    random_state : int, RandomState instance or None, default=0
        Seed of the sample of rows; unused up to ``max_rows`` rows.

    Returns
    -------
    float
        The width. A median of 0 falls back on the mean of the positive distances;
        where all rows are the same, the width is 1.
    """
    rows = X
    if X.shape[0] > max_rows:
        rows = X[order_free_sample(X, max_rows, random_state)]
    if rows.shape[0] < 2:
        return 1.0
    if kernel == "laplacian":
        distances = _manhattan_distances(rows, rows)
    else:
        distances = euclidean_distances(common_origin(rows)[0], squared=True)
    xp = namespace_of(distances)
    if xp is np:
        pairs = distances[np.triu_indices(rows.shape[0], k=1)]
        scale = float(np.median(pairs))
    else:
        upper = xp.triu(xp.ones_like(distances), k=1) > 0
        pairs = xp.sort(distances[upper])  # an even number has two middle ones
        n = pairs.shape[0]
        scale = float(pairs[(n - 1) // 2] + pairs[n // 2]) / 2
    # euclidean_distances by dot products leaves rounding where rows coincide
    noise = 1e-12 * float(xp.max(pairs))
    if scale <= noise:
        positive = pairs[pairs > noise]
        scale = float(xp.mean(positive)) if positive.shape[0] else 0.0
    return 1.0 / scale if scale > 0 else 1.0


def _manhattan_distances(X: Any, Y: Any) -> Any:
    """Compute distances as scikit-learn does, whose 1.8 leaves other libraries."""
    if namespace_of(X, Y) is np:
        return manhattan_distances(X, Y)
    return sum(abs(X[:, j][:, None] - Y[:, j]) for j in range(X.shape[1]))


def median_gamma_of_chunks(
    source: Iterable[Any],
    target: Iterable[Any],
    *,
    kernel: KernelSpec = "rbf",
    max_rows: int = 2000,
    random_state: Any = 0,
) -> float:
    """Set the width by :func:`median_gamma` of samples that come in chunks.

    Parameters
    ----------
    source, target : iterable of ndarray of shape (n_chunk, n_features)
        The samples of both domains; two passes.
    kernel, max_rows, random_state
        As in :func:`median_gamma`.

    Returns
    -------
    float
        The width.
    """
    chosen = order_free_ranks(chain(source, target), max_rows, random_state)
    return median_gamma(take_from_chunks(chain(source, target), chosen), kernel=kernel)


def common_origin(X: Any, Y: Any = None) -> tuple[Any, Any]:
    """Move rows to an origin in their midst, which changes no distance.

    Products of rows far from the origin (a year, a price, a time) lose the digits in
    which the rows differ.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows.
    Y : {array-like, sparse matrix} of shape (n_other, n_features), default=None
        Further rows, around whose mean the origin is put then.

    Returns
    -------
    X, Y : {ndarray, sparse matrix}
        The moved rows; of sparse ones the columns without a 0 are moved.
    """
    others = X if Y is None else Y
    if sparse.issparse(X) or sparse.issparse(others):
        return _move_full_columns(X, Y)
    xp = namespace_of(X, Y)
    if xp is not np:
        center = xp.mean(others, axis=0)
        return X - center, None if Y is None else Y - center
    X = np.asarray(X)
    kind = X.dtype if X.dtype.kind == "f" else np.float64
    center = np.mean(others, axis=0, dtype=np.float64).astype(kind)
    return X - center, None if Y is None else np.asarray(Y) - center


def _move_full_columns(X: Any, Y: Any) -> tuple[Any, Any]:
    parts = [sparse.csr_array(X)] + ([] if Y is None else [sparse.csr_array(Y)])
    full = np.ones(parts[0].shape[1], dtype=bool)
    for part in parts:
        counts = np.bincount(part.indices, minlength=len(full))
        full &= counts == part.shape[0]
    if not full.any():
        return X, Y
    center = np.where(full, np.asarray(parts[-1].mean(axis=0)).ravel(), 0.0)
    moved = []
    for part in parts:
        data = part.data - center[part.indices].astype(part.dtype)
        moved.append(sparse.csr_array((data, part.indices, part.indptr), part.shape))
    return moved[0], None if Y is None else moved[1]


def order_free_sample(X: Any, max_rows: int, random_state: Any) -> npt.NDArray[np.intp]:
    """Sample rows without replacement, the same ones whatever their order.

    The rows are ranked by a random projection of their values, and the sample is one
    of ranks; up to `max_rows` rows it is all of them in their rank's order.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows.
    max_rows : int
        Largest size of the sample.
    random_state : int, RandomState instance or None
        Seed of the projection and of the sample.

    Returns
    -------
    ndarray of shape (min(n_samples, max_rows),)
        Indices of the rows.
    """
    rng = check_random_state(random_state)
    direction = rng.standard_normal(X.shape[1])
    xp = namespace_of(X)
    if xp is not np:
        rank = xp.argsort(X @ array_like(direction, X), stable=True)
        if X.shape[0] <= max_rows:
            return rank  # type: ignore[no-any-return]
        kept = np.sort(rng.choice(X.shape[0], size=max_rows, replace=False))
        return rank[array_like(kept, X, xp.int64)]  # type: ignore[no-any-return]
    values = np.empty(X.shape[0])
    for rows in row_batches(X.shape[0], X.shape[1]):
        values[rows] = np.asarray(X[rows] @ direction).ravel()
    return sample_of_ranks(values, max_rows, rng)


def sample_of_ranks(
    values: Array, max_rows: int, rng: np.random.RandomState
) -> npt.NDArray[np.intp]:
    """Sample the ranks of some values; all in their order where they are few."""
    rank = np.argsort(values, kind="stable")
    if rank.size <= max_rows:
        return rank
    kept = np.sort(rng.choice(rank.size, size=max_rows, replace=False))
    chosen: npt.NDArray[np.intp] = rank[kept]
    return chosen


def order_free_ranks(
    chunks: Iterable[Any], max_rows: int, random_state: Any
) -> npt.NDArray[np.intp]:
    """Sample samples that come in chunks as :func:`order_free_sample` does.

    Parameters
    ----------
    chunks : iterable of array of shape (n_samples, n_features)
        The samples in parts; one pass.
    max_rows : int
        Largest size of the sample.
    random_state : int, RandomState instance or None
        Seed of the projection and of the sample.

    Returns
    -------
    ndarray of shape (min(n_samples, max_rows),)
        Indices of the samples, counted over the chunks.
    """
    rng = check_random_state(random_state)
    direction: Array | None = None
    values = []
    for X in chunks:
        if direction is None:
            direction = rng.standard_normal(X.shape[1])
        for rows in row_batches(X.shape[0], X.shape[1]):
            part = to_numpy(X[rows] @ array_like(direction, X))
            values.append(np.asarray(part).ravel())
    return sample_of_ranks(np.concatenate(values), max_rows, rng)


def take_from_chunks(chunks: Iterable[Any], rows: npt.NDArray[np.intp]) -> Any:
    """Collect samples that come in chunks, in the order asked for; one pass."""
    order = np.argsort(rows, kind="stable")
    wanted, parts, start = rows[order], [], 0
    for X in chunks:
        low, high = np.searchsorted(wanted, [start, start + X.shape[0]])
        if high > low:
            parts.append(X[_positions(wanted[low:high] - start, X)])
        start += X.shape[0]
    found = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return found[_positions(np.argsort(order, kind="stable"), found)]


def _positions(rows: npt.NDArray[np.intp], X: Any) -> Any:
    """Return indices as the library of X takes them."""
    return array_like(rows, X, getattr(namespace_of(X), "int64", None))


def resolve_gamma(
    gamma: float | str | None, X: Any, *, kernel: KernelSpec = "rbf"
) -> float | None:
    """Turn ``"median"``, ``"scale"``, None or a number into the width of a kernel.

    Parameters
    ----------
    gamma : float, {"median", "scale"} or None
        "median" is :func:`median_gamma`, "scale" is 1 / (n_features * X.var()),
        None is scikit-learn's 1 / n_features.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows of all domains together.
    kernel : str or callable, default="rbf"
        Kernels without a width (linear, cosine, callables) give None.

    Returns
    -------
    float or None
        The width, or None where the kernel has none.
    """
    if not (isinstance(kernel, str) and kernel in _USES_GAMMA):
        return None
    if gamma is None:
        return 1.0 / int(X.shape[1])
    if isinstance(gamma, str):
        if gamma == "median":
            return median_gamma(X, kernel=kernel)
        if gamma == "scale":
            if sparse.issparse(X):
                variance = float(X.multiply(X).mean() - X.mean() ** 2)
            else:
                variance = float(namespace_of(X).var(X))
            return 1.0 / (int(X.shape[1]) * variance) if variance > 0 else 1.0
        raise ValueError(f"gamma must be 'median', 'scale', None or > 0, got {gamma!r}")
    return float(gamma)


def kernel_matrix(
    X: Any,
    Y: Any = None,
    *,
    kernel: KernelSpec = "rbf",
    gamma: float | None = None,
    degree: float = 3,
    coef0: float = 1,
    kernel_params: Mapping[str, Any] | None = None,
) -> Array:
    """Compute a kernel matrix; float32 rows give a float32 matrix.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows of the matrix.
    Y : {array-like, sparse matrix} of shape (n_other, n_features), default=None
        Columns of the matrix; None: `X`.
    kernel : {"linear", "rbf", "poly", "sigmoid", "laplacian", "cosine"} or callable
        The kernel; a callable takes two rows and returns a number.
    gamma : float, default=None
        Width; None is 1 / n_features. Ignored by kernels without one.
    degree : float, default=3
        Degree of the polynomial kernel.
    coef0 : float, default=1
        Constant of the polynomial and sigmoid kernels.
    kernel_params : mapping, default=None
        Further arguments of a callable.

    Returns
    -------
    ndarray of shape (n_samples, n_other)
        The kernel matrix.
    """
    xp = namespace_of(X, Y)
    if callable(kernel):
        if xp is not np:
            raise ValueError(
                "kernel must be one of scikit-learn's, such as 'rbf', for arrays that "
                f"are not NumPy's; got {getattr(kernel, '__name__', kernel)!r}"
            )
        K = pairwise_kernels(X, Y, metric=kernel, **dict(kernel_params or {}))
    else:
        if kernel not in KERNELS:
            raise ValueError(
                f"kernel must be one of {sorted(KERNELS)} or a callable, got {kernel!r}"
            )
        if kernel == "laplacian" and xp is not np:
            gamma = 1.0 / X.shape[1] if gamma is None else gamma
            distances = _manhattan_distances(X, X if Y is None else Y)
            return xp.exp(-gamma * distances)  # type: ignore[no-any-return]
        # distances by dot products lose the digits that an offset takes
        left, right = common_origin(X, Y) if kernel == "rbf" else (X, Y)
        K = pairwise_kernels(
            left,
            right,
            metric=kernel,
            filter_params=True,
            gamma=gamma,
            degree=degree,
            coef0=coef0,
        )
    if xp is not np:
        return K  # type: ignore[no-any-return]
    K = K.toarray() if sparse.issparse(K) else np.asarray(K)
    if getattr(X, "dtype", None) == np.float32 and K.dtype != np.float32:
        K = K.astype(np.float32)
    return K


def kernel_diagonal(X: Any, **kernel_options: Any) -> Array:
    """Compute ``k(x, x)`` for every row without the matrix."""
    kernel = kernel_options.get("kernel", "rbf")
    xp = namespace_of(X)
    if isinstance(kernel, str) and kernel in {"rbf", "laplacian"}:
        return np.ones(X.shape[0]) if xp is np else xp.ones_like(X[:, 0])
    if isinstance(kernel, str) and kernel != "cosine":
        square = X.multiply(X).sum(axis=1) if sparse.issparse(X) else (X * X).sum(1)
        inner = square
        if xp is np:
            inner = np.asarray(square, dtype=np.float64).ravel()
        gamma = kernel_options.get("gamma")
        gamma = 1.0 / X.shape[1] if gamma is None else gamma
        coef0 = kernel_options.get("coef0", 1)
        if kernel == "poly":
            powers: Array = (gamma * inner + coef0) ** kernel_options.get("degree", 3)
            return powers
        if kernel == "sigmoid":
            inner = xp.tanh(gamma * inner + coef0)
        return inner  # type: ignore[no-any-return]
    if xp is not np:  # the cosine of a row with itself, which is 0 for one of zeros
        return xp.astype(xp.any(X != 0, axis=1), X.dtype)  # type: ignore[no-any-return]
    return np.array(
        [float(kernel_matrix(X[i : i + 1], **kernel_options)[0, 0]) for i in _rows(X)]
    )


def _rows(X: Any) -> range:
    return range(X.shape[0])


def row_batches(
    n_rows: int, n_columns: int, *, working_memory: float = 64.0
) -> Iterator[slice]:
    """Yield row slices whose float64 blocks take ``working_memory`` MiB at most."""
    size = max(1, int(working_memory * 2**20 / (8 * max(1, n_columns))))
    yield from gen_batches(n_rows, min(size, max(1, n_rows)))


def kernel_product(
    X: Any,
    Y: Any,
    right: Array,
    *,
    working_memory: float = 16.0,
    **kernel_options: Any,
) -> Array:
    """Compute ``k(X, Y) @ right`` in row chunks, never the whole matrix.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows.
    Y : {array-like, sparse matrix} of shape (n_other, n_features)
        Columns.
    right : ndarray of shape (n_other,) or (n_other, n_columns)
        What the matrix is multiplied with.
    working_memory : float, default=16.0
        MiB that one chunk of the matrix may take.
    **kernel_options : dict
        As in :func:`kernel_matrix`.

    Returns
    -------
    ndarray of shape (n_samples,) or (n_samples, n_columns)
        The product, in float64.
    """
    xp = namespace_of(X, Y, right)
    if xp is not np:
        batches = row_batches(X.shape[0], Y.shape[0], working_memory=working_memory)
        parts = [
            kernel_matrix(X[rows], Y, **kernel_options) @ right for rows in batches
        ]
        return xp.concat(parts)  # type: ignore[no-any-return]
    out = np.empty((X.shape[0], *right.shape[1:]))
    if kernel_options.get("kernel", "rbf") == "rbf" and not (
        sparse.issparse(X) or sparse.issparse(Y)
    ):
        gamma = kernel_options.get("gamma")
        gamma = 1.0 / X.shape[1] if gamma is None else float(gamma)
        return _rbf_product(X, Y, right, gamma, working_memory, out)
    for rows in row_batches(X.shape[0], Y.shape[0], working_memory=working_memory):
        out[rows] = kernel_matrix(X[rows], Y, **kernel_options) @ right
    return out


def _rbf_product(
    X: Any, Y: Any, right: Array, gamma: float, working_memory: float, out: Array
) -> Array:
    """Multiply with an RBF kernel, its exponent formed by one matrix product."""
    X, Y = np.asarray(X, dtype=np.float64), np.asarray(Y, dtype=np.float64)
    center = Y.mean(axis=0)  # short rows keep the rounding of the exponent small
    Y = Y - center
    columns = np.column_stack(
        [Y, np.ones(len(Y)), -gamma * np.einsum("ij,ij->i", Y, Y)]
    )
    for rows in row_batches(X.shape[0], Y.shape[0], working_memory=working_memory):
        part = X[rows] - center
        square = -gamma * np.einsum("ij,ij->i", part, part)
        block = np.column_stack([2 * gamma * part, square, np.ones(len(part))])
        exponent = block @ columns.T
        np.minimum(exponent, 0.0, out=exponent)
        out[rows] = np.exp(exponent, out=exponent) @ right
    return out


def symmetric_product(K: Any) -> Callable[[Array], Array]:
    """Prepare products of a symmetric matrix with vectors that read half of it."""
    names = {np.dtype(np.float64): "dsymv", np.dtype(np.float32): "ssymv"}
    plain = isinstance(K, np.ndarray) and K.flags.c_contiguous
    if K.dtype not in names or not plain:
        return lambda x: np.asarray(K @ x)
    symv = getattr(blas, names[K.dtype])
    transposed = K.T  # what BLAS calls column-major order

    def multiply(x: Array) -> Array:
        product: Array = symv(1.0, transposed, x, lower=1)
        return product

    return multiply


def kernel_row_means(X: Any, Y: Any, **kernel_options: Any) -> Array:
    """Compute the mean of ``k(x, y)`` over the rows of `Y` for every row of `X`.

    The linear kernel needs no matrix; all others go in row chunks.
    """
    if kernel_options.get("kernel") == "linear":
        mean = np.asarray(Y.mean(axis=0), dtype=np.float64).ravel()
        return np.asarray(X @ mean, dtype=np.float64).ravel()
    weights = array_like(np.full(Y.shape[0], 1.0 / Y.shape[0]), Y)
    product: Array = to_numpy(kernel_product(X, Y, weights, **kernel_options))
    return product
