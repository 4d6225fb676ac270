"""Weights of several sources in a maximum-likelihood fit, from a KL expansion."""

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from sklearn.utils import check_array, column_or_1d

from sktransfer._compat import Interval, StrOptions, validate_params
from sktransfer._solvers.simplex_qp import SOLVERS
from sktransfer._solvers.uowq import UOWQResult, solve_uowq
from sktransfer.exceptions import warn

__all__ = ["UOWQResult", "uowq_weights"]


@validate_params(
    {
        "target_params": ["array-like"],
        "source_params": ["array-like"],
        "n_target": [Interval(Real, 0, None, closed="neither")],
        "source_sizes": ["array-like"],
        "fisher": ["array-like", None],
        "scores": ["array-like", None],
        "n_parameters": [Interval(Real, 0, None, closed="neither"), None],
        "noise_correction": ["boolean"],
        "solver": [StrOptions(SOLVERS)],
    },
    prefer_skip_nested_validation=True,
)
def uowq_weights(
    *,
    target_params: Any,
    source_params: Any,
    n_target: Any,
    source_sizes: Any,
    fisher: Any = None,
    scores: Any = None,
    n_parameters: Any = None,
    noise_correction: bool = False,
    solver: Any = "auto",
) -> UOWQResult:
    r"""Compute the source weights that minimize the expected KL divergence.

    The weighted fit maximizes the log-likelihood of the target rows plus
    :math:`w_k` times that of the rows of source :math:`k`. The function needs
    parameters and a Fisher information only, so it serves any model, nets included.

    Parameters
    ----------
    target_params : array-like of shape (n_params,)
        Parameters :math:`\theta_0` of the model of the target.
    source_params : array-like of shape (n_sources, n_params)
        Parameters :math:`\theta_k` of the models of the sources.
    n_target : float in (0, inf)
        Number of labeled target rows, :math:`N_0`; of weighted rows the sum of the
        weights.
    source_sizes : array-like of shape (n_sources,)
        Number of rows of each source, :math:`n_k > 0`, or the sum of their weights.
    fisher : array-like of shape (n_params, n_params), default=None
        Fisher information :math:`J` per row at the target parameter. Give this or
        ``scores``.
    scores : array-like of shape (n_rows, n_params), default=None
        Gradients :math:`g_i` of the log-likelihood of single rows at the target
        parameter; then :math:`J = \frac1n \sum_i g_i g_i^\top`, which is never
        formed. Take held-out rows, or labels drawn from the model: at a fit that
        interpolates its own rows the scores vanish whatever the discrepancy.
    n_parameters : float in (0, inf), default=None
        Number :math:`d` of parameters that the target rows determine; a penalty
        makes it smaller than ``n_params``. None: ``n_params``, or the rank of a
        singular ``fisher``.
    noise_correction : bool, default=False
        Whether the parameters are estimates from ``n_target`` and ``source_sizes``
        rows, whose noise is to be taken out of the discrepancy. False takes them as
        exact.
    solver : {"auto", "cvxpy"}, default="auto"
        What solves for the proportions: "auto" an active set, "cvxpy" CLARABEL. They
        agree to 1e-8.

    Returns
    -------
    result : UOWQResult
        Weights, proportions, transferred quantity and predicted divergences.

    Raises
    ------
    ValueError
        If there is no source, shapes disagree, not exactly one of ``fisher`` and
        ``scores`` is given, or the Fisher information is zero or indefinite.

    Warns
    -----
    UserWarning
        If ``fisher`` is singular: differences in its null space are not seen.

    See Also
    --------
    UOWQ : The weights inside an estimator.

    Notes
    -----
    With :math:`s = \sum_k w_k n_k`, :math:`\alpha_k = w_k n_k / s` and
    :math:`\Theta = [\theta_1 - \theta_0, \dots, \theta_K - \theta_0]`

    .. math::
        \mathrm{KL} \approx \frac d2
        \frac{N_0 + s^2\, t(\alpha)}{(N_0 + s)^2}, \qquad
        t(\alpha) = \alpha^\top \Bigl(\mathrm{diag}(1/n_k)
        + \tfrac1d \Theta^\top J \Theta\Bigr) \alpha .

    The minimum over :math:`s` is at :math:`s^* = 1/t(\alpha^*)`, where
    :math:`\mathrm{KL} = \frac d2 / (N_0 + s^*)`. The products
    :math:`w_k n_k = s^* \alpha^*_k` solve the nonnegative least-squares problem
    :math:`\min_{\beta \ge 0} \frac12 \beta^\top Q \beta - \sum_k \beta_k` with
    :math:`Q` the matrix in :math:`t`: an active-set method gives them exactly. One
    source: :math:`w = 1 / (1 + n\, \delta^\top J \delta / d)`.

    Estimates have the covariances :math:`J^{-1}/N_0` and :math:`J^{-1}/n_k`, which
    adds :math:`1/N_0 + \sum_k \alpha_k^2 / n_k` to :math:`t`. The correction subtracts
    it, down to :math:`t = \sum_k \alpha_k^2 / n_k`: :math:`\alpha^*` stays,
    :math:`s^*` grows. For Gaussian means it turns the weighted fit into a
    positive-part James-Stein estimator that shrinks toward the sources.

    References
    ----------
    Q. Zhang et al., "Unified optimization of source weights and transfer quantities
    in multi-source transfer learning: an asymptotic framework", 2026.
    :arxiv:`2601.10779`

    Examples
    --------
    A near source is used almost fully, a far one hardly.

    >>> import numpy as np
    >>> from sktransfer.multisource import uowq_weights
    >>> result = uowq_weights(
    ...     target_params=[0.0, 0.0],
    ...     source_params=[[0.01, 0.0], [2.0, 2.0]],
    ...     n_target=20,
    ...     source_sizes=[100, 100],
    ...     fisher=np.eye(2),
    ... )
    >>> result.weights.round(3)
    array([0.995, 0.   ])
    >>> round(result.transfer_quantity, 1)
    99.5
    """
    target, sources, sizes = _check_params(target_params, source_params, source_sizes)
    differences = sources - target
    if (fisher is None) == (scores is None):
        raise ValueError("Give exactly one of fisher and scores.")
    if fisher is None:
        G = check_array(scores, accept_sparse="csr", input_name="scores")
        _check_columns(G, len(target), "scores")
        root_differences = np.asarray(G @ differences.T) / np.sqrt(G.shape[0])
        rank = len(target)
        vanishes = not (abs(G).max() > 0)
    else:
        root, rank = _fisher_root(fisher, len(target))
        root_differences = root @ differences.T
        vanishes = rank == 0
    if vanishes:
        raise ValueError(
            "The Fisher information is zero: every source would look like the target. "
            "At a fit that interpolates its rows the scores vanish; pass the expected "
            "Fisher information in fisher, or scores of held-out rows."
        )
    d = float(rank if n_parameters is None else n_parameters)
    return solve_uowq(
        root_differences, n_target, sizes, d, noise_correction=noise_correction
    )


