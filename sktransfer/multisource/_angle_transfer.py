"""Angle-based transfer: ridge regression that is drawn in the sources' direction."""

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize

from sktransfer._compat import Interval, StrOptions
from sktransfer._linear import LinearRegressorMixin
from sktransfer._solvers.random_effects import evidence_ridge
from sktransfer.multisource._summary_estimator import (
    ALPHAS,
    Coordinates,
    SummaryEstimator,
    gaussian_tasks,
)

__all__ = ["AngleTransfer"]


class AngleTransfer(LinearRegressorMixin, SummaryEstimator):
    r"""Ridge regression drawn in the direction of the sources' coefficients.

    Only the direction of the sources' coefficients has to be right: how far the target
    is drawn along it is chosen by the exact leave-one-out error, so sources of another
    scale, such as another unit of y, help as well.

    Parameters
    ----------
    source_summaries : SourceSummary or list of SourceSummary, default=None
        Sources that give no rows, beside those among the rows.
    alpha : {"auto"} or float in (0, inf), default="auto"
        Ridge penalty :math:`\lambda` beside the residual sum of squares, of
        standardized features. "auto": that of the least leave-one-out error among 17
        values from 1e-4 to 1e4 times the number of labeled target rows.
    eta : {"auto"} or float in [0, inf), default="auto"
        Strength :math:`\eta` of the pull. "auto": that of the least leave-one-out
        error. 0: ridge regression on the target; ``eta=alpha``: ridge regression toward
        the sources.
    source_weights : {"auto", "uniform"} or array-like, default="auto"
        Nonnegative weights of the sources in the direction, shape (n_sources,); they
        are scaled to sum 1.
        "auto": those of the least leave-one-out error.
    fit_intercept : bool, default=True
        Fit an intercept, without penalty.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients.
    intercept_ : float
        Intercept.
    alpha_, eta_ : float
        The penalty and the strength of the pull that were used.
    source_coef_ : ndarray of shape (n_sources, n_features)
        Coefficients of the sources.
    source_weights_ : ndarray of shape (n_sources,)
        Their weights; of sum 1.
    source_names_ : list of str
        Ids of the sources among the rows, then ``"source_summaries[i]"``.
    loo_error_ : float
        Leave-one-out mean squared error, which alpha, eta and weights were chosen by;
        NaN of one row.
    target_only_error_ : float
        Least leave-one-out mean squared error without sources.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    AngleTransferLogistic : The same for classes.
    EmpiricalBayesRidge : A prior of its own for every coefficient.

    Notes
    -----
    .. math:: \hat\beta = (X'X + \lambda I)^{-1} (X'y + \eta w),
              \qquad w = \sum_k a_k w_k,

    with the coefficients :math:`w_k` of ridge regressions on the sources (penalty by
    marginal likelihood) [1]_. With leverages :math:`h_i` the residual of row i left out
    is :math:`(y_i - x_i'\hat\beta) / (1 - h_i)`, linear in :math:`\eta a`. So for every
    :math:`\lambda` the best :math:`\eta a \ge 0` solves a nonnegative least-squares
    problem of as many unknowns as sources.

    Of one labeled row nothing can be left out: "auto" does not transfer then.

    References
    ----------
    .. [1] T. Gu, Y. Han, R. Duan. "Robust angle-based transfer learning in high
       dimensions". Journal of the Royal Statistical Society B 87(3), 2025.
       :doi:`10.1093/jrsssb/qkae111`

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.multisource import AngleTransfer
    >>> rng = np.random.default_rng(0)
    >>> X, beta = rng.normal(size=(120, 10)), rng.normal(size=10)
    >>> domain = np.repeat([1, -1], [100, 20])
    >>> y = X @ beta * np.where(domain == 1, 5.0, 1.0) + rng.normal(size=120)
    >>> model = AngleTransfer().fit(X, y, sample_domain=domain)
    >>> bool(np.corrcoef(model.coef_, beta)[0, 1] > 0.98)
    True
    >>> model.loo_error_ < model.target_only_error_
    True
    """

    _parameter_constraints: dict[str, Any] = {
        **SummaryEstimator._parameter_constraints,
        "alpha": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "eta": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "source_weights": [StrOptions({"auto", "uniform"}), "array-like"],
    }

    def __init__(
        self,
        source_summaries: Any = None,
        *,
        alpha: Any = "auto",
        eta: Any = "auto",
        source_weights: Any = "auto",
        fit_intercept: bool = True,
    ) -> None:
        self.source_summaries = source_summaries
        self.alpha = alpha
        self.eta = eta
        self.source_weights = source_weights
        self.fit_intercept = fit_intercept

    def _fit_tasks(
        self,
        data: Any,
        weight: NDArray[Any],
        summaries: list[tuple[str, Any]],
        folds: list[Any],
    ) -> None:
        coordinates = Coordinates(
            data, weight, summaries, fit_intercept=self.fit_intercept
        )
        _, sources = gaussian_tasks(data, weight, summaries, coordinates)
        self.source_names_ = [task.name for task in sources]
        d = self.n_features_in_
        W = np.array([_source_vector(task, d) for task in sources]).reshape(-1, d)
        given = given_source_weights(self.source_weights, len(W))
        X = coordinates.design(data.X_labeled)[:, :d]
        y = data.y_labeled.astype(np.float64) - coordinates.shift
        own = weight[data.is_labeled_target]
        alphas = own.sum() * ALPHAS if self.alpha == "auto" else [self.alpha]
        path = [
            _fit(X, y, own, W, alpha, self.eta, given, self.fit_intercept)
            for alpha in map(float, alphas)
        ]
        alone = [
            _fit(X, y, own, W[:0], alpha, 0.0, None, self.fit_intercept)["loo_error"]
            for alpha in map(float, alphas)
        ]
        errors = np.array([fit["loo_error"] for fit in path])
        # one row: nothing to choose by, so the largest penalty
        best = path[int(np.argmin(errors)) if np.isfinite(errors).all() else -1]
        self.alpha_, self.eta_ = best["alpha"], float(best["pull"].sum())
        self.source_weights_ = best["weights"]
        self.loo_error_ = float(best["loo_error"])
        self.target_only_error_ = float(np.min(alone))
        dtype = data.X.dtype if data.X.dtype == np.float32 else np.float64
        theta = best["theta"]
        theta = np.append(theta[0], theta[1]) if self.fit_intercept else theta[0]
        coef, intercept = coordinates.raw(theta)
        self.coef_, self.intercept_ = coef.astype(dtype), float(intercept)
        self.source_coef_ = W / coordinates.scale


