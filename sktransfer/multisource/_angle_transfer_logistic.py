"""Angle-based transfer for classes: a logistic ridge drawn toward a direction."""

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from sktransfer._compat import Interval, StrOptions
from sktransfer._solvers.glm import (
    fit_glm,
    glm_curvature,
    glm_expansion,
    glm_losses,
    glm_mean,
)
from sktransfer.multisource._angle_transfer import given_source_weights
from sktransfer.multisource._logistic_tasks import (
    WEAK,
    LogisticSummaryEstimator,
    PenalizedLikelihood,
)
from sktransfer.multisource._summary_estimator import ALPHAS, SummaryEstimator

__all__ = ["AngleTransferLogistic"]

#: pulls relative to the penalty that are tried; 1 is a ridge toward the sources
_PULLS = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 8.0)

#: prior standard deviation of the logits in the choice of penalty and pull
_LOGIT_SD = 2.0


class AngleTransferLogistic(LogisticSummaryEstimator):
    r"""Logistic regression drawn in the direction of the sources' coefficients.

    The classifier beside :class:`AngleTransfer`: only the direction of the sources'
    coefficients has to be right, so sources whose classes are easier or harder to tell
    apart help as well.

    Parameters
    ----------
    source_summaries : SourceSummary or list of SourceSummary, default=None
        Sources that give no rows, beside those among the rows; they need the classes
        of all domains together.
    alpha : {"auto"} or float in (0, inf), default="auto"
        Ridge penalty :math:`\tfrac{\lambda}{2} \|\beta\|^2` beside the summed log
        loss, of standardized features. "auto": that of the least leave-one-out log
        loss among 13 values from 1e-3 to 1e3 times a quarter of the number of labeled
        target rows.
    eta : {"auto"} or float in [0, inf), default="auto"
        Strength :math:`\eta` of the pull. "auto": that of the least leave-one-out log
        loss among 0, 1/8, 1/4, 1/2, 3/4, 1, 3/2, 2, 4 and 8 times ``alpha``.
        0: logistic ridge regression on the target; ``eta=alpha``: logistic ridge
        regression toward the sources.
    source_weights : {"auto", "uniform"} or array-like, default="auto"
        Nonnegative weights of the sources in the direction, shape (n_sources,); they
        are scaled to sum 1. "auto": the nonnegative logistic regression of the labels
        of the target on the sources' logits.
    fit_intercept : bool, default=True
        Fit intercepts, without penalty. If the target lacks a class they are
        penalized as well, toward the weighted mean of those of the sources.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Classes of all labeled rows.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients, one row if there are two classes; else they sum to 0 over the
        classes.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts.
    alpha_, eta_ : float
        The penalty and the strength of the pull that were used.
    source_coef_ : ndarray of shape (n_sources, n_logits, n_features)
        Coefficients of the sources.
    source_weights_ : ndarray of shape (n_sources,)
        Their weights; of sum 1.
    source_names_ : list of str
        Ids of the sources among the rows, then ``"source_summaries[i]"``.
    loo_loss_ : float
        Leave-one-out log loss, which alpha and eta were chosen by; NaN of one row.
    target_only_loss_ : float
        Least leave-one-out log loss without sources.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    AngleTransfer : The same for real labels.
    EmpiricalBayesLogistic : A prior of its own for every coefficient.

    Notes
    -----
    With the log loss :math:`\ell` of the target the coefficients minimize

    .. math:: \ell(\beta) + \tfrac{\lambda}{2} \|\beta\|^2 - \eta\, w'\beta,
              \qquad w = \sum_k a_k w_k,

    which for half the squared residuals is the estimator of [1]_. The coefficients
    :math:`w_k` are those of logistic ridge regressions on the sources, whose penalties
    have the largest marginal likelihood; those of a summary are its own under a
    weak prior (standard deviation 3 of standardized coefficients).

    The logits of a row left out are those of one Newton step from :math:`\hat\beta`:
    with the linear predictor :math:`z_i`, its mean :math:`\mu_i`, the curvature
    :math:`W_i` and the leverage :math:`G_i = x_i' S^{-1} x_i` in the Hessian S,

    .. math:: z_i^{(-i)} = z_i + G_i (I - W_i G_i)^{-1} (\mu_i - y_i).

    Where the logits of a source separate the labels of the target, the log loss falls
    with every larger pull. So the choice adds to the mean log loss the variance of the
    logits over :math:`8 n`: one prior observation that their standard deviation is 2.

    Of one labeled row nothing can be left out: "auto" is the largest penalty and no
    pull then.

    References
    ----------
    .. [1] T. Gu, Y. Han, R. Duan. "Robust angle-based transfer learning in high
       dimensions". Journal of the Royal Statistical Society B 87(3), 2025.
       :doi:`10.1093/jrsssb/qkae111`

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.multisource import AngleTransferLogistic
    >>> rng = np.random.default_rng(0)
    >>> X, beta = rng.normal(size=(330, 10)), rng.normal(size=10)
    >>> domain = np.repeat([1, -1], [300, 30])
    >>> logits = X @ beta * np.where(domain == 1, 2.0, 1.0)
    >>> y = np.where(logits + rng.logistic(size=330) > 0, "yes", "no")
    >>> model = AngleTransferLogistic().fit(X, y, sample_domain=domain)
    >>> bool(np.corrcoef(model.coef_[0], beta)[0, 1] > 0.9)
    True
    >>> model.loo_loss_ < model.target_only_loss_
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
        coordinates, rows_of = self._prepare_rows(data, weight, summaries)
        self.source_names_ = [str(int(k)) for k in data.sources]
        self.source_names_ += [name for name, _ in summaries]
        n_sources = len(self.source_names_)
        given = given_source_weights(self.source_weights, n_sources)
        C, width = self._n_logits, self.n_features_in_ + self.fit_intercept
        slopes = np.tile(np.arange(width) < self.n_features_in_, C)
        vectors = [
            _ridge_of_rows(rows_of(data.rows_of(k)), slopes) for k in data.sources
        ]
        for _, summary in summaries:
            vectors.append(
                _ridge_of_summary(*coordinates.standardized(summary), slopes)
            )
        W = np.array(vectors).reshape(n_sources, C * width)
        rows: tuple[Any, Any, Any, Any] = rows_of(data.is_labeled_target)
        a = _direction(*rows, W, slopes) if given is None else given
        w = a @ W if len(W) else np.zeros(C * width)
        # the labels tell an intercept only where they are of all classes
        classes_seen = np.unique(data.y_labeled)
        penalized = slopes | (len(classes_seen) < len(self.classes_))
        n = rows[-1].sum()
        alphas = n / 4 * ALPHAS[2:-2] if self.alpha == "auto" else [self.alpha]
        measured = n > 1
        if not measured:  # nothing to choose by: the largest penalty, no pull
            alphas = alphas[-1:]
        best: Any = None
        alone = np.inf
        for alpha in map(float, alphas):
            start = None
            fixed = self.eta != "auto"
            pulls = [self.eta] if fixed else [alpha * s for s in _PULLS]
            if not n_sources or not (measured or fixed):
                pulls = [0.0]
            for eta in dict.fromkeys([0.0, *pulls]):
                theta, loss, spread = _fit(
                    *rows, w, alpha, eta, slopes, penalized, start
                )
                start = theta
                if eta == 0:
                    alone = min(alone, loss)
                score = loss + spread / (2 * _LOGIT_SD**2 * n)
                if eta in pulls and (best is None or not score >= best[0]):
                    best = score, theta, loss, alpha, eta
        _, theta, loss, self.alpha_, self.eta_ = best
        self.loo_loss_ = float(loss) if measured else np.nan
        self.target_only_loss_ = float(alone) if measured else np.nan
        self.source_weights_ = a
        self.coef_, self.intercept_ = self._raw(theta, coordinates, data.X.dtype)
        raw = [self._raw(v, coordinates)[0] for v in W]
        self.source_coef_ = np.array(raw).reshape(-1, C, self.n_features_in_)


def _ridge_of_rows(
    rows: tuple[str, NDArray[Any], NDArray[Any], NDArray[Any]],
    slopes: NDArray[np.bool_],
) -> NDArray[Any]:
    """Return the logistic ridge of a source; its penalty by marginal likelihood."""
    likelihood = PenalizedLikelihood(*rows, slopes)
    zero = np.zeros(len(slopes))
    fits = [
        likelihood.evidence(np.zeros((len(zero), len(zero))), zero, alpha)
        for alpha in likelihood.n / 4 * ALPHAS[2:-2]
    ]
    return max(fits, key=lambda fit: fit.log_likelihood).mean


def _ridge_of_summary(
    vector: NDArray[Any], information: NDArray[Any], slopes: NDArray[np.bool_]
) -> NDArray[Any]:
    """Return the ridge fit of a quadratic under the weak prior."""
    R = information + WEAK * np.diag(slopes.astype(np.float64))
    return np.linalg.pinv(R, hermitian=True) @ (information @ vector)


def _direction(
    family: str,
    design: NDArray[Any],
    goal: NDArray[Any],
    weight: NDArray[Any],
    W: NDArray[Any],
    slopes: NDArray[np.bool_],
) -> NDArray[Any]:
    """Nonnegative logistic regression of the labels on the logits of the sources."""
    K, C = len(W), goal.shape[1]
    if K < 2:
        return np.ones(K)
    only = np.where(slopes, W, 0.0).reshape(K, C, -1)
    logits = np.einsum("nd,kcd->knc", design, only)
    logits -= np.average(logits, axis=1, weights=weight)[:, None]
    size = np.sqrt(np.einsum("knc,n->k", logits**2, weight) / weight.sum())
    size = np.where(size > 0, size, 1.0)
    logits /= size[:, None, None]

    def function(x: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        eta = np.tensordot(x[:K], logits, axes=1) + x[K:]
        residual = (glm_mean(family, eta) - goal) * weight[:, None]
        gradient = np.concatenate(
            [np.einsum("knc,nc->k", logits, residual), residual.sum(axis=0)]
        )
        # the penalty of one prior observation keeps separated classes finite
        value = weight @ glm_losses(family, eta, goal) + 0.5 * x @ x
        return value, gradient + x

    found = optimize.minimize(
        function, np.concatenate([np.full(K, 1 / K), np.zeros(C)]), jac=True,
        method="L-BFGS-B", bounds=[(0, None)] * K + [(None, None)] * C,
        options={"ftol": 1e-14, "gtol": 1e-9},
    ).x[:K] / size  # fmt: skip
    return found / found.sum() if found.sum() > 0 else np.full(K, 1 / K)


def _fit(
    family: str,
    design: NDArray[Any],
    goal: NDArray[Any],
    weight: NDArray[Any],
    w: NDArray[Any],
    alpha: Any,
    eta: float,
    slopes: NDArray[np.bool_],
    penalized: NDArray[np.bool_],
    start: NDArray[Any] | None,
) -> tuple[NDArray[Any], float, float]:
    """Return the fit, its leave-one-out log loss and the variance of its logits."""
    prior = alpha * np.diag(penalized.astype(np.float64))
    pull = np.where(slopes, eta * w, np.where(penalized, alpha * w, 0.0))
    theta, _, _ = fit_glm(
        family, design, goal, weight, prior=prior, pull=pull, start=start
    )
    hessian = glm_expansion(family, design, goal, weight, theta)[2] + prior
    C, d = theta.shape
    inverse = np.linalg.pinv(hessian, hermitian=True).reshape(C, d, C, d)
    G = np.einsum("ni,aibj,nj->nab", design, inverse, design)
    z = design @ theta.T
    spread = float(weight @ ((z - weight @ z / weight.sum()) ** 2).sum(axis=1))
    mean = glm_mean(family, z)
    left = np.minimum(weight, 1)  # of a row of weight 2 one of its two is left out
    M = np.eye(C) - left[:, None, None] * (glm_curvature(family, mean) @ G)
    with np.errstate(divide="ignore", invalid="ignore"):
        rows = np.linalg.solve(M, (left[:, None] * (mean - goal))[..., None])
    z = z + (G @ rows)[..., 0]
    losses = glm_losses(family, z, goal)
    loss = weight @ np.minimum(losses, 1e6) / weight.sum()
    return theta, float(loss), spread / weight.sum()