def _check_params(
    target_params: NDArray[Any], source_params: Any, source_sizes: Any
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    target = _as_vector(target_params, "target_params")
    sources = check_array(
        source_params,
        dtype=np.float64,
        ensure_min_samples=0,
        input_name="source_params",
    )
    if not len(sources):
        raise ValueError("source_params has no row: there is no source to weigh.")
    _check_columns(sources, len(target), "source_params")
    sizes = _as_vector(source_sizes, "source_sizes")
    if len(sizes) != len(sources) or (sizes <= 0).any():
        raise ValueError(
            f"source_sizes must hold a positive number of rows for each of the "
            f"{len(sources)} sources in source_params, got {source_sizes!r}."
        )
    return target, sources, sizes


def _as_vector(values: Any, name: str) -> NDArray[Any]:
    array = check_array(values, ensure_2d=False, dtype=np.float64, input_name=name)
    return column_or_1d(array)


def _check_columns(array: NDArray[Any], n_params: int, name: str) -> None:
    if array.shape[1] != n_params:
        raise ValueError(
            f"{name} has {array.shape[1]} columns, but target_params has {n_params} "
            "entries."
        )


def _fisher_root(fisher: NDArray[Any], n_params: int) -> tuple[NDArray[Any], int]:
    """Return a square root of the Fisher information and its rank."""
    J = check_array(fisher, dtype=np.float64, input_name="fisher")
    _check_columns(J, n_params, "fisher")
    if J.shape[0] != n_params or not np.allclose(J, J.T, atol=1e-8 * abs(J).max()):
        raise ValueError("fisher must be a symmetric matrix (n_params, n_params).")
    # in units of which every parameter has the same information
    diagonal = J.diagonal()
    unit = np.where(diagonal > 0, 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1)), 1)
    values, vectors = linalg.eigh(unit[:, None] * J * unit)
    scale = max(abs(values[0]), abs(values[-1]))
    if values[0] < -1e-8 * scale:
        raise ValueError(
            f"fisher must be positive semidefinite; an eigenvalue of it, scaled to a "
            f"diagonal of ones, is {values[0]:.3g}."
        )
    keep = values > 4 * n_params * np.finfo(float).eps * scale
    rank = int(keep.sum())
    if 0 < rank < n_params:
        warn(
            f"fisher is singular (rank {rank} of {n_params}): differences in its null "
            "space are not seen, and its rank takes the place of the number of "
            "parameters unless n_parameters is given.",
            UserWarning,
        )
    return np.sqrt(values[keep])[:, None] * vectors[:, keep].T / unit, rank
