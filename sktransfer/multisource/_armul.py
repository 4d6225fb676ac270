"""ARMUL: tasks that share one center, or leave it if their rows say so."""

import warnings
from numbers import Real

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sktransfer._compat import Interval, StrOptions
from sktransfer._linear import LinearRegressorMixin
from sktransfer._solvers.armul import solve_armul
from sktransfer.multisource._summary_estimator import (
    Coordinates,
    SummaryEstimator,
    gaussian_tasks,
)

__all__ = ["ARMUL"]

#: constants C that are tried: own fits, 0, to the pooled fit, infinity
_CONSTANTS = np.array([np.inf, 8.0, 4.0, 2.0, 1.0, 0.5, 0.25, 0.0])


class ARMUL(LinearRegressorMixin, SummaryEstimator):
    r"""Least squares on all domains at once, each at the common center or away from it.

    Every domain, the target among them, has coefficients of its own, and pays for
    their distance from a common center, not for the square of it. So domains that are
    like each other have exactly the same coefficients, and one that is different leaves
    without pulling the others far.

    Parameters
    ----------
    source_summaries : SourceSummary or list of SourceSummary, default=None
        Sources that give no rows, beside those among the rows; they need ``noise``.
    penalty : {"auto"} or float in [0, inf], default="auto"
        The constant C. 0: each domain alone; infinity: the pooled fit. "auto": that of
        the least squared error on held-out target rows among 0, 1/4, 1/2, 1, 2, 4, 8
        and infinity, of equal ones the largest; 1 if nothing can be held out.
    alpha : float in [0, inf), default=0.0
        Ridge penalty of every domain relative to the *mean* squared error, of
        standardized features.
    cv : int, splitter or iterable, default=5
        Folds of the labeled target rows for "auto".
    fit_intercept : bool, default=True
        Fit an intercept; it has a center as the coefficients do.
    random_state : int, RandomState instance or None, default=0
        Deals the rows to the folds.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients of the target.
    intercept_ : float
        Its intercept.
    center_coef_, center_intercept_ : ndarray of shape (n_features,), float
        The center.
    source_coef_ : ndarray of shape (n_sources, n_features)
        Coefficients of the sources.
    source_intercept_ : ndarray of shape (n_sources,)
        Their intercepts.
    source_names_ : list of str
        Ids of the sources among the rows, then ``"source_summaries[i]"``.
    at_center_ : ndarray of bool of shape (n_sources + 1,)
        Which domains have exactly the center; the target is last.
    penalty_ : float
        The constant C that was used.
    cv_errors_ : dict of float to float
        Held-out mean squared error of each constant; empty if it was given.
    kkt_residual_ : float
        Relative violation of the optimality conditions, see Notes.
    n_iter_ : int
        Newton steps of the last fit; at least 1.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all are strings.

    See Also
    --------
    EmpiricalBayesRidge : Pays for the square of each coefficient's distance.
    UOWQMultiTask : Every domain is a target in turn, with weighted sources.

    Notes
    -----
    The vanilla form of [1]_, with :math:`f_j` half the mean squared residual and the
    pooled noise :math:`\hat\sigma`:

    .. math:: \min_{\theta_j, g} \sum_j n_j \left[ f_j(\theta_j)
              + \lambda_j \|\theta_j - g\|_2 \right], \qquad
              \lambda_j = C \hat\sigma \sqrt{d / n_j}.

    For a fixed center :math:`\theta_j = g` exactly if :math:`\|\nabla f_j(g)\| \le
    \lambda_j`; else its distance r solves :math:`\|(r H_j + \lambda_j I)^{-1} \nabla
    f_j(g)\| = 1` with the Hessian :math:`H_j`. The program is convex; it is solved by
    Newton's method in g, and at the optimum :math:`\sum_j n_j \nabla f_j(\theta_j) =
    0`, while :math:`\nabla f_j(\theta_j)` is in the ball of radius :math:`\lambda_j`,
    or :math:`\lambda_j` times the direction from :math:`\theta_j` to g.

    Directions that the rows of a domain do not determine are those of the center.

    References
    ----------
    .. [1] Y. Duan, K. Wang. "Adaptive and robust multi-task learning". Annals of
       Statistics 51(5), 2023. :doi:`10.1214/23-AOS2319`

    Examples
    --------
    >>> import numpy as np
    >>> from sktransfer.multisource import ARMUL
    >>> rng = np.random.default_rng(0)
    >>> X, domain = rng.normal(size=(220, 4)), np.repeat([1, 2, -1], [100, 100, 20])
    >>> slope = np.where(domain == 2, -3.0, 1.0)  # the second source is another one
    >>> y = slope * X[:, 0] + X[:, 1] + rng.normal(size=220)
    >>> model = ARMUL(penalty=2.0).fit(X, y, sample_domain=domain)
    >>> model.at_center_
    array([ True, False,  True])
    """

    _parameter_constraints: dict = {
        **SummaryEstimator._parameter_constraints,
        "penalty": [StrOptions({"auto"}), Interval(Real, 0, None, closed="both")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "cv": ["cv_object"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        source_summaries=None,
        *,
        penalty="auto",
        alpha=0.0,
        cv=5,
        fit_intercept=True,
        random_state=0,
    ):
        self.source_summaries = source_summaries
        self.penalty = penalty
        self.alpha = alpha
        self.cv = cv
        self.fit_intercept = fit_intercept
        self.random_state = random_state

    def _fit_tasks(self, data, weight, summaries, folds):
        coordinates = Coordinates(
            data, weight, summaries, fit_intercept=self.fit_intercept
        )
        target, sources = gaussian_tasks(data, weight, summaries, coordinates)
        for task in sources:
            if task.gram is None:
                raise ValueError(
                    f"{task.name} has no noise, which ARMUL needs to weigh its squared "
                    "residuals: give SourceSummary(noise=...)."
                )
        self.source_names_ = [task.name for task in sources]
        sigma = _pooled_noise([*sources, target])
        self.penalty_, self.cv_errors_ = self.penalty, {}
        if self.penalty == "auto":
            self.penalty_ = self._choose(
                data, weight, coordinates, sources, sigma, folds
            )
        theta, center, info = self._solve([*sources, target], self.penalty_, sigma)
        self.at_center_ = np.array([np.array_equal(t, center) for t in theta])
        self.kkt_residual_, self.n_iter_ = info.kkt_residual, max(info.n_iter, 1)
        if not info.converged:
            warnings.warn(
                "ARMUL did not converge: relative KKT residual "
                f"{info.kkt_residual:.2g} after {info.n_iter} Newton steps.",
                ConvergenceWarning,
                stacklevel=2,
            )
        dtype = data.X.dtype if data.X.dtype == np.float32 else np.float64
        coef, intercept = coordinates.raw(theta)
        self.coef_, self.intercept_ = coef[-1].astype(dtype), float(intercept[-1])
        self.source_coef_, self.source_intercept_ = coef[:-1], intercept[:-1]
        coef, intercept = coordinates.raw(center)
        self.center_coef_, self.center_intercept_ = coef, float(intercept)

    def _solve(self, tasks, constant, sigma):
        n = np.array([task.n for task in tasks])
        H = np.array([task.gram / task.n for task in tasks])
        m = np.array([task.moment / task.n for task in tasks])
        d = H.shape[1]
        H = H + self.alpha * np.diag(np.arange(d) < self.n_features_in_)
        lams = constant * sigma * np.sqrt(d / n) if constant else np.zeros(len(n))
        return solve_armul(H, m, n, lams)

    def _choose(self, data, weight, coordinates, sources, sigma, folds):
        """Return the constant of the least held-out error."""
        if not sources:
            return 1.0  # a single task is its own center
        errors, total = np.zeros(len(_CONSTANTS)), 0.0
        for train, test in folds:
            part = data.take(train)
            if not part.n_labeled:
                continue
            own, _ = gaussian_tasks(
                part.without_sources(), weight[train][part.is_target], [], coordinates
            )
            rows = coordinates.design(data.take(test).X)
            labels = data.labels(_mask(test, len(weight))) - coordinates.shift
            for i, constant in enumerate(_CONSTANTS):
                theta = self._solve([*sources, own], constant, sigma)[0][-1]
                errors[i] += weight[test] @ (labels - rows @ theta) ** 2
            total += weight[test].sum()
        if not total:
            return 1.0
        errors /= total
        self.cv_errors_ = dict(zip(_CONSTANTS.tolist(), errors.tolist(), strict=True))
        return float(_CONSTANTS[int(np.argmin(errors))])


def _mask(rows, n):
    mask = np.zeros(n, dtype=bool)
    mask[rows] = True
    return mask


def _pooled_noise(tasks):
    """Return the standard deviation of the noise of all domains together."""
    dof = sum(task.dof for task in tasks)
    if dof > 0:
        return float(np.sqrt(sum(task.rss for task in tasks) / dof))
    return float(np.sqrt(np.mean([task.noise for task in tasks])))