def given_source_weights(source_weights: Any, n_sources: int) -> NDArray[Any] | None:
    """Return the weights of the parameter, None if they are to be chosen."""
    if isinstance(source_weights, str):
        if source_weights == "auto":
            return None
        return np.full(n_sources, 1 / max(n_sources, 1))
    given = np.asarray(source_weights, dtype=np.float64)
    if given.shape != (n_sources,) or not (given >= 0).all() or not given.sum() > 0:
        raise ValueError(
            f"source_weights must hold one nonnegative number for each of the "
            f"{n_sources} sources, not all 0; got {source_weights!r}."
        )
    return given / given.sum()


def _source_vector(task: Any, d: int) -> NDArray[Any]:
    """Slopes of the ridge regression of a source; as they are without noise or size."""
    if task.gram is None or not task.vector[:d].any():
        return task.vector[:d]
    slopes = np.arange(len(task.vector)) < d
    ridge = evidence_ridge(
        task.gram, task.moment, task.energy, task.n, slopes, task.n * ALPHAS
    )
    return ridge.coef[:d]


def _fit(
    X: Any,
    y: Any,
    weight: NDArray[Any],
    W: NDArray[Any],
    alpha: Any,
    eta: Any,
    source_weights: NDArray[Any] | None,
    fit_intercept: bool,
) -> dict[str, Any]:
    """Fit at one penalty and choose the pull by the leave-one-out residuals.

    A row of weight 2 is two rows, of which one is left out.
    """
    total = weight.sum()
    x_mean = weight @ X / total if fit_intercept else np.zeros(X.shape[1])
    y_mean = weight @ y / total if fit_intercept else 0.0
    centered, goal = X - x_mean, y - y_mean
    system = (centered * weight[:, None]).T @ centered + alpha * np.eye(X.shape[1])
    factor = linalg.cho_factor(system)
    leverage = np.einsum("ij,ji->i", centered, linalg.cho_solve(factor, centered.T))
    leverage += 1 / total if fit_intercept else 0.0
    left = 1 - np.minimum(weight, 1) * leverage
    own = linalg.cho_solve(factor, centered.T @ (weight * goal))
    pulls = linalg.cho_solve(factor, W.T)
    measurable = left.min() > 1e-12
    root = np.sqrt(weight) / np.where(measurable, left, 1.0)
    residual, columns = (
        root * (goal - centered @ own),
        root[:, None] * (centered @ pulls),
    )
    if source_weights is not None and len(W):
        columns = columns @ source_weights[:, None]
    pull = np.zeros(len(W))
    if len(W) and (measurable or eta != "auto"):
        chosen = np.zeros(columns.shape[1])
        if measurable:
            chosen = optimize.nnls(columns, residual)[0]
        pull = chosen if source_weights is None else chosen[0] * source_weights
        if eta != "auto":
            shares = source_weights
            if shares is None:
                shares = pull / pull.sum() if pull.sum() > 0 else np.full(
                    len(W), 1 / len(W)
                )  # fmt: skip
            pull = eta * shares
    size = pull.sum()
    weights = pull / size if size > 0 else np.full(len(W), 1 / max(len(W), 1))
    coef = own + pulls @ pull
    error = np.nan
    if measurable:
        error = np.sum((root * (goal - centered @ coef)) ** 2) / total
    return {
        "alpha": alpha, "pull": pull, "weights": weights, "loo_error": error,
        "theta": (coef, y_mean - x_mean @ coef),
    }  # fmt: skip
