r"""Transfer component analysis: leading eigenpairs through its rank-one structure.

With K the kernel matrix over all n rows, :math:`H = I - 11'/n` and :math:`L = vv'`,
:math:`v_i = 1/n_s` on source and :math:`-1/n_t` on target rows, W holds the leading
eigenvectors of :math:`(KLK + \mu I)^{-1} KHK`, that is of

.. math:: KHK\, w = \lambda\, (uu' + \mu I)\, w, \qquad u = Kv.

The metric is the identity plus one rank, so its inverse square root has a closed form
and the problem is an ordinary symmetric one of which only the leading pairs are needed.

References
----------
S. J. Pan, I. W. Tsang, J. T. Kwok, Q. Yang. Domain adaptation via transfer component
analysis. IEEE Transactions on Neural Networks 22(2), 2011.
:doi:`10.1109/TNN.2010.2091281`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg, sparse
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from sklearn.utils import check_random_state

from sktransfer._solvers.array_api import HostProducts, array_like, namespace_of
from sktransfer._solvers.kernels import (
    KernelSpec,
    kernel_matrix,
    kernel_product,
    symmetric_product,
)
from sktransfer._solvers.low_rank import fit_landmarks

Array = npt.NDArray[Any]
Multiply = Callable[[Array], Array]


@dataclass(frozen=True)
class TCAInfo:
    r"""How well the components solve the eigenproblem.

    Attributes
    ----------
    eigen_residual : float
        :math:`\max_j \lVert A w_j - \lambda_j M w_j \rVert / (\lambda_1 \lVert M w_j
        \rVert)` of the problem that was solved, :math:`A w = \lambda M w`; at least 1
        where the solver stopped before it had all components, which are 0 then.
    solver : {"dense", "lanczos", "primal", "nystroem"}
        The solver that ran.
    form : {"dual", "primal", "landmarks"}
        How a row is embedded: ``k(x, X) @ components``, ``x @ components`` or
        ``k(x, X[landmarks]) @ components``.
    converged : bool
        Whether the residual is within the tolerance.
    landmarks : ndarray of shape (rank,) or None
        Rows that the components refer to in the form "landmarks".
    trace_residual : float
        Share of the trace of K that the low-rank kernel leaves out; 0 where exact.
    subspace_error : float
        0 where the kernel is exact. For "nystroem" an estimate of an upper bound of
        the sine of the largest angle between its subspace and the exact one: the
        residual with the exact kernel over the eigengap, at most 1. Where the leading
        eigenvalues lie close together it is 1, which carries no information: any
        mixture of their eigenvectors is then about as good, and `objective_error`
        measures how good. nan if it was not asked for.
    exact_residual : float
        `eigen_residual` of the components in the problem of the exact kernel; nan if
        it was not asked for.
    objective_error : float
        0 where the kernel is exact. For "nystroem" the share of the objective, the
        sum of the leading eigenvalues, that the subspace misses with the exact
        kernel: one minus the sum of its Ritz values over the best sum that is found
        in that subspace together with its image under one step of block power
        iteration with the exact kernel, on twice as many vectors. An estimate, not a
        bound: the exact optimum may be a little above the best sum found. nan if it
        was not asked for.
    """

    eigen_residual: float
    solver: str
    form: str
    converged: bool
    landmarks: npt.NDArray[np.intp] | None = None
    trace_residual: float = 0.0
    subspace_error: float = 0.0
    exact_residual: float = float("nan")
    objective_error: float = 0.0


def domain_vector(source_mask: Array) -> Array:
    """Compute v: 1 / n_s on source rows, -1 / n_t on target rows, 0 with one domain."""
    mask = np.asarray(source_mask, dtype=bool)
    n_source = int(mask.sum())
    n_target = mask.size - n_source
    if n_source == 0 or n_target == 0:
        return np.zeros(mask.size)
    return np.where(mask, 1.0 / n_source, -1.0 / n_target)


def tca_components(
    X: Any,
    source_mask: Array,
    *,
    n_components: int,
    mu: float = 1.0,
    kernel: KernelSpec = "rbf",
    gamma: float | None = None,
    degree: float = 3,
    coef0: float = 1,
    kernel_params: Mapping[str, Any] | None = None,
    eigen_solver: str = "auto",
    tol: float = 1e-8,
    max_iter: int | None = None,
    n_landmarks: int = 500,
    memory_budget: float = 1024.0,
    verify: bool | str = "auto",
    random_state: Any = 0,
) -> tuple[Array, Array, TCAInfo]:
    r"""Compute the leading transfer components.

    The components are normalized by :math:`W'(KLK + \mu I)W = I` and their sign makes
    the entry of the embedding of largest absolute value positive. Components beyond
    the rank of the problem are 0, with eigenvalue 0.

    Parameters
    ----------
    X : {ndarray, sparse matrix} of shape (n_samples, n_features)
        Rows of all domains in any order; the kernel matrix of shape
        (n_samples, n_samples) for ``kernel="precomputed"``.
    source_mask : ndarray of shape (n_samples,)
        True on source rows. With one domain alone L = 0 and the components are those
        of kernel PCA.
    n_components : int
        Number of components, at most n_samples.
    mu : float, default=1.0
        Weight of the regularizer :math:`\mu I`, > 0.
    kernel, gamma, degree, coef0, kernel_params
        As in :func:`~sktransfer._solvers.kernels.kernel_matrix`.
    eigen_solver : {"auto", "dense", "lanczos", "nystroem"}, default="auto"
        "dense" forms the symmetric matrix; "lanczos" multiplies with K alone;
        "nystroem" replaces the kernel by landmark features, which for a linear kernel
        of at most `n_landmarks` features are those of X, so that it is exact. "auto"
        is a d x d problem for a linear kernel with fewer features than rows, dense up
        to 300 rows, Lanczos where K fits `memory_budget`, Nystroem otherwise.
    tol : float, default=1e-8
        Eigen-residual that counts as converged (1e-3 at least in float32).
    max_iter : int, default=None
        Largest number of Lanczos restarts.
    n_landmarks : int, default=500
        Rank of the Nystroem kernel.
    memory_budget : float, default=1024.0
        MiB for K.
    verify : bool or "auto", default="auto"
        Whether "nystroem" measures its components against the exact kernel, which
        costs two passes over all pairs of rows. "auto": up to 60000 rows.
    random_state : int, RandomState instance or None, default=0
        Seed of the landmarks and the Lanczos start.

    Returns
    -------
    components : ndarray
        Of shape (n_samples, n_components), or (n_features, n_components) or
        (rank, n_components) in the forms "primal" and "landmarks".
    eigenvalues : ndarray of shape (n_components,)
        In descending order.
    info : TCAInfo
        Residual, form and solver.
    """
    options: dict[str, Any] = {
        "kernel": kernel,
        "gamma": gamma,
        "degree": degree,
        "coef0": coef0,
        "kernel_params": kernel_params,
    }
    v = domain_vector(source_mask)
    rng = check_random_state(random_state)
    if namespace_of(X) is not np:
        return _on_device(
            X, v, n_components, mu, tol, max_iter, options, eigen_solver, rng
        )
    if eigen_solver == "auto":
        eigen_solver = _choose_solver(X, kernel, memory_budget)
    if eigen_solver == "nystroem" and _few_features(X, kernel, n_landmarks):
        eigen_solver = "primal"  # the features are a factor of the kernel themselves
    if eigen_solver == "primal":
        return _primal(X, v, n_components, mu, tol)
    if eigen_solver == "nystroem":
        check = X.shape[0] <= 60000 if verify == "auto" else bool(verify)
        return _nystroem(
            X, v, n_components, mu, tol, options, n_landmarks, check=check, rng=rng
        )
    K = X if kernel == "precomputed" else kernel_matrix(X, **options)
    if eigen_solver == "dense" or n_components > K.shape[0] // 3:
        return _dense(K, v, n_components, mu, tol)
    if eigen_solver != "lanczos":
        raise ValueError(
            "eigen_solver must be 'auto', 'dense', 'lanczos' or 'nystroem', got"
            f" {eigen_solver!r}"
        )
    return _lanczos(K, v, n_components, mu, tol, max_iter, rng)


def _on_device(
    X: Any, v: Array, q: int, mu: float, tol: float, max_iter: int | None,
    options: dict[str, Any], eigen_solver: str, rng: Any,
) -> tuple[Array, Array, TCAInfo]:  # fmt: skip
    """Solve by Lanczos steps with a kernel matrix of another library."""
    if eigen_solver not in ("auto", "lanczos"):
        raise ValueError(
            f"eigen_solver={eigen_solver!r} takes NumPy's arrays: use 'auto' or "
            "'lanczos', which keep the kernel matrix on the device of X."
        )
    K = HostProducts(kernel_matrix(X, **options))
    if q > K.shape[0] // 3:
        raise ValueError(
            f"n_components={q} is more than a third of the {K.shape[0]} rows, for "
            "which Lanczos steps are not made: give X as a NumPy array."
        )
    components, values, info = _lanczos(K, v, q, mu, tol, max_iter, rng)
    return array_like(components, X), array_like(values, X), info


def _choose_solver(X: Any, kernel: KernelSpec, memory_budget: float) -> str:
    n = int(X.shape[0])
    if _few_features(X, kernel, 3000):
        return "primal"
    if n <= 300:
        return "dense"
    itemsize = 4 if X.dtype == np.float32 else 8
    fits = itemsize * n * n <= memory_budget * 2**20
    return "lanczos" if fits or kernel == "precomputed" else "nystroem"


def _few_features(X: Any, kernel: KernelSpec, at_most: int) -> bool:
    return kernel == "linear" and int(X.shape[1]) <= min(at_most, X.shape[0] - 1)


class _Whitening:
    r"""Multiply with :math:`(uu' + \mu I)^{-1/2}`, which has a closed form."""

    def __init__(self, u: Array, mu: float) -> None:
        norm = float(np.linalg.norm(u))
        self.direction = u / norm if norm > 0 else u
        # Python floats: NumPy's would turn float32 vectors into float64
        self.shrink = 1.0 - float(np.sqrt(mu / (mu + norm**2)))
        self.root = 1.0 / float(np.sqrt(mu))

    def __call__(self, y: Array) -> Array:
        along = self.direction @ y
        product: Array = self.root * (
            y - self.shrink * np.multiply.outer(self.direction, along)
        )
        return product


def _center(Y: Array) -> Array:
    centered: Array = Y - Y.mean(axis=0)
    return centered


def _dense(
    K: Array, v: Array, q: int, mu: float, tol: float
) -> tuple[Array, Array, TCAInfo]:
    n = K.shape[0]
    u = K @ v.astype(K.dtype)
    whiten = _Whitening(u, mu)
    B = whiten(np.asarray(K)).T  # K S, as K and S are symmetric
    C = B.T @ _center(B)
    C = (C + C.T) / 2
    values, Y = linalg.eigh(C, subset_by_index=[n - q, n - 1], check_finite=False)
    return _finish(K, u, mu, values[::-1], whiten(Y[:, ::-1]), tol, "dense")


def _lanczos(
    K: Any, v: Array, q: int, mu: float, tol: float, max_iter: int | None, rng: Any
) -> tuple[Array, Array, TCAInfo]:
    n = K.shape[0]
    u = K @ v.astype(K.dtype)
    whiten = _Whitening(u, mu)

    product = symmetric_product(K)

    def multiply(y: Array) -> Array:
        return whiten(product(_center(product(whiten(y.ravel())))))

    start = rng.standard_normal(n).astype(K.dtype)
    eps = float(np.finfo(K.dtype).eps)
    values, Y, missing = leading_pairs(
        multiply,
        n,
        q,
        start,
        tol=max(0.1 * tol, eps),
        max_iter=max_iter,
        dtype=K.dtype,
    )
    return _finish(K, u, mu, values, whiten(Y), tol, "lanczos", missing)


def leading_pairs(
    multiply: Multiply,
    n: int,
    q: int,
    start: Array,
    *,
    tol: float,
    max_iter: int | None = None,
    dtype: Any = np.float64,
) -> tuple[Array, Array, int]:
    """Compute the largest eigenpairs of a symmetric operator, in descending order.

    Parameters
    ----------
    multiply : callable
        Product with the operator.
    n : int
        Its size.
    q : int
        Number of pairs.
    start : ndarray of shape (n,)
        Start of the Krylov space.
    tol : float
        Relative tolerance of the eigenvalues.
    max_iter : int, default=None
        Largest number of restarts; None is ARPACK's.
    dtype : dtype, default=np.float64
        Working precision.

    Returns
    -------
    values : ndarray of shape (q,)
        Eigenvalues.
    vectors : ndarray of shape (n, q)
        Orthonormal eigenvectors. Where ARPACK stops early, the pairs it has come
        first and the rest is 0.
    missing : int
        Number of pairs that are not there for that reason.
    """
    missing = 0
    if float(np.linalg.norm(multiply(start))) == 0.0:
        return np.zeros(q), np.zeros((n, q)), 0
    operator = LinearOperator((n, n), matvec=multiply, dtype=dtype)
    try:
        values, vectors = eigsh(
            operator,
            k=q,
            which="LA",
            v0=start,
            tol=tol,
            maxiter=max_iter,
            ncv=min(n, max(3 * q + 6, 24)),
        )
    except ArpackNoConvergence as stopped:
        values = np.zeros(q)
        vectors = np.zeros((n, q))
        found = len(stopped.eigenvalues)
        missing = q - found
        values[:found] = stopped.eigenvalues
        vectors[:, :found] = stopped.eigenvectors
    order = np.argsort(values)[::-1]
    return values[order], vectors[:, order], missing


def _finish(
    K: Any,
    u: Array,
    mu: float,
    values: Array,
    W: Array,
    tol: float,
    solver: str,
    missing: int = 0,
) -> tuple[Array, Array, TCAInfo]:
    values, W = _drop_null(values, W, K.shape[0])
    embedding = K @ W
    left = K @ _center(embedding)
    right = np.multiply.outer(u, u @ W) + mu * W
    residual = relative_residual(left, right, values)
    residual = max(residual, 1.0) if missing else residual
    limit = max(tol, 1e-3) if K.dtype == np.float32 else tol
    W = W * embedding_signs(embedding)
    done = residual <= limit
    return W, values, TCAInfo(residual, solver, "dual", done, exact_residual=residual)


def _drop_null(values: Array, W: Array, n: int) -> tuple[Array, Array]:
    eps = float(np.finfo(W.dtype).eps)
    null = values <= max(float(values[0]), 0.0) * eps * n
    return np.where(null, 0.0, values).astype(W.dtype), np.where(null, 0.0, W)


def relative_residual(left: Array, right: Array, values: Array) -> float:
    r"""Compute the scaled residual of generalized eigenpairs.

    .. math:: \max_j \lVert A w_j - \lambda_j M w_j \rVert /
        (\lambda_1 \lVert M w_j \rVert)

    Parameters
    ----------
    left, right : ndarray of shape (n, q)
        AW and MW.
    values : ndarray of shape (q,)
        Eigenvalues in descending order.

    Returns
    -------
    float
        The residual; columns that are 0 do not count.
    """
    if values[0] <= 0:
        return float(np.linalg.norm(left))
    size = np.linalg.norm(right, axis=0) * values[0]
    error = np.linalg.norm(left - right * values, axis=0)
    kept = size > 0
    return float(np.max(error[kept] / size[kept], initial=0.0))


def embedding_signs(embedding: Array) -> Array:
    """Give each column the sign that makes its largest entry in size positive."""
    largest = np.argmax(np.abs(embedding), axis=0)
    entries = embedding[largest, np.arange(embedding.shape[1])]
    return np.where(entries < 0, -1.0, 1.0).astype(embedding.dtype)


def solve_reduced(
    second: Array, objective: Array, metric: Array, q: int, mu: float
) -> tuple[Array, Array, float, float]:
    r"""Solve the problem of a kernel :math:`K = \Phi\Phi'` in the feature space.

    With :math:`S = \Phi'\Phi`, :math:`W = \Phi S^{-1/2} b` and the problem
    :math:`K A K w = \lambda (K B K + \mu I) w`, it reads

    .. math:: S^{1/2} \Phi'A\Phi S^{1/2} b =
        \lambda (S^{1/2} \Phi'B\Phi S^{1/2} + \mu I) b.

    Parameters
    ----------
    second : ndarray of shape (r, r)
        :math:`\Phi'\Phi`.
    objective : ndarray of shape (r, r)
        :math:`\Phi'A\Phi`.
    metric : ndarray of shape (r, r)
        :math:`\Phi'B\Phi`.
    q : int
        Number of pairs.
    mu : float
        Weight of the identity.

    Returns
    -------
    values : ndarray of shape (q,)
        Eigenvalues in descending order, 0 beyond the rank.
    P : ndarray of shape (r, q)
        The embedding of a row with features phi is ``phi @ P``.
    residual : float
        As of :func:`relative_residual`; it equals that of the n x n problem.
    following : float
        The next eigenvalue.
    """
    eigenvalues, vectors = linalg.eigh(second, check_finite=False)
    root = (vectors * np.sqrt(np.maximum(eigenvalues, 0.0))) @ vectors.T
    A = root @ objective @ root
    M = root @ metric @ root
    M[np.diag_indices_from(M)] += mu
    r = A.shape[0]
    kept = min(q, r)
    try:
        all_values, b = linalg.eigh((A + A.T) / 2, (M + M.T) / 2, check_finite=False)
    except linalg.LinAlgError as error:
        raise ValueError(
            f"mu={mu:g} is lost in rounding beside a kernel of size "
            f"{np.abs(second).max():.1e}. Scale the features, e.g. by StandardScaler, "
            "or raise mu."
        ) from error
    all_values, b = all_values[::-1], b[:, ::-1]
    following = max(0.0, float(all_values[kept])) if kept < r else 0.0
    values, out = np.zeros(q), np.zeros((r, q))
    values[:kept], out[:, :kept] = all_values[:kept], b[:, :kept]
    values, out = _drop_null(values, out, r)
    residual = relative_residual(A @ out, M @ out, values)
    return values, root @ out, residual, following


def _primal(
    X: Any, v: Array, q: int, mu: float, tol: float
) -> tuple[Array, Array, TCAInfo]:
    n = X.shape[0]
    mean = np.asarray(X.mean(axis=0), dtype=np.float64).ravel()
    second = X.T @ X
    second = second.toarray() if sparse.issparse(second) else np.asarray(second)
    second = second.astype(np.float64)
    if sparse.issparse(X):
        centered = second - n * np.outer(mean, mean)
    else:
        shifted = X - mean
        centered = np.asarray(shifted.T @ shifted)
    shift = np.asarray(X.T @ v, dtype=np.float64).ravel()
    metric = np.multiply.outer(shift, shift)
    values, P, residual, _ = solve_reduced(second, centered, metric, q, mu)
    P = P * embedding_signs(np.asarray(X @ P))
    dtype = np.float32 if X.dtype == np.float32 else np.float64
    info = TCAInfo(
        residual, "primal", "primal", residual <= tol, exact_residual=residual
    )
    return P.astype(dtype), values.astype(dtype), info


def _nystroem(
    X: Any,
    v: Array,
    q: int,
    mu: float,
    tol: float,
    options: dict[str, Any],
    n_landmarks: int,
    *,
    check: bool,
    rng: Any,
) -> tuple[Array, Array, TCAInfo]:
    landmarks = fit_landmarks(X, n_landmarks, random_state=rng, **options)
    dtype = np.float32 if X.dtype == np.float32 else np.float64
    G = landmarks.transform(X, dtype)
    second = np.asarray(G @ G.T, dtype=np.float64)
    mean = G.mean(axis=1, dtype=np.float64)
    centered = second - G.shape[1] * np.multiply.outer(mean, mean)
    shift = np.asarray(G @ v, dtype=np.float64)
    metric = np.multiply.outer(shift, shift)
    # more vectors for the power step of the check
    more = min(3 * q + 10, X.shape[0])
    all_values, all_P, residual, _ = solve_reduced(second, centered, metric, more, mu)
    values, P = all_values[:q], all_P[:, :q]
    embedding = G.T @ P.astype(dtype)
    signs = embedding_signs(embedding)
    components = linalg.solve_triangular(
        landmarks.factor.T, P * signs, lower=False, check_finite=False
    )
    lost = float(landmarks.residual(X, G).sum())
    trace = lost / max(lost + float(np.trace(second)), np.finfo(float).tiny)
    errors = ExactErrors(float("nan"), float("nan"), float("nan"))
    if check:
        W = G.T.astype(np.float64) @ (np.linalg.pinv(second, hermitian=True) @ all_P)
        errors = exact_errors(X, v, W, q, mu, all_values, options)
    info = TCAInfo(
        residual,
        "nystroem",
        "landmarks",
        residual <= tol,
        landmarks.indices,
        trace,
        errors.subspace_error,
        errors.exact_residual,
        errors.objective_error,
    )
    return components.astype(dtype), values.astype(dtype), info


@dataclass(frozen=True)
class ExactErrors:
    """How far vectors are from the solution with the exact kernel.

    Attributes
    ----------
    subspace_error, exact_residual, objective_error : float
        As in :class:`TCAInfo`.
    """

    subspace_error: float
    exact_residual: float
    objective_error: float


def exact_errors(
    X: Any,
    v: Array,
    W: Array,
    q: int,
    mu: float,
    values: Array,
    options: dict[str, Any],
) -> ExactErrors:
    r"""Compare approximate eigenvectors with those of the exact kernel.

    The first pass over the kernel gives KW and u, the second KHKW and thereby the
    residual and better Ritz values.

    Parameters
    ----------
    X : {ndarray, sparse matrix} of shape (n_samples, n_features)
        Rows.
    v : ndarray of shape (n_samples,)
        The domain vector.
    W : ndarray of shape (n_samples, q + p)
        Approximate eigenvectors, the leading ones first.
    q : int
        How many of them are judged; the others serve the power step.
    mu : float
        Weight of the identity.
    values : ndarray of shape (q + p,)
        Approximate eigenvalues; the one after the leading q stands for its exact
        counterpart in the eigengap.
    options : dict
        As in :func:`~sktransfer._solvers.kernels.kernel_matrix`.

    Returns
    -------
    ExactErrors
        The three errors; 0 where W is 0.
    """
    following = float(values[q]) if values.size > q else 0.0
    used = values > 0
    W, q = W[:, used], int(np.count_nonzero(used[:q]))
    if q == 0:
        return ExactErrors(0.0, 0.0, 0.0)
    product = kernel_product(X, X, np.column_stack([W, v]), **options)
    embedding, u = _center(product[:, :-1]), product[:, -1]
    image = kernel_product(X, X, embedding, **options)
    right = np.multiply.outer(u, u @ W[:, :q]) + mu * W[:, :q]
    # Ritz values of the exact problem on the span of the leading vectors
    objective = embedding[:, :q].T @ embedding[:, :q]
    ritz, mix = linalg.eigh(objective, W[:, :q].T @ right, check_finite=False)
    ritz, mix = ritz[::-1], mix[:, ::-1]
    if ritz[0] <= 0.0:
        return ExactErrors(0.0, 0.0, 0.0)
    rest, metric = image[:, :q] @ mix, right @ mix
    relative = relative_residual(rest, metric, ritz)
    gap = float(ritz[-1]) - following
    norm = float(np.linalg.norm(rest - metric * ritz)) / float(np.sqrt(mu))
    angle = min(1.0, norm / gap) if gap > 0 else 1.0
    best = _half_power_step(embedding, image, u, q, mu)
    missed = 1.0 - float(ritz.sum()) / max(best, float(ritz.sum()))
    return ExactErrors(angle, relative, missed)


def _half_power_step(
    embedding: Array, image: Array, u: Array, q: int, mu: float
) -> float:
    r"""Sum the leading Ritz values in the span of :math:`C^{1/2}Y`.

    With :math:`C = M^{-1/2} KHK M^{-1/2}` and :math:`Y = M^{1/2}W` they are the
    eigenvalues of the pair :math:`Y'C^2Y`, :math:`Y'CY`, which needs no further
    product with the kernel.
    """
    after = (image - np.multiply.outer(u, (u @ image) / (mu + float(u @ u)))) / mu
    first, second = embedding.T @ embedding, image.T @ after
    scale = 1.0 / np.sqrt(first.diagonal())
    size, directions = linalg.eigh(first * np.multiply.outer(scale, scale))
    kept = size > 1e-10 * size[-1]
    root = scale[:, None] * directions[:, kept] / np.sqrt(size[kept])
    found = linalg.eigvalsh(root.T @ second @ root)
    return float(found[::-1][:q].sum())
